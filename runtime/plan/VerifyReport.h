//===- VerifyReport.h - paths and verdicts of the verifier ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Verify.h"

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace evo::plan {

using Verdict = std::optional<Violation>;

/// Strings and integers, one behind the other.
inline void appendText(std::string &text, std::string_view part) { text.append(part); }
inline void appendText(std::string &text, std::integral auto number) {
  text.append(std::to_string(number));
}
inline void appendText(std::string &text, std::span<const int64_t> numbers) {
  text.append("[");
  for (size_t i = 0; i < numbers.size(); ++i)
    text.append(i ? ", " : "").append(std::to_string(numbers[i]));
  text.append("]");
}
template <class... Parts> std::string makeText(const Parts &...parts) {
  std::string text;
  (appendText(text, parts), ...);
  return text;
}

/// A place in the plan, written out only when it is reported. A path must not outlive its parent.
class Path {
public:
  Path() = default;
  Path at(std::string_view field) const { return Path(this, field, -1); }
  Path at(std::string_view field, size_t index) const {
    return Path(this, field, static_cast<int64_t>(index));
  }
  std::string text() const {
    if (!parent)
      return {};
    std::string before = parent->text();
    before.append(before.empty() ? "" : ".").append(field);
    if (index >= 0)
      before.append("[").append(std::to_string(index)).append("]");
    return before;
  }

private:
  Path(const Path *parent, std::string_view field, int64_t index)
      : parent(parent), field(field), index(index) {}
  const Path *parent = nullptr;
  std::string_view field;
  int64_t index = -1;
};

/// "invariant 9 (..): expected <expected>, got <got>" at `path`.
Violation violates(int invariant, const Path &path, std::string_view expected,
                   std::string_view got);

} // namespace evo::plan

/// Returns the violation of a Verdict expression to the caller.
#define EVO_VERIFY(expression)                                                                     \
  do {                                                                                             \
    if (::evo::plan::Verdict evoVerdict = (expression))                                            \
      return evoVerdict;                                                                           \
  } while (false)
