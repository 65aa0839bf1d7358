/* compressed-tensors, "pack-quantized": signed codes stored with an offset, in words along K.
 *
 *   weight_packed      I32 [N, words]         value + 2^(bits - 1), low bits first
 *   weight_shape       I64 [2]                N, K: the last word may be padded
 *   weight_scale       F16|BF16 [N, groups], [N, 1] or [1]
 *   weight_zero_point  I32 [words of N, groups], packed along N, with the same offset; none: symmetric
 *   weight_g_idx       I32 [K]; -1 where the inputs are in order
 *
 * Where 32 is no multiple of the bits, older writers put 32 / bits whole codes into a word and newer ones let codes
 * straddle words; the number of words tells. */
#include "ir/numeric.h"
#include "lib/format.h"

#include <inttypes.h>
#include <string.h>

enum { WORD_BITS = 32 };

typedef struct packing {
  int bits;
  bool dense; /* codes straddle words */
} packing;

static int64_t words_of(packing p, int64_t count) {
  int64_t whole = WORD_BITS / p.bits;
  return p.dense ? (count * p.bits + WORD_BITS - 1) / WORD_BITS : (count + whole - 1) / whole;
}

static unsigned code_at(packing p, const unsigned char *words, size_t index) {
  if (p.dense) return (unsigned)ir_get_bits(words, index, p.bits);
  size_t whole = (size_t)(WORD_BITS / p.bits);
  return load_u32(words + index / whole * 4) >> (index % whole * (size_t)p.bits) & ((1u << p.bits) - 1);
}

bool packed_detect(const format_reader *r) {
  return format_has(r, ".weight_packed", "I32") && format_find(r, ".weight_scale");
}

/* The packing with this number of words: of the stated bits, else (groups of layers may have others) the commonest. Bits
 * 0: none. */
static packing find_packing(const format_reader *r, int64_t count, int64_t words) {
  const int order[] = {format_stated_bits(r), 4, 8, 2, 1, 3, 6, 5, 7};
  for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
    for (int dense = 1; dense >= 0 && order[i]; dense--) {
      packing p = {order[i], dense};
      if (words_of(p, count) == words) return p;
    }
  }
  return (packing){0, false};
}

/* Zeros are packed down the columns of [words, groups]. */
static bitblas_status read_zeros(format_reader *r, packing p) {
  bitblas_weight *w = r->weight;
  int64_t groups = weight_groups(w), rows = w->info.rows;
  const bitblas_checkpoint_tensor *t;
  w->zeros = weight_room(w);
  w->info.zeros_mode = BITBLAS_WEIGHT_ZEROS_ORIGINAL;
  if (!format_find(r, ".weight_zero_point")) {
    for (int64_t i = 0; i < rows * groups; i++)
      w->zeros[i] = (float)(1 << (p.bits - 1));
    return BITBLAS_OK;
  }
  int64_t words = words_of(p, rows);
  bitblas_status status = format_need(r, ".weight_zero_point", "I32", 2, (const int64_t[]){words, groups}, &t);
  if (status != BITBLAS_OK) return status;
  unsigned char *column = ARENA_ARRAY(w->memory, unsigned char, 4 * words);
  for (int64_t g = 0; g < groups; g++) {
    for (int64_t i = 0; i < words; i++)
      memcpy(column + 4 * i, (const unsigned char *)t->data + 4 * (i * groups + g), 4);
    for (int64_t n = 0; n < rows; n++)
      w->zeros[n * groups + g] = (float)code_at(p, column, (size_t)n);
  }
  return BITBLAS_OK;
}

static bitblas_status check_order(const format_reader *r, int64_t columns, int64_t group_size) {
  const bitblas_checkpoint_tensor *t = format_find(r, ".weight_g_idx");
  if (!t) return BITBLAS_OK;
  bitblas_status status = format_need(r, ".weight_g_idx", "I32|I64", 1, (const int64_t[]){columns}, &t);
  for (int64_t k = 0; k < columns && status == BITBLAS_OK; k++) {
    int64_t group = format_integer(t, (size_t)k);
    if (group != -1 && group != k / group_size)
      status =
          format_fail(r, BITBLAS_ERROR_UNSUPPORTED,
                      "weight_g_idx[%" PRId64 "] is %" PRId64 ": groups that are not in order are not read", k, group);
  }
  return status;
}

bitblas_status packed_read(format_reader *r) {
  const bitblas_checkpoint_tensor *codes, *shape, *scales;
  bitblas_status status = format_need(r, ".weight_packed", "I32", 2, (const int64_t[]){-1, -1}, &codes);
  if (status == BITBLAS_OK) status = format_need(r, ".weight_shape", "I64|I32", 1, (const int64_t[]){2}, &shape);
  if (status != BITBLAS_OK) return status;
  int64_t rows = format_integer(shape, 0), columns = format_integer(shape, 1), words = codes->shape[1];
  if (rows != codes->shape[0] || rows < 1 || columns < 1 || columns > INT32_MAX)
    return format_fail(r, BITBLAS_ERROR_FILE,
                       ".weight_shape says [%" PRId64 ", %" PRId64 "] and .weight_packed has %" PRId64 " rows", rows,
                       columns, codes->shape[0]);
  packing p = find_packing(r, columns, words);
  if (!p.bits)
    return format_fail(r, BITBLAS_ERROR_FILE, "%" PRId64 " words do not hold %" PRId64 " codes of any width", words,
                       columns);
  scales = format_find(r, ".weight_scale");
  if (!scales || !format_has(r, ".weight_scale", FORMAT_FLOATS) || scales->rank > 2)
    return format_fail(r, BITBLAS_ERROR_FILE, "it has no .weight_scale of " FORMAT_FLOATS);
  int64_t groups = scales->rank == 2 ? scales->shape[1] : 1, group_size;
  status = format_group_size(r, columns, groups, &group_size);
  if (status == BITBLAS_OK) status = check_order(r, columns, group_size);
  if (status == BITBLAS_OK) status = format_shape(r, format_unsigned(p.bits), rows, columns, group_size);
  if (status == BITBLAS_OK) status = format_spread(r, scales, 1);
  if (status != BITBLAS_OK) return status;
  bitblas_weight *w = r->weight;
  for (int64_t n = 0; n < rows; n++) {
    const unsigned char *row = (const unsigned char *)codes->data + 4 * n * words;
    unsigned char *out = w->codes + n * columns;
    if (p.dense) {
      format_unpack(row, p.bits, (size_t)columns, out);
    } else {
      for (int64_t k = 0; k < columns; k++)
        out[k] = (unsigned char)code_at(p, row, (size_t)k);
    }
  }
  return read_zeros(r, p);
}
