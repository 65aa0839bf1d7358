/* The table of cases: names, counts of what they do, data, and checks that notice a wrong element. */
#include "tests/unit/unit.h"

#include "bench/ours.h"

#include <math.h>

static void test_names(void **state) {
  (void)state;
  int count;
  const bench_case *cases = cases_all(&count);
  char name[2][128];
  for (int i = 0; i < count; i++) {
    case_name(&cases[i], name[0], sizeof name[0]);
    for (int j = 0; j < i; j++) {
      case_name(&cases[j], name[1], sizeof name[1]);
      assert_string_not_equal(name[0], name[1]);
    }
  }
  const char *const patterns[] = {"attention-*-causal", "matmul-i8-4096x*"};
  int chosen = 0;
  for (int i = 0; i < count; i++)
    chosen += case_is_chosen(&cases[i], patterns, 2);
  assert_int_equal(chosen, 18 + 3 + 1);
  assert_true(case_is_chosen(&cases[0], NULL, 0));
}

static void test_counts(void **state) {
  (void)state;
  const bench_case weight = {.kind = CASE_WEIGHT,
                             .m = 2,
                             .n = 1024,
                             .k = 512,
                             .a = BITBLAS_TYPE_F16,
                             .w = BITBLAS_TYPE_I4,
                             .scale = BITBLAS_TYPE_F16,
                             .group = 128};
  assert_true(case_flop(&weight) == 2.0 * 2 * 1024 * 512);
  assert_true(case_bytes(&weight) == 1024 * 512 / 2 + 1024 * 4 * 2 + 2 * 512 * 2);
  bench_case zeros = weight;
  zeros.with_zeros = true, zeros.zeros_mode = BITBLAS_ZEROS_QUANTIZED;
  assert_true(case_bytes(&zeros) - case_bytes(&weight) == 1024 * 4 / 2);
  const bench_case attention = {.kind = CASE_ATTENTION,
                                .a = BITBLAS_TYPE_F16,
                                .batch = 2,
                                .heads = 8,
                                .kv_heads = 2,
                                .queries = 64,
                                .keys = 128,
                                .dim = 32};
  assert_true(case_flop(&attention) == 4.0 * 2 * 8 * 64 * 128 * 32);
  assert_true(case_bytes(&attention) == 2.0 * 2 * 32 * (2 * 8 * 64 + 2 * 2 * 128));
}

/* Fused kernels, and the plain ones of as many FLOP that they are compared with. */
static void test_fused_counts(void **state) {
  (void)state;
  bench_case swiglu = {.kind = CASE_FUSED, .label = "swiglu", .m = 8, .n = 64, .k = 32, .a = BITBLAS_TYPE_F16};
  bench_case own = case_own_peer(&swiglu);
  assert_int_equal(own.n, 128);
  assert_true(case_flop(&own) == case_flop(&swiglu) && case_flop(&own) == 4.0 * 8 * 64 * 32);
  assert_true(case_bytes(&swiglu) == 2.0 * (8 * 32 + 2 * 64 * 32 + 8 * 64));
  swiglu.label = "matmul-gelu-residual";
  own = case_own_peer(&swiglu);
  assert_true(case_flop(&own) == case_flop(&swiglu) && case_flop(&own) == 2.0 * 8 * 64 * 32);
  assert_true(case_bytes(&swiglu) == 2.0 * (8 * 32 + 64 * 32 + 64 + 2 * 8 * 64));
  const bench_case window = {.kind = CASE_ATTENTION,
                             .label = "window",
                             .row = 12,
                             .a = BITBLAS_TYPE_F16,
                             .batch = 2,
                             .heads = 4,
                             .kv_heads = 4,
                             .queries = 16,
                             .keys = 16,
                             .dim = 32,
                             .causal = true,
                             .window = 3};
  char group[64];
  own = case_own_peer(&window);
  assert_true(case_flop(&window) == 4.0 * 2 * 4 * 32 * (1 + 2 + 14 * 3));
  assert_true(own.window == 0 && case_flop(&own) == 4.0 * 2 * 4 * 32 * 128);
  case_group(&window, group, sizeof group);
  assert_string_equal(group, "row 12, window");
  case_group(&own, group, sizeof group);
  assert_string_equal(group, "row 12, D = 32");
  bench_case sharp = own;
  sharp.query_times = 8, sharp.key_growth = 640;
  case_group(&sharp, group, sizeof group);
  assert_string_equal(group, "row 12, sharp");
  case_name(&sharp, group, sizeof group);
  assert_string_equal(group, "attention-f16-d32-s16-x8-ramp-causal");
  assert_false(case_is_same(&own, &sharp));
}

typedef struct fixture {
  machine m;
  data *d;
  complaint problem;
} fixture;

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  bool is_absent;
  *state = f;
  return machine_open(&f->m, true, &is_absent, &f->problem) && data_open(&f->m, 1021, &f->d, &f->problem) ? 0 : -1;
}

static int tear_down(void **state) {
  fixture *f = *state;
  data_close(f->d);
  machine_close(&f->m);
  free(f);
  return 0;
}

/* What a tensor was filled with is what the host says it was, over the end of the block and back. */
static void test_data(void **state) {
  fixture *f = *state;
  enum { COUNT = 5000 };
  uint16_t halves[COUNT];
  uint8_t codes[COUNT / 2];
  size_t first = data_first(f->d, 3);
  double sum = 0, sum_of_squares = 0, values[COUNT];
  data_values(f->d, BITBLAS_TYPE_F16, first, 0, COUNT, values);
  assert_true(data_fill(f->d, BITBLAS_TYPE_F16, first, COUNT, halves, &f->problem));
  assert_true(data_fill(f->d, BITBLAS_TYPE_I4, first, COUNT, codes, &f->problem));
  for (size_t i = 0; i < COUNT; i++) {
    assert_int_equal(halves[i], data_code(f->d, BITBLAS_TYPE_F16, first, i));
    assert_int_equal(codes[i / 2] >> 4 * (i % 2) & 15, data_code(f->d, BITBLAS_TYPE_I4, first, i));
    double code = data_value(f->d, BITBLAS_TYPE_I4, first, i), value = data_value(f->d, BITBLAS_TYPE_F16, first, i);
    assert_true(code >= -8 && code <= 7);
    assert_true(value == values[i]);
    sum += value;
    sum_of_squares += value * value;
  }
  assert_true(fabs(sum / COUNT) < 0.15 && fabs(sum_of_squares / COUNT - 1) < 0.15);
}

/* Rows that grow are those of the block times the gain of their row, rounded, and every sequence of rows begins anew. */
static void test_gain(void **state) {
  fixture *f = *state;
  enum { ROWS = 200, COLUMNS = 8, SEQUENCES = 2 };
  const data_gain gain = {.times = 3, .growth = 640, .rows = ROWS};
  uint16_t halves[SEQUENCES * ROWS * COLUMNS];
  size_t first = data_first(f->d, 5);
  assert_true(data_gain_of(&gain, 0) == 3 && data_gain_of(&gain, ROWS) == 3);
  assert_true(data_gain_of(&gain, ROWS - 1) > 3 * 540 && data_gain_of(&gain, ROWS - 1) < 3 * 640);
  assert_true(data_gain_of(&(data_gain){.rows = 0}, 7) == 1);
  assert_true(data_fill_rows(f->d, BITBLAS_TYPE_F16, first, SEQUENCES * ROWS, COLUMNS, &gain, halves, &f->problem));
  for (size_t i = 0; i < SEQUENCES * ROWS * COLUMNS; i++) {
    double value = data_value(f->d, BITBLAS_TYPE_F16, first, i) * data_gain_of(&gain, (long)(i / COLUMNS));
    assert_true(data_decode(BITBLAS_TYPE_F16, halves[i]) == data_round(BITBLAS_TYPE_F16, value));
  }
}

/* One element of those that a check looks at is enough; `changes` alters all of them by about a quarter. */
static void check_notices(fixture *f, const bench_case *whole) {
  ours *o = NULL;
  bench_case c = case_made_small(whole);
  assert_true(ours_create(&f->m, &c, TEST_SOURCE_DIRECTORY "/../../../examples", &o, &f->problem));
  assert_true(ours_place(o, f->d, &f->problem));
  assert_true(ours_spoil(o, 0, &f->problem));
  assert_false(ours_check(o, 0, &f->problem));
  assert_true(ours_run(o, 0, &f->problem));
  assert_true(ours_check(o, 0, &f->problem));
  const ours_tensor *out = &o->tensors[o->tensor_count - 1];
  unsigned char *bytes = out->address[0];
  size_t unit = (size_t)bitblas_type_bits(out->shape.type) / 8;
  for (size_t i = 0; i < out->bytes; i += unit)
    bytes[i + unit - 1] ^= 0x80; /* the sign */
  assert_false(ours_check(o, 0, &f->problem));
  assert_true(strstr(f->problem.text, "should be") != NULL);
  ours_destroy(o);
}

/* The first case of each kind and name, and of each kind of data. */
static bool is_first(const bench_case *cases, int index) {
  for (int i = 0; i < index; i++)
    if (cases[i].kind == cases[index].kind && strcmp(cases[i].label, cases[index].label) == 0 &&
        cases[i].query_times == cases[index].query_times && cases[i].key_growth == cases[index].key_growth)
      return false;
  return cases[index].kind != CASE_WEIGHT || strcmp(cases[index].label, "w4a16") == 0;
}

static void test_checks(void **state) {
  int count;
  const bench_case *cases = cases_all(&count);
  for (int i = 0; i < count; i++)
    if (is_first(cases, i)) check_notices(*state, &cases[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_counts),
      cmocka_unit_test(test_fused_counts),
      cmocka_unit_test_setup_teardown(test_data, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_gain, set_up, tear_down),
      cmocka_unit_test_setup_teardown(test_checks, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
