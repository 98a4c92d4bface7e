#!/usr/bin/env python3
"""evo-run's command line on plans that evo-opt makes: tensor files in and out, what is refused, what never changes.

  evo_run_cli_test.py --evo-opt PROGRAM --evo-run PROGRAM

Ends with "N passed, N failed".
"""
import array
import json
import pathlib
import struct
import sys
import zipfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
from cases import Failed, drive, expect, expect_in  # noqa: E402
from runs import Run, plan, read_programs  # noqa: E402
import golden  # noqa: E402

CASES = []


def case(name):
    def add(function):
        CASES.append((name, function))
        return function
    return add


# Plans edited by hand: what is changed, and parts of the message. `tiny` under chunk has slice loops and nine procedures.
def steps_of(content, what, procedure=0):
    """(list, index) of each step of a kind in a procedure, loops' bodies in order."""
    found = []

    def walk(steps):
        for i, step in enumerate(steps):
            if what in step:
                found.append((steps, i))
            if "body" in step:
                walk(step["body"])
    walk(content["procedures"][procedure]["steps"])
    return found


def frame_buffers(content, procedure=0):
    return [b for b in content["procedures"][procedure]["buffers"] if b["base"] == "frame"]


def drop(content, what, which=0, procedure=0):
    steps, index = steps_of(content, what, procedure)[which]
    del steps[index]


def twice(content, what):
    steps, index = steps_of(content, what)[0]
    steps.insert(index + 1, steps[index])


def loop_of(content):
    steps, index = steps_of(content, "loop")[0]
    return steps[index]


def overlap(content):
    """Moves a buffer onto one that lives at the same time."""
    for procedure in content["procedures"]:
        live = []

        def walk(steps):
            for step in steps:
                if "alloc" in step:
                    live.append(procedure["buffers"][step["alloc"]])
                elif "free" in step:
                    live.remove(procedure["buffers"][step["free"]])
                if len(live) == 2 or ("body" in step and walk(step["body"])):
                    return True
            return False
        if walk(procedure["steps"]):
            small, large = sorted(live, key=lambda buffer: buffer["bytes"])
            small["offset"] = large["offset"]
            return
    raise Failed("expected two buffers that live together")


EDITS = {
    "an arena of another height": (lambda p: p.update(arena_bytes=p["arena_bytes"] + 512), ["arena_bytes", "expected", "got"]),
    "a summary that says less": (lambda p: p["summary"].update(predicted_peak_bytes=1), ["summary.predicted_peak_bytes", "expected", "got 1"]),
    "a budget below the peak": (lambda p: p["summary"].update(budget_bytes=4096), ["invariant 10", "budget", "4096"]),
    "a frame that ends too early": (lambda p: p["procedures"][0].update(frame_bytes=512), ["invariant", "procedures[0]", "got"]),
    "an offset off its alignment": (lambda p: frame_buffers(p)[0].update(offset=frame_buffers(p)[0]["offset"] + 4), ["invariant 8", "procedures[0].buffers", "offset"]),
    "an offset outside of the frame": (lambda p: frame_buffers(p)[0].update(offset=1 << 40), ["invariant 8", "procedures[0].buffers"]),
    "a negative offset": (lambda p: frame_buffers(p)[0].update(offset=-512), ["procedures[0].buffers", "offset", "-512"]),
    "two buffers in one place": (overlap, ["invariant 9", "procedures["]),
    "streams in one place": (lambda p: p["tensors"][1].update(offset=0), ["invariant 9", "tensors[1]"]),
    "an alloc dropped": (lambda p: drop(p, "alloc"), ["invariant", "procedures[0].steps"]),
    "a free dropped": (lambda p: drop(p, "free", -1), ["invariant 3", "procedures[0]"]),
    "a free twice": (lambda p: twice(p, "free"), ["invariant 3", "procedures[0].steps"]),
    "a kernel dropped": (lambda p: drop(p, "kernel", 1), ["invariant", "procedures[0]"]),
    "another version read": (lambda p: steps_of(p, "kernel")[-1][0][steps_of(p, "kernel")[-1][1]]["operands"]["x"].update(version=7), ["invariant", "operands.x"]),
    "a slice loop that ends too early": (lambda p: loop_of(p).update(extent=loop_of(p)["extent"] - 1), ["invariant", "procedures[0].steps"]),
    "slices of zero": (lambda p: loop_of(p).update(size=0), ["procedures[0].steps", "size", "got 0"]),
    "a call of no procedure": (lambda p: p["programs"][0]["runs"][0]["calls"][0].update(procedure=99), ["programs[0].runs[0].calls[0].procedure", "99"]),
    "blocks left out": (lambda p: p["programs"][0]["runs"][0].update(block_count=1), ["programs[0]", "block"]),
    "an unknown kernel": (lambda p: steps_of(p, "kernel")[0][0][steps_of(p, "kernel")[0][1]].update(kernel="softmx"), ["kernel", "softmx"]),
    "a weight over another": (lambda p: p["weights"][1].update(offset=0), ["weights[1]", "invariant"]),
    "an unknown key": (lambda p: p.update(sealed=True), ["sealed"]),
    "a key missing": (lambda p: p.pop("weights"), ["weights"]),
    "text for a number": (lambda p: p.update(arena_bytes="many"), ["arena_bytes: expected", "\"many\""]),
    "bytes beyond 2^63": (lambda p: p.update(arena_bytes=2 ** 70), ["arena_bytes"]),
    "a later format": (lambda p: p.update(format="evo.plan/2"), ["format: expected", "evo.plan/1", "evo.plan/2", "evo-opt"]),
}


def edited(change, parts):
    def check(folder):
        content = plan(policy="chunk")
        run = Run(folder, content)
        run.outputs()
        (folder / "o.safetensors").unlink()
        change(content)
        run.write(content=content)
        run.refused(parts)
        run.refuses(1, ["plan.json", *parts], "--verify", "plan.json")
    return check


CASES += [(f"refuses a plan with {name}", edited(*rest)) for name, rest in EDITS.items()]


@case("refuses files that are no plans")
def no_plans(folder):
    run = Run(folder)
    for text in ("", "{", "[]", "null", json.dumps(run.content)[:-5], json.dumps(run.content) + "}", "\x00" * 100):
        (folder / "plan.json").write_text(text)
        run.refused(["plan.json"])
    (folder / "plan.json").unlink()
    run.refused(["plan.json: expected a readable plan file, got none"])
    run.refuses(1, ["expected a plan file, got a folder"], ".")


@case("weights under one prefix, a given one, and older names")
def prefixes(folder):
    run = Run(folder)
    expected = run.outputs()
    renamed = lambda change: {change(name): tensor for name, tensor in run.weights.items()}  # noqa: E731
    core = lambda name: next((name.replace(new, f".core.{new[1:]}") for new in (".msa_transition.", ".outer_product_mean.") if new in name),  # noqa: E731
                             name.replace(".pair_stack.", ".core."))
    run.write(weights=renamed(lambda name: f"model.evoformer.{name}"))
    expect("one prefix", expected, run.outputs())
    run.write(weights=renamed(core))
    if not any("core.msa_transition" in name for name in renamed(core)):
        raise Failed("expected core.msa_transition among the older names")
    expect("older names", expected, run.outputs())
    run.write(weights=renamed(lambda name: f"a.{core(name)}"))
    expect("older names under a prefix", expected, run.outputs())

    other = {f"b.{name}": (dtype, shape, bytes(len(raw))) for name, (dtype, shape, raw) in run.weights.items()}
    run.write(weights={**renamed(lambda name: f"a.{name}"), **other})
    run.refused(["w.safetensors", "expected one prefix before 'blocks.' to fit the plan", "'a.'", "'b.'", "--weights-prefix"])
    expect("--weights-prefix=a", expected, run.outputs("--weights-prefix=a"))
    expect("--weights-prefix=a.", expected, run.outputs("--weights-prefix=a."))
    if run.outputs("--weights-prefix=b") == expected:
        raise Failed("expected other outputs from other weights")
    run.refused(["w.safetensors", "'c."], "--weights-prefix=c")
    run.write(weights={**renamed(lambda name: f"a.{name}"), "b.blocks.0.linear.weight": ("F32", [1], bytes(4)), "step": ("I64", [1], bytes(8))})
    expect("the one prefix that fits", expected, run.outputs("--json=r.json"))
    report = json.loads((folder / "r.json").read_text())
    expect("prefix, ignored", ("a.", 2), (report["weights_prefix"], report["weights_ignored"]))


@case("names a weight that is missing, extra or misshapen")
def wrong_weights(folder):
    run = Run(folder)
    name = "blocks.1.pair_stack.tri_att_end.mha.linear_o.weight"
    dtype, shape, raw = run.weights[name]
    run.write(weights={k: v for k, v in run.weights.items() if k != name})
    run.refused(["w.safetensors", f"missing tensor '{name}'", f"expected shape {shape}", "got none"])
    run.write(weights={**run.weights, "blocks.0.extra.bias": ("F32", [3], bytes(12))})
    run.refused(["w.safetensors", "surplus tensor 'blocks.0.extra.bias' [3]"])
    run.write(weights={**run.weights, "blocks.2.msa_transition.layer_norm.bias": ("F32", [16], bytes(64))})
    run.refused(["w.safetensors", "surplus tensor 'blocks.2.msa_transition.layer_norm.bias' [16]", "blocks"])
    run.write(weights={**run.weights, name: (dtype, shape[::-1], raw)})
    run.refused(["w.safetensors", f"tensor '{name}': expected", f"{shape}, got F32 {shape[::-1]}"])
    run.write(weights={**run.weights, name: ("I32", shape, raw)})
    run.refused(["w.safetensors", f"tensor '{name}'", "got I32"])
    run.write(weights={"something": ("F32", [1], bytes(4))})
    run.refused(["w.safetensors", "expected weights named 'blocks.{i}."])


@case("names an input that is missing, unknown or misshapen")
def wrong_inputs(folder):
    run = Run(folder)
    for missing in ("m", "z"):
        run.write(inputs={k: v for k, v in run.inputs.items() if k != missing})
        run.refused(["i.safetensors", f"missing tensor '{missing}'", "got none"])
    run.write(inputs={**run.inputs, "x": ("F32", [1], bytes(4))})
    run.refused(["i.safetensors", "unknown tensor 'x'", "'m', 'z', 'msa_mask', 'pair_mask'"])
    run.write(inputs={**run.inputs, "m": ("F32", [17, 9, 16], run.inputs["m"][2])})
    run.refused(["i.safetensors", "tensor 'm': expected", "[9, 17, 16], got F32 [17, 9, 16]"])
    run.write(inputs={**run.inputs, "z": ("U8", [17, 17, 12], bytes(17 * 17 * 12))})
    run.refused(["i.safetensors", "tensor 'z'", "got U8"])
    run.write(inputs={**run.inputs, "msa_mask": ("F32", [9], bytes(36))})
    run.refused(["i.safetensors", "tensor 'msa_mask'", "[9, 17]", "[9]"])


@case("masks in every type, and absent ones")
def masks(folder):
    run = Run(folder)
    expected = run.outputs()
    for dtype, pack_mask in {"U8": bytes, "BOOL": bytes, "F64": lambda v: array.array("d", v).tobytes(),
                             "F16": lambda v: struct.pack(f"<{len(v)}e", *v), "BF16": lambda v: array.array("H", (0x3f80 * int(x) for x in v)).tobytes()}.items():
        inputs = dict(run.inputs)
        for name in ("msa_mask", "pair_mask"):
            inputs[name] = (dtype, inputs[name][1], pack_mask([int(x) for x in golden.values(inputs[name])]))
        run.write(inputs=inputs)
        expect(f"outputs with masks in {dtype}", expected, run.outputs())
    run.write(inputs={k: v for k, v in run.inputs.items() if not k.endswith("mask")})
    absent = run.outputs()
    ones = {k: (d, s, array.array("f", [1.0] * (len(raw) // 4)).tobytes()) if k.endswith("mask") else (d, s, raw) for k, (d, s, raw) in run.inputs.items()}
    run.write(inputs=ones)
    expect("outputs without masks", absent, run.outputs())
    if absent == expected:
        raise Failed("expected masks to change the outputs")
    run.write(inputs={**run.inputs, "msa_mask": ("BOOL", [9, 17], bytes([2] * (9 * 17)))})
    status, _, problems = run.run("plan.json", "--weights=w.safetensors", "--inputs=i.safetensors", "--outputs=o2.safetensors", "--quiet")
    if status not in (0, 1) or (status == 1 and "msa_mask" not in problems):
        raise Failed(f"expected a BOOL of 2 to be taken as true or refused by name, got {status}: {problems}")


def npy(descr, shape, raw, fortran=False):
    head = repr({"descr": descr, "fortran_order": fortran, "shape": tuple(shape)})
    head += " " * (-(11 + len(head)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + raw


def write_npz(path, tensors, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, (dtype, shape, raw) in tensors.items():
            archive.writestr(f"{name}.npy", npy({"F32": "<f4", "F64": "<f8", "U8": "|u1", "BOOL": "|b1"}[dtype], shape, raw))


@case("npz in and out")
def npz(folder):
    run = Run(folder)
    expected = golden.load(folder / "o.safetensors")[0] if run.outputs() else {}
    write_npz(folder / "w.npz", run.weights)
    write_npz(folder / "i.npz", run.inputs, zipfile.ZIP_DEFLATED)
    run.outputs(weights="w.npz", inputs="i.npz", to="o.npz")
    with zipfile.ZipFile(folder / "o.npz") as archive:
        expect("a broken member", None, archive.testzip())
        expect("members", ["m.npy", "z.npy"], sorted(archive.namelist()))
        for name in ("m", "z"):
            raw = archive.read(f"{name}.npy")
            expect(f"head of {name}", True, b"'<f4'" in raw[:128] and str(tuple(expected[name][1])).encode() in raw[:128])
            expect(f"values of {name}", expected[name][2], raw[-len(expected[name][2]):])
    expect("npz weights, safetensors out", expected, golden.load(folder / "o.safetensors")[0] if run.outputs(weights="w.npz") else {})
    run.refused(["expected a file name that ends with", "'w.txt'"], "--weights=w.txt")


@case("refuses tensor files that are cut or broken")
def broken_files(folder):
    run = Run(folder)
    whole = (folder / "i.safetensors").read_bytes()
    for size in (0, 4, 8, 60, len(whole) // 2, len(whole) - 1):
        (folder / "i.safetensors").write_bytes(whole[:size])
        run.refused(["i.safetensors"])
    (folder / "i.safetensors").write_bytes(whole + b"\0")
    run.refused(["i.safetensors"])
    (folder / "i.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + whole[8:])
    run.refused(["i.safetensors"])
    (folder / "i.safetensors").write_bytes(struct.pack("<Q", 2) + b"{x" + whole[10:])
    run.refused(["i.safetensors"])
    (folder / "i.safetensors").write_bytes(whole)
    write_npz(folder / "i.npz", run.inputs)
    archive = (folder / "i.npz").read_bytes()
    for size in (0, 10, len(archive) // 2, len(archive) - 1):
        (folder / "i.npz").write_bytes(archive[:size])
        run.refused(["i.npz"], "--inputs=i.npz")
    flipped = bytearray(archive)
    flipped[archive.index(b"NUMPY") + 2000] ^= 1
    (folder / "i.npz").write_bytes(flipped)
    run.refused(["i.npz"], "--inputs=i.npz")


@case("--check-finite names the first bad tensor and index")
def check_finite(folder):
    run = Run(folder)
    name = "blocks.1.msa_transition.linear_1.weight"
    dtype, shape, raw = run.weights[name]
    values = array.array("f", raw)
    values[3 * shape[1] + 5] = float("nan")
    values[4 * shape[1]] = float("inf")
    run.write(weights={**run.weights, name: (dtype, shape, values.tobytes())})
    run.refused(["w.safetensors", f"tensor '{name}'", "expected finite values", "got nan at index [3, 5]"], "--check-finite")
    run.outputs()
    (folder / "o.safetensors").unlink()
    m = array.array("f", run.inputs["m"][2])
    m[(2 * 17 + 3) * 16 + 4] = float("-inf")
    run.write(inputs={**run.inputs, "m": ("F32", [9, 17, 16], m.tobytes())})
    run.refused(["i.safetensors", "tensor 'm'", "-inf at index [2, 3, 4]"], "--check-finite")
    # 1e300 is finite in float64 and not in the float32 of the plan.
    run.write(inputs={**run.inputs, "z": ("F64", [17, 17, 12], array.array("d", [1e300] * (17 * 17 * 12)).tobytes())})
    run.refused(["i.safetensors", "tensor 'z'", "at index [0, 0, 0]"], "--check-finite")
    run.write()
    run.outputs("--check-finite")


@case("fp64 plans write F64, and every policy agrees with direct to 1e-10")
def fp64(folder):
    for spec in ("tiny", "tiny-extra-msa", "tiny-template-pair"):
        direct = Run(folder, plan(spec, "direct", "fp64"))
        direct.outputs()
        reference = golden.load(folder / "o.safetensors")[0]
        expect("types", {"F64"}, {dtype for dtype, _, _ in reference.values()})
        chunk = Run(folder, plan(spec, "chunk", "fp64"))
        chunk.outputs()
        for name, (_, shape, raw) in golden.load(folder / "o.safetensors")[0].items():
            x, y = array.array("d", raw), array.array("d", reference[name][2])
            error = golden.norm([a - b for a, b in zip(x, y)]) / golden.norm(y)
            if not error <= 1e-10:
                raise Failed(f"{spec}, {name}: expected direct's values within 1e-10, got {error}")


@case("threads never change a result")
def threads(folder):
    for spec in ("tiny", "tiny-extra-msa", "tiny-template-pair"):
        for policy in ("direct", "chunk"):
            run = Run(folder, plan(spec, policy))
            expected = run.outputs("--threads=1")
            for count in (2, 3):
                expect(f"{spec}, {policy}, {count} threads", expected, run.outputs(f"--threads={count}"))


@case("the same seed gives the same output, on every run and iteration")
def seeds(folder):
    run = Run(folder)
    outputs = {}
    for name, flags in {"default": [], "0": ["--random-seed=0"], "again": ["--random-seed=0", "--iterations=3", "--warmup=2", "--threads=3"], "7": ["--random-seed=7"],
                        "most": [f"--random-seed={2 ** 64 - 1}"]}.items():
        expect("status", 0, run.run("plan.json", "--outputs=o.safetensors", "--quiet", *flags)[0])
        outputs[name] = (folder / "o.safetensors").read_bytes()
    expect("the default seed", outputs["default"], outputs["0"])
    expect("a repetition", outputs["0"], outputs["again"])
    expect("different seeds", 3, len({outputs[name] for name in ("0", "7", "most")}))
    for values in golden.load(folder / "o.safetensors")[0].values():
        if not all(x - x == 0 for x in golden.values(values)):
            raise Failed("expected finite outputs from random weights")


@case("--json has the contract's keys, and the arena is what was predicted")
def report(folder):
    for spec in ("tiny", "tiny-extra-msa", "tiny-template-pair"):
        for policy in ("direct", "chunk"):
            run = Run(folder, plan(spec, policy))
            run.outputs("--json=r.json", "--iterations=3")
            content, summary = json.loads((folder / "r.json").read_text()), run.content["summary"]
            expect("backend, devices", ("cpu", 1), (content["backend"], content["devices"]))
            expect("iterations", 3, len(content["iterations_ms"]))
            expect("median", sorted(content["iterations_ms"])[1], content["median_ms"])
            expect("predictions", (summary["predicted_ms"], summary["predicted_peak_bytes"]), (content["predicted_ms"], content["predicted_peak_bytes"]))
            expect("arena_bytes", run.content["arena_bytes"], content["arena_bytes"])
            expect("measured_peak_bytes", [summary["arena_bytes"] + summary["static_bytes"]], content["measured_peak_bytes"])
            # The CPU's profile counts no bytes of libraries: what is measured is what was predicted.
            expect("measured and predicted", [summary["predicted_peak_bytes"]], content["measured_peak_bytes"])


@case("warns where the plan's backend is not there, and refuses what it cannot run")
def backends(folder):
    run = Run(folder)
    run.content["backend"] = "cuda"
    run.write()
    built = "cuda" in run.works("--version").split("backends")[1]
    status, report, problems = run.run("plan.json", "--quiet")
    expect("status", 0, status)
    if not built or "\ndevice             cuda" not in report: # not built, or no device here
        expect_in("the warning", ["evo-run: warning: ", "cuda", "machine" if built else "build", "cpu"], problems)
        run.refused(["expected a CUDA device", "got none", "--backend=cpu"] if built else ["cuda"], "--backend=cuda")
    status, _, problems = run.run("plan.json", "--quiet", "--backend=cpu")
    expect("asked for by name", (0, ""), (status, problems))


@case("a failure leaves older outputs as they are")
def older_outputs(folder):
    run = Run(folder)
    for name in ("o.safetensors", "r.json", "t.json"):
        (folder / name).write_text("as before")
    run.refused(["missing.safetensors", "No such file"], "--inputs=missing.safetensors")
    run.refuses(1, ["cannot write 'none/r.json'"], "plan.json", "--outputs=o.safetensors", "--json=none/r.json", "--quiet")
    run.refuses(1, ["cannot write '/dev/full'"], "plan.json", "--json=/dev/full", "--quiet")


if __name__ == "__main__":
    read_programs(__doc__)
    sys.exit(drive(CASES))
