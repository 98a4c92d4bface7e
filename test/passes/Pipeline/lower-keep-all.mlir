// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern | FileCheck %s

// With keep = all the backward computes no kernel of the forward again whose result it may read: each is kept under its
// mnemonic and its number among the forward's kernels. Views (slices of a product, transposes) are taken anew and not kept.

// CHECK-LABEL: kern.procedure @o.backward module "o" phase "backward" choice "fused; keeps all"
// CHECK-SAME:    tensors [@saved::@z, @pair_mask, @dz, @saved::@layer_norm.0, @saved::@gated_linear.1, @saved::@batch_matmul.2, @saved::@layer_norm.3, @saved::@linear.4] {
// What is stored channel-first is kept as it lies, [6, r, r]: a and b are slices of it.
// CHECK-NEXT:  ^bb0(%[[Z:.*]]: tensor<5x5x4xbf16>, %{{.*}}: tensor<5x5xbf16>, %[[DZ:.*]]: tensor<5x5x4xbf16>, %[[Y:.*]]: tensor<5x5x4xbf16>, %[[AB:.*]]: tensor<6x5x5xbf16>, %[[PRODUCT:.*]]: tensor<3x5x5xbf16>, %[[OUT:.*]]: tensor<5x5x3xbf16>, %[[GATE:.*]]: tensor<5x5x4xbf16>):
// CHECK-NEXT:    %[[LAST:.*]] = kern.transpose %[[AB]] [1, 2, 0] : tensor<6x5x5xbf16> -> tensor<5x5x6xbf16>
// CHECK-NOT:     kern.layer_norm(
// CHECK-NOT:     kern.gated_linear(
// CHECK:         %[[FIRST:.*]] = kern.transpose %[[LAST]] [2, 0, 1] : tensor<5x5x6xbf16> -> tensor<6x5x5xbf16>
// CHECK-NEXT:    %[[A:.*]] = kern.slice %[[FIRST]] axis 0 start 0 size 3
// CHECK-NEXT:    %[[B:.*]] = kern.slice %[[FIRST]] axis 0 start 3 size 3
// CHECK-NEXT:    %[[PT:.*]] = kern.transpose %[[PRODUCT]] [1, 2, 0]
// Products that no kernel of the forward makes by themselves are made for the backward: before the gate and the sigmoid.
// CHECK:         %[[H:.*]] = kern.linear(x = %[[OUT]],
// CHECK:         kern.linear_grad(dy = %[[DZ]], h = %[[H]], gate = %[[GATE]])
// CHECK:         kern.layer_norm_grad(x = %[[PT]],
// CHECK:         %[[BT:.*]] = kern.transpose %[[B]] [0, 2, 1]
// CHECK:         kern.batch_matmul(a = %{{.*}}, b = %[[BT]])
// CHECK:         kern.linear(x = %[[Y]],
// CHECK-NEXT:    kern.linear(x = %[[Y]],
// CHECK:         kern.layer_norm_grad(x = %[[Z]],
// CHECK:         kern.return [@dz]

// CHECK-LABEL: kern.procedure @o module "o" phase "forward" choice "fused; keeps all"
// CHECK:         kern.save %{{.*}} "z" : tensor<5x5x4xbf16>
// CHECK:         %[[Y:.*]] = kern.layer_norm(
// CHECK:         %[[AB:.*]] = kern.gated_linear({{.*}} {layout = array<i64: 2, 0, 1>}
// CHECK:         %[[PRODUCT:.*]] = kern.batch_matmul(
// CHECK:         kern.save %[[Y]] "layer_norm.0" : tensor<5x5x4xbf16>
// CHECK-NEXT:    %[[ABT:.*]] = kern.transpose %[[AB]] [2, 0, 1]
// CHECK-NEXT:    kern.save %[[ABT]] "gated_linear.1" : tensor<6x5x5xbf16>
// CHECK-NEXT:    kern.save %[[PRODUCT]] "batch_matmul.2" : tensor<3x5x5xbf16>
// CHECK-NEXT:    kern.save %{{.*}} "layer_norm.3" : tensor<5x5x3xbf16>
// CHECK-NEXT:    kern.save %{{.*}} "linear.4" : tensor<5x5x4xbf16>
// CHECK-NEXT:    kern.return [@z]
evo.stack @s tensors ["z", "pair_mask"] model {blocks = 1 : i64, mode = "train", precision = "bf16"} {
^bb0(%z: tensor<5x5x4xbf16>, %mask: tensor<5x5xbf16>):
  %0 = evo.segment first 0 count 1 (%z) : (tensor<5x5x4xbf16>) -> tensor<5x5x4xbf16> {
  ^bb0(%x: tensor<5x5x4xbf16>):
    %1 = evo.triangle_multiplication outgoing %x, %mask {prefix = "o", choice = #evo.choice<keep = all>, hidden = 3 : i64} : tensor<5x5x4xbf16>, tensor<5x5xbf16> -> tensor<5x5x4xbf16>
    evo.yield %1 : tensor<5x5x4xbf16>
  }
  evo.yield %0 : tensor<5x5x4xbf16>
}
