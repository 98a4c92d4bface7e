// RUN: evo-opt %s --kern-assign-buffers --kern-free-buffers --kern-verify-buffers | FileCheck %s

// A residual m + linear(layer_norm(m)), backwards: gradients of weights go straight to their places, and the gradient of the
// stream is updated in place by the norm's, which adds to it what the linear has given.
kern.tensor @m : tensor<4x8xf32>
kern.tensor @dm : tensor<4x8xf32>

// CHECK-LABEL: kern.procedure @residual
// CHECK-SAME: tensors [@saved::@m, @dm] {
kern.procedure @residual module "" phase "backward" choice "" tensors [@saved::@m, @dm] {
^bb0(%m: tensor<4x8xf32>, %dm: tensor<4x8xf32>):
  // CHECK-DAG: %[[M:.*]] = kern.saved_buffer "m" : !kern.buffer<4x8xf32, 8>
  // CHECK-DAG: %[[DM:.*]] = kern.tensor_buffer @dm : !kern.buffer<4x8xf32, 8>
  // CHECK-DAG: %[[DW:.*]] = kern.gradient_buffer "w" : !kern.buffer<8x8xf32, 8>
  // CHECK-DAG: %[[DG:.*]] = kern.gradient_buffer "g" : !kern.buffer<8xf32, 8>
  // CHECK-DAG: %[[DB:.*]] = kern.gradient_buffer "b" : !kern.buffer<8xf32, 8>
  %g = kern.weight "g" parts ["g"] rows [8] : tensor<8xf32>
  %b = kern.weight "b" parts ["b"] rows [8] : tensor<8xf32>
  %w = kern.weight "w" parts ["w"] rows [8] : tensor<8x8xf32>
  %n = kern.layer_norm(x = %m, weight = %g, bias = %b) {eps = 1.0e-5 : f64} : (tensor<4x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x8xf32>)
  // CHECK: %[[WV:.*]] = kern.view %[[DW]] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "weight_grad"(%{{.*}}, %{{.*}}, %[[WV]]) present [true, true, false, true]
  %dw = kern.weight_grad(du = %dm, x = %n) : (tensor<4x8xf32>, tensor<4x8xf32>) -> (tensor<8x8xf32>)
  %wt = kern.transpose %w [1, 0] : tensor<8x8xf32> -> tensor<8x8xf32>
  %dn = kern.linear(x = %dm, weight = %wt) {activation = "none"} : (tensor<4x8xf32>, tensor<8x8xf32>) -> (tensor<4x8xf32>)
  // CHECK: %[[X:.*]] = kern.view %[[M]] {{.*}} version 0 :
  // CHECK: %[[OLD:.*]] = kern.view %[[DM]] {{.*}} version 0 :
  // CHECK-NEXT: %[[NEW:.*]] = kern.view %[[DM]] {{.*}} version 1 :
  // CHECK-NEXT: %[[GV:.*]] = kern.view %[[DG]] {{.*}} version 1 :
  // CHECK-NEXT: %[[BV:.*]] = kern.view %[[DB]] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "layer_norm_grad"(%[[X]], %{{.*}}, %{{.*}}, %[[OLD]], %[[NEW]], %[[GV]], %[[BV]])
  %dx, %dg, %db = kern.layer_norm_grad(x = %m, weight = %g, dy = %dn, residual = %dm) {eps = 1.0e-5 : f64} : (tensor<4x8xf32>, tensor<8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<8xf32>, tensor<8xf32>)
  kern.store_gradient %dw "w" : tensor<8x8xf32>
  kern.store_gradient %dg "g" : tensor<8xf32>
  kern.store_gradient %db "b" : tensor<8xf32>
  // CHECK-NOT: kern.launch
  // CHECK: kern.return []
  kern.return [@dm] %dx : tensor<4x8xf32>
}

// What the forward keeps is written by its kernel and overwritten by none: the softmax, whose input ends here, goes elsewhere.
// CHECK-LABEL: kern.procedure @keep
kern.procedure @keep module "" phase "forward" choice "" tensors [@m] {
^bb0(%m: tensor<4x8xf32>):
  // CHECK: %[[KEPT:.*]] = kern.saved_buffer "m"
  // CHECK: %[[V:.*]] = kern.view %[[KEPT]] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "copy"(%{{.*}}, %[[V]])
  %copy = kern.copy(x = %m) : (tensor<4x8xf32>) -> (tensor<4x8xf32>)
  kern.save %copy "m" : tensor<4x8xf32>
  // CHECK-NEXT: %[[OWN:.*]] = kern.alloc "softmax.0"
  // CHECK-NEXT: %[[X:.*]] = kern.view %[[KEPT]] {{.*}} version 1 :
  // CHECK-NEXT: %[[Y:.*]] = kern.view %[[OWN]] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "softmax"(%[[X]], %[[Y]])
  %p = kern.softmax(x = %copy) : (tensor<4x8xf32>) -> (tensor<4x8xf32>)
  // CHECK: kern.launch "add"
  %y = kern.add(x = %m, addend = %p) : (tensor<4x8xf32>, tensor<4x8xf32>) -> (tensor<4x8xf32>)
  kern.return [@m] %y : tensor<4x8xf32>
}

// A value kept twice is made in one place and copied to the other; one that no kernel makes is copied.
// CHECK-LABEL: kern.procedure @keep_twice
kern.procedure @keep_twice module "" phase "forward" choice "" tensors [@m] {
^bb0(%m: tensor<4x8xf32>):
  // CHECK-DAG: %[[A:.*]] = kern.saved_buffer "a"
  // CHECK-DAG: %[[B:.*]] = kern.saved_buffer "b"
  // CHECK-DAG: %[[C:.*]] = kern.saved_buffer "c"
  // CHECK: %[[MADE:.*]] = kern.view %[[A]] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "copy"(%{{.*}}, %[[MADE]])
  %copy = kern.copy(x = %m) : (tensor<4x8xf32>) -> (tensor<4x8xf32>)
  kern.save %copy "a" : tensor<4x8xf32>
  // CHECK-NEXT: %[[FROM:.*]] = kern.view %[[A]] {{.*}} version 1 :
  // CHECK-NEXT: %[[TO:.*]] = kern.view %[[B]] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "copy"(%[[FROM]], %[[TO]])
  kern.save %copy "b" : tensor<4x8xf32>
  // CHECK: %[[LAST:.*]] = kern.view %[[C]] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "copy"(%{{.*}}, %[[LAST]])
  kern.save %m "c" : tensor<4x8xf32>
  kern.return [@m] %m : tensor<4x8xf32>
}
