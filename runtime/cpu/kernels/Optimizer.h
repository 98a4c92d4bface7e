//===- Optimizer.h - steps of an optimizer ----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What the steps share: the scalars of a run, and the walk over the elements of a weight, its
// gradient and its state, which all have the weight's shape. Reading and writing lines is what
// costs; the arithmetic of a line runs in scratch.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Axes.h"
#include "runtime/cpu/kernels/Storage.h"

namespace evo::cpu::EVO_CPU_ISA {

/// The four numbers of Kernels.def.
template <class T> struct Scalars {
  T lossScale, sinceChange, steps, nonfinite;

  explicit Scalars(const Operand &operand)
      : lossScale(at(operand, 0)), sinceChange(at(operand, 1)), steps(at(operand, 2)),
        nonfinite(at(operand, 3)) {}
  void store(const Operand &operand) const {
    at(operand, 0) = lossScale, at(operand, 1) = sinceChange;
    at(operand, 2) = steps, at(operand, 3) = nonfinite;
  }

private:
  static T &at(const Operand &operand, int64_t i) {
    return elements<T>(operand)[i * operand.strides[0]];
  }
};

/// The operands of a step that have the weight's shape; `kStates` kinds of state, each of which may
/// be absent.
template <int kStates> struct StepOperands {
  Operand gradient, master, weight, newWeight, newMaster;
  Operand state[kStates], newState[kStates];
};

inline constexpr int64_t kStepLength = 1024;

template <class E>
void readStepLine(Compute<E> *__restrict line, const E *__restrict source, int64_t stride,
                  int64_t n) {
  if (stride == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
      line[i] = widen(source[i]);
  } else {
    for (int64_t i = 0; i < n; ++i)
      line[i] = widen(source[i * stride]);
  }
}

template <class E>
void writeStepLine(E *__restrict target, int64_t stride, const Compute<E> *__restrict line,
                   int64_t n) {
  if (stride == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
      target[i] = rounded<E>(line[i]);
  } else {
    for (int64_t i = 0; i < n; ++i)
      target[i * stride] = rounded<E>(line[i]);
  }
}

/// Calls update(w, g, state, n) on lines of the parameter, the gradient and the states, which it
/// changes in place; with `skip` everything is written as it was read.
template <class S, int kStates, class Update>
void stepWeights(const Launch &launch, StepOperands<kStates> step, bool skip,
                 const Update &update) {
  using T = Compute<S>;
  constexpr int kOperands = 5 + 2 * kStates;
  Operand operands[kOperands] = {step.gradient, step.master, step.weight, step.newWeight,
                                 step.newMaster};
  for (int i = 0; i < kStates; ++i)
    operands[5 + i] = step.state[i], operands[5 + kStates + i] = step.newState[i];
  if (isEmpty(operands[3]))
    return;
  sortAxes(operands, 3);
  int leading = operands[3].rank > 0 ? operands[3].rank - 1 : 0;
  bool isScalar = operands[3].rank == 0;
  RowSpace space(operands[3], leading);
  for (const Operand &operand : operands)
    space.add(operand);
  space.merge();
  int64_t cols = isScalar ? 1 : operands[3].shape[leading];
  forEachTile(launch, space, cols, 16, kStepLength, [&](const Tile &tile, const Workspace &work) {
    ScratchSpace scratch(work);
    T *w = scratch.take<T>(kStepLength), *g = scratch.take<T>(kStepLength), *states[kStates];
    for (T *&line : states)
      line = scratch.take<T>(kStepLength);
    int64_t n = tile.cols;
    auto strideOf = [&](int i) { return isScalar ? 0 : operands[i].strides[leading]; };
    auto matrixOf = [&]<class E>(int i, const E *) {
      return space.matrix<E>(operands[i], i, tile.outer, strideOf(i)).block(tile.row, tile.col);
    };
    auto read = [&]<class E>(int i, int64_t row, T *line, const E *type) {
      if (operands[i])
        readStepLine<E>(line, matrixOf(i, type).at(row, 0), strideOf(i), n);
    };
    auto write = [&]<class E>(int i, int64_t row, const T *line, const E *type) {
      if (operands[i])
        writeStepLine<E>(matrixOf(i, type).at(row, 0), strideOf(i), line, n);
    };
    constexpr const T *kStatistic = nullptr;
    constexpr const S *kStorage = nullptr;
    for (int64_t row = 0; row < tile.rows; ++row) {
      read(0, row, g, kStatistic);
      for (int i = 0; i < kStates; ++i)
        read(5 + i, row, states[i], kStatistic);
      read(2, row, w, kStorage);
      if (skip)
        write(3, row, w, kStorage);
      read(1, row, w, kStatistic);
      if (!skip) {
        update(w, g, states, n);
        write(3, row, w, kStorage);
      }
      write(4, row, w, kStatistic);
      for (int i = 0; i < kStates; ++i)
        write(5 + kStates + i, row, states[i], kStatistic);
    }
  });
}

} // namespace evo::cpu::EVO_CPU_ISA
