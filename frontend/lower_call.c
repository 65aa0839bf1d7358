/* The meaning of calls in expressions: inline functions, casts, operators with a name, what works on whole tiles. */
#include "frontend/lower.h"

#include <string.h>

const ast_item *named_argument(const ast_item *items, const char *name) {
  for (const ast_item *item = items; item; item = item->next)
    if (item->name && strcmp(item->name, name) == 0) return item;
  return NULL;
}

bool check_arguments(lower *l, const ast_expr *call, int count, const char *const *names) {
  int positional = 0;
  for (const ast_item *item = call->items; item; item = item->next) {
    if (!item->name) {
      positional++;
      continue;
    }
    const char *best = NULL;
    bool known = false;
    for (int i = 0; names && names[i]; i++) {
      known = known || strcmp(names[i], item->name) == 0;
      best = nearer_name(item->name, best, names[i]);
    }
    if (!known)
      return diag_error(l->d, DIAG_ARGUMENT, item->loc, "%s has no argument '%s'%s%s%s", call->name, item->name,
                        best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
    if (named_argument(call->items, item->name) != item)
      return diag_error(l->d, DIAG_ARGUMENT, item->loc, "the argument '%s' is given twice", item->name);
  }
  if (positional != count)
    return diag_error(l->d, DIAG_ARGUMENT, call->loc, "%s takes %d argument%s, not %d", call->name, count,
                      count == 1 ? "" : "s", positional);
  return true;
}

static scope *root_scope(scope *s) {
  while (s->parent)
    s = s->parent;
  return s;
}

bool enter_function(lower *l, const ast_expr *call, const ast_function *function, scope **saved) {
  int wanted = ast_item_count(function->parameters);
  if (!check_arguments(l, call, wanted, NULL))
    return diag_note(l->d, function->loc, "'%s' is defined here", function->name);
  if (l->inline_depth >= LOWER_MAX_INLINE) {
    diag_error(l->d, DIAG_TOO_DEEP, call->loc,
               "inline functions call each other more than %d deep; they cannot recurse", LOWER_MAX_INLINE);
    return diag_note(l->d, function->loc, "'%s' is defined here", function->name);
  }
  scope *caller = l->scope;
  l->scope = root_scope(caller);
  scope_push(l);
  const ast_item *argument = call->items;
  for (const ast_item *p = function->parameters; p; p = p->next, argument = argument->next) {
    binding *b = scope_add(l, BINDING_ALIAS, p->name, p->loc);
    if (!b) {
      l->scope = caller;
      return false;
    }
    b->expr = argument->value;
    b->where = caller;
  }
  l->inline_depth++;
  *saved = caller;
  return true;
}

void leave_function(lower *l, scope *saved) {
  l->scope = saved;
  l->inline_depth--;
}

static operand call_function(lower *l, const ast_expr *e, const ast_function *function) {
  scope *saved = NULL;
  if (!function->value) {
    diag_error(l->d, DIAG_ARGUMENT, e->loc, "'%s' is a sequence of statements and has no value", function->name);
    diag_note(l->d, function->loc, "'%s' is defined here", function->name);
    return operand_bad(e->loc);
  }
  int errors = diag_error_count(l->d);
  if (!enter_function(l, e, function, &saved)) return operand_bad(e->loc);
  operand o = eval(l, function->value);
  leave_function(l, saved);
  if (diag_error_count(l->d) > errors && l->inline_depth == 0) diag_note(l->d, e->loc, "in this use of '%s'", e->name);
  o.loc = e->loc;
  return o;
}

static operand eval_cast(lower *l, const ast_expr *e, ir_type type) {
  if (!check_arguments(l, e, 1, NULL)) return operand_bad(e->loc);
  operand o = eval(l, e->items->value);
  o.loc = e->loc;
  return operand_convert(l, o, type, true);
}

static operand eval_bitcast(lower *l, const ast_expr *e) {
  if (!check_arguments(l, e, 2, NULL)) return operand_bad(e->loc);
  operand type = eval(l, e->items->value), o = eval(l, e->items->next->value);
  if (type.kind == OPERAND_BAD || o.kind == OPERAND_BAD) return operand_bad(e->loc);
  if (o.kind == OPERAND_CONST) o = operand_scalar(e->loc, operand_expr(l, &o));
  if (o.kind == OPERAND_CONST)
    o = (operand){.kind = OPERAND_SCALAR, .type = IR_I32, .loc = e->loc, .expr = operand_expr(l, &o)};
  if (type.kind != OPERAND_TYPE || o.kind != OPERAND_SCALAR || ir_bits(type.type) != ir_bits(o.type)) {
    diag_error(l->d, DIAG_TYPE, e->loc, "bitcast(TYPE, x) takes a scalar of as many bits as the type, not %s",
               operand_text(l, &o));
    return operand_bad(e->loc);
  }
  return operand_scalar(e->loc, ir_typed(l->memory, IR_EXPR_BITCAST, type.type, type.type, 1, &o.expr));
}

/* bits(T), is_float(T), is_integer(T) */
static bool eval_query(lower *l, const ast_expr *e, operand *out) {
  bool bits = strcmp(e->name, "bits") == 0, real = strcmp(e->name, "is_float") == 0;
  if (!bits && !real && strcmp(e->name, "is_integer") != 0) return false;
  *out = operand_bad(e->loc);
  if (!check_arguments(l, e, 1, NULL)) return true;
  operand type = eval(l, e->items->value);
  if (type.kind == OPERAND_BAD) return true;
  if (type.kind != OPERAND_TYPE)
    diag_error(l->d, DIAG_TYPE, e->loc, "%s takes a type, not %s", e->name, operand_text(l, &type));
  else if (bits)
    *out = operand_int(e->loc, ir_bits(type.type));
  else
    *out = operand_bool(e->loc, real ? ir_is_float(type.type) : ir_is_integer(type.type));
  return true;
}

static operand eval_operator_call(lower *l, const ast_expr *e, ir_expr_kind op) {
  operand args[LOWER_MAX_ARGS];
  int count = 0;
  if (!check_arguments(l, e, ir_expr_info_of(op)->arity, NULL)) return operand_bad(e->loc);
  for (const ast_item *item = e->items; item; item = item->next)
    args[count++] = eval(l, item->value);
  if (op == IR_EXPR_SELECT && args[0].kind == OPERAND_CONST && args[1].kind == OPERAND_TYPE &&
      args[2].kind == OPERAND_TYPE)
    return args[args[0].int_value ? 1 : 2];
  return operand_apply(l, op, e->loc, args, count);
}

static operand eval_tile_call(lower *l, const ast_expr *e, tile_call call, ir_operation operation) {
  if (l->in_parallel || l->constants_only) {
    diag_error(l->d, DIAG_WHOLE_TILE, e->loc, "%s works on whole tiles and cannot stand %s", e->name,
               l->in_parallel ? "inside parallel" : "in a constant");
    return operand_bad(e->loc);
  }
  ir_value *value = NULL;
  switch (call) {
  case TILE_CALL_DOT:
    value = lower_dot(l, e, NULL, false);
    break;
  case TILE_CALL_REDUCE:
    value = lower_reduce(l, e, operation, NULL, false);
    break;
  case TILE_CALL_SCAN:
    value = lower_scan(l, e, operation, NULL);
    break;
  case TILE_CALL_VOTE:
    return lower_vote(l, e, operation);
  default:
    diag_error(l->d, DIAG_DECODE, e->loc,
               "decode stands as an operand of dot or alone on the right of an assignment, which gives its type");
    return operand_bad(e->loc);
  }
  return value ? operand_tile(e->loc, value) : operand_bad(e->loc);
}

operand eval_call(lower *l, const ast_expr *e) {
  const ast_function *function = find_function(l, e->name);
  if (function) return call_function(l, e, function);
  const binding *b = scope_find(l->scope, e->name);
  ir_type type = ir_type_by_name(e->name, strlen(e->name));
  if (b && b->kind == BINDING_CONSTANT && b->constant.kind == OPERAND_TYPE) type = b->constant.type;
  if (type != IR_TYPE_NONE) return eval_cast(l, e, type);
  ir_operation operation = IR_SUM;
  tile_call call = tile_call_of(e, &operation);
  if (call != TILE_CALL_NONE) return eval_tile_call(l, e, call, operation);
  operand out;
  if (eval_query(l, e, &out)) return out;
  if (strcmp(e->name, "bitcast") == 0) return eval_bitcast(l, e);
  const char *best = NULL;
  for (int op = 0; op < IR_EXPR_KIND_COUNT; op++) {
    const ir_expr_info *info = ir_expr_info_of((ir_expr_kind)op);
    if (info->style != IR_STYLE_CALL || !operand_applies((ir_expr_kind)op)) continue;
    if (strcmp(info->text, e->name) == 0) return eval_operator_call(l, e, (ir_expr_kind)op);
    best = nearer_name(e->name, best, info->text);
  }
  for (const ast_function *f = l->ast->functions; f; f = f->next)
    best = nearer_name(e->name, best, f->name);
  diag_error(l->d, DIAG_UNKNOWN_FUNCTION, e->op_loc, "there is no function '%s'%s%s%s", e->name,
             best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
  return operand_bad(e->loc);
}
