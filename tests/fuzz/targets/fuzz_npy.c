/* Any bytes as a .npy file: an error, or an array whose extents are those of its data. */
#include "tests/fuzz/targets/fuzz.h"

#include "runtime/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  npy_array array = {0};
  runtime_message message = {""};
  if (npy_parse(data, size, &array, &message) == RUNTIME_OK) {
    size_t bytes = (size_t)array.item_bytes;
    for (int d = 0; d < array.rank; d++)
      bytes *= (size_t)array.extents[d];
    if (bytes != array.data_bytes || bytes > size) fuzz_fail("an array has more elements than bytes", NULL);
    unsigned char sum = 0;
    for (size_t i = 0; i < bytes; i++)
      sum ^= ((const unsigned char *)array.data)[i];
    if (sum == 255 && bytes == 0) fuzz_fail("nothing sums to something", NULL);
  } else if (message.text[0] == '\0') {
    fuzz_fail("an error without a reason", NULL);
  }
  npy_free(&array);
  return 0;
}
