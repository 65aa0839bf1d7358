/* The numeric test cases of BitBLAS for Matmul and Linear, through this library.
 *
 *   check_cases [--device=emulator|gpu] [--original-sizes] [--only=TEXT] [--list] [--threads=N]
 *
 * Each case runs twice: with data as BitBLAS draws it (codes of the lower half, zeros in the middle) at its own tolerance,
 * and with codes of the full range, random scales and zeros; both times no element may be further off than the roundings
 * allow. On a GPU at the sizes of the original, on the emulator at smaller ones with the same remainders. Then come the
 * known defects of the original, by name. Ends with `N passed, N failed`.
 *
 * The cases are those below testing/ in BitBLAS 0.1, its quick start and its linear layer; cases that differ in nothing
 * but the schedule are one here. */
#include "tests/library/programs/numbers.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* -- The cases ----------------------------------------------------------------------------------------------------- */

/* Of A: +-1/2, 0 to 1, +-1, -2 to 2 in whole numbers, N(0, 1); of a layer, whose weight is +-1 / sqrt(K); the identity. */
typedef enum range { HALVES, POSITIVE, UNIT, WHOLE, NORMAL, LAYER, ONES } range;

typedef struct row {
  const char *test, *what; /* A x W, type of sums / of C, M x N x K; s: scales, gN, z:o r q: zeros, Linear, ... */
  double relative, absolute, exempt; /* the original's tolerance, and the share that may miss it. 0: it prints only */
  range range;
} row;

static const row rows[] = {
#include "tests/library/programs/cases.def"
};
enum { ROWS = sizeof rows / sizeof *rows };

typedef struct problem {
  const row *row;
  bitblas_context *context;
  bitblas_matmul_config c;
  int64_t M, groups;
  bool linear, strict;
  uint64_t state;
  double *a, *w; /* [M, K], [N, K]: what they stand for */
  double *bias;
  uint8_t *a_data, *w_data, *s_data, *z_data, *b_data; /* as the library takes them: numbers, one a byte where narrow */
} problem;

static bitblas_type type_named(const char *name, size_t length) {
  for (int t = BITBLAS_TYPE_I1; t <= BITBLAS_TYPE_PRED; t++)
    if (strlen(bitblas_type_name((bitblas_type)t)) == length &&
        strncmp(bitblas_type_name((bitblas_type)t), name, length) == 0)
      return (bitblas_type)t;
  printf("no type %.*s\n", (int)length, name);
  exit(2);
}

/* A smaller extent with the same remainder. */
static int64_t scaled(int64_t extent, int64_t least, int64_t unit) {
  return extent <= least + unit ? extent : least + extent % unit;
}

static const int64_t buckets[] = {1, 16, 32, 64, 128};

/* Reads a row's words. */
static void parse(problem *p, bool small) {
  const char *at = p->row->what;
  bitblas_matmul_config *c = &p->c;
  *c = (bitblas_matmul_config)BITBLAS_MATMUL_CONFIG_INIT;
  size_t length = strcspn(at, "x");
  c->A_dtype = type_named(at, length);
  at += length + 1, length = strcspn(at, " ");
  c->W_dtype = type_named(at, length);
  at += length + 1, length = strcspn(at, "/");
  c->accum_dtype = type_named(at, length);
  at += length + 1, length = strcspn(at, " ");
  c->out_dtype = type_named(at, length);
  at += length;
  if (sscanf(at, " %" SCNd64 "x%" SCNd64 "x%" SCNd64, &p->M, &c->N, &c->K) != 3) exit(2);
  at += 1 + strcspn(at + 1, " ");
  bool dynamic = false;
  while (*at) {
    at += strspn(at, " ");
    length = strcspn(at, " ");
#define IS(word) (length == strlen(word) && strncmp(at, word, length) == 0)
    if (IS("s")) c->with_scaling = 1;
    if (*at == 'g') c->group_size = atoi(at + 1);
    if (*at == 'z') c->with_zeros = 1;
    if (IS("z:r")) c->zeros_mode = BITBLAS_ZEROS_RESCALE;
    if (IS("z:q")) c->zeros_mode = BITBLAS_ZEROS_QUANTIZED;
    if (IS("bias")) c->with_bias = 1;
    if (IS("fast")) c->fast_decoding = BITBLAS_FAST_DECODING_ON;
    if (IS("naive")) c->fast_decoding = BITBLAS_FAST_DECODING_OFF;
    if (IS("nn")) c->layout = BITBLAS_LAYOUT_NN;
    if (IS("tn")) c->layout = BITBLAS_LAYOUT_TN;
    if (IS("Linear")) p->linear = true;
    if (IS("dynamic")) dynamic = true;
    at += length;
  }
  if (small) {
    int64_t unit = c->group_size > 0 ? c->group_size : 64;
    p->M = scaled(p->M, 16, 16), c->N = scaled(c->N, 64, 64), c->K = scaled(c->K, 2 * unit, unit);
  }
  if (p->row->range == ONES) p->M = c->K;
  if (p->linear || dynamic)
    c->opt_M = buckets, c->opt_M_count = 5;
  else
    c->M = p->M;
  p->groups = c->group_size > 0 ? c->K / c->group_size : 1;
}

/* -- Data ---------------------------------------------------------------------------------------------------------- */

static uint32_t random_bits(problem *p) {
  p->state = p->state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(p->state >> 33);
}

static double uniform(problem *p, double low, double high) {
  return low + (high - low) * (random_bits(p) >> 7) * 0x1p-24;
}

static double drawn(problem *p) {
  double sum = 0;
  switch (p->row->range) {
  case HALVES:
    return uniform(p, -0.5, 0.5);
  case POSITIVE:
    return uniform(p, 0, 1);
  case WHOLE:
    return random_bits(p) % 5 - 2.0;
  case NORMAL:
  case LAYER:
    for (int i = 0; i < 12; i++)
      sum += uniform(p, -0.5, 0.5);
    return sum;
  default:
    return uniform(p, -1, 1);
  }
}

/* The code of the number nearest to x, of a type of 8 bits or more; integers are whole numbers of x * 8. */
static uint32_t nearest(bitblas_type type, double x) {
  if (bitblas_type_bits(type) >= 16) return is_integer(type) ? (uint32_t)(int32_t)lrint(x * 8) : code_of(type, x);
  if (is_integer(type)) return (uint32_t)lrint(x * 8) & ((1u << bitblas_type_bits(type)) - 1);
  uint32_t best = 0;
  for (uint32_t code = 0; code < 256; code++) {
    double value = value_of(type, code);
    bool finite = type == T(F8E4M3) ? (code & 0x7F) != 0x7F : type != T(F8E5M2) || (code & 0x7F) < 0x7C;
    if (finite && fabs(value - x) < fabs(value_of(type, best) - x)) best = code;
  }
  return best;
}

/* A code as the library is given it: one number a byte where it is narrow, else the element. */
static void put(uint8_t *to, size_t at, bitblas_type type, uint32_t code) {
  int bits = bitblas_type_bits(type);
  if (bits >= 8)
    put_bits(to, at, bits, code);
  else
    to[at] = is_integer(type) ? (uint8_t)(int)value_of(type, code) : (uint8_t)code;
}

static uint32_t random_code(problem *p, bitblas_type type, bool half, double x) {
  int bits = bitblas_type_bits(type);
  if (bits >= 16) return code_of(type, x);
  for (;;) {
    uint32_t code = random_bits(p) >> 4 & ((1u << bits) - 1);
    if (half && bits > 1) code &= (1u << (bits - 1)) - 1;
    if (bits < 8 || is_integer(type)) return code;
    if (fabs(value_of(type, code)) <= 2 && (code & 0x7F) < 0x7C) return code;
  }
}

static bitblas_type scale_type(const problem *p) {
  return bitblas_type_bits(p->c.A_dtype) == 16 ? p->c.A_dtype : T(F32);
}

/* The zero of a group: its code or element, and what it stands for. */
static double make_zero(problem *p, size_t at, int64_t n, int64_t g) {
  const bitblas_matmul_config *c = &p->c;
  double middle = ldexp(1, bitblas_type_bits(c->W_dtype) - 1);
  if (!c->with_zeros) return 0;
  if (c->zeros_mode == BITBLAS_ZEROS_QUANTIZED) {
    uint32_t code = p->strict ? random_code(p, c->W_dtype, false, 0) : (uint32_t)middle;
    put(p->z_data, (size_t)(g * c->N + n), c->W_dtype, code);
    return value_of(c->W_dtype, code);
  }
  double z = !p->strict                               ? middle
             : c->zeros_mode == BITBLAS_ZEROS_RESCALE ? uniform(p, -1, 1) /* also below 0 */
                                                      : uniform(p, 0, 2 * middle);
  uint32_t code = code_of(scale_type(p), z);
  put_bits(p->z_data, at, bitblas_type_bits(scale_type(p)), code);
  return value_of(scale_type(p), code);
}

static void make_weight(problem *p) {
  const bitblas_matmul_config *c = &p->c;
  int64_t size = c->K / p->groups;
  double most = 1 / sqrt((double)c->K);
  bool tb = c->layout == BITBLAS_LAYOUT_NT;
  for (int64_t n = 0; n < c->N; n++)
    for (int64_t g = 0; g < p->groups; g++) {
      size_t at = (size_t)(n * p->groups + g);
      double s = p->strict ? uniform(p, 0.5, 2) / sqrt((double)c->K) : uniform(p, 0, 1);
      uint32_t code = code_of(scale_type(p), s);
      put_bits(p->s_data, at, bitblas_type_bits(scale_type(p)), code);
      s = c->with_scaling ? value_of(scale_type(p), code) : 1;
      double z = make_zero(p, at, n, g);
      for (int64_t k = g * size; k < (g + 1) * size; k++) {
        code = random_code(p, c->W_dtype, !p->strict, p->row->range == LAYER ? uniform(p, -most, most) : drawn(p));
        put(p->w_data, (size_t)(tb ? n * c->K + k : k * c->N + n), c->W_dtype, code);
        double q = value_of(c->W_dtype, code);
        p->w[n * c->K + k] = c->zeros_mode == BITBLAS_ZEROS_RESCALE ? q * s - z : (q - z) * s;
      }
    }
}

static void make_data(problem *p) {
  const bitblas_matmul_config *c = &p->c;
  bool ta = c->layout == BITBLAS_LAYOUT_TN;
  size_t weights = (size_t)(c->N * c->K), rows_of_a = (size_t)(p->M * c->K), groups = (size_t)(c->N * p->groups);
  p->a = malloc(rows_of_a * sizeof *p->a), p->w = malloc(weights * sizeof *p->w);
  p->bias = calloc((size_t)c->N, sizeof *p->bias);
  p->a_data = calloc(rows_of_a + 64, 4), p->w_data = calloc(weights + 64, 4), p->s_data = calloc(groups + 64, 4);
  p->z_data = calloc(groups + 64, 4), p->b_data = calloc((size_t)c->N + 64, 4);
  make_weight(p);
  for (int64_t m = 0; m < p->M; m++)
    for (int64_t k = 0; k < c->K; k++) {
      uint32_t code =
          nearest(c->A_dtype, p->row->range == ONES ? (m == k) * (is_integer(c->A_dtype) ? 0.125 : 1) : drawn(p));
      put_bits(p->a_data, (size_t)(ta ? k * p->M + m : m * c->K + k), bitblas_type_bits(c->A_dtype), code);
      p->a[m * c->K + k] = value_of(c->A_dtype, code);
    }
  for (int64_t n = 0; n < c->N && c->with_bias; n++) {
    uint32_t code = nearest(c->out_dtype, uniform(p, -1, 1));
    put_bits(p->b_data, (size_t)n, bitblas_type_bits(c->out_dtype), code);
    p->bias[n] = value_of(c->out_dtype, code);
  }
}

static void free_data(problem *p) {
  void *all[] = {p->a, p->w, p->bias, p->a_data, p->w_data, p->s_data, p->z_data, p->b_data};
  for (int i = 0; i < 8; i++)
    free(all[i]);
}

/* -- Runs ---------------------------------------------------------------------------------------------------------- */

static bool failed(const problem *p, bitblas_status status) {
  if (status == BITBLAS_OK) return false;
  printf("FAILED %s: %s: %s: %s\n", p->row->test, p->row->what, bitblas_status_name(status), bitblas_last_message());
  return true;
}

static bool on_device(const problem *p, const void *from, size_t bytes, void **to) {
  return !failed(p, bitblas_allocate(p->context, bytes + 16, to)) &&
         !failed(p, bitblas_upload(p->context, *to, from, bytes, NULL)) &&
         !failed(p, bitblas_synchronize(p->context, NULL));
}

static size_t bytes_of(bitblas_type type, int64_t count) {
  return ((size_t)count * (size_t)bitblas_type_bits(type) + 7) / 8;
}

static bool transformed(const problem *p, bitblas_matmul *op, bitblas_operand which, const void *from, void **to) {
  const bitblas_matmul_config *c = &p->c;
  bool codes =
      which == BITBLAS_OPERAND_WEIGHT || (which == BITBLAS_OPERAND_ZEROS && c->zeros_mode == BITBLAS_ZEROS_QUANTIZED);
  bitblas_type type = codes ? c->W_dtype : scale_type(p);
  int64_t count = which == BITBLAS_OPERAND_WEIGHT ? c->N * c->K : c->N * p->groups;
  size_t given = bitblas_type_bits(type) < 8 ? (size_t)count : bytes_of(type, count), bytes = 0;
  if (failed(p, bitblas_matmul_operand_bytes(op, which, &bytes))) return false;
  if (!bytes) return true;
  void *packed = malloc(bytes);
  bool ok = !failed(p, bitblas_matmul_transform(op, which, BITBLAS_FORM_VALUES, from, given, packed, bytes)) &&
            on_device(p, packed, bytes, to);
  free(packed);
  return ok;
}

static bool run_matmul(const problem *p, const void *A, void *C) {
  bitblas_matmul *op = NULL;
  void *W = NULL, *S = NULL, *Z = NULL, *bias = NULL;
  bool ok = !failed(p, bitblas_matmul_create(p->context, &p->c, &op)) &&
            !failed(p, bitblas_matmul_prepare(op, &p->M, 1)) &&
            transformed(p, op, BITBLAS_OPERAND_WEIGHT, p->w_data, &W) &&
            transformed(p, op, BITBLAS_OPERAND_SCALES, p->s_data, &S) &&
            transformed(p, op, BITBLAS_OPERAND_ZEROS, p->z_data, &Z);
  if (ok && p->c.with_bias) ok = on_device(p, p->b_data, bytes_of(p->c.out_dtype, p->c.N), &bias);
  bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
  args.M = p->M, args.A = A, args.W = W, args.scales = S, args.zeros = Z, args.bias = bias, args.C = C;
  ok = ok && !failed(p, bitblas_matmul_run(op, &args)) && !failed(p, bitblas_synchronize(p->context, NULL));
  void *all[] = {W, S, Z, bias};
  for (int i = 0; i < 4; i++)
    bitblas_free(p->context, all[i]);
  bitblas_matmul_destroy(op);
  return ok;
}

static bool run_linear(const problem *p, const void *A, void *C) {
  const bitblas_matmul_config *c = &p->c;
  bitblas_linear_config config = BITBLAS_LINEAR_CONFIG_INIT;
  bitblas_linear_values values = BITBLAS_LINEAR_VALUES_INIT;
  bitblas_linear_args args = BITBLAS_LINEAR_ARGS_INIT;
  bitblas_linear *linear = NULL;
  config.in_features = c->K, config.out_features = c->N;
  config.A_dtype = c->A_dtype, config.W_dtype = c->W_dtype, config.accum_dtype = c->accum_dtype;
  config.out_dtype = c->out_dtype, config.with_bias = c->with_bias, config.group_size = c->group_size;
  config.with_scaling = c->with_scaling, config.with_zeros = c->with_zeros, config.zeros_mode = c->zeros_mode;
  config.opt_M = c->opt_M, config.opt_M_count = c->opt_M_count;
  values.weight = p->w_data, values.scales = c->with_scaling ? p->s_data : NULL;
  values.zeros = c->with_zeros ? p->z_data : NULL, values.bias = c->with_bias ? p->b_data : NULL;
  args.M = p->M, args.A = A, args.C = C;
  bool ok = !failed(p, bitblas_linear_create(p->context, &config, &linear)) &&
            !failed(p, bitblas_linear_prepare(linear, &p->M, 1)) &&
            !failed(p, bitblas_linear_load_values(linear, &values)) &&
            !failed(p, bitblas_linear_forward(linear, &args)) && !failed(p, bitblas_synchronize(p->context, NULL));
  bitblas_linear_destroy(linear);
  return ok;
}

static bool compare(const problem *p, const uint8_t *is) {
  const bitblas_matmul_config *c = &p->c;
  int64_t missed = 0;
  double furthest = 0;
  for (int64_t n = 0; n < c->N; n++)
    for (int64_t m = 0; m < p->M; m++) {
      const double *a = p->a + m * c->K, *w = p->w + n * c->K;
      double sum = 0, size = 0;
      for (int64_t k = 0; k < c->K; k++)
        sum += a[k] * w[k], size += fabs(a[k] * w[k]);
      double wanted = sum + p->bias[n];
      if (c->out_dtype == T(I8)) wanted = fmax(fmin(wanted, 127), -128);
      double got = value_of(c->out_dtype, get_bits(is, (size_t)(m * c->N + n), bitblas_type_bits(c->out_dtype)));
      double allowed = allowed_error(c, p->groups, sum, size, p->bias[n], wanted), error = fabs(got - wanted);
      bool overflows = c->out_dtype == T(F16) && fabs(wanted) > 65504;
      if (!(error <= allowed) && !(overflows && fabs(got) >= 65504 && got * wanted > 0)) {
        printf("FAILED %s: %s: %s: C[%" PRId64 ", %" PRId64 "] is %.9g and should be %.9g within %.3g\n", p->row->test,
               p->row->what, p->strict ? "full range" : "as drawn", m, n, got, wanted, allowed);
        return false;
      }
      missed += !(error <= p->row->absolute + p->row->relative * fabs(wanted));
      furthest = fmax(furthest, error);
    }
  bool judged = !p->strict && (p->row->relative > 0 || p->row->absolute > 0);
  if (!judged || (double)missed <= p->row->exempt * (double)(p->M * c->N)) return true;
  printf("FAILED %s: %s: %" PRId64 " of %" PRId64 " miss the original's tolerance, the furthest by %.3g\n",
         p->row->test, p->row->what, missed, p->M * c->N, furthest);
  return false;
}

static bool run_one(problem *p) {
  make_data(p);
  size_t a_bytes = bytes_of(p->c.A_dtype, p->M * p->c.K), c_bytes = bytes_of(p->c.out_dtype, p->M * p->c.N);
  uint8_t *is = malloc(c_bytes + 64);
  void *A = NULL, *C = NULL;
  memset(is, 0x5A, c_bytes);
  bool ok = on_device(p, p->a_data, a_bytes, &A) && on_device(p, is, c_bytes, &C) &&
            (p->linear ? run_linear(p, A, C) : run_matmul(p, A, C)) &&
            !failed(p, bitblas_download(p->context, is, C, c_bytes, NULL)) &&
            !failed(p, bitblas_synchronize(p->context, NULL)) && compare(p, is);
  bitblas_free(p->context, A);
  bitblas_free(p->context, C);
  free(is);
  free_data(p);
  return ok;
}

/* A weight of i4 is -8 to 7: 8 is refused, with its place, and neither cut to 7 nor packed into its neighbour. */
static bool refuses_eight(bitblas_context *context) {
  static const row named = {"defect: int4 8 is clamped", "f16xi4 f32/f16 1x64x64", 0, 0, 0, HALVES};
  problem p = {.row = &named, .context = context};
  int8_t codes[64 * 64] = {[65] = 8};
  uint8_t packed[64 * 64 / 2];
  bitblas_matmul *op = NULL;
  parse(&p, false);
  if (failed(&p, bitblas_matmul_create(context, &p.c, &op))) return false;
  bitblas_status status = bitblas_matmul_transform(op, BITBLAS_OPERAND_WEIGHT, BITBLAS_FORM_VALUES, codes, sizeof codes,
                                                   packed, sizeof packed);
  bool ok = status == BITBLAS_ERROR_ARGUMENT && strstr(bitblas_last_message(), "weight[1, 1] is 8");
  if (!ok) printf("FAILED %s: %s: %s\n", named.test, bitblas_status_name(status), bitblas_last_message());
  bitblas_matmul_destroy(op);
  return ok;
}

typedef struct suite {
  bitblas_context *context;
  const char *only;
  bool lists, small;
  atomic_int next, passed, failed;
} suite;

static void *run_some(void *data) {
  suite *s = data;
  for (int i; (i = atomic_fetch_add(&s->next, 1)) <= ROWS;) {
    char name[200];
    snprintf(name, sizeof name, "%s: %s", i < ROWS ? rows[i].test : "defect: int4 8 is clamped",
             i < ROWS ? rows[i].what : "f16xi4");
    if (s->only && !strstr(name, s->only)) continue;
    if (s->lists) {
      printf("%s\n", name);
      continue;
    }
    bool ok = true;
    for (int strict = 0; strict <= 1 && i < ROWS; strict++) {
      problem p = {
          .row = &rows[i], .context = s->context, .strict = strict, .state = (uint64_t)i * 2 + (uint64_t)strict};
      parse(&p, s->small);
      ok = run_one(&p) && ok;
    }
    if (i == ROWS) ok = refuses_eight(s->context);
    atomic_fetch_add(ok ? &s->passed : &s->failed, 1);
  }
  return NULL;
}

int main(int argc, char **argv) {
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.device = BITBLAS_DEVICE_EMULATOR;
  config.cache_directory = "";
  suite s = {.small = true};
  int threads = 1;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--device=gpu") == 0)
      config.device = BITBLAS_DEVICE_GPU, s.small = false;
    else if (strcmp(argv[i], "--original-sizes") == 0)
      s.small = false;
    else if (strncmp(argv[i], "--only=", 7) == 0)
      s.only = argv[i] + 7;
    else if (strcmp(argv[i], "--list") == 0)
      s.lists = true;
    else if (strncmp(argv[i], "--threads=", 10) == 0)
      threads = atoi(argv[i] + 10);
  }
  if (bitblas_context_create(&config, &s.context) != BITBLAS_OK) {
    printf("%s\n", bitblas_last_message());
    return 1;
  }
  pthread_t thread[64];
  threads = threads < 1 ? 1 : threads > 64 ? 64 : threads;
  for (int i = 1; i < threads; i++)
    pthread_create(&thread[i], NULL, run_some, &s);
  run_some(&s);
  for (int i = 1; i < threads; i++)
    pthread_join(thread[i], NULL);
  printf("%s, %s\n", bitblas_context_device_name(s.context), bitblas_context_target(s.context));
  printf("%d passed, %d failed\n", atomic_load(&s.passed), atomic_load(&s.failed));
  bitblas_context_destroy(s.context);
  return atomic_load(&s.failed) || !(atomic_load(&s.passed) || s.lists);
}
