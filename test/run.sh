#!/usr/bin/env bash
# Installs what is missing, builds everything, runs every test. The last line is "N passed, N failed"; exit
# status 0 only where the build succeeded, tests ran and none failed. EVO_BUILD_DIR: build/ by default.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${EVO_BUILD_DIR:-$root/build}

fail() {
  echo "run.sh: $1" >&2
  echo "0 passed, 1 failed"
  exit 1
}

bash "$root/tools/setup.sh" || fail "the set-up failed"
# An earlier configure of the same folder may have left out tests or the compiler.
cmake -S "$root" -B "$build" -G Ninja -DEVO_BUILD_TESTS=ON -DEVO_BUILD_COMPILER=ON || fail "the configure failed"
bash "$root/tools/build.sh" "$build" || fail "the build failed"

results=$build/test-results.xml
rm -f "$results"
# CTest cuts the output of a passing test at 1 KiB unless told otherwise, and with it what is counted.
ctest --test-dir "$build" --output-on-failure --parallel "$(nproc)" --output-junit "$results" \
  --test-output-size-passed 1000000 --test-output-size-failed 1000000
status=$?
python3 "$root/test/count_tests.py" "$results" || exit 1
exit $status
