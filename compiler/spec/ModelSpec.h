//===- ModelSpec.h - what the user wants planned ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The specification file ("evo.model/1"), parsed and checked. Knows JSON, not MLIR.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/DType.h"
#include "runtime/plan/Plan.h"
#include "runtime/plan/Status.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace evo::spec {

enum class StackKind : uint8_t { Evoformer, ExtraMsa, TemplatePair };
std::string_view stackName(StackKind kind); ///< "evoformer" | "extra_msa" | "template_pair"

/// Channels of evoformer and extra_msa. All in [1, 2^31).
struct MsaChannels {
  int64_t cM = 0, cZ = 0, cHiddenMsaAtt = 0, cHiddenOpm = 0, cHiddenMul = 0, cHiddenPairAtt = 0;
  int64_t noHeadsMsa = 0, noHeadsPair = 0, transitionN = 0;
};
/// Channels of template_pair. All in [1, 2^31).
struct TemplateChannels {
  int64_t cT = 0, cHiddenTriAtt = 0, cHiddenTriMul = 0, noHeads = 0, pairTransitionN = 0;
};

struct Dropout {
  double msa = 0, pair = 0; ///< probabilities in [0, 1)
};
struct Sgd {
  double lr = 0, momentum = 0;
};
struct AdamW {
  double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0;
};
/// A fixed factor; nothing stands for "dynamic".
using LossScale = std::optional<double>;

struct ModelSpec {
  std::string name;
  StackKind stack = StackKind::Evoformer;
  int64_t blocks = 0;
  int64_t s = 0;                     ///< MSA rows; 0 in template_pair
  int64_t r = 0;                     ///< residues
  MsaChannels msa;                   ///< evoformer, extra_msa
  TemplateChannels templateChannels; ///< template_pair
  bool opmFirst = false;
  bool maskTransition = true;
  double opmEps = 1e-3;
  double globalAttentionEps = 1e-8;
  double inf = 1e9;
  plan::Precision precision = plan::Precision::Fp32;
  plan::Mode mode = plan::Mode::Infer;
  std::optional<Dropout> dropout;
  std::optional<std::variant<Sgd, AdamW>> optimizer;
  bool masterWeights = false;
  LossScale lossScale = 1.0;

  bool hasMsa() const { return stack != StackKind::TemplatePair; }
  /// Channels and sizes by their specification names, in the specification's order.
  std::vector<std::pair<std::string, int64_t>> sizeTable() const;
  std::vector<std::pair<std::string, int64_t>> channelTable() const;
};

/// Parses `text` (a file's contents; `fileName` is for messages), with `overrides` of the form
/// "NAME=VALUE" applied to the JSON first (`s=512`, `channels.c_m=64`; NAME may be dotted or, where
/// it is unique among the stack's keys, bare). Errors name the key, expected and got; a malformed
/// override is ErrorCode::Usage, everything else InvalidInput.
Result<ModelSpec> parseModelSpec(std::string_view text, std::string_view fileName,
                                 std::span<const std::string> overrides = {});
/// Reads the file and parses it.
Result<ModelSpec> readModelSpec(const std::string &path,
                                std::span<const std::string> overrides = {});

} // namespace evo::spec
