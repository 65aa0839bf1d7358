/* The meaning of statements. */
#include "frontend/lower.h"

#include <string.h>

enum { MAX_STAGES = 32 };

/* -- Assignment ---------------------------------------------------------------------------------------------------- */

static void assign_scalar(lower *l, const ast_stmt *stmt, ir_value *dst) {
  if (!dst->is_mutable || l->in_parallel) {
    diag_error(l->d, DIAG_READ_ONLY, stmt->target->loc,
               l->in_parallel ? "'%s' is one value for the whole tile and cannot be set inside parallel"
                              : "'%s' cannot be assigned; declare it with var",
               dst->name);
    diag_note(l->d, dst->loc, "'%s' is declared here", dst->name);
    return;
  }
  operand value = eval(l, stmt->value);
  if (value.kind == OPERAND_BAD) return;
  if (value.kind == OPERAND_TILE) {
    diag_error(l->d, DIAG_TYPE, stmt->value->loc, "'%s' is one value, not the tile %s", dst->name,
               operand_text(l, &value));
    diag_note(l->d, dst->loc, "'%s' is declared here", dst->name);
    return;
  }
  if (stmt->assign != AST_SET) {
    operand both[2] = {operand_scalar(stmt->target->loc, ir_read(l->memory, dst)), value};
    value = operand_apply(l, assign_operator(stmt->assign), stmt->op_loc, both, 2);
  }
  value = operand_convert(l, value, dst->type, false);
  if (value.kind == OPERAND_BAD) return;
  ir_op *set = append(l, IR_OP_SET, stmt->loc);
  ir_op_add_write(set, ir_ref_whole(dst));
  ir_op_add_expr(l->memory, set, operand_expr(l, &value));
}

static void lower_assign(lower *l, const ast_stmt *stmt) {
  if (stmt->target->kind == AST_INDEX) {
    lower_element(l, stmt);
    return;
  }
  ir_value *dst = named_value(l, stmt->target);
  if (!dst) {
    if (eval(l, stmt->target).kind != OPERAND_BAD)
      diag_error(l->d, DIAG_READ_ONLY, stmt->target->loc, "'%s' is a constant", stmt->target->name);
    return;
  }
  if (dst->space == IR_SCALAR || dst->space == IR_INDEX || dst->space == IR_SIZE) {
    assign_scalar(l, stmt, dst);
  } else if (l->in_parallel || dst->space == IR_GLOBAL) {
    eval(l, stmt->target); /* reports what is wrong with the name here */
  } else {
    assign_whole(l, dst, stmt->assign, stmt->value, stmt->loc);
  }
}

/* -- Control ------------------------------------------------------------------------------------------------------- */

static void lower_into(lower *l, ir_block *into, const ast_block *body) {
  ir_block *outer = l->block;
  l->block = into;
  lower_block(l, body);
  l->block = outer;
}

static bool is_call_of(const ast_expr *e, const char *name) {
  return e->kind == AST_CALL && strcmp(e->name, name) == 0;
}

static bool eval_condition(lower *l, const ast_expr *e, operand *out) {
  *out = eval(l, e);
  if (out->kind == OPERAND_TILE)
    return diag_error(l->d, DIAG_TYPE, e->loc, "one condition is needed, not a tile; write any(...) or all(...)");
  if (out->kind == OPERAND_CONST && out->type == IR_TYPE_NONE) *out = operand_bool(e->loc, out->int_value != 0);
  *out = operand_convert(l, *out, IR_PRED, false);
  return out->kind != OPERAND_BAD;
}

/* A condition known now chooses a branch; the other need not make sense, as a tensor that is not there. */
static void lower_if(lower *l, const ast_stmt *stmt) {
  bool cold = is_call_of(stmt->value, "unlikely") && !find_function(l, "unlikely");
  operand condition;
  if (cold && !check_arguments(l, stmt->value, 1, NULL)) return;
  if (!eval_condition(l, cold ? stmt->value->items->value : stmt->value, &condition)) return;
  if (condition.kind == OPERAND_CONST) {
    lower_block(l, condition.int_value ? &stmt->body : &stmt->other);
    return;
  }
  ir_op *op = append(l, IR_OP_IF, stmt->loc);
  ir_op_add_expr(l->memory, op, operand_expr(l, &condition));
  if (cold) ir_attr_set(&op->attrs, IR_ATTR_COLD, 1);
  lower_into(l, &op->body, &stmt->body);
  lower_into(l, &op->other, &stmt->other);
}

static void lower_while(lower *l, const ast_stmt *stmt) {
  operand condition;
  const ir_op *last = l->block->last;
  if (!eval_condition(l, stmt->value, &condition)) return;
  if (l->block->last != last) {
    diag_error(l->d, DIAG_LOOP, stmt->value->loc,
               "the condition of while is worked out anew each time and cannot hold a tile; keep the answer in a var");
    return;
  }
  ir_op *op = append(l, IR_OP_WHILE, stmt->loc);
  ir_op_add_expr(l->memory, op, operand_expr(l, &condition));
  lower_into(l, &op->body, &stmt->body);
}

typedef struct loop_range {
  const ir_expr *lo, *hi, *step;
  ir_attrs attrs;
} loop_range;

/* serial(n), pipelined(lo, hi, step, stages = s), unrolled(n), persistent(n): false when `e` is none of them. */
static bool eval_loop_call(lower *l, const ast_expr *e, loop_range *range, bool *ok) {
  static const char *const names[] = {"stages", NULL};
  bool pipelined = is_call_of(e, "pipelined"), unrolled = is_call_of(e, "unrolled");
  bool persistent = is_call_of(e, "persistent"), serial = is_call_of(e, "serial");
  if (!pipelined && !unrolled && !persistent && !serial) return false;
  const ast_expr *args[3] = {NULL};
  int count = 0;
  *ok = false;
  for (const ast_item *item = e->items; item; item = item->next)
    if (!item->name && count++ < 3) args[count - 1] = item->value;
  if (count > 3 || count < 1) {
    diag_error(l->d, DIAG_LOOP, e->loc, "%s takes an end, or a begin and an end, or a begin, an end and a step",
               e->name);
    return true;
  }
  if (!check_arguments(l, e, count, pipelined ? names : NULL)) return true;
  const ast_item *stages = named_argument(e->items, "stages");
  int64_t value = 0;
  if (stages) {
    if (!eval_int(l, stages->value, 1, MAX_STAGES, "stages", &value)) return true;
    ir_attr_set(&range->attrs, IR_ATTR_STAGES, value);
  }
  if (unrolled) ir_attr_set(&range->attrs, IR_ATTR_UNROLL, 1);
  if (persistent) ir_attr_set(&range->attrs, IR_ATTR_PERSISTENT, 1);
  range->lo = count > 1 ? eval_scalar(l, args[0], IR_I32, "the begin of a loop") : ir_int(l->memory, 0);
  range->hi = eval_scalar(l, args[count > 1 ? 1 : 0], IR_I32, "the end of a loop");
  range->step = count > 2 ? eval_scalar(l, args[2], IR_I32, "the step of a loop") : ir_int(l->memory, 1);
  if (!range->lo || !range->hi || !range->step) return true;
  if (count > 2 && (!ir_is_constant(range->step, &value) || value < 1))
    diag_error(l->d, DIAG_LOOP, args[2]->loc, "the step of a loop must be a constant of 1 or more");
  else
    *ok = true;
  return true;
}

static bool eval_loop(lower *l, const ast_stmt *stmt, loop_range *range) {
  bool ok = false;
  if (!stmt->limit && eval_loop_call(l, stmt->value, range, &ok)) return ok;
  range->step = ir_int(l->memory, 1);
  range->lo = stmt->limit ? eval_scalar(l, stmt->value, IR_I32, "the begin of a loop") : ir_int(l->memory, 0);
  range->hi = eval_scalar(l, stmt->limit ? stmt->limit : stmt->value, IR_I32, "the end of a loop");
  return range->lo && range->hi;
}

static void lower_for(lower *l, const ast_stmt *stmt) {
  loop_range range = {0};
  if (!eval_loop(l, stmt, &range)) return;
  ir_op *op = append(l, IR_OP_FOR, stmt->loc);
  op->attrs = range.attrs;
  scope *saved = l->scope;
  scope_push(l);
  binding *b = scope_add(l, BINDING_VALUE, stmt->name, stmt->name_loc);
  if (b) {
    ir_range lo = {0}, hi = {0};
    bool from_known = ir_expr_range(range.lo, l->ranges, l->range_capacity, &lo);
    bool to_known = ir_expr_range(range.hi, l->ranges, l->range_capacity, &hi);
    b->value = ir_value_create(l->memory, l->kernel, IR_INDEX, IR_I32, stmt->name, stmt->name_loc);
    set_range(l, b->value, from_known ? lo.lo : INT32_MIN, to_known ? hi.hi - 1 : INT32_MAX - 1, range.hi);
    ir_op_add_write(op, ir_ref_whole(b->value));
    ir_op_add_expr(l->memory, op, range.lo);
    ir_op_add_expr(l->memory, op, range.hi);
    ir_op_add_expr(l->memory, op, range.step);
    lower_into(l, &op->body, &stmt->body);
  }
  l->scope = saved;
}

/* -- Calls as statements ------------------------------------------------------------------------------------------- */

void lower_macro(lower *l, const ast_expr *call, const ast_function *function) {
  scope *saved = NULL;
  int errors = diag_error_count(l->d);
  if (function->value) {
    diag_error(l->d, DIAG_ARGUMENT, call->loc, "'%s' gives a value that is not used", function->name);
    diag_note(l->d, function->loc, "'%s' is defined here", function->name);
    return;
  }
  if (!enter_function(l, call, function, &saved)) return;
  lower_block(l, &function->body);
  leave_function(l, saved);
  if (diag_error_count(l->d) > errors && l->inline_depth == 0)
    diag_note(l->d, call->loc, "in this use of '%s'", call->name);
}

static void lower_call(lower *l, const ast_stmt *stmt) {
  const ast_expr *call = stmt->value;
  const ast_function *function = find_function(l, call->name);
  if (function) {
    lower_macro(l, call, function);
    return;
  }
  if (strcmp(call->name, "fill") != 0) {
    const char *best = nearer_name(call->name, NULL, "fill");
    for (const ast_function *f = l->ast->functions; f; f = f->next)
      best = nearer_name(call->name, best, f->name);
    diag_error(l->d, DIAG_UNKNOWN_FUNCTION, call->op_loc, "there is no statement '%s'%s%s%s", call->name,
               best ? "; did you mean '" : "", best ? best : "", best ? "'?" : "");
    return;
  }
  if (!check_arguments(l, call, 2, NULL)) return;
  ir_value *dst = named_value(l, call->items->value);
  operand value = eval(l, call->items->next->value);
  if (!dst || (dst->space != IR_TILE && dst->space != IR_SHARED)) {
    diag_error(l->d, DIAG_ARGUMENT, call->items->loc, "fill takes a tile or a shared buffer, then the value");
    return;
  }
  if (value.kind == OPERAND_TILE)
    diag_error(l->d, DIAG_ARGUMENT, call->items->next->loc, "fill takes one value, not the tile %s",
               operand_text(l, &value));
  else
    assign_tile(l, dst, value, stmt->loc);
}

/* -- Statements ---------------------------------------------------------------------------------------------------- */

static const char *const stmt_names[] = {[AST_STMT_SHARED] = "shared",
                                         [AST_STMT_TILE] = "tile",
                                         [AST_STMT_COPY] = "copy",
                                         [AST_STMT_FOR] = "for",
                                         [AST_STMT_WHILE] = "while"};

static bool check_in_parallel(lower *l, const ast_stmt *stmt) {
  bool refused = stmt->kind == AST_STMT_SHARED || stmt->kind == AST_STMT_TILE || stmt->kind == AST_STMT_COPY ||
                 stmt->kind == AST_STMT_FOR || stmt->kind == AST_STMT_WHILE;
  if (!l->in_parallel || !refused) return true;
  return diag_error(
      l->d, DIAG_PARALLEL, stmt->loc,
      "'%s' works block-wide and cannot stand inside parallel: only let, if, assignments to elements and atomic can",
      stmt_names[stmt->kind]);
}

static void lower_stmt(lower *l, const ast_stmt *stmt) {
  if (!check_in_parallel(l, stmt)) return;
  switch (stmt->kind) {
  case AST_STMT_SHARED:
  case AST_STMT_TILE:
    lower_buffers(l, stmt);
    break;
  case AST_STMT_LET:
  case AST_STMT_VAR:
    lower_variables(l, stmt);
    break;
  case AST_STMT_CONST:
    lower_constants(l, stmt->constants);
    break;
  case AST_STMT_ASSIGN:
    lower_assign(l, stmt);
    break;
  case AST_STMT_ATOMIC:
    if (l->in_parallel) {
      if (stmt->target->kind == AST_INDEX)
        lower_atomic_element(l, stmt);
      else
        diag_error(l->d, DIAG_ATOMIC, stmt->target->loc, "inside parallel atomic works on one element, as in %s[i]",
                   stmt->target->name);
      break;
    }
    lower_atomic_copy(l, stmt);
    break;
  case AST_STMT_COPY:
    lower_copy(l, stmt);
    break;
  case AST_STMT_CALL:
    lower_call(l, stmt);
    break;
  case AST_STMT_IF:
    lower_if(l, stmt);
    break;
  case AST_STMT_WHILE:
    lower_while(l, stmt);
    break;
  case AST_STMT_FOR:
    lower_for(l, stmt);
    break;
  case AST_STMT_PARALLEL:
    lower_parallel(l, stmt);
    break;
  case AST_STMT_BLOCK:
    lower_block(l, &stmt->body);
    break;
  case AST_STMT_BAD:
    break;
  }
}

void lower_block(lower *l, const ast_block *block) {
  scope *saved = l->scope;
  scope_push(l);
  for (const ast_stmt *stmt = block->first; stmt; stmt = stmt->next) {
    if (l->steps_reported) break;
    lower_stmt(l, stmt);
  }
  l->scope = saved;
}
