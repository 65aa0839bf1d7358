/* The header of a GGUF file, versions 2 and 3.
 *
 *   "GGUF", u32 version, u64 tensors, u64 keys
 *   keys times     string name, u32 type, value          string: u64 length, bytes
 *   tensors times  string name, u32 rank, u64 extents[rank] (fastest first), u32 type, u64 offset
 *   padding to general.alignment (32), then the data that offsets count from
 *
 * Source: gguf.h and docs/gguf.md of ggml. */
#include "lib/checkpoint.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES_MAX = 65535, NAME_BYTES_MAX = 1024, GGUF_RANK_MAX = 4, ALIGNMENT_DEFAULT = 32, TENSORS_MAX = 1 << 24 };
enum { TENSOR_BYTES_MIN = 8 + 4 + 4 + 8, KEY_BYTES_MIN = 8 + 4 + 1 }; /* of a row in the header */
enum { VALUE_U32 = 4, VALUE_STRING = 8, VALUE_ARRAY = 9, VALUE_COUNT = 13 };

/* Bytes of a value of each type; 0: its length is stored with it. */
static const unsigned char value_bytes[VALUE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct ggml_row {
  uint32_t number;
  const char *name;
  uint32_t elements, bytes;
  bitblas_type type;
} ggml_row;

static const ggml_row ggml_types[] = {
#define GGML_TYPE(number, name, elements, bytes, type) {number, name, elements, bytes, BITBLAS_TYPE_##type},
#include "lib/ggml_types.def"
#undef GGML_TYPE
};

/* What is left of the file. After the first read beyond the end everything reads as zero and `cut` stays. */
typedef struct gguf_scanner {
  const char *file;
  const unsigned char *start;
  size_t at, size;
  bool cut;
} gguf_scanner;

static const unsigned char *take(gguf_scanner *s, uint64_t bytes) {
  if (s->cut || bytes > s->size - s->at) {
    s->cut = true;
    return NULL;
  }
  const unsigned char *here = s->start + s->at;
  s->at += (size_t)bytes;
  return here;
}

static uint32_t take_u32(gguf_scanner *s) {
  const unsigned char *p = take(s, 4);
  return p ? load_u32(p) : 0;
}

static uint64_t take_u64(gguf_scanner *s) {
  const unsigned char *p = take(s, 8);
  return p ? load_u64(p) : 0;
}

static bitblas_status cut_off(const gguf_scanner *s) {
  return lib_fail(BITBLAS_ERROR_FILE, "%s: its header is cut off at byte %zu", s->file, s->size);
}

static const ggml_row *find_type(uint32_t number) {
  for (size_t i = 0; i < sizeof ggml_types / sizeof *ggml_types; i++) {
    if (ggml_types[i].number == number) return &ggml_types[i];
  }
  return NULL;
}

static bitblas_status skip_array(gguf_scanner *s) {
  uint32_t type = take_u32(s);
  uint64_t count = take_u64(s), bytes;
  if (s->cut) return cut_off(s);
  if (type >= VALUE_COUNT || type == VALUE_ARRAY)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: an array of type %" PRIu32 " at byte %zu is not known", s->file, type,
                    s->at);
  if (type == VALUE_STRING) {
    for (uint64_t i = 0; i < count && !s->cut; i++)
      take(s, take_u64(s));
  } else if (__builtin_mul_overflow(count, (uint64_t)value_bytes[type], &bytes) || !take(s, bytes)) {
    s->cut = true;
  }
  return s->cut ? cut_off(s) : BITBLAS_OK;
}

static bitblas_status read_key(gguf_scanner *s, uint64_t *alignment) {
  static const char alignment_key[] = "general.alignment";
  uint64_t length = take_u64(s);
  if (!s->cut && length > KEY_BYTES_MAX)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: a key of %" PRIu64 " bytes; %d are allowed", s->file, length,
                    KEY_BYTES_MAX);
  const unsigned char *key = take(s, length);
  uint32_t type = take_u32(s);
  if (s->cut) return cut_off(s);
  if (type >= VALUE_COUNT)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: the key '%.*s' has the type %" PRIu32 ", which is not known", s->file,
                    (int)(length < 200 ? length : 200), (const char *)key, type);
  if (type == VALUE_ARRAY) return skip_array(s);
  const unsigned char *value = take(s, type == VALUE_STRING ? take_u64(s) : value_bytes[type]);
  if (!value) return cut_off(s);
  if (length == sizeof alignment_key - 1 && memcmp(key, alignment_key, length) == 0) {
    *alignment = type == VALUE_U32 ? load_u32(value) : 0;
    if (*alignment == 0 || (*alignment & (*alignment - 1)) != 0)
      return lib_fail(BITBLAS_ERROR_FILE, "%s: general.alignment is %" PRIu64 " and should be a power of two", s->file,
                      *alignment);
  }
  return BITBLAS_OK;
}

/* One tensor's row; its place is still an offset, in t->data. */
static bitblas_status read_tensor(gguf_scanner *s, bitblas_checkpoint *c, uint64_t alignment,
                                  bitblas_checkpoint_tensor *t, uint64_t *offset) {
  uint64_t length = take_u64(s);
  if (!s->cut && length > NAME_BYTES_MAX)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: a tensor's name has %" PRIu64 " bytes; %d are allowed", s->file, length,
                    NAME_BYTES_MAX);
  const unsigned char *name = take(s, length);
  if (!name) return cut_off(s);
  if (memchr(name, 0, (size_t)length))
    return lib_fail(BITBLAS_ERROR_FILE, "%s: a tensor's name has a NUL in it", s->file);
  t->name = arena_strndup(c->memory, (const char *)name, (size_t)length);
  uint32_t rank = take_u32(s);
  if (rank > GGUF_RANK_MAX)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: it has %" PRIu32 " dimensions and may have %d", s->file, t->name, rank,
                    GGUF_RANK_MAX);
  t->rank = (int32_t)rank;
  for (int d = t->rank - 1; d >= 0; d--) {
    uint64_t extent = take_u64(s);
    if (extent > INT64_MAX) return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: its shape is too large", s->file, t->name);
    t->shape[d] = (int64_t)extent;
  }
  uint32_t number = take_u32(s);
  *offset = take_u64(s);
  if (s->cut) return cut_off(s);
  const ggml_row *type = find_type(number);
  if (!type) return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: its type %" PRIu32 " is not known", s->file, t->name, number);
  uint64_t elements, bytes, row = t->rank ? (uint64_t)t->shape[t->rank - 1] : 1;
  if (row % type->elements)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: rows of %" PRIu64 " are no whole blocks of %s, %" PRIu32 " elements",
                    s->file, t->name, row, type->name, type->elements);
  if (!checkpoint_elements(t->rank, t->shape, &elements) ||
      __builtin_mul_overflow(elements / type->elements, (uint64_t)type->bytes, &bytes))
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: its shape is too large", s->file, t->name);
  if (*offset % alignment)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: its offset %" PRIu64 " is no multiple of %" PRIu64, s->file, t->name,
                    *offset, alignment);
  t->encoding = type->name;
  t->type = type->type;
  t->bytes = (size_t)bytes;
  return BITBLAS_OK;
}

/* Adds the tensors with their offsets, then, once the data's beginning is known, turns these into addresses. */
static bitblas_status read_tensors(gguf_scanner *s, bitblas_checkpoint *c, uint64_t count, uint64_t alignment) {
  int32_t first = c->count;
  uint64_t *offsets = ARENA_ARRAY(c->memory, uint64_t, count);
  for (uint64_t i = 0; i < count; i++) {
    bitblas_checkpoint_tensor t = BITBLAS_CHECKPOINT_TENSOR_INIT;
    bitblas_status status = read_tensor(s, c, alignment, &t, &offsets[i]);
    if (status != BITBLAS_OK) return status;
    checkpoint_add_tensor(c, &t);
  }
  uint64_t start = (s->at + alignment - 1) / alignment * alignment;
  size_t available = start < s->size ? s->size - (size_t)start : 0;
  const unsigned char *data = s->start + (start < s->size ? start : s->size);
  for (uint64_t i = 0; i < count; i++) {
    bitblas_checkpoint_tensor *t = &c->tensors[first + (int32_t)i];
    if (offsets[i] > available || t->bytes > available - offsets[i])
      return lib_fail(BITBLAS_ERROR_FILE, "%s: %s: its %zu bytes begin at %" PRIu64 " of data that has %zu", s->file,
                      t->name, t->bytes, offsets[i], available);
    t->data = data + offsets[i];
  }
  return checkpoint_check_places(c, first, s->file, data, available, false);
}

bitblas_status gguf_parse(bitblas_checkpoint *c, const char *name, const unsigned char *bytes, size_t size) {
  gguf_scanner s = {name, bytes, 4, size, false};
  uint32_t version = take_u32(&s);
  uint64_t tensors = take_u64(&s), keys = take_u64(&s), alignment = ALIGNMENT_DEFAULT;
  if (s.cut) return cut_off(&s);
  if (version != 2 && version != 3)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: its GGUF version is %" PRIu32 "%s; 2 and 3 are read", name, version,
                    (version & 0xffff) == 0 ? " (it is big-endian)" : "");
  if (tensors > (size - s.at) / TENSOR_BYTES_MIN || keys > (size - s.at) / KEY_BYTES_MIN || tensors > TENSORS_MAX)
    return lib_fail(BITBLAS_ERROR_FILE, "%s: %" PRIu64 " tensors and %" PRIu64 " keys do not fit its %zu bytes", name,
                    tensors, keys, size);
  for (uint64_t i = 0; i < keys; i++) {
    bitblas_status status = read_key(&s, &alignment);
    if (status != BITBLAS_OK) return status;
  }
  return read_tensors(&s, c, tensors, alignment);
}
