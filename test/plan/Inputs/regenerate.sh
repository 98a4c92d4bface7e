#!/usr/bin/env bash
# Part of Evo, under the Apache License v2.0. See LICENSE.
#
# Makes the plans of this folder again, behind a change of what evo-opt plans or of the format:
#   test/plan/Inputs/regenerate.sh build/bin/evo-opt
# Tiny models with dropout, in every policy for training; with an optimizer and plain kernels; of the extra MSA stack; and one that the search
# has fit into the smallest budget there is: blocks that run again, nested, and modules that share a loop there but not in the forward program.
set -euo pipefail
opt=$(realpath "$1")
cd "$(dirname "$0")"
spec=$(mktemp --suffix=.json)
report=$(mktemp --suffix=.json)
trap 'rm -f "$spec" "$report"' EXIT

template='"stack": "template_pair", "sizes": { "r": 6 }, "dropout": { "pair": 0.25 },
  "channels": { "c_t": 4, "c_hidden_tri_att": 4, "c_hidden_tri_mul": 5, "no_heads": 2, "pair_transition_n": 2 }'
evoformer='"stack": "evoformer", "sizes": { "s": 5, "r": 6 }, "dropout": { "msa": 0.125, "pair": 0.25 },
  "channels": { "c_m": 8, "c_z": 4, "c_hidden_msa_att": 4, "c_hidden_opm": 3, "c_hidden_mul": 5, "c_hidden_pair_att": 4,
                "no_heads_msa": 2, "no_heads_pair": 2, "transition_n": 2 }'

larger='"stack": "evoformer", "sizes": { "s": 9, "r": 8 }, "dropout": { "msa": 0.125, "pair": 0.25 },
  "channels": { "c_m": 16, "c_z": 12, "c_hidden_msa_att": 6, "c_hidden_opm": 5, "c_hidden_mul": 10, "c_hidden_pair_att": 4,
                "no_heads_msa": 3, "no_heads_pair": 2, "transition_n": 4 }'
extra='"stack": "extra_msa", "sizes": { "s": 5, "r": 6 },
  "channels": { "c_m": 8, "c_z": 4, "c_hidden_msa_att": 4, "c_hidden_opm": 3, "c_hidden_mul": 5, "c_hidden_pair_att": 4,
                "no_heads_msa": 2, "no_heads_pair": 2, "transition_n": 2 }'
sgd='"optimizer": { "kind": "sgd", "lr": 0.01, "momentum": 0.9 }'
adamw='"optimizer": { "kind": "adamw", "lr": 0.01 }'

plan() { # name, stack, blocks, policy, type, flags
  echo "{ \"format\": \"evo.model/1\", \"name\": \"$1\", $2, \"blocks\": $3, \"dtype\": \"$5\", \"mode\": \"train\" }" > "$spec"
  "$opt" "$spec" --profile=h100 --policy="$4" -o "$1.json" "${@:6}" > /dev/null
}
plan template-direct "$template" 2 direct fp64
plan template-small "$template" 3 small fp32
plan template-large "$template" 3 large bf16
plan template-chunk "$template" 2 chunk fp32
plan evoformer-extra "$evoformer" 2 extra bf16
plan template-plain "$template, $adamw" 2 direct fp16 --kernels=plain
plan extra-small "$extra, $sgd" 2 small fp32
plan evoformer-tight "$larger" 4 auto fp32 --memory=16TiB --json="$report"
least=$(sed -n 's/.*"smallest_budget_bytes": *\([0-9]*\).*/\1/p' "$report")
plan evoformer-tight "$larger" 4 auto fp32 --memory="$least"
