#include "passes/variance.h"

typedef struct variance {
  const bool *varies;
  bool found;
} variance;

static void variance_visit(void *data, ir_op *op, ir_value *value, bool written) {
  variance *v = data;
  (void)op;
  if (!written && v->varies[value->number]) v->found = true;
}

bool op_varies(ir_op *op, const bool *varies) {
  variance v = {varies, false};
  ir_op_visit(op, false, variance_visit, &v);
  return v.found;
}

static bool names_block(const ir_expr *e) {
  bool found = e && e->kind == IR_EXPR_BLOCK;
  for (int i = 0; e && i < e->arg_count; i++)
    found |= names_block(e->args[i]);
  return found;
}

bool op_varies_by_block(ir_op *op, const bool *varies) {
  bool found = op_varies(op, varies);
  for (int i = 0; i < op->expr_count; i++)
    found |= names_block(op->expr[i]);
  for (int i = 0; i < op->read_count; i++)
    for (int d = 0; d < op->read[i].count; d++)
      found |= names_block(op->read[i].start[d]);
  return found;
}

typedef bool op_test(ir_op *op, const bool *varies);

static void spread(ir_block *block, bool *varies, op_test *does, bool inside) {
  for (ir_op *op = block->first; op; op = op->next) {
    bool here = inside || does(op, varies);
    for (int i = 0; i < op->write_count; i++)
      if (here && (op->write[i].value->space == IR_SCALAR || op->write[i].value->space == IR_INDEX))
        varies[op->write[i].value->number] = true;
    spread(&op->body, varies, does, here);
    spread(&op->other, varies, does, here);
  }
}

bool *variance_of(arena *scratch, ir_kernel *kernel, const ir_value *index) {
  bool *varies = ARENA_ARRAY(scratch, bool, kernel->value_count);
  varies[index->number] = true;
  spread(&kernel->body, varies, op_varies, false);
  return varies;
}

bool *variance_by_block(arena *scratch, ir_kernel *kernel) {
  bool *varies = ARENA_ARRAY(scratch, bool, kernel->value_count);
  spread(&kernel->body, varies, op_varies_by_block, false);
  return varies;
}

int64_t common_load_bytes(ir_block *block, const bool *varies) {
  int64_t bytes = 0;
  for (ir_op *op = block->first; op; op = op->next) {
    bytes += common_load_bytes(&op->body, varies) + common_load_bytes(&op->other, varies);
    if (op->kind == IR_OP_COPY && op->read[0].value->space == IR_GLOBAL && op->write[0].value->space == IR_SHARED &&
        !op_varies(op, varies))
      bytes += ir_element_count(op->write[0].value) * ir_bits(op->write[0].value->type) / 8;
  }
  return bytes;
}

/* -- Work ---------------------------------------------------------------------------------------------------------- */

enum { TYPICAL_SIZE = 4096 };

typedef struct evaluation {
  arena *memory;
  const ir_expr **value; /* by value number: what a scalar is; NULL: unknown */
  int count;
  int64_t trips;
  bool known;
} evaluation;

/* Adds up the iterations of the loops whose bounds are known once sizes and grid indices are. */
static void count_trips(evaluation *e, const ir_block *block) {
  for (const ir_op *op = block->first; op; op = op->next) {
    if (op->kind == IR_OP_LET)
      e->value[op->write[0].value->number] = ir_substitute(e->memory, op->expr[0], e->value, e->count);
    int64_t lo, hi;
    if (op->kind == IR_OP_FOR) {
      if (ir_is_constant(ir_substitute(e->memory, op->expr[0], e->value, e->count), &lo) &&
          ir_is_constant(ir_substitute(e->memory, op->expr[1], e->value, e->count), &hi))
        e->trips += hi > lo ? hi - lo : 0;
      else
        e->known = false;
    }
    count_trips(e, &op->body);
    count_trips(e, &op->other);
  }
}

static int64_t trips_at(arena *scratch, ir_kernel *kernel, int grid_dim, int64_t index, bool *known) {
  evaluation e = {scratch, ARENA_ARRAY(scratch, const ir_expr *, kernel->value_count), kernel->value_count, 0, true};
  for (int i = 0; i < kernel->value_count; i++)
    if (kernel->values[i]->space == IR_SIZE)
      e.value[i] = ir_int(scratch, kernel->values[i]->bound >= 0 ? kernel->values[i]->bound : TYPICAL_SIZE);
  for (int d = 0; d < kernel->grid_count; d++)
    e.value[kernel->grid[d].index->number] = ir_int(scratch, d == grid_dim ? index : 0);
  count_trips(&e, &kernel->body);
  *known = e.known;
  return e.trips;
}

int work_trend(arena *scratch, ir_kernel *kernel, int grid_dim) {
  bool known[2];
  int64_t first = trips_at(scratch, kernel, grid_dim, 0, &known[0]),
          later = trips_at(scratch, kernel, grid_dim, 8, &known[1]);
  if (!known[0] || !known[1] || first == later) return 0;
  return later > first ? 1 : -1;
}
