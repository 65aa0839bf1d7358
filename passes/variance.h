/* What of a kernel changes with one grid index: neighbouring tiles have everything else in common. */
#ifndef BITBLASC_PASSES_VARIANCE_H
#define BITBLASC_PASSES_VARIANCE_H

#include "ir/ir.h"

/* varies[value->number]: the scalars and loop variables computed, directly or not, from `index`, those under control
 * that depends on it included. In `scratch`; kernel->value_count entries. */
bool *variance_of(arena *scratch, ir_kernel *kernel, const ir_value *index);

/* Whether the op's own operands (not its bodies) depend on what varies. */
bool op_varies(ir_op *op, const bool *varies);

/* Both for what differs from block to block, once tiles are computed from the block's number. */
bool *variance_by_block(arena *scratch, ir_kernel *kernel);
bool op_varies_by_block(ir_op *op, const bool *varies);

/* Bytes that a tile loads from device memory into shared memory and that do not change with what varies. Counts each
 * copy once. */
int64_t common_load_bytes(ir_block *block, const bool *varies);

/* How the trip counts of loops change along a grid dimension: 1 when later tiles have more work, -1 when they have
 * less, 0 when all have the same or it cannot be told. Judged at sizes of a few thousand, as a causal mask's blocks
 * grow with the row. */
int work_trend(arena *scratch, ir_kernel *kernel, int grid_dim);

#endif
