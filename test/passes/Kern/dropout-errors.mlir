// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

"test.rate"() ({
  // expected-error @below {{expected rate in [0, 1), got 1.000000e+00 : f64}}
  %d = kern.dropout_mask() {module = 3 : i64, rate = 1.0 : f64} : () -> (tensor<1x5x8xf32>)
}) : () -> ()

// -----

"test.negative_rate"() ({
  // expected-error @below {{expected rate in [0, 1), got -2.500000e-01 : f64}}
  %d = kern.dropout_mask() {module = 3 : i64, rate = -0.25 : f64} : () -> (tensor<1x5x8xf32>)
}) : () -> ()

// -----

"test.module"() ({
  // expected-error @below {{expected module in [0, 2^32), got 4294967296 : i64}}
  %d = kern.dropout_mask() {module = 4294967296 : i64, rate = 0.25 : f64} : () -> (tensor<1x5x8xf32>)
}) : () -> ()

// -----

"test.negative_module"() ({
  // expected-error @below {{expected module in [0, 2^32), got -1 : i64}}
  %d = kern.dropout_mask() {module = -1 : i64, rate = 0.25 : f64} : () -> (tensor<1x5x8xf32>)
}) : () -> ()

// -----

"test.type_of_a_mask"() ({
  // expected-error @below {{operand 'y' expected f32 or f64, got 'bf16'}}
  %d = kern.dropout_mask() {module = 3 : i64, rate = 0.25 : f64} : () -> (tensor<1x5x8xbf16>)
}) : () -> ()

// -----

"test.type_of_the_operand"() ({
^bb0(%x: tensor<4x5x7xbf16>, %w: tensor<8x7xbf16>, %d: tensor<1x5x8xbf16>):
  // expected-error @below {{operand 'dropout' expected 'f32', got 'bf16'}}
  %y = kern.linear(x = %x, weight = %w, dropout = %d) {activation = "none"} : (tensor<4x5x7xbf16>, tensor<8x7xbf16>, tensor<1x5x8xbf16>) -> (tensor<4x5x8xbf16>)
}) : () -> ()

// -----

"test.broadcast"() ({
^bb0(%dy: tensor<4x5x8xf32>, %d: tensor<5x1x8xf32>):
  // expected-error @below {{kernel 'linear_grad' operand 'dropout': expected leading axes [4, 5], each whole or 1, got shape [5, 1, 8]}}
  %du = kern.linear_grad(dy = %dy, dropout = %d) {activation = "none"} : (tensor<4x5x8xf32>, tensor<5x1x8xf32>) -> (tensor<4x5x8xf32>)
}) : () -> ()
