// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern | FileCheck %s

// A version of a stream is kept once, by the first call that needs it. The outer product does not change m, so that the row
// attention of the next block reads the same version there. The first block has no block before it: its row attention keeps m.

// z is another one in every block, which the row attention keeps each time; the outer product only adds to it.
// CHECK-LABEL: kern.procedure @row module
// CHECK:         kern.save %{{.*}} "m" : tensor<6x5x8xf32>
// CHECK:         kern.save %{{.*}} "z" : tensor<5x5x4xf32>
// CHECK-LABEL: kern.procedure @opm module
// CHECK:         kern.save %{{.*}} "m" : tensor<6x5x8xf32>
// CHECK-NOT:     kern.save
// CHECK-LABEL: kern.procedure @row.2 module "row"
// CHECK-NOT:     kern.save %{{.*}} "m"
// CHECK:         kern.save %{{.*}} "z" : tensor<5x5x4xf32>
// CHECK-NOT:     kern.save

// Each block has calls of its own; ids count them, a backward behind its forward. One procedure serves blocks 1 to 3.
// CHECK:      kern.program "forward"
// CHECK-NEXT:   kern.blocks first 0 count 1 {
// CHECK-NEXT:     kern.call @row {id = 0 : i64}
// CHECK-NEXT:     kern.call @opm {id = 2 : i64}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 1 count 1 {
// CHECK-NEXT:     kern.call @row.2 {id = 4 : i64}
// CHECK-NEXT:     kern.call @opm {id = 6 : i64}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 2 count 1 {
// CHECK-NEXT:     kern.call @row.2 {id = 8 : i64}
// CHECK-NEXT:     kern.call @opm {id = 10 : i64}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 3 count 1 {
// CHECK-NEXT:     kern.call @row.2 {id = 12 : i64}
// CHECK-NEXT:     kern.call @opm {id = 14 : i64}
// CHECK-NEXT:   }
// CHECK-NEXT: }
// Blocks 1 to 3 read the m that the outer product one block before keeps: block 3 call 10, block 2 call 6, block 1 call 2. One
// backward serves all blocks.
// CHECK-NEXT: kern.program "backward"
// CHECK-NEXT:   kern.blocks first 3 count 1 {
// CHECK-NEXT:     kern.call @opm.backward {id = 15 : i64, partner = 14 : i64, shares = [#kern.share<buffer = "saved.m", call = 14, slot = "m">]}
// CHECK-NEXT:     kern.call @row.backward {id = 13 : i64, partner = 12 : i64, shares = [#kern.share<buffer = "saved.m", call = 10, slot = "m">, #kern.share<buffer = "saved.z", call = 12, slot = "z">]}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 2 count 1 {
// CHECK-NEXT:     kern.call @opm.backward {id = 11 : i64, partner = 10 : i64, shares = [#kern.share<buffer = "saved.m", call = 10, slot = "m">]}
// CHECK-NEXT:     kern.call @row.backward {id = 9 : i64, partner = 8 : i64, shares = [#kern.share<buffer = "saved.m", call = 6, slot = "m">, #kern.share<buffer = "saved.z", call = 8, slot = "z">]}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 1 count 1 {
// CHECK-NEXT:     kern.call @opm.backward {id = 7 : i64, partner = 6 : i64, shares = [#kern.share<buffer = "saved.m", call = 6, slot = "m">]}
// CHECK-NEXT:     kern.call @row.backward {id = 5 : i64, partner = 4 : i64, shares = [#kern.share<buffer = "saved.m", call = 2, slot = "m">, #kern.share<buffer = "saved.z", call = 4, slot = "z">]}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 0 count 1 {
// CHECK-NEXT:     kern.call @opm.backward {id = 3 : i64, partner = 2 : i64, shares = [#kern.share<buffer = "saved.m", call = 2, slot = "m">]}
// CHECK-NEXT:     kern.call @row.backward {id = 1 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">, #kern.share<buffer = "saved.z", call = 0, slot = "z">]}
// CHECK-NEXT:   }
// CHECK-NEXT: }
evo.stack @s tensors ["m", "z", "msa_mask"] model {blocks = 4 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<6x5x8xf32>, %z: tensor<5x5x4xf32>, %mask: tensor<6x5xf32>):
  %0:2 = evo.segment first 0 count 4 (%m, %z) : (tensor<6x5x8xf32>, tensor<5x5x4xf32>) -> (tensor<6x5x8xf32>, tensor<5x5x4xf32>) {
  ^bb0(%x: tensor<6x5x8xf32>, %y: tensor<5x5x4xf32>):
    %1 = evo.msa_row_attention %x, %y, %mask {prefix = "row", choice = #evo.choice<keep = input>, heads = 2 : i64, head_dim = 4 : i64, inf = 1.0e9 : f64} : tensor<6x5x8xf32>, tensor<5x5x4xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    %2 = evo.outer_product_mean %1, %y, %mask {prefix = "opm", choice = #evo.choice<keep = input>, hidden = 3 : i64, eps = 1.0e-3 : f64} : tensor<6x5x8xf32>, tensor<5x5x4xf32>, tensor<6x5xf32> -> tensor<5x5x4xf32>
    evo.yield %1, %2 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
  }
  evo.yield %0#0, %0#1 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
}
