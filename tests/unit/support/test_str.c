/* Strings: growth, JSON quoting, and numbers that do not depend on the locale. */
#include "support/str.h"
#include "tests/unit/unit.h"

#include <float.h>
#include <locale.h>
#include <math.h>

static void an_empty_string_has_a_text(void **state) {
  (void)state;
  str s = STR_EMPTY;
  assert_string_equal(str_text(&s), "");
  str_append(&s, "");
  assert_string_equal(str_text(&s), "");
  str_free(&s);
  assert_string_equal(str_text(&s), "");
}

static void appends_grow_the_string(void **state) {
  (void)state;
  str s = STR_EMPTY;
  for (int i = 0; i < 1000; i++) {
    str_append_char(&s, 'a');
    str_printf(&s, "%d", i % 10);
  }
  assert_int_equal(s.length, 2000);
  assert_int_equal(strlen(s.data), 2000);
  assert_memory_equal(s.data + 1990, "a5a6a7a8a9", 10);
  str_clear(&s);
  assert_string_equal(str_text(&s), "");
  str_append_bytes(&s, "a\0b", 3);
  assert_int_equal(s.length, 3);
  assert_memory_equal(s.data, "a\0b", 4);
  str_free(&s);
}

static void check_double(double value, const char *expected) {
  str s = STR_EMPTY;
  str_append_double(&s, value);
  assert_string_equal(str_text(&s), expected);
  const char *end;
  double back = str_parse_double(s.data, &end);
  assert_ptr_equal(end, s.data + s.length);
  if (isnan(value))
    assert_true(isnan(back));
  else
    assert_memory_equal(&back, &value, sizeof value);
  str_free(&s);
}

static void doubles_are_short_and_round_trip(void **state) {
  (void)state;
  check_double(0.0, "0.0");
  check_double(-0.0, "-0.0");
  check_double(1.0, "1.0");
  check_double(-2.5, "-2.5");
  check_double(0.1, "0.1");
  check_double(1.0 / 3.0, "0.3333333333333333");
  check_double(123456.0, "123456.0");
  check_double(1e300, "1e+300");
  check_double(5e-324, "5e-324");
  check_double(DBL_MAX, "1.7976931348623157e+308");
  check_double(1.4426950408889634, "1.4426950408889634");
  check_double(HUGE_VAL, "inf");
  check_double(-HUGE_VAL, "-inf");
  check_double(nan(""), "nan");
}

static void random_doubles_round_trip(void **state) {
  (void)state;
  uint64_t bits = 0x9E3779B97F4A7C15u;
  for (int i = 0; i < 20000; i++) {
    bits ^= bits << 13;
    bits ^= bits >> 7;
    bits ^= bits << 17;
    double value;
    memcpy(&value, &bits, sizeof value);
    if (isnan(value) || isinf(value)) continue;
    str s = STR_EMPTY;
    str_append_double(&s, value);
    const char *end;
    double back = str_parse_double(s.data, &end);
    assert_int_equal(*end, 0);
    assert_memory_equal(&back, &value, sizeof value);
    str_free(&s);
  }
}

static void check_parse(const char *text, double expected, size_t length) {
  const char *end;
  assert_true(str_parse_double(text, &end) == expected);
  assert_int_equal(end - text, length);
}

static void numbers_end_where_their_grammar_ends(void **state) {
  (void)state;
  check_parse("12", 12.0, 2);
  check_parse("12.", 12.0, 3);
  check_parse(".5x", 0.5, 2);
  check_parse("1e5,", 1e5, 3);
  check_parse("1e", 1.0, 1);
  check_parse("1e+", 1.0, 1);
  check_parse("-1.25e-2]", -0.0125, 8);
  check_parse("+3", 3.0, 2);
  check_parse("0x10", 0.0, 1);
  check_parse("x", 0.0, 0);
  check_parse("-", 0.0, 0);
  check_parse(".", 0.0, 0);
  check_parse("", 0.0, 0);
  check_parse("-inf", -HUGE_VAL, 4);
}

static void numbers_do_not_depend_on_the_locale(void **state) {
  (void)state;
  static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
  bool found = false;
  for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++)
    found = setlocale(LC_NUMERIC, names[i]) != NULL;
  if (!found) skip();
  check_double(2.5, "2.5");
  check_double(-1.25e-7, "-1.25e-07");
  check_double(3.0, "3.0");
  setlocale(LC_NUMERIC, "C");
}

static void check_json(const char *text, const char *expected) {
  str s = STR_EMPTY;
  str_append_json(&s, text);
  assert_string_equal(str_text(&s), expected);
  str_free(&s);
}

static void json_texts_are_quoted(void **state) {
  (void)state;
  check_json("", "\"\"");
  check_json("a \"b\" \\c", "\"a \\\"b\\\" \\\\c\"");
  check_json("\n\t\r\b\f\x01\x7F", "\"\\n\\t\\r\\b\\f\\u0001\\u007f\"");
  check_json("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"");
  check_json("a\xFFz", "\"a\\ufffdz\"");                   /* not UTF-8 at all */
  check_json("\xC0\xAF", "\"\\ufffd\\ufffd\"");            /* an overlong '/' */
  check_json("\xED\xA0\x80", "\"\\ufffd\\ufffd\\ufffd\""); /* a surrogate */
  check_json("\xE2\x82", "\"\\ufffd\\ufffd\"");            /* cut short */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_empty_string_has_a_text),
      cmocka_unit_test(appends_grow_the_string),
      cmocka_unit_test(doubles_are_short_and_round_trip),
      cmocka_unit_test(random_doubles_round_trip),
      cmocka_unit_test(numbers_end_where_their_grammar_ends),
      cmocka_unit_test(numbers_do_not_depend_on_the_locale),
      cmocka_unit_test(json_texts_are_quoted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
