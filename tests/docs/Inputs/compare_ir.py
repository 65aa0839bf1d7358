"""compare_ir.py BITBLASC KERNEL DOCUMENT: each line of a fence ```ir PASS must be printed after PASS, in that order; `...` at its end stands for the rest."""
import re
import subprocess
import sys

program, kernel, document = sys.argv[1:]
text = open(document).read()
fences = re.findall(r'^```ir (\S+)\n(.*?)^```', text, re.S | re.M)
wrong = 0
for name, body in fences:
    printed = subprocess.run([program, kernel, f'--print-after={name}', '--emit=ir', '-o', '/dev/null'], capture_output=True, text=True)
    output = printed.stdout + printed.stderr
    lines = output.splitlines()
    at = 0
    for line in body.splitlines():
        start = line[:-3].rstrip() if line.endswith('...') else line
        found = next((i for i in range(at, len(lines)) if (lines[i].strip().startswith(start.strip()) if line.endswith('...') else lines[i].strip() == start.strip())), None)
        if found is None:
            print(f'after {name}, this is not printed, or not behind the line before it: {line}')
            wrong += 1
        else:
            at = found + 1
print(f'{len(fences)} fences, {wrong} lines wrong')
sys.exit(1 if wrong or not fences else 0)
