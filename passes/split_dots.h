/* Dots whose k several warps share (passes/split_dots.c), as the schedule asks about them. */
#ifndef BITBLASC_PASSES_SPLIT_DOTS_H
#define BITBLASC_PASSES_SPLIT_DOTS_H

#include "passes/pass.h"

/* The most parts, a power of two up to `most`, that the k of an mma dot can be cut into: 1 when it cannot be. */
int split_dots_parts(ir_kernel *kernel, const ir_op *dot, int most);

#endif
