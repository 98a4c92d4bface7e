//===- PlanBench.cpp - a plan's run beside its matrix products --*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// How much of a run is BLAS: runs an fp32 plan on the CPU, and times its matrix products alone, one
// BLAS call for each thread's share of a product, on the same number of threads. Random data;
// medians.
//   evo-bench-plan PLAN.json [threads [iterations]]
//===----------------------------------------------------------------------===//
#include "runtime/core/Session.h"
#include "runtime/cpu/Blas.h"
#include "runtime/cpu/CpuBackend.h"
#include "runtime/plan/PlanJson.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>
#include <vector>

namespace {

using namespace evo;
using plan::Kernel;

/// batch x [m,k] [n,k]^T
using Product = std::array<int64_t, 4>;

/// The products of one kernel call, from its axes; see Kernels.def.
std::vector<Product> productsOf(Kernel kernel, const plan::AxisExtents &x, int64_t heads) {
  int64_t rows = 1;
  for (int64_t size : x.leading)
    rows *= size;
  int64_t width = x['x'] > 0 ? x['x'] / heads : 0, batches = x['b'] * heads;
  switch (kernel) {
  case Kernel::Linear:
    return {{1, rows, x['n'], x['k']}};
  case Kernel::GatedLinear:
    return {{1, rows, x['n'], x['k']}, {1, rows, x['n'], x['k']}};
  case Kernel::Attention:
    return {{batches, x['q'], x['k'], width}, {batches, x['q'], width, x['k']}};
  case Kernel::AttentionLogits:
    return {{batches, x['q'], x['k'], width}};
  case Kernel::AttentionValues:
    return {{batches, x['q'], width, x['k']}};
  case Kernel::OuterProduct:
    return {{1, x['i'] * x['c'], x['j'] * x['d'], x['s']}};
  case Kernel::OuterProductMean:
    return {{1, x['i'] * x['c'], x['j'] * x['d'], x['s']}, {1, x['i'] * x['j'], x['n'], x['x']}};
  case Kernel::OuterProductNorm:
    return {{1, x['i'], x['j'], x['s']}};
  case Kernel::BatchMatmul:
    return {{x['b'], x['m'], x['n'], x['k']}};
  default:
    return {};
  }
}

/// How often each product runs in the forward program.
struct Census {
  const plan::Procedure *procedure = nullptr;
  int64_t blocks = 0;
  std::map<Product, int64_t> counts;

  void walk(const std::vector<plan::Step> &steps, int64_t times, int64_t slice) {
    for (const plan::Step &step : steps) {
      if (const auto *loop = std::get_if<plan::LoopStep>(&step.value)) {
        walk(loop->body, times * (loop->extent / loop->size), loop->size);
        if (int64_t rest = loop->extent % loop->size)
          walk(loop->body, times, rest);
      } else if (const auto *kernel = std::get_if<plan::KernelStep>(&step.value)) {
        add(*kernel, times, slice);
      }
    }
  }

  void add(const plan::KernelStep &step, int64_t times, int64_t slice) {
    std::vector<std::optional<std::vector<int64_t>>> shapes;
    for (const auto &view : step.operands) {
      shapes.emplace_back();
      if (!view)
        continue;
      shapes.back().emplace();
      for (int32_t axis : view->order) {
        const plan::Extent &extent = view->extent[static_cast<size_t>(axis)];
        shapes.back()->push_back(extent.loop < 0 ? extent.value : slice);
      }
    }
    auto axes = plan::bindKernelAxes(step.kernel, step.attributes, shapes);
    if (!axes.ok())
      return;
    for (const Product &product : productsOf(step.kernel, *axes, step.attributes.heads))
      counts[product] += times * blocks;
  }
};

double nowMs() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// One product on `threads` threads: shares of the batch, or of the rows where there is no batch.
void runProduct(const Product &product, int threads, const std::vector<float> &in,
                std::vector<float> &out) {
  auto [batch, m, n, k] = product;
  bool byBatch = batch > 1;
  int64_t units = byBatch ? batch : m;
  auto share = [&](int64_t first, int64_t last) {
    auto gemm = [&](int64_t rows, size_t a, size_t b, size_t c) {
      evo::cpu::blasGemm(false, true, static_cast<int>(rows), static_cast<int>(n),
                         static_cast<int>(k), 1.0F, in.data() + a, static_cast<int>(k),
                         in.data() + b, static_cast<int>(k), 0.0F, out.data() + c,
                         static_cast<int>(n));
    };
    if (!byBatch)
      return gemm(last - first, first * k, 0, first * n);
    for (int64_t i = first; i < last; ++i)
      gemm(m, i * m * k, i * n * k, i * m * n);
  };
  std::vector<std::thread> workers;
  for (int t = 1; t < threads; ++t)
    workers.emplace_back(share, units * t / threads, units * (t + 1) / threads);
  share(0, units / threads);
  for (std::thread &worker : workers)
    worker.join();
}

double medianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double productsMs(const Census &census, int threads, int iterations) {
  size_t inSize = 0, outSize = 0;
  for (const auto &[product, count] : census.counts) {
    auto [batch, m, n, k] = product;
    inSize = std::max<size_t>(inSize, batch * std::max(m, n) * k);
    outSize = std::max<size_t>(outSize, batch * m * n);
  }
  std::vector<float> in(inSize), out(outSize);
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
  for (float &value : in)
    value = uniform(random);
  double total = 0;
  for (const auto &[product, count] : census.counts) {
    std::vector<double> times;
    for (int i = 0; i <= iterations; ++i) {
      double start = nowMs();
      runProduct(product, threads, in, out);
      if (i > 0)
        times.push_back(nowMs() - start);
    }
    total += medianOf(times) * static_cast<double>(count);
  }
  return total;
}

int fail(const Status &status) {
  std::fprintf(stderr, "evo-bench-plan: error: %s\n", status.message().c_str());
  return 1;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: evo-bench-plan PLAN.json [threads [iterations]]\n");
    return 2;
  }
  int threads = argc > 2 ? std::max(1, std::atoi(argv[2]))
                         : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  int iterations = argc > 3 ? std::max(1, std::atoi(argv[3])) : 5;
  Result<plan::Plan> plan = plan::readPlan(argv[1]);
  if (!plan.ok())
    return fail(plan.status());
  if (plan->precision != plan::Precision::Fp32)
    return fail(Status::error(ErrorCode::Unsupported, "expected an fp32 plan"));
  Result<std::unique_ptr<Backend>> backend = createCpuBackend(threads);
  if (!backend.ok())
    return fail(backend.status());
  RunOptions options;
  options.iterations = iterations;
  options.threads = threads;
  Result<RunReport> report = runPlan(*plan, **backend, options);
  if (!report.ok())
    return fail(report.status());
  Census census;
  for (const plan::BlockRun &run : plan->programs.front().runs)
    for (const plan::Call &call : run.calls) {
      census.procedure = &plan->procedures[static_cast<size_t>(call.procedure)];
      census.blocks = run.blockCount;
      census.walk(census.procedure->steps, 1, 0);
    }
  double run = medianOf(report->iterationsMs), products = productsMs(census, threads, iterations);
  std::printf("%s\n", (*backend)->description().c_str());
  std::printf("the plan's run              %10.1f ms, median of %d\n", run, iterations);
  std::printf("its matrix products alone   %10.1f ms\n", products);
  std::printf("share of the run            %10.1f %%\n", 100 * products / run);
  return 0;
}
