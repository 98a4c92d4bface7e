//===- LinearHopper.cu - linear layers on Hopper ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// `linear` by the tiles of LinearHopperGroup.cuh.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/LinearHopper.h"

#include "runtime/cuda/kernels/LinearHopperGroup.cuh"

#include <cmath>

namespace evo::cuda {

namespace {

/// All but the maps and how the work is divided.
void describeBeside(LinearHopperCall &hopper, const LinearTileCall &call) {
  using C = LinearMmaCall;
  const LinearMmaCall &linear = call.linear;
  hopper.bias[0] = linear.bias[0], hopper.biasStride[0] = linear.biasStride[0];
  hopper.rowScale = linear.data[C::RowScale], hopper.dropout = linear.data[C::Dropout];
  const MmaAxis &scale = call.rows[C::RowScale], &dropout = call.rows[C::Dropout];
  hopper.scaleStride[0] = scale.outerStride, hopper.scaleStride[1] = scale.innerStride;
  hopper.dropoutStride[0] = dropout.outerStride, hopper.dropoutStride[1] = dropout.innerStride;
  hopper.scaleIsStatistic = linear.statistic[C::RowScale];
  hopper.dropoutIsStatistic = linear.statistic[C::Dropout];
  hopper.hasGate = linear.data[C::Gate], hopper.hasResidual = linear.data[C::Residual];
  hopper.factor = linear.factor, hopper.least = linear.relu ? 0.0f : -INFINITY;
}

/// An absent operand is described like y.
template <class S>
bool describeMaps(const Context &context, LinearHopperCall &hopper, const LinearTileCall &call) {
  using C = LinearMmaCall;
  const LinearMmaCall &linear = call.linear;
  auto describe = [&](CUtensorMap &map, int operand, int64_t columns) {
    int o = linear.data[operand] ? operand : C::Y;
    return describeRows<S>(context, map, linear.data[o], columns, call.rows[o]);
  };
  return describe(hopper.gate, C::Gate, linear.n) &&
         describe(hopper.residual, C::Residual, linear.n) && describe(hopper.y, C::Y, linear.n) &&
         describeWeight<S>(context, hopper.weight, call.weight.data, linear.n, linear.k,
                           call.isTurned ? call.weight.deep.innerStride
                                         : call.weight.across.innerStride,
                           call.isTurned);
}

template <class S, int kCols>
Status launchColumns(const Launch &launch, const LinearTileCall &call, LinearHopperCall &hopper,
                     bool &launched) {
  const LinearMmaCall &linear = call.linear;
  using C = LinearMmaCall;
  if (!divideTiles(hopper, linear.n, linear.k, call.rows[C::Y], kCols) ||
      !describeRows<S>(*launch.context, hopper.x, linear.data[C::X], linear.k, call.rows[C::X]))
    return {};
  return call.isTurned ? launchHopperTiles<S, kCols, true, false>(launch, hopper, launched)
                       : launchHopperTiles<S, kCols, false, false>(launch, hopper, launched);
}

} // namespace

template <class S>
Status launchLinearHopper(const Launch &launch, const LinearTileCall &call, bool &launched) {
  launched = false;
  LinearHopperCall hopper{};
  if (!launch.context->isHopper || !describeMaps<S>(*launch.context, hopper, call))
    return {};
  describeBeside(hopper, call);
  if (call.linear.n > 64)
    EVO_TRY((launchColumns<S, 128>(launch, call, hopper, launched)));
  return launched ? Status::success() : launchColumns<S, 64>(launch, call, hopper, launched);
}

template Status launchLinearHopper<__nv_bfloat16>(const Launch &, const LinearTileCall &, bool &);
template Status launchLinearHopper<__half>(const Launch &, const LinearTileCall &, bool &);

} // namespace evo::cuda
