/* The canonical weight into a file; lib/format_canonical.c reads it. */
#include "lib/safetensors_write.h"

#include "ir/numeric.h"
#include "lib/weight.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS = 6, LONGEST_PART = 12, TABLE = 16 };

size_t weight_header_bytes(const char *prefix) { return PARTS * (safetensors_header_bytes(prefix) + LONGEST_PART); }

static bitblas_status add(safetensors_writer *w, const char *prefix, const char *part, const char *encoding, int rank,
                          const int64_t *shape, const void *data, size_t bytes) {
  str name = STR_EMPTY;
  str_printf(&name, "%s%s%s", prefix, *prefix ? "." : "", part);
  bitblas_status status = safetensors_add(w, str_text(&name), encoding, rank, shape, data, bytes);
  str_free(&name);
  return status;
}

static bitblas_status add_codes(safetensors_writer *w, const char *prefix, const bitblas_weight *weight) {
  const bitblas_weight_info *info = &weight->info;
  int bits = bitblas_type_bits(info->type);
  size_t bytes = ir_packed_bytes((size_t)info->rows * (size_t)info->columns, bits);
  void *stream = malloc(bytes ? bytes : 1);
  if (!stream) return lib_fail(BITBLAS_ERROR_FILE, "%s: no memory for %zu bytes of codes", prefix, bytes);
  bitblas_status status = bitblas_weight_stream(weight, stream, bytes);
  bool whole = info->columns * bits % 8 == 0;
  int64_t shape[2] = {whole ? info->rows : (int64_t)bytes, info->columns * bits / 8};
  if (status == BITBLAS_OK) status = add(w, prefix, "codes", "U8", whole ? 2 : 1, shape, stream, bytes);
  free(stream);
  return status;
}

bitblas_status weight_write(safetensors_writer *w, const char *prefix, const bitblas_weight *weight) {
  const bitblas_weight_info *info = &weight->info;
  const int64_t form[] = {info->type, info->rows, info->columns, info->group_size, info->zeros_mode};
  const int64_t groups[] = {info->rows, weight_groups(weight)};
  size_t group_bytes = (size_t)(groups[0] * groups[1]) * sizeof(float);
  const struct {
    const char *part, *encoding;
    int rank;
    const int64_t *shape;
    const void *data;
    size_t bytes;
  } parts[] = {
      {"form", "I64", 1, (const int64_t[]){5}, form, sizeof form},
      {"scales", "F32", 2, groups, info->scales, group_bytes},
      {"zeros", "F32", 2, groups, info->zeros, group_bytes},
      {"codebook", "F32", 1, (const int64_t[]){TABLE}, info->codebook, TABLE * sizeof(float)},
      {"permutation", "I32", 1, &info->columns, info->permutation, (size_t)info->columns * sizeof(int32_t)},
  };
  bitblas_status status = BITBLAS_OK;
  for (size_t i = 0; i < sizeof parts / sizeof *parts && status == BITBLAS_OK; i++) {
    if (parts[i].data)
      status = add(w, prefix, parts[i].part, parts[i].encoding, parts[i].rank, parts[i].shape, parts[i].data,
                   parts[i].bytes);
  }
  return status == BITBLAS_OK ? add_codes(w, prefix, weight) : status;
}
