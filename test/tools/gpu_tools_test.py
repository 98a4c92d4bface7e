#!/usr/bin/env python3
"""What gpu_checks.py, gpu_sanitizer.py, gpu_budget_test.py, gpu_products.py and on_gpu.py do without a GPU: reading logs, spreading budgets, judging a run; with programs that only seem to run."""
import argparse
import collections
import json
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))
import gpu_budget_test as budget  # noqa: E402
import gpu_checks as checks  # noqa: E402
import gpu_products as products  # noqa: E402
import gpu_sanitizer as sanitizer  # noqa: E402
import on_gpu  # noqa: E402

MEMCHECK = """========= COMPUTE-SANITIZER
========= Invalid __global__ read of size 2 bytes
=========     at void evo::cuda::<unnamed>::rowsKernel<__half, (int)4>(evo::cuda::Axes<2>, const T1 *)+0x4f0 in Rows.cuh:77
=========     by thread (31,0,0) in block (5,0,0)
=========     Address 0x7f2 is out of bounds
=========     Saved host backtrace up to driver entry point at kernel launch time
=========
========= Invalid __global__ read of size 2 bytes
=========     at void evo::cuda::<unnamed>::rowsKernel<__half, (int)4>(evo::cuda::Axes<2>, const T1 *)+0x4f0 in Rows.cuh:77
=========     by thread (30,0,0) in block (5,0,0)
=========
========= ERROR SUMMARY: 2 errors
"""
RACE = """========= Error: Race reported between Write access at void evo::cuda::<unnamed>::sumKernel<float>(const T1 *)+0x2b0 in Sum.cu:31
=========     and Read access at void evo::cuda::<unnamed>::sumKernel<float>(const T1 *)+0x3f0 in Sum.cu:33 [4096 hazards]
=========
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""
UNWRITTEN = """========= Uninitialized __global__ memory read of size 4 bytes
=========     at void evo::cuda::<unnamed>::sumKernel<float>(const T1 *)+0x10
=========     by thread (0,0,0) in block (0,0,0)
=========
========= ERROR SUMMARY: 1 error
"""

# Stands in for compute-sanitizer, and for the suite: finds something in the tests whose names hold "Bad" and hangs in those with "Slow".
SANITIZER = """#!/bin/sh
for word; do last=$word; done
case $last in
*Bad*) cat {log}; exit 97 ;;
*Slow*) exec sleep 30 ;;
*Red*) echo "[  FAILED  ]"; exit 1 ;;
*Mute*) echo "[       OK ]"; exit 0 ;;
*Large*) printf 'cases left out by EVO_CONFORMANCE_LIMIT: 7\n[  SKIPPED ] x (0 ms)\n' ;;
esac
echo "========= ERROR SUMMARY: 0 errors"
"""
SUITE = """#!/bin/sh
printf 'Conformance.\\n  Good/Sum_fp32  # GetParam() = Sum, 3100 cases\\n  {name}/1\\n'
"""


class Logs(unittest.TestCase):
    def test_memcheck(self):
        self.assertEqual(sanitizer.findings(MEMCHECK),
                         collections.Counter({("Invalid __global__ read of size 2 bytes", "evo::cuda::_::rowsKernel<__half, (int)4> (Rows.cuh:77)"): 2}))

    def test_racecheck(self):
        found = sanitizer.findings(RACE)
        self.assertEqual([kernel for _, kernel in found], ["evo::cuda::_::sumKernel<float>"])

    def test_initcheck(self):
        self.assertEqual(sanitizer.findings(UNWRITTEN),
                         collections.Counter({("Uninitialized __global__ memory read of size 4 bytes", "evo::cuda::_::sumKernel<float>"): 1}))

    def test_racecheck_alone_leaves_large_cases_out(self):
        plans = "PlanSizesTest.AgreesWithReference/Attention_"
        limits = [sanitizer.size_limit(*one) for one in (("memcheck", plans + "bf16_3"), ("initcheck", "Kernels/Conformance.Agrees/Linear_fp32"),
                                                         ("racecheck", "Kernels/Conformance.Agrees/Linear_bf16"), ("racecheck", plans + "tf32_3"),
                                                         ("racecheck", plans + "fp16_3"))]
        self.assertEqual(limits[:2], [0, 0])
        self.assertEqual(limits[2], limits[3])
        self.assertLess(0, limits[3])
        self.assertLess(limits[3], limits[4])

    def test_nothing_found(self):
        self.assertFalse(sanitizer.findings("========= COMPUTE-SANITIZER\n[ OK ] x\n========= ERROR SUMMARY: 0 errors\n"))


class Driver(unittest.TestCase):
    def drive(self, name, *flags):
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            (folder / "log").write_text(MEMCHECK)
            for program, text in (("sanitizer", SANITIZER.format(log=folder / "log")), ("suite", SUITE.format(name=name))):
                path = folder / program
                path.write_text(text)
                path.chmod(path.stat().st_mode | stat.S_IXUSR)
            done = subprocess.run([sys.executable, HERE / "gpu_sanitizer.py", "--conformance", folder / "suite", "--sanitizer", folder / "sanitizer", "--jobs=2",
                                   "--tools=memcheck", *flags], capture_output=True, text=True)
            return done.returncode, done.stdout

    def expect(self, name, status, ending, *flags):
        got, output = self.drive(name, *flags)
        self.assertEqual((got, output.splitlines()[-1]), (status, ending), output)
        return output

    def test_all_good(self):
        # 3100 cases are three parts of at most 1500, the other test has one.
        self.expect("Fine", 0, "4 passed, 0 failed")

    def test_a_finding_names_its_kernel(self):
        output = self.expect("Bad", 1, "3 passed, 1 failed")
        self.assertIn("  2 x Invalid __global__ read of size 2 bytes: evo::cuda::_::rowsKernel<__half, (int)4> (Rows.cuh:77)\n", output)

    def test_a_test_that_fails_without_a_finding_fails(self):
        output = self.expect("Red", 1, "3 passed, 1 failed")
        self.assertIn("1 0/1 failed without a finding", output)

    def test_without_a_summary_of_the_sanitizer_nothing_passes(self):
        self.expect("Mute", 1, "3 passed, 1 failed")

    def test_what_tries_no_case_is_skipped(self):
        output = self.expect("Large", 0, "3 passed, 0 failed")
        self.assertIn("memcheck: 3 passed, 0 failed, 0 unfinished, 1 skipped, 7 cases left out", output)

    def test_out_of_time(self):
        output = self.expect("Slow", 1, "3 passed, 1 failed", "--time-limit=1")
        self.assertIn("  unfinished: 1 0/1\n", output)


class Judgement(unittest.TestCase):
    MIB = 1 << 20

    def problems(self, budget_mib=1000, predicted=1000, within=690, outside=690, share=190, **changes):
        """Of a run of 400 + 100 MiB and 190 MiB of libraries, as many as a tiny plan has."""
        run = {"backend": "cuda", "measured_peak_bytes": [within * self.MIB], "arena_bytes": 400 * self.MIB, "static_bytes": 100 * self.MIB,
               "measured_library_bytes": 190 * self.MIB, "library_bytes": 500 * self.MIB, "growth_bytes": 0, "taken_bytes": [], "recorded_launches": 512, **changes}
        plan = {"predicted_peak_bytes": predicted * self.MIB, "arena_bytes": 400 * self.MIB, "static_bytes": 100 * self.MIB}
        return budget.problems_of(run, plan, budget_mib * self.MIB, outside and outside * self.MIB, share and share * self.MIB)

    def test_a_good_run(self):
        self.assertEqual(self.problems(), [])
        # One granule less, one more and 512 launches of 4 KiB, 2 MiB.
        self.assertEqual(self.problems(share=192), [])
        self.assertEqual(self.problems(within=692, outside=692 + 2), [])
        self.assertEqual(self.problems(backend="cpu", outside=None, share=None, measured_library_bytes=None, within=500), [])

    def test_refusals_of_what_is_too_large(self):
        said = "evo-run: error: arena: got no memory; the plan needs {} bytes (arena 400, static part 100, libraries 50), of {} that were free before its arena"
        plan = {"predicted_peak_bytes": 550}
        self.assertEqual(budget.refusal_problems(1, said.format(550, 549), plan), [])
        for status, text in ((0, said.format(550, 549)), (1, "evo-run: error: got no memory"), (1, said.format(551, 549)), (1, said.format(550, 550))):
            self.assertEqual(len(budget.refusal_problems(status, text, plan)), 1, text)

    def test_bad_runs(self):
        for expected, changes in ((["predicted peak of"], {"budget_mib": 999}), (["evo-run measured", "library measured"], {"budget_mib": 689, "predicted": 689}),
                                  (["more of recordings, got"], {"within": 693 + 2, "outside": 693 + 2}), (["more of recordings, got"], {"share": 193}),
                                  (["more of recordings, got"], {"within": 692 + 2, "outside": 692 + 2, "recorded_launches": 511}), (["at most 16384 launches, got 16385"], {"recorded_launches": 16385}),
                                  (["measure the same within 2097152 bytes, got 723517440 and 725614593"], {"outside": 692 + 1 / self.MIB}),
                                  (["static_bytes of 104857600 as predicted, got 104857599"], {"static_bytes": 100 * self.MIB - 1}),
                                  # An arena of 150 MiB more than is told: evo-run calls it libraries.
                                  (["arena_bytes of 419430400 as predicted, got 262144000", "more of recordings, got"],
                                   {"arena_bytes": 250 * self.MIB, "measured_library_bytes": 340 * self.MIB}),
                                  (["from within, from outside and of a tiny plan, got 199229440, None and "], {"outside": None}),
                                  (["got 199229440, 723517440 and None"], {"share": None}), (["expected 524288000 bytes on the cpu"], {"backend": "cpu"}),
                                  (["no growth after the warm-up, got 1 "], {"growth_bytes": 1}),
                                  (["libraries within"], {"library_bytes": 189 * self.MIB}), (["got None, 723517440 and 199229440"], {"measured_library_bytes": None})):
            found = self.problems(**changes)
            self.assertEqual(len(found), len(expected), found)
            for problem, part in zip(found, expected):
                self.assertIn(part, problem)

    def test_a_gpu_without_its_management_library_fails(self):
        with unittest.mock.patch.object(budget.ctypes, "CDLL", side_effect=OSError("no such library")), self.assertRaises(SystemExit) as refused:
            budget.Watch("cuda")
        self.assertIn("measures runs from outside, got no such library; --backend=cpu needs none", str(refused.exception))
        self.assertEqual(budget.Watch("cpu").around(lambda: 7), (7, None))

    def test_the_share_of_a_tiny_plan_is_measured_from_outside(self):
        options = argparse.Namespace(backend="cuda")
        with tempfile.TemporaryDirectory() as folder:
            test = budget.Budgets(options, pathlib.Path(folder), "bf16", None)
            run = {"arena_bytes": 30, "static_bytes": 4, "measured_library_bytes": 999}
            with unittest.mock.patch.object(test, "compile", return_value=(0, "")), unittest.mock.patch.object(test, "execute", return_value=(run, [], 100, "")) as ran:
                self.assertEqual([test.share("train"), test.share("train"), test.share("infer")], [66, 66, 66])  # 100 - 30 - 4
            self.assertEqual(ran.call_count, 2)
            with unittest.mock.patch.object(test, "compile", return_value=(1, "no plan")):
                test.shares.clear()
                self.assertIsNone(test.share("train"))

    def test_budgets(self):
        self.assertEqual(budget.budgets(100, 1600, 5), [100, 200, 400, 800, 1600])
        self.assertEqual(budget.budgets(100, 90, 5), [100])


# Stands in for evo-run: its library is "l 2", and a run's outputs tell of the table that it follows.
EVO_RUN = """#!/usr/bin/env python3
import json, sys
flags = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
if "--calibrate" in sys.argv:
    open(sys.argv[sys.argv.index("-o") + 1], "w").write(json.dumps({profile}))
else:
    table = json.load(open(sys.argv[1])).get("products")
    follows = table and table["library"] == "l 2"
    open(flags["--outputs"], "w").write(str(table if follows else None) + {noise})
    products = None if follows or not table else "the plan's table is of " + table["library"]
    open(flags["--json"], "w").write(json.dumps(dict(products=products, median_ms=2.0, predicted_ms=3.0)))
"""


class Products(unittest.TestCase):
    WAYS = [[1] * 9, [2] * 9, [3] * 9]
    FIRST = {"input": "bf16", "output": "f32", "transposes": "nn", "shapes": [[8, 8, 8, 1, 0]]}
    OTHER = {"input": "bf16", "output": "bf16", "transposes": "tn", "shapes": [[8, 8, 8, 1, 3], [16, 8, 8, 1, 0], [32, 8, 8, 1, 1]]}
    TF32 = {"input": "f32", "output": "f32", "multiplied": "tf32", "transposes": "nn", "shapes": [[8, 8, 8, 1, 2]]}
    TABLE = {"library": "l 2", "ways": WAYS, "series": [FIRST, OTHER, TF32]}

    def test_a_plan_gets_the_part_of_its_type(self):
        self.assertEqual(products.table_for(self.TABLE, "bf16"),
                         {"library": "l 2", "ways": [[3] * 9, [1] * 9], "series": [{**self.OTHER, "shapes": [[8, 8, 8, 1, 1], [16, 8, 8, 1, 0], [32, 8, 8, 1, 2]]}]})
        self.assertEqual(products.table_for(self.TABLE, "tf32"), {"library": "l 2", "ways": [[2] * 9], "series": [{**self.TF32, "shapes": [[8, 8, 8, 1, 1]]}]})
        self.assertIsNone(products.table_for(self.TABLE, "fp32"))

    def run_driver(self, profile, noise="''"):
        """Exit status and what is printed, of a plan for inference."""
        with tempfile.TemporaryDirectory() as folder:
            run, plan = pathlib.Path(folder) / "evo-run", pathlib.Path(folder) / "p.json"
            run.write_text(EVO_RUN.format(profile=repr(profile), noise=noise))
            run.chmod(run.stat().st_mode | stat.S_IXUSR)
            plan.write_text(json.dumps({"mode": "infer", "tensors": []}))
            done = subprocess.run([sys.executable, HERE / "gpu_products.py", f"--evo-run={run}", plan], capture_output=True, text=True)
            return done.returncode, done.stdout + done.stderr

    def test_plans_run_by_the_table(self):
        status, text = self.run_driver({"products": self.TABLE})
        self.assertEqual(status, 0, text)
        self.assertIn("table      1 classes, 3 shapes, 2 in one of 2 other ways", text)
        self.assertIn("p.json: 2.000 ms without the table, 2.000 and 2.000 with it; other bytes than without; predicted 3.000 ms", text)
        self.assertEqual(self.run_driver({}), (0, "no product of bf16 is quicker in another way than the library's first\n".join(["\n", ""])))

    def test_other_bytes_and_unfollowed_tables_fail(self):
        status, text = self.run_driver({"products": self.TABLE}, "str(__import__('os').getpid())")
        self.assertEqual(status, 1)
        self.assertIn("FAILED: expected the same bytes of two runs with the table, got others", text)
        status, text = self.run_driver({"products": {**self.TABLE, "library": "l 1"}})
        self.assertEqual(status, 1)
        self.assertIn("FAILED: expected the table to be followed, got 'the plan's table is of l 1'", text)


class AllChecks(unittest.TestCase):
    # Stands in for the suite: one test of each of three parts, and what the environment said.
    SUITE = """#!/bin/sh
printf '[       OK ] Suite.One (1 ms)\\n[  SKIPPED ] Suite.Two (0 ms)\\n[  SKIPPED ] 1 test, listed below:\\n[  SKIPPED ] Suite.Two\\n'
echo "$EVO_CONFORMANCE_BACKEND $EVO_CONFORMANCE_SEED part $GTEST_SHARD_INDEX of $GTEST_TOTAL_SHARDS on $CUDA_VISIBLE_DEVICES"
[ "$GTEST_SHARD_INDEX" = 1 ] && {{ {second}; }}
echo '[  PASSED  ] 1 test.'
"""

    def drive(self, second, *flags):
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            (folder / "suite").write_text(self.SUITE.format(second=second))
            (folder / "suite").chmod(0o755)
            done = subprocess.run([sys.executable, HERE / "gpu_checks.py", "--conformance", folder / "suite", "--checks=random", "--devices=4,7", "--jobs=3",
                                   f"--logs={folder / 'logs'}", *flags], capture_output=True, text=True)
            return done, "".join(path.read_text() for path in sorted(folder.glob("logs/*.log")))

    def test_the_suite_is_dealt_to_devices(self):
        done, logs = self.drive(":")
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (0, "3 passed, 0 failed"), done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"\nrandom +\d+ +3 +0 +3\n")
        for part, device in enumerate("474"):
            self.assertIn(f"cuda random part {part} of 3 on {device}\n", logs)

    def test_what_fails_breaks_off_or_hangs_fails(self):
        for second in ("echo '[  FAILED  ] Suite.Three (2 ms)'; exit 1", "kill -9 $$", "exit 3", "exec sleep 30"):
            done, _ = self.drive(second, "--time-limit=2")
            self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (1, "3 passed, 1 failed"), second + done.stdout)

    def test_a_check_without_time_fails(self):
        done, _ = self.drive(":", "--time-limit=0")
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (1, "0 passed, 1 failed"), done.stdout)

    def test_counts_of_a_tool(self):
        self.assertEqual(checks.counts_of("racecheck: 3 passed, 0 failed, 0 unfinished, 2 skipped, 7 cases left out\n3 passed, 1 failed\n"), (3, 1, 2))
        self.assertIsNone(checks.counts_of("Traceback (most recent call last):\n"))

    def test_unknown_checks_and_missing_tools_are_refused(self):
        done, _ = self.drive(":", "--checks=random,speed")
        self.assertIn("--checks: expected some of conformance, random, budgets", done.stderr)
        done, _ = self.drive(":", "--checks=golden")
        self.assertIn("--checks: expected --evo-opt and --evo-run for golden", done.stderr)


class OnGpu(unittest.TestCase):
    FAILS = [sys.executable, "-c", "raise SystemExit(3)"]

    def test_without_a_device_nothing_runs(self):
        with unittest.mock.patch.object(on_gpu.ctypes, "CDLL", side_effect=OSError("no driver")), unittest.mock.patch("builtins.print") as said:
            self.assertEqual(on_gpu.main(self.FAILS), 77)
        said.assert_called_once_with("skipped: this machine has no GPU")

    def test_with_a_device_the_command_runs(self):
        def count(number):
            number._obj.value = 2
            return 0
        with unittest.mock.patch.object(on_gpu.ctypes, "CDLL") as driver:
            driver.return_value.cuInit.return_value, driver.return_value.cuDeviceGetCount.side_effect = 0, count
            self.assertEqual(on_gpu.main(self.FAILS), 3)
            driver.return_value.cuInit.return_value = 100  # CUDA_ERROR_NO_DEVICE
            self.assertEqual(on_gpu.devices(), 0)


if __name__ == "__main__":
    unittest.main()
