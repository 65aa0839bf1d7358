/* Loading and launching on the stand-in of a GPU: what is checked, what the driver is told, and that nothing leaks. */
#include "tests/unit/unit.h"

#include "codegen/elf_note.h"
#include "runtime/launch.h"
#include "tests/unit/codegen/sample_record.h"
#include "tests/unit/stand_in/gpu.h"

/* -- The driver ---------------------------------------------------------------------------------------------------- */

/* What the last launch and the last map were. */
typedef struct notes {
  uint32_t grid[3];
  uint32_t cluster_x, attribute_count, shared_bytes;
  uint64_t extents[2], strides[2];
  unsigned char parameters[7][8];
  cuda_stream stream;
} notes;
static notes note; /* the hooks have no argument to find it by */

static int note_launch(const cuda_launch_config *config, void **parameters) {
  static const size_t bytes[7] = {8, 8, 8, 4, 4, 4, 8};
  assert_true(stand_in()->entered > 0);
  assert_int_equal((uintptr_t)parameters[0] % 64, 0);
  for (int i = 0; i < 7; i++)
    memcpy(note.parameters[i], parameters[i], bytes[i]);
  memcpy(note.grid, config->grid, sizeof note.grid);
  note.attribute_count = config->attribute_count;
  note.shared_bytes = config->shared_bytes;
  note.cluster_x = config->attributes[0].value.cluster.x;
  note.stream = config->stream;
  return CUDA_OK;
}

static int note_map(cuda_tensor_map *map, int type, uint32_t rank, void *address, const uint64_t *extents,
                    const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides, int interleave,
                    int swizzle, int promotion, int fill) {
  assert_true(stand_in()->entered > 0);
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
  return CUDA_OK;
}

static void open_driver(cuda_driver *driver) {
  stand_in_gpu *gpu = stand_in();
  memset(gpu, 0, sizeof *gpu);
  memset(&note, 0, sizeof note);
  gpu->entry = "sample";
  gpu->on_launch = note_launch;
  gpu->on_map = note_map;
  assert_int_equal(cuda_open(NULL, driver, NULL), RUNTIME_OK);
}

static void *noted_cubin(arena *a, const record *r, size_t *size) {
  str json = STR_EMPTY;
  const char *error = NULL;
  record_to_json(r, false, &json);
  size_t least_size;
  const void *least = stand_in_cubin(&least_size);
  void *cubin = elf_note_add(a, least, least_size, json.data, json.length, size, &error);
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
  open_driver(&f->driver);
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
  assert_true(stand_in_is_closed());
  arena_destroy(f->memory);
}

/* -- Tests --------------------------------------------------------------------------------------------------------- */

static void launches_what_the_record_says(void **state) {
  (void)state;
  fixture f;
  open_fixture(&f);
  assert_int_equal(stand_in()->dynamic_shared, 65536);
  assert_int_equal(stand_in()->occupancy_threads, 384);
  assert_int_equal(stand_in()->occupancy_shared, 65536);
  assert_int_equal(stand_in()->occupancy_cluster, 2);
  assert_int_equal(launch_get_facts(f.kernel)->registers, 40);
  assert_int_equal(launch_get_facts(f.kernel)->resident_blocks, 120);
  assert_string_equal(launch_get_record(f.kernel)->entry, "sample");
  assert_int_equal(launch_run(f.kernel, &f.arguments, (cuda_stream)(void *)&f, &f.message), RUNTIME_OK);
  assert_int_equal(stand_in()->launches, 1);
  assert_int_equal(stand_in()->maps, 1);
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
  assert_int_equal(stand_in()->launches, 2);
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
  assert_int_equal(stand_in()->launches, 3);
  assert_int_equal(stand_in()->maps, 1);
  const int32_t m = 300;
  assert_memory_equal(note.parameters[4], &m, 4);
  stand_in()->fail_launch = 700;
  assert_int_equal(launch_enqueue(call, NULL, &f.message), RUNTIME_DRIVER);
  assert_non_null(strstr(f.message.text, "illegal address"));
  launch_call_free(call);
  close_fixture(&f);
}

/* Of launches that overlap, no SM takes more blocks than an even spread over 132 gives it. */
static void spreads_blocks_that_overlap(void **state) {
  (void)state;
  static const struct {
    int64_t rows; /* a block for each */
    int cluster;
    bool pdl;
    uint32_t needed, most, asked; /* bytes of shared memory: of the kernel, of the function, of the launch */
  } cases[] = {{100, 1, true, 50000, 232448, 232448}, {132, 1, true, 50000, 232448, 232448},
               {133, 1, true, 50000, 232448, 115712}, {264, 1, true, 50000, 232448, 115712},
               {396, 1, true, 50000, 232448, 76800},  {397, 1, true, 50000, 232448, 50000},
               {9999, 1, true, 50000, 232448, 50000}, {100, 1, false, 50000, 50000, 50000},
               {100, 2, true, 50000, 50000, 50000},   {100, 1, true, 0, 0, 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fixture f;
    open_fixture(&f);
    stand_in()->blocks_per_sm = 4;
    record *r = sample_record(f.memory);
    r->shared_bytes = cases[i].needed;
    r->cluster[0] = cases[i].cluster;
    r->pdl = cases[i].pdl;
    r->persistent = false;
    r->grid[0] = sample_expr(f.memory, "M");
    r->grid[1] = r->grid[2] = size_const(f.memory, 1);
    launch_unload(f.kernel);
    stand_in()->dynamic_shared = 0;
    size_t size = 0;
    void *cubin = noted_cubin(f.memory, r, &size);
    assert_int_equal(launch_load(f.device, cubin, size, NULL, &f.kernel, &f.message), RUNTIME_OK);
    assert_int_equal(stand_in()->dynamic_shared, cases[i].most);
    f.sizes[0] = cases[i].rows;
    assert_int_equal(launch_run(f.kernel, &f.arguments, NULL, &f.message), RUNTIME_OK);
    assert_int_equal(note.shared_bytes, cases[i].asked);
    close_fixture(&f);
  }
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
  assert_int_equal(stand_in()->launches, 0);
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
  assert_int_equal(stand_in()->launches, 2 + 5 * 4);
  assert_int_equal(stand_in()->maps, 2);
  assert_true(timing.median_us == 125.0 && timing.least_us == 125.0 && timing.most_us == 125.0);
  assert_int_equal(launch_time(f.kernel, sets, 0, NULL, NULL, &timing, &f.message), RUNTIME_BAD_ARGUMENT);
  f.tensors[0] = 0;
  assert_int_equal(launch_time(f.kernel, sets, 2, NULL, NULL, &timing, &f.message), RUNTIME_BAD_ARGUMENT);
  close_fixture(&f);
}

static void refuses_what_cannot_be_loaded(void **state) {
  (void)state;
  arena *a = arena_create();
  cuda_driver driver;
  open_driver(&driver);
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
  stand_in()->fail_load = 200;
  assert_int_equal(launch_load(d, cubin, size, NULL, &k, &message), RUNTIME_BAD_CUBIN);
  stand_in()->fail_load = CUDA_NO_BINARY_FOR_GPU;
  assert_int_equal(launch_load(d, cubin, size, NULL, &k, &message), RUNTIME_WRONG_TARGET);
  stand_in()->fail_load = 0;
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
  assert_true(stand_in_is_closed());
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
      cmocka_unit_test(launches_what_the_record_says), cmocka_unit_test(keeps_a_prepared_call),
      cmocka_unit_test(spreads_blocks_that_overlap),   cmocka_unit_test(refuses_wrong_arguments),
      cmocka_unit_test(knows_the_bytes_of_tensors),    cmocka_unit_test(computes_grids),
      cmocka_unit_test(times_with_rotated_arguments),  cmocka_unit_test(refuses_what_cannot_be_loaded),
      cmocka_unit_test(says_when_there_is_no_driver),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
