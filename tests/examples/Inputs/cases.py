"""What is tried of each example: the choices of its params and sizes, its tensors, and how exact it is.

Sizes surround the tiles: 1, a tile less one, a tile, one more, and primes. Those along loops make 0, 1, stages - 1,
stages and stages + 1 trips."""

import math

import types_of_elements as numbers

TARGETS = ["sm_80", "sm_89", "sm_90a"]
LEVELS = [0, 1, 2]


class Example:
    """choices  lists by name: sizes, params and tune values
    sizes    names of sizes: given at launch, or compiled in when the choice `bound` says so
    allowed  whether choices go together
    tensors  of a case: name -> (type, shape[, low, high]) of inputs
    outputs  of a case: name -> type, of inputs that are also written too
    step     of a case: the relative error of its sums
    more     cases beside those that are found: tune values that are left out are the file's own"""

    def __init__(self, choices, sizes, tensors, outputs, step, allowed=lambda case: True, more=()):
        self.choices = {"target": TARGETS, "level": LEVELS, "bound": [False, True], **choices}
        self.sizes, self.tensors, self.outputs, self.step = sizes, tensors, outputs, step
        self.goes_together = allowed
        self.more = [{"target": target, "level": 2, "bound": False, **case} for case in more for target in TARGETS]

    def allowed(self, case):
        """A size that is compiled in is at least 1."""
        empty = case["bound"] and any(case[size] == 0 for size in self.sizes)
        return not empty and self.goes_together(case)


def sum_step(kind):
    """The error of a sum of products on the tensor cores: f32 that truncates, and 14 bits for 8-bit floats on wgmma."""
    if numbers.is_integer(kind):
        return 0
    return 2.0 ** -12 if numbers.bits(kind) == 8 else 2.0 ** -18 if kind == "f32" else 2.0 ** -17


def matmul_out(case):
    if case["SPLIT"] > 1:
        return "f32"
    kind = case["T"]
    return kind if numbers.bits(kind) > 8 else "i32" if numbers.is_integer(kind) else "f16"


def matmul_tensors(case):
    M, N, K, T = (case[name] for name in "MNKT")
    a, b = case["LAYOUT"]
    tensors = {"A": (T, (K, M) if a == "t" else (M, K)), "B": (T, (N, K) if b == "t" else (K, N))}
    if case["BIAS"]:
        tensors["bias"] = (case["BIAS_T"], (N,))
    if case["SPLIT"] > 1:
        tensors["C"] = ("f32", (M, N))
    return tensors


def matmul_allowed(case):
    whole, bias = numbers.is_integer(case["T"]), case["BIAS_T"]
    align = case["ALIGN"]
    if align > 1:
        if align != 128 // numbers.bits(case["T"]) or case["N"] % align or case["K"] % align:
            return False
        if case["LAYOUT"][0] == "t" and case["M"] % align:
            return False
    if whole and (case["ACTIVATION"] in ("gelu", "silu") or case["SPLIT"] > 1):
        return False
    if case["BIAS"] and (bias == "i32") != whole:
        return False
    return case["SPLIT"] == 1 or (case["ACTIVATION"] == "identity" and not case["BIAS"])


PLAIN_MATMUL = {"T": "f16", "LAYOUT": "nt", "BIAS": False, "BIAS_T": "f16", "ACTIVATION": "identity", "SPLIT": 1}

MATMUL = Example(
    {"T": ["f16", "bf16", "f8e4m3", "f8e5m2", "i8", "u8", "f32", "tf32"], "LAYOUT": ["nt", "nn", "tn", "tt"],
     "BIAS": [False, True], "BIAS_T": ["f16", "f32", "i32"], "ACTIVATION": ["identity", "relu", "gelu", "silu"],
     "SPLIT": [1, 2, 3], "ALIGN": [1, 4, 8, 16], "stages": [1, 2, 3, 4], "BM": [64, 128], "BN": [64, 128],
     "BK": [32, 64], "M": [1, 16, 63, 64, 65, 80, 131], "N": [1, 16, 63, 64, 65, 80, 137],
     "K": [0, 1, 16, 32, 61, 64, 96, 128, 131, 160, 208]},
    "MNK", matmul_tensors, lambda case: {"C": matmul_out(case)}, lambda case: sum_step(case["T"]), matmul_allowed,
    # As the file is, and more tiles than a GPU has multiprocessors.
    [{**PLAIN_MATMUL, "M": 200, "N": 520, "K": 264},
     {**PLAIN_MATMUL, "LAYOUT": "tn", "BIAS": True, "ACTIVATION": "relu", "M": 136, "N": 264, "K": 520},
     {**PLAIN_MATMUL, "T": "bf16", "BM": 64, "BN": 64, "BK": 32, "stages": 3, "M": 832, "N": 704, "K": 72}])


def w4a16_tensors(case):
    M, N, K, T, WT = (case[name] for name in ("M", "N", "K", "T", "WT"))
    groups = K // case["G"]
    wide = 2.0 ** -(numbers.bits(WT) - 1) if numbers.is_integer(WT) else 0.25
    tensors = {"A": (T, (M, K)), "W": (WT, (N, K))}
    tensors["S"] = (case["ST"], (N, groups), wide, 2 * wide) if case["ST"] != "e8m0" else ("e8m0", (N, groups))
    if case["ZERO"] == "quantized":
        tensors["Z"] = (WT, (N, groups))
    elif case["ZERO"] != "none":
        tensors["Z"] = (T, (N, groups), -2, 2)
    if case["BIAS"]:
        tensors["bias"] = (T, (N,))
    return tensors


def w4a16_allowed(case):
    whole = numbers.is_integer(case["WT"])
    if not whole and (case["ZERO"] == "quantized" or case["OFFSET"]):
        return False
    return case["K"] % case["G"] == 0


PLAIN_W4A16 = {"T": "f16", "WT": "i4", "ST": "f16", "G": 128, "OFFSET": 0, "ZERO": "none", "BIAS": False}

MATMUL_W4A16 = Example(
    {"T": ["f16", "bf16"],
     "WT": ["i4", "u4", "i1", "u1", "i2", "u2", "u3", "i5", "u6", "i7", "i8", "u8", "f4e2m1", "f6e2m3", "f6e3m2",
            "f8e4m3", "f8e5m2"],
     "ST": ["f16", "f32", "bf16", "e8m0"], "G": [32, 64, 128], "OFFSET": [0, 1, 8],
     "ZERO": ["none", "original", "rescale", "quantized"], "BIAS": [False, True], "stages": [1, 2, 3, 4],
     "BM": [64, 128], "BN": [64, 128], "BK": [64, 128], "M": [1, 15, 63, 64, 65, 131], "N": [8, 56, 64, 72, 136],
     "K": [0, 32, 64, 128, 192, 224, 256, 384]},
    "MNK", w4a16_tensors, lambda case: {"C": case["T"]}, lambda case: 2.0 ** -17, w4a16_allowed,
    [{**PLAIN_W4A16, "M": 264, "N": 136, "K": 512}, {**PLAIN_W4A16, "M": 16, "N": 264, "K": 1024},
     {**PLAIN_W4A16, "WT": "u4", "ZERO": "quantized", "BM": 64, "BN": 64, "M": 832, "N": 704, "K": 128}])

MATMUL_NF4 = Example(
    {"T": ["bf16", "f16"], "G": [32, 64, 128], "stages": [1, 2, 3, 4], "BM": [64, 128], "BN": [64, 128],
     "BK": [64, 128], "M": [1, 15, 63, 64, 65, 131], "N": [8, 56, 64, 72, 136], "K": [0, 32, 64, 128, 192, 224, 256]},
    "MNK", lambda case: {"A": (case["T"], (case["M"], case["K"])), "W": ("nf4", (case["N"], case["K"])),
                         "absmax": ("f32", (case["N"], case["K"] // case["G"]), 0.5, 2)},
    lambda case: {"C": case["T"]}, lambda case: 2.0 ** -17, lambda case: case["K"] % case["G"] == 0,
    [{"T": "bf16", "G": 64, "M": 136, "N": 264, "K": 576}])

MATMUL_W2A8 = Example(
    {"WT": ["i2", "u2", "i4", "u4", "u1", "i1", "i8"], "OUT": ["f16", "bf16", "f32"], "OFFSET": [0, 1],
     "stages": [1, 2, 3, 4], "BM": [64, 128], "BN": [64, 128], "BK": [64, 128], "M": [1, 15, 63, 64, 65, 131],
     "N": [8, 56, 64, 72, 136], "K": [0, 64, 128, 192, 256, 320]},
    "MNK", lambda case: {"A": ("i8", (case["M"], case["K"])), "W": (case["WT"], (case["N"], case["K"])),
                         "row": ("f32", (case["M"],), 1e-3, 1e-2), "channel": ("f32", (case["N"],), 1e-3, 1e-2)},
    lambda case: {"C": case["OUT"]}, lambda case: 2.0 ** -22,
    lambda case: not (case["WT"] == "i8" and case["OFFSET"]),
    [{"WT": "i2", "OUT": "f16", "OFFSET": 0, "M": 136, "N": 264, "K": 576}])

MATMUL_GELU_RESIDUAL = Example(
    {"T": ["f16", "bf16"], "GELU": ["tanh", "erf"], "stages": [1, 2, 3, 4], "BM": [64, 128], "BN": [64, 128],
     "BK": [32, 64], "M": [1, 15, 63, 64, 65, 131], "N": [8, 56, 64, 72, 136],
     "K": [0, 8, 24, 32, 64, 96, 104, 128, 160]},
    "MNK", lambda case: {"A": (case["T"], (case["M"], case["K"])), "B": (case["T"], (case["N"], case["K"])),
                         "bias": (case["T"], (case["N"],)), "R": (case["T"], (case["M"], case["N"]))},
    lambda case: {"C": case["T"]}, lambda case: 2.0 ** -16,
    more=[{"T": "f16", "GELU": "tanh", "M": 200, "N": 328, "K": 136}])

SWIGLU = Example(
    {"T": ["f16", "bf16"], "stages": [1, 2, 3, 4], "BM": [64, 128], "BN": [64, 128], "BK": [32, 64],
     "M": [1, 15, 63, 64, 65, 131], "N": [8, 56, 64, 72, 136], "K": [0, 8, 24, 32, 64, 96, 104, 128, 160]},
    "MNK", lambda case: {"A": (case["T"], (case["M"], case["K"])), "gate": (case["T"], (case["N"], case["K"])),
                         "up": (case["T"], (case["N"], case["K"]))},
    lambda case: {"C": case["T"]}, lambda case: 2.0 ** -16, more=[{"T": "f16", "M": 200, "N": 328, "K": 136}])

ROWS = {"M": [0, 1, 3, 4, 5, 13], "N": [1, 2, 127, 128, 129, 256, 331, 512], "ROWS": [1, 4], "BN": [128, 256]}

SOFTMAX = Example(
    {**ROWS, "T": ["f16", "bf16", "f32"], "SCALE": [1.0, 0.125]},
    "MN", lambda case: {"X": (case["T"], (case["M"], case["N"]))}, lambda case: {"Y": case["T"]},
    lambda case: 2.0 ** -18, more=[{"T": "f16", "SCALE": 1.0, "M": 9, "N": 2500}, {"T": "f16", "SCALE": 1.0, "M": 2, "N": 8500}])


def rmsnorm_tensors(case):
    M, N, T = case["M"], case["N"], case["T"]
    tensors = {"X": (T, (M, N)), "weight": (T, (N,))}
    if case["RESIDUAL"]:
        tensors["R"] = (T, (M, N))
    return tensors


RMSNORM = Example(
    {**ROWS, "T": ["f16", "bf16", "f32"], "RESIDUAL": [False, True], "EPSILON": [1e-6, 0.1]},
    "MN", rmsnorm_tensors,
    lambda case: {"Y": case["T"], "R": case["T"]} if case["RESIDUAL"] else {"Y": case["T"]},
    lambda case: 2.0 ** -18 + (2.01 * numbers.unit(case["T"]) if case["RESIDUAL"] else 0),
    more=[{"T": "f16", "RESIDUAL": True, "EPSILON": 1e-6, "M": 9, "N": 2500},
          {"T": "f16", "RESIDUAL": False, "EPSILON": 1e-6, "M": 2, "N": 8500}])

CUMSUM = Example(
    {**ROWS, "T": ["f32", "f16", "bf16"]}, "MN", lambda case: {"X": (case["T"], (case["M"], case["N"]))},
    lambda case: {"Y": case["T"]}, lambda case: 2.0 ** -18, more=[{"T": "f32", "M": 9, "N": 2500}])

TRANSPOSE = Example(
    {"T": ["f16", "bf16", "f32", "i8", "f8e4m3", "i32"], "BM": [32, 64], "BN": [32, 64],
     "M": [0, 1, 31, 32, 33, 64, 96, 131], "N": [1, 8, 31, 32, 33, 64, 80, 137]},
    "MN", lambda case: {"X": (case["T"], (case["M"], case["N"]))}, lambda case: {"Y": case["T"]}, lambda case: 0,
    more=[{"T": "f16", "M": 200, "N": 136}])


def flash_attention_tensors(case):
    queries, keys = (case["B"], case["H"], case["Sq"], case["D"]), (case["B"], case["HKV"], case["Sk"], case["D"])
    if case["LAYOUT"] == "bshd":
        queries, keys = ((s[0], s[2], s[1], s[3]) for s in (queries, keys))
        queries, keys = tuple(queries), tuple(keys)
    return {"Q": (case["T"], queries), "K": (case["T"], keys), "V": (case["T"], keys)}


def attention_step(case):
    return 1.5 * numbers.unit(case["T"]) + 2.0 ** -14  # the weights are rounded before the second product


FLASH_ATTENTION = Example(
    {"T": ["f16", "bf16"], "D": [32, 64, 128], "LAYOUT": ["bhsd", "bshd"], "CAUSAL": [False, True],
     "LSE": [False, True], "stages": [1, 2, 3], "BM": [64, 128], "BN": [32, 64], "B": [1, 2], "H": [2, 4],
     "HKV": [1, 2], "Sq": [1, 63, 64, 65, 131], "Sk": [0, 1, 31, 32, 33, 64, 96, 128, 131]},
    ["B", "H", "HKV", "Sq", "Sk"], flash_attention_tensors,
    lambda case: {"O": case["T"], "lse": "f32"} if case["LSE"] else {"O": case["T"]}, attention_step,
    more=[{"T": "f16", "D": 128, "LAYOUT": "bhsd", "CAUSAL": causal, "LSE": False, "B": 1, "H": 2, "HKV": 1, "Sq": 200,
           "Sk": 328} for causal in (False, True)] +
         # scores far apart, so that maxima found late, and sums out of range, are met
         [{"T": T, "D": 64, "LAYOUT": "bhsd", "CAUSAL": causal, "LSE": True, "GUESS": True,
           "SCALE": scale, "B": 1, "H": 2, "HKV": 1, "Sq": 150, "Sk": 456}
          for scale in (0.5, 4.0, 64.0) for T, causal in (("f16", False), ("bf16", True))])


def window_step(case):
    """With a large cap tanh is a polynomial up to 0.7, wrong by 1.7e-4 of it: so is the exponent of a weight."""
    if float(case["CAP"]) < 30:
        return attention_step(case)
    largest = min(4 * case.get("SCALE", 1 / math.sqrt(case["D"])) * math.sqrt(case["D"]), 0.7 * float(case["CAP"]))
    return attention_step(case) + 1.7e-4 * largest


ATTENTION_WINDOW = Example(
    {"T": ["f16", "bf16"], "D": [32, 64, 128], "WINDOW": [1, 33, 64, 100], "CAP": ["0.0", "2.0", "50.0"],
     "stages": [1, 2, 3], "BM": [64, 128], "BN": [32, 64], "B": [1, 2], "H": [2, 4], "HKV": [1, 2],
     "Sq": [1, 63, 64, 65, 131], "Sk": [0, 1, 31, 32, 33, 64, 96, 128, 131, 257]},
    ["B", "H", "HKV", "Sq", "Sk"], lambda case: flash_attention_tensors({**case, "LAYOUT": "bhsd"}),
    lambda case: {"O": case["T"]}, window_step,
    more=[{"T": "f16", "D": 128, "WINDOW": 150, "CAP": "50.0", "B": 1, "H": 2, "HKV": 1, "Sq": 200, "Sk": 328}] +
         # scores below and beyond what the cap is approximated for, and sums out of range
         [{"T": T, "D": 64, "WINDOW": 300, "CAP": cap, "SCALE": scale, "B": 1, "H": 2, "HKV": 1, "Sq": 150, "Sk": 456}
          for scale in (0.5, 4.0, 64.0) for T, cap in (("f16", "50.0"), ("bf16", "50.0"), ("f16", "0.0"))])


def flash_decode_tensors(case):
    B, HKV, G, D, Sk = (case[name] for name in ("B", "HKV", "GROUP", "D", "Sk"))
    tensors = {"Q": (case["T"], (B, HKV, G, D)), "K": (case["T"], (B, HKV, Sk, D)), "V": (case["T"], (B, HKV, Sk, D))}
    if case["RAGGED"]:
        tensors["lengths"] = ("i32", (B,), 0, Sk)
    return tensors


FLASH_DECODE = Example(
    {"T": ["f16", "bf16"], "D": [32, 64, 128], "GROUP": [1, 4, 8, 16], "SPLITS": [1, 2, 5], "RAGGED": [False, True],
     "stages": [1, 2, 3], "BM": [16], "BN": [32, 64], "B": [1, 2, 3], "HKV": [1, 2],
     "Sk": [0, 1, 31, 32, 33, 64, 96, 128, 131, 257]},
    ["B", "HKV", "Sk"], flash_decode_tensors, lambda case: {"O": case["T"]}, attention_step,
    more=[{"T": "f16", "D": 128, "GROUP": 8, "SPLITS": 8, "RAGGED": ragged, "B": 2, "HKV": 2, "Sk": 1500}
          for ragged in (False, True)])

EXAMPLES = {"matmul": MATMUL, "matmul_w4a16": MATMUL_W4A16, "matmul_nf4": MATMUL_NF4, "matmul_w2a8": MATMUL_W2A8,
            "matmul_gelu_residual": MATMUL_GELU_RESIDUAL, "swiglu": SWIGLU, "softmax": SOFTMAX, "rmsnorm": RMSNORM,
            "cumsum": CUMSUM, "transpose": TRANSPOSE, "flash_attention": FLASH_ATTENTION,
            "attention_window": ATTENTION_WINDOW, "flash_decode": FLASH_DECODE}
