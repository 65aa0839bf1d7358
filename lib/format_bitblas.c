/* BitBLAS's own layout, as its Linear keeps it.
 *
 *   qweight  I8 [N, K * bits / 8]     low bits first; signed types as value + 2^(bits - 1); interleaved within 32-bit words
 *   scales   F16 [N, K / group]
 *   zeros    F16 [N, K / group] in units of codes (original) or times the scale (rescale), or
 *   qzeros   I8 [K / group, N * bits / 8], packed along N (quantized); zeros of I8 are these too
 *
 * The interleaving serves decoders that widen codes to `activation` bits with a mask and a shift: of the codes that one call
 * decodes, the code o lies in lane o mod lanes. Without zeros the type is signed; one signed bit is -1 or 1. */
#include "ir/numeric.h"
#include "lib/format.h"

#include <inttypes.h>
#include <string.h>

enum { WORD_BITS = 32, CALL_BITS = 128 };

/* GPTQ packed into bytes has the same names, transposed. */
bool bitblas_detect(const format_reader *r) {
  const bitblas_checkpoint_tensor *codes = format_find(r, ".qweight"), *scales = format_find(r, ".scales");
  return format_has(r, ".qweight", "I8") && format_has(r, ".scales", FORMAT_FLOATS) && codes->rank == 2 &&
         scales->rank == 2 && codes->shape[0] == scales->shape[0];
}

/* Where code `index` of a row is stored. The original's decoder for 1 bit to 8 takes the middle lanes the other way. */
static size_t slot_of(size_t index, int bits, int activation) {
  if (activation == 1) return index;
  size_t lanes = (size_t)(WORD_BITS / activation), word = (size_t)(WORD_BITS / bits);
  size_t call = (size_t)(CALL_BITS / activation) < word ? (size_t)(CALL_BITS / activation) : word;
  size_t within = index % call, lane = within % lanes;
  if (bits == 1 && activation == 8 && (lane == 1 || lane == 2)) lane = 3 - lane;
  return index - within + lane * (call / lanes) + within / lanes;
}

/* Zeros come as numbers or packed; true when there are any. */
static bitblas_status read_zeros(format_reader *r, int bits, bool *any) {
  bitblas_weight *w = r->weight;
  const char *name = format_find(r, ".qzeros") ? ".qzeros" : ".zeros", *mode = format_setting(r, "zeros_mode");
  const bitblas_checkpoint_tensor *t = format_find(r, name);
  int64_t rows = w->info.rows, groups = weight_groups(w);
  *any = t != NULL;
  if (!t) return BITBLAS_OK;
  w->zeros = weight_room(w);
  w->info.zeros_mode =
      mode && strcmp(mode, "rescale") == 0 ? BITBLAS_WEIGHT_ZEROS_RESCALE : BITBLAS_WEIGHT_ZEROS_ORIGINAL;
  if (strcmp(t->encoding, "I8") != 0) {
    bitblas_status status = format_need(r, name, FORMAT_FLOATS, 2, (const int64_t[]){rows, groups}, &t);
    if (status == BITBLAS_OK) format_floats(t, w->zeros);
    return status;
  }
  int64_t row_bytes = rows * bits / 8;
  bitblas_status status =
      rows * bits % 8 ? format_fail(r, BITBLAS_ERROR_FILE, "%" PRId64 " rows have no whole bytes of zeros", rows)
                      : format_need(r, name, "I8", 2, (const int64_t[]){groups, row_bytes}, &t);
  if (status != BITBLAS_OK) return status;
  w->info.zeros_mode = BITBLAS_WEIGHT_ZEROS_ORIGINAL;
  for (int64_t g = 0; g < groups; g++)
    for (int64_t n = 0; n < rows; n++)
      w->zeros[n * groups + g] = (float)ir_get_bits((const unsigned char *)t->data + g * row_bytes, (size_t)n, bits);
  return BITBLAS_OK;
}

/* Stored codes of a signed type, which have no zeros of their own. */
static void make_signed(bitblas_weight *w, int bits) {
  int64_t count = w->info.rows * weight_groups(w);
  w->zeros = weight_room(w);
  w->info.zeros_mode = BITBLAS_WEIGHT_ZEROS_ORIGINAL;
  for (int64_t i = 0; i < count; i++) {
    w->zeros[i] = bits == 1 ? 0.5f : (float)(1 << (bits - 1));
    if (bits == 1) w->scales[i] *= 2;
  }
}

bitblas_status bitblas_read(format_reader *r) {
  const bitblas_checkpoint_tensor *codes, *scales;
  int bits = format_stated_bits(r), activation = r->config.activation_bits ? r->config.activation_bits : 16;
  bitblas_status status = format_need(r, ".qweight", "I8", 2, (const int64_t[]){-1, -1}, &codes);
  if (status == BITBLAS_OK)
    status = format_need(r, ".scales", FORMAT_FLOATS, 2, (const int64_t[]){codes->shape[0], -1}, &scales);
  if (status != BITBLAS_OK) return status;
  if (bits != 1 && bits != 2 && bits != 4 && bits != 8)
    return format_fail(r, BITBLAS_ERROR_ARGUMENT, "bits is %d (0: nothing says it) and should be 1, 2, 4 or 8", bits);
  int64_t rows = codes->shape[0], bytes = codes->shape[1], group_size;
  if (bits == 8) activation = 1; /* nothing to interleave */
  if (bytes > INT32_MAX / 8 || (activation != 1 && bytes % 4))
    return format_fail(r, BITBLAS_ERROR_FILE, ".qweight has rows of %" PRId64 " bytes, which are no whole words",
                       bytes);
  int64_t columns = bytes * 8 / bits;
  status = format_group_size(r, columns, scales->shape[1], &group_size);
  if (status == BITBLAS_OK) status = format_shape(r, format_unsigned(bits), rows, columns, group_size);
  if (status != BITBLAS_OK) return status;
  bitblas_weight *w = r->weight;
  for (int64_t n = 0; n < rows; n++) {
    const unsigned char *row = (const unsigned char *)codes->data + n * bytes;
    for (int64_t k = 0; k < columns; k++)
      w->codes[n * columns + k] = (unsigned char)ir_get_bits(row, slot_of((size_t)k, bits, activation), bits);
  }
  w->scales = weight_room(w);
  format_floats(scales, w->scales);
  bool any;
  status = read_zeros(r, bits, &any);
  if (status == BITBLAS_OK && !any) make_signed(w, bits);
  return status;
}
