/* Integer expressions over a kernel's run-time sizes: grids, extents, strides, workspace bytes, launch conditions.
 *
 *   ceildiv(M, 128)*N        (K/2 + 1)*min(N, 8)        N % 8 == 0 && K >= 64
 *
 * They travel in the launch record as text, are evaluated at every launch, and are printed as C by the launcher. A tree
 * in an arena; immutable once made, so subtrees may be shared. */
#ifndef BITBLASC_CODEGEN_SIZE_EXPR_H
#define BITBLASC_CODEGEN_SIZE_EXPR_H

#include "support/arena.h"
#include "support/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum size_op {
  SIZE_OP_CONST, /* value */
  SIZE_OP_NAME,  /* the size number `value` */
#define SIZE_OP(op, text, style, precedence, meaning) SIZE_OP_##op,
#include "codegen/size_ops.def"
#undef SIZE_OP
  SIZE_OP_COUNT
} size_op;

typedef struct size_expr size_expr;
struct size_expr {
  size_op op;
  int64_t value;         /* of SIZE_OP_CONST and SIZE_OP_NAME */
  const size_expr *left; /* of the others */
  const size_expr *right;
};

/* The names that SIZE_OP_NAME counts through: a record's sizes, in order. */
typedef struct size_names {
  const char *const *names;
  int count;
} size_names;

enum { SIZE_EXPR_DEPTH_MAX = 64 }; /* of a parsed text, so that hostile input cannot exhaust the stack */

const size_expr *size_const(arena *a, int64_t value);
const size_expr *size_name(arena *a, int index);
/* `left op right`, folded when both are constants and nothing overflows; x*1, x+0, x/1 and ceildiv(x, 1) give x. */
const size_expr *size_binary(arena *a, size_op op, const size_expr *left, const size_expr *right);

bool size_is_const(const size_expr *e, int64_t *value); /* value may be NULL */
bool size_equal(const size_expr *a, const size_expr *b);

/* False, with *error a static text, on overflow, division by zero or a size index out of range. */
bool size_evaluate(const size_expr *e, const int64_t *sizes, int size_count, int64_t *result, const char **error);

/* Appends the infix text, with only the parentheses it needs: size_parse gives back an equal tree. */
void size_print(const size_expr *e, size_names names, str *out);
/* Appends a C99 expression of type int64_t. Size i is `prefix` and its name; each operation is a call of bitblasc_add,
 * bitblasc_mul, ... (the helpers that emit_host writes), so nothing in it can overflow. */
void size_print_c(const size_expr *e, size_names names, const char *prefix, str *out);
/* NULL, with *error set (in the arena or static), when the text is not an expression over these names. */
const size_expr *size_parse(arena *a, const char *text, size_names names, const char **error);

#endif
