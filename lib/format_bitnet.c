/* BitNet b1.58 as Transformers stores it: -1, 0 and 1, packed by quarters of the rows.
 *
 *   weight        U8 [N / 4, K]: bits 2 i of byte row r are row r + i * N / 4, as value + 1
 *   weight_scale  one number. BitLinear's result is divided by it, AutoBitLinear's multiplied */
#include "lib/format.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { QUARTERS = 4, UNUSED = 3 };

static bool has_layout(const format_reader *r) {
  const bitblas_checkpoint_tensor *t = format_find(r, ".weight_scale");
  return t && format_count(t) == 1 && format_has(r, ".weight", "U8");
}

static bool is_auto(const format_reader *r) {
  const char *stated = format_setting(r, "linear_class");
  return stated && strcmp(stated, "autobitlinear") == 0;
}

bool bitnet_detect(const format_reader *r) { return has_layout(r) && !is_auto(r); }
bool bitnet_auto_detect(const format_reader *r) { return has_layout(r) && is_auto(r); }

static bitblas_status read_quarters(format_reader *r, bool divides) {
  const bitblas_checkpoint_tensor *codes, *scale = format_find(r, ".weight_scale");
  bitblas_status status = format_need(r, ".weight", "U8", 2, (const int64_t[]){-1, -1}, &codes);
  if (status != BITBLAS_OK) return status;
  if (!scale || format_count(scale) != 1 || !format_has(r, ".weight_scale", FORMAT_FLOATS))
    return format_fail(r, BITBLAS_ERROR_FILE, "it has no .weight_scale of one number");
  double factor = (double)format_float(scale, 0);
  if (!isfinite(factor) || factor == 0)
    return format_fail(r, BITBLAS_ERROR_FILE, ".weight_scale is %g and should be a number other than 0", factor);
  int64_t quarter = codes->shape[0], columns = codes->shape[1];
  if (quarter > INT32_MAX / QUARTERS)
    return format_fail(r, BITBLAS_ERROR_FILE, ".weight has %" PRId64 " rows of bytes", quarter);
  status = format_shape(r, BITBLAS_TYPE_I2, quarter * QUARTERS, columns, columns);
  if (status != BITBLAS_OK) return status;
  bitblas_weight *w = r->weight;
  const unsigned char *data = codes->data;
  for (int64_t i = 0; i < QUARTERS; i++)
    for (int64_t at = 0; at < quarter * columns; at++) {
      int stored = data[at] >> (2 * i) & 3;
      if (stored == UNUSED)
        return format_fail(r, BITBLAS_ERROR_FILE,
                           ".weight[%" PRId64 ", %" PRId64 "] has a code of 3; 0, 1 and 2 are used", at / columns,
                           at % columns);
      w->codes[i * quarter * columns + at] = (unsigned char)((stored - 1) & 3);
    }
  w->scales = weight_room(w);
  for (int64_t n = 0; n < w->info.rows; n++)
    w->scales[n] = (float)(divides ? 1 / factor : factor);
  if (divides && !r->config.format && !format_setting(r, "linear_class"))
    format_note(r, "nothing says which linear_class this is; as bitlinear, its weights are divided by weight_scale");
  return BITBLAS_OK;
}

bitblas_status bitnet_read(format_reader *r) { return read_quarters(r, true); }
bitblas_status bitnet_auto_read(format_reader *r) { return read_quarters(r, false); }
