/* Any bytes as a launch record: an error, or a record that verifies and reads back as it is written. */
#include "tests/fuzz/targets/fuzz.h"

#include "codegen/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  arena *memory = arena_create();
  const char *error = NULL;
  record *r = record_from_json(memory, (const char *)data, size, &error);
  if (r) {
    str first = STR_EMPTY, second = STR_EMPTY;
    record_to_json(r, false, &first);
    const char *text = str_text(&first);
    record *again = record_from_json(memory, text, strlen(text), &error);
    if (!again) fuzz_fail("a record does not read back", NULL);
    record_to_json(again, false, &second);
    if (strcmp(text, str_text(&second)) != 0) fuzz_fail("a record reads back as another", NULL);
    str_free(&first);
    str_free(&second);
  }
  arena_destroy(memory);
  return 0;
}
