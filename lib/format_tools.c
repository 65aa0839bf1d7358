/* What the readers of formats share: finding tensors, checking their shapes, numbers, streams of bits. */
#include "lib/format.h"

#include "ir/numeric.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = 4096, SHAPE_BYTES = 256 };

/* -- Finding ------------------------------------------------------------------------------------------------------- */

const bitblas_checkpoint_tensor *format_find(const format_reader *r, const char *suffix) {
  char name[NAME_BYTES];
  if (!*r->prefix && *suffix == '.') suffix++;
  int length = snprintf(name, sizeof name, "%s%s", r->prefix, suffix);
  if (length < 0 || length >= NAME_BYTES) return NULL;
  const bitblas_checkpoint_tensor *t = checkpoint_find(r->checkpoint, name);
  if (t && r->used) r->used[t - r->checkpoint->tensors] = true;
  return t;
}

/* Whether the word is one of those between '|'. */
static bool is_one_of(const char *words, const char *word) {
  size_t length = strlen(word);
  for (const char *at = words; *at;) {
    size_t width = strcspn(at, "|");
    if (width == length && memcmp(at, word, length) == 0) return true;
    at += width + (at[width] == '|');
  }
  return false;
}

bool format_has(const format_reader *r, const char *suffix, const char *encodings) {
  const bitblas_checkpoint_tensor *t = format_find(r, suffix);
  return t && is_one_of(encodings, t->encoding);
}

bitblas_status format_fail(const format_reader *r, bitblas_status status, const char *format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return lib_fail(status, "%s: %.500s: %s", r->format, r->prefix, text);
}

void format_note(format_reader *r, const char *format, ...) {
  va_list args;
  va_start(args, format);
  if (r->weight->note.length) str_append_char(&r->weight->note, '\n');
  str_vprintf(&r->weight->note, format, args);
  va_end(args);
}

static const char *print_shape(char text[SHAPE_BYTES], int rank, const int64_t *shape) {
  size_t at = (size_t)snprintf(text, SHAPE_BYTES, "[");
  for (int d = 0; d < rank; d++) {
    const char *comma = d ? ", " : "";
    at += (size_t)(shape[d] < 0 ? snprintf(text + at, SHAPE_BYTES - at, "%s*", comma)
                                : snprintf(text + at, SHAPE_BYTES - at, "%s%" PRId64, comma, shape[d]));
  }
  snprintf(text + at, SHAPE_BYTES - at, "]");
  return text;
}

bitblas_status format_need(const format_reader *r, const char *suffix, const char *encodings, int rank,
                           const int64_t *shape, const bitblas_checkpoint_tensor **out) {
  const bitblas_checkpoint_tensor *t = format_find(r, suffix);
  char is[SHAPE_BYTES], wanted[SHAPE_BYTES];
  print_shape(wanted, rank, shape);
  *out = t;
  if (!t) return format_fail(r, BITBLAS_ERROR_FILE, "it has no %s; it should be %s%s", suffix, encodings, wanted);
  bool fits = t->rank == rank && is_one_of(encodings, t->encoding);
  for (int d = 0; fits && d < rank; d++)
    fits = shape[d] < 0 || shape[d] == t->shape[d];
  if (fits) return BITBLAS_OK;
  return format_fail(r, BITBLAS_ERROR_FILE, "%s is %s%s and should be %s%s", suffix, t->encoding,
                     print_shape(is, t->rank, t->shape), encodings, wanted);
}

bitblas_status format_matrix(const format_reader *r, const bitblas_checkpoint_tensor *t, int inner,
                             const int64_t **shape, const unsigned char **data) {
  bool stack = t->rank == inner + 1;
  char is[SHAPE_BYTES];
  if (t->rank != inner && !stack)
    return format_fail(r, BITBLAS_ERROR_FILE, "%s is %s%s and should have %d dimensions, or %d of a stack", t->name,
                       t->encoding, print_shape(is, t->rank, t->shape), inner, inner + 1);
  int64_t count = stack ? t->shape[0] : 1;
  if (r->config.expert < 0 || r->config.expert >= count)
    return format_fail(r, BITBLAS_ERROR_ARGUMENT, "config: expert is %" PRId32 " and %s has %" PRId64, r->config.expert,
                       t->name, count);
  *shape = t->shape + stack;
  *data = (const unsigned char *)t->data + t->bytes / (size_t)count * (size_t)r->config.expert;
  return BITBLAS_OK;
}

/* -- Settings ------------------------------------------------------------------------------------------------------ */

const char *format_setting(const format_reader *r, const char *key) {
  return checkpoint_setting_of(r->checkpoint, key);
}

int64_t format_number(const format_reader *r, const char *key, int64_t otherwise) {
  const char *text = format_setting(r, key);
  char *end;
  if (!text || !*text) return otherwise;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  return *end || errno ? otherwise : value;
}

int format_stated_bits(const format_reader *r) {
  static const char *const keys[] = {"bits", "w_bit", "wbits", "config_groups.group_0.weights.num_bits",
                                     "quant_config.weight_quant_params.nbits"};
  if (r->config.bits) return r->config.bits;
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    int64_t bits = format_number(r, keys[i], 0);
    if (bits >= 1 && bits <= 8) return (int)bits;
  }
  return 0;
}

static bool fits_groups(int64_t columns, int64_t groups, int64_t size) {
  return size > 0 && columns / size + (columns % size != 0) == groups;
}

bitblas_status format_group_size(const format_reader *r, int64_t columns, int64_t groups, int64_t *group_size) {
  static const char *const keys[] = {"group_size", "q_group_size", "config_groups.group_0.weights.group_size"};
  if (columns < 1 || groups < 1)
    return format_fail(r, BITBLAS_ERROR_FILE, "it has %" PRId64 " columns in %" PRId64 " groups", columns, groups);
  *group_size = r->config.group_size;
  if (*group_size) {
    if (fits_groups(columns, groups, *group_size)) return BITBLAS_OK;
    return format_fail(r, BITBLAS_ERROR_ARGUMENT,
                       "config: group_size is %" PRId64 "; %" PRId64 " columns with %" PRId64 " scales do not have it",
                       *group_size, columns, groups);
  }
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    *group_size = format_number(r, keys[i], 0);
    if (groups > 1 && fits_groups(columns, groups, *group_size)) return BITBLAS_OK;
  }
  *group_size = columns / groups;
  if (columns % groups == 0) return BITBLAS_OK;
  return format_fail(r, BITBLAS_ERROR_FILE,
                     "%" PRId64 " columns do not divide into %" PRId64 " groups, and nothing says how large these are",
                     columns, groups);
}

bitblas_type format_unsigned(int bits) { return (bitblas_type)(BITBLAS_TYPE_U1 + bits - 1); }

bitblas_status format_shape(format_reader *r, bitblas_type type, int64_t rows, int64_t columns, int64_t group_size) {
  int64_t elements;
  if (rows < 1 || columns < 1 || group_size < 1 || rows > INT32_MAX || columns > INT32_MAX ||
      __builtin_mul_overflow(rows, columns, &elements))
    return format_fail(r, BITBLAS_ERROR_FILE, "it has %" PRId64 " rows of %" PRId64 " columns", rows, columns);
  weight_shape(r->weight, type, rows, columns, group_size < columns ? group_size : columns);
  return BITBLAS_OK;
}

/* -- Numbers ------------------------------------------------------------------------------------------------------- */

size_t format_count(const bitblas_checkpoint_tensor *t) {
  uint64_t elements;
  return checkpoint_elements(t->rank, t->shape, &elements) ? (size_t)elements : 0;
}

static uint64_t load(const bitblas_checkpoint_tensor *t, size_t index) {
  int bytes = bitblas_type_bits(t->type) / 8;
  const unsigned char *at = (const unsigned char *)t->data + index * (size_t)bytes;
  uint64_t code = 0;
  for (int i = 0; i < bytes; i++)
    code |= (uint64_t)at[i] << (8 * i);
  return code;
}

float format_float(const bitblas_checkpoint_tensor *t, size_t index) {
  uint64_t code = load(t, index);
  uint32_t bits = (uint32_t)code << (t->type == BITBLAS_TYPE_BF16 ? 16 : 0);
  float value;
  memcpy(&value, &bits, sizeof value);
  if (t->type != BITBLAS_TYPE_F32 && t->type != BITBLAS_TYPE_BF16) value = (float)ir_decode(lib_ir_type(t->type), code);
  return value;
}

void format_floats(const bitblas_checkpoint_tensor *t, float *out) {
  size_t count = format_count(t);
  for (size_t i = 0; i < count; i++)
    out[i] = format_float(t, i);
}

int64_t format_integer(const bitblas_checkpoint_tensor *t, size_t index) {
  return ir_wrap(lib_ir_type(t->type), (int64_t)load(t, index));
}

void format_transpose(const bitblas_checkpoint_tensor *t, int64_t groups, int64_t rows, float *out) {
  for (int64_t g = 0; g < groups; g++)
    for (int64_t n = 0; n < rows; n++)
      out[n * groups + g] = format_float(t, (size_t)(g * rows + n));
}

bitblas_status format_spread(format_reader *r, const bitblas_checkpoint_tensor *t, double factor) {
  bitblas_weight *w = r->weight;
  int64_t rows = w->info.rows, groups = weight_groups(w), count = (int64_t)format_count(t);
  int64_t across = count <= 1 || t->rank < 2 ? 1 : t->shape[t->rank - 1], down = across ? count / across : 0;
  char is[SHAPE_BYTES];
  /* Rows in blocks of equal height but for the last: DeepSeek's are 128. */
  int64_t height = down == rows ? 1 : down == 1 ? rows : format_number(r, "weight_block_size.0", 128);
  bool fits = height > 0 && rows / height + (rows % height != 0) == down && (across == groups || across == 1) &&
              (t->rank < 3 || count == 1);
  if (!fits)
    return format_fail(r, BITBLAS_ERROR_FILE, "%s is %s and does not fit %" PRId64 " rows of %" PRId64 " groups",
                       t->name, print_shape(is, t->rank, t->shape), rows, groups);
  w->scales = weight_room(w);
  for (int64_t n = 0; n < rows; n++)
    for (int64_t g = 0; g < groups; g++)
      w->scales[n * groups + g] =
          (float)((double)format_float(t, (size_t)(n / height * across + (across == 1 ? 0 : g))) * factor);
  return BITBLAS_OK;
}

/* -- Codes --------------------------------------------------------------------------------------------------------- */

void format_unpack(const unsigned char *stream, int bits, size_t count, unsigned char *codes) {
  if (bits == 8) {
    memcpy(codes, stream, count);
  } else if (bits == 4) {
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
      uint64_t eight = weight_spread(load_u32(stream + i / 2));
      memcpy(codes + i, &eight, sizeof eight);
    }
    for (; i < count; i++)
      codes[i] = (unsigned char)(stream[i / 2] >> (i % 2 * 4) & 15);
  } else {
    for (size_t i = 0; i < count; i++)
      codes[i] = (unsigned char)ir_get_bits(stream, i, bits);
  }
}

int64_t format_flat_group(int64_t block, int64_t columns) {
  int64_t a = block, b = columns;
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

void format_spread_flat(const bitblas_weight *w, int64_t block, const float *values, float *out) {
  int64_t groups = weight_groups(w);
  for (int64_t n = 0; n < w->info.rows; n++)
    for (int64_t g = 0; g < groups; g++)
      out[n * groups + g] = values[(n * w->info.columns + g * w->info.group_size) / block];
}
