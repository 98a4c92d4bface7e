#!/usr/bin/env python3
"""evo-opt --sweep: every point is a plan that can be made, and the three reports agree.

  evo_opt_sweep_test.py --evo-opt PROGRAM

Ends with "N passed, N failed".
"""
import argparse
import json
import pathlib
import re
import shlex
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from cases import Failed, Tool, drive, expect, expect_in  # noqa: E402
from pages import read_page  # noqa: E402

SPECS = pathlib.Path(__file__).resolve().parents[2] / "examples" / "specs"
CASES = []


def case(name):
    def add(function):
        CASES.append((name, function))
        return function
    return add


def sweep(evo_opt, spec, *flags):
    evo_opt.works(spec, "--quiet", "--json=sweep.json", *flags)
    return json.loads((evo_opt.folder / "sweep.json").read_text())


def check_points(report):
    """The shape of the frontier, whatever its numbers are."""
    expect("format", "evo.sweep-report/1", report["format"])
    budgets, times = ([p[key] for p in report["points"]] for key in ("budget_bytes", "predicted_ms"))
    expect("budgets rise", sorted(set(budgets)), budgets)
    expect("times do not", sorted(times, reverse=True), times)
    if times[-1] < report["lower_bound_ms"]:
        raise Failed(f"expected no time below {report['lower_bound_ms']}, got {times[-1]}")
    for need in report["named"]:
        # The search may take a named plan itself, so it is never slower.
        if need["auto_ms"] > need["predicted_ms"]:
            raise Failed(f"expected auto within the memory of {need['policy']} to take {need['predicted_ms']} ms or less, got {need['auto_ms']}")
    wanted = [report["budget_bytes"]] + [need["predicted_peak_bytes"] for need in report["named"]]
    inside = [b for b in wanted if budgets[0] <= b <= budgets[-1]]
    if len(budgets) < 16:
        return
    expect("the budget and what the named policies need", sorted(set(inside)), sorted(set(inside) & set(budgets)))


def check_emission(spec, *flags, every):
    """A plan is made for the ends, for what the named policies need and for every so-manieth point."""
    def check(folder):
        evo_opt = Tool(PROGRAM, folder)
        path = SPECS / f"{spec}.json"
        report = sweep(evo_opt, path, "--sweep=32", *flags)
        check_points(report)
        points = report["points"]
        named = {need["predicted_peak_bytes"] for need in report["named"]}
        chosen = [p for i, p in enumerate(points) if i in (0, 1, len(points) - 1) or i % every == 0 or p["budget_bytes"] in named]
        for point in chosen:
            budget = point["budget_bytes"]
            evo_opt.works(path, "--quiet", *flags, f"--memory={budget}", "--policy=auto", "--json=plan-report.json")
            summary = json.loads((folder / "plan-report.json").read_text())["summary"]
            # Both are sums of whole nanoseconds; a picosecond is for their printing as milliseconds.
            if summary["predicted_ms"] > point["predicted_ms"] + 1e-9 or summary["predicted_peak_bytes"] > budget:
                raise Failed(f"expected a plan of {point['predicted_ms']} ms or less within {budget} bytes, got {summary}")
        least = points[0]["budget_bytes"]
        status, _, problems = evo_opt.run(path, "--quiet", *flags, f"--memory={least - 1}")
        expect("status one byte below the smallest budget", 1, status)
        expect_in("what is said of it", [f"smallest feasible budget is {least} bytes"], problems)
        # Behind the last point nothing gets faster.
        evo_opt.works(path, "--quiet", *flags, "--memory=16TiB", "--json=plan-report.json")
        expect("the time with memory for everything", points[-1]["predicted_ms"],
               json.loads((folder / "plan-report.json").read_text())["summary"]["predicted_ms"])
    return check


for arguments in (("tiny", 5), ("tiny", 5, "--mode=train"), ("tiny", 5, "--mode=train", "--set=blocks=5", "--dtype=fp64", "--profile=cpu"),
                  ("tiny-extra-msa", 5, "--mode=train", "--kernels=plain"), ("tiny-template-pair", 5, "--mode=train"), ("template-pair", 5),
                  ("small", 6), ("small", 6, "--mode=train", "--profile=cpu", "--set=opm_first=true"), ("infer-512-384", 6),
                  ("train-128-256", 8), ("train-512-384", 8), ("extra-train-5120-384", 8)):
    CASES.append((f"points of {' '.join((arguments[0], *arguments[2:]))} are plans", check_emission(arguments[0], *arguments[2:], every=arguments[1])))


@case("as many points as asked for, 64 without a number, and all where there are fewer")
def counts(folder):
    evo_opt = Tool(PROGRAM, folder)
    train = SPECS / "train-128-256.json"
    expect("points", [2, 5, 64], [len(sweep(evo_opt, train, flag)["points"]) for flag in ("--sweep=2", "--sweep=5", "--sweep")])
    few = sweep(evo_opt, SPECS / "tiny.json", "--sweep=1024")
    named = {need["predicted_peak_bytes"] for need in few["named"]} - {p["budget_bytes"] for p in few["points"]}
    expect("needs that are no points", set(), named)
    if not few["steps"] <= len(few["points"]) <= few["steps"] + len(few["named"]):
        raise Failed(f"expected a point for each of {few['steps']} steps, got {len(few['points'])}")


@case("the budget is one of the points, and what it gives is told")
def budget(folder):
    evo_opt = Tool(PROGRAM, folder)
    ends = [p["budget_bytes"] for p in sweep(evo_opt, SPECS / "small.json", "--mode=train", "--sweep=2")["points"]]
    between = (ends[0] + ends[1]) // 2
    for memory, inside, parts in ((between, True, []), (ends[0] - 1, False, ["no plan fits; the smallest budget is", str(ends[0])]),
                                  (2 * ends[1], False, ["nothing gets faster above"])):
        text = evo_opt.works(SPECS / "small.json", "--mode=train", "--sweep=9", f"--memory={memory}", "--json=sweep.json")
        report = json.loads((folder / "sweep.json").read_text())
        expect("budget_bytes", memory, report["budget_bytes"])
        expect("a point at the budget", inside, memory in [p["budget_bytes"] for p in report["points"]])
        within = [p["predicted_ms"] for p in report["points"] if p["budget_bytes"] <= memory]
        expect("budget_ms", within[-1] if within else None, report["budget_ms"])
        expect_in("the text", parts, text)


@case("table, JSON and page say the same, and the command makes a point's plan")
def reports(folder):
    evo_opt = Tool(PROGRAM, folder)
    (folder / "my spec.json").write_text((SPECS / "small.json").read_text())
    flags = ("my spec.json", "--mode=train", "--set", "name=it's", "--profile=cpu", "--sweep=7")
    text = evo_opt.works(*flags, "--json=sweep.json", "--report=r.html")
    report = json.loads((folder / "sweep.json").read_text())
    rows = [line for line in text.splitlines() if re.match(r" *\d[\d.]* [KMGT]iB +\d+ ", line)]
    expect("bytes of the rows", [p["budget_bytes"] for p in report["points"]], [int(row.split()[2]) for row in rows])
    expect("columns that line up", 1, len({row.index(" ms") for row in rows}))
    last = report["points"][-1]["budget_bytes"]
    for row, point in zip(rows, report["points"]):
        expect_in("a row", [f"{point['predicted_ms'] / report['lower_bound_ms']:.3f} ", f"{100 * point['budget_bytes'] / last:.1f} %"], row)
    for need in report["named"]:
        gain = 100 * (need["predicted_ms"] - need["auto_ms"]) / need["predicted_ms"]
        lines = [line for line in text.splitlines() if line.startswith(need["policy"] + " ")]
        expect_in("a policy's row", [str(need["predicted_peak_bytes"]), f"{gain:.1f} %"], lines[0])
    page, words = read_page(folder / "r.html")
    expect("pictures, dots", (1, len(report["points"]) + len(report["named"])), (page.tags["svg"], page.tags["circle"]))
    expect_in("the page", ["it's", "lower bound", "Named policies", *(need["policy"] for need in report["named"]),
                           *(str(p["budget_bytes"]) for p in report["points"])], words)
    command = text[text.index("evo-opt "):].splitlines()[0]
    expect_in("the page", [command], words)
    point = report["points"][3]
    arguments = shlex.split(command.replace("BYTES", str(point["budget_bytes"])))[1:]
    evo_opt.works(*arguments, "--quiet")
    plan = json.loads((folder / "PLAN.json").read_text())
    expect("name, mode", ("it's", "train"), (plan["model"]["name"], plan["mode"]))
    if plan["summary"]["predicted_ms"] > point["predicted_ms"] + 1e-9:
        raise Failed(f"expected {point['predicted_ms']} ms or less, got {plan['summary']}")


@case("the search's refusals are told as they are")
def refusals(folder):
    evo_opt = Tool(PROGRAM, folder)
    (folder / "tiny.json").write_text((SPECS / "tiny.json").read_text())
    evo_opt.refuses(1, ["expected at most 512 blocks, got 513"], "tiny.json", "--mode=train", "--set=blocks=513", "--sweep", "--json=s.json", "--report=r.html")
    evo_opt.refuses(1, ["--devices: expected 1", "got 2"], "tiny.json", "--devices=2", "--sweep", "--json=s.json")
    expect("files", ["tiny.json"], sorted(path.name for path in folder.iterdir()))


@case("the same sweep is the same, but for the clock")
def deterministic(folder):
    evo_opt = Tool(PROGRAM, folder)
    seen = []
    for _ in range(2):
        report = sweep(evo_opt, SPECS / "tiny.json", "--mode=train", "--sweep=9", "--report=r.html")
        seen.append(({k: v for k, v in report.items() if k not in ("search_ms", "sweep_ms")}, (folder / "r.html").read_bytes()))
    expect("report and page", *seen)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", required=True)
    PROGRAM = str(pathlib.Path(parser.parse_args().evo_opt).resolve())
    sys.exit(drive(CASES))
