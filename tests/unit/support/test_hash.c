/* Hashes: the digits are XXH3's published values, so cache keys agree between hosts and versions. */
#include "support/hash.h"
#include "tests/unit/unit.h"

static void check_hash(const void *data, size_t size, const char *expected) {
  char text[HASH128_TEXT_BYTES];
  assert_string_equal(hash128_text(hash128_bytes(data, size), text), expected);
}

static void known_values(void **state) {
  (void)state;
  check_hash("", 0, "99aa06d3014798d86001c324468d497f");
  check_hash(NULL, 0, "99aa06d3014798d86001c324468d497f");
  check_hash("abc", 3, "06b05ab6733a618578af5f94892f3950");
}

static void every_byte_counts(void **state) {
  (void)state;
  unsigned char data[1000] = {0};
  hash128 zero = hash128_bytes(data, sizeof data);
  for (size_t i = 0; i < sizeof data; i++) {
    data[i] = 1;
    hash128 other = hash128_bytes(data, sizeof data);
    assert_true(other.high != zero.high || other.low != zero.low);
    data[i] = 0;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_values),
      cmocka_unit_test(every_byte_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
