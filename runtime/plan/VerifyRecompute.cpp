//===- VerifyRecompute.cpp - backward calls against the forward -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A module's forward is an expression of the tensors that it finds. What runs it again has to end
// with the same one (5), and its backward has to make the gradients that the chain rule makes of
// it (6).
//===----------------------------------------------------------------------===//
#include "runtime/plan/VerifyTrace.h"

#include <algorithm>

namespace evo::plan {

namespace {

/// Expressions, pieces and steps looked at before a plan is refused as too large.
constexpr int64_t kMaxWork = 100'000'000;

/// Sums by row of a weight, as differences from row to row.
using RowSums = std::map<int64_t, uint64_t>;

void addRows(RowSums &sums, int64_t begin, int64_t end, uint64_t sum) {
  sums[begin] += sum;
  sums[end] -= sum;
}

void eraseZeros(RowSums &sums) {
  std::erase_if(sums, [](const auto &entry) { return entry.second == 0; });
}

/// What the gradients of leaves come to by the chain rule. A path from an output to a leaf counts
/// as the product of its edges' weights: random numbers, so that a sum that lacks a path, or has
/// one twice, is another number.
class PathSums {
public:
  explicit PathSums(const Expressions &expressions)
      : expressions(expressions), nodes(static_cast<size_t>(expressions.size())) {}

  void add(const Value &value, uint64_t sum);
  void run();
  uint64_t of(const Value &leaf) const { return nodes[leaf.node]; }
  std::map<size_t, RowSums> weights;

private:
  const Expressions &expressions;
  std::vector<uint64_t> nodes;
};

void PathSums::add(const Value &value, uint64_t sum) {
  const Expression &own = expressions[value];
  if (own.op != Op::Weight) {
    nodes[value.node] += sum;
    return;
  }
  for (const AxisSlice &axis : value.axes)
    if (axis.axis == 0)
      addRows(weights[static_cast<size_t>(own.numbers[0])], axis.begin, axis.end, sum);
}

/// Inputs are made before what is computed of them.
void PathSums::run() {
  for (int32_t node = expressions.size(); node-- > 0;) {
    uint64_t sum = nodes[node];
    const Expression &own = expressions.at(node);
    for (size_t input = 0; sum != 0 && input < own.inputs.size(); ++input)
      if (uint64_t weight = expressions.weight({node, 1, {}}, input))
        add(own.inputs[input], sum * weight);
  }
}

/// The forward of a module, or of several right after each other, and all calls that are held to
/// it.
class ModuleCheck {
public:
  ModuleCheck(const Plan &plan, const std::vector<ProcedureFacts> &facts,
              const std::vector<int32_t> &forwards, WorkBudget &work);
  Verdict forward();
  Verdict recall(const Recall &recall);

private:
  /// What procedures of the forward leave.
  struct Left {
    std::vector<Value> tensors;             ///< by tensor
    std::map<std::string_view, Value> kept; ///< by the buffer's name
  };
  Path pathOf(int32_t procedure) const {
    return root.at("procedures", static_cast<size_t>(procedure));
  }
  Verdict trace(int32_t procedure, Left &left, std::set<int32_t> &held);
  Verdict again(int32_t procedure, const Left *&left);
  Verdict enter(Trace &trace, const Recall &recall);
  Verdict streams(Trace &trace, const Path &path);
  Verdict weights(Trace &trace, const Path &path);
  Value tensor(size_t index) {
    return expressions.make(Op::Tensor, {static_cast<int64_t>(index)}, {},
                            plan.tensors[index].shape);
  }
  uint64_t seed(size_t tensor) const { return hashOf(0, tensor) | 1; }
  bool isWritten(size_t tensor) const {
    return std::any_of(facts.begin(), facts.end(),
                       [&](const ProcedureFacts &fact) { return fact.writes[tensor]; });
  }
  std::optional<size_t> streamOf(std::string_view gradient) const;
  std::string name() const;

  const Plan &plan;
  const std::vector<ProcedureFacts> &facts;
  std::vector<int32_t> own;
  WorkBudget &work;
  Path root;
  Expressions expressions;
  ForwardExpressions known;
  Left ran;                                         ///< what the forward leaves
  std::map<int32_t, Left> traced;                   ///< and what runs it again
  std::vector<std::pair<size_t, size_t>> gradients; ///< streams and their gradients
  std::optional<PathSums> expected;
};

ModuleCheck::ModuleCheck(const Plan &plan, const std::vector<ProcedureFacts> &facts,
                         const std::vector<int32_t> &forwards, WorkBudget &work)
    : plan(plan), facts(facts), own(forwards), work(work), expressions(work) {
  const Program *backward = programOf(plan, Phase::Backward);
  for (size_t i = 0; i < plan.tensors.size() && backward; ++i)
    for (size_t k = 0; k < plan.tensors.size(); ++k)
      if (plan.tensors[k].name == "d" + plan.tensors[i].name &&
          plan.tensors[k].shape == plan.tensors[i].shape &&
          std::count(backward->inputs.begin(), backward->inputs.end(), plan.tensors[k].name))
        gradients.emplace_back(i, k);
}

/// Runs a procedure on what others have left.
Verdict ModuleCheck::trace(int32_t procedure, Left &left, std::set<int32_t> &held) {
  const Procedure &info = plan.procedures[procedure];
  Trace trace(plan, info, expressions, work);
  for (size_t i = left.tensors.size(); i < plan.tensors.size(); ++i)
    left.tensors.push_back(tensor(i));
  for (size_t i = 0; i < info.buffers.size(); ++i)
    if (info.buffers[i].base == Base::Tensor)
      trace.enter(i, {false, left.tensors[info.buffers[i].tensor], 0});
  EVO_VERIFY(trace.run(pathOf(procedure), [&](const KernelStep &step, const Path &) -> Verdict {
    trace.evaluate(step);
    return {};
  }));
  held.merge(trace.held);
  for (size_t i = 0; i < info.buffers.size(); ++i) {
    const Buffer &buffer = info.buffers[i];
    if (buffer.base != Base::Tensor && buffer.base != Base::Saved)
      continue;
    Value value = trace.joined(trace.final(i), buffer.shape);
    if (buffer.base == Base::Tensor)
      left.tensors[buffer.tensor] = value;
    else
      left.kept[buffer.name] = value;
  }
  return {};
}

std::string ModuleCheck::name() const {
  std::string text;
  for (int32_t procedure : own)
    text.append(text.empty() ? "" : "+").append(plan.procedures[procedure].name);
  return text;
}

Verdict ModuleCheck::forward() {
  for (int32_t procedure : own)
    EVO_VERIFY(trace(procedure, ran, known.held));
  known.count = expressions.size();
  expected.emplace(expressions);
  for (auto [stream, gradient] : gradients)
    expected->add(ran.tensors[stream], seed(stream));
  expected->run();
  return {};
}

/// What runs the modules again ends as their forward did.
Verdict ModuleCheck::again(int32_t procedure, const Left *&left) {
  left = &ran;
  if (own.size() == 1 && own[0] == procedure)
    return {};
  auto [entry, isNew] = traced.try_emplace(procedure);
  left = &entry->second;
  if (!isNew)
    return {};
  std::set<int32_t> held;
  EVO_VERIFY(trace(procedure, entry->second, held));
  for (size_t i = 0; i < plan.tensors.size(); ++i)
    if (facts[procedure].writes[i] && left->tensors[i] != ran.tensors[i])
      return violates(5, pathOf(procedure),
                      makeText("what '", name(), "' computes of '", plan.tensors[i].name, "'"),
                      "another computation");
  return {};
}

std::optional<size_t> ModuleCheck::streamOf(std::string_view gradient) const {
  for (auto [stream, own] : gradients)
    if (plan.tensors[own].name == gradient)
      return stream;
  return std::nullopt;
}

/// What the buffers of a backward procedure hold when it is called.
Verdict ModuleCheck::enter(Trace &trace, const Recall &recall) {
  const Procedure &info = plan.procedures[recall.backward];
  for (size_t i = 0; i < info.buffers.size(); ++i) {
    const Buffer &buffer = info.buffers[i];
    int32_t keeper = recall.keepers[i];
    if (buffer.base == Base::Gradient) {
      trace.enter(i, {true, {}, 0});
    } else if (buffer.base == Base::Tensor) {
      std::optional<size_t> stream = streamOf(buffer.name);
      if (stream)
        trace.enter(i, {true, ran.tensors[*stream], seed(*stream)});
      else if (isWritten(static_cast<size_t>(buffer.tensor)))
        trace.enter(i, {false, trace.unknown(buffer.shape), 0});
    } else if (buffer.base == Base::Saved && keeper < -1) {
      trace.enter(i, {false, trace.tensor(static_cast<size_t>(-2 - keeper)), 0});
    } else if (buffer.base == Base::Saved) {
      const Left *left = nullptr;
      if (keeper >= 0)
        EVO_VERIFY(again(keeper, left));
      auto kept =
          left ? left->kept.find(buffer.name) : std::map<std::string_view, Value>::const_iterator{};
      bool isKept = left && kept != left->kept.end();
      trace.enter(i, {false, isKept ? kept->second : trace.unknown(buffer.shape), 0});
    }
  }
  return {};
}

/// The gradients of the streams as the module found them.
Verdict ModuleCheck::streams(Trace &trace, const Path &path) {
  const std::vector<Buffer> &buffers = trace.procedure.buffers;
  for (auto [stream, gradient] : gradients) {
    const Value &after = ran.tensors[stream];
    Value before = tensor(stream);
    size_t buffer = 0;
    while (buffer < buffers.size() && (buffers[buffer].base != Base::Tensor ||
                                       buffers[buffer].tensor != static_cast<int32_t>(gradient)))
      ++buffer;
    Box whole = Regions(plan.tensors[stream].shape, 0).whole();
    Pieces pieces = {{whole, {true, after, seed(stream)}}};
    if (buffer < buffers.size())
      pieces = trace.final(buffer);
    bool right = !pieces.empty();
    for (const Piece &piece : pieces)
      right &= piece.held.isGradient && piece.held.sum == expected->of(before) &&
               expressions.passesTo(piece.held.value, expressions.slice(before, piece.box));
    if (!right)
      return violates(6, path,
                      makeText("the gradient of '", plan.tensors[stream].name, "' as '",
                               trace.procedure.module, "' finds it, by each use of it once, in '",
                               plan.tensors[gradient].name, "'"),
                      "another");
  }
  return {};
}

/// Of each weight, by all its uses.
Verdict ModuleCheck::weights(Trace &trace, const Path &path) {
  std::map<size_t, RowSums> made;
  const std::vector<Buffer> &buffers = trace.procedure.buffers;
  for (size_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].base != Base::Gradient)
      continue;
    std::optional<size_t> index = weightOfGradient(plan, buffers[i].name);
    if (!index)
      continue;
    for (const Piece &piece : trace.final(i))
      addRows(made[*index], piece.box.begin[0], piece.box.end[0], piece.held.sum);
  }
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    RowSums got = made[i], want = expected->weights[i];
    eraseZeros(got);
    eraseZeros(want);
    if (got != want)
      return violates(6, path,
                      makeText("the gradient of '", plan.weights[i].name,
                               "' by each use of it in '", name(), "' once"),
                      "another sum");
  }
  return {};
}

Verdict ModuleCheck::recall(const Recall &recall) {
  const Procedure &info = plan.procedures[recall.backward];
  const Left *left = nullptr;
  if (info.phase == Phase::Forward)
    return again(recall.backward, left);
  Path path = pathOf(recall.backward);
  Trace trace(plan, info, expressions, work);
  EVO_VERIFY(enter(trace, recall));
  EVO_VERIFY(trace.run(path, [&](const KernelStep &step, const Path &where) {
    return pairStep(trace, known, step, where);
  }));
  EVO_VERIFY(streams(trace, path));
  return weights(trace, path);
}

} // namespace

Verdict verifyRecalls(const Plan &plan, const std::vector<ProcedureFacts> &facts,
                      const std::set<Recall> &recalls) {
  WorkBudget work{kMaxWork};
  std::optional<ModuleCheck> check;
  const std::vector<int32_t> *forwards = nullptr;
  for (const Recall &recall : recalls) {
    if (!forwards || recall.forwards != *forwards) {
      check.emplace(plan, facts, recall.forwards, work);
      EVO_VERIFY(check->forward());
    }
    forwards = &recall.forwards;
    EVO_VERIFY(check->recall(recall));
  }
  if (work.left < 0)
    return violates(0, Path(), "a plan that can be checked in bounded time", "a larger one");
  return {};
}

} // namespace evo::plan
