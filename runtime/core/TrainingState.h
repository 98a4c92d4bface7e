//===- TrainingState.h - what a run of training resumes from ----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A safetensors file with every weight under its name (`blocks.{i}.…`), what the optimizer keeps of
// it (`optimizer.momentum.blocks.{i}.…`) and its scalars (`optimizer.scalars`), bit by bit in the
// types of the plan.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "runtime/core/Binding.h"
#include "runtime/core/FileIo.h"
#include "runtime/core/HostTensor.h"

namespace evo {

inline constexpr std::string_view kStateFormat = "evo.state/1";

/// What an optimizer keeps of a parameter of one block.
struct StateSlot {
  std::string name; ///< "optimizer.momentum.blocks.3.msa_transition.linear_1.weight"
  plan::StateKind kind = plan::StateKind::Momentum;
  size_t weight = 0;  ///< the parameter: an index of weightSlots
  int64_t offset = 0; ///< bytes from the start of the static part
};
/// Behind each other for all parameters of all blocks, in their order.
Result<std::vector<StateSlot>> stateSlots(const plan::Plan &plan);

/// The four numbers that Kernels.def describes.
struct OptimizerScalars {
  double lossScale = 1, sinceChange = 0, steps = 0, nonfinite = 0;
};

/// The state of a plan with an optimizer, on a device.
class TrainingState {
public:
  /// Binds a plan to its memory, which must outlive the state.
  static Result<TrainingState> create(const plan::Plan &plan, Backend &backend, std::byte *arena,
                                      std::byte *staticPart);

  /// Zeros, and the scalars of a first step. Masters are set with the weights.
  Status reset();
  /// Sets the master of parameter `weight` (an index of weightSlots), where there is one, from a
  /// reader of the statistic type.
  Status setMaster(size_t weight, const ElementReader &read, int threads);

  Result<OptimizerScalars> scalars() const;

  Status save(OutputFile &file, uint32_t dropoutSeed) const;
  /// Takes everything from a file and returns the seed of dropout; an error names what it lacks or
  /// has too much.
  Result<uint32_t> load(const std::string &path);

private:
  TrainingState(const plan::Plan &plan, Backend &backend, std::byte *arena, std::byte *staticPart)
      : plan(plan), backend(backend), arena(arena), staticPart(staticPart) {}

  /// A tensor of the file and where it lies.
  struct Entry {
    std::string name;
    plan::DType dtype = plan::DType::F32;
    std::vector<int64_t> shape;
    std::byte *place = nullptr;
  };
  std::vector<Entry> entries() const;

  const plan::Plan &plan;
  Backend &backend;
  std::byte *arena, *staticPart;
  const plan::Tensor *scalarTensor = nullptr;
  std::vector<WeightSlot> weights;
  std::vector<StateSlot> states;
};

} // namespace evo
