// RUN: evo-opt %s --evo-choose-policy="policy=direct profile=%inputs/toy.json" | FileCheck %s --check-prefixes=CHECK,DIRECT,WHOLE
// RUN: evo-opt %s --evo-choose-policy="policy=chunk profile=%inputs/toy.json memory=30720" | FileCheck %s --check-prefixes=CHECK,CHUNK,BY4
// RUN: evo-opt %s --evo-choose-policy="profile=%inputs/toy.json memory=40960" | FileCheck %s --check-prefixes=CHECK,AUTO,WHOLE
// RUN: evo-opt %s --evo-choose-policy="profile=%inputs/toy.json memory=40959" | FileCheck %s --check-prefixes=CHECK,AUTO,BY4
// RUN: evo-opt %s --evo-choose-policy="profile=%inputs/toy.json memory=30720" | FileCheck %s --check-prefixes=CHECK,AUTO,BY4
// RUN: evo-opt %s --evo-choose-policy="profile=%inputs/toy.json memory=30719" | FileCheck %s --check-prefixes=CHECK,AUTO,BY2
// RUN: evo-opt %s --evo-choose-policy="profile=%inputs/toy.json memory=25600" | FileCheck %s --check-prefixes=CHECK,AUTO,BY2
// RUN: evo-opt %s --evo-choose-policy="profile=%inputs/toy.json memory=25599" | FileCheck %s --check-prefixes=CHECK,AUTO,BY1
// RUN: evo-opt %s --evo-choose-policy="profile=%inputs/toy.json memory=23040" | FileCheck %s --check-prefixes=CHECK,AUTO,BY1
// RUN: not evo-opt %s --evo-choose-policy="profile=%inputs/toy.json memory=23039" 2>&1 | FileCheck %s --check-prefix=LEAST
// RUN: not evo-opt %s --evo-choose-policy="policy=direct profile=%inputs/toy.json memory=40959" 2>&1 | FileCheck %s --check-prefix=NAMED
// RUN: not evo-opt %s --evo-choose-policy=policy=fast 2>&1 | FileCheck %s --check-prefix=POLICY
// RUN: not evo-opt %s --evo-choose-policy=kernels=some 2>&1 | FileCheck %s --check-prefix=KERNELS
// RUN: not evo-opt %s --evo-choose-policy=profile=h1000 2>&1 | FileCheck %s --check-prefix=PROFILE
// RUN: not evo-opt %inputs/empty.mlir --evo-choose-policy 2>&1 | FileCheck %s --check-prefix=EMPTY

// A starting triangle attention of one head of width 16 on z [8,8,16] in f32, two blocks. Bytes, aligned to 512:
//   tensors   z 8 8 16 4 = 4096, pair_mask 8 8 4 = 256 -> 512                                             4608
//   weights   of a block: norm 2 x 512, linear 512, qkvg 64 16 4 = 4096, g bias 512, o bias 512,
//             o weight 16 16 4 = 1024: 7680; two blocks                                                  15360
//   direct    norm 4096 + bias 8 8 4 -> 512 + qkvg 8 8 64 4 = 16384; then o 4096 for the norm            20992
//   chunk     of 4 rows: norm 2048 + bias 512 + qkvg 8192; then o 2048 for the norm                      10752
// direct 4608 + 15360 + 20992 = 40960, chunk 4608 + 15360 + 10752 = 30720. Slices launch more: direct is faster.
// auto searches: no slices from 40960 bytes on, then the longest that fit, where slices are halved.
// Of k rows: norm 512 k + bias 512 + qkvg 2048 k.
//   of 2 rows  1024 + 512 + 4096 = 5632: 4608 + 15360 + 5632 = 25600
//   of 1 row   512 + 512 + 2048 = 3072: 4608 + 15360 + 3072 = 23040, the least

// DIRECT: kern.target = {backend = "cpu", budget_bytes = {{[0-9]+}} : i64, library_bytes = 0 : i64, policy = "direct", profile = "toy: 1 ns a flop, byte and exponential"}
// CHUNK: kern.target = {backend = "cpu", budget_bytes = {{[0-9]+}} : i64, library_bytes = 0 : i64, policy = "chunk",
// AUTO: kern.target = {backend = "cpu", budget_bytes = {{[0-9]+}} : i64, library_bytes = 0 : i64, policy = "auto",
// CHECK: evo.triangle_attention starting
// WHOLE-SAME: {choice = #evo.choice, head_dim
// BY4-SAME: {choice = #evo.choice<axis = r_i, size = 4>, head_dim
// BY2-SAME: {choice = #evo.choice<axis = r_i, size = 2>, head_dim
// BY1-SAME: {choice = #evo.choice<axis = r_i, size = 1>, head_dim
evo.stack @template_pair tensors ["z", "pair_mask"] model {name = "t", stack = "template_pair", blocks = 2 : i64, precision = "fp32", sizes = {r = 8 : i64}, channels = {c_t = 16 : i64}} {
^bb0(%z: tensor<8x8x16xf32>, %mask: tensor<8x8xf32>):
  %0 = evo.segment first 0 count 2 (%z) : (tensor<8x8x16xf32>) -> tensor<8x8x16xf32> {
  ^bb0(%x: tensor<8x8x16xf32>):
    %1 = evo.triangle_attention starting %x, %mask {prefix = "tri_att_start", heads = 1 : i64, head_dim = 16 : i64, inf = 1.0e9 : f64} : tensor<8x8x16xf32>, tensor<8x8xf32> -> tensor<8x8x16xf32>
    evo.yield %1 : tensor<8x8x16xf32>
  }
  evo.yield %0 : tensor<8x8x16xf32>
}

// LEAST: error: no plan of policy auto fits in 23039 bytes: needed by policy: direct 40960, chunk 30720 bytes; the smallest feasible budget is 23040 bytes, of which tri_att_start (fused, r_i by 1) holds linear.3 2048, linear.0 512, layer_norm.2 512, streams and masks 4608, weights and their state 15360, libraries 0; give more --memory, a smaller type (--dtype), smaller sizes or more devices
// NAMED: error: no plan of policy direct fits in 40959 bytes: needed by policy: direct 40960 bytes; the smallest feasible budget is 40960 bytes for this policy, of which {{.*}}; give more --memory, a smaller type (--dtype), smaller sizes or more devices
// POLICY: error: expected policy auto, direct, small, large, chunk or extra, got fast
// KERNELS: error: expected kernels all or plain, got some
// PROFILE: error: h1000: No such file or directory
// EMPTY: error: expected one evo.stack in the module
