//===- MemoryMutants.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Each mutator's places are chosen so that the invariant it stands for is the first that is
// violated.
//===----------------------------------------------------------------------===//
#include "test/plan/MutantSites.h"
#include "test/plan/PlanMutants.h"

namespace evo::plan::test {

namespace {

const std::vector<Mutator> kBounds = {
    {"TensorUnaligned",
     [](Plan &p, Random &r) {
       return atEntry(p.tensors, 0, r, [&](size_t i) { p.tensors[i].offset += 4; });
     }},
    {"TensorBeforeTheArena",
     [](Plan &p, Random &r) {
       return atEntry(p.tensors, 0, r, [&](size_t i) { p.tensors[i].offset = -512; });
     }},
    {"WeightUnaligned",
     [](Plan &p, Random &r) {
       return atEntry(p.weights, 0, r, [&](size_t i) { p.weights[i].offset += 4; });
     }},
    {"BufferUnaligned",
     [](Plan &p, Random &r) {
       return atBuffer(
           p, r, [](auto &, auto &) { return true; },
           [](auto &, Buffer &buffer) { buffer.offset += 4; });
     }},
    {"BufferBehindItsFrame",
     [](Plan &p, Random &r) {
       return atBuffer(
           p, r, [](auto &, auto &buffer) { return buffer.base == Base::Frame; },
           [](Procedure &procedure, Buffer &buffer) { buffer.offset = procedure.frameBytes; });
     }},
    {"FrameUnaligned",
     [](Plan &p, Random &r) {
       return atCall(
           p, r, [](auto &) { return true; },
           [](const CallSite &site) { site.call->frameOffset += 4; });
     }},
    {"FrameBehindTheArena",
     [](Plan &p, Random &r) {
       return atCall(
           p, r, [](const CallSite &site) { return site.procedure->frameBytes > 0; },
           [&](const CallSite &site) { site.call->frameOffset = p.arenaBytes; });
     }},
    {"KeptUnaligned",
     [](Plan &p, Random &r) {
       return atCall(p, r, keepsUnbound, [](const CallSite &site) { site.call->savedOffset += 4; });
     }},
    {"BindingUnaligned",
     [](Plan &p, Random &r) {
       return atCall(
           p, r, [](const CallSite &site) { return !site.call->bindings.empty(); },
           [&](const CallSite &site) {
             std::vector<Binding> &bindings = site.call->bindings;
             bindings[r() % bindings.size()].offset += 4;
           });
     }},
};

/// A buffer whose memory is given while that of `below` is still in use, in the same list of steps.
struct Pair {
  Procedure *procedure;
  int32_t below, above;
};

std::vector<Pair> liveTogether(Plan &plan) {
  std::vector<Pair> pairs;
  for (const Site &site : sitesOf(plan, [](const Site &site) { return site.alloc(); })) {
    std::vector<int32_t> live;
    for (size_t i = 0; i < site.at; ++i) {
      if (const auto *alloc = std::get_if<AllocStep>(&(*site.list)[i].value))
        live.push_back(alloc->buffer);
      if (const auto *free = std::get_if<FreeStep>(&(*site.list)[i].value))
        std::erase(live, free->buffer);
    }
    for (int32_t below : live)
      if (site.buffer(below).offset + alignTo(site.buffer(site.alloc()->buffer).bytes) <=
          site.procedure->frameBytes)
        pairs.push_back({site.procedure, below, site.alloc()->buffer});
  }
  return pairs;
}

const std::vector<Mutator> kOverlaps = {
    {"WeightOverTheOneBefore",
     [](Plan &p, Random &r) {
       return atEntry(p.weights, 1, r,
                      [&](size_t i) { p.weights[i].offset = p.weights[i - 1].offset; });
     }},
    {"TensorOverAnother",
     [](Plan &p, Random &r) -> std::string {
       size_t i = r() % p.tensors.size(), j = r() % p.tensors.size();
       if (p.tensors[i].bytes == p.tensors[j].bytes)
         return {};
       p.tensors[i].offset = p.tensors[j].offset;
       return p.tensors[i].name + " over " + p.tensors[j].name;
     }},
    {"BufferOverALiveOne",
     [](Plan &p, Random &r) -> std::string {
       std::vector<Pair> pairs = liveTogether(p);
       const Pair *pair = pick(pairs, r);
       if (!pair)
         return {};
       std::vector<Buffer> &buffers = pair->procedure->buffers;
       Buffer &above = buffers[static_cast<size_t>(pair->above)];
       above.offset = buffers[static_cast<size_t>(pair->below)].offset;
       return pair->procedure->name + " " + above.name;
     }},
    {"FrameOverATensor",
     [](Plan &p, Random &r) {
       const Tensor &tensor = p.tensors[r() % p.tensors.size()];
       return atCall(
           p, r,
           [&](const CallSite &site) {
             int64_t end = tensor.offset + site.procedure->frameBytes +
                           site.call->frameStride * (site.run->blockCount - 1);
             return site.procedure->frameBytes > 0 && end <= p.arenaBytes;
           },
           [&](const CallSite &site) { site.call->frameOffset = tensor.offset; });
     }},
    {"FrameOverWhatIsKept",
     [](Plan &p, Random &r) {
       auto keeps = [](const CallSite &site) {
         return site.program->phase == Phase::Forward && site.procedure->frameBytes > 0 &&
                keepsUnbound(site);
       };
       return atCall(p, r, keeps, [](const CallSite &site) {
         site.call->frameOffset = site.call->savedOffset;
         site.call->frameStride = site.call->savedStride;
       });
     }},
};

const std::vector<Mutator> kDeclared = {
    {"Arena",
     [](Plan &p, Random &r) {
       int64_t more = static_cast<int64_t>(1 + r() % 9) * 512;
       p.arenaBytes += more;
       return std::to_string(more);
     }},
    {"Frame",
     [](Plan &p, Random &r) {
       return atEntry(p.procedures, 0, r, [&](size_t i) { p.procedures[i].frameBytes += 512; });
     }},
    {"WeightsOfTheBlock",
     [](Plan &p, Random &r) -> std::string {
       (r() % 2 ? p.weightBlockBytes : p.gradientBlockBytes) += 512;
       return "512 more";
     }},
    {"Summary",
     [](Plan &p, Random &r) {
       int64_t *const fields[] = {&p.summary.arenaBytes, &p.summary.staticBytes,
                                  &p.summary.keptBytes,  &p.summary.predictedPeakBytes,
                                  &p.summary.idle.total, &p.summary.idle.kept,
                                  &p.summary.idle.frame};
       size_t index = r() % std::size(fields);
       *fields[index] += 1 + static_cast<int64_t>(r() % 512);
       return "field " + std::to_string(index);
     }},
    {"Budget",
     [](Plan &p, Random &r) {
       p.summary.budgetBytes = p.summary.predictedPeakBytes - 1 - static_cast<int64_t>(r() % 512);
       return std::to_string(p.summary.budgetBytes);
     }},
};

bool isLastFreeInALoop(const Site &site) {
  return site.free() && !site.loops.empty() && site.at + 1 == site.list->size();
}
bool isFreeBehindALoop(const Site &site) {
  return site.free() && site.at > 0 &&
         std::holds_alternative<LoopStep>((*site.list)[site.at - 1].value);
}

const std::vector<Mutator> kIterations = {
    {"FreeMissing",
     [](Plan &p, Random &r) {
       return atSite(p, r, isLastFreeInALoop, [](const Site &site) { site.erase(); });
     }},
    {"FreeInAnotherLoop",
     [](Plan &p, Random &r) {
       return atSite(p, r, isFreeBehindALoop, [](const Site &site) {
         auto &loop = std::get<LoopStep>((*site.list)[site.at - 1].value);
         loop.body.push_back(site.step());
         site.erase();
       });
     }},
};

const std::vector<Mutator> kStack = {
    {"BindingInTheMiddleOfWhatIsKept",
     [](Plan &p, Random &r) {
       auto bytesOf = [](const CallSite &site, const Binding &binding) {
         return site.procedure->buffers[static_cast<size_t>(binding.buffer)].bytes;
       };
       auto large = [&](const CallSite &site) {
         return std::any_of(site.call->bindings.begin(), site.call->bindings.end(),
                            [&](const Binding &binding) { return bytesOf(site, binding) > 512; });
       };
       return atCall(p, r, large, [&](const CallSite &site) {
         for (Binding &binding : site.call->bindings)
           if (bytesOf(site, binding) > 512) {
             binding.offset += 512;
             return;
           }
       });
     }},
    {"BackwardCallsInTheWrongOrder",
     [](Plan &p, Random &r) -> std::string {
       if (p.model.name != "kept")
         return {};
       BlockRun &run = p.programs[1].runs[0];
       std::swap(run.calls[0], run.calls[1]);
       return "both";
     }},
};

/// A legal cut of r among several ranks.
size_t cutAmongRanks(Plan &plan, Random &random) {
  int64_t size = plan.model.sizes.at("r"), begin = 0;
  plan.devices = static_cast<int32_t>(2 + random() % 3);
  plan.ranks.clear();
  for (int32_t rank = 0; rank < plan.devices; ++rank) {
    int64_t left = size - begin;
    int64_t own = rank + 1 == plan.devices
                      ? left
                      : static_cast<int64_t>(random() % static_cast<uint64_t>(left + 1));
    plan.ranks.push_back({rank, {{"r", {begin, begin + own}}}});
    begin += own;
  }
  return random() % plan.ranks.size();
}

const std::vector<Mutator> kShards = {
    {"RankMissing",
     [](Plan &p, Random &r) {
       cutAmongRanks(p, r);
       p.devices += 1;
       return std::to_string(p.devices);
     }},
    {"ShardTooLong",
     [](Plan &p, Random &r) {
       size_t rank = cutAmongRanks(p, r);
       p.ranks[rank].extents["r"].second += 1;
       return std::to_string(rank);
     }},
    {"ShardTooShort",
     [](Plan &p, Random &r) {
       size_t rank = cutAmongRanks(p, r);
       p.ranks[rank].extents["r"].second -= 1;
       return std::to_string(rank);
     }},
    {"ShardOfAnotherAxis",
     [](Plan &p, Random &r) {
       size_t rank = cutAmongRanks(p, r);
       p.ranks[rank].extents["x"] = {0, 1};
       return std::to_string(rank);
     }},
    {"RanksOutOfOrder",
     [](Plan &p, Random &r) {
       size_t rank = cutAmongRanks(p, r);
       p.ranks[rank].rank += 1;
       return std::to_string(rank);
     }},
};

const std::vector<Mutator> kWaits = {
    {"NobodyWaits",
     [](Plan &p, Random &r) {
       return atSite(
           p, r,
           [](const Site &site) { return site.kernel() && site.kernel()->lane == Lane::Compute; },
           [](const Site &site) {
             site.kernel()->lane = Lane::Communication;
             site.kernel()->waits.clear();
           });
     }},
    {"WaitForNobody",
     [](Plan &p, Random &r) {
       return atSite(
           p, r, [](const Site &site) { return site.kernel(); },
           [&](const Site &site) {
             site.kernel()->waits.push_back(static_cast<int32_t>(r() % 99) - 1);
             site.kernel()->waits.push_back(site.kernel()->waits.back());
           });
     }},
    {"WaitDropped",
     [](Plan &p, Random &r) {
       return atSite(
           p, r, [](const Site &site) { return site.kernel() && !site.kernel()->waits.empty(); },
           [](const Site &site) { site.kernel()->waits.clear(); });
     }},
};

const std::vector<Mutator> kCosts = {
    {"Step",
     [](Plan &p, Random &r) {
       return atSite(
           p, r, [](const Site &site) { return site.kernel(); },
           [](const Site &site) { site.kernel()->costNs += 1; });
     }},
    {"NegativeStep",
     [](Plan &p, Random &r) {
       return atSite(
           p, r, [](const Site &site) { return site.kernel(); },
           [](const Site &site) { site.kernel()->costNs = -1; });
     }},
    {"Procedure",
     [](Plan &p, Random &r) {
       return atEntry(p.procedures, 0, r, [&](size_t i) { p.procedures[i].costNs += 1; });
     }},
    {"Plan",
     [](Plan &p, Random &r) {
       p.summary.predictedMs += 1e-6 * static_cast<double>(1 + r() % 100);
       return std::to_string(p.summary.predictedMs);
     }},
};

} // namespace

std::map<int, std::vector<Mutator>> memoryMutators() {
  return {{8, kBounds}, {9, kOverlaps}, {10, kDeclared}, {11, kIterations},
          {12, kStack}, {15, kShards},  {16, kWaits},    {18, kCosts}};
}

} // namespace evo::plan::test
