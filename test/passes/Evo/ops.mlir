// RUN: evo-opt %s --allow-unregistered-dialect | evo-opt - --allow-unregistered-dialect | FileCheck %s
// RUN: evo-opt %s --allow-unregistered-dialect --mlir-print-op-generic | evo-opt - --allow-unregistered-dialect | FileCheck %s

// Choices, modules, segments and stacks print as they were written; defaults drop out.

// CHECK-LABEL: "test.choices"
// CHECK-SAME: backward = #evo.choice<axis = s, size = 4, keep = input, backward_axis = s, backward_size = 2>
// CHECK-SAME: default = #evo.choice
// CHECK-SAME: layouts = #evo.choice<layout_m = s, layout_z = grid>
// CHECK-SAME: plain = #evo.choice<variant = plain>
// CHECK-SAME: sliced = #evo.choice<axis = s, size = 4>
"test.choices"() {
  backward = #evo.choice<axis = s, size = 4, keep = input, backward_axis = s, backward_size = 2>,
  default = #evo.choice,
  layouts = #evo.choice<layout_m = s, layout_z = grid>,
  plain = #evo.choice<variant = plain>,
  sliced = #evo.choice<variant = fused, axis = s, size = 4>} : () -> ()

// CHECK-LABEL: "test.msa"
"test.msa"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // CHECK: ^bb0(%[[M:.*]]: tensor<4x5x8xf32>, %[[Z:.*]]: tensor<5x5x8xf32>, %[[MASK:.*]]: tensor<4x5xf32>):
  // CHECK-NEXT: evo.msa_row_attention %[[M]], %[[Z]], %[[MASK]] {head_dim = 32 : i64, heads = 8 : i64, inf = 1.000000e+09 : f64, prefix = "msa_att_row"} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "msa_att_row", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
  // The choice and another norm_eps are kept.
  // CHECK-NEXT: evo.msa_row_attention {{.*}} {choice = #evo.choice<variant = plain, axis = s, size = 3>, {{.*}}, norm_eps = 1.000000e-03 : f64, prefix = "p"}
  %2 = evo.msa_row_attention %m, %z, %mask {prefix = "p", choice = #evo.choice<variant = plain, axis = s, size = 3>, norm_eps = 1.0e-3 : f64, heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// CHECK-LABEL: "test.dropout"
"test.dropout"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // Row-wise and the first of its block by default.
  // CHECK: evo.msa_row_attention {{.*}} {dropout = 2.500000e-01 : f64, head_dim = 32 : i64, heads = 8 : i64, inf = 1.000000e+09 : f64, prefix = "p"}
  %1 = evo.msa_row_attention %m, %z, %mask {prefix = "p", dropout = 0.25 : f64, dropout_shared = 0 : i64, position = 0 : i64, heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
  // CHECK-NEXT: evo.msa_row_attention {{.*}} {dropout = 1.500000e-01 : f64, dropout_shared = 1 : i64, {{.*}}, position = 4294967295 : i64, prefix = "p"}
  %2 = evo.msa_row_attention %m, %z, %mask {prefix = "p", dropout = 0.15 : f64, dropout_shared = 1 : i64, position = 4294967295 : i64, heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// CHECK-LABEL: "test.column"
"test.column"() ({
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  // CHECK: ^bb0(%[[M:.*]]: tensor<4x5x8xf32>, %[[MASK:.*]]: tensor<4x5xf32>):
  // CHECK-NEXT: evo.msa_column_attention %[[M]], %[[MASK]] {head_dim = 32 : i64, heads = 8 : i64, inf = 1.000000e+09 : f64, prefix = "msa_att_col._msa_att"}
  %1 = evo.msa_column_attention %m, %mask {prefix = "msa_att_col._msa_att", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// CHECK-LABEL: "test.global"
"test.global"() ({
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  // CHECK: ^bb0(%[[M:.*]]: tensor<4x5x8xf32>, %[[MASK:.*]]: tensor<4x5xf32>):
  // CHECK-NEXT: evo.msa_column_global_attention %[[M]], %[[MASK]] {head_dim = 8 : i64, heads = 8 : i64, inf = 1.000000e+09 : f64, mean_eps = 1.000000e-08 : f64, prefix = "msa_att_col"}
  %1 = evo.msa_column_global_attention %m, %mask {prefix = "msa_att_col", heads = 8 : i64, head_dim = 8 : i64, inf = 1.0e9 : f64, mean_eps = 1.0e-8 : f64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// CHECK-LABEL: "test.transition"
"test.transition"() ({
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  // CHECK: ^bb0(%[[M:.*]]: tensor<4x5x8xf32>, %[[MASK:.*]]: tensor<4x5xf32>):
  // CHECK-NEXT: evo.transition m %[[M]] mask %[[MASK]] {factor = 4 : i64, prefix = "msa_transition"} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
  %1 = evo.transition m %m mask %mask {prefix = "msa_transition", factor = 4 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
  // CHECK-NEXT: evo.transition z %[[M]] {factor = 2 : i64, prefix = "t"} : tensor<4x5x8xf32> -> tensor<4x5x8xf32>
  %2 = evo.transition z %m {prefix = "t", factor = 2 : i64} : tensor<4x5x8xf32> -> tensor<4x5x8xf32>
}) : () -> ()

// CHECK-LABEL: "test.outer"
"test.outer"() ({
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>, %mask: tensor<4x5xf32>):
  // CHECK: ^bb0(%[[M:.*]]: tensor<4x5x8xf32>, %[[Z:.*]]: tensor<5x5x8xf32>, %[[MASK:.*]]: tensor<4x5xf32>):
  // CHECK-NEXT: evo.outer_product_mean %[[M]], %[[Z]], %[[MASK]] {eps = 1.000000e-03 : f64, hidden = 32 : i64, prefix = "outer_product_mean"}
  %1 = evo.outer_product_mean %m, %z, %mask {prefix = "outer_product_mean", hidden = 32 : i64, eps = 1.0e-3 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// CHECK-LABEL: "test.triangle"
"test.triangle"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // CHECK: ^bb0(%[[Z:.*]]: tensor<5x5x8xf32>, %[[MASK:.*]]: tensor<5x5xf32>):
  // CHECK-NEXT: evo.triangle_multiplication outgoing %[[Z]], %[[MASK]] {hidden = 128 : i64, prefix = "pair_stack.tri_mul_out"}
  %1 = evo.triangle_multiplication outgoing %z, %mask {prefix = "pair_stack.tri_mul_out", hidden = 128 : i64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
  // CHECK-NEXT: evo.triangle_multiplication incoming
  %2 = evo.triangle_multiplication incoming %z, %mask {prefix = "pair_stack.tri_mul_in", hidden = 128 : i64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// CHECK-LABEL: "test.triangle_attention"
"test.triangle_attention"() ({
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // CHECK: ^bb0(%[[Z:.*]]: tensor<5x5x8xf32>, %[[MASK:.*]]: tensor<5x5xf32>):
  // CHECK-NEXT: evo.triangle_attention starting %[[Z]], %[[MASK]] {head_dim = 32 : i64, heads = 4 : i64, inf = 1.000000e+09 : f64, prefix = "pair_stack.tri_att_start"}
  %1 = evo.triangle_attention starting %z, %mask {prefix = "pair_stack.tri_att_start", heads = 4 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
  // CHECK-NEXT: evo.triangle_attention ending
  %2 = evo.triangle_attention ending %z, %mask {prefix = "pair_stack.tri_att_end", heads = 4 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
}) : () -> ()

// CHECK-LABEL: evo.stack @template_pair tensors ["z", "pair_mask"] model {blocks = 2 : i64} {
evo.stack @template_pair tensors ["z", "pair_mask"] model {blocks = 2 : i64} {
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // CHECK: %[[OUT:.*]] = evo.segment first 0 count 2(%{{.*}}) : (tensor<5x5x8xf32>) -> tensor<5x5x8xf32> {
  %0 = evo.segment first 0 count 2 (%z) : (tensor<5x5x8xf32>) -> tensor<5x5x8xf32> {
  ^bb0(%x: tensor<5x5x8xf32>):
    // The mask comes from outside of the segment.
    // CHECK: evo.transition z %{{.*}} mask %{{.*}} {
    %1 = evo.transition z %x mask %mask {prefix = "pair_transition", factor = 2 : i64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
    evo.yield %1 : tensor<5x5x8xf32>
  }
  // CHECK: evo.yield %[[OUT]] : tensor<5x5x8xf32>
  evo.yield %0 : tensor<5x5x8xf32>
}

// CHECK-LABEL: evo.stack @two_streams
evo.stack @two_streams tensors ["m", "z"] model {} {
^bb0(%m: tensor<4x5x8xf32>, %z: tensor<5x5x8xf32>):
  // CHECK: evo.yield %{{.*}}, %{{.*}} : tensor<4x5x8xf32>, tensor<5x5x8xf32>
  evo.yield %m, %z : tensor<4x5x8xf32>, tensor<5x5x8xf32>
}
