#!/usr/bin/env python3
"""What a machine with GPUs is to show of the kernels and of the memory, in one command.

  gpu_checks.py --conformance P [--evo-opt P --evo-run P --profile DEVICE.json] [--checks NAME,...] [--devices 0,1] [--jobs N] [--time-limit SECONDS]
                [--logs FOLDER]

The checks, in this order:
  conformance  the suite on the backend cuda, with the data of every run; not what is of the CPU's threads alone
  random       the same with other data; its log has the number that repeats it
  budgets      gpu_budget_test.py, alone, as it measures what the device has left; on the first device
  golden       golden_test.py, on the first device
  memcheck, initcheck, racecheck
               gpu_sanitizer.py
Without --checks all but racecheck, which takes longer than all the others together and wants several devices; without evo-opt and evo-run not those that take plans.
--jobs processes of the suite run beside each other on all --devices, twice as many as there are processors for each by default but 16 at most. What is left of the time
goes to the next check; one that has none left is failed. Each check's output is in --logs (default: a new folder), its line tells the seconds it took, what passed,
failed and was skipped. Ends with "N passed, N failed"; exit status 1 where one failed or nothing passed.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent))
import count_tests  # noqa: E402

SUITE, PLANS, SANITIZERS = ("conformance", "random"), ("budgets", "golden"), ("memcheck", "initcheck", "racecheck")
DEFAULT = [*SUITE, *PLANS, "memcheck", "initcheck"]
SKIPPED = re.compile(r"\b(\d+) skipped\b")


def counts_of(text):
    """(passed, failed, skipped) as a tool of this project tells at its end; nothing where it does not."""
    found = count_tests.OWN.findall(text)
    return (int(found[-1][0]), int(found[-1][1]), sum(map(int, SKIPPED.findall(text)))) if found else None


def suite_counts(logs):
    """The same of GoogleTest's logs, each of a part of the suite. A part that did not come to its end has failed."""
    passed, failed, skipped = (sum(len(re.findall(rf"^\[{word}\].* \(\d+ ms\)$", text, re.M)) for text in logs) for word in
                               ("       OK ", "  FAILED  ", "  SKIPPED "))
    return passed, failed + sum("[  PASSED  ]" not in text and "[  FAILED  ]" not in text for text in logs), skipped


class Checks:
    def __init__(self, options, logs):
        self.options, self.logs = options, logs
        self.deadline = time.monotonic() + options.time_limit

    def left(self):
        return max(self.deadline - time.monotonic(), 0)

    def suite(self, name):
        """The suite's tests, dealt to --jobs processes, these to the devices in turn."""
        options, running = self.options, []
        for part in range(options.jobs):
            environment = {**os.environ, "EVO_CONFORMANCE_BACKEND": "cuda", "GTEST_TOTAL_SHARDS": str(options.jobs), "GTEST_SHARD_INDEX": str(part),
                           "CUDA_VISIBLE_DEVICES": options.devices[part % len(options.devices)], **({"EVO_CONFORMANCE_SEED": "random"} if name == "random" else {})}
            log = self.logs / f"{name}.{part}.log"
            with log.open("w") as out:
                running.append((subprocess.Popen([options.conformance, "--gtest_filter=-CpuBackend*"], stdout=out, stderr=subprocess.STDOUT, env=environment), log))
        for process, _ in running:
            try:
                process.wait(self.left())
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        passed, failed, skipped = suite_counts([log.read_text(errors="replace") for _, log in running])
        # One that ends badly behind its last test, too.
        return passed, failed or sum(process.returncode != 0 for process, _ in running), skipped

    def tool(self, name, *words, device=None):
        environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": device} if device else {})}
        log = self.logs / f"{name}.log"
        with log.open("w") as out:
            done = subprocess.run([sys.executable, HERE / words[0], *words[1:], f"--time-limit={max(self.left(), 1):.0f}"], stdout=out, stderr=subprocess.STDOUT, env=environment)
        passed, failed, skipped = counts_of(log.read_text(errors="replace")) or (0, 1, 0)
        return passed, failed or int(done.returncode != 0), skipped

    def run(self, name):
        options = self.options
        if not self.left():
            return 0, 1, 0
        if name in SUITE:
            return self.suite(name)
        if name in SANITIZERS:
            return self.tool(name, "gpu_sanitizer.py", "--conformance", options.conformance, f"--tools={name}", f"--devices={','.join(options.devices)}",
                             f"--logs={self.logs / name}", "--cases=60" if name == "racecheck" else "--cases=150", f"--jobs={4 * len(options.devices)}")
        plans = ["--backend=cuda", "--evo-opt", options.evo_opt, "--evo-run", options.evo_run, *([f"--profile={options.profile}"] if options.profile else [])]
        if name == "budgets":
            return self.tool(name, "gpu_budget_test.py", *plans, device=options.devices[0])
        return self.tool(name, "golden_test.py", *plans, "--jobs=12", device=options.devices[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conformance", required=True)
    parser.add_argument("--evo-opt")
    parser.add_argument("--evo-run")
    parser.add_argument("--profile")
    parser.add_argument("--checks")
    parser.add_argument("--devices", default="0")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--time-limit", type=float, default=3600)
    parser.add_argument("--logs")
    options = parser.parse_args()
    has_tools = bool(options.evo_opt and options.evo_run)
    names = options.checks.split(",") if options.checks else [name for name in DEFAULT if has_tools or name not in PLANS]
    if unknown := [name for name in names if name not in SUITE + PLANS + SANITIZERS]:
        parser.error(f"--checks: expected some of {', '.join(SUITE + PLANS + SANITIZERS)}, got {', '.join(unknown)}")
    if (without := [name for name in names if name in PLANS]) and not has_tools:
        parser.error(f"--checks: expected --evo-opt and --evo-run for {', '.join(without)}")
    options.devices = options.devices.split(",")
    options.jobs = options.jobs or min(2 * (os.cpu_count() or 1), 16 * len(options.devices))
    options.conformance = str(pathlib.Path(options.conformance).resolve())
    logs = pathlib.Path(options.logs or tempfile.mkdtemp(prefix="gpu_checks_"))
    logs.mkdir(parents=True, exist_ok=True)
    checks, passed, failed = Checks(options, logs), 0, 0
    print(f"{'check':<12} {'seconds':>8} {'passed':>7} {'failed':>7} {'skipped':>8}", flush=True)
    for name in names:
        start = time.monotonic()
        counts = checks.run(name)
        print(f"{name:<12} {time.monotonic() - start:>8.0f} {counts[0]:>7} {counts[1]:>7} {counts[2]:>8}", flush=True)
        passed, failed = passed + counts[0], failed + counts[1]
    print(f"logs: {logs}\n{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
