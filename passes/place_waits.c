/* place-waits: let tensor-core work run while the program goes on, and wait for it as late as its results allow.
 *
 *   before  %s <- dot %Qs, %Ks                     after  %s <- dot %Qs, %Ks {async = 1}
 *           %l <- reduce %p {operation = sum}             dot.commit
 *           %m <- reduce %s {operation = max}             %l <- reduce %p {operation = sum}
 *                                                         dot.wait {pending = 0}
 *                                                         %m <- reduce %s {operation = max}
 *
 * Only dots of the wgmma instruction are asynchronous, and those not that promote sums: they wait for each part
 * themselves. A dot must have finished before an op that
 *   - reads or writes its accumulator (another dot into the same accumulator may follow without a wait: the tensor core
 *     keeps their order),
 *   - writes a tile or buffer that it reads as an operand,
 *   - tells the producer that a buffer it reads is free (mbar.arrive), or is a barrier after which others may overwrite
 *     its operands,
 *   - enters or leaves a loop or branch that could do any of these.
 * The wait names how many younger groups may stay in flight, so two dots on different accumulators overlap. Dots that
 * are waited for together are one group. */
#include "passes/pass.h"
#include "passes/rings.h"
#include "passes/tensor_core.h"

enum { MAX_PENDING = 8 };

typedef struct state {
  pass_env *env;
  rings rings;
  ir_op *dot[MAX_PENDING];    /* the dots in flight, oldest first; each is its own group */
  ir_op *commit[MAX_PENDING]; /* what closes its group */
  bool counted[MAX_PENDING];  /* an earlier wait counts this group */
  int count;
} state;

static bool is_asynchronous(const ir_op *op) {
  return op->kind == IR_OP_DOT && !ir_attr_has(&op->attrs, IR_ATTR_ASYNC) && dot_runs_on(op);
}

static bool conflicts(const state *s, ir_op *op, ir_op *dot) {
  ir_value *accumulator = dot->write[0].value;
  if (op->kind == IR_OP_MBAR_ARRIVE) {
    bool frees = false;
    for (int i = 0; i < dot->read_count; i++)
      frees |= dot->read[i].value && s->rings.freed_by[dot->read[i].value->number] == op->read[0].value;
    return frees;
  }
  if (op->kind == IR_OP_BAR_SYNC || op->kind == IR_OP_CLUSTER_SYNC || op->kind == IR_OP_ROLE) return true;
  if (is_asynchronous(op) && op->write[0].value == accumulator && op->read[0].value != accumulator &&
      op->read[1].value != accumulator)
    return false;
  if (ir_op_reads(op, accumulator) || ir_op_writes(op, accumulator)) return true;
  for (int i = 0; i < dot->read_count; i++)
    if (dot->read[i].value && ir_op_writes(op, dot->read[i].value)) return true;
  return false;
}

static bool has_dot_inside(ir_op *op) {
  for (ir_op *child = op->body.first; child; child = child->next)
    if (is_asynchronous(child) || has_dot_inside(child)) return true;
  for (ir_op *child = op->other.first; child; child = child->next)
    if (is_asynchronous(child) || has_dot_inside(child)) return true;
  return false;
}

static void append_wait(state *s, ir_block *block, ir_op *before, int pending, src_loc loc) {
  ir_op *wait = ir_op_create(s->env->memory, IR_OP_DOT_WAIT, loc);
  ir_attr_set(&wait->attrs, IR_ATTR_PENDING, pending);
  if (before)
    ir_block_insert_before(block, before, wait);
  else
    ir_block_append(block, wait);
}

/* Waits for the `finished` oldest groups in front of `before` (NULL: at the end). */
static void retire(state *s, ir_block *block, ir_op *before, int finished) {
  if (!finished) return;
  append_wait(s, block, before, s->count - finished, before ? before->loc : s->dot[finished - 1]->loc);
  for (int i = 0; i < finished - 1; i++) /* what is waited for together is one group */
    if (!s->counted[i]) ir_block_remove(block, s->commit[i]);
  for (int i = finished; i < s->count; i++) {
    s->dot[i - finished] = s->dot[i];
    s->commit[i - finished] = s->commit[i];
    s->counted[i - finished] = true;
  }
  s->count -= finished;
}

static void place_in_block(state *s, ir_block *block) {
  ir_op *next;
  for (ir_op *op = block->first; op; op = next) {
    next = op->next;
    int finished = 0;
    for (int i = 0; i < s->count; i++)
      if (conflicts(s, op, s->dot[i])) finished = i + 1;
    if ((op->body.first || op->other.first) && has_dot_inside(op)) finished = s->count;
    if (s->count == MAX_PENDING && is_asynchronous(op)) finished = s->count;
    retire(s, block, op, finished);
    if (op->body.first || op->other.first) {
      if (!has_dot_inside(op)) continue;
      place_in_block(s, &op->body);
      retire(s, &op->body, NULL, s->count);
      place_in_block(s, &op->other);
      retire(s, &op->other, NULL, s->count);
    } else if (is_asynchronous(op)) {
      ir_op *commit = ir_op_create(s->env->memory, IR_OP_DOT_COMMIT, op->loc);
      ir_block_insert_after(block, op, commit);
      s->dot[s->count] = op;
      s->commit[s->count] = commit;
      s->counted[s->count++] = false;
      next = commit->next;
    }
  }
}

static bool mark(void *data, ir_block *block, ir_op *op) {
  (void)data;
  (void)block;
  if (is_asynchronous(op)) ir_attr_set(&op->attrs, IR_ATTR_ASYNC, 1);
  return true;
}

bool place_waits(ir_kernel *kernel, pass_env *env) {
  state s = {.env = env, .rings = rings_find(env->scratch, kernel)};
  place_in_block(&s, &kernel->body);
  retire(&s, &kernel->body, NULL, s.count);
  ir_walk(&kernel->body, mark, NULL);
  return true;
}
