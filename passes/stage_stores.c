/* stage-stores: let results leave through shared memory, as whole rows, by the copy engine.
 *
 *   before  %C[...] <- copy %acc                 after  %C_stage <- copy %acc {engine = matrix}
 *                                                       %C[...] <- copy %C_stage {engine = tma}
 *
 * An accumulator's fragments reach memory in pieces of 4 to 8 bytes; a tensor-map store writes full lines, clips
 * ragged edges and drains while the block goes on. Fires for kernels with a producer role, when a tensor map can
 * describe the region and the kernel does not read the tensor again; fences and waits are place-barriers'. */
#include "passes/pass.h"
#include "passes/region.h"

static void stage_block(ir_kernel *kernel, pass_env *env, ir_block *block, const bool *exchanged) {
  ir_op *next;
  for (ir_op *op = block->first; op; op = next) {
    next = op->next;
    stage_block(kernel, env, &op->body, exchanged);
    stage_block(kernel, env, &op->other, exchanged);
    if (op->kind != IR_OP_COPY || op->write[0].value->space != IR_GLOBAL || op->read[0].value->space != IR_TILE ||
        ir_attr_get(&op->attrs, IR_ATTR_REDUCE, 0))
      continue;
    ir_value *tile = op->read[0].value, *tensor = op->write[0].value;
    const char *refusal = tile->rank > 4                               ? "it has too many dimensions"
                          : exchanged[tensor->number]                  ? "the kernel reads it too"
                          : ir_attr_get(&op->attrs, IR_ATTR_DIRECT, 0) ? "stages of a loop need the shared memory"
                                                                       : region_tma_refusal(env->memory, &op->write[0]);
    diag_remark(env->diagnostics, "stage-stores", "tma", !refusal, op->loc,
                refusal ? "the store to %s cannot use a tensor map: %s" : "the store to %s uses a tensor map%s",
                tensor->name, refusal ? refusal : "");
    if (refusal) continue;
    ir_value *stage = ir_value_create(env->memory, kernel, IR_SHARED, tensor->type,
                                      arena_printf(env->memory, "%s_stage", tensor->name), op->loc);
    stage->rank = tile->rank;
    stage->slots = 1;
    stage->offset = -1;
    for (int d = 0; d < tile->rank; d++)
      stage->extent[d] = tile->extent[d];
    ir_op *put = ir_op_create(env->memory, IR_OP_COPY, op->loc);
    ir_op_add_write(put, ir_ref_whole(stage));
    ir_op_add_read(put, op->read[0]);
    ir_attr_set(&put->attrs, IR_ATTR_ENGINE, IR_ENGINE_MATRIX);
    ir_block_insert_before(block, op, put);
    op->read[0] = ir_ref_whole(stage);
    ir_attr_set(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_TMA);
  }
}

bool stage_stores(ir_kernel *kernel, pass_env *env) {
  if (ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, 0))
    stage_block(kernel, env, &kernel->body, region_exchanged(env->scratch, kernel));
  return true;
}
