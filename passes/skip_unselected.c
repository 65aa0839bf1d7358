/* skip-unselected: let warps leave out what changes nothing for the rows they hold.
 *
 *   before  %moved[%i] <- %top[%i] > %m[%i]          after  %moved[%i] <- %top[%i] > %m[%i]
 *           %alpha[%i] <- select(%moved[%i],                where %moved do
 *                         exp2(%m[%i] - %top[%i]), 1)         %alpha[%i] <- select(%moved[%i], ...
 *           %o[%i, %j] <- %o[%i, %j] * %alpha[%i]             %o[%i, %j] <- %o[%i, %j] * %alpha[%i]
 *                                                           end
 *   (each line stands for the parallel op around it)
 *
 * A tile of pred is a mask. As long as it is not set again, where all of it is false an op
 *   - is idle, when every element that it sets is then set to itself: select(mask, e, x) is x, and x * y is x where y is
 *     select(mask, e, 1), as y is known to be 1,
 *   - only feeds, when it has no effect but to set tiles, and everything that reads these until they are overwritten is
 *     idle, or only feeds.
 * Both go into a `where` of the mask, neighbours into one. A thread computes an element from elements that it holds
 * itself, so what is false in all of a warp's registers is false in all that the warp would read. A reduction takes part
 * where its rows lie in one warp: it then needs no barrier, and the warp comes as a whole. Waits for the tensor cores
 * stand in front of the ops that need them, and stay outside.
 *
 * A vote and a branch cost more than a few operations: a run of ops of less than MIN_ELEMENTS elements a thread stays as
 * it is, unless what only feeds a larger one is in it. */
#include "passes/pass.h"

#include "ir/expr.h"
#include "passes/lower_rows.h"
#include "passes/parallel_access.h"

#include <string.h>

enum { MIN_ELEMENTS = 16, MAX_ACCESSES = 64 };

typedef struct candidate {
  ir_op *op;
  bool idle;
  bool inside; /* may stand in a where */
} candidate;

typedef struct search {
  ir_kernel *kernel;
  pass_env *env;
  ir_block *block;
  const ir_expr **known; /* by value number: what every element of the tile is where the mask is false */
  bool *by_mask;         /* by value number: known because the mask is false, not whatever it is */
  candidate *list;       /* ops between which the mask is not set */
  int count, capacity;
} search;

/* -- What may be left out at all ------------------------------------------------------------------------------------ */

static void find_memory(void *context, ir_op *op, ir_value *value, bool written) {
  (void)op, (void)written;
  *(bool *)context |=
      value->space != IR_TILE && value->space != IR_SCALAR && value->space != IR_INDEX && value->space != IR_SIZE;
}

/* Whether all that the op does is to set tiles from tiles, each warp alone. */
static bool is_pure(ir_op *op) {
  bool memory = false;
  ir_op_visit(op, true, find_memory, &memory);
  if (memory) return false;
  switch (op->kind) {
  case IR_OP_PARALLEL:
    for (const ir_op *set = op->body.first; set; set = set->next)
      if (set->kind != IR_OP_LET && (set->kind != IR_OP_SET || set->write[0].value->space != IR_TILE)) return false;
    return true;
  case IR_OP_REDUCE:
    return thread_reduces_in_warp(op);
  case IR_OP_FILL:
    return true;
  case IR_OP_COPY:
    return !op->write[0].count && !op->read[0].count &&
           tile_layout_equal(op->write[0].value->tile, op->read[0].value->tile);
  default:
    return false;
  }
}

/* -- What holds where the mask is false ---------------------------------------------------------------------------- */

static const ir_expr *assume(const search *s, const ir_expr *e) {
  if (e->kind == IR_EXPR_ELEMENT && s->known[e->value->number]) return s->known[e->value->number];
  if (!e->arg_count || e->kind == IR_EXPR_ELEMENT) return e;
  arena *memory = s->env->memory;
  ir_expr *node = ARENA_NEW(memory, ir_expr);
  *node = *e;
  const ir_expr **args = ARENA_ARRAY(memory, const ir_expr *, e->arg_count);
  for (int i = 0; i < e->arg_count; i++)
    args[i] = assume(s, e->args[i]);
  node->args = args;
  const ir_expr *simpler = ir_expr_fold(memory, node);
  return simpler ? simpler : node;
}

static bool is_constant(const ir_expr *e) {
  return e->kind == IR_EXPR_INT || e->kind == IR_EXPR_FLOAT || e->kind == IR_EXPR_BOOL;
}

/* Whether the assignment gives the element its own value, seen through a rounding to the type that it has already. */
static bool sets_itself(const ir_ref *to, const ir_expr *e) {
  while (e->kind == IR_EXPR_CAST && e->type == to->value->type)
    e = e->args[0];
  if (e->kind != IR_EXPR_ELEMENT || e->value != to->value || e->slot || e->arg_count != to->count) return false;
  for (int d = 0; d < to->count; d++)
    if (!ir_expr_equal(e->args[d], to->start[d])) return false;
  return true;
}

static bool follows_mask(const search *s, const ir_expr *e) {
  if (e->kind == IR_EXPR_ELEMENT && s->known[e->value->number] && s->by_mask[e->value->number]) return true;
  for (int i = 0; i < e->arg_count; i++)
    if (follows_mask(s, e->args[i])) return true;
  return false;
}

/* What is idle whatever the mask is (x = max(x, x)) may stand where the mask has no value yet: it does not count. */
static bool is_idle(const search *s, ir_op *op) {
  bool by_mask = false;
  if (op->kind != IR_OP_PARALLEL || !is_pure(op)) return false;
  for (const ir_op *set = op->body.first; set; set = set->next) {
    if (set->kind != IR_OP_SET) continue;
    if (!sets_itself(&set->write[0], assume(s, set->expr[0]))) return false;
    by_mask |= follows_mask(s, set->expr[0]);
  }
  return by_mask;
}

/* Whether the op gives all of the tile a new value, whatever it was. */
static bool overwrites(ir_op *op, ir_value *tile) {
  if (!ir_op_writes(op, tile) || ir_op_reads(op, tile)) return false;
  if (op->kind != IR_OP_PARALLEL) return !op->body.first && op->write[0].value == tile && !op->write[0].count;
  for (const ir_op *set = op->body.first; set; set = set->next) {
    if (set->kind != IR_OP_SET || set->write[0].value != tile) continue;
    parallel_access access = {.tile = tile, .written = true};
    access.regular = parallel_coordinates(op, tile, set->write[0].start, set->write[0].count, access.coordinate);
    if (parallel_access_is_full(op, &access)) return true;
  }
  return false;
}

static void forget(void *context, ir_op *op, ir_value *value, bool written) {
  (void)op;
  search *s = context;
  if (written) s->known[value->number] = NULL;
}

/* After the op. */
static void learn(search *s, ir_op *op) {
  const ir_op *set = op->body.first;
  const ir_expr *value = NULL;
  bool by_mask = false;
  if (op->kind == IR_OP_PARALLEL && set && !set->next && set->kind == IR_OP_SET && overwrites(op, set->write[0].value))
    value = assume(s, set->expr[0]), by_mask = follows_mask(s, set->expr[0]);
  ir_op_visit(op, true, forget, s);
  if (!value || !is_constant(value)) return;
  s->known[set->write[0].value->number] = value;
  s->by_mask[set->write[0].value->number] = by_mask;
}

/* -- What only feeds ----------------------------------------------------------------------------------------------- */

static bool names(ir_op *op, const ir_value *value) { return ir_op_reads(op, value) || ir_op_writes(op, value); }

/* Whether a value that the tile has when the block begins, or gets inside a loop or branch of the block, may be read
 * behind. `fresh`: the tile has been overwritten since. What stands in a where belongs to the block around it. */
static bool outlives(const ir_block *block, ir_value *tile, bool *fresh) {
  for (ir_op *op = block->first; op; op = op->next) {
    bool inner = false;
    if (!names(op, tile)) continue;
    if (op->kind == IR_OP_WHERE) {
      if (outlives(&op->body, tile, fresh)) return true;
    } else if (op->kind != IR_OP_PARALLEL && (op->body.first || op->other.first)) {
      if (outlives(&op->body, tile, &inner)) return true;
      inner = false;
      if (outlives(&op->other, tile, &inner)) return true;
      *fresh = false;
    } else if (overwrites(op, tile)) {
      *fresh = true;
    } else if (!*fresh) {
      return true;
    }
  }
  return false;
}

/* Whether no value of the tile goes from one block or iteration to another. */
static bool is_local(const ir_kernel *kernel, ir_value *tile) {
  bool fresh = false;
  return !outlives(&kernel->body, tile, &fresh);
}

static const candidate *candidate_of(const search *s, const ir_op *op) {
  for (int i = 0; i < s->count; i++)
    if (s->list[i].op == op) return &s->list[i];
  return NULL;
}

/* Whether what the op gives the tile is read only inside. */
static bool is_read_inside(const search *s, ir_op *op, ir_value *tile) {
  for (ir_op *later = op->next; later; later = later->next) {
    const candidate *c = candidate_of(s, later);
    bool inside = c && c->inside;
    if (ir_op_reads(later, tile) && !inside) return false;
    if (overwrites(later, tile) && !inside) return true;
  }
  return true;
}

typedef struct feeding {
  const search *s;
  ir_op *op;
  bool local_only; /* ask is_local, not is_read_inside */
  bool holds;
} feeding;

static void check_tile(void *context, ir_op *op, ir_value *value, bool written) {
  (void)op;
  feeding *f = context;
  if (!written || value->space != IR_TILE || !f->holds) return;
  f->holds = f->local_only ? is_local(f->s->kernel, value) : is_read_inside(f->s, f->op, value);
}

static bool feeds(const search *s, ir_op *op, bool local_only) {
  feeding f = {s, op, local_only, true};
  ir_op_visit(op, true, check_tile, &f);
  return f.holds;
}

/* -- Which ops go inside ------------------------------------------------------------------------------------------- */

static void settle(search *s) {
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < s->count; i++) {
      candidate *c = &s->list[i];
      if (!c->inside || c->idle || feeds(s, c->op, false)) continue;
      c->inside = false;
      changed = true;
    }
  }
}

/* Elements that a thread computes in the op. */
static int work(const ir_op *op) {
  int most = 0;
  if (op->kind == IR_OP_REDUCE || op->kind == IR_OP_COPY) return op->read[0].value->tile->reg_count;
  if (op->kind == IR_OP_FILL) return op->write[0].value->tile->reg_count;
  parallel_access accesses[MAX_ACCESSES];
  int count = parallel_accesses(op, accesses, MAX_ACCESSES);
  for (int i = 0; i < count; i++)
    if (accesses[i].written && accesses[i].tile->tile->reg_count > most) most = accesses[i].tile->tile->reg_count;
  return most;
}

/* The run of ops inside that begins at `first`: behind its last, and its work. */
static int run_end(const search *s, int first, int *elements) {
  int i = first;
  for (*elements = 0; i < s->count && s->list[i].inside; i++)
    *elements += work(s->list[i].op);
  return i;
}

/* Takes out the first run that is too small; false when there is none. What fed it is settled anew. */
static bool drop_small(search *s) {
  for (int i = 0, elements; i < s->count; i++) {
    if (!s->list[i].inside) continue;
    int end = run_end(s, i, &elements);
    if (elements < MIN_ELEMENTS) {
      while (i < end)
        s->list[i++].inside = false;
      return true;
    }
    i = end;
  }
  return false;
}

static void wrap(search *s, ir_value *mask) {
  for (int i = 0, elements; i < s->count; i++) {
    if (!s->list[i].inside) continue;
    int end = run_end(s, i, &elements);
    ir_op *where = ir_op_create(s->env->memory, IR_OP_WHERE, s->list[i].op->loc);
    ir_op_add_read(where, ir_ref_whole(mask));
    ir_block_insert_before(s->block, s->list[i].op, where);
    for (; i < end; i++) {
      ir_block_remove(s->block, s->list[i].op);
      ir_block_append(&where->body, s->list[i].op);
    }
  }
}

/* The ops from `first` up to `end`, between which the mask is not set. */
static void skip_for(search *s, ir_op *first, const ir_op *end, ir_value *mask) {
  memset(s->known, 0, sizeof *s->known * (size_t)s->kernel->value_count);
  s->known[mask->number] = ir_bool(s->env->memory, false);
  s->by_mask[mask->number] = true;
  s->count = 0;
  bool any_idle = false;
  for (ir_op *op = first; op != end; op = op->next) {
    candidate c = {.op = op, .idle = is_idle(s, op)};
    c.inside = c.idle || (is_pure(op) && feeds(s, op, true));
    any_idle |= c.idle;
    if (!c.idle) learn(s, op);
    ARENA_PUSH(s->env->scratch, s->list, s->count, s->capacity, c);
  }
  if (!any_idle) return;
  do
    settle(s);
  while (drop_small(s));
  wrap(s, mask);
}

static bool is_read_by_loop(const ir_block *block, const ir_value *mask) {
  for (ir_op *op = block->first; op; op = op->next)
    if (op->kind == IR_OP_PARALLEL && ir_op_reads(op, mask)) return true;
  return false;
}

static void skip_in_block(ir_kernel *kernel, pass_env *env, ir_block *block) {
  for (ir_op *op = block->first; op; op = op->next) {
    if (op->kind == IR_OP_WHERE || op->kind == IR_OP_PARALLEL) continue;
    skip_in_block(kernel, env, &op->body);
    skip_in_block(kernel, env, &op->other);
  }
  search s = {.kernel = kernel, .env = env, .block = block};
  s.known = ARENA_ARRAY(env->scratch, const ir_expr *, kernel->value_count);
  s.by_mask = ARENA_ARRAY(env->scratch, bool, kernel->value_count);
  for (int i = 0; i < kernel->value_count; i++) {
    ir_value *mask = kernel->values[i];
    if (mask->space != IR_TILE || mask->type != IR_PRED || !is_read_by_loop(block, mask)) continue;
    for (ir_op *first = block->first, *end; first; first = end ? end->next : NULL) {
      for (end = first; end && !ir_op_writes(end, mask);)
        end = end->next;
      skip_for(&s, first, end, mask);
    }
  }
}

bool skip_unselected(ir_kernel *kernel, pass_env *env) {
  skip_in_block(kernel, env, &kernel->body);
  return true;
}
