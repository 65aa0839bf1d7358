/* What each lane of a warp knows of what happened.
 *
 * The warp's clock is what every lane has observed; of its own events it says which ones all lanes know. Beyond it a
 * lane knows
 *   - what it did itself: its generic accesses, and its asynchronous groups that it has waited for;
 *   - what it alone has acquired, by a wait that some lanes of the warp executed: its own clock, made at need.
 * Where the lanes meet (warp.sync and the barriers of the block and cluster) all of it becomes common. An instruction
 * that is only executed by all lanes together, such as ldmatrix, orders nothing between them.
 *
 * A release speaks for the lanes that execute it. What the others have done since the lanes last met is not part of it.
 * Before the thread form an agent has one lane, the first. */
#include "emulator/machine.h"

#include <string.h>

uint32_t acting_lanes(const agent *a) { return a->machine->thread_form ? a->mask : 1; }

static bool acts_as_one(const agent *a) { return !a->machine->thread_form || a->mask == ~0u; }

static int clock_count(const agent *a) { return a->block->cluster->clock_count; }

/* -- Asynchronous groups ------------------------------------------------------------------------------------------- */

uint32_t groups_use(lane_groups *g, uint32_t lanes) {
  for (uint32_t rest = lanes; rest; rest &= rest - 1)
    g->newest[first_lane(rest)] = g->open;
  g->lanes |= lanes;
  return g->open;
}

void groups_wait(lane_groups *g, uint32_t lanes, int64_t pending) {
  int64_t newest = (int64_t)g->open - 1 - pending;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    uint32_t *done = &g->done[first_lane(rest)];
    if (newest > (int64_t)*done) *done = (uint32_t)newest;
  }
}

bool groups_are_done(const lane_groups *g) {
  for (uint32_t rest = g->lanes; rest; rest &= rest - 1) {
    int l = first_lane(rest);
    if (g->newest[l] > g->done[l]) return false;
  }
  return true;
}

/* The newest group up to which every lane has waited for what it copied. */
static uint32_t done_by_all(const lane_groups *g) {
  uint32_t group = g->open - 1;
  for (uint32_t rest = g->lanes; rest; rest &= rest - 1) {
    int l = first_lane(rest);
    if (g->newest[l] > g->done[l] && g->done[l] < group) group = g->done[l];
  }
  return group;
}

static void forget_done(lane_groups *g) {
  for (uint32_t rest = g->lanes; rest; rest &= rest - 1) {
    int l = first_lane(rest);
    if (g->newest[l] <= g->done[l]) g->lanes &= ~(1u << l);
  }
}

static const lane_groups *groups_of(const agent *a, int engine) {
  return engine == CLOCK_CP ? &a->cp : engine == CLOCK_BULK ? &a->bulk : NULL;
}

/* -- Clocks -------------------------------------------------------------------------------------------------------- */

void clock_join(uint32_t *into, const uint32_t *from, int count) {
  for (int i = 0; i < count; i++)
    if (from[i] > into[i]) into[i] = from[i];
}

void clock_advance(agent *a) { a->now++; }

/* The newest event of an engine of the agent, CLOCK_SELF for its own, that `lanes` together can speak for. */
static uint32_t covered_by(const agent *a, int engine, uint32_t lanes) {
  uint32_t common = a->clock[a->clock_index + engine], newest = common;
  if (engine == CLOCK_SELF) {
    newest = a->unsynced & ~lanes ? common : a->now;
  } else if (groups_of(a, engine)) {
    const lane_groups *g = groups_of(a, engine);
    newest = g->lanes & ~lanes ? common : done_by_all(g);
  }
  return newest > common ? newest : common;
}

uint32_t released_event(const agent *a) { return covered_by(a, CLOCK_SELF, acting_lanes(a)); }

static uint32_t *lane_clock(const agent *a, int lane) {
  return a->lane_clocks + (size_t)lane * 2 * (size_t)clock_count(a);
}

static uint32_t *lane_async_clock(const agent *a, int lane) { return lane_clock(a, lane) + clock_count(a); }

/* Clocks for lanes that are about to know more than the warp. */
static void part_lanes(agent *a, uint32_t lanes) {
  size_t words = 2 * (size_t)clock_count(a);
  if (!a->lane_clocks) a->lane_clocks = ARENA_ARRAY(a->block->cluster->memory, uint32_t, (size_t)LANES * words);
  for (uint32_t rest = lanes & ~a->parted; rest; rest &= rest - 1)
    memset(lane_clock(a, first_lane(rest)), 0, sizeof(uint32_t) * words);
  a->parted |= lanes;
}

void lanes_observe(agent *a, const uint32_t *clock, const uint32_t *async_clock) {
  int count = clock_count(a);
  if (acts_as_one(a)) {
    clock_join(a->clock, clock, count);
    clock_join(a->async_clock, async_clock, count);
    return;
  }
  part_lanes(a, a->mask);
  for (uint32_t rest = a->mask; rest; rest &= rest - 1) {
    clock_join(lane_clock(a, first_lane(rest)), clock, count);
    clock_join(lane_async_clock(a, first_lane(rest)), async_clock, count);
  }
}

void lanes_release(const agent *a, uint32_t *clock, uint32_t *async_clock) {
  int count = clock_count(a);
  uint32_t lanes = acting_lanes(a);
  clock_join(clock, a->clock, count);
  clock_join(async_clock, a->async_clock, count);
  for (int i = 0; i < CLOCKS_OF_AGENT; i++) {
    uint32_t newest = covered_by(a, i, lanes), *own = &clock[a->clock_index + i];
    if (newest > *own) *own = newest;
  }
  for (uint32_t rest = lanes & a->parted; rest; rest &= rest - 1) {
    clock_join(clock, lane_clock(a, first_lane(rest)), count);
    clock_join(async_clock, lane_async_clock(a, first_lane(rest)), count);
  }
}

void lanes_meet(agent *a) {
  int count = clock_count(a);
  for (int i = 0; i < CLOCKS_OF_AGENT; i++)
    a->clock[a->clock_index + i] = covered_by(a, i, ~0u);
  for (uint32_t rest = a->parted; rest; rest &= rest - 1) {
    clock_join(a->clock, lane_clock(a, first_lane(rest)), count);
    clock_join(a->async_clock, lane_async_clock(a, first_lane(rest)), count);
  }
  a->parted = a->unsynced = 0;
  forget_done(&a->cp);
  forget_done(&a->bulk);
}

void lanes_fence_async(agent *a) {
  uint32_t lanes = acting_lanes(a);
  if (!acts_as_one(a)) part_lanes(a, lanes);
  for (int i = 0; i < CLOCKS_OF_AGENT; i++) {
    int at = a->clock_index + i;
    uint32_t seen = covered_by(a, i, lanes);
    if (acts_as_one(a)) {
      if (seen > a->async_clock[at]) a->async_clock[at] = seen;
      continue;
    }
    for (uint32_t rest = lanes; rest; rest &= rest - 1) {
      uint32_t *own = &lane_async_clock(a, first_lane(rest))[at];
      if (seen > *own) *own = seen;
    }
  }
  clock_advance(a);
}

/* -- Questions ----------------------------------------------------------------------------------------------------- */

/* Whether a lane knows an event of a clock beyond what the warp does. */
static bool lane_knows(const agent *a, int lane, int clock_index, uint32_t clock, uint32_t by) {
  if (a->parted >> lane & 1 && lane_clock(a, lane)[clock_index] >= clock) return true;
  int engine = clock_index - a->clock_index;
  if (engine < 0 || engine >= CLOCKS_OF_AGENT || by != 1u << lane) return false;
  const lane_groups *g = groups_of(a, engine);
  return engine == CLOCK_SELF || (g && g->done[lane] >= clock);
}

bool lanes_know(const agent *a, uint32_t lanes, int clock_index, uint32_t clock, uint32_t by) {
  if (a->clock[clock_index] >= clock) return true;
  for (uint32_t rest = lanes; rest; rest &= rest - 1)
    if (!lane_knows(a, first_lane(rest), clock_index, clock, by)) return false;
  return true;
}

bool lanes_know_fence(const agent *a, uint32_t lanes, int clock_index, uint32_t clock) {
  if (a->async_clock[clock_index] >= clock) return true;
  if (lanes & ~a->parted) return false;
  for (uint32_t rest = lanes; rest; rest &= rest - 1)
    if (lane_async_clock(a, first_lane(rest))[clock_index] < clock) return false;
  return true;
}
