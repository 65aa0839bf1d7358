/* Attention as BitBLAS's own example: K in two layouts, with and without a causal mask, compared with doubles.
 *   flash_atten [--device=emulator|gpu]     the emulator takes a quarter of the sequence */
#include <bitblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
enum { HEADS = 4, DIM = 256, LONGEST = 256, COUNT = LONGEST * HEADS * DIM };
static void check(bitblas_status status) {
  if (status == BITBLAS_OK) return;
  fprintf(stderr, "%s: %s\n", bitblas_status_name(status), bitblas_last_message());
  exit(1);
}
static double value_of(uint16_t f16) {
  return ldexp((f16 & 1023) + 1024, (f16 >> 10 & 31) - 25) * (f16 >> 15 ? -1 : 1);
}
static uint16_t random_half(void) { /* between 1/8 and 1/2, or the negative */
  return (uint16_t)((rand() & 1) << 15 | (12 + rand() % 2) << 10 | (rand() & 1023));
}
/* The greatest error of O. In ntn, K is [DIM, HEADS, length]. */
static double worst_error(uint16_t host[4][COUNT], int length, int ntn, int causal) {
  double worst = 0, weights[LONGEST];
  for (int row = 0; row < length * HEADS; row++) {
    int head = row % HEADS, keys = causal ? row / HEADS + 1 : length;
    double sum = 0;
    for (int key = 0; key < keys; sum += weights[key++]) {
      double score = 0;
      for (int d = 0; d < DIM; d++)
        score += value_of(host[0][row * DIM + d]) *
                 value_of(host[1][ntn ? (d * HEADS + head) * length + key : (key * HEADS + head) * DIM + d]);
      weights[key] = exp(score / sqrt(DIM));
    }
    for (int d = 0; d < DIM; d++) {
      double wanted = 0;
      for (int key = 0; key < keys; key++)
        wanted += weights[key] / sum * value_of(host[2][(key * HEADS + head) * DIM + d]);
      worst = fmax(worst, fabs(value_of(host[3][row * DIM + d]) - wanted));
    }
  }
  return worst;
}
int main(int argc, char **argv) {
  static uint16_t host[4][COUNT]; /* Q, K, V, O */
  bitblas_context_config where = BITBLAS_CONTEXT_CONFIG_INIT;
  where.device = argc > 1 && strcmp(argv[1], "--device=gpu") == 0 ? BITBLAS_DEVICE_GPU : BITBLAS_DEVICE_EMULATOR;
  const int length = where.device == BITBLAS_DEVICE_GPU ? LONGEST : LONGEST / 4;
  double worst = 0;
  bitblas_context *context;
  check(bitblas_context_create(&where, &context));
  for (int ntn = 0, causal = 0; ntn < 2; ntn += causal, causal ^= 1) {
    bitblas_flash_atten_config config = BITBLAS_FLASH_ATTEN_CONFIG_INIT;
    config.batch = 1, config.heads = HEADS, config.seq_len = config.kv_seq_len = length, config.dim = DIM;
    config.layout = ntn ? BITBLAS_FLASH_ATTEN_NTN : BITBLAS_FLASH_ATTEN_NNN, config.causal = causal;
    bitblas_flash_atten *op;
    check(bitblas_flash_atten_create(context, &config, &op));
    check(bitblas_flash_atten_prepare(op)); /* compiles, or takes the kernel from the store */
    bitblas_flash_atten_args args = BITBLAS_FLASH_ATTEN_ARGS_INIT;
    bitblas_tensor *tensors[4] = {&args.Q, &args.K, &args.V, &args.O};
    for (int i = 0; i < 4; i++) {
      *tensors[i] = (bitblas_tensor){NULL, BITBLAS_TYPE_F16, 4, {1, length, HEADS, DIM}, {0}};
      for (int e = 0; e < COUNT; e++)
        host[i][e] = random_half();
      check(bitblas_allocate(context, sizeof host[i], &tensors[i]->data));
      check(bitblas_upload(context, tensors[i]->data, host[i], sizeof host[i], NULL));
    }
    if (ntn) args.K.shape[1] = DIM, args.K.shape[3] = length;
    check(bitblas_flash_atten_run(op, &args)); /* sizes like these need no workspace */
    check(bitblas_download(context, host[3], args.O.data, sizeof host[3], NULL));
    check(bitblas_synchronize(context, NULL));
    const double error = worst_error(host, length, ntn, causal);
    printf("s%d d%d %s%s: greatest error %.2g\n", length, DIM, ntn ? "ntn" : "nnn", causal ? " causal" : "", error);
    worst = fmax(worst, error);
    for (int i = 0; i < 4; i++)
      check(bitblas_free(context, tensors[i]->data));
    bitblas_flash_atten_destroy(op);
  }
  bitblas_context_destroy(context);
  return worst < 1e-3 ? 0 : 1;
}
