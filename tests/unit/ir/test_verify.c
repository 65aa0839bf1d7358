/* The verifier: what is right passes, and each broken rule gives a message that names the op and both sides. */
#include "ir/ir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char tile_declarations[] = "  size %M\n"
                                        "  size %N {multiple_of = 8}\n"
                                        "  arg %A: global f16[%M, %N] in\n"
                                        "  arg %C: global f16[%M, %N] out\n"
                                        "  grid %b in ceildiv(%M, 128)\n"
                                        "  alloc %As: shared f16[128, 64] slots 2\n"
                                        "  alloc %Bs: shared f16[256, 64]\n"
                                        "  alloc %Ws: shared i4[256, 64]\n"
                                        "  alloc %Ss: shared f16[256, 2]\n"
                                        "  alloc %W: tile f16[256, 64]\n"
                                        "  alloc %acc: tile f32[128, 256]\n"
                                        "  alloc %row: tile f32[128]\n"
                                        "  alloc %mask: tile pred[128, 256]\n"
                                        "  alloc %flag: scalar pred mutable\n"
                                        "  alloc %s: scalar i32\n"
                                        "  alloc %x: scalar f32\n"
                                        "  alloc %k: index\n"
                                        "  alloc %i: index\n"
                                        "  alloc %j: index\n";

static const char thread_declarations[] =
    "  size %M\n"
    "  arg %A: global f16[%M, 64] in\n"
    "  alloc %As: shared f16[128, 64] slots 2 offset 0 layout #shared[128x64 16b]{swizzle 128}\n"
    "  alloc %full: barrier slots 2 arrivals 1 offset 32768\n"
    "  alloc %r: registers f16[64]\n"
    "  alloc %acc: registers f32[64]\n"
    "  alloc %old: scalar i32\n"
    "  alloc %n: scalar i32 mutable\n"
    "  alloc %t: tile f32[4, 4]\n";

/* Verifies a kernel of one form with the given body; "" when it passes, else the rendered diagnostics. */
static void verify_body(const char *form, const char *declarations, const char *body, str *out) {
  arena *memory = arena_create();
  diag *d = diag_create();
  str text = STR_EMPTY;
  str_printf(&text, "source \"x\"\nkernel @k target sm_90a form %s\n%sdo\n%s\nend\n", form, declarations, body);
  ir_module *module = ir_parse_module(memory, d, 0, str_text(&text), text.length);
  bool ok = module && ir_verify(module->kernels, d);
  if (ok != !diag_failed(d)) fail_msg("the answer and the diagnostics differ for: %s", body);
  if (!ok) diag_render(d, DIAG_FORMAT_TEXT, NULL, out);
  str_free(&text);
  diag_destroy(d);
  arena_destroy(memory);
}

static void check(const char *form, const char *declarations, const char *body, const char *expected) {
  str out = STR_EMPTY;
  verify_body(form, declarations, body, &out);
  bool right = expected ? out.length && strstr(str_text(&out), expected) : out.length == 0;
  if (!right) fail_msg("%s\n  gives: %s\n  not: %s", body, str_text(&out), expected ? expected : "(nothing)");
  str_free(&out);
}

typedef struct rule {
  const char *body;
  const char *message; /* NULL: nothing is wrong */
} rule;

static void test_tile(void **state) {
  (void)state;
  static const rule rules[] = {
      {"%acc <- fill 0.0", NULL},
      {"%As <- copy %A[%b * 128 : 128, 0 : 64]", NULL},
      {"%As@1 <- copy %A[%b * 128 : 128, 0 : 64], 1.0", NULL},
      {"%acc <- dot %As, %Bs {transpose_b = 1}", NULL},
      {"%row <- reduce %acc {axis = 1, operation = max}", NULL},
      {"%flag <- vote %mask {operation = or}", NULL},
      {"%W <- decode %Ws, %Ss {group = 32}", NULL},
      {"for %k in 0 .. %N step 1 do\n  let %s <- %k + 1\n  if %s > 3 do\n  end\nend\nfor %k in 0 .. 3 step 1 do\nend",
       NULL},
      {"parallel %i in 128, %j in 256 do\n  let %x <- %acc[%i, %j]\n  %acc[%i, %j] <- select(%x > 0.0, %x, 0.0)\nend",
       NULL},
      {"if %flag do\n  let %s <- 1\nelse\n  let %s <- 2\nend", NULL},
      {"%As <- copy %A[%b * 128 : 128, 0 : 32]",
       "'copy' needs the same extents on both sides: %As is f16[128, 64], %A is f16[128, 32]"},
      {"%acc <- dot %As, %Bs", "'dot' needs the same k on both sides: %As is f16[128, 64], %Bs is f16[256, 64]"},
      {"%acc <- dot %Bs, %Bs {transpose_b = 1}", "'dot' needs the same m"},
      {"%acc <- dot %As, %As {transpose_b = 1}", "'dot' needs the same n"},
      {"%acc <- dot %As, %Bs {transpose_b = 1, promote = 40}", "'dot' promotes sums of a multiple of 32 k, not 40"},
      {"%acc <- dot %As, %Bs {transpose_b = 1, promote = -32}", "'dot' promotes sums of a multiple of 32 k, not -32"},
      {"%acc <- dot %As, %Bs {transpose_b = 1, promote = 32, part_columns = 96}",
       "'dot' has 256 columns, no multiple of the 96 of a part"},
      {"%acc <- dot %As, %Bs {transpose_b = 1, promote = 64, part_columns = 128}", NULL},
      {"%acc <- dot %As, %Bs {transpose_b = 1, low = 0}", "low and high come together"},
      {"%acc <- dot %As, %Ws {transpose_b = 1}", "does not multiply these types"},
      {"%mask <- dot %As, %Bs {transpose_b = 1}", "accumulates integers in integers"},
      {"%acc <- dot %As", "'dot' reads a tensor, buffer, tile or registers as operand 2"},
      {"%As <- dot %As, %Bs", "'dot' writes a tile, %As is shared"},
      {"%row <- reduce %acc {axis = 0, operation = max}", "'reduce' gives its source without the axis"},
      {"%row <- reduce %acc {axis = 2, operation = max}", "along axis 2"},
      {"%row <- reduce %acc {axis = 1}", "needs the attribute operation"},
      {"%W <- decode %Ws, %Ss {group = 16}", "for each row and group of codes"},
      {"%W <- decode %Ws, %Ss {group = 32, zero_mode = original}", "if and only if"},
      {"%A[0 : 128, 0 : 64] <- copy %As", "%A is an input and written"},
      {"%As@2 <- copy %A[0 : 128, 0 : 64]", "has 2 slots, there is no slot 2"},
      {"%Bs[200 : 128, 0 : 64] <- copy %As", "leaves dimension 0 of extent 256"},
      {"%As[0 : 128] <- copy %row", "has 2 dimensions, its region 1"},
      {"%flag <- vote %acc {operation = or}", "'vote' takes a tile of pred"},
      {"let %s <- %s + 1", "%s is used where it is not defined"},
      {"let %s <- 1\nlet %s <- 2", "%s is defined twice"},
      {"if %flag do\n  let %s <- 1\nend\nif %s > 1 do\nend", "%s is used where it is not defined"},
      {"let %s <- 1.5", "%s is i32 and defined as f32"},
      {"%s <- 1", "%s is not mutable"},
      {"%k <- 1", "'set' writes"},
      {"if %b do\nend", "a condition is a predicate, not i32"},
      {"for %b in 0 .. 3 step 1 do\nend", "%b is defined twice"},
      {"for %k in 0 .. 3 step 0 do\nend", "the step of a loop is at least 1"},
      {"for %k in 0 .. 3L step 1 do\nend", "are i32"},
      {"let %s <- %b + 1L", "the operands of '+' are i32 and i64"},
      {"let %x <- %acc[%b]", "%acc takes 2 indices, not 1"},
      {"let %x <- %acc[%b, 256]", "index 256 of %acc is not in 0 .. 256"},
      {"let %x <- %acc", "its elements are read with an index"},
      {"let %s <- tid()", "is what one thread sees"},
      {"let %s <- 1.0 % 2.0", "'%' takes integers, not f32"},
      {"let %s <- select(1, 2, 3)", "takes a predicate first"},
      {"let %x <- exp2(%b)", "'exp2' takes floats, not i32"},
      {"parallel %i in 128 do\n  %row <- fill 0.0\nend", "'fill' is not allowed in parallel"},
      {"warp.sync", "there is no 'warp.sync' in this form"},
      {"%acc <- fill %flag", "cannot be assigned"},
      {"%acc <- fill 1.0, 2.0", "takes 1 expressions, not 2"},
  };
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
    check("tile", tile_declarations, rules[i].body, rules[i].message);
}

static void test_thread(void **state) {
  (void)state;
  static const rule rules[] = {
      {"declare %r, %acc\n%r[0] <- ld.global %A, i64(tid()) * 16L, true {width = 16}", NULL},
      {"declare %acc\n%acc[63] <- %acc[0] + f32(lane())", NULL},
      {"declare %r\n%r[31] <- pack.f16(1.0, 2.0)", NULL},
      {"mbar.wait %full@1, 1", NULL},
      {"%old <- atomic.global %A, 0L, 1 {operation = sum}", NULL},
      {"declare %n\n%n <- %n + 1", NULL},
      {"role consumer {warp_first = 4, warp_count = 8} do\n  bar.sync {id = 1, threads = 256}\nend", NULL},
      {"%acc[0] <- 1.0", "%acc is used where it is not defined"},
      {"%n <- 1", "%n is used where it is not defined"},
      {"declare %r\n%r[32] <- 0u", "leaves dimension 0 of extent 32"},
      {"declare %acc\n%acc[0] <- f32(%t[0, 0])", "%t is a tile; the thread form has none"},
      {"declare %r\n%r[0] <- ld.global %A, 0L, true", "needs the attribute width"},
      {"declare %r\n%r[0] <- ld.global %A, 0L, true {width = 3}", "not a power of two"},
      {"declare %r\n%r[0] <- ld.global %A, 0L, 1 {width = 4}", "is a predicate, not i32"},
      {"%t <- fill 0.0", "there is no 'fill' in this form"},
      {"mbar.wait %As, 1", "'mbar.wait' reads a barrier as operand 1, %As is shared"},
      {"role consumer {warp_first = 4} do\nend", "needs the attribute warp_count"},
      {"declare %n\n%n <- i32(address(%As@2))", "there is no slot 2"},
      {"declare %n\n%n <- i32(address(%A))", "address takes a shared buffer"},
      {"declare %n\n%n <- i32(lop3(1u, 2u, 3u, 256u))", "constant of 8 bits"},
      {"declare %n\n%n <- i32(both_halves(1u, 2))", "the half of both_halves is 0 or 1"},
      {"declare %r, %acc\n%acc[0] <- mma %r[0], %r[0], %r[0] {m = 16, n = 8, k = 32, selector = 0}",
       "the metadata of an mma is u32, with the selector 0 or 1"},
      {"declare %n\n%n <- i32(unpack.u4(1u, 8))", "number of an element of the word"},
  };
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
    check("thread", thread_declarations, rules[i].body, rules[i].message);
}

static void test_layouts(void **state) {
  (void)state;
  check("laid_out", "  alloc %As: shared f16[128, 64]\n", "", "the shared buffer %As has no layout");
  check("laid_out", "  alloc %As: shared f16[128, 64] layout #shared[64x64 16b]{swizzle 128}\n", "",
        "has other extents");
  check("laid_out", "  alloc %As: shared f16[128, 64] layout #shared[128x64 8b]{swizzle 64}\n", "", "element bits");
  check("laid_out", "  alloc %As: shared f16[128, 64] layout #shared[128x64 16b]{swizzle 128}\n", "", NULL);
  check("laid_out", "  alloc %t: tile f32[16, 8]\n", "", "the tile %t has no layout");
  check("laid_out", "  size %M\n  alloc %t: tile f32[%M]\n", "", "its extents are constants");
  check("tile", "  alloc %r: registers f32[4]\n", "", "only the thread form has them");
  check("tile", "  alloc %t: tile f32[0]\n", "", "has extent 0");
  check("tile", "  alloc %t: tile f32[65536, 65536]\n", "", "too many elements");
  check("thread", "  alloc %b: barrier arrivals 1\n", "", NULL);
  check("thread", "  alloc %b: barrier arrivals 1 offset 0\n  alloc %c: barrier arrivals 1\n", "",
        "%b has an offset in shared memory, %c has none");
  check("laid_out", "  alloc %As: shared f16[128, 64] offset 128 layout #shared[128x64 16b]{swizzle 128}\n", "",
        "%As is at offset 128, not a multiple of 1024");
  check("thread", "  size %M\n  alloc %m: map of %M box [1] swizzle 0\n", "", "is not of a global tensor");
  check("tile", "  size %M\n  fact %M\n", "", "a fact is a predicate");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_tile), cmocka_unit_test(test_thread),
                                     cmocka_unit_test(test_layouts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
