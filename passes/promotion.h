/* Dots that promote sums of the tensor core to f32. */
#ifndef BITBLASC_PASSES_PROMOTION_H
#define BITBLASC_PASSES_PROMOTION_H

#include "passes/pass.h"

/* Plans the promotion of every dot that asks for it (promote): how many columns of sums have registers at once, or why
 * there is nothing to promote. Roles and instructions are chosen already. */
void plan_promotion(ir_kernel *kernel, pass_env *env);

#endif
