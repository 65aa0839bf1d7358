/* Copies by the threads themselves: tiles to and from memory, cp.async, and plain copies between memories.
 *
 * All of them are one loop: a layout says which elements a thread moves, the widest access that layout, buffer and
 * tensor allow says how many at once, and every access is inside or outside the tensor as a whole. Where a size that is
 * known at the launch only decides that, there are two loops, and the size chooses. Copies without a tile get a
 * coalesced layout of the buffer's extents. Here is the loop; where accesses lie is lower_transfer.c, what one group of
 * them does lower_access.c and lower_async.c. */
#include "passes/lower_transfer.h"
#include "passes/region.h"

enum { MAX_UNROLLED = 4, MAX_ASYNC = 16 };

/* The widest access of one side, in elements. */
static int side_vector(transfer *t, const ir_ref *ref) {
  int bits = ir_bits(ref->value->type);
  if (ref->value->space == IR_GLOBAL) return region_access_bytes(t->l->memory, ref) * 8 / bits;
  if (ref->value->space == IR_SHARED) {
    if (ref->count) { /* a region of a buffer: only as wide as its start allows */
      int inner = ref->value->rank - 1;
      int64_t divisor = ir_known_divisor(ref->start[inner]);
      int vector = shared_layout_vector(ref->value->shared);
      while (vector > 1 && divisor % vector)
        vector /= 2;
      return ref->span[inner] ? vector : 1;
    }
    return shared_layout_vector(ref->value->shared);
  }
  int vector = TRANSFER_MAX_ELEMENTS, inner = ref->value->rank - 1;
  while (ref->count &&
         (ir_known_divisor(ref->start[inner]) % vector || ref->span[inner] % vector)) /* all of it or none */
    vector /= 2;
  return vector;
}

static void extents_of(const ir_ref *ref, int *extent, int *rank) {
  *rank = 0;
  for (int d = 0; d < ref->value->rank; d++)
    if (!ref->count)
      extent[(*rank)++] = (int)ir_extent(ref->value, d);
    else if (ref->span[d])
      extent[(*rank)++] = ref->span[d];
}

/* Asynchronous accesses that are issued without a loop: many, whose addresses differ by constants, unless some tile
 * leaves few registers. */
static int most_async(const lower *l) {
  for (int i = 0; i < l->tile_count; i++) {
    const ir_value *tile = l->kernel->values[i];
    int64_t bits = tile->space == IR_TILE ? (int64_t)tile->tile->reg_count * ir_bits(tile->type) : 0;
    if (bits / 32 > thread_register_budget(l) * 5 / 8) return MAX_UNROLLED;
  }
  return MAX_ASYNC;
}

/* All accesses of the copy, t->vector elements each. */
static void all_groups(transfer *t) {
  lower *l = t->l;
  const ir_ref *to = &t->op->write[0], *from = &t->op->read[0];
  bool asynchronous = ir_attr_get(&t->op->attrs, IR_ATTR_ENGINE, 0) == IR_ENGINE_CPASYNC;
  if (asynchronous) transfer_begin_async(t, from);
  const ir_value *tile = to->value->space == IR_TILE ? to->value : from->value->space == IR_TILE ? from->value : NULL;
  int per_word = tile ? thread_per_word(tile->type) : 1;
  bool in_words = t->vector < per_word && t->layout.reg_count % per_word == 0;
  t->accesses = in_words && !ir_attr_get(&t->op->attrs, IR_ATTR_REDUCE, 0) ? per_word / t->vector : 1;
  t->part = thread_part_of(l, &t->layout, from->value->space == IR_TILE ? from : NULL, t->vector * t->accesses);
  int groups = t->part.count;
  bool looped = groups > (asynchronous ? most_async(l) : 1) &&
                t->vector * t->accesses >= per_word; /* positions inside a word are constants */
  const ir_expr *probe = thread_int(l, 0);
  looped = looped && thread_table(l, t->part.group, groups, probe);
  for (int d = 0; d < t->rank && looped; d++)
    for (int k = 0; k < t->accesses; k++)
      looped &= transfer_register_coord(t, d, k, probe) != NULL;
  if (looped) {
    /* register numbers must be constants; addresses need not, and all at once they spill */
    bool in_registers = tile || groups <= MAX_UNROLLED;
    ir_block *saved = thread_loop(l, "r", thread_int(l, groups), in_registers ? 1 : 0, &t->group);
    t->group = thread_table(l, t->part.group, groups, t->group);
    transfer_group(t);
    thread_leave(l, saved);
    return;
  }
  for (int g = 0; g < groups; g++) {
    t->group = thread_int(l, t->part.group[g]);
    transfer_group(t);
  }
}

/* The elements of a wider access that sizes allow when the predicate holds; 0 where there is none. */
static int wide_vector(transfer *t, int consecutive, const ir_expr **condition) {
  const ir_ref *to = &t->op->write[0], *from = &t->op->read[0];
  const ir_ref *global = to->value->space == IR_GLOBAL ? to : from->value->space == IR_GLOBAL ? from : NULL;
  if (!global || ir_attr_get(&t->op->attrs, IR_ATTR_REDUCE, 0)) return 0;
  int vector = region_wide_bytes(t->l->memory, global, condition) * 8 / ir_bits(global->value->type);
  vector = vector < consecutive ? vector : consecutive;
  return vector > t->vector ? vector : 0;
}

/* Registers have no address: what is a part of a tile must be known here. */
static bool check_part(lower *l, const ir_op *op) {
  const ir_ref *to = &op->write[0], *from = &op->read[0];
  bool known = to->value->space != IR_TILE || !to->count;
  for (int d = 0; d < from->count && from->value->space == IR_TILE; d++) {
    int64_t start;
    known &= to->value->space != IR_TILE && from->span[d] && ir_is_constant(from->start[d], &start);
  }
  if (known) return true;
  diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc,
             "%s is in registers: a part of it can be copied to memory only, with all of its dimensions and from "
             "constant places on",
             to->value->space == IR_TILE && to->count ? to->value->name : from->value->name);
  l->failed = true;
  return false;
}

void thread_transfer(lower *l, const ir_op *op) {
  if (!check_part(l, op)) return;
  const ir_ref *to = &op->write[0], *from = &op->read[0];
  int64_t engine = ir_attr_get(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_SIMT);
  if (engine == IR_ENGINE_TMA || engine == IR_ENGINE_BULK || (from->value->space == IR_GLOBAL && from->value->packed)) {
    thread_tensor_copy(l, op);
    return;
  }
  if (to->value->space == IR_TILE && from->value->space == IR_TILE) {
    thread_tile_to_tile(l, op);
    return;
  }
  if (from->value->space == IR_TILE && thread_matrix_store(l, op)) return;
  transfer t = {.l = l, .op = op};
  int extent[IR_MAX_RANK];
  const ir_ref *moved = to->value->space == IR_TILE || (from->value->space == IR_GLOBAL) ? to : from;
  extents_of(moved, extent, &t.rank);
  int to_vector = side_vector(&t, to), from_vector = side_vector(&t, from);
  int vector = to_vector < from_vector ? to_vector : from_vector;
  const ir_ref *sides[2] = {to, from}; /* an access is 16 bytes of memory at most; what registers hold does not count */
  for (int i = 0; i < 2; i++) {
    int most = sides[i]->value->space == IR_TILE ? TRANSFER_MAX_ELEMENTS : 128 / ir_bits(sides[i]->value->type);
    vector = vector < most ? vector : most;
  }
  bool tile = to->value->space == IR_TILE || from->value->space == IR_TILE;
  int consecutive = 1;
  if (tile) {
    const tile_layout *own = to->value->space == IR_TILE ? to->value->tile : from->value->tile;
    t.layout = *own;
    consecutive = tile_layout_vector(own);
    vector = vector < consecutive ? vector : consecutive;
    if (ir_attr_get(&op->attrs, IR_ATTR_REDUCE, 0)) vector = 1;
  } else {
    while (vector > 1 && extent[t.rank - 1] % vector)
      vector /= 2;
    int bits = ir_bits(from->value->type);
    if (vector < 1 || vector * bits < 8) {
      diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc,
                 "elements of %s are smaller than a byte and its rows are not known to start at whole bytes",
                 from->value->name);
      l->failed = true;
      return;
    }
    if (!tile_layout_blocked(t.rank, extent, vector, l->warp_count, &t.layout)) {
      diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc,
                 "the extents of this copy cannot be spread over %d threads", l->warp_count * 32);
      l->failed = true;
      return;
    }
    consecutive = tile_layout_vector(&t.layout);
    vector = vector < consecutive ? vector : consecutive;
  }
  if (vector < 1) vector = 1;
  if (vector * ir_bits(to->value->type) < 8 || vector * ir_bits(from->value->type) < 8) {
    diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc,
               "elements smaller than a byte cannot be copied one by one: state a fact about the row length");
    l->failed = true;
    return;
  }
  t.vector = vector;
  const ir_expr *condition;
  int wide = tile ? wide_vector(&t, consecutive, &condition) : 0;
  if (!wide) {
    all_groups(&t);
    return;
  }
  /* Which of the two is decided by sizes alone, so for the whole launch. */
  ir_op *choice = thread_op(l, IR_OP_IF);
  ir_op_add_expr(l->memory, choice, condition);
  ir_block *saved = thread_enter(l, &choice->other);
  all_groups(&t);
  thread_leave(l, saved);
  t.vector = wide;
  saved = thread_enter(l, &choice->body);
  all_groups(&t);
  thread_leave(l, saved);
}
