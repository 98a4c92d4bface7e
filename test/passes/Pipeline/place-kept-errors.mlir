// RUN: evo-opt %s --kern-place --split-input-file --verify-diagnostics

// Calls of nothing, and more bytes to keep than there can be.

kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected a procedure, got @f}}
    kern.call @f
  }
}

// -----

// expected-error @below {{the kept tensors have more than 2^63 bytes}}
kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<2305843009213693951xf32, 2305843009213693951>
  kern.return []
}

// -----

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<1152921504606846976xf32, 1152921504606846976>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  // 2^62 bytes a block.
  // expected-error @below {{the kept tensors have more than 2^63 bytes}}
  kern.blocks first 0 count 2 {
    kern.call @f
  }
}
