//===- TextTable.h - columns that line up -----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace evo {

using TextRow = std::vector<std::string>;

/// Rows under each other, two blanks between columns as wide as their widest cell. `alignment` has
/// an 'l' (flush left) or 'r' (flush right) a column; every line begins with `indent`.
std::string textTable(const std::vector<TextRow> &rows, std::string_view alignment,
                      std::string_view indent = "");

} // namespace evo
