#!/usr/bin/env python3
"""Drives evo-opt and evo-run with a golden file, and compares what they give with what it holds.  Standard library only.

  golden.py split FILE.safetensors DIR [--mode infer|train] [--dtype fp32]
      writes DIR/spec.json, weights.safetensors, inputs.safetensors, cotangents.safetensors
  golden.py compare FILE.safetensors --outputs O.safetensors [--gradients G.safetensors] [--dtype fp32] [--tol T] [--grad-tol T]
      prints the worst relative error (||x - ref|| / ||ref|| of a tensor) of each part; exit 1 beyond what golden/README.md holds for the type, or where a tensor is missing
"""
import argparse, array, json, math, os, struct, sys

CHANNELS = ("c_m", "c_z", "c_hidden_msa_att", "c_hidden_opm", "c_hidden_mul", "c_hidden_pair_att", "no_heads_msa", "no_heads_pair",
            "c_t", "c_hidden_tri_att", "c_hidden_tri_mul", "no_heads", "pair_transition_n")


def load(path):
    """{name: (dtype, shape, bytes)} and the metadata of a safetensors file."""
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        head = json.loads(f.read(n))
        body = f.read()
    meta = head.pop("__metadata__", {})
    return {k: (v["dtype"], v["shape"], body[v["data_offsets"][0]:v["data_offsets"][1]]) for k, v in head.items()}, meta


def save(path, tensors):
    head, blobs, at = {}, [], 0
    for k, (dtype, shape, raw) in tensors.items():
        head[k] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def values(t):
    dtype, _, raw = t
    if dtype == "F32":
        return array.array("f", raw)
    if dtype == "F64":
        return array.array("d", raw)
    if dtype == "BF16":
        half = array.array("H", raw)
        return array.array("f", struct.pack(f"<{len(half)}I", *(h << 16 for h in half)))
    if dtype == "F16":
        return array.array("f", struct.unpack(f"<{len(raw) // 2}e", raw))
    raise SystemExit(f"golden.py: dtype {dtype} is not known")


def spec(meta, mode, dtype):
    m = json.loads(meta["evo"])
    s = {"format": "evo.model/1", "name": "golden", "stack": m["kind"], "blocks": m["blocks"],
         "sizes": {k: m[k] for k in ("s", "r") if k in m}, "channels": {k: m[k] for k in CHANNELS if k in m},
         "inf": m["inf"], "mask_transition": m.get("mask_transition", True), "dtype": dtype, "mode": mode}
    if m["kind"] != "template_pair":
        s["opm_first"], s["opm_eps"] = m.get("opm_first", False), m.get("opm_eps", 1e-3)
        s["channels"]["transition_n"] = m.get("transition_n", 4)
    if m["kind"] == "extra_msa":
        s["global_attention_eps"] = m["eps"]
    return s


def split(a):
    t, meta = load(a.file)
    os.makedirs(a.dir, exist_ok=True)
    with open(os.path.join(a.dir, "spec.json"), "w") as f:
        json.dump(spec(meta, a.mode, a.dtype), f, indent=2)
    for name, prefix in (("weights", "param."), ("inputs", "in."), ("cotangents", "cot.")):
        save(os.path.join(a.dir, name + ".safetensors"), {k[len(prefix):]: v for k, v in t.items() if k.startswith(prefix)})


def norm(v):
    return math.sqrt(math.fsum(b * b for b in v))


def compare_part(ref, got, what, tol):
    """Relative error a tensor. A tensor far smaller than its part (a gradient that vanishes exactly) is measured against 3 % of the part's median size."""
    worst, name, bad = 0.0, "-", 0
    scale = sorted(norm(values(v)) / math.sqrt(len(values(v))) for v in ref.values())
    floor = 3e-2 * scale[len(scale) // 2] if scale else 0.0
    for k, v in ref.items():
        if k not in got:
            print(f"{what} {k}: missing")
            bad += 1
            continue
        x, y = values(got[k]), values(v)
        if got[k][1] != v[1]:
            print(f"{what} {k}: expected shape {v[1]}, got {got[k][1]}")
            bad += 1
            continue
        err = norm([p - q for p, q in zip(x, y)]) / (max(norm(y), floor * math.sqrt(len(y))) or 1.0)
        if not err <= tol:
            bad += 1
            print(f"{what} {k}: relative error {err:.3e} > {tol:g}")
        if not err <= worst:
            worst, name = err, k
    print(f"{what}: {len(ref) - bad} of {len(ref)} tensors within {tol:g}; worst {worst:.3e} ({name})")
    return bad == 0


def error_as_one(ref, got):
    """The relative error of the tensors that both have, in the same shape, as one vector."""
    pairs = [(values(got[k]), values(v)) for k, v in ref.items() if k in got and got[k][1] == v[1]]
    return math.sqrt(sum(norm([p - q for p, q in zip(x, y)]) ** 2 for x, y in pairs)) / (math.sqrt(sum(norm(y) ** 2 for _, y in pairs)) or 1.0)


HOLD = {"fp64": (1e-6, 2e-6, 1e-6), "fp32": (2e-5, 2e-4, 2e-5), "tf32": (3e-3, 8e-2, 4e-2), "fp16": (5e-3, 1.5e-1, 4e-2), "bf16": (2e-2, 3e-1, 1e-1)}


def compare(a):
    t, _ = load(a.file)
    a.tol, a.grad_tol, vector = a.tol or HOLD[a.dtype][0], a.grad_tol or HOLD[a.dtype][1], HOLD[a.dtype][2]
    ok = compare_part({k[4:]: v for k, v in t.items() if k.startswith("out.")}, load(a.outputs)[0], "outputs", a.tol)
    if a.gradients:
        g = load(a.gradients)[0]
        ok &= compare_part({k[8:]: v for k, v in t.items() if k.startswith("grad.in.")}, g, "input gradients", a.grad_tol)
        ok &= compare_part({k[11:]: v for k, v in t.items() if k.startswith("grad.param.")}, g, "parameter gradients", a.grad_tol)
        err = error_as_one({k[11:]: v for k, v in t.items() if k.startswith("grad.param.")}, g)
        print(f"parameter gradients as one vector: relative error {err:.3e}, to hold {vector:g}")
        ok &= err <= vector
    return 0 if ok else 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="verb", required=True)
    q = sub.add_parser("split")
    q.add_argument("file"), q.add_argument("dir"), q.add_argument("--mode", default="train"), q.add_argument("--dtype", default="fp32")
    q = sub.add_parser("compare")
    q.add_argument("file"), q.add_argument("--outputs", required=True), q.add_argument("--gradients")
    q.add_argument("--tol", type=float), q.add_argument("--grad-tol", type=float), q.add_argument("--dtype", default="fp32", choices=sorted(HOLD))
    args = p.parse_args()
    return split(args) if args.verb == "split" else compare(args)


if __name__ == "__main__":
    sys.exit(main())
