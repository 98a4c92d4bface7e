//===- PackWay.cpp - the packer alone ---------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "tools/evo-opt/PackWay.h"

#include "compiler/memory/BufferTable.h"
#include "runtime/core/FileIo.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace evo {
namespace {

constexpr std::string_view kPackFlags[] = {"--pack", "--capacity", "-o", "--json", "--quiet"};

Status usage(const std::string &message) { return Status::error(ErrorCode::Usage, message); }

/// The capacity, if there is one.
Result<std::optional<int64_t>> readPackLine(const CommandLine &line, std::span<const Flag> flags) {
  if (!line.positional().empty())
    return usage("--pack: expected one file, got '" + line.positional()[0] + "' beside it");
  for (const Flag &flag : flags)
    if (line.has(flag.name) && std::ranges::count(kPackFlags, flag.name) == 0)
      return usage("--pack: expected --capacity, -o, --json and --quiet at most beside it, got " +
                   std::string(flag.name));
  std::optional<std::string> text = line.text("--capacity");
  if (!text)
    return std::optional<int64_t>();
  Result<int64_t> bytes = parseBytes(*text);
  if (!bytes)
    return usage("--capacity: " + bytes.status().message());
  return std::optional<int64_t>(*bytes);
}

Result<memory::BufferTable> readTable(const std::string &path) {
  EVO_ASSIGN(auto file, MappedFile::open(path));
  const std::span<const std::byte> bytes = file->bytes();
  Result<memory::BufferTable> table =
      memory::readBufferTable({reinterpret_cast<const char *>(bytes.data()), bytes.size()});
  if (!table)
    return table.status().withContext(path);
  return table;
}

std::string row(const char *name, const std::string &value) {
  char text[32];
  std::snprintf(text, sizeof text, "%-12s ", name);
  return text + value + "\n";
}

std::string reportText(const memory::BufferTable &table, const memory::SearchedPacking &found,
                       std::optional<int64_t> capacity, double milliseconds) {
  const int64_t height = found.packing.height;
  std::string text = row("buffers", std::to_string(table.buffers.size()));
  if (capacity)
    text += row("capacity", std::to_string(*capacity) + " bytes");
  text += row("height", std::to_string(height) + " bytes");
  text += row("lower bound", std::to_string(found.leastHeight) + " bytes (largest load " +
                                 std::to_string(found.packing.lowerBound) + ")");
  text += row("proven", found.proven() ? "yes: no packing is lower"
                                       : "no: a packing may be lower by up to " +
                                             std::to_string(height - found.leastHeight) + " bytes");
  char time[48];
  std::snprintf(time, sizeof time, "%.1f ms", milliseconds);
  return text + row("states", std::to_string(found.nodes)) + row("time", time);
}

std::string reportJson(const memory::BufferTable &table, const memory::SearchedPacking &found,
                       std::optional<int64_t> capacity, double milliseconds) {
  nlohmann::ordered_json report;
  report["format"] = "evo.pack-report/1";
  report["buffers"] = table.buffers.size();
  report["capacity_bytes"] = nullptr;
  if (capacity)
    report["capacity_bytes"] = *capacity;
  report["height_bytes"] = found.packing.height;
  report["lower_bound_bytes"] = found.leastHeight;
  report["largest_load_bytes"] = found.packing.lowerBound;
  report["proven"] = found.proven();
  report["fits"] = !capacity || found.packing.height <= *capacity;
  report["states"] = found.nodes;
  report["pack_ms"] = milliseconds;
  return report.dump(2) + "\n";
}

} // namespace

Result<PackOutcome> runPacker(const CommandLine &line, std::span<const Flag> flags) {
  EVO_ASSIGN(const std::optional<int64_t> capacity, readPackLine(line, flags));
  const std::string path = line.textOr("--pack", "");
  EVO_ASSIGN(const memory::BufferTable table, readTable(path));
  const auto start = std::chrono::steady_clock::now();
  memory::SearchOptions options;
  options.capacity = capacity;
  Result<memory::SearchedPacking> found = memory::searchPacking(table.buffers, 1, options);
  if (!found)
    return found.status().withContext(path);
  const std::chrono::duration<double, std::milli> elapsed =
      std::chrono::steady_clock::now() - start;
  PackOutcome outcome;
  outcome.table = memory::writeBufferTable(table, found->packing.offsets);
  outcome.report = reportText(table, *found, capacity, elapsed.count());
  outcome.json = reportJson(table, *found, capacity, elapsed.count());
  const int64_t height = found->packing.height;
  if (capacity && height > *capacity)
    outcome.verdict = Status::error(
        ErrorCode::Infeasible,
        path + ": expected a packing of at most " + std::to_string(*capacity) + " bytes, got " +
            std::to_string(height) + ", " + std::to_string(height - *capacity) + " more; " +
            (found->leastHeight > *capacity ? "none is below " + std::to_string(found->leastHeight)
                                            : "whether one exists is not proven"));
  return outcome;
}

} // namespace evo
