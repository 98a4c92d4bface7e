// RUN: evo-opt %s --evo-lower-to-kern -split-input-file -verify-diagnostics

module attributes {kern.target = {workspace_bytes = 0 : i64}} {
// expected-error @below {{expected a 64-bit integer of at least 1 as 'workspace_bytes' in kern.target of the module}}
evo.stack @s tensors ["z", "pair_mask"] model {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}} {
^bb0(%z: tensor<5x5x6xf32>, %mask: tensor<5x5xf32>):
  %0 = evo.segment first 0 count 1 (%z) : (tensor<5x5x6xf32>) -> tensor<5x5x6xf32> {
  ^bb0(%x: tensor<5x5x6xf32>):
    %1 = evo.transition z %x mask %mask {prefix = "pair_transition", choice = #evo.choice, factor = 2 : i64} : tensor<5x5x6xf32>, tensor<5x5xf32> -> tensor<5x5x6xf32>
    evo.yield %1 : tensor<5x5x6xf32>
  }
  evo.yield %0 : tensor<5x5x6xf32>
}
}

// -----

module attributes {kern.target = {workspace_bytes = "1000"}} {
// expected-error @below {{expected a 64-bit integer of at least 1 as 'workspace_bytes' in kern.target of the module}}
evo.stack @s tensors ["z", "pair_mask"] model {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}} {
^bb0(%z: tensor<5x5x6xf32>, %mask: tensor<5x5xf32>):
  %0 = evo.segment first 0 count 1 (%z) : (tensor<5x5x6xf32>) -> tensor<5x5x6xf32> {
  ^bb0(%x: tensor<5x5x6xf32>):
    %1 = evo.transition z %x mask %mask {prefix = "pair_transition", choice = #evo.choice, factor = 2 : i64} : tensor<5x5x6xf32>, tensor<5x5xf32> -> tensor<5x5x6xf32>
    evo.yield %1 : tensor<5x5x6xf32>
  }
  evo.yield %0 : tensor<5x5x6xf32>
}
}
