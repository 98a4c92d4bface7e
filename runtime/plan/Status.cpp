//===- Status.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Status.h"

namespace evo {

std::string_view errorCodeName(ErrorCode code) {
  switch (code) {
  case ErrorCode::InvalidInput:
    return "invalid input";
  case ErrorCode::InvalidPlan:
    return "invalid plan";
  case ErrorCode::Infeasible:
    return "infeasible";
  case ErrorCode::Unsupported:
    return "unsupported";
  case ErrorCode::OutOfMemory:
    return "out of memory";
  case ErrorCode::Io:
    return "input/output";
  case ErrorCode::Usage:
    return "usage";
  case ErrorCode::Internal:
    return "internal";
  }
  return "unknown";
}

Status Status::error(ErrorCode code, std::string message, std::source_location location) {
  Status status;
  status.failure = std::make_shared<const Failure>(Failure{code, std::move(message), location});
  return status;
}

Status Status::withContext(std::string_view context) const {
  if (ok())
    return {};
  return error(failure->code, std::string(context) + ": " + failure->message, failure->location);
}

} // namespace evo
