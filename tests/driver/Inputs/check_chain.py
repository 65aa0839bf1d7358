"""X, Y = 2 X + 1, and twice of Y: three .npy files of 100 f32, read without numpy."""

import struct
import sys


def read(path):
    data = open(path, "rb").read()
    assert data[:6] == b"\x93NUMPY", path
    start = 10 + struct.unpack("<H", data[8:10])[0]
    return struct.unpack("<100f", data[start:])


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


x, y, t = (read(path) for path in sys.argv[1:])
assert len(set(x)) > 90, "the made-up input is not random"
assert list(y) == [f32(f32(2 * value) + 1) for value in x]
assert list(t) == [f32(2 * value) for value in y]
