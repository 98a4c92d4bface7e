"""evo-run on plans that evo-opt makes of the examples, with tensors of our own: shared by the tests of its command line."""
import argparse
import array
import copy
import json
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
from cases import Failed, Tool  # noqa: E402
import golden  # noqa: E402

SPECS = pathlib.Path(__file__).resolve().parents[2] / "examples" / "specs"
PROGRAMS = {}  # "evo_opt" and "evo_run"
PLANS = {}


def read_programs(description):
    """Takes both programs from the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", required=True)
    parser.add_argument("--evo-run", required=True)
    for name, path in vars(parser.parse_args()).items():
        PROGRAMS[name] = str(pathlib.Path(path).resolve())


def plan(spec="tiny", policy="direct", dtype="fp32", flags=()):
    """A plan of an example for the CPU; each is made once."""
    key = (spec, policy, dtype, *flags)
    if key not in PLANS:
        done = subprocess.run([PROGRAMS["evo_opt"], str(SPECS / f"{spec}.json"), "-o", "-", "--quiet", f"--policy={policy}", f"--dtype={dtype}", "--profile=cpu", *flags],
                              capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Failed(done.stderr)
        PLANS[key] = json.loads(done.stdout)
    return copy.deepcopy(PLANS[key])


def pack(shape, rnd, code="f", deviation=0.4):
    count = 1
    for n in shape:
        count *= n
    return array.array(code, (rnd.gauss(0, deviation) for _ in range(count))).tobytes()


def weights_of(content, rnd, prefix=""):
    """Random parameters for a plan: {name: (dtype, shape, bytes)}."""
    tensors = {}
    for block in range(content["model"]["blocks"]):
        for weight in content["weights"]:
            for part in weight["parts"]:
                shape = [part["rows"], *weight["shape"][1:]]
                tensors[f"{prefix}blocks.{block}.{part['parameter']}"] = ("F32", shape, pack(shape, rnd))
    return tensors


def inputs_of(content, rnd):
    tensors = {}
    for tensor in content["tensors"]:
        if tensor["name"] not in content["programs"][0]["inputs"]:
            continue
        if tensor["name"].endswith("mask"):
            count = tensor["shape"][0] * tensor["shape"][1]
            tensors[tensor["name"]] = ("F32", tensor["shape"], array.array("f", (rnd.randint(0, 1) for _ in range(count))).tobytes())
        else:
            tensors[tensor["name"]] = ("F32", tensor["shape"], pack(tensor["shape"], rnd, deviation=1))
    return tensors


class Run(Tool):
    """evo-run in a folder with plan.json, w.safetensors and i.safetensors."""

    def __init__(self, folder, content=None):
        super().__init__(PROGRAMS["evo_run"], folder)
        self.content = content or plan()
        rnd = random.Random(11)
        self.weights, self.inputs = weights_of(self.content, rnd), inputs_of(self.content, rnd)
        self.write()

    def write(self, weights=None, inputs=None, content=None):
        golden.save(self.folder / "w.safetensors", weights or self.weights)
        golden.save(self.folder / "i.safetensors", inputs or self.inputs)
        (self.folder / "plan.json").write_text(json.dumps(content or self.content))

    def outputs(self, *flags, weights="w.safetensors", inputs="i.safetensors", to="o.safetensors"):
        """The bytes of the output file of a quiet run."""
        status, _, problems = self.run("plan.json", f"--weights={weights}", f"--inputs={inputs}", f"--outputs={to}", "--quiet", "--warmup=0", *flags)
        if status or problems:
            raise Failed(f"expected status 0 and no problem, got {status}: {problems}")
        return (self.folder / to).read_bytes()

    def refused(self, parts, *flags, status=1):
        """Every output is asked for, so that one left behind shows."""
        self.refuses(status, parts, "plan.json", *flags, "--outputs=o.safetensors", "--json=r.json", "--trace=t.json", "--quiet",
                     *(flag for flag in ("--weights=w.safetensors", "--inputs=i.safetensors") if not any(f.startswith(flag.split("=")[0] + "=") for f in flags)))
