// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Runs that reach beyond each other, and modules that no loop can share.

// Across the end of a group.

evo.stack @s tensors ["m", "msa_mask"] model {} {
^bb0(%in: tensor<4x5x8xf32>, %mm: tensor<4x5xf32>):
  // expected-error @below {{expected runs in order, apart or a loop within a group (C2), got #evo.run<first = 1, count = 2, axis = s, size = 1>}}
  %0 = evo.segment first 0 count 1 (%in) attributes {runs = [#evo.run<first = 0, count = 2>, #evo.run<first = 1, count = 2, axis = s, size = 1>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mm {prefix = "a", factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %2 = evo.transition m %1 mask %mm {prefix = "b", factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %3 = evo.transition m %2 mask %mm {prefix = "c", factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %3 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// Loops in loops.

evo.stack @s tensors ["m", "msa_mask"] model {} {
^bb0(%in: tensor<4x5x8xf32>, %mm: tensor<4x5xf32>):
  // expected-error @below {{expected runs in order, apart or a loop within a group (C2), got #evo.run<first = 1, count = 1, axis = s, size = 1>}}
  %0 = evo.segment first 0 count 1 (%in) attributes {runs = [#evo.run<first = 0, count = 2, axis = s, size = 2>, #evo.run<first = 1, count = 1, axis = s, size = 1>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mm {prefix = "a", factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %2 = evo.transition m %1 mask %mm {prefix = "b", factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %2 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {} {
^bb0(%in: tensor<4x5x8xf32>, %mm: tensor<4x5xf32>):
  // expected-error @below {{expected modules that have slices along s, got b}}
  %0 = evo.segment first 0 count 1 (%in) attributes {runs = [#evo.run<first = 0, count = 2, axis = s, size = 1>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mm {prefix = "a", factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %2 = evo.msa_column_attention %1, %mm {prefix = "b", heads = 2 : i64, head_dim = 4 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %2 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// Its bias is of the z that the transition makes.

evo.stack @s tensors ["z", "pair_mask"] model {} {
^bb0(%in: tensor<5x5x8xf32>, %pm: tensor<5x5xf32>):
  // expected-error @below {{expected pair bias of b to be known before the loop, got a module before it that updates z}}
  %0 = evo.segment first 0 count 1 (%in) attributes {runs = [#evo.run<first = 0, count = 2, axis = r_i, size = 1>]} : (tensor<5x5x8xf32>) -> tensor<5x5x8xf32> {
  ^bb0(%x: tensor<5x5x8xf32>):
    %1 = evo.transition z %x mask %pm {prefix = "a", factor = 2 : i64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
    %2 = evo.triangle_attention starting %1, %pm {prefix = "b", heads = 2 : i64, head_dim = 4 : i64, inf = 1.0e9 : f64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
    evo.yield %2 : tensor<5x5x8xf32>
  }
  evo.yield %0 : tensor<5x5x8xf32>
}

// -----

evo.stack @s tensors ["z", "pair_mask"] model {} {
^bb0(%in: tensor<5x5x8xf32>, %pm: tensor<5x5xf32>):
  // expected-error @below {{expected operand b of b to be known before the loop, got a module before it that updates z}}
  %0 = evo.segment first 0 count 1 (%in) attributes {runs = [#evo.run<first = 0, count = 2, axis = r_i, size = 1>]} : (tensor<5x5x8xf32>) -> tensor<5x5x8xf32> {
  ^bb0(%x: tensor<5x5x8xf32>):
    %1 = evo.transition z %x mask %pm {prefix = "a", factor = 2 : i64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
    %2 = evo.triangle_multiplication outgoing %1, %pm {prefix = "b", hidden = 3 : i64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
    evo.yield %2 : tensor<5x5x8xf32>
  }
  evo.yield %0 : tensor<5x5x8xf32>
}
