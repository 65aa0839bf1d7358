#!/usr/bin/env python3
"""Everything that needs a GPU, in one call.

  suite.py --bitblasc PROGRAM [--sanitize] [--sass] [--jobs N] [--only PATTERN]

Compiles and runs every example on the GPU, for each of its configurations, for sm_90a and for sm_80 (compiled for this GPU), at -O0, -O1 and -O2, and
checks it against the tile form computed in doubles. --sanitize repeats the -O2 runs under compute-sanitizer's memcheck, racecheck, synccheck and
initcheck. --sass disassembles cubins and checks for the instructions that the schedule promised. Ends with `N passed, N failed`."""
import argparse, concurrent.futures, fnmatch, os, re, subprocess, sys, tempfile

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'examples')
TARGETS = ('sm_90a', 'sm_80')
TOOLS = ('memcheck', 'racecheck', 'synccheck', 'initcheck')

# name, file, definitions, sizes
CASES = [
    ('matmul f16', 'matmul.tl', '', 'M=300 N=520 K=200'),
    ('matmul f16 one row', 'matmul.tl', '', 'M=1 N=264 K=8'),
    ('matmul bf16 bias gelu', 'matmul.tl', '-D T=bf16 -D BIAS=true -D ACTIVATION=gelu', 'M=129 N=264 K=136'),
    ('matmul nn', 'matmul.tl', '-D LAYOUT=nn', 'M=200 N=328 K=136'),
    ('matmul tn', 'matmul.tl', '-D LAYOUT=tn', 'M=200 N=328 K=136'),
    ('matmul tt', 'matmul.tl', '-D LAYOUT=tt', 'M=200 N=328 K=136'),
    ('matmul any size', 'matmul.tl', '-D ALIGN=1', 'M=77 N=101 K=53'),
    ('matmul i8', 'matmul.tl', '-D T=i8', 'M=200 N=336 K=160'),
    ('matmul e4m3', 'matmul.tl', '-D T=f8e4m3', 'M=200 N=336 K=160'),
    ('matmul e4m3 fast', 'matmul.tl', '-D T=f8e4m3 -D PROMOTE=0', 'M=200 N=336 K=160'),
    ('matmul cluster', 'matmul.tl', '--pin=cluster=2', 'M=300 N=520 K=264'),
    ('matmul split', 'matmul.tl', '-D SPLIT=3 -D BM=128 -D BN=128', 'M=130 N=136 K=520'),
    ('w4a16', 'matmul_w4a16.tl', '', 'M=300 N=264 K=512'),
    ('w4a16 few tokens', 'matmul_w4a16.tl', '-D BM=8 -D BN=64 -D BK=128', 'M=5 N=264 K=640'),
    ('w4a16 original zeros', 'matmul_w4a16.tl', '-D WT=u4 -D ZERO=original', 'M=40 N=264 K=256'),
    ('w4a16 quantized zeros', 'matmul_w4a16.tl', '-D WT=u4 -D ZERO=quantized -D BM=64', 'M=40 N=264 K=256'),
    ('w4a16 straight to registers', 'matmul_w4a16.tl', '-D BM=8 -D BN=16 -D BK=512 --pin=direct=1 --pin=warps=8', 'M=5 N=264 K=2048'),
    ('w2a16 one token', 'matmul_w4a16.tl', '-D M=1 -D WT=i2 -D BM=8 -D BN=128 -D BK=512 --pin=warps=8 --pin=direct=0', 'N=264 K=1024'),
    ('w1a16 by products', 'matmul_w4a16.tl', '-D WT=u1 -D BM=8 -D BN=128 -D BK=512', 'M=5 N=264 K=1024'),
    ('w2a16 bf16', 'matmul_w4a16.tl', '-D WT=u2 -D T=bf16 -D ST=bf16 -D BK=128 -D BM=64', 'M=40 N=264 K=256'),
    ('w2a8', 'matmul_w2a8.tl', '', 'M=100 N=264 K=512'),
    ('w2a8 few tokens', 'matmul_w2a8.tl', '-D BM=8 -D BN=128 -D BK=256', 'M=5 N=264 K=1024'),
    ('nf4', 'matmul_nf4.tl', '', 'M=100 N=264 K=512'),
    ('nf4 few tokens', 'matmul_nf4.tl', '-D BM=8 -D BN=128 -D BK=256', 'M=5 N=264 K=1024'),
    ('attention', 'flash_attention.tl', '', 'B=2 H=4 HKV=2 Sq=300 Sk=300'),
    ('attention causal', 'flash_attention.tl', '-D CAUSAL=true', 'B=1 H=4 HKV=2 Sq=300 Sk=500'),
    ('attention causal short', 'flash_attention.tl', '-D CAUSAL=true', 'B=1 H=2 HKV=2 Sq=300 Sk=100'),
    ('attention D=64 bf16', 'flash_attention.tl', '-D D=64 -D T=bf16', 'B=1 H=2 HKV=1 Sq=129 Sk=257'),
    ('attention D=256', 'flash_attention.tl', '-D D=256 -D BN=64', 'B=1 H=2 HKV=1 Sq=129 Sk=257'),
    ('attention window', 'attention_window.tl', '-D WINDOW=150', 'B=1 H=4 HKV=2 Sq=300 Sk=500'),
    ('attention window, no cap', 'attention_window.tl', '-D WINDOW=64 -D CAP=0.0 -D D=64', 'B=1 H=2 HKV=2 Sq=300 Sk=100'),
    ('decode attention', 'flash_decode.tl', '', 'B=2 HKV=2 Sk=1000'),
    ('softmax', 'softmax.tl', '', 'M=100 N=1000'),
    ('rmsnorm', 'rmsnorm.tl', '', 'M=100 N=3000'),
    ('matmul gelu residual', 'matmul_gelu_residual.tl', '', 'M=200 N=328 K=136'),
    ('swiglu', 'swiglu.tl', '', 'M=200 N=328 K=136'),
    ('transpose', 'transpose.tl', '', 'M=200 N=328'),
    ('cumsum', 'cumsum.tl', '', 'M=50 N=1500'),
]

# file, definitions, what the disassembly must have, what it must not have
SASS = [
    ('matmul.tl', '', (r'HGMMA\.64x(256|128)x16', 'UTMALDG', 'UTMASTG'), (r'\bLDL', r'\bSTL', r'MEMBAR\.ALL\.GPU')),
    ('flash_attention.tl', '', (r'HGMMA\.64x128x16\.F32 R\d+, R\d+,', r'HGMMA\.64x128x16\.F32 R\d+, gdesc', 'UTMALDG'), (r'\bLDL', r'\bSTL')),
    ('matmul_w4a16.tl', '', (r'HGMMA\.64x256x16\.F32 R\d+, R\d+,', 'UTMALDG', 'UBLKCP|UTMALDG'), (r'\bLDL', r'\bSTL')),
]


def run(command, seconds=300):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        return done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        return 'hang', ''


def check(options, case, target, level, tool=None):
    name, file, definitions, sizes = case
    command = [options.bitblasc, 'run', os.path.join(EXAMPLES, file), *definitions.split(), f'--target={target}', f'-O{level}', '--device=gpu', '--check']
    for size in sizes.split():
        command += ['--size', size]
    label = f'{name}, {target} -O{level}'
    if tool:
        command = ['compute-sanitizer', f'--tool={tool}', '--error-exitcode=99', '--launch-timeout=60', *command]
        label += f', {tool}'
    status, log = run(command)
    return label, status == 0, log


def disassemble(options, case, folder):
    file, definitions, wanted, forbidden = case
    cubin = os.path.join(folder, file + '.cubin')
    status, log = run([options.bitblasc, os.path.join(EXAMPLES, file), *definitions.split(), '--target=sm_90a', '-o', cubin])
    if status == 0:
        status, sass = run(['cuobjdump', '--dump-sass', cubin])
    if status != 0:
        return f'SASS of {file}', False, log
    missing = [w for w in wanted if not re.search(w, sass)]
    present = [f for f in forbidden if re.search(f, sass)]
    _, usage = run(['cuobjdump', '--dump-resource-usage', cubin])
    spills = any(int(n) for n in re.findall(r'(?:STACK|LOCAL):(\d+)', usage))
    counts = ', '.join(f"{len(re.findall(w, sass))} {w}" for w in ('HGMMA', 'UTMALDG', 'UTMASTG', 'UBLKCP', 'STSM', 'LDL', 'STL'))
    return f'SASS of {file}: {counts}', not missing and not present and not spills, f'missing {missing}, present {present}\n{usage}'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bitblasc', required=True)
    parser.add_argument('--only', default='*')
    parser.add_argument('--sanitize', action='store_true')
    parser.add_argument('--sass', action='store_true')
    parser.add_argument('--jobs', type=int, default=8)
    options = parser.parse_args()
    cases = [c for c in CASES if fnmatch.fnmatch(c[0], options.only)]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool, tempfile.TemporaryDirectory() as folder:
        jobs = [pool.submit(check, options, c, t, o) for c in cases for t in TARGETS for o in (2, 1, 0) if not (c[0] == 'matmul cluster' and (t, o) != ('sm_90a', 2))]
        if options.sanitize:
            jobs += [pool.submit(check, options, c, t, 2, tool) for c in cases for t in TARGETS for tool in TOOLS if not (c[0] == 'matmul cluster' and t != 'sm_90a')]
        if options.sass:
            jobs += [pool.submit(disassemble, options, c, folder) for c in SASS]
        for job in jobs:
            label, ok, log = job.result()
            passed += ok
            failed += not ok
            if label.startswith('SASS') and ok:
                print(label)
            if not ok:
                print(f'FAILED {label}\n' + '\n'.join('    ' + line for line in log.strip().splitlines()[-6:]), flush=True)
    print(f'{passed} passed, {failed} failed')
    sys.exit(1 if failed or not passed else 0)


main()
