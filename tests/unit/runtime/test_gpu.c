/* The whole way on a real GPU: CUDA text, cubin, note, load, launch, time. Skipped where there is no GPU or no NVRTC.
 */
#include "codegen/elf_note.h"
#include "codegen/nvrtc.h"
#include "runtime/launch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
  arena *memory;
  cuda_driver driver;
  nvrtc *compiler;
  device *device;
  runtime_message message;
} fixture;

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  const char *error = NULL;
  *state = f;
  f->memory = arena_create();
  if (cuda_open(NULL, &f->driver, &f->message) != RUNTIME_OK) return 0;
  if (device_open(&f->driver, 0, &f->device, &f->message) != RUNTIME_OK) return 0;
  f->compiler = nvrtc_open(&(nvrtc_search){.path = NULL}, f->memory, NULL, &error);
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  device_close(f->device);
  nvrtc_close(f->compiler);
  arena_destroy(f->memory);
  free(f);
  return 0;
}

/* Compiles for the record's target, adds the note and loads the result by its note alone. */
static launch_kernel *build(fixture *f, const record *r, const char *source) {
  nvrtc_result made = nvrtc_compile(f->compiler, source, "test.cu", &(nvrtc_options){.arch = r->target}, f->memory);
  if (made.status != NVRTC_OK) fail_msg("%s", made.log);
  str json = STR_EMPTY;
  const char *error = NULL;
  size_t size = 0;
  record_to_json(r, false, &json);
  void *cubin = elf_note_add(f->memory, made.cubin, made.cubin_size, json.data, json.length, &size, &error);
  str_free(&json);
  launch_kernel *k = NULL;
  if (launch_load(f->device, cubin, size, NULL, &k, &f->message) != RUNTIME_OK) fail_msg("%s", f->message.text);
  return k;
}

static void check(fixture *f, runtime_status status) {
  if (status != RUNTIME_OK) fail_msg("%s: %s", runtime_status_text(status), f->message.text);
}

static const char scale_text[] =
    "extern \"C\" __global__ void __launch_bounds__(128) scale(const float *x, float *y, float f, int n) {\n"
    "  int i = blockIdx.x * 128 + threadIdx.x;\n"
    "  if (i < n) y[i] = f * x[i];\n"
    "}\n";

static void scales_a_vector(void **state) {
  fixture *f = *state;
  if (!f->device || !f->compiler) skip();
  arena *a = f->memory;
  enum { N = 1000 };
  const device_facts *facts = device_get_facts(f->device);
  const size_expr *n = size_name(a, 0), *one = size_const(a, 1);
  const record_size sizes[] = {{"n", 1}};
  const record_tensor tensors[] = {
      {.name = "x", .type = "f32", .bits = 32, .access = RECORD_IN, .rank = 1, .extents = {n}, .alignment = 16},
      {.name = "y", .type = "f32", .bits = 32, .access = RECORD_OUT, .rank = 1, .extents = {n}, .alignment = 16}};
  const record_scalar scalars[] = {{"f", "f32"}};
  const record_parameter parameters[] = {{RECORD_TENSOR, 0}, {RECORD_TENSOR, 1}, {RECORD_SCALAR, 0}, {RECORD_SIZE, 0}};
  record r = {.entry = "scale",
              .target = arena_printf(a, "sm_%d%d", facts->capability_major, facts->capability_minor),
              .version = "test",
              .source_file = "",
              .source_hash = "",
              .block_threads = 128,
              .cluster = {1, 1, 1},
              .grid = {size_binary(a, SIZE_OP_CEILDIV, n, size_const(a, 128)), one, one},
              .size_count = 1,
              .sizes = sizes,
              .tensor_count = 2,
              .tensors = tensors,
              .scalar_count = 1,
              .scalars = scalars,
              .parameter_count = 4,
              .parameters = parameters};
  launch_kernel *k = build(f, &r, scale_text);
  float *x = test_malloc(N * sizeof *x), *y = test_malloc(N * sizeof *y);
  for (int i = 0; i < N; i++)
    x[i] = (float)i;
  cuda_address addresses[2] = {0, 0};
  cuda_stream stream = NULL;
  check(f, device_stream_create(f->device, &stream, &f->message));
  for (int i = 0; i < 2; i++)
    check(f, device_allocate(f->device, N * sizeof *x, &addresses[i], &f->message));
  check(f, device_upload(f->device, addresses[0], x, N * sizeof *x, stream, &f->message));
  check(f, device_fill(f->device, addresses[1], 0xff, N * sizeof *y, stream, &f->message));
  const int64_t size = N;
  const launch_scalar factor = {.f32 = 2.5f};
  const launch_arguments arguments = {&size, addresses, &factor, 0, 0};
  check(f, launch_run(k, &arguments, stream, &f->message));
  check(f, device_download(f->device, y, addresses[1], N * sizeof *y, stream, &f->message));
  check(f, device_synchronize(f->device, stream, &f->message));
  for (int i = 0; i < N; i++)
    assert_true(y[i] == 2.5f * (float)i);
  launch_timing timing;
  check(f, launch_time(k, &arguments, 1, &(launch_timing_options){.launches_per_sample = 10}, stream, &timing,
                       &f->message));
  print_message("scale: %.2f us (%.2f to %.2f), %d registers, %d blocks an SM\n", timing.median_us, timing.least_us,
                timing.most_us, launch_get_facts(k)->registers, launch_get_facts(k)->blocks_per_sm);
  assert_true(timing.median_us > 0 && timing.least_us <= timing.median_us && timing.median_us <= timing.most_us);
  for (int i = 0; i < 2; i++)
    device_free(f->device, addresses[i]);
  device_stream_destroy(f->device, stream);
  test_free(x);
  test_free(y);
  launch_unload(k);
}

/* A persistent kernel in clusters of two that copies a matrix in boxes of 32 x 64 through its tensor map. */
static const char box_text[] =
    "struct alignas(64) tensor_map { unsigned long long d[16]; };\n"
    "extern \"C\" __global__ void __launch_bounds__(128) box(const __grid_constant__ tensor_map m, unsigned short "
    "*out, int rows, int columns) {\n"
    "  extern __shared__ __align__(1024) unsigned char s[];\n"
    "  asm volatile(\"griddepcontrol.wait;\" ::: \"memory\");\n"
    "  unsigned box = (unsigned)__cvta_generic_to_shared(s), full = box + 4096, phase = 0;\n"
    "  if (threadIdx.x == 0) asm volatile(\"mbarrier.init.shared::cta.b64 [%0], 1; "
    "fence.mbarrier_init.release.cluster;\" ::\"r\"(full));\n"
    "  __syncthreads();\n"
    "  int across = (columns + 63) / 64, tiles = across * ((rows + 31) / 32);\n"
    "  for (int t = blockIdx.x; t < tiles; t += gridDim.x) {\n"
    "    int x = t % across * 64, y = t / across * 32;\n"
    "    if (threadIdx.x == 0) {\n"
    "      asm volatile(\"mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 4096;\" ::\"r\"(full) : \"memory\");\n"
    "      asm volatile(\"cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, "
    "{%2, %3}], [%4];\"\n"
    "                   ::\"r\"(box), \"l\"(&m), \"r\"(x), \"r\"(y), \"r\"(full) : \"memory\");\n"
    "    }\n"
    "    asm volatile(\"{.reg .pred p; wait: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @!p bra wait;}\"\n"
    "                 ::\"r\"(full), \"r\"(phase) : \"memory\");\n"
    "    phase ^= 1;\n"
    "    for (int i = threadIdx.x; i < 2048; i += 128)\n"
    "      if (y + i / 64 < rows && x + i % 64 < columns) out[(y + i / 64) * columns + x + i % 64] = ((unsigned short "
    "*)s)[i];\n"
    "    __syncthreads();\n"
    "  }\n"
    "}\n";

static void copies_through_a_tensor_map(void **state) {
  fixture *f = *state;
  if (!f->device || !f->compiler || device_get_facts(f->device)->capability_major != 9) skip();
  arena *a = f->memory;
  const char *error = NULL;
  static const char *const names[] = {"rows", "columns"};
  const size_names all = {names, 2};
  const size_expr *rows = size_name(a, 0), *columns = size_name(a, 1);
  const record_size sizes[] = {{"rows", 1}, {"columns", 8}};
  const record_tensor tensors[] = {{.name = "from",
                                    .type = "f16",
                                    .bits = 16,
                                    .access = RECORD_IN,
                                    .rank = 2,
                                    .extents = {rows, columns},
                                    .alignment = 16},
                                   {.name = "to",
                                    .type = "f16",
                                    .bits = 16,
                                    .access = RECORD_OUT,
                                    .rank = 2,
                                    .extents = {rows, columns},
                                    .alignment = 16}};
  const record_map maps[] = {{.tensor = 0,
                              .type = "f16",
                              .rank = 2,
                              .extents = {columns, rows},
                              .strides = {size_parse(a, "2*columns", all, &error)},
                              .box = {64, 32},
                              .element_strides = {1, 1},
                              .promotion_bytes = 128}};
  const record_parameter parameters[] = {{RECORD_MAP, 0}, {RECORD_TENSOR, 1}, {RECORD_SIZE, 0}, {RECORD_SIZE, 1}};
  record r = {.entry = "box",
              .target = "sm_90a",
              .version = "test",
              .source_file = "",
              .source_hash = "",
              .block_threads = 128,
              .cluster = {2, 1, 1},
              .shared_bytes = 100000,
              .pdl = true,
              .persistent = true,
              .tiles = size_parse(a, "ceildiv(rows, 32)*ceildiv(columns, 64)", all, &error),
              .size_count = 2,
              .sizes = sizes,
              .tensor_count = 2,
              .tensors = tensors,
              .map_count = 1,
              .maps = maps,
              .parameter_count = 4,
              .parameters = parameters};
  launch_kernel *k = build(f, &r, box_text);
  print_message("box: %d resident blocks\n", launch_get_facts(k)->resident_blocks);
  const int64_t shapes[][2] = {{70, 200}, {1, 8}, {3000, 1032}};
  for (int s = 0; s < 3; s++) {
    size_t count = (size_t)(shapes[s][0] * shapes[s][1]), bytes = 2 * count;
    uint16_t *from = test_malloc(bytes), *to = test_malloc(bytes);
    for (size_t i = 0; i < count; i++)
      from[i] = (uint16_t)(i * 2654435761u >> 7);
    cuda_address addresses[2] = {0, 0};
    for (int i = 0; i < 2; i++)
      check(f, device_allocate(f->device, bytes, &addresses[i], &f->message));
    check(f, device_upload(f->device, addresses[0], from, bytes, NULL, &f->message));
    check(f, device_fill(f->device, addresses[1], 0, bytes, NULL, &f->message));
    const launch_arguments arguments = {shapes[s], addresses, NULL, 0, 0};
    check(f, launch_run(k, &arguments, NULL, &f->message));
    check(f, device_download(f->device, to, addresses[1], bytes, NULL, &f->message));
    check(f, device_synchronize(f->device, NULL, &f->message));
    assert_memory_equal(from, to, bytes);
    for (int i = 0; i < 2; i++)
      device_free(f->device, addresses[i]);
    test_free(from);
    test_free(to);
  }
  launch_unload(k);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(scales_a_vector, set_up, tear_down),
      cmocka_unit_test_setup_teardown(copies_through_a_tensor_map, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
