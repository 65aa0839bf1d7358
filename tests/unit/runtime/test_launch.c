/* Loading and launching against a driver that only takes notes: what is checked, what the driver is told, and that
 * nothing leaks. */
#include "codegen/elf_note.h"
#include "runtime/launch.h"
#include "tests/unit/codegen/sample_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <string.h>

/* -- The driver ---------------------------------------------------------------------------------------------------- */

typedef struct notes {
  int capability_minor;
  int fail_load, fail_launch;    /* CUresult to answer with */
  int contexts, modules, events; /* open */
  int entered;
  int launches, maps;
  int dynamic_shared;
  uint32_t grid[3];
  uint32_t cluster_x, attribute_count;
  uint64_t extents[2], strides[2];
  unsigned char parameters[7][8];
  cuda_stream stream;
} notes;
static notes note; /* the driver's functions have no argument to find it by */

static int fake_init(unsigned flags) { return (int)flags; }
static int fake_version(int *version) { return *version = 13000, 0; }
static int fake_text(int result, const char **text) {
  return *text = result == 700 ? "illegal address" : "some error", 0;
}
static int fake_count(int *count) { return *count = 2, 0; }
static int fake_get(cuda_device *handle, int ordinal) { return *handle = ordinal, 0; }
static int fake_name(char *name, int length, cuda_device handle) {
  return memcpy(name, "Fake", 5), length < 5 || handle != 1;
}
static int fake_attribute(int *value, int attribute, cuda_device handle) {
  *value = attribute == CUDA_DEVICE_CAPABILITY_MAJOR   ? 9
           : attribute == CUDA_DEVICE_CAPABILITY_MINOR ? note.capability_minor
           : attribute == CUDA_DEVICE_SM_COUNT         ? 132
                                                       : 232448;
  return handle != 1;
}
static int fake_memory(size_t *bytes, cuda_device handle) { return *bytes = 1 << 30, handle != 1; }
static int fake_retain(cuda_context *context, cuda_device handle) {
  note.contexts++;
  *context = (cuda_context)(void *)&note;
  return handle != 1;
}
static int fake_release(cuda_device handle) { return note.contexts--, handle != 1; }
static int fake_push(cuda_context context) { return note.entered++, context == NULL; }
static int fake_pop(cuda_context *context) { return note.entered--, *context = NULL, 0; }
static int fake_load(cuda_module *module, const void *image) {
  if (note.fail_load) return note.fail_load;
  note.modules++;
  *module = (cuda_module)(void *)&note;
  return image == NULL;
}
static int fake_unload(cuda_module module) { return note.modules--, module == NULL; }
static int fake_function(cuda_function *function, cuda_module module, const char *name) {
  *function = (cuda_function)(void *)module;
  return strcmp(name, "sample") == 0 ? 0 : 500;
}
static int fake_function_get(int *value, int attribute, cuda_function function) {
  return *value = attribute * 10, function == NULL;
}
static int fake_function_set(cuda_function function, int attribute, int value) {
  if (attribute == CUDA_FUNCTION_MAX_DYNAMIC_SHARED_BYTES) note.dynamic_shared = value;
  return function == NULL;
}
static int fake_blocks(int *blocks, cuda_function function, int threads, size_t shared) {
  return *blocks = 1, function == NULL || threads != 384 || shared != 65536;
}
static int fake_clusters(int *clusters, cuda_function function, const cuda_launch_config *config) {
  return *clusters = 60, function == NULL || config->attributes[0].value.cluster.x != 2;
}
static int fake_launch(const cuda_launch_config *config, cuda_function function, void **parameters, void **extra) {
  static const size_t bytes[7] = {8, 8, 8, 4, 4, 4, 8};
  assert_true(note.entered > 0);
  assert_null(extra);
  assert_non_null(function);
  assert_int_equal((uintptr_t)parameters[0] % 64, 0);
  for (int i = 0; i < 7; i++)
    memcpy(note.parameters[i], parameters[i], bytes[i]);
  memcpy(note.grid, config->grid, sizeof note.grid);
  note.attribute_count = config->attribute_count;
  note.cluster_x = config->attributes[0].value.cluster.x;
  note.stream = config->stream;
  note.launches++;
  return note.fail_launch;
}
static int fake_encode(cuda_tensor_map *map, int type, uint32_t rank, void *address, const uint64_t *extents,
                       const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides, int interleave,
                       int swizzle, int promotion, int fill) {
  assert_true(note.entered > 0);
  assert_int_equal(type, 6);
  assert_int_equal(rank, 2);
  assert_int_equal((uintptr_t)address, 0x1000);
  assert_int_equal(box[0], 64);
  assert_int_equal(element_strides[1], 1);
  assert_int_equal(interleave + fill, 0);
  assert_int_equal(swizzle, 3);
  assert_int_equal(promotion, 3);
  memcpy(note.extents, extents, sizeof note.extents);
  note.strides[0] = strides[0];
  memset(map, 0x77, sizeof *map);
  note.maps++;
  return 0;
}
static int fake_event_create(cuda_event *event, unsigned flags) {
  note.events++;
  *event = (cuda_event)(void *)&note;
  return (int)flags;
}
static int fake_event_destroy(cuda_event event) { return note.events--, event == NULL; }
static int fake_event_record(cuda_event event, cuda_stream stream) { return event == NULL || stream != NULL; }
static int fake_event_wait(cuda_event event) { return event == NULL; }
static int fake_elapsed(float *milliseconds, cuda_event from, cuda_event to) {
  return *milliseconds = 0.5f, from == NULL || to == NULL;
}

static cuda_driver fake_driver(void) {
  memset(&note, 0, sizeof note);
  return (cuda_driver){.init = fake_init,
                       .driver_get_version = fake_version,
                       .get_error_name = fake_text,
                       .get_error_string = fake_text,
                       .device_get_count = fake_count,
                       .device_get = fake_get,
                       .device_get_name = fake_name,
                       .device_get_attribute = fake_attribute,
                       .device_total_memory = fake_memory,
                       .primary_context_retain = fake_retain,
                       .primary_context_release = fake_release,
                       .context_push = fake_push,
                       .context_pop = fake_pop,
                       .event_create = fake_event_create,
                       .event_destroy = fake_event_destroy,
                       .event_record = fake_event_record,
                       .event_synchronize = fake_event_wait,
                       .event_elapsed = fake_elapsed,
                       .module_load_data = fake_load,
                       .module_unload = fake_unload,
                       .module_get_function = fake_function,
                       .function_get_attribute = fake_function_get,
                       .function_set_attribute = fake_function_set,
                       .occupancy_blocks = fake_blocks,
                       .occupancy_clusters = fake_clusters,
                       .launch_kernel = fake_launch,
                       .tensor_map_encode_tiled = fake_encode};
}

/* The least that elf_note takes for a cubin. */
static void *noted_cubin(arena *a, const record *r, size_t *size) {
  unsigned char image[64 + 128] = {0};
  Elf64_Ehdr h = {.e_shoff = 64, .e_shentsize = 64, .e_shnum = 2, .e_shstrndx = 1};
  memcpy(h.e_ident, ELFMAG, SELFMAG);
  h.e_ident[EI_CLASS] = ELFCLASS64;
  h.e_ident[EI_DATA] = ELFDATA2LSB;
  Elf64_Shdr names = {.sh_type = SHT_STRTAB, .sh_offset = 63, .sh_size = 1};
  memcpy(image, &h, sizeof h);
  memcpy(image + 128, &names, sizeof names);
  str json = STR_EMPTY;
  const char *error = NULL;
  record_to_json(r, false, &json);
  void *cubin = elf_note_add(a, image, sizeof image, json.data, json.length, size, &error);
  str_free(&json);
  assert_non_null(cubin);
  return cubin;
}

typedef struct fixture {
  arena *memory;
  cuda_driver driver;
  device *device;
  launch_kernel *kernel;
  int64_t sizes[2];
  uint64_t tensors[3];
  launch_scalar scalars[1];
  launch_arguments arguments;
  runtime_message message;
} fixture;

static void open_fixture(fixture *f) {
  memset(f, 0, sizeof *f);
  f->memory = arena_create();
  f->driver = fake_driver();
  assert_int_equal(device_open(&f->driver, 1, &f->device, &f->message), RUNTIME_OK);
  size_t size = 0;
  void *cubin = noted_cubin(f->memory, sample_record(f->memory), &size);
  assert_int_equal(launch_load(f->device, cubin, size, NULL, &f->kernel, &f->message), RUNTIME_OK);
  f->sizes[0] = 300;
  f->sizes[1] = 128;
  for (int i = 0; i < 3; i++)
    f->tensors[i] = 0x1000u * (unsigned)(i + 1);
  f->scalars[0].f32 = 0.5f;
  f->arguments = (launch_arguments){f->sizes, f->tensors, f->scalars, 0x4000, 1 << 20};
}

static void close_fixture(fixture *f) {
  launch_unload(f->kernel);
  device_close(f->device);
  assert_int_equal(note.contexts, 0);
  assert_int_equal(note.modules, 0);
  assert_int_equal(note.events, 0);
  assert_int_equal(note.entered, 0);
  arena_destroy(f->memory);
}

/* -- Tests --------------------------------------------------------------------------------------------------------- */

static void launches_what_the_record_says(void **state) {
  (void)state;
  fixture f;
  open_fixture(&f);
  assert_int_equal(note.dynamic_shared, 65536);
  assert_int_equal(launch_get_facts(f.kernel)->registers, 40);
  assert_int_equal(launch_get_facts(f.kernel)->resident_blocks, 120);
  assert_string_equal(launch_get_record(f.kernel)->entry, "sample");
  assert_int_equal(launch_run(f.kernel, &f.arguments, (cuda_stream)(void *)&f, &f.message), RUNTIME_OK);
  assert_int_equal(note.launches, 1);
  assert_int_equal(note.maps, 1);
  assert_int_equal(note.grid[0], 6);
  assert_int_equal(note.cluster_x, 2);
  assert_int_equal(note.attribute_count, 2);
  assert_ptr_equal(note.stream, &f);
  assert_int_equal(note.extents[0], 256);
  assert_int_equal(note.extents[1], 300);
  assert_int_equal(note.strides[0], 512);
  const uint64_t addresses[] = {0x2000, 0x3000, 0x4000};
  const float alpha = 0.5f;
  const int32_t m = 300, n = 128;
  assert_int_equal(note.parameters[0][0], 0x77);
  assert_memory_equal(note.parameters[1], &addresses[0], 8);
  assert_memory_equal(note.parameters[2], &addresses[1], 8);
  assert_memory_equal(note.parameters[3], &alpha, 4);
  assert_memory_equal(note.parameters[4], &m, 4);
  assert_memory_equal(note.parameters[5], &n, 4);
  assert_memory_equal(note.parameters[6], &addresses[2], 8);
  f.sizes[0] = 1000000;
  assert_int_equal(launch_run(f.kernel, &f.arguments, NULL, &f.message), RUNTIME_OK);
  assert_int_equal(note.grid[0], 120);
  f.sizes[0] = 0;
  assert_int_equal(launch_run(f.kernel, &f.arguments, NULL, &f.message), RUNTIME_OK);
  assert_int_equal(note.launches, 2);
  close_fixture(&f);
}

static void keeps_a_prepared_call(void **state) {
  (void)state;
  fixture f;
  open_fixture(&f);
  launch_call *call = NULL;
  assert_int_equal(launch_prepare(f.kernel, &f.arguments, &call, &f.message), RUNTIME_OK);
  f.sizes[0] = 1;
  f.tensors[1] = 0;
  for (int i = 0; i < 3; i++)
    assert_int_equal(launch_enqueue(call, NULL, &f.message), RUNTIME_OK);
  assert_int_equal(note.launches, 3);
  assert_int_equal(note.maps, 1);
  const int32_t m = 300;
  assert_memory_equal(note.parameters[4], &m, 4);
  note.fail_launch = 700;
  assert_int_equal(launch_enqueue(call, NULL, &f.message), RUNTIME_DRIVER);
  assert_non_null(strstr(f.message.text, "illegal address"));
  launch_call_free(call);
  close_fixture(&f);
}

static void refuses_wrong_arguments(void **state) {
  (void)state;
  static const struct {
    int64_t m, n;
    uint64_t a, w, workspace, workspace_bytes;
    runtime_status status;
    const char *message;
  } cases[] = {
      {-1, 128, 0x1000, 0x2000, 0x4000, 99, RUNTIME_BAD_ARGUMENT, "M = -1"},
      {1ll << 31, 128, 0x1000, 0x2000, 0x4000, 99, RUNTIME_BAD_ARGUMENT, "M = 2147483648"},
      {1, 12, 0x1000, 0x2000, 0x4000, 99, RUNTIME_CONSTRAINT, "N = 12 is no multiple of 8"},
      {1, 8192, 0x1000, 0x2000, 0x4000, 99, RUNTIME_CONSTRAINT, "needs N <= 4096, but M = 1, N = 8192"},
      {1, 128, 0, 0x2000, 0x4000, 99, RUNTIME_BAD_ARGUMENT, "A is null"},
      {1, 128, 0x1008, 0x2000, 0x4000, 99, RUNTIME_BAD_ARGUMENT, "A is at address 0x1008, not aligned to 16 bytes"},
      {1, 128, 0x1000, 0x2010, 0x4000, 99, RUNTIME_BAD_ARGUMENT, "W is at address 0x2010, not aligned to 128 bytes"},
      {300, 128, 0x1000, 0x2000, 0x4000, 11, RUNTIME_BAD_ARGUMENT, "the workspace has 11 bytes and needs 12"},
      {300, 128, 0x1000, 0x2000, 0, 12, RUNTIME_BAD_ARGUMENT, "the workspace is null"},
      {300, 128, 0x1000, 0x2000, 0x4001, 12, RUNTIME_BAD_ARGUMENT, "not aligned to 16"},
  };
  fixture f;
  open_fixture(&f);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    f.sizes[0] = cases[i].m;
    f.sizes[1] = cases[i].n;
    f.tensors[0] = cases[i].a;
    f.tensors[1] = cases[i].w;
    f.arguments.workspace = cases[i].workspace;
    f.arguments.workspace_bytes = cases[i].workspace_bytes;
    assert_int_equal(launch_run(f.kernel, &f.arguments, NULL, &f.message), cases[i].status);
    if (!strstr(f.message.text, cases[i].message)) fail_msg("case %d: %s", (int)i, f.message.text);
  }
  assert_int_equal(note.launches, 0);
  close_fixture(&f);
}

static void knows_the_bytes_of_tensors(void **state) {
  (void)state;
  arena *a = arena_create();
  const record *r = sample_record(a);
  const int64_t sizes[] = {3, 24};
  uint64_t bytes = 0;
  assert_int_equal(launch_tensor_bytes(r, sizes, 0, &bytes, NULL), RUNTIME_OK);
  assert_int_equal(bytes, 3 * 256 * 2);
  assert_int_equal(launch_tensor_bytes(r, sizes, 1, &bytes, NULL), RUNTIME_OK);
  assert_int_equal(bytes, 24 * 256 / 2);
  const int64_t odd[] = {3, 25}; /* blocks have 4 rows */
  assert_int_equal(launch_tensor_bytes(r, odd, 1, &bytes, NULL), RUNTIME_OK);
  assert_int_equal(bytes, 28 * 256 / 2);
  assert_int_equal(launch_tensor_bytes(r, sizes, 2, &bytes, NULL), RUNTIME_OK);
  assert_int_equal(bytes, (2 * 32 + 24) * 2); /* rows of N + 8, the last without its gap */
  assert_int_equal(launch_workspace_bytes(r, sizes, &bytes, NULL), RUNTIME_OK);
  assert_int_equal(bytes, 4);
  arena_destroy(a);
}

static void computes_grids(void **state) {
  (void)state;
  arena *a = arena_create();
  record r = *sample_record(a);
  runtime_message message = {""};
  uint32_t grid[3];
  const int64_t sizes[] = {129, 64};
  assert_int_equal(launch_grid(&r, sizes, 132, grid, &message), RUNTIME_OK);
  assert_int_equal(grid[0], 2);
  assert_int_equal(launch_grid(&r, sizes, 1, grid, &message), RUNTIME_BAD_ARGUMENT);
  assert_non_null(strstr(message.text, "cannot hold one cluster"));
  r.persistent = false;
  r.grid[0] = sample_expr(a, "M");
  r.grid[1] = sample_expr(a, "N");
  r.grid[2] = size_const(a, 1);
  assert_int_equal(launch_grid(&r, sizes, 0, grid, &message), RUNTIME_BAD_ARGUMENT);
  assert_non_null(strstr(message.text, "no multiple of the cluster's 2"));
  const int64_t even[] = {130, 64};
  assert_int_equal(launch_grid(&r, even, 0, grid, &message), RUNTIME_OK);
  assert_int_equal(grid[0], 130);
  assert_int_equal(grid[1], 64);
  const int64_t tall[] = {2, 65536};
  assert_int_equal(launch_grid(&r, tall, 0, grid, &message), RUNTIME_BAD_ARGUMENT);
  assert_non_null(strstr(message.text, "65536 blocks along y"));
  r.grid[0] = sample_expr(a, "M - 131");
  assert_int_equal(launch_grid(&r, even, 0, grid, &message), RUNTIME_BAD_ARGUMENT);
  r.grid[0] = sample_expr(a, "M/(M - 130)");
  assert_int_equal(launch_grid(&r, even, 0, grid, &message), RUNTIME_BAD_ARGUMENT);
  assert_non_null(strstr(message.text, "division by zero"));
  arena_destroy(a);
}

static void times_with_rotated_arguments(void **state) {
  (void)state;
  fixture f;
  open_fixture(&f);
  int64_t other[] = {200, 128};
  launch_arguments sets[2] = {f.arguments, f.arguments};
  sets[1].sizes = other;
  launch_timing timing;
  launch_timing_options options = {.warmups = 2, .samples = 5, .launches_per_sample = 4};
  assert_int_equal(launch_time(f.kernel, sets, 2, &options, NULL, &timing, &f.message), RUNTIME_OK);
  assert_int_equal(note.launches, 2 + 5 * 4);
  assert_int_equal(note.maps, 2);
  assert_true(timing.median_us == 125.0 && timing.least_us == 125.0 && timing.most_us == 125.0);
  assert_int_equal(launch_time(f.kernel, sets, 0, NULL, NULL, &timing, &f.message), RUNTIME_BAD_ARGUMENT);
  f.tensors[0] = 0;
  assert_int_equal(launch_time(f.kernel, sets, 2, NULL, NULL, &timing, &f.message), RUNTIME_BAD_ARGUMENT);
  close_fixture(&f);
}

static void refuses_what_cannot_be_loaded(void **state) {
  (void)state;
  arena *a = arena_create();
  cuda_driver driver = fake_driver();
  runtime_message message = {""};
  device *d = NULL;
  launch_kernel *k = NULL;
  assert_int_equal(device_open(&driver, 7, &d, &message), RUNTIME_NO_DEVICE);
  assert_int_equal(device_open(&driver, 1, &d, &message), RUNTIME_OK);
  record *r = sample_record(a);
  size_t size = 0;
  void *cubin = noted_cubin(a, r, &size);
  assert_int_equal(launch_load(d, "text", 4, NULL, &k, &message), RUNTIME_BAD_CUBIN);
  assert_int_equal(launch_load(d, cubin, 100, NULL, &k, &message), RUNTIME_BAD_RECORD);
  note.fail_load = 200;
  assert_int_equal(launch_load(d, cubin, size, NULL, &k, &message), RUNTIME_BAD_CUBIN);
  note.fail_load = CUDA_NO_BINARY_FOR_GPU;
  assert_int_equal(launch_load(d, cubin, size, NULL, &k, &message), RUNTIME_WRONG_TARGET);
  note.fail_load = 0;
  r->entry = "other";
  assert_int_equal(launch_load(d, cubin, size, r, &k, &message), RUNTIME_BAD_CUBIN);
  assert_non_null(strstr(message.text, "no kernel 'other'"));
  r->entry = "no name";
  assert_int_equal(launch_load(d, cubin, size, r, &k, &message), RUNTIME_BAD_RECORD);
  r->entry = "sample";
  static const struct {
    const char *target;
    runtime_status status;
  } targets[] = {{"sm_90a", RUNTIME_OK},          {"sm_90", RUNTIME_OK},
                 {"sm_80", RUNTIME_WRONG_TARGET}, {"sm_100a", RUNTIME_WRONG_TARGET},
                 {"sm_91", RUNTIME_WRONG_TARGET}, {"gfx90a", RUNTIME_BAD_RECORD}};
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
    r->target = targets[i].target;
    k = NULL;
    assert_int_equal(launch_load(d, cubin, size, r, &k, &message), targets[i].status);
    launch_unload(k);
  }
  r->target = "sm_90a";
  r->shared_bytes = 300000;
  assert_int_equal(launch_load(d, cubin, size, r, &k, &message), RUNTIME_WRONG_TARGET);
  assert_non_null(strstr(message.text, "300000 bytes of shared memory"));
  device_close(d);
  assert_int_equal(note.contexts + note.modules + note.entered, 0);
  arena_destroy(a);
}

static void says_when_there_is_no_driver(void **state) {
  (void)state;
  cuda_driver driver;
  runtime_message message = {""};
  assert_int_equal(cuda_open("/no/such/libcuda.so.1", &driver, &message), RUNTIME_NO_DRIVER);
  assert_non_null(strstr(message.text, "no CUDA driver"));
  assert_int_equal(cuda_open("libm.so.6", &driver, &message), RUNTIME_NO_DRIVER);
  assert_non_null(strstr(message.text, "cuInit"));
  assert_string_equal(runtime_status_text(RUNTIME_NO_DRIVER), "no CUDA driver");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(launches_what_the_record_says),
      cmocka_unit_test(keeps_a_prepared_call),
      cmocka_unit_test(refuses_wrong_arguments),
      cmocka_unit_test(knows_the_bytes_of_tensors),
      cmocka_unit_test(computes_grids),
      cmocka_unit_test(times_with_rotated_arguments),
      cmocka_unit_test(refuses_what_cannot_be_loaded),
      cmocka_unit_test(says_when_there_is_no_driver),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
