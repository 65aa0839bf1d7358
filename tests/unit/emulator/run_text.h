/* Kernels from IR text, run on small tensors. */
#ifndef BITBLASC_TESTS_RUN_TEXT_H
#define BITBLASC_TESTS_RUN_TEXT_H

#include "tests/unit/unit.h"

#include "emulator/emulator.h"
#include "ir/numeric.h"

typedef struct run {
  arena *memory;
  diag *diagnostics;
  const ir_kernel *kernel;
  emulator_tensor tensors[8];
  int tensor_count;
  int64_t sizes[8];
  int size_count;
  emulator_options options;
  emulator_report report;
} run;

static inline void run_open(run *r, const char *text) {
  *r = (run){.memory = arena_create(), .diagnostics = diag_create()};
  uint16_t file = diag_add_file(r->diagnostics, "test.tir", text, strlen(text));
  ir_module *module = ir_parse_module(r->memory, r->diagnostics, file, text, strlen(text));
  bool good = module && ir_verify(module->kernels, r->diagnostics);
  if (!good) {
    str out = STR_EMPTY;
    diag_render(r->diagnostics, DIAG_FORMAT_TEXT, NULL, &out);
    print_error("%s", str_text(&out));
    str_free(&out);
  }
  assert_true(good);
  r->kernel = module->kernels;
}

/* Adds a tensor of `count` zero elements of the type. */
static inline emulator_tensor *run_tensor(run *r, ir_type type, size_t count) {
  emulator_tensor *t = &r->tensors[r->tensor_count++];
  t->byte_size = ir_packed_bytes(count, ir_bits(type));
  t->bytes = arena_alloc(r->memory, t->byte_size + 8);
  return t;
}

static inline void put(emulator_tensor *t, ir_type type, size_t index, double value) {
  ir_put_bits(t->bytes, index, ir_bits(type), ir_encode(type, value));
}

static inline double get(const emulator_tensor *t, ir_type type, size_t index) {
  return ir_decode(type, ir_get_bits(t->bytes, index, ir_bits(type)));
}

static inline bool run_go(run *r) {
  emulator_launch launch = {r->tensors, r->tensor_count, r->sizes, r->size_count, r->options};
  return emulator_run(r->kernel, &launch, &r->report);
}

/* Runs, prints and fails on findings. */
static inline void run_clean(run *r) {
  bool clean = run_go(r);
  if (!clean) {
    str out = STR_EMPTY;
    emulator_report_text(&r->report, r->diagnostics, &out);
    print_error("%s", str_text(&out));
    str_free(&out);
  }
  assert_true(clean);
}

/* Runs and expects a first finding of the kind. */
static inline void run_finds(run *r, emulator_finding_kind kind) {
  assert_false(run_go(r));
  if (r->report.findings[0].kind != kind) print_error("found: %s\n", r->report.findings[0].message);
  assert_int_equal(r->report.findings[0].kind, kind);
}

static inline void run_close(run *r) {
  emulator_report_free(&r->report);
  diag_destroy(r->diagnostics);
  arena_destroy(r->memory);
}

#endif
