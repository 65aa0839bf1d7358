"""Every C source is as clang-format 14 leaves it. Tables (.def), grammars and generated code are laid out by hand."""

import re
import subprocess

import tree

SOURCE = re.compile(r"^(support|ir|frontend|passes|codegen|emulator|driver|runtime|lib|include|examples|bench|tests/unit)/.*\.[ch]$")

sources = [name for name in tree.files() if SOURCE.match(name)]
formatted = subprocess.run(["clang-format-14", "--dry-run", "--Werror", "--ferror-limit=3"] + sources, cwd=tree.ROOT,
                           capture_output=True, text=True)
wrong = re.findall(r"^(\S+?:\d+):\d+: error", formatted.stderr, flags=re.M)
tree.finish([f"{place}: run `ninja format`" for place in wrong], len(sources), "no sources")
