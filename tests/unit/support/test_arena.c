/* Arenas: alignment, zeroing, growth over blocks, reset. */
#include "support/arena.h"
#include "tests/unit/unit.h"

static void allocations_are_zeroed_and_aligned(void **state) {
  (void)state;
  arena *a = arena_create();
  for (size_t size = 0; size < 300; size++) {
    unsigned char *bytes = arena_alloc(a, size);
    assert_non_null(bytes);
    assert_int_equal((uintptr_t)bytes % 16, 0);
    for (size_t i = 0; i < size; i++)
      assert_int_equal(bytes[i], 0);
    memset(bytes, 0xFF, size);
  }
  arena_destroy(a);
}

static void a_reset_arena_gives_zeroed_memory_again(void **state) {
  (void)state;
  arena *a = arena_create();
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 100; i++) {
      unsigned char *bytes = arena_alloc(a, 1000);
      assert_int_equal(bytes[0], 0);
      assert_int_equal(bytes[999], 0);
      memset(bytes, 0xAA, 1000);
    }
    arena_reset(a);
  }
  arena_reset(a);
  arena_destroy(a);
}

static void a_large_allocation_keeps_the_small_ones(void **state) {
  (void)state;
  arena *a = arena_create();
  char *before = arena_strdup(a, "before");
  char *large = arena_alloc(a, (size_t)8 << 20);
  memset(large, 1, (size_t)8 << 20);
  char *after = arena_strdup(a, "after");
  assert_string_equal(before, "before");
  assert_string_equal(after, "after");
  arena_destroy(a);
}

static void texts_are_copied(void **state) {
  (void)state;
  arena *a = arena_create();
  char source[] = "kernel matmul";
  char *whole = arena_strdup(a, source);
  char *part = arena_strndup(a, source, 6);
  int *numbers = arena_copy(a, (int[]){1, 2, 3}, 3 * sizeof(int));
  memset(source, 'x', sizeof source - 1);
  assert_string_equal(whole, "kernel matmul");
  assert_string_equal(part, "kernel");
  assert_int_equal(numbers[2], 3);
  assert_string_equal(arena_strndup(a, NULL, 0), "");
  assert_string_equal(arena_printf(a, "%s[%d, %d]", "f16", 64, 128), "f16[64, 128]");
  assert_string_equal(arena_printf(a, "%s", ""), "");
  arena_destroy(a);
}

static void pushed_items_survive_growth(void **state) {
  (void)state;
  arena *a = arena_create();
  int *items = NULL, count = 0, capacity = 0;
  for (int i = 0; i < 1000; i++)
    ARENA_PUSH(a, items, count, capacity, i * i);
  assert_int_equal(count, 1000);
  for (int i = 0; i < 1000; i++)
    assert_int_equal(items[i], i * i);
  arena_destroy(a);
}

static void destroying_nothing_is_allowed(void **state) {
  (void)state;
  arena_destroy(NULL);
  arena *a = arena_create();
  arena_reset(a);
  arena_destroy(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(allocations_are_zeroed_and_aligned),
      cmocka_unit_test(a_reset_arena_gives_zeroed_memory_again),
      cmocka_unit_test(a_large_allocation_keeps_the_small_ones),
      cmocka_unit_test(texts_are_copied),
      cmocka_unit_test(pushed_items_survive_growth),
      cmocka_unit_test(destroying_nothing_is_allowed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
