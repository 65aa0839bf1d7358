typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
//@ tensor_map
// CUtensorMap
struct alignas(64) tensor_map { u64 words[16]; };
//@ infinity
__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }
//@ not_a_number
__device__ __forceinline__ float not_a_number() { return __int_as_float(0x7fc00000); }
//@ cta_rank
// PTX ISA: special registers, %cluster_ctarank
__device__ __forceinline__ int cta_rank() { int r; asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r)); return r; }
//@ floor_div
// a / b rounded towards minus infinity
template <class T> __device__ __forceinline__ T floor_div(T a, T b) { T q = a / b; return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q; }
//@ floor_mod
// a - b * floor(a / b)
template <class T> __device__ __forceinline__ T floor_mod(T a, T b) { T r = a % b; return r != 0 && (r < 0) != (b < 0) ? r + b : r; }
//@ ceil_div : floor_div
// (a + b - 1) / b
template <class T> __device__ __forceinline__ T ceil_div(T a, T b) { return floor_div(a + b - 1, b); }
//@ exp2_approx
// PTX ISA: ex2
__device__ __forceinline__ float exp2_approx(float x) { float r; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
//@ log2_approx
// PTX ISA: lg2
__device__ __forceinline__ float log2_approx(float x) { float r; asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
//@ tanh_approx
// PTX ISA: tanh
__device__ __forceinline__ float tanh_approx(float x) { float r; asm("tanh.approx.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
//@ sqrt_approx
// PTX ISA: sqrt
__device__ __forceinline__ float sqrt_approx(float x) { float r; asm("sqrt.approx.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
//@ rcp_approx
// PTX ISA: rcp
__device__ __forceinline__ float rcp_approx(float x) { float r; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
//@ rsqrt_approx
// PTX ISA: rsqrt
__device__ __forceinline__ float rsqrt_approx(float x) { float r; asm("rsqrt.approx.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
//@ div_full
// PTX ISA: div; two ulp over the full range, and no call as the correctly rounded form has
__device__ __forceinline__ float div_full(float a, float b) { float r; asm("div.full.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
//@ saturate
// an integer clamped to a narrower type's range
template <int lo, int hi> __device__ __forceinline__ int saturate(int x) { return min(max(x, lo), hi); }
//@ saturate_unsigned
template <u32 hi> __device__ __forceinline__ u32 saturate_unsigned(u32 x) { return min(x, hi); }
//@ sign_extend
// the low bits as a two's complement number
template <int bits> __device__ __forceinline__ int sign_extend(int x) { return (int)((u32)x << (32 - bits)) >> (32 - bits); }
//@ unpack_int
// element i of a word of signed elements
template <int bits, int i> __device__ __forceinline__ int unpack_int(u32 word) { return (int)(word << (32 - bits * (i + 1))) >> (32 - bits); }
//@ unpack_uint
// element i of a word of unsigned elements
template <int bits, int i> __device__ __forceinline__ u32 unpack_uint(u32 word) { return (word << (32 - bits * (i + 1))) >> (32 - bits); }
//@ pack_bits
// elements of `bits` bits, the first lowest
template <int bits> __device__ __forceinline__ u32 pack_bits() { return 0; }
template <int bits, class first, class... rest> __device__ __forceinline__ u32 pack_bits(first x, rest... more)
{ return ((u32)x & ((1u << bits) - 1)) | pack_bits<bits>(more...) << bits; }
//@ pack_f16
// PTX ISA: cvt; its first source goes to the high half
__device__ __forceinline__ u32 pack_f16(float lo, float hi)
{ u32 r; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo)); return r; }
//@ pack_bf16
// PTX ISA: cvt; its first source goes to the high half
__device__ __forceinline__ u32 pack_bf16(float lo, float hi)
{ u32 r; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo)); return r; }
//@ unpack_f16
// PTX ISA: cvt
template <int i> __device__ __forceinline__ float unpack_f16(u32 word)
{
  float r;
  if (i == 0) asm("{ .reg .b16 lo, hi; mov.b32 {lo, hi}, %1; cvt.f32.f16 %0, lo; }" : "=f"(r) : "r"(word));
  else asm("{ .reg .b16 lo, hi; mov.b32 {lo, hi}, %1; cvt.f32.f16 %0, hi; }" : "=f"(r) : "r"(word));
  return r;
}
//@ unpack_bf16
// a bf16 is the high half of an f32
template <int i> __device__ __forceinline__ float unpack_bf16(u32 word) { return __uint_as_float(i == 0 ? word << 16 : word & 0xffff0000u); }
//@ encode_f16 : pack_f16
__device__ __forceinline__ u32 encode_f16(float x) { return pack_f16(x, 0.0f); }
//@ decode_f16 : unpack_f16
__device__ __forceinline__ float decode_f16(u32 code) { return unpack_f16<0>(code); }
//@ encode_bf16 : pack_bf16
__device__ __forceinline__ u32 encode_bf16(float x) { return pack_bf16(x, 0.0f); }
//@ decode_bf16 : unpack_bf16
__device__ __forceinline__ float decode_bf16(u32 code) { return unpack_bf16<0>(code); }
//@ round_tf32
// to the nearest value of ten mantissa bits, ties to even
__device__ __forceinline__ float round_tf32(float x)
{ u32 u = __float_as_uint(x); return (u & 0x7fffffffu) > 0x7f800000u ? x : __uint_as_float((u + 0xfffu + (u >> 13 & 1u)) & 0xffffe000u); }
//@ float_kind
// which codes of the largest exponent are no numbers: as IEEE 754 has it, one NaN a sign, none
enum float_kind { IEEE, NAN_ONLY, FINITE };
//@ decode_float : float_kind not_a_number
// A float of a sign, `exponent` and `mantissa` bits, subnormals included: moved into place in an f32 and scaled by the difference of the
// biases. The product is exact; mul without .ftz, whatever the compiler's options (PTX ISA: mul).
template <int exponent, int mantissa, float_kind kind> __device__ __forceinline__ float decode_float(u32 code)
{
  const u32 all = (1u << (exponent + mantissa)) - 1, top = all >> mantissa << mantissa;
  const u32 magnitude = code & all, sign = code >> (exponent + mantissa) << 31;
  float r;
  asm("mul.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(__uint_as_float(magnitude << (23 - mantissa))), "f"(__uint_as_float((254u - ((1u << (exponent - 1)) - 1)) << 23)));
  if (kind == IEEE && magnitude >= top) r = __uint_as_float(0x7f800000u | (magnitude - top) << (23 - mantissa));
  if (kind == NAN_ONLY && magnitude == all) r = not_a_number();
  return __uint_as_float(__float_as_uint(r) | sign);
}
//@ encode_float : float_kind
// The nearest code, ties to even: a normal result by rounding the f32's bits, a subnormal one by adding the number whose last place is the
// smallest subnormal (PTX ISA: add, without .ftz). Overflow is infinity where there is one, else the largest number.
template <int exponent, int mantissa, float_kind kind> __device__ __forceinline__ u32 encode_float(float x)
{
  const u32 all = (1u << (exponent + mantissa)) - 1, top = all >> mantissa << mantissa, bias = (1u << (exponent - 1)) - 1;
  const u32 largest = kind == IEEE ? top - 1 : kind == NAN_ONLY ? all - 1 : all;
  const u32 u = __float_as_uint(x), absolute = u & 0x7fffffffu, sign = u >> 31 << (exponent + mantissa);
  const u32 unit = (127u - bias + 1 + 23 - mantissa) << 23;
  u32 code;
  if (absolute > 0x7f800000u) return kind == IEEE ? top | 1u << (mantissa - 1) : all;
  if (absolute < (127u - bias + 1) << 23) {
    float sum;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(sum) : "f"(__uint_as_float(absolute)), "f"(__uint_as_float(unit)));
    code = __float_as_uint(sum) - unit;
  } else {
    code = ((absolute + (1u << (22 - mantissa)) - 1 + (absolute >> (23 - mantissa) & 1u)) >> (23 - mantissa)) - ((127u - bias) << mantissa);
  }
  return sign | (code > largest ? (kind == IEEE ? top : largest) : code);
}
//@ encode_f8e4m3 >=89
// PTX ISA: cvt
__device__ __forceinline__ u32 encode_f8e4m3(float x)
{ u32 r; asm("{ .reg .b16 h; cvt.rn.satfinite.e4m3x2.f32 h, %1, %2; cvt.u32.u16 %0, h; }" : "=r"(r) : "f"(0.0f), "f"(x)); return r; }
//@ encode_f8e4m3 <89 : encode_float
__device__ __forceinline__ u32 encode_f8e4m3(float x) { return encode_float<4, 3, NAN_ONLY>(x); }
//@ decode_f8e4m3 >=89
// PTX ISA: cvt
__device__ __forceinline__ float decode_f8e4m3(u32 code)
{
  float r;
  asm("{ .reg .b16 c, lo, hi; .reg .b32 two; cvt.u16.u32 c, %1; cvt.rn.f16x2.e4m3x2 two, c; mov.b32 {lo, hi}, two; cvt.f32.f16 %0, lo; }"
      : "=f"(r) : "r"(code & 0xffu));
  return r;
}
//@ decode_f8e4m3 <89 : decode_float
__device__ __forceinline__ float decode_f8e4m3(u32 code) { return decode_float<4, 3, NAN_ONLY>(code & 0xffu); }
//@ pack_f8e4m3 >=89
// PTX ISA: cvt
__device__ __forceinline__ u32 pack_f8e4m3(float a, float b, float c, float d)
{
  u32 r;
  asm("{ .reg .b16 lo, hi; cvt.rn.satfinite.e4m3x2.f32 lo, %2, %1; cvt.rn.satfinite.e4m3x2.f32 hi, %4, %3; mov.b32 %0, {lo, hi}; }"
      : "=r"(r) : "f"(a), "f"(b), "f"(c), "f"(d));
  return r;
}
//@ pack_f8e4m3 <89 : encode_f8e4m3 pack_bits
__device__ __forceinline__ u32 pack_f8e4m3(float a, float b, float c, float d)
{ return pack_bits<8>(encode_f8e4m3(a), encode_f8e4m3(b), encode_f8e4m3(c), encode_f8e4m3(d)); }
//@ encode_f8e5m2 >=89
// PTX ISA: cvt, which saturates; from halfway beyond the largest number on the code is that of infinity
__device__ __forceinline__ u32 encode_f8e5m2(float x)
{
  u32 r;
  asm("{ .reg .b16 h; cvt.rn.satfinite.e5m2x2.f32 h, %1, %2; cvt.u32.u16 %0, h; }" : "=r"(r) : "f"(0.0f), "f"(x));
  return fabsf(x) >= 61440.0f ? (r & 0x80u) | 0x7cu : r;
}
//@ encode_f8e5m2 <89 : encode_float
__device__ __forceinline__ u32 encode_f8e5m2(float x) { return encode_float<5, 2, IEEE>(x); }
//@ decode_f8e5m2 : unpack_f16
// an e5m2 is the high half of an f16
__device__ __forceinline__ float decode_f8e5m2(u32 code) { return unpack_f16<0>(code << 8); }
//@ encode_e8m0
// the nearest power of two, ties to the even code; NaN and negative numbers are 255
__device__ __forceinline__ u32 encode_e8m0(float x)
{
  const u32 u = __float_as_uint(x);
  if ((u & 0x7fffffffu) > 0x7f800000u || (u >> 31 && u << 1)) return 255u;
  if (u << 1 < 0x01000000u) return u << 1 > 0x00c00000u ? 1u : 0u; // a subnormal: above 1.5 * 2^-127 or not
  return min((u + 0x3fffffu + (u >> 23 & 1u)) >> 23, 254u);
}
//@ decode_e8m0
// 2^(code - 127): a code of 0 is subnormal, and the infinity of 255 becomes NaN where it meets the zero
__device__ __forceinline__ float decode_e8m0(u32 code)
{ const float power = fmaxf(__uint_as_float(code << 23), __uint_as_float(0x00400000u)); return fmaf(power, 0.0f, power); }
//@ lop3
// PTX ISA: lop3
template <u32 table> __device__ __forceinline__ u32 lop3(u32 a, u32 b, u32 c)
{ u32 r; asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(r) : "r"(a), "r"(b), "r"(c), "n"(table)); return r; }
//@ prmt
// PTX ISA: prmt
__device__ __forceinline__ u32 prmt(u32 a, u32 b, u32 selector)
{ u32 r; asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(selector)); return r; }
//@ both_halves
// PTX ISA: mov, by halves, which ptxas makes part of the instruction that takes it; a prmt stays one
__device__ __forceinline__ u32 both_halves(u32 a, int high)
{
  u32 r;
  if (high) asm("{ .reg .b16 l, h; mov.b32 {l, h}, %1; mov.b32 %0, {h, h}; }" : "=r"(r) : "r"(a));
  else asm("{ .reg .b16 l, h; mov.b32 {l, h}, %1; mov.b32 %0, {l, l}; }" : "=r"(r) : "r"(a));
  return r;
}
//@ move
// PTX ISA: mov; volatile, so that it stays behind the waits in front of it
__device__ __forceinline__ u32 move(u32 a) { u32 r; asm volatile("mov.b32 %0, %1;" : "=r"(r) : "r"(a)); return r; }
//@ add2_f16
// PTX ISA: half precision add
__device__ __forceinline__ u32 add2_f16(u32 a, u32 b) { u32 r; asm("add.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b)); return r; }
//@ sub2_f16
// PTX ISA: half precision sub
__device__ __forceinline__ u32 sub2_f16(u32 a, u32 b) { u32 r; asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b)); return r; }
//@ mul2_f16
// PTX ISA: half precision mul
__device__ __forceinline__ u32 mul2_f16(u32 a, u32 b) { u32 r; asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b)); return r; }
//@ fma2_f16
// PTX ISA: half precision fma
__device__ __forceinline__ u32 fma2_f16(u32 a, u32 b, u32 c)
{ u32 r; asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c)); return r; }
//@ fma2_bf16
// PTX ISA: half precision fma
__device__ __forceinline__ u32 fma2_bf16(u32 a, u32 b, u32 c)
{ u32 r; asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c)); return r; }
//@ add2_bf16 >=90
// PTX ISA: half precision add
__device__ __forceinline__ u32 add2_bf16(u32 a, u32 b) { u32 r; asm("add.rn.bf16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b)); return r; }
//@ add2_bf16 <90 : fma2_bf16
// a * 1 + b
__device__ __forceinline__ u32 add2_bf16(u32 a, u32 b) { return fma2_bf16(a, 0x3f803f80u, b); }
//@ sub2_bf16 >=90
// PTX ISA: half precision sub
__device__ __forceinline__ u32 sub2_bf16(u32 a, u32 b) { u32 r; asm("sub.rn.bf16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b)); return r; }
//@ sub2_bf16 <90 : fma2_bf16
// b * -1 + a
__device__ __forceinline__ u32 sub2_bf16(u32 a, u32 b) { return fma2_bf16(b, 0xbf80bf80u, a); }
//@ mul2_bf16 >=90
// PTX ISA: half precision mul
__device__ __forceinline__ u32 mul2_bf16(u32 a, u32 b) { u32 r; asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b)); return r; }
//@ mul2_bf16 <90 : fma2_bf16
// a * b + -0, which keeps the sign of zero
__device__ __forceinline__ u32 mul2_bf16(u32 a, u32 b) { return fma2_bf16(a, b, 0x80008000u); }
//@ cvt2_f8e4m3 >=89
// PTX ISA: cvt
__device__ __forceinline__ u32 cvt2_f8e4m3(u32 two)
{ u32 r; asm("{ .reg .b16 c; cvt.u16.u32 c, %1; cvt.rn.f16x2.e4m3x2 %0, c; }" : "=r"(r) : "r"(two)); return r; }
//@ cvt2_f8e4m3 <89 : mul2_f16
// exponent and mantissa moved into place in an f16 and scaled by 2^8, the difference of the biases; the product is exact
__device__ __forceinline__ u32 cvt2_f8e4m3(u32 two)
{
  const u32 spread = (two & 0xffu) | (two & 0xff00u) << 8, magnitude = spread & 0x007f007fu;
  u32 r = mul2_f16(magnitude << 7, 0x5c005c00u);
  if ((magnitude & 0x7fu) == 0x7fu) r |= 0x7fffu;
  if (magnitude >> 16 == 0x7fu) r |= 0x7fff0000u;
  return r | (spread & 0x00800080u) << 8;
}
//@ cvt2_f8e5m2
// an e5m2 is the high half of an f16
__device__ __forceinline__ u32 cvt2_f8e5m2(u32 two) { return (two & 0xffu) << 8 | (two & 0xff00u) << 16; }
//@ count_event
// PTX ISA: red; for --count-events. By every thread: with a branch between them wgmmas are not in one flow (ptxas C7519).
__device__ __forceinline__ void count_event(u64 *count, u64 amount)
{ asm volatile("red.relaxed.gpu.global.add.u64 [%0], %1;" :: "l"(count), "l"(amount) : "memory"); }
//@ mbar_init
// PTX ISA: mbarrier.init, for `slots` barriers in a row
__device__ __forceinline__ void mbar_init(u32 bar, int slots, u32 count)
{
  for (int i = 0; i < slots; ++i) asm volatile("mbarrier.init.shared.b64 [%0], %1;" :: "r"(bar + 8 * i), "r"(count) : "memory");
}
//@ mbar_expect
// PTX ISA: mbarrier.arrive.expect_tx
__device__ __forceinline__ void mbar_expect(u32 bar, u32 bytes)
{ asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(bar), "r"(bytes) : "memory"); }
//@ mbar_arrive
// PTX ISA: mbarrier.arrive
__device__ __forceinline__ void mbar_arrive(u32 bar)
{ asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" :: "r"(bar) : "memory"); }
//@ mbar_arrive_remote
// PTX ISA: mapa, mbarrier.arrive. The semantics are the default ones: spelled .release.cluster, each arrival waits for a fence of the GPU.
__device__ __forceinline__ void mbar_arrive_remote(u32 bar, u32 rank)
{
  asm volatile("{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1; mbarrier.arrive.shared::cluster.b64 _, [remote]; }"
               :: "r"(bar), "r"(rank) : "memory");
}
//@ mbar_wait >=90
// PTX ISA: mbarrier.try_wait
__device__ __forceinline__ void mbar_wait(u32 bar, u32 parity)
{
  asm volatile("{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra finished;\nbra again;\nfinished:\n}"
               :: "r"(bar), "r"(parity) : "memory");
}
//@ mbar_wait <90
// PTX ISA: mbarrier.test_wait
__device__ __forceinline__ void mbar_wait(u32 bar, u32 parity)
{
  asm volatile("{\n.reg .pred done;\nagain:\nmbarrier.test_wait.parity.shared.b64 done, [%0], %1;\n@done bra finished;\nbra again;\nfinished:\n}"
               :: "r"(bar), "r"(parity) : "memory");
}
//@ mbar_wait_bounded
// PTX ISA: mbarrier.test_wait; for --debug-barriers: about a second of polls, then who waits for what, and trap
__device__ __noinline__ void mbar_wait_bounded(u32 bar, u32 parity, const char *role, const char *name, int slot, int iteration, int line)
{
  for (u32 polls = 0; polls < 1u << 26; ++polls) {
    u32 done;
    asm volatile("{\n.reg .pred done;\nmbarrier.test_wait.parity.shared.b64 done, [%1], %2;\nselp.u32 %0, 1, 0, done;\n}"
                 : "=r"(done) : "r"(bar), "r"(parity) : "memory");
    if (done) return;
  }
  printf("line %d: block %d, thread %d, role %s: no end of the wait for parity %u of %s slot %d in iteration %d\n", line,
         (int)blockIdx.x, (int)threadIdx.x, role, parity, name, slot, iteration);
  __trap();
}
//@ bar_sync
// PTX ISA: bar.sync
template <int id, int threads> __device__ __forceinline__ void bar_sync() { asm volatile("bar.sync %0, %1;" :: "n"(id), "n"(threads) : "memory"); }
//@ bar_sync_at
// PTX ISA: bar.sync
template <int threads> __device__ __forceinline__ void bar_sync_at(int id) { asm volatile("bar.sync %0, %1;" :: "r"(id), "n"(threads) : "memory"); }
//@ bar_arrive
// PTX ISA: bar.arrive
template <int id, int threads> __device__ __forceinline__ void bar_arrive() { asm volatile("bar.arrive %0, %1;" :: "n"(id), "n"(threads) : "memory"); }
//@ fence_async
// PTX ISA: fence.proxy.async
__device__ __forceinline__ void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
//@ fence_mbar_init
// PTX ISA: fence.mbarrier_init
__device__ __forceinline__ void fence_mbar_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
//@ cluster_sync
// PTX ISA: barrier.cluster; the aligned forms want whole warps
__device__ __forceinline__ void cluster_sync()
{
  __syncwarp();
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
//@ cp_commit
// PTX ISA: cp.async.commit_group
__device__ __forceinline__ void cp_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
//@ cp_wait
// PTX ISA: cp.async.wait_group
template <int pending> __device__ __forceinline__ void cp_wait() { asm volatile("cp.async.wait_group %0;" :: "n"(pending) : "memory"); }
//@ bulk_commit
// PTX ISA: cp.async.bulk.commit_group
__device__ __forceinline__ void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
//@ bulk_wait
// PTX ISA: cp.async.bulk.wait_group
template <int pending> __device__ __forceinline__ void bulk_wait() { asm volatile("cp.async.bulk.wait_group %0;" :: "n"(pending) : "memory"); }
//@ bulk_wait_read
// PTX ISA: cp.async.bulk.wait_group
template <int pending> __device__ __forceinline__ void bulk_wait_read() { asm volatile("cp.async.bulk.wait_group.read %0;" :: "n"(pending) : "memory"); }
//@ grid_wait
// PTX ISA: griddepcontrol
__device__ __forceinline__ void grid_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
//@ grid_launch
// PTX ISA: griddepcontrol
__device__ __forceinline__ void grid_launch() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }
//@ setmaxnreg_inc
// PTX ISA: setmaxnreg
template <int registers> __device__ __forceinline__ void setmaxnreg_inc() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(registers)); }
//@ setmaxnreg_dec
// PTX ISA: setmaxnreg
template <int registers> __device__ __forceinline__ void setmaxnreg_dec() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(registers)); }
//@ bulk_load
// PTX ISA: cp.async.bulk
__device__ __forceinline__ void bulk_load(u32 destination, const unsigned char *source, u32 bytes, u32 bar)
{
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
               :: "r"(destination), "l"(source), "r"(bytes), "r"(bar) : "memory");
}
//@ tma_prefetch : tensor_map
// PTX ISA: prefetch.tensormap
__device__ __forceinline__ void tma_prefetch(const tensor_map *map) { asm volatile("prefetch.tensormap [%0];" :: "l"(map) : "memory"); }
//@ descriptor
// PTX ISA: asynchronous warpgroup-level matrix, matrix descriptor; arithmetic stays on the low word
__device__ __forceinline__ u64 descriptor(u32 lo, u32 hi) { u64 r; asm("mov.b64 %0, {%1, %2};" : "=l"(r) : "r"(lo), "r"(hi)); return r; }
//@ wgmma_fence
// PTX ISA: wgmma.fence
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
//@ wgmma_commit
// PTX ISA: wgmma.commit_group
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
//@ wgmma_wait
// PTX ISA: wgmma.wait_group
template <int pending> __device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(pending) : "memory"); }
