#!/usr/bin/env python3
"""Drives evo-run with a hand-made plan of two blocks and checks numbers, messages, exit statuses and left-overs.

  run-test.py --evo-run PROGRAM

A block does z[i,j] += pair_mask[i,j] (W z[i,j] + b) for slices of two rows of five. Standard library only.
"""
import argparse
import array
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile

PROGRAM = None
ROWS, CHANNELS, BLOCKS = 5, 3, 2
WEIGHT, BIAS = "pair_transition.linear_1.weight", "pair_transition.linear_1.bias"


def make_plan(dtype="fp32"):
    store, size = {"fp64": ("f64", 8), "bf16": ("bf16", 2), "fp16": ("f16", 2)}.get(dtype, ("f32", 4))
    z_bytes, mask_bytes = ROWS * ROWS * CHANNELS * size, ROWS * ROWS * size
    mask_at, frame_at = -(-z_bytes // 512) * 512, -(-z_bytes // 512) * 512 + 512
    slice_of = {"start": [{"value": 0, "loop": 0}, 0, 0], "extent": [{"value": 2, "loop": 0}, ROWS, CHANNELS]}
    part = {"extent": [{"value": 2, "loop": 0}, ROWS, CHANNELS]}
    mask = {"start": [{"value": 0, "loop": 0}, 0], "extent": [{"value": 2, "loop": 0}, ROWS]}
    body = [
        {"alloc": 1},
        {"kernel": "copy", "operands": {"x": {"buffer": 0, "version": 0, **slice_of}, "y": {"buffer": 1, "version": 1, **part}},
         "cost_ns": 1000, "location": "pair_transition/copy"},
        {"kernel": "linear", "activation": "none",
         "operands": {"x": {"buffer": 1, "version": 1, **part}, "weight": {"buffer": 2, "version": 0}, "bias": {"buffer": 3, "version": 0},
                      "row_scale": {"buffer": 4, "version": 0, **mask}, "residual": {"buffer": 0, "version": 0, **slice_of},
                      "y": {"buffer": 0, "version": 1, **slice_of}},
         "cost_ns": 2000, "location": "pair_transition/linear"},
        {"free": 1},
    ]
    buffers = [
        {"name": "z", "base": "tensor", "tensor": 0, "dtype": store, "shape": [ROWS, ROWS, CHANNELS], "offset": 0, "bytes": z_bytes},
        {"name": "t", "base": "frame", "dtype": store, "shape": [2, ROWS, CHANNELS], "offset": 0, "bytes": 2 * ROWS * CHANNELS * size},
        {"name": WEIGHT, "base": "weight", "dtype": store, "shape": [CHANNELS, CHANNELS], "offset": 0, "bytes": CHANNELS * CHANNELS * size},
        {"name": BIAS, "base": "weight", "dtype": store, "shape": [CHANNELS], "offset": 512, "bytes": CHANNELS * size},
        {"name": "pair_mask", "base": "tensor", "tensor": 1, "dtype": store, "shape": [ROWS, ROWS], "offset": 0, "bytes": mask_bytes},
    ]
    weights = [dict({k: b[k] for k in ("name", "dtype", "shape", "offset", "bytes")},
                    parts=[{"parameter": b["name"], "first_row": 0, "rows": CHANNELS}]) for b in buffers[2:4]]
    arena, static = frame_at + 512, 1024 * BLOCKS
    return {
        "format": "evo.plan/1", "arena_bytes": arena, "weight_block_bytes": 1024, "precision": dtype, "mode": "infer", "devices": 1,
        "profile": "cpu", "backend": "cpu",
        "model": {"name": "hand-made", "stack": "template_pair", "blocks": BLOCKS, "sizes": {"r": ROWS}, "channels": {"c_t": CHANNELS}},
        "summary": {"policy": "chunk", "budget_bytes": 1 << 20, "arena_bytes": arena, "static_bytes": static, "library_bytes": 0,
                    "predicted_peak_bytes": arena + static, "kept_bytes": 0, "predicted_ms": 0.006},
        "tensors": [{"name": "z", "dtype": store, "shape": [ROWS, ROWS, CHANNELS], "offset": 0, "bytes": z_bytes},
                    {"name": "pair_mask", "dtype": store, "shape": [ROWS, ROWS], "offset": mask_at, "bytes": mask_bytes}],
        "weights": weights,
        "procedures": [{"name": "pair_transition.0", "module": "pair_transition", "phase": "forward", "choice": "chunk", "frame_bytes": 512,
                        "cost_ns": 3000, "buffers": buffers, "steps": [{"loop": 0, "axis": "r_i", "extent": ROWS, "size": 2, "body": body}]}],
        "programs": [{"phase": "forward", "inputs": ["z", "pair_mask"], "outputs": ["z"],
                      "runs": [{"first_block": 0, "block_count": BLOCKS, "calls": [{"procedure": 0, "frame_offset": frame_at}]}]}],
        "ranks": [{"rank": 0, "extents": {"r": [0, ROWS]}}],
        "schedule": {"kind": "stack", "name": "template_pair", "block_count": BLOCKS,
                     "children": [{"kind": "module", "name": "pair_transition", "choice": "chunk"}]},
    }


def save(path, tensors):
    """tensors: {name: (dtype, shape, bytes)}"""
    head, blob = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(blob), len(blob) + len(raw)]}
        blob += raw
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def load(path):
    raw = path.read_bytes()
    (n,) = struct.unpack("<Q", raw[:8])
    return {k: (v["dtype"], v["shape"], raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])
            for k, v in json.loads(raw[8:8 + n]).items() if k != "__metadata__"}


def floats(values, code="f"):
    return array.array(code, values).tobytes()


def npy(descr, shape, raw):
    text = repr({"descr": descr, "fortran_order": False, "shape": tuple(shape)}) + " "
    text += " " * (-(10 + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + raw


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)
        rnd = random.Random(5)
        # Small integers, so that float32 sums are exact.
        self.z = [rnd.randint(-3, 3) for _ in range(ROWS * ROWS * CHANNELS)]
        self.mask = [rnd.randint(0, 1) for _ in range(ROWS * ROWS)]
        self.w = [[rnd.randint(-2, 2) for _ in range(CHANNELS ** 2)] for _ in range(BLOCKS)]
        self.b = [[rnd.randint(-2, 2) for _ in range(CHANNELS)] for _ in range(BLOCKS)]
        self.write_plan(make_plan())
        self.write_weights()
        self.write_inputs()
        self.files = self.names()

    def names(self):
        return sorted(os.listdir(self.dir))

    def path(self, name):
        return self.dir / name

    def write_plan(self, plan):
        self.path("plan.json").write_text(json.dumps(plan))

    def weights(self, prefix=""):
        out = {}
        for i in range(BLOCKS):
            out[f"{prefix}blocks.{i}.{WEIGHT}"] = ("F32", [CHANNELS, CHANNELS], floats(self.w[i]))
            out[f"{prefix}blocks.{i}.{BIAS}"] = ("F32", [CHANNELS], floats(self.b[i]))
        return out

    def write_weights(self, tensors=None):
        save(self.path("w.safetensors"), tensors or self.weights())

    def inputs(self):
        return {"z": ("F32", [ROWS, ROWS, CHANNELS], floats(self.z)), "pair_mask": ("BOOL", [ROWS, ROWS], bytes(self.mask))}

    def write_inputs(self, tensors=None):
        save(self.path("i.safetensors"), tensors or self.inputs())

    def expected(self, mask=None):
        z, mask = list(self.z), mask or self.mask
        for w, b in zip(self.w, self.b):
            for cell in range(ROWS * ROWS):
                x = z[cell * CHANNELS:(cell + 1) * CHANNELS]
                for n in range(CHANNELS):
                    z[cell * CHANNELS + n] = x[n] + mask[cell] * (b[n] + sum(x[k] * w[n * CHANNELS + k] for k in range(CHANNELS)))
        return z

    def evo_run(self, *args):
        done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=60, cwd=self.dir, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr

    def full(self, *args):
        return self.evo_run("plan.json", "--weights=w.safetensors", "--inputs", "i.safetensors", *args)

    def fails(self, status, message, *args):
        """It ends with this status and this one line, and writes nothing."""
        rc, out, err = self.evo_run(*args)
        self.assertEqual((rc, out, err), (status, "", f"evo-run: error: {message}\n"))
        self.assertEqual(self.names(), self.files)

    def all_fail(self, status, message, *args):
        self.fails(status, message, "plan.json", "--weights=w.safetensors", "--inputs=i.safetensors", "--outputs=o.safetensors",
                   "--json=r.json", "--trace=t.json", *args)


class Numbers(Case):
    def test_outputs_are_exact_after_several_iterations(self):
        rc, out, err = self.full("--outputs=o.safetensors", "--iterations=3", "--warmup=2", "--json=r.json", "--quiet")
        self.assertEqual((rc, err), (0, ""))
        got = load(self.path("o.safetensors"))
        self.assertEqual(list(got), ["z"])
        self.assertEqual(got["z"][:2], ("F32", [ROWS, ROWS, CHANNELS]))
        self.assertEqual(list(array.array("f", got["z"][2])), self.expected())
        report = json.loads(self.path("r.json").read_text())
        self.assertEqual(len(report["iterations_ms"]), 3)
        self.assertEqual(sorted(report["iterations_ms"])[1], report["median_ms"])
        self.assertEqual((report["backend"], report["devices"], report["policy"], report["predicted_ms"]), ("cpu", 1, "chunk", 0.006))
        # z of 300 bytes, mask and frame, each in 512; two blocks of 1024 bytes of weights.
        self.assertEqual((report["arena_bytes"], report["static_bytes"]), (1536, 2048))
        self.assertEqual((report["predicted_peak_bytes"], report["measured_peak_bytes"]), (3584, [3584]))
        self.assertIn("template_pair, 2 blocks, r = 5", out)

    def test_an_absent_mask_is_all_ones(self):
        self.write_inputs({"z": self.inputs()["z"]})
        self.assertEqual(self.full("--outputs=o.safetensors", "--quiet")[0], 0)
        self.assertEqual(list(array.array("f", load(self.path("o.safetensors"))["z"][2])), self.expected([1] * ROWS * ROWS))

    def test_fp64_plans_write_f64(self):
        self.write_plan(make_plan("fp64"))
        rc, _, err = self.full("--outputs=o.safetensors", "--quiet")
        self.assertEqual((rc, err), (0, ""))
        dtype, _, raw = load(self.path("o.safetensors"))["z"]
        self.assertEqual((dtype, list(array.array("d", raw))), ("F64", self.expected()))

    def test_half_plans_write_f32(self):
        # Exact in bf16 too, whose integers are exact to 256: 3 + (2 + 3 * 2 * 3) = 23 after a block and 23 + (2 + 3 * 2 * 23) = 163 after two.
        for dtype in ("bf16", "fp16"):
            self.write_plan(make_plan(dtype))
            rc, _, err = self.full("--outputs=o.safetensors", "--quiet")
            self.assertEqual((rc, err), (0, ""))
            stored, _, raw = load(self.path("o.safetensors"))["z"]
            self.assertEqual((stored, list(array.array("f", raw))), ("F32", self.expected()))
            self.write_inputs({**self.inputs(), "z": ("F32", [ROWS, ROWS, CHANNELS], floats([1e39 if i == 4 else v for i, v in enumerate(self.z)]))})
            rc, _, err = self.full("--check-finite", "--quiet")
            self.assertEqual((rc, "expected finite values in {}, got inf at index [0, 1, 1]".format(dtype.replace("fp", "f")) in err), (1, True), err)
            self.write_inputs()

    def test_npz_in_and_out(self):
        with zipfile.ZipFile(self.path("i.npz"), "w", zipfile.ZIP_DEFLATED) as f:
            f.writestr("z.npy", npy("<f8", [ROWS, ROWS, CHANNELS], floats(self.z, "d")))
            f.writestr("pair_mask.npy", npy("|b1", [ROWS, ROWS], bytes(self.mask)))
        rc, _, err = self.evo_run("plan.json", "--weights=w.safetensors", "--inputs=i.npz", "--outputs=o.npz", "--quiet")
        self.assertEqual((rc, err), (0, ""))
        with zipfile.ZipFile(self.path("o.npz")) as f:
            self.assertIsNone(f.testzip())
            raw = f.read("z.npy")
        self.assertEqual(list(array.array("f", raw[-4 * len(self.z):])), self.expected())

    def test_prefix_and_other_tensors(self):
        self.write_weights({**self.weights("evoformer."), "aux.bias": ("I64", [1], bytes(8)), "evoformer.linear.bias": ("F32", [1], bytes(4))})
        rc, out, _ = self.full("--outputs=o.safetensors", "--json=r.json", "--quiet")
        self.assertEqual(rc, 0)
        self.assertIn("2 tensors outside 'evoformer.blocks.' ignored", out)
        self.assertEqual(json.loads(self.path("r.json").read_text())["weights_ignored"], 2)
        self.assertEqual(list(array.array("f", load(self.path("o.safetensors"))["z"][2])), self.expected())

    def test_random_runs_repeat_whatever_the_threads(self):
        seen = {}
        for name, args in {"a": ["--threads=1"], "b": ["--threads=3"], "c": ["--random-seed=1"]}.items():
            self.assertEqual(self.evo_run("plan.json", f"--outputs={name}.safetensors", "--quiet", *args)[0], 0)
            seen[name] = self.path(f"{name}.safetensors").read_bytes()
        self.assertEqual(seen["a"], seen["b"])
        self.assertNotEqual(seen["a"], seen["c"])

    def test_trace_has_each_kernel(self):
        self.assertEqual(self.full("--trace=t.json", "--quiet")[0], 0)
        events = json.loads(self.path("t.json").read_text())["traceEvents"]
        # 2 blocks, 3 slices, copy and linear
        self.assertEqual([e["name"] for e in events], ["copy", "linear"] * 6)
        self.assertEqual(events[11]["args"]["block"], 1)

    def test_an_output_may_replace_an_input(self):
        self.assertEqual(self.full("--outputs=i.safetensors", "--iterations=2", "--quiet")[0], 0)
        self.assertEqual(list(array.array("f", load(self.path("i.safetensors"))["z"][2])), self.expected())


class BadInput(Case):
    def test_tensors_that_do_not_fit(self):
        self.write_inputs({"z": ("F32", [ROWS, CHANNELS, ROWS], self.inputs()["z"][2])})
        self.all_fail(1, "i.safetensors: tensor 'z': expected F32, F64, F16 or BF16 [5, 5, 3], got F32 [5, 3, 5]")
        self.write_inputs({**self.inputs(), "m": ("F32", [1], bytes(4))})
        self.all_fail(1, "i.safetensors: unknown tensor 'm': expected 'z', 'pair_mask'")
        self.write_inputs({"pair_mask": self.inputs()["pair_mask"]})
        self.all_fail(1, "i.safetensors: missing tensor 'z': expected shape [5, 5, 3], got none")
        self.write_inputs()
        weights = self.weights()
        del weights[f"blocks.1.{BIAS}"]
        self.write_weights(weights)
        self.all_fail(1, f"w.safetensors: missing tensor 'blocks.1.{BIAS}': expected shape [3], got none")

    def test_truncated_files(self):
        whole = self.path("i.safetensors").read_bytes()
        self.path("i.safetensors").write_bytes(whole[:-1])
        rc, out, err = self.full("--outputs=o.safetensors")
        self.assertEqual((rc, out), (1, ""))
        self.assertIn("is the file truncated", err)
        self.assertEqual(self.names(), self.files)

    def test_check_finite(self):
        z = list(self.z)
        z[32] = float("nan")  # 32 = 2 * 15 + 0 * 3 + 2
        self.write_inputs({"z": ("F32", [ROWS, ROWS, CHANNELS], floats(z))})
        self.assertEqual(self.full("--quiet")[0], 0)
        self.all_fail(1, "i.safetensors: tensor 'z': expected finite values in f32, got nan at index [2, 0, 2]", "--check-finite", "--quiet")
        self.write_inputs()
        self.w[1][4] = float("inf")
        self.write_weights()
        self.all_fail(1, f"w.safetensors: tensor 'blocks.1.{WEIGHT}': expected finite values in f32, got inf at index [1, 1]", "--check-finite")

    def test_plans_that_are_broken(self):
        plan = make_plan()
        plan["procedures"][0]["steps"][0]["body"][2]["operands"]["x"]["version"] = 0
        self.write_plan(plan)
        for args in (["--verify", "plan.json"], ["plan.json", "--outputs=o.safetensors"]):
            rc, out, err = self.evo_run(*args)
            self.assertEqual((rc, out), (1, ""))
            self.assertIn("evo-run: error: plan.json: procedures[0].steps[0].body[2].operands.x", err)
            self.assertIn("invariant 4", err)
        self.path("plan.json").write_text("{")
        self.assertEqual(self.evo_run("plan.json")[0], 1)
        self.assertEqual(self.evo_run("--verify=plan.json")[0], 1)
        self.assertEqual(self.names(), self.files)

    def test_plans_for_other_machines(self):
        plan = make_plan()
        plan["backend"] = "cuda"
        self.write_plan(plan)
        rc, _, err = self.full("--quiet")
        self.assertEqual(rc, 0)
        self.assertTrue(err.startswith("evo-run: warning: the plan was priced for cuda"), err)
        rc, out, err = self.full("--backend=cuda")
        self.assertEqual((rc, out), (1, ""))
        # A build without the backend says so, one with it that there is no device.
        self.assertRegex(err, r"^evo-run: error: expected (a backend of this build \(cpu\), got cuda|a CUDA device on this machine, got none)")

    def test_plans_that_this_version_does_not_run(self):
        self.write_plan({**make_plan(), "mode": "train"})
        self.fails(2, "expected --cotangents or --targets with --gradients, got neither", "plan.json", "--gradients=g.npz")
        plan = make_plan()
        plan["devices"] = 2
        plan["ranks"] = [{"rank": 0, "extents": {"r": [0, 3]}}, {"rank": 1, "extents": {"r": [3, ROWS]}}]
        self.write_plan(plan)
        self.all_fail(1, "expected a plan for 1 device, got 2: this version runs on one device")

    def test_an_arena_that_no_machine_has(self):
        plan = make_plan()
        need = 1 << 60
        plan["arena_bytes"] = plan["summary"]["arena_bytes"] = need
        plan["summary"]["predicted_peak_bytes"] = need + 2048
        plan["summary"]["budget_bytes"] = 1 << 61
        plan["programs"][0]["runs"][0]["calls"][0]["frame_offset"] = need - 512
        hole = need - 512 - 1024  # under the frame, beside the tensors
        plan["summary"]["idle"] = {"bytes": hole, "kept_bytes": hole, "frame_bytes": 0}
        self.write_plan(plan)
        rc, out, err = self.full("--outputs=o.safetensors")
        self.assertEqual((rc, out), (1, ""))
        self.assertTrue(err.startswith(f"evo-run: error: arena of {need} bytes: "), err)
        self.assertIn(f"; the plan needs {need + 2048} bytes (arena {need}, static part ", err)
        self.assertEqual(self.names(), self.files)

    def test_files_that_cannot_be_written(self):
        self.fails(1, "cannot write 'none/o.npz': No such file or directory", "plan.json", "--outputs=none/o.npz", "--json=r.json")
        self.fails(1, "expected a file name that ends with .safetensors, .npz or .npy, got 'o.txt'", "plan.json", "--outputs=o.txt")

    def test_a_full_standard_output_is_a_failure(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "w") as full:
            done = subprocess.run([PROGRAM, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (1, "evo-run: error: cannot write to standard output\n"))


class Usage(Case):
    def test_verify(self):
        for args in (["--verify", "plan.json"], ["--verify=plan.json"], ["plan.json", "--verify"]):
            rc, out, err = self.evo_run(*args)
            self.assertEqual((rc, err), (0, ""))
            self.assertTrue(out.startswith("ok: plan.json: template_pair, 2 blocks, 1 procedures, 2 kernel steps, arena 1.50 KiB"), out)

    def test_help_and_version(self):
        rc, out, err = self.evo_run("--help")
        self.assertEqual((rc, err), (0, ""))
        for flag in ("--backend", "--weights", "--inputs", "--outputs", "--json", "--trace", "--verify", "--check-finite"):
            self.assertIn(flag, out)
        rc, out, err = self.evo_run("--version")
        self.assertEqual((rc, err), (0, ""))
        for word in ("evo-run ", "revision ", "cuda ", "blas ", "backends "):
            self.assertIn(word, out)

    def test_wrong_flags(self):
        self.fails(2, "unknown flag '--output' (did you mean --outputs)", "plan.json", "--output=x")
        self.fails(2, "expected --json=FILE, got no value", "plan.json", "--json")
        self.fails(2, "--backend: expected cpu or cuda, got 'tpu'", "plan.json", "--backend", "tpu")
        self.fails(2, "--iterations: expected a whole number in [1, 1000000000], got '0'", "plan.json", "--iterations=0")
        self.fails(2, "--threads: expected a whole number in [1, 4096], got 'two'", "plan.json", "--threads=two")
        self.fails(2, "--random-seed: expected a whole number in [0, 2^64), got '-1'", "plan.json", "--random-seed=-1")
        self.fails(2, "--device: expected 0 on the cpu, got 3", "plan.json", "--device=3")
        self.fails(2, "expected a plan, got no file (see --help)")
        self.fails(2, "expected one plan, got 'plan.json' and 'b.json'", "plan.json", "b.json")
        self.fails(2, "expected different files to write, got 'x.npz' twice", "plan.json", "--outputs=x.npz", "--json=x.npz")
        self.fails(2, "expected different files to write, got './x.npz' twice", "plan.json", "--outputs=x.npz", "--json=./x.npz")
        self.fails(2, "expected --weights with --weights-prefix, got none", "plan.json", "--weights-prefix=p")

    def test_training_flags_need_a_training_plan(self):
        for flag in ("--cotangents=c.npz", "--gradients=g.npz", "--targets=t.npz", "--loss=mse", "--steps=3", "--load-state=s",
                     "--save-state=s", "--dropout-seed=1"):
            self.fails(2, f"expected {flag.split('=')[0]} with a plan in train mode, got one in infer mode (compile it with --mode=train)",
                       "plan.json", flag)
        self.fails(2, "--dropout-seed: expected a whole number in [0, 4294967295], got '4294967296'", "plan.json",
                   "--dropout-seed=4294967296")
        self.fails(2, "--dropout-seed: expected a whole number in [0, 4294967295], got '-1'", "plan.json", "--dropout-seed=-1")
        self.fails(2, "--loss: expected mse, got 'mae'", "plan.json", "--loss=mae")
        self.fails(2, "expected -o DEVICE.json with --calibrate, got none", "--calibrate")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--evo-run", required=True)
    options, rest = parser.parse_known_args()
    PROGRAM = str(pathlib.Path(options.evo_run).resolve())
    unittest.main(argv=[sys.argv[0], *rest])
