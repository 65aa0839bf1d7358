/* The reports of a run: JSON that parses, an SVG that is well-formed, verdicts. */
#include "tests/unit/unit.h"

#include "bench/report.h"

#include <jansson.h>

static const report_place place = {
    .device = "GPU <\"&", .target = "sm_90a", .driver = 13000, .cublaslt = 130100, .torch = "torch 2"};

static report_row row_of(const bench_case *c, double us, double peer_us) {
  report_row row = {.c = c, .peer = "cuBLASLt"};
  for (regime r = 0; r < REGIME_COUNT; r++) {
    row.results[r] = (contest_result){.rounds = 1, .ours_us = {us}, .peers_us = {peer_us}};
    contest_conclude(&row.results[r], peer_us > 0);
  }
  return row;
}

static void test_json(void **state) {
  (void)state;
  int count;
  const bench_case *cases = cases_all(&count);
  report_row rows[] = {row_of(&cases[0], 200, 210), row_of(&cases[1], 1500, 0)};
  rows[1].is_wrong = true;
  complain(&rows[1].problem, "C[0, 0] is \"wrong\"\n");
  str text = STR_EMPTY;
  report_json(&text, &place, rows, 2);
  json_t *all = json_loads(str_text(&text), 0, NULL);
  assert_non_null(all);
  assert_string_equal(json_string_value(json_object_get(all, "device")), place.device);
  json_t *list = json_object_get(all, "cases"), *first = json_array_get(list, 0), *second = json_array_get(list, 1);
  assert_int_equal(json_array_size(list), 2);
  assert_string_equal(json_string_value(json_object_get(first, "name")), "matmul-f16-4096x4096x4096");
  json_t *burst = json_object_get(first, "burst");
  assert_true(json_real_value(json_object_get(burst, "ratio")) == 1.05);
  assert_true(json_real_value(json_object_get(burst, "us")) == 200);
  assert_int_equal(json_array_size(json_object_get(burst, "ours_us")), 1);
  assert_non_null(json_object_get(first, "sustained"));
  assert_null(json_object_get(json_object_get(second, "burst"), "ratio"));
  assert_string_equal(json_string_value(json_object_get(second, "problem")), rows[1].problem.text);
  json_t *group = json_array_get(json_object_get(all, "groups"), 0);
  assert_string_equal(json_string_value(json_object_get(group, "name")), "row 1, f16");
  assert_true(json_real_value(json_object_get(group, "mean_ratio")) == 1.05);
  json_decref(all);
  str_free(&text);
}

/* Geometric means of the rows' ratios; wrong cases and those without a peer are left out. */
static void test_groups(void **state) {
  (void)state;
  const bench_case a = {.kind = CASE_ATTENTION, .label = "attention", .row = 9, .dim = 64};
  const bench_case b = {.kind = CASE_ATTENTION, .label = "attention", .row = 9, .dim = 128};
  report_row rows[] = {row_of(&a, 100, 50), row_of(&b, 100, 90), row_of(&a, 100, 200), row_of(&a, 100, 0),
                       row_of(&a, 100, 1)};
  rows[4].is_wrong = true;
  report_group groups[4];
  assert_int_equal(report_groups(rows, 5, REGIME_BURST, groups, 4), 2);
  assert_string_equal(groups[0].name, "row 9, D = 64");
  assert_true(groups[0].count == 2 && groups[0].mean == 1 && groups[0].least == 0.5 && groups[0].worst == &rows[0]);
  assert_true(groups[1].count == 1 && groups[1].least == 0.9);
  assert_int_equal(report_groups(rows, 5, REGIME_BURST, groups, 1), 1);
  assert_int_equal(groups[0].count, 2);
}

/* Every element is closed, in order, and no bare '<' or '&' is left in between. */
static bool is_well_formed(const char *text) {
  char open[16][16];
  int depth = 0;
  for (const char *at = text; *at; at++) {
    if (*at == '&' && strncmp(at, "&lt;", 4) && strncmp(at, "&amp;", 5)) return false;
    if (*at != '<') continue;
    const char *end = strchr(at, '>');
    if (!end) return false;
    bool closes = at[1] == '/';
    size_t length = strcspn(at + 1 + closes, " />\n");
    if (length >= sizeof open[0]) return false;
    if (closes) {
      if (!depth-- || strncmp(open[depth], at + 2, length) || open[depth][length]) return false;
    } else if (end[-1] != '/') {
      if (depth == 16) return false;
      memcpy(open[depth], at + 1, length);
      open[depth++][length] = 0;
    }
    at = end;
  }
  return depth == 0;
}

static int occurrences(const char *text, const char *of) {
  int count = 0;
  for (; (text = strstr(text, of)); text++)
    count++;
  return count;
}

static void test_svg(void **state) {
  (void)state;
  int count;
  const bench_case *cases = cases_all(&count);
  report_row rows[] = {
      row_of(&cases[0], 200, 210), row_of(&cases[count - 2], 1e-9, 0), row_of(&cases[1], 1e12, 0), {.c = &cases[2]}};
  str text = STR_EMPTY;
  report_svg(&text, &place, rows, 4);
  assert_true(is_well_formed(str_text(&text)));
  assert_int_equal(occurrences(str_text(&text), "<title>"), 3); /* the last was not measured */
  assert_non_null(strstr(str_text(&text), "4.8 TB/s"));
  assert_null(strstr(str_text(&text), "nan"));
  assert_null(strstr(str_text(&text), "inf"));
  str_free(&text);
}

static void test_verdict(void **state) {
  (void)state;
  bench_case c = {.kind = CASE_DENSE, .m = 1, .n = 1000, .k = 1000, .a = BITBLAS_TYPE_F16, .w = BITBLAS_TYPE_F16};
  report_row row = row_of(&c, 1, 1.05);
  assert_string_equal(report_verdict(&row, REGIME_BURST), "-");
  c.least = 1.05;
  assert_string_equal(report_verdict(&row, REGIME_BURST), "met");
  c.least = 1.06;
  assert_string_equal(report_verdict(&row, REGIME_BURST), "missed");
  c.least = 1.0, c.least_tbps = 2.0; /* it moves 2 MB and a little in 1 us */
  assert_string_equal(report_verdict(&row, REGIME_BURST), "met");
  c.least_tbps = 2.1;
  assert_string_equal(report_verdict(&row, REGIME_BURST), "missed");
  row.is_wrong = true;
  assert_string_equal(report_verdict(&row, REGIME_BURST), "wrong");
  row = row_of(&c, 1, 0);
  assert_string_equal(report_verdict(&row, REGIME_BURST), "-"); /* nothing to compare with */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_json),
      cmocka_unit_test(test_groups),
      cmocka_unit_test(test_svg),
      cmocka_unit_test(test_verdict),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
