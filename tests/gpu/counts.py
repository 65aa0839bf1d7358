#!/usr/bin/env python3
"""What the emulator counts is what the generated code executes.

  counts.py --bitblasc PROGRAM [--only PATTERN] [--emulator-only]

Runs each kernel below with --count-events on the GPU, where the code counts itself, and on the emulator with as many blocks as the GPU had room for, and
compares every count: bytes, MMAs, floating-point operations, waits, arrivals, barriers. They must be equal. Prints a line for each run, with the
counts, and ends with `N passed, N failed`. --emulator-only runs no GPU and prints the emulator's counts."""
import argparse, fnmatch, json, os, re, subprocess, sys

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'examples')
TARGETS = ('sm_90a', 'sm_80')

# name, file, definitions, sizes
CASES = [
    ('matmul', 'matmul.tl', '', ('M=512 N=512 K=512', 'M=300 N=520 K=200', 'M=1 N=264 K=8', 'M=1024 N=2048 K=512')),
    ('matmul cluster', 'matmul.tl', '--pin=cluster=2', ('M=512 N=512 K=512', 'M=300 N=520 K=264')),
    ('flash_attention', 'flash_attention.tl', '-D D=128', ('B=1 H=2 HKV=1 Sq=512 Sk=512', 'B=2 H=4 HKV=2 Sq=300 Sk=300', 'B=1 H=1 HKV=1 Sq=129 Sk=1000')),
    ('flash_attention causal', 'flash_attention.tl', '-D D=128 -D CAUSAL=true', ('B=1 H=4 HKV=2 Sq=512 Sk=512', 'B=1 H=2 HKV=2 Sq=300 Sk=500')),
    ('matmul_w4a16', 'matmul_w4a16.tl', '', ('M=512 N=512 K=512', 'M=300 N=264 K=512', 'M=1024 N=1024 K=1024')),
    ('matmul_w4a16 few tokens', 'matmul_w4a16.tl', '-D BM=8 -D BN=64 -D BK=128', ('M=5 N=264 K=640', 'M=8 N=1024 K=1024')),
]


def run(options, case, sizes, target, device, *more):
    command = [options.bitblasc, 'run', os.path.join(EXAMPLES, case[1]), *case[2].split(), f'--target={target}', f'--device={device}', '--count-events=json', *more]
    for size in sizes.split():
        command += ['--size', size]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return None, 'no end after 300 s'
    counts = re.search(r'^\{"kernel".*\}$', done.stdout, re.M)
    log = done.stdout + done.stderr
    return (json.loads(counts.group(0))['events'] if counts and done.returncode == 0 else None), log


def compare(options, case, sizes, target):
    """Whether the counts are equal, and what to print."""
    blocks = []
    if not options.emulator_only:
        executed, log = run(options, case, sizes, target, 'gpu')
        if executed is None:
            return False, log
        blocks = ['--blocks=' + re.search(r'(\d+) blocks fit', log).group(1)]
    counted, log = run(options, case, sizes, target, 'emulator', *blocks)
    if counted is None:
        return False, log
    if options.emulator_only:
        executed = counted
    wrong = [f'{name}: the GPU executed {executed.get(name)}, the emulator counted {counted[name]}' for name in counted if counted[name] != executed.get(name)]
    return not wrong, '\n'.join(wrong) or ' '.join(f'{name}={count}' for name, count in counted.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bitblasc', required=True)
    parser.add_argument('--only', default='*', help='cases whose name matches')
    parser.add_argument('--emulator-only', action='store_true')
    options = parser.parse_args()
    passed = failed = 0
    for case in CASES:
        for target in TARGETS:
            if not fnmatch.fnmatch(case[0], options.only) or ('cluster' in case[2] and target != 'sm_90a'):
                continue
            for sizes in case[3]:
                good, text = compare(options, case, sizes, target)
                passed += good
                failed += not good
                print(f"{'equal ' if good else 'FAILED'} {case[0]}, {target}, {sizes}\n" + '\n'.join('    ' + line for line in text.strip().splitlines()[-10:]), flush=True)
    print(f'{passed} passed, {failed} failed')
    sys.exit(1 if failed or not passed else 0)


main()
