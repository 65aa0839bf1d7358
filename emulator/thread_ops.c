/* Memory ops of one thread, executed by the 32 lanes of a warp in step: loads, stores, atomics, ldmatrix, cp.async. */
#include "emulator/machine.h"

#include "ir/numeric.h"

#include <string.h>

/* -- Checks -------------------------------------------------------------------------------------------------------- */

void require_warp(machine *m, agent *a, const ir_op *op) {
  if (a->mask != ~0u)
    finding(m, a, EMULATOR_DIVERGENCE, nowhere, nowhere, "'%s' is executed by some lanes of a warp only",
            ir_op_info_of(op->kind)->mnemonic);
}

int64_t shared_offset(machine *m, agent *a, const operand *o, int64_t address, int64_t bytes, int64_t alignment) {
  const ir_value *value = o->value;
  int64_t first = value->offset, size = m->slot_bytes[value->number] * (value->slots > 0 ? value->slots : 1);
  if (o->slot) {
    size = m->slot_bytes[value->number];
    first += size * evaluate_uniform(m, a, o->slot).i;
  }
  int64_t offset = address - SHARED_BASE;
  if (offset < first || offset + bytes > first + size || offset < 0 || offset + bytes > a->block->shared_bytes) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, value->loc, "%lld bytes at byte %lld of '%s'%s, which has %lld",
            (long long)bytes, (long long)(offset - first), value->name, o->slot ? "'s slot" : "", (long long)size);
    return -1;
  }
  if (address % alignment != 0) {
    finding(m, a, EMULATOR_ALIGNMENT, nowhere, value->loc, "shared address %lld in '%s' is not a multiple of %lld",
            (long long)address, value->name, (long long)alignment);
    return -1;
  }
  return offset;
}

void shared_touch(machine *m, access *x, block *b, int64_t offset, int64_t bytes) {
  if (m->checks) shadow_access(m, x, b->shadow + offset, bytes, offset);
}

bool global_fits(machine *m, agent *a, const tensor *t, int64_t offset, int64_t bytes, int64_t alignment) {
  if (offset < 0 || offset > (int64_t)t->byte_size - bytes) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, t->value->loc, "%lld bytes at byte %lld of tensor '%s', which has %zu",
            (long long)bytes, (long long)offset, t->value->name, t->byte_size);
    return false;
  }
  if (offset % alignment != 0) {
    finding(m, a, EMULATOR_ALIGNMENT, nowhere, t->value->loc, "byte %lld of tensor '%s' is not a multiple of %lld",
            (long long)offset, t->value->name, (long long)alignment);
    return false;
  }
  return true;
}

/* -- Registers ----------------------------------------------------------------------------------------------------- */

int64_t register_first(machine *m, agent *a, const operand *o) {
  return o->count > 0 ? evaluate_uniform(m, a, o->start[0]).i : 0;
}

const uint64_t *register_read_words(machine *m, agent *a, const operand *o, int count) {
  register_array *r = &a->registers[o->value->number];
  int64_t first = register_first(m, a, o);
  if (first < 0 || first + count > r->words) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, o->value->loc, "words %lld to %lld of '%s', which has %d", (long long)first,
            (long long)(first + count - 1), o->value->name, r->words);
    return NULL;
  }
  for (int64_t i = first; i < first + count && m->checks; i++) {
    if (r->written_group[i] > a->dot_done) {
      finding(m, a, EMULATOR_IN_FLIGHT, nowhere, m->code.instructions[r->flight_instruction[i]].op->loc,
              "word %lld of '%s' is read while a wgmma that writes it is in flight: wait for its group first",
              (long long)i, o->value->name);
      r->written_group[i] = 0;
    }
    if (a->mask & ~r->initialised[i])
      finding(m, a, EMULATOR_UNINITIALISED, nowhere, o->value->loc,
              "word %lld of '%s' is read before it was written (lane %d)", (long long)i, o->value->name,
              first_lane(a->mask & ~r->initialised[i]));
    r->touched[i] = a->fences;
  }
  return r->word + first * LANES;
}

/* Bytes of a word of the array, and how many words `width` bytes fill. */
static int word_bytes(const ir_value *registers) { return ir_bits(registers->type) > 32 ? 8 : 4; }

static int word_count(const ir_value *registers, int width) {
  int bytes = word_bytes(registers);
  return width > bytes ? width / bytes : 1;
}

/* -- Loads and stores ---------------------------------------------------------------------------------------------- */

/* Where each lane goes: a pointer, or NULL for a lane that is off or at fault. */
typedef struct lanes {
  uint8_t *at[LANES];
} lanes;

static void locate_shared(machine *m, agent *a, const operand *o, const program *address, uint32_t mask, int width,
                          bool write, lanes *out) {
  cell where[LANES];
  evaluate(m, a, address, where);
  access x = access_generic(a, m->code.instructions[a->pc].op, write, o->value);
  a->unsynced |= mask;
  memset(out, 0, sizeof *out);
  for (int l = 0; l < LANES; l++) {
    if (!(mask >> l & 1)) continue;
    int64_t offset = shared_offset(m, a, o, where[l].i, width, width);
    if (offset < 0) return;
    access_by(&x, 1u << l);
    shared_touch(m, &x, a->block, offset, width);
    out->at[l] = a->block->shared + offset;
  }
}

static void locate_global(machine *m, agent *a, const operand *o, const program *offset, uint32_t mask, int width,
                          tensor_use use, lanes *out) {
  cell where[LANES];
  const tensor *t = &m->tensors[o->value->number];
  evaluate(m, a, offset, where);
  memset(out, 0, sizeof *out);
  for (int l = 0; l < LANES; l++) {
    if (!(mask >> l & 1)) continue;
    if (!global_fits(m, a, t, where[l].i, width, width)) return;
    tensor_touch(m, a, t, where[l].i, width, use);
    out->at[l] = t->bytes + where[l].i;
  }
}

static void load(machine *m, agent *a, const instruction *in, bool shared) {
  int width = (int)ir_attr_get(&in->op->attrs, IR_ATTR_WIDTH, 4);
  const operand *to = &in->write[0];
  int words = word_count(to->value, width), bytes = word_bytes(to->value);
  uint32_t mask = evaluate_mask(m, a, in->expr[1]);
  int64_t first = register_first(m, a, to);
  lanes from;
  if (shared)
    locate_shared(m, a, &in->read[0], in->expr[0], mask, width, false, &from);
  else
    locate_global(m, a, &in->read[0], in->expr[0], mask, width, TENSOR_READ, &from);
  if (!shared) m->report->counts.events[IR_EVENT_GLOBAL_READ_BYTES] += (uint64_t)(width * __builtin_popcount(mask));
  for (int l = 0; l < LANES; l++) {
    if (!(a->mask >> l & 1)) continue;
    for (int w = 0; w < words; w++) {
      uint64_t word = 0;
      if (from.at[l]) memcpy(&word, from.at[l] + w * bytes, (size_t)(width < bytes ? width : bytes));
      if (!register_write_word(m, a, to->value, first + w, l, word)) return;
    }
  }
}

static void save(machine *m, agent *a, const instruction *in, bool shared) {
  int width = (int)ir_attr_get(&in->op->attrs, IR_ATTR_WIDTH, 4);
  const operand *from = &in->read[0];
  int words = word_count(from->value, width), bytes = word_bytes(from->value);
  uint32_t mask = evaluate_mask(m, a, in->expr[1]), active = a->mask;
  a->mask = mask;
  const uint64_t *word = mask ? register_read_words(m, a, from, words) : NULL;
  a->mask = active;
  if (!word) return;
  lanes to;
  if (shared)
    locate_shared(m, a, &in->write[0], in->expr[0], mask, width, true, &to);
  else
    locate_global(m, a, &in->write[0], in->expr[0], mask, width, TENSOR_WRITE, &to);
  if (!shared) m->report->counts.events[IR_EVENT_GLOBAL_WRITE_BYTES] += (uint64_t)(width * __builtin_popcount(mask));
  for (int l = 0; l < LANES; l++)
    for (int w = 0; w < words && to.at[l]; w++)
      memcpy(to.at[l] + w * bytes, &word[w * LANES + l], (size_t)(width < bytes ? width : bytes));
}

static cell read_element(const machine *m, ir_type type, const uint8_t *at) {
  return bits_cell(m, type, ir_get_bits(at, 0, ir_bits(type)));
}

/* red.global and red.shared: lanes one after another. */
static void reduce(machine *m, agent *a, const instruction *in, bool shared) {
  const operand *from = &in->read[0], *to = &in->write[0];
  ir_type type = to->value->type;
  int bits = ir_bits(type);
  uint32_t mask = evaluate_mask(m, a, in->expr[1]), active = a->mask;
  a->mask = mask;
  const uint64_t *word = mask ? register_read_words(m, a, from, 1) : NULL;
  a->mask = active;
  if (!word) return;
  lanes at;
  if (shared)
    locate_shared(m, a, to, in->expr[0], mask, bits / 8, true, &at);
  else
    locate_global(m, a, to, in->expr[0], mask, bits / 8, TENSOR_COMBINE, &at);
  int64_t operation = ir_attr_get(&in->op->attrs, IR_ATTR_OPERATION, IR_SUM);
  bool packed = ir_bits(from->value->type) < 32;
  for (int l = 0; l < LANES; l++) {
    if (!at.at[l]) continue;
    cell x = packed ? bits_cell(m, type, word[l])
                    : convert_cell(m, from->value->type, type, register_cell(from->value->type, word[l]));
    cell result = combine_cells(m, type, operation, read_element(m, type, at.at[l]), x);
    ir_put_bits(at.at[l], 0, bits, cell_bits(type, result));
  }
  if (!shared) m->report->counts.events[IR_EVENT_GLOBAL_WRITE_BYTES] += (uint64_t)(bits / 8 * __builtin_popcount(mask));
}

static void atomic_global(machine *m, agent *a, const instruction *in) {
  const operand *from = &in->read[0];
  const ir_value *old = in->write[0].value;
  const tensor *t = &m->tensors[from->value->number];
  cell x[LANES], *to = a->scalars + (size_t)old->number * LANES;
  lanes at;
  evaluate(m, a, in->expr[1], x);
  locate_global(m, a, from, in->expr[0], a->mask, t->bits / 8, TENSOR_COMBINE, &at);
  int64_t operation = ir_attr_get(&in->op->attrs, IR_ATTR_OPERATION, IR_SUM);
  ir_type type = from->value->type;
  for (int l = 0; l < LANES; l++) {
    if (!at.at[l]) continue;
    to[l] = read_element(m, type, at.at[l]);
    cell result = combine_cells(m, type, operation, to[l], convert_cell(m, in->expr[1]->type, type, x[l]));
    ir_put_bits(at.at[l], 0, t->bits, cell_bits(type, result));
  }
  a->scalar_initialised[old->number] |= a->mask;
  m->report->counts.events[IR_EVENT_GLOBAL_WRITE_BYTES] += (uint64_t)(t->bits / 8 * __builtin_popcount(a->mask));
}

/* -- Matrices of 8 rows of 16 bytes -------------------------------------------------------------------------------- */

enum { MATRIX_ROWS = 8, ROW_BYTES = 16 };

static void locate_rows(machine *m, agent *a, const instruction *in, const operand *o, int count, bool write,
                        lanes *rows) {
  cell where[LANES];
  evaluate(m, a, in->expr[0], where);
  access x = access_generic(a, in->op, write, o->value);
  a->unsynced = ~0u;
  memset(rows, 0, sizeof *rows);
  for (int l = 0; l < count * MATRIX_ROWS; l++) {
    int64_t offset = shared_offset(m, a, o, where[l].i, ROW_BYTES, ROW_BYTES);
    if (offset < 0) return;
    shared_touch(m, &x, a->block, offset, ROW_BYTES);
    rows->at[l] = a->block->shared + offset;
  }
}

/* The two 16-bit elements of matrix q that lane l holds: row and column of the first; the second is to its right, or
 * below it. */
static void element_of(int lane, bool transpose, int half, int *row, int *column) {
  int g = lane >> 2, t = 2 * (lane & 3) + half;
  *row = transpose ? t : g;
  *column = transpose ? g : t;
}

static void move_matrices(machine *m, agent *a, const instruction *in, bool store_them) {
  require_warp(m, a, in->op);
  int count = (int)ir_attr_get(&in->op->attrs, IR_ATTR_COUNT, 1);
  bool transpose = ir_attr_get(&in->op->attrs, IR_ATTR_TRANSPOSE, 0) != 0;
  const operand *registers = store_them ? &in->read[0] : &in->write[0],
                *buffer = store_them ? &in->write[0] : &in->read[0];
  const uint64_t *word = store_them ? register_read_words(m, a, registers, count) : NULL;
  int64_t first = register_first(m, a, registers);
  lanes rows;
  if (store_them && !word) return;
  locate_rows(m, a, in, buffer, count, store_them, &rows);
  for (int q = 0; q < count; q++)
    for (int l = 0; l < LANES; l++) {
      uint64_t value = 0;
      for (int half = 0; half < 2; half++) {
        int row, column;
        element_of(l, transpose, half, &row, &column);
        uint8_t *at = rows.at[q * MATRIX_ROWS + row];
        if (!at) return;
        uint16_t element;
        if (store_them) {
          element = (uint16_t)(word[q * LANES + l] >> (16 * half));
          memcpy(at + 2 * column, &element, sizeof element);
        } else {
          memcpy(&element, at + 2 * column, sizeof element);
          value |= (uint64_t)element << (16 * half);
        }
      }
      if (!store_them && !register_write_word(m, a, registers->value, first + q, l, value)) return;
    }
}

static void copy_async(machine *m, agent *a, const instruction *in) {
  int width = (int)ir_attr_get(&in->op->attrs, IR_ATTR_WIDTH, 16);
  const operand *to = &in->write[0];
  const tensor *t = &m->tensors[in->read[0].value->number];
  cell where[LANES], from[LANES], bytes[LANES];
  evaluate(m, a, in->expr[0], where);
  evaluate(m, a, in->expr[1], from);
  evaluate(m, a, in->expr[2], bytes);
  access x = access_generic(a, in->op, true, to->value);
  x.clock_index = a->clock_index + CLOCK_CP;
  x.clock = groups_use(&a->cp, a->mask);
  for (int l = 0; l < LANES; l++) {
    if (!(a->mask >> l & 1)) continue;
    int64_t offset = shared_offset(m, a, to, where[l].i, width, width), wanted = bytes[l].i;
    if (offset < 0) return;
    if (wanted < 0 || wanted > width) {
      finding(m, a, EMULATOR_BOUNDS, nowhere, nowhere, "cp.async of %d bytes is asked for %lld", width,
              (long long)wanted);
      return;
    }
    if (wanted > 0 && !global_fits(m, a, t, from[l].i, wanted, width)) return;
    tensor_touch(m, a, t, from[l].i, wanted, TENSOR_READ);
    access_by(&x, 1u << l);
    shared_touch(m, &x, a->block, offset, width);
    memset(a->block->shared + offset, 0, (size_t)width);
    if (wanted > 0) memcpy(a->block->shared + offset, t->bytes + from[l].i, (size_t)wanted);
    m->report->counts.events[IR_EVENT_GLOBAL_READ_BYTES] += (uint64_t)wanted;
  }
}

outcome execute_thread(machine *m, agent *a, const instruction *in) {
  switch (in->op->kind) {
  case IR_OP_LD_GLOBAL:
  case IR_OP_LD_SHARED:
    load(m, a, in, in->op->kind == IR_OP_LD_SHARED);
    break;
  case IR_OP_ST_GLOBAL:
  case IR_OP_ST_SHARED:
    save(m, a, in, in->op->kind == IR_OP_ST_SHARED);
    break;
  case IR_OP_RED_GLOBAL:
  case IR_OP_RED_SHARED:
    reduce(m, a, in, in->op->kind == IR_OP_RED_SHARED);
    break;
  case IR_OP_ATOMIC_GLOBAL:
    atomic_global(m, a, in);
    break;
  case IR_OP_LDMATRIX:
  case IR_OP_STMATRIX:
    move_matrices(m, a, in, in->op->kind == IR_OP_STMATRIX);
    break;
  default:
    copy_async(m, a, in);
    break;
  }
  return OUTCOME_NEXT;
}
