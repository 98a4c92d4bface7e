//===- Product.h - matrix products of strided operands ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[b,m,n] = act(factor * sum_k a[b,m,k] b[b,n,k] + bias[n]) + addend[b,m,n], where each of the
// four axes may be several. What cuBLASLt can read goes there, piece by piece where an axis is
// none to it or a matrix too large (ProductSplit.h), or from dense copies of its operands;
// everything else through a kernel of our own that takes any strides.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/Launch.h"

namespace evo::cuda {

struct Product {
  /// Operands of `batch`, by position; of `m`: A, Y, Addend without the others in this order; and
  /// so on. Unused strides are 0.
  enum { A, B, Y, Addend, kOperands };
  AxisSpace<kOperands> batch, m, n, k;

  struct Matrix {
    std::byte *data = nullptr;
    plan::DType type = plan::DType::F32;
    explicit operator bool() const { return data != nullptr; }
  };
  Matrix operand[kOperands]; ///< a and b of one type; y and the addend of one, that or F32
  Matrix bias;               ///< of a's type
  int64_t biasStride = 0;    ///< along n, which is one axis where there is a bias
  bool relu = false;         ///< not with an addend
  double factor = 1;

  /// Adds an axis with the strides that the operands have there, 0 for those that have it not.
  static void addAxis(AxisSpace<kOperands> &space, int64_t extent, int64_t a, int64_t b, int64_t y,
                      int64_t addend = 0) {
    int64_t strides[] = {a, b, y, addend};
    for (int o = 0; o < kOperands; ++o)
      space.stride[o][space.rank] = strides[o];
    space.push(extent);
  }
  void set(int index, const Operand &o) { operand[index] = {o.data, o.type}; }
};

/// Enqueues the product. `precision` says how fp32 is multiplied.
Status multiply(Context &context, plan::Precision precision, Product product);

/// y[b,m,n] = accumulator[b,m,n] + factor sum_k a[b,m,k] b[b,n,k], the call's factor; without an
/// accumulator it counts as 0.
Status multiplyBatches(const Launch &launch, const Operand &a, const Operand &b,
                       const Operand &accumulator, const Operand &y);

/// `multiply` by the kernel that takes any strides; axes are merged.
Status multiplyStrided(Context &context, const Product &product);
/// Copies the elements of axes to a dense tensor.
Status packMatrix(Context &context, plan::DType type, const AxisSpace<1> &axes, std::byte *from,
                  std::byte *to);

/// What cuBLASLt is asked for, in its own column-major terms, and its answer: proposals, and which
/// of them computes the product.
class LtPlan {
public:
  struct Key {
    cudaDataType_t input, output;
    cublasComputeType_t compute;
    bool transposeA, transposeB, relu, bias, addend;
    int64_t m, n, k, leading[4], batches, batchStride[4]; ///< of A, B, D, C
    int64_t alignment[4];
    std::vector<int64_t> words() const;
  };
  static Result<std::unique_ptr<LtPlan>> create(Context &context, const Key &key);
  ~LtPlan();
  LtPlan(const LtPlan &) = delete;
  LtPlan &operator=(const LtPlan &) = delete;

  /// Whether the library knows how to compute it.
  bool found() const { return count > 0; }
  Status run(Context &context, float alpha, const void *a, const void *b, const void *c, void *d,
             const void *bias);

  // What a calibration measures.
  plan::ProductClass products() const;
  plan::ProductShape shape() const { return {key.m, key.n, key.k, key.batches}; }
  size_t proposals() const { return count; }
  plan::ProductWay wayOf(size_t proposal) const;
  bool hasRun() const { return last.d != nullptr; }
  /// Once more, on the operands of the last `run`, as a proposal has it.
  Status runAgain(Context &context, size_t proposal) const;

private:
  struct Operands {
    float alpha = 1;
    const void *a = nullptr, *b = nullptr, *c = nullptr, *bias = nullptr;
    void *d = nullptr;
  };
  LtPlan(const CublasLt &lt, const Key &key) : lt(lt), key(key) {}
  Status describe();
  Status choose(Context &context);

  const CublasLt &lt;
  Key key;
  cublasLtMatmulDesc_t descriptor = nullptr;
  static constexpr int kMostProposals = 8;
  cublasLtMatrixLayout_t layout[4] = {};                ///< A, B, D, C
  cublasLtMatmulAlgo_t algorithms[kMostProposals] = {}; ///< in the library's order
  size_t count = 0, chosen = 0;                         ///< of the algorithms; which of them
  Operands last;
};

} // namespace evo::cuda
