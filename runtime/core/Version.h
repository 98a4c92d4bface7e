//===- Version.h - which build this is --------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include <string_view>

namespace evo {

std::string_view versionNumber();   ///< "0.1.0"
std::string_view versionRevision(); ///< of the sources, "unknown" outside a checkout

/// What the build machine had, for a backend or communicator to be built with: "toolkit 13.0.88
/// found", "MPI 3.1 found", or that there was none.
std::string_view buildCuda();
std::string_view buildMpi();

} // namespace evo
