"""reference.py HEADER [OUT]: the reference page, in Markdown, of what HEADER declares: each function and type with its comment.

The header's rulers `-- Name ---` are the sections. A comment belongs to the declarations below it, up to the next comment
or empty line. What stands behind a declaration on its line belongs to that one."""

import re
import sys
from dataclasses import dataclass, field

RULER = re.compile(r"/\* -- (.*?) -+ \*/$")
COMMENT = re.compile(r"/\*(.*?)\*/", re.S)


@dataclass
class Declaration:
    name: str  # "" of an enum without one
    text: str  # as it stands in the header
    is_function: bool
    remark: str  # what stands behind it, or behind the brace that opens it


@dataclass
class Entry:
    comment: str = ""
    declarations: list = field(default_factory=list)
    macros: list = field(default_factory=list)


@dataclass
class Section:
    title: str
    entries: list = field(default_factory=list)


def plain(comment):
    """The text of a comment without its stars."""
    text = COMMENT.sub(r"\1", comment.strip())
    return "\n".join(re.sub(r"^ \* ?", "", line).rstrip() for line in text.split("\n")).strip()


def is_whole(text):
    if text.count("/*") != text.count("*/"):
        return False
    code = COMMENT.sub("", text)
    return code.rstrip().endswith(";") and code.count("{") == code.count("}") and code.count("(") == code.count(")")


def declaration(text):
    code = COMMENT.sub("", text)
    is_function = code.startswith("BITBLAS_API")
    found = re.search(r"\b(bitblas_\w+)\s*\(", code) if is_function else (
        re.search(r"\(\*(\w+)\)", code) or re.search(r"(\w+);\s*$", code) if code.startswith("typedef") else None)
    remark = re.search(r"^[^\n;]*\{ *(/\*.*?\*/)", text, re.S) or re.search(r"; *(/\*.*?\*/)$", text, re.S)
    return Declaration(found.group(1) if found else "", text, is_function, plain(remark.group(1)) if remark else "")


def parse(header):
    """The comment at the top, and the sections."""
    top = plain(COMMENT.match(header).group(0))
    body = header[header.index("/* -- "):header.rindex("#ifdef __cplusplus")]
    sections, entry, lines = [], None, iter(body.split("\n"))
    for line in lines:
        ruler = RULER.match(line)
        if ruler:
            sections.append(Section(ruler.group(1)))
            entry = None
        elif not line.strip():
            entry = None
        elif line.startswith("#define"):
            entry.macros.append(re.match(r"#define (\w+)", line).group(1))
            while line.endswith("\\"):
                line = next(lines)
        else:
            text, begins = line, line.startswith("/*")
            while text.count("/*") != text.count("*/") if begins else not is_whole(text):
                text += "\n" + next(lines)
            if begins or not entry:
                entry = Entry(plain(text) if begins else "")
                sections[-1].entries.append(entry)
            if not begins:
                entry.declarations.append(declaration(text))
    return top, sections


def prose(text):
    """Lines that are indented are a table: they stay as they are."""
    out, inside = [], False
    for line in text.split("\n"):
        table = line.startswith("  ")
        if table != inside:
            out.append("```" if inside else "\n```")
            inside = table
        out.append(line)
    return "\n".join(out + ["```"] if inside else out)


def page(header):
    top, sections = parse(header)
    out = ["# Reference", prose(top)]
    for section in sections:
        out.append("## " + section.title)
        for entry in section.entries:
            names = [d.name for d in entry.declarations if d.name]
            if names:
                out.append("### " + ", ".join(f"`{name}`" for name in names))
            code = "\n".join(re.sub(r"^BITBLAS_API ", "", d.text) for d in entry.declarations)
            if code:
                out.append("```c\n" + code + "\n```")
            if entry.macros:
                out.append("With " + ", ".join(f"`{name}`" for name in entry.macros) + ".")
            if entry.comment:
                out.append(prose(entry.comment))
    return "\n\n".join(out) + "\n"


if __name__ == "__main__":
    with open(sys.argv[1]) as source:
        result = page(source.read())
    if len(sys.argv) > 2:
        with open(sys.argv[2], "w") as target:
            target.write(result)
    else:
        sys.stdout.write(result)
