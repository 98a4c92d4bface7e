#!/usr/bin/env python3
"""How far predicted step times are from measured ones: plans of the examples under several policies, types and sizes, priced by a
profile and run.

  plan_error.py --evo-opt PROGRAM --evo-run PROGRAM --profile DEVICE.json [--backend cpu|cuda] [--dtype bf16] [--threads N] [--iterations 5] [--seconds 20]
                [--time-limit SECONDS] [--most-error 10] [--least-correlation 0.9] [--least-plans 30]

A step is the median of its iterations, on one thread of a CPU that thread's processor time, so that other programs count little; plans
predicted to take longer than --seconds are left out. Without --threads the host has one where the CPU runs the plans, and as many as evo-run takes where
a GPU does. The plans of a GPU are in --dtype, which its profile must have; auto:20 is auto within the smallest budget and a fifth of what lies between it and memory
for everything. Ends with the mean and the worst error and the rank correlation (Spearman's); the same errors without the factor that all
plans have in common: what else the machine does while it calibrates and while it runs plans makes one; by how much the plans that were predicted fastest of their
specification and sizes were slower than the fastest measured; and the plans that were left out or that the time cut. Exit status 1 where the mean error is above
--most-error per cent, the rank correlation below --least-correlation, or fewer than --least-plans were run.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import prediction

SPECS = pathlib.Path(__file__).resolve().parents[2] / "examples" / "specs"
# A specification, its mode, sizes set, policies, types.
PLANS = [
    ("small", "infer", (), ("direct", "chunk"), ("fp32", "bf16")),
    ("small", "infer", ("s=32", "r=64", "blocks=2"), ("direct", "chunk"), ("fp32", "fp64")),
    ("small", "infer", ("s=128", "r=96", "blocks=1"), ("direct", "chunk"), ("fp32", "fp16")),
    ("small", "infer", ("s=16", "r=200", "blocks=1"), ("direct", "chunk"), ("fp32",)),
    ("small", "train", ("s=32", "r=64", "blocks=2"), ("direct", "small", "large", "chunk", "extra"), ("fp32", "bf16")),
    ("small", "train", ("s=64", "r=128", "blocks=1"), ("direct", "small", "chunk"), ("fp32",)),
    ("extra-infer-1024-256", "infer", ("s=256", "r=64", "blocks=1"), ("direct", "chunk"), ("fp32",)),
    ("extra-infer-1024-256", "train", ("s=128", "r=64", "blocks=1"), ("direct", "small"), ("fp32",)),
    ("template-pair", "infer", ("r=128",), ("direct", "chunk"), ("fp32", "fp64")),
]
TRAINING = ("direct", "small", "large", "extra", "chunk", "auto:0", "auto:2", "auto:10", "auto:40")
# Some blocks each: all are alike.
GPU_PLANS = [
    ("train-128-256", "train", ("blocks=4",), TRAINING),
    ("train-512-384", "train", ("blocks=2",), TRAINING),
    ("extra-train-1024-256", "train", (), TRAINING),
    ("extra-train-5120-384", "train", ("blocks=1",), ("direct", "large", "auto:0", "auto:20")),
    ("infer-128-256", "infer", ("blocks=8",), ("direct", "chunk", "auto:0", "auto:30")),
    ("infer-512-384", "infer", ("blocks=4",), ("direct", "chunk", "auto:0")),
    ("t1044-infer-128-2048", "infer", ("blocks=1",), ("direct", "chunk", "auto:0", "auto:30")),
]


class LeftOut(Exception):
    """Why a plan is not run."""


def count(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got '{text}'")
    return int(text)


def command(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)


def chosen_flags(arguments, folder, spec, policy, flags):
    """The flags of a policy; the share of auto becomes a budget."""
    name, _, share = policy.partition(":")
    if not share:
        return [f"--policy={name}", "--memory=1TiB"]
    command(arguments.evo_opt, spec, *flags, "--policy=auto", "--memory=1TiB", "--quiet", f"--json={folder / 'search.json'}")
    found = json.loads((folder / "search.json").read_text())
    least, most = found["search"]["smallest_budget_bytes"], found["summary"]["predicted_peak_bytes"]
    return [f"--policy={name}", f"--memory={least + (most - least) * int(share) // 100}"]


def measure(arguments, folder, spec, mode, sizes, policy, dtype):
    """(predicted, measured) milliseconds; LeftOut where the plan is too slow or too large for the device."""
    flags = [word for size in sizes for word in ("--set", size)] + [f"--mode={mode}", f"--dtype={dtype}", f"--profile={arguments.profile}"]
    path = SPECS / f"{spec}.json"
    command(arguments.evo_opt, path, *flags, *chosen_flags(arguments, folder, path, policy, flags), "--quiet", "-o", folder / "plan.json")
    summary = json.loads((folder / "plan.json").read_text())["summary"]
    if summary["predicted_peak_bytes"] > arguments.memory_bytes:
        raise LeftOut(f"too large: {summary['predicted_peak_bytes']} of {arguments.memory_bytes} bytes")
    if summary["predicted_ms"] > 1000 * arguments.seconds:
        raise LeftOut(f"too slow: predicted {summary['predicted_ms'] / 1000:.1f} of {arguments.seconds:g} s")
    command(arguments.evo_run, folder / "plan.json", f"--backend={arguments.backend}", *([f"--threads={arguments.threads}"] if arguments.threads else []), "--quiet",
            f"--iterations={arguments.iterations}", f"--warmup={2 if arguments.backend == 'cuda' else 1}", f"--json={folder / 'run.json'}")
    report = json.loads((folder / "run.json").read_text())
    times = report["thread_ms"] if arguments.backend == "cpu" and arguments.threads == 1 else report["iterations_ms"]
    return report["predicted_ms"], statistics.median(times)


def plans_of(arguments):
    """(specification, mode, sizes, policy, type) of each plan."""
    if arguments.backend == "cpu":
        return [(spec, mode, sizes, policy, dtype) for spec, mode, sizes, policies, dtypes in PLANS for policy in policies for dtype in dtypes]
    return [(spec, mode, sizes, policy, arguments.dtype) for spec, mode, sizes, policies in GPU_PLANS for policy in policies]


def choice_loss(groups):
    """By how much, at worst, the plan predicted fastest of a group was slower than the fastest measured."""
    return max(min(pairs)[1] / min(measured for _, measured in pairs) - 1 for pairs in groups.values())


def name_of(plan):
    spec, mode, sizes, policy, dtype = plan
    return " ".join((spec, mode, *sizes, policy, dtype))


def shortcomings(pairs, arguments):
    """What is not as good as it must be, as sentences."""
    found, error, correlation = [], 100 * statistics.mean(prediction.errors_of(pairs)), prediction.rank_correlation(*zip(*pairs))
    if len(pairs) < arguments.least_plans:
        found.append(f"expected at least {arguments.least_plans} plans run, got {len(pairs)}")
    if not error <= arguments.most_error:
        found.append(f"expected a mean error of at most {arguments.most_error:g} %, got {error:.1f} %")
    if not correlation >= arguments.least_correlation:
        found.append(f"expected a rank correlation of at least {arguments.least_correlation:g}, got {correlation:.4f}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", required=True)
    parser.add_argument("--evo-run", required=True)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--backend", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--threads", type=count, help="of the host")
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--time-limit", type=float, default=3600)
    parser.add_argument("--most-error", type=float, default=10, help="mean, in per cent")
    parser.add_argument("--least-correlation", type=float, default=0.9)
    parser.add_argument("--least-plans", type=int, default=30)
    arguments = parser.parse_args()
    arguments.threads = arguments.threads or (1 if arguments.backend == "cpu" else None)
    arguments.memory_bytes = json.loads(pathlib.Path(arguments.profile).read_text())["memory_bytes"]
    deadline = time.monotonic() + arguments.time_limit
    pairs, groups, left_out = [], {}, []
    print(f"{'plan':<60} {'predicted ms':>12} {'measured ms':>12} {'error':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for plan in plans_of(arguments):
            try:
                if time.monotonic() > deadline:
                    raise LeftOut("out of time")
                pair = measure(arguments, pathlib.Path(folder), *plan)
            except LeftOut as why:
                left_out.append(f"left out: {name_of(plan)}: {why}")
                continue
            pairs.append(pair)
            spec, mode, sizes, _, dtype = plan
            groups.setdefault((spec, mode, sizes, dtype), []).append(pair)
            print(f"{name_of(plan):<60} {pair[0]:12.2f} {pair[1]:12.2f} {100 * (pair[0] / pair[1] - 1):7.1f}%", flush=True)
    print("\n".join(left_out), end="\n" if left_out else "", flush=True)
    if not pairs:
        sys.exit("plan_error.py: expected a plan that this device can run, got none")
    print(prediction.sentence(pairs))
    common = statistics.median(predicted / measured for predicted, measured in pairs)
    around = [abs(predicted / measured / common - 1) for predicted, measured in pairs]
    print(f"all are off by a factor of {common:.3f}; around it the mean error is {100 * statistics.mean(around):.1f} %, the worst {100 * max(around):.1f} %")
    print(f"plans predicted fastest were at most {100 * choice_loss(groups):.1f} % slower than the fastest measured of their specification")
    found = shortcomings(pairs, arguments)
    if found:
        print("plan_error.py: " + "; ".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
