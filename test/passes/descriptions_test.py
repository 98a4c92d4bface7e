#!/usr/bin/env python3
"""Every op, type and attribute of the dialects has an example in its description, and the round trips parse it as written;
every kernel op names its operands, results and attributes as the kernel's row in Kernels.def does.

  descriptions_test.py

An example is "Example: `...`" or a fenced block behind "Example:". It must stand, but for white space, in a line that is no
comment of a .mlir file under the dialect's folder here; `...` in an example stands for anything.
"""
import pathlib
import re
import unittest

HERE = pathlib.Path(__file__).resolve().parent
DIALECTS = HERE.parents[1] / "dialects"
ROWS = HERE.parents[1] / "runtime" / "plan" / "Kernels.def"

# Definitions that a user can write down: ops (by their base classes), types, attributes.
DEFINITION = re.compile(r"^def (\w+)\s+:\s+(?:Kern_Op|Kern_Kernel|Kern_Type|Evo_Op|Evo_Module|AttrDef)<", re.MULTILINE)
EXAMPLE = re.compile(r"Example:\s*(?:```mlir\n(.*?)```|`([^`]+)`|(see) `)", re.DOTALL)


def squeeze(text):
    return re.sub(r"\s+", " ", text).strip()


def definitions(folder):
    """(name, its text) of each definition in a dialect's .td files."""
    for path in sorted(folder.glob("*.td")):
        text = path.read_text(encoding="utf-8")
        starts = [(m.start(), m.group(1)) for m in DEFINITION.finditer(text)]
        ends = [m.start() for m in re.finditer(r"^(def|class|#endif)\b", text, re.MULTILINE)]
        for start, name in starts:
            yield name, text[start:min(e for e in ends if e > start)]


def written(folder):
    """What the dialect's round trips contain outside of comments, on one line."""
    lines = []
    for path in sorted(folder.glob("*.mlir")):
        if not path.name.endswith("-errors.mlir"):
            lines += [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("//")]
    return squeeze("\n".join(lines))


class Descriptions(unittest.TestCase):
    def check(self, dialect, least):
        text = written(HERE / dialect)
        found = list(definitions(DIALECTS / dialect))
        self.assertGreaterEqual(len(found), least, f"expected the definitions of {dialect}, got {[n for n, _ in found]}")
        for name, body in found:
            with self.subTest(name):
                example = EXAMPLE.search(body)
                self.assertIsNotNone(example, f"{name}: expected an example in its description, got none")
                if example.group(3):
                    continue
                parts = squeeze(example.group(1) or example.group(2)).split("...")
                pattern = ".*?".join(re.escape(part.strip()) for part in parts)
                # Not assertRegex, which would print all round trips.
                self.assertTrue(re.search(pattern, text), f"{name}: expected its example in a round trip of test/passes/{dialect}")

    def test_kern(self):
        self.check("Kern", 58)

    def test_evo(self):
        self.check("Evo", 11)


ROW = re.compile(r"^EVO_KERNEL\((\w+), (\w+), ATTRIBUTES\(([^)]*)\),(.*?)\)\n\n", re.MULTILINE | re.DOTALL)
ROW_OPERAND = re.compile(r"\b(IN|OPT_IN|OUT|OPT_OUT)\((\w+),")
KERNEL_OP = re.compile(r'^def Kern_(\w+)Op\s+: Kern_Kernel<"(\w+)", "(\w+)".*?let arguments = \(ins (.*?)\);\s+let results = \(outs (.*?)\);',
                       re.MULTILINE | re.DOTALL)
ODS_ENTRY = re.compile(r"(Optional<Kern_Tensor>|Kern_Tensor|\w+Attr(?:<\w+>)?):\$(\w+)")


def snake(name):
    """"learning_rate" of "LearningRate"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class KernelRows(unittest.TestCase):
    """[(optional, name)] of inputs and outputs and {attribute}, by kernel and mnemonic: of the rows and of the ops."""

    def rows(self):
        found = {}
        for name, mnemonic, attributes, operands in ROW.findall(ROWS.read_text(encoding="utf-8")):
            named = [(role, operand) for role, operand in ROW_OPERAND.findall(operands)]
            found[name, mnemonic] = ([(role == "OPT_IN", n) for role, n in named if role.endswith("IN")],
                                     [(role == "OPT_OUT", n) for role, n in named if role.endswith("OUT")],
                                     {snake(word) for word in re.findall(r"\w+", attributes)})
        return found

    def ops(self):
        found = {}
        text = (DIALECTS / "Kern" / "KernKernels.td").read_text(encoding="utf-8")
        for name, mnemonic, row, arguments, results in KERNEL_OP.findall(text):
            self.assertEqual(name, row, "expected an op of its row's name")
            entries = ODS_ENTRY.findall(arguments)
            tensors = [(kind.startswith("Optional<Kern"), n) for kind, n in entries if "Kern_Tensor" in kind]
            found[name, mnemonic] = (tensors, [(kind.startswith("Optional<"), n) for kind, n in ODS_ENTRY.findall(results)],
                                     {n for kind, n in entries if "Kern_Tensor" not in kind} - {"layout"})
        return found

    def test_ops_are_the_rows(self):
        rows, ops = self.rows(), self.ops()
        self.assertEqual(len(rows), 34)
        self.assertEqual(ops, rows)


if __name__ == "__main__":
    unittest.main()
