// RUN: evo-opt %s --kern-emit-plan --split-input-file --verify-diagnostics > /dev/null

// What makes no plan.

// expected-error @below {{the module has no kern.program}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
kern.tensor @z offset 0 : tensor<5x5x6xf32>
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] frame 0 {
  kern.return []
}
}

// -----

// expected-error @below {{weight 'w' is used with different shapes or parts}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
kern.tensor @z offset 0 : tensor<5x5x6xf32>
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] frame 0 {
  %a = kern.weight_buffer "w" parts ["a", "b"] rows [2, 2] : !kern.buffer<4x6xf32, 6>
  kern.return []
}
kern.procedure @q module "q" phase "forward" choice "" tensors [@z] frame 0 {
  %a = kern.weight_buffer "w" parts ["a", "c"] rows [2, 2] : !kern.buffer<4x6xf32, 6>
  kern.return []
}
kern.program "forward" inputs [@z] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}
}

// -----

// The plan verifier reads what was made and refuses: a softmax reads what nothing wrote.
// expected-error @below {{procedures[0].steps[1].operands.x}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
kern.tensor @z offset 0 : tensor<5x5x6xf32>
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] frame 1024 {
  %z = kern.tensor_buffer @z : !kern.buffer<5x5x6xf32, 6>
  %a = kern.alloc "a" offset 0 : !kern.buffer<5x5x6xf32, 8>
  %x = kern.view %a start [0, 0, 0] loops [-1, -1, -1] extent [5, 5, 6] loops [-1, -1, -1] order [0, 1, 2] version 1 : !kern.buffer<5x5x6xf32, 8> -> !kern.view<5x5x6xf32>
  %y = kern.view %z start [0, 0, 0] loops [-1, -1, -1] extent [5, 5, 6] loops [-1, -1, -1] order [0, 1, 2] version 1 : !kern.buffer<5x5x6xf32, 6> -> !kern.view<5x5x6xf32>
  kern.launch "softmax"(%x, %y) present [true, true] {settings = {}} : !kern.view<5x5x6xf32>, !kern.view<5x5x6xf32>
  kern.free %a : !kern.buffer<5x5x6xf32, 8>
  kern.return []
}
kern.program "forward" inputs [@z] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}
}

// -----

// 2^63 bytes of arena in a frame that begins behind z.
// expected-error @below {{the arena has more than 2^63 bytes}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}} {
kern.tensor @z offset 0 : tensor<5x5x6xf32>
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] frame 9223372036854775296 {
  kern.return []
}
kern.program "forward" inputs [@z] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}
}

// -----

// expected-error @below {{the weights have more than 2^63 bytes}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}} {
kern.procedure @p module "p" phase "forward" choice "" tensors [] frame 0 {
  %a = kern.weight_buffer "a" parts ["a"] rows [1073741824] : !kern.buffer<1073741824x1073741824xf32, 1073741824>
  %b = kern.weight_buffer "b" parts ["b"] rows [1073741824] : !kern.buffer<1073741824x1073741824xf32, 1073741824>
  kern.return []
}
}

// -----

// One block's weights fit, three blocks' do not.
// expected-error @below {{the plan has more than 2^63 bytes}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 3 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
kern.procedure @p module "p" phase "forward" choice "" tensors [] frame 0 {
  %a = kern.weight_buffer "a" parts ["a"] rows [1073741824] : !kern.buffer<1073741824x1073741824xf32, 1073741824>
  kern.return []
}
kern.program "forward" inputs [] outputs [] {
}
}
