"""The peer of attention, in a process of its own: PyTorch's scaled_dot_product_attention, the faster of its cuDNN and
FlashAttention backends. bitblas-bench starts it and sends a command a line; each is answered by a line.

  (start)                                                      ready WHAT, or missing WHY
  attention TYPE BATCH HEADS KV_HEADS QUERIES KEYS DIM CAUSAL SETS    ok BACKEND, or no WHY
  check                                                        ok, or wrong WHERE
  time LAUNCHES                                                us ALL_OF_THEM
  drop                                                         ok"""

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

BACKENDS = {"cuDNN": SDPBackend.CUDNN_ATTENTION, "Flash": SDPBackend.FLASH_ATTENTION}
TYPES = {"f16": torch.half, "bf16": torch.bfloat16}


class Attention:
    def __init__(self, type, batch, heads, kv_heads, queries, keys, dim, causal, sets):
        sizes = [(batch, heads, queries, dim), (batch, kv_heads, keys, dim), (batch, kv_heads, keys, dim)]
        self.sets = [[torch.randn(size, device="cuda", dtype=TYPES[type]) for size in sizes] for _ in range(sets)]
        self.causal, self.shared, self.turn = causal, heads != kv_heads, 0
        self.backend, least, why = None, None, "no backend"
        for name in BACKENDS:
            try:
                us = min(self.time(3, name) for _ in range(2))
            except Exception as error:
                why = f"{name}: {error}"
                continue
            if least is None or us < least:
                self.backend, least = name, us
        if not self.backend:
            raise RuntimeError(why)

    def launch(self):
        q, k, v = self.sets[self.turn]
        self.turn = (self.turn + 1) % len(self.sets)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=self.shared)

    def time(self, launches, backend=None):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        with sdpa_kernel(BACKENDS[backend or self.backend]):
            scratch.zero_()
            begin.record()
            for _ in range(launches):
                self.launch()
            end.record()
        torch.cuda.synchronize()
        return 1e3 * begin.elapsed_time(end)

    def check(self):
        """A few rows against sums of doubles, within what rounding the weights and the result allows."""
        self.turn = 0
        q, k, v = self.sets[0]
        with sdpa_kernel(BACKENDS[self.backend]):
            out = self.launch()
        unit = 2.0**-11 if q.dtype == torch.half else 2.0**-8
        for b, h, i in ((0, 0, 0), (-1, -1, -1), (q.shape[0] // 2, q.shape[1] // 2, q.shape[2] // 2)):
            seen = i % q.shape[2] + 1 if self.causal else k.shape[2]
            head = h % q.shape[1] // (q.shape[1] // k.shape[1])
            keys, values = k[b, head, :seen].double(), v[b, head, :seen].double()
            p = torch.softmax(keys @ q[b, h, i].double() / q.shape[3] ** 0.5, 0)
            wanted, size = p @ values, p @ values.abs()
            wrong = (out[b, h, i].double() - wanted).abs() > (unit + 2.0**-13) * size + unit * wanted.abs() + 2.0**-24
            if wrong.any():
                return f"wrong row {b} {h} {i}: {int(wrong.sum())} elements"
        return "ok"


work = None
answer(f"ready torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
for line in sys.stdin:
    words = line.split()
    if not words:
        continue
    try:
        if words[0] == "attention":
            work = None
            torch.cuda.empty_cache()
            numbers = [int(word) for word in words[2:]]
            work = Attention(words[1], *numbers[:6], bool(numbers[6]), numbers[7])
            answer(f"ok {work.backend}")
        elif words[0] == "time":
            answer(f"us {work.time(int(words[1])):.3f}")
        elif words[0] == "check":
            answer(work.check())
        elif words[0] == "drop":
            work = None
            torch.cuda.empty_cache()
            answer("ok")
    except Exception as error:
        work = None
        torch.cuda.empty_cache()
        answer(f"no {error}")
