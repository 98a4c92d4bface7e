//===- LaunchQueue.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/LaunchQueue.h"

#include <map>

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
  counts.clear();
}

/// What an error has left open.
void LaunchQueue::abandonRecording() {
  if (std::exchange(recording, false))
    (void)backend.endRecording(nullptr); // the error has been told
}

void LaunchQueue::forget(Pieces &gone) {
  abandonRecording();
  kept -= gone.size;
  gone = {};
}

/// False: there is no room for it.
bool LaunchQueue::count(const Recording &recording) {
  if (!hasRoom(recording.size()))
    return false;
  kept += recording.size();
  pieces->size += recording.size();
  return true;
}

void LaunchQueue::leaveAlone(int slot) {
  pieces->slots[static_cast<size_t>(slot)] = nullptr;
  for (Pieces::Piece &piece : pieces->pieces)
    if (piece.slot == slot)
      piece.slot = -1;
}

/// Whether the piece in progress goes into a recording.
bool LaunchQueue::isRecorded() const {
  if (way == Way::Alone || way == Way::Survey)
    return false;
  if (way == Way::Keep)
    return true;
  int slot = pieces->pieces[position].slot;
  return slot >= 0 && (way == Way::Roll || !pieces->slots[static_cast<size_t>(slot)]);
}

Status LaunchQueue::launch(const KernelCall &call) {
  if (way == Way::Alone)
    return backend.launch(call);
  bool isWritten = isRecorded();
  if (isWritten && !recording) {
    EVO_TRY(backend.beginRecording());
    recording = true;
  }
  if (isWritten || way == Way::Roll)
    if (Status status = backend.launch(call); !status.ok()) {
      abandonRecording();
      return status;
    }
  if (way == Way::Survey)
    form = mixed(form, call);
  return ++calls < kMostOfPiece ? Status::success() : endPiece();
}

Status LaunchQueue::endBlock(int64_t blocks) {
  done = blocks;
  // Kept pieces may hold several blocks; shared ones begin where a block does.
  return way == Way::Alone || way == Way::Keep ? Status::success() : endPiece();
}

Status LaunchQueue::endPiece() {
  if (calls == 0)
    return {};
  if (way == Way::Survey) {
    pieces->pieces.push_back({form, -1, 0});
    counts.push_back(calls);
  }
  if (way == Way::Keep) {
    pieces->pieces.push_back({0, static_cast<int>(pieces->slots.size()), done});
    pieces->slots.push_back(nullptr);
  }
  if (std::exchange(recording, false)) {
    int slot = pieces->pieces[position].slot;
    std::unique_ptr<Recording> &own = pieces->slots[static_cast<size_t>(slot)];
    EVO_ASSIGN(own, backend.endRecording(std::move(own)));
    if (way == Way::Roll)
      EVO_TRY(own->replay());
    else if (!count(*own)) {
      if (way == Way::Keep)
        return Status::error(ErrorCode::OutOfMemory, "expected a program of at most " +
                                                         std::to_string(kMostKept) +
                                                         " launches of the device, got more");
      leaveAlone(slot);
    }
  }
  ++position;
  calls = 0, form = 0;
  return {};
}

Status LaunchQueue::end() {
  EVO_TRY(endPiece());
  if (way == Way::Keep && !pieces->pieces.empty()) {
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
  std::map<std::pair<uint64_t, int64_t>, int> slots; // forms of one number of launches
  for (size_t i = 0; i < pieces->pieces.size(); ++i) {
    auto [found, isNew] = slots.try_emplace({pieces->pieces[i].form, counts[i]}, -1);
    if (isNew && counts[i] <= room) {
      room -= counts[i];
      found->second = static_cast<int>(pieces->slots.size());
      pieces->slots.push_back(nullptr);
    }
    pieces->pieces[i].slot = found->second;
  }
}

} // namespace evo
