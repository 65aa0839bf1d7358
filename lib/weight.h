/* A weight while a reader makes it. */
#ifndef BITBLASC_LIB_WEIGHT_H
#define BITBLASC_LIB_WEIGHT_H

#include "lib/status.h"
#include "support/arena.h"
#include "support/str.h"

struct bitblas_weight {
  arena *memory;
  bitblas_weight_info info; /* what is told; its pointers are those below once weight_seal was called */
  str note;
  unsigned char *codes;
  float *scales, *zeros, *codebook;
  int32_t *permutation;
};

bitblas_weight *weight_create(void);
/* Sets the shape and makes room for the codes, zeroed. The caller has checked that the sizes are those of real data:
 * 1 <= group_size, and rows * columns elements fit in memory. */
void weight_shape(bitblas_weight *w, bitblas_type type, int64_t rows, int64_t columns, int64_t group_size);
int64_t weight_groups(const bitblas_weight *w); /* of a row */
float *weight_room(bitblas_weight *w);          /* [rows, groups], for scales or zeros */
/* Ends the making. Zeros that are half the range everywhere become a signed type, which kernels decode for nothing. */
void weight_seal(bitblas_weight *w);

int weight_code_bytes(bitblas_type type); /* of one element of the codes */

/* Eight codes of 4 bits in a word, lowest first, and the same one a byte: most weights are of 4 bits. */
static inline uint64_t weight_spread(uint64_t word) {
  word = (word | word << 16) & 0x0000ffff0000ffff;
  word = (word | word << 8) & 0x00ff00ff00ff00ff;
  return (word | word << 4) & 0x0f0f0f0f0f0f0f0f;
}

static inline uint32_t weight_gather(uint64_t codes) {
  codes = (codes | codes >> 4) & 0x00ff00ff00ff00ff;
  codes = (codes | codes >> 8) & 0x0000ffff0000ffff;
  return (uint32_t)(codes | codes >> 16);
}

#endif
