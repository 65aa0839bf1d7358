"""raised.py BITBLASC ROOT: one token against the meaning of the tile form, for codes that stay raised."""
import subprocess
import sys

bitblasc, root = sys.argv[1:]
common = ["-D", "SCALE=true", "-D", "M=1", "-D", "N=32", "-D", "K=1024", "-D", "BM=8", "-D", "BN=32", "-D", "stages=2",
          "-D", "OUT=f32", "--device=emulator", "--check", "--tolerance=0.001"]
# type, its offset, codes that share a scale, depth of a tile, warps
cases = [("i2", 0, 32, 512, 4), ("i2", 0, 64, 512, 4), ("i2", 0, 128, 1024, 4), ("i2", 0, 256, 1024, 4), ("i2", 0, 512, 1024, 2),
         ("i2", 0, 0, 512, 4), ("u2", 1, 128, 512, 4), ("u2", 0, 128, 512, 4), ("i4", 0, 32, 512, 4), ("u4", 8, 128, 512, 4),
         ("u4", 0, 0, 1024, 4)]
for code, offset, group, depth, warps in cases:
    case = ["-D", f"WT={code}", "-D", f"OFFSET={offset}", "-D", f"G={group}", "-D", f"BK={depth}", f"--pin=warps={warps}"]
    source = f"{root}/lib/kernels/matmul.tl"
    printed = subprocess.run([bitblasc, source, "--print-after=defer-scales", "--emit=ir", "-o", "/dev/null"] + common[:-3] + case,
                             capture_output=True, text=True)
    if "raised_bits" not in printed.stderr + printed.stdout:
        sys.exit(f"{' '.join(case)}: not raised\n{printed.stderr[-2000:]}")
    for form in ("laid_out", "thread"):
        run = subprocess.run([bitblasc, "run", source, f"--form={form}"] + common + case, capture_output=True, text=True)
        if run.returncode or "C: ok" not in run.stdout:
            sys.exit(f"{' '.join(case)}, {form}: {run.stdout}{run.stderr}")
