#!/usr/bin/env python3
"""That plans keep to their budgets: auto at budgets from the least that is feasible up, each plan run and its memory measured.

  gpu_budget_test.py --evo-opt PROGRAM --evo-run PROGRAM [--backend cuda] [--profile DEVICE.json] [--spec NAME[:KEY=VALUE...]]... [--dtype bf16,fp16,...]
                     [--budgets 20] [--time-limit SECONDS]

For each specification (default: training at (128, 256) with 4 blocks, inference with 12) in each type (all that the backend has) budgets, 3 in all types but the first, are spread evenly, in logarithms, from the
smallest that evo-opt names to the peak of the plan that has memory for everything. One byte less than the smallest must be refused. Each run must
  - take no more than its budget, measured by the device's own management library, by evo-run, and every few milliseconds from outside, which agree within 2 MiB;
  - allocate the arena and the static part that were predicted, and take these and the libraries' share, which is that of a tiny plan in the same type and mode, measured from outside before, within a
    granule of 2 MiB and what the recordings of its launches may take;
  - have libraries that hold no more than the profile says;
  - grow by nothing after the warm-up; in training at the least and the largest budget in optimizer steps, too;
  - give the same bytes of outputs and gradients when it runs again.
A plan that is larger than the device must be refused with what it needs and what was free.
Without the management library nothing measures a run from outside, and the test of a GPU fails. On the CPU measured memory is arena and static part. Ends with "N passed, N failed"; exit status 1 where one failed.
"""
import argparse
import array
import collections
import ctypes
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPECS = ROOT / "examples" / "specs"
DEFAULT_SPECS = ("train-128-256:blocks=4", "infer-128-256:blocks=12")
FEW = 3  # budgets of all types but the first
GRANULE = 2 << 20
# What a plan may take beyond a tiny one: LaunchQueue keeps recordings of 16384 launches of the device at most (kMostKept), each of which took up to 3.7 KB beyond a granule
# (test/bench/measured/h100.md).
MOST_LAUNCHES, LAUNCH_BYTES = 16384, 4096
POLL_S = 0.002

sys.path.insert(0, str(ROOT / "test" / "golden"))
sys.dont_write_bytecode = True
import golden  # noqa: E402


class Memory(ctypes.Structure):
    """nvmlMemory_t."""
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class Watch:
    """The most that a device gives while a program runs, seen from outside it; nothing on the CPU."""

    def __init__(self, backend):
        self.library, self.device = None, ctypes.c_void_p()
        if backend == "cuda":
            try:
                self.library = ctypes.CDLL("libnvidia-ml.so.1")
                status = self.library.nvmlInit_v2() or self.library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self.device))
            except OSError as error:
                status = error
            if status:
                sys.exit("gpu_budget_test.py: expected a device whose management library, libnvidia-ml.so.1 of its driver, measures runs from outside, "
                         f"got {status}; --backend=cpu needs none")

    def used(self):
        memory = Memory()
        self.library.nvmlDeviceGetMemoryInfo(self.device, ctypes.byref(memory))
        return memory.total - memory.free

    def around(self, action):
        """What the action returns, and by how much use rose; no bytes where it is not known."""
        if not self.library:
            return action(), None
        before, most, done = self.used(), [0], threading.Event()

        def poll():
            while not done.wait(POLL_S):
                most[0] = max(most[0], self.used())
        thread = threading.Thread(target=poll)
        thread.start()
        try:
            result = action()
        finally:
            done.set()
            thread.join()
        return result, most[0] - before


def command(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.returncode, done.stderr.strip()


def budgets(least, most, count):
    """`count` of them from least to most, evenly in logarithms."""
    if count == 1 or most <= least:
        return [least]
    return [round(least * (most / least) ** (i / (count - 1))) for i in range(count)]


def growth_problems(run):
    return [f"expected no growth after the warm-up, got {run['growth_bytes']} bytes; taken {run['taken_bytes']}"] if run["growth_bytes"] != 0 else []


def problems_of(run, plan, budget, outside, share):
    """What a run's report and its plan say against each other, and against the libraries' share that a tiny plan has."""
    found, recordings = [], LAUNCH_BYTES * run["recorded_launches"]
    measured, held = run["measured_peak_bytes"][0], run["arena_bytes"] + run["static_bytes"]
    if plan["predicted_peak_bytes"] > budget:
        found.append(f"expected a plan within {budget} bytes, got a predicted peak of {plan['predicted_peak_bytes']}")
    for who, taken in (("evo-run", measured), ("the device's library", outside)):
        if taken is not None and taken > budget:
            found.append(f"expected at most {budget} bytes, {who} measured {taken}")
    for key in ("arena_bytes", "static_bytes"):
        if run[key] != plan[key]:
            found.append(f"expected {key} of {plan[key]} as predicted, got {run[key]}")
    libraries = run["measured_library_bytes"]
    if run["backend"] == "cpu":
        return found + ([] if measured == held else [f"expected {held} bytes on the cpu, got {measured}"])
    if None in (libraries, outside, share):
        return found + [f"expected the libraries' share measured from within, from outside and of a tiny plan, got {libraries}, {outside} and {share}"]
    if abs(outside - measured) > GRANULE:
        found.append(f"expected evo-run and the device's library to measure the same within {GRANULE} bytes, got {measured} and {outside}")
    # What evo-run calls libraries is what it measured less arena and static part, so it says nothing of whether those are what the plan says.
    if not share - GRANULE <= max(measured, outside) - held <= share + GRANULE + recordings:
        found.append(f"expected arena and static part, {held} bytes, and libraries of {share} as a tiny plan's, within {GRANULE} bytes and {recordings} more of "
                     f"recordings, got {max(measured, outside)}")
    if run["recorded_launches"] > MOST_LAUNCHES:
        found.append(f"expected recordings of at most {MOST_LAUNCHES} launches, got {run['recorded_launches']}")
    if libraries > run["library_bytes"]:
        found.append(f"expected libraries within {run['library_bytes']} bytes, got {libraries}")
    return found + growth_problems(run)


def refusal_problems(status, said, plan):
    """What is wrong with evo-run's refusal of a plan that the device has no memory for."""
    match = re.search(r"the plan needs (\d+) bytes \(arena (\d+), static part (\d+), libraries (\d+)\), of (\d+) that were free", said)
    if status != 1 or not match:
        return [f"expected exit status 1, what the plan needs and what was free, got {status}: {said}"]
    needs, *parts, free = (int(number) for number in match.groups())
    if needs != plan["predicted_peak_bytes"] or sum(parts) != needs or free >= needs:
        return [f"expected {plan['predicted_peak_bytes']} bytes and their parts needed and fewer free, got {said}"]
    return []


def write_cotangents(path, spec):
    """Random gradients by both streams, as blocks of the same numbers, which is quick."""
    rnd = random.Random(5)
    numbers = array.array("f", (rnd.gauss(0, 1) for _ in range(65521))).tobytes()
    s, r, c = spec["sizes"].get("s", 0), spec["sizes"]["r"], spec["channels"]
    tensors = {}
    for name, shape in (("m", [s, r, c.get("c_m", 0)]), ("z", [r, r, c.get("c_z", c.get("c_t", 0))])):
        size = 4 * shape[0] * shape[1] * shape[2]
        if size:
            tensors[name] = ("F32", shape, (numbers * (size // len(numbers) + 1))[:size])
    golden.save(path, tensors)


class Budgets:
    """All budgets of one type."""

    def __init__(self, options, folder, dtype, watch):
        self.options, self.folder, self.dtype, self.watch = options, folder, dtype, watch
        self.counts, self.shares = {True: 0, False: 0}, {}

    def tell(self, label, problems):
        self.counts[not problems] += 1
        print(f"{'FAIL' if problems else 'pass'}: {self.dtype}, {label}" + "".join(f"\n  {problem}" for problem in problems), flush=True)

    def compile(self, *flags):
        return command(self.options.evo_opt, self.folder / "spec.json", "-o", self.folder / "plan.json", f"--json={self.folder / 'compile.json'}",
                       f"--profile={self.options.profile}", f"--dtype={self.dtype}", "--policy=auto", "--quiet", *flags)

    def summary(self):
        return json.loads((self.folder / "compile.json").read_text())["summary"]

    def execute(self, name, train, *flags):
        """The report, the bytes of what the run wrote, and the most that was taken, or what went wrong."""
        files = [self.folder / f"{name}.safetensors"] + ([self.folder / f"{name}-gradients.safetensors"] if train else [])
        words = [self.options.evo_run, self.folder / "plan.json", f"--backend={self.options.backend}", "--quiet", f"--json={self.folder / 'run.json'}",
                 f"--outputs={files[0]}", *([f"--cotangents={self.folder / 'cotangents.safetensors'}", f"--gradients={files[1]}"] if train else []), *flags]
        (status, problem), outside = self.watch.around(lambda: command(*words))
        if status:
            return None, [], None, f"evo-run ended with {status}: {problem}"
        return json.loads((self.folder / "run.json").read_text()), [file.read_bytes() for file in files], outside, ""

    def share(self, mode):
        """The libraries' share of a tiny plan, measured from outside; nothing on the CPU."""
        if self.options.backend == "cpu":
            return None
        if mode not in self.shares:
            shutil.copy(SPECS / "tiny.json", self.folder / "spec.json")
            status, problem = self.compile(f"--mode={mode}")
            run, _, outside, problem = (None, [], None, problem) if status else self.execute("tiny", False, "--warmup=2", "--iterations=3")
            self.shares[mode] = None if problem else outside - run["arena_bytes"] - run["static_bytes"]
            print(f"libraries of a tiny plan, {self.dtype}, {mode}: {problem or self.shares[mode]}", flush=True)
        return self.shares[mode]

    def grown_by_steps(self):
        """What optimizer steps of the plan grow by, or why they do not run."""
        status, problem = command(self.options.evo_run, self.folder / "plan.json", f"--backend={self.options.backend}", "--quiet", "--warmup=2", "--steps=3",
                                  f"--targets={self.folder / 'cotangents.safetensors'}", f"--json={self.folder / 'steps.json'}")
        if status:
            return [f"evo-run ended with {status}: {problem}"]
        return growth_problems(json.loads((self.folder / "steps.json").read_text())) if self.options.backend == "cuda" else []

    def check(self, budget, train, steps):
        """Compiles and runs at one budget, with `steps` also the optimizer; problems and a line of figures."""
        status, problem = self.compile(f"--memory={budget}")
        if status:
            return [f"expected a plan, got: {problem}"], ""
        plan = self.summary()
        run, first, outside, problem = self.execute("first", train, "--warmup=2", "--iterations=3")
        if problem:
            return [problem], ""
        found = problems_of(run, plan, budget, outside, self.shares.get("train" if train else "infer"))
        again, second, _, problem = self.execute("second", train, "--warmup=0", "--iterations=1")
        if problem or first != second:
            found.append(problem or "expected the same bytes of a second run, got others")
        if train and steps:
            found += self.grown_by_steps()
        libraries = run["measured_library_bytes"]
        return found, (f"taken {run['measured_peak_bytes'][0]}, from outside {outside}, arena {run['arena_bytes']}, static {run['static_bytes']}, "
                       f"libraries {libraries}, {run['recorded_launches']} launches recorded, {run['median_ms']:.1f} ms")

    def all_of(self, name, number):
        """`number` budgets of one specification."""
        spec_name, _, changes = name.partition(":")
        spec = json.loads((SPECS / f"{spec_name}.json").read_text())
        for change in filter(None, changes.split(":")):
            key, _, value = change.partition("=")
            (spec["sizes"] if key in spec["sizes"] else spec)[key] = int(value) if value.isdigit() else value
        self.share(spec["mode"])
        (self.folder / "spec.json").write_text(json.dumps(spec))
        train = spec["mode"] == "train"
        if train:
            write_cotangents(self.folder / "cotangents.safetensors", spec)
        status, problem = self.compile("--memory=1")
        least = re.search(r"smallest feasible budget is (\d+) bytes", problem)
        if status != 1 or not least:
            return self.tell(f"{name}, the smallest budget", [f"expected it named by exit status 1, got {status}: {problem}"])
        least = int(least.group(1))
        status, _ = self.compile(f"--memory={least - 1}")
        self.tell(f"{name}, a byte below the smallest budget", [] if status == 1 else [f"expected exit status 1, got {status}"])
        self.compile()
        chosen = budgets(least, self.summary()["predicted_peak_bytes"], number)
        for budget in chosen:
            if time.monotonic() > self.options.deadline:
                self.tell(f"{name}, {budget} bytes", ["expected a run, got no time left"])
                continue
            found, figures = self.check(budget, train, "optimizer" in spec and budget in (chosen[0], chosen[-1]))
            self.tell(f"{name}, {budget} bytes: {figures}", found)

    def too_large(self):
        """A training step that keeps everything needs several times what a device has."""
        shutil.copy(SPECS / "train-512-384.json", self.folder / "spec.json")
        status, problem = self.compile(f"--memory={1 << 44}")
        if not status:
            status, problem = command(self.options.evo_run, self.folder / "plan.json", "--backend=cuda", "--quiet")
            problems = refusal_problems(status, problem, self.summary())
        else:
            problems = [f"expected a plan, got: {problem}"]
        self.tell(f"a plan larger than the device: {problem}", problems)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", required=True)
    parser.add_argument("--evo-run", required=True)
    parser.add_argument("--backend", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--profile")
    parser.add_argument("--spec", action="append")
    parser.add_argument("--dtype")
    parser.add_argument("--budgets", type=int, default=20)
    parser.add_argument("--time-limit", type=float, default=3600)
    options = parser.parse_args()
    options.profile = options.profile or ROOT / "examples" / "profiles" / ("h100.json" if options.backend == "cuda" else "cpu.json")
    options.dtype = options.dtype or ("bf16,fp16,tf32,fp32" if options.backend == "cuda" else "fp32,bf16,fp16")
    options.deadline = time.monotonic() + options.time_limit
    counts, watch = collections.Counter(), Watch(options.backend)
    for number, dtype in enumerate(options.dtype.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            test = Budgets(options, pathlib.Path(folder), dtype, watch)
            for name in options.spec or DEFAULT_SPECS:
                test.all_of(name, min(options.budgets, FEW) if number else options.budgets)
            if options.backend == "cuda" and number == 0:
                test.too_large()
            counts.update(test.counts)
    print(f"{counts[True]} passed, {counts[False]} failed")
    return 0 if counts[True] and not counts[False] else 1


if __name__ == "__main__":
    sys.exit(main())
