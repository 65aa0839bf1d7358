/* Any bytes as a safetensors or GGUF file: an error with a reason, or tensors that lie in the file and weights that can be
 * read or are refused with a reason. */
#include "tests/fuzz/targets/fuzz.h"

#include "lib/checkpoint.h"

enum { DECODED_MAX = 1 << 20 };

static void read_layer(const bitblas_checkpoint *c, const char *prefix) {
  bitblas_weight *w = NULL;
  bitblas_weight_info info = BITBLAS_WEIGHT_INFO_INIT;
  if (bitblas_weight_read(c, prefix, NULL, &w) != BITBLAS_OK) {
    if (!*bitblas_last_message()) fuzz_fail("an error without a reason", NULL);
    return;
  }
  if (bitblas_weight_describe(w, &info) != BITBLAS_OK) fuzz_fail("a weight that is none", NULL);
  size_t count = (size_t)info.rows * (size_t)info.columns;
  if (count <= DECODED_MAX) {
    float *values = malloc(count * sizeof *values);
    if (values && bitblas_weight_decode(w, values, count) != BITBLAS_OK) fuzz_fail(bitblas_last_message(), NULL);
    free(values);
  }
  bitblas_weight_destroy(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  bitblas_checkpoint *c = NULL;
  if (checkpoint_parse("fuzzed", data, size, &c) != BITBLAS_OK) {
    if (c || !*bitblas_last_message()) fuzz_fail("an error without a reason", NULL);
    return 0;
  }
  for (int32_t i = 0; i < bitblas_checkpoint_tensor_count(c); i++) {
    bitblas_checkpoint_tensor t = BITBLAS_CHECKPOINT_TENSOR_INIT;
    if (bitblas_checkpoint_tensor_info(c, i, &t) != BITBLAS_OK) fuzz_fail("a tensor that is none", NULL);
    const uint8_t *begin = t.data;
    if (t.bytes && (begin < data || t.bytes > size || begin > data + size - t.bytes))
      fuzz_fail("a tensor outside of its file", NULL);
    bitblas_checkpoint_tensor found = BITBLAS_CHECKPOINT_TENSOR_INIT;
    if (bitblas_checkpoint_find(c, t.name, &found) != BITBLAS_OK || found.data != t.data)
      fuzz_fail("a tensor that its name does not find", NULL);
  }
  for (int32_t i = 0; bitblas_checkpoint_layer(c, i); i++)
    read_layer(c, bitblas_checkpoint_layer(c, i));
  bitblas_checkpoint_close(c);
  return 0;
}
