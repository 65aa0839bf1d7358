"""flash_atten_resources.py BITBLASC KERNELS: compiles FlashAtten's kernels as the library does; none may spill registers."""
import concurrent.futures
import os
import subprocess
import sys
import tempfile

program, kernels = sys.argv[1:]

# Keys of a block of whole rows and of a part, and buffers of a part, by dim.
BLOCKS = {
    "sm_80": {64: (128, 32, 8), 96: (128, 32, 6), 128: (128, 32, 4), 192: (64, 32, 3), 256: (32, 32, 2)},
    "sm_89": {64: (128, 32, 5), 96: (64, 32, 3), 128: (64, 32, 2), 192: (32, 32, 2), 256: (16, 16, 2)},
    "sm_90a": {64: (128, 64, 4), 96: (128, 64, 4), 128: (128, 64, 3), 192: (64, 32, 4), 256: (64, 32, 3)},
}
CAUSAL = ["CAUSAL=true", "LSE=true", "T=bf16", "TO=bf16"]
VARLEN = ["CAUSAL=true", "LSE=true", "VARLEN_Q=true", "VARLEN_K=true"]
PAGED = ["CAUSAL=true", "VARLEN_Q=true", "PAGED=true", "LENGTHS=true", "PAGE=256", "LAYOUT=bhsd"]
FIXED = ["LAYOUT=ntn", "B=1", "Sq=256", "Sk=256"]


def cases():
    for target, dims in BLOCKS.items():
        for dim, (whole, part, buffers) in dims.items():
            shape = [f"D={dim}", f"DV={dim}", "H=8", "HKV=2"]
            rows = shape + ["BM=128", f"BN={whole}", "stages=2"] + ([] if target == "sm_90a" else ["GUESS=false"])
            few = shape + ["BM=16", f"BN={part}", f"stages={buffers}", f"WARPS={1 if target == 'sm_90a' else 4}"]
            for more in [CAUSAL] + ([PAGED, VARLEN, FIXED] if dim in (128, 256) else []):
                yield "flash_atten", target, rows + more
            yield "flash_decode", target, few + PAGED
        yield "flash_decode", target, few + CAUSAL
        yield "flash_merge", target, ["DV=256", "LSE=true", "VARLEN_Q=true"]


def compile_one(number, kernel, target, defines, folder):
    out = os.path.join(folder, f"{number}.cubin")
    command = [program, os.path.join(kernels, kernel + ".tl"), f"--target={target}", "--resource-usage", "-o", out]
    done = subprocess.run(command + ["-D" + d for d in defines], capture_output=True, text=True)
    text = done.stdout + done.stderr
    good = done.returncode == 0 and " 0 bytes spilled" in text
    return None if good else f"{kernel}, {target}, {' '.join(defines)}: {text.strip()}"


with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
    jobs = [pool.submit(compile_one, i, *case, folder) for i, case in enumerate(cases())]
    wrong = [job.result() for job in jobs if job.result()]
print("\n".join(wrong))
print(f"{len(jobs)} cubins, {len(wrong)} wrong")
sys.exit(1 if wrong or not jobs else 0)
