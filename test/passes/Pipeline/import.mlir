// RUN: evo-opt %s --evo-import=spec=%inputs/evoformer.json | FileCheck %s --check-prefix=MSA
// RUN: evo-opt %s --evo-import=spec=%inputs/opm-first.json | FileCheck %s --check-prefix=FIRST
// RUN: evo-opt %s --evo-import=spec=%inputs/extra-msa.json | FileCheck %s --check-prefix=EXTRA
// RUN: evo-opt %s --evo-import=spec=%inputs/template-pair.json | FileCheck %s --check-prefix=PAIR
// RUN: evo-opt %s --evo-import=spec=%inputs/dropout.json | FileCheck %s --check-prefix=DROPOUT
// RUN: not evo-opt %s --evo-import 2>&1 | FileCheck %s --check-prefix=NOSPEC
// RUN: not evo-opt %s --evo-import=spec=%inputs/none.json 2>&1 | FileCheck %s --check-prefix=NOFILE
// RUN: not evo-opt %s "--pass-pipeline=builtin.module(evo-import{spec=%inputs/evoformer.json},evo-import{spec=%inputs/evoformer.json})" 2>&1 | FileCheck %s --check-prefix=TWICE

// Fills this empty module.

// MSA:      evo.stack @evoformer tensors ["m", "z", "msa_mask", "pair_mask"]
// MSA-SAME:   model {blocks = 3 : i64, channels = {c_hidden_msa_att = 4 : i64, c_hidden_mul = 10 : i64, c_hidden_opm = 3 : i64, c_hidden_pair_att = 5 : i64, c_m = 8 : i64, c_z = 6 : i64, no_heads_msa = 2 : i64, no_heads_pair = 3 : i64, transition_n = 4 : i64}, mode = "infer", name = "evoformer", precision = "fp32", sizes = {r = 5 : i64, s = 7 : i64}, stack = "evoformer"}
// MSA-NEXT: ^bb0(%[[M:.*]]: tensor<7x5x8xf32>, %[[Z:.*]]: tensor<5x5x6xf32>, %[[MM:.*]]: tensor<7x5xf32>, %[[PM:.*]]: tensor<5x5xf32>):
// MSA-NEXT:   %[[OUT:.*]]:2 = evo.segment first 0 count 3(%[[M]], %[[Z]])
// MSA-NEXT:   ^bb0(%[[M0:.*]]: tensor<7x5x8xf32>, %[[Z0:.*]]: tensor<5x5x6xf32>):
// MSA-NEXT:     %[[M1:.*]] = evo.msa_row_attention %[[M0]], %[[Z0]], %[[MM]] {head_dim = 4 : i64, heads = 2 : i64, inf = 1.000000e+09 : f64, prefix = "msa_att_row"}
// MSA-NEXT:     %[[M2:.*]] = evo.msa_column_attention %[[M1]], %[[MM]] {head_dim = 4 : i64, heads = 2 : i64, inf = 1.000000e+09 : f64, prefix = "msa_att_col._msa_att"}
// MSA-NEXT:     %[[M3:.*]] = evo.transition m %[[M2]] mask %[[MM]] {factor = 4 : i64, prefix = "msa_transition"}
// MSA-NEXT:     %[[Z1:.*]] = evo.outer_product_mean %[[M3]], %[[Z0]], %[[MM]] {eps = 1.000000e-03 : f64, hidden = 3 : i64, prefix = "outer_product_mean"}
// MSA-NEXT:     %[[Z2:.*]] = evo.triangle_multiplication outgoing %[[Z1]], %[[PM]] {hidden = 10 : i64, prefix = "pair_stack.tri_mul_out"}
// MSA-NEXT:     %[[Z3:.*]] = evo.triangle_multiplication incoming %[[Z2]], %[[PM]] {hidden = 10 : i64, prefix = "pair_stack.tri_mul_in"}
// MSA-NEXT:     %[[Z4:.*]] = evo.triangle_attention starting %[[Z3]], %[[PM]] {head_dim = 5 : i64, heads = 3 : i64, inf = 1.000000e+09 : f64, prefix = "pair_stack.tri_att_start"}
// MSA-NEXT:     %[[Z5:.*]] = evo.triangle_attention ending %[[Z4]], %[[PM]] {head_dim = 5 : i64, heads = 3 : i64, inf = 1.000000e+09 : f64, prefix = "pair_stack.tri_att_end"}
// MSA-NEXT:     %[[Z6:.*]] = evo.transition z %[[Z5]] mask %[[PM]] {factor = 4 : i64, prefix = "pair_stack.pair_transition"}
// MSA-NEXT:     evo.yield %[[M3]], %[[Z6]]
// MSA:        evo.yield %[[OUT]]#0, %[[OUT]]#1

// The outer product reads the block's m, the row attention the new z; transitions have no mask; bf16 streams.
// FIRST:      ^bb0(%{{.*}}: tensor<7x5x8xbf16>, %{{.*}}: tensor<5x5x6xbf16>, %[[MM:.*]]: tensor<7x5xbf16>, %{{.*}}: tensor<5x5xbf16>):
// FIRST:      ^bb0(%[[M0:.*]]: tensor<7x5x8xbf16>, %[[Z0:.*]]: tensor<5x5x6xbf16>):
// FIRST-NEXT:   %[[Z1:.*]] = evo.outer_product_mean %[[M0]], %[[Z0]], %[[MM]]
// FIRST-NEXT:   %[[M1:.*]] = evo.msa_row_attention %[[M0]], %[[Z1]], %[[MM]]
// FIRST-NEXT:   %[[M2:.*]] = evo.msa_column_attention %[[M1]]
// FIRST-NEXT:   %[[M3:.*]] = evo.transition m %[[M2]] {
// FIRST-NEXT:   %[[Z2:.*]] = evo.triangle_multiplication outgoing %[[Z1]]
// FIRST:        evo.transition z %{{[0-9]+}} {
// FIRST-NEXT:   evo.yield %[[M3]]

// Global column attention by its own name, with the default of its eps; opm_eps and inf as given.
// EXTRA:      evo.segment first 0 count 2
// EXTRA:      evo.msa_row_attention {{.*}} inf = 1.000000e+04 : f64
// EXTRA-NEXT: evo.msa_column_global_attention %{{.*}}, %{{.*}} {head_dim = 4 : i64, heads = 2 : i64, inf = 1.000000e+04 : f64, mean_eps = 1.000000e-08 : f64, prefix = "msa_att_col"}
// EXTRA-NEXT: evo.transition m
// EXTRA-NEXT: evo.outer_product_mean {{.*}} {eps = 5.000000e-01 : f64,

// The monomer's order, parameters without "pair_stack.".
// PAIR:      evo.stack @template_pair tensors ["z", "pair_mask"]
// PAIR-NEXT: ^bb0(%[[Z:.*]]: tensor<5x5x6xf64>, %[[PM:.*]]: tensor<5x5xf64>):
// PAIR-NEXT:   evo.segment first 0 count 2(%[[Z]])
// PAIR-NEXT:   ^bb0(%[[Z0:.*]]: tensor<5x5x6xf64>):
// PAIR-NEXT:     %[[Z1:.*]] = evo.triangle_attention starting %[[Z0]], %[[PM]] {head_dim = 5 : i64, heads = 3 : i64, inf = 1.000000e+09 : f64, prefix = "tri_att_start"}
// PAIR-NEXT:     %[[Z2:.*]] = evo.triangle_attention ending %[[Z1]], %[[PM]] {{{.*}} prefix = "tri_att_end"}
// PAIR-NEXT:     %[[Z3:.*]] = evo.triangle_multiplication outgoing %[[Z2]], %[[PM]] {hidden = 10 : i64, prefix = "tri_mul_out"}
// PAIR-NEXT:     %[[Z4:.*]] = evo.triangle_multiplication incoming %[[Z3]], %[[PM]] {hidden = 10 : i64, prefix = "tri_mul_in"}
// PAIR-NEXT:     %[[Z5:.*]] = evo.transition z %[[Z4]] mask %[[PM]] {factor = 2 : i64, prefix = "pair_transition"}
// PAIR-NEXT:     evo.yield %[[Z5]]

// In training: the rates by stream, one mask a row or, for the ending node, a column, and where the module stands in its block.
// DROPOUT:      evo.outer_product_mean %{{[^{]*}} {eps = 1.000000e-03 : f64, hidden = 3 : i64, prefix = "outer_product_mean"}
// DROPOUT-NEXT: evo.msa_row_attention {{.*}} {dropout = 1.500000e-01 : f64, head_dim = 4 : i64, {{.*}}, position = 1 : i64, prefix = "msa_att_row"}
// DROPOUT-NEXT: evo.msa_column_attention %{{[^{]*}} {head_dim = 4 : i64, heads = 2 : i64, inf = 1.000000e+09 : f64, prefix = "msa_att_col._msa_att"}
// DROPOUT-NEXT: evo.transition m %{{[^{]*}} {factor = 4 : i64, prefix = "msa_transition"}
// DROPOUT-NEXT: evo.triangle_multiplication outgoing {{.*}} {dropout = 2.500000e-01 : f64, hidden = 10 : i64, position = 4 : i64,
// DROPOUT-NEXT: evo.triangle_multiplication incoming {{.*}} {dropout = 2.500000e-01 : f64, hidden = 10 : i64, position = 5 : i64,
// DROPOUT-NEXT: evo.triangle_attention starting {{.*}} {dropout = 2.500000e-01 : f64, head_dim = 5 : i64, {{.*}} position = 6 : i64,
// DROPOUT-NEXT: evo.triangle_attention ending {{.*}} {dropout = 2.500000e-01 : f64, dropout_shared = 1 : i64, {{.*}} position = 7 : i64,
// DROPOUT-NEXT: evo.transition z %{{[^{]*}} {factor = 4 : i64, prefix = "pair_stack.pair_transition"}

// NOSPEC: error: expected an empty module and spec=FILE.json
// NOFILE: error: {{.*}}none.json: No such file or directory
// TWICE: error: expected an empty module and spec=FILE.json
