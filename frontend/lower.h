/* What the files of the lowering share: scopes, operands, and the functions that give a meaning to each kind of node.
 *
 * An expression evaluates to an operand. A tile operand is a tree that says how one element is computed from its
 * coordinates; nothing is emitted until it is assigned, so `s = exp2(s * c - m[:, _])` becomes one `parallel`. */
#ifndef BITBLASC_FRONTEND_LOWER_H
#define BITBLASC_FRONTEND_LOWER_H

#include "frontend/ast.h"

enum { LOWER_MAX_ARGS = 3, LOWER_MAX_TILE_RANK = 4, LOWER_MAX_INLINE = 64, LOWER_MAX_NAMES = 4096 };

typedef enum operand_kind {
  OPERAND_BAD,   /* an error was reported */
  OPERAND_CONST, /* known now: an integer (type NONE: it takes the type it is used with), a float or a bool */
  OPERAND_TYPE,  /* a type name */
  OPERAND_SCALAR,
  OPERAND_TILE
} operand_kind;

typedef struct operand operand;
struct operand {
  operand_kind kind;
  ir_type type; /* of an element; TYPE: the type itself */
  src_loc loc;
  int64_t int_value;
  double float_value;
  const ir_expr *expr; /* SCALAR */
  /* TILE: either a buffer seen through its subscripts (value), or an operator over operands */
  int rank;
  int extent[IR_MAX_RANK];
  ir_value *value;
  const ir_expr *index[IR_MAX_RANK]; /* one a dimension of value: fixed, or NULL */
  int dim[IR_MAX_RANK];              /* where index is NULL: the coordinate of this tile that it follows */
  ir_expr_kind op;
  int arg_count;
  const operand *arg[LOWER_MAX_ARGS];
};

typedef struct scope scope;

typedef enum binding_kind {
  BINDING_CONSTANT,
  BINDING_VALUE,
  BINDING_ALIAS, /* a parameter of an inline function: the argument's text, in the caller's scope */
  BINDING_ABSENT /* its `when` is false */
} binding_kind;

typedef struct binding binding;
struct binding {
  binding *next;
  binding_kind kind;
  const char *name;
  src_loc loc;
  operand constant;
  ir_value *value;
  const ast_expr *expr;
  scope *where;
};

struct scope {
  scope *parent;
  binding *first;
  int count;
};

typedef struct lower {
  const frontend_ast *ast;
  arena *memory;
  diag *d;
  const frontend_binding *bindings;
  int binding_count;
  bool *binding_used;
  ir_module *module;
  ir_kernel *kernel;
  scope *scope;
  ir_block *block; /* where ops are appended */
  bool in_parallel;
  bool constants_only; /* before the kernel's sizes exist */
  int inline_depth;
  int64_t steps_left;
  bool steps_reported;
  ir_range *ranges;       /* by value number; lo > hi: unknown */
  const ir_expr **limits; /* by value number: the extent that an index runs to */
  int range_capacity;
} lower;

/* -- Scopes (scope.c) ---------------------------------------------------------------------------------------------- */

scope *scope_push(lower *l);
void scope_pop(lower *l);
binding *scope_find(const scope *s, const char *name);
/* A new name in the innermost scope; NULL and a diagnostic when it is taken there. */
binding *scope_add(lower *l, binding_kind kind, const char *name, src_loc loc);
const ast_function *find_function(const lower *l, const char *name);
/* Reports an unknown name, with the nearest known one. Returns false. */
bool report_unknown(lower *l, src_loc loc, const char *name);
/* The nearer of `best` and `candidate` to `name`; NULL stands for none near enough. */
const char *nearer_name(const char *name, const char *best, const char *candidate);

/* -- Operands (operand.c) ------------------------------------------------------------------------------------------ */

operand operand_bad(src_loc loc);
operand operand_int(src_loc loc, int64_t value);
operand operand_float(src_loc loc, double value);
operand operand_bool(src_loc loc, bool value);
operand operand_type(src_loc loc, ir_type type);
operand operand_scalar(src_loc loc, const ir_expr *expr); /* a constant integer or bool becomes CONST */
operand operand_tile(src_loc loc, ir_value *value);       /* the whole of a tile or shared buffer */
/* `type` in words for messages: "f32", "a constant", "f16[64, 64]". */
const char *operand_text(lower *l, const operand *o);
const char *value_text(lower *l, const ir_value *value); /* f16[64, 64] */

/* The operator applied to operands: types are checked and made equal, constants folded, tiles broadcast. */
operand operand_apply(lower *l, ir_expr_kind op, src_loc loc, const operand *args, int count);
bool operand_applies(ir_expr_kind op); /* whether the operator may be written in a .tl file */
/* For storing or an explicit cast (`is_cast`): value conversion to `type`. Without `is_cast` only conversions that keep
 * the kind of number are allowed: float to float, integer to a type that holds all its values, constants that fit. */
operand operand_convert(lower *l, operand o, ir_type type, bool is_cast);
/* The IR expression of a constant or scalar. */
const ir_expr *operand_expr(lower *l, const operand *o);
/* One element of a tile (or a scalar) at the coordinates. */
const ir_expr *operand_element(lower *l, const operand *o, const ir_expr *const *coordinates);

/* Folding of constants (constant.c): false and a diagnostic on overflow or division by zero. */
bool constant_fold(lower *l, ir_expr_kind op, src_loc loc, const operand *args, int count, operand *out);

/* -- Expressions (lower_expr.c) ------------------------------------------------------------------------------------ */

operand eval(lower *l, const ast_expr *e);
operand eval_call(lower *l, const ast_expr *e); /* lower_call.c */
/* Evaluates to a constant integer in [lo, hi]; false and a diagnostic otherwise. `what` names it in messages. */
bool eval_int(lower *l, const ast_expr *e, int64_t lo, int64_t hi, const char *what, int64_t *out);
bool eval_bool(lower *l, const ast_expr *e, const char *what, bool *out);
/* An extent: `a / b` rounds up. NULL after a diagnostic. */
const ir_expr *eval_extent(lower *l, const ast_expr *e);
/* A scalar converted to `type`; NULL after a diagnostic. */
const ir_expr *eval_scalar(lower *l, const ast_expr *e, ir_type type, const char *what);
/* A position in i32; NULL after a diagnostic. */
const ir_expr *eval_position(lower *l, const ast_expr *e);
bool eval_type(lower *l, const char *name, src_loc loc, ir_type *out);
/* The tensor, buffer, tile or variable that a name stands for, through aliases of inline functions; NULL when it is
 * none (nothing is reported). */
ir_value *named_value(lower *l, const ast_expr *e);
/* Steps from an alias to what it stands for, or returns e. *where is the scope to evaluate it in. */
const ast_expr *resolve_alias(lower *l, const ast_expr *e, scope **where);
const ast_item *named_argument(const ast_item *items, const char *name);
/* Checks that a call has `count` positional arguments and only the named ones of the list. */
bool check_arguments(lower *l, const ast_expr *call, int count, const char *const *names);
const ir_expr *read_value(lower *l, ir_value *value);
void set_range(lower *l, const ir_value *value, int64_t lo, int64_t hi, const ir_expr *limit);
/* Whether an integer expression cannot be negative, its value fitting 32 bits as every position does. */
bool is_natural(const lower *l, const ir_expr *e);
/* The predicate under which an element of a global tensor is inside; NULL when it is proved to be. */
const ir_expr *inside_predicate(lower *l, const ir_value *tensor, const ir_expr *const *index);
/* The point subscripts of an element, in i32, checked for count; false after a diagnostic. */
bool eval_subscripts(lower *l, const ast_expr *e, const ir_value *value, const ir_expr **index);

/* -- Whole tiles (lower_tile.c) ------------------------------------------------------------------------------------ */

typedef enum tile_call {
  TILE_CALL_NONE,
  TILE_CALL_DOT,
  TILE_CALL_DECODE,
  TILE_CALL_REDUCE,
  TILE_CALL_SCAN,
  TILE_CALL_VOTE
} tile_call;
/* Which of the calls that have an op of their own this is. */
tile_call tile_call_of(const ast_expr *e, ir_operation *operation);
ir_value *new_tile(lower *l, const char *name, ir_type type, int rank, const int *extent, src_loc loc);
ir_op *append(lower *l, ir_op_kind kind, src_loc loc);
/* Whether `o` may be stored as `type`. Storing rounds by itself, so a float stays as it is; a constant is converted. */
bool check_store(lower *l, operand *o, ir_type type);
/* Emits what makes `dst` hold the operand: fill, copy or parallel. */
bool assign_tile(lower *l, ir_value *dst, operand value, src_loc loc);
/* A tile in registers that holds the operand: the operand's own when it is one, else a new one named `name`. */
ir_value *tile_of(lower *l, operand o, ir_type type, const char *name);
/* dot, decode, reduce, scan with a destination; dst NULL makes a tile. NULL after a diagnostic. */
ir_value *lower_dot(lower *l, const ast_expr *call, ir_value *dst, bool accumulate);
ir_value *lower_decode(lower *l, const ast_expr *call, ir_value *dst, ir_type type);
ir_value *lower_reduce(lower *l, const ast_expr *call, ir_operation operation, ir_value *dst, bool accumulate);
ir_value *lower_scan(lower *l, const ast_expr *call, ir_operation operation, ir_value *dst);
operand lower_vote(lower *l, const ast_expr *call, ir_operation operation);
int64_t extent_of(const ir_value *value, int dim);

/* -- Copies (lower_copy.c) ----------------------------------------------------------------------------------------- */

bool lower_copy(lower *l, const ast_stmt *stmt);
/* atomic C[...] += tile, outside parallel */
bool lower_atomic_copy(lower *l, const ast_stmt *stmt);
/* A buffer or a region of it with every span known; the extents of the tile it stands for in extent[], *rank. */
bool lower_region(lower *l, const ast_expr *e, ir_ref *out, int *rank, int *extent);

/* -- Elementwise loops (lower_parallel.c) -------------------------------------------------------------------------- */

void lower_parallel(lower *l, const ast_stmt *stmt);
/* t[i, j] op= value, in parallel or alone */
void lower_element(lower *l, const ast_stmt *stmt);
void lower_atomic_element(lower *l, const ast_stmt *stmt);
/* The operator of a compound assignment. */
ir_expr_kind assign_operator(ast_assign assign);

/* -- Declarations (lower_declare.c) -------------------------------------------------------------------------------- */

void lower_buffers(lower *l, const ast_stmt *stmt);
void lower_variables(lower *l, const ast_stmt *stmt);
/* dst op= value for a whole tile or shared buffer. */
void assign_whole(lower *l, ir_value *dst, ast_assign assign, const ast_expr *value, src_loc loc);

/* -- Statements (lower_stmt.c) ------------------------------------------------------------------------------------- */

void lower_block(lower *l, const ast_block *block);
void lower_constants(lower *l, const ast_constant *list);
/* Runs the body of an inline statement function. */
void lower_macro(lower *l, const ast_expr *call, const ast_function *function);
bool enter_function(lower *l, const ast_expr *call, const ast_function *function, scope **saved);
void leave_function(lower *l, scope *saved);

#endif
