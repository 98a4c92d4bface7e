//===- RunFixture.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/passes/RunFixture.h"

#include "runtime/core/Session.h"
#include "runtime/core/TensorFile.h"
#include "test/core/CoreTest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace evo::test {

static void readTensors(const std::string &path, const std::string &prefix, Tensors &values) {
  auto tensors = readTensorFile(path);
  ASSERT_TRUE(tensors.ok()) << tensors.status().message();
  for (const HostTensor &tensor : *tensors)
    values[prefix + tensor.name] = valuesOf<double>(tensor);
}

Tensors runTraining(const plan::Plan &plan, Backend &backend, uint32_t dropoutSeed) {
  TemporaryFolder folder;
  RunOptions options;
  options.outputs = folder.path("o.safetensors");
  options.gradients = folder.path("g.safetensors");
  options.randomSeed = 3;
  options.dropoutSeed = dropoutSeed;
  options.warmup = 0;
  auto report = runPlan(plan, backend, options);
  EXPECT_TRUE(report.ok()) << report.status().message();
  Tensors values;
  if (!report.ok())
    return values;
  readTensors(options.outputs, "", values);
  readTensors(options.gradients, "gradient.", values);
  return values;
}

static double norm(const std::vector<double> &values) {
  double sum = 0;
  for (double value : values)
    sum += value * value;
  return std::sqrt(sum);
}

void expectClose(const Tensors &expected, const Tensors &got) {
  ASSERT_EQ(expected.size(), got.size());
  for (const auto &[name, values] : expected) {
    ASSERT_TRUE(got.count(name)) << name;
    std::vector<double> difference = got.at(name);
    ASSERT_EQ(difference.size(), values.size()) << name;
    for (size_t i = 0; i < values.size(); ++i)
      difference[i] -= values[i];
    EXPECT_LE(norm(difference), 1e-10 * std::max(norm(values), 1.0)) << name;
  }
}

} // namespace evo::test
