// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern --kern-annotate-cost --kern-assign-buffers --kern-free-buffers --kern-verify-buffers --kern-place --kern-verify-placed | FileCheck %s

// Three blocks that run forward twice, placed. z 5 5 4 4 = 400 bytes -> 512, mask 100 -> 512: the boundary ends at 1024. The
// checkpoint lies there, to 1536. Forward, blocks 1 and 2 are alike, block 0 has the checkpoint.
// CHECK-LABEL: kern.program "forward"
// CHECK-NEXT:    kern.blocks first 0 count 1 {
// CHECK-NEXT:      kern.call @checkpoint frame 1536 {id = {{[0-9]+}} : i64, saved_offset = 1024 : i64}
// CHECK-NEXT:      kern.call @t frame 1536 {id = {{[0-9]+}} : i64}
// CHECK-NEXT:    }
// CHECK-NEXT:    kern.blocks first 1 count 2 {
// CHECK-NEXT:      kern.call @t frame 1536 {id = {{[0-9]+}} : i64}
// CHECK-NEXT:    }
// CHECK-NEXT:  }

// Backward the re-run goes up: all blocks run on the checkpoint, which does not move, and keep 512 each at 1536, 2048 and 2560.
// Then the sweep goes down through the same blocks, and a frame lies on what its block keeps. Each is one run, apart from the other.
// CHECK-NEXT:  kern.program "backward"
// CHECK-NEXT:    kern.blocks first 0 count 3 {
// CHECK-NEXT:      kern.call @t.again frame 2048 {bindings = [#kern.binding<buffer = "z", offset = 1024>], frame_stride = 512 : i64, id = {{[0-9]+}} : i64, saved_offset = 1536 : i64, saved_stride = 512 : i64,
// CHECK:         kern.blocks first 0 count 3 {
// CHECK-NEXT:      kern.call @t.backward frame 2048 {bindings = [#kern.binding<buffer = "saved.z", offset = 1536, stride = 512>], frame_stride = 512 : i64,
// CHECK-NOT:     kern.blocks
evo.stack @s tensors ["z", "pair_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 0, count = 3, choices = [#evo.choice]>]} {
^bb0(%z: tensor<5x5x4xf32>, %mask: tensor<5x5xf32>):
  %0 = evo.segment first 0 count 3 (%z) : (tensor<5x5x4xf32>) -> tensor<5x5x4xf32> {
  ^bb0(%x: tensor<5x5x4xf32>):
    %1 = evo.transition z %x mask %mask {prefix = "t", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<5x5x4xf32>, tensor<5x5xf32> -> tensor<5x5x4xf32>
    evo.yield %1 : tensor<5x5x4xf32>
  }
  evo.yield %0 : tensor<5x5x4xf32>
}
