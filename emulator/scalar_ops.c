/* let, set, atomic, declare: scalars, and single elements of tiles, tensors and registers. */
#include "emulator/machine.h"

#include <math.h>
#include <string.h>

/* `x` of the program's type as the destination's, in every active lane. */
static void convert_lanes(const machine *m, const agent *a, ir_type from, ir_type to, cell *x) {
  bool exact = from == to && (ir_bits(to) >= 32 || to == IR_PRED) && to != IR_TF32;
  if (exact) return;
  for (int l = 0; l < LANES; l++)
    if (a->mask >> l & 1) x[l] = convert_cell(m, from, to, x[l]);
}

static void write_scalar(machine *m, agent *a, const ir_value *value, const cell *x) {
  cell *to = a->scalars + (size_t)value->number * LANES;
  if (!m->code.varying[value->number]) {
    to[0] = x[first_lane(a->mask)];
    a->scalar_initialised[value->number] = ~0u;
    return;
  }
  for (int l = 0; l < LANES; l++)
    if (a->mask >> l & 1) to[l] = x[l];
  a->scalar_initialised[value->number] |= a->mask;
}

bool register_write_word(machine *m, agent *a, const ir_value *value, int64_t index, int lane, uint64_t word) {
  register_array *r = &a->registers[value->number];
  if (index < 0 || index >= r->words) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, value->loc, "word %lld of '%s', which has %d", (long long)index,
            value->name, r->words);
    return false;
  }
  if (m->checks && (r->written_group[index] > a->dot_done || r->read_group[index] > a->dot_done)) {
    finding(m, a, EMULATOR_IN_FLIGHT, nowhere, m->code.instructions[r->flight_instruction[index]].op->loc,
            "word %lld of '%s' is written while a wgmma that %s it is in flight: wait for its group first",
            (long long)index, value->name, r->written_group[index] > a->dot_done ? "writes" : "reads");
    r->written_group[index] = r->read_group[index] = 0;
  }
  r->word[index * LANES + lane] = word;
  r->initialised[index] |= 1u << lane;
  r->touched[index] = a->fences;
  return true;
}

static void write_register(machine *m, agent *a, const operand *o, const cell *x) {
  cell index[LANES];
  evaluate(m, a, o->start[0], index);
  for (int l = 0; l < LANES; l++)
    if ((a->mask >> l & 1) && !register_write_word(m, a, o->value, index[l].i, l, register_word(o->value->type, x[l])))
      return;
}

cell combine_cells(const machine *m, ir_type type, int64_t operation, cell old, cell x) {
  cell r = old;
  bool real = is_real(type);
  switch (operation) {
  case IR_SUM:
    if (real)
      r.f = old.f + x.f;
    else
      r.i = (int64_t)((uint64_t)old.i + (uint64_t)x.i);
    break;
  case IR_MUL:
    if (real)
      r.f = old.f * x.f;
    else
      r.i = (int64_t)((uint64_t)old.i * (uint64_t)x.i);
    break;
  case IR_MAX:
    if (real)
      r.f = fmax(old.f, x.f);
    else
      r.i = old.i > x.i ? old.i : x.i;
    break;
  case IR_MIN:
    if (real)
      r.f = fmin(old.f, x.f);
    else
      r.i = old.i < x.i ? old.i : x.i;
    break;
  case IR_AND:
    r.i = old.i & x.i;
    break;
  case IR_OR:
    r.i = old.i | x.i;
    break;
  default:
    r.i = old.i ^ x.i;
    break;
  }
  return convert_cell(m, type, type, r);
}

static void write_tensor(machine *m, agent *a, const instruction *in, cell (*index)[LANES], const cell *x) {
  const ir_value *value = in->write[0].value;
  tensor *t = &m->tensors[value->number];
  for (int l = 0; l < LANES; l++) {
    if (!(a->mask >> l & 1)) continue;
    int64_t at[IR_MAX_RANK] = {0};
    for (int d = 0; d < value->rank; d++)
      at[d] = index[d][l].i;
    int64_t position = tensor_position(t, at);
    if (position < 0) continue; /* outside the extents nothing is written */
    if (!tensor_holds(t, position)) {
      finding(m, a, EMULATOR_BOUNDS, nowhere, value->loc, "element %lld of '%s' lies beyond its %zu bytes",
              (long long)position, value->name, t->byte_size);
      return;
    }
    cell result = x[l];
    if (in->op->kind == IR_OP_ATOMIC)
      result = combine_cells(m, value->type, ir_attr_get(&in->op->attrs, IR_ATTR_OPERATION, IR_SUM),
                             tensor_load(m, t, position), x[l]);
    tensor_touch(m, a, t, position, 1, in->op->kind == IR_OP_ATOMIC ? TENSOR_COMBINE : TENSOR_WRITE);
    tensor_store(t, position, result);
    m->report->counts.events[IR_EVENT_GLOBAL_WRITE_BYTES] += (uint64_t)(t->bits + 7) / 8;
  }
}

static void write_store(machine *m, agent *a, const instruction *in, cell (*index)[LANES], const cell *x) {
  const operand *o = &in->write[0];
  const ir_value *value = o->value;
  store *st = agent_store(a, value);
  int64_t slot = o->slot ? evaluate_uniform(m, a, o->slot).i : 0;
  for (int l = 0; l < LANES; l++) {
    if (!(a->mask >> l & 1)) continue;
    int64_t position = 0;
    bool inside = slot >= 0 && slot < st->slots;
    for (int d = 0; d < value->rank; d++) {
      inside = inside && index[d][l].i >= 0 && index[d][l].i < st->extent[d];
      position = position * st->extent[d] + index[d][l].i;
    }
    if (!inside) {
      finding(m, a, EMULATOR_BOUNDS, nowhere, value->loc, "an index of '%s' is outside its extents", value->name);
      return;
    }
    cell *at = &st->cells[slot * st->count + position];
    cell result = x[l];
    if (in->op->kind == IR_OP_ATOMIC) {
      store_read(m, a, value, slot, position, 1, nowhere);
      result = combine_cells(m, value->type, ir_attr_get(&in->op->attrs, IR_ATTR_OPERATION, IR_SUM), *at, x[l]);
    }
    store_write(m, a, value, slot, position, 1, nowhere);
    *at = result;
  }
}

static void declare(agent *a, const ir_value *value) {
  if (value->space == IR_REGISTERS && a->registers) {
    register_array *r = &a->registers[value->number];
    for (int i = 0; i < r->words; i++)
      r->initialised[i] &= ~a->mask;
  } else {
    a->scalar_initialised[value->number] &= ~a->mask;
  }
}

outcome execute_scalar(machine *m, agent *a, const instruction *in) {
  const operand *o = &in->write[0];
  const ir_value *value = o->value;
  if (in->op->kind == IR_OP_DECLARE) {
    declare(a, value);
    return OUTCOME_NEXT;
  }
  cell x[LANES], index[IR_MAX_RANK][LANES];
  evaluate(m, a, in->expr[0], x);
  bool packed = value->space == IR_REGISTERS && ir_bits(value->type) < 32;
  if (!packed) convert_lanes(m, a, in->expr[0]->type, value->type, x);
  if (value->space == IR_SCALAR) {
    write_scalar(m, a, value, x);
  } else if (value->space == IR_REGISTERS) {
    write_register(m, a, o, x);
  } else if (m->thread_form) {
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, value->loc, "an element of '%s' is set in the thread form",
            value->name);
  } else if (o->count != value->rank) {
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, value->loc, "'%s' has %d dimensions, but %d indices are given",
            value->name, value->rank, o->count);
  } else {
    for (int d = 0; d < value->rank; d++)
      evaluate(m, a, o->start[d], index[d]);
    if (value->space == IR_GLOBAL)
      write_tensor(m, a, in, index, x);
    else
      write_store(m, a, in, index, x);
  }
  return OUTCOME_NEXT;
}
