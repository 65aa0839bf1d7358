"""Nothing committed names the machine it was written on: no absolute path of somebody's checkout, no registry's host."""

import re

import tree

# Assembled, so that this file does not name them either.
PATHS = re.compile("/" + "work/|/" + "home/[a-z]|/" + "root/|/" + "Users/[A-Za-z]")
HOSTS = re.compile(r"pypi\." + r"org|python" + r"hosted|deb\.debian\." + r"org|archive\.ubuntu\." + r"com|registry\.npmjs")

complaints = []
checked = 0
for name in tree.files():
    for number, text in tree.lines(name):
        checked += 1
        if PATHS.search(text):
            complaints.append(f"{name}:{number}: a path of one machine: {text.strip()}")
        if HOSTS.search(text):
            complaints.append(f"{name}:{number}: a registry's host: {text.strip()}")
tree.finish(complaints, checked, "no files")
