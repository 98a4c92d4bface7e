//===- KernBuilder.h - value-level kern IR, one line a kernel ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What modules emit their forward with. Result types follow from the operands, so that a module's
// lowering reads like its algorithm. Knows nothing of modules.
//===----------------------------------------------------------------------===//
#pragma once

#include "dialects/Kern/KernDialect.h"

#include <functional>
#include <string>

namespace evo::kern {

/// Rows of a weight that are one parameter.
struct Part {
  std::string parameter;
  int64_t rows;
};

/// Optional operands of `linear`.
struct LinearOptions {
  mlir::Value bias, rowScale, gate, dropout, residual;
  plan::Activation activation = plan::Activation::None;
  double factor = 1;
  llvm::ArrayRef<int64_t> layout = {};
};

/// Operands of attention beside query, key and value.
struct AttentionOptions {
  mlir::Value pairBias, mask;
  int64_t heads = 1;
  double scale = 1, inf = 1e9;
};

/// An operand of a slice loop with the axis that is sliced.
struct Sliced {
  mlir::Value value;
  int64_t axis;
};

class KernBuilder {
public:
  KernBuilder(mlir::OpBuilder &builder, mlir::Location location, mlir::Type storageType,
              mlir::Type statisticType)
      : builder(builder), location(location), storageType(storageType),
        statisticType(statisticType) {}

  /// From here on kernels return what their backwards read again: the log-sum-exp of attention.
  void keepStatistics() { statistics = true; }

  // Parameters. `name` is what the plan calls the group; a group of one has the parameter's name.
  mlir::Value weight(const std::string &name, llvm::ArrayRef<Part> parts, int64_t columns);
  mlir::Value vector(const std::string &name, llvm::ArrayRef<Part> parts);
  mlir::Value weight(const std::string &parameter, int64_t rows, int64_t columns) {
    return weight(parameter, Part{parameter, rows}, columns);
  }
  mlir::Value vector(const std::string &parameter, int64_t rows) {
    return vector(parameter, Part{parameter, rows});
  }

  // Views.
  mlir::Value transpose(mlir::Value input, llvm::ArrayRef<int64_t> order);
  mlir::Value slice(mlir::Value input, int64_t axis, int64_t start, int64_t size);

  // Kernels.
  mlir::Value layerNorm(mlir::Value x, const std::string &prefix, double eps, double factor = 1);
  mlir::Value linear(mlir::Value x, mlir::Value weight, const LinearOptions &options = {});
  mlir::Value gatedLinear(mlir::Value x, mlir::Value weight, mlir::Value bias,
                          mlir::Value gateWeight, mlir::Value gateBias, mlir::Value rowScale,
                          llvm::ArrayRef<int64_t> layout = {});
  mlir::Value attention(mlir::Value query, mlir::Value key, mlir::Value value,
                        const AttentionOptions &options);
  /// The same in three kernels, with stored logits.
  mlir::Value plainAttention(mlir::Value query, mlir::Value key, mlir::Value value,
                             const AttentionOptions &options);
  mlir::Value gate(mlir::Value o, mlir::Value gate, mlir::Value gateBias);
  mlir::Value maskedMean(mlir::Value x, mlir::Value mask, double eps);
  mlir::Value outerProduct(mlir::Value a, mlir::Value b, double factor = 1);
  mlir::Value outerProductMean(mlir::Value a, mlir::Value b, mlir::Value weight, mlir::Value bias,
                               mlir::Value rowScale, mlir::Value residual);
  mlir::Value outerProductNorm(mlir::Value maskI, mlir::Value maskJ, double eps);
  mlir::Value batchMatmul(mlir::Value a, mlir::Value b, double factor = 1);

  /// A power of two that keeps a stored sum of `terms` products no larger than the largest of them,
  /// where the storage type has the range of fp16; 1 for all others.
  double productFactor(int64_t terms) const;
  /// `factor` as an attribute; null where it is 1.
  mlir::FloatAttr factorAttr(double factor) const;
  mlir::Value dropoutMask(llvm::ArrayRef<int64_t> shape, double rate, int64_t module);

  using Body = std::function<llvm::SmallVector<mlir::Value>(llvm::ArrayRef<mlir::Value> sliced,
                                                            llvm::ArrayRef<mlir::Value> whole)>;
  /// The body over slices of `size` elements, or once over the whole where size is 0 or reaches the
  /// extent. Each yielded value is a slice along `resultAxes`. Constants such as weights are made
  /// inside.
  llvm::SmallVector<mlir::Value> sliceLoop(llvm::StringRef axis, int64_t size,
                                           llvm::ArrayRef<Sliced> sliced,
                                           llvm::ArrayRef<mlir::Value> whole,
                                           llvm::ArrayRef<int64_t> resultAxes, const Body &body);

  /// The extent of an axis; `?` (the current slice) is negative.
  static int64_t size(mlir::Value value, int64_t axis);

private:
  mlir::RankedTensorType tensor(llvm::ArrayRef<int64_t> shape, mlir::Type element) const;
  /// `value`'s type with the last axis replaced.
  mlir::RankedTensorType withChannels(mlir::Value value, int64_t channels) const;
  mlir::DenseI64ArrayAttr layoutAttr(llvm::ArrayRef<int64_t> layout) const;

  mlir::OpBuilder &builder;
  mlir::Location location;
  mlir::Type storageType, statisticType;
  bool statistics = false;
};

} // namespace evo::kern
