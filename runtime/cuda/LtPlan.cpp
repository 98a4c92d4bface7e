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
  std::unique_ptr<LtPlan> plan(new LtPlan(*context.lt, key));
  EVO_TRY(plan->describe());
  EVO_TRY(plan->choose(context));
  return plan;
}

Status LtPlan::describe() {
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

static plan::DType typeOf(cudaDataType_t type) {
  return type == CUDA_R_32F   ? plan::DType::F32
         : type == CUDA_R_16F ? plan::DType::F16
                              : plan::DType::BF16;
}

plan::ProductClass LtPlan::products() const {
  return {typeOf(key.input), typeOf(key.output), key.compute == CUBLAS_COMPUTE_32F_FAST_TF32,
          key.transposeA,    key.transposeB,     key.bias,
          key.relu,          key.addend};
}

/// Numbers that the library does not know are -1.
plan::ProductWay LtPlan::wayOf(size_t proposal) const {
  auto number = [&](cublasLtMatmulAlgoConfigAttributes_t attribute, auto value) -> int64_t {
    size_t written = 0;
    cublasStatus_t answer = lt.cublasLtMatmulAlgoConfigGetAttribute(
        &algorithms[proposal], attribute, &value, sizeof value, &written);
    return answer == CUBLAS_STATUS_SUCCESS ? static_cast<int64_t>(value) : -1;
  };
  return {number(CUBLASLT_ALGO_CONFIG_ID, int32_t{0}),
          number(CUBLASLT_ALGO_CONFIG_TILE_ID, uint32_t{0}),
          number(CUBLASLT_ALGO_CONFIG_STAGES_ID, uint32_t{0}),
          number(CUBLASLT_ALGO_CONFIG_SPLITK_NUM, int32_t{0}),
          number(CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, uint32_t{0}),
          number(CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, uint32_t{0}),
          number(CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, uint32_t{0}),
          number(CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, uint16_t{0}),
          number(CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, uint16_t{0})};
}

/// What the table says of the nearest shape, where the library proposes it for this one too; else
/// the library's first proposal. Partial sums of a split product are kept in fp32.
Status LtPlan::choose(Context &context) {
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
  cublasLtMatmulHeuristicResult_t results[kMostProposals] = {};
  int answers = 0;
  if (status.ok()) {
    cublasStatus_t asked = lt.cublasLtMatmulAlgoGetHeuristic(
        context.handle, descriptor, layout[0], layout[1], layout[3], layout[2], preference,
        kMostProposals, results, &answers);
    // Others say that it has nothing for such a product.
    if (asked == CUBLAS_STATUS_ALLOC_FAILED || asked == CUBLAS_STATUS_NOT_INITIALIZED)
      status = lt.statusOf(asked, "cublasLtMatmulAlgoGetHeuristic");
    answers = asked == CUBLAS_STATUS_SUCCESS ? answers : 0;
    for (int i = 0; i < answers; ++i)
      if (results[i].state == CUBLAS_STATUS_SUCCESS)
        algorithms[count++] = results[i].algo;
  }
  lt.cublasLtMatmulPreferenceDestroy(preference);
  if (const plan::ProductWay *way = plan::nearestWay(context.table, products(), shape()))
    for (size_t i = count; i-- > 0;)
      if (wayOf(i) == *way)
        chosen = i;
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
                   void *d, const void *bias) {
  last = {alpha, a, b, c, bias, d};
  return runAgain(context, chosen);
}

Status LtPlan::runAgain(Context &context, size_t proposal) const {
  if (last.bias)
    EVO_LT_TRY(lt, cublasLtMatmulDescSetAttribute(descriptor, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                  &last.bias, sizeof last.bias));
  float beta = key.addend ? 1.0f : 0.0f;
  return lt.statusOf(lt.cublasLtMatmul(context.handle, descriptor, &last.alpha, last.a, layout[0],
                                       last.b, layout[1], &beta, key.addend ? last.c : last.d,
                                       layout[3], last.d, layout[2], &algorithms[proposal],
                                       context.workspace, kLibraryWorkspaceBytes, context.stream),
                     "cublasLtMatmul");
}

} // namespace evo::cuda
