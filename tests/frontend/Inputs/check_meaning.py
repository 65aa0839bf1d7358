"""Runs examples on the emulator in tile form and compares with plain Python: check_meaning.py BITBLASC EXAMPLES FOLDER"""
import ast
import math
import os
import struct
import subprocess
import sys

bitblasc, examples, folder = sys.argv[1:]
os.makedirs(folder, exist_ok=True)


class Array:
    """A .npy file: a flat list and its shape."""

    def __init__(self, path):
        with open(path, "rb") as f:
            data = f.read()
        length = struct.unpack("<H", data[8:10])[0]
        header = ast.literal_eval(data[10:10 + length].decode())
        code = {"f2": "e", "f4": "f", "i4": "i", "i1": "b", "u1": "B"}[header["descr"][1:]]
        self.shape = header["shape"]
        body = data[10 + length:]
        self.data = struct.unpack("<%d%s" % (len(body) // struct.calcsize(code), code), body)

    def __getitem__(self, index):
        at = 0
        for i, extent in zip(index, self.shape):
            at = at * extent + i
        return self.data[at]


def run(example, tensors, *options):
    paths = {name: os.path.join(folder, f"{name}.npy") for name in tensors}
    command = [bitblasc, "run", os.path.join(examples, example), "--device=emulator", "--form=tile"]
    command += [f"--output={name}={path}" for name, path in paths.items()]
    subprocess.run(command + [word for option in options for word in ("-D", option)], check=True, stdout=subprocess.DEVNULL)
    return [Array(paths[name]) for name in tensors]


def close(what, got, wanted, tolerance=0.02):
    if not abs(got - wanted) <= tolerance * (1 + abs(wanted)):
        sys.exit(f"{what}: {got}, not {wanted}")


def softmax(scores):
    top = max(scores, default=0)
    weights = [math.exp(s - top) for s in scores]
    return [w / sum(weights) for w in weights]


def attention(b, h, q, k, v, query, kv, seen, depth, at):
    scores = [sum(q[at(b, h, query, d)] * k[at(b, kv, j, d)] for d in range(depth)) / math.sqrt(depth) for j in range(seen)]
    weights = softmax(scores)
    return [sum(w * v[at(b, kv, j, d)] for j, w in enumerate(weights)) for d in range(depth)]


def check_flash(queries, keys, causal, bshd):
    depth, heads, shared = 16, 4, 2
    q, k, v, o = run("flash_attention.tl", "QKVO", f"D={depth}", "B=1", f"H={heads}", f"HKV={shared}", f"Sq={queries}",
                     f"Sk={keys}", "BM=16", "BN=16", f"CAUSAL={causal}", f"LAYOUT={'bshd' if bshd else 'bhsd'}")
    at = (lambda b, h, s, d: (b, s, h, d)) if bshd else (lambda b, h, s, d: (b, h, s, d))
    for h in range(heads):
        for i in range(queries):
            seen = max(0, min(keys, i + 1 + keys - queries)) if causal else keys
            wanted = attention(0, h, q, k, v, i, h // (heads // shared), seen, depth, at)
            for d in range(depth):
                close(f"flash_attention {queries}x{keys} [{h}, {i}, {d}]", o[at(0, h, i, d)], wanted[d])


def check_decode_attention():
    depth, group, keys = 16, 4, 75
    q, k, v, o = run("flash_decode.tl", "QKVO", f"D={depth}", f"GROUP={group}", "SPLITS=3", "B=2", "HKV=1", f"Sk={keys}", "BN=16")
    for b in range(2):
        for g in range(group):
            scores = [sum(q[b, 0, g, d] * k[b, 0, j, d] for d in range(depth)) / math.sqrt(depth) for j in range(keys)]
            weights = softmax(scores)
            for d in range(depth):
                close("flash_decode", o[b, 0, g, d], sum(w * v[b, 0, j, d] for j, w in enumerate(weights)))


def check_matmul(layout):
    m, n, k = 19, 24, 40
    a, b, bias, c = run("matmul.tl", ["A", "B", "bias", "C"], f"M={m}", f"N={n}", f"K={k}", "BM=16", "BN=16", "BK=16",
                        f"LAYOUT={layout}", "BIAS=true", "ACTIVATION=silu", "ALIGN=1")
    for i in range(m):
        for j in range(n):
            x = bias[j,] + sum((a[p, i] if layout[0] == "t" else a[i, p]) * (b[j, p] if layout[1] == "t" else b[p, j]) for p in range(k))
            close(f"matmul {layout}", c[i, j], x / (1 + math.exp(-x)))


def check_rows():
    rows, columns = 5, 37
    x, y = run("softmax.tl", "XY", f"M={rows}", f"N={columns}", "BN=16", "ROWS=2")
    for i in range(rows):
        for j, wanted in enumerate(softmax([x[i, p] for p in range(columns)])):
            close("softmax", y[i, j], wanted)
    x, weight, y = run("rmsnorm.tl", ["X", "weight", "Y"], f"M={rows}", f"N={columns}", "BN=16", "ROWS=2")
    for i in range(rows):
        scale = 1 / math.sqrt(sum(x[i, j] ** 2 for j in range(columns)) / columns + 1e-6)
        for j in range(columns):
            close("rmsnorm", y[i, j], x[i, j] * scale * weight[j,])
    x, y = run("cumsum.tl", "XY", f"M={rows}", f"N={columns}", "BN=16", "ROWS=2")
    for i in range(rows):
        for j in range(columns):
            close("cumsum", y[i, j], sum(x[i, p] for p in range(j + 1)))
    x, y = run("transpose.tl", "XY", f"M={rows}", f"N={columns}", "BM=16", "BN=16")
    for i in range(rows):
        for j in range(columns):
            close("transpose", y[j, i], x[i, j], 0)


def check_swiglu():
    m, n, k = 9, 16, 24
    a, gate, up, c = run("swiglu.tl", ["A", "gate", "up", "C"], f"M={m}", f"N={n}", f"K={k}", "BM=16", "BN=16", "BK=16")
    for i in range(m):
        for j in range(n):
            g = sum(a[i, p] * gate[j, p] for p in range(k))
            close("swiglu", c[i, j], g / (1 + math.exp(-g)) * sum(a[i, p] * up[j, p] for p in range(k)))


def check_quantised():
    m, n, k, group = 5, 16, 64, 32
    for mode, zero in (("none", False), ("original", True), ("rescale", True), ("quantized", True)):
        names = ["A", "W", "S", "C"] + ["Z"] * zero
        a, w, s, c, *z = run("matmul_w4a16.tl", names, f"M={m}", f"N={n}", f"K={k}", f"G={group}", f"ZERO={mode}", "WT=u4",
                             "OFFSET=0", "BM=16", "BN=16", "BK=32")
        for i in range(m):
            for j in range(n):
                total = 0
                for p in range(k):
                    q, scale, zero_point = w[j, p], s[j, p // group], z[0][j, p // group] if z else 0
                    total += a[i, p] * (q * scale - zero_point if mode == "rescale" else (q - zero_point) * scale)
                close(f"matmul_w4a16 {mode}", c[i, j], total, 0.05)
    a, w, row, channel, c = run("matmul_w2a8.tl", ["A", "W", "row", "channel", "C"], f"M={m}", f"N={n}", f"K={k}", "BM=16",
                                "BN=16", "BK=32")
    for i in range(m):
        for j in range(n):
            close("matmul_w2a8", c[i, j], sum(a[i, p] * w[j, p] for p in range(k)) * row[i,] * channel[j,])


for queries, keys, causal, bshd in ((20, 37, False, False), (37, 37, True, True), (40, 21, True, False), (5, 37, True, False)):
    check_flash(queries, keys, int(causal), bshd)
check_decode_attention()
for layout in ("nt", "nn", "tn", "tt"):
    check_matmul(layout)
check_rows()
check_swiglu()
check_quantised()
