//===- MlirWay.h - evo-opt as an mlir-opt -----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

namespace evo {

/// Everything mlir-opt offers, on Evo's dialects and passes. Returns the exit status; a wrong flag
/// is 2.
int runMlirOpt(int argc, char **argv);

} // namespace evo
