/* What the programs that check Matmul share: types decoded here, not by the library, and how far a result may be off. */
#ifndef BITBLASC_TESTS_NUMBERS_H
#define BITBLASC_TESTS_NUMBERS_H

#include <bitblas.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define T(name) BITBLAS_TYPE_##name

/* -- Types --------------------------------------------------------------------------------------------------------- */

static inline double float_value(unsigned code, int exponent_bits, int mantissa_bits) {
  int bias = (1 << (exponent_bits - 1)) - 1, exponent = (int)(code >> mantissa_bits & ((1u << exponent_bits) - 1));
  double mantissa = code & ((1u << mantissa_bits) - 1), sign = code >> (exponent_bits + mantissa_bits) & 1 ? -1 : 1;
  if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

static inline double value_of(bitblas_type type, uint32_t code) {
  static const double nf4[] = {-1,
                               -0.6961928009986877,
                               -0.5250730514526367,
                               -0.39491748809814453,
                               -0.28444138169288635,
                               -0.18477343022823334,
                               -0.09105003625154495,
                               0,
                               0.07958029955625534,
                               0.16093020141124725,
                               0.24611230194568634,
                               0.33791524171829224,
                               0.44070982933044434,
                               0.5626170039176941,
                               0.7229568362236023,
                               1};
  float single;
  int bits = bitblas_type_bits(type);
  switch (type) {
  case BITBLAS_TYPE_F32:
    memcpy(&single, &code, 4);
    return single;
  case BITBLAS_TYPE_F16:
    return float_value(code, 5, 10);
  case BITBLAS_TYPE_BF16:
    return float_value(code, 8, 7);
  case BITBLAS_TYPE_F8E4M3:
    return float_value(code, 4, 3);
  case BITBLAS_TYPE_F8E5M2:
    return float_value(code, 5, 2);
  case BITBLAS_TYPE_F4E2M1:
    return float_value(code, 2, 1);
  case BITBLAS_TYPE_E8M0:
    return ldexp(1, (int)code - 127);
  case BITBLAS_TYPE_NF4:
    return nf4[code];
  case BITBLAS_TYPE_I1:
    return code ? 1 : -1;
  case BITBLAS_TYPE_I32:
    return (int32_t)code;
  case BITBLAS_TYPE_I8:
  case BITBLAS_TYPE_I4:
  case BITBLAS_TYPE_I2:
    return (double)code - (code >> (bits - 1) & 1 ? ldexp(1, bits) : 0);
  default:
    return code;
  }
}

/* The code of the type's number nearest to x; for floats of 16 bits and more. */
static inline uint32_t code_of(bitblas_type type, double x) {
  float single = (float)x;
  uint32_t bits;
  if (type == BITBLAS_TYPE_F16) {
    uint32_t best = 0;
    double scaled = fabs(x);
    int exponent = 0;
    frexp(scaled, &exponent);
    exponent = exponent < -13 ? -13 : exponent;
    best = (uint32_t)lrint(ldexp(scaled, 11 - exponent));
    return (best >= 2048   ? (uint32_t)(exponent + 15) << 10
            : best >= 1024 ? (uint32_t)(exponent + 14) << 10 | (best & 1023)
                           : best) |
           (x < 0 ? 0x8000u : 0);
  }
  memcpy(&bits, &single, 4);
  if (type == BITBLAS_TYPE_BF16) return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  return bits;
}

/* Twice the unit roundoff. */
static inline double roundoff(bitblas_type type) {
  return type == BITBLAS_TYPE_F16    ? 0x1p-10
         : type == BITBLAS_TYPE_BF16 ? 0x1p-7
         : type == BITBLAS_TYPE_F32  ? 0x1p-23
                                     : 0;
}

static inline bool is_integer(bitblas_type type) {
  return bitblas_type_name(type)[0] == 'i' || bitblas_type_name(type)[0] == 'u';
}

static inline uint32_t get_bits(const uint8_t *from, size_t element, int bits) {
  uint32_t code = 0;
  for (int b = 0; b < bits; b++)
    code |= (uint32_t)(from[(element * (size_t)bits + (size_t)b) / 8] >> (element * (size_t)bits + (size_t)b) % 8 & 1)
            << b;
  return code;
}

static inline void put_bits(uint8_t *to, size_t element, int bits, uint32_t code) {
  for (int b = 0; b < bits; b++)
    to[(element * (size_t)bits + (size_t)b) / 8] |=
        (uint8_t)((code >> b & 1) << (element * (size_t)bits + (size_t)b) % 8);
}

/* -- Error --------------------------------------------------------------------------------------------------------- */

static inline double activate(bitblas_activation activation, double x) {
  switch (activation) {
  case BITBLAS_ACTIVATION_RELU:
    return x > 0 ? x : 0;
  case BITBLAS_ACTIVATION_GELU:
    return 0.5 * x * (1 + erf(x / sqrt(2.0)));
  case BITBLAS_ACTIVATION_SILU:
    return x / (1 + exp(-x));
  default:
    return x;
  }
}

/* Roundings in the decoding of a weight: of nf4's table, of code minus a zero, of the product with a scale. */
static inline double roundings(const bitblas_matmul_config *c) {
  if (is_integer(c->A_dtype) || c->A_dtype == c->W_dtype) return 0;
  bool whole_zero = c->zeros_mode == BITBLAS_ZEROS_QUANTIZED;
  return (c->W_dtype == T(NF4)) + (c->with_zeros && !whole_zero) + c->with_scaling;
}

/* How far an element of C may be from `wanted`: what the roundings of the decoding, of the sum and of C allow. `size` is
 * the sum of the magnitudes of its products. */
static inline double allowed_error(const bitblas_matmul_config *c, int64_t groups, double sum, double size, double bias,
                                   double wanted) {
  if (is_integer(c->out_dtype)) return c->with_scaling ? 0.5 + 0x1p-21 * size : 0;
  double unit = c->A_dtype == T(F16) ? 0x1p-11 : 0x1p-8, slope = c->activation > BITBLAS_ACTIVATION_RELU ? 1.2 : 1;
  double sums = is_integer(c->A_dtype)     ? (c->with_scaling ? (double)(groups + 2) * 0x1p-24 : 0)
                : c->accum_dtype == T(F16) ? (double)c->K * 0x1p-11
                                           : (double)c->K * 0x1p-24;
  /* Of 8-bit floats, tensor cores align 32 products and the sum so far to the largest of them and keep 13 bits behind
   * its point (DeepSeek-V3 technical report, section 3.3.2): at worst 2^-13 of it is lost K times, or 128 times, behind
   * which sums are added in f32. What was measured is a fraction of that. */
  double summed = c->fast_accum || c->K < 128 ? (double)c->K : 128;
  if (bitblas_type_bits(c->A_dtype) == 8 && !is_integer(c->A_dtype)) sums += 0x1p-13 * (2 + summed / 128);
  double allowed = slope * (roundings(c) * unit * size + sums * size + 0x1p-23 * (fabs(sum) + fabs(bias)) +
                            roundoff(c->out_dtype) * fabs(wanted));
  if (c->activation > BITBLAS_ACTIVATION_RELU) allowed += 0x1p-20 * (1 + fabs(wanted));
  return c->out_dtype == T(F16) ? allowed + 0x1p-24 : allowed;
}

#endif
