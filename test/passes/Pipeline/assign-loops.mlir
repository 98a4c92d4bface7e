// RUN: evo-opt %s --kern-assign-buffers | FileCheck %s

// The loop's slices of the stream are updated where they lie; inside it, a frame buffer has the length of a slice.
// CHECK-LABEL: kern.procedure @in_place
// CHECK-NEXT: %[[Z:.*]] = kern.tensor_buffer @z : !kern.buffer<7x5xf32, 5>
// CHECK:      kern.loop 0 axis "s" extent 7 size 3 {
// CHECK-NEXT:   %[[N:.*]] = kern.alloc "layer_norm.0" : !kern.buffer<3x5xf32, 8>
// CHECK-NEXT:   %[[X:.*]] = kern.view %[[Z]] start [0, 0] loops [0, -1] extent [3, 5] loops [0, -1] order [0, 1] version 0 : !kern.buffer<7x5xf32, 5> -> !kern.view<3x5xf32>
// CHECK:        kern.view %[[N]] start [0, 0] loops [-1, -1] extent [3, 5] loops [0, -1] order [0, 1] version 1 : !kern.buffer<3x5xf32, 8>
// CHECK-NEXT:   kern.launch "layer_norm"(%[[X]],
// CHECK:        %[[NEW:.*]] = kern.view %[[Z]] start [0, 0] loops [0, -1] extent [3, 5] loops [0, -1] order [0, 1] version 1
// CHECK-NEXT:   kern.launch "linear"({{.*}}, %[[NEW]])
// CHECK-NEXT: {{^ *[}]$}}
// CHECK-NEXT: kern.return []
kern.procedure @in_place module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<7x5xf32>):
  %y = "kern.slice_loop"(%z) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x5xf32>):
    %w = kern.weight "n" parts ["n"] rows [5] : tensor<5xf32>
    %n = kern.layer_norm(x = %a, weight = %w, bias = %w) {eps = 1.0 : f64} : (tensor<?x5xf32>, tensor<5xf32>, tensor<5xf32>) -> (tensor<?x5xf32>)
    %v = kern.weight "w" parts ["w"] rows [5] : tensor<5x5xf32>
    %b = kern.linear(x = %n, weight = %v, residual = %a) {activation = "none"} : (tensor<?x5xf32>, tensor<5x5xf32>, tensor<?x5xf32>) -> (tensor<?x5xf32>)
    kern.yield %b : tensor<?x5xf32>
  }) : (tensor<7x5xf32>) -> tensor<7x5xf32>
  kern.return [@z] %y : tensor<7x5xf32>
}

// Slices that the loop puts together are written to their place in the whole, in its store order; 9 of 7 is one slice.
// CHECK-LABEL: kern.procedure @whole
// CHECK:      %[[B:.*]] = kern.alloc "linear.0" : !kern.buffer<2x7x5xf32, 8>
// CHECK-NEXT: kern.loop 0 axis "r_i" extent 7 size 7 {
// CHECK-NOT:    kern.alloc
// CHECK:        %[[S:.*]] = kern.view %[[B]] start [0, 0, 0] loops [-1, 0, -1] extent [2, 7, 5] loops [-1, 0, -1] order [1, 2, 0] version 1
// CHECK-NEXT:   kern.launch "linear"({{.*}}, %[[S]])
// CHECK-NEXT: {{^ *[}]$}}
// CHECK:      kern.view %[[B]] start [0, 0, 0] loops [-1, -1, -1] extent [2, 7, 5] loops [-1, -1, -1] order [0, 1, 2] version 1
kern.procedure @whole module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<7x5x4xf32>):
  %y = "kern.slice_loop"(%z) <{axis = "r_i", extent = 7 : i64, size = 9 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x5x4xf32>):
    %w = kern.weight "w" parts ["w"] rows [2] : tensor<2x4xf32>
    %b = kern.linear(x = %a, weight = %w) {activation = "none", layout = array<i64: 2, 0, 1>} : (tensor<?x5x4xf32>, tensor<2x4xf32>) -> (tensor<?x5x2xf32>)
    kern.yield %b : tensor<?x5x2xf32>
  }) : (tensor<7x5x4xf32>) -> tensor<7x5x2xf32>
  %t = kern.transpose %y [2, 0, 1] : tensor<7x5x2xf32> -> tensor<2x7x5xf32>
  %s = kern.softmax(x = %t) : (tensor<2x7x5xf32>) -> (tensor<2x7x5xf32>)
  kern.return []
}

// The slice is read again behind its update, so slices gather in a whole of their own, which is copied at the end.
// CHECK-LABEL: kern.procedure @read_again_inside
// CHECK:      %[[Z:.*]] = kern.tensor_buffer @z
// CHECK-NEXT: %[[Y:.*]] = kern.alloc "softmax.0" : !kern.buffer<2x7x5xf32, 8>
// CHECK-NEXT: kern.loop 0
// CHECK:        %[[S:.*]] = kern.view %[[Y]] start [0, 0, 0] loops [-1, 0, -1] {{.*}} version 1
// CHECK-NEXT:   kern.launch "softmax"(%{{.*}}, %[[S]])
// CHECK:        kern.view %[[Z]] start [0, 0, 0] loops [-1, 0, -1] {{.*}} version 0
// CHECK:        kern.launch "copy"
// CHECK:      {{^ *[}]$}}
// CHECK-NEXT: %[[FROM:.*]] = kern.view %[[Y]] {{.*}} version 1
// CHECK-NEXT: %[[TO:.*]] = kern.view %[[Z]] {{.*}} version 1
// CHECK-NEXT: kern.launch "copy"(%[[FROM]], %[[TO]])
kern.procedure @read_again_inside module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<2x7x5xf32>):
  %y = "kern.slice_loop"(%z) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 1>, result_axes = array<i64: 1>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<2x?x5xf32>):
    %b = kern.softmax(x = %a) : (tensor<2x?x5xf32>) -> (tensor<2x?x5xf32>)
    %p = kern.copy(x = %a) : (tensor<2x?x5xf32>) -> (tensor<2x?x5xf32>)
    kern.yield %b : tensor<2x?x5xf32>
  }) : (tensor<2x7x5xf32>) -> tensor<2x7x5xf32>
  kern.return [@z] %y : tensor<2x7x5xf32>
}

// The stream is read whole in each iteration: the first would overwrite what the second reads.
// CHECK-LABEL: kern.procedure @read_whole
// CHECK: kern.alloc "softmax.0" : !kern.buffer<7x5xf32, 8>
// CHECK: kern.launch "copy"
kern.procedure @read_whole module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<7x5xf32>):
  %y = "kern.slice_loop"(%z, %z) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5xf32>, %all: tensor<7x5xf32>):
    %b = kern.softmax(x = %a) : (tensor<?x5xf32>) -> (tensor<?x5xf32>)
    kern.yield %b : tensor<?x5xf32>
  }) : (tensor<7x5xf32>, tensor<7x5xf32>) -> tensor<7x5xf32>
  kern.return [@z] %y : tensor<7x5xf32>
}

// Read behind the loop.
// CHECK-LABEL: kern.procedure @read_behind
// CHECK: kern.alloc "softmax.0" : !kern.buffer<7x5xf32, 8>
// CHECK: kern.loop
// CHECK: kern.alloc "copy.1"
kern.procedure @read_behind module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<7x5xf32>):
  %y = "kern.slice_loop"(%z) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x5xf32>):
    %b = kern.softmax(x = %a) : (tensor<?x5xf32>) -> (tensor<?x5xf32>)
    kern.yield %b : tensor<?x5xf32>
  }) : (tensor<7x5xf32>) -> tensor<7x5xf32>
  %c = kern.copy(x = %z) : (tensor<7x5xf32>) -> (tensor<7x5xf32>)
  kern.return [@z] %y : tensor<7x5xf32>
}

// Slices of the second axis of the transposed stream are slices of its first; the kernel behind a yielded transpose
// writes to its place in the whole, which lies as the kernel stores it.
// CHECK-LABEL: kern.procedure @transposed
// CHECK: %[[Z:.*]] = kern.tensor_buffer @z
// CHECK: %[[Y:.*]] = kern.alloc "softmax.0" : !kern.buffer<5x7xf32, 8>
// CHECK: kern.loop 0 axis "s" extent 7 size 3 {
// CHECK:   %[[IN:.*]] = kern.view %[[Z]] start [0, 0] loops [0, -1] extent [3, 5] loops [0, -1] order [1, 0] version 0 : !kern.buffer<7x5xf32, 5> -> !kern.view<5x3xf32>
// CHECK:   %[[OUT:.*]] = kern.view %[[Y]] start [0, 0] loops [-1, 0] extent [5, 3] loops [-1, 0] order [0, 1] version 1
// CHECK-NEXT: kern.launch "softmax"(%[[IN]], %[[OUT]])
kern.procedure @transposed module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<7x5xf32>):
  %t = kern.transpose %z [1, 0] : tensor<7x5xf32> -> tensor<5x7xf32>
  %y = "kern.slice_loop"(%t) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 1>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<5x?xf32>):
    %b = kern.softmax(x = %a) : (tensor<5x?xf32>) -> (tensor<5x?xf32>)
    %c = kern.transpose %b [1, 0] : tensor<5x?xf32> -> tensor<?x5xf32>
    kern.yield %c : tensor<?x5xf32>
  }) : (tensor<5x7xf32>) -> tensor<7x5xf32>
  kern.return [@z] %y : tensor<7x5xf32>
}
