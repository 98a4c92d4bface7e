//===- Loss.h - the loss of a training step ---------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A plan ends with its outputs and begins again with their cotangents: what lies between is the
// caller's, here on the host and in double.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "runtime/core/HostTensor.h"
#include "runtime/plan/Plan.h"

namespace evo {

/// The sum over some output streams of the mean over all elements of (x - target)^2.
class MeanSquaredError {
public:
  /// `targets` are the tensors of a file, each named like an output of the forward program; it
  /// needs at least one. The cotangent of an output has its name behind a 'd'.
  static Result<MeanSquaredError> create(const plan::Plan &plan, std::vector<HostTensor> targets,
                                         std::string_view fileName, int threads, bool checkFinite);

  /// The loss of the outputs in the arena. Keeps the cotangents 2 (x - target) / count, times
  /// `scale`: outputs may lie where cotangents go. The sum has one order for any thread count.
  Result<double> evaluate(Backend &backend, const std::byte *arena, double scale);
  /// Writes the cotangents of the last evaluation, zeros for outputs without a target.
  Status uploadCotangents(Backend &backend, std::byte *arena);

private:
  struct Stream {
    const plan::Tensor *output = nullptr, *cotangent = nullptr;
    HostTensor target;             ///< without a name: none
    std::vector<std::byte> values; ///< of the cotangent, in its type
  };
  Result<double> evaluateStream(Backend &backend, const std::byte *arena, double scale,
                                Stream &stream);

  std::vector<Stream> streams;
  int threads = 1;
};

} // namespace evo
