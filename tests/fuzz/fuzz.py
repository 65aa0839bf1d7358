"""Random programs (generate.py) at every level and for every target: do all agree with the meaning of the text?

  fuzz.py --bitblasc build/bitblasc --count 10000 [--first SEED] [--jobs N] [--reduce]

Each program is compiled at -O0, -O1 and -O2 for sm_80 and sm_90a, every form is printed, read back and verified, and the
thread form runs on the emulator with all checks and is compared with the tile form computed in doubles. What the
compiler refuses with a diagnostic of its own ("no layout can hold ...") is counted, not a failure; a crash, a finding, a
failed proof, a wrong result is one. With --reduce each failing program is shrunk and kept as tests/fuzz/found/NAME.tl.
Exit status: 0 when nothing failed."""

import argparse
import collections
import concurrent.futures
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import generate
import reduce

# A program may be refused for these: it asks for more than a block has, or for a dot no instruction does.
REFUSALS = ("placement", "shared-memory", "schedule")
CONFIGURATIONS = [(target, level) for target in ("sm_80", "sm_90a") for level in "012"]


def command_of(bitblasc, path, sizes, seed, target, level):
    command = [bitblasc, "run", path, "--device=emulator", "--check", "--verify-each", "--tolerance=32", "--blocks=3",
               "--target=" + target, "-O" + level, "--seed=%d" % (seed + 1)]
    for name, value in sizes.items():
        command += ["-D" if seed % 3 == 0 else "--size", "%s=%d" % (name, value)]
    return command


def verdict(command, timeout=60):
    """None when all is well, else (kind, message). The kind is what a reduced program must fail with as well."""
    status, output = reduce.run(command, timeout)
    if status == 0:
        return None
    error = re.search(r"^.*?(?:error|internal error): (.*?)$", output, re.M)
    found = re.findall(r"\[([a-z-]+)\](?:\s*$| in block)", output, re.M)
    if status is None:
        return "hang", "no end after %d seconds" % timeout
    if status == 1 and found and found[0] in REFUSALS:
        return "refused", found[0] + ": " + (error.group(1) if error else "")
    wrong = re.search(r"^\w+: wrong.*max error ([^;]*);.*$", output, re.M)
    if wrong and float(wrong.group(1)) < 1e-6: # what is left of numbers around one that cancel
        return None
    if wrong:
        return "wrong", wrong.group(0)
    if status < 0 or "Sanitizer" in output:
        return "crash", "signal %d\n%s" % (-status, output[:2000])
    return found[0] if found else "status %d" % status, output[:2000]


def one(options, seed):
    text, sizes = generate.generate(seed)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "seed%d.tl" % seed)
        with open(path, "w") as file:
            file.write(text)
        for target, level in CONFIGURATIONS:
            if options.only and options.only != "%s-O%s" % (target, level):
                continue
            command = command_of(options.bitblasc, path, sizes, seed, target, level)
            results.append((target, level, verdict(command)))
    return seed, results


def keep(options, seed, target, level, kind):
    """Shrinks the program and writes it, with the command that shows the failure, as a test."""
    text, sizes = generate.generate(seed)
    name = "%s-%d.tl" % (re.sub(r"\W+", "-", kind), seed)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "reduced.tl")

        def fails(candidate):
            with open(path, "w") as file:
                file.write(candidate)
            used = {n: v for n, v in sizes.items() if re.search(r"\b%s\b" % n, candidate)}
            meaning = command_of(options.bitblasc, path, used, seed, target, level) + ["--form=tile"]
            if kind not in ("internal", "proof", "ir-rule") and reduce.run(meaning, 20)[0] != 0:
                return False # the text itself reads what was never written, say
            result = verdict(command_of(options.bitblasc, path, used, seed, target, level), 20)
            return result is not None and result[0] == kind

        text = reduce.reduce(text, fails)
    used = {n: v for n, v in sizes.items() if re.search(r"\b%s\b" % n, text)}
    command = command_of("%bitblasc", "%s", used, seed, target, level)
    os.makedirs(options.found, exist_ok=True)
    with open(os.path.join(options.found, name), "w") as file:
        file.write("// Found by tests/fuzz/fuzz.py, seed %d.\n// RUN: %s\n%s" % (seed, " ".join(command), text))
    return name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bitblasc", required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", help="one configuration, such as sm_90a-O2")
    parser.add_argument("--reduce", action="store_true", help="shrink what fails, one program a kind of failure")
    parser.add_argument("--found", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "found"))
    options = parser.parse_args()

    refused, failed, passed, kept = collections.Counter(), 0, 0, set()
    programs_refused = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for seed, results in pool.map(lambda s: one(options, s), range(options.first, options.first + options.count)):
            bad = [(t, l, v) for t, l, v in results if v and v[0] != "refused"]
            for _, _, v in results:
                if v and v[0] == "refused":
                    refused[v[1]] += 1
            programs_refused += all(v for _, _, v in results)
            passed += not bad
            for target, level, (kind, message) in bad[:1]:
                failed += 1
                print("seed %d, %s -O%s (%d of %d configurations): %s: %s" %
                      (seed, target, level, len(bad), len(results), kind, message.strip()), flush=True)
                signature = kind, re.sub(r"[\d%].*", "", message)[:40]
                if options.reduce and signature not in kept:
                    kept.add(signature)
                    print("  reduced to " + keep(options, seed, target, level, kind), flush=True)
    for reason, count in refused.most_common(12):
        print("refused %d times: %s" % (count, reason))
    print("%d programs agree, %d failed, %d were refused everywhere" % (passed - programs_refused, failed, programs_refused))
    # A generator whose programs are mostly refused proves nothing.
    return 1 if failed or programs_refused * 10 > options.count else 0


if __name__ == "__main__":
    sys.exit(main())
