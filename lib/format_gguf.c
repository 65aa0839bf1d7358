/* GGUF: blocks that hold their own scales. A tensor P.weight of [N, K] has N * K / elements of them.
 *
 *   Q4_0   f16 d, 16 bytes: low halves are elements 0 .. 15, high ones 16 .. 31        (q - 8) d
 *   Q4_1   f16 d, f16 m, the same                                                      q d + m
 *   Q5_0   f16 d, u32 of fifth bits, the same; Q5_1 with f16 m after d                 (q - 16) d; q d + m
 *   Q8_0   f16 d, 32 i8                                                                q d
 *   MXFP4  e8m0 d, 16 bytes as Q4_0 of e2m1                                            q d
 *   Q4_K   f16 d, f16 m, 8 pairs (sc, mn) of 6 bits in 12 bytes, 128 bytes: of every 32, low halves are elements 0 .. 31
 *          and high ones 32 .. 63 of their 64                                          q d sc - m mn
 *   Q6_K   128 bytes of low bits, 64 of the two high ones, 16 i8 sc, f16 d             (q - 32) d sc
 *
 * Source: ggml-common.h, ggml-quants.c (dequantize_row_*). */
#include "ir/numeric.h"
#include "lib/format.h"

#include <inttypes.h>
#include <string.h>

/* Where one block goes: its codes, and its groups' scales and zeros. */
typedef struct block_target {
  unsigned char *codes;
  float *scales, *zeros; /* zeros: of a type that has none, NULL */
} block_target;

static float half_at(const unsigned char *p) { return (float)ir_decode(IR_F16, load_u16(p)); }

static void split_halves(const unsigned char *bytes, unsigned char *codes) {
  for (int j = 0; j < 16; j++) {
    codes[j] = bytes[j] & 15;
    codes[j + 16] = bytes[j] >> 4;
  }
}

static void add_fifth_bits(uint32_t bits, unsigned char *codes) {
  for (int j = 0; j < 32; j++)
    codes[j] |= (unsigned char)((bits >> j & 1) << 4);
}

/* Stored with an offset of half the range: the sign bit is the other way round. */
static void make_signed(unsigned char *codes, int count, unsigned half) {
  for (int j = 0; j < count; j++)
    codes[j] ^= (unsigned char)half;
}

static void read_q4_0(const unsigned char *b, block_target t) {
  t.scales[0] = half_at(b);
  split_halves(b + 2, t.codes);
  make_signed(t.codes, 32, 8);
}

static void read_q4_1(const unsigned char *b, block_target t) {
  t.scales[0] = half_at(b);
  t.zeros[0] = -half_at(b + 2);
  split_halves(b + 4, t.codes);
}

static void read_q5_0(const unsigned char *b, block_target t) {
  t.scales[0] = half_at(b);
  split_halves(b + 6, t.codes);
  add_fifth_bits(load_u32(b + 2), t.codes);
  make_signed(t.codes, 32, 16);
}

static void read_q5_1(const unsigned char *b, block_target t) {
  t.scales[0] = half_at(b);
  t.zeros[0] = -half_at(b + 2);
  split_halves(b + 8, t.codes);
  add_fifth_bits(load_u32(b + 4), t.codes);
}

static void read_q8_0(const unsigned char *b, block_target t) {
  t.scales[0] = half_at(b);
  memcpy(t.codes, b + 2, 32);
}

static void read_mxfp4(const unsigned char *b, block_target t) {
  t.scales[0] = (float)ir_decode(IR_E8M0, b[0]);
  split_halves(b + 1, t.codes);
}

static void read_q4_k(const unsigned char *b, block_target t) {
  float d = half_at(b), m = half_at(b + 2);
  const unsigned char *pairs = b + 4, *bytes = b + 16;
  for (int j = 0; j < 8; j++) {
    int scale = j < 4 ? pairs[j] & 63 : (pairs[j + 4] & 15) | (pairs[j - 4] >> 6) << 4;
    int least = j < 4 ? pairs[j + 4] & 63 : pairs[j + 4] >> 4 | (pairs[j] >> 6) << 4;
    t.scales[j] = d * (float)scale;
    t.zeros[j] = m * (float)least;
    for (int i = 0; i < 32; i++)
      t.codes[32 * j + i] = bytes[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
  }
}

static void read_q6_k(const unsigned char *b, block_target t) {
  const unsigned char *low = b, *high = b + 128, *scales = b + 192;
  float d = half_at(b + 208);
  for (int j = 0; j < 16; j++)
    t.scales[j] = d * (float)ir_wrap(IR_I8, scales[j]);
  for (int i = 0; i < 256; i++) {
    int half = i / 128, row = i % 128 / 32, at = i % 32; /* of 128: four rows of 32 share bytes */
    int nibble = low[64 * half + row % 2 * 32 + at] >> (row / 2 * 4) & 15;
    t.codes[i] = (unsigned char)(nibble | (high[32 * half + at] >> (2 * row) & 3) << 4);
  }
  make_signed(t.codes, 256, 32);
}

typedef struct block_row {
  const char *encoding;
  int elements, bytes, group;
  bitblas_type type;
  bool has_zeros;
  void (*read)(const unsigned char *b, block_target t);
} block_row;

static const block_row blocks[] = {
    {"Q4_0", 32, 18, 32, BITBLAS_TYPE_I4, false, read_q4_0},
    {"Q4_1", 32, 20, 32, BITBLAS_TYPE_U4, true, read_q4_1},
    {"Q5_0", 32, 22, 32, BITBLAS_TYPE_I5, false, read_q5_0},
    {"Q5_1", 32, 24, 32, BITBLAS_TYPE_U5, true, read_q5_1},
    {"Q8_0", 32, 34, 32, BITBLAS_TYPE_I8, false, read_q8_0},
    {"MXFP4", 32, 17, 32, BITBLAS_TYPE_F4E2M1, false, read_mxfp4},
    {"Q4_K", 256, 144, 32, BITBLAS_TYPE_U4, true, read_q4_k},
    {"Q6_K", 256, 210, 16, BITBLAS_TYPE_I6, false, read_q6_k},
};

static const block_row *find_row(const format_reader *r) {
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
    if (format_has(r, ".weight", blocks[i].encoding)) return &blocks[i];
  }
  return NULL;
}

bool gguf_detect(const format_reader *r) { return find_row(r) != NULL; }

bitblas_status gguf_read(format_reader *r) {
  const block_row *row = find_row(r);
  const int64_t *shape;
  const unsigned char *data;
  if (!row) return format_fail(r, BITBLAS_ERROR_FILE, "it has no .weight of blocks that are read");
  bitblas_status status = format_matrix(r, format_find(r, ".weight"), 2, &shape, &data);
  if (status == BITBLAS_OK) status = format_shape(r, row->type, shape[0], shape[1], row->group);
  if (status != BITBLAS_OK) return status;
  bitblas_weight *w = r->weight;
  w->scales = weight_room(w);
  if (row->has_zeros) {
    w->zeros = weight_room(w);
    w->info.zeros_mode = BITBLAS_WEIGHT_ZEROS_RESCALE;
  }
  int64_t count = w->info.rows * w->info.columns / row->elements, groups = row->elements / row->group;
  for (int64_t i = 0; i < count; i++)
    row->read(data + i * row->bytes, (block_target){w->codes + i * row->elements, w->scales + i * groups,
                                                    w->zeros ? w->zeros + i * groups : NULL});
  return BITBLAS_OK;
}
