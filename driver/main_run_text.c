/* bitblasc run on a text: compiles it and executes each kernel, the tile form beside it for --check. */
#include "driver/main_run.h"

#include "emulator/emulator.h"
#include "ir/numeric.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* -- Sizes and extents -- */

/* The value of each size of the kernel, by value number; false and a diagnostic when one is not known. */
static bool kernel_sizes(run *r, const ir_kernel *kernel, const ir_expr **replace, int64_t *list, int *count) {
  bool ok = true;
  *count = 0;
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space != IR_SIZE) continue;
    int64_t number = value->bound;
    if (number < 0 && !run_find_size(r, value->name, &number)) {
      diag_error(r->s.diagnostics, DIAG_RUN, value->loc,
                 "size %s of '%s' is not given: -D %s=... compiles it in, --size %s=... does not", value->name,
                 kernel->name, value->name, value->name);
      ok = false;
      number = 0;
    }
    replace[i] = ir_int(r->s.memory, number);
    list[(*count)++] = number;
  }
  return ok;
}

static bool is_made_of(const ir_expr *const *list, int rank, const ir_expr *const *replace, int count, arena *memory,
                       int64_t *out) {
  for (int d = 0; d < rank; d++) {
    if (!ir_is_constant(ir_substitute(memory, list[d], replace, count), &out[d])) return false;
  }
  return true;
}

/* -- What inputs stand for, and how exact a kernel can be -- */

typedef struct role_walk {
  data_role *roles; /* by value number */
  int *bits;
  bool changed;
} role_walk;

static void set_role(role_walk *w, const ir_value *value, data_role role, int bits) {
  if (!value || w->roles[value->number] != DATA_PLAIN) return;
  w->roles[value->number] = role;
  w->bits[value->number] = bits;
  w->changed = true;
}

static bool learn_role(void *context, ir_block *block, ir_op *op) {
  (void)block;
  role_walk *w = context;
  if (op->kind == IR_OP_DECODE) {
    ir_type codes = op->read[0].value->type;
    int bits = ir_is_integer(codes) ? ir_bits(codes) : 0;
    if (op->read_count > 1) set_role(w, op->read[1].value, DATA_SCALE, bits);
    if (op->read_count > 2) set_role(w, op->read[2].value, DATA_ZERO, bits);
  } else if (op->kind == IR_OP_COPY && op->read_count > 0) {
    int number = op->write[0].value->number;
    if (w->roles[number] != DATA_PLAIN) set_role(w, op->read[0].value, w->roles[number], w->bits[number]);
  }
  return true;
}

/* Which tensors are scales and zeros: what a decode takes as such, followed back through copies. */
static void learn_roles(ir_kernel *kernel, role_walk *w, arena *memory) {
  w->roles = ARENA_ARRAY(memory, data_role, kernel->value_count);
  w->bits = ARENA_ARRAY(memory, int, kernel->value_count);
  do {
    w->changed = false;
    ir_walk(&kernel->body, learn_role, w);
  } while (w->changed);
}

static double roundoff(ir_type type) {
  const ir_type_info *info = ir_type_of(type);
  return info->class == IR_CLASS_FLOAT ? ldexp(1, -info->mantissa_bits - 1) : 0;
}

typedef struct precision_walk {
  double rounding;
  bool chained; /* a tensor that one kernel writes may be read by another: its rounding counts */
} precision_walk;

static bool learn_precision(void *context, ir_block *block, ir_op *op) {
  (void)block;
  precision_walk *w = context;
  double rounding = 0;
  for (int i = 0; i < op->write_count; i++) {
    const ir_value *value = op->write[i].value;
    if (!value || value->space == IR_INDEX || (value->space == IR_GLOBAL && !w->chained)) continue;
    bool moves = op->kind == IR_OP_COPY && op->read_count > 0 && op->read[0].value->type == value->type;
    if (!moves) rounding = roundoff(value->type) * (value->space == IR_SCALAR ? 1 : 8);
  }
  if (op->kind == IR_OP_DOT) {
    int operand = ir_bits(op->read[0].value->type);
    const ir_type type = op->write[0].value->type;
    /* The tensor cores keep about 14 bits of a sum of 8-bit products, cut off at every 32 of them, and truncate where they
     * add in f32. */
    bool promotes = ir_attr_get(&op->attrs, IR_ATTR_PROMOTE, 0) > 0;
    double of_bytes = promotes ? 0x1p-12 : 0x1p-10;
    rounding = !ir_is_float(type) ? 0 : type == IR_F16 ? 0x1p-8 : operand <= 8 ? of_bytes : 0x1p-17;
    if (op->read[0].value->type == IR_TF32) rounding = 0x1p-11;
  } else if (rounding > 0 && ir_bits(op->write[0].value->type) < 32) {
    rounding /= 8;
  }
  if (rounding > w->rounding) w->rounding = rounding;
  return true;
}

/* -- Emulator -- */

static emulator_tensor emulator_tensor_of(run *r, const ir_value *value, data_tensor *t, bool reference) {
  emulator_tensor e = {
      .bytes = reference ? t->expected : t->actual, .byte_size = t->bytes, .wide = reference ? t->wide : NULL};
  if (value->packed && !reference) {
    const int32_t *order = data_order_of_layout(value->packed, r->s.memory);
    e.bytes = data_pack(t, value->packed->rows, value->packed->k, order, r->s.memory, &e.byte_size);
  }
  return e;
}

/* Runs the kernel on the emulator over its tensors, by value number. */
static int emulate(run *r, ir_kernel *kernel, data_tensor *const *tensors, const int64_t *sizes, int size_count,
                   bool reference, const diag *d, emulator_counts *counts) {
  emulator_launch launch = {.sizes = sizes, .size_count = size_count};
  launch.tensors = ARENA_ARRAY(r->s.memory, emulator_tensor, kernel->value_count);
  for (int i = 0; i < kernel->value_count; i++) {
    if (kernel->values[i]->space != IR_GLOBAL) continue;
    launch.tensors[launch.tensor_count++] = emulator_tensor_of(r, kernel->values[i], tensors[i], reference);
  }
  launch.options.precision = reference ? EMULATOR_REFERENCE : EMULATOR_NATIVE;
  launch.options.seed = r->seed;
  launch.options.blocks = r->blocks;
  launch.options.finding_limit = 10;
  emulator_report report;
  bool ok = emulator_run(kernel, &launch, &report);
  if (!ok) {
    str text = STR_EMPTY;
    if (strcmp(command_value(r->s.command, OPTION_DIAGNOSTICS, "text"), "json") == 0)
      emulator_report_json(&report, d, &text);
    else
      emulator_report_text(&report, d, &text);
    fprintf(stderr, "%s", str_text(&text));
    str_free(&text);
  }
  *counts = report.counts;
  emulator_report_free(&report);
  return ok ? 0 : COMPILE_INPUT;
}

/* -- One kernel -- */

/* The tensors of a kernel by value number. `hidden` are those that only the lowered kernel has. */
static int take_tensors(run *r, ir_kernel *kernel, const ir_expr *const *replace, const role_walk *roles, bool hidden,
                        data_tensor **out) {
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space != IR_GLOBAL) continue;
    data_tensor shape = {.name = value->name, .type = value->type, .rank = value->rank};
    if (roles) {
      shape.role = roles->roles[i];
      shape.code_bits = roles->bits[i];
    }
    int64_t strides[IR_MAX_RANK];
    bool strided = value->rank > 0 && value->stride[0];
    bool known =
        is_made_of(value->extent, value->rank, replace, kernel->value_count, r->s.memory, shape.extent) &&
        (!strided || is_made_of(value->stride, value->rank, replace, kernel->value_count, r->s.memory, strides));
    if (!known || !data_shape(&shape, strided ? strides : NULL)) {
      diag_error(r->s.diagnostics, DIAG_RUN, value->loc, "the extents of %s are not known, or too large", value->name);
      return COMPILE_INPUT;
    }
    int status =
        run_take_tensor(r, &shape, value->direction != IR_IN, value->direction != IR_OUT, hidden, value->loc, &out[i]);
    if (status) return status;
  }
  return 0;
}

static int run_reference(run *r, ir_kernel *kernel) {
  const ir_expr **replace = ARENA_ARRAY(r->s.memory, const ir_expr *, kernel->value_count);
  int64_t *sizes = ARENA_ARRAY(r->s.memory, int64_t, kernel->value_count);
  data_tensor **tensors = ARENA_ARRAY(r->s.memory, data_tensor *, kernel->value_count);
  int size_count;
  if (!kernel_sizes(r, kernel, replace, sizes, &size_count)) return COMPILE_INPUT;
  int status = take_tensors(r, kernel, replace, NULL, false, tensors);
  emulator_counts counts;
  double start = session_now();
  if (!status) status = emulate(r, kernel, tensors, sizes, size_count, true, r->declared_diagnostics, &counts);
  session_time(&r->s, "reference", start);
  return status;
}

static int run_on_gpu(run *r, const ir_kernel *kernel) {
  compiled_kernel k;
  int status = session_open_nvrtc(&r->s);
  if (status) return status;
  double start = session_now();
  status = compile_emit(&r->s.options, r->module, kernel, COMPILE_CUBIN, &k);
  session_time(&r->s, "NVRTC to cubin", start);
  if (status) return status;
  uint64_t events[IR_EVENT_COUNT];
  run_gpu_launch launch = {.cubin = k.cubin,
                           .cubin_size = k.cubin_size,
                           .repeat = r->repeat,
                           .events = r->s.options.count_events ? events : NULL};
  data_tensor **tensors = ARENA_ARRAY(r->s.memory, data_tensor *, k.record->tensor_count);
  int64_t *sizes = ARENA_ARRAY(r->s.memory, int64_t, k.record->size_count);
  for (int i = 0; i < k.record->tensor_count; i++) {
    tensors[i] = run_find_tensor(r, k.record->tensors[i].name);
    if (!tensors[i])
      return run_fail(r, COMPILE_INTERNAL, "the record names a tensor %s that the kernel does not have",
                      k.record->tensors[i].name);
  }
  for (int i = 0; i < k.record->size_count; i++)
    run_find_size(r, k.record->sizes[i].name, &sizes[i]);
  launch.tensors = tensors;
  launch.sizes = sizes;
  launch_facts facts;
  launch_timing timing;
  runtime_message message = {""};
  start = session_now();
  runtime_status ran = run_gpu_execute(&r->gpu, &launch, r->s.memory, &facts, &timing, &message);
  session_time(&r->s, "run on the GPU", start);
  if (ran != RUNTIME_OK) {
    bool input = ran == RUNTIME_BAD_ARGUMENT || ran == RUNTIME_CONSTRAINT;
    return run_fail(r, input ? COMPILE_INPUT : COMPILE_ENVIRONMENT, "%s", message.text);
  }
  printf("%s: %s, %d registers, %d blocks fit\n", kernel->name, device_get_facts(r->gpu.device)->name, facts.registers,
         facts.resident_blocks);
  run_print_events(r, kernel->name, events);
  if (r->repeat)
    printf("%s: median %.2f us (%.2f to %.2f)\n", kernel->name, timing.median_us, timing.least_us, timing.most_us);
  return 0;
}

static int run_on_emulator(run *r, ir_kernel *kernel, data_tensor *const *tensors, const int64_t *sizes,
                           int size_count) {
  emulator_counts counts;
  double start = session_now();
  int status = emulate(r, kernel, tensors, sizes, size_count, false, r->s.diagnostics, &counts);
  double took = session_now() - start;
  session_time(&r->s, "run on the emulator", start);
  if (status) return status;
  printf("%s: emulator, %s form, %" PRIu64 " steps\n", kernel->name, ir_form_name(kernel->form), counts.steps);
  run_print_events(r, kernel->name, counts.events);
  if (r->repeat) printf("%s: emulated in %.1f ms\n", kernel->name, took);
  return 0;
}

/* Makes the tensors of the kernels as the user declared them, in order. */
static int make_tensors(run *r) {
  int status = 0;
  for (ir_kernel *kernel = r->declared->kernels; kernel && !status; kernel = kernel->next) {
    const ir_expr **replace = ARENA_ARRAY(r->s.memory, const ir_expr *, kernel->value_count);
    int64_t *sizes = ARENA_ARRAY(r->s.memory, int64_t, kernel->value_count);
    data_tensor **tensors = ARENA_ARRAY(r->s.memory, data_tensor *, kernel->value_count);
    int size_count;
    role_walk roles;
    if (!kernel_sizes(r, kernel, replace, sizes, &size_count)) return COMPILE_INPUT;
    learn_roles(kernel, &roles, r->s.memory);
    status = take_tensors(r, kernel, replace, &roles, false, tensors);
  }
  return status;
}

static int run_kernel(run *r, ir_kernel *kernel) {
  const ir_expr **replace = ARENA_ARRAY(r->s.memory, const ir_expr *, kernel->value_count);
  int64_t *sizes = ARENA_ARRAY(r->s.memory, int64_t, kernel->value_count);
  data_tensor **tensors = ARENA_ARRAY(r->s.memory, data_tensor *, kernel->value_count);
  int size_count;
  if (!kernel_sizes(r, kernel, replace, sizes, &size_count)) return COMPILE_INPUT;
  int status = take_tensors(r, kernel, replace, NULL, true, tensors);
  if (status) return status;
  return r->on_gpu ? run_on_gpu(r, kernel) : run_on_emulator(r, kernel, tensors, sizes, size_count);
}

/* -- From text -- */

/* Code of an older target runs on this GPU when it is compiled for it: sm_80's on an H200 as sm_90. Code that uses one
 * architecture's own instructions (sm_90a) runs there alone. */
static bool choose_machine(run *r, ir_target here) {
  const char *asked = ir_target_of(r->s.options.target)->name,
             *machine = arena_strdup(r->s.memory, ir_target_of(here)->name);
  char *suffix = strchr(machine, 'a');
  if (strchr(asked, 'a') || r->s.options.target > here) return false;
  if (suffix) *suffix = '\0';
  r->s.options.machine = machine;
  return true;
}

/* Schedules are chosen for the GPU that they run on. */
static void choose_for(run *r) {
  const device_facts *facts = device_get_facts(r->gpu.device);
  r->s.options.passes.speed = ir_target_by_capability(10 * facts->capability_major + facts->capability_minor);
  r->s.options.passes.sms = facts->sm_count;
}

/* Whether the GPU is to be used; opens it then. A GPU of another target than the one asked for does not fit. */
static int choose_device(run *r) {
  const command_line *c = r->s.command;
  const char *wish = command_value(c, OPTION_DEVICE, "auto");
  bool must = strcmp(wish, "gpu") == 0;
  const char *form = command_value(c, OPTION_FORM, NULL);
  if (must && form && strcmp(form, "thread") != 0)
    return usage_error("a GPU runs the thread form only, not --form=%s", form);
  if (strcmp(wish, "emulator") == 0 || (!must && form)) return 0;
  runtime_message message = {""};
  if (run_gpu_open(&r->gpu, &message) != RUNTIME_OK)
    return must ? run_fail(r, COMPILE_ENVIRONMENT, "%s", message.text) : 0;
  ir_target target;
  bool fits = session_gpu_target(&target);
  if (fits && command_has(c, OPTION_TARGET) && target != r->s.options.target) fits = choose_machine(r, target);
  if (!fits && must) return run_fail(r, COMPILE_ENVIRONMENT, "this GPU is not the target that was asked for");
  int status = must ? session_open_nvrtc(&r->s) : 0;
  if (status) return status;
  if (fits && !must) {
    nvrtc_search search = session_search(c, r->s.memory);
    const char *error;
    r->s.nvrtc = nvrtc_open(&search, r->s.memory, NULL, &error);
    r->s.options.nvrtc = r->s.nvrtc;
    fits = r->s.nvrtc != NULL;
  }
  r->on_gpu = fits;
  if (fits && !command_has(c, OPTION_TUNE_FOR)) choose_for(r);
  if (fits && !command_has(c, OPTION_TARGET)) r->s.options.target = target;
  return 0;
}

/* The -D of the command line, and the tune parameters that the passes chose for this kernel: they may say how a kernel
 * divides its work, and so what it leaves in tensors that only another kernel reads. */
static void bind_choices(run *r, const ir_kernel *kernel, compile_options *options) {
  frontend_binding *bindings = ARENA_ARRAY(r->s.memory, frontend_binding, options->binding_count + kernel->param_count);
  for (int i = 0; i < options->binding_count; i++)
    bindings[i] = options->bindings[i];
  for (int i = 0; i < kernel->param_count; i++) {
    const ir_param *param = &kernel->params[i];
    if (!param->tunable) continue;
    bindings[options->binding_count++] =
        (frontend_binding){param->name, arena_printf(r->s.memory, "%" PRId64, param->value)};
  }
  options->bindings = bindings;
}

/* Reads the text once more, kernel by kernel, with diagnostics of its own: they were reported already. */
static int read_declared(run *r) {
  r->declared_diagnostics = diag_create();
  ir_kernel **link = NULL;
  for (const ir_kernel *kernel = r->module->kernels; kernel; kernel = kernel->next) {
    compile_options options = r->s.options;
    options.diagnostics = r->declared_diagnostics;
    options.kernel_name = kernel->name;
    if (options.language == COMPILE_TL) bind_choices(r, kernel, &options);
    ir_module *module;
    compile_status status = compile_read(&options, &module, NULL);
    if (status != COMPILE_OK)
      return run_fail(r, COMPILE_INTERNAL, "'%s' could not be read a second time", kernel->name);
    if (link)
      *link = module->kernels;
    else
      r->declared = module;
    link = &module->kernels->next;
  }
  return 0;
}

static int learn_precisions(run *r) {
  precision_walk w = {.rounding = 0x1p-20, .chained = r->declared->kernels->next != NULL};
  for (ir_kernel *kernel = r->declared->kernels; kernel; kernel = kernel->next) {
    if (kernel->form != IR_FORM_TILE) {
      return run_fail(r, COMPILE_INPUT, "--check needs the tile form, and '%s' is in form %s", kernel->name,
                      ir_form_name(kernel->form));
    }
    ir_walk(&kernel->body, learn_precision, &w);
  }
  r->precision.rounding = w.rounding;
  return 0;
}

static void choose_form(run *r) {
  const char *form = command_value(r->s.command, OPTION_FORM, NULL);
  for (int i = IR_FORM_TILE; form && i <= IR_FORM_THREAD; i++) {
    if (strcmp(ir_form_name((ir_form)i), form) != 0) continue;
    r->s.options.pipeline.has_last_form = true;
    r->s.options.pipeline.last_form = (ir_form)i;
  }
}

static int run_kernels(run *r) {
  int status = 0;
  for (ir_kernel *kernel = r->module->kernels; kernel && !status; kernel = kernel->next)
    status = run_kernel(r, kernel);
  return status;
}

/* Runs the kernels as -O0 makes them; what they wrote becomes what is expected, and the tensors are as before. */
static int run_plain(run *r) {
  ir_module *module = r->module;
  const compile_options options = r->s.options;
  unsigned char **before = ARENA_ARRAY(r->s.memory, unsigned char *, r->tensor_count);
  for (int i = 0; i < r->tensor_count; i++)
    before[i] = arena_copy(r->s.memory, r->tensors[i]->actual, r->tensors[i]->bytes);
  const int known = r->tensor_count, repeat = r->repeat;
  r->s.options.passes.level = 0;
  r->repeat = 0;
  int status = compile_read(&r->s.options, &r->module, NULL);
  if (!status) status = compile_lower(&r->s.options, r->module);
  if (!status) status = run_kernels(r);
  for (int i = 0; i < known; i++) {
    data_tensor *t = r->tensors[i];
    for (size_t at = 0; t->wide && at < t->stored; at++)
      t->wide[at] = ir_decode(t->type, ir_get_bits(t->actual, at, ir_bits(t->type)));
    memcpy(t->actual, before[i], t->bytes);
  }
  r->s.options = options;
  r->module = module;
  r->repeat = repeat;
  return status;
}

int run_text(run *r) {
  int status = choose_device(r);
  if (status) return status;
  choose_form(r);
  double start = session_now();
  status = compile_read(&r->s.options, &r->module, NULL);
  session_time(&r->s, "read", start);
  if (!status) status = compile_lower(&r->s.options, r->module);
  if (!status) status = read_declared(r);
  if (!status && r->check) status = learn_precisions(r);
  if (!status) status = make_tensors(r);
  if (!status) status = run_check_names(r, OPTION_INPUT);
  if (!status) status = run_check_names(r, OPTION_OUTPUT);
  if (r->verify && !status) status = run_plain(r);
  bool reference = r->check && !r->verify && !status;
  for (ir_kernel *kernel = reference ? r->declared->kernels : NULL; kernel && !status; kernel = kernel->next)
    status = run_reference(r, kernel);
  if (!status) status = run_kernels(r);
  return status ? status : run_finish(r);
}
