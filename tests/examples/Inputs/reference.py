"""What each example computes, in float64 from its definition.

A reference takes the case (its params and sizes) and the values of the inputs, and gives for each output the expected
values and the size of what was summed to get each: rounding errors inside the kernel are proportional to that, not to
the result, which may have cancelled. A third array is the error that the thread form may add: decodes into registers
round between their steps."""

import math

import numpy

import types_of_elements as numbers


def sigmoid(x):
    return 1 / (1 + numpy.exp(-x))


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return 0.5 * x * (1 + numpy.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


ACTIVATIONS = {"identity": lambda x: x, "relu": lambda x: numpy.maximum(x, 0), "gelu": gelu, "silu": silu}


def matmul(case, A, B, bias=None, C=None):
    A = A.T if case["LAYOUT"][0] == "t" else A
    B = B.T if case["LAYOUT"][1] == "t" else B
    product, size = A @ B, abs(A) @ abs(B)
    if bias is not None:
        product, size = product + bias, size + abs(bias)
    if C is not None:
        product, size = product + C, size + abs(C)
    return {"C": (ACTIVATIONS[case["ACTIVATION"]](product), 1.2 * size)}


def dequantised(case, W, S, Z=None):
    """The weights, rounded to the type of the activations once, and what is lost when every step is rounded."""
    along = numpy.arange(W.shape[1]) // case["G"]
    W = W - case["OFFSET"]
    S = S[:, along]
    Z = None if Z is None else Z[:, along]
    mode = case["ZERO"]
    value = W * S if mode == "none" else W * S - Z if mode == "rescale" else (W - Z) * S
    lost = 2 * abs(value) + abs(W * S) if mode == "rescale" else 2 * abs(value) if mode == "original" else 0 * value
    return numbers.rounded(case["T"], value), numbers.unit(case["T"]) * lost


def matmul_w4a16(case, A, W, S, Z=None, bias=None):
    B, lost = dequantised(case, W, S, Z)
    product, size = A @ B.T, abs(A) @ abs(B).T
    if bias is not None:
        product, size = product + bias, size + abs(bias)
    return {"C": (product, size, abs(A) @ lost.T)}


def matmul_nf4(case, A, W, absmax):
    B, _ = dequantised({**case, "OFFSET": 0, "ZERO": "none"}, W, absmax)
    size = abs(A) @ abs(B).T
    return {"C": (A @ B.T, size, 3 * numbers.unit(case["T"]) * size)}  # table, scale and product are rounded


def matmul_w2a8(case, A, W, row, channel):
    product = A @ (W - case["OFFSET"]).T * row[:, None] * channel[None, :]
    return {"C": (product, abs(product))}


def gelu_tanh(x):
    return 0.5 * x * (1 + numpy.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def matmul_gelu_residual(case, A, B, bias, R):
    x, size = A @ B.T + bias, abs(A) @ abs(B).T + abs(bias)
    return {"C": ((gelu if case["GELU"] == "erf" else gelu_tanh)(x) + R, 1.2 * size + abs(R))}


def swiglu(case, A, gate, up):
    g, u = A @ gate.T, A @ up.T
    size = 1.2 * (abs(A) @ abs(gate).T) * abs(u) + abs(silu(g)) * (abs(A) @ abs(up).T)
    return {"C": (silu(g) * u, size)}


def softmax(case, X):
    exponent = X * case["SCALE"]
    weights = numpy.exp(exponent - exponent.max(axis=1, keepdims=True, initial=-math.inf))
    Y = weights / weights.sum(axis=1, keepdims=True)
    return {"Y": (Y, Y)}


def rmsnorm(case, X, weight, R=None):
    total = X if R is None else X + R
    kept = X if R is None else numbers.rounded(case["T"], total)
    scale = 1 / numpy.sqrt((total * total).mean(axis=1, keepdims=True) + case["EPSILON"])
    Y = kept * scale * weight
    if R is None:
        return {"Y": (Y, abs(Y))}
    return {"Y": (Y, abs(Y)), "R": (total, abs(total))}


def transpose(case, X):
    return {"Y": (X.T, 0 * X.T)}


def cumsum(case, X):
    return {"Y": (X.cumsum(axis=1), abs(X).cumsum(axis=1))}


def attention(Q, K, V, seen, scale, capped=lambda scores: scores):
    """Q [B, H, Sq, D], K and V [B, H, Sk, D], seen [.., Sq, Sk]: outputs, their sizes, logarithms of the sums."""
    with numpy.errstate(divide="ignore", invalid="ignore"):
        scores = numpy.where(seen, capped(Q @ K.swapaxes(2, 3) * scale), -math.inf)
        top = scores.max(axis=3, keepdims=True, initial=-math.inf)
        weights = numpy.where(seen, numpy.exp(scores - top), 0)
        total = weights.sum(axis=3, keepdims=True)
        weights = numpy.where(total > 0, weights / total, 0)
        logarithm = (top + numpy.log(total))[..., 0]
    return weights @ V, weights @ abs(V), logarithm


def flash_attention(case, Q, K, V):
    if case["LAYOUT"] == "bshd":
        Q, K, V = (x.swapaxes(1, 2) for x in (Q, K, V))
    shared = Q.shape[1] // K.shape[1]
    K, V = K.repeat(shared, axis=1), V.repeat(shared, axis=1)
    queries, keys = Q.shape[2], K.shape[2]
    seen = numpy.ones((queries, keys), bool)
    if case["CAUSAL"]:
        seen = numpy.arange(keys)[None, :] <= numpy.arange(queries)[:, None] + keys - queries
    O, size, lse = attention(Q, K, V, seen, case.get("SCALE", 1 / math.sqrt(case["D"])))
    if case["LAYOUT"] == "bshd":
        O, size = O.swapaxes(1, 2), size.swapaxes(1, 2)
    outputs = {"O": (O, size)}
    if case["LSE"]:
        outputs["lse"] = (lse, 4 + 0 * lse)
    return outputs


def attention_window(case, Q, K, V):
    shared, cap, scale = Q.shape[1] // K.shape[1], float(case["CAP"]), case.get("SCALE", 1 / math.sqrt(case["D"]))
    K, V = K.repeat(shared, axis=1), V.repeat(shared, axis=1)
    key, last = numpy.arange(K.shape[2])[None, :], numpy.arange(Q.shape[2])[:, None] + K.shape[2] - Q.shape[2]
    seen = (key <= last) & (key > last - case["WINDOW"])
    O, size, _ = attention(Q, K, V, seen, scale, lambda scores: cap * numpy.tanh(scores / cap) if cap else scores)
    return {"O": (O, size)}


def flash_decode(case, Q, K, V, lengths=None):
    keys = numpy.arange(K.shape[2])[None, None, None, :]
    length = K.shape[2] if lengths is None else lengths[:, None, None, None]
    O, size, _ = attention(Q, K, V, keys < length, 1 / math.sqrt(case["D"]))
    return {"O": (O, size)}
