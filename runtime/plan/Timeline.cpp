//===- Timeline.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Timeline.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace evo::plan {

namespace {

struct Walker {
  const Procedure &procedure;
  std::vector<int32_t> live;
  std::vector<FrameMoment> moments;

  void walk(const std::vector<Step> &steps) {
    for (const Step &step : steps) {
      if (const auto *alloc = std::get_if<AllocStep>(&step.value))
        live.push_back(alloc->buffer);
      else if (const auto *freeStep = std::get_if<FreeStep>(&step.value))
        std::erase(live, freeStep->buffer);
      else if (const auto *loop = std::get_if<LoopStep>(&step.value))
        walk(loop->body);
      else
        moments.push_back(moment(std::get<KernelStep>(step.value)));
    }
  }

  FrameMoment moment(const KernelStep &step) const {
    FrameMoment result;
    result.location = step.location;
    result.step = static_cast<int32_t>(moments.size());
    result.costNs = step.costNs;
    result.live = live;
    auto bytes = [&](int32_t index) { return alignTo(procedure.buffers[index].bytes); };
    for (int32_t index : live) {
      result.liveBytes += bytes(index);
      result.height = std::max(result.height, procedure.buffers[index].offset + bytes(index));
    }
    std::stable_sort(result.live.begin(), result.live.end(),
                     [&](int32_t a, int32_t b) { return bytes(a) > bytes(b); });
    return result;
  }
};

} // namespace

std::vector<FrameMoment> frameTimeline(const Procedure &procedure) {
  Walker walker{procedure, {}, {}};
  walker.walk(procedure.steps);
  return std::move(walker.moments);
}

std::optional<FrameMoment> framePeak(const Procedure &procedure) {
  std::vector<FrameMoment> moments = frameTimeline(procedure);
  auto fullest = std::max_element(
      moments.begin(), moments.end(),
      [](const FrameMoment &a, const FrameMoment &b) { return a.liveBytes < b.liveBytes; });
  if (fullest == moments.end())
    return std::nullopt;
  return *fullest;
}

std::string formatBytes(int64_t bytes) {
  static constexpr std::array<const char *, 7> units = {"B",   "KiB", "MiB", "GiB",
                                                        "TiB", "PiB", "EiB"};
  if (bytes < 1024)
    return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < units.size(); ++unit)
    value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value,
                units[unit]);
  return text;
}

} // namespace evo::plan
