//===- LaunchQueueTest.cpp --------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/LaunchQueue.h"

#include "test/core/FakeBackend.h"

#include <gtest/gtest.h>

using namespace evo;
using evo::test::FakeBackend;

namespace {

using Way = LaunchQueue::Way;

/// Copies of one vector to another, a block after the other.
struct Program {
  struct Block {
    int64_t launches, length;
  };
  std::vector<Block> blocks;
  plan::KernelAttributes attributes = {};
  size_t shift = 0; ///< floats by which each block's operands lie further than the last one's
  bool stopsEarly = false; ///< before the end
  int64_t iteration = 0;   ///< launches of one; 0: blocks have no loop
  std::vector<float> from = std::vector<float>(64, 1.0f), to = std::vector<float>(64, 0.0f);

  Status run(LaunchQueue &queue, Way way, LaunchQueue::Pieces *pieces) {
    queue.start(way, pieces);
    int64_t done = 0;
    for (const Block &block : blocks) {
      for (int64_t i = 0; i < block.launches; ++i) {
        std::array<TensorRef, 2> operands;
        for (size_t o = 0; o < 2; ++o) {
          operands[o].data = reinterpret_cast<std::byte *>((o ? to.data() : from.data()) +
                                                           static_cast<size_t>(done) * shift);
          operands[o].rank = 1;
          operands[o].shape[0] = block.length;
          operands[o].strides[0] = 1;
        }
        EVO_TRY(
            queue.launch({plan::Kernel::Copy, plan::Precision::Fp32, &attributes, operands, {}}));
        if (iteration && (i + 1) % iteration == 0)
          EVO_TRY(queue.endIteration());
      }
      if (stopsEarly)
        return {};
      EVO_TRY(queue.endBlock(++done));
    }
    return queue.end();
  }
};

TEST(LaunchQueue, KeepsWhatThereIsRoomFor) {
  FakeBackend backend;
  LaunchQueue queue(backend);
  EXPECT_TRUE(queue.hasRoom(16384));
  EXPECT_FALSE(queue.hasRoom(16385));
  LaunchQueue::Pieces pieces;
  EXPECT_FALSE(pieces.areKept() || pieces.areShared());
  Program program{{{1500, 4}, {600, 4}}};
  ASSERT_TRUE(program.run(queue, Way::Keep, &pieces).ok());
  EXPECT_TRUE(pieces.areKept());
  EXPECT_FALSE(pieces.areShared());
  EXPECT_EQ(backend.recordings, (std::vector<size_t>{1024, 1024, 52})); // 2100 - 2 * 1024
  EXPECT_TRUE(backend.launches.empty());
  EXPECT_TRUE(queue.hasRoom(14284)); // 16384 - 2100
  EXPECT_FALSE(queue.hasRoom(14285));
  std::vector<int64_t> done;
  ASSERT_TRUE(queue.replay(pieces, [&](int64_t blocks) { done.push_back(blocks); }).ok());
  EXPECT_EQ(done, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(backend.launches.size(), 2100u);
  EXPECT_EQ(program.to[3], 1.0f);
  EXPECT_EQ(program.to[4], 0.0f);
}

TEST(LaunchQueue, PiecesOfOneFormShareARecording) {
  FakeBackend backend;
  LaunchQueue queue(backend);
  LaunchQueue::Pieces pieces;
  // Forms: 1024 and 476 of length 4, 476 of length 5, 300 of length 4; the last block has the
  // first's.
  Program program{{{1500, 4}, {300, 4}, {1500, 4}, {476, 5}, {1500, 4}}};
  ASSERT_TRUE(program.run(queue, Way::Survey, &pieces).ok());
  EXPECT_FALSE(pieces.areShared()); // not yet
  EXPECT_TRUE(backend.recordings.empty());
  ASSERT_TRUE(program.run(queue, Way::Prepare, &pieces).ok());
  EXPECT_TRUE(pieces.areShared());
  EXPECT_EQ(backend.recordings, (std::vector<size_t>{1024, 476, 300, 476}));
  EXPECT_EQ(backend.tapes, 8); // one a piece
  EXPECT_EQ(backend.replays, 0);
  EXPECT_TRUE(backend.launches.empty());
  EXPECT_TRUE(queue.hasRoom(14108)); // 16384 - 1024 - 476 - 300 - 476
  EXPECT_FALSE(queue.hasRoom(14109));
  for (int run = 1; run <= 2; ++run) {
    ASSERT_TRUE(program.run(queue, Way::Roll, &pieces).ok());
    EXPECT_EQ(backend.recordings.size(), 4u); // no new one
    EXPECT_EQ(backend.tapes, 8);
    // Two pieces of each of three blocks, but for the first that Prepare has written.
    EXPECT_EQ(backend.updates, 6 * run - 2);
    EXPECT_EQ(backend.replays, 8 * run);
    EXPECT_EQ(backend.launches.size(), static_cast<size_t>(5276 * run)); // 3 * 1500 + 300 + 476
  }
}

TEST(LaunchQueue, SharedPiecesEndWhereIterationsDo) {
  struct Case {
    int64_t iteration;
    std::vector<size_t> recordings;
  };
  // Of 1500 launches, in pieces of 64 at least: 3 * 30 = 90, 16 times, and 60; 1200 = 1024 + 176.
  for (const Case &each : {Case{0, {1024, 476}}, Case{300, {300}}, Case{30, {90, 60}},
                           Case{64, {64, 28}}, Case{1200, {1024, 176, 300}}}) {
    FakeBackend backend;
    LaunchQueue queue(backend);
    LaunchQueue::Pieces pieces;
    Program program{{{1500, 4}}};
    program.iteration = each.iteration;
    ASSERT_TRUE(program.run(queue, Way::Survey, &pieces).ok());
    ASSERT_TRUE(program.run(queue, Way::Prepare, &pieces).ok());
    EXPECT_EQ(backend.recordings, each.recordings) << each.iteration;
    ASSERT_TRUE(program.run(queue, Way::Roll, &pieces).ok());
    EXPECT_EQ(backend.launches.size(), 1500u) << each.iteration;
    LaunchQueue::Pieces kept;
    backend.recordings.clear();
    ASSERT_TRUE(program.run(queue, Way::Keep, &kept).ok());
    EXPECT_EQ(backend.recordings, (std::vector<size_t>{1024, 476})) << each.iteration;
  }
}

TEST(LaunchQueue, PiecesBeyondTheTapesAreRecordedEachTime) {
  FakeBackend backend;
  backend.launchesOfCall = 16; // 1024 calls are 16384 launches: one recording, and 64 tapes of 2^20
  LaunchQueue queue(backend);
  LaunchQueue::Pieces pieces;
  Program program{std::vector<Program::Block>(66, {1024, 4})};
  ASSERT_TRUE(program.run(queue, Way::Survey, &pieces).ok());
  ASSERT_TRUE(program.run(queue, Way::Prepare, &pieces).ok());
  EXPECT_EQ(backend.recordings, std::vector<size_t>{1024});
  EXPECT_EQ(backend.tapes, 64);
  for (int run = 1; run <= 2; ++run) {
    ASSERT_TRUE(program.run(queue, Way::Roll, &pieces).ok());
    EXPECT_EQ(backend.recordings, std::vector<size_t>{1024});
    EXPECT_EQ(backend.tapes, 64 + 2 * run);
    EXPECT_EQ(backend.updates, 66 * run - 1); // the first piece was written before
    EXPECT_EQ(backend.replays, 66 * run);
    EXPECT_EQ(backend.launches.size(), static_cast<size_t>(67584 * run));
  }
  queue.forget(pieces);
  EXPECT_TRUE(queue.hasRoom(16384));
  // The tapes have been given up too.
  ASSERT_TRUE(program.run(queue, Way::Survey, &pieces).ok());
  ASSERT_TRUE(program.run(queue, Way::Prepare, &pieces).ok());
  EXPECT_EQ(backend.tapes, 68 + 64);
}

TEST(LaunchQueue, FormsThatFindNoRoomAreLaunchedAlone) {
  FakeBackend backend;
  LaunchQueue queue(backend);
  LaunchQueue::Pieces pieces;
  // Thirty forms.
  Program program;
  for (int64_t length = 1; length <= 30; ++length)
    program.blocks.push_back({1000, length});
  ASSERT_TRUE(program.run(queue, Way::Survey, &pieces).ok());
  ASSERT_TRUE(program.run(queue, Way::Prepare, &pieces).ok());
  EXPECT_EQ(backend.recordings, std::vector<size_t>(16, 1000)); // 16 * 1000 <= 16384
  ASSERT_TRUE(program.run(queue, Way::Roll, &pieces).ok());
  EXPECT_EQ(backend.replays, 16);
  EXPECT_EQ(backend.launches.size(), 30000u);
  EXPECT_EQ(backend.launches.back()[0].shape[0], 30);
}

TEST(LaunchQueue, WhatADeviceLaunchesCountsNotWhatIsCalled) {
  FakeBackend backend;
  backend.launchesOfCall = 16; // 1024 calls are 16384 launches
  LaunchQueue queue(backend);
  LaunchQueue::Pieces pieces;
  Program program{{{1024, 4}, {1, 4}}};
  EXPECT_TRUE(queue.hasRoom(1025));
  Status status = program.run(queue, Way::Keep, &pieces);
  EXPECT_EQ(status.code(), ErrorCode::OutOfMemory);
  EXPECT_EQ(status.message(),
            "expected a program of at most 16384 launches of the device, got more");
  EXPECT_TRUE(backend.recordings.empty()); // the device gets nothing of it
  queue.forget(pieces);
  EXPECT_TRUE(queue.hasRoom(16384));
  // Of the two forms the first fills what there is.
  ASSERT_TRUE(program.run(queue, Way::Survey, &pieces).ok());
  ASSERT_TRUE(program.run(queue, Way::Prepare, &pieces).ok());
  EXPECT_TRUE(pieces.areShared());
  EXPECT_FALSE(queue.hasRoom(1));
  ASSERT_TRUE(program.run(queue, Way::Roll, &pieces).ok());
  EXPECT_EQ(backend.replays, 1);
  EXPECT_EQ(backend.launches.size(), 1025u);
}

TEST(LaunchQueue, FormsTellAlignmentsApart) {
  FakeBackend backend;
  LaunchQueue queue(backend);
  LaunchQueue::Pieces pieces;
  Program program{{{3, 4}, {3, 4}}};
  program.shift = 1; // the second block's operands lie one float further
  ASSERT_TRUE(program.run(queue, Way::Survey, &pieces).ok());
  ASSERT_TRUE(program.run(queue, Way::Prepare, &pieces).ok());
  EXPECT_EQ(backend.recordings, (std::vector<size_t>{3, 3}));
}

TEST(LaunchQueue, WhatFailedIsForgotten) {
  FakeBackend backend;
  LaunchQueue queue(backend);
  LaunchQueue::Pieces pieces;
  Program program{{{1500, 4}}};
  backend.recordingThatFails = 1; // the second piece's
  Status status = program.run(queue, Way::Keep, &pieces);
  EXPECT_EQ(status.code(), ErrorCode::OutOfMemory);
  EXPECT_FALSE(pieces.areKept() || pieces.areShared());
  EXPECT_FALSE(queue.hasRoom(16384));
  queue.forget(pieces);
  EXPECT_TRUE(queue.hasRoom(16384));
  ASSERT_TRUE(program.run(queue, Way::Alone, nullptr).ok());
  EXPECT_EQ(backend.launches.size(), 1500u);
}

TEST(LaunchQueue, AWayThatWasNotEndedLeavesNoOpenRecording) {
  FakeBackend backend;
  LaunchQueue queue(backend);
  LaunchQueue::Pieces pieces;
  Program program{{{2, 4}}};
  program.stopsEarly = true;
  ASSERT_TRUE(program.run(queue, Way::Keep, &pieces).ok());
  EXPECT_TRUE(backend.isRecording());
  program.stopsEarly = false;
  ASSERT_TRUE(program.run(queue, Way::Alone, nullptr).ok());
  EXPECT_FALSE(backend.isRecording());
  EXPECT_EQ(backend.launches.size(), 2u);
}

TEST(LaunchQueue, AnErrorEndsTheRecording) {
  FakeBackend backend;
  LaunchQueue queue(backend);
  LaunchQueue::Pieces pieces;
  Program program{{{3, 4}}};
  ASSERT_TRUE(program.run(queue, Way::Survey, &pieces).ok());
  ASSERT_TRUE(program.run(queue, Way::Prepare, &pieces).ok());
  backend.failAt = 1;
  Status status = program.run(queue, Way::Roll, &pieces);
  EXPECT_EQ(status.message(), "the device is gone");
  EXPECT_FALSE(backend.isRecording());
}

} // namespace
