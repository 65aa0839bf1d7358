/* Who wrote and who read each byte, and whether that is ordered.
 *
 * Each agent has a vector clock: entry i is the newest event of clock i that it has observed. A clock belongs to an
 * agent's own accesses, to one of its in-order asynchronous engines (cp.async groups, dot groups, bulk store groups) or
 * to a slot of an mbarrier (the copies that it counts; the clock is the phase). An earlier access is ordered before
 * this one when the lanes that make this one know its event (lanes.c). Accesses of the async proxy also need a generic
 * write to lie within their second clock, that of fence.async.
 *
 * Two atomic combinations of one element need no order. The earlier one stays in the state as a reader of the byte
 * does, so that a later plain access is compared with all of them.
 *
 * The history of a byte is an interned state, so that a range of bytes with one history costs one comparison a byte. */
#include "emulator/machine.h"

#include <string.h>

typedef struct event {
  const ir_op *op;
  uint32_t clock_index, clock;
  uint32_t lanes;
  uint32_t async;
} event;

typedef struct state {
  event write;
  event *readers; /* newest read of each clock that is not ordered before another read */
  uint32_t reader_count;
  uint32_t hash;
} state;

struct shadow_table {
  arena *memory;
  state *states; /* [0]: never accessed */
  uint32_t count, capacity;
  uint32_t *slots; /* open addressing, ids; 0 is empty */
  uint32_t slot_mask;
};

enum { FIRST_SLOTS = 1024 };

shadow_table *shadow_table_create(arena *memory) {
  shadow_table *t = ARENA_NEW(memory, shadow_table);
  t->memory = memory;
  state none;
  memset(&none, 0, sizeof none);
  ARENA_PUSH(memory, t->states, t->count, t->capacity, none);
  t->slots = ARENA_ARRAY(memory, uint32_t, FIRST_SLOTS);
  t->slot_mask = FIRST_SLOTS - 1;
  return t;
}

/* Identity of an op in hashes must not be its address; its place in the source does. */
static uint32_t mix(uint32_t h, uint32_t x) { return (h ^ x) * 0x9e3779b1u + (h >> 15); }

static uint32_t hash_event(uint32_t h, const event *e) {
  h = mix(h, e->clock_index);
  h = mix(h, e->clock);
  h = mix(h, e->lanes);
  return mix(h, e->op ? e->op->loc.line * 64 + e->op->loc.column : 0);
}

static bool event_equal(const event *a, const event *b) {
  return a->op == b->op && a->clock_index == b->clock_index && a->clock == b->clock && a->lanes == b->lanes &&
         a->async == b->async;
}

static bool state_equal(const state *a, const state *b) {
  if (a->hash != b->hash || a->reader_count != b->reader_count || !event_equal(&a->write, &b->write)) return false;
  for (uint32_t i = 0; i < a->reader_count; i++)
    if (!event_equal(&a->readers[i], &b->readers[i])) return false;
  return true;
}

static void grow_slots(shadow_table *t) {
  uint32_t size = 2 * (t->slot_mask + 1);
  t->slots = ARENA_ARRAY(t->memory, uint32_t, size);
  t->slot_mask = size - 1;
  for (uint32_t id = 1; id < t->count; id++) {
    uint32_t at = t->states[id].hash & t->slot_mask;
    while (t->slots[at])
      at = (at + 1) & t->slot_mask;
    t->slots[at] = id;
  }
}

static uint32_t intern(shadow_table *t, state s) {
  s.hash = hash_event(s.reader_count, &s.write);
  for (uint32_t i = 0; i < s.reader_count; i++)
    s.hash = hash_event(s.hash, &s.readers[i]);
  uint32_t at = s.hash & t->slot_mask;
  for (; t->slots[at]; at = (at + 1) & t->slot_mask)
    if (state_equal(&t->states[t->slots[at]], &s)) return t->slots[at];
  s.readers = arena_copy(t->memory, s.readers, sizeof(event) * s.reader_count);
  t->slots[at] = t->count;
  ARENA_PUSH(t->memory, t->states, t->count, t->capacity, s);
  uint32_t id = t->count - 1;
  if (t->count > t->slot_mask / 2) grow_slots(t);
  return id;
}

static bool ordered(const access *x, const event *e) {
  return lanes_know(x->agent, x->lanes, (int)e->clock_index, e->clock, e->lanes);
}

/* By other lanes of the warp itself. */
static bool is_neighbour(const access *x, const event *e) {
  return e->clock_index == (uint32_t)x->agent->clock_index && x->agent->machine->thread_form;
}

static bool is_atomic(const ir_op *op) { return op && (op->kind == IR_OP_RED_SHARED || op->kind == IR_OP_ATOMIC); }

static const char *verb(bool write) { return write ? "written" : "read"; }

static void report_race(machine *m, const access *x, const event *earlier, bool earlier_write, int64_t position) {
  finding(m, x->agent, EMULATOR_RACE, x->loc, earlier->op ? earlier->op->loc : nowhere,
          "'%s' is %s here%s and %s by '%s'%s%s, with nothing that orders the two (at %lld)", x->value->name,
          verb(x->write), x->async ? " asynchronously" : "", verb(earlier_write),
          earlier->op ? ir_op_info_of(earlier->op->kind)->mnemonic : "", earlier->async ? " asynchronously" : "",
          is_neighbour(x, earlier) ? " in another lane of the warp" : "", (long long)position);
}

/* An event that also stands for an earlier one of the same clock, until all lanes know that. */
static void take_over(const agent *a, event *mine, const event *earlier) {
  if (a->clock[earlier->clock_index] < earlier->clock) mine->lanes |= earlier->lanes;
}

/* The state after the access; findings on conflicts. */
static uint32_t transition(machine *m, access *x, uint32_t before, int64_t position) {
  shadow_table *t = x->agent->block->cluster->shadows;
  const state old = t->states[before];
  agent *a = x->agent;
  bool atomic = is_atomic(x->op), exempt = atomic && is_atomic(old.write.op);
  if (!old.write.op && (!x->write || atomic))
    finding(m, a, EMULATOR_UNINITIALISED, x->loc, x->value->loc, "'%s' is read before it was written (at %lld)",
            x->value->name, (long long)position);
  if (old.write.op && !exempt && !ordered(x, &old.write)) {
    report_race(m, x, &old.write, true, position);
  } else if (old.write.op && x->async && !old.write.async &&
             !lanes_know_fence(a, x->lanes, (int)old.write.clock_index, old.write.clock)) {
    finding(m, a, EMULATOR_PROXY, x->loc, old.write.op->loc,
            "'%s' is %s through the async proxy, but was written by '%s' without a fence.async after it (at %lld)",
            x->value->name, verb(x->write), ir_op_info_of(old.write.op->kind)->mnemonic, (long long)position);
  }
  event mine = {x->op, (uint32_t)x->clock_index, x->clock, x->lanes, x->async};
  event readers[256];
  state next;
  memset(&next, 0, sizeof next);
  if (x->write) {
    for (uint32_t i = 0; i < old.reader_count; i++) {
      const event *r = &old.readers[i];
      if (ordered(x, r)) continue;
      if (!atomic || !is_atomic(r->op))
        report_race(m, x, r, is_atomic(r->op), position);
      else if (r->clock_index == mine.clock_index)
        take_over(a, &mine, r);
      else if (next.reader_count < 255)
        readers[next.reader_count++] = *r;
    }
    if (exempt && !ordered(x, &old.write)) {
      if (old.write.clock_index == mine.clock_index)
        take_over(a, &mine, &old.write);
      else
        readers[next.reader_count++] = old.write;
    }
    next.write = mine;
    next.readers = readers;
    return intern(t, next);
  }
  next.write = old.write;
  for (uint32_t i = 0; i < old.reader_count && next.reader_count < 255; i++) {
    const event *r = &old.readers[i];
    if (is_atomic(r->op) && !ordered(x, r)) report_race(m, x, r, true, position);
    bool same = r->clock_index == mine.clock_index;
    if (same)
      take_over(a, &mine, r);
    else if (r->clock_index == (uint32_t)a->clock_index || !ordered(x, r))
      readers[next.reader_count++] = *r;
  }
  readers[next.reader_count++] = mine;
  next.readers = readers;
  return intern(t, next);
}

access access_generic(agent *a, const ir_op *op, bool write, const ir_value *value) {
  access x = {.agent = a,
              .clock_index = a->clock_index,
              .clock = a->now,
              .lanes = acting_lanes(a),
              .write = write,
              .op = op,
              .value = value};
  if (op) x.loc = op->loc;
  return x;
}

void access_by(access *x, uint32_t lanes) {
  if (x->lanes == lanes) return;
  x->lanes = lanes;
  x->last_after = 0;
}

void shadow_access(machine *m, access *x, uint32_t *shadow, int64_t count, int64_t position) {
  uint32_t before = x->last_before, after = x->last_after;
  for (int64_t i = 0; i < count; i++) {
    if (shadow[i] != before || after == 0) {
      before = shadow[i];
      after = transition(m, x, before, position + i);
    }
    shadow[i] = after;
  }
  x->last_before = before;
  x->last_after = after;
}
