#!/usr/bin/env python3
"""Runs every golden file through evo-opt and evo-run, and compares what comes out.

  golden_test.py --evo-opt PROGRAM --evo-run PROGRAM [--backend cpu|cuda] [--profile DEVICE.json] [--jobs N] [--time-limit SECONDS] [FOLDER...]

Each *.safetensors of the folders, under each policy, in fp64, fp32, bf16 and fp16; in training with all gradients. Files of 1 MB and more are
trained in fp64 under each policy, and under small in the other types; on cuda under each policy in every type. auto:0 is policy auto within the smallest budget that it has a
plan for, auto:20 a fifth of the way up from there to where nothing gets faster. Without folders: test/golden, and the folder
in EVO_GOLDEN, by default ../shared/golden beside the repository where it is there. Plans are priced by --profile, by default the backend's analytic one; a measured one also says how
products are computed. In fp64 each policy's outputs and gradients must also be
within 1e-10 of direct's. On cuda tf32 takes the place of fp64, and three of eleven cases, which come to each policy, type and kernel set, run twice and must give the same bytes; in bf16 and
fp16 each plan runs on the cpu, too, which rounds what the plan stores and nothing else: errors of outputs may be 1.5 times that run's, of all gradients as one vector 1.5 and 2.5 times. Ends with "N passed, N failed"; exit status 1 where one failed, was left
out for want of time, or no file was found.
"""
import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "test" / "golden" / "golden.py"
PROFILES = {"cpu": ROOT / "examples" / "profiles" / "cpu.json", "cuda": ROOT / "examples" / "profiles" / "h100.json"}
POLICIES = {"infer": ("direct", "chunk", "auto:0", "auto:20"),
            "train": ("direct", "small", "large", "chunk", "extra", "auto:0", "auto:5", "auto:20", "auto:60")}
KERNELS = ("all", "plain")
LARGE_FILE = 1000000
DTYPES = {"cpu": ("fp32", "fp64", "bf16", "fp16"), "cuda": ("fp32", "tf32", "bf16", "fp16")}
AGREEMENT = 1e-10
# By how much more than a run that rounds nothing but what the plan stores a device's may be off, in outputs and in all gradients as one vector. In fp16 few units of
# relu come to lie on the other side of 0, so the gradients' errors are of few: those of two such runs, with fused and with plain kernels, differ by up to 1.9 times
# (1.2 in bf16).
BESIDE = {"bf16": (1.5, 1.5), "fp16": (1.5, 2.5)}
TIMEOUT_S = 300

sys.path.insert(0, str(GOLDEN.parent))
sys.dont_write_bytecode = True
import golden  # noqa: E402


def run(*command):
    """Nothing where the command succeeded, else what it said."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return ""
    return f"{pathlib.Path(command[0]).name} ended with {done.returncode}\n{done.stdout}{done.stderr}".rstrip()


def typical(tensors):
    """The median of the root mean squares: what a tensor that vanishes is measured against."""
    sizes = sorted(golden.norm(golden.values(t)) / math.sqrt(len(golden.values(t))) for t in tensors.values())
    return sizes[len(sizes) // 2] if sizes else 0.0


def disagreement(reference, outputs, vanishing=False):
    """Nothing where both files hold the same tensors within AGREEMENT, else what differs. `vanishing`: tensors far smaller than
    the others count as 3 % of these, as golden.py has it for gradients."""
    if not reference.exists():
        return "expected direct's values to compare with, got none"
    ref, got = golden.load(reference)[0], golden.load(outputs)[0]
    floor = 3e-2 * typical(ref) if vanishing else 0.0
    if sorted(ref) != sorted(got):
        return f"expected the tensors {sorted(ref)}, got {sorted(got)}"
    for name, tensor in ref.items():
        if tensor[0] != "F64" or got[name][0] != "F64":
            return f"{name}: expected F64 of an fp64 plan, got {tensor[0]} and {got[name][0]}"
        if tensor[1] != got[name][1]:
            return f"{name}: expected shape {tensor[1]}, got {got[name][1]}"
        x, y = golden.values(got[name]), golden.values(tensor)
        error = golden.norm([p - q for p, q in zip(x, y)]) / (max(golden.norm(y), floor * math.sqrt(len(y))) or 1.0)
        if not error <= AGREEMENT:
            return f"{name}: expected direct's values within {AGREEMENT:g}, got a relative error of {error:.3e}"
    return ""


def policy_flags(programs, folder, policy, *flags):
    """The flags of a policy; the share of auto becomes a budget."""
    name, _, share = policy.partition(":")
    if not share:
        return [f"--policy={name}"], ""
    # One a case: cases may run beside each other.
    report = folder / ("search-" + "-".join([share, *(flag.split("=")[1] for flag in flags if "profile" not in flag)]) + ".json")
    problem = run(programs.evo_opt, folder / "spec.json", f"--json={report}", "--memory=16TiB", "--policy=auto", "--quiet", *flags)
    if problem:
        return [], problem
    found = json.loads(report.read_text())
    least, most = found["search"]["smallest_budget_bytes"], found["summary"]["predicted_peak_bytes"]
    return [f"--policy={name}", f"--memory={least + (most - least) * int(share) // 100}"], ""


def run_plan(programs, twice, files, *arguments):
    """Runs a plan that writes `files`; `twice`: to the same bytes."""
    problem = run(programs.evo_run, *arguments, f"--backend={programs.backend}")
    if problem or not twice:
        return problem
    first = [file.read_bytes() for file in files]
    problem = run(programs.evo_run, *arguments, f"--backend={programs.backend}")
    differing = [file.name for file, before in zip(files, first) if not problem and file.read_bytes() != before]
    return problem or (f"expected the same bytes of a second run, got others in {', '.join(differing)}" if differing else "")


def worse_than_storage(programs, file, folder, dtype, plan, outputs, gradients, *arguments):
    """Nothing where a device's run is about as far from the reference as one on the cpu, whose only rounding is of what the plan stores."""
    if programs.backend == "cpu" or dtype not in BESIDE:
        return ""
    beside = [folder / f"cpu-{path.name}" for path in (outputs, gradients) if path]
    problem = run(programs.evo_run, plan, *arguments, "--backend=cpu", f"--outputs={beside[0]}", *([f"--gradients={beside[1]}"] if gradients else []))
    if problem:
        return problem
    most_output, most_gradient = BESIDE[dtype]
    reference, got, rounded = (golden.load(path)[0] for path in (file, outputs, beside[0]))
    parts = [(f"output {name}", most_output, {name: reference[f"out.{name}"]}, got, rounded) for name in got]
    if gradients:
        of_all = {name.removeprefix("grad.in.").removeprefix("grad.param."): tensor for name, tensor in reference.items() if name.startswith("grad.")}
        parts.append(("all gradients", most_gradient, of_all, golden.load(gradients)[0], golden.load(beside[1])[0]))
    for what, most, wanted, tensors, plain in parts:
        error, least = golden.error_as_one(wanted, tensors), golden.error_as_one(wanted, plain)
        if not error <= most * least:
            problem += f"{what}: relative error {error:.3e} > {most:g} times {least:.3e}, which rounding what the plan stores makes\n"
    return problem.rstrip()


def check(programs, file, folder, twice, policy, dtype):
    """Nothing where this case holds, else why not."""
    plan, outputs = folder / f"{policy}-{dtype}.json", folder / f"{policy}-{dtype}.safetensors"
    flags = [f"--dtype={dtype}", "--mode=infer", f"--profile={programs.profile}"]
    chosen, problem = policy_flags(programs, folder, policy, *flags)
    problem = problem or run(programs.evo_opt, folder / "spec.json", "-o", plan, *chosen, *flags, "--quiet")
    given = (f"--weights={folder / 'weights.safetensors'}", f"--inputs={folder / 'inputs.safetensors'}")
    problem = problem or run_plan(programs, twice, (outputs,), plan, *given, f"--outputs={outputs}")
    problem = problem or run(sys.executable, GOLDEN, "compare", file, "--outputs", outputs, "--dtype", dtype)
    problem = problem or worse_than_storage(programs, file, folder, dtype, plan, outputs, None, *given)
    if not problem and dtype == "fp64" and policy != "direct":
        problem = disagreement(folder / f"direct-{dtype}.safetensors", outputs)
    return problem


def check_training(programs, file, folder, twice, policy, dtype, kernels):
    """Nothing where outputs and all gradients hold, else why not."""
    plan, outputs, gradients = (folder / f"{part}-{policy}-{kernels}-{dtype}{suffix}" for part, suffix in
                                (("train", ".json"), ("train", ".safetensors"), ("gradients", ".safetensors")))
    flags = [f"--dtype={dtype}", "--mode=train", f"--kernels={kernels}", f"--profile={programs.profile}"]
    chosen, problem = policy_flags(programs, folder, policy, *flags)
    problem = problem or run(programs.evo_opt, folder / "spec.json", "-o", plan, *chosen, *flags, "--quiet")
    given = [f"--{part}={folder / part}.safetensors" for part in ("weights", "inputs", "cotangents")]
    problem = problem or run_plan(programs, twice, (outputs, gradients), plan, *given, f"--outputs={outputs}", f"--gradients={gradients}")
    problem = problem or run(sys.executable, GOLDEN, "compare", file, "--outputs", outputs, "--gradients", gradients, "--dtype", dtype)
    problem = problem or worse_than_storage(programs, file, folder, dtype, plan, outputs, gradients, *given)
    if not problem and dtype == "fp64" and policy != "direct":
        problem = disagreement(folder / f"train-direct-{kernels}-{dtype}.safetensors", outputs)
        problem = problem or disagreement(folder / f"gradients-direct-{kernels}-{dtype}.safetensors", gradients, vanishing=True)
    return problem


def training_cases(file, dtypes, backend):
    """(mode, policy, type, kernels) of a file; direct comes first of its type and kernels."""
    policies = [p for p in POLICIES["train"] if p != "extra" or not file.stem.startswith("template_pair")]
    large = file.stat().st_size >= LARGE_FILE
    for dtype in dtypes:
        half = dtype in ("bf16", "fp16")
        for index, kernels in enumerate(KERNELS):
            for number, policy in enumerate(policies):
                # Halves take the kernel sets in turn.
                if backend == "cuda":
                    # A run takes no time there: every policy, and both kernel sets where the tensors are small.
                    if kernels == "all" or not large or policy == "small":
                        yield "train", policy, dtype, kernels
                    continue
                if half and number % 2 != index:
                    continue
                if not large or (policy == "small" and dtype != "fp64") or (dtype == "fp64" and kernels == "all"):
                    yield "train", policy, dtype, kernels


def golden_folders():
    default = ROOT.parent / "shared" / "golden"
    extra = pathlib.Path(os.environ["EVO_GOLDEN"]) if os.environ.get("EVO_GOLDEN") else default
    return [GOLDEN.parent] + ([extra] if extra.is_dir() or extra != default else [])


def golden_files(folders):
    """The files by name: the same name in two folders is the same file."""
    files = {}
    for folder in folders:
        found = sorted(pathlib.Path(folder).glob("*.safetensors"))
        if not found:
            sys.exit(f"golden_test.py: expected *.safetensors in {folder}, got none")
        for file in found:
            files.setdefault(file.name, file)
    return [files[name] for name in sorted(files)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", required=True)
    parser.add_argument("--evo-run", required=True)
    parser.add_argument("--backend", choices=sorted(DTYPES), default="cpu")
    parser.add_argument("--profile")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--time-limit", type=float, default=math.inf)
    parser.add_argument("folders", nargs="*")
    programs = parser.parse_args()
    programs.profile = programs.profile or PROFILES[programs.backend]
    dtypes, counts, deadline = DTYPES[programs.backend], {True: 0, False: 0}, time.monotonic() + programs.time_limit
    for file in golden_files(programs.folders or golden_folders()):
        with tempfile.TemporaryDirectory() as name, concurrent.futures.ThreadPoolExecutor(programs.jobs) as pool:
            folder = pathlib.Path(name)
            problem = run(sys.executable, GOLDEN, "split", file, folder, "--mode", "infer")
            cases = [("infer", policy, dtype, "all") for dtype in dtypes for policy in POLICIES["infer"]]
            cases += training_cases(file, dtypes, programs.backend)

            def outcome(number, case):
                mode, policy, dtype, kernels = case
                twice = programs.backend == "cuda" and number * 3 % 11 < 3  # 11 shares no factor with the numbers of policies
                if time.monotonic() > deadline:
                    return "expected a run, got no time left"
                if problem or mode == "infer":
                    return problem or check(programs, file, folder, twice, policy, dtype)
                return check_training(programs, file, folder, twice, policy, dtype, kernels)

            for (mode, policy, dtype, kernels), what in zip(cases, pool.map(outcome, range(len(cases)), cases)):
                label = f"{file.stem}, {mode}, {policy}, {dtype}, {kernels} kernels"
                print(f"{'FAIL' if what else 'pass'}: {label}" + (f"\n{what}" if what else ""), flush=True)
                counts[not what] += 1
    print(f"{counts[True]} passed, {counts[False]} failed")
    return 0 if counts[True] and not counts[False] else 1


if __name__ == "__main__":
    sys.exit(main())
