#!/usr/bin/env python3
"""Every op, type and attribute of the dialects has an example in its description, and the round trips parse it as written.

  descriptions_test.py

An example is "Example: `...`" or a fenced block behind "Example:". It must stand, but for white space, in a line that is no
comment of a .mlir file under the dialect's folder here; `...` in an example stands for anything.
"""
import pathlib
import re
import unittest

HERE = pathlib.Path(__file__).resolve().parent
DIALECTS = HERE.parents[1] / "dialects"

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
                self.assertRegex(text, pattern, f"{name}: expected its example in a round trip of test/passes/{dialect}")

    def test_kern(self):
        self.check("Kern", 31)

    def test_evo(self):
        self.check("Evo", 11)


if __name__ == "__main__":
    unittest.main()
