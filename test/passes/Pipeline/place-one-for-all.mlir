// RUN: evo-opt %s --kern-place --kern-verify-placed | FileCheck %s

// What a call in blocks of one keeps serves all blocks: they read it at one place, and it stays until the last of them has.
kern.procedure @checkpoint module "checkpoint" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @f module "f" phase "forward" choice "" tensors [] {
  %z = kern.saved_buffer "z" : !kern.buffer<5x5x4xf32, 4>
  kern.return []
}
kern.procedure @f.backward module "f" phase "backward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  %z = kern.saved_buffer "z" : !kern.buffer<5x5x4xf32, 4>
  kern.return []
}

// m 640 bytes -> 1024 at 0. z 400 -> 512 a block, of blocks 1 to 3 at 1024, 1536 and 2048.
// CHECK-LABEL: kern.program "forward"
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 1 {
    // CHECK: kern.call @checkpoint frame 1024 {id = 0 : i64}
    kern.call @checkpoint {id = 0 : i64}
  }
  kern.blocks first 1 count 3 {
    // CHECK: kern.call @f frame 1536 {frame_stride = 512 : i64, id = 1 : i64, saved_offset = 1024 : i64, saved_stride = 512 : i64}
    kern.call @f {id = 1 : i64}
  }
}

// CHECK-LABEL: kern.program "backward"
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 1 count 3 {
    // CHECK: kern.call @f.backward frame 1536 {bindings = [#kern.binding<buffer = "saved.m", offset = 0>, #kern.binding<buffer = "saved.z", offset = 1024, stride = 512>], frame_stride = 512 : i64,
    kern.call @f.backward {id = 2 : i64, partner = 1 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">, #kern.share<buffer = "saved.z", call = 1, slot = "z">]}
  }
}
