/* Declarations in bodies, and the assignment of whole tiles that initialisers share with statements. */
#include "frontend/lower.h"

#include <string.h>

enum { MAX_TILE_ELEMENTS = 1 << 20 };

/* -- Whole assignment ---------------------------------------------------------------------------------------------- */

/* Whether `op=` combines with a reduction as the reduction itself does, so that it can go on from the old value. */
static bool continues(ast_assign assign, ir_operation operation) {
  return (assign == AST_ADD && operation == IR_SUM) || (assign == AST_MAX && operation == IR_MAX) ||
         (assign == AST_MIN && operation == IR_MIN) || (assign == AST_MUL && operation == IR_MUL);
}

/* Calls that write the destination themselves; false when `value` is none of them. */
static bool assign_call(lower *l, ir_value *dst, ast_assign assign, const ast_expr *value) {
  ir_operation operation = IR_SUM;
  tile_call call = tile_call_of(value, &operation);
  if (call == TILE_CALL_NONE || find_function(l, value->name)) return false;
  bool set = assign == AST_SET;
  if (call == TILE_CALL_DOT && dst->space == IR_TILE && (set || assign == AST_ADD))
    return lower_dot(l, value, dst, !set), true;
  if (call == TILE_CALL_DECODE && set) return lower_decode(l, value, dst, dst->type), true;
  if (call == TILE_CALL_REDUCE && (set || continues(assign, operation)))
    return lower_reduce(l, value, operation, dst, !set), true;
  if (call == TILE_CALL_SCAN && set) return lower_scan(l, value, operation, dst), true;
  return false;
}

void assign_whole(lower *l, ir_value *dst, ast_assign assign, const ast_expr *value, src_loc loc) {
  scope *saved = l->scope, *where = NULL;
  const ast_expr *resolved = resolve_alias(l, value, &where);
  l->scope = where;
  bool done = assign_call(l, dst, assign, resolved);
  l->scope = saved;
  if (done) return;
  operand o = eval(l, value);
  if (o.kind == OPERAND_BAD) return;
  if (assign != AST_SET) {
    operand both[2] = {operand_tile(loc, dst), o};
    o = operand_apply(l, assign_operator(assign), loc, both, 2);
  }
  assign_tile(l, dst, o, loc);
}

/* -- Buffers and tiles --------------------------------------------------------------------------------------------- */

static bool eval_shape(lower *l, const ast_declaration *d, ir_value *value) {
  int64_t elements = 1;
  int rank = ast_item_count(d->shape);
  if (rank > LOWER_MAX_TILE_RANK)
    return diag_error(l->d, DIAG_RANK, d->loc, "'%s' has %d dimensions; a tile has at most %d", d->name, rank,
                      LOWER_MAX_TILE_RANK);
  for (const ast_item *item = d->shape; item; item = item->next) {
    int64_t extent = 0;
    const ir_expr *e = eval_extent(l, item->value);
    if (!e) return false;
    if (!ir_is_constant(e, &extent))
      return diag_error(l->d, DIAG_NOT_CONSTANT, item->value->loc,
                        "an extent of '%s' must be known at compile time; loop over parts of a fixed size", d->name);
    if (extent > MAX_TILE_ELEMENTS || (elements *= extent) > MAX_TILE_ELEMENTS)
      return diag_error(l->d, DIAG_TOO_LARGE, d->loc, "'%s' has more than %d elements", d->name, MAX_TILE_ELEMENTS);
    value->extent[value->rank++] = e;
  }
  return true;
}

/* layout(swizzle = 128, contiguous = 1, panel = 16) */
static bool eval_layout(lower *l, const ast_declaration *d, ir_value *value) {
  int64_t swizzle = 0, contiguous = value->rank - 1, panel = 0;
  if (!d->layout) return true;
  if (value->space != IR_SHARED)
    return diag_error(l->d, DIAG_LAYOUT_PIN, d->layout->loc,
                      "only a shared buffer takes a layout; a tile gets that of its dot");
  for (const ast_item *item = d->layout; item; item = item->next) {
    bool ok;
    if (strcmp(item->name, "swizzle") == 0)
      ok = eval_int(l, item->value, 0, 128, "swizzle", &swizzle);
    else if (strcmp(item->name, "contiguous") == 0)
      ok = eval_int(l, item->value, 0, value->rank - 1, "contiguous", &contiguous);
    else if (strcmp(item->name, "panel") == 0)
      ok = eval_int(l, item->value, 0, 1 << 16, "panel", &panel);
    else
      return diag_error(l->d, DIAG_LAYOUT_PIN, item->loc, "a layout has swizzle, contiguous and panel, not '%s'",
                        item->name);
    if (!ok) return false;
  }
  int extent[IR_MAX_RANK];
  for (int i = 0; i < value->rank; i++)
    extent[i] = (int)extent_of(value, i);
  bool known = swizzle == 0 || swizzle == 32 || swizzle == 64 || swizzle == 128;
  shared_layout *layout = ARENA_NEW(l->memory, shared_layout);
  if (!known || !shared_layout_make(value->rank, extent, ir_bits(value->type), (int)contiguous, (shared_swizzle)swizzle,
                                    (int)panel, layout)) {
    diag_error(l->d, DIAG_LAYOUT_PIN, d->layout->loc,
               "'%s', %s, cannot have swizzle %lld and panel %lld: the swizzle is 0, 32, 64 or 128 bytes and rows are "
               "whole panels of it",
               d->name, value_text(l, value), (long long)swizzle, (long long)panel);
    return diag_note(l->d, d->loc, "'%s' is declared here", d->name);
  }
  value->shared = layout;
  return true;
}

/* False when the declaration is not there (`when` is false) or wrong. */
static bool is_present(lower *l, const ast_declaration *d) {
  bool present = true;
  if (d->condition && !eval_bool(l, d->condition, "the condition after when", &present)) return false;
  if (!present) scope_add(l, BINDING_ABSENT, d->name, d->loc);
  return present;
}

void lower_buffers(lower *l, const ast_stmt *stmt) {
  for (const ast_declaration *d = stmt->declarations; d; d = d->next) {
    ir_type type = IR_TYPE_NONE;
    if (!is_present(l, d) || !eval_type(l, d->type, d->type_loc, &type)) continue;
    ir_space space = stmt->kind == AST_STMT_SHARED ? IR_SHARED : IR_TILE;
    ir_value shape = {.space = space, .type = type, .name = d->name};
    if (!eval_shape(l, d, &shape)) continue;
    ir_value *value = ir_value_create(l->memory, l->kernel, space, type, d->name, d->loc);
    value->rank = shape.rank;
    memcpy(value->extent, shape.extent, sizeof shape.extent);
    if (!eval_layout(l, d, value)) continue;
    if (d->init) assign_whole(l, value, AST_SET, d->init, d->loc); /* before the name is known: it cannot mean itself */
    binding *b = scope_add(l, BINDING_VALUE, d->name, d->loc);
    if (b) b->value = value;
  }
}

/* -- Scalars ------------------------------------------------------------------------------------------------------- */

static void lower_variable(lower *l, const ast_stmt *stmt, const ast_declaration *d) {
  operand value = eval(l, d->init);
  if (value.kind == OPERAND_BAD) {
    binding *b = scope_add(l, BINDING_CONSTANT, d->name, d->loc); /* so that its uses are not errors too */
    if (b) b->constant = operand_bad(d->loc);
    return;
  }
  if (value.kind == OPERAND_TILE) {
    diag_error(l->d, DIAG_TYPE, d->init->loc, "%s holds one value; write tile %s: %s = ...",
               stmt->kind == AST_STMT_LET ? "let" : "var", d->name, operand_text(l, &value));
    return;
  }
  ir_type type = value.type == IR_TYPE_NONE ? IR_I32 : value.type;
  if (d->type && !eval_type(l, d->type, d->type_loc, &type)) return;
  if (value.kind != OPERAND_TYPE) value = operand_convert(l, value, d->type ? type : ir_compute_type(type), false);
  if (value.kind == OPERAND_BAD) return;
  bool is_mutable = stmt->kind == AST_STMT_VAR;
  if (!is_mutable && value.kind != OPERAND_SCALAR) { /* known now: no run-time value is needed */
    binding *b = scope_add(l, BINDING_CONSTANT, d->name, d->loc);
    if (b) b->constant = value;
    return;
  }
  if (value.kind == OPERAND_TYPE) {
    diag_error(l->d, DIAG_TYPE, d->init->loc, "a type does not change; name it with const or let");
    return;
  }
  const ir_expr *expr = operand_expr(l, &value);
  binding *b = scope_add(l, BINDING_VALUE, d->name, d->loc);
  if (!b) return;
  b->value = ir_value_create(l->memory, l->kernel, IR_SCALAR, d->type ? type : expr->type, d->name, d->loc);
  b->value->is_mutable = is_mutable;
  ir_range range = {.lo = 1, .hi = 0};
  if (!is_mutable && ir_is_integer(expr->type)) {
    bool known = ir_expr_range(expr, l->ranges, l->range_capacity, &range);
    if (known || is_natural(l, expr)) set_range(l, b->value, known ? range.lo : 0, known ? range.hi : INT32_MAX, NULL);
  }
  ir_op *op = append(l, is_mutable ? IR_OP_SET : IR_OP_LET, d->loc);
  ir_op_add_write(op, ir_ref_whole(b->value));
  ir_op_add_expr(l->memory, op, expr);
}

void lower_variables(lower *l, const ast_stmt *stmt) {
  if (stmt->kind == AST_STMT_VAR && l->in_parallel) {
    diag_error(l->d, DIAG_PARALLEL, stmt->loc, "inside parallel nothing changes from one place to the next; use let");
    return;
  }
  for (const ast_declaration *d = stmt->declarations; d; d = d->next)
    lower_variable(l, stmt, d);
}
