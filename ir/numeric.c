/* Codes and values of every number type, derived from the widths in types.def. */
#include "ir/numeric.h"

#include <math.h>

/* The NormalFloat values of QLoRA (Dettmers et al. 2023, appendix E), as f32. */
static const float nf4_values[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};
enum { NF4_ZERO = 7, SCALE_BIAS = 127, SCALE_NAN = 255 };

/* Which codes of the largest exponent are not numbers. The OCP formats follow from their width: five exponent bits and
 * more are as IEEE 754 has them; the other 8-bit format gives up infinity and keeps one NaN a sign; narrower formats
 * have only numbers. */
typedef enum specials { SPECIALS_IEEE, SPECIALS_NAN_ONLY, SPECIALS_NONE } specials;

static specials specials_of(const ir_type_info *info) {
  if (info->exponent_bits >= 5) return SPECIALS_IEEE;
  return info->bits == 8 ? SPECIALS_NAN_ONLY : SPECIALS_NONE;
}

static uint64_t low_mask(int bits) { return bits >= 64 ? ~0ull : (1ull << bits) - 1; }

/* The largest finite magnitude code. */
static uint64_t largest_code(const ir_type_info *info) {
  uint64_t all = low_mask(info->exponent_bits + info->mantissa_bits);
  switch (specials_of(info)) {
  case SPECIALS_IEEE:
    return all - (1ull << info->mantissa_bits);
  case SPECIALS_NAN_ONLY:
    return all - 1;
  default:
    return all;
  }
}

/* Bits below the mantissa that are stored but have no meaning (tf32). */
static int padding_bits(const ir_type_info *info) { return info->bits - 1 - info->exponent_bits - info->mantissa_bits; }

static double decode_float(const ir_type_info *info, uint64_t code) {
  code >>= padding_bits(info);
  int mantissa_bits = info->mantissa_bits;
  uint64_t magnitude = code & low_mask(info->exponent_bits + mantissa_bits);
  bool negative = code >> (info->exponent_bits + mantissa_bits) & 1;
  if (magnitude > largest_code(info)) {
    bool infinite = specials_of(info) == SPECIALS_IEEE && magnitude == largest_code(info) + 1;
    if (!infinite) return (double)NAN;
    return negative ? -(double)INFINITY : (double)INFINITY;
  }
  int bias = (1 << (info->exponent_bits - 1)) - 1;
  int exponent = (int)(magnitude >> mantissa_bits);
  uint64_t mantissa = magnitude & low_mask(mantissa_bits);
  if (exponent == 0)
    exponent = 1; /* subnormal: no hidden bit */
  else
    mantissa |= 1ull << mantissa_bits;
  double value = ldexp((double)mantissa, exponent - bias - mantissa_bits);
  return negative ? -value : value;
}

/* Nearest integer, ties to even, whatever the rounding mode of the process; 0 <= x < 2^54. */
static uint64_t round_even(double x) {
  double whole = floor(x), rest = x - whole;
  uint64_t n = (uint64_t)whole;
  if (rest > 0.5 || (rest == 0.5 && (n & 1))) n++;
  return n;
}

static uint64_t encode_float(const ir_type_info *info, double value) {
  int mantissa_bits = info->mantissa_bits;
  uint64_t largest = largest_code(info);
  uint64_t magnitude, sign = signbit(value) ? 1ull << (info->exponent_bits + mantissa_bits) : 0;
  if (isnan(value)) {
    sign = 0;
    magnitude = largest;
    if (specials_of(info) == SPECIALS_IEEE) magnitude = largest + 1 + (1ull << (mantissa_bits - 1));
    if (specials_of(info) == SPECIALS_NAN_ONLY) magnitude = largest + 1;
  } else if (isinf(value)) {
    magnitude = specials_of(info) == SPECIALS_IEEE ? largest + 1 : largest;
  } else {
    int bias = (1 << (info->exponent_bits - 1)) - 1;
    int exponent;
    double absolute = fabs(value);
    frexp(absolute, &exponent); /* absolute = f * 2^exponent, f in [0.5, 1) */
    exponent += bias - 1;
    if (absolute == 0 || exponent < 1) exponent = 1;
    /* Above the top exponent the magnitude is out of range whatever its mantissa: keep the shift below small. */
    if (exponent > (1 << info->exponent_bits)) exponent = 1 << info->exponent_bits;
    double scaled = ldexp(absolute, mantissa_bits + bias - exponent);
    /* A mantissa that rounds up to the next power of two carries into the exponent, which is right. */
    magnitude = scaled >= 0x1p54 ? largest + 1 : ((uint64_t)(exponent - 1) << mantissa_bits) + round_even(scaled);
    if (magnitude > largest) magnitude = specials_of(info) == SPECIALS_IEEE ? largest + 1 : largest;
  }
  return (sign | magnitude) << padding_bits(info);
}

static uint64_t encode_scale(double value) {
  if (isnan(value) || value < 0) return SCALE_NAN;
  if (value == 0) return 0;
  if (isinf(value)) return SCALE_NAN - 1;
  int exponent;
  double fraction = frexp(value, &exponent); /* 2^(exponent - 1) <= value < 2^exponent */
  int code = exponent - 1 + SCALE_BIAS;
  if (fraction > 0.75 || (fraction == 0.75 && (code & 1))) code++;
  return (uint64_t)(code < 0 ? 0 : code >= SCALE_NAN ? SCALE_NAN - 1 : code);
}

static uint64_t encode_table(double value) {
  if (isnan(value)) return NF4_ZERO;
  unsigned best = 0;
  for (unsigned i = 1; i < 16; i++) {
    double closer = fabs(value - (double)nf4_values[i]) - fabs(value - (double)nf4_values[best]);
    if (isinf(value)) closer = value > 0 ? -1 : 1;
    if (closer < 0 || (closer == 0 && i % 2 == 0)) best = i;
  }
  return best;
}

double ir_decode(ir_type type, uint64_t code) {
  const ir_type_info *info = ir_type_of(type);
  code &= low_mask(info->bits);
  switch (info->class) {
  case IR_CLASS_BOOL:
  case IR_CLASS_UINT:
    return (double)code;
  case IR_CLASS_SINT:
    return (double)ir_wrap(type, (int64_t)code);
  case IR_CLASS_FLOAT:
    return decode_float(info, code);
  case IR_CLASS_SCALE:
    return code == SCALE_NAN ? (double)NAN : ldexp(1.0, (int)code - SCALE_BIAS);
  case IR_CLASS_TABLE:
    return (double)nf4_values[code];
  }
  BUG("type %s has no class", info->name);
}

/* An integral value as the integer type, saturated. */
static int64_t saturate(const ir_type_info *info, double value) {
  bool is_signed = info->class == IR_CLASS_SINT;
  int magnitude_bits = info->bits - (is_signed ? 1 : 0);
  if (isnan(value)) return 0;
  if (value >= ldexp(1.0, magnitude_bits)) return (int64_t)low_mask(magnitude_bits);
  if (!is_signed) return value <= 0 ? 0 : (int64_t)(uint64_t)value;
  if (value < -ldexp(1.0, magnitude_bits)) return (int64_t) - (int64_t)low_mask(magnitude_bits) - 1;
  return (int64_t)value;
}

uint64_t ir_encode(ir_type type, double value) {
  const ir_type_info *info = ir_type_of(type);
  switch (info->class) {
  case IR_CLASS_BOOL:
    return value != 0;
  case IR_CLASS_SINT:
  case IR_CLASS_UINT: {
    double absolute = fabs(value);
    /* From 2^52 on every double is an integer. */
    double rounded = absolute < 0x1p52 ? (double)round_even(absolute) : absolute;
    return (uint64_t)saturate(info, value < 0 ? -rounded : rounded) & low_mask(info->bits);
  }
  case IR_CLASS_FLOAT:
    return encode_float(info, value);
  case IR_CLASS_SCALE:
    return encode_scale(value);
  case IR_CLASS_TABLE:
    return encode_table(value);
  }
  BUG("type %s has no class", info->name);
}

double ir_round(ir_type type, double value) { return ir_decode(type, ir_encode(type, value)); }

int64_t ir_truncate(ir_type type, double value) {
  const ir_type_info *info = ir_type_of(type);
  if (info->class == IR_CLASS_BOOL) return value != 0;
  return saturate(info, trunc(value));
}

int64_t ir_wrap(ir_type type, int64_t value) {
  const ir_type_info *info = ir_type_of(type);
  if (info->class == IR_CLASS_BOOL) return value != 0;
  uint64_t code = (uint64_t)value & low_mask(info->bits);
  if (info->class == IR_CLASS_SINT && (code >> (info->bits - 1) & 1)) code |= ~low_mask(info->bits);
  return (int64_t)code;
}

uint64_t ir_get_bits(const void *buffer, size_t index, int bits) {
  const unsigned char *bytes = buffer;
  /* index * bits without overflow: eight elements are `bits` bytes. */
  size_t byte = index / 8 * (size_t)bits + index % 8 * (size_t)bits / 8;
  int shift = (int)(index % 8 * (size_t)bits % 8);
  uint64_t code = 0;
  for (int have = -shift; have < bits; have += 8, byte++)
    code |= have < 0 ? (uint64_t)bytes[byte] >> -have : (uint64_t)bytes[byte] << have;
  return code & low_mask(bits);
}

void ir_put_bits(void *buffer, size_t index, int bits, uint64_t code) {
  unsigned char *bytes = buffer;
  size_t byte = index / 8 * (size_t)bits + index % 8 * (size_t)bits / 8;
  int shift = (int)(index % 8 * (size_t)bits % 8);
  uint64_t mask = low_mask(bits);
  code &= mask;
  for (int have = -shift; have < bits; have += 8, byte++) {
    unsigned kept = (unsigned)(have < 0 ? mask << -have : mask >> have) & 0xff;
    unsigned part = (unsigned)(have < 0 ? code << -have : code >> have) & kept;
    bytes[byte] = (unsigned char)((bytes[byte] & ~kept) | part);
  }
}
