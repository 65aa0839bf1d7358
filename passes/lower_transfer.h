/* Shared by the lowering of copies that threads make themselves: the copy that is under way, as a thread sees it. */
#ifndef BITBLASC_PASSES_LOWER_TRANSFER_H
#define BITBLASC_PASSES_LOWER_TRANSFER_H

#include "passes/lower.h"

enum { TRANSFER_MAX_ELEMENTS = 32 };

typedef struct transfer {
  lower *l;
  const ir_op *op;
  tile_layout layout; /* who moves what; dimensions are those of the tile or buffer */
  int rank;
  int vector;       /* elements an access */
  int accesses;     /* of a group: more than one where it takes several to fill a word of a tile */
  thread_part part; /* of the tile that is stored, in groups */
  const ir_expr *group;
  const ir_expr *first; /* of cp.async: byte offset of the tensor where the thread's first group begins */
} transfer;

/* -- Where (lower_transfer.c) -------------------------------------------------------------------------------------- */

/* Coordinates in `ref`'s value of element `coord` of the moved extents: starts plus coordinates along the spanned
 * dimensions. */
void transfer_place(transfer *t, const ir_ref *ref, const ir_expr *const *coord, const ir_expr **at);
/* What the number of the group and the access add to a coordinate (thread_register_coord, which may be NULL). */
const ir_expr *transfer_register_coord(transfer *t, int d, int access, const ir_expr *group);
/* Of the first element of an access of the group, in the part of the tile that moves. */
void transfer_coords(transfer *t, int access, const ir_expr **coord);
/* Whether the element at these coordinates lies in the part of the tile that moves. */
const ir_expr *transfer_in_part(transfer *t, const ir_expr *const *coord);
/* The predicate of an access to global memory; true for shared memory. */
const ir_expr *transfer_guard(transfer *t, const ir_ref *ref, const ir_expr *const *at);

/* -- One group ----------------------------------------------------------------------------------------------------- */

void transfer_group(transfer *t);                                       /* lower_access.c */
void transfer_begin_async(transfer *t, const ir_ref *from);             /* lower_async.c: ahead of the first group */
void transfer_async(transfer *t, const ir_ref *from, const ir_ref *to); /* cp.async of one */

#endif
