// RUN: evo-opt %s --kern-place --kern-verify-placed | FileCheck %s

// @row reads the m that @opm of the block before keeps; the first block's @row has it from its own call.
// m has 640 bytes -> 1024, y 320 -> 512.
kern.tensor @m : tensor<4x5x8xf32>
kern.tensor @dm in @m : tensor<4x5x8xf32>

kern.procedure @row module "row" phase "forward" choice "" tensors [@m] {
  %s = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @row.2 module "row" phase "forward" choice "" tensors [@m] {
  kern.return []
}
kern.procedure @row.backward module "row" phase "backward" choice "" tensors [@saved::@m, @dm] {
  %s = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}
kern.procedure @opm module "opm" phase "forward" choice "" tensors [@m] {
  %s = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  %y = kern.saved_buffer "y" : !kern.buffer<4x5x4xf32, 4>
  kern.return []
}
kern.procedure @opm.backward module "opm" phase "backward" choice "" tensors [@saved::@m, @dm] {
  %s = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>
  kern.return []
}

// Behind the boundary, which ends at 1024: block 0 keeps 1024 at 1024 (row) and 1024 + 512 at 2048 (opm); blocks 1 to 3 keep
// 1536 each, at 3584, 5120 and 6656. Block 0 calls @row, the others @row.2: these lie at equal distances and become one run.
// CHECK-LABEL: kern.program "forward"
// CHECK-NEXT:    kern.blocks first 0 count 1 {
// CHECK-NEXT:      kern.call @row frame 2048 {id = 0 : i64, saved_offset = 1024 : i64}
// CHECK-NEXT:      kern.call @opm frame 3584 {id = 1 : i64, saved_offset = 2048 : i64}
// CHECK-NEXT:    }
// CHECK-NEXT:    kern.blocks first 1 count 3 {
// CHECK-NEXT:      kern.call @row.2 frame 3584 {frame_stride = 1536 : i64, id = 2 : i64}
// CHECK-NEXT:      kern.call @opm frame 5120 {frame_stride = 1536 : i64, id = 3 : i64, saved_offset = 3584 : i64, saved_stride = 1536 : i64}
// CHECK-NEXT:    }
// CHECK-NEXT:  }
kern.program "forward" inputs [@m] outputs [@m] {
  kern.blocks first 0 count 1 {
    kern.call @row {id = 0 : i64}
    kern.call @opm {id = 1 : i64}
  }
  kern.blocks first 1 count 1 {
    kern.call @row.2 {id = 2 : i64}
    kern.call @opm {id = 3 : i64}
  }
  kern.blocks first 2 count 1 {
    kern.call @row.2 {id = 4 : i64}
    kern.call @opm {id = 5 : i64}
  }
  kern.blocks first 3 count 1 {
    kern.call @row.2 {id = 6 : i64}
    kern.call @opm {id = 7 : i64}
  }
}

// Block 1 reads at 2048 what block 0 keeps; blocks 2 and 3 read at 3584 and 5120: one place that moves by 1536. When @row.backward
// of a block runs nobody reads what its @opm keeps any more: its frame lies 1536 below that of @opm.backward. Block 0 calls the same
// procedures, but its @row.backward reads at 1024, which is 1024 and not 1536 below: it stays a run of its own.
// CHECK-NEXT:  kern.program "backward"
// CHECK-NEXT:    kern.blocks first 1 count 3 {
// CHECK-NEXT:      kern.call @opm.backward frame 5120 {bindings = [#kern.binding<buffer = "saved.m", offset = 3584, stride = 1536>], frame_stride = 1536 : i64,
// CHECK-NEXT:      kern.call @row.backward frame 3584 {bindings = [#kern.binding<buffer = "saved.m", offset = 2048, stride = 1536>], frame_stride = 1536 : i64,
// CHECK:         kern.blocks first 0 count 1 {
// CHECK-NEXT:      kern.call @opm.backward frame 3584 {bindings = [#kern.binding<buffer = "saved.m", offset = 2048>], id =
// CHECK-NEXT:      kern.call @row.backward frame 2048 {bindings = [#kern.binding<buffer = "saved.m", offset = 1024>], id =
// CHECK-NOT:     kern.blocks
kern.program "backward" inputs [@dm] outputs [@dm] {
  kern.blocks first 3 count 1 {
    kern.call @opm.backward {id = 8 : i64, partner = 7 : i64, shares = [#kern.share<buffer = "saved.m", call = 7, slot = "m">]}
    kern.call @row.backward {id = 9 : i64, partner = 6 : i64, shares = [#kern.share<buffer = "saved.m", call = 5, slot = "m">]}
  }
  kern.blocks first 2 count 1 {
    kern.call @opm.backward {id = 10 : i64, partner = 5 : i64, shares = [#kern.share<buffer = "saved.m", call = 5, slot = "m">]}
    kern.call @row.backward {id = 11 : i64, partner = 4 : i64, shares = [#kern.share<buffer = "saved.m", call = 3, slot = "m">]}
  }
  kern.blocks first 1 count 1 {
    kern.call @opm.backward {id = 12 : i64, partner = 3 : i64, shares = [#kern.share<buffer = "saved.m", call = 3, slot = "m">]}
    kern.call @row.backward {id = 13 : i64, partner = 2 : i64, shares = [#kern.share<buffer = "saved.m", call = 1, slot = "m">]}
  }
  kern.blocks first 0 count 1 {
    kern.call @opm.backward {id = 14 : i64, partner = 1 : i64, shares = [#kern.share<buffer = "saved.m", call = 1, slot = "m">]}
    kern.call @row.backward {id = 15 : i64, partner = 0 : i64, shares = [#kern.share<buffer = "saved.m", call = 0, slot = "m">]}
  }
}
