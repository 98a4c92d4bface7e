//===- Heads.h - attention operands by head ---------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The three attention kernels see their operands as matrices, one a (batch, head). Head h reads key
// and value head h mod groups. Where there is one query a batch (global attention), the heads that
// share a key head become the queries of one product, which would else be a row each.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

/// Strides of an operand that has a matrix a (batch, head), in elements.
struct HeadStrides {
  int64_t batch = 0, head = 0, row = 0, col = 0;
  template <class T> Matrix<T> matrix(const Operand &operand, int64_t b, int64_t h) const {
    return operand ? Matrix<T>{elements<T>(operand) + b * batch + h * head, row, col} : Matrix<T>{};
  }
};

struct HeadGeometry {
  int64_t batches, heads, groups, queries, keys, width;

  HeadGeometry(int64_t batches, int64_t heads, int64_t queries, int64_t keys, int64_t channels,
               int64_t keyChannels)
      : batches(batches), heads(heads), groups(keyChannels / (channels / heads)), queries(queries),
        keys(keys), width(channels / heads), folded(queries == 1) {
    if (folded) {
      this->queries = heads / groups;
      this->heads = groups;
    }
  }

  /// [b, q, (h, c)]
  HeadStrides channelsByHead(const Operand &o) const {
    return fold({o.strides[0], width * o.strides[2], o.strides[1], o.strides[2]});
  }
  /// [b, k, (g, c)]; the head is to be given modulo `groups`.
  HeadStrides keysByHead(const Operand &o) const {
    return {o.strides[0], width * o.strides[2], o.strides[1], o.strides[2]};
  }
  /// [h, q, k], the same for all batches
  HeadStrides pairBias(const Operand &o) const {
    return fold({0, o.strides[0], o.strides[1], o.strides[2]});
  }
  /// [b, h, q, k], or [b, h, q] as one column
  HeadStrides weights(const Operand &o) const {
    return fold({o.strides[0], o.strides[1], o.strides[2], o.strides[3]});
  }

private:
  bool folded;
  HeadStrides fold(HeadStrides s) const {
    if (folded)
      s.row = groups * s.head;
    return s;
  }
};

/// What the mask adds to the logits of one batch: inf * (mask[k] - max_k mask[k]).
template <class S> class MaskTerm {
  using T = Compute<S>;

public:
  MaskTerm(const Operand &mask, int64_t batch, int64_t keys, double inf)
      : mask(mask ? elements<S>(mask) + batch * mask.strides[0] : nullptr), stride(mask.strides[1]),
        inf(T(inf)) {
    for (int64_t k = 0; this->mask && k < keys; ++k) {
      T value = widen(this->mask[k * stride]);
      largest = k ? larger(largest, value) : value;
    }
  }
  explicit operator bool() const { return mask != nullptr; }
  /// out[i] = the term of key first + i
  void fill(T *out, int64_t first, int64_t count) const {
    loadLine(out, mask + first * stride, stride, count);
#pragma omp simd
    for (int64_t i = 0; i < count; ++i)
      out[i] = inf * (out[i] - largest);
  }

private:
  const S *mask;
  int64_t stride;
  T inf, largest = 0;
};

/// scores[rows, keys] = scale query key^T + bias + maskTerm; scores has rows of unit stride,
/// maskTerm may be null and bias absent.
template <class S, class T>
void logitsTile(int64_t rows, int64_t keys, int64_t width, T scale, Matrix<const S> query,
                Matrix<const S> key, Matrix<const S> bias, const T *maskTerm, Matrix<T> scores,
                const Workspace &workspace) {
  gemm(rows, keys, width, scale, query, key.transposed(), T(0), scores, workspace);
  for (int64_t i = 0; i < rows; ++i) {
    if (bias)
      addLine(scores.at(i, 0), bias.at(i, 0), bias.colStride, keys);
    if (maskTerm)
      addLine(scores.at(i, 0), maskTerm, 1, keys);
  }
}

} // namespace evo::cpu::EVO_CPU_ISA
