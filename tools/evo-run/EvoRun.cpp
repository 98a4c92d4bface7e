//===- EvoRun.cpp - runs and verifies plans ---------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Flags and wiring. Exit status: 0 success, 1 a bad input, 2 wrong usage.
//===----------------------------------------------------------------------===//
#include "runtime/core/Clock.h"
#include "runtime/core/CommandLine.h"
#include "runtime/core/Executor.h"
#include "runtime/core/Progress.h"
#include "runtime/core/Session.h"
#include "runtime/core/Version.h"
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Verify.h"
#include "tools/evo-run/Backends.h"
#include "tools/evo-run/Calibrate.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <thread>
#include <unistd.h>

namespace evo {
namespace {

constexpr std::string_view kUsage =
    "usage: evo-run PLAN.json [flags]            runs a plan\n"
    "       evo-run --verify PLAN.json           checks a plan without running it\n"
    "       evo-run --calibrate -o DEVICE.json   measures the device\n"
    "\n"
    "Tensor files are .safetensors, .npz or .npy. A report goes to standard output, problems to\n"
    "standard error. Exit status: 0 success, 1 a bad input, 2 wrong usage.\n"
    "\n";

constexpr FlagValue kValue = FlagValue::Required;
constexpr Flag kFlags[] = {
    {"--backend", kValue, "cpu|cuda", "where to run (default: the plan's profile's, else cpu)"},
    {"--device", kValue, "I", "the device's number on this machine (default 0)"},
    {"--threads", kValue, "N", "threads of the host (default: all); never changes a result"},
    {"--weights", kValue, "FILE", "parameters by OpenFold's names (default: random)"},
    {"--weights-prefix", kValue, "P", "what stands before 'blocks.' in the weights' names"},
    {"--inputs", kValue, "FILE", "m, z, msa_mask, pair_mask (default: random, masks of ones)"},
    {"--outputs", kValue, "FILE", "write m and z here"},
    {"--random-seed", kValue, "K", "of random weights and inputs (default 0)"},
    {"--iterations", kValue, "N", "timed runs (default 1)"},
    {"--warmup", kValue, "N", "runs before them that are not timed (default 1)"},
    {"--check-finite", FlagValue::None, "", "refuse weights and inputs with an infinity or NaN"},
    {"--json", kValue, "FILE", "write the report here too"},
    {"--trace", kValue, "FILE", "write the last run's kernels for chrome://tracing"},
    {"--quiet", FlagValue::None, "", "no progress line"},
    {"--verify", FlagValue::Optional, "PLAN.json", "check the plan's invariants only"},
    {"--cotangents", kValue, "FILE", "training: gradients of the loss by the outputs"},
    {"--gradients", kValue, "FILE", "training: write gradients here"},
    {"--targets", kValue, "FILE", "training: targets of the loss, for m, z or both"},
    {"--loss", kValue, "mse", "training: the loss, mean squared error (default mse)"},
    {"--steps", kValue, "N", "training: optimizer steps (default: none, the weights stay)"},
    {"--load-state", kValue, "FILE", "training: weights and optimizer state to begin with"},
    {"--save-state", kValue, "FILE", "training: write both here at the end"},
    {"--loss-curve", kValue, "FILE.svg", "training: draw the losses of the steps"},
    {"--dropout-seed", kValue, "K",
     "training: seed of the dropout masks (default: the state's, else 0)"},
    {"--calibrate", FlagValue::None, "", "measure this device: a profile for evo-opt --profile"},
    {"-o", kValue, "DEVICE.json", "calibration: write the profile here"},
    {"--dtype", kValue, "T", "calibration: measure this type only (repeatable; default: all)",
     true},
    {"--rounds", kValue, "N", "calibration: samples of each call (default 3)"},
    {"--help", FlagValue::None, "", "print this"},
    {"--version", FlagValue::None, "", "print the version, the libraries and the backends"},
};

constexpr std::string_view kTrainingFlags[] = {"--cotangents", "--gradients",  "--targets",
                                               "--loss",       "--steps",      "--load-state",
                                               "--save-state", "--loss-curve", "--dropout-seed"};

Status usage(const std::string &message) { return Status::error(ErrorCode::Usage, message); }

int fail(const Status &status) {
  std::fprintf(stderr, "evo-run: error: %s\n", status.message().c_str());
  return status.code() == ErrorCode::Usage ? 2 : 1;
}

/// A report that could not be written is a failure.
int print(const std::string &text) {
  bool ok = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (std::fflush(stdout) == 0 && ok)
    return 0;
  return fail(Status::error(ErrorCode::Io, "cannot write to standard output"));
}

int printVersion() {
  Result<std::unique_ptr<Backend>> cpu = Devices().createBackend("cpu", 0, 1);
  std::string text("evo-run ");
  text.append(versionNumber()).append("\nrevision ").append(versionRevision());
  text.append("\ncuda     ").append(buildCuda());
  text.append(hasBackend("cuda") ? ", backend built in" : ", no cuda backend in this version");
  text.append("\nmpi      ").append(buildMpi()).append(", one process in this version");
  text.append("\nblas     ").append(cpu ? (*cpu)->description() : cpu.status().message());
  text.append("\nbackends");
  for (std::string_view name : builtBackends())
    text.append(" ").append(name);
  return print(text.append("\n"));
}

/// The plan's path: the one positional argument, or the value of --verify.
Result<std::string> planPath(const CommandLine &line) {
  std::vector<std::string> paths = line.positional();
  if (std::string verify = line.textOr("--verify", ""); !verify.empty())
    paths.push_back(verify);
  if (paths.size() == 1)
    return paths[0];
  if (paths.empty())
    return usage("expected a plan, got no file (see --help)");
  return usage("expected one plan, got '" + paths[0] + "' and '" + paths[1] + "'");
}

struct Settings {
  RunOptions run;
  std::optional<std::string> backend;
  int64_t device = 0;
  bool quiet = false;
};

/// Which device, and how to use it.
Result<Settings> readDevice(const CommandLine &line) {
  constexpr std::string_view kBackends[] = {"cpu", "cuda"};
  int64_t threads = std::max(1u, std::thread::hardware_concurrency());
  Settings settings;
  EVO_ASSIGN(settings.backend, line.choice("--backend", kBackends));
  EVO_ASSIGN(settings.device, line.integer("--device", 0, 1023, 0));
  EVO_ASSIGN(threads, line.integer("--threads", 1, 4096, threads));
  settings.run.threads = static_cast<int>(threads);
  settings.quiet = line.has("--quiet");
  return settings;
}

Result<Settings> readSettings(const CommandLine &line, const std::string &path) {
  constexpr std::string_view kLosses[] = {"mse"};
  constexpr int64_t kMostRuns = 1'000'000'000;
  EVO_ASSIGN(Settings settings, readDevice(line));
  RunOptions &run = settings.run;
  EVO_ASSIGN(run.iterations, line.integer("--iterations", 1, kMostRuns, 1));
  EVO_ASSIGN(run.warmup, line.integer("--warmup", 0, kMostRuns, 1));
  EVO_ASSIGN(run.randomSeed, line.seed("--random-seed", 0));
  EVO_ASSIGN(run.steps, line.integer("--steps", 1, kMostRuns, 0));
  if (run.steps > 0 && !line.has("--warmup"))
    run.warmup = 0;
  EVO_ASSIGN(int64_t dropoutSeed, line.integer("--dropout-seed", 0, UINT32_MAX, 0));
  if (line.has("--dropout-seed"))
    run.dropoutSeed = static_cast<uint32_t>(dropoutSeed);
  EVO_TRY(line.choice("--loss", kLosses).status());
  if (line.has("-o"))
    return usage("expected -o with --calibrate only (--outputs writes tensors)");
  for (std::string_view flag : {"--dtype", "--rounds"})
    if (line.has(flag))
      return usage("expected " + std::string(flag) + " with --calibrate only");
  if (line.has("--weights-prefix") && !line.has("--weights"))
    return usage("expected --weights with --weights-prefix, got none");
  run.planPath = path;
  run.weights = line.textOr("--weights", "");
  run.weightsPrefix = line.text("--weights-prefix");
  run.inputs = line.textOr("--inputs", "");
  run.outputs = line.textOr("--outputs", "");
  run.json = line.textOr("--json", "");
  run.trace = line.textOr("--trace", "");
  run.cotangents = line.textOr("--cotangents", "");
  run.gradients = line.textOr("--gradients", "");
  run.targets = line.textOr("--targets", "");
  run.loadState = line.textOr("--load-state", "");
  run.saveState = line.textOr("--save-state", "");
  run.lossCurve = line.textOr("--loss-curve", "");
  run.checkFinite = line.has("--check-finite");
  return settings;
}

/// Training flags mean something with a plan in train mode only.
Status checkTrainingFlags(const CommandLine &line, const plan::Plan &plan) {
  bool train = plan.mode == plan::Mode::Train;
  for (std::string_view flag : kTrainingFlags)
    if (line.has(flag) && !train)
      return usage("expected " + std::string(flag) +
                   " with a plan in train mode, got one in infer mode (compile it with "
                   "--mode=train)");
  // What each flag needs beside it, and what it excludes.
  constexpr std::pair<std::string_view, std::string_view> needs[] = {
      {"--loss", "--targets"}, {"--steps", "--targets"}, {"--loss-curve", "--steps"}};
  for (auto [flag, other] : needs)
    if (line.has(flag) && !line.has(other))
      return usage("expected " + std::string(other) + " with " + std::string(flag) + ", got none");
  constexpr std::pair<std::string_view, std::string_view> excludes[] = {
      {"--cotangents", "--targets"}, {"--weights", "--load-state"}, {"--iterations", "--steps"}};
  for (auto [flag, other] : excludes)
    if (line.has(flag) && line.has(other))
      return usage("expected one of " + std::string(flag) + " and " + std::string(other) +
                   ", got both");
  for (std::string_view flag : {"--steps", "--load-state", "--save-state"})
    if (line.has(flag) && !plan.optimizer)
      return usage("expected a plan with an optimizer for " + std::string(flag) +
                   ", got one without (give the specification an 'optimizer')");
  if (line.has("--gradients") && !line.has("--cotangents") && !line.has("--targets"))
    return usage("expected --cotangents or --targets with --gradients, got neither");
  return {};
}

int verify(const std::string &path) {
  Result<plan::Plan> plan = plan::readPlan(path);
  if (!plan)
    return fail(plan.status());
  if (Status status = plan::checkPlan(*plan); !status.ok())
    return fail(status.withContext(path));
  size_t steps = 0;
  for (const plan::Procedure &procedure : plan->procedures)
    steps += kernelSteps(procedure).size();
  return print("ok: " + path + ": " + plan->model.stack + ", " +
               std::to_string(plan->model.blocks) + " blocks, " +
               std::to_string(plan->procedures.size()) + " procedures, " + std::to_string(steps) +
               " kernel steps, arena " + bytesText(plan->arenaBytes) + "\n");
}

/// The backend asked for, else the plan's, else the cpu with a warning.
Result<std::unique_ptr<Backend>> chooseBackend(const Settings &settings, const plan::Plan &plan) {
  Devices devices;
  std::string name = settings.backend.value_or(plan.backend);
  if (!settings.backend && !devices.canRun(name)) {
    std::fprintf(stderr,
                 "evo-run: warning: the plan was priced for %s, which this %s does not have; "
                 "running on the cpu\n",
                 name.empty() ? "an unnamed backend" : name.c_str(),
                 hasBackend(name) ? "machine" : "build");
    name = "cpu";
  }
  return devices.createBackend(name, settings.device, settings.run.threads);
}

Progress progressLine(std::string unit) {
  return Progress(
      [](std::string_view text) {
        std::fwrite(text.data(), 1, text.size(), stderr);
        std::fflush(stderr);
      },
      ::isatty(STDERR_FILENO) != 0, std::move(unit));
}

std::function<void(std::string_view, int64_t, int64_t)> reporter(Progress &progress) {
  return [&progress](std::string_view what, int64_t done, int64_t all) {
    progress.report(what, done, all, nowNs());
  };
}

int runCalibration(const CommandLine &line) {
  Result<CalibrateRequest> request = readCalibration(line, kFlags);
  if (!request)
    return fail(request.status());
  Result<Settings> settings = readDevice(line);
  if (!settings)
    return fail(settings.status());
  Devices devices;
  Result<std::unique_ptr<Backend>> backend =
      devices.createBackend(settings->backend.value_or(devices.canRun("cuda") ? "cuda" : "cpu"),
                            settings->device, settings->run.threads);
  if (!backend)
    return fail(backend.status());
  Progress progress = progressLine("sample");
  if (!settings->quiet)
    request->onCall = reporter(progress);
  Result<std::string> report = calibrate(**backend, *request);
  progress.finish();
  return report ? print(*report) : fail(report.status());
}

int run(const CommandLine &line, const std::string &path) {
  Result<Settings> settings = readSettings(line, path);
  if (!settings)
    return fail(settings.status());
  Result<plan::Plan> plan = plan::readPlan(path);
  if (!plan)
    return fail(plan.status());
  if (Status status = checkTrainingFlags(line, *plan); !status.ok())
    return fail(status);
  Result<std::unique_ptr<Backend>> backend = chooseBackend(*settings, *plan);
  if (!backend)
    return fail(withMemoryNeeds(backend.status(), *plan, std::nullopt));
  Progress progress = progressLine("block");
  if (!settings->quiet)
    settings->run.onBlock = reporter(progress);
  Result<RunReport> report = runPlan(*plan, **backend, settings->run);
  progress.finish();
  return report ? print(reportTable(*report)) : fail(report.status());
}

int dispatch(const std::vector<std::string> &arguments) {
  Result<CommandLine> line = CommandLine::parse(kFlags, arguments);
  if (!line)
    return fail(line.status());
  if (line->has("--help"))
    return print(std::string(kUsage) + flagHelp(kFlags));
  if (line->has("--version"))
    return printVersion();
  if (line->has("--calibrate"))
    return runCalibration(*line);
  Result<std::string> path = planPath(*line);
  if (!path)
    return fail(path.status());
  return line->has("--verify") ? verify(*path) : run(*line, *path);
}

} // namespace
} // namespace evo

int main(int argc, char **argv) {
  try {
    return evo::dispatch(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::bad_alloc &) {
    return evo::fail(
        evo::Status::error(evo::ErrorCode::OutOfMemory, "the host has no memory left"));
  } catch (const std::exception &error) {
    return evo::fail(evo::Status::error(evo::ErrorCode::Internal, error.what()));
  }
}
