"""Makes small checkpoints, and prints one: `checkpoint.py make FILE`, `checkpoint.py show FILE`."""

import json
import struct
import sys


def write(path, tensors, metadata=None):
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def make(path):
    """Two GPTQ layers, an MXFP4 stack of two experts, a norm."""
    tensors = {"norm.weight": ("BF16", [4], b"\x80\x3f" * 4)}
    for layer in ("a.q_proj", "b.q_proj"):
        tensors[layer + ".qweight"] = ("I32", [1, 8], struct.pack("<8I", *[0x76543210] * 8))
        tensors[layer + ".qzeros"] = ("I32", [1, 1], struct.pack("<I", 0x77777777))
        tensors[layer + ".scales"] = ("F16", [1, 8], struct.pack("<8e", *range(1, 9)))
        tensors[layer + ".bias"] = ("F16", [8], struct.pack("<8e", *range(8)))
    tensors["b.up_blocks"] = ("U8", [2, 1, 1, 16], bytes(range(32)))
    tensors["b.up_scales"] = ("U8", [2, 1, 1], bytes([127, 128]))
    write(path, tensors)


def show(path):
    with open(path, "rb") as file:
        content = file.read()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    for name in sorted(header):
        if name != "__metadata__":
            begin, end = header[name]["data_offsets"]
            data = content[8 + length + begin : 8 + length + end]
            print(name, header[name]["dtype"], header[name]["shape"], data.hex())


{"make": make, "show": show}[sys.argv[1]](sys.argv[2])
