// RUN: evo-opt %s --evo-verify-chosen --split-input-file --verify-diagnostics

// Modules that share a loop keep what enters it and have no slices of their own, forward or backward.

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) attributes {runs = [#evo.run<first = 0, count = 2, axis = s, size = 2>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    // expected-error @below {{expected a choice without slices that keeps no more than its input, in a run with slices, got #evo.choice<keep = all>}}
    %2 = evo.transition m %1 mask %mask {prefix = "b", choice = #evo.choice<keep = all>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %2 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) attributes {runs = [#evo.run<first = 0, count = 2, axis = s, size = 2>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{in a run with slices, got #evo.choice<axis = s, size = 2, keep = input>}}
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<axis = s, size = 2, keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %2 = evo.transition m %1 mask %mask {prefix = "b", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %2 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) attributes {runs = [#evo.run<first = 0, count = 2, axis = s, size = 2>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    // expected-error @below {{in a run with slices, got #evo.choice<keep = input, backward_axis = s, backward_size = 2>}}
    %2 = evo.transition m %1 mask %mask {prefix = "b", choice = #evo.choice<keep = input, backward_axis = s, backward_size = 2>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %2 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// What a recompute group computes again keeps as in training without one.

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) attributes {runs = [#evo.run<first = 0, count = 1>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{expected a choice that keeps its input or all in training, got keep = nothing}}
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// What is kept of a forward is what a backward of the same kernels reads, of whole tensors.

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{expected one kernel variant and no slices where results are kept (C6), got '#evo.choice<keep = all, backward_axis = s, backward_size = 2>'}}
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = all, backward_axis = s, backward_size = 2>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{expected one kernel variant and no slices where results are kept (C6), got '#evo.choice<axis = s, size = 2, keep = products>'}}
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<axis = s, size = 2, keep = products>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{expected one kernel variant and no slices where results are kept (C6), got '#evo.choice<variant = plain, keep = mixing>'}}
    %1 = evo.msa_column_attention %x, %mask {prefix = "c", choice = #evo.choice<variant = plain, keep = mixing>, heads = 2 : i64, head_dim = 4 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// In a run with slices no results are kept, whichever.

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) attributes {runs = [#evo.run<first = 0, count = 2, axis = s, size = 2>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    // expected-error @below {{in a run with slices, got #evo.choice<keep = mixing>}}
    %2 = evo.transition m %1 mask %mask {prefix = "b", choice = #evo.choice<keep = mixing>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %2 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}
