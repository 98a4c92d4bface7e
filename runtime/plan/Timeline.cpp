//===- Timeline.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Timeline.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <utility>

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

/// Of the slots, the part in front of `limit`.
static int64_t slotBytesBefore(const Plan &plan, int64_t limit) {
  std::map<int64_t, int64_t> slots; // ends by beginnings
  for (const Tensor &tensor : plan.tensors) {
    int64_t &end = slots[tensor.offset];
    end = std::max(end, std::min(limit, alignTo(tensor.offset + tensor.bytes)));
  }
  int64_t total = 0;
  for (const auto &[begin, end] : slots)
    total += std::max<int64_t>(0, end - begin);
  return total;
}

int64_t slotBytes(const Plan &plan) { return slotBytesBefore(plan, INT64_MAX); }

int64_t workspaceBytes(const Plan &plan) {
  const Tensor *workspace = workspaceOf(plan);
  return workspace ? alignTo(workspace->bytes) : 0;
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
          bool down = goesDown(plan, program, run);
          bool every = run.calls[c].frameStride == 0;
          int64_t blocksBefore = down || every ? 0 : run.blockCount - 1;
          int64_t startNs = runStartNs + blocksBefore * blockNs + before + moment->startNs;
          peak = PlanPeak{static_cast<int32_t>(p),
                          static_cast<int32_t>(r),
                          static_cast<int32_t>(c),
                          run.firstBlock + (down ? run.blockCount - 1 : blocksBefore),
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

/// What a call of a procedure does to kept tensors, by the position of its kernel steps.
struct StepUses {
  struct Use {
    bool any = false;
    size_t first = 0, last = 0; ///< in a loop: of the outermost loop's steps
  };
  std::vector<FrameMoment> moments; ///< one a kernel step
  std::vector<Use> uses;            ///< one a buffer

  explicit StepUses(const Procedure &procedure)
      : moments(frameTimeline(procedure)), uses(procedure.buffers.size()) {
    size_t next = 0;
    for (const Step &step : procedure.steps) {
      size_t begin = next;
      std::vector<int32_t> used;
      collect(step, used, next);
      for (int32_t buffer : used) {
        Use &use = uses[static_cast<size_t>(buffer)];
        use = {true, use.any ? use.first : begin, next - 1};
      }
    }
  }

private:
  static void collect(const Step &step, std::vector<int32_t> &used, size_t &next) {
    if (const auto *loop = std::get_if<LoopStep>(&step.value)) {
      for (const Step &each : loop->body)
        collect(each, used, next);
    } else if (const auto *kernel = std::get_if<KernelStep>(&step.value)) {
      ++next;
      for (const std::optional<View> &view : kernel->operands)
        if (view)
          used.push_back(view->buffer);
    }
  }
};

/// The arena at each kernel step of each call, block by block. A kept tensor is alive from the step
/// that begins it to the last that reads it, or runs on it.
struct ArenaLives {
  struct Content {
    int64_t bytes = 0;
    size_t made = 0, lastUse = 0; ///< positions among the moments
  };
  struct Moment {
    int64_t frameOffset = 0, frameHeight = 0;
    int64_t liveFrameBytes = 0, liveKeptBytes = 0;
    int64_t liveBytes() const { return liveFrameBytes + liveKeptBytes; }
  };
  const Plan &plan;
  std::vector<StepUses> procedures;
  std::vector<Content> contents;
  std::map<int64_t, size_t> newest; ///< contents by where they begin
  std::vector<Moment> moments;

  explicit ArenaLives(const Plan &plan)
      : plan(plan), procedures(plan.procedures.begin(), plan.procedures.end()) {
    for (Phase phase : {Phase::Forward, Phase::Backward, Phase::Optimizer})
      for (const Program &program : plan.programs)
        if (program.phase == phase)
          for (const BlockRun &run : program.runs)
            visit(run, goesDown(plan, program, run));
    countKept();
  }

  void visit(const BlockRun &run, bool down) {
    int64_t last = run.blockCount - 1;
    for (int64_t i = 0; i <= last; ++i) {
      // In inference nothing is kept and the last block's frames lie as high as any.
      if (plan.mode == Mode::Infer && i > 0)
        i = last;
      for (const Call &call : run.calls)
        visit(call, down ? last - i : i);
    }
  }
  void visit(const Call &call, int64_t block) {
    const Procedure &procedure = plan.procedures[call.procedure];
    const StepUses &steps = procedures[static_cast<size_t>(call.procedure)];
    size_t now = moments.size();
    for (const FrameMoment &moment : steps.moments)
      moments.push_back(
          {call.frameOffset + block * call.frameStride, moment.height, moment.liveBytes, 0});
    for (size_t i = 0; i < procedure.buffers.size(); ++i) {
      const Buffer &buffer = procedure.buffers[i];
      auto binding =
          std::find_if(call.bindings.begin(), call.bindings.end(),
                       [&](const Binding &b) { return b.buffer == static_cast<int32_t>(i); });
      bool bound = binding != call.bindings.end();
      if (!steps.uses[i].any || (buffer.base != Base::Saved && !bound))
        continue;
      size_t first = now + steps.uses[i].first, last = now + steps.uses[i].last;
      int64_t begin = bound ? binding->offset + block * binding->stride
                            : call.savedOffset + block * call.savedStride + buffer.offset;
      if (buffer.base == Base::Saved && procedure.phase == Phase::Forward) {
        newest[begin] = contents.size();
        contents.push_back({alignTo(buffer.bytes), first, last});
      } else if (auto known = newest.find(begin); known != newest.end()) {
        size_t &lastUse = contents[known->second].lastUse;
        lastUse = std::max(lastUse, last);
      }
    }
  }
  void countKept() {
    std::vector<int64_t> change(moments.size() + 1);
    for (const Content &content : contents) {
      change[content.made] += content.bytes;
      change[content.lastUse + 1] -= content.bytes;
    }
    int64_t kept = 0;
    for (size_t i = 0; i < moments.size(); ++i)
      moments[i].liveKeptBytes = kept += change[i];
  }
  int64_t largest() const {
    int64_t most = 0;
    for (const Moment &moment : moments)
      most = std::max(most, moment.liveBytes());
    return slotBytes(plan) + most;
  }
};

} // namespace

int64_t largestLiveBytes(const Plan &plan) { return ArenaLives(plan).largest(); }

IdleBytes idleBytes(const Plan &plan) {
  ArenaLives lives(plan);
  IdleBytes idle;
  idle.total = plan.arenaBytes - lives.largest();
  if (idle.total == 0 || lives.moments.empty())
    return idle;
  auto rank = [](const ArenaLives::Moment &moment) {
    return std::pair(moment.frameOffset + moment.frameHeight, moment.liveBytes());
  };
  auto top = std::max_element(lives.moments.begin(), lives.moments.end(),
                              [&](const auto &a, const auto &b) { return rank(a) < rank(b); });
  idle.kept = top->frameOffset - slotBytesBefore(plan, top->frameOffset) - top->liveKeptBytes;
  idle.frame = top->frameHeight - top->liveFrameBytes;
  return idle;
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
