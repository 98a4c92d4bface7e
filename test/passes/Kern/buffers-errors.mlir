// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Types, buffers and loops.

// expected-error @below {{expected a pitch of at least the innermost extent 17, got 16}}
"test.type"() {type = !kern.buffer<4x17xf32, 16>} : () -> ()

// -----

// expected-error @below {{expected at least one axis and extents of at least 1}}
"test.type"() {type = !kern.buffer<0x17xf32, 20>} : () -> ()

// -----

// expected-error @below {{expected elements of f64, f32, f16 or bf16, got 'i32'}}
"test.type"() {type = !kern.buffer<4x17xi32, 20>} : () -> ()

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  // expected-error @below {{expected dense rows of 17, got a pitch of 20}}
  %b = kern.tensor_buffer @z : !kern.buffer<4x17xf32, 20>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  // expected-error @below {{expected dense rows of 17, got a pitch of 20}}
  %b = kern.weight_buffer "w" parts ["w"] rows [4] : !kern.buffer<4x17xf32, 20>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  // expected-error @below {{expected rows of 1 parts to sum to the first axis of '!kern.buffer<4x17xf32, 17>', got 3}}
  %b = kern.weight_buffer "w" parts ["w"] rows [3] : !kern.buffer<4x17xf32, 17>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  // expected-error @below {{expected parts of at least 1 row, got 0}}
  %b = kern.weight_buffer "w" parts ["v", "w"] rows [0, 4] : !kern.buffer<4x17xf32, 17>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %b = kern.tensor_buffer @z : !kern.buffer<4xf32, 4>
  // expected-error @below {{expected a buffer of kern.alloc}}
  kern.free %b : !kern.buffer<4xf32, 4>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  // expected-error @below {{expected an id of at least 0, got -1}}
  kern.loop -1 axis "s" extent 7 size 4 {
  }
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  // expected-error @below {{expected extent and size of at least 1}}
  kern.loop 0 axis "s" extent 7 size 0 {
  }
  kern.return []
}
