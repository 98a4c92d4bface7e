#!/usr/bin/env bash
# Configures and builds Evo: tools/build.sh BUILD_DIR [TARGET...]. Says nothing on standard output, so that
# a caller's own output is all there is.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${1:?expected a build folder}
shift

# A job of MLIR's headers takes about 1.5 GiB at most: no more jobs than the memory holds.
jobs=$(nproc)
available=$(awk '/^MemAvailable:/ { print int($2 / 1572864) }' /proc/meminfo)
[ "$available" -ge "$jobs" ] || jobs=$((available > 0 ? available : 1))

{
  if [ ! -f "$build/build.ninja" ]; then
    cmake -S "$root" -B "$build" -G Ninja
  fi
  if [ $# -gt 0 ]; then
    cmake --build "$build" --parallel "$jobs" --target "$@"
  else
    cmake --build "$build" --parallel "$jobs"
  fi
} >&2
