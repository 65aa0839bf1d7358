/* What the tests of Linear share: the emulator, random numbers, a product in doubles and its rounding bounds. */
#ifndef BITBLASC_TESTS_LINEAR_H
#define BITBLASC_TESTS_LINEAR_H

#include "tests/unit/lib/checkpoint_file.h"
#include "tests/unit/temporary.h"

#include "ir/numeric.h"
#include "lib/linear.h"

enum { LINEAR_ROWS = 17 };

typedef struct linear_suite {
  bitblas_context *context;
  char folder[TEMPORARY_BYTES];
  char file[TEMPORARY_BYTES + 16]; /* that a test may write */
  uint64_t state;                  /* of the random numbers */
} linear_suite;

static inline int open_suite(void **state) {
  linear_suite *s = calloc(1, sizeof *s);
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.device = BITBLAS_DEVICE_EMULATOR;
  config.cache_directory = "";
  temporary_make(s->folder);
  snprintf(s->file, sizeof s->file, "%s/file", s->folder);
  *state = s;
  return bitblas_context_create(&config, &s->context) != BITBLAS_OK;
}

static inline int close_suite(void **state) {
  linear_suite *s = *state;
  temporary_remove(s->folder);
  bitblas_context_destroy(s->context);
  free(s);
  return 0;
}

static inline uint32_t random_bits(linear_suite *s) {
  s->state = s->state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(s->state >> 32);
}

static inline double random_in(linear_suite *s, double low, double high) {
  return low + (high - low) * random_bits(s) * 0x1p-32;
}

static inline void random_bytes(linear_suite *s, void *to, size_t bytes) {
  for (size_t i = 0; i < bytes; i++)
    ((unsigned char *)to)[i] = (unsigned char)(random_bits(s) >> 8);
}

static inline void random_numbers(linear_suite *s, bitblas_type type, double low, double high, void *to, size_t count) {
  ir_type t = lib_ir_type(type);
  memset(to, 0, ir_packed_bytes(count, ir_bits(t)));
  for (size_t i = 0; i < count; i++)
    ir_put_bits(to, i, ir_bits(t), ir_encode(t, random_in(s, low, high)));
}

static inline double number(bitblas_type type, const void *from, size_t index) {
  return ir_decode(lib_ir_type(type), ir_get_bits(from, index, bitblas_type_bits(type)));
}

static inline size_t bytes_of(bitblas_type type, int64_t count) {
  return ir_packed_bytes((size_t)count, bitblas_type_bits(type));
}

/* Runs M rows of A (host to host), with as much workspace as it asks for. */
static inline void run_linear(linear_suite *s, bitblas_linear *l, int64_t M, const void *a, size_t a_bytes, void *c,
                              size_t c_bytes) {
  bitblas_linear_args args = BITBLAS_LINEAR_ARGS_INIT;
  void *A = NULL;
  check(bitblas_linear_prepare(l, &M, 1));
  check(bitblas_linear_workspace_bytes(l, M, &args.workspace_bytes));
  check(bitblas_allocate(s->context, a_bytes, &A));
  check(bitblas_allocate(s->context, c_bytes, &args.C));
  check(bitblas_allocate(s->context, args.workspace_bytes, &args.workspace));
  if (args.workspace) memset(args.workspace, 0, args.workspace_bytes);
  memcpy(A, a, a_bytes);
  memset(args.C, 0x5A, c_bytes);
  args.M = M, args.A = A;
  check(bitblas_linear_forward(l, &args));
  check(bitblas_synchronize(s->context, NULL));
  memcpy(c, args.C, c_bytes);
  check(bitblas_free(s->context, A));
  check(bitblas_free(s->context, args.C));
  check(bitblas_free(s->context, args.workspace));
}

static inline double activated(bitblas_activation activation, double x) {
  return activation == BITBLAS_ACTIVATION_RELU   ? fmax(x, 0)
         : activation == BITBLAS_ACTIVATION_GELU ? x * (1 + erf(x / sqrt(2))) / 2
         : activation == BITBLAS_ACTIVATION_SILU ? x / (1 + exp(-x))
                                                 : x;
}

/* Runs M random rows, and compares them with sums of doubles over w [N, K] and bias (elements of out_dtype, or NULL).
 * `roundings` are those of a weight on its way into the product; no element may be further away than they, the sum in f32
 * and the rounding of C allow. */
static inline void expect_product(linear_suite *s, bitblas_linear *l, int64_t M, const float *w, const void *bias,
                                  double roundings) {
  const bitblas_matmul_config *c = &l->matmul->config;
  bool whole = ir_is_integer(lib_ir_type(c->A_dtype));
  size_t a_bytes = bytes_of(c->A_dtype, M * c->K), c_bytes = bytes_of(c->out_dtype, M * c->N);
  unsigned char *a = calloc(1, a_bytes), *is = malloc(c_bytes);
  double unit = c->A_dtype == BITBLAS_TYPE_BF16 ? 0x1p-8 : 0x1p-11, top = whole ? 120 : 1;
  double out = c->out_dtype == BITBLAS_TYPE_F16    ? 0x1p-10
               : c->out_dtype == BITBLAS_TYPE_BF16 ? 0x1p-7
               : c->out_dtype == BITBLAS_TYPE_F32  ? 0x1p-23
                                                   : 0;
  random_numbers(s, c->A_dtype, -top, top, a, (size_t)(M * c->K));
  run_linear(s, l, M, a, a_bytes, is, c_bytes);
  for (int64_t m = 0; m < M; m++)
    for (int64_t n = 0; n < c->N; n++) {
      double sum = bias ? number(c->out_dtype, bias, (size_t)n) : 0, size = fabs(sum);
      for (int64_t k = 0; k < c->K; k++) {
        double term = number(c->A_dtype, a, (size_t)(m * c->K + k)) * (double)w[n * c->K + k];
        sum += term, size += fabs(term);
      }
      double wanted = activated(c->activation, sum), got = number(c->out_dtype, is, (size_t)(m * c->N + n));
      double sums = whole ? (c->with_scaling ? 0x1p-20 : 0) : (double)c->K * 0x1p-24;
      double allowed = 1.2 * ((roundings * unit + sums) * size + out * fabs(wanted)) + (out > 0 ? 0x1p-20 : 0);
      if (!(fabs(got - wanted) <= allowed))
        fail_msg("M %d: C[%d, %d] is %.9g and should be %.9g within %.3g", (int)M, (int)m, (int)n, got, wanted,
                 allowed);
    }
  free(a);
  free(is);
}

/* Both linears give the same bits for the same random rows. */
static inline void expect_same(linear_suite *s, bitblas_linear *a, bitblas_linear *b, int64_t M) {
  const bitblas_matmul_config *c = &a->matmul->config;
  size_t a_bytes = bytes_of(c->A_dtype, M * c->K), c_bytes = bytes_of(c->out_dtype, M * c->N);
  unsigned char *rows = calloc(1, a_bytes), *one = malloc(c_bytes), *other = malloc(c_bytes);
  random_numbers(s, c->A_dtype, -1, 1, rows, (size_t)(M * c->K));
  run_linear(s, a, M, rows, a_bytes, one, c_bytes);
  run_linear(s, b, M, rows, a_bytes, other, c_bytes);
  assert_memory_equal(one, other, c_bytes);
  free(rows);
  free(one);
  free(other);
}

#endif
