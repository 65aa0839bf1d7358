#include "passes/lower_packed.h"

#include <math.h>

enum { GROUP_ROWS = 16, VECTOR_BYTES = 16, ROW_BYTES = 32 }; /* ROW_BYTES: of codes, of a row of a block */

/* first[w] = the first column of warp w, in blocks of `width` columns; false when that is the first of all for every
 * warp. */
static bool first_columns(const tile_layout *layout, int width, int *first) {
  bool any = false;
  for (int warp = 0; warp < layout->warp_count; warp++) {
    int at[LAYOUT_MAX_RANK];
    tile_layout_coord(layout, 0, 0, warp, at);
    first[warp] = at[1] / width;
    any |= first[warp] > 0;
  }
  return any;
}

packed_operand packed_operand_of(lower *l, const tile_layout *layout, const ir_ref *ref, int group) {
  packed_operand p = {.l = l, .layout = layout};
  if (!ref || !ref->value) return p;
  p.buffer = ref->value;
  if (p.buffer->space == IR_TILE) return p;
  p.slot = ref->slot;
  int bits = ir_bits(p.buffer->type);
  p.columns = (int)ir_extent(p.buffer, 1);
  p.piece_rows = packed_piece_rows((int)ir_extent(p.buffer, 0));
  p.piece_bytes = p.piece_rows * bits / 8;
  p.unit_rows = bits < 8 ? 8 / bits : 1;
  p.unit_bytes = bits < 8 ? 1 : bits / 8;
  if (!group) {
    p.columns = p.columns * bits / (ROW_BYTES * 8);
    p.piece_bytes = p.piece_rows * ROW_BYTES;
    p.unit_rows = GROUP_ROWS;
    p.unit_bytes = TILE_LANES * VECTOR_BYTES;
    p.lane = thread_mul(l, l->lane, thread_int(l, VECTOR_BYTES));
  }
  int *first = ARENA_ARRAY(l->env->scratch, int, layout->warp_count);
  if (p.columns > 1 && first_columns(layout, group ? group : ROW_BYTES * 8 / bits, first)) {
    const ir_expr *column = thread_table(l, first, layout->warp_count, l->warp);
    if (!column) BUG("warps do not share k evenly");
    const ir_expr *bytes = thread_mul(l, column, thread_int(l, p.piece_bytes));
    p.lane = p.lane ? thread_add(l, p.lane, bytes) : bytes;
  }
  return p;
}

/* Byte offset of a row in the operand's buffer. */
static int row_offset(const packed_operand *p, int row) {
  return row / p->piece_rows * p->columns * p->piece_bytes + row % p->piece_rows / p->unit_rows * p->unit_bytes;
}

static const ir_expr *address_of_row(const packed_operand *p, const ir_expr *row) {
  lower *l = p->l;
  const ir_expr *piece = ir_binary(l->memory, IR_EXPR_DIV, row, thread_int(l, p->piece_rows));
  const ir_expr *within = ir_binary(l->memory, IR_EXPR_MOD, row, thread_int(l, p->piece_rows));
  within = ir_binary(l->memory, IR_EXPR_DIV, within, thread_int(l, p->unit_rows));
  const ir_expr *offset = thread_add(l, thread_mul(l, piece, thread_int(l, p->columns * p->piece_bytes)),
                                     thread_mul(l, within, thread_int(l, p->unit_bytes)));
  if (p->lane) offset = thread_add(l, offset, p->lane);
  offset = thread_role_let(l, "packed_row", offset);
  return thread_let(l, "packed_at", thread_add(l, ir_address(l->memory, p->buffer, p->slot), thread_u32(l, offset)));
}

/* Whether the row `distance` below every thread's first one lies row_offset(distance) further. */
static bool is_apart(const packed_operand *p, int distance) {
  for (int warp = 0; warp < p->layout->warp_count; warp++) {
    int first[LAYOUT_MAX_RANK];
    tile_layout_coord(p->layout, 0, 0, warp, first);
    if (first[0] % p->piece_rows + 7 + distance % p->piece_rows >= p->piece_rows) return false;
  }
  return true;
}

/* Shared address of the row `distance` below the thread's first one. */
static const ir_expr *row_address(packed_operand *p, int distance) {
  lower *l = p->l;
  const ir_expr *first = thread_own_coord(l, p->layout, 0);
  if (!is_apart(p, distance)) return address_of_row(p, thread_add(l, first, thread_int(l, distance)));
  if (!p->own) p->own = address_of_row(p, first);
  return thread_add(l, p->own, thread_bits(l, row_offset(p, distance)));
}

static void load(const packed_operand *p, ir_value *into, int word, const ir_expr *address, int bytes) {
  lower *l = p->l;
  ir_op *op = thread_op(l, IR_OP_LD_SHARED);
  ir_ref to = ir_ref_whole(into), from = ir_ref_whole(p->buffer);
  to.count = 1;
  to.start[0] = thread_int(l, word);
  from.slot = p->slot;
  ir_op_add_write(op, to);
  ir_op_add_read(op, from);
  ir_op_add_expr(l->memory, op, address);
  ir_op_add_expr(l->memory, op, ir_bool(l->memory, true));
  ir_attr_set(&op->attrs, IR_ATTR_WIDTH, bytes);
}

void packed_load_codes(packed_operand *p, ir_value *into, int word, int distance, int block) {
  const ir_expr *address = row_address(p, distance);
  load(p, into, word, thread_add(p->l, address, thread_bits(p->l, block * p->piece_bytes)), VECTOR_BYTES);
}

const ir_expr *packed_factor_word(packed_operand *p, const char *name, int distance, int column) {
  lower *l = p->l;
  ir_type type = p->buffer->type;
  ir_value *raw = thread_array(l, name, ir_bits(type) < 32 ? IR_U32 : type, 1);
  const ir_expr *address = row_address(p, distance);
  load(p, raw, 0, thread_add(l, address, thread_bits(l, column * p->piece_bytes)), p->unit_bytes);
  const ir_expr *word = thread_word(l, raw, thread_int(l, 0));
  if (p->unit_rows < 2) return word;
  /* rows are 8 apart: the place in the byte is the thread's */
  const ir_expr *row =
      ir_binary(l->memory, IR_EXPR_MOD, thread_own_coord(l, p->layout, 0), thread_int(l, p->unit_rows));
  const ir_expr *bit = thread_role_let(l, "zero_bit", thread_mul(l, row, thread_int(l, ir_bits(type))));
  return ir_binary(l->memory, IR_EXPR_SHR, word, thread_u32(l, bit));
}

const ir_expr *packed_unpack(lower *l, ir_type type, const ir_expr *word, int element) {
  const ir_expr *args[2] = {word, thread_int(l, element)};
  return ir_typed(l->memory, IR_EXPR_UNPACK, type, ir_compute_type(type), 2, args);
}

const ir_expr *packed_unpack_f32(lower *l, ir_type type, const ir_expr *word) {
  if (ir_bits(type) == 32) return word;
  const ir_expr *value = packed_unpack(l, type, word, 0);
  return value->type == IR_F32 ? value : ir_cast(l->memory, IR_F32, value);
}

/* An e8m0 is an exponent: code 0 is the subnormal 2^-127, and 255, infinity in these bits, no number, which it becomes in
 * the same multiply-add as the product. */
const ir_expr *packed_unpack_times(lower *l, ir_type type, const ir_expr *word, int power) {
  arena *memory = l->memory;
  const ir_expr *times = ir_float(memory, ldexp(1, power));
  if (!power) return packed_unpack_f32(l, type, word);
  if (type != IR_E8M0) return ir_binary(memory, IR_EXPR_MUL, packed_unpack_f32(l, type, word), times);
  const ir_expr *bits = ir_binary(memory, IR_EXPR_SHL, packed_unpack(l, IR_U8, word, 0), thread_int(l, 23));
  bits = ir_binary(memory, IR_EXPR_MAX, bits, thread_bits(l, 1 << 22));
  const ir_expr *value = thread_let(l, "power", ir_typed(memory, IR_EXPR_BITCAST, IR_TYPE_NONE, IR_F32, 1, &bits));
  return ir_ternary(memory, IR_EXPR_FMA, value, ir_float(memory, ldexp(1, power) + 1),
                    ir_unary(memory, IR_EXPR_NEG, value));
}
