"""Sources are finished: no reminders, no disabled code, no file too long to read, no tabs or trailing blanks."""

import re

import tree

SOURCE = re.compile(r"^(support|ir|frontend|passes|codegen|emulator|driver|runtime|lib|include|examples|bench)/.*\.(c|h|def|re|y|cuh|tl)$")
LOOSE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|^\s*#\s*if\s+0\b")
LONGEST = 700

complaints = []
checked = 0
for name in tree.files():
    if not SOURCE.match(name):
        continue
    checked += 1
    lines = tree.lines(name)
    if len(lines) > LONGEST and name != "include/bitblas.h": # the whole interface is one file
        complaints.append(f"{name}: {len(lines)} lines; is it two things?")
    for number, text in lines:
        if LOOSE.search(text):
            complaints.append(f"{name}:{number}: a loose end: {text.strip()}")
        if "\t" in text or text != text.rstrip():
            complaints.append(f"{name}:{number}: a tab or a trailing blank")
tree.finish(complaints, checked, "no sources")
