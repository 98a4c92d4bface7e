//===- HtmlReport.h - the report as one page --------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/ReportData.h"

#include <string>
#include <string_view>

namespace evo {

/// `text` for the inside of an element or a quoted attribute.
std::string escapeHtml(std::string_view text);

/// A picture (an svg element) of the arena over the modelled time of one block: what lies where and
/// when.
std::string timelineSvg(const plan::Plan &plan, const plan::Program &program,
                        const plan::BlockRun &run, const ReportData &data);

/// A bar a module: its share of a block's modelled time.
std::string moduleBarsSvg(const ReportData &data);

} // namespace evo
