#!/bin/sh
# Part of Evo, under the Apache License v2.0. See LICENSE.
# That the suite fails, and says why, where the backend that it is to try is not there: missing_backend.sh PROGRAM
output=$(EVO_CONFORMANCE_BACKEND=abacus "$1" --gtest_filter='ConformanceSuite.*' 2>&1)
status=$?
case $output in
*"can run (cpu_baseline"*"), got 'abacus'"* | *"can run (cuda, cpu_baseline"*"), got 'abacus'"*) ;;
*) echo "expected the missing backend named, got: $output" >&2; exit 1 ;;
esac
if [ $status -eq 0 ]; then
  echo "expected a failure, got exit status 0: $output" >&2
  exit 1
fi
