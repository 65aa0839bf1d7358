/* What a pass is, and the pipeline of them.
 *
 * A pass is one file, passes/<name>.c, with one external function `bool name(ir_kernel *, pass_env *)` and one row in
 * passes.def, whose order is the pipeline. False means that a diagnostic was reported and the kernel is not to be used
 * further. */
#ifndef BITBLASC_PASSES_PASS_H
#define BITBLASC_PASSES_PASS_H

#include "ir/ir.h"
#include "support/arena.h"
#include "support/diag.h"
#include "support/str.h"

#include <stdbool.h>
#include <stddef.h>

/* A size or parameter by name: the value a planner may expect, or must take. */
typedef struct pass_number {
  const char *name;
  int64_t value;
} pass_number;

/* What the caller asks of the passes. Read-only; the same options and the same kernel give the same result. */
typedef struct pass_options {
  int level; /* -O: 0 plain, 1 asynchronous copies, 2 everything */
  const pass_number
      *expected; /* run-time sizes: values that schedule may assume for its estimates, never for correctness */
  int expected_count;
  const pass_number
      *pins; /* kernel attributes by name (attrs.def) that schedule must take: "cluster", "producers", "split", ... */
  int pin_count;
  int candidate;               /* schedule takes its n-th best plan; 0 is the best (for tuning) */
  const ir_target_info *speed; /* the GPU that the code runs on, whose figures estimates take; NULL: the target's */
  int sms;                     /* multiprocessors that it has; 0: as many as its row says */
} pass_options;

typedef struct pass_env {
  arena *memory;  /* the module's: what the kernel keeps */
  arena *scratch; /* emptied after every pass */
  diag *diagnostics;
  const pass_options *options;
  str *explain; /* schedule appends its table of plans; NULL when nobody asked */
} pass_env;

#define PASS(function, name, requires_form, establishes_form, min_level, summary)                                      \
  bool function(ir_kernel *, pass_env *);
#include "passes/passes.def"
#undef PASS

/* A row of passes.def. */
typedef struct pass_info {
  const char *name;
  bool (*run)(ir_kernel *, pass_env *);
  ir_form requires_form;
  ir_form establishes_form;
  int min_level; /* skipped below this -O level */
  const char *summary;
} pass_info;

int pass_count(void);
const pass_info *
pass_at(int index); /* in the order of the pipeline; a name may stand in several rows, for several forms */
bool pass_exists(const char *name, size_t length);
bool pass_list_has(const char *list, const char *name); /* whether a comma list names the pass, or "all" */

typedef struct pipeline_options {
  const char
      *passes; /* these only, a comma list in this order ("" is none); NULL: all that lead on from each kernel's form */
  const char *print_after; /* a comma list of passes, or "all"; NULL: none */
  bool has_last_form;
  ir_form last_form; /* when has_last_form: stops before a pass that leads beyond this form */
  bool verify_each;  /* also checks after each pass that the module prints, parses and prints the same */
  /* Receives the module after a pass of print_after: the pass's name and the text. */
  void (*print)(void *context, const char *pass, const char *text);
  /* Receives the time that a pass took over all kernels. NULL: nothing is measured. */
  void (*time)(void *context, const char *pass, double milliseconds);
  void *context;
} pipeline_options;

typedef enum pipeline_status {
  PIPELINE_OK,
  PIPELINE_FAILED,   /* the user's kernel or request: diagnostics were reported */
  PIPELINE_INTERNAL, /* a pass broke the rules of its form: our mistake, reported with id INTERNAL */
} pipeline_status;

/* Runs passes over the kernels of the module in place. A kernel that is already past a pass's form is left alone by it,
 * so text printed after any pass goes on from there. */
pipeline_status pipeline_run(ir_module *module, pass_env *env, const pipeline_options *options);

/* One line a pass: name, forms, summary. */
void pipeline_list(str *out);

#endif
