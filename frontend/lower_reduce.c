/* Reductions, scans and votes. */
#include "frontend/lower.h"

/* The tile and the axis of `max(t, axis = 1)`. */
static bool eval_source(lower *l, const ast_expr *call, operand *source, int *axis) {
  const ast_item *item = call->items;
  while (item->name)
    item = item->next;
  *source = eval(l, item->value);
  if (source->kind == OPERAND_BAD) return false;
  if (source->kind != OPERAND_TILE)
    return diag_error(l->d, DIAG_REDUCE, item->value->loc, "%s runs along an axis of a tile, not of %s", call->name,
                      operand_text(l, source));
  const ast_item *axis_item = named_argument(call->items, "axis");
  int64_t at = 0;
  if (!axis_item && source->rank > 1)
    return diag_error(l->d, DIAG_REDUCE, call->loc, "%s of %s needs its axis, as in axis = %d", call->name,
                      operand_text(l, source), source->rank - 1);
  if (axis_item && !eval_int(l, axis_item->value, -source->rank, source->rank - 1, "axis", &at)) return false;
  *axis = (int)(at < 0 ? at + source->rank : at);
  if (source->type == IR_PRED)
    return diag_error(l->d, DIAG_REDUCE, call->loc, "%s takes numbers; any(...) and all(...) take conditions",
                      call->name);
  return true;
}

/* Extents without the axis; a row that is reduced away leaves one element. */
static int reduced_extents(const operand *source, int axis, int *extent) {
  int rank = 0;
  for (int i = 0; i < source->rank; i++)
    if (i != axis) extent[rank++] = source->extent[i];
  if (rank == 0) extent[rank++] = 1;
  return rank;
}

static bool has_extents(const ir_value *value, int rank, const int *extent) {
  bool same = value->rank == rank;
  for (int i = 0; same && i < rank; i++)
    same = extent_of(value, i) == extent[i];
  return same;
}

ir_value *lower_reduce(lower *l, const ast_expr *call, ir_operation operation, ir_value *dst, bool accumulate) {
  static const char *const names[] = {"axis", NULL};
  operand source;
  int axis = 0, extent[IR_MAX_RANK], kept[IR_MAX_RANK];
  if (!check_arguments(l, call, 1, names) || !eval_source(l, call, &source, &axis)) return NULL;
  int rank = reduced_extents(&source, axis, extent);
  for (int i = 0; i < source.rank; i++)
    kept[i] = i == axis ? 1 : source.extent[i];
  ir_type type = ir_compute_type(source.type);
  if (dst && !has_extents(dst, rank, extent) && !has_extents(dst, source.rank, kept)) {
    operand gives = {.kind = OPERAND_TILE, .type = type, .rank = rank};
    for (int i = 0; i < rank; i++)
      gives.extent[i] = extent[i];
    diag_error(l->d, DIAG_SHAPE, call->loc, "this %s gives %s, but '%s' is %s", call->name, operand_text(l, &gives),
               dst->name, value_text(l, dst));
    diag_note(l->d, dst->loc, "'%s' is declared here", dst->name);
    return NULL;
  }
  ir_value *tile = tile_of(l, source, type, call->name);
  if (!tile) return NULL;
  bool direct = dst && dst->space == IR_TILE && dst->type == type;
  ir_value *result = direct ? dst : new_tile(l, call->name, type, rank, extent, call->loc);
  ir_op *reduce = append(l, IR_OP_REDUCE, call->loc);
  ir_op_add_write(reduce, ir_ref_whole(result));
  ir_op_add_read(reduce, ir_ref_whole(tile));
  ir_attr_set(&reduce->attrs, IR_ATTR_AXIS, axis);
  ir_attr_set(&reduce->attrs, IR_ATTR_OPERATION, operation);
  if (direct && accumulate) ir_attr_set(&reduce->attrs, IR_ATTR_ACCUMULATE, 1);
  if (direct || !dst) return result;
  operand value = operand_tile(call->loc, result);
  if (accumulate) {
    ir_expr_kind combine = operation == IR_SUM   ? IR_EXPR_ADD
                           : operation == IR_MUL ? IR_EXPR_MUL
                           : operation == IR_MAX ? IR_EXPR_MAX
                                                 : IR_EXPR_MIN;
    operand both[2] = {operand_tile(call->loc, dst), value};
    value = operand_apply(l, combine, call->loc, both, 2);
  }
  return assign_tile(l, dst, value, call->loc) ? dst : NULL;
}

ir_value *lower_scan(lower *l, const ast_expr *call, ir_operation operation, ir_value *dst) {
  static const char *const names[] = {"axis", "exclusive", NULL};
  operand source;
  int axis = 0;
  bool exclusive = false;
  if (!check_arguments(l, call, 1, names) || !eval_source(l, call, &source, &axis)) return NULL;
  const ast_item *item = named_argument(call->items, "exclusive");
  if (item && !eval_bool(l, item->value, "exclusive", &exclusive)) return NULL;
  ir_type type = ir_compute_type(source.type);
  ir_value *tile = tile_of(l, source, type, call->name);
  if (!tile) return NULL;
  bool direct = dst && dst->space == IR_TILE && dst->type == type && has_extents(dst, source.rank, source.extent);
  ir_value *result = direct ? dst : new_tile(l, call->name, type, source.rank, source.extent, call->loc);
  ir_op *scan = append(l, IR_OP_SCAN, call->loc);
  ir_op_add_write(scan, ir_ref_whole(result));
  ir_op_add_read(scan, ir_ref_whole(tile));
  ir_attr_set(&scan->attrs, IR_ATTR_AXIS, axis);
  ir_attr_set(&scan->attrs, IR_ATTR_OPERATION, operation);
  if (exclusive) ir_attr_set(&scan->attrs, IR_ATTR_EXCLUSIVE, 1);
  if (direct || !dst) return result;
  return assign_tile(l, dst, operand_tile(call->loc, result), call->loc) ? dst : NULL;
}

operand lower_vote(lower *l, const ast_expr *call, ir_operation operation) {
  if (!check_arguments(l, call, 1, NULL)) return operand_bad(call->loc);
  operand source = eval(l, call->items->value);
  if (source.kind == OPERAND_BAD) return source;
  if (source.kind != OPERAND_TILE || source.type != IR_PRED) {
    diag_error(l->d, DIAG_REDUCE, call->loc, "%s takes a tile of conditions, as in %s(t > 0), not %s", call->name,
               call->name, operand_text(l, &source));
    return operand_bad(call->loc);
  }
  ir_value *tile = tile_of(l, source, IR_PRED, "condition");
  if (!tile) return operand_bad(call->loc);
  ir_value *flag = ir_value_create(l->memory, l->kernel, IR_SCALAR, IR_PRED, call->name, call->loc);
  ir_op *vote = append(l, IR_OP_VOTE, call->loc);
  ir_op_add_write(vote, ir_ref_whole(flag));
  ir_op_add_read(vote, ir_ref_whole(tile));
  ir_attr_set(&vote->attrs, IR_ATTR_OPERATION, operation);
  return operand_scalar(call->loc, ir_read(l->memory, flag));
}
