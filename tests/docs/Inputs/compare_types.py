"""The table of types in docs/library.md is lib/matmul.def: compare_types.py MATMUL.DEF LIBRARY.MD"""
import pathlib
import re
import sys

table, page = (pathlib.Path(name).read_text() for name in sys.argv[1:])
missing = 0
for row in re.findall(r'^MATMUL_ROW\("(.*)", "(.*)", "(.*)", "(.*)"\)$', table, re.M):
    line = "| " + " | ".join(row) + " |"
    if line not in page.splitlines():
        print(f"docs/library.md has no row {line}")
        missing += 1
sys.exit(missing > 0)
