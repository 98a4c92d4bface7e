//===- LaunchQueue.h - launches in pieces that a device gets at once -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// How a program's launches reach the backend. Alone, one after the other; or recorded in pieces of
// a bounded number, which a device runs with less time between two kernels. Recordings take memory
// of the device, some kilobytes a launch, so a program of very many launches does not keep all of
// its own: pieces of one form (the same kernels with the same shapes, as equal blocks and the
// iterations of a slice loop have) share a recording, into which each is written on its way to the
// device. What is written lies on tapes in the host's memory, some kilobytes a launch too: to
// record the calls again takes the host longer than most kernels take. The queue knows kernel calls
// and where iterations and blocks end, and nothing of plans.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"

#include <memory>
#include <vector>

namespace evo {

class LaunchQueue {
public:
  /// Calls of a piece at most, and of a shared one that ends where an iteration does at least: so
  /// the iterations of a loop are in pieces of one form.
  static constexpr int64_t kMostOfPiece = 1024, kLeastOfPiece = 64;
  /// The device's launches in all recordings that a queue keeps, and on all tapes, at most.
  static constexpr int64_t kMostKept = 16384, kMostTaped = int64_t{1} << 20;

  /// What is known of a program's pieces.
  class Pieces {
  public:
    /// A recording a piece, to be replayed as it is.
    bool areKept() const { return state == State::Kept; }
    /// Shared recordings, to be written anew.
    bool areShared() const { return state == State::Shared; }

  private:
    friend class LaunchQueue;
    enum class State : uint8_t { Unfinished, Kept, Shared };
    struct Piece {
      uint64_t form = 0;          ///< where recordings are shared: of its calls and their number
      int64_t calls = 0;          ///< likewise
      int slot = -1;              ///< its recording; -1: its launches go alone
      int64_t done = 0;           ///< blocks that have ended behind it
      std::unique_ptr<Tape> tape; ///< where recordings are shared; null: it is recorded each time
    };
    struct Slot {
      std::unique_ptr<Recording> recording;
      const Tape *written = nullptr; ///< that the recording has; null: one that is gone
    };
    State state = State::Unfinished;
    std::vector<Piece> pieces;
    std::vector<Slot> slots;
    int64_t kept = 0, taped = 0; ///< of them, the device's launches in recordings and on tapes
  };

  /// What becomes of the launches until `end`.
  enum class Way : uint8_t {
    Alone,   ///< launched
    Keep,    ///< recorded, not launched
    Survey,  ///< counted by form
    Prepare, ///< recorded on tapes, and of the shared recordings the first ones; not launched
    Roll,    ///< written into the shared recordings and launched
  };

  explicit LaunchQueue(Backend &backend) : backend(backend) {}

  /// `pieces` outlives the way; Alone needs none. A way that an error ended need not be ended.
  void start(Way way, Pieces *pieces = nullptr);
  Status launch(const KernelCall &call);
  /// Behind an iteration of a loop.
  Status endIteration();
  /// Behind the launches of a block; blocks that have ended so far.
  Status endBlock(int64_t done);
  /// Shared recordings are chosen behind a survey.
  Status end();

  /// Gives up all recordings.
  void forget(Pieces &pieces);
  /// Whether recordings of so many more of the device's launches may be kept. Of a call there is
  /// one at least; where there turn out to be more than there is room for, Keep ends with
  /// OutOfMemory, and Prepare leaves a form's launches alone.
  bool hasRoom(int64_t launches) const { return kept + launches <= kMostKept; }
  /// The device's launches in all recordings that are kept.
  int64_t keptLaunches() const { return kept; }
  /// Launches what was kept. `behind(done)` follows each piece, with the blocks that have ended.
  template <class Behind> Status replay(Pieces &pieces, const Behind &behind) const {
    for (Pieces::Piece &piece : pieces.pieces) {
      EVO_TRY(pieces.slots[static_cast<size_t>(piece.slot)].recording->replay());
      behind(piece.done);
    }
    return {};
  }

private:
  Status endPiece();
  void abandonRecording();
  Status keep(std::unique_ptr<Tape> tape);
  Status roll(const Tape &tape, bool isKept);
  void leaveAlone(int slot);
  void choose();
  bool isRecorded() const;

  Backend &backend;
  int64_t kept = 0, taped = 0; ///< the device's launches in recordings and on tapes
  Way way = Way::Alone;
  Pieces *pieces = nullptr;
  size_t position = 0; ///< the piece in progress
  int64_t calls = 0;   ///< its calls
  uint64_t form = 0;
  int64_t done = 0;
  bool recording = false;
};

} // namespace evo
