// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// A kept tensor is named within @saved, one name deep.

// expected-error @below {{attribute 'tensors' failed to satisfy constraint: an array of boundary tensors (@z) and kept ones (@saved::@z)}}
kern.procedure @p module "" phase "backward" choice "" tensors [@kept::@z] {
^bb0(%z: tensor<5x5xf32>):
  kern.return []
}

// -----

// expected-error @below {{attribute 'tensors' failed to satisfy constraint: an array of boundary tensors (@z) and kept ones (@saved::@z)}}
kern.procedure @p module "" phase "backward" choice "" tensors [@saved::@z::@z] {
^bb0(%z: tensor<5x5xf32>):
  kern.return []
}

// -----

// expected-error @below {{expected kept tensors in phase backward alone, got @saved::@z in phase forward}}
kern.procedure @p module "" phase "forward" choice "" tensors [@saved::@z] {
^bb0(%z: tensor<5x5xf32>):
  kern.return []
}

// -----

kern.procedure @p module "" phase "backward" choice "" tensors [@saved::@z] {
^bb0(%z: tensor<5x5xf32>):
  // expected-error @below {{attribute 'tensors' failed to satisfy constraint: flat symbol ref array attribute}}
  kern.return [@saved::@z] %z : tensor<5x5xf32>
}

// -----

// expected-error @below {{expected phase forward, backward or optimizer, got "sideways"}}
kern.procedure @p module "" phase "sideways" choice "" tensors [] {
  kern.return []
}

// -----

// expected-error @below {{expected phase forward, backward or optimizer, got ""}}
kern.program "" inputs [] outputs [] {
}

// -----

kern.procedure @p module "" phase "backward" choice "" tensors [@saved::@z] {
^bb0(%z: tensor<5x5xf32>):
  // expected-error @below {{expected to be in phase forward, got backward}}
  kern.save %z "again" : tensor<5x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<5x5xf32>):
  kern.save %z "z" : tensor<5x5xf32>
  // expected-error @below {{expected each slot once, got "z" again}}
  kern.save %z "z" : tensor<5x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<5x5xf32>):
  // expected-error @below {{expected to be in phase backward, got forward}}
  kern.store_gradient %z "w" : tensor<5x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "backward" choice "" tensors [@dz] {
^bb0(%z: tensor<5x5xf32>):
  kern.store_gradient %z "w" : tensor<5x5xf32>
  // expected-error @below {{expected each weight once, got "w" again}}
  kern.store_gradient %z "w" : tensor<5x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "backward" choice "" tensors [@dz] {
^bb0(%z: tensor<5x5xf32>):
  %w = kern.weight "w" parts ["w"] rows [6] : tensor<6x5xf32>
  // expected-error @below {{expected the shape of its weight 'tensor<6x5xf32>', got 'tensor<5x5xf32>'}}
  kern.store_gradient %z "w" : tensor<5x5xf32>
  kern.return []
}

// -----

"test.outside"() ({
^bb0(%z: tensor<5x5xf32>):
  // expected-error @below {{expects parent op 'kern.procedure'}}
  kern.save %z "z" : tensor<5x5xf32>
}) : () -> ()

// -----

"test.outside"() ({
^bb0(%z: tensor<5x5xf32>):
  // expected-error @below {{expects parent op 'kern.procedure'}}
  kern.store_gradient %z "z" : tensor<5x5xf32>
}) : () -> ()
