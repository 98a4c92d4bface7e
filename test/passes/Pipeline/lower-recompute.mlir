// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern | FileCheck %s
// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern --kern-annotate-cost --kern-assign-buffers --kern-free-buffers --kern-verify-buffers --kern-place --kern-verify-placed | FileCheck %s --check-prefix=PLACED

// Blocks 1 and 2 of four run forward twice, and block 1 of these once more: in the re-run of both it runs without keeping
// anything again, and a second time when the backward of block 2 is through.

// The checkpoint of an interval keeps all streams that its blocks read or update: they run on it.
// CHECK-LABEL: kern.procedure @checkpoint module "checkpoint" phase "forward" choice "copy" tensors [@m, @z] {
// CHECK:         kern.save %{{.*}} "m" : tensor<6x5x8xf32>
// CHECK:         kern.save %{{.*}} "z" : tensor<5x5x4xf32>
// CHECK-NEXT:    kern.return []

// What keeps nothing runs as its interval's choice says: @t.2 and @opm.2 as the outer one's, @t.3 and @opm.3 as the inner one's.
// CHECK-LABEL: kern.procedure @t.2 module "t" phase "forward" choice "fused, s by 2"
// CHECK-NOT:     kern.save
// CHECK-LABEL: kern.procedure @opm.2 module "opm" phase "forward" choice "fused" tensors
// CHECK-NOT:     kern.save
// CHECK-LABEL: kern.procedure @t.3 module "t" phase "forward" choice "fused" tensors
// CHECK-NOT:     kern.save
// CHECK-LABEL: kern.procedure @opm.3 module "opm" phase "forward" choice "plain"
// CHECK-NOT:     kern.save
// The m that block 1's transition finds is kept already: by block 0's outer product.
// CHECK-LABEL: kern.procedure @t.again module "t" phase "forward" choice "fused; keeps input, backward fused"
// CHECK-NOT:     kern.save

// Forward: a checkpoint before block 1, and nothing else kept until block 3. Its transition keeps the m that it finds, since the
// outer product of block 2 has not: it does so only in its re-run.
// CHECK:      kern.program "forward" inputs [@m, @z, @msa_mask] outputs [@m, @z] {
// CHECK-NEXT:   kern.blocks first 0 count 1 {
// CHECK-NEXT:     kern.call @t {id = [[$T0:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @opm {id = [[$OPM0:[0-9]+]] : i64}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 1 count 1 {
// CHECK-NEXT:     kern.call @checkpoint {id = [[$OUTER:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @t.2 {id = {{[0-9]+}} : i64}
// CHECK-NEXT:     kern.call @opm.2 {id = {{[0-9]+}} : i64}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 2 count 1 {
// CHECK-NEXT:     kern.call @t.2 {id = {{[0-9]+}} : i64}
// CHECK-NEXT:     kern.call @opm.2 {id = {{[0-9]+}} : i64}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 3 count 1 {
// CHECK-NEXT:     kern.call @t {id = [[$T3:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @opm {id = [[$OPM3:[0-9]+]] : i64}
// CHECK-NEXT:   }
// CHECK-NEXT: }

// Backward: block 3.
// CHECK-NEXT: kern.program "backward" inputs [@dm, @dz] outputs [@dm, @dz] {
// CHECK-NEXT:   kern.blocks first 3 count 1 {
// CHECK-NEXT:     kern.call @opm.backward {id = {{[0-9]+}} : i64, partner = [[$OPM3]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$OPM3]], slot = "m">]}
// CHECK-NEXT:     kern.call @t.backward {id = {{[0-9]+}} : i64, partner = [[$T3]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$T3]], slot = "m">]}
// CHECK-NEXT:   }
// Both blocks again, on the outer checkpoint: block 1 behind a copy of it, the inner checkpoint, and without keeping, block 2 keeps.
// CHECK-NEXT:   kern.blocks first 1 count 1 {
// CHECK-NEXT:     kern.call @checkpoint {id = [[$INNER:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$OUTER]], slot = "m">, #kern.share<buffer = "z", call = [[$OUTER]], slot = "z">]}
// CHECK-NEXT:     kern.call @t.3 {id = {{[0-9]+}} : i64, shares = [#kern.share<buffer = "m", call = [[$OUTER]], slot = "m">]}
// CHECK-NEXT:     kern.call @opm.3 {id = {{[0-9]+}} : i64, shares = [#kern.share<buffer = "m", call = [[$OUTER]], slot = "m">, #kern.share<buffer = "z", call = [[$OUTER]], slot = "z">]}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 2 count 1 {
// CHECK-NEXT:     kern.call @t {id = [[$T2:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$OUTER]], slot = "m">]}
// CHECK-NEXT:     kern.call @opm {id = [[$OPM2:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$OUTER]], slot = "m">, #kern.share<buffer = "z", call = [[$OUTER]], slot = "z">]}
// CHECK-NEXT:   }
// The sweep of block 2 goes down, what ran before it goes up: a run of its own.
// CHECK-NEXT:   kern.blocks first 2 count 1 {
// CHECK-NEXT:     kern.call @opm.backward {id = {{[0-9]+}} : i64, partner = [[$OPM2]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$OPM2]], slot = "m">]}
// CHECK-NEXT:     kern.call @t.backward {id = {{[0-9]+}} : i64, partner = [[$T2]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$T2]], slot = "m">]}
// CHECK-NEXT:   }
// Block 1 again, on the inner checkpoint, and its sweep.
// CHECK-NEXT:   kern.blocks first 1 count 1 {
// CHECK-NEXT:     kern.call @t.again {id = [[$T1:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$INNER]], slot = "m">]}
// CHECK-NEXT:     kern.call @opm {id = [[$OPM1:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$INNER]], slot = "m">, #kern.share<buffer = "z", call = [[$INNER]], slot = "z">]}
// CHECK-NEXT:     kern.call @opm.backward {id = {{[0-9]+}} : i64, partner = [[$OPM1]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$OPM1]], slot = "m">]}
// CHECK-NEXT:     kern.call @t.backward {id = {{[0-9]+}} : i64, partner = [[$T1]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$OPM0]], slot = "m">]}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 0 count 1 {
// CHECK-NEXT:     kern.call @opm.backward {id = {{[0-9]+}} : i64, partner = [[$OPM0]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$OPM0]], slot = "m">]}
// CHECK-NEXT:     kern.call @t.backward {id = {{[0-9]+}} : i64, partner = [[$T0]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$T0]], slot = "m">]}
// CHECK-NEXT:   }
// CHECK-NEXT: }

// m 960 bytes -> 1024, z 400 -> 512, mask 120 -> 512: the boundary ends at 2048. Kept, one on top of the other:
//   block 0  t m 1024 at 2048, opm m 1024 at 3072
//   outer    checkpoint 1024 + 512 at 4096: to 5632, on which the frames of blocks 1 and 2 lie. These keep nothing and are alike,
//            but block 1 has the checkpoint: they are no run
//   block 3  t m at 5632, opm m at 6656: to 7680
// PLACED-LABEL: kern.program "forward"
// PLACED:         kern.call @t frame 3072 {id = {{[0-9]+}} : i64, saved_offset = 2048 : i64}
// PLACED-NEXT:    kern.call @opm frame 4096 {id = {{[0-9]+}} : i64, saved_offset = 3072 : i64}
// PLACED:       kern.blocks first 1 count 1 {
// PLACED-NEXT:    kern.call @checkpoint frame 5632 {id = {{[0-9]+}} : i64, saved_offset = 4096 : i64}
// PLACED-NEXT:    kern.call @t.2 frame 5632 {id = {{[0-9]+}} : i64}
// PLACED:       kern.blocks first 2 count 1 {
// PLACED-NEXT:    kern.call @t.2 frame 5632 {id = {{[0-9]+}} : i64}
// PLACED:         kern.call @t frame 6656 {id = {{[0-9]+}} : i64, saved_offset = 5632 : i64}
// PLACED-NEXT:    kern.call @opm frame 7680 {id = {{[0-9]+}} : i64, saved_offset = 6656 : i64}

// When block 3's backward is through the stack is down at 5632. On it the inner checkpoint, 1536 to 7168, and what block 2 keeps in
// its re-run: t m at 7168, opm m at 8192, to 9216. The blocks run on the outer checkpoint, m at 4096 and z at 5120.
// PLACED-LABEL: kern.program "backward"
// PLACED:       kern.blocks first 1 count 1 {
// PLACED-NEXT:    kern.call @checkpoint frame 7168 {bindings = [#kern.binding<buffer = "m", offset = 4096>, #kern.binding<buffer = "z", offset = 5120>], id = {{[0-9]+}} : i64, saved_offset = 5632 : i64,
// PLACED-NEXT:    kern.call @t.3 frame 7168 {bindings = [#kern.binding<buffer = "m", offset = 4096>], id =
// PLACED-NEXT:    kern.call @opm.3 frame 7168 {bindings = [#kern.binding<buffer = "m", offset = 4096>, #kern.binding<buffer = "z", offset = 5120>], id =
// PLACED:       kern.blocks first 2 count 1 {
// PLACED-NEXT:    kern.call @t frame 8192 {bindings = [#kern.binding<buffer = "m", offset = 4096>], id = {{[0-9]+}} : i64, saved_offset = 7168 : i64,
// PLACED-NEXT:    kern.call @opm frame 9216 {bindings = [#kern.binding<buffer = "m", offset = 4096>, #kern.binding<buffer = "z", offset = 5120>], id = {{[0-9]+}} : i64, saved_offset = 8192 : i64,
// PLACED:       kern.blocks first 2 count 1 {
// PLACED-NEXT:    kern.call @opm.backward frame 9216 {bindings = [#kern.binding<buffer = "saved.m", offset = 8192>], id =
// PLACED-NEXT:    kern.call @t.backward frame 8192 {bindings = [#kern.binding<buffer = "saved.m", offset = 7168>], id =
// Block 1 runs on the inner checkpoint, m at 5632 and z at 6656, and keeps opm m at 7168. Its transition's backward reads the m of
// block 0's outer product at 3072; both checkpoints, which lie on that, are dead: its frame is at 4096.
// PLACED:       kern.blocks first 1 count 1 {
// PLACED-NEXT:    kern.call @t.again frame 7168 {bindings = [#kern.binding<buffer = "m", offset = 5632>], id =
// PLACED-NEXT:    kern.call @opm frame 8192 {bindings = [#kern.binding<buffer = "m", offset = 5632>, #kern.binding<buffer = "z", offset = 6656>], id = {{[0-9]+}} : i64, saved_offset = 7168 : i64,
// PLACED-NEXT:    kern.call @opm.backward frame 8192 {bindings = [#kern.binding<buffer = "saved.m", offset = 7168>], id =
// PLACED-NEXT:    kern.call @t.backward frame 4096 {bindings = [#kern.binding<buffer = "saved.m", offset = 3072>], id =
// PLACED:       kern.blocks first 0 count 1 {
// PLACED-NEXT:    kern.call @opm.backward frame 4096 {bindings = [#kern.binding<buffer = "saved.m", offset = 3072>], id =
// PLACED-NEXT:    kern.call @t.backward frame 3072 {bindings = [#kern.binding<buffer = "saved.m", offset = 2048>], id =
evo.stack @s tensors ["m", "z", "msa_mask"] model {blocks = 4 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 1, count = 2, choices = [#evo.choice<axis = s, size = 2>, #evo.choice]>, #evo.recompute<first = 1, count = 1, choices = [#evo.choice, #evo.choice<variant = plain>]>]} {
^bb0(%m: tensor<6x5x8xf32>, %z: tensor<5x5x4xf32>, %mask: tensor<6x5xf32>):
  %0:2 = evo.segment first 0 count 4 (%m, %z) : (tensor<6x5x8xf32>, tensor<5x5x4xf32>) -> (tensor<6x5x8xf32>, tensor<5x5x4xf32>) {
  ^bb0(%x: tensor<6x5x8xf32>, %y: tensor<5x5x4xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "t", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<6x5x8xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    %2 = evo.outer_product_mean %1, %y, %mask {prefix = "opm", choice = #evo.choice<keep = input>, hidden = 3 : i64, eps = 1.0e-3 : f64} : tensor<6x5x8xf32>, tensor<5x5x4xf32>, tensor<6x5xf32> -> tensor<5x5x4xf32>
    evo.yield %1, %2 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
  }
  evo.yield %0#0, %0#1 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
}
