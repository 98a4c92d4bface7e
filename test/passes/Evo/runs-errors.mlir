// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Runs by themselves, and those that a block cannot have.

// expected-error @below {{expected a first module of at least 0 and at least 1 module, got first -1 and count 1}}
"test.op"() {run = #evo.run<first = -1, count = 1>} : () -> ()

// -----

// expected-error @below {{expected a first module of at least 0 and at least 1 module, got first 0 and count 0}}
"test.op"() {run = #evo.run<first = 0, count = 0>} : () -> ()

// -----

// expected-error @below {{expected a size of at least 1 on an axis, 0 on none, got 2 on none}}
"test.op"() {run = #evo.run<first = 0, count = 1, size = 2>} : () -> ()

// -----

// expected-error @below {{expected a size of at least 1 on an axis, 0 on none, got 0 on r}}
"test.op"() {run = #evo.run<first = 0, count = 1, axis = r>} : () -> ()

// -----

evo.stack @s tensors ["m", "msa_mask"] model {} {
^bb0(%in: tensor<4x5x8xf32>, %mm: tensor<4x5xf32>):
  // expected-error @below {{expected runs of its 2 modules (C2), got #evo.run<first = 1, count = 2>}}
  %0 = evo.segment first 0 count 1 (%in) attributes {runs = [#evo.run<first = 1, count = 2>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
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
  // expected-error @below {{expected runs of its 2 modules (C2), got #evo.run<first = 9223372036854775807, count = 1>}}
  %0 = evo.segment first 0 count 1 (%in) attributes {runs = [#evo.run<first = 9223372036854775807, count = 1>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
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
  // expected-error @below {{expected runs in order, apart or a loop within a group (C2), got #evo.run<first = 1, count = 1>}}
  %0 = evo.segment first 0 count 1 (%in) attributes {runs = [#evo.run<first = 0, count = 2>, #evo.run<first = 1, count = 1>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
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
  // expected-error @below {{expected runs in order, apart or a loop within a group (C2), got #evo.run<first = 0, count = 1>}}
  %0 = evo.segment first 0 count 1 (%in) attributes {runs = [#evo.run<first = 1, count = 1>, #evo.run<first = 0, count = 1>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mm {prefix = "a", factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %2 = evo.transition m %1 mask %mm {prefix = "b", factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %2 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}
