/* stage-stores: let results leave through shared memory, as whole rows, by the copy engine.
 *
 *   before  %C[...] <- copy %acc                 after  %C_stage <- copy %acc {engine = matrix}
 *                                                       %C[...] <- copy %C_stage {engine = tma}
 *
 *         %C[...] <- copy %acc {axis = 1, slices = 4}     %C_stage <- copy %acc[0 : 128, 0 : 64] {engine = matrix}
 *                                                       %C[...] <- copy %C_stage {engine = tma}
 *                                                       %C_stage_1 <- copy %acc[0 : 128, 64 : 64] {engine = matrix}
 *                                                       ... and so on, by turns
 *
 * An accumulator's fragments reach memory in pieces of 4 to 8 bytes; a tensor-map store writes full lines, clips
 * ragged edges and drains while the block goes on. Fires for kernels with a producer role, when a tensor map can
 * describe the region and the kernel does not read the tensor again; fences and waits are place-barriers'. A tile in
 * slices takes two buffers: one is filled while the engine reads the other. */
#include "passes/pass.h"
#include "passes/region.h"

/* Part `part` of the elements that the reference stands for, cut into `parts` along dimension `axis` of its region. */
static ir_ref slice_of(arena *memory, ir_ref ref, int axis, int parts, int part) {
  int dim = region_dim(&ref, axis), width = (int)region_extent(&ref, axis) / parts;
  for (int d = 0; !ref.count && d < ref.value->rank; d++) {
    ref.start[d] = ir_int(memory, 0);
    ref.span[d] = (int)ir_extent(ref.value, d);
  }
  ref.count = ref.value->rank;
  ref.start[dim] = ir_binary(memory, IR_EXPR_ADD, ref.start[dim], ir_int(memory, part * width));
  ref.span[dim] = width;
  return ref;
}

static ir_value *make_stage(ir_kernel *kernel, pass_env *env, const ir_op *store, int axis, int parts) {
  const ir_value *tensor = store->write[0].value;
  ir_value *stage = ir_value_create(env->memory, kernel, IR_SHARED, tensor->type,
                                    arena_printf(env->memory, "%s_stage", tensor->name), store->loc);
  stage->rank = region_rank(&store->read[0]);
  stage->slots = 1;
  stage->offset = -1;
  for (int d = 0; d < stage->rank; d++)
    stage->extent[d] = ir_int(env->memory, region_extent(&store->read[0], d) / (d == axis ? parts : 1));
  return stage;
}

static void stage_store(ir_kernel *kernel, pass_env *env, ir_block *block, ir_op *store) {
  int parts = (int)ir_attr_get(&store->attrs, IR_ATTR_SLICES, 1),
      axis = (int)ir_attr_get(&store->attrs, IR_ATTR_AXIS, 0);
  ir_value *stage[2] = {make_stage(kernel, env, store, axis, parts)};
  if (parts > 1) stage[1] = make_stage(kernel, env, store, axis, parts);
  const ir_ref tile = store->read[0], region = store->write[0];
  ir_attr_clear(&store->attrs, IR_ATTR_SLICES);
  ir_attr_clear(&store->attrs, IR_ATTR_AXIS);
  ir_attr_set(&store->attrs, IR_ATTR_ENGINE, IR_ENGINE_TMA);
  for (int part = 0; part < parts; part++) {
    ir_value *buffer = stage[part % 2];
    ir_op *put = ir_op_create(env->memory, IR_OP_COPY, store->loc), *take = store;
    ir_op_add_write(put, ir_ref_whole(buffer));
    ir_op_add_read(put, parts > 1 ? slice_of(env->memory, tile, axis, parts, part) : tile);
    ir_attr_set(&put->attrs, IR_ATTR_ENGINE, IR_ENGINE_MATRIX);
    ir_block_insert_before(block, store, put);
    if (part + 1 < parts) {
      take = ir_op_create(env->memory, IR_OP_COPY, store->loc);
      take->attrs = store->attrs;
      ir_op_add_write(take, region);
      ir_op_add_read(take, tile);
      ir_block_insert_before(block, store, take);
    }
    if (parts > 1) take->write[0] = slice_of(env->memory, region, axis, parts, part);
    take->read[0] = ir_ref_whole(buffer);
  }
}

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
    stage_store(kernel, env, block, op);
  }
}

bool stage_stores(ir_kernel *kernel, pass_env *env) {
  if (ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, 0))
    stage_block(kernel, env, &kernel->body, region_exchanged(env->scratch, kernel));
  return true;
}
