#!/usr/bin/env python3
"""evo-run --calibrate and what becomes of its profile: plans priced with it, and what runs and reports say of them.

  evo_calibrate_test.py --evo-opt PROGRAM --evo-run PROGRAM

Ends with "N passed, N failed".
"""
import json
import pathlib
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cases  # noqa: E402
from cases import Failed, Tool, drive, expect, expect_in  # noqa: E402
from runs import PROGRAMS, SPECS, read_programs  # noqa: E402

cases.TIMEOUT_S = 300  # a calibration beside other tests
CASES = []
MEASURED = {}  # "profile" and "report" of one calibration


def case(name):
    def add(function):
        CASES.append((name, function))
        return function
    return add


def measured(folder):
    """One round in one type, on one thread: a few seconds; each case gets its own copy of device.json."""
    if not MEASURED:
        with tempfile.TemporaryDirectory() as own:
            own = pathlib.Path(own)
            MEASURED["text"] = Tool(PROGRAMS["evo_run"], own).works("--calibrate", "--backend=cpu", "--threads=1", "--dtype=fp32", "--rounds=1", "--quiet",
                                                                   "-o", "device.json", "--json=report.json")
            MEASURED["profile"] = (own / "device.json").read_text()
            MEASURED["report"] = json.loads((own / "report.json").read_text())
    (folder / "device.json").write_text(MEASURED["profile"])
    return json.loads(MEASURED["profile"])


def make_plan(folder, *flags):
    """The plan of tiny.json, and the reports that it came with."""
    evo_opt = Tool(PROGRAMS["evo_opt"], folder)
    (folder / "tiny.json").write_text((SPECS / "tiny.json").read_text())
    text = evo_opt.works("tiny.json", "--profile=device.json", "-o", "plan.json", "--json=compile.json", *flags)
    return json.loads((folder / "plan.json").read_text()), text, json.loads((folder / "compile.json").read_text())


@case("writes a profile with a table, its errors and an analytic part")
def _(folder):
    profile, report = measured(folder), MEASURED["report"]
    expect("format", "evo.profile/1", profile["format"])
    expect("backend", "cpu", profile["backend"])
    table = profile["measured"]
    expect("name", table["device"] + " (measured)", profile["name"])
    expect("end of the device", True, table["device"].endswith(", 1 thread"))
    held = table["held_out"]
    expect("types", ["fp32"], [entry["precision"] for entry in held])
    points = sum(len(series["points"]) for series in table["series"])
    expect("calls", report["calls"], points + held[0]["calls"])
    expect("a fifth is held out", True, 0.18 * report["calls"] < held[0]["calls"] < 0.25 * report["calls"])
    if not 0 < held[0]["mean_error"] <= held[0]["worst_error"]:
        raise Failed(f"expected errors above 0, got {held[0]}")
    expect("report's errors", held, report["held_out"])
    expect("report's device", table["device"], report["device"])
    expect("report's format", "evo.calibration-report/1", report["format"])
    expect_in("report", ["measured   ", "held out   calls  mean error  worst", "\nfp32 "], MEASURED["text"])
    # Elementary bounds: a processor is slower than a petaflop and faster than a megaflop.
    for key in ("vector_flop_per_s", "memory_bytes_per_s", "exp_per_s"):
        expect(key, True, 1e6 < profile[key] < 1e15)
    kernels = {series["kernel"] for series in table["series"]}
    expect("kernels", True, {"linear", "attention", "layer_norm", "attention_grad", "outer_product_mean", "adamw_step"} <= kernels)


@case("a plan priced with it verifies, runs, and says with whose times")
def _(folder):
    profile = measured(folder)
    content, text, compiled = make_plan(folder)
    device = profile["measured"]["device"]
    expect("plan's profile", profile["name"], content["profile"])
    expect("plan's device", device, content["profile_device"])
    expect_in("report of evo-opt", [f"priced by {profile['name']}: measured, mean error "], text)
    expect_in("its JSON", ["measured, mean error ", " held-out calls"], compiled["profile_kind"])
    evo_run = Tool(PROGRAMS["evo_run"], folder)
    expect_in("verification", ["ok: plan.json"], evo_run.works("--verify", "plan.json"))
    text = evo_run.works("plan.json", "--threads=1", "--json=run.json")
    expect_in("report of evo-run", ["predicted with the table of this device"], text)
    run = json.loads((folder / "run.json").read_text())
    expect("its JSON", ("predicted with the table of this device", device, device), (run["prediction"], run["profile_device"], run["running_on"]))
    expect("times of the thread", len(run["iterations_ms"]), len(run["thread_ms"]))
    if not 0.05 < run["predicted_ms"] / min(run["thread_ms"]) < 20:
        raise Failed(f"expected a prediction of the step's order, got {run['predicted_ms']} ms and {run['thread_ms']} ms")


@case("a run elsewhere says so")
def _(folder):
    device = measured(folder)["measured"]["device"]
    make_plan(folder)
    evo_run = Tool(PROGRAMS["evo_run"], folder)
    other = device.replace(", 1 thread", ", 2 threads")
    expect_in("report", [f"predicted with the table of {device}, running on {other}"], evo_run.works("plan.json", "--threads=2", "--json=run.json"))
    run = json.loads((folder / "run.json").read_text())
    expect("JSON", f"predicted with the table of {device}, running on {other}", run["prediction"])


@case("what was not measured is analytic, and the report says so")
def _(folder):
    measured(folder)
    _, text, compiled = make_plan(folder, "--dtype=bf16")
    expect_in("report", ["measured, but not bf16, whose times are analytic"], text)
    expect("JSON", "measured, but not bf16, whose times are analytic", compiled["profile_kind"])


@case("an analytic profile stays one")
def _(folder):
    (folder / "device.json").write_text((SPECS.parent / "profiles" / "cpu.json").read_text())
    content, _, compiled = make_plan(folder)
    expect("kind", "analytic", compiled["profile_kind"])
    expect("device", False, "profile_device" in content)


@case("refuses a table of other kernels")
def _(folder):
    profile = measured(folder)
    profile["measured"]["kernel_set"] = "0123456789abcdef"
    (folder / "device.json").write_text(json.dumps(profile))
    (folder / "tiny.json").write_text((SPECS / "tiny.json").read_text())
    Tool(PROGRAMS["evo_opt"], folder).refuses(1, ["device.json: measured.kernel_set: expected ", "got \"0123456789abcdef\"", "evo-run --calibrate"],
                                              "tiny.json", "--profile=device.json", "-o", "plan.json")


REFUSED = {  # flags, status, parts
    "no file": ([], 2, ["expected -o DEVICE.json with --calibrate, got none"]),
    "a plan": (["plan.json", "-o", "d.json"], 2, ["expected --calibrate without a plan, got 'plan.json'"]),
    "a flag of runs": (["-o", "d.json", "--weights=w"], 2, ["expected --calibrate without --weights, got both"]),
    "one file for both": (["-o", "d.json", "--json=d.json"], 2, ["expected different files to write, got 'd.json' twice"]),
    "a type that is none": (["-o", "d.json", "--dtype=fp8"], 2, ["--dtype: expected one of fp64, fp32, tf32, bf16, fp16, got 'fp8'"]),
    "no rounds": (["-o", "d.json", "--rounds=0"], 2, ["--rounds"]),
    "no such folder": (["-o", "none/d.json"], 1, ["cannot write 'none/d.json': No such file or directory"]),
    "no folder of the report": (["-o", "d.json", "--json=none/r.json"], 1, ["cannot write 'none/r.json'"]),
}


def refused(flags, status, parts):
    return lambda folder: Tool(PROGRAMS["evo_run"], folder).refuses(status, parts, "--calibrate", *flags)


CASES += [(f"refuses {name}", refused(*rest)) for name, rest in REFUSED.items()]


@case("its flags belong to it")
def _(folder):
    for flag in ("--dtype=fp32", "--rounds=2"):
        Tool(PROGRAMS["evo_run"], folder).refuses(2, [f"expected {flag.split('=')[0]} with --calibrate only"], "plan.json", flag)


if __name__ == "__main__":
    read_programs(__doc__)
    sys.exit(drive(CASES))
