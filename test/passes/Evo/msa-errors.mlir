// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Constraints of the modules that update m, and of transitions.

"test.column_m"() ({
^bb0(%m: tensor<4x5xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected m of [s, r, c] (C1), got 'tensor<4x5xf32>'}}
  %1 = evo.msa_column_attention %m, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5xf32>, tensor<4x5xf32> -> tensor<4x5xf32>
}) : () -> ()

// -----

"test.column_heads"() ({
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected heads of at least 1 (C1), got -2}}
  %1 = evo.msa_column_attention %m, %mask {prefix = "p", heads = -2 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.column_axis"() ({
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected slices along r (C6), got 's'}}
  %1 = evo.msa_column_attention %m, %mask {prefix = "p", choice = #evo.choice<axis = s, size = 1>, heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.global_eps"() ({
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected mean_eps > 0 (C1), got -1.0}}
  %1 = evo.msa_column_global_attention %m, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64, mean_eps = -1.0 : f64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.global_mask"() ({
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4xf32>):
  // expected-error @below {{expected a mask of [s, r] (C1), got 'tensor<4xf32>'}}
  %1 = evo.msa_column_global_attention %m, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64, mean_eps = 1.0 : f64} : tensor<4x5x8xf32>, tensor<4xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.transition_rank"() ({
^bb0(%m: tensor<4x5xf32>):
  // expected-error @below {{expected x of [a, b, c] (C1), got 'tensor<4x5xf32>'}}
  %1 = evo.transition m %m {prefix = "p", factor = 4 : i64} : tensor<4x5xf32> -> tensor<4x5xf32>
}) : () -> ()

// -----

"test.transition_mask"() ({
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<5x5xf32>):
  // expected-error @below {{expected a mask of x's leading axes (C1), got 'tensor<5x5xf32>'}}
  %1 = evo.transition m %m mask %mask {prefix = "p", factor = 4 : i64} : tensor<4x5x8xf32>, tensor<5x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.transition_factor"() ({
^bb0(%m: tensor<4x5x8xf32>):
  // expected-error @below {{expected factor of at least 1 (C1), got -4}}
  %1 = evo.transition m %m {prefix = "p", factor = -4 : i64} : tensor<4x5x8xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.transition_variant"() ({
^bb0(%m: tensor<4x5x8xf32>):
  // expected-error @below {{expected a kernel variant that it has (C6), got 'plain'}}
  %1 = evo.transition m %m {prefix = "p", factor = 4 : i64, choice = #evo.choice<variant = plain>} : tensor<4x5x8xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.transition_axis_m"() ({
^bb0(%m: tensor<4x5x8xf32>):
  // expected-error @below {{expected slices along s or r (C6), got 'r_i'}}
  %1 = evo.transition m %m {prefix = "p", factor = 4 : i64, choice = #evo.choice<axis = r_i, size = 1>} : tensor<4x5x8xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.transition_axis_z"() ({
^bb0(%z: tensor<5x5x8xf32>):
  // expected-error @below {{expected slices along r_i or r_j (C6), got 's'}}
  %1 = evo.transition z %z {prefix = "p", factor = 4 : i64, choice = #evo.choice<axis = s, size = 1>} : tensor<5x5x8xf32> -> tensor<5x5x8xf32>
}) : () -> ()
