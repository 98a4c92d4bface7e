#!/usr/bin/env python3
"""Plans every specification of examples/ for inference, runs the tiny ones, and trains a little.

  examples_test.py --evo-opt PROGRAM --evo-run PROGRAM

Each plan is verified, is the same bytes when made again, stays under 1 MB, and predicts the arena that it states. The tiny ones
run on the CPU, where what is measured must be what was predicted. Ends with "N passed, N failed".
"""
import argparse
import json
import os
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


def check_training(programs, folder):
    """The training example, in a tenth of its steps: the loss falls, and the run goes on where it stopped."""
    done = subprocess.run(["bash", str(ROOT / "examples" / "train.sh"), str(folder / "run")], capture_output=True, text=True, timeout=TIMEOUT_S,
                          stdin=subprocess.DEVNULL, cwd=folder, env={**os.environ, "EVO_BIN": str(programs.evo_run.parent), "EVO_STEPS": "30"})
    if done.returncode or done.stderr:
        raise AssertionError(f"train.sh ended with {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    report, more = (json.loads((folder / "run" / name).read_text()) for name in ("report.json", "more.json"))
    losses = report["losses"]
    expect("steps", list(range(1, 31)), report["step_numbers"])
    expect("steps of the second run", list(range(31, 41)), more["step_numbers"])
    if not (losses[-1] < losses[0] / 3 and more["losses"][0] < losses[-1]):
        raise AssertionError(f"expected the loss to fall to a third and to go on from there, got {losses} and {more['losses']}")
    expect("a picture", "<svg", (folder / "run" / "loss.svg").read_text()[:4])


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
    yield "train.sh", check_training


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--evo-opt", "--evo-run"):
        parser.add_argument(flag, required=True, type=lambda path: pathlib.Path(path).resolve())
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
