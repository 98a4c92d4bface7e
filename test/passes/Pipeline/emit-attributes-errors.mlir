// RUN: evo-opt %s --kern-emit-plan --split-input-file --verify-diagnostics > /dev/null

// Entries that the module's attributes must have.

// expected-error @below {{the module has no model; run evo-lower-to-kern first}}
module attributes {kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
}

// -----

// expected-error @below {{the module has no target; run evo-choose-policy first}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}} {
kern.tensor @z offset 0 : tensor<5x5x6xf32>
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] frame 0 {
  kern.return []
}
kern.program "forward" inputs [@z] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}
}

// -----

// expected-error @below {{expected a text 'name' in kern.model of the module}}
module attributes {kern.model = {stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
}

// -----

// expected-error @below {{expected a text 'stack' in kern.model of the module}}
module attributes {kern.model = {name = "t", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
}

// -----

// expected-error @below {{expected a 64-bit integer 'blocks' in kern.model of the module}}
module attributes {kern.model = {name = "t", stack = "template_pair", precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
}

// -----

// expected-error @below {{expected a dictionary 'sizes' in kern.model of the module}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
}

// -----

// expected-error @below {{expected a dictionary 'channels' in kern.model of the module}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
}

// -----

// expected-error @below {{expected a 64-bit integer 'r' in kern.model.sizes of the module}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = "5"}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
}

// -----

// expected-error @below {{expected a text 'policy' in kern.target of the module}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
kern.tensor @z offset 0 : tensor<5x5x6xf32>
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] frame 0 {
  kern.return []
}
kern.program "forward" inputs [@z] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}
}

// -----

// expected-error @below {{expected a text 'profile' in kern.target of the module}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
kern.tensor @z offset 0 : tensor<5x5x6xf32>
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] frame 0 {
  kern.return []
}
kern.program "forward" inputs [@z] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}
}

// -----

// expected-error @below {{expected a text 'backend' in kern.target of the module}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", budget_bytes = 20000 : i64, library_bytes = 0 : i64}} {
kern.tensor @z offset 0 : tensor<5x5x6xf32>
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] frame 0 {
  kern.return []
}
kern.program "forward" inputs [@z] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}
}

// -----

// expected-error @below {{expected a 64-bit integer 'budget_bytes' in kern.target of the module}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", library_bytes = 0 : i64}} {
kern.tensor @z offset 0 : tensor<5x5x6xf32>
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] frame 0 {
  kern.return []
}
kern.program "forward" inputs [@z] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}
}

// -----

// expected-error @below {{expected a 64-bit integer 'library_bytes' in kern.target of the module}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64}} {
kern.tensor @z offset 0 : tensor<5x5x6xf32>
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] frame 0 {
  kern.return []
}
kern.program "forward" inputs [@z] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}
}

// -----

// expected-error @below {{kern.target: products.series: expected at least one class of products, got an array of 0}}
module attributes {kern.model = {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}}, kern.target = {policy = "p", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64, products = "{\22library\22:\22l 1\22,\22ways\22:[],\22series\22:[]}"}} {
kern.tensor @z offset 0 : tensor<5x5x6xf32>
kern.procedure @p module "p" phase "forward" choice "" tensors [@z] frame 0 {
  kern.return []
}
kern.program "forward" inputs [@z] outputs [@z] {
  kern.blocks first 0 count 1 {
    kern.call @p frame 1024
  }
}
}
