//===- GatedLinearHopper.cu - gated linear layers on Hopper -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// `gated_linear` into a y by channel, by the tiles of LinearHopperGroup.cuh: of a block's 128
// columns, 64 are the gate's.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/LinearHopper.h"

#include "runtime/cuda/kernels/LinearHopperGroup.cuh"

namespace evo::cuda {

namespace {

MmaAxis rowsOf(const GatedMmaCall &call, int operand) {
  const int64_t *stride = call.rows.stride[operand], *extent = call.rows.extent;
  if (call.rows.rank == 1)
    return {extent[0], extent[0], 0, stride[0]};
  return {call.rowCount, extent[1], stride[0], stride[1]};
}

template <class S>
bool describeMaps(const Context &context, LinearHopperCall &hopper, const GatedMmaCall &call) {
  MmaAxis y = rowsOf(call, GatedMmaCall::Y);
  TensorOfBoxes<S, 3> byChannel{call.y,
                                {y.inner, y.extent / y.inner, call.n},
                                {y.outerStride, call.colStride},
                                {kHopperRows, 1, 64}};
  return byChannel.describe(context, hopper.y, CU_TENSOR_MAP_SWIZZLE_128B) &&
         describeRows<S>(context, hopper.x, call.x, call.k, rowsOf(call, GatedMmaCall::X)) &&
         describeWeight<S>(context, hopper.weight, call.weight[0], call.n, call.k,
                           call.weightStride[0], false) &&
         describeWeight<S>(context, hopper.gate, call.weight[1], call.n, call.k,
                           call.weightStride[1], false);
}

} // namespace

template <class S>
Status launchGatedHopper(const Launch &launch, const GatedMmaCall &call, bool &launched) {
  launched = false;
  LinearHopperCall hopper{};
  MmaAxis scale = rowsOf(call, GatedMmaCall::RowScale);
  if (!launch.context->isHopper || call.rows.rank > 2 || call.rowCount * call.n == 0 ||
      !divideTiles(hopper, call.n, call.k, scale, 64) ||
      !describeMaps<S>(*launch.context, hopper, call))
    return {};
  for (int i : {0, 1})
    hopper.bias[i] = call.bias[i], hopper.biasStride[i] = call.biasStride[i];
  hopper.rowScale = call.rowScale, hopper.scaleIsStatistic = call.statisticScale;
  hopper.scaleStride[0] = scale.outerStride, hopper.scaleStride[1] = scale.innerStride;
  return launchHopperTiles<S, 128, false, true>(launch, hopper, launched);
}

template Status launchGatedHopper<__nv_bfloat16>(const Launch &, const GatedMmaCall &, bool &);
template Status launchGatedHopper<__half>(const Launch &, const GatedMmaCall &, bool &);

} // namespace evo::cuda
