/* Bulk copies of the async proxy: tensor boxes by TMA and plain runs of bytes.
 *
 * The bytes move when the op is issued; that they have not landed yet is in the shadows: loads are known by the clock
 * of the barrier that counts them, stores by the issuing warp's bulk groups. */
#include "emulator/machine.h"

#include "ir/numeric.h"

#include <string.h>

enum { CHUNK = 16, BOX_ALIGNMENT = 128 };

/* A box of a tensor: dimensions in the tensor's order, the last one contiguous. */
typedef struct box {
  const ir_value *map;
  tensor *t;
  int rank, bits;                                   /* as the map sees the tensor */
  int64_t extent[IR_MAX_RANK], stride[IR_MAX_RANK]; /* elements */
  int64_t start[IR_MAX_RANK];
  int64_t rows;      /* product of all extents but the last */
  int64_t row_bytes; /* of the last */
  int64_t index[IR_MAX_RANK];
} box;

/* Blocks along rows, blocks along k, words of a block. */
static void see_blocks(box *b) {
  const packed_layout *packed = b->map->tensor->packed;
  b->stride[2] = 1;
  b->stride[1] = b->extent[2] = (int64_t)packed->rows * packed->k * packed->code_bits / b->bits;
  b->extent[1] = (b->t->extent[1] + packed->k - 1) / packed->k;
  b->stride[0] = b->extent[1] * b->stride[1];
  b->extent[0] = (b->t->extent[0] + packed->rows - 1) / packed->rows;
}

/* Panels of the last dimension, then the tensor's own. */
static void see_panels(box *b) {
  int64_t width = b->map->box[b->rank - 1];
  for (int d = b->rank - 1; d > 0; d--) {
    b->extent[d] = b->extent[d - 1];
    b->stride[d] = b->stride[d - 1];
  }
  b->extent[0] = width > 0 ? b->extent[b->rank - 1] / width : 0;
  b->extent[b->rank - 1] = width;
  b->stride[0] = width;
}

static bool box_of(machine *m, agent *a, const instruction *in, const ir_value *map, int first_coordinate, box *out) {
  *out = (box){.map = map,
               .t = &m->tensors[map->tensor->number],
               .rank = map->rank,
               .bits = ir_map_bits(map->tensor),
               .rows = 1};
  for (int d = 0; d < map->tensor->rank; d++) {
    out->extent[d] = out->t->extent[d];
    out->stride[d] = out->t->stride[d];
  }
  if (map->tensor->packed) see_blocks(out);
  if (ir_map_has_panels(map)) see_panels(out);
  if (in->op->expr_count - first_coordinate != out->rank) {
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, map->loc, "%d coordinates for a map of %d dimensions",
            in->op->expr_count - first_coordinate, out->rank);
    return false;
  }
  for (int d = 0; d < out->rank; d++) {
    out->start[d] = evaluate_uniform(m, a, in->expr[first_coordinate + out->rank - 1 - d]).i;
    if (d + 1 < out->rank) out->rows *= map->box[d];
    bool good = map->box[d] >= 1 && map->box[d] <= 256;
    bool strided = d + 1 == out->rank ? out->stride[d] == 1 : out->stride[d] * out->bits % (CHUNK * 8) == 0;
    if (!good || !strided) {
      finding(m, a, EMULATOR_ALIGNMENT, nowhere, map->loc,
              "dimension %d of map '%s': box %d, stride %lld elements; boxes are 1 to 256 and strides multiples of %d "
              "bytes",
              d, map->name, map->box[d], (long long)out->stride[d], CHUNK);
      return false;
    }
  }
  int64_t bits = (int64_t)map->box[out->rank - 1] * out->bits;
  out->row_bytes = bits / 8;
  if (bits % (CHUNK * 8) != 0 || (map->swizzle != SHARED_SWIZZLE_NONE && out->row_bytes > (int64_t)map->swizzle)) {
    finding(m, a, EMULATOR_ALIGNMENT, nowhere, map->loc,
            "a row of map '%s' is %lld bits: it must be a multiple of %d bytes, and not above the swizzle's %d",
            map->name, (long long)bits, CHUNK, (int)map->swizzle);
    return false;
  }
  return true;
}

static void next_row(box *b) {
  for (int d = b->rank - 2; d >= 0; d--) {
    if (++b->index[d] < b->map->box[d]) return;
    b->index[d] = 0;
  }
}

/* Position of the current row's element `column` in the tensor; -1 outside it. */
static int64_t row_position(const box *b, int64_t column) {
  int64_t position = 0;
  for (int d = 0; d < b->rank; d++) {
    int64_t at = b->start[d] + (d + 1 < b->rank ? b->index[d] : column);
    if (at < 0 || at >= b->extent[d]) return -1;
    position += at * b->stride[d];
  }
  return position;
}

/* 16 bytes of the current row: elements outside the tensor are zeros. */
static void read_chunk(machine *m, agent *a, const box *b, int64_t column, uint8_t *out) {
  int64_t elements = CHUNK * 8 / b->bits, first = row_position(b, column),
          last = row_position(b, column + elements - 1);
  memset(out, 0, CHUNK);
  if (first >= 0 && last == first + elements - 1 && first * b->bits % 8 == 0) {
    if (global_fits(m, a, b->t, first * b->bits / 8, CHUNK, 1)) memcpy(out, b->t->bytes + first * b->bits / 8, CHUNK);
    return;
  }
  for (int64_t e = 0; e < elements; e++) {
    int64_t position = row_position(b, column + e);
    if (position >= 0 && (uint64_t)position < b->t->byte_size * 8 / (uint64_t)b->bits)
      ir_put_bits(out, (size_t)e, b->bits, ir_get_bits(b->t->bytes, (size_t)position, b->bits));
  }
}

static void write_chunk(machine *m, agent *a, const box *b, int64_t column, const uint8_t *from, bool add) {
  int64_t elements = CHUNK * 8 / b->t->bits;
  ir_type type = b->t->value->type;
  for (int64_t e = 0; e < elements; e++) {
    int64_t position = row_position(b, column + e);
    if (position < 0 || !tensor_holds(b->t, position)) continue;
    uint64_t bits = ir_get_bits(from, (size_t)e, b->t->bits);
    tensor_touch(m, a, b->t, position * b->t->bits / 8, (b->t->bits + 7) / 8, add ? TENSOR_COMBINE : TENSOR_WRITE);
    if (add)
      bits = cell_bits(type, combine_cells(m, type, IR_SUM, tensor_load(m, b->t, position), bits_cell(m, type, bits)));
    ir_put_bits(b->t->bytes, (size_t)position, b->t->bits, bits);
  }
}

/* Offset of a chunk of the box at `base` (an address in the shared window): the swizzle acts on address bits. */
static int64_t chunk_offset(const box *b, int64_t base, int64_t row, int64_t chunk) {
  uint32_t address = (uint32_t)(base + row * b->row_bytes + chunk * CHUNK);
  return (int64_t)shared_swizzle_apply(b->map->swizzle, address) - SHARED_BASE;
}

static access load_access(agent *a, const ir_op *op, const ir_value *value, const mbarrier *bar) {
  access x = access_generic(a, op, true, value);
  x.async = true;
  x.clock_index = bar->clock_index;
  x.clock = bar->phase + 1;
  return x;
}

/* The box into the same place of one block of the cluster, counted by that block's barrier. */
static void load_box(machine *m, agent *a, const instruction *in, box b, int64_t address, int rank) {
  const operand *to = &in->write[0];
  block *target = &a->block->cluster->blocks[rank];
  mbarrier *bar = barrier_of(m, a, &in->read[1], rank);
  int64_t bytes = b.rows * b.row_bytes;
  if (!bar || shared_offset(m, a, to, address, bytes, BOX_ALIGNMENT) < 0) return;
  access x = load_access(a, in->op, to->value, bar);
  for (int64_t row = 0; row < b.rows; row++, next_row(&b))
    for (int64_t chunk = 0; chunk < b.row_bytes / CHUNK; chunk++) {
      int64_t offset = chunk_offset(&b, address, row, chunk);
      shared_touch(m, &x, target, offset, CHUNK);
      read_chunk(m, a, &b, chunk * CHUNK * 8 / b.bits, target->shared + offset);
    }
  block_used_from_outside(target, x.clock_index, x.clock, in->op);
  m->report->counts.events[IR_EVENT_ASYNC_LOAD_BYTES] += (uint64_t)bytes;
  barrier_complete_later(m, a, bar, bytes, in->read[1].value);
}

static void tma_load(machine *m, agent *a, const instruction *in) {
  box b;
  if (!box_of(m, a, in, in->read[0].value, 2, &b)) return;
  int64_t address = evaluate_uniform(m, a, in->expr[0]).i, mask = evaluate_uniform(m, a, in->expr[1]).i;
  int blocks = a->block->cluster->block_count;
  if (mask == 0) mask = 1ll << a->block->rank;
  if (mask >> blocks != 0) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, nowhere, "multicast to blocks 0x%llx of a cluster of %d",
            (unsigned long long)mask, blocks);
    return;
  }
  for (int rank = 0; rank < blocks; rank++)
    if (mask >> rank & 1) load_box(m, a, in, b, address, rank);
}

static void tma_store(machine *m, agent *a, const instruction *in) {
  box b;
  const operand *from = &in->read[0];
  if (in->write[0].value->tensor->packed) {
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, nowhere, "a store to blocks in packed order");
    return;
  }
  if (!box_of(m, a, in, in->write[0].value, 1, &b)) return;
  int64_t address = evaluate_uniform(m, a, in->expr[0]).i, bytes = b.rows * b.row_bytes;
  if (shared_offset(m, a, from, address, bytes, BOX_ALIGNMENT) < 0) return;
  bool add = ir_attr_get(&in->op->attrs, IR_ATTR_REDUCE, 0) != 0;
  access x = access_generic(a, in->op, false, from->value);
  x.async = true;
  x.clock_index = a->clock_index + CLOCK_BULK;
  x.clock = groups_use(&a->bulk, x.lanes);
  a->bulk_instruction = a->pc;
  for (int64_t row = 0; row < b.rows; row++, next_row(&b))
    for (int64_t chunk = 0; chunk < b.row_bytes / CHUNK; chunk++) {
      int64_t offset = chunk_offset(&b, address, row, chunk);
      shared_touch(m, &x, a->block, offset, CHUNK);
      write_chunk(m, a, &b, chunk * CHUNK * 8 / b.t->bits, a->block->shared + offset, add);
    }
  m->report->counts.events[IR_EVENT_ASYNC_STORE_BYTES] += (uint64_t)bytes;
}

static void bulk_load(machine *m, agent *a, const instruction *in) {
  const operand *to = &in->write[0];
  const tensor *t = &m->tensors[in->read[0].value->number];
  int64_t address = evaluate_uniform(m, a, in->expr[0]).i, from = evaluate_uniform(m, a, in->expr[1]).i;
  int64_t bytes = evaluate_uniform(m, a, in->expr[2]).i;
  mbarrier *bar = barrier_of(m, a, &in->read[1], -1);
  if (bytes <= 0 || bytes % CHUNK != 0) {
    finding(m, a, EMULATOR_ALIGNMENT, nowhere, nowhere, "a bulk copy of %lld bytes: it must be a multiple of %d",
            (long long)bytes, CHUNK);
    return;
  }
  int64_t offset = shared_offset(m, a, to, address, bytes, CHUNK);
  if (!bar || offset < 0 || !global_fits(m, a, t, from, bytes, CHUNK)) return;
  access x = load_access(a, in->op, to->value, bar);
  shared_touch(m, &x, a->block, offset, bytes);
  memcpy(a->block->shared + offset, t->bytes + from, (size_t)bytes);
  block_used_from_outside(a->block, x.clock_index, x.clock, in->op);
  m->report->counts.events[IR_EVENT_ASYNC_LOAD_BYTES] += (uint64_t)bytes;
  barrier_complete_later(m, a, bar, bytes, in->read[1].value);
}

/* One copy a thread: every active lane issues its own. */
outcome execute_tma(machine *m, agent *a, const instruction *in) {
  if (in->op->kind == IR_OP_TMA_PREFETCH) return OUTCOME_NEXT;
  uint32_t mask = a->mask;
  for (int l = 0; l < LANES; l++) {
    if (!(mask >> l & 1)) continue;
    a->mask = 1u << l;
    if (in->op->kind == IR_OP_TMA_LOAD)
      tma_load(m, a, in);
    else if (in->op->kind == IR_OP_TMA_STORE)
      tma_store(m, a, in);
    else
      bulk_load(m, a, in);
  }
  a->mask = mask;
  return OUTCOME_NEXT;
}
