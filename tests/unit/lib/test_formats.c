/* GPTQ, whose versions and orders have the most traps, and what all formats share: finding layers, wrong calls. */
#include "tests/unit/lib/checkpoint_file.h"

enum { N8 = 8, K8 = 8 };
static const uint16_t half_one = 0x3c00, half_half = 0x3800, half_two = 0x4000;

static const char *note_of(const bitblas_weight *w) { return describe(w).note; }

/* -- GPTQ ---------------------------------------------------------------------------------------------------------- */

/* 8 rows of 8 columns in 2 groups of 4. Column n of qweight is one word: its nibbles are the codes of row n, k = 0 lowest. */
static const uint32_t gptq_codes[1][N8] = {
    {0x76543210, 0xfedcba98, 0x00000000, 0xffffffff, 0x01234567, 0x89abcdef, 0x11111111, 0xf0f0f0f0}};
/* Stored zeros of group 0 are 0 .. 7, of group 1 all 7. */
static const uint32_t gptq_zeros[2][1] = {{0x76543210}, {0x77777777}};
static const uint16_t gptq_scales[2][N8] = {
    {half_one, half_one, half_one, half_one, half_half, half_half, half_half, half_half},
    {half_two, half_two, half_two, half_two, half_one, half_one, half_one, half_one}};

static unsigned nibble(uint32_t word, int index) { return word >> (4 * index) & 15; }

static void build_gptq(built_file *f) {
  BUILD(f, "p.qweight", "I32", "[1, 8]", gptq_codes);
  BUILD(f, "p.qzeros", "I32", "[2, 1]", gptq_zeros);
  BUILD(f, "p.scales", "F16", "[2, 8]", gptq_scales);
}

/* What the file above means where `added` is what was subtracted from its zeros. */
static void expect_gptq(bitblas_weight *w, const int *groups, int added) {
  static const float scales[2][2] = {{1, 0.5f}, {2, 1}};
  float wanted[N8 * K8];
  for (int n = 0; n < N8; n++)
    for (int k = 0; k < K8; k++) {
      int zero = (int)nibble(gptq_zeros[groups[k]][0], n) + added;
      wanted[n * K8 + k] = scales[groups[k]][n / 4] * (float)((int)nibble(gptq_codes[0][n], k) - zero);
    }
  expect_values(w, N8, K8, wanted);
}

static void gptq_1_adds_one_to_zeros(void **state) {
  (void)state;
  static const int groups[K8] = {0, 0, 0, 0, 1, 1, 1, 1};
  built_file f = {0};
  build_gptq(&f);
  bitblas_weight *w = build_read(&f, NULL);
  bitblas_weight_info info = describe(w);
  assert_string_equal(info.format, "gptq");
  assert_int_equal(info.type, BITBLAS_TYPE_U4);
  assert_int_equal(info.group_size, 4);
  assert_int_equal(info.zeros_mode, BITBLAS_WEIGHT_ZEROS_ORIGINAL);
  assert_null(info.permutation);
  assert_true(info.zeros[0] == 1 && info.zeros[1] == 8); /* row 0: stored 0 and 7 */
  assert_non_null(strstr(info.note, "version 1 or 2"));
  expect_gptq(w, groups, 1);
}

static void gptq_2_is_stated(void **state) {
  (void)state;
  static const int groups[K8] = {0, 0, 0, 0, 1, 1, 1, 1};
  built_file f = {0};
  build_gptq(&f);
  build_metadata(&f, "checkpoint_format", "gptq_v2");
  bitblas_weight *w = build_read(&f, NULL);
  assert_string_equal(describe(w).format, "gptq-v2");
  assert_string_equal(note_of(w), "");
  expect_gptq(w, groups, 0);
  build_gptq(&f);
  bitblas_weight_config config = config_of("gptq-v2", 0, 0);
  expect_gptq(build_read(&f, &config), groups, 0);
}

static void gptq_marlin_is_refused(void **state) {
  (void)state;
  built_file f = {0};
  build_gptq(&f);
  build_metadata(&f, "checkpoint_format", "marlin");
  build_refuses(&f, NULL, BITBLAS_ERROR_UNSUPPORTED, "marlin", "gptq_v2");
}

/* Symmetric models say which version they are: 7s are 8 - 1, 8s are 8. Both become signed codes without zeros. */
static void gptq_versions_are_told_by_symmetric_zeros(void **state) {
  (void)state;
  static const uint32_t sevens[1][1] = {{0x77777777}}, eights[1][1] = {{0x88888888}};
  static const uint16_t scales[1][N8] = {
      {half_one, half_one, half_one, half_one, half_one, half_one, half_one, half_one}};
  float wanted[N8 * K8];
  for (int i = 0; i < N8 * K8; i++)
    wanted[i] = (float)((int)nibble(gptq_codes[0][i / K8], i % K8) - 8);
  for (int version = 1; version <= 2; version++) {
    built_file f = {0};
    BUILD(&f, "p.qweight", "I32", "[1, 8]", gptq_codes);
    build_tensor(&f, "p.qzeros", "I32", "[1, 1]", version == 1 ? sevens : eights, 4);
    BUILD(&f, "p.scales", "F16", "[1, 8]", scales);
    bitblas_weight *w = build_read(&f, NULL);
    bitblas_weight_info info = describe(w);
    assert_string_equal(info.format, version == 1 ? "gptq" : "gptq-v2");
    assert_string_equal(info.note, "");
    assert_int_equal(info.type, BITBLAS_TYPE_I4);
    assert_int_equal(info.zeros_mode, BITBLAS_WEIGHT_ZEROS_NONE);
    assert_null(info.zeros);
    assert_int_equal(info.group_size, K8);
    expect_values(w, N8, K8, wanted);
  }
  /* Told otherwise, the reader obeys and says what it saw. */
  built_file f = {0};
  BUILD(&f, "p.qweight", "I32", "[1, 8]", gptq_codes);
  BUILD(&f, "p.qzeros", "I32", "[1, 1]", eights);
  BUILD(&f, "p.scales", "F16", "[1, 8]", scales);
  build_metadata(&f, "checkpoint_format", "gptq");
  bitblas_weight *w = build_read(&f, NULL);
  assert_string_equal(describe(w).format, "gptq");
  assert_non_null(strstr(note_of(w), "every stored zero is 8"));
  assert_true(describe(w).zeros[0] == 9);
  bitblas_weight_destroy(w);
}

/* A stored 15 is 16, not 0; a word that ends in ones was written with a zero of 0 unmasked: 777777f7 became fffffff7. */
static void gptq_notes_damaged_zeros(void **state) {
  (void)state;
  static const uint32_t damaged[2][1] = {{0xfffffff7}, {0xf7777777}};
  built_file f = {0};
  BUILD(&f, "p.qweight", "I32", "[1, 8]", gptq_codes);
  BUILD(&f, "p.qzeros", "I32", "[2, 1]", damaged);
  BUILD(&f, "p.scales", "F16", "[2, 8]", gptq_scales);
  bitblas_weight *w = build_read(&f, NULL);
  bitblas_weight_info info = describe(w);
  assert_true(info.zeros[0] == 8 && info.zeros[2] == 16 && info.zeros[15] == 16);
  assert_non_null(strstr(info.note, "1 words of qzeros end in ones"));
  bitblas_weight_destroy(w);
}

static void gptq_sorts_inputs_by_group(void **state) {
  (void)state;
  static const int32_t g_idx[K8] = {1, 0, 1, 0, 0, 1, 0, 1}, order[K8] = {1, 3, 4, 6, 0, 2, 5, 7};
  built_file f = {0};
  build_gptq(&f);
  BUILD(&f, "p.g_idx", "I32", "[8]", g_idx);
  bitblas_weight *w = build_read(&f, NULL);
  bitblas_weight_info info = describe(w);
  assert_non_null(info.permutation);
  assert_memory_equal(info.permutation, order, sizeof order);
  assert_int_equal(((const unsigned char *)info.codes)[0], 1); /* row 0 has the codes 0 .. 7 */
  assert_int_equal(((const unsigned char *)info.codes)[4], 0);
  expect_gptq(w, g_idx, 1);
  static const int32_t in_order[K8] = {0, 0, 0, 0, 1, 1, 1, 1};
  build_gptq(&f);
  BUILD(&f, "p.g_idx", "I32", "[8]", in_order);
  w = build_read(&f, NULL);
  assert_null(describe(w).permutation);
  expect_gptq(w, in_order, 1);
}

static void gptq_refuses_bad_order(void **state) {
  (void)state;
  static const int32_t beyond[K8] = {0, 0, 0, 0, 1, 1, 1, 2}, below[K8] = {0, 0, 0, -1, 1, 1, 1, 1};
  static const int32_t uneven[K8] = {1, 0, 0, 0, 0, 1, 1, 0}, few[4] = {0, 0, 1, 1};
  built_file f = {0};
  build_gptq(&f);
  BUILD(&f, "p.g_idx", "I32", "[8]", beyond);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, ".g_idx[7] is 2", "2 groups");
  build_gptq(&f);
  BUILD(&f, "p.g_idx", "I32", "[8]", below);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, ".g_idx[3] is -1", "2 groups");
  build_gptq(&f);
  BUILD(&f, "p.g_idx", "I32", "[8]", uneven);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "5 inputs into group 0", "should have 4");
  build_gptq(&f);
  BUILD(&f, "p.g_idx", "I32", "[4]", few);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, ".qzeros", "[2, 2]"); /* 4 inputs in a word: codes of 8 bits */
}

/* 3 bits: 32 codes in 3 words, of which codes 10 and 21 lie across two. */
static void gptq_3_bits_straddle_words(void **state) {
  (void)state;
  enum { N = 32, K = 32 };
  static uint32_t codes[3][N], zeros[1][3];
  static uint16_t scales[1][N];
  static float wanted[N * K];
  for (int n = 0; n < N; n++)
    scales[0][n] = half_one;
  codes[0][0] = 3u << 30, codes[1][0] = 1;                              /* row 0: code 10 is 7 */
  codes[1][1] = 1u << 31, codes[2][1] = 3;                              /* row 1: code 21 is 7 */
  codes[0][2] = 5 | 6 << 3, codes[1][2] = 4 << 1, codes[2][2] = 1 << 2; /* row 2: codes 0, 1, 11, 22 are 5, 6, 4, 1 */
  zeros[0][0] = 1u << 30, zeros[0][1] = 1;                              /* the zero of row 10 is stored as 5 */
  built_file f = {0};
  BUILD(&f, "p.qweight", "I32", "[3, 32]", codes);
  BUILD(&f, "p.qzeros", "I32", "[1, 3]", zeros);
  BUILD(&f, "p.scales", "F16", "[1, 32]", scales);
  for (int i = 0; i < N * K; i++)
    wanted[i] = i / K == 10 ? -6 : -1;
  wanted[10] += 7;
  wanted[K + 21] += 7;
  wanted[2 * K] += 5, wanted[2 * K + 1] += 6, wanted[2 * K + 11] += 4, wanted[2 * K + 22] += 1;
  bitblas_weight *w = build_read(&f, NULL);
  assert_int_equal(describe(w).type, BITBLAS_TYPE_U3);
  expect_values(w, N, K, wanted);
}

static void gptq_2_and_8_bits(void **state) {
  (void)state;
  enum { N2 = 16, K2 = 16, N4 = 4, K4 = 4 };
  static uint32_t codes2[1][N2], zeros2[1][1] = {{0xe4e4e4e4}}; /* 0 1 2 3 0 1 2 3 ... */
  static uint16_t scales2[1][N2];
  static float wanted2[N2 * K2];
  for (int n = 0; n < N2; n++) {
    codes2[0][n] = n == 3 ? 0x0000001b : 0; /* row 3: 3 2 1 0 0 ... */
    scales2[0][n] = half_two;
    for (int k = 0; k < K2; k++)
      wanted2[n * K2 + k] = 2 * (float)((n == 3 && k < 4 ? 3 - k : 0) - (n % 4 + 1));
  }
  built_file f = {0};
  BUILD(&f, "p.qweight", "I32", "[1, 16]", codes2);
  BUILD(&f, "p.qzeros", "I32", "[1, 1]", zeros2);
  BUILD(&f, "p.scales", "F16", "[1, 16]", scales2);
  expect_values(build_read(&f, NULL), N2, K2, wanted2);
  static const uint32_t codes8[1][N4] = {{0x03020100, 0xffeeddcc, 0x80808080, 0x7f000000}},
                        zeros8[1][1] = {{0x7f7f0002}};
  static const float scales8[1][N4] = {{1, 1, 0.5f, 1}};
  static const float wanted8[N4 * K4] = {0 - 3, 1 - 3, 2 - 3, 3 - 3, 0xcc - 1, 0xdd - 1, 0xee - 1, 0xff - 1,
                                         0,     0,     0,     0,     -128,     -128,     -128,     -1};
  BUILD(&f, "p.qweight", "I32", "[1, 4]", codes8);
  BUILD(&f, "p.qzeros", "I32", "[1, 1]", zeros8);
  BUILD(&f, "p.scales", "F32", "[1, 4]", scales8);
  expect_values(build_read(&f, NULL), N4, K4, wanted8);
}

static void gptq_refuses_what_does_not_fit(void **state) {
  (void)state;
  static const uint32_t three[1][3];
  built_file f = {0};
  BUILD(&f, "p.qweight", "I32", "[1, 8]", gptq_codes);
  BUILD(&f, "p.qzeros", "I32", "[1, 3]", three);
  BUILD(&f, "p.scales", "F16", "[2, 8]", gptq_scales);
  build_metadata(&f, "bits", "4");
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "[1, 3]", "[2, 1]");
  BUILD(&f, "p.qweight", "I32", "[1, 8]", gptq_codes);
  BUILD(&f, "p.scales", "F16", "[2, 8]", gptq_scales);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "0 bits", "2, 3, 4 or 8");
  static const unsigned char bytes[2][1] = {{0x88}, {0x88}};
  BUILD(&f, "p.qweight", "I32", "[1, 8]", gptq_codes);
  BUILD(&f, "p.qzeros", "I8", "[2, 1]", bytes);
  BUILD(&f, "p.scales", "F16", "[2, 8]", gptq_scales);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, ".qzeros is I8[2, 1]", "I32[2, 1]");
  static const uint16_t scales3[3][N8];
  BUILD(&f, "p.qweight", "I32", "[1, 8]", gptq_codes);
  BUILD(&f, "p.scales", "F16", "[3, 8]", scales3);
  bitblas_weight_config config = config_of(NULL, 4, 0);
  build_refuses(&f, &config, BITBLAS_ERROR_FILE, "8 columns", "3 groups");
  build_gptq(&f);
  config = config_of(NULL, 0, 8);
  build_refuses(&f, &config, BITBLAS_ERROR_ARGUMENT, "group_size is 8", "2 scales");
  BUILD(&f, "p.qweight", "I32", "[1, 8]", gptq_codes);
  config = config_of("gptq", 4, 0);
  build_refuses(&f, &config, BITBLAS_ERROR_FILE, "no .scales", "F16|BF16|F32[*, *]");
}

/* K = 8 in groups of 3, 3 and 2: only a stated size tells. */
static void last_group_may_be_shorter(void **state) {
  (void)state;
  static const uint16_t scales[3][N8] = {
      {half_one, half_one, half_one, half_one, half_one, half_one, half_one, half_one},
      {half_two, half_two, half_two, half_two, half_two, half_two, half_two, half_two},
      {half_half, half_half, half_half, half_half, half_half, half_half, half_half, half_half}};
  static const float factors[3] = {1, 2, 0.5f};
  float wanted[N8 * K8];
  for (int i = 0; i < N8 * K8; i++)
    wanted[i] = factors[i % K8 / 3] * (float)((int)nibble(gptq_codes[0][i / K8], i % K8) - 8);
  built_file f = {0};
  BUILD(&f, "p.qweight", "I32", "[1, 8]", gptq_codes);
  BUILD(&f, "p.scales", "F16", "[3, 8]", scales);
  bitblas_weight_config config = config_of(NULL, 4, 3);
  expect_values(build_read(&f, &config), N8, K8, wanted);
}

/* Single layers may have other bits than the configuration states: the tensors are right. */
static void tensors_say_more_than_the_configuration(void **state) {
  (void)state;
  static const int groups[K8] = {0, 0, 0, 0, 1, 1, 1, 1};
  built_file f = {0};
  build_gptq(&f);
  build_metadata(&f, "bits", "8");
  expect_gptq(build_read(&f, NULL), groups, 1);
  static const uint32_t codes[1][2] = {{0x03020180, 0xff}};
  static const int64_t shape[2] = {1, 5};
  static const float scale[1] = {1}, wanted[5] = {0, -127, -126, -125, 127};
  BUILD(&f, "p.weight_packed", "I32", "[1, 2]", codes);
  BUILD(&f, "p.weight_shape", "I64", "[2]", shape);
  BUILD(&f, "p.weight_scale", "F32", "[1]", scale);
  build_metadata(&f, "config_groups.group_0.weights.num_bits", "4");
  expect_values(build_read(&f, NULL), 1, 5, wanted);
}

/* GPTQ in words of other types has the names of other formats, and is of none. */
static void gptq_of_other_words_is_refused(void **state) {
  (void)state;
  static const unsigned char codes[4][8], zeros[2][4];
  built_file f = {0};
  BUILD(&f, "p.qweight", "I8", "[4, 8]", codes);
  BUILD(&f, "p.qzeros", "I8", "[2, 4]", zeros);
  BUILD(&f, "p.scales", "F16", "[2, 8]", gptq_scales);
  build_refuses(&f, NULL, BITBLAS_ERROR_UNSUPPORTED, "p.qweight (I8)", "no format");
  BUILD(&f, "p.qweight", "I16", "[2, 8]", codes);
  BUILD(&f, "p.scales", "F16", "[2, 8]", gptq_scales);
  build_refuses(&f, NULL, BITBLAS_ERROR_UNSUPPORTED, "p.qweight (I16)", "no format");
}

/* -- What no format takes ---------------------------------------------------------------------------------------- */

/* Up to three tensors of zeros, read as `format` with these bits. */
static void formats_refuse_what_does_not_fit(void **state) {
  (void)state;
  static const unsigned char zeros[1024];
  static const struct {
    const char *format;
    int bits;
    const char *tensors[3][3]; /* suffix, type, shape */
    size_t bytes[3];
    bitblas_status status;
    const char *word, *other;
  } cases[] = {
      {"gptq",
       3,
       {{".qweight", "I32", "[1, 8]"}, {".scales", "F16", "[1, 8]"}},
       {32, 16},
       BITBLAS_ERROR_FILE,
       "1 words of 8 columns",
       "3-bit codes"},
      {"gptq",
       4,
       {{".qweight", "I32", "[1, 8]"}, {".scales", "F16", "[0, 8]"}},
       {32, 0},
       BITBLAS_ERROR_FILE,
       "8 columns",
       "0 groups"},
      {"awq",
       4,
       {{".qweight", "I32", "[2, 1]"}, {".scales", "F16", "[1, 12]"}},
       {8, 24},
       BITBLAS_ERROR_FILE,
       "12 columns",
       "multiple of 8"},
      {"pack-quantized",
       4,
       {{".weight_packed", "I32", "[0, 2]"}, {".weight_shape", "I64", "[2]"}},
       {0, 16},
       BITBLAS_ERROR_FILE,
       "[0, 0]",
       "0 rows"},
      {"fp8",
       0,
       {{".weight", "F8_E4M3", "[2, 0]"}, {".weight_scale", "F32", "[1]"}},
       {0, 4},
       BITBLAS_ERROR_FILE,
       "p.weight_scale",
       "no elements"},
      {"fp8", 0, {{".weight", "F8_E4M3", "[2, 2]"}}, {4}, BITBLAS_ERROR_FILE, "no .weight_scale", "F8_E8M0"},
      {"fp8",
       0,
       {{".weight", "F8_E4M3", "[2, 2]"}, {".weight_scale", "F32", "[2, 1, 2]"}},
       {4, 16},
       BITBLAS_ERROR_FILE,
       "[2, 1, 2]",
       "does not fit 2 rows"},
      {"nvfp4", 0, {{".weight", "U8", "[1, 4]"}}, {4}, BITBLAS_ERROR_FILE, "8 columns", "multiple of 16"},
      {"nvfp4",
       0,
       {{".weight", "U8", "[1, 8]"}, {".weight_scale", "F8_E4M3", "[1, 1]"}},
       {8, 1},
       BITBLAS_ERROR_FILE,
       "no .weight_scale_2",
       "one F32"},
      {"mxfp4",
       0,
       {{"_blocks", "U8", "[1, 16]"}, {"_scales", "U8", "[1, 1]"}},
       {16, 1},
       BITBLAS_ERROR_FILE,
       "p_blocks is U8[1, 16]",
       "3 dimensions, or 4"},
      {"mxfp4",
       0,
       {{"_blocks", "U8", "[1, 1, 16]"}, {"_scales", "U8", "[]"}},
       {16, 1},
       BITBLAS_ERROR_FILE,
       "p_scales is U8[]",
       "2 dimensions, or 3"},
      {"mxfp4",
       0,
       {{"_blocks", "U8", "[0, 1, 1, 16]"}, {"_scales", "U8", "[0, 1, 1]"}},
       {0, 0},
       BITBLAS_ERROR_ARGUMENT,
       "expert is 0",
       "has 0"},
      {"hqq",
       4,
       {{".W_q", "U8", "[3, 2]"}, {".shape", "I32", "[2]"}},
       {6, 8},
       BITBLAS_ERROR_FILE,
       "[0, 0]",
       "groups of 2"},
      {"bitnet", 0, {{".weight", "U8", "[1, 4]"}}, {4}, BITBLAS_ERROR_FILE, "no .weight_scale", "one number"},
      {"bitblas",
       8,
       {{".qweight", "I8", "[1, 4]"}, {".scales", "F16", "[2, 1]"}},
       {4, 4},
       BITBLAS_ERROR_FILE,
       ".scales is F16[2, 1]",
       "[1, *]"},
      {"bitblas",
       4,
       {{".qweight", "I8", "[1, 4]"}, {".scales", "F16", "[1, 1]"}, {".qzeros", "I8", "[1, 1]"}},
       {4, 2, 1},
       BITBLAS_ERROR_FILE,
       "1 rows",
       "whole bytes of zeros"},
      {"bnb4",
       0,
       {{".weight", "U8", "[4]"}, {".weight.quant_state.bitsandbytes__nf4", "I8", "[4]"}},
       {4, 4},
       BITBLAS_ERROR_FILE,
       "quant_state",
       "of U8"},
      {"gguf", 0, {{".weight", "F32", "[2, 2]"}}, {16}, BITBLAS_ERROR_FILE, "no .weight", "blocks"},
      {"plain", 0, {{".weight", "F32", "[4]"}}, {16}, BITBLAS_ERROR_FILE, "F32[4]", "[*, *]"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    built_file f = {0};
    for (int t = 0; t < 3 && cases[i].tensors[t][0]; t++) {
      char name[64];
      snprintf(name, sizeof name, "p%s", cases[i].tensors[t][0]);
      build_tensor(&f, name, cases[i].tensors[t][1], cases[i].tensors[t][2], zeros, cases[i].bytes[t]);
    }
    bitblas_weight_config config = config_of(cases[i].format, cases[i].bits, 0);
    build_refuses(&f, &config, cases[i].status, cases[i].word, cases[i].other);
  }
}

/* -- The table ----------------------------------------------------------------------------------------------------- */

static void layers_are_found(void **state) {
  (void)state;
  built_file f = {0};
  bitblas_checkpoint *c = NULL;
  static const float plain[1][2] = {{1, 2}};
  build_gptq(&f);
  BUILD(&f, "norm.weight", "F32", "[1, 2]", plain);
  BUILD(&f, "qweight", "I32", "[1, 8]", gptq_codes);
  BUILD(&f, "scales", "F16", "[2, 8]", gptq_scales);
  BUILD(&f, "qzeros", "I32", "[2, 1]", gptq_zeros);
  check(build_open(&f, &c));
  assert_string_equal(bitblas_checkpoint_layer(c, 0), "p");
  assert_string_equal(bitblas_checkpoint_layer(c, 1), "");
  assert_null(bitblas_checkpoint_layer(c, 2));
  bitblas_weight *w = NULL;
  check(bitblas_weight_read(c, "", NULL, &w));
  bitblas_weight_destroy(w);
  check(bitblas_weight_read(c, "norm", NULL, &w));
  assert_string_equal(describe(w).format, "plain");
  bitblas_weight_destroy(w);
  bitblas_checkpoint_close(c);
  build_free(&f);
}

static void wrong_calls_are_refused(void **state) {
  (void)state;
  built_file f = {0};
  bitblas_checkpoint *c = NULL;
  bitblas_weight *w = NULL;
  static const uint16_t bias[2];
  float values[64];
  build_gptq(&f);
  BUILD(&f, "q.bias", "I16", "[2]", bias);
  check(build_open(&f, &c));
  refuses(bitblas_weight_read(NULL, "p", NULL, &w), BITBLAS_ERROR_ARGUMENT, "checkpoint", "null");
  refuses(bitblas_weight_read(c, NULL, NULL, &w), BITBLAS_ERROR_ARGUMENT, "prefix", "null");
  refuses(bitblas_weight_read(c, "p", NULL, NULL), BITBLAS_ERROR_ARGUMENT, "weight", "null");
  refuses(bitblas_weight_read(c, "r", NULL, &w), BITBLAS_ERROR_ARGUMENT, "'r'", "no tensor");
  refuses(bitblas_weight_read(c, "q", NULL, &w), BITBLAS_ERROR_UNSUPPORTED, "q.bias (I16)", "no format");
  bitblas_weight_config config = config_of("gguff", 0, 0);
  refuses(bitblas_weight_read(c, "p", &config, &w), BITBLAS_ERROR_ARGUMENT, "'gguff'", "pack-quantized");
  config = config_of(NULL, 9, 0);
  refuses(bitblas_weight_read(c, "p", &config, &w), BITBLAS_ERROR_ARGUMENT, "bits is 9", "1 to 8");
  config = config_of(NULL, 0, -2);
  refuses(bitblas_weight_read(c, "p", &config, &w), BITBLAS_ERROR_ARGUMENT, "group_size is -2", "positive");
  config = config_of(NULL, 0, 0);
  config.activation_bits = 4;
  refuses(bitblas_weight_read(c, "p", &config, &w), BITBLAS_ERROR_ARGUMENT, "activation_bits is 4", "16");
  config.size = 3;
  refuses(bitblas_weight_read(c, "p", &config, &w), BITBLAS_ERROR_ARGUMENT, "config has size 3", "_INIT");
  /* Every format, told to read what is of none. */
  for (int i = 0; bitblas_format_name(i); i++) {
    config = config_of(bitblas_format_name(i), 4, 0);
    assert_int_not_equal(bitblas_weight_read(c, "q", &config, &w), BITBLAS_OK);
    assert_non_null(strstr(bitblas_last_message(), config.format));
    assert_null(w);
  }
  check(bitblas_weight_read(c, "p", NULL, &w));
  unsigned char stream[32];
  refuses(bitblas_weight_decode(w, values, 63), BITBLAS_ERROR_SHAPE, "63", "8 * 8 = 64");
  refuses(bitblas_weight_decode(NULL, values, 64), BITBLAS_ERROR_ARGUMENT, "weight", "null");
  refuses(bitblas_weight_decode(w, NULL, 64), BITBLAS_ERROR_ARGUMENT, "values", "null");
  refuses(bitblas_weight_stream(w, stream, 31), BITBLAS_ERROR_SHAPE, "31", "32");
  refuses(bitblas_weight_stream(w, NULL, 32), BITBLAS_ERROR_ARGUMENT, "stream", "null");
  check(bitblas_weight_stream(w, stream, sizeof stream));
  assert_int_equal(stream[0], 0x10); /* row 0 is 0 .. 7 */
  assert_int_equal(stream[7], 0xfe);
  refuses(bitblas_weight_describe(NULL, NULL), BITBLAS_ERROR_ARGUMENT, "weight", "null");
  refuses(bitblas_weight_describe(w, NULL), BITBLAS_ERROR_ARGUMENT, "info", "null");
  bitblas_weight_destroy(w);
  bitblas_weight_destroy(NULL);
  bitblas_checkpoint_close(c);
  build_free(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gptq_1_adds_one_to_zeros),
      cmocka_unit_test(gptq_2_is_stated),
      cmocka_unit_test(gptq_marlin_is_refused),
      cmocka_unit_test(gptq_versions_are_told_by_symmetric_zeros),
      cmocka_unit_test(gptq_notes_damaged_zeros),
      cmocka_unit_test(gptq_sorts_inputs_by_group),
      cmocka_unit_test(gptq_refuses_bad_order),
      cmocka_unit_test(gptq_3_bits_straddle_words),
      cmocka_unit_test(gptq_2_and_8_bits),
      cmocka_unit_test(gptq_refuses_what_does_not_fit),
      cmocka_unit_test(last_group_may_be_shorter),
      cmocka_unit_test(tensors_say_more_than_the_configuration),
      cmocka_unit_test(gptq_of_other_words_is_refused),
      cmocka_unit_test(formats_refuse_what_does_not_fit),
      cmocka_unit_test(layers_are_found),
      cmocka_unit_test(wrong_calls_are_refused),
  };
  return cmocka_run_group_tests_name("formats", tests, NULL, NULL);
}
