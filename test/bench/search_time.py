#!/usr/bin/env python3
"""What the search finds at the seed's sizes, and how long it takes.

  search_time.py [--evo-opt PROGRAM] [--runs N] [SPEC.json...]

For each specification, by default the training ones of examples/specs with 48 blocks: auto within the peak of `large`, within 0.7 and half of
it, and within the smallest budget there is. The modelled time beside large's, and medians of wall time for pricing every choice and for the
search, of processor time for evo-opt as a whole. Exit status 1 where a plan is slower than a named policy that fits.
"""
import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPECS = ("train-128-256", "train-512-256", "train-512-384")


def plan(evo_opt, spec, folder, *flags):
    """The report, and the processor time of the program in ms."""
    report = folder / "report.json"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = before.ru_utime + before.ru_stime
    done = subprocess.run([evo_opt, spec, f"--json={report}", "-o", folder / "plan.json", "--quiet", *flags],
                          capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    elapsed = 1000 * (after.ru_utime + after.ru_stime - start)
    if done.returncode:
        sys.exit(f"search_time.py: {done.stderr.strip()}")
    return json.loads(report.read_text()), elapsed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", default=ROOT / "build" / "bin" / "evo-opt")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("specs", nargs="*")
    options = parser.parse_args()
    slower = 0
    print(f"{'specification':<18}{'budget':>10}{'MiB':>8}{'model ms':>11}{'large':>9}{'price ms':>10}{'search ms':>11}{'cpu ms':>8}{'plan KB':>9}")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for spec in options.specs or [ROOT / "examples" / "specs" / f"{spec}.json" for spec in SPECS]:
            large, _ = plan(options.evo_opt, spec, folder, "--policy=large", "--memory=8TiB")
            peak, large_ms = large["summary"]["predicted_peak_bytes"], large["summary"]["predicted_ms"]
            least = plan(options.evo_opt, spec, folder, f"--memory={peak}")[0]["search"]["smallest_budget_bytes"]
            for label, budget in (("large", peak), ("0.7 large", 7 * peak // 10), ("0.5 large", peak // 2), ("smallest", least)):
                runs = [plan(options.evo_opt, spec, folder, f"--memory={budget}") for _ in range(options.runs)]
                report = runs[0][0]
                ms = report["summary"]["predicted_ms"]
                fitting = [n["predicted_ms"] for n in report["search"]["named"] if n["predicted_peak_bytes"] <= budget]
                slower += bool(fitting) and ms > min(fitting)
                medians = [statistics.median(values) for values in
                           ([r["search"]["records_ms"] for r, _ in runs], [r["search_ms"] for r, _ in runs], [e for _, e in runs])]
                size = (folder / "plan.json").stat().st_size / 1000
                print(f"{pathlib.Path(spec).stem:<18}{label:>10}{budget / 2**20:>8.0f}{ms:>11.1f}{100 * (ms / large_ms - 1):>+8.1f}%"
                      f"{medians[0]:>10.1f}{medians[1]:>11.1f}{medians[2]:>8.0f}{size:>9.0f}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
