// RUN: evo-opt %s --evo-verify-chosen --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Each module has a choice and reads the newest streams.

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{expected a choice; run evo-choose-policy first}}
    %1 = evo.transition m %x mask %mask {prefix = "a", factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    // expected-error @below {{expected the newest version of m}}
    %2 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %2 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    // expected-error @below {{expected the newest version of m}}
    evo.yield %x : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// A mask that is computed is none that a plan could name.
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %own = "test.mask"(%mask) : (tensor<4x5xf32>) -> tensor<4x5xf32>
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{expected the newest version of msa_mask}}
    %1 = evo.transition m %x mask %own {prefix = "a", choice = #evo.choice, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 2 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  // expected-error @below {{expected the newest version of m}}
  %2 = evo.segment first 1 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  evo.yield %2 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  // expected-error @below {{expected the newest version of m}}
  evo.yield %m : tensor<4x5x8xf32>
}
