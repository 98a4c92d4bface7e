//===- GateGrad.cpp -------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dout[b,u,x] = sum over q of sigmoid(gate + gate_bias) dy (u is 1; no sum where u is q);
// dgate = o sigmoid'(gate + gate_bias) dy; dgate may be dy.
//
// The sum over q (thousands of MSA rows) is taken in double by the task that owns (b, columns).
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Elementwise.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

/// From dy, `forward` = dy times the opening and `backward` = o dy times its slope.
template <class S>
void gradLine(Line<S> o, Line<S> gate, Line<S> bias, Line<S> dy, int64_t n,
              Compute<S> *__restrict forward, Compute<S> *__restrict backward) {
  using T = Compute<S>;
  gate.load(backward, n);
  addLine(backward, bias, n);
  dy.load(forward, n);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    T opening, slope = fastSigmoidSlope(backward[i], opening);
    backward[i] = forward[i] * slope;
    forward[i] *= opening;
  }
  multiplyLine(backward, o, n);
}

/// u is 1 and q is not.
template <class S> void gradOfBroadcast(const Launch &launch) {
  using T = Compute<S>;
  const Operand &o = launch.operands[0], &gate = launch.operands[1], &bias = launch.operands[2];
  const Operand &dy = launch.operands[3], &dout = launch.operands[4], &dgate = launch.operands[5];
  constexpr int64_t kCols = 128;
  int64_t queries = dy.shape[1], channels = dy.shape[2], colTiles = ceilDiv(channels, kCols);
  forEachTask(launch, dy.shape[0] * colTiles, [&](int64_t task, const Workspace &workspace) {
    int64_t b = task / colTiles, col = task % colTiles * kCols;
    int64_t cols = smaller(kCols, channels - col);
    auto line = [&](const Operand &operand, int64_t q) {
      return Line<S>{elements<S>(operand) + b * operand.strides[0] + q * operand.strides[1] +
                         col * operand.strides[2],
                     nullptr, operand.strides[2]};
    };
    ScratchSpace scratch(workspace);
    T *forward = scratch.take<T>(kCols), *backward = scratch.take<T>(kCols);
    double *sums = scratch.take<double>(kCols);
    for (int64_t i = 0; i < cols; ++i)
      sums[i] = 0;
    Line<S> biasLine{elements<S>(bias) + col * bias.strides[0], nullptr, bias.strides[0]};
    for (int64_t q = 0; q < queries; ++q) {
      gradLine(line(o, 0), line(gate, q), biasLine, line(dy, q), cols, forward, backward);
#pragma omp simd
      for (int64_t i = 0; i < cols; ++i)
        sums[i] += double(forward[i]);
      line(dgate, q).store(backward, cols);
    }
    for (int64_t i = 0; i < cols; ++i)
      forward[i] = T(sums[i]);
    line(dout, 0).store(forward, cols);
  });
}

} // namespace

template <class S> void launchGateGrad(const Launch &launch) {
  const Operand *o = launch.operands;
  if (o[0].shape[1] != o[3].shape[1])
    return gradOfBroadcast<S>(launch);
  // The bias as a tensor of all rows.
  Operand bias = o[3];
  bias.data = o[2].data;
  bias.strides[0] = bias.strides[1] = 0;
  bias.strides[2] = o[2].strides[0];
  forEachLine<S, 6>(launch, {&o[0], &o[1], &bias, &o[3], &o[4], &o[5]}, 5, 2,
                    [](const Line<S> *lines, int64_t n, const Workspace &workspace) {
                      ScratchSpace scratch(workspace);
                      auto *forward = scratch.take<Compute<S>>(kLineLength);
                      auto *backward = scratch.take<Compute<S>>(kLineLength);
                      gradLine(lines[0], lines[1], lines[2], lines[3], n, forward, backward);
                      lines[4].store(forward, n);
                      lines[5].store(backward, n);
                    });
}

EVO_CPU_INSTANTIATE(GateGrad)

} // namespace evo::cpu::EVO_CPU_ISA
