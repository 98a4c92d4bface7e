// RUN: evo-opt %s --evo-lower-to-kern | FileCheck %s

// Incoming edges are outgoing ones on the transposed z with a and b in each other's place.
// CHECK-LABEL: kern.procedure @in module "in" phase "forward" choice "fused, r_j by 2" tensors [@z, @pair_mask] {
// CHECK-NEXT: ^bb0(%[[Z:.*]]: tensor<3x3x4xf32>, %[[MASK:.*]]: tensor<3x3xf32>):
// The whole operand first, in slices of its own rows, stored channel-first.
// CHECK-NEXT:   %[[W:.*]] = "kern.slice_loop"(%[[Z]], %[[MASK]]) <{axis = "r_j", extent = 3 : i64, operandSegmentSizes = array<i32: 2, 0>, result_axes = array<i64: 0>, size = 2 : i64, sliced_axes = array<i64: 1, 1>}> ({
// CHECK-NEXT:   ^bb0(%[[ZW:.*]]: tensor<3x?x4xf32>, %[[MW:.*]]: tensor<3x?xf32>):
// CHECK-NEXT:     kern.transpose %[[ZW]] [1, 0, 2]
// CHECK-NEXT:     kern.transpose %[[MW]] [1, 0]
// CHECK:          kern.weight "in.projections.weight" parts ["in.linear_b_p.weight", "in.linear_a_p.weight", "in.linear_b_g.weight", "in.linear_a_g.weight", "in.linear_g.weight"] rows [2, 2, 2, 2, 4] : tensor<12x4xf32>
// Rows 2 and 3 are a_p, 6 and 7 a_g.
// CHECK:          kern.slice %{{.*}} axis 0 start 2 size 2 : tensor<12x4xf32> -> tensor<2x4xf32>
// CHECK:          kern.slice %{{.*}} axis 0 start 6 size 2 : tensor<12x4xf32> -> tensor<2x4xf32>
// CHECK:          kern.gated_linear({{.*}}) {layout = array<i64: 2, 0, 1>}
// CHECK:        %[[WT:.*]] = kern.transpose %[[W]] [2, 0, 1] : tensor<3x3x2xf32> -> tensor<2x3x3xf32>
// Slices of the second axis of z are turned round inside the loop, and back.
// CHECK-NEXT:   %[[Y:.*]] = "kern.slice_loop"(%[[Z]], %[[MASK]], %[[WT]]) <{axis = "r_j", extent = 3 : i64, operandSegmentSizes = array<i32: 2, 1>, result_axes = array<i64: 1>, size = 2 : i64, sliced_axes = array<i64: 1, 1>}> ({
// CHECK-NEXT:   ^bb0(%[[ZS:.*]]: tensor<3x?x4xf32>, %{{.*}}: tensor<3x?xf32>, %[[WW:.*]]: tensor<2x3x3xf32>):
// CHECK-NEXT:     %[[ZST:.*]] = kern.transpose %[[ZS]] [1, 0, 2]
// CHECK:          %[[OWN:.*]] = kern.gated_linear(
// CHECK:          %[[OT:.*]] = kern.transpose %[[OWN]] [2, 0, 1]
// CHECK-NEXT:     kern.batch_matmul(a = %[[OT]], b = %[[WW]]) : (tensor<2x?x3xf32>, tensor<2x3x3xf32>) -> tensor<2x?x3xf32>
// CHECK:          %[[NEW:.*]] = kern.linear({{.*}} residual = %[[ZST]])
// CHECK-NEXT:     %[[BACK:.*]] = kern.transpose %[[NEW]] [1, 0, 2]
// CHECK-NEXT:     kern.yield %[[BACK]]
// CHECK:        kern.return [@z] %[[Y]]

// Without slices both operands come from one product and x serves them and the gate.
// CHECK-LABEL: kern.procedure @out module "out" phase "forward" choice "fused" tensors [@z, @pair_mask] {
// CHECK-NOT:     kern.slice_loop
// CHECK:         %[[X:.*]] = kern.layer_norm(
// CHECK:         %[[BOTH:.*]] = kern.gated_linear(x = %[[X]], {{.*}} -> tensor<3x3x4xf32>
// CHECK:         kern.transpose %[[BOTH]] [2, 0, 1] : tensor<3x3x4xf32> -> tensor<4x3x3xf32>
// CHECK-NOT:     kern.layer_norm(
// CHECK:         kern.batch_matmul(
evo.stack @s tensors ["z", "pair_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%z: tensor<3x3x4xf32>, %mask: tensor<3x3xf32>):
  %0 = evo.segment first 0 count 1 (%z) : (tensor<3x3x4xf32>) -> tensor<3x3x4xf32> {
  ^bb0(%x: tensor<3x3x4xf32>):
    %1 = evo.triangle_multiplication incoming %x, %mask {prefix = "in", hidden = 2 : i64, choice = #evo.choice<axis = r_j, size = 2>} : tensor<3x3x4xf32>, tensor<3x3xf32> -> tensor<3x3x4xf32>
    %2 = evo.triangle_multiplication outgoing %1, %mask {prefix = "out", hidden = 2 : i64, choice = #evo.choice} : tensor<3x3x4xf32>, tensor<3x3xf32> -> tensor<3x3x4xf32>
    evo.yield %2 : tensor<3x3x4xf32>
  }
  evo.yield %0 : tensor<3x3x4xf32>
}
