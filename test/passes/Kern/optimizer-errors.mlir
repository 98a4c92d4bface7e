// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

"test.scalars"() ({
^bb0(%s: tensor<3xf32>):
  // expected-error @below {{kernel 'advance_optimizer': expected axis 'e' to be the 4 scalars of the optimizer, got 3}}
  %s1 = kern.advance_optimizer(scalars = %s) {growth_interval = 0 : i64} : (tensor<3xf32>) -> (tensor<3xf32>)
}) : () -> ()

// -----

"test.interval"() ({
^bb0(%s: tensor<4xf32>):
  // expected-error @below {{expected growth_interval of at least 0, got -1}}
  %s1 = kern.advance_optimizer(scalars = %s) {growth_interval = -1 : i64} : (tensor<4xf32>) -> (tensor<4xf32>)
}) : () -> ()

// -----

"test.momentum"() ({
^bb0(%g: tensor<8xf32>, %s: tensor<4xf32>, %w: tensor<8xf32>):
  // expected-error @below {{expected momentum in [0, 1), got 1.000000e+00 : f64}}
  %w1 = kern.sgd_step(gradient = %g, scalars = %s, weight = %w) {learning_rate = 1.0e-2 : f64, momentum = 1.0 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xf32>) -> (tensor<8xf32>)
}) : () -> ()

// -----

"test.learning_rate"() ({
^bb0(%g: tensor<8xf32>, %s: tensor<4xf32>, %w: tensor<8xf32>):
  // expected-error @below {{expected learning_rate of at least 0, got -1.000000e+00 : f64}}
  %w1 = kern.sgd_step(gradient = %g, scalars = %s, weight = %w) {learning_rate = -1.0 : f64, momentum = 0.0 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xf32>) -> (tensor<8xf32>)
}) : () -> ()

// -----

"test.velocity"() ({
^bb0(%g: tensor<8xf32>, %s: tensor<4xf32>, %w: tensor<8xf32>):
  // expected-error @below {{kernel 'sgd_step': expected operand 'velocity' where the momentum is above 0, got none}}
  %w1 = kern.sgd_step(gradient = %g, scalars = %s, weight = %w) {learning_rate = 1.0 : f64, momentum = 0.5 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xf32>) -> (tensor<8xf32>)
}) : () -> ()

// -----

"test.state_type"() ({
^bb0(%g: tensor<8xf32>, %s: tensor<4xf32>, %m: tensor<8xbf16>, %w: tensor<8xbf16>):
  // expected-error @below {{operand 'master' expected 'f32', got 'bf16'}}
  %w1, %m1 = kern.sgd_step(gradient = %g, scalars = %s, master = %m, weight = %w) {learning_rate = 1.0 : f64, momentum = 0.0 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xbf16>, tensor<8xbf16>) -> (tensor<8xbf16>, tensor<8xbf16>)
}) : () -> ()

// -----

kern.procedure @p module "" phase "optimizer" choice "" tensors [] {
  // expected-error @below {{expected first_moment, master, momentum or second_moment, got "speed"}}
  %v = kern.state "speed" "w" : tensor<8xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "optimizer" choice "" tensors [] {
  %v = kern.state "momentum" "w" : tensor<8xf32>
  // expected-error @below {{expected first_moment, master, momentum or second_moment, got "speed"}}
  kern.store_state %v "speed" "w" : tensor<8xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "optimizer" choice "" tensors [] {
  // expected-error @below {{expected first_moment, master, momentum or second_moment, got ""}}
  %v = kern.state_buffer "" "w" : !kern.buffer<8xf32, 8>
  kern.return []
}

// -----

kern.procedure @p module "" phase "optimizer" choice "" tensors [] {
  // expected-error @below {{expected dense rows of 8, got a pitch of 12}}
  %v = kern.state_buffer "momentum" "w" : !kern.buffer<4x8xf32, 12>
  kern.return []
}

// -----

kern.procedure @p module "" phase "optimizer" choice "" tensors [] {
  %v = kern.state "momentum" "w" : tensor<8xf32>
  // expected-error @below {{expected the value of a kern.weight to store to}}
  kern.store_weight %v to %v : tensor<8xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "backward" choice "" tensors [] {
  // expected-error @below {{expected to be in phase optimizer, got backward}}
  %g = kern.gradient "w" : tensor<8xf32>
  kern.return []
}
