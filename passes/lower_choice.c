/* Dots whose codes choose between products (choose-products): sparse mma on ones, with codes as metadata.
 *
 *   %pairs[0] <- mul2.f16(both_halves(%b[0], 0), 1006681088u)           (-a, a) of an element of a column
 *   %metadata[0] <- lop3(prmt(%Wd[0], %Wd[0] >> 1, 0x5410), 0x55555555u, 0x88888888u, 234u)
 *   %sums[0] <- mma %ones[0], %pairs[0], %metadata[0] {m = 16, n = 8, k = 32, selector = 0}
 *
 * With g = lane / 4, t = lane % 4, a word of packed codes has 64 k of rows g and g + 8 (lower_decode.c): of k = 16 s + 8 e
 * + 2 t + h, s = 0 .. 3, the bit 4 s + 2 e + 16 h for row g, and the one above it for row g + 8. Metadata wants of the
 * sparse k 16 (t % 2) + 4 i + 2 j and the one behind it which of them row g takes, at bits 4 i + 2 j and (as all of them are
 * in the upper or the lower half of four) the one above; and for row g + 8 the same 16 bits further up. So for each h the
 * codes of rows g + 8 go to the upper half, and lie where they should with i = s, j = e: 5 instructions, for two words of
 * metadata, each for two mma, which take it from lanes t = 0, 1 or 2, 3.
 *
 * That is the order in which k are summed: register r of B of mma (h, selector) holds, in lane (g, t), the pair of
 * k = 32 (r % 2) + 8 t + 4 selector + 2 (r / 2) + h. So a lane reads columns g from 8 t on, 8 elements at once, twice. */
#include "ir/numeric.h"
#include "passes/choose_products.h"
#include "passes/lower_dots.h"
#include "passes/region.h"

enum {
  BLOCK_WORDS = 8, /* what a lane reads of a column block for a word of codes: two vectors */
  VECTOR_WORDS = 4,
  VECTOR_ELEMENTS = 8,
  PAIRS = 16, /* of a column block */
  FRAGMENT_WORDS = 4,
  RING = 2 /* depths: one is loaded under the one before */
};

typedef struct choice_plan {
  const dot_shape *s;
  int m_blocks, n_blocks, depths; /* depths: of CHOICE_DEPTH that the warp has of k */
  const ir_expr *row, *k;         /* where the lane's vectors begin */
  ir_value *ones, *codes, *metadata, *columns, *pairs;
} choice_plan;

static const ir_expr *pair_of(lower *l, ir_type type, int low, int high) {
  return thread_bits(l, (uint32_t)ir_encode(type, high) << 16 | (uint32_t)ir_encode(type, low));
}

static const ir_expr *permute(lower *l, const ir_expr *a, const ir_expr *b, uint32_t selector) {
  return ir_ternary(l->memory, IR_EXPR_PRMT, a, b, thread_bits(l, selector));
}

/* All of A, for the whole role. */
static ir_value *make_ones(lower *l, ir_type type) {
  ir_block *saved = thread_enter(l, l->prologue);
  ir_value *ones = thread_array(l, "ones", type, FRAGMENT_WORDS * 2);
  for (int i = 0; i < FRAGMENT_WORDS; i++)
    thread_set_word(l, ones, thread_int(l, i), pair_of(l, type, 1, 1));
  thread_leave(l, saved);
  return ones;
}

static choice_plan plan_choice(lower *l, const ir_op *op, const dot_shape *s) {
  int warps_m = (int)ir_attr_get(&op->attrs, IR_ATTR_WARPS_M, l->warp_count),
      warps_n = (int)ir_attr_get(&op->attrs, IR_ATTR_WARPS_N, 1), own_k = s->k / s->parts;
  ir_type type = s->columns->value->type;
  choice_plan p = {.s = s, .codes = thread_registers(l, s->rows->value)};
  p.m_blocks = s->m / 16 / warps_m;
  p.n_blocks = s->n < MMA_COLUMNS ? 1 : s->n / MMA_COLUMNS / warps_n;
  p.depths = own_k / CHOICE_DEPTH;
  const ir_expr *warp_n = thread_digit(l, l->warp, warps_m, warps_n, s->parts);
  const ir_expr *first_k =
      thread_mul(l, thread_digit(l, l->warp, warps_m * warps_n, s->parts, 1), thread_int(l, own_k));
  const ir_expr *g = ir_binary(l->memory, IR_EXPR_SHR, l->lane, thread_int(l, 2));
  if (s->n < MMA_COLUMNS) g = ir_binary(l->memory, IR_EXPR_AND, g, thread_int(l, s->n - 1)); /* copies */
  const ir_expr *t = ir_binary(l->memory, IR_EXPR_AND, l->lane, thread_int(l, 3));
  p.row = thread_role_let(l, "b_row", thread_add(l, g, thread_mul(l, warp_n, thread_int(l, p.n_blocks * 8))));
  p.k = thread_role_let(l, "b_k", thread_add(l, thread_mul(l, t, thread_int(l, VECTOR_ELEMENTS)), first_k));
  p.ones = make_ones(l, type);
  p.columns = thread_array(l, "b", type, RING * BLOCK_WORDS * p.n_blocks * 2);
  p.pairs = thread_array(l, "pairs", type, PAIRS * p.n_blocks * 2);
  p.metadata = thread_array(l, "metadata", IR_U32, p.m_blocks * 2);
  return p;
}

/* The first word of what is loaded of a column block. */
static int block_word(const choice_plan *p, int depth, int nb) {
  return (depth % RING * p->n_blocks + nb) * BLOCK_WORDS;
}

static void load_vector(lower *l, const choice_plan *p, int depth, int nb, int vector) {
  const ir_ref *columns = p->s->columns;
  const ir_expr *coord[2] = {p->row, p->k}, *at[IR_MAX_RANK];
  const int ahead[2] = {nb * 8, depth * CHOICE_DEPTH + vector * 4 * VECTOR_ELEMENTS}; /* the other lanes' in between */
  int more[IR_MAX_RANK] = {0};
  region_place(l->memory, columns, coord, at);
  for (int d = 0, next = 0; d < columns->value->rank; d++)
    if (!columns->count || columns->span[d]) more[d] = ahead[next++];
  const ir_expr *address = thread_shared_address_near(l, columns->value, columns->slot, at, more);
  ir_op *load = thread_op(l, IR_OP_LD_SHARED);
  int word = block_word(p, depth, nb) + vector * VECTOR_WORDS;
  ir_op_add_write(load, thread_word_ref(p->columns, thread_int(l, word)));
  ir_op_add_read(load, thread_buffer_ref(columns));
  ir_op_add_expr(l->memory, load, address);
  ir_op_add_expr(l->memory, load, ir_bool(l->memory, true));
  ir_attr_set(&load->attrs, IR_ATTR_WIDTH, VECTOR_WORDS * 4);
}

static void load_columns(lower *l, const choice_plan *p, int depth) {
  for (int i = 0; i < p->n_blocks * BLOCK_WORDS / VECTOR_WORDS && depth < p->depths; i++)
    load_vector(l, p, depth, i / 2, i % 2);
}

/* Word 2 mb + h is of row block mb and the k of that h. */
static void make_metadata(lower *l, const choice_plan *p, int depth) {
  for (int mb = 0; mb < p->m_blocks; mb++) {
    const ir_expr *word = thread_word(l, p->codes, thread_int(l, mb * p->depths + depth));
    const ir_expr *upper = thread_let(l, "upper", ir_binary(l->memory, IR_EXPR_SHR, word, thread_int(l, 1)));
    for (int h = 0; h < 2; h++) {
      const ir_expr *args[4] = {permute(l, word, upper, h ? 0x7632 : 0x5410), thread_bits(l, 0x55555555),
                                thread_bits(l, 0x88888888), thread_bits(l, LUT_AND_OR)};
      thread_set_word(l, p->metadata, thread_int(l, mb * 2 + h),
                      ir_typed(l->memory, IR_EXPR_LOP3, IR_TYPE_NONE, IR_U32, 4, args));
    }
  }
}

/* Four words for each mma of a column block, those of its h and selector. */
static void make_pairs(lower *l, const choice_plan *p, int depth) {
  ir_type type = p->columns->type;
  for (int i = 0; i < PAIRS * p->n_blocks; i++) {
    int nb = i / PAIRS, h = i / 8 % 2, selector = i / 4 % 2, r = i % 4;
    int from = block_word(p, depth, nb) + r % 2 * VECTOR_WORDS + 2 * selector + r / 2;
    const ir_expr *element =
        ir_binary(l->memory, IR_EXPR_BOTH_HALVES, thread_word(l, p->columns, thread_int(l, from)), thread_int(l, h));
    const ir_expr *args[2] = {element, pair_of(l, type, p->s->low, p->s->high)};
    thread_set_word(l, p->pairs, thread_int(l, i), ir_typed(l->memory, IR_EXPR_MUL2, type, IR_U32, 2, args));
  }
}

/* All sums in turn: the next product of one waits for its last. */
static void multiply(lower *l, const choice_plan *p, ir_value *sums) {
  for (int i = 0; i < PAIRS; i += FRAGMENT_WORDS)
    for (int block = 0; block < p->m_blocks * p->n_blocks; block++) {
      int mb = block % p->m_blocks, nb = block / p->m_blocks;
      ir_op *mma = thread_op(l, IR_OP_MMA);
      ir_op_add_write(mma, thread_word_ref(sums, thread_int(l, (mb * p->n_blocks + nb) * 4)));
      ir_op_add_read(mma, thread_word_ref(p->ones, thread_int(l, 0)));
      ir_op_add_read(mma, thread_word_ref(p->pairs, thread_int(l, nb * PAIRS + i)));
      ir_op_add_read(mma, thread_word_ref(p->metadata, thread_int(l, mb * 2 + i / 8)));
      ir_attr_set(&mma->attrs, IR_ATTR_M, 16);
      ir_attr_set(&mma->attrs, IR_ATTR_N, 8);
      ir_attr_set(&mma->attrs, IR_ATTR_K, CHOICE_MMA_DEPTH);
      ir_attr_set(&mma->attrs, IR_ATTR_SELECTOR, i / 4 % 2);
    }
}

void thread_choice(lower *l, const ir_op *op, const dot_shape *s) {
  ir_value *accumulator = thread_registers(l, s->accumulator);
  choice_plan p = plan_choice(l, op, s);
  int words = p.m_blocks * p.n_blocks * 4, own_k = p.depths * CHOICE_DEPTH;
  thread_clear_sums(l, accumulator, words, thread_accumulates(l, op));
  packed_operand scale = packed_operand_of(l, s->rows->value->tile, s->scale, s->group);
  int group = scale.buffer && s->group < own_k ? s->group : own_k; /* what the warp has of one */
  ir_value *sums = accumulator;
  load_columns(l, &p, 0);
  for (int depth = 0; depth < p.depths; depth++) {
    int past = (depth + 1) * CHOICE_DEPTH;
    if (scale.buffer && depth * CHOICE_DEPTH % group == 0) sums = thread_open_group(l, accumulator->type, words);
    make_metadata(l, &p, depth);
    load_columns(l, &p, depth + 1);
    make_pairs(l, &p, depth);
    multiply(l, &p, sums);
    if (scale.buffer && (past % group == 0 || past == own_k))
      thread_close_group(l, &scale, depth * CHOICE_DEPTH / group, s->power, accumulator, sums, p.m_blocks, p.n_blocks);
  }
}
