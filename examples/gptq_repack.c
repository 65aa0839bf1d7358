/* A layer that AutoGPTQ quantised: reads it from its file, and runs it as it is, in 4 bits.
 *
 *   gptq_repack [--device=emulator|gpu]
 *
 * A port of BitBLAS's example of repack_from_gptq. Writes gptq.safetensors into the current directory. */
#include "example.h"

enum { M = 1, IN = 1024, OUT = 1024, G = 128, GROUPS = IN / G };

static uint32_t codes[IN / 8][OUT];            /* eight along the inputs in a word, the first lowest */
static uint32_t stored_zeros[GROUPS][OUT / 8]; /* zeros less one, eight along the outputs in a word */
static uint16_t scales[GROUPS][OUT];

static double weight(int n, int k) {
  int code = codes[k / 8][n] >> k % 8 * 4 & 15, zero = (int)(stored_zeros[k / G][n / 8] >> n % 8 * 4 & 15) + 1;
  return (code - zero) * half_value(scales[k / G][n]);
}

static void write_file(const char *name) {
  char header[512];
  const size_t ends[] = {sizeof codes, sizeof codes + sizeof stored_zeros,
                         sizeof codes + sizeof stored_zeros + sizeof scales};
  int length = snprintf(header, sizeof header,
                        "{\"up.qweight\":{\"dtype\":\"I32\",\"shape\":[%d,%d],\"data_offsets\":[0,%zu]},"
                        "\"up.qzeros\":{\"dtype\":\"I32\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]},"
                        "\"up.scales\":{\"dtype\":\"F16\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]},"
                        "\"__metadata__\":{\"checkpoint_format\":\"gptq\"}}",
                        IN / 8, OUT, ends[0], GROUPS, OUT / 8, ends[0], ends[1], GROUPS, OUT, ends[1], ends[2]);
  uint64_t prefix = (uint64_t)length; /* little-endian, as this machine is */
  FILE *f = fopen(name, "wb");
  if (!f ||
      fwrite(&prefix, 8, 1, f) + fwrite(header, prefix, 1, f) + fwrite(codes, sizeof codes, 1, f) +
              fwrite(stored_zeros, sizeof stored_zeros, 1, f) + fwrite(scales, sizeof scales, 1, f) !=
          5 ||
      fclose(f))
    exit(2);
}

int main(int argc, char **argv) {
  static uint16_t a[M * IN], c[M * OUT];
  random_halves(a, M * IN, -1);
  random_halves(&scales[0][0], GROUPS * OUT, -6);
  for (int i = 0; i < IN / 8 * OUT; i++)
    codes[i / OUT][i % OUT] = (uint32_t)rand() << 16 ^ (uint32_t)rand();
  memset(stored_zeros, 0x66, sizeof stored_zeros); /* zeros of 7 */
  write_file("gptq.safetensors");

  bitblas_context *context = open_context(argc, argv);
  bitblas_checkpoint *file;
  bitblas_weight *up;
  bitblas_linear_config config = BITBLAS_LINEAR_CONFIG_INIT;
  bitblas_linear *linear;

  check(bitblas_checkpoint_open("gptq.safetensors", &file));
  check(bitblas_weight_read(file, "up", NULL, &up));
  check(bitblas_linear_config_for(up, &config)); /* f16 and u4, a scale and a zero for each 128 inputs */
  check(bitblas_linear_create(context, &config, &linear));
  check(bitblas_linear_load(linear, up, NULL));
  bitblas_weight_destroy(up);
  bitblas_checkpoint_close(file);
  forward(context, linear, M, a, sizeof a, c, sizeof c);

  double worst = 0; /* in units of what the roundings of weights and of C allow */
  for (int n = 0; n < OUT; n++) {
    double sum = 0, size = 0;
    for (int k = 0; k < IN; k++)
      sum += half_value(a[k]) * weight(n, k), size += fabs(half_value(a[k]) * weight(n, k));
    worst = fmax(worst, fabs(half_value(c[n]) - sum) / (0x1p-11 * size + 0x1p-10 * fabs(sum)));
  }
  printf("%s: C[0, 0] = %g, greatest error %.2f of what is allowed\n", bitblas_context_device_name(context),
         half_value(c[0]), worst);
  bitblas_linear_destroy(linear);
  bitblas_context_destroy(context);
  return worst <= 1 ? 0 : 1;
}
