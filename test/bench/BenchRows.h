//===- BenchRows.h - what is timed ------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace evo::bench {

using plan::Kernel;

/// batch x [m,k] [n,k]^T
struct Product {
  int64_t batch, m, n, k;
};

struct Row {
  std::string name;
  int64_t count; ///< calls a block
  Kernel kernel;
  plan::KernelAttributes attributes;
  std::vector<TensorRef> operands;
  std::vector<Product> products;
};

/// Operands share one pool of random numbers, large enough for each; outputs have pools of their
/// own, so that repeated runs read the same inputs.
class Buffers {
public:
  TensorRef dense(std::vector<int64_t> shape) { return make(shape, {}, 0); }
  /// Columns [first, first + shape.back()) of rows of `width`.
  TensorRef slice(std::vector<int64_t> shape, int64_t width, int64_t first) {
    return make(shape, width, first);
  }
  /// The axes reordered: axis d of the result is axis order[d] of `ref`.
  static TensorRef permuted(TensorRef ref, std::vector<int> order) {
    TensorRef result = ref;
    for (size_t d = 0; d < order.size(); ++d) {
      result.shape[d] = ref.shape[size_t(order[d])];
      result.strides[d] = ref.strides[size_t(order[d])];
    }
    return result;
  }

private:
  std::vector<std::vector<float>> pools;
  std::mt19937 random{1};

  TensorRef make(const std::vector<int64_t> &shape, int64_t width, int64_t first) {
    TensorRef ref;
    ref.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), ref.shape.begin());
    int64_t step = 1;
    for (size_t d = shape.size(); d-- > 0;) {
      ref.strides[d] = step;
      step *= d + 1 == shape.size() && width ? width : shape[d];
    }
    std::normal_distribution<float> normal;
    pools.emplace_back(static_cast<size_t>(step));
    for (float &value : pools.back())
      value = normal(random);
    ref.data = reinterpret_cast<std::byte *>(pools.back().data() + first);
    return ref;
  }
};

plan::KernelAttributes attentionAttributes(int64_t heads);

/// The gradient kernels of one block, `s` rows of the MSA and `r` residues.
void gradientRows(Buffers &buffers, int64_t s, int64_t r, std::vector<Row> &rows);

} // namespace evo::bench
