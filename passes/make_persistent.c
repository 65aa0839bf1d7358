/* make-persistent: one block computes several tiles of the grid.
 *
 *   before  grid %bn in ceildiv(%N, 256)
 *           grid %bm in ceildiv(%M, 128)
 *           do
 *             ...
 *
 *   after   let %tiles_bn <- ceildiv(%N, 256)
 *           let %tiles_bm <- ceildiv(%M, 128)
 *           for %tile in block() .. %tiles_bn * %tiles_bm step blocks() {persistent = 1} do
 *             let %bn <- ...
 *             let %bm <- ...
 *             ...
 *           end
 *
 * The launch takes as many blocks as the GPU holds at once, so that a producer can run ahead into the next tile while
 * consumers finish this one. Tiles are walked in bands of `raster` tiles of the second grid dimension, the first
 * sweeping inside a band: neighbouring blocks then share operands in L2 (a band of 8 costs 8 * BM + ceil(SMs / 8) * BN
 * elements a wave). Without the `persistent` attribute the same variables are computed from block() once, without a
 * loop. With `reverse` bands are walked from the last tile; without bands a row of the first dimension is walked
 * backwards, the next one forwards, and so on: where tiles grow heavier along it, a block has heavy and light ones in
 * turn, however many blocks there are to a row.
 *
 * In a cluster (attribute `cluster` of the kernel) the blocks take neighbouring tiles along one grid dimension: the one
 * whose tiles have the most bytes in common. A tensor-map load that all of them would do alike, at the same time, is
 * marked `multicast`: each block then loads its share and sends it to all. A tile beyond the grid, where the extent is
 * no multiple of the cluster, loads zeros and stores nothing.
 *
 * In a kernel without a grid the outermost loops that the source calls persistent start at the block's number instead.
 *
 * Every kernel passes here, since later forms know block() only. Requires the scheduled form. */
#include "passes/pass.h"
#include "passes/variance.h"

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

static bool banded(const ir_kernel *kernel) {
  return kernel->grid_count >= 2 && ir_attr_get(&kernel->attrs, IR_ATTR_RASTER, 0) > 1;
}

/* The place in a row of the first dimension, from the other end in every second row. A round of the blocks moves a
 * block on by `rows` rows and a little more; where that is an even number, and all rounds together never come to the
 * next row, it is every second `rows` rows. */
static const ir_expr *turned(arena *memory, ir_kernel *kernel, ir_block *block, const ir_expr *tile,
                             const ir_expr *blocks, const ir_expr *const *extent) {
  src_loc loc = kernel->grid[0].index->loc;
  const ir_expr *zero = ir_int(memory, 0), *one = ir_int(memory, 1), *length = extent[0];
  const ir_expr *others = one;
  for (int d = 1; d < kernel->grid_count; d++)
    others = ir_binary(memory, IR_EXPR_MUL, others, extent[d]);
  const ir_expr *half = ir_binary(memory, IR_EXPR_DIV, length, ir_int(memory, 2));
  const ir_expr *rows =
      named(memory, kernel, block, "rows",
            ir_binary(memory, IR_EXPR_DIV, ir_binary(memory, IR_EXPR_ADD, blocks, half), length), loc);
  const ir_expr *more = ir_binary(memory, IR_EXPR_SUB, blocks, ir_binary(memory, IR_EXPR_MUL, rows, length));
  more = ir_binary(memory, IR_EXPR_MUL, ir_unary(memory, IR_EXPR_ABS, more), others);
  const ir_expr *even = ir_binary(memory, IR_EXPR_EQ, ir_binary(memory, IR_EXPR_AND, rows, one), zero);
  even = ir_binary(memory, IR_EXPR_AND, even, ir_binary(memory, IR_EXPR_LT, more, blocks));
  const ir_expr *together =
      named(memory, kernel, block, "rows_together",
            ir_ternary(memory, IR_EXPR_SELECT, even, ir_binary(memory, IR_EXPR_MAX, rows, one), one), loc);
  const ir_expr *turn = ir_binary(memory, IR_EXPR_DIV, ir_binary(memory, IR_EXPR_DIV, tile, length), together);
  const ir_expr *place = named(memory, kernel, block, "place", ir_binary(memory, IR_EXPR_MOD, tile, length), loc);
  const ir_expr *forwards = ir_binary(memory, IR_EXPR_EQ, ir_binary(memory, IR_EXPR_AND, turn, one), one);
  const ir_expr *back = ir_binary(memory, IR_EXPR_SUB, ir_binary(memory, IR_EXPR_SUB, length, place), one);
  return ir_ternary(memory, IR_EXPR_SELECT, forwards, place, back);
}

/* What is so for every tile, written where the ranges of operands do not tell it, since bounds of accesses follow from it. */
static const ir_expr *at_least_one(arena *memory, const ir_expr *e) {
  return ir_binary(memory, IR_EXPR_MAX, e, ir_int(memory, 1));
}

static const ir_expr *below(arena *memory, const ir_expr *e, const ir_expr *extent) {
  int64_t constant;
  if (!ir_is_constant(extent, &constant)) return e; /* accesses are compared with the same unknown */
  return ir_binary(memory, IR_EXPR_MIN, e, ir_int(memory, constant - 1));
}

/* Defines the grid indices from the linear tile number. */
static void unrank(arena *memory, ir_kernel *kernel, ir_block *block, const ir_expr *tile, const ir_expr *blocks,
                   const ir_expr *const *extent) {
  int band = (int)ir_attr_get(&kernel->attrs, IR_ATTR_RASTER, 0);
  if (banded(kernel)) {
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
    const ir_expr *left = ir_binary(memory, IR_EXPR_SUB, extent[1], first);
    const ir_expr *height =
        named(memory, kernel, block, "band_rows", at_least_one(memory, ir_binary(memory, IR_EXPR_MIN, rows, left)),
              kernel->grid[1].index->loc);
    append_let(memory, block, kernel->grid[0].index,
               below(memory, ir_binary(memory, IR_EXPR_DIV, inside, height), extent[0]), kernel->grid[0].index->loc);
    append_let(memory, block, kernel->grid[1].index,
               ir_binary(memory, IR_EXPR_ADD, first, ir_binary(memory, IR_EXPR_MOD, inside, height)),
               kernel->grid[1].index->loc);
    return;
  }
  const ir_expr *rest = tile;
  for (int d = 0; d < kernel->grid_count; d++) {
    bool last = d == kernel->grid_count - 1;
    const ir_expr *index = last ? rest : ir_binary(memory, IR_EXPR_MOD, rest, extent[d]);
    if (d == 0 && ir_attr_get(&kernel->attrs, IR_ATTR_REVERSE, 0))
      index = turned(memory, kernel, block, tile, blocks, extent);
    append_let(memory, block, kernel->grid[d].index, index, kernel->grid[d].index->loc);
    if (!last)
      rest = named(memory, kernel, block, "tiles_left", ir_binary(memory, IR_EXPR_DIV, rest, extent[d]),
                   kernel->grid[d].index->loc);
  }
}

/* -- Clusters ------------------------------------------------------------------------------------------------------ */

/* Bytes of tensor-map loads that do not depend on what varies; marks them when `mark` is their number of blocks. */
static int64_t shared_loads(ir_block *block, const bool *varies, int mark) {
  int64_t bytes = 0;
  for (ir_op *op = block->first; op; op = op->next) {
    if ((op->kind == IR_OP_FOR || op->kind == IR_OP_IF) && op_varies(op, varies)) continue;
    bytes += shared_loads(&op->body, varies, mark) + shared_loads(&op->other, varies, mark);
    if (op->kind != IR_OP_COPY || ir_attr_get(&op->attrs, IR_ATTR_ENGINE, 0) != IR_ENGINE_TMA ||
        op->write[0].value->space != IR_SHARED || op_varies(op, varies))
      continue;
    const ir_value *buffer = op->write[0].value;
    int64_t rows = ir_extent(buffer, 0), blocks = mark ? mark : 2;
    if (buffer->rank != 2 || rows % (8 * blocks)) continue;
    bytes += ir_element_count(buffer) * ir_bits(buffer->type) / 8;
    if (mark) ir_attr_set(&op->attrs, IR_ATTR_MULTICAST, mark);
  }
  return bytes;
}

/* The grid dimension along which neighbouring tiles have the most bytes in common, -1 when they have none. */
static int cluster_dimension(ir_kernel *kernel, pass_env *env, int cluster) {
  int best = -1;
  int64_t most = 0;
  for (int d = 0; d < kernel->grid_count; d++) {
    const bool *varies = variance_of(env->scratch, kernel, kernel->grid[d].index);
    int64_t bytes = shared_loads(&kernel->body, varies, 0);
    if (bytes > most) {
      most = bytes;
      best = d;
    }
  }
  if (best >= 0) shared_loads(&kernel->body, variance_of(env->scratch, kernel, kernel->grid[best].index), cluster);
  return best;
}

/* -- Loops that the source calls persistent
 * ------------------------------------------------------------------------------------------------ */

/* A kernel without a grid shares the iterations of its outermost persistent loops among the blocks. */
static void share_loops(ir_kernel *kernel, pass_env *env) {
  arena *memory = env->memory;
  for (ir_op *op = kernel->body.first; op; op = op->next) {
    if (op->kind != IR_OP_FOR || !ir_attr_get(&op->attrs, IR_ATTR_PERSISTENT, 0)) continue;
    const ir_expr *lo = op->expr[0], *step = op->expr[2];
    if (!kernel->block_count) {
      const ir_expr *span =
          ir_binary(memory, IR_EXPR_MAX, ir_binary(memory, IR_EXPR_SUB, op->expr[1], lo), ir_int(memory, 1));
      kernel->block_count = ir_binary(memory, IR_EXPR_CEILDIV, span, step);
      ir_attr_set(&kernel->attrs, IR_ATTR_PERSISTENT, 1);
    }
    op->expr[0] = ir_binary(memory, IR_EXPR_ADD, lo,
                            ir_binary(memory, IR_EXPR_MUL, ir_leaf(memory, IR_EXPR_BLOCK, IR_I32), step));
    op->expr[2] = ir_binary(memory, IR_EXPR_MUL, ir_leaf(memory, IR_EXPR_BLOCKS, IR_I32), step);
  }
}

/* In a kernel with a grid they are loops like others. */
static bool forget_loop(void *context, ir_block *block, ir_op *op) {
  (void)context;
  (void)block;
  ir_attr_clear(&op->attrs, IR_ATTR_PERSISTENT);
  return true;
}

bool make_persistent(ir_kernel *kernel, pass_env *env) {
  arena *memory = env->memory;
  if (kernel->grid_count == 0) {
    if (!kernel->block_count) share_loops(kernel, env);
    if (!kernel->block_count) kernel->block_count = ir_int(memory, 1);
    return true;
  }
  ir_walk(&kernel->body, forget_loop, NULL);
  int cluster = (int)ir_attr_get(&kernel->attrs, IR_ATTR_CLUSTER, 1),
      along = cluster > 1 ? cluster_dimension(kernel, env, cluster) : -1;
  if (cluster > 1 && along < 0) {
    diag_remark(env->diagnostics, "make-persistent", "cluster", false, kernel->loc,
                "neighbouring tiles of %s load nothing in common, so there is no cluster", kernel->name);
    ir_attr_clear(&kernel->attrs, IR_ATTR_CLUSTER);
    cluster = 1;
  }
  if (along >= 0) /* from here on the grid counts clusters */
    kernel->grid[along].extent =
        ir_binary(memory, IR_EXPR_CEILDIV, kernel->grid[along].extent, ir_int(memory, cluster));
  const ir_expr *count = ir_int(memory, cluster);
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

  const ir_expr *block =
      ir_binary(memory, IR_EXPR_DIV, ir_leaf(memory, IR_EXPR_BLOCK, IR_I32), ir_int(memory, cluster));
  ir_block inner = {NULL, NULL};
  ir_op *loop = NULL;
  const ir_expr *tile = block;
  const ir_expr *blocks =
      ir_binary(memory, IR_EXPR_DIV, ir_leaf(memory, IR_EXPR_BLOCKS, IR_I32), ir_int(memory, cluster));
  if (persistent) {
    loop = ir_op_create(memory, IR_OP_FOR, kernel->loc);
    ir_value *variable = ir_value_create(memory, kernel, IR_INDEX, IR_I32, "tile", kernel->loc);
    ir_op_add_write(loop, ir_ref_whole(variable));
    ir_op_add_expr(memory, loop, block);
    ir_op_add_expr(memory, loop, total);
    ir_op_add_expr(memory, loop, blocks);
    ir_attr_set(&loop->attrs, IR_ATTR_PERSISTENT, 1);
    tile = ir_read(memory, variable);
  }
  if (reverse && banded(kernel))
    tile = named(memory, kernel, &inner, "tile_reversed",
                 ir_binary(memory, IR_EXPR_SUB, ir_binary(memory, IR_EXPR_SUB, total, ir_int(memory, 1)), tile),
                 kernel->loc);
  if (along >= 0) { /* the block's own tile of the cluster's */
    ir_value *own = kernel->grid[along].index;
    ir_value *first =
        ir_value_create(memory, kernel, IR_SCALAR, IR_I32, arena_printf(memory, "%s_cluster", own->name), own->loc);
    kernel->grid[along].index = first;
    unrank(memory, kernel, &inner, tile, blocks, extent);
    append_let(memory, &inner, own,
               ir_binary(memory, IR_EXPR_ADD,
                         ir_binary(memory, IR_EXPR_MUL, ir_read(memory, first), ir_int(memory, cluster)),
                         ir_leaf(memory, IR_EXPR_CTA_RANK, IR_I32)),
               own->loc);
  } else {
    unrank(memory, kernel, &inner, tile, blocks, extent);
  }
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
