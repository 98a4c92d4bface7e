// RUN: evo-opt %s --evo-verify-chosen --split-input-file --verify-diagnostics

// Intervals of blocks that run forward twice: what the attribute says of itself, then what it says of its stack.

// expected-error @below {{expected a first block of at least 0 and at least 1 block, got first -1 and count 2}}
#i = #evo.recompute<first = -1, count = 2, choices = []>

// -----

// expected-error @below {{expected a first block of at least 0 and at least 1 block, got first 0 and count 0}}
#i = #evo.recompute<first = 0, count = 0, choices = []>

// -----

// Its last block would be 2^63.
// expected-error @below {{expected a first block of at least 0 and at least 1 block, got first 9223372036854775807 and count 1}}
#i = #evo.recompute<first = 9223372036854775807, count = 1, choices = []>

// -----

// The first time nothing is kept.
// expected-error @below {{expected choices that keep nothing, got #evo.choice<keep = input>}}
#i = #evo.recompute<first = 0, count = 1, choices = [#evo.choice, #evo.choice<keep = input>]>

// -----

// expected-error @below {{expected choices that keep nothing, got "fused"}}
#i = #evo.recompute<first = 0, count = 1, choices = ["fused"]>

// -----

// In inference nothing runs twice.

// expected-error @below {{expected nothing to be recomputed in inference}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "infer", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 0, count = 2, choices = [#evo.choice]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 3 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// Behind the last block.

// expected-error @below {{expected intervals of its 3 blocks in order, apart or nested, got #evo.recompute<first = 1, count = 3, choices = [#evo.choice]>}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 1, count = 3, choices = [#evo.choice]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 3 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// Out of order.

// expected-error @below {{expected intervals of its 3 blocks in order, apart or nested, got #evo.recompute<first = 0, count = 1, choices = [#evo.choice]>}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 2, count = 1, choices = [#evo.choice]>, #evo.recompute<first = 0, count = 1, choices = [#evo.choice]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 3 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// Across the end of the one before, neither apart nor nested.

// expected-error @below {{expected intervals of its 3 blocks in order, apart or nested, got #evo.recompute<first = 1, count = 2, choices = [#evo.choice]>}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 0, count = 2, choices = [#evo.choice]>, #evo.recompute<first = 1, count = 2, choices = [#evo.choice]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 3 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// The same blocks once more.

// expected-error @below {{expected intervals of its 3 blocks in order, apart or nested, got #evo.recompute<first = 0, count = 2, choices = [#evo.choice]>}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 0, count = 2, choices = [#evo.choice]>, #evo.recompute<first = 0, count = 2, choices = [#evo.choice]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 3 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// An inner one before its outer one.

// expected-error @below {{expected intervals of its 3 blocks in order, apart or nested, got #evo.recompute<first = 0, count = 2, choices = [#evo.choice]>}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 0, count = 1, choices = [#evo.choice]>, #evo.recompute<first = 0, count = 2, choices = [#evo.choice]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 3 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// Behind a nested one: across the end of the outermost.

// expected-error @below {{expected intervals of its 3 blocks in order, apart or nested, got #evo.recompute<first = 1, count = 2, choices = [#evo.choice]>}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 0, count = 2, choices = [#evo.choice]>, #evo.recompute<first = 0, count = 1, choices = [#evo.choice]>, #evo.recompute<first = 1, count = 2, choices = [#evo.choice]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 3 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// One choice a module, in the blocks of each segment that an interval reaches.

// expected-error @below {{expected a choice for each of 1 modules, got #evo.recompute<first = 0, count = 2, choices = [#evo.choice, #evo.choice]>}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 0, count = 2, choices = [#evo.choice, #evo.choice]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 3 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// expected-error @below {{expected a choice for each of 2 modules, got #evo.recompute<first = 1, count = 2, choices = [#evo.choice]>}}
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 1, count = 2, choices = [#evo.choice]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 2 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  %2 = evo.segment first 2 count 1 (%0) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %3 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %4 = evo.transition m %3 mask %mask {prefix = "b", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %4 : tensor<4x5x8xf32>
  }
  evo.yield %2 : tensor<4x5x8xf32>
}

// -----

// Choices that a module does not have.

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 0, count = 1, choices = [#evo.choice<variant = plain>]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 3 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{expected a kernel variant that it has (C6), got 'plain'}}
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 0, count = 2, choices = [#evo.choice]>, #evo.recompute<first = 0, count = 1, choices = [#evo.choice<axis = r_i, size = 2>]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 3 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    // expected-error @below {{expected slices along s or r (C6), got 'r_i'}}
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// -----

// What is right: apart, nested from the first block, up to the last, in another nested one; and blocks of another segment apart.

evo.stack @s tensors ["m", "msa_mask"] model {blocks = 5 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 0, count = 2, choices = [#evo.choice]>, #evo.recompute<first = 0, count = 1, choices = [#evo.choice]>, #evo.recompute<first = 1, count = 1, choices = [#evo.choice]>, #evo.recompute<first = 2, count = 3, choices = [#evo.choice, #evo.choice]>, #evo.recompute<first = 3, count = 2, choices = [#evo.choice, #evo.choice]>, #evo.recompute<first = 4, count = 1, choices = [#evo.choice<axis = s, size = 2>, #evo.choice]>]} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 2 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  %2 = evo.segment first 2 count 3 (%0) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %3 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %4 = evo.transition m %3 mask %mask {prefix = "b", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %4 : tensor<4x5x8xf32>
  }
  evo.yield %2 : tensor<4x5x8xf32>
}
