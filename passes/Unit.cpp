//===- Unit.cpp -------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Unit.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace evo {

static std::string slicesText(ir::Axis axis, int64_t size) {
  if (axis == ir::Axis::None)
    return "";
  return ", " + ir::stringifyAxis(axis).str() + " by " + std::to_string(size);
}

std::string choiceText(ir::ChoiceAttr choice) {
  std::string text = ir::stringifyKernelVariant(choice.getVariant()).str() +
                     slicesText(choice.getAxis(), choice.getSize());
  if (choice.getKeep() == ir::Keep::Nothing)
    return text;
  text += "; keeps " + ir::stringifyKeep(choice.getKeep()).str();
  if (keepsResults(choice.getKeep()))
    return text;
  return text + ", backward " + ir::stringifyKernelVariant(choice.getBackwardVariant()).str() +
         slicesText(choice.getBackwardAxis(), choice.getBackwardSize());
}

std::string gradientName(StringRef stream) { return "d" + stream.str(); }
bool isStream(StringRef tensor) { return tensor == "m" || tensor == "z"; }

Unit Unit::of(ir::ModuleOpInterface module, ir::ChoiceAttr choice) {
  Unit unit;
  unit.modules = {module};
  unit.choices = {choice};
  unit.axis = choice.getAxis();
  unit.size = choice.getSize();
  unit.backwardAxis = choice.getBackwardAxis();
  unit.backwardSize = choice.getBackwardSize();
  unit.keep = choice.getKeep();
  return unit;
}

std::string Unit::name() const {
  std::string text;
  for (ir::ModuleOpInterface module : modules)
    text += (text.empty() ? "" : "+") + module.getParameterPrefix().str();
  return text;
}

std::string Unit::choiceText() const {
  if (modules.size() == 1)
    return evo::choiceText(choices.front());
  std::string text;
  for (ir::ChoiceAttr choice : choices)
    text += (text.empty() ? "" : " + ") + ir::stringifyKernelVariant(choice.getVariant()).str();
  return text + slicesText(axis, size) +
         (keep == ir::Keep::Nothing ? "" : "; keeps its input, backward the same");
}

SmallVector<StringRef> Unit::tensors() const {
  SmallVector<StringRef> names;
  for (ir::ModuleOpInterface module : modules)
    for (StringRef name : module.getTensorNames())
      if (!llvm::is_contained(names, name))
        names.push_back(name);
  return names;
}

Type Unit::typeOf(StringRef tensor) const {
  for (ir::ModuleOpInterface module : modules)
    for (auto [name, type] : llvm::zip_equal(module.getTensorNames(), module->getOperandTypes()))
      if (name == tensor)
        return type;
  return {};
}

SmallVector<StringRef> Unit::updated() const {
  SmallVector<StringRef> names;
  for (ir::ModuleOpInterface module : modules)
    if (!llvm::is_contained(names, module.getUpdatedTensor()))
      names.push_back(module.getUpdatedTensor());
  return names;
}

bool Unit::isSameAs(const Unit &other) const {
  auto same = [](ir::ModuleOpInterface a, ir::ModuleOpInterface b) {
    return a->getName() == b->getName() && a->getAttrDictionary() == b->getAttrDictionary() &&
           llvm::equal(a->getOperandTypes(), b->getOperandTypes());
  };
  return axis == other.axis && size == other.size && backwardAxis == other.backwardAxis &&
         backwardSize == other.backwardSize && keep == other.keep && choices == other.choices &&
         std::equal(modules.begin(), modules.end(), other.modules.begin(), other.modules.end(),
                    same);
}

std::vector<Unit> collectUnits(ir::SegmentOp segment) {
  SmallVector<ir::ModuleOpInterface> modules(
      segment.getBody().front().getOps<ir::ModuleOpInterface>());
  SmallVector<int> groups(modules.size(), -1);
  SmallVector<ir::RunAttr> loops(modules.size());
  int count = 0;
  if (segment.getRuns())
    for (auto run : segment.getRuns()->getAsRange<ir::RunAttr>()) {
      for (int64_t i = run.getFirst(); i < run.getFirst() + run.getCount(); ++i)
        if (run.getAxis() == ir::Axis::None)
          groups[i] = count;
        else
          loops[i] = run;
      count += run.getAxis() == ir::Axis::None;
    }
  std::vector<Unit> units;
  for (size_t i = 0; i < modules.size(); ++i) {
    if (loops[i] && i > 0 && loops[i] == loops[i - 1]) {
      units.back().modules.push_back(modules[i]);
      units.back().choices.push_back(modules[i].getModuleChoice());
      continue;
    }
    units.push_back(Unit::of(modules[i], modules[i].getModuleChoice()));
    units.back().group = groups[i];
    if (loops[i]) {
      units.back().axis = units.back().backwardAxis = loops[i].getAxis();
      units.back().size = units.back().backwardSize = loops[i].getSize();
    }
  }
  return units;
}

} // namespace evo
