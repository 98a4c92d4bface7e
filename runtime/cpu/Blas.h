//===- Blas.h - matrix products of the library ------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The only place that knows the BLAS. Products run on the calling thread alone: the backend's tiles
// are the parallelism, and a product that spreads by itself would depend on the thread count.
//===----------------------------------------------------------------------===//
#pragma once

#include <string>

namespace evo::cpu {

/// Row-major c[m,n] = alpha op(a) op(b) + beta c, op(a) [m,k], op(b) [k,n].
void blasGemm(bool transA, bool transB, int m, int n, int k, float alpha, const float *a, int lda,
              const float *b, int ldb, float beta, float *c, int ldc);
void blasGemm(bool transA, bool transB, int m, int n, int k, double alpha, const double *a, int lda,
              const double *b, int ldb, double beta, double *c, int ldc);

/// Makes the library run each product on the calling thread (OpenBLAS; others are left as they
/// are).
void makeBlasSingleThreaded();
/// Name, version and processor kernels where the library tells them. An OpenBLAS older than the
/// processor takes AVX2 kernels where AVX-512 ones would run twice as fast; it reads its choice
/// from the environment when it is loaded, so all that can be done here is to say so.
std::string blasDescription(bool machineHasAvx512);

} // namespace evo::cpu
