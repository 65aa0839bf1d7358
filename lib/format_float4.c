/* FP4 (E2M1) with a scale for a few elements, packed along K with the even element in the low half of a byte.
 *
 *   MXFP4, gpt-oss   P_blocks  U8 [experts, N, K / 32, 16], P_scales  U8 [experts, N, K / 32], 2^(s - 127)
 *   NVFP4, ModelOpt  P.weight  U8 [N, K / 2], P.weight_scale  F8_E4M3 [N, K / 16], P.weight_scale_2  F32, which multiplies
 *   NVFP4, compressed-tensors  P.weight_packed, P.weight_scale as above, P.weight_global_scale  F32, which divides
 *
 * Rows are as stored: gpt-oss interleaves those of gate (even) and up (odd). */
#include "ir/numeric.h"
#include "lib/format.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MX_GROUP = 32, NV_GROUP = 16 };

static const char bytes_only[] = "U8";

bool mxfp4_detect(const format_reader *r) {
  return format_has(r, "_blocks", bytes_only) && format_has(r, "_scales", "U8|F8_E8M0");
}

bitblas_status mxfp4_read(format_reader *r) {
  const bitblas_checkpoint_tensor *blocks = format_find(r, "_blocks"), *scales = format_find(r, "_scales");
  const int64_t *shape, *scale_shape;
  const unsigned char *codes, *exponents;
  if (!blocks || !scales || !mxfp4_detect(r))
    return format_fail(r, BITBLAS_ERROR_FILE, "it has no _blocks and _scales of U8");
  bitblas_status status = format_matrix(r, blocks, 3, &shape, &codes);
  if (status == BITBLAS_OK) status = format_matrix(r, scales, 2, &scale_shape, &exponents);
  if (status != BITBLAS_OK) return status;
  int64_t rows = shape[0], groups = shape[1];
  if (shape[2] != MX_GROUP / 2 || scale_shape[0] != rows || scale_shape[1] != groups || groups > INT32_MAX / MX_GROUP ||
      blocks->rank != scales->rank + 1 || (scales->rank == 3 && scales->shape[0] != blocks->shape[0]))
    return format_fail(r, BITBLAS_ERROR_FILE,
                       "_blocks is [%" PRId64 ", %" PRId64 ", %" PRId64 "] and _scales [%" PRId64 ", %" PRId64
                       "]; they should be [N, G, 16] and [N, G]",
                       rows, groups, shape[2], scale_shape[0], scale_shape[1]);
  status = format_shape(r, BITBLAS_TYPE_F4E2M1, rows, groups * MX_GROUP, MX_GROUP);
  if (status != BITBLAS_OK) return status;
  bitblas_weight *w = r->weight;
  format_unpack(codes, 4, (size_t)(rows * w->info.columns), w->codes);
  w->scales = weight_room(w);
  int64_t nans = 0;
  for (int64_t i = 0; i < rows * groups; i++) {
    w->scales[i] = (float)ir_decode(IR_E8M0, exponents[i]);
    nans += isnan(w->scales[i]) != 0;
  }
  if (nans) format_note(r, "%" PRId64 " scales are 255, which is no number", nans);
  return BITBLAS_OK;
}

static bitblas_status read_nvfp4(format_reader *r, const char *packed, const char *global, bool divides, bool swapped) {
  const bitblas_checkpoint_tensor *codes, *scales, *whole = format_find(r, global);
  bitblas_status status = format_need(r, packed, bytes_only, 2, (const int64_t[]){-1, -1}, &codes);
  if (status != BITBLAS_OK) return status;
  int64_t rows = codes->shape[0], columns = codes->shape[1] * 2;
  if (codes->shape[1] > INT32_MAX / 2 || columns % NV_GROUP)
    return format_fail(r, BITBLAS_ERROR_FILE, "it has %" PRId64 " columns and should have a multiple of 16", columns);
  status = format_need(r, ".weight_scale", "F8_E4M3", 2, (const int64_t[]){rows, columns / NV_GROUP}, &scales);
  if (status != BITBLAS_OK) return status;
  if (!whole || strcmp(whole->encoding, "F32") != 0 || format_count(whole) != 1)
    return format_fail(r, BITBLAS_ERROR_FILE, "it has no %s of one F32", global);
  double factor = (double)format_float(whole, 0);
  if (!isfinite(factor) || factor == 0)
    return format_fail(r, BITBLAS_ERROR_FILE, "%s is %g and should be a number other than 0", global, factor);
  status = format_shape(r, BITBLAS_TYPE_F4E2M1, rows, columns, NV_GROUP);
  if (status != BITBLAS_OK) return status;
  bitblas_weight *w = r->weight;
  format_unpack(codes->data, 4, (size_t)(rows * columns), w->codes);
  for (int64_t i = 0; swapped && i < rows * columns; i += 2) {
    unsigned char even = w->codes[i];
    w->codes[i] = w->codes[i + 1];
    w->codes[i + 1] = even;
  }
  return format_spread(r, scales, divides ? 1 / factor : factor);
}

bool nvfp4_detect(const format_reader *r) {
  return format_has(r, ".weight", bytes_only) && format_has(r, ".weight_scale", "F8_E4M3") &&
         format_find(r, ".weight_scale_2");
}

bool nvfp4_packed_detect(const format_reader *r) {
  return format_has(r, ".weight_packed", bytes_only) && format_find(r, ".weight_global_scale");
}

bitblas_status nvfp4_read(format_reader *r) { return read_nvfp4(r, ".weight", ".weight_scale_2", false, false); }
bitblas_status nvfp4_swapped_read(format_reader *r) { return read_nvfp4(r, ".weight", ".weight_scale_2", false, true); }
bitblas_status nvfp4_packed_read(format_reader *r) {
  return read_nvfp4(r, ".weight_packed", ".weight_global_scale", true, false);
}
