"""The compiler knows no kernel: outside comments, nothing in it is named after one. A kernel is a .tl file."""

import re

import tree

COMPILER = re.compile(r"^(ir|frontend|passes|codegen|emulator)/.*\.(c|h|def|re|y|cuh)$")
KERNEL = re.compile(r"matmul|gemm|gemv|attention|attn|flash|softmax|rmsnorm|layernorm", re.I)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)

complaints = []
checked = 0
for name in tree.files():
    if not COMPILER.match(name):
        continue
    checked += 1
    text = "\n".join(line for _, line in tree.lines(name))
    code = COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found.group(0)), text)
    for number, line in enumerate(code.split("\n"), 1):
        if KERNEL.search(line):
            complaints.append(f"{name}:{number}: names a kernel: {line.strip()}")
tree.finish(complaints, checked, "no compiler sources")
