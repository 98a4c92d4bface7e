//===- Passes.h - from a specification to a plan ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/cost/DeviceProfile.h"
#include "compiler/spec/ModelSpec.h"
#include "dialects/Evo/EvoDialect.h"
#include "dialects/Kern/KernDialect.h"
#include "runtime/plan/Plan.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <memory>
#include <string>
#include <vector>

namespace evo {

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

//===----------------------------------------------------------------------===//
// What the passes are made of, for the tool and for the search
//===----------------------------------------------------------------------===//

/// The policies. `Auto` searches: the fastest plan that fits. The named ones: `Direct`: no slices,
/// and in training all is kept. `Chunk`: the seed's slices; in training each is a recompute group
/// of its own, and so is each module without slices. Training alone: `Small`, a recompute group a
/// module; `Large`, one a block; `Extra`, of stacks with an MSA, row attention as in `Chunk` and a
/// group for the rest of the block.
enum class Policy : uint8_t { Auto, Direct, Small, Large, Chunk, Extra };
/// The policies that a stack has in a mode, but for Auto.
llvm::SmallVector<Policy> policiesOf(plan::Mode mode, bool hasMsa);
std::optional<Policy> parsePolicy(llvm::StringRef name);
llvm::StringRef policyName(Policy policy);

/// What a plan is made for, beside the model.
struct Target {
  cost::DeviceProfile profile;
  int64_t budgetBytes = 0; ///< arena + static + library
  bool plainKernels = false;
};

/// A new module with the stack of a specification.
mlir::OwningOpRef<mlir::ModuleOp> importSpecification(const spec::ModelSpec &spec,
                                                      mlir::MLIRContext *context);

/// What a named policy needs.
struct PolicyNeed {
  Policy policy;
  int64_t peakBytes = 0;
  double predictedMs = 0;
};

/// What the search found out, for the reports.
struct SearchReport {
  double recordsMs = 0;     ///< wall time: to lower and price every choice
  double searchMs = 0;      ///< wall time: to find the plan among them
  int64_t records = 0;      ///< of one block
  int64_t lowerBoundNs = 0; ///< of any plan, with memory for everything
  int64_t leastBudgetBytes = 0;
  int64_t granuleBytes = 0;       ///< step of the budgets that were weighed
  int64_t lossBytes = 0;          ///< what the solution gives away to that step
  int64_t tighterBudgetBytes = 0; ///< a tenth less for kept tensors and frames; 0: no plan fits it
  int64_t tighterNs = 0;          ///< the time of the stack within it
  std::vector<PolicyNeed> named;
  std::string noSearch; ///< why there was no search, and a named policy was taken; empty: there was
};

/// Sets the choice of every module in the stack, and the module attributes that describe the
/// target. Returns the policy that was taken: for Auto a named one only where the search found
/// nothing faster. Infeasible names the need of every policy tried, and for Auto the smallest
/// budget, and what needs it.
Result<Policy> choosePolicy(mlir::ModuleOp module, Policy policy, const Target &target,
                            SearchReport *report = nullptr);

/// A step of the frontier of time against memory: a budget, and the time of auto's plan within it.
struct SweepPoint {
  int64_t budgetBytes = 0;
  int64_t predictedNs = 0;
  bool operator==(const SweepPoint &) const = default;
};
struct Sweep {
  std::vector<SweepPoint> steps; ///< budgets rise, times fall
  std::vector<PolicyNeed> named;
  int64_t lowerBoundNs = 0;
  double searchMs = 0;
};
/// Every step of the frontier of a module's stack, from the smallest budget to the one from which
/// on nothing gets faster, whatever the target's budget is.
Result<Sweep> sweepBudgets(mlir::ModuleOp module, const Target &target);

/// The plan of a placed module.
Result<plan::Plan> emitPlan(mlir::ModuleOp module);

/// A built-in profile by name, or a profile file.
Result<cost::DeviceProfile> loadProfile(const std::string &nameOrPath);

/// Adds every pass from a chosen stack to a placed module, fences included.
void buildLoweringPipeline(mlir::OpPassManager &manager, const std::string &profile);

/// Registers all passes and the pipeline `evo-to-plan`.
void registerEvoPipelines();

/// Names of the module attributes that carry what is no IR.
inline constexpr llvm::StringLiteral kModelAttr = "kern.model";
inline constexpr llvm::StringLiteral kTargetAttr = "kern.target";
/// Of the target: what the device's kernels need in the arena; absent: nothing.
inline constexpr llvm::StringLiteral kWorkspaceBytesKey = "workspace_bytes";
/// Of the target: the plan's table of products, as JSON; absent: none.
inline constexpr llvm::StringLiteral kProductsKey = "products";

} // namespace evo
