// RUN: evo-opt %s --allow-unregistered-dialect | evo-opt - --allow-unregistered-dialect | FileCheck %s
// RUN: evo-opt %s --allow-unregistered-dialect --mlir-print-op-generic | evo-opt - --allow-unregistered-dialect | FileCheck %s

// The kernels of the optimizer, and what its procedures read and store.

// CHECK-LABEL: "test.count_nonfinite"
"test.count_nonfinite"() ({
^bb0(%g: tensor<8x4xf32>, %s: tensor<4xf32>):
  // CHECK: ^bb0(%[[G:.*]]: tensor<8x4xf32>, %[[S:.*]]: tensor<4xf32>):
  // CHECK-NEXT: %{{.*}} = kern.count_nonfinite(x = %[[G]], scalars = %[[S]]) : (tensor<8x4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %s1 = kern.count_nonfinite(x = %g, scalars = %s) : (tensor<8x4xf32>, tensor<4xf32>) -> (tensor<4xf32>)
}) : () -> ()

// CHECK-LABEL: "test.sgd_step"
"test.sgd_step"() ({
^bb0(%g: tensor<8xf32>, %s: tensor<4xf32>, %v: tensor<8xf32>, %w: tensor<8xf32>):
  // CHECK: ^bb0(%[[G:.*]]: tensor<8xf32>, %[[S:.*]]: tensor<4xf32>, %[[V:.*]]: tensor<8xf32>, %[[W:.*]]: tensor<8xf32>):
  // CHECK-NEXT: %{{.*}}, %{{.*}} = kern.sgd_step(gradient = %[[G]], scalars = %[[S]], velocity = %[[V]], weight = %[[W]]) {learning_rate = 1.000000e-02 : f64, momentum = 9.000000e-01 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
  %w1, %v1 = kern.sgd_step(gradient = %g, scalars = %s, velocity = %v, weight = %w) {learning_rate = 1.0e-2 : f64, momentum = 9.0e-1 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
}) : () -> ()

// The second result is the new master where there is no velocity: its type is not the weight's.
// CHECK-LABEL: "test.sgd_step_with_master"
"test.sgd_step_with_master"() ({
^bb0(%g: tensor<8xf32>, %s: tensor<4xf32>, %m: tensor<8xf32>, %w: tensor<8xbf16>):
  // CHECK: %{{.*}}, %{{.*}} = kern.sgd_step(gradient = %{{.*}}, scalars = %{{.*}}, master = %{{.*}}, weight = %{{.*}}) {learning_rate = 1.000000e-02 : f64, momentum = 0.000000e+00 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xf32>, tensor<8xbf16>) -> (tensor<8xbf16>, tensor<8xf32>)
  %w1, %m1 = kern.sgd_step(gradient = %g, scalars = %s, master = %m, weight = %w) {learning_rate = 1.0e-2 : f64, momentum = 0.0 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xf32>, tensor<8xbf16>) -> (tensor<8xbf16>, tensor<8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.adamw_step"
"test.adamw_step"() ({
^bb0(%g: tensor<8xf32>, %s: tensor<4xf32>, %m: tensor<8xf32>, %v: tensor<8xf32>, %w: tensor<8xf32>):
  // CHECK: %{{.*}}, %{{.*}}, %{{.*}} = kern.adamw_step(gradient = %{{.*}}, scalars = %{{.*}}, first_moment = %{{.*}}, second_moment = %{{.*}}, weight = %{{.*}}) {beta1 = 9.000000e-01 : f64, beta2 = 0.99899999999999999 : f64, eps = 1.000000e-08 : f64, learning_rate = 1.000000e-03 : f64, weight_decay = 1.000000e-02 : f64} :
  %w1, %m1, %v1 = kern.adamw_step(gradient = %g, scalars = %s, first_moment = %m, second_moment = %v, weight = %w) {learning_rate = 1.0e-3 : f64, beta1 = 9.0e-1 : f64, beta2 = 9.99e-1 : f64, eps = 1.0e-8 : f64, weight_decay = 1.0e-2 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.advance_optimizer"
"test.advance_optimizer"() ({
^bb0(%s: tensor<4xf32>):
  // CHECK: %{{.*}} = kern.advance_optimizer(scalars = %{{.*}}) {growth_interval = 2000 : i64} : (tensor<4xf32>) -> tensor<4xf32>
  %s1 = kern.advance_optimizer(scalars = %s) {growth_interval = 2000 : i64} : (tensor<4xf32>) -> (tensor<4xf32>)
}) : () -> ()

// CHECK-LABEL: kern.procedure @step
kern.procedure @step module "optimizer" phase "optimizer" choice "sgd" tensors [@optimizer] {
^bb0(%s: tensor<4xf32>):
  // CHECK: %[[W:.*]] = kern.weight "layer_norm.weight"
  %w = kern.weight "layer_norm.weight" parts ["layer_norm.weight"] rows [8] : tensor<8xf32>
  // CHECK-NEXT: kern.gradient "layer_norm.weight" : tensor<8xf32>
  %g = kern.gradient "layer_norm.weight" : tensor<8xf32>
  // CHECK-NEXT: kern.state "momentum" "layer_norm.weight" : tensor<8xf32>
  %v = kern.state "momentum" "layer_norm.weight" : tensor<8xf32>
  // CHECK-NEXT: %[[W1:.*]], %[[V1:.*]] = kern.sgd_step
  %w1, %v1 = kern.sgd_step(gradient = %g, scalars = %s, velocity = %v, weight = %w) {learning_rate = 1.0e-2 : f64, momentum = 9.0e-1 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
  // CHECK-NEXT: kern.store_weight %[[W1]] to %[[W]] : tensor<8xf32>
  kern.store_weight %w1 to %w : tensor<8xf32>
  // CHECK-NEXT: kern.store_state %[[V1]] "momentum" "layer_norm.weight" : tensor<8xf32>
  kern.store_state %v1 "momentum" "layer_norm.weight" : tensor<8xf32>
  kern.return []
}

// CHECK-LABEL: kern.procedure @buffers
kern.procedure @buffers module "" phase "optimizer" choice "" tensors [] {
  // CHECK-NEXT: kern.state_buffer "momentum" "layer_norm.weight" : !kern.buffer<8xf32, 8>
  %b = kern.state_buffer "momentum" "layer_norm.weight" : !kern.buffer<8xf32, 8>
  kern.return []
}
