/* One program, two devices: what the GPU computes is what the emulator computes. Skipped where there is no GPU. */
#include "tests/unit/temporary.h"

#include "include/bitblas.h"

#include <time.h>

static const char text[] = "kernel product(A: f16[M, K], B: f16[N, K], C: out f32[M, N])\n"
                           "  where N % 8 == 0, K % 8 == 0\n"
                           "  tune BM = 128, BN = 128, BK = 64, stages = 3\n"
                           "  grid (bn in ceildiv(N, BN), bm in ceildiv(M, BM))\n"
                           "{\n"
                           "  shared As: f16[BM, BK], Bs: f16[BN, BK]\n"
                           "  tile acc: f32[BM, BN] = 0\n"
                           "  for k in pipelined(ceildiv(K, BK), stages = stages) {\n"
                           "    copy A[bm*BM, k*BK] -> As\n"
                           "    copy B[bn*BN, k*BK] -> Bs\n"
                           "    acc += dot(As, Bs^T)\n"
                           "  }\n"
                           "  copy acc -> C[bm*BM, bn*BN]\n"
                           "}\n";

enum { M = 77, N = 136, K = 200 };

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void check(bitblas_status status) {
  if (status != BITBLAS_OK) fail_msg("%s: %s", bitblas_status_name(status), bitblas_last_message());
}

/* Small whole numbers as f16, so that every sum is exact. */
static uint16_t small_half(unsigned i) {
  static const uint16_t values[] = {0x0000, 0x3c00, 0x4000, 0xbc00, 0x4200, 0xc000, 0xc200};
  return values[i * 2654435761u % 4093 % 7];
}

static void compute(bitblas_context *context, const bitblas_kernel *kernel, float *c) {
  static uint16_t a[M * K], b[N * K];
  for (unsigned i = 0; i < M * K; i++)
    a[i] = small_half(i);
  for (unsigned i = 0; i < N * K; i++)
    b[i] = small_half(i + 12345);
  bitblas_tensor tensors[] = {{NULL, BITBLAS_TYPE_F16, 2, {M, K}, {0}},
                              {NULL, BITBLAS_TYPE_F16, 2, {N, K}, {0}},
                              {NULL, BITBLAS_TYPE_F32, 2, {M, N}, {0}}};
  const void *const values[] = {a, b, c};
  const size_t bytes[] = {sizeof a, sizeof b, sizeof(float) * M * N};
  for (int i = 0; i < 3; i++) {
    check(bitblas_allocate(context, bytes[i], &tensors[i].data));
    check(bitblas_upload(context, tensors[i].data, values[i], bytes[i], NULL));
  }
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = tensors;
  launch.tensor_count = 3;
  check(bitblas_kernel_run(kernel, &launch));
  check(bitblas_download(context, c, tensors[2].data, bytes[2], NULL));
  check(bitblas_synchronize(context, NULL));
  tensors[2].data = (char *)tensors[2].data + 2;
  assert_int_equal(bitblas_kernel_run(kernel, &launch), BITBLAS_ERROR_ALIGNMENT);
  tensors[2].data = (char *)tensors[2].data - 2;
  for (int i = 0; i < 3; i++)
    check(bitblas_free(context, tensors[i].data));
}

static void computes_the_same_on_both(void **state) {
  (void)state;
  char directory[TEMPORARY_BYTES];
  temporary_make(directory);
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.cache_directory = directory;
  bitblas_context *gpu = NULL, *emulator = NULL;
  bitblas_status status = bitblas_context_create(&config, &gpu);
  if (status != BITBLAS_OK) {
    assert_true(status == BITBLAS_ERROR_NO_DRIVER || status == BITBLAS_ERROR_NO_DEVICE);
    assert_true(*bitblas_last_message());
    temporary_remove(directory);
    skip();
  }
  config.device = BITBLAS_DEVICE_EMULATOR;
  config.target = bitblas_context_target(gpu);
  check(bitblas_context_create(&config, &emulator));
  bitblas_kernel_config source = BITBLAS_KERNEL_CONFIG_INIT;
  source.text = text;
  bitblas_kernel *kernel[3] = {NULL};
  static float c[3][M * N];
  for (int i = 0; i < 3; i++) {
    bitblas_context *context = i == 2 ? emulator : gpu;
    double start = now_ms();
    status = bitblas_kernel_create(context, &source, &kernel[i]);
    if (status == BITBLAS_ERROR_NO_NVRTC) skip();
    check(status);
    print_message("%s: %s ready in %.1f ms\n", bitblas_context_device_name(context), i == 1 ? "again" : "first",
                  now_ms() - start);
    compute(context, kernel[i], c[i]);
    bitblas_kernel_destroy(kernel[i]);
  }
  for (int i = 0; i < M * N; i++)
    assert_true(c[0][i] == c[1][i] && c[0][i] == c[2][i]);
  bitblas_context_destroy(gpu);
  bitblas_context_destroy(emulator);
  temporary_remove(directory);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(computes_the_same_on_both)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
