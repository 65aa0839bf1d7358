/* Comparing plans: rank correlation, the table of shapes, and kernels that take one another's place. */
#include "tests/unit/unit.h"

#include "bench/ours.h"
#include "bench/tuning.h"
#include "support/arena.h"

#include <math.h>

static void test_correlation(void **state) {
  (void)state;
  const double up[] = {1, 2, 30, 400}, down[] = {9, 7, 3, 1}, equal[] = {5, 5, 5, 5}, tied[] = {1, 2, 2, 3};
  assert_true(tuning_correlation(up, up, 4) == 1);
  assert_true(tuning_correlation(up, down, 4) == -1);
  assert_true(tuning_correlation(up, equal, 4) == 0);
  assert_true(tuning_correlation(up, up, 1) == 0 && tuning_correlation(up, up, 0) == 0);
  assert_true(fabs(tuning_correlation(up, tied, 4) - 0.9486832980505138) < 1e-12); /* 4.5 / sqrt(5 * 4.5) */
}

static void test_shapes(void **state) {
  (void)state;
  int count;
  const bench_case *shapes = cases_tuned(&count);
  assert_int_equal(count, 60);
  for (int i = 0; i < count; i++)
    for (int j = 0; j < i; j++)
      assert_false(case_is_same(&shapes[i], &shapes[j]));
}

/* The second plan of a case runs in the place of the first, and the case outlives it. */
static void use_second(const machine *m, const data *d, const bench_case *whole) {
  complaint problem = {""};
  const char *kernels = TEST_SOURCE_DIRECTORY "/../../../examples";
  bench_case c = case_made_small(whole);
  ours *o = NULL;
  bitblas_kernel *second = NULL, *none = NULL;
  compile_ranking ranking = {.memory = arena_create()};
  assert_true(ours_create(m, &c, kernels, &o, &problem) && ours_rank(o, kernels, &ranking, &problem));
  assert_true(ranking.count > 1 && ranking.chosen == 0);
  for (int i = 1; i < ranking.count; i++)
    if (!ranking.plans[i].refusal && !ranking.plans[i - 1].refusal && i > 1)
      assert_true(ranking.plans[i].microseconds >= ranking.plans[i - 1].microseconds);
  assert_true(ours_create_plan(o, kernels, 1, &second, &problem));
  assert_false(ours_create_plan(o, kernels, ranking.count, &none, &problem));
  assert_null(none);
  assert_true(ours_place(o, d, &problem));
  for (int turn = 0; turn < 2; turn++)
    assert_true(ours_use(o, second, &problem) && ours_spoil(o, 0, &problem) && ours_run(o, 0, &problem) &&
                ours_check(o, 0, &problem));
  ours_destroy(o);
  bitblas_kernel_destroy(second);
  arena_destroy(ranking.memory);
}

static void test_use(void **state) {
  (void)state;
  machine m;
  data *d = NULL;
  complaint problem;
  bool is_absent;
  int count;
  const bench_case *cases = cases_all(&count);
  assert_true(machine_open(&m, true, &is_absent, &problem) && data_open(&m, 1021, &d, &problem));
  use_second(&m, d, &cases[0]);
  for (int i = 0; i < count; i++)
    if (cases[i].kind == CASE_WEIGHT) {
      use_second(&m, d, &cases[i]);
      break;
    }
  data_close(d);
  machine_close(&m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_correlation),
      cmocka_unit_test(test_shapes),
      cmocka_unit_test(test_use),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
