/* Numbers: every code of the 8- and 16-bit types round-trips, rounding is to nearest even, saturation is where it is promised. */
#include "ir/numeric.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_round_trip(void **state) {
  (void)state;
  for (int t = IR_TYPE_NONE + 1; t < IR_TYPE_COUNT; t++) {
    ir_type type = (ir_type)t;
    if (ir_bits(type) > 16) continue;
    for (uint64_t code = 0; code < 1ull << ir_bits(type); code++) {
      double value = ir_decode(type, code);
      if (isnan(value))
        assert_true(isnan(ir_decode(type, ir_encode(type, value))));
      else if (ir_encode(type, value) != code)
        fail_msg("%s code %llu is %g, encoded %llu", ir_type_of(type)->name, (unsigned long long)code, value,
                 (unsigned long long)ir_encode(type, value));
    }
  }
}

/* A value between two neighbours goes to the nearer; half way to the even code. */
static void test_nearest(void **state) {
  (void)state;
  for (int t = IR_TYPE_NONE + 1; t < IR_TYPE_COUNT; t++) {
    ir_type type = (ir_type)t;
    if (ir_bits(type) > 16 || ir_type_of(type)->class != IR_CLASS_FLOAT) continue;
    uint64_t sign = 1ull << (ir_bits(type) - 1);
    for (uint64_t code = 0; code + 1 < sign; code++) {
      double low = ir_decode(type, code), high = ir_decode(type, code + 1), middle = (low + high) / 2;
      if (!isfinite(low) || !isfinite(high)) continue;
      assert_int_equal(ir_encode(type, middle), code + (code & 1));
      assert_int_equal(ir_encode(type, nextafter(middle, 0)), code);
      assert_int_equal(ir_encode(type, nextafter(middle, INFINITY)), code + 1);
      assert_int_equal(ir_encode(type, -middle), sign | (code + (code & 1)));
    }
  }
}

static float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint32_t to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* The hardware's own f32 is the reference for f32 and f64. */
static void test_wide(void **state) {
  (void)state;
  uint32_t random = 1;
  for (int i = 0; i < 200000; i++) {
    random = random * 1664525u + 1013904223u;
    float value = from_bits(random);
    if (isnan(value)) continue;
    assert_int_equal(ir_encode(IR_F32, (double)value), random);
    assert_true(ir_decode(IR_F32, random) == (double)value);
    double wide = (double)value * 1.000000119 + 1e-41;
    assert_int_equal(ir_encode(IR_F32, wide), to_bits((float)wide));
    uint64_t bits;
    memcpy(&bits, &wide, sizeof bits);
    assert_int_equal(ir_encode(IR_F64, wide), bits);
  }
  assert_int_equal(ir_encode(IR_F32, 1e300), 0x7f800000);
  assert_int_equal(ir_encode(IR_F64, 5e-324), 1);
  assert_int_equal(ir_encode(IR_TF32, 1.0), 0x3f800000);
  assert_int_equal(ir_encode(IR_TF32, 1.0 + 0x1p-11), 0x3f800000); /* a tie, to even */
  assert_int_equal(ir_encode(IR_TF32, 1.0 + 0x3p-11), 0x3f804000);
  assert_true(ir_decode(IR_TF32, 0x3f801fff) == 1.0);
}

static void test_limits(void **state) {
  (void)state;
  assert_int_equal(ir_encode(IR_F8E4M3, 1e9), 0x7e);
  assert_int_equal(ir_encode(IR_F8E4M3, -INFINITY), 0xfe);
  assert_int_equal(ir_encode(IR_F8E4M3, NAN), 0x7f);
  assert_true(ir_decode(IR_F8E4M3, 0x7e) == 448.0);
  assert_int_equal(ir_encode(IR_F8E5M2, 57344.0), 0x7b);
  assert_int_equal(ir_encode(IR_F8E5M2, 61440.0), 0x7c);
  assert_int_equal(ir_encode(IR_F16, 65519.9), 0x7bff);
  assert_int_equal(ir_encode(IR_F16, 65520.0), 0x7c00);
  assert_int_equal(ir_encode(IR_F16, NAN), 0x7e00);
  assert_int_equal(ir_encode(IR_F4E2M1, 100.0), 7);
  assert_int_equal(ir_encode(IR_F4E2M1, -100.0), 15);
  assert_true(ir_decode(IR_F4E2M1, 7) == 6.0);
  assert_true(ir_decode(IR_F6E3M2, 31) == 28.0);
  assert_true(ir_decode(IR_F6E2M3, 31) == 7.5);
  assert_int_equal(ir_encode(IR_I4, 100.0), 7);
  assert_int_equal(ir_encode(IR_I4, -100.0), 8);
  assert_int_equal(ir_encode(IR_U4, -1.0), 0);
  assert_int_equal(ir_encode(IR_I8, 2.5), 2);
  assert_int_equal(ir_encode(IR_I8, -3.5), 0xfc);
  assert_int_equal(ir_encode(IR_I32, 1e10), INT32_MAX);
  assert_true(ir_encode(IR_U64, 1e20) == UINT64_MAX);
  assert_true(ir_encode(IR_I64, -1e20) == (uint64_t)INT64_MIN);
  assert_int_equal(ir_encode(IR_E8M0, 1.0), 127);
  assert_int_equal(ir_encode(IR_E8M0, 1.49), 127);
  assert_int_equal(ir_encode(IR_E8M0, 1.5), 128);
  assert_int_equal(ir_encode(IR_E8M0, 3.0), 128);
  assert_int_equal(ir_encode(IR_E8M0, 1e300), 254);
  assert_int_equal(ir_encode(IR_E8M0, -1.0), 255);
  assert_int_equal(ir_encode(IR_NF4, 9.0), 15);
  assert_int_equal(ir_encode(IR_NF4, -INFINITY), 0);
  assert_int_equal(ir_truncate(IR_I32, -2.9), -2);
  assert_int_equal(ir_truncate(IR_U8, 300.0), 255);
  assert_int_equal(ir_truncate(IR_I32, NAN), 0);
  assert_int_equal(ir_wrap(IR_I4, 15), -1);
  assert_int_equal(ir_wrap(IR_U4, -1), 15);
  assert_true(ir_round(IR_BF16, 1.0 + 0x1p-8) == 1.0);
}

static void test_bits(void **state) {
  (void)state;
  enum { COUNT = 64 };
  for (int bits = 1; bits <= 64; bits++) {
    unsigned char buffer[COUNT * 8 + 1];
    uint64_t expected[COUNT], random = 88172645463325252u;
    memset(buffer, 0xa5, sizeof buffer);
    size_t bytes = ir_packed_bytes(COUNT, bits);
    assert_int_equal(bytes, COUNT * bits / 8);
    for (int round = 0; round < 2; round++)
      for (size_t i = 0; i < COUNT; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        expected[i] = bits == 64 ? random : random & ((1ull << bits) - 1);
        ir_put_bits(buffer, i, bits, random);
      }
    for (size_t i = 0; i < COUNT; i++)
      assert_true(ir_get_bits(buffer, i, bits) == expected[i]);
    assert_int_equal(buffer[bytes], 0xa5);
  }
  const unsigned char nibbles[] = {0x21, 0x43};
  assert_int_equal(ir_get_bits(nibbles, 0, 4), 1);
  assert_int_equal(ir_get_bits(nibbles, 3, 4), 4);
  assert_int_equal(ir_get_bits(nibbles, 2, 3), 4); /* bits 6 .. 8 */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip), cmocka_unit_test(test_nearest), cmocka_unit_test(test_wide),
      cmocka_unit_test(test_limits),     cmocka_unit_test(test_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
