/* What the library costs an application on a GPU: how long it takes to the first result with an empty store and with a
 * full one, to tune a shape, and what a run costs the CPU above a bare launch of the same kernel.
 *
 *   measure_library [--layers-only]
 *
 * Every figure is a line `name: value unit`. Needs a GPU and NVRTC. */
#include <bitblas.h>

#include "lib/kernel.h"
#include "lib/matmul.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void check(bitblas_status status) {
  if (status == BITBLAS_OK) return;
  fprintf(stderr, "%s: %s\n", bitblas_status_name(status), bitblas_last_message());
  exit(1);
}

static bitblas_context *open_context(const char *directory) {
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.cache_directory = directory;
  bitblas_context *context;
  check(bitblas_context_create(&config, &context));
  return context;
}

static bitblas_matmul_config w4a16(int64_t n, int64_t k) {
  bitblas_matmul_config c = BITBLAS_MATMUL_CONFIG_INIT;
  c.N = n, c.K = k;
  c.W_dtype = BITBLAS_TYPE_U4;
  c.with_scaling = 1, c.group_size = 128;
  return c;
}

/* Device memory of a run; the weight's bytes are zero. */
typedef struct buffers {
  void *A, *W, *scales, *C, *workspace;
  size_t workspace_bytes;
} buffers;

static buffers allocate(bitblas_context *context, bitblas_matmul *op, int64_t M, int64_t n, int64_t k) {
  buffers b = {NULL, NULL, NULL, NULL, NULL, 0};
  size_t weight, scales;
  check(bitblas_matmul_operand_bytes(op, BITBLAS_OPERAND_WEIGHT, &weight));
  check(bitblas_matmul_operand_bytes(op, BITBLAS_OPERAND_SCALES, &scales));
  check(bitblas_matmul_workspace_bytes(op, M, &b.workspace_bytes));
  check(bitblas_allocate(context, (size_t)(2 * M * k), &b.A));
  check(bitblas_allocate(context, weight, &b.W));
  check(bitblas_allocate(context, scales, &b.scales));
  check(bitblas_allocate(context, (size_t)(2 * M * n), &b.C));
  check(bitblas_allocate(context, b.workspace_bytes, &b.workspace));
  return b;
}

static bitblas_matmul_args args_of(const buffers *b, int64_t M) {
  bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
  args.M = M, args.A = b->A, args.W = b->W, args.scales = b->scales, args.C = b->C;
  args.workspace = b->workspace, args.workspace_bytes = b->workspace_bytes;
  return args;
}

static void release(bitblas_context *context, buffers *b) {
  void *all[] = {b->A, b->W, b->scales, b->C, b->workspace};
  for (int i = 0; i < 5; i++)
    check(bitblas_free(context, all[i]));
}

/* Create, prepare and run one bucket. */
static void first_run(bitblas_context *context, const char *name) {
  double start = now_ms();
  bitblas_matmul_config config = w4a16(4096, 4096);
  const int64_t M = 1;
  bitblas_matmul *op;
  check(bitblas_matmul_create(context, &config, &op));
  check(bitblas_matmul_prepare(op, &M, 1));
  double prepared = now_ms();
  buffers b = allocate(context, op, M, 4096, 4096);
  double allocated = now_ms();
  bitblas_matmul_args args = args_of(&b, M);
  check(bitblas_matmul_run(op, &args));
  check(bitblas_synchronize(context, NULL));
  printf("%s: %.1f ms (prepared after %.1f)\n", name, now_ms() - allocated + prepared - start, prepared - start);
  release(context, &b);
  bitblas_matmul_destroy(op);
}

static void prepare_shapes(bitblas_context *context, const int64_t (*shapes)[2], int count, const char *name) {
  static const int64_t rows[] = {1, 16, 32, 64, 128, 256, 512};
  double start = now_ms();
  for (int i = 0; i < count; i++) {
    bitblas_matmul_config config = w4a16(shapes[i][0], shapes[i][1]);
    config.opt_M = rows, config.opt_M_count = 7;
    bitblas_matmul *op;
    check(bitblas_matmul_create(context, &config, &op));
    check(bitblas_matmul_prepare(op, NULL, 0));
    bitblas_matmul_destroy(op);
  }
  printf("%s: %.1f ms\n", name, now_ms() - start);
}

/* Runs above bare launches of the same kernel, in turn; the stream is empty but for them. */
static void cost_of_run(bitblas_context *context) {
  enum { ROUNDS = 9, CALLS = 400 };
  bitblas_matmul_config config = w4a16(256, 256);
  const int64_t M = 1;
  bitblas_matmul *op;
  check(bitblas_matmul_create(context, &config, &op));
  check(bitblas_matmul_prepare(op, &M, 1));
  buffers b = allocate(context, op, M, 256, 256);
  bitblas_matmul_args args = args_of(&b, M);
  const bitblas_kernel *kernel = atomic_load(&op->kernel[0]);
  const int64_t sizes[] = {M};
  const uint64_t tensors[] = {(uintptr_t)b.A, (uintptr_t)b.W, (uintptr_t)b.scales, (uintptr_t)b.C};
  const launch_arguments bare = {
      .sizes = sizes, .tensors = tensors, .workspace = (uintptr_t)b.workspace, .workspace_bytes = b.workspace_bytes};
  launch_call *call;
  runtime_message message;
  if (launch_prepare(kernel->loaded, &bare, &call, &message) != RUNTIME_OK) exit(1);
  double least_run = 1e9, least_bare = 1e9;
  for (int round = 0; round < ROUNDS; round++) {
    double start = now_ms();
    for (int i = 0; i < CALLS; i++)
      check(bitblas_matmul_run(op, &args));
    double ran = now_ms() - start;
    check(bitblas_synchronize(context, NULL));
    start = now_ms();
    for (int i = 0; i < CALLS; i++)
      if (launch_enqueue(call, NULL, &message) != RUNTIME_OK) exit(1);
    double launched = now_ms() - start;
    check(bitblas_synchronize(context, NULL));
    least_run = ran < least_run ? ran : least_run;
    least_bare = launched < least_bare ? launched : least_bare;
  }
  printf("run: %.2f us a call, bare launch %.2f us, difference %.2f us\n", least_run * 1e3 / CALLS,
         least_bare * 1e3 / CALLS, (least_run - least_bare) * 1e3 / CALLS);
  launch_call_free(call);
  release(context, &b);
  bitblas_matmul_destroy(op);
}

static void tune_one(bitblas_context *context) {
  bitblas_matmul_config config = w4a16(16384, 16384);
  bitblas_matmul *op;
  double us, before;
  check(bitblas_matmul_create(context, &config, &op));
  check(bitblas_matmul_prepare(op, NULL, 0));
  check(bitblas_matmul_profile_latency(op, 16, &before));
  double start = now_ms();
  check(bitblas_matmul_tune(op, 16, 20, &us));
  printf("tune top 20, M 16, 16384 x 16384: %.0f ms; %.2f us, before %.2f us\n", now_ms() - start, us, before);
  bitblas_matmul_destroy(op);
}

/* Codes, one a byte, to the packed order, against a copy that moves as many bytes. */
static void transform_on_device(bitblas_context *context) {
  enum { SIZE = 16384, ROUNDS = 20 };
  bitblas_matmul_config config = w4a16(SIZE, SIZE);
  bitblas_matmul *op;
  size_t bytes, codes = (size_t)SIZE * SIZE;
  void *from, *to, *copy;
  check(bitblas_matmul_create(context, &config, &op));
  check(bitblas_matmul_operand_bytes(op, BITBLAS_OPERAND_WEIGHT, &bytes));
  check(bitblas_allocate(context, codes, &from));
  check(bitblas_allocate(context, bytes, &to));
  check(bitblas_allocate(context, codes, &copy));
  const cuda_driver *driver = &context->driver;
  for (bitblas_form form = BITBLAS_FORM_VALUES; form <= BITBLAS_FORM_PACKED; form++) {
    size_t given = form == BITBLAS_FORM_VALUES ? codes : codes / 2, moved = (given + bytes) / 2;
    double least = 1e9, least_copy = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
      double start = now_ms();
      check(bitblas_matmul_transform_on_device(op, form, from, given, to, bytes, NULL));
      check(bitblas_synchronize(context, NULL));
      double time = now_ms() - start;
      start = now_ms();
      if (device_enter(context->device, NULL) != RUNTIME_OK) exit(1);
      if (driver->memory_copy((uintptr_t)copy, (uintptr_t)from, moved, NULL)) exit(1);
      device_leave(context->device);
      check(bitblas_synchronize(context, NULL));
      double copied = now_ms() - start;
      least = time < least ? time : least;
      least_copy = copied < least_copy ? copied : least_copy;
    }
    printf("transform %d x %d u4 from %s: %.0f us, copy of as many bytes %.0f us: %.2f of its bandwidth\n", SIZE, SIZE,
           form == BITBLAS_FORM_VALUES ? "bytes" : "packed rows", least * 1e3, least_copy * 1e3, least_copy / least);
  }
  void *all[] = {from, to, copy};
  for (int i = 0; i < 3; i++)
    check(bitblas_free(context, all[i]));
  bitblas_matmul_destroy(op);
}

int main(void) {
  static const int64_t linear[][2] = {{4096, 4096}},
                       layers[][2] = {{4096, 4096}, {1024, 4096},  {14336, 4096}, {4096, 14336},
                                      {6144, 4096}, {28672, 4096}, {128256, 4096}};
  char directory[] = "/tmp/bitblas-measure-XXXXXX";
  if (!mkdtemp(directory)) return 1;
  double start = now_ms();
  bitblas_context *context = open_context(directory);
  printf("context: %.1f ms\n", now_ms() - start);
  first_run(context, "one bucket, cold store");
  prepare_shapes(context, linear, 1, "seven buckets, one of them known");
  bitblas_context_destroy(context);
  context = open_context(directory);
  first_run(context, "one bucket, warm store");
  prepare_shapes(context, linear, 1, "seven buckets, warm store");
  prepare_shapes(context, layers, 7, "seven shapes of seven buckets, one of them known");
  bitblas_context_destroy(context);
  context = open_context(directory);
  prepare_shapes(context, layers, 7, "seven shapes of seven buckets, warm store");
  cost_of_run(context);
  tune_one(context);
  transform_on_device(context);
  bitblas_context_destroy(context);
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", directory);
  return system(command) != 0;
}
