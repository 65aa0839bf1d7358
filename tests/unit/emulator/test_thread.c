/* The thread form: engines, barriers and tensor cores compute what they should, and weakened synchronisation is found. */
#include "tests/unit/emulator/run_text.h"

#include <math.h>

/* C = A * B^T: a producer warp fills a ring of two slots by TMA, four warps multiply by wgmma. */
static const char ring[] =
    "source \"t.tl\"\n"
    "kernel @ring target sm_90a form thread {threads = 160, shared_bytes = 18464} @1:1\n"
    "  size %K {multiple_of = 64}\n"
    "  arg %A: global f16[64, %K] in @1:2\n"
    "  arg %B: global f16[8, %K] in @1:3\n"
    "  arg %C: global f32[64, 8] out @1:4\n"
    "  blocks 1\n"
    "  alloc %As: shared f16[64, 64] slots 2 offset 0 layout #shared[64x64 16b]{swizzle 128} @2:1\n"
    "  alloc %Bs: shared f16[8, 64] slots 2 offset 16384 layout #shared[8x64 16b]{swizzle 128} @2:2\n"
    "  alloc %full: barrier slots 2 arrivals 1 offset 18432 @2:3\n"
    "  alloc %empty: barrier slots 2 arrivals 4 offset 18448 @2:4\n"
    "  alloc %A_map: map of %A box [64, 64] swizzle 128\n"
    "  alloc %B_map: map of %B box [8, 64] swizzle 128\n"
    "  alloc %acc: registers f32[4] @2:5\n"
    "  alloc %k: index\n"
    "  alloc %j: index\n"
    "  alloc %g: scalar i32\n"
    "  alloc %c: scalar i32\n"
    "do\n"
    "  if tid() == 0 do\n"
    "    mbar.init %full, 1 @10:1\n"
    "    mbar.init %empty, 4 @11:1\n"
    "    fence.mbar_init @12:1\n"
    "  end\n"
    "  bar.sync {id = 0, threads = 160} @13:1\n"
    "  role producer {warp_first = 4, warp_count = 1} do\n"
    "    if lane() == 0 do\n"
    "      for %k in 0 .. %K / 64 step 1 do\n"
    "        mbar.wait %empty@(%k % 2), %k / 2 % 2 ^ 1 @20:1\n"
    "        mbar.expect %full@(%k % 2), 9216 @21:1\n"
    "        %As@(%k % 2) <- tma.load %A_map, %full@(%k % 2), address(%As@(%k % 2)), 0u, %k * 64, 0 @22:1\n"
    "        %Bs@(%k % 2) <- tma.load %B_map, %full@(%k % 2), address(%Bs@(%k % 2)), 0u, %k * 64, 0 @23:1\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "  role consumer {warp_first = 0, warp_count = 4} do\n"
    "    declare %acc\n"
    "    for %k in 0 .. %K / 64 step 1 do\n"
    "      mbar.wait %full@(%k % 2), %k / 2 % 2 @30:1\n"
    "      wgmma.fence @31:1\n"
    "      for %j in 0 .. 4 step 1 do\n"
    "        %acc[0] <- wgmma none, %As@(%k % 2), %Bs@(%k % 2), (address(%As@(%k % 2)) >> 4) + u32(%j * 2), "
    "(address(%Bs@(%k % 2)) >> 4) + u32(%j * 2), %k + %j > 0 {n = 8, k = 16} @32:1\n"
    "      end\n"
    "      wgmma.commit @33:1\n"
    "      wgmma.wait {pending = 0} @34:1\n"
    "      warp.sync @35:1\n"
    "      if lane() == 0 do\n"
    "        mbar.arrive %empty@(%k % 2) @36:1\n"
    "      end\n"
    "    end\n"
    "    let %g <- warp() * 16 + lane() / 4\n"
    "    let %c <- lane() % 4 * 2\n"
    "    %C <- st.global %acc[0], i64(%g * 32 + %c * 4), true {width = 8} @40:1\n"
    "    %C <- st.global %acc[2], i64((%g + 8) * 32 + %c * 4), true {width = 8} @41:1\n"
    "  end\n"
    "end\n";

/* Y = X by way of shared memory: cp.async in, ldmatrix, stmatrix, a TMA store out; then a product by mma.sync. */
static const char copies[] =
    "source \"t.tl\"\n"
    "kernel @copies target sm_90a form thread {threads = 64, shared_bytes = 2048} @1:1\n"
    "  arg %X: global f16[16, 16] in @1:2\n"
    "  arg %Y: global f16[16, 16] out @1:3\n"
    "  arg %D: global f32[16, 8] out @1:4\n"
    "  blocks 1\n"
    "  alloc %s: shared f16[16, 16] offset 0 layout #shared[16x16 16b]{swizzle none} @2:1\n"
    "  alloc %o: shared f16[16, 16] offset 1024 layout #shared[16x16 16b]{swizzle none} @2:2\n"
    "  alloc %Y_map: map of %Y box [16, 16] swizzle 0\n"
    "  alloc %a: registers f16[8] @2:3\n"
    "  alloc %b: registers f16[4] @2:4\n"
    "  alloc %d: registers f32[4] @2:5\n"
    "  alloc %r: index\n"
    "  alloc %at: scalar u32\n"
    "do\n"
    "  role loader {warp_first = 1, warp_count = 1} do\n"
    "    %s <- cp.async %X, address(%s) + u32(lane() * 16), i64(lane() * 16), 16 {width = 16} @10:1\n"
    "    cp.commit @11:1\n"
    "    cp.wait {pending = 0} @12:1\n"
    "    bar.sync {id = 1, threads = 64} @13:1\n"
    "  end\n"
    "  role worker {warp_first = 0, warp_count = 1} do\n"
    "    declare %a\n"
    "    declare %b\n"
    "    declare %d\n"
    "    bar.sync {id = 1, threads = 64} @20:1\n"
    "    let %at <- u32(lane() % 16 * 32 + lane() / 16 * 16)\n"
    "    %a[0] <- ldmatrix %s, address(%s) + %at {count = 4} @21:1\n"
    "    %b[0] <- ldmatrix %s, address(%s) + u32(lane() % 8 * 32 + lane() / 8 % 2 * 16) {count = 2} @22:1\n"
    "    for %r in 0 .. 4 step 1 do\n"
    "      %d[%r] <- 0.0\n"
    "    end\n"
    "    %d[0] <- mma %a[0], %b[0] {m = 16, n = 8, k = 16} @23:1\n"
    "    %D <- st.global %d[0], i64(lane() / 4 * 32 + lane() % 4 * 8), true {width = 8} @24:1\n"
    "    %D <- st.global %d[2], i64(lane() / 4 * 32 + 256 + lane() % 4 * 8), true {width = 8} @25:1\n"
    "    %o <- stmatrix %a[0], address(%o) + %at {count = 4} @26:1\n"
    "    fence.async @27:1\n"
    "    warp.sync @28:1\n"
    "    if lane() == 0 do\n"
    "      %Y_map <- tma.store %o, address(%o), 0, 0 @29:1\n"
    "      bulk.commit @30:1\n"
    "      bulk.wait {pending = 0, read = 1} @31:1\n"
    "    end\n"
    "  end\n"
    "end\n";

/* D = A * B by a sparse mma; A has two of each four k, E is metadata, a word a lane. B comes as pairs along k. */
static const char sparse[] =
    "source \"t.tl\"\n"
    "kernel @sparse target sm_80 form thread {threads = 32} @1:1\n"
    "  arg %A: global f16[16, 16] in @1:2\n"
    "  arg %B: global f16[8, 32] in @1:3\n"
    "  arg %E: global u32[32] in @1:4\n"
    "  arg %D: global f32[16, 8] out @1:5\n"
    "  blocks 1\n"
    "  alloc %a: registers f16[8]\n"
    "  alloc %b: registers f16[8]\n"
    "  alloc %e: registers u32[1]\n"
    "  alloc %d: registers f32[4]\n"
    "  alloc %r: index\n"
    "do\n"
    "  declare %a\n"
    "  declare %b\n"
    "  declare %e\n"
    "  declare %d\n"
    "  for %r in 0 .. 4 step 1 do\n"
    "    %a[%r] <- ld.global %A, i64((lane() / 4 + %r % 2 * 8) * 32 + %r / 2 * 16 + lane() % 4 * 4), true {width = 4}\n"
    "    %b[%r] <- ld.global %B, i64(lane() / 4 * 64 + %r * 16 + lane() % 4 * 4), true {width = 4}\n"
    "    %d[%r] <- 0.0\n"
    "  end\n"
    "  %e[0] <- ld.global %E, i64(lane() * 4), true {width = 4}\n"
    "  %d[0] <- mma %a[0], %b[0], %e[0] {m = 16, n = 8, k = 32, selector = 1} @2:1\n"
    "  %D <- st.global %d[0], i64(lane() / 4 * 32 + lane() % 4 * 8), true {width = 8}\n"
    "  %D <- st.global %d[2], i64(lane() / 4 * 32 + 256 + lane() % 4 * 8), true {width = 8}\n"
    "end\n";

/* Two blocks: the first loads a row for both, each arrives at the other's barrier before it leaves. */
static const char pair[] =
    "source \"t.tl\"\n"
    "kernel @pair target sm_90a form thread {threads = 32, cluster = 2, shared_bytes = 256} @1:1\n"
    "  arg %X: global f32[1, 32] in @1:2\n"
    "  arg %Y: global f32[2, 32] out @1:3\n"
    "  blocks 2\n"
    "  alloc %s: shared f32[1, 32] offset 0 layout #shared[1x32 32b]{swizzle none} @2:1\n"
    "  alloc %full: barrier arrivals 1 offset 128 @2:2\n"
    "  alloc %gone: barrier arrivals 1 offset 136 @2:3\n"
    "  alloc %X_map: map of %X box [1, 32] swizzle 0\n"
    "  alloc %w: registers f32[1] @2:4\n"
    "do\n"
    "  if lane() == 0 do\n"
    "    mbar.init %full, 1 @10:1\n"
    "    mbar.init %gone, 1 @11:1\n"
    "    fence.mbar_init @12:1\n"
    "    mbar.expect %full, 128 @13:1\n"
    "  end\n"
    "  cluster.sync @14:1\n"
    "  if cta_rank() == 0 & lane() == 0 do\n"
    "    %s <- tma.load %X_map, %full, address(%s), 3u, 0, 0 @15:1\n"
    "  end\n"
    "  mbar.wait %full, 0 @16:1\n"
    "  declare %w\n"
    "  %w[0] <- ld.shared %s, address(%s) + u32(lane() * 4), true {width = 4} @17:1\n"
    "  %Y <- st.global %w[0], i64(block() * 128 + lane() * 4), true {width = 4} @18:1\n"
    "  if lane() == 0 do\n"
    "    mbar.arrive %gone, 1 - cta_rank() @19:1\n"
    "  end\n"
    "  mbar.wait %gone, 0 @20:1\n"
    "end\n";

enum { STEPS = 5, K = 64 * STEPS };

static void fill_ring(run *r) {
  r->sizes[r->size_count++] = K;
  emulator_tensor *a = run_tensor(r, IR_F16, 64 * K), *b = run_tensor(r, IR_F16, 8 * K);
  run_tensor(r, IR_F32, 64 * 8);
  for (int i = 0; i < 64 * K; i++)
    put(a, IR_F16, (size_t)i, i % 7 - 3);
  for (int i = 0; i < 8 * K; i++)
    put(b, IR_F16, (size_t)i, i % 5 - 2);
}

static void fill_copies(run *r) {
  emulator_tensor *x = run_tensor(r, IR_F16, 256);
  run_tensor(r, IR_F16, 256);
  run_tensor(r, IR_F32, 128);
  for (int i = 0; i < 256; i++)
    put(x, IR_F16, (size_t)i, i % 11 - 5);
}

/* The places of a row's group of four k, two bits each, the lower one first. */
static int places(int row, int group) {
  static const int all[6] = {1 << 2 | 0, 2 << 2 | 0, 3 << 2 | 0, 2 << 2 | 1, 3 << 2 | 1, 3 << 2 | 2};
  return all[(row * 5 + group * 7 + row * group) % 6];
}

enum { SELECTOR = 1 };

static void fill_sparse(run *r) {
  emulator_tensor *a = run_tensor(r, IR_F16, 256), *b = run_tensor(r, IR_F16, 256), *e = run_tensor(r, IR_U32, 32);
  run_tensor(r, IR_F32, 128);
  for (int i = 0; i < 256; i++) {
    put(a, IR_F16, (size_t)i, i % 11 - 5);
    put(b, IR_F16, (size_t)i, i % 13 - 6);
  }
  for (int lane = 0; lane < 32; lane++) { /* the lanes that are not asked have what no mma may have */
    uint32_t word = 0;
    for (int i = 0; i < 8 && lane % 4 / 2 == SELECTOR; i++)
      word |= (uint32_t)places(lane / 4 + i / 4 * 8, lane % 2 * 4 + i % 4) << (4 * i);
    ir_put_bits(e->bytes, (size_t)lane, 32, word);
  }
}

static void fill_pair(run *r) {
  emulator_tensor *x = run_tensor(r, IR_F32, 32);
  run_tensor(r, IR_F32, 64);
  for (int i = 0; i < 32; i++)
    put(x, IR_F32, (size_t)i, i + 0.5);
}

static double dot(const emulator_tensor *a, int row, const emulator_tensor *b, int column, int depth) {
  double sum = 0;
  for (int k = 0; k < depth; k++)
    sum += get(a, IR_F16, (size_t)(row * depth + k)) * get(b, IR_F16, (size_t)(column * depth + k));
  return sum;
}

static void ring_multiplies(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 8; seed++) {
    run r;
    run_open(&r, ring);
    fill_ring(&r);
    r.options.seed = seed;
    run_clean(&r);
    for (int m = 0; m < 64; m++)
      for (int n = 0; n < 8; n++)
        assert_true(get(&r.tensors[2], IR_F32, (size_t)(m * 8 + n)) == dot(&r.tensors[0], m, &r.tensors[1], n, K));
    assert_int_equal(r.report.counts.events[IR_EVENT_MMAS], 4 * STEPS);
    assert_int_equal(r.report.counts.events[IR_EVENT_ASYNC_LOAD_BYTES], 9216 * STEPS);
    run_close(&r);
  }
}

static void copies_arrive(void **state) {
  (void)state;
  run r;
  run_open(&r, copies);
  fill_copies(&r);
  run_clean(&r);
  for (int i = 0; i < 256; i++)
    assert_true(get(&r.tensors[1], IR_F16, (size_t)i) == get(&r.tensors[0], IR_F16, (size_t)i));
  for (int m = 0; m < 16; m++)
    for (int n = 0; n < 8; n++)
      assert_true(get(&r.tensors[2], IR_F32, (size_t)(m * 8 + n)) == dot(&r.tensors[0], m, &r.tensors[0], n, 16));
  run_close(&r);
}

static void metadata_places_what_is_there(void **state) {
  (void)state;
  run r;
  run_open(&r, sparse);
  fill_sparse(&r);
  run_clean(&r);
  for (int m = 0; m < 16; m++)
    for (int n = 0; n < 8; n++) {
      double sum = 0;
      for (int i = 0; i < 16; i++) {
        int k = i / 2 * 4 + (places(m, i / 2) >> (i % 2 * 2) & 3);
        sum += get(&r.tensors[0], IR_F16, (size_t)(m * 16 + i)) * get(&r.tensors[1], IR_F16, (size_t)(n * 32 + k));
      }
      assert_true(get(&r.tensors[3], IR_F32, (size_t)(m * 8 + n)) == sum);
    }
  run_close(&r);
}

static void pair_shares_a_load(void **state) {
  (void)state;
  run r;
  run_open(&r, pair);
  fill_pair(&r);
  run_clean(&r);
  for (int i = 0; i < 64; i++)
    assert_true(get(&r.tensors[1], IR_F32, (size_t)i) == i % 32 + 0.5);
  run_close(&r);
}

/* A change of a kernel's text that must be found. */
typedef struct change {
  const char *text; /* of the kernel */
  void (*fill)(run *r);
  const char *old; /* the end of its line is changed too when `new` is NULL: the line is left out */
  const char *new;
  emulator_finding_kind kind;
} change;

static const change changes[] = {
    {ring, fill_ring, "    mbar.init %full", NULL, EMULATOR_BARRIER},
    {ring, fill_ring, "    fence.mbar_init", NULL, EMULATOR_PROXY},
    {ring, fill_ring, "  bar.sync {id = 0", NULL, EMULATOR_RACE},
    {ring, fill_ring, "        mbar.wait %empty", NULL, EMULATOR_BARRIER},
    {ring, fill_ring, "        mbar.expect", NULL, EMULATOR_DEADLOCK},
    {ring, fill_ring, "9216", "9200", EMULATOR_DEADLOCK},
    {ring, fill_ring, "9216", "8192", EMULATOR_BARRIER},
    {ring, fill_ring, "9216", "9232", EMULATOR_DEADLOCK},
    {ring, fill_ring, "      mbar.wait %full", NULL, EMULATOR_RACE},
    {ring, fill_ring, "%k / 2 % 2 @30", "%k / 2 % 2 ^ 1 @30", EMULATOR_DEADLOCK},
    {ring, fill_ring, "      wgmma.fence", NULL, EMULATOR_FENCE},
    {ring, fill_ring, "      wgmma.commit", NULL, EMULATOR_RACE},
    {ring, fill_ring, "      wgmma.wait", NULL, EMULATOR_RACE},
    {ring, fill_ring, "pending = 0} @34", "pending = 1} @34", EMULATOR_RACE},
    {ring, fill_ring, "        mbar.arrive", NULL, EMULATOR_DEADLOCK},
    {ring, fill_ring, "mbar.init %empty, 4", "mbar.init %empty, 3", EMULATOR_RACE},
    {ring, fill_ring, "%k + %j > 0", "true", EMULATOR_UNINITIALISED},
    {ring, fill_ring, "%c * 4), true {width = 8} @40", "%c * 4 + 2), true {width = 8} @40", EMULATOR_ALIGNMENT},
    {ring, fill_ring, "(%g + 8) * 32", "(%g + 16) * 32", EMULATOR_BOUNDS},
    {ring, fill_ring, "offset 18448", "offset 18440", EMULATOR_LAUNCH},
    {ring, fill_ring, "shared_bytes = 18464", "shared_bytes = 18460", EMULATOR_LAUNCH},
    {ring, fill_ring, "%j in 0 .. 4", "%j in 0 .. 4 - warp() / 3", EMULATOR_DIVERGENCE},
    {copies, fill_copies, "    cp.commit", NULL, EMULATOR_RACE},
    {copies, fill_copies, "    cp.wait", NULL, EMULATOR_RACE},
    {copies, fill_copies, "    bar.sync {id = 1, threads = 64} @13", NULL, EMULATOR_DEADLOCK},
    {copies, fill_copies, "    bar.sync {id = 1, threads = 64} @20", NULL, EMULATOR_UNINITIALISED},
    {copies, fill_copies, "threads = 64} @13", "threads = 32} @13", EMULATOR_BARRIER},
    {copies, fill_copies, "    fence.async", NULL, EMULATOR_PROXY},
    {copies, fill_copies, "      bulk.commit", NULL, EMULATOR_RACE},
    {copies, fill_copies, "      bulk.wait", NULL, EMULATOR_RACE},
    {copies, fill_copies, "i64(lane() * 16), 16", "i64(lane() * 16 + 8), 16", EMULATOR_ALIGNMENT},
    {copies, fill_copies, "address(%o) + %at", "address(%o) + %at + 512u", EMULATOR_BOUNDS},
    {copies, fill_copies, "      %d[%r] <- 0.0", "      %d[%r & 1] <- 0.0", EMULATOR_UNINITIALISED},
    {sparse, fill_sparse, "selector = 1", "selector = 0", EMULATOR_UNSUPPORTED},
    {pair, fill_pair, "  cluster.sync", NULL, EMULATOR_BARRIER},
    {pair, fill_pair, "  mbar.wait %full", NULL, EMULATOR_UNINITIALISED},
    {pair, fill_pair, "3u", "1u", EMULATOR_DEADLOCK},
    {pair, fill_pair, "3u", "7u", EMULATOR_BOUNDS},
    {pair, fill_pair, "1 - cta_rank()", "cta_rank() * 0", EMULATOR_RACE},
    {pair, fill_pair, "  mbar.wait %gone", NULL, EMULATOR_RACE},
};

static void apply(const change *c, str *out) {
  const char *at = strstr(c->text, c->old);
  assert_non_null(at);
  str_append_bytes(out, c->text, (size_t)(at - c->text));
  if (c->new) {
    str_append(out, c->new);
    str_append(out, at + strlen(c->old));
  } else {
    str_append(out, strchr(at, '\n') + 1);
  }
}

static void weakened_kernels_are_found(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    str text = STR_EMPTY;
    apply(&changes[i], &text);
    run r;
    run_open(&r, str_text(&text));
    changes[i].fill(&r);
    bool clean = run_go(&r);
    if (clean || r.report.findings[0].kind != changes[i].kind)
      print_error("'%s' -> '%s': %s\n", changes[i].old, changes[i].new ? changes[i].new : "",
                  clean ? "nothing found" : r.report.findings[0].message);
    assert_false(clean);
    assert_int_equal(r.report.findings[0].kind, changes[i].kind);
    run_close(&r);
    str_free(&text);
  }
}

static void deadlock_names_every_waiter(void **state) {
  (void)state;
  static const change lost = {ring, fill_ring, "        mbar.arrive", NULL, EMULATOR_DEADLOCK};
  str text = STR_EMPTY;
  apply(&lost, &text);
  run r;
  run_open(&r, str_text(&text));
  fill_ring(&r);
  run_finds(&r, EMULATOR_DEADLOCK);
  const char *message = r.report.findings[0].message;
  assert_non_null(strstr(message, "warp 4 waits at 20:1 for parity 0 of 'empty' slot 0"));
  assert_non_null(strstr(message, "warp 0 waits at 30:1 for parity 1 of 'full' slot 0"));
  run_close(&r);
  str_free(&text);
}

static void race_names_both_places(void **state) {
  (void)state;
  static const change lost = {ring, fill_ring, "      mbar.wait %full", NULL, EMULATOR_RACE};
  str text = STR_EMPTY;
  apply(&lost, &text);
  run r;
  run_open(&r, str_text(&text));
  fill_ring(&r);
  run_finds(&r, EMULATOR_RACE);
  assert_int_equal(r.report.findings[0].loc.line, 32);
  assert_int_equal(r.report.findings[0].other.line, 22);
  assert_string_equal(r.report.findings[0].role, "consumer");
  run_close(&r);
  str_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ring_multiplies),
      cmocka_unit_test(copies_arrive),
      cmocka_unit_test(metadata_places_what_is_there),
      cmocka_unit_test(pair_shares_a_load),
      cmocka_unit_test(weakened_kernels_are_found),
      cmocka_unit_test(deadlock_names_every_waiter),
      cmocka_unit_test(race_names_both_places),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
