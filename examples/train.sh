#!/usr/bin/env bash
# A small real training run: a stack with weights of its own (the student) learns to give the outputs of the same stack
# with other weights (the teacher) from the same inputs. The loss falls to a hundredth in some seconds.
#   bash examples/train.sh [FOLDER]      files go to FOLDER, train/ of the build folder by default
# Works from any folder. EVO_BUILD_DIR: build/ by default; EVO_BIN: a folder with the programs, instead of a build;
# EVO_STEPS: 300 by default.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath -m "${EVO_BUILD_DIR:-$root/build}")
bin=$(realpath -m "${EVO_BIN:-$build/bin}")
folder=$(realpath -m "${1:-$build/train}")
steps=${EVO_STEPS:-300}
here=$PWD

if [ -z "${EVO_BIN:-}" ]; then
  bash "$root/tools/setup.sh" >&2
  bash "$root/tools/build.sh" "$build" evo-opt evo-run
fi
mkdir -p "$folder"
cd "$folder"
run=("$bin/evo-run" plan.json --backend=cpu)

echo "== evo-opt: a plan for fit.json, which trains with AdamW"
"$bin/evo-opt" "$root/examples/specs/fit.json" --profile="$root/examples/profiles/cpu.json" -o plan.json --quiet

# The teacher: weights from seed 1, and what they make of the inputs from seed 0.
"${run[@]}" --random-seed=1 --warmup=0 --save-state=teacher.safetensors --quiet > teacher.txt
"${run[@]}" --weights=teacher.safetensors --warmup=0 --outputs=targets.safetensors --quiet > targets.txt

echo "== evo-run: $steps steps of the student, whose weights are from seed 0"
"${run[@]}" --targets=targets.safetensors --loss=mse --steps="$steps" --save-state=student.safetensors \
  --loss-curve=loss.svg --json=report.json
echo
echo "== evo-run: 10 steps more, from the state that was saved"
"${run[@]}" --load-state=student.safetensors --targets=targets.safetensors --loss=mse --steps=10 \
  --save-state=student.safetensors --json=more.json
echo
echo "(the loss as a picture: $(realpath --relative-to="$here" loss.svg); weights and optimizer state: student.safetensors beside it)"
