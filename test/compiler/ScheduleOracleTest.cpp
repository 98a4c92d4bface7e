//===- ScheduleOracleTest.cpp - the search against CBC ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// An integer program solver with a method of its own on the same problems (ScheduleLp.h), on the
// rounded frames that the dense engine counts: none of its plans is faster, and none that it proves
// possible is missed. Skipped where there is no `cbc`.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Solve.h"
#include "test/compiler/ScheduleInstances.h"
#include "test/compiler/ScheduleLp.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

using namespace evo;
using namespace evo::schedule;

namespace {

struct Verdict {
  bool infeasible = false;
  std::optional<double> best;  ///< of the plans found
  std::optional<double> bound; ///< no plan is faster
};

class ScheduleOracle : public testing::Test {
protected:
  void SetUp() override {
    if (std::system("command -v cbc > /dev/null") != 0)
      GTEST_SKIP() << "expected cbc, got none; tools/setup.sh installs coinor-cbc";
    std::string pattern = (std::filesystem::temp_directory_path() / "evo-lp-XXXXXX").string();
    folder = ::mkdtemp(pattern.data());
  }
  void TearDown() override {
    if (!folder.empty())
      std::filesystem::remove_all(folder);
  }

  static std::optional<double> numberBehind(const std::string &text, const std::string &what) {
    size_t at = text.rfind(what);
    return at == std::string::npos ? std::nullopt
                                   : std::optional(std::strtod(&text[at + what.size()], nullptr));
  }

  Verdict ask(const Problem &problem, Bytes granule) const {
    const std::string lp = (folder / "problem.lp").string(), log = (folder / "log").string();
    std::ofstream(lp) << ScheduleLp(problem, granule).text();
    const std::string command =
        "cbc " + lp + " -ratio 1e-3 -sec 60 -solve -quit > " + log + " 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0);
    std::ifstream file(log);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    Verdict verdict;
    verdict.infeasible = text.find("nfeasible") != std::string::npos &&
                         text.find("Objective value:") == std::string::npos;
    verdict.best = numberBehind(text, "Objective value:");
    verdict.bound = numberBehind(text, "Lower bound:");
    if (text.find("Result - Optimal solution found\n") != std::string::npos)
      verdict.bound = verdict.best;
    EXPECT_TRUE(verdict.infeasible || verdict.best) << text;
    return verdict;
  }

  /// Both on the grid of `granule`; says what the grid loses against exact bytes.
  void compare(const std::string &name, const Problem &problem, Bytes granule) {
    const Result<Solution> dense = solve(problem, {.granule = granule});
    const Result<Solution> exact = solve(problem, {.engine = Engine::Sparse});
    ASSERT_TRUE(dense.ok()) << dense.status().message();
    ASSERT_TRUE(exact.ok()) << exact.status().message();
    const Verdict verdict = ask(problem, granule);
    ASSERT_EQ(dense->feasible, !verdict.infeasible) << name;
    ++(dense->feasible ? feasible : infeasible);
    if (!dense->feasible) {
      std::printf("%-32s infeasible on both, least %lld\n", name.c_str(),
                  static_cast<long long>(dense->leastBytes));
      return;
    }
    ASSERT_TRUE(verdict.best && verdict.bound) << name;
    // Times are whole nanoseconds: half of one is the solver's arithmetic.
    const auto ns = static_cast<double>(dense->costNs);
    EXPECT_LE(ns, *verdict.best + 0.5) << name;
    EXPECT_GE(ns, *verdict.bound - 0.5) << name;
    std::printf("%-32s search %.0f, oracle %.0f, its bound %.0f; grid loses %.4f %%\n",
                name.c_str(), ns, *verdict.best, *verdict.bound,
                100 * (ns / static_cast<double>(exact->costNs) - 1));
  }

  std::filesystem::path folder;
  int feasible = 0, infeasible = 0;
};

TEST_F(ScheduleOracle, RandomChains) {
  RandomProblems random(20260206);
  for (int i = 0; i < 40; ++i) {
    Shape shape;
    shape.ops = 4 + static_cast<int>(random.below(4));
    shape.choices = 3 + static_cast<int>(random.below(3));
    shape.blocks = 2 + static_cast<int>(random.below(7));
    shape.runs = static_cast<int>(random.below(4));
    shape.layouts = 1 + static_cast<int>(random.below(2));
    Problem problem = random.next(shape);
    problem.budgetBytes = 20 + random.below(25 * shape.blocks);
    // Frames of 1 byte are exact; others are rounded.
    compare("random " + std::to_string(i), problem, 1 + random.below(3));
  }
  EXPECT_GE(feasible, 20);
  EXPECT_GE(infeasible, 3);
}

TEST_F(ScheduleOracle, EvoformerChains) {
  constexpr Bytes kGiB = 1024 * kMiB, kOdd = 3 * 64 * 1024 + 512;
  for (auto [blocks, gib, odd] : std::initializer_list<std::tuple<int, Bytes, Bytes>>{
           {8, 5, kOdd}, {8, 12, 0}, {48, 2, kOdd}, {48, 24, kOdd}, {48, 60, kOdd}, {48, 60, 0}}) {
    const Problem problem = evoformerProblem(gib * kGiB, odd, /*segments=*/false, blocks);
    compare(std::to_string(blocks) + " blocks, " + std::to_string(gib) + " GiB" +
                (odd ? "" : ", divisor"),
            problem, odd ? defaultGranule(problem.budgetBytes) : 12 * kMiB);
  }
  EXPECT_GE(feasible, 4);
  EXPECT_GE(infeasible, 1);
}

} // namespace
