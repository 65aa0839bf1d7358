"""Reads the dump of test_layout and computes every layout again from its text alone.

usage: layout_oracle.py PATH_OF_test_layout

The text says where each register, lane and warp bit leads and which repeats lie outside; this evaluates it with plain integers, without
any of the compiler's code, compares it with what tile_layout_coord said of every register of every thread, and checks that each element
of the tile is held equally often."""

import collections
import re
import subprocess
import sys


def parse(text):
    extent = [int(e) for e in re.match(r"#tile\[([0-9x]+)\]", text).group(1).split("x")]
    parts = text[text.index("{") + 1 : -1].split("; ")
    axes = {}
    for part in parts[:3]:
        name, columns = part.split(":")
        axes[name] = [tuple(map(int, c.split(","))) for c in re.findall(r"\(([^)]*)\)", columns)]
    repeats = [re.fullmatch(r"repeat (\d+) dim (\d+) by (\d+) (reg|warp) (\d+)", p).groups() for p in parts[3:]]
    return extent, axes, [(int(c), int(d), int(by), axis, int(stride)) for c, d, by, axis, stride in repeats]


def count(axes, repeats, axis):
    total = 1 << len(axes[axis])
    for n, _, _, where, stride in repeats:
        if where == axis:
            assert stride == total, "repeats are not a mixed radix"
            total *= n
    return total


def coordinate(rank, axes, repeats, number):
    result = [0] * rank
    for axis, columns in axes.items():
        for bit, column in enumerate(columns):
            if number[axis] >> bit & 1:
                result = [a ^ b for a, b in zip(result, column)]
    for n, dim, delta, axis, stride in repeats:
        result[dim] += number[axis] // stride % n * delta
    return tuple(result)


def main():
    lines = subprocess.run([sys.argv[1], "--dump"], check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) > 200 and len(lines) % 2 == 0
    for text, points in zip(lines[::2], lines[1::2]):
        extent, axes, repeats = parse(text)
        said = [tuple(map(int, p.split(","))) for p in points.split(" ")]
        registers, warps = count(axes, repeats, "reg"), count(axes, repeats, "warp")
        here = [
            coordinate(len(extent), axes, repeats, {"reg": reg, "lane": lane, "warp": warp})
            for warp in range(warps)
            for lane in range(32)
            for reg in range(registers)
        ]
        assert here == said, text
        holders = collections.Counter(here)
        assert len(holders) == extent[0] * extent[1] and len(set(holders.values())) == 1, text
    print(f"{len(lines) // 2} layouts agree")


main()
