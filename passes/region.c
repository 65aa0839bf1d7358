#include "passes/region.h"

enum { MAX_BOX = 256 }; /* elements of a tensor-map box along one dimension */

const ir_expr *region_stride(arena *memory, const ir_value *tensor, int dim) {
  if (tensor->stride[dim]) return tensor->stride[dim];
  const ir_expr *product = ir_int(memory, 1);
  for (int d = dim + 1; d < tensor->rank; d++)
    product = ir_binary(memory, IR_EXPR_MUL, product, tensor->extent[d]);
  return product;
}

int region_inner_dim(const ir_ref *ref) {
  if (!ref->count) return ref->value->rank - 1;
  for (int d = ref->count - 1; d >= 0; d--)
    if (ref->span[d]) return d;
  return -1;
}

int region_rank(const ir_ref *ref) {
  int rank = ref->count ? 0 : ref->value->rank;
  for (int d = 0; d < ref->count; d++)
    rank += ref->span[d] > 0;
  return rank;
}

int region_dim(const ir_ref *ref, int d) {
  for (int at = 0; ref->count && at < ref->count; at++)
    if (ref->span[at] && d-- == 0) return at;
  return d;
}

int64_t region_extent(const ir_ref *ref, int d) {
  int dim = region_dim(ref, d);
  return ref->count ? ref->span[dim] : ir_extent(ref->value, dim);
}

void region_place(arena *memory, const ir_ref *ref, const ir_expr *const *coord, const ir_expr **at) {
  for (int d = 0, next = 0; d < ref->value->rank; d++) {
    if (!ref->count)
      at[d] = coord[d];
    else if (ref->span[d])
      at[d] = ir_binary(memory, IR_EXPR_ADD, ref->start[d], coord[next++]);
    else
      at[d] = ref->start[d];
  }
}

/* The op that gives a loop variable or a scalar its value; NULL when there is none, as for variables of the grid. */
static const ir_op *definition(const ir_block *block, const ir_value *value) {
  for (const ir_op *op = block->first; op; op = op->next) {
    if ((op->kind == IR_OP_FOR || op->kind == IR_OP_LET) && op->write[0].value == value) return op;
    const ir_op *inner = definition(&op->body, value);
    inner = inner ? inner : definition(&op->other, value);
    if (inner) return inner;
  }
  return NULL;
}

bool region_may_be_negative(const ir_kernel *kernel, const ir_expr *e) {
  switch (e->kind) {
  case IR_EXPR_INT:
    return e->int_value < 0;
  case IR_EXPR_BLOCK:
  case IR_EXPR_BLOCKS:
  case IR_EXPR_CTA_RANK:
    return false;
  case IR_EXPR_VALUE: {
    if (e->value->space == IR_SIZE) return false;
    const ir_op *op = definition(&kernel->body, e->value);
    return op ? region_may_be_negative(kernel, op->expr[0]) : e->value->space != IR_INDEX;
  }
  case IR_EXPR_MOD:
    return region_may_be_negative(kernel, e->args[1]);
  case IR_EXPR_MAX:
  case IR_EXPR_AND:
    return region_may_be_negative(kernel, e->args[0]) && region_may_be_negative(kernel, e->args[1]);
  case IR_EXPR_SELECT:
    return region_may_be_negative(kernel, e->args[1]) || region_may_be_negative(kernel, e->args[2]);
  case IR_EXPR_ADD:
  case IR_EXPR_MUL:
  case IR_EXPR_DIV:
  case IR_EXPR_CEILDIV:
  case IR_EXPR_MIN:
  case IR_EXPR_SHL:
  case IR_EXPR_SHR:
  case IR_EXPR_CAST:
    break;
  default:
    return true;
  }
  for (int i = 0; i < e->arg_count; i++)
    if (region_may_be_negative(kernel, e->args[i])) return true;
  return false;
}

typedef struct exchange {
  bool *read, *written;
} exchange;

static void exchange_visit(void *data, ir_op *op, ir_value *value, bool written) {
  exchange *e = data;
  if (value->space != IR_GLOBAL || op->kind == IR_OP_ATOMIC) return;
  *(written ? &e->written[value->number] : &e->read[value->number]) = true;
}

bool *region_exchanged(arena *scratch, ir_kernel *kernel) {
  exchange e = {ARENA_ARRAY(scratch, bool, kernel->value_count), ARENA_ARRAY(scratch, bool, kernel->value_count)};
  for (ir_op *op = kernel->body.first; op; op = op->next)
    ir_op_visit(op, true, exchange_visit, &e);
  for (int i = 0; i < kernel->value_count; i++)
    e.read[i] &= e.written[i];
  return e.read;
}

/* The largest power of two that divides `value`, up to 4096; 0 counts as 4096. */
static int64_t power_of_two(int64_t value) {
  int64_t power = 1;
  while (power < 4096 && value % (power * 2) == 0)
    power *= 2;
  return power;
}

static int64_t known_power(const ir_expr *e) { return power_of_two(ir_known_divisor(e)); }

int region_access_bytes(arena *memory, const ir_ref *ref) {
  const ir_value *tensor = ref->value;
  int inner = region_inner_dim(ref);
  if (inner != tensor->rank - 1 || (tensor->stride[inner] && known_power(tensor->stride[inner]) != 1)) return 0;
  int64_t stride_one;
  if (tensor->stride[inner] && !(ir_is_constant(tensor->stride[inner], &stride_one) && stride_one == 1)) return 0;
  int64_t elements = known_power(tensor->extent[inner]);
  if (ref->count) {
    int64_t start = known_power(ref->start[inner]), span = power_of_two(ref->span[inner]);
    elements = elements < start ? elements : start;
    elements = elements < span ? elements : span;
  }
  for (int d = 0; d < inner; d++) {
    int64_t stride = known_power(region_stride(memory, tensor, d));
    elements = elements < stride ? elements : stride;
  }
  int64_t bits = elements * ir_bits(tensor->type);
  return bits < 8 ? 0 : bits >= 128 ? 16 : (int)(bits / 8);
}

/* condition && e % divisor == 0; false when a known e rules that out. */
static bool demand_divisor(arena *memory, const ir_expr *e, int64_t divisor, const ir_expr **condition) {
  int64_t known;
  if (ir_known_divisor(e) % divisor == 0) return true;
  if (ir_is_constant(e, &known)) return false;
  const ir_expr *rest = ir_binary(memory, IR_EXPR_MOD, e, ir_typed_int(memory, e->type, divisor));
  const ir_expr *holds = ir_binary(memory, IR_EXPR_EQ, rest, ir_typed_int(memory, e->type, 0));
  *condition = *condition ? ir_binary(memory, IR_EXPR_AND, *condition, holds) : holds;
  return true;
}

int region_wide_bytes(arena *memory, const ir_ref *ref, const ir_expr **condition) {
  const ir_value *tensor = ref->value;
  int inner = region_inner_dim(ref), bits = ir_bits(tensor->type);
  int64_t elements = 128 / bits, one;
  *condition = NULL;
  if (inner != tensor->rank - 1) return 0;
  if (tensor->stride[inner] && !(ir_is_constant(tensor->stride[inner], &one) && one == 1)) return 0;
  if (ref->count) {
    int64_t start = known_power(ref->start[inner]), span = power_of_two(ref->span[inner]);
    elements = elements < start ? elements : start;
    elements = elements < span ? elements : span;
  }
  int bytes = (int)(elements * bits / 8);
  if (bytes <= region_access_bytes(memory, ref)) return 0;
  if (!demand_divisor(memory, tensor->extent[inner], elements, condition)) return 0;
  for (int d = 0; d < inner; d++) /* rows without gaps begin at multiples of their length */
    if (tensor->stride[d] && !demand_divisor(memory, tensor->stride[d], elements, condition)) return 0;
  return bytes;
}

const char *region_tma_refusal(arena *memory, const ir_ref *ref) {
  const ir_value *tensor = ref->value;
  int bits = ir_bits(tensor->type), inner = region_inner_dim(ref);
  if (bits < 8) return "its elements are smaller than a byte";
  if (inner != tensor->rank - 1) return "its innermost dimension is not the tensor's contiguous one";
  int64_t one;
  if (tensor->stride[inner] && !(ir_is_constant(tensor->stride[inner], &one) && one == 1))
    return "its innermost stride is not 1";
  int64_t span = ref->count ? ref->span[inner] : ir_extent(tensor, inner);
  int64_t row = span * bits / 8, rows = 1;
  if (row % 16) return "a row of the tile is not a multiple of 16 bytes";
  if (row % 32 && span > MAX_BOX)
    return "a row of the tile is longer than a box of 256 elements and cannot be cut into swizzled panels";
  for (int d = 0, spanned = 0; d < inner; d++) {
    int64_t extent = ref->count ? ref->span[d] : ir_extent(tensor, d);
    if (extent && spanned++ && extent > MAX_BOX)
      return "one of its inner dimensions is longer than a box of 256 elements";
  }
  for (int d = 0; d < inner; d++)
    rows *= ref->count ? (ref->span[d] ? ref->span[d] : 1) : ir_extent(tensor, d);
  if (row != power_of_two(row) && rows * power_of_two(row) % 128)
    return "its rows make several boxes, which would not begin at multiples of 128 bytes";
  for (int d = 0; d < inner; d++)
    if (known_power(region_stride(memory, tensor, d)) * bits / 8 % 16)
      return "the tensor's rows are not known to be multiples of 16 bytes (a fact such as `where K % 8 == 0` would say "
             "so)";
  return NULL;
}

/* The group of warps that an element belongs to, or -1 where it lies outside the region. */
static int share_of(int at, int first, int share, int parts) {
  return at < first || at >= first + share * parts ? -1 : (at - first) / share;
}

bool region_shares_apart(const ir_op *fill, int axis, int parts) {
  const ir_ref *from = &fill->read[0];
  const ir_value *stage = fill->write[0].value;
  const tile_layout *layout = from->value->space == IR_TILE ? from->value->tile : NULL;
  if (!layout || fill->write[0].count || region_rank(from) != stage->rank || axis < 0 || axis >= stage->rank ||
      ir_extent(stage, axis) % parts || layout->warp_count % parts)
    return false;
  int dim = region_dim(from, axis), share = (int)ir_extent(stage, axis) / parts;
  int64_t first = 0;
  if (from->count && !ir_is_constant(from->start[dim], &first)) return false;
  for (int warp = 0; warp < layout->warp_count; warp++)
    for (int lane = 0; lane < TILE_LANES; lane++)
      for (int reg = 0; reg < layout->reg_count; reg++) {
        int at[LAYOUT_MAX_RANK];
        tile_layout_coord(layout, reg, lane, warp, at);
        int part = share_of(at[dim], (int)first, share, parts);
        if (part >= 0 && part != warp / (layout->warp_count / parts)) return false;
      }
  return true;
}
