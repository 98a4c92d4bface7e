//===- Slices.cpp - modules on whole tensors or in one slice loop -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "dialects/Evo/ModuleSupport.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using evo::kern::KernBuilder;
using evo::kern::Sliced;

namespace evo::ir {

namespace {

/// The operands of a loop that several modules share.
struct LoopOperands {
  SmallVector<Sliced> sliced;
  SmallVector<Value> whole;
  llvm::MapVector<StringRef, unsigned> tensors; ///< position among the sliced ones
  llvm::StringMap<int64_t> dims;                ///< the sliced axis of each tensor

  /// Where the side inputs of each module stand: position, and whether among the whole ones.
  SmallVector<SmallVector<std::pair<unsigned, bool>>> sides;

  void addTensors(ModuleOpInterface module, Axis axis, const llvm::StringMap<Value> &values) {
    for (auto [name, dim] : llvm::zip_equal(module.getTensorNames(), module.getSliceDims(axis)))
      if (dim >= 0 && tensors.insert({name, sliced.size()}).second) {
        sliced.push_back({values.lookup(name), dim});
        dims[name] = dim;
      }
  }

  void addSides(ArrayRef<SideInput> inputs) {
    auto &positions = sides.emplace_back();
    for (const SideInput &side : inputs) {
      positions.emplace_back(side.axis < 0 ? whole.size() : sliced.size(), side.axis < 0);
      if (side.axis < 0)
        whole.push_back(side.value);
      else
        sliced.push_back({side.value, side.axis});
    }
  }
};

SmallVector<Value> valuesOf(ModuleOpInterface module, const llvm::StringMap<Value> &tensors) {
  SmallVector<Value> values;
  for (StringRef name : module.getTensorNames())
    values.push_back(tensors.lookup(name));
  return values;
}

} // namespace

void emitModules(KernBuilder &builder, ArrayRef<ModuleOpInterface> modules,
                 ArrayRef<KernelVariant> variants, Axis axis, int64_t size,
                 llvm::StringMap<Value> &tensors) {
  if (axis == Axis::None) {
    for (auto [module, variant] : llvm::zip_equal(modules, variants)) {
      ModuleOpInterface op = module;
      tensors[op.getUpdatedTensor()] = op.emitWhole(builder, valuesOf(op, tensors), variant);
    }
    return;
  }
  LoopOperands operands;
  llvm::MapVector<StringRef, int64_t> updated;
  for (ModuleOpInterface module : modules) {
    operands.addTensors(module, axis, tensors);
    updated.insert({module.getUpdatedTensor(), operands.dims.lookup(module.getUpdatedTensor())});
  }
  for (ModuleOpInterface module : modules)
    operands.addSides(module.emitSides(builder, valuesOf(module, tensors), axis, size));
  SmallVector<int64_t> resultAxes;
  for (auto [name, dim] : updated)
    resultAxes.push_back(dim);
  SmallVector<Value> results = builder.sliceLoop(
      stringifyAxis(axis), size, operands.sliced, operands.whole, resultAxes,
      [&](ArrayRef<Value> sliced, ArrayRef<Value> whole) {
        llvm::StringMap<Value> slices;
        for (auto [name, position] : operands.tensors)
          slices[name] = sliced[position];
        for (auto [index, module] : llvm::enumerate(modules)) {
          ModuleOpInterface op = module;
          SmallVector<Value> values, sides;
          for (auto [name, dim] : llvm::zip_equal(op.getTensorNames(), op.getSliceDims(axis)))
            values.push_back(dim < 0 ? Value() : slices.lookup(name));
          for (auto [position, isWhole] : operands.sides[index])
            sides.push_back(isWhole ? whole[position] : sliced[position]);
          slices[op.getUpdatedTensor()] =
              op.emitSlice(builder, values, sides, axis, variants[index]);
        }
        SmallVector<Value> yielded;
        for (auto [name, dim] : updated)
          yielded.push_back(slices.lookup(name));
        return yielded;
      });
  for (auto [entry, result] : llvm::zip_equal(updated, results))
    tensors[entry.first] = result;
}

LogicalResult verifyRun(Operation *reporter, ArrayRef<ModuleOpInterface> modules, Axis axis) {
  llvm::StringSet<> updated;
  llvm::StringMap<int64_t> dims;
  for (ModuleOpInterface module : modules) {
    SmallVector<SliceAxis> axes = module.getLegalAxes();
    const SliceAxis *legal =
        llvm::find_if(axes, [&](const SliceAxis &each) { return each.axis == axis; });
    if (legal == axes.end())
      return reporter->emitOpError("expected modules that have slices along ")
             << stringifyAxis(axis) << ", got " << module.getParameterPrefix();
    if (updated.contains(legal->wholeFrom))
      return reporter->emitOpError("expected ")
             << legal->whole << " of " << module.getParameterPrefix()
             << " to be known before the loop, got a module before it that updates "
             << legal->wholeFrom;
    for (auto [name, dim] : llvm::zip_equal(module.getTensorNames(), module.getSliceDims(axis)))
      if (dim >= 0 && dims.try_emplace(name, dim).first->second != dim)
        return reporter->emitOpError("expected one sliced axis of ")
               << name << ", got " << dims.lookup(name) << " and " << dim;
    updated.insert(module.getUpdatedTensor());
  }
  return success();
}

} // namespace evo::ir
