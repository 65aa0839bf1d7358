/* What a run on a GPU does on the host. It calls neither malloc nor free: they are interposed, and counted while one of
 * 100 runs is under way. Many threads may run one op. The GPU and its NVRTC are stand-ins that do nothing, so that the
 * library takes every step from bitblas_context_create to the launch as it does with real ones. */
#include "tests/unit/unit.h"

#include "lib/linear.h"
#include "tests/unit/stand_in/gpu.h"
#include "tests/unit/temporary.h"

#include <errno.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* -- malloc and its kind --------------------------------------------------------------------------------------------- */

static atomic_int calls;
static atomic_bool counting;

#ifndef SANITIZED /* a sanitizer has its own */
/* The C library's, under names that a program may use when it defines the usual ones itself. Source: glibc manual,
 * "Replacing malloc". */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *memory);

static void count_call(void) {
  if (atomic_load(&counting)) atomic_fetch_add(&calls, 1);
}

void *malloc(size_t bytes) { return count_call(), __libc_malloc(bytes); }
void *calloc(size_t count, size_t bytes) { return count_call(), __libc_calloc(count, bytes); }
void *realloc(void *old, size_t bytes) { return count_call(), __libc_realloc(old, bytes); }
void *aligned_alloc(size_t alignment, size_t bytes) { return count_call(), __libc_memalign(alignment, bytes); }
void free(void *memory) { count_call(), __libc_free(memory); }

int posix_memalign(void **memory, size_t alignment, size_t bytes) {
  *memory = aligned_alloc(alignment, bytes);
  return *memory ? 0 : ENOMEM;
}
#endif

/* -- Contexts ---------------------------------------------------------------------------------------------------------- */

/* Of a thread that looks at its launches: where its tensors lie, and the record that says which parameters are maps. */
static _Thread_local const char *tensors_from, *tensors_to;
static const record *launched;

static int look_at_maps(const cuda_launch_config *config, void **parameters) {
  (void)config;
  for (int i = 0; tensors_from && i < launched->parameter_count; i++) {
    const cuda_tensor_map *map = parameters[i];
    if (launched->parameters[i].kind != RECORD_MAP) continue;
    const char *address = (const char *)(uintptr_t)map->opaque[0];
    if (address < tensors_from || address >= tensors_to) return 1; /* another thread's */
  }
  return CUDA_OK;
}

typedef struct fixture {
  char directory[TEMPORARY_BYTES]; /* of the store */
  bitblas_context *context;
} fixture;

static void check(bitblas_status status) {
  if (status != BITBLAS_OK) fail_msg("%s: %s", bitblas_status_name(status), bitblas_last_message());
}

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  temporary_make(f->directory);
  memset(stand_in(), 0, sizeof *stand_in());
  stand_in()->on_launch = look_at_maps;
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.cache_directory = f->directory;
  config.nvrtc_path = stand_in_nvrtc_path();
  check(bitblas_context_create(&config, &f->context));
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  bitblas_context_destroy(f->context);
  assert_true(stand_in_is_closed());
  temporary_remove(f->directory);
  free(f);
  return 0;
}

/* -- Counting ---------------------------------------------------------------------------------------------------------- */

enum { RUNS = 100 };

static void start_counting(void) {
  atomic_store(&stand_in()->launches, 0);
  atomic_store(&calls, 0);
  atomic_store(&counting, true);
}

/* That many kernels were launched, and nothing was allocated or freed. */
static void stop_counting(int kernels) {
  atomic_store(&counting, false);
  assert_int_equal(atomic_load(&stand_in()->launches), kernels);
  assert_int_equal(atomic_load(&calls), 0);
}

static void *allocate(bitblas_context *context, size_t bytes) {
  void *memory = NULL;
  check(bitblas_allocate(context, bytes, &memory));
  return memory;
}

/* -- Tests ------------------------------------------------------------------------------------------------------------- */

/* The interposition works. */
static void counts(void **state) {
  (void)state;
#ifdef SANITIZED
  skip();
#endif
  start_counting();
  void *volatile memory = malloc(8);
  free(memory);
  atomic_store(&counting, false);
  assert_int_equal(atomic_load(&calls), 2);
}

static void kernel_run_allocates_nothing(void **state) {
  bitblas_context *context = ((fixture *)*state)->context;
  static const char text[] = "kernel twice(X: f32[M, 64], Y: out f32[M, 64])\n"
                             "  grid (bm in ceildiv(M, 8))\n"
                             "{\n"
                             "  tile x: f32[8, 64]\n"
                             "  copy X[bm*8, 0] -> x\n"
                             "  x = x * 2\n"
                             "  copy x -> Y[bm*8, 0]\n"
                             "}\n";
  bitblas_kernel_config config = BITBLAS_KERNEL_CONFIG_INIT;
  config.text = text;
  bitblas_kernel *kernel;
  check(bitblas_kernel_create(context, &config, &kernel));
  void *x = allocate(context, 16 * 256), *y = allocate(context, 16 * 256);
  const bitblas_tensor tensors[] = {{x, BITBLAS_TYPE_F32, 2, {16, 64}, {0}}, {y, BITBLAS_TYPE_F32, 2, {16, 64}, {0}}};
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = tensors, launch.tensor_count = 2;
  start_counting();
  for (int i = 0; i < RUNS; i++)
    check(bitblas_kernel_run(kernel, &launch));
  stop_counting(RUNS);
  bitblas_free(context, x), bitblas_free(context, y);
  bitblas_kernel_destroy(kernel);
}

static const int64_t matmul_rows[] = {1, 256};

static bitblas_matmul *prepared_matmul(bitblas_context *context) {
  bitblas_matmul_config config = BITBLAS_MATMUL_CONFIG_INIT;
  config.opt_M = matmul_rows, config.opt_M_count = 2;
  config.N = 512, config.K = 256; /* large enough for tensor maps to pay */
  config.W_dtype = BITBLAS_TYPE_U4;
  config.with_scaling = config.with_zeros = config.with_bias = 1;
  config.group_size = 128;
  bitblas_matmul *op;
  check(bitblas_matmul_create(context, &config, &op));
  check(bitblas_matmul_prepare(op, NULL, 0));
  return op;
}

static void matmul_run_allocates_nothing(void **state) {
  bitblas_context *context = ((fixture *)*state)->context;
  bitblas_matmul *op = prepared_matmul(context);
  void *memory = allocate(context, 1 << 20);
  for (int m = 0; m < 2; m++) {
    bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
    args.M = matmul_rows[m];
    args.A = args.W = args.scales = args.zeros = args.bias = args.C = memory;
    check(bitblas_matmul_workspace_bytes(op, args.M, &args.workspace_bytes));
    args.workspace = args.workspace_bytes ? memory : NULL;
    atomic_store(&stand_in()->maps, 0);
    start_counting();
    for (int i = 0; i < RUNS; i++) {
      args.A = (char *)memory + i % 2 * 4096; /* tensor maps are made anew */
      check(bitblas_matmul_run(op, &args));
    }
    stop_counting(RUNS);
    if (m == 1) assert_true(atomic_load(&stand_in()->maps) > 0);
  }
  bitblas_free(context, memory);
  bitblas_matmul_destroy(op);
}

/* With a weight whose inputs are permuted: two kernels a run. */
static void linear_forward_allocates_nothing(void **state) {
  bitblas_context *context = ((fixture *)*state)->context;
  enum { FEATURES = 64 };
  static const int64_t rows[] = {16};
  static const int8_t weight[FEATURES * FEATURES];
  int32_t permutation[FEATURES];
  for (int i = 0; i < FEATURES; i++)
    permutation[i] = FEATURES - 1 - i;
  bitblas_linear_config config = BITBLAS_LINEAR_CONFIG_INIT;
  config.in_features = config.out_features = FEATURES;
  config.W_dtype = BITBLAS_TYPE_I4;
  config.opt_M = rows, config.opt_M_count = 1;
  bitblas_linear *linear;
  check(bitblas_linear_create(context, &config, &linear));
  bitblas_linear_values values = BITBLAS_LINEAR_VALUES_INIT;
  values.weight = weight;
  for (int permuted = 0; permuted < 2; permuted++) {
    linear_unload(linear);
    check(linear_load(linear, &values, permuted ? permutation : NULL));
    check(bitblas_linear_prepare(linear, NULL, 0));
    void *memory = allocate(context, 1 << 16);
    bitblas_linear_args args = BITBLAS_LINEAR_ARGS_INIT;
    args.M = 16, args.A = memory, args.C = (char *)memory + (1 << 14);
    args.workspace = (char *)memory + (1 << 15);
    check(bitblas_linear_workspace_bytes(linear, args.M, &args.workspace_bytes));
    assert_true(args.workspace_bytes <= 1 << 15);
    start_counting();
    for (int i = 0; i < RUNS; i++)
      check(bitblas_linear_forward(linear, &args));
    stop_counting((1 + permuted) * RUNS);
    bitblas_free(context, memory);
  }
  bitblas_linear_destroy(linear);
}

/* Whole rows, and parts of the keys with their merge. */
static void flash_atten_run_allocates_nothing(void **state) {
  bitblas_context *context = ((fixture *)*state)->context;
  for (int splits = 1; splits <= 2; splits++) {
    bitblas_flash_atten_config config = BITBLAS_FLASH_ATTEN_CONFIG_INIT;
    config.heads = 2, config.kv_heads = 1, config.dim = 64, config.splits = splits;
    bitblas_flash_atten *op;
    check(bitblas_flash_atten_create(context, &config, &op));
    check(bitblas_flash_atten_prepare(op));
    void *memory = allocate(context, 1 << 20);
    const bitblas_tensor q = {memory, BITBLAS_TYPE_F16, 4, {1, 16, 2, 64}, {0}};
    const bitblas_tensor k = {memory, BITBLAS_TYPE_F16, 4, {1, 512, 1, 64}, {0}};
    bitblas_flash_atten_args args = BITBLAS_FLASH_ATTEN_ARGS_INIT;
    args.Q = args.O = q;
    args.K = args.V = k;
    check(bitblas_flash_atten_workspace_bytes(op, &args, &args.workspace_bytes));
    assert_true(args.workspace_bytes <= 1 << 20);
    args.workspace = memory;
    start_counting();
    for (int i = 0; i < RUNS; i++)
      check(bitblas_flash_atten_run(op, &args));
    stop_counting(splits * RUNS);
    bitblas_free(context, memory);
    bitblas_flash_atten_destroy(op);
  }
}

/* -- Launches that overlap ------------------------------------------------------------------------------------------------ */

static atomic_int overlapping;

static int count_overlapping(const cuda_launch_config *config, void **parameters) {
  (void)parameters;
  for (uint32_t i = 0; i < config->attribute_count; i++)
    if (config->attributes[i].id == CUDA_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION &&
        config->attributes[i].value.programmatic_serialization == 1)
      atomic_fetch_add(&overlapping, 1);
  return CUDA_OK;
}

static int runs_of_matmul(bitblas_context *context, const bitblas_matmul_config *config, void *memory) {
  bitblas_matmul *op;
  check(bitblas_matmul_create(context, config, &op));
  check(bitblas_matmul_prepare(op, NULL, 0));
  bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
  args.A = args.W = args.scales = args.C = memory;
  atomic_store(&overlapping, 0);
  for (int m = 0; m < 2; m++) {
    args.M = matmul_rows[m];
    check(bitblas_matmul_run(op, &args));
    assert_int_equal(strstr(bitblas_matmul_get_source(op, args.M, BITBLAS_SOURCE_CUDA), "grid_wait();") != NULL,
                     config->overlap_launches && config->size == sizeof *config);
  }
  bitblas_matmul_destroy(op);
  return atomic_load(&overlapping);
}

/* The launch asks for it when the config does, and only then: the store keeps both. A struct of before the field has none. */
static void matmul_overlaps_when_asked(void **state) {
  bitblas_context *context = ((fixture *)*state)->context;
  stand_in()->on_launch = count_overlapping;
  void *memory = allocate(context, 1 << 20);
  bitblas_matmul_config config = BITBLAS_MATMUL_CONFIG_INIT;
  config.opt_M = matmul_rows, config.opt_M_count = 2;
  config.N = 256, config.K = 256;
  config.W_dtype = BITBLAS_TYPE_U4, config.with_scaling = 1;
  assert_int_equal(runs_of_matmul(context, &config, memory), 0);
  config.overlap_launches = 1;
  assert_int_equal(runs_of_matmul(context, &config, memory), 2);
  config.size = offsetof(bitblas_matmul_config, overlap_launches);
  assert_int_equal(runs_of_matmul(context, &config, memory), 0);
  bitblas_free(context, memory);
}

/* Every kernel of a run: the parts of the keys and their merge; the gathering of inputs and the matmul. */
static void ops_of_two_kernels_overlap(void **state) {
  bitblas_context *context = ((fixture *)*state)->context;
  stand_in()->on_launch = count_overlapping;
  char *memory = allocate(context, 1 << 20);
  bitblas_flash_atten_config attention = BITBLAS_FLASH_ATTEN_CONFIG_INIT;
  attention.heads = 2, attention.kv_heads = 1, attention.dim = 64, attention.splits = 2;
  attention.overlap_launches = 1;
  bitblas_flash_atten *op;
  check(bitblas_flash_atten_create(context, &attention, &op));
  check(bitblas_flash_atten_prepare(op));
  bitblas_flash_atten_args args = BITBLAS_FLASH_ATTEN_ARGS_INIT;
  args.Q = args.O = (bitblas_tensor){memory, BITBLAS_TYPE_F16, 4, {1, 16, 2, 64}, {0}};
  args.K = args.V = (bitblas_tensor){memory, BITBLAS_TYPE_F16, 4, {1, 512, 1, 64}, {0}};
  args.workspace = memory, args.workspace_bytes = 1 << 20;
  atomic_store(&overlapping, 0);
  check(bitblas_flash_atten_run(op, &args));
  assert_int_equal(atomic_load(&overlapping), 2);
  bitblas_flash_atten_destroy(op);

  enum { FEATURES = 64 };
  static const int8_t weight[FEATURES * FEATURES];
  int32_t permutation[FEATURES];
  for (int i = 0; i < FEATURES; i++)
    permutation[i] = FEATURES - 1 - i;
  bitblas_linear_config config = BITBLAS_LINEAR_CONFIG_INIT;
  config.in_features = config.out_features = FEATURES;
  config.W_dtype = BITBLAS_TYPE_I4;
  config.overlap_launches = 1;
  bitblas_linear *linear;
  check(bitblas_linear_create(context, &config, &linear));
  bitblas_linear_values values = BITBLAS_LINEAR_VALUES_INIT;
  values.weight = weight;
  check(linear_load(linear, &values, permutation));
  const int64_t rows = 16;
  check(bitblas_linear_prepare(linear, &rows, 1));
  bitblas_linear_args forward = BITBLAS_LINEAR_ARGS_INIT;
  forward.M = rows, forward.A = memory, forward.C = memory + (1 << 16);
  forward.workspace = memory + (1 << 17), forward.workspace_bytes = 1 << 17;
  atomic_store(&overlapping, 0);
  check(bitblas_linear_forward(linear, &forward));
  assert_int_equal(atomic_load(&overlapping), 2);
  bitblas_linear_destroy(linear);
  bitblas_free(context, memory);
}

/* -- Many threads ------------------------------------------------------------------------------------------------------ */

enum { THREADS = 8, SETS = 3, SET_BYTES = 1 << 18, THREAD_RUNS = 2000 };

typedef struct runner {
  const bitblas_matmul *op;
  char *memory; /* SETS of tensors, SET_BYTES each */
  int wrong;
} runner;

static void *run_many(void *data) {
  runner *r = data;
  for (int i = 0; i < THREAD_RUNS; i++) {
    char *set = r->memory + i % SETS * SET_BYTES;
    bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
    args.M = matmul_rows[1];
    args.A = args.W = args.scales = args.zeros = args.bias = args.C = set;
    tensors_from = set, tensors_to = set + SET_BYTES;
    r->wrong += bitblas_matmul_run(r->op, &args) != BITBLAS_OK;
  }
  return NULL;
}

/* The kernel keeps tensor maps of earlier launches: each launch gets those of its own tensors. */
static void threads_get_their_own_maps(void **state) {
  bitblas_context *context = ((fixture *)*state)->context;
  bitblas_matmul *op = prepared_matmul(context);
  pthread_t threads[THREADS];
  runner runners[THREADS];
  atomic_store(&stand_in()->launches, 0);
  launched = atomic_load(&op->kernel[1])->record;
  assert_true(launched->map_count > 0);
  for (int t = 0; t < THREADS; t++) {
    runners[t] = (runner){op, allocate(context, SETS * SET_BYTES), 0};
    assert_int_equal(pthread_create(&threads[t], NULL, run_many, &runners[t]), 0);
  }
  for (int t = 0; t < THREADS; t++) {
    pthread_join(threads[t], NULL);
    assert_int_equal(runners[t].wrong, 0);
    bitblas_free(context, runners[t].memory);
  }
  assert_int_equal(atomic_load(&stand_in()->launches), THREADS * THREAD_RUNS);
  bitblas_matmul_destroy(op);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counts),
      TEST(kernel_run_allocates_nothing),
      TEST(matmul_run_allocates_nothing),
      TEST(linear_forward_allocates_nothing),
      TEST(flash_atten_run_allocates_nothing),
      TEST(matmul_overlaps_when_asked),
      TEST(ops_of_two_kernels_overlap),
      TEST(threads_get_their_own_maps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
