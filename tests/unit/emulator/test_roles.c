/* The pipelined form: roles run side by side, asynchronous copies and dots are complete when they are waited for; and blocks
 * that need each other run together. */
#include "tests/unit/emulator/run_text.h"

static const char roles[] = "source \"t.tl\"\n"
                            "kernel @roles target sm_90a form pipelined {threads = 256} @1:1\n"
                            "  size %K {multiple_of = 8}\n"
                            "  arg %A: global f16[64, %K] in @1:2\n"
                            "  arg %B: global f16[8, %K] in @1:3\n"
                            "  arg %C: global f32[64, 8] out @1:4\n"
                            "  alloc %As: shared f16[64, 64] slots 2 layout #shared[64x64 16b]{swizzle 128} @2:1\n"
                            "  alloc %Bs: shared f16[8, 64] slots 2 layout #shared[8x64 16b]{swizzle 128} @2:2\n"
                            "  alloc %full: barrier slots 2 arrivals 1 @2:3\n"
                            "  alloc %empty: barrier slots 2 arrivals 1 @2:4\n"
                            "  alloc %acc: tile f32[64, 8] layout LAYOUT @2:5\n"
                            "  alloc %k: index\n"
                            "do\n"
                            "  mbar.init %full, 1 @10:1\n"
                            "  mbar.init %empty, 1 @11:1\n"
                            "  fence.mbar_init @12:1\n"
                            "  role producer {warp_first = 4, warp_count = 4} do\n"
                            "    for %k in 0 .. ceildiv(%K, 64) step 1 do\n"
                            "      mbar.wait %empty@(%k % 2), %k / 2 % 2 ^ 1 @20:1\n"
                            "      mbar.expect %full@(%k % 2), 9216 @21:1\n"
                            "      %As@(%k % 2) <- copy %A[0 : 64, %k * 64 : 64], %full@(%k % 2) {engine = tma} @22:1\n"
                            "      %Bs@(%k % 2) <- copy %B[0 : 8, %k * 64 : 64], %full@(%k % 2) {engine = tma} @23:1\n"
                            "    end\n"
                            "  end\n"
                            "  role consumer {warp_first = 0, warp_count = 4} do\n"
                            "    %acc <- fill 0.0 @30:1\n"
                            "    for %k in 0 .. ceildiv(%K, 64) step 1 do\n"
                            "      mbar.wait %full@(%k % 2), %k / 2 % 2 @31:1\n"
                            "      %acc <- dot %As@(%k % 2), %Bs@(%k % 2) {accumulate = 1, transpose_b = 1, "
                            "instruction = wgmma, async = 1} @32:1\n"
                            "      dot.commit @33:1\n"
                            "      dot.wait {pending = 0} @34:1\n"
                            "      mbar.arrive %empty@(%k % 2) @35:1\n"
                            "    end\n"
                            "    %C <- copy %acc @36:1\n"
                            "  end\n"
                            "end\n";

enum { ROWS = 64, COLUMNS = 8, DEPTH = 200 };

/* With the accumulator's layout, and `old` replaced by `new` (NULL: its line left out). */
static void roles_open(run *r, const char *old, const char *new) {
  tile_layout layout;
  assert_true(tile_layout_wgmma_accumulator(ROWS, COLUMNS, 1, &layout));
  str text = STR_EMPTY;
  const char *at = strstr(roles, "LAYOUT");
  str_append_bytes(&text, roles, (size_t)(at - roles));
  tile_layout_print(&layout, &text);
  str_append(&text, at + strlen("LAYOUT"));
  if (old) {
    str changed = STR_EMPTY;
    const char *where = strstr(str_text(&text), old);
    assert_non_null(where);
    str_append_bytes(&changed, str_text(&text), (size_t)(where - str_text(&text)));
    str_append(&changed, new ? new : "");
    str_append(&changed, new ? where + strlen(old) : strchr(where, '\n') + 1);
    str_free(&text);
    text = changed;
  }
  run_open(r, str_text(&text));
  str_free(&text);
  r->sizes[r->size_count++] = DEPTH;
  emulator_tensor *a = run_tensor(r, IR_F16, ROWS * DEPTH), *b = run_tensor(r, IR_F16, COLUMNS * DEPTH);
  run_tensor(r, IR_F32, ROWS * COLUMNS);
  for (int i = 0; i < ROWS * DEPTH; i++)
    put(a, IR_F16, (size_t)i, i % 7 - 3);
  for (int i = 0; i < COLUMNS * DEPTH; i++)
    put(b, IR_F16, (size_t)i, i % 5 - 2);
}

static void roles_multiply(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 4; seed++) {
    run r;
    roles_open(&r, NULL, NULL);
    r.options.seed = seed;
    run_clean(&r);
    for (int m = 0; m < ROWS; m++)
      for (int n = 0; n < COLUMNS; n++) {
        double sum = 0;
        for (int k = 0; k < DEPTH; k++)
          sum +=
              get(&r.tensors[0], IR_F16, (size_t)(m * DEPTH + k)) * get(&r.tensors[1], IR_F16, (size_t)(n * DEPTH + k));
        assert_true(get(&r.tensors[2], IR_F32, (size_t)(m * COLUMNS + n)) == sum);
      }
    run_close(&r);
  }
}

static void weakened_roles_are_found(void **state) {
  (void)state;
  static const struct {
    const char *old, *new;
    emulator_finding_kind kind;
  } changes[] = {
      {"  fence.mbar_init", NULL, EMULATOR_PROXY},
      {"      mbar.wait %empty", NULL, EMULATOR_BARRIER},
      {"      mbar.expect", NULL, EMULATOR_DEADLOCK},
      {"9216", "9215", EMULATOR_DEADLOCK},
      {"      mbar.wait %full", NULL, EMULATOR_RACE},
      {"      dot.commit", NULL, EMULATOR_RACE},
      {"      dot.wait", NULL, EMULATOR_RACE},
      {"      mbar.arrive", NULL, EMULATOR_DEADLOCK},
      {"    %acc <- fill", NULL, EMULATOR_UNINITIALISED},
  };
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    run r;
    roles_open(&r, changes[i].old, changes[i].new);
    bool clean = run_go(&r);
    if (clean || r.report.findings[0].kind != changes[i].kind)
      print_error("'%s': %s\n", changes[i].old, clean ? "nothing found" : r.report.findings[0].message);
    assert_false(clean);
    assert_int_equal(r.report.findings[0].kind, changes[i].kind);
    run_close(&r);
  }
}

/* Block 0 waits in a loop for what block 1 writes. */
static const char flag[] = "source \"t.tl\"\n"
                           "kernel @flag target sm_80 form thread {threads = 32} @1:1\n"
                           "  arg %F: global i32[2] inout @1:2\n"
                           "  blocks 2\n"
                           "  alloc %seen: scalar i32\n"
                           "  alloc %done: scalar i32 mutable\n"
                           "do\n"
                           "  if lane() == 0 do\n"
                           "    if block() == 0 do\n"
                           "      declare %done\n"
                           "      %done <- 0\n"
                           "      while %done == 0 do\n"
                           "        %seen <- atomic.global %F, 0L, 0 {operation = sum} @10:1\n"
                           "        %done <- %seen\n"
                           "      end\n"
                           "    else\n"
                           "      %seen <- atomic.global %F, 0L, 7 {operation = sum} @11:1\n"
                           "    end\n"
                           "  end\n"
                           "end\n";

static void blocks_wait_for_each_other(void **state) {
  (void)state;
  run r;
  run_open(&r, flag);
  emulator_tensor *f = run_tensor(&r, IR_I32, 2);
  r.options.step_limit = 100000;
  run_finds(&r, EMULATOR_LIMIT);
  emulator_report_free(&r.report);
  put(f, IR_I32, 0, 0);
  r.options.blocks_in_flight = 2;
  run_clean(&r);
  assert_true(get(f, IR_I32, 0) == 7);
  run_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(roles_multiply),
      cmocka_unit_test(weakened_roles_are_found),
      cmocka_unit_test(blocks_wait_for_each_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
