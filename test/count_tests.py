#!/usr/bin/env python3
"""Counts single tests in what `ctest --output-junit FILE` wrote, and prints "N passed, N failed".

A CTest entry that ran a GoogleTest program, lit or Python's unittest counts as many tests as its output tells of, any other
one counts as one. An entry that failed counts at least one failure, whatever its output says (a crash).
Exit status 1 where a test failed or none passed.
"""
import re
import sys
import xml.etree.ElementTree as xml

GTEST_PASSED = re.compile(r"^\[  PASSED  \] (\d+) tests?\.", re.MULTILINE)
GTEST_FAILED = re.compile(r"^\[  FAILED  \] (\d+) tests?, listed below", re.MULTILINE)
LIT_PASSED = re.compile(r"^\s*(?:Passed|Expectedly Failed)\s*:\s*(\d+)", re.MULTILINE)
LIT_FAILED = re.compile(r"^\s*(?:Failed|Unresolved|Timed Out|Unexpectedly Passed)\s*:\s*(\d+)", re.MULTILINE)
UNITTEST_RAN = re.compile(r"^Ran (\d+) tests? in ", re.MULTILINE)
UNITTEST_FAILED = re.compile(r"^FAILED \((?:failures=(\d+))?(?:, )?(?:errors=(\d+))?", re.MULTILINE)
OWN = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)


def total(patterns, output):
    return sum(int(n) for pattern in patterns for n in pattern.findall(output))


def count(ok, output):
    """Passed and failed single tests of one CTest entry."""
    ran = total((UNITTEST_RAN,), output)
    if ran:
        broken = sum(int(n or 0) for pair in UNITTEST_FAILED.findall(output) for n in pair)
        return max(ran - broken, 0), broken if ok else max(broken, 1)
    own = OWN.findall(output)
    passed = total((GTEST_PASSED, LIT_PASSED), output) + sum(int(p) for p, _ in own)
    failed = total((GTEST_FAILED, LIT_FAILED), output) + sum(int(f) for _, f in own)
    if ok and passed + failed == 0:
        return 1, 0
    return passed, failed if ok else max(failed, 1)


def count_file(path):
    passed = failed = 0
    for case in xml.parse(path).getroot().iter("testcase"):
        status = case.get("status")
        if status in ("disabled", "notrun") and case.find("failure") is None and case.find("skipped") is not None:
            continue
        p, f = count(status == "run", case.findtext("system-out") or "")
        passed, failed = passed + p, failed + f
    return passed, failed


def main():
    if len(sys.argv) != 2:
        sys.exit("count_tests.py: expected one file, got " + str(len(sys.argv) - 1))
    try:
        passed, failed = count_file(sys.argv[1])
    except (OSError, xml.ParseError) as error:
        print(f"count_tests.py: {error}", file=sys.stderr)
        passed, failed = 0, 1
    print(f"{passed} passed, {failed} failed")
    return 0 if passed > 0 and failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
