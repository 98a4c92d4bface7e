// RUN: evo-opt %s --kern-assign-buffers --kern-free-buffers --kern-verify-buffers | FileCheck %s

// Weights, their state and the scalars are updated in place: no buffer of a frame, no copy.
kern.tensor @optimizer : tensor<4xf32>

// CHECK-LABEL: kern.procedure @step
kern.procedure @step module "optimizer" phase "optimizer" choice "sgd" tensors [@optimizer] {
^bb0(%s: tensor<4xf32>):
  // CHECK-DAG: %[[S:.*]] = kern.tensor_buffer @optimizer : !kern.buffer<4xf32, 4>
  // CHECK-DAG: %[[W:.*]] = kern.weight_buffer "w" parts ["w"] rows [8] : !kern.buffer<8x3xf32, 3>
  // CHECK-DAG: %[[G:.*]] = kern.gradient_buffer "w" : !kern.buffer<8x3xf32, 3>
  // CHECK-DAG: %[[V:.*]] = kern.state_buffer "momentum" "w" : !kern.buffer<8x3xf32, 3>
  // CHECK-DAG: %[[M:.*]] = kern.state_buffer "master" "w" : !kern.buffer<8x3xf32, 3>
  // CHECK-NOT: kern.alloc
  %w = kern.weight "w" parts ["w"] rows [8] : tensor<8x3xf32>
  %g = kern.gradient "w" : tensor<8x3xf32>
  %v = kern.state "momentum" "w" : tensor<8x3xf32>
  %m = kern.state "master" "w" : tensor<8x3xf32>
  // CHECK:      %[[GV:.*]] = kern.view %[[G]] {{.*}} version 0 :
  // CHECK-NEXT: %[[SV:.*]] = kern.view %[[S]] {{.*}} version 0 :
  // CHECK-NEXT: %[[V0:.*]] = kern.view %[[V]] {{.*}} version 0 :
  // CHECK-NEXT: %[[M0:.*]] = kern.view %[[M]] {{.*}} version 0 :
  // CHECK-NEXT: %[[W0:.*]] = kern.view %[[W]] {{.*}} version 0 :
  // CHECK-NEXT: %[[W1:.*]] = kern.view %[[W]] {{.*}} version 1 :
  // CHECK-NEXT: %[[V1:.*]] = kern.view %[[V]] {{.*}} version 1 :
  // CHECK-NEXT: %[[M1:.*]] = kern.view %[[M]] {{.*}} version 1 :
  // CHECK-NEXT: kern.launch "sgd_step"(%[[GV]], %[[SV]], %[[V0]], %[[M0]], %[[W0]], %[[W1]], %[[V1]], %[[M1]]) present [true, true, true, true, true, true, true, true]
  %w1, %v1, %m1 = kern.sgd_step(gradient = %g, scalars = %s, velocity = %v, master = %m, weight = %w) {learning_rate = 1.0e-2 : f64, momentum = 9.0e-1 : f64} : (tensor<8x3xf32>, tensor<4xf32>, tensor<8x3xf32>, tensor<8x3xf32>, tensor<8x3xf32>) -> (tensor<8x3xf32>, tensor<8x3xf32>, tensor<8x3xf32>)
  kern.store_weight %w1 to %w : tensor<8x3xf32>
  kern.store_state %v1 "momentum" "w" : tensor<8x3xf32>
  kern.store_state %m1 "master" "w" : tensor<8x3xf32>
  // CHECK-NOT: kern.launch
  // CHECK: kern.return []
  kern.return []
}

// CHECK-LABEL: kern.procedure @count
kern.procedure @count module "optimizer" phase "optimizer" choice "sgd" tensors [@optimizer] {
^bb0(%s: tensor<4xf32>):
  // CHECK-NOT: kern.alloc
  %a = kern.gradient "a" : tensor<8xf32>
  %b = kern.gradient "b" : tensor<5xf32>
  // CHECK: version 0 :
  // CHECK: version 1 :
  // CHECK-NEXT: kern.launch "count_nonfinite"
  %s1 = kern.count_nonfinite(x = %a, scalars = %s) : (tensor<8xf32>, tensor<4xf32>) -> (tensor<4xf32>)
  // CHECK: version 1 :
  // CHECK: version 2 :
  // CHECK-NEXT: kern.launch "count_nonfinite"
  %s2 = kern.count_nonfinite(x = %b, scalars = %s1) : (tensor<5xf32>, tensor<4xf32>) -> (tensor<4xf32>)
  // CHECK-NOT: kern.launch
  // CHECK: kern.return []
  kern.return [@optimizer] %s2 : tensor<4xf32>
}
