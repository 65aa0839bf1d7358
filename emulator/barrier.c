/* Synchronisation: mbarriers, hardware barriers, the cluster's barrier, groups of asynchronous ops, fences.
 *
 * Every release joins the agent's clocks into the barrier and every completed wait joins the barrier's into the agent;
 * that is the order that shadow.c checks accesses against. */
#include "emulator/machine.h"

#include <string.h>

/* -- mbarriers ----------------------------------------------------------------------------------------------------- */

void barrier_init(machine *m, block *b, const ir_value *value, int64_t slot, int64_t arrivals, const agent *by) {
  barrier_array *array = &b->barriers[value->number];
  if (arrivals < 1) {
    finding(m, by, EMULATOR_BARRIER, by ? nowhere : value->loc, value->loc,
            "barrier '%s' is initialised for %lld arrivals", value->name, (long long)arrivals);
    arrivals = 1;
  }
  for (int s = 0; s < array->count; s++) {
    if (slot >= 0 && s != slot) continue;
    mbarrier *bar = &array->slots[s];
    bar->initialised = true;
    bar->arrivals = bar->pending = arrivals;
    bar->bytes = 0;
    bar->phase = 0;
    bar->fenced = by == NULL;
    bar->init_agent = by ? by->clock_index : 0;
    bar->init_clock = by ? by->now : 0;
    bar->init_lanes = by ? acting_lanes(by) : 0;
  }
}

void block_used_from_outside(block *b, int clock_index, uint32_t clock, const ir_op *op) {
  if (clock < b->outside[clock_index]) return;
  b->outside[clock_index] = clock;
  b->outside_op[clock_index] = op;
}

static bool has_left(const block *b) {
  for (int i = 0; i < b->agent_count; i++)
    if (b->agents[i].state != AGENT_DONE && b->agents[i].state != AGENT_IDLE) return false;
  return true;
}

mbarrier *barrier_of(machine *m, agent *a, const operand *o, int rank) {
  block *b = rank < 0 ? a->block : &a->block->cluster->blocks[rank];
  if (b != a->block && has_left(b)) {
    finding(m, a, EMULATOR_RACE, nowhere, o->value->loc,
            "block %d of the cluster has ended: it must wait for those that use its shared memory", rank);
    return NULL;
  }
  if (b != a->block) block_used_from_outside(b, a->clock_index, released_event(a), m->code.instructions[a->pc].op);
  barrier_array *array = &b->barriers[o->value->number];
  int64_t slot = o->slot ? evaluate_uniform(m, a, o->slot).i : 0;
  if (slot < 0 || slot >= array->count) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, o->value->loc, "slot %lld of barrier '%s', which has %d", (long long)slot,
            o->value->name, array->count);
    return NULL;
  }
  mbarrier *bar = &array->slots[slot];
  if (!bar->initialised) {
    finding(m, a, EMULATOR_BARRIER, nowhere, o->value->loc, "barrier '%s' is used before it is initialised",
            o->value->name);
    return NULL;
  }
  if (m->checks && !lanes_know(a, acting_lanes(a), bar->init_agent, bar->init_clock, bar->init_lanes))
    finding(m, a, EMULATOR_RACE, nowhere, o->value->loc,
            "barrier '%s' is used with nothing that orders it after its initialisation", o->value->name);
  return bar;
}

static void complete_phase(machine *m, cluster *c, mbarrier *bar, const ir_value *value, const agent *a) {
  if (bar->pending != 0 || bar->bytes != 0) return;
  if (bar->in_flight != 0)
    finding(m, a, EMULATOR_BARRIER, a ? nowhere : value->loc, value->loc,
            "a phase of barrier '%s' completes while copies of %lld bytes that it counts are in flight: it expects too "
            "few bytes",
            value->name, (long long)bar->in_flight);
  size_t size = sizeof(uint32_t) * (size_t)c->clock_count;
  bar->phase++;
  bar->pending = bar->arrivals;
  memcpy(bar->released_clock, bar->clock, size);
  memcpy(bar->released_async_clock, bar->async_clock, size);
  bar->released_clock[bar->clock_index] = bar->phase;
  memset(bar->clock, 0, size);
  memset(bar->async_clock, 0, size);
}

static void arrive(machine *m, agent *a, mbarrier *bar, const ir_value *value, int64_t count, int64_t bytes) {
  m->report->counts.events[IR_EVENT_BARRIER_ARRIVALS] += (uint64_t)count;
  bar->bytes += bytes;
  bar->pending -= count;
  if (bar->pending < 0) {
    finding(m, a, EMULATOR_BARRIER, nowhere, value->loc,
            "barrier '%s' is arrived at %lld times more than the %lld of its phase", value->name,
            (long long)-bar->pending, (long long)bar->arrivals);
    bar->pending = 0;
  }
  lanes_release(a, bar->clock, bar->async_clock);
  clock_advance(a);
  complete_phase(m, a->block->cluster, bar, value, a);
}

void barrier_complete_later(machine *m, agent *a, mbarrier *bar, int64_t bytes, const ir_value *value) {
  enum { LONGEST_DELAY = 32 };
  cluster *c = a->block->cluster;
  if (m->checks && !bar->fenced)
    finding(m, a, EMULATOR_PROXY, nowhere, value->loc,
            "barrier '%s' is used by an asynchronous copy without a fence.mbar_init after its initialisation",
            value->name);
  bar->in_flight += bytes;
  lanes_release(a, bar->clock, bar->async_clock);
  clock_advance(a);
  uint64_t delay = m->random ? next_random(m) % LONGEST_DELAY : 1;
  completion item = {.due = c->tick + delay, .barrier = bar, .value = value, .bytes = bytes};
  ARENA_PUSH(c->memory, c->completions, c->completion_count, c->completion_capacity, item);
}

bool cluster_deliver(machine *m, cluster *c, bool force) {
  int kept = 0, count = c->completion_count;
  for (int i = 0; i < count; i++) {
    completion item = c->completions[i];
    if (item.due > c->tick && !force) {
      c->completions[kept++] = item;
      continue;
    }
    item.barrier->in_flight -= item.bytes;
    item.barrier->bytes -= item.bytes;
    complete_phase(m, c, item.barrier, item.value, NULL);
  }
  c->completion_count = kept;
  return kept < count;
}

static int64_t active_lanes(const machine *m, const agent *a) {
  return m->thread_form ? __builtin_popcount(a->mask) : 1;
}

static outcome execute_mbarrier(machine *m, agent *a, const instruction *in) {
  const operand *o = &in->read[0];
  if (in->op->kind == IR_OP_MBAR_INIT) {
    int64_t slot = o->slot ? evaluate_uniform(m, a, o->slot).i : -1;
    barrier_init(m, a->block, o->value, slot, evaluate_uniform(m, a, in->expr[0]).i, a);
    clock_advance(a);
    return OUTCOME_NEXT;
  }
  int rank = -1;
  if (in->op->kind == IR_OP_MBAR_ARRIVE && in->op->expr_count > 0) {
    rank = (int)evaluate_uniform(m, a, in->expr[0]).i;
    if (rank < 0 || rank >= a->block->cluster->block_count) {
      finding(m, a, EMULATOR_BOUNDS, nowhere, nowhere, "block %d of a cluster of %d", rank,
              a->block->cluster->block_count);
      return OUTCOME_NEXT;
    }
  }
  mbarrier *bar = barrier_of(m, a, o, rank);
  if (!bar) return OUTCOME_NEXT;
  if (in->op->kind == IR_OP_MBAR_ARRIVE) {
    arrive(m, a, bar, o->value, active_lanes(m, a), 0);
  } else if (in->op->kind == IR_OP_MBAR_EXPECT) {
    int64_t lanes = active_lanes(m, a);
    arrive(m, a, bar, o->value, lanes, lanes * evaluate_uniform(m, a, in->expr[0]).i);
  } else {
    int64_t parity = evaluate_uniform(m, a, in->expr[0]).i;
    if (parity != 0 && parity != 1)
      finding(m, a, EMULATOR_BARRIER, nowhere, o->value->loc, "parity %lld of barrier '%s': it must be 0 or 1",
              (long long)parity, o->value->name);
    if ((bar->phase & 1) == (uint64_t)parity) return OUTCOME_BLOCKED;
    lanes_observe(a, bar->released_clock, bar->released_async_clock);
    m->report->counts.events[IR_EVENT_BARRIER_WAITS] += (uint64_t)active_lanes(m, a);
  }
  return OUTCOME_NEXT;
}

/* -- Hardware barriers --------------------------------------------------------------------------------------------- */

static bool waits_at(const machine *m, const agent *a, ir_op_kind kind, int64_t id) {
  if (!a->waiting || a->released) return false;
  const ir_op *op = m->code.instructions[a->pc].op;
  return op && op->kind == kind && (kind == IR_OP_CLUSTER_SYNC || a->waiting_at == id);
}

static outcome pass_when_released(agent *a) {
  if (!a->released) return OUTCOME_BLOCKED;
  a->waiting = a->released = false;
  return OUTCOME_NEXT;
}

static outcome execute_bar(machine *m, agent *a, const instruction *in) {
  if (a->waiting) return pass_when_released(a);
  const ir_op *op = in->op;
  int64_t id = ir_attr_get(&op->attrs, IR_ATTR_ID, 0);
  if (op->expr_count) id += evaluate_uniform(m, a, in->expr[0]).i;
  int threads = (int)ir_attr_get(&op->attrs, IR_ATTR_THREADS, m->warp_count * LANES);
  if (!m->thread_form) threads *= (int)ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1); /* all of them are one agent */
  if (id < 0 || id >= HARDWARE_BARRIERS) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, nowhere, "hardware barrier %lld: there are %d", (long long)id,
            HARDWARE_BARRIERS);
    return OUTCOME_NEXT;
  }
  if (m->thread_form && a->mask != ~0u)
    finding(m, a, EMULATOR_DIVERGENCE, nowhere, nowhere, "'%s' is executed by some lanes of a warp only",
            ir_op_info_of(op->kind)->mnemonic);
  hardware_barrier *bar = &a->block->hardware[id];
  if (op->kind == IR_OP_BAR_SYNC) lanes_meet(a);
  if (bar->threads && bar->threads != threads)
    finding(m, a, EMULATOR_BARRIER, nowhere, nowhere,
            "hardware barrier %lld is used for %d threads while a round for %d is open", (long long)id, threads,
            bar->threads);
  bar->threads = threads;
  bar->arrived += a->warp_count * LANES;
  lanes_release(a, bar->clock, bar->async_clock);
  clock_advance(a);
  a->waiting = op->kind == IR_OP_BAR_SYNC;
  a->waiting_at = id;
  m->report->counts.events[IR_EVENT_BLOCK_SYNCS]++;
  if (bar->arrived > threads)
    finding(m, a, EMULATOR_BARRIER, nowhere, nowhere, "%d threads have reached hardware barrier %lld, which is for %d",
            bar->arrived, (long long)id, threads);
  if (bar->arrived < threads) return a->waiting ? OUTCOME_BLOCKED : OUTCOME_NEXT;
  for (int i = 0; i < a->block->agent_count; i++) {
    agent *other = &a->block->agents[i];
    if (other != a && !waits_at(m, other, IR_OP_BAR_SYNC, id)) continue;
    if (!other->waiting) continue;
    lanes_observe(other, bar->clock, bar->async_clock);
    other->released = true;
  }
  size_t size = sizeof(uint32_t) * (size_t)a->block->cluster->clock_count;
  memset(bar->clock, 0, size);
  memset(bar->async_clock, 0, size);
  bar->arrived = bar->threads = 0;
  return a->waiting ? pass_when_released(a) : OUTCOME_NEXT;
}

/* Released when every agent that still runs waits here; those that have left count as arrived. */
static outcome execute_cluster_sync(machine *m, agent *a) {
  cluster *c = a->block->cluster;
  if (!a->waiting) {
    if (m->thread_form && a->mask != ~0u)
      finding(m, a, EMULATOR_DIVERGENCE, nowhere, nowhere, "'cluster.sync' is executed by some lanes of a warp only");
    lanes_meet(a);
    lanes_release(a, c->sync_clock, c->sync_async_clock);
    clock_advance(a);
    a->waiting = true;
    m->report->counts.events[IR_EVENT_BLOCK_SYNCS]++;
  }
  if (a->released) return pass_when_released(a);
  for (int i = 0; i < c->block_count; i++)
    for (int j = 0; j < c->blocks[i].agent_count; j++) {
      const agent *other = &c->blocks[i].agents[j];
      bool runs =
          other->state != AGENT_DONE && other->state != AGENT_IDLE && m->code.instructions[other->pc].code != CODE_JOIN;
      if (runs && !waits_at(m, other, IR_OP_CLUSTER_SYNC, 0)) return OUTCOME_BLOCKED;
    }
  for (int i = 0; i < c->block_count; i++)
    for (int j = 0; j < c->blocks[i].agent_count; j++) {
      agent *other = &c->blocks[i].agents[j];
      if (!waits_at(m, other, IR_OP_CLUSTER_SYNC, 0)) continue;
      lanes_observe(other, c->sync_clock, c->sync_async_clock);
      other->released = true;
    }
  memset(c->sync_clock, 0, sizeof(uint32_t) * (size_t)c->clock_count);
  memset(c->sync_async_clock, 0, sizeof(uint32_t) * (size_t)c->clock_count);
  return pass_when_released(a);
}

/* -- Groups and fences --------------------------------------------------------------------------------------------- */

/* Groups up to the newest `pending` are complete: what they did is observed. */
static void wait_dots(agent *a, const ir_op *op) {
  int64_t newest = (int64_t)a->dot_open - 1 - ir_attr_get(&op->attrs, IR_ATTR_PENDING, 0);
  if (newest > (int64_t)a->dot_done) a->dot_done = (uint32_t)newest;
  uint32_t *clock = &a->clock[a->clock_index + CLOCK_DOT];
  if (a->dot_done > *clock) *clock = a->dot_done;
}

static void fence_mbar_init(machine *m, agent *a) {
  block *b = a->block;
  for (int i = 0; i < m->kernel->value_count; i++)
    for (int s = 0; s < b->barriers[i].count; s++)
      if (b->barriers[i].slots[s].init_agent == a->clock_index) b->barriers[i].slots[s].fenced = true;
}

static void set_registers(machine *m, agent *a, const ir_op *op) {
  enum { FEWEST = 24, MOST = 256, STEP = 8 };
  int64_t wanted = ir_attr_get(&op->attrs, IR_ATTR_REGISTERS, 0), total = 0;
  if (wanted < FEWEST || wanted > MOST || wanted % STEP != 0)
    finding(m, a, EMULATOR_REGISTERS, nowhere, nowhere, "setmaxnreg takes a multiple of %d from %d to %d, not %lld",
            STEP, FEWEST, MOST, (long long)wanted);
  a->budget = (int)wanted;
  for (int i = 0; i < a->block->agent_count; i++)
    total += (int64_t)a->block->agents[i].budget * LANES;
  if (total > ir_target_of(m->kernel->target)->registers)
    finding(m, a, EMULATOR_REGISTERS, nowhere, nowhere,
            "the warps of the block together have claimed %lld registers of %d", (long long)total,
            ir_target_of(m->kernel->target)->registers);
}

outcome execute_sync(machine *m, agent *a, const instruction *in) {
  const ir_op *op = in->op;
  switch (op->kind) {
  case IR_OP_MBAR_INIT:
  case IR_OP_MBAR_EXPECT:
  case IR_OP_MBAR_ARRIVE:
  case IR_OP_MBAR_WAIT:
    return execute_mbarrier(m, a, in);
  case IR_OP_BAR_SYNC:
  case IR_OP_BAR_ARRIVE:
    return execute_bar(m, a, in);
  case IR_OP_CLUSTER_SYNC:
    return execute_cluster_sync(m, a);
  case IR_OP_CP_COMMIT:
    a->cp.open++;
    break;
  case IR_OP_CP_WAIT:
    groups_wait(&a->cp, acting_lanes(a), ir_attr_get(&op->attrs, IR_ATTR_PENDING, 0));
    break;
  case IR_OP_BULK_COMMIT:
    a->bulk.open++;
    break;
  case IR_OP_BULK_WAIT:
    groups_wait(&a->bulk, acting_lanes(a), ir_attr_get(&op->attrs, IR_ATTR_PENDING, 0));
    break;
  case IR_OP_DOT_COMMIT:
  case IR_OP_WGMMA_COMMIT:
    a->dot_open++;
    break;
  case IR_OP_DOT_WAIT:
  case IR_OP_WGMMA_WAIT:
    wait_dots(a, op);
    break;
  case IR_OP_FENCE_ASYNC:
    lanes_fence_async(a);
    break;
  case IR_OP_FENCE_MBAR_INIT:
    fence_mbar_init(m, a);
    break;
  case IR_OP_WARP_SYNC:
    if (m->thread_form && a->mask != ~0u)
      finding(m, a, EMULATOR_DIVERGENCE, nowhere, nowhere, "'warp.sync' is executed by some lanes of a warp only");
    lanes_meet(a);
    clock_advance(a);
    break;
  case IR_OP_GRID_WAIT:
    a->grid_waited |= acting_lanes(a);
    break;
  case IR_OP_GRID_LAUNCH:
    break; /* one kernel runs alone */
  case IR_OP_SETMAXNREG:
    set_registers(m, a, op);
    break;
  case IR_OP_TRAP:
    finding(m, a, EMULATOR_TRAP, nowhere, nowhere, "the kernel stopped itself");
    m->stopped = true;
    break;
  default:
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, nowhere, "the emulator does not run '%s'",
            ir_op_info_of(op->kind)->mnemonic);
    break;
  }
  return OUTCOME_NEXT;
}

void describe_wait(machine *m, agent *a, str *out) {
  const instruction *in = &m->code.instructions[a->pc];
  if (m->thread_form)
    str_printf(out, "warp %d", a->number);
  else if (a->role)
    str_printf(out, "role %s", a->role);
  else
    str_append(out, "the block");
  if (a->block->cluster->block_count > 1) str_printf(out, " of block %d", a->block->index);
  str_printf(out, " waits at %u:%u", (unsigned)in->op->loc.line, (unsigned)in->op->loc.column);
  if (in->op->kind != IR_OP_MBAR_WAIT) {
    str_printf(out, " in %s", ir_op_info_of(in->op->kind)->mnemonic);
    if (in->op->kind == IR_OP_BAR_SYNC) {
      int64_t id = a->waiting_at;
      const hardware_barrier *bar = &a->block->hardware[id];
      str_printf(out, " %lld, reached by %d of %d threads", (long long)id, bar->arrived, bar->threads);
    }
    return;
  }
  const mbarrier *bar = barrier_of(m, a, &in->read[0], -1);
  int64_t slot = in->read[0].slot ? evaluate_uniform(m, a, in->read[0].slot).i : 0;
  str_printf(out, " for parity %lld of '%s' slot %lld", (long long)evaluate_uniform(m, a, in->expr[0]).i,
             in->read[0].value->name, (long long)slot);
  if (bar)
    str_printf(out, " (phase %u: %lld arrivals and %lld bytes missing)", (unsigned)bar->phase, (long long)bar->pending,
               (long long)bar->bytes);
}
