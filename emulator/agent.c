/* Control flow of one agent, and the turns that agents take.
 *
 * A turn runs an agent until it blocks or has used its quantum. When a whole round moves nobody, asynchronous copies
 * complete early; when there are none either, every waiter is reported as part of a deadlock. */
#include "emulator/machine.h"

#include <string.h>

enum { QUANTUM = 64 };

static cell *scalar_of(agent *a, const ir_value *value) { return a->scalars + (size_t)value->number * LANES; }

static void begin_for(machine *m, agent *a, const instruction *in) {
  frame *f = &a->frames[in->frame];
  cell *variable = scalar_of(a, in->write[0].value);
  evaluate(m, a, in->expr[0], variable);
  evaluate(m, a, in->expr[1], f->limit);
  evaluate(m, a, in->expr[2], f->step);
  f->mask = a->mask;
}

/* Lanes in which the variable is still below the limit go on with the body. */
static bool continue_for(machine *m, agent *a, const instruction *in, uint32_t among) {
  frame *f = &a->frames[in->frame];
  const ir_value *value = in->op->write[0].value;
  const cell *variable = scalar_of(a, value);
  uint32_t active = 0;
  if (!m->code.varying[value->number])
    active = variable[0].i < f->limit[0].i ? among : 0;
  else
    for (int l = 0; l < LANES; l++)
      active |= (uint32_t)(variable[l].i < f->limit[l].i) << l & among;
  a->mask = active ? active : f->mask;
  return active != 0;
}

static void step_for(agent *a, const instruction *in) {
  frame *f = &a->frames[in->frame];
  cell *variable = scalar_of(a, in->op->write[0].value);
  for (int l = 0; l < LANES; l++)
    variable[l].i += f->step[l].i;
}

/* The next 32 coordinates, in row-major order. */
static bool continue_parallel(agent *a, const instruction *in) {
  frame *f = &a->frames[in->frame];
  const ir_op *op = in->op;
  if (f->position >= f->total) {
    a->mask = f->mask;
    return false;
  }
  int64_t left = f->total - f->position;
  a->mask = left >= LANES ? ~0u : (1u << left) - 1;
  for (int l = 0; l < LANES; l++) {
    int64_t rest = f->position + l;
    for (int d = op->variable_count - 1; d >= 0; d--) {
      scalar_of(a, op->variable[d])[l].i = rest % f->extent[d];
      rest /= f->extent[d];
    }
  }
  f->position += LANES;
  return true;
}

static void begin_parallel(machine *m, agent *a, const instruction *in) {
  frame *f = &a->frames[in->frame];
  f->mask = a->mask;
  f->position = 0;
  f->total = 1;
  for (int d = 0; d < in->op->variable_count; d++) {
    int64_t extent = evaluate_uniform(m, a, in->expr[d]).i;
    f->extent[d] = extent > 0 ? extent : 0;
    f->total *= f->extent[d];
  }
}

static void begin_if(agent *a, const instruction *in, uint32_t holds) {
  frame *f = &a->frames[in->frame];
  f->mask = a->mask;
  f->other = a->mask & ~holds;
  a->mask = holds ? holds : f->other;
  a->pc = holds ? a->pc + 1 : in->target;
}

/* The role becomes an agent of its own; the main flow goes on to its siblings. */
static void fork_role(machine *m, agent *a, const instruction *in) {
  agent *child = &a->block->agents[in->child];
  int values = m->kernel->value_count;
  child->pc = a->pc + 1;
  child->mask = 1;
  child->state = AGENT_READY;
  child->role = in->op->name;
  child->first_warp = (int)ir_attr_get(&in->op->attrs, IR_ATTR_WARP_FIRST, 0);
  child->warp_count = (int)ir_attr_get(&in->op->attrs, IR_ATTR_WARP_COUNT, 1);
  memcpy(child->scalars, a->scalars, sizeof(cell) * LANES * (size_t)values);
  memcpy(child->scalar_initialised, a->scalar_initialised, sizeof(uint32_t) * (size_t)values);
  child->grid_waited = a->grid_waited;
  lanes_release(a, child->clock, child->async_clock);
  clock_advance(a);
}

static bool join_roles(agent *a) {
  block *b = a->block;
  for (int i = 1; i < b->agent_count; i++)
    if (b->agents[i].state != AGENT_DONE && b->agents[i].state != AGENT_IDLE) return false;
  for (int i = 1; i < b->agent_count; i++)
    lanes_release(&b->agents[i], a->clock, a->async_clock);
  return true;
}

static bool runs_role(const machine *m, const agent *a, const ir_op *op) {
  int64_t first = ir_attr_get(&op->attrs, IR_ATTR_WARP_FIRST, 0);
  return a->number >= first && a->number < first + ir_attr_get(&op->attrs, IR_ATTR_WARP_COUNT, m->warp_count);
}

static outcome execute_op(machine *m, agent *a, const instruction *in) {
  switch (in->op->kind) {
  case IR_OP_LET:
  case IR_OP_SET:
  case IR_OP_ATOMIC:
  case IR_OP_DECLARE:
    return execute_scalar(m, a, in);
  case IR_OP_DOT:
  case IR_OP_DOT_COMMIT:
  case IR_OP_DOT_WAIT:
    return execute_dot(m, a, in);
  case IR_OP_FILL:
  case IR_OP_COPY:
  case IR_OP_CONVERT:
    return execute_move(m, a, in);
  case IR_OP_DECODE:
  case IR_OP_REDUCE:
  case IR_OP_SCAN:
  case IR_OP_VOTE:
    return execute_tile(m, a, in);
  case IR_OP_LD_GLOBAL:
  case IR_OP_ST_GLOBAL:
  case IR_OP_RED_GLOBAL:
  case IR_OP_RED_SHARED:
  case IR_OP_ATOMIC_GLOBAL:
  case IR_OP_LD_SHARED:
  case IR_OP_ST_SHARED:
  case IR_OP_LDMATRIX:
  case IR_OP_STMATRIX:
  case IR_OP_CP_ASYNC:
    return execute_thread(m, a, in);
  case IR_OP_TMA_LOAD:
  case IR_OP_TMA_STORE:
  case IR_OP_BULK_LOAD:
  case IR_OP_TMA_PREFETCH:
    return execute_tma(m, a, in);
  case IR_OP_MMA:
  case IR_OP_WGMMA:
  case IR_OP_WGMMA_FENCE:
  case IR_OP_WGMMA_COMMIT:
  case IR_OP_WGMMA_WAIT:
    return execute_tensor_core(m, a, in);
  default:
    return execute_sync(m, a, in);
  }
}

/* The launch behind takes the end of this kernel for the end of all those ahead. */
static void check_grid_waited(machine *m, agent *a) {
  for (int i = 0; i < a->block->agent_count; i++)
    if (a->block->agents[i].grid_waited) return;
  finding(m, a, EMULATOR_RACE, m->kernel->loc, nowhere,
          "the block ends without a grid.wait: the kernel ahead in the stream may still be running");
}

/* When the last agent of a block leaves, what others do to its shared memory must be over. */
static void check_outside(machine *m, agent *a) {
  block *b = a->block;
  for (int i = 0; i < b->agent_count; i++)
    if (&b->agents[i] != a && b->agents[i].state != AGENT_DONE && b->agents[i].state != AGENT_IDLE) return;
  if (m->overlapped) check_grid_waited(m, a);
  for (int k = 0; k < b->cluster->clock_count; k++) {
    uint32_t seen = 0;
    for (int i = 0; i < b->agent_count; i++)
      if (b->agents[i].clock[k] > seen) seen = b->agents[i].clock[k];
    if (b->outside[k] > seen)
      finding(m, a, EMULATOR_RACE, b->outside_op[k]->loc, nowhere,
              "the block may end before this '%s' has reached its shared memory: wait for it, or for the cluster",
              ir_op_info_of(b->outside_op[k]->kind)->mnemonic);
  }
}

/* What an agent must have finished when it leaves. */
static void check_end(machine *m, agent *a) {
  enum { GROUP = 4 };
  if (!m->checks) return;
  lanes_meet(a);
  check_outside(m, a);
  if (!groups_are_done(&a->bulk))
    finding(m, a, EMULATOR_RACE, m->code.instructions[a->bulk_instruction].op->loc, nowhere,
            "the block ends while this store may still read its shared memory: it needs bulk.commit and bulk.wait");
  if (!groups_are_done(&a->cp))
    finding(m, a, EMULATOR_RACE, m->kernel->loc, nowhere,
            "the block ends while its cp.async may still write shared memory: it needs cp.commit and cp.wait");
  int first = a->number / GROUP * GROUP;
  for (int i = first; m->thread_form && i < first + GROUP && i < a->block->agent_count; i++) {
    const agent *other = &a->block->agents[i];
    if (other->state == AGENT_DONE && other->wgmmas != a->wgmmas)
      finding(m, a, EMULATOR_DIVERGENCE, m->kernel->loc, nowhere,
              "warps %d and %d of a warpgroup have executed %llu and %llu wgmma: all four execute each", i, a->number,
              (unsigned long long)other->wgmmas, (unsigned long long)a->wgmmas);
  }
}

/* What the kernel ahead may still write, or read. */
static void check_awaited(machine *m, agent *a, const instruction *in) {
  if (!in->awaited || !(acting_lanes(a) & ~a->grid_waited)) return;
  finding(m, a, EMULATOR_RACE, nowhere, in->awaited->loc,
          "'%s' is accessed without a grid.wait before it: the kernel ahead in the stream may not be done with it",
          in->awaited->name);
}

/* One instruction. False: the agent cannot go on now. */
static bool execute(machine *m, agent *a) {
  const instruction *in = &m->code.instructions[a->pc];
  check_awaited(m, a, in);
  switch (in->code) {
  case CODE_OP:
    if (execute_op(m, a, in) == OUTCOME_BLOCKED) return false;
    a->pc++;
    return true;
  case CODE_IF:
    begin_if(a, in, evaluate_mask(m, a, in->expr[0]));
    return true;
  case CODE_WHERE:
    begin_if(a, in, tile_has(m, a, in, IR_OR) ? a->mask : 0);
    return true;
  case CODE_ELSE: {
    uint32_t other = a->frames[in->frame].other;
    a->mask = other ? other : a->mask;
    a->pc = other ? a->pc + 1 : in->target;
    return true;
  }
  case CODE_END_IF:
    a->mask = a->frames[in->frame].mask;
    a->pc++;
    return true;
  case CODE_FOR:
    begin_for(m, a, in);
    a->pc = continue_for(m, a, in, a->mask) ? a->pc + 1 : in->target;
    return true;
  case CODE_FOR_NEXT:
    step_for(a, in);
    a->pc = continue_for(m, a, in, a->mask) ? in->target : a->pc + 1;
    return true;
  case CODE_WHILE: {
    /* `position` says that the loop is running: it comes back here for its predicate. */
    frame *f = &a->frames[in->frame];
    if (!f->position) f->mask = a->mask;
    uint32_t active = evaluate_mask(m, a, in->expr[0]);
    f->position = active != 0;
    a->mask = active ? active : f->mask;
    a->pc = active ? a->pc + 1 : in->target;
    return true;
  }
  case CODE_WHILE_NEXT:
    a->pc = in->target;
    return true;
  case CODE_PARALLEL:
    begin_parallel(m, a, in);
    a->pc = continue_parallel(a, in) ? a->pc + 1 : in->target;
    return true;
  case CODE_PARALLEL_NEXT:
    a->pc = continue_parallel(a, in) ? in->target : a->pc + 1;
    return true;
  case CODE_ROLE:
    if (m->thread_form) {
      a->role = runs_role(m, a, in->op) ? in->op->name : NULL;
      a->pc = a->role ? a->pc + 1 : in->target;
    } else {
      fork_role(m, a, in);
      a->pc = in->target;
    }
    return true;
  case CODE_ROLE_END:
    if (m->thread_form) {
      a->role = NULL;
      a->pc++;
    } else {
      a->state = AGENT_DONE;
    }
    return true;
  case CODE_JOIN:
    if (!join_roles(a)) return false;
    a->pc++;
    return true;
  case CODE_END:
    check_end(m, a);
    a->state = AGENT_DONE;
    return true;
  }
  BUG("instruction %d has no code", a->pc);
}

uint64_t next_random(machine *m) {
  m->random ^= m->random << 13;
  m->random ^= m->random >> 7;
  m->random ^= m->random << 17;
  return m->random;
}

/* True when the agent executed something. */
static bool take_turn(machine *m, agent *a) {
  int quantum = m->random ? 1 + (int)(next_random(m) % QUANTUM) : QUANTUM;
  int done = 0;
  a->state = AGENT_READY;
  while (done < quantum && a->state == AGENT_READY && !m->stopped) {
    if (!execute(m, a)) {
      a->state = AGENT_BLOCKED;
      break;
    }
    done++;
  }
  m->steps += (uint64_t)done;
  if (m->steps > m->step_limit)
    finding(m, a, EMULATOR_LIMIT, nowhere, nowhere, "the kernel has executed %llu instructions without an end",
            (unsigned long long)m->steps);
  if (m->steps > m->step_limit) m->stopped = true;
  return done > 0;
}

static void report_deadlock(machine *m, cluster *c) {
  str text = STR_EMPTY;
  const agent *first = NULL;
  for (int i = 0; i < c->block_count; i++)
    for (int j = 0; j < c->blocks[i].agent_count; j++) {
      agent *a = &c->blocks[i].agents[j];
      if (a->state != AGENT_BLOCKED || m->code.instructions[a->pc].code == CODE_JOIN) continue;
      if (!first) first = a;
      if (text.length) str_append(&text, "; ");
      describe_wait(m, a, &text);
    }
  if (!first) BUG("no agent can run and none waits");
  finding(m, first, EMULATOR_DEADLOCK, nowhere, nowhere, "deadlock: %s", str_text(&text));
  m->stopped = true;
  str_free(&text);
}

bool cluster_round(machine *m, cluster *c, bool alone) {
  bool moved = cluster_deliver(m, c, false), alive = false;
  int agents = c->blocks[0].agent_count, total = agents * c->block_count;
  int start = m->random ? (int)(next_random(m) % (uint64_t)total) : 0;
  for (int k = 0; k < total && !m->stopped; k++) {
    int i = (start + k) % total;
    agent *a = &c->blocks[i / agents].agents[i % agents];
    if (a->state == AGENT_DONE || a->state == AGENT_IDLE) continue;
    alive = true;
    moved = take_turn(m, a) || moved;
  }
  c->tick++;
  c->done = !alive;
  if (moved || m->stopped || c->done) return moved;
  if (cluster_deliver(m, c, true)) return true;
  if (alone) report_deadlock(m, c);
  return false;
}
