/* prove-tiles on grids that were taken apart wrongly: text does not say what a grid was, so the tests do. */
#include "tests/unit/unit.h"

#include "passes/pass.h"

#include <string.h>

#define HEAD                                                                                                           \
  "source \"tiles.tl\"\n"                                                                                              \
  "kernel @tiles target sm_90a form scheduled {persistent = 1, threads = 128, warps = 4, raster = 4} @1:8\n"           \
  "  size %M\n"                                                                                                        \
  "  size %N\n"                                                                                                        \
  "  arg %C: global f32[%M, %N] out\n"                                                                                 \
  "  blocks %M * %N\n"                                                                                                 \
  "  alloc %x: scalar i32\n"                                                                                           \
  "  alloc %y: scalar i32\n"                                                                                           \
  "  alloc %first: scalar i32\n"                                                                                       \
  "  alloc %height: scalar i32\n"                                                                                      \
  "  alloc %tile: index\n"                                                                                             \
  "do\n"
#define LOOP "  for %tile in block() .. %M * %N step blocks() {persistent = 1} do\n"
#define LETS                                                                                                           \
  "    let %first <- %tile / (%N * 4) * 4\n"                                                                           \
  "    let %height <- min(%M - %first, 4)\n"                                                                           \
  "    let %x <- %tile % (%N * 4) / %height\n"                                                                         \
  "    let %y <- %first + %tile % (%N * 4) % %height\n"
#define TAIL "  end\nend\n"

/* Whether the proof accepts the kernel; its message goes to *message. */
static bool accepts(const char *text, str *message) {
  arena *memory = arena_create(), *scratch = arena_create();
  diag *d = diag_create();
  uint16_t file = diag_add_file(d, "tiles.tir", text, strlen(text));
  ir_module *module = ir_parse_module(memory, d, file, text, strlen(text));
  assert_non_null(module);
  ir_kernel *kernel = module->kernels;
  kernel->grid[0] = (ir_grid_dim){ir_value_find(kernel, "x"), ir_read(memory, ir_value_find(kernel, "N"))};
  kernel->grid[1] = (ir_grid_dim){ir_value_find(kernel, "y"), ir_read(memory, ir_value_find(kernel, "M"))};
  const pass_options options = {.level = 2};
  pass_env env = {.memory = memory, .scratch = scratch, .diagnostics = d, .options = &options};
  bool ok = prove_tiles(kernel, &env);
  str_clear(message);
  diag_render(d, DIAG_FORMAT_TEXT, NULL, message);
  diag_destroy(d);
  arena_destroy(scratch);
  arena_destroy(memory);
  return ok;
}

static void test_tiles(void **state) {
  (void)state;
  str message = STR_EMPTY;
  assert_true(accepts(HEAD LOOP LETS TAIL, &message));
  static const struct {
    const char *text, *message;
  } broken[] = {
      {HEAD LOOP "    let %x <- %tile % %N\n    let %y <- %tile % %M\n" TAIL, "is computed already in a grid of"},
      {HEAD LOOP "    let %x <- %tile / %M\n    let %y <- %tile % %M + 1\n" TAIL, "tile 0 is outside in a grid of"},
      {HEAD LOOP "    let %first <- %tile / (%N * 4) * 4\n"
                 "    let %x <- %tile % (%N * 4) / 4\n"
                 "    let %y <- %first + %tile % 4\n" TAIL,
       "outside in a grid of"},
      {HEAD "  for %tile in block() .. %M * %N - 1 step blocks() {persistent = 1} do\n" LETS TAIL,
       "only 0 tiles are computed in a grid of 1 x 1 x 1; make-persistent should have prevented it [proof]"},
      {HEAD "  for %tile in block() .. %M * %N step 2 {persistent = 1} do\n" LETS TAIL, "are computed in a grid of"},
      {HEAD "  for %tile in block() / 2 .. %M * %N step blocks() {persistent = 1} do\n" LETS TAIL,
       "is computed twice in a grid of"},
  };
  for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
    assert_false(accepts(broken[i].text, &message));
    if (!strstr(str_text(&message), broken[i].message)) fail_msg("%zu: %s", i, str_text(&message));
  }
  str_free(&message);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiles)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
