/* What verify.c (declarations, ops, scopes), verify_expr.c (expressions) and verify_shape.c (shapes of tile ops) share.
 */
#ifndef BITBLASC_IR_VERIFY_H
#define BITBLASC_IR_VERIFY_H

#include "ir/ir.h"

typedef struct verifier {
  const ir_kernel *kernel;
  diag *d;
  bool *defined;   /* by value number: whether it may be read here */
  const ir_op *op; /* being checked; NULL in declarations */
  src_loc loc;     /* of what is being checked */
  int forms;       /* IR_FORMS_ bit of the kernel's form */
} verifier;

/* Reports a broken rule with the text of the op behind it; returns false. */
bool verify_fail(verifier *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

bool verify_expr(verifier *v, const ir_expr *e);
/* An expression of an integer type. `what` names it in messages. */
bool verify_integer(verifier *v, const ir_expr *e, const char *what);
bool verify_predicate(verifier *v, const ir_expr *e, const char *what);
/* Indices that a register array has: words when its elements are under 32 bits. */
int64_t verify_register_count(const ir_value *value);

/* The shape rules of tile ops, once the operands are known to be of the right kinds. */
bool verify_shapes(verifier *v, const ir_op *op);

#endif
