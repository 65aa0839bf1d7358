"""readme.py ROOT BITBLASC OUT: writes the README's kernel to OUT; complains about options in the documents that the --help of
neither bitblasc nor bitblas-bench, beside it, lists."""

import glob
import os
import re
import subprocess
import sys

root, bitblasc, out = sys.argv[1:]
readme = open(os.path.join(root, "README.md"), encoding="utf-8").read()
blocks = re.findall(r"^```\n(.*?)^```", readme, flags=re.M | re.S)
kernels = [block for block in blocks if re.search(r"^kernel ", block, flags=re.M)]
assert len(kernels) == 1, kernels
open(out, "w", encoding="utf-8").write(kernels[0])

programs = [bitblasc, os.path.join(os.path.dirname(bitblasc), "bitblas-bench")]
help_text = "".join(subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout for program in programs)
known = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_text))
wrong = []
for path in [os.path.join(root, "README.md"), *sorted(glob.glob(os.path.join(root, "docs", "*.md")))]:
    for line in open(path, encoding="utf-8"):
        if "bitblasc" not in line and not line.startswith(("|", "-")) and "`--" not in line:
            continue
        if ".py " in line: # options of another program
            continue
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line):
            if option not in known:
                wrong.append(f"{os.path.basename(path)}: {option}: {line.strip()}")
sys.exit("\n".join(wrong) or 0)
