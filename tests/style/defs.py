"""Every row of support/diagnostics.def has a test: some file under tests/errors/ names its id in brackets, as a
rendered diagnostic does."""

import re

import tree

ROW = re.compile(r'^DIAG\((\w+),\s*"([^"]+)"')

tests = "\n".join("\n".join(text for _, text in tree.lines(name)) for name in tree.files()
                  if name.startswith("tests/errors/"))
complaints = []
checked = 0
for number, text in tree.lines("support/diagnostics.def"):
    row = ROW.match(text)
    if row:
        checked += 1
        if f"[{row.group(2)}]" not in tests:
            complaints.append(f"support/diagnostics.def:{number}: no test under tests/errors/ expects [{row.group(2)}]")
tree.finish(complaints, checked, "no rows")
