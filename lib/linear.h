/* A Linear from inside the library. */
#ifndef BITBLASC_LIB_LINEAR_H
#define BITBLASC_LIB_LINEAR_H

#include "lib/matmul.h"

struct bitblas_linear {
  bitblas_context *context;
  bitblas_matmul *matmul;
  bitblas_kernel *gather; /* of a permuted weight; NULL: in order */
  bool loaded;
  void *weight, *scales, *zeros, *bias, *permutation; /* on the device; NULL: none */
};

/* Frees what is loaded; a load begins with it. */
void linear_unload(bitblas_linear *linear);
/* What bitblas_linear_load_values takes, and the input of each column (in_features of them), or NULL. Into a linear that
 * nothing is loaded into. */
bitblas_status linear_load(bitblas_linear *linear, const bitblas_linear_values *values, const int32_t *permutation);
/* Bytes of the config's bias; 0: it has none. */
size_t linear_bias_bytes(const bitblas_linear *linear);

#endif
