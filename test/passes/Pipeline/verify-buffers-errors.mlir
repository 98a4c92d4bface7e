// RUN: evo-opt %s --kern-verify-buffers --split-input-file --verify-diagnostics

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  // expected-error @below {{is never freed}}
  %a = kern.alloc "a" : !kern.buffer<4x8xf32, 8>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<4x8xf32, 8>
  kern.free %a : !kern.buffer<4x8xf32, 8>
  // expected-error @below {{frees a buffer that was freed already}}
  kern.free %a : !kern.buffer<4x8xf32, 8>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<4x8xf32, 8>
  kern.loop 0 axis "s" extent 4 size 2 {
    // expected-error @below {{stands in another block than the alloc of its buffer}}
    kern.free %a : !kern.buffer<4x8xf32, 8>
  }
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<4x8xf32, 8>
  %x = kern.view %a start [0, 0] loops [-1, -1] extent [4, 8] loops [-1, -1] order [0, 1] version 1 : !kern.buffer<4x8xf32, 8> -> !kern.view<4x8xf32>
  %y = kern.view %a start [0, 0] loops [-1, -1] extent [4, 8] loops [-1, -1] order [0, 1] version 2 : !kern.buffer<4x8xf32, 8> -> !kern.view<4x8xf32>
  kern.free %a : !kern.buffer<4x8xf32, 8>
  // expected-error @below {{uses a buffer behind its free}}
  kern.launch "softmax"(%x, %y) present [true, true] {settings = {}} : !kern.view<4x8xf32>, !kern.view<4x8xf32>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<4x8xf32, 8>
  kern.free %a : !kern.buffer<4x8xf32, 8>
  kern.loop 0 axis "s" extent 4 size 2 {
    %x = kern.view %a start [0, 0] loops [-1, -1] extent [4, 8] loops [-1, -1] order [0, 1] version 1 : !kern.buffer<4x8xf32, 8> -> !kern.view<4x8xf32>
    %y = kern.view %a start [0, 0] loops [-1, -1] extent [4, 8] loops [-1, -1] order [0, 1] version 2 : !kern.buffer<4x8xf32, 8> -> !kern.view<4x8xf32>
    // expected-error @below {{uses a buffer behind its free}}
    kern.launch "softmax"(%x, %y) present [true, true] {settings = {}} : !kern.view<4x8xf32>, !kern.view<4x8xf32>
  }
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<4x8xf32, 8>
  kern.loop 0 axis "s" extent 4 size 2 {
  }
  // expected-error @below {{names loop 0, which is not around it}}
  %x = kern.view %a start [0, 0] loops [0, -1] extent [4, 8] loops [-1, -1] order [0, 1] version 1 : !kern.buffer<4x8xf32, 8> -> !kern.view<4x8xf32>
  kern.free %a : !kern.buffer<4x8xf32, 8>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  %a = kern.alloc "a" : !kern.buffer<4x8xf32, 8>
  // expected-error @below {{names loop 3, which is not around it}}
  %x = kern.view %a start [0, 0] loops [-1, -1] extent [4, 8] loops [3, -1] order [0, 1] version 1 : !kern.buffer<4x8xf32, 8> -> !kern.view<4x8xf32>
  kern.free %a : !kern.buffer<4x8xf32, 8>
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  kern.loop 0 axis "s" extent 4 size 2 {
  }
  // expected-error @below {{has the id of another loop, 0}}
  kern.loop 0 axis "s" extent 4 size 2 {
  }
  kern.return []
}

// -----

kern.procedure @p module "" phase "forward" choice "" tensors [] {
  // expected-error @below {{is not of the buffer level}}
  %w = kern.weight "w" parts ["w"] rows [4] : tensor<4xf32>
  kern.return []
}

// -----

// expected-error @below {{expected no block arguments at the buffer level, got 1}}
kern.procedure @p module "" phase "forward" choice "" tensors [@z] {
^bb0(%z: tensor<4xf32>):
  kern.return []
}
