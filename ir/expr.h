/* What expr.c, fold.c, print.c and parse.c share about expressions; passes use the builders of ir.h. */
#ifndef BITBLASC_IR_EXPR_H
#define BITBLASC_IR_EXPR_H

#include "ir/ir.h"

/* A node as it is given, copied into the arena with its arguments, nothing folded: what the parser builds. */
const ir_expr *ir_expr_raw(arena *memory, const ir_expr *node);

/* A simpler expression of the same value, or NULL when no rule applies. `node` may be on the caller's stack, its
 * arguments are in the arena and folded. */
const ir_expr *ir_expr_fold(arena *memory, const ir_expr *node);

/* A literal of any float type; the value is rounded to the type. */
const ir_expr *ir_float_of(arena *memory, ir_type type, double value);

/* The result type of an operator over its arguments (ARG, PRED and fixed types). `lane_type` is that of TYPED ones. */
ir_type ir_result_type(ir_expr_kind kind, ir_type lane_type, int count, const ir_expr *const *args);

/* Binding strength of an infix operator as in C, larger binds tighter; 0 for the others. Used by printer and parser. */
int ir_precedence(ir_expr_kind kind);

#endif
