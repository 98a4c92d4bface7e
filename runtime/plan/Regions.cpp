//===- Regions.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Regions.h"

#include <algorithm>

namespace evo::plan {

bool Box::intersects(const Box &other) const {
  for (int axis = 0; axis < rank; ++axis)
    if (begin[axis] >= other.end[axis] || other.begin[axis] >= end[axis])
      return false;
  return true;
}

namespace {

/// Appends what is left of `box` without `hole`; they intersect.
template <class Add> void subtract(Box box, const Box &hole, Add add) {
  for (int axis = 0; axis < box.rank; ++axis) {
    if (box.begin[axis] < hole.begin[axis]) {
      Box below = box;
      below.end[axis] = hole.begin[axis];
      add(below);
      box.begin[axis] = hole.begin[axis];
    }
    if (box.end[axis] > hole.end[axis]) {
      Box above = box;
      above.begin[axis] = hole.end[axis];
      add(above);
      box.end[axis] = hole.end[axis];
    }
  }
}

/// Makes `box` the union with `other` where that is a box again.
bool unite(Box &box, const Box &other) {
  int differing = -1;
  for (int axis = 0; axis < box.rank; ++axis) {
    if (box.begin[axis] == other.begin[axis] && box.end[axis] == other.end[axis])
      continue;
    if (differing >= 0)
      return false;
    differing = axis;
  }
  if (differing < 0 || (box.end[differing] != other.begin[differing] &&
                        other.end[differing] != box.begin[differing]))
    return false;
  box.begin[differing] = std::min(box.begin[differing], other.begin[differing]);
  box.end[differing] = std::max(box.end[differing], other.end[differing]);
  return true;
}

} // namespace

Regions::Regions(std::span<const int64_t> shape, int32_t version) {
  all.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), all.end.begin());
  pieces.push_back({all, version});
}

int32_t Regions::otherVersion(const Box &box, int32_t version) const {
  int32_t other = version;
  for (const Piece &piece : pieces)
    if (piece.version != version && piece.box.intersects(box))
      other = other == version ? piece.version : std::max(other, piece.version);
  return other;
}

int32_t Regions::newest(const Box &box) const {
  int32_t version = kUndefined;
  for (const Piece &piece : pieces)
    if (piece.box.intersects(box))
      version = std::max(version, piece.version);
  return version;
}

void Regions::write(const Box &box, int32_t version) {
  std::vector<Piece> kept;
  for (const Piece &piece : pieces) {
    if (!piece.box.intersects(box))
      kept.push_back(piece);
    else
      subtract(piece.box, box, [&](const Box &rest) { kept.push_back({rest, piece.version}); });
  }
  pieces = std::move(kept);
  join({box, version});
}

void Regions::join(Piece added) {
  for (size_t i = 0; i < pieces.size();) {
    if (pieces[i].version == added.version && unite(added.box, pieces[i].box)) {
      pieces[i] = pieces.back();
      pieces.pop_back();
      i = 0; // the larger box may fit to one that the smaller did not fit to
    } else {
      ++i;
    }
  }
  pieces.push_back(added);
}

} // namespace evo::plan
