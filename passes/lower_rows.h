/* Shared by the lowering of reductions and scans: combining elements, and tiles in a scratch buffer of shared memory.
 */
#ifndef BITBLASC_PASSES_LOWER_ROWS_H
#define BITBLASC_PASSES_LOWER_ROWS_H

#include "passes/lower.h"

/* Whether the rows of the reduction lie in one warp each, so that it needs no barrier. */
bool thread_reduces_in_warp(const ir_op *op);

/* What elements of the type are combined in: its compute type; predicates are u32 0 or 1. */
ir_type thread_combine_type(ir_type type);
const ir_expr *thread_combine(lower *l, ir_operation operation, const ir_expr *a, const ir_expr *b);
/* The value that changes no other when combined with it. */
const ir_expr *thread_identity(lower *l, ir_operation operation, ir_type type);
/* Element `sub` of a word of a tile's registers, as `type`. */
const ir_expr *thread_element_as(lower *l, ir_type type, ir_value *registers, const ir_expr *word, int sub);

/* into[word] = the element of the buffer at a shared address; both have the same type of 32 bits or more. */
void thread_load_word(lower *l, ir_value *into, const ir_expr *word, ir_value *buffer, const ir_expr *address);
/* The reverse, when the predicate holds; NULL is always. */
void thread_store_word(lower *l, ir_value *buffer, const ir_expr *address, ir_value *from, const ir_expr *word,
                       const ir_expr *predicate);

/* A scratch buffer with the extents of the tile, holding all of it as thread_combine_type; every thread may read it
 * after the call. */
ir_value *thread_to_scratch(lower *l, const ir_value *tile);
/* Coordinates of the element in register `reg` of the tile, in this thread. */
void thread_register_coords(lower *l, const tile_layout *layout, int reg, const ir_expr *coord[LAYOUT_MAX_RANK]);
/* Writes the tile's registers: word w from elements w * per_word ... of `values`, an array of thread_combine_type with
 * an element for each register; combined with the old ones when asked to. */
void thread_from_values(lower *l, const ir_value *tile, ir_value *values, bool accumulate, ir_operation operation);

#endif
