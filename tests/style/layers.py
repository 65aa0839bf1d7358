"""A layer includes only itself and what stands below it. This table is the layering of the tree."""

import re

import tree

BELOW = {
    "support": set(),
    "ir": {"support"},
    "frontend": {"ir", "support"},
    "passes": {"ir", "support"},
    "codegen": {"ir", "support"},
    "emulator": {"ir", "support"},
    "driver": {"frontend", "passes", "codegen", "emulator", "ir", "support"},
    "runtime": {"include", "driver", "frontend", "passes", "codegen", "emulator", "ir", "support"},
    "lib": {"include", "runtime", "driver", "frontend", "passes", "codegen", "emulator", "ir", "support"},
    "include": set(),
    "examples": {"include"},
    "bench": {"include", "lib", "runtime", "ir", "support"},
}
# driver/main*.c is the program: it stands above the library.
PROGRAM = re.compile(r"driver/main[^/]*\.[ch]$")
INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')
SOURCE = re.compile(r"\.(c|h|def|re|y)$")

complaints = []
checked = 0
for name in tree.files():
    layer = name.split("/")[0]
    if layer not in BELOW or not SOURCE.search(name):
        continue
    allowed = (set(BELOW) - {"examples"} if PROGRAM.match(name) else BELOW[layer]) | {layer}
    for number, text in tree.lines(name):
        found = INCLUDE.match(text)
        if not found:
            continue
        checked += 1
        target = found.group(1).split("/")[0]
        if found.group(1) == "bitblas.h":
            target = "include" # as an application writes it
        if layer == "examples" and "/" not in found.group(1):
            continue # an application's own header, beside it
        if target not in BELOW:
            complaints.append(f'{name}:{number}: include from the root: "{layer}/..."')
        elif target not in allowed:
            complaints.append(f"{name}:{number}: {layer}/ must not include {target}/")
tree.finish(complaints, checked, "no #include lines")
