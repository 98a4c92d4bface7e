// RUN: evo-opt %s --kern-place --kern-verify-placed | FileCheck %s

// Offsets are multiples of 512. Tensors: @z is 5 5 8 4 = 800 bytes -> 1024; @mask 5 5 4 = 100 -> 512; frames begin at 1536.
// CHECK: kern.tensor @z offset 0 : tensor<5x5x8xf32>
// CHECK: kern.tensor @mask offset 1024 : tensor<5x5xf32>
kern.tensor @z : tensor<5x5x8xf32>
kern.tensor @mask : tensor<5x5xf32>

// Lifetimes (a: 1-4, b: 2-6, c: 5-7 in steps) and bytes: a 2048, b 512, c 1024. a and b live together: 2560, the most that
// ever does. c comes when a is gone and fits in its place.
// CHECK-LABEL: kern.procedure @p
// CHECK-SAME: frame 2560 {
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] {
  // CHECK: kern.alloc "a" offset 0 : !kern.buffer<16x32xf32, 32>
  %a = kern.alloc "a" : !kern.buffer<16x32xf32, 32>
  // CHECK: kern.alloc "b" offset 2048 : !kern.buffer<5x5xf32, 8>
  %b = kern.alloc "b" : !kern.buffer<5x5xf32, 8>
  kern.free %a : !kern.buffer<16x32xf32, 32>
  // CHECK: kern.alloc "c" offset {{0|512|1024}} : !kern.buffer<8x32xf32, 32>
  %c = kern.alloc "c" : !kern.buffer<8x32xf32, 32>
  kern.free %b : !kern.buffer<5x5xf32, 8>
  kern.free %c : !kern.buffer<8x32xf32, 32>
  kern.return []
}

// What lives over a loop lies apart from what the loop's body has; two of the body's that follow one another share:
// 1536 + 1536. The last row of a buffer has no padding: 3 rows of 100 in 128 are (2 128 + 100) 4 = 1424 -> 1536.
// CHECK-LABEL: kern.procedure @loop
// CHECK-SAME: frame 3072 {
kern.procedure @loop module "loop" phase "forward" choice "" tensors [] {
  // CHECK: kern.alloc "over" offset [[OVER:[0-9]+]]
  %o = kern.alloc "over" : !kern.buffer<3x100xf32, 128>
  kern.loop 0 axis "s" extent 4 size 2 {
    // CHECK: kern.alloc "first" offset [[BODY:[0-9]+]]
    %f = kern.alloc "first" : !kern.buffer<3x100xf32, 128>
    kern.free %f : !kern.buffer<3x100xf32, 128>
    // CHECK: kern.alloc "second" offset [[BODY]]
    %s = kern.alloc "second" : !kern.buffer<3x100xf32, 128>
    kern.free %s : !kern.buffer<3x100xf32, 128>
  }
  kern.free %o : !kern.buffer<3x100xf32, 128>
  kern.return []
}

// CHECK-LABEL: kern.procedure @nothing
// CHECK-SAME: frame 0 {
kern.procedure @nothing module "nothing" phase "forward" choice "" tensors [] {
  kern.return []
}

// CHECK: kern.call @p frame 1536
// CHECK: kern.call @loop frame 1536
kern.program "forward" inputs [@z, @mask] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p
    kern.call @loop
    kern.call @nothing
  }
}
