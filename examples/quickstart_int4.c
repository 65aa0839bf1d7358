/* Mixed precision in a few calls: C[1, 1024] = A[1, 1024] * W[1024, 1024]^T, A of f16, W of signed 4-bit integers.
 *
 *   quickstart_int4 [--device=emulator|gpu]
 *
 * A port of BitBLAS's quick start. */
#include "example.h"

enum { M = 1, N = 1024, K = 1024 };

int main(int argc, char **argv) {
  static uint16_t a[M * K], c[M * N];
  static int8_t w[N * K]; /* one number a byte */
  random_halves(a, M * K, -1);
  for (int i = 0; i < N * K; i++)
    w[i] = (int8_t)(rand() % 16 - 8);

  bitblas_context *context = open_context(argc, argv);
  bitblas_matmul_config config = BITBLAS_MATMUL_CONFIG_INIT;
  config.M = M, config.N = N, config.K = K;
  config.A_dtype = BITBLAS_TYPE_F16, config.W_dtype = BITBLAS_TYPE_I4;
  bitblas_matmul *matmul;
  check(bitblas_matmul_create(context, &config, &matmul));
  check(bitblas_matmul_prepare(matmul, NULL, 0)); /* compiles, or takes the kernel from the store */

  bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
  void *A = on_device(context, a, sizeof a), *C = on_device(context, c, sizeof c);
  void *W = transformed(context, matmul, BITBLAS_OPERAND_WEIGHT, w, sizeof w); /* once, when a model is loaded */
  args.A = A, args.W = W, args.C = C;
  check(bitblas_matmul_run(matmul, &args));
  from_device(context, c, C, sizeof c);

  double worst = 0;
  for (int n = 0; n < N; n++) {
    double sum = 0;
    for (int k = 0; k < K; k++)
      sum += half_value(a[k]) * w[n * K + k];
    worst = fmax(worst, fabs(half_value(c[n]) - sum) - 0x1p-10 * fabs(sum)); /* beyond the rounding to f16 */
  }
  printf("%s: C[0, 0] = %g, greatest error beyond its rounding %.2g\n", bitblas_context_device_name(context),
         half_value(c[0]), worst);
  void *memory[] = {A, W, C};
  for (int i = 0; i < 3; i++)
    check(bitblas_free(context, memory[i]));
  bitblas_matmul_destroy(matmul);
  bitblas_context_destroy(context);
  return worst < 1e-2 ? 0 : 1;
}
