// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern | FileCheck %s

// A group behind a module that keeps the same z: its checkpoint keeps m alone. The outer product updates z and runs on a copy,
// since the module before reads it still; the transition behind it reads what is left there, so that it keeps nothing. m is updated by nobody, so that the next block reads it there too.

// CHECK-LABEL: kern.procedure @row module
// CHECK:         kern.save %{{.*}} "m"
// CHECK:         kern.save %{{.*}} "z"
// CHECK-LABEL: kern.procedure @checkpoint module "checkpoint" phase "forward" choice "copy" tensors [@z] {
// CHECK-LABEL: kern.procedure @t.again module "t" {{.*}} tensors [] {
// CHECK-LABEL: kern.procedure @checkpoint.2 module "checkpoint" phase "forward" choice "copy" tensors [@m] {
// CHECK-LABEL: kern.procedure @row.2 module
// CHECK-NOT:     kern.save %{{.*}} "m"
// CHECK:         kern.save %{{.*}} "z"

// CHECK-LABEL: kern.program "forward"
// CHECK-NEXT:   kern.blocks first 0 count 1 {
// CHECK-NEXT:     kern.call @row {id = [[$ROW0:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @checkpoint.2 {id = [[$M0:[0-9]+]] : i64}
// CHECK:        kern.blocks first 1 count 1 {
// CHECK-NEXT:     kern.call @row.2 {id = [[$ROW1:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @checkpoint.2 {id = [[$M1:[0-9]+]] : i64}

// CHECK-LABEL: kern.program "backward"
// CHECK-NEXT:   kern.blocks first 1 count 1 {
// CHECK-NEXT:     kern.call @checkpoint {id = [[$Z1:[0-9]+]] : i64, shares = [#kern.share<buffer = "z", call = [[$ROW1]], slot = "z">]}
// CHECK-NEXT:     kern.call @opm.again {id = [[$OPM1:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$M1]], slot = "m">, #kern.share<buffer = "z", call = [[$Z1]], slot = "z">]}
// CHECK-NEXT:     kern.call @t.again {id = [[$T1:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @t.backward {id = {{[0-9]+}} : i64, partner = [[$T1]] : i64, shares = [#kern.share<buffer = "saved.z", call = [[$Z1]], slot = "z">]}
// CHECK-NEXT:     kern.call @opm.backward {id = {{[0-9]+}} : i64, partner = [[$OPM1]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$M1]], slot = "m">]}
// CHECK-NEXT:     kern.call @row.backward {id = {{[0-9]+}} : i64, partner = [[$ROW1]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$M0]], slot = "m">, #kern.share<buffer = "saved.z", call = [[$ROW1]], slot = "z">]}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 0 count 1 {
// CHECK:          kern.call @row.backward {id = {{[0-9]+}} : i64, partner = [[$ROW0]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$ROW0]], slot = "m">, #kern.share<buffer = "saved.z", call = [[$ROW0]], slot = "z">]}
evo.stack @s tensors ["m", "z", "msa_mask", "pair_mask"] model {blocks = 2 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<6x5x8xf32>, %z: tensor<5x5x4xf32>, %mask: tensor<6x5xf32>, %pair: tensor<5x5xf32>):
  %0:2 = evo.segment first 0 count 2 (%m, %z) attributes {runs = [#evo.run<first = 1, count = 2>]} : (tensor<6x5x8xf32>, tensor<5x5x4xf32>) -> (tensor<6x5x8xf32>, tensor<5x5x4xf32>) {
  ^bb0(%x: tensor<6x5x8xf32>, %y: tensor<5x5x4xf32>):
    %1 = evo.msa_row_attention %x, %y, %mask {prefix = "row", choice = #evo.choice<keep = input>, heads = 2 : i64, head_dim = 4 : i64, inf = 1.0e9 : f64} : tensor<6x5x8xf32>, tensor<5x5x4xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    %2 = evo.outer_product_mean %1, %y, %mask {prefix = "opm", choice = #evo.choice<keep = input>, hidden = 3 : i64, eps = 1.0e-3 : f64} : tensor<6x5x8xf32>, tensor<5x5x4xf32>, tensor<6x5xf32> -> tensor<5x5x4xf32>
    %3 = evo.transition z %2 mask %pair {prefix = "t", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<5x5x4xf32>, tensor<5x5xf32> -> tensor<5x5x4xf32>
    evo.yield %1, %3 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
  }
  evo.yield %0#0, %0#1 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
}
