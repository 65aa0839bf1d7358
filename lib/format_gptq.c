/* GPTQ: codes packed along K.
 *
 *   qweight  I32 [K * bits / 32, N]       column n is one stream of bits down its words, little end first: code k at bit k * bits
 *   qzeros   I32 [K / group, N * bits / 32]                 row g is such a stream along N
 *   scales   F16 [K / group, N]
 *   g_idx    I32 [K]                      the group of each input; not in order when the model was made with desc_act
 *
 * W[n, k] = (code - zero) * scale[g_idx[k], n]. Version 1 stores zero - 1. */
#include "ir/numeric.h"
#include "lib/format.h"

#include <inttypes.h>
#include <string.h>

enum { WORD_BITS = 32, BLOCK = 64 };

typedef struct gptq_tensors {
  const bitblas_checkpoint_tensor *codes, *scales, *zeros, *groups; /* zeros, groups: may be NULL */
  int bits;
  int64_t rows, columns, group_count;
} gptq_tensors;

static bool has_layout(const format_reader *r) {
  const bitblas_checkpoint_tensor *codes = format_find(r, ".qweight"), *scales = format_find(r, ".scales");
  return codes && scales && strcmp(codes->encoding, "I32") == 0 && codes->rank == 2 && scales->rank == 2 &&
         codes->shape[1] == scales->shape[1];
}

/* The bits of a code: stated, or what the lengths of two tensors that hold the same count say. 0: nothing says it. */
static int find_bits(const format_reader *r) {
  const bitblas_checkpoint_tensor *codes = format_find(r, ".qweight"), *zeros = format_find(r, ".qzeros");
  const bitblas_checkpoint_tensor *groups = format_find(r, ".g_idx");
  int64_t words = 0, count = 0;
  if (zeros && zeros->rank == 2) words = zeros->shape[1], count = codes->shape[1];
  if (groups && groups->rank == 1 && groups->shape[0]) words = codes->shape[0], count = groups->shape[0];
  int stated = format_stated_bits(r);
  for (int bits = 1; bits <= 8 && count; bits++) {
    if (words <= INT64_MAX / WORD_BITS && count <= INT64_MAX / 8 && words * WORD_BITS == count * bits) return bits;
  }
  return stated;
}

/* Symmetric models store the same zero everywhere, which tells the version. The first row is enough to tell. */
static bool every_zero_is(const bitblas_checkpoint_tensor *zeros, int bits, int64_t rows, int64_t zero) {
  if (!zeros || strcmp(zeros->encoding, "I32") != 0 || zeros->rank != 2 || !zeros->shape[0] || !zeros->shape[1])
    return false;
  const unsigned char *data = zeros->data;
  size_t row_bytes = (size_t)zeros->shape[1] * 4, count = row_bytes * 8 / (size_t)bits;
  for (int64_t g = 0; g < rows; g++)
    for (size_t n = 0; n < count; n++)
      if ((int64_t)ir_get_bits(data + (size_t)g * row_bytes, n, bits) != zero) return false;
  return true;
}

bool gptq_detect(const format_reader *r) { return has_layout(r); }

bool gptq_v2_detect(const format_reader *r) {
  if (!has_layout(r)) return false;
  const char *stated = format_setting(r, "checkpoint_format");
  int bits = find_bits(r);
  if (stated) return strcmp(stated, "gptq_v2") == 0;
  return bits >= 2 && every_zero_is(format_find(r, ".qzeros"), bits, 1, 1 << (bits - 1));
}

static bitblas_status find_tensors(const format_reader *r, gptq_tensors *t) {
  bitblas_status status = format_need(r, ".scales", FORMAT_FLOATS, 2, (const int64_t[]){-1, -1}, &t->scales);
  if (status != BITBLAS_OK) return status;
  t->group_count = t->scales->shape[0];
  t->rows = t->scales->shape[1];
  status = format_need(r, ".qweight", "I32", 2, (const int64_t[]){-1, t->rows}, &t->codes);
  if (status != BITBLAS_OK) return status;
  t->bits = find_bits(r);
  int64_t words = t->codes->shape[0];
  if (t->bits != 2 && t->bits != 3 && t->bits != 4 && t->bits != 8)
    return format_fail(r, BITBLAS_ERROR_FILE,
                       "its codes have %d bits (0: nothing says it) and should have 2, 3, 4 or 8", t->bits);
  if (t->rows < 1 || words < 1 || words > INT32_MAX || t->rows > INT32_MAX || words * WORD_BITS % t->bits ||
      t->rows * t->bits % WORD_BITS)
    return format_fail(r, BITBLAS_ERROR_FILE,
                       "%" PRId64 " words of %" PRId64 " columns are no whole number of %d-bit codes", words, t->rows,
                       t->bits);
  t->columns = words * WORD_BITS / t->bits;
  t->zeros = NULL;
  t->groups = format_find(r, ".g_idx");
  if (format_find(r, ".qzeros")) {
    status = format_need(r, ".qzeros", "I32", 2, (const int64_t[]){t->group_count, t->rows * t->bits / WORD_BITS},
                         &t->zeros);
    if (status != BITBLAS_OK) return status;
  }
  if (t->groups && format_count(t->groups) == 0) t->groups = NULL;
  return t->groups ? format_need(r, ".g_idx", "I32|I64", 1, (const int64_t[]){t->columns}, &t->groups) : BITBLAS_OK;
}

/* Where the inputs' groups are not in order: the inputs sorted by their group, those of one group in order. */
static bitblas_status read_order(format_reader *r, const gptq_tensors *t, int64_t group_size) {
  bitblas_weight *w = r->weight;
  bool in_order = true;
  int64_t *next = ARENA_ARRAY(w->memory, int64_t, t->group_count + 1);
  for (int64_t k = 0; k < t->columns; k++) {
    int64_t group = format_integer(t->groups, (size_t)k);
    if (group < 0 || group >= t->group_count)
      return format_fail(r, BITBLAS_ERROR_FILE, ".g_idx[%" PRId64 "] is %" PRId64 " and there are %" PRId64 " groups",
                         k, group, t->group_count);
    in_order &= group == k / group_size;
    next[group + 1]++;
  }
  if (in_order) return BITBLAS_OK;
  for (int64_t g = 0; g < t->group_count; g++) {
    int64_t size = t->columns - g * group_size < group_size ? t->columns - g * group_size : group_size;
    if (next[g + 1] != size)
      return format_fail(r, BITBLAS_ERROR_FILE,
                         ".g_idx puts %" PRId64 " inputs into group %" PRId64 ", which should have %" PRId64,
                         next[g + 1], g, size);
    next[g + 1] += next[g];
  }
  w->permutation = ARENA_ARRAY(w->memory, int32_t, t->columns);
  for (int64_t k = 0; k < t->columns; k++)
    w->permutation[next[format_integer(t->groups, (size_t)k)]++] = (int32_t)k;
  return BITBLAS_OK;
}

/* Codes [j0, j1) of rows [n0, n1) into tile[n - n0][j - j0]. */
static void read_tile(const bitblas_weight *w, const gptq_tensors *t, size_t n0, size_t n1, size_t j0, size_t j1,
                      unsigned char tile[BLOCK][BLOCK]) {
  const unsigned char *data = t->codes->data;
  size_t rows = (size_t)t->rows;
  unsigned bits = (unsigned)t->bits, mask = (1u << bits) - 1;
  if (bits == 4 && !w->permutation) {
    for (size_t j = j0; j < j1; j += 8)
      for (size_t n = n0; n < n1; n++) {
        uint64_t codes = weight_spread(load_u32(data + 4 * (j / 8 * rows + n)));
        memcpy(&tile[n - n0][j - j0], &codes, sizeof codes);
      }
    return;
  }
  for (size_t j = j0; j < j1; j++) {
    size_t bit = (w->permutation ? (size_t)w->permutation[j] : j) * bits, shift = bit % WORD_BITS;
    const unsigned char *low = data + bit / WORD_BITS * rows * 4, *high = low + rows * 4;
    for (size_t n = n0; n < n1; n++) {
      uint32_t code = load_u32(low + 4 * n) >> shift;
      if (shift + bits > WORD_BITS) code |= load_u32(high + 4 * n) << (WORD_BITS - shift);
      tile[n - n0][j - j0] = (unsigned char)(code & mask);
    }
  }
}

/* Transposes by tiles of their own: rows a power of two apart would share the same few lines of the cache. */
static void read_codes(const bitblas_weight *w, const gptq_tensors *t) {
  unsigned char tile[BLOCK][BLOCK];
  size_t rows = (size_t)t->rows, columns = (size_t)t->columns;
  for (size_t n0 = 0; n0 < rows; n0 += BLOCK) {
    size_t n1 = n0 + BLOCK < rows ? n0 + BLOCK : rows;
    for (size_t j0 = 0; j0 < columns; j0 += BLOCK) {
      size_t j1 = j0 + BLOCK < columns ? j0 + BLOCK : columns;
      read_tile(w, t, n0, n1, j0, j1, tile);
      for (size_t n = n0; n < n1; n++)
        memcpy(w->codes + n * columns + j0, tile[n - n0], j1 - j0);
    }
  }
}

/* Writers of version 1 packed zero - 1 = -1 without masking it, so that every field above it in the word became ones. */
static int64_t count_damaged(const gptq_tensors *t) {
  if (WORD_BITS % t->bits) return 0;
  const unsigned char *data = t->zeros->data;
  int64_t damaged = 0;
  uint32_t top = ~0u << (WORD_BITS - 2 * t->bits);
  for (size_t i = 0; i < t->zeros->bytes / 4; i++)
    damaged += (load_u32(data + 4 * i) & top) == top;
  return damaged;
}

static void read_zeros(format_reader *r, const gptq_tensors *t, int version) {
  bitblas_weight *w = r->weight;
  int64_t half = 1 << (t->bits - 1), groups = t->group_count;
  w->zeros = weight_room(w);
  w->info.zeros_mode = BITBLAS_WEIGHT_ZEROS_ORIGINAL;
  if (!t->zeros) {
    for (int64_t i = 0; i < t->rows * groups; i++)
      w->zeros[i] = (float)half;
    return;
  }
  const unsigned char *data = t->zeros->data;
  size_t row_bytes = (size_t)t->zeros->shape[1] * 4;
  for (int64_t g = 0; g < groups; g++)
    for (int64_t n = 0; n < t->rows; n++)
      w->zeros[n * groups + g] =
          (float)(ir_get_bits(data + (size_t)g * row_bytes, (size_t)n, t->bits) + (version == 1));
  if (every_zero_is(t->zeros, t->bits, groups, version == 1 ? half : half - 1))
    format_note(
        r, "every stored zero is %" PRId64 ", as symmetric models of version %d have them; it was read as version %d",
        version == 1 ? half : half - 1, 3 - version, version);
  int64_t damaged = version == 1 ? count_damaged(t) : 0;
  if (damaged)
    format_note(r, "%" PRId64 " words of qzeros end in ones only: their writer stored a zero of 0 over those after it",
                damaged);
  if (version == 1 && !r->config.format && !format_setting(r, "checkpoint_format") &&
      !every_zero_is(t->zeros, t->bits, groups, half - 1))
    format_note(r, "nothing says whether this is version 1 or 2 of GPTQ; it was read as version 1");
}

static bitblas_status read_version(format_reader *r, int version) {
  gptq_tensors t;
  const char *stated = format_setting(r, "checkpoint_format");
  if (!r->config.format && stated && strncmp(stated, "gptq", 4) != 0)
    return format_fail(r, BITBLAS_ERROR_UNSUPPORTED, "its checkpoint_format is '%.40s'; gptq and gptq_v2 are read",
                       stated);
  bitblas_status status = find_tensors(r, &t);
  int64_t group_size = 0;
  if (status == BITBLAS_OK) status = format_group_size(r, t.columns, t.group_count, &group_size);
  if (status == BITBLAS_OK) status = format_shape(r, format_unsigned(t.bits), t.rows, t.columns, group_size);
  if (status == BITBLAS_OK && t.groups) status = read_order(r, &t, group_size);
  if (status != BITBLAS_OK) return status;
  r->weight->scales = weight_room(r->weight);
  format_transpose(t.scales, t.group_count, t.rows, r->weight->scales);
  read_codes(r->weight, &t);
  read_zeros(r, &t, version);
  return BITBLAS_OK;
}

bitblas_status gptq_read(format_reader *r) { return read_version(r, 1); }
bitblas_status gptq_v2_read(format_reader *r) { return read_version(r, 2); }
