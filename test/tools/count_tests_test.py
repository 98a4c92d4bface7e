#!/usr/bin/env python3
"""The counting of test/count_tests.py, on outputs as the programs write them."""
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import count_tests  # noqa: E402

GTEST = """[==========] 5 tests from 2 test suites ran. (3 ms total)
[  PASSED  ] 3 tests.
[  FAILED  ] 2 tests, listed below:
[  FAILED  ] A.B
[  FAILED  ] A.C
"""
LIT = """Testing Time: 0.19s

Total Discovered Tests: 8
  Passed           : 5 (62.50%)
  Expectedly Failed: 1 (12.50%)
  Failed           : 2 (25.00%)
"""


class Count(unittest.TestCase):
    def test_programs_with_counts(self):
        self.assertEqual(count_tests.count(False, GTEST), (3, 2))
        self.assertEqual(count_tests.count(True, "[  PASSED  ] 1 test.\n"), (1, 0))
        self.assertEqual(count_tests.count(False, LIT), (6, 2))
        self.assertEqual(count_tests.count(True, "....\nRan 4 tests in 0.1s\n\nOK\n"), (4, 0))
        self.assertEqual(count_tests.count(False, "Ran 4 tests in 0.1s\n\nFAILED (failures=1, errors=2)\n"), (1, 3))
        self.assertEqual(count_tests.count(False, "Ran 4 tests in 0.1s\n\nFAILED (errors=1)\n"), (3, 1))
        self.assertEqual(count_tests.count(True, "pass: a\n4 passed, 0 failed\n"), (4, 0))

    def test_programs_without_counts(self):
        self.assertEqual(count_tests.count(True, "fine\n"), (1, 0))
        self.assertEqual(count_tests.count(False, ""), (0, 1))

    def test_a_crash_behind_passed_tests_is_a_failure(self):
        self.assertEqual(count_tests.count(False, "[  PASSED  ] 3 tests.\n"), (3, 1))

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "junit.xml"
            path.write_text(
                "<testsuite><testcase name='a' status='run'><system-out>[  PASSED  ] 4 tests.\n</system-out></testcase>"
                "<testcase name='b' status='fail'><failure/><system-out>no</system-out></testcase>"
                "<testcase name='c' status='notrun'><failure/></testcase>"
                "<testcase name='d' status='disabled'><skipped/></testcase></testsuite>")
            self.assertEqual(count_tests.count_file(str(path)), (4, 2))


if __name__ == "__main__":
    unittest.main()
