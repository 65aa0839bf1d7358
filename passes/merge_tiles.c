/* merge-tiles: let a tile that begins as a copy of one that is not needed any more be that tile.
 *
 *   before  %acc <- dot %As, %Bs                    after  %acc <- dot %As, %Bs
 *           %sum <- copy %acc                              parallel %i in 64, %j in 64 do
 *           parallel %i in 64, %j in 64 do                   %acc[%i, %j] <- %acc[%i, %j] + %b[%j]
 *             %sum[%i, %j] <- %sum[%i, %j] + %b[%j]        end
 *           end
 *
 * Two tiles of one shape and type cost registers twice, and the schedule would choose a smaller one for it. The copy
 * stands in the kernel's own block, outside all loops: there, what comes later in the text runs later. It must be of
 * the whole tile, the copied tile must not be named after it, and the copy not before. */
#include "passes/pass.h"

typedef struct search {
  const ir_value *value;
  bool found;
} search;

static void compare(void *context, ir_op *op, ir_value *value, bool written) {
  (void)op, (void)written;
  search *s = context;
  s->found |= value == s->value;
}

static bool names(const ir_op *first, const ir_op *end, const ir_value *value) {
  search s = {value, false};
  for (const ir_op *op = first; op && op != end && !s.found; op = op->next)
    ir_op_visit((ir_op *)op, true, compare, &s);
  return s.found;
}

static bool same_shape(const ir_value *a, const ir_value *b) {
  if (a->type != b->type || a->rank != b->rank) return false;
  for (int d = 0; d < a->rank; d++)
    if (ir_extent(a, d) != ir_extent(b, d)) return false;
  return true;
}

static bool is_mergeable(const ir_kernel *kernel, const ir_op *op) {
  if (op->kind != IR_OP_COPY) return false;
  const ir_ref *to = &op->write[0], *from = &op->read[0];
  if (to->count || from->count || to->value->space != IR_TILE || from->value->space != IR_TILE) return false;
  return to->value != from->value && same_shape(to->value, from->value) && !names(op->next, NULL, from->value) &&
         !names(kernel->body.first, op, to->value);
}

bool merge_tiles(ir_kernel *kernel, pass_env *env) {
  ir_block *body = &kernel->body;
  for (ir_op *op = body->first, *next; op; op = next) {
    next = op->next;
    if (!is_mergeable(kernel, op)) continue;
    ir_value **map = ARENA_ARRAY(env->scratch, ir_value *, kernel->value_count);
    map[op->write[0].value->number] = op->read[0].value;
    for (ir_op *later = next; later;) {
      ir_op *after = later->next, *renamed = ir_op_clone(env->memory, later, map);
      ir_block_insert_before(body, later, renamed);
      ir_block_remove(body, later);
      if (later == next) next = renamed;
      later = after;
    }
    ir_block_remove(body, op);
  }
  return true;
}
