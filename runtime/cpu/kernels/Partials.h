//===- Partials.h - long sums in parts --------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Sums over so many rows that one task would be too long. The rows are cut into chunks by shape
// alone; each chunk's sum goes to a slot of its own, and the slots are added in their order. The
// slots lie at the end of the first worker's scratch, so tasks must do with kTaskScratchBytes of
// theirs.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

inline constexpr int64_t kSlotBytes = int64_t{768} << 10;
/// What ScratchSpace may hand out to a task beside slots.
inline constexpr int64_t kTaskScratchBytes = kKernelScratchBytes - kSlotBytes;

/// Slots of `width` sums of type S.
template <class S> class Partials {
public:
  static constexpr int64_t kMostSums = kSlotBytes / int64_t(sizeof(S));

  /// `units` are cut into at most `mostChunks` runs of neighbours; at least one, perhaps empty.
  /// `width` <= kMostSums.
  Partials(const Launch &launch, int64_t units, int64_t width, int64_t mostChunks)
      : slots(reinterpret_cast<S *>(launch.pool->firstScratch() + kScratchBytes - kSlotBytes)),
        units(units), width(width) {
    int64_t most = smaller(mostChunks, kMostSums / larger<int64_t>(width, 1));
    perChunk = larger<int64_t>(1, ceilDiv(units, larger<int64_t>(most, 1)));
    count = larger<int64_t>(1, ceilDiv(units, perChunk));
  }
  int64_t chunks() const { return count; }
  int64_t first(int64_t chunk) const { return chunk * perChunk; }
  int64_t end(int64_t chunk) const { return smaller(units, (chunk + 1) * perChunk); }
  S *slot(int64_t chunk) const { return slots + chunk * width; }

  /// total[i] = sum over the chunks of slot[from + i], for i in [0, n)
  void sum(S *__restrict total, int64_t from, int64_t n) const {
    loadLine(total, slots + from, 1, n);
    for (int64_t chunk = 1; chunk < count; ++chunk)
      addLine(total, slots + chunk * width + from, 1, n);
  }

private:
  S *slots;
  int64_t units, width, perChunk, count;
};

/// out[i] = accumulator[i] + the sums of doubles from `from` on, for i in [0, n); the accumulator
/// may be absent, or out.
template <class T>
void storeSums(const Partials<double> &partials, int64_t from, const T *accumulator,
               int64_t accumulatorStride, T *out, int64_t stride, int64_t n) {
  constexpr int64_t kPiece = 128;
  double total[kPiece];
  for (int64_t i = 0; i < n; i += kPiece) {
    int64_t count = smaller(kPiece, n - i);
    partials.sum(total, from + i, count);
    for (int64_t j = 0; j < count; ++j) {
      double before = accumulator ? double(accumulator[(i + j) * accumulatorStride]) : 0.0;
      out[(i + j) * stride] = T(before + total[j]);
    }
  }
}

} // namespace evo::cpu::EVO_CPU_ISA
