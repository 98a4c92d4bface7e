//===- TriangleMultiplication.cpp - outgoing and incoming -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// With z' = z for outgoing edges and z' = z transposed for incoming ones, both are
//   p'[x,y] = sum_k u[x,k] w[y,k],  u, w = mask' * sigma(Linear_g(LN(z'))) * Linear_p(LN(z'))
// where u is the operand `a` and w is `b` for outgoing, the other way round for incoming:
//   incoming p[i,j] = sum_k a[k,i] b[k,j] = p'[j,i] with u[j,k] = b[k,j] and w[i,k] = a[k,i].
// Slices of z' along its first axis need u's own rows and the whole of w.
//===----------------------------------------------------------------------===//
#include "dialects/Evo/ModuleSupport.h"

using namespace mlir;
using evo::kern::KernBuilder;
using evo::kern::LinearOptions;
using evo::kern::Part;
using evo::kern::Sliced;

namespace evo::ir {

namespace {

/// The parameters of one block's module: rows u_p | w_p | u_g | w_g | g, adjacent.
struct Parameters {
  KernBuilder &builder;
  std::string prefix;
  std::string own, other; ///< "a" and "b" for outgoing
  int64_t hidden, channels;

  SmallVector<Part> parts(const std::string &suffix) const {
    return {{prefix + ".linear_" + own + "_p." + suffix, hidden},
            {prefix + ".linear_" + other + "_p." + suffix, hidden},
            {prefix + ".linear_" + own + "_g." + suffix, hidden},
            {prefix + ".linear_" + other + "_g." + suffix, hidden},
            {prefix + ".linear_g." + suffix, channels}};
  }

  /// Operands [first, first + count) of u, w from x [.., c], stored channel-first: [count * hidden,
  /// ..].
  Value operands(Value x, Value mask, int64_t first, int64_t count) const {
    Value weight = builder.weight(prefix + ".projections.weight", parts("weight"), channels);
    Value bias = builder.vector(prefix + ".projections.bias", parts("bias"));
    int64_t rows = count * hidden, start = first * hidden;
    static constexpr int64_t order[] = {2, 0, 1};
    // One statement an op: the order of arguments' evaluation is the compiler's, that of ops is
    // not.
    Value linear = builder.slice(weight, 0, start, rows);
    Value linearBias = builder.slice(bias, 0, start, rows);
    Value gate = builder.slice(weight, 0, start + 2 * hidden, rows);
    Value gateBias = builder.slice(bias, 0, start + 2 * hidden, rows);
    return builder.gatedLinear(x, linear, linearBias, gate, gateBias, mask, order);
  }

  /// The logits of the output gate.
  Value gate(Value x) const {
    Value weight = builder.weight(prefix + ".projections.weight", parts("weight"), channels);
    Value bias = builder.vector(prefix + ".projections.bias", parts("bias"));
    LinearOptions options;
    options.bias = builder.slice(bias, 0, 4 * hidden, channels);
    return builder.linear(x, builder.slice(weight, 0, 4 * hidden, channels), options);
  }

  /// residual + dropout * sigma(gate) * Linear_z(LN(u w^T)), u [hidden, x, k] and w [hidden, y, k].
  Value output(Value u, Value w, Value x, Value residual, Value dropout, double eps) const {
    // The product is stored within the range of its type, however long the sum over k is.
    double factor = builder.productFactor(shapeOf(w)[2]);
    Value p = builder.transpose(builder.batchMatmul(u, w, factor), {1, 2, 0});
    Value normed = builder.layerNorm(p, prefix + ".layer_norm_out", eps, 1 / factor);
    LinearOptions options;
    options.bias = builder.vector(prefix + ".linear_z.bias", channels);
    options.gate = gate(x);
    options.residual = residual;
    options.dropout = dropout;
    return builder.linear(normed, builder.weight(prefix + ".linear_z.weight", channels, hidden),
                          options);
  }
};

} // namespace

LogicalResult TriangleMultiplicationOp::verifyOwn() {
  return failure(failed(verifyPair(*this, getZ(), getMask())) ||
                 failed(verifyPositive(*this, "hidden", static_cast<int64_t>(getHidden()))) ||
                 failed(Dropout::of(*this).verify(*this)));
}

SmallVector<StringRef> TriangleMultiplicationOp::getTensorNames() { return {"z", "pair_mask"}; }
StringRef TriangleMultiplicationOp::getUpdatedTensor() { return "z"; }

DominantTerm TriangleMultiplicationOp::getDominantTerm() {
  int64_t r = shapeOf(getZ())[0];
  return {"r^2 c", count({r, r, static_cast<int64_t>(getHidden())})};
}

SmallVector<KernelVariant> TriangleMultiplicationOp::getLegalVariants() {
  return {KernelVariant::Fused};
}

SmallVector<SliceAxis> TriangleMultiplicationOp::getLegalAxes() {
  bool outgoing = getDirection() == TriangleDirection::Outgoing;
  Axis axis = outgoing ? Axis::Ri : Axis::Rj;
  return {{axis, shapeOf(getZ())[0], outgoing ? "operand b" : "operand a", "z"}};
}

static Parameters parametersOf(KernBuilder &builder, TriangleMultiplicationOp op) {
  bool incoming = op.getDirection() == TriangleDirection::Incoming;
  return {builder,
          op.getPrefix().str(),
          incoming ? "b" : "a",
          incoming ? "a" : "b",
          static_cast<int64_t>(op.getHidden()),
          shapeOf(op.getZ()).back()};
}

/// z', its mask and that of dropout, or back: the other orientation for incoming edges.
static Value orient(KernBuilder &builder, TriangleMultiplicationOp op, Value value) {
  if (!value || op.getDirection() == TriangleDirection::Outgoing)
    return value;
  if (shapeOf(value).size() == 2)
    return builder.transpose(value, {1, 0});
  return builder.transpose(value, {1, 0, 2});
}

static Value normIn(const Parameters &parameters, TriangleMultiplicationOp op, Value z) {
  return parameters.builder.layerNorm(z, parameters.prefix + ".layer_norm_in",
                                      op.getNormEps().convertToDouble());
}

SmallVector<int64_t> TriangleMultiplicationOp::getSliceDims(Axis axis) {
  int64_t dim = axis == Axis::Rj ? 1 : 0;
  return {dim, dim};
}

Value TriangleMultiplicationOp::emitWhole(KernBuilder &builder, ValueRange values, KernelVariant) {
  Value z = orient(builder, *this, values[0]);
  Value mask = orient(builder, *this, values[1]);
  Parameters parameters = parametersOf(builder, *this);
  int64_t hidden = getHidden();
  Value x = normIn(parameters, *this, z);
  Value both = builder.transpose(parameters.operands(x, mask, 0, 2), {2, 0, 1});
  Value u = builder.slice(both, 0, 0, hidden);
  Value w = builder.slice(both, 0, hidden, hidden);
  double eps = getNormEps().convertToDouble();
  Value dropout = orient(builder, *this, Dropout::of(*this).mask(builder, values[0]));
  return orient(builder, *this, parameters.output(u, w, x, z, dropout, eps));
}

SmallVector<SideInput> TriangleMultiplicationOp::emitSides(KernBuilder &builder, ValueRange values,
                                                           Axis axis, int64_t size) {
  Parameters parameters = parametersOf(builder, *this);
  int64_t dim = getSliceDims(axis)[0];
  // Slices of z itself, turned round inside the loop, so that its gradient is added to slice by
  // slice.
  Value other =
      builder.sliceLoop(stringifyAxis(axis), size, {Sliced{values[0], dim}, Sliced{values[1], dim}},
                        {}, 0, [&](ArrayRef<Value> sliced, ArrayRef<Value>) -> SmallVector<Value> {
                          Value z = orient(builder, *this, sliced[0]);
                          Value mask = orient(builder, *this, sliced[1]);
                          return {parameters.operands(normIn(parameters, *this, z), mask, 1, 1)};
                        })[0];
  SmallVector<SideInput> sides = {{builder.transpose(other, {2, 0, 1}), -1}};
  Dropout::of(*this).addSide(builder, values[0], getSliceDims(axis)[0], sides);
  return sides;
}

Value TriangleMultiplicationOp::emitSlice(KernBuilder &builder, ArrayRef<Value> values,
                                          ArrayRef<Value> sides, Axis, KernelVariant) {
  Value z = orient(builder, *this, values[0]);
  Value mask = orient(builder, *this, values[1]);
  Parameters parameters = parametersOf(builder, *this);
  Value x = normIn(parameters, *this, z);
  Value own = builder.transpose(parameters.operands(x, mask, 0, 1), {2, 0, 1});
  double eps = getNormEps().convertToDouble();
  Value dropout = orient(builder, *this, sides.size() > 1 ? sides[1] : Value());
  return orient(builder, *this, parameters.output(own, sides[0], x, z, dropout, eps));
}

} // namespace evo::ir
