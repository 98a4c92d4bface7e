//===- HtmlPage.h - pages without outside parts -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Every report has one look: the style, tables and parts of pictures that they share.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/TextTable.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace evo {

/// `text` for the inside of an element or a quoted attribute.
std::string escapeHtml(std::string_view text);

std::string htmlPage(const std::string &title, const std::string &body);
/// `alignment` has an 'l' or 'r' a column. The first row is the head; rows in `sums` stand out.
std::string htmlTable(const std::vector<TextRow> &rows, std::string_view alignment,
                      const std::vector<size_t> &sums = {});
/// A large value over what it is.
std::string htmlFact(const std::string &value, const std::string &what);

std::string svgNumber(double value);
std::string svgElement(std::string_view name, std::string_view cssClass,
                       const std::vector<std::pair<std::string_view, double>> &attributes,
                       const std::string &content);
std::string svgLabel(std::string_view cssClass, double x, double y, const std::string &text);
inline constexpr double kLetterWidth = 6.6; ///< of the labels, about

/// "1.625 GiB": for the marks of an axis, which are few digits of a power of two.
std::string exactBytes(double bytes);
/// The next of 1, 2, 5, 10, ... times a power of ten that gives at most eight steps.
double decimalStep(double range);

} // namespace evo
