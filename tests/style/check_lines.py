"""FileCheck ignores a CHECK line without its colon, and lit a test whose RUN line lost one: both would pass for ever."""

import re

import tree

# The directive at the start of a comment that is not followed by a colon, with any suffix and any count.
BROKEN = re.compile(r"^\s*(//|;|#)\s*[A-Z0-9_-]*CHECK(-(NEXT|NOT|SAME|LABEL|DAG|EMPTY|COUNT-\d+))?(\{[A-Z]+\})?(?![\w:{-])")
BROKEN_RUN = re.compile(r"^\s*(//|;|#)\s*(RUN|REQUIRES|UNSUPPORTED|XFAIL)(?![\w:-])\s+\S")
TEST = re.compile(r"^tests/.*\.(tl|tir|test|cu|txt|json)$")

complaints = []
checked = 0
for name in tree.files():
    if not TEST.match(name):
        continue
    texts = tree.lines(name)
    checked += 1
    for number, text in texts:
        if BROKEN.match(text) or BROKEN_RUN.match(text):
            complaints.append(f"{name}:{number}: no colon after {text.strip()!r}")
    uses = any("FileCheck" in text and "RUN:" in text for _, text in texts)
    if uses and "--check-prefix" not in "".join(text for _, text in texts):
        own = any("CHECK" in text and "RUN:" not in text for _, text in texts)
        elsewhere = any(re.search(r"FileCheck\s+(?!%s)\S*(%S|%t|%p)", text) for _, text in texts)
        if not own and not elsewhere:
            complaints.append(f"{name}: runs FileCheck and has no CHECK line")
tree.finish(complaints, checked, "no tests")
