//===- CalibrationCalls.cpp - which calls are measured ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Calibrate.h"

#include <map>
#include <string>
#include <string_view>

namespace evo {

namespace {
using plan::Kernel;
using Extents = std::map<char, int64_t>;

/// Calls that differ in their rows alone.
struct Series {
  Kernel kernel = Kernel::Copy;
  std::string_view optional; ///< names of the optional operands that it has, each behind a blank
  Extents extents;           ///< of all axes but the rows
  int64_t heads = 1;
  bool heldOut = false;
  plan::Activation activation = plan::Activation::None;
};

class SeriesList {
public:
  std::vector<Series> all;

  void add(Kernel kernel, std::string_view optional, std::vector<Extents> shapes) {
    for (Extents &extents : shapes)
      all.push_back({kernel, optional, std::move(extents)});
  }
  void test(Kernel kernel, std::string_view optional, Extents extents) {
    all.push_back({kernel, optional, std::move(extents), 1, true});
  }
  /// Attention's kernels by {queries, keys, head width}, with 4 heads; `test` marks the last one.
  void attention(Kernel kernel, std::string_view optional,
                 std::vector<std::array<int64_t, 3>> shapes, bool testLast = true) {
    for (size_t i = 0; i < shapes.size(); ++i) {
      auto [q, k, width] = shapes[i];
      all.push_back({kernel,
                     optional,
                     {{'q', q}, {'k', k}, {'x', 4 * width}, {'y', 4 * width}},
                     4,
                     testLast && i + 1 == shapes.size()});
    }
  }
};

void addProducts(SeriesList &list) {
  list.add(Kernel::Linear, " bias",
           {{{'n', 256}, {'k', 256}},
            {{'n', 1024}, {'k', 256}},
            {{'n', 64}, {'k', 256}},
            {{'n', 128}, {'k', 128}},
            {{'n', 512}, {'k', 128}},
            {{'n', 8}, {'k', 128}},
            {{'n', 4}, {'k', 128}},
            {{'n', 64}, {'k', 64}},
            {{'n', 256}, {'k', 64}},
            {{'n', 128}, {'k', 512}},
            {{'n', 256}, {'k', 1024}}});
  list.add(Kernel::Linear, " bias gate residual",
           {{{'n', 128}, {'k', 128}}, {{'n', 64}, {'k', 64}}});
  list.test(Kernel::Linear, " bias", {{'n', 192}, {'k', 192}});
  list.add(Kernel::Linear, " bias row_scale residual",
           {{{'n', 256}, {'k', 1024}}, {{'n', 128}, {'k', 512}}});
  list.add(Kernel::Linear, "", {{{'n', 128}, {'k', 128}}, {{'n', 256}, {'k', 256}}});
  list.test(Kernel::Linear, " bias residual", {{'n', 128}, {'k', 256}});
  list.add(Kernel::GatedLinear, "",
           {{{'n', 128}, {'k', 128}}, {{'n', 64}, {'k', 64}}, {{'n', 32}, {'k', 128}}});
  list.test(Kernel::GatedLinear, " row_scale", {{'n', 96}, {'k', 128}});
  list.add(Kernel::WeightGrad, " accumulator",
           {{{'n', 256}, {'k', 256}},
            {{'n', 1024}, {'k', 256}},
            {{'n', 256}, {'k', 1024}},
            {{'n', 128}, {'k', 128}},
            {{'n', 512}, {'k', 128}},
            {{'n', 8}, {'k', 128}},
            {{'n', 64}, {'k', 64}}});
  list.test(Kernel::WeightGrad, " accumulator", {{'n', 192}, {'k', 192}});
  for (Kernel kernel : {Kernel::BatchMatmul, Kernel::BatchMatmulGrad}) {
    std::string_view optional = kernel == Kernel::BatchMatmul ? "" : " accumulator";
    list.add(kernel, optional,
             {{{'m', 64}, {'n', 64}, {'k', 64}},
              {{'m', 128}, {'n', 128}, {'k', 128}},
              {{'m', 256}, {'n', 256}, {'k', 256}},
              {{'m', 512}, {'n', 512}, {'k', 512}},
              {{'m', 16}, {'n', 256}, {'k', 256}},
              {{'m', 4}, {'n', 128}, {'k', 128}}});
    list.test(kernel, optional, {{'m', 192}, {'n', 192}, {'k', 192}});
  }
  list.add(Kernel::OuterProductNorm, "", {{{'s', 64}, {'j', 128}}, {{'s', 256}, {'j', 256}}});
}

void addOuterProducts(SeriesList &list) {
  struct Size {
    int64_t s, j;
    bool heldOut;
  };
  constexpr Size sizes[] = {{16, 64, false},  {64, 64, false},   {64, 256, false},
                            {256, 64, false}, {256, 256, false}, {128, 128, true}};
  for (Kernel kernel : {Kernel::OuterProduct, Kernel::OuterProductMean, Kernel::OuterProductGrad}) {
    std::string_view optional = kernel == Kernel::OuterProductGrad   ? " accumulator"
                                : kernel == Kernel::OuterProductMean ? " residual"
                                                                     : "";
    for (const Size &size : sizes)
      list.all.push_back(
          {kernel,
           optional,
           {{'s', size.s}, {'j', size.j}, {'c', 32}, {'d', 32}, {'x', 1024}, {'n', 128}},
           1,
           size.heldOut});
  }
}

void addAttention(SeriesList &list) {
  list.attention(
      Kernel::Attention, " pair_bias mask",
      {{32, 32, 32}, {128, 128, 32}, {512, 512, 32}, {128, 128, 16}, {4, 128, 32}, {256, 256, 32}});
  list.attention(Kernel::Attention, " mask",
                 {{32, 32, 32}, {128, 128, 32}, {512, 512, 32}, {64, 64, 8}, {64, 64, 32}});
  list.attention(Kernel::Attention, " mask", {{1, 256, 8}, {1, 64, 8}}, false);
  list.attention(Kernel::AttentionGrad, " pair_bias mask accumulator dpair_bias",
                 {{32, 32, 32}, {128, 128, 32}, {512, 512, 32}, {128, 128, 16}, {256, 256, 32}});
  list.attention(Kernel::AttentionGrad, " mask",
                 {{32, 32, 32}, {128, 128, 32}, {512, 512, 32}, {1, 128, 8}, {256, 256, 32}});
  for (Kernel kernel : {Kernel::AttentionLogits, Kernel::AttentionLogitsGrad}) {
    std::string_view optional =
        kernel == Kernel::AttentionLogits ? " pair_bias mask" : " accumulator dpair_bias";
    list.attention(kernel, optional,
                   {{32, 32, 32}, {128, 128, 32}, {512, 512, 32}, {128, 128, 16}, {256, 256, 32}});
  }
  for (Kernel kernel : {Kernel::AttentionValues, Kernel::AttentionValuesGrad})
    list.attention(kernel, "",
                   {{32, 32, 32}, {128, 128, 32}, {512, 512, 32}, {128, 128, 16}, {256, 256, 32}});
}

void addRows(SeriesList &list) {
  list.add(Kernel::LayerNorm, "", {{{'c', 256}}, {{'c', 128}}, {{'c', 64}}});
  list.test(Kernel::LayerNorm, "", {{'c', 192}});
  list.add(Kernel::LayerNormGrad, " residual weight_accumulator bias_accumulator",
           {{{'c', 256}}, {{'c', 128}}, {{'c', 64}}});
  list.test(Kernel::LayerNormGrad, " residual weight_accumulator bias_accumulator", {{'c', 192}});
  list.add(Kernel::Softmax, "", {{{'k', 32}}, {{'k', 128}}, {{'k', 512}}});
  list.test(Kernel::Softmax, "", {{'k', 256}});
  list.add(Kernel::SoftmaxGrad, "", {{{'k', 32}}, {{'k', 128}}, {{'k', 512}}});
  list.add(Kernel::Gate, "",
           {{{'q', 64}, {'x', 256}, {'u', 64}}, {{'q', 64}, {'x', 128}, {'u', 64}}});
  list.add(Kernel::GateGrad, "",
           {{{'q', 64}, {'x', 256}, {'u', 64}}, {{'q', 64}, {'x', 128}, {'u', 64}}});
  list.test(Kernel::Gate, "", {{'q', 128}, {'x', 64}, {'u', 128}});
  list.add(Kernel::MaskedMean, " mask",
           {{{'q', 64}, {'x', 64}, {'u', 1}}, {{'q', 256}, {'x', 64}, {'u', 1}}});
  list.add(Kernel::MaskedMeanGrad, " mask",
           {{{'q', 64}, {'x', 64}, {'u', 1}}, {{'q', 256}, {'x', 64}, {'u', 1}}});
  list.add(Kernel::LinearGrad, " row_scale", {{{'n', 128}}, {{'n', 256}}});
  list.add(Kernel::LinearGrad, " h gate dgate", {{{'n', 128}}, {{'n', 256}}});
  list.all.push_back({Kernel::LinearGrad, " h", {{'n', 512}}, 1, false, plan::Activation::Relu});
  list.add(Kernel::GatedLinearGrad, " row_scale", {{{'n', 128}}, {{'n', 64}}});
  list.add(Kernel::BiasGrad, " accumulator", {{{'n', 64}}, {{'n', 256}}, {{'n', 1024}}});
  list.test(Kernel::BiasGrad, " accumulator", {{'n', 128}});
}

/// Layers with the optional operands that plans give them, and their gradients.
void addFineLayers(SeriesList &list) {
  list.add(Kernel::Linear, " bias", {{{'n', 256}, {'k', 128}}, {{'n', 1024}, {'k', 64}}});
  list.add(Kernel::Linear, "",
           {{{'n', 256}, {'k', 1024}},
            {{'n', 1024}, {'k', 256}},
            {{'n', 128}, {'k', 512}},
            {{'n', 512}, {'k', 128}},
            {{'n', 64}, {'k', 256}}});
  list.add(Kernel::Linear, " residual",
           {{{'n', 128}, {'k', 128}},
            {{'n', 128}, {'k', 256}},
            {{'n', 256}, {'k', 256}},
            {{'n', 256}, {'k', 64}}});
  list.add(Kernel::Linear, " bias residual", {{{'n', 128}, {'k', 128}}, {{'n', 256}, {'k', 256}}});
  list.add(Kernel::Linear, " bias row_scale residual", {{{'n', 128}, {'k', 1024}}});
  list.add(Kernel::GatedLinear, " row_scale", {{{'n', 256}, {'k', 128}}});
  list.add(Kernel::GatedLinearGrad, " row_scale", {{{'n', 256}}});
  list.add(Kernel::WeightGrad, " accumulator",
           {{{'n', 256}, {'k', 128}},
            {{'n', 128}, {'k', 512}},
            {{'n', 64}, {'k', 256}},
            {{'n', 128}, {'k', 1024}},
            {{'n', 4}, {'k', 128}},
            {{'n', 1024}, {'k', 64}}});
  list.test(Kernel::WeightGrad, " accumulator", {{'n', 256}, {'k', 64}});
  list.all.push_back({Kernel::LinearGrad, " h", {{'n', 1024}}, 1, false, plan::Activation::Relu});
  list.add(Kernel::LinearGrad, " gate", {{{'n', 128}}});
  list.add(Kernel::BiasGrad, " accumulator", {{{'n', 512}}, {{'n', 4}}});
  list.add(Kernel::LayerNormGrad, " weight_accumulator bias_accumulator",
           {{{'c', 256}}, {{'c', 128}}});
  list.add(Kernel::MaskedMean, " mask", {{{'q', 1024}, {'x', 64}, {'u', 1}}});
  list.add(Kernel::MaskedMeanGrad, " mask", {{{'q', 1024}, {'x', 64}, {'u', 1}}});
}

/// Crops of training and longer chains of inference.
void addFineLengths(SeriesList &list) {
  for (Kernel kernel : {Kernel::BatchMatmul, Kernel::BatchMatmulGrad}) {
    std::string_view optional = kernel == Kernel::BatchMatmul ? "" : " accumulator";
    list.add(kernel, optional,
             {{{'m', 384}, {'n', 384}, {'k', 384}},
              {{'m', 1024}, {'n', 1024}, {'k', 1024}},
              {{'m', 2048}, {'n', 2048}, {'k', 2048}}});
  }
  list.add(Kernel::OuterProductNorm, "", {{{'s', 512}, {'j', 384}}, {{'s', 1024}, {'j', 1024}}});
  for (Kernel kernel : {Kernel::OuterProduct, Kernel::OuterProductMean, Kernel::OuterProductGrad})
    for (auto [s, j] :
         {std::pair<int64_t, int64_t>{128, 256}, {512, 384}, {1024, 256}, {2048, 384}, {128, 2048}})
      list.all.push_back({kernel,
                          kernel == Kernel::OuterProductGrad   ? " accumulator"
                          : kernel == Kernel::OuterProductMean ? " residual"
                                                               : "",
                          {{'s', s}, {'j', j}, {'c', 32}, {'d', 32}, {'x', 1024}, {'n', 128}}});
  list.attention(Kernel::Attention, " pair_bias mask",
                 {{64, 64, 32},
                  {256, 256, 32},
                  {384, 384, 32},
                  {1024, 1024, 32},
                  {2048, 2048, 32},
                  {64, 64, 8},
                  {256, 256, 8},
                  {384, 384, 8},
                  {320, 320, 32}});
  list.attention(Kernel::Attention, " mask",
                 {{256, 256, 32}, {384, 384, 32}, {1, 1024, 8}, {192, 192, 32}});
  list.attention(
      Kernel::AttentionGrad, " pair_bias mask accumulator dpair_bias",
      {{256, 256, 32}, {384, 384, 32}, {64, 64, 8}, {256, 256, 8}, {384, 384, 8}, {320, 320, 32}});
  list.attention(Kernel::AttentionGrad, " mask",
                 {{256, 256, 32}, {384, 384, 32}, {1, 1024, 8}, {192, 192, 32}});
}

void addElements(SeriesList &list) {
  for (Kernel kernel : {Kernel::Copy, Kernel::Add, Kernel::Zero, Kernel::DropoutMask})
    list.add(kernel, "", {{}});
  list.add(Kernel::CountNonfinite, "", {{{'e', 4}}});
  list.add(Kernel::SgdStep, " velocity new_velocity", {{{'e', 4}}});
  list.add(Kernel::AdamwStep, "", {{{'e', 4}}});
  list.add(Kernel::AdvanceOptimizer, "", {{{'e', 4}}});
}

plan::KernelAttributes attributesOf(const Series &series) {
  plan::KernelAttributes attributes;
  attributes.eps = 1e-5, attributes.scale = 0.2, attributes.inf = 1e9, attributes.rate = 0.1;
  attributes.learningRate = 1e-3;
  attributes.momentum = series.kernel == Kernel::SgdStep ? 0.9 : 0;
  attributes.beta1 = 0.9, attributes.beta2 = 0.999;
  attributes.heads = series.heads;
  attributes.activation = series.activation;
  return attributes;
}

/// Row letters: those of plan::shapeAxes.
char rowsOf(const plan::KernelInfo &info) {
  char rows = 0;
  for (const plan::OperandInfo &operand : info.operands)
    for (char letter : operand.axes)
      if (letter == '*' || (letter == 'b' && rows != '*') || (letter == 'i' && rows == 0))
        rows = letter;
  return rows;
}

CalibrationCall callOf(const Series &series, int64_t rows) {
  const plan::KernelInfo &info = plan::kernelInfo(series.kernel);
  CalibrationCall call{series.kernel, attributesOf(series), {}, 0, series.heldOut};
  Extents extents = series.extents;
  extents['h'] = series.heads;
  if (char letter = rowsOf(info))
    extents[letter] = rows;
  const std::string optional = std::string(series.optional) + " ";
  for (const plan::OperandInfo &operand : info.operands) {
    bool present = !operand.isOptional() ||
                   optional.find(" " + std::string(operand.name) + " ") != std::string::npos;
    call.shapes.emplace_back();
    if (!present)
      continue;
    call.shapes.back().emplace();
    for (char letter : operand.axes)
      call.shapes.back()->push_back(extents.at(letter));
  }
  return call;
}

/// Whether a call is no larger than the limits.
bool isWithin(const CalibrationCall &call, const CalibrationLimits &limits) {
  Result<plan::AxisExtents> axes = plan::bindKernelAxes(call.kernel, call.attributes, call.shapes);
  double bytes = 0;
  for (const auto &shape : call.shapes) {
    double elements = shape ? 4 : 0;
    for (int64_t size : shape.value_or(std::vector<int64_t>()))
      elements *= static_cast<double>(size);
    bytes += elements;
  }
  return axes.ok() && bytes <= limits.mostBytes &&
         plan::kernelFlops(call.kernel, *axes) <= limits.mostFlops;
}

} // namespace

std::vector<CalibrationCall> calibrationCalls(const CalibrationLimits &limits) {
  constexpr size_t kTestEvery = 6;
  SeriesList list;
  addProducts(list);
  addOuterProducts(list);
  addAttention(list);
  addRows(list);
  addElements(list);
  if (limits.isFine) {
    addFineLayers(list);
    addFineLengths(list);
  }
  std::vector<CalibrationCall> calls;
  for (size_t i = 0; i < list.all.size(); ++i) {
    const Series &series = list.all[i];
    const char letter = rowsOf(plan::kernelInfo(series.kernel));
    std::vector<CalibrationCall> ofSeries;
    // Elementwise kernels begin where a call is more than its launch.
    int64_t rows =
        letter == '*' ? (series.extents.count('e') || series.extents.empty() ? 1024 : 16) : 1;
    for (; ofSeries.size() < limits.mostCalls; rows *= 4) {
      CalibrationCall call = callOf(series, rows);
      if (!ofSeries.empty() && (letter == 0 || !isWithin(call, limits)))
        break;
      call.series = static_cast<int32_t>(i);
      // One in a few tests the table between the others of its series or behind them. The first
      // stays: below it time stops falling with work.
      call.heldOut |= !ofSeries.empty() && (calls.size() + ofSeries.size()) % kTestEvery == 5;
      ofSeries.push_back(std::move(call));
    }
    if (ofSeries.size() < 3 && !series.heldOut)
      for (CalibrationCall &call : ofSeries)
        call.heldOut = false;
    calls.insert(calls.end(), ofSeries.begin(), ofSeries.end());
  }
  return calls;
}

} // namespace evo
