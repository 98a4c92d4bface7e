// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Buffers, views, loops and launches.

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

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  // expected-error @below {{expected 2 entries an axis list}}
  %v = kern.view %a start [0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  // expected-error @below {{expected order to be a permutation of 2 axes}}
  %v = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [0, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  // expected-error @below {{expected [start, start + extent) of axis 1 within 7, got start 4 and extent 4}}
  %v = kern.view %a start [0, 4] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  // expected-error @below {{expected [start, start + extent) of axis 0 within 5, got start -1 and extent 5}}
  %v = kern.view %a start [-1, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  // expected-error @below {{expected [start, start + extent) of axis 0 within 5, got start 0 and extent 0}}
  %v = kern.view %a start [0, 0] loops [-1, -1] extent [0, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x0xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  // expected-error @below {{expected result '!kern.view<4x5xf32>', got '!kern.view<5x4xf32>'}}
  %v = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<5x4xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  %v = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  %y = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  // expected-error @below {{expected a kernel of Kernels.def, got "gelu"}}
  kern.launch "gelu"(%v, %y) present [true, true] {settings = {}} : !kern.view<4x5xf32>, !kern.view<4x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  %v = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  %y = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  // expected-error @below {{expected 2 presence flags and an operand a true one}}
  kern.launch "softmax"(%v, %y) present [true] {settings = {}} : !kern.view<4x5xf32>, !kern.view<4x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  %v = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  %y = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  // expected-error @below {{expected 2 presence flags and an operand a true one}}
  kern.launch "softmax"(%v, %y) present [true, false] {settings = {}} : !kern.view<4x5xf32>, !kern.view<4x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  %v = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  %y = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  // expected-error @below {{expected eps > 0, got none}}
  kern.launch "outer_product_norm"(%v, %v, %y) present [true, true, true] {settings = {}} : !kern.view<4x5xf32>, !kern.view<4x5xf32>, !kern.view<4x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  %v = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  %y = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  // expected-error @below {{expected eps > 0, got 1 : i64}}
  kern.launch "outer_product_norm"(%v, %v, %y) present [true, true, true] {settings = {eps = 1 : i64}} : !kern.view<4x5xf32>, !kern.view<4x5xf32>, !kern.view<4x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  %v = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  %y = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  // expected-error @below {{kernel 'outer_product_norm' operand 'y': expected extent 5 on axis 'i', got shape [4, 5]}}
  kern.launch "outer_product_norm"(%v, %v, %y) present [true, true, true] {settings = {eps = 1.0 : f64}} : !kern.view<4x5xf32>, !kern.view<4x5xf32>, !kern.view<4x5xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<5x7xf32, 8>
  %v = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  %y = kern.view %a start [0, 0] loops [-1, -1] extent [5, 4] loops [-1, -1] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>
  // expected-error @below {{kernel 'softmax': expected operand 'x', got none}}
  kern.launch "softmax"(%y) present [false, true] {settings = {}} : !kern.view<4x5xf32>
  kern.return []
}
