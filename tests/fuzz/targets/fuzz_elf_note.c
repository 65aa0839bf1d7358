/* Any bytes as a cubin: an error, or a note inside the bytes; one that is added is found again. */
#include "tests/fuzz/targets/fuzz.h"

#include "codegen/elf_note.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char note[] = "{\"fuzz\": 1}";
  arena *memory = arena_create();
  const char *error = NULL;
  size_t found_size;
  const uint8_t *found = elf_note_find(data, size, &found_size, &error);
  if (found && (found < data || found_size > size || found > data + size - found_size))
    fuzz_fail("the note lies outside the image", NULL);
  size_t more_size;
  const void *more = elf_note_add(memory, data, size, note, sizeof note, &more_size, &error);
  if (more) {
    const void *again = elf_note_find(more, more_size, &found_size, &error);
    if (!again || found_size != sizeof note || memcmp(again, note, sizeof note) != 0)
      fuzz_fail("a note that was added is not found", NULL);
  }
  arena_destroy(memory);
  return 0;
}
