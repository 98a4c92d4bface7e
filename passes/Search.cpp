//===- Search.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Search.h"

#include "compiler/schedule/Simulate.h"
#include "passes/Procedure.h"

#include <algorithm>

using namespace mlir;

namespace evo {

namespace {

constexpr schedule::Bytes kCells = 4096;

/// The same stack with memory for everything.
schedule::Problem withoutBytes(schedule::Problem problem) {
  problem.budgetBytes = 0;
  problem.segments.reset();
  for (schedule::Record &record : problem.records)
    record.keptBytes = record.transientBytes = 0;
  for (schedule::Bytes &bytes : problem.streamBytes)
    bytes = 0;
  return problem;
}

/// The step of the grid of budgets: where all that is kept has a common divisor that is not too
/// fine, no frame is rounded; else a power of two.
schedule::Bytes granuleFor(const schedule::Problem &problem) {
  const schedule::Bytes divisor = schedule::keptDivisor(problem);
  if (divisor == 0)
    return std::max<schedule::Bytes>(problem.budgetBytes, 1);
  if (problem.budgetBytes / divisor < kCells)
    return divisor;
  schedule::Bytes granule = plan::kAlignment;
  while (problem.budgetBytes / granule >= kCells)
    granule *= 2;
  return granule;
}

/// Those that no other equals or beats in bytes and time, by rising bytes.
std::vector<schedule::FrontierPoint> risingSteps(std::vector<schedule::FrontierPoint> points) {
  std::sort(points.begin(), points.end(), [](const auto &a, const auto &b) {
    return std::pair(a.bytes, a.costNs) < std::pair(b.bytes, b.costNs);
  });
  std::vector<schedule::FrontierPoint> steps;
  for (const schedule::FrontierPoint &point : points)
    if (steps.empty() || point.costNs < steps.back().costNs)
      steps.push_back(point);
  return steps;
}

} // namespace

Result<ScheduleSearch> ScheduleSearch::create(ir::StackOp stack, const Target &target,
                                              Fixed fixed) {
  ScheduleSearch search;
  EVO_ASSIGN(search.stack, buildStackProblem(stack, target));
  const schedule::Problem &problem = search.stack.problem;
  if (Status legal = schedule::checkProblem(problem); !legal.ok())
    return Status::error(ErrorCode::Unsupported, legal.message());
  search.fixed = fixed;
  int64_t blocks = 0;
  for (auto segment : stack.getBody().front().getOps<ir::SegmentOp>())
    blocks = static_cast<int64_t>(segment.getFirst() + segment.getCount());
  search.repeats = blocks / problem.blocks;
  EVO_ASSIGN(search.fastest, schedule::solve(withoutBytes(problem), {schedule::Engine::Dense, 1}));
  search.fastest.plan.frameGranule = 1;
  EVO_ASSIGN(schedule::Simulation peak, schedule::simulate(problem, search.fastest.plan));
  search.fastest.costNs = peak.costNs;
  search.fastest.peakBytes = peak.peakBytes;
  search.fastest.frontier = {{peak.peakBytes, peak.costNs}};
  EVO_ASSIGN(search.leastBytes, schedule::leastBudget(problem));
  return search;
}

/// Takes a solution that is feasible and faster.
static void keepFaster(schedule::Solution &best, schedule::Solution other) {
  if (other.feasible && (!best.feasible || other.costNs < best.costNs))
    best = std::move(other);
}

/// Steps of the grid grow with the budget, and with them what rounding takes. So the largest budget
/// with finer steps is searched too where it is near, and near the smallest budget, where rounding
/// weighs most, frames are not rounded at all: with more memory no plan is slower.
Result<schedule::Solution> ScheduleSearch::solve(int64_t budgetBytes) const {
  // What the solver counts; more makes nothing faster but plans that it cannot weigh.
  schedule::Bytes headroom = std::min(budgetBytes - fixed.bytes, schedule::kMaxBytes);
  if (headroom >= fastest.peakBytes)
    return fastest;
  if (headroom < leastBytes)
    return Status::error(ErrorCode::Infeasible, "no plan fits the budget");
  schedule::Problem problem = stack.problem;
  auto solveWithin = [&](schedule::Bytes bytes, schedule::Engine engine) {
    problem.budgetBytes = bytes;
    return schedule::solve(problem,
                           {engine, engine == schedule::Engine::Dense ? granuleFor(problem) : 0});
  };
  if (problem.blocks == 1)
    return solveWithin(headroom, schedule::Engine::Sparse);
  EVO_ASSIGN(schedule::Solution best, solveWithin(headroom, schedule::Engine::Dense));
  schedule::Bytes granule = granuleFor(problem), finer = granule / 2 * kCells - 1;
  schedule::Bytes slack = 2 * granule * problem.blocks;
  if (finer > leastBytes && finer < headroom && headroom < finer + finer / 8) {
    EVO_ASSIGN(schedule::Solution other, solveWithin(finer, schedule::Engine::Dense));
    keepFaster(best, std::move(other));
  }
  if (headroom < leastBytes + 2 * slack) {
    EVO_ASSIGN(schedule::Solution other,
               solveWithin(std::min(headroom, leastBytes + slack), schedule::Engine::Sparse));
    keepFaster(best, std::move(other));
  }
  return best;
}

Result<std::vector<schedule::FrontierPoint>>
ScheduleSearch::frontier(const std::vector<schedule::FrontierPoint> &others) const {
  schedule::Problem problem = stack.problem;
  EVO_ASSIGN(schedule::Solution smallest, solve(leastBudget()));
  std::vector<schedule::FrontierPoint> all = {{leastBytes, smallest.costNs},
                                              {fastest.peakBytes, fastest.costNs}};
  // A plan is rounded in the steps that `solve` takes for a budget. Those of smaller budgets are
  // finer, so each range of budgets with one step is searched by itself.
  schedule::Engine engine =
      problem.blocks == 1 ? schedule::Engine::Sparse : schedule::Engine::Dense;
  problem.budgetBytes = std::min(fastest.peakBytes, schedule::kMaxBytes);
  for (;;) {
    schedule::Bytes granule = engine == schedule::Engine::Sparse ? 0 : granuleFor(problem);
    EVO_ASSIGN(schedule::Solution solution, schedule::solve(problem, {engine, granule}));
    all.insert(all.end(), solution.frontier.begin(), solution.frontier.end());
    problem.budgetBytes = granule / 2 * (kCells - 1);
    if (problem.budgetBytes <= leastBytes || granuleFor(problem) >= granule)
      break;
  }
  if (engine == schedule::Engine::Dense) {
    problem.budgetBytes = leastBytes;
    problem.budgetBytes += 2 * granuleFor(problem) * problem.blocks;
    EVO_ASSIGN(schedule::Solution exact, schedule::solve(problem, {schedule::Engine::Sparse, 0}));
    all.insert(all.end(), exact.frontier.begin(), exact.frontier.end());
  }
  for (schedule::FrontierPoint &point : all)
    point = {point.bytes + fixed.bytes, stackNs(point.costNs)};
  all.insert(all.end(), others.begin(), others.end());
  return risingSteps(std::move(all));
}

Status ScheduleSearch::setTighter(const schedule::Solution &solution, SearchReport &report) const {
  schedule::Bytes tighter = solution.peakBytes - solution.peakBytes / 10;
  if (tighter < leastBytes)
    return {};
  report.tighterBudgetBytes = tighter + fixed.bytes;
  for (const schedule::FrontierPoint &point : solution.frontier)
    if (point.bytes <= tighter)
      report.tighterNs = stackNs(point.costNs);
  if (report.tighterNs == 0) {
    EVO_ASSIGN(schedule::Solution other, solve(report.tighterBudgetBytes));
    report.tighterNs = stackNs(other.costNs);
  }
  return {};
}

//===----------------------------------------------------------------------===//
// Back to the IR
//===----------------------------------------------------------------------===//

/// Sets the choices and runs of a segment's modules.
static void applyRecords(ir::SegmentOp segment, const StackProblem &stack, ArrayRef<int> records) {
  SmallVector<ir::ModuleOpInterface> modules(
      segment.getBody().front().getOps<ir::ModuleOpInterface>());
  SmallVector<Attribute> runs;
  for (int index : records) {
    const RecordChoice &record = stack.records[static_cast<size_t>(index)];
    for (auto [i, choice] : llvm::enumerate(record.choices))
      modules[static_cast<size_t>(record.first) + i].setModuleChoice(choice);
    if (record.axis != ir::Axis::None)
      runs.push_back(ir::RunAttr::get(segment.getContext(), record.first,
                                      static_cast<int64_t>(record.choices.size()), record.axis,
                                      record.size));
  }
  if (runs.empty())
    segment.removeRunsAttr();
  else
    segment.setRunsAttr(ArrayAttr::get(segment.getContext(), runs));
}

Status ScheduleSearch::apply(ir::StackOp op, const schedule::Solution &solution) const {
  Block &body = op.getBody().front();
  SmallVector<ir::SegmentOp> old(body.getOps<ir::SegmentOp>());
  Operation *yield = body.getTerminator();
  OpBuilder builder(yield);
  SmallVector<Value> streams(old.front().getStreams());
  const auto &records = solution.plan.records;
  for (size_t first = 0; first < records.size();) {
    size_t end = first + 1;
    while (end < records.size() && records[end] == records[first])
      ++end;
    auto segment = cast<ir::SegmentOp>(builder.clone(*old.front()));
    segment->setOperands(streams);
    segment.setFirst(static_cast<int64_t>(first) * repeats);
    segment.setCount(static_cast<int64_t>(end - first) * repeats);
    applyRecords(segment, stack, records[first]);
    streams.assign(segment->result_begin(), segment->result_end());
    first = end;
  }
  yield->setOperands(streams);
  for (ir::SegmentOp segment : llvm::reverse(old))
    segment.erase();
  SmallVector<Attribute> intervals;
  for (const schedule::Segment &segment : solution.plan.segments)
    intervals.push_back(ir::RecomputeAttr::get(
        op.getContext(), segment.first, segment.count,
        builder.getArrayAttr(stack.forward[static_cast<size_t>(segment.forward)])));
  if (intervals.empty())
    op.removeRecomputeAttr();
  else
    op.setRecomputeAttr(builder.getArrayAttr(intervals));
  return {};
}

} // namespace evo
