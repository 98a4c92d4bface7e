// RUN: evo-opt %s --kern-place --split-input-file --verify-diagnostics

// Calls of nothing, more bytes to keep than there can be, and slots of gradients.

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
kern.procedure @b module "" phase "backward" choice "" tensors [] {
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // 2^62 bytes a block, kept until the backward: block 1 would end at 2^63.
    // expected-error @below {{the kept tensors have more than 2^63 bytes}}
    kern.call @f {id = 0 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @b {id = 1 : i64, partner = 0 : i64}
  }
}

// -----

// A gradient lies in the slot of a stream before it, of its type.

// expected-error @below {{expected the slot of a tensor before it of the same type, got @m}}
kern.tensor @dm in @m : tensor<4x5x8xf32>
kern.tensor @m : tensor<4x5x8xf32>

// -----

kern.tensor @m : tensor<4x5x9xf32>
// expected-error @below {{expected the slot of a tensor before it of the same type, got @m}}
kern.tensor @dm in @m : tensor<4x5x8xf32>

// -----

kern.tensor @m : tensor<4x5x8xf32>
kern.tensor @dm in @m : tensor<4x5x8xf32>
// expected-error @below {{expected the slot of a tensor before it of the same type, got @dm}}
kern.tensor @ddm in @dm : tensor<4x5x8xf32>
