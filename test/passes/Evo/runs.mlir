// RUN: evo-opt %s | evo-opt - | FileCheck %s
// RUN: evo-opt %s --evo-verify-chosen | FileCheck %s

// Modules that are carried out together: loops of their slices, recompute groups, and loops within groups.

// CHECK-LABEL: evo.stack @loop
evo.stack @loop tensors ["m", "msa_mask"] model {blocks = 1 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  // CHECK: evo.segment first 0 count 1(%{{.*}}) attributes {runs = [#evo.run<first = 1, count = 2, axis = r, size = 16>]} :
  %0 = evo.segment first 0 count 1 (%m) attributes {runs = [#evo.run<first = 1, count = 2, axis = r, size = 16>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %a = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = all>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %1 = evo.msa_column_attention %a, %mask {prefix = "c", choice = #evo.choice<keep = input>, heads = 2 : i64, head_dim = 4 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %2 = evo.transition m %1 mask %mask {prefix = "t", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %2 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// CHECK-LABEL: evo.stack @groups
evo.stack @groups tensors ["m", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  // A size of 0 on no axis is what there is by default.
  // CHECK: runs = [#evo.run<first = 0, count = 1>, #evo.run<first = 1, count = 3>, #evo.run<first = 2, count = 2, axis = s, size = 1>]
  %0 = evo.segment first 0 count 3 (%m) attributes {runs = [#evo.run<first = 0, count = 1, axis = none, size = 0>, #evo.run<first = 1, count = 3>, #evo.run<first = 2, count = 2, axis = s, size = 1>]} : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice<keep = all>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %2 = evo.transition m %1 mask %mask {prefix = "b", choice = #evo.choice<keep = all>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %3 = evo.transition m %2 mask %mask {prefix = "c", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %4 = evo.transition m %3 mask %mask {prefix = "d", choice = #evo.choice<keep = input>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %4 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// In inference loops are shared as well.
// CHECK-LABEL: evo.stack @infer
evo.stack @infer tensors ["z", "pair_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
  // CHECK: runs = [#evo.run<first = 0, count = 2, axis = r_j, size = 9>]
  %0 = evo.segment first 0 count 1 (%z) attributes {runs = [#evo.run<first = 0, count = 2, axis = r_j, size = 9>]} : (tensor<5x5x8xf32>) -> tensor<5x5x8xf32> {
  ^bb0(%x: tensor<5x5x8xf32>):
    %1 = evo.triangle_attention ending %x, %mask {prefix = "e", choice = #evo.choice, heads = 2 : i64, head_dim = 4 : i64, inf = 1.0e9 : f64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
    %2 = evo.transition z %1 mask %mask {prefix = "t", choice = #evo.choice, factor = 2 : i64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>
    evo.yield %2 : tensor<5x5x8xf32>
  }
  evo.yield %0 : tensor<5x5x8xf32>
}

// What is recomputed stands on the stack.
// CHECK-LABEL: evo.stack @recomputed
// CHECK-SAME:  attributes {recompute = [#evo.recompute<first = 0, count = 4, choices = [#evo.choice]>]}
evo.stack @recomputed tensors ["m", "msa_mask"] model {blocks = 4 : i64, mode = "train", precision = "fp32"} attributes {recompute = [#evo.recompute<first = 0, count = 4, choices = [#evo.choice<variant = fused>]>]} {
^bb0(%in: tensor<4x5x8xf32>, %mm: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 4 (%in) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mm {prefix = "a", choice = #evo.choice<keep = mixing>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %1 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}
