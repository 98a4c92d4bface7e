//===- Version.h - which build this is --------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include <string_view>

namespace evo {

std::string_view versionNumber();   ///< "0.1.0"
std::string_view versionRevision(); ///< of the sources, "unknown" outside a checkout

} // namespace evo
