/* The generated host code: strict C99 and C++ take it, and it launches what the record says (seen by a driver that
 * takes notes). */
#include "tests/unit/temporary.h"

#include "codegen/emit_host.h"
#include "sample_record.h"

static const unsigned char cubin[] = {0x7f, 'E', 'L', 'F', 0xff};

/* The text of emit_host_user.h, beside this file: the build says where that is. */
static void append_user(str *out) {
  FILE *file = fopen(TEST_SOURCE_DIRECTORY "/emit_host_user.h", "r");
  assert_non_null(file);
  char buffer[4096];
  for (size_t got; (got = fread(buffer, 1, sizeof buffer, file)) > 0;)
    str_append_bytes(out, buffer, got);
  fclose(file);
}

static void write_file(const char *directory, const char *name, const str *text) {
  char path[TEMPORARY_BYTES + 64];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(text->data, 1, text->length, file), text->length);
  fclose(file);
}

static int run(const char *directory, const char *command) {
  char line[TEMPORARY_BYTES + 512];
  snprintf(line, sizeof line, "cd %s && %s", directory, command);
  return system(line);
}

static void compiles_and_launches(void **state) {
  (void)state;
  if (system("cc --version >/dev/null 2>&1") != 0) skip();
  char directory[TEMPORARY_BYTES];
  temporary_make(directory);
  arena *a = arena_create();
  str header = STR_EMPTY, source = STR_EMPTY, user = STR_EMPTY;
  emit_header(sample_record(a), &header);
  emit_c(sample_record(a), cubin, sizeof cubin, &source);
  str_append(&user, "#include \"sample.h\"\n#include \"sample.h\"\n#line 1 \"user.c\"\n");
  append_user(&user);
  write_file(directory, "sample.h", &header);
  write_file(directory, "sample.c", &source);
  write_file(directory, "user.c", &user);
  write_file(directory, "user.cc", &user);
  assert_int_equal(run(directory, "cc -std=c99 -pedantic -Wall -Wextra -Werror user.c sample.c -o user && ./user"), 0);
  if (system("c++ --version >/dev/null 2>&1") == 0)
    assert_int_equal(
        run(directory,
            "c++ -std=c++11 -pedantic -Wall -Wextra -Werror -c user.cc -o user_cc.o && c++ -x c++ -std=c++11 "
            "-pedantic -Wall -Wextra -Werror -c sample.c -o sample_cc.o && "
            "c++ user_cc.o sample_cc.o -o user_cc && ./user_cc"),
        0);
  temporary_remove(directory);
  str_free(&header);
  str_free(&source);
  str_free(&user);
  arena_destroy(a);
}

/* Names that C forbids, texts that would end a comment or a literal, a fixed grid, no argument at all. */
static void compiles_odd_records(void **state) {
  (void)state;
  if (system("cc --version >/dev/null 2>&1") != 0) skip();
  char directory[TEMPORARY_BYTES];
  temporary_make(directory);
  arena *a = arena_create();
  str text = STR_EMPTY;
  record odd = *sample_record(a);
  record_size *sizes = arena_copy(a, odd.sizes, 2 * sizeof *sizes);
  sizes[0].name = "int";
  odd.sizes = sizes;
  odd.source_file = "a*/ #error \\\?\?/\n.tl";
  record_constraint constraints[] = {
      {sample_expr(a, "N <= (-9223372036854775808) || N % 3 != 1"), "\"\?\?/\\ % %s \n"}};
  odd.constraints = constraints;
  const char *error = NULL;
  assert_true(record_verify(&odd, a, &error));
  emit_c(&odd, cubin, sizeof cubin, &text);
  record bare = {.entry = "bare",
                 .target = "sm_80",
                 .version = "",
                 .source_file = "",
                 .source_hash = "",
                 .block_threads = 32,
                 .cluster = {1, 1, 1},
                 .grid = {size_const(a, 3), size_const(a, 1), size_const(a, 1)}};
  assert_true(record_verify(&bare, a, &error));
  emit_c(&bare, cubin, sizeof cubin, &text);
  write_file(directory, "both.c", &text);
  assert_int_equal(run(directory, "cc -std=c99 -pedantic -Wall -Wextra -Werror -c both.c -o both.o"), 0);
  temporary_remove(directory);
  str_free(&text);
  arena_destroy(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(compiles_and_launches),
      cmocka_unit_test(compiles_odd_records),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
