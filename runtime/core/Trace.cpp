//===- Trace.cpp ------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Trace.h"

#include "runtime/core/Executor.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace evo {

namespace {
std::string jsonString(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string microseconds(int64_t ns) {
  char text[40];
  std::snprintf(text, sizeof text, "%lld.%03d", static_cast<long long>(ns / 1000),
                static_cast<int>(ns % 1000));
  return text;
}
} // namespace

Status writeTrace(OutputFile &file, const plan::Plan &plan, const Trace &trace) {
  std::vector<std::vector<const plan::KernelStep *>> steps;
  for (const plan::Procedure &procedure : plan.procedures)
    steps.push_back(kernelSteps(procedure));
  EVO_TRY(file.write(std::string_view("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [")));
  bool first = true;
  for (const TraceEvent &event : trace.events) {
    const plan::Procedure &procedure = plan.procedures[static_cast<size_t>(event.procedure)];
    const plan::KernelStep &step =
        *steps[static_cast<size_t>(event.procedure)][static_cast<size_t>(event.step)];
    std::string kernel(plan::kernelInfo(step.kernel).mnemonic);
    std::string line = first ? "\n" : ",\n";
    first = false;
    line += "{\"name\": " + jsonString(kernel) + ", \"cat\": " + jsonString(procedure.module) +
            ", \"ph\": \"X\", \"pid\": 0, \"tid\": " + std::to_string(static_cast<int>(step.lane)) +
            ", \"ts\": " + microseconds(event.startNs) +
            ", \"dur\": " + microseconds(event.durationNs) +
            ", \"args\": {\"procedure\": " + jsonString(procedure.name) +
            ", \"block\": " + std::to_string(event.block) +
            ", \"step\": " + std::to_string(event.step) + ", \"kernel\": " + jsonString(kernel) +
            ", \"bytes\": " + std::to_string(event.bytes) +
            ", \"location\": " + jsonString(step.location) + "}}";
    EVO_TRY(file.write(line));
  }
  return file.write(std::string_view("\n]}\n"));
}

} // namespace evo
