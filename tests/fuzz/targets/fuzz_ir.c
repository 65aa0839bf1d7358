/* Any bytes as IR text: diagnostics, or a module that reads back as it is printed; verifying it ends. */
#include "tests/fuzz/targets/fuzz.h"

#include "ir/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  arena *memory = arena_create();
  diag *d = diag_create();
  char *text = arena_alloc(memory, size + 1);
  memcpy(text, data, size);
  text[size] = '\0';
  uint16_t file = diag_add_file(d, "fuzz.tir", text, size);
  ir_module *module = ir_parse_module(memory, d, file, text, size);
  bool good = module != NULL;
  for (ir_kernel *kernel = module ? module->kernels : NULL; kernel; kernel = kernel->next)
    good = ir_verify(kernel, d) && good;
  if (good) fuzz_round_trip(module);
  diag_destroy(d);
  arena_destroy(memory);
  return 0;
}
