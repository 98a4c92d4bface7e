// RUN: evo-opt %s --kern-place --kern-verify-placed | FileCheck %s

// Boundary tensors first: @z 800 bytes -> 1024, @m 640 -> 1024, @dz 1024, @dm 1024: 4096. Then what is kept, then the frames.
// CHECK: kern.tensor @z offset 0
// CHECK: kern.tensor @m offset 1024
// CHECK: kern.tensor @dz offset 2048
// CHECK: kern.tensor @dm offset 3072
kern.tensor @z : tensor<5x5x8xf32>
kern.tensor @m : tensor<4x5x8xf32>
kern.tensor @dz : tensor<5x5x8xf32>
kern.tensor @dm : tensor<4x5x8xf32>

// The kept tensors of a procedure lie by name, whatever the order of the ops: m at 0 (640 -> 1024), z at 1024 (800 -> 1024).
// CHECK-LABEL: kern.procedure @both module
kern.procedure @both module "both" phase "forward" choice "" tensors [@m, @z] {
  // CHECK: kern.saved_buffer "z" offset 1024
  %z = kern.saved_buffer "z" : !kern.buffer<5x5x8xf32, 8>
  // CHECK: kern.saved_buffer "m" offset 0
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
// CHECK-LABEL: kern.procedure @both.backward
kern.procedure @both.backward module "both" phase "backward" choice "" tensors [@saved::@m, @saved::@z, @dm, @dz] {
  // CHECK: kern.saved_buffer "m" offset 0
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  // CHECK: kern.saved_buffer "z" offset 1024
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

// A block of the first segment keeps 2048 + 1024 = 3072: its two blocks lie at 4096 and 7168. The second segment's one block
// begins at 10240 and keeps 1024. Frames lie at 11264. Who keeps nothing has no place.
// CHECK-LABEL: kern.program "forward"
kern.program "forward" inputs [@m, @z] outputs [@m, @z] {
  // CHECK: kern.blocks first 0 count 2 {
  kern.blocks first 0 count 2 {
    // CHECK-NEXT: kern.call @both frame 11264 {saved_offset = 4096 : i64, saved_stride = 3072 : i64}
    kern.call @both
    // CHECK-NEXT: kern.call @nothing frame 11264{{ *$}}
    kern.call @nothing
    // CHECK-NEXT: kern.call @pair frame 11264 {saved_offset = 6144 : i64, saved_stride = 3072 : i64}
    kern.call @pair
  }
  // CHECK: kern.blocks first 2 count 1 {
  kern.blocks first 2 count 1 {
    // CHECK-NEXT: kern.call @nothing frame 11264{{ *$}}
    kern.call @nothing
    // CHECK-NEXT: kern.call @pair frame 11264 {saved_offset = 10240 : i64, saved_stride = 1024 : i64}
    kern.call @pair
  }
}

// The same places, the other way round.
// CHECK-LABEL: kern.program "backward"
kern.program "backward" inputs [@dm, @dz] outputs [@dm, @dz] {
  // CHECK: kern.blocks first 2 count 1 {
  kern.blocks first 2 count 1 {
    // CHECK-NEXT: kern.call @pair.backward frame 11264 {saved_offset = 10240 : i64, saved_stride = 1024 : i64}
    kern.call @pair.backward
    kern.call @nothing.backward
  }
  // CHECK: kern.blocks first 0 count 2 {
  kern.blocks first 0 count 2 {
    // CHECK-NEXT: kern.call @pair.backward frame 11264 {saved_offset = 6144 : i64, saved_stride = 3072 : i64}
    kern.call @pair.backward
    // CHECK-NEXT: kern.call @nothing.backward frame 11264{{ *$}}
    kern.call @nothing.backward
    // CHECK-NEXT: kern.call @both.backward frame 11264 {saved_offset = 4096 : i64, saved_stride = 3072 : i64}
    kern.call @both.backward
  }
}
