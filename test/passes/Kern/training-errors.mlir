// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

"test.no_parts"() ({
  // expected-error @below {{expected parts, got none}}
  %d = "kern.concat"() <{axis = 0 : i64}> : () -> tensor<4x7xf32>
}) : () -> ()

// -----

"test.axis"() ({
^bb0(%a: tensor<4x7xf32>):
  // expected-error @below {{expected an axis below 2, got 2}}
  %d = kern.concat %a axis 2 : tensor<4x7xf32> -> tensor<4x7xf32>
}) : () -> ()

// -----

"test.negative_axis"() ({
^bb0(%a: tensor<4x7xf32>):
  // expected-error @below {{expected an axis below 2, got -1}}
  %d = kern.concat %a axis -1 : tensor<4x7xf32> -> tensor<4x7xf32>
}) : () -> ()

// -----

"test.rank"() ({
^bb0(%a: tensor<4x7xf32>, %b: tensor<4xf32>):
  // expected-error @below {{expected whole parts of rank 2, got 'tensor<4xf32>'}}
  %d = kern.concat %a, %b axis 0 : tensor<4x7xf32>, tensor<4xf32> -> tensor<5x7xf32>
}) : () -> ()

// -----

"test.sliced"() ({
^bb0(%a: tensor<4x?xf32>):
  // expected-error @below {{expected whole parts of rank 2, got 'tensor<4x?xf32>'}}
  %d = kern.concat %a axis 1 : tensor<4x?xf32> -> tensor<4x7xf32>
}) : () -> ()

// -----

"test.extent"() ({
^bb0(%a: tensor<4x7xf32>, %b: tensor<5x9xf32>):
  // expected-error @below {{expected a part of 'tensor<4x16xf32>' but for axis 1, got 'tensor<5x9xf32>'}}
  %d = kern.concat %a, %b axis 1 : tensor<4x7xf32>, tensor<5x9xf32> -> tensor<4x16xf32>
}) : () -> ()

// -----

"test.element_type"() ({
^bb0(%a: tensor<4x7xf32>, %b: tensor<4x9xf64>):
  // expected-error @below {{expected a part of 'tensor<4x16xf32>' but for axis 1, got 'tensor<4x9xf64>'}}
  %d = kern.concat %a, %b axis 1 : tensor<4x7xf32>, tensor<4x9xf64> -> tensor<4x16xf32>
}) : () -> ()

// -----

"test.sum"() ({
^bb0(%a: tensor<4x7xf32>, %b: tensor<4x9xf32>):
  // expected-error @below {{expected parts to sum to 17, got 16}}
  %d = kern.concat %a, %b axis 1 : tensor<4x7xf32>, tensor<4x9xf32> -> tensor<4x17xf32>
}) : () -> ()

// -----

kern.procedure @p module "" phase "backward" choice "" tensors [] {
  // expected-error @below {{expected dense rows of 7, got a pitch of 8}}
  %b = kern.saved_buffer "m" : !kern.buffer<5x7xf32, 8>
  kern.return []
}

// -----

kern.procedure @p module "" phase "backward" choice "" tensors [] {
  // expected-error @below {{expected dense rows of 7, got a pitch of 8}}
  %b = kern.gradient_buffer "w" : !kern.buffer<5x7xf32, 8>
  kern.return []
}
