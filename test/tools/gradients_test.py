#!/usr/bin/env python3
"""evo-run's gradients against central differences of its own forward, in float64: every stack, both kinds of kernels, and sizes
where axes have one element.

  gradients_test.py --evo-opt PROGRAM --evo-run PROGRAM

For each stream and each module's parameters a random direction v: (L(x + h v) - L(x - h v)) / 2h, L the outputs times the
cotangents, must be the gradient times v. Ends with "N passed, N failed".
"""
import array
import random
import sys

sys.dont_write_bytecode = True
from cases import Failed, drive, expect  # noqa: E402
from runs import Run, plan, read_programs  # noqa: E402
import golden  # noqa: E402

H = 1e-5
TOLERANCE = 1e-7  # of the size of the terms; central differences are good to h^2 and eps / h, 1e-10 and 1e-11
SIZES = {"tiny": ((4, 5), (1, 1), (3, 1), (1, 4)), "tiny-extra-msa": ((4, 5), (1, 1), (5, 1), (1, 3)), "tiny-template-pair": ((0, 5), (0, 1))}
CASES = []


def doubles(tensor):
    return array.array("d", golden.values(tensor))


class Model(Run):
    """A plan for training in float64 with random tensors, and the loss as a function of them. Masks of dropout are always those
    of one seed, so that the loss is a function."""

    def __init__(self, folder, spec, s, r, kernels, dropout=()):
        # With 1e-3 a pair without a common row of the MSA is scaled by 1000, too steep for differences.
        sizes = ([f"--set=s={s}", "--set=opm_eps=0.1"] if s else []) + [f"--set=r={r}", "--set=blocks=2"]
        super().__init__(folder, plan(spec, "small", "fp64", ("--mode=train", f"--kernels={kernels}", *sizes, *(f"--set={d}" for d in dropout))))
        rnd = random.Random(s * 100 + r)
        self.weights = {name: ("F64", t[1], doubles(t)) for name, t in self.weights.items()}
        self.inputs = {name: ("F64", t[1], doubles(t)) for name, t in self.inputs.items()}
        streams = self.content["programs"][0]["outputs"]
        self.cotangents = {name: ("F64", self.inputs[name][1], self.direction(name, rnd)) for name in streams}
        golden.save(folder / "c.safetensors", packed(self.cotangents))

    def direction(self, name, rnd):
        tensor = self.inputs.get(name) or self.weights[name]
        return array.array("d", (rnd.gauss(0, 1) for _ in tensor[2]))

    def groups(self):
        """The tensors to move together: each stream, and the parameters of each module."""
        groups = {name: [name] for name in self.content["programs"][0]["outputs"]}
        modules = sorted({procedure["module"] for procedure in self.content["procedures"]})
        for module in modules:
            groups[module] = [name for name in self.weights if name.split(".", 2)[2].startswith(module + ".")]
        expect("parameters in groups", sorted(self.weights), sorted(n for module in modules for n in groups[module]))
        return groups

    def loss(self, moved, step):
        """L with the tensors of `moved` changed by `step` times their directions."""
        def at(tensors):
            return packed({name: (d, s, array.array("d", (x + step * v for x, v in zip(raw, moved[name])))) if name in moved else (d, s, raw)
                           for name, (d, s, raw) in tensors.items()})
        golden.save(self.folder / "w.safetensors", at(self.weights))
        golden.save(self.folder / "i.safetensors", at(self.inputs))
        self.outputs("--threads=1", "--dropout-seed=9")
        outputs = golden.load(self.folder / "o.safetensors")[0]
        return sum(dot(doubles(outputs[name]), cotangent[2]) for name, cotangent in self.cotangents.items())

    def gradients(self):
        golden.save(self.folder / "w.safetensors", packed(self.weights))
        golden.save(self.folder / "i.safetensors", packed(self.inputs))
        self.outputs("--cotangents=c.safetensors", "--gradients=g.safetensors", "--dropout-seed=9")
        return {name: doubles(t) for name, t in golden.load(self.folder / "g.safetensors")[0].items()}


def packed(tensors):
    return {name: (dtype, shape, raw.tobytes()) for name, (dtype, shape, raw) in tensors.items()}


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def check(folder, spec, s, r, kernels, dropout=()):
    model = Model(folder, spec, s, r, kernels, dropout)
    gradients = model.gradients()
    rnd = random.Random(7)
    for group, names in model.groups().items():
        moved = {name: model.direction(name, rnd) for name in names}
        difference = (model.loss(moved, H) - model.loss(moved, -H)) / (2 * H)
        product = sum(dot(gradients[name], moved[name]) for name in names)
        size = sum(sum(abs(x * y) for x, y in zip(gradients[name], moved[name])) for name in names)
        if not abs(difference - product) <= TOLERANCE * max(size, 1):
            raise Failed(f"{group}: expected the gradient times a direction to be {difference}, got {product}")


for spec, sizes in SIZES.items():
    for s, r in sizes:
        for kernels in ("all", "plain"):
            CASES.append((f"{spec}, s = {s}, r = {r}, {kernels} kernels", lambda folder, a=(spec, s, r, kernels): check(folder, *a)))
    rates = ("dropout.pair=0.25",) + (("dropout.msa=0.15",) if s else ())
    CASES.append((f"{spec} with dropout", lambda folder, a=(spec, *sizes[0], "all", rates): check(folder, *a)))


if __name__ == "__main__":
    read_programs(__doc__)
    sys.exit(drive(CASES))
