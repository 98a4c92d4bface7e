// RUN: evo-opt %s --kern-assign-buffers --allow-unregistered-dialect --split-input-file --verify-diagnostics

// expected-error @below {{expected the value level: block arguments for its tensors}}
kern.procedure @p module "" phase "forward" choice "" tensors [@z] {
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<7x5xf32>):
  // expected-error @below {{is not of the value level}}
  "test.op"() : () -> ()
  kern.return [@z] %z : tensor<7x5xf32>
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<7x5xf32>):
  // expected-error @below {{is not of the value level}}
  %a = kern.alloc "a" : !kern.buffer<4xf32, 4>
  kern.return [@z] %z : tensor<7x5xf32>
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<7x5xf32>):
  %s = "kern.slice_loop"(%z) <{axis = "s", extent = 7 : i64, size = 3 : i64, sliced_axes = array<i64: 0>, result_axes = array<i64>, operandSegmentSizes = array<i32: 1, 0>}> ({
  ^bb0(%a: tensor<?x5xf32>):
    // expected-error @below {{is not of the value level}}
    %sum = "test.sum"(%a) : (tensor<?x5xf32>) -> tensor<5xf32>
    kern.yield %sum : tensor<5xf32>
  }) : (tensor<7x5xf32>) -> tensor<5xf32>
  kern.return [@z] %z : tensor<7x5xf32>
}
