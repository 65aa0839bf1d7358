/* bitblasc FILE: from a text to the files that were asked for. */
#include "driver/main_session.h"

#include "codegen/emit_host.h"
#include "driver/output.h"
#include "driver/repro.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef enum emit_kind {
#define EMIT(id, name, extension, form, meaning) KIND_##id,
#include "driver/emit_kinds.def"
#undef EMIT
  KIND_COUNT
} emit_kind;

typedef enum emit_form { FORM_TEXT, FORM_BINARY } emit_form;

static const struct {
  const char *name;
  const char *extension;
  emit_form form;
} kinds[KIND_COUNT] = {
#define EMIT(id, name, extension, form, meaning) {name, extension, FORM_##form},
#include "driver/emit_kinds.def"
#undef EMIT
};

typedef struct job {
  session s;
  ir_module *module;
  const frontend_ast *tree;
  bool wanted[KIND_COUNT];
  int wanted_count;
  bool whole_program;       /* one kernel in the file: names need no suffix */
  const char *first_output; /* the target of the make rule */
  str explain;
} job;

/* -- What to make ---------------------------------------------------------------------------------------------------
 */

static int kind_by_name(const char *name, size_t length) {
  for (int i = 0; i < KIND_COUNT; i++) {
    if (strlen(kinds[i].name) == length && memcmp(kinds[i].name, name, length) == 0) return i;
  }
  return -1;
}

static int kind_by_extension(const char *path) {
  const char *extension = output_extension(path);
  for (int i = 0; i < KIND_COUNT; i++) {
    if (strcmp(kinds[i].extension, extension) == 0) return i;
  }
  return -1;
}

static void want(job *j, emit_kind kind) {
  j->wanted_count += !j->wanted[kind];
  j->wanted[kind] = true;
}

/* Only looking: nothing is made unless it is asked for by name. */
static bool only_looks(const command_line *c) {
  return command_has(c, OPTION_SYNTAX_ONLY) || command_has(c, OPTION_PRINT_AFTER) || command_has(c, OPTION_EXPLAIN);
}

static int choose_kinds(job *j) {
  const command_line *c = j->s.command;
  const char *path = command_value(c, OPTION_OUTPUT_FILE, NULL);
  const option_values *lists = &c->values[OPTION_EMIT];
  for (int i = 0; i < lists->count; i++) {
    for (const char *at = lists->items[i]; *at;) {
      size_t length = strcspn(at, ",");
      int kind = kind_by_name(at, length);
      if (kind < 0)
        return usage_error("--emit takes ir, cuda, ptx, cubin, json, header, c, not '%.*s'", (int)length, at);
      want(j, (emit_kind)kind);
      at += length + (at[length] == ',');
    }
  }
  if (!j->wanted_count && path) {
    int kind = kind_by_extension(path);
    if (kind < 0) return usage_error("the extension of '%s' does not say what to make: add --emit", path);
    want(j, (emit_kind)kind);
  }
  if (!j->wanted_count && !only_looks(c)) {
    want(j, command_has(c, OPTION_RUN_PASS) || command_has(c, OPTION_FORM) ? KIND_IR : KIND_CUBIN);
  }
  if (command_has(c, OPTION_MF) && !command_has(c, OPTION_MD)) return usage_error("-MF needs -MD");
  if (path && strcmp(path, "-") == 0) {
    if (command_has(c, OPTION_MD) && !command_has(c, OPTION_MF)) return usage_error("-MD with -o - needs -MF");
    if (j->wanted_count > 1) return usage_error("several kinds of output do not go to standard output together");
    if (j->wanted[KIND_CUBIN] && isatty(STDOUT_FILENO))
      return usage_error("a cubin is not printed to a terminal: use -o FILE");
  }
  return 0;
}

/* Where this kind goes. `kernel` is NULL for what holds the whole module. */
static const char *output_path(const job *j, emit_kind kind, const ir_kernel *kernel) {
  arena *memory = j->s.memory;
  const char *given = command_value(j->s.command, OPTION_OUTPUT_FILE, NULL);
  if (given && strcmp(given, "-") == 0) return given;
  if (given && j->wanted_count == 1 && j->whole_program) return given;
  if (!given && j->wanted_count == 1 && kinds[kind].form == FORM_TEXT) return "-";
  const char *name = given ? given : strcmp(j->s.input, "-") == 0 ? "stdin" : output_base_name(j->s.input);
  const char *end = given && kind_by_extension(given) < 0 ? name + strlen(name) : output_extension(name);
  const char *suffix = j->whole_program || !kernel ? "" : arena_printf(memory, "-%s", kernel->name);
  return arena_printf(memory, "%.*s%s%s", (int)(end - name), name, suffix, kinds[kind].extension);
}

static int put(job *j, emit_kind kind, const ir_kernel *kernel, const void *data, size_t size) {
  const char *path = output_path(j, kind, kernel);
  if (!j->first_output && strcmp(path, "-") != 0) j->first_output = path;
  str error = STR_EMPTY;
  int status = output_write(path, data, size, &error)
                   ? 0
                   : session_fail(&j->s, COMPILE_ENVIRONMENT, DIAG_FILE, str_text(&error));
  str_free(&error);
  if (!status && command_has(j->s.command, OPTION_VERBOSE)) fprintf(stderr, "bitblasc: wrote %s\n", path);
  return status;
}

/* -- The make rule --------------------------------------------------------------------------------------------------
 */

/* A file name in a make rule: spaces, # and $ are escaped. */
static void make_name(const char *name, str *out) {
  for (; *name; name++) {
    if (*name == ' ' || *name == '#') str_append_char(out, '\\');
    if (*name == '$') str_append_char(out, '$');
    str_append_char(out, *name);
  }
}

static int put_rule(job *j) {
  const char *target = j->first_output ? j->first_output : output_path(j, KIND_CUBIN, NULL);
  const char *end = output_extension(target);
  const char *path = command_value(j->s.command, OPTION_MF, NULL);
  if (!path) path = arena_printf(j->s.memory, "%.*s.d", (int)(end - target), target);
  str text = STR_EMPTY;
  make_name(target, &text);
  str_append_char(&text, ':');
  int count = j->tree ? frontend_file_count(j->tree) : 1;
  for (int i = 0; i < count; i++) {
    str_append_char(&text, ' ');
    make_name(j->tree ? frontend_file_path(j->tree, i) : j->s.options.name, &text);
  }
  str_append_char(&text, '\n');
  str error = STR_EMPTY;
  int status = output_write(path, str_text(&text), text.length, &error)
                   ? 0
                   : session_fail(&j->s, COMPILE_ENVIRONMENT, DIAG_FILE, str_text(&error));
  str_free(&text);
  str_free(&error);
  return status;
}

/* -- Kernels --------------------------------------------------------------------------------------------------------
 */

static void print_resources(const compiled_kernel *k) {
  for (int i = 0; i < k->backend.kernel_count; i++) {
    const nvrtc_kernel_report *r = &k->backend.kernels[i];
    fprintf(stderr,
            "%s: %d registers, %" PRId64 " bytes stack, %" PRId64 " bytes spilled, %" PRId64
            " bytes loaded back, %" PRId64 " bytes shared (%" PRId64 " dynamic), %d barriers\n",
            r->entry, r->registers, r->stack_bytes, r->spill_store_bytes, r->spill_load_bytes,
            r->shared_bytes + k->record->shared_bytes, k->record->shared_bytes, r->barriers);
  }
}

/* Warnings of the backend are worth a look: serialised wgmma, spills. */
static void report_backend(job *j, const compiled_kernel *k) {
  for (int i = 0; i < k->backend.kernel_count; i++) {
    const nvrtc_kernel_report *r = &k->backend.kernels[i];
    if (r->spill_store_bytes + r->spill_load_bytes == 0) continue;
    diag_warning(j->s.diagnostics, DIAG_PTXAS, k->kernel->loc,
                 "'%s' spills registers: %" PRId64 " bytes stored, %" PRId64 " loaded back", k->kernel->name,
                 r->spill_store_bytes, r->spill_load_bytes);
  }
  for (int i = 0; i < k->backend.warning_count; i++) {
    diag_warning(j->s.diagnostics, DIAG_PTXAS, k->kernel->loc, "'%s': %s", k->kernel->name, k->backend.warnings[i]);
  }
}

static int save_reproducer(job *j, const compiled_kernel *k) {
  str error = STR_EMPTY;
  const char *directory = repro_write(&j->s.options, k, j->s.temps ? j->s.temps : ".", &error);
  if (directory)
    diag_note(j->s.diagnostics, (src_loc){0}, "the text, the log and the options are in %s", directory);
  else
    diag_note(j->s.diagnostics, (src_loc){0}, "and they could not be kept: %s", str_text(&error));
  str_free(&error);
  return COMPILE_BACKEND;
}

static int emit(job *j, const ir_kernel *kernel, compile_product product, compiled_kernel *out) {
  static const char *const names[] = {
      [COMPILE_CUDA] = "emit CUDA", [COMPILE_PTX] = "NVRTC to PTX", [COMPILE_CUBIN] = "NVRTC to cubin"};
  int status = product == COMPILE_CUDA ? 0 : session_open_nvrtc(&j->s);
  if (status) return status;
  double start = session_now();
  status = compile_emit(&j->s.options, j->module, kernel, product, out);
  session_time(&j->s, names[product], start);
  if (status == COMPILE_BACKEND) return save_reproducer(j, out);
  return status;
}

static int put_str(job *j, emit_kind kind, const ir_kernel *kernel, str *text) {
  int status = put(j, kind, kernel, str_text(text), text->length);
  str_free(text);
  return status;
}

static int put_record(job *j, const compiled_kernel *k) {
  str text = STR_EMPTY;
  int status = 0;
  if (j->wanted[KIND_JSON]) {
    emit_json(k->record, &text);
    status = put_str(j, KIND_JSON, k->kernel, &text);
  }
  if (!status && j->wanted[KIND_HEADER]) {
    text = (str)STR_EMPTY;
    emit_header(k->record, &text);
    status = put_str(j, KIND_HEADER, k->kernel, &text);
  }
  if (!status && j->wanted[KIND_C]) {
    text = (str)STR_EMPTY;
    emit_c(k->record, k->cubin, k->cubin_size, &text);
    status = put_str(j, KIND_C, k->kernel, &text);
  }
  return status;
}

static int make_kernel(job *j, const ir_kernel *kernel) {
  const command_line *c = j->s.command;
  bool needs_cubin = j->wanted[KIND_CUBIN] || j->wanted[KIND_C] || command_has(c, OPTION_RESOURCES);
  bool needs_code =
      needs_cubin || j->wanted[KIND_CUDA] || j->wanted[KIND_PTX] || j->wanted[KIND_JSON] || j->wanted[KIND_HEADER];
  if (!needs_code) return 0;
  compiled_kernel k;
  int status = emit(j, kernel, needs_cubin ? COMPILE_CUBIN : COMPILE_CUDA, &k);
  if (status) return status;
  report_backend(j, &k);
  if (j->s.temps) {
    str error = STR_EMPTY;
    bool ok =
        output_write(arena_printf(j->s.memory, "%s/%s.cu", j->s.temps, kernel->name), k.cuda, strlen(k.cuda), &error) &&
        (!k.cubin || output_write(arena_printf(j->s.memory, "%s/%s.cubin", j->s.temps, kernel->name), k.cubin,
                                  k.cubin_size, &error));
    if (!ok) status = session_fail(&j->s, COMPILE_ENVIRONMENT, DIAG_FILE, str_text(&error));
    str_free(&error);
    if (status) return status;
  }
  if (j->wanted[KIND_CUDA]) status = put(j, KIND_CUDA, kernel, k.cuda, strlen(k.cuda));
  if (!status && j->wanted[KIND_CUBIN]) status = put(j, KIND_CUBIN, kernel, k.cubin, k.cubin_size);
  if (!status) status = put_record(j, &k);
  if (!status && j->wanted[KIND_PTX]) {
    compiled_kernel ptx;
    status = emit(j, kernel, COMPILE_PTX, &ptx);
    if (!status) status = put(j, KIND_PTX, kernel, ptx.ptx, strlen(ptx.ptx));
  }
  if (!status && command_has(c, OPTION_RESOURCES)) print_resources(&k);
  return status;
}

static int compile(job *j) {
  session *s = &j->s;
  const command_line *c = s->command;
  double start = session_now();
  int status = compile_read(&s->options, &j->module, &j->tree);
  session_time(s, "read", start);
  if (status) return status;
  j->whole_program = !j->module->kernels->next;
  const char *given = command_value(c, OPTION_OUTPUT_FILE, NULL);
  if (given && strcmp(given, "-") != 0 && !j->whole_program && j->wanted_count == 1 && !j->wanted[KIND_IR]) {
    return usage_error("%s has several kernels: name one with --kernel, or leave -o out to write a file for each",
                       s->options.name);
  }
  if (!command_has(c, OPTION_SYNTAX_ONLY)) {
    s->options.tree = j->tree;
    if (command_has(c, OPTION_EXPLAIN)) s->options.explain = &j->explain;
    status = compile_lower(&s->options, j->module);
    fwrite(str_text(&j->explain), 1, j->explain.length, stdout);
    if (status) return status;
  }
  if (diag_failed(s->diagnostics)) return COMPILE_INPUT;
  if (j->wanted[KIND_IR]) {
    str text = STR_EMPTY;
    ir_print_module(j->module, &text);
    status = put_str(j, KIND_IR, NULL, &text);
  }
  for (const ir_kernel *kernel = j->module->kernels; kernel && !status; kernel = kernel->next)
    status = make_kernel(j, kernel);
  if (!status && command_has(c, OPTION_MD)) status = put_rule(j);
  return status;
}

int command_compile(const command_line *command, arena *memory) {
  job *j = ARENA_NEW(memory, job);
  int status = session_open(&j->s, command, memory);
  if (!status) status = choose_kinds(j);
  if (!status) status = compile(j);
  session_close(&j->s);
  str_free(&j->explain);
  return status;
}
