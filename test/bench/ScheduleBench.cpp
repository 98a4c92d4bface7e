//===- ScheduleBench.cpp - how long the schedule search takes ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// An Evoformer-like chain: 48 blocks of 9 ops with 8 records each, made up by formula. Prints a
// line for each budget and engine, then how the time grows with the blocks, the records an op and
// the cells of the grid; milliseconds are medians of processor time.
//   evo-bench-schedule [iterations]
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Solve.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

namespace {

using namespace evo;
using namespace evo::schedule;

constexpr Bytes kMiB = Bytes{1} << 20;

struct Module {
  const char *name;
  StreamMask reads, writes; ///< m is 1, z is 2
  Bytes tensors, whole;     ///< kept by saving all; needed whole by every slice
  TimeNs forwardNs;
};

/// s = 512, r = 384, bf16: m has 96 MiB, z 36 MiB. `odd` is what makes the sizes share no divisor.
constexpr Module kModules[] = {
    {"row_attention", 1, 1, 1536 * kMiB, 24 * kMiB, 2'100'000},
    {"column_attention", 1, 1, 1920 * kMiB, 4 * kMiB, 2'300'000},
    {"msa_transition", 1, 1, 384 * kMiB, 2 * kMiB, 1'300'000},
    {"outer_product_mean", 1, 2, 300 * kMiB, 12 * kMiB, 1'100'000},
    {"triangle_multiplication_outgoing", 2, 2, 180 * kMiB, 36 * kMiB, 700'000},
    {"triangle_multiplication_incoming", 2, 2, 184 * kMiB, 36 * kMiB, 720'000},
    {"triangle_attention_starting", 2, 2, 600 * kMiB, 2 * kMiB, 900'000},
    {"triangle_attention_ending", 2, 2, 610 * kMiB, 2 * kMiB, 920'000},
    {"pair_transition", 2, 2, 144 * kMiB, kMiB, 500'000},
};

/// `slices`: how many ways to recompute each op has.
Problem makeProblem(Bytes budget, Bytes odd, int blocks = 48, int slices = 5) {
  Problem problem;
  problem.blocks = blocks;
  problem.budgetBytes = budget;
  problem.streamBytes = {96 * kMiB, 36 * kMiB};
  problem.segments = SegmentCosts{132 * kMiB, 0, {{400 * kMiB, 10'500'000}}};
  for (const Module &module : kModules) {
    const auto op = static_cast<int>(problem.ops.size());
    problem.ops.push_back({module.name, module.writes});
    auto add = [&](const char *name, TimeNs costNs, Bytes transient, Bytes kept) {
      kept += kept > 0 ? odd * (op + 1) : 0;
      problem.records.push_back(
          {name, op, op, costNs, std::max(transient, kept), kept, 0, 0, module.reads});
    };
    const Bytes all = module.tensors;
    add("save", module.forwardNs * 3, all + all / 2 + module.whole, all);
    add("save_fused", module.forwardNs * 31 / 10, all / 2 + all / 4 + module.whole, all / 2);
    add("save_some", module.forwardNs * 33 / 10, all / 2 + all / 3 + module.whole, all / 3);
    for (int way = 0; way < slices; ++way)
      add("recompute", module.forwardNs * 4 + (TimeNs{1} << way) * (way + 1) * 2'000,
          module.whole + (2 * all >> way), 0);
  }
  return problem;
}

void measure(const char *name, const Problem &problem, const SolveOptions &options,
             int iterations) {
  std::vector<double> times;
  Solution solution;
  for (int i = 0; i < iterations; ++i) {
    const std::clock_t start = std::clock();
    Result<Solution> result = solve(problem, options);
    const double took = 1e3 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    if (!result.ok()) {
      std::fprintf(stderr, "%s\n", result.status().message().c_str());
      std::exit(1);
    }
    solution = *result;
    times.push_back(took);
  }
  std::sort(times.begin(), times.end());
  std::printf("%-16s %6.1f GiB  %8.2f ms  plan %9.3f ms  peak %9.1f MiB  loss %6.1f MiB  least "
              "%8.1f MiB  segments %2zu  points %zu\n",
              name, static_cast<double>(problem.budgetBytes) / (1024.0 * kMiB),
              times[times.size() / 2], static_cast<double>(solution.costNs) / 1e6,
              static_cast<double>(solution.peakBytes) / kMiB,
              static_cast<double>(solution.lossBytes) / kMiB,
              static_cast<double>(solution.leastBytes) / kMiB, solution.plan.segments.size(),
              solution.frontier.size());
}

} // namespace

int main(int argc, char **argv) {
  const int iterations = argc > 1 ? std::max(1, std::atoi(argv[1])) : 5;
  std::printf("growth at 12 GiB\n");
  for (int blocks : {12, 24, 48, 96, 192})
    measure((std::to_string(blocks) + " blocks").c_str(),
            makeProblem(12 * 1024 * kMiB, 3 * 64 * 1024 + 512, blocks), {}, iterations);
  for (int slices : {2, 5, 10, 20})
    measure((std::to_string(3 + slices) + " records").c_str(),
            makeProblem(12 * 1024 * kMiB, 3 * 64 * 1024 + 512, 48, slices), {}, iterations);
  for (Bytes cells : {1024, 2048, 4096, 8192, 16384})
    measure((std::to_string(cells) + " cells").c_str(),
            makeProblem(12 * 1024 * kMiB, 3 * 64 * 1024 + 512),
            {.granule = 12 * 1024 * kMiB / cells}, iterations);
  for (Bytes gib : {4, 12, 24, 40, 60, 80}) {
    const Bytes budget = gib * 1024 * kMiB;
    const Bytes odd = 3 * 64 * 1024 + 512;
    measure("dense", makeProblem(budget, odd), {}, iterations);
    measure("dense, divisor", makeProblem(budget, 0), {}, iterations);
    measure("sparse, divisor", makeProblem(budget, 0), {.engine = Engine::Sparse}, 1);
    measure("sparse", makeProblem(budget, odd), {.engine = Engine::Sparse}, 1);
  }
  return 0;
}
