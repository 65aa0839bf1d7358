/* A kernel of your own, compiled while the program runs: y = x * sigmoid(x), row by row, scaled by g.
 *
 *   custom_kernel [--device=emulator|gpu]
 *
 * The second run of the program takes the kernel from the store ('bitblasc cache ls') instead of compiling it. */
#include <bitblas.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char text[] = "kernel gate(X: f32[M, N], G: f32[N], Y: out f32[M, N])\n"
                           "  where N % 4 == 0\n"
                           "  grid (bm in ceildiv(M, 16), bn in ceildiv(N, 64))\n"
                           "{\n"
                           "  tile x: f32[16, 64], g: f32[64]\n"
                           "  copy X[bm*16, bn*64] -> x\n"
                           "  copy G[bn*64] -> g\n"
                           "  x = x / (1 + exp2(x * -1.4426950408889634)) * g[_, :]\n"
                           "  copy x -> Y[bm*16, bn*64]\n"
                           "}\n";

static void check(bitblas_status status) {
  if (status == BITBLAS_OK) return;
  fprintf(stderr, "%s: %s\n", bitblas_status_name(status), bitblas_last_message());
  exit(1);
}

static void print_line(void *user, bitblas_log_level level, const char *line) {
  (void)user, (void)level;
  printf("  [bitblas] %s\n", line);
}

int main(int argc, char **argv) {
  enum { M = 50, N = 100 };
  static float x[M * N], g[N], y[M * N];
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.device = argc > 1 && strcmp(argv[1], "--device=gpu") == 0 ? BITBLAS_DEVICE_GPU : BITBLAS_DEVICE_EMULATOR;
  config.log = print_line, config.log_level = BITBLAS_LOG_DEBUG;
  bitblas_context *context;
  check(bitblas_context_create(&config, &context));

  const bitblas_define defines[] = {{"N", "100"}}; /* compiled in; M stays open */
  bitblas_kernel_config source = BITBLAS_KERNEL_CONFIG_INIT;
  source.text = text;
  source.path = "gate.tl"; /* its name in messages */
  source.defines = defines, source.define_count = 1;
  bitblas_kernel *kernel;
  check(bitblas_kernel_create(context, &source, &kernel));

  for (int i = 0; i < M * N; i++) {
    x[i] = (float)(i % 37) / 4 - 4;
    g[i % N] = 1 + (float)(i % N) / N;
  }
  const bitblas_tensor matrix = {NULL, BITBLAS_TYPE_F32, 2, {M, N}, {0}}, row = {NULL, BITBLAS_TYPE_F32, 1, {N}, {0}};
  bitblas_tensor tensors[3] = {matrix, row, matrix};
  const size_t bytes[3] = {sizeof x, sizeof g, sizeof y};
  const void *const values[3] = {x, g, y};
  for (int i = 0; i < 3; i++) {
    check(bitblas_allocate(context, bytes[i], &tensors[i].data));
    check(bitblas_upload(context, tensors[i].data, values[i], bytes[i], NULL));
  }
  bitblas_launch launch = BITBLAS_LAUNCH_INIT;
  launch.tensors = tensors, launch.tensor_count = 3;
  check(bitblas_kernel_run(kernel, &launch));
  check(bitblas_download(context, y, tensors[2].data, sizeof y, NULL));
  check(bitblas_synchronize(context, NULL));

  double worst = 0;
  for (int i = 0; i < M * N; i++)
    worst = fmax(worst, fabs(y[i] - x[i] / (1 + exp(-x[i])) * g[i % N]));
  printf("%s, %s: greatest error %.2g\n", bitblas_context_device_name(context), bitblas_context_target(context), worst);
  for (int i = 0; i < 3; i++)
    check(bitblas_free(context, tensors[i].data));
  bitblas_kernel_destroy(kernel);
  bitblas_context_destroy(context);
  return worst < 1e-5 ? 0 : 1;
}
