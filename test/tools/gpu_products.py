#!/usr/bin/env python3
"""Calibrates the matrix library's ways on a GPU and runs plans by them.

  gpu_products.py --evo-run P [--dtype=bf16] [--rounds=3] [-o PROFILE.json] PLAN.json...

Measures a profile of one type, puts its table of products into each plan of that type (as evo-opt does with --profile) and expects
  - the same bytes from two runs with the table;
  - the same bytes with a table of another version of the library as without one, and a report that says so.
Prints what the table has and the plans' times without and with it. Exit status 1 where something was not as expected.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

INPUTS = {"bf16": "bf16", "fp16": "f16", "fp32": "f32", "tf32": "f32"}


def table_for(products, dtype):
    """The part of a profile's table that a plan of a type carries."""
    ways, series = [], []
    for each in products["series"]:
        if each["input"] != INPUTS[dtype] or (each.get("multiplied") == "tf32") != (dtype == "tf32") or not any(shape[4] for shape in each["shapes"]):
            continue
        shapes = []
        for *extents, way in each["shapes"]:
            if way and products["ways"][way - 1] not in ways:
                ways.append(products["ways"][way - 1])
            shapes.append([*extents, ways.index(products["ways"][way - 1]) + 1 if way else 0])
        series.append({**each, "shapes": shapes})
    return {"library": products["library"], "ways": ways, "series": series} if series else None


class Runs:
    """Runs of one plan, each with another table."""

    def __init__(self, evo_run, plan, folder):
        self.evo_run, self.plan, self.folder = evo_run, json.loads(plan.read_text()), folder

    def run(self, table, iterations=3):
        """Report and outputs."""
        plan, report, outputs = (self.folder / name for name in ("plan.json", "report.json", "outputs.safetensors"))
        content = {key: value for key, value in self.plan.items() if key != "products"}
        plan.write_text(json.dumps({**content, **({"products": table} if table else {})}))
        written = "--gradients" if self.plan["mode"] == "train" else "--outputs"
        more = [f"--cotangents={self.cotangents()}"] if self.plan["mode"] == "train" else []
        done = subprocess.run([self.evo_run, plan, "--backend=cuda", "--quiet", f"--iterations={iterations}", f"--json={report}", f"{written}={outputs}", *more],
                              capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"evo-run ended with {done.returncode}: {done.stderr.strip()}")
        return json.loads(report.read_text()), outputs.read_bytes()

    def cotangents(self):
        """Ones for every stream, in a file of evo-run's format."""
        file = self.folder / "cotangents.safetensors"
        if not file.exists():
            header, data = {}, b""
            for tensor in self.plan["tensors"]:
                if tensor["name"] in ("m", "z"):
                    count = 1
                    for extent in tensor["shape"]:
                        count *= extent
                    header[tensor["name"]] = {"dtype": "BF16", "shape": tensor["shape"], "data_offsets": [len(data), len(data) + 2 * count]}
                    data += b"\x80\x3f" * count
            text = json.dumps(header).encode()
            file.write_bytes(len(text).to_bytes(8, "little") + text + data)
        return file


def check(evo_run, plan, table, folder):
    """A line about the plan, and what was not as expected."""
    runs, problems = Runs(evo_run, plan, folder), []
    without, first = runs.run(None)
    measured, again = runs.run(table), runs.run(table)
    if measured[1] != again[1]:
        problems.append("expected the same bytes of two runs with the table, got others")
    if measured[0]["products"] is not None:
        problems.append(f"expected the table to be followed, got '{measured[0]['products']}'")
    other, same = runs.run({**table, "library": "cuBLASLt 0.0.0"}, 1)
    if same != first:
        problems.append("expected the bytes of a run without a table where it is of another library, got others")
    if "cuBLASLt 0.0.0" not in (other["products"] or ""):
        problems.append(f"expected a report that names the table's library, got {other['products']}")
    line = (f"{plan.name}: {without['median_ms']:.3f} ms without the table, {measured[0]['median_ms']:.3f} and {again[0]['median_ms']:.3f} with it; "
            f"{'the same' if measured[1] == first else 'other'} bytes than without; predicted {without['predicted_ms']:.3f} ms")
    return line, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-run", required=True, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--dtype", default="bf16", choices=INPUTS)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("-o", dest="profile", type=pathlib.Path)
    parser.add_argument("plans", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        profile = options.profile or folder / "profile.json"
        done = subprocess.run([options.evo_run, "--calibrate", "--backend=cuda", f"--dtype={options.dtype}", f"--rounds={options.rounds}", "--quiet", "-o", profile],
                              capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"gpu_products.py: evo-run --calibrate ended with {done.returncode}: {done.stderr.strip()}")
        print(done.stdout.rstrip())
        table = table_for(json.loads(profile.read_text()).get("products", {"series": [], "ways": [], "library": ""}), options.dtype)
        if not table:
            print(f"no product of {options.dtype} is quicker in another way than the library's first")
            return 0
        shapes = [shape for each in table["series"] for shape in each["shapes"]]
        print(f"table      {len(table['series'])} classes, {len(shapes)} shapes, {sum(shape[4] > 0 for shape in shapes)} in one of {len(table['ways'])} other ways, "
              f"{len(json.dumps(table, separators=(',', ':')))} bytes in a plan")
        failed = False
        for plan in options.plans:
            line, problems = check(options.evo_run, plan, table, folder)
            print("\n".join([line, *(f"FAILED: {problem}" for problem in problems)]), flush=True)
            (folder / "cotangents.safetensors").unlink(missing_ok=True)
            failed |= bool(problems)
        return int(failed)


if __name__ == "__main__":
    sys.exit(main())
