// RUN: evo-opt %s --kern-place --split-input-file --verify-diagnostics

// Where shared tensors are looked for.

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
    // expected-error @below {{expected a call that keeps 'z', got #kern.share<buffer = "saved.m", call = 0, slot = "z">}}
    kern.call @b {id = 1 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "z">]}
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
    // expected-error @below {{expected a call that keeps 'm', got #kern.share<buffer = "saved.m", call = 9, slot = "m">}}
    kern.call @b {id = 1 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 9, slot = "m">]}
  }
}

// -----

// The first block has no block before it.

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
    // expected-error @below {{expected blocks of call 0 that keep what all its blocks read, got #kern.share<buffer = "saved.m", call = 0, slot = "m", back = 1>}}
    kern.call @b {id = 1 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m", back = 1>]}
  }
}

// -----

// What the first block keeps lies where the blocks behind would, or there is no one place that moves: @g keeps m 1024 bytes
// below z, and blocks of @f keep 1024 bytes each, from 2048 on.

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @g module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  %z = kern.saved_buffer "z" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @b module "" phase "backward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 1 {
    kern.call @g {id = 0 : i64}
  }
  kern.blocks first 1 count 2 {
    kern.call @f {id = 1 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 1 count 2 {
    // expected-error @below {{expected blocks of call 1 that keep what all its blocks read, got #kern.share<buffer = "saved.m", call = 1, slot = "m", back = 1, before = 0>}}
    kern.call @b {id = 2 : i64, partner = 1 : i64, shares = [#kern.share<buffer = "saved.m", call = 1, slot = "m", back = 1, before = 0>]}
  }
}

// -----

// More blocks read than keep.

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @n module "" phase "forward" choice "" tensors [] {
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
  kern.blocks first 1 count 2 {
    kern.call @n {id = 1 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 1 count 2 {
    // expected-error @below {{expected blocks of call 0 that keep what all its blocks read, got #kern.share<buffer = "saved.m", call = 0, slot = "m", back = 1>}}
    kern.call @b {id = 2 : i64, partner = 1 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m", back = 1>]}
  }
}
