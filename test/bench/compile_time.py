#!/usr/bin/env python3
"""How long evo-opt takes on the 48-block specifications of examples/, and how large their plans are.

  compile_time.py [--evo-opt build/bin/evo-opt] [--repeat 5] [--policy auto]

Prints a table of medians: start-up is the whole of `evo-opt --version`, run the whole of a compilation with the plan written, compile
what evo-opt's own report says. Specifications of training are planned for inference until training is there. Not a test: times hang on
the machine and on what else it does.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCKS = 48


def milliseconds(*command):
    start = time.perf_counter()
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return 1e3 * (time.perf_counter() - start)


def measure(program, spec, policy, repeat, folder):
    plan, report = folder / "plan.json", folder / "report.json"
    runs, compiles = [], []
    for _ in range(repeat):
        runs.append(milliseconds(program, spec, "-o", plan, f"--json={report}", f"--policy={policy}", "--mode=infer", "--quiet"))
        compiles.append(json.loads(report.read_text())["compile_ms"])
    return statistics.median(runs), statistics.median(compiles), plan.stat().st_size / 1000, json.loads(report.read_text())["summary"]["policy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", default=ROOT / "build" / "bin" / "evo-opt", type=pathlib.Path)
    parser.add_argument("--repeat", default=5, type=int)
    parser.add_argument("--policy", default="auto")
    options = parser.parse_args()
    if not options.evo_opt.exists():
        sys.exit(f"compile_time.py: expected the program {options.evo_opt}, got none; build it, or name it with --evo-opt")
    specs = [p for p in sorted((ROOT / "examples" / "specs").glob("*.json")) if json.loads(p.read_text())["blocks"] == BLOCKS]
    startup = statistics.median(milliseconds(options.evo_opt, "--version") for _ in range(options.repeat))
    print(f"start-up {startup:.1f} ms; medians of {options.repeat}")
    print(f"{'specification':<24} {'policy':<8} {'run ms':>8} {'compile ms':>11} {'plan KB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for spec in specs:
            run, compile_, size, policy = measure(options.evo_opt, spec, options.policy, options.repeat, pathlib.Path(folder))
            print(f"{spec.stem:<24} {policy:<8} {run:>8.1f} {compile_:>11.1f} {size:>8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
