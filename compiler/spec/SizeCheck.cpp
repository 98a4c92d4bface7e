//===- SizeCheck.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/spec/SizeCheck.h"

#include <array>
#include <vector>

namespace evo::spec {

namespace {
struct Factor {
  std::string_view key;
  int64_t value;
};

/// A tensor as a product of the specification's keys; `count` equal parts of it lie side by side.
struct SizedTensor {
  std::string_view what;
  std::vector<Factor> factors;
  int64_t count = 1;
};

std::vector<SizedTensor> msaTensors(const ModelSpec &spec) {
  const MsaChannels &c = spec.msa;
  const Factor s{"s", spec.s}, r{"r", spec.r}, cM{"c_m", c.cM}, cZ{"c_z", c.cZ};
  const Factor hMsa{"no_heads_msa", c.noHeadsMsa}, hPair{"no_heads_pair", c.noHeadsPair};
  const Factor cAtt{"c_hidden_msa_att", c.cHiddenMsaAtt},
      cPair{"c_hidden_pair_att", c.cHiddenPairAtt};
  const Factor cOpm{"c_hidden_opm", c.cHiddenOpm}, cMul{"c_hidden_mul", c.cHiddenMul};
  const Factor n{"transition_n", c.transitionN}, blocks{"blocks", spec.blocks};
  // Matrices of a block's weights: q, k, v, g and o of two MSA attentions and two pair attentions,
  // two products a transition, six a triangle multiplication.
  return {
      {"the stream m", {s, r, cM}},
      {"the stream z", {r, r, cZ}},
      {"the logits of msa_att_row", {hMsa, s, r, r}},
      {"the logits of msa_att_col", {hMsa, s, s, r}},
      {"query, key, value and gate of an MSA attention", {s, r, hMsa, cAtt}, 4},
      {"the hidden tensor of msa_transition", {n, s, r, cM}},
      {"the operands of outer_product_mean", {s, r, cOpm}, 2},
      {"the outer product of outer_product_mean", {r, r, cOpm, cOpm}},
      {"the operands of a triangle multiplication", {r, r, cMul}, 5},
      {"the logits of a triangle attention", {hPair, r, r, r}},
      {"query, key, value and gate of a triangle attention", {r, r, hPair, cPair}, 4},
      {"the hidden tensor of pair_transition", {n, r, r, cZ}},
      {"the weights of all MSA attentions", {blocks, cM, hMsa, cAtt}, 10},
      {"the weights of all MSA transitions", {blocks, n, cM, cM}, 2},
      {"the weights of all outer product means", {blocks, cOpm, cOpm, cZ}},
      {"the weights of all outer product projections", {blocks, cOpm, cM}, 2},
      {"the weights of all pair biases", {blocks, hMsa, cZ}},
      {"the weights of all triangle multiplications", {blocks, cMul, cZ}, 10},
      {"the weights of all triangle gates", {blocks, cZ, cZ}, 2},
      {"the weights of all triangle attentions", {blocks, cZ, hPair, cPair}, 10},
      {"the weights of all pair transitions", {blocks, n, cZ, cZ}, 2},
  };
}

std::vector<SizedTensor> templateTensors(const ModelSpec &spec) {
  const TemplateChannels &c = spec.templateChannels;
  const Factor r{"r", spec.r}, cT{"c_t", c.cT}, h{"no_heads", c.noHeads};
  const Factor cAtt{"c_hidden_tri_att", c.cHiddenTriAtt}, cMul{"c_hidden_tri_mul", c.cHiddenTriMul};
  const Factor n{"pair_transition_n", c.pairTransitionN}, blocks{"blocks", spec.blocks};
  return {
      {"the stream z", {r, r, cT}},
      {"the logits of a triangle attention", {h, r, r, r}},
      {"query, key, value and gate of a triangle attention", {r, r, h, cAtt}, 4},
      {"the operands of a triangle multiplication", {r, r, cMul}, 5},
      {"the hidden tensor of pair_transition", {n, r, r, cT}},
      {"the weights of all triangle attentions", {blocks, cT, h, cAtt}, 10},
      {"the weights of all triangle multiplications", {blocks, cMul, cT}, 10},
      {"the weights of all triangle gates", {blocks, cT, cT}, 2},
      {"the weights of all pair transitions", {blocks, n, cT, cT}, 2},
  };
}

Status checkTensor(const SizedTensor &tensor, plan::DType type) {
  std::vector<int64_t> shape = {tensor.count};
  std::string names, values;
  for (const Factor &factor : tensor.factors) {
    shape.push_back(factor.value);
    names += (names.empty() ? "" : " * ") + std::string(factor.key);
    values += (values.empty() ? "" : " * ") + std::to_string(factor.value);
  }
  if (plan::byteSize(shape, type))
    return Status::success();
  const std::string unit = std::to_string(tensor.count * plan::elementBytes(type)) + " bytes";
  return Status::error(ErrorCode::InvalidInput,
                       "sizes: expected fewer than 2^63 bytes for " + std::string(tensor.what) +
                           ", " + names + " * " + unit + ", got " + values + " * " + unit);
}
} // namespace

Status checkByteCounts(const ModelSpec &spec) {
  const plan::DType type = plan::storageType(spec.precision);
  for (const SizedTensor &tensor : spec.hasMsa() ? msaTensors(spec) : templateTensors(spec))
    EVO_TRY(checkTensor(tensor, type));
  return Status::success();
}

} // namespace evo::spec
