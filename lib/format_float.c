/* Weights in 8-bit elements of their own type: FP8 with a scale of the tensor, of rows or of blocks; int8; and weights that
 * are not quantised.
 *
 *   weight            F8_E4M3|F8_E5M2|I8 [N, K]
 *   weight_scale      one number, [N], [N, 1] or [N / a, K / b]; it multiplies
 *   weight_scale_inv  F32 [ceil(N / 128), ceil(K / 128)]: DeepSeek's, which multiplies too, in spite of its name */
#include "lib/format.h"

#include <inttypes.h>
#include <string.h>

static const char narrow[] = "F8_E4M3|F8_E5M2|I8";
static const char scale_types[] = "F32|BF16|F16|F8_E8M0";

bool fp8_detect(const format_reader *r) {
  return format_has(r, ".weight", narrow) && format_has(r, ".weight_scale", scale_types);
}

bool fp8_block_detect(const format_reader *r) {
  return format_has(r, ".weight", narrow) && format_has(r, ".weight_scale_inv", scale_types);
}

bool plain_detect(const format_reader *r) { return format_has(r, ".weight", "F16|BF16|F32|F64"); }

static bitblas_status read_elements(format_reader *r, const bitblas_checkpoint_tensor *t, int64_t group_size) {
  bitblas_status status = format_shape(r, t->type, t->shape[0], t->shape[1], group_size);
  if (status == BITBLAS_OK) memcpy(r->weight->codes, t->data, t->bytes);
  return status;
}

/* The columns that share a scale: blocks of equal width but for the last, as they are stated, of 128, or dividing. */
static bitblas_status find_width(const format_reader *r, const bitblas_checkpoint_tensor *scales, int64_t columns,
                                 int64_t *width) {
  int64_t across = format_count(scales) <= 1 || scales->rank < 2 ? 1 : scales->shape[scales->rank - 1];
  int64_t stated = format_number(r, "weight_block_size.1", 128);
  *width = across == 1 ? columns : stated;
  if (columns < 1 || across < 1 || stated < 1)
    return format_fail(r, BITBLAS_ERROR_FILE, "%s has no elements", scales->name);
  if (across == 1 || columns / stated + (columns % stated != 0) == across) return BITBLAS_OK;
  return format_group_size(r, columns, across, width);
}

static bitblas_status read_scaled(format_reader *r, const char *suffix) {
  const bitblas_checkpoint_tensor *codes, *scales = format_find(r, suffix);
  int64_t width;
  bitblas_status status = format_need(r, ".weight", narrow, 2, (const int64_t[]){-1, -1}, &codes);
  if (status != BITBLAS_OK) return status;
  if (!scales || !format_has(r, suffix, scale_types))
    return format_fail(r, BITBLAS_ERROR_FILE, "it has no %s of %s", suffix, scale_types);
  status = find_width(r, scales, codes->shape[1], &width);
  if (status == BITBLAS_OK) status = read_elements(r, codes, width);
  return status == BITBLAS_OK ? format_spread(r, scales, 1) : status;
}

bitblas_status fp8_read(format_reader *r) { return read_scaled(r, ".weight_scale"); }
bitblas_status fp8_block_read(format_reader *r) { return read_scaled(r, ".weight_scale_inv"); }

bitblas_status plain_read(format_reader *r) {
  const bitblas_checkpoint_tensor *t;
  bitblas_status status = format_need(r, ".weight", "F16|BF16|F32|F64", 2, (const int64_t[]){-1, -1}, &t);
  return status == BITBLAS_OK ? read_elements(r, t, t->shape[1]) : status;
}
