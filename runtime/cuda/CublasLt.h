//===- CublasLt.h - the matrix library, loaded when needed ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// cuBLASLt has hundreds of megabytes. It is opened when a CUDA backend is made, so that a program
// that runs on the CPU neither loads nor needs it.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Status.h"

#include <cublasLt.h>

#include <memory>
#include <string>

namespace evo::cuda {

/// The functions of the library that are used.
#define EVO_CUBLASLT_FUNCTIONS(X)                                                                  \
  X(cublasLtCreate)                                                                                \
  X(cublasLtDestroy)                                                                               \
  X(cublasLtGetVersion)                                                                            \
  X(cublasLtGetStatusString)                                                                       \
  X(cublasLtMatmul)                                                                                \
  X(cublasLtMatmulAlgoConfigGetAttribute)                                                          \
  X(cublasLtMatmulAlgoGetHeuristic)                                                                \
  X(cublasLtMatmulDescCreate)                                                                      \
  X(cublasLtMatmulDescDestroy)                                                                     \
  X(cublasLtMatmulDescSetAttribute)                                                                \
  X(cublasLtMatmulPreferenceCreate)                                                                \
  X(cublasLtMatmulPreferenceDestroy)                                                               \
  X(cublasLtMatmulPreferenceSetAttribute)                                                          \
  X(cublasLtMatrixLayoutCreate)                                                                    \
  X(cublasLtMatrixLayoutDestroy)                                                                   \
  X(cublasLtMatrixLayoutSetAttribute)

class CublasLt {
public:
  static Result<std::unique_ptr<CublasLt>> load();
  ~CublasLt();
  CublasLt(const CublasLt &) = delete;
  CublasLt &operator=(const CublasLt &) = delete;

#define EVO_CUBLASLT_DECLARE(name) decltype(&::name) name = nullptr;
  EVO_CUBLASLT_FUNCTIONS(EVO_CUBLASLT_DECLARE)
#undef EVO_CUBLASLT_DECLARE

  Status statusOf(cublasStatus_t status, const char *expression) const;
  std::string name() const; ///< "cuBLASLt 13.0.2"

private:
  CublasLt() = default;
  void *library = nullptr;
};

} // namespace evo::cuda
