//===- Compile.h - a specification to a plan --------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The whole compiler behind one call, and the reports on what it did.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/Passes.h"

#include <string>
#include <vector>

namespace evo {

/// How far `compile` goes: to the chosen stack, to the placed module, or to the plan.
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
  plan::Plan plan;      ///< whole where EmitKind::Plan was asked for
  std::string text;     ///< the plan's JSON, or the IR
  std::string requestedPolicy;
  std::vector<ModuleReport> modules;
};

/// Errors: an infeasible budget, or what this version does not plan (Unsupported).
Result<Compilation> compile(const spec::ModelSpec &spec, const CompileOptions &options,
                            mlir::MLIRContext &context);

/// The report that evo-opt prints.
std::string reportText(const Compilation &compilation);
/// The same for machines; `compileMs` is the wall time that the tool measured.
std::string reportJson(const Compilation &compilation, double compileMs);

} // namespace evo
