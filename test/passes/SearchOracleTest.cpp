//===- SearchOracleTest.cpp - the seed's sizes against CBC ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The records that the compiler makes of the seed's sizes, runs of modules among them, given to the
// integer program solver and to the search. Records that another one beats in everything are left
// out of both, and so are segments, which no flow can say.
//===----------------------------------------------------------------------===//
#include "passes/Search.h"
#include "test/compiler/ScheduleOracle.h"
#include "test/passes/StackFixture.h"

using namespace mlir;

namespace evo::test {
namespace {

bool beats(const schedule::Record &a, const schedule::Record &b) {
  return a.first == b.first && a.last == b.last && a.needs == b.needs && a.layoutIn == b.layoutIn &&
         a.layoutOut == b.layoutOut && a.costNs <= b.costNs &&
         a.transientBytes <= b.transientBytes && a.keptBytes <= b.keptBytes;
}

std::vector<schedule::Record> undominated(const std::vector<schedule::Record> &records) {
  std::vector<schedule::Record> kept;
  for (size_t i = 0; i < records.size(); ++i) {
    bool beaten = false;
    for (size_t j = 0; j < records.size() && !beaten; ++j)
      beaten = j != i && beats(records[j], records[i]) && (j < i || !beats(records[i], records[j]));
    if (!beaten)
      kept.push_back(records[i]);
  }
  return kept;
}

class SearchOracle : public schedule::ScheduleOracle {
protected:
  MLIRContext context{MLIRContext::Threading::DISABLED};

  schedule::Problem problemOf(const std::string &name, int blocks) {
    Result<spec::ModelSpec> spec =
        spec::readModelSpec(std::string(EVO_SPECS_FOLDER) + "/" + name + ".json", {});
    EXPECT_TRUE(spec.ok()) << name;
    spec->blocks = blocks;
    OwningOpRef<ModuleOp> module = importSpecification(*spec, &context);
    ir::StackOp stack = *module->getOps<ir::StackOp>().begin();
    Target target{*cost::builtinProfile("h100"), int64_t{1} << 50, false};
    Result<StackProblem> made = buildStackProblem(stack, target);
    EXPECT_TRUE(made.ok()) << made.status().message();
    schedule::Problem problem = made->problem;
    problem.segments = {};
    problem.records = undominated(problem.records);
    return problem;
  }
};

TEST_F(SearchOracle, SeedSizes) {
  ratio = "1e-5";
  for (const char *name :
       {"train-128-256", "train-512-256", "train-512-384", "extra-train-1024-256",
        "extra-train-1024-384", "extra-train-5120-384", "infer-128-256", "infer-512-256",
        "infer-512-384", "t1044-infer-128-2048"}) {
    schedule::Problem problem = problemOf(name, 4);
    schedule::Bytes least = *schedule::leastBudget(problem);
    schedule::Bytes most = 0; // what all blocks could keep, and the largest frame
    for (const schedule::Record &record : problem.records)
      most = std::max(most, record.transientBytes);
    most *= static_cast<schedule::Bytes>(problem.ops.size()) * problem.blocks;
    for (int share : {1, 6}) { // of what lies between the least and the most
      problem.budgetBytes = least + (most - least) / 64 * share;
      compare(std::string(name) + ", " + std::to_string(share) + "/64", problem,
              schedule::defaultGranule(problem.budgetBytes));
    }
  }
  EXPECT_EQ(infeasible, 0);
}

} // namespace
} // namespace evo::test
