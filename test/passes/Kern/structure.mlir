// RUN: evo-opt %s --allow-unregistered-dialect | evo-opt - --allow-unregistered-dialect | FileCheck %s
// RUN: evo-opt %s --allow-unregistered-dialect --mlir-print-op-generic | evo-opt - --allow-unregistered-dialect | FileCheck %s

// Types, views of values, slice loops, buffers, procedures and programs print as they were written.

// CHECK-LABEL: "test.types"
// CHECK-SAME: !kern.buffer<4x17xf32, 20>
// CHECK-SAME: !kern.view<4x256x128xf32>
"test.types"() {buffer = !kern.buffer<4x17xf32, 20>, view = !kern.view<4x256x128xf32>} : () -> ()

// CHECK-LABEL: "test.values"
"test.values"() ({
^bb0(%z: tensor<5x7x8xf32>, %qkvg: tensor<4x7x64xf32>):
  // CHECK: ^bb0(%[[Z:.*]]: tensor<5x7x8xf32>, %[[QKVG:.*]]: tensor<4x7x64xf32>):
  // CHECK-NEXT: kern.weight "msa_att_row.mha.qk" parts ["msa_att_row.mha.linear_q.weight", "msa_att_row.mha.linear_k.weight"] rows [16, 16] : tensor<32x8xf32>
  %w = kern.weight "msa_att_row.mha.qk" parts ["msa_att_row.mha.linear_q.weight", "msa_att_row.mha.linear_k.weight"] rows [16, 16] : tensor<32x8xf32>
  // CHECK-NEXT: kern.transpose %[[Z]] [1, 0, 2] : tensor<5x7x8xf32> -> tensor<7x5x8xf32>
  %t = kern.transpose %z [1, 0, 2] : tensor<5x7x8xf32> -> tensor<7x5x8xf32>
  // CHECK-NEXT: kern.slice %[[QKVG]] axis 2 start 0 size 16 : tensor<4x7x64xf32> -> tensor<4x7x16xf32>
  %q = kern.slice %qkvg axis 2 start 0 size 16 : tensor<4x7x64xf32> -> tensor<4x7x16xf32>
}) : () -> ()

// CHECK-LABEL: "test.slice_loop"
"test.slice_loop"() ({
^bb0(%m: tensor<7x5x8xf32>, %bias: tensor<2x5x5xf32>):
  // CHECK: ^bb0(%[[M:.*]]: tensor<7x5x8xf32>, %[[BIAS:.*]]: tensor<2x5x5xf32>):
  // CHECK-NEXT: "kern.slice_loop"(%[[M]], %[[BIAS]]) <{axis = "s", extent = 7 : i64, operandSegmentSizes = array<i32: 1, 1>, result_axes = array<i64: 0>, size = 4 : i64, sliced_axes = array<i64: 0>}> ({
  // CHECK-NEXT: ^bb0(%[[MS:.*]]: tensor<?x5x8xf32>, %{{.*}}: tensor<2x5x5xf32>):
  %y = "kern.slice_loop"(%m, %bias) <{axis = "s", extent = 7 : i64, size = 4 : i64,
      sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%ms: tensor<?x5x8xf32>, %b: tensor<2x5x5xf32>):
    // CHECK-NEXT: %[[MS1:.*]] = kern.softmax(x = %[[MS]]) : (tensor<?x5x8xf32>) -> tensor<?x5x8xf32>
    // CHECK-NEXT: kern.yield %[[MS1]] : tensor<?x5x8xf32>
    %ms1 = kern.softmax(x = %ms) : (tensor<?x5x8xf32>) -> (tensor<?x5x8xf32>)
    "kern.yield"(%ms1) : (tensor<?x5x8xf32>) -> ()
  }) : (tensor<7x5x8xf32>, tensor<2x5x5xf32>) -> tensor<7x5x8xf32>
}) : () -> ()

// Results behind those of result_axes are sums of what the slices yield.
// CHECK-LABEL: "test.summed"
"test.summed"() ({
^bb0(%m: tensor<7x5x8xf32>):
  // CHECK: -> (tensor<7x5x8xf32>, tensor<5x8xf32>)
  %y:2 = "kern.slice_loop"(%m) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%y: tensor<?x5x8xf32>):
    %sum = "test.sum"(%y) : (tensor<?x5x8xf32>) -> tensor<5x8xf32>
    kern.yield %y, %sum : tensor<?x5x8xf32>, tensor<5x8xf32>
  }) : (tensor<7x5x8xf32>) -> (tensor<7x5x8xf32>, tensor<5x8xf32>)
}) : () -> ()

// The yield of the description stands alone in a body.
// CHECK-LABEL: "test.yield"
"test.yield"() ({
^bb0(%m: tensor<7x5x8xf32>):
  %l = "kern.slice_loop"(%m) <{axis = "s", extent = 7 : i64, size = 4 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%y: tensor<?x5x8xf32>):
    // CHECK: kern.yield %{{.*}} : tensor<?x5x8xf32>
    kern.yield %y : tensor<?x5x8xf32>
  }) : (tensor<7x5x8xf32>) -> tensor<7x5x8xf32>
}) : () -> ()

// CHECK: kern.tensor @z : tensor<5x5x8xf32>
kern.tensor @z : tensor<5x5x8xf32>
// CHECK: kern.tensor @placed offset 1024 : tensor<5x5x8xf32>
kern.tensor @placed offset 1024 : tensor<5x5x8xf32>

// CHECK: kern.procedure @p0 module "pair_transition" phase "forward" choice "fused" tensors [@z] {
kern.procedure @p0 module "pair_transition" phase "forward" choice "fused" tensors [@z] {
^bb0(%z1: tensor<5x5x8xf32>):
  // CHECK: kern.return [@z] %{{.*}} : tensor<5x5x8xf32>
  kern.return [@z] %z1 : tensor<5x5x8xf32>
}

// CHECK-LABEL: kern.procedure @buffers
// CHECK-SAME: tensors [@z] frame 512 {
kern.procedure @buffers module "" phase "forward" choice "" tensors [@z] frame 512 {
  // CHECK-NEXT: kern.tensor_buffer @z : !kern.buffer<5x5x8xf32, 8>
  %b = kern.tensor_buffer @z : !kern.buffer<5x5x8xf32, 8>
  // CHECK-NEXT: kern.alloc "placed.0" offset 512 : !kern.buffer<8xf32, 8>
  %p = kern.alloc "placed.0" offset 512 : !kern.buffer<8xf32, 8>
  kern.free %p : !kern.buffer<8xf32, 8>
  // CHECK: kern.return []
  kern.return []
}

// CHECK-LABEL: kern.procedure @weights
kern.procedure @weights module "" phase "forward" choice "" tensors [] {
  // CHECK-NEXT: kern.weight_buffer "layer_norm.weight" parts ["layer_norm.weight"] rows [8] : !kern.buffer<8xf32, 8>
  %b = kern.weight_buffer "layer_norm.weight" parts ["layer_norm.weight"] rows [8] : !kern.buffer<8xf32, 8>
  kern.return []
}

// CHECK-LABEL: kern.procedure @frames
kern.procedure @frames module "" phase "forward" choice "" tensors [] {
  // CHECK-NEXT: %[[B:.*]] = kern.alloc "qkvg" : !kern.buffer<4x7x64xf32, 64>
  %b = kern.alloc "qkvg" : !kern.buffer<4x7x64xf32, 64>
  // CHECK-NEXT: kern.free %[[B]] : !kern.buffer<4x7x64xf32, 64>
  kern.free %b : !kern.buffer<4x7x64xf32, 64>
  kern.return []
}

// CHECK-LABEL: kern.procedure @loops
kern.procedure @loops module "" phase "forward" choice "" tensors [] {
  // CHECK-NEXT: %[[A:.*]] = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  %b = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  // CHECK-NEXT: kern.loop 0 axis "s" extent 7 size 4 {
  kern.loop 0 axis "s" extent 7 size 4 {
    // CHECK-NEXT: %[[X:.*]] = kern.view %[[A]] start [0, 0] loops [-1, 0] extent [5, 4] loops [-1, 0] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
    %v = kern.view %b start [0, 0] loops [-1, 0] extent [5, 4] loops [-1, 0] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
    // CHECK-NEXT: %[[Y:.*]] = kern.view %[[A]]
    %y = kern.view %b start [0, 0] loops [-1, 0] extent [5, 4] loops [-1, 0] order [1, 0] version 2 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
    // CHECK-NEXT: kern.launch "softmax"(%[[X]], %[[Y]]) present [true, true] {cost_ns = 7 : i64, settings = {}} : !kern.view<4x5xf32>, !kern.view<4x5xf32>
    kern.launch "softmax"(%v, %y) present [true, true] {cost_ns = 7 : i64, settings = {}} : !kern.view<4x5xf32>, !kern.view<4x5xf32>
    // CHECK-NEXT: }
  }
  kern.free %b : !kern.buffer<5x7xf32, 8>
  kern.return []
}

// CHECK-LABEL: kern.procedure @launches
kern.procedure @launches module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<4x5xf32, 8>
  %x = kern.view %a start [0, 0] loops [-1, -1] extent [4, 5] loops [-1, -1] order [0, 1] version 1 : !kern.buffer<4x5xf32, 8> -> !kern.view<4x5xf32>
  %y = kern.view %a start [0, 0] loops [-1, -1] extent [4, 5] loops [-1, -1] order [0, 1] version 2 : !kern.buffer<4x5xf32, 8> -> !kern.view<4x5xf32>
  // CHECK: kern.launch "softmax"(%{{.*}}, %{{.*}}) present [true, true] {settings = {}} : !kern.view<4x5xf32>, !kern.view<4x5xf32>
  kern.launch "softmax"(%x, %y) present [true, true] {settings = {}} : !kern.view<4x5xf32>, !kern.view<4x5xf32>
  kern.free %a : !kern.buffer<4x5xf32, 8>
  kern.return []
}

// CHECK: kern.program "forward" inputs [@z] outputs [@z] {
kern.program "forward" inputs [@z] outputs [@z] {
  // CHECK-NEXT: kern.blocks first 0 count 48 {
  kern.blocks first 0 count 48 {
    // CHECK-NEXT: kern.call @p0
    kern.call @p0
  }
  // CHECK: kern.blocks first 48 count 1 {
  kern.blocks first 48 count 1 {
    // CHECK-NEXT: kern.call @launches frame 1536
    kern.call @launches frame 1536
  }
}
