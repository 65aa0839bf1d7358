/* A layer of a model: its weight is loaded once, kept in a file and loaded again, and multiplies batches of any size.
 *
 *   linear [--device=emulator|gpu]
 *
 * A port of BitBLAS's example of Linear. Writes linear.safetensors into the current directory. */
#include "example.h"

enum { IN = 1024, OUT = 1024, MOST = 3 };

static bitblas_linear *create(bitblas_context *context) {
  static const int64_t opt_M[] = {1, 16, 32, 64, 128}; /* a kernel for each; 3 rows take the one for 16 */
  bitblas_linear_config config = BITBLAS_LINEAR_CONFIG_INIT;
  bitblas_linear *linear;
  config.in_features = IN, config.out_features = OUT;
  config.A_dtype = BITBLAS_TYPE_F16, config.W_dtype = BITBLAS_TYPE_I4;
  config.opt_M = opt_M, config.opt_M_count = 5;
  check(bitblas_linear_create(context, &config, &linear));
  return linear;
}

static double worst_error(int M, const uint16_t *a, const int8_t *w, const uint16_t *c) {
  double worst = 0; /* beyond the rounding to f16 */
  for (int m = 0; m < M; m++)
    for (int n = 0; n < OUT; n++) {
      double sum = 0;
      for (int k = 0; k < IN; k++)
        sum += half_value(a[m * IN + k]) * w[n * IN + k];
      worst = fmax(worst, fabs(half_value(c[m * OUT + n]) - sum) - 0x1p-10 * fabs(sum));
    }
  return worst;
}

int main(int argc, char **argv) {
  static uint16_t a[MOST * IN], c[MOST * OUT], again[MOST * OUT];
  static int8_t weight[OUT * IN]; /* one number a byte */
  static const char file[] = "linear.safetensors";
  random_halves(a, MOST * IN, -1);
  for (int i = 0; i < OUT * IN; i++)
    weight[i] = (int8_t)(rand() % 16 - 8);

  bitblas_context *context = open_context(argc, argv);
  bitblas_linear *linear = create(context), *restored = create(context);
  bitblas_linear_values values = BITBLAS_LINEAR_VALUES_INIT;
  values.weight = weight;
  check(bitblas_linear_load_values(linear, &values)); /* puts it into the kernels' order, on the device */
  check(bitblas_linear_save(linear, file));
  check(bitblas_linear_load_file(restored, file));

  double worst = 0;
  int differ = 0;
  for (int M = 1; M <= MOST; M += 2) {
    forward(context, linear, M, a, (size_t)M * IN * 2, c, (size_t)M * OUT * 2);
    forward(context, restored, M, a, (size_t)M * IN * 2, again, (size_t)M * OUT * 2);
    worst = fmax(worst, worst_error(M, a, weight, c));
    differ += memcmp(c, again, (size_t)M * OUT * 2) != 0;
  }
  printf("%s: C[0, 0] = %g, greatest error beyond its rounding %.2g; from the file: %s\n",
         bitblas_context_device_name(context), half_value(c[0]), worst, differ ? "other numbers" : "the same bits");
  bitblas_linear_destroy(linear);
  bitblas_linear_destroy(restored);
  bitblas_context_destroy(context);
  return worst < 1e-2 && !differ ? 0 : 1;
}
