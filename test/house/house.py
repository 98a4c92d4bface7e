#!/usr/bin/env python3
"""The rules of this house that a machine can check: who includes whom, lengths, headers, left-overs.

  house.py [ROOT]     prints each violation with its file and line; exit status 1 where there is one
"""
import pathlib
import re
import sys
from dataclasses import dataclass, field

MAX_LINES = 650
LICENCE = "Part of Evo, under the Apache License v2.0."
CODE = {".h", ".cpp", ".cu", ".cuh", ".def", ".td", ".in"}
STATEFUL = {".h", ".cpp", ".cu", ".cuh"}
LONG = CODE | {".py", ".mlir"}
TEXT = LONG | {".md", ".sh", ".txt", ".cmake", ".json", ""}
FOLDERS = ("runtime", "compiler", "dialects", "passes", "tools", "test", "examples", "cmake", ".ci")

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
TD_INCLUDE = re.compile(r'^\s*include\s*"([^"]+)"')
KERNEL = re.compile(r"^EVO_KERNEL\((\w+),", re.MULTILINE)
# Written apart, so that this file does not find itself.
LEFT_OVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}-])/(work|farm|root|home|t" r"mp)/")
# What a library never does; snprintf into a buffer is fine.
PRINTS = re.compile(r"\bstd::(cout|cerr|clog)\b|(?<![\w:.>])(?:std::)?(printf|fprintf|puts|exit|abort|_exit)\s*\(")
# What is not code, and what outlives a call: variables of functions and of namespaces.
NO_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|^[ \t]*#(?:\\\n|[^\n])*', re.DOTALL | re.MULTILINE)
STATIC = re.compile(r"\b(?:static|thread_local)\b([^;{}()=]*)[=;{]")
TYPE = r"\b(?:struct|class|union|enum|concept)\b"
NO_VARIABLE = re.compile(TYPE + r"|\b(?:namespace|extern|using|typedef|template|friend|const|constexpr|static_assert)\b")
VARIABLE = re.compile(r"\s*[A-Za-z_][\w:]*[\w:<>,*&\s]*[\s*&>][A-Za-z_]\w*\s*(?:\[[^\]]*\]\s*)*(?:[={]|$)")
NAMESPACE = re.compile(r"\bnamespace\b[\w:\s]*$|^\s*extern\s*$")
BODY = re.compile(TYPE + r"|\)[^()=,]*$")  # what stands before that of a type or function
CLOCKS = re.compile(r"\bstd::chrono\b|\btime\s*\(\s*(?:nullptr|NULL|0)\s*\)|\bstd::random_device\b")


def kind(path):
    """What an include that is not of this house belongs to."""
    if re.match(r"(mlir|mlir-c|llvm|llvm-c)/", path):
        return "mlir"
    if re.match(r"(cuda|cublas|cudnn|curand|cusolver|cusparse|nvrtc|nvtx|nvToolsExt|nvml|cub/|thrust/|cute/|cutlass/|cooperative_groups|mma\.h|nccl)", path):
        return "cuda"
    if path == "mpi.h":
        return "mpi"
    if path.startswith("nlohmann/"):
        return "json"
    if path.startswith("boost/"):
        return "boost"
    if path.startswith(("gtest/", "gmock/")):
        return "gtest"
    if re.fullmatch(r"[a-z_0-9]+", path):
        return "std"
    return "other"


IO_HEADERS = {"fstream", "iostream", "cstdio", "filesystem", "llvm/Support/FileSystem.h", "llvm/Support/MemoryBuffer.h",
              "llvm/Support/ToolOutputFile.h"}


@dataclass
class Layer:
    """A folder, the folders of this house it may include, and the kinds of other headers that it may."""
    folder: str
    own: tuple
    kinds: set
    without: set = field(default_factory=set)
    prints: bool = True
    clocks: bool = True
    state: bool = True


PLAIN = {"std", "json"}
LAYERS = [  # the first folder that fits counts
    Layer("runtime/plan", ("runtime/plan",), PLAIN, prints=False, clocks=False),
    Layer("runtime/core", ("runtime/plan", "runtime/core"), PLAIN | {"other"}, prints=False, state=False),
    Layer("runtime/cpu", ("runtime/plan", "runtime/core", "runtime/cpu"), PLAIN | {"mpi", "other"}, prints=False, state=False),
    Layer("runtime/cuda", ("runtime/plan", "runtime/core", "runtime/cuda"), PLAIN | {"mpi", "cuda", "other"}, prints=False, state=False),
    Layer("runtime", ("runtime",), PLAIN | {"other"}, prints=False),
    Layer("compiler", ("runtime/plan", "compiler"), PLAIN | {"boost"}, prints=False, clocks=False),
    Layer("dialects/Kern", ("runtime/plan", "dialects/Kern"), {"std", "mlir"}, IO_HEADERS, prints=False, clocks=False),
    Layer("dialects/Evo", ("runtime/plan", "dialects/Kern", "dialects/Evo"), {"std", "mlir"}, IO_HEADERS, prints=False, clocks=False),
    Layer("passes", ("runtime/plan", "compiler", "dialects", "passes"), PLAIN | {"mlir", "boost"}, prints=False),
    Layer("tools/evo-opt", ("runtime/plan", "runtime/core", "compiler", "dialects", "passes", "tools"), PLAIN | {"mlir", "other"}),
    Layer("tools/evo-run", ("runtime", "compiler/cost", "tools"), PLAIN | {"mpi", "other"}, state=False),
    Layer("tools", ("runtime/plan", "tools"), PLAIN | {"other"}),
]


def inside(path, folders):
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def files_of(root):
    """Every file of the house, as (path from the root, text); binary files and caches are left out."""
    found = [p for p in root.iterdir() if p.is_file()]
    for folder in FOLDERS:
        found += [p for p in (root / folder).rglob("*") if p.is_file()]
    for path in sorted(found):
        relative = path.relative_to(root)
        if path.suffix in TEXT and "__pycache__" not in relative.parts and relative.name != ".git":
            yield relative.as_posix(), path.read_text(encoding="utf-8")


def includes_of(name, text):
    """Each include of a file, as (line, path)."""
    pattern = TD_INCLUDE if name.endswith(".td") else INCLUDE
    for number, line in enumerate(text.splitlines(), 1):
        match = pattern.match(line)
        if match:
            yield number, match.group(1)


def state_of(text):
    """Each variable, not constexpr, that a function or namespace keeps between calls, as (line, code)."""
    code = NO_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    for match in STATIC.finditer(code):
        if "constexpr" not in match.group(1):
            yield code.count("\n", 0, match.start()) + 1, match.group()
    braces, begin = [], 0  # what each is of; where the present statement begins
    for match in re.finditer(r"[;{}]", code):
        said, mark = code[begin:match.start()], match.group()
        if mark == "{":
            isBody = BODY.search(said) and said.count("(") == said.count(")")
            braces.append("namespace" if NAMESPACE.search(said) else "body" if isBody else "value")
        if mark == ";" and all(brace == "namespace" for brace in braces) and VARIABLE.match(said) and not NO_VARIABLE.search(said):
            yield code.count("\n", 0, begin + len(said) - len(said.lstrip())) + 1, said
        closed = braces.pop() if mark == "}" and braces else None
        if mark == ";" or closed in ("namespace", "body") or (mark == "{" and braces[-1] != "value"):
            begin = match.end()


def check_layer(name, text, layer, names):
    for line, path in includes_of(name, text):
        sibling = (pathlib.PurePosixPath(name).parent / path).as_posix()
        if "/" not in path and sibling in names:
            path = sibling
        own = inside(path, ("runtime", "compiler", "dialects", "passes", "tools", "test"))
        if own and not inside(path, layer.own):
            yield f"{name}:{line}: expected an include of {', '.join(layer.own)}, got {path}"
        if not own and (kind(path) not in layer.kinds or path in layer.without):
            what = "input and output" if path in layer.without else kind(path)
            yield f"{name}:{line}: expected {layer.folder} to know nothing of {what}, got {path}"
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("//")[0]
        if not layer.prints and PRINTS.search(code):
            yield f"{name}:{number}: expected a library that neither prints nor exits, got {code.strip()}"
        if not layer.clocks and CLOCKS.search(code):
            yield f"{name}:{number}: expected a library without clocks, got {code.strip()}"
    if not layer.state and pathlib.PurePosixPath(name).suffix in STATEFUL:
        for number, code in state_of(text):
            yield f"{name}:{number}: expected state to be in an object, got {' '.join(code.split())}"


def check_text(name, text):
    suffix = pathlib.PurePosixPath(name).suffix
    lines = text.splitlines()
    if suffix in LONG and len(lines) > MAX_LINES:
        yield f"{name}: expected at most {MAX_LINES} lines, got {len(lines)}"
    if suffix in CODE and LICENCE not in "\n".join(lines[:5]):
        yield f"{name}:1: expected the licence line \"{LICENCE}\" at the top, got none"
    for number, line in enumerate(lines, 1):
        if LEFT_OVER.search(line):
            yield f"{name}:{number}: expected finished work, got {line.strip()}"
        if MACHINE_PATH.search(line):
            yield f"{name}:{number}: expected no path of one machine, got {line.strip()}"


def check_kernels(files):
    """Each kernel of the list has its file in each backend that has kernels."""
    listed = KERNEL.findall(files.get("runtime/plan/Kernels.def", ""))
    for folder, suffix in (("runtime/cpu/kernels", ".cpp"), ("runtime/cuda/kernels", ".cu")):
        if not any(inside(name, (folder,)) for name in files):
            continue
        for kernel in listed:
            if f"{folder}/{kernel}{suffix}" not in files:
                yield f"runtime/plan/Kernels.def: expected {folder}/{kernel}{suffix} for the kernel {kernel}, got none"


def violations(root):
    files = dict(files_of(pathlib.Path(root)))
    found = []
    for name, text in files.items():
        found += check_text(name, text)
        layer = next((layer for layer in LAYERS if inside(name, (layer.folder,))), None)
        if layer and pathlib.PurePosixPath(name).suffix in CODE:
            found += check_layer(name, text, layer, files)
    nccl = [name for name, text in files.items() if any(path == "nccl.h" for _, path in includes_of(name, text))]
    if len(nccl) > 1:
        found.append(f"nccl.h: expected one file that includes it, got {', '.join(nccl)}")
    return found + list(check_kernels(files))


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
    found = violations(root)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
