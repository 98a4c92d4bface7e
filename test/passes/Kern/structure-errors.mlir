// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Weights, views of values, procedures and programs.

"test.weight_sum"() ({
^bb0():
  // expected-error @below {{expected rows of 2 parts to sum to the first axis of 'tensor<32x8xf32>', got 31}}
  %w = kern.weight "w" parts ["a", "b"] rows [16, 15] : tensor<32x8xf32>
}) : () -> ()

// -----

"test.weight_count"() ({
^bb0():
  // expected-error @below {{expected rows of 1 parts to sum to the first axis of 'tensor<32x8xf32>', got 32}}
  %w = kern.weight "w" parts ["a"] rows [16, 16] : tensor<32x8xf32>
}) : () -> ()

// -----

"test.weight_rows"() ({
^bb0():
  // expected-error @below {{expected parts of at least 1 row, got -1}}
  %w = kern.weight "w" parts ["a", "b"] rows [33, -1] : tensor<32x8xf32>
}) : () -> ()

// -----

"test.transpose_order"() ({
^bb0(%z: tensor<5x7x8xf32>):
  // expected-error @below {{expected order to be a permutation of 3 axes}}
  %t = kern.transpose %z [1, 0, 1] : tensor<5x7x8xf32> -> tensor<7x5x7xf32>
}) : () -> ()

// -----

"test.transpose_result"() ({
^bb0(%z: tensor<5x7x8xf32>):
  // expected-error @below {{expected result 'tensor<7x5x8xf32>', got 'tensor<5x7x8xf32>'}}
  %t = kern.transpose %z [1, 0, 2] : tensor<5x7x8xf32> -> tensor<5x7x8xf32>
}) : () -> ()

// -----

"test.slice_axis"() ({
^bb0(%z: tensor<5x7x8xf32>):
  // expected-error @below {{expected a whole axis below 3, got 3}}
  %s = kern.slice %z axis 3 start 0 size 1 : tensor<5x7x8xf32> -> tensor<5x7x8xf32>
}) : () -> ()

// -----

"test.slice_axis_negative"() ({
^bb0(%z: tensor<5x7x8xf32>):
  // expected-error @below {{expected a whole axis below 3, got -1}}
  %s = kern.slice %z axis -1 start 0 size 1 : tensor<5x7x8xf32> -> tensor<5x7x8xf32>
}) : () -> ()

// -----

"test.slice_box"() ({
^bb0(%z: tensor<5x7x8xf32>):
  // expected-error @below {{expected [start, start + size) within 8, got start 6 and size 3}}
  %s = kern.slice %z axis 2 start 6 size 3 : tensor<5x7x8xf32> -> tensor<5x7x3xf32>
}) : () -> ()

// -----

"test.slice_start"() ({
^bb0(%z: tensor<5x7x8xf32>):
  // expected-error @below {{expected [start, start + size) within 8, got start -1 and size 3}}
  %s = kern.slice %z axis 2 start -1 size 3 : tensor<5x7x8xf32> -> tensor<5x7x3xf32>
}) : () -> ()

// -----

"test.slice_result"() ({
^bb0(%z: tensor<5x7x8xf32>):
  // expected-error @below {{expected result 'tensor<5x7x3xf32>', got 'tensor<5x7x4xf32>'}}
  %s = kern.slice %z axis 2 start 0 size 3 : tensor<5x7x8xf32> -> tensor<5x7x4xf32>
}) : () -> ()

// -----

kern.tensor @z : tensor<5x5xf32>
// expected-error @below {{expected a block argument a tensor (1) or none, got 2}}
kern.procedure @p module "" phase "forward" choice "" tensors [@z] {
^bb0(%a: tensor<5x5xf32>, %b: tensor<5x5xf32>):
  kern.return [@z] %a : tensor<5x5xf32>
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [@z] {
^bb0(%a: tensor<5x5xf32>):
  // expected-error @below {{expected a value a tensor (1), got 0}}
  kern.return [@z]
}

// -----

kern.program "forward" inputs [] outputs [] {
  // expected-error @below {{expected first of at least 0 and count of at least 1}}
  kern.blocks first 0 count 0 {
  }
}

// -----

// expected-error @below {{expected a tensor of f64, f32, f16 or bf16 with known extents of at least 1, got 'i32'}}
kern.tensor @z : i32

// -----

// expected-error @below {{expected a tensor of f64, f32, f16 or bf16 with known extents of at least 1, got 'tensor<?x5xf32>'}}
kern.tensor @z : tensor<?x5xf32>
