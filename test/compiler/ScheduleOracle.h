//===- ScheduleOracle.h - the search against CBC ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// An integer program solver with a method of its own on the same problems (ScheduleLp.h), on the
// rounded frames that the dense engine counts: none of its plans is faster, and none that it proves
// possible is missed. Tests are skipped where there is no `cbc`.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/schedule/Solve.h"
#include "test/compiler/ScheduleLp.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

namespace evo::schedule {

/// What the solver says.
struct OracleVerdict {
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

  OracleVerdict ask(const Problem &problem, Bytes granule) const {
    const std::string lp = (folder / "problem.lp").string(), log = (folder / "log").string();
    std::ofstream(lp) << ScheduleLp(problem, granule).text();
    const std::string command =
        "cbc " + lp + " -ratio " + ratio + " -sec 60 -solve -quit > " + log + " 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0);
    std::ifstream file(log);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    OracleVerdict verdict;
    verdict.infeasible = text.find("nfeasible") != std::string::npos &&
                         text.find("Objective value:") == std::string::npos;
    verdict.best = numberBehind(text, "Objective value:");
    verdict.bound = numberBehind(text, "Lower bound:");
    if (text.find("Result - Optimal solution found\n") != std::string::npos)
      verdict.bound = *verdict.best * (1 - std::stod(ratio)); // what it prunes is within the ratio
    EXPECT_TRUE(verdict.infeasible || verdict.best) << text;
    return verdict;
  }

  /// Both on the grid of `granule`; says what the grid loses against exact bytes.
  void compare(const std::string &name, const Problem &problem, Bytes granule) {
    const Result<Solution> dense = solve(problem, {.granule = granule});
    const Result<Solution> exact = solve(problem, {.engine = Engine::Sparse});
    ASSERT_TRUE(dense.ok()) << dense.status().message();
    ASSERT_TRUE(exact.ok()) << exact.status().message();
    const OracleVerdict verdict = ask(problem, granule);
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
  std::string ratio = "1e-3"; ///< of the solver's best plan and its bound, where it may stop
  int feasible = 0, infeasible = 0;
};

} // namespace evo::schedule
