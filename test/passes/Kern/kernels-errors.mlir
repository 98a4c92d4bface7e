// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// What the kernels' syntax, attributes and types of elements refuse.

"test.unknown_operand"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>):
  // expected-error @below {{expected an input of 'layer_norm' in its order, got 'gain'}}
  %y = kern.layer_norm(x = %x, gain = %w, bias = %b) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x7x8xf32>)
}) : () -> ()

// -----

"test.operand_order"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>):
  // expected-error @below {{expected an input of 'layer_norm' in its order, got 'x'}}
  %y = kern.layer_norm(weight = %w, x = %x, bias = %b) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x7x8xf32>)
}) : () -> ()

// -----

"test.output_as_operand"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>):
  // expected-error @below {{expected an input of 'layer_norm' in its order, got 'mean'}}
  %y = kern.layer_norm(x = %x, weight = %w, bias = %b, mean = %x) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x7x8xf32>)
}) : () -> ()

// -----

"test.missing_operand"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>):
  // expected-error @below {{expected operand 'weight' of 'layer_norm', got none}}
  %y = kern.layer_norm(x = %x, bias = %b) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>) -> (tensor<4x7x8xf32>)
}) : () -> ()

// -----

"test.eps"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>):
  // expected-error @below {{expected eps > 0, got 0.0}}
  %y = kern.layer_norm(x = %x, weight = %w, bias = %b) {eps = 0.0 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x7x8xf32>)
}) : () -> ()

// -----

"test.eps_missing"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>):
  // expected-error @below {{requires attribute 'eps'}}
  %y = kern.layer_norm(x = %x, weight = %w, bias = %b) {layout = array<i64: 0, 1, 2>} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x7x8xf32>)
}) : () -> ()

// -----

"test.activation"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<6x8xf32>):
  // expected-error @below {{expected activation none or relu, got "gelu"}}
  %y = kern.linear(x = %x, weight = %w) {activation = "gelu"} : (tensor<4x7x8xf32>, tensor<6x8xf32>) -> (tensor<4x7x6xf32>)
}) : () -> ()

// -----

"test.heads"() ({
^bb0(%q: tensor<3x5x8xf32>):
  // expected-error @below {{expected heads of at least 1, got 0 : i64}}
  %l = kern.attention_logits(query = %q, key = %q) {heads = 0 : i64, inf = 1.0e9 : f64, scale = 0.5 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>) -> (tensor<3x2x5x5xf32>)
}) : () -> ()

// -----

"test.inf"() ({
^bb0(%q: tensor<3x5x8xf32>):
  // expected-error @below {{expected inf > 0, got -1.0}}
  %l = kern.attention_logits(query = %q, key = %q) {heads = 2 : i64, inf = -1.0 : f64, scale = 0.5 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>) -> (tensor<3x2x5x5xf32>)
}) : () -> ()

// -----

"test.scale"() ({
^bb0(%q: tensor<3x5x8xf32>):
  // expected-error @below {{expected scale to be finite, got 0x7FF8}}
  %l = kern.attention_logits(query = %q, key = %q) {heads = 2 : i64, inf = 1.0e9 : f64, scale = 0x7FF8000000000000 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>) -> (tensor<3x2x5x5xf32>)
}) : () -> ()

// -----

"test.layout"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<6x8xf32>):
  // expected-error @below {{expected layout to be a permutation of 3 axes}}
  %y = kern.linear(x = %x, weight = %w) {activation = "none", layout = array<i64: 0, 0, 1>} : (tensor<4x7x8xf32>, tensor<6x8xf32>) -> (tensor<4x7x6xf32>)
}) : () -> ()

// -----

"test.element_type"() ({
^bb0(%x: tensor<4x7xf80>):
  // expected-error @below {{operand 'x' expected f64, f32, f16 or bf16, got 'f80'}}
  %y = kern.softmax(x = %x) : (tensor<4x7xf80>) -> (tensor<4x7xf80>)
}) : () -> ()

// -----

"test.rank"() ({
^bb0(%x: tensor<f32>):
  // expected-error @below {{operand 'x' expected an axis, got 'tensor<f32>'}}
  %y = kern.copy(x = %x) : (tensor<f32>) -> (tensor<f32>)
}) : () -> ()

// -----

"test.two_slices"() ({
^bb0(%x: tensor<?x?xf32>):
  // expected-error @below {{operand 'x' expected at most one sliced axis, got 'tensor<?x?xf32>'}}
  %y = kern.softmax(x = %x) : (tensor<?x?xf32>) -> (tensor<?x?xf32>)
}) : () -> ()

// -----

"test.slice_outside"() ({
^bb0(%x: tensor<?x7xf32>):
  // expected-error @below {{operand 'x' has a sliced axis outside of a loop: 'tensor<?x7xf32>'}}
  %y = kern.softmax(x = %x) : (tensor<?x7xf32>) -> (tensor<?x7xf32>)
}) : () -> ()

// -----

"test.storage"() ({
^bb0(%x: tensor<4x7x8xf32>, %w: tensor<8xf64>, %b: tensor<8xf32>):
  // expected-error @below {{operand 'weight' expected 'f32', got 'f64'}}
  %y = kern.layer_norm(x = %x, weight = %w, bias = %b) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf64>, tensor<8xf32>) -> (tensor<4x7x8xf32>)
}) : () -> ()

// -----

"test.statistic"() ({
^bb0(%x: tensor<4x8xf16>, %w: tensor<8xf16>):
  // expected-error @below {{operand 'mean' expected 'f32', got 'f16'}}
  %y, %mean = kern.layer_norm(x = %x, weight = %w, bias = %w) {eps = 1.0 : f64} : (tensor<4x8xf16>, tensor<8xf16>, tensor<8xf16>) -> (tensor<4x8xf16>, tensor<4xf16>)
}) : () -> ()

// -----

"test.either"() ({
^bb0(%x: tensor<4x8xf16>, %w: tensor<6x8xf16>, %s: tensor<4xf64>):
  // expected-error @below {{operand 'row_scale' expected 'f32', got 'f64'}}
  %y = kern.linear(x = %x, weight = %w, row_scale = %s) {activation = "none"} : (tensor<4x8xf16>, tensor<6x8xf16>, tensor<4xf64>) -> (tensor<4x6xf16>)
}) : () -> ()
