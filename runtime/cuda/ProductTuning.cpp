//===- ProductTuning.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/ProductTuning.h"

#include "runtime/cuda/Error.h"
#include "runtime/cuda/Product.h"
#include "runtime/cuda/Quickest.h"

#include <algorithm>
#include <memory>
#include <set>
#include <type_traits>

namespace evo::cuda {

namespace {

/// A sample takes about this long, or one launch.
constexpr double kSampleUs = 100;
/// Samples of one proposal: so many, and fewer where they take longer together than the limit.
constexpr int kMostRounds = 5, kFewestRounds = 2;
constexpr double kRoundsUs = 4000;
/// What takes longer is no kernel that has to be loaded.
constexpr double kLongUs = 10'000;
/// Who takes so much longer than the quickest by one launch is not recorded, and who does by its
/// first sample not sampled again.
constexpr double kSlow = 1.5, kHopeless = 1.1;

struct DestroyGraph {
  void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
};
using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, DestroyGraph>;

class Tuner {
public:
  explicit Tuner(Context &context) : context(context) {}
  ~Tuner() {
    for (cudaEvent_t event : {start, stop})
      if (event)
        cudaEventDestroy(event);
  }
  Tuner(const Tuner &) = delete;
  Tuner &operator=(const Tuner &) = delete;

  Status run();

private:
  /// A proposal, as it is timed: recorded, as the launches of programs are.
  struct Candidate {
    size_t proposal = 0;
    Graph graph;
    std::vector<double> times;
  };
  template <class Launch> Result<double> timeUs(const Launch &launch);
  Result<Graph> record(const LtPlan &product, size_t proposal, int repeats);
  Status sample(Candidate &candidate, int repeats);
  Result<size_t> quickest(const LtPlan &product);
  void add(const LtPlan &product, size_t proposal);

  Context &context;
  cudaEvent_t start = nullptr, stop = nullptr;
};

template <class Launch> Result<double> Tuner::timeUs(const Launch &launch) {
  float ms = 0;
  EVO_CUDA_TRY(cudaEventRecord(start, context.stream));
  EVO_TRY(launch());
  EVO_CUDA_TRY(cudaEventRecord(stop, context.stream));
  EVO_CUDA_TRY(cudaEventSynchronize(stop));
  EVO_CUDA_TRY(cudaEventElapsedTime(&ms, start, stop));
  return 1e3 * static_cast<double>(ms);
}

Result<Graph> Tuner::record(const LtPlan &product, size_t proposal, int repeats) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  EVO_CUDA_TRY(cudaStreamBeginCapture(context.stream, cudaStreamCaptureModeThreadLocal));
  Status status;
  for (int i = 0; i < repeats && status.ok(); ++i)
    status = product.runAgain(context, proposal);
  Status ended = statusOf(cudaStreamEndCapture(context.stream, &graph), "cudaStreamEndCapture");
  if (status.ok())
    status = ended;
  if (status.ok())
    status = statusOf(cudaGraphInstantiate(&ready, graph, 0), "cudaGraphInstantiate");
  if (graph)
    cudaGraphDestroy(graph);
  EVO_TRY(status);
  Graph result(ready);
  EVO_CUDA_TRY(cudaGraphUpload(ready, context.stream));
  return result;
}

Status Tuner::sample(Candidate &candidate, int repeats) {
  EVO_ASSIGN(double us, timeUs([&] {
               return statusOf(cudaGraphLaunch(candidate.graph.get(), context.stream),
                               "cudaGraphLaunch");
             }));
  candidate.times.push_back(us / repeats);
  return {};
}

/// Proposals are timed in turns, so that what else the device does meets all of them alike.
Result<size_t> Tuner::quickest(const LtPlan &product) {
  std::vector<Candidate> candidates;
  double least = 0, leastOnce = 0;
  int repeats = 1;
  for (size_t proposal = 0; proposal < product.proposals(); ++proposal) {
    auto launch = [&] { return product.runAgain(context, proposal); };
    Result<double> first = timeUs(launch); // may have to load its kernel
    if (!first && first.status().code() == ErrorCode::Unsupported)
      continue;
    EVO_TRY(first.status());
    EVO_ASSIGN(double once, *first > kLongUs ? first : timeUs(launch));
    leastOnce = candidates.empty() ? once : std::min(leastOnce, once);
    if (once > kSlow * leastOnce)
      continue;
    if (candidates.empty())
      repeats = std::clamp(static_cast<int>(kSampleUs / std::max(once, 1.0)), 1, 32);
    Candidate candidate{proposal, {}, {}};
    EVO_ASSIGN(candidate.graph, record(product, proposal, repeats));
    EVO_TRY(sample(candidate, repeats));
    least = candidates.empty() ? candidate.times[0] : std::min(least, candidate.times[0]);
    candidates.push_back(std::move(candidate));
  }
  if (candidates.empty())
    return size_t{0};
  const bool hasFirst = candidates.front().proposal == 0;
  std::erase_if(candidates, [&](const Candidate &each) {
    return each.proposal > 0 && each.times[0] > kHopeless * least;
  });
  int rounds = candidates.size() == 1
                   ? 1
                   : std::clamp(static_cast<int>(kRoundsUs / std::max(least * repeats, 1.0)),
                                kFewestRounds, kMostRounds);
  for (int round = 1; round < rounds; ++round)
    for (Candidate &each : candidates)
      EVO_TRY(sample(each, repeats));
  std::vector<std::vector<double>> times;
  if (!hasFirst)
    times.emplace_back();
  for (const Candidate &each : candidates)
    times.push_back(each.times);
  size_t best = quickestOf(times);
  return candidates[hasFirst ? best : best - 1].proposal;
}

void Tuner::add(const LtPlan &product, size_t proposal) {
  plan::ProductTable &table = context.table;
  plan::MeasuredProduct measured{product.shape(), -1};
  if (proposal > 0) {
    plan::ProductWay way = product.wayOf(proposal);
    auto known = std::find(table.ways.begin(), table.ways.end(), way);
    measured.way = static_cast<int32_t>(known - table.ways.begin());
    if (known == table.ways.end())
      table.ways.push_back(way);
  }
  auto series =
      std::find_if(table.series.begin(), table.series.end(), [&](const plan::ProductSeries &each) {
        return each.products == product.products();
      });
  if (series == table.series.end())
    series = table.series.insert(series, {product.products(), {}});
  series->measured.push_back(measured);
}

Status Tuner::run() {
  EVO_CUDA_TRY(cudaEventCreate(&start));
  EVO_CUDA_TRY(cudaEventCreate(&stop));
  std::set<std::pair<plan::ProductClass, plan::ProductShape>> known;
  for (const plan::ProductSeries &series : context.table.series)
    for (const plan::MeasuredProduct &measured : series.measured)
      known.insert({series.products, measured.shape});
  for (auto &[key, product] : context.products) {
    if (!product || !product->hasRun() ||
        !known.insert({product->products(), product->shape()}).second)
      continue;
    EVO_ASSIGN(size_t proposal, quickest(*product));
    add(*product, proposal);
  }
  context.table.library = context.lt->name();
  context.products.clear(); // to be chosen again, by the table
  return {};
}

} // namespace

Status tuneProducts(Context &context) {
  EVO_CUDA_TRY(cudaSetDevice(context.device));
  return Tuner(context).run();
}

} // namespace evo::cuda
