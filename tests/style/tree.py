"""The files of the repository, for the style tests: those git knows or would add, or all of them outside a checkout."""

import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def files():
    """Paths relative to the root, sorted."""
    listing = None
    if shutil.which("git"):
        listing = subprocess.run(["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
                                 capture_output=True, text=True)
    if listing and listing.returncode == 0:
        names = set(listing.stdout.splitlines())
    else:
        names = set()
        for folder, folders, leaves in os.walk(ROOT):
            folders[:] = [name for name in folders if name not in (".git", "__pycache__") and not
                          (folder == ROOT and name.startswith("build"))]
            names |= {os.path.relpath(os.path.join(folder, leaf), ROOT) for leaf in leaves}
    return sorted(name for name in names if os.path.isfile(os.path.join(ROOT, name)))


def lines(name):
    """The numbered lines of a text file; nothing for a file that is not text."""
    try:
        with open(os.path.join(ROOT, name), encoding="utf-8") as file:
            return list(enumerate(file.read().split("\n"), 1))
    except UnicodeDecodeError:
        return []


def finish(complaints, checked, what):
    """Prints the complaints and leaves; a check that looked at nothing is a broken check."""
    for complaint in complaints:
        print(complaint)
    if not checked:
        print("nothing to check: " + what)
    sys.exit(1 if complaints or not checked else 0)
