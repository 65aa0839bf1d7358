/* keep-tiles: where loops over the same tiles run once, keep the tile that the first one loaded.
 *
 *   before  for %j in 0 .. ceildiv(%N, 8192) step 1 do   after  if ceildiv(%N, 8192) == 1 do
 *             %x <- copy %X[%i, %j * 8192]                        %x <- copy %X[%i, 0]
 *             %sum <- reduce %x                                   %sum <- reduce %x
 *           end                                                   ... %x ... %sum ...
 *           for %k in 0 .. ceildiv(%N, 8192) step 1 do            %Y[%i, 0] <- copy %x
 *             %x <- copy %X[%i, %k * 8192]                      else
 *             ... %x ... %sum ...                                 (as before)
 *             %Y[%i, %k * 8192] <- copy %x                      end
 *           end
 *
 * A kernel that goes over a row more than once, for a row of any length, reads it once where the row fits into a tile:
 * without its loops the second load finds in the tile what it would fetch. The test is on sizes, at run time, and is not
 * made where the count is known.
 *
 * What is still loaded there is loaded as soon as its tile is free, so that its latency lies under the first load's.
 *
 * The loops stand in the kernel's own block, count from 0 in ones to the same number, and have no dots: those overlap
 * their loads with work. A load goes when the one before it into the same tile was of the same region, and neither tile
 * nor tensor was written since. Without such a load nothing changes. */
#include "passes/pass.h"
#include "passes/region.h"
#include "passes/rename_ops.h"

static bool counts_tiles(const ir_op *op, const ir_expr *count) {
  int64_t lo, step;
  return op->kind == IR_OP_FOR && ir_is_constant(op->expr[0], &lo) && lo == 0 && ir_is_constant(op->expr[2], &step) &&
         step == 1 && (!count || ir_expr_equal(op->expr[1], count));
}

/* Whether the expression is the same wherever it stands in the kernel. */
static bool is_fixed(const ir_expr *e) {
  if (e->kind == IR_EXPR_ELEMENT || (e->kind == IR_EXPR_VALUE && e->value->is_mutable)) return false;
  for (int i = 0; i < e->arg_count; i++)
    if (!is_fixed(e->args[i])) return false;
  return true;
}

static bool is_no_dot(void *context, ir_block *block, ir_op *op) {
  (void)context, (void)block;
  return op->kind != IR_OP_DOT;
}

/* Whether [first, last] can stand in a branch, once as it is and once without its loops. */
static bool can_branch(ir_op *first, ir_op *last) {
  for (ir_op *op = first; op != last->next; op = op->next) {
    if (op->kind == IR_OP_DOT || !ir_walk(&op->body, is_no_dot, NULL) || !ir_walk(&op->other, is_no_dot, NULL))
      return false;
    for (ir_op *later = last->next; op->kind == IR_OP_LET && later; later = later->next)
      if (ir_op_reads(later, op->write[0].value)) return false;
  }
  return true;
}

/* [first, last] as it is when each of its loops over `count` tiles runs once. */
static ir_block run_once(ir_kernel *kernel, pass_env *env, const ir_op *first, const ir_op *last,
                         const ir_expr *count) {
  op_renaming r = rename_begin(kernel, env);
  ir_block block = {NULL, NULL};
  for (const ir_op *op = first; op != last->next; op = op->next) {
    bool loop = counts_tiles(op, count);
    if (loop) r.replace[op->write[0].value->number] = ir_int(env->memory, 0);
    for (const ir_op *child = loop ? op->body.first : op; child; child = loop ? child->next : NULL) {
      ir_op *copy = ir_op_clone(env->memory, child, NULL);
      rename_op(&r, copy);
      ir_block_append(&block, copy);
    }
  }
  return block;
}

/* -- Loads that find what they fetch ------------------------------------------------------------------------------- */

static bool same_region(const ir_ref *a, const ir_ref *b) {
  if (a->value != b->value || a->count != b->count || a->slot || b->slot) return false;
  for (int d = 0; d < a->count; d++)
    if (a->span[d] != b->span[d] || !ir_expr_equal(a->start[d], b->start[d])) return false;
  return true;
}

static bool same_load(const ir_op *a, const ir_op *b) {
  if (a->kind != IR_OP_COPY || a->expr_count != b->expr_count || a->write[0].value != b->write[0].value) return false;
  for (int i = 0; i < a->expr_count; i++)
    if (!ir_expr_equal(a->expr[i], b->expr[i])) return false;
  return !a->write[0].count && !b->write[0].count && same_region(&a->read[0], &b->read[0]);
}

/* A load into a tile, from a place that is the same throughout the kernel. */
static bool is_fixed_load(const ir_op *op) {
  if (op->kind != IR_OP_COPY || op->read[0].value->space != IR_GLOBAL || op->write[0].value->space != IR_TILE)
    return false;
  for (int d = 0; d < op->read[0].count; d++)
    if (!is_fixed(op->read[0].start[d])) return false;
  for (int i = 0; i < op->expr_count; i++)
    if (!is_fixed(op->expr[i])) return false;
  return true;
}

static bool is_alone(void *context, ir_block *block, ir_op *op) {
  (void)context, (void)block;
  return op->kind != IR_OP_ATOMIC && op->kind != IR_OP_WHILE;
}

/* Whether the load may fetch something else behind the op: what the kernel writes too, other blocks may have written
 * where they speak to each other. */
static bool changes(ir_op *op, const ir_op *load, const bool *exchanged) {
  const ir_value *tensor = load->read[0].value;
  if (ir_op_writes(op, load->write[0].value) || ir_op_writes(op, tensor)) return true;
  if (!exchanged[tensor->number]) return false;
  return !is_alone(NULL, NULL, op) || !ir_walk(&op->body, is_alone, NULL) || !ir_walk(&op->other, is_alone, NULL);
}

static bool is_kept(const ir_op *load, const bool *exchanged) {
  if (!is_fixed_load(load)) return false;
  for (ir_op *op = load->previous; op; op = op->previous) {
    if (same_load(op, load)) return true;
    if (changes(op, load, exchanged)) return false;
  }
  return false;
}

static int drop_loads(ir_block *block, const bool *exchanged) {
  int dropped = 0;
  for (ir_op *op = block->first, *next; op; op = next) {
    next = op->next;
    if (!is_kept(op, exchanged)) continue;
    ir_block_remove(block, op);
    dropped++;
  }
  return dropped;
}

static bool stands_before(ir_op *before, ir_op *load) {
  const ir_value *tile = load->write[0].value;
  return ir_op_reads(before, tile) || ir_op_writes(before, tile) ||
         (before->kind == IR_OP_LET && ir_op_reads(load, before->write[0].value));
}

/* Issues each load as early as its tile is free, behind the first load that it may follow at once: behind a reduction,
 * its latency would not lie under that of others. */
static void advance_loads(ir_block *block, const bool *exchanged) {
  for (ir_op *op = block->first, *next; op; op = next) {
    next = op->next;
    if (!is_fixed_load(op) || exchanged[op->read[0].value->number]) continue;
    ir_op *top = op, *behind_load = NULL;
    for (; top->previous && !stands_before(top->previous, op); top = top->previous)
      if (is_fixed_load(top->previous)) behind_load = top;
    if (behind_load) top = behind_load;
    if (top == op || !top->previous) continue; /* the first load waits for nothing */
    ir_block_remove(block, op);
    ir_block_insert_before(block, top, op);
  }
}

/* -- Rewriting ----------------------------------------------------------------------------------------------------- */

static void move_before(ir_block *from, ir_op *op, ir_block *to, ir_op *before) {
  ir_block_remove(from, op);
  ir_block_insert_before(to, before, op);
}

/* Rewrites the loops that count as `first` does; returns the op to go on from. */
static ir_op *keep_from(ir_kernel *kernel, pass_env *env, ir_op *first) {
  const ir_expr *count = first->expr[1];
  ir_block *body = &kernel->body;
  int64_t trips = 1;
  ir_op *last = first;
  for (ir_op *op = first->next; op; op = op->next)
    if (counts_tiles(op, count)) last = op;
  bool known = ir_is_constant(count, &trips);
  if (last == first || trips != 1 || !is_fixed(count) || !can_branch(first, last)) return first->next;

  ir_block once = run_once(kernel, env, first, last, count);
  const bool *exchanged = region_exchanged(env->scratch, kernel);
  int dropped = drop_loads(&once, exchanged);
  if (!dropped) return first->next;
  advance_loads(&once, exchanged);
  diag_remark(env->diagnostics, "keep-tiles", "keep", true, first->loc,
              "where this loop runs once, %d load%s of what a tile holds already %s left out", dropped,
              dropped == 1 ? "" : "s", dropped == 1 ? "is" : "are");
  ir_op *end = last->next, *anchor = ir_op_create(env->memory, IR_OP_IF, first->loc);
  ir_op_add_expr(env->memory, anchor, ir_binary(env->memory, IR_EXPR_EQ, count, ir_int(env->memory, 1)));
  ir_block_insert_before(body, first, anchor);
  for (ir_op *op = first, *next; op != end; op = next) {
    next = op->next;
    ir_block_remove(body, op);
    if (!known) ir_block_append(&anchor->other, op);
  }
  if (!known) {
    anchor->body = once;
    return end;
  }
  while (once.first)
    move_before(&once, once.first, body, anchor);
  ir_block_remove(body, anchor);
  return end;
}

bool keep_tiles(ir_kernel *kernel, pass_env *env) {
  for (ir_op *op = kernel->body.first; op;)
    op = counts_tiles(op, NULL) ? keep_from(kernel, env, op) : op->next;
  return true;
}
