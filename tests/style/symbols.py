"""The shared library exports the functions that bitblas.h declares, all of them and nothing else."""

import os
import re
import subprocess
import sys

import tree

library = os.path.join(sys.argv[1], "libbitblas.so")
listing = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
exported = {line.split()[-1].split("@")[0] for line in listing.splitlines() if line.strip() and line.split()[-2] != "A"}
# Linker and instrumentation symbols are not ours, and the version's own name (A) is none that anybody links to.
exported -= {"_init", "_fini", "_edata", "_end", "__bss_start"}

header = "\n".join(text for _, text in tree.lines("include/bitblas.h"))
header = re.sub(r"/\*.*?\*/|//[^\n]*", "", header, flags=re.S)
header = re.sub(r"^\s*#.*(\\\n.*)*$", "", header, flags=re.M)
declared = set(re.findall(r"\b(bitblas_\w+)\s*\([^;{}]*\)\s*;", header))
complaints = [f"{name} is declared in include/bitblas.h and not exported" for name in sorted(declared - exported)]
complaints += [f"{name} is exported and not declared in include/bitblas.h" for name in sorted(exported - declared)]
tree.finish(complaints, len(exported), library + " exports nothing")
