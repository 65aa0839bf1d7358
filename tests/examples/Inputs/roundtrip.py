"""roundtrip.py BITBLASC FOLDER: every example, printed after any pass, reads back as it was printed and goes on from
there to the same result; so on each target and on each optimisation level."""

import os
import subprocess
import sys

import variants

bitblasc, folder = sys.argv[1:]
resume = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "driver", "Inputs", "resume.py")
assert variants.every_example_is_here()
failed = count = 0
for path, options in variants.each():
    for target, level in (("sm_80", 2), ("sm_89", 1), ("sm_90a", 0), ("sm_90a", 2)):
        machine = [f"--target={target}", f"-O{level}"]
        whole = [bitblasc, path, "--verify-each", "--emit=ir", "-o", os.devnull, *machine, *options]
        for command in (whole, [sys.executable, resume, bitblasc, folder, path, *machine, *options]):
            done = subprocess.run(command, capture_output=True, text=True)
            count += 1
            if done.returncode:
                failed += 1
                print(f"{' '.join(command)}\nleft with {done.returncode}\n{done.stdout[:1000]}{done.stderr[:2000]}")
print(f"{count} runs, {failed} failed")
sys.exit(1 if failed else 0)
