/* The cost model: more work is never faster, what cannot run is refused, and each kind of work is named as the bound
 * where it is one. */
#include "tests/unit/unit.h"

#include "passes/estimate.h"

static const char multiply[] =
    "source \"multiply.tl\"\n"
    "kernel @multiply target %s form scheduled {persistent = 1, threads = 384, warps = 8, producers = %d, raster = 8, "
    "pdl = %d}\n"
    "  size %%M\n  size %%N\n  size %%K\n"
    "  arg %%A: global f16[%%M, %%K] in\n"
    "  arg %%B: global f16[%%N, %%K] in\n"
    "  arg %%C: global f32[%%M, %%N] out\n"
    "  grid %%bn in ceildiv(%%N, %d)\n"
    "  grid %%bm in ceildiv(%%M, %d)\n"
    "  alloc %%As: shared f16[%d, %d]\n"
    "  alloc %%Bs: shared f16[%d, %d]\n"
    "  alloc %%acc: tile f32[%d, %d]\n"
    "  alloc %%k: index\n"
    "do\n"
    "  %%acc <- fill 0.0\n"
    "  for %%k in 0 .. ceildiv(%%K, %d) step 1 {stages = %d} do\n"
    "    %%As <- copy %%A[%%bm * %d : %d, %%k * %d : %d] {engine = tma}\n"
    "    %%Bs <- copy %%B[%%bn * %d : %d, %%k * %d : %d] {engine = tma}\n"
    "    %%acc <- dot %%As, %%Bs {accumulate = 1, transpose_b = 1, instruction = %s, warps_m = 8, warps_n = 1}\n"
    "  end\n"
    "  %%C[%%bm * %d : %d, %%bn * %d : %d] <- copy %%acc\n"
    "end\n";

static const char rows[] = "source \"rows.tl\"\n"
                           "kernel @rows target sm_90a form scheduled {threads = 128, warps = 4}\n"
                           "  size %%M\n  size %%N\n"
                           "  arg %%X: global %s[%%M, %%N] in\n"
                           "  arg %%Y: global %s[%%M, %%N] out\n"
                           "  grid %%bn in ceildiv(%%N, 128)\n"
                           "  grid %%bm in ceildiv(%%M, 32)\n"
                           "  alloc %%x: tile f32[32, 128]\n"
                           "  alloc %%i: index\n  alloc %%j: index\n"
                           "do\n"
                           "  %%x <- copy %%X[%%bm * 32 : 32, %%bn * 128 : 128] {engine = simt}\n"
                           "  parallel %%i in 32, %%j in 128 do\n"
                           "    %%x[%%i, %%j] <- %s\n"
                           "  end\n"
                           "  %%Y[%%bm * 32 : 32, %%bn * 128 : 128] <- copy %%x {engine = simt}\n"
                           "end\n";

/* Goes over each row twice, `%d` rows a block in tiles of `%d` columns; the second tensor that is loaded is `%s`. */
static const char readings[] = "source \"twice.tl\"\n"
                               "kernel @twice target sm_90a form scheduled {threads = 128, warps = 4}\n"
                               "  size %%M\n  size %%N\n"
                               "  arg %%X: global f16[%%M, %%N] in\n"
                               "  arg %%Z: global f16[%%M, %%N] in\n"
                               "  arg %%Y: global f16[%%M, %%N] out\n"
                               "  grid %%i in ceildiv(%%M, %d)\n"
                               "  alloc %%x: tile f32[%d, %d]\n"
                               "  alloc %%sum: tile f32[%d, %d]\n"
                               "  alloc %%total: tile f32[%d]\n"
                               "  alloc %%j: index\n  alloc %%k: index\n  alloc %%a: index\n  alloc %%b: index\n"
                               "do\n"
                               "  %%total <- fill 0.0\n"
                               "  for %%j in 0 .. ceildiv(%%N, %d) step 1 do\n"
                               "    %%x <- copy %%X[%%i * %d : %d, %%j * %d : %d] {engine = simt}\n"
                               "    parallel %%a in %d, %%b in %d do\n"
                               "      %%sum[%%a, %%b] <- %%x[%%a, %%b] * %%x[%%a, %%b]\n"
                               "    end\n"
                               "    %%total <- reduce %s {axis = 1, operation = sum, accumulate = 1}\n"
                               "  end\n"
                               "  for %%k in 0 .. ceildiv(%%N, %d) step 1 do\n"
                               "    %%x <- copy %s[%%i * %d : %d, %%k * %d : %d] {engine = simt}\n"
                               "    %%Y[%%i * %d : %d, %%k * %d : %d] <- copy %%x {engine = simt}\n"
                               "  end\n"
                               "end\n";

typedef struct sizes {
  int64_t m, n, k;
} sizes;

static estimate estimate_text(const char *text, sizes s) {
  arena *memory = arena_create(), *scratch = arena_create();
  diag *d = diag_create();
  uint16_t file = diag_add_file(d, "test.tir", text, strlen(text));
  ir_module *module = ir_parse_module(memory, d, file, text, strlen(text));
  if (!module) print_error("%s\n", diag_first_error(d));
  assert_non_null(module);
  assert_true(ir_verify(module->kernels, d));
  const pass_number expected[] = {{"M", s.m}, {"N", s.n}, {"K", s.k}};
  const pass_options options = {.level = 2, .expected = expected, .expected_count = 3};
  estimate first, second;
  estimate_kernel(module->kernels, &options, scratch, &first);
  estimate_kernel(module->kernels, &options, scratch, &second);
  assert_true(first.microseconds == second.microseconds);
  for (int i = 0; i < ESTIMATE_TERM_COUNT; i++)
    assert_true(first.term[i] == second.term[i] && first.term[i] >= 0);
  diag_destroy(d);
  arena_destroy(scratch);
  arena_destroy(memory);
  return first;
}

typedef struct plan {
  const char *target, *instruction;
  int m, n, k, stages;
  bool overlaps;
} plan;

static estimate multiply_by(plan p, sizes s) {
  char text[4096];
  int producers = strncmp(p.instruction, "mma", 3) ? 4 : 1;
  snprintf(text, sizeof text, multiply, p.target, producers, p.overlaps, p.n, p.m, p.m, p.k, p.n, p.k, p.m, p.n, p.k,
           p.stages, p.m, p.m, p.k, p.k, p.n, p.n, p.k, p.k, p.instruction, p.m, p.m, p.n, p.n);
  return estimate_text(text, s);
}

static estimate multiply_with(const char *target, const char *instruction, int bm, int bn, int stages, sizes s) {
  return multiply_by((plan){target, instruction, bm, bn, 64, stages, false}, s);
}

static estimate multiply_at(int bm, int bn, sizes s) { return multiply_with("sm_90a", "wgmma", bm, bn, 3, s); }

static estimate rows_at(const char *type, const char *value, sizes s) {
  char text[4096];
  snprintf(text, sizeof text, rows, type, type, value);
  return estimate_text(text, s);
}

static estimate twice_at(int r, int c, const char *again, const char *reduced, sizes s) {
  char text[4096];
  snprintf(text, sizeof text, readings, r, r, c, r, c, r, c, r, r, c, c, r, c, reduced, c, again, r, r, c, c, r, r, c,
           c);
  return estimate_text(text, s);
}

static void test_more_is_not_faster(void **state) {
  (void)state;
  double before = 0;
  for (int64_t size = 256; size <= 16384; size *= 2) {
    double each[] = {multiply_at(128, 256, (sizes){size, 4096, 4096}).microseconds,
                     multiply_at(128, 256, (sizes){4096, size, 4096}).microseconds,
                     multiply_at(128, 256, (sizes){4096, 4096, size}).microseconds,
                     rows_at("f16", "%x[%i, %j] * 2.0", (sizes){size, 4096, 1}).microseconds};
    double sum = 0;
    for (int i = 0; i < 4; i++)
      sum += each[i];
    assert_true(sum >= before);
    before = sum;
  }
}

static void test_more_bytes_are_not_faster(void **state) {
  (void)state;
  sizes s = {8192, 8192, 1};
  estimate narrow = rows_at("f16", "%x[%i, %j] * 2.0", s), wide = rows_at("f32", "%x[%i, %j] * 2.0", s);
  assert_true(wide.microseconds > narrow.microseconds);
  assert_true(wide.term[ESTIMATE_HBM] > 1.9 * narrow.term[ESTIMATE_HBM]);
  /* the bytes of the tensors over the bandwidth are a floor */
  assert_true(wide.microseconds * 4800e3 >= 2.0 * 8192 * 8192 * 4);
}

static void test_more_work_is_not_faster(void **state) {
  (void)state;
  sizes s = {8192, 8192, 1};
  estimate once = rows_at("f16", "exp2(%x[%i, %j])", s),
           twice = rows_at("f16", "exp2(exp2(exp2(exp2(exp2(exp2(%x[%i, %j]))))))", s);
  assert_true(twice.microseconds > once.microseconds);
  assert_true(twice.term[ESTIMATE_EXP] > 5.9 * once.term[ESTIMATE_EXP]);
}

static void test_bounds(void **state) {
  (void)state;
  sizes s = {8192, 8192, 8192};
  assert_int_equal(rows_at("f32", "%x[%i, %j] * 2.0", s).bound, ESTIMATE_HBM);
  assert_int_equal(rows_at("f16", "exp2(exp2(exp2(exp2(exp2(exp2(%x[%i, %j]))))))", s).bound, ESTIMATE_EXP);
  assert_int_equal(multiply_with("sm_90a", "wgmma", 64, 64, 8, s).bound, ESTIMATE_L2);
  assert_int_equal(multiply_at(128, 256, (sizes){1, 2048, 8192}).bound, ESTIMATE_TAIL);
  assert_string_equal(estimate_term_name(ESTIMATE_TAIL), "tail");
}

/* Larger tiles move less and are faster where there is work for all SMs; where there is not, smaller ones are. */
static void test_tiles(void **state) {
  (void)state;
  sizes large = {8192, 8192, 8192}, small = {64, 4096, 4096};
  assert_true(multiply_at(128, 256, large).microseconds < multiply_at(128, 128, large).microseconds);
  assert_true(multiply_at(128, 128, large).microseconds < multiply_at(64, 64, large).microseconds);
  assert_true(multiply_at(64, 64, small).microseconds < multiply_at(128, 256, small).microseconds);
}

static void test_stages_hide_latency(void **state) {
  (void)state;
  sizes s = {64, 4096, 4096};
  double two = multiply_with("sm_90a", "wgmma", 64, 64, 2, s).microseconds,
         four = multiply_with("sm_90a", "wgmma", 64, 64, 4, s).microseconds;
  assert_true(four < two);
}

/* What a launch takes longer that overlaps the one ahead. */
static double cost_of_overlap(plan p, sizes s) {
  p.overlaps = false;
  double cost = -multiply_by(p, s).microseconds;
  p.overlaps = true;
  return cost + multiply_by(p, s).microseconds;
}

/* A launch that overlaps the one ahead fills its slots before it waits: deep rings cost it more. */
static void test_slots_ahead(void **state) {
  (void)state;
  sizes s = {64, 8448, 512}; /* a tile for each SM, as many turns as the deeper ring has slots */
  double few = cost_of_overlap((plan){"sm_90a", "wgmma", 64, 64, 64, 4, false}, s),
         many = cost_of_overlap((plan){"sm_90a", "wgmma", 64, 64, 64, 8, false}, s);
  assert_true(few > 0 && many > few);
}

/* It gets the room of blocks one by one where an SM has several. */
static void test_room_for_overlap(void **state) {
  (void)state;
  plan p = {"sm_90a", "mma", 16, 64, 64, 2, false};
  double one = cost_of_overlap(p, (sizes){16, 64 * 132, 8192}), two = cost_of_overlap(p, (sizes){16, 64 * 264, 8192});
  assert_true(two < one - 0.5);
}

/* Sums of warps that share k are added behind the loop. */
static void test_shared_sums(void **state) {
  (void)state;
  sizes s = {64, 64 * 132, 1024};
  double alone = multiply_with("sm_90a", "mma", 64, 64, 4, s).microseconds,
         parted = multiply_with("sm_90a", "mma, warps_k = 4", 64, 64, 4, s).microseconds;
  assert_true(parted > alone + 0.5 && parted < alone + 10);
}

/* Three stages of a large tile hide what four do, where the tensor cores bound the kernel and not device memory. */
static void test_stages_of_large_tiles(void **state) {
  (void)state;
  sizes s = {4096, 14336, 4096};
  double three = multiply_with("sm_90a", "wgmma", 128, 256, 3, s).microseconds,
         four = multiply_with("sm_90a", "wgmma", 128, 256, 4, s).microseconds;
  assert_true(three >= four && three < 1.03 * four);
}

/* Rows that are swizzled in less than 128 bytes take longer to read. */
static void test_narrow_panels(void **state) {
  (void)state;
  sizes s = {8192, 8192, 6144};
  double whole = multiply_by((plan){"sm_90a", "wgmma", 128, 128, 64, 4, false}, s).term[ESTIMATE_SHARED],
         half = multiply_by((plan){"sm_90a", "wgmma", 128, 128, 96, 4, false}, s).term[ESTIMATE_SHARED],
         quarter = multiply_by((plan){"sm_90a", "wgmma", 128, 128, 48, 4, false}, s).term[ESTIMATE_SHARED];
  assert_true(half > 1.1 * whole);
  assert_true(quarter > 1.1 * half);
}

/* What a block loads again costs device memory only when the blocks of a wave hold more than the L2 keeps. */
static void test_loads_again(void **state) {
  (void)state;
  sizes s = {16384, 8192, 1};
  double few = twice_at(1, 2048, "%X", "%sum", s).term[ESTIMATE_HBM],
         many = twice_at(16, 256, "%X", "%sum", s).term[ESTIMATE_HBM],
         other = twice_at(1, 2048, "%Z", "%sum", s).term[ESTIMATE_HBM], tensor = other / 3;
  assert_true(tensor > 2.0 * 16384 * 8192 / 4800e3 && tensor < 1.2 * (2.0 * 16384 * 8192 / 4800e3));
  assert_true(few > 2 * tensor && few < 2.3 * tensor);
  assert_true(many > 2.99 * tensor && many < 3.01 * tensor);
  assert_true(twice_at(1, 2048, "%X", "%sum", s).microseconds < twice_at(16, 256, "%X", "%sum", s).microseconds);
}

/* What an elementwise loop computes for a sum needs no registers of its own; what is there beside it does. */
static void test_summed_at_once(void **state) {
  (void)state;
  sizes s = {16384, 8192, 1};
  estimate once = twice_at(1, 4096, "%X", "%sum", s), other = twice_at(1, 4096, "%X", "%x", s);
  assert_true(once.registers < other.registers);
  assert_true(once.registers >= 4096 / 128);
}

/* One block more than the SMs hold begins another wave. */
static void test_waves(void **state) {
  (void)state;
  double full = multiply_at(128, 256, (sizes){128 * 4, 256 * 33, 8192}).microseconds,
         more = multiply_at(128, 256, (sizes){128 * 4, 256 * 34, 8192}).microseconds;
  assert_true(more > 1.8 * full);
}

static void test_refusals(void **state) {
  (void)state;
  sizes s = {8192, 8192, 8192};
  assert_null(multiply_at(128, 256, s).refusal);
  assert_string_equal(multiply_at(256, 256, s).refusal, "registers");
  assert_string_equal(multiply_with("sm_90a", "wgmma", 128, 256, 8, s).refusal, "shared memory");
  assert_false(multiply_at(128, 256, s).uses_fma);
  estimate fma = multiply_with("sm_90a", "fma", 128, 256, 3, s);
  assert_true(fma.uses_fma);
  assert_true(fma.microseconds > 10 * multiply_at(128, 256, s).microseconds);
  assert_true(multiply_with("sm_90a", "mma", 128, 256, 3, s).microseconds > multiply_at(128, 256, s).microseconds);
}

static void test_no_work(void **state) {
  (void)state;
  estimate e = multiply_at(128, 256, (sizes){0, 0, 0});
  assert_null(e.refusal);
  assert_true(e.microseconds >= 0 && e.microseconds < 10);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_more_is_not_faster),
      cmocka_unit_test(test_more_bytes_are_not_faster),
      cmocka_unit_test(test_more_work_is_not_faster),
      cmocka_unit_test(test_bounds),
      cmocka_unit_test(test_tiles),
      cmocka_unit_test(test_stages_hide_latency),
      cmocka_unit_test(test_slots_ahead),
      cmocka_unit_test(test_room_for_overlap),
      cmocka_unit_test(test_shared_sums),
      cmocka_unit_test(test_stages_of_large_tiles),
      cmocka_unit_test(test_narrow_panels),
      cmocka_unit_test(test_loads_again),
      cmocka_unit_test(test_summed_at_once),
      cmocka_unit_test(test_waves),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_no_work),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
