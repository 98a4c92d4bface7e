#!/usr/bin/env python3
"""How far predicted step times are from measured ones: plans of the examples under several policies, types and sizes, priced by a
profile and run on the CPU.

  plan_error.py --evo-opt PROGRAM --evo-run PROGRAM --profile DEVICE.json [--threads 1] [--iterations 5] [--seconds 20]

A step is the median of its iterations, on one thread that thread's processor time, so that other programs count little; plans
predicted to take longer than --seconds are left out. Ends with the mean and the worst error and the rank correlation (Spearman's), and the same errors without the factor that all
plans have in common: what else the machine does while it calibrates and while it runs plans makes one.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

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


def command(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)


def ranks(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    result = [0] * len(values)
    for rank, index in enumerate(order):
        result[index] = rank
    return result


def rank_correlation(a, b):
    n = len(a)
    return 1 - 6 * sum((x - y) ** 2 for x, y in zip(ranks(a), ranks(b))) / (n * (n * n - 1))


def measure(arguments, folder, spec, mode, sizes, policy, dtype):
    """(predicted, measured) milliseconds; nothing where the plan is too long."""
    sets = [word for size in sizes for word in ("--set", size)]
    command(arguments.evo_opt, SPECS / f"{spec}.json", *sets, f"--mode={mode}", f"--policy={policy}", f"--dtype={dtype}",
            f"--profile={arguments.profile}", "--memory=1TiB", "--quiet", "-o", folder / "plan.json")
    predicted = json.loads((folder / "plan.json").read_text())["summary"]["predicted_ms"]
    if predicted > 1000 * arguments.seconds:
        return None
    command(arguments.evo_run, folder / "plan.json", "--backend=cpu", f"--threads={arguments.threads}", "--quiet",
            f"--iterations={arguments.iterations}", f"--json={folder / 'run.json'}")
    report = json.loads((folder / "run.json").read_text())
    times = report["thread_ms"] if arguments.threads == 1 else report["iterations_ms"]
    return report["predicted_ms"], statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", required=True)
    parser.add_argument("--evo-run", required=True)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    pairs = []
    print(f"{'plan':<60} {'predicted ms':>12} {'measured ms':>12} {'error':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for spec, mode, sizes, policies, dtypes in PLANS:
            for policy in policies:
                for dtype in dtypes:
                    pair = measure(arguments, pathlib.Path(folder), spec, mode, sizes, policy, dtype)
                    if not pair:
                        continue
                    pairs.append(pair)
                    name = " ".join((spec, mode, *sizes, policy, dtype))
                    print(f"{name:<60} {pair[0]:12.2f} {pair[1]:12.2f} {100 * (pair[0] / pair[1] - 1):7.1f}%", flush=True)
    errors = [abs(predicted / measured - 1) for predicted, measured in pairs]
    print(f"{len(pairs)} plans: mean error {100 * statistics.mean(errors):.1f} %, worst {100 * max(errors):.1f} %, "
          f"rank correlation {rank_correlation(*zip(*pairs)):.4f}")
    common = statistics.median(predicted / measured for predicted, measured in pairs)
    around = [abs(predicted / measured / common - 1) for predicted, measured in pairs]
    print(f"all are off by a factor of {common:.3f}; around it the mean error is {100 * statistics.mean(around):.1f} %, the worst {100 * max(around):.1f} %")


if __name__ == "__main__":
    main()
