/* pipeline-loops: overlap the copies of later iterations with the compute of this one, in a kernel of one role.
 *
 *   before  for %k in %lo .. %hi step 1 {stages = 3} do
 *             %As <- copy %A[%k] {engine = cpasync}
 *             %acc <- dot %As, %Bs
 *           end
 *
 *   after   if %lo < %hi do %As@0 <- copy %A[%lo] end
 *           cp.commit
 *           if %lo + 1 < %hi do %As@1 <- copy %A[%lo + 1] end
 *           cp.commit
 *           for %k in %lo .. %hi step 1 do
 *             cp.wait {pending = 1}
 *             bar.sync
 *             if %k + 2 < %hi do %As@%put <- copy %A[%k + 2] end
 *             cp.commit
 *             %acc <- dot %As@%get, %Bs@%get
 *             ...                                        (both positions advance)
 *           end
 *
 * The one barrier of an iteration does two things: what every thread copied for this iteration is visible to all, and
 * everybody has left the slot of the iteration before, which is the slot that is filled next. An empty commit keeps the
 * count of groups equal to the count of iterations, so the wait needs no special case near the end: when the loop ends,
 * every copy has been waited for. A loop that is entered again is followed by a barrier, since its first copies would
 * overtake the last readers.
 *
 * A direct load into registers (codes, see schedule) runs ahead too, by the iteration that its registers can hold: the first
 * one's stands behind the first copies, and the next one's behind the last op that needs the registers: the dot of what is
 * decoded from them, since ptxas would keep decoded rows of a whole iteration beside the new codes.
 *
 * Where a loop has no more iterations than slots, all of them are copied in front of it, and it copies nothing.
 *
 * A copy is hoisted when it is the only writer of its buffer, all readers follow it in the loop body, the loop does not
 * write its tensor, and its operands depend on the loop variable and on what is constant in the loop only. The others
 * stay where they are. Copies that differ from block to block go ahead of those that all blocks make alike, which find
 * their data in L2 and would keep the others from device memory. Kernels with a producer role are specialise-warps' business. */
#include "passes/pass.h"
#include "passes/variance.h"

enum { MAX_COPIES = 16 };

typedef struct ring {
  ir_op *copy[MAX_COPIES];
  int count;
  ir_op *load[MAX_COPIES]; /* into registers */
  int load_count;
  int stages;
} ring;

typedef struct usage {
  const ir_value *value;
  int writers, readers;
} usage;

static void count_visit(void *data, ir_op *op, ir_value *value, bool written) {
  usage *u = data;
  (void)op;
  if (value == u->value) *(written ? &u->writers : &u->readers) += 1;
}

static usage count_uses_in(ir_op *op, const ir_value *value) {
  usage u = {value, 0, 0};
  ir_op_visit(op, true, count_visit, &u);
  return u;
}

static usage count_uses(ir_op *first, const ir_value *value) {
  usage u = {value, 0, 0};
  for (ir_op *op = first; op; op = op->next)
    ir_op_visit(op, true, count_visit, &u);
  return u;
}

typedef struct dependence {
  const ir_op *loop;
  bool invariant;
} dependence;

static void dependence_visit(void *data, ir_op *op, ir_value *value, bool written) {
  dependence *d = data;
  (void)op;
  if (written || value == d->loop->write[0].value || value->space == IR_SIZE) return;
  if (value->space == IR_SCALAR && value->is_mutable) d->invariant = false;
  if (value->space == IR_TILE || value->space == IR_SHARED) d->invariant = false;
  for (ir_op *child = d->loop->body.first; child; child = child->next)
    if (ir_op_writes(child, value)) d->invariant = false;
}

static bool can_hoist(ir_kernel *kernel, ir_op *loop, ir_op *op) {
  ir_value *buffer = op->write[0].value;
  usage all = count_uses(kernel->body.first, buffer), after = count_uses(op->next, buffer);
  dependence d = {loop, true};
  ir_op_visit(op, false, dependence_visit, &d);
  return all.writers == 1 && all.readers == after.readers && after.readers > 0 && d.invariant;
}

static bool is_ring_copy(const ir_op *op) {
  return op->kind == IR_OP_COPY && ir_attr_get(&op->attrs, IR_ATTR_ENGINE, 0) == IR_ENGINE_CPASYNC;
}

static bool is_direct_load(const ir_op *op) {
  return op->kind == IR_OP_COPY && op->write[0].value->space == IR_TILE && ir_attr_get(&op->attrs, IR_ATTR_DIRECT, 0);
}

/* The copies and loads of the loop that can be hoisted, in the order in which they are issued. */
static ring ring_of(ir_kernel *kernel, pass_env *env, ir_op *loop, int stages) {
  const bool *varies = variance_by_block(env->scratch, kernel);
  ring r = {.stages = stages};
  for (int alike = 0; alike < 2; alike++)
    for (ir_op *op = loop->body.first; op && r.count < MAX_COPIES; op = op->next)
      if (is_ring_copy(op) && can_hoist(kernel, loop, op) && op_varies_by_block(op, varies) != alike)
        r.copy[r.count++] = op;
  for (ir_op *op = loop->body.first; op && r.load_count < MAX_COPIES; op = op->next)
    if (is_direct_load(op) && can_hoist(kernel, loop, op)) r.load[r.load_count++] = op;
  return r;
}

static ir_op *append(pass_env *env, ir_block *block, ir_op_kind kind, src_loc loc) {
  ir_op *op = ir_op_create(env->memory, kind, loc);
  ir_block_append(block, op);
  return op;
}

static void append_set(pass_env *env, ir_block *block, ir_value *value, const ir_expr *e) {
  ir_op *op = append(env, block, IR_OP_SET, (src_loc){0});
  ir_op_add_write(op, ir_ref_whole(value));
  ir_op_add_expr(env->memory, op, e);
}

static ir_value *declare(ir_kernel *kernel, pass_env *env, ir_block *block, const char *name, int64_t start) {
  ir_value *value = ir_value_create(env->memory, kernel, IR_SCALAR, IR_I32, name, (src_loc){0});
  value->is_mutable = true;
  ir_op *op = append(env, block, IR_OP_DECLARE, (src_loc){0});
  ir_op_add_write(op, ir_ref_whole(value));
  append_set(env, block, value, ir_int(env->memory, start));
  return value;
}

/* Iterations of the loop; -1 where they are not known. */
static int64_t iterations_of(const ir_op *loop) {
  int64_t lo, hi, step;
  if (!ir_is_constant(loop->expr[0], &lo) || !ir_is_constant(loop->expr[1], &hi) ||
      !ir_is_constant(loop->expr[2], &step) || step < 1)
    return -1;
  return hi > lo ? (hi - lo + step - 1) / step : 0;
}

/* The copies of the iteration where the loop variable is `at`, if that iteration exists. */
static ir_op *copies_at(ir_kernel *kernel, pass_env *env, ir_op *const *copies, int count, const ir_op *loop,
                        const ir_expr *at) {
  ir_op *guard = ir_op_create(env->memory, IR_OP_IF, loop->loc);
  ir_op_add_expr(env->memory, guard, ir_binary(env->memory, IR_EXPR_LT, at, loop->expr[1]));
  const ir_expr **replace = ARENA_ARRAY(env->scratch, const ir_expr *, kernel->value_count);
  replace[loop->write[0].value->number] = at;
  for (int i = 0; i < count; i++) {
    ir_op *copy = ir_op_clone(env->memory, copies[i], NULL);
    for (int j = 0; j < copy->read_count; j++)
      for (int d = 0; d < copy->read[j].count; d++)
        copy->read[j].start[d] = ir_substitute(env->memory, copy->read[j].start[d], replace, kernel->value_count);
    for (int j = 0; j < copy->expr_count; j++)
      copy->expr[j] = ir_substitute(env->memory, copy->expr[j], replace, kernel->value_count);
    ir_block_append(&guard->body, copy);
  }
  return guard;
}

/* The same into slot `slot` of the ring. */
static void append_copies(ir_kernel *kernel, pass_env *env, ir_block *block, const ring *r, const ir_op *loop,
                          const ir_expr *at, const ir_expr *slot) {
  ir_op *guard = copies_at(kernel, env, r->copy, r->count, loop, at);
  for (ir_op *copy = guard->body.first; copy; copy = copy->next)
    copy->write[0].slot = slot;
  ir_block_append(block, guard);
  append(env, block, IR_OP_CP_COMMIT, loop->loc);
}

static const ir_expr *next_iteration(pass_env *env, const ir_op *loop) {
  return ir_binary(env->memory, IR_EXPR_ADD, ir_read(env->memory, loop->write[0].value), loop->expr[2]);
}

/* The last op of the load's block that reads its registers, or what was decoded from them: until then both may be there. */
static ir_op *last_use_of(ir_op *load) {
  const ir_value *codes = load->write[0].value, *decoded = NULL;
  ir_op *last = load;
  for (ir_op *op = load->next; op; op = op->next) {
    if (!count_uses_in(op, codes).readers && !(decoded && count_uses_in(op, decoded).readers)) continue;
    last = op;
    if (op->kind == IR_OP_DECODE && op->read[0].value == codes) decoded = op->write[0].value;
  }
  return last;
}

/* Loads into registers: the first iteration's in front of the loop, behind the copies, the next one's as soon as nobody
 * needs the registers any more. */
static void roll_loads(ir_kernel *kernel, pass_env *env, ir_block *front, ir_op *loop, const ring *r, bool once) {
  if (r->load_count) ir_block_append(front, copies_at(kernel, env, r->load, r->load_count, loop, loop->expr[0]));
  for (int i = 0; i < r->load_count; i++) {
    if (!once)
      ir_block_insert_after(&loop->body, last_use_of(r->load[i]),
                            copies_at(kernel, env, r->load + i, 1, loop, next_iteration(env, loop)));
    ir_block_remove(&loop->body, r->load[i]);
  }
}

static void append_meeting(pass_env *env, const ir_kernel *kernel, ir_block *block, src_loc loc) {
  ir_op *meet = append(env, block, IR_OP_BAR_SYNC, loc);
  ir_attr_set(&meet->attrs, IR_ATTR_ID, 0);
  ir_attr_set(&meet->attrs, IR_ATTR_THREADS, ir_attr_get(&kernel->attrs, IR_ATTR_THREADS, 128));
}

static bool is_not_wgmma(void *context, ir_block *block, ir_op *op) {
  (void)context, (void)block;
  return op->kind != IR_OP_DOT || ir_attr_get(&op->attrs, IR_ATTR_INSTRUCTION, 0) != IR_INSTRUCTION_WGMMA;
}

/* cp.async writes as ordinary stores do: wgmma, which reads by the async proxy, sees it behind a fence. */
static void append_wait(pass_env *env, ir_kernel *kernel, ir_block *block, ir_block *rest, int pending, src_loc loc) {
  ir_attr_set(&append(env, block, IR_OP_CP_WAIT, loc)->attrs, IR_ATTR_PENDING, pending);
  if (!ir_walk(rest, is_not_wgmma, NULL)) append(env, block, IR_OP_FENCE_ASYNC, loc);
  append_meeting(env, kernel, block, loc);
}

static void append_advance(pass_env *env, ir_block *block, ir_value *position, int stages) {
  const ir_expr *next = ir_binary(env->memory, IR_EXPR_ADD, ir_read(env->memory, position), ir_int(env->memory, 1));
  append_set(env, block, position,
             ir_ternary(env->memory, IR_EXPR_SELECT,
                        ir_binary(env->memory, IR_EXPR_EQ, next, ir_int(env->memory, stages)), ir_int(env->memory, 0),
                        next));
}

typedef struct slot_change {
  pass_env *env;
  const ring *r;
  const ir_expr *slot;
} slot_change;

static bool in_ring(const ring *r, const ir_value *value) {
  for (int i = 0; i < r->count; i++)
    if (r->copy[i]->write[0].value == value) return true;
  return false;
}

static const ir_expr *slot_expr(void *data, const ir_expr *e) {
  slot_change *s = data;
  const ir_expr **args = ARENA_ARRAY(s->env->memory, const ir_expr *, e->arg_count);
  bool changed = e->kind == IR_EXPR_ELEMENT && in_ring(s->r, e->value);
  for (int i = 0; i < e->arg_count; i++) {
    args[i] = slot_expr(data, e->args[i]);
    changed |= args[i] != e->args[i];
  }
  if (!changed) return e;
  ir_expr *copy = arena_copy(s->env->memory, e, sizeof *e);
  copy->args = args;
  if (e->kind == IR_EXPR_ELEMENT && in_ring(s->r, e->value)) copy->slot = s->slot;
  return copy;
}

static void name_slots(slot_change *s, ir_op *op) {
  for (int i = 0; i < op->read_count; i++)
    if (op->read[i].value && in_ring(s->r, op->read[i].value)) op->read[i].slot = s->slot;
  ir_op_each_expr(op, slot_expr, s);
  for (ir_op *child = op->body.first; child; child = child->next)
    name_slots(s, child);
  for (ir_op *child = op->other.first; child; child = child->next)
    name_slots(s, child);
}

static void rewrite_loop(ir_kernel *kernel, pass_env *env, ir_block *block, ir_op *loop, ring *r, bool nested) {
  arena *memory = env->memory;
  ir_block front = {NULL, NULL};
  int64_t iterations = iterations_of(loop);
  bool whole = iterations > 0 && iterations <= r->stages;
  int slots = whole ? (int)iterations : r->stages, ahead = whole ? slots : slots - 1;
  for (int i = 0; i < r->count; i++)
    r->copy[i]->write[0].value->slots = slots;
  for (int s = 0; s < ahead; s++)
    append_copies(
        kernel, env, &front, r, loop,
        ir_binary(memory, IR_EXPR_ADD, loop->expr[0], ir_binary(memory, IR_EXPR_MUL, loop->expr[2], ir_int(memory, s))),
        ir_int(memory, s));
  roll_loads(kernel, env, &front, loop, r, iterations == 1);
  ir_value *get = declare(kernel, env, &front, "get", 0);
  ir_value *put = whole ? NULL : declare(kernel, env, &front, "put", ahead);
  while (front.first) {
    ir_op *op = front.first;
    ir_block_remove(&front, op);
    ir_block_insert_before(block, loop, op);
  }

  for (int i = 0; i < r->count; i++)
    ir_block_remove(&loop->body, r->copy[i]);
  ir_block rest = loop->body;
  loop->body = (ir_block){NULL, NULL};
  append_wait(env, kernel, &loop->body, &rest, ahead - 1, loop->loc);
  if (whole) {
    append(env, &loop->body, IR_OP_CP_COMMIT, loop->loc);
  } else {
    const ir_expr *at = ir_binary(memory, IR_EXPR_ADD, ir_read(memory, loop->write[0].value),
                                  ir_binary(memory, IR_EXPR_MUL, loop->expr[2], ir_int(memory, ahead)));
    append_copies(kernel, env, &loop->body, r, loop, at, ir_read(memory, put));
  }
  slot_change change = {env, r, ir_read(memory, get)};
  while (rest.first) {
    ir_op *op = rest.first;
    ir_block_remove(&rest, op);
    name_slots(&change, op);
    ir_block_append(&loop->body, op);
  }
  append_advance(env, &loop->body, get, slots);
  if (put) append_advance(env, &loop->body, put, slots);

  if (nested) { /* entered again: its first copies must not overtake the last readers */
    ir_block tail = {NULL, NULL};
    append_meeting(env, kernel, &tail, loop->loc);
    ir_op *op = tail.first;
    ir_block_remove(&tail, op);
    ir_block_insert_after(block, loop, op);
  }
}

static void pipeline_block(ir_kernel *kernel, pass_env *env, ir_block *block, bool nested) {
  ir_op *next;
  for (ir_op *op = block->first; op; op = next) {
    next = op->next;
    bool inside = nested || op->kind == IR_OP_FOR || op->kind == IR_OP_WHILE;
    pipeline_block(kernel, env, &op->body, inside);
    pipeline_block(kernel, env, &op->other, inside);
    int stages = op->kind == IR_OP_FOR ? (int)ir_attr_get(&op->attrs, IR_ATTR_STAGES, 1) : 1;
    if (stages < 2) continue;
    ring r = ring_of(kernel, env, op, stages);
    if (r.count)
      rewrite_loop(kernel, env, block, op, &r, nested);
    else
      diag_remark(env->diagnostics, "pipeline-loops", "stages", false, op->loc,
                  "no copy of this loop can run ahead, so stages = %d has no effect", stages);
  }
}

bool pipeline_loops(ir_kernel *kernel, pass_env *env) {
  if (!ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, 0)) pipeline_block(kernel, env, &kernel->body, false);
  return true;
}
