// RUN: evo-opt %s --evo-lower-to-kern | FileCheck %s

// Two segments of three and one blocks. Equal modules with equal choices share a procedure: the transition of both
// segments is @t; the outer product differs in its choice, so the second is @opm.2.

// CHECK: module attributes {kern.model = {blocks = 4 : i64, precision = "fp32"}} {
// CHECK-NEXT: kern.tensor @m : tensor<6x5x8xf32>
// CHECK-NEXT: kern.tensor @z : tensor<5x5x4xf32>
// CHECK-NEXT: kern.tensor @msa_mask : tensor<6x5xf32>

// CHECK-LABEL: kern.procedure @t module "t" phase "forward" choice "fused" tensors [@m, @msa_mask] {
// CHECK-NEXT: ^bb0(%[[M:.*]]: tensor<6x5x8xf32>, %[[MASK:.*]]: tensor<6x5xf32>):
// CHECK:        %[[X:.*]] = kern.layer_norm(x = %[[M]], weight = %{{.*}}, bias = %{{.*}}) {eps = 1.000000e-05 : f64}
// CHECK:        %[[H:.*]] = kern.linear(x = %[[X]], weight = %{{.*}}, bias = %{{.*}}) {activation = "relu"}
// CHECK:        %[[W:.*]] = kern.weight "t.linear_2.weight" parts ["t.linear_2.weight"] rows [8] : tensor<8x16xf32>
// CHECK-NEXT:   %[[Y:.*]] = kern.linear(x = %[[H]], weight = %[[W]], bias = %{{.*}}, row_scale = %[[MASK]], residual = %[[M]]) {activation = "none"}
// CHECK-NEXT:   kern.return [@m] %[[Y]] : tensor<6x5x8xf32>

// a and b in as many slices as the loop over r_i has: 5 rows by 2 are 3 slices, so 6 rows of s by 2. The two
// projections are one product, [a | b], and masked.
// CHECK-LABEL: kern.procedure @opm module "opm" phase "forward" choice "plain, r_i by 2" tensors [@m, @z, @msa_mask] {
// CHECK-NEXT: ^bb0(%[[M:.*]]: tensor<6x5x8xf32>, %[[Z:.*]]: tensor<5x5x4xf32>, %[[MASK:.*]]: tensor<6x5xf32>):
// CHECK-NEXT:   %[[AB:.*]] = "kern.slice_loop"(%[[M]], %[[MASK]]) <{axis = "s", extent = 6 : i64, operandSegmentSizes = array<i32: 2, 0>, result_axes = array<i64: 0>, size = 2 : i64, sliced_axes = array<i64: 0, 0>}> ({
// CHECK:          kern.weight "opm.ab.weight" parts ["opm.linear_1.weight", "opm.linear_2.weight"] rows [3, 3] : tensor<6x8xf32>
// CHECK:          kern.linear({{.*}} row_scale =
// CHECK:        }) : (tensor<6x5x8xf32>, tensor<6x5xf32>) -> tensor<6x5x6xf32>
// CHECK-NEXT:   %[[A:.*]] = kern.slice %[[AB]] axis 2 start 0 size 3 : tensor<6x5x6xf32> -> tensor<6x5x3xf32>
// CHECK-NEXT:   %[[B:.*]] = kern.slice %[[AB]] axis 2 start 3 size 3 : tensor<6x5x6xf32> -> tensor<6x5x3xf32>
// CHECK-NEXT:   "kern.slice_loop"(%[[Z]], %[[MASK]], %[[A]], %[[B]], %[[MASK]]) <{axis = "r_i", extent = 5 : i64, operandSegmentSizes = array<i32: 3, 2>, result_axes = array<i64: 0>, size = 2 : i64, sliced_axes = array<i64: 0, 1, 1>}> ({
// CHECK-NEXT:   ^bb0(%[[ZS:.*]]: tensor<?x5x4xf32>, %[[MS:.*]]: tensor<6x?xf32>, %[[AS:.*]]: tensor<6x?x3xf32>, %[[BW:.*]]: tensor<6x5x3xf32>, %[[MW:.*]]: tensor<6x5xf32>):
// CHECK-NEXT:     %[[N:.*]] = kern.outer_product_norm(mask_i = %[[MS]], mask_j = %[[MW]]) {eps = 1.000000e-03 : f64}
// CHECK:          %[[O:.*]] = kern.outer_product(a = %[[AS]], b = %[[BW]])
// CHECK:          kern.linear(x = %[[O]], weight = %{{.*}}, bias = %{{.*}}, row_scale = %[[N]], residual = %[[ZS]])

// CHECK-LABEL: kern.procedure @opm.2 module "opm" phase "forward" choice "fused" tensors [@m, @z, @msa_mask] {
// CHECK-NOT:     kern.slice_loop
// CHECK:         kern.outer_product_mean(

// CHECK:      kern.program "forward" inputs [@m, @z, @msa_mask] outputs [@m, @z] {
// CHECK-NEXT:   kern.blocks first 0 count 3 {
// CHECK-NEXT:     kern.call @t
// CHECK-NEXT:     kern.call @opm
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 3 count 1 {
// CHECK-NEXT:     kern.call @t
// CHECK-NEXT:     kern.call @opm.2
// CHECK-NEXT:   }
// CHECK-NEXT: }
evo.stack @s tensors ["m", "z", "msa_mask"] model {blocks = 4 : i64, precision = "fp32"} {
^bb0(%m: tensor<6x5x8xf32>, %z: tensor<5x5x4xf32>, %mask: tensor<6x5xf32>):
  %0:2 = evo.segment first 0 count 3 (%m, %z) : (tensor<6x5x8xf32>, tensor<5x5x4xf32>) -> (tensor<6x5x8xf32>, tensor<5x5x4xf32>) {
  ^bb0(%x: tensor<6x5x8xf32>, %y: tensor<5x5x4xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "t", choice = #evo.choice, factor = 2 : i64} : tensor<6x5x8xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    %2 = evo.outer_product_mean %1, %y, %mask {prefix = "opm", choice = #evo.choice<variant = plain, axis = r_i, size = 2>, hidden = 3 : i64, eps = 1.0e-3 : f64} : tensor<6x5x8xf32>, tensor<5x5x4xf32>, tensor<6x5xf32> -> tensor<5x5x4xf32>
    evo.yield %1, %2 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
  }
  %3:2 = evo.segment first 3 count 1 (%0#0, %0#1) : (tensor<6x5x8xf32>, tensor<5x5x4xf32>) -> (tensor<6x5x8xf32>, tensor<5x5x4xf32>) {
  ^bb0(%x: tensor<6x5x8xf32>, %y: tensor<5x5x4xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "t", choice = #evo.choice, factor = 2 : i64} : tensor<6x5x8xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    %2 = evo.outer_product_mean %1, %y, %mask {prefix = "opm", choice = #evo.choice, hidden = 3 : i64, eps = 1.0e-3 : f64} : tensor<6x5x8xf32>, tensor<5x5x4xf32>, tensor<6x5xf32> -> tensor<5x5x4xf32>
    evo.yield %1, %2 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
  }
  evo.yield %3#0, %3#1 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
}
