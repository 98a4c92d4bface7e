// RUN: evo-opt %s --kern-verify-placed --split-input-file --verify-diagnostics

// Kept tensors: their places within a procedure, of the calls over all blocks, and where the backward calls look for them.
// What @f keeps is 640 bytes, 1024 aligned.

kern.procedure @f module "" phase "forward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  // expected-error @below {{expected an offset; run kern-place first}}
  %m = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}

// -----

kern.procedure @f module "" phase "forward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  // expected-error @below {{expected an offset that is a multiple of 512, got 100}}
  %m = kern.saved_buffer "m" offset 100 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}

// -----

kern.procedure @f module "" phase "forward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %z = kern.saved_buffer "z" offset 0 : !kern.buffer<4x5x8xf32, 8>
  // expected-error @below {{expected bytes apart from those of @z, [0, 640), got [512, 1152)}}
  %m = kern.saved_buffer "m" offset 512 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}

// -----

kern.tensor @m offset 0 : tensor<4x5x8xf32>
kern.procedure @f module "" phase "forward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %m = kern.saved_buffer "m" offset 0 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected bytes apart from those of @m, [0, 1024), got [512, 2560)}}
    kern.call @f frame 8192 {saved_offset = 512 : i64, saved_stride = 1024 : i64}
  }
}

// -----

kern.tensor @m offset 0 : tensor<4x5x8xf32>
kern.procedure @f module "" phase "forward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %m = kern.saved_buffer "m" offset 0 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected a saved offset and stride that are multiples of 512, got 1000 and 1024}}
    kern.call @f frame 8192 {saved_offset = 1000 : i64, saved_stride = 1024 : i64}
  }
}

// -----

kern.tensor @m offset 0 : tensor<4x5x8xf32>
kern.procedure @f module "" phase "forward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %m = kern.saved_buffer "m" offset 0 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected a saved offset and stride that are multiples of 512, got 1024 and 1000}}
    kern.call @f frame 8192 {saved_offset = 1024 : i64, saved_stride = 1000 : i64}
  }
}

// -----

kern.tensor @m offset 0 : tensor<4x5x8xf32>
kern.procedure @f module "" phase "forward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %m = kern.saved_buffer "m" offset 0 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 3 {
    // expected-error @below {{expected a saved offset and stride that are multiples of 512, got 1024 and 4611686018427387904}}
    kern.call @f frame 8192 {saved_offset = 1024 : i64, saved_stride = 4611686018427387904 : i64}
  }
}

// -----

kern.tensor @m offset 0 : tensor<4x5x8xf32>
kern.procedure @f module "" phase "forward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %m = kern.saved_buffer "m" offset 0 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  // expected-error @below {{expected saved strides of at least the 1024 bytes that a block keeps, got 512}}
  kern.blocks first 0 count 2 {
    kern.call @f frame 8192 {saved_offset = 1024 : i64, saved_stride = 512 : i64}
  }
}

// -----

kern.tensor @m offset 0 : tensor<4x5x8xf32>
kern.procedure @f module "" phase "forward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %m = kern.saved_buffer "m" offset 0 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f frame 8192 {saved_offset = 1024 : i64, saved_stride = 2048 : i64}
    // expected-error @below {{expected a saved offset of at least 2048, behind what is kept before, got 1536}}
    kern.call @f frame 8192 {saved_offset = 1536 : i64, saved_stride = 2048 : i64}
  }
}

// -----

kern.tensor @m offset 0 : tensor<4x5x8xf32>
kern.procedure @f module "" phase "forward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %m = kern.saved_buffer "m" offset 0 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f frame 8192 {saved_offset = 1024 : i64, saved_stride = 2048 : i64}
    // expected-error @below {{expected the saved stride of the calls before, 2048, got 4096}}
    kern.call @f frame 8192 {saved_offset = 2048 : i64, saved_stride = 4096 : i64}
  }
}
