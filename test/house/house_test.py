#!/usr/bin/env python3
"""The house keeps its rules, and each rule finds a house that does not."""
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import house  # noqa: E402

HEADER = "// " + house.LICENCE + " See LICENSE.\n"


def violations(files):
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return house.violations(root)


def including(path, header):
    return {path: HEADER + f"#include {header}\n"}


class House(unittest.TestCase):
    def test_the_repository_keeps_its_rules(self):
        self.assertEqual(house.violations(pathlib.Path(__file__).resolve().parents[2]), [])

    def test_a_clean_house_is_clean(self):
        for path, header in (("compiler/memory/A.cpp", '"runtime/plan/Status.h"'), ("compiler/memory/A.cpp", "<boost/graph/x.hpp>"),
                             ("dialects/Evo/A.cpp", '"dialects/Kern/KernOps.h"'), ("passes/A.cpp", '"compiler/spec/ModelSpec.h"'),
                             ("runtime/cpu/A.cpp", "<cblas.h>"), ("runtime/cuda/A.cpp", "<cuda_runtime.h>"),
                             ("tools/evo-run/main.cpp", '"runtime/core/Backend.h"'), ("tools/evo-opt/main.cpp", '"mlir/IR/Operation.h"')):
            self.assertEqual(violations(including(path, header)), [], (path, header))

    def test_bad_includes_are_found(self):
        for path, header, said in (
                ("runtime/plan/A.h", '"runtime/core/Backend.h"', "expected an include of runtime/plan"),
                ("runtime/plan/A.h", "<boost/config.hpp>", "nothing of boost"),
                ("runtime/plan/A.h", "<unistd.h>", "nothing of other"),
                ("runtime/core/A.h", '"runtime/cpu/CpuBackend.h"', "expected an include of runtime/plan, runtime/core"),
                ("runtime/core/A.h", "<cuda_runtime.h>", "nothing of cuda"),
                ("runtime/cpu/A.cpp", '"llvm/ADT/StringRef.h"', "nothing of mlir"),
                ("runtime/cpu/A.cpp", '"compiler/memory/Packer.h"', "expected an include of"),
                ("runtime/cuda/A.cu", '"runtime/cpu/CpuBackend.h"', "expected an include of"),
                ("compiler/spec/A.cpp", '"mlir/IR/Operation.h"', "nothing of mlir"),
                ("compiler/spec/A.cpp", '"runtime/core/Backend.h"', "expected an include of runtime/plan, compiler"),
                ("compiler/spec/A.cpp", "<cublasLt.h>", "nothing of cuda"),
                ("dialects/Kern/A.cpp", '"dialects/Evo/EvoOps.h"', "expected an include of"),
                ("dialects/Evo/A.cpp", '"passes/Passes.h"', "expected an include of"),
                ("dialects/Evo/A.cpp", '"compiler/spec/ModelSpec.h"', "expected an include of"),
                ("dialects/Evo/A.cpp", "<fstream>", "nothing of input and output"),
                ("dialects/Evo/A.cpp", "<mpi.h>", "nothing of mpi"),
                ("passes/A.cpp", '"runtime/core/Backend.h"', "expected an include of"),
                ("tools/evo-run/main.cpp", "<mlir/IR/Operation.h>", "nothing of mlir"),
                ("tools/evo-run/main.cpp", '"passes/Passes.h"', "expected an include of runtime, compiler/cost, tools"),
                ("tools/evo-opt/main.cpp", '"runtime/cpu/CpuBackend.h"', "expected an include of")):
            found = violations(including(path, header))
            self.assertEqual(len(found), 1, (path, header, found))
            self.assertTrue(found[0].startswith(f"{path}:2: ") and said in found[0], found)

    def test_tablegen_includes_count(self):
        found = violations({"dialects/Kern/A.td": HEADER + 'include "dialects/Evo/EvoOps.td"\n'})
        self.assertEqual(found, ["dialects/Kern/A.td:2: expected an include of runtime/plan, dialects/Kern, got dialects/Evo/EvoOps.td"])

    def test_a_file_of_the_same_folder_needs_no_path(self):
        files = {**including("dialects/Kern/A.cpp", '"B.h"'), "dialects/Kern/B.h": HEADER}
        self.assertEqual(violations(files), [])
        self.assertEqual(len(violations(including("dialects/Kern/A.cpp", '"B.h"'))), 1)

    def test_nccl_stays_in_one_file(self):
        one = including("runtime/cuda/A.cpp", "<nccl.h>")
        self.assertEqual(violations(one), [])
        two = {**one, **including("runtime/cuda/B.cpp", "<nccl.h>")}
        self.assertEqual(violations(two), ["nccl.h: expected one file that includes it, got runtime/cuda/A.cpp, runtime/cuda/B.cpp"])

    def test_libraries_do_not_print_or_look_at_clocks(self):
        for code in ("std::cerr << 1;", "printf(\"x\");", "std::exit(1);", "std::fprintf(stderr, \"x\");", "abort();"):
            self.assertEqual(len(violations({"compiler/A.cpp": HEADER + code + "\n"})), 1, code)
            self.assertEqual(violations({"tools/evo-run/A.cpp": HEADER + code + "\n"}), [], code)
        for code in ("std::snprintf(b, 4, \"x\");", "// printf(x)", "loop.exit();"):
            self.assertEqual(violations({"compiler/A.cpp": HEADER + code + "\n"}), [], code)
        self.assertEqual(len(violations({"compiler/A.cpp": HEADER + "auto t = std::chrono::steady_clock::now();\n"})), 1)

    def test_state_is_in_objects(self):
        def found(code, path="runtime/cuda/A.cu"):
            return violations({path: HEADER + "namespace evo {\nnamespace {\n" + code + "\n}\n} // namespace evo\n"})

        for code in ("int counter = 0;", "std::map<int, int> cache;", "Foo foo{1};", "thread_local int depth;", "KernelFunction table[] = {1, 2};",
                     "int f() { static int calls = 0; return ++calls; }", "void f() {\n  static const auto encode =\n      find();\n}",
                     "static void *const library = dlopen(\"x\", 1);", "const int a = 1;\nint b = a;"):
            for path in ("runtime/cuda/A.cu", "runtime/cuda/kernels/A.cuh", "runtime/core/A.cpp", "runtime/cpu/A.h"):
                self.assertEqual(len({line.split(": ")[0] for line in found(code, path)}), 1, (code, path))
            self.assertEqual(found(code, "compiler/A.cpp"), [], code)
        for code in ("constexpr int kTile = 64;", "inline constexpr int kTile = 64;", "const KernelFunction table[] = {f, g};", "// static int x = 0;",
                     "struct Foo { int x = 0; static Foo of(int x) { return {x}; } static constexpr int kX = 1; };", "#define X static int x = 0;",
                     "template <class S> Status launch(const Launch &launch);", "enum class Kind { A, B };", "static_assert(kA == 1);",
                     "void f(int x = 0) { int y = x; for (int i = 0; i < y; ++i) {} }", "Foo::Foo(int x) : x(x) {}", "class Bar;", "using A = int;"):
            self.assertEqual(found(code), [], code)
        self.assertEqual(found("int x;"), ["runtime/cuda/A.cu:4: expected state to be in an object, got int x"])

    def test_files_stay_short(self):
        lines = HEADER + "\n" * (house.MAX_LINES - 1)
        self.assertEqual(violations({"passes/A.cpp": lines}), [])
        self.assertEqual(violations({"passes/A.cpp": lines + "\n"}), ["passes/A.cpp: expected at most 650 lines, got 651"])

    def test_sources_carry_the_licence(self):
        for name in ("A.h", "A.cpp", "A.td", "A.cu", "A.def"):
            self.assertEqual(len(violations({"passes/" + name: "int a;\n"})), 1, name)

    def test_left_overs_and_machine_paths_are_found(self):
        for text in ("// TO" + "DO: later", "// FIX" + "ME", "see /t" + "mp/x", "\"/work" + "/x\""):
            found = violations({"passes/A.cpp": HEADER + text + "\n"})
            self.assertEqual(len(found), 1, (text, found))
            self.assertTrue(found[0].startswith("passes/A.cpp:2: "), found)

    def test_every_kernel_has_its_file(self):
        files = {"runtime/plan/Kernels.def": HEADER + "EVO_KERNEL(LayerNorm, layer_norm, x)\nEVO_KERNEL(Copy, copy, x)\n",
                 "runtime/cpu/kernels/LayerNorm.cpp": HEADER}
        self.assertEqual(violations(files),
                         ["runtime/plan/Kernels.def: expected runtime/cpu/kernels/Copy.cpp for the kernel Copy, got none"])
        self.assertEqual(violations({**files, "runtime/cpu/kernels/Copy.cpp": HEADER}), [])


if __name__ == "__main__":
    unittest.main()
