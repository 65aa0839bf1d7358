/* Which dots the tensor cores can do, and how (HOPPER.md 3.1, 3.8; PTX ISA, wgmma.mma_async and mma). */
#ifndef BITBLASC_PASSES_TENSOR_CORE_H
#define BITBLASC_PASSES_TENSOR_CORE_H

#include "ir/ir.h"

/* The dot as the hardware would see it: rows come from the operand that may be in registers. With `swap` that is the
 * transposed b. */
typedef struct dot_shape {
  int m, n, k;           /* of the whole tile, after the swap */
  ir_value *accumulator; /* [n, m] in memory order when swapped; [parts, ...] when warps share k */
  int parts;
  const ir_ref *rows;    /* the m x k operand */
  const ir_ref *columns; /* the k x n operand */
  const ir_ref *scale;   /* m x k / group: multiplies the sums of a group of rows; NULL: none */
  int group;
  bool rows_k_major; /* k is contiguous in its buffer */
  bool columns_k_major;
  bool swapped;
} dot_shape;
dot_shape dot_shape_of(const ir_op *dot);

/* NULL when every instruction of the kind can do it, else the reason in words. */
const char *wgmma_refusal(const ir_kernel *kernel, const ir_op *dot);
const char *mma_refusal(const ir_kernel *kernel, const ir_op *dot);

/* Depth of one instruction: 32 bytes of the operand type (mma of tf32: 8 elements). */
int tensor_core_depth(ir_type operand);
/* The widest legal n of one wgmma that divides `columns` (at most 256), 0 when there is none. */
int wgmma_columns(int columns, ir_type operand);

#endif
