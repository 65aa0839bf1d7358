/* One group of a copy's accesses: registers of a tile loaded or stored, as whole words or as parts of one, or memory to
 * memory through a register; with the conversion and the fill that come with it. */
#include "passes/lower_transfer.h"

static const ir_expr *fill_value(transfer *t) {
  if (!t->op->expr_count) return NULL;
  return ir_is_zero(t->op->expr[0]) ? NULL : t->op->expr[0];
}

static void add_registers(ir_op *op, bool written, ir_value *registers, const ir_expr *word) {
  ir_ref ref = ir_ref_whole(registers);
  ref.count = 1;
  ref.start[0] = word;
  if (written)
    ir_op_add_write(op, ref);
  else
    ir_op_add_read(op, ref);
}

/* `bytes` bytes of `ref` at the coordinates are loaded to registers[word ..], or stored from there. */
static void move(transfer *t, bool loads, const ir_ref *ref, const ir_expr *const *at, const ir_expr *predicate,
                 ir_value *registers, const ir_expr *word, int bytes) {
  lower *l = t->l;
  bool shared = ref->value->space == IR_SHARED;
  const ir_expr *address =
      shared ? thread_shared_address(l, ref->value, ref->slot, at) : thread_global_offset(l, ref->value, at);
  ir_op *op =
      thread_op(l, loads ? (shared ? IR_OP_LD_SHARED : IR_OP_LD_GLOBAL) : (shared ? IR_OP_ST_SHARED : IR_OP_ST_GLOBAL));
  ir_ref memory = ir_ref_whole(ref->value);
  memory.slot = ref->slot;
  if (loads)
    ir_op_add_read(op, memory);
  else
    ir_op_add_write(op, memory);
  add_registers(op, loads, registers, word);
  ir_op_add_expr(l->memory, op, address);
  ir_op_add_expr(l->memory, op, predicate);
  ir_attr_set(&op->attrs, IR_ATTR_WIDTH, bytes);
}

static int words_of(ir_type type, int elements) {
  int bits = ir_bits(type);
  return bits > 32 ? elements : (elements * bits + 31) / 32;
}

/* Word index of element 0 of the group, for registers of `type`. */
static const ir_expr *group_word(transfer *t, ir_type type) {
  int bits = ir_bits(type), unit = t->vector * t->accesses, words = bits > 32 ? unit : unit * bits / 32;
  return words ? thread_mul(t->l, t->group, thread_int(t->l, words)) : NULL;
}

/* What an access loaded, in its place of a word. */
static const ir_expr *part_of(lower *l, ir_value *raw, int access, int bits) {
  return ir_binary(l->memory, IR_EXPR_SHL, thread_word(l, raw, thread_int(l, access)), thread_int(l, access * bits));
}

/* memory -> a word of a tile, by accesses that each fill a part of it */
static void load_word(transfer *t, const ir_ref *from, ir_value *tile) {
  lower *l = t->l;
  ir_type source = from->value->type;
  const ir_expr *fill = fill_value(t), *values[TRANSFER_MAX_ELEMENTS], *whole = NULL;
  int bits = t->vector * ir_bits(source);
  bool is_raw = source == tile->type && !fill;
  ir_value *raw = thread_array(l, from->value->name, source, t->accesses * thread_per_word(source));
  for (int k = 0; k < t->accesses; k++) {
    const ir_expr *coord[IR_MAX_RANK], *at[IR_MAX_RANK];
    transfer_coords(t, k, coord);
    transfer_place(t, from, coord, at);
    const ir_expr *predicate = transfer_guard(t, from, at);
    if (fill) predicate = thread_let(l, "inside", predicate);
    move(t, true, from, at, predicate, raw, thread_int(l, k), bits / 8);
    if (is_raw) {
      const ir_expr *part = part_of(l, raw, k, bits);
      whole = whole ? ir_binary(l->memory, IR_EXPR_OR, whole, part) : part;
    }
    for (int i = 0; i < t->vector && !is_raw; i++) {
      const ir_expr *value = thread_read_element(l, raw, thread_int(l, k), i);
      if (fill) value = ir_ternary(l->memory, IR_EXPR_SELECT, predicate, value, ir_cast(l->memory, value->type, fill));
      values[k * t->vector + i] = value;
    }
  }
  if (!is_raw) whole = thread_pack(l, tile->type, values, t->accesses * t->vector);
  thread_set_word(l, thread_registers(l, tile), group_word(t, tile->type), whole);
}

/* memory -> tile */
static void load_group(transfer *t, const ir_ref *from, ir_value *tile) {
  lower *l = t->l;
  const ir_expr *coord[IR_MAX_RANK], *at[IR_MAX_RANK];
  transfer_coords(t, 0, coord);
  transfer_place(t, from, coord, at);
  ir_type source = from->value->type;
  ir_value *registers = thread_registers(l, tile);
  int bytes = t->vector * ir_bits(source) / 8;
  const ir_expr *predicate = transfer_guard(t, from, at), *fill = fill_value(t);
  const ir_expr *word = group_word(t, tile->type);
  if (source == tile->type && !fill && word && bytes >= 4) {
    move(t, true, from, at, predicate, registers, word, bytes);
    return;
  }
  ir_value *raw = thread_array(l, from->value->name, source, words_of(source, t->vector) * thread_per_word(source));
  predicate = thread_let(l, "inside", predicate);
  move(t, true, from, at, predicate, raw, thread_int(l, 0), bytes);
  if (word && source == tile->type && bytes >= 4 && ir_bits(source) < 32) { /* whole words, one way or the other */
    const ir_expr *fills[TRANSFER_MAX_ELEMENTS];
    int per_word = thread_per_word(source);
    for (int i = 0; i < per_word; i++)
      fills[i] = ir_cast(l->memory, ir_compute_type(source), fill);
    const ir_expr *filled = thread_pack(l, source, fills, per_word);
    for (int i = 0; i < words_of(source, t->vector); i++) {
      const ir_expr *loaded = thread_word(l, raw, thread_int(l, i));
      thread_set_word(l, registers, thread_add(l, word, thread_int(l, i)),
                      ir_ternary(l->memory, IR_EXPR_SELECT, predicate, loaded, filled));
    }
    return;
  }
  if (word) {
    thread_convert_words(l, registers, word, raw, thread_int(l, 0), t->vector, predicate, fill);
    return;
  }
  /* Narrower than a word: change some elements of it. */
  int per_word = thread_per_word(tile->type), per_group = t->vector;
  const ir_expr *index = ir_binary(l->memory, IR_EXPR_DIV, t->group, thread_int(l, per_word / per_group));
  int64_t group = 0;
  if (!ir_is_constant(t->group, &group)) BUG("a group narrower than a word needs a constant position");
  const ir_expr *values[TRANSFER_MAX_ELEMENTS];
  for (int i = 0; i < per_word; i++) {
    int element = (int)(group * per_group) % per_word;
    if (i >= element && i < element + per_group) {
      values[i] = thread_read_element(l, raw, thread_int(l, (i - element) / thread_per_word(source)),
                                      (i - element) % thread_per_word(source));
      if (fill)
        values[i] =
            ir_ternary(l->memory, IR_EXPR_SELECT, predicate, values[i], ir_cast(l->memory, values[i]->type, fill));
    } else if (i < element) {
      values[i] = thread_read_element(l, registers, index, i);
    } else {
      values[i] = ir_cast(l->memory, ir_compute_type(tile->type), thread_int(l, 0));
    }
  }
  thread_set_word(l, registers, index, thread_pack(l, tile->type, values, per_word));
}

/* tile -> memory */
static void store_group(transfer *t, const ir_ref *to, ir_value *tile, int access) {
  lower *l = t->l;
  const ir_expr *coord[IR_MAX_RANK], *at[IR_MAX_RANK];
  transfer_coords(t, access, coord);
  transfer_place(t, to, coord, at);
  ir_type target = to->value->type;
  ir_value *registers = thread_registers(l, tile);
  int bytes = t->vector * ir_bits(target) / 8;
  const ir_expr *predicate = transfer_guard(t, to, at), *owner = thread_canonical(l, &t->layout);
  if (owner) predicate = ir_binary(l->memory, IR_EXPR_AND, owner, predicate);
  predicate = ir_binary(l->memory, IR_EXPR_AND, transfer_in_part(t, coord), predicate);
  const ir_expr *word = group_word(t, tile->type);
  if (ir_attr_get(&t->op->attrs, IR_ATTR_REDUCE, 0)) {
    for (int i = 0; i < t->vector; i++) {
      ir_op *op = thread_op(l, IR_OP_RED_GLOBAL);
      ir_op_add_write(op, ir_ref_whole(to->value));
      add_registers(op, false, registers,
                    thread_add(l, thread_mul(l, t->group, thread_int(l, t->vector)), thread_int(l, i)));
      const ir_expr *each[IR_MAX_RANK];
      for (int d = 0; d < to->value->rank; d++)
        each[d] = d == to->value->rank - 1 ? thread_add(l, at[d], thread_int(l, i)) : at[d];
      ir_op_add_expr(l->memory, op, thread_global_offset(l, to->value, each));
      ir_op_add_expr(l->memory, op, predicate);
      ir_attr_set(&op->attrs, IR_ATTR_OPERATION, IR_SUM);
    }
    return;
  }
  if (target == tile->type && word && bytes >= 4) {
    move(t, false, to, at, predicate, registers, word, bytes);
    return;
  }
  ir_value *raw = thread_array(l, to->value->name, target, words_of(target, t->vector) * thread_per_word(target));
  if (t->accesses > 1) {
    const ir_expr *values[TRANSFER_MAX_ELEMENTS];
    for (int i = 0; i < t->vector; i++)
      values[i] = thread_read_element(l, registers, word, access * t->vector + i);
    const ir_expr *part = ir_binary(l->memory, IR_EXPR_SHR, thread_word(l, registers, word),
                                    thread_int(l, access * t->vector * ir_bits(target)));
    thread_set_word(l, raw, thread_int(l, 0), target == tile->type ? part : thread_pack(l, target, values, t->vector));
  } else if (word) {
    thread_convert_words(l, raw, thread_int(l, 0), registers, word, t->vector, NULL, NULL);
  } else {
    int64_t group = 0;
    if (!ir_is_constant(t->group, &group)) BUG("a group narrower than a word needs a constant position");
    int per_word = thread_per_word(tile->type), first = (int)(group * t->vector);
    const ir_expr *values[TRANSFER_MAX_ELEMENTS];
    for (int i = 0; i < t->vector; i++)
      values[i] = thread_read_element(l, registers, thread_int(l, (first + i) / per_word), (first + i) % per_word);
    int target_per = thread_per_word(target);
    for (int i = 0; i < t->vector; i += target_per)
      thread_set_word(l, raw, thread_int(l, i / target_per),
                      thread_pack(l, target, values + i, t->vector - i < target_per ? t->vector - i : target_per));
  }
  move(t, false, to, at, predicate, raw, thread_int(l, 0), bytes);
}

/* memory -> memory through a register */
static void through_group(transfer *t, const ir_ref *from, const ir_ref *to) {
  lower *l = t->l;
  const ir_expr *coord[IR_MAX_RANK], *source[IR_MAX_RANK], *target[IR_MAX_RANK];
  transfer_coords(t, 0, coord);
  transfer_place(t, from, coord, source);
  transfer_place(t, to, coord, target);
  ir_type in = from->value->type, out = to->value->type;
  ir_value *raw = thread_array(l, from->value->name, in, words_of(in, t->vector) * thread_per_word(in));
  const ir_expr *fill = fill_value(t), *predicate = transfer_guard(t, from, source);
  if (fill) predicate = thread_let(l, "inside", predicate);
  move(t, true, from, source, predicate, raw, thread_int(l, 0), t->vector * ir_bits(in) / 8);
  ir_value *converted = raw;
  if (in != out || fill) {
    converted = thread_array(l, to->value->name, out, words_of(out, t->vector) * thread_per_word(out));
    thread_convert_words(l, converted, thread_int(l, 0), raw, thread_int(l, 0), t->vector, predicate, fill);
  }
  const ir_expr *when = transfer_guard(t, to, target), *owner = thread_canonical(l, &t->layout);
  if (owner) when = ir_binary(l->memory, IR_EXPR_AND, owner, when);
  move(t, false, to, target, when, converted, thread_int(l, 0), t->vector * ir_bits(out) / 8);
}

void transfer_group(transfer *t) {
  const ir_ref *to = &t->op->write[0], *from = &t->op->read[0];
  if (to->value->space == IR_TILE && t->accesses > 1)
    load_word(t, from, to->value);
  else if (to->value->space == IR_TILE)
    load_group(t, from, to->value);
  else if (from->value->space == IR_TILE)
    for (int k = 0; k < t->accesses; k++)
      store_group(t, to, from->value, k);
  else if (ir_attr_get(&t->op->attrs, IR_ATTR_ENGINE, 0) == IR_ENGINE_CPASYNC)
    transfer_async(t, from, to);
  else
    through_group(t, from, to);
}
