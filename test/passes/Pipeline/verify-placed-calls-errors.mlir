// RUN: evo-opt %s --kern-verify-placed --split-input-file --verify-diagnostics

// Calls and names.

kern.tensor @z offset 0 : tensor<5x5x8xf32>
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    // expected-error @below {{expected a frame offset; run kern-place first}}
    kern.call @p 
  }
}

// -----

kern.tensor @z offset 0 : tensor<5x5x8xf32>
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    // expected-error @below {{expected a frame offset that is a multiple of 512, got 1000}}
    kern.call @p frame 1000
  }
}

// -----

kern.tensor @z offset 0 : tensor<5x5x8xf32>
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    // expected-error @below {{expected bytes apart from those of @z, [0, 1024), got [512, 2048)}}
    kern.call @p frame 512
  }
}

// -----

kern.tensor @z offset 0 : tensor<5x5x8xf32>
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    // expected-error @below {{expected a procedure, got @q}}
    kern.call @q frame 1024
  }
}

// -----

kern.tensor @z offset 0 : tensor<5x5x8xf32>
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
kern.program "forward" inputs [] outputs [@z] {
  kern.blocks first 0 count 1 {
    // expected-error @below {{expected a procedure, got @z}}
    kern.call @z frame 1024
  }
}

// -----

kern.tensor @z offset 0 : tensor<5x5x8xf32>
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<8x32xf32, 32>
  %b = kern.alloc "b" offset 1024 : !kern.buffer<4x32xf32, 32>
  kern.free %a : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<4x32xf32, 32>
  kern.return []
}
// expected-error @below {{expected a tensor, got @m}}
kern.program "forward" inputs [] outputs [@m] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}

// -----

kern.tensor @z offset 0 : tensor<5x5x8xf32>
kern.procedure @p module "" phase "forward" choice "" tensors [@z] frame 1536 {
  // expected-error @below {{expected a tensor, got @m}}
  %m = kern.tensor_buffer @m : !kern.buffer<5x5x8xf32, 8>
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
  // expected-error @below {{expected a buffer of 'tensor<5x5x8xf32>', got '!kern.buffer<5x5x9xf32, 9>'}}
  %m = kern.tensor_buffer @z : !kern.buffer<5x5x9xf32, 9>
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
