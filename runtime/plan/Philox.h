//===- Philox.h - a counter-based random generator --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
// (2011): ten rounds of multiplication and exclusive or make four 32-bit numbers of a counter and a
// key, so any part of a random tensor can be computed alone. Random tensors and the masks of
// dropout come from here.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/HostDevice.h"

#include <cstdint>

namespace evo::plan {

/// A counter, or what is made of it. A plain struct, and inlined wherever it is used: kernels are
/// compiled for several instruction sets and may share no function.
struct PhiloxWords {
  uint32_t word[4];
};

[[gnu::always_inline]] EVO_HOST_DEVICE constexpr PhiloxWords
philox4x32(PhiloxWords counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    uint64_t first = uint64_t{0xD2511F53} * counter.word[0];
    uint64_t second = uint64_t{0xCD9E8D57} * counter.word[2];
    counter = {{static_cast<uint32_t>(second >> 32) ^ counter.word[1] ^ key0,
                static_cast<uint32_t>(second),
                static_cast<uint32_t>(first >> 32) ^ counter.word[3] ^ key1,
                static_cast<uint32_t>(first)}};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return counter;
}

} // namespace evo::plan
