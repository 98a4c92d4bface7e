// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Shapes, by the rules of runtime/plan/Kernels.def.

"test.axes_rank"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8x8xf32>, %b: tensor<8xf32>):
  // expected-error @below {{kernel 'layer_norm' operand 'weight': expected axes "c", got shape [8, 8]}}
  %y = kern.layer_norm(x = %x, weight = %w, bias = %b) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> (tensor<4x7x8xf32>)
}) : () -> ()

// -----

"test.axes_extent"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8xf32>, %b: tensor<7xf32>):
  // expected-error @below {{kernel 'layer_norm' operand 'bias': expected extent 8 on axis 'c', got shape [7]}}
  %y = kern.layer_norm(x = %x, weight = %w, bias = %b) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<7xf32>) -> (tensor<4x7x8xf32>)
}) : () -> ()

// -----

"test.axes_leading"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>):
  // expected-error @below {{kernel 'layer_norm' operand 'y': expected leading axes [4, 7], got shape [4, 6, 8]}}
  %y = kern.layer_norm(x = %x, weight = %w, bias = %b) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x6x8xf32>)
}) : () -> ()

// -----

"test.head_width"() ({
^bb0(%q: tensor<3x5x9xf32>):
  // expected-error @below {{expected query channels 9 to be a multiple of heads 2}}
  %l = kern.attention_logits(query = %q, key = %q) {heads = 2 : i64, inf = 1.0 : f64, scale = 1.0 : f64} : (tensor<3x5x9xf32>, tensor<3x5x9xf32>) -> (tensor<3x2x5x5xf32>)
}) : () -> ()

// -----

"test.outer_width"() ({
^bb0(%a: tensor<6x4x2xf32>, %b: tensor<6x5x3xf32>):
  // expected-error @below {{expected axis 'x' to be c times d = 2 times 3, got 7}}
  %o = kern.outer_product(a = %a, b = %b) : (tensor<6x4x2xf32>, tensor<6x5x3xf32>) -> (tensor<4x5x7xf32>)
}) : () -> ()

// -----

"test.broadcast"() ({
^bb0(%o: tensor<3x2x8xf32>, %g: tensor<3x5x8xf32>, %b: tensor<8xf32>):
  // expected-error @below {{expected axis 'u' to be 1 or 5, got 2}}
  %y = kern.gate(o = %o, gate = %g, gate_bias = %b) : (tensor<3x2x8xf32>, tensor<3x5x8xf32>, tensor<8xf32>) -> (tensor<3x5x8xf32>)
}) : () -> ()

// -----

"test.mean_width"() ({
^bb0(%x: tensor<3x5x8xf32>):
  // expected-error @below {{expected axis 'u' to be 1, got 2}}
  %q = kern.masked_mean(x = %x) {eps = 1.0 : f64} : (tensor<3x5x8xf32>) -> (tensor<3x2x8xf32>)
}) : () -> ()

// -----

"test.no_result"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>):
  // expected-error @below {{expected 1 or more results}}
  kern.layer_norm(x = %x, weight = %w, bias = %b) {eps = 1.0 : f64, layout = array<i64: 0>} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>) -> ()
}) : () -> ()
