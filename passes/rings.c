#include "passes/rings.h"

/* `waited` is what stands in front of the block; returns what stands in front of what is behind it. */
static ir_value *find_freed(rings *r, const ir_block *block, ir_value *waited) {
  for (const ir_op *op = block->first; op; op = op->next) {
    if (op->kind == IR_OP_MBAR_WAIT) waited = op->read[0].value;
    if (op->kind == IR_OP_COPY && op->read_count > 1 && op->read[1].value)
      r->freed_by[op->write[0].value->number] = waited;
    waited = find_freed(r, &op->body, waited);
    waited = find_freed(r, &op->other, waited);
  }
  return waited;
}

static void reader_visit(void *data, ir_op *op, ir_value *value, bool written) {
  rings *r = data;
  ir_value *barrier = r->freed_by[value->number];
  bool together = op->kind == IR_OP_DOT && ir_attr_get(&op->attrs, IR_ATTR_INSTRUCTION, 0) == IR_INSTRUCTION_WGMMA;
  if (!written && barrier && !together) r->read_by_lanes[barrier->number] = true;
}

rings rings_find(arena *scratch, const ir_kernel *kernel) {
  rings r = {ARENA_ARRAY(scratch, ir_value *, kernel->value_count), ARENA_ARRAY(scratch, bool, kernel->value_count)};
  find_freed(&r, &kernel->body, NULL);
  for (ir_op *op = kernel->body.first; op; op = op->next)
    ir_op_visit(op, true, reader_visit, &r);
  return r;
}
