/* Copies that an engine does on one thread's word: tensor maps (TMA boxes) and bulk copies of packed blocks.
 *
 * A box is one panel of the shared layout, at most 256 long in the other dimensions: exactly what the swizzle of the
 * map writes (ir/layout.h). Packed tensors (fuse-decode) lie in blocks; a tile's blocks of one block row are
 * contiguous in memory and in the buffer, so a copy is one run a block row. Block rows and columns beyond the tensor
 * repeat the last one: what they decode to meets zeros or is never stored. */
#include "passes/lower.h"

#include <string.h>

enum { MAX_BOX = 256 };

/* The map over `tensor` with this box and swizzle; made once a kernel. */
static ir_value *find_map(lower *l, ir_value *tensor, const int *box, shared_swizzle swizzle) {
  for (int i = 0; i < l->kernel->value_count; i++) {
    ir_value *value = l->kernel->values[i];
    if (value->space == IR_MAP && value->tensor == tensor && value->swizzle == swizzle &&
        !memcmp(value->box, box, sizeof value->box))
      return value;
  }
  ir_value *map = ir_value_create(l->memory, l->kernel, IR_MAP, tensor->type,
                                  arena_printf(l->memory, "%s_map", tensor->name), tensor->loc);
  map->tensor = tensor;
  map->rank = tensor->rank;
  map->swizzle = swizzle;
  memcpy(map->box, box, sizeof map->box);
  return map;
}

static void tensor_map_copy(lower *l, const ir_op *op) {
  bool load = op->read[0].value->space == IR_GLOBAL;
  const ir_ref *tensor = load ? &op->read[0] : &op->write[0], *buffer = load ? &op->write[0] : &op->read[0];
  const shared_layout *layout = buffer->value->shared;
  int spanned[IR_MAX_RANK], rank = 0;
  for (int d = 0; d < tensor->value->rank; d++)
    if (!tensor->count || tensor->span[d]) spanned[rank++] = d;
  int panel_elements = layout->panel_bytes * 8 / layout->element_bits;
  int panels = layout->panel_count, pieces = 1, piece_rows = 0;
  if (panel_elements > MAX_BOX) { /* a row without swizzle, wider than a box: several boxes a row would interleave */
    BUG("a row of %s does not fit into a box", buffer->value->name);
  }
  int box[IR_MAX_RANK];
  for (int d = 0; d < IR_MAX_RANK; d++)
    box[d] = d < tensor->value->rank ? 1 : 0;
  for (int i = 0; i < rank; i++)
    box[spanned[i]] = layout->extent[layout->rank - rank + i];
  box[spanned[rank - 1]] = panel_elements;
  if (rank > 1 && box[spanned[0]] > MAX_BOX) {
    piece_rows = MAX_BOX;
    while (box[spanned[0]] % piece_rows)
      piece_rows /= 2;
    pieces = box[spanned[0]] / piece_rows;
    box[spanned[0]] = piece_rows;
  }
  int blocks = load ? (int)ir_attr_get(&op->attrs, IR_ATTR_MULTICAST, 1) : 1, share = 0;
  const ir_expr *rank_rows = NULL;
  if (blocks > 1) { /* this block's share of the rows, for every block of the cluster */
    share = box[spanned[0]] / blocks;
    box[spanned[0]] = share;
    rank_rows =
        thread_let(l, "share", thread_mul(l, ir_leaf(l->memory, IR_EXPR_CTA_RANK, IR_I32), thread_int(l, share)));
  }
  ir_value *map = find_map(l, tensor->value, box, layout->swizzle);
  int piece_bytes = pieces > 1 ? layout->rows / pieces * layout->panel_bytes : 0;

  ir_block *saved = thread_guard(l, thread_first_thread(l));
  for (int panel = 0; panel < panels; panel++) {
    for (int piece = 0; piece < pieces; piece++) {
      int offset = panel * layout->rows * layout->panel_bytes + piece * piece_bytes;
      const ir_expr *address =
          thread_add(l, ir_address(l->memory, buffer->value, buffer->slot), ir_typed_int(l->memory, IR_U32, offset));
      if (rank_rows)
        address = thread_add(l, address, thread_u32(l, thread_mul(l, rank_rows, thread_int(l, layout->panel_bytes))));
      ir_op *copy = thread_op(l, load ? IR_OP_TMA_LOAD : IR_OP_TMA_STORE);
      ir_ref shared = ir_ref_whole(buffer->value);
      shared.slot = buffer->slot;
      if (load) {
        ir_op_add_write(copy, shared);
        ir_op_add_read(copy, ir_ref_whole(map));
        ir_op_add_read(copy, op->read[1]);
        ir_op_add_expr(l->memory, copy, address);
        ir_op_add_expr(l->memory, copy, ir_typed_int(l->memory, IR_U32, blocks > 1 ? (1 << blocks) - 1 : 0));
      } else {
        ir_op_add_write(copy, ir_ref_whole(map));
        ir_op_add_read(copy, shared);
        ir_op_add_expr(l->memory, copy, address);
        if (ir_attr_get(&op->attrs, IR_ATTR_REDUCE, 0)) ir_attr_set(&copy->attrs, IR_ATTR_REDUCE, 1);
      }
      for (int d = tensor->value->rank - 1; d >= 0; d--) {
        const ir_expr *at = tensor->count ? tensor->start[d] : thread_int(l, 0);
        if (d == spanned[rank - 1]) at = thread_add(l, at, thread_int(l, panel * panel_elements));
        if (d == spanned[0] && pieces > 1) at = thread_add(l, at, thread_int(l, piece * piece_rows));
        if (d == spanned[0] && rank_rows) at = thread_add(l, at, rank_rows);
        ir_op_add_expr(l->memory, copy, at);
      }
    }
  }
  thread_leave(l, saved);
}

/* The blocks of a packed tensor that the tile holds: one run for each block row, where all of them are known to
 * exist. */
static void packed_copy(lower *l, const ir_op *op) {
  const ir_ref *from = &op->read[0], *to = &op->write[0];
  const packed_layout *packed = from->value->packed;
  arena *memory = l->memory;
  int rows = (int)ir_extent(to->value, 0), columns = (int)ir_extent(to->value, 1);
  int block_rows = rows / packed->rows, block_columns = columns / packed->k;
  int block_bytes = packed->rows * packed->k * packed->code_bits / 8, run_bytes = block_columns * block_bytes;
  const ir_expr *zero = thread_int(l, 0);
  const ir_expr *row0 = from->count ? from->start[0] : zero, *column0 = from->count ? from->start[1] : zero;
  const ir_expr *across = ir_binary(memory, IR_EXPR_CEILDIV, from->value->extent[1], thread_int(l, packed->k));
  const ir_expr *down = ir_binary(memory, IR_EXPR_CEILDIV, from->value->extent[0], thread_int(l, packed->rows));
  const ir_expr *first_column = ir_binary(memory, IR_EXPR_DIV, column0, thread_int(l, packed->k));
  int64_t engine = ir_attr_get(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_SIMT);
  bool bulk = engine == IR_ENGINE_BULK;

  /* Where a tile may reach past the tensor's blocks, block after block, the last one again and again: nothing depends
   * on what lies there (packed_ends.h). */
  bool whole = block_columns == 1 ||
               (ir_known_divisor(from->value->extent[1]) % columns == 0 && ir_known_divisor(column0) % columns == 0);
  int runs = whole ? 1 : block_columns, bytes = run_bytes / runs;
  first_column = thread_let(l, "block_column", first_column);
  ir_block *saved = bulk ? thread_guard(l, thread_first_thread(l)) : l->out;
  for (int run = 0; run < block_rows * runs; run++) {
    const ir_expr *row =
        ir_binary(memory, IR_EXPR_ADD, ir_binary(memory, IR_EXPR_DIV, row0, thread_int(l, packed->rows)),
                  thread_int(l, run / runs));
    row = ir_binary(memory, IR_EXPR_MIN, row, ir_binary(memory, IR_EXPR_SUB, down, thread_int(l, 1)));
    const ir_expr *column = thread_add(l, first_column, thread_int(l, run % runs));
    column = ir_binary(memory, IR_EXPR_MIN, column,
                       ir_binary(memory, IR_EXPR_SUB, across, thread_int(l, block_columns / runs)));
    const ir_expr *block =
        thread_add(l, thread_mul(l, thread_i64(l, row), thread_i64(l, across)), thread_i64(l, column));
    const ir_expr *offset =
        thread_let(l, "block_offset", thread_mul(l, block, ir_typed_int(memory, IR_I64, block_bytes)));
    const ir_expr *base = ir_address(memory, to->value, to->slot);
    ir_ref buffer = ir_ref_whole(to->value);
    buffer.slot = to->slot;
    if (bulk) {
      ir_op *copy = thread_op(l, IR_OP_BULK_LOAD);
      ir_op_add_write(copy, buffer);
      ir_op_add_read(copy, ir_ref_whole(from->value));
      ir_op_add_read(copy, op->read[1]);
      ir_op_add_expr(memory, copy, thread_add(l, base, ir_typed_int(memory, IR_U32, run * bytes)));
      ir_op_add_expr(memory, copy, offset);
      ir_op_add_expr(memory, copy, thread_int(l, bytes));
      continue;
    }
    int width = bytes % 16 == 0 ? 16 : bytes % 8 == 0 ? 8 : 4;
    int pieces = bytes / width, threads = l->warp_count * 32;
    const ir_expr *step;
    ir_block *outer = thread_loop(l, "p", thread_int(l, (pieces + threads - 1) / threads), 1, &step);
    const ir_expr *piece = thread_add(l, thread_mul(l, step, thread_int(l, threads)), l->thread);
    const ir_expr *within = thread_mul(l, piece, thread_int(l, width));
    ir_block *guarded = l->out;
    if (pieces % threads) guarded = thread_guard(l, ir_binary(memory, IR_EXPR_LT, piece, thread_int(l, pieces)));
    const ir_expr *address = thread_add(l, base, thread_u32(l, thread_add(l, within, thread_int(l, run * bytes))));
    const ir_expr *source = thread_add(l, offset, thread_i64(l, within));
    if (engine == IR_ENGINE_CPASYNC) {
      ir_op *copy = thread_op(l, IR_OP_CP_ASYNC);
      ir_op_add_write(copy, buffer);
      ir_op_add_read(copy, ir_ref_whole(from->value));
      ir_op_add_expr(memory, copy, address);
      ir_op_add_expr(memory, copy, source);
      ir_op_add_expr(memory, copy, thread_int(l, width));
      ir_attr_set(&copy->attrs, IR_ATTR_WIDTH, width);
    } else {
      ir_value *word = thread_array(l, "piece", IR_U32, width / 4);
      ir_ref registers = ir_ref_whole(word);
      registers.count = 1;
      registers.start[0] = zero;
      ir_op *load = thread_op(l, IR_OP_LD_GLOBAL), *store = NULL;
      ir_op_add_write(load, registers);
      ir_op_add_read(load, ir_ref_whole(from->value));
      ir_op_add_expr(memory, load, source);
      ir_op_add_expr(memory, load, ir_bool(memory, true));
      ir_attr_set(&load->attrs, IR_ATTR_WIDTH, width);
      store = thread_op(l, IR_OP_ST_SHARED);
      ir_op_add_write(store, buffer);
      ir_op_add_read(store, registers);
      ir_op_add_expr(memory, store, address);
      ir_op_add_expr(memory, store, ir_bool(memory, true));
      ir_attr_set(&store->attrs, IR_ATTR_WIDTH, width);
    }
    if (pieces % threads) thread_leave(l, guarded);
    thread_leave(l, outer);
  }
  thread_leave(l, saved);
}

void thread_tensor_copy(lower *l, const ir_op *op) {
  if (op->read[0].value->space == IR_GLOBAL && op->read[0].value->packed)
    packed_copy(l, op);
  else
    tensor_map_copy(l, op);
}
