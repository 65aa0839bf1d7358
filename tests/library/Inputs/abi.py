"""abi.py BUILD: compares the library with the binary interface that was agreed on, Inputs/bitblas.abi: functions, their
parameters, sizes and offsets of structs, values of enums. Whatever differs is printed.

abi.py BUILD --accept: what BUILD has is agreed on. Programs that were built before must go on to work, or the library gets
another version: a struct may grow at its end (its size field tells), an enum and the functions may become more."""

import os
import re
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(os.path.dirname(os.path.dirname(here)))
agreed = os.path.join(here, "bitblas.abi")
build = sys.argv[1]


def describe(out):
    # Of types only what bitblas.h says; nothing of where the sources lie or what else is linked.
    subprocess.run(["abidw", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--no-elf-needed",
                    "--no-parameter-names", "--no-architecture", "--no-write-default-sizes", "--drop-private-types",
                    "--exported-interfaces-only", "--type-id-style", "hash", "--headers-dir", os.path.join(root, "include"),
                    "--out-file", out, os.path.join(build, "libbitblas.so")], check=True)
    with open(out) as file:
        text = file.read()
    text = re.sub(r"(<abi-instr [^>]*path=')[^']*/", r"\1", text)
    text = re.sub(r"  <abi-instr [^>]*>\n  </abi-instr>\n", "", text)
    with open(out, "w") as file:
        file.write(text)


if "--accept" in sys.argv[2:]:
    describe(agreed)
    print("wrote " + agreed)
    sys.exit(0)
new = os.path.join(build, "tests", "bitblas.abi")
os.makedirs(os.path.dirname(new), exist_ok=True)
describe(new)
done = subprocess.run(["abidiff", "--harmless", "--no-corpus-path", agreed, new], stdout=subprocess.PIPE,
                      stderr=subprocess.STDOUT, text=True)
if done.returncode:
    print(done.stdout)
    sys.exit("The binary interface is not the one that was agreed on. If that is meant:\n"
             "  python3 tests/library/Inputs/abi.py " + build + " --accept")
print("the binary interface is as agreed")
