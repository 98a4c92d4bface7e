// RUN: evo-opt %s --kern-verify-placed --split-input-file --verify-diagnostics

// Offsets in frames and of tensors. What is right but for the one edit: z has 800 bytes, a 1024 and b 512.

kern.tensor @z offset 0 : tensor<5x5x8xf32>
// expected-error @below {{expected frame_bytes; run kern-place first}}
kern.procedure @p module "" phase "forward" choice "" tensors [@z] {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}

// -----

kern.tensor @z offset 0 : tensor<5x5x8xf32>
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  // expected-error @below {{expected an offset; run kern-place first}}
  %a = kern.alloc "a" : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}

// -----

kern.tensor @z offset 0 : tensor<5x5x8xf32>
// expected-error @below {{buffers 0 and 1: expected no overlap while both are alive, got [0, 1024) and [512, 1024)}}
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 512 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}

// -----

kern.tensor @z offset 0 : tensor<5x5x8xf32>
// expected-error @below {{buffer 1: expected an offset that is a multiple of 512, got 1000}}
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1000 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}

// -----

kern.tensor @z offset 0 : tensor<5x5x8xf32>
// expected-error @below {{height: expected 1536, got 1024}}
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1024 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}

// -----

// expected-error @below {{expected an offset; run kern-place first}}
kern.tensor @z : tensor<5x5x8xf32>
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}

// -----

// expected-error @below {{expected an offset that is a multiple of 512, got 100}}
kern.tensor @z offset 100 : tensor<5x5x8xf32>
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}

// -----

kern.tensor @z offset 0 : tensor<5x5x8xf32>
// expected-error @below {{expected bytes apart from those of @z, [0, 1024), got [512, 1024)}}
kern.tensor @mask offset 512 : tensor<5x5xf32>
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}
