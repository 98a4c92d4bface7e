// RUN: evo-opt %s "--pass-pipeline=builtin.module(evo-import{spec=%inputs/evoformer.json},evo-choose-policy{policy=chunk})" | FileCheck %s --check-prefix=CHUNK
// RUN: evo-opt %s "--pass-pipeline=builtin.module(evo-import{spec=%inputs/evoformer.json},evo-choose-policy{policy=chunk kernels=plain})" | FileCheck %s --check-prefix=PLAIN
// RUN: evo-opt %s "--pass-pipeline=builtin.module(evo-import{spec=%inputs/evoformer.json},evo-choose-policy{policy=direct kernels=plain})" | FileCheck %s --check-prefix=DIRECT
// RUN: evo-opt %s "--pass-pipeline=builtin.module(evo-import{spec=%inputs/extra-msa.json},evo-choose-policy{policy=chunk})" | FileCheck %s --check-prefix=EXTRA

// The seed's slices: row attention by 4 of s, column attention by 256 of r, outer product and triangle attention by
// 4 of r; what it does not chunk is whole.

// CHUNK: evo.msa_row_attention {{.*}} {choice = #evo.choice<axis = s, size = 4>,
// CHUNK: evo.msa_column_attention {{.*}} {choice = #evo.choice<axis = r, size = 256>,
// CHUNK: evo.transition m {{.*}} {choice = #evo.choice, factor
// CHUNK: evo.outer_product_mean {{.*}} {choice = #evo.choice<axis = r_i, size = 4>,
// CHUNK: evo.triangle_multiplication outgoing {{.*}} {choice = #evo.choice, hidden
// CHUNK: evo.triangle_multiplication incoming {{.*}} {choice = #evo.choice, hidden
// CHUNK: evo.triangle_attention starting {{.*}} {choice = #evo.choice<axis = r_i, size = 4>,
// CHUNK: evo.triangle_attention ending {{.*}} {choice = #evo.choice<axis = r_j, size = 4>,
// CHUNK: evo.transition z {{.*}} {choice = #evo.choice, factor

// Plain kernels where a module has them.
// PLAIN: evo.msa_row_attention {{.*}} {choice = #evo.choice<variant = plain, axis = s, size = 4>,
// PLAIN: evo.msa_column_attention {{.*}} {choice = #evo.choice<variant = plain, axis = r, size = 256>,
// PLAIN: evo.transition m {{.*}} {choice = #evo.choice, factor
// PLAIN: evo.outer_product_mean {{.*}} {choice = #evo.choice<variant = plain, axis = r_i, size = 4>,
// PLAIN: evo.triangle_multiplication outgoing {{.*}} {choice = #evo.choice, hidden
// PLAIN: evo.triangle_attention starting {{.*}} {choice = #evo.choice<variant = plain, axis = r_i, size = 4>,
// PLAIN: evo.triangle_attention ending {{.*}} {choice = #evo.choice<variant = plain, axis = r_j, size = 4>,

// DIRECT: policy = "direct"
// DIRECT: evo.msa_row_attention {{.*}} {choice = #evo.choice<variant = plain>,
// DIRECT: evo.outer_product_mean {{.*}} {choice = #evo.choice<variant = plain>,

// EXTRA: evo.msa_column_global_attention {{.*}} {choice = #evo.choice<axis = r, size = 256>,
