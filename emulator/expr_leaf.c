/* What expressions read: scalars, sizes, registers, elements, and facts about the thread. */
#include "emulator/expr.h"

#include <string.h>

static void read_value(evaluation *v, const ir_expr *e, cell *out) {
  const ir_value *value = e->value;
  if (value->space == IR_SIZE) {
    EACH_LANE out[l] = v->m->sizes[value->number];
    return;
  }
  if (!v->a) {
    memset(out, 0, sizeof(cell) * LANES);
    finding(v->m, NULL, EMULATOR_LAUNCH, value->loc, nowhere, "'%s' is not a size of the launch", value->name);
    return;
  }
  const cell *from = v->a->scalars + (size_t)value->number * LANES;
  bool varying = v->m->code.varying[value->number];
  if (v->m->checks && value->space == IR_SCALAR) {
    uint32_t wanted = varying ? v->mask : 1;
    if (wanted & ~v->a->scalar_initialised[value->number])
      finding(v->m, v->a, EMULATOR_UNINITIALISED, nowhere, value->loc, "scalar '%s' is read before it was written",
              value->name);
  }
  if (varying)
    memcpy(out, from, sizeof(cell) * (size_t)v->lanes);
  else
    EACH_LANE out[l] = from[0];
}

static void read_registers(evaluation *v, const ir_expr *e, cell *out) {
  register_array *r = &v->a->registers[e->value->number];
  uint32_t missing = 0;
  int bad = -1;
  EACH_LANE {
    int64_t index = out[l].i;
    if (!(v->mask >> l & 1)) {
      out[l].i = 0;
      continue;
    }
    if (index < 0 || index >= r->words) {
      finding(v->m, v->a, EMULATOR_BOUNDS, nowhere, e->value->loc, "word %lld of '%s', which has %d", (long long)index,
              e->value->name, r->words);
      out[l].i = 0;
      continue;
    }
    if (!(r->initialised[index] >> l & 1)) missing |= 1u << l, bad = (int)index;
    if (r->written_group[index] > v->a->dot_done && v->m->checks) {
      finding(v->m, v->a, EMULATOR_IN_FLIGHT, nowhere, v->m->code.instructions[r->flight_instruction[index]].op->loc,
              "word %lld of '%s' is read while a wgmma that writes it is in flight: wait for its group first",
              (long long)index, e->value->name);
      r->written_group[index] = 0;
    }
    r->touched[index] = v->a->fences;
    out[l] = register_cell(e->value->type, r->word[index * LANES + l]);
  }
  if (missing && v->m->checks)
    finding(v->m, v->a, EMULATOR_UNINITIALISED, nowhere, e->value->loc,
            "word %d of '%s' is read before it was written (lane %d)", bad, e->value->name, first_lane(missing));
}

void expr_element(evaluation *v, const ir_expr *e, cell (*arg)[LANES]) {
  const ir_value *value = e->value;
  if (value->space == IR_REGISTERS) {
    read_registers(v, e, arg[0]);
    return;
  }
  if (v->m->thread_form) {
    finding(v->m, v->a, EMULATOR_UNSUPPORTED, nowhere, value->loc,
            "an element of '%s' in an expression of the thread form", value->name);
    return;
  }
  int first = e->slot ? 1 : 0;
  const tensor *t = value->space == IR_GLOBAL ? &v->m->tensors[value->number] : NULL;
  store *st = t ? NULL : agent_store(v->a, value);
  cell result[LANES] = {{0}};
  EACH_LANE {
    if (!(v->mask >> l & 1)) continue;
    int64_t index[IR_MAX_RANK], position = 0;
    bool inside = true;
    for (int d = 0; d < e->arg_count; d++) {
      index[d] = arg[first + d][l].i;
      int64_t extent = t ? t->extent[d] : st->extent[d];
      inside = inside && index[d] >= 0 && index[d] < extent;
      if (!t) position = position * extent + index[d];
    }
    if (t) {
      /* Outside its extents a tensor reads as zero. */
      if (inside) position = tensor_position(t, index);
      if (inside && tensor_holds(t, position)) {
        result[l] = tensor_load(v->m, t, position);
        tensor_touch(v->m, v->a, t, position, 1, TENSOR_READ);
        v->m->report->counts.events[IR_EVENT_GLOBAL_READ_BYTES] += (uint64_t)(t->bits + 7) / 8;
      } else if (inside) {
        finding(v->m, v->a, EMULATOR_BOUNDS, nowhere, value->loc, "element %lld of '%s' lies beyond its %zu bytes",
                (long long)position, value->name, t->byte_size);
      }
      continue;
    }
    int64_t slot = e->slot ? arg[0][l].i : 0;
    if (!inside || slot < 0 || slot >= st->slots) {
      finding(v->m, v->a, EMULATOR_BOUNDS, nowhere, value->loc, "an index of '%s' is outside its extents", value->name);
      continue;
    }
    store_read(v->m, v->a, value, slot, position, 1, nowhere);
    result[l] = st->cells[slot * st->count + position];
  }
  memcpy(arg[0], result, sizeof(cell) * (size_t)v->lanes);
}

void expr_leaf(evaluation *v, const ir_expr *e, cell *out) {
  int64_t base = 0;
  switch (e->kind) {
  case IR_EXPR_INT:
  case IR_EXPR_BOOL:
    EACH_LANE out[l].i = e->int_value;
    return;
  case IR_EXPR_FLOAT:
    EACH_LANE out[l].f = v->m->reference || ir_bits(e->type) > 32 ? e->float_value : (double)(float)e->float_value;
    return;
  case IR_EXPR_VALUE:
    read_value(v, e, out);
    return;
  case IR_EXPR_TID:
    EACH_LANE out[l].i = v->a->number * LANES + l;
    return;
  case IR_EXPR_LANE:
    EACH_LANE out[l].i = l;
    return;
  case IR_EXPR_WARP:
    base = v->a->number;
    break;
  case IR_EXPR_BLOCK:
    base = v->a->block->index;
    break;
  case IR_EXPR_BLOCKS:
    base = v->m->block_count;
    break;
  case IR_EXPR_CTA_RANK:
    base = v->a->block->rank;
    break;
  default:
    BUG("'%s' is no leaf", ir_expr_info_of(e->kind)->text);
  }
  EACH_LANE out[l].i = base;
}

void expr_address(const evaluation *v, const ir_expr *e, cell *out) {
  const ir_value *value = e->args[0]->value;
  int64_t stride = v->m->slot_bytes[value->number];
  EACH_LANE out[l].i = (int64_t)(uint32_t)(SHARED_BASE + value->offset + (e->args[0]->slot ? out[l].i * stride : 0));
}
