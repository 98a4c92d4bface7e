//===- TextTable.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/TextTable.h"

#include <algorithm>

namespace evo {

std::string textTable(const std::vector<TextRow> &rows, std::string_view alignment,
                      std::string_view indent) {
  std::vector<size_t> widths(alignment.size(), 0);
  for (const TextRow &row : rows)
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const TextRow &row : rows) {
    std::string line(indent);
    for (size_t i = 0; i < row.size(); ++i) {
      std::string padding(widths[i] - row[i].size(), ' ');
      line += (i ? "  " : "") + (alignment[i] == 'l' ? row[i] + padding : padding + row[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

} // namespace evo
