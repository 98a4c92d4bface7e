// RUN: evo-opt %s --kern-assign-buffers --kern-free-buffers --kern-verify-buffers | FileCheck %s

// A sum over slices begins as zeros, version 1, to which each iteration adds in place: version 2.
kern.tensor @z : tensor<7x4xf32>

// CHECK-LABEL: kern.procedure @sum
// CHECK-DAG:  %[[DB:.*]] = kern.gradient_buffer "b" : !kern.buffer<4xf32, 4>
// CHECK-DAG:  %[[DW:.*]] = kern.gradient_buffer "w" : !kern.buffer<4x4xf32, 4>
// CHECK:      %[[ZERO:.*]] = kern.view %[[DB]] {{.*}} version 1 :
// CHECK-NEXT: kern.launch "zero"(%[[ZERO]]) present [true]
// CHECK:      kern.launch "zero"(
// CHECK-NEXT: kern.loop 0 axis "s" extent 7 size 3 {
// CHECK:        %[[X:.*]] = kern.view {{.*}} start [0, 0] loops [0, -1] extent [3, 4] loops [0, -1]
// CHECK-NEXT:   %[[OLD:.*]] = kern.view %[[DB]] {{.*}} version 1 :
// CHECK-NEXT:   %[[NEW:.*]] = kern.view %[[DB]] {{.*}} version 2 :
// CHECK-NEXT:   kern.launch "bias_grad"(%[[X]], %[[OLD]], %[[NEW]]) present [true, true, true]
// CHECK:        %[[OLDW:.*]] = kern.view %[[DW]] {{.*}} version 1 :
// CHECK-NEXT:   %[[NEWW:.*]] = kern.view %[[DW]] {{.*}} version 2 :
// CHECK-NEXT:   kern.launch "weight_grad"({{.*}}, %[[OLDW]], %[[NEWW]]) present [true, true, true, true]
// CHECK-NEXT: {{^ *[}]$}}
// CHECK-NEXT: kern.return []
kern.procedure @sum module "" phase "backward" choice "" tensors [@z] {
^bb0(%z: tensor<7x4xf32>):
  %s:2 = "kern.slice_loop"(%z) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x4xf32>):
    %b = kern.bias_grad(du = %a) : (tensor<?x4xf32>) -> (tensor<4xf32>)
    %w = kern.weight_grad(du = %a, x = %a) : (tensor<?x4xf32>, tensor<?x4xf32>) -> (tensor<4x4xf32>)
    kern.yield %b, %w : tensor<4xf32>, tensor<4x4xf32>
  }) : (tensor<7x4xf32>) -> (tensor<4xf32>, tensor<4x4xf32>)
  kern.store_gradient %s#0 "b" : tensor<4xf32>
  kern.store_gradient %s#1 "w" : tensor<4x4xf32>
  kern.return [@z] %z : tensor<7x4xf32>
}

// A sum that nobody wants in a certain place is a buffer of the frame, outside of the loop.
// CHECK-LABEL: kern.procedure @frame
// CHECK:      %[[SUM:.*]] = kern.alloc "sum.0" : !kern.buffer<4xf32, 4>
// CHECK-NEXT: %[[ZERO:.*]] = kern.view %[[SUM]] {{.*}} version 1 :
// CHECK-NEXT: kern.launch "zero"(%[[ZERO]])
// CHECK:      kern.loop 0
// CHECK:        kern.launch "bias_grad"({{.*}}) present [true, true, true]
// CHECK:      %[[READ:.*]] = kern.view %[[SUM]] {{.*}} version 2 :
// CHECK:      kern.launch "softmax"(%[[READ]],
kern.procedure @frame module "" phase "backward" choice "" tensors [@z] {
^bb0(%z: tensor<7x4xf32>):
  %s = "kern.slice_loop"(%z) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x4xf32>):
    %b = kern.bias_grad(du = %a) : (tensor<?x4xf32>) -> (tensor<4xf32>)
    kern.yield %b : tensor<4xf32>
  }) : (tensor<7x4xf32>) -> tensor<4xf32>
  %p = kern.softmax(x = %s) : (tensor<4xf32>) -> (tensor<4xf32>)
  kern.store_gradient %p "b" : tensor<4xf32>
  kern.return [@z] %z : tensor<7x4xf32>
}

// What its kernel does not add by itself, here since it adds something else already, is made in the frame and added.
// CHECK-LABEL: kern.procedure @fallback
// CHECK:      %[[DB:.*]] = kern.gradient_buffer "b" : !kern.buffer<4xf32, 4>
// CHECK:      kern.launch "zero"(
// CHECK-NEXT: kern.loop 0
// CHECK:        %[[OWN:.*]] = kern.alloc "bias_grad.{{[0-9]+}}"
// CHECK:        kern.launch "bias_grad"({{.*}}) present [true, false, true]
// CHECK:        %[[TWO:.*]] = kern.view %{{.*}} version 2 :
// CHECK:        kern.launch "bias_grad"({{.*}}, %[[TWO]]) present [true, true, true]
// CHECK:        %[[OLD:.*]] = kern.view %[[DB]] {{.*}} version 1 :
// CHECK-NEXT:   %[[ADDED:.*]] = kern.view {{.*}} version 2 :
// CHECK-NEXT:   %[[NEW:.*]] = kern.view %[[DB]] {{.*}} version 2 :
// CHECK-NEXT:   kern.launch "add"(%[[OLD]], %[[ADDED]], %[[NEW]]) present [true, true, true]
kern.procedure @fallback module "" phase "backward" choice "" tensors [@z] {
^bb0(%z: tensor<7x4xf32>):
  %s = "kern.slice_loop"(%z) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x4xf32>):
    %b = kern.bias_grad(du = %a) : (tensor<?x4xf32>) -> (tensor<4xf32>)
    %c = kern.bias_grad(du = %a, accumulator = %b) : (tensor<?x4xf32>, tensor<4xf32>) -> (tensor<4xf32>)
    kern.yield %c : tensor<4xf32>
  }) : (tensor<7x4xf32>) -> tensor<4xf32>
  kern.store_gradient %s "b" : tensor<4xf32>
  kern.return [@z] %z : tensor<7x4xf32>
}
