#!/usr/bin/env bash
# Configures and builds Evo: tools/build.sh BUILD_DIR [TARGET...]. Says nothing on standard output, so that
# a caller's own output is all there is.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${1:?expected a build folder}
shift

# A job with MLIR's headers takes about 1.5 GiB at most: no more jobs than the memory holds.
jobs=$(nproc)
available=$(awk '/^MemAvailable:/ { print int($2 / 1572864) }' /proc/meminfo)
[ "$available" -ge "$jobs" ] || jobs=$((available > 0 ? available : 1))

# A folder that was configured before keeps its generator and its options, but for these two.
generator=()
[ -f "$build/CMakeCache.txt" ] || generator=(-G Ninja)
targets=()
[ $# -eq 0 ] || targets=(--target "$@")
{
  cmake -S "$root" -B "$build" "${generator[@]}" -DEVO_BUILD_COMPILER=ON -DEVO_BUILD_TESTS=ON
  cmake --build "$build" --parallel "$jobs" "${targets[@]}"
} >&2
