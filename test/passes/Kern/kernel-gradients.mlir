// RUN: evo-opt %s --allow-unregistered-dialect | evo-opt - --allow-unregistered-dialect | FileCheck %s
// RUN: evo-opt %s --allow-unregistered-dialect --mlir-print-op-generic | evo-opt - --allow-unregistered-dialect | FileCheck %s

// Every gradient kernel prints as it was written, also by way of the generic form.

// CHECK-LABEL: "test.layer_norm_grad"
"test.layer_norm_grad"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8xf32>, %dy: tensor<4x7x8xf32>, %dm: tensor<4x7x8xf32>):
  // CHECK: ^bb0(%[[X:.*]]: tensor<4x7x8xf32>, %[[W:.*]]: tensor<8xf32>, %[[DY:.*]]: tensor<4x7x8xf32>, %[[DM:.*]]: tensor<4x7x8xf32>):
  // CHECK-NEXT: %{{.*}}, %{{.*}}, %{{.*}} = kern.layer_norm_grad(x = %[[X]], weight = %[[W]], dy = %[[DY]], residual = %[[DM]]) {eps = 1.000000e-05 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<4x7x8xf32>, tensor<4x7x8xf32>) -> (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>)
  %dx, %dw, %db = kern.layer_norm_grad(x = %x, weight = %w, dy = %dy, residual = %dm) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<4x7x8xf32>, tensor<4x7x8xf32>) -> (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.layer_norm_grad_of_scaled"
"test.layer_norm_grad_of_scaled"() ({
^bb0(%x: tensor<4x7x8xf16>, %w: tensor<8xf16>, %dy: tensor<4x7x8xf16>):
  // CHECK: kern.layer_norm_grad({{.*}}) {eps = 1.000000e-05 : f64, factor = 1.280000e+02 : f64}
  %dx, %dw, %db = kern.layer_norm_grad(x = %x, weight = %w, dy = %dy) {eps = 1.0e-5 : f64, factor = 128.0 : f64} : (tensor<4x7x8xf16>, tensor<8xf16>, tensor<4x7x8xf16>) -> (tensor<4x7x8xf16>, tensor<8xf32>, tensor<8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.linear_grad"
"test.linear_grad"() ({
^bb0(%dy: tensor<4x7x8xf32>, %h: tensor<4x7x8xf32>):
  // CHECK: ^bb0(%[[DY:.*]]: tensor<4x7x8xf32>, %[[H:.*]]: tensor<4x7x8xf32>):
  // CHECK-NEXT: %{{.*}} = kern.linear_grad(dy = %[[DY]], h = %[[H]]) {activation = "relu"} : (tensor<4x7x8xf32>, tensor<4x7x8xf32>) -> tensor<4x7x8xf32>
  %du = kern.linear_grad(dy = %dy, h = %h) {activation = "relu"} : (tensor<4x7x8xf32>, tensor<4x7x8xf32>) -> (tensor<4x7x8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.weight_grad"
"test.weight_grad"() ({
^bb0(%du: tensor<4x7x8xf32>, %x: tensor<4x7x16xf32>):
  // CHECK: ^bb0(%[[DU:.*]]: tensor<4x7x8xf32>, %[[X:.*]]: tensor<4x7x16xf32>):
  // CHECK-NEXT: %{{.*}} = kern.weight_grad(du = %[[DU]], x = %[[X]]) : (tensor<4x7x8xf32>, tensor<4x7x16xf32>) -> tensor<8x16xf32>
  %dw = kern.weight_grad(du = %du, x = %x) : (tensor<4x7x8xf32>, tensor<4x7x16xf32>) -> (tensor<8x16xf32>)
}) : () -> ()

// CHECK-LABEL: "test.bias_grad"
"test.bias_grad"() ({
^bb0(%du: tensor<4x7x8xf32>):
  // CHECK: ^bb0(%[[DU:.*]]: tensor<4x7x8xf32>):
  // CHECK-NEXT: %{{.*}} = kern.bias_grad(du = %[[DU]]) : (tensor<4x7x8xf32>) -> tensor<8xf32>
  %db = kern.bias_grad(du = %du) : (tensor<4x7x8xf32>) -> (tensor<8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.gated_linear_grad"
"test.gated_linear_grad"() ({
^bb0(%dy: tensor<5x5x4xf32>, %u: tensor<5x5x4xf32>, %g: tensor<5x5x4xf32>):
  // CHECK: ^bb0(%[[DY:.*]]: tensor<5x5x4xf32>, %[[U:.*]]: tensor<5x5x4xf32>, %[[G:.*]]: tensor<5x5x4xf32>):
  // CHECK-NEXT: %{{.*}}, %{{.*}} = kern.gated_linear_grad(dy = %[[DY]], u = %[[U]], g = %[[G]]) : (tensor<5x5x4xf32>, tensor<5x5x4xf32>, tensor<5x5x4xf32>) -> (tensor<5x5x4xf32>, tensor<5x5x4xf32>)
  %du, %dg = kern.gated_linear_grad(dy = %dy, u = %u, g = %g) : (tensor<5x5x4xf32>, tensor<5x5x4xf32>, tensor<5x5x4xf32>) -> (tensor<5x5x4xf32>, tensor<5x5x4xf32>)
}) : () -> ()

// CHECK-LABEL: "test.attention_grad"
"test.attention_grad"() ({
^bb0(%q: tensor<3x5x8xf32>, %k: tensor<3x5x8xf32>, %v: tensor<3x5x8xf32>, %o: tensor<3x5x8xf32>, %l: tensor<3x2x5xf32>, %do: tensor<3x5x8xf32>):
  // CHECK: ^bb0(%[[Q:.*]]: tensor<3x5x8xf32>, %[[K:.*]]: tensor<3x5x8xf32>, %[[V:.*]]: tensor<3x5x8xf32>, %[[O:.*]]: tensor<3x5x8xf32>, %[[L:.*]]: tensor<3x2x5xf32>, %[[DO:.*]]: tensor<3x5x8xf32>):
  // CHECK-NEXT: %{{.*}}, %{{.*}}, %{{.*}} = kern.attention_grad(query = %[[Q]], key = %[[K]], value = %[[V]], o = %[[O]], lse = %[[L]], dout = %[[DO]]) {heads = 2 : i64, inf = 1.000000e+09 : f64, scale = 5.000000e-01 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x2x5xf32>, tensor<3x5x8xf32>) -> (tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>)
  %dq, %dk, %dv = kern.attention_grad(query = %q, key = %k, value = %v, o = %o, lse = %l, dout = %do) {heads = 2 : i64, inf = 1.0e9 : f64, scale = 0.5 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x2x5xf32>, tensor<3x5x8xf32>) -> (tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.softmax_grad"
"test.softmax_grad"() ({
^bb0(%y: tensor<3x5xf32>, %dy: tensor<3x5xf32>):
  // CHECK: ^bb0(%[[Y:.*]]: tensor<3x5xf32>, %[[DY:.*]]: tensor<3x5xf32>):
  // CHECK-NEXT: %{{.*}} = kern.softmax_grad(y = %[[Y]], dy = %[[DY]]) : (tensor<3x5xf32>, tensor<3x5xf32>) -> tensor<3x5xf32>
  %dx = kern.softmax_grad(y = %y, dy = %dy) : (tensor<3x5xf32>, tensor<3x5xf32>) -> (tensor<3x5xf32>)
}) : () -> ()

// CHECK-LABEL: "test.attention_values_grad"
"test.attention_values_grad"() ({
^bb0(%p: tensor<3x2x5x5xf32>, %v: tensor<3x5x8xf32>, %do: tensor<3x5x8xf32>):
  // CHECK: ^bb0(%[[P:.*]]: tensor<3x2x5x5xf32>, %[[V:.*]]: tensor<3x5x8xf32>, %[[DO:.*]]: tensor<3x5x8xf32>):
  // CHECK-NEXT: %{{.*}}, %{{.*}} = kern.attention_values_grad(weights = %[[P]], value = %[[V]], dout = %[[DO]]) {heads = 2 : i64} : (tensor<3x2x5x5xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>) -> (tensor<3x2x5x5xf32>, tensor<3x5x8xf32>)
  %dp, %dv = kern.attention_values_grad(weights = %p, value = %v, dout = %do) {heads = 2 : i64} : (tensor<3x2x5x5xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>) -> (tensor<3x2x5x5xf32>, tensor<3x5x8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.attention_logits_grad"
"test.attention_logits_grad"() ({
^bb0(%q: tensor<3x5x8xf32>, %k: tensor<3x5x8xf32>, %dl: tensor<3x2x5x5xf32>):
  // CHECK: ^bb0(%[[Q:.*]]: tensor<3x5x8xf32>, %[[K:.*]]: tensor<3x5x8xf32>, %[[DL:.*]]: tensor<3x2x5x5xf32>):
  // CHECK-NEXT: %{{.*}}, %{{.*}} = kern.attention_logits_grad(query = %[[Q]], key = %[[K]], dl = %[[DL]]) {heads = 2 : i64, scale = 5.000000e-01 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x2x5x5xf32>) -> (tensor<3x5x8xf32>, tensor<3x5x8xf32>)
  %dq, %dk = kern.attention_logits_grad(query = %q, key = %k, dl = %dl) {heads = 2 : i64, scale = 0.5 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x2x5x5xf32>) -> (tensor<3x5x8xf32>, tensor<3x5x8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.gate_grad"
"test.gate_grad"() ({
^bb0(%o: tensor<3x1x8xf32>, %g: tensor<3x5x8xf32>, %b: tensor<8xf32>, %dy: tensor<3x5x8xf32>):
  // CHECK: ^bb0(%[[O:.*]]: tensor<3x1x8xf32>, %[[G:.*]]: tensor<3x5x8xf32>, %[[B:.*]]: tensor<8xf32>, %[[DY:.*]]: tensor<3x5x8xf32>):
  // CHECK-NEXT: %{{.*}}, %{{.*}} = kern.gate_grad(o = %[[O]], gate = %[[G]], gate_bias = %[[B]], dy = %[[DY]]) : (tensor<3x1x8xf32>, tensor<3x5x8xf32>, tensor<8xf32>, tensor<3x5x8xf32>) -> (tensor<3x1x8xf32>, tensor<3x5x8xf32>)
  %do, %dg = kern.gate_grad(o = %o, gate = %g, gate_bias = %b, dy = %dy) : (tensor<3x1x8xf32>, tensor<3x5x8xf32>, tensor<8xf32>, tensor<3x5x8xf32>) -> (tensor<3x1x8xf32>, tensor<3x5x8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.masked_mean_grad"
"test.masked_mean_grad"() ({
^bb0(%dq: tensor<3x1x8xf32>, %mask: tensor<3x5xf32>, %r: tensor<3x5x8xf32>):
  // CHECK: ^bb0(%[[DQ:.*]]: tensor<3x1x8xf32>, %[[MASK:.*]]: tensor<3x5xf32>, %[[R:.*]]: tensor<3x5x8xf32>):
  // CHECK-NEXT: %{{.*}} = kern.masked_mean_grad(dy = %[[DQ]], mask = %[[MASK]], residual = %[[R]]) {eps = 1.000000e-08 : f64} : (tensor<3x1x8xf32>, tensor<3x5xf32>, tensor<3x5x8xf32>) -> tensor<3x5x8xf32>
  %dx = kern.masked_mean_grad(dy = %dq, mask = %mask, residual = %r) {eps = 1.0e-8 : f64} : (tensor<3x1x8xf32>, tensor<3x5xf32>, tensor<3x5x8xf32>) -> (tensor<3x5x8xf32>)
}) : () -> ()

// CHECK-LABEL: "test.outer_product_grad"
"test.outer_product_grad"() ({
^bb0(%a: tensor<6x4x2xf32>, %b: tensor<6x5x3xf32>, %do: tensor<4x5x6xf32>):
  // CHECK: ^bb0(%[[A:.*]]: tensor<6x4x2xf32>, %[[B:.*]]: tensor<6x5x3xf32>, %[[DO:.*]]: tensor<4x5x6xf32>):
  // CHECK-NEXT: %{{.*}}, %{{.*}} = kern.outer_product_grad(a = %[[A]], b = %[[B]], dout = %[[DO]]) : (tensor<6x4x2xf32>, tensor<6x5x3xf32>, tensor<4x5x6xf32>) -> (tensor<6x4x2xf32>, tensor<6x5x3xf32>)
  %da, %db = kern.outer_product_grad(a = %a, b = %b, dout = %do) : (tensor<6x4x2xf32>, tensor<6x5x3xf32>, tensor<4x5x6xf32>) -> (tensor<6x4x2xf32>, tensor<6x5x3xf32>)
}) : () -> ()

// CHECK-LABEL: "test.add"
"test.add"() ({
^bb0(%x: tensor<4x7xf32>, %a: tensor<4x7xf32>):
  // CHECK: ^bb0(%[[X:.*]]: tensor<4x7xf32>, %[[A:.*]]: tensor<4x7xf32>):
  // CHECK-NEXT: %{{.*}} = kern.add(x = %[[X]], addend = %[[A]]) : (tensor<4x7xf32>, tensor<4x7xf32>) -> tensor<4x7xf32>
  %y = kern.add(x = %x, addend = %a) : (tensor<4x7xf32>, tensor<4x7xf32>) -> (tensor<4x7xf32>)
}) : () -> ()

// CHECK-LABEL: "test.zero"
"test.zero"() ({
  // CHECK-NEXT: %{{.*}} = kern.zero() : () -> tensor<4x7xf32>
  %y = kern.zero() : () -> (tensor<4x7xf32>)
}) : () -> ()

// CHECK-LABEL: "test.batch_matmul_grad"
"test.batch_matmul_grad"() ({
^bb0(%a: tensor<3x5x7xf32>, %b: tensor<3x9x7xf32>, %sum: tensor<3x5x9xf32>):
  // CHECK: ^bb0(%[[A:.*]]: tensor<3x5x7xf32>, %[[B:.*]]: tensor<3x9x7xf32>, %[[SUM:.*]]: tensor<3x5x9xf32>):
  // CHECK-NEXT: %{{.*}} = kern.batch_matmul_grad(a = %[[A]], b = %[[B]]) : (tensor<3x5x7xf32>, tensor<3x9x7xf32>) -> tensor<3x5x9xf32>
  %dx = kern.batch_matmul_grad(a = %a, b = %b) : (tensor<3x5x7xf32>, tensor<3x9x7xf32>) -> (tensor<3x5x9xf32>)
  // CHECK-NEXT: %{{.*}} = kern.batch_matmul_grad(a = %[[A]], b = %[[B]], accumulator = %[[SUM]]) :
  %dy = kern.batch_matmul_grad(a = %a, b = %b, accumulator = %sum) : (tensor<3x5x7xf32>, tensor<3x9x7xf32>, tensor<3x5x9xf32>) -> (tensor<3x5x9xf32>)
}) : () -> ()
