/* Which accesses to shared memory, and to the registers of asynchronous dots, are ordered. */
#include "passes/prove_machine.h"

static const char *touch_text(prove_touch touch) {
  switch (touch) {
  case PROVE_READ:
    return "reads";
  case PROVE_WRITE:
    return "writes";
  case PROVE_DOT_READ:
    return "lets the tensor core read";
  case PROVE_STORE_READ:
    return "stores";
  case PROVE_COPY_WRITE:
    return "copies to";
  case PROVE_FILL:
    return "fills";
  default:
    return "touches";
  }
}

static const char *past_text(prove_touch touch) {
  switch (touch) {
  case PROVE_READ:
    return "threads may still be reading it";
  case PROVE_WRITE:
    return "threads may not have written it yet";
  case PROVE_DOT_READ:
    return "the tensor core may still be reading it";
  case PROVE_STORE_READ:
    return "a bulk store may still be reading it";
  case PROVE_COPY_WRITE:
    return "a cp.async may not have arrived yet";
  default:
    return "the copy that fills it may not have arrived yet";
  }
}

static bool is_write(prove_touch touch) {
  return touch == PROVE_WRITE || touch == PROVE_COPY_WRITE || touch == PROVE_FILL;
}

/* The clock that an access of a flow belongs to. */
static int clock_of(const prove_machine *m, const prove_memory *cell, prove_touch touch, int flow) {
  switch (touch) {
  case PROVE_DOT_READ:
    return prove_dot_clock(m, flow);
  case PROVE_STORE_READ:
    return prove_store_clock(m, flow);
  case PROVE_COPY_WRITE:
    return prove_copy_clock(m, flow);
  case PROVE_FILL:
    return cell->fill_agent;
  default:
    return flow;
  }
}

static bool is_ring(const ir_value *value, const prove_memory *cell) {
  return value->slots > 1 || cell->last[PROVE_FILL][0].time;
}

/* The pass that orders such a pair. */
static const char *culprit_of(const ir_value *value, const prove_memory *cell, prove_touch earlier, prove_touch later) {
  if (earlier == PROVE_FILL || later == PROVE_FILL)
    return earlier == PROVE_DOT_READ ? "place-waits" : "specialise-warps";
  if (earlier == PROVE_DOT_READ) return "place-waits";
  if (is_ring(value, cell) && (earlier == PROVE_COPY_WRITE || later == PROVE_COPY_WRITE)) return "pipeline-loops";
  return "place-barriers";
}

static bool refuse(prove_machine *m, const prove_agent *a, const prove_access *access, int slot,
                   const prove_memory *cell, const ir_op *op, prove_touch earlier, int flow, bool fence) {
  const prove_event *event = &cell->last[earlier][flow];
  const char *name = access->value->name, *culprit = culprit_of(access->value, cell, earlier, access->touch);
  if (earlier == PROVE_DOT_READ && event->op && event->time <= a->dots_done)
    culprit = "place-barriers"; /* waited for */
  bool here = access->touch == PROVE_FILL && event->time <= a->first[clock_of(m, cell, earlier, flow)];
  if (here) culprit = "specialise-warps";
  char where[32] = "";
  if (access->value->slots > 1) snprintf(where, sizeof where, " (slot %d)", slot);
  return prove_fail(m, a, culprit, op, event->op, "%s %s%s while %s%s%s", touch_text(access->touch), name, where,
                    past_text(earlier), fence ? ", or is not fenced for the async proxy" : "",
                    here && !fence ? ", in another block of the cluster" : "");
}

/* Whether what the flow did last to the cell comes before the access now. */
static bool is_ordered(const prove_machine *m, const prove_agent *a, const prove_memory *cell, prove_touch earlier,
                       int flow, prove_touch now, bool multicast, bool *fence) {
  const prove_event *event = &cell->last[earlier][flow];
  if (!event->time) return true;
  bool by_engine = now == PROVE_FILL || now == PROVE_STORE_READ;
  bool by_proxy = by_engine || now == PROVE_DOT_READ;
  bool in_parts = cell->parts > 1;
  const int *known = in_parts ? (by_engine ? a->head : a->part) : by_engine ? a->first : a->all;
  int clock = clock_of(m, cell, earlier, flow);
  *fence = by_proxy && (earlier == PROVE_WRITE || earlier == PROVE_COPY_WRITE);
  if (*fence) known = in_parts ? a->seen_part : a->seen_all;
  if (multicast && !is_write(earlier)) known = a->wide;
  return event->time <= known[clock];
}

static bool check_shared(prove_machine *m, const prove_agent *a, const prove_access *access, int slot,
                         const prove_memory *cell, const ir_op *op) {
  bool written = false;
  bool multicast = access->touch == PROVE_FILL && ir_attr_get(&op->attrs, IR_ATTR_MULTICAST, 1) > 1;
  for (int touch = 0; touch < PROVE_TOUCH_COUNT; touch++) {
    if (!is_write(access->touch) && !is_write((prove_touch)touch)) continue;
    for (int f = 0; f < m->flow_count; f++) {
      bool fence;
      written |= is_write((prove_touch)touch) && cell->last[touch][f].time;
      if (!is_ordered(m, a, cell, (prove_touch)touch, f, access->touch, multicast, &fence))
        return refuse(m, a, access, slot, cell, op, (prove_touch)touch, f, fence);
    }
  }
  if (access->value->slots > 1 && !is_write(access->touch) && !written)
    return prove_fail(m, a, "specialise-warps or pipeline-loops", op, NULL,
                      "%s slot %d of %s before anything is written there", touch_text(access->touch), slot,
                      access->value->name);
  return true;
}

/* Registers of asynchronous dots: each thread's own, so only the groups matter. */
static bool check_tile(prove_machine *m, const prove_agent *a, const prove_access *access, const prove_memory *cell,
                       const ir_op *op, bool is_dot) {
  const prove_event *result = &cell->last[PROVE_FILL][0], *operand = &cell->last[PROVE_DOT_READ][0];
  bool is_result = is_dot && access->touch == PROVE_WRITE; /* the tensor core keeps the order of its own results */
  if (!is_result && result->time > a->dots_done)
    return prove_fail(m, a, "place-waits", op, result->op, "%s %s before the dot that computes it was waited for",
                      touch_text(access->touch), access->value->name);
  if (is_write(access->touch) && operand->time > a->dots_done)
    return prove_fail(m, a, "place-waits", op, operand->op, "%s %s while a dot may still be reading it",
                      touch_text(access->touch), access->value->name);
  return true;
}

/* An iteration reads what was brought for it, not what an earlier one has read already. */
static bool check_turn(prove_machine *m, const prove_agent *a, const prove_access *access, int slot,
                       const prove_memory *cell, const prove_instruction *instruction) {
  if (access->value->space != IR_SHARED || access->value->slots < 2 || is_write(access->touch)) return true;
  prove_turn *turn = &m->turn[access->site];
  int serial = access->turn < 0 ? 0 : a->loop[access->turn].serial;
  bool same = turn->number && serial == turn->serial;
  if (turn->number && (same ? cell->number != turn->number : cell->number <= turn->number))
    return prove_fail(m, a, "specialise-warps or pipeline-loops", instruction->op, cell->last[PROVE_FILL][0].op,
                      "%s what slot %d of %s had %s", touch_text(access->touch), slot, access->value->name,
                      same ? "not had before in the same iteration" : "for an earlier iteration");
  *turn = (prove_turn){serial, cell->number};
  return true;
}

/* A buffer in shares is always in the same ones. */
static bool has_parts(prove_machine *m, const prove_agent *a, const prove_access *access, prove_memory *cell,
                      const ir_op *op) {
  int parts = (int)ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1);
  int axis = parts > 1 ? (int)ir_attr_get(&op->attrs, IR_ATTR_AXIS, 0) : 0;
  if (access->value->space == IR_TILE || (cell->parts == parts && cell->axis == axis)) return true;
  if (cell->parts)
    return prove_fail(m, a, "part-stores", op, NULL, "uses %s in %d parts along dimension %d, others in %d along %d",
                      access->value->name, parts, axis, cell->parts, cell->axis);
  cell->parts = parts;
  cell->axis = axis;
  return true;
}

static bool slot_of(prove_machine *m, const prove_agent *a, const prove_access *access, const ir_op *op, int *slot) {
  *slot = 0;
  if (!access->slot) return true;
  prove_number n = prove_eval(&a->env, access->slot);
  if (!n.known)
    return prove_fail(m, a, "an earlier pass", op, NULL, "the slot of %s does not follow from sizes and ring positions",
                      access->value->name);
  if (n.value < 0 || n.value >= access->value->slots)
    return prove_fail(m, a, "specialise-warps or pipeline-loops", op, NULL, "slot %lld of %s, which has %d",
                      (long long)n.value, access->value->name, access->value->slots);
  *slot = (int)n.value;
  return true;
}

static void record(const prove_agent *a, const prove_access *access, prove_memory *cell, const ir_op *op, bool is_dot) {
  int f = a->index;
  switch (access->touch) {
  case PROVE_READ:
    cell->last[PROVE_READ][f] = (prove_event){a->time, op};
    break;
  case PROVE_WRITE:
    if (is_dot)
      cell->last[PROVE_FILL][0] = (prove_event){a->dots + 1, op};
    else
      cell->last[PROVE_WRITE][f] = (prove_event){a->time, op};
    break;
  case PROVE_DOT_READ:
    if (is_dot)
      cell->last[PROVE_DOT_READ][access->value->space == IR_TILE ? 0 : f] = (prove_event){a->dots + 1, op};
    else
      cell->last[PROVE_READ][f] = (prove_event){a->time, op}; /* done when the op is done */
    break;
  case PROVE_STORE_READ:
    cell->last[PROVE_STORE_READ][f] = (prove_event){a->stores + 1, op};
    break;
  case PROVE_COPY_WRITE:
    cell->last[PROVE_COPY_WRITE][f] = (prove_event){a->copies + 1, op};
    break;
  default:
    break;
  }
}

bool prove_accesses(prove_machine *m, prove_agent *a, const prove_instruction *instruction) {
  const ir_op *op = instruction->op;
  bool is_dot = op->kind == IR_OP_DOT && ir_attr_get(&op->attrs, IR_ATTR_ASYNC, 0);
  int slot;
  for (int i = 0; i < instruction->access_count; i++) {
    const prove_access *access = &instruction->access[i];
    if (!slot_of(m, a, access, op, &slot)) return false;
    prove_memory *cell = &m->cell[m->cell_of[access->value->number] + slot];
    if (!has_parts(m, a, access, cell, op)) return false;
    bool ok = access->value->space == IR_TILE ? check_tile(m, a, access, cell, op, is_dot)
                                              : check_shared(m, a, access, slot, cell, op);
    if (!ok || !check_turn(m, a, access, slot, cell, instruction)) return false;
  }
  for (int i = 0; i < instruction->access_count; i++) {
    const prove_access *access = &instruction->access[i];
    if (!slot_of(m, a, access, op, &slot)) return false;
    prove_memory *cell = &m->cell[m->cell_of[access->value->number] + slot];
    if (is_write(access->touch)) cell->number = ++m->fills[access->value->number];
    if (access->touch == PROVE_FILL) {
      prove_event *event = &cell->last[PROVE_FILL][0];
      if (!prove_bring(m, a, op, &cell->fill_agent, &event->time)) return false;
      event->op = op;
    } else {
      record(a, access, cell, op, is_dot);
    }
    if (access->touch == PROVE_STORE_READ) {
      a->store_open = true, a->store_op = op;
      a->store_parts = (int)ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1);
    }
    if (access->touch == PROVE_COPY_WRITE) a->copy_open = true, a->copy_op = op, a->last_copies = a->copies + 1;
  }
  if (is_dot) a->dot_open = true, a->dot_op = op;
  return true;
}
