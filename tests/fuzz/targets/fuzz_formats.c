/* Any tensors under the names that the formats know, read by any format: a weight that decodes, or a refusal with a reason.
 *
 *   byte 0  format   1  bits   2  group size   3  expert, setting    then for each tensor of 8 bytes:
 *   suffix, encoding, rank, 4 extents (by table), the byte that its data begins with. A short list of whole numbers has them
 *   in its last bytes, a long one counts: (i * byte 6 >> byte 5) % (byte 7 + 1). */
#include "tests/fuzz/targets/fuzz.h"

#include "lib/checkpoint.h"

enum { HEAD = 4, ROW = 8, TENSORS_MAX = 8, BYTES_MAX = 1 << 16, LIST_MAX = 5 };

static const char *const suffixes[] = {".qweight",
                                       ".qzeros",
                                       ".scales",
                                       ".g_idx",
                                       ".zeros",
                                       ".weight",
                                       ".weight_packed",
                                       ".weight_shape",
                                       ".weight_scale",
                                       ".W_q",
                                       ".scale",
                                       ".zero",
                                       ".shape",
                                       ".nbits",
                                       ".axis",
                                       "_blocks",
                                       "_scales",
                                       ".weight_scale_2",
                                       ".codes",
                                       ".form",
                                       ".codebook",
                                       ".permutation",
                                       ".weight_zero_point",
                                       ".weight_g_idx",
                                       ".weight_global_scale",
                                       ".weight_scale_inv",
                                       ".weight.absmax",
                                       ".weight.quant_map",
                                       ".weight.nested_absmax",
                                       ".weight.nested_quant_map",
                                       ".weight.quant_state.bitsandbytes__nf4"};
static const struct {
  const char *name;
  unsigned bits;
} encodings[] = {{"U8", 8},   {"I8", 8},   {"I32", 32}, {"I64", 64},    {"F16", 16},    {"BF16", 16},
                 {"F32", 32}, {"F64", 64}, {"F4", 4},   {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"BOOL", 8}};
static const unsigned extents[] = {0, 1, 2, 3, 4, 5, 8, 10, 16, 20, 32, 48, 64, 96, 128, 256};
static const char *const settings[] = {
    "\"checkpoint_format\": \"gptq_v2\"",  "\"version\": \"gemm\"", "\"zeros_mode\": \"rescale\"",
    "\"linear_class\": \"autobitlinear\"", "\"group_size\": \"3\"", "\"weight_block_size.0\": \"2\"",
    "\"weight_block_size.1\": \"0\"",      "\"bits\": \"3\""};
#define PICK(table, byte) ((table)[(byte) % (sizeof(table) / sizeof *(table))])

/* What begins as JSON is JSON, in a tensor of its length. */
static void add_state(str *header, str *data, const uint8_t *row) {
  size_t start = data->length;
  str_printf(data, "{\"blocksize\": %u, \"shape\": [%u, %u], \"nested_blocksize\": %u}", row[3], row[4], row[5],
             row[6]);
  str_printf(header, ", \"p%s\": {\"dtype\": \"U8\", \"shape\": [%zu], \"data_offsets\": [%zu, %zu]}",
             PICK(suffixes, row[0]), data->length - start, start, data->length);
}

static unsigned element_of(const uint8_t *row, size_t at, size_t count) {
  if (count > LIST_MAX) return (unsigned)(at * row[6] >> (row[5] & 7)) % (row[7] + 1u);
  return 4 + at < ROW ? row[4 + at] : 0;
}

static void add_tensor(str *header, str *data, const uint8_t *row) {
  unsigned rank = row[2] % 5, width = PICK(encodings, row[1]).bits / 8;
  size_t count = 1, start = data->length;
  if (strstr(PICK(suffixes, row[0]), "quant_state")) {
    add_state(header, data, row);
    return;
  }
  str_printf(header, ", \"p%s\": {\"dtype\": \"%s\", \"shape\": [", PICK(suffixes, row[0]),
             PICK(encodings, row[1]).name);
  for (unsigned d = 0; d < rank; d++) {
    unsigned extent = PICK(extents, row[3 + d]);
    str_printf(header, "%s%u", d ? ", " : "", extent);
    count *= extent;
  }
  size_t bytes = count * PICK(encodings, row[1]).bits / 8;
  bool numbers = rank < 2 && width >= 4 && PICK(encodings, row[1]).name[0] == 'I';
  for (size_t i = 0; i < bytes && i < BYTES_MAX; i++) {
    unsigned value = row[7] & 128 ? row[7] : (unsigned)(row[7] + i * (row[7] & 3));
    if (numbers) value = i % width ? 0 : element_of(row, i / width, count);
    str_append_char(data, (char)value);
  }
  str_printf(header, "], \"data_offsets\": [%zu, %zu]}", start, data->length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < HEAD + ROW) return 0;
  str header = STR_EMPTY, bytes = STR_EMPTY, file = STR_EMPTY;
  str_printf(&header, "{\"__metadata__\": {%s}", data[3] & 16 ? PICK(settings, data[3] >> 5) : "");
  for (size_t i = 0; i < TENSORS_MAX && HEAD + (i + 1) * ROW <= size; i++)
    add_tensor(&header, &bytes, data + HEAD + i * ROW);
  str_append(&header, "}");
  for (int i = 0; i < 8; i++)
    str_append_char(&file, (char)(header.length >> (8 * i)));
  str_append(&file, str_text(&header));
  str_append_bytes(&file, bytes.data ? bytes.data : "", bytes.length);
  uint8_t *exact = malloc(file.length); /* so that a reader past the end is noticed */
  memcpy(exact, file.data, file.length);
  bitblas_checkpoint *c = NULL;
  bitblas_weight *w = NULL;
  bitblas_weight_config config = BITBLAS_WEIGHT_CONFIG_INIT;
  int32_t formats = 0;
  while (bitblas_format_name(formats))
    formats++;
  config.format = bitblas_format_name(data[0] % (formats + 1)); /* also NULL: the one that is found */
  config.bits = data[1] % 9;
  config.group_size = data[2];
  config.expert = data[3] & 3;
  config.activation_bits = data[3] & 4 ? 8 : data[3] & 8 ? 1 : 0;
  if (checkpoint_parse("fuzzed", exact, file.length, &c) == BITBLAS_OK &&
      bitblas_weight_read(c, "p", &config, &w) == BITBLAS_OK) {
    bitblas_weight_info info = BITBLAS_WEIGHT_INFO_INIT;
    if (bitblas_weight_describe(w, &info) != BITBLAS_OK) fuzz_fail("a weight that is none", NULL);
    size_t count = (size_t)info.rows * (size_t)info.columns;
    float *values = malloc(count * sizeof *values);
    if (values && bitblas_weight_decode(w, values, count) != BITBLAS_OK) fuzz_fail(bitblas_last_message(), NULL);
    size_t stream_bytes = (count * (size_t)bitblas_type_bits(info.type) + 7) / 8;
    void *stream = malloc(stream_bytes);
    if (stream && bitblas_weight_stream(w, stream, stream_bytes) != BITBLAS_OK) fuzz_fail(bitblas_last_message(), NULL);
    free(stream);
    free(values);
  } else if (!*bitblas_last_message()) {
    fuzz_fail("an error without a reason", NULL);
  }
  bitblas_weight_destroy(w);
  bitblas_checkpoint_close(c);
  free(exact);
  str_free(&header);
  str_free(&bytes);
  str_free(&file);
  return 0;
}
