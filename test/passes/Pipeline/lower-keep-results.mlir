// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern | FileCheck %s --implicit-check-not=kern.save

// What lies between keep = input and keep = all. Of what a backward reads, keep = mixing keeps only what mixes positions, keep =
// products what any matrix product makes. Each is kept under its mnemonic and its number among the forward's kernels.
// Row attention: layer_norm.0 of z, linear.1 its bias, layer_norm.2 of m, linear.3 the projections qkvg, attention.4 and the
// log-sum-exp of its rows attention.4.1, gate.5, and the last projection, which no backward reads.
// Transition: layer_norm.0, linear.1, which is wider, and a projection which no backward reads.

// mixing: the attention is not computed again; norms, projections and the gate are.
// CHECK-LABEL: kern.procedure @row_mixing.backward module "row_mixing" phase "backward" choice "fused; keeps mixing"
// CHECK-SAME:    tensors [@saved::@m, @saved::@z, @msa_mask, @dm, @dz, @saved::@attention.4, @saved::@attention.4.1] {
// CHECK-NEXT:  ^bb0(%[[M:.*]]: tensor<6x5x8xf32>, %[[Z:.*]]: tensor<5x5x4xf32>, %{{.*}}: tensor<6x5xf32>, %{{.*}}: tensor<6x5x8xf32>, %{{.*}}: tensor<5x5x4xf32>, %[[O:.*]]: tensor<6x5x8xf32>, %[[LSE:.*]]: tensor<6x2x5xf32>):
// CHECK:         %[[NZ:.*]] = kern.layer_norm(x = %[[Z]],
// CHECK:         kern.linear(x = %[[NZ]],
// CHECK:         %[[NM:.*]] = kern.layer_norm(x = %[[M]],
// CHECK:         kern.linear(x = %[[NM]], {{.*}} -> tensor<6x5x32xf32>
// CHECK-NOT:     kern.attention(
// CHECK:         kern.gate(o = %[[O]],
// CHECK-NOT:     kern.attention(
// CHECK:         kern.attention_grad({{.*}} o = %[[O]], lse = %[[LSE]],
// CHECK-LABEL: kern.procedure @row_mixing module "row_mixing" phase "forward"
// CHECK:         kern.save %{{.*}} "m" : tensor<6x5x8xf32>
// CHECK:         kern.save %{{.*}} "z" : tensor<5x5x4xf32>
// CHECK:         %[[O:.*]], %[[LSE:.*]] = kern.attention(
// CHECK:         kern.save %[[O]] "attention.4" : tensor<6x5x8xf32>
// CHECK-NEXT:    kern.save %[[LSE]] "attention.4.1" : tensor<6x2x5xf32>
// CHECK-NEXT:    kern.return [@m]

// A transition mixes no positions: it keeps its input alone.
// CHECK-LABEL: kern.procedure @t_mixing.backward module "t_mixing" phase "backward" choice "fused; keeps mixing" tensors [@saved::@m, @msa_mask, @dm] {
// CHECK-NEXT:  ^bb0(%[[M:.*]]: tensor<6x5x8xf32>,
// CHECK:         %[[N:.*]] = kern.layer_norm(x = %[[M]],
// CHECK:         kern.linear(x = %[[N]], {{.*}} {activation = "relu"}
// CHECK-LABEL: kern.procedure @t_mixing module "t_mixing" phase "forward"
// CHECK:         kern.save %{{.*}} "m" : tensor<6x5x8xf32>
// CHECK:         kern.return [@m]

// products: the projections are not computed again either; norms and the gate are. linear.1 is kept as it is stored, heads first. z
// is that of the module before, which keeps it.
// CHECK-LABEL: kern.procedure @row_products.backward module "row_products" phase "backward" choice "fused; keeps products"
// CHECK-SAME:    tensors [@saved::@m, @saved::@z, @msa_mask, @dm, @dz, @saved::@linear.1, @saved::@linear.3, @saved::@attention.4, @saved::@attention.4.1] {
// CHECK-NEXT:  ^bb0(%[[M:.*]]: tensor<6x5x8xf32>, %[[Z:.*]]: tensor<5x5x4xf32>, %{{.*}}: tensor<6x5xf32>, %{{.*}}: tensor<6x5x8xf32>, %{{.*}}: tensor<5x5x4xf32>, %{{.*}}: tensor<2x5x5xf32>, %{{.*}}: tensor<6x5x32xf32>, %[[O:.*]]: tensor<6x5x8xf32>, %[[LSE:.*]]: tensor<6x2x5xf32>):
// CHECK-NOT:     kern.linear(
// CHECK:         kern.layer_norm(x = %[[Z]],
// CHECK-NOT:     kern.linear(
// CHECK:         kern.layer_norm(x = %[[M]],
// CHECK-NOT:     kern.linear(
// CHECK:         %[[GATED:.*]] = kern.gate(o = %[[O]],
// The products from here on are those of the gradients.
// CHECK:         kern.linear(x = %{{.*}}) {activation = "none"} : (tensor<6x5x8xf32>, tensor<8x8xf32>) -> tensor<6x5x8xf32>
// CHECK-NEXT:    kern.weight_grad(du = %{{.*}}, x = %[[GATED]])
// CHECK-NOT:     kern.attention(
// CHECK:         kern.attention_grad({{.*}} o = %[[O]], lse = %[[LSE]],
// CHECK-LABEL: kern.procedure @row_products module "row_products" phase "forward"
// CHECK:         kern.save %{{.*}} "m" : tensor<6x5x8xf32>
// CHECK:         %[[BIAS:.*]] = kern.linear({{.*}} -> tensor<5x5x2xf32>
// CHECK:         %[[QKVG:.*]] = kern.linear({{.*}} -> tensor<6x5x32xf32>
// CHECK:         %[[O:.*]], %[[LSE:.*]] = kern.attention(
// CHECK:         %[[HEADS:.*]] = kern.transpose %[[BIAS]] [2, 0, 1]
// CHECK-NEXT:    kern.save %[[HEADS]] "linear.1" : tensor<2x5x5xf32>
// CHECK-NEXT:    kern.save %[[QKVG]] "linear.3" : tensor<6x5x32xf32>
// CHECK-NEXT:    kern.save %[[O]] "attention.4" : tensor<6x5x8xf32>
// CHECK-NEXT:    kern.save %[[LSE]] "attention.4.1" : tensor<6x2x5xf32>
// CHECK-NEXT:    kern.return [@m]

// CHECK-LABEL: kern.procedure @t_products.backward module "t_products" phase "backward" choice "fused; keeps products" tensors [@saved::@m, @msa_mask, @dm, @saved::@linear.1] {
// CHECK-NEXT:  ^bb0(%[[M:.*]]: tensor<6x5x8xf32>, %{{.*}}: tensor<6x5xf32>, %{{.*}}: tensor<6x5x8xf32>, %[[H:.*]]: tensor<6x5x16xf32>):
// CHECK:         %[[N:.*]] = kern.layer_norm(x = %[[M]],
// CHECK-NOT:     activation = "relu"} : (tensor<6x5x8xf32>, tensor<16x8xf32>, tensor<16xf32>)
// CHECK:         kern.linear_grad(dy = %{{.*}}, h = %[[H]]) {activation = "relu"}
// CHECK:         kern.weight_grad(du = %{{.*}}, x = %[[N]])
// CHECK-LABEL: kern.procedure @t_products module "t_products" phase "forward"
// CHECK:         kern.save %{{.*}} "m" : tensor<6x5x8xf32>
// CHECK:         %[[H:.*]] = kern.linear({{.*}} {activation = "relu"}
// CHECK:         kern.save %[[H]] "linear.1" : tensor<6x5x16xf32>
// CHECK-NEXT:    kern.return [@m]
// CHECK:       kern.program "forward"
evo.stack @s tensors ["m", "z", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<6x5x8xf32>, %z: tensor<5x5x4xf32>, %mask: tensor<6x5xf32>):
  %0:2 = evo.segment first 0 count 1 (%m, %z) : (tensor<6x5x8xf32>, tensor<5x5x4xf32>) -> (tensor<6x5x8xf32>, tensor<5x5x4xf32>) {
  ^bb0(%x: tensor<6x5x8xf32>, %y: tensor<5x5x4xf32>):
    %1 = evo.msa_row_attention %x, %y, %mask {prefix = "row_mixing", choice = #evo.choice<keep = mixing>, heads = 2 : i64, head_dim = 4 : i64, inf = 1.0e9 : f64} : tensor<6x5x8xf32>, tensor<5x5x4xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    %2 = evo.transition m %1 mask %mask {prefix = "t_mixing", choice = #evo.choice<keep = mixing>, factor = 2 : i64} : tensor<6x5x8xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    %3 = evo.msa_row_attention %2, %y, %mask {prefix = "row_products", choice = #evo.choice<keep = products>, heads = 2 : i64, head_dim = 4 : i64, inf = 1.0e9 : f64} : tensor<6x5x8xf32>, tensor<5x5x4xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    %4 = evo.transition m %3 mask %mask {prefix = "t_products", choice = #evo.choice<keep = products>, factor = 2 : i64} : tensor<6x5x8xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    evo.yield %4, %y : tensor<6x5x8xf32>, tensor<5x5x4xf32>
  }
  evo.yield %0#0, %0#1 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
}
