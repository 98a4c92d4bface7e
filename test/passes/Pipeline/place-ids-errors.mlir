// RUN: evo-opt %s --kern-place --split-input-file --verify-diagnostics

// One id, one call.

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @b module "" phase "backward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 1 {
    kern.call @f {id = 0 : i64}
  }
  kern.blocks first 1 count 1 {
    // expected-error @below {{expected an id of its own, got 0 again}}
    kern.call @f {id = 0 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 1 count 1 {
    kern.call @b {id = 1 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">]}
  }
  kern.blocks first 0 count 1 {
    kern.call @b {id = 2 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">]}
  }
}

// -----

// A backward keeps nothing that others could read.

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @b module "" phase "backward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 1 {
    kern.call @f {id = 0 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 1 {
    kern.call @b {id = 1 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">]}
    // expected-error @below {{expected a call before it that keeps 'm', got #kern.share<buffer = "saved.m", call = 1, slot = "m">}}
    kern.call @b {id = 2 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 1, slot = "m">]}
  }
}

// -----

// Blocks are counted in 64 bits.

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  // expected-error @below {{expected fewer than 2^63 blocks}}
  kern.blocks first 9223372036854775807 count 2 {
    kern.call @f {id = 0 : i64}
  }
}
