/* Linear maps: every operation against enumeration, on random maps from a fixed generator. */
#include "ir/linmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static uint32_t next_random(uint64_t *state) {
  *state = *state * 6364136223846793005U + 1442695040888963407U;
  return (uint32_t)(*state >> 33);
}

static linmap random_map(uint64_t *state, int in_bits, int out_bits) {
  linmap map = linmap_zero(in_bits, out_bits);
  for (int i = 0; i < in_bits; i++)
    map.col[i] = next_random(state) & (((uint32_t)1 << out_bits) - 1);
  return map;
}

static void test_solve_finds_the_smallest(void **state) {
  (void)state;
  uint64_t seed = 1;
  for (int round = 0; round < 300; round++) {
    int in_bits = (int)(next_random(&seed) % 8), out_bits = (int)(next_random(&seed) % 8);
    linmap map = random_map(&seed, in_bits, out_bits);
    int images = 0, zeros = 0;
    for (uint32_t y = 0; y < 1U << out_bits; y++) {
      uint32_t smallest = UINT32_MAX, x = 0;
      for (uint32_t i = 1U << in_bits; i-- > 0;)
        if (linmap_apply(&map, i) == y) smallest = i;
      assert_int_equal(linmap_solve(&map, y, &x), smallest != UINT32_MAX);
      if (smallest == UINT32_MAX) continue;
      assert_int_equal(x, smallest);
      images++;
    }
    for (uint32_t i = 0; i < 1U << in_bits; i++)
      zeros += linmap_apply(&map, i) == 0;
    uint32_t basis[LINMAP_MAX_BITS];
    assert_int_equal(1 << linmap_rank(&map), images);
    assert_int_equal(1 << linmap_kernel(&map, basis), zeros);
    int rank = linmap_image(&map, basis);
    assert_int_equal(1 << rank, images);
    for (uint32_t y = 0; y < 1U << out_bits; y++) {
      uint32_t x;
      assert_int_equal(linmap_image_contains(basis, rank, y), linmap_solve(&map, y, &x));
    }
  }
}

static void test_inverse_and_division(void **state) {
  (void)state;
  uint64_t seed = 2;
  int inverted = 0, divided = 0;
  for (int round = 0; round < 400; round++) {
    int bits = 1 + (int)(next_random(&seed) % 24);
    linmap a = random_map(&seed, bits, bits), inverse, x;
    assert_int_equal(linmap_inverse(&a, &inverse), linmap_rank(&a) == bits);
    if (linmap_rank(&a) == bits) {
      inverted++;
      linmap both = linmap_compose(&a, &inverse), identity = linmap_identity(bits);
      assert_true(linmap_equal(&both, &identity));
      assert_int_equal(linmap_identity_prefix(&both), bits);
    }
    linmap inner = random_map(&seed, (int)(next_random(&seed) % 24), bits);
    linmap b = linmap_compose(&a, &inner);
    assert_true(linmap_left_divide(&a, &b, &x));
    linmap again = linmap_compose(&a, &x);
    assert_true(linmap_equal(&again, &b));
    for (int i = 0; i < 20; i++) {
      uint32_t v = next_random(&seed) & (uint32_t)((1ULL << b.in_bits) - 1), smallest;
      assert_true(linmap_solve(&a, linmap_apply(&b, v), &smallest));
      assert_int_equal(linmap_apply(&x, v), smallest);
    }
    linmap any = random_map(&seed, 3, bits);
    bool fits = true;
    for (int i = 0; i < 3; i++) {
      uint32_t y;
      fits = fits && linmap_solve(&a, any.col[i], &y);
    }
    assert_int_equal(linmap_left_divide(&a, &any, &x), fits);
    divided += fits;
  }
  assert_true(inverted > 50 && divided > 50 && divided < 400);
}

static void test_product_join_slice(void **state) {
  (void)state;
  uint64_t seed = 3;
  for (int round = 0; round < 100; round++) {
    linmap a = random_map(&seed, 5, 7), b = random_map(&seed, 6, 4), c = random_map(&seed, 3, 7);
    linmap product = linmap_product(&a, &b), join = linmap_join(&a, &c), empty = linmap_zero(0, 0);
    for (uint32_t x = 0; x < 1U << 11; x++)
      assert_int_equal(linmap_apply(&product, x), linmap_apply(&a, x & 31) | linmap_apply(&b, x >> 5) << 7);
    for (uint32_t x = 0; x < 1U << 8; x++)
      assert_int_equal(linmap_apply(&join, x), linmap_apply(&a, x & 31) ^ linmap_apply(&c, x >> 5));
    linmap low = linmap_slice(&product, 0, 5, 0, 7), high = linmap_slice(&product, 5, 6, 7, 4);
    assert_true(linmap_equal(&low, &a) && linmap_equal(&high, &b));
    linmap same = linmap_product(&a, &empty);
    assert_true(linmap_equal(&same, &a));
  }
}

static void test_terms(void **state) {
  (void)state;
  uint64_t seed = 4;
  for (int round = 0; round < 200; round++) {
    linmap map = random_map(&seed, 6, 6);
    linmap_term terms[64];
    int count = linmap_terms(&map, terms, 64);
    assert_int_equal(linmap_terms(&map, terms, 0), count);
    for (uint32_t x = 0; x < 64; x++) {
      uint32_t y = 0, sum = 0;
      for (int i = 0; i < count; i++) {
        uint32_t part = (x >> terms[i].in_shift & ((1U << terms[i].width) - 1)) << terms[i].out_shift;
        y ^= part;
        sum += part;
      }
      assert_int_equal(y, linmap_apply(&map, x));
      if (linmap_terms_disjoint(&map)) assert_int_equal(sum, y);
    }
  }
  /* r -> ((r >> 2) << 3) | (r & 1): two runs. */
  linmap map = linmap_zero(5, 6);
  map.col[0] = 1;
  for (int i = 2; i < 5; i++)
    map.col[i] = 2U << i;
  linmap_term terms[4];
  assert_int_equal(linmap_terms(&map, terms, 4), 2);
  assert_true(terms[0].in_shift == 0 && terms[0].width == 1 && terms[0].out_shift == 0);
  assert_true(terms[1].in_shift == 2 && terms[1].width == 3 && terms[1].out_shift == 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_solve_finds_the_smallest),
      cmocka_unit_test(test_inverse_and_division),
      cmocka_unit_test(test_product_join_slice),
      cmocka_unit_test(test_terms),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
