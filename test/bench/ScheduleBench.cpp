//===- ScheduleBench.cpp - how long the schedule search takes ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// An Evoformer-like chain: 48 blocks of 9 ops with 8 records each, made up by formula. Prints a
// line for each budget and engine, then how the time grows with the blocks, the records an op and
// the cells of the grid; milliseconds are medians of processor time.
//   evo-bench-schedule [iterations]
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Solve.h"
#include "test/compiler/ScheduleInstances.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

namespace {

using namespace evo;
using namespace evo::schedule;

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
  for (Bytes gib : {4, 12, 24, 40, 60, 80}) {
    const Bytes budget = gib * 1024 * kMiB;
    const Bytes odd = 3 * 64 * 1024 + 512;
    measure("dense", evoformerProblem(budget, odd, true), {}, iterations);
    measure("dense, divisor", evoformerProblem(budget, 0, true), {}, iterations);
    measure("sparse, divisor", evoformerProblem(budget, 0, true), {.engine = Engine::Sparse}, 1);
    measure("sparse", evoformerProblem(budget, odd, true), {.engine = Engine::Sparse}, 1);
  }
  const Bytes budget = 12 * 1024 * kMiB, odd = 3 * 64 * 1024 + 512;
  for (int blocks : {12, 24, 48, 96, 192})
    measure((std::to_string(blocks) + " blocks").c_str(),
            evoformerProblem(budget, odd, true, blocks), {}, iterations);
  for (int ways : {2, 5, 10, 20})
    measure((std::to_string(3 + ways) + " records").c_str(),
            evoformerProblem(budget, odd, true, 48, ways), {}, iterations);
  for (Bytes cells : {1024, 2048, 4096, 8192, 16384})
    measure((std::to_string(cells) + " cells").c_str(), evoformerProblem(budget, odd, true),
            {.granule = budget / cells}, iterations);
  return 0;
}
