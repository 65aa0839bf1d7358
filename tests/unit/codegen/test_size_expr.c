/* Expressions over sizes: text and back, arithmetic, and everything that is no expression. */
#include "codegen/size_expr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static const char *const names_list[] = {"M", "N", "K"};
static const size_names names = {names_list, 3};

static void prints_what_it_reads(void **state) {
  (void)state;
  static const char *const texts[] = {
      "ceildiv(M, 128)*N",
      "M + N + K",
      "M - (N - K)",
      "(M + 1)*K",
      "M*(N/K)",
      "M*N/K",
      "M % 8 == 0",
      "(M < N) < K",
      "M < N && K >= 64",
      "(M || N) && K",
      "min(M, max(N, 3))",
      "(M == N) == K",
      "M % (N % 7)",
      "(-5)*M",
      "M - (-5)",
      "M == N < K",
      "0",
      "9223372036854775807",
      "(-9223372036854775808)",
      "M - N % 3",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    arena *a = arena_create();
    const char *error = NULL;
    const size_expr *e = size_parse(a, texts[i], names, &error);
    assert_non_null(e);
    str out = STR_EMPTY;
    size_print(e, names, &out);
    assert_string_equal(str_text(&out), texts[i]);
    const size_expr *again = size_parse(a, str_text(&out), names, &error);
    assert_true(size_equal(e, again));
    str_free(&out);
    arena_destroy(a);
  }
}

static void evaluates(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t value;
  } cases[] = {
      {"ceildiv(M, 128)*N", 2 * 7},
      {"(0 - M) / 7", -19},
      {"(0 - M) % 7", 3},
      {"M % (0 - 7)", -3},
      {"ceildiv(0 - M, 7)", -18},
      {"M / 7", 18},
      {"2 + 3 * 4", 14},
      {"10 - 3 - 2", 5},
      {"M >= 130 && N != 7", 0},
      {"M >= 130 || 0", 1},
      {"min(M, N)", 7},
      {"max(M, N)", 130},
      {"M == 130", 1},
      {"  ( M )\t", 130},
      {"-3", -3},
      {"M -3", 127},
  };
  const int64_t sizes[] = {130, 7, 64};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    arena *a = arena_create();
    const char *error = NULL;
    const size_expr *e = size_parse(a, cases[i].text, names, &error);
    assert_non_null(e);
    int64_t value = 0;
    assert_true(size_evaluate(e, sizes, 3, &value, &error));
    assert_int_equal(value, cases[i].value);
    arena_destroy(a);
  }
}

static void refuses_what_does_not_fit(void **state) {
  (void)state;
  static const char *const texts[] = {"M*M*M",         "M/0",
                                      "M % 0",         "ceildiv(M, 0)",
                                      "0 - M - M - M", "(-9223372036854775808)/(0 - 1)",
                                      "M + M",         "(-9223372036854775808) % (-1)"};
  const int64_t sizes[] = {INT64_MAX - 1, 0, 0};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    arena *a = arena_create();
    const char *error = NULL;
    const size_expr *e = size_parse(a, texts[i], names, &error);
    assert_non_null(e);
    int64_t value = 0;
    assert_false(size_evaluate(e, sizes, 3, &value, &error));
    assert_non_null(error);
    assert_false(size_evaluate(size_name(a, 3), sizes, 3, &value, &error));
    arena_destroy(a);
  }
}

static void refuses_what_is_no_expression(void **state) {
  (void)state;
  static const char *const texts[] = {"",           " ",           "M +",
                                      "(M",         "M)",          "Q",
                                      "ceildiv(M)", "ceildiv M",   "min(M, N, K)",
                                      "M < N < K",  "M == N == K", "M ? N",
                                      "- M",        "1.5",         "99999999999999999999",
                                      "M N",        "ceildiv",     "max(",
                                      "%",          "M = N",       "M && ",
                                      "\xff"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    arena *a = arena_create();
    const char *error = NULL;
    assert_null(size_parse(a, texts[i], names, &error));
    assert_non_null(error);
    arena_destroy(a);
  }
  arena *a = arena_create();
  char deep[4001], chain[4001];
  memset(deep, '(', 4000);
  for (int i = 0; i < 4000; i++)
    chain[i] = i % 2 ? '+' : 'M';
  deep[4000] = chain[3999] = chain[4000] = '\0';
  const char *error = NULL;
  assert_null(size_parse(a, deep, names, &error));
  assert_non_null(strstr(error, "deeply"));
  assert_null(size_parse(a, chain, names, &error));
  assert_non_null(strstr(error, "too many"));
  arena_destroy(a);
}

static void folds_while_building(void **state) {
  (void)state;
  arena *a = arena_create();
  const size_expr *m = size_name(a, 0), *one = size_const(a, 1), *zero = size_const(a, 0);
  int64_t value = 0;
  assert_ptr_equal(size_binary(a, SIZE_OP_MUL, m, one), m);
  assert_ptr_equal(size_binary(a, SIZE_OP_ADD, zero, m), m);
  assert_ptr_equal(size_binary(a, SIZE_OP_CEILDIV, m, one), m);
  assert_true(size_is_const(size_binary(a, SIZE_OP_ADD, one, one), &value));
  assert_int_equal(value, 2);
  assert_false(size_is_const(size_binary(a, SIZE_OP_FLOORDIV, one, zero), NULL));
  str out = STR_EMPTY;
  size_print_c(size_binary(a, SIZE_OP_CEILDIV, size_binary(a, SIZE_OP_SUB, m, size_const(a, -4)), size_name(a, 2)),
               names, "s->", &out);
  assert_string_equal(str_text(&out), "bitblasc_ceildiv(bitblasc_sub(s->M, (INT64_C(-4))), s->K)");
  str_free(&out);
  arena_destroy(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(prints_what_it_reads),      cmocka_unit_test(evaluates),
      cmocka_unit_test(refuses_what_does_not_fit), cmocka_unit_test(refuses_what_is_no_expression),
      cmocka_unit_test(folds_while_building),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
