#!/usr/bin/env python3
"""evo-opt's command line: what it writes, what it refuses and how.

  evo_opt_cli_test.py --evo-opt PROGRAM

Ends with "N passed, N failed".
"""
import argparse
import csv
import io
import json
import os
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from cases import Failed, Tool, drive, expect, expect_in  # noqa: E402
from pages import read_page  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPECS = ROOT / "examples" / "specs"
TINY = json.loads((SPECS / "tiny.json").read_text())
ALIGNMENT = 512
CASES = []


def case(name):
    def add(function):
        CASES.append((name, function))
        return function
    return add


def tool(folder, **changes):
    """evo-opt in a folder that holds tiny.json, with some keys changed (None: left out)."""
    spec = {k: v for k, v in {**TINY, **changes}.items() if v is not None}
    (folder / "tiny.json").write_text(json.dumps(spec))
    return Tool(PROGRAM, folder)


def without_clock(text):
    """A report without the times that are measured."""
    return re.sub(r"^(search +)[\d.]+ ms (.* made in )[\d.]+ ms", r"\1\2", text, flags=re.M)


def plan_of(evo_opt, *flags):
    return json.loads(evo_opt.works("tiny.json", "-o", "-", "--quiet", *flags))


# What is refused: (arguments, exit status, parts of the message). Every output is asked for, so that one left behind shows.
OUTPUTS = ("-o", "plan.json", "--json=report.json", "--report=report.html")
REFUSED = {
    "no specification": ([], 2, ["expected one specification, got 0", "--help"]),
    "two specifications": (["tiny.json", "tiny.json"], 2, ["expected one specification, got 2"]),
    "an unknown flag": (["tiny.json", "--polcy=chunk"], 2, ["unknown flag '--polcy'", "did you mean --policy"]),
    "an unknown flag before the specification": (["--polcy=chunk", "tiny.json"], 2, ["unknown flag '--polcy'"]),
    "a flag without its value": (["tiny.json", "--policy", "--quiet"], 2, ["expected --policy=P, got no value"]),
    "a flag with a value that it has not": (["tiny.json", "--quiet=1"], 2, ["expected --quiet without a value", "'--quiet=1'"]),
    "a flag twice": (["tiny.json", "--dtype=fp32", "--dtype=fp64"], 2, ["expected --dtype once, got it twice"]),
    "an unknown policy": (["tiny.json", "--policy=fast"], 2, ["--policy: expected auto, direct, small, large, chunk, extra, dap, ", "got 'fast'"]),
    "an unknown type": (["tiny.json", "--dtype=fp8"], 2, ["--dtype: expected fp64, fp32, tf32, bf16 or fp16, got 'fp8'"]),
    "an unknown mode": (["tiny.json", "--mode=test"], 2, ["--mode: expected infer or train, got 'test'"]),
    "unknown kernels": (["tiny.json", "--kernels=fused"], 2, ["--kernels: expected all or plain, got 'fused'"]),
    "an unknown level": (["tiny.json", "--emit=llvm"], 2, ["--emit: expected plan, evo or kern, got 'llvm'"]),
    "an unknown unit": (["tiny.json", "--memory=16GB"], 2, ["--memory: ", "KiB, MiB, GiB or TiB", "got '16GB'"]),
    "memory that is no number": (["tiny.json", "--memory=lots"], 2, ["--memory: ", "got 'lots'"]),
    "negative memory": (["tiny.json", "--memory=-1"], 2, ["--memory: ", "got '-1'"]),
    "a fraction of a byte": (["tiny.json", "--memory=1.5"], 2, ["--memory: ", "got '1.5'"]),
    "memory beyond 2^63": (["tiny.json", "--memory=8388608TiB"], 2, ["--memory: ", "got '8388608TiB'"]),
    "no devices": (["tiny.json", "--devices=0"], 2, ["--devices: expected a whole number in [1, ", "got '0'"]),
    "devices that are no number": (["tiny.json", "--devices=two"], 2, ["--devices: ", "got 'two'"]),
    "several devices": (["tiny.json", "--devices=2"], 1, ["--devices: expected 1", "got 2"]),
    "an unknown profile": (["tiny.json", "--profile=a100"], 2, ["--profile: expected h100, h200, cpu", "got 'a100'"]),
    "a profile that is not there": (["tiny.json", "--profile=a100.json"], 1, ["a100.json: No such file or directory"]),
    "a specification as the profile": (["tiny.json", "--profile=tiny.json"], 1, ["tiny.json: format: expected \"evo.profile/1\", got \"evo.model/1\""]),
    "a sweep of one point": (["tiny.json", "--sweep=1"], 2, ["--sweep: expected a whole number in [2, 1024], got '1'"]),
    "a sweep of too many points": (["tiny.json", "--sweep=1025"], 2, ["--sweep: expected a whole number in [2, 1024], got '1025'"]),
    "a sweep of no number": (["tiny.json", "--sweep=all"], 2, ["--sweep: ", "got 'all'"]),
    "a sweep of a named policy": (["tiny.json", "--sweep", "--policy=chunk"], 2, ["--sweep: expected policy auto", "got 'chunk'"]),
    "a sweep for a plan": (["tiny.json", "--sweep", "-o", "plan.json"], 2, ["--sweep: expected --json and --report at most", "got -o", "--memory=BYTES"]),
    "a sweep for a level": (["tiny.json", "--sweep", "--emit=kern"], 2, ["--sweep: expected --json and --report at most", "got --emit"]),
    "a sweep without a specification": (["--sweep"], 2, ["--sweep: "]),
    "a capacity without a packing": (["tiny.json", "--capacity=1000"], 2, ["--capacity: expected --pack=FILE.csv beside it, got none"]),
    "the specification for an output": (["tiny.json", "-o", "./tiny.json"], 2, ["-o: expected a file that is not read, got './tiny.json'"]),
    "one file for two outputs": (["tiny.json", "-o", "a", "--json=a"], 2, ["expected different files to write, got 'a' twice"]),
    "a report to standard output": (["tiny.json", "--json=-"], 2, ["--json: expected a file, got '-'"]),
    "small in inference": (["tiny.json", "--policy=small"], 2, ["evoformer for inference on 1 device: expected auto, direct or chunk, got 'small'"]),
    "extra in inference": (["tiny.json", "--policy=extra"], 2, ["expected auto, direct or chunk, got 'extra'"]),
    "dap on one device": (["tiny.json", "--policy=dap"], 2, ["on 1 device: expected auto, direct or chunk, got 'dap'"]),
    "dap on two devices": (["tiny.json", "--policy=dap", "--devices=2"], 1, ["for inference this version has auto, direct, chunk; got 'dap'"]),
    "dap+small in inference": (["tiny.json", "--policy=dap+small", "--devices=2"], 2, ["on 2 devices: expected auto, direct, chunk, dap or dap+chunk, got 'dap+small'"]),
    "a policy that several devices will have": (["tiny.json", "--policy=dap+large", "--mode=train", "--devices=2"], 1,
                                                ["for training this version has auto, direct, small, large, chunk, extra; got 'dap+large'"]),
    "extra without an MSA": (["tiny.json", "--policy=extra", "--mode=train", "--set", "stack=template_pair"], 1, ["tiny.json: "]),
    "an override without a value": (["tiny.json", "--set", "s"], 2, ["--set: expected NAME=VALUE, got \"s\""]),
    "an override of no key": (["tiny.json", "--set", "c_x=3"], 2, ["--set \"c_x\": expected a key of the specification", "did you mean \"c_m\""]),
    "an override of a wrong size": (["tiny.json", "--set", "s=0"], 1, ["tiny.json: sizes.s: expected an integer from 1 to 2147483647", "got 0"]),
    "an override of a wrong type": (["tiny.json", "--set", "opm_first=7"], 1, ["tiny.json: opm_first: ", "got 7"]),
    "a folder that is not there": (["tiny.json", "-o", "none/plan.json"], 1, ["cannot write 'none/plan.json': No such file or directory"]),
    "a report into no folder": (["tiny.json", "-o", "plan.json", "--report=none/r.html"], 1, ["cannot write 'none/r.html'"]),
    "a folder as the file": (["tiny.json", "-o", "."], 1, ["cannot write '.': Is a directory"]),
    "a full device": (["tiny.json", "-o", "/dev/full", "--json=r.json"], 1, ["cannot write '/dev/full': No space left on device"]),
    "a report on a full device": (["tiny.json", "-o", "plan.json", "--report=/dev/full"], 1, ["cannot write '/dev/full'"]),
    "a specification that is not there": (["none.json"], 1, ["none.json: No such file or directory"]),
    "a folder as the specification": (["folder.json"], 1, ["folder.json"]),
}


def refused(arguments, status, parts):
    def check(folder):
        (folder / "folder.json").mkdir()
        evo_opt = tool(folder)
        given = {a.split("=")[0] for a in arguments}
        more = [a for a in OUTPUTS if a.split("=")[0] not in given and a != "plan.json"]
        if "-o" in more:
            more.insert(more.index("-o") + 1, "plan.json")
        elif "-o" not in given:
            more += ["-o", "plan.json"]
        evo_opt.refuses(status, parts, *arguments, *([] if arguments == [] else more))
    return check


CASES += [(f"refuses {name}", refused(*rest)) for name, rest in REFUSED.items()]


# Specifications that are wrong: the file's text, and parts of the message behind the file's name.
def changed(**changes):
    return json.dumps({**TINY, **changes})


SPECIFICATIONS = {
    "an empty file": ("", ["expected"]),
    "no JSON": ("{", ["expected"]),
    "JSON with something behind it": (json.dumps(TINY) + "x", ["expected"]),
    "a key twice": (json.dumps(TINY)[:-1] + ", \"blocks\": 3}", ["blocks"]),
    "a list": ("[]", ["expected a JSON object, got an array"]),
    "another format": (changed(format="evo.model/2"), ["format: expected \"evo.model/1\"", "evo.model/2"]),
    "an unknown key": (changed(blokcs=3), ["blokcs", "blocks"]),
    "an unknown channel": (changed(channels={**TINY["channels"], "c_s": 3}), ["channels: expected one of the keys c_m, ", "got \"c_s\""]),
    "another stack's key": (changed(global_attention_eps=1e-8), ["global_attention_eps"]),
    "an unknown stack": (changed(stack="pairformer"), ["stack: expected", "\"pairformer\""]),
    "no channels": (json.dumps({k: v for k, v in TINY.items() if k != "channels"}), ["channels"]),
    "a channel missing": (changed(channels={k: v for k, v in TINY["channels"].items() if k != "c_z"}), ["channels.c_z"]),
    "text for a number": (changed(blocks="2"), ["blocks: expected an integer", "\"2\""]),
    "a fraction for a count": (changed(blocks=1.5), ["blocks: expected an integer", "1.5"]),
    "zero blocks": (changed(blocks=0), ["blocks: expected an integer from 1", "got 0"]),
    "negative sizes": (changed(sizes={"s": 4, "r": -5}), ["sizes.r: expected an integer from 1", "got -5"]),
    "a size of 2^31": (changed(sizes={"s": 4, "r": 2 ** 31}), ["sizes.r: expected an integer from 1 to 2147483647", "got 2147483648"]),
    "a size beyond 64 bits": (changed(sizes={"s": 4, "r": 2 ** 70}), ["sizes.r"]),
    "sizes whose bytes pass 2^63": (changed(sizes={"s": 2 ** 31 - 1, "r": 2 ** 31 - 1}), ["2^63"]),
    "an epsilon of zero": (changed(opm_eps=0), ["opm_eps", "got 0"]),
    "dropout of one": (changed(dropout={"msa": 1.0}), ["dropout.msa", "got 1"]),
    "an unknown optimizer": (changed(optimizer={"kind": "lamb", "lr": 1}), ["optimizer.kind", "\"lamb\""]),
    "another's optimizer key": (changed(optimizer={"kind": "sgd", "lr": 1, "beta1": 0.9}), ["optimizer: expected one of the keys kind, lr, momentum, got \"beta1\""]),
    "an unknown type": (changed(dtype="fp8"), ["dtype: expected", "\"fp8\""]),
    "no mode": (changed(mode=None), ["mode: expected", "null"]),
}


def malformed(text, parts):
    def check(folder):
        evo_opt = tool(folder)
        (folder / "spec.json").write_text(text)
        evo_opt.refuses(1, ["spec.json", *parts], "spec.json", *OUTPUTS)
    return check


CASES += [(f"refuses a specification: {name}", malformed(*rest)) for name, rest in SPECIFICATIONS.items()]

PROFILES = {
    "no JSON": ("{", ["expected"]),
    "a key missing": (lambda p: p.pop("exp_per_s"), ["exp_per_s"]),
    "an unknown key": (lambda p: p.update(flops=1), ["flops"]),
    "negative memory": (lambda p: p.update(memory_bytes=-1), ["memory_bytes", "-1"]),
    "a bandwidth of zero": (lambda p: p.update(memory_bytes_per_s=0), ["memory_bytes_per_s"]),
    "an unknown backend": (lambda p: p.update(backend="tpu"), ["backend", "\"tpu\""]),
}


def bad_profile(change, parts):
    def check(folder):
        evo_opt = tool(folder)
        profile = json.loads((ROOT / "examples" / "profiles" / "cpu.json").read_text())
        if not isinstance(change, str):
            change(profile)
        (folder / "device.json").write_text(change if isinstance(change, str) else json.dumps(profile))
        evo_opt.refuses(1, ["device.json", *parts], "tiny.json", "--profile=device.json", *OUTPUTS)
    return check


CASES += [(f"refuses a profile: {name}", bad_profile(*rest)) for name, rest in PROFILES.items()]


@case("says what it is")
def help_and_version(folder):
    evo_opt = tool(folder)
    text = evo_opt.works("--help")
    expect_in("--help", ["-o PLAN.json", "--policy=", "--devices=", "--memory=", "--profile=", "--mode=", "--dtype=", "--set=", "--kernels=",
                         "--emit=", "--report=", "--json=", "--quiet", "--sweep", "--pack", "--capacity", "--version", "FILE.mlir", "Exit status"], text)
    lines = evo_opt.works("--version").splitlines()
    expect("words of --version", ["evo-opt", "revision", "llvm", "cuda", "blas", "backends"], [line.split()[0] for line in lines])
    expect_in("the LLVM of --version", ["19."], lines[2])
    expect("--help behind a specification", text, evo_opt.works("tiny.json", "--help"))
    with open("/dev/full", "w") as full:
        done = subprocess.run([PROGRAM, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    expect("--help on a full device", (1, "evo-opt: error: cannot write to standard output\n"), (done.returncode, done.stderr))


@case("writes nothing but the report without -o")
def no_output(folder):
    evo_opt = tool(folder)
    for flags in ([], ["--emit=evo"], ["--emit=kern"]):
        expect_in("the report", ["tiny: evoformer, 2 blocks", "predicted time"], evo_opt.works("tiny.json", *flags))
    expect("with --quiet", "", evo_opt.works("tiny.json", "--quiet"))
    expect("files", ["tiny.json"], os.listdir(folder))


@case("-o - puts the plan on standard output and the report on standard error")
def plan_on_stdout(folder):
    evo_opt = tool(folder)
    status, output, problems = evo_opt.run("tiny.json", "-o", "-")
    expect("status", 0, status)
    expect("format", "evo.plan/1", json.loads(output)["format"])
    expect("the report", without_clock(evo_opt.works("tiny.json")), without_clock(problems))
    evo_opt.works("tiny.json", "-o", "plan.json")
    expect("the file", output, (folder / "plan.json").read_text())


@case("takes flags in any order and either spelling")
def order(folder):
    evo_opt = tool(folder)
    expected = evo_opt.works("tiny.json", "--policy=chunk", "--dtype=fp64", "--set=s=5", "--quiet", "-o", "-")
    expect("flags first", expected, evo_opt.works("--set", "s=5", "--policy", "chunk", "-o", "-", "--quiet", "--dtype", "fp64", "tiny.json"))
    expect("flags around", expected, evo_opt.works("--quiet", "--set=s=7", "tiny.json", "--set=sizes.s=5", "-o", "-", "--dtype=fp64", "--policy=chunk"))
    expect("behind --", expected, evo_opt.works("--policy=chunk", "--dtype=fp64", "--set=s=5", "--quiet", "-o", "-", "--", "tiny.json"))


@case("flags override the specification")
def overrides(folder):
    plan = plan_of(tool(folder, mode="train", dtype="bf16"), "--mode=infer", "--dtype=fp64", "--set", "channels.c_m=8", "--set=blocks=5", "--set", "name=other")
    expect("mode, dtype, c_m, blocks, name", ("infer", "fp64", 8, 5, "other"),
           (plan["mode"], plan["precision"], plan["model"]["channels"]["c_m"], plan["model"]["blocks"], plan["model"]["name"]))
    expect("the z stream", ("f64", 17 * 17 * 12 * 8), (plan["tensors"][1]["dtype"], plan["tensors"][1]["bytes"]))


@case("--kernels and --policy change the choices")
def choices(folder):
    evo_opt = tool(folder)
    taken = {}
    for flags in (["--policy=direct", "--kernels=all"], ["--policy=direct", "--kernels=plain"], ["--policy=chunk"]):
        taken[flags[-1]] = [node["choice"] for node in plan_of(evo_opt, *flags)["schedule"]["children"][0]["children"]]
    expect("plain attention", "plain", taken["--kernels=plain"][0])
    expect("the cheapest attention", "fused", taken["--kernels=all"][0])
    if not taken["--policy=chunk"][0].endswith(", s by 4"):
        raise Failed(f"chunk: expected row attention sliced by 4 of s, got {taken['--policy=chunk']}")


@case("the budget binds, and a refusal tells the exact need")
def budget(folder):
    evo_opt = tool(folder, sizes={"s": 40, "r": 64})
    for policy in ("direct", "chunk", "auto"):
        flags = ("tiny.json", f"--policy={policy}", "--kernels=plain", "--profile=cpu", "--quiet", "-o", "p.json")
        status, _, problems = evo_opt.run(*flags, "--memory=1")
        expect("status", 1, status)
        expect_in("message", [f"policy {policy}", "in 1 bytes"], problems)
        need = int(re.search(r"smallest feasible budget is (\d+) bytes", problems).group(1))
        needs = dict((name, int(value)) for name, value in re.findall(r"(direct|chunk) (\d+)", problems))
        if policy != "auto":
            expect(f"the need of {policy}", needs[policy], need)
        elif need >= min(needs.values()):
            raise Failed(f"expected the search to find less than the named policies, {needs}, got {need}")
        evo_opt.refuses(1, [str(need)], *flags, f"--memory={need - 1}")
        evo_opt.works(*flags, f"--memory={need}")
        summary = json.loads((folder / "p.json").read_text())["summary"]
        expect("peak, budget", (need, need), (summary["predicted_peak_bytes"], summary["budget_bytes"]))
        (folder / "p.json").unlink()
    if needs["chunk"] >= needs["direct"]:
        raise Failed(f"expected chunk to need less than direct, got {needs}")
    # In the memory of chunk auto is faster.
    times = [plan_of(evo_opt, "--kernels=plain", "--profile=cpu", f"--memory={needs['chunk']}", f"--policy={policy}")["summary"]["predicted_ms"]
             for policy in ("auto", "chunk")]
    if times[0] >= times[1]:
        raise Failed(f"expected auto to be faster than chunk in its memory, got {times}")


@case("memory is plain bytes or in units")
def memory(folder):
    evo_opt = tool(folder)
    for text, value in {"1073741824": 2 ** 30, "1048576KiB": 2 ** 30, "1024MiB": 2 ** 30, "1GiB": 2 ** 30, "1.5GiB": 3 * 2 ** 29, "1TiB": 2 ** 40}.items():
        expect(text, value, plan_of(evo_opt, "--memory", text)["summary"]["budget_bytes"])
    # The profile's memory where the flag is absent.
    expect("without --memory", 84825604096, plan_of(evo_opt)["summary"]["budget_bytes"])


def frame_peak(plan):
    """The fullest step of each procedure, from the alloc and free steps alone: {procedure: (live bytes, names)}."""
    peaks = {}
    for index, procedure in enumerate(plan["procedures"]):
        live, best = set(), (-1, [])

        def walk(steps):
            nonlocal best
            for step in steps:
                if "alloc" in step:
                    live.add(step["alloc"])
                elif "free" in step:
                    live.remove(step["free"])
                elif "body" in step:
                    walk(step["body"])
                else:
                    bytes_ = sum(-(-procedure["buffers"][b]["bytes"] // ALIGNMENT) * ALIGNMENT for b in live)
                    if bytes_ > best[0]:
                        best = (bytes_, sorted(procedure["buffers"][b]["name"] for b in live))
        walk(procedure["steps"])
        peaks[index] = best
    return peaks


def start_of(procedure, step):
    """Nanoseconds of the kernel steps before the one with this id."""
    costs = []

    def walk(steps):
        for each in steps:
            if "kernel" in each:
                costs.append(each["cost_ns"])
            elif "body" in each:
                walk(each["body"])
    walk(procedure["steps"])
    return sum(costs[:step])


def check_report(folder, spec, *flags):
    evo_opt = Tool(PROGRAM, folder)
    text = evo_opt.works(spec, "-o", "plan.json", "--json=report.json", *flags)
    plan, report = (json.loads((folder / name).read_text()) for name in ("plan.json", "report.json"))
    expect("the summary", plan["summary"], report["summary"])
    slots = {t["name"]: -(-t["bytes"] // ALIGNMENT) * ALIGNMENT for t in plan["tensors"]}
    workspace = slots.get("workspace", 0)
    # The profile of a GPU, the default, reserves 144 MiB; that of the CPU none.
    expect("workspace_bytes", {"cuda": 150994944, "cpu": 0}[plan["backend"]], workspace)
    expect("workspace_bytes of the report", workspace, report["workspace_bytes"])
    expect("workspace in the text", workspace > 0, "\n  workspace " in text)
    streams = sum(slots.values()) - workspace
    expect("stream_bytes", streams, report["stream_bytes"])
    expect("arena", plan["arena_bytes"], streams + workspace + report["largest_frame_bytes"])
    peaks = frame_peak(plan)
    heights = {i: p["frame_bytes"] for i, p in enumerate(plan["procedures"])}
    fullest = max(heights, key=lambda i: heights[i])
    peak = report["peak"]
    expect("the peak's frame", (heights[fullest], peaks[fullest][0]), (peak["frame_bytes"], peak["frame_live_bytes"]))
    expect("the peak's tensors", sorted([t["name"] for t in plan["tensors"]] + peaks[fullest][1]), sorted(peak["live_bytes"]))
    expect("live + fragmentation", plan["arena_bytes"], sum(peak["live_bytes"].values()) + peak["fragmentation_bytes"])
    before = sum(p["cost_ns"] for p in plan["procedures"][:fullest])
    expect("the peak's time", before + start_of(plan["procedures"][fullest], peak["step"]), round(peak["start_ms"] * 1e6))
    expect("fragmentation in the text", peak["fragmentation_bytes"] != 0, "fragmentation" in text)
    modules = [(m["module"], m["choice"]) for m in report["modules"]]
    expect("modules", [(n["name"], n["choice"]) for n in plan["schedule"]["children"][0]["children"]], modules)
    expect("the exact frames", [p["frame_bytes"] for p in plan["procedures"]], [m["frame_bytes"] for m in report["modules"]])
    total = sum(m["cost_ns"] * m["block_count"] for m in report["modules"])
    expect("predicted_ms", plan["summary"]["predicted_ms"], total / 1e6)
    z = next(t for t in plan["tensors"] if t["name"] == "z")
    expect("U", (z["bytes"], plan["arena_bytes"] / z["bytes"]), (report["unit_bytes"], report["arena_units"]))
    return text, report


@case("the report tells what the plan holds")
def report_matches_plan(folder):
    for name in ("tiny", "tiny-extra-msa", "tiny-template-pair", "small"):
        for policy in ("direct", "chunk"):
            for kernels in ("all", "plain"):
                check_report(folder, SPECS / f"{name}.json", f"--policy={policy}", f"--kernels={kernels}", "--profile=cpu")


@case("the report's tables line up")
def report_text(folder):
    text, report = check_report(folder, SPECS / "t1044-infer-128-2048.json", "--policy=chunk", "--kernels=plain", "--memory=16GiB")
    lines = text.splitlines()
    expect("the first line", "t1044-infer-128-2048: evoformer, 48 blocks, s = 128, r = 2048, fp32, inference, 1 device", lines[0])
    head = next(i for i, line in enumerate(lines) if line.startswith("blocks"))
    rows = lines[head:head + 10]
    expect("widths of the table of modules", 1, len({len(row) for row in rows}))
    # 2048^2 pairs of 128 channels of 4 bytes: 2 GiB; the arena stays within the 7 U that chunk is to need.
    expect_in("U", ["U, U = r^2 c_z bytes of fp32 = 2.00 GiB"], text)
    if report["arena_units"] > 7:
        raise Failed(f"expected at most 7 U, got {report['arena_units']}")
    begin = next(i for i, line in enumerate(lines) if line.startswith("peak in "))
    expect_in("the peak's line", [report["peak"]["module"], f"step {report['peak']['step']} ", "of every block 0-47, first ", " ms into the run, with"], lines[begin])
    live = lines[begin + 1:lines.index("", begin)]
    expect("ends of the bytes", 1, len({line.index(" bytes") for line in live}))
    expect("the live tensors", [*report["peak"]["live_bytes"], "together"], [line.split()[0] for line in live])
    expect_in("the last lines", ["predicted time", " a block", "bottleneck", "time: ", "memory: the peak is in "], "\n".join(lines[-2:]))


@case("auto says what the search weighed")
def auto(folder):
    text = tool(folder).works("tiny.json", "--json=r.json")
    report = json.loads((folder / "r.json").read_text())
    expect("requested_policy", "auto", report["requested_policy"])
    expect_in("the text", [f"policy {report['summary']['policy']}", "priced by NVIDIA H100 80GB HBM3 (analytic)", "lower bound", "smallest budget",
                           f"over {report['search']['records']} records of a block"], text)
    expect("named policies", ["direct", "chunk"], [need["policy"] for need in report["search"]["named"]])
    tool(folder).works("tiny.json", "--policy=direct", "--quiet", "--json=named.json")
    named = json.loads((folder / "named.json").read_text())
    expect("no search under a named policy", (None, 0, False), (named["lower_bound_ms"], named["search_ms"], "search" in named))
    expect("kinds of the times", [True, True], [isinstance(report[k], (int, float)) for k in ("compile_ms", "search_ms")])


@case("--report writes a page that stands alone")
def page(folder):
    for name in ("tiny", "tiny-extra-msa", "tiny-template-pair", "infer-512-384"):
        text, report = check_report(folder, SPECS / f"{name}.json", "--report=r.html")
        page, words = read_page(folder / "r.html")
        expect("pictures", 2, page.tags["svg"])
        expect_in("the page", [name, "Memory over one block", "Time by module", "live at the peak", "modelled by it, not measured",
                               str(report["summary"]["arena_bytes"]), str(report["summary"]["budget_bytes"])], words)
        for module in report["modules"]:
            expect_in("the page", [module["module"], module["dominant"]], words)
        for tensor in report["peak"]["live_bytes"]:
            expect_in("the page", [tensor], words)
        # A box a buffer, a stream and a module's frame; a key a live tensor; a bar a module.
        plan = json.loads((folder / "plan.json").read_text())
        boxes = sum(b["base"] == "frame" for p in plan["procedures"] for b in p["buffers"]) + len(plan["tensors"]) + len(plan["procedures"])
        expect("boxes", boxes + len(report["peak"]["live_bytes"]) + len(report["modules"]), page.tags["rect"])


@case("the report of a plan for training tells what is kept and stored")
def training_report(folder):
    for name in ("tiny", "tiny-extra-msa", "tiny-template-pair"):
        text = Tool(PROGRAM, folder).works(SPECS / f"{name}.json", "--mode=train", "--policy=small", "-o", "plan.json", "--json=report.json",
                                           "--report=r.html", "--profile=cpu")
        plan, report = (json.loads((folder / file).read_text()) for file in ("plan.json", "report.json"))
        summary, peak = plan["summary"], report["peak"]
        expect("the summary", summary, report["summary"])
        expect("the policy", "small", summary["policy"])
        # Gradients lie in their streams' places. The frames of the last block lie on all that is kept.
        streams = sum(-(-t["bytes"] // ALIGNMENT) * ALIGNMENT for t in plan["tensors"] if t["name"] not in ("dm", "dz"))
        calls = [(run, call) for program in plan["programs"] for run in program["runs"] for call in run["calls"]]
        tops = [call["frame_offset"] + (run["block_count"] - 1) * call.get("frame_stride", 0) for run, call in calls]
        expect("the last frame's place", streams + summary["kept_bytes"], max(tops))
        expect("arena", plan["arena_bytes"], max(top + plan["procedures"][call["procedure"]]["frame_bytes"] for top, (run, call) in zip(tops, calls)))
        expect("live + fragmentation", plan["arena_bytes"], sum(peak["live_bytes"].values()) + peak["fragmentation_bytes"])
        expect("kept at the peak", plan["arena_bytes"] - streams - peak["frame_bytes"], peak["live_bytes"]["kept"])
        gradients = plan["model"]["blocks"] * plan["gradient_block_bytes"]
        lines = {re.split("  +", line.strip())[0]: line for line in text.splitlines()}
        for label, count in (("kept at the peak", peak["live_bytes"]["kept"]), ("gradients (static)", gradients),
                             ("weights (static)", summary["static_bytes"] - gradients)):
            expect_in(f"the line {label}", [f" {count} bytes"], lines[label])
        for module in report["modules"]:
            frames = [p["frame_bytes"] for p in plan["procedures"] if p["module"] == module["module"]]
            expect(f"frame of {module['module']}", max(frames), module["frame_bytes"])
            # Row attention has one more where the first block keeps more than the others.
            expect(f"procedures of {module['module']}", 3 if module["module"] == "msa_att_row" else 2, len(frames))
        _, words = read_page(folder / "r.html")
        expect_in("the page", ["Memory over one block, forward", "Memory over one block, backward", "kept for backward", "gradients (static)"],
                  words)


@case("the page shows a budget in its range, and escapes names")
def page_budget(folder):
    evo_opt = tool(folder, name="<b>&\"quoted'")
    evo_opt.works("tiny.json", "--quiet", "--report=far.html", "--profile=cpu")
    need = plan_of(evo_opt, "--profile=cpu", "--policy=direct")["summary"]["predicted_peak_bytes"]
    evo_opt.works("tiny.json", "--quiet", "--report=near.html", "--profile=cpu", "--policy=direct", f"--memory={need + 1024}")
    shown = {name: "budget leaves" in read_page(folder / name)[1] for name in ("far.html", "near.html")}
    expect("budget lines", {"far.html": False, "near.html": True}, shown)
    expect_in("the title", ["<b>&\"quoted'"], read_page(folder / "far.html")[1])


@case("the same specification gives the same bytes")
def deterministic(folder):
    evo_opt = tool(folder)
    first = [evo_opt.works("tiny.json", "-o", "-", "--quiet", f"--emit={emit}") for emit in ("plan", "evo", "kern")]
    again = [evo_opt.works("tiny.json", "-o", "-", "--quiet", f"--emit={emit}") for emit in ("plan", "evo", "kern")]
    expect("plan and IR", first, again)
    pages = []
    for _ in range(2):
        evo_opt.works("tiny.json", "--quiet", "--report=r.html")
        pages.append((folder / "r.html").read_bytes())
    expect("the page", *pages)


@case("--emit gives the IR, which goes mlir-opt's way")
def emit(folder):
    evo_opt = tool(folder)
    evo_opt.works("tiny.json", "--emit=evo", "-o", "tiny.mlir", "--quiet", "--json=r.json")
    expect_in("the stack", ["evo.stack", "evo.msa_row_attention"], (folder / "tiny.mlir").read_text())
    expect("the report beside the IR", plan_of(evo_opt)["summary"], json.loads((folder / "r.json").read_text())["summary"])
    kern = evo_opt.works("tiny.json", "--emit=kern", "-o", "-", "--quiet")
    expect_in("procedures", ["kern.procedure", "kern.alloc"], kern)
    expect("read again", (folder / "tiny.mlir").read_text().count("evo."), evo_opt.works("tiny.mlir").count("evo."))
    evo_opt.works("tiny.mlir", "-o", "copy.mlir", "--canonicalize")
    expect("the copy", evo_opt.works("tiny.mlir", "--canonicalize"), (folder / "copy.mlir").read_text())
    expect("from standard input", evo_opt.works("tiny.mlir"), evo_opt.works("-", stdin=(folder / "tiny.mlir").read_text()))


@case("mlir-opt's way fails as the rest does")
def mlir_way(folder):
    evo_opt = tool(folder)
    (folder / "good.mlir").write_text("module {}\n")
    (folder / "bad.mlir").write_text("module {\n")
    (folder / "out.mlir").write_text("as before\n")
    files = sorted(os.listdir(folder))
    for status, arguments in ((2, ["good.mlir", "--bogus"]), (2, ["--bogus"]), (2, ["good.mlir", "--pass-pipeline=builtin.module(bogus)"]),
                              (2, ["good.mlir", "--pass-pipeline=builtin.module("]), (2, ["good.mlir", "bad.mlir"]), (1, ["none.mlir"]), (1, ["bad.mlir"]),
                              (1, ["good.mlir", "--evo-choose-policy"])):
        got, output, problems = evo_opt.run(*arguments, "-o", "out.mlir")
        expect(f"status of {arguments}\n{problems}", (status, "", True), (got, output, bool(problems)))
    expect("status of a missing folder", 1, evo_opt.run("good.mlir", "-o", "none/o.mlir")[0])
    expect("status of a full device", 1, evo_opt.run("good.mlir", "-o", "/dev/full")[0])
    expect("the output", "as before\n", (folder / "out.mlir").read_text())
    expect("files", files, sorted(os.listdir(folder)))
    expect_in("--help", ["--pass-pipeline"], evo_opt.works("good.mlir", "--help"))
    expect_in("--show-dialects", ["builtin", "evo", "kern"], evo_opt.works("--show-dialects"))


# Loads of 8 at every time, and a packing of 8 that large ones first misses by 1: b on a, c on b, d below c, e on a.
BUFFERS = "name,size,id,lower,upper\nbase,1,a,0,5\n,5,b,1,5\n,2,c,1,6\n,6,d,5,6\n,7,e,0,1\n"
OFFSETS = [0, 1, 6, 0, 1]


def packed(text):
    """Rows of a packed table, checked pair by pair, and the height."""
    rows = list(csv.DictReader(io.StringIO(text)))
    spans = [[int(row[k]) for k in ("lower", "upper", "offset", "size")] for row in rows]
    for i, (lower, upper, offset, size) in enumerate(spans):
        for other in spans[:i]:
            if lower < other[1] and other[0] < upper and offset < other[2] + other[3] and other[2] < offset + size:
                raise Failed(f"expected no overlap, got rows {rows[i]} and {other}")
    return rows, max(offset + size for _, _, offset, size in spans)


@case("--pack places buffers and keeps the other columns")
def pack(folder):
    evo_opt = Tool(PROGRAM, folder)
    (folder / "b.csv").write_text(BUFFERS)
    report = evo_opt.works("--pack", "b.csv", "--capacity", "8", "-o", "out.csv", "--json=report.json")
    for label, value in (("buffers", "5"), ("capacity", "8 bytes"), ("height", "8 bytes"), ("lower bound", r"8 bytes \(largest load 8\)"),
                         ("proven", "yes: no packing is lower"), ("states", r"\d+"), ("time", r"\d+\.\d ms")):
        if not re.search(rf"^{label} +{value}$", report, re.MULTILINE):
            raise Failed(f"expected a line '{label} {value}', got\n{report}")
    text = (folder / "out.csv").read_text()
    rows, height = packed(text)
    expect("header", "name,size,id,lower,upper,offset", text.split("\n")[0])
    expect("offsets", OFFSETS, [int(row["offset"]) for row in rows])
    expect("height", 8, height)
    made = json.loads((folder / "report.json").read_text())
    expect("time", True, made.pop("pack_ms") >= 0 and made.pop("states") > 0)
    expect("report", {"format": "evo.pack-report/1", "buffers": 5, "capacity_bytes": 8, "height_bytes": 8, "lower_bound_bytes": 8,
                      "largest_load_bytes": 8, "proven": True, "fits": True}, made)
    expect("to standard output", text, evo_opt.run("-o", "-", "--capacity=8", "--pack=b.csv")[1])
    expect("without a capacity", text, evo_opt.works("--pack", "b.csv", "-o", "-", "--quiet"))
    expect("packed again", text, (evo_opt.works("--pack=out.csv", "-o", "again.csv", "--quiet"), (folder / "again.csv").read_text())[1])


@case("a packing above the capacity is exit 1, says by how much and is written all the same")
def pack_above(folder):
    evo_opt = Tool(PROGRAM, folder)
    (folder / "b.csv").write_text(BUFFERS)
    status, output, problems = evo_opt.run("--pack", "b.csv", "--capacity", "5", "-o", "out.csv", "--json=report.json")
    expect("status and problem", (1, "evo-opt: error: b.csv: expected a packing of at most 5 bytes, got 8, 3 more; none is below 8\n"),
           (status, problems))
    expect_in("report", ["height       8 bytes", "capacity     5 bytes"], output)
    expect("height", 8, packed((folder / "out.csv").read_text())[1])
    expect("fits", False, json.loads((folder / "report.json").read_text())["fits"])


@case("--pack refuses a bad file with its line, and wrong usage")
def pack_refuses(folder):
    evo_opt = Tool(PROGRAM, folder)
    (folder / "b.csv").write_text(BUFFERS)
    (folder / "out.csv").write_text("as before")
    for text, parts in ((BUFFERS.replace("upper", "until"), ["bad.csv: line 1: expected the columns id, lower, upper, size, got no upper"]),
                        (BUFFERS.replace("5,b", "5x,b"), ["bad.csv: line 3: expected a whole number as size, got '5x'"]),
                        (BUFFERS.replace("1,6", "6,6"), ["bad.csv: line 4: expected a lifetime [lower, upper) with lower < upper, got [6, 6)"]),
                        ("", ["bad.csv: line 1: expected a header", "got an empty file"])):
        (folder / "bad.csv").write_text(text)
        evo_opt.refuses(1, parts, "--pack", "bad.csv", "-o", "out.csv")
    evo_opt.refuses(1, ["cannot open 'none.csv'"], "--pack", "none.csv", "-o", "out.csv")
    evo_opt.refuses(1, ["'none/out.csv'"], "--pack", "b.csv", "-o", "none/out.csv")
    evo_opt.refuses(2, ["expected --pack=FILE.csv, got no value"], "-o", "out.csv", "--pack")
    for arguments, parts in ((["--pack", "b.csv", "b.csv"], ["--pack: expected one file, got 'b.csv' beside it"]),
                             (["--pack", "b.csv", "--capacity=much"], ["--capacity: ", "got 'much'"]),
                             (["--pack", "b.csv", "--policy=auto"], ["--pack: expected --capacity, -o, --json and --quiet", "got --policy"])):
        evo_opt.refuses(2, parts, *arguments, "-o", "out.csv")


@case("a failure leaves older files as they are")
def older_files(folder):
    evo_opt = tool(folder)
    for name in ("plan.json", "report.json", "report.html"):
        (folder / name).write_text("as before")
    evo_opt.refuses(1, ["smallest feasible budget"], "tiny.json", *OUTPUTS, "--memory=1MiB")
    evo_opt.refuses(1, ["'none/r.html'"], "tiny.json", "-o", "plan.json", "--json=report.json", "--report=none/r.html")
    evo_opt.refuses(1, ["'/dev/full'"], "tiny.json", "-o", "plan.json", "--json=report.json", "--report=/dev/full")
    evo_opt.works("tiny.json", *OUTPUTS, "--quiet")
    if "as before" in "".join((folder / name).read_text() for name in ("plan.json", "report.json", "report.html")):
        raise Failed("expected new files where everything succeeded")
    expect("files", ["plan.json", "report.html", "report.json", "tiny.json"], sorted(os.listdir(folder)))


@case("a report that cannot be printed leaves no plan")
def full_stdout(folder):
    evo_opt = tool(folder)
    with open("/dev/full", "w") as full:
        done = subprocess.run([PROGRAM, "tiny.json", "-o", "plan.json"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=folder)
    expect("status and message", (1, "evo-opt: error: cannot write to standard output\n"), (done.returncode, done.stderr))
    expect("files", ["tiny.json"], os.listdir(folder))
    expect("without a report", "", evo_opt.works("tiny.json", "-o", "plan.json", "--quiet"))


@case("a folder that cannot be written")
def unwritable(folder):
    if os.geteuid() == 0:  # root may write anywhere but where nothing is
        tool(folder).refuses(1, ["cannot write '/proc/plan.json'"], "tiny.json", "-o", "/proc/plan.json")
        return
    evo_opt = tool(folder)
    (folder / "closed").mkdir(mode=0o500)
    evo_opt.refuses(1, ["cannot write 'closed/plan.json': Permission denied"], "tiny.json", "-o", "closed/plan.json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", required=True)
    PROGRAM = str(pathlib.Path(parser.parse_args().evo_opt).resolve())
    sys.exit(drive(CASES))
