//===- Attention.cpp - row, column, global and triangle attention -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// All are one gated attention; they differ in which axes are batch and sequence, and in bias and
// mask.
//===----------------------------------------------------------------------===//
#include "dialects/Evo/ModuleSupport.h"

#include <cmath>

using namespace mlir;
using evo::kern::AttentionOptions;
using evo::kern::KernBuilder;
using evo::kern::LinearOptions;
using evo::kern::Part;
using evo::kern::Sliced;

namespace evo::ir {

namespace {

/// The module's attention behind its layer norm, on rows of any batch of sequences.
struct GatedAttention {
  std::string prefix; ///< of the parameters: "msa_att_row.mha"
  int64_t heads, headDim;
  double inf;
  KernelVariant variant;

  AttentionOptions options(Value pairBias, Value mask) const {
    return {pairBias, mask, heads, 1.0 / std::sqrt(static_cast<double>(headDim)), inf};
  }

  Value attend(KernBuilder &builder, Value query, Value key, Value value,
               const AttentionOptions &options) const {
    if (variant == KernelVariant::Plain)
      return builder.plainAttention(query, key, value, options);
    return builder.attention(query, key, value, options);
  }

  /// residual + dropout * Linear_o(sigma(g + b) * o)
  Value output(KernBuilder &builder, Value o, Value gate, Value residual,
               Value dropout = {}) const {
    int64_t width = heads * headDim, channels = shapeOf(residual).back();
    Value gated = builder.gate(o, gate, builder.vector(prefix + ".linear_g.bias", width));
    LinearOptions options;
    options.bias = builder.vector(prefix + ".linear_o.bias", channels);
    options.residual = residual;
    options.dropout = dropout;
    return builder.linear(gated, builder.weight(prefix + ".linear_o.weight", channels, width),
                          options);
  }

  /// x [b, l, c] normalised; pairBias [h, l, l] and mask [b, l] as the kernel has them; dropout
  /// [1, l, c] or [b, 1, c], or null.
  Value emit(KernBuilder &builder, Value x, Value pairBias, Value mask, Value residual,
             Value dropout = {}) const {
    int64_t width = heads * headDim;
    Part parts[] = {{prefix + ".linear_q.weight", width},
                    {prefix + ".linear_k.weight", width},
                    {prefix + ".linear_v.weight", width},
                    {prefix + ".linear_g.weight", width}};
    Value qkvg = builder.linear(x, builder.weight(prefix + ".qkvg", parts, shapeOf(x).back()));
    Value query = builder.slice(qkvg, 2, 0, width);
    Value key = builder.slice(qkvg, 2, width, width);
    Value value = builder.slice(qkvg, 2, 2 * width, width);
    Value o = attend(builder, query, key, value, options(pairBias, mask));
    return output(builder, o, builder.slice(qkvg, 2, 3 * width, width), residual, dropout);
  }
};

/// Linear(x) of [i, j, c] as [h, i, j], stored so.
Value headFirst(KernBuilder &builder, Value x, Value weight) {
  LinearOptions options;
  static constexpr int64_t order[] = {2, 0, 1};
  options.layout = order;
  return builder.linear(x, weight, options);
}

LogicalResult verifyHeads(Operation *op, int64_t heads, int64_t headDim, const APFloat &inf) {
  return failure(failed(verifyPositive(op, "heads", heads)) ||
                 failed(verifyPositive(op, "head_dim", headDim)) ||
                 failed(verifyPositive(op, "inf", inf)));
}

} // namespace

//===----------------------------------------------------------------------===//
// MSA row attention
//===----------------------------------------------------------------------===//

LogicalResult MsaRowAttentionOp::verifyOwn() {
  ArrayRef<int64_t> z = shapeOf(getZ());
  if (failed(verifyMsa(*this, getM(), getMask())))
    return failure();
  if (z.size() != 3 || z[0] != z[1] || z[0] != shapeOf(getM())[1])
    return emitOpError("expected z of [r, r, c_z] (C1), got ") << getZ().getType();
  return failure(failed(verifyHeads(*this, getHeads(), getHeadDim(), getInf())) ||
                 failed(Dropout::of(*this).verify(*this)));
}

SmallVector<StringRef> MsaRowAttentionOp::getTensorNames() { return {"m", "z", "msa_mask"}; }
StringRef MsaRowAttentionOp::getUpdatedTensor() { return "m"; }

DominantTerm MsaRowAttentionOp::getDominantTerm() {
  ArrayRef<int64_t> m = shapeOf(getM());
  return {"h s r^2", count({static_cast<int64_t>(getHeads()), m[0], m[1], m[1]})};
}

SmallVector<KernelVariant> MsaRowAttentionOp::getLegalVariants() {
  return {KernelVariant::Fused, KernelVariant::Plain};
}

SmallVector<SliceAxis> MsaRowAttentionOp::getLegalAxes() {
  return {{Axis::S, shapeOf(getM())[0], "pair bias", "z"}};
}

/// [h, r, r] of (slices along the first axis of) z, stored so.
static Value projectBias(KernBuilder &builder, MsaRowAttentionOp op, Value z) {
  std::string prefix = op.getPrefix().str();
  Value normed = builder.layerNorm(z, prefix + ".layer_norm_z", op.getNormEps().convertToDouble());
  return headFirst(builder, normed,
                   builder.weight(prefix + ".linear_z.weight", static_cast<int64_t>(op.getHeads()),
                                  shapeOf(z).back()));
}

SmallVector<int64_t> MsaRowAttentionOp::getSliceDims(Axis) { return {0, -1, 0}; }

Value MsaRowAttentionOp::emitWhole(KernBuilder &builder, ValueRange values, KernelVariant variant) {
  SmallVector<Value> sides = {builder.transpose(projectBias(builder, *this, values[1]), {2, 0, 1})};
  if (Value dropout = Dropout::of(*this).mask(builder, values[0]))
    sides.push_back(dropout);
  return emitSlice(builder, {values[0], {}, values[2]}, sides, Axis::None, variant);
}

SmallVector<SideInput> MsaRowAttentionOp::emitSides(KernBuilder &builder, ValueRange values, Axis,
                                                    int64_t size) {
  Value m = values[0], z = values[1];
  Value bias =
      builder.sliceLoop("r_i", sideSliceSize(size, shapeOf(m)[0], shapeOf(z)[0]), Sliced{z, 0}, {},
                        0, [&](ArrayRef<Value> sliced, ArrayRef<Value>) -> SmallVector<Value> {
                          return {projectBias(builder, *this, sliced[0])};
                        })[0];
  SmallVector<SideInput> sides = {{builder.transpose(bias, {2, 0, 1}), -1}};
  Dropout::of(*this).addSide(builder, m, 0, sides);
  return sides;
}

Value MsaRowAttentionOp::emitSlice(KernBuilder &builder, ArrayRef<Value> values,
                                   ArrayRef<Value> sides, Axis, KernelVariant variant) {
  std::string prefix = getPrefix().str();
  GatedAttention attention{prefix + ".mha", static_cast<int64_t>(getHeads()),
                           static_cast<int64_t>(getHeadDim()), getInf().convertToDouble(), variant};
  Value normed =
      builder.layerNorm(values[0], prefix + ".layer_norm_m", getNormEps().convertToDouble());
  return attention.emit(builder, normed, sides[0], values[2], values[0],
                        sides.size() > 1 ? sides[1] : Value());
}

//===----------------------------------------------------------------------===//
// MSA column attention
//===----------------------------------------------------------------------===//

LogicalResult MsaColumnAttentionOp::verifyOwn() {
  return failure(failed(verifyMsa(*this, getM(), getMask())) ||
                 failed(verifyHeads(*this, getHeads(), getHeadDim(), getInf())));
}

SmallVector<StringRef> MsaColumnAttentionOp::getTensorNames() { return {"m", "msa_mask"}; }
StringRef MsaColumnAttentionOp::getUpdatedTensor() { return "m"; }

DominantTerm MsaColumnAttentionOp::getDominantTerm() {
  ArrayRef<int64_t> m = shapeOf(getM());
  return {"h s^2 r", count({static_cast<int64_t>(getHeads()), m[0], m[0], m[1]})};
}

SmallVector<KernelVariant> MsaColumnAttentionOp::getLegalVariants() {
  return {KernelVariant::Fused, KernelVariant::Plain};
}

SmallVector<SliceAxis> MsaColumnAttentionOp::getLegalAxes() {
  return {{Axis::R, shapeOf(getM())[1]}};
}

SmallVector<int64_t> MsaColumnAttentionOp::getSliceDims(Axis) { return {1, 1}; }

SmallVector<SideInput> MsaColumnAttentionOp::emitSides(KernBuilder &, ValueRange, Axis, int64_t) {
  return {};
}

Value MsaColumnAttentionOp::emitWhole(KernBuilder &builder, ValueRange values,
                                      KernelVariant variant) {
  return emitSlice(builder, SmallVector<Value>(values), {}, Axis::None, variant);
}

Value MsaColumnAttentionOp::emitSlice(KernBuilder &builder, ArrayRef<Value> values, ArrayRef<Value>,
                                      Axis, KernelVariant variant) {
  Value columns = builder.transpose(values[0], {1, 0, 2});
  Value mask = builder.transpose(values[1], {1, 0});
  std::string prefix = getPrefix().str();
  GatedAttention attention{prefix + ".mha", static_cast<int64_t>(getHeads()),
                           static_cast<int64_t>(getHeadDim()), getInf().convertToDouble(), variant};
  Value normed =
      builder.layerNorm(columns, prefix + ".layer_norm_m", getNormEps().convertToDouble());
  return builder.transpose(attention.emit(builder, normed, {}, mask, columns), {1, 0, 2});
}

//===----------------------------------------------------------------------===//
// MSA column global attention
//===----------------------------------------------------------------------===//

LogicalResult MsaColumnGlobalAttentionOp::verifyOwn() {
  return failure(failed(verifyMsa(*this, getM(), getMask())) ||
                 failed(verifyHeads(*this, getHeads(), getHeadDim(), getInf())) ||
                 failed(verifyPositive(*this, "mean_eps", getMeanEps())));
}

SmallVector<StringRef> MsaColumnGlobalAttentionOp::getTensorNames() { return {"m", "msa_mask"}; }
StringRef MsaColumnGlobalAttentionOp::getUpdatedTensor() { return "m"; }

DominantTerm MsaColumnGlobalAttentionOp::getDominantTerm() {
  ArrayRef<int64_t> m = shapeOf(getM());
  return {"s r c_m", count({m[0], m[1], m[2]})};
}

SmallVector<KernelVariant> MsaColumnGlobalAttentionOp::getLegalVariants() {
  return {KernelVariant::Fused, KernelVariant::Plain};
}

SmallVector<SliceAxis> MsaColumnGlobalAttentionOp::getLegalAxes() {
  return {{Axis::R, shapeOf(getM())[1]}};
}

SmallVector<int64_t> MsaColumnGlobalAttentionOp::getSliceDims(Axis) { return {1, 1}; }

SmallVector<SideInput> MsaColumnGlobalAttentionOp::emitSides(KernBuilder &, ValueRange, Axis,
                                                             int64_t) {
  return {};
}

Value MsaColumnGlobalAttentionOp::emitWhole(KernBuilder &builder, ValueRange values,
                                            KernelVariant variant) {
  return emitSlice(builder, SmallVector<Value>(values), {}, Axis::None, variant);
}

Value MsaColumnGlobalAttentionOp::emitSlice(KernBuilder &builder, ArrayRef<Value> values,
                                            ArrayRef<Value>, Axis, KernelVariant variant) {
  Value columns = builder.transpose(values[0], {1, 0, 2});
  Value mask = builder.transpose(values[1], {1, 0});
  std::string prefix = getPrefix().str(), name = prefix + ".global_attention";
  int64_t headDim = getHeadDim(), width = getHeads() * headDim, channels = shapeOf(columns).back();
  GatedAttention attention{name, static_cast<int64_t>(getHeads()), headDim,
                           getInf().convertToDouble(), variant};
  Value x = builder.layerNorm(columns, prefix + ".layer_norm_m", getNormEps().convertToDouble());
  Value mean = builder.maskedMean(x, mask, getMeanEps().convertToDouble());
  Value query = builder.linear(mean, builder.weight(name + ".linear_q.weight", width, channels));
  Part parts[] = {{name + ".linear_k.weight", headDim},
                  {name + ".linear_v.weight", headDim},
                  {name + ".linear_g.weight", width}};
  Value kvg = builder.linear(x, builder.weight(name + ".kvg", parts, channels));
  Value key = builder.slice(kvg, 2, 0, headDim);
  Value value = builder.slice(kvg, 2, headDim, headDim);
  Value o = attention.attend(builder, query, key, value, attention.options({}, mask));
  Value gate = builder.slice(kvg, 2, 2 * headDim, width);
  return builder.transpose(attention.output(builder, o, gate, columns), {1, 0, 2});
}

//===----------------------------------------------------------------------===//
// Triangle attention
//===----------------------------------------------------------------------===//

LogicalResult TriangleAttentionOp::verifyOwn() {
  return failure(failed(verifyPair(*this, getZ(), getMask())) ||
                 failed(verifyHeads(*this, getHeads(), getHeadDim(), getInf())) ||
                 failed(Dropout::of(*this).verify(*this)));
}

SmallVector<StringRef> TriangleAttentionOp::getTensorNames() { return {"z", "pair_mask"}; }
StringRef TriangleAttentionOp::getUpdatedTensor() { return "z"; }

DominantTerm TriangleAttentionOp::getDominantTerm() {
  int64_t r = shapeOf(getZ())[0];
  return {"h r^3", count({static_cast<int64_t>(getHeads()), r, r, r})};
}

SmallVector<KernelVariant> TriangleAttentionOp::getLegalVariants() {
  return {KernelVariant::Fused, KernelVariant::Plain};
}

SmallVector<SliceAxis> TriangleAttentionOp::getLegalAxes() {
  Axis axis = getNode() == TriangleNode::Starting ? Axis::Ri : Axis::Rj;
  return {{axis, shapeOf(getZ())[0], "pair bias", "z"}};
}

/// z, its mask and that of dropout, or back: transposed for the ending node.
static Value orient(KernBuilder &builder, TriangleAttentionOp op, Value value) {
  if (!value || op.getNode() == TriangleNode::Starting)
    return value;
  if (shapeOf(value).size() == 2)
    return builder.transpose(value, {1, 0});
  return builder.transpose(value, {1, 0, 2});
}

static Value normalise(KernBuilder &builder, TriangleAttentionOp op, Value z) {
  return builder.layerNorm(z, op.getPrefix().str() + ".layer_norm",
                           op.getNormEps().convertToDouble());
}

static Value projectBias(KernBuilder &builder, TriangleAttentionOp op, Value x) {
  return headFirst(builder, x,
                   builder.weight(op.getPrefix().str() + ".linear.weight",
                                  static_cast<int64_t>(op.getHeads()), shapeOf(x).back()));
}

static GatedAttention attentionOf(TriangleAttentionOp op, KernelVariant variant) {
  return {op.getPrefix().str() + ".mha", static_cast<int64_t>(op.getHeads()),
          static_cast<int64_t>(op.getHeadDim()), op.getInf().convertToDouble(), variant};
}

SmallVector<int64_t> TriangleAttentionOp::getSliceDims(Axis axis) {
  int64_t dim = axis == Axis::Rj ? 1 : 0;
  return {dim, dim};
}

Value TriangleAttentionOp::emitWhole(KernBuilder &builder, ValueRange values,
                                     KernelVariant variant) {
  Value z = orient(builder, *this, values[0]);
  Value mask = orient(builder, *this, values[1]);
  // Without slices the normalised z serves bias and projections alike.
  Value x = normalise(builder, *this, z);
  Value bias = builder.transpose(projectBias(builder, *this, x), {2, 0, 1});
  Value dropout = orient(builder, *this, Dropout::of(*this).mask(builder, values[0]));
  return orient(builder, *this,
                attentionOf(*this, variant).emit(builder, x, bias, mask, z, dropout));
}

SmallVector<SideInput> TriangleAttentionOp::emitSides(KernBuilder &builder, ValueRange values,
                                                      Axis axis, int64_t size) {
  // Slices of z itself, turned round inside the loop, so that its gradient is added to slice by
  // slice.
  Value bias =
      builder.sliceLoop(stringifyAxis(axis), size, Sliced{values[0], getSliceDims(axis)[0]}, {}, 0,
                        [&](ArrayRef<Value> sliced, ArrayRef<Value>) -> SmallVector<Value> {
                          Value z = orient(builder, *this, sliced[0]);
                          return {projectBias(builder, *this, normalise(builder, *this, z))};
                        })[0];
  SmallVector<SideInput> sides = {{builder.transpose(bias, {2, 0, 1}), -1}};
  Dropout::of(*this).addSide(builder, values[0], getSliceDims(axis)[0], sides);
  return sides;
}

Value TriangleAttentionOp::emitSlice(KernBuilder &builder, ArrayRef<Value> values,
                                     ArrayRef<Value> sides, Axis, KernelVariant variant) {
  Value z = orient(builder, *this, values[0]);
  Value mask = orient(builder, *this, values[1]);
  Value x = normalise(builder, *this, z);
  Value dropout = orient(builder, *this, sides.size() > 1 ? sides[1] : Value());
  return orient(builder, *this,
                attentionOf(*this, variant).emit(builder, x, sides[0], mask, z, dropout));
}

} // namespace evo::ir
