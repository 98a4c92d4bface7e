// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// What goes into a slice loop.

"test.size"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected extent and size of at least 1}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 0 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %b: tensor<6xf32>):
    kern.yield %a : tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<7x5xf32>)
}) : () -> ()

// -----

"test.sliced_axes"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected one axis a sliced operand and at most one a result}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0, 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %b: tensor<6xf32>):
    kern.yield %a : tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<7x5xf32>)
}) : () -> ()

// -----

"test.result_axes"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected one axis a sliced operand and at most one a result}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0, 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %b: tensor<6xf32>):
    kern.yield %a : tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<7x5xf32>)
}) : () -> ()

// -----

"test.arguments"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected 2 block arguments, got 1}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>):
    kern.yield %a : tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<7x5xf32>)
}) : () -> ()

// -----

"test.sliced_extent"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected axis 1 of 'tensor<7x5xf32>' to have extent 7}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 1>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %b: tensor<6xf32>):
    kern.yield %a : tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<7x5xf32>)
}) : () -> ()

// -----

"test.sliced_rank"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected axis 2 of 'tensor<7x5xf32>' to have extent 7}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 2>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %b: tensor<6xf32>):
    kern.yield %a : tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<7x5xf32>)
}) : () -> ()

// -----

"test.sliced_argument"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected block argument 0 of 'tensor<?x5xf32>', got 'tensor<4x5xf32>'}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<4x5xf32>, %b: tensor<6xf32>):
    kern.yield %a : tensor<4x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<7x5xf32>)
}) : () -> ()

// -----

"test.whole_argument"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected block argument 1 of 'tensor<6xf32>', got 'tensor<?xf32>'}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %b: tensor<?xf32>):
    kern.yield %a : tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<7x5xf32>)
}) : () -> ()
