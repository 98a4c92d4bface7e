//===- LaunchQueue.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/LaunchQueue.h"

#include <unordered_map>
#include <utility>

namespace evo {

namespace {

/// One step of a hash. Where two forms meet in one value, the backend makes a new recording.
uint64_t mixed(uint64_t hash, uint64_t word) {
  hash ^= word + 0x9e3779b97f4a7c15u + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccdu;
}

/// Everything of a call but where its operands lie, and how far from an aligned place.
uint64_t mixed(uint64_t hash, const KernelCall &call) {
  hash = mixed(hash, static_cast<uint64_t>(call.kernel));
  for (const TensorRef &operand : call.operands) {
    // Alignment chooses among a kernel's forms.
    hash = mixed(hash, reinterpret_cast<uintptr_t>(operand.data) % plan::kAlignment);
    hash = mixed(hash, operand ? static_cast<uint64_t>(operand.dtype) + 1 : 0);
    for (size_t d = 0; operand && d < static_cast<size_t>(operand.rank); ++d) {
      hash = mixed(hash, static_cast<uint64_t>(operand.shape[d]));
      hash = mixed(hash, static_cast<uint64_t>(operand.strides[d]));
    }
  }
  return hash;
}

} // namespace

void LaunchQueue::start(Way newWay, Pieces *newPieces) {
  abandonRecording();
  way = newWay;
  pieces = newPieces;
  position = 0, calls = 0, form = 0, done = 0;
}

/// What an error has left open.
void LaunchQueue::abandonRecording() {
  if (std::exchange(recording, false))
    (void)backend.endRecording(); // the error has been told
}

void LaunchQueue::forget(Pieces &gone) {
  abandonRecording();
  kept -= gone.kept;
  taped -= gone.taped;
  gone = {};
}

/// There is no room for a recording: its pieces go alone.
void LaunchQueue::leaveAlone(int slot) {
  for (Pieces::Piece &piece : pieces->pieces)
    if (piece.slot == slot)
      piece.slot = -1;
}

/// Whether the launches of the piece in progress are recorded now.
bool LaunchQueue::isRecorded() const {
  if (way == Way::Alone || way == Way::Survey)
    return false;
  if (way == Way::Keep)
    return true;
  const Pieces::Piece &piece = pieces->pieces[position];
  if (piece.slot < 0)
    return false;
  if (way == Way::Roll)
    return !piece.tape;
  return taped < kMostTaped || !pieces->slots[static_cast<size_t>(piece.slot)].recording;
}

Status LaunchQueue::launch(const KernelCall &call) {
  if (way == Way::Alone)
    return backend.launch(call);
  bool isWritten = isRecorded();
  if (isWritten && !recording) {
    EVO_TRY(backend.beginRecording());
    recording = true;
  }
  bool isAlone = way == Way::Roll && pieces->pieces[position].slot < 0;
  if (isWritten || isAlone)
    if (Status status = backend.launch(call); !status.ok()) {
      abandonRecording();
      return status;
    }
  if (way == Way::Survey)
    form = mixed(form, call);
  return ++calls < kMostOfPiece ? Status::success() : endPiece();
}

Status LaunchQueue::endIteration() {
  bool isShared = way == Way::Survey || way == Way::Prepare || way == Way::Roll;
  return isShared && calls >= kLeastOfPiece ? endPiece() : Status::success();
}

Status LaunchQueue::endBlock(int64_t blocks) {
  done = blocks;
  // Kept pieces may hold several blocks; shared ones begin where a block does.
  return way == Way::Alone || way == Way::Keep ? Status::success() : endPiece();
}

Status LaunchQueue::endPiece() {
  if (calls == 0)
    return {};
  if (way == Way::Survey)
    pieces->pieces.push_back({mixed(form, static_cast<uint64_t>(calls)), calls, -1, 0, nullptr});
  if (way == Way::Keep) {
    pieces->pieces.push_back({0, calls, static_cast<int>(pieces->slots.size()), done, nullptr});
    pieces->slots.emplace_back();
  }
  if (std::exchange(recording, false)) {
    EVO_ASSIGN(std::unique_ptr<Tape> tape, backend.endRecording());
    EVO_TRY(way == Way::Roll ? roll(*tape, false) : keep(std::move(tape)));
  } else if (way == Way::Roll && pieces->pieces[position].tape) {
    EVO_TRY(roll(*pieces->pieces[position].tape, true));
  }
  ++position;
  calls = 0, form = 0;
  return {};
}

/// What has been recorded of the piece in progress: for its recording, where that has nothing yet,
/// and where recordings are shared to the tapes.
Status LaunchQueue::keep(std::unique_ptr<Tape> tape) {
  Pieces::Piece &piece = pieces->pieces[position];
  Pieces::Slot &slot = pieces->slots[static_cast<size_t>(piece.slot)];
  const int64_t size = tape->size();
  if (!slot.recording) {
    if (!hasRoom(size) && way == Way::Keep)
      return Status::error(ErrorCode::OutOfMemory, "expected a program of at most " +
                                                       std::to_string(kMostKept) +
                                                       " launches of the device, got more");
    if (!hasRoom(size)) {
      leaveAlone(piece.slot);
      return {};
    }
    kept += size;
    pieces->kept += size;
  }
  if (way == Way::Keep) { // the device gets it when all is known to have room
    piece.tape = std::move(tape);
    return {};
  }
  const bool isTaped = taped + size <= kMostTaped;
  if (!slot.recording) {
    EVO_ASSIGN(slot.recording, backend.load(*tape, nullptr));
    slot.written = isTaped ? tape.get() : nullptr;
  }
  if (isTaped) {
    piece.tape = std::move(tape);
    taped += size;
    pieces->taped += size;
  }
  return {};
}

/// Launches what is on the tape of the piece in progress.
Status LaunchQueue::roll(const Tape &tape, bool isKept) {
  Pieces::Slot &slot = pieces->slots[static_cast<size_t>(pieces->pieces[position].slot)];
  if (!isKept || slot.written != &tape) {
    slot.written = nullptr;
    EVO_ASSIGN(slot.recording, backend.load(tape, std::move(slot.recording)));
    slot.written = isKept ? &tape : nullptr;
  }
  return slot.recording->replay();
}

Status LaunchQueue::end() {
  EVO_TRY(endPiece());
  if (way == Way::Keep && !pieces->pieces.empty()) {
    for (Pieces::Piece &piece : pieces->pieces) {
      std::unique_ptr<Tape> tape = std::move(piece.tape);
      EVO_ASSIGN(pieces->slots[static_cast<size_t>(piece.slot)].recording,
                 backend.load(*tape, nullptr));
    }
    pieces->pieces.back().done = done; // calls without launches may end the last block
    pieces->state = Pieces::State::Kept;
  }
  if (way == Way::Prepare && !pieces->pieces.empty())
    pieces->state = Pieces::State::Shared;
  if (way == Way::Survey)
    choose();
  return {};
}

/// Recordings for as many forms as there may be room for, in the order of their first pieces.
void LaunchQueue::choose() {
  int64_t room = kMostKept - kept;
  std::unordered_map<uint64_t, int> slots; // of the forms
  for (Pieces::Piece &piece : pieces->pieces) {
    auto [found, isNew] = slots.try_emplace(piece.form, -1);
    if (isNew && piece.calls <= room) {
      room -= piece.calls;
      found->second = static_cast<int>(pieces->slots.size());
      pieces->slots.emplace_back();
    }
    piece.slot = found->second;
  }
}

} // namespace evo
