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
  return {{Axis::Ri, shapeOf(getZ())[0]}};
}

Value OuterProductMeanOp::emitForward(KernBuilder &builder, ValueRange values, ChoiceAttr choice) {
  Value m = values[0], z = values[1], mask = values[2];
  std::string prefix = getPrefix().str();
  int64_t hidden = getHidden(), channels = shapeOf(z).back(), residues = shapeOf(z)[0];
  bool plain = choice.getVariant() == KernelVariant::Plain;
  Value both = builder.sliceLoop(
      "s", sideSliceSize(choice, residues, shapeOf(m)[0]), {Sliced{m, 0}, Sliced{mask, 0}}, {}, 0,
      [&](ArrayRef<Value> sliced, ArrayRef<Value>) -> SmallVector<Value> {
        Value x =
            builder.layerNorm(sliced[0], prefix + ".layer_norm", getNormEps().convertToDouble());
        Part weights[] = {{prefix + ".linear_1.weight", hidden},
                          {prefix + ".linear_2.weight", hidden}};
        Part biases[] = {{prefix + ".linear_1.bias", hidden}, {prefix + ".linear_2.bias", hidden}};
        LinearOptions options;
        options.bias = builder.vector(prefix + ".ab.bias", biases);
        options.rowScale = sliced[1];
        Value weight = builder.weight(prefix + ".ab.weight", weights, shapeOf(m).back());
        return {builder.linear(x, weight, options)};
      })[0];
  Value a = builder.slice(both, 2, 0, hidden), b = builder.slice(both, 2, hidden, hidden);
  return builder.sliceLoop(
      "r_i", choice.getSize(), {Sliced{z, 0}, Sliced{a, 1}, Sliced{mask, 1}}, {b, mask}, 0,
      [&](ArrayRef<Value> sliced, ArrayRef<Value> whole) -> SmallVector<Value> {
        Value norm = builder.outerProductNorm(sliced[2], whole[1], getEps().convertToDouble());
        Value weight = builder.weight(prefix + ".linear_out.weight", channels, hidden * hidden);
        Value bias = builder.vector(prefix + ".linear_out.bias", channels);
        if (!plain)
          return {builder.outerProductMean(sliced[1], whole[0], weight, bias, norm, sliced[0])};
        LinearOptions options;
        options.bias = bias;
        options.rowScale = norm;
        options.residual = sliced[0];
        return {builder.linear(builder.outerProduct(sliced[1], whole[0]), weight, options)};
      })[0];
}

} // namespace evo::ir
