"""resume.py BITBLASC DIRECTORY FILE [OPTION...]: compiles with --save-temps, then goes on from each file it left,
without -DNAME=VALUE: what that gave is in the files."""

import glob
import os
import shutil
import subprocess
import sys

bitblasc, directory, source, *options = sys.argv[1:]
defines = [option for option in options if option.startswith("-D")]
options = [option for option in options if not option.startswith("-D")]
shutil.rmtree(directory, ignore_errors=True)


def compile(path, *more, defines=defines):
    done = subprocess.run([bitblasc, path, "--emit=ir", *options, *defines, *more], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{path}: status {done.returncode}\n{done.stderr}")
    return done.stdout


whole = compile(source, f"--save-temps={directory}")
files = sorted(glob.glob(os.path.join(directory, "*.tir")))
assert len(files) > 2, files
for file in files:
    if compile(file, defines=[]) != whole:
        sys.exit(f"going on from {file} gives another result than the whole way")
