/* bitsandbytes, 4 bits: codes of a table of 16 values, with the even element in the HIGH half of a byte.
 *
 *   weight            U8 [N * K / 2, 1]    flat, row-major
 *   weight.quant_map  F32 [16]             the table: NF4's, or the format's own FP4
 *   weight.absmax     F32 [blocks]         a scale for each `blocksize` elements of the flat weight, which may cross rows
 *   weight.quant_state.bitsandbytes__nf4 (or __fp4)  U8: JSON with shape, blocksize, nested_offset, nested_blocksize
 *
 * Nested: absmax is U8, and scale i is nested_quant_map[absmax[i]] * nested_absmax[i / nested_blocksize] + nested_offset. */
#include "ir/numeric.h"
#include "lib/format.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

enum { TABLE = 16, NESTED_TABLE = 256 };

typedef struct quant_state {
  int64_t rows, columns, blocksize, nested_blocksize;
  double nested_offset;
} quant_state;

bool bnb_detect(const format_reader *r) { return format_has(r, ".weight", "U8") && format_find(r, ".weight.absmax"); }

static bitblas_status read_state(const format_reader *r, quant_state *s) {
  const bitblas_checkpoint_tensor *t = format_find(r, ".weight.quant_state.bitsandbytes__nf4");
  if (!t) t = format_find(r, ".weight.quant_state.bitsandbytes__fp4");
  if (!t || strcmp(t->encoding, "U8") != 0)
    return format_fail(r, BITBLAS_ERROR_FILE, "it has no .weight.quant_state.bitsandbytes__nf4 or __fp4 of U8");
  json_error_t error;
  json_t *state = json_loadb(t->data, t->bytes, 0, &error);
  if (!state) return format_fail(r, BITBLAS_ERROR_FILE, "its quant_state is no JSON: %s", error.text);
  const json_t *shape = json_object_get(state, "shape"), *nested = json_object_get(state, "nested_blocksize");
  s->rows = json_integer_value(json_array_get(shape, 0));
  s->columns = json_integer_value(json_array_get(shape, 1));
  size_t rank = json_array_size(shape);
  s->blocksize = json_integer_value(json_object_get(state, "blocksize"));
  s->nested_blocksize = nested ? json_integer_value(nested) : 256;
  s->nested_offset = json_number_value(json_object_get(state, "nested_offset"));
  json_decref(state);
  if (rank != 2 || s->rows < 1 || s->columns < 1 || s->rows > INT32_MAX || s->columns > INT32_MAX || s->blocksize < 1 ||
      s->blocksize > INT32_MAX || s->nested_blocksize < 1)
    return format_fail(r, BITBLAS_ERROR_FILE,
                       "its quant_state has %zu extents [%" PRId64 ", %" PRId64 "], blocks of %" PRId64, rank, s->rows,
                       s->columns, s->blocksize);
  return BITBLAS_OK;
}

static bitblas_status read_blocks(const format_reader *r, const quant_state *s, float **out) {
  int64_t count = (s->rows * s->columns + s->blocksize - 1) / s->blocksize;
  const bitblas_checkpoint_tensor *absmax, *scales, *map;
  bitblas_status status = format_need(r, ".weight.absmax", "F32|U8", 1, (const int64_t[]){count}, &absmax);
  if (status != BITBLAS_OK) return status;
  float *values = *out = ARENA_ARRAY(r->weight->memory, float, count);
  if (strcmp(absmax->encoding, "F32") == 0) {
    format_floats(absmax, values);
    return BITBLAS_OK;
  }
  int64_t nested = count / s->nested_blocksize + (count % s->nested_blocksize != 0);
  status = format_need(r, ".weight.nested_absmax", "F32", 1, (const int64_t[]){nested}, &scales);
  if (status == BITBLAS_OK)
    status = format_need(r, ".weight.nested_quant_map", "F32", 1, (const int64_t[]){NESTED_TABLE}, &map);
  for (int64_t i = 0; i < count && status == BITBLAS_OK; i++) {
    float value = format_float(map, (size_t)format_integer(absmax, (size_t)i));
    values[i] = value * format_float(scales, (size_t)(i / s->nested_blocksize)) + (float)s->nested_offset;
  }
  return status;
}

bitblas_status bnb_read(format_reader *r) {
  quant_state s = {0};
  bitblas_status status = read_state(r, &s);
  if (status != BITBLAS_OK) return status;
  const bitblas_checkpoint_tensor *codes = format_find(r, ".weight"), *map;
  int64_t elements = s.rows * s.columns;
  if (!codes || strcmp(codes->encoding, "U8") != 0 || codes->bytes != (size_t)((elements + 1) / 2))
    return format_fail(r, BITBLAS_ERROR_FILE,
                       ".weight should have %" PRId64 " bytes of U8 for [%" PRId64 ", %" PRId64 "]", (elements + 1) / 2,
                       s.rows, s.columns);
  status = format_need(r, ".weight.quant_map", "F32", 1, (const int64_t[]){TABLE}, &map);
  if (status != BITBLAS_OK) return status;
  float table[TABLE], *blocks = NULL;
  bool is_nf4 = true;
  format_floats(map, table);
  for (unsigned i = 0; i < TABLE; i++)
    is_nf4 &= fabs((double)table[i] - ir_decode(IR_NF4, i)) < 1e-6; /* older writers rounded it differently */
  status = format_shape(r, is_nf4 ? BITBLAS_TYPE_NF4 : BITBLAS_TYPE_U4, s.rows, s.columns,
                        format_flat_group(s.blocksize, s.columns));
  if (status == BITBLAS_OK) status = read_blocks(r, &s, &blocks);
  if (status != BITBLAS_OK) return status;
  bitblas_weight *w = r->weight;
  w->codebook = arena_copy(w->memory, table, sizeof table);
  const unsigned char *bytes = codes->data;
  for (int64_t i = 0; i < elements; i++)
    w->codes[i] = bytes[i / 2] >> (i % 2 ? 0 : 4) & 15;
  w->scales = weight_room(w);
  format_spread_flat(w, s.blocksize, blocks, w->scales);
  return BITBLAS_OK;
}
