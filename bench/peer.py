"""Peers in a process of their own: PyTorch's scaled_dot_product_attention, the faster of its cuDNN and FlashAttention
backends; and a product and an attention in Triton, after the schemes of its tutorials (blocked product in bands of tiles;
FlashAttention-2). bitblas-bench starts it and sends a command a line; each is answered by a line.

  (start)                                                                     ready WHAT, or missing WHY
  attention torch|triton TYPE BATCH HEADS KV_HEADS QUERIES KEYS DIM CAUSAL TIMES GROWTH SETS    ok BACKEND, or no WHY
  matmul triton TYPE M N K SETS                                               the same
  check                                                                       ok, or wrong WHERE
  time LAUNCHES                                                               us ALL_OF_THEM
  drop                                                                        ok"""

import sys


def answer(text):
    print(" ".join(str(text).split()), flush=True)


try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU")
    scratch = torch.empty(256 << 20, dtype=torch.int8, device="cuda")
    torch.cuda.synchronize()
except Exception as error:
    answer(f"missing {error}")
    sys.exit(0)

try:
    import triton
    import triton.language as tl
except Exception:
    triton = None

TYPES = {"f16": torch.half, "bf16": torch.bfloat16}
UNITS = {torch.half: 2.0**-11, torch.bfloat16: 2.0**-8}


class Work:
    """Something to time: `sets` of tensors that launches go round."""
    backend, turn = "", 0

    def run(self, *tensors):
        raise NotImplementedError

    def launch(self):
        tensors = self.sets[self.turn]
        self.turn = (self.turn + 1) % len(self.sets)
        return self.run(*tensors)

    def time(self, launches):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        scratch.zero_()
        begin.record()
        for _ in range(launches):
            self.launch()
        end.record()
        torch.cuda.synchronize()
        return 1e3 * begin.elapsed_time(end)


# -- Attention -----------------------------------------------------------------------------------------------------


class Attention(Work):
    def __init__(self, type, batch, heads, kv_heads, queries, keys, dim, causal, times, growth, sets):
        sizes = [(batch, heads, queries, dim), (batch, kv_heads, keys, dim), (batch, kv_heads, keys, dim)]
        self.sets = [[torch.randn(size, device="cuda", dtype=TYPES[type]) for size in sizes] for _ in range(sets)]
        # Queries `times` as large, and keys that grow `growth` times along the sequence, in steps; 0: as they are.
        gains = (growth or 1)**(torch.arange(keys, device="cuda") * 64 // keys / 64)[:, None]
        for q, k, _ in self.sets:
            q *= times or 1
            k *= gains.to(k.dtype)
        self.causal, self.shared = bool(causal), heads // kv_heads

    def check(self):
        """A few rows against sums of doubles, within what rounding the weights and the result allows."""
        self.turn = 0
        q, k, v = self.sets[0]
        out, unit = self.launch(), UNITS[q.dtype]
        for b, h, i in ((0, 0, 0), (-1, -1, -1), (q.shape[0] // 2, q.shape[1] // 2, q.shape[2] // 2)):
            seen = i % q.shape[2] + 1 if self.causal else k.shape[2]
            head = h % q.shape[1] // self.shared
            query, keys, values = q[b, h, i].double(), k[b, head, :seen].double(), v[b, head, :seen].double()
            p = torch.softmax(keys @ query / q.shape[3] ** 0.5, 0)
            error = p * (keys.abs() @ query.abs()) * q.shape[3] ** 0.5 * 2.0**-24  # of scores that are sums in f32
            wanted, size = p @ values, p @ values.abs()
            unsure = error @ values.abs() + error.sum() * wanted.abs()
            allowed = (unit + 2.0**-13) * size + unsure + unit * wanted.abs() + 2.0**-24
            wrong = ~((out[b, h, i].double() - wanted).abs() <= allowed)
            if wrong.any():
                return f"wrong row {b} {h} {i}: {int(wrong.sum())} elements"
        return "ok"


class TorchAttention(Attention):
    BACKENDS = {"cuDNN": SDPBackend.CUDNN_ATTENTION, "Flash": SDPBackend.FLASH_ATTENTION}

    def __init__(self, *sizes):
        super().__init__(*sizes)
        times, why = {}, []
        for self.backend in self.BACKENDS:
            try:
                times[self.backend] = min(self.time(3) for _ in range(2))
            except Exception as error:
                why.append(f"{self.backend}: {error}")
        if not times:
            raise RuntimeError("; ".join(why))
        self.backend = min(times, key=times.get)

    def time(self, launches):
        with sdpa_kernel(self.BACKENDS[self.backend]):
            return super().time(launches)

    def check(self):
        with sdpa_kernel(self.BACKENDS[self.backend]):
            return super().check()

    def run(self, q, k, v):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=self.shared > 1)


# -- Triton --------------------------------------------------------------------------------------------------------

if triton:

    @triton.autotune(
        configs=[triton.Config({"BM": m, "BN": n, "BK": 64}, num_stages=stages, num_warps=warps)
                 for m, n, stages, warps in ((128, 256, 3, 8), (128, 256, 4, 8), (256, 128, 3, 8), (128, 128, 4, 4),
                                             (128, 128, 4, 8), (64, 256, 4, 4))],
        key=["M", "N", "K"])
    @triton.jit
    def product_kernel(a, w, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
        high = tl.cdiv(M, BM)
        wide = tl.cdiv(N, BN)
        tile = tl.program_id(0)
        band = tile // (8 * wide)
        height = min(high - band * 8, 8)
        i = band * 8 + tile % (8 * wide) % height
        j = tile % (8 * wide) // height
        m = i * BM + tl.arange(0, BM)
        n = j * BN + tl.arange(0, BN)
        k = tl.arange(0, BK)
        a_at = a + (m % M)[:, None] * K + k[None, :]
        w_at = w + (n % N)[None, :] * K + k[:, None]
        acc = tl.zeros((BM, BN), dtype=tl.float32)
        for _ in range(0, tl.cdiv(K, BK)):
            acc = tl.dot(tl.load(a_at), tl.load(w_at), acc)
            a_at += BK
            w_at += BK
        inside = (m[:, None] < M) & (n[None, :] < N)
        tl.store(c + m[:, None] * N + n[None, :], acc.to(c.dtype.element_ty), mask=inside)

    @triton.jit
    def attend(acc, l, m, q, k, v, base, first, last, rows, scale, MASKED: tl.constexpr, D: tl.constexpr, BN: tl.constexpr):
        d = tl.arange(0, D)
        for j in range(first, last, BN):
            n = j + tl.arange(0, BN)
            s = tl.dot(q, tl.load(k + base + n[None, :] * D + d[:, None])) * scale
            if MASKED:
                s = tl.where(rows[:, None] >= n[None, :], s, float("-inf"))
            most = tl.maximum(m, tl.max(s, 1))
            p = tl.exp2(s - most[:, None])
            alpha = tl.exp2(m - most)
            l = l * alpha + tl.sum(p, 1)
            values = tl.load(v + base + n[:, None] * D + d[None, :])
            acc = tl.dot(p.to(values.dtype), values, acc * alpha[:, None])
            m = most
        return acc, l, m

    @triton.autotune(
        configs=[triton.Config({"BM": 128, "BN": n}, num_stages=stages, num_warps=warps)
                 for n, stages, warps in ((128, 2, 8), (128, 3, 8), (64, 3, 8), (64, 2, 8), (64, 3, 4))],
        key=["length", "D", "CAUSAL"])
    @triton.jit
    def attention_kernel(q, k, v, o, length, shared, scale, CAUSAL: tl.constexpr, D: tl.constexpr, BM: tl.constexpr,
                         BN: tl.constexpr):
        first = tl.program_id(0) * BM
        head = tl.program_id(1).to(tl.int64)
        base = head // shared * length * D
        rows = first + tl.arange(0, BM)
        place = head * length * D + rows[:, None] * D + tl.arange(0, D)[None, :]
        query = tl.load(q + place)
        acc = tl.zeros((BM, D), dtype=tl.float32)
        l = tl.zeros((BM,), dtype=tl.float32)
        m = tl.full((BM,), float("-inf"), dtype=tl.float32)
        if CAUSAL:
            acc, l, m = attend(acc, l, m, query, k, v, base, 0, first, rows, scale, False, D, BN)
            acc, l, m = attend(acc, l, m, query, k, v, base, first, first + BM, rows, scale, True, D, BN)
        else:
            acc, l, m = attend(acc, l, m, query, k, v, base, 0, length, rows, scale, False, D, BN)
        tl.store(o + place, (acc / l[:, None]).to(o.dtype.element_ty))


class TritonAttention(Attention):
    backend = "Triton"

    def __init__(self, *sizes):
        super().__init__(*sizes)
        q, k, _ = self.sets[0]
        if q.shape[2] != k.shape[2] or q.shape[2] % 128:
            raise RuntimeError("Triton's takes as many queries as keys, a multiple of 128")
        self.out = torch.empty_like(q)

    def run(self, q, k, v):
        grid = lambda config: (q.shape[2] // config["BM"], q.shape[0] * q.shape[1])
        attention_kernel[grid](q, k, v, self.out, q.shape[2], self.shared, 1.4426950408889634 / q.shape[3] ** 0.5,
                               CAUSAL=self.causal, D=q.shape[3])
        return self.out


class TritonProduct(Work):
    backend = "Triton"

    def __init__(self, type, m, n, k, sets):
        if k % 64:
            raise RuntimeError("Triton's takes K a multiple of 64")
        make = lambda *size: torch.randn(size, device="cuda", dtype=TYPES[type])
        self.sets = [[make(m, k), make(n, k), torch.empty((m, n), device="cuda", dtype=TYPES[type])] for _ in range(sets)]

    def run(self, a, w, c):
        (m, k), n = a.shape, w.shape[0]
        grid = lambda config: (triton.cdiv(m, config["BM"]) * triton.cdiv(n, config["BN"]),)
        product_kernel[grid](a, w, c, m, n, k)
        return c

    def check(self):
        self.turn = 0
        a, w, _ = self.sets[0]
        c, unit = self.launch(), UNITS[a.dtype]
        for i in (0, a.shape[0] // 3, a.shape[0] - 1):
            row, weights = a[i].double(), w[:64].double()
            wanted, size = weights @ row, weights.abs() @ row.abs()
            wrong = ~((c[i, :64].double() - wanted).abs() <= a.shape[1] * 2.0**-24 * size + unit * wanted.abs() + 2.0**-24)
            if wrong.any():
                return f"wrong row {i}: {int(wrong.sum())} elements"
        return "ok"


# -- Commands ------------------------------------------------------------------------------------------------------

KINDS = {("attention", "torch"): TorchAttention, ("attention", "triton"): TritonAttention, ("matmul", "triton"): TritonProduct}

work = None
answer(f"ready torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, Triton {triton.__version__ if triton else 'none'}")
for line in sys.stdin:
    words = line.split()
    try:
        if words[0] == "drop":
            work = None
            torch.cuda.empty_cache()
            answer("ok")
        elif words[0] == "time":
            answer(f"us {work.time(int(words[1])):.3f}")
        elif words[0] == "check":
            answer(work.check())
        else:
            work = None
            if words[1] == "triton" and not triton:
                raise RuntimeError("no Triton")
            work = KINDS[words[0], words[1]](words[2], *map(int, words[3:]))
            answer(f"ok {work.backend}")
    except Exception as error:
        work = None
        torch.cuda.empty_cache()
        answer(f"no {error}")
