#!/usr/bin/env python3
"""Runs the cases that this project is measured by and writes a table: time and memory, predicted and measured, beside PyTorch and the limit.

  gpu_cases.py --evo-opt PROGRAM --evo-run PROGRAM [--profile DEVICE.json] [--backend cuda] [--torch torch_baseline.py [--torch-compiled]] [--cases NAME,...]
               [--time-limit SECONDS] [-o TABLE.md] [--json ROWS.json]

Cases are `peers` (training, the extra MSA stack and inference at the sizes that PyTorch was measured at), `seed` (the seed's tables of one
device: every named policy and auto) or single names; --list shows them. Without --profile the device is calibrated first. Evo's time is the median
of five iterations after a warm-up, random weights and inputs; of two where an iteration is predicted above 1.2 s, of one without a warm-up above 8 s (the table says of how many).
A case of the seed's tables whose run is predicted above 5 s runs with fewer blocks, a plan of their own, which the table says too.

--torch names a program that takes `--configs JSON` and prints a line of JSON for each configuration (step_ms, peak_alloc_gb, ok, oom): it
runs after Evo's run of the same case, compiled and not, and the fastest counts; in the seed's tables with a checkpoint a block where the policy recomputes whole blocks, or where
auto's case has no memory without, beside runs alone, and no verdict on memory, as policies have all of the device's. Memory compares what both allocate (arena and static part, PyTorch's
peak): a case's budget is such bytes, the kernels' workspace among them as PyTorch's is, and the profile's share of the libraries. The optimizer's step is no part of either.
"limit" is fused_limit_ms of limits.py at the rates of examples/profiles; the share of it is limit / measured. "verdict" says whether Evo was faster than PyTorch and allocated no more, and
whether the time of the case's goal is met. A plan that no budget fits, a run that fails and PyTorch's out of memory
are said in the last column. The table is written anew after each case, so one that is stopped leaves what it has. Exit status 1, with the cases
named, where one failed or did not run, on Evo's side or PyTorch's. A named policy that does not fit the device is a result, as PyTorch's out of memory is.
"""
import argparse
import dataclasses
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import limits
import prediction

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
SHORT_MS, LONG_MS, ENDLESS_MS = 1200, 5000, 8000
NO_PLAN, OUT_OF_MEMORY = "no plan fits", "out of memory"
GB = 1e9


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    spec: str
    mode: str
    dtype: str = "bf16"
    policy: str = "auto"
    blocks: int = 0  # 0: the specification's
    sizes: tuple = ()
    allocated_gb: float = 0  # budget of arena and static part; 0: all that the device has
    units: float = 0  # budget of the arena in r^2 c_z elements
    recompute: bool = False  # of the limit and of PyTorch: each block runs forward twice
    peer: bool = False  # within PyTorch's memory, without an optimizer: must have a plan, and both memories are compared
    goal_ms: float = 0
    goal: str = ""
    shorten: bool = False  # may run with fewer blocks
    seed: str = ""  # what the seed's table says


def peers():
    # Memory: what PyTorch allocated on an H100 (test/bench/measured/h100.md), rounded down.
    def train(name, spec, gb, goal_ms, goal_gb=0, recompute=True):
        goal = f"{goal_ms:g} ms" + (f", {goal_gb:g} GB" if goal_gb else "")
        case = Case(name, spec, "train", allocated_gb=gb, recompute=recompute, peer=True, goal_ms=goal_ms, goal=goal)
        # The goal's memory where it is less than the peer's.
        return [case] + ([dataclasses.replace(case, name=name + "-goal", allocated_gb=goal_gb)] if goal_gb else [])
    t1, free = train("T1", "train-128-256", 3.5, 170, 3.0), train("T1-free", "train-128-256", 68, 130, 60, False)
    t2, t3 = train("T2", "train-512-256", 7.3, 340, 6), train("T3", "train-512-384", 12.4, 610, 9)
    e1, e2 = train("E1", "extra-train-1024-256", 2.6, 22), train("E2", "extra-train-1024-384", 4.7, 44)
    e3 = train("E3", "extra-train-5120-384", 20.9, 140, 8)
    i1 = Case("I1", "infer-128-256", "infer", peer=True, goal_ms=40, goal="40 ms")
    i2 = Case("I2", "t1044-infer-128-2048", "infer", allocated_gb=19.8, peer=True, goal_ms=3500, goal="3500 ms, 3.5 U")
    i2u = dataclasses.replace(i2, name="I2-goal", allocated_gb=0, units=3.5)
    i3 = Case("I3", "t1044-infer-128-2048", "infer", blocks=1, sizes=(("r", 4096),), allocated_gb=35, peer=True, goal_ms=500, goal="500 ms")
    # The longest chain that a card of 80 GB is to hold; PyTorch's is 6144.
    longest = Case("longest", "t1044-infer-128-2048", "infer", blocks=1, sizes=(("r", 12288),), goal="runs")
    # What matters most comes first: a time limit cuts the end.
    return [t1[0], i1, e1[0], t1[1], *free, t2[0], t3[0], i2u, e2[0], e3[0], i3, e3[1], t2[1], t3[1], i2, longest]


def seed():
    told = {("train-128-256", "small"): "8119 MB, 3657 ms", ("train-128-256", "large"): "4414 MB, 3635 ms",
            ("train-512-256", "small"): "18952 MB, 7950 ms", ("train-512-256", "large"): "10729 MB, 7915 ms",
            ("train-512-384", "small"): "OOM", ("train-512-384", "large"): "17810 MB, 17063 ms",
            ("extra-train-1024-256", "extra"): "3236 MB, 2306 ms", ("extra-train-1024-384", "extra"): "6976 MB, 3749 ms",
            ("extra-train-5120-384", "extra"): "16168 MB, 58394 ms", ("t1044-infer-128-2048", "direct"): "OOM",
            ("t1044-infer-128-2048", "chunk"): "23374 MB, 339742 ms"}
    cases = []
    for spec in ("train-128-256", "extra-train-1024-256", "train-512-256", "train-512-384", "extra-train-1024-384", "extra-train-5120-384"):
        for policy in ("auto", "large", "small", "extra", "direct", "chunk"):
            cases.append(Case(f"{spec}/{policy}", spec, "train", "fp16", policy, recompute=policy in ("large", "small", "extra"),
                              shorten=True, seed=told.get((spec, policy), "")))
    for policy in ("auto", "direct", "chunk"):
        cases.append(Case(f"t1044-infer-128-2048/{policy}", "t1044-infer-128-2048", "infer", "fp32", policy, shorten=True,
                          seed=told.get(("t1044-infer-128-2048", policy), "")))
    # auto and what the seed has a number for before the others.
    return sorted(cases, key=lambda case: case.policy != "auto" and not case.seed)


def chosen(names):
    groups = {"peers": peers(), "seed": seed()}
    groups["all"] = groups["peers"] + groups["seed"]
    single = {case.name: [case] for case in groups["all"]}
    cases = []
    for name in names.split(","):
        found = groups.get(name) or single.get(name) or [c for c in groups["seed"] if c.spec == name]
        if not found:
            sys.exit(f"gpu_cases.py: expected all, peers, seed, a specification of the seed's or the name of a case (--list), got '{name}'")
        cases += [case for case in found if case not in cases]
    return cases


def specification(case, blocks=0):
    """The case's own: the optimizer's state is no part of what is compared with a peer."""
    spec = json.loads((EXAMPLES / "specs" / f"{case.spec}.json").read_text())
    spec.update(mode=case.mode, dtype=case.dtype, blocks=blocks or case.blocks or spec["blocks"])
    spec["sizes"].update(case.sizes)
    if case.peer:
        spec.pop("optimizer", None)
    return spec


def torch_configs(case, spec, predicted_ms, recompute):
    """Compiled with its step in a graph, and the same uncompiled; what a graph has no memory for is tried without one."""
    size = {"s": spec["sizes"]["s"], "r": spec["sizes"]["r"], "stack": "extra" if spec["stack"] == "extra_msa" else "evo", "blocks": spec["blocks"],
            "dtype": case.dtype, "mode": case.mode, "attn": "sdpa", "ckpt": recompute, "iters": 5, "warmup": 2, "guard": 150}
    if case.dtype == "fp32":
        size["tf32"] = False  # as Evo's fp32
    if (predicted_ms or case.goal_ms) > SHORT_MS:  # seconds a step: nothing that a graph would save
        size.update(iters=2, warmup=1)
        return [dict(size, compile="default")], [size]
    return [dict(size, compile="default", graph=True), dict(size, graph=True)], [dict(size, compile="default")]


def best_torch(lines):
    """The fastest of what the program printed, as (ms, GB, how); where none ran, why in the last, OUT_OF_MEMORY alone where it was that."""
    best, problems, short = None, [], True
    for line in lines:
        how = ", ".join((["compiled"] if line.get("compile") else []) + (["graph"] if line.get("graph") else [])) or "eager"
        if line.get("ok") and line.get("step_ms"):
            if best is None or line["step_ms"] < best[0]:
                best = (line["step_ms"], line.get("peak_alloc_gb"), how)
        else:
            short = short and bool(line.get("oom"))
            problems.append(f"{how}: " + (OUT_OF_MEMORY if line.get("oom") else str(line.get("error") or line.get("guard_hit") or "no time left")))
    return best or (None, None, OUT_OF_MEMORY if problems and short else "; ".join(problems) or "printed nothing")


def iterations_of(predicted_ms):
    return 5 if predicted_ms <= SHORT_MS else 2 if predicted_ms <= ENDLESS_MS else 1


class OutOfTime(Exception):
    """Holds what the program had printed."""


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.deadline = time.monotonic() + options.time_limit
        self.profile = options.profile
        self.torch_results = {}  # of configurations that several cases share

    def call(self, *words):
        """Exit status, output and what it said of problems."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise OutOfTime("")
        try:
            done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=left, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as stopped:
            raise OutOfTime((stopped.output or b"").decode(errors="replace")) from None
        return done.returncode, done.stdout, done.stderr.strip()

    def calibrate(self, dtypes):
        self.profile = self.folder / "device.json"
        status, _, problem = self.call(self.options.evo_run, "--calibrate", f"--backend={self.options.backend}", *(f"--dtype={d}" for d in dtypes), "--quiet",
                                       "-o", self.profile)
        if status:
            sys.exit(f"gpu_cases.py: the calibration failed: {problem}")

    def plan(self, case, spec, memory):
        """The compile report, or nothing and why there is no plan."""
        (self.folder / "spec.json").write_text(json.dumps(spec))
        status, _, problem = self.call(self.options.evo_opt, self.folder / "spec.json", "-o", self.folder / "plan.json", f"--policy={case.policy}",
                                       f"--profile={self.profile}", f"--json={self.folder / 'compile.json'}", "--quiet", *([f"--memory={memory}"] if memory else []))
        if status:
            needed = re.search(r"smallest feasible budget is (\d+)", problem)
            return None, f"{NO_PLAN}: needs {int(needed.group(1)) / GB:.1f} GB" if needed else problem.splitlines()[0]
        return json.loads((self.folder / "compile.json").read_text()), ""

    def budget(self, case, spec):
        """--memory; 0: the device's."""
        libraries = json.loads(pathlib.Path(self.profile).read_text())["library_bytes"]
        if case.allocated_gb:
            return int(case.allocated_gb * GB) + libraries
        if not case.units:
            return 0
        report, problem = self.plan(case, spec, 0)
        if not report:
            return 0
        unit = spec["sizes"]["r"] ** 2 * spec["channels"]["c_z"] * limits.ELEMENT_BYTES[case.dtype]
        return int(case.units * unit) + report["summary"]["static_bytes"] + libraries

    def run_plan(self, case, spec, row):
        """Plans and runs, and fills the row; what is wrong is said in its note."""
        row["budget_bytes"] = memory = self.budget(case, spec)
        report, problem = self.plan(case, spec, memory)
        if report and case.shorten and report["summary"]["predicted_ms"] > LONG_MS:
            fewer = max(1, int(spec["blocks"] * LONG_MS / report["summary"]["predicted_ms"]))
            row["notes"].append(f"{fewer} of {spec['blocks']} blocks")
            spec["blocks"] = fewer
            report, problem = self.plan(case, spec, memory)
        if not report:
            row["notes"].append(problem)
            row["failed"] = case.peer or case.policy == "auto" or not problem.startswith(NO_PLAN)
            return
        iterations = iterations_of(report["summary"]["predicted_ms"])
        status, _, problem = self.call(self.options.evo_run, self.folder / "plan.json", f"--backend={self.options.backend}", f"--iterations={iterations}",
                                       f"--warmup={iterations // 2}", "--quiet", f"--json={self.folder / 'run.json'}")
        if status:
            row["notes"].append("failed: " + (problem.splitlines()[-1] if problem else f"status {status}"))
            row["failed"] = True
            return
        run = json.loads((self.folder / "run.json").read_text())
        row.update({key: run[key] for key in ("predicted_ms", "median_ms", "iterations_ms", "predicted_peak_bytes", "arena_bytes", "static_bytes", "running_on")})
        row["measured_peak_bytes"] = run["measured_peak_bytes"][0]
        if len(run["iterations_ms"]) < 5:
            row["notes"].append(f"median of {len(run['iterations_ms'])}")
        if run["measured_peak_bytes"][0] > run["predicted_peak_bytes"]:
            row["notes"].append("more memory than predicted")
            row["failed"] = True

    def torch_lines(self, configs):
        """What the program printed of each configuration, and its problem."""
        left = self.deadline - time.monotonic()
        try:
            status, output, problem = self.call(sys.executable, self.options.torch, "--configs", json.dumps(configs), "--budget", f"{left:.0f}")
            problem = f"status {status}: {problem[-200:]}"
        except OutOfTime as stopped:
            output, problem = str(stopped), "out of time"
        return [json.loads(line) for line in output.splitlines() if line.startswith("{") and line.endswith("}") and '"info"' not in line], problem

    def best_of(self, case, spec, row, recompute):
        """best_torch of what the case asks PyTorch for, which several cases may share."""
        first, otherwise = torch_configs(case, spec, row.get("predicted_ms"), recompute)
        if self.options.torch_compiled:
            first = first[:1]
        key = json.dumps(first)
        if key not in self.torch_results:
            lines, problem = self.torch_lines(first)
            if otherwise and not any(line.get("ok") and line.get("compile") for line in lines):
                more, problem = self.torch_lines(otherwise)
                lines += more
            self.torch_results[key] = best_torch(lines) if lines else (None, None, problem)
        return self.torch_results[key]

    def run_torch(self, case, spec, row):
        found = self.best_of(case, spec, row, case.recompute)
        if found[2] == OUT_OF_MEMORY and case.policy == "auto" and case.mode == "train" and not case.recompute:
            again = self.best_of(case, spec, row, True)
            found = (*again[:2], f"{again[2]}, a checkpoint a block") if again[0] else again
        row["torch_ms"], row["torch_gb"], row["torch_how"] = found
        if row["torch_ms"] is None:
            row["notes"].append(f"PyTorch: {row['torch_how']}")
            row["failed"] = row.get("failed") or row["torch_how"] != OUT_OF_MEMORY

    def run(self, case):
        spec = specification(case)
        row = {"case": case.name, "policy": case.policy, "dtype": case.dtype, "mode": case.mode, "goal": case.goal, "goal_ms": case.goal_ms, "seed": case.seed, "peer": case.peer,
               "notes": []}
        try:
            self.run_plan(case, spec, row)
            row["blocks"] = spec["blocks"]
            rates = rates_of(row.get("running_on", ""), self.options.rates)
            if rates:
                row["limit_ms"] = limits.fused_limit_ms(spec, rates, case.dtype, case.recompute)
            if self.options.torch and (case.peer or row.get("median_ms")):
                start = time.monotonic()
                self.run_torch(case, spec, row)
                row["torch_s"] = time.monotonic() - start
        except OutOfTime:
            row["notes"].append("not finished: out of time")
            row["failed"] = True
        return row


def rates_of(device, given=None):
    """The analytic profile of a device, by its name."""
    if given:
        return json.loads(pathlib.Path(given).read_text())
    for name in ("h100", "h200"):
        if name.upper() in device:
            return json.loads((EXAMPLES / "profiles" / f"{name}.json").read_text())
    return None


def verdict(row):
    """How the run stands against PyTorch's, and against the goal's time; nothing where there is neither."""
    said, measured, torch = [], row.get("median_ms"), row.get("torch_ms")
    if measured and torch:
        faults, peak = ["slower"] if measured >= torch else [], row.get("torch_gb")
        if row["peer"] and peak is None:
            faults.append("memory unknown")
        elif row["peer"] and row["arena_bytes"] + row["static_bytes"] > peak * GB:
            faults.append("more memory")
        said.append(", ".join(faults) or ("faster, no more memory" if row["peer"] else "faster"))
    elif measured and row.get("torch_how") == OUT_OF_MEMORY:
        said.append("PyTorch has no memory for it")
    if measured and row.get("goal_ms"):
        said.append("goal met" if measured <= row["goal_ms"] else f"goal missed: {measured / row['goal_ms']:.2f} of its time")
    return "; ".join(said)


def cells(row):
    """A row of the table."""
    def number(value, form="{:.1f}"):
        return "" if value is None else form.format(value)

    def gigabytes(*keys):
        return number(sum(row[key] for key in keys) / GB if all(row.get(key) is not None for key in keys) else None, "{:.2f}")
    measured, predicted, limit, torch = (row.get(key) for key in ("median_ms", "predicted_ms", "limit_ms", "torch_ms"))
    return [row["case"], f"{row['policy']}, {row.get('blocks', '')} blocks, {row['dtype']}", gigabytes("budget_bytes") if row.get("budget_bytes") else "device",
            number(predicted), number(measured), number(100 * (predicted / measured - 1) if measured else None, "{:+.1f} %"),
            number(torch) + (f" ({row['torch_how']})" if torch else ""), number(torch / measured if torch and measured else None, "{:.2f}"),
            number(limit), number(100 * limit / measured if limit and measured else None, "{:.0f} %"),
            gigabytes("predicted_peak_bytes"), gigabytes("measured_peak_bytes"), gigabytes("arena_bytes", "static_bytes"), number(row.get("torch_gb"), "{:.2f}"),
            row["goal"] or row["seed"], verdict(row), "; ".join(row["notes"])]


HEADER = ["case", "plan", "budget GB", "predicted ms", "measured ms", "off by", "PyTorch ms", "PyTorch / Evo", "limit ms", "of the limit", "peak predicted GB",
          "peak measured GB", "allocated GB", "PyTorch GB", "goal, or the seed's", "verdict", "notes"]


def table(rows, device):
    lines = [f"On {device}:" if device else "No run succeeded.", "", "| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in cells(row)) + " |" for row in rows]
    pairs = [(row["predicted_ms"], row["median_ms"]) for row in rows if row.get("median_ms")]
    if pairs:
        lines += ["", prediction.sentence(pairs) + "."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", required="--list" not in sys.argv)
    parser.add_argument("--evo-run", required="--list" not in sys.argv)
    parser.add_argument("--profile")
    parser.add_argument("--rates", help="profile whose rates make the limit (default: the device's in examples/profiles)")
    parser.add_argument("--backend", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--torch")
    parser.add_argument("--torch-compiled", action="store_true", help="PyTorch compiled only, which is a third of the time")
    parser.add_argument("--cases", default="all")
    parser.add_argument("--time-limit", type=float, default=3600)
    parser.add_argument("-o", "--output")
    parser.add_argument("--json")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    cases = chosen(options.cases)
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    if options.torch and not importlib.util.find_spec("torch"):
        sys.exit(f"gpu_cases.py: expected PyTorch in {sys.executable}, which --torch is run with, got none; without --torch its columns stay empty")
    rows, device = [], ""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, pathlib.Path(folder))
        if not bench.profile:
            bench.calibrate(sorted({case.dtype for case in cases}))
        for number, case in enumerate(cases, 1):
            start = time.monotonic()
            row = bench.run(case)
            rows.append(row)
            device = device or row.get("running_on", "")
            said = [f"{row['median_ms']:.1f} ms" if row.get("median_ms") else "no time"]
            said += [f"PyTorch {row['torch_ms']:.1f} ms"] if row.get("torch_ms") else []
            seconds = f"{time.monotonic() - start:.0f} s" + (f", {row['torch_s']:.0f} of them PyTorch's" if row.get("torch_s") else "")
            print(f"{number}/{len(cases)} {case.name}: {', '.join(said + row['notes'])} ({seconds})", file=sys.stderr, flush=True)
            if options.output:
                pathlib.Path(options.output).write_text(table(rows, device))
            if options.json:
                pathlib.Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    if not options.output:
        print(table(rows, device), end="")
    failed = [row["case"] for row in rows if row.get("failed")]
    if failed:
        print(f"gpu_cases.py: expected every case to run, got {len(failed)} of {len(rows)} that did not or not as they should: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
