/* Takes back the barriers that lowering put around its own scratch buffers where another barrier already does their
 * work.
 *
 * Every reduction or conversion through shared memory guards its scratch on both sides, since it cannot know what
 * stands around it. Once a role's body is complete it can be known: one after another, in program order, each of these
 * barriers is left out if no scratch buffer is then read after a write, or written after a read or write, without a
 * barrier in between, on any path and across the back edge of every loop. Other buffers do not count: place-barriers
 * has ordered them before. */
#include "passes/lower.h"

typedef struct scratch_state {
  bool read, written; /* since the last barrier */
} scratch_state;

typedef struct check {
  const ir_kernel *kernel;
  arena *scratch;
  int first; /* values from this number on are lowering's */
  int count;
  int threads;
  const ir_op *left_out;
  scratch_state *state;
  bool conflict;
} check;

static bool is_scratch(const check *c, const ir_value *value) {
  return value && value->space == IR_SHARED && value->number >= c->first;
}

static void touch(check *c, const ir_value *value, bool written) {
  scratch_state *s = &c->state[value->number - c->first];
  c->conflict |= s->written || (written && s->read);
  s->read |= !written;
  s->written |= written;
}

static bool is_meeting(const check *c, const ir_op *op) {
  if (op == c->left_out) return false;
  if (op->kind == IR_OP_BAR_SYNC) return ir_attr_get(&op->attrs, IR_ATTR_THREADS, 0) >= c->threads;
  return op->kind == IR_OP_CLUSTER_SYNC || (op->kind == IR_OP_WARP_SYNC && c->threads == 32);
}

static void join(check *c, scratch_state *into) {
  for (int i = 0; i < c->count; i++) {
    into[i].read |= c->state[i].read;
    into[i].written |= c->state[i].written;
  }
}

static scratch_state *copy_state(check *c, const scratch_state *state) {
  return arena_copy(c->scratch, state, sizeof *state * (size_t)(c->count ? c->count : 1));
}

static void walk(check *c, const ir_block *block) {
  for (const ir_op *op = block->first; op && !c->conflict; op = op->next) {
    if (is_meeting(c, op)) {
      for (int i = 0; i < c->count; i++)
        c->state[i] = (scratch_state){false, false};
    } else if (op->kind == IR_OP_FOR || op->kind == IR_OP_WHILE) {
      bool one_access = op->kind == IR_OP_FOR && op->write[0].value->number >= c->first; /* a loop over registers */
      scratch_state *entry = copy_state(c, c->state);
      walk(c, &op->body);
      join(c, entry);
      if (!one_access) {
        c->state = copy_state(c, entry);
        walk(c, &op->body);
        join(c, entry);
      }
      c->state = entry;
    } else if (op->kind == IR_OP_IF) {
      scratch_state *before = copy_state(c, c->state);
      walk(c, &op->body);
      scratch_state *after = c->state;
      c->state = before;
      walk(c, &op->other);
      join(c, after);
      c->state = after;
    } else {
      for (int i = 0; i < op->read_count; i++)
        if (is_scratch(c, op->read[i].value)) touch(c, op->read[i].value, false);
      for (int i = 0; i < op->write_count; i++)
        if (is_scratch(c, op->write[i].value)) touch(c, op->write[i].value, true);
    }
  }
}

static bool is_ordered(lower *l, const ir_block *body, const ir_op *left_out) {
  check c = {.kernel = l->kernel,
             .scratch = l->env->scratch,
             .first = l->tile_count,
             .count = l->kernel->value_count - l->tile_count,
             .threads = l->warp_count * 32,
             .left_out = left_out};
  c.state = ARENA_ARRAY(c.scratch, scratch_state, c.count);
  walk(&c, body);
  return !c.conflict;
}

void thread_thin_barriers(lower *l, const ir_block *body) {
  if (!l->meeting_count || !is_ordered(l, body, NULL)) return;
  for (int i = 0; i < l->meeting_count; i++)
    if (is_ordered(l, body, l->meetings[i].op)) ir_block_remove(l->meetings[i].block, l->meetings[i].op);
}
