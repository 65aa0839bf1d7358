/* What bitblas_matmul refuses, and how it says so. What it computes is tests/library/matmul.test. */
#include "tests/unit/unit.h"

#include "include/bitblas.h"

static bitblas_context *context;
static int refusals; /* wrong calls that were answered rightly */

static int open_emulator(void **state) {
  (void)state;
  bitblas_context_config config = BITBLAS_CONTEXT_CONFIG_INIT;
  config.device = BITBLAS_DEVICE_EMULATOR;
  config.cache_directory = "";
  return bitblas_context_create(&config, &context) != BITBLAS_OK;
}

static int close_emulator(void **state) {
  (void)state;
  bitblas_context_destroy(context);
  return 0;
}

/* The words are separated by '|'. */
static void expect(const char *call, bitblas_status got, bitblas_status wanted, const char *words) {
  const char *message = bitblas_last_message();
  if (got != wanted)
    fail_msg("%s: %s, not %s: %s", call, bitblas_status_name(got), bitblas_status_name(wanted), message);
  char word[80];
  for (const char *at = words; *at;) {
    size_t length = strcspn(at, "|");
    snprintf(word, sizeof word, "%.*s", (int)length, at);
    if (!strstr(message, word)) fail_msg("%s: no '%s' in: %s", call, word, message);
    at += length + (at[length] == '|');
  }
  refusals++;
}

static bitblas_matmul_config w4a16(void) {
  bitblas_matmul_config c = BITBLAS_MATMUL_CONFIG_INIT;
  c.N = 64, c.K = 128;
  c.W_dtype = BITBLAS_TYPE_U4;
  c.with_scaling = 1, c.with_zeros = 1, c.group_size = 32;
  return c;
}

#define WRONG_CONFIG(status, words, ...)                                                                               \
  do {                                                                                                                 \
    bitblas_matmul_config c = w4a16();                                                                                 \
    bitblas_matmul *op = NULL;                                                                                         \
    __VA_ARGS__;                                                                                                       \
    expect(#__VA_ARGS__, bitblas_matmul_create(context, &c, &op), BITBLAS_ERROR_##status, words);                      \
    assert_null(op);                                                                                                   \
  } while (0)

static void refuses_configs(void **state) {
  (void)state;
  static const int64_t falling[] = {16, 8}, twice[] = {4, 4}, zero[] = {0, 4}, huge[] = {1, (int64_t)1 << 40};
  WRONG_CONFIG(ARGUMENT, "size 3|should have", c.size = 3);
  WRONG_CONFIG(ARGUMENT, "size 0", c.size = 0);
  WRONG_CONFIG(ARGUMENT, "config.N is 0", c.N = 0);
  WRONG_CONFIG(ARGUMENT, "config.N is -7", c.N = -7);
  WRONG_CONFIG(ARGUMENT, "config.N is 4294967296|2147483647", c.N = (int64_t)1 << 32);
  WRONG_CONFIG(ARGUMENT, "config.K is 0", c.K = 0);
  WRONG_CONFIG(ARGUMENT, "config.K is -1", c.K = -1);
  WRONG_CONFIG(ARGUMENT, "config.K is 9223372036854775807", c.K = INT64_MAX);
  WRONG_CONFIG(ARGUMENT, "config.M is -1", c.M = -1);
  WRONG_CONFIG(ARGUMENT, "config.M is 2147483648", c.M = (int64_t)1 << 31);
  WRONG_CONFIG(ARGUMENT, "config.M is 5|opt_M has 1", c.M = 5, c.opt_M = zero + 1, c.opt_M_count = 1);
  WRONG_CONFIG(ARGUMENT, "opt_M_count is -1", c.opt_M_count = -1);
  WRONG_CONFIG(ARGUMENT, "opt_M_count is 33|32", c.opt_M = zero, c.opt_M_count = 33);
  WRONG_CONFIG(ARGUMENT, "opt_M_count is 2|null", c.opt_M_count = 2);
  WRONG_CONFIG(ARGUMENT, "opt_M[1] is 8|17", c.opt_M = falling, c.opt_M_count = 2);
  WRONG_CONFIG(ARGUMENT, "opt_M[1] is 4|5", c.opt_M = twice, c.opt_M_count = 2);
  WRONG_CONFIG(ARGUMENT, "opt_M[0] is 0|1 to", c.opt_M = zero, c.opt_M_count = 2);
  WRONG_CONFIG(ARGUMENT, "opt_M[1] is 1099511627776", c.opt_M = huge, c.opt_M_count = 2);
  WRONG_CONFIG(TYPE, "A_dtype is i32|f16, bf16", c.A_dtype = BITBLAS_TYPE_I32);
  WRONG_CONFIG(TYPE, "A_dtype is f32", c.A_dtype = BITBLAS_TYPE_F32);
  WRONG_CONFIG(TYPE, "A_dtype is u8", c.A_dtype = BITBLAS_TYPE_U8);
  WRONG_CONFIG(TYPE, "A_dtype is ?", c.A_dtype = (bitblas_type)99);
  WRONG_CONFIG(TYPE, "W_dtype is ?", c.W_dtype = (bitblas_type)-1);
  WRONG_CONFIG(TYPE, "accum_dtype is i32|A_dtype f16|f32 f16", c.accum_dtype = BITBLAS_TYPE_I32);
  WRONG_CONFIG(TYPE, "accum_dtype is f16|A_dtype bf16|f32", c.A_dtype = BITBLAS_TYPE_BF16,
               c.accum_dtype = BITBLAS_TYPE_F16);
  WRONG_CONFIG(TYPE, "accum_dtype is f32|A_dtype i8|i32", c.A_dtype = BITBLAS_TYPE_I8,
               c.accum_dtype = BITBLAS_TYPE_F32);
  WRONG_CONFIG(TYPE, "out_dtype is i32|A_dtype f16", c.out_dtype = BITBLAS_TYPE_I32);
  WRONG_CONFIG(TYPE, "out_dtype is f8e4m3", c.out_dtype = BITBLAS_TYPE_F8E4M3);
  WRONG_CONFIG(TYPE, "scale_dtype is i8|f16, bf16, f32, e8m0", c.scale_dtype = BITBLAS_TYPE_I8);
  WRONG_CONFIG(TYPE, "scale_dtype is e8m0|mode 0|f32", c.scale_dtype = BITBLAS_TYPE_E8M0);
  WRONG_CONFIG(TYPE, "scale_dtype is f8e4m3|mode 1", c.scale_dtype = BITBLAS_TYPE_F8E4M3,
               c.zeros_mode = BITBLAS_ZEROS_RESCALE);
  WRONG_CONFIG(ARGUMENT, "layout is 4", c.layout = (bitblas_layout)4);
  WRONG_CONFIG(ARGUMENT, "layout is -1", c.layout = (bitblas_layout)-1);
  WRONG_CONFIG(ARGUMENT, "layout is 1|u4|nt", c.layout = BITBLAS_LAYOUT_NN);
  WRONG_CONFIG(ARGUMENT, "layout is 2|u4|nt", c.layout = BITBLAS_LAYOUT_TN);
  WRONG_CONFIG(ARGUMENT, "layout is 3|u4|nt", c.layout = BITBLAS_LAYOUT_TT);
  WRONG_CONFIG(ARGUMENT, "with_bias is 2", c.with_bias = 2);
  WRONG_CONFIG(ARGUMENT, "with_scaling is -1", c.with_scaling = -1);
  WRONG_CONFIG(ARGUMENT, "with_zeros is 7", c.with_zeros = 7);
  WRONG_CONFIG(ARGUMENT, "A_strided is 4096", c.A_strided = 4096);
  WRONG_CONFIG(ARGUMENT, "overlap_launches is 4294967297", c.overlap_launches = 4294967297);
  WRONG_CONFIG(ARGUMENT, "fast_accum is -1", c.fast_accum = -1);
  WRONG_CONFIG(ARGUMENT, "zeros_mode is 3", c.zeros_mode = (bitblas_zeros_mode)3);
  WRONG_CONFIG(ARGUMENT, "fast_decoding is 9", c.fast_decoding = (bitblas_fast_decoding)9);
  WRONG_CONFIG(ARGUMENT, "activation is 4", c.activation = (bitblas_activation)4);
  WRONG_CONFIG(TYPE, "activation is 2|i32", c.A_dtype = BITBLAS_TYPE_I8, c.with_zeros = 0,
               c.activation = BITBLAS_ACTIVATION_GELU);
  WRONG_CONFIG(TYPE, "zeros_mode is 0|i8|quantized", c.A_dtype = BITBLAS_TYPE_I8);
  WRONG_CONFIG(TYPE, "with_zeros is 1|f16 and W_dtype f16", c.W_dtype = BITBLAS_TYPE_F16);
  WRONG_CONFIG(TYPE, "with_zeros is 1|nf4|u4", c.W_dtype = BITBLAS_TYPE_NF4);
  WRONG_CONFIG(TYPE, "with_zeros is 1|i1", c.W_dtype = BITBLAS_TYPE_I1);
  WRONG_CONFIG(TYPE, "with_zeros is 1|f8e4m3", c.W_dtype = BITBLAS_TYPE_F8E4M3);
  WRONG_CONFIG(ARGUMENT, "K is 129|i4|130", c.A_dtype = BITBLAS_TYPE_I4, c.with_zeros = 0, c.K = 129,
               c.group_size = -1);
  WRONG_CONFIG(ARGUMENT, "fast_decoding is on|group_size 200|256", c.K = 2000, c.group_size = 1000 / 5,
               c.fast_decoding = BITBLAS_FAST_DECODING_ON, c.W_dtype = BITBLAS_TYPE_U1);
  WRONG_CONFIG(ARGUMENT, "K is 33|nf4|34", c.K = 33, c.group_size = -1, c.with_zeros = 0, c.W_dtype = BITBLAS_TYPE_NF4,
               c.fast_decoding = BITBLAS_FAST_DECODING_OFF);
  for (int64_t g = 2; g < 128; g++) /* each that does not divide K is refused, with one that does */
    if (128 % g) WRONG_CONFIG(ARGUMENT, "group_size is|K is 128|nearest", c.group_size = g);
  WRONG_CONFIG(ARGUMENT, "group_size is 256|K is 128", c.group_size = 256);
  WRONG_CONFIG(ARGUMENT, "group_size is -2", c.group_size = -2);
  bitblas_matmul *op = NULL;
  bitblas_matmul_config c = w4a16();
  expect("context", bitblas_matmul_create(NULL, &c, &op), BITBLAS_ERROR_ARGUMENT, "context is null");
  expect("op", bitblas_matmul_create(context, &c, NULL), BITBLAS_ERROR_ARGUMENT, "op is null");
  expect("config", bitblas_matmul_create(context, NULL, &op), BITBLAS_ERROR_ARGUMENT, "config is null");
}

/* Of every two types, those that are no pair are refused with the names of both and what there is instead. */
static void refuses_pairs(void **state) {
  (void)state;
  static const bitblas_type activations[] = {BITBLAS_TYPE_F16,    BITBLAS_TYPE_BF16, BITBLAS_TYPE_F8E4M3,
                                             BITBLAS_TYPE_F8E5M2, BITBLAS_TYPE_I8,   BITBLAS_TYPE_I4};
  int pairs = 0;
  for (int a = 0; a < 6; a++)
    for (int w = BITBLAS_TYPE_I1; w <= BITBLAS_TYPE_PRED; w++) {
      bitblas_matmul_config c = BITBLAS_MATMUL_CONFIG_INIT;
      bitblas_matmul *op = NULL;
      char words[80];
      c.N = c.K = 64, c.A_dtype = activations[a], c.W_dtype = (bitblas_type)w;
      bitblas_status status = bitblas_matmul_create(context, &c, &op);
      bitblas_matmul_destroy(op);
      snprintf(words, sizeof words, "W_dtype is %s|A_dtype %s|there are", bitblas_type_name(c.W_dtype),
               bitblas_type_name(c.A_dtype));
      if (status == BITBLAS_OK)
        pairs++;
      else
        expect("a pair", status, BITBLAS_ERROR_TYPE, words);
    }
  assert_int_equal(pairs, 41);
}

/* -- Runs ---------------------------------------------------------------------------------------------------------- */

typedef struct prepared {
  bitblas_matmul *op;
  uint8_t *memory; /* aligned, and enough for any operand */
} prepared;

static prepared prepare(void) {
  static const int64_t rows[] = {4, 16};
  bitblas_matmul_config c = w4a16();
  prepared p;
  c.opt_M = rows, c.opt_M_count = 2, c.A_strided = 1;
  assert_int_equal(bitblas_matmul_create(context, &c, &p.op), BITBLAS_OK);
  assert_int_equal(bitblas_matmul_prepare(p.op, rows, 1), BITBLAS_OK);
  p.memory = aligned_alloc(256, 1 << 20);
  memset(p.memory, 0, 1 << 20);
  return p;
}

#define WRONG_RUN(status, words, ...)                                                                                  \
  do {                                                                                                                 \
    bitblas_matmul_args args = BITBLAS_MATMUL_ARGS_INIT;                                                               \
    args.M = 3, args.A = p.memory, args.W = p.memory + 65536, args.scales = p.memory + 131072;                         \
    args.zeros = p.memory + 196608, args.C = p.memory + 262144;                                                        \
    __VA_ARGS__;                                                                                                       \
    memset(p.memory + 262144, 0x5A, 4096);                                                                             \
    expect(#__VA_ARGS__, bitblas_matmul_run(p.op, &args), BITBLAS_ERROR_##status, words);                              \
    assert_int_equal(p.memory[262144], 0x5A); /* nothing ran */                                                        \
  } while (0)

static void refuses_runs(void **state) {
  (void)state;
  prepared p = prepare();
  WRONG_RUN(ARGUMENT, "args has size 1", args.size = 1);
  WRONG_RUN(ARGUMENT, "M is -1", args.M = -1);
  WRONG_RUN(ARGUMENT, "M is 2147483648|1 to 2147483647", args.M = (int64_t)1 << 31);
  WRONG_RUN(ARGUMENT, "no kernel is prepared for M 5", args.M = 5);
  WRONG_RUN(ARGUMENT, "no kernel is prepared for M 1000", args.M = 1000);
  WRONG_RUN(ARGUMENT, "args.A is null|has one", args.A = NULL);
  WRONG_RUN(ARGUMENT, "args.W is null", args.W = NULL);
  WRONG_RUN(ARGUMENT, "args.scales is null", args.scales = NULL);
  WRONG_RUN(ARGUMENT, "args.zeros is null", args.zeros = NULL);
  WRONG_RUN(ARGUMENT, "args.C is null", args.C = NULL);
  WRONG_RUN(ARGUMENT, "args.bias is set|has none", args.bias = p.memory);
  for (int off = 2; off < 16; off += 2) {
    WRONG_RUN(ALIGNMENT, "A is at|16 bytes", args.A = p.memory + off);
    WRONG_RUN(ALIGNMENT, "W is at|bytes", args.W = p.memory + 65536 + off);
  }
  WRONG_RUN(ALIGNMENT, "C is at", args.C = p.memory + 262145);
  WRONG_RUN(SHAPE, "A_stride is 127|128 elements", args.A_stride = 127);
  WRONG_RUN(SHAPE, "A_stride is -128", args.A_stride = -128);
  WRONG_RUN(CONSTRAINT, "lda = 129|8", args.A_stride = 129);
  WRONG_RUN(CONSTRAINT, "lda = 132|8", args.A_stride = 132);
  expect("op", bitblas_matmul_run(NULL, NULL), BITBLAS_ERROR_ARGUMENT, "op is null");
  expect("args", bitblas_matmul_run(p.op, NULL), BITBLAS_ERROR_ARGUMENT, "args is null");
  bitblas_matmul_args none = BITBLAS_MATMUL_ARGS_INIT;
  assert_int_equal(bitblas_matmul_run(p.op, &none), BITBLAS_OK); /* no rows */
  int64_t wrong[] = {4, 0};
  size_t bytes;
  double us;
  expect("prepare", bitblas_matmul_prepare(p.op, wrong, 2), BITBLAS_ERROR_ARGUMENT, "M is 0");
  expect("prepare", bitblas_matmul_prepare(p.op, wrong, -1), BITBLAS_ERROR_ARGUMENT, "count is negative");
  expect("prepare", bitblas_matmul_prepare(p.op, NULL, 1), BITBLAS_ERROR_ARGUMENT, "M is null");
  expect("prepare", bitblas_matmul_prepare(NULL, NULL, 0), BITBLAS_ERROR_ARGUMENT, "op is null");
  expect("workspace", bitblas_matmul_workspace_bytes(NULL, 1, &bytes), BITBLAS_ERROR_ARGUMENT, "op is null");
  expect("workspace", bitblas_matmul_workspace_bytes(p.op, 1, NULL), BITBLAS_ERROR_ARGUMENT, "bytes is null");
  expect("workspace", bitblas_matmul_workspace_bytes(p.op, 16, &bytes), BITBLAS_ERROR_ARGUMENT,
         "no kernel is prepared");
  expect("workspace", bitblas_matmul_workspace_bytes(p.op, -3, &bytes), BITBLAS_ERROR_ARGUMENT, "M is -3");
  expect("latency", bitblas_matmul_profile_latency(p.op, 4, &us), BITBLAS_ERROR_UNSUPPORTED, "emulator");
  expect("latency", bitblas_matmul_profile_latency(p.op, 4, NULL), BITBLAS_ERROR_ARGUMENT, "microseconds is null");
  expect("latency", bitblas_matmul_profile_latency(p.op, 0, &us), BITBLAS_ERROR_ARGUMENT, "M is 0");
  expect("tune", bitblas_matmul_tune(p.op, 4, 20, &us), BITBLAS_ERROR_UNSUPPORTED, "emulator");
  expect("tune", bitblas_matmul_tune(NULL, 4, 20, &us), BITBLAS_ERROR_ARGUMENT, "op is null");
  assert_null(bitblas_matmul_get_source(p.op, 16, BITBLAS_SOURCE_CUDA));
  assert_null(bitblas_matmul_get_source(NULL, 4, BITBLAS_SOURCE_CUDA));
  assert_non_null(strstr(bitblas_matmul_get_source(p.op, 4, BITBLAS_SOURCE_TL), "kernel matmul"));
  assert_non_null(strstr(bitblas_matmul_get_source(p.op, 3, BITBLAS_SOURCE_CUDA), "__global__"));
  free(p.memory);
  bitblas_matmul_destroy(p.op);
  bitblas_matmul_destroy(NULL);
}

/* Sums of 8-bit floats are promoted to f32 unless the config says fast, or is of before it could; nothing else is. */
static void promotes_unless_fast(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    bitblas_matmul_config c = BITBLAS_MATMUL_CONFIG_INIT;
    bitblas_matmul *op;
    c.M = 64, c.N = 64, c.K = 256, c.A_dtype = i == 3 ? BITBLAS_TYPE_F16 : BITBLAS_TYPE_F8E4M3;
    c.fast_accum = i == 1 || i == 2;
    if (i == 2) c.size = offsetof(bitblas_matmul_config, fast_accum);
    assert_int_equal(bitblas_matmul_create(context, &c, &op), BITBLAS_OK);
    assert_int_equal(bitblas_matmul_prepare(op, NULL, 0), BITBLAS_OK);
    bool promotes = strstr(bitblas_matmul_get_source(op, 64, BITBLAS_SOURCE_CUDA), "_sums[") != NULL;
    assert_int_equal(promotes, i == 0 || i == 2);
    bitblas_matmul_destroy(op);
  }
}

/* -- Transforms ---------------------------------------------------------------------------------------------------- */

static void refuses_transforms(void **state) {
  (void)state;
  prepared p = prepare();
  size_t weight, scales;
  uint8_t codes[64 * 128] = {0};
  assert_int_equal(bitblas_matmul_operand_bytes(p.op, BITBLAS_OPERAND_WEIGHT, &weight), BITBLAS_OK);
  assert_int_equal(bitblas_matmul_operand_bytes(p.op, BITBLAS_OPERAND_SCALES, &scales), BITBLAS_OK);
  assert_int_equal(weight, 64 * 128 / 2);
#define TRANSFORM(operand, form, from, from_bytes, to, to_bytes)                                                       \
  bitblas_matmul_transform(p.op, operand, form, from, from_bytes, to, to_bytes)
  const bitblas_operand W = BITBLAS_OPERAND_WEIGHT, S = BITBLAS_OPERAND_SCALES;
  assert_int_equal(TRANSFORM(W, BITBLAS_FORM_VALUES, codes, sizeof codes, p.memory, weight), BITBLAS_OK);
  expect("from", TRANSFORM(W, BITBLAS_FORM_VALUES, NULL, sizeof codes, p.memory, weight), BITBLAS_ERROR_ARGUMENT,
         "from is null");
  expect("to", TRANSFORM(W, BITBLAS_FORM_VALUES, codes, sizeof codes, NULL, weight), BITBLAS_ERROR_ARGUMENT,
         "to is null");
  expect("short", TRANSFORM(W, BITBLAS_FORM_VALUES, codes, 100, p.memory, weight), BITBLAS_ERROR_SHAPE,
         "100 bytes|64 x 128 u4|8192");
  expect("packed", TRANSFORM(W, BITBLAS_FORM_PACKED, codes, sizeof codes, p.memory, weight), BITBLAS_ERROR_SHAPE,
         "8192 bytes|4096");
  expect("small", TRANSFORM(W, BITBLAS_FORM_VALUES, codes, sizeof codes, p.memory, weight - 1), BITBLAS_ERROR_SHAPE,
         "4095 bytes|4096");
  expect("scales", TRANSFORM(S, BITBLAS_FORM_VALUES, codes, 3, p.memory, scales), BITBLAS_ERROR_SHAPE,
         "3 bytes|64 x 4 f16|512");
  expect("form", TRANSFORM(W, (bitblas_form)3, codes, sizeof codes, p.memory, weight), BITBLAS_ERROR_ARGUMENT,
         "form is 3");
  expect("operand", TRANSFORM((bitblas_operand)3, BITBLAS_FORM_VALUES, codes, 1, p.memory, 1), BITBLAS_ERROR_ARGUMENT,
         "operand is 3");
  expect("bytes", bitblas_matmul_operand_bytes(p.op, W, NULL), BITBLAS_ERROR_ARGUMENT, "bytes is null");
  for (int value = 16; value < 256; value += 16) { /* the place and the value */
    codes[5 * 128 + 7] = (uint8_t)value;
    expect("value", TRANSFORM(W, BITBLAS_FORM_VALUES, codes, sizeof codes, p.memory, weight), BITBLAS_ERROR_ARGUMENT,
           "weight[5, 7] is|u4");
  }
  free(p.memory);
  bitblas_matmul_destroy(p.op);
  static const struct {
    bitblas_type type;
    int8_t bad[4];
  } kinds[] = {{BITBLAS_TYPE_I4, {8, -9, 127, -128}}, {BITBLAS_TYPE_I2, {2, -3, 3, 4}},
               {BITBLAS_TYPE_I1, {0, 2, -2, 127}},    {BITBLAS_TYPE_U2, {4, -1, 127, 16}},
               {BITBLAS_TYPE_U1, {2, -1, 3, 64}},     {BITBLAS_TYPE_NF4, {16, -1, 17, 100}}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    bitblas_matmul_config c = BITBLAS_MATMUL_CONFIG_INIT;
    bitblas_matmul *op;
    size_t bytes;
    uint8_t some[64 * 256], to[64 * 256];
    c.M = 1, c.N = 64, c.K = 256, c.W_dtype = kinds[i].type;
    assert_int_equal(bitblas_matmul_create(context, &c, &op), BITBLAS_OK);
    assert_int_equal(bitblas_matmul_operand_bytes(op, W, &bytes), BITBLAS_OK);
    for (int k = 0; k < 4; k++) {
      memset(some, 1, sizeof some);
      some[64 * 256 - 1] = (uint8_t)kinds[i].bad[k];
      expect("value", bitblas_matmul_transform(op, W, BITBLAS_FORM_VALUES, some, sizeof some, to, bytes),
             BITBLAS_ERROR_ARGUMENT, "weight[63, 255] is|which");
    }
    expect("scales", bitblas_matmul_transform(op, S, BITBLAS_FORM_VALUES, some, 1, to, 1), BITBLAS_ERROR_ARGUMENT,
           "the config has no scales");
    assert_int_equal(bitblas_matmul_operand_bytes(op, S, &bytes), BITBLAS_OK);
    assert_int_equal(bytes, 0);
    bitblas_matmul_destroy(op);
  }
}

static void there_were_many(void **state) {
  (void)state;
  assert_true(refusals >= 200);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(refuses_configs),    cmocka_unit_test(refuses_pairs),
                                     cmocka_unit_test(refuses_runs),       cmocka_unit_test(promotes_unless_fast),
                                     cmocka_unit_test(refuses_transforms), cmocka_unit_test(there_were_many)};
  return cmocka_run_group_tests(tests, open_emulator, close_emulator);
}
