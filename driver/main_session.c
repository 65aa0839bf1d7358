#include "driver/main_session.h"

#include "driver/env.h"
#include "driver/output.h"
#include "driver/toolchain.h"
#include "runtime/cuda.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_SMS = 65536 };

static const src_loc nowhere;

int usage_error(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("bitblasc: error: ", stderr);
  vfprintf(stderr, format, args);
  va_end(args);
  fputs("\nTry 'bitblasc --help'.\n", stderr);
  return EXIT_USAGE;
}

int session_fail(session *s, compile_status status, diag_id id, const char *message) {
  diag_error(s->diagnostics, id, nowhere, "%s", message);
  return status;
}

double session_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void add_time(session *s, const char *name, double milliseconds) {
  const stage_time item = {arena_strdup(s->memory, name), milliseconds};
  ARENA_PUSH(s->memory, s->times, s->time_count, s->time_capacity, item);
}

void session_time(session *s, const char *name, double start) { add_time(s, name, session_now() - start); }

static void time_pass(void *context, const char *pass, double milliseconds) { add_time(context, pass, milliseconds); }

/* -- What the environment says ------------------------------------------------------------------------------------- */

/* The directory nvrtc/ beside the program, where a package may have put the library. */
static const char *beside_program(arena *memory) {
  char path[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) return NULL;
  path[length] = '\0';
  char *slash = strrchr(path, '/');
  if (!slash) return NULL;
  *slash = '\0';
  return arena_printf(memory, "%s/nvrtc", path);
}

nvrtc_search session_search(const command_line *command, arena *memory) {
  const char *root = env_get(ENV_CUDA_HOME);
  const toolchain_hints hints = {.nvrtc_path = command_value(command, OPTION_NVRTC_PATH, env_get(ENV_NVRTC_PATH)),
                                 .directory = beside_program(memory),
                                 .cuda_root = root ? root : env_get(ENV_CUDA_PATH),
                                 .virtual_env = env_get(ENV_VIRTUAL_ENV),
                                 .home = env_get(ENV_HOME)};
  return toolchain_search(memory, &hints);
}

bool session_gpu_target(ir_target *target) {
  cuda_driver driver;
  cuda_device device;
  int major, minor;
  if (cuda_open(NULL, &driver, NULL) != RUNTIME_OK) return false;
  if (driver.device_get(&device, 0) != CUDA_OK) return false;
  if (driver.device_get_attribute(&major, CUDA_DEVICE_CAPABILITY_MAJOR, device) != CUDA_OK) return false;
  if (driver.device_get_attribute(&minor, CUDA_DEVICE_CAPABILITY_MINOR, device) != CUDA_OK) return false;
  char name[32];
  static const char *const suffixes[] = {"a", ""};
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    snprintf(name, sizeof name, "sm_%d%d%s", major, minor, suffixes[i]);
    int found = ir_target_by_name(name);
    if (found >= 0) {
      *target = (ir_target)found;
      return true;
    }
  }
  return false;
}

/* NAME[:SMS] */
static int take_machine(session *s) {
  const char *text = command_value(s->command, OPTION_TUNE_FOR, NULL);
  if (!text) return 0;
  size_t length = strcspn(text, ":");
  int found = ir_target_by_name(arena_strndup(s->memory, text, length));
  int64_t sms = 0;
  bool counted = text[length] == ':';
  if (found < 0) return usage_error("there is no target '%.*s' (see --list-targets)", (int)length, text);
  if (counted && (!parse_number(text + length + 1, &sms) || sms < 1 || sms > MOST_SMS))
    return usage_error("--tune-for takes NAME or NAME:SMS, not '%s'", text);
  s->options.passes.speed = ir_target_of((ir_target)found);
  s->options.passes.sms = (int)sms;
  return 0;
}

static int choose_target(session *s) {
  const char *name = command_value(s->command, OPTION_TARGET, env_get(ENV_TARGET));
  if (name) {
    int target = ir_target_by_name(name);
    if (target < 0) return usage_error("there is no target '%s' (see --list-targets)", name);
    s->options.target = (ir_target)target;
    s->options.has_target = command_has(s->command, OPTION_TARGET);
  } else if (s->options.language == COMPILE_IR || !session_gpu_target(&s->options.target)) {
    s->options.target = IR_SM_90A;
  }
  return 0;
}

/* -- The input ----------------------------------------------------------------------------------------------------- */

/* Looks beside the including file, then in the -I directories, in order. */
static bool load_include(void *context, arena *memory, const char *from, const char *name, const char **path,
                         const char **text, size_t *length) {
  const command_line *command = context;
  const option_values *directories = &command->values[OPTION_INCLUDE];
  for (int i = -1; i < directories->count; i++) {
    size_t directory = (size_t)(output_base_name(from) - from);
    if (name[0] == '/')
      *path = arena_strdup(memory, name);
    else if (i < 0)
      *path = arena_printf(memory, "%.*s%s", (int)directory, from, name);
    else
      *path = arena_printf(memory, "%s/%s", directories->items[i], name);
    str error = STR_EMPTY;
    *text = output_read(memory, *path, length, &error);
    str_free(&error);
    if (*text) return true;
  }
  return false;
}

static int read_input(session *s) {
  const command_line *c = s->command;
  if (c->inputs.count == 0) return usage_error("no input file");
  if (c->inputs.count > 1)
    return usage_error("one input file at a time: '%s' and '%s'", c->inputs.items[0], c->inputs.items[1]);
  s->input = c->inputs.items[0];
  const char *extension = output_extension(s->input);
  const char *language = command_value(c, OPTION_LANGUAGE, NULL);
  if (!language && strcmp(s->input, "-") == 0) return usage_error("standard input needs -x tl or -x ir");
  if (!language && strcmp(extension, ".tl") != 0 && strcmp(extension, ".tir") != 0) {
    return usage_error("'%s' is neither .tl nor .tir; -x says what it is", s->input);
  }
  s->options.language = strcmp(language ? language : extension + 1, "tl") == 0 ? COMPILE_TL : COMPILE_IR;
  s->options.name = strcmp(s->input, "-") == 0 ? "<stdin>" : s->input;
  str error = STR_EMPTY;
  s->options.text = output_read(s->memory, s->input, &s->options.length, &error);
  int status = s->options.text ? 0 : session_fail(s, COMPILE_INPUT, DIAG_FILE, str_text(&error));
  str_free(&error);
  return status;
}

/* -- Options ------------------------------------------------------------------------------------------------------- */

static int take_bindings(session *s) {
  const option_values *v = &s->command->values[OPTION_DEFINE];
  frontend_binding *bindings = ARENA_ARRAY(s->memory, frontend_binding, v->count);
  for (int i = 0; i < v->count; i++) {
    if (!split_assignment(s->memory, v->items[i], &bindings[i].name, &bindings[i].value)) {
      return usage_error("-D takes NAME=VALUE, not '%s'", v->items[i]);
    }
  }
  s->options.bindings = bindings;
  s->options.binding_count = v->count;
  return 0;
}

static int take_numbers(session *s, option_id id, const pass_number **out, int *count) {
  const option_values *v = &s->command->values[id];
  pass_number *numbers = ARENA_ARRAY(s->memory, pass_number, v->count);
  for (int i = 0; i < v->count; i++) {
    const char *value;
    if (!split_assignment(s->memory, v->items[i], &numbers[i].name, &value) ||
        !parse_number(value, &numbers[i].value)) {
      return usage_error("%s takes NAME=NUMBER, not '%s'", option_spelling(id), v->items[i]);
    }
  }
  *out = numbers;
  *count = v->count;
  return 0;
}

/* Prints to standard output what --print-after asked for, and keeps everything for --save-temps. */
static void after_pass(void *context, const char *pass, const char *text) {
  session *s = context;
  if (s->temps) {
    str error = STR_EMPTY;
    const char *path = arena_printf(s->memory, "%s/%02d-%s.tir", s->temps, s->temps_number++, pass);
    if (!output_write(path, text, strlen(text), &error))
      diag_error(s->diagnostics, DIAG_FILE, nowhere, "%s", str_text(&error));
    str_free(&error);
  }
  if (s->print_after && pass_list_has(s->print_after, pass)) printf("// after %s\n%s", pass, text);
}

static int form_by_name(const char *name) {
  for (int form = IR_FORM_TILE; form <= IR_FORM_THREAD; form++) {
    if (strcmp(ir_form_name((ir_form)form), name) == 0) return form;
  }
  return -1;
}

static int take_pipeline(session *s) {
  const command_line *c = s->command;
  pipeline_options *p = &s->options.pipeline;
  p->passes = command_value(c, OPTION_RUN_PASS, NULL);
  p->verify_each = command_has(c, OPTION_VERIFY_EACH);
  p->context = s;
  if (command_has(c, OPTION_TIME_REPORT)) p->time = time_pass;
  const char *form = command_value(c, OPTION_FORM, NULL);
  if (form && c->mode == MODE_COMPILE) {
    p->has_last_form = true;
    p->last_form = (ir_form)form_by_name(form);
  }
  s->print_after = command_value(c, OPTION_PRINT_AFTER, NULL);
  if (command_has(c, OPTION_SAVE_TEMPS)) {
    const char *directory = command_value(c, OPTION_SAVE_TEMPS, "");
    s->temps = *directory ? directory : "bitblasc-temps";
    str error = STR_EMPTY;
    bool made = output_make_directory(s->temps, &error);
    if (!made) session_fail(s, COMPILE_ENVIRONMENT, DIAG_FILE, str_text(&error));
    str_free(&error);
    if (!made) return COMPILE_ENVIRONMENT;
  }
  p->print = after_pass;
  p->print_after = s->print_after;
  if (s->temps) p->print_after = s->print_after ? arena_printf(s->memory, "%s,all", s->print_after) : "all";
  return 0;
}

static int take_options(session *s) {
  const command_line *c = s->command;
  compile_options *o = &s->options;
  o->memory = s->memory;
  o->diagnostics = s->diagnostics;
  s->loader = (frontend_loader){load_include, (void *)(uintptr_t)c};
  o->loader = &s->loader;
  o->kernel_name = command_value(c, OPTION_KERNEL, NULL);
  o->line_info = command_has(c, OPTION_LINE_INFO);
  o->debug_barriers = command_has(c, OPTION_DEBUG_BARRIERS);
  o->count_events = command_has(c, OPTION_COUNT_EVENTS);
  o->nvrtc_options = c->values[OPTION_NVRTC_OPTION].items;
  o->nvrtc_option_count = c->values[OPTION_NVRTC_OPTION].count;
  o->passes.level = atoi(command_value(c, OPTION_LEVEL, "2"));
  int64_t candidate = 0;
  if (!parse_number(command_value(c, OPTION_CANDIDATE, "0"), &candidate) || candidate < 0 || candidate > INT_MAX) {
    return usage_error("--candidate takes a number, not '%s'", command_value(c, OPTION_CANDIDATE, ""));
  }
  o->passes.candidate = (int)candidate;
  const option_values *required = &c->values[OPTION_REQUIRE];
  for (int i = 0; i < required->count; i++) {
    for (const char *at = required->items[i]; *at;) {
      size_t length = strcspn(at, ",");
      if (length) diag_require(s->diagnostics, arena_strndup(s->memory, at, length));
      at += length + (at[length] == ',');
    }
  }
  int status = take_bindings(s);
  if (!status) status = take_numbers(s, OPTION_EXPECT, &o->passes.expected, &o->passes.expected_count);
  if (!status) status = take_numbers(s, OPTION_PIN, &o->passes.pins, &o->passes.pin_count);
  if (!status) status = take_machine(s);
  if (!status) status = take_pipeline(s);
  return status;
}

int session_open(session *s, const command_line *command, arena *memory) {
  memset(s, 0, sizeof *s);
  s->command = command;
  s->memory = memory;
  s->diagnostics = diag_create();
  int status = take_options(s);
  if (!status) status = read_input(s);
  if (!status) status = choose_target(s);
  return status;
}

int session_open_nvrtc(session *s) {
  if (s->nvrtc) return 0;
  double start = session_now();
  nvrtc_search search = session_search(s->command, s->memory);
  const char *error = NULL;
  s->nvrtc = nvrtc_open(&search, s->memory, NULL, &error);
  if (!s->nvrtc) return session_fail(s, COMPILE_ENVIRONMENT, DIAG_ENVIRONMENT, error);
  s->options.nvrtc = s->nvrtc;
  session_time(s, "open NVRTC", start);
  if (command_has(s->command, OPTION_VERBOSE)) {
    int major, minor;
    nvrtc_version(s->nvrtc, &major, &minor);
    fprintf(stderr, "bitblasc: NVRTC %d.%d, %s\n", major, minor, nvrtc_path(s->nvrtc));
  }
  return 0;
}

/* Remarks that were asked for: -Ra -Rb is the list a,b. NULL when none. */
static const char *remark_passes(const session *s) {
  const option_values *v = &s->command->values[OPTION_REMARKS];
  if (!v->count) return NULL;
  const char *list = v->items[0];
  for (int i = 1; i < v->count; i++)
    list = arena_printf(s->memory, "%s,%s", list, v->items[i]);
  return list;
}

void session_close(session *s) {
  str text = STR_EMPTY;
  bool json = strcmp(command_value(s->command, OPTION_DIAGNOSTICS, "text"), "json") == 0;
  diag_render(s->diagnostics, json ? DIAG_FORMAT_JSON : DIAG_FORMAT_TEXT, remark_passes(s), &text);
  fflush(stdout);
  fputs(str_text(&text), stderr);
  if (command_has(s->command, OPTION_TIME_REPORT)) {
    double total = 0;
    for (int i = 0; i < s->time_count; i++) {
      fprintf(stderr, "%-24s %10.3f ms\n", s->times[i].name, s->times[i].milliseconds);
      total += s->times[i].milliseconds;
    }
    fprintf(stderr, "%-24s %10.3f ms\n", "total", total);
  }
  str_free(&text);
  nvrtc_close(s->nvrtc);
  diag_destroy(s->diagnostics);
}
