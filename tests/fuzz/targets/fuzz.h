/* What the fuzz targets share. Each defines LLVMFuzzerTestOneInput: libFuzzer calls it when BITBLASC_FUZZ is on, and
 * run_files.c, over the corpus and past crashers, in every build. */
#ifndef BITBLASC_TESTS_FUZZ_H
#define BITBLASC_TESTS_FUZZ_H

#include "ir/ir.h"
#include "support/arena.h"
#include "support/diag.h"
#include "support/str.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Says what was broken, with the diagnostics (may be NULL), and stops where a fuzzer and a test both notice. */
static inline _Noreturn void fuzz_fail(const char *what, diag *d) {
  fprintf(stderr, "%s\n", what);
  if (d) {
    str out = STR_EMPTY;
    diag_render(d, DIAG_FORMAT_TEXT, NULL, &out);
    fputs(str_text(&out), stderr);
    str_free(&out);
  }
  abort();
}

/* print(parse(print(module))) is print(module). */
static inline void fuzz_round_trip(const ir_module *module) {
  arena *memory = arena_create();
  diag *d = diag_create();
  str first = STR_EMPTY, second = STR_EMPTY;
  ir_print_module(module, &first);
  const char *text = str_text(&first);
  uint16_t file = diag_add_file(d, "printed.tir", text, strlen(text));
  const ir_module *again = ir_parse_module(memory, d, file, text, strlen(text));
  if (!again) fuzz_fail(text, d);
  ir_print_module(again, &second);
  if (strcmp(text, str_text(&second)) != 0) fuzz_fail("a module reads back as another", d);
  str_free(&first);
  str_free(&second);
  diag_destroy(d);
  arena_destroy(memory);
}

#endif
