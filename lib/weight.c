/* The canonical weight: what it is and what it means. */
#include "lib/weight.h"

#include "ir/numeric.h"

#include <math.h>
#include <string.h>

enum { TABLE_SIZE = 256 };

/* -- Making -------------------------------------------------------------------------------------------------------- */

bitblas_weight *weight_create(void) {
  arena *memory = arena_create();
  bitblas_weight *w = ARENA_NEW(memory, bitblas_weight);
  w->memory = memory;
  w->info = (bitblas_weight_info)BITBLAS_WEIGHT_INFO_INIT;
  return w;
}

int weight_code_bytes(bitblas_type type) { return (bitblas_type_bits(type) + 7) / 8; }

void weight_shape(bitblas_weight *w, bitblas_type type, int64_t rows, int64_t columns, int64_t group_size) {
  w->info.type = type;
  w->info.rows = rows;
  w->info.columns = columns;
  w->info.group_size = group_size;
  w->codes = arena_alloc(w->memory, (size_t)rows * (size_t)columns * (size_t)weight_code_bytes(type));
}

int64_t weight_groups(const bitblas_weight *w) {
  return (w->info.columns + w->info.group_size - 1) / w->info.group_size;
}

float *weight_room(bitblas_weight *w) { return ARENA_ARRAY(w->memory, float, w->info.rows *weight_groups(w)); }

static void make_symmetric(bitblas_weight *w) {
  static const bitblas_type types[] = {BITBLAS_TYPE_U2, BITBLAS_TYPE_U3, BITBLAS_TYPE_U4, BITBLAS_TYPE_U5,
                                       BITBLAS_TYPE_U6, BITBLAS_TYPE_U7, BITBLAS_TYPE_U8};
  static const bitblas_type to[] = {BITBLAS_TYPE_I2, BITBLAS_TYPE_I3, BITBLAS_TYPE_I4, BITBLAS_TYPE_I5,
                                    BITBLAS_TYPE_I6, BITBLAS_TYPE_I7, BITBLAS_TYPE_I8};
  size_t row = 0, rows = sizeof types / sizeof *types;
  while (row < rows && types[row] != w->info.type)
    row++;
  if (row == rows || w->codebook || w->info.zeros_mode != BITBLAS_WEIGHT_ZEROS_ORIGINAL) return;
  unsigned char half = (unsigned char)(1 << (bitblas_type_bits(w->info.type) - 1));
  size_t zeros = (size_t)(w->info.rows * weight_groups(w)), codes = (size_t)(w->info.rows * w->info.columns);
  for (size_t i = 0; i < zeros; i++)
    if (w->zeros[i] != (float)half) return;
  size_t i = 0;
  for (uint64_t eight, halves = 0x0101010101010101 * (uint64_t)half; i + sizeof eight <= codes; i += sizeof eight) {
    memcpy(&eight, w->codes + i, sizeof eight);
    eight ^= halves;
    memcpy(w->codes + i, &eight, sizeof eight);
  }
  for (; i < codes; i++)
    w->codes[i] ^= half;
  w->info.type = to[row];
  w->info.zeros_mode = BITBLAS_WEIGHT_ZEROS_NONE;
  w->zeros = NULL;
}

void weight_seal(bitblas_weight *w) {
  make_symmetric(w);
  w->info.note = str_text(&w->note);
  w->info.codes = w->codes;
  w->info.scales = w->scales;
  w->info.zeros = w->zeros;
  w->info.codebook = w->codebook;
  w->info.permutation = w->permutation;
}

/* -- Meaning ------------------------------------------------------------------------------------------------------- */

static uint64_t code_of(const bitblas_weight *w, size_t index) {
  int bytes = weight_code_bytes(w->info.type);
  const unsigned char *at = w->codes + index * (size_t)bytes;
  uint64_t code = 0;
  for (int i = 0; i < bytes; i++)
    code |= (uint64_t)at[i] << (8 * i);
  return code;
}

/* The values of every code of at most 8 bits. */
static void fill_table(const bitblas_weight *w, double table[TABLE_SIZE]) {
  ir_type type = lib_ir_type(w->info.type);
  for (unsigned code = 0; code < TABLE_SIZE; code++)
    table[code] = w->codebook ? (double)w->codebook[code & 15] : ir_decode(type, code);
}

bitblas_status bitblas_weight_decode(const bitblas_weight *weight, float *values, size_t count) {
  if (!weight || !values) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", weight ? "values" : "weight");
  size_t rows = (size_t)weight->info.rows, columns = (size_t)weight->info.columns;
  if (count != rows * columns)
    return lib_fail(BITBLAS_ERROR_SHAPE, "count is %zu and should be %zu * %zu = %zu", count, rows, columns,
                    rows * columns);
  ir_type type = lib_ir_type(weight->info.type);
  bool narrow = weight_code_bytes(weight->info.type) == 1;
  double table[TABLE_SIZE];
  if (narrow) fill_table(weight, table);
  size_t groups = (size_t)weight_groups(weight), group_size = (size_t)weight->info.group_size;
  bool rescale = weight->info.zeros_mode == BITBLAS_WEIGHT_ZEROS_RESCALE;
  for (size_t n = 0; n < rows; n++) {
    for (size_t k = 0; k < columns; k++) {
      size_t at = n * columns + k, group = n * groups + k / group_size;
      double value = narrow ? table[weight->codes[at]] : ir_decode(type, code_of(weight, at));
      double scale = weight->scales ? (double)weight->scales[group] : 1;
      double zero = weight->zeros ? (double)weight->zeros[group] : 0;
      size_t to = n * columns + (weight->permutation ? (size_t)weight->permutation[k] : k);
      values[to] = (float)(rescale ? value * scale - zero : (value - zero) * scale);
    }
  }
  return BITBLAS_OK;
}

static void pack_nibbles(const unsigned char *codes, size_t count, unsigned char *out) {
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    uint64_t eight;
    memcpy(&eight, codes + i, sizeof eight);
    uint32_t word = weight_gather(eight);
    memcpy(out + i / 2, &word, sizeof word);
  }
  for (; i < count; i += 2)
    out[i / 2] = (unsigned char)(codes[i] | (i + 1 < count ? codes[i + 1] << 4 : 0));
}

bitblas_status bitblas_weight_stream(const bitblas_weight *weight, void *stream, size_t bytes) {
  if (!weight || !stream) return lib_fail(BITBLAS_ERROR_ARGUMENT, "%s is null", weight ? "stream" : "weight");
  int bits = bitblas_type_bits(weight->info.type);
  size_t count = (size_t)weight->info.rows * (size_t)weight->info.columns;
  if (bytes != ir_packed_bytes(count, bits))
    return lib_fail(BITBLAS_ERROR_SHAPE, "bytes is %zu and should be %zu: %zu codes of %d bits", bytes,
                    ir_packed_bytes(count, bits), count, bits);
  const unsigned char *codes = weight->codes;
  unsigned char *out = stream;
  if (bits % 8 == 0) {
    memcpy(out, codes, bytes);
  } else if (bits == 4) {
    pack_nibbles(codes, count, out);
  } else {
    memset(out, 0, bytes);
    for (size_t i = 0; i < count; i++)
      ir_put_bits(out, i, bits, codes[i]);
  }
  return BITBLAS_OK;
}

/* -- The interface ------------------------------------------------------------------------------------------------- */

bitblas_status bitblas_weight_describe(const bitblas_weight *weight, bitblas_weight_info *info) {
  if (!weight) return lib_fail(BITBLAS_ERROR_ARGUMENT, "weight is null");
  bitblas_weight_info ours = BITBLAS_WEIGHT_INFO_INIT;
  bitblas_status status = lib_take_config("info", info, &ours, sizeof ours, sizeof ours);
  if (status != BITBLAS_OK) return status;
  size_t size = ours.size;
  ours = weight->info;
  ours.size = size;
  memcpy(info, &ours, sizeof ours);
  return BITBLAS_OK;
}

void bitblas_weight_destroy(bitblas_weight *weight) {
  if (!weight) return;
  str_free(&weight->note);
  arena_destroy(weight->memory);
}
