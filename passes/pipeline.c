#include "passes/pass.h"

#include <string.h>
#include <time.h>

static const pass_info passes[] = {
#define PASS(function, name, requires_form, establishes_form, min_level, summary)                                      \
  {name, function, IR_FORM_##requires_form, IR_FORM_##establishes_form, min_level, summary},
#include "passes/passes.def"
#undef PASS
};

int pass_count(void) { return (int)(sizeof passes / sizeof *passes); }

const pass_info *pass_at(int index) { return &passes[index]; }

static bool name_is(const char *name, const char *text, size_t length) {
  return strlen(name) == length && memcmp(name, text, length) == 0;
}

bool pass_exists(const char *name, size_t length) {
  for (int i = 0; i < pass_count(); i++) {
    if (name_is(passes[i].name, name, length)) return true;
  }
  return false;
}

/* The part of a comma list that begins at *rest, which is moved past it. False at the end. */
static bool next_item(const char **rest, const char **item, size_t *length) {
  if (**rest == '\0') return false;
  *item = *rest;
  *length = strcspn(*rest, ",");
  *rest += *length;
  if (**rest == ',') (*rest)++;
  return true;
}

bool pass_list_has(const char *list, const char *name) {
  if (!list) return false;
  const char *item;
  size_t length;
  while (next_item(&list, &item, &length)) {
    if (name_is("all", item, length) || name_is(name, item, length)) return true;
  }
  return false;
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static const src_loc nowhere;

/* The first differing line of two texts, for the message. */
static int differing_line(const char *a, const char *b) {
  int line = 1;
  while (*a && *a == *b) {
    if (*a == '\n') line++;
    a++, b++;
  }
  return line;
}

/* Law: print(parse(print(x))) == print(x). */
static bool round_trips(const ir_module *module, const char *pass, pass_env *env) {
  str first = STR_EMPTY, second = STR_EMPTY;
  ir_print_module(module, &first);
  diag *d = diag_create();
  uint16_t file = diag_add_file(d, "after pass", str_text(&first), first.length);
  ir_module *again = ir_parse_module(env->scratch, d, file, str_text(&first), first.length);
  bool same = false;
  if (!again) {
    str text = STR_EMPTY;
    diag_render(d, DIAG_FORMAT_TEXT, NULL, &text);
    diag_error(env->diagnostics, DIAG_INTERNAL, nowhere, "after pass '%s' the text of the IR does not parse: %.400s",
               pass, str_text(&text));
    str_free(&text);
  } else {
    ir_print_module(again, &second);
    same = strcmp(str_text(&first), str_text(&second)) == 0;
    if (!same) {
      diag_error(env->diagnostics, DIAG_INTERNAL, nowhere,
                 "after pass '%s' the IR prints differently once parsed, from line %d on", pass,
                 differing_line(str_text(&first), str_text(&second)));
    }
  }
  diag_destroy(d);
  str_free(&first);
  str_free(&second);
  return same;
}

/* Runs one row over one kernel and checks what it left. */
static pipeline_status run_one(const pass_info *pass, ir_kernel *kernel, pass_env *env) {
  int errors = diag_error_count(env->diagnostics);
  bool ok = pass->run(kernel, env);
  arena_reset(env->scratch);
  if (!ok) {
    if (diag_error_count(env->diagnostics) > errors) return PIPELINE_FAILED;
    diag_error(env->diagnostics, DIAG_INTERNAL, kernel->loc, "pass '%s' failed on '%s' without saying why", pass->name,
               kernel->name);
    return PIPELINE_INTERNAL;
  }
  kernel->form = pass->establishes_form;
  if (!ir_verify(kernel, env->diagnostics)) {
    diag_error(env->diagnostics, DIAG_INTERNAL, kernel->loc, "pass '%s' left '%s' against the rules of form %s",
               pass->name, kernel->name, ir_form_name(kernel->form));
    return PIPELINE_INTERNAL;
  }
  /* A required remark that could not be honoured is an error though the pass could go on. */
  return diag_error_count(env->diagnostics) > errors ? PIPELINE_FAILED : PIPELINE_OK;
}

/* What follows a pass once it has run over every kernel. */
static pipeline_status after_pass(ir_module *module, const char *name, pass_env *env, const pipeline_options *options) {
  if (pass_list_has(options->print_after, name) && options->print) {
    str text = STR_EMPTY;
    ir_print_module(module, &text);
    options->print(options->context, name, str_text(&text));
    str_free(&text);
  }
  if (options->verify_each) {
    bool same = round_trips(module, name, env);
    arena_reset(env->scratch);
    if (!same) return PIPELINE_INTERNAL;
  }
  return PIPELINE_OK;
}

static pipeline_status run_row(const pass_info *pass, ir_module *module, pass_env *env,
                               const pipeline_options *options) {
  if (env->options->level < pass->min_level) return PIPELINE_OK;
  if (options->has_last_form && pass->establishes_form > options->last_form) return PIPELINE_OK;
  bool ran = false;
  pipeline_status status = PIPELINE_OK;
  double start = options->time ? now_ms() : 0;
  for (ir_kernel *kernel = module->kernels; kernel; kernel = kernel->next) {
    if (kernel->form != pass->requires_form) continue;
    ran = true;
    pipeline_status one = run_one(pass, kernel, env);
    if (one > status) status = one;
  }
  if (!ran) return PIPELINE_OK;
  if (options->time) options->time(options->context, pass->name, now_ms() - start);
  return status == PIPELINE_OK ? after_pass(module, pass->name, env, options) : status;
}

/* The row of the named pass for this form; NULL when the pass does not take it. */
static const pass_info *row_for(const char *name, size_t length, ir_form form) {
  for (int i = 0; i < pass_count(); i++) {
    if (name_is(passes[i].name, name, length) && passes[i].requires_form == form) return &passes[i];
  }
  return NULL;
}

static pipeline_status run_named(const char *name, size_t length, ir_module *module, pass_env *env,
                                 const pipeline_options *options) {
  if (!pass_exists(name, length)) {
    diag_error(env->diagnostics, DIAG_PASS, nowhere, "there is no pass '%.*s' (see --list-passes)", (int)length, name);
    return PIPELINE_FAILED;
  }
  const char *full = NULL;
  double start = options->time ? now_ms() : 0;
  for (ir_kernel *kernel = module->kernels; kernel; kernel = kernel->next) {
    const pass_info *pass = row_for(name, length, kernel->form);
    if (!pass) {
      diag_error(env->diagnostics, DIAG_PASS, kernel->loc,
                 "pass '%.*s' does not take form %s, in which '%s' is (see --list-passes)", (int)length, name,
                 ir_form_name(kernel->form), kernel->name);
      return PIPELINE_FAILED;
    }
    full = pass->name;
    pipeline_status status = run_one(pass, kernel, env);
    if (status != PIPELINE_OK) return status;
  }
  if (!full) return PIPELINE_OK;
  if (options->time) options->time(options->context, full, now_ms() - start);
  return after_pass(module, full, env, options);
}

/* Every pass named in --print-after exists. */
static bool names_exist(const char *list, pass_env *env) {
  if (!list) return true;
  const char *item;
  size_t length;
  bool ok = true;
  while (next_item(&list, &item, &length)) {
    if (name_is("all", item, length) || pass_exists(item, length)) continue;
    ok = diag_error(env->diagnostics, DIAG_PASS, nowhere, "there is no pass '%.*s' (see --list-passes)", (int)length,
                    item);
  }
  return ok;
}

pipeline_status pipeline_run(ir_module *module, pass_env *env, const pipeline_options *options) {
  if (!names_exist(options->print_after, env)) return PIPELINE_FAILED;
  if (options->passes) {
    const char *rest = options->passes, *item;
    size_t length;
    while (next_item(&rest, &item, &length)) {
      pipeline_status status = run_named(item, length, module, env, options);
      if (status != PIPELINE_OK) return status;
    }
    return PIPELINE_OK;
  }
  for (int i = 0; i < pass_count(); i++) {
    pipeline_status status = run_row(&passes[i], module, env, options);
    if (status != PIPELINE_OK) return status;
  }
  return PIPELINE_OK;
}

void pipeline_list(str *out) {
  for (int i = 0; i < pass_count(); i++) {
    const pass_info *pass = &passes[i];
    str_printf(out, "%-20s %-9s -> %-9s  -O%d  %s\n", pass->name, ir_form_name(pass->requires_form),
               ir_form_name(pass->establishes_form), pass->min_level, pass->summary);
  }
}
