/* Ops of a loop body put elsewhere: what a pass that peels or rotates loops does to its clones. */
#ifndef BITBLASC_PASSES_RENAME_OPS_H
#define BITBLASC_PASSES_RENAME_OPS_H

#include "passes/pass.h"

typedef struct op_renaming {
  ir_kernel *kernel;
  pass_env *env;
  const ir_expr **replace; /* by value number, `count` entries; NULL: the value stays */
  int count;
} op_renaming;

/* Nothing replaced yet; the table is in env->scratch. */
op_renaming rename_begin(ir_kernel *kernel, pass_env *env);

/* Replaces values in the op and its bodies. Lets get values of their own, which later calls with `r` then use too, so
 * that a clone may stand in an enclosing scope or beside its original. */
void rename_op(op_renaming *r, ir_op *op);

#endif
