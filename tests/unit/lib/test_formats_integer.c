/* Formats of integer codes: files spelled out by hand, and what they mean. */
#include "tests/unit/lib/checkpoint_file.h"

static const uint16_t half_one = 0x3c00, half_two = 0x4000;

/* -- AWQ ----------------------------------------------------------------------------------------------------------- */

static void awq_interleaves_columns(void **state) {
  (void)state;
  enum { K = 4 };
  /* Nibbles 0 .. 7 are the columns 0 2 4 6 1 3 5 7: the word of row k = 0 has code n in column n. */
  static const uint32_t codes[K][1] = {{0x75316420}, {0xffffffff}, {0x0000000f}, {0x000f0000}};
  static const uint32_t zeros[2][1] = {{0x00000000}, {0x00010002}};
  static const uint16_t scales[2][8] = {
      {half_one, half_one, half_one, half_one, half_one, half_one, half_one, half_one},
      {half_one, half_two, half_one, half_one, half_one, half_one, half_one, half_one}};
  /* Of k = 2, 3 the zero is 2 in column 0 and 1 in column 1. */
  static const float wanted[8 * K] = {0, 15, 13, -2, 1, 15, -2, 28, 2, 15, 0, 0, 3, 15, 0, 0,
                                      4, 15, 0,  0,  5, 15, 0,  0,  6, 15, 0, 0, 7, 15, 0, 0};
  built_file f = {0};
  BUILD(&f, "p.qweight", "I32", "[4, 1]", codes);
  BUILD(&f, "p.qzeros", "I32", "[2, 1]", zeros);
  BUILD(&f, "p.scales", "F16", "[2, 8]", scales);
  bitblas_weight *w = build_read(&f, NULL);
  assert_string_equal(describe(w).format, "awq");
  assert_int_equal(describe(w).group_size, 2);
  expect_values(w, 8, K, wanted);
}

static void awq_refuses_other_versions(void **state) {
  (void)state;
  static const uint32_t codes[4][1], zeros[4][1];
  static const uint16_t scales[4][8], scales2[2][8];
  built_file f = {0};
  BUILD(&f, "p.qweight", "I32", "[4, 1]", codes);
  build_tensor(&f, "p.qzeros", "I32", "[2, 1]", zeros, 8);
  BUILD(&f, "p.scales", "F16", "[2, 8]", scales2);
  build_metadata(&f, "version", "gemv");
  build_refuses(&f, NULL, BITBLAS_ERROR_UNSUPPORTED, "gemv", "gemm");
  /* Without being told: [N, K / 8] and scales [N, 8]. */
  static const uint32_t wide[4][2];
  BUILD(&f, "p.qweight", "I32", "[4, 2]", wide);
  BUILD(&f, "p.qzeros", "I32", "[4, 1]", zeros);
  BUILD(&f, "p.scales", "F16", "[4, 8]", scales);
  build_refuses(&f, NULL, BITBLAS_ERROR_UNSUPPORTED, "along the inputs", "gemm");
}

/* -- compressed-tensors -------------------------------------------------------------------------------------------- */

static void packed_codes_have_an_offset(void **state) {
  (void)state;
  static const uint32_t codes[2][2] = {{0x76543210, 0x00000098}, {0xffffffff, 0x00000088}};
  static const int64_t shape[2] = {2, 10}; /* the second word is padded */
  static const float scales[2][2] = {{1, 2}, {0.5f, 1}};
  static const float wanted[20] = {-8, -7, -6, -5, -4, -6, -4, -2, 0, 2, 3.5f, 3.5f, 3.5f, 3.5f, 3.5f, 7, 7, 7, 0, 0};
  built_file f = {0};
  BUILD(&f, "p.weight_packed", "I32", "[2, 2]", codes);
  BUILD(&f, "p.weight_shape", "I64", "[2]", shape);
  BUILD(&f, "p.weight_scale", "F32", "[2, 2]", scales);
  bitblas_weight *w = build_read(&f, NULL);
  bitblas_weight_info info = describe(w);
  assert_string_equal(info.format, "pack-quantized");
  assert_int_equal(info.type, BITBLAS_TYPE_I4);
  assert_int_equal(info.group_size, 5);
  expect_values(w, 2, 10, wanted);
}

/* Zeros are packed down the rows: word 0 of a group has those of rows 0 .. 7. */
static void packed_zeros_lie_along_rows(void **state) {
  (void)state;
  static const uint32_t codes[9][1] = {{8}, {8}, {8}, {8}, {8}, {8}, {8}, {8}, {8}};
  static const int32_t shape[2] = {9, 1};
  static const uint16_t scales[9][1] = {{0x3f80}, {0x3f80}, {0x3f80}, {0x3f80}, {0x3f80},
                                        {0x3f80}, {0x3f80}, {0x3f80}, {0x4000}};
  static const uint32_t zeros[2][1] = {{0x76543210}, {0x0000000a}};
  static const float wanted[9] = {8, 7, 6, 5, 4, 3, 2, 1, -4};
  built_file f = {0};
  BUILD(&f, "p.weight_packed", "I32", "[9, 1]", codes);
  BUILD(&f, "p.weight_shape", "I32", "[2]", shape);
  BUILD(&f, "p.weight_scale", "BF16", "[9, 1]", scales);
  BUILD(&f, "p.weight_zero_point", "I32", "[2, 1]", zeros);
  bitblas_weight_config config = config_of(NULL, 4, 0);
  expect_values(build_read(&f, &config), 9, 1, wanted);
}

/* 3 bits: ten codes a word with two bits unused, or a stream in which code 10 lies across words. 32 columns tell. */
static void packed_3_bits_both_ways(void **state) {
  (void)state;
  static const uint32_t whole[1][4] = {{7u << 27, 1, 0, 5 << 3}}, dense[1][3] = {{7u << 27 | 1u << 30, 0, 5u << 29}};
  static const int64_t shape[2] = {1, 32};
  static const float scale[1] = {1};
  float wanted[32];
  for (int k = 0; k < 32; k++)
    wanted[k] = -4;
  wanted[9] = 3, wanted[10] = -3, wanted[31] = 1;
  built_file f = {0};
  BUILD(&f, "p.weight_packed", "I32", "[1, 4]", whole);
  BUILD(&f, "p.weight_shape", "I64", "[2]", shape);
  BUILD(&f, "p.weight_scale", "F32", "[1]", scale);
  build_metadata(&f, "config_groups.group_0.weights.num_bits", "3");
  expect_values(build_read(&f, NULL), 1, 32, wanted);
  BUILD(&f, "p.weight_packed", "I32", "[1, 3]", dense);
  BUILD(&f, "p.weight_shape", "I64", "[2]", shape);
  BUILD(&f, "p.weight_scale", "F32", "[1]", scale);
  expect_values(build_read(&f, NULL), 1, 32, wanted);
}

static void packed_refuses_what_does_not_fit(void **state) {
  (void)state;
  static const uint32_t codes[2][2];
  static const int64_t rows[2] = {3, 16}, wide[2] = {2, 400}, huge[2] = {2, INT64_MAX}, good[2] = {2, 16};
  static const float scales[2][2];
  static const int32_t order[16] = {0, 1, 0, 1};
  static const struct {
    const int64_t *shape;
    const char *word, *other;
  } cases[] = {{rows, "[3, 16]", "2 rows"}, {wide, "400 codes", "2 words"}, {huge, "9223372036854775807", "2 rows"}};
  built_file f = {0};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    BUILD(&f, "p.weight_packed", "I32", "[2, 2]", codes);
    build_tensor(&f, "p.weight_shape", "I64", "[2]", cases[i].shape, 16);
    BUILD(&f, "p.weight_scale", "F32", "[2, 2]", scales);
    build_refuses(&f, NULL, BITBLAS_ERROR_FILE, cases[i].word, cases[i].other);
  }
  BUILD(&f, "p.weight_packed", "I32", "[2, 2]", codes);
  BUILD(&f, "p.weight_shape", "I64", "[2]", good);
  BUILD(&f, "p.weight_scale", "F32", "[2, 2]", scales);
  BUILD(&f, "p.weight_g_idx", "I32", "[16]", order);
  build_refuses(&f, NULL, BITBLAS_ERROR_UNSUPPORTED, "weight_g_idx[1] is 1", "not in order");
  BUILD(&f, "p.weight_packed", "I32", "[2, 2]", codes);
  BUILD(&f, "p.weight_shape", "I64", "[2]", good);
  bitblas_weight_config config = config_of("pack-quantized", 4, 0);
  build_refuses(&f, &config, BITBLAS_ERROR_FILE, "no .weight_scale", "BF16");
}

/* -- HQQ ----------------------------------------------------------------------------------------------------------- */

/* A weight [2, 4] in groups of 2 is 4 rows of 2; the first half of the rows is in the high nibbles. */
static void hqq_packs_halves(void **state) {
  (void)state;
  static const unsigned char codes[2][2] = {{0x1a, 0x2b}, {0x3c, 0x4d}};
  static const int64_t shape[2] = {2, 4};
  static const float scales[4][1] = {{1}, {2}, {1}, {0.5f}}, zeros[4][1] = {{0}, {0.5f}, {7.25f}, {1}};
  static const float wanted[8] = {1, 2, 5, 7, 2.75f, 3.75f, 5.5f, 6};
  built_file f = {0};
  BUILD(&f, "p.W_q", "U8", "[2, 2]", codes);
  BUILD(&f, "p.shape", "I64", "[2]", shape);
  BUILD(&f, "p.scale", "F32", "[4, 1]", scales);
  BUILD(&f, "p.zero", "F32", "[4, 1]", zeros);
  bitblas_weight *w = build_read(&f, NULL);
  assert_string_equal(describe(w).format, "hqq");
  assert_int_equal(describe(w).type, BITBLAS_TYPE_U4);
  assert_int_equal(describe(w).group_size, 2);
  expect_values(w, 2, 4, wanted);
}

static void build_hqq(built_file *f, const char *type, const void *codes, size_t bytes, const char *packed, int rows,
                      int columns, int groups) {
  int64_t shape[2] = {rows, columns};
  float ones[64], zeros[64] = {0};
  char text[32];
  for (int i = 0; i < groups; i++)
    ones[i] = 1;
  snprintf(text, sizeof text, "[%d, 1]", groups);
  build_tensor(f, "p.W_q", type, packed, codes, bytes);
  BUILD(f, "p.shape", "I64", "[2]", shape);
  build_tensor(f, "p.scale", "F32", text, ones, sizeof(float) * (size_t)groups);
  build_tensor(f, "p.zero", "F32", text, zeros, sizeof(float) * (size_t)groups);
}

static void hqq_8_3_2_and_1_bits(void **state) {
  (void)state;
  built_file f = {0};
  static const unsigned char eight[2][2] = {{0, 255}, {7, 9}}, two[1][2] = {{0x1b, 0xe4}}, one[1][1] = {{0xa5}};
  static const float wanted8[4] = {0, 255, 7, 9}, wanted2[8] = {0, 3, 1, 2, 2, 1, 3, 0};
  static const float wanted1[8] = {1, 0, 1, 0, 0, 1, 0, 1};
  build_hqq(&f, "U8", eight, sizeof eight, "[2, 2]", 2, 2, 2);
  expect_values(build_read(&f, NULL), 2, 2, wanted8);
  build_hqq(&f, "U8", two, sizeof two, "[1, 2]", 4, 2, 4); /* 0x1b: 0 1 2 3 from the top */
  expect_values(build_read(&f, NULL), 4, 2, wanted2);
  build_hqq(&f, "U8", one, sizeof one, "[1, 1]", 8, 1, 8);
  expect_values(build_read(&f, NULL), 8, 1, wanted1);
  /* 11 rows of one group: two packed rows of ten parts, padded to 20. Part 0 (bits 27 .. 29) has rows 0 and 1. */
  static const uint32_t three[2][1] = {{1u << 27 | 2u << 24 | 3u << 21 | 4u << 18 | 5u << 15 | 6u << 12},
                                       {7u << 27 | 6u << 24 | 5u << 21 | 4u << 18 | 3u << 15}};
  static const float wanted3[11] = {1, 7, 2, 6, 3, 5, 4, 4, 5, 3, 6};
  build_hqq(&f, "I32", three, sizeof three, "[2, 1]", 11, 1, 11);
  bitblas_weight *w = build_read(&f, NULL);
  assert_int_equal(describe(w).type, BITBLAS_TYPE_U3);
  expect_values(w, 11, 1, wanted3);
}

static void hqq_refuses(void **state) {
  (void)state;
  static const unsigned char codes[2][2];
  static const int32_t axis = 0, bits = 5;
  built_file f = {0};
  build_hqq(&f, "U8", codes, sizeof codes, "[2, 2]", 2, 4, 4);
  build_tensor(&f, "p.axis", "I32", "[]", &axis, sizeof axis);
  build_refuses(&f, NULL, BITBLAS_ERROR_UNSUPPORTED, "axis 0", "axis 1");
  build_hqq(&f, "U8", codes, sizeof codes, "[2, 2]", 2, 4, 4);
  build_tensor(&f, "p.nbits", "I32", "[]", &bits, sizeof bits);
  build_refuses(&f, NULL, BITBLAS_ERROR_UNSUPPORTED, "5 bits", "U8");
  build_hqq(&f, "U8", codes, sizeof codes, "[2, 2]", 3, 3, 4);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "[3, 3]", "groups of 2");
  build_hqq(&f, "U8", codes, sizeof codes, "[2, 2]", 4, 4, 8);
  bitblas_weight_config config = config_of(NULL, 4, 0);
  build_refuses(&f, &config, BITBLAS_ERROR_FILE, "2 rows of 2 parts", "8 groups of 2");
  build_hqq(&f, "U8", codes, sizeof codes, "[2, 2]", 2, 4, 3);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, ".scale", "4 elements");
  static const int64_t shape[2] = {2, 4};
  BUILD(&f, "p.W_q", "U8", "[2, 2]", codes);
  BUILD(&f, "p.shape", "I64", "[2]", shape);
  build_refuses(&f, NULL, BITBLAS_ERROR_UNSUPPORTED, ".scale", "quantised itself");
}

/* -- BitNet -------------------------------------------------------------------------------------------------------- */

/* [8, 3]: byte row r has the rows r, r + 2, r + 4, r + 6 from the low bits up. */
static void bitnet_packs_quarters_of_rows(void **state) {
  (void)state;
  static const unsigned char codes[2][3] = {{0x24, 0x55, 0x00}, {0x86, 0xaa, 0x01}};
  static const float scale[1] = {4};
  static const float signs[24] = {-1, 0, -1, 1, 1, 0, 0, 0, -1, 0, 1, -1, 1, 0, -1, -1, 1, -1, -1, 0, -1, 1, 1, -1};
  built_file f = {0};
  float wanted[24];
  for (int automatic = 0; automatic <= 1; automatic++) {
    BUILD(&f, "p.weight", "U8", "[2, 3]", codes);
    BUILD(&f, "p.weight_scale", "F32", "[1]", scale);
    if (automatic) build_metadata(&f, "linear_class", "autobitlinear");
    for (int i = 0; i < 24; i++)
      wanted[i] = signs[i] * (automatic ? 4 : 0.25f);
    bitblas_weight *w = build_read(&f, NULL);
    bitblas_weight_info info = describe(w);
    assert_string_equal(info.format, automatic ? "bitnet-auto" : "bitnet");
    assert_int_equal(info.type, BITBLAS_TYPE_I2);
    assert_true((strstr(info.note, "linear_class") != NULL) == !automatic);
    expect_values(w, 8, 3, wanted);
  }
  static const unsigned char bad[1][2] = {{0, 0x30}};
  BUILD(&f, "p.weight", "U8", "[1, 2]", bad);
  BUILD(&f, "p.weight_scale", "F32", "[1]", scale);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, ".weight[0, 1]", "code of 3");
  static const float nothing[1] = {0};
  BUILD(&f, "p.weight", "U8", "[2, 3]", codes);
  BUILD(&f, "p.weight_scale", "F32", "[1]", nothing);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "weight_scale is 0", "other than 0");
}

/* -- BitBLAS ------------------------------------------------------------------------------------------------------- */

/* Which code is in each slot of a word, from the low bits: the interleavings as they are written down, not computed. */
static const struct {
  int bits, activation;
  const char *slots;
} interleavings[] = {
    {4, 16, "02461357"},
    {4, 8, "04152637"},
    {2, 16,
     "02461357"
     "8ACE9BDF"},
    {2, 8, "048C159D26AE37BF"},
    {1, 16,
     "02461357"
     "8ACE9BDF"
     "GIKMHJLN"
     "OQSUPRTV"},
    {1, 8,
     "048C26AE159D37BF"
     "GKOSIMQUHLPTJNRV"},
};

static void bitblas_codes_are_put_back_in_order(void **state) {
  (void)state;
  static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUV";
  for (size_t i = 0; i < sizeof interleavings / sizeof *interleavings; i++) {
    int bits = interleavings[i].bits, count = 32 / bits;
    unsigned mask = (1u << bits) - 1;
    uint32_t words[2] = {0, 0};
    float wanted[64];
    static const float scale[1][1] = {{1}}, zero[1][1] = {{0}};
    char shape[32];
    for (int w = 0; w < 2; w++)
      for (int slot = 0; slot < count; slot++) {
        int element = (int)(strchr(digits, interleavings[i].slots[slot]) - digits);
        unsigned code = (unsigned)(element * 5 + element / 3 + w) & mask;
        words[w] |= code << (slot * bits);
        wanted[w * count + element] = (float)code;
      }
    built_file f = {0};
    snprintf(shape, sizeof shape, "[1, 8]");
    build_tensor(&f, "p.qweight", "I8", shape, words, sizeof words);
    BUILD(&f, "p.scales", "F32", "[1, 1]", scale);
    BUILD(&f, "p.zeros", "F32", "[1, 1]", zero);
    bitblas_weight_config config = config_of(NULL, bits, 0);
    config.activation_bits = interleavings[i].activation;
    bitblas_weight *w = build_read(&f, &config);
    assert_string_equal(describe(w).format, "bitblas");
    expect_values(w, 1, 2 * count, wanted);
  }
}

static void bitblas_zeros_in_every_mode(void **state) {
  (void)state;
  static const unsigned char codes[2][4] = {{0x10, 0x32, 0x54, 0x76}, {0xff, 0xff, 0x00, 0x88}};
  static const float scales[2][2] = {{1, 2}, {0.5f, 1}}, zeros[2][2] = {{1, 2}, {0.5f, -3}};
  static const unsigned char packed[2][1] = {{0x21}, {0x43}}; /* group 0: 1, 2; group 1: 3, 4 */
  static const float original[16] = {-1, 0, 1, 2, 4, 6, 8, 10, 7.25f, 7.25f, 7.25f, 7.25f, 3, 3, 11, 11};
  static const float rescale[16] = {-1, 0, 1, 2, 6, 8, 10, 12, 7, 7, 7, 7, 3, 3, 11, 11};
  static const float quantized[16] = {-1, 0, 1, 2, 2, 4, 6, 8, 6.5f, 6.5f, 6.5f, 6.5f, -4, -4, 4, 4};
  static const float none[16] = {-8, -7, -6, -5, -8, -6, -4, -2, 3.5f, 3.5f, 3.5f, 3.5f, -8, -8, 0, 0};
  static const float *const wanted[] = {original, rescale, quantized, none};
  bitblas_weight_config config = config_of(NULL, 4, 0);
  config.activation_bits = 1;
  for (int mode = 0; mode < 4; mode++) {
    built_file f = {0};
    BUILD(&f, "p.qweight", "I8", "[2, 4]", codes);
    BUILD(&f, "p.scales", "F32", "[2, 2]", scales);
    if (mode < 2) BUILD(&f, "p.zeros", "F32", "[2, 2]", zeros);
    if (mode == 1) build_metadata(&f, "zeros_mode", "rescale");
    if (mode == 2) BUILD(&f, "p.qzeros", "I8", "[2, 1]", packed);
    expect_values(build_read(&f, &config), 2, 8, wanted[mode]);
  }
  /* One signed bit is -1 or 1. */
  static const unsigned char bits[1][1] = {{0x05}};
  static const float scale[1][1] = {{3}}, signs[8] = {3, -3, 3, -3, -3, -3, -3, -3};
  built_file f = {0};
  BUILD(&f, "p.qweight", "I8", "[1, 1]", bits);
  BUILD(&f, "p.scales", "F32", "[1, 1]", scale);
  config.bits = 1;
  expect_values(build_read(&f, &config), 1, 8, signs);
  BUILD(&f, "p.qweight", "I8", "[1, 1]", bits);
  BUILD(&f, "p.scales", "F32", "[1, 1]", scale);
  build_refuses(&f, NULL, BITBLAS_ERROR_ARGUMENT, "bits is 0", "1, 2, 4 or 8");
  BUILD(&f, "p.qweight", "I8", "[1, 1]", bits);
  BUILD(&f, "p.scales", "F32", "[1, 1]", scale);
  config.activation_bits = 16;
  build_refuses(&f, &config, BITBLAS_ERROR_FILE, "1 bytes", "whole words");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(awq_interleaves_columns),
      cmocka_unit_test(awq_refuses_other_versions),
      cmocka_unit_test(packed_codes_have_an_offset),
      cmocka_unit_test(packed_zeros_lie_along_rows),
      cmocka_unit_test(packed_3_bits_both_ways),
      cmocka_unit_test(packed_refuses_what_does_not_fit),
      cmocka_unit_test(hqq_packs_halves),
      cmocka_unit_test(hqq_8_3_2_and_1_bits),
      cmocka_unit_test(hqq_refuses),
      cmocka_unit_test(bitnet_packs_quarters_of_rows),
      cmocka_unit_test(bitblas_codes_are_put_back_in_order),
      cmocka_unit_test(bitblas_zeros_in_every_mode),
  };
  return cmocka_run_group_tests_name("formats_integer", tests, NULL, NULL);
}
