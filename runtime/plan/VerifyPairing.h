//===- VerifyPairing.h - one step of a backward procedure -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A gradient knows the expression whose gradient it is, and with it the kernel that a step must be
// the derivative of: its operands have to be that kernel's. What the step writes are gradients of
// the kernel's inputs. Sums along the way count the paths, see PathSums.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/VerifyTrace.h"

namespace evo::plan {

/// A step on gradients, while it is held to the forward.
class Pairing {
public:
  Pairing(Trace &trace, const ForwardExpressions &forward, const KernelStep &step, const Path &path)
      : trace(trace), e(trace.expressions), forward(forward), step(step),
        info(kernelInfo(step.kernel)), path(path), operands(path.at("operands")),
        outputs(info.operands.size()) {}

  Verdict run();

private:
  const std::optional<View> &operand(std::string_view name) const {
    return step.operands[static_cast<size_t>(info.operandIndex(name))];
  }
  bool has(std::string_view name) const { return operand(name).has_value(); }
  // An operand by its name: as a value of the forward, as a gradient, as one that is all of an
  // expression's, and as one in pieces along its last axis.
  Verdict value(std::string_view name, Value &value) const;
  Verdict gradient(std::string_view name, Pieces &pieces) const;
  Verdict whole(std::string_view name, Op op, Value &value, uint64_t &sum);
  Verdict rows(std::string_view name, Pieces &pieces) const;
  Verdict plain(std::string_view name, Op op, const Value &value) const;
  // That an operand, or a part of it, or attributes are those of the forward's step.
  Verdict same(std::string_view name, const Value &got, const Value &want) const;
  Verdict same(std::string_view name, const Value &want) const;
  Verdict part(std::string_view name, std::string_view of, const Box &box, Value &value) const;
  Verdict numbers(std::span<const int64_t> got, std::span<const int64_t> want) const;
  Verdict factor(double got, double want) const;
  Verdict absent(std::initializer_list<std::string_view> names) const;
  Verdict contribute(std::string_view name, std::string_view before, const Box &box,
                     const Value &target, uint64_t sum);
  Verdict contribute(std::string_view name, std::string_view before, const Value &of, size_t input,
                     uint64_t sum);
  Box boxOf(std::string_view name) const;
  std::string quoted(std::string_view name) const { return makeText("'", name, "'"); }

  // VerifyChainRule.cpp
  Verdict linearGrad();
  Verdict linearGradPiece(const Piece &piece);
  Verdict linear();
  Verdict weightGrad();
  Verdict biasGrad();
  Verdict layerNormGrad();
  Verdict gatedLinearGrad();
  Verdict attentionGrad();
  Verdict softmaxGrad();
  Verdict valuesGrad();
  Verdict logitsGrad();
  Verdict gateGrad();
  Verdict meanGrad();
  Verdict outerProductGrad();
  Verdict matmul(std::string_view result, std::string_view before);
  Verdict copy();
  Verdict add();

  Verdict dispatch();
  Verdict store(size_t output);

  Trace &trace;
  Expressions &e;
  const ForwardExpressions &forward;
  const KernelStep &step;
  const KernelInfo &info;
  const Path &path;
  Path operands;
  std::vector<Pieces> outputs;
};

} // namespace evo::plan
