/* The canonical weight as a file keeps it: what `bitblasc repack` writes.
 *
 *   form         I64 [5]: bitblas_type, N, K, group size, bitblas_weight_zeros
 *   codes        U8: one stream of bits, row-major, little end first; [N, bytes of a row] where a row is whole bytes
 *   scales       F32 [N, groups], or none: all are 1
 *   zeros        F32 [N, groups], where the form has zeros
 *   codebook     F32 [16], or none
 *   permutation  I32 [K], or none */
#include "ir/numeric.h"
#include "lib/format.h"

#include <inttypes.h>
#include <string.h>

enum { FORM_TYPE, FORM_ROWS, FORM_COLUMNS, FORM_GROUP, FORM_ZEROS, FORM_COUNT, TABLE = 16 };

bool canonical_detect(const format_reader *r) { return format_has(r, ".codes", "U8") && format_has(r, ".form", "I64"); }

static bitblas_status read_groups(format_reader *r, const char *suffix, float **out) {
  const bitblas_checkpoint_tensor *t;
  bitblas_weight *w = r->weight;
  bitblas_status status = format_need(r, suffix, "F32", 2, (const int64_t[]){w->info.rows, weight_groups(w)}, &t);
  if (status != BITBLAS_OK) return status;
  *out = weight_room(w);
  format_floats(t, *out);
  return BITBLAS_OK;
}

static bitblas_status read_permutation(format_reader *r) {
  bitblas_weight *w = r->weight;
  const bitblas_checkpoint_tensor *t;
  bitblas_status status = format_need(r, ".permutation", "I32", 1, (const int64_t[]){w->info.columns}, &t);
  if (status != BITBLAS_OK) return status;
  bool *seen = ARENA_ARRAY(w->memory, bool, w->info.columns);
  w->permutation = ARENA_ARRAY(w->memory, int32_t, w->info.columns);
  for (int64_t k = 0; k < w->info.columns; k++) {
    int64_t to = format_integer(t, (size_t)k);
    if (to < 0 || to >= w->info.columns || seen[to])
      return format_fail(r, BITBLAS_ERROR_FILE,
                         ".permutation[%" PRId64 "] is %" PRId64 ": each of 0 to %" PRId64 " once", k, to,
                         w->info.columns - 1);
    seen[to] = true;
    w->permutation[k] = (int32_t)to;
  }
  return BITBLAS_OK;
}

static bitblas_status read_codes(format_reader *r) {
  const bitblas_checkpoint_tensor *form, *codes = format_find(r, ".codes"), *table;
  bitblas_status status = format_need(r, ".form", "I64", 1, (const int64_t[]){FORM_COUNT}, &form);
  if (status != BITBLAS_OK) return status;
  int64_t f[FORM_COUNT];
  for (size_t i = 0; i < FORM_COUNT; i++)
    f[i] = format_integer(form, i);
  bitblas_type type =
      f[FORM_TYPE] > 0 && f[FORM_TYPE] < BITBLAS_TYPE_PRED ? (bitblas_type)f[FORM_TYPE] : BITBLAS_TYPE_NONE;
  int bits = bitblas_type_bits(type);
  int64_t elements;
  if (!bits || f[FORM_ROWS] < 1 || f[FORM_COLUMNS] < 1 || f[FORM_GROUP] < 1 || f[FORM_ZEROS] < 0 ||
      f[FORM_ZEROS] > BITBLAS_WEIGHT_ZEROS_RESCALE ||
      __builtin_mul_overflow(f[FORM_ROWS], f[FORM_COLUMNS], &elements) || elements > INT64_MAX / 64 || !codes ||
      strcmp(codes->encoding, "U8") != 0 || codes->bytes != ir_packed_bytes((size_t)elements, bits))
    return format_fail(r, BITBLAS_ERROR_FILE,
                       ".codes has %zu bytes and .form says type %" PRId64 ", [%" PRId64 ", %" PRId64
                       "], groups of %" PRId64 ", zeros %" PRId64,
                       codes ? codes->bytes : 0, f[FORM_TYPE], f[FORM_ROWS], f[FORM_COLUMNS], f[FORM_GROUP],
                       f[FORM_ZEROS]);
  status = format_shape(r, type, f[FORM_ROWS], f[FORM_COLUMNS], f[FORM_GROUP]);
  if (status != BITBLAS_OK) return status;
  bitblas_weight *w = r->weight;
  w->info.zeros_mode = (bitblas_weight_zeros)f[FORM_ZEROS];
  if (bits > 8)
    memcpy(w->codes, codes->data, codes->bytes);
  else
    format_unpack(codes->data, bits, (size_t)elements, w->codes);
  if (!format_find(r, ".codebook")) return BITBLAS_OK;
  status = format_need(r, ".codebook", "F32", 1, (const int64_t[]){TABLE}, &table);
  if (status != BITBLAS_OK) return status;
  if (bits != 4) return format_fail(r, BITBLAS_ERROR_FILE, "it has a .codebook and codes of %d bits", bits);
  w->codebook = ARENA_ARRAY(w->memory, float, TABLE);
  format_floats(table, w->codebook);
  return BITBLAS_OK;
}

bitblas_status canonical_read(format_reader *r) {
  bitblas_status status = read_codes(r);
  bitblas_weight *w = r->weight;
  if (status == BITBLAS_OK && format_find(r, ".scales")) status = read_groups(r, ".scales", &w->scales);
  if (status == BITBLAS_OK && w->info.zeros_mode != BITBLAS_WEIGHT_ZEROS_NONE)
    status = read_groups(r, ".zeros", &w->zeros);
  if (status == BITBLAS_OK && format_find(r, ".permutation")) status = read_permutation(r);
  return status;
}
