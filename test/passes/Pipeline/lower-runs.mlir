// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern --split-input-file | FileCheck %s

// Modules that share a loop are one procedure forward and one backward; only what the first of them reads is kept.

// CHECK-LABEL: kern.procedure @"c+t.backward" module "c+t" phase "backward" choice "fused + fused, r by 2; keeps its input, backward the same" tensors [@saved::@m, @msa_mask, @dm] {
// CHECK-NEXT:  ^bb0(%[[M:.*]]: tensor<6x5x8xf32>, %[[MASK:.*]]: tensor<6x5xf32>, %[[DM:.*]]: tensor<6x5x8xf32>):
// One loop over columns, of slices of m, the mask and dm; it makes slices of dm and twelve sums, one a weight.
// CHECK-NEXT:    %[[ALL:.*]]:13 = "kern.slice_loop"(%[[M]], %[[MASK]], %[[DM]]) <{axis = "r", extent = 5 : i64, operandSegmentSizes = array<i32: 3, 0>, result_axes = array<i64: 1>, size = 2 : i64, sliced_axes = array<i64: 1, 1, 1>}> ({
// CHECK-NEXT:    ^bb0(%[[X:.*]]: tensor<6x?x8xf32>, %{{.*}}: tensor<6x?xf32>, %[[DX:.*]]: tensor<6x?x8xf32>):
// The attention turns its slices round, the transition does not. The forward of both comes first.
// CHECK-NEXT:      %[[XT:.*]] = kern.transpose %[[X]] [1, 0, 2]
// CHECK:           %[[O:.*]], %[[LSE:.*]] = kern.attention(
// CHECK:           %[[MID:.*]] = kern.linear({{.*}} residual = %[[XT]])
// CHECK-NEXT:      %[[BETWEEN:.*]] = kern.transpose %[[MID]] [1, 0, 2]
// CHECK:           kern.layer_norm(x = %[[BETWEEN]],
// The slice of dm is the gradient of the transition's residual; what that makes goes to the attention.
// CHECK:           %[[DMID:.*]], %{{.*}}, %{{.*}} = kern.layer_norm_grad(x = %[[BETWEEN]], {{.*}} residual = %[[DX]])
// CHECK-NEXT:      %[[DT:.*]] = kern.transpose %[[DMID]] [1, 0, 2]
// CHECK:           kern.attention_grad({{.*}} o = %[[O]], lse = %[[LSE]],
// CHECK:           %[[DIN:.*]], %{{.*}}, %{{.*}} = kern.layer_norm_grad(x = %[[XT]], {{.*}} residual = %[[DT]])
// CHECK-NEXT:      %[[DOUT:.*]] = kern.transpose %[[DIN]] [1, 0, 2]
// CHECK-NEXT:      kern.yield %[[DOUT]],
// CHECK-COUNT-12: kern.store_gradient %[[ALL]]#
// CHECK-NEXT:    kern.return [@dm] %[[ALL]]#0 : tensor<6x5x8xf32>

// CHECK-LABEL: kern.procedure @"c+t" module "c+t" phase "forward"
// CHECK-SAME:    tensors [@m, @msa_mask] {
// CHECK:         kern.save %{{.*}} "m" : tensor<6x5x8xf32>
// CHECK-NOT:     kern.save
// CHECK:         "kern.slice_loop"(
// CHECK-NOT:     "kern.slice_loop"(
// CHECK:         kern.return [@m]

// CHECK-LABEL: kern.program "forward"
// CHECK:         kern.call @"c+t" {id = 0 : i64}
// CHECK-LABEL: kern.program "backward"
// CHECK:         kern.call @"c+t.backward" {id = 1 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">]}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 2 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<6x5x8xf32>, %mask: tensor<6x5xf32>):
  %0 = evo.segment first 0 count 2 (%m) attributes {runs = [#evo.run<first = 0, count = 2, axis = r, size = 2>]} : (tensor<6x5x8xf32>) -> tensor<6x5x8xf32> {
  ^bb0(%x: tensor<6x5x8xf32>):
    %1 = evo.msa_column_attention %x, %mask {prefix = "c", choice = #evo.choice<keep = input>, heads = 2 : i64, head_dim = 4 : i64, inf = 1.0e9 : f64} : tensor<6x5x8xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    %2 = evo.transition m %1 mask %mask {prefix = "t", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<6x5x8xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    evo.yield %2 : tensor<6x5x8xf32>
  }
  evo.yield %0 : tensor<6x5x8xf32>
}

// -----

// The bias of the ending node is known before the loop and its gradient summed in it, in f32 whatever the storage; the
// bias's own backward is a loop behind it. z, of which both are made, gets both.

// CHECK-LABEL: kern.procedure @"e+t.backward" module "e+t" phase "backward" choice "fused + fused, r_j by 2; keeps its input, backward the same" tensors [@saved::@z, @pair_mask, @dz] {
// CHECK-NEXT:  ^bb0(%[[Z:.*]]: tensor<5x5x4xbf16>, %[[MASK:.*]]: tensor<5x5xbf16>, %[[DZ:.*]]: tensor<5x5x4xbf16>):
// CHECK-NEXT:    %[[BIAS:.*]] = "kern.slice_loop"(%[[Z]])
// CHECK:         %[[BT:.*]] = kern.transpose %[[BIAS]] [2, 0, 1] : tensor<5x5x2xbf16> -> tensor<2x5x5xbf16>
// CHECK-NEXT:    %[[ALL:.*]]:14 = "kern.slice_loop"(%[[Z]], %[[MASK]], %[[DZ]], %[[BT]]) <{axis = "r_j", extent = 5 : i64, operandSegmentSizes = array<i32: 3, 1>, result_axes = array<i64: 1>, size = 2 : i64, sliced_axes = array<i64: 1, 1, 1>}> ({
// CHECK:           %{{.*}}, %{{.*}}, %{{.*}}, %[[DB:.*]] = kern.attention_grad(
// CHECK-SAME:        tensor<2x5x5xf32>)
// CHECK:           kern.yield %{{.*}}, %[[DB]],
// CHECK:         %[[DBS:.*]] = kern.copy(x = %[[ALL]]#1) : (tensor<2x5x5xf32>) -> tensor<2x5x5xbf16>
// CHECK-NEXT:    %[[DBT:.*]] = kern.transpose %[[DBS]] [1, 2, 0]
// CHECK-NEXT:    %[[SIDE:.*]]:4 = "kern.slice_loop"(%[[Z]], %[[ALL]]#0, %[[DBT]]) <{{.*}}sliced_axes = array<i64: 1, 1, 0>
// CHECK-NEXT:    ^bb0(%{{.*}}: tensor<5x?x4xbf16>, %[[SOFAR:.*]]: tensor<5x?x4xbf16>,
// CHECK:           %[[BACK:.*]] = kern.transpose %{{.*}} [1, 0, 2] : tensor<?x5x4xbf16> -> tensor<5x?x4xbf16>
// CHECK-NEXT:      %[[TOTAL:.*]] = kern.add(x = %[[SOFAR]], addend = %[[BACK]])
// CHECK:           kern.yield %[[TOTAL]],
// The norm is read by both loops, and its gradient is the sum of theirs.
// CHECK:         %[[DG:.*]] = kern.add(x = %[[ALL]]#2, addend = %[[SIDE]]#1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
// CHECK:         kern.store_gradient %[[DG]] "e.layer_norm.weight" : tensor<4xf32>
// CHECK:         kern.return [@dz] %[[SIDE]]#0 : tensor<5x5x4xbf16>
evo.stack @s tensors ["z", "pair_mask"] model {blocks = 1 : i64, mode = "train", precision = "bf16"} {
^bb0(%z: tensor<5x5x4xbf16>, %mask: tensor<5x5xbf16>):
  %0 = evo.segment first 0 count 1 (%z) attributes {runs = [#evo.run<first = 0, count = 2, axis = r_j, size = 2>]} : (tensor<5x5x4xbf16>) -> tensor<5x5x4xbf16> {
  ^bb0(%x: tensor<5x5x4xbf16>):
    %1 = evo.triangle_attention ending %x, %mask {prefix = "e", choice = #evo.choice<keep = input>, heads = 2 : i64, head_dim = 4 : i64, inf = 1.0e9 : f64} : tensor<5x5x4xbf16>, tensor<5x5xbf16> -> tensor<5x5x4xbf16>
    %2 = evo.transition z %1 mask %mask {prefix = "t", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<5x5x4xbf16>, tensor<5x5xbf16> -> tensor<5x5x4xbf16>
    evo.yield %2 : tensor<5x5x4xbf16>
  }
  evo.yield %0 : tensor<5x5x4xbf16>
}
