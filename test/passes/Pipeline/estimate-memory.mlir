// RUN: evo-opt %s --evo-estimate-memory=profile=%inputs/toy.json | FileCheck %s
// RUN: not evo-opt %s --evo-estimate-memory=profile=none.json 2>&1 | FileCheck %s --check-prefix=PROFILE

// A transition of m [4,5,8] with factor 2: the hidden layer 2 s r c_m = 2 4 5 8 = 320 floats, 1280 bytes.
// Whole:     norm 4 5 8 4 = 640 -> 1024 bytes, hidden 1280 -> 1536; the second product goes onto m: 2560.
//   ns       norm max(8 160 flops, 640 + 64 + 640 bytes) = 1344; each product 2 20 8 16 = 5120 flops; 3 launches
//            of 100: 1344 + 5120 + 5120 + 300 = 11884.
// By 3 of s: norm 3 5 8 4 = 480 -> 512, hidden 960 -> 1024: 1536.
//   ns       slices of 3 and 1: norm (480 + 64 + 480) + (160 + 64 + 160) = 1408 bytes; each product
//            2 (15 + 5) 8 16 = 5120 flops; 6 launches: 1408 + 5120 + 5120 + 600 = 12248.

// CHECK: evo.transition m {{.*}} {choice = #evo.choice, estimate = {cost_ns = 11884 : i64, dominant = "2 s r c_m", dominant_bytes = 1280 : i64, frame_bytes = 2560 : i64},
// CHECK: evo.transition m {{.*}} {choice = #evo.choice<axis = s, size = 3>, estimate = {cost_ns = 12248 : i64, dominant = "2 s r c_m", dominant_bytes = 1280 : i64, frame_bytes = 1536 : i64},
evo.stack @s tensors ["m", "msa_mask"] model {blocks = 1 : i64, precision = "fp32"} {
^bb0(%m: tensor<4x5x8xf32>, %mask: tensor<4x5xf32>):
  %0 = evo.segment first 0 count 1 (%m) : (tensor<4x5x8xf32>) -> tensor<4x5x8xf32> {
  ^bb0(%x: tensor<4x5x8xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "a", choice = #evo.choice, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    %2 = evo.transition m %1 mask %mask {prefix = "b", choice = #evo.choice<axis = s, size = 3>, factor = 2 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>
    evo.yield %2 : tensor<4x5x8xf32>
  }
  evo.yield %0 : tensor<4x5x8xf32>
}

// PROFILE: error: none.json: No such file or directory
