// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern | FileCheck %s
// RUN: evo-opt %s --evo-verify-chosen --evo-lower-to-kern --kern-annotate-cost --kern-assign-buffers --kern-free-buffers --kern-verify-buffers --kern-place --kern-verify-placed | FileCheck %s --check-prefix=PLACED

// A recompute group keeps the streams that enter it, as far as running it again uses them. Its backward runs it again, now keeping what the choices say.

// The backward of what keeps all reads results of its forward by name and computes no kernel of it again.
// CHECK-LABEL: kern.procedure @t.backward module "t" phase "backward" choice "fused; keeps all" tensors [@saved::@m, @msa_mask, @dm, @saved::@layer_norm.0, @saved::@linear.1] {
// CHECK-NOT:     kern.layer_norm(
// CHECK-NOT:     activation = "relu"} : (tensor<6x5x8xf32>, tensor<16x8xf32>, tensor<16xf32>)
// CHECK:         kern.return [@dm]

// The second time the modules keep, and those that follow read what they make. What they find stays where it lies: they run on
// copies of it.
// CHECK-LABEL: kern.procedure @t.again module "t" phase "forward" choice "fused; keeps all" tensors [@m, @msa_mask] {
// CHECK-NOT:     kern.save %{{.*}} "m"
// CHECK:         %[[OUT:.*]] = kern.linear({{.*}} residual =
// CHECK-NEXT:    kern.save %{{.*}} "layer_norm.0" : tensor<6x5x8xf32>
// CHECK-NEXT:    kern.save %{{.*}} "linear.1" : tensor<6x5x16xf32>
// CHECK-NEXT:    kern.return [@m] %[[OUT]] : tensor<6x5x8xf32>

// CHECK-LABEL: kern.procedure @checkpoint module "checkpoint" phase "forward" choice "copy" tensors [@m] {
// CHECK:         %[[M:.*]] = kern.copy(x = %{{.*}}) : (tensor<6x5x8xf32>)
// CHECK-NEXT:    kern.save %[[M]] "m" : tensor<6x5x8xf32>
// CHECK-NEXT:    kern.return []

// The backward of the outer product reads m alone, which the re-run leaves in the copy that @t has run on; nobody reads its z, so
// that nothing of it is computed again, and z is no part of the checkpoint.
// CHECK-LABEL: kern.procedure @opm.again module "opm" phase "forward" choice "fused; keeps input, backward fused" tensors [] {
// CHECK-NEXT:    kern.return []

// The first time the modules keep nothing.
// CHECK-LABEL: kern.procedure @t module
// CHECK-NOT:     kern.save
// CHECK-LABEL: kern.procedure @opm module
// CHECK-NOT:     kern.save

// Each block has calls of its own: a checkpoint is of its own block. The re-run of @t has a copy of it, and its backward reads the
// checkpoint.
// CHECK:      kern.program "forward" inputs [@m, @z, @msa_mask] outputs [@m, @z] {
// CHECK-NEXT:   kern.blocks first 0 count 1 {
// CHECK-NEXT:     kern.call @checkpoint {id = [[$CHECKPOINT0:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @t {id = {{[0-9]+}} : i64}
// CHECK-NEXT:     kern.call @opm {id = {{[0-9]+}} : i64}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 1 count 1 {
// CHECK-NEXT:     kern.call @checkpoint {id = [[$CHECKPOINT1:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @t {id = {{[0-9]+}} : i64}
// CHECK-NEXT:     kern.call @opm {id = {{[0-9]+}} : i64}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 2 count 1 {
// CHECK-NEXT:     kern.call @checkpoint {id = [[$CHECKPOINT2:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @t {id = {{[0-9]+}} : i64}
// CHECK-NEXT:     kern.call @opm {id = {{[0-9]+}} : i64}
// CHECK-NEXT:   }
// CHECK-NEXT: }
// CHECK-NEXT: kern.program "backward" inputs [@dm, @dz] outputs [@dm, @dz] {
// CHECK-NEXT:   kern.blocks first 2 count 1 {
// CHECK-NEXT:     kern.call @checkpoint {id = [[$COPY2:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$CHECKPOINT2]], slot = "m">]}
// CHECK-NEXT:     kern.call @t.again {id = [[$T2:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$COPY2]], slot = "m">]}
// CHECK-NEXT:     kern.call @opm.again {id = [[$OPM2:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @opm.backward {id = {{[0-9]+}} : i64, partner = [[$OPM2]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$COPY2]], slot = "m">]}
// CHECK-NEXT:     kern.call @t.backward {id = {{[0-9]+}} : i64, partner = [[$T2]] : i64, shares = [#kern.share<buffer = "saved.layer_norm.0", call = [[$T2]], slot = "layer_norm.0">, #kern.share<buffer = "saved.linear.1", call = [[$T2]], slot = "linear.1">, #kern.share<buffer = "saved.m", call = [[$CHECKPOINT2]], slot = "m">]}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 1 count 1 {
// CHECK-NEXT:     kern.call @checkpoint {id = [[$COPY1:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$CHECKPOINT1]], slot = "m">]}
// CHECK-NEXT:     kern.call @t.again {id = [[$T1:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$COPY1]], slot = "m">]}
// CHECK-NEXT:     kern.call @opm.again {id = [[$OPM1:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @opm.backward {id = {{[0-9]+}} : i64, partner = [[$OPM1]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$COPY1]], slot = "m">]}
// CHECK-NEXT:     kern.call @t.backward {id = {{[0-9]+}} : i64, partner = [[$T1]] : i64, shares = [#kern.share<buffer = "saved.layer_norm.0", call = [[$T1]], slot = "layer_norm.0">, #kern.share<buffer = "saved.linear.1", call = [[$T1]], slot = "linear.1">, #kern.share<buffer = "saved.m", call = [[$CHECKPOINT1]], slot = "m">]}
// CHECK-NEXT:   }
// CHECK-NEXT:   kern.blocks first 0 count 1 {
// CHECK-NEXT:     kern.call @checkpoint {id = [[$COPY0:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$CHECKPOINT0]], slot = "m">]}
// CHECK-NEXT:     kern.call @t.again {id = [[$T0:[0-9]+]] : i64, shares = [#kern.share<buffer = "m", call = [[$COPY0]], slot = "m">]}
// CHECK-NEXT:     kern.call @opm.again {id = [[$OPM0:[0-9]+]] : i64}
// CHECK-NEXT:     kern.call @opm.backward {id = {{[0-9]+}} : i64, partner = [[$OPM0]] : i64, shares = [#kern.share<buffer = "saved.m", call = [[$COPY0]], slot = "m">]}
// CHECK-NEXT:     kern.call @t.backward {id = {{[0-9]+}} : i64, partner = [[$T0]] : i64, shares = [#kern.share<buffer = "saved.layer_norm.0", call = [[$T0]], slot = "layer_norm.0">, #kern.share<buffer = "saved.linear.1", call = [[$T0]], slot = "linear.1">, #kern.share<buffer = "saved.m", call = [[$CHECKPOINT0]], slot = "m">]}
// CHECK-NEXT:   }
// CHECK-NEXT: }

// m 960 bytes -> 1024, z 400 -> 512, mask 120 -> 512: the boundary ends at 2048. A block keeps m, 1024; blocks begin at 2048, 3072
// and 4096. The re-run of block 0 stands on 3072 and keeps norm 1024 and linear 6 5 16 4 = 1920 -> 2048: to 6144. On that lies the
// copy of m, 1024 to 7168. It is done with before the backward of @t, whose frame begins there. In the next block all of it lies
// 1024 higher, by the checkpoint of the block below: the three blocks are folded into one run, forward and backward.
// PLACED-LABEL: kern.program "forward"
// PLACED-NEXT:  kern.blocks first 0 count 3 {
// PLACED-NEXT:    kern.call @checkpoint frame 3072 {frame_stride = 1024 : i64, id = {{[0-9]+}} : i64, saved_offset = 2048 : i64, saved_stride = 1024 : i64}
// PLACED-NEXT:    kern.call @t frame 3072 {frame_stride = 1024 : i64,
// PLACED-NEXT:    kern.call @opm frame 3072 {frame_stride = 1024 : i64,
// PLACED:      kern.program "backward"
// PLACED-NEXT:  kern.blocks first 0 count 3 {
// PLACED-NEXT:    kern.call @checkpoint frame 7168 {bindings = [#kern.binding<buffer = "m", offset = 2048, stride = 1024>], frame_stride = 1024 : i64, id = {{[0-9]+}} : i64, saved_offset = 6144 : i64, saved_stride = 1024 : i64,
// PLACED-NEXT:    kern.call @t.again frame 7168 {bindings = [#kern.binding<buffer = "m", offset = 6144, stride = 1024>], frame_stride = 1024 : i64, id = {{[0-9]+}} : i64, saved_offset = 3072 : i64, saved_stride = 1024 : i64,
// PLACED-NEXT:    kern.call @opm.again frame 7168
// PLACED-NEXT:    kern.call @opm.backward frame 7168 {bindings = [#kern.binding<buffer = "saved.m", offset = 6144, stride = 1024>], frame_stride = 1024 : i64,
// PLACED-NEXT:    kern.call @t.backward frame 6144 {bindings = [#kern.binding<buffer = "saved.layer_norm.0", offset = 3072, stride = 1024>, #kern.binding<buffer = "saved.linear.1", offset = 4096, stride = 1024>, #kern.binding<buffer = "saved.m", offset = 2048, stride = 1024>], frame_stride = 1024 : i64,
evo.stack @s tensors ["m", "z", "msa_mask"] model {blocks = 3 : i64, mode = "train", precision = "fp32"} {
^bb0(%m: tensor<6x5x8xf32>, %z: tensor<5x5x4xf32>, %mask: tensor<6x5xf32>):
  %0:2 = evo.segment first 0 count 3 (%m, %z) attributes {runs = [#evo.run<first = 0, count = 2>]} : (tensor<6x5x8xf32>, tensor<5x5x4xf32>) -> (tensor<6x5x8xf32>, tensor<5x5x4xf32>) {
  ^bb0(%x: tensor<6x5x8xf32>, %y: tensor<5x5x4xf32>):
    %1 = evo.transition m %x mask %mask {prefix = "t", choice = #evo.choice<keep = all>, factor = 2 : i64} : tensor<6x5x8xf32>, tensor<6x5xf32> -> tensor<6x5x8xf32>
    %2 = evo.outer_product_mean %1, %y, %mask {prefix = "opm", choice = #evo.choice<keep = input>, hidden = 3 : i64, eps = 1.0e-3 : f64} : tensor<6x5x8xf32>, tensor<5x5x4xf32>, tensor<6x5xf32> -> tensor<5x5x4xf32>
    evo.yield %1, %2 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
  }
  evo.yield %0#0, %0#1 : tensor<6x5x8xf32>, tensor<5x5x4xf32>
}
