/* Unsigned 4-bit weights with a scale and a zero for each 128 of them: w = (code - zero) * scale.
 *
 *   quickstart_scaling_zeros [--device=emulator|gpu]
 *
 * A port of BitBLAS's second quick start. */
#include "example.h"

enum { M = 1, N = 1024, K = 1024, G = 128, GROUPS = K / G };

int main(int argc, char **argv) {
  static uint16_t a[M * K], c[M * N], scales[N * GROUPS], zeros[N * GROUPS];
  static uint8_t codes[N * K];
  random_halves(a, M * K, -1);
  random_halves(scales, N * GROUPS, -4);
  random_halves(zeros, N * GROUPS, 2); /* 4 to 8, and no whole numbers */
  for (int i = 0; i < N * K; i++)
    codes[i] = (uint8_t)(rand() % 16);

  bitblas_context *context = open_context(argc, argv);
  bitblas_matmul_config config = BITBLAS_MATMUL_CONFIG_INIT;
  config.M = M, config.N = N, config.K = K;
  config.W_dtype = BITBLAS_TYPE_U4;
  config.group_size = G, config.with_scaling = 1;
  config.with_zeros = 1, config.zeros_mode = BITBLAS_ZEROS_ORIGINAL;
  bitblas_matmul *matmul;
  check(bitblas_matmul_create(context, &config, &matmul));
  check(bitblas_matmul_prepare(matmul, NULL, 0));

  bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
  void *A = on_device(context, a, sizeof a), *C = on_device(context, c, sizeof c);
  void *W = transformed(context, matmul, BITBLAS_OPERAND_WEIGHT, codes, sizeof codes);
  void *S = transformed(context, matmul, BITBLAS_OPERAND_SCALES, scales, sizeof scales);
  void *Z = transformed(context, matmul, BITBLAS_OPERAND_ZEROS, zeros, sizeof zeros);
  args.A = A, args.W = W, args.scales = S, args.zeros = Z, args.C = C;
  check(bitblas_matmul_run(matmul, &args));
  from_device(context, c, C, sizeof c);

  double worst = 0; /* in units of what the roundings of code - zero, of the product and of C allow */
  for (int n = 0; n < N; n++) {
    double sum = 0, size = 0;
    for (int k = 0; k < K; k++) {
      int group = n * GROUPS + k / G;
      double term = half_value(a[k]) * (codes[n * K + k] - half_value(zeros[group])) * half_value(scales[group]);
      sum += term, size += fabs(term);
    }
    worst = fmax(worst, fabs(half_value(c[n]) - sum) / (2 * 0x1p-11 * size + 0x1p-10 * fabs(sum)));
  }
  printf("%s: C[0, 0] = %g, greatest error %.2f of what is allowed\n", bitblas_context_device_name(context),
         half_value(c[0]), worst);
  void *memory[] = {A, W, S, Z, C};
  for (int i = 0; i < 5; i++)
    check(bitblas_free(context, memory[i]));
  bitblas_matmul_destroy(matmul);
  bitblas_context_destroy(context);
  return worst <= 1 ? 0 : 1;
}
