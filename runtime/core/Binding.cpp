//===- Binding.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Binding.h"

#include "runtime/core/Convert.h"

#include <algorithm>
#include <map>
#include <unordered_map>

namespace evo {

namespace {

constexpr std::string_view kBlocks = "blocks.";

Status invalid(std::string_view fileName, const std::string &message) {
  return Status::error(ErrorCode::InvalidInput, std::string(fileName) + ": " + message);
}

/// What stands before "blocks." at the start of the name or behind a dot; nothing where it does
/// not.
std::optional<std::string> prefixOf(const std::string &name) {
  for (size_t at = name.find(kBlocks); at != std::string::npos; at = name.find(kBlocks, at + 1))
    if (at == 0 || name[at - 1] == '.')
      return name.substr(0, at);
  return std::nullopt;
}

/// "blocks.0.core.tri_mul_out.x" → "blocks.0.pair_stack.tri_mul_out.x".
std::string modernName(std::string_view name) {
  constexpr std::string_view kOld = "core.";
  size_t dot = name.find('.', kBlocks.size());
  if (dot == std::string_view::npos || name.substr(dot + 1, kOld.size()) != kOld)
    return std::string(name);
  std::string_view rest = name.substr(dot + 1 + kOld.size());
  bool outside = rest.starts_with("msa_transition.") || rest.starts_with("outer_product_mean.");
  return std::string(name.substr(0, dot + 1)) + (outside ? "" : "pair_stack.") + std::string(rest);
}

using SlotIndex = std::unordered_map<std::string_view, size_t>;

SlotIndex indexByName(std::span<const WeightSlot> slots) {
  SlotIndex index;
  for (size_t i = 0; i < slots.size(); ++i)
    index.emplace(slots[i].name, i);
  return index;
}

std::string typeAndShape(const HostTensor &tensor) {
  return std::string(hostTypeName(tensor.dtype)) + " " + shapeText(tensor.shape);
}

/// Binds the tensors under one prefix.
Result<WeightBinding> bindUnder(const std::string &prefix, std::span<const WeightSlot> slots,
                                const SlotIndex &index, std::span<const HostTensor> tensors,
                                std::string_view fileName) {
  WeightBinding binding{prefix, 0, std::vector<const HostTensor *>(slots.size(), nullptr)};
  std::string start = prefix + std::string(kBlocks);
  for (const HostTensor &tensor : tensors) {
    if (!tensor.name.starts_with(start)) {
      ++binding.ignored;
      continue;
    }
    auto found = index.find(modernName(std::string_view(tensor.name).substr(prefix.size())));
    if (found == index.end())
      return invalid(fileName, "surplus tensor '" + tensor.name + "' " + shapeText(tensor.shape) +
                                   ": expected only parameters of the plan under '" + start +
                                   "' (is the plan's number of blocks the file's)");
    const WeightSlot &slot = slots[found->second];
    const HostTensor *&source = binding.sources[found->second];
    if (source)
      return invalid(fileName, "expected one tensor for '" + slot.name + "', got '" + source->name +
                                   "' and '" + tensor.name + "'");
    if (tensor.shape != slot.shape || !isFloating(tensor.dtype))
      return invalid(fileName, "tensor '" + tensor.name + "': expected F32, F64, F16 or BF16 " +
                                   shapeText(slot.shape) + ", got " + typeAndShape(tensor));
    source = &tensor;
  }
  for (size_t i = 0; i < slots.size(); ++i)
    if (!binding.sources[i])
      return invalid(fileName, "missing tensor '" + prefix + slots[i].name + "': expected shape " +
                                   shapeText(slots[i].shape) + ", got none");
  return binding;
}

std::string quotedList(const std::vector<std::string> &names) {
  std::string text;
  for (const std::string &name : names)
    text += (text.empty() ? "'" : ", '") + name + "'";
  return text;
}

} // namespace

Result<std::vector<WeightSlot>> weightSlots(const plan::Plan &plan) {
  std::vector<WeightSlot> slots;
  for (int64_t block = 0; block < plan.model.blocks; ++block)
    for (const plan::Weight &weight : plan.weights) {
      int64_t columns = weight.shape.size() > 1 ? weight.shape[1] : 1;
      for (const plan::WeightPart &part : weight.parts) {
        WeightSlot slot;
        slot.name = std::string(kBlocks) + std::to_string(block) + "." + part.parameter;
        slot.parameter = part.parameter;
        slot.dtype = weight.dtype;
        slot.shape = {part.rows};
        if (weight.shape.size() > 1)
          slot.shape.push_back(columns);
        int64_t start = 0, rowBytes = 0, blockStart = 0;
        if (__builtin_mul_overflow(columns, plan::elementBytes(weight.dtype), &rowBytes) ||
            __builtin_mul_overflow(rowBytes, part.firstRow, &start) ||
            __builtin_mul_overflow(plan.weightBlockBytes, block, &blockStart) ||
            __builtin_add_overflow(start, weight.offset, &start) ||
            __builtin_add_overflow(start, blockStart, &slot.offset))
          return Status::error(ErrorCode::InvalidPlan,
                               "weight '" + weight.name + "': expected bytes below 2^63");
        slots.push_back(std::move(slot));
      }
    }
  return slots;
}

Result<WeightBinding> bindWeights(std::span<const WeightSlot> slots,
                                  std::span<const HostTensor> tensors,
                                  const std::optional<std::string> &prefix,
                                  std::string_view fileName) {
  SlotIndex index = indexByName(slots);
  if (prefix) {
    std::string dotted = *prefix;
    if (!dotted.empty() && dotted.back() != '.')
      dotted += '.';
    return bindUnder(dotted, slots, index, tensors, fileName);
  }
  std::map<std::string, int64_t> candidates;
  // A state file holds weights, and beside them what an optimizer keeps of each.
  for (const HostTensor &tensor : tensors)
    if (std::optional<std::string> own = prefixOf(tensor.name);
        own && !own->starts_with("optimizer."))
      ++candidates[*own];
  if (candidates.empty())
    return invalid(fileName, "expected weights named 'blocks.{i}.…' with or without a prefix, got "
                             "none among " +
                                 std::to_string(tensors.size()) + " tensors");
  std::vector<WeightBinding> fitting;
  std::string reasons;
  Status only;
  for (const auto &[candidate, count] : candidates) {
    Result<WeightBinding> bound = bindUnder(candidate, slots, index, tensors, fileName);
    if (bound) {
      fitting.push_back(*std::move(bound));
      continue;
    }
    only = bound.status();
    reasons += "; under '" + candidate + "': " + bound.status().message();
  }
  if (fitting.size() == 1)
    return std::move(fitting.front());
  if (fitting.empty())
    return candidates.size() == 1
               ? only
               : invalid(fileName,
                         "expected one prefix before 'blocks.' to fit the plan, got none" +
                             reasons);
  std::vector<std::string> names;
  names.reserve(fitting.size());
  for (const WeightBinding &binding : fitting)
    names.push_back(binding.prefix);
  return invalid(fileName, "expected one prefix before 'blocks.' to fit the plan, got " +
                               quotedList(names) + " (choose with --weights-prefix)");
}

bool isMask(std::string_view name) { return name.ends_with("_mask"); }

const plan::Tensor *findTensor(const plan::Plan &plan, std::string_view name) {
  for (const plan::Tensor &tensor : plan.tensors)
    if (tensor.name == name)
      return &tensor;
  return nullptr;
}

/// A tensor for a boundary tensor: of its shape, and of a type that converts.
static Status checkInput(const HostTensor &source, const plan::Tensor &tensor, bool mask,
                         std::string_view fileName) {
  bool typeFits = mask ? isConvertible(source.dtype) : isFloating(source.dtype);
  if (source.shape == tensor.shape && typeFits)
    return {};
  return invalid(fileName, "tensor '" + source.name + "': expected F32, F64, F16" +
                               (mask ? ", BF16, U8 or BOOL " : " or BF16 ") +
                               shapeText(tensor.shape) + ", got " + typeAndShape(source));
}

Result<std::vector<BoundInput>> bindInputs(const plan::Plan &plan,
                                           std::span<const std::string> names,
                                           std::span<const HostTensor> tensors,
                                           std::string_view fileName, std::string_view prefix) {
  std::vector<std::string> expected;
  std::vector<BoundInput> inputs;
  for (const std::string &name : names) {
    inputs.push_back({findTensor(plan, name), nullptr});
    if (!inputs.back().tensor || !name.starts_with(prefix))
      return Status::error(
          ErrorCode::InvalidPlan,
          "program input '" + name + "': expected a tensor of the plan" +
              (prefix.empty() ? "" : " that begins with '" + std::string(prefix) + "'") +
              ", got none");
    expected.push_back(name.substr(prefix.size()));
  }
  for (const HostTensor &tensor : tensors)
    if (std::find(expected.begin(), expected.end(), tensor.name) == expected.end())
      return invalid(fileName,
                     "unknown tensor '" + tensor.name + "': expected " + quotedList(expected));
  for (size_t i = 0; i < inputs.size(); ++i) {
    auto found = std::find_if(tensors.begin(), tensors.end(),
                              [&](const HostTensor &tensor) { return tensor.name == expected[i]; });
    if (found == tensors.end() && !isMask(expected[i]))
      return invalid(fileName, "missing tensor '" + expected[i] + "': expected shape " +
                                   shapeText(inputs[i].tensor->shape) + ", got none");
    if (found == tensors.end())
      continue;
    inputs[i].source = &*found;
    EVO_TRY(checkInput(*found, *inputs[i].tensor, isMask(expected[i]), fileName));
  }
  return inputs;
}

} // namespace evo
