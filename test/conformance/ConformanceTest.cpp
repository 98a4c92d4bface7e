//===- ConformanceTest.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Every backend, every kernel, every precision against the float64 reference.
//===----------------------------------------------------------------------===//
#include "test/conformance/Backends.h"
#include "test/conformance/Runner.h"

#include <gtest/gtest.h>

namespace evo::conformance {

namespace {

struct Subject {
  BackendFactory backend;
  plan::Kernel kernel;
  plan::Precision precision;
};

void PrintTo(const Subject &subject, std::ostream *out) { *out << subject.backend.name; }

std::vector<Subject> subjects() {
  std::vector<Subject> all;
  for (const BackendFactory &backend : conformanceBackends())
    for (const plan::KernelInfo &info : plan::kernelTable())
      for (plan::Precision precision : backend.precisions)
        all.push_back({backend, info.kernel, precision});
  return all;
}

std::string subjectName(const testing::TestParamInfo<Subject> &info) {
  return info.param.backend.name + "_" + std::string(plan::kernelInfo(info.param.kernel).name) +
         "_" + std::string(plan::precisionName(info.param.precision));
}

class Conformance : public testing::TestWithParam<Subject> {};

TEST_P(Conformance, AgreesWithReference) {
  const Subject &subject = GetParam();
  for (const Exclusion &exclusion : subject.backend.exclusions)
    if (exclusion.kernel == subject.kernel && exclusion.precision == subject.precision)
      GTEST_SKIP() << exclusion.reason;
  Result<std::unique_ptr<Backend>> backend = subject.backend.create();
  ASSERT_TRUE(backend.ok()) << backend.status().message();
  ASSERT_TRUE((*backend)->supports(subject.precision));
  int failures = 0;
  for (const KernelCase &testCase : kernelCases()) {
    if (testCase.kernel != subject.kernel)
      continue;
    Placement placement = place(testCase, subject.precision);
    auto after = runCase(**backend, testCase, placement, subject.precision);
    ASSERT_TRUE(after.ok()) << testCase.name << ": " << after.status().message();
    std::string problems = compareCase(testCase, placement, *after, subject.precision);
    EXPECT_EQ(problems, "") << testCase.name;
    failures += !problems.empty();
    if (failures == 5)
      FAIL() << "and perhaps more";
  }
}

INSTANTIATE_TEST_SUITE_P(, Conformance, testing::ValuesIn(subjects()), subjectName);

TEST(ConformanceSuite, HasCasesForEveryKernel) {
  std::vector<KernelCase> cases = kernelCases();
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
