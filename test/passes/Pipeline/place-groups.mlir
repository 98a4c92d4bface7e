// RUN: evo-opt %s --kern-place --kern-verify-placed | FileCheck %s

// A recompute group of two modules, three blocks. m has 640 bytes -> 1024, x 1280 -> 1536.
kern.tensor @m : tensor<4x5x8xf32>
kern.tensor @dm in @m : tensor<4x5x8xf32>

kern.procedure @checkpoint module "checkpoint" phase "forward" choice "copy" tensors [@m] {
  %s = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @a module "a" phase "forward" choice "" tensors [@m] {
  kern.return []
}
kern.procedure @a.again module "a" phase "forward" choice "" tensors [@m] {
  %m = kern.tensor_buffer @m : !kern.buffer<4x5x8xf32, 8>
  %s = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  %x = kern.saved_buffer "x" : !kern.buffer<4x5x16xf32, 16>
  kern.return []
}
kern.procedure @a.backward module "a" phase "backward" choice "" tensors [@saved::@m, @saved::@x, @dm] {
  %s = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  %x = kern.saved_buffer "x" : !kern.buffer<4x5x16xf32, 16>
  kern.return []
}
kern.procedure @b.again module "b" phase "forward" choice "" tensors [@m] {
  %m = kern.tensor_buffer @m : !kern.buffer<4x5x8xf32, 8>
  %s = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @b.backward module "b" phase "backward" choice "" tensors [@saved::@m, @dm] {
  %s = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}

// The boundary ends at 1024. A block keeps the checkpoint alone: blocks at 1024, 2048 and 3072.
// CHECK-LABEL: kern.program "forward"
kern.program "forward" inputs [@m] outputs [@m] {
  kern.blocks first 0 count 3 {
    // CHECK: kern.call @checkpoint frame 2048 {frame_stride = 1024 : i64, id = 0 : i64, saved_offset = 1024 : i64, saved_stride = 1024 : i64}
    kern.call @checkpoint {id = 0 : i64}
    // CHECK-NEXT: kern.call @a frame 2048 {frame_stride = 1024 : i64, id = 1 : i64}
    kern.call @a {id = 1 : i64}
  }
}

// The re-run stands on what block 0 has kept, which ends at 2048, and moves with the blocks: @a.again keeps m at 2048 and x at
// 3072, both 1024 + 1536 = 2560, so that @b.again keeps at 4608 and its frame lies at 5632. Their stream is the checkpoint.
// The backwards pop: that of @b has its partner's frame, that of @a the one of @a.again.
// CHECK-LABEL: kern.program "backward"
kern.program "backward" inputs [@dm] outputs [@dm] {
  kern.blocks first 0 count 3 {
    // CHECK: kern.call @a.again frame 4608 {bindings = [#kern.binding<buffer = "m", offset = 1024, stride = 1024>], frame_stride = 1024 : i64, id = 2 : i64, saved_offset = 2048 : i64, saved_stride = 1024 : i64,
    kern.call @a.again {id = 2 : i64, shares = [#kern.share<buffer = "m", call = 0, slot = "m">]}
    // CHECK-NEXT: kern.call @b.again frame 5632 {bindings = [#kern.binding<buffer = "m", offset = 1024, stride = 1024>], frame_stride = 1024 : i64, id = 3 : i64, saved_offset = 4608 : i64, saved_stride = 1024 : i64,
    kern.call @b.again {id = 3 : i64, shares = [#kern.share<buffer = "m", call = 0, slot = "m">]}
    // CHECK-NEXT: kern.call @b.backward frame 5632 {bindings = [#kern.binding<buffer = "saved.m", offset = 4608, stride = 1024>], frame_stride = 1024 : i64, id = 4 : i64, partner = 3 : i64,
    kern.call @b.backward {id = 4 : i64, partner = 3 : i64, shares = [#kern.share<buffer = "saved.m", call = 3, slot = "m">]}
    // CHECK-NEXT: kern.call @a.backward frame 4608 {bindings = [#kern.binding<buffer = "saved.m", offset = 2048, stride = 1024>, #kern.binding<buffer = "saved.x", offset = 3072, stride = 1024>], frame_stride = 1024 : i64, id = 5 : i64, partner = 2 : i64,
    kern.call @a.backward {id = 5 : i64, partner = 2 : i64, shares = [#kern.share<buffer = "saved.m", call = 2, slot = "m">, #kern.share<buffer = "saved.x", call = 2, slot = "x">]}
  }
}
