//===- GradientTest.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The references of the gradient kernels against central differences of the forward references, in
// float64: what the formulas of Kernels.def compute is the derivative of sum(dy * y).
//===----------------------------------------------------------------------===//
#include "test/conformance/Backends.h"
#include "test/conformance/CaseBuilder.h"
#include "test/conformance/Runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace evo::conformance {

namespace {

using plan::Kernel;
using plan::KernelAttributes;
using plan::Precision;

/// A kernel with operands by name, drawn at random.
struct Call {
  Kernel kernel;
  KernelAttributes attributes;
  std::vector<DenseTensor> operands;

  Call(Kernel kernel, const KernelAttributes &attributes, const Sizes &sizes)
      : kernel(kernel), attributes(attributes) {
    KernelCase drawn = CaseBuilder().make(kernel, attributes, sizes);
    drawn.seed = 77 + uint64_t(kernel);
    operands = place(drawn, Precision::Fp64).operands;
  }
  DenseTensor &operator[](std::string_view name) {
    return operands[size_t(plan::kernelInfo(kernel).operandIndex(name))];
  }
  Call &without(std::initializer_list<std::string_view> names) {
    for (std::string_view name : names)
      (*this)[name].present = false;
    return *this;
  }
  Call &with(std::initializer_list<std::pair<std::string_view, DenseTensor>> values) {
    for (const auto &[name, value] : values)
      (*this)[name] = value;
    return *this;
  }
  Call &run() {
    runReference(kernel, attributes, operands);
    return *this;
  }
};

double dot(const DenseTensor &a, const DenseTensor &b) {
  double sum = 0;
  for (size_t i = 0; i < a.data.size(); ++i)
    sum += a.data[i] * b.data[i];
  return sum;
}

DenseTensor difference(DenseTensor a, const DenseTensor &b) {
  for (size_t i = 0; i < a.data.size(); ++i)
    a.data[i] -= b.data[i];
  return a;
}

DenseTensor transposed(const DenseTensor &a) {
  DenseTensor result = a;
  std::swap(result.shape[0], result.shape[1]);
  for (int64_t i = 0; i < a.shape[0]; ++i)
    for (int64_t j = 0; j < a.shape[1]; ++j)
      result(j, i) = a(i, j);
  return result;
}

/// `gradient` is the derivative of sum(dy * output) by the operand `input`.
void expectGradient(Call forward, std::string_view output, const DenseTensor &dy,
                    std::string_view input, const DenseTensor &gradient) {
  constexpr double kStep = 1e-5;
  DenseTensor &x = forward[input];
  ASSERT_EQ(x.shape, gradient.shape) << input;
  for (size_t i = 0; i < x.data.size(); ++i) {
    double before = x.data[i];
    x.data[i] = before + kStep;
    double above = dot(forward.run()[output], dy);
    x.data[i] = before - kStep;
    double below = dot(forward.run()[output], dy);
    x.data[i] = before;
    // The difference's own error is some kStep^2 and 1e-16 / kStep.
    EXPECT_NEAR(gradient.data[i], (above - below) / (2 * kStep),
                2e-8 * (1 + std::abs(gradient.data[i])))
        << "d" << input << " at " << i;
  }
}

DenseTensor scaled(DenseTensor a, double factor) {
  for (double &value : a.data)
    value *= factor;
  return a;
}

void expectLayerNormGradients(double eps, double factor) {
  KernelAttributes attributes;
  attributes.eps = eps, attributes.factor = factor;
  Sizes sizes{{2, 3}, {{'c', 7}}};
  Call forward(Kernel::LayerNorm, attributes, sizes),
      grad(Kernel::LayerNormGrad, attributes, sizes);
  grad.with({{"x", forward["x"]}, {"weight", forward["weight"]}}).run();
  const DenseTensor dy = grad["dy"];
  // dx is the gradient by factor x.
  expectGradient(forward, "y", dy, "x", scaled(difference(grad["dx"], grad["residual"]), factor));
  expectGradient(forward, "y", dy, "weight",
                 difference(grad["dweight"], grad["weight_accumulator"]));
  expectGradient(forward, "y", dy, "bias", difference(grad["dbias"], grad["bias_accumulator"]));
}

TEST(GradientTest, LayerNorm) {
  expectLayerNormGradients(1e-5, 1);
  expectLayerNormGradients(0.5, 0.25);
  expectLayerNormGradients(0.5, 8);
}

/// Parts of `linear` and the mask of its dropout, broadcast along one axis, both or none.
void expectLinearGradients(plan::Activation activation, const std::vector<int64_t> &maskShape) {
  Sizes sizes{{2, 3}, {{'k', 5}, {'n', 4}}};
  KernelAttributes attributes;
  attributes.activation = activation;
  Call forward(Kernel::Linear, attributes, sizes);
  Call mask(Kernel::Copy, {}, {maskShape, {}});
  forward.with({{"dropout", mask["x"]}});
  Call h = forward;
  h.without({"row_scale", "gate", "dropout", "residual"}).run();
  Call grad(Kernel::LinearGrad, attributes, sizes);
  grad.with({{"h", h["y"]},
             {"row_scale", forward["row_scale"]},
             {"gate", forward["gate"]},
             {"dropout", forward["dropout"]}})
      .run();
  Call weight(Kernel::WeightGrad, {}, sizes), bias(Kernel::BiasGrad, {}, sizes);
  weight.with({{"du", grad["du"]}, {"x", forward["x"]}}).run();
  bias.with({{"du", grad["du"]}}).run();
  Call input(Kernel::Linear, {}, {{2, 3}, {{'k', 4}, {'n', 5}}});
  input.without({"bias", "row_scale", "gate", "dropout", "residual"})
      .with({{"x", grad["du"]}, {"weight", transposed(forward["weight"])}})
      .run();
  const DenseTensor dy = grad["dy"];
  expectGradient(forward, "y", dy, "gate", grad["dgate"]);
  expectGradient(forward, "y", dy, "weight", difference(weight["dweight"], weight["accumulator"]));
  expectGradient(forward, "y", dy, "bias", difference(bias["dbias"], bias["accumulator"]));
  expectGradient(forward, "y", dy, "x", input["y"]);
  expectGradient(forward, "y", dy, "residual", dy);
}

TEST(GradientTest, LinearByItsParts) {
  for (plan::Activation activation : {plan::Activation::None, plan::Activation::Relu})
    for (const std::vector<int64_t> &maskShape :
         std::vector<std::vector<int64_t>>{{1, 3, 4}, {2, 1, 4}, {1, 1, 4}, {2, 3, 4}})
      expectLinearGradients(activation, maskShape);
}

TEST(GradientTest, GatedLinearByItsParts) {
  Sizes sizes{{2, 3}, {{'k', 5}, {'n', 4}}};
  Call forward(Kernel::GatedLinear, {}, sizes);
  auto affine = [&](const char *weight, const char *bias) {
    Call part(Kernel::Linear, {}, sizes);
    part.without({"row_scale", "gate", "dropout", "residual"});
    return part.with({{"x", forward["x"]}, {"weight", forward[weight]}, {"bias", forward[bias]}})
        .run()["y"];
  };
  Call grad(Kernel::GatedLinearGrad, {}, sizes);
  grad.with({{"u", affine("weight", "bias")},
             {"g", affine("gate_weight", "gate_bias")},
             {"row_scale", forward["row_scale"]}})
      .run();
  const DenseTensor dy = grad["dy"];
  for (bool ofGate : {false, true}) {
    Call weight(Kernel::WeightGrad, {}, sizes), bias(Kernel::BiasGrad, {}, sizes);
    const DenseTensor slope = grad[ofGate ? "dg" : "du"];
    weight.without({"accumulator"}).with({{"du", slope}, {"x", forward["x"]}}).run();
    bias.without({"accumulator"}).with({{"du", slope}}).run();
    expectGradient(forward, "y", dy, ofGate ? "gate_weight" : "weight", weight["dweight"]);
    expectGradient(forward, "y", dy, ofGate ? "gate_bias" : "bias", bias["dbias"]);
  }
}

KernelAttributes attentionAttributes(int64_t heads) {
  KernelAttributes attributes;
  attributes.heads = heads, attributes.scale = 0.7, attributes.inf = 1e9;
  return attributes;
}

/// Grouped key heads with several queries, and one key head for all with one query. Of three
/// batches, the last has all keys masked.
std::vector<Sizes> headSizes() {
  return {attentionSizes(4, 3, 2, 5, 3, 2), attentionSizes(4, 3, 1, 5, 3, 1)};
}

TEST(GradientTest, Attention) {
  for (const Sizes &sizes : headSizes()) {
    Call forward(Kernel::Attention, attentionAttributes(4), sizes);
    for (int64_t k = 0; k < 5; ++k)
      forward["mask"](0, k) = k != 1, forward["mask"](1, k) = 1, forward["mask"](2, k) = 0;
    forward.run();
    Call grad(Kernel::AttentionGrad, attentionAttributes(4), sizes);
    for (const char *name : {"query", "key", "value", "pair_bias", "mask", "o", "lse"})
      grad[name] = forward[name];
    grad.run();
    const DenseTensor dout = grad["dout"];
    expectGradient(forward, "o", dout, "query", grad["dquery"]);
    expectGradient(forward, "o", dout, "key", grad["dkey"]);
    expectGradient(forward, "o", dout, "value", grad["dvalue"]);
    expectGradient(forward, "o", dout, "pair_bias",
                   difference(grad["dpair_bias"], grad["accumulator"]));
    for (int64_t y = 0; y < grad["dkey"].shape[2]; ++y) {
      EXPECT_EQ(grad["dkey"](0, 1, y), 0) << "a masked key";
      EXPECT_EQ(grad["dvalue"](0, 1, y), 0) << "a masked key";
      EXPECT_NE(grad["dvalue"](2, 1, y), 0) << "all keys masked";
    }
  }
}

TEST(GradientTest, AttentionByItsParts) {
  for (const Sizes &sizes : headSizes()) {
    Call logits(Kernel::AttentionLogits, attentionAttributes(4), sizes);
    Call logitsGrad(Kernel::AttentionLogitsGrad, attentionAttributes(4), sizes);
    logitsGrad.with({{"query", logits["query"]}, {"key", logits["key"]}}).run();
    // Masked logits are of the order of 1e9 and would drown the differences.
    logits.without({"mask"});
    const DenseTensor dl = logitsGrad["dl"];
    expectGradient(logits, "logits", dl, "query", logitsGrad["dquery"]);
    expectGradient(logits, "logits", dl, "key", logitsGrad["dkey"]);
    expectGradient(logits, "logits", dl, "pair_bias",
                   difference(logitsGrad["dpair_bias"], logitsGrad["accumulator"]));

    Call values(Kernel::AttentionValues, attentionAttributes(4), sizes);
    Call valuesGrad(Kernel::AttentionValuesGrad, attentionAttributes(4), sizes);
    valuesGrad.with({{"weights", values["weights"]}, {"value", values["value"]}}).run();
    const DenseTensor dout = valuesGrad["dout"];
    expectGradient(values, "o", dout, "weights", valuesGrad["dweights"]);
    expectGradient(values, "o", dout, "value", valuesGrad["dvalue"]);
  }
  Sizes sizes{{2, 3}, {{'k', 5}}};
  Call softmax(Kernel::Softmax, {}, sizes), grad(Kernel::SoftmaxGrad, {}, sizes);
  grad.with({{"y", softmax.run()["y"]}}).run();
  expectGradient(softmax, "y", grad["dy"], "x", grad["dx"]);
}

TEST(GradientTest, Gate) {
  for (int64_t u : {1, 4}) {
    Sizes sizes{{}, {{'b', 2}, {'u', u}, {'q', 4}, {'x', 3}}};
    Call forward(Kernel::Gate, {}, sizes), grad(Kernel::GateGrad, {}, sizes);
    for (const char *name : {"o", "gate", "gate_bias"})
      grad[name] = forward[name];
    grad.run();
    expectGradient(forward, "y", grad["dy"], "o", grad["dout"]);
    expectGradient(forward, "y", grad["dy"], "gate", grad["dgate"]);
    Call bias(Kernel::BiasGrad, {}, {{2, 4}, {{'n', 3}}});
    bias.without({"accumulator"}).with({{"du", grad["dgate"]}}).run();
    expectGradient(forward, "y", grad["dy"], "gate_bias", bias["dbias"]);
  }
}

TEST(GradientTest, MaskedMean) {
  KernelAttributes attributes;
  attributes.eps = 1e-3;
  Sizes sizes{{}, {{'b', 3}, {'u', 1}, {'q', 5}, {'x', 4}}};
  for (bool masked : {false, true}) {
    Call forward(Kernel::MaskedMean, attributes, sizes);
    Call grad(Kernel::MaskedMeanGrad, attributes, sizes);
    forward["mask"].present = masked;
    grad.with({{"mask", forward["mask"]}}).run();
    expectGradient(forward, "y", grad["dy"], "x", difference(grad["dx"], grad["residual"]));
  }
}

TEST(GradientTest, OuterProduct) {
  Sizes sizes{{}, {{'s', 3}, {'i', 2}, {'j', 4}, {'c', 3}, {'d', 2}, {'x', 6}}};
  Call forward(Kernel::OuterProduct, {}, sizes), grad(Kernel::OuterProductGrad, {}, sizes);
  grad.with({{"a", forward["a"]}, {"b", forward["b"]}}).run();
  const DenseTensor dout = grad["dout"];
  expectGradient(forward, "o", dout, "a", grad["da"]);
  expectGradient(forward, "o", dout, "b", difference(grad["db"], grad["accumulator"]));
}

/// The last two of three axes exchanged.
DenseTensor turned(const DenseTensor &a) {
  DenseTensor result = a;
  std::swap(result.shape[1], result.shape[2]);
  for (int64_t b = 0; b < a.shape[0]; ++b)
    for (int64_t m = 0; m < a.shape[1]; ++m)
      for (int64_t k = 0; k < a.shape[2]; ++k)
        result(b, k, m) = a(b, m, k);
  return result;
}

TEST(GradientTest, BatchMatmul) {
  Call forward(Kernel::BatchMatmul, {}, {{}, {{'b', 2}, {'m', 3}, {'n', 4}, {'k', 5}}});
  const DenseTensor dy =
      Call(Kernel::BatchMatmul, {}, {{}, {{'b', 2}, {'m', 3}, {'n', 4}, {'k', 1}}}).run()["y"];
  // da = dy b, a sum over n; db = dy^T a, a sum over m.
  Call da(Kernel::BatchMatmulGrad, {}, {{}, {{'b', 2}, {'m', 3}, {'n', 5}, {'k', 4}}}),
      db(Kernel::BatchMatmulGrad, {}, {{}, {{'b', 2}, {'m', 4}, {'n', 5}, {'k', 3}}});
  da.with({{"a", dy}, {"b", turned(forward["b"])}}).run();
  db.with({{"a", turned(dy)}, {"b", turned(forward["a"])}}).run();
  expectGradient(forward, "y", dy, "a", difference(da["dx"], da["accumulator"]));
  expectGradient(forward, "y", dy, "b", difference(db["dx"], db["accumulator"]));
}

/// The value of an element of a view after the call.
double elementAfter(const Placement::Buffer &buffer, const std::vector<std::byte> &after,
                    std::initializer_list<int64_t> indices) {
  int64_t offset = 0;
  size_t axis = 0;
  for (int64_t index : indices)
    offset += index * buffer.view.strides[axis++];
  plan::DType type = buffer.view.dtype;
  return loadElement(after.data() + buffer.start + offset * plan::elementBytes(type), type);
}

TEST(GradientTest, MaskedKeysHaveExactlyNoGradientOnAnyBackend) {
  int64_t found = 0;
  for (const KernelCase &testCase : kernelCases()) {
    if (testCase.kernel != Kernel::AttentionGrad ||
        !(testCase.hugeIfMasked || testCase.operands[1].shape[1] > 1024)) // several key blocks
      continue;
    for (const BackendFactory &factory : conformanceBackends())
      for (Precision precision : factory.precisions) {
        Placement placement = place(testCase, precision);
        auto backend = factory.create();
        auto after = runCase(**backend, testCase, placement, precision);
        ASSERT_TRUE(after.ok()) << after.status().message();
        const DenseTensor &mask = placement.operands[4];
        for (int64_t b = 0; b < mask.shape[0]; ++b) {
          double largest = 0;
          for (int64_t k = 0; k < mask.shape[1]; ++k)
            largest = std::max(largest, mask(b, k));
          for (int64_t k = 0; k < mask.shape[1]; ++k)
            for (int64_t y = 0; mask(b, k) < largest && y < testCase.operands[1].shape[2]; ++y)
              for (size_t output : {10, 11}) {
                ++found;
                ASSERT_EQ(elementAfter(placement.buffers[output], (*after)[output], {b, k, y}), 0)
                    << factory.name << ", " << testCase.name;
              }
        }
      }
  }
  EXPECT_GT(found, 1000);
}

} // namespace

} // namespace evo::conformance
