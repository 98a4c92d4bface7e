//===- Backend.h - what a device must offer ---------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The executor, the conformance suite and the tools know devices through this interface only.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Kernel.h"
#include "runtime/plan/ProductTable.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace evo {

/// Device memory that is given back when the object dies.
class DeviceMemory {
public:
  virtual ~DeviceMemory() = default;
  virtual std::byte *data() const = 0; ///< aligned to plan::kAlignment
  virtual int64_t bytes() const = 0;
};

/// An operand as a kernel sees it. Strides count elements and may be anything >= 0.
struct TensorRef {
  std::byte *data = nullptr; ///< null: an absent optional operand
  plan::DType dtype = plan::DType::F32;
  int rank = 0;
  std::array<int64_t, plan::kMaxRank> shape{};
  std::array<int64_t, plan::kMaxRank> strides{};
  explicit operator bool() const { return data != nullptr; }
};

/// One kernel call; shapes have been checked by plan::checkKernelShapes.
struct KernelCall {
  plan::Kernel kernel;
  plan::Precision precision; ///< tf32 and fp32 differ here only
  const plan::KernelAttributes *attributes;
  std::span<const TensorRef> operands; ///< in the order of Kernels.def
  plan::DropoutKey dropout = {};       ///< `dropout_mask` alone reads it
};

/// Where measured times hold.
struct DeviceIdentity {
  std::string name;    ///< the processor and what of it kernels use: "AMD EPYC 9B45, x86-64-v4"
  int64_t threads = 1; ///< of the host that kernels run on; 1 on a GPU
  int64_t kernelRevision = 1; ///< of the backend's kernels: grows where their speed changes
  int64_t memoryBytes = 0;    ///< what the device has
  int64_t libraryBytes = 0;   ///< of it, what libraries take beside arena and static part
  /// What kernels and libraries need while they run, and plans reserve in the arena.
  int64_t workspaceBytes = 0;

  /// The device as plans and reports name it.
  std::string text() const {
    return name + ", kernels " + std::to_string(kernelRevision) + ", " + std::to_string(threads) +
           (threads == 1 ? " thread" : " threads");
  }
};

/// Launches as they were recorded, in the host's memory: the device has nothing of them.
class Tape {
public:
  virtual ~Tape() = default;
  /// The device's own launches, of which a call may be several: what a recording's memory grows
  /// with.
  virtual int64_t size() const = 0;
};

/// Launches that the device has and that can be enqueued again, all at once.
class Recording {
public:
  virtual ~Recording() = default;
  virtual Status replay() = 0;
};

/// A library of matrix products that has several ways to compute one.
class ProductLibrary {
public:
  virtual ~ProductLibrary() = default;
  virtual std::string name() const = 0; ///< with its version: "cuBLASLt 13.0.2"
  /// Products of later launches are computed as the table says, where it is of this library; else,
  /// and where it says nothing, as the library proposes.
  virtual void follow(const plan::ProductTable &table) = 0;
  /// Calibration: times the ways of all products that were launched since the last time, on the
  /// operands of their launches, adds them to the table and follows it.
  virtual Status measure() = 0;
  virtual const plan::ProductTable &table() const = 0; ///< that is followed
};

class Backend {
public:
  virtual ~Backend() = default;
  virtual DeviceIdentity identity() const = 0;
  virtual std::string name() const = 0;        ///< "cpu", "cuda"
  virtual std::string description() const = 0; ///< device, threads, library versions: for reports
  virtual bool supports(plan::Precision precision) const = 0;
  virtual Result<std::unique_ptr<DeviceMemory>> allocate(int64_t bytes) = 0;
  /// The memory that each launch may use until it ends, whatever it holds; the caller's, and alive
  /// while the backend launches. Refuses less than `identity().workspaceBytes`.
  virtual Status setWorkspace(std::byte *start, int64_t bytes) = 0;
  virtual Status upload(std::byte *device, const void *host, int64_t bytes) = 0;
  virtual Status download(void *host, const std::byte *device, int64_t bytes) = 0;
  /// Enqueues; results are there after `synchronize`. Same call, same bits, whatever the thread
  /// count.
  virtual Status launch(const KernelCall &call) = 0;
  virtual Status synchronize() = 0;

  /// The library that computes products; null where there is none with ways to choose from.
  virtual ProductLibrary *productLibrary() = 0;

  /// What the device has left for anybody; nothing where it cannot tell.
  virtual std::optional<int64_t> freeBytes() const { return std::nullopt; }
  /// What the device has lost since the program began, its libraries' memory included; nothing
  /// where the device cannot tell.
  virtual std::optional<int64_t> lostBytes() const { return std::nullopt; }

  /// Whether launches can be recorded. Between beginRecording and endRecording they are not
  /// enqueued, and nothing else may be asked of the backend. The keys of dropout in a recording
  /// follow `setDropout`, but for their blocks.
  virtual bool canRecord() const { return false; }
  virtual Status beginRecording() { return noRecordings(); }
  virtual Result<std::unique_ptr<Tape>> endRecording() { return noRecordings(); }
  /// Gives the device what is on a tape. `old`, where there is one, becomes the new recording where
  /// the device can change it, so that no memory is taken; what was enqueued of it runs as it was.
  virtual Result<std::unique_ptr<Recording>> load(const Tape &tape,
                                                  std::unique_ptr<Recording> old) {
    return noRecordings();
  }
  /// Seed and step of the masks that a replay makes.
  virtual Status setDropout(uint32_t seed, uint32_t step) { return {}; }

protected:
  /// What `setWorkspace` says of too little.
  Status checkWorkspace(int64_t bytes) const {
    DeviceIdentity device = identity();
    if (bytes >= device.workspaceBytes)
      return {};
    return Status::error(ErrorCode::InvalidInput,
                         "workspace of the kernels of " + device.name + ": expected at least " +
                             std::to_string(device.workspaceBytes) + " bytes in the arena, got " +
                             std::to_string(bytes) +
                             "; make the plan with a profile of this device (evo-opt --profile, "
                             "evo-run --calibrate writes one)");
  }

private:
  static Status noRecordings() {
    return Status::error(ErrorCode::Unsupported, "expected a backend that records launches");
  }
};

} // namespace evo
