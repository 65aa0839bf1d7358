/* Copies that an engine does on one thread's word: tensor maps (TMA boxes) and bulk copies of packed blocks.
 *
 * A box is one panel of the shared layout, at most 256 long in the other dimensions: exactly what the swizzle of the
 * map writes (ir/layout.h). L2 fetches 256 bytes where a box asks for 128 of them: the other half is what the next block
 * of k takes. Where the copy itself takes it, in another row or panel, it would be asked for twice, which costs 7 % of
 * the bandwidth of device memory, and 128 bytes are fetched. Small panels beside each other are one box of a map that has them as a dimension of its own,
 * where the tensor's rows are whole panels. Packed tensors (fuse-decode) lie in blocks; a tile's blocks of one block row are
 * contiguous in memory and in the buffer, so a copy is one run a block row; pieces of blocks (packed_piece_rows) are a
 * run each, or a box over blocks side by side. Block rows and columns beyond the tensor repeat the last one, or are
 * zeros: what they decode to meets zeros or is never stored. A tile of codes in registers is loaded in the order in which
 * its threads decode it: 16 rows of a block are a vector of 16 bytes for each lane. */
#include "passes/lower.h"
#include "passes/region.h"

#include <string.h>

enum { LEAST_PANELS = 3, MAX_BOX = 256, WORD_BYTES = 4, GROUP_ROWS = 16, VECTOR_BYTES = 16 };

/* The map over `tensor` with this rank, box, swizzle and fetch; made once a kernel. */
static ir_value *find_map(lower *l, ir_value *tensor, int rank, const int *box, shared_swizzle swizzle, int fetch) {
  for (int i = 0; i < l->kernel->value_count; i++) {
    ir_value *value = l->kernel->values[i];
    if (value->space == IR_MAP && value->tensor == tensor && value->rank == rank && value->swizzle == swizzle &&
        value->fetch == fetch && !memcmp(value->box, box, sizeof value->box))
      return value;
  }
  ir_value *map = ir_value_create(l->memory, l->kernel, IR_MAP, tensor->type,
                                  arena_printf(l->memory, "%s_map", tensor->name), tensor->loc);
  map->tensor = tensor;
  map->rank = rank;
  map->swizzle = swizzle;
  map->fetch = fetch;
  memcpy(map->box, box, sizeof map->box);
  return map;
}

/* Whether the panels of a tile, being small, are better a box of the tensor's panels than a box each: its rows are whole
 * panels then. */
static bool loads_panels(const ir_ref *tensor, const shared_layout *layout, int panel_elements) {
  const ir_value *value = tensor->value;
  int last = value->rank - 1;
  if (layout->panel_count < LEAST_PANELS || layout->panel_count > MAX_BOX || value->rank == IR_MAX_RANK ||
      layout->rows * layout->panel_bytes > REGION_SMALL_BOX)
    return false;
  if (tensor->count && (!tensor->span[last] || ir_known_divisor(tensor->start[last]) % panel_elements)) return false;
  return ir_known_divisor(value->extent[last]) % panel_elements == 0;
}

/* What L2 fetches where this tile is loaded: no more than a line where the bytes beside it are the tile's too. */
static int fetch_of(const ir_ref *tensor, const shared_layout *layout) {
  const ir_value *value = tensor->value;
  int last = value->rank - 1, line = IR_FETCH / 2;
  int64_t bytes = (int64_t)layout->panel_count * layout->panel_bytes, row;
  bool whole = last > 0 && !value->stride[last - 1] && ir_is_constant(value->extent[last], &row) &&
               row * layout->element_bits == bytes * 8 && (!tensor->count || tensor->span[last - 1]);
  if (whole) bytes *= layout->extent[layout->rank - 2]; /* rows of the tensor that follow each other */
  return layout->panel_bytes <= line && bytes > line ? line : IR_FETCH;
}

/* What one of several issuers copies: a block of a cluster for all of them, or a part of the role. */
typedef struct tensor_share {
  int axis, count;      /* so many shares along this dimension of the buffer */
  const ir_expr *first; /* element along it; NULL: there is one share */
  int bytes;            /* in the buffer, from one element along it to the next */
} tensor_share;

/* A share has `rows` rows of every panel, or all rows of its panels. */
static tensor_share share_of(lower *l, const ir_op *op, const shared_layout *layout, int blocks, int rows) {
  const ir_expr *number = blocks > 1 ? ir_leaf(l->memory, IR_EXPR_CTA_RANK, IR_I32) : thread_part_number(l, op);
  if (!number) return (tensor_share){.count = 1};
  int count = blocks > 1 ? blocks : (int)ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1), bytes = layout->panel_bytes;
  int axis = blocks > 1 ? 0 : (int)ir_attr_get(&op->attrs, IR_ATTR_AXIS, 0), extent = rows / count;
  if (axis > 0) {
    extent = layout->extent[axis] / count;
    bytes = layout->rows * layout->element_bits / 8;
  }
  return (tensor_share){axis, count, thread_let(l, "share", thread_mul(l, number, thread_int(l, extent))), bytes};
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
  int blocks = load ? (int)ir_attr_get(&op->attrs, IR_ATTR_MULTICAST, 1) : 1;
  const tensor_share share = share_of(l, op, layout, blocks, box[spanned[0]]);
  const int share_dim = spanned[share.axis == 0 ? 0 : rank - 1];
  if (share.axis == 0)
    box[share_dim] /= share.count;
  else
    panels /= share.count;
  int outer = load && pieces == 1 && blocks == 1 && loads_panels(tensor, layout, panel_elements) ? panels : 1;
  if (outer > 1) { /* one more dimension in front */
    memmove(box + 1, box, sizeof *box * (size_t)tensor->value->rank);
    box[0] = outer;
  }
  ir_value *map = find_map(l, tensor->value, ir_map_rank(tensor->value) + (outer > 1 ? 1 : 0), box, layout->swizzle,
                           load ? fetch_of(tensor, layout) : IR_FETCH);
  int piece_bytes = pieces > 1 ? layout->rows / pieces * layout->panel_bytes : 0;

  ir_block *saved = thread_guard(l, thread_first_of_part(l, op));
  for (int panel = 0; panel < panels; panel += outer) {
    for (int piece = 0; piece < pieces; piece++) {
      int offset = panel * layout->rows * layout->panel_bytes + piece * piece_bytes;
      const ir_expr *address =
          thread_add(l, ir_address(l->memory, buffer->value, buffer->slot), ir_typed_int(l->memory, IR_U32, offset));
      if (share.first)
        address = thread_add(l, address, thread_u32(l, thread_mul(l, share.first, thread_int(l, share.bytes))));
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
        if (d == spanned[rank - 1])
          at = outer > 1 ? thread_int(l, 0) : thread_add(l, at, thread_int(l, panel * panel_elements));
        if (d == spanned[0] && pieces > 1) at = thread_add(l, at, thread_int(l, piece * piece_rows));
        if (d == share_dim && share.first) at = thread_add(l, at, share.first);
        ir_op_add_expr(l->memory, copy, at);
      }
      if (outer > 1) {
        const ir_expr *at = tensor->count ? tensor->start[spanned[rank - 1]] : thread_int(l, 0);
        ir_op_add_expr(l->memory, copy, ir_binary(l->memory, IR_EXPR_DIV, at, thread_int(l, panel_elements)));
      }
    }
  }
  thread_leave(l, saved);
}

/* What a tile takes of a packed tensor: pieces of blocks (packed_piece_rows), a run of one or of several neighbours at
 * a time. */
typedef struct packed_runs {
  const ir_expr *first_piece, *first_column; /* of the tile, in pieces along rows and in blocks along k */
  const ir_expr *last_block;                 /* along rows */
  const ir_expr *across;                     /* blocks along k */
  const ir_expr *last_column;                /* where a run may begin, or all of the tile where it is_whole */
  bool is_whole;                             /* the tile reaches past no block along k */
  int pieces;                                /* of a block */
  int blocks;                                /* of the tile along k */
  int piece_bytes, block_bytes;
  int bytes;  /* of a run */
  int beside; /* runs along k */
  int count;
} packed_runs;

static packed_runs runs_of(lower *l, const ir_op *op) {
  const ir_ref *from = &op->read[0], *to = &op->write[0];
  const packed_layout *packed = from->value->packed;
  arena *memory = l->memory;
  int rows = (int)ir_extent(to->value, 0), columns = (int)ir_extent(to->value, 1);
  int piece_rows = packed_piece_rows(rows), block_columns = columns / packed->k;
  const ir_expr *zero = thread_int(l, 0), *one = thread_int(l, 1);
  const ir_expr *row0 = from->count ? from->start[0] : zero, *column0 = from->count ? from->start[1] : zero;
  packed_runs r = {.pieces = packed->rows / piece_rows,
                   .blocks = block_columns,
                   .block_bytes = packed->rows * packed->k * packed->code_bits / 8,
                   .piece_bytes = piece_rows * packed->k * packed->code_bits / 8};
  r.across = ir_binary(memory, IR_EXPR_CEILDIV, from->value->extent[1], thread_int(l, packed->k));
  const ir_expr *down = ir_binary(memory, IR_EXPR_CEILDIV, from->value->extent[0], thread_int(l, packed->rows));
  r.last_block = ir_binary(memory, IR_EXPR_SUB, down, one);
  r.first_piece = ir_binary(memory, IR_EXPR_DIV, row0, thread_int(l, piece_rows));
  r.first_column = ir_binary(memory, IR_EXPR_DIV, column0, thread_int(l, packed->k));
  /* Where a tile may reach past the tensor's blocks, block after block, the last one again and again: nothing depends
   * on what lies there (packed_ends.h). */
  bool whole = block_columns == 1 ||
               (ir_known_divisor(from->value->extent[1]) % columns == 0 && ir_known_divisor(column0) % columns == 0);
  r.beside = whole && r.pieces == 1 ? 1 : block_columns;
  r.bytes = block_columns / r.beside * r.piece_bytes;
  r.count = rows / piece_rows * r.beside;
  r.last_column = ir_binary(memory, IR_EXPR_SUB, r.across, thread_int(l, whole ? block_columns : 1));
  r.is_whole = whole;
  return r;
}

/* Byte offset of a run in the tensor. A tile of one piece begins in a block that exists (fuse-decode). */
static const ir_expr *run_offset(lower *l, const packed_runs *r, const ir_expr *down, const ir_expr *along) {
  arena *memory = l->memory;
  const ir_expr *piece = thread_add(l, r->first_piece, down), *row = piece;
  if (r->pieces > 1) row = ir_binary(memory, IR_EXPR_DIV, piece, thread_int(l, r->pieces));
  if (r->count > r->beside) row = ir_binary(memory, IR_EXPR_MIN, row, r->last_block);
  const ir_expr *column = r->is_whole ? r->first_column : thread_add(l, r->first_column, along);
  column = ir_binary(memory, IR_EXPR_MIN, column, r->last_column);
  if (r->is_whole) column = thread_add(l, column, along);
  const ir_expr *block =
      thread_add(l, thread_mul(l, thread_i64(l, row), thread_i64(l, r->across)), thread_i64(l, column));
  const ir_expr *offset = thread_mul(l, block, ir_typed_int(memory, IR_I64, r->block_bytes));
  if (r->pieces > 1) {
    const ir_expr *within = ir_binary(memory, IR_EXPR_MOD, piece, thread_int(l, r->pieces));
    offset = thread_add(l, offset, thread_i64(l, thread_mul(l, within, thread_int(l, r->piece_bytes))));
  }
  return thread_let(l, "block_offset", offset);
}

/* A copy of one run, or of a box of pieces, that the barrier of `op` counts. */
static ir_op *load_op(lower *l, const ir_op *op, ir_op_kind kind, ir_value *from, int offset) {
  const ir_ref *to = &op->write[0];
  const ir_expr *base = ir_address(l->memory, to->value, to->slot);
  ir_op *copy = thread_op(l, kind);
  ir_ref buffer = ir_ref_whole(to->value);
  buffer.slot = to->slot;
  ir_op_add_write(copy, buffer);
  ir_op_add_read(copy, ir_ref_whole(from));
  ir_op_add_read(copy, op->read[1]);
  ir_op_add_expr(l->memory, copy, thread_add(l, base, ir_typed_int(l->memory, IR_U32, offset)));
  return copy;
}

static void load_run(lower *l, const ir_op *op, const packed_runs *r, int run) {
  const ir_expr *offset = run_offset(l, r, thread_int(l, run / r->beside), thread_int(l, run % r->beside));
  ir_op *copy = load_op(l, op, IR_OP_BULK_LOAD, op->read[0].value, run * r->bytes);
  ir_op_add_expr(l->memory, copy, offset);
  ir_op_add_expr(l->memory, copy, thread_int(l, r->bytes));
}

/* Whether the pieces of a tile that lie beside each other along k are better a box of the tensor's blocks than a run
 * each. */
static bool loads_boxes(const packed_runs *r) {
  int bytes = r->blocks * r->piece_bytes;
  bool several = r->count > r->beside;
  return r->pieces > 1 && r->blocks > 1 && r->blocks <= MAX_BOX && r->piece_bytes / WORD_BYTES <= MAX_BOX &&
         (!several || bytes % REGION_BOX_ALIGNMENT == 0);
}

/* Number `row` of those boxes. Blocks past the tensor's last one are zeros. */
static void load_box(lower *l, const ir_op *op, const packed_runs *r, int row) {
  const int box[IR_MAX_RANK] = {1, r->blocks, r->piece_bytes / WORD_BYTES};
  ir_value *map = find_map(l, op->read[0].value, ir_map_rank(op->read[0].value), box, SHARED_SWIZZLE_NONE, IR_FETCH);
  const ir_expr *piece = thread_add(l, r->first_piece, thread_int(l, row));
  const ir_expr *down = ir_binary(l->memory, IR_EXPR_DIV, piece, thread_int(l, r->pieces)),
                *within = ir_binary(l->memory, IR_EXPR_MOD, piece, thread_int(l, r->pieces));
  ir_op *copy = load_op(l, op, IR_OP_TMA_LOAD, map, row * r->blocks * r->piece_bytes);
  ir_op_add_expr(l->memory, copy, ir_typed_int(l->memory, IR_U32, 0));
  ir_op_add_expr(l->memory, copy, thread_mul(l, within, thread_int(l, r->piece_bytes / WORD_BYTES)));
  ir_op_add_expr(l->memory, copy, r->first_column);
  ir_op_add_expr(l->memory, copy, down);
}

/* One access of `width` bytes by one thread, through registers or by cp.async. */
static void move_vector(lower *l, const ir_op *op, const ir_expr *address, const ir_expr *source, int width) {
  arena *memory = l->memory;
  ir_value *from = op->read[0].value;
  ir_ref buffer = ir_ref_whole(op->write[0].value);
  buffer.slot = op->write[0].slot;
  if (ir_attr_get(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_SIMT) == IR_ENGINE_CPASYNC) {
    ir_op *copy = thread_op(l, IR_OP_CP_ASYNC);
    ir_op_add_write(copy, buffer);
    ir_op_add_read(copy, ir_ref_whole(from));
    ir_op_add_expr(memory, copy, address);
    ir_op_add_expr(memory, copy, source);
    ir_op_add_expr(memory, copy, thread_int(l, width));
    ir_attr_set(&copy->attrs, IR_ATTR_WIDTH, width);
    return;
  }
  ir_value *word = thread_array(l, "piece", IR_U32, width / 4);
  ir_ref registers = ir_ref_whole(word);
  registers.count = 1;
  registers.start[0] = thread_int(l, 0);
  ir_op *load = thread_op(l, IR_OP_LD_GLOBAL);
  ir_op_add_write(load, registers);
  ir_op_add_read(load, ir_ref_whole(from));
  ir_op_add_expr(memory, load, source);
  ir_op_add_expr(memory, load, ir_bool(memory, true));
  ir_attr_set(&load->attrs, IR_ATTR_WIDTH, width);
  ir_op *store = thread_op(l, IR_OP_ST_SHARED);
  ir_op_add_write(store, buffer);
  ir_op_add_read(store, registers);
  ir_op_add_expr(memory, store, address);
  ir_op_add_expr(memory, store, ir_bool(memory, true));
  ir_attr_set(&store->attrs, IR_ATTR_WIDTH, width);
}

/* By the role's own threads. A loop moves what lies beside each other along k, whose place is the same for all
 * threads but for a distance; one run, where a run may be the last block again; or all of the tile, where either would
 * keep few threads busy. */
static void move_runs(lower *l, const ir_op *op, const packed_runs *r) {
  arena *memory = l->memory;
  int width = r->bytes % 16 == 0 ? 16 : r->bytes % 8 == 0 ? 8 : 4;
  int vectors = r->bytes / width, threads = l->warp_count * 32, runs = r->is_whole ? r->beside : 1;
  if (runs < r->count && runs * vectors < threads) runs = r->count;
  bool apart = runs > 1 && !(r->is_whole && runs == r->beside); /* each thread's run lies somewhere else */
  int total = runs * vectors;
  const ir_expr *base = ir_address(memory, op->write[0].value, op->write[0].slot), *step, *offset = NULL;
  for (int run = 0; run < r->count; run += runs) {
    if (!apart) offset = run_offset(l, r, thread_int(l, run / r->beside), thread_int(l, run % r->beside));
    ir_block *outer = thread_loop(l, "p", thread_int(l, (total + threads - 1) / threads), 1, &step);
    const ir_expr *vector = thread_add(l, thread_mul(l, step, thread_int(l, threads)), l->thread);
    ir_block *guarded = l->out;
    if (total % threads) guarded = thread_guard(l, ir_binary(memory, IR_EXPR_LT, vector, thread_int(l, total)));
    const ir_expr *number = ir_binary(memory, IR_EXPR_DIV, vector, thread_int(l, vectors)),
                  *within = ir_binary(memory, IR_EXPR_MOD, vector, thread_int(l, vectors));
    const ir_expr *distance = thread_mul(l, runs > 1 ? within : vector, thread_int(l, width));
    if (apart)
      offset = run_offset(l, r, ir_binary(memory, IR_EXPR_DIV, number, thread_int(l, r->beside)),
                          ir_binary(memory, IR_EXPR_MOD, number, thread_int(l, r->beside)));
    else if (runs > 1)
      distance = thread_add(l, thread_mul(l, number, thread_int(l, r->block_bytes)), distance);
    const ir_expr *to = thread_add(l, thread_mul(l, vector, thread_int(l, width)), thread_int(l, run * r->bytes));
    move_vector(l, op, thread_add(l, base, thread_u32(l, to)), thread_add(l, offset, thread_i64(l, distance)), width);
    if (total % threads) thread_leave(l, guarded);
    thread_leave(l, outer);
  }
}

/* The first row of each warp, or its first column in units of `unit`, as an expression. */
static const ir_expr *first_of_warp(lower *l, const tile_layout *layout, int dim, int unit) {
  int *first = ARENA_ARRAY(l->env->scratch, int, layout->warp_count), at[LAYOUT_MAX_RANK];
  for (int warp = 0; warp < layout->warp_count; warp++) {
    tile_layout_coord(layout, 0, 0, warp, at);
    first[warp] = at[dim] / unit;
  }
  const ir_expr *table = thread_table(l, first, layout->warp_count, l->warp);
  if (!table) BUG("warps do not share codes evenly");
  return thread_role_let(l, dim ? "own_block" : "own_row", table);
}

/* To registers: vector after vector as the thread decodes them (thread_decode), along k and then along rows. */
static void load_vectors(lower *l, const ir_op *op, const packed_runs *r) {
  arena *memory = l->memory;
  const ir_value *tile = op->write[0].value;
  const packed_layout *packed = op->read[0].value->packed;
  ir_value *registers = thread_registers(l, tile);
  int elements = VECTOR_BYTES * 8 / ir_bits(tile->type), words = VECTOR_BYTES / WORD_BYTES;
  int piece_rows = packed->rows / r->pieces;
  const ir_expr *own_row = first_of_warp(l, tile->tile, 0, 1), *own_block = first_of_warp(l, tile->tile, 1, packed->k),
                *own_bytes = thread_role_let(l, "own_bytes", thread_mul(l, l->lane, thread_int(l, VECTOR_BYTES))),
                *from = NULL;
  for (int vector = 0, row = -1; vector < tile->tile->reg_count / elements; vector++) {
    int at[LAYOUT_MAX_RANK];
    tile_layout_coord(tile->tile, vector * elements, 0, 0, at);
    int block = at[1] / packed->k;
    if (at[0] != row || !r->is_whole) {
      const ir_expr *down = thread_add(l, own_row, thread_int(l, at[0])), *piece = thread_int(l, piece_rows);
      const ir_expr *run = run_offset(l, r, ir_binary(memory, IR_EXPR_DIV, down, piece),
                                      r->is_whole ? own_block : thread_add(l, own_block, thread_int(l, block)));
      const ir_expr *group =
          ir_binary(memory, IR_EXPR_DIV, ir_binary(memory, IR_EXPR_MOD, down, piece), thread_int(l, GROUP_ROWS));
      const ir_expr *within = thread_add(l, thread_mul(l, group, thread_int(l, TILE_LANES * VECTOR_BYTES)), own_bytes);
      from = thread_let(l, "codes_at", thread_add(l, run, thread_i64(l, within)));
    }
    row = at[0];
    ir_op *load = thread_op(l, IR_OP_LD_GLOBAL);
    ir_ref to = ir_ref_whole(registers);
    to.count = 1;
    to.start[0] = thread_int(l, vector * words);
    ir_op_add_write(load, to);
    ir_op_add_read(load, ir_ref_whole(op->read[0].value));
    ir_op_add_expr(memory, load,
                   r->is_whole ? thread_add(l, from, ir_typed_int(memory, IR_I64, (int64_t)block * r->block_bytes))
                               : from);
    ir_op_add_expr(memory, load, ir_bool(memory, true));
    ir_attr_set(&load->attrs, IR_ATTR_WIDTH, VECTOR_BYTES);
  }
}

static void packed_copy(lower *l, const ir_op *op) {
  packed_runs r = runs_of(l, op);
  r.first_piece = thread_let(l, "first_piece", r.first_piece);
  r.first_column = thread_let(l, "block_column", r.first_column);
  if (op->write[0].value->space == IR_TILE) {
    load_vectors(l, op, &r);
    return;
  }
  if (ir_attr_get(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_SIMT) != IR_ENGINE_BULK) {
    move_runs(l, op, &r);
    return;
  }
  ir_block *saved = thread_guard(l, thread_first_thread(l));
  bool boxes = loads_boxes(&r);
  for (int i = 0; i < (boxes ? r.count / r.beside : r.count); i++)
    if (boxes)
      load_box(l, op, &r, i);
    else
      load_run(l, op, &r, i);
  thread_leave(l, saved);
}

void thread_tensor_copy(lower *l, const ir_op *op) {
  if (op->read[0].value->space == IR_GLOBAL && op->read[0].value->packed)
    packed_copy(l, op);
  else
    tensor_map_copy(l, op);
}
