//===- Calibrate.cpp - evo-run --calibrate ----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Wiring: runtime/core measures, compiler/cost makes the profile.
//===----------------------------------------------------------------------===//
#include "tools/evo-run/Calibrate.h"

#include "compiler/cost/Fit.h"
#include "runtime/core/Calibrate.h"
#include "runtime/core/Clock.h"
#include "runtime/core/FileIo.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace evo {

namespace {
constexpr plan::Precision kPrecisions[] = {plan::Precision::Fp64, plan::Precision::Fp32,
                                           plan::Precision::Tf32, plan::Precision::Bf16,
                                           plan::Precision::Fp16};

Status usage(const std::string &message) { return Status::error(ErrorCode::Usage, message); }

/// On a processor some 10 ms a thread; on a GPU as much as fills it many times.
CalibrationLimits limitsOf(const Backend &backend) {
  if (backend.name() != "cpu")
    return {.mostFlops = 1e12, .mostBytes = 1e9, .mostCalls = 9, .isFine = true};
  CalibrationLimits limits;
  const auto threads = static_cast<double>(backend.identity().threads);
  return {.mostFlops = limits.mostFlops * threads, .mostBytes = limits.mostBytes * threads};
}

std::string percent(double share) {
  char text[64];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

/// How many shapes were measured, and for how many the library's first proposal was not the best.
std::pair<int64_t, int64_t> countProducts(const plan::ProductTable &table) {
  int64_t shapes = 0, other = 0;
  for (const plan::ProductSeries &series : table.series)
    for (const plan::MeasuredProduct &measured : series.measured) {
      ++shapes;
      other += measured.way >= 0;
    }
  return {shapes, other};
}

std::string reportJson(const cost::DeviceProfile &profile, const CalibrateRequest &request,
                       int64_t calls, double seconds) {
  nlohmann::ordered_json heldOut = nlohmann::ordered_json::array();
  for (const cost::HeldOutError &error : profile.measured->heldOut)
    heldOut.push_back({{"precision", plan::precisionName(error.precision)},
                       {"calls", error.calls},
                       {"mean_error", error.mean},
                       {"worst_error", error.worst},
                       {"worst_kernel", plan::kernelInfo(error.worstKernel).mnemonic}});
  const auto [shapes, other] = countProducts(profile.products);
  nlohmann::ordered_json json = {{"format", "evo.calibration-report/1"},
                                 {"profile", request.output},
                                 {"name", profile.name},
                                 {"backend", profile.backend},
                                 {"device", profile.measured->device},
                                 {"calls", calls},
                                 {"held_out", heldOut},
                                 {"products", shapes},
                                 {"products_other_ways", other},
                                 {"seconds", seconds}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string reportText(const cost::DeviceProfile &profile, const CalibrateRequest &request,
                       int64_t calls, double seconds) {
  char took[64];
  std::snprintf(took, sizeof took, "%.1f s", seconds);
  std::string text = "profile    " + profile.name + "\nbackend    " + profile.backend +
                     "\nmeasured   " + std::to_string(calls) + " calls in " + took + "\n";
  if (const auto [shapes, other] = countProducts(profile.products); shapes > 0)
    text += "products   " + std::to_string(shapes) + " shapes, " + std::to_string(other) +
            " quicker in another way than " + profile.products.library + " proposes first\n";
  text += "written    " + request.output + "\n\nheld out   calls  mean error  worst\n";
  for (const cost::HeldOutError &error : profile.measured->heldOut) {
    char line[160];
    std::snprintf(line, sizeof line, "%-9s  %5lld  %10s  %s, of %s\n",
                  std::string(plan::precisionName(error.precision)).c_str(),
                  static_cast<long long>(error.calls), percent(error.mean).c_str(),
                  percent(error.worst).c_str(),
                  std::string(plan::kernelInfo(error.worstKernel).mnemonic).c_str());
    text += line;
  }
  return text;
}

} // namespace

Result<CalibrateRequest> readCalibration(const CommandLine &line, std::span<const Flag> flags) {
  constexpr std::string_view known[] = {"--calibrate", "--backend", "--device",
                                        "--threads",   "--dtype",   "--rounds",
                                        "-o",          "--json",    "--quiet"};
  for (const Flag &flag : flags)
    if (line.has(flag.name) &&
        std::find(std::begin(known), std::end(known), flag.name) == std::end(known))
      return usage("expected --calibrate without " + std::string(flag.name) + ", got both");
  if (!line.positional().empty())
    return usage("expected --calibrate without a plan, got '" + line.positional()[0] + "'");
  CalibrateRequest request;
  request.output = line.textOr("-o", "");
  request.json = line.textOr("--json", "");
  if (request.output.empty())
    return usage("expected -o DEVICE.json with --calibrate, got none");
  if (!request.json.empty() && isSameFile(request.output, request.json))
    return usage("expected different files to write, got '" + request.output + "' twice");
  for (const std::string &name : line.all("--dtype")) {
    std::optional<plan::Precision> precision = plan::parsePrecision(name);
    if (!precision)
      return usage("--dtype: expected one of fp64, fp32, tf32, bf16, fp16, got '" + name + "'");
    request.precisions.push_back(*precision);
  }
  EVO_ASSIGN(request.rounds, line.integer("--rounds", 1, 1000, request.rounds));
  // In one order and each once, whatever the command line says.
  std::sort(request.precisions.begin(), request.precisions.end());
  request.precisions.erase(std::unique(request.precisions.begin(), request.precisions.end()),
                           request.precisions.end());
  return request;
}

Result<std::string> calibrate(Backend &backend, const CalibrateRequest &request) {
  // Files first: a folder that is missing shows before a minute has passed.
  EVO_ASSIGN(OutputFile file, OutputFile::create(request.output));
  std::optional<OutputFile> json;
  if (!request.json.empty()) {
    EVO_ASSIGN(OutputFile report, OutputFile::create(request.json));
    json.emplace(std::move(report));
  }
  CalibrationOptions options;
  options.precisions = request.precisions;
  options.rounds = static_cast<int>(request.rounds);
  if (options.precisions.empty())
    std::copy_if(std::begin(kPrecisions), std::end(kPrecisions),
                 std::back_inserter(options.precisions),
                 [&](plan::Precision precision) { return backend.supports(precision); });
  for (plan::Precision precision : options.precisions)
    if (!backend.supports(precision))
      return Status::error(ErrorCode::Unsupported,
                           "--dtype: expected a type that the backend computes, got " +
                               std::string(plan::precisionName(precision)));
  if (backend.name() == "cpu" && backend.identity().threads == 1)
    options.clock = threadNs;
  if (backend.canRecord()) // waiting for a device's end is a part of a sample, some 10 us
    options.sampleNs = 1'000'000;
  if (request.onCall)
    options.onCall = [&](int64_t done, int64_t all) { request.onCall("calibration", done, all); };
  const int64_t start = nowNs();
  const std::vector<CalibrationCall> calls = calibrationCalls(limitsOf(backend));
  EVO_ASSIGN(const std::vector<plan::CalibrationSample> samples,
             measureCalls(backend, calls, options));
  const DeviceIdentity device = backend.identity();
  EVO_ASSIGN(cost::DeviceProfile profile,
             cost::fitProfile({device.text(), device.kernelRevision, backend.name(),
                               device.memoryBytes, device.libraryBytes, device.workspaceBytes},
                              samples));
  if (ProductLibrary *library = backend.productLibrary())
    profile.products = library->table();
  const double seconds = static_cast<double>(nowNs() - start) / 1e9;
  const auto count = static_cast<int64_t>(samples.size());
  EVO_TRY(file.write(cost::printDeviceProfile(profile)));
  if (json)
    EVO_TRY(json->write(reportJson(profile, request, count, seconds)));
  EVO_TRY(file.flush());
  if (json)
    EVO_TRY(json->commit());
  EVO_TRY(file.commit());
  return reportText(profile, request, count, seconds);
}

} // namespace evo
