/* begin-sums: let the first dot overwrite sums, instead of adding to zeros.
 *
 *   before  %acc <- fill 0.0                             after  for %k in 0 .. 64 step 1 do
 *           for %k in 0 .. 64 step 1 do                           %acc <- dot %As, %Bs, %k != 0
 *             %acc <- dot %As, %Bs {accumulate = 1}             end
 *           end
 *
 * Zeros take an instruction for two registers while no dot is under way, and wgmma reads from a predicate whether the old
 * sums take part. Fires for dots of wgmma that leave their sums where they are and read nothing from registers, when
 * nothing else reads or writes the tile between the zeros and the dot. A loop's body must access the tile by that dot
 * first, and the loop must be known to run: nobody else would write the tile. */
#include "passes/pass.h"
#include "passes/tensor_core.h"

static bool touches(ir_op *op, const ir_value *tile) { return ir_op_reads(op, tile) || ir_op_writes(op, tile); }

static ir_op *next_touching(ir_op *op, const ir_value *tile) {
  while (op && !touches(op, tile))
    op = op->next;
  return op;
}

static bool is_zeros(const ir_op *op) {
  return op->kind == IR_OP_FILL && op->write[0].value->space == IR_TILE && !op->write[0].count &&
         ir_is_zero(op->expr[0]);
}

/* Operands that decoding leaves in registers: with a predicate W4A16 at M = 128 took 124 us for 97, in the same plan. */
static bool has_registers(const ir_op *dot) {
  return dot->read[0].value->space == IR_TILE || dot->read[1].value->space == IR_TILE;
}

/* Whether the dot adds to all of the tile, with no condition, and could as well overwrite it. */
static bool can_begin(ir_op *op, const ir_value *tile) {
  return op && op->kind == IR_OP_DOT && op->write[0].value == tile && !op->write[0].count && !op->expr_count &&
         ir_attr_get(&op->attrs, IR_ATTR_ACCUMULATE, 1) && op->read[0].value != tile && op->read[1].value != tile &&
         !has_registers(op) && dot_runs_on(op);
}

static bool runs(const ir_op *loop) {
  int64_t first, end;
  return ir_is_constant(loop->expr[0], &first) && ir_is_constant(loop->expr[1], &end) && first < end;
}

static bool begin_tile(pass_env *env, ir_op *zeros) {
  const ir_value *tile = zeros->write[0].value;
  ir_op *op = next_touching(zeros->next, tile);
  if (can_begin(op, tile)) {
    ir_attr_set(&op->attrs, IR_ATTR_ACCUMULATE, 0);
    return true;
  }
  if (!op || op->kind != IR_OP_FOR || !runs(op)) return false;
  ir_op *dot = next_touching(op->body.first, tile);
  if (!can_begin(dot, tile)) return false;
  const ir_expr *index = ir_read(env->memory, op->write[0].value);
  ir_op_add_expr(env->memory, dot, ir_binary(env->memory, IR_EXPR_NE, index, op->expr[0]));
  return true;
}

static void begin_block(pass_env *env, ir_block *block) {
  for (ir_op *op = block->first, *next; op; op = next) {
    next = op->next;
    begin_block(env, &op->body);
    begin_block(env, &op->other);
    if (is_zeros(op) && begin_tile(env, op)) ir_block_remove(block, op);
  }
}

bool begin_sums(ir_kernel *kernel, pass_env *env) {
  begin_block(env, &kernel->body);
  return true;
}
