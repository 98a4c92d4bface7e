//===- BufferTable.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/BufferTable.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

namespace evo::memory {

namespace {
constexpr std::string_view kColumns = "id, lower, upper, size";

struct Line {
  size_t number;
  std::string_view text;
};

Status invalid(const Line &line, const std::string &message) {
  return Status::error(ErrorCode::InvalidInput,
                       "line " + std::to_string(line.number) + ": " + message);
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos)
    return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// For a message: not a whole page.
std::string shown(std::string_view text) {
  constexpr size_t kMost = 40;
  return "'" + std::string(text.substr(0, kMost)) + (text.size() > kMost ? "...'" : "'");
}

/// The lines that hold anything.
std::vector<Line> linesOf(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark))
    text.remove_prefix(kByteOrderMark.size());
  std::vector<Line> lines;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r'))
      line.remove_suffix(1);
    if (!trimmed(line).empty())
      lines.push_back({number, line});
  }
  return lines;
}

/// Fields with their quotes and blanks; a comma within quotes separates nothing.
Result<std::vector<std::string>> fieldsOf(const Line &line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (char c : line.text) {
    quoted ^= c == '"';
    if (c == ',' && !quoted)
      fields.emplace_back();
    else
      fields.back() += c;
  }
  if (quoted)
    return invalid(line, "expected a closing quote before the end of the line, got none");
  return fields;
}

struct Columns {
  size_t id, lower, upper, size;
};

Result<size_t> findColumn(const Line &line, const std::vector<std::string> &header,
                          std::string_view name, std::string_view alias) {
  std::optional<size_t> found;
  for (size_t i = 0; i < header.size(); ++i) {
    const std::string_view field = trimmed(header[i]);
    if (field != name && (alias.empty() || field != alias))
      continue;
    if (found)
      return invalid(line, "expected one column " + std::string(name) + ", got two");
    found = i;
  }
  if (!found)
    return invalid(line, "expected the columns " + std::string(kColumns) + ", got no " +
                             std::string(name) + " in " + shown(line.text));
  return *found;
}

Result<Columns> findColumns(const Line &line, const std::vector<std::string> &header) {
  Columns columns{};
  EVO_ASSIGN(columns.id, findColumn(line, header, "id", "buffer"));
  EVO_ASSIGN(columns.lower, findColumn(line, header, "lower", "start"));
  EVO_ASSIGN(columns.upper, findColumn(line, header, "upper", "end"));
  EVO_ASSIGN(columns.size, findColumn(line, header, "size", ""));
  return columns;
}

Result<int64_t> numberOf(const Line &line, std::string_view column, std::string_view field) {
  const std::string_view digits = trimmed(field);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc::result_out_of_range)
    return invalid(line, "expected " + std::string(column) + " below 2^63, got " + shown(digits));
  if (error != std::errc{} || end != digits.data() + digits.size())
    return invalid(line,
                   "expected a whole number as " + std::string(column) + ", got " + shown(digits));
  return value;
}

Result<Lifetime> bufferOf(const Line &line, const std::vector<std::string> &fields,
                          const Columns &columns) {
  Lifetime buffer;
  EVO_ASSIGN(buffer.lower, numberOf(line, "lower", fields[columns.lower]));
  EVO_ASSIGN(buffer.upper, numberOf(line, "upper", fields[columns.upper]));
  EVO_ASSIGN(buffer.size, numberOf(line, "size", fields[columns.size]));
  if (buffer.lower >= buffer.upper)
    return invalid(line, "expected a lifetime [lower, upper) with lower < upper, got [" +
                             std::to_string(buffer.lower) + ", " + std::to_string(buffer.upper) +
                             ")");
  if (buffer.size < 0)
    return invalid(line, "expected a size of at least 0, got " + std::to_string(buffer.size));
  return buffer;
}
} // namespace

Result<BufferTable> readBufferTable(std::string_view text) {
  const std::vector<Line> lines = linesOf(text);
  if (lines.empty())
    return invalid({1, {}}, "expected a header with the columns " + std::string(kColumns) +
                                ", got an empty file");
  BufferTable table;
  EVO_ASSIGN(table.header, fieldsOf(lines[0]));
  EVO_ASSIGN(const Columns columns, findColumns(lines[0], table.header));
  std::map<std::string_view, size_t> lineOfId;
  for (size_t i = 1; i < lines.size(); ++i) {
    const Line &line = lines[i];
    EVO_ASSIGN(std::vector<std::string> fields, fieldsOf(line));
    if (fields.size() != table.header.size())
      return invalid(line, "expected " + std::to_string(table.header.size()) +
                               " fields, as in the header, got " + std::to_string(fields.size()));
    EVO_ASSIGN(const Lifetime buffer, bufferOf(line, fields, columns));
    table.buffers.push_back(buffer);
    table.rows.push_back(std::move(fields));
    const auto [other, isNew] =
        lineOfId.emplace(trimmed(table.rows.back()[columns.id]), line.number);
    if (!isNew)
      return invalid(line, "expected an id of its own, got " + shown(other->first) +
                               ", which line " + std::to_string(other->second) + " has");
  }
  return table;
}

std::string writeBufferTable(const BufferTable &table, std::span<const Bytes> offsets) {
  size_t offsetColumn = 0;
  while (offsetColumn < table.header.size() && trimmed(table.header[offsetColumn]) != "offset")
    ++offsetColumn;
  std::string text;
  auto append = [&](const std::vector<std::string> &fields, const std::string &offset) {
    for (size_t i = 0; i < fields.size(); ++i)
      text.append(i == 0 ? "" : ",").append(i == offsetColumn ? offset : fields[i]);
    if (offsetColumn == fields.size())
      text.append(",").append(offset);
    text.append("\n");
  };
  append(table.header, "offset");
  for (size_t i = 0; i < table.rows.size(); ++i)
    append(table.rows[i], std::to_string(offsets[i]));
  return text;
}

} // namespace evo::memory
