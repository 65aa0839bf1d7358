/* Where the accesses of a copy lie: their coordinates in tiles, buffers and tensors, and when they are inside. */
#include "passes/lower_transfer.h"

#include "passes/region.h"

void transfer_place(transfer *t, const ir_ref *ref, const ir_expr *const *coord, const ir_expr **at) {
  lower *l = t->l;
  int next = 0;
  for (int d = 0; d < ref->value->rank; d++) {
    if (!ref->count)
      at[d] = coord[d];
    else if (ref->span[d])
      at[d] = thread_add(l, ref->start[d], coord[next++]);
    else
      at[d] = ref->start[d];
  }
}

const ir_expr *transfer_register_coord(transfer *t, int d, int access, const ir_expr *group) {
  return thread_register_coord(t->l, &t->layout, d, t->vector * t->accesses, t->vector * access, group);
}

void transfer_coords(transfer *t, int access, const ir_expr **coord) {
  for (int d = 0; d < t->rank; d++) {
    const ir_expr *at = transfer_register_coord(t, d, access, t->group);
    if (t->part.first[d]) at = ir_binary(t->l->memory, IR_EXPR_SUB, at, thread_int(t->l, t->part.first[d]));
    coord[d] = thread_add(t->l, thread_own_coord(t->l, &t->layout, d), at);
  }
}

const ir_expr *transfer_in_part(transfer *t, const ir_expr *const *coord) {
  lower *l = t->l;
  const ir_expr *inside = ir_bool(l->memory, true);
  const ir_ref *tile = &t->op->read[0];
  for (int d = 0; d < t->rank && !t->part.is_whole; d++) {
    inside = ir_binary(l->memory, IR_EXPR_AND, inside, ir_binary(l->memory, IR_EXPR_GE, coord[d], thread_int(l, 0)));
    inside = ir_binary(l->memory, IR_EXPR_AND, inside,
                       ir_binary(l->memory, IR_EXPR_LT, coord[d], thread_int(l, tile->span[d])));
  }
  return inside;
}

static bool is_of_group(const transfer *t, const ir_expr *e) {
  if (e->kind == IR_EXPR_INT || ir_expr_equal(e, t->group)) return true;
  for (int i = 0; i < e->arg_count; i++)
    if (!is_of_group(t, e->args[i])) return false;
  return e->arg_count > 0;
}

/* The terms of a coordinate that are the same for all groups (`moving` false), or those that are not; NULL: none. */
static const ir_expr *terms_of(const transfer *t, const ir_expr *coord, bool moving) {
  if (coord->kind != IR_EXPR_ADD) return is_of_group(t, coord) == moving ? coord : NULL;
  const ir_expr *a = terms_of(t, coord->args[0], moving), *b = terms_of(t, coord->args[1], moving);
  return !a ? b : !b ? a : thread_add(t->l, a, b);
}

/* Whether the coordinate is below the extent, as a comparison of what an unrolled loop makes a constant with what is
 * the same for all of its accesses. */
static const ir_expr *is_below(transfer *t, const ir_expr *coord, const ir_expr *extent) {
  const ir_expr *moving = terms_of(t, coord, true), *same = terms_of(t, coord, false);
  if (t->l->has_dots) return ir_binary(t->l->memory, IR_EXPR_LT, coord, extent);
  if (moving && same) extent = ir_binary(t->l->memory, IR_EXPR_SUB, extent, same);
  return ir_binary(t->l->memory, IR_EXPR_LT, moving ? moving : same, extent);
}

const ir_expr *transfer_guard(transfer *t, const ir_ref *ref, const ir_expr *const *at) {
  lower *l = t->l;
  if (ref->value->space != IR_GLOBAL) return ir_bool(l->memory, true);
  const ir_expr *inside = ir_bool(l->memory, true);
  for (int d = 0; d < ref->value->rank; d++) {
    int64_t place_in, extent;
    const ir_expr *end = ref->value->extent[d];
    bool known = ir_is_constant(at[d], &place_in) && ir_is_constant(end, &extent);
    if (known && place_in >= 0 && place_in < extent) continue;
    inside = ir_binary(l->memory, IR_EXPR_AND, inside, is_below(t, at[d], end));
  }
  for (int d = 0; d < ref->count; d++)
    if (region_may_be_negative(l->kernel, ref->start[d]))
      inside = ir_binary(l->memory, IR_EXPR_AND, inside, ir_binary(l->memory, IR_EXPR_GE, at[d], thread_int(l, 0)));
  return inside;
}
