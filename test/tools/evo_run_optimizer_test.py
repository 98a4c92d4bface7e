#!/usr/bin/env python3
"""evo-run with a loss and an optimizer: steps against a reference in Python, runs that resume, loss scales, and files that stay whole.

  evo_run_optimizer_test.py --evo-opt PROGRAM --evo-run PROGRAM

Ends with "N passed, N failed".
"""
import array
import json
import math
import random
import resource
import signal
import struct
import sys
import xml.etree.ElementTree as xml

sys.dont_write_bytecode = True
from cases import Failed, drive, expect, expect_in  # noqa: E402
from runs import Run, pack, plan, read_programs  # noqa: E402
import golden  # noqa: E402

CASES = []
SGD = ("--set=optimizer.kind=sgd", "--set=optimizer.lr=0.01", "--set=optimizer.momentum=0.9")
ADAMW = ("--set=optimizer.kind=adamw", "--set=optimizer.lr=0.01", "--set=optimizer.beta1=0.8", "--set=optimizer.beta2=0.95",
         "--set=optimizer.eps=0.001", "--set=optimizer.weight_decay=0.1")
MASTER = ("--set=master_weights=true",)
SPEC = "tiny-template-pair"


def case(name):
    def add(function):
        CASES.append((name, function))
        return function
    return add


class Learn(Run):
    """evo-run in a folder with a plan that has an optimizer, and targets beside weights and inputs."""

    def __init__(self, folder, optimizer=SGD, spec=SPEC, dtype="fp32"):
        super().__init__(folder, plan(spec, "small", dtype, ("--mode=train", *optimizer)))
        rnd = random.Random(13)
        self.targets = {name: ("F32", self.inputs[name][1], pack(self.inputs[name][1], rnd, deviation=1))
                        for name in self.content["programs"][0]["outputs"]}
        golden.save(folder / "t.safetensors", self.targets)

    def learn(self, steps, *flags, start="--weights=w.safetensors"):
        """The report of a quiet run."""
        self.works("plan.json", start, "--inputs=i.safetensors", "--targets=t.safetensors", f"--steps={steps}", "--json=r.json", "--quiet",
                   *flags)
        return json.loads((self.folder / "r.json").read_text())

    def bytes(self, name):
        return (self.folder / name).read_bytes()

    def load(self, name):
        return {key: list(golden.values(t)) for key, t in golden.load(self.folder / name)[0].items()}

    def refused(self, parts, *flags, status=1):
        self.refuses(status, parts, "plan.json", "--inputs=i.safetensors", *flags, "--json=r.json", "--quiet")


def close(what, expected, got, tolerance):
    if len(expected) != len(got):
        raise Failed(f"{what}: expected {len(expected)} values, got {len(got)}")
    for i, (a, b) in enumerate(zip(expected, got)):
        if not abs(a - b) <= tolerance * (1 + abs(a)):
            raise Failed(f"{what}: expected {a} at {i}, got {b}")


def sgd_step(name, w, g, state, step):
    v = state.setdefault("momentum", {}).setdefault(name, [0.0] * len(w))
    for i in range(len(w)):
        v[i] = 0.9 * v[i] + g[i]
        w[i] -= 0.01 * v[i]


def adamw_step(name, w, g, state, step):
    m = state.setdefault("first_moment", {}).setdefault(name, [0.0] * len(w))
    v = state.setdefault("second_moment", {}).setdefault(name, [0.0] * len(w))
    for i in range(len(w)):
        w[i] *= 1 - 0.01 * 0.1
        m[i] = 0.8 * m[i] + 0.2 * g[i]
        v[i] = 0.95 * v[i] + 0.05 * g[i] ** 2
        w[i] -= 0.01 * (m[i] / (1 - 0.8 ** step)) / (math.sqrt(v[i] / (1 - 0.95 ** step)) + 0.001)


def mean_square(outputs, targets):
    return sum(math.fsum((x - t) ** 2 for x, t in zip(outputs[name], targets[name])) / len(targets[name]) for name in targets)


@case("steps are those of a reference, from the gradients of each step")
def reference(folder):
    for flags, update, spec in ((SGD, sgd_step, SPEC), (ADAMW, adamw_step, SPEC), ((*ADAMW, *MASTER), adamw_step, "tiny")):
        run = Learn(folder, flags, spec, "fp64")
        weights, state, targets = {k: list(golden.values(t)) for k, t in run.weights.items()}, {}, run.load("t.safetensors")
        for step in (1, 2, 3):
            start = "--weights=w.safetensors" if step == 1 else "--load-state=s.safetensors"
            report = run.learn(1, "--gradients=g.safetensors", "--outputs=o.safetensors", "--save-state=s.safetensors", start=start)
            gradients, saved = run.load("g.safetensors"), run.load("s.safetensors")
            close("the loss", [mean_square(run.load("o.safetensors"), targets)], report["losses"], 1e-12)
            expect("the step's number", [step], report["step_numbers"])
            for name, w in weights.items():
                update(name, w, gradients[name], state, step)
                close(f"{name} after step {step}", w, saved[name], 1e-12)
            for kind, tensors in state.items():
                for name, values in tensors.items():
                    close(f"{kind} of {name} after step {step}", values, saved[f"optimizer.{kind}.{name}"], 1e-12)
            if MASTER[0] in flags:
                for name in weights:
                    expect(f"master of {name}", saved[name], saved[f"optimizer.master.{name}"])
        expect("scalars", [1, 3, 3, 0], saved["optimizer.scalars"])


@case("a run resumes exactly where it stopped")
def resumes(folder):
    for flags in (SGD, ADAMW, (*SGD, *MASTER), (*ADAMW, *MASTER)):
        for dtype in ("fp32", "fp64"):
            run = Learn(folder, flags, dtype=dtype)
            whole = run.learn(7, "--save-state=whole.safetensors")["losses"]
            losses = run.learn(3, "--save-state=s.safetensors", "--threads=1")["losses"]
            # The state that it begins with may be the file that it writes.
            report = run.learn(4, "--save-state=s.safetensors", "--threads=3", start="--load-state=s.safetensors")
            expect(f"losses, {flags[0]} {dtype}", whole, losses + report["losses"])
            expect("numbers of the steps", [4, 5, 6, 7], report["step_numbers"])
            expect(f"state, {flags[0]} {dtype}", run.bytes("whole.safetensors"), run.bytes("s.safetensors"))
            if not whole[-1] < whole[0]:
                raise Failed(f"expected the loss to fall, got {whole}")
    for dtype in ("bf16", "fp16"):
        run = Learn(folder, (*ADAMW, *MASTER, "--set=loss_scale=dynamic"), dtype=dtype)
        whole = run.learn(6, "--save-state=whole.safetensors")
        first = run.learn(2, "--save-state=s.safetensors")
        second = run.learn(4, "--save-state=s.safetensors", start="--load-state=s.safetensors")
        for key in ("losses", "loss_scales", "skipped"):
            expect(f"{key}, {dtype}", whole[key], first[key] + second[key])
        expect(f"state, {dtype}", run.bytes("whole.safetensors"), run.bytes("s.safetensors"))
        # A weight is the rounding of its master, which keeps what steps below its last bit add.
        tensors = golden.load(folder / "s.safetensors")[0]
        for name in run.weights:
            expect(f"type of {name}", ({"bf16": "BF16", "fp16": "F16"}[dtype], "F32"), (tensors[name][0], tensors[f"optimizer.master.{name}"][0]))
            close(name, list(golden.values(tensors[f"optimizer.master.{name}"])), list(golden.values(tensors[name])), 2.0 ** -8)


@case("a run with dropout resumes with its masks")
def resumes_dropout(folder):
    run = Learn(folder, (*SGD, "--set=dropout.pair=0.5"))
    whole = run.learn(4, "--dropout-seed=7", "--save-state=whole.safetensors")["losses"]
    losses = run.learn(2, "--dropout-seed=7", "--save-state=s.safetensors")["losses"]
    report = run.learn(2, "--save-state=t2.safetensors", start="--load-state=s.safetensors")
    expect("losses", whole, losses + report["losses"])
    expect("the seed", 7, report["dropout_seed"])
    expect("state", run.bytes("whole.safetensors"), run.bytes("t2.safetensors"))
    other = run.learn(2, "--dropout-seed=8", start="--load-state=s.safetensors")["losses"]
    if other == report["losses"]:
        raise Failed("expected other masks by another seed")
    # Without updates the masks of two steps differ by the step's number alone.
    frozen = Learn(folder, ("--set=optimizer.kind=sgd", "--set=optimizer.lr=0", "--set=dropout.pair=0.5")).learn(3)["losses"]
    if len(set(frozen)) != 3:
        raise Failed(f"expected other masks in each step, got losses {frozen}")


@case("the state file names what it holds")
def state_file(folder):
    run = Learn(folder, (*ADAMW, *MASTER))
    run.learn(2, "--save-state=s.safetensors")
    tensors, metadata = golden.load(folder / "s.safetensors")
    expect("metadata", {"format": "evo.state/1", "optimizer": "adamw", "dtype": "f32", "step": "2", "dropout_seed": "0"}, metadata)
    names = set(run.weights)
    for kind in ("first_moment", "master", "second_moment"):
        names |= {f"optimizer.{kind}.{name}" for name in run.weights}
    expect("names", names | {"optimizer.scalars"}, set(tensors))
    for name, (dtype, shape, _) in run.weights.items():
        for key in (name, f"optimizer.master.{name}"):
            expect(f"type and shape of {key}", (dtype, shape), tensors[key][:2])


@case("a state serves as weights, and nothing changes them without steps")
def state_as_weights(folder):
    run = Learn(folder)
    run.learn(2, "--save-state=s.safetensors")
    loaded = run.works("plan.json", "--load-state=s.safetensors", "--inputs=i.safetensors", "--outputs=a.safetensors",
                       "--save-state=again.safetensors", "--iterations=3", "--quiet")
    expect_in("the report", ["s.safetensors", "again.safetensors"], loaded)
    expect("a state that is loaded and saved", run.bytes("s.safetensors"), run.bytes("again.safetensors"))
    run.works("plan.json", "--weights=s.safetensors", "--inputs=i.safetensors", "--outputs=b.safetensors", "--quiet")
    expect("outputs", run.bytes("a.safetensors"), run.bytes("b.safetensors"))


@case("targets alone give the loss and its gradients, with and without an optimizer")
def targets_alone(folder):
    for flags in (SGD, (*SGD, "--set=loss_scale=4096"), ()):
        run = Learn(folder, flags, "tiny", "fp64")
        common = ("plan.json", "--weights=w.safetensors", "--inputs=i.safetensors", "--quiet")
        run.works(*common, "--targets=t.safetensors", "--loss=mse", "--outputs=o.safetensors", "--gradients=g.safetensors", "--json=r.json")
        report = json.loads((folder / "r.json").read_text())
        outputs, targets = run.load("o.safetensors"), run.load("t.safetensors")
        close("the loss", [mean_square(outputs, targets)], [report["loss"]], 1e-12)
        expect("no steps", False, "losses" in report)
        golden.save(folder / "c.safetensors", {name: ("F64", run.targets[name][1], array.array("d", (
            2 * (x - t) / len(targets[name]) for x, t in zip(outputs[name], targets[name]))).tobytes()) for name in targets})
        run.works(*common, "--cotangents=c.safetensors", "--gradients=h.safetensors")
        expected = run.load("h.safetensors")
        for name, values in run.load("g.safetensors").items():
            close(f"gradient of {name}", expected[name], values, 1e-10)
        # One stream's targets: the other one's cotangent is zero.
        golden.save(folder / "m.safetensors", {"m": run.targets["m"]})
        run.works(*common, "--targets=m.safetensors", "--json=r.json")
        close("the loss of m", [mean_square(outputs, {"m": targets["m"]})], [json.loads((folder / "r.json").read_text())["loss"]], 1e-12)


@case("a fixed loss scale changes nothing but rounding")
def fixed_scale(folder):
    for flags in (SGD, ADAMW):
        run = Learn(folder, flags)
        losses = run.learn(4, "--save-state=a.safetensors", "--gradients=g.safetensors")["losses"]
        plain, gradients = run.load("a.safetensors"), run.load("g.safetensors")
        scaled = Learn(folder, (*flags, "--set=loss_scale=1024"))
        report = scaled.learn(4, "--save-state=b.safetensors", "--gradients=h.safetensors")
        close("losses", losses, report["losses"], 1e-6)
        expect("loss scales", ([1024] * 4, 1024, 0), (report["loss_scales"], report["loss_scale"], report["skipped_steps"]))
        for name, values in scaled.load("b.safetensors").items():
            if name != "optimizer.scalars":
                close(name, plain[name], values, 1e-6)
        for name, values in scaled.load("h.safetensors").items():
            close(f"gradient of {name}", gradients[name], values, 1e-6)


def with_optimizer(run, loss_scale, interval):
    """The plan with another loss scale to begin with, and interval of its growth."""
    run.content["optimizer"]["loss_scale"] = loss_scale
    for procedure in run.content["procedures"]:
        for step in procedure["steps"]:
            if step.get("kernel") == "advance_optimizer":
                step["growth_interval"] = interval
    run.write()


@case("an overflow skips the step and halves a dynamic loss scale, which grows again")
def dynamic_scale(folder):
    run = Learn(folder, (*SGD, "--set=loss_scale=dynamic"))
    expect("to begin with", 65536, run.content["optimizer"]["loss_scale"])
    report = run.learn(1, "--save-state=s.safetensors")
    expect("steps since the change", [65536, 1, 1, 0], run.load("s.safetensors")["optimizer.scalars"])
    with_optimizer(run, 2.0 ** 127, 2000)
    report = run.learn(1, "--save-state=s.safetensors")
    expect("skipped", ([True], 1, [2.0 ** 127], 2.0 ** 126), (report["skipped"], report["skipped_steps"], report["loss_scales"], report["loss_scale"]))
    saved = run.load("s.safetensors")
    for name, tensor in run.weights.items():
        expect(f"{name} as before", list(golden.values(tensor)), saved[name])
        expect(f"momentum of {name}", [0] * len(saved[name]), saved[f"optimizer.momentum.{name}"])
    expect("scalars", [2.0 ** 126, 0, 0, 0], saved["optimizer.scalars"])
    report = run.learn(12)
    taken = report["skipped"].index(False)
    expect("skipped first, then never", [True] * taken + [False] * (12 - taken), report["skipped"])
    expect("halved each time", [2.0 ** (127 - i) for i in range(taken + 1)], report["loss_scales"][:taken + 1])
    expect("tried again under its number", [1] * (taken + 1), report["step_numbers"][:taken + 1])
    with_optimizer(run, 8, 2)
    report = run.learn(5)
    expect("doubled behind two steps", ([8, 8, 16, 16, 32], 32), (report["loss_scales"], report["loss_scale"]))
    # A fixed one stays as it is, and every step is skipped.
    with_optimizer(run, 2.0 ** 127, 0)
    report = run.learn(3)
    expect("fixed", ([True] * 3, 2.0 ** 127), (report["skipped"], report["loss_scale"]))


@case("a save that is interrupted harms no earlier one")
def interrupted(folder):
    run = Learn(folder)
    run.learn(1, "--save-state=s.safetensors")
    before = run.bytes("s.safetensors")
    files = sorted(p.name for p in folder.iterdir())

    def limit():
        # Half of a state: the write that passes it fails, or ends the program.
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    arguments = ("plan.json", "--load-state=s.safetensors", "--inputs=i.safetensors", "--targets=t.safetensors", "--steps=1",
                 "--save-state=s.safetensors", "--quiet")
    status, _, _ = run.run(*arguments, preexec_fn=limit)
    expect("killed in the middle of the save", -signal.SIGXFSZ, status)
    expect("the earlier state", before, run.bytes("s.safetensors"))
    status, _, problems = run.run(*arguments, preexec_fn=limit, restore_signals=False)  # Python ignores the signal
    expect("a write that fails", 1, status)
    expect_in("the problem", ["evo-run: error: cannot write 's.safetensors'", "File too large"], problems)
    expect("the earlier state", before, run.bytes("s.safetensors"))
    expect("files", files, sorted(p.name for p in folder.iterdir()))
    run.learn(1, "--save-state=s.safetensors", start="--load-state=s.safetensors")
    expect("it resumes", [2], [run.load("s.safetensors")["optimizer.scalars"][2]])


@case("names what a state or a target lacks")
def wrong_files(folder):
    run = Learn(folder)
    run.learn(1, "--save-state=s.safetensors")
    tensors, metadata = golden.load(folder / "s.safetensors")

    def write(changed, **values):
        head, blobs, at = {"__metadata__": {**metadata, **values}}, [], 0
        for name, (dtype, shape, raw) in changed.items():
            head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
            blobs.append(raw)
            at += len(raw)
        text = json.dumps(head).encode()
        (folder / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))

    def refused(parts, changed=tensors, **values):
        write(changed, **values)
        run.refused(["x.safetensors", *parts], "--targets=t.safetensors", "--steps=1", "--load-state=x.safetensors", "--save-state=s.safetensors")

    first = next(iter(run.weights))
    refused(["metadata has format 'evo.state/1', got 'evo.state/9'"], format="evo.state/9")
    refused(["metadata has optimizer 'sgd', got 'adamw'"], optimizer="adamw")
    refused(["metadata has dtype 'f32', got 'f64'", "--dtype"], dtype="f64")
    refused(["metadata has dropout_seed, an integer in [0, 2^32), got '-1'"], dropout_seed="-1")
    refused([f"missing tensor 'optimizer.momentum.{first}'"], {k: t for k, t in tensors.items() if k != f"optimizer.momentum.{first}"})
    refused([f"surplus tensor 'optimizer.master.{first}'"], {**tensors, f"optimizer.master.{first}": tensors[first]})
    refused([f"tensor '{first}': expected F32 {tensors[first][1]}, got F32 [1]"], {**tensors, first: ("F32", [1], bytes(4))})
    refused(["tensor 'optimizer.scalars': expected F32 [4], got F64 [4]"], {**tensors, "optimizer.scalars": ("F64", [4], bytes(32))})
    run.refused(["w.safetensors", "metadata has format 'evo.state/1', got none", "--weights takes weights"], "--load-state=w.safetensors")
    for changed, parts in (({"q": run.targets["z"]}, ["unknown tensor 'q': expected targets of 'z'"]),
                           ({"z": ("F32", [1], bytes(4))}, ["tensor 'z': expected F32, F64, F16 or BF16", "got F32 [1]"]),
                           ({}, ["expected a target of one of 'z', got none"])):
        golden.save(folder / "x.safetensors", changed)
        run.refused(["x.safetensors", *parts], "--targets=x.safetensors")
    shape = run.targets["z"][1]
    bad = array.array("f", golden.values(run.targets["z"]))
    bad[5] = math.inf
    golden.save(folder / "x.safetensors", {"z": ("F32", shape, bad.tobytes())})
    run.refused(["tensor 'z': expected finite values, got another at element 5"], "--targets=x.safetensors", "--check-finite")
    run.refused(["expected a state file whose name ends with .safetensors, got 's.npz'"], "--save-state=s.npz")
    for name in ("c.png", "c", "svg", "c.svg.txt"):
        run.refused([f"expected a loss curve whose name ends with .svg, got '{name}'"], "--targets=t.safetensors", "--steps=1", f"--loss-curve={name}")
        if (folder / name).exists():
            raise Failed(f"expected no {name} of a run that is refused, got one")


@case("flags that need or exclude others")
def usage(folder):
    run = Learn(folder)
    for parts, *flags in ((["expected --targets with --steps, got none"], "--steps=1"),
                          (["expected --targets with --loss, got none"], "--loss=mse"),
                          (["expected --steps with --loss-curve, got none"], "--targets=t.safetensors", "--loss-curve=c.svg"),
                          (["expected one of --cotangents and --targets, got both"], "--cotangents=t.safetensors", "--targets=t.safetensors"),
                          (["expected one of --weights and --load-state, got both"], "--weights=w.safetensors", "--load-state=s.safetensors"),
                          (["expected one of --iterations and --steps, got both"], "--targets=t.safetensors", "--steps=2", "--iterations=2"),
                          (["--loss", "mse", "mae"], "--targets=t.safetensors", "--loss=mae"),
                          (["--steps"], "--targets=t.safetensors", "--steps=0")):
        run.refused(parts, *flags, status=2)
    run.write(content=plan(SPEC, "small", "fp32", ("--mode=train",)))
    for flag in ("--steps=1", "--load-state=s.safetensors", "--save-state=s.safetensors"):
        run.refused([f"expected a plan with an optimizer for {flag.split('=')[0]}, got one without"], flag, "--targets=t.safetensors", status=2)


@case("the report tells of the steps, and the curve is a picture of them")
def report(folder):
    run = Learn(folder)
    text = run.works("plan.json", "--weights=w.safetensors", "--inputs=i.safetensors", "--targets=t.safetensors", "--steps=5", "--json=r.json",
                     "--loss-curve=c.svg", "--save-state=s.safetensors", "--quiet")
    report = json.loads((folder / "r.json").read_text())
    expect_in("the report", ["targets", "t.safetensors", "sgd, steps 1 to 5, 0 skipped", "c.svg", "losses on the host", "median of 5"], text)
    expect("lengths", [5] * 5, [len(report[key]) for key in ("losses", "step_numbers", "loss_scales", "skipped", "iterations_ms")])
    expect("entries", ("sgd", report["losses"][-1], "t.safetensors", "s.safetensors", None),
           tuple(report[key] for key in ("optimizer", "loss", "targets", "save_state", "load_state")))
    expect("the predicted time", run.content["summary"]["predicted_ms"], report["predicted_ms"])
    picture = xml.parse(folder / "c.svg").getroot()
    curve = [e for e in picture.iter() if e.get("class") == "curve"]
    expect("one curve", 1, len(curve))
    points = [tuple(map(float, p.split(","))) for p in curve[0].get("points").split()]
    expect("points", 5, len(points))
    for (x, y), (x1, y1), a, b in zip(points, points[1:], report["losses"], report["losses"][1:]):
        if not (x < x1 and (y < y1) == (a > b)):
            raise Failed(f"expected the curve to go right, and down where the loss falls, got {points} for {report['losses']}")


if __name__ == "__main__":
    read_programs(__doc__)
    sys.exit(drive(CASES))
