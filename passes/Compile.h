//===- Compile.h - a specification to a plan --------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The whole compiler behind one call, and the reports on what it did.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/Passes.h"

#include <optional>
#include <string>
#include <vector>

namespace evo {

/// What `compile` prints: the plan, the chosen stack, or the placed module.
enum class EmitKind : uint8_t { Plan, Evo, Kern };

struct CompileOptions {
  Policy policy = Policy::Auto;
  Target target;
  std::string profileSource = "h100"; ///< built-in name or file of target.profile
  EmitKind emit = EmitKind::Plan;
};

/// One module of one segment, for the report.
struct ModuleReport {
  int64_t firstBlock = 0, blockCount = 0;
  std::string name;
  std::string choice;
  std::string dominant;      ///< the seed's formula
  int64_t dominantBytes = 0; ///< the same in bytes
  int64_t frameBytes = 0;    ///< exact
  int64_t costNs = 0;        ///< of one block
};

struct Compilation {
  plan::Plan plan;
  std::string text; ///< the plan's JSON, or the IR
  std::string requestedPolicy;
  std::optional<SearchReport> search;   ///< of policy auto
  std::string profileKind = "analytic"; ///< DeviceProfile::kindText() in the plan's type
  std::vector<ModuleReport> modules;
};

/// Errors: an infeasible budget, or what this version does not plan (Unsupported).
Result<Compilation> compile(const spec::ModelSpec &spec, const CompileOptions &options,
                            mlir::MLIRContext &context);

/// The reports read the plan: `compilation` has one whatever was emitted. This is the one that
/// evo-opt prints.
std::string reportText(const Compilation &compilation);
/// The same for machines; `compileMs` is the wall time that the tool measured.
std::string reportJson(const Compilation &compilation, double compileMs);
/// The same for people, as a page without outside parts.
std::string reportHtml(const Compilation &compilation);

} // namespace evo
