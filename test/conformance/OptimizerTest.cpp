//===- OptimizerTest.cpp - steps against values worked out by hand -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/Backends.h"
#include "test/conformance/Runner.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace evo::conformance {

namespace {

using plan::Kernel;
using plan::KernelAttributes;
using plan::Precision;
using Values = std::vector<double>;

/// Operands as vectors in fp64, absent where empty; outputs are overwritten.
void runStep(Backend &backend, Kernel kernel, const KernelAttributes &attributes,
             std::vector<Values *> operands) {
  std::vector<std::unique_ptr<DeviceMemory>> memory;
  std::vector<TensorRef> refs;
  for (Values *values : operands) {
    auto bytes = static_cast<int64_t>(values->size() * sizeof(double));
    auto allocated = backend.allocate(bytes);
    ASSERT_TRUE(allocated.ok());
    memory.push_back(*std::move(allocated));
    ASSERT_TRUE(backend.upload(memory.back()->data(), values->data(), bytes).ok());
    TensorRef ref;
    ref.data = values->empty() ? nullptr : memory.back()->data();
    ref.dtype = plan::DType::F64;
    ref.rank = 1;
    ref.shape[0] = static_cast<int64_t>(values->size());
    ref.strides[0] = 1;
    refs.push_back(ref);
  }
  Status status = backend.launch(KernelCall{kernel, Precision::Fp64, &attributes, refs});
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_TRUE(backend.synchronize().ok());
  for (size_t i = 0; i < operands.size(); ++i)
    ASSERT_TRUE(backend
                    .download(operands[i]->data(), memory[i]->data(),
                              static_cast<int64_t>(operands[i]->size() * sizeof(double)))
                    .ok());
}

void expectNear(const Values &got, const Values &expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], expected[i], 1e-15) << "element " << i;
}

class Optimizer : public testing::Test {
protected:
  /// Calls `body` with each backend that computes in fp64.
  template <class Body> void onBackends(const Body &body) {
    int64_t count = 0;
    for (const BackendFactory &factory : conformanceBackends())
      for (Precision precision : factory.precisions)
        if (precision == Precision::Fp64) {
          auto backend = factory.create();
          ASSERT_TRUE(backend.ok());
          body(**backend);
          ++count;
        }
    if (count == 0)
      GTEST_SKIP() << "expected a backend in fp64, got one that has none alone";
  }
  Values absent;
};

TEST_F(Optimizer, TwoStepsOfSgdWithMomentum) {
  KernelAttributes attributes;
  attributes.learningRate = 0.1, attributes.momentum = 0.5;
  onBackends([&](Backend &backend) {
    // A loss scale of 2: the gradients are [1, 2] and then [0.5, -1].
    Values scalars = {2, 0, 0, 0}, weight = {1, -2}, velocity = {0, 0}, first = {2, 4},
           second = {1, -2}, newWeight(2), newVelocity(2);
    runStep(backend, Kernel::SgdStep, attributes,
            {&first, &scalars, &velocity, &absent, &weight, &newWeight, &newVelocity, &absent});
    expectNear(newVelocity, {1, 2});
    expectNear(newWeight, {0.9, -2.2}); // 1 - 0.1 * 1, -2 - 0.1 * 2
    runStep(backend, Kernel::SgdStep, attributes,
            {&second, &scalars, &newVelocity, &absent, &newWeight, &weight, &velocity, &absent});
    expectNear(velocity, {1, 0});    // 0.5 * 1 + 0.5, 0.5 * 2 - 1
    expectNear(weight, {0.8, -2.2}); // 0.9 - 0.1 * 1, -2.2 - 0
  });
}

TEST_F(Optimizer, TwoStepsOfAdamw) {
  KernelAttributes attributes;
  attributes.learningRate = 0.1, attributes.beta1 = 0.5, attributes.beta2 = 0.75;
  attributes.eps = 1, attributes.weightDecay = 0.5;
  onBackends([&](Backend &backend) {
    Values scalars = {1, 0, 0, 0}, weight = {1}, m = {0}, v = {0}, first = {2}, second = {1},
           newWeight(1), newM(1), newV(1);
    runStep(backend, Kernel::AdamwStep, attributes,
            {&first, &scalars, &m, &v, &absent, &weight, &newWeight, &newM, &newV, &absent});
    expectNear(newM, {1}); // 0.5 * 0 + 0.5 * 2
    expectNear(newV, {1}); // 0.75 * 0 + 0.25 * 4
    // (1 - 0.1 * 0.5) * 1 - 0.1 * (1 / 0.5) / (sqrt(1 / 0.25) + 1) = 0.95 - 0.2 / 3
    expectNear(newWeight, {0.8833333333333333});
    scalars[2] = 1;
    runStep(backend, Kernel::AdamwStep, attributes,
            {&second, &scalars, &newM, &newV, &absent, &newWeight, &weight, &m, &v, &absent});
    expectNear(m, {1}); // 0.5 * 1 + 0.5 * 1
    expectNear(v, {1}); // 0.75 * 1 + 0.25 * 1
    // 0.95 * 0.88333 - 0.1 * (1 / 0.75) / (sqrt(1 / 0.4375) + 1), 0.4375 = 1 - 0.75^2
    expectNear(weight, {0.7860851074924686});
  });
}

TEST_F(Optimizer, TheMasterIsTheParameter) {
  KernelAttributes attributes;
  attributes.learningRate = 0.5;
  onBackends([&](Backend &backend) {
    Values scalars = {1, 0, 0, 0}, weight = {7}, master = {3}, gradient = {2}, newWeight(1),
           newMaster(1);
    runStep(backend, Kernel::SgdStep, attributes,
            {&gradient, &scalars, &absent, &master, &weight, &newWeight, &absent, &newMaster});
    expectNear(newMaster, {2}); // 3 - 0.5 * 2, whatever the weight was
    expectNear(newWeight, {2});
    scalars[3] = 1;
    runStep(backend, Kernel::SgdStep, attributes,
            {&gradient, &scalars, &absent, &master, &weight, &newWeight, &absent, &newMaster});
    expectNear(newMaster, {3}); // skipped
    expectNear(newWeight, {7});
  });
}

TEST_F(Optimizer, AnOverflowSkipsTheStep) {
  double infinity = std::numeric_limits<double>::infinity();
  KernelAttributes attributes;
  attributes.learningRate = 0.1, attributes.momentum = 0.5;
  onBackends([&](Backend &backend) {
    Values scalars = {2, 3, 4, 0}, counted(4), gradient = {1, infinity, -infinity, NAN},
           weight = {1, 2, 3, 4}, velocity = {5, 6, 7, 8}, newWeight(4), newVelocity(4);
    runStep(backend, Kernel::CountNonfinite, {}, {&gradient, &scalars, &counted});
    EXPECT_EQ(counted, (Values{2, 3, 4, 3}));
    runStep(backend, Kernel::SgdStep, attributes,
            {&gradient, &counted, &velocity, &absent, &weight, &newWeight, &newVelocity, &absent});
    EXPECT_EQ(newWeight, weight);
    EXPECT_EQ(newVelocity, velocity);
  });
}

TEST_F(Optimizer, ScalarsOfTheNextStep) {
  struct Case {
    int64_t interval;
    Values before, after;
  };
  const double most = 16777216; // 2^24
  const Case cases[] = {
      {0, {1, 0, 0, 0}, {1, 1, 1, 0}},
      {0, {8, 5, 9, 2}, {8, 5, 9, 0}}, // a fixed scale stays
      {3, {8, 1, 9, 0}, {8, 2, 10, 0}},
      {3, {8, 2, 9, 0}, {16, 0, 10, 0}}, // the third step
      {3, {8, 2, 9, 1}, {4, 0, 9, 0}},
      {3, {1.5, 2, 9, 1}, {1, 0, 9, 0}}, // not below 1
      {3, {0.5, 2, 9, 1}, {0.5, 0, 9, 0}},
      {3, {most, 2, 9, 0}, {most, 0, 10, 0}},         // not above 2^24
      {3, {most - 1, 2, 9, 0}, {most, 0, 10, 0}},     //
      {3, {4 * most, 2, 9, 0}, {4 * most, 0, 10, 0}}, //
  };
  onBackends([&](Backend &backend) {
    for (const Case &each : cases) {
      KernelAttributes attributes;
      attributes.growthInterval = each.interval;
      Values before = each.before, after(4);
      runStep(backend, Kernel::AdvanceOptimizer, attributes, {&before, &after});
      EXPECT_EQ(after, each.after) << "interval " << each.interval << ", scale " << before[0];
    }
  });
}

} // namespace

} // namespace evo::conformance
