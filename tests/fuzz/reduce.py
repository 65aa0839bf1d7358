"""Shrinks a program that fails: delta debugging on its statements, then on its parts.

  reduce.py PROGRAM.tl -- COMMAND ...      prints the smallest program for which the command, given it in place of {},
                                           leaves with the same status and the same first [kind] of diagnostic"""

import os
import re
import subprocess
import sys
import tempfile


def run(command, timeout=60):
    """(status, output); the status is None when it did not end in time."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout.decode("utf-8", "replace")


def parse(lines, at):
    """Statements from `at` to a closing brace: a line, or a list [head, body, (else) head, body, ..., end]."""
    body = []
    while at < len(lines) and not lines[at].strip().startswith("}"):
        line = lines[at]
        at += 1
        if not line.rstrip().endswith("{"):
            body.append(line)
            continue
        node = [line]
        while True:
            inner, at = parse(lines, at)
            node.append(inner)
            node.append(lines[at] if at < len(lines) else "}")
            at += 1
            if not node[-1].rstrip().endswith("{"):
                break
        body.append(node)
    return body, at


def unparse(body):
    out = []
    for node in body:
        if isinstance(node, str):
            out.append(node)
        else:
            for part in node:
                out += [part] if isinstance(part, str) else unparse(part)
    return out


def bodies(body):
    """Every list of statements in the tree, outermost first."""
    yield body
    for node in body:
        if isinstance(node, list):
            for part in node:
                if isinstance(part, list):
                    yield from bodies(part)


def drop_statements(tree, fails):
    """Takes out runs of statements, in halves, quarters, ... of each body; unwraps what has a body."""
    changed = False
    for body in list(bodies(tree)):
        size = len(body)
        while size > 0:
            at = 0
            while at < len(body):
                removed = body[at:at + size]
                del body[at:at + size]
                if fails(tree):
                    changed = True
                else:
                    body[at:at] = removed
                    at += size
            size //= 2
        for at, node in enumerate(list(body)):
            if isinstance(node, list) and node in body:
                place = body.index(node)
                body[place:place + 1] = node[1]
                if fails(tree):
                    changed = True
                else:
                    body[place:place + len(node[1])] = [node]
    return changed


SIMPLER = [
    (r"tanh\((\w+) \* 0\.125\)", r"\1"), (r"\w+\((\w+(?:\[[^]]*\])?)\)", r"\1"),
    (r"\((\w+(?:\[[^]]*\])?)\)", r"\1"), (r"(\w+(?:\[[^]]*\])?) [-+*] \w+(?:\.\d+)?", r"\1"),
    (r"= .*\S", "= 1"), (r"pipelined\((.*), stages = \d+\)", r"pipelined(\1, stages = 1)"),
    (r"pipelined\((.*), stages = \d+\)", r"\1"), (r"for (\w+) in .* \{", r"for \1 in 1 {"),
    (r"\d+ \.\. ", ""), (r"\^T", ""), (r" else [^{]*$", ""), (r"(scale|zero|offset|group) = \w+, ", ""),
    (r", (scale|zero|offset|group) = \w+", ""), (r"\w+\*\d+", "0"), (r" [-+] \d+(?=[\],])", ""),
    (r"grid .*", "grid (bn in 1, bm in 1)"), (r"where .*", ""),
]


def simplify_lines(lines, fails):
    changed = False
    for at in range(len(lines)):
        for pattern, new in SIMPLER:
            for match in list(re.finditer(pattern, lines[at])):
                old = lines[at]
                match = re.compile(pattern).search(old, match.start() if match.start() < len(old) else 0)
                if not match:
                    continue
                lines[at] = old[:match.start()] + match.expand(new) + old[match.end():]
                if lines[at] != old and fails(lines):
                    changed = True
                else:
                    lines[at] = old
    return changed


def drop_arguments(text, fails):
    """Arguments one by one; sizes that nothing else names go with them."""
    for argument in re.findall(r"\w+: (?:in |out |inout )?\w+(?:\[[^]]*\])?(?=,|\))", text.split("{")[0]):
        for candidate in (text.replace(argument + ",\n    ", "", 1), text.replace(",\n    " + argument, "", 1),
                          text.replace(argument, "", 1)):
            if candidate != text and fails(candidate):
                text = candidate
                break
    return text


def reduce(text, fails):
    """`fails(text)` says whether a candidate still shows the failure. What does not compile any more fails otherwise."""
    text_fails = fails
    while True:
        before = text
        tree, _ = parse(text.splitlines(), 0)
        drop_statements(tree, lambda t: text_fails("\n".join(unparse(t)) + "\n"))
        lines = unparse(tree)
        simplify_lines(lines, lambda l: text_fails("\n".join(l) + "\n"))
        text = drop_arguments("\n".join(lines) + "\n", text_fails)
        if len(text) >= len(before):
            return text if text_fails(text) else before


def main():
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        text = file.read()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "reduced" + os.path.splitext(sys.argv[1])[1])
        command = [word.replace("{}", path) for word in sys.argv[3:]]

        def signature(candidate):
            with open(path, "w") as file:
                file.write(candidate)
            status, output = run(command)
            return status, re.findall(r"\[([a-z-]+)\](?:\s*$| in block)", output, re.M)[:1]

        wanted = signature(text)
        print(reduce(text, lambda candidate: signature(candidate) == wanted), end="")


if __name__ == "__main__":
    main()
