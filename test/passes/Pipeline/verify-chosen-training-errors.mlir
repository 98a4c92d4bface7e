// RUN: evo-opt %s --evo-verify-chosen --allow-unregistered-dialect --split-input-file --verify-diagnostics

// What a module keeps goes with the mode of its model, and the backward part of its choice is one that it has.

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{expected a choice that keeps its input or all in training, got keep = nothing}}
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{expected a choice that keeps nothing in inference, got keep = input}}
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

"test.backward_variant"() ({
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected a backward kernel variant that it has (C6), got 'plain'}}
  %1 = evo.transition m %m mask %mask {prefix = "a", choice = #evo.choice<keep = input, backward_variant = plain>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.backward_axis"() ({
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected backward slices along s or r (C6), got 'r_i'}}
  %1 = evo.transition m %m mask %mask {prefix = "a", choice = #evo.choice<keep = input, backward_axis = r_i, backward_size = 2>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()
