// RUN: evo-opt %s "--pass-pipeline=builtin.module(evo-verify-chosen,evo-lower-to-kern,kern-annotate-cost{profile=%inputs/toy.json},kern-assign-buffers,kern-free-buffers,kern-verify-buffers,kern-place,kern-verify-placed,kern-emit-plan{output=%t.json})" > %t.mlir
// RUN: FileCheck %s < %t.json
// RUN: evo-run --verify %t.json
// RUN: FileCheck %s --check-prefix=PLACED < %t.mlir
// RUN: evo-opt %t.mlir --kern-emit-plan=output=%t.again.json > /dev/null
// RUN: cmp %t.json %t.again.json
// RUN: not evo-opt %t.mlir --kern-emit-plan=output=%t.none/plan.json 2>&1 | FileCheck %s --check-prefix=FOLDER

// The placed module stays what it was; emitted again it is the same plan.
// PLACED: kern.procedure @pair_transition

// z 5 5 6 4 = 600 -> 1024, mask 100 -> 512: frames at 1536. By 2 of r_j: norm 5 2 6 4 in rows of 8 floats, (10 8 - 2) 4 =
// 312 -> 512; hidden 5 2 12 4 = 480 -> 512. Arena 1536 + 1024. Weights: norm 2 512, 1: 12 6 4 = 288 and 48, 2: 288 and 24:
// six times 512 = 3072; of three blocks 9216, and 2560 and 100 of the target's library.
// CHECK: "format": "evo.plan/1",
// CHECK: "arena_bytes": 2560,
// CHECK: "weight_block_bytes": 3072,
// CHECK: "precision": "fp32",
// CHECK: "profile": "toy",
// CHECK: "model": {"name":"t","stack":"template_pair","blocks":3,"sizes":{"r":5},"channels":{"c_t":6}},
// Norm: slices of 2, 2, 1: bytes 2 (240 + 48 + 240) + (120 + 48 + 120) = 1344. Products 2 25 6 12 = 3600 flops each, of which
// the last slices move 120 + 288 + 48 + 240 = 696 and 240 + 288 + 24 + 20 + 120 + 120 = 812 bytes for 720 flops: the second
// takes 92 more. Nine launches: 1344 + 3600 + 3692 + 900 = 9536 ns a block, three of them 0.028608 ms.
// CHECK: "summary": {"policy":"by hand","budget_bytes":20000,"arena_bytes":2560,"static_bytes":9216,"library_bytes":100,"predicted_peak_bytes":11876,"kept_bytes":0,"predicted_ms":0.028608},
// CHECK: {"name":"z","dtype":"f32","shape":[5,5,6],"offset":0,"bytes":600},
// CHECK: {"name":"pair_mask","dtype":"f32","shape":[5,5],"offset":1024,"bytes":100}
// CHECK: {"name":"pair_transition.linear_1.weight","dtype":"f32","shape":[12,6],{{.*}}"bytes":288,"parts":[{"parameter":"pair_transition.linear_1.weight","first_row":0,"rows":12}]}
// CHECK: "choice": "fused, r_j by 2",
// CHECK: "frame_bytes": 1024,
// CHECK: "cost_ns": 9536,
// CHECK: {"loop":0,"axis":"r_j","extent":5,"size":2,"body":[
// CHECK: {"kernel":"linear","activation":"relu",{{.*}}"cost_ns":{{[0-9]+}}}
// CHECK: {"first_block":0,"block_count":3,"calls":[
// CHECK-NEXT: {"procedure":0,"frame_offset":1536}
// CHECK: {"rank":0,"extents":{"r":[0,5]}}
// CHECK: "schedule": {"kind":"stack","name":"template_pair","block_count":3,"children":[
// CHECK-NEXT: {"kind":"segment","block_count":3,"children":[
// CHECK-NEXT: {"kind":"module","name":"pair_transition","choice":"fused, r_j by 2"}
module attributes {kern.target = {policy = "by hand", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 100 : i64}} {
evo.stack @s tensors ["z", "pair_mask"] model {name = "t", stack = "template_pair", blocks = 3 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}} {
^bb0(%z: tensor<5x5x6xf32>, %mask: tensor<5x5xf32>):
  %0 = evo.segment first 0 count 3 (%z) : (tensor<5x5x6xf32>) -> tensor<5x5x6xf32> {
  ^bb0(%x: tensor<5x5x6xf32>):
    %1 = evo.transition z %x mask %mask {prefix = "pair_transition", choice = #evo.choice<axis = r_j, size = 2>, factor = 2 : i64} : tensor<5x5x6xf32>, tensor<5x5xf32> -> tensor<5x5x6xf32>
    evo.yield %1 : tensor<5x5x6xf32>
  }
  evo.yield %0 : tensor<5x5x6xf32>
}
}

// FOLDER: error: cannot open output file '{{.*}}': No such file or directory
