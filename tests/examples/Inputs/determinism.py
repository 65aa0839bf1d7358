"""determinism.py BITBLASC FOLDER KIND TARGET...: compiles every example in two environments that have nothing in common
and compares what --emit=KIND made, byte for byte. Cubins are made of each example as it is only."""

import os
import subprocess
import sys

import variants

bitblasc, folder, kind, *targets = sys.argv[1:]
bitblasc = os.path.abspath(bitblasc)
plain = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
# Another language and time, a stack that begins elsewhere, memory that is filled, and blocks that lie elsewhere.
other = {**os.environ, "LC_ALL": "de_DE.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "FILLER": "x" * 100003,
         "MALLOC_PERTURB_": "165", "MALLOC_MMAP_THRESHOLD_": "4096", "MALLOC_TOP_PAD_": "1234567"}


def compile(path, options, environment, directory, output):
    os.makedirs(directory, exist_ok=True)
    output = os.path.join(os.path.abspath(directory), output)
    command = [bitblasc, path, f"--emit={kind}", "-o", output, *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=directory)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nleft with {done.returncode}\n{done.stderr}")
    with open(output, "rb") as file:
        return file.read()


count = 0
for path, options in variants.each():
    if options and kind == "cubin":
        continue
    for target in targets:
        options_here = [*options, f"--target={target}"]
        if os.path.basename(path) == "flash_decode.tl":
            options_here.append("--kernel=flash_decode_partial")
        made = compile(path, options_here, plain, os.path.join(folder, "plain"), "made")
        again = compile(path, options_here, other, os.path.join(folder, "another", "place"), "made")
        if not made or made != again:
            sys.exit(f"{path} {' '.join(options_here)}: {kind} differs between two compilations")
        count += 1
print(f"{count} compilations are the same twice")
