//===- Binding.h - tensors of files against tensors of a plan ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Everything is matched by name and shape, and every mismatch named, before anything runs.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/HostTensor.h"
#include "runtime/plan/Plan.h"

namespace evo {

/// A parameter of one block and where it lies in the static part.
struct WeightSlot {
  std::string name;      ///< "blocks.3.msa_transition.linear_1.weight"
  std::string parameter; ///< "msa_transition.linear_1.weight"
  plan::DType dtype = plan::DType::F32;
  std::vector<int64_t> shape;
  int64_t offset = 0; ///< bytes from the start of the static part
};
/// The parameters of all blocks, block by block.
Result<std::vector<WeightSlot>> weightSlots(const plan::Plan &plan);

struct WeightBinding {
  std::string prefix;                      ///< what stands before "blocks." in the file
  int64_t ignored = 0;                     ///< tensors of the file outside <prefix>blocks.
  std::vector<const HostTensor *> sources; ///< one a slot; they point into the tensors given
};
/// Under `<prefix>blocks.` the file must hold the slots and nothing else. Without `prefix` it is
/// the only one that fits. `core.` is read as `pair_stack.`, `core.msa_transition` and
/// `core.outer_product_mean` as `msa_transition` and `outer_product_mean`: the spelling of earlier
/// checkpoints.
Result<WeightBinding> bindWeights(std::span<const WeightSlot> slots,
                                  std::span<const HostTensor> tensors,
                                  const std::optional<std::string> &prefix,
                                  std::string_view fileName);

/// A boundary tensor that the caller sets, and what sets it.
struct BoundInput {
  const plan::Tensor *tensor = nullptr;
  const HostTensor *source = nullptr; ///< null: a mask of ones
};
/// `names` are the inputs of a program; the file's tensors have them without `prefix`. Masks (names
/// that end with "_mask") may be absent.
Result<std::vector<BoundInput>> bindInputs(const plan::Plan &plan,
                                           std::span<const std::string> names,
                                           std::span<const HostTensor> tensors,
                                           std::string_view fileName, std::string_view prefix = "");
bool isMask(std::string_view name);
const plan::Tensor *findTensor(const plan::Plan &plan, std::string_view name);

} // namespace evo
