/* bitblasc run: executes a kernel on the GPU or on the emulator, and checks what it computed.
 *
 * The kernels of a file run in order over one set of tensors, matched by name: what one writes the next one reads. With
 * --check the tile form of each, in which the file was written, is evaluated beside it in doubles. */
#include "driver/main_run.h"

#include "driver/output.h"
#include "ir/events.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const src_loc nowhere;

int run_fail(run *r, compile_status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  diag_verror(r->s.diagnostics, status == COMPILE_ENVIRONMENT ? DIAG_ENVIRONMENT : DIAG_RUN, nowhere, format, args);
  va_end(args);
  return status;
}

/* -- Sizes -- */

bool run_find_size(const run *r, const char *name, int64_t *value) {
  for (int i = 0; i < r->size_count; i++) {
    if (strcmp(r->sizes[i].name, name) != 0) continue;
    *value = r->sizes[i].value;
    return true;
  }
  return false;
}

/* --size, and for a cubin -D too: there is nothing to compile in. */
static int take_sizes(run *r, const command_line *c, bool defines_too) {
  const option_values *lists[] = {&c->values[OPTION_SIZE], defines_too ? &c->values[OPTION_DEFINE] : NULL};
  r->sizes = ARENA_ARRAY(r->s.memory, named_size, c->values[OPTION_SIZE].count + c->values[OPTION_DEFINE].count);
  for (int l = 0; l < 2; l++) {
    for (int i = 0; lists[l] && i < lists[l]->count; i++) {
      const char *text = lists[l]->items[i], *value;
      named_size *size = &r->sizes[r->size_count++];
      if (!split_assignment(r->s.memory, text, &size->name, &value) || !parse_number(value, &size->value) ||
          size->value < 0) {
        return usage_error("%s takes NAME=NUMBER, not '%s'", option_spelling(l ? OPTION_DEFINE : OPTION_SIZE), text);
      }
    }
  }
  return 0;
}

/* -- Tensors -- */

data_tensor *run_find_tensor(const run *r, const char *name) {
  for (int i = 0; i < r->tensor_count; i++) {
    if (strcmp(r->tensors[i]->name, name) == 0) return r->tensors[i];
  }
  return NULL;
}

static bool same_shape(const data_tensor *a, const data_tensor *b) {
  if (a->type != b->type || a->rank != b->rank || a->stored != b->stored) return false;
  return memcmp(a->extent, b->extent, sizeof *a->extent * (size_t)a->rank) == 0;
}

/* The option of this tensor, --input or --output; NULL when there is none. */
static const char *file_of(const run *r, option_id id, const char *name) {
  const option_values *v = &r->s.command->values[id];
  size_t length = strlen(name);
  for (int i = v->count - 1; i >= 0; i--) {
    if (strncmp(v->items[i], name, length) == 0 && v->items[i][length] == '=') return v->items[i] + length + 1;
  }
  return NULL;
}

static const size_t MOST_BYTES = (size_t)1 << 36;

/* Gives a new tensor its memory and its first values. `made_up`: an input that no kernel wrote before. */
static int fill_tensor(run *r, data_tensor *t, bool made_up) {
  if (t->bytes > MOST_BYTES) return run_fail(r, COMPILE_ENVIRONMENT, "tensor %s takes %zu bytes", t->name, t->bytes);
  t->actual = arena_alloc(r->s.memory, t->bytes);
  const char *file = file_of(r, OPTION_INPUT, t->name);
  if (file) {
    str error = STR_EMPTY;
    int status = data_read(t, file, r->s.memory, &error) ? 0 : run_fail(r, COMPILE_INPUT, "%s", str_text(&error));
    str_free(&error);
    if (status) return status;
  } else if (made_up) {
    data_make_up(t, r->seed);
  }
  if (r->check) {
    t->expected = arena_copy(r->s.memory, t->actual, t->bytes);
    t->wide = ARENA_ARRAY(r->s.memory, double, t->stored);
  }
  ARENA_PUSH(r->s.memory, r->tensors, r->tensor_count, r->tensor_capacity, t);
  return 0;
}

/* The tensor of this name, made when it is new. `hidden`: an argument that the compiler added, which begins as zeros.
 */
int run_take_tensor(run *r, data_tensor *shape, bool written, bool read, bool hidden, src_loc loc, data_tensor **out) {
  data_tensor *old = run_find_tensor(r, shape->name);
  *out = old;
  if (old) {
    old->is_output |= written;
    if (same_shape(old, shape)) return 0;
    diag_error(r->s.diagnostics, DIAG_RUN, loc, "tensor %s has another type or shape in another kernel of the file",
               shape->name);
    return COMPILE_INPUT;
  }
  *out = ARENA_NEW(r->s.memory, data_tensor);
  **out = *shape;
  (*out)->is_output = written;
  /* A counter or a sum that a kernel adds to begins at zero. */
  bool counter = written && ir_is_integer(shape->type);
  return fill_tensor(r, *out, read && !hidden && !counter);
}

/* -- Results -- */

static void print_place(const data_tensor *t, const int64_t *at) {
  printf("%s[", t->name);
  for (int d = 0; d < t->rank; d++)
    printf("%s%" PRId64, d ? ", " : "", at[d]);
  printf("]");
}

static bool check_tensor(const run *r, const data_tensor *t) {
  data_comparison c = data_compare(t, &r->precision);
  if (!c.wrong) {
    printf("%s: ok, max error %.3g (allowed %.3g), %zu elements\n", t->name, c.worst_error, c.worst_allowed,
           c.compared);
    return true;
  }
  printf("%s: wrong, %zu of %zu elements, max error %.3g; the first: ", t->name, c.wrong, c.compared, c.worst_error);
  print_place(t, c.first);
  printf(" is %.9g and should be %.9g\n", c.first_actual, c.first_expected);
  return false;
}

void run_print_events(const run *r, const char *kernel, const uint64_t *events) {
  const command_line *c = r->s.command;
  if (!command_has(c, OPTION_COUNT_EVENTS)) return;
  bool json = strcmp(command_value(c, OPTION_COUNT_EVENTS, "text"), "json") == 0;
  str text = STR_EMPTY;
  if (json) {
    str_append(&text, "{\"kernel\": ");
    str_append_json(&text, kernel);
    str_append(&text, ", \"events\": {");
  }
  for (int i = 0; i < IR_EVENT_COUNT; i++)
    str_printf(&text, json ? "%s\"%s\": %" PRIu64 "%s" : "%s%s: %" PRIu64 "%s", json ? i ? ", " : "" : "  ",
               ir_event_name((ir_event)i), events[i], json ? "" : "\n");
  printf("%s%s", str_text(&text), json ? "}}\n" : "");
  str_free(&text);
}

int run_finish(run *r) {
  bool right = true;
  for (int i = 0; i < r->tensor_count; i++) {
    const data_tensor *t = r->tensors[i];
    const char *file = file_of(r, OPTION_OUTPUT, t->name);
    str error = STR_EMPTY;
    if (file && !data_write(t, file, &error)) return run_fail(r, COMPILE_ENVIRONMENT, "%s", str_text(&error));
    str_free(&error);
    if (r->check && t->is_output && t->wide) right &= check_tensor(r, t);
  }
  return right ? 0 : COMPILE_INPUT;
}

/* Every --input and --output names a tensor. */
int run_check_names(run *r, option_id id) {
  const option_values *v = &r->s.command->values[id];
  for (int i = 0; i < v->count; i++) {
    const char *name, *file;
    if (!split_assignment(r->s.memory, v->items[i], &name, &file))
      return usage_error("%s takes NAME=FILE, not '%s'", option_spelling(id), v->items[i]);
    if (!run_find_tensor(r, name))
      return run_fail(r, COMPILE_INPUT, "%s %s: no kernel has a tensor '%s'", option_spelling(id), v->items[i], name);
  }
  return 0;
}

static int take_run_options(run *r, const command_line *c, bool is_cubin) {
  int64_t seed = 1, repeat = 20;
  if (!parse_number(command_value(c, OPTION_SEED, "1"), &seed))
    return usage_error("--seed takes a number, not '%s'", command_value(c, OPTION_SEED, ""));
  if (!parse_number(command_value(c, OPTION_REPEAT, "20"), &repeat) || repeat < 1 || repeat > 1000000) {
    return usage_error("--repeat takes a number from 1, not '%s'", command_value(c, OPTION_REPEAT, ""));
  }
  int64_t blocks = 0;
  if (command_has(c, OPTION_BLOCKS) &&
      (!parse_number(command_value(c, OPTION_BLOCKS, ""), &blocks) || blocks < 1 || blocks > 1 << 20))
    return usage_error("--blocks takes a number from 1, not '%s'", command_value(c, OPTION_BLOCKS, ""));
  r->blocks = (int)blocks;
  r->seed = (uint64_t)seed;
  r->repeat = command_has(c, OPTION_TIME) ? (int)repeat : 0;
  r->verify = command_has(c, OPTION_VERIFY);
  r->check = command_has(c, OPTION_CHECK) || r->verify;
  const char *end, *factor = command_value(c, OPTION_TOLERANCE, "1");
  r->precision.factor = str_parse_double(factor, &end);
  if (end == factor || *end || !(r->precision.factor >= 0))
    return usage_error("--tolerance takes a number, not '%s'", factor);
  return take_sizes(r, c, is_cubin);
}

int command_run(const command_line *command, arena *memory) {
  run *r = ARENA_NEW(memory, run);
  const char *path = command->inputs.count == 1 ? command->inputs.items[0] : "";
  bool is_cubin = strcmp(output_extension(path), ".cubin") == 0;
  int status;
  if (is_cubin) {
    r->s.command = command;
    r->s.memory = memory;
    r->s.diagnostics = diag_create();
    status = take_run_options(r, command, true);
    if (!status) status = run_cubin(r, path);
  } else {
    status = session_open(&r->s, command, memory);
    if (!status) status = take_run_options(r, command, false);
    if (!status) status = run_text(r);
  }
  run_gpu_close(&r->gpu);
  diag_destroy(r->declared_diagnostics);
  session_close(&r->s);
  return status;
}
