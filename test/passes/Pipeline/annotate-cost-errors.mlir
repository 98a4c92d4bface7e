// RUN: evo-opt %s --kern-annotate-cost=profile=%inputs/toy.json --split-input-file --verify-diagnostics

// Two slices, each beyond 2^63 ns and stated as 2^63 - 1.
// expected-error @below {{the modelled time exceeds 2^63 ns}}
kern.procedure @slices module "" phase "forward" choice "" tensors [@x] {
^bb0(%x: tensor<4294967296x4294967296xf32>):
  %y = "kern.slice_loop"(%x) <{axis = "s", extent = 4294967296 : i64, size = 2147483648 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x4294967296xf32>):
    %b = kern.softmax(x = %a) : (tensor<?x4294967296xf32>) -> (tensor<?x4294967296xf32>)
    kern.yield %b : tensor<?x4294967296xf32>
  }) : (tensor<4294967296x4294967296xf32>) -> tensor<4294967296x4294967296xf32>
  kern.return [@x] %y : tensor<4294967296x4294967296xf32>
}

// -----

// A slice that costs 2^63 - 1, and a rest that costs 104.
// expected-error @below {{the modelled time exceeds 2^63 ns}}
kern.procedure @rest module "" phase "forward" choice "" tensors [@x] {
^bb0(%x: tensor<9223372036854775801xf32>):
  %y = "kern.slice_loop"(%x) <{axis = "s", extent = 9223372036854775801 : i64, size = 9223372036854775800 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?xf32>):
    %b = kern.softmax(x = %a) : (tensor<?xf32>) -> (tensor<?xf32>)
    kern.yield %b : tensor<?xf32>
  }) : (tensor<9223372036854775801xf32>) -> tensor<9223372036854775801xf32>
  kern.return [@x] %y : tensor<9223372036854775801xf32>
}

// -----

// Two kernels.
// expected-error @below {{the modelled time exceeds 2^63 ns}}
kern.procedure @sum module "" phase "forward" choice "" tensors [@x] {
^bb0(%x: tensor<9223372036854775801xf32>):
  %y = kern.softmax(x = %x) : (tensor<9223372036854775801xf32>) -> (tensor<9223372036854775801xf32>)
  %z = kern.softmax(x = %y) : (tensor<9223372036854775801xf32>) -> (tensor<9223372036854775801xf32>)
  kern.return [@x] %z : tensor<9223372036854775801xf32>
}
