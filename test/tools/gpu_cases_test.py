#!/usr/bin/env python3
"""test/bench/gpu_cases.py without a GPU: limits, choice of cases, figures, the table, and whole runs with programs that only seem to plan and run."""
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "test" / "bench"))
import gpu_cases  # noqa: E402
import limits  # noqa: E402
import plan_error  # noqa: E402
import prediction  # noqa: E402

H100 = json.loads((ROOT / "examples" / "profiles" / "h100.json").read_text())

# Stands in for evo-opt: 100 ms a block, or what NEEDS names as the smallest budget where --memory is less.
EVO_OPT = """#!{python}
import json, sys
flags = dict(a[2:].split("=", 1) for a in sys.argv[1:] if "=" in a)
spec = json.load(open(sys.argv[1]))
memory = int(flags.get("memory", 10**12))
needs = {needs}
if memory < needs:
    sys.exit(f"evo-opt: error: no plan of policy auto fits in {{memory}} bytes; the smallest feasible budget is {{needs}} bytes, of which")
summary = dict(predicted_ms={ms} * spec["blocks"], static_bytes=1000, predicted_peak_bytes=memory)
json.dump(dict(summary=summary), open(flags["json"], "w"))
json.dump(dict(summary, optimizer="optimizer" in spec, dtype=spec["dtype"], flags=flags), open(sys.argv[sys.argv.index("-o") + 1], "w"))
"""

# Stands in for evo-run: takes a tenth longer than predicted.
EVO_RUN = """#!{python}
import json, sys
flags = dict(a[2:].split("=", 1) for a in sys.argv[1:] if "=" in a)
if "--calibrate" in sys.argv:
    json.dump(dict(library_bytes=400, workspace_bytes=100, dtypes=[a for a in sys.argv if a.startswith("--dtype")]), open(sys.argv[sys.argv.index("-o") + 1], "w"))
    sys.exit()
if {crash}:
    sys.exit("evo-run: error: the device is gone")
plan = json.load(open(sys.argv[1]))
ms = plan["predicted_ms"] * 1.1
json.dump(dict(predicted_ms=plan["predicted_ms"], median_ms=ms, iterations_ms=[ms] * int(flags["iterations"]), predicted_peak_bytes=plan["predicted_peak_bytes"],
               measured_peak_bytes=[plan["predicted_peak_bytes"] + {over}], arena_bytes=3 * 10**9, static_bytes=10**9,
               running_on="NVIDIA H100 80GB HBM3, kernels 1, 1 thread"), open(flags["json"], "w"))
"""

# Stands in for evo-opt and evo-run under plan_error.py: what is not in fp64 takes 10 ms and 1000 bytes, and runs as predicted, on one thread of the host where that is the device, on evo-run's own where
# it is not.
PRICED = """#!{python}
import json, sys
wide = "--dtype=fp64" in sys.argv
report = sys.argv[sys.argv.index("-o") + 1] if "-o" in sys.argv else next(a for a in sys.argv if a.startswith("--json="))[7:]
json.dump(dict(summary=dict(predicted_ms={ms} if wide else 10, predicted_peak_bytes={peak} if wide else 1000), search=dict(smallest_budget_bytes=500)), open(report, "w"))
"""
RUN_AS_PRICED = """#!{python}
import json, sys
flags = dict(a[2:].split("=", 1) for a in sys.argv[1:] if "=" in a)
ms = json.load(open(sys.argv[1]))["summary"]["predicted_ms"]
if flags.get("threads") != ("1" if flags["backend"] == "cpu" else None):
    sys.exit("expected other threads than " + str(flags.get("threads")))
of = "thread_ms" if flags["backend"] == "cpu" else "iterations_ms"
json.dump({{"predicted_ms": ms, of: [ms] * int(flags["iterations"])}}, open(flags["json"], "w"))
"""

# Stands in for torch_baseline.py: the compiled step is the faster one, and counts how often it was called.
TORCH = """
import json, pathlib, sys
count = pathlib.Path(__file__).with_suffix(".calls")
count.write_text((count.read_text() if count.exists() else "") + "x")
print(json.dumps(dict(info=True, torch="2")))
for config in json.loads(sys.argv[sys.argv.index("--configs") + 1]):
    print(json.dumps(dict(config, ok=True, step_ms=9000.0 if config.get("compile") else 12000.0, peak_alloc_gb=3.75)))
"""


class Limits(unittest.TestCase):
    def limit(self, spec, mode, recompute=False, dtype="bf16", **changes):
        content = json.loads((ROOT / "examples" / "specs" / f"{spec}.json").read_text())
        return limits.fused_limit_ms({**content, "mode": mode, **changes}, H100, dtype, recompute)

    def test_a_transition_by_hand(self):
        # 10 positions, 2 channels, 3 times as many hidden: 2 * 10 * 2 * 6 FLOP, 10 * (2 + 6) and 10 * (6 + 2 * 2) elements.
        forward = limits.transition(10, 2, 3).forward
        self.assertEqual([(k.flops, k.elements) for k in forward], [(240, 80), (240, 100)])

    def test_a_kernel_takes_its_longest_part(self):
        rates = {"matmul_flop_per_s": {"bf16": 10, "fp64": 1}, "memory_bytes_per_s": 4, "exp_per_s": 2}
        self.assertEqual(limits.kernel_seconds(limits.Kernel(50, 2, 1, 1), rates, "bf16"), 5)  # 50 / 10
        self.assertEqual(limits.kernel_seconds(limits.Kernel(10, 2, 1, 1), rates, "bf16"), 2)  # (2 * 2 + 4) / 4
        self.assertEqual(limits.kernel_seconds(limits.Kernel(1, 2, 1, 0), rates, "fp64"), 6)  # (2 * 8 + 8) / 4
        self.assertEqual(limits.kernel_seconds(limits.Kernel(10, 0, 0, 9), rates, "bf16"), 4.5)  # 9 / 2

    def test_the_limits_of_an_h100(self):
        # Of an independent roofline of the same kernels, at 798 TFLOP/s, 3.0 TB/s and 3.9e12 exponentials a second: kept, and computed again.
        for spec, kept, again in (("train-128-256", 108.45, 139.85), ("train-512-256", 218.79, 285.27), ("train-512-384", 390.16, 508.62),
                                  ("extra-train-1024-256", 12.99, 17.08), ("extra-train-1024-384", 26.17, 34.47), ("extra-train-5120-384", 79.51, 106.61)):
            self.assertAlmostEqual(self.limit(spec, "train"), kept, delta=0.01)
            self.assertAlmostEqual(self.limit(spec, "train", True), again, delta=0.01)
        self.assertAlmostEqual(self.limit("infer-128-256", "infer"), 31.41, delta=0.01)
        self.assertAlmostEqual(self.limit("t1044-infer-128-2048", "infer"), 2339, delta=0.5)
        self.assertAlmostEqual(self.limit("infer-128-256", "infer", blocks=24), 31.41 / 2, delta=0.01)


class Figures(unittest.TestCase):
    def test_rank_correlation(self):
        self.assertEqual(prediction.rank_correlation([1, 2, 3], [10, 20, 90]), 1)
        self.assertEqual(prediction.rank_correlation([1, 2, 3], [3, 2, 1]), -1)
        self.assertEqual(prediction.ranks([5, 1, 5]), [1.5, 0, 1.5])
        # 1 - 6 * (0 + 1 + 1) / (3 * 8) of two neighbours exchanged.
        self.assertAlmostEqual(prediction.rank_correlation([1, 2, 3], [1, 3, 2]), 0.5)
        self.assertEqual(prediction.rank_correlation([7], [9]), 1)

    def test_errors(self):
        # 90 / 100 and 120 / 100: 10 and 20 %.
        self.assertEqual(prediction.sentence([(90, 100), (120, 100)]), "2 plans: mean error 15.0 %, worst 20.0 %, rank correlation 1.0000")

    def test_what_choosing_by_the_prediction_loses(self):
        # The second was predicted faster and is 5 % slower; in the other group the right one was.
        self.assertAlmostEqual(plan_error.choice_loss({"a": [(10, 100), (9, 105)], "b": [(1, 3), (2, 4)]}), 0.05)

    def test_shortcomings(self):
        class Arguments:
            most_error, least_correlation, least_plans = 10, 0.9, 3
        # Errors of 10 %; of 10, 10 and 11 %: 10.3 %; the last two exchanged: 1 - 6 * 2 / (3 * 8).
        good = [(90, 100), (180, 200), (270, 300)]
        self.assertEqual(plan_error.shortcomings(good, Arguments), [])
        self.assertEqual(plan_error.shortcomings(good[:2], Arguments), ["expected at least 3 plans run, got 2"])
        self.assertEqual(plan_error.shortcomings(good[:2] + [(267, 300)], Arguments), ["expected a mean error of at most 10 %, got 10.3 %"])
        self.assertEqual(plan_error.shortcomings([(100, 100), (105, 100.5), (104, 101)], Arguments), ["expected a rank correlation of at least 0.9, got 0.5000"])

    def test_a_gpu_has_at_least_30_plans(self):
        class Arguments:
            backend, dtype = "cuda", "bf16"
        self.assertGreaterEqual(len(set(plan_error.plans_of(Arguments))), 30)

    def test_the_fastest_of_pytorch(self):
        lines = [{"ok": True, "step_ms": 5.0, "graph": True, "peak_alloc_gb": 2}, {"ok": True, "step_ms": 4.0, "compile": "default", "graph": True, "peak_alloc_gb": 3},
                 {"ok": False, "oom": True}]
        self.assertEqual(gpu_cases.best_torch(lines), (4.0, 3, "compiled, graph"))
        self.assertEqual(gpu_cases.best_torch([{"ok": False, "oom": True, "graph": True}, {"ok": False, "error": "no"}]), (None, None, "graph: out of memory; eager: no"))
        self.assertEqual(gpu_cases.best_torch([{"ok": False, "oom": True, "graph": True}, {"ok": False, "oom": True}]), (None, None, "out of memory"))
        self.assertEqual(gpu_cases.best_torch([]), (None, None, "printed nothing"))


class Cases(unittest.TestCase):
    def test_groups_and_names(self):
        names = [case.name for case in gpu_cases.chosen("all")]
        self.assertEqual(len(names), len(set(names)))
        for name in ("T1", "T1-free", "T2", "T3", "E1", "E2", "E3", "I1", "I2", "I2-goal", "I3"):
            self.assertIn(name, names)
        self.assertEqual(names[0], "T1")
        self.assertEqual([case.name for case in gpu_cases.chosen("I3,T1,I3")], ["I3", "T1"])
        policies = {case.policy for case in gpu_cases.chosen("train-512-384")}
        self.assertEqual(policies, {"auto", "direct", "small", "large", "extra", "chunk"})
        with self.assertRaises(SystemExit) as refused:
            gpu_cases.chosen("T9")
        self.assertIn("got 'T9'", str(refused.exception))

    def test_a_peer_has_no_optimizer(self):
        self.assertNotIn("optimizer", gpu_cases.specification(gpu_cases.chosen("T1")[0]))
        self.assertIn("optimizer", gpu_cases.specification(gpu_cases.chosen("train-128-256/large")[0]))

    def test_specification(self):
        spec = gpu_cases.specification(gpu_cases.chosen("I3")[0])
        self.assertEqual((spec["sizes"], spec["blocks"], spec["dtype"], spec["mode"]), ({"s": 128, "r": 4096}, 1, "bf16", "infer"))

    def test_what_pytorch_is_asked_for(self):
        case = gpu_cases.chosen("E1")[0]
        first, otherwise = gpu_cases.torch_configs(case, gpu_cases.specification(case), 29.0, True)
        self.assertEqual([(c["s"], c["r"], c["stack"], c["ckpt"], c.get("compile"), c.get("graph")) for c in first + otherwise],
                         [(1024, 256, "extra", True, "default", True), (1024, 256, "extra", True, None, True), (1024, 256, "extra", True, "default", None)])
        # Seconds a step, in fp32 proper.
        case = gpu_cases.chosen("t1044-infer-128-2048/auto")[0]
        first, otherwise = gpu_cases.torch_configs(case, gpu_cases.specification(case), 3883.0, False)
        self.assertEqual([(c["r"], c["dtype"], c["tf32"], c["ckpt"], c.get("compile"), c.get("graph"), c["iters"]) for c in first + otherwise],
                         [(2048, "fp32", False, False, "default", None, 2), (2048, "fp32", False, False, None, None, 2)])


class Table(unittest.TestCase):
    def test_a_row(self):
        row = {"case": "T1", "policy": "auto", "blocks": 48, "dtype": "bf16", "mode": "train", "budget_bytes": 4505306368, "predicted_ms": 190.0, "median_ms": 200.0,
               "iterations_ms": [200.0] * 5, "predicted_peak_bytes": 4490000000, "measured_peak_bytes": 4400000000, "arena_bytes": 3000000000, "static_bytes": 500000000,
               "torch_ms": 514.0, "torch_gb": 3.7, "torch_how": "compiled, graph", "limit_ms": 140.0, "goal": "170 ms", "goal_ms": 170, "seed": "", "peer": True,
               "notes": ["a", "b"]}
        # 190 / 200 - 1, 514 / 200, 140 / 200; 200 / 170.
        self.assertEqual(gpu_cases.cells(row), ["T1", "auto, 48 blocks, bf16", "4.51", "190.0", "200.0", "-5.0 %", "514.0 (compiled, graph)", "2.57", "140.0", "70 %", "4.49",
                                                "4.40", "3.50", "3.70", "170 ms", "faster, no more memory; goal missed: 1.18 of its time", "a; b"])
        text = gpu_cases.table([row], "a card")
        self.assertTrue(text.startswith("On a card:\n\n| case | "))
        self.assertTrue(text.endswith("\n1 plans: mean error 5.0 %, worst 5.0 %, rank correlation 1.0000.\n"), text)

    def test_verdicts(self):
        run = {"median_ms": 100.0, "arena_bytes": 2 * 10**9, "static_bytes": 10**9, "torch_ms": 101.0, "torch_gb": 3.0, "peer": True}
        for expected, changes in (("faster, no more memory", {}), ("slower", {"torch_ms": 100.0}), ("more memory", {"torch_gb": 2.999}), ("memory unknown", {"torch_gb": None}),
                                  ("slower, more memory", {"torch_ms": 99.0, "torch_gb": 2.0}), ("faster, no more memory; goal met", {"goal_ms": 100}),
                                  ("faster", {"peer": False, "torch_gb": 2.0}), ("slower", {"peer": False, "torch_ms": 99.0}),
                                  ("PyTorch has no memory for it", {"torch_ms": None, "torch_gb": None, "torch_how": "out of memory"}),
                                  ("", {"torch_ms": None, "torch_gb": None, "torch_how": "status 1: x"}), ("", {"median_ms": None, "goal_ms": 100})):
            self.assertEqual(gpu_cases.verdict({**run, **changes}), expected)

    def test_a_row_without_a_run(self):
        row = {"case": "X", "policy": "direct", "blocks": 48, "dtype": "fp16", "mode": "train", "goal": "", "seed": "OOM", "notes": ["no plan fits: needs 114.5 GB"]}
        self.assertEqual(gpu_cases.cells(row), ["X", "direct, 48 blocks, fp16", "device"] + [""] * 11 + ["OOM", "", "no plan fits: needs 114.5 GB"])


class Driver(unittest.TestCase):
    def drive(self, cases, *flags, needs=0, ms=100, crash=False, over=0, torch=False, status=0):
        """Rows, table and progress of a run with the seeming programs."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for program, text in (("evo-opt", EVO_OPT), ("evo-run", EVO_RUN)):
                path = folder / program
                path.write_text(text.format(python=sys.executable, needs=needs, ms=ms, crash=crash, over=over))
                path.chmod(path.stat().st_mode | stat.S_IXUSR)
            (folder / "torch.py").write_text("")  # so that PyTorch seems to be installed
            (folder / "baseline.py").write_text(TORCH)
            done = subprocess.run([sys.executable, ROOT / "test" / "bench" / "gpu_cases.py", "--evo-opt", folder / "evo-opt", "--evo-run", folder / "evo-run", "--cases", cases,
                                   "-o", folder / "t.md", "--json", folder / "t.json", *(["--torch", folder / "baseline.py"] if torch else []), *flags],
                                  capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(folder)})
            self.assertEqual(done.returncode, status, done.stderr)
            calls = folder / "baseline.calls"
            self.torch_calls = len(calls.read_text()) if calls.exists() else 0
            return json.loads((folder / "t.json").read_text()), (folder / "t.md").read_text(), done.stderr

    def test_budgets(self):
        rows, text, progress = self.drive("T1,I1,I2-goal,train-128-256/large")
        # 3.5e9 and the libraries' 400; the device's; 3.5 U of 2048 * 2048 * 128 * 2 bytes, the static 1000 and the libraries' 400; the device's.
        self.assertEqual([row["budget_bytes"] for row in rows], [3500000400, 0, 3758096384 + 1000 + 400, 0])
        self.assertEqual([row["dtype"] for row in rows], ["bf16", "bf16", "bf16", "fp16"])
        self.assertEqual([len(row["iterations_ms"]) for row in rows], [2] * 4)  # 4800 ms are above 2500
        self.assertIn("median of 2", text)
        self.assertAlmostEqual(rows[0]["limit_ms"], 139.85, delta=0.01)
        self.assertIn("4414 MB, 3635 ms", text)
        self.assertIn("1/4 T1: 5280.0 ms, median of 2 (", progress)

    def test_very_long_runs_take_one(self):
        rows, _, _ = self.drive("T1", ms=200)  # 9600 ms
        self.assertEqual((len(rows[0]["iterations_ms"]), rows[0]["notes"]), (1, ["median of 1"]))

    def test_short_runs_take_five(self):
        rows, _, _ = self.drive("T1", ms=10)
        self.assertEqual((len(rows[0]["iterations_ms"]), rows[0]["notes"]), (5, []))

    def test_pytorch_beside_it_once_for_cases_that_share_it(self):
        rows, text, _ = self.drive("T1,T1-goal", torch=True)
        self.assertEqual([(row["torch_ms"], row["torch_gb"], row["torch_how"]) for row in rows], [(9000.0, 3.75, "compiled")] * 2)
        self.assertEqual(self.torch_calls, 1)
        self.assertIn("| 9000.0 (compiled) | 1.70 |", text)  # 9000 / 5280

    def test_pytorch_beside_the_seeds_tables(self):
        # auto and direct share a run, large has a checkpoint a block, and so has auto where there is no memory without.
        rows, _, _ = self.drive("train-128-256/auto,train-128-256/direct,train-128-256/large", torch=True, ms=10)
        self.assertEqual([(row["torch_ms"], row["torch_how"], gpu_cases.verdict(row)) for row in rows], [(9000.0, "compiled, graph", "faster")] * 3)
        self.assertEqual(self.torch_calls, 2)
        with unittest.mock.patch(f"{__name__}.TORCH", TORCH.replace("dict(config, ok=True,", "dict(config, ok=False, oom=True) if not config['ckpt'] else dict(config, ok=True,")):
            rows, _, _ = self.drive("train-128-256/auto,train-128-256/direct", torch=True, ms=10)
        self.assertEqual([(row["torch_ms"], row["torch_how"]) for row in rows], [(9000.0, "compiled, graph, a checkpoint a block"), (None, "out of memory")])

    def test_pytorch_is_not_asked_for_what_the_seeds_policy_has_no_plan_for(self):
        rows, _, _ = self.drive("train-128-256/direct", torch=True, needs=2 * 10**12)
        self.assertEqual((self.torch_calls, rows[0]["notes"]), (0, ["no plan fits: needs 2000.0 GB"]))

    def test_long_runs_of_the_seed_take_fewer_blocks(self):
        rows, _, _ = self.drive("train-128-256/chunk", ms=1000)
        # 48 s are shortened to 5: 5 of 48 blocks.
        self.assertEqual((rows[0]["blocks"], rows[0]["notes"][0], rows[0]["predicted_ms"]), (5, "5 of 48 blocks", 5000))

    def test_what_does_not_fit_is_said(self):
        rows, text, progress = self.drive("T1", needs=5 * 10**9, status=1)
        self.assertEqual(rows[0]["notes"], ["no plan fits: needs 5.0 GB"])
        self.assertIn("No run succeeded.", text)
        self.assertIn("\ngpu_cases.py: expected every case to run, got 1 of 1 that did not or not as they should: T1\n", progress)

    def test_a_named_policy_that_does_not_fit_is_a_result(self):
        # No budget is given, so the seeming evo-opt has 10^12 bytes.
        for case, status in (("train-128-256/direct", 0), ("train-128-256/auto", 1)):
            rows, _, _ = self.drive(case, needs=2 * 10**12, status=status)
            self.assertEqual(rows[0]["notes"], ["no plan fits: needs 2000.0 GB"])

    def test_without_pytorch_nothing_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, "-I", "-c", "import importlib.util, sys; importlib.util.find_spec = lambda name: None; sys.path.insert(0, sys.argv.pop(1)); "
                                   "import gpu_cases; sys.exit(gpu_cases.main())", ROOT / "test" / "bench", "--evo-opt=x", "--evo-run=x", "--torch=x", "--cases=T1"],
                                  capture_output=True, text=True, cwd=folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn("which --torch is run with, got none; without --torch", done.stderr)

    def test_pytorch_that_fails_is_said(self):
        for answer, status in (("dict(config, ok=False, oom=True)", 0), ("dict(config, ok=False, error='no')", 1)):
            with unittest.mock.patch(f"{__name__}.TORCH", TORCH.replace("dict(config, ok=True, step_ms=9000.0 if config.get(\"compile\") else 12000.0, peak_alloc_gb=3.75)", answer)):
                rows, _, progress = self.drive("T1", torch=True, status=status)
            self.assertEqual("did not or not as they should: T1" in progress, bool(status))
            self.assertIn("PyTorch: ", rows[0]["notes"][-1])

    def test_a_run_that_fails_is_said(self):
        rows, _, _ = self.drive("T1", crash=True, status=1)
        self.assertEqual(rows[0]["notes"], ["failed: evo-run: error: the device is gone"])

    def test_more_memory_than_predicted_fails(self):
        rows, _, _ = self.drive("T1", over=1, status=1)
        self.assertIn("more memory than predicted", rows[0]["notes"])

    def test_pytorch_out_of_time_counts_what_was_printed(self):
        class Options:
            torch, time_limit, profile, torch_compiled = "baseline.py", 60, "", False
        case = gpu_cases.chosen("T1")[0]
        whole = json.dumps({"ok": True, "compile": "default", "graph": True, "step_ms": 9.5, "peak_alloc_gb": 3.5})
        for printed, ms, notes in ((f'{{"info": true}}\n{whole}\n{{"ok": tr', 9.5, []), ("", None, ["PyTorch: out of time"])):
            bench, row = gpu_cases.Bench(Options, None), {"notes": []}
            with unittest.mock.patch.object(bench, "call", side_effect=gpu_cases.OutOfTime(printed)):
                bench.run_torch(case, gpu_cases.specification(case), row)
            self.assertEqual((row["torch_ms"], row["notes"]), (ms, notes))

    def test_out_of_time(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as profile:
            json.dump({"library_bytes": 0}, profile)
            profile.flush()
            rows, _, progress = self.drive("T1,I1", "--time-limit=0", f"--profile={profile.name}", status=1)
        self.assertIn("got 2 of 2 that did not or not as they should: T1, I1\n", progress)
        self.assertEqual([row["notes"] for row in rows], [["not finished: out of time"]] * 2)


class PlanError(unittest.TestCase):
    def drive(self, *flags, predicted_ms=100, peak=1000):
        """Exit status, output and problems on the CPU's plans, of which those in fp64 seem to take predicted_ms and peak; a run takes 10 ms a step."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for program, text in (("evo-opt", PRICED), ("evo-run", RUN_AS_PRICED)):
                (folder / program).write_text(text.format(python=sys.executable, ms=predicted_ms, peak=peak))
                (folder / program).chmod(0o755)
            (folder / "p.json").write_text('{"memory_bytes": 5000}')
            done = subprocess.run([sys.executable, ROOT / "test" / "bench" / "plan_error.py", "--evo-opt", folder / "evo-opt", "--evo-run", folder / "evo-run",
                                   "--profile", folder / "p.json", *flags], capture_output=True, text=True)
            return done.returncode, done.stdout, done.stderr

    def test_good_predictions(self):
        status, output, problems = self.drive()
        self.assertEqual((status, problems), (0, ""), output)
        self.assertIn("\n35 plans: mean error 0.0 %", output)
        status, output, problems = self.drive("--backend=cuda")
        self.assertEqual((status, problems), (0, ""), output)
        self.assertIn("\n42 plans: mean error 0.0 %", output)

    def test_threads_are_a_positive_number(self):
        for wrong in ("0", "-1", "two"):
            status, _, problems = self.drive(f"--threads={wrong}")
            self.assertEqual(status, 2)
            self.assertIn(f"--threads: expected a whole number of at least 1, got '{wrong}'", problems)

    def test_plans_that_are_left_out_are_named(self):
        for changes, why in (({"predicted_ms": 20001}, "too slow: predicted 20.0 of 20 s"), ({"peak": 5001}, "too large: 5001 of 5000 bytes")):
            status, output, problems = self.drive("--least-plans=32", **changes)
            # Two plans of `small` and two of `template-pair` are in fp64.
            self.assertEqual((status, problems), (1, "plan_error.py: expected at least 32 plans run, got 31\n"), output)
            self.assertIn(f"\nleft out: template-pair infer r=128 chunk fp64: {why}\n", output)
            self.assertEqual(output.count("left out: "), 4)

    def test_out_of_time(self):
        status, output, problems = self.drive("--time-limit=0")
        self.assertEqual((status, output.count(": out of time\n")), (1, 35), output)
        self.assertIn("expected a plan that this device can run, got none", problems)


if __name__ == "__main__":
    unittest.main()
