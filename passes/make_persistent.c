/* make-persistent: one block computes several tiles of the grid.
 *
 *   before  grid %bn in ceildiv(%N, 256)            after  let %tiles_bn <- ceildiv(%N, 256)
 *           grid %bm in ceildiv(%M, 128)                   let %tiles_bm <- ceildiv(%M, 128)
 *           do                                             for %tile in block() .. %tiles_bn * %tiles_bm step blocks()
 * {persistent = 1} do
 *             ...                                            let %bn <- ...
 *                                                            let %bm <- ...
 *                                                            ...
 *                                                          end
 *
 * The launch takes as many blocks as the GPU holds at once, so that a producer can run ahead into the next tile while
 * consumers finish this one. Tiles are walked in bands of `raster` tiles of the second grid dimension, the first
 * sweeping inside a band: neighbouring blocks then share operands in L2 (HOPPER.md's figures: band 8 costs 8 * BM +
 * ceil(SMs / 8) * BN elements a wave). Without the `persistent` attribute the same variables are computed from block()
 * once, without a loop.
 *
 * Every kernel passes here, since later forms know block() only. Requires the scheduled form. */
#include "passes/pass.h"

/* let %name: i32 <- e, appended to `block`. The value's number stays, so that uses of a grid index keep working. */
static void append_let(arena *memory, ir_block *block, ir_value *value, const ir_expr *e, src_loc loc) {
  ir_op *let = ir_op_create(memory, IR_OP_LET, loc);
  value->space = IR_SCALAR;
  ir_op_add_write(let, ir_ref_whole(value));
  ir_op_add_expr(memory, let, e);
  ir_block_append(block, let);
}

static const ir_expr *named(arena *memory, ir_kernel *kernel, ir_block *block, const char *name, const ir_expr *e,
                            src_loc loc) {
  int64_t constant;
  if (ir_is_constant(e, &constant)) return e;
  ir_value *value = ir_value_create(memory, kernel, IR_SCALAR, IR_I32, name, loc);
  append_let(memory, block, value, e, loc);
  return ir_read(memory, value);
}

/* Defines the grid indices from the linear tile number. */
static void unrank(arena *memory, ir_kernel *kernel, ir_block *block, const ir_expr *tile,
                   const ir_expr *const *extent) {
  int band = (int)ir_attr_get(&kernel->attrs, IR_ATTR_RASTER, 0);
  if (kernel->grid_count >= 2 && band > 1) {
    const ir_expr *rows = ir_int(memory, band);
    const ir_expr *area = ir_binary(memory, IR_EXPR_MUL, extent[0], extent[1]);
    const ir_expr *plane = tile;
    if (kernel->grid_count == 3) {
      plane =
          named(memory, kernel, block, "plane", ir_binary(memory, IR_EXPR_MOD, tile, area), kernel->grid[0].index->loc);
      append_let(memory, block, kernel->grid[2].index, ir_binary(memory, IR_EXPR_DIV, tile, area),
                 kernel->grid[2].index->loc);
    }
    const ir_expr *per_band = named(memory, kernel, block, "per_band", ir_binary(memory, IR_EXPR_MUL, rows, extent[0]),
                                    kernel->grid[0].index->loc);
    const ir_expr *first = named(memory, kernel, block, "band_first",
                                 ir_binary(memory, IR_EXPR_MUL, ir_binary(memory, IR_EXPR_DIV, plane, per_band), rows),
                                 kernel->grid[1].index->loc);
    const ir_expr *inside = named(memory, kernel, block, "band_tile", ir_binary(memory, IR_EXPR_MOD, plane, per_band),
                                  kernel->grid[1].index->loc);
    const ir_expr *height =
        named(memory, kernel, block, "band_rows",
              ir_binary(memory, IR_EXPR_MIN, rows, ir_binary(memory, IR_EXPR_SUB, extent[1], first)),
              kernel->grid[1].index->loc);
    append_let(memory, block, kernel->grid[0].index, ir_binary(memory, IR_EXPR_DIV, inside, height),
               kernel->grid[0].index->loc);
    append_let(memory, block, kernel->grid[1].index,
               ir_binary(memory, IR_EXPR_ADD, first, ir_binary(memory, IR_EXPR_MOD, inside, height)),
               kernel->grid[1].index->loc);
    return;
  }
  const ir_expr *rest = tile;
  for (int d = 0; d < kernel->grid_count; d++) {
    bool last = d == kernel->grid_count - 1;
    append_let(memory, block, kernel->grid[d].index, last ? rest : ir_binary(memory, IR_EXPR_MOD, rest, extent[d]),
               kernel->grid[d].index->loc);
    if (!last)
      rest = named(memory, kernel, block, "tiles_left", ir_binary(memory, IR_EXPR_DIV, rest, extent[d]),
                   kernel->grid[d].index->loc);
  }
}

bool make_persistent(ir_kernel *kernel, pass_env *env) {
  arena *memory = env->memory;
  if (kernel->grid_count == 0) {
    if (!kernel->block_count) kernel->block_count = ir_int(memory, 1);
    return true;
  }
  const ir_expr *count = ir_int(memory, 1);
  for (int d = 0; d < kernel->grid_count; d++)
    count = ir_binary(memory, IR_EXPR_MUL, count, kernel->grid[d].extent);
  kernel->block_count = count;

  bool reverse = ir_attr_get(&kernel->attrs, IR_ATTR_REVERSE, 0) != 0;
  bool persistent = ir_attr_get(&kernel->attrs, IR_ATTR_PERSISTENT, 0) != 0;
  ir_block body = kernel->body;
  kernel->body = (ir_block){NULL, NULL};
  const ir_expr *extent[3] = {NULL, NULL, NULL};
  for (int d = 0; d < kernel->grid_count; d++) {
    str name = STR_EMPTY;
    str_printf(&name, "tiles_%s", kernel->grid[d].index->name);
    extent[d] =
        named(memory, kernel, &kernel->body, str_text(&name), kernel->grid[d].extent, kernel->grid[d].index->loc);
    str_free(&name);
  }
  const ir_expr *total = extent[0];
  for (int d = 1; d < kernel->grid_count; d++)
    total = ir_binary(memory, IR_EXPR_MUL, total, extent[d]);

  const ir_expr *block = ir_leaf(memory, IR_EXPR_BLOCK, IR_I32);
  ir_block inner = {NULL, NULL};
  ir_op *loop = NULL;
  const ir_expr *tile = block;
  if (persistent) {
    loop = ir_op_create(memory, IR_OP_FOR, kernel->loc);
    ir_value *variable = ir_value_create(memory, kernel, IR_INDEX, IR_I32, "tile", kernel->loc);
    ir_op_add_write(loop, ir_ref_whole(variable));
    ir_op_add_expr(memory, loop, block);
    ir_op_add_expr(memory, loop, total);
    ir_op_add_expr(memory, loop, ir_leaf(memory, IR_EXPR_BLOCKS, IR_I32));
    ir_attr_set(&loop->attrs, IR_ATTR_PERSISTENT, 1);
    tile = ir_read(memory, variable);
  }
  if (reverse)
    tile = named(memory, kernel, &inner, "tile_reversed",
                 ir_binary(memory, IR_EXPR_SUB, ir_binary(memory, IR_EXPR_SUB, total, ir_int(memory, 1)), tile),
                 kernel->loc);
  unrank(memory, kernel, &inner, tile, extent);
  while (body.first) {
    ir_op *op = body.first;
    ir_block_remove(&body, op);
    ir_block_append(&inner, op);
  }
  kernel->grid_count = 0;
  if (loop) {
    loop->body = inner;
    ir_block_append(&kernel->body, loop);
    return true;
  }
  while (inner.first) {
    ir_op *op = inner.first;
    ir_block_remove(&inner, op);
    ir_block_append(&kernel->body, op);
  }
  return true;
}
