//===- DropoutMask.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y = 1 / (1 - rate) where the element is kept, else 0. With i the element's row-major index and w
// word i mod 4 of Philox4x32-10 with key (seed, step) and counter (i / 4, block, module, 0), it is
// kept iff w >= floor(rate * 2^32).
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Rows.h"
#include "runtime/plan/Philox.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

/// Walks over the elements of an operand in row-major order.
template <class T> class Cursor {
public:
  Cursor(const Operand &operand, int64_t element) : operand(operand), at(elements<T>(operand)) {
    for (int d = operand.rank - 1; d >= 0; --d) {
      index[d] = element % operand.shape[d];
      element /= operand.shape[d];
      at += index[d] * operand.strides[d];
    }
  }
  void store(T value) {
    *at = value;
    for (int d = operand.rank - 1; d >= 0; --d) {
      at += operand.strides[d];
      if (++index[d] < operand.shape[d])
        return;
      at -= operand.shape[d] * operand.strides[d];
      index[d] = 0;
    }
  }

private:
  const Operand &operand;
  T *at;
  int64_t index[plan::kMaxRank] = {};
};

} // namespace

template <class S> void launchDropoutMask(const Launch &launch) {
  using T = Compute<S>;
  const Operand &y = launch.operands[0];
  const plan::DropoutKey &key = launch.dropout;
  double rate = launch.attributes->rate;
  auto module = static_cast<uint32_t>(launch.attributes->module);
  auto threshold = static_cast<uint32_t>(rate * 0x1p32);
  T kept = static_cast<T>(1 / (1 - rate));
  int64_t count = 1;
  for (int d = 0; d < y.rank; ++d)
    count *= y.shape[d];
  constexpr int64_t kTask = 4096; // of whole groups of four
  forEachTask(launch, ceilDiv(count, kTask), [&](int64_t task, const Workspace &) {
    int64_t end = smaller(count, (task + 1) * kTask);
    Cursor<T> cursor(y, task * kTask);
    for (int64_t i = task * kTask; i < end; i += 4) {
      plan::PhiloxWords words = plan::philox4x32(
          {{static_cast<uint32_t>(i / 4), key.block, module, 0}}, key.seed, key.step);
      for (int64_t lane = 0; lane < smaller<int64_t>(4, end - i); ++lane)
        cursor.store(words.word[lane] < threshold ? T(0) : kept);
    }
  });
}

EVO_CPU_INSTANTIATE(DropoutMask)

} // namespace evo::cpu::EVO_CPU_ISA
