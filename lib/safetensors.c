/* The header of a safetensors file.
 *
 *   u64 length, `length` bytes of JSON, the data
 *   {"__metadata__": {"k": "v"}, "name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
 *
 * Offsets count from the end of the header. Format: https://huggingface.co/docs/safetensors, "Format". */
#include "lib/checkpoint.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

enum { LENGTH_BYTES = 8, RANK_MAX = 8 };
static const uint64_t header_bytes_max = 100000000; /* as the reference implementation has it */

typedef struct dtype_row {
  const char *name;
  int bits;
  bitblas_type type;
} dtype_row;

static const dtype_row dtypes[] = {
#define DTYPE(name, bits, type) {name, bits, BITBLAS_TYPE_##type},
#include "lib/dtypes.def"
#undef DTYPE
};

static const dtype_row *find_dtype(const char *name) {
  for (size_t i = 0; name && i < sizeof dtypes / sizeof *dtypes; i++) {
    if (strcmp(dtypes[i].name, name) == 0) return &dtypes[i];
  }
  return NULL;
}

static bitblas_status read_shape(const char *file, const char *name, const json_t *shape,
                                 bitblas_checkpoint_tensor *t) {
  if (!json_is_array(shape)) return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: it has no shape", file, name);
  size_t rank = json_array_size(shape);
  if (rank > RANK_MAX)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: it has %zu dimensions and may have %d", file, name, rank, RANK_MAX);
  t->rank = (int32_t)rank;
  for (size_t i = 0; i < rank; i++) {
    const json_t *extent = json_array_get(shape, i);
    if (!json_is_integer(extent) || json_integer_value(extent) < 0)
      return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: extent %zu of its shape is no whole number from 0", file, name, i);
    t->shape[i] = json_integer_value(extent);
  }
  return BITBLAS_OK;
}

static bitblas_status read_offsets(const char *file, const char *name, const json_t *offsets, uint64_t available,
                                   uint64_t bytes, uint64_t *begin) {
  const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
  if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
      json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first))
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: its data_offsets are not [begin, end]", file, name);
  *begin = (uint64_t)json_integer_value(first);
  uint64_t end = (uint64_t)json_integer_value(last);
  if (end > available)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: its data ends at %" PRIu64 " and the file's at %" PRIu64, file, name,
                    end, available);
  if (end - *begin != bytes)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: its data has %" PRIu64 " bytes and its shape and type make %" PRIu64,
                    file, name, end - *begin, bytes);
  return BITBLAS_OK;
}

static bitblas_status read_tensor(bitblas_checkpoint *c, const char *file, const char *name, const json_t *entry,
                                  const unsigned char *data, size_t available) {
  bitblas_checkpoint_tensor t = BITBLAS_CHECKPOINT_TENSOR_INIT;
  if (!json_is_object(entry)) return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: it is no object", file, name);
  const char *word = json_string_value(json_object_get(entry, "dtype"));
  const dtype_row *dtype = find_dtype(word);
  if (!dtype)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: its dtype '%.40s' is not known", file, name, word ? word : "");
  bitblas_status status = read_shape(file, name, json_object_get(entry, "shape"), &t);
  if (status != BITBLAS_OK) return status;
  uint64_t elements, bits, begin = 0;
  if (!checkpoint_elements(t.rank, t.shape, &elements) ||
      __builtin_mul_overflow(elements, (uint64_t)dtype->bits, &bits))
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: its shape is too large", file, name);
  if (bits % 8)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: its %" PRIu64 " bits are no whole bytes", file, name, bits);
  status = read_offsets(file, name, json_object_get(entry, "data_offsets"), available, bits / 8, &begin);
  if (status != BITBLAS_OK) return status;
  t.name = arena_strdup(c->memory, name);
  t.encoding = dtype->name;
  t.type = dtype->type;
  t.data = data + begin;
  t.bytes = (size_t)(bits / 8);
  checkpoint_add_tensor(c, &t);
  return BITBLAS_OK;
}

static bitblas_status read_object(bitblas_checkpoint *c, const char *file, json_t *header, const unsigned char *data,
                                  size_t available) {
  const char *name;
  json_t *entry;
  json_object_foreach(header, name, entry) {
    bitblas_status status = BITBLAS_OK;
    if (strcmp(name, "__metadata__") == 0)
      checkpoint_add_settings(c, entry);
    else
      status = read_tensor(c, file, name, entry, data, available);
    if (status != BITBLAS_OK) return status;
  }
  return BITBLAS_OK;
}

bitblas_status safetensors_parse(bitblas_checkpoint *c, const char *name, const unsigned char *bytes, size_t size) {
  if (size < LENGTH_BYTES) return lib_fail(BITBLAS_ERROR_FILE, "%s: %zu bytes are no safetensors file", name, size);
  uint64_t length = load_u64(bytes);
  if (length > header_bytes_max || length > size - LENGTH_BYTES)
    return lib_fail(BITBLAS_ERROR_FILE,
                    "%s: its header should have %" PRIu64 " bytes; the file has %zu, and %" PRIu64 " are allowed", name,
                    length, size, header_bytes_max);
  const char *text = (const char *)bytes + LENGTH_BYTES;
  if (length == 0 || text[0] != '{')
    return lib_fail(BITBLAS_ERROR_FILE, "%s: its header does not begin with '{'", name);
  json_error_t error;
  json_t *header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
  if (!header)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: its header is no JSON: %s at byte %d", name, error.text, error.position);
  const unsigned char *data = bytes + LENGTH_BYTES + length;
  size_t available = size - LENGTH_BYTES - (size_t)length;
  int32_t first = c->count;
  bitblas_status status = read_object(c, name, header, data, available);
  json_decref(header);
  return status == BITBLAS_OK ? checkpoint_check_places(c, first, name, data, available, true) : status;
}
