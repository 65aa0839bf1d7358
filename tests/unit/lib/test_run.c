/* What a run on a GPU does on the host. It calls neither malloc nor free: they are interposed, and counted while one of
 * 100 runs is under way. Many threads may run one op. The GPU is a driver that does nothing, and the store is given the
 * cubins that such a GPU is content with, so that the library takes every step from bitblas_matmul_create to the launch
 * as it does with a real one. */
#include "tests/unit/unit.h"

#include "codegen/elf_note.h"
#include "lib/linear.h"

#include <elf.h>
#include <errno.h>
#include <ftw.h>
#include <unistd.h>

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

/* -- A driver that does nothing ---------------------------------------------------------------------------------------- */

static atomic_int launches, maps;
static char some_object; /* whatever the driver is asked for */

/* Of a thread that looks at its launches: where its tensors lie, and the record that says which parameters are maps. */
static _Thread_local const char *tensors_from, *tensors_to;
static const record *launched;

static int fake_version(int *version) { return *version = 13000, 0; }
static int fake_text(int result, const char **text) { return *text = "some error", result == 0; }
static int fake_count(int *count) { return *count = 1, 0; }
static int fake_get(cuda_device *handle, int ordinal) { return *handle = ordinal, 0; }
static int fake_name(char *name, int length, cuda_device handle) {
  return snprintf(name, (size_t)length, "Fake"), handle != 0;
}
static int fake_attribute(int *value, int attribute, cuda_device handle) {
  *value = attribute == CUDA_DEVICE_CAPABILITY_MAJOR   ? 9
           : attribute == CUDA_DEVICE_CAPABILITY_MINOR ? 0
           : attribute == CUDA_DEVICE_SM_COUNT         ? 132
                                                       : 232448;
  return handle != 0;
}
static int fake_total(size_t *bytes, cuda_device handle) { return *bytes = (size_t)1 << 30, handle != 0; }
static int fake_retain(cuda_context *context, cuda_device handle) {
  return *context = (cuda_context)(void *)&some_object, handle != 0;
}
static int fake_release(cuda_device handle) { return handle != 0; }
static int fake_push(cuda_context context) { return context == NULL; }
static int fake_pop(cuda_context *context) { return *context = NULL, 0; }
static int fake_allocate(cuda_address *address, size_t bytes) {
  void *memory = NULL;
  int result = posix_memalign(&memory, 256, bytes);
  return *address = (cuda_address)(uintptr_t)memory, result;
}
static int fake_free(cuda_address address) { return free((void *)(uintptr_t)address), 0; }
static int fake_upload(cuda_address to, const void *from, size_t bytes, cuda_stream stream) {
  return memcpy((void *)(uintptr_t)to, from, bytes), stream != NULL;
}
static int fake_synchronize(cuda_stream stream) { return stream != NULL; }
static int fake_load(cuda_module *module, const void *image) {
  return *module = (cuda_module)(void *)&some_object, image == NULL;
}
static int fake_unload(cuda_module module) { return module == NULL; }
static int fake_function(cuda_function *function, cuda_module module, const char *name) {
  return *function = (cuda_function)(void *)module, name == NULL;
}
static int fake_function_get(int *value, int attribute, cuda_function function) {
  return *value = attribute, function == NULL;
}
static int fake_function_set(cuda_function function, int attribute, int value) {
  return function == NULL || attribute < 0 || value < 0;
}
static int fake_blocks(int *blocks, cuda_function function, int threads, size_t shared) {
  return *blocks = 1, function == NULL || threads < 1 || shared > 232448;
}
static int fake_clusters(int *clusters, cuda_function function, const cuda_launch_config *config) {
  return *clusters = 60, function == NULL || !config;
}
static int fake_launch(const cuda_launch_config *config, cuda_function function, void **parameters, void **extra) {
  atomic_fetch_add(&launches, 1);
  for (int i = 0; tensors_from && i < launched->parameter_count; i++) {
    const cuda_tensor_map *map = parameters[i];
    if (launched->parameters[i].kind != RECORD_MAP) continue;
    const char *address = (const char *)(uintptr_t)map->opaque[0];
    if (address < tensors_from || address >= tensors_to) return 1; /* another thread's */
  }
  return !config->grid[0] || !function || !parameters || extra;
}
static int fake_encode(cuda_tensor_map *map, int type, uint32_t rank, void *address, const uint64_t *extents,
                       const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides, int interleave,
                       int swizzle, int promotion, int fill) {
  memset(map, type + (int)rank + interleave + swizzle + promotion + fill, sizeof *map);
  map->opaque[0] = (uint64_t)(uintptr_t)address;
  atomic_fetch_add(&maps, 1);
  return !address || !extents || !strides || !box || !element_strides;
}

static const cuda_driver fake_driver = {.driver_get_version = fake_version,
                                        .get_error_name = fake_text,
                                        .get_error_string = fake_text,
                                        .device_get_count = fake_count,
                                        .device_get = fake_get,
                                        .device_get_name = fake_name,
                                        .device_get_attribute = fake_attribute,
                                        .device_total_memory = fake_total,
                                        .primary_context_retain = fake_retain,
                                        .primary_context_release = fake_release,
                                        .context_push = fake_push,
                                        .context_pop = fake_pop,
                                        .memory_allocate = fake_allocate,
                                        .memory_free = fake_free,
                                        .memory_upload = fake_upload,
                                        .stream_synchronize = fake_synchronize,
                                        .module_load_data = fake_load,
                                        .module_unload = fake_unload,
                                        .module_get_function = fake_function,
                                        .function_get_attribute = fake_function_get,
                                        .function_set_attribute = fake_function_set,
                                        .occupancy_blocks = fake_blocks,
                                        .occupancy_clusters = fake_clusters,
                                        .launch_kernel = fake_launch,
                                        .tensor_map_encode_tiled = fake_encode};

/* -- Contexts ---------------------------------------------------------------------------------------------------------- */

typedef struct fixture {
  char directory[1024];
  bool second; /* the kernels are in the store: now on the fake GPU */
} fixture;

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  const char *base = getenv("TMPDIR");
  snprintf(f->directory, sizeof f->directory, "%s/bitblas-run-XXXXXX", base && *base ? base : "/tmp");
  assert_non_null(mkdtemp(f->directory));
  unsetenv("BITBLASC_NVRTC_PATH"); /* would be a part of the key */
  *state = f;
  return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
  (void)info, (void)kind, (void)walk;
  return remove(path);
}

static int tear_down(void **state) {
  fixture *f = *state;
  nftw(f->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  free(f);
  return 0;
}

static void check(bitblas_status status) {
  if (status != BITBLAS_OK) fail_msg("%s: %s", bitblas_status_name(status), bitblas_last_message());
}

static bitblas_context *open_context(const fixture *f) {
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.device = BITBLAS_DEVICE_EMULATOR;
  config.target = "sm_90a";
  config.cache_directory = f->directory;
  bitblas_context *context = NULL;
  check(bitblas_context_create(&config, &context));
  if (!f->second) return context;
  context->driver = fake_driver;
  assert_int_equal(device_open(&context->driver, 0, &context->device, NULL), RUNTIME_OK);
  return context;
}

/* The least that elf_note takes for a cubin, with the record. */
static void *noted_cubin(arena *a, const store_file *json, size_t *size) {
  unsigned char image[64 + 128] = {0};
  Elf64_Ehdr h = {.e_shoff = 64, .e_shentsize = 64, .e_shnum = 2, .e_shstrndx = 1};
  memcpy(h.e_ident, ELFMAG, SELFMAG);
  h.e_ident[EI_CLASS] = ELFCLASS64;
  h.e_ident[EI_DATA] = ELFDATA2LSB;
  Elf64_Shdr names = {.sh_type = SHT_STRTAB, .sh_offset = 63, .sh_size = 1};
  memcpy(image, &h, sizeof h);
  memcpy(image + 128, &names, sizeof names);
  const char *error = NULL;
  void *cubin = elf_note_add(a, image, sizeof image, json->data, json->size, size, &error);
  assert_non_null(cubin);
  return cubin;
}

/* What the emulator's context kept, as if it had been compiled for the GPU. */
static void add_cubins(const fixture *f) {
  static const char text[] = "product text", cubin[] = "product cubin";
  arena *memory = arena_create();
  store *s = store_open(f->directory, 1 << 30);
  int count;
  const store_item *items = store_list(s, memory, &count);
  assert_true(count > 0);
  for (int i = 0; i < count; i++) {
    store_entry found, e = {.count = 0};
    assert_true(store_find(s, items[i].key, memory, &found));
    for (int n = 0; n < found.count; n++)
      if (strcmp(found.files[n].name, "key") != 0 && strcmp(found.files[n].name, "manifest") != 0)
        e.files[e.count++] = found.files[n];
    store_file *file = &e.files[e.count++];
    file->name = "kernel.cubin";
    file->data = noted_cubin(memory, store_entry_file(&found, "kernel.json"), &file->size);
    const char *at = strstr(items[i].key, text);
    assert_non_null(at);
    const char *key =
        arena_printf(memory, "%.*s%s%s", (int)(at - items[i].key), items[i].key, cubin, at + strlen(text));
    assert_int_equal(store_add(s, key, &e, NULL), RUNTIME_OK);
  }
  store_close(s);
  arena_destroy(memory);
}

/* -- Counting ---------------------------------------------------------------------------------------------------------- */

enum { RUNS = 100 };

static void start_counting(void) {
  atomic_store(&launches, 0);
  atomic_store(&calls, 0);
  atomic_store(&counting, true);
}

/* That many kernels were launched, and nothing was allocated or freed. */
static void stop_counting(int kernels) {
  atomic_store(&counting, false);
  assert_int_equal(atomic_load(&launches), kernels);
  assert_int_equal(atomic_load(&calls), 0);
}

static void *allocate(bitblas_context *context, size_t bytes) {
  void *memory = NULL;
  check(bitblas_allocate(context, bytes, &memory));
  return memory;
}

/* Whatever is tested is done on the emulator first, for what it leaves in the store. */
static void on_both(fixture *f, void step(fixture *f, bitblas_context *context)) {
  for (int i = 0; i < 2; i++) {
    f->second = i == 1;
    bitblas_context *context = open_context(f);
    step(f, context);
    bitblas_context_destroy(context);
    if (i == 0) add_cubins(f);
  }
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

static void kernel_step(fixture *f, bitblas_context *context) {
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
  if (f->second) {
    start_counting();
    for (int i = 0; i < RUNS; i++)
      check(bitblas_kernel_run(kernel, &launch));
    stop_counting(RUNS);
  }
  bitblas_free(context, x), bitblas_free(context, y);
  bitblas_kernel_destroy(kernel);
}

static void kernel_run_allocates_nothing(void **state) { on_both(*state, kernel_step); }

static const int64_t matmul_rows[] = {1, 256};

static bitblas_matmul *prepared_matmul(bitblas_context *context) {
  bitblas_matmul_config config = BITBLAS_MATMUL_CONFIG_INIT;
  config.opt_M = matmul_rows, config.opt_M_count = 2;
  config.N = 256, config.K = 256;
  config.W_dtype = BITBLAS_TYPE_U4;
  config.with_scaling = config.with_zeros = config.with_bias = 1;
  config.group_size = 128;
  bitblas_matmul *op;
  check(bitblas_matmul_create(context, &config, &op));
  check(bitblas_matmul_prepare(op, NULL, 0));
  return op;
}

static void matmul_step(fixture *f, bitblas_context *context) {
  bitblas_matmul *op = prepared_matmul(context);
  void *memory = allocate(context, 1 << 20);
  for (int m = 0; f->second && m < 2; m++) {
    bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
    args.M = matmul_rows[m];
    args.A = args.W = args.scales = args.zeros = args.bias = args.C = memory;
    check(bitblas_matmul_workspace_bytes(op, args.M, &args.workspace_bytes));
    args.workspace = args.workspace_bytes ? memory : NULL;
    atomic_store(&maps, 0);
    start_counting();
    for (int i = 0; i < RUNS; i++) {
      args.A = (char *)memory + i % 2 * 4096; /* tensor maps are made anew */
      check(bitblas_matmul_run(op, &args));
    }
    stop_counting(RUNS);
    if (m == 1) assert_true(atomic_load(&maps) > 0);
  }
  bitblas_free(context, memory);
  bitblas_matmul_destroy(op);
}

static void matmul_run_allocates_nothing(void **state) { on_both(*state, matmul_step); }

/* With a weight whose inputs are permuted: two kernels a run. */
static void linear_step(fixture *f, bitblas_context *context) {
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
    check(linear_load(linear, &values, permuted ? permutation : NULL));
    check(bitblas_linear_prepare(linear, NULL, 0));
    void *memory = allocate(context, 1 << 16);
    bitblas_linear_args args = BITBLAS_LINEAR_ARGS_INIT;
    args.M = 16, args.A = memory, args.C = (char *)memory + (1 << 14);
    args.workspace = (char *)memory + (1 << 15);
    check(bitblas_linear_workspace_bytes(linear, args.M, &args.workspace_bytes));
    assert_true(args.workspace_bytes <= 1 << 15);
    if (f->second) {
      start_counting();
      for (int i = 0; i < RUNS; i++)
        check(bitblas_linear_forward(linear, &args));
      stop_counting((1 + permuted) * RUNS);
    }
    bitblas_free(context, memory);
  }
  bitblas_linear_destroy(linear);
}

static void linear_forward_allocates_nothing(void **state) { on_both(*state, linear_step); }

/* Whole rows, and parts of the keys with their merge. */
static void flash_atten_step(fixture *f, bitblas_context *context) {
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
    if (f->second) {
      start_counting();
      for (int i = 0; i < RUNS; i++)
        check(bitblas_flash_atten_run(op, &args));
      stop_counting(splits * RUNS);
    }
    bitblas_free(context, memory);
    bitblas_flash_atten_destroy(op);
  }
}

static void flash_atten_run_allocates_nothing(void **state) { on_both(*state, flash_atten_step); }

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
static void threads_step(fixture *f, bitblas_context *context) {
  bitblas_matmul *op = prepared_matmul(context);
  pthread_t threads[THREADS];
  runner runners[THREADS];
  atomic_store(&launches, 0);
  launched = atomic_load(&op->kernel[1])->record;
  assert_true(launched->map_count > 0);
  for (int t = 0; f->second && t < THREADS; t++) {
    runners[t] = (runner){op, allocate(context, SETS * SET_BYTES), 0};
    assert_int_equal(pthread_create(&threads[t], NULL, run_many, &runners[t]), 0);
  }
  for (int t = 0; f->second && t < THREADS; t++) {
    pthread_join(threads[t], NULL);
    assert_int_equal(runners[t].wrong, 0);
    bitblas_free(context, runners[t].memory);
  }
  assert_int_equal(atomic_load(&launches), f->second ? THREADS * THREAD_RUNS : 0);
  bitblas_matmul_destroy(op);
}

static void threads_get_their_own_maps(void **state) { on_both(*state, threads_step); }

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counts),
      TEST(kernel_run_allocates_nothing),
      TEST(matmul_run_allocates_nothing),
      TEST(linear_forward_allocates_nothing),
      TEST(flash_atten_run_allocates_nothing),
      TEST(threads_get_their_own_maps),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
