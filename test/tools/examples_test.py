#!/usr/bin/env python3
"""Plans every specification of examples/ for inference, and runs the tiny ones.

  examples_test.py --evo-opt PROGRAM --evo-run PROGRAM

Each plan is verified, is the same bytes when made again, stays under 1 MB, and predicts the arena that it states. The tiny ones
run on the CPU, where what is measured must be what was predicted. Ends with "N passed, N failed".
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPECS = ROOT / "examples" / "specs"
CPU = ROOT / "examples" / "profiles" / "cpu.json"
MAX_PLAN_BYTES = 1_000_000
TIMEOUT_S = 300


def run(*command):
    """Raises where the command fails, with what it said."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise AssertionError(f"{pathlib.Path(command[0]).name} ended with {done.returncode}\n{done.stdout}{done.stderr}".rstrip())


def expect(what, expected, got):
    if expected != got:
        raise AssertionError(f"{what}: expected {expected}, got {got}")


def check_plan(programs, spec, folder):
    plan, again = folder / "plan.json", folder / "again.json"
    for path in (plan, again):
        run(programs.evo_opt, spec, "-o", path, "--mode=infer", "--quiet")
    if plan.read_bytes() != again.read_bytes():
        raise AssertionError("expected the same plan from the same specification, got another")
    size = plan.stat().st_size
    if size >= MAX_PLAN_BYTES:
        raise AssertionError(f"expected a plan of fewer than {MAX_PLAN_BYTES} bytes, got {size}")
    run(programs.evo_run, "--verify", plan)
    content = json.loads(plan.read_text())
    summary = content["summary"]
    expect("arena_bytes of the summary", content["arena_bytes"], summary["arena_bytes"])
    parts = summary["arena_bytes"] + summary["static_bytes"] + summary["library_bytes"]
    expect("predicted_peak_bytes", parts, summary["predicted_peak_bytes"])
    if summary["predicted_peak_bytes"] > summary["budget_bytes"]:
        raise AssertionError(f"expected a peak within {summary['budget_bytes']} bytes, got {summary['predicted_peak_bytes']}")


def check_run(programs, spec, folder, policy):
    plan, report = folder / f"{policy}.json", folder / f"{policy}-report.json"
    run(programs.evo_opt, spec, "-o", plan, f"--policy={policy}", f"--profile={CPU}", "--quiet")
    run(programs.evo_run, plan, "--backend=cpu", "--check-finite", "--iterations=2", f"--json={report}")
    content = json.loads(report.read_text())
    expect("backend", "cpu", content["backend"])
    expect("timed iterations", 2, len(content["iterations_ms"]))
    expect("arena_bytes", json.loads(plan.read_text())["arena_bytes"], content["arena_bytes"])
    expect("measured_peak_bytes", [content["predicted_peak_bytes"]], content["measured_peak_bytes"])


def cases():
    """(name, check) of everything that is tried."""
    specs = sorted(SPECS.glob("*.json"))
    if not specs:
        sys.exit(f"examples_test.py: expected *.json in {SPECS}, got none")
    for spec in specs:
        yield f"{spec.stem}, plan", lambda programs, folder, spec=spec: check_plan(programs, spec, folder)
        if spec.stem.startswith("tiny"):
            for policy in ("direct", "chunk"):
                yield f"{spec.stem}, run {policy}", lambda programs, folder, spec=spec, policy=policy: check_run(programs, spec, folder, policy)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", required=True)
    parser.add_argument("--evo-run", required=True)
    programs = parser.parse_args()
    passed = failed = 0
    for name, check in cases():
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(programs, pathlib.Path(folder))
                passed += 1
                print(f"pass: {name}", flush=True)
            except (AssertionError, KeyError, ValueError, OSError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"FAIL: {name}\n{type(error).__name__}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
