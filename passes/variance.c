#include "passes/variance.h"

typedef struct variance {
  const bool *varies;
  bool found;
} variance;

static void variance_visit(void *data, ir_op *op, ir_value *value, bool written) {
  variance *v = data;
  (void)op;
  if (!written && v->varies[value->number])
    v->found = true;
}

bool op_varies(ir_op *op, const bool *varies) {
  variance v = {varies, false};
  ir_op_visit(op, false, variance_visit, &v);
  return v.found;
}

static void spread(ir_block *block, bool *varies, bool inside) {
  for (ir_op *op = block->first; op; op = op->next) {
    bool here = inside || op_varies(op, varies);
    for (int i = 0; i < op->write_count; i++)
      if (here && (op->write[i].value->space == IR_SCALAR || op->write[i].value->space == IR_INDEX))
        varies[op->write[i].value->number] = true;
    spread(&op->body, varies, here);
    spread(&op->other, varies, here);
  }
}

bool *variance_of(arena *scratch, ir_kernel *kernel, const ir_value *index) {
  bool *varies = ARENA_ARRAY(scratch, bool, kernel->value_count);
  varies[index->number] = true;
  spread(&kernel->body, varies, false);
  return varies;
}

int64_t common_load_bytes(ir_block *block, const bool *varies) {
  int64_t bytes = 0;
  for (ir_op *op = block->first; op; op = op->next) {
    bytes += common_load_bytes(&op->body, varies) + common_load_bytes(&op->other, varies);
    if (op->kind == IR_OP_COPY && op->read[0].value->space == IR_GLOBAL && op->write[0].value->space == IR_SHARED && !op_varies(op, varies))
      bytes += ir_element_count(op->write[0].value) * ir_bits(op->write[0].value->type) / 8;
  }
  return bytes;
}
