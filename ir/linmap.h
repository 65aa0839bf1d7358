/* Linear maps over GF(2) on bit vectors: the algebra under every layout.
 *
 * A map takes `in_bits` input bits to `out_bits` output bits; col[i] is the image of input bit i, so the image of x is
 * the XOR of the columns of x's set bits. All operations are exact, total, deterministic and free of allocation; the
 * costly ones are an elimination on at most 24 columns (under a microsecond). Columns at and above in_bits are zero, so
 * maps compare by their members. */
#ifndef BITBLASC_IR_LINMAP_H
#define BITBLASC_IR_LINMAP_H

#include <stdbool.h>
#include <stdint.h>

enum { LINMAP_MAX_BITS = 24 }; /* of the input; of the output 32 */

typedef struct linmap {
  uint8_t in_bits;
  uint8_t out_bits;
  uint32_t col[LINMAP_MAX_BITS];
} linmap;

/* in_bits up to LINMAP_MAX_BITS, out_bits up to 32 (BUG beyond, here and wherever a result would be larger). */
linmap linmap_zero(int in_bits, int out_bits);
linmap linmap_identity(int bits);

/* The image of x; bits of x at and above in_bits are ignored. */
static inline uint32_t linmap_apply(const linmap *map, uint32_t x) {
  uint32_t y = 0;
  for (int i = 0; i < map->in_bits; i++)
    if (x >> i & 1) y ^= map->col[i];
  return y;
}

/* x -> outer(inner(x)); inner's out_bits must be outer's in_bits. */
linmap linmap_compose(const linmap *outer, const linmap *inner);

/* False when the map is not square and of full rank; *inverse is then unchanged. */
bool linmap_inverse(const linmap *map, linmap *inverse);

/* The numerically smallest x with map(x) = y; false when y is not in the image. */
bool linmap_solve(const linmap *map, uint32_t y, uint32_t *x);

/* The x with a(x(v)) = b(v) for all v; false when b's image is not in a's. Of several, the one whose every value is the
 * numerically smallest (those are closed under XOR, so that x is linear). */
bool linmap_left_divide(const linmap *a, const linmap *b, linmap *x);

int linmap_rank(const linmap *map);

/* A basis of the inputs that map to 0, fully reduced, by descending highest bit: XORing a vector with the elements
 * whose highest bit it has set gives the smallest vector of the same image. Returns its size, in_bits - rank. */
int linmap_kernel(const linmap *map, uint32_t basis[LINMAP_MAX_BITS]);

/* A basis of the image, fully reduced, by descending highest bit. Returns its size, the rank. */
int linmap_image(const linmap *map, uint32_t basis[LINMAP_MAX_BITS]);

/* Whether y is in the span of a basis that linmap_image made. */
bool linmap_image_contains(const uint32_t *basis, int count, uint32_t y);

/* The two side by side: input and output bits of `high` follow those of `low`. */
linmap linmap_product(const linmap *low, const linmap *high);

/* The columns of `high` after those of `low`, onto the same output bits (out_bits is the larger one). */
linmap linmap_join(const linmap *low, const linmap *high);

/* Input bits [in_first, in_first + in_bits) and, of their images, output bits [out_first, out_first + out_bits). */
linmap linmap_slice(const linmap *map, int in_first, int in_bits, int out_first, int out_bits);

bool linmap_equal(const linmap *a, const linmap *b);

/* The largest n such that the first n input bits map to the same output bits: col[i] = 1 << i for i < n. */
int linmap_identity_prefix(const linmap *map);

/* A run of bits that move together: ((x >> in_shift) & ((1 << width) - 1)) << out_shift. */
typedef struct linmap_term {
  uint8_t in_shift;
  uint8_t width;
  uint8_t out_shift;
} linmap_term;

/* Writes map(x) as an XOR of terms with runs as long as possible, by in_shift then out_shift: r -> ((r >> 2 & 15) << 3)
 * ^ (r & 1). When no two columns share a bit the terms are disjoint and + or | do as well. Stores at most `capacity`
 * terms and returns how many there are. */
int linmap_terms(const linmap *map, linmap_term *terms, int capacity);

/* Whether no output bit depends on two input bits, so that the terms may be joined with + or |. */
bool linmap_terms_disjoint(const linmap *map);

#endif
