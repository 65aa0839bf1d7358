/* Element values: conversion between types, elements of tensors, tiles and register words. */
#include "emulator/machine.h"

#include "ir/numeric.h"

#include <math.h>
#include <string.h>

bool is_real(ir_type type) {
  ir_class class = ir_type_of(type)->class;
  return class == IR_CLASS_FLOAT || class == IR_CLASS_SCALE || class == IR_CLASS_TABLE;
}

static uint64_t double_bits(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static double bits_double(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

enum { DOUBLE_MANTISSA = 52, DOUBLE_BIAS = 1023 };

/* Whether the value is a normal number of an IEEE-like type even after rounding; *exponent is its biased double
 * exponent. */
static bool is_plain(const ir_type_info *info, uint64_t bits, int *exponent) {
  int bias = (1 << (info->exponent_bits - 1)) - 1;
  *exponent = (int)(bits >> DOUBLE_MANTISSA & 0x7ff);
  return info->exponent_bits >= 5 && info->bits <= 32 && *exponent > DOUBLE_BIAS - bias &&
         *exponent < DOUBLE_BIAS + bias;
}

/* To the nearest with `kept` mantissa bits, ties to even. */
static uint64_t round_mantissa(uint64_t bits, int kept) {
  int dropped = DOUBLE_MANTISSA - kept;
  uint64_t half = (1ull << (dropped - 1)) - 1 + (bits >> dropped & 1);
  return (bits + half) & ~((1ull << dropped) - 1);
}

double round_real(const machine *m, ir_type type, double value) {
  if (m->reference || type == IR_F64) return value;
  if (type == IR_F32) return (double)(float)value;
  const ir_type_info *info = ir_type_of(type);
  uint64_t bits = double_bits(value);
  int exponent;
  if (value == 0 && info->exponent_bits >= 5 && info->class == IR_CLASS_FLOAT) return value;
  if (info->class == IR_CLASS_FLOAT && is_plain(info, bits, &exponent))
    return bits_double(round_mantissa(bits, info->mantissa_bits));
  return ir_round(type, value);
}

uint64_t cell_bits(ir_type type, cell value) {
  const ir_type_info *info = ir_type_of(type);
  if (!is_real(type)) return info->bits == 64 ? (uint64_t)value.i : (uint64_t)value.i & ((1ull << info->bits) - 1);
  if (type == IR_F32) {
    float narrow = (float)value.f;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    return bits;
  }
  uint64_t bits = double_bits(value.f);
  if (type == IR_F64) return bits;
  int exponent;
  if (info->class != IR_CLASS_FLOAT || info->bits > 16 || !is_plain(info, bits, &exponent))
    return ir_encode(type, value.f);
  uint64_t rounded = round_mantissa(bits, info->mantissa_bits);
  int bias = (1 << (info->exponent_bits - 1)) - 1;
  uint64_t field = (rounded >> DOUBLE_MANTISSA & 0x7ff) - (uint64_t)(DOUBLE_BIAS - bias);
  uint64_t mantissa = rounded >> (DOUBLE_MANTISSA - info->mantissa_bits) & ((1ull << info->mantissa_bits) - 1);
  return (bits >> 63) << (info->bits - 1) | field << info->mantissa_bits | mantissa;
}

cell bits_cell(const machine *m, ir_type type, uint64_t bits) {
  const ir_type_info *info = ir_type_of(type);
  cell result;
  if (!is_real(type)) {
    result.i = ir_wrap(type, (int64_t)bits);
    return result;
  }
  if (m->decoded[type]) {
    result.f = (double)m->decoded[type][bits & ((1ull << info->bits) - 1)];
  } else if (type == IR_F32) {
    uint32_t narrow = (uint32_t)bits;
    float value;
    memcpy(&value, &narrow, sizeof value);
    result.f = (double)value;
  } else {
    result.f = ir_decode(type, bits);
  }
  return result;
}

cell convert_cell(const machine *m, ir_type from, ir_type to, cell value) {
  if (from == to && !is_real(to)) return value;
  cell result = value;
  if (is_real(from) && is_real(to)) {
    result.f = round_real(m, to, value.f);
  } else if (is_real(from)) {
    result.i = to == IR_PRED ? value.f != 0 : ir_truncate(to, value.f);
  } else if (is_real(to)) {
    result.f = round_real(m, to, domain_of(from) == DOMAIN_U64 ? (double)(uint64_t)value.i : (double)value.i);
  } else {
    result.i = ir_wrap(to, value.i);
  }
  return result;
}

/* -- Tensors ------------------------------------------------------------------------------------------------------- */

bool tensor_holds(const tensor *t, int64_t position) {
  return position >= 0 && (uint64_t)position < t->byte_size * 8 / (uint64_t)t->bits;
}

cell tensor_load(const machine *m, const tensor *t, int64_t position) {
  if (t->wide && is_real(t->value->type)) {
    cell result = {.f = t->wide[position]};
    return result;
  }
  uint64_t bits = 0;
  const uint8_t *at = t->bytes + (size_t)position * (size_t)(t->bits / 8);
  switch (t->bits) {
  case 8:
    bits = *at;
    break;
  case 16:
    bits = (uint64_t)at[0] | (uint64_t)at[1] << 8;
    break;
  default:
    bits = ir_get_bits(t->bytes, (size_t)position, t->bits);
    break;
  }
  return bits_cell(m, t->value->type, bits);
}

void tensor_store(tensor *t, int64_t position, cell value) {
  if (t->wide) t->wide[position] = is_real(t->value->type) ? value.f : (double)value.i;
  ir_put_bits(t->bytes, (size_t)position, t->bits, cell_bits(t->value->type, value));
}

void tensor_touch(machine *m, agent *a, const tensor *t, int64_t first, int64_t count, tensor_use use) {
  if (!t->writer) return;
  const uint32_t combined = UINT32_MAX, mine = use == TENSOR_COMBINE ? combined : (uint32_t)a->block->index + 1;
  for (int64_t i = first; i < first + count; i++) {
    uint32_t writer = t->writer[i];
    if (writer && writer != mine) {
      const char *verb = use == TENSOR_READ ? "read" : use == TENSOR_WRITE ? "written" : "combined with";
      if (writer == combined)
        finding(m, a, EMULATOR_RACE, nowhere, t->value->loc,
                "'%s' is %s here and combined with atomically elsewhere (at %lld)", t->value->name, verb, (long long)i);
      else
        finding(m, a, EMULATOR_RACE, nowhere, t->value->loc,
                "'%s' is %s by block %d, and was written by block %u (at %lld)", t->value->name, verb, a->block->index,
                (unsigned)(writer - 1), (long long)i);
    }
    if (use != TENSOR_READ) t->writer[i] = mine;
  }
}

int64_t tensor_position(const tensor *t, const int64_t *index) {
  int64_t position = 0;
  for (int d = 0; d < t->value->rank; d++) {
    if (index[d] < 0 || index[d] >= t->extent[d]) return -1;
    position += index[d] * t->stride[d];
  }
  if (tensor_is_strided(t)) return position;
  /* Blocks follow one another along k, then along rows; dimensions before the last two are one after another. */
  const packed_layout *packed = t->value->packed;
  int rank = t->value->rank;
  int64_t row = rank > 1 ? index[rank - 2] : 0, k = index[rank - 1];
  int64_t block_number = row / packed->rows * t->packed_columns + k / packed->k;
  return block_number * packed->rows * packed->k +
         packed_layout_position(packed, (int)(row % packed->rows), (int)(k % packed->k));
}

/* -- Tiles and buffers before the thread form ---------------------------------------------------------------------- */

store *agent_store(const agent *a, const ir_value *value) { return &a->block->stores[value->number]; }

static void check_flight(machine *m, agent *a, const ir_value *value, store *st, bool write, src_loc loc) {
  bool touched = st->written_group > a->dot_done || (write && st->read_group > a->dot_done);
  if (!touched || !m->checks) return;
  finding(m, a, EMULATOR_IN_FLIGHT, loc, m->code.instructions[st->flight_instruction].op->loc,
          "'%s' is %s while an asynchronous dot that %s it is in flight: wait for its group first", value->name,
          write ? "written" : "read", st->written_group > a->dot_done ? "writes" : "reads");
  st->written_group = st->read_group = 0;
}

void store_access(machine *m, access *x, int64_t position, int64_t count) {
  store *st = agent_store(x->agent, x->value);
  if (x->value->space == IR_TILE) check_flight(m, x->agent, x->value, st, x->write, x->loc);
  uint32_t *shadow = st->shadow + position;
  if (m->concurrent && m->checks) {
    shadow_access(m, x, shadow, count, position);
    return;
  }
  for (int64_t i = 0; i < count; i++) {
    if (x->write) {
      shadow[i] = 1;
    } else if (!shadow[i] && m->checks) {
      finding(m, x->agent, EMULATOR_UNINITIALISED, x->loc, x->value->loc,
              "element %lld of '%s' is read before it was written", (long long)(position + i), x->value->name);
      return;
    }
  }
}

static void store_touch(machine *m, agent *a, const ir_value *value, int64_t position, int64_t count, bool write,
                        src_loc loc) {
  access x = access_generic(a, m->code.instructions[a->pc].op, write, value);
  if (loc.line) x.loc = loc;
  store_access(m, &x, position, count);
}

void store_read(machine *m, agent *a, const ir_value *value, int64_t slot, int64_t position, int64_t count,
                src_loc loc) {
  store_touch(m, a, value, slot * agent_store(a, value)->count + position, count, false, loc);
}

void store_write(machine *m, agent *a, const ir_value *value, int64_t slot, int64_t position, int64_t count,
                 src_loc loc) {
  store_touch(m, a, value, slot * agent_store(a, value)->count + position, count, true, loc);
}

/* -- Registers of a thread ----------------------------------------------------------------------------------------- */

int register_words(const ir_value *value) {
  int bits = ir_bits(value->type);
  int64_t elements = ir_element_count(value);
  return (int)(bits >= 32 ? elements : (elements * bits + 31) / 32);
}

/* Words of types under 32 bits are packed and have no value of their own. */
cell register_cell(ir_type type, uint64_t word) {
  int bits = ir_bits(type);
  cell result = {.i = (int64_t)word};
  if (bits < 32) return result;
  if (!is_real(type)) {
    result.i = ir_wrap(type, (int64_t)word);
  } else if (bits == 64) {
    result.f = bits_double(word);
  } else {
    uint32_t narrow = (uint32_t)word;
    float value;
    memcpy(&value, &narrow, sizeof value);
    result.f = (double)value;
  }
  return result;
}

uint64_t register_word(ir_type type, cell value) {
  int bits = ir_bits(type);
  if (bits == 64) return is_real(type) ? double_bits(value.f) : (uint64_t)value.i;
  if (bits < 32 || !is_real(type)) return (uint32_t)value.i;
  float narrow = (float)value.f;
  uint32_t word;
  memcpy(&word, &narrow, sizeof word);
  return word;
}
