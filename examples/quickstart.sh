#!/usr/bin/env bash
# From nothing to an answer: installs what is missing, builds Evo, plans examples/specs/small.json and runs
# the plan on the CPU. Works from any folder; EVO_BUILD_DIR: build/ by default.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath -m "${EVO_BUILD_DIR:-$root/build}")
spec=$root/examples/specs/small.json

bash "$root/tools/setup.sh" >&2
bash "$root/tools/build.sh" "$build" evo-opt evo-run

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "== evo-opt: a plan for $(basename "$spec")"
"$build/bin/evo-opt" "$spec" --profile="$root/examples/profiles/cpu.json" -o "$folder/plan.json" \
  --report="$build/quickstart.html"
echo
echo "(the same as a page, with the memory over time: $(realpath --relative-to=. "$build/quickstart.html"))"
echo
echo "== evo-run: the plan on the CPU"
"$build/bin/evo-run" "$folder/plan.json" --backend=cpu --iterations=3
