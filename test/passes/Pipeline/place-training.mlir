// RUN: evo-opt %s --kern-place --kern-verify-placed | FileCheck %s

// Boundary tensors first: @z 800 bytes -> 1024, @m 640 -> 1024: 2048. Gradients lie in the slots of their streams.
// CHECK: kern.tensor @z offset 0 :
// CHECK: kern.tensor @m offset 1024 :
// CHECK: kern.tensor @dz in @z offset 0 :
// CHECK: kern.tensor @dm in @m offset 1024 :
kern.tensor @z : tensor<5x5x8xf32>
kern.tensor @m : tensor<4x5x8xf32>
kern.tensor @dz in @z : tensor<5x5x8xf32>
kern.tensor @dm in @m : tensor<4x5x8xf32>

// The kept tensors of a procedure lie by name, whatever the order of the ops: m at 0 (640 -> 1024), z at 1024 (800 -> 1024).
// CHECK-LABEL: kern.procedure @both module
kern.procedure @both module "both" phase "forward" choice "" tensors [@m, @z] {
  // CHECK: kern.saved_buffer "z" offset 1024
  %z = kern.saved_buffer "z" : !kern.buffer<5x5x8xf32, 8>
  // CHECK: kern.saved_buffer "m" offset 0
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
// A backward keeps nothing: where its calls find what was kept is theirs to say.
// CHECK-LABEL: kern.procedure @both.backward
kern.procedure @both.backward module "both" phase "backward" choice "" tensors [@saved::@m, @saved::@z, @dm, @dz] {
  // CHECK: kern.saved_buffer "m" offset 0
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  // CHECK: kern.saved_buffer "z" offset 0
  %z = kern.saved_buffer "z" : !kern.buffer<5x5x8xf32, 8>
  kern.return []
}
kern.procedure @pair module "pair" phase "forward" choice "" tensors [@z] {
  // CHECK: kern.saved_buffer "z" offset 0
  %z = kern.saved_buffer "z" : !kern.buffer<5x5x8xf32, 8>
  kern.return []
}
kern.procedure @pair.backward module "pair" phase "backward" choice "" tensors [@saved::@z, @dz] {
  %z = kern.saved_buffer "z" : !kern.buffer<5x5x8xf32, 8>
  kern.return []
}
// CHECK-LABEL: kern.procedure @nothing
kern.procedure @nothing module "nothing" phase "forward" choice "" tensors [] {
  kern.return []
}
kern.procedure @nothing.backward module "nothing" phase "backward" choice "" tensors [] {
  kern.return []
}

// A block of the first segment keeps 2048 + 1024 = 3072: its two blocks lie at 2048 and 5120. The second segment's one block
// begins at 8192 and keeps 1024: there is nothing to move. A frame lies on what is kept up to its call and moves with the blocks.
// CHECK-LABEL: kern.program "forward"
kern.program "forward" inputs [@m, @z] outputs [@m, @z] {
  // CHECK: kern.blocks first 0 count 2 {
  kern.blocks first 0 count 2 {
    // CHECK-NEXT: kern.call @both frame 4096 {frame_stride = 3072 : i64, id = 0 : i64, saved_offset = 2048 : i64, saved_stride = 3072 : i64}
    kern.call @both {id = 0 : i64}
    // CHECK-NEXT: kern.call @nothing frame 4096 {frame_stride = 3072 : i64, id = 1 : i64}
    kern.call @nothing {id = 1 : i64}
    // CHECK-NEXT: kern.call @pair frame 5120 {frame_stride = 3072 : i64, id = 2 : i64, saved_offset = 4096 : i64, saved_stride = 3072 : i64}
    kern.call @pair {id = 2 : i64}
  }
  // CHECK: kern.blocks first 2 count 1 {
  kern.blocks first 2 count 1 {
    // CHECK-NEXT: kern.call @nothing frame 8192 {id = 3 : i64}
    kern.call @nothing {id = 3 : i64}
    // CHECK-NEXT: kern.call @pair frame 9216 {id = 4 : i64, saved_offset = 8192 : i64}
    kern.call @pair {id = 4 : i64}
  }
}

// Backward the stack goes down as it went up: a backward's frame lies where its partner's does. Block 2 reads the z of its own pair
// at 8192; blocks 0 and 1 those from 4096 on.
// @both reads m at 2048 and z 1024 behind it.
// CHECK-LABEL: kern.program "backward"
kern.program "backward" inputs [@dm, @dz] outputs [@dm, @dz] {
  // CHECK: kern.blocks first 2 count 1 {
  kern.blocks first 2 count 1 {
    // CHECK-NEXT: kern.call @pair.backward frame 9216 {bindings = [#kern.binding<buffer = "saved.z", offset = 8192>], id = 5 : i64,
    kern.call @pair.backward {id = 5 : i64, partner = 4 : i64, shares = [#kern.share<buffer = "saved.z", call = 4, slot = "z">]}
    // CHECK-NEXT: kern.call @nothing.backward frame 8192 {id = 6 : i64, partner = 3 : i64}
    kern.call @nothing.backward {id = 6 : i64, partner = 3 : i64}
  }
  // CHECK: kern.blocks first 0 count 2 {
  kern.blocks first 0 count 2 {
    // CHECK-NEXT: kern.call @pair.backward frame 5120 {bindings = [#kern.binding<buffer = "saved.z", offset = 4096, stride = 3072>], frame_stride = 3072 : i64,
    kern.call @pair.backward {id = 7 : i64, partner = 2 : i64, shares = [#kern.share<buffer = "saved.z", call = 2, slot = "z">]}
    // CHECK-NEXT: kern.call @nothing.backward frame 4096 {frame_stride = 3072 : i64,
    kern.call @nothing.backward {id = 8 : i64, partner = 1 : i64}
    // CHECK-NEXT: kern.call @both.backward frame 4096 {bindings = [#kern.binding<buffer = "saved.m", offset = 2048, stride = 3072>, #kern.binding<buffer = "saved.z", offset = 3072, stride = 3072>], frame_stride = 3072 : i64,
    kern.call @both.backward {id = 9 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">, #kern.share<buffer = "saved.z", call = 0, slot = "z">]}
  }
}
