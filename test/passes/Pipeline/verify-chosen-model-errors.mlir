// RUN: evo-opt %s --evo-verify-chosen --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Segments tile the blocks, tensors have the type of the precision.

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected first block 0, got 1}}
  %0 = evo.segment first 1 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 2 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  // expected-error @below {{expected first block 2, got 3}}
  %2 = evo.segment first 3 count 1 (%0) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  evo.yield %2 : tensor<4x5x8xf32>
}

// -----

// expected-error @below {{expected segments of 3 blocks, got 2}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 2 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// expected-error @below {{expected a model with a precision and a number of blocks}}
evo.stack @s tensors ["m", "msa_mask"] model {} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// expected-error @below {{expected a model with a precision and a number of blocks}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, precision = "fp8"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// expected-error @below {{expected tensors of 'f64' for precision "fp64", got 'tensor<4x5x8xf32>'}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, precision = "fp64"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>):
  // expected-error @below {{expected at most 1 streams, got 2}}
  %0:2 = evo.segment first 0 count 1 (%m, %m) : (tensor<4x5x8xf32>, tensor<4x5x8xf32>) -> (tensor<4x5x8xf32>, tensor<4x5x8xf32>) {
  ^bb0(%x: tensor<4x5x8xf32>, %y: tensor<4x5x8xf32>):
    evo.yield %x, %y : tensor<4x5x8xf32>, tensor<4x5x8xf32>
  }
  evo.yield %0#0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>):
  %0 = evo.segment first 0 count 9223372036854775807 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  // expected-error @below {{expected fewer than 2^63 blocks}}
  %1 = evo.segment first 9223372036854775807 count 1 (%0) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    evo.yield %x : tensor<4x5x8xf32>
  }
  evo.yield %1 : tensor<4x5x8xf32>
}
