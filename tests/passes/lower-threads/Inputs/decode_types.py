"""Runs the quantised matmuls of the examples on the emulator for every type of code, scale and zero."""

import itertools
import os
import subprocess
import sys

bitblasc, examples = sys.argv[1:]

DEEP = {1: 256, 2: 128} # codes along k that a thread's 16 bytes hold, by their bits
TARGETS = (("sm_90a", "-O2"), ("sm_80", "-O1"))


def run(kernel, target, level, is_fused=True, folder=examples, **values):
    command = [bitblasc, "run", f"{folder}/{kernel}.tl", "--device=emulator", "--check", f"--target={target}", level, "-Rfuse-decode"]
    command += [f"-D{name}={value}" for name, value in values.items()]
    done = subprocess.run(command, capture_output=True, text=True)
    fused = "is decoded into the registers of its dot" in done.stderr
    if done.returncode or fused != is_fused:
        sys.exit(" ".join(command) + ("" if fused == is_fused else f": fused {fused}") + f"\n{done.stdout}{done.stderr}")


count = 0
types = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4e2m1", "nf4", "f8e4m3", "f8e5m2")
for code, operand in itertools.product(types, ("f16", "bf16")):
    depth = DEEP.get(int(code[1:]) if code[1:].isdigit() else 0, 64)
    factors = [{"ST": operand}, {"ST": "f32"}, {"ST": "e8m0"}, {"ST": operand, "ZERO": "original"}, {"ST": operand, "ZERO": "rescale", "OFFSET": 3}]
    for i, factor in enumerate(factors):
        target, level = TARGETS[i % 2]
        run("matmul_w4a16", target, level, WT=code, T=operand, BK=depth, M=64, N=128, K=256, BM=64, BN=128, **factor)
        count += 1
for code, operand, scale in itertools.product(("f4e2m1", "nf4"), ("f16", "bf16"), ("f16", "e8m0")): # few tokens: scales wait for the sums
    few = dict(WT=code, T=operand, ST=operand if scale == "f16" else scale, M=3, K=512, BM=8, BK=256)
    run("matmul_w4a16", "sm_90a", "-O2", G=32, N=136, BN=64, **few)
    run("matmul_w4a16", "sm_90a", "-O2", G=64, N=256, BN=128, ZERO="original", **few)
    count += 2
for code, operand in itertools.product(("u2", "u4", "i4", "i8"), ("f16", "bf16")): # zeros that are codes; a last tile that is not whole
    run("matmul_w4a16", "sm_90a", "-O2", WT=code, T=operand, ST=operand, ZERO="quantized", G=64, BK=128, M=64, N=136, K=192, BM=64, BN=128)
    count += 1
for code, offset in itertools.product(("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"), (0, 1, 5)):
    target, level = TARGETS[offset % 2]
    run("matmul_w2a8", target, level, WT=code, OFFSET=offset, BK=256, M=64, N=128, K=256, BM=64, BN=128)
    count += 1
kernels = os.path.join(os.path.dirname(os.path.abspath(examples)), "lib", "kernels")
for code, (factor, offset) in itertools.product(("u1", "u2", "u4", "i4", "u8", "f4e2m1"), ((2, 1), (4, -3))): # codes that a factor multiplies
    for operand in (("f16", "bf16", "i8") if code[1:] in "124" else ("f16", "bf16")):
        of = dict(T="i8", ACC="i32", OUT="i32") if operand == "i8" else dict(T=operand, OUT=operand)
        run("matmul", "sm_90a", "-O2", folder=kernels, WT=code, FACTOR=factor, OFFSET=offset, M=16, N=128, K=256, BM=64, BN=64, BK=256, **of)
        count += 1
pieces = ({}, {"ZERO": "original"}, {"ZERO": "quantized"}, {"G": 256, "ST": "f32"}) # tiles that are pieces of blocks of 64 rows
for code, factor, rows in itertools.product(("u1", "u2", "i4", "u8", "nf4"), pieces, (16, 32, 48, 112)):
    if factor.get("ZERO") == "quantized" and code in ("u1", "nf4"):
        continue
    for target, level in TARGETS:
        run("matmul_w4a16", target, level, WT=code, M=3, N=200, K=512, BM=8, BN=rows, BK=256, **factor)
        count += 1
for rows, columns in ((16, 136), (96, 250)):
    run("matmul", "sm_90a", "-O2", folder=kernels, T="i8", ACC="i32", OUT="i32", WT="u2", M=5, N=columns, K=512, BM=8, BN=rows, BK=256)
    count += 1
for code, level in itertools.product(("u3", "i3", "u5", "i6", "u7"), ("-O0", "-O1", "-O2")): # codes that cross bytes
    run("matmul_w4a16", "sm_90a", level, False, WT=code, M=64, N=136, K=256, BM=64, BN=64, BK=64)
    count += 1
for code, groups in itertools.product(("u1", "u2", "u4"), (1, 3)): # rows of zeros that are no whole bytes
    run("matmul_w4a16", "sm_90a", "-O0", False, WT=code, ZERO="quantized", M=64, N=136, K=128 * groups, BM=64, BN=64, BK=64)
    count += 1
print(count, "decodes")
