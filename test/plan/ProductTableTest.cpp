//===- ProductTableTest.cpp - ways of products ------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/ProductJson.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

#include <gtest/gtest.h>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

constexpr ProductWay kTiles = {66, 20, 0, 1, 0, 0, 3, 1, 2}, kSplit = {66, 21, 8, 4, 2, 1, 0, 0, 0},
                     kOther = {21, 15, 12, 1, 0, 0, 0, -1, 0};
constexpr ProductClass kPlain = {DType::BF16, DType::F32, false, true, false, false, false, true};
constexpr ProductClass kRelu = {DType::BF16, DType::BF16, false, true, false, true, true, false};
constexpr ProductClass kTf32 = {DType::F32, DType::F32, true, false, true, false, false, false};
constexpr ProductClass kFull = {DType::F32, DType::F32, false, false, true, false, false, false};

ProductTable table() {
  return {"cuBLASLt 13.0.2",
          {kTiles, kSplit, kOther},
          {{kPlain, {{{1024, 128, 256, 1}, 1}, {{64, 128, 256, 1}, -1}, {{64, 128, 256, 16}, 0}}},
           {kRelu, {{{512, 128, 128, 1}, -1}}},
           {kTf32, {{{8, 8, 8, 1}, 2}, {{16, 8, 8, 1}, 1}}},
           {kFull, {{{8, 8, 8, 1}, 2}}}}};
}

TEST(ProductTable, TheNearestShapeOfTheClassDecides) {
  const ProductTable products = table();
  auto way = [&](const ProductClass &of, ProductShape shape) {
    return nearestWay(products, of, shape);
  };
  EXPECT_EQ(*way(kPlain, {1024, 128, 256, 1}), kSplit);
  EXPECT_EQ(way(kPlain, {64, 128, 256, 1}), nullptr); // the library's first is as quick
  // log2 512 / 1024 = 1 against log2 512 / 64 = 3.
  EXPECT_EQ(*way(kPlain, {512, 128, 256, 1}), kSplit);
  // 250 is 2.03 from 1024 and 1.97 from 64; 260 is 1.98 and 2.02.
  EXPECT_EQ(way(kPlain, {250, 128, 256, 1}), nullptr);
  EXPECT_EQ(*way(kPlain, {260, 128, 256, 1}), kSplit);
  // All extents count alike: 2 in n and 1 in k to each with one batch, 3 batches are log2 3 = 1.58
  // from 1 and 2.42 from 16.
  EXPECT_EQ(way(kPlain, {64, 512, 128, 3}), nullptr);
  EXPECT_EQ(*way(kPlain, {64, 512, 128, 5}), kTiles); // 2.32 from 1, 1.68 from 16
  // 256 is 2 from both: the first of them in the table.
  EXPECT_EQ(*way(kPlain, {256, 128, 256, 1}), kSplit);
  // Of another class nothing is known, whatever it has in common.
  ProductClass addend = kPlain;
  addend.addend = false;
  EXPECT_EQ(way(addend, {1024, 128, 256, 1}), nullptr);
  EXPECT_EQ(nearestWay({}, kPlain, {1, 1, 1, 1}), nullptr);
}

TEST(ProductTable, APlanHasTheClassesOfItsTypeThatDifferFromTheFirst) {
  ProductTable bf16 = productsOf(table(), Precision::Bf16);
  // All of kPlain, also where the first is taken; nothing of kRelu, which always takes it.
  EXPECT_EQ(bf16,
            (ProductTable{
                "cuBLASLt 13.0.2",
                {kSplit, kTiles},
                {{kPlain,
                  {{{1024, 128, 256, 1}, 0}, {{64, 128, 256, 1}, -1}, {{64, 128, 256, 16}, 1}}}}}));
  EXPECT_EQ(productsOf(table(), Precision::Tf32),
            (ProductTable{"cuBLASLt 13.0.2",
                          {kOther, kSplit},
                          {{kTf32, {{{8, 8, 8, 1}, 0}, {{16, 8, 8, 1}, 1}}}}}));
  EXPECT_EQ(productsOf(table(), Precision::Fp32),
            (ProductTable{"cuBLASLt 13.0.2", {kOther}, {{kFull, {{{8, 8, 8, 1}, 0}}}}}));
  EXPECT_EQ(productsOf(table(), Precision::Fp16), ProductTable());
}

TEST(ProductTable, IsOfOneVersionOfTheLibrary) {
  EXPECT_EQ(whyNotFollowed(table(), "cuBLASLt 13.0.2"), "");
  EXPECT_EQ(whyNotFollowed({}, "cuBLASLt 13.0.2"), "");
  EXPECT_EQ(whyNotFollowed(table(), "cuBLASLt 13.1.0"),
            "products as cuBLASLt 13.1.0 proposes: the plan's table is of cuBLASLt 13.0.2");
}

TEST(ProductTable, IsReadBackAsItWasPrinted) {
  EXPECT_EQ(printProducts(productsOf(table(), Precision::Tf32)),
            "{\"library\":\"cuBLASLt 13.0.2\",\"ways\":[[21,15,12,1,0,0,0,-1,0],[66,21,8,4,2,1,0,0,"
            "0]],\"series\":[{\"input\":\"f32\",\"output\":\"f32\",\"multiplied\":\"tf32\","
            "\"transposes\":\"nt\",\"shapes\":[[8,8,8,1,1],[16,8,8,1,2]]}]}");
  Result<ProductTable> read = parseProducts(printProducts(table()), "products");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(*read, table());

  Plan plan = fixturePlan();
  Result<std::string> without = printPlan(plan);
  EXPECT_EQ(without->find("products"), std::string::npos);
  plan.products = table();
  EXPECT_EQ(verifyPlan(plan), std::nullopt);
  Result<std::string> text = printPlan(plan);
  ASSERT_TRUE(text.ok());
  EXPECT_NE(
      text->find("{\"input\":\"bf16\",\"output\":\"bf16\",\"transposes\":\"tn\",\"epilogue\":["
                 "\"bias\",\"relu\"],\"shapes\":[[512,128,128,1,0]]}"),
      std::string::npos);
  Result<Plan> again = parsePlan(*text, "p.json");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->products, table());
  EXPECT_EQ(*printPlan(*again), *text);
}

TEST(ProductTable, ErrorsSayWhereExpectedAndGot) {
  const std::string series =
      R"("series":[{"input":"f32","output":"f32","transposes":"nn","shapes":)";
  const std::string ways = R"({"library":"l 1","ways":[[1,2,3,4,5,6,7,8,9]],)";
  for (const auto &[text, message] : std::initializer_list<std::pair<std::string, std::string>>{
           {"[]", "products: expected an object, got an array of 0"},
           {R"({"library":"","ways":[],"series":[]})",
            "products.library: expected the library and its version, got string \"\""},
           {R"({"library":"l 1","ways":[],"series":[]})",
            "products.series: expected at least one class of products, got an array of 0"},
           {R"({"library":"l 1","ways":[[1,2]],"series":[]})",
            "products.ways[0]: expected the 9 numbers of a way, got an array of 2"},
           {R"({"library":"l 1","ways":[[1,2,3,4,5,6,7,8,-2]],"series":[]})",
            "products.ways[0][8]: expected an integer of at least -1, got -2"},
           {ways + series + "[[8,8,8,1]]}]}",
            "products.series[0].shapes[0]: expected [m, n, k, batches, way], got an array of 4"},
           {ways + series + "[[8,8,8,1,1],[8,0,8,1,1]]}]}",
            "products.series[0].shapes[1][1]: expected an integer of at least 1, got 0"},
           {ways + series + "[[8,8,8,1,2]]}]}",
            "products.series[0].shapes[0][4]: expected an integer of at most 1, got 2"},
           {ways + R"("series":[{"input":"f8"}]})",
            "products.series[0].input: expected one of 'f64', 'f32', 'f16', 'bf16', got string "
            "\"f8\""}}) {
    Result<ProductTable> read = parseProducts(text, "products");
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.status().message(), message);
  }
}

TEST(ProductTable, ThePlansTableIsVerified) {
  auto expect = [](void (*breakIt)(ProductTable &), const std::string &path,
                   const std::string &message) {
    Plan plan = fixturePlan();
    plan.products = table();
    breakIt(plan.products);
    auto violation = verifyPlan(plan);
    ASSERT_TRUE(violation.has_value()) << path;
    EXPECT_EQ(violation->invariant, 0);
    EXPECT_EQ(violation->path, path);
    EXPECT_NE(violation->message.find(message), std::string::npos) << violation->message;
  };
  expect([](ProductTable &t) { t.library.clear(); }, "products.library",
         "expected a library, got ''");
  expect([](ProductTable &t) { t.series.clear(); }, "products.library",
         "expected none without series, got 'cuBLASLt 13.0.2'");
  expect([](ProductTable &t) { t.series[1].products = kPlain; }, "products.series[1]",
         "expected a class of its own, got one again");
  expect([](ProductTable &t) { t.series[0].products.tf32 = true; }, "products.series[0].multiplied",
         "expected tf32 with an input of f32, got bf16");
  expect([](ProductTable &t) { t.series[0].measured[2].shape.k = 0; },
         "products.series[0].shapes[2]", "expected extents of at least 1, got 64, 128, 0 and 16");
  expect([](ProductTable &t) { t.series[2].measured[0].way = 3; }, "products.series[2].shapes[0]",
         "expected a way from 0 to 3, got 4");
  expect([](ProductTable &t) { t.series[2].measured[0].way = -2; }, "products.series[2].shapes[0]",
         "expected a way from 0 to 3, got -1");
  expect([](ProductTable &t) { t.series[0].measured.resize(70000); }, "products",
         "expected at most 65536 shapes and ways, got 70004 and 3");
}

} // namespace
