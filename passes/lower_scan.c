/* Scans: element i of a row becomes the combination of elements 0 .. i of it (exclusive: 0 .. i - 1).
 *
 * Rows go through a scratch buffer, and one thread walks one row: right for every layout, in the order that the
 * definition says. */
#include "passes/lower_rows.h"

/* Coordinates of row number `row`, without the one along the axis. */
static void row_coords(lower *l, const tile_layout *layout, int axis, const ir_expr *row,
                       const ir_expr *coord[LAYOUT_MAX_RANK]) {
  int last = -1;
  for (int d = 0; d < layout->rank && last < 0; d++)
    if (d != axis) last = d; /* outermost: what is left of the number */
  for (int d = layout->rank - 1; d >= 0; d--) {
    if (d == axis) continue;
    const ir_expr *extent = thread_int(l, layout->extent[d]);
    coord[d] = d == last ? row : thread_let(l, "at", ir_binary(l->memory, IR_EXPR_MOD, row, extent));
    if (d != last) row = thread_let(l, "left", ir_binary(l->memory, IR_EXPR_DIV, row, extent));
  }
}

/* Scans the row that starts at coord; the element is written back where it was read. */
static void scan_row(lower *l, const ir_op *op, ir_value *scratch, int axis, const ir_expr **coord) {
  ir_operation operation = (ir_operation)ir_attr_get(&op->attrs, IR_ATTR_OPERATION, IR_SUM);
  bool exclusive = ir_attr_get(&op->attrs, IR_ATTR_EXCLUSIVE, 0) != 0;
  ir_value *words = thread_array(l, "running", scratch->type, 2);
  const ir_expr *running = thread_int(l, 0), *element = thread_int(l, 1), *along;
  thread_set_word(l, words, running, thread_identity(l, operation, scratch->type));
  ir_block *saved = thread_loop(l, "c", scratch->extent[axis], 0, &along);
  coord[axis] = along;
  const ir_expr *address = thread_let(l, "address", thread_shared_address(l, scratch, NULL, coord));
  thread_load_word(l, words, element, scratch, address);
  if (exclusive) thread_store_word(l, scratch, address, words, running, NULL);
  thread_set_word(l, words, running,
                  thread_combine(l, operation, thread_word(l, words, running), thread_word(l, words, element)));
  if (!exclusive) thread_store_word(l, scratch, address, words, running, NULL);
  thread_leave(l, saved);
}

void thread_scan(lower *l, const ir_op *op) {
  const ir_value *source = op->read[0].value, *to = op->write[0].value;
  int axis = (int)ir_attr_get(&op->attrs, IR_ATTR_AXIS, 0), rows = 1, threads = l->warp_count * 32;
  for (int d = 0; d < source->rank; d++)
    if (d != axis) rows *= (int)ir_extent(source, d);
  ir_value *scratch = thread_to_scratch(l, source);
  const ir_expr *turn = thread_int(l, 0), *coord[LAYOUT_MAX_RANK];
  int turns = (rows + threads - 1) / threads;
  ir_block *each = turns > 1 ? thread_loop(l, "turn", thread_int(l, turns), 0, &turn) : NULL;
  const ir_expr *row = thread_let(l, "row", thread_add(l, thread_mul(l, turn, thread_int(l, threads)), l->thread));
  ir_block *guard = thread_guard(l, ir_binary(l->memory, IR_EXPR_LT, row, thread_int(l, rows)));
  row_coords(l, source->tile, axis, row, coord);
  scan_row(l, op, scratch, axis, coord);
  thread_leave(l, guard);
  if (each) thread_leave(l, each);
  thread_meet(l);
  const tile_layout *layout = to->tile;
  ir_value *values = thread_array(l, "scanned", scratch->type, layout->reg_count);
  for (int reg = 0; reg < layout->reg_count; reg++) {
    thread_register_coords(l, layout, reg, coord);
    thread_load_word(l, values, thread_int(l, reg), scratch, thread_shared_address(l, scratch, NULL, coord));
  }
  thread_from_values(l, to, values, false, IR_SUM);
}
