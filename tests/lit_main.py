"""Runs lit over the tests given and ends with one line: `N passed, N failed`.

    lit_main.py --build build [lit options] [test or directory ...]

lit is taken from an LLVM tools package, else from Python's own modules. Tests that need what this machine lacks (a GPU,
NVRTC) are listed as unsupported: they are neither passed nor failed. The exit status is 0 only when something passed
and nothing failed."""

import argparse
import glob
import json
import os
import re
import shutil
import subprocess
import sys

import probe

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FAILURES = ("FAIL", "XPASS", "TIMEOUT", "UNRESOLVED")


def llvm_folders():
    """Folders of installed LLVM versions, newest first."""
    folders = glob.glob("/usr/lib/llvm-*")
    return sorted(folders, key=lambda folder: [int(n) for n in re.findall(r"\d+", folder)], reverse=True)


def lit_command():
    python = probe.python_with("psutil") or sys.executable # with psutil, lit can stop a test that hangs
    for folder in llvm_folders():
        script = os.path.join(folder, "build", "utils", "lit", "lit.py")
        if os.path.exists(script):
            return [python, script]
    python = probe.python_with("lit.main")
    if python:
        return [python, "-c", "from lit.main import main; main()"]
    if shutil.which("lit"):
        return ["lit"]
    return None


def filecheck_folder():
    for folder in llvm_folders():
        if os.path.exists(os.path.join(folder, "bin", "FileCheck")):
            return os.path.join(folder, "bin")
    found = shutil.which("FileCheck")
    return os.path.dirname(found) if found else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    args, rest = parser.parse_known_args()
    build = os.path.abspath(args.build)

    lit, filecheck = lit_command(), filecheck_folder()
    if not lit or not filecheck:
        sys.exit("lit or FileCheck was not found: run ./check, or apt-get install llvm-14-tools (or a later version)")

    output = os.path.join(build, "tests")
    shutil.rmtree(os.path.join(output, "cache"), ignore_errors=True)
    os.makedirs(output, exist_ok=True)
    report = os.path.join(output, "results.json")
    if os.path.exists(report):
        os.remove(report)

    workers = max(2, len(os.sched_getaffinity(0)))
    command = lit + ["-j", str(workers), "-sv", "--output", report, "--param", "build=" + build]
    command += ["--param", "filecheck=" + filecheck] + rest
    status = subprocess.run(command, cwd=ROOT).returncode
    if not os.path.exists(report):
        print("0 passed, 1 failed")
        return status or 1

    with open(report) as file:
        codes = [test["code"] for test in json.load(file)["tests"]]
    passed = codes.count("PASS")
    failed = sum(codes.count(code) for code in FAILURES)
    unsupported = codes.count("UNSUPPORTED")
    if unsupported:
        print(f"{unsupported} not run: they need what this machine lacks (a GPU, NVRTC, ...)")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
