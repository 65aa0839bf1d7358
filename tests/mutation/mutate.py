#!/usr/bin/env python3
"""Breaks every synchronising op of a lowered kernel in every way that applies, and demands that the emulator notices.

  mutate.py --bitblasc PROGRAM [--only PATTERN] [--jobs N] [--verbose]

For each example, target and schedule below: the thread form is printed, each of its synchronising ops is weakened or broken (one at a time), and the
result runs on the emulator at sizes that go around every ring at least twice. A mutant is caught when the verifier, the prover or the emulator objects,
or the result changes. What survives is redundant (then the pass should not have emitted it) or a hole in the emulator; either way this fails.
Some changes leave a kernel that is right, only slower or as good: EQUIVALENT names them, each with its argument; they are counted apart.
Prints a table: kernel, target, mutants, caught, equivalent, survived; exits 1 when any survived."""
import argparse, collections, concurrent.futures, fnmatch, os, re, subprocess, sys, tempfile

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'examples')
TARGETS = ('sm_80', 'sm_90a')

# name, file, definitions, sizes that go around the rings, sizes that survivors are tried at too (no iteration, one)
SMALL = '-D BM=64 -D BN=64 -D stages=2'
CASES = [
    ('matmul', 'matmul.tl', f'{SMALL} -D BK=64', 'M=256 N=192 K=320'),
    ('matmul 3 stages', 'matmul.tl', '-D BM=128 -D BN=64 -D BK=32 -D stages=3', 'M=512 N=64 K=256'),
    ('matmul nn', 'matmul.tl', f'{SMALL} -D BK=64 -D LAYOUT=nn -D BIAS=true', 'M=128 N=192 K=320'),
    ('matmul slices', 'matmul.tl', '-D BM=128 -D BN=256 -D BK=64 -D stages=4', 'M=512 N=256 K=576', 'M=128 N=256 K=64'),
    ('matmul cluster', 'matmul.tl', f'{SMALL} -D BK=64 --pin=cluster=2', 'M=128 N=192 K=320', 'M=64 N=64 K=64'),
    ('matmul i8', 'matmul.tl', f'{SMALL} -D BK=64 -D T=i8', 'M=128 N=192 K=320'),
    ('matmul_w4a16', 'matmul_w4a16.tl', f'{SMALL} -D BK=64 -D G=64', 'M=128 N=192 K=320'),
    ('matmul_w4a16 columns', 'matmul_w4a16.tl', '-D BM=64 -D BN=128 -D BK=64 -D G=64 -D stages=3', 'M=128 N=256 K=448', 'M=64 N=128 K=64'),
    ('matmul_w4a16 few tokens', 'matmul_w4a16.tl', '-D BM=8 -D BN=64 -D BK=128 -D stages=2', 'M=5 N=256 K=640', 'M=5 N=64 K=128'),
    ('matmul_w4a16 pieces', 'matmul_w4a16.tl', '-D BM=8 -D BN=32 -D BK=128 -D stages=2', 'M=5 N=96 K=640', 'M=5 N=64 K=128'),
    ('matmul_w4a16 whole', 'matmul_w4a16.tl', '-D BM=8 -D BN=16 -D BK=128 -D stages=4 -D K=384 --pin=producers=0', 'M=5 N=64'),
    ('matmul_w4a16 overlapped', 'matmul_w4a16.tl', f'{SMALL} -D BK=64 -D G=64 --pin=pdl=1', 'M=128 N=192 K=320', 'M=64 N=64 K=64'),
    ('matmul_w4a16 overlapped few', 'matmul_w4a16.tl', '-D BM=8 -D BN=64 -D BK=128 -D stages=2 --pin=pdl=1', 'M=5 N=256 K=640', 'M=5 N=64 K=128', 'M=5 N=64 K=384'),
    ('matmul_w2a8', 'matmul_w2a8.tl', SMALL, 'M=128 N=192 K=640'),
    ('matmul_nf4', 'matmul_nf4.tl', SMALL, 'M=128 N=192 K=320'),
    ('flash_attention', 'flash_attention.tl', '-D BM=64 -D BN=64 -D D=64', 'B=1 H=5 HKV=1 Sq=128 Sk=320', 'B=1 H=2 HKV=1 Sq=128 Sk=0', 'B=1 H=1 HKV=1 Sq=64 Sk=128', 'B=1 H=5 HKV=1 Sq=128 Sk=64'),
    ('flash_attention causal', 'flash_attention.tl', '-D BM=64 -D BN=64 -D D=64 -D CAUSAL=true', 'B=1 H=5 HKV=1 Sq=128 Sk=320', 'B=1 H=2 HKV=1 Sq=128 Sk=0', 'B=1 H=1 HKV=1 Sq=64 Sk=128', 'B=1 H=5 HKV=1 Sq=128 Sk=64'),
    ('attention_window', 'attention_window.tl', '-D BM=64 -D BN=64 -D D=64 -D WINDOW=200', 'B=1 H=5 HKV=1 Sq=128 Sk=448', 'B=1 H=2 HKV=1 Sq=128 Sk=0', 'B=1 H=1 HKV=1 Sq=64 Sk=128', 'B=1 H=5 HKV=1 Sq=128 Sk=64'),
    ('flash_attention guess', 'flash_attention.tl', '-D BM=64 -D BN=64 -D D=64 -D CAUSAL=true -D GUESS=true', 'B=1 H=5 HKV=1 Sq=128 Sk=320', 'B=1 H=2 HKV=1 Sq=128 Sk=0', 'B=1 H=1 HKV=1 Sq=64 Sk=128', 'B=1 H=5 HKV=1 Sq=128 Sk=64'),
    ('flash_decode', 'flash_decode.tl', '--kernel=flash_decode_partial', 'B=1 HKV=1 GROUP=8 Sk=3000', 'B=1 HKV=1 GROUP=8 Sk=100'),
    ('softmax', 'softmax.tl', '-D ROWS=2 -D BN=1024', 'M=2 N=3000', 'M=2 N=1000'),
    ('rmsnorm', 'rmsnorm.tl', '-D ROWS=2 -D BN=1024', 'M=2 N=3000', 'M=2 N=1000'),
    ('matmul_gelu_residual', 'matmul_gelu_residual.tl', f'{SMALL} -D BK=64', 'M=128 N=192 K=320', 'M=256 N=192 K=64'),
    ('swiglu', 'swiglu.tl', SMALL, 'M=128 N=192 K=320'),
    ('transpose', 'transpose.tl', '', 'M=96 N=96'),
    ('cumsum', 'cumsum.tl', '', 'M=8 N=1500'),
]

SYNC = re.compile(r'^(mbar\.(wait|expect|arrive|init)|bar\.(sync|arrive)|warp\.sync|fence\.\w+|cluster\.sync|cp\.(commit|wait)|bulk\.(commit|wait)|wgmma\.(fence|commit|wait)|grid\.wait)\b')
ACCESS = re.compile(r'<- (ld|st)\.(shared|global)|<- (ldmatrix|stmatrix|cp\.async|tma\.\w+|bulk\.load|wgmma|red\.global) ')
REGISTERS = re.compile(r'<- mma ')  # what a synchronising op passes on its way to the next access


# (kernel, what was done, to which op, why the result is still right). Only consulted for survivors.
EQUIVALENT = [
    ('*', r'moved up', r'(mbar|cp|bulk|wgmma|grid)\.wait', 'a wait that stands earlier is stronger: it orders everything behind it, and more'),
    ('*', r'moved down', r'mbar\.expect', 'the arrival that the expect makes still closes the phase, whatever bytes came before it: the transaction count may pass '
     'below zero within a phase (PTX ISA, mbarrier, tx-count)'),
    ('*', r'moved (up|down)', r'(cp|bulk|wgmma)\.commit', 'it still stands between the ops that it closes and the wait for them'),
    ('*', r'pending -1', r'(cp|bulk|wgmma)\.wait', 'waiting until fewer groups are in flight is stronger'),
    ('*', r'slot', r'mbar\.wait %\w+_empty', 'the producer fills slots in order and consumers free them in order, so the release of the next slot, freed later, implies that '
     'of this one, and the wait before the last slot of a round implies that of the last; the wait is only earlier than it need be'),
    ('*', r'slot', r'mbar\.arrive %\w+_empty', 'with n slots and arrivals turned by d, the wait for slot d - 1 is for the last iteration of the round before, so a producer that waits '
     'for the slots in order has seen the whole round when it comes to the slots behind; those before wait for a later iteration of that round than they need'),
    ('*', r'deleted|moved down', r'wgmma\.fence', 'no register was touched since the fence before the last group; ptxas wants one all the same behind the branch of an '
     'mbar.wait (C7519)'),
    ('*attention*', r'deleted|waited for by the other role', r'mbar\.wait %Ks_empty', 'of the first keys of a tile: the wait for the queries\' slot before it is freed behind '
     'the last use of every key of the tile before'),
    ('flash_decode*', r'pending \+1', r'cp\.wait', 'the copy of the queries, which it waits for when the loop runs no iteration, is in an older group than the empty ones of the '
     'loop\'s prologue'),
    ('cumsum', r'deleted|moved', r'bar\.sync', 'the loop has two buffers, each with a barrier before it is written again: those of the one also stand between two uses of the other'),
]


class Statement:
    """A line of IR and, for control ops, what stands inside. `parts` alternates bodies and the lines that end them."""

    def __init__(self, line):
        self.line, self.parts = line, []

    def text(self, out):
        out.append(self.line)
        for part in self.parts:
            if isinstance(part, list):
                for statement in part:
                    statement.text(out)
            else:
                out.append(part)


def parse(lines, i):
    body = []
    while i < len(lines) and lines[i].strip() not in ('end', 'else'):
        statement = Statement(lines[i])
        opens = lines[i].endswith(' do') or lines[i].strip() == 'do'
        i += 1
        while opens:
            inner, i = parse(lines, i)
            statement.parts += [inner, lines[i]]
            opens = lines[i].strip() == 'else'
            i += 1
        body.append(statement)
    return body, i


def op_of(statement):
    return re.sub(r'^.*<- ', '', statement.line.strip())


def sync_inside(statement):
    """The statement itself, or the only one that its guard holds."""
    if SYNC.match(op_of(statement)):
        return statement
    if statement.line.strip().startswith('if ') and len(statement.parts) == 2 and len(statement.parts[0]) == 1:
        return sync_inside(statement.parts[0][0])
    return None


def touches_memory(statement):
    out = []
    statement.text(out)
    return any(ACCESS.search(line) for line in out)


def mutants(tree):
    """(description, op, apply, undo) for every way of breaking the kernel; the tree is changed in place and restored."""
    found = []

    def change_line(statement, line, what):
        old = statement.line
        if line != old:
            found.append((what, old.strip(), lambda: setattr(statement, 'line', line), lambda: setattr(statement, 'line', old)))

    def number(statement, pattern, deltas, what, least=0):
        match = re.search(pattern, statement.line)
        if not match:
            return
        for delta in deltas:
            value = int(match.group(1)) + delta
            if value >= least:
                change_line(statement, statement.line[:match.start(1)] + str(value) + statement.line[match.end(1):], f'{what} {delta:+d}')

    def walk(body, slots):
        for i, statement in enumerate(body):
            sync = sync_inside(statement)
            if sync:
                op = op_of(sync)

                def remove(body=body, i=i):
                    removed = body.pop(i)
                    undo.append(lambda: body.insert(i, removed))
                found.append(('deleted', sync.line.strip(), remove, None))
                if op.startswith('mbar.wait'):
                    change_line(sync, re.sub(r'(, )(.*?)( @\d+:\d+)?$', lambda m: f'{m.group(1)}({m.group(2)}) ^ 1{m.group(3) or ""}', sync.line, count=1), 'parity flipped')
                number(sync, r'mbar\.init \S+ (\d+)', (1, -1), 'arrivals', 1)
                number(sync, r'mbar\.expect \S+ (\d+)', (16, -16), 'bytes', 16)
                number(sync, r'pending = (\d+)', (1, -1), 'pending')
                number(sync, r'bar\.sync .*threads = (\d+)', (32, -32), 'threads', 32)
                if op.startswith('bar.sync %'):
                    change_line(sync, re.sub(r'bar\.sync %\w+', 'bar.sync', sync.line), 'one barrier for all parts')
                slot = re.search(r'%(\w+)@%(\w+)', sync.line)
                if slot and slots.get(slot.group(1), 1) > 1:
                    n = slots[slot.group(1)]
                    for delta in {1, n - 1}:
                        change_line(sync, sync.line.replace(f'@%{slot.group(2)}', f'@((%{slot.group(2)} + {delta}) % {n})', 1), f'slot +{delta}')
                for step in (-1, 1):
                    j = i + step
                    while 0 <= j < len(body) and REGISTERS.search(body[j].line):
                        j += step
                    if 0 <= j < len(body) and not sync_inside(body[j]) and touches_memory(body[j]):
                        def move_past(body=body, i=i, j=j):
                            before = list(body)
                            body.insert(j, body.pop(i))
                            undo.append(lambda: body.__setitem__(slice(None), before))
                        found.append(('moved up' if step < 0 else 'moved down', sync.line.strip(), move_past, None))
            for part in statement.parts:
                if isinstance(part, list):
                    walk(part, slots)

    undo = []
    out = []
    for statement in tree:
        statement.text(out)
    slots = {m.group(1): int(m.group(2)) for m in re.finditer(r'alloc %(\w+): (?:barrier|shared .*?) slots (\d+)', '\n'.join(out))}
    for statement in tree:
        for part in statement.parts:
            if isinstance(part, list):
                walk(part, slots)

    def wait_in_other_role():
        roles = [s for top in tree for part in top.parts if isinstance(part, list) for s in part if s.line.strip().startswith('role ')]
        waits = []

        def collect(body, role):
            for i, s in enumerate(body):
                if op_of(s).startswith('mbar.wait'):
                    waits.append((role, body, i, s))
                for part in s.parts:
                    if isinstance(part, list):
                        collect(part, role)
        for role in roles:
            for part in role.parts:
                if isinstance(part, list):
                    collect(part, role)
        for role, body, i, s in waits:
            for other_role, other_body, k, other in waits:
                ring = re.search(r'%(\w+)_(full|empty)', s.line).group(1)
                if other_role is role or not re.search(rf'%{ring}_(full|empty)', other.line):
                    continue
                moved = Statement(s.line.replace('_get', '_swapped').replace('_put', '_get').replace('_swapped', '_put'))

                def move(body=body, i=i, other_body=other_body, k=k, moved=moved):
                    removed = body.pop(i)
                    other_body.insert(k + 1, moved)
                    undo.append(lambda: (other_body.remove(moved), body.insert(i, removed)))
                found.append(('waited for by the other role', s.line.strip(), move, None))
    wait_in_other_role()
    return found, undo


def run(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return 'hang', ''
    return done.returncode, done.stdout + done.stderr


def verdict(options, text, sizes, outputs, reference, folder, name):
    path = os.path.join(folder, name + '.tir')
    with open(path, 'w') as file:
        file.write(text)
    command = [options.bitblasc, 'run', path, '--device=emulator', '--blocks=2']
    for size in sizes.split():
        command += ['--size', size]
    written = {o: os.path.join(folder, f'{name}.{o}.npy') for o in outputs}
    for o, file in written.items():
        command += ['--output', f'{o}={file}']
    status, log = run(command)
    same = status == 0 and all(open(file, 'rb').read() == reference.get(o) for o, file in written.items()) if reference else status == 0
    contents = {o: open(file, 'rb').read() for o, file in written.items()} if status == 0 else {}
    for file in [path, *written.values()]:
        if os.path.exists(file):
            os.remove(file)
    return status, log, same, contents


def one_case(options, case, target, pool, folder):
    name, file, definitions, sizes = case[:4]
    command = [options.bitblasc, os.path.join(EXAMPLES, file), f'--target={target}', '--emit=ir', '-o', '-', *definitions.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f'{name}, {target}: {done.stderr}')
        return None
    lines = done.stdout.splitlines()
    tree, _ = parse(lines, 0)
    # the header lines of the kernel are statements, its body the last one's part
    outputs = re.findall(r'^  arg %(\w+): .* (?:out|inout)\b', done.stdout, re.M)
    label = re.sub(r'\W+', '_', f'{name}_{target}')
    status, log, _, reference = verdict(options, done.stdout, sizes, outputs, None, folder, label)
    if status != 0:
        print(f'{name}, {target}: the kernel itself fails: {log}')
        return None
    found, undo = mutants(tree)
    texts = []
    for what, line, apply, restore in found:
        apply()
        out = []
        for statement in tree:
            statement.text(out)
        texts.append((what, line, '\n'.join(out) + '\n'))
        if restore:
            restore()
        else:
            undo.pop()()
    jobs = [pool.submit(verdict, options, text, sizes, outputs, reference, folder, f'{label}_{i}') for i, (_, _, text) in enumerate(texts)]
    caught, equivalent, survivors, kinds = 0, [], [], collections.Counter()
    for (what, line, text), job in zip(texts, jobs):
        status, log, same, _ = job.result()
        if status == 0 and same:
            if any(verdict(options, text, other, outputs, None, folder, label)[0] != 0 for other in case[4:]):
                caught += 1
                kinds['other sizes'] += 1
            elif any(fnmatch.fnmatch(name, k) and re.match(a, what) and re.search(b, line) for k, a, b, _ in EQUIVALENT):
                equivalent.append((what, line))
            else:
                survivors.append((what, line))
        else:
            caught += 1
            kinds[(re.findall(r'\[([a-z-]+)\]', log) or ['changed result'])[0]] += 1
    return len(texts), caught, equivalent, survivors, kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bitblasc', required=True)
    parser.add_argument('--only', default='*', help='cases whose name matches')
    parser.add_argument('--target', default='*')
    parser.add_argument('--jobs', type=int, default=os.cpu_count())
    parser.add_argument('--verbose', action='store_true', help='also say what caught the mutants, and which are equivalent')
    options = parser.parse_args()
    failed, total = False, collections.Counter()
    print(f"{'kernel':28} {'target':8} {'mutants':>8} {'caught':>8} {'equivalent':>11} {'survived':>9}")
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool, tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            for target in TARGETS:
                if not fnmatch.fnmatch(case[0], options.only) or not fnmatch.fnmatch(target, options.target):
                    continue
                if ('cluster' in case[2] or 'pdl' in case[2]) and target != 'sm_90a':
                    continue
                result = one_case(options, case, target, pool, folder)
                if not result:
                    failed = True
                    continue
                count, caught, equivalent, survivors, kinds = result
                total.update(mutants=count, caught=caught, equivalent=len(equivalent), survived=len(survivors))
                print(f'{case[0]:28} {target:8} {count:8} {caught:8} {len(equivalent):11} {len(survivors):9}', flush=True)
                for what, line in survivors:
                    print(f'    survived: {what}: {line}')
                if options.verbose:
                    print('    caught by', ', '.join(f'{k} {n}' for k, n in kinds.most_common()))
                    for what, line in equivalent:
                        print(f'    equivalent: {what}: {line}')
                failed |= bool(survivors)
    print(f"{'all':28} {'':8} {total['mutants']:8} {total['caught']:8} {total['equivalent']:11} {total['survived']:9}")
    sys.exit(1 if failed else 0)


main()
