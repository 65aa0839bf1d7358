/* AWQ, version "gemm": codes packed along N, in an order of their own.
 *
 *   qweight  I32 [K, N / 8]          nibble i of word c is column 8 c + order[i]
 *   qzeros   I32 [K / group, N / 8]  the same order
 *   scales   F16 [K / group, N]
 *
 * W[n, k] = (code - zero) * scale; unlike GPTQ's first version nothing is subtracted from a stored zero. */
#include "lib/format.h"

#include <inttypes.h>
#include <string.h>

enum { CODES = 8, BLOCK = 64 };
static const unsigned char order[CODES] = {0, 2, 4, 6, 1, 3, 5, 7};

/* The versions differ in which way qweight lies: [K, N / 8] here, [N, K / 8] in "gemv". */
bool awq_detect(const format_reader *r) {
  const bitblas_checkpoint_tensor *codes = format_find(r, ".qweight"), *scales = format_find(r, ".scales");
  return codes && scales && strcmp(codes->encoding, "I32") == 0 && codes->rank == 2 && scales->rank == 2 &&
         format_has(r, ".qzeros", "I32") &&
         (codes->shape[1] == scales->shape[1] / CODES || codes->shape[0] == scales->shape[0]);
}

bitblas_status awq_read(format_reader *r) {
  const bitblas_checkpoint_tensor *codes, *zeros, *scales = NULL;
  const char *version = format_setting(r, "version");
  if (version && strncasecmp(version, "gemm", 5) != 0)
    return format_fail(r, BITBLAS_ERROR_UNSUPPORTED, "its version is '%.40s'; gemm is read", version);
  bitblas_status status = format_need(r, ".scales", FORMAT_FLOATS, 2, (const int64_t[]){-1, -1}, &scales);
  if (status != BITBLAS_OK) return status;
  int64_t groups = scales->shape[0], rows = scales->shape[1];
  const bitblas_checkpoint_tensor *found = format_find(r, ".qweight");
  if (found && found->rank == 2 && found->shape[0] == groups && found->shape[1] != rows / CODES)
    return format_fail(r, BITBLAS_ERROR_UNSUPPORTED, "it is packed along the inputs, as version gemv; gemm is read");
  if (rows % CODES)
    return format_fail(r, BITBLAS_ERROR_FILE, ".scales has %" PRId64 " columns and should have a multiple of 8", rows);
  status = format_need(r, ".qweight", "I32", 2, (const int64_t[]){-1, rows / CODES}, &codes);
  if (status == BITBLAS_OK)
    status = format_need(r, ".qzeros", "I32", 2, (const int64_t[]){groups, rows / CODES}, &zeros);
  if (status != BITBLAS_OK) return status;
  int64_t columns = codes->shape[0], group_size;
  status = format_group_size(r, columns, groups, &group_size);
  if (status == BITBLAS_OK) status = format_shape(r, BITBLAS_TYPE_U4, rows, columns, group_size);
  if (status != BITBLAS_OK) return status;
  bitblas_weight *w = r->weight;
  const unsigned char *words = codes->data;
  for (int64_t k0 = 0; k0 < columns; k0 += BLOCK)
    for (int64_t c = 0; c < rows / CODES; c++)
      for (int64_t k = k0; k < columns && k < k0 + BLOCK; k++) {
        uint32_t word = load_u32(words + 4 * (k * (rows / CODES) + c));
        for (int i = 0; i < CODES; i++)
          w->codes[(CODES * c + order[i]) * columns + k] = (unsigned char)(word >> (4 * i) & 15);
      }
  w->scales = weight_room(w);
  format_transpose(scales, groups, rows, w->scales);
  w->zeros = weight_room(w);
  w->info.zeros_mode = BITBLAS_WEIGHT_ZEROS_ORIGINAL;
  for (int64_t g = 0; g < groups; g++)
    for (int64_t n = 0; n < rows; n++) {
      uint32_t word = load_u32((const unsigned char *)zeros->data + 4 * (g * (rows / CODES) + n / CODES));
      int nibble = (int)(n % 2 * 4 + n % CODES / 2); /* the reverse of `order` */
      w->zeros[n * groups + g] = (float)(word >> (4 * nibble) & 15);
    }
  return BITBLAS_OK;
}
