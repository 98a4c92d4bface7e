#!/usr/bin/env python3
"""No choice changes what is computed: every legal slice of every module, run in float64, agrees with `direct`.

  slices_test.py --evo-opt PROGRAM --evo-run PROGRAM

A specification is imported and chosen (`--emit=evo`); then the choices in the IR are edited and the passes run from there, so that
slices which no policy takes are tried too. Masks have zeros, also whole rows of them. Ends with "N passed, N failed".
"""
import argparse
import array
import json
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile

TIMEOUT_S = 120
# Relative to the largest magnitude of the tensor.
TOLERANCE = 1e-10

PASSES = ("evo-verify-chosen,evo-lower-to-kern,kern-annotate-cost{profile=cpu},kern-assign-buffers,kern-free-buffers,"
          "kern-verify-buffers,kern-place,kern-verify-placed,kern-emit-plan{output=%s}")

MSA_CHANNELS = {"c_m": 6, "c_z": 5, "c_hidden_msa_att": 3, "c_hidden_opm": 2, "c_hidden_mul": 7, "c_hidden_pair_att": 4,
                "no_heads_msa": 2, "no_heads_pair": 3, "transition_n": 4}
SPECS = [
    {"stack": "evoformer", "sizes": {"s": 7, "r": 5}, "channels": MSA_CHANNELS},
    {"stack": "evoformer", "sizes": {"s": 4, "r": 7}, "channels": MSA_CHANNELS, "opm_first": True, "mask_transition": False},
    {"stack": "extra_msa", "sizes": {"s": 7, "r": 5}, "channels": MSA_CHANNELS},
    {"stack": "template_pair", "sizes": {"r": 7},
     "channels": {"c_t": 6, "c_hidden_tri_att": 3, "c_hidden_tri_mul": 5, "no_heads": 2, "pair_transition_n": 2}},
]

# The axes of each module, as the paper's algebra has them: what the op says of itself is under test.
AXES = {
    "msa_row_attention": ["s"],
    "msa_column_attention": ["r"],
    "msa_column_global_attention": ["r"],
    "transition m": ["s", "r"],
    "transition z": ["r_i", "r_j"],
    "outer_product_mean": ["r_i"],
    "triangle_multiplication outgoing": ["r_i"],
    "triangle_multiplication incoming": ["r_j"],
    "triangle_attention starting": ["r_i"],
    "triangle_attention ending": ["r_j"],
}
HAVE_PLAIN = ("attention", "outer_product_mean")
MODULE = re.compile(r"evo\.(\w+(?: (?:m|z|outgoing|incoming|starting|ending)\b)?)(.*?)choice = #evo\.choice(?:<[^>]*>)?")


def choices(name, extents):
    """Every choice of a module, the default left out."""
    plain = any(word in name for word in HAVE_PLAIN)
    made = ["<variant = plain>"] if plain else []
    for variant in ("fused", "plain") if plain else ("fused",):
        for axis in AXES[name]:
            extent = extents["s" if axis == "s" else "r"]
            for size in sorted({1, 2, 3, extent - 1, extent, extent + 1}):
                made.append(f"<variant = {variant}, axis = {axis}, size = {size}>")
    return made


def run(*command):
    """Raises where the command fails, with what it said."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise AssertionError(f"{pathlib.Path(command[0]).name} ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def write_tensors(path, tensors):
    """A safetensors file of {name: (shape, floats)} in F64."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = array.array("d", values).tobytes()
        header[name] = {"dtype": "F64", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_tensors(path):
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            if entry["dtype"] != "F64":
                raise AssertionError(f"{name}: expected F64, got {entry['dtype']}")
            tensors[name] = array.array("d", data[slice(*entry["data_offsets"])])
    return tensors


def make_inputs(spec, seed):
    """Streams N(0, 1); masks of a third zeros, the first row all zeros and the second all ones."""
    generator = random.Random(seed)
    r, channels = spec["sizes"]["r"], spec["channels"]

    def normal(*shape):
        count = 1
        for size in shape:
            count *= size
        return list(shape), [generator.gauss(0, 1) for _ in range(count)]

    def mask(rows, columns):
        values = [float(generator.random() > 1 / 3) for _ in range(rows * columns)]
        values[:2 * columns] = [0.0] * columns + [1.0] * columns
        return [rows, columns], values

    tensors = {"z": normal(r, r, channels.get("c_z", channels.get("c_t"))), "pair_mask": mask(r, r)}
    if "s" in spec["sizes"]:
        s = spec["sizes"]["s"]
        tensors |= {"m": normal(s, r, channels["c_m"]), "msa_mask": mask(s, r)}
    return tensors


def difference(expected, got):
    """Largest difference of any tensor, relative to its largest magnitude."""
    if expected.keys() != got.keys():
        raise AssertionError(f"expected the tensors {sorted(expected)}, got {sorted(got)}")
    worst = 0.0
    for name, values in expected.items():
        scale = max(abs(v) for v in values)
        for e, g in zip(values, got[name], strict=True):
            if not abs(e - g) <= worst * scale:  # NaN included
                worst = abs(e - g) / scale
                if worst != worst:
                    raise AssertionError(f"{name}: expected a number, got {g}")
    return worst


class Stack:
    """A specification with inputs and its outputs under `direct`."""

    def __init__(self, programs, spec, folder):
        self.programs, self.spec, self.folder = programs, spec, folder
        self.inputs = folder / "inputs.safetensors"
        write_tensors(self.inputs, make_inputs(spec, seed=7))
        source, chosen = folder / "spec.json", folder / "direct.mlir"
        source.write_text(json.dumps({"format": "evo.model/1", "blocks": 2, "dtype": "fp64", **spec}))
        run(programs.evo_opt, source, "--emit=evo", "--policy=direct", "--profile=cpu", "-o", chosen)
        self.chosen = chosen.read_text()
        self.modules = [match.group(1) for match in MODULE.finditer(self.chosen)]
        run(programs.evo_opt, source, "--policy=direct", "--profile=cpu", "-o", folder / "plan.json", "--quiet")
        self.direct = self.outputs()
        for name, values in self.direct.items():
            if not any(abs(v) > 0.1 for v in values):
                raise AssertionError(f"{name}: expected values that tell something, got {max(map(abs, values))} at most")

    def outputs(self):
        path = self.folder / "outputs.safetensors"
        run(self.programs.evo_run, self.folder / "plan.json", "--backend=cpu", "--random-seed=3", f"--inputs={self.inputs}",
            f"--outputs={path}", "--iterations=1", "--warmup=0")
        return read_tensors(path)

    def check(self, k):
        """The k-th choice of every module; those with fewer start again."""
        taken = []

        def edit(match):
            made = choices(match.group(1), self.spec["sizes"])
            taken.append(f"{match.group(1)} {made[k % len(made)]}")
            return f"evo.{match.group(1)}{match.group(2)}choice = #evo.choice{made[k % len(made)]}"

        source = self.folder / "edited.mlir"
        source.write_text(MODULE.sub(edit, self.chosen))
        run(self.programs.evo_opt, source, f"--pass-pipeline=builtin.module({PASSES % (self.folder / 'plan.json')})", "-o",
            self.folder / "placed.mlir")
        worst = difference(self.direct, self.outputs())
        if worst > TOLERANCE:
            raise AssertionError(f"expected a relative difference of at most {TOLERANCE}, got {worst}, with\n  " + "\n  ".join(taken))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", required=True)
    parser.add_argument("--evo-run", required=True)
    programs = parser.parse_args()
    passed = failed = 0
    for number, spec in enumerate(SPECS):
        with tempfile.TemporaryDirectory() as folder:
            try:
                stack = Stack(programs, spec, pathlib.Path(folder))
                expected = 5 if spec["stack"] == "template_pair" else 9
                if len(stack.modules) != expected:
                    raise AssertionError(f"expected {expected} modules with a choice, got {stack.modules}")
                checks = range(max(len(choices(name, spec["sizes"])) for name in stack.modules))
            except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"FAIL: {spec['stack']} {number}\n{error}", flush=True)
                continue
            for k in checks:
                try:
                    stack.check(k)
                    passed += 1
                except (AssertionError, ValueError, OSError, subprocess.TimeoutExpired) as error:
                    failed += 1
                    print(f"FAIL: {spec['stack']} {number}, choice {k}\n{error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
