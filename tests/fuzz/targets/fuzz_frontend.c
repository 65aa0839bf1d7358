/* Any bytes as a .tl file: diagnostics or a module in tile form that verifies and reads back as it is printed. */
#include "tests/fuzz/targets/fuzz.h"

#include "frontend/frontend.h"
#include "ir/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  arena *memory = arena_create();
  diag *d = diag_create();
  frontend_ast *tree = frontend_parse(memory, d, "fuzz.tl", (const char *)data, size, NULL);
  ir_module *module = tree ? frontend_lower(tree, memory, d, NULL, 0) : NULL;
  if (module) {
    for (ir_kernel *kernel = module->kernels; kernel; kernel = kernel->next)
      if (!ir_verify(kernel, d)) fuzz_fail("the front end made a kernel that does not verify", d);
    fuzz_round_trip(module);
  }
  diag_destroy(d);
  arena_destroy(memory);
  return 0;
}
