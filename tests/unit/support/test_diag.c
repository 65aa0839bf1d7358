/* Diagnostics: what a person and a program see of errors, notes and remarks. */
#include "support/diag.h"
#include "tests/unit/unit.h"

#include <jansson.h>

static const char source[] = "kernel k(A: f16[M])\n"
                             "\tacc += dot(As, Bs)\n"
                             "caf\xC3\xA9 = wrong\r\n"
                             "last";

static int setup(void **state) {
  diag *d = diag_create();
  assert_int_equal(diag_add_file(d, "k.tl", source, strlen(source)), 0);
  *state = d;
  return 0;
}

static int teardown(void **state) {
  diag_destroy(*state);
  return 0;
}

static src_loc at(uint32_t line, uint16_t column, uint16_t length) {
  return (src_loc){.file = 0, .line = line, .column = column, .length = length};
}

static const src_loc nowhere = {0};

static void check_text(diag *d, const char *remarks, const char *expected) {
  str out = STR_EMPTY;
  diag_render(d, DIAG_FORMAT_TEXT, remarks, &out);
  assert_string_equal(str_text(&out), expected);
  str_free(&out);
}

static void an_error_shows_its_line(void **state) {
  diag *d = *state;
  assert_false(diag_failed(d));
  assert_false(diag_error(d, DIAG_SYNTAX, at(1, 13, 3), "no type '%s'", "f16"));
  assert_false(diag_note(d, at(1, 8, 1), "in kernel %s", "k"));
  assert_true(diag_failed(d));
  check_text(d, NULL,
             "k.tl:1:13: error: no type 'f16' [syntax]\n"
             "    1 | kernel k(A: f16[M])\n"
             "      |             ^~~\n"
             "k.tl:1:8: note: in kernel k\n"
             "    1 | kernel k(A: f16[M])\n"
             "      |        ^\n");
}

static void tabs_keep_the_caret_in_place(void **state) {
  diag *d = *state;
  diag_error(d, DIAG_SYNTAX, at(2, 9, 11), "bad dot");
  check_text(d, NULL,
             "k.tl:2:9: error: bad dot [syntax]\n"
             "    2 | \tacc += dot(As, Bs)\n"
             "      | \t       ^~~~~~~~~~~\n");
}

static void a_character_of_two_bytes_takes_one_place(void **state) {
  diag *d = *state;
  diag_error(d, DIAG_SYNTAX, at(3, 9, 50), "unknown name"); /* the underline stops at the end of the line */
  diag_error(d, DIAG_SYNTAX, at(3, 1, 5), "accent");
  check_text(d, NULL,
             "k.tl:3:9: error: unknown name [syntax]\n"
             "    3 | caf\xC3\xA9 = wrong\n"
             "      |        ^~~~~\n"
             "k.tl:3:1: error: accent [syntax]\n"
             "    3 | caf\xC3\xA9 = wrong\n"
             "      | ^~~~\n");
}

static void places_outside_the_text_have_no_excerpt(void **state) {
  diag *d = *state;
  diag_warning(d, DIAG_SYNTAX, at(4, 5, 1), "ends too early"); /* just past the end is a place */
  diag_warning(d, DIAG_SYNTAX, at(4, 6, 1), "past the end");
  diag_warning(d, DIAG_SYNTAX, at(99, 1, 1), "past the file");
  diag_warning(d, DIAG_SYNTAX, nowhere, "no place");
  diag_warning(d, DIAG_SYNTAX, (src_loc){.file = 7, .line = 1, .column = 1, .length = 1}, "no file");
  check_text(d, NULL,
             "k.tl:4:5: warning: ends too early [syntax]\n"
             "    4 | last\n"
             "      |     ^\n"
             "k.tl:4:6: warning: past the end [syntax]\n"
             "k.tl:99:1: warning: past the file [syntax]\n"
             "bitblasc: warning: no place [syntax]\n"
             ":1:1: warning: no file [syntax]\n");
  assert_false(diag_failed(d));
}

static void files_are_told_apart(void **state) {
  diag *d = *state;
  uint16_t other = diag_add_file(d, "inc/other.tl", "x y\0z", 5);
  assert_int_equal(diag_file_count(d), 2);
  assert_string_equal(diag_file_name(d, other), "inc/other.tl");
  assert_string_equal(diag_file_name(d, 9), "");
  diag_error(d, DIAG_SYNTAX, (src_loc){.file = other, .line = 1, .column = 5, .length = 1}, "bad z");
  check_text(d, NULL,
             "inc/other.tl:1:5: error: bad z [syntax]\n"
             "    1 | x y z\n"
             "      |     ^\n");
}

static void a_very_long_line_is_cut(void **state) {
  diag *d = *state;
  char line[2000];
  memset(line, 'x', sizeof line);
  uint16_t file = diag_add_file(d, "long.tl", line, sizeof line);
  diag_error(d, DIAG_SYNTAX, (src_loc){.file = file, .line = 1, .column = 2, .length = 1500}, "long");
  diag_error(d, DIAG_SYNTAX, (src_loc){.file = file, .line = 1, .column = 1900, .length = 1}, "far");
  str out = STR_EMPTY;
  diag_render(d, DIAG_FORMAT_TEXT, NULL, &out);
  assert_true(out.length < 1300);
  assert_non_null(strstr(out.data, "long.tl:1:1900: error: far [syntax]\n"));
  str_free(&out);
}

static void errors_beyond_the_limit_are_counted(void **state) {
  diag *d = *state;
  for (int i = 0; i < 25; i++) {
    diag_error(d, DIAG_SYNTAX, nowhere, "error %d", i);
    diag_note(d, nowhere, "note %d", i);
  }
  assert_int_equal(diag_error_count(d), 25);
  str out = STR_EMPTY;
  diag_render(d, DIAG_FORMAT_TEXT, NULL, &out);
  assert_non_null(strstr(out.data, "error 19 [syntax]\nbitblasc: note: note 19\n"));
  assert_null(strstr(out.data, "error 20"));
  assert_null(strstr(out.data, "note 20"));
  assert_non_null(strstr(out.data, "bitblasc: note: 5 more errors are not shown\n"));
  str_free(&out);
}

static void remarks_are_shown_on_request(void **state) {
  diag *d = *state;
  assert_true(diag_remark(d, "schedule", "tile", true, nowhere, "128 by 256"));
  diag_note(d, nowhere, "bound by the tensor cores");
  assert_true(diag_remark(d, "pipeline", "stages", false, nowhere, "2 stages, not 4"));
  assert_false(diag_failed(d));
  const char *schedule = "bitblasc: remark: 128 by 256 [schedule: tile]\n"
                         "bitblasc: note: bound by the tensor cores\n";
  const char *pipeline = "bitblasc: remark: 2 stages, not 4 [pipeline: stages not honoured]\n";
  char both[256];
  snprintf(both, sizeof both, "%s%s", schedule, pipeline);
  check_text(d, NULL, "");
  check_text(d, "", "");
  check_text(d, "sched", "");
  check_text(d, "schedule", schedule);
  check_text(d, "lower,pipeline", pipeline);
  check_text(d, "pipeline,schedule", both);
  check_text(d, "all", both);
}

static void a_required_remark_is_an_error(void **state) {
  diag *d = *state;
  diag_require(d, "tma");
  assert_true(diag_remark(d, "schedule", "stages", false, nowhere, "2 stages, not 4"));
  assert_true(diag_remark(d, "schedule", "tma", true, nowhere, "A by TMA"));
  assert_false(diag_failed(d));
  assert_false(diag_remark(d, "schedule", "tma", false, nowhere, "rows of 6 bytes"));
  assert_true(diag_failed(d));
  check_text(d, NULL, "bitblasc: error: 'tma' is required, but schedule: rows of 6 bytes [required]\n");

  diag_clear(d);
  assert_false(diag_failed(d));
  check_text(d, "all", "");
  diag_require(d, "all");
  assert_false(diag_remark(d, "schedule", "stages", false, nowhere, "2 stages, not 4"));
}

static void json_is_one_object_a_line(void **state) {
  diag *d = *state;
  diag_error(d, DIAG_SYNTAX, at(1, 13, 3), "no type \"f17\"");
  diag_note(d, nowhere, "types: f16");
  diag_remark(d, "pipeline", "stages", false, at(2, 9, 3), "2 stages, not 4");
  str out = STR_EMPTY;
  diag_render(d, DIAG_FORMAT_JSON, "all", &out);
  assert_string_equal(
      str_text(&out),
      "{\"severity\": \"error\", \"id\": \"syntax\", \"file\": \"k.tl\", \"line\": 1, \"column\": 13, "
      "\"length\": 3, \"message\": \"no type \\\"f17\\\"\"}\n"
      "{\"severity\": \"note\", \"message\": \"types: f16\"}\n"
      "{\"severity\": \"remark\", \"pass\": \"pipeline\", \"topic\": \"stages\", \"honoured\": false, "
      "\"file\": \"k.tl\", \"line\": 2, \"column\": 9, \"length\": 3, \"message\": \"2 stages, not 4\"}\n");
  char *line = strtok(out.data, "\n");
  for (int i = 0; i < 3; i++, line = strtok(NULL, "\n")) {
    json_t *object = json_loads(line, 0, NULL);
    assert_true(json_is_object(object));
    json_decref(object);
  }
  assert_null(line);
  str_free(&out);
}

static void ids_have_names_and_meanings(void **state) {
  (void)state;
  for (int i = 0; i < DIAG_ID_COUNT; i++) {
    assert_true(strlen(diag_id_name((diag_id)i)) > 0);
    assert_true(strlen(diag_id_meaning((diag_id)i)) > 0);
    for (int j = 0; j < i; j++)
      assert_string_not_equal(diag_id_name((diag_id)i), diag_id_name((diag_id)j));
  }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(an_error_shows_its_line),
      TEST(tabs_keep_the_caret_in_place),
      TEST(a_character_of_two_bytes_takes_one_place),
      TEST(places_outside_the_text_have_no_excerpt),
      TEST(files_are_told_apart),
      TEST(a_very_long_line_is_cut),
      TEST(errors_beyond_the_limit_are_counted),
      TEST(remarks_are_shown_on_request),
      TEST(a_required_remark_is_an_error),
      TEST(json_is_one_object_a_line),
      TEST(ids_have_names_and_meanings),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
