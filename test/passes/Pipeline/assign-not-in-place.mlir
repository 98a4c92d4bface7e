// RUN: evo-opt %s --kern-assign-buffers | FileCheck %s

// Where something still reads what a kernel could overwrite, the result gets memory of its own; a stream that ends up
// elsewhere is copied to its slot at the end.

// @z is read behind the softmax of it.
// CHECK-LABEL: kern.procedure @later_reader
// CHECK: %[[Z:.*]] = kern.tensor_buffer @z
// CHECK: %[[Y:.*]] = kern.alloc "softmax.0"
// CHECK: %[[OUT:.*]] = kern.view %[[Y]] {{.*}} version 1
// CHECK-NEXT: kern.launch "softmax"(%{{.*}}, %[[OUT]])
// CHECK: %[[Z0:.*]] = kern.view %[[Z]] {{.*}} version 0
// CHECK: kern.launch "batch_matmul"(%{{.*}}, %[[Z0]], %{{.*}})
// CHECK-NEXT: %[[FROM:.*]] = kern.view %[[Y]] {{.*}} version 1
// CHECK-NEXT: %[[TO:.*]] = kern.view %[[Z]] {{.*}} version 1
// CHECK-NEXT: kern.launch "copy"(%[[FROM]], %[[TO]]) present [true, true] {settings = {}}
// CHECK-NEXT: kern.return []
kern.procedure @later_reader module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<2x3x5xf32>):
  %y = kern.softmax(x = %z) : (tensor<2x3x5xf32>) -> (tensor<2x3x5xf32>)
  %p = kern.batch_matmul(a = %y, b = %z) : (tensor<2x3x5xf32>, tensor<2x3x5xf32>) -> (tensor<2x3x3xf32>)
  kern.return [@z] %y : tensor<2x3x5xf32>
}

// A reader by way of a view counts: the query, another part of the same projections.
// CHECK-LABEL: kern.procedure @later_view
// CHECK: kern.alloc "linear.0"
// CHECK: kern.alloc "gate.1"
// CHECK: kern.alloc "gate.2"
// CHECK-NOT: kern.alloc
kern.procedure @later_view module "" phase "forward" choice "" tensors [@z, @o] {
^bb0(%z: tensor<3x5x4xf32>, %o: tensor<3x5x4xf32>):
  %w = kern.weight "w" parts ["q", "g"] rows [4, 4] : tensor<8x4xf32>
  %b = kern.weight "b" parts ["b"] rows [4] : tensor<4xf32>
  %qg = kern.linear(x = %z, weight = %w) {activation = "none"} : (tensor<3x5x4xf32>, tensor<8x4xf32>) -> (tensor<3x5x8xf32>)
  %q = kern.slice %qg axis 2 start 0 size 4 : tensor<3x5x8xf32> -> tensor<3x5x4xf32>
  %g = kern.slice %qg axis 2 start 4 size 4 : tensor<3x5x8xf32> -> tensor<3x5x4xf32>
  %y = kern.gate(o = %o, gate = %g, gate_bias = %b) : (tensor<3x5x4xf32>, tensor<3x5x4xf32>, tensor<4xf32>) -> (tensor<3x5x4xf32>)
  // And one that reads its operand twice.
  %u = kern.gate(o = %q, gate = %q, gate_bias = %b) : (tensor<3x5x4xf32>, tensor<3x5x4xf32>, tensor<4xf32>) -> (tensor<3x5x4xf32>)
  kern.return []
}

// A mask is no stream of this procedure: it is never written, whoever reads it last.
// CHECK-LABEL: kern.procedure @mask
// CHECK: %[[MASK:.*]] = kern.tensor_buffer @mask
// CHECK: kern.alloc "softmax.0"
// CHECK-NOT: kern.view %[[MASK]] {{.*}} version 1
// CHECK: kern.return []
kern.procedure @mask module "" phase "forward" choice "" tensors [@z, @mask] {
^bb0(%z: tensor<3x5xf32>, %mask: tensor<3x5xf32>):
  %y = kern.softmax(x = %mask) : (tensor<3x5xf32>) -> (tensor<3x5xf32>)
  kern.return [@z] %z : tensor<3x5xf32>
}

// So is a weight.
// CHECK-LABEL: kern.procedure @weight
// CHECK: %[[W:.*]] = kern.weight_buffer
// CHECK: kern.alloc "softmax.0"
// CHECK-NOT: kern.view %[[W]] {{.*}} version 1
// CHECK: kern.return []
kern.procedure @weight module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<3x5xf32>):
  %w = kern.weight "w" parts ["w"] rows [4] : tensor<4x5xf32>
  %y = kern.softmax(x = %w) : (tensor<4x5xf32>) -> (tensor<4x5xf32>)
  kern.return [@z] %z : tensor<3x5xf32>
}

// The stream, transposed onto itself, goes by way of a buffer: a copy may not read what it writes.
// CHECK-LABEL: kern.procedure @onto_itself
// CHECK: %[[Z:.*]] = kern.tensor_buffer @z
// CHECK: %[[D:.*]] = kern.alloc "copy.0"
// CHECK: %[[FROM:.*]] = kern.view %[[Z]] {{.*}} order [1, 0] version 0
// CHECK-NEXT: %[[VIA:.*]] = kern.view %[[D]] {{.*}} order [0, 1] version 1
// CHECK-NEXT: kern.launch "copy"(%[[FROM]], %[[VIA]])
// CHECK-NEXT: %[[VIA2:.*]] = kern.view %[[D]] {{.*}} version 1
// CHECK-NEXT: %[[TO:.*]] = kern.view %[[Z]] {{.*}} order [0, 1] version 1
// CHECK-NEXT: kern.launch "copy"(%[[VIA2]], %[[TO]])
kern.procedure @onto_itself module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<5x5xf32>):
  %t = kern.transpose %z [1, 0] : tensor<5x5xf32> -> tensor<5x5xf32>
  kern.return [@z] %t : tensor<5x5xf32>
}
