#!/usr/bin/env python3
"""Runs a test where the machine has a GPU.

  on_gpu.py COMMAND...

Exit status: the command's; 77, which CTest takes for "skipped", where the CUDA driver finds no device.
"""
import ctypes
import subprocess
import sys

SKIPPED = 77


def devices():
    """How many the driver finds; none without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def main(words):
    if not words:
        sys.exit("on_gpu.py: expected a command, got none")
    if not devices():
        print("skipped: this machine has no GPU")
        return SKIPPED
    return subprocess.run(words).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
