// RUN: evo-opt %s --evo-lower-to-kern | FileCheck %s

// A mask is made whole, in the orientation of its stream, before the loop; slices read it whole along the axis that it is
// shared by, else their own part.

// CHECK-LABEL: kern.procedure @row module
// CHECK:         %[[D:.*]] = kern.dropout_mask() {module = 1 : i64, rate = 1.500000e-01 : f64} : () -> tensor<1x3x8xf32>
// CHECK-NEXT:    "kern.slice_loop"(%{{.*}}, %{{.*}}, %{{.*}}, %[[D]]) <{axis = "s", {{.*}} operandSegmentSizes = array<i32: 2, 2>
// CHECK-NEXT:    ^bb0(%[[M:.*]]: tensor<?x3x8xf32>, %{{.*}}: tensor<?x3xf32>, %{{.*}}: tensor<2x3x3xf32>, %[[DS:.*]]: tensor<1x3x8xf32>):
// CHECK:           kern.linear({{.*}} dropout = %[[DS]], residual = %[[M]])

// The incoming product works on z transposed, in slices of z's second axis; so does the mask.
// CHECK-LABEL: kern.procedure @in module
// CHECK:         %[[D:.*]] = kern.dropout_mask() {module = 2 : i64, rate = 2.500000e-01 : f64} : () -> tensor<1x3x4xf32>
// CHECK-NEXT:    "kern.slice_loop"(%{{.*}}, %{{.*}}, %[[D]], %{{.*}}) <{axis = "r_j", {{.*}} operandSegmentSizes = array<i32: 3, 1>, {{.*}} sliced_axes = array<i64: 1, 1, 1>}>
// CHECK-NEXT:    ^bb0(%{{.*}}: tensor<3x?x4xf32>, %{{.*}}: tensor<3x?xf32>, %[[DS:.*]]: tensor<1x?x4xf32>, %{{.*}}: tensor<2x3x3xf32>):
// CHECK:           %[[DT:.*]] = kern.transpose %[[DS]] [1, 0, 2] : tensor<1x?x4xf32> -> tensor<?x1x4xf32>
// CHECK:           kern.linear({{.*}} gate = %{{.*}}, dropout = %[[DT]], residual = %{{.*}}) {{.*}} -> tensor<?x3x4xf32>

// The ending node likewise, but its mask is shared along the second axis.
// CHECK-LABEL: kern.procedure @end module
// CHECK:         %[[D:.*]] = kern.dropout_mask() {module = 3 : i64, rate = 2.500000e-01 : f64} : () -> tensor<3x1x4xf32>
// CHECK-NEXT:    "kern.slice_loop"(%{{.*}}, %{{.*}}, %{{.*}}, %[[D]]) <{axis = "r_j", {{.*}} operandSegmentSizes = array<i32: 2, 2>
// CHECK-NEXT:    ^bb0(%{{.*}}: tensor<3x?x4xf32>, %{{.*}}: tensor<3x?xf32>, %{{.*}}: tensor<2x3x3xf32>, %[[DS:.*]]: tensor<3x1x4xf32>):
// CHECK:           %[[DT:.*]] = kern.transpose %[[DS]] [1, 0, 2] : tensor<3x1x4xf32> -> tensor<1x3x4xf32>
// CHECK:           kern.linear({{.*}} dropout = %[[DT]], residual = %{{.*}}) {{.*}} -> tensor<?x3x4xf32>

// Without slices the same masks.
// CHECK-LABEL: kern.procedure @out module
// CHECK:         %[[D:.*]] = kern.dropout_mask() {module = 4 : i64, rate = 2.500000e-01 : f64} : () -> tensor<1x3x4xf32>
// CHECK:         kern.linear({{.*}} dropout = %[[D]], residual = %{{.*}})
// CHECK-LABEL: kern.procedure @start module
// CHECK-NOT:     kern.dropout_mask
// CHECK:       kern.program
evo.stack @s tensors ["m", "z", "msa_mask", "pair_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<6x3x8xf32>, %z: tensor<3x3x4xf32>, %msa: tensor<6x3xf32>, %mask: tensor<3x3xf32>):
  %0:2 = evo.segment first 0 count 1 (%m, %z) : (tensor<6x3x8xf32>, tensor<3x3x4xf32>) -> (tensor<6x3x8xf32>, tensor<3x3x4xf32>) {
  ^bb0(%y: tensor<6x3x8xf32>, %x: tensor<3x3x4xf32>):
    %1 = evo.msa_row_attention %y, %x, %msa {prefix = "row", dropout = 0.15 : f64, position = 1 : i64, heads = 2 : i64, head_dim = 3 : i64, inf = 1.0e9 : f64, choice = #evo.choice<axis = s, size = 4>} : tensor<6x3x8xf32>, tensor<3x3x4xf32>, tensor<6x3xf32> -> tensor<6x3x8xf32>
    %2 = evo.triangle_multiplication incoming %x, %mask {prefix = "in", dropout = 0.25 : f64, position = 2 : i64, hidden = 2 : i64, choice = #evo.choice<axis = r_j, size = 2>} : tensor<3x3x4xf32>, tensor<3x3xf32> -> tensor<3x3x4xf32>
    %3 = evo.triangle_attention ending %2, %mask {prefix = "end", dropout = 0.25 : f64, dropout_shared = 1 : i64, position = 3 : i64, heads = 2 : i64, head_dim = 3 : i64, inf = 1.0e9 : f64, choice = #evo.choice<axis = r_j, size = 2>} : tensor<3x3x4xf32>, tensor<3x3xf32> -> tensor<3x3x4xf32>
    %4 = evo.triangle_multiplication outgoing %3, %mask {prefix = "out", dropout = 0.25 : f64, position = 4 : i64, hidden = 2 : i64, choice = #evo.choice} : tensor<3x3x4xf32>, tensor<3x3xf32> -> tensor<3x3x4xf32>
    %5 = evo.triangle_attention starting %4, %mask {prefix = "start", heads = 2 : i64, head_dim = 3 : i64, inf = 1.0e9 : f64, choice = #evo.choice} : tensor<3x3x4xf32>, tensor<3x3xf32> -> tensor<3x3x4xf32>
    evo.yield %1, %5 : tensor<6x3x8xf32>, tensor<3x3x4xf32>
  }
  evo.yield %0#0, %0#1 : tensor<6x3x8xf32>, tensor<3x3x4xf32>
}
