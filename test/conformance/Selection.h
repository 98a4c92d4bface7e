//===- Selection.h - what a run takes of the cases --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "test/conformance/Cases.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>

namespace evo::conformance {

/// What to run of each test, where every access is watched and that takes long.
struct Selection {
  int64_t limit = INT64_MAX;   ///< EVO_CONFORMANCE_LIMIT: elements of the largest operand
  int64_t part = 0, parts = 1; ///< EVO_CONFORMANCE_PART: "2/5" is every fifth case from the third

  static Selection read() {
    Selection selection;
    if (const char *text = std::getenv("EVO_CONFORMANCE_LIMIT"))
      selection.limit = std::atoll(text);
    if (const char *text = std::getenv("EVO_CONFORMANCE_PART")) {
      char *end = nullptr;
      selection.part = std::strtoll(text, &end, 10);
      selection.parts = *end == '/' ? std::max<int64_t>(std::atoll(end + 1), 1) : 1;
    }
    return selection;
  }
  /// Of the largest operand.
  static int64_t elementsOf(const KernelCase &testCase) {
    int64_t largest = 0;
    for (const OperandCase &operand : testCase.operands) {
      int64_t count = operand.present ? 1 : 0;
      for (int64_t extent : operand.shape)
        count *= extent;
      largest = std::max(largest, count);
    }
    return largest;
  }
  bool isInPart(int64_t number) const { return number % parts == part; }
  bool hasSize(const KernelCase &testCase) const { return elementsOf(testCase) <= limit; }
  /// In a line that tells of all cases that a test leaves out.
  static void sayLeftOut(int64_t cases) {
    std::cout << "cases left out by EVO_CONFORMANCE_LIMIT: " << cases << "\n";
  }
};

} // namespace evo::conformance
