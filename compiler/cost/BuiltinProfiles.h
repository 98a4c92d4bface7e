//===- BuiltinProfiles.h - the profiles compiled in -------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include <span>
#include <string_view>

namespace evo::cost {

/// A file of examples/profiles, as it was when the program was built.
struct BuiltinProfileText {
  std::string_view name; ///< without suffix
  std::string_view text;
};
/// The default first.
std::span<const BuiltinProfileText> builtinProfileTexts();

} // namespace evo::cost
