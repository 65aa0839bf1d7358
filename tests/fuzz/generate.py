"""Random programs of the tile language: well typed, with every element written before it is read, and with values that
stay small, so that all ways of computing them agree. A seed is a program, on every machine.

  generate.py SEED          prints the program, and the sizes to launch it with in its first line

What is drawn: loops (serial, unrolled, pipelined with stages, persistent, nested), dots with both transposes of shared
buffers, tiles, regions and expressions, decodes of every kind of code, reductions and scans along both axes, tile
expressions with broadcasts, changes of some rows only, parallel with let, if and reads of tensors, copies of regions, scalars, branches, votes,
atomics; extents of tensors that no tile divides; one to three kernels."""

import random
import re
import sys

FLOATS = ("f16", "f16", "bf16", "f32")
CODES = ("i4", "u4", "i4", "u4", "i2", "u2", "i8", "u8", "u1", "i3", "u5", "nf4", "f4e2m1", "i6", "u7")


class Tile:
    """A tile or shared buffer in scope. `bound` is roughly how large its elements are."""

    def __init__(self, name, space, type, shape, bound=1.0):
        self.name, self.space, self.type, self.shape, self.bound = name, space, type, shape, bound


def is_float(type):
    return type[0] in "fb"


def whole(tile, text):
    """Whether the text names the tile itself, not a row of it."""
    return re.search(r"\b%s\b(?![\[^])" % tile.name, text) is not None


class Kernel:
    def __init__(self, rng, number):
        self.rng, self.number = rng, number
        self.lines, self.depth = [], 1
        self.arguments, self.names = [], 0
        self.sizes = {"M%d" % number: rng.choice((rng.randint(1, 130), rng.randint(1, 40), 64, 96, 128)),
                      "N%d" % number: rng.choice((rng.randint(1, 130), rng.randint(1, 40), 64, 96, 128)),
                      "K%d" % number: rng.choice((rng.randint(1, 200), 64, 96, 128, 160))}
        self.M, self.N, self.K = self.sizes
        self.bm, self.bn = "bm", "bn"
        self.scope = []      # tiles that may be read
        self.locked = set()  # tiles that a loop around carries: read only where they are bounded
        self.loops = []      # index variables
        self.scalars = []    # i32 scalars
        self.budget = 5000   # elements of tiles and buffers, so that everything fits
        self.shared_bytes = 0
        self.outputs = 0
        self.in_parallel = False
        self.hoisted = 0

    # -- Text ----------------------------------------------------------------------------------------------------------

    def emit(self, text):
        self.lines.append("  " * self.depth + text)

    def open(self, text):
        self.emit(text + " {")
        self.depth += 1

    def close(self):
        self.depth -= 1
        self.emit("}")

    def name(self, prefix):
        self.names += 1
        return "%s%d" % (prefix, self.names)

    def argument(self, direction, type, extents):
        name = self.name("X" if not direction else "Y") + "_%d" % self.number
        self.arguments.append("%s: %s%s[%s]" % (name, direction, type, ", ".join(str(e) for e in extents)))
        return name

    def extent(self):
        return self.rng.choice((self.M, self.N, self.K, self.K, self.M))

    # -- Declarations --------------------------------------------------------------------------------------------------

    def dimension(self):
        return self.rng.choice((16, 16, 32, 32, 64, 8, 24, 48, 80, 5) if self.rng.random() < 0.5 else (16, 32, 64))

    def shape(self, rank=2):
        while True:
            shape = [self.dimension() for _ in range(rank)]
            elements = 1
            for n in shape:
                elements *= n
            if elements <= 4096:
                return shape

    def declare(self, space, type, shape, value=None):
        tile = Tile(self.name("s" if space == "shared" else "t"), space, type, list(shape))
        text = "%s %s: %s[%s]" % (space, tile.name, type, ", ".join(map(str, shape)))
        self.emit(text if value is None else text + " = " + value)
        return tile

    def position(self, step):
        """Where a region of a tensor begins: mostly a tile's own place, at times anywhere."""
        choices = ["%s*%d" % (self.bm, step), "%s*%d" % (self.bn, step), "0"]
        choices += ["%s*%d" % (k, step) for k in self.loops] * 3
        if self.rng.random() < 0.15:
            return self.rng.choice(choices) + self.rng.choice((" + 1", " + 3", " - 2", " + 8"))
        return self.rng.choice(choices)

    def load(self, tile):
        """Fills a tile or buffer from a tensor."""
        rng = self.rng
        codes = tile.type not in ("f16", "bf16", "f32", "i32")
        type = tile.type if codes or not is_float(tile.type) or rng.random() < 0.8 else rng.choice(FLOATS)
        extents = [rng.choice((self.extent(), self.extent(), rng.choice((64, 96, 128)))) for _ in tile.shape]
        places = [self.position(n) for n in tile.shape]
        if codes and tile.type[1:] != "8": # rows of codes begin at whole bytes
            extents[-1] = rng.choice((128, 64, 192))
        if not codes and len(tile.shape) == 2 and rng.random() < 0.1:
            name = self.argument("", type, [3] + extents)
            point = rng.choice(["1", "%s %% 3" % self.bm] + ["%s %% 3" % k for k in self.loops])
            self.emit("copy %s[%s, %s : %d, %s : %d] -> %s" %
                      (name, point, places[0], tile.shape[0], places[1], tile.shape[1], tile.name))
        else:
            name = self.argument("", type, extents)
            other = " else 1" if is_float(type) and not codes and rng.random() < 0.1 else ""
            self.emit("copy %s[%s] -> %s%s" % (name, ", ".join(places), tile.name, other))
        tile.bound = 3.0 if is_float(tile.type) else 8.0

    def loaded(self, space, type, shape):
        tile = self.declare(space, type, shape)
        self.load(tile)
        return tile

    # -- Expressions ---------------------------------------------------------------------------------------------------

    def bounded(self, text, bound, limit=8.0):
        if bound <= limit:
            return text, bound
        return "(%s) * %g" % (text, 2.0 / bound), 2.0

    def constant(self, type):
        if is_float(type):
            return self.rng.choice(("0.5", "2.0", "1.5", "0.25", "-1.0", "0.75", "3.0"))
        return str(self.rng.randint(1, 9))

    def leaf(self, type, shape):
        """An operand that broadcasts to the shape: (text, bound)."""
        rng = self.rng
        found = []
        for tile in self.scope:
            if is_float(tile.type) != is_float(type) or tile.type not in ("f16", "bf16", "f32", "i32"):
                continue
            text = None
            if tile.shape == shape:
                text = tile.name
            elif len(shape) == 2 and len(tile.shape) == 1 and tile.shape[0] == shape[0] and rng.random() < 0.6:
                text = tile.name + "[:, _]"
            elif len(shape) == 2 and len(tile.shape) == 1 and tile.shape[0] == shape[1]:
                text = tile.name + "[_, :]"
            elif len(shape) == 2 and tile.shape == shape[::-1] and rng.random() < 0.3:
                text = tile.name + "^T"
            if text:
                bound = tile.bound
                if tile.name in self.locked:
                    text, bound = ("tanh(%s * 0.125)" % text, 1.0) if is_float(type) else ("(%s & 15)" % text, 15.0)
                found.append((text, bound))
        if found and rng.random() < 0.9:
            return rng.choice(found)
        value = self.constant(type)
        return value, abs(float(value))

    def may_be_rounded(self, a, b):
        """Whether one of two tiles may be a copy of the other in 16 bits."""
        types = {t.name: t.type for t in self.scope}
        return a in types and b in types and any(types[name] in ("f16", "bf16") for name in (a, b))

    def value(self, type, shape, depth=0):
        """A tile expression of the shape."""
        rng = self.rng
        if depth > 2 or rng.random() < 0.15:
            return self.leaf(type, shape)
        a, x = self.value(type, shape, depth + 1)
        if not is_float(type):
            b, y = self.leaf(type, shape)
            kind = rng.choice(("+", "-", "min", "max", "&", "^", "*"))
            if kind in ("min", "max"):
                return "%s(%s, %s)" % (kind, a, b), max(x, y)
            if kind == "*":
                return "(%s & 15) * %s" % (a, self.constant(type)), 200
            return "(%s %s %s)" % (a, kind, b), x + y
        kind = rng.choice(("+", "-", "*", "max", "min", "scale", "exp2", "tanh", "abs", "select", "rcp", "fma", "sqrt",
                           "sqrt"))
        if kind in ("+", "-", "*", "max", "min", "fma"):
            b, y = self.value(type, shape, depth + 1)
            if kind == "-" and self.may_be_rounded(a, b): # nothing but a rounding might be left
                kind = "+"
            if kind in ("+", "-"):
                return self.bounded("(%s %s %s)" % (a, kind, b), x + y)
            if kind == "*":
                return self.bounded("%s * %s" % (a, b) if rng.random() < 0.5 else "(%s) * (%s)" % (a, b), x * y + x + y)
            if kind == "fma":
                return self.bounded("fma(%s, %s, 0.5)" % (a, b), x * y + 1)
            return "%s(%s, %s)" % (kind, a, b), max(x, y)
        if kind == "scale":
            return self.bounded("%s * %s" % (a if "(" not in a[1:] else "(%s)" % a, self.constant(type)), 3 * x)
        if kind == "exp2":
            return "exp2(min(%s, 1.0))" % a, 2.0
        if kind == "tanh":
            return "tanh(%s)" % a, 1.0
        if kind == "abs":
            return "abs(%s)" % a, x
        if kind == "select":
            return "select(%s > 0.5, %s, 0.5)" % (a, a), max(x, 0.5)
        if kind == "rcp":
            return "1.0 / (abs(%s) + 1.0)" % a, 1.0
        if kind == "sqrt":
            return "sqrt(abs(%s) + 1.0)" % a, x + 1
        raise AssertionError(kind)

    # -- Statements ----------------------------------------------------------------------------------------------------

    def room(self, elements, bytes=0):
        if self.budget < elements or self.shared_bytes + bytes > 40000:
            return False
        self.budget -= elements
        self.shared_bytes += bytes
        return True

    def new_tile(self):
        type = self.rng.choice(("f32", "f32", "f32", "f16", "bf16", "i32"))
        shape = self.shape(self.rng.choice((2, 2, 2, 1)))
        if not self.room(shape[0] * (shape[1] if len(shape) > 1 else 1)):
            return
        if self.rng.random() < 0.5:
            tile = self.loaded("tile", type, shape)
        else:
            value, bound = self.value(type, shape)
            tile = self.declare("tile", type, shape, value)
            tile.bound = bound
        self.scope.append(tile)

    def new_shared(self):
        type = self.rng.choice(("f16", "f32", "bf16", "i32"))
        shape = self.shape()
        if not self.room(shape[0] * shape[1], 4 * shape[0] * shape[1]):
            return
        self.scope.append(self.loaded("shared", type, shape))

    def assign(self):
        tiles = [t for t in self.scope if t.type in ("f16", "bf16", "f32", "i32")]
        if not tiles:
            return
        tile = self.rng.choice(tiles)
        value, bound = self.value(tile.type, tile.shape)
        value, bound = self.bounded(value, bound) if is_float(tile.type) else (value, bound)
        if tile.name in self.locked: # carried by a loop: goes on from the old value, and does not run away
            kind = self.rng.choice(("+=", "max=", "min=") if not is_float(tile.type) else ("+=", "max=", "decay", "-="))
            if kind == "decay":
                self.emit("%s = %s * 0.5 + %s" % (tile.name, tile.name, value))
            else:
                self.emit("%s %s %s" % (tile.name, kind, value))
            tile.bound += 4 * bound
            return
        kind = self.rng.choice(("=", "=", "+=", "max=", "min=", "-="))
        if kind == "-=" and tile.type in ("f16", "bf16") and tile.name in value: # nothing but its own rounding is left
            kind = "+="
        self.emit("%s %s %s" % (tile.name, kind, value))
        tile.bound = bound if kind == "=" else tile.bound + bound

    def operand(self, type, rows, columns):
        """(text, bound) of a [rows, columns] operand of a dot."""
        rng = self.rng
        transposed = rng.random() < 0.4
        shape = [columns, rows] if transposed else [rows, columns]
        suffix = "^T" if transposed else ""
        known = [t for t in self.scope if t.type == type and t.shape == shape and t.name not in self.locked]
        if known and rng.random() < 0.5:
            tile = rng.choice(known)
            return tile.name + suffix, tile.bound
        floats = [t for t in self.scope if t.type == "f32" and t.shape == shape and t.space == "tile"]
        if floats and is_float(type) and type in ("f16", "bf16") and rng.random() < 0.4:
            value, bound = self.bounded(*self.value("f32", shape, 1), 4.0)
            if not any(whole(t, value) for t in self.scope if t.shape == shape): # a number or a row is no such tile
                value, bound = "%s * 0.5" % floats[0].name, floats[0].bound
            return "%s(%s)%s" % (type, value, suffix), bound
        if not self.room(rows * columns, 4 * rows * columns):
            return None
        if rng.random() < 0.15 and shape[0] % 16 == 0 and type != "i8":
            large = self.loaded("shared", type, [shape[0] + rng.choice((0, 16)), shape[1] + 16])
            return "%s[0 : %d, 0 : %d]%s" % (large.name, shape[0], shape[1], suffix), large.bound
        tile = self.loaded("tile" if rng.random() < 0.25 else "shared", type, shape)
        self.scope.append(tile)
        return tile.name + suffix, tile.bound

    def decoded(self, type, n, k):
        """(text, bound) of codes [n, k], decoded."""
        rng = self.rng
        code = rng.choice(CODES)
        if not self.room(n * k, 2 * n * k):
            return None
        codes = self.loaded("shared", code, [n, k])
        parts, bound = [], 2.0 ** (4 if code in ("nf4", "f4e2m1") else int(code[1]))
        integers = code not in ("nf4", "f4e2m1")
        if rng.random() < 0.6:
            group = rng.choice([g for g in (k, k, k // 2, 32, 16) if g and k % g == 0])
            scale = self.loaded("shared", rng.choice(("f16", "f32", type)), [n, k // group])
            parts += ["scale = " + scale.name, "group = %d" % group]
            bound *= 3
            zero = rng.random()
            if integers and zero < 0.5:
                packed = zero < 0.15 and code[1] in "48"
                zeros = self.loaded("shared", code if packed else rng.choice(("f16", "f32")), [n, k // group])
                parts.append("zero = " + zeros.name)
                if packed:
                    bound *= 2
                else:
                    parts.append("mode = " + rng.choice(("original", "rescale")))
                    bound += 9
        if integers and rng.random() < 0.3 and not any("zero" in p for p in parts):
            parts.append("offset = %d" % (1 << (int(code[1]) - 1)))
        return "decode(%s)" % ", ".join([codes.name] + parts), bound

    def dot(self):
        rng = self.rng
        type = rng.choice(("f16", "f16", "f16", "bf16", "bf16", "f32", "i8"))
        m, n, k = rng.choice((16, 32, 64)), rng.choice((16, 32, 64, 8, 24)), rng.choice((16, 32, 64))
        if type == "i8":
            k = max(k, 32)
        sum_type = "i32" if type == "i8" else "f32"
        known = [t for t in self.scope if t.type == sum_type and len(t.shape) == 2 and t.space == "tile" and
                 t.shape[0] % 16 == 0 and t.shape[1] % 8 == 0]
        if known and (rng.random() < 0.8 or self.loops):
            acc = rng.choice(known)
            m, n = acc.shape
        elif self.room(m * n):
            acc = self.declare("tile", sum_type, [m, n], "0")
            self.scope.append(acc)
        else:
            return
        a = self.operand(type, m, k)
        if not a:
            return
        if type in ("f16", "bf16") and rng.random() < 0.4:
            b = self.decoded(type, n, k)
            b = b and (b[0] + "^T", b[1])
        else:
            b = self.operand(type, k, n)
        if not b:
            return
        bound = a[1] * b[1] * k ** 0.5 / 2
        if acc.name in self.locked or rng.random() < 0.7:
            self.emit("%s += dot(%s, %s)" % (acc.name, a[0], b[0]))
            acc.bound += bound * (4 if acc.name in self.locked else 1)
        elif rng.random() < 0.5 and sum_type == "f32":
            self.emit("%s = dot(%s, %s) * %g" % (acc.name, a[0], b[0], 1 / max(bound, 1)))
            acc.bound = 2.0
            return
        else:
            self.emit("%s = dot(%s, %s)" % (acc.name, a[0], b[0]))
            acc.bound = bound
        if acc.bound > 8 and acc.name not in self.locked and sum_type == "f32":
            self.emit("%s *= %g" % (acc.name, 2 / acc.bound))
            acc.bound = 2.0

    def decode(self):
        type = self.rng.choice(("f16", "bf16", "f32"))
        shape = [self.rng.choice((16, 32, 64)), self.rng.choice((32, 64))]
        if not self.room(shape[0] * shape[1]):
            return
        value = self.decoded(type, *shape)
        if not value:
            return
        tile = self.declare("tile", type, shape)
        self.emit("%s = %s" % (tile.name, value[0]))
        self.emit("%s *= %g" % (tile.name, 2 / value[1]))
        tile.bound = 2.0
        self.scope.append(tile)

    def reduce(self):
        rng = self.rng
        sources = [t for t in self.scope if len(t.shape) == 2 and t.type in ("f16", "bf16", "f32", "i32")
                   and t.name not in self.locked]
        if not sources:
            return
        tile = rng.choice(sources)
        axis = rng.choice((0, 1))
        kind = rng.choice(("sum", "max", "min", "sum"))
        text = tile.name
        if is_float(tile.type) and rng.random() < 0.4:
            value, _ = self.bounded(*self.value(tile.type, tile.shape, 1))
            text = value if whole(tile, value) else text
        type = "i32" if tile.type == "i32" else "f32"
        if rng.random() < 0.2 and tile.space == "tile":
            scan = "cum" + kind
            result = self.declare("tile", type, tile.shape, "%s(%s, axis = %d%s)" % (
                scan, text, axis, ", exclusive = true" if rng.random() < 0.3 and kind == "sum" else ""))
        else:
            result = self.declare("tile", type, [tile.shape[1 - axis]], "%s(%s, axis = %d)" % (kind, text, axis))
        result.bound = tile.bound
        if kind == "sum":
            result.bound *= tile.shape[axis]
            if type == "f32":
                self.emit("%s *= %g" % (result.name, 1 / tile.shape[axis]))
                result.bound = 8.0
        self.scope.append(result)

    def reduce_into(self):
        rng = self.rng
        tiles = [t for t in self.scope if len(t.shape) == 2 and t.type == "f32" and t.name not in self.locked]
        rows = [t for t in self.scope if len(t.shape) == 1 and t.type == "f32"]
        pairs = [(t, r, axis) for t in tiles for r in rows for axis in (0, 1) if t.shape[1 - axis] == r.shape[0]]
        if not pairs:
            return
        tile, row, axis = rng.choice(pairs)
        if rng.random() < 0.5:
            self.emit("%s += sum(%s * %g, axis = %d)" % (row.name, tile.name, 1 / tile.shape[axis], axis))
        else:
            self.emit("%s max= max(%s, axis = %d)" % (row.name, tile.name, axis))
        row.bound += 4 * tile.bound

    def parallel(self):
        rng = self.rng
        tiles = [t for t in self.scope if len(t.shape) == 2 and t.type in ("f32", "f16", "i32")]
        if not tiles:
            return
        tile = rng.choice(tiles)
        same = [t for t in tiles if t.shape == tile.shape and t.type == tile.type and t is not tile and
                t.name not in self.locked]
        self.open("parallel (i in %d, j in %d)" % tuple(tile.shape) if rng.random() < 0.3 else "parallel (i, j)")
        place = "%s[i, j]" % tile.name
        self.emit("let row = %s + i" % self.position(tile.shape[0]))
        self.emit("let column = %s + j" % self.position(tile.shape[1]))
        terms = ["%s[i, j]" % t.name for t in same]
        if is_float(tile.type):
            terms += ["f32(row & 7) * 0.25", "0.5"]
            name = self.argument("", rng.choice(FLOATS), [self.extent(), self.extent()])
            terms += ["%s[row, column]" % name, "%s[%s, row]" % (name, rng.choice(("j", "i", "column")))]
        else:
            terms += ["row & 7", "column % 5", "3"]
            name = self.argument("", "i32", [self.extent(), self.extent()])
            terms += ["%s[row, column]" % name, "%s[row, 0]" % name]
        rows = [t for t in self.scope if len(t.shape) == 1 and is_float(t.type) == is_float(tile.type) and
                t.name not in self.locked and t.type in ("f16", "bf16", "f32", "i32")]
        terms += ["%s[i]" % t.name for t in rows if t.shape[0] == tile.shape[0]]
        terms += ["%s[j]" % t.name for t in rows if t.shape[0] == tile.shape[1]]
        condition = rng.choice(("column <= row", "row < %s && column < %s" % (self.M, self.N), "(i + j) % 3 == 0",
                                "j < %d" % (tile.shape[1] // 2), "row % 2 == 0 || column > 7"))
        zero = "0.0" if is_float(tile.type) else "0"
        if rng.random() < 0.5:
            self.emit("%s = select(%s, %s, %s)" % (place, condition, rng.choice(terms + [place]), zero))
        else:
            self.open("if " + condition)
            self.emit("%s = %s" % (place, rng.choice(terms)))
            self.close()
            if rng.random() < 0.4:
                self.lines[-1] += " else {"
                self.depth += 1
                self.emit("%s %s %s" % (place, rng.choice(("=", "+=", "max=")), rng.choice(terms)))
                self.close()
        self.close()
        tile.bound += 8 * (4 if tile.name in self.locked else 1)

    def region(self):
        """Copies a part of one tile or buffer to a part of another."""
        rng = self.rng
        sources = [t for t in self.scope if len(t.shape) == 2 and t.type in ("f16", "f32") and t.name not in self.locked]
        targets = [t for t in sources if t.space == "shared"]
        if not targets or not sources:
            return
        target, source = rng.choice(targets), rng.choice(sources)
        if source is target:
            return
        shape = [min(a, b) for a, b in zip(target.shape, source.shape)]
        if source.space == "tile":
            shape = source.shape
        if any(n > m for n, m in zip(shape, target.shape)):
            return
        if rng.random() < 0.5 and shape[0] % 2 == 0 and source.space == "shared":
            shape = [shape[0] // 2, shape[1]]
        begin = [rng.choice((0, t - n)) for n, t in zip(shape, target.shape)]
        start = [rng.choice((0, t - n)) for n, t in zip(shape, source.shape)]
        text = ", ".join("%d : %d" % (b, n) for b, n in zip(start, shape))
        self.emit("copy %s -> %s[%s]" % (source.name if source.space == "tile" else "%s[%s]" % (source.name, text),
                                         target.name, ", ".join("%d : %d" % (b, n) for b, n in zip(begin, shape))))
        target.bound = max(target.bound, source.bound)

    def transfer(self):
        """A tile through shared memory to another tile."""
        tiles = [t for t in self.scope if len(t.shape) == 2 and t.type in ("f16", "f32") and t.space == "tile"
                 and t.name not in self.locked]
        if not tiles:
            return
        tile = self.rng.choice(tiles)
        elements = tile.shape[0] * tile.shape[1]
        if not self.room(2 * elements, 4 * elements):
            return
        buffer = self.declare("shared", tile.type, tile.shape)
        self.emit("copy %s -> %s" % (tile.name, buffer.name))
        back = self.declare("tile", tile.type, tile.shape)
        self.emit("copy %s -> %s" % (buffer.name, back.name))
        buffer.bound = back.bound = tile.bound
        self.scope += [buffer, back]

    def atomic(self):
        rng = self.rng
        if rng.random() < 0.5:
            counts = self.declare("shared", "i32", [16], "0")
            name = self.argument("", "i32", [self.extent()])
            self.emit("parallel (i in 32) { atomic %s[%s[%s + i] & 15] %s %d }" %
                      (counts.name, name, self.position(32), rng.choice(("+=", "max=")), rng.randint(1, 5)))
            tile = self.declare("tile", "i32", [16])
            self.emit("copy %s -> %s" % (counts.name, tile.name))
            tile.bound = 64
            self.scope.append(tile)
        else:
            tiles = [t for t in self.scope if t.space == "tile" and t.type in ("f32", "i32") and len(t.shape) == 2]
            if not tiles:
                return
            tile = rng.choice(tiles)
            name = self.argument("inout ", tile.type, [self.M, self.N])
            self.emit("atomic %s[%s, %s] += %s" % (name, self.position(tile.shape[0]), self.position(tile.shape[1]),
                                                   tile.name))
            self.outputs += 1

    def masked(self):
        """What changes some rows (or columns) of a tile only, with what only feeds it."""
        rng = self.rng
        tiles = [t for t in self.scope if len(t.shape) == 2 and t.type in ("f16", "bf16", "f32") and t.space == "tile"]
        if not tiles:
            return
        tile = rng.choice(tiles)
        axis = rng.choice((0, 0, 0, 1))
        count, index = tile.shape[axis], ("[:, _]", "[_, :]")[axis]
        if not self.room(4 * count + (tile.shape[0] * tile.shape[1])):
            return
        mask = self.declare("tile", "pred", [count]).name
        shift = rng.choice([self.bm, self.bn, "0"] + self.loops * 2 + self.scalars)
        self.emit("parallel (i in %d) { %s[i] = (i + %s) %% %d < %d }" %
                  (count, mask, shift, rng.choice((3, 64, 200)), rng.choice((0, 1, 2, 40))))
        value, bound = self.bounded(*self.value(tile.type, tile.shape, 1))
        if rng.random() < 0.4:
            fed = self.declare("tile", "f32", tile.shape, value).name
            row = self.declare("tile", "f32", [count], "max(%s, axis = %d)" % (fed, 1 - axis)).name
            value = "%s * 0.5 + %s%s * 0.25" % (fed, row, index)
        if rng.random() < 0.6:
            self.emit("%s = select(%s%s, %s, %s)" % (tile.name, mask, index, value, tile.name))
        else:
            factor = self.declare("tile", "f32", [count], "select(%s, 0.5, 1)" % mask).name
            self.emit("%s *= %s%s" % (tile.name, factor, index))
        if rng.random() < 0.3: # and where the others are
            self.emit("%s = select(!%s%s, %s * 0.5, %s)" % (tile.name, mask, index, tile.name, tile.name))
        tile.bound = max(tile.bound, bound)

    def scalar(self):
        rng = self.rng
        name = self.name("n")
        values = [self.bm, self.bn, self.K, "min(%s, 40)" % self.M] + self.loops + self.scalars
        self.emit("let %s = %s %s %d" % (name, rng.choice(values), rng.choice(("+", "*", "-", "/", "%")),
                                         rng.randint(1, 7)))
        self.scalars.append(name)

    def condition(self):
        rng = self.rng
        values = [self.bm, self.bn, "%s - 70" % self.K] + self.loops * 2 + self.scalars
        return "%s %s %d" % (rng.choice(values), rng.choice((">", "==", "<=", "!=")), rng.randint(0, 2))

    def nested(self, count):
        """Statements whose names end with them; what they change stays changed."""
        scope, scalars = list(self.scope), list(self.scalars)
        self.statements(count)
        self.scope, self.scalars = scope, scalars

    def branch(self):
        rng = self.rng
        condition = self.condition()
        votes = [t for t in self.scope if t.type == "i32" and t.name not in self.locked]
        if votes and rng.random() < 0.4:
            condition = "%s(%s > %d)" % (rng.choice(("any", "all", "any")), rng.choice(votes).name, rng.randint(-9, 9))
            if rng.random() < 0.5:
                condition = "unlikely(%s)" % condition
        self.open("if " + condition)
        self.nested(rng.randint(1, 2))
        self.close()
        if rng.random() < 0.4:
            self.lines[-1] += " else {"
            self.depth += 1
            self.nested(rng.randint(1, 2))
            self.close()

    def loop(self):
        rng = self.rng
        if len(self.loops) > 1:
            return
        index = self.name("k")
        trips = rng.choice(("ceildiv(%s, %d)" % (self.K, rng.choice((32, 64))), str(rng.randint(1, 5)),
                            "min(%s, 3)" % self.M, "%s + 1" % self.bm))
        kind = rng.choice(("serial", "pipelined", "pipelined", "pipelined", "unrolled", "range"))
        if kind == "unrolled":
            text = "unrolled(%d)" % rng.randint(1, 3)
        elif kind == "pipelined":
            text = "pipelined(%s, stages = %d)" % (trips, rng.randint(1, 4))
        elif kind == "range":
            text = "1 .. " + trips
        else:
            text = trips
        locked = set(self.locked)
        self.locked |= {t.name for t in self.scope}
        # Buffers filled anew in every iteration, as a rule declared before the loop.
        fresh = []
        if rng.random() < 0.7:
            for _ in range(rng.randint(1, 2)):
                shape = self.shape()
                type = rng.choice(("f16", "f16", "bf16", "f32"))
                if self.room(shape[0] * shape[1], 4 * shape[0] * shape[1]):
                    fresh.append(self.declare("shared", type, shape))
        self.open("for %s in %s" % (index, text))
        self.loops.append(index)
        scope, scalars = list(self.scope), list(self.scalars)
        for tile in fresh:
            self.load(tile)
            self.scope.append(tile)
        self.statements(rng.randint(2, 4), rng.random() < 0.6)
        self.scope, self.scalars = scope, scalars
        self.loops.pop()
        self.close()
        self.locked = locked
        for tile in self.scope:
            if tile.bound > 8 and is_float(tile.type) and tile.name not in locked:
                self.emit("%s *= %g" % (tile.name, 2 / tile.bound))
                tile.bound = 2.0

    def statements(self, count, with_dot=False):
        kinds = [self.new_tile, self.assign, self.assign, self.dot, self.dot, self.reduce, self.reduce_into,
                 self.parallel, self.loop, self.branch, self.new_shared, self.region, self.transfer, self.scalar,
                 self.decode, self.atomic, self.masked, self.masked]
        if with_dot:
            self.dot()
        for _ in range(count):
            before = len(self.lines)
            self.rng.choice(kinds)()
            if len(self.lines) == before:
                self.assign()

    def store(self):
        """Every tile that is left is written, so that nothing of the program is dead."""
        for tile in self.scope:
            if len(tile.shape) > 2 or tile.type not in ("f16", "bf16", "f32", "i32") or self.rng.random() < 0.3:
                continue
            type = tile.type if self.rng.random() < 0.6 or not is_float(tile.type) else self.rng.choice(FLOATS)
            if type == "f16" and tile.bound > 1000:
                type = "f32"
            if len(tile.shape) == 2:
                name = self.argument("out ", type, [self.M, self.rng.choice((self.N, self.N, 128))])
                self.emit("copy %s -> %s[%s*%d, %s*%d]" % (tile.name, name, self.bm, tile.shape[0], self.bn,
                                                           tile.shape[1]))
            else:
                name = self.argument("out ", type, [64, self.M])
                self.emit("copy %s -> %s[%s, %s*%d : %d]" % (tile.name, name, self.bn, self.bm, tile.shape[0],
                                                             tile.shape[0]))
            self.outputs += 1
        if not self.outputs:
            name = self.argument("out ", "f32", [self.M, self.N])
            self.emit("tile last: f32[16, 16] = 1")
            self.emit("copy last -> %s[%s*16, %s*16]" % (name, self.bm, self.bn))

    def text(self):
        rng = self.rng
        BM, BN = rng.choice((16, 32, 64)), rng.choice((16, 32, 64))
        rows = "ceildiv(%s, %d)" % (self.M, BM)
        columns = "ceildiv(%s, %d)" % (self.N, BN)
        persistent = rng.random() < 0.15
        if persistent:
            grid = ""
            self.open("for at in persistent(%s * %s)" % (rows, columns))
            self.emit("let bm = at / %s" % columns)
            self.emit("let bn = at %% %s" % columns)
        else:
            grid = "  grid (bn in %s, bm in %s)\n" % (columns, rows)
        self.statements(rng.randint(3, 7))
        self.store()
        if persistent:
            self.close()
        facts = ""
        if rng.random() < 0.4:
            size = rng.choice(list(self.sizes))
            by = rng.choice((8, 16))
            self.sizes[size] = max(by, self.sizes[size] // by * by)
            facts = "  where %s %% %d == 0\n" % (size, by)
        arguments = (",\n" + " " * 4).join(self.arguments)
        used = arguments + grid + "\n".join(self.lines)
        sizes = {name: value for name, value in self.sizes.items() if name in arguments}
        missing = [name for name in self.sizes if name not in arguments and name in used + facts]
        for name in missing:
            arguments += ", %s: size" % name
            sizes[name] = self.sizes[name]
        text = "kernel k%d(%s)\n%s%s{\n%s\n}\n" % (self.number, arguments, facts, grid, "\n".join(self.lines))
        return text, sizes


def generate(seed):
    """The text of a program and its sizes, by name."""
    rng = random.Random(seed)
    texts, sizes = [], {}
    for number in range(rng.choice((1, 1, 1, 1, 2, 3))):
        text, needed = Kernel(rng, number).text()
        texts.append(text)
        sizes.update(needed)
    return "\n".join(texts), sizes


if __name__ == "__main__":
    program, launch = generate(int(sys.argv[1]))
    print("// seed %s: %s" % (sys.argv[1], " ".join("%s=%d" % size for size in launch.items())))
    print(program, end="")
