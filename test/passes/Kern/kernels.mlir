// RUN: evo-opt %s --allow-unregistered-dialect | evo-opt - --allow-unregistered-dialect | FileCheck %s
// RUN: evo-opt %s --allow-unregistered-dialect --mlir-print-op-generic | evo-opt - --allow-unregistered-dialect | FileCheck %s

// Every kernel at the value level prints as it was written, also by way of the generic form.

// CHECK-LABEL: "test.layer_norm"
"test.layer_norm"() ({
^bb0(%m: tensor<4x7x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>):
  // CHECK: ^bb0(%[[M:.*]]: tensor<4x7x8xf32>, %[[W:.*]]: tensor<8xf32>, %[[B:.*]]: tensor<8xf32>):
  // CHECK-NEXT: %{{.*}} = kern.layer_norm(x = %[[M]], weight = %[[W]], bias = %[[B]]) {eps = 1.000000e-05 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<4x7x8xf32>
  %y = kern.layer_norm(x = %m, weight = %w, bias = %b) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x7x8xf32>)
  // Training asks for the statistics too.
  // CHECK-NEXT: %{{.*}}, %{{.*}}, %{{.*}} = kern.layer_norm({{.*}}) -> (tensor<4x7x8xf32>, tensor<4x7xf32>, tensor<4x7xf32>)
  %z, %mean, %rstd = kern.layer_norm(x = %m, weight = %w, bias = %b) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x7x8xf32>, tensor<4x7xf32>, tensor<4x7xf32>)
}) : () -> ()

// CHECK-LABEL: "test.linear"
"test.linear"() ({
^bb0(%h: tensor<4x7x32xf32>, %w: tensor<8x32xf32>, %m: tensor<4x7x8xf32>, %c: tensor<8xf32>, %s: tensor<4x7xf32>):
  // CHECK: ^bb0(%[[H:.*]]: tensor<4x7x32xf32>, %[[W:.*]]: tensor<8x32xf32>, %[[M:.*]]: tensor<4x7x8xf32>, %[[C:.*]]: tensor<8xf32>, %[[S:.*]]: tensor<4x7xf32>):
  // CHECK-NEXT: kern.linear(x = %[[H]], weight = %[[W]], residual = %[[M]]) {activation = "none"}
  %y = kern.linear(x = %h, weight = %w, residual = %m) {activation = "none"} : (tensor<4x7x32xf32>, tensor<8x32xf32>, tensor<4x7x8xf32>) -> (tensor<4x7x8xf32>)
  // CHECK-NEXT: kern.linear(x = %[[H]], weight = %[[W]], bias = %[[C]], row_scale = %[[S]], gate = %[[M]], residual = %[[M]]) {activation = "relu", layout = array<i64: 2, 0, 1>}
  %z = kern.linear(x = %h, weight = %w, bias = %c, row_scale = %s, gate = %m, residual = %m) {activation = "relu", layout = array<i64: 2, 0, 1>} : (tensor<4x7x32xf32>, tensor<8x32xf32>, tensor<8xf32>, tensor<4x7xf32>, tensor<4x7x8xf32>, tensor<4x7x8xf32>) -> (tensor<4x7x8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.gated_linear"
"test.gated_linear"() ({
^bb0(%x: tensor<5x5x8xf32>, %wp: tensor<4x8xf32>, %bp: tensor<4xf32>, %wg: tensor<4x8xf32>, %bg: tensor<4xf32>, %s: tensor<5x5xf32>):
  // CHECK: ^bb0(%[[X:.*]]: tensor<5x5x8xf32>, %[[WP:.*]]: tensor<4x8xf32>, %[[BP:.*]]: tensor<4xf32>, %[[WG:.*]]: tensor<4x8xf32>, %[[BG:.*]]: tensor<4xf32>, %[[S:.*]]: tensor<5x5xf32>):
  // CHECK-NEXT: kern.gated_linear(x = %[[X]], weight = %[[WP]], bias = %[[BP]], gate_weight = %[[WG]], gate_bias = %[[BG]]) {layout = array<i64: 2, 0, 1>}
  %a = kern.gated_linear(x = %x, weight = %wp, bias = %bp, gate_weight = %wg, gate_bias = %bg) {layout = array<i64: 2, 0, 1>} : (tensor<5x5x8xf32>, tensor<4x8xf32>, tensor<4xf32>, tensor<4x8xf32>, tensor<4xf32>) -> (tensor<5x5x4xf32>)
  // CHECK-NEXT: kern.gated_linear(x = %[[X]], weight = %[[WP]], bias = %[[BP]], gate_weight = %[[WG]], gate_bias = %[[BG]], row_scale = %[[S]]) :
  %b = kern.gated_linear(x = %x, weight = %wp, bias = %bp, gate_weight = %wg, gate_bias = %bg, row_scale = %s) : (tensor<5x5x8xf32>, tensor<4x8xf32>, tensor<4xf32>, tensor<4x8xf32>, tensor<4xf32>, tensor<5x5xf32>) -> (tensor<5x5x4xf32>)
}) : () -> ()

// CHECK-LABEL: "test.attention"
"test.attention"() ({
^bb0(%q: tensor<3x5x8xf32>, %k: tensor<3x5x8xf32>, %v: tensor<3x5x8xf32>, %mask: tensor<3x5xf32>, %bias: tensor<2x5x5xf32>, %one: tensor<3x5x4xf32>):
  // CHECK: ^bb0(%[[Q:.*]]: tensor<3x5x8xf32>, %[[K:.*]]: tensor<3x5x8xf32>, %[[V:.*]]: tensor<3x5x8xf32>, %[[MASK:.*]]: tensor<3x5xf32>, %[[BIAS:.*]]: tensor<2x5x5xf32>, %[[ONE:.*]]: tensor<3x5x4xf32>):
  // CHECK-NEXT: kern.attention(query = %[[Q]], key = %[[K]], value = %[[V]], mask = %[[MASK]]) {heads = 2 : i64, inf = 1.000000e+09 : f64, scale = 5.000000e-01 : f64}
  %o = kern.attention(query = %q, key = %k, value = %v, mask = %mask) {heads = 2 : i64, inf = 1.0e9 : f64, scale = 0.5 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5xf32>) -> (tensor<3x5x8xf32>)
  // One key/value head of 4 channels for both of the query; the log-sum-exp beside the result.
  // CHECK-NEXT: %{{.*}}, %{{.*}} = kern.attention(query = %[[Q]], key = %[[ONE]], value = %[[ONE]], pair_bias = %[[BIAS]]) {{.*}} -> (tensor<3x5x8xf32>, tensor<3x2x5xf32>)
  %g, %lse = kern.attention(query = %q, key = %one, value = %one, pair_bias = %bias) {heads = 2 : i64, inf = 1.0e9 : f64, scale = 0.5 : f64} : (tensor<3x5x8xf32>, tensor<3x5x4xf32>, tensor<3x5x4xf32>, tensor<2x5x5xf32>) -> (tensor<3x5x8xf32>, tensor<3x2x5xf32>)
  // CHECK-NEXT: %[[L:.*]] = kern.attention_logits(query = %[[Q]], key = %[[K]]) {heads = 2 : i64, inf = 1.000000e+09 : f64, scale = 5.000000e-01 : f64}
  %l = kern.attention_logits(query = %q, key = %k) {heads = 2 : i64, inf = 1.0e9 : f64, scale = 0.5 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>) -> (tensor<3x2x5x5xf32>)
  // CHECK-NEXT: %[[P:.*]] = kern.softmax(x = %[[L]]) : (tensor<3x2x5x5xf32>) -> tensor<3x2x5x5xf32>
  %p = kern.softmax(x = %l) : (tensor<3x2x5x5xf32>) -> (tensor<3x2x5x5xf32>)
}) : () -> ()

// CHECK-LABEL: "test.attention_values"
"test.attention_values"() ({
^bb0(%p: tensor<3x2x5x5xf32>, %v: tensor<3x5x8xf32>):
  // CHECK: ^bb0(%[[P:.*]]: tensor<3x2x5x5xf32>, %[[V:.*]]: tensor<3x5x8xf32>):
  // CHECK-NEXT: kern.attention_values(weights = %[[P]], value = %[[V]]) {heads = 2 : i64}
  %o = kern.attention_values(weights = %p, value = %v) {heads = 2 : i64} : (tensor<3x2x5x5xf32>, tensor<3x5x8xf32>) -> (tensor<3x5x8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.gate"
"test.gate"() ({
^bb0(%o: tensor<3x1x8xf32>, %g: tensor<3x5x8xf32>, %b: tensor<8xf32>, %x: tensor<3x5x8xf32>, %mask: tensor<3x5xf32>):
  // CHECK: ^bb0(%[[O:.*]]: tensor<3x1x8xf32>, %[[G:.*]]: tensor<3x5x8xf32>, %[[B:.*]]: tensor<8xf32>, %[[X:.*]]: tensor<3x5x8xf32>, %[[MASK:.*]]: tensor<3x5xf32>):
  // CHECK-NEXT: kern.gate(o = %[[O]], gate = %[[G]], gate_bias = %[[B]]) : (tensor<3x1x8xf32>, tensor<3x5x8xf32>, tensor<8xf32>) -> tensor<3x5x8xf32>
  %y = kern.gate(o = %o, gate = %g, gate_bias = %b) : (tensor<3x1x8xf32>, tensor<3x5x8xf32>, tensor<8xf32>) -> (tensor<3x5x8xf32>)
  // CHECK-NEXT: kern.masked_mean(x = %[[X]], mask = %[[MASK]]) {eps = 1.000000e-08 : f64}
  %q = kern.masked_mean(x = %x, mask = %mask) {eps = 1.0e-8 : f64} : (tensor<3x5x8xf32>, tensor<3x5xf32>) -> (tensor<3x1x8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.outer_product"
"test.outer_product"() ({
^bb0(%a: tensor<6x4x2xf32>, %b: tensor<6x5x3xf32>, %w: tensor<8x6xf32>, %c: tensor<8xf32>, %mi: tensor<6x4xf32>, %mj: tensor<6x5xf32>):
  // CHECK: ^bb0(%[[A:.*]]: tensor<6x4x2xf32>, %[[B:.*]]: tensor<6x5x3xf32>, %[[W:.*]]: tensor<8x6xf32>, %[[C:.*]]: tensor<8xf32>, %[[MI:.*]]: tensor<6x4xf32>, %[[MJ:.*]]: tensor<6x5xf32>):
  // CHECK-NEXT: kern.outer_product(a = %[[A]], b = %[[B]]) :
  %o = kern.outer_product(a = %a, b = %b) : (tensor<6x4x2xf32>, tensor<6x5x3xf32>) -> (tensor<4x5x6xf32>)
  // CHECK-NEXT: %[[N:.*]] = kern.outer_product_norm(mask_i = %[[MI]], mask_j = %[[MJ]]) {eps = 1.000000e-03 : f64}
  %n = kern.outer_product_norm(mask_i = %mi, mask_j = %mj) {eps = 1.0e-3 : f64} : (tensor<6x4xf32>, tensor<6x5xf32>) -> (tensor<4x5xf32>)
  // CHECK-NEXT: kern.outer_product_mean(a = %[[A]], b = %[[B]], weight = %[[W]], bias = %[[C]], row_scale = %[[N]]) :
  %y = kern.outer_product_mean(a = %a, b = %b, weight = %w, bias = %c, row_scale = %n) : (tensor<6x4x2xf32>, tensor<6x5x3xf32>, tensor<8x6xf32>, tensor<8xf32>, tensor<4x5xf32>) -> (tensor<4x5x8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.batch_matmul"
"test.batch_matmul"() ({
^bb0(%a: tensor<8x5x7xf32>, %b: tensor<8x6x7xf32>, %x: tensor<4x7xf32>):
  // CHECK: ^bb0(%[[A:.*]]: tensor<8x5x7xf32>, %[[B:.*]]: tensor<8x6x7xf32>, %[[X:.*]]: tensor<4x7xf32>):
  // CHECK-NEXT: kern.batch_matmul(a = %[[A]], b = %[[B]]) :
  %p = kern.batch_matmul(a = %a, b = %b) : (tensor<8x5x7xf32>, tensor<8x6x7xf32>) -> (tensor<8x5x6xf32>)
  // CHECK-NEXT: kern.copy(x = %[[X]]) : (tensor<4x7xf32>) -> tensor<4x7xf32>
  %y = kern.copy(x = %x) : (tensor<4x7xf32>) -> (tensor<4x7xf32>)
}) : () -> ()

// CHECK-LABEL: "test.dropout"
"test.dropout"() ({
^bb0(%h: tensor<4x5x32xf32>, %w: tensor<8x32xf32>, %m: tensor<4x5x8xf32>):
  // CHECK: ^bb0(%[[H:.*]]: tensor<4x5x32xf32>, %[[W:.*]]: tensor<8x32xf32>, %[[M:.*]]: tensor<4x5x8xf32>):
  // CHECK-NEXT: %[[D:.*]] = kern.dropout_mask() {module = 3 : i64, rate = 2.500000e-01 : f64} : () -> tensor<1x5x8xf32>
  %d = kern.dropout_mask() {module = 3 : i64, rate = 2.5e-1 : f64} : () -> (tensor<1x5x8xf32>)
  // CHECK-NEXT: kern.linear(x = %[[H]], weight = %[[W]], dropout = %[[D]], residual = %[[M]]) {activation = "none"}
  %y = kern.linear(x = %h, weight = %w, dropout = %d, residual = %m) {activation = "none"} : (tensor<4x5x32xf32>, tensor<8x32xf32>, tensor<1x5x8xf32>, tensor<4x5x8xf32>) -> (tensor<4x5x8xf32>)
  // CHECK-NEXT: kern.linear_grad(dy = %[[M]], dropout = %[[D]]) {activation = "none"}
  %du = kern.linear_grad(dy = %m, dropout = %d) {activation = "none"} : (tensor<4x5x8xf32>, tensor<1x5x8xf32>) -> (tensor<4x5x8xf32>)
}) : () -> ()
