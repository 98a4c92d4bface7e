//===- CommandLine.h - strict flags -----------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// `--flag=value` and `--flag value`; what is not known, twice there or ill-formed is an error of
// code Usage (exit 2). Behind `--` everything is positional.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Status.h"

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace evo {

enum class FlagValue : uint8_t {
  None,     ///< --quiet
  Required, ///< --json=FILE, --json FILE
  Optional, ///< --sweep, --sweep=N: a value only behind '='
};

struct Flag {
  std::string_view name; ///< with its dashes: "--json", "-o"
  FlagValue value = FlagValue::None;
  std::string_view valueName; ///< "FILE": for the help
  std::string_view help;
  bool repeatable = false; ///< may be given more than once
};

class CommandLine {
public:
  /// `arguments` without the program's name.
  static Result<CommandLine> parse(std::span<const Flag> flags,
                                   std::span<const std::string> arguments);

  bool has(std::string_view flag) const;
  /// The value of a flag that is given at most once; empty where it was given without one.
  std::optional<std::string> text(std::string_view flag) const;
  std::string textOr(std::string_view flag, std::string_view otherwise) const;
  /// All values, in their order.
  std::vector<std::string> all(std::string_view flag) const;
  /// A whole number in [least, most]; `otherwise` where the flag is absent.
  Result<int64_t> integer(std::string_view flag, int64_t least, int64_t most,
                          int64_t otherwise) const;
  Result<uint64_t> seed(std::string_view flag, uint64_t otherwise) const;
  /// One of `choices`; nothing where the flag is absent.
  Result<std::optional<std::string>> choice(std::string_view flag,
                                            std::span<const std::string_view> choices) const;
  const std::vector<std::string> &positional() const { return positionals; }

private:
  std::map<std::string, std::vector<std::string>, std::less<>> values;
  std::vector<std::string> positionals;
};

/// Decimal digits with an optional '-', nothing else.
std::optional<int64_t> parseInteger(std::string_view text);
/// "4096", "16GiB", "1.5GiB" (rounded down); units KiB, MiB, GiB, TiB.
Result<int64_t> parseBytes(std::string_view text);

/// One line a flag, aligned.
std::string flagHelp(std::span<const Flag> flags);

} // namespace evo
