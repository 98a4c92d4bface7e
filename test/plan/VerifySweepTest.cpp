//===- VerifySweepTest.cpp - random mutations of one number -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Takes the JSON of a legal plan, changes one number in it and reads it again. A mutant must be
// refused by the reader or the verifier, or be a legal plan for a reason that this test names: a
// price limit, another place in memory, another parameter of a kernel, another choice of columns.
// Nothing else may pass.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

#include <gtest/gtest.h>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

using Json = nlohmann::ordered_json;

struct Number {
  std::string where; ///< "/procedures/0/buffers/1/offset"
  Json::json_pointer pointer;
};

void collect(const Json &value, const Json::json_pointer &at, std::vector<Number> &numbers) {
  if (value.is_number())
    numbers.push_back({at.to_string(), at});
  if (value.is_object())
    for (auto it = value.begin(); it != value.end(); ++it)
      collect(it.value(), at / it.key(), numbers);
  if (value.is_array())
    for (size_t i = 0; i < value.size(); ++i)
      collect(value[i], at / i, numbers);
}

/// Why a mutant at this place may be legal; empty: it may not.
std::string excuse(const std::string &where) {
  static const std::pair<const char *, const char *> excuses[] = {
      {"/summary/budget_bytes", "a larger budget"},
      {"/model/channels/.*", "what the plan computes, for people"},
      {"/model/sizes/.*", "what the plan computes, for people"},
      {"/procedures/\\d+/buffers/\\d+/offset", "another place in the frame"},
      {"/programs/\\d+/runs/\\d+/calls/\\d+/frame_offset", "another place in the arena"},
      {"/procedures/.*/(eps|scale|inf|heads)", "another parameter of a kernel"},
      {"/procedures/.*/operands/(query|key|value|gate|x)/start/2", "other columns of one product"},
      {"/tensors/[01]/offset", "a stream and its gradient in one slot"},
      {"/programs/\\d+/runs/\\d+/calls/\\d+/procedure", "another order of calls"},
      {"/procedures/1/steps/3/operands/x/buffer", "another operand of the same shape"},
  };
  for (auto [pattern, reason] : excuses)
    if (std::regex_match(where, std::regex(pattern)))
      return reason;
  return {};
}

int64_t mutated(int64_t value, std::mt19937_64 &random) {
  switch (random() % 10) {
  case 0:
    return value + 1;
  case 1:
    return value - 1;
  case 2:
    return value * 2;
  case 3:
    return value / 2;
  case 4:
    return value + 512;
  case 5:
    return value - 512;
  case 6:
    return int64_t{1} << 40;
  case 7:
    return INT64_MAX - static_cast<int64_t>(random() % 600);
  case 8:
    return static_cast<int64_t>(random() % 32);
  default:
    return 0;
  }
}

struct Outcome {
  int tried = 0, byReader = 0, byVerifier = 0;
  std::map<std::string, int> legal; ///< by excuse
};

Outcome sweep(const Plan &plan, int count, uint64_t seed) {
  Outcome outcome;
  Json original = Json::parse(*printPlan(plan));
  std::vector<Number> numbers;
  collect(original, Json::json_pointer(), numbers);
  std::mt19937_64 random(seed);
  while (outcome.tried < count) {
    const Number &number = numbers[random() % numbers.size()];
    Json json = original;
    Json &value = json[number.pointer];
    Json before = value;
    if (value.is_number_float())
      value = value.get<double>() * (random() % 2 ? 1.5 : -1.0);
    else
      value = mutated(value.get<int64_t>(), random);
    if (value == before)
      continue;
    ++outcome.tried;
    std::string what = number.where + ": " + before.dump() + " -> " + value.dump();
    Result<Plan> mutant = parsePlan(json.dump(), "mutant");
    if (!mutant) {
      ++outcome.byReader;
      continue;
    }
    if (auto violation = verifyPlan(*mutant)) {
      EXPECT_FALSE(violation->path.empty()) << what;
      ++outcome.byVerifier;
      continue;
    }
    std::string reason = excuse(number.where);
    EXPECT_FALSE(reason.empty()) << what << " is accepted";
    ++outcome.legal[reason];
  }
  return outcome;
}

TEST(VerifySweep, InferenceMutantsAreRejectedOrLegalForAReason) {
  Outcome outcome = sweep(fixturePlan(), 3000, 20240229);
  int legal = 0;
  for (const auto &[reason, count] : outcome.legal)
    legal += count;
  EXPECT_EQ(outcome.byReader + outcome.byVerifier + legal, outcome.tried);
  EXPECT_GT(outcome.byVerifier, 2000);
  EXPECT_LT(legal, 150);
}

TEST(VerifySweep, TrainingMutantsAreRejectedOrLegalForAReason) {
  Outcome outcome = sweep(trainingPlan(), 1000, 7);
  EXPECT_GT(outcome.byReader + outcome.byVerifier, 900);
}

/// What the plan holds beside numbers: names and words, each exchanged for another of its kind or
/// cut.
TEST(VerifySweep, TextMutantsNeverCrash) {
  std::string text = *printPlan(fixturePlan());
  std::mt19937_64 random(3);
  int accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string mutant = text;
    for (uint64_t edits = 1 + random() % 3; edits > 0; --edits) {
      size_t at = random() % mutant.size();
      if (random() % 2)
        mutant[at] = static_cast<char>(random() % 256);
      else
        mutant.erase(at, 1 + random() % 40);
    }
    Result<Plan> plan = parsePlan(mutant, "mutant");
    accepted += plan && !verifyPlan(*plan);
  }
  EXPECT_LT(accepted, 1500); // blanks, locations and other names for people
}

} // namespace
