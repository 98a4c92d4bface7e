// RUN: evo-opt %s --allow-unregistered-dialect --split-input-file --verify-diagnostics

// Views and launches.

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
