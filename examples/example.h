/* What the examples of Matmul and Linear share: a context from the command line, device memory, numbers of type f16. */
#ifndef BITBLAS_EXAMPLE_H
#define BITBLAS_EXAMPLE_H

#include <bitblas.h>

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void check(bitblas_status status) {
  if (status == BITBLAS_OK) return;
  fprintf(stderr, "%s: %s\n", bitblas_status_name(status), bitblas_last_message());
  exit(1);
}

static inline void print_line(void *user, bitblas_log_level level, const char *line) {
  (void)user, (void)level;
  printf("  [bitblas] %s\n", line);
}

/* --device=gpu: GPU 0; otherwise the emulator. Says what it compiles and takes from the store. */
static inline bitblas_context *open_context(int argc, char **argv) {
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.device = argc > 1 && strcmp(argv[1], "--device=gpu") == 0 ? BITBLAS_DEVICE_GPU : BITBLAS_DEVICE_EMULATOR;
  config.log = print_line, config.log_level = BITBLAS_LOG_DEBUG;
  bitblas_context *context;
  check(bitblas_context_create(&config, &context));
  return context;
}

/* Device memory with a copy of `from`; bitblas_free gives it back. */
static inline void *on_device(bitblas_context *context, const void *from, size_t bytes) {
  void *to;
  check(bitblas_allocate(context, bytes, &to));
  check(bitblas_upload(context, to, from, bytes, NULL));
  check(bitblas_synchronize(context, NULL));
  return to;
}

static inline void from_device(bitblas_context *context, void *to, const void *from, size_t bytes) {
  check(bitblas_download(context, to, from, bytes, NULL));
  check(bitblas_synchronize(context, NULL));
}

/* An operand in the order that runs take, on the device. */
static inline void *transformed(bitblas_context *context, bitblas_matmul *op, bitblas_operand operand, const void *from,
                                size_t from_bytes) {
  size_t bytes;
  check(bitblas_matmul_operand_bytes(op, operand, &bytes));
  void *to = malloc(bytes);
  check(bitblas_matmul_transform(op, operand, BITBLAS_FORM_VALUES, from, from_bytes, to, bytes));
  void *device = on_device(context, to, bytes);
  free(to);
  return device;
}

/* C = A * W^T of M rows, host to host; an application has both on the device already. */
static inline void forward(bitblas_context *context, bitblas_linear *linear, int64_t M, const void *a, size_t a_bytes,
                           void *c, size_t c_bytes) {
  bitblas_linear_args args = BITBLAS_LINEAR_ARGS_INIT;
  void *A = on_device(context, a, a_bytes), *C = on_device(context, c, c_bytes);
  check(bitblas_linear_prepare(linear, &M, 1)); /* the kernel that M rows take, when it is not there yet */
  args.M = M, args.A = A, args.C = C;
  check(bitblas_linear_forward(linear, &args));
  from_device(context, c, C, c_bytes);
  check(bitblas_free(context, A));
  check(bitblas_free(context, C));
}

static inline double half_value(uint16_t f16) { /* of a normal number, or 0 */
  double magnitude = f16 & 0x7FFF ? ldexp((f16 & 1023) + 1024, (f16 >> 10 & 31) - 25) : 0;
  return f16 >> 15 ? -magnitude : magnitude;
}

/* Random f16: 2^exponent to twice that. */
static inline void random_halves(uint16_t *to, int count, int exponent) {
  for (int i = 0; i < count; i++)
    to[i] = (uint16_t)((15 + exponent) << 10 | (rand() & 1023));
}

#endif
