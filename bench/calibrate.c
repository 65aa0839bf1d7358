#include "bench/calibrate.h"

#include "bench/data.h"
#include "lib/kernel.h"
#include "support/parallel.h"

#include <fnmatch.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_SIZES = 4, MOST_DEFINES = 4, SAMPLES = 5, COLUMNS = 34 };
static const double sample_us = 20e3, load_us = 100e3; /* of a sample; of the work under which the clock is read */

typedef enum figure { FIGURE_NONE, FIGURE_HBM, FIGURE_L2, FIGURE_SHARED, FIGURE_MMA16, FIGURE_MMA8, FIGURE_EXP } figure;

typedef enum probe_id {
#define PROBE(id, ...) PROBE_##id,
#include "bench/probes.def"
#undef PROBE
  PROBE_COUNT
} probe_id;

static const struct {
  const char *kernel, *label, *unit;
  figure known;
  bool older;
  const char *defines, *sizes;
} probes[PROBE_COUNT] = {
#define PROBE(id, kernel, label, unit, figure, older, defines, sizes)                                                  \
  {kernel, label, unit, FIGURE_##figure, older, defines, sizes},
#include "bench/probes.def"
#undef PROBE
};

typedef struct result {
  bitblas_kernel *kernel;
  bitblas_size sizes[MOST_SIZES];
  int size_count;
  char text[256]; /* of names */
  bool is_measured;
  complaint problem;
  double us, value, known; /* known 0: targets.def has no such figure */
  int mhz;                 /* 0: it could not be read */
} result;

typedef struct calibration {
  const session_options *options;
  const embedded_file *kernels;
  machine m;
  data *d;
  int sms;
  result results[PROBE_COUNT];
} calibration;

/* -- Compiling ----------------------------------------------------------------------------------------------------- */

static bool is_chosen(const calibration *c, int id) {
  const session_options *o = c->options;
  for (int i = 0; i < o->pattern_count; i++)
    if (fnmatch(o->patterns[i], probes[id].label, 0) == 0) return true;
  return o->pattern_count == 0;
}

/* "NAME=VALUE NAME=VALUE", cut into pieces in `text`; how many there are. */
static int split(const char *list, char *text, size_t size, const char **names, const char **values, int most) {
  char *rest = NULL;
  int count = 0;
  snprintf(text, size, "%s", list);
  for (char *at = strtok_r(text, " ", &rest); at && count < most; at = strtok_r(NULL, " ", &rest)) {
    char *equals = strchr(at, '=');
    *equals = 0;
    names[count] = at;
    values[count++] = equals + 1;
  }
  return count;
}

static void take_sizes(const calibration *c, probe_id id, result *r) {
  const char *names[MOST_SIZES], *values[MOST_SIZES];
  r->size_count = split(probes[id].sizes, r->text, sizeof r->text, names, values, MOST_SIZES);
  for (int i = 0; i < r->size_count; i++) {
    char *end;
    long value = strtol(values[i], &end, 10);
    r->sizes[i] = (bitblas_size){names[i], strcmp(end, "sms") == 0 ? value * c->sms : value};
  }
}

static void compile_probe(void *object, int index) {
  calibration *c = object;
  result *r = &c->results[index];
  const embedded_file *file = c->kernels;
  const char *names[MOST_DEFINES], *values[MOST_DEFINES];
  char text[128];
  bitblas_define defines[MOST_DEFINES];
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  if (!is_chosen(c, index)) return;
  take_sizes(c, (probe_id)index, r);
  while (file->name && strcmp(file->name, probes[index].kernel) != 0)
    file++;
  config.define_count = split(probes[index].defines, text, sizeof text, names, values, MOST_DEFINES);
  for (int i = 0; i < config.define_count; i++)
    defines[i] = (bitblas_define){names[i], values[i]};
  config.defines = defines;
  config.text = file->text, config.text_length = file->length;
  is_done(bitblas_kernel_create(probes[index].older ? c->m.older : c->m.context, &config, &r->kernel), "compiling",
          &r->problem);
}

/* -- Tensors ------------------------------------------------------------------------------------------------------- */

/* Where each element says the next one is: x -> 1664525 x + 1013904223 goes through all numbers below a power of two
 * (Numerical Recipes, "An even quicker generator"). */
static bool fill_chain(const calibration *c, uint64_t address, uint64_t bytes, complaint *problem) {
  size_t count = (size_t)bytes / 4;
  uint32_t *next = malloc((size_t)bytes);
  for (size_t i = 0; next && i < count; i++)
    next[i] = (uint32_t)(i * 1664525u + 1013904223u) & (uint32_t)(count - 1);
  void *to = (void *)(uintptr_t)address;
  bool ok = next ? is_done(bitblas_upload(c->m.context, to, next, (size_t)bytes, c->m.stream), "a chain", problem) &&
                       machine_wait(&c->m, problem)
                 : complain(problem, "no memory for a chain");
  free(next);
  return ok;
}

/* What a multiplication costs depends on its bits: random ones. Floats of 32 bits are two of 16. */
static bool fill_tensor(const calibration *c, const record_tensor *t, uint64_t address, uint64_t bytes,
                        complaint *problem) {
  void *to = (void *)(uintptr_t)address;
  if (strcmp(t->type, "i32") == 0 && bytes > 4) return fill_chain(c, address, bytes, problem);
  if (strcmp(t->type, "f8e4m3") == 0) return data_fill(c->d, BITBLAS_TYPE_F8E4M3, 0, (size_t)bytes, to, problem);
  return data_fill(c->d, BITBLAS_TYPE_F16, 0, (size_t)bytes / 2, to, problem);
}

static bool place(const calibration *c, const result *r, const int64_t *values, uint64_t *tensors, complaint *problem) {
  const record *facts = r->kernel->record;
  runtime_message message = {""};
  for (int t = 0; t < facts->tensor_count; t++) {
    uint64_t bytes = 0;
    void *memory = NULL;
    if (launch_tensor_bytes(facts, values, t, &bytes, &message) != RUNTIME_OK)
      return complain(problem, "%s", message.text);
    if (!is_done(bitblas_allocate(c->m.context, (size_t)bytes, &memory), "a tensor", problem)) return false;
    tensors[t] = (uint64_t)(uintptr_t)memory;
    if (!fill_tensor(c, &facts->tensors[t], tensors[t], bytes, problem)) return false;
  }
  return true;
}

/* -- Measuring ----------------------------------------------------------------------------------------------------- */

static bool time_launches(const calibration *c, const result *r, const launch_arguments *arguments, int launches,
                          int samples, double *us, complaint *problem) {
  const launch_timing_options options = {.warmups = 1, .samples = samples, .launches_per_sample = launches};
  launch_timing timing;
  runtime_message message = {""};
  if (launch_time(r->kernel->loaded, arguments, 1, &options, c->m.stream, &timing, &message) != RUNTIME_OK)
    return complain(problem, "%s", message.text);
  *us = timing.median_us;
  return *us > 0 ? true : complain(problem, "a time cannot be read");
}

static void pause_us(double us) {
  struct timespec t = {(time_t)(us / 1e6), (long)(us * 1e3) % 1000000000L};
  nanosleep(&t, NULL);
}

/* The clock in the middle of work of load_us. */
static bool read_clock(const calibration *c, result *r, const launch_arguments *arguments, complaint *problem) {
  runtime_message message = {""};
  int launches = (int)(load_us / r->us) + 1;
  for (int i = 0; i < launches && i < 1000; i++)
    if (launch_run(r->kernel->loaded, arguments, c->m.stream, &message) != RUNTIME_OK)
      return complain(problem, "%s", message.text);
  pause_us(load_us / 2);
  r->mhz = machine_clock_mhz(&c->m);
  return machine_wait(&c->m, problem);
}

static bool measure(const calibration *c, result *r, complaint *problem) {
  int64_t values[RECORD_LIST_MAX];
  uint64_t tensors[RECORD_LIST_MAX] = {0};
  double us;
  if (!is_done(kernel_sizes(r->kernel, r->sizes, r->size_count, NULL, values), "sizes", problem)) return false;
  const launch_arguments arguments = {.sizes = values, .tensors = tensors};
  bool ok = place(c, r, values, tensors, problem) && time_launches(c, r, &arguments, 1, SAMPLES, &us, problem);
  int launches = ok && us < sample_us ? (int)(sample_us / us) + 1 : 1;
  ok = ok && time_launches(c, r, &arguments, launches < 2000 ? launches : 2000, SAMPLES, &r->us, problem) &&
       read_clock(c, r, &arguments, problem);
  for (int t = 0; t < r->kernel->record->tensor_count; t++)
    bitblas_free(c->m.context, (void *)(uintptr_t)tensors[t]);
  return ok;
}

/* -- Figures ------------------------------------------------------------------------------------------------------- */

static double size_of(const result *r, const char *name) {
  for (int i = 0; i < r->size_count; i++)
    if (strcmp(r->sizes[i].name, name) == 0) return (double)r->sizes[i].value;
  return 1;
}

/* What a launch does, of what the probe counts: bytes, multiply-adds, exponentials, loads. */
static double work_of(probe_id id, const result *r) {
  double blocks = size_of(r, "G"), turns = size_of(r, "turns");
  switch (id) {
  case PROBE_COPY:
    return 2 * size_of(r, "R") * 1024 * 4;
  case PROBE_READ:
  case PROBE_L2:
    return blocks * turns * 16 * 256 * 4;
  case PROBE_SHARED:
    return blocks * turns * 16 * 512 * 4;
  case PROBE_MMA16:
    return blocks * turns * 128 * 256 * 64;
  case PROBE_MMA8:
    return blocks * turns * 128 * 256 * 128;
  case PROBE_MMA_OLDER:
    return blocks * turns * 128 * 128 * 64;
  case PROBE_EXP:
    return blocks * turns * 64 * 128;
  default:
    return turns;
  }
}

static double known_of(figure f, const ir_target_info *t) {
  switch (f) {
  case FIGURE_HBM:
    return t->hbm_gbps;
  case FIGURE_L2:
    return t->l2_bytes_clk;
  case FIGURE_SHARED:
    return t->shared_bytes_clk;
  case FIGURE_MMA16:
    return t->mma16_macs_clk;
  case FIGURE_MMA8:
    return t->mma8_macs_clk;
  case FIGURE_EXP:
    return t->exp_clk;
  default:
    return 0;
  }
}

/* In the probe's unit; where the clock could not be read, at that of the target. */
static void conclude(const calibration *c, probe_id id, result *r, const ir_target_info *target) {
  double work = work_of(id, r), clocks = r->us * (r->mhz ? r->mhz : target->clock_ghz * 1e3);
  const char *unit = probes[id].unit;
  r->known = known_of(probes[id].known, target);
  r->value = strcmp(unit, "GB/s") == 0  ? work / r->us * 1e-3
             : strcmp(unit, "clk") == 0 ? clocks / work
             : strcmp(unit, "us") == 0  ? r->us
                                        : work / clocks / c->sms;
}

/* -- Report -------------------------------------------------------------------------------------------------------- */

static void print_figure(const char *label, double value, const char *unit, double known, const char *end) {
  printf("%-*s %10.2f %-10s ", COLUMNS, label, value, unit);
  if (known > 0)
    printf("%10.2f %6.3f%s\n", known, value / known, end);
  else
    printf("%10s %6s%s\n", "-", "-", end);
  fflush(stdout);
}

static void print_result(probe_id id, const result *r) {
  char end[64] = "";
  if (!r->is_measured) {
    printf("%-*s FAIL %s\n", COLUMNS, probes[id].label, r->problem.text);
    return;
  }
  if (r->mhz)
    snprintf(end, sizeof end, "  at %d MHz", r->mhz);
  else if (strstr(probes[id].unit, "clk"))
    snprintf(end, sizeof end, "  at the target's clock: that of the GPU cannot be read");
  print_figure(probes[id].label, r->value, probes[id].unit, r->known, end);
}

/* What the driver says, and the clock under the tensor cores' load. */
static void print_facts(const calibration *c, const ir_target_info *target) {
  const device_facts *facts = device_get_facts(c->m.device);
  print_figure("multiprocessors", facts->sm_count, "", target->sms, "");
  print_figure("shared memory of a block", facts->shared_optin_bytes, "B", target->shared_bytes, "");
  print_figure("L2", (double)facts->l2_bytes, "B", (double)target->l2_bytes, "");
  int mhz = c->results[PROBE_MMA16].mhz;
  if (mhz) print_figure("clock under products of 16 bits", mhz * 1e-3, "GHz", target->clock_ghz, "");
}

static bool write_json(const calibration *c, complaint *problem) {
  if (!c->options->json) return true;
  json_t *list = json_array();
  for (probe_id id = 0; id < PROBE_COUNT; id++) {
    const result *r = &c->results[id];
    if (!is_chosen(c, id)) continue;
    json_t *object = json_pack("{s:s, s:s, s:f, s:f, s:f, s:i}", "name", probes[id].label, "unit", probes[id].unit,
                               "measured", r->value, "target", r->known, "us", r->us, "sm_mhz", r->mhz);
    if (!r->is_measured) json_object_set_new(object, "problem", json_string(r->problem.text));
    json_array_append_new(list, object);
  }
  json_t *all = json_pack("{s:s, s:s, s:o}", "device", bitblas_context_device_name(c->m.context), "target",
                          bitblas_context_target(c->m.context), "figures", list);
  bool ok = report_write_json(c->options->json, all, problem);
  json_decref(all);
  return ok;
}

/* -- The run ------------------------------------------------------------------------------------------------------- */

static int run_probe(calibration *c, probe_id id, const ir_target_info *target) {
  result *r = &c->results[id];
  if (!c->m.driver) {
    printf("%-*s %s%s\n", COLUMNS, probes[id].label, r->kernel ? "compiled" : "FAIL ", r->problem.text);
    return !r->kernel;
  }
  complaint problem = r->problem;
  r->is_measured = r->kernel && measure(c, r, &problem);
  r->problem = problem;
  if (r->is_measured) conclude(c, id, r, target);
  print_result(id, r);
  return !r->is_measured;
}

static int run_probes(calibration *c) {
  const ir_target_info *target = ir_target_of(c->m.context->target);
  int wrong = 0, count = 0;
  c->sms = c->m.device ? device_get_facts(c->m.device)->sm_count : target->sms;
  parallel_run(PROBE_COUNT, compile_probe, c);
  if (c->m.driver)
    printf("%s, driver %d\n%-*s %10s %-10s %10s %6s\n", device_get_facts(c->m.device)->name,
           device_get_facts(c->m.device)->driver_version, COLUMNS, "figure", "measured", "", target->name, "ratio");
  else
    printf("emulator, %s: nothing is measured\n", target->name);
  for (probe_id id = 0; id < PROBE_COUNT; id++) {
    if (!is_chosen(c, id)) continue;
    wrong += run_probe(c, id, target);
    count++;
  }
  if (c->m.driver) print_facts(c, target);
  printf("%d probes, %d wrong\n", count, wrong);
  return wrong;
}

int calibrate_run(const session_options *options, const embedded_file *kernels) {
  calibration c = {.options = options, .kernels = kernels};
  complaint problem = {""};
  bool is_absent = false;
  int wrong = 0;
  bool ok = machine_open(&c.m, options->emulator, &is_absent, &problem) && data_open(&c.m, 0, &c.d, &problem);
  if (ok) {
    wrong = run_probes(&c);
    ok = write_json(&c, &problem);
  }
  if (is_absent)
    printf("bitblas-bench: no GPU here, nothing was measured\n");
  else if (!ok)
    fprintf(stderr, "bitblas-bench: %s\n", problem.text);
  for (probe_id id = 0; id < PROBE_COUNT; id++)
    bitblas_kernel_destroy(c.results[id].kernel);
  data_close(c.d);
  machine_close(&c.m);
  return is_absent || (ok && !wrong) ? 0 : 1;
}
