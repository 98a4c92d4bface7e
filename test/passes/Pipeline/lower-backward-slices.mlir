// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern | FileCheck %s

// Slices of the backward alone: the forward has none. A loop reversed computes its slice again, differentiates it, and yields
// gradients' slices and sums. What the first loop makes for the second, here the operand b of all rows, gets a sum: its
// gradient, which the first loop's reversal takes.

// CHECK-LABEL: kern.procedure @o.backward module "o" phase "backward" choice "fused; keeps input, backward fused, r_i by 2" tensors [@saved::@z, @pair_mask, @dz] {
// CHECK-NEXT:  ^bb0(%[[Z:.*]]: tensor<5x5x4xf32>, %[[MASK:.*]]: tensor<5x5xf32>, %[[DZ:.*]]: tensor<5x5x4xf32>):
// CHECK-NEXT:    %[[B:.*]] = "kern.slice_loop"(%[[Z]], %[[MASK]])
// CHECK:         %[[BT:.*]] = kern.transpose %[[B]] [2, 0, 1] : tensor<5x5x3xf32> -> tensor<3x5x5xf32>

// The mask has no gradient: of what is sliced z alone gets one, its first result.
// CHECK-NEXT:    %[[ROWS:.*]]:14 = "kern.slice_loop"(%[[Z]], %[[MASK]], %[[DZ]], %[[BT]]) <{axis = "r_i", extent = 5 : i64, operandSegmentSizes = array<i32: 3, 1>, result_axes = array<i64: 0>, size = 2 : i64, sliced_axes = array<i64: 0, 0, 0>}> ({
// CHECK-NEXT:    ^bb0(%[[X:.*]]: tensor<?x5x4xf32>, %{{.*}}: tensor<?x5xf32>, %[[DX:.*]]: tensor<?x5x4xf32>, %{{.*}}: tensor<3x5x5xf32>):
// Rows 0 to 2 of the projections make a, rows 3 to 5 are the other loop's.
// CHECK:           %[[W:.*]] = kern.slice %{{.*}} axis 0 start 0 size 3 : tensor<16x4xf32> -> tensor<3x4xf32>
// CHECK:           %[[DOTHER:.*]] = kern.batch_matmul_grad(a = %{{.*}}, b = %{{.*}}) : (tensor<3x5x?xf32>, tensor<3x5x?xf32>) -> tensor<3x5x5xf32>
// CHECK:           %[[DW:.*]] = kern.weight_grad({{.*}}) : (tensor<?x5x3xf32>, tensor<?x5x4xf32>) -> tensor<3x4xf32>
// CHECK:           %[[DIN:.*]], %[[DG:.*]], %{{.*}} = kern.layer_norm_grad(x = %[[X]], {{.*}} residual = %[[DX]])
// CHECK-NEXT:      kern.yield %[[DIN]], %[[DOTHER]], %[[DG]], %{{.*}}, %{{.*}}, %[[DW]],
// CHECK-NEXT:    }) :
// CHECK-SAME:      -> (tensor<5x5x4xf32>, tensor<3x5x5xf32>, tensor<4xf32>, tensor<4xf32>, tensor<3x4xf32>, tensor<3x4xf32>,

// The reversal of the first loop takes the gradient of z so far in slices, and adds to it.
// CHECK-NEXT:    %[[DBT:.*]] = kern.transpose %[[ROWS]]#1 [1, 2, 0] : tensor<3x5x5xf32> -> tensor<5x5x3xf32>
// CHECK-NEXT:    %[[SIDE:.*]]:7 = "kern.slice_loop"(%[[Z]], %[[MASK]], %[[ROWS]]#0, %[[DBT]]) <{axis = "r_i", extent = 5 : i64, operandSegmentSizes = array<i32: 4, 0>, result_axes = array<i64: 0>, size = 2 : i64, sliced_axes = array<i64: 0, 0, 0, 0>}> ({
// CHECK-NEXT:    ^bb0(%{{.*}}: tensor<?x5x4xf32>, %{{.*}}: tensor<?x5xf32>, %[[SOFAR:.*]]: tensor<?x5x4xf32>, %{{.*}}: tensor<?x5x3xf32>):
// CHECK:           %[[SUM:.*]], %{{.*}}, %{{.*}} = kern.layer_norm_grad({{.*}} residual = %[[SOFAR]])
// CHECK-NEXT:      kern.yield %[[SUM]],

// Weights that both loops read: sums of sums. Rows of one weight come together, in their order: a_p, b_p, a_g, b_g, g.
// CHECK:         kern.add(x = %[[ROWS]]#2, addend = %[[SIDE]]#1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
// CHECK:         %[[WHOLE:.*]] = kern.concat %[[ROWS]]#5, %[[SIDE]]#4, %[[ROWS]]#4, %[[SIDE]]#3, %[[ROWS]]#11 axis 0 : tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>, tensor<4x4xf32> -> tensor<16x4xf32>
// CHECK:         kern.store_gradient %[[WHOLE]] "o.projections.weight" : tensor<16x4xf32>
// CHECK:         kern.return [@dz] %[[SIDE]]#0 : tensor<5x5x4xf32>

// CHECK-LABEL: kern.procedure @o module "o" phase "forward"
// CHECK-NOT:     "kern.slice_loop"
// CHECK:         kern.return [@z]
evo.stack @s tensors ["z", "pair_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%z: tensor<5x5x4xf32>, %mask: tensor<5x5xf32>):
  %0 = evo.segment first 0 count 1 (%z) : (tensor<5x5x4xf32>) -> tensor<5x5x4xf32> {
  ^bb0(%x: tensor<5x5x4xf32>):
    %1 = evo.triangle_multiplication outgoing %x, %mask {prefix = "o", choice = #evo.choice<keep = input, backward_axis = r_i, backward_size = 2>, hidden = 3 : i64} : tensor<5x5x4xf32>, tensor<5x5xf32> -> tensor<5x5x4xf32>
    evo.yield %1 : tensor<5x5x4xf32>
  }
  evo.yield %0 : tensor<5x5x4xf32>
}
