#!/usr/bin/env python3
"""compute-sanitizer over the conformance suite's tests of a GPU's kernels: out-of-bounds and misaligned accesses (memcheck), races in shared memory
(racecheck), reads of memory that nothing wrote (initcheck).

  gpu_sanitizer.py --conformance PROGRAM [--tools memcheck,racecheck,initcheck] [--jobs N] [--devices 0,1] [--filter 'GTEST*FILTER'] [--limit ELEMENTS]
                   [--cases 1500] [--time-limit SECONDS] [--sanitizer compute-sanitizer] [--logs FOLDER]

Each test runs in a process of its own, which takes most of its time to have the sanitizer prepare what the test launches; those of more than --cases cases in several,
each of which takes a part of the cases (EVO_CONFORMANCE_PART). N run beside each other, the slow ones of the round before first; more than a few a GPU only wait for
each other: it goes from one process to the next, and each case waits for it several times. Cases whose largest operand has more than --limit elements are left out
(EVO_CONFORMANCE_LIMIT; the plain suite runs them all): without it none but for racecheck, which takes a second or so for what a block does in a microsecond and leaves
out those above 200000, of PlanSizesTest in the half types above 1500000; how many were left out is said. A part of which no case was tried is skipped, not passed, and
one whose log has no summary of the sanitizer's has failed. --time-limit is for all tools together, one after the other. memcheck and initcheck have each operand in an
allocation of its own (EVO_CONFORMANCE_APART), initcheck a workspace that nothing has written (EVO_CONFORMANCE_UNWRITTEN). racecheck (and synccheck, where asked for:
barriers) looks at this project's kernels alone and keeps products from cuBLASLt (EVO_CONFORMANCE_LIBRARY=0), where the sanitizer would end with an internal error; the
other two also follow cuBLASLt's. Left out by default are the tests of what lies gigabytes apart, whose every byte a sanitizer would mark. Ends with a line a tool, what
was found by kernel, and "N passed, N failed"; exit status 1 where anything was found, a test failed, nothing passed, or the time was not enough for all.
"""
import argparse
import collections
import concurrent.futures
import itertools
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

OURS = ("--kernel-name", "kernel_substring=evo")
TOOLS = {"memcheck": (), "racecheck": OURS, "initcheck": (), "synccheck": OURS}
# What the suite is told beside: operands apart, so that accesses which leave one are seen; a workspace that nothing wrote; no products by the library, at whose Hopper
# kernels (nvjet_sm90; CUDA 13.0) filters by name make the sanitizer end with an internal error.
APART, UNWRITTEN, OWN_PRODUCTS = {"EVO_CONFORMANCE_APART": "1"}, {"EVO_CONFORMANCE_UNWRITTEN": "1"}, {"EVO_CONFORMANCE_LIBRARY": "0"}
SUITE = {"memcheck": APART, "racecheck": OWN_PRODUCTS, "initcheck": APART | UNWRITTEN, "synccheck": OWN_PRODUCTS}
DEFAULT_TOOLS = "memcheck,racecheck,initcheck"
FOUND_STATUS = 97  # of the sanitizer where it found something
WHAT = re.compile(r"^========= (?:Error: |Warning: |Potential )?((?:Invalid|Misaligned|Uninitialized|Out-of-range|Race|WAR|WAW|RAW|Barrier|Program hit|Address|Unused|Leaked)\b[^\n]*)")
SUMMARY = re.compile(r"^========= (?:ERROR|RACECHECK) SUMMARY:", re.M)
LEFT_OUT = re.compile(r"^cases left out by EVO_CONFORMANCE_LIMIT: (\d+)$", re.M)
WHERE = re.compile(r"^=========\s+(?:at|in) ((?:void )?[^\n]*?)(?:\+0x[0-9a-f]+)?(?: in (\S+:\d+))?$")


def findings(text):
    """What a sanitizer's log tells of, as {(what, kernel): times}."""
    found, what = collections.Counter(), None
    for line in text.splitlines():
        if match := WHAT.match(line):
            if what:
                found[what, "an unnamed kernel"] += 1
            what = re.sub(r"\b0x[0-9a-f]+|\(\d+,\d+,\d+\)", "_", match.group(1)).strip()
            # A race is told in one line with its kernel.
            if inside := re.search(r" (?:at|in) ((?:void )?evo::[^\n]*)", what):
                found[what[:inside.start()], kernel_name(inside.group(1))] += 1
                what = None
        elif what and (match := WHERE.match(line)):
            found[what, kernel_name(match.group(1)) + (f" ({match.group(2)})" if match.group(2) else "")] += 1
            what = None
    if what:
        found[what, "an unnamed kernel"] += 1
    return found


def outcome(status, what, text):
    """Of a part whose sanitizer ended with that status, found that and wrote that."""
    if status is None:
        return "unfinished"
    if status != 0 or what or not SUMMARY.search(text):
        return "failed"
    return "skipped" if "[  SKIPPED ]" in text and "[       OK ]" not in text else "passed"


def size_limit(tool, test):
    """How many elements the largest operand of a test's cases may have where nobody says; 0: any number. racecheck takes seconds for what a block does in a
    microsecond; in the half types, whose kernels keep rings of stages in shared memory, it looks at the larger calls of plans too, which go through them again."""
    if tool != "racecheck":
        return 0
    return 1500000 if re.search(r"PlanSizes.*_(bf|fp)16_", test) else 200000


def kernel_name(signature):
    """A kernel's name with its template arguments, without its parameters."""
    name = re.sub(r"^void ", "", signature.replace("<unnamed>", "_").replace("(anonymous namespace)", "_"))
    depth = 0
    for index, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            return name[:index]
    return name.split("+0x")[0]


def parts_of(program, pattern, most):
    """{(name, part): cases} of the suite's tests that match, those with more cases than `most` in several parts, "2/5" is the third of five. A test that does not
    say counts as one case."""
    done = subprocess.run([program, "--gtest_list_tests", f"--gtest_filter={pattern}"], capture_output=True, text=True, check=True)
    parts, suite = {}, ""
    for line in done.stdout.splitlines():
        word = line.split("#")[0].rstrip()
        if line.startswith("  "):
            cases = re.search(r"(\d+) cases", line)
            count = int(cases.group(1)) if cases else 1
            number = -(-count // most)
            for part in range(number):
                parts[suite + word.strip(), f"{part}/{number}"] = count / number
        elif word.endswith("."):
            suite = word
    return parts


def short_name(test):
    return test.split("/")[-1]


class Sanitizer:
    def __init__(self, options, folder, tests):
        self.options, self.folder = options, folder
        self.deadline = time.monotonic() + options.time_limit
        self.seconds = dict(tests)  # of each test, in the round before; the number of its cases before there was one

    def run(self, tool, device, test, part):
        """Seconds, exit status or nothing where it ran out of time, findings, the log."""
        log = self.folder / f"{tool}-{re.sub(r'[^A-Za-z0-9]+', '_', short_name(test) + '_' + part)}.log"
        start = time.monotonic()
        left = self.deadline - start
        if left <= 0:
            return 0, None, collections.Counter(), ""
        limit = self.options.limit or size_limit(tool, test)
        with log.open("w") as out:
            process = subprocess.Popen([self.options.sanitizer, "--tool", tool, *TOOLS[tool], "--error-exitcode", str(FOUND_STATUS), "--print-limit", "50",
                                        self.options.conformance, f"--gtest_filter={test}"], stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                                       env={**os.environ, "EVO_CONFORMANCE_PART": part, **SUITE[tool],
                                            **({"EVO_CONFORMANCE_LIMIT": str(limit)} if limit else {}),
                                            **({"CUDA_VISIBLE_DEVICES": device} if device else {})})
            try:
                status = process.wait(left)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)  # the sanitizer's child holds the device
                process.wait()
                status = None
        text = log.read_text(errors="replace")
        return time.monotonic() - start, status, findings(text), text

    def round(self, tool, tests):
        """Every part under one tool; the numbers of passed, failed and unfinished ones."""
        start = time.monotonic()
        order = sorted(tests, key=lambda test: -self.seconds[test])
        found, counts, tails, unfinished, left_out = collections.Counter(), collections.Counter(), [], [], 0
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            devices = itertools.cycle(self.options.devices.split(","))
            for test, (seconds, status, what, text) in zip(order, pool.map(lambda test, device: self.run(tool, device, *test), order, devices)):
                self.seconds[test] = seconds
                result = outcome(status, what, text)
                counts[result] += 1
                found += what
                left_out += sum(map(int, LEFT_OUT.findall(text)))
                name = f"{short_name(test[0])} {test[1]}"
                if result == "failed":
                    print(f"failed: {tool} {name} ({seconds:.1f} s, status {status})", flush=True)
                    if not what:
                        tails.append((name, text[-1500:]))
                if result == "unfinished":
                    unfinished.append(name)
        slow = sorted(((self.seconds[test], f"{short_name(test[0])} {test[1]}") for test in tests), reverse=True)[:3]
        print(f"{tool}: {counts['passed']} passed, {counts['failed']} failed, {counts['unfinished']} unfinished, {counts['skipped']} skipped, {left_out} cases left out "
              f"for their size in {time.monotonic() - start:.0f} s "
              f"({sum(self.seconds.values()):.0f} s of processes); slowest {', '.join(f'{name} {seconds:.0f} s' for seconds, name in slow)}", flush=True)
        if unfinished:
            print(f"  unfinished: {', '.join(unfinished)}")
        for (what, kernel), times in found.most_common():
            print(f"  {times} x {what}: {kernel}")
        for name, tail in tails[:self.options.tails]:
            print(f"  {name} failed without a finding:\n{tail}")
        return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conformance", required=True)
    parser.add_argument("--tools", default=DEFAULT_TOOLS)
    parser.add_argument("--jobs", type=int, help="processes at a time (default: 3 a GPU)")
    parser.add_argument("--devices", default="", help="numbers of several GPUs, as in 0,1: parts go to them in turn")
    parser.add_argument("--filter", default="*Conformance*:*Dropout*:GradientTest.MaskedKeys*:Optimizer.*:*PlanSizes*")
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--cases", type=int, default=1500)
    parser.add_argument("--tails", type=int, default=5, help="logs to show of parts that failed without a finding")
    parser.add_argument("--time-limit", type=float, default=600)
    parser.add_argument("--sanitizer", default="compute-sanitizer")
    parser.add_argument("--logs")
    options = parser.parse_args()
    tools = options.tools.split(",")
    if unknown := [tool for tool in tools if tool not in TOOLS]:
        parser.error(f"expected tools of {', '.join(TOOLS)}, got {', '.join(unknown)}")
    options.jobs = options.jobs or 3 * len(options.devices.split(","))
    options.conformance = str(pathlib.Path(options.conformance).resolve())
    os.environ["EVO_CONFORMANCE_BACKEND"] = "cuda"
    tests = parts_of(options.conformance, options.filter, options.cases)
    if not tests:
        sys.exit(f"gpu_sanitizer.py: expected a test that matches '{options.filter}', got none")
    total = collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(options.logs or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        sanitizer = Sanitizer(options, folder, tests)
        for tool in tools:
            total += sanitizer.round(tool, tests)
    print(f"{total['passed']} passed, {total['failed'] + total['unfinished']} failed")
    return 0 if total["passed"] and not total["failed"] and not total["unfinished"] else 1


if __name__ == "__main__":
    sys.exit(main())
