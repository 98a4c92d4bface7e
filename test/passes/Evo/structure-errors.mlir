// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Choices, stacks and segments.

// expected-error @below {{expected a size of at least 1 on an axis, 0 on none, got 0 on s}}
"test.choice"() {choice = #evo.choice<axis = s>} : () -> ()

// -----

// expected-error @below {{expected a size of at least 1 on an axis, 0 on none, got 4 on none}}
"test.choice"() {choice = #evo.choice<size = 4>} : () -> ()

// -----

// expected-error @below {{expected a backward size of at least 1 on an axis, 0 on none, got -1 on r_i}}
"test.choice"() {choice = #evo.choice<backward_axis = r_i, backward_size = -1>} : () -> ()

// -----

// expected-error @below {{expected a block argument a tensor (2), got 1}}
evo.stack @s tensors ["z", "pair_mask"] model {} {
^bb0(%z: tensor<5x5x8xf32>):
  evo.yield %z : tensor<5x5x8xf32>
}

// -----

// expected-error @below {{expected to end in evo.yield}}
"evo.stack"() <{model = {}, sym_name = "s", tensors = ["z"]}> ({
^bb0(%z: tensor<5x5x8xf32>):
  "test.end"() : () -> ()
}) : () -> ()

// -----

// expected-error @below {{expected to yield streams of the types of its first tensors}}
evo.stack @s tensors ["z", "pair_mask"] model {} {
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  evo.yield %mask : tensor<5x5xf32>
}

// -----

evo.stack @s tensors ["z"] model {} {
^bb0(%z: tensor<5x5x8xf32>):
  // expected-error @below {{expected first of at least 0 and count of at least 1}}
  %0 = evo.segment first 0 count 0 (%z) : (tensor<5x5x8xf32>) -> tensor<5x5x8xf32> {
  ^bb0(%x: tensor<5x5x8xf32>):
    evo.yield %x : tensor<5x5x8xf32>
  }
  evo.yield %0 : tensor<5x5x8xf32>
}

// -----

evo.stack @s tensors ["z"] model {} {
^bb0(%z: tensor<5x5x8xf32>):
  // expected-error @below {{expected to end in evo.yield}}
  %0 = "evo.segment"(%z) <{count = 1 : i64, first = 0 : i64}> ({
  ^bb0(%x: tensor<5x5x8xf32>):
    "test.end"() : () -> ()
  }) : (tensor<5x5x8xf32>) -> tensor<5x5x8xf32>
  evo.yield %0 : tensor<5x5x8xf32>
}

// -----

evo.stack @s tensors ["z"] model {} {
^bb0(%z: tensor<5x5x8xf32>):
  // expected-error @below {{expected operands, block arguments, results and yielded values of the same types (C1)}}
  %0 = evo.segment first 0 count 1 (%z) : (tensor<5x5x8xf32>) -> tensor<5x5x9xf32> {
  ^bb0(%x: tensor<5x5x8xf32>):
    evo.yield %x : tensor<5x5x8xf32>
  }
  evo.yield %z : tensor<5x5x8xf32>
}
