"""reference.py ROOT BUILD: the reference page has every function and type of bitblas.h, each says what it is, every function
that can fail says how, and the page that was built is of this header."""

import os
import re
import sys

root, build = sys.argv[1:]
sys.path.insert(0, os.path.join(root, "scripts"))
import reference

with open(os.path.join(root, "include", "bitblas.h")) as file:
    header = file.read()
complaints = []

# -- The names, found without the script -----------------------------------------------------------------------------------

code = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
functions = set(re.findall(r"^BITBLAS_API [^;]*?\b(bitblas_\w+)\s*\(", code, flags=re.M))
types = set(re.findall(r"^typedef [^;{(]*\b(bitblas_\w+);", code, flags=re.M))
types |= set(re.findall(r"^} (bitblas_\w+);", code, flags=re.M))
types |= set(re.findall(r"^typedef [^;{]*\(\*(bitblas_\w+)\)", code, flags=re.M))
statuses = set(re.findall(r"\bBITBLAS_ERROR_(\w+) =", code))
if len(functions) < 60 or len(types) < 30 or len(statuses) < 18:
    complaints.append("bitblas.h was not understood")
headings = "\n".join(re.findall(r"^### .*", reference.page(header), flags=re.M))
complaints += [f"{name} is not on the page" for name in sorted(functions | types) if f"`{name}`" not in headings]

# -- Comments ----------------------------------------------------------------------------------------------------------------

# Errors are named, or are those of another call.
errors = re.compile(r"BITBLAS_ERROR_|(?<!\w)_[A-Z]{3,}|[Aa]s bitblas_\w+|[Ww]hat\s+bitblas_\w+\s+answers|[Aa]s above")
for section in reference.parse(header)[1]:
    for entry in section.entries:
        for item in entry.declarations:
            text = entry.comment + "\n" + item.remark
            if item.name and not text.strip():
                complaints.append(f"{item.name} has no comment")
            if item.is_function and re.match(r"BITBLAS_API bitblas_status\s", item.text) and not errors.search(text):
                complaints.append(f"{item.name} does not say which errors it answers with")
            for name in re.findall(r"(?<!\w)_([A-Z][A-Z_]{2,})|BITBLAS_ERROR_([A-Z_]+)", text):
                if "".join(name) not in statuses | {"INIT"}:
                    complaints.append(f"{item.name}: there is no BITBLAS_ERROR_{''.join(name)}")

# -- The page ----------------------------------------------------------------------------------------------------------------

try:
    with open(os.path.join(build, "reference.md")) as file:
        if file.read() != reference.page(header):
            complaints.append("reference.md was made of another header")
except OSError as error:
    complaints.append(str(error))
print("\n".join(complaints) or f"{len(functions)} functions and {len(types)} types: ok")
sys.exit(bool(complaints))
