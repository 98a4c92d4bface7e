// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// (C7), of each module that has dropout.

"test.row_rate"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected dropout in [0, 1) (C7), got 1.0}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", dropout = 1.0 : f64, heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.multiplication_rate"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // expected-error @below {{expected dropout in [0, 1) (C7), got -5.0}}
  %1 = evo.triangle_multiplication outgoing %z, %mask {prefix = "p", dropout = -0.5 : f64, hidden = 8 : i64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// -----

"test.attention_shared"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // expected-error @below {{expected dropout_shared 0 or 1 (C7), got 2}}
  %1 = evo.triangle_attention ending %z, %mask {prefix = "p", dropout = 0.25 : f64, dropout_shared = 2 : i64, heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// -----

"test.position"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // expected-error @below {{expected position in [0, 2^32) (C7), got -1}}
  %1 = evo.triangle_attention starting %z, %mask {prefix = "p", dropout = 0.25 : f64, position = -1 : i64, heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()
