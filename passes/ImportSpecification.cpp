//===- ImportSpecification.cpp - a specification as a stack -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "mlir/Pass/Pass.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_EVOIMPORT
#include "passes/Passes.h.inc"

namespace {

using spec::ModelSpec;
using spec::StackKind;

/// Attributes of its kernels by their names, what is kept beside the weights, and the loss scale.
DictionaryAttr optimizerAttr(const ModelSpec &spec, Builder &builder) {
  // A dynamic loss scale begins and grows as usual with fp16.
  constexpr double kFirstScale = 65536;
  constexpr int64_t kGrowthInterval = 2000;
  NamedAttrList list;
  auto real = [&](StringRef name, double value) { list.set(name, builder.getF64FloatAttr(value)); };
  if (const auto *sgd = std::get_if<spec::Sgd>(&*spec.optimizer)) {
    list.set("kind", builder.getStringAttr("sgd"));
    real("learning_rate", sgd->lr);
    real("momentum", sgd->momentum);
  } else {
    const auto &adamW = std::get<spec::AdamW>(*spec.optimizer);
    list.set("kind", builder.getStringAttr("adamw"));
    real("learning_rate", adamW.lr);
    real("beta1", adamW.beta1);
    real("beta2", adamW.beta2);
    real("eps", adamW.eps);
    real("weight_decay", adamW.weightDecay);
  }
  if (spec.masterWeights)
    list.set("master_weights", builder.getUnitAttr());
  real("loss_scale", spec.lossScale.value_or(kFirstScale));
  list.set("growth_interval", builder.getI64IntegerAttr(spec.lossScale ? 0 : kGrowthInterval));
  return list.getDictionary(builder.getContext());
}

DictionaryAttr modelAttr(const ModelSpec &spec, Builder &builder) {
  auto table = [&](const std::vector<std::pair<std::string, int64_t>> &entries) {
    NamedAttrList list;
    for (const auto &[name, value] : entries)
      list.set(name, builder.getI64IntegerAttr(value));
    return list.getDictionary(builder.getContext());
  };
  NamedAttrList model;
  model.set("name", builder.getStringAttr(spec.name));
  model.set("stack", builder.getStringAttr(spec::stackName(spec.stack)));
  model.set("blocks", builder.getI64IntegerAttr(spec.blocks));
  model.set("sizes", table(spec.sizeTable()));
  model.set("channels", table(spec.channelTable()));
  model.set("precision", builder.getStringAttr(plan::precisionName(spec.precision)));
  model.set("mode", builder.getStringAttr(plan::modeName(spec.mode)));
  if (spec.optimizer && spec.mode == plan::Mode::Train)
    model.set("optimizer", optimizerAttr(spec, builder));
  return model.getDictionary(builder.getContext());
}

/// The attributes of a module's dropout; null ones where it has none.
struct DropoutAttrs {
  FloatAttr rate;
  IntegerAttr shared, position;
};

/// Adds the modules of one block in order; each replaces the stream that it updates.
struct BlockImporter {
  OpBuilder &builder;
  Location location;
  const ModelSpec &spec;
  Value m, z, msaMask, pairMask;
  int64_t position = 0; ///< of the next module in the block

  IntegerAttr integer(int64_t value) { return builder.getI64IntegerAttr(value); }
  FloatAttr real(double value) { return builder.getF64FloatAttr(value); }
  FloatAttr normEps() { return real(1e-5); }
  StringAttr text(StringRef value) { return builder.getStringAttr(value); }

  /// Takes the next position; nothing is dropped in inference.
  DropoutAttrs dropout(double spec::Dropout::*rate, int64_t shared = 0) {
    int64_t own = position++;
    double value = spec.mode == plan::Mode::Train && spec.dropout ? (*spec.dropout).*rate : 0;
    if (value == 0)
      return {};
    return {real(value), integer(shared), integer(own)};
  }

  void rowAttention() {
    auto [rate, shared, own] = dropout(&spec::Dropout::msa);
    m = builder.create<ir::MsaRowAttentionOp>(
        location, m.getType(), m, z, msaMask, integer(spec.msa.noHeadsMsa),
        integer(spec.msa.cHiddenMsaAtt), real(spec.inf), rate, shared, own, text("msa_att_row"),
        normEps(), ir::ChoiceAttr());
  }
  void columnAttention() {
    ++position;
    IntegerAttr heads = integer(spec.msa.noHeadsMsa), width = integer(spec.msa.cHiddenMsaAtt);
    if (spec.stack == StackKind::ExtraMsa)
      m = builder.create<ir::MsaColumnGlobalAttentionOp>(
          location, m.getType(), m, msaMask, heads, width, real(spec.inf),
          real(spec.globalAttentionEps), text("msa_att_col"), normEps(), ir::ChoiceAttr());
    else
      m = builder.create<ir::MsaColumnAttentionOp>(location, m.getType(), m, msaMask, heads, width,
                                                   real(spec.inf), text("msa_att_col._msa_att"),
                                                   normEps(), ir::ChoiceAttr());
  }
  void msaTransition() {
    m = transition(ir::Stream::Msa, m, msaMask, "msa_transition", spec.msa.transitionN);
  }
  void outerProductMean() {
    ++position;
    z = builder.create<ir::OuterProductMeanOp>(
        location, z.getType(), m, z, msaMask, integer(spec.msa.cHiddenOpm), real(spec.opmEps),
        text("outer_product_mean"), normEps(), ir::ChoiceAttr());
  }
  Value transition(ir::Stream stream, Value x, Value mask, StringRef prefix, int64_t factor) {
    ++position;
    return builder.create<ir::TransitionOp>(location, x.getType(),
                                            ir::StreamAttr::get(builder.getContext(), stream), x,
                                            spec.maskTransition ? mask : Value(), integer(factor),
                                            text(prefix), normEps(), ir::ChoiceAttr());
  }
  void triangleMultiplication(ir::TriangleDirection direction, const Twine &prefix,
                              int64_t hidden) {
    bool outgoing = direction == ir::TriangleDirection::Outgoing;
    auto [rate, shared, own] = dropout(&spec::Dropout::pair);
    z = builder.create<ir::TriangleMultiplicationOp>(
        location, z.getType(), ir::TriangleDirectionAttr::get(builder.getContext(), direction), z,
        pairMask, integer(hidden), rate, shared, own,
        text((prefix + (outgoing ? "tri_mul_out" : "tri_mul_in")).str()), normEps(),
        ir::ChoiceAttr());
  }
  void triangleAttention(ir::TriangleNode node, const Twine &prefix, int64_t heads, int64_t width) {
    bool starting = node == ir::TriangleNode::Starting;
    auto [rate, shared, own] = dropout(&spec::Dropout::pair, starting ? 0 : 1);
    z = builder.create<ir::TriangleAttentionOp>(
        location, z.getType(), ir::TriangleNodeAttr::get(builder.getContext(), node), z, pairMask,
        integer(heads), integer(width), real(spec.inf), rate, shared, own,
        text((prefix + (starting ? "tri_att_start" : "tri_att_end")).str()), normEps(),
        ir::ChoiceAttr());
  }

  void msaBlock() {
    if (spec.opmFirst)
      outerProductMean();
    rowAttention();
    columnAttention();
    msaTransition();
    if (!spec.opmFirst)
      outerProductMean();
    const spec::MsaChannels &c = spec.msa;
    triangleMultiplication(ir::TriangleDirection::Outgoing, "pair_stack.", c.cHiddenMul);
    triangleMultiplication(ir::TriangleDirection::Incoming, "pair_stack.", c.cHiddenMul);
    triangleAttention(ir::TriangleNode::Starting, "pair_stack.", c.noHeadsPair, c.cHiddenPairAtt);
    triangleAttention(ir::TriangleNode::Ending, "pair_stack.", c.noHeadsPair, c.cHiddenPairAtt);
    z = transition(ir::Stream::Pair, z, pairMask, "pair_stack.pair_transition", c.transitionN);
  }

  void templateBlock() {
    const spec::TemplateChannels &c = spec.templateChannels;
    triangleAttention(ir::TriangleNode::Starting, "", c.noHeads, c.cHiddenTriAtt);
    triangleAttention(ir::TriangleNode::Ending, "", c.noHeads, c.cHiddenTriAtt);
    triangleMultiplication(ir::TriangleDirection::Outgoing, "", c.cHiddenTriMul);
    triangleMultiplication(ir::TriangleDirection::Incoming, "", c.cHiddenTriMul);
    z = transition(ir::Stream::Pair, z, pairMask, "pair_transition", c.pairTransitionN);
  }
};

/// Names and shapes of the boundary tensors.
std::vector<std::pair<std::string, std::vector<int64_t>>> boundaryTensors(const ModelSpec &spec) {
  if (!spec.hasMsa())
    return {{"z", {spec.r, spec.r, spec.templateChannels.cT}}, {"pair_mask", {spec.r, spec.r}}};
  return {{"m", {spec.s, spec.r, spec.msa.cM}},
          {"z", {spec.r, spec.r, spec.msa.cZ}},
          {"msa_mask", {spec.s, spec.r}},
          {"pair_mask", {spec.r, spec.r}}};
}

} // namespace

OwningOpRef<ModuleOp> importSpecification(const ModelSpec &spec, MLIRContext *context) {
  context->loadDialect<ir::EvoDialect, kern::KernDialect>();
  Location location = UnknownLoc::get(context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(location);
  OpBuilder builder(context);
  builder.setInsertionPointToEnd(module->getBody());
  Type element = kern::fromDType(context, plan::storageType(spec.precision));

  SmallVector<StringRef> names;
  Block *body = new Block;
  auto tensors = boundaryTensors(spec);
  for (const auto &[name, shape] : tensors) {
    names.push_back(name);
    body->addArgument(RankedTensorType::get(shape, element), location);
  }
  auto stack = builder.create<ir::StackOp>(
      location, builder.getStringAttr(spec::stackName(spec.stack)), builder.getStrArrayAttr(names),
      modelAttr(spec, builder), ArrayAttr());
  stack.getBody().push_back(body);
  builder.setInsertionPointToEnd(body);

  size_t streams = spec.hasMsa() ? 2 : 1;
  SmallVector<Value> initial(body->args_begin(), body->args_begin() + streams);
  auto segment = builder.create<ir::SegmentOp>(
      location, TypeRange(ValueRange(initial)), builder.getI64IntegerAttr(0),
      builder.getI64IntegerAttr(spec.blocks), initial, ArrayAttr());
  builder.create<ir::YieldOp>(location, segment.getResults());
  Block *block = &segment.getBody().emplaceBlock();
  for (Value stream : initial)
    block->addArgument(stream.getType(), location);
  builder.setInsertionPointToEnd(block);

  BlockImporter importer{builder, location, spec, {}, {}, {}, {}};
  importer.pairMask = body->getArguments().back();
  importer.z = block->getArguments().back();
  if (spec.hasMsa()) {
    importer.m = block->getArgument(0);
    importer.msaMask = body->getArgument(2);
    importer.msaBlock();
    builder.create<ir::YieldOp>(location, ValueRange{importer.m, importer.z});
  } else {
    importer.templateBlock();
    builder.create<ir::YieldOp>(location, importer.z);
  }
  return module;
}

namespace {
struct EvoImportPass : impl::EvoImportBase<EvoImportPass> {
  using EvoImportBase::EvoImportBase;
  void runOnOperation() override {
    if (spec.empty() || !getOperation().getBody()->empty()) {
      getOperation().emitError() << "expected an empty module and spec=FILE.json";
      return signalPassFailure();
    }
    Result<ModelSpec> parsed = spec::readModelSpec(spec);
    if (!parsed) {
      getOperation().emitError() << parsed.status().message();
      return signalPassFailure();
    }
    OwningOpRef<ModuleOp> imported = importSpecification(*parsed, &getContext());
    getOperation().getBody()->getOperations().splice(getOperation().getBody()->end(),
                                                     imported->getBody()->getOperations());
  }
};
} // namespace

} // namespace evo
