#include "passes/lower.h"
#include "passes/region.h"

int thread_per_word(ir_type type) {
  int bits = ir_bits(type);
  return type == IR_PRED || bits >= 32 ? 1 : 32 / bits;
}

ir_value *thread_registers(lower *l, const ir_value *tile) { return l->registers[tile->number]; }

int thread_register_budget(const lower *l) {
  enum { LARGEST_REGISTERS = 256 };
  const ir_attrs *attrs = &l->kernel->attrs;
  int64_t threads = ir_attr_get(attrs, IR_ATTR_THREADS, 128) * ir_attr_get(attrs, IR_ATTR_MIN_BLOCKS, 1);
  int64_t registers = ir_target_of(l->kernel->target)->registers / threads;
  return (int)(registers < LARGEST_REGISTERS ? registers : LARGEST_REGISTERS);
}

const ir_expr *thread_read_element(lower *l, ir_value *registers, const ir_expr *word, int sub) {
  const ir_expr *e = thread_word(l, registers, word);
  int per_word = thread_per_word(registers->type);
  if (per_word == 1) return e;
  const ir_expr *args[2] = {e, thread_int(l, sub)};
  return ir_typed(l->memory, IR_EXPR_UNPACK, registers->type, ir_compute_type(registers->type), 2, args);
}

/* The word of the type that the values are the elements of, in order; NULL when there is none. */
static const ir_expr *packed_already(ir_type type, const ir_expr *const *values, int count) {
  if (count != thread_per_word(type)) return NULL;
  for (int i = 0; i < count; i++) {
    int64_t at;
    if (values[i]->kind != IR_EXPR_UNPACK || values[i]->lane_type != type || !ir_is_constant(values[i]->args[1], &at) ||
        at != i || !ir_expr_equal(values[i]->args[0], values[0]->args[0]))
      return NULL;
  }
  return values[0]->args[0];
}

const ir_expr *thread_pack(lower *l, ir_type type, const ir_expr *const *values, int count) {
  ir_type compute = ir_compute_type(type);
  const ir_expr *word = thread_per_word(type) > 1 ? packed_already(type, values, count) : NULL;
  if (word) return word;
  const ir_expr *cast[32];
  for (int i = 0; i < count; i++)
    cast[i] = values[i]->type == compute ? values[i] : ir_cast(l->memory, compute, values[i]);
  if (thread_per_word(type) == 1) return type == compute ? cast[0] : ir_cast(l->memory, type, cast[0]);
  for (int i = count; i < thread_per_word(type); i++)
    cast[i] = ir_is_float(type) ? ir_float(l->memory, 0) : ir_typed_int(l->memory, compute, 0);
  return ir_typed(l->memory, IR_EXPR_PACK, type, IR_U32, thread_per_word(type), cast);
}

/* A digit of an index: (index / stride) % count, of which each step adds `column`. */
typedef struct table_digit {
  int stride, count, column;
} table_digit;

enum { MAX_TABLE_DIGITS = 16 };

/* The digits of a table, innermost first, each as long as it goes; 0 when it is no sum of them. */
static int table_digits(const int *table, int count, table_digit *digits) {
  int found = 0;
  for (int stride = 1; stride < count;) {
    int left = count / stride, column = table[stride] - table[0], length = 2;
    while (length < left && table[length * stride] == table[0] + length * column)
      length++;
    while (left % length)
      length--;
    if (length == 1 || found == MAX_TABLE_DIGITS) return 0;
    digits[found++] = (table_digit){stride, length, column};
    stride *= length;
  }
  for (int r = 0; r < count; r++) {
    int value = table[0];
    for (int i = 0; i < found; i++)
      value += r / digits[i].stride % digits[i].count * digits[i].column;
    if (value != table[r]) return 0;
  }
  return found;
}

/* a / n or a % n, as a shift or mask where that will do. */
static const ir_expr *quotient(lower *l, const ir_expr *a, int n) {
  if (n == 1) return a;
  bool power = !(n & (n - 1));
  return ir_binary(l->memory, power ? IR_EXPR_SHR : IR_EXPR_DIV, a,
                   thread_int(l, power ? __builtin_ctz((unsigned)n) : n));
}

static const ir_expr *remainder_of(lower *l, const ir_expr *a, int n) {
  bool power = !(n & (n - 1));
  return ir_binary(l->memory, power ? IR_EXPR_AND : IR_EXPR_MOD, a, thread_int(l, power ? n - 1 : n));
}

const ir_expr *thread_table(lower *l, const int *table, int count, const ir_expr *index) {
  table_digit digits[MAX_TABLE_DIGITS];
  int found = table_digits(table, count, digits);
  if (!found && count > 1) return NULL;
  const ir_expr *sum = thread_int(l, table[0]);
  for (int i = 0; i < found; i++) {
    if (!digits[i].column) continue;
    const ir_expr *digit = quotient(l, index, digits[i].stride);
    if (digits[i].stride * digits[i].count < count) digit = remainder_of(l, digit, digits[i].count);
    sum = thread_add(l, sum, thread_mul(l, digit, thread_int(l, digits[i].column)));
  }
  return sum;
}

static const ir_expr *axis_coord(lower *l, const tile_layout *layout, tile_axis axis, int dim, const ir_expr *number) {
  linmap map = tile_layout_axis_map(layout, axis, dim);
  linmap_term terms[LINMAP_MAX_BITS * 2];
  int count = linmap_terms(&map, terms, LINMAP_MAX_BITS * 2);
  bool disjoint = linmap_terms_disjoint(&map);
  const ir_expr *sum = thread_int(l, 0);
  for (int i = 0; i < count; i++) {
    const ir_expr *bits =
        terms[i].in_shift ? ir_binary(l->memory, IR_EXPR_SHR, number, thread_int(l, terms[i].in_shift)) : number;
    bits = ir_binary(l->memory, IR_EXPR_AND, bits, thread_int(l, (1 << terms[i].width) - 1));
    bits = thread_mul(l, bits, thread_int(l, 1 << terms[i].out_shift));
    sum = i == 0 ? bits : ir_binary(l->memory, disjoint ? IR_EXPR_ADD : IR_EXPR_XOR, sum, bits);
  }
  for (int i = 0; i < layout->repeat_count; i++) {
    const tile_repeat *r = &layout->repeat[i];
    if (r->axis != axis || r->dim != dim || !r->delta) continue;
    const ir_expr *digit = r->stride > 1 ? ir_binary(l->memory, IR_EXPR_DIV, number, thread_int(l, r->stride)) : number;
    digit = ir_binary(l->memory, IR_EXPR_MOD, digit, thread_int(l, r->count));
    sum = thread_add(l, sum, thread_mul(l, digit, thread_int(l, r->delta)));
  }
  return sum;
}

const ir_expr *thread_own_coord(lower *l, const tile_layout *layout, int dim) {
  for (int i = 0; i < l->memo_count; i++)
    if (l->memo[i].dim == dim && tile_layout_equal(l->memo[i].layout, layout)) return l->memo[i].value;
  const ir_expr *e =
      thread_add(l, axis_coord(l, layout, TILE_LANE, dim, l->lane), axis_coord(l, layout, TILE_WARP, dim, l->warp));
  static const char *const names[LAYOUT_MAX_RANK] = {"at0", "at1", "at2", "at3"};
  e = thread_role_let(l, names[dim], e);
  if (l->memo_count < LOWER_MAX_MEMO)
    l->memo[l->memo_count++] = (lower_memo){arena_copy(l->memory, layout, sizeof *layout), dim, e};
  return e;
}

const ir_expr *thread_register_coord(lower *l, const tile_layout *layout, int dim, int unit, int sub,
                                     const ir_expr *group) {
  int groups = layout->reg_count / unit;
  int *table = ARENA_ARRAY(l->env->scratch, int, groups > 0 ? groups : 1);
  for (int g = 0; g < groups; g++) {
    int coord[LAYOUT_MAX_RANK];
    tile_layout_coord(layout, g * unit + sub, 0, 0, coord);
    table[g] = coord[dim];
  }
  return thread_table(l, table, groups, group);
}

thread_part thread_part_of(lower *l, const tile_layout *layout, const ir_ref *ref, int unit) {
  int groups = layout->reg_count / unit, last[LAYOUT_MAX_RANK];
  thread_part part = {.group = ARENA_ARRAY(l->env->scratch, int, groups + 1), .is_whole = true};
  bool all = !ref || !ref->count;
  for (int d = 0; d < layout->rank && !all; d++) {
    int64_t start = 0;
    if (!ir_is_constant(ref->start[d], &start)) BUG("a part of a tile begins at a constant");
    part.first[d] = (int)start;
    last[d] = (int)start + (ref->span[d] ? ref->span[d] : 1) - 1;
  }
  for (int g = 0; g < groups; g++) {
    int inside = 0, outside = 0;
    for (int holder = 0; !all && holder < unit * TILE_LANES * layout->warp_count; holder++) {
      int coord[LAYOUT_MAX_RANK], lane = holder / unit % TILE_LANES, warp = holder / unit / TILE_LANES;
      bool lies_in = true;
      tile_layout_coord(layout, g * unit + holder % unit, lane, warp, coord);
      for (int d = 0; d < layout->rank; d++)
        lies_in &= coord[d] >= part.first[d] && coord[d] <= last[d];
      inside += lies_in;
      outside += !lies_in;
    }
    if (!all && !inside) continue;
    part.group[part.count++] = g;
    part.is_whole &= !outside;
  }
  return part;
}

const ir_expr *thread_canonical(lower *l, const tile_layout *layout) {
  if (tile_layout_is_injective(layout)) return NULL;
  int lanes = 0, warps = 0;
  for (int bit = 0; bit < TILE_LANE_BITS; bit++)
    if (!layout->map.col[layout->reg_bits + bit]) lanes |= 1 << bit;
  for (int bit = 0; bit < layout->warp_bits; bit++)
    if (!layout->map.col[layout->reg_bits + TILE_LANE_BITS + bit]) warps |= 1 << bit;
  const ir_expr *zero = thread_int(l, 0), *all = ir_bool(l->memory, true);
  if (lanes)
    all = ir_binary(l->memory, IR_EXPR_EQ, ir_binary(l->memory, IR_EXPR_AND, l->lane, thread_int(l, lanes)), zero);
  if (warps)
    all = ir_binary(
        l->memory, IR_EXPR_AND, all,
        ir_binary(l->memory, IR_EXPR_EQ, ir_binary(l->memory, IR_EXPR_AND, l->warp, thread_int(l, warps)), zero));
  for (int i = 0; i < layout->repeat_count; i++) {
    const tile_repeat *r = &layout->repeat[i];
    if (r->axis != TILE_WARP || r->delta) continue;
    const ir_expr *digit =
        ir_binary(l->memory, IR_EXPR_MOD, ir_binary(l->memory, IR_EXPR_DIV, l->warp, thread_int(l, r->stride)),
                  thread_int(l, r->count));
    all = ir_binary(l->memory, IR_EXPR_AND, all, ir_binary(l->memory, IR_EXPR_EQ, digit, zero));
  }
  return all;
}

enum { SWIZZLE_ROW = 128 }; /* bytes whose chunks of 16 a swizzle permutes */

const ir_expr *thread_shared_offset(lower *l, const ir_value *buffer, const ir_expr *const *coord) {
  const shared_layout *s = buffer->shared;
  int bits = s->element_bits, inner = s->contiguous;
  const ir_expr *row = thread_int(l, 0);
  for (int d = 0; d < s->rank; d++)
    if (d != inner) row = thread_add(l, thread_mul(l, row, thread_int(l, s->extent[d])), coord[d]);
  const ir_expr *bytes =
      bits >= 8 ? thread_mul(l, coord[inner], thread_int(l, bits / 8))
                : ir_binary(l->memory, IR_EXPR_DIV, thread_mul(l, coord[inner], thread_int(l, bits)), thread_int(l, 8));
  const ir_expr *span = thread_int(l, s->panel_bytes), *panel = NULL;
  if (s->panel_count > 1) {
    panel = thread_mul(l, ir_binary(l->memory, IR_EXPR_DIV, bytes, span), thread_int(l, s->rows * s->panel_bytes));
    bytes = ir_binary(l->memory, IR_EXPR_MOD, bytes, span);
  }
  const ir_expr *offset = thread_add(l, thread_mul(l, row, span), bytes);
  int mask = s->swizzle == SHARED_SWIZZLE_NONE ? 0 : s->swizzle / 16 - 1;
  if (!mask) return panel ? thread_add(l, panel, offset) : offset;
  /* Panels that are whole periods of the swizzle are added after it, and a row within its 128 bytes chooses the chunk
   * alone: places along a row then differ by little but constants, which cost a load nothing. */
  bool is_apart = !panel || s->rows * s->panel_bytes % (SWIZZLE_ROW * (mask + 1)) == 0;
  if (!is_apart) offset = thread_add(l, panel, offset);
  bool by_row = is_apart && SWIZZLE_ROW % s->panel_bytes == 0;
  if (!by_row) offset = thread_let(l, "flat", offset);
  const ir_expr *chunk = by_row ? quotient(l, row, SWIZZLE_ROW / s->panel_bytes) : quotient(l, offset, SWIZZLE_ROW);
  chunk = ir_binary(l->memory, IR_EXPR_AND, chunk, thread_int(l, mask));
  offset = ir_binary(l->memory, IR_EXPR_XOR, offset, ir_binary(l->memory, IR_EXPR_SHL, chunk, thread_int(l, 4)));
  return panel && is_apart ? thread_add(l, panel, offset) : offset;
}

const ir_expr *thread_shared_address(lower *l, ir_value *buffer, const ir_expr *slot, const ir_expr *const *coord) {
  return thread_add(l, ir_address(l->memory, buffer, slot), thread_u32(l, thread_shared_offset(l, buffer, coord)));
}

/* What of `more` shifts every address by the same number of bytes: rows of whole periods of the swizzle, and whole
 * panels. It is taken from `more`. */
static int take_periods(const shared_layout *s, int *more) {
  int mask = s->swizzle == SHARED_SWIZZLE_NONE ? 0 : s->swizzle / 16 - 1, inner = s->contiguous, weight = 1, bytes = 0;
  int period = mask ? SWIZZLE_ROW * (mask + 1) / s->panel_bytes : 1;
  for (int d = s->rank - 1; d >= 0; d--) {
    if (d == inner) continue;
    int far = more[d] - more[d] % period;
    bytes += far * weight * s->panel_bytes;
    more[d] -= far;
    weight *= s->extent[d];
  }
  int panel = s->panel_bytes * 8 / s->element_bits, panels = more[inner] / panel;
  if (s->panel_count > 1 && s->rows * s->panel_bytes % (SWIZZLE_ROW * (mask + 1)) == 0) {
    bytes += panels * s->rows * s->panel_bytes;
    more[inner] -= panels * panel;
  }
  return bytes;
}

static bool defines(const ir_block *block, const ir_value *value) {
  for (const ir_op *op = block->first; op; op = op->next)
    if (op->kind == IR_OP_LET && op->write[0].value == value) return true;
  return false;
}

/* Whether the expression has one value for the whole role. */
static bool is_of_role(const lower *l, const ir_expr *e) {
  if (e->value && (e->kind != IR_EXPR_VALUE || !defines(l->prologue, e->value))) return false;
  for (int i = 0; i < e->arg_count; i++)
    if (!is_of_role(l, e->args[i])) return false;
  return true;
}

static const ir_expr *role_offset(lower *l, const ir_value *buffer, const ir_expr *const *at) {
  const shared_layout *layout = buffer->shared;
  for (int i = 0; i < l->place_count; i++) {
    bool same = shared_layout_equal(l->places[i].layout, layout);
    for (int d = 0; same && d < layout->rank; d++)
      same = ir_expr_equal(l->places[i].at[d], at[d]);
    if (same) return l->places[i].offset;
  }
  ir_block *saved = thread_enter(l, l->prologue);
  lower_place place = {.layout = layout};
  place.offset = thread_let(l, buffer->name, thread_u32(l, thread_shared_offset(l, buffer, at)));
  thread_leave(l, saved);
  for (int d = 0; d < layout->rank; d++)
    place.at[d] = at[d];
  ARENA_PUSH(l->env->scratch, l->places, l->place_count, l->place_capacity, place);
  return place.offset;
}

const ir_expr *thread_shared_address_near(lower *l, ir_value *buffer, const ir_expr *slot, const ir_expr *const *coord,
                                          const int *more) {
  const shared_layout *s = buffer->shared;
  int rest[IR_MAX_RANK];
  bool of_role = s->element_bits >= 8;
  for (int d = 0; d < s->rank; d++) {
    rest[d] = more[d];
    of_role &= is_of_role(l, coord[d]);
  }
  int far = of_role ? take_periods(s, rest) : 0;
  const ir_expr *at[IR_MAX_RANK];
  for (int d = 0; d < s->rank; d++)
    at[d] = thread_add(l, coord[d], thread_int(l, rest[d]));
  if (!of_role) return thread_shared_address(l, buffer, slot, at);
  const ir_expr *base = ir_address(l->memory, buffer, slot);
  return thread_add(l, thread_add(l, base, role_offset(l, buffer, at)), ir_typed_int(l->memory, IR_U32, far));
}

/* Elements from one position of the dimension to the next, in 64 bits throughout: the product of two sizes need not
 * fit 32. */
static const ir_expr *wide_stride(lower *l, const ir_value *tensor, int dim) {
  if (tensor->stride[dim]) return thread_i64(l, tensor->stride[dim]);
  const ir_expr *product = ir_typed_int(l->memory, IR_I64, 1);
  for (int d = dim + 1; d < tensor->rank; d++)
    product = thread_mul(l, product, thread_i64(l, tensor->extent[d]));
  return product;
}

/* Terms of an offset, by what they vary with: accesses that differ in the last ones share an address, and the
 * instruction adds the constant that an unrolled loop makes of the rest. */
typedef enum term_order { TERM_BASE, TERM_STRIDED, TERM_INDEX, TERM_CONSTANT, TERM_ORDERS } term_order;

typedef struct offset_sum {
  lower *l;
  const ir_expr *of[TERM_ORDERS];
} offset_sum;

/* Whether a loop's index varies it, and nothing else does. */
static bool is_of_index(const ir_expr *e) {
  if (e->kind == IR_EXPR_VALUE) return e->value->space == IR_INDEX;
  if (e->kind == IR_EXPR_INT) return true;
  for (int i = 0; i < e->arg_count; i++)
    if (!is_of_index(e->args[i])) return false;
  return e->arg_count > 0;
}

/* Adds coordinate * stride, in elements. Index arithmetic does not overflow, so the terms of a sum may be widened one
 * by one. */
static void add_terms(offset_sum *s, const ir_expr *coord, const ir_expr *stride) {
  if (coord->kind == IR_EXPR_ADD && coord->type == IR_I32 && !s->l->has_dots) {
    add_terms(s, coord->args[0], stride);
    add_terms(s, coord->args[1], stride);
    return;
  }
  int64_t constant;
  term_order order = TERM_BASE;
  if (!s->l->has_dots && is_of_index(coord)) order = ir_is_constant(stride, &constant) ? TERM_INDEX : TERM_STRIDED;
  const ir_expr *term = thread_mul(s->l, thread_i64(s->l, coord), stride);
  if (!s->l->has_dots && ir_is_constant(term, &constant)) order = TERM_CONSTANT;
  s->of[order] = thread_add(s->l, s->of[order], term);
}

const ir_expr *thread_global_offset(lower *l, const ir_value *tensor, const ir_expr *const *coord) {
  int bits = ir_bits(tensor->type);
  const ir_expr *zero = ir_typed_int(l->memory, IR_I64, 0), *sum = zero;
  offset_sum s = {l, {zero, zero, zero, zero}};
  for (int d = 0; d < tensor->rank; d++)
    add_terms(&s, coord[d], wide_stride(l, tensor, d));
  for (int i = 0; i < TERM_ORDERS; i++)
    sum = thread_add(l, sum, bits < 8 ? s.of[i] : thread_mul(l, s.of[i], ir_typed_int(l->memory, IR_I64, bits / 8)));
  if (bits >= 8) return sum;
  return ir_binary(l->memory, IR_EXPR_DIV, thread_mul(l, sum, ir_typed_int(l->memory, IR_I64, bits)),
                   ir_typed_int(l->memory, IR_I64, 8));
}

const ir_expr *thread_inside(lower *l, const ir_value *tensor, const ir_expr *const *coord) {
  const ir_expr *all = ir_bool(l->memory, true);
  for (int d = 0; d < tensor->rank; d++) {
    int64_t at, extent;
    if (ir_is_constant(coord[d], &at) && ir_is_constant(tensor->extent[d], &extent) && at >= 0 && at < extent) continue;
    all = ir_binary(l->memory, IR_EXPR_AND, all, ir_binary(l->memory, IR_EXPR_LT, coord[d], tensor->extent[d]));
  }
  return all;
}
