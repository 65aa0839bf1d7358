/* Dots: wgmma on matrix descriptors, mma.sync on fragments from ldmatrix, and multiply-adds where no tensor core
 * fits. */
#include "passes/lower_dots.h"
#include "passes/region.h"

static bool is_known_false(const ir_expr *e) {
  int64_t known;
  return ir_is_constant(e, &known) && !known;
}

/* -- wgmma --------------------------------------------------------------------------------------------------------- */

static bool operand_facts(lower *l, const ir_op *op, const ir_ref *operand, bool k_major, wgmma_operand *facts) {
  if (shared_layout_wgmma(operand->value->shared, k_major ? 1 : 0, facts)) return true;
  diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc,
             "no matrix descriptor describes %s: its rows are shorter than 32 bytes", operand->value->name);
  l->failed = true;
  return false;
}

static const ir_expr *descriptor(lower *l, const ir_ref *operand, int byte_offset, const ir_expr *more) {
  const ir_expr *base =
      ir_binary(l->memory, IR_EXPR_SHR, ir_address(l->memory, operand->value, operand->slot), thread_int(l, 4));
  if (more) base = thread_add(l, base, more);
  return thread_add(l, base, ir_typed_int(l->memory, IR_U32, byte_offset >> 4));
}

/* What all wgmma of a dot have in common. */
typedef struct wgmma_plan {
  const dot_shape *s;
  wgmma_operand a, b;
  const ir_expr *own_rows; /* of the warpgroup, in A's descriptor; NULL: none */
  int n, depth, steps;     /* of one instruction, and how many along k */
  int m_blocks, n_blocks, words;
  bool from_registers;
} wgmma_plan;

static bool plan_wgmma(lower *l, const ir_op *op, const dot_shape *s, wgmma_plan *p) {
  int groups = l->warp_count / 4;
  *p = (wgmma_plan){.s = s, .n = dot_columns(op), .depth = tensor_core_depth(s->rows->value->type)};
  p->steps = s->k / p->depth;
  p->m_blocks = s->m / 64 / groups;
  p->n_blocks = s->n / p->n;
  p->words = p->n / (64 / ir_bits(s->accumulator->type)); /* n / 2 of 32 bits, n / 4 of 16 */
  p->from_registers = s->rows->value->space == IR_TILE;
  if (!operand_facts(l, op, s->columns, s->columns_k_major, &p->b) ||
      (!p->from_registers && !operand_facts(l, op, s->rows, s->rows_k_major, &p->a)))
    return false;
  const ir_expr *group =
      groups > 1 ? thread_role_let(l, "warpgroup", ir_binary(l->memory, IR_EXPR_SHR, l->warp, thread_int(l, 2))) : NULL;
  if (group && !p->from_registers)
    p->own_rows = thread_role_let(
        l, "own_rows",
        thread_u32(l, thread_mul(l, group, thread_int(l, wgmma_operand_offset(&p->a, 0, p->m_blocks) >> 4))));
  return true;
}

/* One instruction: step `step` along k of a block of rows and one of columns; `keep` says whether the old sums count. */
static void emit_wgmma(lower *l, const wgmma_plan *p, ir_ref sums, int step, int mb, int nb, const ir_expr *keep) {
  const dot_shape *s = p->s;
  ir_op *wgmma = thread_op(l, IR_OP_WGMMA);
  ir_op_add_write(wgmma, sums);
  ir_op_add_read(wgmma, p->from_registers ? thread_word_ref(thread_registers(l, s->rows->value),
                                                            thread_int(l, (mb * p->steps + step) * 4))
                                          : ir_ref_none());
  ir_op_add_read(wgmma, p->from_registers ? ir_ref_none() : thread_buffer_ref(s->rows));
  ir_op_add_read(wgmma, thread_buffer_ref(s->columns));
  ir_op_add_expr(l->memory, wgmma,
                 p->from_registers ? ir_typed_int(l->memory, IR_U32, 0)
                                   : descriptor(l, s->rows, wgmma_operand_offset(&p->a, step, mb), p->own_rows));
  int column_offset = p->n % 64 == 0 ? wgmma_operand_offset(&p->b, step, nb * (p->n / 64))
                                     : wgmma_operand_offset(&p->b, step, 0) + nb * p->n * (p->b.block_bytes / 64);
  ir_op_add_expr(l->memory, wgmma, descriptor(l, s->columns, column_offset, NULL));
  ir_op_add_expr(l->memory, wgmma, keep);
  ir_attr_set(&wgmma->attrs, IR_ATTR_N, p->n);
  ir_attr_set(&wgmma->attrs, IR_ATTR_K, p->depth);
  if (!p->from_registers && p->a.mn_major) ir_attr_set(&wgmma->attrs, IR_ATTR_TRANSPOSE_A, 1);
  if (p->b.mn_major) ir_attr_set(&wgmma->attrs, IR_ATTR_TRANSPOSE_B, 1);
}

static void commit_and_wait(lower *l) {
  thread_op(l, IR_OP_WGMMA_COMMIT);
  ir_attr_set(&thread_op(l, IR_OP_WGMMA_WAIT)->attrs, IR_ATTR_PENDING, 0);
}

/* Sums of `interval` k go to registers of their own, a block of the tile at a time, and are added to the accumulator there.
 * Other warpgroups keep the tensor cores busy meanwhile. */
static void promote_wgmma(lower *l, const ir_op *op, const wgmma_plan *p, int interval) {
  ir_value *accumulator = thread_registers(l, p->s->accumulator);
  ir_value *sums = thread_array(l, "part_sums", accumulator->type, p->words);
  const ir_expr *keep = thread_accumulates(l, op);
  bool begins = is_known_false(keep); /* what comes first is not added to anything */
  int blocks = p->m_blocks * p->n_blocks, turn = interval / p->depth;
  if (!begins) thread_clear_sums(l, accumulator, blocks * p->words, keep);
  for (int first = 0; first < p->steps; first += turn)
    for (int block = 0; block < blocks; block++) {
      thread_op(l, IR_OP_WGMMA_FENCE);
      for (int step = first; step < first + turn && step < p->steps; step++)
        emit_wgmma(l, p, thread_word_ref(sums, thread_int(l, 0)), step, block / p->n_blocks, block % p->n_blocks,
                   ir_bool(l->memory, step > first));
      commit_and_wait(l);
      thread_add_sums(l, accumulator, block * p->words, sums, p->words, 0, !(begins && first == 0));
    }
  l->fenced = false;
}

static void thread_wgmma(lower *l, const ir_op *op, const dot_shape *s) {
  wgmma_plan p;
  if (!plan_wgmma(l, op, s, &p)) return;
  if (dot_promotes(op)) {
    promote_wgmma(l, op, &p, dot_promotes(op));
    return;
  }
  ir_value *accumulator = thread_registers(l, s->accumulator);
  if (!l->fenced) thread_op(l, IR_OP_WGMMA_FENCE);
  l->fenced = true;
  for (int step = 0; step < p.steps; step++)
    for (int mb = 0; mb < p.m_blocks; mb++)
      for (int nb = 0; nb < p.n_blocks; nb++)
        emit_wgmma(l, &p, thread_word_ref(accumulator, thread_int(l, (mb * p.n_blocks + nb) * p.words)), step, mb, nb,
                   step == 0 ? thread_accumulates(l, op) : ir_bool(l->memory, true));
  if (!ir_attr_has(&op->attrs, IR_ATTR_ASYNC)) commit_and_wait(l);
}

/* -- mma ----------------------------------------------------------------------------------------------------------- */

/* Matrices of one operand: the lane's row and its place along k, from which blocks and steps are constants away. */
typedef struct fragment_source {
  const ir_ref *operand;
  const ir_expr *row, *k;
  bool k_major;
} fragment_source;

/* Shared address `row` rows (m or n) and `k` elements along k from the lane's own place. */
static const ir_expr *fragment_address(lower *l, const fragment_source *from, int row, int k) {
  const ir_ref *operand = from->operand;
  const ir_expr *coord[2] = {from->k_major ? from->row : from->k, from->k_major ? from->k : from->row};
  const int ahead[2] = {from->k_major ? row : k, from->k_major ? k : row};
  const ir_expr *at[IR_MAX_RANK];
  int more[IR_MAX_RANK] = {0};
  region_place(l->memory, operand, coord, at);
  for (int d = 0, next = 0; d < operand->value->rank; d++)
    if (!operand->count || operand->span[d]) more[d] = ahead[next++];
  return thread_shared_address_near(l, operand->value, operand->slot, at, more);
}

/* Loads `count` (1, 2, 4) 8 x 16-byte matrices, `row` rows (m or n) and `k` elements along k from the lane's own. */
static void load_matrices(lower *l, const fragment_source *from, ir_value *registers, int word, int row, int k,
                          int count) {
  const ir_ref *operand = from->operand;
  const ir_expr *address = fragment_address(l, from, row, k);
  ir_op *load = thread_op(l, IR_OP_LDMATRIX);
  ir_op_add_write(load, thread_word_ref(registers, thread_int(l, word)));
  ir_op_add_read(load, thread_buffer_ref(operand));
  ir_op_add_expr(l->memory, load, address);
  ir_attr_set(&load->attrs, IR_ATTR_COUNT, count);
  if (!from->k_major) ir_attr_set(&load->attrs, IR_ATTR_TRANSPOSE, 1);
}

/* The lane's place in a 16 x 2-chunk group of matrices. `rows_first`: matrices 0, 1 are rows 0-7, 8-15 of chunk 0
 * (operand A); else matrices 0, 1 are chunks 0, 1 of rows 0-7 (operand B), and 2, 3 the same of rows 8-15, or chunks 2, 3
 * of rows 0-7 where it is `deep` (where it is `apart` 0, 2 and 1, 3: the same half of two steps). k_major: a matrix row
 * is a row of the operand; else it is a k, and 8 of them a chunk. */
static void lane_place(lower *l, bool rows_first, bool deep, bool apart, bool k_major, int chunk, const ir_expr **row,
                       const ir_expr **k) {
  const ir_expr *in = ir_binary(l->memory, IR_EXPR_AND, l->lane, thread_int(l, 7));
  const ir_expr *second =
      ir_binary(l->memory, IR_EXPR_AND, ir_binary(l->memory, IR_EXPR_SHR, l->lane, thread_int(l, 3)), thread_int(l, 1));
  const ir_expr *fourth = ir_binary(l->memory, IR_EXPR_SHR, l->lane, thread_int(l, 4));
  const ir_expr *row_half = rows_first ? second : fourth, *k_half = rows_first ? fourth : second;
  if (deep) {
    *row = in;
    const ir_expr *matrix = ir_binary(l->memory, IR_EXPR_SHR, l->lane, thread_int(l, 3));
    if (apart) matrix = thread_add(l, thread_mul(l, second, thread_int(l, 2)), fourth);
    *k = thread_mul(l, matrix, thread_int(l, chunk));
  } else if (k_major) {
    *row = thread_add(l, in, thread_mul(l, row_half, thread_int(l, 8)));
    *k = thread_mul(l, k_half, thread_int(l, chunk));
  } else {
    *row = thread_mul(l, row_half, thread_int(l, 8));
    *k = thread_add(l, in, thread_mul(l, k_half, thread_int(l, 8)));
  }
}

enum { LANE_K = 8 /* 16-bit floats of a vector */ };

/* The sum of the eight numbers of the column that lie `k` from the lane's own. */
static const ir_expr *sum_neighbours(lower *l, const fragment_source *column, int k) {
  const ir_ref *operand = column->operand;
  ir_value *words = thread_array(l, "neighbours", IR_U32, LANE_K / 2);
  const ir_expr *address = fragment_address(l, column, 0, k), *sum = NULL;
  ir_op *load = thread_op(l, IR_OP_LD_SHARED);
  ir_op_add_write(load, thread_word_ref(words, thread_int(l, 0)));
  ir_op_add_read(load, thread_buffer_ref(operand));
  ir_op_add_expr(l->memory, load, address);
  ir_op_add_expr(l->memory, load, ir_bool(l->memory, true));
  ir_attr_set(&load->attrs, IR_ATTR_WIDTH, 16);
  for (int i = 0; i < LANE_K; i++) {
    const ir_expr *x = packed_unpack(l, operand->value->type, thread_word(l, words, thread_int(l, i / 2)), i % 2);
    sum = sum ? thread_add(l, sum, x) : x;
  }
  return thread_let(l, "lane_sum", sum);
}

/* out[i] = what the codes of group i of the warp's share of k were raised by, less than 0: `offset` times the sum of
 * column 0 in lanes that have it, and 0 for the other columns, which are zeros. Of every 256 k a lane adds eight, or of
 * fewer, where the warp has no more. */
static void sum_column(lower *l, const fragment_source *from, const ir_expr *first_k, int own_k, int group, int offset,
                       const ir_expr **out) {
  arena *memory = l->memory;
  int lanes = own_k < LANE_K * TILE_LANES ? own_k / LANE_K : TILE_LANES, share = lanes * LANE_K;
  const ir_expr *lane = ir_binary(memory, IR_EXPR_AND, l->lane, thread_int(l, lanes - 1));
  lane = thread_role_let(l, "sum_k", thread_add(l, thread_mul(l, lane, thread_int(l, LANE_K)), first_k));
  const ir_expr *zero = thread_int(l, 0), *sum = NULL;
  const ir_expr *has_column =
      ir_binary(memory, IR_EXPR_EQ, ir_binary(memory, IR_EXPR_AND, l->lane, thread_int(l, 3)), zero);
  const fragment_source column = {from->operand, zero, lane, true};
  for (int first = 0; first < own_k; first += share) {
    const ir_expr *own = sum_neighbours(l, &column, first);
    sum = sum ? thread_add(l, sum, own) : own;
    if ((first + share) % group && group > share) continue;
    for (int apart = 1; apart < lanes && apart * LANE_K < group; apart *= 2) {
      sum = thread_let(l, "lane_sum", sum);
      sum = thread_add(l, sum, ir_binary(memory, IR_EXPR_SHUFFLE_XOR, sum, thread_int(l, apart)));
    }
    sum = thread_let(l, "lane_sum", sum);
    for (int k = 0; k < share; k += group) {
      const ir_expr *all = group < share ? ir_binary(memory, IR_EXPR_SHUFFLE, sum, thread_int(l, k / LANE_K)) : sum;
      all = ir_binary(memory, IR_EXPR_MUL, thread_let(l, "column_sum", all), ir_float(memory, -offset));
      out[(first + k) / group] =
          thread_let(l, "raised_by", ir_ternary(memory, IR_EXPR_SELECT, has_column, all, ir_float(memory, 0)));
    }
    sum = NULL;
  }
}

/* The fragments of a dot, in the order in which they are used: a unit is two column blocks of a step along k (one, where
 * their number is odd), and every row block with them; where there is one column block and rows come from registers, it is
 * two steps, so that one load brings as much. The units' B fragments lie in a ring, loaded `ahead` units before
 * they are used; a step's A fragments in one of two sets, loaded under the step before. */
typedef struct mma_plan {
  const dot_shape *s;
  int m_blocks, n_blocks, depth, steps;
  bool deep; /* a unit is two steps */
  int pairs; /* units a step */
  int units;
  int ahead, ring; /* units */
  int a_sets;      /* 1: a step's are loaded in front of it */
  fragment_source a_from, b_from;
  ir_value *a, *b;
  bool a_registers, b_registers;
  bool promotes;   /* sums of a group stand beside the accumulators */
  int raised_bits; /* of codes that lie in subnormal numbers; 0: they are whole values */
  bool apart;      /* raised_is_apart: sums of each half of the steps */
} mma_plan;

enum { FRAGMENT_WORDS = 4 };

/* How far ahead fragments are loaded: a whole step where registers allow that, so that its loads, and the wait for them, lie
 * under the dots of the step before; else B by a unit, and A by a step; in the least registers not at all. */
static void choose_distance(const lower *l, mma_plan *p) {
  int accumulators = p->m_blocks * p->n_blocks * 4 * (p->promotes ? 2 : 1),
      a_words = p->a_registers ? 0 : p->m_blocks * FRAGMENT_WORDS;
  int left = thread_register_budget(l) * 3 / 4 - accumulators; /* addresses have the rest */
  p->a_sets = p->steps > 1 && 2 * a_words + 2 * FRAGMENT_WORDS <= left ? 2 : 1;
  int rest = left - p->a_sets * a_words;
  p->ahead = 2 * p->pairs * FRAGMENT_WORDS <= rest ? p->pairs : 2 * FRAGMENT_WORDS <= rest ? 1 : 0;
  p->ring = p->ahead ? 2 * p->ahead : 1;
}

static int unit_blocks(const mma_plan *p, int unit) { return unit % p->pairs * 2 + 1 < p->n_blocks ? 2 : 1; }

static int unit_step(const mma_plan *p, int unit) { return p->deep ? unit * 2 : unit / p->pairs; }

static void load_unit(lower *l, const mma_plan *p, int unit) {
  if (p->b_registers || unit >= p->units) return;
  load_matrices(l, &p->b_from, p->b, unit % p->ring * FRAGMENT_WORDS, unit % p->pairs * 16,
                unit_step(p, unit) * p->depth, p->deep ? 4 : unit_blocks(p, unit) * 2);
}

/* Row blocks first .. last - 1 of a step. */
static void load_rows(lower *l, const mma_plan *p, int step, int first, int last) {
  if (p->a_registers || step >= p->steps) return;
  for (int mb = first; mb < last; mb++)
    load_matrices(l, &p->a_from, p->a, (step % p->a_sets * p->m_blocks + mb) * FRAGMENT_WORDS, mb * 16, step * p->depth,
                  4);
}

/* What the unit has of a step: all, or half of what it loaded. */
static void multiply_step(lower *l, const mma_plan *p, int unit, int step, ir_value *sums) {
  int first = unit % p->pairs * 2;
  for (int mb = 0; mb < p->m_blocks; mb++)
    for (int i = 0; i < unit_blocks(p, unit); i++) {
      int nb = first + i, a_word = p->a_registers ? mb * p->steps + step : step % p->a_sets * p->m_blocks + mb,
          part = p->deep ? step % 2 : i,
          b_word = p->b_registers ? (nb * p->steps + step) * 2 : unit % p->ring * FRAGMENT_WORDS + part * 2;
      ir_op *mma = thread_op(l, IR_OP_MMA);
      ir_op_add_write(mma, thread_word_ref(sums, thread_int(l, (mb * p->n_blocks + nb) * 4)));
      ir_op_add_read(mma, thread_word_ref(p->a, thread_int(l, a_word * FRAGMENT_WORDS)));
      ir_op_add_read(mma, thread_word_ref(p->b, thread_int(l, b_word)));
      ir_attr_set(&mma->attrs, IR_ATTR_M, 16);
      ir_attr_set(&mma->attrs, IR_ATTR_N, 8);
      ir_attr_set(&mma->attrs, IR_ATTR_K, p->depth);
    }
}

/* Where the warp and the lane stand, and arrays for what they load: the first k of the warp's share. */
static const ir_expr *place_fragments(lower *l, const ir_op *op, mma_plan *p) {
  const dot_shape *s = p->s;
  int chunk = p->depth / 2, own_k = s->k / s->parts;
  int warps_m = (int)ir_attr_get(&op->attrs, IR_ATTR_WARPS_M, l->warp_count),
      warps_n = (int)ir_attr_get(&op->attrs, IR_ATTR_WARPS_N, 1);
  p->m_blocks = s->m / 16 / warps_m;
  p->n_blocks = s->n < MMA_COLUMNS ? 1 : s->n / MMA_COLUMNS / warps_n;
  p->pairs = (p->n_blocks + 1) / 2;
  p->deep = p->n_blocks == 1 && !p->promotes && p->a_registers && !p->b_registers && s->columns_k_major &&
            p->steps % 2 == 0 && (!s->scale || s->group % (2 * p->depth) == 0);
  p->apart = p->raised_bits && raised_is_apart(p->raised_bits);
  p->units = p->deep ? p->steps / 2 : p->steps * p->pairs;
  choose_distance(l, p);
  const ir_expr *warp_m = thread_digit(l, l->warp, 1, warps_m, warps_n * s->parts);
  const ir_expr *warp_n = thread_digit(l, l->warp, warps_m, warps_n, s->parts);
  const ir_expr *first_k =
      thread_mul(l, thread_digit(l, l->warp, warps_m * warps_n, s->parts, 1), thread_int(l, own_k));
  const ir_expr *a_row, *a_k, *b_row, *b_k;
  lane_place(l, true, false, false, s->rows_k_major, chunk, &a_row, &a_k);
  lane_place(l, false, p->deep, p->apart, s->columns_k_major, chunk, &b_row, &b_k);
  a_row = thread_role_let(l, "a_row", thread_add(l, a_row, thread_mul(l, warp_m, thread_int(l, p->m_blocks * 16))));
  a_k = thread_role_let(l, "a_k", thread_add(l, a_k, first_k));
  if (s->n < MMA_COLUMNS) b_row = ir_binary(l->memory, IR_EXPR_AND, b_row, thread_int(l, s->n - 1)); /* copies */
  b_row = thread_role_let(l, "b_row", thread_add(l, b_row, thread_mul(l, warp_n, thread_int(l, p->n_blocks * 8))));
  b_k = thread_role_let(l, "b_k", thread_add(l, b_k, first_k));
  p->a_from = (fragment_source){s->rows, a_row, a_k, s->rows_k_major};
  p->b_from = (fragment_source){s->columns, b_row, b_k, s->columns_k_major};
  return first_k;
}

static ir_value *fragment_array(lower *l, const char *name, const ir_ref *operand, int fragments) {
  ir_type type = operand->value->type;
  return thread_array(l, name, type, fragments * FRAGMENT_WORDS * 32 / ir_bits(type));
}

static void thread_mma(lower *l, const ir_op *op, const dot_shape *s) {
  int depth = tensor_core_depth(s->rows->value->type), own_k = s->k / s->parts;
  mma_plan p = {.s = s,
                .depth = depth,
                .steps = own_k / depth,
                .a_registers = s->rows->value->space == IR_TILE,
                .b_registers = s->columns->value->space == IR_TILE,
                .promotes = dot_promotes(op) > 0,
                .raised_bits = s->raised_bits};
  ir_value *accumulator = thread_registers(l, s->accumulator);
  const ir_expr *first_k = place_fragments(l, op, &p);
  thread_clear_sums(l, accumulator, p.m_blocks * p.n_blocks * 4, thread_accumulates(l, op));
  p.a = p.a_registers ? thread_registers(l, s->rows->value) : fragment_array(l, "a", s->rows, p.a_sets * p.m_blocks);
  p.b = p.b_registers ? thread_registers(l, s->columns->value) : fragment_array(l, "b", s->columns, p.ring);
  packed_operand scale = packed_operand_of(l, s->rows->value->tile, s->scale, s->group);
  int group = scale.buffer ? s->group : p.promotes ? dot_promotes(op) : own_k;
  group = group < own_k ? group : own_k; /* what the warp has of one */
  bool grouped = scale.buffer || p.promotes || s->power || p.raised_bits;
  ir_value *sums[2] = {accumulator, NULL};
  const ir_expr **raised_by =
      p.raised_bits && s->raised ? ARENA_ARRAY(l->env->scratch, const ir_expr *, own_k / group) : NULL;
  if (raised_by) sum_column(l, &p.b_from, first_k, own_k, group, s->raised, raised_by);
  load_rows(l, &p, 0, 0, p.m_blocks);
  for (int unit = 0; unit < p.ahead; unit++)
    load_unit(l, &p, unit);
  for (int unit = 0; unit < p.units; unit++) {
    int step = unit_step(&p, unit), pair = unit % p.pairs, last = step + (p.deep ? 1 : 0);
    if (pair == 0 && grouped && step * depth % group == 0)
      for (int i = 0; i < (p.apart ? 2 : 1); i++)
        sums[i] = thread_open_group(l, accumulator->type, p.m_blocks * p.n_blocks * 4);
    if (p.a_sets > 1)
      load_rows(l, &p, step + 1, pair * p.m_blocks / p.pairs, (pair + 1) * p.m_blocks / p.pairs);
    else if (pair == 0 && step > 0)
      load_rows(l, &p, step, 0, p.m_blocks);
    load_unit(l, &p, unit + p.ahead);
    for (int now = step; now <= last; now++)
      multiply_step(l, &p, unit, now, sums[p.apart ? now % 2 : 0]);
    if (!grouped || pair < p.pairs - 1 || ((last + 1) * depth % group && last + 1 < p.steps)) continue;
    int number = step * depth / group;
    if (p.raised_bits)
      thread_close_raised(l, &scale, number, p.raised_bits, raised_by ? raised_by[number] : NULL, accumulator, sums,
                          p.m_blocks);
    else if (scale.buffer)
      thread_close_group(l, &scale, number, s->power, accumulator, sums[0], p.m_blocks, p.n_blocks);
    else
      thread_add_sums(l, accumulator, 0, sums[0], p.m_blocks * p.n_blocks * 4, s->power, true);
  }
}

/* -- multiply-add -------------------------------------------------------------------------------------------------- */

/* As an elementwise loop inside a loop over k; the operands are read element by element from shared memory. */
static void thread_fma(lower *l, const ir_op *op) {
  const ir_ref *a = &op->read[0], *b = &op->read[1];
  ir_value *accumulator = op->write[0].value;
  arena *memory = l->memory;
  bool transpose_a = ir_attr_get(&op->attrs, IR_ATTR_TRANSPOSE_A, 0),
       transpose_b = ir_attr_get(&op->attrs, IR_ATTR_TRANSPOSE_B, 0);
  int64_t k = region_extent(a, transpose_a ? 0 : 1);
  ir_ref operands[2] = {*a, *b};
  for (int i = 0; i < 2; i++) {
    if (operands[i].value->space != IR_TILE) continue;
    int extent[2] = {(int)ir_extent(operands[i].value, 0), (int)ir_extent(operands[i].value, 1)};
    ir_value *scratch = thread_scratch(l, operands[i].value->name, operands[i].value->type, 2, extent);
    ir_op *put = ir_op_create(memory, IR_OP_COPY, op->loc);
    ir_op_add_write(put, ir_ref_whole(scratch));
    ir_op_add_read(put, ir_ref_whole(operands[i].value));
    thread_meet(l);
    thread_transfer(l, put);
    thread_meet(l);
    operands[i].value = scratch;
    operands[i].slot = NULL;
  }
  ir_op *loop = ir_op_create(memory, IR_OP_PARALLEL, op->loc);
  loop->variable_count = 2;
  loop->variable = ARENA_ARRAY(memory, ir_value *, 2);
  const ir_expr *at[2];
  for (int d = 0; d < 2; d++) {
    loop->variable[d] = ir_value_create(memory, l->kernel, IR_INDEX, IR_I32, d ? "j" : "i", op->loc);
    ir_op_add_expr(memory, loop, accumulator->extent[d]);
    at[d] = ir_read(memory, loop->variable[d]);
  }
  const ir_expr *keep = thread_accumulates(l, op);
  ir_ref element = ir_ref_whole(accumulator);
  element.count = 2;
  element.start[0] = at[0];
  element.start[1] = at[1];
  int64_t known;
  ir_type type = ir_compute_type(accumulator->type);
  const ir_expr *old = ir_element(memory, accumulator, NULL, 2, at);
  if (!ir_is_constant(keep, &known) || !known) {
    ir_op *clear = ir_op_clone(memory, loop, NULL);
    ir_op *zero = ir_op_create(memory, IR_OP_SET, op->loc);
    ir_op_add_write(zero, element);
    ir_op_add_expr(
        memory, zero,
        ir_ternary(memory, IR_EXPR_SELECT, keep, ir_cast(memory, type, old), ir_cast(memory, type, thread_int(l, 0))));
    ir_block_append(&clear->body, zero);
    thread_elementwise(l, clear);
  }
  const ir_expr *step;
  ir_block *saved = thread_loop(l, "kk", thread_int(l, k), 0, &step);
  const ir_expr *ai[2] = {transpose_a ? step : at[0], transpose_a ? at[0] : step};
  const ir_expr *bi[2] = {transpose_b ? at[1] : step, transpose_b ? step : at[1]};
  const ir_expr *a_at[IR_MAX_RANK], *b_at[IR_MAX_RANK];
  region_place(memory, &operands[0], ai, a_at);
  region_place(memory, &operands[1], bi, b_at);
  const ir_expr *x =
      ir_cast(memory, type, ir_element(memory, operands[0].value, operands[0].slot, operands[0].value->rank, a_at));
  const ir_expr *y =
      ir_cast(memory, type, ir_element(memory, operands[1].value, operands[1].slot, operands[1].value->rank, b_at));
  const ir_expr *sum = ir_is_float(type) ? ir_ternary(memory, IR_EXPR_FMA, x, y, ir_cast(memory, type, old))
                                         : thread_add(l, thread_mul(l, x, y), old);
  ir_op *set = ir_op_create(memory, IR_OP_SET, op->loc);
  ir_op_add_write(set, element);
  ir_op_add_expr(memory, set, sum);
  ir_block_append(&loop->body, set);
  thread_elementwise(l, loop);
  thread_leave(l, saved);
}

void thread_dot(lower *l, const ir_op *op) {
  dot_shape s = dot_shape_of(op);
  switch (ir_attr_get(&op->attrs, IR_ATTR_INSTRUCTION, IR_INSTRUCTION_FMA)) {
  case IR_INSTRUCTION_WGMMA:
    thread_wgmma(l, op, &s);
    break;
  case IR_INSTRUCTION_MMA:
    if (s.chooses)
      thread_choice(l, op, &s);
    else
      thread_mma(l, op, &s);
    break;
  default:
    thread_fma(l, op);
  }
}
