// RUN: evo-opt %s --kern-annotate-cost=profile=%inputs/toy.json | FileCheck %s
// RUN: evo-opt %s --kern-annotate-cost=profile=%inputs/toy.json --kern-assign-buffers | FileCheck %s --check-prefix=ASSIGNED
// RUN: not evo-opt %s --kern-annotate-cost=profile=none.json 2>&1 | FileCheck %s --check-prefix=PROFILE

// The toy device takes 1 ns a flop, byte and exponential, and 100 ns a launch.
module attributes {kern.model = {precision = "fp32"}} {
// CHECK-LABEL: kern.procedure @whole
kern.procedure @whole module "" phase "forward" choice "" tensors [@x, @w] {
^bb0(%x: tensor<7x5x8xf32>, %w: tensor<4x8xf32>):
  // Flops 2 (7 5) 4 8 = 2240; bytes 1120 + 128 + 560 = 1808.
  // CHECK: kern.linear({{.*}}) {activation = "none", cost_ns = 2340 : i64}
  %y = kern.linear(x = %x, weight = %w) {activation = "none"} : (tensor<7x5x8xf32>, tensor<4x8xf32>) -> (tensor<7x5x4xf32>)
  // Flops 4 140 = 560, exponentials 140; bytes 560 + 560 = 1120.
  // CHECK: kern.softmax({{.*}}) {cost_ns = 1220 : i64}
  %s = kern.softmax(x = %y) : (tensor<7x5x4xf32>) -> (tensor<7x5x4xf32>)
  // A value that is read twice is read once: 2 7 5 5 4 = 1400 flops, bytes 560 + 7 5 5 4 = 1260.
  // CHECK: kern.batch_matmul({{.*}}) {cost_ns = 1500 : i64}
  %p = kern.batch_matmul(a = %s, b = %s) : (tensor<7x5x4xf32>, tensor<7x5x4xf32>) -> (tensor<7x5x5xf32>)
  kern.return [@x] %x : tensor<7x5x8xf32>
}

// CHECK-LABEL: kern.procedure @sliced
kern.procedure @sliced module "" phase "forward" choice "" tensors [@x, @w] {
^bb0(%x: tensor<7x5x8xf32>, %w: tensor<4x8xf32>):
  // By 3 of 7: two slices of 3 and one of 1.
  %y = "kern.slice_loop"(%x, %w) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5x8xf32>, %b: tensor<4x8xf32>):
    // A slice of 3: 2 15 4 8 = 960 flops, bytes 480 + 128 + 240 = 848; of 1: 320 flops, bytes 160 + 128 + 80 = 368.
    // The last is bound by its bytes: 2 (960 + 100) + 368 + 100 = 2588.
    // CHECK: kern.linear({{.*}}) {activation = "none", cost_ns = 2588 : i64}
    %c = kern.linear(x = %a, weight = %b) {activation = "none"} : (tensor<?x5x8xf32>, tensor<4x8xf32>) -> (tensor<?x5x4xf32>)
    kern.yield %c : tensor<?x5x4xf32>
  }) : (tensor<7x5x8xf32>, tensor<4x8xf32>) -> tensor<7x5x4xf32>
  // A size beyond the extent is one slice of 7: as in @whole.
  %z = "kern.slice_loop"(%x, %w) <{axis = "s", extent = 7 : i64, size = 9 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5x8xf32>, %b: tensor<4x8xf32>):
    // CHECK: kern.linear({{.*}}) {activation = "none", cost_ns = 2340 : i64}
    %c = kern.linear(x = %a, weight = %b) {activation = "none"} : (tensor<?x5x8xf32>, tensor<4x8xf32>) -> (tensor<?x5x4xf32>)
    kern.yield %c : tensor<?x5x4xf32>
  }) : (tensor<7x5x8xf32>, tensor<4x8xf32>) -> tensor<7x5x4xf32>
  kern.return [@x] %x : tensor<7x5x8xf32>
}

// A loop that sums: zeroing writes 8 4 = 32 bytes, and 4 8 4 = 128. The pass behind it puts these on the launches.
// CHECK-LABEL: kern.procedure @sums
kern.procedure @sums module "" phase "backward" choice "" tensors [@x, @w] {
^bb0(%x: tensor<7x5x8xf32>, %w: tensor<7x5x4xf32>):
  %s:2 = "kern.slice_loop"(%x, %w) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0, 0>, result_axes = array<i64>, operandSegmentSizes = array<i32: 2, 0>}> ({
  ^bb0(%a: tensor<?x5x8xf32>, %b: tensor<?x5x4xf32>):
    %c = kern.bias_grad(du = %a) : (tensor<?x5x8xf32>) -> (tensor<8xf32>)
    %d = kern.weight_grad(du = %b, x = %a) : (tensor<?x5x4xf32>, tensor<?x5x8xf32>) -> (tensor<4x8xf32>)
    kern.yield %c, %d : tensor<8xf32>, tensor<4x8xf32>
  // CHECK: {zero_cost_ns = array<i64: 132, 228>} :
  }) : (tensor<7x5x8xf32>, tensor<7x5x4xf32>) -> (tensor<8xf32>, tensor<4x8xf32>)
  // ASSIGNED: kern.launch "zero"(%{{.*}}) present [true] {cost_ns = 132 : i64, settings = {}}
  // ASSIGNED: kern.launch "zero"(%{{.*}}) present [true] {cost_ns = 228 : i64, settings = {}}
  kern.store_gradient %s#0 "b" : tensor<8xf32>
  kern.store_gradient %s#1 "w" : tensor<4x8xf32>
  kern.return [@x] %x : tensor<7x5x8xf32>
}

// A layer norm adds to no sum by itself: an `add` does, 8 4 3 = 96 bytes in each of 3 slices, 3 (100 + 96).
// CHECK-LABEL: kern.procedure @added
kern.procedure @added module "" phase "backward" choice "" tensors [@x, @w] {
^bb0(%x: tensor<7x5x8xf32>, %w: tensor<8xf32>):
  %y = "kern.slice_loop"(%x, %w) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%a: tensor<?x5x8xf32>, %b: tensor<8xf32>):
    %c = kern.bias_grad(du = %a) : (tensor<?x5x8xf32>) -> (tensor<8xf32>)
    %d = kern.layer_norm(x = %c, weight = %b, bias = %b) {eps = 1.0e-5 : f64} : (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>)
    kern.yield %d : tensor<8xf32>
  // CHECK: {add_cost_ns = array<i64: 588>, zero_cost_ns = array<i64: 132>} :
  }) : (tensor<7x5x8xf32>, tensor<8xf32>) -> (tensor<8xf32>)
  // ASSIGNED: kern.launch "zero"(%{{.*}}) present [true] {cost_ns = 132 : i64, settings = {}}
  // ASSIGNED: kern.launch "add"(%{{.*}}) present [true, true, true] {cost_ns = 588 : i64, settings = {}}
  kern.store_gradient %y "b" : tensor<8xf32>
  kern.return [@x] %x : tensor<7x5x8xf32>
}
}

// PROFILE: error: none.json: No such file or directory
