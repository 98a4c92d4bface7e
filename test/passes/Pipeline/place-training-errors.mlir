// RUN: evo-opt %s --kern-place --split-input-file --verify-diagnostics

// The backward program runs the forward program's segments and calls in reverse, and reads what they keep.

kern.procedure @b module "" phase "backward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
// expected-error @below {{expected a forward program beside it, got none}}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 1 {
    kern.call @b
  }
}

// -----

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @b module "" phase "backward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f
  }
}
// expected-error @below {{expected the 1 kern.blocks of the forward program in reverse, got 0}}
kern.program "backward" inputs [] outputs [] {
}

// -----

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @b module "" phase "backward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f
  }
}
kern.program "backward" inputs [] outputs [] {
  // expected-error @below {{expected the forward program's blocks first 0 count 2, got first 0 count 1}}
  kern.blocks first 0 count 1 {
    kern.call @b
  }
}

// -----

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @b module "" phase "backward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f
  }
}
kern.program "backward" inputs [] outputs [] {
  // expected-error @below {{expected the 1 calls of the forward program in reverse, got 2}}
  kern.blocks first 0 count 2 {
    kern.call @b
    kern.call @b
  }
}

// -----

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @b module "" phase "backward" choice "" tensors [] {
  %m = kern.saved_buffer "z" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected a procedure that reads what @f keeps, m !kern.buffer<4x5x8xf32, 8>, got @b, which reads z !kern.buffer<4x5x8xf32, 8>}}
    kern.call @b
  }
}

// -----

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @b module "" phase "backward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x9xf32, 9>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected a procedure that reads what @f keeps, m !kern.buffer<4x5x8xf32, 8>, got @b, which reads m !kern.buffer<4x5x9xf32, 9>}}
    kern.call @b
  }
}
