/* Shared by the lowering of dots: registers of fragments, and sums of groups beside their accumulators. */
#ifndef BITBLASC_PASSES_LOWER_DOTS_H
#define BITBLASC_PASSES_LOWER_DOTS_H

#include "passes/lower_packed.h"
#include "passes/tensor_core.h"

ir_ref thread_word_ref(ir_value *registers, const ir_expr *word);
ir_ref thread_buffer_ref(const ir_ref *operand);

/* Whether the first step adds to the accumulator: the op's predicate, else its accumulate attribute. */
const ir_expr *thread_accumulates(lower *l, const ir_op *op);
/* The sums become 0, unless they are to keep what they are. */
void thread_clear_sums(lower *l, ir_value *accumulator, int words, const ir_expr *keep);
/* accumulator[at ..] += 2^power * sums, or = that. */
void thread_add_sums(lower *l, ir_value *accumulator, int at, ir_value *sums, int words, int power, bool adds);
/* Sums of the group that is under way, before its scales or promotion: as many words as the accumulator has. */
ir_value *thread_open_group(lower *l, ir_type type, int words);
/* accumulator += 2^power * scale of the row and group * sums. A thread has rows g and g + 8 of each 16. */
void thread_close_group(lower *l, packed_operand *scale, int group, int power, ir_value *accumulator, ir_value *sums,
                        int m_blocks, int n_blocks);
/* accumulator += scale * (the sums, each half's and row's as much smaller as they are too large, + raised_by), in column
 * 0 and its like: a thread's odd columns are zeros. */
void thread_close_raised(lower *l, packed_operand *scale, int group, int bits, const ir_expr *raised_by,
                         ir_value *accumulator, ir_value *const *sums, int m_blocks);

/* An mma dot whose codes choose between products (lower_choice.c). */
void thread_choice(lower *l, const ir_op *op, const dot_shape *s);

#endif
