/* assign-layouts: say where every element of every tile and shared buffer lies.
 *
 *   before  alloc %As: shared f16[128, 64]           after  alloc %As: shared f16[128, 64] layout #shared[...]{swizzle 128}
 *           alloc %acc: tile f32[128, 256]                   alloc %acc: tile f32[128, 256] layout #tile[...]{...}
 *           alloc %m: tile f32[128]                          alloc %m: tile f32[128] layout #tile[...]{...}     (a row of %acc's)
 *
 * Rules
 * 1. Anchors: accumulators and register operands of dots have the fragments of their instruction (transposed when the
 *    dot is swapped). Codes in registers that are decoded in such an operand have its layout.
 * 2. Layouts flow along elementwise loops, reductions and copies between tiles until nothing changes: a tile indexed
 *    by all coordinates has the loop's layout, one indexed by some has its slice.
 * 3. A tile that nothing reached, the largest first, gets consecutive elements for each thread, as wide as its accesses
 *    to memory; then 2 goes on.
 * 4. Where two demands on one tile differ, the op reads (or writes) another tile and an explicit `convert` stands
 *    beside it.
 * 5. A shared buffer has its contiguous dimension last, with the widest swizzle whose span divides a row when tensor
 *    cores, tensor maps or matrix loads touch it. Codes and scales of fused decodes lie in packed order, without a
 *    swizzle.
 *
 * Requires the scheduled form. */
#include "passes/parallel_access.h"
#include "passes/pass.h"
#include "passes/region.h"
#include "passes/tensor_core.h"

enum { MAX_ACCESSES = 64 };

typedef struct context {
  ir_kernel *kernel;
  pass_env *env;
  int warps;
  bool changed;
} context;

static bool assign(context *c, ir_value *value, const tile_layout *layout) {
  if (value->tile || value->space != IR_TILE) return false;
  value->tile = arena_copy(c->env->memory, layout, sizeof *layout);
  c->changed = true;
  return true;
}

/* -- Demands: the layout that an op wants its tiles to have
 * ---------------------------------------------------------------------------- */

/* The last two dimensions change places. */
static bool transposed(const tile_layout *layout, tile_layout *out) {
  return tile_layout_transpose(layout, layout->rank == 3 ? (const int[]){0, 2, 1} : (const int[]){1, 0}, out);
}

/* The accumulator (operand -1), row operand (0) or column operand (1) of a dot, as stored. */
static bool dot_layout(const ir_op *dot, int operand, int warps, tile_layout *out) {
  dot_shape s = dot_shape_of(dot);
  ir_instruction instruction = (ir_instruction)ir_attr_get(&dot->attrs, IR_ATTR_INSTRUCTION, IR_INSTRUCTION_FMA);
  warp_grid grid = {(int)ir_attr_get(&dot->attrs, IR_ATTR_WARPS_M, warps),
                    (int)ir_attr_get(&dot->attrs, IR_ATTR_WARPS_N, 1), s.parts};
  int bits = ir_bits(s.rows->value->type);
  tile_layout layout;
  bool flip = false, ok;
  if (operand < 0) {
    flip = s.swapped;
    if (instruction == IR_INSTRUCTION_WGMMA)
      ok = tile_layout_wgmma_accumulator(s.m, s.n, warps / 4, &layout);
    else if (instruction == IR_INSTRUCTION_MMA)
      ok = s.parts > 1 ? tile_layout_mma_parts(s.m, s.n, grid, &layout)
                       : tile_layout_mma_accumulator(s.m, s.n, grid, &layout);
    else {
      flip = false;
      ok = tile_layout_blocked(2, (const int[]){(int)ir_extent(s.accumulator, 0), (int)ir_extent(s.accumulator, 1)}, 1,
                               warps, &layout);
    }
  } else if (operand == 0) {
    flip = !s.rows_k_major;
    ok = instruction == IR_INSTRUCTION_WGMMA ? tile_layout_wgmma_a(s.m, s.k, bits, warps / 4, &layout)
                                             : tile_layout_mma_a(s.m, s.k, bits, grid, &layout);
  } else {
    flip = !s.columns_k_major;
    ok = tile_layout_mma_b(s.n, s.k, bits, grid, &layout);
  }
  if (!ok) return false;
  return flip ? transposed(&layout, out) : (*out = layout, true);
}

/* Bytes that a thread may move at once between the tile and memory, over the copies that touch it. */
static int tile_vector(context *c, ir_value *value);

static bool default_layout(context *c, ir_value *value, tile_layout *out) {
  int extent[IR_MAX_RANK];
  for (int d = 0; d < value->rank; d++)
    extent[d] = (int)ir_extent(value, d);
  int vector = tile_vector(c, value);
  while (vector > 1 && extent[value->rank - 1] % vector)
    vector /= 2;
  /* rows before width: a thread need not own more than its share */
  while (vector > 1 && ir_element_count(value) / vector < 32 * c->warps)
    vector /= 2;
  return tile_layout_blocked(value->rank, extent, vector, c->warps, out);
}

typedef struct vector_context {
  context *c;
  ir_value *value;
  int vector;
} vector_context;

static bool vector_visit(void *data, ir_block *block, ir_op *op) {
  vector_context *v = data;
  (void)block;
  if (op->kind != IR_OP_COPY) return true;
  ir_ref *other = op->write[0].value == v->value ? &op->read[0] : op->read[0].value == v->value ? &op->write[0] : NULL;
  if (!other) return true;
  int elements = 1;
  if (other->value->space == IR_GLOBAL) {
    const ir_expr *condition;
    int bytes = region_access_bytes(v->c->env->memory, other),
        wide = region_wide_bytes(v->c->env->memory, other, &condition);
    bytes = wide > bytes ? wide : bytes;
    elements = bytes * 8 / ir_bits(other->value->type);
  } else if (other->value->space == IR_SHARED) {
    elements = 128 / ir_bits(other->value->type);
  }
  v->vector = elements > v->vector ? elements : v->vector;
  return true;
}

static int tile_vector(context *c, ir_value *value) {
  vector_context v = {c, value, 1};
  ir_walk(&c->kernel->body, vector_visit, &v);
  return v.vector > 16 ? 16 : v.vector;
}

/* The layout of a parallel op's iteration space: that of the first full access with a layout, written ones first. */
static bool iteration_layout(const ir_op *op, const parallel_access *accesses, int count, tile_layout *out) {
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < count; i++)
      if (accesses[i].written == (pass == 0) && accesses[i].tile->tile && parallel_access_is_full(op, &accesses[i]) &&
          parallel_iteration_layout(op, &accesses[i], accesses[i].tile->tile, out))
        return true;
  return false;
}

/* dst of a reduction from src: the slice, with an extent-1 dimension in its place when the ranks are equal. */
static bool reduce_layout(const ir_op *op, const tile_layout *source, tile_layout *out) {
  int axis = (int)ir_attr_get(&op->attrs, IR_ATTR_AXIS, 0);
  tile_layout slice;
  if (!tile_layout_slice(source, axis, &slice)) return false;
  if (ir_attr_get(&op->attrs, IR_ATTR_SPREAD, 0)) tile_layout_spread(&slice, &slice);
  if (op->write[0].value->rank == op->read[0].value->rank && op->read[0].value->rank > 1)
    return tile_layout_expand(&slice, axis, 1, out);
  *out = slice;
  return true;
}

/* -- Flow (rule 2) ------------------------------------------------------------------------------------------------- */

static bool anchor(void *data, ir_block *block, ir_op *op) {
  context *c = data;
  (void)block;
  if (op->kind != IR_OP_DOT) return true;
  tile_layout layout;
  dot_shape s = dot_shape_of(op);
  if (dot_layout(op, -1, c->warps, &layout)) assign(c, op->write[0].value, &layout);
  if (ir_attr_get(&op->attrs, IR_ATTR_INSTRUCTION, 0) == IR_INSTRUCTION_FMA) return true;
  if (s.rows->value->space == IR_TILE && dot_layout(op, 0, c->warps, &layout)) assign(c, s.rows->value, &layout);
  if (s.columns->value->space == IR_TILE && dot_layout(op, 1, c->warps, &layout)) assign(c, s.columns->value, &layout);
  return true;
}

static bool flow(void *data, ir_block *block, ir_op *op) {
  context *c = data;
  (void)block;
  tile_layout layout;
  if (op->kind == IR_OP_PARALLEL) {
    parallel_access accesses[MAX_ACCESSES];
    int count = parallel_accesses(op, accesses, MAX_ACCESSES);
    tile_layout iteration;
    if (!iteration_layout(op, accesses, count, &iteration)) return true;
    for (int i = 0; i < count; i++)
      if (!accesses[i].tile->tile && parallel_tile_layout(op, &accesses[i], &iteration, &layout))
        assign(c, accesses[i].tile, &layout);
  } else if (op->kind == IR_OP_REDUCE && op->read[0].value->tile &&
             reduce_layout(op, op->read[0].value->tile, &layout)) {
    assign(c, op->write[0].value, &layout);
  } else if (op->kind == IR_OP_DECODE && ir_attr_get(&op->attrs, IR_ATTR_PLACE, 0) == IR_PLACE_OPERAND &&
             op->read[0].value->space == IR_TILE && op->write[0].value->tile) {
    assign(c, op->read[0].value, op->write[0].value->tile);
  } else if ((op->kind == IR_OP_COPY || op->kind == IR_OP_SCAN) && op->read[0].value->space == IR_TILE &&
             op->write[0].value->space == IR_TILE) {
    if (op->read[0].value->tile)
      assign(c, op->write[0].value, op->read[0].value->tile);
    else if (op->write[0].value->tile)
      assign(c, op->read[0].value, op->write[0].value->tile);
  }
  return true;
}

static void flow_until_stable(context *c) {
  do {
    c->changed = false;
    ir_walk(&c->kernel->body, flow, c);
  } while (c->changed);
}

/* The unreached tile with the most elements, of those the one with the widest accesses to memory: its neighbours are
 * slices of it. */
static ir_value *largest_unassigned(context *c) {
  ir_value *best = NULL;
  int64_t most = 0;
  int widest = 0;
  for (int i = 0; i < c->kernel->value_count; i++) {
    ir_value *value = c->kernel->values[i];
    if (value->space != IR_TILE || value->tile) continue;
    int64_t elements = ir_element_count(value);
    int vector = tile_vector(c, value);
    if (best && (elements < most || (elements == most && vector <= widest))) continue;
    best = value;
    most = elements;
    widest = vector;
  }
  return best;
}

/* -- Conversions (rule 4)
 * ------------------------------------------------------------------------------------------------------------------ */

static ir_value *converted_value(context *c, ir_value *value, const tile_layout *layout, src_loc loc) {
  ir_value *other = ir_value_create(c->env->memory, c->kernel, IR_TILE, value->type, value->name, loc);
  other->rank = value->rank;
  for (int d = 0; d < value->rank; d++)
    other->extent[d] = value->extent[d];
  other->tile = arena_copy(c->env->memory, layout, sizeof *layout);
  return other;
}

static void insert_convert(context *c, ir_block *block, ir_op *before, ir_op *after, ir_value *to, ir_value *from,
                           src_loc loc) {
  ir_op *convert = ir_op_create(c->env->memory, IR_OP_CONVERT, loc);
  ir_op_add_write(convert, ir_ref_whole(to));
  ir_op_add_read(convert, ir_ref_whole(from));
  if (before)
    ir_block_insert_before(block, before, convert);
  else
    ir_block_insert_after(block, after, convert);
  diag_remark(c->env->diagnostics, "assign-layouts", "layout", false, loc, "%s changes its layout here", from->name);
}

/* An op may use one tile in several ways, each in a layout of its own: t and t^T, or both operands of a dot. */
typedef struct replacement {
  context *c;
  ir_value *from, *to;
  const ir_op *op;
  const parallel_access *access; /* only elements with these coordinates; NULL: all */
  int operand;                   /* only this one of a dot; -1: all */
} replacement;

static bool is_replaced(const replacement *r, const ir_expr *const *index) {
  int coordinate[IR_MAX_RANK];
  if (!r->access) return true;
  parallel_coordinates(r->op, r->from, index, r->from->rank, coordinate);
  for (int d = 0; d < r->from->rank; d++)
    if (coordinate[d] != r->access->coordinate[d]) return false;
  return true;
}

static const ir_expr *replace_value(void *data, const ir_expr *e) {
  replacement *r = data;
  const ir_expr **args = ARENA_ARRAY(r->c->env->memory, const ir_expr *, e->arg_count);
  bool mine = e->kind == IR_EXPR_ELEMENT && e->value == r->from && is_replaced(r, e->args), changed = mine;
  for (int i = 0; i < e->arg_count; i++) {
    args[i] = replace_value(data, e->args[i]);
    changed |= args[i] != e->args[i];
  }
  if (!changed) return e;
  ir_expr *copy = arena_copy(r->c->env->memory, e, sizeof *e);
  copy->args = args;
  if (mine) copy->value = r->to;
  return copy;
}

static void replace_in_op(replacement *r, ir_op *op) {
  for (int i = 0; i < op->read_count; i++)
    if (op->read[i].value == r->from && (r->operand < 0 || r->operand == i)) op->read[i].value = r->to;
  for (int i = 0; i < op->write_count; i++)
    if (op->write[i].value == r->from && (!op->write[i].count || is_replaced(r, op->write[i].start)))
      op->write[i].value = r->to;
  ir_op_each_expr(op, replace_value, r);
  for (ir_op *child = op->body.first; child; child = child->next)
    replace_in_op(r, child);
  for (ir_op *child = op->other.first; child; child = child->next)
    replace_in_op(r, child);
}

/* Makes the op see `value` in the layout it demands. */
static void demand(context *c, ir_block *block, ir_op *op, ir_value *value, const tile_layout *layout,
                   const parallel_access *access, int operand) {
  if (value->space != IR_TILE || tile_layout_equal(value->tile, layout)) return;
  bool reads = ir_op_reads(op, value), writes = operand < 0 && ir_op_writes(op, value);
  ir_value *other = converted_value(c, value, layout, op->loc);
  if (reads) insert_convert(c, block, op, NULL, other, value, op->loc);
  if (writes) insert_convert(c, block, NULL, op, value, other, op->loc);
  replacement r = {c, value, other, op, access, operand};
  replace_in_op(&r, op);
}

static bool meet_demands(context *c, ir_block *block) {
  ir_op *next;
  for (ir_op *op = block->first; op; op = next) {
    next = op->next;
    tile_layout layout;
    if (op->kind == IR_OP_DOT) {
      dot_shape s = dot_shape_of(op);
      bool fma = ir_attr_get(&op->attrs, IR_ATTR_INSTRUCTION, 0) == IR_INSTRUCTION_FMA;
      if (dot_layout(op, -1, c->warps, &layout)) demand(c, block, op, op->write[0].value, &layout, NULL, -1);
      if (!fma && s.rows->value->space == IR_TILE && dot_layout(op, 0, c->warps, &layout))
        demand(c, block, op, s.rows->value, &layout, NULL, s.swapped ? 1 : 0);
      if (!fma && s.columns->value->space == IR_TILE && dot_layout(op, 1, c->warps, &layout))
        demand(c, block, op, s.columns->value, &layout, NULL, s.swapped ? 0 : 1);
    } else if (op->kind == IR_OP_PARALLEL) {
      parallel_access accesses[MAX_ACCESSES];
      int count = parallel_accesses(op, accesses, MAX_ACCESSES);
      tile_layout iteration;
      if (count && !iteration_layout(op, accesses, count, &iteration)) {
        int extent[IR_MAX_RANK];
        for (int v = 0; v < op->variable_count; v++) {
          int64_t n = 1;
          ir_is_constant(op->expr[v], &n);
          extent[v] = (int)n;
        }
        if (!tile_layout_blocked(op->variable_count, extent, 1, c->warps, &iteration))
          return diag_error(c->env->diagnostics, DIAG_PLACEMENT, op->loc,
                            "the extents of this loop cannot be spread over %d threads", c->warps * 32);
      }
      for (int i = 0; i < count; i++) {
        if (!parallel_tile_layout(op, &accesses[i], &iteration, &layout))
          return diag_error(
              c->env->diagnostics, DIAG_PLACEMENT, op->loc,
              "%s is a register tile: index it with the loop's coordinates only, or keep it in shared memory",
              accesses[i].tile->name);
        demand(c, block, op, accesses[i].tile, &layout, &accesses[i], -1);
      }
    } else if (op->kind == IR_OP_REDUCE && reduce_layout(op, op->read[0].value->tile, &layout)) {
      demand(c, block, op, op->write[0].value, &layout, NULL, -1);
    } else if ((op->kind == IR_OP_COPY || op->kind == IR_OP_SCAN) && op->read[0].value->space == IR_TILE &&
               op->write[0].value->space == IR_TILE) {
      demand(c, block, op, op->write[0].value, op->read[0].value->tile, NULL, -1);
    }
    if (op->kind != IR_OP_PARALLEL && !(meet_demands(c, &op->body) && meet_demands(c, &op->other))) return false;
  }
  return true;
}

/* -- Shared buffers (rule 5)
 * ---------------------------------------------------------------------------------------------------------------- */

typedef struct buffer_use {
  const ir_value *buffer;
  bool matrix; /* tensor cores, tensor maps, matrix loads and stores */
  bool packed; /* codes or scales of a fused decode */
} buffer_use;

static void buffer_visit(void *data, ir_op *op, ir_value *value, bool written) {
  buffer_use *u = data;
  (void)written;
  if (value != u->buffer) return;
  int64_t engine = op->kind == IR_OP_COPY ? ir_attr_get(&op->attrs, IR_ATTR_ENGINE, 0) : 0;
  u->matrix |= op->kind == IR_OP_DOT || engine == IR_ENGINE_TMA || engine == IR_ENGINE_MATRIX;
  u->packed |= op->kind == IR_OP_DECODE && ir_attr_get(&op->attrs, IR_ATTR_PLACE, 0) == IR_PLACE_OPERAND;
  u->packed |= op->kind == IR_OP_DOT && op->read_count > 2 && op->read[2].value == value;
}

static bool assign_shared(context *c, ir_value *value) {
  buffer_use u = {value, false, false};
  for (ir_op *op = c->kernel->body.first; op; op = op->next)
    ir_op_visit(op, true, buffer_visit, &u);
  int extent[IR_MAX_RANK];
  for (int d = 0; d < value->rank; d++)
    extent[d] = (int)ir_extent(value, d);
  int bits = ir_bits(value->type);
  shared_swizzle swizzle =
      u.matrix && !u.packed && bits >= 8 ? shared_choose_swizzle(extent[value->rank - 1], bits) : SHARED_SWIZZLE_NONE;
  bool whole_bytes = extent[value->rank - 1] * bits % 8 == 0;
  int contiguous =
      u.packed && !whole_bytes ? 0 : value->rank - 1; /* packed blocks are plain bytes: only their number matters */
  shared_layout layout;
  if (!shared_layout_make(value->rank, extent, bits, contiguous, swizzle, 0, &layout))
    return diag_error(c->env->diagnostics, DIAG_PLACEMENT, value->loc, "a row of %s is not a whole number of bytes",
                      value->name);
  value->shared = arena_copy(c->env->memory, &layout, sizeof layout);
  return true;
}

bool assign_layouts(ir_kernel *kernel, pass_env *env) {
  context c = {.kernel = kernel, .env = env, .warps = (int)ir_attr_get(&kernel->attrs, IR_ATTR_WARPS, 4)};
  ir_walk(&kernel->body, anchor, &c);
  flow_until_stable(&c);
  for (ir_value *value = largest_unassigned(&c); value; value = largest_unassigned(&c)) {
    tile_layout layout;
    if (!default_layout(&c, value, &layout))
      return diag_error(
          env->diagnostics, DIAG_PLACEMENT, value->loc,
          "the extents of %s cannot be spread over %d threads: use an odd number up to 9 times a power of two",
          value->name, c.warps * 32);
    assign(&c, value, &layout);
    flow_until_stable(&c);
  }
  if (!meet_demands(&c, &kernel->body)) return false;
  for (int i = 0; i < kernel->value_count; i++)
    if (kernel->values[i]->space == IR_SHARED && !kernel->values[i]->shared && !assign_shared(&c, kernel->values[i]))
      return false;
  kernel->form = IR_FORM_LAID_OUT;
  return true;
}
