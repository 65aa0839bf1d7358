/* cp.async, from global to shared memory: addresses are a step away from one that the thread keeps. */
#include "passes/lower_transfer.h"

/* Where the thread's groups of an asynchronous copy begin: the offset of the coordinates it has of its own. What
 * register number and loop variable add to it is then one addition, or a constant. */
void transfer_begin_async(transfer *t, const ir_ref *from) {
  lower *l = t->l;
  const ir_expr *own[IR_MAX_RANK], *at[IR_MAX_RANK];
  for (int d = 0; d < t->rank; d++)
    own[d] = thread_own_coord(l, &t->layout, d);
  transfer_place(t, from, own, at);
  t->first = thread_let(l, "from", thread_global_offset(l, from->value, at));
}

/* Byte offset of the group from the thread's first. */
static const ir_expr *async_step(transfer *t, const ir_ref *from) {
  lower *l = t->l;
  const ir_expr *at[IR_MAX_RANK];
  int next = 0;
  for (int d = 0; d < from->value->rank; d++) {
    bool moves = !from->count || from->span[d];
    at[d] = moves ? thread_register_coord(l, &t->layout, next++, t->vector, 0, t->group) : thread_int(l, 0);
  }
  return thread_global_offset(l, from->value, at);
}

/* The shared address of the group: of the thread's own coordinates and the group's, which are constants or not. */
static const ir_expr *async_target(transfer *t, const ir_ref *to) {
  lower *l = t->l;
  const ir_expr *own[IR_MAX_RANK], *coord[IR_MAX_RANK], *target[IR_MAX_RANK];
  int more[IR_MAX_RANK] = {0}, next = 0;
  bool constant = true;
  for (int d = 0; d < t->rank; d++)
    own[d] = thread_own_coord(l, &t->layout, d);
  for (int d = 0; d < to->value->rank; d++) {
    int64_t known = 0;
    if (to->count && !to->span[d]) continue;
    constant &= ir_is_constant(thread_register_coord(l, &t->layout, next++, t->vector, 0, t->group), &known);
    more[d] = (int)known;
  }
  if (constant) {
    transfer_place(t, to, own, target);
    return thread_shared_address_near(l, to->value, to->slot, target, more);
  }
  transfer_coords(t, 0, coord);
  transfer_place(t, to, coord, target);
  return thread_shared_address(l, to->value, to->slot, target);
}

/* global -> shared, asynchronously. Where nothing is read, the address does not matter. */
void transfer_async(transfer *t, const ir_ref *from, const ir_ref *to) {
  lower *l = t->l;
  const ir_expr *coord[IR_MAX_RANK], *at[IR_MAX_RANK];
  transfer_coords(t, 0, coord);
  transfer_place(t, from, coord, at);
  int bytes = t->vector * ir_bits(from->value->type) / 8;
  ir_op *op = ir_op_create(l->memory, IR_OP_CP_ASYNC, l->loc);
  ir_ref buffer = ir_ref_whole(to->value);
  buffer.slot = to->slot;
  const ir_expr *address = async_target(t, to);
  const ir_expr *count =
      ir_ternary(l->memory, IR_EXPR_SELECT, transfer_guard(t, from, at), thread_int(l, bytes), thread_int(l, 0));
  const ir_expr *offset = thread_add(l, t->first, async_step(t, from));
  ir_op_add_write(op, buffer);
  ir_op_add_read(op, ir_ref_whole(from->value));
  ir_op_add_expr(l->memory, op, address);
  ir_op_add_expr(l->memory, op, offset);
  ir_op_add_expr(l->memory, op, count);
  ir_attr_set(&op->attrs, IR_ATTR_WIDTH, bytes);
  const ir_expr *owner = thread_canonical(l, &t->layout);
  ir_block *saved = l->out;
  if (owner) saved = thread_guard(l, owner);
  ir_block_append(l->out, op);
  thread_leave(l, saved);
}
