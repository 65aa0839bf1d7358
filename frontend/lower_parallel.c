/* parallel (i, j) { ... } and single elements. */
#include "frontend/lower.h"

#include <string.h>

ir_expr_kind assign_operator(ast_assign assign) {
  static const ir_expr_kind operators[] = {
      [AST_ADD] = IR_EXPR_ADD,     [AST_SUB] = IR_EXPR_SUB,   [AST_MUL] = IR_EXPR_MUL,
      [AST_DIV] = IR_EXPR_DIV,     [AST_MAX] = IR_EXPR_MAX,   [AST_MIN] = IR_EXPR_MIN,
      [AST_BIT_AND] = IR_EXPR_AND, [AST_BIT_OR] = IR_EXPR_OR, [AST_BIT_XOR] = IR_EXPR_XOR};
  ASSERT(assign != AST_SET);
  return operators[assign];
}

/* -- Elements ------------------------------------------------------------------------------------------------------ */

typedef struct element {
  ir_value *value;
  const ir_expr *index[IR_MAX_RANK];
  ir_ref ref;
} element;

/* The element that an assignment writes. */
static bool eval_target(lower *l, const ast_expr *e, bool reads_too, element *out) {
  ir_value *value = named_value(l, e->left);
  if (!value || value->rank == 0) {
    if (value || eval(l, e->left).kind != OPERAND_BAD)
      diag_error(l->d, DIAG_NOT_INDEXED, e->left->loc, "only a tensor, a shared buffer or a tile has subscripts");
    return false;
  }
  for (const ast_item *item = e->items; item; item = item->next)
    if (item->kind != AST_ITEM_VALUE)
      return diag_error(l->d, DIAG_REGION, item->loc,
                        "a region is written by copy; here every subscript is a position");
  if (value->space == IR_GLOBAL && value->direction != IR_INOUT && (value->direction == IR_IN || reads_too)) {
    diag_error(l->d, DIAG_READ_ONLY, e->loc, "'%s' is only %s; declare it %s", value->name,
               value->direction == IR_IN ? "read" : "written", value->direction == IR_IN ? "out or inout" : "inout");
    return diag_note(l->d, value->loc, "'%s' is declared here", value->name);
  }
  out->value = value;
  if (!eval_subscripts(l, e, value, out->index)) return false;
  out->ref = ir_ref_whole(value);
  out->ref.count = value->rank;
  for (int i = 0; i < value->rank; i++)
    out->ref.start[i] = out->index[i];
  return true;
}

/* Writes outside a tensor are dropped. */
static void append_guarded(lower *l, const element *target, ir_op *op) {
  const ir_expr *inside = target->value->space == IR_GLOBAL ? inside_predicate(l, target->value, target->index) : NULL;
  if (!inside || ir_is_constant(inside, &(int64_t){0})) {
    ir_block_append(l->block, op);
    return;
  }
  ir_op *guard = append(l, IR_OP_IF, op->loc);
  ir_op_add_expr(l->memory, guard, inside);
  ir_block_append(&guard->body, op);
}

/* A block of its own for an element written outside parallel: one thread does it. */
static ir_block *open_single(lower *l, src_loc loc) {
  ir_block *outer = l->block;
  ir_op *parallel = append(l, IR_OP_PARALLEL, loc);
  ir_value *variable = ir_value_create(l->memory, l->kernel, IR_INDEX, IR_I32, "once", loc);
  parallel->variable = arena_copy(l->memory, &variable, sizeof variable);
  parallel->variable_count = 1;
  ir_op_add_expr(l->memory, parallel, ir_int(l->memory, 1));
  l->block = &parallel->body;
  l->in_parallel = true;
  return outer;
}

static void close_single(lower *l, ir_block *outer) {
  l->block = outer;
  l->in_parallel = false;
}

static const ir_expr *element_value(lower *l, const ast_stmt *stmt, const element *target, ir_expr_kind op,
                                    bool combine) {
  operand value = eval(l, stmt->value);
  if (value.kind == OPERAND_BAD) return NULL;
  if (value.kind == OPERAND_TILE) {
    diag_error(l->d, DIAG_TYPE, stmt->value->loc, "one element is assigned, not the tile %s", operand_text(l, &value));
    return NULL;
  }
  if (combine) {
    operand both[2] = {operand_scalar(stmt->target->loc,
                                      ir_element(l->memory, target->value, NULL, target->value->rank, target->index)),
                       value};
    value = operand_apply(l, op, stmt->op_loc, both, 2);
  }
  return check_store(l, &value, target->value->type) ? operand_expr(l, &value) : NULL;
}

void lower_element(lower *l, const ast_stmt *stmt) {
  element target;
  bool single = !l->in_parallel;
  ir_block *outer = single ? open_single(l, stmt->loc) : NULL;
  bool combine = stmt->assign != AST_SET;
  if (eval_target(l, stmt->target, combine, &target)) {
    const ir_expr *value =
        element_value(l, stmt, &target, combine ? assign_operator(stmt->assign) : IR_EXPR_ADD, combine);
    if (value) {
      ir_op *set = ir_op_create(l->memory, IR_OP_SET, stmt->loc);
      ir_op_add_write(set, target.ref);
      ir_op_add_expr(l->memory, set, value);
      append_guarded(l, &target, set);
    }
  }
  if (single) close_single(l, outer);
}

static bool atomic_operation(ast_assign assign, ir_operation *out) {
  switch (assign) {
  case AST_ADD:
    *out = IR_SUM;
    return true;
  case AST_MAX:
    *out = IR_MAX;
    return true;
  case AST_MIN:
    *out = IR_MIN;
    return true;
  case AST_BIT_AND:
    *out = IR_AND;
    return true;
  case AST_BIT_OR:
    *out = IR_OR;
    return true;
  case AST_BIT_XOR:
    *out = IR_XOR;
    return true;
  default:
    return false;
  }
}

void lower_atomic_element(lower *l, const ast_stmt *stmt) {
  element target;
  ir_operation operation = IR_SUM;
  if (!atomic_operation(stmt->assign, &operation)) {
    diag_error(l->d, DIAG_ATOMIC, stmt->op_loc, "atomic takes += max= min= &= |= or ^=");
    return;
  }
  bool single = !l->in_parallel;
  ir_block *outer = single ? open_single(l, stmt->loc) : NULL;
  if (eval_target(l, stmt->target, true, &target)) {
    if (target.value->space == IR_TILE) {
      diag_error(l->d, DIAG_ATOMIC, stmt->target->loc, "atomic works on shared buffers and tensors, and '%s' is a tile",
                 target.value->name);
      diag_note(l->d, target.value->loc, "'%s' is declared here", target.value->name);
    } else {
      const ir_expr *value = element_value(l, stmt, &target, IR_EXPR_ADD, false);
      if (value) {
        ir_op *atomic = ir_op_create(l->memory, IR_OP_ATOMIC, stmt->loc);
        ir_op_add_write(atomic, target.ref);
        ir_op_add_expr(l->memory, atomic, value);
        ir_attr_set(&atomic->attrs, IR_ATTR_OPERATION, operation);
        append_guarded(l, &target, atomic);
      }
    }
  }
  if (single) close_single(l, outer);
}

/* -- Extents of the coordinates ------------------------------------------------------------------------------------ */

static const ir_expr *extent_in_block(lower *l, const ast_block *block, const char *name);

/* The extent of a dimension of a tile that is subscripted by just the coordinate. */
static const ir_expr *extent_in_expr(lower *l, const ast_expr *e, const char *name) {
  if (!e) return NULL;
  const ir_value *value = e->kind == AST_INDEX ? named_value(l, e->left) : NULL;
  int dim = 0;
  for (const ast_item *item = e->items; item; item = item->next, dim++) {
    bool is_name = item->value && item->value->kind == AST_NAME && strcmp(item->value->name, name) == 0;
    if (is_name && value && (value->space == IR_TILE || value->space == IR_SHARED) && dim < value->rank)
      return value->extent[dim];
    const ir_expr *extent = extent_in_expr(l, item->value, name);
    if (extent) return extent;
  }
  const ast_expr *parts[] = {e->condition, e->left, e->right};
  for (int i = 0; i < 3; i++) {
    const ir_expr *extent = extent_in_expr(l, parts[i], name);
    if (extent) return extent;
  }
  return NULL;
}

static const ir_expr *extent_in_stmt(lower *l, const ast_stmt *stmt, const char *name) {
  const ast_expr *parts[] = {stmt->target, stmt->value, stmt->limit, stmt->otherwise};
  for (int i = 0; i < 4; i++) {
    const ir_expr *extent = extent_in_expr(l, parts[i], name);
    if (extent) return extent;
  }
  for (const ast_declaration *d = stmt->declarations; d; d = d->next) {
    const ir_expr *extent = extent_in_expr(l, d->init, name);
    if (extent) return extent;
  }
  const ir_expr *extent = extent_in_block(l, &stmt->body, name);
  return extent ? extent : extent_in_block(l, &stmt->other, name);
}

static const ir_expr *extent_in_block(lower *l, const ast_block *block, const char *name) {
  for (const ast_stmt *stmt = block->first; stmt; stmt = stmt->next) {
    const ir_expr *extent = extent_in_stmt(l, stmt, name);
    if (extent) return extent;
  }
  return NULL;
}

static const ir_expr *coordinate_extent(lower *l, const ast_stmt *stmt, const ast_item *coordinate) {
  if (coordinate->value) {
    const ir_expr *extent = eval_extent(l, coordinate->value);
    if (!extent || ir_is_constant(extent, &(int64_t){0})) return extent;
    diag_error(l->d, DIAG_NOT_CONSTANT, coordinate->value->loc,
               "the extent of a coordinate must be known at compile time");
    return NULL;
  }
  const ir_expr *extent = extent_in_block(l, &stmt->body, coordinate->name);
  if (!extent)
    diag_error(l->d, DIAG_PARALLEL, coordinate->loc,
               "nothing says how far '%s' goes: no tile has it as a subscript; write %s in extent", coordinate->name,
               coordinate->name);
  return extent;
}

void lower_parallel(lower *l, const ast_stmt *stmt) {
  if (l->in_parallel) {
    diag_error(l->d, DIAG_PARALLEL, stmt->loc, "parallel cannot stand inside parallel; give one all the coordinates");
    return;
  }
  int count = ast_item_count(stmt->coordinates), dim = 0;
  if (count > LOWER_MAX_TILE_RANK) {
    diag_error(l->d, DIAG_PARALLEL, stmt->loc, "parallel has at most %d coordinates, not %d", LOWER_MAX_TILE_RANK,
               count);
    return;
  }
  ir_op *parallel = ir_op_create(l->memory, IR_OP_PARALLEL, stmt->loc);
  parallel->variable = ARENA_ARRAY(l->memory, ir_value *, count);
  parallel->variable_count = count;
  scope *saved = l->scope;
  const ir_expr *extents[LOWER_MAX_TILE_RANK];
  for (const ast_item *item = stmt->coordinates; item; item = item->next, dim++) {
    extents[dim] = coordinate_extent(l, stmt, item);
    if (!extents[dim]) return;
  }
  scope_push(l);
  dim = 0;
  bool ok = true;
  for (const ast_item *item = stmt->coordinates; item; item = item->next, dim++) {
    binding *b = scope_add(l, BINDING_VALUE, item->name, item->loc);
    ok = ok && b;
    if (!b) continue;
    int64_t extent = 0;
    b->value = parallel->variable[dim] = ir_value_create(l->memory, l->kernel, IR_INDEX, IR_I32, item->name, item->loc);
    ir_is_constant(extents[dim], &extent);
    set_range(l, b->value, 0, extent - 1, extents[dim]);
    ir_op_add_expr(l->memory, parallel, extents[dim]);
  }
  ir_block *outer = l->block;
  l->block = &parallel->body;
  l->in_parallel = true;
  if (ok) lower_block(l, &stmt->body);
  l->in_parallel = false;
  l->block = outer;
  l->scope = saved;
  if (ok) ir_block_append(l->block, parallel);
}
