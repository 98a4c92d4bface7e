// RUN: evo-opt %s --kern-place --split-input-file --verify-diagnostics

// 2^31 2^31 4 bytes are 2^64.
// expected-error @below {{buffer 'a' has more than 2^63 bytes}}
kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<2147483648x2147483648xf32, 2147483648>
  kern.free %a : !kern.buffer<2147483648x2147483648xf32, 2147483648>
  kern.return []
}

// -----

// 2^62 bytes each, alive together.
// expected-error @below {{buffers: expected fewer than 2^63 bytes alive together, got more}}
kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<1073741824x1073741824xf32, 1073741824>
  %b = kern.alloc "b" : !kern.buffer<1073741824x1073741824xf32, 1073741824>
  kern.free %a : !kern.buffer<1073741824x1073741824xf32, 1073741824>
  kern.free %b : !kern.buffer<1073741824x1073741824xf32, 1073741824>
  kern.return []
}

// -----

kern.tensor @m : tensor<1073741824x1073741824xf32>
kern.tensor @z : tensor<1073741824x1073741824xf32>
// expected-error @below {{the boundary tensors have more than 2^63 bytes}}
kern.tensor @mask : tensor<5xf32>
