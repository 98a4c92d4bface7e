// RUN: evo-opt %s "--pass-pipeline=builtin.module(evo-verify-chosen,evo-lower-to-kern,kern-annotate-cost{profile=%inputs/toy.json},kern-assign-buffers,kern-free-buffers,kern-verify-buffers,kern-place,kern-verify-placed,kern-emit-plan{output=%t.json})" > %t.mlir
// RUN: FileCheck %s < %t.json
// RUN: evo-run --verify %t.json
// RUN: FileCheck %s --check-prefix=PLACED < %t.mlir
// RUN: evo-opt %s --evo-choose-policy="policy=direct profile=%inputs/toy-workspace.json" | FileCheck %s --check-prefix=CHOSEN
// RUN: not evo-opt %s --evo-choose-policy="policy=direct profile=%inputs/toy-workspace.json memory=5000" 2>&1 | FileCheck %s --check-prefix=NEED

// The target's kernels need 1000 bytes: 256 floats, a slot of 1024. z 5 5 6 4 = 600 -> 1024, mask 100 -> 512, so the workspace
// lies at 1536 and frames at 2560. Frame: norm 512 and hidden 512 by 2 of r_j. Arena 2560 + 1024.
// CHECK: "arena_bytes": 3584,
// CHECK: "summary": {"policy":"by hand","budget_bytes":20000,"arena_bytes":3584,
// CHECK: {"name":"pair_mask","dtype":"f32","shape":[5,5],"offset":1024,"bytes":100},
// CHECK-NEXT: {"name":"workspace","dtype":"f32","shape":[256],"offset":1536,"bytes":1024}
// CHECK: "phase": "forward",
// CHECK: {"procedure":0,"frame_offset":2560}
// PLACED: kern.program "forward" inputs [@z, @pair_mask] outputs [@z]
// PLACED: kern.tensor @workspace offset 1536 : tensor<256xf32>
// CHOSEN: kern.target = {backend = "cpu", budget_bytes = 1073741824 : i64, library_bytes = 0 : i64, policy = "direct", profile = "toy that needs a workspace", workspace_bytes = 1000 : i64}

// Direct: norm 5 5 6 4 in rows of 8 floats, (25 8 - 2) 4 = 792 -> 1024; hidden 5 5 12 4 = 1200 -> 1536: frame 2560.
// Arena 1536 + 1024 + 2560 = 5120, weights of one block 3072: 8192.
// NEED: the smallest feasible budget is 8192 bytes for this policy, of which pair_transition (fused) holds linear.1 1536, layer_norm.0 1024, streams and masks 1536, workspace of the kernels 1024, weights and their state 3072, libraries 0;
module attributes {kern.target = {policy = "by hand", profile = "toy", backend = "cpu", budget_bytes = 20000 : i64, library_bytes = 0 : i64, workspace_bytes = 1000 : i64}} {
evo.stack @s tensors ["z", "pair_mask"] model {name = "t", stack = "template_pair", blocks = 1 : i64, precision = "fp32", sizes = {r = 5 : i64}, channels = {c_t = 6 : i64}} {
^bb0(%z: tensor<5x5x6xf32>, %mask: tensor<5x5xf32>):
  %0 = evo.segment first 0 count 1 (%z) : (tensor<5x5x6xf32>) -> tensor<5x5x6xf32> {
  ^bb0(%x: tensor<5x5x6xf32>):
    %1 = evo.transition z %x mask %mask {prefix = "pair_transition", choice = #evo.choice<axis = r_j, size = 2>, factor = 2 : i64} : tensor<5x5x6xf32>, tensor<5x5xf32> -> tensor<5x5x6xf32>
    evo.yield %1 : tensor<5x5x6xf32>
  }
  evo.yield %0 : tensor<5x5x6xf32>
}
}
