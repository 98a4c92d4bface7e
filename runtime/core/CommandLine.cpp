//===- CommandLine.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/CommandLine.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace evo {

namespace {

Status usage(const std::string &message) { return Status::error(ErrorCode::Usage, message); }

/// The known flag that begins most like `name`: for the error.
std::string closest(std::span<const Flag> flags, std::string_view name) {
  std::string_view best;
  size_t bestLength = 3; // dashes and one letter say nothing
  for (const Flag &flag : flags) {
    auto end = std::mismatch(name.begin(), name.end(), flag.name.begin(), flag.name.end()).first;
    if (auto length = static_cast<size_t>(end - name.begin()); length > bestLength) {
      best = flag.name;
      bestLength = length;
    }
  }
  return best.empty() ? "see --help" : std::string("did you mean ").append(best);
}

bool allDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Digits as a number; nothing beyond `T`.
template <class T> std::optional<T> parseDigits(std::string_view digits) {
  T value = 0;
  if (!allDigits(digits))
    return std::nullopt;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size())
    return std::nullopt;
  return value;
}

struct Unit {
  std::string_view name;
  int shift;
};
constexpr std::array<Unit, 4> kUnits = {{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}}};

} // namespace

Result<CommandLine> CommandLine::parse(std::span<const Flag> flags,
                                       std::span<const std::string> arguments) {
  CommandLine line;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string_view argument = arguments[i];
    if (argument == "--") {
      line.positionals.insert(line.positionals.end(), arguments.begin() + static_cast<long>(i) + 1,
                              arguments.end());
      break;
    }
    if (argument.size() < 2 || argument[0] != '-') {
      line.positionals.emplace_back(argument);
      continue;
    }
    size_t equals = argument.find('=');
    std::string name(argument.substr(0, equals));
    auto flag = std::find_if(flags.begin(), flags.end(),
                             [&](const Flag &known) { return known.name == name; });
    if (flag == flags.end())
      return usage("unknown flag '" + name + "' (" + closest(flags, name) + ")");
    std::vector<std::string> &values = line.values[name];
    if (!values.empty() && !flag->repeatable)
      return usage("expected " + name + " once, got it twice");
    if (equals != std::string_view::npos) {
      if (flag->value == FlagValue::None)
        return usage("expected " + name + " without a value, got '" + std::string(argument) + "'");
      if (equals + 1 == argument.size())
        return usage("expected " + name + "=" + std::string(flag->valueName) + ", got no value");
      values.emplace_back(argument.substr(equals + 1));
    } else if (flag->value == FlagValue::Required) {
      bool missing = i + 1 >= arguments.size() || arguments[i + 1].empty() ||
                     arguments[i + 1].starts_with("--");
      if (missing)
        return usage("expected " + name + "=" + std::string(flag->valueName) + ", got no value");
      values.push_back(arguments[++i]);
    } else {
      values.emplace_back();
    }
  }
  return line;
}

bool CommandLine::has(std::string_view flag) const { return values.find(flag) != values.end(); }

std::optional<std::string> CommandLine::text(std::string_view flag) const {
  auto found = values.find(flag);
  if (found == values.end())
    return std::nullopt;
  return found->second.front();
}

std::string CommandLine::textOr(std::string_view flag, std::string_view otherwise) const {
  return text(flag).value_or(std::string(otherwise));
}

std::vector<std::string> CommandLine::all(std::string_view flag) const {
  auto found = values.find(flag);
  return found == values.end() ? std::vector<std::string>() : found->second;
}

Result<int64_t> CommandLine::integer(std::string_view flag, int64_t least, int64_t most,
                                     int64_t otherwise) const {
  std::optional<std::string> given = text(flag);
  if (!given)
    return otherwise;
  std::optional<int64_t> value = parseInteger(*given);
  if (!value || *value < least || *value > most)
    return usage(std::string(flag) + ": expected a whole number in [" + std::to_string(least) +
                 ", " + std::to_string(most) + "], got '" + *given + "'");
  return *value;
}

Result<uint64_t> CommandLine::seed(std::string_view flag, uint64_t otherwise) const {
  std::optional<std::string> given = text(flag);
  if (!given)
    return otherwise;
  if (std::optional<uint64_t> value = parseDigits<uint64_t>(*given))
    return *value;
  return usage(std::string(flag) + ": expected a whole number in [0, 2^64), got '" + *given + "'");
}

Result<std::optional<std::string>>
CommandLine::choice(std::string_view flag, std::span<const std::string_view> choices) const {
  std::optional<std::string> given = text(flag);
  if (!given || std::find(choices.begin(), choices.end(), *given) != choices.end())
    return given;
  std::string list;
  for (size_t i = 0; i < choices.size(); ++i)
    list += (i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ") + std::string(choices[i]);
  return usage(std::string(flag) + ": expected " + list + ", got '" + *given + "'");
}

std::optional<int64_t> parseInteger(std::string_view text) {
  int64_t value = 0;
  std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (!allDigits(digits))
    return std::nullopt;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc())
    return std::nullopt;
  return value;
}

Result<int64_t> parseBytes(std::string_view text) {
  Status bad = usage("expected bytes or a size in KiB, MiB, GiB or TiB such as 16GiB, got '" +
                     std::string(text) + "'");
  int shift = 0;
  std::string_view number = text;
  for (const Unit &unit : kUnits)
    if (text.ends_with(unit.name)) {
      shift = unit.shift;
      number.remove_suffix(unit.name.size());
    }
  size_t dot = number.find('.');
  std::optional<int64_t> whole = parseDigits<int64_t>(number.substr(0, dot));
  if (!whole)
    return bad;
  int64_t bytes = 0;
  if (__builtin_mul_overflow(*whole, int64_t{1} << shift, &bytes))
    return bad;
  if (dot == std::string_view::npos)
    return bytes;
  // Nine digits behind the point stay exact: 10^9 times 2^40 is below 2^70.
  std::string_view decimals = number.substr(dot + 1);
  std::optional<int64_t> fraction = parseDigits<int64_t>(decimals);
  if (shift == 0 || !fraction || decimals.size() > 9)
    return bad;
  __int128 scale = 1;
  for (size_t i = 0; i < decimals.size(); ++i)
    scale *= 10;
  auto rest = static_cast<int64_t>((static_cast<__int128>(*fraction) << shift) / scale);
  if (__builtin_add_overflow(bytes, rest, &bytes))
    return bad;
  return bytes;
}

std::string flagHelp(std::span<const Flag> flags) {
  std::vector<std::string> spellings;
  size_t width = 0;
  for (const Flag &flag : flags) {
    std::string spelling(flag.name);
    if (flag.value == FlagValue::Required)
      spelling.append(flag.name.starts_with("--") ? "=" : " ").append(flag.valueName);
    else if (flag.value == FlagValue::Optional)
      spelling.append("[=").append(flag.valueName).append("]");
    width = std::max(width, spelling.size());
    spellings.push_back(std::move(spelling));
  }
  std::string text;
  for (size_t i = 0; i < flags.size(); ++i)
    text += "  " + spellings[i] + std::string(width - spellings[i].size() + 2, ' ') +
            std::string(flags[i].help) + "\n";
  return text;
}

} // namespace evo
