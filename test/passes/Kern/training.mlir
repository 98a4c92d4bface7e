// RUN: evo-opt %s --allow-unregistered-dialect | evo-opt - --allow-unregistered-dialect | FileCheck %s
// RUN: evo-opt %s --allow-unregistered-dialect --mlir-print-op-generic | evo-opt - --allow-unregistered-dialect | FileCheck %s

// What only training has: parts put together, kept tensors and stored gradients, as values and as buffers.

// CHECK-LABEL: "test.concat"
"test.concat"() ({
^bb0(%a: tensor<4x7xf32>, %b: tensor<4x9xf32>):
  // CHECK: ^bb0(%[[A:.*]]: tensor<4x7xf32>, %[[B:.*]]: tensor<4x9xf32>):
  // CHECK-NEXT: %{{.*}} = kern.concat %[[A]], %[[B]] axis 1 : tensor<4x7xf32>, tensor<4x9xf32> -> tensor<4x16xf32>
  %d = kern.concat %a, %b axis 1 : tensor<4x7xf32>, tensor<4x9xf32> -> tensor<4x16xf32>
}) : () -> ()

kern.tensor @m : tensor<4x5x8xf32>
kern.tensor @dm : tensor<4x5x8xf32>

// CHECK-LABEL: kern.procedure @forward
// CHECK-SAME: phase "forward" choice "fused; keeps input, backward fused" tensors [@m] {
kern.procedure @forward module "msa_transition" phase "forward" choice "fused; keeps input, backward fused" tensors [@m] {
^bb0(%m: tensor<4x5x8xf32>):
  // CHECK: %[[COPY:.*]] = kern.copy
  %copy = kern.copy(x = %m) : (tensor<4x5x8xf32>) -> (tensor<4x5x8xf32>)
  // CHECK-NEXT: kern.save %[[COPY]] "m" : tensor<4x5x8xf32>
  kern.save %copy "m" : tensor<4x5x8xf32>
  kern.return [@m] %m : tensor<4x5x8xf32>
}

// The stream is read as the forward procedure kept it; its gradient is updated.
// CHECK-LABEL: kern.procedure @backward
// CHECK-SAME: phase "backward" choice "" tensors [@saved::@m, @dm] {
kern.procedure @backward module "msa_transition" phase "backward" choice "" tensors [@saved::@m, @dm] {
^bb0(%m: tensor<4x5x8xf32>, %dm: tensor<4x5x8xf32>):
  // CHECK: %[[W:.*]] = kern.weight
  %w = kern.weight "layer_norm.weight" parts ["layer_norm.weight"] rows [8] : tensor<8xf32>
  // CHECK-NEXT: %{{.*}}, %[[DW:.*]], %[[DB:.*]] = kern.layer_norm_grad
  %dx, %dw, %db = kern.layer_norm_grad(x = %m, weight = %w, dy = %dm) {eps = 1.0e-5 : f64} : (tensor<4x5x8xf32>, tensor<8xf32>, tensor<4x5x8xf32>) -> (tensor<4x5x8xf32>, tensor<8xf32>, tensor<8xf32>)
  // CHECK-NEXT: kern.store_gradient %[[DW]] "layer_norm.weight" : tensor<8xf32>
  kern.store_gradient %dw "layer_norm.weight" : tensor<8xf32>
  // The gradient of a weight that the backward itself does not read.
  // CHECK-NEXT: kern.store_gradient %[[DB]] "layer_norm.bias" : tensor<8xf32>
  kern.store_gradient %db "layer_norm.bias" : tensor<8xf32>
  kern.return [@dm] %dx : tensor<4x5x8xf32>
}

// CHECK-LABEL: kern.procedure @buffers
kern.procedure @buffers module "" phase "backward" choice "" tensors [@saved::@m] {
  // CHECK-NEXT: kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  %b = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  // CHECK-NEXT: kern.saved_buffer "z" offset 1024 : !kern.buffer<5x5x8xf32, 8>
  %z = kern.saved_buffer "z" offset 1024 : !kern.buffer<5x5x8xf32, 8>
  kern.return []
}

// CHECK-LABEL: kern.procedure @gradients
kern.procedure @gradients module "" phase "backward" choice "" tensors [] {
  // CHECK-NEXT: kern.gradient_buffer "layer_norm.weight" : !kern.buffer<8xf32, 8>
  %b = kern.gradient_buffer "layer_norm.weight" : !kern.buffer<8xf32, 8>
  kern.return []
}

// CHECK: kern.program "backward" inputs [@dm] outputs [@dm] {
kern.program "backward" inputs [@dm] outputs [@dm] {
  // CHECK-NEXT: kern.blocks first 0 count 48 {
  kern.blocks first 0 count 48 {
    // CHECK-NEXT: kern.call @backward frame 2048 {saved_offset = 512 : i64, saved_stride = 1024 : i64}
    kern.call @backward frame 2048 {saved_offset = 512 : i64, saved_stride = 1024 : i64}
  }
}

// A tensor in the slot of another one; calls with ids, partners and what they share, before and behind the placement.
// CHECK: kern.tensor @dz in @z offset 0 : tensor<5x5x8xf32>
kern.tensor @dz in @z offset 0 : tensor<5x5x8xf32>
// CHECK: kern.program "backward" inputs [@dz] outputs [@dz] {
kern.program "backward" inputs [@dz] outputs [@dz] {
  kern.blocks first 1 count 2 {
    // CHECK: kern.call @backward {id = 4 : i64, partner = 3 : i64, shares = [#kern.share<buffer = "saved.m", call = 3, slot = "m">, #kern.share<buffer = "saved.z", call = 3, slot = "z">]}
    kern.call @backward {id = 4 : i64, partner = 3 : i64, shares = [#kern.share<buffer = "saved.m", call = 3, slot = "m">, #kern.share<buffer = "saved.z", call = 3, slot = "z">]}
    // CHECK-NEXT: kern.call @backward frame 8192 {bindings = [#kern.binding<buffer = "saved.m", offset = 4096, stride = 512>, #kern.binding<buffer = "saved.z", offset = 512>], frame_stride = 512 : i64}
    kern.call @backward frame 8192 {bindings = [#kern.binding<buffer = "saved.m", offset = 4096, stride = 512>, #kern.binding<buffer = "saved.z", offset = 512, stride = 0>], frame_stride = 512 : i64}
  }
}
