/* From tile to tile: elements converted word by word where both have the same layout, registers renamed or exchanged
 * through shared memory where they have not. */
#include "passes/lower.h"

enum { MAX_PER_WORD = 32 };

void thread_convert_words(lower *l, ir_value *to, const ir_expr *to_word, ir_value *from, const ir_expr *from_word,
                          int count, const ir_expr *predicate, const ir_expr *fill) {
  int to_per = thread_per_word(to->type), from_per = thread_per_word(from->type);
  for (int first = 0; first < count; first += to_per) {
    const ir_expr *values[MAX_PER_WORD];
    int n = count - first < to_per ? count - first : to_per;
    for (int i = 0; i < n; i++) {
      int element = first + i;
      values[i] =
          thread_read_element(l, from, thread_add(l, from_word, thread_int(l, element / from_per)), element % from_per);
      if (fill)
        values[i] =
            ir_ternary(l->memory, IR_EXPR_SELECT, predicate, values[i], ir_cast(l->memory, values[i]->type, fill));
    }
    thread_set_word(l, to, thread_add(l, to_word, thread_int(l, first / to_per)), thread_pack(l, to->type, values, n));
  }
}

/* A word of another tile for tile `to`. Where a dot in flight may still read `to`, it is moved here and now: the
 * backend would have it where it was computed, which is in front of the wait, and then runs no two dots at once. */
static const ir_expr *taken_over(lower *l, const ir_value *to, const ir_expr *word) {
  bool moves = l->is_operand[to->number] && word->kind == IR_EXPR_ELEMENT && word->type == IR_U32;
  return moves ? ir_unary(l->memory, IR_EXPR_MOVE, word) : word;
}

void thread_tile_to_tile(lower *l, const ir_op *op) {
  ir_value *to = op->write[0].value, *from = op->read[0].value;
  ir_value *target = thread_registers(l, to), *source = thread_registers(l, from);
  int to_per = thread_per_word(to->type), from_per = thread_per_word(from->type),
      unit = to_per > from_per ? to_per : from_per;
  while (unit > 1 && to->tile->reg_count % unit)
    unit /= 2;
  const ir_expr *group;
  ir_block *saved = thread_loop(l, "r", thread_int(l, to->tile->reg_count / unit), 1, &group);
  if (unit < to_per || unit < from_per) { /* fewer elements than a word: there is one group */
    thread_convert_words(l, target, thread_int(l, 0), source, thread_int(l, 0), to->tile->reg_count, NULL, NULL);
  } else if (to->type == from->type) {
    thread_set_word(l, target, group, taken_over(l, to, thread_word(l, source, group)));
  } else {
    thread_convert_words(l, target, thread_mul(l, group, thread_int(l, unit / to_per)), source,
                         thread_mul(l, group, thread_int(l, unit / from_per)), unit, NULL, NULL);
  }
  thread_leave(l, saved);
}

void thread_convert(lower *l, ir_value *to, ir_value *from) {
  uint16_t *registers = ARENA_ARRAY(l->env->scratch, uint16_t, to->tile->reg_count);
  tile_conversion kind = tile_layout_convert(from->tile, to->tile, registers);
  if (kind == TILE_CONVERT_NONE || kind == TILE_CONVERT_REGISTERS) {
    int per_word = thread_per_word(to->type);
    for (int first = 0; first < to->tile->reg_count; first += per_word) {
      const ir_expr *values[MAX_PER_WORD];
      int n = to->tile->reg_count - first < per_word ? to->tile->reg_count - first : per_word;
      for (int i = 0; i < n; i++)
        values[i] = thread_read_element(l, thread_registers(l, from), thread_int(l, registers[first + i] / per_word),
                                        registers[first + i] % per_word);
      const ir_expr *word = to->type == IR_PRED ? values[0] : thread_pack(l, to->type, values, n);
      thread_set_word(l, thread_registers(l, to), thread_int(l, first / per_word), taken_over(l, to, word));
    }
    return;
  }
  int extent[IR_MAX_RANK];
  for (int d = 0; d < to->rank; d++)
    extent[d] = (int)ir_extent(to, d);
  ir_value *scratch = thread_scratch(l, to->name, to->type == IR_PRED ? IR_U32 : to->type, to->rank, extent);
  ir_op *put = ir_op_create(l->memory, IR_OP_COPY, l->loc), *get = ir_op_create(l->memory, IR_OP_COPY, l->loc);
  ir_op_add_write(put, ir_ref_whole(scratch));
  ir_op_add_read(put, ir_ref_whole(from));
  ir_op_add_write(get, ir_ref_whole(to));
  ir_op_add_read(get, ir_ref_whole(scratch));
  thread_meet(l); /* whoever read the scratch of an earlier iteration is done */
  thread_transfer(l, put);
  thread_meet(l);
  thread_transfer(l, get);
}
