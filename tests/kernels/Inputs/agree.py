"""Runs a kernel in thread form on the emulator, for two targets and at every level, and compares with its meaning.

  agree.py BITBLASC FILE [OPTIONS OF run...]

The emulator reports races, reads of what was never written and places outside; --check compares with the tile form
computed in doubles. An option --only=TARGET:LEVEL names the one way to run, for looking at a failure."""

import subprocess
import sys

bitblasc, path, *options = sys.argv[1:]
only = [option[len("--only="):] for option in options if option.startswith("--only=")]
options = [option for option in options if not option.startswith("--only=")]
failed = False
for target in ("sm_80", "sm_90a"):
    for level in "012":
        if only and "%s:%s" % (target, level) not in only:
            continue
        command = [bitblasc, "run", path, "--device=emulator", "--check", "--verify-each", "--target=" + target,
                   "-O" + level] + options
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            failed = True
            print("failed with %d: %s\n%s" % (done.returncode, " ".join(command), done.stdout))
sys.exit(failed)
