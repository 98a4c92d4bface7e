//===- ReferenceGrad.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The gradient kernels; GradientTest.cpp proves them by finite differences of the forward ones.
//===----------------------------------------------------------------------===//
#include "test/conformance/ReferenceParts.h"

#include <algorithm>
#include <cmath>

namespace evo::conformance {

namespace {

using plan::KernelAttributes;
using Operands = std::vector<DenseTensor>;

/// sigmoid(x) (1 - sigmoid(x)) without its cancellation: the slope is even.
double sigmoidSlope(double x) {
  double e = std::exp(-std::abs(x));
  return e / ((1 + e) * (1 + e));
}

/// The value at a flat index; `otherwise` where the operand is absent.
double valueOr(const DenseTensor &tensor, int64_t index, double otherwise) {
  return tensor.present ? tensor.data[size_t(index)] : otherwise;
}

/// An output begins as its accumulator, or as zeros.
void begin(DenseTensor &output, const DenseTensor &accumulator) {
  if (accumulator.present)
    output.data = accumulator.data;
  else
    output.data.assign(size_t(output.count()), 0);
}

void layerNormGrad(const KernelAttributes &attributes, Operands &o) {
  int64_t channels = o[0].shape.back();
  DenseTensor x = asRows(o[0], channels), dy = asRows(o[2], channels), dx = asRows(o[6], channels);
  for (double &value : x.data)
    value *= attributes.factor;
  begin(o[7], o[4]);
  begin(o[8], o[5]);
  for (int64_t r = 0; r < x.shape[0]; ++r) {
    double n = double(channels), mean = 0, variance = 0, e = 0, product = 0;
    for (int64_t c = 0; c < channels; ++c)
      mean += x(r, c) / n;
    for (int64_t c = 0; c < channels; ++c)
      variance += (x(r, c) - mean) * (x(r, c) - mean) / n;
    double rstd = 1 / std::sqrt(variance + attributes.eps);
    for (int64_t c = 0; c < channels; ++c) {
      double normal = (x(r, c) - mean) * rstd;
      e += dy(r, c) * o[1](c) / n;
      product += dy(r, c) * o[1](c) * normal / n;
      o[7](c) += dy(r, c) * normal;
      o[8](c) += dy(r, c);
    }
    for (int64_t c = 0; c < channels; ++c)
      dx(r, c) = valueOr(o[3], r * channels + c, 0) +
                 rstd * (dy(r, c) * o[1](c) - e - (x(r, c) - mean) * rstd * product);
  }
  o[6].data = dx.data;
}

void linearGrad(const KernelAttributes &attributes, Operands &o) {
  int64_t width = o[0].shape.back();
  for (int64_t i = 0; i < o[0].count(); ++i) {
    double dy = o[0].data[size_t(i)] * valueOr(o[2], i / width, 1);
    if (o[4].present)
      dy *= o[4].data[size_t(broadcastIndex(o[4], o[0], i))];
    double open = o[3].present ? sigmoid(o[3].data[size_t(i)]) : 1;
    bool passes = attributes.activation != plan::Activation::Relu || o[1].data[size_t(i)] > 0;
    o[5].data[size_t(i)] = passes ? open * dy : 0;
    if (o[6].present)
      o[6].data[size_t(i)] = o[1].data[size_t(i)] * sigmoidSlope(o[3].data[size_t(i)]) * dy;
  }
}

void weightGrad(const KernelAttributes &attributes, Operands &o) {
  DenseTensor du = asRows(o[0], o[3].shape[0]), x = asRows(o[1], o[3].shape[1]);
  begin(o[3], o[2]);
  for (int64_t r = 0; r < du.shape[0]; ++r)
    for (int64_t n = 0; n < o[3].shape[0]; ++n)
      for (int64_t k = 0; k < o[3].shape[1]; ++k)
        o[3](n, k) += attributes.factor * du(r, n) * x(r, k);
}

void batchMatmulGrad(const KernelAttributes &attributes, Operands &o) {
  begin(o[3], o[2]);
  for (int64_t b = 0; b < o[3].shape[0]; ++b)
    for (int64_t m = 0; m < o[3].shape[1]; ++m)
      for (int64_t n = 0; n < o[3].shape[2]; ++n)
        for (int64_t k = 0; k < o[0].shape[2]; ++k)
          o[3](b, m, n) += attributes.factor * o[0](b, m, k) * o[1](b, n, k);
}

/// Sums of thousands of equal values drift in double; these are wider.
void biasGrad(Operands &o) {
  int64_t width = o[2].shape[0];
  begin(o[2], o[1]);
  for (int64_t n = 0; n < width; ++n) {
    long double sum = o[2](n);
    for (int64_t i = n; i < o[0].count(); i += width)
      sum += o[0].data[size_t(i)];
    o[2](n) = double(sum);
  }
}

void gatedLinearGrad(Operands &o) {
  int64_t width = o[0].shape.back();
  for (int64_t i = 0; i < o[0].count(); ++i) {
    double dy = o[0].data[size_t(i)] * valueOr(o[3], i / width, 1);
    o[4].data[size_t(i)] = sigmoid(o[2].data[size_t(i)]) * dy;
    o[5].data[size_t(i)] = o[1].data[size_t(i)] * sigmoidSlope(o[2].data[size_t(i)]) * dy;
  }
}

void attentionGrad(const KernelAttributes &attributes, Operands &o, Rounding between) {
  int64_t heads = attributes.heads, width = o[0].shape[2] / heads;
  int64_t groups = o[1].shape[2] / width, keys = o[1].shape[1];
  const DenseTensor &query = o[0], &key = o[1], &value = o[2], &dout = o[7], none{false, {}, {}};
  for (size_t i = 9; i <= 11; ++i)
    begin(o[i], none);
  if (o[12].present)
    begin(o[12], o[8]);
  for (int64_t b = 0; b < query.shape[0]; ++b)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t q = 0; q < query.shape[1]; ++q) {
        std::vector<double> logits = logitsOf(attributes, query, key, o[3], o[4], b, h, q);
        double delta = 0;
        for (int64_t c = h * width; c < (h + 1) * width; ++c)
          delta += dout(b, q, c) * o[5](b, q, c);
        for (int64_t k = 0; k < keys; ++k) {
          int64_t own = h * width, shared = h % groups * width;
          double p = std::exp(logits[size_t(k)] - o[6](b, h, q)), dp = 0;
          for (int64_t c = 0; c < width; ++c)
            dp += dout(b, q, own + c) * value(b, k, shared + c);
          double dl = between(p * (dp - delta));
          p = between(p);
          for (int64_t c = 0; c < width; ++c) {
            o[9](b, q, own + c) += attributes.scale * dl * key(b, k, shared + c);
            o[10](b, k, shared + c) += attributes.scale * dl * query(b, q, own + c);
            o[11](b, k, shared + c) += p * dout(b, q, own + c);
          }
          if (o[12].present)
            o[12](h, q, k) += dl;
        }
      }
}

void softmaxGrad(Operands &o) {
  int64_t keys = o[0].shape.back();
  DenseTensor y = asRows(o[0], keys), dy = asRows(o[1], keys), dx = asRows(o[2], keys);
  for (int64_t r = 0; r < y.shape[0]; ++r) {
    double sum = 0;
    for (int64_t k = 0; k < keys; ++k)
      sum += y(r, k) * dy(r, k);
    for (int64_t k = 0; k < keys; ++k)
      dx(r, k) = y(r, k) * (dy(r, k) - sum);
  }
  o[2].data = dx.data;
}

void attentionValuesGrad(const KernelAttributes &attributes, Operands &o) {
  int64_t width = o[2].shape[2] / attributes.heads, groups = o[1].shape[2] / width;
  begin(o[3], DenseTensor{false, {}, {}});
  begin(o[4], DenseTensor{false, {}, {}});
  for (int64_t b = 0; b < o[0].shape[0]; ++b)
    for (int64_t h = 0; h < attributes.heads; ++h)
      for (int64_t q = 0; q < o[0].shape[2]; ++q)
        for (int64_t k = 0; k < o[0].shape[3]; ++k)
          for (int64_t c = 0; c < width; ++c) {
            int64_t shared = h % groups * width + c;
            o[3](b, h, q, k) += o[2](b, q, h * width + c) * o[1](b, k, shared);
            o[4](b, k, shared) += o[0](b, h, q, k) * o[2](b, q, h * width + c);
          }
}

void attentionLogitsGrad(const KernelAttributes &attributes, Operands &o) {
  int64_t width = o[0].shape[2] / attributes.heads, groups = o[1].shape[2] / width;
  begin(o[4], DenseTensor{false, {}, {}});
  begin(o[5], DenseTensor{false, {}, {}});
  if (o[6].present)
    begin(o[6], o[3]);
  for (int64_t b = 0; b < o[2].shape[0]; ++b)
    for (int64_t h = 0; h < attributes.heads; ++h)
      for (int64_t q = 0; q < o[2].shape[2]; ++q)
        for (int64_t k = 0; k < o[2].shape[3]; ++k) {
          double dl = o[2](b, h, q, k);
          for (int64_t c = 0; c < width; ++c) {
            int64_t own = h * width + c, shared = h % groups * width + c;
            o[4](b, q, own) += attributes.scale * dl * o[1](b, k, shared);
            o[5](b, k, shared) += attributes.scale * dl * o[0](b, q, own);
          }
          if (o[6].present)
            o[6](h, q, k) += dl;
        }
}

void gateGrad(Operands &o) {
  begin(o[4], DenseTensor{false, {}, {}});
  for (int64_t b = 0; b < o[3].shape[0]; ++b)
    for (int64_t q = 0; q < o[3].shape[1]; ++q)
      for (int64_t x = 0; x < o[3].shape[2]; ++x) {
        int64_t u = o[0].shape[1] == 1 ? 0 : q;
        double open = o[1](b, q, x) + o[2](x);
        o[4](b, u, x) += sigmoid(open) * o[3](b, q, x);
        o[5](b, q, x) = o[0](b, u, x) * sigmoidSlope(open) * o[3](b, q, x);
      }
}

void maskedMeanGrad(const KernelAttributes &attributes, Operands &o) {
  int64_t queries = o[3].shape[1];
  for (int64_t b = 0; b < o[3].shape[0]; ++b) {
    double weight = attributes.eps;
    for (int64_t q = 0; q < queries; ++q)
      weight += valueOr(o[1], b * queries + q, 1);
    for (int64_t q = 0; q < queries; ++q)
      for (int64_t x = 0; x < o[3].shape[2]; ++x)
        o[3](b, q, x) = o[2](b, q, x) + valueOr(o[1], b * queries + q, 1) * o[0](b, 0, x) / weight;
  }
}

void outerProductGrad(const KernelAttributes &attributes, Operands &o) {
  const DenseTensor &a = o[0], &b = o[1], &dout = o[2];
  int64_t width = b.shape[2];
  begin(o[4], DenseTensor{false, {}, {}});
  begin(o[5], o[3]);
  for (int64_t s = 0; s < a.shape[0]; ++s)
    for (int64_t i = 0; i < a.shape[1]; ++i)
      for (int64_t j = 0; j < b.shape[1]; ++j)
        for (int64_t x = 0; x < dout.shape[2]; ++x) {
          o[4](s, i, x / width) += attributes.factor * dout(i, j, x) * b(s, j, x % width);
          o[5](s, j, x % width) += attributes.factor * dout(i, j, x) * a(s, i, x / width);
        }
}

void add(Operands &o) {
  for (size_t i = 0; i < o[2].data.size(); ++i)
    o[2].data[i] = o[0].data[i] + o[1].data[i];
}

} // namespace

void runGradientReference(plan::Kernel kernel, const KernelAttributes &attributes,
                          Operands &operands, Rounding between) {
  switch (kernel) {
  case plan::Kernel::LayerNormGrad:
    return layerNormGrad(attributes, operands);
  case plan::Kernel::LinearGrad:
    return linearGrad(attributes, operands);
  case plan::Kernel::WeightGrad:
    return weightGrad(attributes, operands);
  case plan::Kernel::BiasGrad:
    return biasGrad(operands);
  case plan::Kernel::GatedLinearGrad:
    return gatedLinearGrad(operands);
  case plan::Kernel::AttentionGrad:
    return attentionGrad(attributes, operands, between);
  case plan::Kernel::SoftmaxGrad:
    return softmaxGrad(operands);
  case plan::Kernel::AttentionValuesGrad:
    return attentionValuesGrad(attributes, operands);
  case plan::Kernel::AttentionLogitsGrad:
    return attentionLogitsGrad(attributes, operands);
  case plan::Kernel::GateGrad:
    return gateGrad(operands);
  case plan::Kernel::MaskedMeanGrad:
    return maskedMeanGrad(attributes, operands);
  case plan::Kernel::OuterProductGrad:
    return outerProductGrad(attributes, operands);
  case plan::Kernel::Add:
    return add(operands);
  case plan::Kernel::BatchMatmulGrad:
    return batchMatmulGrad(attributes, operands);
  case plan::Kernel::Zero:
    return begin(operands[0], DenseTensor{false, {}, {}});
  default:
    return;
  }
}

} // namespace evo::conformance
