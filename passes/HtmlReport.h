//===- HtmlReport.h - the report as one page --------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/HtmlPage.h"
#include "passes/ReportData.h"

#include <string>

namespace evo {

/// A picture (an svg element) of the arena over the modelled time of one block: what lies where and
/// when.
std::string timelineSvg(const plan::Plan &plan, const plan::Program &program,
                        const plan::BlockRun &run, const ReportData &data);

/// A bar a module: its share of a block's modelled time.
std::string moduleBarsSvg(const ReportData &data);

} // namespace evo
