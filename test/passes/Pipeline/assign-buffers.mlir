// RUN: evo-opt %s --kern-assign-buffers | FileCheck %s

// A residual is added where the stream lies: version 1 of @z is the new stream, and nothing is copied.
// CHECK-LABEL: kern.procedure @residual
// CHECK-NEXT: %[[Z:.*]] = kern.tensor_buffer @z : !kern.buffer<3x5x4xf32, 4>
// CHECK-NEXT: %[[W:.*]] = kern.weight_buffer "w" parts ["w"] rows [4] : !kern.buffer<4x4xf32, 4>
// CHECK-NEXT: %[[H:.*]] = kern.alloc "softmax.0" : !kern.buffer<3x5x4xf32, 4>
// CHECK-NEXT: %[[X:.*]] = kern.view %[[Z]] start [0, 0, 0] loops [-1, -1, -1] extent [3, 5, 4] loops [-1, -1, -1] order [0, 1, 2] version 0
// CHECK-NEXT: %[[Y:.*]] = kern.view %[[H]] {{.*}} version 1
// CHECK-NEXT: kern.launch "softmax"(%[[X]], %[[Y]]) present [true, true] {cost_ns = 7 : i64, settings = {}}
// CHECK-NEXT: %[[HV:.*]] = kern.view %[[H]] {{.*}} version 1
// CHECK-NEXT: %[[WV:.*]] = kern.view %[[W]] start [0, 0] {{.*}} version 0
// CHECK-NEXT: %[[OLD:.*]] = kern.view %[[Z]] {{.*}} version 0
// CHECK-NEXT: %[[NEW:.*]] = kern.view %[[Z]] {{.*}} version 1
// CHECK-NEXT: kern.launch "linear"(%[[HV]], %[[WV]], %[[OLD]], %[[NEW]]) present [true, true, false, false, false, false, true, true] {settings = {activation = "none"}}
// CHECK-NEXT: kern.return []
kern.procedure @residual module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<3x5x4xf32>):
  %h = kern.softmax(x = %z) {cost_ns = 7 : i64} : (tensor<3x5x4xf32>) -> (tensor<3x5x4xf32>)
  %w = kern.weight "w" parts ["w"] rows [4] : tensor<4x4xf32>
  %y = kern.linear(x = %h, weight = %w, residual = %z) {activation = "none"} : (tensor<3x5x4xf32>, tensor<4x4xf32>, tensor<3x5x4xf32>) -> (tensor<3x5x4xf32>)
  kern.return [@z] %y : tensor<3x5x4xf32>
}

// Rows of frame buffers are padded to 16 bytes: 5 floats to 8, 5 halves to 8, 3 doubles to 4. Tied memory is reused.
// CHECK-LABEL: kern.procedure @padding
// CHECK: kern.alloc "copy.0" : !kern.buffer<3x5xf32, 8>
// CHECK: kern.alloc "copy.1" : !kern.buffer<3x5xbf16, 8>
// CHECK: kern.alloc "copy.2" : !kern.buffer<5x3xf64, 4>
// CHECK: kern.alloc "copy.3" : !kern.buffer<5xf32, 5>
// CHECK-NOT: kern.alloc
kern.procedure @padding module "" phase "forward" choice "" tensors [@a, @b, @c, @d] {
^bb0(%a: tensor<3x5xf32>, %b: tensor<3x5xbf16>, %c: tensor<5x3xf64>, %d: tensor<5xf32>):
  %0 = kern.copy(x = %a) : (tensor<3x5xf32>) -> (tensor<3x5xf32>)
  %1 = kern.copy(x = %b) : (tensor<3x5xbf16>) -> (tensor<3x5xbf16>)
  %2 = kern.copy(x = %c) : (tensor<5x3xf64>) -> (tensor<5x3xf64>)
  %3 = kern.copy(x = %d) : (tensor<5xf32>) -> (tensor<5xf32>)
  %4 = kern.softmax(x = %0) : (tensor<3x5xf32>) -> (tensor<3x5xf32>)
  kern.return [] 
}

// The transposed stream is the same memory, read and written in another order.
// CHECK-LABEL: kern.procedure @transposed
// CHECK-NEXT: %[[Z:.*]] = kern.tensor_buffer @z
// CHECK-NOT:  kern.alloc
// CHECK:      %[[X:.*]] = kern.view %[[Z]] start [0, 0] loops [-1, -1] extent [3, 5] loops [-1, -1] order [1, 0] version 0 : !kern.buffer<3x5xf32, 5> -> !kern.view<5x3xf32>
// CHECK-NEXT: %[[Y:.*]] = kern.view %[[Z]] start [0, 0] loops [-1, -1] extent [3, 5] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<3x5xf32, 5> -> !kern.view<5x3xf32>
// CHECK-NEXT: kern.launch "softmax"(%[[X]], %[[Y]])
// CHECK-NEXT: kern.return []
kern.procedure @transposed module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<3x5xf32>):
  %t = kern.transpose %z [1, 0] : tensor<3x5xf32> -> tensor<5x3xf32>
  %y = kern.softmax(x = %t) : (tensor<5x3xf32>) -> (tensor<5x3xf32>)
  %u = kern.transpose %y [1, 0] : tensor<5x3xf32> -> tensor<3x5xf32>
  kern.return [@z] %u : tensor<3x5xf32>
}

// A store order: [i, j, h] lies as [h, i, j] in memory, its rows padded there.
// CHECK-LABEL: kern.procedure @layout
// CHECK: %[[B:.*]] = kern.alloc "linear.0" : !kern.buffer<2x3x5xf32, 8>
// CHECK: kern.view %[[B]] start [0, 0, 0] loops [-1, -1, -1] extent [2, 3, 5] loops [-1, -1, -1] order [1, 2, 0] version 1 : !kern.buffer<2x3x5xf32, 8> -> !kern.view<3x5x2xf32>
kern.procedure @layout module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<3x5x4xf32>):
  %w = kern.weight "w" parts ["w"] rows [2] : tensor<2x4xf32>
  %y = kern.linear(x = %z, weight = %w) {activation = "none", layout = array<i64: 2, 0, 1>} : (tensor<3x5x4xf32>, tensor<2x4xf32>) -> (tensor<3x5x2xf32>)
  kern.return []
}

// The gate lies in the projections' buffer and is overwritten there, since nothing reads q or the gate afterwards.
// CHECK-LABEL: kern.procedure @gate
// CHECK: %[[QG:.*]] = kern.alloc "linear.0" : !kern.buffer<3x5x8xf32, 8>
// CHECK: kern.launch "linear"
// CHECK-NOT:  kern.alloc
// CHECK:      %[[G:.*]] = kern.view %[[QG]] start [0, 0, 4] loops [-1, -1, -1] extent [3, 5, 4] loops [-1, -1, -1] order [0, 1, 2] version 1
// CHECK:      %[[Y:.*]] = kern.view %[[QG]] start [0, 0, 4] loops [-1, -1, -1] extent [3, 5, 4] loops [-1, -1, -1] order [0, 1, 2] version 2
// CHECK-NEXT: kern.launch "gate"(%{{.*}}, %[[G]], %{{.*}}, %[[Y]])
kern.procedure @gate module "" phase "forward" choice "" tensors [@z, @o] {
^bb0(%z: tensor<3x5x4xf32>, %o: tensor<3x5x4xf32>):
  %w = kern.weight "w" parts ["q", "g"] rows [4, 4] : tensor<8x4xf32>
  %b = kern.weight "b" parts ["b"] rows [4] : tensor<4xf32>
  %qg = kern.linear(x = %z, weight = %w) {activation = "none"} : (tensor<3x5x4xf32>, tensor<8x4xf32>) -> (tensor<3x5x8xf32>)
  %g = kern.slice %qg axis 2 start 4 size 4 : tensor<3x5x8xf32> -> tensor<3x5x4xf32>
  %y = kern.gate(o = %o, gate = %g, gate_bias = %b) : (tensor<3x5x4xf32>, tensor<3x5x4xf32>, tensor<4xf32>) -> (tensor<3x5x4xf32>)
  %s = kern.softmax(x = %y) : (tensor<3x5x4xf32>) -> (tensor<3x5x4xf32>)
  kern.return []
}
