//===- Blas.cpp -------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/Blas.h"

#include <cblas.h>

// Present in OpenBLAS only; null with another library. Redeclared weak, whether or not cblas.h has
// them.
extern "C" {
extern void openblas_set_num_threads(int threads) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));
}

namespace evo::cpu {

namespace {
CBLAS_TRANSPOSE transposition(bool transposed) { return transposed ? CblasTrans : CblasNoTrans; }
} // namespace

void blasGemm(bool transA, bool transB, int m, int n, int k, float alpha, const float *a, int lda,
              const float *b, int ldb, float beta, float *c, int ldc) {
  cblas_sgemm(CblasRowMajor, transposition(transA), transposition(transB), m, n, k, alpha, a, lda,
              b, ldb, beta, c, ldc);
}

void blasGemm(bool transA, bool transB, int m, int n, int k, double alpha, const double *a, int lda,
              const double *b, int ldb, double beta, double *c, int ldc) {
  cblas_dgemm(CblasRowMajor, transposition(transA), transposition(transB), m, n, k, alpha, a, lda,
              b, ldb, beta, c, ldc);
}

void makeBlasSingleThreaded() {
  if (openblas_set_num_threads)
    openblas_set_num_threads(1);
}

std::string blasDescription(bool machineHasAvx512) {
  if (!openblas_get_config)
    return "BLAS";
  // The configuration begins with name and version: "OpenBLAS 0.3.21 NO_LAPACKE ...".
  std::string config = openblas_get_config();
  size_t space = config.find(' ');
  space = space == std::string::npos ? space : config.find(' ', space + 1);
  std::string text = config.substr(0, space);
  std::string core = openblas_get_corename ? openblas_get_corename() : "";
  if (core.empty())
    return text;
  bool slow = machineHasAvx512 && (core == "Haswell" || core == "Zen");
  return text + " (" + core + (slow ? "; OPENBLAS_CORETYPE=SkylakeX is faster here)" : ")");
}

} // namespace evo::cpu
