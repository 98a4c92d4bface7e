//===- Context.h - a device and what is kept on it --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/CublasLt.h"
#include "runtime/cuda/MemoryMeter.h"
#include "runtime/plan/DType.h"
#include "runtime/plan/ProductTable.h"

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace evo::cuda {

/// Counters of blocks that have come; a launch uses as many as it has sums to finish.
inline constexpr int64_t kArrivals = 1024;

/// A product of cuBLASLt with everything resolved but the pointers; see Product.cpp.
class LtPlan;

// The parts of the workspace that the caller gives (Backend::setWorkspace).

/// What the library may use beside the matrices of a product.
inline constexpr int64_t kLibraryWorkspaceBytes = int64_t{32} << 20;
/// Products that are kept for the rest of a fused kernel, and partial sums. Half of it at a time
/// stays in the 50 MB of second-level cache of the devices that this is made for.
inline constexpr int64_t kScratchBytes = int64_t{64} << 20;

/// Copies of operands that the library cannot read where they lie, two at a time.
inline constexpr int64_t kPackedBytes = int64_t{48} << 20;
/// All of it; 512 divides each part, so each begins as aligned as the whole.
inline constexpr int64_t kWorkspaceBytes = kScratchBytes + kLibraryWorkspaceBytes + kPackedBytes;

/// One device: a stream, on which all launches follow each other, the matrix library, and the
/// workspace that every launch may use until it ends: the caller's memory, whatever it holds. Not
/// for several threads at a time.
class Context {
public:
  static Result<std::unique_ptr<Context>> create(std::shared_ptr<const MemoryStart> start,
                                                 int device);
  ~Context();
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  /// CUDA's answer to an expression: an error names this device, too.
  Status checked(cudaError_t error, const char *expression) const;
  /// Makes this device the calling thread's.
  Status use() const;
  /// "cuda device 0 (NVIDIA H100 80GB HBM3)"
  std::string where() const;

  int device = 0;
  std::string deviceName; ///< "NVIDIA H100 80GB HBM3"
  int processors = 1;     ///< multiprocessors
  bool isHopper = false;  ///< of compute capability 9.0, whose kernels no other device runs
  int64_t memoryBytes = 0;
  /// The driver's function that describes tensors to Hopper's copies; null elsewhere.
  decltype(&cuTensorMapEncodeTiled) encodeTensorMap = nullptr;
  /// How many clusters of a Hopper kernel the device runs at a time, of each half type; 0: it has
  /// no such clusters.
  struct Clusters {
    int bf16 = 0, f16 = 0;
  } weightClusters; ///< of WeightGradHopper.cu
  cudaStream_t stream = nullptr;
  uint32_t *arrivals = nullptr; ///< kArrivals; 0 between launches
  /// Seed and step of the masks of dropout, on the device, where recorded launches find those of a
  /// later step; and what they are.
  uint32_t *dropoutKey = nullptr;
  uint32_t dropoutSeed = 0, dropoutStep = 0;
  std::byte *scratch = nullptr; ///< kScratchBytes; null like the others until there is a workspace
  std::byte *workspace = nullptr; ///< kLibraryWorkspaceBytes
  std::byte *packed = nullptr;    ///< kPackedBytes
  MemoryMeter meter;
  std::unique_ptr<CublasLt> lt;
  cublasLtHandle_t handle = nullptr;
  plan::ProductTable table; ///< by which products are computed; empty: as the library proposes
  /// By shape, layout and type. One algorithm a key, so the same call gives the same bits.
  std::map<std::vector<int64_t>, std::unique_ptr<LtPlan>> products;

  /// Cuts `kWorkspaceBytes` into the three parts.
  void setWorkspace(std::byte *start);
  /// Enqueues the change of the key where it is another.
  Status setDropout(uint32_t seed, uint32_t step);

private:
  Context(std::shared_ptr<const MemoryStart> start, int device);
  /// Looks up what only Hopper has.
  void prepareHopper();
};

} // namespace evo::cuda
