//===- VerifyTables.cpp - tensors, weights, ranks, schedule -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/VerifyParts.h"

#include <algorithm>
#include <set>

namespace evo::plan {

namespace {

Verdict verifyShape(const Path &path, const std::vector<int64_t> &shape, size_t leastRank,
                    size_t mostRank) {
  if (shape.size() < leastRank || shape.size() > mostRank)
    return violates(0, path.at("shape"), makeText(leastRank, " to ", mostRank, " axes"),
                    makeText(shape.size()));
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (shape[axis] < 1)
      return violates(0, path.at("shape", axis), "a size of at least 1", makeText(shape[axis]));
  return {};
}

/// Bytes of a dense tensor and their place.
Verdict verifyPlace(const Path &path, const std::vector<int64_t> &shape, DType dtype,
                    int64_t offset, int64_t bytes) {
  std::optional<int64_t> needed = byteSize(shape, dtype);
  if (!needed)
    return violates(0, path.at("shape"), "fewer than 2^63 bytes", makeText(std::span(shape)));
  if (bytes != *needed)
    return violates(0, path.at("bytes"), makeText(*needed), makeText(bytes));
  if (offset < 0 || offset > kMaxEnd - bytes)
    return violates(8, path.at("offset"), makeText("an offset from 0 to ", kMaxEnd - bytes),
                    makeText(offset));
  if (offset % kAlignment != 0)
    return violates(8, path.at("offset"), makeText("a multiple of ", kAlignment), makeText(offset));
  return {};
}

/// No two entries of a table share a byte.
template <class Entry>
Verdict verifyDisjoint(const Path &root, std::string_view table, std::string_view field,
                       const std::vector<Entry> &entries) {
  std::vector<size_t> order;
  for (size_t i = 0; i < entries.size(); ++i)
    if (entries[i].bytes > 0)
      order.push_back(i);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(entries[a].offset, a) < std::pair(entries[b].offset, b);
  });
  for (size_t i = 1; i < order.size(); ++i) {
    const Entry &below = entries[order[i - 1]], &above = entries[order[i]];
    if (above.offset < below.offset + below.bytes)
      return violates(
          9, root.at(table, order[i]).at(field),
          makeText("at least ", below.offset + below.bytes, ", the end of '", below.name, "'"),
          makeText(above.offset));
  }
  return {};
}

Verdict verifyTensors(const Plan &plan, const Path &root) {
  if (plan.tensors.size() > kMaxTensors)
    return violates(0, root.at("tensors"), makeText("at most ", kMaxTensors, " tensors"),
                    makeText(plan.tensors.size()));
  std::set<std::string_view> names;
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const Tensor &tensor = plan.tensors[i];
    Path path = root.at("tensors", i);
    if (tensor.name.empty() || !names.insert(tensor.name).second)
      return violates(0, path.at("name"), "a name of its own", makeText("'", tensor.name, "'"));
    EVO_VERIFY(verifyShape(path, tensor.shape, 1, kMaxRank));
    EVO_VERIFY(verifyPlace(path, tensor.shape, tensor.dtype, tensor.offset, tensor.bytes));
  }
  // A stream and its gradient may have one slot: verifyCalls knows which of them it holds. The
  // workspace is all kernels', so nothing else lies there.
  std::vector<Tensor> slots;
  for (const Tensor &tensor : plan.tensors) {
    bool known = plan.mode == Mode::Train && tensor.name != kWorkspaceTensor &&
                 std::any_of(slots.begin(), slots.end(), [&](const Tensor &slot) {
                   return slot.offset == tensor.offset && slot.bytes == tensor.bytes &&
                          slot.name != kWorkspaceTensor;
                 });
    slots.push_back(tensor);
    if (known)
      slots.back().bytes = 0; // none of its own
  }
  return verifyDisjoint(root, "tensors", "offset", slots);
}

Verdict verifyParts(const Weight &weight, const Path &path, std::set<std::string_view> &names) {
  int64_t row = 0;
  for (size_t i = 0; i < weight.parts.size(); ++i) {
    const WeightPart &part = weight.parts[i];
    Path partPath = path.at("parts", i);
    if (part.parameter.empty() || !names.insert(part.parameter).second)
      return violates(0, partPath.at("parameter"), "a name of its own",
                      makeText("'", part.parameter, "'"));
    if (part.firstRow != row)
      return violates(0, partPath.at("first_row"), makeText(row), makeText(part.firstRow));
    if (part.rows < 1 || part.rows > weight.shape[0] - row)
      return violates(0, partPath.at("rows"),
                      makeText("from 1 to ", weight.shape[0] - row, " rows"), makeText(part.rows));
    row += part.rows;
  }
  if (row != weight.shape[0])
    return violates(0, path.at("parts"), makeText("parts of ", weight.shape[0], " rows together"),
                    makeText(row));
  return {};
}

Verdict verifyWeights(const Plan &plan, const Path &root) {
  std::set<std::string_view> names, parameters;
  int64_t end = 0;
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    const Weight &weight = plan.weights[i];
    Path path = root.at("weights", i);
    if (weight.name.empty() || !names.insert(weight.name).second)
      return violates(0, path.at("name"), "a name of its own", makeText("'", weight.name, "'"));
    if (weight.dtype != storageType(plan.precision))
      return violates(0, path.at("dtype"), dtypeName(storageType(plan.precision)),
                      dtypeName(weight.dtype));
    EVO_VERIFY(verifyShape(path, weight.shape, 1, 2));
    EVO_VERIFY(verifyPlace(path, weight.shape, weight.dtype, weight.offset, weight.bytes));
    EVO_VERIFY(verifyParts(weight, path, parameters));
    end = std::max(end, alignTo(weight.offset + weight.bytes));
  }
  EVO_VERIFY(verifyDisjoint(root, "weights", "offset", plan.weights));
  if (plan.weightBlockBytes != end)
    return violates(10, root.at("weight_block_bytes"), makeText(end),
                    makeText(plan.weightBlockBytes));
  return {};
}

/// Gradients have a place where a backward program makes them.
Verdict verifyGradients(const Plan &plan, const Path &root) {
  struct Gradient {
    std::string_view name;
    int64_t offset, bytes;
  };
  bool trained = plan.mode == Mode::Train && programOf(plan, Phase::Backward);
  std::vector<Gradient> gradients;
  int64_t end = 0;
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    const Weight &weight = plan.weights[i];
    Path weightPath = root.at("weights", i);
    Path path = weightPath.at("gradient_offset");
    if (!trained && weight.gradientOffset != 0)
      return violates(0, path, "0 without a backward program", makeText(weight.gradientOffset));
    std::optional<int64_t> bytes = byteSize(weight.shape, statisticType(plan.precision));
    if (!bytes || *bytes > kMaxEnd)
      return violates(0, weightPath.at("shape"), "a gradient of fewer than 2^63 bytes",
                      makeText(std::span(weight.shape)));
    int64_t most = kMaxEnd - *bytes;
    if (weight.gradientOffset < 0 || weight.gradientOffset > most)
      return violates(8, path, makeText("an offset from 0 to ", most),
                      makeText(weight.gradientOffset));
    if (weight.gradientOffset % kAlignment != 0)
      return violates(8, path, makeText("a multiple of ", kAlignment),
                      makeText(weight.gradientOffset));
    gradients.push_back({weight.name, weight.gradientOffset, *bytes});
    end = std::max(end, alignTo(weight.gradientOffset + *bytes));
  }
  int64_t needed = trained ? end : 0;
  if (trained)
    EVO_VERIFY(verifyDisjoint(root, "weights", "gradient_offset", gradients));
  if (plan.gradientBlockBytes != needed)
    return violates(10, root.at("gradient_block_bytes"),
                    makeText(needed, trained ? "" : " without a backward program"),
                    makeText(plan.gradientBlockBytes));
  return {};
}

Verdict verifyModel(const Plan &plan, const Path &root) {
  Path path = root.at("model");
  const ModelInfo &model = plan.model;
  if (model.stack != "evoformer" && model.stack != "extra_msa" && model.stack != "template_pair")
    return violates(0, path.at("stack"), "evoformer, extra_msa or template_pair",
                    makeText("'", model.stack, "'"));
  if (model.blocks < 1 || model.blocks > INT32_MAX)
    return violates(0, path.at("blocks"), "from 1 to 2^31 - 1 blocks", makeText(model.blocks));
  for (const auto *table : {&model.sizes, &model.channels})
    for (const auto &[name, size] : *table)
      if (size < 1) {
        Path tablePath = path.at(table == &model.sizes ? "sizes" : "channels");
        return violates(0, tablePath.at(name), "a size of at least 1", makeText(size));
      }
  if (plan.backend != "cpu" && plan.backend != "cuda")
    return violates(0, root.at("backend"), "cpu or cuda", makeText("'", plan.backend, "'"));
  if (plan.devices < 1)
    return violates(0, root.at("devices"), "at least 1 device", makeText(plan.devices));
  return {};
}

Verdict verifySeries(const ProductTable &table, const ProductSeries &series, const Path &path) {
  if (series.products.tf32 && series.products.input != DType::F32)
    return violates(0, path.at("multiplied"), "tf32 with an input of f32",
                    dtypeName(series.products.input));
  for (size_t i = 0; i < series.measured.size(); ++i) {
    const auto &[shape, way] = series.measured[i];
    if (std::min({shape.m, shape.n, shape.k, shape.batches}) < 1)
      return violates(0, path.at("shapes", i), "extents of at least 1",
                      makeText(shape.m, ", ", shape.n, ", ", shape.k, " and ", shape.batches));
    if (way < -1 || way >= static_cast<int64_t>(table.ways.size()))
      return violates(0, path.at("shapes", i), makeText("a way from 0 to ", table.ways.size()),
                      makeText(int64_t{way} + 1));
  }
  return {};
}

/// Each class once, so that one of its series is all that counts.
Verdict verifyProducts(const Plan &plan, const Path &root) {
  const ProductTable &table = plan.products;
  Path path = root.at("products");
  if (table.empty() != table.library.empty())
    return violates(0, path.at("library"), table.empty() ? "none without series" : "a library",
                    makeText("'", table.library, "'"));
  size_t shapes = 0;
  std::set<ProductClass> classes;
  for (size_t i = 0; i < table.series.size(); ++i) {
    const ProductSeries &series = table.series[i];
    shapes += series.measured.size();
    if (!classes.insert(series.products).second)
      return violates(0, path.at("series", i), "a class of its own", "one again");
    EVO_VERIFY(verifySeries(table, series, path.at("series", i)));
  }
  if (std::max(shapes, table.ways.size()) > kMaxProducts)
    return violates(0, path, makeText("at most ", kMaxProducts, " shapes and ways"),
                    makeText(shapes, " and ", table.ways.size()));
  return {};
}

/// One axis over all ranks: every rank holds all of it, or the shards follow each other without
/// gap.
Verdict verifyAxis(const Plan &plan, const Path &root, const std::string &axis) {
  auto size = plan.model.sizes.find(axis);
  if (size == plan.model.sizes.end()) {
    Path rank = root.at("ranks", 0), extents = rank.at("extents");
    return violates(15, extents.at(axis), "an axis of the model's sizes", makeText("'", axis, "'"));
  }
  std::pair<int64_t, int64_t> all(0, size->second);
  bool replicated = plan.ranks[0].extents.at(axis) == all;
  int64_t next = 0;
  for (size_t i = 0; i < plan.ranks.size(); ++i) {
    auto [begin, end] = plan.ranks[i].extents.at(axis);
    bool fits = replicated ? std::pair(begin, end) == all
                           : begin == next && end >= begin && end <= size->second;
    bool last = i + 1 == plan.ranks.size();
    if (!fits || (last && end != size->second)) {
      Path rank = root.at("ranks", i), extents = rank.at("extents");
      std::string expected =
          replicated ? makeText("[0, ", size->second, ")")
                     : makeText("[", next, last ? ", " : ", at most ", size->second, ")");
      return violates(15, extents.at(axis), expected, makeText("[", begin, ", ", end, ")"));
    }
    next = end;
  }
  return {};
}

Verdict verifyRanks(const Plan &plan, const Path &root) {
  size_t devices = static_cast<size_t>(plan.devices);
  if (plan.ranks.size() != devices && !(plan.ranks.empty() && devices == 1))
    return violates(15, root.at("ranks"), makeText("one entry for each of ", devices, " devices"),
                    makeText(plan.ranks.size()));
  for (size_t i = 0; i < plan.ranks.size(); ++i) {
    Path path = root.at("ranks", i);
    if (plan.ranks[i].rank != static_cast<int64_t>(i))
      return violates(15, path.at("rank"), makeText(i), makeText(plan.ranks[i].rank));
    const auto &axes = plan.ranks[i].extents;
    bool same = axes.size() == plan.ranks[0].extents.size() &&
                std::equal(axes.begin(), axes.end(), plan.ranks[0].extents.begin(),
                           [](const auto &a, const auto &b) { return a.first == b.first; });
    if (!same)
      return violates(15, path.at("extents"), "the axes of rank 0", "others");
  }
  if (!plan.ranks.empty())
    for (const auto &[axis, interval] : plan.ranks[0].extents)
      EVO_VERIFY(verifyAxis(plan, root, axis));
  return {};
}

Verdict verifyNode(const ScheduleNode &node, const Path &path, int64_t first, int64_t count,
                   int depth) {
  bool hasBlocks = node.kind == "stack" || node.kind == "segment";
  if (!hasBlocks && node.kind != "run" && node.kind != "module")
    return violates(0, path.at("kind"), "stack, segment, run or module",
                    makeText("'", node.kind, "'"));
  if ((node.kind == "stack") != (depth == 0))
    return violates(0, path.at("kind"), depth ? "a part of the stack" : "stack", node.kind);
  int64_t most = hasBlocks ? first + count : 0;
  if (node.firstBlock < (hasBlocks ? first : 0) || node.firstBlock > most)
    return violates(0, path.at("first_block"),
                    makeText("from ", hasBlocks ? first : 0, " to ", most),
                    makeText(node.firstBlock));
  if (node.blockCount < hasBlocks || node.blockCount > most - node.firstBlock)
    return violates(0, path.at("block_count"),
                    makeText("from ", int{hasBlocks}, " to ", most - node.firstBlock, " blocks"),
                    makeText(node.blockCount));
  if (depth == 0 && (node.firstBlock != first || node.blockCount != count))
    return violates(0, path, makeText(count, " blocks from 0"),
                    makeText(node.blockCount, " from ", node.firstBlock));
  if (depth > kMaxTreeDepth)
    return violates(0, path, makeText("at most ", kMaxTreeDepth, " nested nodes"), "more");
  for (size_t i = 0; i < node.children.size(); ++i)
    EVO_VERIFY(verifyNode(node.children[i], path.at("children", i),
                          hasBlocks ? node.firstBlock : first, hasBlocks ? node.blockCount : count,
                          depth + 1));
  return {};
}

} // namespace

const Program *programOf(const Plan &plan, Phase phase) {
  for (const Program &program : plan.programs)
    if (program.phase == phase)
      return &program;
  return nullptr;
}

std::optional<size_t> weightOfGradient(const Plan &plan, std::string_view bufferName) {
  if (!bufferName.starts_with(kGradientPrefix))
    return std::nullopt;
  for (size_t i = 0; i < plan.weights.size(); ++i)
    if (plan.weights[i].name == bufferName.substr(kGradientPrefix.size()))
      return i;
  return std::nullopt;
}

Verdict verifyTables(const Plan &plan) {
  Path root;
  EVO_VERIFY(verifyModel(plan, root));
  EVO_VERIFY(verifyProducts(plan, root));
  EVO_VERIFY(verifyTensors(plan, root));
  EVO_VERIFY(verifyWeights(plan, root));
  EVO_VERIFY(verifyGradients(plan, root));
  EVO_VERIFY(verifyRanks(plan, root));
  return verifyNode(plan.schedule, root.at("schedule"), 0, plan.model.blocks, 0);
}

} // namespace evo::plan
