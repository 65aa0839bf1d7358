"""check.py BITBLASC EXAMPLE FOLDER [all] [form=tile|thread] [case=NUMBER]

Runs an example on the emulator, in tile form and in thread form, and compares with float64. The cases are chosen so
that every pair of choices of cases.py occurs in one of them, and some are stated there; `all` runs each on every target
and level."""

import itertools
import os
import random
import subprocess
import sys
import zlib

import numpy

import cases
import reference
import types_of_elements as numbers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def pairwise(example):
    """Cases in which every two choices meet, as far as they go together: greedily the best of some random ones."""
    generator = random.Random(1)
    names = list(example.choices)

    def draw(fixed):
        for _ in range(400):
            case = {name: fixed.get(name, generator.choice(example.choices[name])) for name in names}
            if example.allowed(case):
                return case
        return None

    missing = {}
    for a, b in itertools.combinations(names, 2):
        for x in example.choices[a]:
            for y in example.choices[b]:
                missing[a, repr(x), b, repr(y)] = {a: x, b: y}
    pairs = list(itertools.combinations(names, 2))

    def covered(case):
        return [key for a, b in pairs if (key := (a, repr(case[a]), b, repr(case[b]))) in missing]

    chosen = []
    while missing:
        first = next(iter(missing))
        drawn = [case for case in (draw(missing[first]) for _ in range(12)) if case]
        if not drawn:
            del missing[first]
            continue
        best = max(drawn, key=lambda case: len(covered(case)))
        for key in covered(best):
            del missing[key]
        chosen.append(best)
    return chosen


def text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def command_of(bitblasc, name, example, case):
    command = [bitblasc, "run", os.path.join(ROOT, "examples", name + ".tl"), "--device=emulator",
               f"--target={case['target']}", f"-O{case['level']}"]
    for choice, value in case.items():
        if choice in ("target", "level", "bound"):
            continue
        if choice in example.sizes and not case["bound"]:
            command.append(f"--size={choice}={value}")
        else:
            command.append(f"-D{choice}={text(value)}")
    return command


def difference(kind, got, form, step, expected, size, lost=0):
    """What is wrong with an output, or None."""
    got = got.astype(numpy.float64)
    if got.shape != expected.shape:
        return f"its shape is {got.shape}, not {expected.shape}"
    with numpy.errstate(invalid="ignore"):
        allowed = 1.01 * numbers.unit(kind) * abs(expected) + step * size + numbers.smallest(kind) / 2
        allowed = allowed + (lost if form == "thread" else 0)
        right = (got == expected) | (abs(got - expected) <= allowed)
    if right.all():
        return None
    at = tuple(int(i) for i in numpy.argwhere(~right)[0])
    what = f"{got[at]}, not {expected[at]} +- {allowed[at]}"
    return f"{(~right).sum()} of {right.size} are wrong, the first at {at}: {what}"


def run_case(command, form, name, example, case, inputs, expected, folder):
    """What went wrong, or None."""
    outputs = example.outputs(case)
    paths = {output: os.path.join(folder, f"{output}.{form}.npy") for output in outputs}
    command = [*command, f"--form={form}", *(f"--input={tensor}={path}" for tensor, path in inputs.items()),
               *(f"--output={output}={path}" for output, path in paths.items())]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"{' '.join(command)}\nleft with {done.returncode}\n{done.stderr[:2000]}"
    for output, kind in outputs.items():
        wrong = difference(kind, numpy.load(paths[output]), form, example.step(case), *expected[output])
        if wrong:
            return f"{' '.join(command)}\n{output}: {wrong}"
    return None


def main():
    bitblasc, name, folder, *options = sys.argv[1:]
    example = cases.EXAMPLES[name]
    forms = [option[5:] for option in options if option.startswith("form=")] or ["tile", "thread"]
    only = [int(option[5:]) for option in options if option.startswith("case=")]
    failed = ran = 0
    for number, chosen in enumerate(pairwise(example) + example.more):
        if only and number not in only:
            continue
        place = os.path.join(folder, str(number))
        os.makedirs(place, exist_ok=True)
        generator = numpy.random.default_rng(zlib.crc32(f"{name} {number}".encode()))
        inputs, values = {}, {}
        for tensor, kind in example.tensors(chosen).items():
            stored, values[tensor] = numbers.random(kind[0], kind[1], generator, *kind[2:])
            inputs[tensor] = os.path.join(place, tensor + ".npy")
            numpy.save(inputs[tensor], stored)
        expected = getattr(reference, name)(chosen, **values)
        machines = [(chosen["target"], chosen["level"])]
        if "all" in options:
            machines = list(itertools.product(cases.TARGETS, cases.LEVELS))
        for form in forms:
            for target, level in machines if form == "thread" else machines[:1]:
                case = {**chosen, "target": target, "level": level}
                wrong = run_case(command_of(bitblasc, name, example, case), form, name, example, case, inputs, expected,
                                 place)
                ran += 1
                if wrong:
                    failed += 1
                    print(f"case {number}: {wrong}\n")
    print(f"{name}: {ran} runs, {failed} failed")
    sys.exit(1 if failed or not ran else 0)


main()
