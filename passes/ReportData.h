//===- ReportData.h - what every report tells -------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Read off the finished plan once, so that the text, the JSON and the page cannot differ.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/Compile.h"
#include "runtime/plan/Timeline.h"

#include <optional>
#include <string>
#include <vector>

namespace evo {

/// One line of the memory's account.
struct LedgerLine {
  std::string name;
  int64_t bytes = 0;
  std::string note;
};

struct LiveTensor {
  std::string name;
  int64_t bytes = 0; ///< aligned: what it takes of the arena
  std::string type;  ///< "f32 [64, 128, 256]"
};

struct PeakReport {
  plan::PlanPeak place;
  const plan::Procedure *procedure = nullptr; ///< of the compilation's plan
  int64_t frameBytes = 0;
  int64_t fragmentationBytes = 0; ///< the frame without what lives in it
  int64_t keptBytes = 0;          ///< what lies kept under the frame
  std::vector<LiveTensor> live;   ///< streams and masks first, then the frame's, largest first
};

struct ReportData {
  std::string name;   ///< the model's, else the stack's
  std::string model;  ///< modelText
  std::string policy; ///< and what `auto` stood for
  int64_t streamBytes = 0;
  int64_t frameBytes = 0;            ///< of the largest frame
  int64_t unitBytes = 0;             ///< U
  std::string unitFormula;           ///< "r^2 c_z"
  int64_t blockCostNs = 0;           ///< of all modules of one block, blocks that differ averaged
  std::vector<ModuleReport> modules; ///< equal segments folded
  std::vector<LedgerLine> ledger;
  std::optional<PeakReport> peak;

  double arenaInUnits(const plan::Plan &plan) const;
};

ReportData describe(const Compilation &compilation);

/// Whether a tensor shares its slot with another that is the one alive in the forward, or backward,
/// program.
bool isHidden(const plan::Plan &plan, const plan::Tensor &tensor, bool backward);

/// "evoformer, 4 blocks, s = 64, r = 128, fp32, inference, 1 device"
std::string modelText(const plan::ModelInfo &model, plan::Precision precision, plan::Mode mode,
                      int64_t devices);
std::string blockRange(const ModuleReport &module); ///< "0-47"
std::string formatMs(double ms);                    ///< "4.209 ms", "216.7 ms"
std::string formatShare(double part, double whole); ///< "12.5 %"
/// "6.16 U, U = r^2 c_z bytes of fp32 = 2.00 GiB"
std::string unitText(const ReportData &data, const plan::Plan &plan);
/// "msa_att_row, step 3 (linear), of every block 0-47, first 0.063 ms into the run"
std::string peakPlace(const PeakReport &peak, const plan::Plan &plan);

/// The profile's name, and where it was measured how well it tells times.
std::string pricedBy(const Compilation &compilation);

} // namespace evo
