//===- PackWay.h - the packer alone -----------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/CommandLine.h"

#include <string>

namespace evo {

/// What `--pack FILE.csv` comes to: texts to write and to print, and whether the capacity holds it.
struct PackOutcome {
  std::string table;  ///< the input's columns and offset
  std::string report; ///< for people
  std::string json;   ///< for machines
  Status verdict;     ///< an error of code Infeasible where the packing is above the capacity
};

/// `flags`: all that the program has, to name those that say nothing here.
Result<PackOutcome> runPacker(const CommandLine &line, std::span<const Flag> flags);

} // namespace evo
