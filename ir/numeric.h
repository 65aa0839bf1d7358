/* Numbers as bits: exact conversion between a type's codes and doubles for every row of types.def, and fields of packed
 * buffers.
 *
 * A code holds an element in its low ir_bits(type) bits. Everything here is generic in the widths of types.def. */
#ifndef BITBLASC_IR_NUMERIC_H
#define BITBLASC_IR_NUMERIC_H

#include "ir/ir.h"

#include <stddef.h>
#include <stdint.h>

/* The value of a code; bits above the type's width are ignored. Exact, except for 64-bit integers beyond 2^53. The low
 * bits that tf32 stores but does not have are ignored, as the tensor core ignores them. */
double ir_decode(ir_type type, uint64_t code);

/* The code nearest to the value, ties to even.
 *   f16, bf16, tf32, f32, f64, f8e5m2   overflow to infinity; NaN is the quiet NaN without a sign
 *   f8e4m3                              saturates to +-448; NaN is 0x7f (cvt.rn.satfinite)
 *   narrower floats                     saturate; NaN is the largest value (cvt.rn.satfinite.e2m1x2)
 *   integers                            saturate; NaN is 0. Casts truncate instead: ir_truncate
 *   e8m0                                saturates to 2^-127 and 2^127; NaN and negative values are 255
 *   nf4                                 the nearest of the table; NaN is the code of 0 */
uint64_t ir_encode(ir_type type, double value);

/* The value after storing it in the type: ir_decode(ir_encode(value)). */
double ir_round(ir_type type, double value);

/* A float as an integer type, as a cast does it: towards zero, saturating, NaN is 0. Unsigned 64-bit results are
 * returned as their bits. */
int64_t ir_truncate(ir_type type, double value);

/* An integer reduced to the type's width: sign-extended for SINT, zero-extended for UINT, != 0 for BOOL. */
int64_t ir_wrap(ir_type type, int64_t value);

/* Element `index` of a buffer of packed elements of `bits` bits (1..64), little-end first; elements may straddle bytes.
 */
uint64_t ir_get_bits(const void *buffer, size_t index, int bits);
void ir_put_bits(void *buffer, size_t index, int bits, uint64_t code);

/* Bytes of `count` packed elements, rounded up. */
static inline size_t ir_packed_bytes(size_t count, int bits) {
  return (count / 8) * (size_t)bits + ((count % 8) * (size_t)bits + 7) / 8;
}

#endif
