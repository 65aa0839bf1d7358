"""The element types of the language, written down once more from their definitions: what a code means, and rounding."""

import numpy

# name: (exponent bits, mantissa bits)
FLOATS = {"f4e2m1": (2, 1), "f6e2m3": (2, 3), "f6e3m2": (3, 2), "f8e4m3": (4, 3), "f8e5m2": (5, 2), "f16": (5, 10),
          "bf16": (8, 7), "tf32": (8, 10), "f32": (8, 23)}

# The quantiles of a normal distribution (Dettmers et al., QLoRA, appendix E).
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
       -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
       0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]


def is_integer(kind):
    return kind[0] in "iu"


def bits(kind):
    """The bits of one element in memory."""
    if is_integer(kind):
        return int(kind[1:])
    if kind in FLOATS and kind != "tf32":
        return 1 + sum(FLOATS[kind])
    return {"tf32": 32, "e8m0": 8, "nf4": 4}[kind]


def unit(kind):
    """Half the distance of neighbours at 1: the relative error of rounding. Zero for integers."""
    return 0.0 if is_integer(kind) else 2.0 ** -(FLOATS[kind][1] + 1)


def smallest(kind):
    """The least positive number, half of which is the greatest error of rounding near zero."""
    if is_integer(kind):
        return 0.0
    exponent, mantissa = FLOATS[kind]
    return 2.0 ** (2 - 2 ** (exponent - 1) - mantissa)


def rounded(kind, values):
    """The nearest values of a float type, ties to even. No overflow: none of the tests goes there."""
    exponent, mantissa = FLOATS[kind]
    values = numpy.asarray(values, numpy.float64)
    scale = numpy.frexp(values)[1] - 1
    step = numpy.exp2((numpy.maximum(scale, 2 - 2 ** (exponent - 1)) - mantissa).astype(numpy.float64))
    return numpy.rint(values / step) * step


def decoded(kind, codes):
    """The values of codes, as float64."""
    codes = numpy.asarray(codes, numpy.int64)
    if is_integer(kind):
        width = bits(kind)
        codes = codes & (2 ** width - 1)
        return (codes - (codes >> (width - 1) << width) if kind[0] == "i" else codes).astype(numpy.float64)
    if kind == "nf4":
        return numpy.array(NF4)[codes]
    if kind == "e8m0":
        return numpy.exp2((codes - 127).astype(numpy.float64))
    exponent_bits, mantissa_bits = FLOATS[kind]
    sign = numpy.where(codes >> (exponent_bits + mantissa_bits) & 1, -1.0, 1.0)
    exponent = codes >> mantissa_bits & (2 ** exponent_bits - 1)
    mantissa = (codes & (2 ** mantissa_bits - 1)) / 2 ** mantissa_bits
    bias = 2 ** (exponent_bits - 1) - 1
    normal = numpy.ldexp(1 + mantissa, exponent - bias)
    return sign * numpy.where(exponent == 0, numpy.ldexp(mantissa, 1 - bias), normal)


def random(kind, shape, generator, low=None, high=None):
    """Random numbers of a type: the array for --input and the values in float64. Every code of a narrow type occurs."""
    if kind in ("f16", "f32", "tf32", "bf16"):
        values = generator.normal(size=shape) if low is None else generator.uniform(low, high, shape)
        values = rounded(kind, values)
        if kind == "f16":
            return values.astype(numpy.float16), values
        if kind == "bf16":
            return (values.astype(numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16), values
        return values.astype(numpy.float32), values
    if kind in ("f8e4m3", "f8e5m2"):
        most = 0x57 if kind == "f8e4m3" else 0x47  # up to 15 and 7
        codes = generator.integers(0, most + 1, shape) | generator.integers(0, 2, shape) << 7
    elif kind == "e8m0":
        codes = generator.integers(124, 130, shape)
    elif kind == "i32":
        codes = generator.integers(-1000 if low is None else low, 1000 if high is None else high + 1, shape)
    else:
        codes = generator.integers(0, 2 ** bits(kind), shape)
    values = decoded(kind, codes)
    wide = bits(kind) > 8
    stored = codes.astype(numpy.int32 if wide else numpy.uint8)
    if kind in ("i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8"):
        stored = values.astype(numpy.int8)
    return stored, values
