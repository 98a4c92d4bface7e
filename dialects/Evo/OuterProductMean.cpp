//===- OuterProductMean.cpp -------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "dialects/Evo/ModuleSupport.h"

using namespace mlir;
using evo::kern::KernBuilder;
using evo::kern::LinearOptions;
using evo::kern::Part;
using evo::kern::Sliced;

namespace evo::ir {

LogicalResult OuterProductMeanOp::verifyOwn() {
  ArrayRef<int64_t> z = shapeOf(getZ());
  if (failed(verifyMsa(*this, getM(), getMask())))
    return failure();
  if (z.size() != 3 || z[0] != z[1] || z[0] != shapeOf(getM())[1])
    return emitOpError("expected z of [r, r, c_z] (C1), got ") << getZ().getType();
  return failure(failed(verifyPositive(*this, "hidden", static_cast<int64_t>(getHidden()))) ||
                 failed(verifyPositive(*this, "eps", getEps())));
}

SmallVector<StringRef> OuterProductMeanOp::getTensorNames() { return {"m", "z", "msa_mask"}; }
StringRef OuterProductMeanOp::getUpdatedTensor() { return "z"; }

DominantTerm OuterProductMeanOp::getDominantTerm() {
  int64_t r = shapeOf(getZ())[0], c = getHidden();
  return {"r^2 c^2", count({r, r, c, c})};
}

SmallVector<KernelVariant> OuterProductMeanOp::getLegalVariants() {
  return {KernelVariant::Fused, KernelVariant::Plain};
}

SmallVector<SliceAxis> OuterProductMeanOp::getLegalAxes() {
  return {{Axis::Ri, shapeOf(getZ())[0], "operands a and b", "m"}};
}

/// a | b [s, r, 2 hidden] of (slices along s of) m.
static Value projectOperands(KernBuilder &builder, OuterProductMeanOp op, Value m, Value mask) {
  std::string prefix = op.getPrefix().str();
  int64_t hidden = op.getHidden();
  Value x = builder.layerNorm(m, prefix + ".layer_norm", op.getNormEps().convertToDouble());
  Part weights[] = {{prefix + ".linear_1.weight", hidden}, {prefix + ".linear_2.weight", hidden}};
  Part biases[] = {{prefix + ".linear_1.bias", hidden}, {prefix + ".linear_2.bias", hidden}};
  LinearOptions options;
  options.bias = builder.vector(prefix + ".ab.bias", biases);
  options.rowScale = mask;
  return builder.linear(x, builder.weight(prefix + ".ab.weight", weights, shapeOf(m).back()),
                        options);
}

/// z + Linear(a ⊗ b) / (eps + norm), rows a [s, i, c] of z [i, r, c_z].
static Value projectProduct(KernBuilder &builder, OuterProductMeanOp op, Value z, Value a, Value b,
                            Value maskI, Value maskJ, KernelVariant variant) {
  std::string prefix = op.getPrefix().str();
  int64_t channels = shapeOf(z).back(), width = op.getHidden() * op.getHidden();
  Value norm = builder.outerProductNorm(maskI, maskJ, op.getEps().convertToDouble());
  Value weight = builder.weight(prefix + ".linear_out.weight", channels, width);
  Value bias = builder.vector(prefix + ".linear_out.bias", channels);
  if (variant != KernelVariant::Plain)
    return builder.outerProductMean(a, b, weight, bias, norm, z);
  LinearOptions options;
  options.bias = bias;
  options.rowScale = norm;
  options.residual = z;
  // The product is stored within the range of its type, however long the sum over s is.
  double factor = builder.productFactor(shapeOf(a)[0]);
  options.factor = 1 / factor;
  return builder.linear(builder.outerProduct(a, b, factor), weight, options);
}

SmallVector<int64_t> OuterProductMeanOp::getSliceDims(Axis) { return {-1, 0, 1}; }

Value OuterProductMeanOp::emitWhole(KernBuilder &builder, ValueRange values,
                                    KernelVariant variant) {
  int64_t hidden = getHidden();
  Value both = projectOperands(builder, *this, values[0], values[2]);
  Value a = builder.slice(both, 2, 0, hidden);
  Value b = builder.slice(both, 2, hidden, hidden);
  return projectProduct(builder, *this, values[1], a, b, values[2], values[2], variant);
}

SmallVector<SideInput> OuterProductMeanOp::emitSides(KernBuilder &builder, ValueRange values, Axis,
                                                     int64_t size) {
  Value m = values[0], mask = values[2];
  int64_t hidden = getHidden();
  Value both = builder.sliceLoop(
      "s", sideSliceSize(size, shapeOf(m)[1], shapeOf(m)[0]), {Sliced{m, 0}, Sliced{mask, 0}}, {},
      0, [&](ArrayRef<Value> sliced, ArrayRef<Value>) -> SmallVector<Value> {
        return {projectOperands(builder, *this, sliced[0], sliced[1])};
      })[0];
  // One statement an op: the order of arguments' evaluation is the compiler's, that of ops is not.
  Value a = builder.slice(both, 2, 0, hidden);
  Value b = builder.slice(both, 2, hidden, hidden);
  return {{a, 1}, {b, -1}, {mask, -1}};
}

Value OuterProductMeanOp::emitSlice(KernBuilder &builder, ArrayRef<Value> values,
                                    ArrayRef<Value> sides, Axis, KernelVariant variant) {
  return projectProduct(builder, *this, values[1], sides[0], sides[1], values[2], sides[2],
                        variant);
}

} // namespace evo::ir
