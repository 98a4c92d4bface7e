//===- FakeBackend.h - a naive device for tests -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Knows `copy` and `linear` of float tensors by their definitions, element by element through the
// strides. Records launches where it is told to.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace evo::test {

class FakeMemory : public DeviceMemory {
public:
  explicit FakeMemory(int64_t bytes) : storage(static_cast<size_t>(bytes)) {}
  std::byte *data() const override { return const_cast<std::byte *>(storage.data()); }
  int64_t bytes() const override { return static_cast<int64_t>(storage.size()); }

private:
  std::vector<std::byte> storage;
};

/// Says what it was asked for; its table has one class, measured once more each time.
class FakeLibrary : public ProductLibrary {
public:
  std::string name() const override { return "fake 1.2"; }
  void follow(const plan::ProductTable &table) override { followed = table; }
  Status measure() override {
    ++measured;
    followed = {"fake 1.2", {{}}, {{{}, {{{measured, 1, 1, 1}, 0}}}}};
    return {};
  }
  const plan::ProductTable &table() const override { return followed; }

  plan::ProductTable followed;
  int64_t measured = 0;
};

class FakeBackend : public Backend {
public:
  DeviceIdentity identity() const override {
    return {"fake", 1, 1, memoryBytes, 0, workspaceBytes};
  }
  std::string name() const override { return "fake"; }
  std::string description() const override { return "a naive device"; }
  bool supports(plan::Precision precision) const override {
    return precision == plan::Precision::Fp32;
  }
  Result<std::unique_ptr<DeviceMemory>> allocate(int64_t bytes) override {
    if (bytes > memoryBytes)
      return Status::error(ErrorCode::OutOfMemory, "expected at most " +
                                                       std::to_string(memoryBytes) +
                                                       " bytes, got " + std::to_string(bytes));
    return std::unique_ptr<DeviceMemory>(new FakeMemory(bytes));
  }
  Status setWorkspace(std::byte *start, int64_t bytes) override {
    EVO_TRY(checkWorkspace(bytes));
    workspace = {start, static_cast<size_t>(bytes)};
    return {};
  }
  Status upload(std::byte *device, const void *host, int64_t bytes) override {
    std::memcpy(device, host, static_cast<size_t>(bytes));
    return {};
  }
  Status download(void *host, const std::byte *device, int64_t bytes) override {
    std::memcpy(host, device, static_cast<size_t>(bytes));
    return {};
  }
  Status synchronize() override {
    return failsWhenAwaited ? Status::error(ErrorCode::Internal, "a launch has failed") : Status();
  }
  ProductLibrary *productLibrary() override { return library ? &*library : nullptr; }

  std::optional<int64_t> freeBytes() const override { return tellsFree; }
  std::optional<int64_t> lostBytes() const override {
    return lost.empty() ? std::nullopt : std::optional(lost[std::min(asked++, lost.size() - 1)]);
  }
  bool canRecord() const override { return records; }
  bool isRecording() const { return recording != nullptr; }
  Status beginRecording() override {
    recording = std::make_shared<std::vector<Launch>>();
    return {};
  }
  Result<std::unique_ptr<Tape>> endRecording() override {
    ++tapes;
    return std::unique_ptr<Tape>(new FakeTape(*this, *std::exchange(recording, nullptr)));
  }
  Result<std::unique_ptr<Recording>> load(const Tape &tape,
                                          std::unique_ptr<Recording> old) override {
    const std::vector<Launch> &launches = static_cast<const FakeTape &>(tape).launches;
    auto *changed = static_cast<FakeRecording *>(old.get());
    if (changed && changed->launches.size() == launches.size()) {
      ++updates;
      changed->launches = launches;
      return old;
    }
    if (recordings.size() == recordingThatFails)
      return Status::error(ErrorCode::OutOfMemory, "no memory for a recording");
    recordings.push_back(launches.size());
    return std::unique_ptr<Recording>(new FakeRecording(*this, launches));
  }
  Status setDropout(uint32_t seed, uint32_t step) override {
    replayKey = {seed, step, 0};
    return {};
  }

  Status launch(const KernelCall &call) override {
    if (recording) {
      recording->push_back({call, {call.operands.begin(), call.operands.end()}});
      return {};
    }
    if (launches.size() == failAt)
      return Status::error(failCode, "the device is gone");
    launches.emplace_back(call.operands.begin(), call.operands.end());
    keys.push_back(call.dropout);
    if (call.kernel == plan::Kernel::Copy)
      return copy(call.operands[0], call.operands[1]);
    if (call.kernel == plan::Kernel::Linear)
      return linear(call);
    return skipsOthers ? Status::success()
                       : Status::error(ErrorCode::Unsupported, "expected copy or linear");
  }

  std::vector<std::vector<TensorRef>> launches; ///< operands of every launch
  std::vector<plan::DropoutKey> keys;           ///< of every launch
  size_t failAt = SIZE_MAX;                     ///< the launch that fails
  ErrorCode failCode = ErrorCode::Internal;
  bool failsWhenAwaited = false;
  std::optional<int64_t> tellsFree; ///< bytes
  bool records = false;
  std::vector<size_t> recordings; ///< launches of each
  size_t recordingThatFails = SIZE_MAX;
  int64_t launchesOfCall = 1; ///< of the device, in a recording
  int tapes = 0;              ///< that were recorded
  int replays = 0;
  int updates = 0; ///< recordings that were changed into others
  int64_t memoryBytes = int64_t{1} << 30;
  std::optional<FakeLibrary> library; ///< that computes its products
  int64_t workspaceBytes = 0;         ///< that its kernels would need
  std::span<std::byte> workspace;     ///< that it was given
  bool skipsOthers = false;           ///< other kernels than copy and linear do nothing
  std::vector<int64_t> lost;          ///< what lostBytes tells, one a time; empty: nothing

private:
  mutable size_t asked = 0; ///< for lostBytes
  struct Launch {
    KernelCall call;
    std::vector<TensorRef> operands;
  };
  class FakeTape : public Tape {
  public:
    FakeTape(const FakeBackend &backend, std::vector<Launch> launches)
        : launches(std::move(launches)), backend(backend) {}
    int64_t size() const override {
      return static_cast<int64_t>(launches.size()) * backend.launchesOfCall;
    }
    std::vector<Launch> launches;

  private:
    const FakeBackend &backend;
  };
  class FakeRecording : public Recording {
  public:
    FakeRecording(FakeBackend &backend, std::vector<Launch> launches)
        : launches(std::move(launches)), backend(backend) {}
    Status replay() override {
      ++backend.replays;
      for (Launch &launch : launches) {
        launch.call.operands = launch.operands;
        launch.call.dropout.seed = backend.replayKey.seed;
        launch.call.dropout.step = backend.replayKey.step;
        EVO_TRY(backend.launch(launch.call));
      }
      return {};
    }
    std::vector<Launch> launches;

  private:
    FakeBackend &backend;
  };
  std::shared_ptr<std::vector<Launch>> recording; ///< in progress
  plan::DropoutKey replayKey;

  static float &at(const TensorRef &ref, std::span<const int64_t> index) {
    int64_t element = 0;
    for (size_t d = 0; d < index.size(); ++d)
      element += index[d] * ref.strides[d];
    return reinterpret_cast<float *>(ref.data)[element];
  }
  /// Calls `body` with every index of the shape's first `rank` axes.
  template <class Body> static void forEach(const TensorRef &ref, int rank, Body body) {
    std::vector<int64_t> index(static_cast<size_t>(rank), 0);
    for (size_t d = 0; d < index.size(); ++d)
      if (ref.shape[d] == 0)
        return;
    while (true) {
      body(index);
      size_t d = index.size();
      while (d > 0 && ++index[d - 1] == ref.shape[d - 1])
        index[--d] = 0;
      if (d == 0)
        return;
    }
  }
  static Status copy(const TensorRef &x, const TensorRef &y) {
    forEach(y, y.rank, [&](const std::vector<int64_t> &index) { at(y, index) = at(x, index); });
    return {};
  }
  static Status linear(const KernelCall &call) {
    const TensorRef &x = call.operands[0], &weight = call.operands[1], &bias = call.operands[2],
                    &residual = call.operands[6], &y = call.operands[7];
    auto axis = static_cast<size_t>(x.rank - 1);
    forEach(y, y.rank, [&](const std::vector<int64_t> &index) {
      std::vector<int64_t> from = index;
      float sum = bias ? at(bias, std::vector<int64_t>{index[axis]}) : 0.0f;
      for (int64_t k = 0; k < x.shape[axis]; ++k) {
        from[axis] = k;
        sum += at(x, from) * at(weight, std::vector<int64_t>{index[axis], k});
      }
      at(y, index) = sum + (residual ? at(residual, index) : 0.0f);
    });
    return {};
  }
};

} // namespace evo::test
