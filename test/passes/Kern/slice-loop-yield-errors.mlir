// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// What comes out of a slice loop, and loops in loops.

"test.yield_count"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected 1 yielded values, got 2}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %b: tensor<6xf32>):
    kern.yield %a, %b : tensor<?x5xf32>, tensor<6xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<7x5xf32>)
}) : () -> ()

// -----

"test.yield_twice"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected different yielded values, got value 1 twice}}
  %y:2 = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0, 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %b: tensor<6xf32>):
    kern.yield %a, %a : tensor<?x5xf32>, tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<7x5xf32>, tensor<7x5xf32>)
}) : () -> ()

// -----

"test.result_extent"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected axis 0 of 'tensor<8x5xf32>' to have extent 7}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %b: tensor<6xf32>):
    kern.yield %a : tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<8x5xf32>)
}) : () -> ()

// -----

"test.yield_type"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected yielded value 0 of 'tensor<?x6xf32>', got 'tensor<?x5xf32>'}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %b: tensor<6xf32>):
    kern.yield %a : tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<7x6xf32>)
}) : () -> ()

// -----

"test.summed_type"() ({
^bb0(%m: tensor<7x5xf32>, %w: tensor<6xf32>):
  // expected-error @below {{expected yielded value 0 of 'tensor<6xf32>', got 'tensor<?x5xf32>'}}
  %y = "kern.slice_loop"(%m, %w) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %b: tensor<6xf32>):
    kern.yield %a : tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<6xf32>) -> (tensor<6xf32>)
}) : () -> ()

// -----

"test.nested"() ({
^bb0(%m: tensor<7x5xf32>):
  %y = "kern.slice_loop"(%m) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x5xf32>):
    // expected-error @below {{expected no loop around a slice loop}}
    %b = "kern.slice_loop"(%a) <{axis = "r", extent = 5 : i64, size = 1 : i64, sliced_axes = array<i64: 1>, result_axes = array<i64: 1>, operandSegmentSizes = array<i32: 1, 0>}> ({
    ^bb0(%c: tensor<?x?xf32>):
      kern.yield %c : tensor<?x?xf32>
    }) : (tensor<?x5xf32>) -> tensor<?x5xf32>
    kern.yield %b : tensor<?x5xf32>
  }) : (tensor<7x5xf32>) -> tensor<7x5xf32>
}) : () -> ()
