// RUN: not evo-opt %s --evo-lower-to-kern 2>&1 | FileCheck %s

// This version differentiates whole modules: slices of the backward are refused where the module is lowered.
// CHECK: error: loc("t"): 'kern.slice_loop' op expected no slices where the forward is computed again for its backward; choose backward_axis = none
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<6x5x8xf32>, %mask: tensor<6x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<6x5x8xf32>) -> tensor<6x5x8xf32> {
  ^bb0(%x: tensor<6x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "t", choice = #evo.choice<keep = input, backward_axis = s, backward_size = 2>, factor = 2 : i64} : tensor<6x5x8xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    evo.yield %1 : tensor<6x5x8xf32>
  }
  evo.yield %0 : tensor<6x5x8xf32>
}
