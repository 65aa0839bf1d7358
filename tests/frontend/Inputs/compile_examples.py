"""Compiles every tl example of docs/language.md: compile_examples.py BITBLASC DOCUMENT FOLDER INCLUDES"""
import os
import re
import subprocess
import sys

bitblasc, document, folder, includes = sys.argv[1:]
text = open(document, encoding="utf-8").read()
head = re.search(r"((?:^    .*\n)+)", text[text.index("Those marked as a body"):], re.M).group(1)
head = "".join(line[4:] + "\n" for line in head.splitlines())
os.makedirs(folder, exist_ok=True)
failed = count = 0
for match in re.finditer(r"^```tl( body)?\n(.*?)^```$", text, re.M | re.S):
    line = text.count("\n", 0, match.start()) + 1
    source = head + "{\n" + match.group(2) + "}\n" if match.group(1) else match.group(2)
    path = os.path.join(folder, f"line{line}.tl")
    with open(path, "w", encoding="utf-8") as f:
        f.write(source)
    run = subprocess.run([bitblasc, path, "-I", includes, "--run-pass=", "--emit=ir"], capture_output=True, text=True)
    count += 1
    if run.returncode != 0 or "kernel @" not in run.stdout:
        failed += 1
        print(f"{document}:{line}: this example does not compile\n{run.stderr}")
print(f"{count} examples, {failed} failed")
sys.exit(failed != 0 or count < 10)
