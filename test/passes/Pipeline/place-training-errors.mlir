// RUN: evo-opt %s --kern-place --split-input-file --verify-diagnostics

// Who calls whom in the backward program.

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
    kern.call @f {id = 0 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected a partner where a backward procedure is called, and none where a forward procedure is called again}}
    kern.call @b {id = 1 : i64}
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
    kern.call @f {id = 0 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected a partner where a backward procedure is called, and none where a forward procedure is called again}}
    kern.call @f {id = 1 : i64, partner = 0 : i64}
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
    kern.call @f {id = 0 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected the id of a call, got partner 7}}
    kern.call @b {id = 1 : i64, partner = 7 : i64}
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
    kern.call @f {id = 0 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected an id of its own, got 0 again}}
    kern.call @b {id = 0 : i64, partner = 0 : i64}
  }
}

// -----

// A group is computed again on what its blocks keep in the forward program.

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f {id = 0 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  // expected-error @below {{expected the forward program's blocks from 1 on, got none}}
  kern.blocks first 1 count 1 {
    kern.call @f {id = 1 : i64}
  }
}
