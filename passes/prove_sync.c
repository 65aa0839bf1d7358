/* Barriers and waits, as they pass knowledge on. */
#include "passes/prove_machine.h"

/* What a flow hands on: all of its threads, or its first one only. */
static void release(const prove_machine *m, const prove_agent *a, bool by_all, int *into, int *into_seen) {
  if (by_all || a->flow->is_single) {
    prove_join(m, into, a->own);
    prove_join(m, into_seen, a->seen_own);
    if (into[a->index] < a->time) into[a->index] = a->time;
    return;
  }
  prove_join(m, into, a->first);
  prove_join(m, into_seen, a->seen_all);
}

/* -- mbarriers ----------------------------------------------------------------------------------------------------- */

static prove_barrier *barrier_of(prove_machine *m, const prove_agent *a, const ir_op *op, const ir_ref *ref) {
  prove_number slot = {true, 0};
  if (ref->slot) slot = prove_eval(&a->env, ref->slot);
  if (!slot.known || slot.value < 0 || slot.value >= ref->value->slots) {
    prove_fail(m, a, "specialise-warps", op, NULL, "the slot of %s is not known to be one of its %d", ref->value->name,
               ref->value->slots);
    return NULL;
  }
  prove_barrier *b = &m->barrier[m->barrier_of[ref->value->number] + slot.value];
  if (op->kind == IR_OP_MBAR_INIT) return b;
  if (!b->count)
    prove_fail(m, a, "specialise-warps", op, NULL, "%s is used before mbar.init", ref->value->name);
  else if (a->index && b->init_time > a->all[0])
    prove_fail(m, a, "specialise-warps", op, NULL, "%s is used without a barrier of all threads after mbar.init",
               ref->value->name);
  else
    return b;
  return NULL;
}

static int clock_of(const prove_machine *m, const prove_barrier *b) { return m->barrier_base + (int)(b - m->barrier); }

/* The flows that wait for every phase have passed the one before: else a parity could stand for two phases. */
static bool waiters_keep_up(prove_machine *m, const prove_agent *a, const prove_barrier *b, const ir_op *op) {
  for (int f = 0; f < m->flow_count; f++) {
    bool behind =
        b->waited[f] == PROVE_NEVER ? false : b->waited[f] < b->phase - 1 || b->gathered[f] < b->waited_time[f];
    if (behind)
      return prove_fail(m, a, "specialise-warps", op, m->flow[f].blocked_at,
                        "phase %d of %s (slot %d) may complete before role %s has waited for phase %d", b->phase,
                        b->value->name, b->slot, prove_flow_name(&m->flow[f]), b->phase - 1);
  }
  return true;
}

static bool complete_phase(prove_machine *m, prove_agent *a, prove_barrier *b, const ir_op *op) {
  if (b->arrived < b->count || b->expected != b->brought) return true;
  if (!waiters_keep_up(m, a, b, op)) return false;
  if (b->ranks == (1u << m->cluster) - 1) prove_join(m, b->done_wide, b->gathered);
  int clock = clock_of(m, b);
  b->ranks = 0;
  b->phase++;
  prove_join(m, b->done, b->gathered);
  prove_join(m, b->done_seen, b->gathered_seen);
  b->done[clock] = b->phase;
  b->arrived = 0;
  b->expected = b->brought = 0;
  return true;
}

/* One arrival. It must be known to fall into this phase, whatever the timing. */
static bool arrive(prove_machine *m, prove_agent *a, prove_barrier *b, const ir_op *op, bool by_all, int64_t bytes) {
  int clock = clock_of(m, b);
  if (b->arrived == b->count)
    return prove_fail(m, a, "specialise-warps", op, b->last_op,
                      "one arrival too many on %s (slot %d): a phase takes %d", b->value->name, b->slot, b->count);
  if (a->own[clock] < b->phase)
    return prove_fail(m, a, "specialise-warps", op, b->last_op,
                      "arrives on %s (slot %d) and does not know that phase %d is complete", b->value->name, b->slot,
                      b->phase - 1);
  release(m, a, by_all, b->gathered, b->gathered_seen);
  b->arrived++;
  prove_number rank = {true, 0};
  if (op->kind == IR_OP_MBAR_ARRIVE && op->expr_count) rank = prove_eval(&a->env, op->expr[0]);
  if (rank.known && rank.value >= 0 && rank.value < 16) b->ranks |= 1u << rank.value;
  b->expected += bytes;
  b->last_op = op;
  bool last_of_one = b->count == 1 && a->flow->is_single && !bytes;
  if (!complete_phase(m, a, b, op)) return false;
  if (last_of_one) a->own[clock] = a->first[clock] = a->all[clock] = b->phase;
  return true;
}

bool prove_bring(prove_machine *m, prove_agent *a, const ir_op *copy, int *clock, int *time) {
  if (copy->read_count < 2 || !copy->read[1].value)
    return prove_fail(m, a, "schedule or specialise-warps", copy, NULL, "the copy to %s signals no mbarrier",
                      copy->write[0].value->name);
  prove_barrier *b = barrier_of(m, a, copy, &copy->read[1]);
  if (!b) return false;
  if (!m->init_fenced)
    return prove_fail(m, a, "specialise-warps", copy, NULL, "%s is used by the copy engine without fence.mbar_init",
                      b->value->name);
  const ir_value *buffer = copy->write[0].value;
  *clock = clock_of(m, b);
  *time = b->phase + 1;
  b->brought += (ir_element_count(buffer) * ir_bits(buffer->type) + 7) / 8;
  b->fills = true;
  b->last_op = copy;
  return complete_phase(m, a, b, copy);
}

static prove_status wait_for_phase(prove_machine *m, prove_agent *a, const ir_op *op) {
  prove_barrier *b = barrier_of(m, a, op, &op->read[0]);
  if (!b) return PROVE_FAILED;
  prove_number parity = prove_eval(&a->env, op->expr[0]);
  if (!parity.known || parity.value < 0 || parity.value > 1) {
    prove_fail(m, a, "specialise-warps", op, NULL, "the parity waited for is not known to be 0 or 1");
    return PROVE_FAILED;
  }
  if ((b->phase & 1) == parity.value) return PROVE_BLOCKED;
  int phase = b->phase - 1, f = a->index;
  if (b->waited[f] == PROVE_NEVER && phase > 0) {
    prove_fail(m, a, "specialise-warps", op, b->last_op, "%s (slot %d) is in phase %d at the first wait for it",
               b->value->name, b->slot, b->phase);
    return PROVE_FAILED;
  }
  b->waited[f] = phase;
  b->waited_time[f] = a->time;
  prove_acquire(m, a, b->done, b->done_seen);
  prove_join(m, a->wide, b->done_wide);
  return PROVE_READY;
}

static bool init(prove_machine *m, prove_agent *a, const ir_op *op) {
  const ir_value *value = op->read[0].value;
  prove_number count = prove_eval(&a->env, op->expr[0]);
  if (!count.known || count.value < 1)
    return prove_fail(m, a, "specialise-warps", op, NULL, "the arrivals of %s are not a positive number", value->name);
  if (count.value != value->arrivals)
    return prove_fail(m, a, "specialise-warps", op, NULL, "%s is declared with %d arrivals", value->name,
                      value->arrivals);
  for (int slot = 0; slot < value->slots; slot++) {
    prove_barrier *b = &m->barrier[m->barrier_of[value->number] + slot];
    b->count = (int)count.value;
    b->init_time = a->time;
  }
  return true;
}

/* -- Named barriers ------------------------------------------------------------------------------------------------ */

static void wake(prove_machine *m, prove_named *n) {
  for (int f = 0; f < m->flow_count; f++) {
    if (!(n->waiting >> f & 1)) continue;
    prove_acquire(m, &m->flow[f], n->gathered, n->gathered_seen);
    m->flow[f].status = PROVE_READY;
    m->flow[f].blocked_at = NULL;
  }
  n->flows = n->waiting = 0;
  n->arrived = 0;
}

/* The threads of each part meet by themselves: of what their own part did, all know what each knew. */
static void meet_in_parts(const prove_machine *m, prove_agent *a) {
  release(m, a, true, a->part, a->seen_part);
  prove_join(m, a->head, a->part);
}

static prove_status meet(prove_machine *m, prove_agent *a, const ir_op *op, bool waits) {
  int id = (int)ir_attr_get(&op->attrs, IR_ATTR_ID, 0), threads = (int)ir_attr_get(&op->attrs, IR_ATTR_THREADS, 0);
  if (ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1) > 1) {
    meet_in_parts(m, a);
    return PROVE_READY;
  }
  if (id < 0 || id >= PROVE_NAMED_BARRIERS)
    return prove_fail(m, a, "place-barriers", op, NULL, "hardware barrier %d of 16", id), PROVE_FAILED;
  prove_named *n = &m->named[id];
  int clock = m->named_base + id;
  if (n->flows && n->threads != threads) {
    prove_fail(m, a, "place-barriers", op, NULL, "barrier %d meets %d threads here and %d elsewhere", id, threads,
               n->threads);
    return PROVE_FAILED;
  }
  if ((n->flows >> a->index & 1) || a->own[clock] < n->generation) {
    prove_fail(m, a, "place-barriers", op, NULL, "arrives on barrier %d before it is known to be free", id);
    return PROVE_FAILED;
  }
  n->threads = threads;
  n->flows |= 1u << a->index;
  if (waits) n->waiting |= 1u << a->index;
  n->arrived += a->flow->threads;
  release(m, a, true, n->gathered, n->gathered_seen);
  if (n->arrived > threads) {
    prove_fail(m, a, "place-barriers", op, NULL, "barrier %d is for %d threads and %d come", id, threads, n->arrived);
    return PROVE_FAILED;
  }
  if (n->arrived < threads) return waits ? PROVE_BLOCKED : PROVE_READY;
  n->gathered[clock] = ++n->generation;
  wake(m, n);
  return PROVE_READY;
}

/* Every thread of every block: of this one those that are in the flow. */
static void meet_cluster(const prove_machine *m, prove_agent *a) {
  release(m, a, true, a->all, a->seen_all);
  prove_acquire(m, a, a->all, a->seen_all);
  prove_join(m, a->wide, a->all);
}

/* -- Groups -------------------------------------------------------------------------------------------------------- */

static void learn(int *vector, int clock, int time) {
  if (vector[clock] < time) vector[clock] = time;
}

static void wait_for_stores(prove_machine *m, prove_agent *a, int pending) {
  int done = a->stores - pending;
  if (a->stores_done < done) a->stores_done = done;
  learn(a->head, prove_store_clock(m, a->index), a->stores_done);
  if (a->store_parts <= 1) learn(a->first, prove_store_clock(m, a->index), a->stores_done);
  learn(a->own, prove_store_clock(m, a->index), a->stores_done);
  if (a->flow->is_single) learn(a->all, prove_store_clock(m, a->index), a->stores_done);
}

/* Groups of stores are those of the thread that issued them. */
static bool by_same_threads(prove_machine *m, prove_agent *a, const ir_op *op) {
  int parts = (int)ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1);
  if (!a->store_parts || a->store_parts == parts) return true;
  return prove_fail(m, a, "place-barriers", op, a->store_op, "is not done by the threads that issued the stores");
}

static void wait_for_copies(prove_machine *m, prove_agent *a, int pending) {
  int done = a->copies - pending;
  if (a->copies_done < done) a->copies_done = done;
  learn(a->own, prove_copy_clock(m, a->index), a->copies_done);
}

static void wait_for_dots(prove_machine *m, prove_agent *a, int pending) {
  int done = a->dots - pending;
  if (a->dots_done < done) a->dots_done = done;
  learn(a->own, prove_dot_clock(m, a->index), a->dots_done);
}

static void fence(prove_machine *m, prove_agent *a) {
  int copies = prove_copy_clock(m, a->index);
  learn(a->seen_own, a->index, a->time);
  learn(a->seen_own, copies, a->own[copies]);
}

prove_status prove_synchronise(prove_machine *m, prove_agent *a, const ir_op *op) {
  int pending = (int)ir_attr_get(&op->attrs, IR_ATTR_PENDING, 0);
  prove_barrier *b;
  switch (op->kind) {
  case IR_OP_MBAR_INIT:
    return init(m, a, op) ? PROVE_READY : PROVE_FAILED;
  case IR_OP_MBAR_WAIT:
    return wait_for_phase(m, a, op);
  case IR_OP_MBAR_ARRIVE:
    b = barrier_of(m, a, op, &op->read[0]);
    return b && arrive(m, a, b, op, true, 0) ? PROVE_READY : PROVE_FAILED;
  case IR_OP_MBAR_EXPECT: {
    b = barrier_of(m, a, op, &op->read[0]);
    prove_number bytes = prove_eval(&a->env, op->expr[0]);
    return b && arrive(m, a, b, op, false, bytes.value) ? PROVE_READY : PROVE_FAILED;
  }
  case IR_OP_FENCE_MBAR_INIT:
    m->init_fenced = true;
    return PROVE_READY;
  case IR_OP_BAR_SYNC:
    return meet(m, a, op, true);
  case IR_OP_CLUSTER_SYNC:
    meet_cluster(m, a);
    return PROVE_READY;
  case IR_OP_BAR_ARRIVE:
    return meet(m, a, op, false);
  case IR_OP_FENCE_ASYNC:
    fence(m, a);
    return PROVE_READY;
  case IR_OP_CP_COMMIT:
    a->copies++, a->copy_open = false;
    return PROVE_READY;
  case IR_OP_BULK_COMMIT:
    a->stores++, a->store_open = false;
    return by_same_threads(m, a, op) ? PROVE_READY : PROVE_FAILED;
  case IR_OP_DOT_COMMIT:
    a->dots++, a->dot_open = false;
    return PROVE_READY;
  case IR_OP_CP_WAIT:
    wait_for_copies(m, a, pending);
    return PROVE_READY;
  case IR_OP_BULK_WAIT:
    wait_for_stores(m, a, pending);
    return by_same_threads(m, a, op) ? PROVE_READY : PROVE_FAILED;
  case IR_OP_DOT_WAIT:
    wait_for_dots(m, a, pending);
    return PROVE_READY;
  default:
    return PROVE_READY;
  }
}

/* -- Ends ---------------------------------------------------------------------------------------------------------- */

bool prove_flow_ends(prove_machine *m, prove_agent *a) {
  if (a->dot_open || a->dots_done < a->dots)
    return prove_fail(m, a, "place-waits", a->dot_op, NULL, "is not waited for before the end");
  if (a->store_open || a->stores_done < a->stores)
    return prove_fail(m, a, "place-barriers", a->store_op, NULL,
                      "is not waited for before the end, when its source goes");
  return true;
}

bool prove_all_end(prove_machine *m) {
  const prove_flow *block = m->flow[0].flow;
  if (m->cluster > 1 && block->instruction[block->count - 1].op->kind != IR_OP_CLUSTER_SYNC)
    return prove_fail(m, NULL, "specialise-warps", NULL, NULL,
                      "blocks may leave while others of their cluster still copy into them");
  for (int i = 0; i < m->barrier_count; i++) {
    const prove_barrier *b = &m->barrier[i];
    if (b->arrived || b->expected != b->brought)
      return prove_fail(
          m, NULL, "specialise-warps", b->last_op, NULL,
          "at the end phase %d of %s (slot %d) is half done: %d of %d arrivals, %lld bytes of %lld expected", b->phase,
          b->value->name, b->slot, b->arrived, b->count, (long long)b->brought, (long long)b->expected);
    int waited = PROVE_NEVER;
    for (int f = 0; f < m->flow_count; f++)
      if (b->waited[f] > waited) waited = b->waited[f];
    if (b->fills && waited < b->phase - 1)
      return prove_fail(m, NULL, "specialise-warps", b->last_op, NULL,
                        "phase %d of %s (slot %d) brings data that nobody waits for", b->phase - 1, b->value->name,
                        b->slot);
  }
  for (int id = 0; id < PROVE_NAMED_BARRIERS; id++)
    if (m->named[id].arrived)
      return prove_fail(m, NULL, "place-barriers", NULL, NULL, "at the end barrier %d has %d of %d threads", id,
                        m->named[id].arrived, m->named[id].threads);
  return true;
}

bool prove_deadlock(prove_machine *m) {
  for (int f = 0; f < m->flow_count; f++) {
    prove_agent *a = &m->flow[f];
    if (a->status != PROVE_BLOCKED || !a->blocked_at) continue;
    const ir_op *op = a->blocked_at, *other = NULL;
    for (int g = 0; g < m->flow_count; g++)
      if (g != f && m->flow[g].status == PROVE_BLOCKED) other = m->flow[g].blocked_at;
    if (op->kind != IR_OP_MBAR_WAIT) return prove_fail(m, a, "place-barriers", op, other, "waits for ever");
    const prove_barrier *b = barrier_of(m, a, op, &op->read[0]);
    return prove_fail(m, a, "specialise-warps", op, other,
                      "waits for ever: phase %d of %s (slot %d) has %d of %d arrivals and %lld bytes of %lld expected",
                      b->phase, b->value->name, b->slot, b->arrived, b->count, (long long)b->brought,
                      (long long)b->expected);
  }
  return true;
}
