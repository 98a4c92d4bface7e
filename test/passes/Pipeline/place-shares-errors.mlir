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
    // expected-error @below {{expected a call before it that keeps 'z', got #kern.share<buffer = "saved.m", call = 0, slot = "z">}}
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
    // expected-error @below {{expected a call before it that keeps 'm', got #kern.share<buffer = "saved.m", call = 9, slot = "m">}}
    kern.call @b {id = 1 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 9, slot = "m">]}
  }
}

// -----

// A call that runs behind: call 1 has not kept anything yet.

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
    // expected-error @below {{expected a call before it that keeps 'm', got #kern.share<buffer = "saved.m", call = 1, slot = "m">}}
    kern.call @b {id = 2 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 1, slot = "m">]}
    kern.call @f {id = 1 : i64}
  }
}

// -----

// A block that runs behind: backward, block 0 comes after block 1.

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
    kern.call @f {id = 1 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 1 count 1 {
    // expected-error @below {{expected a call before it that keeps 'm', got #kern.share<buffer = "saved.m", call = 2, slot = "m">}}
    kern.call @b {id = 3 : i64, partner = 1 : i64, shares = [#kern.share<buffer = "saved.m", call = 2, slot = "m">]}
  }
  kern.blocks first 0 count 1 {
    kern.call @f {id = 2 : i64}
    kern.call @b {id = 4 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">]}
  }
}

// -----

// A call of several blocks is looked for in the reader's block: call 0 has none in block 2.

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
  kern.blocks first 2 count 1 {
    kern.call @f {id = 1 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 2 count 1 {
    // expected-error @below {{expected a call before it that keeps 'm', got #kern.share<buffer = "saved.m", call = 0, slot = "m">}}
    kern.call @b {id = 2 : i64, partner = 1 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">]}
  }
}

// -----

// Places of a run move by the same distance from block to block. Nobody reads what block 1 keeps, so that block 2's lies in its
// place: 0, 1024, 1024.

kern.procedure @f module "" phase "forward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @b module "" phase "backward" choice "" tensors [] {
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 3 {
    // expected-error @below {{expected blocks that lie at equal distances; give each its own kern.blocks}}
    kern.call @f {id = 0 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 2 count 1 {
    kern.call @b {id = 1 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">]}
  }
  kern.blocks first 0 count 1 {
    kern.call @b {id = 2 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">]}
  }
}
