#!/usr/bin/env bash
# Installs what is missing, builds everything, runs every test. The last line is "N passed, N failed"; exit
# status 0 only where the build succeeded, tests ran and none failed. EVO_BUILD_DIR: build/ by default.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath -m "${EVO_BUILD_DIR:-$root/build}")

fail() {
  echo "run.sh: $1" >&2
  echo "0 passed, 1 failed"
  exit 1
}

bash "$root/tools/setup.sh" || fail "the set-up failed"
bash "$root/tools/build.sh" "$build" 2>&1 || fail "the build failed"

results=$build/test-results.xml
rm -f "$results"
# CTest cuts the output of a passing test at 1 KiB unless told otherwise, and with it what is counted.
ctest --test-dir "$build" --output-on-failure --parallel "$(nproc)" --output-junit "$results" \
  --test-output-size-passed 1000000 --test-output-size-failed 1000000
status=$?
python3 "$root/test/count_tests.py" "$results" || exit 1
exit $status
