//===- TensorStream.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/TensorStream.h"

#include <algorithm>
#include <thread>

namespace evo {

Status streamTensor(const TensorToWrite &tensor,
                    const std::function<Status(std::span<const std::byte>)> &sink) {
  int64_t size = hostTypeBytes(tensor.dtype);
  int64_t count = elementCount(tensor.shape).value_or(0);
  std::vector<std::byte> piece(static_cast<size_t>(std::min(count, kPieceElements) * size));
  for (int64_t first = 0; first < count; first += kPieceElements) {
    int64_t length = std::min(kPieceElements, count - first);
    EVO_TRY(tensor.read(first, length, piece.data()));
    EVO_TRY(sink({piece.data(), static_cast<size_t>(length * size)}));
  }
  return {};
}

Status parallelRanges(int threads, int64_t count,
                      const std::function<Status(int64_t first, int64_t count)> &body) {
  // A thread is not worth its start for less.
  constexpr int64_t kLeastPart = 1 << 14;
  int64_t parts = std::clamp<int64_t>(count / kLeastPart, 1, std::max(threads, 1));
  std::vector<Status> results(static_cast<size_t>(parts));
  auto runPart = [&](int64_t part) {
    int64_t first = count / parts * part + std::min(part, count % parts);
    int64_t length = count / parts + (part < count % parts ? 1 : 0);
    results[static_cast<size_t>(part)] = body(first, length);
  };
  std::vector<std::thread> workers;
  for (int64_t part = 1; part < parts; ++part)
    workers.emplace_back(runPart, part);
  runPart(0);
  for (std::thread &worker : workers)
    worker.join();
  for (Status &result : results)
    EVO_TRY(result);
  return {};
}

} // namespace evo
