//===- ConformanceTest.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Every backend, every kernel, every precision against the float64 reference.
//===----------------------------------------------------------------------===//
#include "test/conformance/Backends.h"
#include "test/conformance/Runner.h"
#include "test/conformance/Selection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <set>

namespace evo::conformance {

namespace {

/// A kernel in a precision, tried on all backends at once: cases and reference are made once for
/// all.
struct Subject {
  plan::Kernel kernel;
  plan::Precision precision;
};

std::string subjectName(const testing::TestParamInfo<Subject> &info) {
  return std::string(plan::kernelInfo(info.param.kernel).name) + "_" +
         std::string(plan::precisionName(info.param.precision));
}

/// This run's data; nothing to say where it is every run's.
std::string howToRepeat() {
  return runSeed() ? "; EVO_CONFORMANCE_SEED=" + std::to_string(runSeed()) + " repeats it" : "";
}

/// Lists of tests tell how many cases each has.
void PrintTo(const Subject &subject, std::ostream *out) {
  int64_t cases = 0;
  for (const KernelCase &testCase : kernelCases())
    cases += testCase.kernel == subject.kernel;
  *out << plan::kernelInfo(subject.kernel).name << ", " << cases << " cases";
}

std::vector<Subject> subjects() {
  std::set<plan::Precision> precisions;
  for (const BackendFactory &factory : conformanceBackends())
    precisions.insert(factory.precisions.begin(), factory.precisions.end());
  std::vector<Subject> all;
  for (const plan::KernelInfo &info : plan::kernelTable())
    for (plan::Precision precision : precisions)
      all.push_back({info.kernel, precision});
  return all;
}

bool excused(const BackendFactory &factory, const Subject &subject) {
  for (const Exclusion &exclusion : factory.exclusions)
    if (exclusion.kernel == subject.kernel && exclusion.precision == subject.precision) {
      std::cout << factory.name << " is excused: " << exclusion.reason << "\n";
      return true;
    }
  return !factory.has(subject.precision);
}

class Conformance : public testing::TestWithParam<Subject> {
protected:
  void SetUp() override {
    for (const BackendFactory &factory : conformanceBackends()) {
      if (excused(factory, GetParam()))
        continue;
      Result<std::unique_ptr<Backend>> backend = factory.create();
      ASSERT_TRUE(backend.ok()) << factory.name << ": " << backend.status().message();
      ASSERT_TRUE((*backend)->supports(GetParam().precision)) << factory.name;
      backends.push_back({factory.name, *std::move(backend), factory.rounds(GetParam().kernel)});
    }
  }
  struct Subjected {
    std::string name;
    std::unique_ptr<Backend> backend;
    bool roundsBetween;
  };
  std::vector<Subjected> backends;
};

TEST_P(Conformance, AgreesWithReference) {
  auto [kernel, precision] = GetParam();
  int failures = 0;
  const Selection selection = Selection::read();
  int64_t number = 0, tried = 0, leftOut = 0;
  for (const KernelCase &testCase : kernelCases()) {
    if (testCase.kernel != kernel || !selection.isInPart(number++))
      continue;
    if (!selection.hasSize(testCase)) {
      ++leftOut;
      continue;
    }
    ++tried;
    Placement placement = place(testCase, precision);
    std::vector<DenseTensor> expected = placement.operands;
    runReference(kernel, testCase.attributes, expected, testCase.dropout);
    for (auto &[name, backend, roundsBetween] : backends) {
      auto after = runCase(*backend, testCase, placement, precision);
      ASSERT_TRUE(after.ok()) << name << ", " << testCase.name << ": " << after.status().message();
      std::string problems = compareCase(testCase, placement, expected, *after, roundsBetween);
      EXPECT_EQ(problems, "") << name << ", " << testCase.name << howToRepeat();
      failures += !problems.empty();
    }
    ASSERT_LT(failures, 5) << "and perhaps more";
  }
  if (leftOut > 0)
    Selection::sayLeftOut(leftOut);
  if (tried == 0)
    GTEST_SKIP() << "no case was tried";
}

INSTANTIATE_TEST_SUITE_P(, Conformance, testing::ValuesIn(subjects()), subjectName);

/// Of outputs that are not of a few elements, which a sum that cancels may leave almost 0: how many
/// there are, and how many are not told from `factor` times them.
struct Unseen {
  int64_t outputs = 0, unseen = 0;
  std::string first;

  void count(const KernelCase &testCase, plan::Precision precision, double factor) {
    Placement placement = place(testCase, precision);
    std::vector<DenseTensor> expected = placement.operands;
    runReference(testCase.kernel, testCase.attributes, expected, testCase.dropout);
    for (size_t i = 0; i < expected.size(); ++i) {
      const std::vector<double> &values = expected[i].data;
      if (!plan::kernelInfo(testCase.kernel).operands[i].isOutput() ||
          !testCase.operands[i].present || values.size() < 8 ||
          std::none_of(values.begin(), values.end(),
                       [](double v) { return v != 0 && std::isfinite(v); }))
        continue;
      ++outputs;
      auto after = scaledOutput(testCase, placement, expected, i, factor);
      if (!compareCase(testCase, placement, expected, after, mayRoundBetween(testCase.kernel))
               .empty())
        continue;
      ++unseen;
      first +=
          first.size() < 2000 ? "\n  output " + std::to_string(i) + " of " + testCase.name : "";
    }
  }
};

/// A suite that takes zeros for results tests nothing.
TEST(ConformanceSuite, TellsResultsFromZerosAndFromNineTenths) {
  using enum plan::Precision;
  for (double factor : {0.0, 0.9})
    for (plan::Precision precision : {Fp32, Tf32, Bf16, Fp16}) {
      // In tf32 all calls of one column go together where their only row of weights is small.
      int64_t mostPerMille = precision == Tf32 && factor > 0 ? 3 : 1;
      Unseen unseen;
      for (const KernelCase &testCase : kernelCases())
        if (Selection::elementsOf(testCase) <= 3000)
          unseen.count(testCase, precision, factor);
      EXPECT_LE(unseen.unseen * 1000, mostPerMille * unseen.outputs)
          << plan::precisionName(precision) << ", " << factor << " times: " << unseen.unseen
          << " of " << unseen.outputs << " outputs" << unseen.first;
    }
}

/// What tensor cores read of a float in tf32: 10 bits behind the first, the others cut off.
double cutOff(double value) {
  return double(std::bit_cast<float>(std::bit_cast<uint32_t>(float(value)) & ~uint32_t{0x1fff}));
}

/// The tolerance of tf32 takes exact products of factors that are cut off.
TEST(ConformanceSuite, TakesFactorsThatTf32CutsOff) {
  using enum plan::Kernel;
  int64_t changed = 0;
  for (const KernelCase &testCase : kernelCases()) {
    bool multiplies = false;
    for (plan::Kernel kernel :
         {Linear, GatedLinear, AttentionLogits, AttentionValues, AttentionLogitsGrad,
          AttentionValuesGrad, OuterProduct, OuterProductMean, OuterProductGrad, BatchMatmul,
          BatchMatmulGrad, WeightGrad})
      multiplies |= testCase.kernel == kernel;
    if (!multiplies || Selection::elementsOf(testCase) > 100000)
      continue;
    Placement placement = place(testCase, plan::Precision::Tf32);
    std::vector<DenseTensor> expected = placement.operands, cut = placement.operands;
    for (DenseTensor &operand : cut)
      std::transform(operand.data.begin(), operand.data.end(), operand.data.begin(), cutOff);
    runReference(testCase.kernel, testCase.attributes, expected);
    runReference(testCase.kernel, testCase.attributes, cut);
    std::vector<std::vector<std::byte>> after =
        scaledOutput(testCase, placement, cut, placement.buffers.size(), 1);
    EXPECT_EQ(compareCase(testCase, placement, expected, after), "") << testCase.name;
    changed += after != scaledOutput(testCase, placement, expected, placement.buffers.size(), 1);
  }
  EXPECT_GT(changed, 1000);
}

/// The tolerance of kernels that round between takes the exact formula with these roundings.
TEST(ConformanceSuite, TakesTermsThatTensorCoresWantRounded) {
  using enum plan::Precision;
  const std::pair<plan::Precision, Rounding> types[] = {
      {Bf16, [](double value) { return rounded(value, plan::DType::BF16); }},
      {Fp16, [](double value) { return rounded(value, plan::DType::F16); }}};
  for (auto [precision, between] : types) {
    int64_t changed = 0;
    for (const KernelCase &testCase : kernelCases()) {
      if (!mayRoundBetween(testCase.kernel) || Selection::elementsOf(testCase) > 30000)
        continue;
      Placement placement = place(testCase, precision);
      std::vector<DenseTensor> expected = placement.operands, terms = placement.operands;
      runReference(testCase.kernel, testCase.attributes, expected);
      runReference(testCase.kernel, testCase.attributes, terms, {}, between);
      std::vector<std::vector<std::byte>> after =
          scaledOutput(testCase, placement, terms, placement.buffers.size(), 1);
      EXPECT_EQ(compareCase(testCase, placement, expected, after, true), "") << testCase.name;
      changed += !compareCase(testCase, placement, expected, after, false).empty();
    }
    EXPECT_GT(changed, 500) << plan::precisionName(precision);
  }
}

TEST(ConformanceSuite, HasCasesForEveryKernel) {
  const std::vector<KernelCase> &cases = kernelCases();
  for (const plan::KernelInfo &info : plan::kernelTable()) {
    bool found = false;
    for (const KernelCase &testCase : cases)
      found |= testCase.kernel == info.kernel;
    EXPECT_TRUE(found) << "kernel '" << info.mnemonic << "' has no case in Cases.cpp";
  }
}

TEST(ConformanceSuite, CasesHaveShapesThatPlansMayHave) {
  for (const KernelCase &testCase : kernelCases()) {
    std::vector<std::optional<std::vector<int64_t>>> shapes;
    for (const OperandCase &operand : testCase.operands)
      shapes.push_back(operand.present ? std::optional(operand.shape) : std::nullopt);
    Status status = plan::checkKernelShapes(testCase.kernel, testCase.attributes, shapes);
    EXPECT_TRUE(status.ok()) << testCase.name << ": " << status.message();
  }
}

} // namespace

} // namespace evo::conformance
