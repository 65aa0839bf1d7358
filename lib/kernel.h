/* A kernel from inside the library. */
#ifndef BITBLASC_LIB_KERNEL_H
#define BITBLASC_LIB_KERNEL_H

#include "driver/compile.h"
#include "ir/ir.h"
#include "lib/context.h"
#include "runtime/launch.h"

struct bitblas_kernel {
  bitblas_context *context;
  arena *memory; /* all that follows lies in it */
  const record *record;
  const bitblas_type *types;                   /* of its tensors */
  const char *sources[BITBLAS_SOURCE_PTX + 1]; /* NULL: not known */
  ir_kernel *emulated;                         /* thread form, on the emulator */
  launch_kernel *loaded;                       /* on a GPU */
};

/* bitblas_kernel_create at the plan of this rank (driver/choose.h): 0 is the cost model's choice. BITBLAS_ERROR_KERNEL when
 * there are not so many. */
bitblas_status kernel_create(bitblas_context *context, const bitblas_kernel_config *config, int plan,
                             bitblas_kernel **kernel);

/* The plans that the config's kernel may have, in the order of their ranks, into `ranking` (its memory is set before). */
bitblas_status kernel_rank(bitblas_context *context, const bitblas_kernel_config *config, compile_ranking *ranking);

/* The way back from bitblas_kernel_pack; `elements` is zero before. */
void kernel_unpack(const record_tensor *t, int64_t rows, int64_t columns, const void *packed, void *elements);
/* What bitblas_kernel_run checks, and nothing else. */
bitblas_status kernel_check(const bitblas_kernel *kernel, const bitblas_launch *launch);

/* The value of each of the record's sizes, `values` as many. A size that is not among `given` is looked for in the
 * tensors' shapes, when there are any. */
bitblas_status kernel_sizes(const bitblas_kernel *k, const bitblas_size *given, int given_count,
                            const bitblas_tensor *tensors, int64_t *values);

#endif
