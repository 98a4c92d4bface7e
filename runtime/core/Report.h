//===- Report.h - what a run did --------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Plan.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace evo {

/// One step of training.
struct StepReport {
  int64_t step = 0;     ///< its number, from 1; a step that is skipped is tried again under its own
  double loss = 0;      ///< before the step
  double lossScale = 1; ///< that its gradients were computed with
  bool skipped = false; ///< gradients were not finite, and the weights stayed
};

struct RunReport {
  plan::ModelInfo model;
  plan::Summary summary;  ///< the plan's predictions
  double predictedMs = 0; ///< of the programs that ran
  plan::Precision precision = plan::Precision::Fp32;
  plan::Mode mode = plan::Mode::Infer;
  std::string planPath, profile;
  std::string profileDevice; ///< what the plan's profile was measured on; empty: it is analytic
  std::string runningOn;     ///< DeviceIdentity::text() of the device
  std::string backend;       ///< "cpu"
  std::string description;   ///< of the device and its libraries
  std::string products;      ///< why the plan's table of products is not followed; empty: it is
  int64_t devices = 1;
  int64_t threads = 0; ///< of the host
  int64_t warmup = 0;
  uint64_t randomSeed = 0;
  uint32_t dropoutSeed = 0;                             ///< in training
  std::string weights, inputs, outputs;                 ///< paths; empty: random ones, none written
  std::string cotangents, gradients;                    ///< in training, likewise
  std::string targets, loadState, saveState, lossCurve; ///< likewise
  std::string optimizer;                                ///< "sgd", "adamw"; empty: none ran
  std::optional<double> loss;                           ///< the last one
  std::vector<StepReport> steps;
  double lossScale = 1; ///< of the next step
  double lossMs = 0;    ///< of the host: losses and cotangents, no part of iterationsMs
  std::string weightsPrefix;
  int64_t weightsIgnored = 0;              ///< tensors of the weight file outside the stack
  std::vector<double> iterationsMs;        ///< without the warm-up
  std::vector<double> threadMs;            ///< of each, what the host's first thread spent on a
                                           ///< processor: on one thread, the step without others
  double setupMs = 0;                      ///< of binding, conversion and upload
  int64_t arenaBytes = 0, staticBytes = 0; ///< allocated
  std::vector<int64_t> measuredPeakBytes;  ///< one a device
  /// What the device had given, arena and static part included, when all was set up, behind each
  /// warm-up, and behind each iteration; empty where it cannot tell.
  std::vector<int64_t> takenBytes;
  int64_t recordedLaunches = 0; ///< of the device, whose recordings take some of it

  /// Of it, what libraries hold beside arena and static part behind the warm-up, or behind the
  /// first iteration where there is none.
  std::optional<int64_t> measuredLibraryBytes() const;
  /// By how much more the device had given behind a later iteration than then; at least 0.
  std::optional<int64_t> growthBytes() const;

private:
  std::optional<size_t> warmSample() const; ///< position in takenBytes
};

/// The middle value; the mean of the two middle ones of an even count; 0 of none.
double medianMs(std::vector<double> values);
std::string bytesText(int64_t bytes); ///< "1.50 GiB (1610612736)"
std::string reportJson(const RunReport &report);
std::string reportTable(const RunReport &report);

} // namespace evo
