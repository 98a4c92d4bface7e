// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Constraints of the modules that update z.

"test.outer_z"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<4x4x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected z of [r, r, c_z] (C1), got 'tensor<4x4x8xf32>'}}
  %1 = evo.outer_product_mean %m, %z, %mask {prefix = "p", hidden = 32 : i64, eps = 1.0e-3 : f64} : tensor<4x5x8xf32>, tensor<4x4x8xf32>, tensor<4x5xf32> -> tensor<4x4x8xf32>
}) : () -> ()

// -----

"test.outer_hidden"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected hidden of at least 1 (C1), got -32}}
  %1 = evo.outer_product_mean %m, %z, %mask {prefix = "p", hidden = -32 : i64, eps = 1.0e-3 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// -----

"test.outer_eps"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected eps > 0 (C1), got}}
  %1 = evo.outer_product_mean %m, %z, %mask {prefix = "p", hidden = 32 : i64, eps = 0x7FF0000000000000 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// -----

"test.outer_axis"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected slices along r_i (C6), got 'r_j'}}
  %1 = evo.outer_product_mean %m, %z, %mask {prefix = "p", hidden = 32 : i64, eps = 1.0 : f64, choice = #evo.choice<axis = r_j, size = 1>} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// -----

"test.triangle_z"() ({
^bb0(%z: tensor<4x5x8xf32>, %mask: tensor<5x5xf32>):
  // expected-error @below {{expected z of [r, r, c] (C1), got 'tensor<4x5x8xf32>'}}
  %1 = evo.triangle_multiplication outgoing %z, %mask {prefix = "p", hidden = 8 : i64} : tensor<4x5x8xf32>, tensor<5x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// -----

"test.triangle_mask"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // expected-error @below {{expected a mask of [r, r] (C1), got 'tensor<4x5xf32>'}}
  %1 = evo.triangle_multiplication outgoing %z, %mask {prefix = "p", hidden = 8 : i64} : tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// -----

"test.triangle_hidden"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // expected-error @below {{expected hidden of at least 1 (C1), got -8}}
  %1 = evo.triangle_multiplication outgoing %z, %mask {prefix = "p", hidden = -8 : i64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// -----

"test.outgoing_axis"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // expected-error @below {{expected slices along r_i (C6), got 'r_j'}}
  %1 = evo.triangle_multiplication outgoing %z, %mask {prefix = "p", hidden = 8 : i64, choice = #evo.choice<axis = r_j, size = 1>} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// -----

"test.incoming_axis"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // expected-error @below {{expected slices along r_j (C6), got 'r_i'}}
  %1 = evo.triangle_multiplication incoming %z, %mask {prefix = "p", hidden = 8 : i64, choice = #evo.choice<axis = r_i, size = 1>} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// -----

"test.triangle_inf"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // expected-error @below {{expected inf > 0 (C1), got -1.0}}
  %1 = evo.triangle_attention starting %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = -1.0 : f64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// -----

"test.starting_axis"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // expected-error @below {{expected slices along r_i (C6), got 'r_j'}}
  %1 = evo.triangle_attention starting %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64, choice = #evo.choice<axis = r_j, size = 1>} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// -----

"test.ending_axis"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // expected-error @below {{expected slices along r_j (C6), got 's'}}
  %1 = evo.triangle_attention ending %z, %mask {prefix = "p", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64, choice = #evo.choice<axis = s, size = 1>} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()
