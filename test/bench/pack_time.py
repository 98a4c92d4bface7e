#!/usr/bin/env python3
"""How long evo-opt --pack takes: on files, and on packings without a gap that are made here.

  pack_time.py [--evo-opt build/bin/evo-opt] [--capacity BYTES] [--generate N] [FILE.csv ...]

Prints a table: buffers, the bound, the height reached, states of the exact search, milliseconds. A star marks a height above the
capacity (of a made one: above the height that it was cut from). The public hard instances, google/minimalloc's benchmarks/asplos2024,
are read as they are, with --capacity 1048576. Not a test: times hang on the machine and on what else it does.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEIGHT, TIMES = 1024, 400


def perfect_packing(seed, count):
    """A rectangle cut into `count` buffers: through a whole piece, or four cuts around a fifth piece. Shuffled."""
    draw = random.Random(seed)
    pieces = [(0, TIMES, 0, HEIGHT)]
    while len(pieces) < count:
        at = draw.randrange(len(pieces))
        x0, x3, y0, y3 = pieces[at]
        kind = draw.randrange(5)
        if (x3 - x0) * (y3 - y0) * len(pieces) * 2 < TIMES * HEIGHT:
            continue
        if kind == 0 and x3 - x0 >= 3 and y3 - y0 >= 3:
            x1, x2 = sorted(draw.sample(range(x0 + 1, x3), 2))
            y1, y2 = sorted(draw.sample(range(y0 + 1, y3), 2))
            pieces[at:at + 1] = [(x0, x2, y0, y1), (x2, x3, y0, y2), (x1, x3, y2, y3), (x0, x1, y1, y3), (x1, x2, y1, y2)]
        elif kind in (1, 2) and x3 - x0 >= 2:
            x = draw.randrange(x0 + 1, x3)
            pieces[at:at + 1] = [(x0, x, y0, y3), (x, x3, y0, y3)]
        elif kind in (3, 4) and y3 - y0 >= 2:
            y = draw.randrange(y0 + 1, y3)
            pieces[at:at + 1] = [(x0, x3, y0, y), (x0, x3, y, y3)]
    draw.shuffle(pieces)
    return "id,lower,upper,size\n" + "".join(f"{i},{x0},{x1},{y1 - y0}\n" for i, (x0, x1, y0, y1) in enumerate(pieces))


def measure(program, path, capacity, folder):
    report = folder / "report.json"
    command = [program, "--pack", path, f"--json={report}", "--quiet"] + ([f"--capacity={capacity}"] if capacity else [])
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if not report.exists():
        sys.exit(done.stderr)
    found = json.loads(report.read_text())
    report.unlink()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evo-opt", default=ROOT / "build" / "bin" / "evo-opt", type=pathlib.Path)
    parser.add_argument("--capacity", type=int)
    parser.add_argument("--generate", type=int, default=0, metavar="N")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    if not options.evo_opt.exists():
        sys.exit(f"pack_time.py: expected the program {options.evo_opt}, got none; build it, or name it with --evo-opt")
    print(f"{'instance':<16} {'buffers':>8} {'bound':>10} {'height':>10}  {'states':>9} {'ms':>9}")
    total = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        work = [(path, path.stem, options.capacity) for path in options.files]
        for seed in range(options.generate):
            path = folder / f"made-{seed}.csv"
            path.write_text(perfect_packing(seed, 40 + 10 * (seed % 12)))
            work.append((path, path.stem, HEIGHT))
        for path, label, capacity in work:
            found = measure(options.evo_opt, path, capacity, folder)
            total += found["pack_ms"]
            print(f"{label:<16} {found['buffers']:>8} {found['lower_bound_bytes']:>10} {found['height_bytes']:>10}{' ' if found['fits'] else '*'} "
                  f"{found['states']:>9} {found['pack_ms']:>9.1f}", flush=True)
    print(f"{'total':<57} {total:>9.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
