/* The meaning of expressions. */
#include "frontend/lower.h"

#include <math.h>
#include <string.h>

/* -- Names --------------------------------------------------------------------------------------------------------- */

const ir_expr *read_value(lower *l, ir_value *value) {
  if (value->space == IR_SIZE && value->bound >= 0) return ir_int(l->memory, value->bound);
  return ir_read(l->memory, value);
}

void set_range(lower *l, const ir_value *value, int64_t lo, int64_t hi, const ir_expr *limit) {
  if (value->number >= l->range_capacity) {
    int capacity = 2 * value->number + 16;
    size_t old = (size_t)l->range_capacity;
    l->ranges = arena_grow(l->memory, l->ranges, old * sizeof *l->ranges, (size_t)capacity * sizeof *l->ranges);
    l->limits = arena_grow(l->memory, l->limits, old * sizeof *l->limits, (size_t)capacity * sizeof *l->limits);
    for (int i = l->range_capacity; i < capacity; i++) {
      l->ranges[i] = (ir_range){.lo = 1, .hi = 0};
      l->limits[i] = NULL;
    }
    l->range_capacity = capacity;
  }
  l->ranges[value->number] = (ir_range){.lo = lo, .hi = hi};
  l->limits[value->number] = limit;
}

/* Counts work, so that a few lines of nested inline functions cannot run for hours. */
static bool step(lower *l, src_loc loc) {
  if (--l->steps_left >= 0) return true;
  if (!l->steps_reported)
    diag_error(l->d, DIAG_TOO_LARGE, loc, "this program is too large once its inline functions are expanded");
  l->steps_reported = true;
  return false;
}

/* Whether the expression is made of constants only, so that evaluating it twice does no harm. */
static bool is_plain_constant(const scope *s, const ast_expr *e) {
  if (!e) return true;
  if (e->kind == AST_CALL || e->kind == AST_INDEX || e->kind == AST_TRANSPOSE || e->kind == AST_BAD) return false;
  if (e->kind == AST_NAME) {
    const binding *b = scope_find(s, e->name);
    return b ? b->kind == BINDING_CONSTANT : ir_type_by_name(e->name, strlen(e->name)) != IR_TYPE_NONE;
  }
  return is_plain_constant(s, e->left) && is_plain_constant(s, e->right) && is_plain_constant(s, e->condition);
}

const ast_expr *resolve_alias(lower *l, const ast_expr *e, scope **where) {
  scope *s = *where ? *where : l->scope, *saved = l->scope;
  for (;;) {
    if (e->kind == AST_SELECT && is_plain_constant(s, e->condition)) {
      bool chosen = false;
      l->scope = s;
      bool known = eval_bool(l, e->condition, "the condition", &chosen);
      l->scope = saved;
      if (!known) break;
      e = chosen ? e->left : e->right;
      continue;
    }
    const binding *b = e->kind == AST_NAME ? scope_find(s, e->name) : NULL;
    if (!b || b->kind != BINDING_ALIAS) break;
    e = b->expr;
    s = b->where;
  }
  *where = s;
  return e;
}

ir_value *named_value(lower *l, const ast_expr *e) {
  scope *where = NULL;
  e = resolve_alias(l, e, &where);
  if (e->kind != AST_NAME) return NULL;
  const binding *b = scope_find(where, e->name);
  return b && b->kind == BINDING_VALUE ? b->value : NULL;
}

static operand read_binding(lower *l, const ast_expr *e, const binding *b) {
  switch (b->kind) {
  case BINDING_CONSTANT: {
    operand o = b->constant;
    o.loc = e->loc;
    return o;
  }
  case BINDING_ABSENT:
    diag_error(l->d, DIAG_ABSENT, e->loc, "'%s' does not exist here: its 'when' is false", e->name);
    diag_note(l->d, b->loc, "'%s' is declared here; use it under an if on the same condition", e->name);
    return operand_bad(e->loc);
  case BINDING_ALIAS: {
    scope *saved = l->scope;
    l->scope = b->where;
    operand o = operand_bad(e->loc);
    if (l->inline_depth < LOWER_MAX_INLINE) {
      l->inline_depth++;
      o = eval(l, b->expr);
      l->inline_depth--;
    } else {
      diag_error(l->d, DIAG_TOO_DEEP, e->loc, "inline functions call each other more than %d deep", LOWER_MAX_INLINE);
    }
    l->scope = saved;
    return o;
  }
  default:
    break;
  }
  ir_value *value = b->value;
  switch (value->space) {
  case IR_SIZE:
  case IR_INDEX:
  case IR_SCALAR:
    return operand_scalar(e->loc, read_value(l, value));
  case IR_TILE:
  case IR_SHARED:
    if (!l->in_parallel) return operand_tile(e->loc, value);
    diag_error(l->d, DIAG_WHOLE_TILE, e->loc, "inside parallel '%s' needs its subscripts, as in %s[i%s]", e->name,
               e->name, value->rank > 1 ? ", j" : "");
    break;
  default:
    diag_error(l->d, DIAG_WHOLE_TENSOR, e->loc,
               "'%s' is a tensor in device memory; copy a part of it to a tile, or read an element", e->name);
    break;
  }
  diag_note(l->d, value->loc, "'%s' is declared here", e->name);
  return operand_bad(e->loc);
}

static operand eval_name(lower *l, const ast_expr *e) {
  const binding *b = scope_find(l->scope, e->name);
  if (b) return read_binding(l, e, b);
  ir_type type = ir_type_by_name(e->name, strlen(e->name));
  if (type != IR_TYPE_NONE) return operand_type(e->loc, type);
  if (strcmp(e->name, "inf") == 0) return operand_float(e->loc, INFINITY);
  if (strcmp(e->name, "nan") == 0) return operand_float(e->loc, NAN);
  report_unknown(l, e->loc, e->name);
  if (l->constants_only && l->kernel->value_count == 0)
    diag_note(l->d, e->loc, "a const, param or tune is known before the run-time sizes; use let in the body for those");
  return operand_bad(e->loc);
}

bool eval_type(lower *l, const char *name, src_loc loc, ir_type *out) {
  const binding *b = scope_find(l->scope, name);
  *out = ir_type_by_name(name, strlen(name));
  if (b && b->kind == BINDING_CONSTANT && b->constant.kind == OPERAND_TYPE) *out = b->constant.type;
  if (*out != IR_TYPE_NONE) return true;
  if (b && b->kind == BINDING_CONSTANT && b->constant.kind == OPERAND_BAD) return false;
  if (b) {
    diag_error(l->d, DIAG_UNKNOWN_TYPE, loc, "'%s' is not a type", name);
    return diag_note(l->d, b->loc, "'%s' is declared here", name);
  }
  const char *best = NULL;
  for (int type = IR_TYPE_NONE + 1; type < IR_TYPE_COUNT; type++)
    best = nearer_name(name, best, ir_type_of((ir_type)type)->name);
  return diag_error(l->d, DIAG_UNKNOWN_TYPE, loc, "there is no type '%s'%s%s%s", name, best ? "; did you mean '" : "",
                    best ? best : "", best ? "'?" : "");
}

/* -- Subscripts ---------------------------------------------------------------------------------------------------- */

const ir_expr *eval_position(lower *l, const ast_expr *e) {
  operand o = eval(l, e);
  if (o.kind == OPERAND_BAD) return NULL;
  bool integer = o.kind == OPERAND_CONST ? o.type == IR_TYPE_NONE : o.kind == OPERAND_SCALAR && ir_is_integer(o.type);
  if (!integer) {
    diag_error(l->d, DIAG_TYPE, e->loc, "a position is an integer, not %s", operand_text(l, &o));
    return NULL;
  }
  o = operand_convert(l, o, IR_I32, true);
  return o.kind == OPERAND_BAD ? NULL : operand_expr(l, &o);
}

static bool report_subscript_count(lower *l, const ast_expr *e, const ir_value *value) {
  diag_error(l->d, DIAG_RANK, e->loc, "'%s' takes %d subscript%s, not %d", value->name, value->rank,
             value->rank == 1 ? "" : "s", ast_item_count(e->items));
  return diag_note(l->d, value->loc, "'%s' is declared here as %s", value->name, value_text(l, value));
}

/* A constant position must be inside a constant extent. */
static bool check_position(lower *l, const ast_item *item, const ir_value *value, int dim, const ir_expr *position) {
  int64_t at = 0, extent = 0;
  if (value->space == IR_GLOBAL || !ir_is_constant(position, &at) || !ir_is_constant(value->extent[dim], &extent))
    return true;
  if (at >= 0 && at < extent) return true;
  diag_error(l->d, DIAG_OUTSIDE, item->loc, "position %lld is outside '%s', whose extent here is %lld", (long long)at,
             value->name, (long long)extent);
  return diag_note(l->d, value->loc, "'%s' is declared here as %s", value->name, value_text(l, value));
}

bool eval_subscripts(lower *l, const ast_expr *e, const ir_value *value, const ir_expr **index) {
  if (ast_item_count(e->items) != value->rank) return report_subscript_count(l, e, value);
  int dim = 0;
  for (const ast_item *item = e->items; item; item = item->next, dim++) {
    if (item->kind != AST_ITEM_VALUE)
      return diag_error(l->d, DIAG_REGION, item->loc, "one element is meant here, so every subscript is a position");
    index[dim] = eval_position(l, item->value);
    if (!index[dim] || !check_position(l, item, value, dim, index[dim])) return false;
  }
  return true;
}

bool is_natural(const lower *l, const ir_expr *e) {
  int64_t constant = 0;
  if (ir_is_constant(e, &constant)) return constant >= 0;
  bool left = e->arg_count > 0 && is_natural(l, e->args[0]), right = e->arg_count > 1 && is_natural(l, e->args[1]);
  switch (e->kind) {
  case IR_EXPR_VALUE:
    return e->value->number < l->range_capacity && l->ranges[e->value->number].lo >= 0 &&
           l->ranges[e->value->number].lo <= l->ranges[e->value->number].hi;
  case IR_EXPR_ADD:
  case IR_EXPR_MUL:
  case IR_EXPR_DIV:
  case IR_EXPR_CEILDIV:
  case IR_EXPR_MIN:
    return left && right;
  case IR_EXPR_MAX:
  case IR_EXPR_AND:
    return left || right;
  case IR_EXPR_MOD:
    return right;
  case IR_EXPR_SHR:
    return left;
  default:
    return false;
  }
}

const ir_expr *inside_predicate(lower *l, const ir_value *tensor, const ir_expr *const *index) {
  const ir_expr *inside = NULL;
  for (int i = 0; i < tensor->rank; i++) {
    ir_range range = {0};
    int64_t extent = 0;
    const ir_expr *parts[2] = {NULL, NULL};
    bool known = ir_expr_range(index[i], l->ranges, l->range_capacity, &range);
    if (!is_natural(l, index[i]) && (!known || range.lo < 0))
      parts[0] = ir_binary(l->memory, IR_EXPR_GE, index[i], ir_int(l->memory, 0));
    bool below = known && ir_is_constant(tensor->extent[i], &extent) && range.hi < extent;
    if (index[i]->kind == IR_EXPR_VALUE && index[i]->value->number < l->range_capacity) {
      const ir_expr *limit = l->limits[index[i]->value->number];
      below = below || (limit && ir_expr_equal(limit, tensor->extent[i]));
    }
    if (!below) parts[1] = ir_binary(l->memory, IR_EXPR_LT, index[i], tensor->extent[i]);
    for (int j = 0; j < 2; j++)
      if (parts[j]) inside = inside ? ir_binary(l->memory, IR_EXPR_AND, inside, parts[j]) : parts[j];
  }
  return inside;
}

/* One element; outside a tensor it reads as zero. */
static operand eval_element(lower *l, const ast_expr *e, ir_value *value) {
  const ir_expr *index[IR_MAX_RANK];
  if (!eval_subscripts(l, e, value, index)) return operand_bad(e->loc);
  if (value->space == IR_TILE && !l->in_parallel) {
    diag_error(l->d, DIAG_TILE_ELEMENT, e->loc,
               "an element of the tile '%s' is held by one thread; read it inside parallel, or reduce the tile",
               value->name);
    diag_note(l->d, value->loc, "'%s' is declared here", value->name);
    return operand_bad(e->loc);
  }
  const ir_expr *element = ir_element(l->memory, value, NULL, value->rank, index);
  const ir_expr *inside = value->space == IR_GLOBAL ? inside_predicate(l, value, index) : NULL;
  if (inside && !ir_is_constant(inside, &(int64_t){0})) {
    const ir_expr *zero =
        ir_cast(l->memory, value->type, ir_is_float(value->type) ? ir_float(l->memory, 0) : ir_int(l->memory, 0));
    if (value->type == IR_PRED) zero = ir_bool(l->memory, false);
    element = ir_ternary(l->memory, IR_EXPR_SELECT, inside, element, zero);
  }
  return operand_scalar(e->loc, element);
}

/* t[:, _] and the like: a view of a tile. */
static operand eval_view(lower *l, const ast_expr *e, ir_value *value) {
  operand view = {.kind = OPERAND_TILE, .type = value->type, .loc = e->loc, .value = value};
  int dim = 0;
  for (const ast_item *item = e->items; item; item = item->next) {
    if (item->kind == AST_ITEM_SPAN) {
      diag_error(l->d, DIAG_REGION, item->loc, "a region start : span stands only in copy, dot and decode");
      return operand_bad(e->loc);
    }
    if (view.rank == LOWER_MAX_TILE_RANK || (item->kind != AST_ITEM_NEW && dim == value->rank)) {
      report_subscript_count(l, e, value);
      return operand_bad(e->loc);
    }
    if (item->kind == AST_ITEM_NEW) {
      view.extent[view.rank++] = 1;
    } else if (item->kind == AST_ITEM_ALL) {
      view.extent[view.rank] = (int)extent_of(value, dim);
      view.dim[dim++] = view.rank++;
    } else {
      const ir_expr *position = eval_position(l, item->value);
      if (!position || !check_position(l, item, value, dim, position)) return operand_bad(e->loc);
      view.index[dim++] = position;
    }
  }
  if (dim == value->rank) return view;
  report_subscript_count(l, e, value);
  return operand_bad(e->loc);
}

static operand eval_index(lower *l, const ast_expr *e) {
  ir_value *value = named_value(l, e->left);
  if (!value || value->rank == 0) {
    operand base = e->left->kind == AST_NAME && !value ? eval(l, e->left) : operand_int(e->loc, 0);
    if (base.kind != OPERAND_BAD)
      diag_error(l->d, DIAG_NOT_INDEXED, e->left->loc, "only a tensor, a shared buffer or a tile has subscripts");
    return operand_bad(e->loc);
  }
  bool element = true;
  for (const ast_item *item = e->items; item; item = item->next)
    element = element && item->kind == AST_ITEM_VALUE;
  if (element) return eval_element(l, e, value);
  if (l->in_parallel || value->space == IR_GLOBAL) {
    diag_error(l->d, DIAG_REGION, e->loc,
               l->in_parallel ? "inside parallel every subscript is a position"
                              : "a part of a tensor in device memory is copied to a tile before it is used");
    return operand_bad(e->loc);
  }
  return eval_view(l, e, value);
}

/* -- Operators ----------------------------------------------------------------------------------------------------- */

/* && and ||: the right side is not looked at when the left decides at compile time. */
static operand eval_logic(lower *l, const ast_expr *e) {
  operand args[2] = {operand_convert(l, eval(l, e->left), IR_PRED, false)};
  if (args[0].kind == OPERAND_BAD) return args[0];
  if (args[0].kind == OPERAND_CONST && (args[0].int_value != 0) == (e->kind == AST_OR_ELSE)) return args[0];
  args[1] = operand_convert(l, eval(l, e->right), IR_PRED, false);
  if (args[1].kind == OPERAND_BAD) return args[1];
  if (args[0].kind == OPERAND_CONST) return args[1];
  return operand_apply(l, e->op, e->loc, args, 2);
}

static operand eval_select(lower *l, const ast_expr *e) {
  operand condition = operand_convert(l, eval(l, e->condition), IR_PRED, false);
  if (condition.kind == OPERAND_BAD) return condition;
  if (condition.kind == OPERAND_CONST) return eval(l, condition.int_value ? e->left : e->right);
  operand args[3] = {condition, eval(l, e->left), eval(l, e->right)};
  return operand_apply(l, IR_EXPR_SELECT, e->loc, args, 3);
}

static operand eval_transpose(lower *l, const ast_expr *e) {
  operand o = eval(l, e->left);
  if (o.kind == OPERAND_BAD) return o;
  if (o.kind != OPERAND_TILE || !o.value || o.rank != 2) {
    diag_error(l->d, DIAG_TRANSPOSE, e->loc, "^T takes a tile or shared buffer of two dimensions, not %s",
               operand_text(l, &o));
    return operand_bad(e->loc);
  }
  for (int i = 0; i < o.value->rank; i++)
    o.dim[i] = 1 - o.dim[i];
  int rows = o.extent[0];
  o.extent[0] = o.extent[1];
  o.extent[1] = rows;
  o.loc = e->loc;
  return o;
}

operand eval(lower *l, const ast_expr *e) {
  if (!step(l, e->loc)) return operand_bad(e->loc);
  operand args[2];
  switch (e->kind) {
  case AST_INT:
    return operand_int(e->loc, e->int_value);
  case AST_FLOAT:
    return operand_float(e->loc, e->float_value);
  case AST_BOOL:
    return operand_bool(e->loc, e->int_value != 0);
  case AST_NAME:
    return eval_name(l, e);
  case AST_AND_ALSO:
  case AST_OR_ELSE:
    return eval_logic(l, e);
  case AST_SELECT:
    return eval_select(l, e);
  case AST_CALL:
    return eval_call(l, e);
  case AST_INDEX:
    return eval_index(l, e);
  case AST_TRANSPOSE:
    return eval_transpose(l, e);
  case AST_NOT:
    args[0] = operand_convert(l, eval(l, e->left), IR_PRED, false);
    return operand_apply(l, e->op, e->loc, args, 1);
  case AST_UNARY:
    args[0] = eval(l, e->left);
    return operand_apply(l, e->op, e->loc, args, 1);
  case AST_BINARY:
    args[0] = eval(l, e->left);
    args[1] = eval(l, e->right);
    if (args[0].kind == OPERAND_TYPE && args[1].kind == OPERAND_TYPE && (e->op == IR_EXPR_EQ || e->op == IR_EXPR_NE))
      return operand_bool(e->loc, (args[0].type == args[1].type) == (e->op == IR_EXPR_EQ));
    return operand_apply(l, e->op, e->loc, args, 2);
  case AST_BAD:
    break;
  }
  return operand_bad(e->loc);
}

/* -- Expressions of a wanted kind ---------------------------------------------------------------------------------- */

bool eval_int(lower *l, const ast_expr *e, int64_t lo, int64_t hi, const char *what, int64_t *out) {
  operand o = eval(l, e);
  if (o.kind == OPERAND_BAD) return false;
  if (o.kind != OPERAND_CONST || o.type != IR_TYPE_NONE)
    return diag_error(l->d, DIAG_NOT_CONSTANT, e->loc, "%s must be an integer known at compile time", what);
  if (o.int_value < lo || o.int_value > hi)
    return diag_error(l->d, DIAG_RANGE, e->loc, "%s must be %lld to %lld, not %lld", what, (long long)lo, (long long)hi,
                      (long long)o.int_value);
  *out = o.int_value;
  return true;
}

bool eval_bool(lower *l, const ast_expr *e, const char *what, bool *out) {
  operand o = eval(l, e);
  if (o.kind == OPERAND_BAD) return false;
  if (o.kind != OPERAND_CONST || o.type == IR_F32)
    return diag_error(l->d, DIAG_NOT_CONSTANT, e->loc, "%s must be known at compile time", what);
  *out = o.int_value != 0;
  return true;
}

/* Like eval, with every division rounded up. */
static operand eval_rounding_up(lower *l, const ast_expr *e) {
  if (e->kind != AST_BINARY) return eval(l, e);
  operand args[2] = {eval_rounding_up(l, e->left), eval_rounding_up(l, e->right)};
  ir_expr_kind op = e->op;
  if (op == IR_EXPR_DIV && args[0].kind != OPERAND_BAD && args[1].kind != OPERAND_BAD) {
    bool exact = args[0].kind == OPERAND_SCALAR && args[1].kind == OPERAND_CONST && args[1].int_value > 0 &&
                 ir_known_divisor(args[0].expr) % args[1].int_value == 0;
    if (!exact) op = IR_EXPR_CEILDIV;
  }
  return operand_apply(l, op, e->loc, args, 2);
}

const ir_expr *eval_extent(lower *l, const ast_expr *e) {
  operand o = eval_rounding_up(l, e);
  if (o.kind == OPERAND_BAD) return NULL;
  bool integer = o.kind == OPERAND_CONST ? o.type == IR_TYPE_NONE : o.kind == OPERAND_SCALAR && o.type == IR_I32;
  if (!integer) {
    diag_error(l->d, DIAG_TYPE, e->loc, "an extent is an integer, not %s", operand_text(l, &o));
    return NULL;
  }
  if (o.kind == OPERAND_CONST && (o.int_value < 1 || o.int_value > INT32_MAX)) {
    diag_error(l->d, DIAG_RANGE, e->loc, "an extent must be 1 to %d, not %lld", INT32_MAX, (long long)o.int_value);
    return NULL;
  }
  return operand_expr(l, &o);
}

const ir_expr *eval_scalar(lower *l, const ast_expr *e, ir_type type, const char *what) {
  operand o = eval(l, e);
  if (o.kind == OPERAND_BAD) return NULL;
  if (o.kind == OPERAND_TILE) {
    diag_error(l->d, DIAG_TYPE, e->loc, "%s is one value, not the tile %s", what, operand_text(l, &o));
    return NULL;
  }
  o = operand_convert(l, o, type, false);
  return o.kind == OPERAND_BAD ? NULL : operand_expr(l, &o);
}
