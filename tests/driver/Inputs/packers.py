"""Packs random weights the way each format's own tools do, converts the file with `bitblasc repack`, and compares what the
result means with what was packed. Nothing is shared with the library: the packers restate those of the formats, as loops.

usage: packers.py BITBLASC FOLDER"""

import json
import math
import random
import struct
import subprocess
import sys

bitblasc, folder = sys.argv[1:]
N, K, G = 64, 256, 32
random.seed(7)


def codes_of(bits, rows=N, columns=K):
    return [[random.randrange(1 << bits) for _ in range(columns)] for _ in range(rows)]


def halves(rows, columns, low=0.5, high=2.0):
    """Numbers that are exact in f16."""
    return [[struct.unpack("<e", struct.pack("<e", random.uniform(low, high)))[0] for _ in range(columns)]
            for _ in range(rows)]


def flat(matrix):
    return [value for row in matrix for value in row]


def pack_words(values, bits):
    """A stream of bits, little end first, in 32-bit words."""
    stream = sum(value << (bits * i) for i, value in enumerate(values))
    return [stream >> (32 * i) & 0xFFFFFFFF for i in range(len(values) * bits // 32)]


def tensor(dtype, shape, values):
    letter = {"I32": "I", "I64": "q", "F16": "e", "F32": "f", "U8": "B", "I8": "B", "F8_E4M3": "B"}[dtype]
    return dtype, shape, struct.pack("<%d%s" % (len(values), letter), *values)


def e4m3(code):
    sign, exponent, mantissa = code >> 7, code >> 3 & 15, code & 7
    value = mantissa / 8 * 2.0**-6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    return -value if sign else value


E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
E2M1 += [-value for value in E2M1]
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]


# Each returns (tensors below "p.", metadata, the weight).
def gptq(bits, version, order):
    q, s = codes_of(bits), halves(K // G, N)
    z = [[random.randrange(1, 1 << bits) for _ in range(N)] for _ in range(K // G)]
    g_idx = [k // G for k in range(K)]
    if order:
        random.shuffle(g_idx)
    columns = [pack_words(q[n], bits) for n in range(N)]
    stored = [[value - (version == 1) for value in row] for row in z]
    tensors = {".qweight": tensor("I32", [K * bits // 32, N], [columns[n][w] for w in range(K * bits // 32) for n in range(N)]),
               ".qzeros": tensor("I32", [K // G, N * bits // 32], flat([pack_words(row, bits) for row in stored])),
               ".scales": tensor("F16", [K // G, N], flat(s)), ".g_idx": tensor("I32", [K], g_idx)}
    w = [[s[g_idx[k]][n] * (q[n][k] - z[g_idx[k]][n]) for k in range(K)] for n in range(N)]
    return tensors, {"checkpoint_format": "gptq" if version == 1 else "gptq_v2"}, w


def awq():
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    q, s, z = codes_of(4, K, N), halves(K // G, N), codes_of(4, K // G, N)
    pack = lambda row: [sum(row[8 * c + order[i]] << (4 * i) for i in range(8)) for c in range(N // 8)]
    tensors = {".qweight": tensor("I32", [K, N // 8], flat([pack(row) for row in q])),
               ".qzeros": tensor("I32", [K // G, N // 8], flat([pack(row) for row in z])),
               ".scales": tensor("F16", [K // G, N], flat(s))}
    return tensors, {}, [[s[k // G][n] * (q[k][n] - z[k // G][n]) for k in range(K)] for n in range(N)]


def packed(bits, symmetric, dense):
    half, per = 1 << (bits - 1), 32 // bits
    columns = K - 3 # rows end within a word
    groups = -(-columns // G)
    q, s = codes_of(bits, N, columns), halves(N, groups)
    z = codes_of(bits, N, groups)

    def pack(row):
        if dense:
            return pack_words(row + [0] * (-len(row) % 32), bits)[: -(-len(row) * bits // 32)]
        row = row + [0] * (-len(row) % per)
        return [sum(row[i + j] << (bits * j) for j in range(per)) for i in range(0, len(row), per)]

    words = [pack(row) for row in q]
    zeros = [pack([z[n][g] for n in range(N)]) for g in range(groups)]
    tensors = {".weight_packed": tensor("I32", [N, len(words[0])], flat(words)),
               ".weight_shape": tensor("I64", [2], [N, columns]),
               ".weight_scale": tensor("F16", [N, groups], flat(s))}
    if not symmetric:
        tensors[".weight_zero_point"] = tensor("I32", [len(zeros[0]), groups],
                                               [zeros[g][i] for i in range(len(zeros[0])) for g in range(groups)])
    zero = lambda n, g: half if symmetric else z[n][g]
    w = [[s[n][k // G] * (q[n][k] - zero(n, k // G)) for k in range(columns)] for n in range(N)]
    return tensors, {"group_size": str(G), "bits": str(bits)}, w


def hqq(bits):
    rows = N * K // G
    q, s, z = codes_of(bits, rows, G), halves(rows, 1), halves(rows, 1, 0, 7)
    parts = 10 if bits == 3 else 8 // bits
    step = -(-rows // parts)
    padded = q + [[0] * G for _ in range(parts * step - rows)]
    words = [[sum(padded[p * step + r][c] << (bits * (parts - 1 - p)) for p in range(parts)) for c in range(G)]
             for r in range(step)]
    tensors = {".W_q": tensor("I32" if bits == 3 else "U8", [step, G], flat(words)), ".shape": tensor("I64", [2], [N, K]),
               ".scale": tensor("F16", [rows, 1], flat(s)), ".zero": tensor("F16", [rows, 1], flat(z)),
               ".nbits": tensor("I32", [], [bits]), ".axis": tensor("I32", [], [1])}
    values = [(q[r][c] - z[r][0]) * s[r][0] for r in range(rows) for c in range(G)]
    return tensors, {}, [values[n * K : (n + 1) * K] for n in range(N)]


def bitnet(linear_class):
    w = [[random.choice((-1, 0, 1)) for _ in range(K)] for _ in range(N)]
    quarter, scale = N // 4, 1.5
    data = [sum((w[r + i * quarter][k] + 1) << (2 * i) for i in range(4)) for r in range(quarter) for k in range(K)]
    tensors = {".weight": tensor("U8", [quarter, K], data), ".weight_scale": tensor("F32", [1], [scale])}
    factor = scale if linear_class == "autobitlinear" else 1 / scale
    return tensors, {"linear_class": linear_class}, [[value * factor for value in row] for row in w]


def pairs(row):
    return [row[i] | row[i + 1] << 4 for i in range(0, len(row), 2)]


def mxfp4():
    q = codes_of(4)
    s = [[random.randrange(118, 136) for _ in range(K // 32)] for _ in range(N)]
    tensors = {"_blocks": tensor("U8", [1, N, K // 32, 16], flat([pairs(row) for row in q])),
               "_scales": tensor("U8", [1, N, K // 32], flat(s))}
    return tensors, {}, [[E2M1[q[n][k]] * 2.0 ** (s[n][k // 32] - 127) for k in range(K)] for n in range(N)]


def nvfp4(compressed):
    q, whole = codes_of(4), 6.5
    s = [[random.randrange(0x28, 0x50) for _ in range(K // 16)] for _ in range(N)]
    tensors = {".weight_packed" if compressed else ".weight": tensor("U8", [N, K // 2], flat([pairs(row) for row in q])),
               ".weight_scale": tensor("F8_E4M3", [N, K // 16], flat(s)),
               ".weight_global_scale" if compressed else ".weight_scale_2": tensor("F32", [1], [whole])}
    factor = 1 / whole if compressed else whole
    return tensors, {}, [[E2M1[q[n][k]] * e4m3(s[n][k // 16]) * factor for k in range(K)] for n in range(N)]


def nf4(nested):
    block, rows, columns = 64, 48, 80 # blocks cross rows
    q = codes_of(4, 1, rows * columns)[0]
    count, offset = rows * columns // block, 0.25
    data = [q[i] << 4 | q[i + 1] for i in range(0, len(q), 2)]
    state = {"blocksize": block, "shape": [rows, columns], "dtype": "float16", "quant_type": "nf4"}
    tensors = {".weight": tensor("U8", [len(data), 1], data), ".weight.quant_map": tensor("F32", [16], NF4)}
    if nested:
        table, inner = [i / 128 for i in range(256)], [1.5, 0.5]
        stored = [random.randrange(256) for _ in range(count)]
        scales = [table[code] * inner[i // 32] + offset for i, code in enumerate(stored)]
        tensors.update({".weight.absmax": tensor("U8", [count], stored), ".weight.nested_absmax": tensor("F32", [2], inner),
                        ".weight.nested_quant_map": tensor("F32", [256], table)})
        state.update(nested_blocksize=32, nested_offset=offset)
    else:
        scales = flat(halves(1, count))
        tensors[".weight.absmax"] = tensor("F32", [count], scales)
    text = json.dumps(state).encode()
    tensors[".weight.quant_state.bitsandbytes__nf4"] = ("U8", [len(text)], text)
    values = [NF4[code] * scales[i // block] for i, code in enumerate(q)]
    return tensors, {}, [values[n * columns : (n + 1) * columns] for n in range(rows)]


def fp8():
    rows, columns = 130, 200
    q = [[random.choice((random.randrange(0x7F), random.randrange(0x80, 0xFF))) for _ in range(columns)] for _ in range(rows)]
    s = halves(2, 2)
    tensors = {".weight": tensor("F8_E4M3", [rows, columns], flat(q)), ".weight_scale_inv": tensor("F32", [2, 2], flat(s))}
    return tensors, {}, [[e4m3(q[n][k]) * s[n // 128][k // 128] for k in range(columns)] for n in range(rows)]


def bitblas(bits, activation):
    """interleave_weight of the original's quantization/utils.py: first the general step, then its two shuffles."""
    q, s, z = codes_of(bits), halves(N, K // G), halves(N, K // G, 0, 3)
    lanes, mask = 32 // activation, (1 << bits) - 1
    per = activation // bits

    def interleave(word):
        out = 0
        for i in range(lanes):
            for j in range(per):
                element = i * per + j
                out |= (word >> (bits * element) & mask) << ((element % lanes) * activation + (element // lanes) * bits)
        field = lambda width, i: out >> (width * i) & ((1 << width) - 1)
        if bits == 1 and activation == 16:
            order, width = [0, 4, 1, 5, 2, 6, 3, 7], 4
        elif bits == 2 and activation == 16:
            order, width = [0, 2, 1, 3], 8
        elif bits == 1 and activation == 8:
            order, width = [0, 4, 2, 6, 1, 5, 3, 7], 4
        else:
            return out
        return sum(field(width, source) << (width * i) for i, source in enumerate(order))

    words = flat([[interleave(word) for word in pack_words(row, bits)] for row in q])
    data = struct.pack("<%dI" % len(words), *words)
    tensors = {".qweight": ("I8", [N, K * bits // 8], data), ".scales": tensor("F16", [N, K // G], flat(s)),
               ".zeros": tensor("F16", [N, K // G], flat(z))}
    w = [[(q[n][k] - z[n][k // G]) * s[n][k // G] for k in range(K)] for n in range(N)]
    return tensors, {"bits": str(bits)}, w


# GGUF: a block's bytes and its values.
def half():
    return halves(1, 1, 0.01, 0.1)[0][0]


def q4_0():
    d, q = half(), codes_of(4, 1, 32)[0]
    return struct.pack("<e", d) + bytes(q[j] | q[j + 16] << 4 for j in range(16)), [(x - 8) * d for x in q]


def q8_0():
    d, q = half(), [random.randrange(-128, 128) for _ in range(32)]
    return struct.pack("<e32b", d, *q), [x * d for x in q]


def q4_k():
    d, m, q = half(), half(), codes_of(4, 1, 256)[0]
    scales, mins = codes_of(6, 1, 8)[0], codes_of(6, 1, 8)[0]
    b = [0] * 12
    for j in range(4):
        b[j], b[j + 4] = scales[j], mins[j]
    for j in range(4, 8):
        b[j + 4] = (scales[j] & 15) | (mins[j] & 15) << 4
        b[j - 4] |= (scales[j] >> 4) << 6
        b[j] |= (mins[j] >> 4) << 6
    data = bytes(q[64 * c + i] | q[64 * c + 32 + i] << 4 for c in range(4) for i in range(32))
    return struct.pack("<ee", d, m) + bytes(b) + data, [d * scales[i // 32] * x - m * mins[i // 32] for i, x in enumerate(q)]


def q6_k():
    d, q, scales = half(), codes_of(6, 1, 256)[0], [random.randrange(-128, 128) for _ in range(16)]
    low, high = [0] * 128, [0] * 64
    for j in range(2):
        for i in range(32):
            x = [q[128 * j + 32 * row + i] for row in range(4)]
            low[64 * j + i] = (x[0] & 15) | (x[2] & 15) << 4
            low[64 * j + 32 + i] = (x[1] & 15) | (x[3] & 15) << 4
            high[32 * j + i] = x[0] >> 4 | x[1] >> 4 << 2 | x[2] >> 4 << 4 | x[3] >> 4 << 6
    data = bytes(low) + bytes(high) + struct.pack("<16be", *scales, d)
    return data, [d * scales[i // 16] * (x - 32) for i, x in enumerate(q)]


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, (dtype, shape, values) in tensors.items():
        header["p" + name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def write_gguf(path, number, block, elements):
    rows, columns, data, w = 3, 512, b"", []
    for _ in range(rows):
        blocks = [block() for _ in range(columns // elements)]
        data += b"".join(content for content, _ in blocks)
        w.append(flat([values for _, values in blocks]))
    name = b"p.weight"
    header = b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, len(name)) + name + struct.pack("<IQQIQ", 2, columns, rows, number, 0)
    with open(path, "wb") as file:
        file.write(header + b"\0" * (-len(header) % 32) + data)
    return w


def read_canonical(path):
    with open(path, "rb") as file:
        content = file.read()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])

    def get(part, letter):
        if "p." + part not in header:
            return None
        begin, end = header["p." + part]["data_offsets"]
        return [x for x, in struct.iter_unpack("<" + letter, content[8 + length + begin : 8 + length + end])]

    kind, rows, columns, group, mode = get("form", "q")
    stream = int.from_bytes(bytes(get("codes", "B")), "little")
    scales, zeros, table, order = get("scales", "f"), get("zeros", "f"), get("codebook", "f"), get("permutation", "i")
    signed, unsigned = 1 <= kind <= 8, 12 <= kind <= 19 # i1 .. i8, u1 .. u8 of bitblas.h
    bits = kind if signed else kind - 11 if unsigned else 4 if kind in (23, 34) else 8
    groups = -(-columns // group)
    data = stream.to_bytes((rows * columns * bits + 7) // 8 + 4, "little")
    w = [[0] * columns for _ in range(rows)]
    for n in range(rows):
        for k in range(columns):
            at = (n * columns + k) * bits
            code = int.from_bytes(data[at // 8 : at // 8 + 2], "little") >> (at % 8) & ((1 << bits) - 1)
            value = code
            if table:
                value = table[code]
            elif signed:
                value = code - (1 << bits) if code >> (bits - 1) else code
            elif kind == 23:
                value = E2M1[code]
            elif kind == 26:
                value = e4m3(code)
            scale, zero = scales[n * groups + k // group], zeros[n * groups + k // group] if zeros else 0
            w[n][order[k] if order else k] = value * scale - zero if mode == 2 else (value - zero) * scale
    return w


def check(name, path, w):
    out = folder + "/out.safetensors"
    subprocess.run([bitblasc, "repack", path, "-o", out], check=True, stdout=subprocess.DEVNULL)
    is_ = read_canonical(out)
    assert len(is_) == len(w) and len(is_[0]) == len(w[0]), name
    for n, row in enumerate(w):
        for k, wanted in enumerate(row):
            # Scales and zeros of ours are f32.
            assert math.isclose(is_[n][k], wanted, rel_tol=4e-6, abs_tol=1e-10), (name, n, k, is_[n][k], wanted)
    print(name, "agrees")


cases = {"gptq-%d-bit%s" % (bits, "-sorted" if order else ""): lambda b=bits, o=order: gptq(b, 1, o)
         for bits in (2, 3, 4, 8) for order in (False, True)}
cases.update({"gptq-v2": lambda: gptq(4, 2, True), "awq": awq, "mxfp4": mxfp4, "fp8-block": fp8})
cases.update({"pack-quantized-%d%s%s" % (bits, "s" if symmetric else "u", "d" if dense else ""):
              lambda b=bits, s=symmetric, d=dense: packed(b, s, d)
              for bits in (3, 4, 8) for symmetric in (False, True) for dense in (False, True)})
cases.update({"hqq-%d-bit" % bits: lambda b=bits: hqq(b) for bits in (1, 2, 3, 4, 8)})
cases.update({"bitnet-" + kind: lambda k=kind: bitnet(k) for kind in ("bitlinear", "autobitlinear")})
cases.update({"nvfp4": lambda: nvfp4(False), "nvfp4-packed": lambda: nvfp4(True), "nf4": lambda: nf4(False), "nf4-nested": lambda: nf4(True)})
cases.update({"bitblas-%d-bit" % bits: lambda b=bits: bitblas(b, 16) for bits in (1, 2, 4)})
for name, make in cases.items():
    tensors, metadata, w = make()
    write_safetensors(folder + "/in.safetensors", tensors, metadata)
    check(name, folder + "/in.safetensors", w)
for number, block, elements in ((2, q4_0, 32), (8, q8_0, 32), (12, q4_k, 256), (14, q6_k, 256)):
    w = write_gguf(folder + "/in.gguf", number, block, elements)
    check(block.__name__, folder + "/in.gguf", w)
