/* How the body of a parallel op touches tiles: which of its coordinates index which dimension. */
#ifndef BITBLASC_PASSES_PARALLEL_ACCESS_H
#define BITBLASC_PASSES_PARALLEL_ACCESS_H

#include "ir/ir.h"

/* coordinate[d]: the number of the parallel variable that is index d of the tile, or -1 for the constant 0 of an
 * extent-1 dimension. Such a 0 counts as a variable of extent 1 that no other index names, where there is one: it is
 * all the values that the variable has. */
typedef struct parallel_access {
  ir_value *tile;
  bool written;
  int coordinate[IR_MAX_RANK];
  bool regular; /* false: an index is something else, so the tile cannot stay where its elements are */
} parallel_access;

/* The accesses to tiles in the body, nested ops included, in program order; at most `capacity` are stored. */
int parallel_accesses(const ir_op *parallel, parallel_access *accesses, int capacity);

/* Fills `coordinate` for one access with `count` indices; false where it is not regular. */
bool parallel_coordinates(const ir_op *parallel, const ir_value *tile, const ir_expr *const *index, int count,
                          int coordinate[IR_MAX_RANK]);

/* Whether the access covers every coordinate exactly once. */
bool parallel_access_is_full(const ir_op *parallel, const parallel_access *access);

/* The layout of the iteration space from a full access' tile layout, and the layout an access wants of its tile. False
 * when the layout algebra cannot express it. */
bool parallel_iteration_layout(const ir_op *parallel, const parallel_access *full, const tile_layout *tile,
                               tile_layout *iteration);
bool parallel_tile_layout(const ir_op *parallel, const parallel_access *access, const tile_layout *iteration,
                          tile_layout *tile);

#endif
