/* The pipeline itself: what it does when a pass leaves a kernel against the rules, and the order of the table. */
#include "tests/unit/unit.h"

#include "passes/pass.h"

#include <stdio.h>
#include <string.h>

static const char text[] = "source \"fill.tl\"\n"
                           "kernel @fill target sm_90a form tile @1:8\n"
                           "  size %M @1:20\n"
                           "  arg %Y: global f32[%M, 8] out @1:18\n"
                           "  grid %b in %M @2:9\n"
                           "  alloc %x: tile f32[8] @3:8\n"
                           "do\n"
                           "  %x <- fill 1.0 @4:3\n"
                           "  %Y[%b, 0 : 8] <- copy %x @5:3\n"
                           "end\n";

typedef struct fixture {
  arena *memory, *scratch;
  diag *d;
  ir_module *module;
  pass_options options;
  pass_env env;
} fixture;

static void open_fixture(fixture *f) {
  *f = (fixture){.memory = arena_create(), .scratch = arena_create(), .d = diag_create(), .options = {.level = 2}};
  diag_add_file(f->d, "fill.tl", "", 0);
  uint16_t file = diag_add_file(f->d, "fill.tir", text, strlen(text));
  f->module = ir_parse_module(f->memory, f->d, file, text, strlen(text));
  assert_non_null(f->module);
  f->env = (pass_env){.memory = f->memory, .scratch = f->scratch, .diagnostics = f->d, .options = &f->options};
}

static void close_fixture(fixture *f) {
  diag_destroy(f->d);
  arena_destroy(f->scratch);
  arena_destroy(f->memory);
}

/* A pass that breaks a rule is the compiler's mistake and names the pass. Here the kernel was broken before it. */
static void test_broken_kernel_is_internal(void **state) {
  (void)state;
  fixture f;
  open_fixture(&f);
  f.module->kernels->body.first->write[0] = ir_ref_none();
  const pipeline_options options = {.passes = "specialise"};
  assert_int_equal(pipeline_run(f.module, &f.env, &options), PIPELINE_INTERNAL);
  str out = STR_EMPTY;
  diag_render(f.d, DIAG_FORMAT_TEXT, NULL, &out);
  assert_non_null(
      strstr(str_text(&out), "error: pass 'specialise' left 'fill' against the rules of form tile [internal]"));
  printf("%s", str_text(&out)); /* tests/errors/internal.test reads it */
  str_free(&out);
  close_fixture(&f);
}

static void test_unknown_pass_is_the_users(void **state) {
  (void)state;
  fixture f;
  open_fixture(&f);
  const pipeline_options options = {.passes = "specialise,nothing"};
  assert_int_equal(pipeline_run(f.module, &f.env, &options), PIPELINE_FAILED);
  close_fixture(&f);
}

typedef struct calls {
  char names[200];
  int count;
} calls;

static void note_print(void *context, const char *pass, const char *printed) {
  calls *c = context;
  assert_non_null(strstr(printed, "kernel @fill"));
  strcat(c->names, pass);
  strcat(c->names, " ");
  c->count++;
}

static void test_prints_after_the_passes_named(void **state) {
  (void)state;
  fixture f;
  open_fixture(&f);
  calls c = {"", 0};
  const pipeline_options options = {
      .passes = "specialise,simplify,specialise", .print_after = "specialise", .print = note_print, .context = &c};
  assert_int_equal(pipeline_run(f.module, &f.env, &options), PIPELINE_OK);
  assert_string_equal(c.names, "specialise specialise ");
  close_fixture(&f);
}

/* Rows go from the tile form to the thread form without a step back or a gap. */
static void test_table_is_a_chain(void **state) {
  (void)state;
  ir_form form = IR_FORM_TILE;
  for (int i = 0; i < pass_count(); i++) {
    assert_int_equal(pass_at(i)->requires_form, form);
    assert_true(pass_at(i)->establishes_form == form || pass_at(i)->establishes_form == form + 1);
    form = pass_at(i)->establishes_form;
    assert_true(pass_exists(pass_at(i)->name, strlen(pass_at(i)->name)));
  }
  assert_int_equal(form, IR_FORM_THREAD);
}

/* Nothing that leads to another form may be left out at a lower -O level. */
static void test_every_level_reaches_the_thread_form(void **state) {
  (void)state;
  for (int i = 0; i < pass_count(); i++) {
    if (pass_at(i)->establishes_form != pass_at(i)->requires_form) assert_int_equal(pass_at(i)->min_level, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_broken_kernel_is_internal),           cmocka_unit_test(test_unknown_pass_is_the_users),
      cmocka_unit_test(test_prints_after_the_passes_named),       cmocka_unit_test(test_table_is_a_chain),
      cmocka_unit_test(test_every_level_reaches_the_thread_form),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
