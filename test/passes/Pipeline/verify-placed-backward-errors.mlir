// RUN: evo-opt %s --kern-verify-placed --split-input-file --verify-diagnostics

// Segments beside kept tensors, bindings of backward calls and gradients. What @f keeps is 640 bytes, 1024 aligned.

kern.tensor @m offset 0 : tensor<4x5x8xf32>
kern.procedure @f module "" phase "forward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %m = kern.saved_buffer "m" offset 0 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f frame 8192 {saved_offset = 1024 : i64, saved_stride = 1024 : i64}
  }
  kern.blocks first 2 count 1 {
    // expected-error @below {{expected a saved offset of at least 3072, behind what is kept before, got 2048}}
    kern.call @f frame 8192 {saved_offset = 2048 : i64, saved_stride = 1024 : i64}
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
kern.procedure @b module "" phase "backward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %m = kern.saved_buffer "m" offset 0 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f frame 8192 {saved_offset = 1024 : i64, saved_stride = 1024 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected a binding of kept tensor 'm', got none}}
    kern.call @b frame 8192 {bindings = [#kern.binding<buffer = "saved.z", offset = 1024, stride = 1024>]}
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
kern.procedure @b module "" phase "backward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %m = kern.saved_buffer "m" offset 0 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f frame 8192 {saved_offset = 1024 : i64, saved_stride = 1024 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected bindings at multiples of 512, got #kern.binding<buffer = "saved.m", offset = 1000, stride = 1024>}}
    kern.call @b frame 8192 {bindings = [#kern.binding<buffer = "saved.m", offset = 1000, stride = 1024>]}
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
kern.procedure @b module "" phase "backward" choice "" tensors [] frame 512 {
  %a = kern.alloc "a" offset 0 : !kern.buffer<128xf32, 128>
  kern.free %a : !kern.buffer<128xf32, 128>
  %m = kern.saved_buffer "m" offset 0 : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    kern.call @f frame 8192 {saved_offset = 1024 : i64, saved_stride = 1024 : i64}
  }
}
kern.program "backward" inputs [] outputs [] {
  kern.blocks first 0 count 2 {
    // expected-error @below {{expected bindings at multiples of 512, got #kern.binding<buffer = "saved.m", offset = 1024, stride = 1000>}}
    kern.call @b frame 8192 {bindings = [#kern.binding<buffer = "saved.m", offset = 1024, stride = 1000>]}
  }
}

// -----

kern.tensor @m offset 0 : tensor<4x5x8xf32>
// expected-error @below {{expected the type and offset of @m, got 'tensor<4x5x8xf32>' at 1024}}
kern.tensor @dm in @m offset 1024 : tensor<4x5x8xf32>

// -----

kern.tensor @m offset 0 : tensor<4x5x8xf32>
// expected-error @below {{expected the type and offset of @m, got 'tensor<4x5x4xf32>' at 0}}
kern.tensor @dm in @m offset 0 : tensor<4x5x4xf32>

// -----

// expected-error @below {{expected the type and offset of @m, got 'tensor<4x5x8xf32>' at 0}}
kern.tensor @dm in @m offset 0 : tensor<4x5x8xf32>

// -----

kern.procedure @b module "" phase "backward" choice "" tensors [] frame 0 {
  // expected-error @below {{expected the name of a weight that a procedure reads, got "w"}}
  %w = kern.gradient_buffer "w" : !kern.buffer<8xf32, 8>
  kern.return []
}

// -----

kern.procedure @f module "" phase "forward" choice "" tensors [] frame 0 {
  %w = kern.weight_buffer "w" parts ["w"] rows [8] : !kern.buffer<8x4xf32, 4>
  kern.return []
}
kern.procedure @b module "" phase "backward" choice "" tensors [] frame 0 {
  // expected-error @below {{expected the shape of its weight '!kern.buffer<8x4xf32, 4>', got '!kern.buffer<8xf32, 8>'}}
  %w = kern.gradient_buffer "w" : !kern.buffer<8xf32, 8>
  kern.return []
}
