//===- Timeline.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Timeline.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

namespace evo::plan {

namespace {

struct Walker {
  const Procedure &procedure;
  std::vector<int32_t> live;
  std::vector<FrameMoment> moments;
  std::vector<FrameLife> lives;
  int64_t nowNs = 0;

  void walk(const std::vector<Step> &steps) {
    for (const Step &step : steps) {
      if (const auto *alloc = std::get_if<AllocStep>(&step.value))
        allocate(alloc->buffer);
      else if (const auto *freeStep = std::get_if<FreeStep>(&step.value))
        release(freeStep->buffer);
      else if (const auto *loop = std::get_if<LoopStep>(&step.value))
        walk(loop->body);
      else
        execute(std::get<KernelStep>(step.value));
    }
  }

  void allocate(int32_t buffer) {
    live.push_back(buffer);
    lives.push_back({buffer, nowNs, nowNs});
  }

  void release(int32_t buffer) {
    std::erase(live, buffer);
    for (FrameLife &life : lives)
      if (life.buffer == buffer)
        life.endNs = nowNs;
  }

  void execute(const KernelStep &step) {
    moments.push_back(moment(step));
    nowNs += step.costNs;
  }

  FrameMoment moment(const KernelStep &step) const {
    FrameMoment result;
    result.location = step.location;
    result.step = static_cast<int32_t>(moments.size());
    result.startNs = nowNs;
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
  Walker walker{procedure, {}, {}, {}};
  walker.walk(procedure.steps);
  return std::move(walker.moments);
}

std::vector<FrameLife> frameLives(const Procedure &procedure) {
  Walker walker{procedure, {}, {}, {}};
  walker.walk(procedure.steps);
  for (FrameLife &life : walker.lives)
    if (std::find(walker.live.begin(), walker.live.end(), life.buffer) != walker.live.end())
      life.endNs = walker.nowNs; // never freed: until the procedure ends
  return std::move(walker.lives);
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

int64_t slotBytes(const Plan &plan) {
  int64_t end = 0;
  for (const Tensor &tensor : plan.tensors)
    end = std::max(end, alignTo(tensor.offset + tensor.bytes));
  return end;
}

int64_t highestFrame(const BlockRun &run, const Call &call) {
  return call.frameOffset + (run.blockCount - 1) * call.frameStride;
}

std::optional<PlanPeak> planPeak(const Plan &plan) {
  std::optional<PlanPeak> peak;
  int64_t highest = -1, runStartNs = 0;
  for (size_t p = 0; p < plan.programs.size(); ++p) {
    const Program &program = plan.programs[p];
    for (size_t r = 0; r < program.runs.size(); ++r) {
      const BlockRun &run = program.runs[r];
      int64_t blockNs = 0;
      for (const Call &call : run.calls)
        blockNs += plan.procedures[call.procedure].costNs;
      int64_t before = 0;
      for (size_t c = 0; c < run.calls.size(); ++c) {
        const Procedure &procedure = plan.procedures[run.calls[c].procedure];
        int64_t end = highestFrame(run, run.calls[c]) + procedure.frameBytes;
        std::optional<FrameMoment> moment = framePeak(procedure);
        if (end > highest && moment) {
          highest = end;
          bool backward = program.phase == Phase::Backward;
          bool every = run.calls[c].frameStride == 0;
          // Backward the last block of a run comes first.
          int64_t blocksBefore = backward || every ? 0 : run.blockCount - 1;
          int64_t startNs = runStartNs + blocksBefore * blockNs + before + moment->startNs;
          peak = PlanPeak{static_cast<int32_t>(p),
                          static_cast<int32_t>(r),
                          static_cast<int32_t>(c),
                          run.firstBlock + (backward ? run.blockCount - 1 : blocksBefore),
                          every,
                          startNs,
                          *std::move(moment)};
        }
        before += procedure.costNs;
      }
      runStartNs += blockNs * run.blockCount;
    }
  }
  return peak;
}

namespace {

/// The kept tensors of all calls, block by block: each is alive from the call that makes it to the
/// last that reads it, or runs on it.
struct KeptLives {
  struct Content {
    int64_t bytes = 0;
    size_t made = 0, lastUse = 0; ///< positions among the calls
  };
  const Plan &plan;
  std::vector<Content> contents;
  std::map<int64_t, size_t> newest; ///< contents by where they begin
  std::vector<int64_t> frames;      ///< of each call: the fullest moment of its frame

  void visit(const Call &call, int64_t block) {
    const Procedure &procedure = plan.procedures[call.procedure];
    std::optional<FrameMoment> peak = framePeak(procedure);
    frames.push_back(peak ? peak->liveBytes : 0);
    for (size_t i = 0; i < procedure.buffers.size(); ++i) {
      const Buffer &buffer = procedure.buffers[i];
      auto binding =
          std::find_if(call.bindings.begin(), call.bindings.end(),
                       [&](const Binding &b) { return b.buffer == static_cast<int32_t>(i); });
      bool bound = binding != call.bindings.end();
      if (buffer.base != Base::Saved && !bound)
        continue;
      int64_t begin = bound ? binding->offset + block * binding->stride
                            : call.savedOffset + block * call.savedStride + buffer.offset;
      if (buffer.base == Base::Saved && procedure.phase == Phase::Forward) {
        newest[begin] = contents.size();
        contents.push_back({alignTo(buffer.bytes), frames.size() - 1, frames.size() - 1});
      } else if (auto known = newest.find(begin); known != newest.end()) {
        contents[known->second].lastUse = frames.size() - 1;
      }
    }
  }
  int64_t largest() const {
    std::vector<int64_t> change(frames.size() + 1);
    for (const Content &content : contents) {
      change[content.made] += content.bytes;
      change[content.lastUse + 1] -= content.bytes;
    }
    int64_t kept = 0, most = 0;
    for (size_t i = 0; i < frames.size(); ++i) {
      kept += change[i];
      most = std::max(most, kept + frames[i]);
    }
    return most;
  }
};

} // namespace

int64_t largestLiveBytes(const Plan &plan) {
  KeptLives lives{plan, {}, {}, {}};
  for (Phase phase : {Phase::Forward, Phase::Backward, Phase::Optimizer})
    for (const Program &program : plan.programs)
      if (program.phase == phase)
        for (const BlockRun &run : program.runs)
          for (int64_t i = 0; i < run.blockCount; ++i)
            for (const Call &call : run.calls)
              lives.visit(call, phase == Phase::Backward ? run.blockCount - 1 - i : i);
  return slotBytes(plan) + lives.largest();
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
  std::snprintf(text, sizeof text, "%.*f %s",
                value < 10    ? 2
                : value < 100 ? 1
                              : 0,
                value, units[unit]);
  return text;
}

} // namespace evo::plan
