/* What copies cost a block: bytes between it and the L2, of shared memory, and the instructions of threads and of copy
 * engines. */
#include "passes/estimate_count.h"

#include "passes/region.h"

#include <string.h>

/* Whether all blocks together load all of the tensor: what else they load of it is not a part of its own. */
static bool loads_whole(const block_work *w, const traffic *t) {
  double all = t->bytes;
  for (int d = 0; d < 3; d++)
    all *= t->varies[d] ? w->grid[d] : 1;
  return all >= work_tensor_bytes(w, t->tensor);
}

void count_traffic(counter *c, const ir_value *tensor, double bytes, uint8_t mask, bool is_load, bool by_map) {
  c->now->l2 += bytes;
  block_work *out = c->out;
  if (out->moved_count == WORK_MAX_TRAFFIC) return;
  traffic *t = &out->moved[out->moved_count++];
  *t = (traffic){.tensor = tensor, .bytes = bytes, .is_load = is_load, .is_shared_by_cluster = by_map};
  for (int d = 0; d < 3; d++)
    t->varies[d] = mask >> d & 1;
  for (const traffic *before = out->moved; before < t && is_load; before++)
    t->is_again |= before->tensor == tensor && before->is_load && loads_whole(out, before) &&
                   !memcmp(before->varies, t->varies, sizeof t->varies);
}

/* Elements of the region that are inside its tensor. */
static double inside_elements(const counter *c, const ir_ref *ref) {
  double elements = 1;
  for (int d = 0; d < ref->value->rank; d++) {
    double extent = count_extent(c->value, ref->value->extent[d]);
    double span = ref->count ? (ref->span[d] ? ref->span[d] : 1) : extent;
    elements *= span < extent ? span : extent;
  }
  return elements;
}

uint8_t count_ref_mask(const counter *c, const ir_ref *ref) {
  uint8_t mask = 0;
  for (int d = 0; d < ref->count; d++)
    mask |= count_mask(c, ref->start[d]);
  return mask;
}

static double tile_bytes(const ir_value *value) { return (double)ir_element_count(value) * ir_bits(value->type) / 8; }

/* Instructions of a copy engine: a box for the small panels of a tile, or one for each; a run for blocks or pieces of a
 * packed tensor, or a box for neighbours along k (lower_tensor_copy.c). */
static double engine_copies(const ir_op *copy) {
  const ir_value *to = copy->write[0].value;
  const packed_layout *packed = copy->read[0].value->packed;
  double rows = to->rank > 1 ? (double)ir_extent(to, to->rank - 2) : 1;
  if (!packed) {
    double panels = tile_bytes(to) / rows / COUNT_PANEL_BYTES;
    return panels <= 1 || rows * COUNT_PANEL_BYTES <= REGION_SMALL_BOX ? 1 : panels;
  }
  int piece = packed_piece_rows((int)rows), columns = (int)ir_extent(to, 1) / packed->k;
  int bytes = piece * packed->k * packed->code_bits / 8 * columns;
  bool boxes = rows == piece || bytes % REGION_BOX_ALIGNMENT == 0;
  return rows / piece * (piece == packed->rows || boxes ? 1 : columns);
}

static void count_load(counter *c, const ir_op *copy, double weight, loop_frame *frame) {
  const ir_ref *from = &copy->read[0];
  const ir_value *to = copy->write[0].value;
  double bytes = inside_elements(c, from) * ir_bits(from->value->type) / 8;
  ir_engine engine = (ir_engine)ir_attr_get(&copy->attrs, IR_ATTR_ENGINE, IR_ENGINE_SIMT);
  bool by_engine = engine == IR_ENGINE_TMA || engine == IR_ENGINE_BULK,
       direct = ir_attr_get(&copy->attrs, IR_ATTR_DIRECT, 0) != 0,
       async = by_engine || engine == IR_ENGINE_CPASYNC || direct;
  frame->has_async |= async;
  frame->is_direct |= direct;
  frame->has_sync |= !async;
  if (to->space == IR_SHARED) c->now->shared += weight * tile_bytes(to);
  int width = region_access_bytes(c->scratch, from);
  double accesses = (double)ir_element_count(to) * ir_bits(from->value->type) / 8 /
                    (width                              ? width
                     : ir_bits(from->value->type) >= 16 ? ir_bits(from->value->type) / 8
                                                        : 1);
  if (by_engine) c->now->copies += weight * engine_copies(copy);
  double inside = engine == IR_ENGINE_CPASYNC ? bytes / tile_bytes(to) : 1; /* beyond the tensor's edge nothing moves */
  if (!by_engine) c->now->alu += weight * accesses * (to->space == IR_SHARED ? 2 + 6 * inside : 5);
  count_traffic(c, from->value, weight * bytes, count_ref_mask(c, from), true, engine == IR_ENGINE_TMA);
  /* rows beyond the tensor's edge are no traffic, yet the copy engine takes its time over each */
  if (engine == IR_ENGINE_TMA) c->now->l2 += weight * 3 * (tile_bytes(to) - bytes);
}

static bool is_transposed(const counter *c, const ir_value *tile) {
  for (int i = 0; i < c->dot_count; i++)
    if (c->dot[i]->write[0].value == tile && ir_attr_get(&c->dot[i]->attrs, IR_ATTR_SWAP, 0)) return true;
  return false;
}

static void count_store(counter *c, const ir_op *copy, double weight) {
  const ir_ref *to = &copy->write[0];
  const ir_value *from = copy->read[0].value;
  double bytes = inside_elements(c, to) * ir_bits(to->value->type) / 8,
         whole = (double)ir_element_count(from) * ir_bits(to->value->type) / 8;
  bool adds = ir_attr_get(&copy->attrs, IR_ATTR_REDUCE, 0) != 0;
  bool staged = c->producers > 0 && c->level >= 2 && !adds && !ir_attr_get(&copy->attrs, IR_ATTR_DIRECT, 0) &&
                from->space == IR_TILE && !region_tma_refusal(c->scratch, to);
  bool fragments = c->dot_count > 0 && from->space == IR_TILE && !staged;
  if (staged) {
    c->now->shared += weight * 2 * whole;
    c->now->alu += weight * (double)ir_element_count(from) * 0.75;
  } else {
    /* of a transposed tile a thread has no two elements next to each other */
    bool single = fragments && is_transposed(c, from);
    double elements = (double)ir_element_count(from);
    c->now->alu += weight * (fragments ? elements * (single ? 40 : 12) : whole / 16 * 5);
    if (from->space == IR_SHARED) c->now->shared += weight * whole;
  }
  /* a quad's four neighbours write half a sector; atomics go through the L2's own adders */
  double factor = adds ? 4 : fragments && ir_bits(to->value->type) <= 16 ? 2 : 1;
  count_traffic(c, to->value, weight * bytes, count_ref_mask(c, to), false, false);
  c->now->l2 += weight * bytes * (factor - 1);
}

void count_copy(counter *c, const ir_op *copy, double weight, loop_frame *frame) {
  const ir_value *to = copy->write[0].value, *from = copy->read[0].value;
  if (from->space == IR_GLOBAL) {
    count_load(c, copy, weight, frame);
  } else if (to->space == IR_GLOBAL) {
    count_store(c, copy, weight);
  } else {
    if (to->space == IR_SHARED) c->now->shared += weight * tile_bytes(to);
    if (from->space == IR_SHARED) c->now->shared += weight * tile_bytes(to);
    double elements = (double)ir_element_count(to->space == IR_TILE ? to : from);
    if (to->type != from->type || to->space != from->space) c->now->alu += weight * elements * 0.5;
  }
}
