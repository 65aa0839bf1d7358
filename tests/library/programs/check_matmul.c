/* bitblas_matmul over its whole matrix of types, scales, zeros, groups and layouts, against sums of doubles.
 *
 *   check_matmul [--device=emulator|gpu] [--target=NAME] [--all] [--only=TEXT] [--list] [--threads=N]
 *
 * --all runs every legal combination of types, layouts, zeros and groups, with and without scales, whose types take
 * turns; without it, enough of them that every two values that can meet do. Sizes, biases,
 * activations, strides and forms of the weight change from one to the next. Codes have their full range, scales and
 * zeros are random, and C must lie within what the roundings of the decoding, the sum and C itself allow: no share of
 * elements is exempt. Types are decoded here, not by the library. Ends with `N passed, N failed`. */
#include "tests/library/programs/numbers.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* -- The matrix ---------------------------------------------------------------------------------------------------- */

typedef struct pair {
  bitblas_type a, w;
} pair;

static const pair pairs[] = {
    {T(F16), T(F16)},     {T(F16), T(I8)},        {T(F16), T(U8)},        {T(F16), T(I4)},      {T(F16), T(U4)},
    {T(F16), T(I2)},      {T(F16), T(U2)},        {T(F16), T(I1)},        {T(F16), T(U1)},      {T(F16), T(NF4)},
    {T(F16), T(F4E2M1)},  {T(F16), T(F8E4M3)},    {T(F16), T(F8E5M2)},    {T(BF16), T(BF16)},   {T(BF16), T(I8)},
    {T(BF16), T(U8)},     {T(BF16), T(I4)},       {T(BF16), T(U4)},       {T(BF16), T(I2)},     {T(BF16), T(U2)},
    {T(BF16), T(I1)},     {T(BF16), T(U1)},       {T(BF16), T(NF4)},      {T(BF16), T(F4E2M1)}, {T(BF16), T(F8E4M3)},
    {T(BF16), T(F8E5M2)}, {T(F8E4M3), T(F8E4M3)}, {T(F8E5M2), T(F8E5M2)}, {T(I8), T(I8)},       {T(I8), T(I4)},
    {T(I8), T(U4)},       {T(I8), T(I2)},         {T(I8), T(U2)},         {T(I8), T(I1)},       {T(I8), T(U1)},
    {T(I4), T(I4)},       {T(I4), T(U4)},         {T(I4), T(I2)},         {T(I4), T(U2)},       {T(I4), T(I1)},
    {T(I4), T(U1)}};
static const bitblas_type outputs[] = {T(F16), T(BF16), T(F32), T(I32), T(I8)};
static const bitblas_type scales[] = {T(NONE), T(F16), T(BF16), T(F32), T(E8M0), T(F8E4M3)}; /* NONE: no scaling */
static const int groups[] = {-1, 32, 64, 128, 24, 20};
enum { PAIRS = sizeof pairs / sizeof *pairs, OUTPUTS = 5, SCALES = 6, GROUPS = 6, ZEROS = 4, LAYOUTS = 4, FACTORS = 8 };

/* A combination; FACTORS numbers first, so that they can be walked as an array. */
typedef struct combination {
  int pair, accumulator, output, zeros, group, layout, fast, scale; /* zeros 0: none, else mode + 1 */
  int number;
} combination;

static bitblas_matmul_config config_of(const combination *x) {
  bitblas_matmul_config c = BITBLAS_MATMUL_CONFIG_INIT;
  c.A_dtype = pairs[x->pair].a;
  c.W_dtype = pairs[x->pair].w;
  if (x->accumulator) c.accum_dtype = T(F16);
  c.out_dtype = outputs[x->output];
  c.with_scaling = scales[x->scale] != T(NONE);
  c.scale_dtype = scales[x->scale];
  c.with_zeros = x->zeros > 0;
  c.zeros_mode = x->zeros ? (bitblas_zeros_mode)(x->zeros - 1) : BITBLAS_ZEROS_ORIGINAL;
  c.layout = (bitblas_layout)x->layout;
  c.fast_decoding = x->fast ? BITBLAS_FAST_DECODING_OFF : BITBLAS_FAST_DECODING_AUTO;
  c.group_size = groups[x->group];
  return c;
}

static const int rows_of[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 64, 255};
static const int opt_rows[] = {1, 16, 32};

/* Everything else of a combination changes with its number. */
static void vary(const combination *x, bitblas_matmul_config *c, int64_t *M, bitblas_form *form) {
  static const int widths[] = {64, 48, 7, 136, 257, 128}, depths[] = {128, 96, 33, 520, 64, 256};
  unsigned n = (unsigned)x->number * 2654435761u;
  int group = groups[x->group] < 0 ? 1 : groups[x->group];
  c->N = widths[(n >> 4) % 6];
  c->K = (depths[(n >> 8) % 6] + group - 1) / group * group;
  if (c->A_dtype == T(I4)) c->K += c->K % 2;
  *M = rows_of[(n >> 12) % 19];
  if (*M > 17 && c->K * c->N > 20000) *M = 17;
  c->with_bias = n >> 16 & 1;
  c->A_strided = (n >> 17) % 3 == 0;
  c->activation = (bitblas_activation)((n >> 19) % 8 < 4 ? 0 : (n >> 19) % 4);
  if (is_integer(c->out_dtype) && c->activation > BITBLAS_ACTIVATION_RELU) c->activation = BITBLAS_ACTIVATION_RELU;
  *form = (bitblas_form)((n >> 23) % 3);
  c->overlap_launches = n >> 26 & 1;
  c->fast_accum = n >> 27 & 1;
}

static bool is_legal(bitblas_context *context, const combination *x) {
  bitblas_matmul_config c = config_of(x);
  int64_t M;
  bitblas_form form;
  vary(x, &c, &M, &form);
  bool decoded = c.A_dtype != c.W_dtype || c.A_dtype == T(I4);
  if (x->group && !c.with_scaling && !c.with_zeros) return false; /* the same as no group */
  if (x->fast && !decoded) return false;                          /* nothing is decoded */
  if (!c.with_scaling && c.with_zeros && c.A_dtype == T(BF16)) c.scale_dtype = T(NONE);
  bitblas_matmul *op;
  if (bitblas_matmul_create(context, &c, &op) != BITBLAS_OK) return false;
  bitblas_matmul_destroy(op);
  return true;
}

static combination *enumerate(bitblas_context *context, int *count) {
  int capacity = 1 << 10;
  combination *list = malloc(sizeof *list * (size_t)capacity);
  *count = 0;
  const int limits[FACTORS] = {PAIRS, 2, OUTPUTS, ZEROS, GROUPS, LAYOUTS, 2, SCALES};
  int at[FACTORS] = {0};
  for (int number = 0;; number++) {
    combination x = {at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], number};
    if (is_legal(context, &x)) {
      if (*count == capacity) list = realloc(list, sizeof *list * (size_t)(capacity *= 2));
      list[(*count)++] = x;
    }
    int digit = FACTORS - 1;
    while (digit >= 0 && ++at[digit] == limits[digit])
      at[digit--] = 0;
    if (digit < 0) return list;
  }
}

/* Of combinations that differ in the type of their scales alone, one: which changes from one such run to the next. */
static int keep_one_scale(combination *list, int count) {
  int kept = 0;
  for (int i = 0, end; i < count; i = end) {
    for (end = i; end < count && memcmp(&list[end], &list[i], (FACTORS - 1) * sizeof(int)) == 0; end++)
      ;
    bool plain = scales[list[i].scale] == T(NONE);
    if (plain) list[kept++] = list[i];
    if (end - i > plain)
      list[kept++] = list[i + plain + (int)((unsigned)list[i].number * 2654435761u >> 8) % (end - i - plain)];
  }
  return kept;
}

/* Bit of the values that factors i < j have together. */
static int meeting(const combination *x, int i, int j) {
  const int *f = &x->pair;
  return ((i * FACTORS + j) * 64 + f[i]) * 64 + f[j];
}

static int news(const combination *x, const bool *met) {
  int count = 0;
  for (int i = 0; i < FACTORS; i++)
    for (int j = i + 1; j < FACTORS; j++)
      count += !met[meeting(x, i, j)];
  return count;
}

/* Keeps combinations, those with most news first, until every two values that can meet have met. */
static int keep_pairwise(combination *list, int count) {
  bool *met = calloc(FACTORS * FACTORS * 64 * 64, sizeof *met);
  int kept = 0;
  for (;;) {
    int best = -1, most = 0;
    for (int i = kept; i < count; i++) {
      int n = news(&list[i], met);
      if (n > most) best = i, most = n;
    }
    if (best < 0) break;
    combination x = list[best];
    list[best] = list[kept];
    list[kept++] = x;
    for (int i = 0; i < FACTORS; i++)
      for (int j = i + 1; j < FACTORS; j++)
        met[meeting(&x, i, j)] = true;
  }
  free(met);
  return kept;
}

/* -- One of them --------------------------------------------------------------------------------------------------- */

typedef struct problem {
  bitblas_context *context;
  bitblas_matmul_config c;
  int64_t M, stride, groups;
  bitblas_form form;
  uint64_t state;                /* of the random numbers */
  uint8_t *a, *w, *s, *z, *bias; /* streams of codes: a [M or K, stride], w, s [N, groups], z [N, groups], bias [N] */
  char *name;
  bool checks_device; /* the transform on the device too */
} problem;

static uint32_t random_bits(problem *p) {
  p->state = p->state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(p->state >> 33);
}

static double uniform(problem *p, double low, double high) {
  return low + (high - low) * (random_bits(p) >> 7) * 0x1p-24;
}

/* A random code of the type: all of them, but of floats only numbers of modest size. */
static uint32_t random_code(problem *p, bitblas_type type) {
  int bits = bitblas_type_bits(type);
  if (bits >= 16) return code_of(type, uniform(p, -1, 1));
  for (;;) {
    uint32_t code = random_bits(p) & ((1u << bits) - 1);
    bool small = fabs(value_of(type, code)) <= (p->c.A_dtype == type ? 2 : 64);
    if (is_integer(type) || bits < 8 || small) return code;
  }
}

static uint32_t random_scale(problem *p) {
  double s = uniform(p, 0.5, 2) / sqrt((double)p->c.K);
  bitblas_type type = p->c.scale_dtype;
  if (type == T(E8M0)) return 127 - 5 + random_bits(p) % 4;
  if (type == T(F8E4M3)) return 0x10 + random_bits(p) % 40;
  return code_of(type == T(NONE) ? p->c.A_dtype : type, s);
}

static bitblas_type scale_type(const problem *p) {
  if (p->c.scale_dtype != T(NONE)) return p->c.scale_dtype;
  return bitblas_type_bits(p->c.A_dtype) == 16 ? p->c.A_dtype : T(F32);
}

static bitblas_type zero_type(const problem *p) {
  return p->c.zeros_mode == BITBLAS_ZEROS_QUANTIZED ? p->c.W_dtype : scale_type(p);
}

static uint8_t *stream_of(int64_t count, bitblas_type type) {
  return calloc(1, ((size_t)count * (size_t)bitblas_type_bits(type) + 7) / 8 + 64);
}

static void make_data(problem *p) {
  const bitblas_matmul_config *c = &p->c;
  bool ta = c->layout == BITBLAS_LAYOUT_TN || c->layout == BITBLAS_LAYOUT_TT;
  int64_t high = ta ? c->K : p->M, wide = ta ? p->M : c->K, unit = 128 / bitblas_type_bits(c->A_dtype);
  p->stride = c->A_strided ? (wide + unit - 1) / unit * unit + unit : wide;
  p->groups = c->group_size > 0 ? c->K / c->group_size : 1;
  p->a = stream_of(high * p->stride, c->A_dtype);
  p->w = stream_of(c->N * c->K, c->W_dtype);
  p->s = stream_of(c->N * p->groups, scale_type(p));
  p->z = stream_of(c->N * p->groups, zero_type(p));
  p->bias = stream_of(c->N, c->out_dtype);
  for (int64_t i = 0; i < high * p->stride; i++)
    put_bits(p->a, (size_t)i, bitblas_type_bits(c->A_dtype), random_code(p, c->A_dtype));
  for (int64_t i = 0; i < c->N * c->K; i++)
    put_bits(p->w, (size_t)i, bitblas_type_bits(c->W_dtype), random_code(p, c->W_dtype));
  double top = is_integer(c->W_dtype) ? ldexp(1, bitblas_type_bits(c->W_dtype)) : 1;
  for (int64_t i = 0; i < c->N * p->groups; i++) {
    put_bits(p->s, (size_t)i, bitblas_type_bits(scale_type(p)), random_scale(p));
    double z = c->zeros_mode == BITBLAS_ZEROS_RESCALE ? uniform(p, -1, 1) / sqrt((double)c->K) : uniform(p, 0, top);
    uint32_t code = c->zeros_mode == BITBLAS_ZEROS_QUANTIZED ? random_code(p, c->W_dtype) : code_of(zero_type(p), z);
    if (c->with_zeros) put_bits(p->z, (size_t)i, bitblas_type_bits(zero_type(p)), code);
  }
  for (int64_t i = 0; i < c->N; i++) {
    int bits = bitblas_type_bits(c->out_dtype);
    uint32_t code = is_integer(c->out_dtype) ? random_bits(p) % 100 : code_of(c->out_dtype, uniform(p, -1, 1));
    put_bits(p->bias, (size_t)i, bits, code);
  }
}

/* What the library is given, in the form that the case has. */
static uint8_t *in_form(const problem *p, const uint8_t *codes, bitblas_type type, int64_t rows, int64_t columns,
                        bool by_group, bitblas_form form, size_t *bytes) {
  int bits = bitblas_type_bits(type);
  int64_t line = by_group ? (rows * bits + 7) / 8 * 8 / bits : 0;
  uint8_t *out = calloc(1, (size_t)((rows + 8) * (columns + 8) * 4) + 64);
  bool is_signed = is_integer(type) && bitblas_type_name(type)[0] == 'i' && type != T(I1) && bits < 8;
  (void)p;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t k = 0; k < columns; k++) {
      uint32_t code = get_bits(codes, (size_t)(r * columns + k), bits);
      size_t at = by_group ? (size_t)(k * rows + r) : (size_t)(r * columns + k);
      if (form == BITBLAS_FORM_VALUES && bits < 8) {
        out[at] = is_integer(type) ? (uint8_t)(int)value_of(type, code) : (uint8_t)code;
        continue;
      }
      if (by_group) at = (size_t)(k * line + r);
      put_bits(out, at, bits, form == BITBLAS_FORM_BIASED && is_signed ? code ^ 1u << (bits - 1) : code);
    }
  *bytes = form == BITBLAS_FORM_VALUES && bits < 8 ? (size_t)(rows * columns)
           : by_group                              ? (size_t)(columns * ((rows * bits + 7) / 8))
                                                   : (size_t)((rows * columns * bits + 7) / 8);
  return out;
}

static bool failed(const problem *p, bitblas_status status, const char *what) {
  if (status == BITBLAS_OK) return false;
  printf("FAILED %s: %s: %s: %s\n", p->name, what, bitblas_status_name(status), bitblas_last_message());
  return true;
}

static bool upload(problem *p, const void *from, size_t bytes, void **to) {
  size_t room = bytes ? bytes : 16;
  return !failed(p, bitblas_allocate(p->context, room, to), "allocate") &&
         !failed(p, bitblas_upload(p->context, *to, from, bytes, NULL), "upload") &&
         !failed(p, bitblas_synchronize(p->context, NULL), "upload");
}

/* The device's transform makes the same bytes as the host's, where it makes any. */
static bool same_on_device(problem *p, bitblas_matmul *op, const void *from, size_t from_bytes, const uint8_t *wanted,
                           size_t bytes) {
  void *source = NULL, *to = NULL;
  uint8_t *got = malloc(bytes + 1);
  bool ok = upload(p, from, from_bytes, &source) && upload(p, got, bytes, &to);
  bitblas_status status = BITBLAS_OK;
  if (ok) status = bitblas_matmul_transform_on_device(op, p->form, source, from_bytes, to, bytes, NULL);
  bool plain = status == BITBLAS_ERROR_UNSUPPORTED;
  ok = ok && (plain || (!failed(p, status, "transform_on_device") &&
                        !failed(p, bitblas_download(p->context, got, to, bytes, NULL), "download") &&
                        !failed(p, bitblas_synchronize(p->context, NULL), "synchronize")));
  if (ok && !plain && memcmp(got, wanted, bytes) != 0) {
    printf("FAILED %s: the device's transform differs from the host's\n", p->name);
    ok = false;
  }
  bitblas_free(p->context, source);
  bitblas_free(p->context, to);
  free(got);
  return ok;
}

static bool transformed(problem *p, bitblas_matmul *op, bitblas_operand which, const uint8_t *codes, bitblas_type type,
                        int64_t rows, int64_t columns, bool by_group, bitblas_form form, void **to) {
  size_t from_bytes, bytes = 0;
  uint8_t *from = in_form(p, codes, type, rows, columns, by_group, form, &from_bytes);
  bool ok = !failed(p, bitblas_matmul_operand_bytes(op, which, &bytes), "operand_bytes");
  uint8_t *packed = malloc(bytes + 1);
  ok = ok && !failed(p, bitblas_matmul_transform(op, which, form, from, from_bytes, packed, bytes), "transform") &&
       upload(p, packed, bytes, to);
  if (ok && which == BITBLAS_OPERAND_WEIGHT && p->checks_device)
    ok = same_on_device(p, op, from, from_bytes, packed, bytes);
  free(packed);
  free(from);
  return ok;
}

static bool compare(const problem *p, const uint8_t *result) {
  const bitblas_matmul_config *c = &p->c;
  bool ta = c->layout == BITBLAS_LAYOUT_TN || c->layout == BITBLAS_LAYOUT_TT,
       tb = c->layout == BITBLAS_LAYOUT_NT || c->layout == BITBLAS_LAYOUT_TT;
  int a_bits = bitblas_type_bits(c->A_dtype), w_bits = bitblas_type_bits(c->W_dtype),
      out_bits = bitblas_type_bits(c->out_dtype);
  double *a = malloc(sizeof *a * (size_t)(p->M * c->K)), *w = malloc(sizeof *w * (size_t)c->K);
  for (int64_t m = 0; m < p->M; m++)
    for (int64_t k = 0; k < c->K; k++)
      a[m * c->K + k] =
          value_of(c->A_dtype, get_bits(p->a, (size_t)(ta ? k * p->stride + m : m * p->stride + k), a_bits));
  bool good = true;
  for (int64_t n = 0; n < c->N && good; n++) {
    for (int64_t k = 0; k < c->K; k++) {
      size_t g = (size_t)(n * p->groups + k / (c->K / p->groups));
      double q = value_of(c->W_dtype, get_bits(p->w, (size_t)(tb ? n * c->K + k : k * c->N + n), w_bits));
      double s = c->with_scaling ? value_of(scale_type(p), get_bits(p->s, g, bitblas_type_bits(scale_type(p)))) : 1;
      double z = c->with_zeros ? value_of(zero_type(p), get_bits(p->z, g, bitblas_type_bits(zero_type(p)))) : 0;
      w[k] = c->zeros_mode == BITBLAS_ZEROS_RESCALE ? q * s - z : (q - z) * s;
    }
    double bias = c->with_bias ? value_of(c->out_dtype, get_bits(p->bias, (size_t)n, out_bits)) : 0;
    for (int64_t m = 0; m < p->M && good; m++) {
      double sum = 0, size = 0;
      for (int64_t k = 0; k < c->K; k++) {
        sum += a[m * c->K + k] * w[k];
        size += fabs(a[m * c->K + k] * w[k]);
      }
      double wanted = activate(c->activation, sum + bias);
      double got = value_of(c->out_dtype, get_bits(result, (size_t)(m * c->N + n), out_bits));
      if (is_integer(c->out_dtype)) {
        double low = c->out_dtype == T(I8) ? -128 : INT32_MIN, high = c->out_dtype == T(I8) ? 127 : INT32_MAX;
        wanted = wanted < low ? low : wanted > high ? high : wanted;
      }
      double allowed = allowed_error(c, p->groups, sum, size, bias, wanted);
      bool overflows = c->out_dtype == T(F16) && fabs(wanted) > 65504; /* to infinity, which decodes as 65536 here */
      good = overflows ? fabs(got) >= 65504 && got * wanted > 0 : fabs(got - wanted) <= allowed;
      if (!good)
        printf("FAILED %s: C[%" PRId64 ", %" PRId64 "] is %.9g and should be %.9g (within %.3g)\n", p->name, m, n, got,
               wanted, allowed);
    }
  }
  free(a);
  free(w);
  return good;
}

static bool run_op(problem *p, bitblas_matmul *op) {
  bitblas_matmul_config *c = &p->c;
  bool tb = c->layout == BITBLAS_LAYOUT_NT || c->layout == BITBLAS_LAYOUT_TT,
       ta = c->layout == BITBLAS_LAYOUT_TN || c->layout == BITBLAS_LAYOUT_TT;
  bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;
  size_t a_bytes = ((size_t)((ta ? c->K : p->M) * p->stride) * (size_t)bitblas_type_bits(c->A_dtype) + 7) / 8;
  size_t c_bytes = (size_t)(p->M * c->N) * (size_t)bitblas_type_bits(c->out_dtype) / 8, workspace = 0;
  void *A = NULL, *W = NULL, *S = NULL, *Z = NULL, *bias = NULL, *C = NULL, *space = NULL;
  uint8_t *result = malloc(c_bytes + 64), *zero = calloc(1, 1 << 20);
  memset(result, 0x5A, c_bytes);
  bool quantized = c->zeros_mode == BITBLAS_ZEROS_QUANTIZED;
  bool ok = !failed(p, bitblas_matmul_prepare(op, &p->M, 1), "prepare") && upload(p, p->a, a_bytes, &A) &&
            upload(p, result, c_bytes, &C) &&
            transformed(p, op, BITBLAS_OPERAND_WEIGHT, p->w, c->W_dtype, tb ? c->N : c->K, tb ? c->K : c->N, false,
                        p->form, &W);
  if (ok && c->with_scaling)
    ok = transformed(p, op, BITBLAS_OPERAND_SCALES, p->s, scale_type(p), c->N, p->groups, false, BITBLAS_FORM_VALUES,
                     &S);
  if (ok && c->with_zeros)
    ok = transformed(p, op, BITBLAS_OPERAND_ZEROS, p->z, zero_type(p), c->N, p->groups, quantized, p->form, &Z);
  if (ok && c->with_bias) ok = upload(p, p->bias, (size_t)c->N * (size_t)bitblas_type_bits(c->out_dtype) / 8, &bias);
  ok = ok && !failed(p, bitblas_matmul_workspace_bytes(op, p->M, &workspace), "workspace_bytes");
  if (ok && workspace) ok = upload(p, zero, workspace, &space);
  args.M = p->M;
  args.A = A, args.W = W, args.scales = S, args.zeros = Z, args.bias = bias, args.C = C;
  args.A_stride = c->A_strided ? p->stride : 0;
  args.workspace = space, args.workspace_bytes = workspace;
  ok = ok && !failed(p, bitblas_matmul_run(op, &args), "run") &&
       !failed(p, bitblas_download(p->context, result, C, c_bytes, NULL), "download") &&
       !failed(p, bitblas_synchronize(p->context, NULL), "synchronize") && compare(p, result);
  void *all[] = {A, W, S, Z, bias, C, space};
  for (int i = 0; i < 7; i++)
    bitblas_free(p->context, all[i]);
  free(result);
  free(zero);
  return ok;
}

static void name_case(problem *p, char *text, size_t room) {
  const bitblas_matmul_config *c = &p->c;
  static const char *const layouts[] = {"nt", "nn", "tn", "tt"}, *const zeros[] = {"original", "rescale", "quantized"};
  snprintf(
      text, room,
      "%s x %s -> %s%s %s M=%" PRId64 " N=%" PRId64 " K=%" PRId64 "%s%s g=%" PRId64 "%s%s%s%s act=%d form=%d%s%s%s",
      bitblas_type_name(c->A_dtype), bitblas_type_name(c->W_dtype), bitblas_type_name(c->out_dtype),
      c->accum_dtype == T(F16) ? " (f16)" : "", layouts[c->layout], p->M, c->N, c->K, c->with_scaling ? " scale=" : "",
      c->with_scaling ? bitblas_type_name(scale_type(p)) : "", c->group_size, c->with_zeros ? " zeros=" : "",
      c->with_zeros ? zeros[c->zeros_mode] : "", c->with_bias ? " bias" : "", c->A_strided ? " strided" : "",
      (int)c->activation, (int)p->form, c->fast_decoding == BITBLAS_FAST_DECODING_OFF ? " slow" : "",
      c->overlap_launches ? " overlapped" : "", c->fast_accum ? " fast" : "");
}

typedef struct suite {
  bitblas_context *context;
  const combination *list;
  const char *only;
  int count;
  bool lists;
  atomic_int next, passed, failed;
} suite;

static void *run_some(void *data) {
  suite *s = data;
  for (int i; (i = atomic_fetch_add(&s->next, 1)) < s->count;) {
    char name[320];
    problem p = {.context = s->context,
                 .c = config_of(&s->list[i]),
                 .name = name,
                 .checks_device = s->list[i].number % 4 == 0,
                 .state = (uint64_t)s->list[i].number + 1};
    vary(&s->list[i], &p.c, &p.M, &p.form);
    int64_t rows[3] = {opt_rows[0], opt_rows[1], opt_rows[2]};
    p.c.opt_M = rows, p.c.opt_M_count = 3;
    if (i % 4 == 0) p.c.M = p.M, p.c.opt_M = NULL, p.c.opt_M_count = 0;
    name_case(&p, name, sizeof name);
    if (s->only && !strstr(name, s->only)) continue;
    if (s->lists) {
      printf("%s\n", name);
      continue;
    }
    bitblas_matmul *op = NULL;
    make_data(&p);
    bool ok = !failed(&p, bitblas_matmul_create(s->context, &p.c, &op), "create") && run_op(&p, op);
    bitblas_matmul_destroy(op);
    atomic_fetch_add(ok ? &s->passed : &s->failed, 1);
    uint8_t *all[] = {p.a, p.w, p.s, p.z, p.bias};
    for (int k = 0; k < 5; k++)
      free(all[k]);
  }
  return NULL;
}

int main(int argc, char **argv) {
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.device = BITBLAS_DEVICE_EMULATOR;
  config.cache_directory = "";
  suite s = {.count = 0};
  bool all = false;
  int threads = 1;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--device=gpu") == 0)
      config.device = BITBLAS_DEVICE_GPU;
    else if (strncmp(argv[i], "--target=", 9) == 0)
      config.target = argv[i] + 9;
    else if (strcmp(argv[i], "--all") == 0)
      all = true;
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
  combination *list = enumerate(s.context, &s.count);
  int legal = s.count;
  s.count = all ? keep_one_scale(list, s.count) : keep_pairwise(list, s.count);
  s.list = list;
  pthread_t thread[64];
  threads = threads < 1 ? 1 : threads > 64 ? 64 : threads;
  for (int i = 1; i < threads; i++)
    pthread_create(&thread[i], NULL, run_some, &s);
  run_some(&s);
  for (int i = 1; i < threads; i++)
    pthread_join(thread[i], NULL);
  printf("%d of %d legal combinations on %s, %s\n", s.count, legal, bitblas_context_device_name(s.context),
         bitblas_context_target(s.context));
  printf("%d passed, %d failed\n", atomic_load(&s.passed), atomic_load(&s.failed));
  free(list);
  bitblas_context_destroy(s.context);
  return atomic_load(&s.failed) || !(atomic_load(&s.passed) || s.lists);
}
