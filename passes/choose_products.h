/* Dots whose codes of one bit choose between products (passes/choose_products.c), as the schedule and the
 * lowering ask about them. */
#ifndef BITBLASC_PASSES_CHOOSE_PRODUCTS_H
#define BITBLASC_PASSES_CHOOSE_PRODUCTS_H

#include "ir/ir.h"

/* A word of codes is so deep, for 16 rows, which is four mma of half that depth, of every other k of which a product is
 * taken. */
enum { CHOICE_DEPTH = 64, CHOICE_MMA_DEPTH = 32 };
/* Row blocks that a warp should have: they share what is made of the columns, and their sums do not wait for each other. */
enum { CHOICE_ROW_BLOCKS = 4 };

/* Whether an mma of the dot will be of that kind, where scales multiply its sums. */
bool dot_may_choose(ir_kernel *kernel, const ir_op *dot);

#endif
