//===- LtPlan.cpp - one product of cuBLASLt ---------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Product.h"

#define EVO_LT_TRY(lt, expression) EVO_TRY((lt).statusOf((lt).expression, #expression))

namespace evo::cuda {

std::vector<int64_t> LtPlan::Key::words() const {
  std::vector<int64_t> words = {input, output, compute, transposeA, transposeB, relu,
                                bias,  addend, m,       n,          k,          batches};
  for (int o = 0; o < 4; ++o)
    words.insert(words.end(), {leading[o], batchStride[o], alignment[o]});
  return words;
}

Result<std::unique_ptr<LtPlan>> LtPlan::create(Context &context, const Key &key) {
  std::unique_ptr<LtPlan> plan(new LtPlan(*context.lt));
  plan->hasAddend = key.addend;
  EVO_TRY(plan->describe(key));
  EVO_TRY(plan->choose(context, key));
  return plan;
}

Status LtPlan::describe(const Key &key) {
  auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto &value) {
    return lt.statusOf(
        lt.cublasLtMatmulDescSetAttribute(descriptor, attribute, &value, sizeof value),
        "cublasLtMatmulDescSetAttribute");
  };
  EVO_LT_TRY(lt, cublasLtMatmulDescCreate(&descriptor, key.compute, CUDA_R_32F));
  EVO_TRY(set(CUBLASLT_MATMUL_DESC_TRANSA, key.transposeA ? CUBLAS_OP_T : CUBLAS_OP_N));
  EVO_TRY(set(CUBLASLT_MATMUL_DESC_TRANSB, key.transposeB ? CUBLAS_OP_T : CUBLAS_OP_N));
  if (key.bias || key.relu)
    EVO_TRY(set(CUBLASLT_MATMUL_DESC_EPILOGUE, !key.bias  ? CUBLASLT_EPILOGUE_RELU
                                               : key.relu ? CUBLASLT_EPILOGUE_RELU_BIAS
                                                          : CUBLASLT_EPILOGUE_BIAS));
  if (key.bias)
    EVO_TRY(set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(key.input)));
  for (int o = 0; o < 4; ++o) {
    bool isInput = o < 2, transposed = o == 0 ? key.transposeA : o == 1 ? key.transposeB : false;
    int64_t rows = o == 1 ? key.k : key.m, cols = o == 0 ? key.k : key.n;
    if (transposed)
      std::swap(rows, cols);
    EVO_LT_TRY(lt, cublasLtMatrixLayoutCreate(&layout[o], isInput ? key.input : key.output,
                                              static_cast<uint64_t>(rows),
                                              static_cast<uint64_t>(cols), key.leading[o]));
    if (key.batches == 1)
      continue;
    auto batches = static_cast<int32_t>(key.batches);
    EVO_LT_TRY(lt, cublasLtMatrixLayoutSetAttribute(layout[o], CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                    &batches, sizeof batches));
    EVO_LT_TRY(
        lt, cublasLtMatrixLayoutSetAttribute(layout[o], CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                             &key.batchStride[o], sizeof key.batchStride[o]));
  }
  return {};
}

/// The library's first proposal. Partial sums of a split product are kept in fp32.
Status LtPlan::choose(Context &context, const Key &key) {
  cublasLtMatmulPreference_t preference = nullptr;
  EVO_LT_TRY(lt, cublasLtMatmulPreferenceCreate(&preference));
  auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto &value) {
    return lt.statusOf(
        lt.cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute");
  };
  uint64_t workspace = kLibraryWorkspaceBytes;
  uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  constexpr cublasLtMatmulPreferenceAttributes_t kAlignments[] = {
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES};
  Status status = set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace);
  if (status.ok())
    status = set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions);
  for (int o = 0; o < 4 && status.ok(); ++o)
    status = set(kAlignments[o], static_cast<uint32_t>(key.alignment[o]));
  cublasLtMatmulHeuristicResult_t result{};
  int count = 0;
  if (status.ok()) {
    cublasStatus_t answer =
        lt.cublasLtMatmulAlgoGetHeuristic(context.handle, descriptor, layout[0], layout[1],
                                          layout[3], layout[2], preference, 1, &result, &count);
    isFound = answer == CUBLAS_STATUS_SUCCESS && count > 0 && result.state == CUBLAS_STATUS_SUCCESS;
    algorithm = result.algo;
  }
  lt.cublasLtMatmulPreferenceDestroy(preference);
  return status;
}

LtPlan::~LtPlan() {
  for (cublasLtMatrixLayout_t one : layout)
    if (one)
      lt.cublasLtMatrixLayoutDestroy(one);
  if (descriptor)
    lt.cublasLtMatmulDescDestroy(descriptor);
}

Status LtPlan::run(Context &context, float alpha, const void *a, const void *b, const void *c,
                   void *d, const void *bias) const {
  if (bias)
    EVO_LT_TRY(lt, cublasLtMatmulDescSetAttribute(descriptor, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                  &bias, sizeof bias));
  float beta = hasAddend ? 1.0f : 0.0f;
  return lt.statusOf(lt.cublasLtMatmul(context.handle, descriptor, &alpha, a, layout[0], b,
                                       layout[1], &beta, hasAddend ? c : d, layout[3], d, layout[2],
                                       &algorithm, context.workspace, kLibraryWorkspaceBytes,
                                       context.stream),
                     "cublasLtMatmul");
}

} // namespace evo::cuda
