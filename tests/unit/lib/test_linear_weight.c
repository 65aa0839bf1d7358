/* Linear from checkpoints: each format's weight, in the linear that bitblas_linear_config_for makes for it, against sums of
 * doubles over bitblas_weight_decode's values. */
#include "tests/unit/lib/linear.h"

#define T(name) BITBLAS_TYPE_##name
static const int64_t buckets[] = {1, 16};
enum { N = 32, K = 128, GROUP = 32, GROUPS = K / GROUP };

/* -- Files --------------------------------------------------------------------------------------------------------- */

static void add_random(linear_suite *s, built_file *f, const char *name, const char *type, const char *shape,
                       size_t bytes) {
  unsigned char *data = malloc(bytes);
  random_bytes(s, data, bytes);
  build_tensor(f, name, type, shape, data, bytes);
  free(data);
}

static void add_numbers(linear_suite *s, built_file *f, const char *name, bitblas_type type, const char *shape,
                        size_t count, double low, double high) {
  unsigned char *data = malloc(count * 4);
  random_numbers(s, type, low, high, data, count);
  build_tensor(f, name, type == T(F16) ? "F16" : "F32", shape, data, bytes_of(type, (int64_t)count));
  free(data);
}

/* K x N codes of `bits`; version 2 has the zeros as they are. order: 0 in order, 1 inputs of the groups mixed. */
static void build_gptq(linear_suite *s, built_file *f, int bits, int version, int order) {
  char shape[64];
  snprintf(shape, sizeof shape, "[%d, %d]", K * bits / 32, N);
  add_random(s, f, "p.qweight", "I32", shape, (size_t)(K * bits / 8 * N));
  snprintf(shape, sizeof shape, "[%d, %d]", GROUPS, N * bits / 32);
  uint32_t zeros[GROUPS * N / 8];
  random_bytes(s, zeros, sizeof zeros);
  for (int i = 0; i < GROUPS * N / 8 && version == 1; i++)
    zeros[i] &= 0x77777777; /* with 1 added, codes too */
  build_tensor(f, "p.qzeros", "I32", shape, zeros, (size_t)(GROUPS * N * bits / 8));
  snprintf(shape, sizeof shape, "[%d, %d]", GROUPS, N);
  add_numbers(s, f, "p.scales", T(F16), shape, (size_t)(GROUPS * N), 0.05, 0.2);
  int32_t g_idx[K];
  for (int k = 0; k < K; k++)
    g_idx[k] = order ? (k * 5 + 3) % K / GROUP : k / GROUP;
  BUILD(f, "p.g_idx", "I32", "[128]", g_idx);
  build_metadata(f, "checkpoint_format", version == 2 ? "gptq_v2" : "gptq");
}

static bitblas_weight *gptq_1(linear_suite *s) {
  built_file f = {0};
  build_gptq(s, &f, 4, 1, 0);
  return build_read(&f, NULL);
}

/* A zero of 15 + 1, which u4 has not. */
static bitblas_weight *gptq_1_sixteen(linear_suite *s) {
  built_file f = {0};
  add_random(s, &f, "p.qweight", "I32", "[16, 32]", K / 2 * N);
  uint32_t zeros[GROUPS * N / 8];
  memset(zeros, 0xFF, sizeof zeros);
  BUILD(&f, "p.qzeros", "I32", "[4, 4]", zeros);
  add_numbers(s, &f, "p.scales", T(F16), "[4, 32]", GROUPS * N, 0.05, 0.2);
  build_metadata(&f, "checkpoint_format", "gptq");
  return build_read(&f, NULL);
}

static bitblas_weight *gptq_2(linear_suite *s) {
  built_file f = {0};
  build_gptq(s, &f, 4, 2, 0);
  return build_read(&f, NULL);
}

static bitblas_weight *gptq_act_order(linear_suite *s) {
  built_file f = {0};
  build_gptq(s, &f, 4, 2, 1);
  return build_read(&f, NULL);
}

static bitblas_weight *gptq_3(linear_suite *s) {
  built_file f = {0};
  build_gptq(s, &f, 3, 2, 1);
  bitblas_weight_config config = config_of(NULL, 3, 0);
  return build_read(&f, &config);
}

static bitblas_weight *gptq_2_bits(linear_suite *s) {
  built_file f = {0};
  build_gptq(s, &f, 2, 2, 0);
  bitblas_weight_config config = config_of(NULL, 2, 0);
  return build_read(&f, &config);
}

/* All zeros are 8: read as i4. */
static bitblas_weight *gptq_symmetric(linear_suite *s) {
  built_file f = {0};
  uint32_t zeros[GROUPS * N / 8];
  for (int i = 0; i < GROUPS * N / 8; i++)
    zeros[i] = 0x88888888;
  add_random(s, &f, "p.qweight", "I32", "[16, 32]", K / 2 * N);
  BUILD(&f, "p.qzeros", "I32", "[4, 4]", zeros);
  add_numbers(s, &f, "p.scales", T(F16), "[4, 32]", GROUPS * N, 0.05, 0.2);
  build_metadata(&f, "checkpoint_format", "gptq_v2");
  return build_read(&f, NULL);
}

static bitblas_weight *awq(linear_suite *s) {
  built_file f = {0};
  add_random(s, &f, "p.qweight", "I32", "[128, 4]", K * N / 2);
  add_random(s, &f, "p.qzeros", "I32", "[4, 4]", GROUPS * N / 2);
  add_numbers(s, &f, "p.scales", T(F16), "[4, 32]", GROUPS * N, 0.05, 0.2);
  return build_read(&f, NULL);
}

static bitblas_weight *hqq(linear_suite *s) {
  static const int64_t shape[2] = {N, K};
  built_file f = {0};
  add_random(s, &f, "p.W_q", "U8", "[64, 32]", N * K / 2);
  BUILD(&f, "p.shape", "I64", "[2]", shape);
  add_numbers(s, &f, "p.scale", T(F32), "[128, 1]", N * GROUPS, 0.05, 0.2);
  add_numbers(s, &f, "p.zero", T(F16), "[128, 1]", N * GROUPS, 0, 15);
  return build_read(&f, NULL);
}

static void build_bnb(linear_suite *s, built_file *f, const float *table) {
  static const char state[] = "{\"shape\": [32, 128], \"blocksize\": 64, \"dtype\": \"float16\"}";
  char shape[32];
  add_random(s, f, "p.weight", "U8", "[2048, 1]", N * K / 2);
  build_tensor(f, "p.weight.quant_map", "F32", "[16]", table, 64);
  add_numbers(s, f, "p.weight.absmax", T(F32), "[64]", N * K / 64, 0.05, 0.2);
  snprintf(shape, sizeof shape, "[%zu]", sizeof state - 1);
  build_tensor(f, "p.weight.quant_state.bitsandbytes__nf4", "U8", shape, state, sizeof state - 1);
}

static bitblas_weight *bnb(linear_suite *s) {
  built_file f = {0};
  float table[16];
  for (unsigned i = 0; i < 16; i++)
    table[i] = (float)ir_decode(IR_NF4, i);
  build_bnb(s, &f, table);
  return build_read(&f, NULL);
}

/* A table of its own, as of bitsandbytes' FP4. */
static bitblas_weight *bnb_other_table(linear_suite *s) {
  built_file f = {0};
  float table[16];
  for (int i = 0; i < 16; i++)
    table[i] = (float)(i * i) / 256 - 0.25f;
  build_bnb(s, &f, table);
  return build_read(&f, NULL);
}

static void add_bytes_without_nan(linear_suite *s, built_file *f) {
  unsigned char codes[N * K];
  for (int i = 0; i < N * K; i++)
    codes[i] = (unsigned char)(random_bits(s) >> 8 & 0xB7);
  BUILD(f, "p.weight", "F8_E4M3", "[32, 128]", codes);
}

static bitblas_weight *fp8(linear_suite *s) {
  built_file f = {0};
  add_bytes_without_nan(s, &f);
  add_numbers(s, &f, "p.weight_scale", T(F32), "[32, 1]", N, 0.05, 0.2);
  return build_read(&f, NULL);
}

/* Scales that f16 does not have. */
static bitblas_weight *fp8_small(linear_suite *s) {
  built_file f = {0};
  add_bytes_without_nan(s, &f);
  add_numbers(s, &f, "p.weight_scale", T(F32), "[32, 1]", N, 1e-6, 1e-5);
  return build_read(&f, NULL);
}

/* Scales that are 0 in f16. */
static bitblas_weight *fp8_tiny(linear_suite *s) {
  built_file f = {0};
  add_bytes_without_nan(s, &f);
  add_numbers(s, &f, "p.weight_scale", T(F32), "[32, 1]", N, 1e-10, 1e-9);
  return build_read(&f, NULL);
}

static bitblas_weight *plain(linear_suite *s) {
  built_file f = {0};
  add_numbers(s, &f, "p.weight", T(F16), "[32, 128]", N * K, -1, 1);
  return build_read(&f, NULL);
}

/* One signed bit a code, from BitBLAS itself. */
static bitblas_weight *signs(linear_suite *s) {
  built_file f = {0};
  bitblas_weight_config config = config_of("bitblas", 1, 0);
  add_random(s, &f, "p.qweight", "I8", "[32, 16]", N * K / 8);
  add_numbers(s, &f, "p.scales", T(F16), "[32, 4]", N * GROUPS, 0.05, 0.2);
  return build_read(&f, &config);
}

/* -- Each format --------------------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  bitblas_weight *(*read)(linear_suite *s);
  bitblas_type type, scale; /* that the config gets */
  int scaling, zeros, mode;
  double roundings; /* also of scales and values that are rounded when they are loaded */
} formats[] = {
    {"gptq", gptq_1, T(U4), T(NONE), 1, 1, BITBLAS_ZEROS_QUANTIZED, 1},
    {"gptq, zeros of 16", gptq_1_sixteen, T(U4), T(NONE), 1, 1, BITBLAS_ZEROS_ORIGINAL, 2},
    {"gptq-v2", gptq_2, T(U4), T(NONE), 1, 1, BITBLAS_ZEROS_QUANTIZED, 1},
    {"gptq-v2, act order", gptq_act_order, T(U4), T(NONE), 1, 1, BITBLAS_ZEROS_QUANTIZED, 1},
    {"gptq-v2, 3 bits, act order", gptq_3, T(NONE), T(NONE), 0, 0, BITBLAS_ZEROS_QUANTIZED, 1},
    {"gptq-v2, 2 bits", gptq_2_bits, T(U2), T(NONE), 1, 1, BITBLAS_ZEROS_QUANTIZED, 1},
    {"gptq-v2, symmetric", gptq_symmetric, T(I4), T(NONE), 1, 0, BITBLAS_ZEROS_ORIGINAL, 1},
    {"awq", awq, T(U4), T(NONE), 1, 1, BITBLAS_ZEROS_QUANTIZED, 1},
    {"hqq", hqq, T(U4), T(NONE), 1, 1, BITBLAS_ZEROS_ORIGINAL, 3},
    {"bnb nf4", bnb, T(NF4), T(NONE), 1, 0, BITBLAS_ZEROS_ORIGINAL, 3},
    {"bnb, a table of its own", bnb_other_table, T(NONE), T(NONE), 0, 0, BITBLAS_ZEROS_ORIGINAL, 1},
    {"fp8", fp8, T(F8E4M3), T(NONE), 1, 0, BITBLAS_ZEROS_ORIGINAL, 2},
    {"fp8, small scales", fp8_small, T(F8E4M3), T(F32), 1, 0, BITBLAS_ZEROS_ORIGINAL, 1},
    {"plain", plain, T(NONE), T(NONE), 0, 0, BITBLAS_ZEROS_ORIGINAL, 0},
    {"signs", signs, T(I1), T(NONE), 1, 0, BITBLAS_ZEROS_ORIGINAL, 1},
};

static bitblas_linear_config for_weight(const bitblas_weight *w) {
  bitblas_linear_config c = BITBLAS_LINEAR_CONFIG_INIT;
  c.opt_M = buckets, c.opt_M_count = 2;
  check(bitblas_linear_config_for(w, &c));
  return c;
}

static float *values_of(const bitblas_weight *w) {
  bitblas_weight_info info = describe(w);
  size_t count = (size_t)(info.rows * info.columns);
  float *values = malloc(count * sizeof *values);
  check(bitblas_weight_decode(w, values, count));
  return values;
}

static void every_format(void **state) {
  linear_suite *s = *state;
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
    static const int64_t rows[] = {1, 7, 16, LINEAR_ROWS};
    bitblas_weight *w = formats[i].read(s);
    bitblas_linear_config c = for_weight(w);
    bitblas_linear *l, *again;
    uint16_t bias[N];
    print_message("%s\n", formats[i].name);
    assert_int_equal(c.in_features, K);
    assert_int_equal(c.out_features, N);
    assert_int_equal(c.W_dtype, formats[i].type);
    assert_int_equal(c.scale_dtype, formats[i].scale);
    assert_int_equal(c.with_scaling, formats[i].scaling);
    assert_int_equal(c.with_zeros, formats[i].zeros);
    if (c.with_zeros) assert_int_equal(c.zeros_mode, formats[i].mode);
    c.with_bias = 1;
    random_numbers(s, T(F16), -1, 1, bias, N);
    float *values = values_of(w);
    check(bitblas_linear_create(s->context, &c, &l));
    check(bitblas_linear_load(l, w, bias));
    for (int m = 0; m < 4; m++)
      expect_product(s, l, rows[m], values, bias, formats[i].roundings);
    check(bitblas_linear_save(l, s->file));
    check(bitblas_linear_create(s->context, &c, &again));
    check(bitblas_linear_load_file(again, s->file));
    expect_same(s, l, again, 7);
    assert_int_equal(l->gather != NULL, formats[i].read == gptq_act_order);
    assert_int_equal(again->gather != NULL, l->gather != NULL);
    bitblas_linear_destroy(l);
    bitblas_linear_destroy(again);
    bitblas_weight_destroy(w);
    free(values);
  }
}

/* -- Other linears than the weight's own ---------------------------------------------------------------------------- */

/* The same weight in a linear of smaller groups, other zeros, other types. */
static void other_configs(void **state) {
  linear_suite *s = *state;
  static const struct {
    bitblas_weight *(*read)(linear_suite *s);
    bitblas_type a, w, scale;
    int zeros, mode, group;
    double roundings;
  } cases[] = {
      {gptq_2, T(F16), T(U4), T(NONE), 1, BITBLAS_ZEROS_QUANTIZED, 16, 1},
      {gptq_2, T(F16), T(U4), T(NONE), 1, BITBLAS_ZEROS_ORIGINAL, 32, 2},
      {gptq_2, T(F16), T(U4), T(F32), 1, BITBLAS_ZEROS_RESCALE, 8, 2},
      {gptq_2, T(BF16), T(U4), T(NONE), 1, BITBLAS_ZEROS_QUANTIZED, 32, 2},
      {gptq_act_order, T(BF16), T(U4), T(F32), 1, BITBLAS_ZEROS_QUANTIZED, 16, 1},
      {gptq_symmetric, T(F16), T(U4), T(NONE), 1, BITBLAS_ZEROS_QUANTIZED, 32, 1},
      {gptq_symmetric, T(F16), T(U4), T(NONE), 1, BITBLAS_ZEROS_ORIGINAL, 16, 2},
      {gptq_symmetric, T(F16), T(U4), T(F32), 1, BITBLAS_ZEROS_RESCALE, 32, 2},
      {gptq_symmetric, T(I8), T(I4), T(NONE), 0, BITBLAS_ZEROS_ORIGINAL, 32, 0},
      {gptq_act_order, T(I8), T(U4), T(NONE), 1, BITBLAS_ZEROS_QUANTIZED, 32, 0},
      {signs, T(I8), T(I1), T(NONE), 0, BITBLAS_ZEROS_ORIGINAL, 32, 0},
      {signs, T(F16), T(U1), T(F32), 1, BITBLAS_ZEROS_ORIGINAL, 32, 2},
      {fp8, T(F8E4M3), T(F8E4M3), T(NONE), 0, BITBLAS_ZEROS_ORIGINAL, 128, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    bitblas_weight *w = cases[i].read(s);
    bitblas_linear_config c = BITBLAS_LINEAR_CONFIG_INIT;
    bitblas_linear *l;
    c.in_features = K, c.out_features = N, c.opt_M = buckets, c.opt_M_count = 2;
    c.A_dtype = cases[i].a, c.W_dtype = cases[i].w, c.scale_dtype = cases[i].scale;
    c.out_dtype = bitblas_type_bits(c.A_dtype) == 16 ? T(NONE) : T(F32);
    c.with_scaling = 1, c.with_zeros = cases[i].zeros, c.zeros_mode = (bitblas_zeros_mode)cases[i].mode;
    c.group_size = cases[i].group;
    print_message("case %zu\n", i);
    float *values = values_of(w);
    check(bitblas_linear_create(s->context, &c, &l));
    check(bitblas_linear_load(l, w, NULL));
    expect_product(s, l, 7, values, NULL, cases[i].roundings);
    bitblas_linear_destroy(l);
    bitblas_weight_destroy(w);
    free(values);
  }
}

/* Groups that do not divide the inputs: those of 128 in 192 are groups of 64 to the linear. */
static void ragged_groups(void **state) {
  linear_suite *s = *state;
  built_file f = {0};
  static const int64_t shape[2] = {8, 192};
  add_random(s, &f, "p.weight_packed", "I32", "[8, 24]", 8 * 24 * 4);
  BUILD(&f, "p.weight_shape", "I64", "[2]", shape);
  add_numbers(s, &f, "p.weight_scale", T(F32), "[8, 2]", 16, 0.05, 0.2);
  bitblas_weight_config config = config_of(NULL, 4, 128);
  bitblas_weight *w = build_read(&f, &config);
  bitblas_linear_config c = for_weight(w);
  assert_int_equal(describe(w).group_size, 128);
  assert_int_equal(c.group_size, 64);
  assert_int_equal(c.W_dtype, T(I4));
  bitblas_linear *l;
  float *values = values_of(w);
  check(bitblas_linear_create(s->context, &c, &l));
  check(bitblas_linear_load(l, w, NULL));
  expect_product(s, l, 7, values, NULL, 2);
  bitblas_linear_destroy(l);
  bitblas_weight_destroy(w);
  free(values);
}

/* -- Refusals ------------------------------------------------------------------------------------------------------ */

#define WRONG_LINEAR(reader, status, word, other, ...)                                                                 \
  do {                                                                                                                 \
    bitblas_weight *w = reader(s);                                                                                     \
    bitblas_linear_config c = for_weight(w);                                                                           \
    bitblas_linear *l;                                                                                                 \
    __VA_ARGS__;                                                                                                       \
    check(bitblas_linear_create(s->context, &c, &l));                                                                  \
    refuses(bitblas_linear_load(l, w, NULL), BITBLAS_ERROR_##status, word, other);                                     \
    assert_false(l->loaded);                                                                                           \
    bitblas_linear_destroy(l);                                                                                         \
    bitblas_weight_destroy(w);                                                                                         \
  } while (0)

static void refuses_weights(void **state) {
  linear_suite *s = *state;
  WRONG_LINEAR(gptq_2, SHAPE, "[32, 128]", "[32, 256]", c.in_features = 256);
  WRONG_LINEAR(gptq_2, SHAPE, "[32, 128]", "[16, 128]", c.out_features = 16);
  WRONG_LINEAR(gptq_2, TYPE, "codes are u4", "u2", c.W_dtype = T(U2));
  WRONG_LINEAR(gptq_2, TYPE, "codes are u4", "i4", c.W_dtype = T(I4));
  WRONG_LINEAR(gptq_symmetric, TYPE, "codes are i4", "u4", c.W_dtype = T(U4));
  WRONG_LINEAR(gptq_2, SHAPE, "groups of 32", "of 64", c.group_size = 64);
  WRONG_LINEAR(gptq_2, TYPE, "has zeros", "none", c.with_zeros = 0);
  WRONG_LINEAR(awq, TYPE, "has scales", "none", c.with_scaling = 0);
  WRONG_LINEAR(gptq_symmetric, TYPE, "has scales, [0, 0]", "none", c.with_scaling = 0, c.group_size = -1);
  WRONG_LINEAR(gptq_2, ARGUMENT, "values.bias is null", "has one", c.with_bias = 1);
  WRONG_LINEAR(hqq, TYPE, "zero [0, 0]", "u4 has not", c.zeros_mode = BITBLAS_ZEROS_QUANTIZED);
  WRONG_LINEAR(awq, TYPE, "scale [0, 0]", "e8m0 has not", c.scale_dtype = T(E8M0));
  WRONG_LINEAR(fp8_tiny, TYPE, "scale [0, 0]", "f16 has not", c.scale_dtype = T(F16));
  WRONG_LINEAR(bnb_other_table, TYPE, "table of its own", "f16", c.W_dtype = T(U4));
  WRONG_LINEAR(gptq_3, TYPE, "value [0, 0]", "i8 has not", c.A_dtype = T(I8), c.W_dtype = T(I8));
  WRONG_LINEAR(plain, TYPE, "value [0, 0]", "f8e4m3 has not", c.A_dtype = T(F8E4M3), c.W_dtype = T(F8E4M3));
  WRONG_LINEAR(gptq_act_order, UNSUPPORTED, "permuted", "i4", c.A_dtype = T(I4));
  bitblas_linear_config c = BITBLAS_LINEAR_CONFIG_INIT;
  bitblas_weight *w = awq(s);
  refuses(bitblas_linear_config_for(NULL, &c), BITBLAS_ERROR_ARGUMENT, "weight", "null");
  refuses(bitblas_linear_config_for(w, NULL), BITBLAS_ERROR_ARGUMENT, "config", "null");
  refuses(bitblas_linear_load(NULL, w, NULL), BITBLAS_ERROR_ARGUMENT, "linear", "null");
  c = for_weight(w);
  bitblas_linear *l;
  uint16_t bias[N] = {0};
  check(bitblas_linear_create(s->context, &c, &l));
  refuses(bitblas_linear_load(l, w, bias), BITBLAS_ERROR_ARGUMENT, "values.bias is set", "has none");
  check(bitblas_linear_load(l, w, NULL));
  refuses(bitblas_linear_load(l, NULL, NULL), BITBLAS_ERROR_ARGUMENT, "weight", "null");
  assert_false(l->loaded);
  bitblas_linear_destroy(l);
  bitblas_weight_destroy(w);
}

/* A permuted weight gathers A into the workspace. */
static void gathering_needs_workspace(void **state) {
  linear_suite *s = *state;
  bitblas_weight *w = gptq_act_order(s), *straight = gptq_2(s);
  bitblas_linear_config c = for_weight(w);
  bitblas_linear *l;
  size_t bytes;
  void *memory;
  check(bitblas_linear_create(s->context, &c, &l));
  check(bitblas_linear_prepare(l, NULL, 0));
  check(bitblas_linear_load(l, w, NULL));
  check(bitblas_linear_workspace_bytes(l, 3, &bytes));
  assert_true(bytes >= 3 * K * 2);
  check(bitblas_allocate(s->context, 1 << 16, &memory));
  bitblas_linear_args args = BITBLAS_LINEAR_ARGS_INIT, bad;
  args.M = 3, args.A = memory, args.C = (char *)memory + 8192;
  args.workspace = (char *)memory + 16384, args.workspace_bytes = bytes;
#define WRONG_RUN(status, word, other, ...)                                                                            \
  do {                                                                                                                 \
    bad = args;                                                                                                        \
    __VA_ARGS__;                                                                                                       \
    memset(args.workspace, 0x5A, bytes);                                                                               \
    refuses(bitblas_linear_forward(l, &bad), BITBLAS_ERROR_##status, word, other);                                     \
    assert_int_equal(((unsigned char *)args.workspace)[0], 0x5A); /* nothing was gathered */                           \
  } while (0)
  WRONG_RUN(WORKSPACE, "0 bytes", "gathering A takes 768", bad.workspace = NULL);
  WRONG_RUN(WORKSPACE, "767 bytes", "gathering A takes 768", bad.workspace_bytes = 767);
  WRONG_RUN(ALIGNMENT, "at", "16 bytes", bad.workspace = (char *)args.workspace + 4);
  WRONG_RUN(ARGUMENT, "args.M is -2", "1 to 2147483647", bad.M = -2);
  WRONG_RUN(ARGUMENT, "args.A is null", "null", bad.A = NULL);
  WRONG_RUN(ARGUMENT, "args.C is null", "has one", bad.C = NULL);
  WRONG_RUN(ALIGNMENT, "A is at", "bytes", bad.A = (char *)memory + 1);
  check(bitblas_linear_forward(l, &args));
  check(bitblas_linear_load(l, straight, NULL)); /* replaced: nothing is gathered now */
  check(bitblas_linear_workspace_bytes(l, 3, &bytes));
  assert_int_equal(bytes, 0);
  float *values = values_of(straight);
  expect_product(s, l, 3, values, NULL, 1);
  free(values);
  check(bitblas_free(s->context, memory));
  bitblas_linear_destroy(l);
  bitblas_weight_destroy(w);
  bitblas_weight_destroy(straight);
}

/* Bytes of a state with a permutation changed: whatever still loads also runs, and reads nothing outside A. */
static void runs_what_loads(void **state) {
  linear_suite *s = *state;
  bitblas_weight *w = gptq_act_order(s);
  bitblas_linear_config c = for_weight(w);
  bitblas_linear *l;
  check(bitblas_linear_create(s->context, &c, &l));
  check(bitblas_linear_load(l, w, NULL));
  check(bitblas_linear_save(l, s->file));
  FILE *f = fopen(s->file, "rb");
  assert_non_null(f);
  unsigned char *good = malloc(1 << 16), *bad = malloc(1 << 16), rows[3 * K * 2], out[3 * N * 2];
  size_t size = fread(good, 1, 1 << 16, f);
  fclose(f);
  assert_true(size > 2000 && size < 1 << 16);
  random_numbers(s, T(F16), -1, 1, rows, 3 * K);
  int loaded = 0;
  for (int i = 0; i < 300; i++) {
    memcpy(bad, good, size);
    bad[random_bits(s) % size] ^= (unsigned char)(1 << random_bits(s) % 8);
    f = fopen(s->file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bad, 1, size, f), size);
    fclose(f);
    if (bitblas_linear_load_file(l, s->file) != BITBLAS_OK) continue;
    run_linear(s, l, 3, rows, sizeof rows, out, sizeof out);
    loaded++;
  }
  assert_true(loaded > 50 && loaded < 300);
  free(good);
  free(bad);
  bitblas_linear_destroy(l);
  bitblas_weight_destroy(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_format),
      cmocka_unit_test(other_configs),
      cmocka_unit_test(ragged_groups),
      cmocka_unit_test(refuses_weights),
      cmocka_unit_test(gathering_needs_workspace),
      cmocka_unit_test(runs_what_loads),
  };
  return cmocka_run_group_tests_name("linear_weight", tests, open_suite, close_suite);
}
