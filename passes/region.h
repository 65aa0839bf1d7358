/* What is known of a region of a global tensor: alignment, contiguity, what the copy engines may do with it. */
#ifndef BITBLASC_PASSES_REGION_H
#define BITBLASC_PASSES_REGION_H

#include "ir/ir.h"

/* Elements between neighbours along dimension `dim` of a global tensor: the given stride, or the product of the inner
 * extents. */
const ir_expr *region_stride(arena *memory, const ir_value *tensor, int dim);

/* The last spanned dimension of the region (the tensor's last dimension for a reference to the whole), or -1. */
int region_inner_dim(const ir_ref *ref);

/* The dimensions that the region has: those of the value that it spans. */
int region_rank(const ir_ref *ref);

/* The dimension of the value that dimension `d` of the region is, its extent, and the element of the value that an
 * element of the region is: as many coordinates as the region has dimensions, as many places as the value has. Whole
 * references are their own region. */
int region_dim(const ir_ref *ref, int d);
int64_t region_extent(const ir_ref *ref, int d);
void region_place(arena *memory, const ir_ref *ref, const ir_expr *const *coord, const ir_expr **at);

/* Whether an index may be below zero, for all that its text, and those of the scalars and loops that it names, say. */
bool region_may_be_negative(const ir_kernel *kernel, const ir_expr *e);

/* The largest power of two, up to 16, of bytes that one access along the innermost dimension may move: every row of
 * the region then starts at a multiple of it, and the tensor's own extent is a multiple too, so that an access is
 * inside or outside as a whole. 0 when the region's innermost dimension is not contiguous or an element is not whole
 * bytes even at the coarsest. */
int region_access_bytes(arena *memory, const ir_ref *ref);

/* The same where sizes that are not known decide: the bytes of an access when `*condition`, a predicate over sizes,
 * holds. 0 when no condition would make accesses wider than region_access_bytes. */
int region_wide_bytes(arena *memory, const ir_ref *ref, const ir_expr **condition);

/* By value number: the tensors that the kernel both reads and writes, in any order. What it reads of them may be what
 * it wrote, so no copy from one may run ahead, and no store to one late. */
bool *region_exchanged(arena *scratch, ir_kernel *kernel);

/* Bytes: a box up to which a copy engine takes as long as for none; what a box in shared memory begins at a multiple of. */
enum { REGION_SMALL_BOX = 4096, REGION_BOX_ALIGNMENT = 128 };

/* NULL when a tensor map can describe the region with boxes of its spans, else the reason in words. */
const char *region_tma_refusal(arena *memory, const ir_ref *ref);

/* Whether a copy of a tile fills a shared buffer in shares: each of `parts` groups of neighbouring warps holds elements of
 * its own share of dimension `axis` of the buffer, and of no other. */
bool region_shares_apart(const ir_op *fill, int axis, int parts);

#endif
