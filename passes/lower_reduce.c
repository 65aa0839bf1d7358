/* Reductions and votes: one row of a tile becomes one element.
 *
 *   1. a thread combines its own registers, in register order
 *   2. lanes that differ along the axis exchange theirs by butterflies: both partners compute the same bits
 *   3. warps that differ along the axis meet in a scratch buffer [warp][partial][lane], and everyone combines all of
 *      them in warp order, or those of its share (spread)
 *
 * So the order is fixed and every copy of the result is the same. A layout whose lanes or warps hold elements twice, or
 * move along the axis and another dimension at once, goes through a scratch buffer of the whole tile instead. */
#include "passes/lower_rows.h"

enum { MAX_WARPS = 64 };

typedef struct reduction {
  lower *l;
  const ir_op *op;
  ir_operation operation;
  int axis;
  ir_type type;              /* that partials have */
  const tile_layout *layout; /* of the source */
  ir_value *from;            /* registers of the source */
  int per_word;
  tile_layout rows; /* of the source without the axis */
  int partial_count;
  ir_value *partial;     /* one for each of its registers */
  int result_count;      /* registers of the destination: all of them, or a share */
  int axis_lanes;        /* lane bits along the axis */
  int idle_lanes;        /* lane bits that change no other coordinate: those and the copies */
  int offset[MAX_WARPS]; /* warps along the axis: what they add to the number of their first */
  int offset_count;
} reduction;

/* -- Which part of the axis is where ---------------------------------------------------------------------------------
 */

/* Whether an input bit of the layout moves along the axis (1), along others (0), neither (2) or both (-1). */
static int bit_kind(const reduction *r, tile_axis axis, int bit) {
  bool along = false, across = false;
  for (int d = 0; d < r->layout->rank; d++) {
    linmap map = tile_layout_axis_map(r->layout, axis, d);
    if (map.col[bit]) *(d == r->axis ? &along : &across) = true;
  }
  return along && across ? -1 : along ? 1 : across ? 0 : 2;
}

static void add_warps(reduction *r, int count, int stride) {
  int before = r->offset_count;
  for (int i = 1; i < count; i++)
    for (int j = 0; j < before; j++)
      r->offset[r->offset_count++] = r->offset[j] + i * stride;
}

/* Fills in lanes and warps; false when the axis is not a product of registers, lanes and warps. */
static bool find_axis(reduction *r) {
  const tile_layout *layout = r->layout;
  int covered = layout->reg_count / r->partial_count;
  for (int bit = 0; bit < TILE_LANE_BITS; bit++) {
    int kind = bit_kind(r, TILE_LANE, bit);
    if (kind < 0) return false;
    if (kind == 1) {
      r->axis_lanes |= 1 << bit;
      covered *= 2;
    }
    if (kind) r->idle_lanes |= 1 << bit;
  }
  r->offset_count = 1;
  for (int bit = 0; bit < layout->warp_bits; bit++) {
    int kind = bit_kind(r, TILE_WARP, bit);
    if (kind < 0) return false;
    if (kind == 1) add_warps(r, 2, 1 << bit);
  }
  for (int i = 0; i < layout->repeat_count; i++) {
    const tile_repeat *repeat = &layout->repeat[i];
    if (repeat->axis == TILE_WARP && repeat->delta && repeat->dim == r->axis)
      add_warps(r, repeat->count, repeat->stride);
  }
  return covered * r->offset_count == layout->extent[r->axis];
}

/* -- Within a thread -------------------------------------------------------------------------------------------------
 */

static void contribute(reduction *r, const ir_expr *partial, const ir_expr *word, int sub, bool first) {
  const ir_expr *value = thread_element_as(r->l, r->type, r->from, word, sub);
  if (!first) value = thread_combine(r->l, r->operation, thread_word(r->l, r->partial, partial), value);
  thread_set_word(r->l, r->partial, partial, value);
}

/* Register after register. */
static void combine_straight(reduction *r) {
  bool *seen = ARENA_ARRAY(r->l->env->scratch, bool, r->partial_count);
  for (int reg = 0; reg < r->layout->reg_count; reg++) {
    int p = tile_layout_slice_register(r->layout, r->axis, reg);
    contribute(r, thread_int(r->l, p), thread_int(r->l, reg / r->per_word), reg % r->per_word, !seen[p]);
    seen[p] = true;
  }
}

/* The words of the source, as groups of words that go to the same partials. */
typedef struct word_groups {
  int group_count, member_count;
  int *first;    /* [group]: its first word */
  int *member;   /* [member]: how far it is from the first */
  int **partial; /* [element of a word][group] */
} word_groups;

static bool group_words(reduction *r, word_groups *g) {
  arena *scratch = r->l->env->scratch;
  int words = r->layout->reg_count / r->per_word;
  if (r->layout->reg_count % r->per_word) return false;
  int *group_of = ARENA_ARRAY(scratch, int, r->partial_count); /* by the partial of a word's first element, plus 1 */
  int *members = ARENA_ARRAY(scratch, int, r->partial_count);
  *g = (word_groups){.first = ARENA_ARRAY(scratch, int, r->partial_count),
                     .member = ARENA_ARRAY(scratch, int, words),
                     .partial = ARENA_ARRAY(scratch, int *, r->per_word)};
  for (int sub = 0; sub < r->per_word; sub++)
    g->partial[sub] = ARENA_ARRAY(scratch, int, r->partial_count);
  for (int word = 0; word < words; word++) {
    int first = tile_layout_slice_register(r->layout, r->axis, word * r->per_word);
    if (!group_of[first]) {
      g->first[g->group_count] = word;
      group_of[first] = ++g->group_count;
    }
    int group = group_of[first] - 1, member = members[group]++, distance = word - g->first[group];
    if (group == 0) g->member[g->member_count++] = distance;
    for (int sub = 0; sub < r->per_word; sub++) {
      int partial = tile_layout_slice_register(r->layout, r->axis, word * r->per_word + sub);
      if (member == 0)
        g->partial[sub][group] = partial;
      else if (g->partial[sub][group] != partial)
        return false;
    }
    if (distance != g->member[member]) return false; /* group 0 is always ahead: its words have lower numbers */
  }
  const ir_expr *probe = thread_int(r->l, 0);
  for (int sub = 0; sub < r->per_word; sub++)
    if (!thread_table(r->l, g->partial[sub], g->group_count, probe)) return false;
  return g->group_count * g->member_count == words && thread_table(r->l, g->first, g->group_count, probe) &&
         thread_table(r->l, g->member, g->member_count, probe);
}

static void contribute_word(reduction *r, const word_groups *g, const ir_expr *const *partial, const ir_expr *word,
                            bool first) {
  for (int sub = 0; sub < r->per_word; sub++) {
    bool begins = first;
    for (int before = 0; before < sub; before++)
      begins &= g->partial[before][0] != g->partial[sub][0];
    contribute(r, partial[sub], word, sub, begins);
  }
}

static void combine_registers(reduction *r) {
  lower *l = r->l;
  word_groups g;
  if (!group_words(r, &g)) {
    combine_straight(r);
    return;
  }
  const ir_expr *group = thread_int(l, 0), *member, *partial[32];
  ir_block *groups = g.group_count > 1 ? thread_loop(l, "r", thread_int(l, g.group_count), 1, &group) : NULL;
  for (int sub = 0; sub < r->per_word; sub++)
    partial[sub] = thread_table(l, g.partial[sub], g.group_count, group);
  const ir_expr *first = thread_table(l, g.first, g.group_count, group);
  contribute_word(r, &g, partial, first, true);
  if (g.member_count > 1) {
    ir_block *members = thread_loop(l, "c", thread_int(l, g.member_count), 1, &member);
    members->last->expr[0] = thread_int(l, 1);
    contribute_word(r, &g, partial, thread_add(l, first, thread_table(l, g.member, g.member_count, member)), false);
    thread_leave(l, members);
  }
  if (groups) thread_leave(l, groups);
}

/* -- Across lanes and warps ------------------------------------------------------------------------------------------
 */

/* Begins a loop over that many registers, where there are several. */
static ir_block *each_of(reduction *r, int count, const ir_expr **number) {
  *number = thread_int(r->l, 0);
  if (count == 1) return r->l->out;
  return thread_loop(r->l, "r", thread_int(r->l, count), 1, number);
}

static ir_block *each_partial(reduction *r, const ir_expr **partial) { return each_of(r, r->partial_count, partial); }

/* The partial that register number `result` of the destination comes from. */
static const ir_expr *own_partial(reduction *r, const ir_expr *result) {
  lower *l = r->l;
  int shares = r->partial_count / r->result_count;
  if (shares == 1) return result;
  int *first = ARENA_ARRAY(l->env->scratch, int, r->rows.warp_count),
      *number = ARENA_ARRAY(l->env->scratch, int, r->result_count);
  for (int warp = 0; warp < r->rows.warp_count; warp++)
    first[warp] = tile_layout_spread_first(&r->rows, shares, warp);
  for (int i = 0; i < r->result_count; i++)
    number[i] = tile_layout_spread_register(&r->rows, shares, i);
  const ir_expr *own = thread_table(l, first, r->rows.warp_count, l->warp),
                *partial = thread_table(l, number, r->result_count, result);
  if (!own || !partial) BUG("warps do not share sums evenly");
  return thread_add(l, partial, thread_role_let(l, "own_share", own));
}

static void combine_lanes(reduction *r) {
  lower *l = r->l;
  if (!r->axis_lanes) return;
  const ir_expr *partial;
  ir_block *saved = each_partial(r, &partial);
  for (int bit = 0; bit < TILE_LANE_BITS; bit++) {
    if (!(r->axis_lanes >> bit & 1)) continue;
    const ir_expr *mine = thread_word(l, r->partial, partial);
    const ir_expr *other = ir_binary(l->memory, IR_EXPR_SHUFFLE_XOR, mine, thread_int(l, 1 << bit));
    thread_set_word(l, r->partial, partial, thread_combine(l, r->operation, mine, other));
  }
  thread_leave(l, saved);
}

/* The lanes that hold different rows, numbered from 0. */
static const ir_expr *row_lane(reduction *r, int *count) {
  lower *l = r->l;
  linmap map = linmap_zero(TILE_LANE_BITS, TILE_LANE_BITS);
  *count = 1;
  for (int bit = 0; bit < TILE_LANE_BITS; bit++)
    if (!(r->idle_lanes >> bit & 1)) {
      map.col[bit] = (uint32_t)*count;
      *count *= 2;
    }
  linmap_term terms[TILE_LANE_BITS];
  int term_count = linmap_terms(&map, terms, TILE_LANE_BITS);
  const ir_expr *sum = thread_int(l, 0);
  for (int i = 0; i < term_count; i++) {
    const ir_expr *bits = ir_binary(l->memory, IR_EXPR_SHR, l->lane, thread_int(l, terms[i].in_shift));
    bits = ir_binary(l->memory, IR_EXPR_AND, bits, thread_int(l, (1 << terms[i].width) - 1));
    sum = thread_add(l, sum, thread_mul(l, bits, thread_int(l, 1 << terms[i].out_shift)));
  }
  return thread_role_let(l, "row_lane", sum);
}

/* The first of the warps that share this warp's rows. */
static const ir_expr *first_warp(reduction *r) {
  lower *l = r->l;
  int axis_bits = 0;
  for (int bit = 0; bit < r->layout->warp_bits; bit++)
    if (bit_kind(r, TILE_WARP, bit) == 1) axis_bits |= 1 << bit;
  const ir_expr *first = l->warp;
  if (axis_bits)
    first =
        ir_binary(l->memory, IR_EXPR_SUB, first, ir_binary(l->memory, IR_EXPR_AND, l->warp, thread_int(l, axis_bits)));
  for (int i = 0; i < r->layout->repeat_count; i++) {
    const tile_repeat *repeat = &r->layout->repeat[i];
    if (repeat->axis != TILE_WARP || !repeat->delta || repeat->dim != r->axis) continue;
    const ir_expr *digit = ir_binary(l->memory, IR_EXPR_DIV, l->warp, thread_int(l, repeat->stride));
    digit = ir_binary(l->memory, IR_EXPR_MOD, digit, thread_int(l, repeat->count));
    first = ir_binary(l->memory, IR_EXPR_SUB, first, thread_mul(l, digit, thread_int(l, repeat->stride)));
  }
  return r->offset_count == r->layout->warp_count ? thread_int(l, 0) : thread_role_let(l, "first_warp", first);
}

static void combine_warps(reduction *r) {
  lower *l = r->l;
  if (r->offset_count == 1) return;
  int lanes;
  const ir_expr *lane = row_lane(r, &lanes), *first = first_warp(r), *writes = NULL, *partial;
  if (r->idle_lanes)
    writes = ir_binary(l->memory, IR_EXPR_EQ, ir_binary(l->memory, IR_EXPR_AND, l->lane, thread_int(l, r->idle_lanes)),
                       thread_int(l, 0));
  ir_value *scratch =
      thread_scratch(l, "partials", r->type, 3, (int[]){r->layout->warp_count, r->partial_count, lanes});
  ir_value *others = thread_array(l, "others", r->type, r->offset_count);
  thread_meet(l);
  ir_block *saved = each_partial(r, &partial);
  const ir_expr *own[3] = {l->warp, partial, lane};
  thread_store_word(l, scratch, thread_shared_address(l, scratch, NULL, own), r->partial, partial, writes);
  thread_leave(l, saved);
  thread_meet(l);
  saved = each_of(r, r->result_count, &partial);
  const ir_expr *from = own_partial(r, partial);
  for (int i = 0; i < r->offset_count; i++) {
    const ir_expr *at[3] = {thread_add(l, first, thread_int(l, r->offset[i])), from, lane};
    thread_load_word(l, others, thread_int(l, i), scratch, thread_shared_address(l, scratch, NULL, at));
  }
  const ir_expr *all = thread_word(l, others, thread_int(l, 0));
  for (int i = 1; i < r->offset_count; i++)
    all = thread_combine(l, r->operation, all, thread_word(l, others, thread_int(l, i)));
  thread_set_word(l, r->partial, partial, all);
  thread_leave(l, saved);
}

/* Any layout: every thread walks the rows that it wants. */
static void combine_through_scratch(reduction *r) {
  lower *l = r->l;
  const ir_value *source = r->op->read[0].value, *to = r->op->write[0].value;
  ir_value *scratch = thread_to_scratch(l, source), *element = thread_array(l, "element", r->type, 1);
  bool keeps_rank = to->rank == source->rank && source->rank > 1;
  const ir_expr *zero = thread_int(l, 0), *along;
  for (int reg = 0; reg < r->partial_count; reg++) {
    const ir_expr *row[LAYOUT_MAX_RANK], *coord[LAYOUT_MAX_RANK], *partial = thread_int(l, reg);
    thread_register_coords(l, to->tile, reg, row);
    for (int d = 0, from = 0; d < source->rank; d++)
      if (keeps_rank || d != r->axis) coord[d] = row[from++];
    coord[r->axis] = zero;
    thread_load_word(l, r->partial, partial, scratch, thread_shared_address(l, scratch, NULL, coord));
    ir_block *saved = thread_loop(l, "c", thread_int(l, r->layout->extent[r->axis]), 0, &along);
    saved->last->expr[0] = thread_int(l, 1);
    coord[r->axis] = along;
    thread_load_word(l, element, zero, scratch, thread_shared_address(l, scratch, NULL, coord));
    const ir_expr *both =
        thread_combine(l, r->operation, thread_word(l, r->partial, partial), thread_word(l, element, zero));
    thread_set_word(l, r->partial, partial, both);
    thread_leave(l, saved);
  }
}

/* Whether the destination has the source's layout without the axis, or its warps a share of that; finds what of the axis
 * is where. */
static bool follows_rows(reduction *r) {
  tile_layout spread;
  if (!tile_layout_slice(r->layout, r->axis, &r->rows)) return false;
  bool shared = ir_attr_get(&r->op->attrs, IR_ATTR_SPREAD, 0) && tile_layout_spread(&r->rows, &spread);
  if ((shared ? &spread : &r->rows)->reg_count != r->result_count) return false;
  r->partial_count = r->rows.reg_count;
  return find_axis(r);
}

bool thread_reduces_in_warp(const ir_op *op) {
  reduction r = {.op = op,
                 .axis = (int)ir_attr_get(&op->attrs, IR_ATTR_AXIS, 0),
                 .layout = op->read[0].value->tile,
                 .result_count = op->write[0].value->tile->reg_count};
  return follows_rows(&r) && r.offset_count == 1;
}

void thread_reduce(lower *l, const ir_op *op) {
  const ir_value *source = op->read[0].value, *to = op->write[0].value;
  reduction r = {.l = l,
                 .op = op,
                 .operation = (ir_operation)ir_attr_get(&op->attrs, IR_ATTR_OPERATION, IR_SUM),
                 .axis = (int)ir_attr_get(&op->attrs, IR_ATTR_AXIS, 0),
                 .type = thread_combine_type(source->type),
                 .layout = source->tile,
                 .from = thread_registers(l, source),
                 .per_word = thread_per_word(source->type),
                 .result_count = to->tile->reg_count};
  bool follows = follows_rows(&r);
  if (!follows) r.partial_count = r.result_count;
  r.partial = thread_array(l, "partial", r.type, r.partial_count);
  if (follows) {
    combine_registers(&r);
    combine_lanes(&r);
    combine_warps(&r);
  } else {
    combine_through_scratch(&r);
  }
  thread_from_values(l, to, r.partial, ir_attr_get(&op->attrs, IR_ATTR_ACCUMULATE, 0) != 0, r.operation);
}

/* -- Votes -----------------------------------------------------------------------------------------------------------
 */

static const ir_expr *is_set(lower *l, const ir_expr *flag) {
  return ir_binary(l->memory, IR_EXPR_NE, flag, ir_typed_int(l->memory, IR_U32, 0));
}

static const ir_expr *as_flag(lower *l, const ir_expr *condition) {
  return ir_ternary(l->memory, IR_EXPR_SELECT, condition, ir_typed_int(l->memory, IR_U32, 1),
                    ir_typed_int(l->memory, IR_U32, 0));
}

const ir_expr *thread_any(lower *l, const ir_value *tile) {
  const ir_expr *any = thread_word(l, thread_registers(l, tile), thread_int(l, 0));
  for (int r = 1; r < tile->tile->reg_count; r++)
    any = thread_combine(l, IR_OR, any, thread_word(l, thread_registers(l, tile), thread_int(l, r)));
  return ir_unary(l->memory, IR_EXPR_VOTE_ANY, is_set(l, any));
}

/* Copies of an element change neither any nor all. */
void thread_vote(lower *l, const ir_op *op) {
  const ir_value *tile = op->read[0].value;
  ir_value *flag = op->write[0].value, *from = thread_registers(l, tile);
  ir_operation operation = (ir_operation)ir_attr_get(&op->attrs, IR_ATTR_OPERATION, IR_OR);
  const ir_expr *zero = thread_int(l, 0), *r;
  ir_value *votes = thread_array(l, "vote", IR_U32, 1);
  thread_set_word(l, votes, zero, thread_word(l, from, zero));
  if (tile->tile->reg_count > 1) {
    ir_block *saved = thread_loop(l, "r", thread_int(l, tile->tile->reg_count), 1, &r);
    saved->last->expr[0] = thread_int(l, 1);
    thread_set_word(l, votes, zero, thread_combine(l, operation, thread_word(l, votes, zero), thread_word(l, from, r)));
    thread_leave(l, saved);
  }
  const ir_expr *mine = is_set(l, thread_word(l, votes, zero));
  mine = ir_unary(l->memory, operation == IR_AND ? IR_EXPR_VOTE_ALL : IR_EXPR_VOTE_ANY, mine);
  if (l->warp_count > 1) {
    thread_set_word(l, votes, zero, as_flag(l, mine));
    const ir_expr *all = NULL;
    ir_value *scratch = thread_scratch(l, "votes", IR_U32, 1, &l->warp_count);
    /* A register array of its own, so that its words are seen to be the same in all threads. */
    ir_value *all_votes = thread_array(l, "votes", IR_U32, l->warp_count);
    thread_meet(l);
    const ir_expr *first_lane = ir_binary(l->memory, IR_EXPR_EQ, l->lane, zero);
    thread_store_word(l, scratch, thread_shared_address(l, scratch, NULL, &l->warp), votes, zero, first_lane);
    thread_meet(l);
    for (int i = 0; i < l->warp_count; i++) {
      const ir_expr *at = thread_int(l, i);
      thread_load_word(l, all_votes, at, scratch, thread_shared_address(l, scratch, NULL, &at));
      const ir_expr *word = thread_word(l, all_votes, at);
      all = all ? thread_combine(l, operation, all, word) : word;
    }
    mine = is_set(l, all);
  }
  if (flag->is_mutable) {
    thread_set(l, flag, mine);
    return;
  }
  ir_op *let = thread_op(l, IR_OP_LET);
  ir_op_add_write(let, ir_ref_whole(flag));
  ir_op_add_expr(l->memory, let, mine);
}
