//===- LoopReversal.cpp - the backward of a slice loop ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// (sliced, whole) -> (sliced) becomes (sliced, their gradients' slices, whole) -> (gradients of the
// sliced, sums): an iteration computes its slice again, differentiates it and yields. What it reads
// whole gets the sum over the iterations, and so does each weight. A weight of which the body reads
// rows only gets the gradient of those rows; the rows come together where the loop stands.
//===----------------------------------------------------------------------===//
#include "dialects/Kern/Gradients.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;

namespace evo::kern {

void eraseDeadOps(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (isOpTriviallyDead(&op))
      op.erase();
}

/// Sums are gathered in the statistic type: the conversion comes after the last slice.
static Value beforeConversion(Value gradient) {
  auto element = [](Value value) {
    return cast<RankedTensorType>(value.getType()).getElementType();
  };
  auto copy = gradient.getDefiningOp<CopyOp>();
  return copy && element(copy.getX()) != element(gradient) ? Value(copy.getX()) : gradient;
}

/// The reversed loop while its body is made.
struct Reversal {
  /// A summed result, by what it is the gradient of: a whole operand, or a weight or rows of it.
  struct Sum {
    Value operand;
    WeightOp weight;
    std::optional<std::pair<int64_t, int64_t>> rows; ///< first and count
  };

  Reversal(GradientBuilder &outer, SliceLoopOp loop)
      : outer(outer), loop(loop), body(std::make_unique<Block>()),
        inner(outer.builder.getContext()),
        gradients(inner, outer.location, outer.storageType, outer.statisticType) {
    inner.setInsertionPointToEnd(body.get());
    gradients.inLoop = true;
  }

  LogicalResult run();

private:
  BlockArgument addSliced(Value operand, int64_t axis, Type type);
  void addArguments();
  void collectSliced();
  void collectSums();
  void addWeightSums(WeightOp weight);
  void dropUnusedArguments();
  SliceLoopOp build();
  void contribute(SliceLoopOp reversed);
  auto wholeArguments() {
    return loop.getBody().getArguments().drop_front(loop.getSliced().size());
  }

  GradientBuilder &outer;
  SliceLoopOp loop;
  std::unique_ptr<Block> body;
  OpBuilder inner;
  GradientBuilder gradients;        ///< of the body
  IRMapping mapping;                ///< from the forward's body
  SmallVector<Value> sliced, whole; ///< operands, in the order of the body's arguments
  SmallVector<int64_t> slicedAxes;
  SmallVector<Value> known;  ///< of each forward operand: the argument with its gradient so far
  SmallVector<Value> active; ///< sliced operands that get a gradient, in the order of `axes`
  SmallVector<int64_t> axes; ///< of the results along the slices
  SmallVector<Value> yielded;
  SmallVector<Sum> sums;
};

BlockArgument Reversal::addSliced(Value operand, int64_t axis, Type type) {
  sliced.push_back(operand);
  slicedAxes.push_back(axis);
  return body->addArgument(type, outer.location);
}

/// The forward's operands, and slices of the gradients of its results and, where they have one
/// already, of its sliced operands.
void Reversal::addArguments() {
  auto sliceOf = [](Value whole, int64_t axis) {
    auto type = cast<RankedTensorType>(whole.getType());
    SmallVector<int64_t> shape(type.getShape());
    shape[axis] = ShapedType::kDynamic;
    return RankedTensorType::get(shape, type.getElementType());
  };
  for (auto [operand, axis, argument] :
       llvm::zip(loop.getSliced(), loop.getSlicedAxes(), loop.getBody().getArguments()))
    mapping.map(argument, addSliced(operand, axis, argument.getType()));
  for (auto [operand, axis] : llvm::zip_equal(loop.getSliced(), loop.getSlicedAxes())) {
    Value gradient = outer.isActive(operand) ? outer.get(operand) : Value();
    known.push_back(gradient ? Value(addSliced(gradient, axis, sliceOf(gradient, axis))) : Value());
  }
  SmallVector<Value> seeds;
  for (auto [result, axis] : llvm::zip(loop.getResults(), loop.getResultAxes())) {
    Value gradient = outer.get(result);
    seeds.push_back(gradient ? Value(addSliced(gradient, axis, sliceOf(gradient, axis))) : Value());
  }
  for (auto [operand, argument] : llvm::zip_equal(loop.getWhole(), wholeArguments())) {
    mapping.map(argument, body->addArgument(argument.getType(), outer.location));
    whole.push_back(operand);
  }
  for (Operation &op : loop.getBody().front().without_terminator())
    inner.clone(op, mapping);

  for (auto [operand, argument] :
       llvm::zip_equal(loop.getOperands(), loop.getBody().getArguments()))
    gradients.active[mapping.lookup(argument)] = outer.isActive(operand);
  for (Value argument : wholeArguments())
    gradients.setSummed(mapping.lookup(argument));
  for (auto [argument, gradient] : llvm::zip(loop.getBody().getArguments(), known))
    if (gradient)
      gradients.set(mapping.lookup(argument), gradient);
  for (auto [value, seed] :
       llvm::zip_equal(loop.getBody().front().getTerminator()->getOperands(), seeds))
    if (seed)
      gradients.add(mapping.lookup(value), seed);
}

void Reversal::collectSliced() {
  for (auto [operand, axis, argument, before] :
       llvm::zip(loop.getSliced(), loop.getSlicedAxes(), loop.getBody().getArguments(), known)) {
    Value gradient = gradients.get(mapping.lookup(argument));
    if (!gradient || gradient == before)
      continue;
    active.push_back(operand);
    axes.push_back(axis);
    yielded.push_back(gradient);
  }
}

/// A weight, or the rows of it that the body reads.
void Reversal::addWeightSums(WeightOp weight) {
  bool inRows = false;
  for (Operation *user : weight.getResult().getUsers())
    if (auto slice = dyn_cast<SliceOp>(user))
      if (Value gradient = gradients.get(slice.getResult())) {
        sums.push_back(
            {{}, weight, std::pair<int64_t, int64_t>(slice.getStart(), slice.getSize())});
        yielded.push_back(gradient);
        inRows = true;
      }
  Value gradient = inRows ? Value() : gradients.get(weight.getResult());
  if (!gradient)
    return;
  sums.push_back({{}, weight, std::nullopt});
  yielded.push_back(gradient);
}

void Reversal::collectSums() {
  for (auto [operand, argument] : llvm::zip_equal(loop.getWhole(), wholeArguments()))
    if (Value gradient = gradients.get(mapping.lookup(argument))) {
      sums.push_back({operand, {}, std::nullopt});
      yielded.push_back(beforeConversion(gradient));
    }
  for (auto weight : body->getOps<WeightOp>())
    addWeightSums(weight);
}

void Reversal::dropUnusedArguments() {
  for (unsigned i = body->getNumArguments(); i-- > 0;) {
    if (!body->getArgument(i).use_empty())
      continue;
    body->eraseArgument(i);
    if (i < sliced.size()) {
      sliced.erase(sliced.begin() + i);
      slicedAxes.erase(slicedAxes.begin() + i);
    } else {
      whole.erase(whole.begin() + (i - sliced.size()));
    }
  }
}

/// The loop with the finished body, at the outer builder's place.
SliceLoopOp Reversal::build() {
  SmallVector<Type> types;
  for (auto [index, value] : llvm::enumerate(yielded)) {
    auto type = cast<RankedTensorType>(value.getType());
    SmallVector<int64_t> shape(type.getShape());
    if (index < axes.size())
      shape[axes[index]] = loop.getExtent();
    types.push_back(RankedTensorType::get(shape, type.getElementType()));
  }
  OpBuilder &builder = outer.builder;
  auto reversed = builder.create<SliceLoopOp>(
      outer.location, types, sliced, whole, loop.getAxisAttr(), loop.getExtentAttr(),
      loop.getSizeAttr(), builder.getDenseI64ArrayAttr(slicedAxes),
      builder.getDenseI64ArrayAttr(axes));
  reversed.getBody().push_back(body.release());
  return reversed;
}

/// Hands the results to the block around the loop.
void Reversal::contribute(SliceLoopOp reversed) {
  for (auto [operand, result] : llvm::zip(active, reversed.getResults()))
    outer.set(operand, result); // with what it had before
  for (auto [sum, result] :
       llvm::zip_equal(sums, reversed.getResults().drop_front(active.size()))) {
    if (sum.operand) {
      outer.add(sum.operand, outer.isSummed(sum.operand) ? Value(result) : outer.toStorage(result));
      continue;
    }
    Value weight = outer.weightLike(sum.weight, *reversed->getBlock());
    if (sum.rows)
      weight = outer.kernels.slice(weight, 0, sum.rows->first, sum.rows->second);
    outer.add(weight, result);
  }
}

LogicalResult Reversal::run() {
  addArguments();
  if (failed(gradients.sweep(*body)))
    return failure();
  collectSliced();
  collectSums();
  if (yielded.empty())
    return success();
  inner.create<YieldOp>(outer.location, yielded);
  // Sums keep the weights of their kernels alive no longer than the names are needed.
  SmallVector<WeightOp> names;
  for (Sum &sum : sums)
    if (sum.weight) {
      names.push_back(sum.weight.clone());
      sum.weight = names.back();
    }
  eraseDeadOps(*body);
  dropUnusedArguments();
  contribute(build());
  for (WeightOp name : names)
    name.erase();
  return success();
}

/// The weight of that name in `block`, made at its beginning where it is new.
Value GradientBuilder::weightLike(WeightOp weight, Block &block) {
  for (auto known : block.getOps<WeightOp>())
    if (known.getName() == weight.getName())
      return known.getResult();
  OpBuilder begin = OpBuilder::atBlockBegin(&block);
  return cast<WeightOp>(begin.clone(*weight)).getResult();
}

LogicalResult GradientBuilder::reverseLoop(SliceLoopOp loop) {
  if (llvm::none_of(loop.getResults(), [&](Value result) { return get(result); }))
    return success();
  return Reversal(*this, loop).run();
}

} // namespace evo::kern
