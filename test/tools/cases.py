"""Cases of a program's command line: a temporary folder each, one pass or FAIL line each, and the count as the last line."""
import os
import pathlib
import subprocess
import tempfile
import traceback

TIMEOUT_S = 60


class Failed(Exception):
    """A case's expectation that did not hold."""


def expect(what, expected, got):
    if expected != got:
        raise Failed(f"{what}: expected {expected!r}, got {got!r}")


def expect_in(what, parts, text):
    for part in parts:
        if part not in text:
            raise Failed(f"{what}: expected {part!r} in it, got {text!r}")


class Tool:
    """A program that runs in a folder of its own."""

    def __init__(self, program, folder):
        self.program = pathlib.Path(program).resolve()
        self.folder = folder

    def run(self, *arguments, stdin="", **options):
        """(exit status, standard output, standard error)"""
        done = subprocess.run([str(self.program), *(str(a) for a in arguments)], input=stdin, capture_output=True, text=True,
                              timeout=TIMEOUT_S, cwd=self.folder, **options)
        return done.returncode, done.stdout, done.stderr

    def works(self, *arguments, **options):
        """Its standard output; problems of any kind fail the case."""
        status, output, problems = self.run(*arguments, **options)
        if status != 0 or problems:
            raise Failed(f"{self.program.name} {' '.join(map(str, arguments))}: expected status 0 and no problem, "
                         f"got {status}\n{output}{problems}")
        return output

    def refuses(self, status, parts, *arguments, **options):
        """It ends with `status` and one line on standard error that has all `parts`, and every file is as before."""
        before = snapshot(self.folder)
        got, output, problems = self.run(*arguments, **options)
        shown = f"{self.program.name} {' '.join(map(str, arguments))}"
        expect(f"status of {shown}\n{problems}", status, got)
        expect(f"standard output of {shown}", "", output)
        prefix = f"{self.program.name}: error: "
        if not problems.startswith(prefix) or problems.count("\n") != 1 or not problems.endswith("\n"):
            raise Failed(f"{shown}: expected one line that begins with {prefix!r}, got {problems!r}")
        expect_in(f"message of {shown}", parts, problems)
        expect(f"files after {shown}", before, snapshot(self.folder))


def snapshot(folder):
    """{name: contents} of a folder; None for what is no regular file."""
    return {name: (folder / name).read_bytes() if (folder / name).is_file() else None for name in sorted(os.listdir(folder))}


def drive(cases):
    """cases: (name, function of a folder). The exit status of the test."""
    passed = failed = 0
    for name, check in cases:
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(pathlib.Path(folder))
                passed += 1
                print(f"pass: {name}", flush=True)
            except Failed as problem:
                failed += 1
                print(f"FAIL: {name}\n{problem}", flush=True)
            except Exception:  # a broken test is a failure with its place
                failed += 1
                print(f"FAIL: {name}\n{traceback.format_exc()}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1
