// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// What the rows of gradient kernels ask for beyond shapes.

"test.relu"() ({
^bb0(%dy: tensor<4x8xf32>):
  // expected-error @below {{kernel 'linear_grad': expected operand 'h' where the activation is relu, got none}}
  %du = kern.linear_grad(dy = %dy) {activation = "relu"} : (tensor<4x8xf32>) -> (tensor<4x8xf32>)
}) : () -> ()

// -----

"test.dgate"() ({
^bb0(%dy: tensor<4x8xf32>, %g: tensor<4x8xf32>):
  // expected-error @below {{kernel 'linear_grad': expected operands 'h' and 'gate' where there is 'dgate', got none}}
  %du, %dg = kern.linear_grad(dy = %dy, gate = %g) {activation = "none"} : (tensor<4x8xf32>, tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>)
}) : () -> ()

// -----

// The gradient of a weight has the statistic type, whatever the storage type.
"test.statistic"() ({
^bb0(%du: tensor<4x8xbf16>, %x: tensor<4x3xbf16>):
  // expected-error @below {{operand 'dweight' expected 'f32', got 'bf16'}}
  %dw = kern.weight_grad(du = %du, x = %x) : (tensor<4x8xbf16>, tensor<4x3xbf16>) -> (tensor<8x3xbf16>)
}) : () -> ()

// -----

"test.accumulator"() ({
^bb0(%du: tensor<4x8xf32>, %a: tensor<7xf32>):
  // expected-error @below {{kernel 'bias_grad' operand 'accumulator': expected extent 8 on axis 'n', got shape [7]}}
  %db = kern.bias_grad(du = %du, accumulator = %a) : (tensor<4x8xf32>, tensor<7xf32>) -> (tensor<8xf32>)
}) : () -> ()

// -----

"test.outer"() ({
^bb0(%a: tensor<6x4x2xf32>, %b: tensor<6x5x3xf32>, %do: tensor<4x5x8xf32>):
  // expected-error @below {{kernel 'outer_product_grad': expected axis 'x' to be c times d = 2 times 3, got 8}}
  %da, %db = kern.outer_product_grad(a = %a, b = %b, dout = %do) : (tensor<6x4x2xf32>, tensor<6x5x3xf32>, tensor<4x5x8xf32>) -> (tensor<6x4x2xf32>, tensor<6x5x3xf32>)
}) : () -> ()
