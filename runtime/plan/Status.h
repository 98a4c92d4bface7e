//===- Status.h - errors as values ------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The one error type of the house, below every other part, so that the plan reader, the compiler
// and the runtime speak alike. Libraries return it; only tools print it.
//===----------------------------------------------------------------------===//
#pragma once

#include <cassert>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

namespace evo {

/// What kind of trouble. Tools map all of these to exit 1 but `Usage`, which is exit 2.
enum class ErrorCode {
  InvalidInput, ///< a file or value that the user gave is not acceptable
  InvalidPlan,  ///< a plan breaks an invariant
  Infeasible,   ///< no plan fits the budget
  Unsupported,  ///< legal, but not by this stack, mode, backend or build
  OutOfMemory,  ///< the device gave less than the plan needs
  Io,           ///< the operating system refused
  Usage,        ///< wrong flags
  Internal,     ///< a broken promise of our own
};

/// A short lower-case name, such as "invalid input".
std::string_view errorCodeName(ErrorCode code);

/// Success, or an error with a message of the form "expected X, got Y" (lower-case, no period).
/// `location` is where in our sources the error was made; at run time the executor adds rank,
/// device and plan step to the message by `withContext`.
class [[nodiscard]] Status {
public:
  Status() = default;
  static Status success() { return {}; }
  static Status error(ErrorCode code, std::string message,
                      std::source_location location = std::source_location::current());

  bool ok() const { return !failure; }
  explicit operator bool() const { return ok(); }
  ErrorCode code() const {
    assert(failure && "a success has no code");
    return failure->code;
  }
  const std::string &message() const {
    assert(failure && "a success has no message");
    return failure->message;
  }
  const std::source_location &location() const {
    assert(failure && "a success has no location");
    return failure->location;
  }
  /// The same error, with "<context>: " before its message. A success stays one.
  Status withContext(std::string_view context) const;

private:
  struct Failure {
    ErrorCode code;
    std::string message;
    std::source_location location;
  };
  std::shared_ptr<const Failure> failure;
};

/// A value or the error that prevented it.
template <class T> class [[nodiscard]] Result {
public:
  Result(T value) : storage(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {
    assert(!status_.ok() && "a result without a value needs an error");
  }
  bool ok() const { return storage.has_value(); }
  explicit operator bool() const { return ok(); }
  const Status &status() const { return status_; }
  T &operator*() & { return *storage; }
  const T &operator*() const & { return *storage; }
  T &&operator*() && { return *std::move(storage); }
  T *operator->() { return &*storage; }
  const T *operator->() const { return &*storage; }

private:
  std::optional<T> storage;
  Status status_;
};

} // namespace evo

/// Returns the error of a Status expression to the caller.
#define EVO_TRY(expression)                                                                        \
  do {                                                                                             \
    if (::evo::Status evoTryStatus = (expression); !evoTryStatus.ok())                             \
      return evoTryStatus;                                                                         \
  } while (false)

#define EVO_CONCAT_INNER(a, b) a##b
#define EVO_CONCAT(a, b) EVO_CONCAT_INNER(a, b)
/// `EVO_ASSIGN(auto x, resultExpression);` binds the value or returns the error.
#define EVO_ASSIGN(declaration, expression)                                                        \
  auto EVO_CONCAT(evoResult, __LINE__) = (expression);                                             \
  if (!EVO_CONCAT(evoResult, __LINE__).ok())                                                       \
    return EVO_CONCAT(evoResult, __LINE__).status();                                               \
  declaration = *std::move(EVO_CONCAT(evoResult, __LINE__))
