/* How long a matmul takes on this GPU, and which plan of the cost model's best takes least. */
#include "lib/matmul.h"

#include "ir/numeric.h"
#include "lib/parallel.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

extern const char compiler_identity[]; /* made by cmake/identity.cmake */

enum { MOST_SETS = 16, MOST_TENSORS = 6, MOST_PLANS = 64, PATTERN_BYTES = 1000003 };

/* -- Tensors to time with ------------------------------------------------------------------------------------------ */

/* Sets of tensors that launches take in turn: together they are more than twice the L2, so that no launch finds its own there. */
typedef struct bench {
  device *device;
  const record *record;
  int64_t values[RECORD_LIST_MAX];
  cuda_address tensor[MOST_SETS][MOST_TENSORS], workspace;
  uint64_t address[MOST_SETS][MOST_TENSORS];
  launch_arguments set[MOST_SETS];
  int set_count;
} bench;

/* Random numbers of the type in [-1, 1), or random codes: what a multiplication costs depends on its bits. */
static void make_pattern(ir_type type, unsigned char *pattern) {
  uint64_t state = 88172645463325252u;
  int bits = ir_bits(type);
  bool codes = bits < 8 || ir_is_integer(type);
  for (size_t i = 0; (i + 1) * (size_t)(codes ? 8 : bits) <= (size_t)PATTERN_BYTES * 8; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    if (codes)
      pattern[i] = (unsigned char)state;
    else
      ir_put_bits(pattern, i, bits, ir_encode(type, type == IR_E8M0 ? 0.125 : (double)(state >> 40) * 0x1p-23 - 1));
  }
}

static bitblas_status fill(bench *b, const record_tensor *t, cuda_address to, size_t bytes) {
  unsigned char *pattern = malloc(PATTERN_BYTES + 8);
  ASSERT(pattern);
  memset(pattern, 0, PATTERN_BYTES + 8);
  make_pattern(ir_type_by_name(t->type, strlen(t->type)), pattern);
  runtime_message message = {""};
  runtime_status status = RUNTIME_OK;
  size_t whole = PATTERN_BYTES / 16 * 16; /* of whole elements */
  for (size_t at = 0; at < bytes && status == RUNTIME_OK; at += whole)
    status = device_upload(b->device, to + at, pattern, bytes - at < whole ? bytes - at : whole, NULL, &message);
  if (status == RUNTIME_OK) status = device_synchronize(b->device, NULL, &message);
  free(pattern);
  return lib_runtime(status, &message);
}

static void bench_close(bench *b) {
  for (int s = 0; s < b->set_count; s++)
    for (int t = 0; t < b->record->tensor_count; t++)
      device_free(b->device, b->tensor[s][t]);
  device_free(b->device, b->workspace);
}

static bitblas_status bench_sizes(const bitblas_matmul *op, const bitblas_kernel *kernel, int64_t rows, bench *b) {
  const bitblas_size sizes[] = {{"lda", (op->config.K + 127) / 128 * 128}, {"M", rows}};
  int first = op->config.A_strided ? 0 : 1, last = op->config.M ? 1 : 2;
  return kernel_sizes(kernel, sizes + first, last - first, NULL, b->values);
}

static bitblas_status bench_set(bench *b, int s) {
  runtime_message message = {""};
  for (int t = 0; t < b->record->tensor_count; t++) {
    uint64_t bytes = 0;
    runtime_status status = launch_tensor_bytes(b->record, b->values, t, &bytes, &message);
    if (status == RUNTIME_OK) status = device_allocate(b->device, (size_t)bytes, &b->tensor[s][t], &message);
    if (status != RUNTIME_OK) return lib_runtime(status, &message);
    b->address[s][t] = b->tensor[s][t];
    bitblas_status filled = fill(b, &b->record->tensors[t], b->tensor[s][t], (size_t)bytes);
    if (filled != BITBLAS_OK) return filled;
  }
  b->set[s] = (launch_arguments){.sizes = b->values, .tensors = b->address[s]};
  return BITBLAS_OK;
}

static bitblas_status bench_open(const bitblas_matmul *op, const bitblas_kernel *kernel, int64_t rows, bench *b) {
  *b = (bench){.device = op->context->device, .record = kernel->record};
  bitblas_status status = bench_sizes(op, kernel, rows, b);
  uint64_t total = 0, workspace = 0;
  runtime_message message = {""};
  for (int t = 0; t < b->record->tensor_count && status == BITBLAS_OK; t++) {
    uint64_t bytes = 0;
    status = lib_runtime(launch_tensor_bytes(b->record, b->values, t, &bytes, &message), &message);
    total += bytes;
  }
  uint64_t l2 = (uint64_t)device_get_facts(b->device)->l2_bytes, sets = 2 * l2 / (total + 1) + 2;
  for (uint64_t s = 0; s < sets && s < MOST_SETS && status == BITBLAS_OK; s++) {
    b->set_count++;
    status = bench_set(b, (int)s);
  }
  if (status == BITBLAS_OK)
    status = lib_runtime(launch_workspace_bytes(b->record, b->values, &workspace, &message), &message);
  if (status == BITBLAS_OK)
    status = lib_runtime(device_allocate(b->device, (size_t)workspace, &b->workspace, &message), &message);
  if (status == BITBLAS_OK && workspace)
    status = lib_runtime(device_fill(b->device, b->workspace, 0, (size_t)workspace, NULL, &message), &message);
  for (int s = 0; s < b->set_count; s++)
    b->set[s].workspace = b->workspace, b->set[s].workspace_bytes = (size_t)workspace;
  if (status != BITBLAS_OK) bench_close(b);
  return status;
}

static bitblas_status bench_time(const bench *b, const bitblas_kernel *kernel, double *us) {
  launch_timing timing;
  runtime_message message = {""};
  launch_timing_options few = {.warmups = 2, .samples = 5, .launches_per_sample = 1};
  runtime_status status = launch_time(kernel->loaded, b->set, b->set_count, &few, NULL, &timing, &message);
  if (status != RUNTIME_OK) return lib_runtime(status, &message);
  int launches = timing.median_us < 1000 ? (int)(1000 / (timing.median_us + 1)) + 1 : 1;
  launch_timing_options more = {.warmups = 1, .samples = 9, .launches_per_sample = launches};
  status = launch_time(kernel->loaded, b->set, b->set_count, &more, NULL, &timing, &message);
  *us = timing.median_us;
  return lib_runtime(status, &message);
}

/* -- Latency ------------------------------------------------------------------------------------------------------- */

static bitblas_status check_call(const bitblas_matmul *op, int64_t *rows, const void *out) {
  if (!op || !out) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", op ? "microseconds" : "op");
  if (!*rows) *rows = op->config.M;
  bitblas_status status = matmul_check_rows(op, *rows, "M");
  if (status == BITBLAS_OK && context_is_emulator(op->context))
    status = lib_fail(BITBLAS_ERROR_UNSUPPORTED, "the emulator's times mean nothing: use a GPU");
  return status;
}

bitblas_status bitblas_matmul_profile_latency(bitblas_matmul *op, int64_t M, double *microseconds) {
  bitblas_status status = check_call(op, &M, microseconds);
  if (status == BITBLAS_OK) status = bitblas_matmul_prepare(op, &M, 1);
  if (status != BITBLAS_OK) return status;
  const bitblas_kernel *kernel = atomic_load(&op->kernel[matmul_kernel_of(op, M)]);
  bench b;
  status = bench_open(op, kernel, M, &b);
  if (status != BITBLAS_OK) return status;
  status = bench_time(&b, kernel, microseconds);
  bench_close(&b);
  return status;
}

/* -- Tuning -------------------------------------------------------------------------------------------------------- */

static const char *choice_key(const bitblas_matmul *op, int index, arena *memory) {
  str key = STR_EMPTY;
  str_printf(&key, "choice of a plan\ncompiler %s\ndevice %s\nM %" PRId64 "\n", compiler_identity,
             bitblas_context_device_name(op->context), op->rows[index]);
  if (op->config.overlap_launches) str_append(&key, "overlap launches\n");
  for (int i = 0; i < op->define_count; i++)
    str_printf(&key, "define %s=%s\n", op->defines[i].name, op->defines[i].value);
  const char *text = arena_strdup(memory, str_text(&key));
  str_free(&key);
  return text;
}

int matmul_tuned_plan(const bitblas_matmul *op, int index) {
  if (context_is_emulator(op->context)) return 0;
  arena *memory = arena_create();
  store_entry entry;
  int plan = 0;
  if (store_find(op->context->store, choice_key(op, index, memory), memory, &entry)) {
    const store_file *file = store_entry_file(&entry, "plan");
    plan = file ? atoi(file->data) : 0;
  }
  arena_destroy(memory);
  return plan < 0 || plan >= MOST_PLANS ? 0 : plan;
}

/* A store that cannot be written costs the next process a tuning, no more. */
static void remember_plan(const bitblas_matmul *op, int index, int plan) {
  arena *memory = arena_create();
  const char *text = arena_printf(memory, "%d\n", plan);
  store_entry entry = {.files = {{"plan", text, strlen(text)}}, .count = 1};
  runtime_message message = {""};
  if (store_add(op->context->store, choice_key(op, index, memory), &entry, &message) != RUNTIME_OK)
    context_log(op->context, BITBLAS_LOG_DEBUG, "%s", message.text);
  arena_destroy(memory);
}

typedef struct tuning {
  const bitblas_matmul *op;
  int index;
  bitblas_kernel *kernel[MOST_PLANS]; /* NULL: there is no such plan */
} tuning;

/* Plans that there are not, or that a late pass refuses, take no part. */
static bitblas_status compile_plan(void *data, int plan) {
  tuning *t = data;
  bitblas_status status = matmul_create_kernel(t->op, t->index, plan, &t->kernel[plan]);
  return plan && status == BITBLAS_ERROR_KERNEL ? BITBLAS_OK : status;
}

static bitblas_status compare_plans(tuning *t, int64_t rows, int count, int *best, double *least) {
  bench b;
  bitblas_status status = bench_open(t->op, t->kernel[0], rows, &b);
  if (status != BITBLAS_OK) return status;
  for (int plan = 0; plan < count && status == BITBLAS_OK; plan++) {
    double us = 0;
    if (!t->kernel[plan] || matmul_check_order(t->kernel[0], t->kernel[plan]) != BITBLAS_OK) continue;
    status = bench_time(&b, t->kernel[plan], &us);
    context_log(t->op->context, BITBLAS_LOG_DEBUG, "M %" PRId64 ", plan %d: %.2f us", rows, plan, us);
    if (status == BITBLAS_OK && (*best < 0 || us < *least)) *best = plan, *least = us;
  }
  bench_close(&b);
  return status;
}

bitblas_status bitblas_matmul_tune(bitblas_matmul *op, int64_t M, int32_t topk, double *microseconds) {
  bitblas_status status = check_call(op, &M, microseconds);
  if (status == BITBLAS_OK && (topk < 1 || topk > MOST_PLANS))
    status = lib_fail(BITBLAS_ERROR_ARGUMENT, "topk is %d, not 1 to %d", (int)topk, MOST_PLANS);
  if (status != BITBLAS_OK) return status;
  tuning t = {.op = op, .index = matmul_kernel_of(op, M)};
  int best = -1;
  status = lib_parallel(topk, compile_plan, &t);
  if (status == BITBLAS_OK) status = compare_plans(&t, M, topk, &best, microseconds);
  if (status == BITBLAS_OK) {
    context_log(op->context, BITBLAS_LOG_INFO, "M %" PRId64 ": plan %d is the fastest, %.2f us", M, best,
                *microseconds);
    remember_plan(op, t.index, best);
    bitblas_kernel *before = atomic_exchange(&op->kernel[t.index], t.kernel[best]);
    t.kernel[best] = before;
  }
  for (int plan = 0; plan < topk; plan++)
    bitblas_kernel_destroy(t.kernel[plan]);
  return status;
}
