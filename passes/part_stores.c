/* part-stores: let each warpgroup store its own share of a tile, without waiting for the others.
 *
 *   before  %stage <- copy %acc {engine = matrix}         after  %stage <- copy %acc {axis = 0, engine = matrix, parts = 2}
 *           %C[...] <- copy %stage {engine = tma}                %C[...] <- copy %stage {axis = 0, engine = tma, parts = 2}
 *
 * A staged tile is as many shares as there are warpgroups, along its rows or (of one that was computed transposed) its
 * panels of columns, where each warpgroup holds the elements of its own. A barrier between filling and storing then
 * concerns a warpgroup only (place-barriers), and one thread of each stores its boxes (lower-threads): the warpgroups drift
 * apart, and what one does behind its dots lies under the dots of another.
 *
 * A group of bulk stores belongs to the thread that issued it, so either all stores of a role are in parts or none is.
 * None is where there is no room to drift: a slot is filled again when the last warpgroup has read it, so rings of a single
 * slot, or few slots in all, tie the warpgroups together, and one that runs ahead only waits (docs/performance.md). Nor is
 * any where dots promote their sums: what fills the pauses of one warpgroup then is another in step with it.
 * prove-layouts checks the shares again. */
#include "passes/pass.h"
#include "passes/region.h"
#include "passes/tensor_core.h"

enum { WARPGROUP = 4, SWIZZLE_ROWS = 8, MAX_BOX = 256, LEAST_SLOTS = 3 };

typedef struct context {
  int parts;
  bool *staged; /* by value number: what the stores read */
  int *axis;    /* of those: what the shares lie along */
  bool *ring;   /* by the number of the barrier that says a slot is full: counted */
  int slots;    /* of all rings */
  bool refused;
} context;

static bool is_store(const ir_op *op) {
  int64_t engine = ir_attr_get(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_NONE);
  return op->kind == IR_OP_COPY && op->write[0].value->space == IR_GLOBAL &&
         (engine == IR_ENGINE_TMA || engine == IR_ENGINE_BULK);
}

/* Whether boxes of tensor maps can be shares of the buffer: rows of all panels, or whole panels. */
static bool has_shares(const ir_value *stage, int axis, int parts) {
  const shared_layout *layout = stage->shared;
  if (layout->rank != 2 || layout->contiguous != 1 || layout->extent[0] > MAX_BOX) return false;
  return axis == 0 ? layout->extent[0] % (parts * SWIZZLE_ROWS) == 0 : layout->panel_count % parts == 0;
}

/* Rings that the producer fills; buffers that are filled together are one. */
static void count_slots(context *c, const ir_op *copy) {
  const ir_value *full = copy->read_count > 1 ? copy->read[1].value : NULL;
  if (!full || c->ring[full->number]) return;
  c->ring[full->number] = true;
  c->slots += full->slots;
  c->refused |= full->slots < 2;
}

static bool look_at_op(void *data, ir_block *block, ir_op *op) {
  context *c = data;
  (void)block;
  c->refused |= op->kind == IR_OP_DOT && dot_promotes(op);
  if (op->kind != IR_OP_COPY) return true;
  count_slots(c, op);
  if (!is_store(op)) return true;
  const ir_value *stage = op->read[0].value;
  if (stage->space == IR_SHARED && stage->shared && stage->slots <= 1 && !op->read[0].count &&
      ir_attr_get(&op->attrs, IR_ATTR_ENGINE, 0) == IR_ENGINE_TMA)
    c->staged[stage->number] = true;
  else
    c->refused = true;
  return true;
}

static bool fills_stage(const context *c, const ir_op *op) {
  return op->kind == IR_OP_COPY && c->staged[op->write[0].value->number];
}

/* The axis along which the copy fills the buffer in shares; -1: none. */
static int axis_of(const context *c, const ir_op *fill) {
  for (int axis = 0; axis < 2; axis++)
    if (has_shares(fill->write[0].value, axis, c->parts) && region_shares_apart(fill, axis, c->parts)) return axis;
  return -1;
}

static void refuse_staged(void *data, ir_op *op, ir_value *value, bool written) {
  context *c = data;
  (void)op;
  (void)written;
  c->refused |= c->staged[value->number];
}

/* Everything else that has to do with the stores' buffers. */
static bool look_at_use(void *data, ir_block *block, ir_op *op) {
  context *c = data;
  (void)block;
  if (fills_stage(c, op)) {
    int number = op->write[0].value->number, axis = axis_of(c, op);
    c->refused |= axis < 0 || (c->axis[number] >= 0 && c->axis[number] != axis);
    c->axis[number] = axis;
  } else if (!is_store(op)) {
    ir_op_visit(op, false, refuse_staged, c);
  }
  return true;
}

static bool mark(void *data, ir_block *block, ir_op *op) {
  const context *c = data;
  (void)block;
  bool fills = fills_stage(c, op);
  if (!fills && !is_store(op)) return true;
  ir_attr_set(&op->attrs, IR_ATTR_PARTS, c->parts);
  ir_attr_set(&op->attrs, IR_ATTR_AXIS, c->axis[(fills ? op->write : op->read)[0].value->number]);
  return true;
}

bool part_stores(ir_kernel *kernel, pass_env *env) {
  int warps = (int)ir_attr_get(&kernel->attrs, IR_ATTR_WARPS, WARPGROUP);
  context c = {.parts = warps / WARPGROUP,
               .staged = ARENA_ARRAY(env->scratch, bool, kernel->value_count),
               .axis = ARENA_ARRAY(env->scratch, int, kernel->value_count),
               .ring = ARENA_ARRAY(env->scratch, bool, kernel->value_count)};
  if (!ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, 0) || warps % WARPGROUP || c.parts < 2) return true;
  for (int i = 0; i < kernel->value_count; i++)
    c.axis[i] = -1;
  ir_walk(&kernel->body, look_at_op, &c);
  ir_walk(&kernel->body, look_at_use, &c);
  if (!c.refused && c.slots >= LEAST_SLOTS) ir_walk(&kernel->body, mark, &c);
  return true;
}
