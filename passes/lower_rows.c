#include "passes/lower_rows.h"

#include <math.h>

ir_type thread_combine_type(ir_type type) { return type == IR_PRED ? IR_U32 : ir_compute_type(type); }

const ir_expr *thread_combine(lower *l, ir_operation operation, const ir_expr *a, const ir_expr *b) {
  static const ir_expr_kind kinds[] = {
      [IR_SUM] = IR_EXPR_ADD, [IR_MAX] = IR_EXPR_MAX, [IR_MIN] = IR_EXPR_MIN, [IR_MUL] = IR_EXPR_MUL,
      [IR_AND] = IR_EXPR_AND, [IR_OR] = IR_EXPR_OR,   [IR_XOR] = IR_EXPR_XOR,
  };
  return ir_binary(l->memory, kinds[operation], a, b);
}

/* The smallest or largest value of a type. */
static const ir_expr *limit(lower *l, ir_type type, bool largest) {
  if (ir_is_float(type)) return ir_cast(l->memory, type, ir_float(l->memory, largest ? INFINITY : -INFINITY));
  int bits = ir_bits(type);
  if (ir_type_of(type)->class == IR_CLASS_UINT) return ir_typed_int(l->memory, type, largest ? -1 : 0);
  int64_t most = (int64_t)(((uint64_t)1 << (bits - 1)) - 1);
  return ir_typed_int(l->memory, type, largest ? most : -most - 1);
}

const ir_expr *thread_identity(lower *l, ir_operation operation, ir_type type) {
  switch (operation) {
  case IR_MAX:
    return limit(l, type, false);
  case IR_MIN:
    return limit(l, type, true);
  case IR_MUL:
    return ir_cast(l->memory, type, ir_typed_int(l->memory, type, 1));
  case IR_AND:
    return ir_typed_int(l->memory, type, -1);
  default:
    return ir_cast(l->memory, type, ir_typed_int(l->memory, type, 0));
  }
}

const ir_expr *thread_element_as(lower *l, ir_type type, ir_value *registers, const ir_expr *word, int sub) {
  const ir_expr *value = thread_read_element(l, registers, word, sub);
  return value->type == type ? value : ir_cast(l->memory, type, value);
}

static ir_ref word_ref(ir_value *registers, const ir_expr *word) {
  ir_ref ref = ir_ref_whole(registers);
  ref.count = 1;
  ref.start[0] = word;
  return ref;
}

void thread_load_word(lower *l, ir_value *into, const ir_expr *word, ir_value *buffer, const ir_expr *address) {
  ir_op *op = thread_op(l, IR_OP_LD_SHARED);
  ir_op_add_write(op, word_ref(into, word));
  ir_op_add_read(op, ir_ref_whole(buffer));
  ir_op_add_expr(l->memory, op, address);
  ir_op_add_expr(l->memory, op, ir_bool(l->memory, true));
  ir_attr_set(&op->attrs, IR_ATTR_WIDTH, ir_bits(buffer->type) / 8);
}

void thread_store_word(lower *l, ir_value *buffer, const ir_expr *address, ir_value *from, const ir_expr *word,
                       const ir_expr *predicate) {
  ir_op *op = thread_op(l, IR_OP_ST_SHARED);
  ir_op_add_write(op, ir_ref_whole(buffer));
  ir_op_add_read(op, word_ref(from, word));
  ir_op_add_expr(l->memory, op, address);
  ir_op_add_expr(l->memory, op, predicate ? predicate : ir_bool(l->memory, true));
  ir_attr_set(&op->attrs, IR_ATTR_WIDTH, ir_bits(buffer->type) / 8);
}

void thread_register_coords(lower *l, const tile_layout *layout, int reg, const ir_expr *coord[LAYOUT_MAX_RANK]) {
  int at[LAYOUT_MAX_RANK];
  tile_layout_coord(layout, reg, 0, 0, at);
  for (int d = 0; d < layout->rank; d++)
    coord[d] = thread_add(l, thread_own_coord(l, layout, d), thread_int(l, at[d]));
}

ir_value *thread_to_scratch(lower *l, const ir_value *tile) {
  const tile_layout *layout = tile->tile;
  ir_type type = thread_combine_type(tile->type);
  ir_value *registers = thread_registers(l, tile), *word = thread_array(l, "element", type, 1);
  ir_value *scratch = thread_scratch(l, "rows", type, layout->rank, layout->extent);
  int per_word = thread_per_word(tile->type);
  const ir_expr *canonical = thread_canonical(l, layout), *zero = thread_int(l, 0);
  thread_meet(l);
  for (int reg = 0; reg < layout->reg_count; reg++) {
    if (!tile_layout_is_canonical(layout, reg, 0, 0)) continue;
    const ir_expr *coord[LAYOUT_MAX_RANK];
    thread_register_coords(l, layout, reg, coord);
    const ir_expr *from = thread_int(l, reg / per_word);
    thread_set_word(l, word, zero, thread_element_as(l, type, registers, from, reg % per_word));
    thread_store_word(l, scratch, thread_shared_address(l, scratch, NULL, coord), word, zero, canonical);
  }
  thread_meet(l);
  return scratch;
}

void thread_from_values(lower *l, const ir_value *tile, ir_value *values, bool accumulate, ir_operation operation) {
  ir_value *registers = thread_registers(l, tile);
  int per_word = thread_per_word(tile->type), count = tile->tile->reg_count, words = (count + per_word - 1) / per_word;
  int last = count - (words - 1) * per_word; /* elements in the last word */
  const ir_expr *word = thread_int(l, 0);
  ir_block *saved = NULL;
  if (words > 1 && last == per_word) saved = thread_loop(l, "r", thread_int(l, words), 1, &word);
  for (int w = 0; w < (saved ? 1 : words); w++) {
    if (!saved) word = thread_int(l, w);
    const ir_expr *element[32];
    int here = !saved && w == words - 1 ? last : per_word;
    for (int sub = 0; sub < here; sub++) {
      const ir_expr *at = thread_add(l, thread_mul(l, word, thread_int(l, per_word)), thread_int(l, sub));
      element[sub] = thread_word(l, values, at);
      if (accumulate)
        element[sub] =
            thread_combine(l, operation, thread_element_as(l, values->type, registers, word, sub), element[sub]);
    }
    thread_set_word(l, registers, word, thread_pack(l, registers->type, element, here));
  }
  if (saved) thread_leave(l, saved);
}
