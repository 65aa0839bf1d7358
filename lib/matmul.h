/* A Matmul from inside the library. */
#ifndef BITBLASC_LIB_MATMUL_H
#define BITBLASC_LIB_MATMUL_H

#include "lib/kernel.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MATMUL_MAX_KERNELS = 32, MATMUL_MAX_DEFINES = 24 };

struct bitblas_matmul {
  bitblas_context *context;
  arena *memory;
  bitblas_matmul_config config; /* every field decided; opt_M is `rows` */
  int64_t group_size;           /* codes that share a scale */
  int64_t groups;               /* of a row */
  bitblas_define defines[MATMUL_MAX_DEFINES];
  int define_count;
  int kernel_count;
  int64_t rows[MATMUL_MAX_KERNELS];                     /* M that each kernel is made for, ascending */
  _Atomic(bitblas_kernel *) kernel[MATMUL_MAX_KERNELS]; /* NULL: not prepared */
  _Atomic(bitblas_kernel *) pack[3];                    /* by form: transform on the device; NULL: not needed yet */
};

/* Which of the types an operand has, as the kernel sees it. */
bitblas_type matmul_kernel_weight(const bitblas_matmul *op); /* i1 is u1 there */
bitblas_type matmul_kernel_scale(const bitblas_matmul *op);  /* f8e4m3 is A_dtype */
bool matmul_is_decoded(const bitblas_matmul_config *config);

/* Fills in what the config leaves open, and refuses what there is not. */
bitblas_status matmul_decide(bitblas_matmul *op, const bitblas_matmul_config *given);
/* The kernel's parameters for the decided config. */
bitblas_status matmul_define(bitblas_matmul *op);
/* Number of the kernel that runs M rows. */
int matmul_kernel_of(const bitblas_matmul *op, int64_t rows);
/* What bitblas_matmul_run checks, and nothing else. */
bitblas_status matmul_check_run(const bitblas_matmul *op, const bitblas_matmul_args *args);
/* Bytes of what bitblas_matmul_transform takes in this form. */
size_t matmul_given_bytes(const bitblas_matmul *op, bitblas_operand which, bitblas_form form);
/* Whether bitblas_matmul_transform_on_device can make the weight out of this form. False also when nothing is prepared and
 * nothing can be. */
bool matmul_has_device_order(bitblas_matmul *op, bitblas_form form);
/* The way back: an operand that was transformed, to row-major elements of the kernel's type. `elements` has the operand's
 * bytes. */
bitblas_status matmul_restore(bitblas_matmul *op, bitblas_operand which, const void *packed, void *elements);
/* "M is 0, not 1 or more", with `what` for M. */
bitblas_status matmul_check_rows(const bitblas_matmul *op, int64_t rows, const char *what);
/* Compiles or finds a kernel at a plan (kernel.h). */
bitblas_status matmul_create_kernel(const bitblas_matmul *op, int index, int plan, bitblas_kernel **kernel);
/* The plans that the kernel may have (kernel.h). */
bitblas_status matmul_rank_plans(const bitblas_matmul *op, int index, compile_ranking *ranking);
/* One transformed weight serves all kernels of an op: BITBLAS_ERROR_INTERNAL where two want it in different orders. */
bitblas_status matmul_check_order(const bitblas_kernel *a, const bitblas_kernel *b);
/* The plan that bitblas_matmul_tune found best on this GPU, from the store; 0 when there is none. */
int matmul_tuned_plan(const bitblas_matmul *op, int index);
/* Any kernel that is prepared; prepares one when there is none. */
bitblas_status matmul_any_kernel(bitblas_matmul *op, const bitblas_kernel **kernel);

#endif
