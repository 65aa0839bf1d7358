/* The compiler as a library: nothing printed, everything in the diag and the status. */
#include "tests/unit/temporary.h"

#include "driver/compile.h"
#include "driver/options.h"
#include "driver/output.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char text[] = "kernel twice(X: f32[N], Y: out f32[N])\n"
                           "  grid (b in ceildiv(N, 64))\n"
                           "{\n"
                           "  tile x: f32[64]\n"
                           "  copy X[b*64] -> x\n"
                           "  parallel (i in 64) { x[i] = x[i] * 2.0 }\n"
                           "  copy x -> Y[b*64]\n"
                           "}\n";

static compile_options options_for(arena *memory, diag *d, const char *source) {
  return (compile_options){.memory = memory,
                           .diagnostics = d,
                           .name = "twice.tl",
                           .text = source,
                           .length = strlen(source),
                           .language = COMPILE_TL,
                           .has_target = true,
                           .target = IR_SM_90A,
                           .passes = {.level = 2}};
}

static void test_text_to_cuda(void **state) {
  (void)state;
  arena *memory = arena_create();
  diag *d = diag_create();
  compile_options options = options_for(memory, d, text);
  compiled_kernel k;
  assert_int_equal(compile_kernel(&options, COMPILE_CUDA, &k), COMPILE_OK);
  assert_false(diag_failed(d));
  assert_non_null(strstr(k.cuda, "twice"));
  assert_string_equal(k.record->entry, "twice");
  assert_string_equal(k.record->source_file, "twice.tl");
  assert_string_equal(k.record->source_hash, compile_source_hash(&options));
  assert_int_equal(k.record->size_count, 1);
  diag_destroy(d);
  arena_destroy(memory);
}

/* The tuner lowers one tree many times. */
static void test_one_tree_many_kernels(void **state) {
  (void)state;
  arena *memory = arena_create();
  diag *d = diag_create();
  frontend_ast *tree = frontend_parse(memory, d, "twice.tl", text, strlen(text), NULL);
  assert_non_null(tree);
  static const char *const sizes[] = {"64", "100", "64"};
  const char *cuda[3];
  for (int i = 0; i < 3; i++) {
    const frontend_binding binding = {"N", sizes[i]};
    compile_options options = options_for(memory, d, text);
    options.tree = tree;
    options.bindings = &binding;
    options.binding_count = 1;
    compiled_kernel k;
    assert_int_equal(compile_kernel(&options, COMPILE_CUDA, &k), COMPILE_OK);
    assert_int_equal(k.record->size_count, 0);
    cuda[i] = k.cuda;
  }
  assert_string_equal(cuda[0], cuda[2]);
  assert_string_not_equal(cuda[0], cuda[1]);
  diag_destroy(d);
  arena_destroy(memory);
}

static void test_statuses(void **state) {
  (void)state;
  arena *memory = arena_create();
  diag *d = diag_create();
  compiled_kernel k;
  compile_options options = options_for(memory, d, "kernel twice(");
  assert_int_equal(compile_kernel(&options, COMPILE_CUDA, &k), COMPILE_INPUT);
  assert_true(diag_failed(d));
  diag_clear(d);
  options = options_for(memory, d, text);
  assert_int_equal(compile_kernel(&options, COMPILE_CUBIN, &k), COMPILE_ENVIRONMENT); /* no NVRTC was given */
  assert_non_null(k.cuda);
  diag_clear(d);
  options = options_for(memory, d, "");
  options.language = COMPILE_IR;
  assert_int_equal(compile_kernel(&options, COMPILE_CUDA, &k), COMPILE_INPUT);
  diag_destroy(d);
  arena_destroy(memory);
}

static void test_files_are_whole(void **state) {
  (void)state;
  arena *memory = arena_create();
  str error = STR_EMPTY;
  char directory[TEMPORARY_BYTES];
  temporary_make(directory);
  const char *path = arena_printf(memory, "%s/a/b/file", directory);
  assert_false(output_write(path, "x", 1, &error));
  assert_non_null(strstr(str_text(&error), "No such file or directory"));
  assert_true(output_make_directory(arena_printf(memory, "%s/a/b", directory), &error));
  assert_true(output_write(path, "one", 3, &error));
  assert_int_equal(chmod(path, 0640), 0);
  assert_true(output_write(path, "two\0", 4, &error));
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0640); /* the mode of the file that was there */
  size_t size;
  const char *data = output_read(memory, path, &size, &error);
  assert_int_equal(size, 4);
  assert_memory_equal(data, "two\0", 5);
  assert_null(output_read(memory, directory, &size, &error));
  unlink(path);
  rmdir(arena_printf(memory, "%s/a/b", directory));
  rmdir(arena_printf(memory, "%s/a", directory));
  assert_int_equal(rmdir(directory), 0); /* no temporary file is left */
  assert_string_equal(output_extension("a.b/c"), "");
  assert_string_equal(output_extension("a.b/c.tl"), ".tl");
  assert_string_equal(output_extension(".tl"), "");
  str_free(&error);
  arena_destroy(memory);
}

static bool parse(arena *memory, command_line *c, const char *words) {
  char *argv[16];
  int argc = 0;
  for (char *word = strtok(arena_strdup(memory, words), " "); word; word = strtok(NULL, " "))
    argv[argc++] = word;
  str error = STR_EMPTY;
  bool ok = command_parse(argc, argv, memory, c, &error);
  assert_true(ok == (error.length == 0));
  str_free(&error);
  return ok;
}

static void test_command_lines(void **state) {
  (void)state;
  arena *memory = arena_create();
  command_line c;
  assert_true(parse(memory, &c, "-DA=1 x.tl -D B=2 -O1 -MD -MF f.d --emit=ir --emit cuda -- -o"));
  assert_int_equal(c.mode, MODE_COMPILE);
  assert_int_equal(c.inputs.count, 2);
  assert_string_equal(c.inputs.items[1], "-o");
  assert_int_equal(c.values[OPTION_DEFINE].count, 2);
  assert_string_equal(c.values[OPTION_DEFINE].items[0], "A=1");
  assert_string_equal(c.values[OPTION_DEFINE].items[1], "B=2");
  assert_string_equal(command_value(&c, OPTION_LEVEL, ""), "1");
  assert_string_equal(command_value(&c, OPTION_MF, ""), "f.d");
  assert_string_equal(command_value(&c, OPTION_EMIT, ""), "cuda");
  assert_false(command_has(&c, OPTION_OUTPUT_FILE));
  assert_true(parse(memory, &c, "run - --seed=7 --help"));
  assert_int_equal(c.mode, MODE_RUN);
  assert_string_equal(command_value(&c, OPTION_HELP, "none"), "");
  assert_false(parse(memory, &c, "-O"));
  assert_false(parse(memory, &c, "--device=gpu"));
  assert_false(parse(memory, &c, "--version=1"));
  assert_false(parse(memory, &c, "--emit"));
  int64_t number;
  assert_true(parse_number("-12", &number) && number == -12);
  assert_true(parse_number("0x10", &number) && number == 16);
  assert_true(parse_number("010", &number) && number == 10);
  assert_false(parse_number("", &number));
  assert_false(parse_number("12k", &number));
  assert_false(parse_number("99999999999999999999", &number));
  arena_destroy(memory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_text_to_cuda),  cmocka_unit_test(test_one_tree_many_kernels),
      cmocka_unit_test(test_statuses),      cmocka_unit_test(test_files_are_whole),
      cmocka_unit_test(test_command_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
