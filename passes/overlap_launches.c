/* overlap-launches: let a kernel start before the kernel ahead of it in the stream has ended.
 *
 *   before  role producer do                        after  grid.launch
 *             for %k in 0 .. %n step 1 do                  role producer do
 *               mbar.wait %As_empty@%put, ...                for %ahead in 0 .. 4 step 1 do
 *               mbar.expect %As_full@%put, bytes               if %ahead < %n do
 *               %As@%put <- copy %A[...], ...                    mbar.expect %As_full@%put, bytes
 *               %Ws@%put <- copy %W[...], ...                    %Ws@%put <- copy %W[... %ahead ...], ...
 *               ...            (%put advances)                   ...            (%put advances)
 *             end                                            ...                (%put goes back)
 *           end                                              grid.wait
 *           role consumer do                                 for %k in 0 .. %n step 1 do
 *             ...                                              if %k >= 4 do mbar.wait, mbar.expect, copy of %W end
 *             %C[...] <- copy %acc                             %As@%put <- copy %A[...], ...
 *           end                                                ...
 *                                                          role consumer do
 *                                                            grid.wait
 *                                                            ...
 *
 * For kernels with the attribute pdl, on targets that have it: its launches overlap the end of the kernel ahead. Then
 * 1. grid.launch stands first: blocks of the next kernel may take room as soon as all blocks of this one have started.
 *    (PTX ISA, griddepcontrol: it counts once a block; what the next kernel may read is grid.wait's affair.) Where loads into
 *    registers stand ahead of the wait (schedule, direct) it stands behind them: the next kernel's would come between.
 * 2. grid.wait stands in every flow of control in front of its first access to device memory, a store as well as a
 *    load: the kernel ahead may still be reading what is to be overwritten. Tensors in packed order are the exception
 *    (ir_is_prepared): they are complete before the launches that overlap. The wait of one flow does not order another.
 * 3. A loop of the producer that fills a ring from such tensors and from others begins by filling the ring from such
 *    tensors alone, and waits then: the copies of a slot complete on one barrier, in any order. In the loops around it
 *    only the first iteration does so; the wait, which is free when there is nothing to wait for, stands in all.
 * 4. What a loop's prologue copies with cp.async, or loads into registers (pipeline-loops), is parted in the same way.
 * 5. Every launch waits, even where it has nothing to do: the launch behind takes the end of this one for the end of
 *    all those ahead.
 *
 * Nothing changes where a wait stands already. */
#include "passes/pass.h"

enum { MAX_NESTING = 8, MAX_SCALARS = 16 };

typedef struct state {
  ir_kernel *kernel;
  pass_env *env;
  arena *memory;
  bool waits; /* a wait was placed that every block passes */
} state;

static ir_op *new_wait(state *s, src_loc loc) { return ir_op_create(s->memory, IR_OP_GRID_WAIT, loc); }

static void insert_set(state *s, ir_block *block, ir_op *before, ir_value *value, ir_op_kind kind, const ir_expr *e) {
  ir_op *op = ir_op_create(s->memory, kind, before->loc);
  ir_op_add_write(op, ir_ref_whole(value));
  ir_op_add_expr(s->memory, op, e);
  ir_block_insert_before(block, before, op);
}

static void move_before(ir_block *from, ir_op *op, ir_block *to, ir_op *before) {
  ir_block_remove(from, op);
  ir_block_insert_before(to, before, op);
}

/* -- Rings of a producer ------------------------------------------------------------------------------------------- */

/* The loops around a loop of the producer, outermost first, and the ops of its body by what is done ahead. */
typedef struct plan {
  ir_block *block; /* that holds the loop */
  ir_op *loop;
  ir_op *around[MAX_NESTING];
  ir_block *around_block[MAX_NESTING];
  int depth;
  int slots;                    /* that are filled ahead */
  ir_value *moved[MAX_SCALARS]; /* ring positions and phases that filling ahead advances */
  int moved_count;
} plan;

typedef struct count {
  const ir_value *value;
  int expects;
} count;

static bool count_expects(void *data, ir_block *block, ir_op *op) {
  count *c = data;
  (void)block;
  c->expects += op->kind == IR_OP_MBAR_EXPECT && op->read[0].value == c->value;
  return true;
}

static bool is_fill(const ir_op *op, const ir_value *full) {
  return op->kind == IR_OP_COPY && op->write[0].value->space == IR_SHARED && op->read_count == 2 &&
         op->read[1].value == full;
}

static bool add_moved(plan *p, const ir_op *set) {
  if (set->kind != IR_OP_SET || set->write[0].value->space != IR_SCALAR) return false;
  for (int i = 0; i < p->moved_count; i++)
    if (p->moved[i] == set->write[0].value) return true;
  if (p->moved_count == MAX_SCALARS) return false;
  p->moved[p->moved_count++] = set->write[0].value;
  return true;
}

/* A set of a ring's position, or the if around those of its end. */
static bool advances(plan *p, ir_op *op, bool ahead) {
  plan ignored = *p;
  plan *to = ahead ? p : &ignored;
  if (op->kind == IR_OP_SET) return !ir_op_reads(op, p->loop->write[0].value) && add_moved(to, op);
  if (op->kind != IR_OP_IF || op->other.first || ir_op_reads(op, p->loop->write[0].value)) return false;
  for (ir_op *child = op->body.first; child; child = child->next)
    if (!add_moved(to, child)) return false;
  return true;
}

/* One fill of a ring: mbar.wait, mbar.expect, copies, and the position's advance. Its first op gives the op behind it;
 * NULL when something else stands there. *ahead: one of the copies is of a prepared tensor. */
static ir_op *read_fill(state *s, plan *p, ir_op *op, bool *ahead) {
  *ahead = false;
  if (op->kind != IR_OP_MBAR_WAIT || !op->next || op->next->kind != IR_OP_MBAR_EXPECT) return NULL;
  op = op->next;
  ir_value *full = op->read[0].value;
  count c = {full, 0};
  ir_walk(&s->kernel->body, count_expects, &c);
  for (op = op->next; op && is_fill(op, full); op = op->next)
    *ahead |= !ir_awaited_tensor(op, false);
  *ahead &= c.expects == 1; /* else its slots may be taken, and what frees them may need what comes behind the wait */
  if (*ahead && full->slots < p->slots) p->slots = full->slots;
  for (; op && op->kind != IR_OP_MBAR_WAIT; op = op->next)
    if (!advances(p, op, *ahead)) return NULL;
  return op ? op : p->loop;
}

/* Whether the expression is the same wherever it is in scope. */
static bool is_steady(const ir_expr *e) {
  if (e->kind == IR_EXPR_ELEMENT || (e->kind == IR_EXPR_VALUE && e->value->is_mutable)) return false;
  for (int i = 0; i < e->arg_count; i++)
    if (!is_steady(e->args[i])) return false;
  return true;
}

static bool plan_loop(state *s, plan *p) {
  enum { MOST_SLOTS = 1 << 16 };
  bool any = false;
  p->slots = MOST_SLOTS;
  p->moved_count = 0;
  ir_op *op = p->loop->body.first;
  while (op && op != p->loop) {
    bool ahead;
    op = read_fill(s, p, op, &ahead);
    any |= ahead;
  }
  return op && any;
}

static const ir_expr *first_time(state *s, const plan *p) {
  const ir_expr *first = ir_bool(s->memory, true);
  for (int i = 0; i < p->depth; i++)
    first = ir_binary(
        s->memory, IR_EXPR_AND, first,
        ir_binary(s->memory, IR_EXPR_EQ, ir_read(s->memory, p->around[i]->write[0].value), p->around[i]->expr[0]));
  return first;
}

/* A copy of the op for the iteration `at` of the loop. */
static ir_op *op_at(state *s, const ir_op *op, const ir_expr *const *replace, int values) {
  ir_op *clone = ir_op_clone(s->memory, op, NULL);
  for (int i = 0; i < clone->read_count; i++)
    for (int d = 0; d < clone->read[i].count; d++)
      clone->read[i].start[d] = ir_substitute(s->memory, clone->read[i].start[d], replace, values);
  for (int i = 0; i < clone->expr_count; i++)
    clone->expr[i] = ir_substitute(s->memory, clone->expr[i], replace, values);
  return clone;
}

/* The loop that fills the rings, not yet in the kernel. Nothing has filled a slot before, so that all are free. */
static ir_op *make_fill(state *s, const plan *p, const ir_expr *first) {
  arena *memory = s->memory;
  ir_op *loop = p->loop;
  ir_value *index = ir_value_create(memory, s->kernel, IR_INDEX, IR_I32, "ahead", loop->loc);
  ir_op *fill = ir_op_create(memory, IR_OP_FOR, loop->loc), *guard = ir_op_create(memory, IR_OP_IF, loop->loc);
  ir_op_add_write(fill, ir_ref_whole(index));
  ir_op_add_expr(memory, fill, ir_int(memory, 0));
  ir_op_add_expr(memory, fill, ir_int(memory, p->slots));
  ir_op_add_expr(memory, fill, ir_int(memory, 1));
  const ir_expr *at = ir_binary(memory, IR_EXPR_ADD, loop->expr[0],
                                ir_binary(memory, IR_EXPR_MUL, ir_read(memory, index), loop->expr[2]));
  ir_op_add_expr(memory, guard,
                 ir_binary(memory, IR_EXPR_AND, first, ir_binary(memory, IR_EXPR_LT, at, loop->expr[1])));
  ir_block_append(&fill->body, guard);
  int values = s->kernel->value_count;
  const ir_expr **replace = ARENA_ARRAY(s->env->scratch, const ir_expr *, values);
  replace[loop->write[0].value->number] = at;
  for (ir_op *op = loop->body.first, *end; op; op = end) {
    bool ahead;
    plan unchanged = *p;
    end = read_fill(s, &unchanged, op, &ahead);
    if (end == loop) end = NULL;
    for (; op != end; op = op->next)
      if (ahead && op->kind != IR_OP_MBAR_WAIT && !(op->kind == IR_OP_COPY && ir_awaited_tensor(op, false)))
        ir_block_append(&guard->body, op_at(s, op, replace, values));
  }
  return fill;
}

/* In the loop itself, what was done ahead is left out of the first iterations. */
static void guard_fills(state *s, plan *p, const ir_expr *first) {
  arena *memory = s->memory;
  ir_op *loop = p->loop;
  const ir_expr *behind = ir_binary(memory, IR_EXPR_ADD, loop->expr[0],
                                    ir_binary(memory, IR_EXPR_MUL, ir_int(memory, p->slots), loop->expr[2]));
  const ir_expr *again = ir_binary(memory, IR_EXPR_OR, ir_unary(memory, IR_EXPR_NOT, first),
                                   ir_binary(memory, IR_EXPR_GE, ir_read(memory, loop->write[0].value), behind));
  for (ir_op *op = loop->body.first, *end; op; op = end) {
    bool ahead;
    plan unchanged = *p;
    end = read_fill(s, &unchanged, op, &ahead);
    if (end == loop) end = NULL;
    const ir_value *full = op->next->read[0].value;
    ir_op *guard = ir_op_create(memory, IR_OP_IF, op->loc);
    ir_op_add_expr(memory, guard, again);
    if (ahead) ir_block_insert_before(&loop->body, op, guard);
    for (ir_op *next; ahead && op != end; op = next) {
      next = op->next;
      if (op->kind != IR_OP_MBAR_WAIT && op->kind != IR_OP_MBAR_EXPECT &&
          (!is_fill(op, full) || ir_awaited_tensor(op, false)))
        continue;
      ir_block_remove(&loop->body, op);
      ir_block_append(&guard->body, op);
    }
  }
}

static bool needs_wait(ir_op *first) {
  for (ir_op *op = first; op; op = op->next)
    if (ir_awaited_tensor(op, true)) return true;
  return false;
}

/* Rule 3, for the first op of the block that needs the wait: it is such a loop, or a loop with one inside. */
static bool fill_rings_ahead(state *s, plan *p, ir_block *block, ir_op *op) {
  if (op->kind != IR_OP_FOR) return false;
  for (int i = 0; i < op->expr_count; i++)
    if (!is_steady(op->expr[i])) return false;
  p->block = block;
  p->loop = op;
  if (plan_loop(s, p)) {
    const ir_expr *first = first_time(s, p);
    if (p->depth) {
      ir_value *flag = ir_value_create(s->memory, s->kernel, IR_SCALAR, IR_PRED, "first", (src_loc){0});
      insert_set(s, block, op, flag, IR_OP_LET, first);
      first = ir_read(s->memory, flag);
    }
    ir_op *fill = make_fill(s, p, first);
    guard_fills(s, p, first);
    ir_value *kept[MAX_SCALARS];
    for (int i = 0; i < p->moved_count; i++) {
      const char *name = arena_printf(s->memory, "%s_kept", p->moved[i]->name);
      kept[i] = ir_value_create(s->memory, s->kernel, IR_SCALAR, p->moved[i]->type, name, (src_loc){0});
      insert_set(s, block, op, kept[i], IR_OP_LET, ir_read(s->memory, p->moved[i]));
    }
    ir_block_insert_before(block, op, fill);
    for (int i = 0; i < p->moved_count; i++)
      insert_set(s, block, op, p->moved[i], IR_OP_SET, ir_read(s->memory, kept[i]));
    ir_block_insert_before(block, op, new_wait(s, op->loc));
    s->waits |= !p->depth;
    for (int i = 0; i < p->depth; i++) /* a loop may have no iteration, and no wait then */
      if (needs_wait(p->around[i]->next))
        ir_block_insert_after(p->around_block[i], p->around[i], new_wait(s, p->around[i]->loc));
    return true;
  }
  if (p->depth == MAX_NESTING) return false;
  p->around_block[p->depth] = block;
  p->around[p->depth++] = op;
  ir_op *inner = op->body.first;
  while (inner && !ir_awaited_tensor(inner, true))
    inner = inner->next;
  return inner && fill_rings_ahead(s, p, &op->body, inner);
}

/* -- Prologues of pipelined loops ---------------------------------------------------------------------------------- */

static bool is_direct_load(const ir_op *op) {
  return op->kind == IR_OP_COPY && op->write[0].value->space == IR_TILE && ir_attr_get(&op->attrs, IR_ATTR_DIRECT, 0);
}

static bool is_prologue_copy(const ir_op *op) {
  if (is_direct_load(op)) return true;
  return op->kind == IR_OP_COPY && ir_attr_get(&op->attrs, IR_ATTR_ENGINE, 0) == IR_ENGINE_CPASYNC &&
         op->write[0].value->space == IR_SHARED;
}

static bool is_prologue(ir_op *op) {
  if (op->kind == IR_OP_CP_COMMIT || is_prologue_copy(op)) return true;
  if (op->kind != IR_OP_IF || op->other.first || ir_awaited_tensor(op, false)) return false;
  for (ir_op *child = op->body.first; child; child = child->next)
    if (!is_prologue_copy(child)) return false;
  return true;
}

/* Whether one of the ops from `first` to `last`, or inside them, fills the buffer from a tensor that is not prepared. */
static bool is_filled_late(ir_op *first, const ir_op *last, const ir_value *buffer) {
  for (ir_op *op = first; op != last; op = op->next) {
    if (op->kind == IR_OP_COPY && op->write[0].value == buffer && ir_awaited_tensor(op, false)) return true;
    if (is_filled_late(op->body.first, NULL, buffer)) return true;
  }
  return false;
}

/* Rule 4: in front of `wait`, the copies of prepared tensors among the ops from there to `last`. The groups that they
 * are committed in become older ones, so that every later wait for them holds. */
static void copy_ahead(state *s, ir_block *block, ir_op *wait, const ir_op *last) {
  for (ir_op *op = wait->next, *next; op != last; op = next) {
    next = op->next;
    if (op->kind == IR_OP_COPY && !ir_awaited_tensor(op, false) &&
        !is_filled_late(wait->next, last, op->write[0].value))
      move_before(block, op, block, wait);
    if (op->kind != IR_OP_IF) continue;
    ir_op *early = ir_op_create(s->memory, IR_OP_IF, op->loc);
    ir_op_add_expr(s->memory, early, op->expr[0]);
    for (ir_op *copy = op->body.first, *after; copy; copy = after) {
      after = copy->next;
      if (ir_awaited_tensor(copy, false) || is_filled_late(wait->next, last, copy->write[0].value)) continue;
      ir_block_remove(&op->body, copy);
      ir_block_append(&early->body, copy);
    }
    if (early->body.first) ir_block_insert_before(block, wait, early);
    if (!op->body.first) ir_block_remove(block, op);
  }
}

/* -- Flows of control ---------------------------------------------------------------------------------------------- */

static void place_in_flow(state *s, ir_block *block) {
  for (ir_op *op = block->first; op; op = op->next) {
    if (op->kind == IR_OP_ROLE) {
      place_in_flow(s, &op->body);
      continue;
    }
    if (!ir_awaited_tensor(op, true)) continue;
    plan p = {.depth = 0};
    if (fill_rings_ahead(s, &p, block, op)) return;
    s->waits = true;
    ir_op *wait = new_wait(s, op->loc), *last = op;
    ir_block_insert_before(block, op, wait);
    while (last && is_prologue(last))
      last = last->next;
    copy_ahead(s, block, wait, last);
    return;
  }
}

static bool is_no_grid_op(void *data, ir_block *block, ir_op *op) {
  (void)data, (void)block;
  return op->kind != IR_OP_GRID_WAIT && op->kind != IR_OP_GRID_LAUNCH;
}

/* Rule 1. */
static void place_launch(state *s) {
  ir_block *body = &s->kernel->body;
  ir_op *launch = ir_op_create(s->memory, IR_OP_GRID_LAUNCH, s->kernel->loc), *load = body->first;
  while (load && load->kind != IR_OP_GRID_WAIT &&
         !(load->kind == IR_OP_IF ? load->body.first && is_direct_load(load->body.first) : is_direct_load(load)))
    load = load->next;
  if (load && load->kind != IR_OP_GRID_WAIT)
    ir_block_insert_after(body, load, launch);
  else
    ir_block_insert_before(body, body->first, launch);
}

bool overlap_launches(ir_kernel *kernel, pass_env *env) {
  if (!ir_attr_get(&kernel->attrs, IR_ATTR_PDL, 0)) return true;
  const ir_target_info *target = ir_target_of(kernel->target);
  if (!target->has_tma) {
    ir_attr_clear(&kernel->attrs, IR_ATTR_PDL);
    return diag_remark(env->diagnostics, "overlap-launches", "pdl", false, kernel->loc,
                       "%s starts when the kernel ahead of it has ended: %s cannot overlap launches", kernel->name,
                       target->name);
  }
  if (!kernel->body.first || !ir_walk(&kernel->body, is_no_grid_op, NULL)) return true;
  state s = {.kernel = kernel, .env = env, .memory = env->memory};
  place_in_flow(&s, &kernel->body);
  if (!s.waits) ir_block_append(&kernel->body, new_wait(&s, kernel->loc));
  place_launch(&s);
  return true;
}
