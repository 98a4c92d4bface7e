//===- TrainingState.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/TrainingState.h"

#include "runtime/core/Convert.h"
#include "runtime/core/Safetensors.h"
#include "runtime/core/TensorStream.h"
#include "runtime/core/Transfer.h"

#include <algorithm>
#include <charconv>
#include <map>

namespace evo {

namespace {

constexpr std::string_view kScalarsName = "optimizer.scalars";

Status invalid(const std::string &path, const std::string &message) {
  return Status::error(ErrorCode::InvalidInput, path + ": " + message);
}

/// A device tensor as it is stored.
TensorToWrite storedTensor(Backend &backend, const std::byte *device, plan::DType type,
                           std::span<const int64_t> shape, std::string name) {
  TensorToWrite tensor{std::move(name), hostTypeOf(type), {shape.begin(), shape.end()}, {}};
  tensor.read = [&backend, device, type](int64_t first, int64_t count, std::byte *out) {
    int64_t size = plan::elementBytes(type);
    return backend.download(out, device + first * size, count * size);
  };
  return tensor;
}

/// The entry of the metadata must be `expected`; `why` says what differs.
Status checkEntry(const SafetensorsMetadata &metadata, const std::string &key,
                  std::string_view expected, const std::string &path, const std::string &mend) {
  auto found = metadata.find(key);
  if (found != metadata.end() && found->second == expected)
    return {};
  return invalid(path, "expected a state file whose metadata has " + key + " '" +
                           std::string(expected) + "', got " +
                           (found == metadata.end() ? "none" : "'" + found->second + "'") + mend);
}

Result<uint32_t> readSeed(const SafetensorsMetadata &metadata, const std::string &path) {
  auto found = metadata.find("dropout_seed");
  std::string text = found == metadata.end() ? "" : found->second;
  uint32_t seed = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (text.empty() || error != std::errc() || end != text.data() + text.size())
    return invalid(path, "expected a state file whose metadata has dropout_seed, an integer in [0, "
                         "2^32), got '" +
                             text + "'");
  return seed;
}

} // namespace

Result<std::vector<StateSlot>> stateSlots(const plan::Plan &plan) {
  std::vector<StateSlot> slots;
  int64_t base = 0, blockBytes = 0;
  if (__builtin_add_overflow(plan.weightBlockBytes, plan.gradientBlockBytes, &blockBytes) ||
      __builtin_mul_overflow(plan.model.blocks, blockBytes, &base))
    return Status::error(ErrorCode::InvalidPlan, "expected weights and gradients below 2^63 bytes");
  int64_t element = plan::elementBytes(plan::statisticType(plan.precision));
  size_t parameter = 0;
  for (int64_t block = 0; block < plan.model.blocks; ++block)
    for (const plan::Weight &weight : plan.weights)
      for (const plan::WeightPart &part : weight.parts) {
        int64_t columns = weight.shape.size() > 1 ? weight.shape[1] : 1;
        for (const plan::WeightState &state : weight.states)
          slots.push_back({"optimizer." + std::string(plan::stateName(state.kind)) + ".blocks." +
                               std::to_string(block) + "." + part.parameter,
                           state.kind, parameter,
                           base + block * plan.stateBlockBytes + state.offset +
                               part.firstRow * columns * element});
        ++parameter;
      }
  return slots;
}

Result<TrainingState> TrainingState::create(const plan::Plan &plan, Backend &backend,
                                            std::byte *arena, std::byte *staticPart) {
  TrainingState state(plan, backend, arena, staticPart);
  EVO_ASSIGN(state.weights, weightSlots(plan));
  EVO_ASSIGN(state.states, stateSlots(plan));
  state.scalarTensor = findTensor(plan, plan::kOptimizerTensor);
  if (!plan.optimizer || !state.scalarTensor ||
      state.scalarTensor->shape != std::vector<int64_t>{4})
    return Status::error(ErrorCode::InvalidPlan, "expected an optimizer and its tensor '" +
                                                     std::string(plan::kOptimizerTensor) +
                                                     "' [4] in the plan, got none");
  return state;
}

std::vector<TrainingState::Entry> TrainingState::entries() const {
  plan::DType statistic = plan::statisticType(plan.precision);
  std::vector<Entry> list;
  for (const WeightSlot &slot : weights)
    list.push_back({slot.name, slot.dtype, slot.shape, staticPart + slot.offset});
  for (const StateSlot &slot : states)
    list.push_back({slot.name, statistic, weights[slot.weight].shape, staticPart + slot.offset});
  list.push_back({std::string(kScalarsName), scalarTensor->dtype, scalarTensor->shape,
                  arena + scalarTensor->offset});
  return list;
}

Status TrainingState::reset() {
  plan::DType statistic = plan::statisticType(plan.precision);
  std::vector<std::byte> zeros;
  for (const StateSlot &slot : states) {
    auto bytes = plan::byteSize(weights[slot.weight].shape, statistic).value_or(0);
    zeros.resize(std::max(zeros.size(), static_cast<size_t>(bytes)));
    EVO_TRY(backend.upload(staticPart + slot.offset, zeros.data(), bytes));
  }
  std::byte stored[4 * sizeof(double)];
  const double first[] = {plan.optimizer->lossScale, 0, 0, 0};
  storeDoubles(first, scalarTensor->dtype, stored);
  return backend.upload(arena + scalarTensor->offset, stored, scalarTensor->bytes);
}

Status TrainingState::setMaster(size_t weight, const ElementReader &read, int threads) {
  for (const StateSlot &slot : states)
    if (slot.weight == weight && slot.kind == plan::StateKind::Master)
      return uploadElements(backend, staticPart + slot.offset, plan::statisticType(plan.precision),
                            weights[weight].shape, slot.name, read, {threads, false});
  return {};
}

Result<OptimizerScalars> TrainingState::scalars() const {
  std::byte stored[4 * sizeof(double)];
  EVO_TRY(backend.download(stored, arena + scalarTensor->offset, scalarTensor->bytes));
  OptimizerScalars values;
  double numbers[4];
  convertElements(hostTypeOf(scalarTensor->dtype), stored, plan::DType::F64,
                  reinterpret_cast<std::byte *>(numbers), 4);
  values.lossScale = numbers[0], values.sinceChange = numbers[1];
  values.steps = numbers[2], values.nonfinite = numbers[3];
  return values;
}

Status TrainingState::save(OutputFile &file, uint32_t dropoutSeed) const {
  EVO_ASSIGN(OptimizerScalars now, scalars());
  SafetensorsMetadata metadata;
  metadata["format"] = std::string(kStateFormat);
  metadata["optimizer"] = std::string(plan::optimizerName(plan.optimizer->kind));
  metadata["dtype"] = std::string(plan::dtypeName(plan::storageType(plan.precision)));
  metadata["step"] = std::to_string(static_cast<int64_t>(now.steps));
  metadata["dropout_seed"] = std::to_string(dropoutSeed);
  std::vector<TensorToWrite> tensors;
  for (const Entry &entry : entries())
    tensors.push_back(storedTensor(backend, entry.place, entry.dtype, entry.shape, entry.name));
  return writeSafetensors(file, tensors, metadata);
}

Result<uint32_t> TrainingState::load(const std::string &path) {
  EVO_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  SafetensorsMetadata metadata;
  EVO_ASSIGN(std::vector<HostTensor> tensors,
             parseSafetensors(file->bytes(), path, file, &metadata));
  EVO_TRY(checkEntry(metadata, "format", kStateFormat, path,
                     " (--load-state takes what --save-state wrote; --weights takes weights)"));
  EVO_TRY(checkEntry(metadata, "optimizer", plan::optimizerName(plan.optimizer->kind), path,
                     " (the plan's optimizer is another than the one that saved it)"));
  EVO_TRY(checkEntry(metadata, "dtype", plan::dtypeName(plan::storageType(plan.precision)), path,
                     " (compile the plan with the --dtype that saved it)"));
  EVO_ASSIGN(uint32_t seed, readSeed(metadata, path));
  std::map<std::string_view, const HostTensor *> byName;
  for (const HostTensor &tensor : tensors)
    byName[tensor.name] = &tensor;
  for (const Entry &entry : entries()) {
    auto found = byName.find(entry.name);
    std::string expected =
        std::string(hostTypeName(hostTypeOf(entry.dtype))) + " " + shapeText(entry.shape);
    if (found == byName.end())
      return invalid(path, "missing tensor '" + entry.name + "': expected " + expected +
                               ", got none (is the plan's optimizer, master_weights and number of "
                               "blocks the file's)");
    const HostTensor &tensor = *found->second;
    if (tensor.dtype != hostTypeOf(entry.dtype) || tensor.shape != entry.shape)
      return invalid(path, "tensor '" + entry.name + "': expected " + expected + ", got " +
                               std::string(hostTypeName(tensor.dtype)) + " " +
                               shapeText(tensor.shape));
    EVO_TRY(backend.upload(entry.place, tensor.bytes.data(),
                           static_cast<int64_t>(tensor.bytes.size())));
    byName.erase(found);
  }
  if (!byName.empty())
    return invalid(path, "surplus tensor '" + std::string(byName.begin()->first) + "' " +
                             shapeText(byName.begin()->second->shape) +
                             ": expected what the plan's optimizer keeps and nothing else");
  EVO_TRY(backend.synchronize());
  return seed;
}

} // namespace evo
