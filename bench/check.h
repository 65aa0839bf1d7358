/* Elements of a result against sums of doubles over the numbers that the tensors were filled with. */
#ifndef BITBLASC_BENCH_CHECK_H
#define BITBLASC_BENCH_CHECK_H

#include "bench/ours.h"

/* A matrix whose elements are known on the host. */
typedef struct known_matrix {
  const data *d;
  bitblas_type type;
  size_t first;
  long columns;
  data_gain gain; /* of its rows, where check_attention reads them */
  /* of a decoded weight; without scales NULL */
  const uint32_t *scale_codes, *zero_codes;
  bitblas_type scale_type, zero_type;
  long group, groups; /* codes that share a scale, and groups of a row */
  bitblas_zeros_mode zeros_mode;
} known_matrix;

double known_value(const known_matrix *m, long row, long column);

/* A product C[m, n] = A[m, k] * W[n, k]^T, what follows it, and how its roundings may show. */
typedef struct known_product {
  known_matrix a, w;
  const known_matrix *up;              /* C = silu(A * W^T) * (A * up^T); NULL: no such thing */
  const known_matrix *bias, *residual; /* C = gelu(A * W^T + bias) + residual; NULL: no such thing */
  long m, n, k;
  long in_core; /* of 8-bit floats: k that the tensor core sums by itself; 0: all */
  bitblas_type out;
  double roundings; /* of a decoded weight, in units of A's type */
} known_product;

/* Compares some elements of the result on the device, within the bound of docs/library.md, "Rounding". */
bool check_product(const machine *m, const known_product *p, const void *c, complaint *problem);

/* Rows of attention: tensors [batch, heads, length, dim] of one type, filled from q, k and v. */
bool check_attention(const machine *m, const bench_case *c, const known_matrix *q, const known_matrix *k,
                     const known_matrix *v, const void *o, complaint *problem);

/* Rows of rmsnorm (`weight` not NULL) or softmax over x. */
bool check_rows(const machine *m, const bench_case *c, const known_matrix *x, const known_matrix *weight, const void *y,
                complaint *problem);

/* Element i of a result on the device. */
bool read_element(const machine *m, bitblas_type type, const void *from, size_t i, double *value, complaint *problem);

#endif
