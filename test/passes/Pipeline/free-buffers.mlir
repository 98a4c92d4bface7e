// RUN: evo-opt %s --kern-free-buffers | FileCheck %s

// CHECK-LABEL: kern.procedure @frees
kern.procedure @frees module "" phase "forward" choice "" tensors [@z] {
  %z = kern.tensor_buffer @z : !kern.buffer<4x8xf32, 8>
  // CHECK: %[[UNUSED:.*]] = kern.alloc "unused"
  // CHECK-NEXT: kern.free %[[UNUSED]]
  %u = kern.alloc "unused" : !kern.buffer<4x8xf32, 8>
  // CHECK-NEXT: %[[A:.*]] = kern.alloc "a"
  %a = kern.alloc "a" : !kern.buffer<4x8xf32, 8>
  // CHECK-NEXT: %[[OUT:.*]] = kern.alloc "outside"
  %o = kern.alloc "outside" : !kern.buffer<4x8xf32, 8>
  %z0 = kern.view %z start [0, 0] loops [-1, -1] extent [4, 8] loops [-1, -1] order [0, 1] version 0 : !kern.buffer<4x8xf32, 8> -> !kern.view<4x8xf32>
  %a1 = kern.view %a start [0, 0] loops [-1, -1] extent [4, 8] loops [-1, -1] order [0, 1] version 1 : !kern.buffer<4x8xf32, 8> -> !kern.view<4x8xf32>
  %o1 = kern.view %o start [0, 0] loops [-1, -1] extent [4, 8] loops [-1, -1] order [0, 1] version 1 : !kern.buffer<4x8xf32, 8> -> !kern.view<4x8xf32>
  kern.launch "softmax"(%z0, %a1) present [true, true] {settings = {}} : !kern.view<4x8xf32>, !kern.view<4x8xf32>
  // Right behind the last reader, not at the end.
  // CHECK: kern.launch
  // CHECK-NEXT: kern.launch "softmax"
  // CHECK-NEXT: kern.free %[[A]] : !kern.buffer<4x8xf32, 8>
  // CHECK-NEXT: kern.loop 0
  kern.launch "softmax"(%a1, %o1) present [true, true] {settings = {}} : !kern.view<4x8xf32>, !kern.view<4x8xf32>
  kern.loop 0 axis "s" extent 4 size 2 {
    // Of the iteration: freed in it. Of the procedure: read by every iteration, freed behind the loop.
    // CHECK-NEXT: %[[IN:.*]] = kern.alloc "inside"
    %i = kern.alloc "inside" : !kern.buffer<2x8xf32, 8>
    %os = kern.view %o start [0, 0] loops [0, -1] extent [2, 8] loops [0, -1] order [0, 1] version 1 : !kern.buffer<4x8xf32, 8> -> !kern.view<2x8xf32>
    %is = kern.view %i start [0, 0] loops [-1, -1] extent [2, 8] loops [0, -1] order [0, 1] version 1 : !kern.buffer<2x8xf32, 8> -> !kern.view<2x8xf32>
    %zs = kern.view %z start [0, 0] loops [0, -1] extent [2, 8] loops [0, -1] order [0, 1] version 1 : !kern.buffer<4x8xf32, 8> -> !kern.view<2x8xf32>
    kern.launch "softmax"(%os, %is) present [true, true] {settings = {}} : !kern.view<2x8xf32>, !kern.view<2x8xf32>
    // CHECK: kern.launch
    // CHECK: kern.launch
    // CHECK-NEXT: kern.free %[[IN]]
    // CHECK-NEXT: {{^ *[}]$}}
    // CHECK-NEXT: kern.free %[[OUT]]
    // CHECK-NEXT: kern.return []
    kern.launch "softmax"(%is, %zs) present [true, true] {settings = {}} : !kern.view<2x8xf32>, !kern.view<2x8xf32>
  }
  kern.return []
}
