/* The tile form: what each op means, in both precisions. */
#include "tests/unit/emulator/run_text.h"

#include <math.h>

static const char matmul[] = "source \"t.tl\"\n"
                             "kernel @matmul target sm_90a form tile {threads = 128} @1:1\n"
                             "  size %M\n"
                             "  size %N\n"
                             "  size %K\n"
                             "  arg %A: global f16[%M, %K] in\n"
                             "  arg %B: global f16[%N, %K] in\n"
                             "  arg %C: global f16[%M, %N] out\n"
                             "  grid %bn in ceildiv(%N, 32)\n"
                             "  grid %bm in ceildiv(%M, 16)\n"
                             "  alloc %As: shared f16[16, 8]\n"
                             "  alloc %Bs: shared f16[32, 8]\n"
                             "  alloc %acc: tile f32[16, 32]\n"
                             "  alloc %k: index\n"
                             "  alloc %i: index\n"
                             "  alloc %j: index\n"
                             "  alloc %t: scalar f32\n"
                             "do\n"
                             "  %acc <- fill 0.0 @9:3\n"
                             "  for %k in 0 .. ceildiv(%K, 8) step 1 @10:3 do\n"
                             "    %As <- copy %A[%bm * 16 : 16, %k * 8 : 8] @11:5\n"
                             "    %Bs <- copy %B[%bn * 32 : 32, %k * 8 : 8] @12:5\n"
                             "    %acc <- dot %As, %Bs {accumulate = 1, transpose_b = 1} @13:5\n"
                             "  end\n"
                             "  parallel %i in 16, %j in 32 @14:3 do\n"
                             "    let %t <- %acc[%i, %j] * 2.0 @15:5\n"
                             "    %acc[%i, %j] <- select(%t > 0.0, %t, 0.0) @16:5\n"
                             "  end\n"
                             "  %C[%bm * 16 : 16, %bn * 32 : 32] <- copy %acc @18:3\n"
                             "end\n";

enum { M = 19, N = 37, K = 21 };

static void fill_matmul(run *r) {
  r->sizes[0] = M;
  r->sizes[1] = N;
  r->sizes[2] = K;
  r->size_count = 3;
  emulator_tensor *a = run_tensor(r, IR_F16, M * K), *b = run_tensor(r, IR_F16, N * K);
  run_tensor(r, IR_F16, M * N);
  for (int i = 0; i < M * K; i++)
    put(a, IR_F16, (size_t)i, sin(i));
  for (int i = 0; i < N * K; i++)
    put(b, IR_F16, (size_t)i, cos(3 * i));
}

static double expected(const run *r, int m, int n) {
  double sum = 0;
  for (int k = 0; k < K; k++)
    sum += get(&r->tensors[0], IR_F16, (size_t)(m * K + k)) * get(&r->tensors[1], IR_F16, (size_t)(n * K + k));
  return sum > 0 ? 2 * sum : 0;
}

static void native_matmul(void **state) {
  (void)state;
  run r;
  run_open(&r, matmul);
  fill_matmul(&r);
  run_clean(&r);
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++)
      assert_true(fabs(get(&r.tensors[2], IR_F16, (size_t)(m * N + n)) - expected(&r, m, n)) < 0.01);
  assert_int_equal(r.report.counts.events[IR_EVENT_MMAS], 2 * 2 * 3);
  run_close(&r);
}

static void reference_is_exact(void **state) {
  (void)state;
  run r;
  run_open(&r, matmul);
  fill_matmul(&r);
  double wide[M * N];
  r.tensors[2].wide = wide;
  r.options.precision = EMULATOR_REFERENCE;
  run_clean(&r);
  for (int i = 0; i < M * N; i++)
    assert_true(fabs(wide[i] - expected(&r, i / N, i % N)) < 1e-12);
  run_close(&r);
}

static void launch_is_checked(void **state) {
  (void)state;
  run r;
  run_open(&r, matmul);
  fill_matmul(&r);
  r.tensors[1].byte_size -= 1;
  run_finds(&r, EMULATOR_LAUNCH);
  emulator_report_free(&r.report);
  r.tensors[1].byte_size += 1;
  r.size_count = 2;
  run_finds(&r, EMULATOR_LAUNCH);
  emulator_report_free(&r.report);
  r.size_count = 3;
  emulator_launch launch = {r.tensors, r.tensor_count, r.sizes, r.size_count, r.options};
  assert_int_equal(emulator_block_count(r.kernel, &launch), 4);
  run_close(&r);
}

/* Ops on rows of 32 elements: `body` sees tiles %x, %y [4, 32], a vector %v [4] and tensors %X, %Y [4, 32]. */
static void row_kernel(run *r, const char *body) {
  static const char head[] = "source \"t.tl\"\n"
                             "kernel @rows target sm_80 form tile {threads = 128} @1:1\n"
                             "  size %M\n"
                             "  arg %X: global f32[%M, 32] in\n"
                             "  arg %Y: global f32[%M, 32] out\n"
                             "  grid %b in ceildiv(%M, 4)\n"
                             "  alloc %x: tile f32[4, 32]\n"
                             "  alloc %y: tile f32[4, 32]\n"
                             "  alloc %v: tile f32[4]\n"
                             "  alloc %p: tile pred[4]\n"
                             "  alloc %c: tile i4[4, 32]\n"
                             "  alloc %s: tile f16[4, 2]\n"
                             "  alloc %flag: scalar pred mutable\n"
                             "  alloc %n: scalar i32 mutable\n"
                             "  alloc %i: index\n"
                             "  alloc %j: index\n"
                             "do\n";
  str text = STR_EMPTY;
  str_printf(&text, "%s%send\n", head, body);
  run_open(r, str_text(&text));
  str_free(&text);
  r->sizes[r->size_count++] = 4;
  emulator_tensor *x = run_tensor(r, IR_F32, 128);
  run_tensor(r, IR_F32, 128);
  for (int i = 0; i < 128; i++)
    put(x, IR_F32, (size_t)i, i % 32 - i / 32);
}

static void reduce_along_rows(void **state) {
  (void)state;
  run r;
  row_kernel(&r, "  %x <- copy %X[%b * 4 : 4, 0 : 32]\n"
                 "  %v <- reduce %x {axis = 1, operation = max}\n"
                 "  parallel %i in 4, %j in 32 do\n"
                 "    %y[%i, %j] <- %v[%i] + exp2(%x[%i, %j])\n"
                 "  end\n"
                 "  %Y[%b * 4 : 4, 0 : 32] <- copy %y\n");
  run_clean(&r);
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 32; j++)
      assert_true(get(&r.tensors[1], IR_F32, (size_t)(i * 32 + j)) == (double)(float)(31 - i + exp2(j - i)));
  run_close(&r);
}

static void scan_and_vote(void **state) {
  (void)state;
  run r;
  row_kernel(&r, "  %x <- copy %X[%b * 4 : 4, 0 : 32]\n"
                 "  %y <- scan %x {axis = 1, operation = sum}\n"
                 "  parallel %i in 4 do\n"
                 "    %p[%i] <- %i > 2\n"
                 "  end\n"
                 "  %flag <- vote %p {operation = or}\n"
                 "  if %flag do\n"
                 "    %Y[%b * 4 : 4, 0 : 32] <- copy %y\n"
                 "  end\n");
  run_clean(&r);
  double sum = 0;
  for (int j = 0; j < 32; j++) {
    sum += j - 1;
    assert_true(get(&r.tensors[1], IR_F32, (size_t)(32 + j)) == sum);
  }
  run_close(&r);
}

static void decode_with_groups(void **state) {
  (void)state;
  run r;
  row_kernel(&r, "  parallel %i in 4, %j in 32 do\n"
                 "    %c[%i, %j] <- %j % 16 - 8\n"
                 "  end\n"
                 "  parallel %i in 4, %j in 2 do\n"
                 "    %s[%i, %j] <- f32(%j + 1) * 0.5\n"
                 "  end\n"
                 "  %x <- decode %c, %s, none {group = 16, offset = 1}\n"
                 "  %Y[%b * 4 : 4, 0 : 32] <- copy %x\n");
  run_clean(&r);
  for (int j = 0; j < 32; j++)
    assert_true(get(&r.tensors[1], IR_F32, (size_t)j) == (j % 16 - 8 - 1) * (j / 16 + 1) * 0.5);
  run_close(&r);
}

static void loops_and_conditions(void **state) {
  (void)state;
  run r;
  row_kernel(&r, "  %x <- fill 1.0\n"
                 "  %n <- 0\n"
                 "  while %n < 5 do\n"
                 "    parallel %i in 4, %j in 32 do\n"
                 "      if (%i + %j) % 2 == 0 do\n"
                 "        %x[%i, %j] <- %x[%i, %j] + f32(%n)\n"
                 "      else\n"
                 "        %x[%i, %j] <- %x[%i, %j] * 2.0\n"
                 "      end\n"
                 "    end\n"
                 "    %n <- %n + 1\n"
                 "  end\n"
                 "  %Y[%b * 4 : 4, 0 : 32] <- copy %x\n");
  run_clean(&r);
  for (int i = 0; i < 128; i++)
    assert_true(get(&r.tensors[1], IR_F32, (size_t)i) == ((i / 32 + i % 32) % 2 == 0 ? 11 : 32));
  run_close(&r);
}

static void uninitialised_read(void **state) {
  (void)state;
  run r;
  row_kernel(&r, "  %Y[%b * 4 : 4, 0 : 32] <- copy %x @7:3\n");
  run_finds(&r, EMULATOR_UNINITIALISED);
  assert_int_equal(r.report.findings[0].loc.line, 7);
  run_close(&r);
}

static void index_outside(void **state) {
  (void)state;
  run r;
  row_kernel(&r, "  parallel %i in 5 do\n"
                 "    %v[%i] <- 1.0 @8:5\n"
                 "  end\n");
  run_finds(&r, EMULATOR_BOUNDS);
  run_close(&r);
}

static void division_by_zero(void **state) {
  (void)state;
  run r;
  row_kernel(&r, "  %n <- 0\n"
                 "  %n <- 7 / %n @8:5\n");
  run_finds(&r, EMULATOR_ARITHMETIC);
  run_close(&r);
}

/* Both blocks write the whole tensor. */
static void blocks_write_the_same(void **state) {
  (void)state;
  run r;
  row_kernel(&r, "  %x <- fill 1.0\n"
                 "  %Y[0 : 4, 0 : 32] <- copy %x @9:3\n");
  r.sizes[0] = 8;
  r.tensors[0].byte_size *= 2;
  r.tensors[1].byte_size *= 2;
  r.tensors[0].bytes = arena_alloc(r.memory, r.tensors[0].byte_size);
  r.tensors[1].bytes = arena_alloc(r.memory, r.tensors[1].byte_size);
  run_finds(&r, EMULATOR_RACE);
  assert_int_equal(r.report.findings[0].block, 1);
  run_close(&r);
}

static void endless_loop(void **state) {
  (void)state;
  run r;
  row_kernel(&r, "  %n <- 0\n"
                 "  while %n < 1 do\n"
                 "    %n <- %n * 2\n"
                 "  end\n");
  r.options.step_limit = 10000;
  run_finds(&r, EMULATOR_LIMIT);
  run_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(native_matmul),        cmocka_unit_test(reference_is_exact),
      cmocka_unit_test(launch_is_checked),    cmocka_unit_test(reduce_along_rows),
      cmocka_unit_test(scan_and_vote),        cmocka_unit_test(decode_with_groups),
      cmocka_unit_test(loops_and_conditions), cmocka_unit_test(uninitialised_read),
      cmocka_unit_test(index_outside),        cmocka_unit_test(division_by_zero),
      cmocka_unit_test(endless_loop),         cmocka_unit_test(blocks_write_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
