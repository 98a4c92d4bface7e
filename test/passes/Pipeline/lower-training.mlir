// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern | FileCheck %s

// In training each module has two procedures: the forward keeps the streams that the backward reads, the backward computes
// the forward again from them and sweeps back. The backward program runs segments, blocks and calls in reverse.

// The streams' gradients stand behind the boundary tensors, each in the slot of its stream; masks have none.
// CHECK:      kern.tensor @m : tensor<6x5x8xf32>
// CHECK-NEXT: kern.tensor @z : tensor<5x5x4xf32>
// CHECK-NEXT: kern.tensor @msa_mask : tensor<6x5xf32>
// CHECK-NEXT: kern.tensor @dm in @m : tensor<6x5x8xf32>
// CHECK-NEXT: kern.tensor @dz in @z : tensor<5x5x4xf32>

// The gradient of the residual is that of the result: dm is scaled by the mask for the product and added to by the norm.
// CHECK-LABEL: kern.procedure @t.backward module "t" phase "backward" choice "fused; keeps input, backward fused" tensors [@saved::@m, @msa_mask, @dm] {
// CHECK-NEXT:  ^bb0(%[[M:.*]]: tensor<6x5x8xf32>, %[[MASK:.*]]: tensor<6x5xf32>, %[[DM:.*]]: tensor<6x5x8xf32>):
// CHECK:         %[[N:.*]] = kern.layer_norm(x = %[[M]],
// CHECK:         %[[H:.*]] = kern.linear(x = %[[N]], {{.*}} {activation = "relu"}
// The second product is not computed again: nothing reads its result.
// CHECK-NOT:     kern.linear(
// CHECK:         %[[DU:.*]] = kern.linear_grad(dy = %[[DM]], row_scale = %[[MASK]]) {activation = "none"}
// CHECK:         %[[DH:.*]] = kern.linear(x = %[[DU]],
// CHECK-NEXT:    %[[DW2:.*]] = kern.weight_grad(du = %[[DU]], x = %[[H]])
// CHECK-NEXT:    %[[DB2:.*]] = kern.bias_grad(du = %[[DU]])
// CHECK-NEXT:    %[[DV:.*]] = kern.linear_grad(dy = %[[DH]], h = %[[H]]) {activation = "relu"}
// CHECK:         %[[DN:.*]] = kern.linear(x = %[[DV]],
// CHECK:         %[[DX:.*]], %[[DG:.*]], %[[DB:.*]] = kern.layer_norm_grad(x = %[[M]], weight = %{{.*}}, dy = %[[DN]], residual = %[[DM]])
// CHECK-DAG:     kern.store_gradient %[[DW2]] "t.linear_2.weight" : tensor<8x16xf32>
// CHECK-DAG:     kern.store_gradient %[[DB2]] "t.linear_2.bias" : tensor<8xf32>
// CHECK-DAG:     kern.store_gradient %[[DG]] "t.layer_norm.weight" : tensor<8xf32>
// CHECK-DAG:     kern.store_gradient %[[DB]] "t.layer_norm.bias" : tensor<8xf32>
// CHECK:         kern.return [@dm] %[[DX]] : tensor<6x5x8xf32>

// CHECK-LABEL: kern.procedure @t module "t" phase "forward" choice "fused; keeps input, backward fused" tensors [@m, @msa_mask] {
// CHECK-NEXT:  ^bb0(%[[M:.*]]: tensor<6x5x8xf32>, %{{.*}}: tensor<6x5xf32>):
// CHECK-NEXT:    %[[KEPT:.*]] = kern.copy(x = %[[M]]) : (tensor<6x5x8xf32>) -> tensor<6x5x8xf32>
// CHECK-NEXT:    kern.save %[[KEPT]] "m" : tensor<6x5x8xf32>

// z is only added to: the backward of the outer product does not read it, so that it is not kept, and hands dz on.
// CHECK-LABEL: kern.procedure @opm.backward module "opm" phase "backward" choice "fused; keeps input, backward plain" tensors [@saved::@m, @msa_mask, @dm, @dz] {
// CHECK-NEXT:  ^bb0(%{{.*}}: tensor<6x5x8xf32>, %{{.*}}: tensor<6x5xf32>, %[[DM:.*]]: tensor<6x5x8xf32>, %[[DZ:.*]]: tensor<5x5x4xf32>):
// CHECK:         kern.linear_grad(dy = %[[DZ]],
// CHECK:         %[[DA:.*]], %[[DB:.*]] = kern.outer_product_grad(
// a and b are slices of one product: its gradient is theirs put together.
// CHECK:         %[[DAB:.*]] = kern.concat %[[DA]], %[[DB]] axis 2 : tensor<6x5x3xf32>, tensor<6x5x3xf32> -> tensor<6x5x6xf32>
// CHECK:         %[[DX:.*]], %{{.*}}, %{{.*}} = kern.layer_norm_grad({{.*}} residual = %[[DM]])
// CHECK:         kern.return [@dm, @dz] %[[DX]], %[[DZ]] : tensor<6x5x8xf32>, tensor<5x5x4xf32>
// CHECK-LABEL: kern.procedure @opm module
// CHECK:         kern.save %{{.*}} "m"
// CHECK-NOT:     kern.save

// The outer product reads the m that the next block's transition finds, and keeps it for both: transitions behind the first
// block's keep nothing and read it there. Each block has calls of its own; ids count them, a backward behind its forward.
// CHECK-LABEL: kern.procedure @t.2 module "t" phase "forward"
// CHECK-NOT:     kern.save
// CHECK:      kern.program "forward" inputs [@m, @z, @msa_mask] outputs [@m, @z] {
// CHECK-NEXT:   kern.blocks first 0 count 1 {
// CHECK-NEXT:     kern.call @t {id = 0 : i64}
// CHECK-NEXT:     kern.call @opm {id = 2 : i64}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 1 count 1 {
// CHECK-NEXT:     kern.call @t.2 {id = 4 : i64}
// CHECK-NEXT:     kern.call @opm {id = 6 : i64}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 2 count 1 {
// CHECK-NEXT:     kern.call @t.2 {id = 8 : i64}
// CHECK-NEXT:     kern.call @opm {id = 10 : i64}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 3 count 1 {
// CHECK-NEXT:     kern.call @t.2 {id = 12 : i64}
// CHECK-NEXT:   }
// CHECK-NEXT: }
// CHECK-NEXT: kern.program "backward" inputs [@dm, @dz] outputs [@dm, @dz] {
// CHECK-NEXT:   kern.blocks first 3 count 1 {
// CHECK-NEXT:     kern.call @t.backward {id = 13 : i64, partner = 12 : i64, shares = [#kern.share<buffer = "saved.m", call = 10, slot = "m">]}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 2 count 1 {
// CHECK-NEXT:     kern.call @opm.backward {id = 11 : i64, partner = 10 : i64, shares = [#kern.share<buffer = "saved.m", call = 10, slot = "m">]}
// CHECK-NEXT:     kern.call @t.backward {id = 9 : i64, partner = 8 : i64, shares = [#kern.share<buffer = "saved.m", call = 6, slot = "m">]}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 1 count 1 {
// CHECK-NEXT:     kern.call @opm.backward {id = 7 : i64, partner = 6 : i64, shares = [#kern.share<buffer = "saved.m", call = 6, slot = "m">]}
// CHECK-NEXT:     kern.call @t.backward {id = 5 : i64, partner = 4 : i64, shares = [#kern.share<buffer = "saved.m", call = 2, slot = "m">]}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 0 count 1 {
// CHECK-NEXT:     kern.call @opm.backward {id = 3 : i64, partner = 2 : i64, shares = [#kern.share<buffer = "saved.m", call = 2, slot = "m">]}
// CHECK-NEXT:     kern.call @t.backward {id = 1 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">]}
// CHECK-NEXT:   }
// CHECK-NEXT: }
evo.stack @s tensors ["m", "z", "msa_mask"] model {blocks = 4 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<6x5x8xf32>, %z: tensor<5x5x4xf32>, %mask: tensor<6x5xf32>):
  %0:2 = evo.segment first 0 count 3 (%m, %z) : (tensor<6x5x8xf32>, tensor<5x5x4xf32>) -> (tensor<6x5x8xf32>, tensor<5x5x4xf32>) {
  ^bb0(%x: tensor<6x5x8xf32>, %y: tensor<5x5x4xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "t", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<6x5x8xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    %2 = evo.outer_product_mean %1, %y, %mask {prefix = "opm", choice = #evo.choice<keep = input, backward_variant = plain>, hidden = 3 : i64, eps = 1.0e-3 : f64} : tensor<6x5x8xf32>, tensor<5x5x4xf32>, tensor<6x5xf32> -> tensor<5x5x4xf32>
    evo.yield %1, %2 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
  }
  %3:2 = evo.segment first 3 count 1 (%0#0, %0#1) : (tensor<6x5x8xf32>, tensor<5x5x4xf32>) -> (tensor<6x5x8xf32>, tensor<5x5x4xf32>) {
  ^bb0(%x: tensor<6x5x8xf32>, %y: tensor<5x5x4xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "t", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<6x5x8xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    evo.yield %1, %y : tensor<6x5x8xf32>, tensor<5x5x4xf32>
  }
  evo.yield %3#0, %3#1 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
}
