// RUN: evo-opt %s --evo-estimate-memory --split-input-file --verify-diagnostics

evo.stack @unchosen tensors ["m"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{expected a choice; run evo-choose-policy first}}
    %1 = evo.transition m %x {prefix = "a", factor = 2 : i64} : tensor<4x5x8xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// Extents that fit each alone, not multiplied.
evo.stack @huge tensors ["m"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<2147483647x2147483647x8xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<2147483647x2147483647x8xf32>) -> tensor<2147483647x2147483647x8xf32> {
  ^bb0(%x: tensor<2147483647x2147483647x8xf32>):
    // expected-error @below {{has more than 2^63 bytes}}
    %1 = evo.transition m %x {prefix = "a", choice = #evo.choice, factor = 2 : i64} : tensor<2147483647x2147483647x8xf32> -> tensor<2147483647x2147483647x8xf32>
    evo.yield %1 : tensor<2147483647x2147483647x8xf32>
  }
  evo.yield %0 : tensor<2147483647x2147483647x8xf32>
}
