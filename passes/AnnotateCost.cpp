//===- AnnotateCost.cpp - kernels priced by a profile -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_KERNANNOTATECOST
#include "passes/Passes.h.inc"

LogicalResult emitStatus(Operation *op, const Status &status) {
  if (status.ok())
    return success();
  return op->emitError() << status.message();
}

Result<cost::DeviceProfile> loadProfile(const std::string &nameOrPath) {
  for (std::string_view name : cost::builtinProfileNames())
    if (name == nameOrPath)
      return cost::builtinProfile(name);
  return cost::readDeviceProfile(nameOrPath);
}

static Result<int64_t> priceOnce(kern::KernelOpInterface op, int64_t sliceLength,
                                 const cost::DeviceProfile &profile, plan::Precision precision) {
  EVO_ASSIGN(plan::AxisExtents axes, kern::getKernelAxes(op, sliceLength));
  kern::KernelBytes bytes = kern::kernelBytes(op, sliceLength);
  cost::KernelWork work = plan::kernelWork(op.getKernel(), axes, kern::presentOperands(op));
  work.bytesRead = bytes.read;
  work.bytesWritten = bytes.written;
  return profile.costNs(work, precision);
}

/// All runs of a kernel in one call of its procedure.
static Result<int64_t> priceKernel(kern::KernelOpInterface op, const cost::DeviceProfile &profile,
                                   plan::Precision precision) {
  kern::SliceLoopOp loop = kern::getEnclosingLoop(op);
  if (!loop)
    return priceOnce(op, 1, profile, precision);
  int64_t extent = loop.getExtent(), size = std::min<int64_t>(loop.getSize(), extent);
  int64_t full = extent / size, rest = extent % size;
  EVO_ASSIGN(int64_t total, priceOnce(op, size, profile, precision));
  if (__builtin_mul_overflow(total, full, &total))
    return Status::error(ErrorCode::InvalidInput, "the modelled time exceeds 2^63 ns");
  if (rest == 0)
    return total;
  EVO_ASSIGN(int64_t last, priceOnce(op, rest, profile, precision));
  if (__builtin_add_overflow(total, last, &total))
    return Status::error(ErrorCode::InvalidInput, "the modelled time exceeds 2^63 ns");
  return total;
}

/// The sums of a loop begin as zeros, which kernels write that the lowering adds, and some are
/// added to by such kernels; `zero_cost_ns` and `add_cost_ns` on the loop say what they take for
/// each. Adds to `total`.
static Status priceSums(kern::SliceLoopOp loop, const cost::DeviceProfile &profile,
                        plan::Precision precision, int64_t &total) {
  int64_t size = std::min<int64_t>(loop.getSize(), loop.getExtent());
  int64_t slices = (static_cast<int64_t>(loop.getExtent()) - 1) / size + 1;
  SmallVector<int64_t> zeros, adds;
  for (unsigned i = loop.getResultAxes().size(); i < loop.getNumResults(); ++i) {
    auto type = cast<RankedTensorType>(loop.getResult(i).getType());
    double elements = static_cast<double>(type.getNumElements());
    double bytes = elements * static_cast<double>(type.getElementTypeBitWidth() / 8);
    cost::KernelWork zero, add;
    zero.workClass = add.workClass = cost::WorkClass::Vector;
    zero.kernel = plan::Kernel::Zero;
    add.kernel = plan::Kernel::Add;
    zero.bytesWritten = add.bytesWritten = bytes;
    add.bytesRead = 2 * bytes;
    add.flops = elements;
    int64_t added = 0;
    if (!findAccumulator(loop, i) &&
        __builtin_mul_overflow(profile.costNs(add, precision), slices, &added))
      return Status::error(ErrorCode::InvalidInput, "the modelled time exceeds 2^63 ns");
    zeros.push_back(profile.costNs(zero, precision));
    adds.push_back(added);
    if (__builtin_add_overflow(total, zeros.back(), &total) ||
        __builtin_add_overflow(total, added, &total))
      return Status::error(ErrorCode::InvalidInput, "the modelled time exceeds 2^63 ns");
  }
  if (zeros.empty())
    return {};
  loop->setAttr(kZeroCostAttr, DenseI64ArrayAttr::get(loop.getContext(), zeros));
  if (llvm::any_of(adds, [](int64_t cost) { return cost != 0; }))
    loop->setAttr(kAddCostAttr, DenseI64ArrayAttr::get(loop.getContext(), adds));
  return {};
}

Result<int64_t> annotateCost(kern::ProcedureOp procedure, const cost::DeviceProfile &profile,
                             plan::Precision precision) {
  Builder builder(procedure.getContext());
  Status status;
  int64_t sum = 0;
  procedure.walk([&](kern::KernelOpInterface op) {
    Result<int64_t> cost = priceKernel(op, profile, precision);
    if (!cost) {
      status = cost.status();
      return WalkResult::interrupt();
    }
    op->setAttr("cost_ns", builder.getI64IntegerAttr(*cost));
    if (__builtin_add_overflow(sum, *cost, &sum)) {
      status = Status::error(ErrorCode::InvalidInput, "the modelled time exceeds 2^63 ns");
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  if (!status.ok())
    return status;
  procedure.walk([&](kern::SliceLoopOp loop) {
    status = priceSums(loop, profile, precision, sum);
    return status.ok() ? WalkResult::advance() : WalkResult::interrupt();
  });
  if (!status.ok())
    return status;
  return sum;
}

namespace {
struct KernAnnotateCostPass : impl::KernAnnotateCostBase<KernAnnotateCostPass> {
  using KernAnnotateCostBase::KernAnnotateCostBase;
  void runOnOperation() override {
    ModuleOp module = getOperation();
    Result<cost::DeviceProfile> device = loadProfile(profile);
    if (!device) {
      module.emitError() << device.status().message();
      return signalPassFailure();
    }
    plan::Precision precision = getPrecision(module->getAttrOfType<DictionaryAttr>(kModelAttr));
    for (auto procedure : module.getOps<kern::ProcedureOp>())
      if (failed(emitStatus(procedure, annotateCost(procedure, *device, precision).status())))
        return signalPassFailure();
  }
};
} // namespace

} // namespace evo
