//===- Loss.cpp -------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Loss.h"

#include "runtime/core/Binding.h"
#include "runtime/core/Convert.h"
#include "runtime/core/TensorStream.h"

#include <algorithm>

namespace evo {

namespace {

Status invalid(std::string_view fileName, const std::string &message) {
  return Status::error(ErrorCode::InvalidInput, std::string(fileName) + ": " + message);
}

const plan::Program *programOf(const plan::Plan &plan, plan::Phase phase) {
  for (const plan::Program &program : plan.programs)
    if (program.phase == phase)
      return &program;
  return nullptr;
}

/// The elements of a target, as doubles.
void readTarget(const HostTensor &target, int64_t first, int64_t count, double *out) {
  convertElements(target.dtype, target.bytes.data() + first * hostTypeBytes(target.dtype),
                  plan::DType::F64, reinterpret_cast<std::byte *>(out), count);
}

Status checkTarget(const HostTensor &target, const plan::Tensor &output, std::string_view fileName,
                   bool checkFinite) {
  if (target.shape != output.shape || !isFloating(target.dtype))
    return invalid(fileName, "tensor '" + target.name + "': expected F32, F64, F16 or BF16 " +
                                 shapeText(output.shape) + ", got " +
                                 std::string(hostTypeName(target.dtype)) + " " +
                                 shapeText(target.shape));
  int64_t count = elementCount(target.shape).value_or(0);
  std::vector<double> piece(static_cast<size_t>(checkFinite ? std::min(count, kPieceElements) : 0));
  for (int64_t first = 0; checkFinite && first < count; first += kPieceElements) {
    int64_t length = std::min(kPieceElements, count - first);
    readTarget(target, first, length, piece.data());
    if (auto bad = firstNotFinite(plan::DType::F64,
                                  reinterpret_cast<const std::byte *>(piece.data()), length))
      return invalid(fileName, "tensor '" + target.name +
                                   "': expected finite values, got another at element " +
                                   std::to_string(first + *bad));
  }
  return {};
}

} // namespace

Result<MeanSquaredError> MeanSquaredError::create(const plan::Plan &plan,
                                                  std::vector<HostTensor> targets,
                                                  std::string_view fileName, int threads,
                                                  bool checkFinite) {
  const plan::Program *forward = programOf(plan, plan::Phase::Forward);
  const plan::Program *backward = programOf(plan, plan::Phase::Backward);
  if (!forward || !backward)
    return Status::error(ErrorCode::InvalidPlan,
                         "expected programs forward and backward in the plan, got one of them");
  MeanSquaredError loss;
  loss.threads = threads;
  std::string names;
  for (const std::string &name : forward->outputs) {
    Stream stream{findTensor(plan, name), findTensor(plan, "d" + name), {}, {}};
    const std::vector<std::string> &inputs = backward->inputs;
    if (!stream.output || !stream.cotangent || stream.output->shape != stream.cotangent->shape ||
        std::find(inputs.begin(), inputs.end(), "d" + name) == inputs.end())
      return Status::error(ErrorCode::InvalidPlan,
                           "program output '" + name + "': expected a tensor 'd" + name +
                               "' of its shape among the inputs of the backward program, got none");
    loss.streams.push_back(std::move(stream));
    names += (names.empty() ? "'" : ", '") + name + "'";
  }
  for (HostTensor &target : targets) {
    auto stream = std::find_if(loss.streams.begin(), loss.streams.end(), [&](const Stream &each) {
      return each.output->name == target.name;
    });
    if (stream == loss.streams.end())
      return invalid(fileName,
                     "unknown tensor '" + target.name + "': expected targets of " + names);
    EVO_TRY(checkTarget(target, *stream->output, fileName, checkFinite));
    stream->target = std::move(target);
  }
  if (targets.empty())
    return invalid(fileName, "expected a target of one of " + names + ", got none");
  return loss;
}

Result<double> MeanSquaredError::evaluateStream(Backend &backend, const std::byte *arena,
                                                double scale, Stream &stream) {
  const plan::Tensor &output = *stream.output;
  plan::DType cotangentType = stream.cotangent->dtype;
  int64_t size = plan::elementBytes(output.dtype), sizeOut = plan::elementBytes(cotangentType);
  int64_t count = elementCount(output.shape).value_or(0);
  stream.values.resize(static_cast<size_t>(count * sizeOut)); // zeros, the first time
  if (stream.target.name.empty())
    return 0.0;
  auto length = static_cast<size_t>(std::min(count, kPieceElements));
  std::vector<std::byte> stored(length * static_cast<size_t>(size));
  std::vector<double> difference(length), target(length);
  double sum = 0, factor = 2 / static_cast<double>(count) * scale;
  for (int64_t start = 0; start < count; start += kPieceElements) {
    int64_t piece = std::min(kPieceElements, count - start);
    EVO_TRY(backend.download(stored.data(), arena + output.offset + start * size, piece * size));
    EVO_TRY(parallelRanges(threads, piece, [&](int64_t first, int64_t part) -> Status {
      double *x = difference.data() + first, *t = target.data() + first;
      convertElements(hostTypeOf(output.dtype), stored.data() + first * size, plan::DType::F64,
                      reinterpret_cast<std::byte *>(x), part);
      readTarget(stream.target, start + first, part, t);
      for (int64_t i = 0; i < part; ++i) {
        x[i] -= t[i];
        t[i] = factor * x[i];
      }
      storeDoubles({t, static_cast<size_t>(part)}, cotangentType,
                   stream.values.data() + (start + first) * sizeOut);
      return {};
    }));
    for (int64_t i = 0; i < piece; ++i)
      sum += difference[static_cast<size_t>(i)] * difference[static_cast<size_t>(i)];
  }
  return sum / static_cast<double>(count);
}

Result<double> MeanSquaredError::evaluate(Backend &backend, const std::byte *arena, double scale) {
  double loss = 0;
  for (Stream &stream : streams) {
    EVO_ASSIGN(double own, evaluateStream(backend, arena, scale, stream));
    loss += own;
  }
  return loss;
}

Status MeanSquaredError::uploadCotangents(Backend &backend, std::byte *arena) {
  for (const Stream &stream : streams)
    EVO_TRY(backend.upload(arena + stream.cotangent->offset, stream.values.data(),
                           static_cast<int64_t>(stream.values.size())));
  return backend.synchronize();
}

} // namespace evo
