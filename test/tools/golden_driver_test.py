#!/usr/bin/env python3
"""That golden_test.py can fail: with programs that give the reference values, wrong ones, or none at all."""
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import types
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))
import golden_test  # noqa: E402

SMALL = "evoformer_stress_one.safetensors"
CASES = 4 * 4 + 9 * (2 * 2 + 2)  # inference: four policies in four types; training: nine, in two types with two kernel sets, in two with one

# Stands in for evo-opt: the plan is the specification with policy and type, the report two budgets.
EVO_OPT = """#!{python}
import json, sys
flags = dict(a[2:].split("=", 1) for a in sys.argv[1:] if "=" in a)
if "json" in flags:
    json.dump({{"search": {{"smallest_budget_bytes": 1000}}, "summary": {{"predicted_peak_bytes": 2000}}}}, open(flags["json"], "w"))
else:
    json.dump(flags, open(sys.argv[sys.argv.index("-o") + 1], "w"))
"""

# Stands in for evo-run: writes the golden file's own outputs and gradients, as F64 in fp64, else as F32, scaled by FACTOR under the policy chunk.
EVO_RUN = """#!{python}
import array, json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, {golden!r})
import golden
plan = json.load(open(sys.argv[1]))
flags = dict(a[2:].split("=", 1) for a in sys.argv[2:])
if {crash}:
    sys.exit("out of luck")
factor = {factor} if plan["policy"] == "chunk" else 1.0
outputs, gradients = {{}}, {{}}
for name, tensor in golden.load({file!r})[0].items():
    prefix = next((p for p in ("out.", "grad.in.", "grad.param.") if name.startswith(p)), None)
    if prefix:
        kind = "d" if plan["dtype"] == "fp64" else "f"
        raw = array.array(kind, [v * factor for v in golden.values(tensor)]).tobytes()
        part = outputs if prefix == "out." else gradients
        part[name[len(prefix):]] = ("F64" if kind == "d" else "F32", tensor[1], raw)
golden.save(flags["outputs"], outputs)
if "gradients" in flags:
    golden.save(flags["gradients"], gradients)
"""


class Driver(unittest.TestCase):
    def drive(self, *flags, factor=1.0, crash=False):
        """The driver's exit status and output on one file."""
        golden = HERE.parent / "golden"
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "files").mkdir()
            os.symlink(golden / SMALL, folder / "files" / SMALL)
            for program, text in (("evo-opt", EVO_OPT), ("evo-run", EVO_RUN)):
                path = folder / program
                path.write_text(text.format(python=sys.executable, golden=str(golden), file=str(golden / SMALL), factor=factor, crash=crash))
                path.chmod(path.stat().st_mode | stat.S_IXUSR)
            done = subprocess.run([sys.executable, HERE / "golden_test.py", "--evo-opt", folder / "evo-opt", "--evo-run", folder / "evo-run",
                                   *flags, folder / "files"], capture_output=True, text=True)
            return done.returncode, done.stdout

    def test_reference_values_pass(self):
        status, output = self.drive()
        self.assertEqual((status, output.splitlines()[-1]), (0, f"{CASES} passed, 0 failed"), output)

    def test_disagreement_in_fp64_fails(self):
        # 1e-8 is within what fp32 and fp64 hold against the file, but not what two policies may differ by: in inference, and in training
        # with both kernel sets.
        status, output = self.drive(factor=1 + 1e-8)
        self.assertEqual((status, output.splitlines()[-1]), (1, f"{CASES - 3} passed, 3 failed"), output)
        self.assertIn("FAIL: evoformer_stress_one, infer, chunk, fp64, all kernels", output)
        for kernels in ("all", "plain"):
            self.assertIn(f"FAIL: evoformer_stress_one, train, chunk, fp64, {kernels} kernels", output)
        self.assertIn("expected direct's values within 1e-10", output)

    def test_wrong_values_fail(self):
        # Beyond what fp32 and fp64 hold and 5e-3 of fp16, then also 2e-2 of bf16.
        for error, failed in ((1e-2, ("fp32", "fp64", "fp16")), (3e-2, ("fp32", "fp64", "bf16", "fp16"))):
            status, output = self.drive(factor=1 + error)
            # In inference, and in training, where fp32 and fp64 have two kernel sets.
            count = 2 * len(failed) + 2
            self.assertEqual((status, output.splitlines()[-1]), (1, f"{CASES - count} passed, {count} failed"), output)
            for dtype in failed:
                self.assertIn(f"FAIL: evoformer_stress_one, infer, chunk, {dtype}, all kernels", output)

    def test_out_of_time(self):
        status, output = self.drive("--time-limit=-1")
        self.assertEqual((status, output.splitlines()[-1]), (1, f"0 passed, {CASES} failed"), output)
        self.assertIn("FAIL: evoformer_stress_one, train, auto:60, fp16, all kernels\nexpected a run, got no time left\n", output)

    def test_a_program_that_fails_is_told(self):
        status, output = self.drive(crash=True)
        self.assertEqual((status, output.splitlines()[-1]), (1, f"0 passed, {CASES} failed"), output)
        self.assertIn("out of luck", output)


class BesideStorage(unittest.TestCase):
    def problem(self, dtype, error, backend="cuda", crash=False):
        """What is said of a training run whose values are off by `error`, where rounding what the plan stores makes 1e-3."""
        folder = HERE.parent / "golden"
        with tempfile.TemporaryDirectory() as name:
            temporary = pathlib.Path(name)
            program, plan = temporary / "evo-run", temporary / "plan.json"
            program.write_text(EVO_RUN.format(python=sys.executable, golden=str(folder), file=str(folder / SMALL), factor=1 + error, crash="False"))
            program.chmod(0o755)
            plan.write_text(json.dumps({"policy": "chunk", "dtype": dtype}))
            outputs, gradients = temporary / "outputs.safetensors", temporary / "gradients.safetensors"
            subprocess.run([program, plan, f"--outputs={outputs}", f"--gradients={gradients}"], check=True)
            program.write_text(EVO_RUN.format(python=sys.executable, golden=str(folder), file=str(folder / SMALL), factor=1 + 1e-3, crash=crash))
            programs = types.SimpleNamespace(backend=backend, evo_run=program)
            return golden_test.worse_than_storage(programs, folder / SMALL, temporary, dtype, plan, outputs, gradients)

    def test_errors_are_held_to_what_storage_makes(self):
        self.assertEqual([self.problem(dtype, 1.4e-3) for dtype in ("bf16", "fp16")], ["", ""])
        of = ["{}: relative error 1.600e-03 > 1.5 times 1.000e-03, which rounding what the plan stores makes".format(part)
              for part in ("output m", "output z", "all gradients")]
        self.assertEqual(self.problem("bf16", 1.6e-3), "\n".join(of))
        self.assertEqual(self.problem("fp16", 1.6e-3), "\n".join(of[:2]))  # of gradients 2.5 times
        self.assertIn("all gradients: relative error 2.600e-03 > 2.5 times", self.problem("fp16", 2.6e-3))

    def test_other_types_and_the_cpu_are_left_alone(self):
        self.assertEqual([self.problem("fp32", 1), self.problem("bf16", 1, backend="cpu")], ["", ""])

    def test_a_run_that_fails_is_told(self):
        self.assertIn("out of luck", self.problem("bf16", 0, crash=True))


if __name__ == "__main__":
    unittest.main()
