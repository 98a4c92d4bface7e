//===- Calibrate.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Calibrate.h"

#include "runtime/core/Convert.h"
#include "runtime/core/Workspace.h"

#include <algorithm>
#include <random>
#include <string>

namespace evo {

namespace {
using plan::CalibrationSample;
using plan::DType;
using plan::OperandInfo;

/// A call's operands are cut from regions, by what they hold.
enum class Region : uint8_t {
  Storage,       ///< uniform in [-1, 1), in the storage type
  Statistic,     ///< uniform in [0.25, 1), in the statistic type: may be a root's or a divisor
  Ones,          ///< masks
  KeptStorage,   ///< written in place, and never by others: what another call leaves may be
  KeptStatistic, ///< denormal in this one's type, which takes processors longer
  Written,       ///< outputs
};
constexpr size_t kRegions = 6;

/// What a plan writes in place: residuals, and sums that a kernel adds to.
bool isInPlace(const plan::KernelInfo &info, const OperandInfo &operand) {
  if (operand.name == "residual")
    return true;
  return std::any_of(info.operands.begin(), info.operands.end(), [&](const OperandInfo &output) {
    return output.accumulates && output.mayAlias == operand.name;
  });
}

Region regionOf(const plan::KernelInfo &info, const OperandInfo &operand) {
  const bool statistic = operand.type == plan::OperandType::Statistic;
  if (operand.isOutput())
    return Region::Written;
  if (isInPlace(info, operand))
    return statistic ? Region::KeptStatistic : Region::KeptStorage;
  if (operand.name.find("mask") != std::string_view::npos)
    return Region::Ones;
  return statistic ? Region::Statistic : Region::Storage;
}

/// A call as the backend takes it, with offsets in place of pointers.
struct PreparedCall {
  const CalibrationCall *call = nullptr;
  plan::KernelWork work;
  std::vector<TensorRef> operands;
  std::vector<std::vector<TensorRef>> copies; ///< the operands in other places, each with pointers
  std::vector<Region> regions;
  std::vector<int64_t> offsets;
  std::array<int64_t, kRegions> bytes{}; ///< that it takes of each region
  int64_t repeats = 0;                   ///< launches a sample; 0: not known yet
  bool unsupported = false;
  std::vector<int64_t> times; ///< of one launch, one a round
};

class Calibration {
public:
  Calibration(Backend &backend, const CalibrationOptions &options)
      : backend(backend), options(options) {}

  Status measure(std::span<const CalibrationCall> calls, plan::Precision precision, int64_t before,
                 int64_t all, std::vector<CalibrationSample> &samples) {
    this->precision = precision;
    std::vector<PreparedCall> prepared;
    std::array<int64_t, kRegions> most{};
    for (const CalibrationCall &call : calls) {
      EVO_ASSIGN(PreparedCall next, prepare(call));
      for (size_t region = 0; region < kRegions; ++region)
        most[region] = std::max(most[region], next.bytes[region] * copiesOf(next));
      prepared.push_back(std::move(next));
    }
    EVO_TRY(allocate(most));
    for (PreparedCall &call : prepared)
      bind(call);
    EVO_TRY(measureProducts(prepared));
    for (int round = 0; round < rounds(); ++round)
      for (PreparedCall &call : prepared) {
        if (options.onCall)
          options.onCall(before++, all);
        EVO_TRY(measureOnce(call).withContext(
            "measuring '" + std::string(plan::kernelInfo(call.call->kernel).mnemonic) + "' in " +
            std::string(plan::precisionName(precision))));
      }
    for (PreparedCall &call : prepared) {
      if (call.times.empty())
        continue;
      auto median = call.times.begin() + static_cast<std::ptrdiff_t>(call.times.size() / 2);
      std::nth_element(call.times.begin(), median, call.times.end());
      samples.push_back({call.work, precision, *median, call.call->series, call.call->heldOut});
    }
    return {};
  }

  int rounds() const { return std::max(options.rounds, 1); }

private:
  Result<PreparedCall> prepare(const CalibrationCall &call) const {
    const plan::KernelInfo &info = plan::kernelInfo(call.kernel);
    EVO_ASSIGN(plan::AxisExtents axes,
               plan::bindKernelAxes(call.kernel, call.attributes, call.shapes));
    uint32_t present = 0;
    for (size_t i = 0; i < call.shapes.size(); ++i)
      present |= call.shapes[i] ? 1u << i : 0;
    PreparedCall prepared;
    prepared.call = &call;
    prepared.work = plan::kernelWork(call.kernel, axes, present);
    for (size_t i = 0; i < info.operands.size(); ++i) {
      const OperandInfo &operand = info.operands[i];
      const int tied = isInPlaceOutput(info, operand, call);
      prepared.regions.push_back(tied >= 0 ? prepared.regions[static_cast<size_t>(tied)]
                                           : regionOf(info, operand));
      prepared.operands.emplace_back();
      prepared.offsets.push_back(0);
      if (!call.shapes[i])
        continue;
      EVO_ASSIGN(int64_t bytes, describe(*call.shapes[i], operand, prepared.operands.back()));
      if (isChannelFirst(call.kernel, operand))
        layChannelsFirst(prepared.operands.back());
      (operand.isOutput() ? prepared.work.bytesWritten : prepared.work.bytesRead) +=
          static_cast<double>(bytes);
      int64_t &taken = prepared.bytes[static_cast<size_t>(prepared.regions[i])];
      prepared.offsets[i] = tied >= 0 ? prepared.offsets[static_cast<size_t>(tied)] : taken;
      if (tied < 0)
        taken += plan::alignTo(bytes);
    }
    return prepared;
  }

  /// The input whose place an output takes; -1 where it has its own.
  static int isInPlaceOutput(const plan::KernelInfo &info, const OperandInfo &operand,
                             const CalibrationCall &call) {
    int tied = operand.isOutput() ? info.operandIndex(operand.mayAlias) : -1;
    bool inPlace = tied >= 0 && call.shapes[static_cast<size_t>(tied)] &&
                   isInPlace(info, info.operands[static_cast<size_t>(tied)]);
    return inPlace ? tied : -1;
  }

  /// Gated linear layers make the operands of triangle products, a matrix a channel, in every plan.
  static bool isChannelFirst(plan::Kernel kernel, const OperandInfo &operand) {
    return (kernel == plan::Kernel::GatedLinear && operand.name == "y") ||
           (kernel == plan::Kernel::GatedLinearGrad && operand.name == "dy");
  }
  static void layChannelsFirst(TensorRef &tensor) {
    int channels = tensor.rank - 1;
    for (int d = 0; d < channels; ++d)
      tensor.strides[d] /= tensor.shape[channels];
    tensor.strides[channels] = 1;
    for (int d = 0; d < channels; ++d)
      tensor.strides[channels] *= tensor.shape[d];
  }

  /// A dense tensor; returns its bytes.
  Result<int64_t> describe(const std::vector<int64_t> &shape, const OperandInfo &operand,
                           TensorRef &tensor) const {
    tensor.dtype = operand.type == plan::OperandType::Statistic ? plan::statisticType(precision)
                                                                : plan::storageType(precision);
    tensor.rank = static_cast<int>(shape.size());
    int64_t stride = 1;
    for (size_t d = shape.size(); d-- > 0;) {
      tensor.shape[d] = shape[d];
      tensor.strides[d] = stride;
      stride *= shape[d];
    }
    std::optional<int64_t> bytes = plan::byteSize(shape, tensor.dtype);
    if (!bytes)
      return Status::error(ErrorCode::InvalidInput,
                           "calibration: expected operands below 2^63 bytes, got a larger one");
    return *bytes;
  }

  Status allocate(const std::array<int64_t, kRegions> &most) {
    memory = nullptr; // before the next one is asked for
    int64_t total = 0;
    for (size_t region = 0; region < kRegions; ++region) {
      starts[region] = total;
      total += plan::alignTo(most[region]);
    }
    EVO_ASSIGN(memory, backend.allocate(std::max<int64_t>(total, plan::kAlignment)));
    const DType storage = plan::storageType(precision), statistic = plan::statisticType(precision);
    EVO_TRY(fill(Region::Storage, most, randomBytes(storage, -1, 1)));
    EVO_TRY(fill(Region::Statistic, most, randomBytes(statistic, 0.25, 1)));
    EVO_TRY(fill(Region::Ones, most, randomBytes(storage, 1, 1)));
    EVO_TRY(fill(Region::KeptStorage, most, randomBytes(storage, 0.25, 1)));
    return fill(Region::KeptStatistic, most, randomBytes(statistic, 0.25, 1));
  }

  /// Numbers in [low, high), the same ones each time.
  static std::vector<std::byte> randomBytes(DType type, double low, double high) {
    constexpr size_t kCount = size_t{1} << 16;
    std::mt19937_64 random(20260203);
    std::vector<double> values(kCount);
    for (double &value : values)
      value = low + (high - low) * static_cast<double>(random() >> 11) * 0x1p-53;
    std::vector<std::byte> bytes(kCount * static_cast<size_t>(plan::elementBytes(type)));
    storeDoubles(values, type, bytes.data());
    return bytes;
  }

  /// Repeats a pattern over a region.
  Status fill(Region region, const std::array<int64_t, kRegions> &bytes,
              const std::vector<std::byte> &pattern) {
    std::byte *target = memory->data() + starts[static_cast<size_t>(region)];
    const int64_t all = bytes[static_cast<size_t>(region)];
    const auto step = static_cast<int64_t>(pattern.size());
    for (int64_t done = 0; done < all; done += step)
      EVO_TRY(backend.upload(target + done, pattern.data(), std::min(all - done, step)));
    return {};
  }

  /// In how many places a call's operands lie, so that launches go through `coldBytes`.
  int64_t copiesOf(const PreparedCall &prepared) const {
    constexpr int64_t kMostCopies = 64;
    int64_t bytes = 0;
    for (int64_t ofRegion : prepared.bytes)
      bytes += ofRegion;
    return std::clamp<int64_t>(options.coldBytes / std::max<int64_t>(bytes, 1), 1, kMostCopies);
  }

  void bind(PreparedCall &prepared) const {
    prepared.copies.assign(static_cast<size_t>(copiesOf(prepared)), prepared.operands);
    for (size_t copy = 0; copy < prepared.copies.size(); ++copy)
      for (size_t i = 0; i < prepared.operands.size(); ++i) {
        const auto region = static_cast<size_t>(prepared.regions[i]);
        if (prepared.call->shapes[i])
          prepared.copies[copy][i].data = memory->data() + starts[region] + prepared.offsets[i] +
                                          static_cast<int64_t>(copy) * prepared.bytes[region];
      }
  }

  /// Enqueues a call `repeats` times, each in its own place.
  Status launchAll(const PreparedCall &prepared, int64_t repeats) {
    KernelCall call{prepared.call->kernel, precision, &prepared.call->attributes, {}};
    for (int64_t i = 0; i < repeats; ++i) {
      call.operands = prepared.copies[static_cast<size_t>(i) % prepared.copies.size()];
      EVO_TRY(backend.launch(call));
    }
    return {};
  }

  /// Nanoseconds of `repeats` launches, one behind the other.
  Result<int64_t> timeOnce(const PreparedCall &prepared, int64_t repeats) {
    const int64_t start = options.clock();
    EVO_TRY(launchAll(prepared, repeats));
    EVO_TRY(backend.synchronize());
    return options.clock() - start;
  }

  /// Nanoseconds of one of about `repeats` launches as programs make them: recorded, where the
  /// backend can.
  Result<int64_t> timeRepeats(const PreparedCall &prepared, int64_t repeats) {
    constexpr int64_t kMostRecorded = 64;
    if (!backend.canRecord() || repeats < 2) {
      EVO_ASSIGN(int64_t ns, timeOnce(prepared, repeats));
      return ns / repeats;
    }
    const int64_t recorded = std::min(repeats, kMostRecorded), replays = repeats / recorded;
    EVO_TRY(backend.beginRecording());
    Status launched = launchAll(prepared, recorded);
    Result<std::unique_ptr<Tape>> tape = backend.endRecording();
    EVO_TRY(launched);
    EVO_TRY(tape.status());
    EVO_ASSIGN(std::unique_ptr<Recording> recording, backend.load(**tape, nullptr));
    EVO_TRY(backend.synchronize()); // it has been uploaded
    const int64_t start = options.clock();
    for (int64_t i = 0; i < replays; ++i)
      EVO_TRY(recording->replay());
    EVO_TRY(backend.synchronize());
    return (options.clock() - start) / (replays * recorded);
  }

  /// The library of products learns what the calls need, so that they are timed as plans run them.
  Status measureProducts(std::vector<PreparedCall> &prepared) {
    ProductLibrary *library = backend.productLibrary();
    if (!library)
      return {};
    for (PreparedCall &call : prepared) {
      Result<int64_t> launched = timeOnce(call, 1);
      call.unsupported = !launched && launched.status().code() == ErrorCode::Unsupported;
      if (!call.unsupported)
        EVO_TRY(launched.status());
    }
    return library->measure().withContext("measuring the products of " + library->name());
  }

  /// One sample of a call; none of one that the backend does not support.
  Status measureOnce(PreparedCall &prepared) {
    constexpr int64_t kMostRepeats = 100'000;
    if (prepared.unsupported)
      return {};
    EVO_TRY(backend.synchronize());
    // Warms caches and whatever the backend sets up late.
    Result<int64_t> first = timeOnce(prepared, 1);
    if (!first && first.status().code() == ErrorCode::Unsupported) {
      prepared.unsupported = true;
      return {};
    }
    EVO_TRY(first.status());
    if (prepared.repeats == 0) {
      EVO_ASSIGN(int64_t once, timeOnce(prepared, 1));
      prepared.repeats =
          std::clamp<int64_t>(options.sampleNs / std::max<int64_t>(once, 1), 1, kMostRepeats);
    }
    EVO_ASSIGN(int64_t ns, timeRepeats(prepared, prepared.repeats));
    prepared.times.push_back(std::max<int64_t>(ns, 1));
    return {};
  }

  Backend &backend;
  const CalibrationOptions &options;
  plan::Precision precision = plan::Precision::Fp32;
  std::unique_ptr<DeviceMemory> memory;
  std::array<int64_t, kRegions> starts{};
};

} // namespace

Result<std::vector<CalibrationSample>> measureCalls(Backend &backend,
                                                    std::span<const CalibrationCall> calls,
                                                    const CalibrationOptions &options) {
  std::vector<CalibrationSample> samples;
  const int64_t count = static_cast<int64_t>(calls.size()) * std::max(options.rounds, 1);
  const int64_t all = count * static_cast<int64_t>(options.precisions.size());
  int64_t before = 0;
  EVO_ASSIGN(std::unique_ptr<DeviceMemory> workspace, allocateWorkspace(backend));
  Calibration calibration(backend, options);
  for (plan::Precision precision : options.precisions) {
    EVO_TRY(calibration.measure(calls, precision, before, all, samples));
    before += count;
  }
  return samples;
}

} // namespace evo
