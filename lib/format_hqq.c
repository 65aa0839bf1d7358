/* HQQ: the weight as rows of one group each, packed by halves, quarters and so on of all these rows.
 *
 *   W_q    U8 [rows / parts, group]: part p of row r is row p * (rows / parts) + r, part 0 in the highest bits
 *          I32 for 3 bits: ten parts at bits 27, 24 .. 0; the rows are padded to a multiple of ten
 *   scale, zero  F16|BF16|F32, one for each row; zeros are real numbers
 *   shape  I64 [2]: N, K        nbits, axis  I32: 1 groups along K, 0 across N
 *
 * W = (code - zero) * scale. */
#include "lib/format.h"

#include <inttypes.h>
#include <string.h>

enum { PARTS_OF_3 = 10 };

typedef struct hqq_tensors {
  const bitblas_checkpoint_tensor *codes, *scale, *zero;
  int64_t rows, columns, group, count; /* of the weight; elements and number of the packed rows */
  int bits;
} hqq_tensors;

bool hqq_detect(const format_reader *r) { return format_has(r, ".W_q", "U8|I32"); }

static int64_t stated(const format_reader *r, const char *suffix, int64_t otherwise) {
  const bitblas_checkpoint_tensor *t = format_find(r, suffix);
  bool whole = t && format_count(t) == 1 &&
               (t->type == BITBLAS_TYPE_I32 || t->type == BITBLAS_TYPE_I64 || t->type == BITBLAS_TYPE_U8);
  return whole ? format_integer(t, 0) : otherwise;
}

static int parts_of(int bits) { return bits == 3 ? PARTS_OF_3 : 8 / bits; }

/* One number for each of the packed rows, whatever its shape. */
static bitblas_status find_row_values(const format_reader *r, const char *suffix, int64_t count,
                                      const bitblas_checkpoint_tensor **out) {
  *out = format_find(r, suffix);
  if (!*out && format_find(r, ".W_q"))
    return format_fail(r, BITBLAS_ERROR_UNSUPPORTED, "it has no %s: one that is quantised itself is not read", suffix);
  if (!*out || !format_has(r, suffix, FORMAT_FLOATS) || format_count(*out) != (size_t)count)
    return format_fail(r, BITBLAS_ERROR_FILE, "%s should have %" PRId64 " elements of " FORMAT_FLOATS, suffix, count);
  return BITBLAS_OK;
}

static bitblas_status find_tensors(const format_reader *r, hqq_tensors *t) {
  const bitblas_checkpoint_tensor *shape;
  bitblas_status status = format_need(r, ".W_q", "U8|I32", 2, (const int64_t[]){-1, -1}, &t->codes);
  if (status == BITBLAS_OK) status = format_need(r, ".shape", "I64|I32", 1, (const int64_t[]){2}, &shape);
  if (status != BITBLAS_OK) return status;
  if (stated(r, ".axis", format_number(r, "quant_config.weight_quant_params.axis", 1)) != 1)
    return format_fail(r, BITBLAS_ERROR_UNSUPPORTED, "its groups lie across the rows (axis 0); axis 1 is read");
  t->rows = format_integer(shape, 0);
  t->columns = format_integer(shape, 1);
  t->group = t->codes->shape[1];
  int64_t packed = t->codes->shape[0], elements;
  if (t->rows < 1 || t->columns < 1 || t->group < 1 || packed < 1 ||
      __builtin_mul_overflow(t->rows, t->columns, &elements) || elements % t->group)
    return format_fail(r, BITBLAS_ERROR_FILE, ".shape says [%" PRId64 ", %" PRId64 "] and .W_q has groups of %" PRId64,
                       t->rows, t->columns, t->group);
  t->count = elements / t->group;
  bool words = t->codes->type == BITBLAS_TYPE_I32;
  int64_t guess = words ? 3 : packed ? 8 / (t->count / packed ? t->count / packed : 1) : 8;
  int64_t bits = stated(r, ".nbits", format_stated_bits(r) ? format_stated_bits(r) : guess);
  if ((bits != 1 && bits != 2 && bits != 3 && bits != 4 && bits != 8) || (bits == 3) != words)
    return format_fail(r, BITBLAS_ERROR_UNSUPPORTED,
                       "its codes have %" PRId64 " bits in %s; 1, 2, 4, 8 in U8 and 3 in I32 are read", bits,
                       t->codes->encoding);
  t->bits = (int)bits;
  int parts = parts_of(t->bits);
  if (t->count / parts + (t->count % parts != 0) != packed || (!words && t->count % parts))
    return format_fail(r, BITBLAS_ERROR_FILE,
                       ".W_q has %" PRId64 " rows of %d parts and should hold %" PRId64 " groups of %" PRId64, packed,
                       parts, t->count, t->group);
  status = find_row_values(r, ".scale", t->count, &t->scale);
  return status == BITBLAS_OK ? find_row_values(r, ".zero", t->count, &t->zero) : status;
}

bitblas_status hqq_read(format_reader *r) {
  hqq_tensors t;
  bitblas_status status = find_tensors(r, &t);
  if (status == BITBLAS_OK)
    status = format_shape(r, format_unsigned(t.bits), t.rows, t.columns, format_flat_group(t.group, t.columns));
  if (status != BITBLAS_OK) return status;
  bitblas_weight *w = r->weight;
  int64_t step = t.codes->shape[0];
  int parts = parts_of(t.bits), bytes = t.bits == 3 ? 4 : 1;
  const unsigned char *data = t.codes->data;
  for (int64_t row = 0; row < t.count; row++) {
    int shift = t.bits * (parts - 1 - (int)(row / step));
    const unsigned char *from = data + row % step * t.group * bytes;
    for (int64_t i = 0; i < t.group; i++) {
      uint32_t word = bytes == 4 ? load_u32(from + 4 * i) : from[i];
      w->codes[row * t.group + i] = (unsigned char)(word >> shift & ((1u << t.bits) - 1));
    }
  }
  float *values = ARENA_ARRAY(w->memory, float, t.count);
  w->scales = weight_room(w);
  format_floats(t.scale, values);
  format_spread_flat(w, t.group, values, w->scales);
  w->zeros = weight_room(w);
  w->info.zeros_mode = BITBLAS_WEIGHT_ZEROS_ORIGINAL;
  format_floats(t.zero, values);
  format_spread_flat(w, t.group, values, w->zeros);
  return BITBLAS_OK;
}
