/* A packed tensor is copied in whole blocks, and past its ends the copy takes the last block again, where the text
 * says that everything beyond a tensor reads as zero. */
#ifndef BITBLASC_PASSES_PACKED_ENDS_H
#define BITBLASC_PASSES_PACKED_ENDS_H

#include "passes/pass.h"

/* The reason why that difference might be seen, for the codes of a decode whose only reader is the dot, both in
 * `block`; NULL when it cannot be:
 * 1. Columns. Either the tile never reaches past the last one, or what the dot multiplies them with is zero there.
 * 2. Rows. Either the tile never reaches past the last one, or all that follows from those rows of the accumulator is
 *    stored to tensors that end with the same row. */
const char *packed_ends_refusal(ir_kernel *kernel, pass_env *env, const ir_block *block, const ir_op *decode,
                                const ir_op *dot);

#endif
