/* Text: print(parse(text)) is the text, and no text crashes the parser. */
#include "ir/expr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Everything that the text can hold, in the printer's own spelling. */
static const char everything[] =
    "source \"dir/\\\"odd\\\".tl\"\n"
    "kernel @tiles target sm_90a form tile {threads = 384, cluster = 2} @3:8\n"
    "  size %M\n"
    "  size %N {multiple_of = 8} @1:2\n"
    "  size %K {multiple_of = 64, bound = 4096}\n"
    "  arg %A: global f16[%M, %K] in @3:15\n"
    "  arg %W: global i4[%N, %K] inout stride [%K, 1]\n"
    "  arg %C: global f16[%M, %N] out stride [%N, none] @1:3:40\n"
    "  param BM = 128 tune\n"
    "  param G = -1\n"
    "  fact %N % 8 == 0 @4:9\n"
    "  fact %M >= 1 & ~(%M == 3 | %M == 5)\n"
    "  grid %bn in ceildiv(%N, 256) @6:9\n"
    "  grid %bm in ceildiv(%M, 128)\n"
    "  alloc %As: shared f16[128, 64] @8:10\n"
    "  alloc %Bs: shared f16[256, 64] slots 4 offset 1024 layout #shared[256x64 16b]{swizzle 128} @8:11\n"
    "  alloc %acc: tile f32[128, 256]\n"
    "  alloc %full: barrier slots 4 arrivals 1 offset 212992\n"
    "  alloc %A_map: map of %A box [128, 64] swizzle 128\n"
    "  alloc %C_map: map of %C box [128, 64] swizzle 128 fetch 128 @8:12\n"
    "  alloc %flag: scalar pred mutable\n"
    "  alloc %t: scalar f32\n"
    "  alloc %k: index\n"
    "  alloc %i: index\n"
    "  alloc %j: index\n"
    "  alloc %r: registers f16[64]\n"
    "do\n"
    "  declare %r, %flag @9:1\n"
    "  %acc <- fill 0.0 @9:3\n"
    "  for %k in 0 .. ceildiv(%K, 64) step 1 {stages = 4} @10:3 do\n"
    "    %As <- copy %A[%bm * 128 : 128, %k * 64 : 64] @11:5\n"
    "    %As <- copy %A[%bm * 128 : 128, %k * 64 : 64], %full@(%k % 4)\n"
    "    %As <- copy %A[%bm * 128 : 128, %k * 64 : 64], -1.0\n"
    "    %acc <- dot %As, %Bs@%k {accumulate = 1, transpose_b = 1} @12:12\n"
    "    %acc <- dot %As, %Bs@3, %flag\n"
    "  end\n"
    "  while %flag do\n"
    "    mbar.wait %full@0, 1\n"
    "    wgmma.fence\n"
    "  end\n"
    "  if %bm < 3 {cold = 1} do\n"
    "    %flag <- vote %acc {operation = or}\n"
    "  else\n"
    "    if %flag do\n"
    "    end\n"
    "  end\n"
    "  parallel %i in 128, %j in 256 @14:3 do\n"
    "    let %t <- %acc[%i, %j] * 2.0\n"
    "    %acc[%i, %j] <- select(%t > 0.0, %t, -0.0)\n"
    "    %acc[%i, 0] <- atomic %t {operation = sum}\n"
    "  end\n"
    "  parallel do\n"
    "  end\n"
    "  role producer {warp_first = 0, warp_count = 4, registers = 40} do\n"
    "    %r[0] <- ld.global %A, i64(%k) * 128L + 32L, true {width = 16}\n"
    "    %acc <- wgmma %r[4], none, %Bs@%k, 0u, address(%Bs@%k) >> 4, true {transpose_b = 1, n = 128, k = 16}\n"
    "    %r[1] <- pack.f16(%t, 1.5) + lop3(%r[0], 15u, 3u, 234u)\n"
    "  end\n"
    "  %C[%bm * 128 : 128, %bn * 256 : 256] <- copy %acc @16:3\n"
    "end\n"
    "kernel @thread target sm_80 form thread\n"
    "  blocks 12\n"
    "do\n"
    "end\n";

static char *round_trip(arena *memory, diag *d, const char *text, size_t length) {
  ir_module *module = ir_parse_module(memory, d, 0, text, length);
  if (!module) return NULL;
  diag *rules = diag_create(); /* whether it is right does not matter, only that the verifier can say */
  for (const ir_kernel *kernel = module->kernels; kernel; kernel = kernel->next)
    assert_true(ir_verify(kernel, rules) == !diag_failed(rules) || kernel != module->kernels);
  diag_destroy(rules);
  str out = STR_EMPTY;
  ir_print_module(module, &out);
  char *printed = arena_strdup(memory, str_text(&out));
  str_free(&out);
  return printed;
}

static void test_round_trip(void **state) {
  (void)state;
  arena *memory = arena_create();
  diag *d = diag_create();
  char *printed = round_trip(memory, d, everything, sizeof everything - 1);
  if (!printed) {
    str message = STR_EMPTY;
    diag_render(d, DIAG_FORMAT_TEXT, NULL, &message);
    fail_msg("%s", str_text(&message));
  }
  assert_string_equal(printed, everything);
  diag_destroy(d);
  arena_destroy(memory);
}

/* The text of an expression, as it is printed after being read. */
static void check_expr(const char *text, const char *expected) {
  arena *memory = arena_create();
  diag *d = diag_create();
  str module = STR_EMPTY;
  str_printf(&module,
             "source \"x\"\nkernel @k target sm_80 form tile\n  alloc %%a: scalar i32 mutable\n  alloc %%x: scalar f32 "
             "mutable\n  alloc %%t: tile f16[4, 4]\ndo\n  %%a <- %s\nend\n",
             text);
  ir_module *parsed = ir_parse_module(memory, d, 0, str_text(&module), module.length);
  str out = STR_EMPTY;
  if (parsed)
    ir_print_expr(parsed->kernels->body.first->expr[0], &out);
  else
    str_append(&out, "refused");
  assert_string_equal(str_text(&out), expected);
  str_free(&out);
  str_free(&module);
  diag_destroy(d);
  arena_destroy(memory);
}

static void test_expressions(void **state) {
  (void)state;
  static const char *const same[] = {
      "1 + 2 * 3",
      "(1 + 2) * 3",
      "1 - (2 - 3)",
      "1 - 2 - 3",
      "%a % 4 / 2 << 1",
      "%a << (1 << 2)",
      "(%a & 3) == 1",
      "%a & 3 | 4 ^ 5",
      "~%a + -%a",
      "-(%a + 1)",
      "-(5) - -5",
      "--%a",
      "4294967295u",
      "18446744073709551615uL",
      "-9223372036854775808L",
      "-2147483648",
      "0.1",
      "1e+20",
      "-0.0",
      "inf",
      "-inf",
      "nan",
      "1.5d",
      "infd",
      "f16(0.5)",
      "u8(255)",
      "i8(-128)",
      "f16(%x)",
      "%t[%a, %a + 1]",
      "min(%a, max(1, 2))",
      "bitcast.u32(%x)",
      "unpack.u4(7u, 2)",
      "pack.f16(%x, %x)",
      "fma2.bf16(1u, 2u, 3u)",
      "select(%a < 1, %a, 0)",
      "tid() + lane() * warp()",
  };
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    check_expr(same[i], same[i]);
  check_expr("( ( %a ) ) // why", "%a");
  check_expr("0.10000000149011612", "0.1");
  check_expr("12.50E1", "125.0");
  static const char *const refused[] = {"",           "1 +",         "(1",        "%b",
                                        "2147483648", "4294967296u", "-1u",       "1.5x",
                                        "%a[",        "%t[]",        "%t@1",      "nothing(1)",
                                        "min(1)",     "f16(1, 2)",   "pack.q(1)", "99999999999999999999L",
                                        "1 2",        "%a <- 3",     "f16",       "%t[1,1,1,1,1,1]"};
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    check_expr(refused[i], "refused");
}

static void test_deep(void **state) {
  (void)state;
  enum { DEEP = 100000 };
  char *text = malloc(DEEP + 1);
  assert_non_null(text);
  static const char marks[] = "(-~";
  for (const char *mark = marks; *mark; mark++) {
    memset(text, *mark, DEEP);
    text[DEEP] = '\0';
    check_expr(text, "refused");
  }
  for (int i = 0; i < DEEP; i += 2)
    memcpy(text + i, "1+", 2);
  text[DEEP - 1] = '1';
  check_expr(text, "refused");
  free(text);
}

/* Whatever is done to a text, the parser refuses it with a diagnostic or reads something that round-trips. */
static void test_mutations(void **state) {
  (void)state;
  enum { ROUNDS = 4000 };
  uint32_t random = 12345;
  char text[sizeof everything];
  arena *memory = arena_create();
  for (int round = 0; round < ROUNDS; round++) {
    memcpy(text, everything, sizeof everything);
    size_t length = sizeof everything - 1;
    for (int edits = 1 + round % 3; edits; edits--) {
      random = random * 1664525u + 1013904223u;
      size_t at = (random >> 8) % length;
      random = random * 1664525u + 1013904223u;
      switch (random >> 29) {
      case 0:
        length = at + 1;
        break;
      case 1:
        text[at] = (char)(random >> 8);
        break;
      default:
        text[at] = everything[(random >> 8) % (sizeof everything - 1)];
      }
    }
    diag *d = diag_create();
    char *once = round_trip(memory, d, text, length);
    if (once) {
      char *twice = round_trip(memory, d, once, strlen(once));
      if (!twice) fail_msg("not read again:\n%s", once);
      assert_string_equal(once, twice);
    } else {
      assert_true(diag_failed(d));
    }
    diag_destroy(d);
    arena_reset(memory);
  }
  arena_destroy(memory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_expressions),
      cmocka_unit_test(test_deep),
      cmocka_unit_test(test_mutations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
