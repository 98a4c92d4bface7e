// RUN: evo-opt %s --kern-assign-buffers --kern-free-buffers --kern-verify-buffers | FileCheck %s

// Sums that are rows of one weight's gradient are gathered in their rows: all zeros make version 1 of it, all sums version 2.
kern.tensor @z : tensor<7x4xf32>

// CHECK-LABEL: kern.procedure @rows
// CHECK:      %[[DW:.*]] = kern.gradient_buffer "w" : !kern.buffer<6xf32, 6>
// CHECK:      %[[ZERO0:.*]] = kern.view %[[DW]] start [0] loops [-1] extent [4] loops [-1] order [0] version 1
// CHECK-NEXT: kern.launch "zero"(%[[ZERO0]])
// CHECK:      kern.loop 0
// CHECK:        kern.view %[[DW]] start [0] {{.*}} extent [4] {{.*}} version 1
// CHECK:        kern.view %[[DW]] start [0] {{.*}} extent [4] {{.*}} version 2
// CHECK-NEXT:   kern.launch "bias_grad"({{.*}}) present [true, true, true]
// CHECK:      %[[ZERO4:.*]] = kern.view %[[DW]] start [4] loops [-1] extent [2] loops [-1] order [0] version 1
// CHECK-NEXT: kern.launch "zero"(%[[ZERO4]])
// CHECK:      kern.loop 1
// CHECK:        kern.view %[[DW]] start [4] {{.*}} extent [2] {{.*}} version 1
// CHECK:        kern.view %[[DW]] start [4] {{.*}} extent [2] {{.*}} version 2
// CHECK-NEXT:   kern.launch "bias_grad"({{.*}}) present [true, true, true]
// CHECK-NEXT: {{^ *[}]$}}
// CHECK-NEXT: kern.return []
kern.procedure @rows module "" phase "backward" choice "" tensors [@z] {
^bb0(%z: tensor<7x4xf32>):
  %s = "kern.slice_loop"(%z) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x4xf32>):
    %b = kern.bias_grad(du = %a) : (tensor<?x4xf32>) -> (tensor<4xf32>)
    kern.yield %b : tensor<4xf32>
  }) : (tensor<7x4xf32>) -> tensor<4xf32>
  %half = kern.slice %z axis 1 start 1 size 2 : tensor<7x4xf32> -> tensor<7x2xf32>
  %t = "kern.slice_loop"(%half) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x2xf32>):
    %b = kern.bias_grad(du = %a) : (tensor<?x2xf32>) -> (tensor<2xf32>)
    kern.yield %b : tensor<2xf32>
  }) : (tensor<7x2xf32>) -> tensor<2xf32>
  %w = kern.concat %s, %t axis 0 : tensor<4xf32>, tensor<2xf32> -> tensor<6xf32>
  kern.store_gradient %w "w" : tensor<6xf32>
  kern.return [@z] %z : tensor<7x4xf32>
}

// A sum beside a part that a kernel makes outside of a loop: that part is of version 2 at once.
// CHECK-LABEL: kern.procedure @mixed
// CHECK:      %[[DW:.*]] = kern.gradient_buffer "w" : !kern.buffer<8xf32, 8>
// CHECK:      kern.view %[[DW]] start [0] {{.*}} version 2
// CHECK-NEXT: kern.launch "bias_grad"({{.*}}) present [true, false, true]
// CHECK:      kern.view %[[DW]] start [4] {{.*}} version 1
// CHECK-NEXT: kern.launch "zero"(
// CHECK:      kern.loop 0
// CHECK:        kern.view %[[DW]] start [4] {{.*}} version 1
// CHECK:        kern.view %[[DW]] start [4] {{.*}} version 2
// CHECK-NEXT:   kern.launch "bias_grad"({{.*}}) present [true, true, true]
// CHECK-NOT:  kern.launch
// CHECK:      kern.return []
kern.procedure @mixed module "" phase "backward" choice "" tensors [@z] {
^bb0(%z: tensor<7x4xf32>):
  %b = kern.bias_grad(du = %z) : (tensor<7x4xf32>) -> (tensor<4xf32>)
  %s = "kern.slice_loop"(%z) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x4xf32>):
    %c = kern.bias_grad(du = %a) : (tensor<?x4xf32>) -> (tensor<4xf32>)
    kern.yield %c : tensor<4xf32>
  }) : (tensor<7x4xf32>) -> tensor<4xf32>
  %w = kern.concat %b, %s axis 0 : tensor<4xf32>, tensor<4xf32> -> tensor<8xf32>
  kern.store_gradient %w "w" : tensor<8xf32>
  kern.return [@z] %z : tensor<7x4xf32>
}
