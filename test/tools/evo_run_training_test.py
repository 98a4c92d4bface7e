#!/usr/bin/env python3
"""evo-run on plans for training: cotangents in, gradients out, what is refused, what never changes.

  evo_run_training_test.py --evo-opt PROGRAM --evo-run PROGRAM

Ends with "N passed, N failed".
"""
import array
import json
import random
import sys

sys.dont_write_bytecode = True
from cases import Failed, drive, expect, expect_in  # noqa: E402
from runs import Run, pack, plan, read_programs  # noqa: E402
import golden  # noqa: E402

CASES = []
FILES = ("--weights=w.safetensors", "--inputs=i.safetensors", "--cotangents=c.safetensors")


def case(name):
    def add(function):
        CASES.append((name, function))
        return function
    return add


def steps_of(steps):
    """The kernel steps, loops' bodies included."""
    for step in steps:
        if "kernel" in step:
            yield step
        yield from steps_of(step.get("body", ()))


class Train(Run):
    """evo-run in a folder with a plan for training, and cotangents beside weights and inputs."""

    def __init__(self, folder, spec="tiny", dtype="fp32", flags=()):
        super().__init__(folder, plan(spec, "small", dtype, ("--mode=train", *flags)))
        rnd = random.Random(12)
        self.streams = [name for name in self.content["programs"][0]["outputs"]]
        self.cotangents = {name: ("F32", self.inputs[name][1], pack(self.inputs[name][1], rnd, deviation=1)) for name in self.streams}
        self.write_cotangents(self.cotangents)

    def write_cotangents(self, tensors):
        golden.save(self.folder / "c.safetensors", tensors)

    def gradients(self, *flags, to="g.safetensors", files=FILES):
        """The bytes of the gradients' file of a quiet run."""
        status, _, problems = self.run("plan.json", *files, f"--gradients={to}", "--quiet", "--warmup=0", *flags)
        if status or problems:
            raise Failed(f"expected status 0 and no problem, got {status}: {problems}")
        return (self.folder / to).read_bytes()

    def refused(self, parts, *flags, status=1, files=FILES):
        self.refuses(status, parts, "plan.json", *files, *flags, "--outputs=o.safetensors", "--gradients=g.safetensors", "--json=r.json",
                     "--trace=t.json", "--quiet")


@case("gradients by m, z and each parameter, with shapes and types")
def names(folder):
    for spec, streams in (("tiny", ["m", "z"]), ("tiny-extra-msa", ["m", "z"]), ("tiny-template-pair", ["z"])):
        run = Train(folder, spec)
        run.gradients("--outputs=o.safetensors")
        gradients = golden.load(folder / "g.safetensors")[0]
        expected = {name: ("F32", run.inputs[name][1]) for name in streams}
        expected |= {name: (dtype, shape) for name, (dtype, shape, _) in run.weights.items()}
        expect(f"{spec}: names, types and shapes", expected, {name: (t[0], list(t[1])) for name, t in gradients.items()})
        for name, tensor in gradients.items():
            if not any(golden.values(tensor)):
                raise Failed(f"{spec}: expected {name} to have a gradient, got zeros")
        # The outputs are those of a run without gradients, by the same plan.
        expect("outputs", run.outputs(to="alone.safetensors"), (folder / "o.safetensors").read_bytes())


@case("gradients of an fp64 plan are F64")
def fp64(folder):
    run = Train(folder, dtype="fp64")
    run.gradients()
    expect("types", {"F64"}, {t[0] for t in golden.load(folder / "g.safetensors")[0].values()})


@case("the same gradients to the bit on every run, iteration and thread count")
def same_bits(folder):
    for spec in ("tiny", "tiny-extra-msa", "tiny-template-pair"):
        run = Train(folder, spec)
        expected = run.gradients("--threads=1")
        for flags in (("--threads=1",), ("--threads=2",), ("--threads=3",), ("--threads=2", "--iterations=3")):
            if run.gradients(*flags) != expected:
                raise Failed(f"{spec}: expected the same gradients with {flags}, got others")


@case("random tensors are the same in every run, and others by another seed")
def random_tensors(folder):
    run = Train(folder)
    expected = run.gradients(files=FILES[2:])
    expect("a second run", expected, run.gradients(files=FILES[2:]))
    if run.gradients("--random-seed=1", files=FILES[2:]) == expected:
        raise Failed("expected other gradients by another seed")
    # Without a file the cotangents are random: a run to measure needs none.
    output = run.works("plan.json", "--json=r.json")
    expect_in("the report", ["cotangents", "random, seed 0"], output)
    report = json.loads((folder / "r.json").read_text())
    expect("cotangents and gradients", (None, None), (report["cotangents"], report["gradients"]))


@case("gradients are linear in the cotangents")
def linear(folder):
    run = Train(folder)
    run.gradients()
    once = golden.load(folder / "g.safetensors")[0]
    twice = {name: (d, s, pack_of([2 * x for x in golden.values((d, s, raw))])) for name, (d, s, raw) in run.cotangents.items()}
    run.write_cotangents(twice)
    run.gradients()
    for name, tensor in golden.load(folder / "g.safetensors")[0].items():
        # A power of two changes no rounding.
        expect(f"twice the gradient of {name}", [2 * x for x in golden.values(once[name])], list(golden.values(tensor)))


def pack_of(values):
    return array.array("f", values).tobytes()


@case("a run of each block gives the same gradients as one of all")
def split_runs(folder):
    # Pairs alone: all blocks are alike.
    run = Train(folder, "tiny-template-pair")
    expected = run.gradients()

    def at(call, block):
        """The call of a run that begins with `block`: places are said for the first block of a run."""
        return {**call, "frame_offset": call["frame_offset"] + block * call.get("frame_stride", 0),
                "saved_offset": call.get("saved_offset", 0) + block * call.get("saved_stride", 0),
                "bindings": [{**b, "offset": b["offset"] + block * b.get("stride", 0)} for b in call.get("bindings", [])]}

    for program, down in zip(run.content["programs"], (False, True)):
        (whole,) = program["runs"]
        expect("blocks", (0, 2), (whole["first_block"], whole["block_count"]))
        program["runs"] = [{"first_block": block, "block_count": 1, "calls": [at(call, block) for call in whole["calls"]]}
                           for block in ((1, 0) if down else (0, 1))]
    run.write()
    expect("gradients", expected, run.gradients())


@case("npz in and out, and the paths in the report")
def npz(folder):
    run = Train(folder)
    run.gradients("--json=r.json", to="g.npz")
    report = json.loads((folder / "r.json").read_text())
    expect("paths", ("c.safetensors", "g.npz", "train", "small"),
           (report["cotangents"], report["gradients"], report["mode"], report["policy"]))
    expect("arena and static bytes", (run.content["arena_bytes"], run.content["summary"]["static_bytes"]),
           (report["arena_bytes"], report["static_bytes"]))
    expect("a zip", b"PK", (folder / "g.npz").read_bytes()[:2])


@case("the trace has both programs on one clock")
def trace(folder):
    run = Train(folder)
    run.works("plan.json", "--trace=t.json", "--quiet")
    events = [e for e in json.loads((folder / "t.json").read_text())["traceEvents"] if e["ph"] == "X"]
    expect("times in order", sorted(e["ts"] for e in events), [e["ts"] for e in events])
    backward = [e["args"]["procedure"].endswith(".backward") for e in events]
    expect("forward, then backward", sorted(backward), backward)
    blocks = [e["args"]["block"] for e, back in zip(events, backward) if back]
    expect("blocks of the backward program", sorted(blocks, reverse=True), blocks)


@case("dropout: a seed has its masks, another other ones, and none drops nothing")
def dropout(folder):
    rates = {"tiny": ("--set=dropout.msa=0.15", "--set=dropout.pair=0.25"), "tiny-extra-msa": ("--set=dropout.pair=0.25",),
             "tiny-template-pair": ("--set=dropout.pair=0.25",)}
    for spec, flags in rates.items():
        plain, run = Train(folder, spec), Train(folder, spec, flags=flags)
        masks = [step for procedure in run.content["procedures"] for step in steps_of(procedure["steps"]) if step["kernel"] == "dropout_mask"]
        # Forward and backward of four modules of the pair stack, and of row attention, whose first forward is one of its own.
        expect("masks in the plan", 11 if spec == "tiny" else 8, len(masks))
        found = {}
        for seed in (0, 1, 4294967295):
            found[seed] = run.gradients(f"--dropout-seed={seed}", "--json=r.json")
            expect("the report", seed, json.loads((folder / "r.json").read_text())["dropout_seed"])
            expect("a second run by other threads", found[seed], run.gradients(f"--dropout-seed={seed}", "--threads=3", "--iterations=2"))
        expect("gradients by three seeds", 3, len(set(found.values())))
        expect("without a seed it is 0", found[0], run.gradients())
        run.write(content=plain.content)
        undropped = run.gradients("--dropout-seed=1")
        expect("without dropout no seed counts", undropped, run.gradients("--dropout-seed=2"))
        if undropped in found.values():
            raise Failed(f"{spec}: expected dropout to change the gradients, got the same")
        # A rate of 0 is no dropout.
        zero = plan(spec, "small", "fp32", ("--mode=train", *(flag.split("=")[0] + "=" + flag.split("=")[1] + "=0" for flag in flags)))
        expect("a rate of 0", plain.content, zero)


def philox(counter, key):
    """Philox4x32-10 by its definition."""
    for turn in range(10):
        first, second = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        key_now = [(k + turn * step) % 2 ** 32 for k, step in zip(key, (0x9E3779B9, 0xBB67AE85))]
        counter = [second >> 32 ^ counter[1] ^ key_now[0], second % 2 ** 32, first >> 32 ^ counter[3] ^ key_now[1], first % 2 ** 32]
    return counter


def factors(count, rate, seed, block, module):
    """The mask of README.md in its own order: 0 or 1 / (1 - rate)."""
    words = [w for group in range((count + 3) // 4) for w in philox([group, block, module, 0], [seed, 0])]
    return [1 / (1 - rate) if w >= int(rate * 2 ** 32) else 0 for w in words[:count]]


# Specification, module, its last projection, stream, position in the block, axis that shares a mask, rate.
DROPPED = [("tiny", "msa_att_row", "mha.linear_o", "m", 0, 0, 0.15), ("tiny-template-pair", "tri_att_start", "mha.linear_o", "z", 0, 0, 0.25),
           ("tiny-template-pair", "tri_att_end", "mha.linear_o", "z", 1, 1, 0.25), ("tiny-template-pair", "tri_mul_out", "linear_z", "z", 2, 0, 0.25),
           ("tiny-template-pair", "tri_mul_in", "linear_z", "z", 3, 0, 0.25)]
LAST = ("mha.linear_o", "linear_2", "linear_out", "tri_mul_out.linear_z", "tri_mul_in.linear_z")


@case("dropout drops what the counters say, in the stream's own orientation, and scales the rest")
def counters(folder):
    seed, block = 77, 1
    expect("the published words of counter and key 0", [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], philox([0] * 4, [0] * 2))
    for spec, module, last, stream, position, shared, rate in DROPPED:
        flags = [f"--set=dropout.{'msa' if stream == 'm' else 'pair'}={rate}"]
        run = Train(folder, spec, "fp64", flags)
        kept = f"blocks.{block}.{module}.{last}."
        # Every other module adds nothing.
        weights = {name: (dtype, shape, raw if name.startswith(kept) or not any(f".{end}." in name for end in LAST) else bytes(len(raw)))
                   for name, (dtype, shape, raw) in run.weights.items()}
        run.write(weights=weights)
        run.outputs(f"--dropout-seed={seed}")
        got = golden.values(golden.load(folder / "o.safetensors")[0][stream])
        run.write(weights=weights, content=Train(folder, spec, "fp64").content)
        run.outputs()
        undropped = golden.values(golden.load(folder / "o.safetensors")[0][stream])
        _, (a, b, c), raw = run.inputs[stream]
        mask = factors((1 if shared == 0 else a) * (b if shared == 0 else 1) * c, rate, seed, block, position)
        for i, old in enumerate(golden.values(("F32", None, raw))):
            row, column, channel = i // (b * c), i // c % b, i % c
            factor = mask[(column if shared == 0 else row) * c + channel]
            update, whole = got[i] - old, undropped[i] - old
            if whole == 0 or (update == 0) != (factor == 0) or abs(update - factor * whole) > 1e-13 * (1 + abs(old) + abs(whole)):
                raise Failed(f"{module}: expected {whole} times {factor} at [{row}, {column}, {channel}], got {update}")


@case("names a cotangent that is missing, unknown or misshapen")
def wrong_cotangents(folder):
    run = Train(folder)
    for missing in ("m", "z"):
        run.write_cotangents({k: v for k, v in run.cotangents.items() if k != missing})
        run.refused(["c.safetensors", f"missing tensor '{missing}'", f"expected shape {run.inputs[missing][1]}", "got none"])
    for unknown in ("dm", "msa_mask"):
        run.write_cotangents({**run.cotangents, unknown: run.cotangents["m"]})
        run.refused(["c.safetensors", f"unknown tensor '{unknown}': expected 'm', 'z'"])
    run.write_cotangents({**run.cotangents, "m": ("F32", [17, 9, 16], run.cotangents["m"][2])})
    run.refused(["c.safetensors", "tensor 'm': expected F32, F64, F16 or BF16 [9, 17, 16], got F32 [17, 9, 16]"])
    run.write_cotangents({**run.cotangents, "z": ("U8", [17, 17, 12], bytes(17 * 17 * 12))})
    run.refused(["c.safetensors", "tensor 'z'", "got U8"])
    run.refused(["none.safetensors", "No such file"], files=(*FILES[:2], "--cotangents=none.safetensors"))


@case("needs cotangents for gradients, and a plan for training for both")
def usage(folder):
    run = Train(folder)
    run.refused(["expected --cotangents or --targets with --gradients, got neither"], status=2, files=FILES[:2])
    run.refuses(2, ["expected different files to write, got 'g.npz' twice"], "plan.json", *FILES, "--outputs=g.npz", "--gradients=g.npz")
    run.write(content=plan())
    for flag in ("--cotangents=c.safetensors", "--gradients=g.safetensors"):
        run.refuses(2, [f"expected {flag.split('=')[0]} with a plan in train mode, got one in infer mode"], "plan.json", flag, "--quiet")


@case("a failure leaves older gradients as they are")
def older_gradients(folder):
    run = Train(folder)
    for name in ("o.safetensors", "g.safetensors", "r.json", "t.json"):
        (folder / name).write_text("as before")
    run.write_cotangents({})
    run.refused(["missing tensor 'm'"])
    run.write_cotangents({**run.cotangents, "m": ("F32", run.inputs["m"][1], pack_of([float("nan")] * (9 * 17 * 16)))})
    run.refused(["tensor 'm'", "nan"], "--check-finite")
    run.refuses(1, ["cannot write 'none/g.safetensors'"], "plan.json", *FILES, "--outputs=o.safetensors", "--gradients=none/g.safetensors",
                "--quiet")


@case("refuses a plan whose gradients are not where they are said to be")
def broken_plans(folder):
    run = Train(folder)

    def refused(parts, change):
        content = json.loads(json.dumps(run.content))
        change(content)
        run.write(content=content)
        run.refused(["plan.json", *parts])

    last = len(run.content["weights"]) - 1
    block = run.content["gradient_block_bytes"]
    refused(["gradient_block_bytes: invariant 10", f"got {block - 512}"], lambda p: p.update(gradient_block_bytes=block - 512))
    refused([f"weights[{last}].gradient_offset: invariant 8", "512"], lambda p: p["weights"][last].update(gradient_offset=block + 8))
    refused(["gradient_offset: invariant 9"], lambda p: p["weights"][last].update(gradient_offset=p["weights"][last - 1]["gradient_offset"]))
    refused(["bindings: invariant 12", "where 'saved.m' is kept"], lambda p: p["programs"][0]["runs"][0]["calls"][0].update(saved_offset=0))
    refused(["programs[1].runs[0].calls[0].bindings", "invariant"], lambda p: p["programs"][1]["runs"][0]["calls"][0]["bindings"][0].update(offset=0))
    refused(["kept_bytes: invariant 10"], lambda p: p["summary"].update(kept_bytes=0))


def large(shape, value):
    count = 1
    for n in shape:
        count *= n
    return ("F32", shape, array.array("f", [value] * count).tobytes())


@case("fp16: an outer product that passes 65504 is stored in a smaller scale, and its gradient is not larger for it")
def long_sums(folder):
    # Operands of about 40 in an outer product over s = 200 rows: sums of 320,000.
    values, flags = {}, ("--set", "s=200", "--set", "blocks=1", "--mode=train", "--kernels=plain")
    for dtype in ("fp64", "fp16"):
        run = Run(folder, plan("tiny", "small", dtype, flags))
        for name, (_, shape, _) in run.weights.items():
            if "outer_product_mean.linear_1.bias" in name or "outer_product_mean.linear_2.bias" in name:
                run.weights[name] = large(shape, 40.0)
            elif "outer_product_mean.linear_out" in name:
                run.weights[name] = ("F32", shape, pack(shape, random.Random(3), deviation=0.01))
        for name in run.inputs:
            if name.endswith("mask"):
                run.inputs[name] = large(run.inputs[name][1], 1.0)
        run.write()
        rnd = random.Random(12)
        golden.save(folder / "c.safetensors", {name: ("F32", run.inputs[name][1], pack(run.inputs[name][1], rnd, deviation=1)) for name in ("m", "z")})
        run.works("plan.json", *FILES, "--outputs=o.safetensors", "--gradients=g.safetensors", "--quiet", "--warmup=0", "--check-finite")
        values[dtype] = {f"{file} {name}": golden.values(tensor) for file in ("o", "g") for name, tensor in golden.load(folder / f"{file}.safetensors")[0].items()}
    steps = [step for procedure in run.content["procedures"] for step in steps_of(procedure["steps"])]
    # 2^-8 for 200 rows; the projection undoes it.
    factors = {(step["kernel"], step["factor"]) for step in steps if "factor" in step}
    for expected in (("outer_product", 2.0 ** -8), ("linear", 2.0 ** 8), ("weight_grad", 2.0 ** 8)):
        if expected not in factors:
            raise Failed(f"expected a step {expected}, got {sorted(factors)}")
    for name in ("o m", "o z"):
        x, y = values["fp16"][name], values["fp64"][name]
        error = golden.norm([a - b for a, b in zip(x, y)]) / golden.norm(y)
        if not error <= 5e-3:  # the tolerance of fp16 outputs on golden files
            raise Failed(f"{name}: expected fp64's values within 5e-3, got a relative error of {error:.3e}")
    for name, tensor in values["fp16"].items():
        if not all(abs(x) < 65504 * 1e9 for x in tensor):
            raise Failed(f"{name}: expected finite values")


@case("fp16: a triangle product that passes 65504 is stored in a smaller scale, and so are its gradients no larger")
def long_triangles(folder):
    # Operands of about 40 in a sum over r = 100 rows: 160,000. Cotangents of about 1000, since a gradient by the product is the one
    # behind the layer norm divided by its deviation.
    flags = ("--set", "r=100", "--set", "blocks=1", "--mode=train")
    for policy in ("small", "chunk"):
        values = {}
        for dtype in ("fp64", "fp16"):
            run = Run(folder, plan("tiny-template-pair", policy, dtype, flags))
            for name, (_, shape, _) in run.weights.items():
                if "tri_mul" in name and "_p.bias" in name:
                    run.weights[name] = ("F32", shape, pack(shape, random.Random(5), deviation=40))
            run.inputs["pair_mask"] = large(run.inputs["pair_mask"][1], 1.0)
            run.write()
            rnd = random.Random(12)
            golden.save(folder / "c.safetensors", {"z": ("F32", run.inputs["z"][1], pack(run.inputs["z"][1], rnd, deviation=1000))})
            run.works("plan.json", *FILES, "--outputs=o.safetensors", "--gradients=g.safetensors", "--quiet", "--warmup=0", "--check-finite")
            values[dtype] = {f"{file} {name}": golden.values(tensor) for file in ("o", "g") for name, tensor in golden.load(folder / f"{file}.safetensors")[0].items()}
        factors = {(step["kernel"], step["factor"]) for procedure in run.content["procedures"] for step in steps_of(procedure["steps"]) if "factor" in step}
        # 2^-7 for 100 rows; the layer norm undoes it, and no product of the backward has it.
        expect("steps with a factor", {("batch_matmul", 2.0 ** -7), ("layer_norm", 2.0 ** 7), ("layer_norm_grad", 2.0 ** 7)}, factors)
        for name in values["fp64"]:
            x, y = values["fp16"][name], values["fp64"][name]
            error = golden.norm([a - b for a, b in zip(x, y)]) / golden.norm(y)
            most = 5e-3 if name == "o z" else 4e-2  # the tolerances of fp16 on golden files
            if not error <= most:
                raise Failed(f"{policy}, {name}: expected fp64's values within {most:g}, got a relative error of {error:.3e}")


if __name__ == "__main__":
    read_programs(__doc__)
    sys.exit(drive(CASES))
