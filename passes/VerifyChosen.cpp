//===- VerifyChosen.cpp - fence behind the choice ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The lowering names streams and masks where the stack has values. That is the same only where each
// module reads the newest version of each stream, which SSA alone does not ask for: it is checked
// here.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_EVOVERIFYCHOSEN
#include "passes/Passes.h.inc"

namespace {

struct ChosenVerifier {
  ir::StackOp stack;
  SmallVector<StringRef> names;  ///< of the boundary tensors, the streams first
  llvm::StringMap<Value> newest; ///< by name
  int64_t nextBlock = 0;

  /// `values` are the newest streams, in order.
  LogicalResult expectStreams(Operation *op, ValueRange values) {
    if (values.size() > names.size())
      return op->emitOpError("expected at most ")
             << names.size() << " streams, got " << values.size();
    for (auto [name, value] : llvm::zip(names, values))
      if (newest.lookup(name) != value)
        return op->emitOpError("expected the newest version of ") << name;
    return success();
  }

  void setStreams(ValueRange values) {
    for (auto [name, value] : llvm::zip(names, values))
      newest[name] = value;
  }

  LogicalResult verifyModuleOp(ir::ModuleOpInterface op) {
    if (!op.getModuleChoice())
      return op->emitOpError("expected a choice; run evo-choose-policy first");
    for (auto [name, operand] : llvm::zip_equal(op.getTensorNames(), op->getOperands()))
      if (newest.lookup(name) != operand)
        return op->emitOpError("expected the newest version of ") << name;
    newest[op.getUpdatedTensor()] = op->getResult(0);
    bool train = getMode(stack.getModel()) == plan::Mode::Train;
    ir::Keep keep = op.getModuleChoice().getKeep();
    if (train == (keep == ir::Keep::Nothing))
      return op->emitOpError("expected a choice that keeps ")
             << (train ? "its input or all in training" : "nothing in inference")
             << ", got keep = " << ir::stringifyKeep(keep);
    return ir::verifyChoice(op, op.getModuleChoice());
  }

  LogicalResult verifySegment(ir::SegmentOp segment) {
    if (static_cast<int64_t>(segment.getFirst()) != nextBlock)
      return segment.emitOpError("expected first block ")
             << nextBlock << ", got " << segment.getFirst();
    if (__builtin_add_overflow(nextBlock, static_cast<int64_t>(segment.getCount()), &nextBlock))
      return segment.emitOpError("expected fewer than 2^63 blocks");
    if (failed(expectStreams(segment, segment.getStreams())))
      return failure();
    Block &block = segment.getBody().front();
    setStreams(block.getArguments());
    for (Operation &op : block.without_terminator())
      if (auto module = dyn_cast<ir::ModuleOpInterface>(op))
        if (failed(verifyModuleOp(module)))
          return failure();
    if (failed(expectStreams(block.getTerminator(), block.getTerminator()->getOperands())))
      return failure();
    setStreams(segment.getResults());
    return verifyRuns(segment);
  }

  /// Modules that share a loop keep what enters it and have no slices of their own.
  LogicalResult verifyRuns(ir::SegmentOp segment) {
    if (!segment.getRuns())
      return success();
    SmallVector<ir::ModuleOpInterface> modules(
        segment.getBody().front().getOps<ir::ModuleOpInterface>());
    for (auto run : segment.getRuns()->getAsRange<ir::RunAttr>())
      for (int64_t i = run.getFirst(); i < run.getFirst() + run.getCount(); ++i) {
        ir::ChoiceAttr choice = modules[i].getModuleChoice();
        if (run.getAxis() != ir::Axis::None &&
            (keepsResults(choice.getKeep()) || choice.getAxis() != ir::Axis::None ||
             choice.getBackwardAxis() != ir::Axis::None))
          return modules[i]->emitOpError("expected a choice without slices that keeps no more than "
                                         "its input, in a run with slices, got ")
                 << choice;
      }
    return success();
  }

  LogicalResult verifyModel() {
    auto precision = stack.getModel().getAs<StringAttr>("precision");
    auto blocks = stack.getModel().getAs<IntegerAttr>("blocks");
    std::optional<plan::Precision> known;
    if (precision)
      known = plan::parsePrecision({precision.data(), precision.size()});
    if (!known || !blocks)
      return stack.emitOpError("expected a model with a precision and a number of blocks");
    Type element = kern::fromDType(stack.getContext(), plan::storageType(*known));
    for (Value tensor : stack.getBody().getArguments())
      if (cast<ShapedType>(tensor.getType()).getElementType() != element)
        return stack.emitOpError("expected tensors of ")
               << element << " for precision " << precision << ", got " << tensor.getType();
    if (blocks.getInt() != nextBlock)
      return stack.emitOpError("expected segments of ")
             << blocks.getInt() << " blocks, got " << nextBlock;
    return success();
  }

  /// The choice of every module of an interval's blocks, and intervals in order, apart or nested.
  LogicalResult verifyRecompute() {
    if (!stack.getRecompute())
      return success();
    if (getMode(stack.getModel()) != plan::Mode::Train)
      return stack.emitOpError("expected nothing to be recomputed in inference");
    SmallVector<int64_t> ends; // of the intervals around
    int64_t begin = 0;
    for (auto interval : stack.getRecompute()->getAsRange<ir::RecomputeAttr>()) {
      while (!ends.empty() && ends.back() <= interval.getFirst())
        ends.pop_back();
      int64_t limit = ends.empty() ? nextBlock : ends.back();
      if (interval.getFirst() < begin || interval.getEnd() > limit ||
          (!ends.empty() && interval.getEnd() == limit && interval.getFirst() == begin))
        return stack.emitOpError("expected intervals of its ")
               << nextBlock << " blocks in order, apart or nested, got " << interval;
      begin = interval.getFirst();
      ends.push_back(interval.getEnd());
      if (failed(verifyRecompute(interval)))
        return failure();
    }
    return success();
  }

  LogicalResult verifyRecompute(ir::RecomputeAttr interval) {
    for (auto segment : stack.getBody().front().getOps<ir::SegmentOp>()) {
      int64_t first = segment.getFirst(), end = first + static_cast<int64_t>(segment.getCount());
      if (end <= interval.getFirst() || first >= interval.getEnd())
        continue;
      SmallVector<ir::ModuleOpInterface> modules(
          segment.getBody().front().getOps<ir::ModuleOpInterface>());
      if (modules.size() != interval.getChoices().size())
        return stack.emitOpError("expected a choice for each of ")
               << modules.size() << " modules, got " << interval;
      for (auto [module, choice] : llvm::zip_equal(modules, interval.getChoices()))
        if (failed(ir::verifyChoice(module, cast<ir::ChoiceAttr>(choice))))
          return failure();
    }
    return success();
  }

  LogicalResult run() {
    llvm::append_range(names, stack.getTensors().getAsValueRange<StringAttr>());
    Block &body = stack.getBody().front();
    setStreams(body.getArguments());
    for (auto segment : body.getOps<ir::SegmentOp>())
      if (failed(verifySegment(segment)))
        return failure();
    if (failed(expectStreams(body.getTerminator(), body.getTerminator()->getOperands())))
      return failure();
    return failure(failed(verifyModel()) || failed(verifyRecompute()));
  }
};

struct EvoVerifyChosenPass : impl::EvoVerifyChosenBase<EvoVerifyChosenPass> {
  void runOnOperation() override {
    for (auto stack : getOperation().getOps<ir::StackOp>())
      if (failed(ChosenVerifier{stack, {}, {}}.run()))
        return signalPassFailure();
  }
};
} // namespace

} // namespace evo
