/* Linear from numbers: what it computes, what it keeps in a file, what it refuses. */
#include "tests/unit/lib/linear.h"

#define T(name) BITBLAS_TYPE_##name
static const int64_t buckets[] = {1, 16};

/* -- Numbers ------------------------------------------------------------------------------------------------------- */

/* What is loaded, as it is given and as doubles see it. */
typedef struct sample {
  bitblas_linear_values v;
  unsigned char weight[4096 * 4], scales[4096], zeros[4096], bias[512];
  float w[4096 * 2];
} sample;

static const struct {
  const char *name;
  bitblas_type a, w, out, scale;
  int scaling, zeros, mode, group, bias, activation;
  double roundings;
} cases[] = {
    {"i4", T(F16), T(I4), T(NONE), T(NONE), 0, 0, 0, -1, 0, 0, 0},
    {"i4 scaled, bias, gelu", T(F16), T(I4), T(NONE), T(NONE), 1, 0, 0, 32, 1, BITBLAS_ACTIVATION_GELU, 1},
    {"u4 original", T(F16), T(U4), T(NONE), T(NONE), 1, 1, BITBLAS_ZEROS_ORIGINAL, 32, 0, 0, 2},
    {"u4 rescale, silu", T(F16), T(U4), T(NONE), T(NONE), 1, 1, BITBLAS_ZEROS_RESCALE, 32, 0, BITBLAS_ACTIVATION_SILU,
     2},
    {"u4 quantized, bias", T(F16), T(U4), T(F32), T(NONE), 1, 1, BITBLAS_ZEROS_QUANTIZED, 48, 1, 0, 1},
    {"u4 bf16, scales f32", T(BF16), T(U4), T(NONE), T(F32), 1, 1, BITBLAS_ZEROS_ORIGINAL, 96, 1, 0, 2},
    {"u2 quantized without scales", T(F16), T(U2), T(NONE), T(NONE), 0, 1, BITBLAS_ZEROS_QUANTIZED, 32, 0, 0, 0},
    {"i2, relu", T(F16), T(I2), T(NONE), T(NONE), 1, 0, 0, -1, 1, BITBLAS_ACTIVATION_RELU, 1},
    {"i1", T(F16), T(I1), T(NONE), T(NONE), 0, 0, 0, -1, 0, 0, 0},
    {"i1 scaled", T(F16), T(I1), T(NONE), T(NONE), 1, 0, 0, 32, 0, 0, 1},
    {"nf4", T(F16), T(NF4), T(NONE), T(NONE), 1, 0, 0, 32, 0, 0, 2},
    {"f4e2m1 with e8m0", T(BF16), T(F4E2M1), T(NONE), T(E8M0), 1, 0, 0, 32, 0, 0, 1},
    {"f8e4m3 with f8e4m3", T(F16), T(F8E4M3), T(NONE), T(F8E4M3), 1, 0, 0, 32, 0, 0, 1},
    {"u8", T(F16), T(U8), T(NONE), T(NONE), 1, 1, BITBLAS_ZEROS_ORIGINAL, -1, 0, 0, 2},
    {"f16 dense, bias", T(F16), T(F16), T(NONE), T(NONE), 0, 0, 0, -1, 1, 0, 0},
    {"bf16 dense", T(BF16), T(BF16), T(F32), T(NONE), 0, 0, 0, -1, 0, BITBLAS_ACTIVATION_RELU, 0},
    {"i8 dense", T(I8), T(I8), T(NONE), T(NONE), 0, 0, 0, -1, 1, 0, 0},
    {"i8 activations, i4", T(I8), T(I4), T(NONE), T(NONE), 0, 0, 0, -1, 0, 0, 0},
    {"i8 activations, i2 scaled", T(I8), T(I2), T(F16), T(NONE), 1, 0, 0, -1, 1, 0, 0},
    {"i8 activations, u4 quantized", T(I8), T(U4), T(F32), T(NONE), 1, 1, BITBLAS_ZEROS_QUANTIZED, 32, 0, 0, 0},
    {"i4 activations, i2", T(I4), T(I2), T(NONE), T(NONE), 0, 0, 0, -1, 0, 0, 0},
    {"f8e4m3 dense, scaled", T(F8E4M3), T(F8E4M3), T(NONE), T(NONE), 1, 0, 0, -1, 0, 0, 0},
};
enum { N = 40, K = 96, CASES = sizeof cases / sizeof *cases };

static bitblas_linear_config config_at(int i) {
  bitblas_linear_config c = BITBLAS_LINEAR_CONFIG_INIT;
  c.in_features = K, c.out_features = N;
  c.A_dtype = cases[i].a, c.W_dtype = cases[i].w, c.out_dtype = cases[i].out, c.scale_dtype = cases[i].scale;
  c.with_scaling = cases[i].scaling, c.with_zeros = cases[i].zeros;
  c.zeros_mode = (bitblas_zeros_mode)cases[i].mode, c.group_size = cases[i].group;
  c.with_bias = cases[i].bias, c.activation = (bitblas_activation)cases[i].activation;
  c.opt_M = buckets, c.opt_M_count = 2;
  return c;
}

/* A random code as one byte, or as the element, and the number it stands for. */
static double put_code(linear_suite *s, bitblas_type type, unsigned char *to, size_t at) {
  ir_type t = lib_ir_type(type);
  int bits = ir_bits(t);
  if (bits >= 8) {
    uint64_t code = bits == 8 ? random_bits(s) & (ir_is_integer(t) ? 0xFF : 0xB7) : ir_encode(t, random_in(s, -1, 1));
    ir_put_bits(to, at, bits, code);
    return ir_decode(t, code);
  }
  uint32_t code = random_bits(s) >> 8 & ((1u << bits) - 1);
  double value = type == T(I1) ? (code ? 1 : -1) : ir_decode(t, code);
  to[at] = (unsigned char)(ir_is_integer(t) ? (int)value : (int)code);
  return value;
}

static sample *make_sample(linear_suite *s, const bitblas_matmul_config *c) {
  sample *x = calloc(1, sizeof *x);
  int64_t groups = c->K / c->group_size;
  bool quantized = c->zeros_mode == BITBLAS_ZEROS_QUANTIZED;
  double unit = 1 / sqrt((double)c->K);
  x->v = (bitblas_linear_values)BITBLAS_LINEAR_VALUES_INIT;
  for (int64_t n = 0; n < c->N; n++)
    for (int64_t g = 0; g < groups; g++) {
      size_t at = (size_t)(n * groups + g);
      ir_type t = lib_ir_type(c->scale_dtype);
      double s_of = ir_encode(t, random_in(s, 0.5, 2) * unit) ? random_in(s, 0.5, 2) * unit : 1;
      uint64_t code = ir_encode(t, s_of);
      ir_put_bits(x->scales, at, ir_bits(t), code);
      double scale = c->with_scaling ? ir_decode(t, code) : 1, z = 0;
      if (c->with_zeros && quantized) {
        z = put_code(s, c->W_dtype, x->zeros, (size_t)(g * c->N + n));
      } else if (c->with_zeros) {
        bool rescale = c->zeros_mode == BITBLAS_ZEROS_RESCALE;
        code = ir_encode(t, rescale ? random_in(s, -1, 1) * unit : random_in(s, 0, 1 << bitblas_type_bits(c->W_dtype)));
        ir_put_bits(x->zeros, at, ir_bits(t), code);
        z = ir_decode(t, code);
      }
      for (int64_t k = g * c->group_size; k < (g + 1) * c->group_size; k++) {
        double q = put_code(s, c->W_dtype, x->weight, (size_t)(n * c->K + k));
        x->w[n * c->K + k] = (float)(c->zeros_mode == BITBLAS_ZEROS_RESCALE ? q * scale - z : (q - z) * scale);
      }
    }
  random_numbers(s, c->out_dtype, -2, 2, x->bias, (size_t)c->N);
  x->v.weight = x->weight;
  if (c->with_scaling) x->v.scales = x->scales;
  if (c->with_zeros) x->v.zeros = x->zeros;
  if (c->with_bias) x->v.bias = x->bias;
  return x;
}

/* Every M has its kernel: 7 the one for 16, 17 the last. Then the state goes into a file and back, and gives the same bits. */
static void values_and_files(void **state) {
  linear_suite *s = *state;
  for (int i = 0; i < CASES; i++) {
    static const int64_t rows[] = {1, 7, 16, LINEAR_ROWS};
    bitblas_linear_config c = config_at(i);
    bitblas_linear *l, *again;
    print_message("%s\n", cases[i].name);
    check(bitblas_linear_create(s->context, &c, &l));
    check(bitblas_linear_create(s->context, &c, &again));
    sample *x = make_sample(s, &l->matmul->config);
    check(bitblas_linear_load_values(l, &x->v));
    for (int m = 0; m < 4; m++)
      expect_product(s, l, rows[m], x->w, x->v.bias, cases[i].roundings);
    check(bitblas_linear_save(l, s->file));
    check(bitblas_linear_load_file(again, s->file));
    expect_same(s, l, again, 7);
    bitblas_checkpoint *file;
    bitblas_weight *w;
    float *values = calloc(N * K, sizeof *values);
    check(bitblas_checkpoint_open(s->file, &file));
    check(bitblas_weight_read(file, "linear", NULL, &w));
    check(bitblas_weight_decode(w, values, N * K));
    assert_memory_equal(values, x->w, N * K * sizeof *values);
    free(values);
    bitblas_weight_destroy(w);
    bitblas_checkpoint_close(file);
    bitblas_linear_destroy(l);
    bitblas_linear_destroy(again);
    free(x);
  }
}

/* -- Refusals ------------------------------------------------------------------------------------------------------ */

static bitblas_linear *loaded(linear_suite *s, int i, sample **x) {
  bitblas_linear_config c = config_at(i);
  bitblas_linear *l;
  check(bitblas_linear_create(s->context, &c, &l));
  *x = make_sample(s, &l->matmul->config);
  check(bitblas_linear_load_values(l, &(*x)->v));
  return l;
}

static void refuses_configs(void **state) {
  linear_suite *s = *state;
  bitblas_linear_config c = config_at(0);
  bitblas_linear *l = NULL;
#define WRONG(status, word, other, ...)                                                                                \
  do {                                                                                                                 \
    c = config_at(2);                                                                                                  \
    __VA_ARGS__;                                                                                                       \
    refuses(bitblas_linear_create(s->context, &c, &l), BITBLAS_ERROR_##status, word, other);                           \
    assert_null(l);                                                                                                    \
  } while (0)
  WRONG(ARGUMENT, "in_features is 0", "1 to", c.in_features = 0);
  WRONG(ARGUMENT, "out_features is -3", "1 to", c.out_features = -3);
  WRONG(ARGUMENT, "in_features is 9223372036854775807", "2147483647", c.in_features = INT64_MAX);
  WRONG(ARGUMENT, "size 8", "should have", c.size = 8);
  WRONG(ARGUMENT, "with_bias is 2", "0 or 1", c.with_bias = 2);
  WRONG(ARGUMENT, "group_size is 36", "nearest", c.group_size = 36);
  WRONG(TYPE, "W_dtype is u3", "f16", c.W_dtype = T(U3));
  WRONG(TYPE, "out_dtype is i8", "f16", c.out_dtype = T(I8));
  refuses(bitblas_linear_create(NULL, &c, &l), BITBLAS_ERROR_ARGUMENT, "context", "null");
  refuses(bitblas_linear_create(s->context, &c, NULL), BITBLAS_ERROR_ARGUMENT, "linear", "null");
  refuses(bitblas_linear_create(s->context, NULL, &l), BITBLAS_ERROR_ARGUMENT, "config", "null");
  refuses(bitblas_linear_prepare(NULL, NULL, 0), BITBLAS_ERROR_ARGUMENT, "linear", "null");
  assert_null(bitblas_linear_matmul(NULL));
  bitblas_linear_destroy(NULL);
}

static void refuses_values(void **state) {
  linear_suite *s = *state;
  sample *x;
  bitblas_linear *l = loaded(s, 4, &x); /* u4 quantized with bias */
#define WRONG_VALUES(word, other, ...)                                                                                 \
  do {                                                                                                                 \
    bitblas_linear_values v = x->v;                                                                                    \
    __VA_ARGS__;                                                                                                       \
    refuses(bitblas_linear_load_values(l, &v), BITBLAS_ERROR_ARGUMENT, word, other);                                   \
    assert_false(l->loaded);                                                                                           \
  } while (0)
  WRONG_VALUES("values.weight", "null", v.weight = NULL);
  WRONG_VALUES("values.scales is null", "has one", v.scales = NULL);
  WRONG_VALUES("values.zeros is null", "has one", v.zeros = NULL);
  WRONG_VALUES("values.bias is null", "has one", v.bias = NULL);
  WRONG_VALUES("form is 3", "0 to 2", v.form = (bitblas_form)3);
  WRONG_VALUES("size 1", "should have", v.size = 1);
  x->weight[K + 5] = 16;
  WRONG_VALUES("weight[1, 5] is 16", "u4", v.size = v.size);
  x->weight[K + 5] = 15, x->zeros[N + 2] = 17;
  WRONG_VALUES("zeros[1, 2] is 17", "u4", v.size = v.size);
  refuses(bitblas_linear_load_values(NULL, &x->v), BITBLAS_ERROR_ARGUMENT, "linear", "null");
  refuses(bitblas_linear_load_values(l, NULL), BITBLAS_ERROR_ARGUMENT, "values", "null");
  bitblas_linear_destroy(l);
  free(x);
  l = loaded(s, 0, &x); /* i4 and nothing else */
  WRONG_VALUES("values.scales is set", "has none", v.scales = x->scales);
  WRONG_VALUES("values.zeros is set", "has none", v.zeros = x->zeros);
  WRONG_VALUES("values.bias is set", "has none", v.bias = x->bias);
  bitblas_linear_destroy(l);
  free(x);
}

static void refuses_runs(void **state) {
  linear_suite *s = *state;
  sample *x;
  bitblas_linear *l = loaded(s, 4, &x);
  void *memory;
  size_t bytes;
  check(bitblas_allocate(s->context, 1 << 20, &memory));
  check(bitblas_linear_prepare(l, buckets, 1));
  bitblas_linear_args args = BITBLAS_LINEAR_ARGS_INIT, bad;
  args.M = 1, args.A = memory, args.C = (char *)memory + 65536;
#define WRONG_RUN(status, word, other, ...)                                                                            \
  do {                                                                                                                 \
    bad = args;                                                                                                        \
    __VA_ARGS__;                                                                                                       \
    memset(args.C, 0x5A, 4096);                                                                                        \
    refuses(bitblas_linear_forward(l, &bad), BITBLAS_ERROR_##status, word, other);                                     \
    assert_int_equal(((unsigned char *)args.C)[0], 0x5A); /* nothing ran */                                            \
  } while (0)
  check(bitblas_linear_forward(l, &args));
  WRONG_RUN(ARGUMENT, "M is -1", "1 to 2147483647", bad.M = -1);
  WRONG_RUN(ARGUMENT, "no kernel is prepared", "M 16", bad.M = 16);
  WRONG_RUN(ARGUMENT, "args.A is null", "has one", bad.A = NULL);
  WRONG_RUN(ARGUMENT, "args.C is null", "has one", bad.C = NULL);
  WRONG_RUN(ALIGNMENT, "A is at", "16 bytes", bad.A = (char *)memory + 2);
  WRONG_RUN(ARGUMENT, "size 1", "should have", bad.size = 1);
  bad = args, bad.M = 0;
  check(bitblas_linear_forward(l, &bad));
  refuses(bitblas_linear_forward(NULL, &args), BITBLAS_ERROR_ARGUMENT, "linear", "null");
  refuses(bitblas_linear_forward(l, NULL), BITBLAS_ERROR_ARGUMENT, "args", "null");
  refuses(bitblas_linear_workspace_bytes(NULL, 1, &bytes), BITBLAS_ERROR_ARGUMENT, "linear", "null");
  refuses(bitblas_linear_workspace_bytes(l, 1, NULL), BITBLAS_ERROR_ARGUMENT, "bytes", "null");
  refuses(bitblas_linear_workspace_bytes(l, 16, &bytes), BITBLAS_ERROR_ARGUMENT, "no kernel", "16");
  refuses(bitblas_linear_save(NULL, s->file), BITBLAS_ERROR_ARGUMENT, "linear", "null");
  refuses(bitblas_linear_save(l, NULL), BITBLAS_ERROR_ARGUMENT, "path", "null");
  refuses(bitblas_linear_save(l, "/nowhere/at/all"), BITBLAS_ERROR_FILE, "/nowhere/at/all", "No such file");
  refuses(bitblas_linear_load_values(l, NULL), BITBLAS_ERROR_ARGUMENT, "values", "null");
  WRONG_RUN(ARGUMENT, "nothing is loaded", "linear", bad.M = 1); /* after a load that failed */
  refuses(bitblas_linear_save(l, s->file), BITBLAS_ERROR_ARGUMENT, "nothing is loaded", "linear");
  check(bitblas_linear_load_values(l, &x->v));
  check(bitblas_linear_forward(l, &args));
  check(bitblas_free(s->context, memory));
  bitblas_linear_destroy(l);
  free(x);
}

/* -- Files --------------------------------------------------------------------------------------------------------- */

/* A state of one config into another: what differs is named. */
static void refuses_other_states(void **state) {
  linear_suite *s = *state;
  sample *x;
  bitblas_linear *l = loaded(s, 4, &x), *other; /* u4 quantized, groups of 48, bias of f32 */
  check(bitblas_linear_save(l, s->file));
#define WRONG_STATE(status, word, also, ...)                                                                           \
  do {                                                                                                                 \
    bitblas_linear_config c = config_at(4);                                                                            \
    __VA_ARGS__;                                                                                                       \
    check(bitblas_linear_create(s->context, &c, &other));                                                              \
    refuses(bitblas_linear_load_file(other, s->file), BITBLAS_ERROR_##status, word, also);                             \
    assert_false(other->loaded);                                                                                       \
    bitblas_linear_destroy(other);                                                                                     \
  } while (0)
  WRONG_STATE(SHAPE, "[40, 96]", "[40, 192]", c.in_features = 192);
  WRONG_STATE(SHAPE, "linear.bias has 160 bytes", "linear's 96", c.out_features = 24);
  WRONG_STATE(TYPE, "codes are u4", "u2", c.W_dtype = T(U2), c.group_size = 24);
  WRONG_STATE(SHAPE, "groups of 48", "of 32", c.group_size = 32);
  WRONG_STATE(TYPE, "has zeros", "none", c.with_zeros = 0);
  WRONG_STATE(TYPE, "has scales", "none", c.with_scaling = 0);
  WRONG_STATE(SHAPE, "linear.bias", "none", c.with_bias = 0);
  WRONG_STATE(TYPE, "linear.bias is F32", "f16", c.out_dtype = T(F16));
  refuses(bitblas_linear_load_file(l, "/nowhere/at/all"), BITBLAS_ERROR_FILE, "/nowhere/at/all", "No such file");
  refuses(bitblas_linear_load_file(l, NULL), BITBLAS_ERROR_ARGUMENT, "path", "null");
  refuses(bitblas_linear_load_file(NULL, s->file), BITBLAS_ERROR_ARGUMENT, "linear", "null");
  bitblas_linear_destroy(l);
  free(x);
  l = loaded(s, 2, &x); /* without a bias */
  check(bitblas_linear_save(l, s->file));
  bitblas_linear_config c = config_at(2);
  c.with_bias = 1;
  check(bitblas_linear_create(s->context, &c, &other));
  refuses(bitblas_linear_load_file(other, s->file), BITBLAS_ERROR_ARGUMENT, "values.bias is null", "has one");
  bitblas_linear_destroy(other);
  /* Zeros that are no codes: 4.3 of u4. */
  c = config_at(2);
  c.zeros_mode = BITBLAS_ZEROS_QUANTIZED;
  check(bitblas_linear_create(s->context, &c, &other));
  refuses(bitblas_linear_load_file(other, s->file), BITBLAS_ERROR_TYPE, "zero [", "u4 has not");
  bitblas_linear_destroy(other);
  bitblas_linear_destroy(l);
  free(x);
}

static void write_bytes(const char *path, const unsigned char *bytes, size_t count) {
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, count, f), count);
  fclose(f);
}

/* Files cut short, and with bytes changed: refused, or read as something else, but never a crash; a later load works. */
static void survives_damaged_states(void **state) {
  linear_suite *s = *state;
  sample *x;
  bitblas_linear *l = loaded(s, 4, &x);
  check(bitblas_linear_save(l, s->file));
  FILE *f = fopen(s->file, "rb");
  assert_non_null(f);
  unsigned char *good = malloc(1 << 16), *bad = malloc(1 << 16);
  size_t size = fread(good, 1, 1 << 16, f);
  fclose(f);
  assert_true(size > 1000 && size < 1 << 16);
  for (size_t cut = 0; cut < size; cut += cut < 64 ? 1 : 61) {
    write_bytes(s->file, good, cut);
    assert_int_equal(bitblas_linear_load_file(l, s->file), BITBLAS_ERROR_FILE);
    assert_false(l->loaded);
  }
  uint64_t header = 0;
  memcpy(&header, good, 8);
  for (int i = 0; i < 1000; i++) {
    memcpy(bad, good, size);
    size_t at = i % 2 ? random_bits(s) % (header + 8) : random_bits(s) % size;
    bad[at] = (unsigned char)random_bits(s);
    write_bytes(s->file, bad, size);
    bool read = bitblas_linear_load_file(l, s->file) == BITBLAS_OK;
    assert_int_equal(read, l->loaded);
  }
  write_bytes(s->file, good, size);
  check(bitblas_linear_load_file(l, s->file));
  expect_product(s, l, 3, x->w, x->v.bias, 1);
  free(good);
  free(bad);
  bitblas_linear_destroy(l);
  free(x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_and_files),     cmocka_unit_test(refuses_configs),
      cmocka_unit_test(refuses_values),       cmocka_unit_test(refuses_runs),
      cmocka_unit_test(refuses_other_states), cmocka_unit_test(survives_damaged_states),
  };
  return cmocka_run_group_tests_name("linear", tests, open_suite, close_suite);
}
