/* Formats of float codes, tables and blocks: files spelled out by hand, and what they mean. */
#include "tests/unit/lib/checkpoint_file.h"

/* -- FP8 ----------------------------------------------------------------------------------------------------------- */

/* 1, -2, 448 (the largest), the least subnormal, zero, NaN. */
static const unsigned char e4m3[2][3] = {{0x38, 0xc0, 0x7e}, {0x01, 0x80, 0x7f}};

static void fp8_scales_of_tensor_and_rows(void **state) {
  (void)state;
  static const float one[1] = {2}, rows[2][1] = {{2}, {4}};
  const float tensor[6] = {2, -4, 896, 0x1p-8f, 0, NAN}, channel[6] = {2, -4, 896, 0x1p-7f, 0, NAN};
  built_file f = {0};
  BUILD(&f, "p.weight", "F8_E4M3", "[2, 3]", e4m3);
  BUILD(&f, "p.weight_scale", "F32", "[]", one);
  bitblas_weight *w = build_read(&f, NULL);
  assert_string_equal(describe(w).format, "fp8");
  assert_int_equal(describe(w).type, BITBLAS_TYPE_F8E4M3);
  assert_int_equal(describe(w).group_size, 3);
  expect_values(w, 2, 3, tensor);
  BUILD(&f, "p.weight", "F8_E4M3", "[2, 3]", e4m3);
  BUILD(&f, "p.weight_scale", "F32", "[2, 1]", rows);
  expect_values(build_read(&f, NULL), 2, 3, channel);
  BUILD(&f, "p.weight", "F8_E4M3", "[2, 3]", e4m3);
  BUILD(&f, "p.weight_scale", "F32", "[2]", rows);
  expect_values(build_read(&f, NULL), 2, 3, channel);
  static const signed char bytes[2][2] = {{-128, 127}, {1, 0}};
  static const uint16_t scale[2] = {0x3f00, 0x4000}; /* bf16 0.5, 2 */
  static const float int8[4] = {-64, 63.5f, 2, 0};
  BUILD(&f, "p.weight", "I8", "[2, 2]", bytes);
  BUILD(&f, "p.weight_scale", "BF16", "[2]", scale);
  expect_values(build_read(&f, NULL), 2, 2, int8);
}

/* DeepSeek: blocks of 128 x 128, of which the last are cut by the edge; the "inverse" scale multiplies. */
static void fp8_blocks_reach_the_edge(void **state) {
  (void)state;
  enum { N = 130, K = 300 };
  static unsigned char codes[N][K];
  static float wanted[N * K];
  static const float scales[2][3] = {{1, 2, 4}, {8, 16, 32}};
  static const unsigned char exponents[2][3] = {{127, 128, 129}, {130, 131, 132}};
  for (int n = 0; n < N; n++)
    for (int k = 0; k < K; k++) {
      codes[n][k] = k % 2 ? 0x38 : 0xb0; /* 1, -0.5 */
      wanted[n * K + k] = (k % 2 ? 1.0f : -0.5f) * scales[n / 128][k / 128];
    }
  built_file f = {0};
  BUILD(&f, "p.weight", "F8_E4M3", "[130, 300]", codes);
  BUILD(&f, "p.weight_scale_inv", "F32", "[2, 3]", scales);
  bitblas_weight *w = build_read(&f, NULL);
  assert_string_equal(describe(w).format, "fp8-block");
  assert_int_equal(describe(w).group_size, 128);
  expect_values(w, N, K, wanted);
  BUILD(&f, "p.weight", "F8_E4M3", "[130, 300]", codes);
  BUILD(&f, "p.weight_scale_inv", "F8_E8M0", "[2, 3]", exponents);
  expect_values(build_read(&f, NULL), N, K, wanted);
  BUILD(&f, "p.weight", "F8_E4M3", "[130, 300]", codes);
  build_tensor(&f, "p.weight_scale_inv", "F32", "[3, 2]", scales, sizeof scales);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "weight_scale_inv is [3, 2]", "130 rows");
  BUILD(&f, "p.weight", "F8_E4M3", "[130, 300]", codes);
  build_tensor(&f, "p.weight_scale_inv", "F32", "[6]", scales, sizeof scales);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "weight_scale_inv is [6]", "130 rows");
}

/* -- FP4 ----------------------------------------------------------------------------------------------------------- */

static const float e2m1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

/* Two experts of [1, 64]; of each byte the low half is the even element. */
static void mxfp4_blocks_of_experts(void **state) {
  (void)state;
  static unsigned char blocks[2][1][2][16];
  static const unsigned char scales[2][1][2] = {{{127, 128}}, {{126, 255}}};
  float wanted[64];
  for (int i = 0; i < 16; i++) {
    blocks[0][0][0][i] = blocks[1][0][0][i] = (unsigned char)(i | (15 - i) << 4);
    blocks[0][0][1][i] = 0x21; /* 0.5, 1 */
  }
  for (int k = 0; k < 64; k++)
    wanted[k] = k >= 32 ? (k % 2 ? 2 : 1) : e2m1[k % 2 ? 15 - k / 2 : k / 2];
  built_file f = {0};
  BUILD(&f, "p_blocks", "U8", "[2, 1, 2, 16]", blocks);
  BUILD(&f, "p_scales", "U8", "[2, 1, 2]", scales);
  bitblas_weight *w = build_read(&f, NULL);
  bitblas_weight_info info = describe(w);
  assert_string_equal(info.format, "mxfp4");
  assert_int_equal(info.type, BITBLAS_TYPE_F4E2M1);
  assert_int_equal(info.group_size, 32);
  expect_values(w, 1, 64, wanted);
  for (int k = 0; k < 64; k++)
    wanted[k] = k >= 32 ? NAN : 0.5f * wanted[k];
  bitblas_weight_config config = config_of(NULL, 0, 0);
  config.expert = 1;
  BUILD(&f, "p_blocks", "U8", "[2, 1, 2, 16]", blocks);
  BUILD(&f, "p_scales", "U8", "[2, 1, 2]", scales);
  w = build_read(&f, &config);
  assert_non_null(strstr(describe(w).note, "1 scales are 255"));
  expect_values(w, 1, 64, wanted);
  config.expert = 2;
  BUILD(&f, "p_blocks", "U8", "[2, 1, 2, 16]", blocks);
  BUILD(&f, "p_scales", "U8", "[2, 1, 2]", scales);
  build_refuses(&f, &config, BITBLAS_ERROR_ARGUMENT, "expert is 2", "has 2");
  BUILD(&f, "p_blocks", "U8", "[2, 1, 2, 16]", blocks);
  build_tensor(&f, "p_scales", "U8", "[2, 2, 1]", scales, sizeof scales);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "[1, 2, 16]", "[2, 1]");
}

static void nvfp4_global_scale_multiplies_or_divides(void **state) {
  (void)state;
  static unsigned char codes[1][16];
  static const unsigned char scales[1][2] = {{0x38, 0x40}}; /* 1, 2 */
  static const float global[1] = {4};
  float wanted[32], divided[32], swapped[32];
  for (int i = 0; i < 16; i++)
    codes[0][i] = (unsigned char)(i | (15 - i) << 4);
  for (int k = 0; k < 32; k++) {
    wanted[k] = e2m1[k % 2 ? 15 - k / 2 : k / 2] * (k < 16 ? 4 : 8);
    divided[k] = wanted[k] / 16;
  }
  for (int k = 0; k < 32; k++)
    swapped[k] = wanted[k ^ 1];
  built_file f = {0};
  BUILD(&f, "p.weight", "U8", "[1, 16]", codes);
  BUILD(&f, "p.weight_scale", "F8_E4M3", "[1, 2]", scales);
  BUILD(&f, "p.weight_scale_2", "F32", "[]", global);
  bitblas_weight *w = build_read(&f, NULL);
  assert_string_equal(describe(w).format, "nvfp4");
  assert_int_equal(describe(w).group_size, 16);
  expect_values(w, 1, 32, wanted);
  BUILD(&f, "p.weight_packed", "U8", "[1, 16]", codes);
  BUILD(&f, "p.weight_scale", "F8_E4M3", "[1, 2]", scales);
  BUILD(&f, "p.weight_global_scale", "F32", "[1]", global);
  w = build_read(&f, NULL);
  assert_string_equal(describe(w).format, "nvfp4-packed");
  expect_values(w, 1, 32, divided);
  bitblas_weight_config config = config_of("nvfp4-swapped", 0, 0);
  BUILD(&f, "p.weight", "U8", "[1, 16]", codes);
  BUILD(&f, "p.weight_scale", "F8_E4M3", "[1, 2]", scales);
  BUILD(&f, "p.weight_scale_2", "F32", "[]", global);
  expect_values(build_read(&f, &config), 1, 32, swapped);
  static const float nothing[1] = {0};
  BUILD(&f, "p.weight_packed", "U8", "[1, 16]", codes);
  BUILD(&f, "p.weight_scale", "F8_E4M3", "[1, 2]", scales);
  BUILD(&f, "p.weight_global_scale", "F32", "[1]", nothing);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "weight_global_scale is 0", "other than 0");
  BUILD(&f, "p.weight", "U8", "[2, 8]", codes);
  BUILD(&f, "p.weight_scale", "F8_E4M3", "[1, 2]", scales);
  BUILD(&f, "p.weight_scale_2", "F32", "[]", global);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "[1, 2]", "[2, 1]");
}

/* -- bitsandbytes -------------------------------------------------------------------------------------------------- */

static const float nf4[16] = {-1.0f,
                              -0.6961928009986877f,
                              -0.5250730514526367f,
                              -0.39491748809814453f,
                              -0.28444138169288635f,
                              -0.18477343022823334f,
                              -0.09105003625154495f,
                              0.0f,
                              0.07958029955625534f,
                              0.16093020141124725f,
                              0.24611230194568634f,
                              0.33791524171829224f,
                              0.44070982933044434f,
                              0.5626170039176941f,
                              0.7229568362236023f,
                              1.0f};

static void build_state(built_file *f, const char *kind, const char *json) {
  char name[64], shape[32];
  snprintf(name, sizeof name, "p.weight.quant_state.bitsandbytes__%s", kind);
  snprintf(shape, sizeof shape, "[%zu]", strlen(json));
  build_tensor(f, name, "U8", shape, json, strlen(json));
}

/* [2, 6] in blocks of 4 over the flat weight: the second block crosses from row 0 to row 1, so groups are of 2. */
static void bnb_blocks_cross_rows(void **state) {
  (void)state;
  static const unsigned char codes[6][1] = {{0x0f}, {0x7f}, {0xf0}, {0x77}, {0x1f}, {0x0e}};
  static const float absmax[3] = {1, 2, 4};
  const float wanted[12] = {-1, 1, 0, 1, 2, -2, 0, 0, 4 * nf4[1], 4, -4, 4 * nf4[14]};
  built_file f = {0};
  BUILD(&f, "p.weight", "U8", "[6, 1]", codes);
  BUILD(&f, "p.weight.absmax", "F32", "[3]", absmax);
  BUILD(&f, "p.weight.quant_map", "F32", "[16]", nf4);
  build_state(&f, "nf4", "{\"quant_type\": \"nf4\", \"blocksize\": 4, \"dtype\": \"bfloat16\", \"shape\": [2, 6]}");
  bitblas_weight *w = build_read(&f, NULL);
  bitblas_weight_info info = describe(w);
  assert_string_equal(info.format, "bnb4");
  assert_int_equal(info.type, BITBLAS_TYPE_NF4);
  assert_int_equal(info.group_size, 2);
  assert_memory_equal(info.codebook, nf4, sizeof nf4);
  expect_values(w, 2, 6, wanted);
}

/* Nested: scale i is map[absmax[i]] * nested_absmax[i / 256] + offset. FP4 has a table of its own. */
static void bnb_nested_scales_and_own_table(void **state) {
  (void)state;
  static const unsigned char codes[2][1] = {{0x01}, {0x23}}, absmax[2] = {3, 255};
  static const float nested[1] = {2};
  float table[16], map[256];
  for (int i = 0; i < 16; i++)
    table[i] = (float)i / 16;
  for (int i = 0; i < 256; i++)
    map[i] = (float)i / 2;
  const float wanted[4] = {0, 3.5f / 16, 2 * 255.5f / 16, 3 * 255.5f / 16};
  built_file f = {0};
  BUILD(&f, "p.weight", "U8", "[2, 1]", codes);
  BUILD(&f, "p.weight.absmax", "U8", "[2]", absmax);
  BUILD(&f, "p.weight.nested_absmax", "F32", "[1]", nested);
  BUILD(&f, "p.weight.nested_quant_map", "F32", "[256]", map);
  BUILD(&f, "p.weight.quant_map", "F32", "[16]", table);
  build_state(&f, "fp4", "{\"blocksize\": 2, \"shape\": [1, 4], \"nested_blocksize\": 256, \"nested_offset\": 0.5}");
  bitblas_weight *w = build_read(&f, NULL);
  assert_int_equal(describe(w).type, BITBLAS_TYPE_U4);
  expect_values(w, 1, 4, wanted);
}

static void bnb_refuses(void **state) {
  (void)state;
  static const unsigned char codes[2][1];
  static const float absmax[1];
  static const struct {
    const char *json, *word, *other;
  } cases[] = {
      {"{", "no JSON", ""},
      {"{\"blocksize\": 4, \"shape\": [4]}", "1 extents", ""},
      {"{\"blocksize\": 0, \"shape\": [1, 4]}", "blocks of 0", ""},
      {"{\"blocksize\": 4, \"shape\": [-1, 4]}", "[-1, 4]", ""},
      {"{\"blocksize\": 4, \"shape\": [4611686018427387904, 4]}", "4611686018427387904", ""},
      {"{\"blocksize\": 4, \"shape\": [2, 4]}", "4 bytes", "[2, 4]"},
      {"{\"blocksize\": 2, \"shape\": [1, 4]}", "absmax is F32[1]", "[2]"},
      {"{\"blocksize\": 4, \"shape\": [1, 4], \"nested_blocksize\": 0}", "quant_state", ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    built_file f = {0};
    BUILD(&f, "p.weight", "U8", "[2, 1]", codes);
    BUILD(&f, "p.weight.absmax", "F32", "[1]", absmax);
    BUILD(&f, "p.weight.quant_map", "F32", "[16]", nf4);
    build_state(&f, "nf4", cases[i].json);
    build_refuses(&f, NULL, BITBLAS_ERROR_FILE, cases[i].word, cases[i].other);
  }
  built_file f = {0};
  BUILD(&f, "p.weight", "U8", "[2, 1]", codes);
  BUILD(&f, "p.weight.absmax", "F32", "[1]", absmax);
  BUILD(&f, "p.weight.quant_map", "F32", "[16]", nf4);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "quant_state.bitsandbytes__nf4", "U8");
}

/* -- GGUF ---------------------------------------------------------------------------------------------------------- */

/* The smallest file with x.weight [rows, columns] of one type. */
static bitblas_weight *read_blocks(unsigned type, uint64_t rows, uint64_t columns, const void *data, size_t bytes) {
  unsigned char file[1024] = "GGUF";
  size_t at = 4;
  const struct {
    uint64_t value;
    int bytes;
  } fields[] = {{3, 4}, {1, 8}, {0, 8}, {8, 8}, {0, -8}, {2, 4}, {columns, 8}, {rows, 8}, {type, 4}, {0, 8}};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    if (fields[i].bytes < 0) memcpy(file + at, "p.weight", 8), at += 8;
    for (int b = 0; b < fields[i].bytes; b++)
      file[at++] = (unsigned char)(fields[i].value >> (8 * b));
  }
  at = (at + 31) / 32 * 32;
  memcpy(file + at, data, bytes);
  bitblas_checkpoint *c = NULL;
  bitblas_weight *w = NULL;
  check(checkpoint_parse("blocks", file, at + bytes, &c));
  assert_string_equal(bitblas_checkpoint_layer(c, 0), "p");
  check(bitblas_weight_read(c, "p", NULL, &w));
  assert_string_equal(describe(w).format, "gguf");
  bitblas_checkpoint_close(c);
  return w;
}

/* 16 bytes of split halves: elements j and j + 16 are the halves of byte j. */
static void fill_halves(unsigned char *bytes) {
  for (int j = 0; j < 16; j++)
    bytes[j] = (unsigned char)(j | (15 - j) << 4);
}

static int half_code(int k) { return k < 16 ? k : 31 - k; }

static void gguf_blocks_of_32(void **state) {
  (void)state;
  float wanted[32];
  unsigned char q4_0[18] = {0x00, 0x40}, q4_1[20] = {0x00, 0x40, 0x00, 0x38}, mxfp4[17] = {128};
  unsigned char q5_0[22] = {0x00, 0x3c, 0x01, 0x00, 0x01, 0x80}, q8_0[34] = {0x00, 0x38};
  unsigned char q5_1[24] = {0x00, 0x3c, 0x00, 0xbc, 0x01, 0x00, 0x01, 0x80};
  fill_halves(q4_0 + 2), fill_halves(q4_1 + 4), fill_halves(q5_0 + 6), fill_halves(q5_1 + 8), fill_halves(mxfp4 + 1);
  for (int k = 0; k < 32; k++)
    wanted[k] = 2 * (float)(half_code(k) - 8);
  bitblas_weight *w = read_blocks(2, 1, 32, q4_0, sizeof q4_0);
  assert_int_equal(describe(w).type, BITBLAS_TYPE_I4);
  assert_int_equal(describe(w).zeros_mode, BITBLAS_WEIGHT_ZEROS_NONE);
  expect_values(w, 1, 32, wanted);
  for (int k = 0; k < 32; k++)
    wanted[k] = 2 * (float)half_code(k) + 0.5f;
  w = read_blocks(3, 1, 32, q4_1, sizeof q4_1);
  assert_int_equal(describe(w).zeros_mode, BITBLAS_WEIGHT_ZEROS_RESCALE);
  expect_values(w, 1, 32, wanted);
  for (int k = 0; k < 32; k++) /* the fifth bits are those of elements 0, 16 and 31 */
    wanted[k] = (float)(half_code(k) + (k == 0 || k == 16 || k == 31 ? 16 : 0) - 16);
  expect_values(read_blocks(6, 1, 32, q5_0, sizeof q5_0), 1, 32, wanted);
  for (int k = 0; k < 32; k++)
    wanted[k] += 16 - 1;
  expect_values(read_blocks(7, 1, 32, q5_1, sizeof q5_1), 1, 32, wanted);
  for (int k = 0; k < 32; k++) {
    q8_0[2 + k] = (unsigned char)(k * 8 - 128);
    wanted[k] = 0.5f * (float)(k * 8 - 128);
  }
  expect_values(read_blocks(8, 1, 32, q8_0, sizeof q8_0), 1, 32, wanted);
  for (int k = 0; k < 32; k++)
    wanted[k] = 2 * e2m1[half_code(k)];
  expect_values(read_blocks(39, 1, 32, mxfp4, sizeof mxfp4), 1, 32, wanted);
}

/* Eight pairs of 6 bits in 12 bytes: the first four scales and mins are the low 6 bits of bytes 0..3 and 4..7, the last four
 * have their low halves in bytes 8..11 and their high two bits above the others. */
static void gguf_q4_k(void **state) {
  (void)state;
  unsigned char block[144] = {0x00, 0x3c, 0x00, 0x38}; /* d = 1, m = 0.5 */
  static const int scales[8] = {1, 2, 3, 63, 16, 33, 50, 63}, mins[8] = {0, 4, 62, 63, 17, 1, 48, 63};
  unsigned char *pairs = block + 4, *bytes = block + 16;
  float wanted[256];
  for (int j = 0; j < 4; j++) {
    pairs[j] = (unsigned char)(scales[j] | scales[j + 4] >> 4 << 6);
    pairs[j + 4] = (unsigned char)(mins[j] | mins[j + 4] >> 4 << 6);
    pairs[j + 8] = (unsigned char)((scales[j + 4] & 15) | (mins[j + 4] & 15) << 4);
  }
  for (int i = 0; i < 128; i++)
    bytes[i] = (unsigned char)((i * 7 + 3) & 255);
  for (int k = 0; k < 256; k++) {
    int byte = (k / 64 * 32 + k % 32) * 7 + 3, code = (k % 64 < 32 ? byte : byte >> 4) & 15;
    wanted[k] = (float)(scales[k / 32] * code) - 0.5f * (float)mins[k / 32];
  }
  assert_int_equal(pairs[0], 0x41); /* spelled out: 16 >> 4 over 1 */
  assert_int_equal(pairs[8], 0x10);
  bitblas_weight *w = read_blocks(12, 1, 256, block, sizeof block);
  assert_int_equal(describe(w).type, BITBLAS_TYPE_U4);
  assert_int_equal(describe(w).group_size, 32);
  expect_values(w, 1, 256, wanted);
}

static void gguf_q6_k(void **state) {
  (void)state;
  unsigned char block[210] = {0};
  float wanted[256];
  int codes[256];
  for (int k = 0; k < 256; k++)
    codes[k] = (k * 11 + k / 16) & 63;
  /* As the format says it: of 128 elements, l of 0..31 and four quarters. */
  for (int half = 0; half < 2; half++)
    for (int l = 0; l < 32; l++) {
      const int *q = codes + 128 * half + l;
      block[64 * half + l] = (unsigned char)((q[0] & 15) | (q[64] & 15) << 4);
      block[64 * half + 32 + l] = (unsigned char)((q[32] & 15) | (q[96] & 15) << 4);
      block[128 + 32 * half + l] = (unsigned char)(q[0] >> 4 | q[32] >> 4 << 2 | q[64] >> 4 << 4 | q[96] >> 4 << 6);
    }
  for (int j = 0; j < 16; j++)
    block[192 + j] = (unsigned char)(j % 2 ? -j - 1 : j + 1);
  block[208] = 0x00, block[209] = 0x38; /* 0.5 */
  for (int k = 0; k < 256; k++) {
    int j = k / 16;
    wanted[k] = 0.5f * (float)(j % 2 ? -j - 1 : j + 1) * (float)(codes[k] - 32);
  }
  bitblas_weight *w = read_blocks(14, 1, 256, block, sizeof block);
  assert_int_equal(describe(w).type, BITBLAS_TYPE_I6);
  assert_int_equal(describe(w).group_size, 16);
  expect_values(w, 1, 256, wanted);
}

/* -- Plain and canonical ------------------------------------------------------------------------------------------- */

static void plain_weights_are_read(void **state) {
  (void)state;
  static const uint16_t bf16[1][3] = {{0x3f80, 0xc000, 0x7f80}};
  static const double f64[1][2] = {{0.1, -2}};
  const float wanted[3] = {1, -2, INFINITY};
  const float rounded[2] = {0.1f, -2};
  built_file f = {0};
  BUILD(&f, "p.weight", "BF16", "[1, 3]", bf16);
  bitblas_weight *w = build_read(&f, NULL);
  assert_int_equal(describe(w).type, BITBLAS_TYPE_BF16);
  assert_null(describe(w).scales);
  expect_values(w, 1, 3, wanted);
  BUILD(&f, "p.weight", "F64", "[1, 2]", f64);
  expect_values(build_read(&f, NULL), 1, 2, rounded);
  build_tensor(&f, "p.weight", "BF16", "[0, 3]", "", 0);
  build_refuses(&f, NULL, BITBLAS_ERROR_FILE, "0 rows", "3 columns");
}

static void canonical_weights_are_read(void **state) {
  (void)state;
  static const int64_t form[5] = {BITBLAS_TYPE_U3, 2, 4, 2, BITBLAS_WEIGHT_ZEROS_RESCALE};
  static const unsigned char codes[3] = {0x88, 0xc6, 0xfa}; /* 0 1 2 3 4 5 6 7 of 3 bits */
  static const float scales[2][2] = {{1, 2}, {1, 1}}, zeros[2][2] = {{0, 1}, {2, 3}};
  static const int32_t order[4] = {3, 2, 1, 0}, twice[4] = {3, 2, 2, 0};
  static const float wanted[8] = {5, 3, 1, 0, 4, 3, 3, 2};
  built_file f = {0};
  for (int bad = 0; bad <= 1; bad++) {
    BUILD(&f, "p.form", "I64", "[5]", form);
    BUILD(&f, "p.codes", "U8", "[3]", codes);
    BUILD(&f, "p.scales", "F32", "[2, 2]", scales);
    BUILD(&f, "p.zeros", "F32", "[2, 2]", zeros);
    build_tensor(&f, "p.permutation", "I32", "[4]", bad ? twice : order, sizeof order);
    if (bad)
      build_refuses(&f, NULL, BITBLAS_ERROR_FILE, ".permutation[2] is 2", "once");
    else
      expect_values(build_read(&f, NULL), 2, 4, wanted);
  }
  static const int64_t bad_forms[][5] = {{0, 2, 4, 2, 0},
                                         {99, 2, 4, 2, 0},
                                         {BITBLAS_TYPE_U3, 2, 5, 2, 0},
                                         {BITBLAS_TYPE_U3, -2, -4, 2, 0},
                                         {BITBLAS_TYPE_U3, 2, 4, 0, 0},
                                         {BITBLAS_TYPE_U3, 2, 4, 2, 3},
                                         {BITBLAS_TYPE_U3, INT64_MAX, 4, 2, 0}};
  for (size_t i = 0; i < sizeof bad_forms / sizeof *bad_forms; i++) {
    BUILD(&f, "p.form", "I64", "[5]", bad_forms[i]);
    BUILD(&f, "p.codes", "U8", "[3]", codes);
    build_refuses(&f, NULL, BITBLAS_ERROR_FILE, ".codes has 3 bytes", ".form");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fp8_scales_of_tensor_and_rows),
      cmocka_unit_test(fp8_blocks_reach_the_edge),
      cmocka_unit_test(mxfp4_blocks_of_experts),
      cmocka_unit_test(nvfp4_global_scale_multiplies_or_divides),
      cmocka_unit_test(bnb_blocks_cross_rows),
      cmocka_unit_test(bnb_nested_scales_and_own_table),
      cmocka_unit_test(bnb_refuses),
      cmocka_unit_test(gguf_blocks_of_32),
      cmocka_unit_test(gguf_q4_k),
      cmocka_unit_test(gguf_q6_k),
      cmocka_unit_test(plain_weights_are_read),
      cmocka_unit_test(canonical_weights_are_read),
  };
  return cmocka_run_group_tests_name("formats_float", tests, NULL, NULL);
}
