/* Sums of dots in registers: cleared, added, and those of a group beside the accumulators, which its scales multiply when
 * they are added. */
#include "passes/lower_dots.h"

#include <math.h>

ir_ref thread_word_ref(ir_value *registers, const ir_expr *word) {
  ir_ref ref = ir_ref_whole(registers);
  ref.count = 1;
  ref.start[0] = word;
  return ref;
}

ir_ref thread_buffer_ref(const ir_ref *operand) {
  ir_ref ref = ir_ref_whole(operand->value);
  ref.slot = operand->slot;
  return ref;
}

const ir_expr *thread_accumulates(lower *l, const ir_op *op) {
  if (op->expr_count) return op->expr[0];
  return ir_bool(l->memory, ir_attr_get(&op->attrs, IR_ATTR_ACCUMULATE, 1) != 0);
}

void thread_clear_sums(lower *l, ir_value *accumulator, int words, const ir_expr *keep) {
  int64_t known;
  if (ir_is_constant(keep, &known) && known) return;
  ir_block *guarded = thread_guard(l, ir_unary(l->memory, IR_EXPR_NOT, keep));
  const ir_expr *index;
  ir_block *saved = thread_loop(l, "r", thread_int(l, words), 1, &index);
  thread_set_word(l, accumulator, index, ir_cast(l->memory, accumulator->type, thread_int(l, 0)));
  thread_leave(l, saved);
  thread_leave(l, guarded);
}

void thread_add_sums(lower *l, ir_value *accumulator, int at, ir_value *sums, int words, int power, bool adds) {
  const ir_expr *index;
  ir_block *saved = thread_loop(l, "r", thread_int(l, words), 1, &index);
  const ir_expr *to = at ? thread_add(l, thread_int(l, at), index) : index, *sum = thread_word(l, sums, index);
  if (power < 0) sum = ir_binary(l->memory, IR_EXPR_SHR, sum, thread_int(l, -power));
  thread_set_word(l, accumulator, to, adds ? thread_add(l, thread_word(l, accumulator, to), sum) : sum);
  thread_leave(l, saved);
}

ir_value *thread_open_group(lower *l, ir_type type, int words) {
  ir_value *sums = thread_array(l, "group_sums", type, words);
  const ir_expr *index;
  ir_block *saved = thread_loop(l, "r", thread_int(l, words), 1, &index);
  thread_set_word(l, sums, index, ir_cast(l->memory, type, thread_int(l, 0)));
  thread_leave(l, saved);
  return sums;
}

void thread_close_group(lower *l, packed_operand *scale, int group, int power, ir_value *accumulator, ir_value *sums,
                        int m_blocks, int n_blocks) {
  int registers = scale->layout->reg_count / m_blocks;
  for (int mb = 0; mb < m_blocks; mb++)
    for (int half = 0; half < 2; half++) {
      int at[LAYOUT_MAX_RANK];
      tile_layout_coord(scale->layout, mb * registers, 0, 0, at);
      const ir_expr *word = packed_factor_word(scale, "scale", at[0] + half * 8, group);
      const ir_expr *factor = thread_let(l, "scale", packed_unpack_times(l, scale->buffer->type, word, power));
      for (int nb = 0; nb < n_blocks; nb++)
        for (int i = 0; i < 2; i++) {
          const ir_expr *index = thread_int(l, (mb * n_blocks + nb) * 4 + half * 2 + i);
          thread_set_word(l, accumulator, index,
                          ir_ternary(l->memory, IR_EXPR_FMA, thread_word(l, sums, index), factor,
                                     thread_word(l, accumulator, index)));
        }
    }
}

void thread_close_raised(lower *l, packed_operand *scale, int group, int bits, const ir_expr *raised_by,
                         ir_value *accumulator, ir_value *const *sums, int m_blocks) {
  arena *memory = l->memory;
  int registers = scale->layout->reg_count / m_blocks;
  for (int mb = 0; mb < m_blocks; mb++)
    for (int half = 0; half < 2; half++) {
      int at[LAYOUT_MAX_RANK];
      tile_layout_coord(scale->layout, mb * registers, 0, 0, at);
      const ir_expr *index = thread_int(l, mb * 4 + half * 2), *sum = thread_word(l, sums[0], index);
      const ir_expr *old = thread_word(l, accumulator, index);
      if (sums[1])
        sum =
            ir_ternary(memory, IR_EXPR_FMA, thread_word(l, sums[1], index), ir_float(memory, ldexp(1, -2 * bits)), sum);
      const ir_expr *unit = ir_float(memory, ldexp(1, RAISED_POWER - half * bits));
      sum =
          raised_by ? ir_ternary(memory, IR_EXPR_FMA, sum, unit, raised_by) : ir_binary(memory, IR_EXPR_MUL, sum, unit);
      if (!scale->buffer) {
        thread_set_word(l, accumulator, index, thread_add(l, old, sum));
        continue;
      }
      const ir_expr *word = packed_factor_word(scale, "scale", at[0] + half * 8, group);
      const ir_expr *factor = thread_let(l, "scale", packed_unpack_f32(l, scale->buffer->type, word));
      thread_set_word(l, accumulator, index, ir_ternary(memory, IR_EXPR_FMA, sum, factor, old));
    }
}
