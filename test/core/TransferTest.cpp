//===- TransferTest.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Transfer.h"
#include "runtime/core/RandomTensors.h"
#include "runtime/core/TensorStream.h"
#include "test/core/CoreTest.h"
#include "test/core/FakeBackend.h"

#include <cmath>
#include <limits>

namespace evo {
namespace {

using namespace evo::test;

TEST(Upload, ThreadsDoNotChangeTheResult) {
  FakeBackend backend;
  std::vector<int64_t> shape = {3, kPieceElements / 2 + 7};
  auto upload = [&](int threads) {
    auto memory = backend.allocate(3 * shape[1] * 4);
    EXPECT_OK(uploadElements(backend, (*memory)->data(), plan::DType::F32, shape, "m",
                             randomReader(3, "m", {}, plan::DType::F32), {threads, false}));
    const auto *values = reinterpret_cast<const float *>((*memory)->data());
    return std::vector<float>(values, values + 3 * shape[1]);
  };
  std::vector<float> one = upload(1), five = upload(5);
  EXPECT_EQ(one, five);
  std::vector<double> expected(4);
  randomNormals(3, nameHash("m"), kPieceElements - 2, expected);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(one[static_cast<size_t>(kPieceElements) - 2 + i], static_cast<float>(expected[i]));
}

TEST(KeptElements, AreReadOnceWhereThereIsRoom) {
  int64_t asked = 0;
  ElementReader counting = [&](int64_t first, int64_t count, std::byte *out) {
    asked += count;
    for (int64_t i = 0; i < count; ++i)
      reinterpret_cast<float *>(out)[i] = static_cast<float>(first + i);
    return Status::success();
  };
  KeptElements kept(40); // ten floats
  auto third = [&](const char *key, int64_t count) {
    auto reader = kept.reader(key, counting, plan::DType::F32, count, 1);
    float value = -1;
    EXPECT_OK((*reader)(2, 1, reinterpret_cast<std::byte *>(&value)));
    EXPECT_EQ(value, 2.0f);
    return asked;
  };
  const char *m = "m", *z = "z", *y = "y";
  EXPECT_EQ(third(m, 7), 7); // kept: 28 bytes
  EXPECT_EQ(third(m, 7), 7);
  EXPECT_EQ(third(z, 4), 8); // 12 bytes are left, for three: the reader itself, asked for one
  EXPECT_EQ(third(z, 4), 9);
  EXPECT_EQ(third(y, 3), 12);
  EXPECT_EQ(third(y, 3), 12);
  EXPECT_EQ(third(m, 7), 12); // where it was

  ElementReader failing = [](int64_t, int64_t, std::byte *) {
    return Status::error(ErrorCode::InvalidInput, "no such element");
  };
  KeptElements others(40);
  Result<ElementReader> none = others.reader(m, failing, plan::DType::F32, 7, 1);
  ASSERT_FALSE(none.ok());
  EXPECT_MESSAGE(none.status(), "no such element");
  asked = 0;
  ASSERT_TRUE(others.reader(m, counting, plan::DType::F32, 10, 1).ok());
  EXPECT_EQ(asked, 10); // kept: what failed took no room
}

TEST(Upload, NamesTheFirstValueThatIsNotFinite) {
  FakeBackend backend;
  std::vector<double> values(60, 1.0);
  values[47] = -1e39; // finite until it is stored as float
  values[50] = std::numeric_limits<double>::quiet_NaN();
  HostTensor tensor = hostTensor<double>("z", HostType::F64, {3, 4, 5}, values);
  auto memory = backend.allocate(240);
  auto upload = [&](bool check) {
    return uploadElements(backend, (*memory)->data(), plan::DType::F32, tensor.shape, "z",
                          convertingReader(tensor, plan::DType::F32), {2, check});
  };
  EXPECT_OK(upload(false));
  // 47 = 2 * 20 + 1 * 5 + 2
  EXPECT_MESSAGE(upload(true), "tensor 'z': expected finite values in f32, got -inf at index [2, "
                               "1, 2]");
}

TEST(Upload, TheFirstIsTheFirstOnEveryThreadCount) {
  FakeBackend backend;
  std::vector<float> values(200000, 1.0f);
  values[199999] = NAN;
  values[60000] = INFINITY;
  HostTensor tensor = hostTensor<float>("m", HostType::F32, {200000}, values);
  auto memory = backend.allocate(800000);
  for (int threads : {1, 2, 7})
    EXPECT_MESSAGE(uploadElements(backend, (*memory)->data(), plan::DType::F32, tensor.shape, "m",
                                  convertingReader(tensor, plan::DType::F32), {threads, true}),
                   "tensor 'm': expected finite values in f32, got inf at index [60000]");
}

TEST(Download, WidensNarrowTypes) {
  FakeBackend backend;
  std::vector<uint16_t> brain = {0x3f80, 0xc000, 0x3e80};
  TensorToWrite tensor =
      downloadedTensor(backend, reinterpret_cast<const std::byte *>(brain.data()),
                       plan::DType::BF16, std::vector<int64_t>{3}, "z");
  EXPECT_EQ(tensor.dtype, HostType::F32);
  std::vector<float> read(2);
  EXPECT_OK(tensor.read(1, 2, reinterpret_cast<std::byte *>(read.data())));
  EXPECT_EQ(read, (std::vector<float>{-2.0f, 0.25f}));
  std::vector<double> wide = {1.5};
  EXPECT_EQ(downloadedTensor(backend, reinterpret_cast<const std::byte *>(wide.data()),
                             plan::DType::F64, std::vector<int64_t>{1}, "z")
                .dtype,
            HostType::F64);
}

} // namespace
} // namespace evo
