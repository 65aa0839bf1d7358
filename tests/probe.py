"""What this machine has that only some tests need: each answer is a lit feature."""

import os
import shutil
import subprocess
import sys


def runs(command):
    try:
        return subprocess.run(command, capture_output=True, timeout=120).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def python_with(module):
    """The first Python that can import `module`, or None."""
    for python in (sys.executable, shutil.which("python3"), "/usr/bin/python3"):
        if python and runs([python, "-c", "import " + module]):
            return python
    return None


def has_nvrtc(build):
    """Asks the compiler itself, so that its search order is the only one: it leaves with 4 when the machine lacks what
    was asked for. Any other failure is for the tests to report."""
    bitblasc = os.path.join(build, "bitblasc")
    if not os.path.exists(bitblasc):
        return False
    example = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples", "matmul.tl")
    output = os.path.join(build, "tests", "probe.cubin")
    os.makedirs(os.path.dirname(output), exist_ok=True)
    return subprocess.run([bitblasc, example, "-o", output], capture_output=True).returncode != 4


def gpu_capability():
    """The compute capability of GPU 0 as 10 * major + minor, or 0 when there is no usable GPU. Run in a process of its
    own: a broken driver must not take lit down."""
    code = ("import ctypes; c = ctypes.CDLL('libcuda.so.1'); d = ctypes.c_int(); a = ctypes.c_int(); b = ctypes.c_int()\n"
            "assert c.cuInit(0) == 0 and c.cuDeviceGet(ctypes.byref(d), 0) == 0\n"
            "assert c.cuDeviceGetAttribute(ctypes.byref(a), 75, d) == 0\n"
            "assert c.cuDeviceGetAttribute(ctypes.byref(b), 76, d) == 0\n"
            "print(10 * a.value + b.value)")
    try:
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        return int(found.stdout) if found.returncode == 0 else 0
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0


def cmake_cache(build):
    values = {}
    try:
        with open(os.path.join(build, "CMakeCache.txt")) as file:
            for line in file:
                name, found, value = line.rstrip("\n").partition("=")
                if found:
                    values[name.partition(":")[0]] = value
    except OSError:
        pass
    return values


def features(build, python):
    found = set()
    cache = cmake_cache(build)
    if not cache.get("CMOCKA_LIBRARY", "NOTFOUND").endswith("NOTFOUND"):
        found.add("cmocka")
    if "ON" in (cache.get("BITBLASC_SANITIZE"), cache.get("BITBLASC_THREADS")):
        found.add("sanitize")
    if cache.get("BITBLASC_COVERAGE") == "ON":
        found.add("coverage")
    if os.path.exists(os.path.join(build, "libbitblas.so")):
        found.add("library")
    for tool in ("abidiff", "cc", "clang-format-14"):
        if shutil.which(tool):
            found.add(tool)
    if runs([python, "-c", "import numpy"]):
        found.add("numpy")
    if has_nvrtc(build):
        found.add("nvrtc")
    capability = gpu_capability()
    if capability:
        found.add("cuda")
    if capability >= 80:
        found.add("sm80")
    if 90 <= capability < 100:
        found.add("sm90")
    return found
