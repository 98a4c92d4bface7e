// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// What every module checks, on row attention, and row attention's own constraints.

"test.row_m_rank"() ({
^bb0(%m: tensor<4x5xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected m of [s, r, c] (C1), got 'tensor<4x5xf32>'}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5xf32>
}) : () -> ()

// -----

"test.row_mask"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<5x4xf32>):
  // expected-error @below {{expected a mask of [s, r] (C1), got 'tensor<5x4xf32>'}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<5x4xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.row_z_other_r"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<6x6x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected z of [r, r, c_z] (C1), got 'tensor<6x6x8xf32>'}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<6x6x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.row_z_not_square"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x6x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected z of [r, r, c_z] (C1), got 'tensor<5x6x8xf32>'}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x6x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.row_heads"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected heads of at least 1 (C1), got 0}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", heads = 0 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.row_head_dim"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected head_dim of at least 1 (C1), got -1}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", heads = 8 : i64, head_dim = -1 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.row_inf"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected inf > 0 (C1), got 0.0}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 0.0 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.extents"() ({
^bb0(%m: tensor<?x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<?x5xf32>):
  // expected-error @below {{expected known extents of at least 1 (C2), got m of 'tensor<?x5x8xf32>'}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<?x5x8xf32>, tensor<5x5x8xf32>, tensor<?x5xf32> -> tensor<?x5x8xf32>
}) : () -> ()

// -----

"test.empty"() ({
^bb0(%m: tensor<0x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<0x5xf32>):
  // expected-error @below {{expected known extents of at least 1 (C2), got m of 'tensor<0x5x8xf32>'}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<0x5x8xf32>, tensor<5x5x8xf32>, tensor<0x5xf32> -> tensor<0x5x8xf32>
}) : () -> ()

// -----

"test.result"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected the result to have the type of m (C3), 'tensor<4x5x8xf32>', got 'tensor<4x5x9xf32>'}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x9xf32>
}) : () -> ()

// -----

"test.element"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf64>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected one element type (C4), 'f32', got z of 'f64'}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf64>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.norm_eps"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected norm_eps > 0 (C5), got 0.0}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", norm_eps = 0.0 : f64, heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.axis"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected slices along s (C6), got 'r'}}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", choice = #evo.choice<axis = r, size = 2>, heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()
