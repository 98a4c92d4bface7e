//===- Reference.cpp ------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/Reference.h"

#include "test/conformance/ReferenceParts.h"

#include <algorithm>
#include <cmath>

namespace evo::conformance {

using plan::KernelAttributes;
using Operands = std::vector<DenseTensor>;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

DenseTensor asRows(const DenseTensor &tensor, int64_t last) {
  DenseTensor rows = tensor;
  rows.shape = {1, last};
  for (size_t d = 0; d + 1 < tensor.shape.size(); ++d)
    rows.shape[0] *= tensor.shape[d];
  return rows;
}

std::vector<double> logitsOf(const KernelAttributes &attributes, const DenseTensor &query,
                             const DenseTensor &key, const DenseTensor &bias,
                             const DenseTensor &mask, int64_t b, int64_t h, int64_t q) {
  int64_t keys = key.shape[1], width = query.shape[2] / attributes.heads;
  int64_t g = h % (key.shape[2] / width);
  double largest = 0;
  for (int64_t k = 0; mask.present && k < keys; ++k)
    largest = k ? std::max(largest, mask(b, k)) : mask(b, k);
  std::vector<double> logits(static_cast<size_t>(keys));
  for (int64_t k = 0; k < keys; ++k) {
    double sum = 0;
    for (int64_t c = 0; c < width; ++c)
      sum += query(b, q, h * width + c) * key(b, k, g * width + c);
    sum *= attributes.scale;
    if (bias.present)
      sum += bias(h, q, k);
    if (mask.present)
      sum += attributes.inf * (mask(b, k) - largest);
    logits[size_t(k)] = sum;
  }
  return logits;
}

int64_t broadcastIndex(const DenseTensor &tensor, const DenseTensor &whole, int64_t index) {
  int64_t result = 0, step = 1;
  for (size_t d = whole.shape.size(); d-- > 0;) {
    if (tensor.shape[d] != 1)
      result += index % whole.shape[d] * step;
    index /= whole.shape[d];
    step *= tensor.shape[d];
  }
  return result;
}

std::array<uint32_t, 4> referencePhilox(std::array<uint32_t, 4> counter,
                                        std::array<uint32_t, 2> key) {
  for (uint32_t round = 0; round < 10; ++round) {
    std::array<uint64_t, 2> product = {uint64_t(counter[0]) * 3528531795u,
                                       uint64_t(counter[2]) * 3449720151u};
    std::array<uint32_t, 2> roundKey = {key[0] + round * 2654435769u, key[1] + round * 3144134277u};
    counter = {uint32_t(product[1] / 4294967296u) ^ counter[1] ^ roundKey[0], uint32_t(product[1]),
               uint32_t(product[0] / 4294967296u) ^ counter[3] ^ roundKey[1], uint32_t(product[0])};
  }
  return counter;
}

namespace {

void dropoutMask(const KernelAttributes &attributes, Operands &o, const plan::DropoutKey &dropout) {
  for (int64_t i = 0; i < o[0].count(); ++i) {
    uint32_t word =
        referencePhilox({uint32_t(i / 4), dropout.block, uint32_t(attributes.module), 0},
                        {dropout.seed, dropout.step})[size_t(i % 4)];
    bool kept = double(word) >= std::floor(attributes.rate * 4294967296.0);
    o[0].data[size_t(i)] = kept ? 1 / (1 - attributes.rate) : 0;
  }
}

void layerNorm(const KernelAttributes &attributes, Operands &o) {
  double factor = attributes.factor;
  int64_t channels = o[0].shape.back();
  DenseTensor x = asRows(o[0], channels), y = asRows(o[3], channels);
  for (int64_t r = 0; r < x.shape[0]; ++r) {
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < channels; ++c)
      mean += factor * x(r, c) / double(channels);
    for (int64_t c = 0; c < channels; ++c)
      variance += (factor * x(r, c) - mean) * (factor * x(r, c) - mean) / double(channels);
    double rstd = 1 / std::sqrt(variance + attributes.eps);
    for (int64_t c = 0; c < channels; ++c)
      y(r, c) = (factor * x(r, c) - mean) * rstd * o[1](c) + o[2](c);
    if (o[4].present)
      o[4].data[size_t(r)] = mean;
    if (o[5].present)
      o[5].data[size_t(r)] = rstd;
  }
  o[3].data = y.data;
}

/// sum_k x[r,k] weight[n,k] + bias[n]
double affine(const DenseTensor &x, int64_t r, const DenseTensor &weight, const DenseTensor &bias,
              int64_t n) {
  double sum = bias.present ? bias(n) : 0;
  for (int64_t k = 0; k < weight.shape[1]; ++k)
    sum += x(r, k) * weight(n, k);
  return sum;
}

void linear(const KernelAttributes &attributes, Operands &o) {
  int64_t width = o[7].shape.back();
  DenseTensor x = asRows(o[0], o[0].shape.back()), y = asRows(o[7], width);
  for (int64_t r = 0; r < x.shape[0]; ++r)
    for (int64_t n = 0; n < width; ++n) {
      double value = affine(x, r, o[1], DenseTensor{false, {}, {}}, n) * attributes.factor +
                     (o[2].present ? o[2](n) : 0);
      if (attributes.activation == plan::Activation::Relu)
        value = std::max(value, 0.0);
      if (o[4].present)
        value *= sigmoid(o[4].data[size_t(r * width + n)]);
      if (o[3].present)
        value *= o[3].data[size_t(r)];
      if (o[5].present)
        value *= o[5].data[size_t(broadcastIndex(o[5], o[7], r * width + n))];
      if (o[6].present)
        value += o[6].data[size_t(r * width + n)];
      y(r, n) = value;
    }
  o[7].data = y.data;
}

void gatedLinear(Operands &o) {
  int64_t width = o[6].shape.back();
  DenseTensor x = asRows(o[0], o[0].shape.back()), y = asRows(o[6], width);
  for (int64_t r = 0; r < x.shape[0]; ++r)
    for (int64_t n = 0; n < width; ++n)
      y(r, n) = (o[5].present ? o[5].data[size_t(r)] : 1) * sigmoid(affine(x, r, o[3], o[4], n)) *
                affine(x, r, o[1], o[2], n);
  o[6].data = y.data;
}

/// In place; returns the log-sum-exp.
double softmaxOf(std::vector<double> &logits) {
  double largest = *std::max_element(logits.begin(), logits.end()), sum = 0;
  for (double &l : logits)
    sum += l = std::exp(l - largest);
  for (double &l : logits)
    l /= sum;
  return largest + std::log(sum);
}

void attention(const KernelAttributes &attributes, Operands &o, Rounding between) {
  const DenseTensor &value = o[2];
  int64_t width = o[0].shape[2] / attributes.heads, groups = value.shape[2] / width;
  for (int64_t b = 0; b < o[0].shape[0]; ++b)
    for (int64_t h = 0; h < attributes.heads; ++h)
      for (int64_t q = 0; q < o[0].shape[1]; ++q) {
        std::vector<double> weights = logitsOf(attributes, o[0], o[1], o[3], o[4], b, h, q);
        double lse = softmaxOf(weights);
        for (int64_t c = 0; c < width; ++c) {
          double sum = 0;
          for (int64_t k = 0; k < value.shape[1]; ++k)
            sum += between(weights[size_t(k)]) * value(b, k, h % groups * width + c);
          o[5](b, q, h * width + c) = sum;
        }
        if (o[6].present)
          o[6](b, h, q) = lse;
      }
}

void attentionLogits(const KernelAttributes &attributes, Operands &o) {
  for (int64_t b = 0; b < o[0].shape[0]; ++b)
    for (int64_t h = 0; h < attributes.heads; ++h)
      for (int64_t q = 0; q < o[0].shape[1]; ++q) {
        std::vector<double> logits = logitsOf(attributes, o[0], o[1], o[2], o[3], b, h, q);
        for (int64_t k = 0; k < o[1].shape[1]; ++k)
          o[4](b, h, q, k) = logits[size_t(k)];
      }
}

void softmax(Operands &o) {
  auto keys = size_t(o[0].shape.back());
  for (size_t start = 0; start < o[0].data.size(); start += keys) {
    std::vector<double> row(o[0].data.begin() + std::ptrdiff_t(start),
                            o[0].data.begin() + std::ptrdiff_t(start + keys));
    softmaxOf(row);
    std::copy(row.begin(), row.end(), o[1].data.begin() + std::ptrdiff_t(start));
  }
}

void attentionValues(const KernelAttributes &attributes, Operands &o) {
  int64_t width = o[2].shape[2] / attributes.heads, groups = o[1].shape[2] / width;
  for (int64_t b = 0; b < o[0].shape[0]; ++b)
    for (int64_t h = 0; h < attributes.heads; ++h)
      for (int64_t q = 0; q < o[0].shape[2]; ++q)
        for (int64_t c = 0; c < width; ++c) {
          double sum = 0;
          for (int64_t k = 0; k < o[1].shape[1]; ++k)
            sum += o[0](b, h, q, k) * o[1](b, k, h % groups * width + c);
          o[2](b, q, h * width + c) = sum;
        }
}

void gate(Operands &o) {
  for (int64_t b = 0; b < o[3].shape[0]; ++b)
    for (int64_t q = 0; q < o[3].shape[1]; ++q)
      for (int64_t x = 0; x < o[3].shape[2]; ++x)
        o[3](b, q, x) = sigmoid(o[1](b, q, x) + o[2](x)) * o[0](b, o[0].shape[1] == 1 ? 0 : q, x);
}

void maskedMean(const KernelAttributes &attributes, Operands &o) {
  for (int64_t b = 0; b < o[0].shape[0]; ++b)
    for (int64_t x = 0; x < o[0].shape[2]; ++x) {
      double sum = 0, weight = attributes.eps;
      for (int64_t q = 0; q < o[0].shape[1]; ++q) {
        double m = o[1].present ? o[1](b, q) : 1;
        sum += m * o[0](b, q, x);
        weight += m;
      }
      o[2](b, 0, x) = sum / weight;
    }
}

double outer(const DenseTensor &a, const DenseTensor &b, int64_t i, int64_t j, int64_t c,
             int64_t d) {
  double sum = 0;
  for (int64_t s = 0; s < a.shape[0]; ++s)
    sum += a(s, i, c) * b(s, j, d);
  return sum;
}

void outerProduct(const KernelAttributes &attributes, Operands &o) {
  int64_t width = o[1].shape[2];
  for (int64_t i = 0; i < o[2].shape[0]; ++i)
    for (int64_t j = 0; j < o[2].shape[1]; ++j)
      for (int64_t x = 0; x < o[2].shape[2]; ++x)
        o[2](i, j, x) = attributes.factor * outer(o[0], o[1], i, j, x / width, x % width);
}

void outerProductMean(Operands &o, Rounding between) {
  int64_t width = o[1].shape[2], products = o[2].shape[1];
  std::vector<double> row(static_cast<size_t>(products));
  for (int64_t i = 0; i < o[6].shape[0]; ++i)
    for (int64_t j = 0; j < o[6].shape[1]; ++j) {
      for (int64_t x = 0; x < products; ++x)
        row[size_t(x)] = between(outer(o[0], o[1], i, j, x / width, x % width));
      for (int64_t n = 0; n < o[6].shape[2]; ++n) {
        double sum = o[3](n);
        for (int64_t x = 0; x < products; ++x)
          sum += o[2](n, x) * row[size_t(x)];
        o[6](i, j, n) = (o[5].present ? o[5](i, j, n) : 0) + o[4](i, j) * sum;
      }
    }
}

void outerProductNorm(const KernelAttributes &attributes, Operands &o) {
  for (int64_t i = 0; i < o[2].shape[0]; ++i)
    for (int64_t j = 0; j < o[2].shape[1]; ++j) {
      double sum = attributes.eps;
      for (int64_t s = 0; s < o[0].shape[0]; ++s)
        sum += o[0](s, i) * o[1](s, j);
      o[2](i, j) = 1 / sum;
    }
}

void batchMatmul(const KernelAttributes &attributes, Operands &o) {
  for (int64_t b = 0; b < o[2].shape[0]; ++b)
    for (int64_t m = 0; m < o[2].shape[1]; ++m)
      for (int64_t n = 0; n < o[2].shape[2]; ++n) {
        double sum = 0;
        for (int64_t k = 0; k < o[0].shape[2]; ++k)
          sum += o[0](b, m, k) * o[1](b, n, k);
        o[2](b, m, n) = attributes.factor * sum;
      }
}

} // namespace

void runReference(plan::Kernel kernel, const KernelAttributes &attributes, Operands &operands,
                  const plan::DropoutKey &dropout, Rounding between) {
  switch (kernel) {
  case plan::Kernel::LayerNorm:
    return layerNorm(attributes, operands);
  case plan::Kernel::Linear:
    return linear(attributes, operands);
  case plan::Kernel::GatedLinear:
    return gatedLinear(operands);
  case plan::Kernel::Attention:
    return attention(attributes, operands, between);
  case plan::Kernel::AttentionLogits:
    return attentionLogits(attributes, operands);
  case plan::Kernel::Softmax:
    return softmax(operands);
  case plan::Kernel::AttentionValues:
    return attentionValues(attributes, operands);
  case plan::Kernel::Gate:
    return gate(operands);
  case plan::Kernel::MaskedMean:
    return maskedMean(attributes, operands);
  case plan::Kernel::OuterProduct:
    return outerProduct(attributes, operands);
  case plan::Kernel::OuterProductMean:
    return outerProductMean(operands, between);
  case plan::Kernel::OuterProductNorm:
    return outerProductNorm(attributes, operands);
  case plan::Kernel::BatchMatmul:
    return batchMatmul(attributes, operands);
  case plan::Kernel::Copy:
    operands[1].data = operands[0].data;
    return;
  case plan::Kernel::DropoutMask:
    return dropoutMask(attributes, operands, dropout);
  case plan::Kernel::LayerNormGrad:
  case plan::Kernel::LinearGrad:
  case plan::Kernel::WeightGrad:
  case plan::Kernel::BiasGrad:
  case plan::Kernel::GatedLinearGrad:
  case plan::Kernel::AttentionGrad:
  case plan::Kernel::SoftmaxGrad:
  case plan::Kernel::AttentionValuesGrad:
  case plan::Kernel::AttentionLogitsGrad:
  case plan::Kernel::GateGrad:
  case plan::Kernel::MaskedMeanGrad:
  case plan::Kernel::OuterProductGrad:
  case plan::Kernel::Add:
  case plan::Kernel::BatchMatmulGrad:
  case plan::Kernel::Zero:
    return runGradientReference(kernel, attributes, operands, between);
  case plan::Kernel::CountNonfinite:
  case plan::Kernel::SgdStep:
  case plan::Kernel::AdamwStep:
  case plan::Kernel::AdvanceOptimizer:
    return runOptimizerReference(kernel, attributes, operands);
  }
}

} // namespace evo::conformance
