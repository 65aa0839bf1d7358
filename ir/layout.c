/* Tiles spread over threads: building a layout from its loops, and every question about it.
 *
 * A dimension's coordinate is its linear bits plus multiples of 2^dim_bits from the repeats, so the two parts never
 * carry into each other: XORing a column into a coordinate changes the linear bits alone. Lanes are always linear. Most
 * queries below rest on this. */
#include "ir/layout.h"

#include "support/diag.h"

#include <string.h>

enum { MAX_EXTENT = 1 << 20, MAX_WARPS = 64 };

static int log2_of(int power) { return 31 - __builtin_clz((unsigned)power); }
static int power_part(int n) { return n & -n; }
static uint32_t mask_of(int bits) { return ((uint32_t)1 << bits) - 1; }

/* The first output bit of a dimension. */
static int dim_shift(const tile_layout *layout, int dim) {
  int shift = 0;
  for (int d = layout->rank - 1; d > dim; d--)
    shift += layout->dim_bits[d];
  return shift;
}

/* -- Normal form -----------------------------------------------------------------------------------------------------
 */

static uint32_t insert_bit(uint32_t word, int at) { return (word & mask_of(at)) | (word & ~mask_of(at)) << 1; }

/* Makes room for a new input bit whose image is the new top bit of `dim` (dim < 0: nothing, it replicates). */
static void insert_column(tile_layout *layout, int at, int dim) {
  linmap *map = &layout->map;
  uint32_t column = 0;
  int out_bits = map->out_bits;
  linmap wider = *map;
  if (dim >= 0) {
    int out = dim_shift(layout, dim) + layout->dim_bits[dim];
    for (int i = 0; i < map->in_bits; i++)
      wider.col[i] = insert_bit(map->col[i], out);
    column = (uint32_t)1 << out;
    layout->dim_bits[dim]++;
    out_bits++;
  }
  linmap result = linmap_zero(map->in_bits + 1, out_bits);
  for (int i = 0; i < result.in_bits; i++)
    result.col[i] = i < at ? wider.col[i] : i == at ? column : wider.col[i - 1];
  *map = result;
}

static void remove_repeat(tile_layout *layout, int index) {
  for (int i = index; i + 1 < layout->repeat_count; i++)
    layout->repeat[i] = layout->repeat[i + 1];
  layout->repeat_count--;
  memset(&layout->repeat[layout->repeat_count], 0, sizeof layout->repeat[0]);
}

/* Takes the power of two in the count of the innermost repeat of an axis into the linear part, where the dimension
 * allows. */
static bool absorb_repeat(tile_layout *layout, tile_axis axis) {
  int index = 0;
  while (index < layout->repeat_count && layout->repeat[index].axis != axis)
    index++;
  if (index == layout->repeat_count) return false;
  tile_repeat *repeat = &layout->repeat[index];
  bool replicates = repeat->delta == 0;
  if (!replicates && repeat->delta != 1 << layout->dim_bits[repeat->dim]) return false;
  if (repeat->count % 2 || layout->map.in_bits == LINMAP_MAX_BITS) return false;
  insert_column(layout, axis == TILE_REG ? layout->reg_bits : layout->map.in_bits, replicates ? -1 : repeat->dim);
  if (axis == TILE_REG)
    layout->reg_bits++;
  else
    layout->warp_bits++;
  repeat->count /= 2;
  repeat->delta *= 2;
  repeat->stride *= 2;
  if (repeat->count == 1) remove_repeat(layout, index);
  return true;
}

/* Joins a repeat with the next one of its axis when that goes on where it ends. */
static bool merge_repeats(tile_layout *layout) {
  for (int i = 0; i + 1 < layout->repeat_count; i++) {
    tile_repeat *a = &layout->repeat[i], *b = &layout->repeat[i + 1];
    if (a->axis != b->axis || a->dim != b->dim || b->delta != a->delta * a->count) continue;
    a->count = (uint16_t)(a->count * b->count);
    remove_repeat(layout, i + 1);
    return true;
  }
  return false;
}

static void normalise(tile_layout *layout) {
  bool changed = true;
  while (changed)
    changed = merge_repeats(layout) || absorb_repeat(layout, TILE_REG) || absorb_repeat(layout, TILE_WARP);
}

/* Appends a repeat outside the others of its axis. False when there are too many. */
static bool append_repeat(tile_layout *layout, tile_axis axis, int count, int dim, int delta) {
  if (layout->repeat_count == TILE_MAX_REPEATS || count > UINT16_MAX) return false;
  int at = layout->repeat_count;
  while (axis == TILE_REG && at > 0 && layout->repeat[at - 1].axis == TILE_WARP)
    at--;
  for (int i = layout->repeat_count; i > at; i--)
    layout->repeat[i] = layout->repeat[i - 1];
  int *total = axis == TILE_REG ? &layout->reg_count : &layout->warp_count;
  layout->repeat[at] = (tile_repeat){(uint8_t)axis, (uint8_t)(delta ? dim : 0), (uint16_t)count, delta, *total};
  layout->repeat_count++;
  *total *= count;
  return true;
}

/* -- Building --------------------------------------------------------------------------------------------------------
 */

/* The digits with every count split into its power of two and its odd part, those of count 1 left out. -1: invalid. */
static int split_digits(int rank, const tile_digit *digits, int count, tile_digit *split) {
  int result = 0, registers = 1, warps = 1, lanes = 1;
  for (int i = 0; i < count; i++) {
    tile_digit d = digits[i];
    if (d.count < 1 || d.count > MAX_EXTENT || d.delta < 0 || d.delta > MAX_EXTENT || d.dim < 0 || d.dim >= rank)
      return -1;
    int *total = d.axis == TILE_REG ? &registers : d.axis == TILE_WARP ? &warps : &lanes;
    int limit = d.axis == TILE_REG ? TILE_MAX_REGISTERS : d.axis == TILE_WARP ? MAX_WARPS : TILE_LANES;
    if (*total > limit / d.count) return -1;
    *total *= d.count;
    int power = power_part(d.count);
    if (power > 1) split[result++] = (tile_digit){d.axis, power, d.dim, d.delta};
    if (d.count > power) split[result++] = (tile_digit){d.axis, d.count / power, d.dim, d.delta * power};
  }
  if (TILE_LANES % lanes) return -1;
  if (lanes < TILE_LANES) split[result++] = (tile_digit){TILE_LANE, TILE_LANES / lanes, 0, 0};
  return result;
}

/* Whether the digits of a dimension, by ascending delta, count through its extent. */
static bool digits_cover(int dim, int extent, const tile_digit *digits, int count) {
  int reached = 1, used = 0, present = 0;
  for (int i = 0; i < count; i++)
    present += digits[i].dim == dim && digits[i].delta > 0;
  for (int i = 0; i < count && reached < extent; i++)
    if (digits[i].dim == dim && digits[i].delta == reached) {
      if (reached > MAX_EXTENT / digits[i].count) return false;
      reached *= digits[i].count;
      used++;
      i = -1; /* the next one may stand anywhere */
    }
  return reached == extent && used == present;
}

/* Which digits are bits: powers of two with neither a repeat inside them on their axis nor one below them in their
 * dimension. */
static void find_linear(const tile_digit *digits, int count, bool *linear) {
  for (int i = 0; i < count; i++)
    linear[i] = power_part(digits[i].count) == digits[i].count;
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < count; i++)
      for (int j = 0; j < count && linear[i]; j++) {
        if (linear[j]) continue;
        bool inside = j < i && digits[j].axis == digits[i].axis;
        bool below = digits[j].dim == digits[i].dim && digits[j].delta > 0 && digits[j].delta < digits[i].delta;
        if (inside || below) {
          linear[i] = false;
          changed = true;
        }
      }
  }
}

/* Sizes of the linear part. False when it is too large. */
static bool count_bits(tile_layout *layout, const tile_digit *digits, int count, const bool *linear) {
  int axis_bits[] = {0, 0, 0}, out_bits = 0;
  for (int i = 0; i < count; i++) {
    if (!linear[i]) continue;
    int bits = log2_of(digits[i].count);
    axis_bits[digits[i].axis] += bits;
    if (!digits[i].delta) continue;
    layout->dim_bits[digits[i].dim] = (uint8_t)(layout->dim_bits[digits[i].dim] + bits);
    out_bits += bits;
  }
  int in_bits = axis_bits[TILE_REG] + axis_bits[TILE_LANE] + axis_bits[TILE_WARP];
  if (in_bits > LINMAP_MAX_BITS || out_bits > LINMAP_MAX_BITS) return false;
  layout->reg_bits = (uint8_t)axis_bits[TILE_REG];
  layout->warp_bits = (uint8_t)axis_bits[TILE_WARP];
  layout->reg_count = 1 << layout->reg_bits;
  layout->warp_count = 1 << layout->warp_bits;
  layout->map = linmap_zero(in_bits, out_bits);
  return true;
}

/* The columns and repeats of one axis, from column `*column` on. False when it needs a repeat it cannot have. */
static bool place_axis(tile_layout *layout, tile_axis axis, const tile_digit *digits, int count, const bool *linear,
                       int *column) {
  for (int i = 0; i < count; i++) {
    if (digits[i].axis != axis) continue;
    if (!linear[i]) {
      if (axis == TILE_LANE) return false;
      if (!append_repeat(layout, axis, digits[i].count, digits[i].dim, digits[i].delta)) return false;
      continue;
    }
    for (int bit = 0; bit < log2_of(digits[i].count); bit++)
      layout->map.col[(*column)++] = (uint32_t)digits[i].delta << bit << dim_shift(layout, digits[i].dim);
  }
  return true;
}

bool tile_layout_build(int rank, const int *extent, const tile_digit *digits, int digit_count, tile_layout *out) {
  tile_digit split[2 * TILE_MAX_DIGITS + 1];
  bool linear[2 * TILE_MAX_DIGITS + 1];
  if (rank < 1 || rank > LAYOUT_MAX_RANK || digit_count > TILE_MAX_DIGITS) return false;
  int count = split_digits(rank, digits, digit_count, split);
  if (count < 0) return false;
  for (int d = 0; d < rank; d++)
    if (extent[d] < 1 || extent[d] > MAX_EXTENT || !digits_cover(d, extent[d], split, count)) return false;
  find_linear(split, count, linear);
  memset(out, 0, sizeof *out);
  out->rank = (uint8_t)rank;
  memcpy(out->extent, extent, (size_t)rank * sizeof *extent);
  if (!count_bits(out, split, count, linear)) return false;
  int column = 0;
  for (int axis = TILE_REG; axis <= TILE_WARP; axis++)
    if (!place_axis(out, (tile_axis)axis, split, count, linear, &column)) return false;
  normalise(out);
  return true;
}

/* -- Coordinates and owners ------------------------------------------------------------------------------------------
 */

static int repeat_index(const tile_repeat *repeat, int reg, int warp) {
  return (repeat->axis == TILE_REG ? reg : warp) / repeat->stride % repeat->count;
}

static uint32_t input_of(const tile_layout *layout, int reg, int lane, int warp) {
  return ((uint32_t)reg & mask_of(layout->reg_bits)) | (uint32_t)lane << layout->reg_bits |
         ((uint32_t)warp & mask_of(layout->warp_bits)) << (layout->reg_bits + TILE_LANE_BITS);
}

/* The linear bits of a coordinate, as the map puts them out. */
static uint32_t output_of(const tile_layout *layout, const int *coord) {
  uint32_t y = 0;
  for (int d = 0; d < layout->rank; d++)
    y = y << layout->dim_bits[d] | ((uint32_t)coord[d] & mask_of(layout->dim_bits[d]));
  return y;
}

void tile_layout_coord(const tile_layout *layout, int reg, int lane, int warp, int coord[LAYOUT_MAX_RANK]) {
  uint32_t y = linmap_apply(&layout->map, input_of(layout, reg, lane, warp));
  for (int d = layout->rank - 1; d >= 0; d--) {
    coord[d] = (int)(y & mask_of(layout->dim_bits[d]));
    y >>= layout->dim_bits[d];
  }
  for (int i = 0; i < layout->repeat_count; i++)
    coord[layout->repeat[i].dim] += repeat_index(&layout->repeat[i], reg, warp) * layout->repeat[i].delta;
}

/* The lowest register and warp that the repeats ask for; their linear bits are zero. */
static tile_owner repeat_owner(const tile_layout *layout, const int *coord) {
  tile_owner owner = {0, 0, 0};
  for (int i = 0; i < layout->repeat_count; i++) {
    const tile_repeat *repeat = &layout->repeat[i];
    int index = repeat->delta ? coord[repeat->dim] / repeat->delta % repeat->count : 0;
    *(repeat->axis == TILE_REG ? &owner.reg : &owner.warp) += index * repeat->stride;
  }
  return owner;
}

tile_owner tile_layout_find(const tile_layout *layout, const int *coord) {
  uint32_t x = 0;
  if (!linmap_solve(&layout->map, output_of(layout, coord), &x)) BUG("a tile layout does not cover its tile");
  tile_owner owner = repeat_owner(layout, coord);
  owner.reg += (int)(x & mask_of(layout->reg_bits));
  owner.lane = (int)(x >> layout->reg_bits & mask_of(TILE_LANE_BITS));
  owner.warp += (int)(x >> (layout->reg_bits + TILE_LANE_BITS));
  return owner;
}

/* Whether the repeats of the warp number lead to the coordinate. */
static bool warp_repeats_match(const tile_layout *layout, const int *coord, int warp) {
  for (int i = 0; i < layout->repeat_count; i++) {
    const tile_repeat *repeat = &layout->repeat[i];
    if (repeat->axis != TILE_WARP || repeat->delta == 0) continue;
    if (coord[repeat->dim] / repeat->delta % repeat->count != repeat_index(repeat, 0, warp)) return false;
  }
  return true;
}

/* What is left of a coordinate's linear bits for the first `bits` input bits, those of x above them being given. */
static bool solve_rest(const tile_layout *layout, const int *coord, uint32_t given, int bits, uint32_t *x) {
  linmap part = linmap_slice(&layout->map, 0, bits, 0, layout->map.out_bits);
  return linmap_solve(&part, output_of(layout, coord) ^ linmap_apply(&layout->map, given), x);
}

bool tile_layout_find_in_warp(const tile_layout *layout, const int *coord, int warp, tile_owner *owner) {
  uint32_t x = 0;
  if (!warp_repeats_match(layout, coord, warp)) return false;
  if (!solve_rest(layout, coord, input_of(layout, 0, 0, warp), layout->reg_bits + TILE_LANE_BITS, &x)) return false;
  *owner = repeat_owner(layout, coord);
  owner->reg += (int)(x & mask_of(layout->reg_bits));
  owner->lane = (int)(x >> layout->reg_bits);
  owner->warp = warp;
  return true;
}

bool tile_layout_find_in_thread(const tile_layout *layout, const int *coord, int lane, int warp, int *reg) {
  uint32_t x = 0;
  if (!warp_repeats_match(layout, coord, warp)) return false;
  if (!solve_rest(layout, coord, input_of(layout, 0, lane, warp), layout->reg_bits, &x)) return false;
  *reg = repeat_owner(layout, coord).reg + (int)x;
  return true;
}

/* -- Properties ------------------------------------------------------------------------------------------------------
 */

int tile_layout_replication(const tile_layout *layout) {
  int64_t holders = (int64_t)layout->reg_count * TILE_LANES * layout->warp_count;
  for (int d = 0; d < layout->rank; d++)
    holders /= layout->extent[d];
  return (int)holders;
}

bool tile_layout_is_injective(const tile_layout *layout) { return tile_layout_replication(layout) == 1; }

bool tile_layout_is_canonical(const tile_layout *layout, int reg, int lane, int warp) {
  for (int i = 0; i < layout->repeat_count; i++)
    if (layout->repeat[i].delta == 0 && repeat_index(&layout->repeat[i], reg, warp)) return false;
  uint32_t kernel[LINMAP_MAX_BITS];
  int count = linmap_kernel(&layout->map, kernel);
  uint32_t x = input_of(layout, reg, lane, warp);
  for (int i = 0; i < count; i++)
    if (x >> log2_of((int)kernel[i]) & 1) return false;
  return true;
}

static bool repeats_are_valid(const tile_layout *layout) {
  int total[3] = {1 << layout->reg_bits, 0, 1 << layout->warp_bits};
  for (int i = 0; i < layout->repeat_count; i++) {
    const tile_repeat *repeat = &layout->repeat[i];
    if (repeat->axis != TILE_REG && repeat->axis != TILE_WARP) return false;
    if (i > 0 && repeat->axis < layout->repeat[i - 1].axis) return false;
    if (repeat->count < 2 || repeat->dim >= layout->rank || repeat->stride != total[repeat->axis]) return false;
    if (repeat->delta < 0 || (repeat->delta == 0 && repeat->dim != 0)) return false;
    if (total[repeat->axis] > TILE_MAX_REGISTERS / repeat->count) return false;
    total[repeat->axis] *= repeat->count;
  }
  if (layout->reg_count != total[TILE_REG] || layout->warp_count != total[TILE_WARP]) return false;
  return layout->reg_count <= TILE_MAX_REGISTERS && layout->warp_count <= MAX_WARPS;
}

bool tile_layout_verify(const tile_layout *layout) {
  if (layout->rank < 1 || layout->rank > LAYOUT_MAX_RANK || layout->repeat_count > TILE_MAX_REPEATS) return false;
  if (layout->reg_bits + TILE_LANE_BITS + layout->warp_bits != layout->map.in_bits) return false;
  if (layout->map.in_bits > LINMAP_MAX_BITS || layout->map.out_bits > LINMAP_MAX_BITS) return false;
  if (!repeats_are_valid(layout)) return false;
  tile_digit digits[TILE_MAX_REPEATS + LAYOUT_MAX_RANK];
  int count = 0, out_bits = 0;
  for (int i = 0; i < layout->repeat_count; i++)
    digits[count++] = (tile_digit){TILE_REG, layout->repeat[i].count, layout->repeat[i].dim, layout->repeat[i].delta};
  for (int d = 0; d < layout->rank; d++) {
    if (layout->dim_bits[d] > 20 || layout->extent[d] < 1 || layout->extent[d] > MAX_EXTENT) return false;
    out_bits += layout->dim_bits[d];
    if (layout->dim_bits[d]) digits[count++] = (tile_digit){TILE_REG, 1 << layout->dim_bits[d], d, 1};
  }
  for (int d = 0; d < layout->rank; d++)
    if (!digits_cover(d, layout->extent[d], digits, count)) return false;
  if (out_bits != layout->map.out_bits) return false;
  for (int i = 0; i < layout->map.in_bits; i++)
    if (layout->map.col[i] > mask_of(out_bits)) return false;
  return linmap_rank(&layout->map) == out_bits;
}

static bool coords_equal(const tile_layout *a, int reg_a, const tile_layout *b, int reg_b, int lane, int warp) {
  int ca[LAYOUT_MAX_RANK], cb[LAYOUT_MAX_RANK];
  tile_layout_coord(a, reg_a, lane, warp, ca);
  tile_layout_coord(b, reg_b, lane, warp, cb);
  return memcmp(ca, cb, a->rank * sizeof ca[0]) == 0;
}

/* Whether every lane bit changes the same coordinate bits in both. */
static bool lanes_equal(const tile_layout *a, const tile_layout *b) {
  for (int bit = 0; bit < TILE_LANE_BITS; bit++)
    if (!coords_equal(a, 0, b, 0, 1 << bit, 0)) return false;
  return true;
}

static bool same_tile(const tile_layout *a, const tile_layout *b) {
  return a->rank == b->rank && a->warp_count == b->warp_count &&
         memcmp(a->extent, b->extent, a->rank * sizeof a->extent[0]) == 0;
}

bool tile_layout_equal(const tile_layout *a, const tile_layout *b) {
  if (!same_tile(a, b) || a->reg_count != b->reg_count || !lanes_equal(a, b)) return false;
  for (int warp = 0; warp < a->warp_count; warp++)
    for (int reg = 0; reg < a->reg_count; reg++)
      if (!coords_equal(a, reg, b, reg, 0, warp)) return false;
  return true;
}

int tile_layout_vector(const tile_layout *layout) {
  int bits = linmap_identity_prefix(&layout->map);
  if (bits > layout->reg_bits) bits = layout->reg_bits;
  if (bits > layout->dim_bits[layout->rank - 1]) bits = layout->dim_bits[layout->rank - 1];
  /* Another column with a low bit set would start some threads in the middle of a group. */
  for (int i = bits; i < layout->map.in_bits; i++)
    while (layout->map.col[i] & mask_of(bits))
      bits--;
  return 1 << bits;
}

linmap tile_layout_axis_map(const tile_layout *layout, tile_axis axis, int dim) {
  int first = axis == TILE_REG ? 0 : axis == TILE_LANE ? layout->reg_bits : layout->reg_bits + TILE_LANE_BITS;
  int bits = axis == TILE_REG ? layout->reg_bits : axis == TILE_LANE ? (int)TILE_LANE_BITS : layout->warp_bits;
  return linmap_slice(&layout->map, first, bits, dim_shift(layout, dim), layout->dim_bits[dim]);
}

/* -- Derived layouts -------------------------------------------------------------------------------------------------
 */

static uint32_t remove_bits(uint32_t word, int at, int bits) {
  return (word & mask_of(at)) | (word >> (at + bits)) << at;
}

bool tile_layout_slice(const tile_layout *layout, int dim, tile_layout *out) {
  if (dim < 0 || dim >= layout->rank) return false;
  tile_layout result = {.rank = layout->rank > 1 ? (uint8_t)(layout->rank - 1) : 1, .warp_bits = layout->warp_bits};
  result.extent[0] = 1;
  for (int d = 0, to = 0; d < layout->rank; d++)
    if (d != dim) {
      result.extent[to] = layout->extent[d];
      result.dim_bits[to++] = layout->dim_bits[d];
    }
  int shift = dim_shift(layout, dim), bits = layout->dim_bits[dim];
  result.map = linmap_zero(layout->map.in_bits, layout->map.out_bits - bits);
  int columns = 0;
  for (int i = 0; i < layout->map.in_bits; i++) {
    uint32_t column = remove_bits(layout->map.col[i], shift, bits);
    if (i < layout->reg_bits && column == 0) continue;
    result.map.col[columns++] = column;
    if (i < layout->reg_bits) result.reg_bits++;
  }
  result.map.in_bits = (uint8_t)columns;
  result.reg_count = 1 << result.reg_bits;
  result.warp_count = 1 << result.warp_bits;
  for (int i = 0; i < layout->repeat_count; i++) {
    const tile_repeat *repeat = &layout->repeat[i];
    bool gone = repeat->delta == 0 || repeat->dim == dim;
    if (gone && repeat->axis == TILE_REG) continue;
    append_repeat(&result, (tile_axis)repeat->axis, repeat->count, repeat->dim > dim ? repeat->dim - 1 : repeat->dim,
                  gone ? 0 : repeat->delta);
  }
  normalise(&result);
  *out = result;
  return true;
}

int tile_layout_slice_register(const tile_layout *layout, int dim, int reg) {
  int shift = dim_shift(layout, dim), result = 0, weight = 1;
  for (int i = 0; i < layout->reg_bits; i++) {
    if (remove_bits(layout->map.col[i], shift, layout->dim_bits[dim]) == 0) continue;
    result += (reg >> i & 1) * weight;
    weight *= 2;
  }
  for (int i = 0; i < layout->repeat_count; i++) {
    const tile_repeat *repeat = &layout->repeat[i];
    if (repeat->axis != TILE_REG || repeat->delta == 0 || repeat->dim == dim) continue;
    result += repeat_index(repeat, reg, 0) * weight;
    weight *= repeat->count;
  }
  return result;
}

/* Warp bit number i is a copy's. */
static bool is_copy_bit(const tile_layout *layout, int bit) {
  return layout->map.col[layout->reg_bits + TILE_LANE_BITS + bit] == 0;
}

bool tile_layout_spread(const tile_layout *layout, tile_layout *out) {
  int copies = 0;
  for (int bit = 0; bit < layout->warp_bits; bit++)
    copies += is_copy_bit(layout, bit);
  int moved = copies < layout->reg_bits ? copies : layout->reg_bits, kept = layout->reg_bits - moved;
  if (!moved) return false;
  tile_layout result = *layout;
  result.reg_bits = (uint8_t)kept;
  result.reg_count >>= moved;
  result.map = linmap_zero(layout->map.in_bits - moved, layout->map.out_bits);
  for (int i = 0; i < result.map.in_bits; i++)
    result.map.col[i] = layout->map.col[i < kept ? i : i + moved];
  for (int bit = 0, next = 0; bit < layout->warp_bits && next < moved; bit++)
    if (is_copy_bit(layout, bit)) result.map.col[kept + TILE_LANE_BITS + bit] = layout->map.col[kept + next++];
  for (int i = 0; i < layout->repeat_count; i++)
    if (layout->repeat[i].axis == TILE_REG) result.repeat[i].stride >>= moved;
  normalise(&result);
  *out = result;
  return true;
}

int tile_layout_spread_register(const tile_layout *layout, int shares, int reg) {
  int kept = (1 << layout->reg_bits) / shares;
  return reg % kept + reg / kept * kept * shares;
}

int tile_layout_spread_first(const tile_layout *layout, int shares, int warp) {
  int share = 0, weight = 1;
  for (int bit = 0; bit < layout->warp_bits && weight < shares; bit++)
    if (is_copy_bit(layout, bit)) {
      share += (warp >> bit & 1) * weight;
      weight *= 2;
    }
  return share * ((1 << layout->reg_bits) / shares);
}

bool tile_layout_expand(const tile_layout *layout, int dim, int extent, tile_layout *out) {
  if (dim < 0 || dim > layout->rank || layout->rank == LAYOUT_MAX_RANK || extent < 1) return false;
  if (extent > TILE_MAX_REGISTERS / layout->reg_count) return false;
  tile_layout result = *layout;
  result.rank++;
  for (int d = layout->rank; d > dim; d--) {
    result.extent[d] = layout->extent[d - 1];
    result.dim_bits[d] = layout->dim_bits[d - 1];
  }
  result.extent[dim] = extent;
  result.dim_bits[dim] = 0;
  for (int i = 0; i < result.repeat_count; i++)
    if (result.repeat[i].delta && result.repeat[i].dim >= dim) result.repeat[i].dim++;
  if (extent > 1) {
    if (!append_repeat(&result, TILE_REG, extent, dim, 1)) return false;
    normalise(&result);
  }
  *out = result;
  return true;
}

bool tile_layout_transpose(const tile_layout *layout, const int *order, tile_layout *out) {
  tile_layout result = *layout;
  int to[LAYOUT_MAX_RANK];
  unsigned seen = 0;
  for (int d = 0; d < layout->rank; d++) {
    if (order[d] < 0 || order[d] >= layout->rank) return false;
    seen |= 1U << order[d];
    to[order[d]] = d;
    result.extent[d] = layout->extent[order[d]];
    result.dim_bits[d] = layout->dim_bits[order[d]];
  }
  if (seen != mask_of(layout->rank)) return false;
  for (int i = 0; i < layout->map.in_bits; i++) {
    uint32_t column = 0;
    for (int d = 0; d < layout->rank; d++) {
      uint32_t part = layout->map.col[i] >> dim_shift(layout, d) & mask_of(layout->dim_bits[d]);
      column |= part << dim_shift(&result, to[d]);
    }
    result.map.col[i] = column;
  }
  for (int i = 0; i < layout->repeat_count; i++)
    if (layout->repeat[i].delta) result.repeat[i].dim = (uint8_t)to[layout->repeat[i].dim];
  *out = result;
  return true;
}

/* -- Conversions -----------------------------------------------------------------------------------------------------
 */

/* Whether every thread finds what it wants in its own registers, in the same one as all other threads. */
static bool converts_in_registers(const tile_layout *from, const tile_layout *to, uint16_t *registers, bool *identity) {
  *identity = from->reg_count == to->reg_count;
  if (!lanes_equal(from, to)) return false;
  for (int reg = 0; reg < to->reg_count; reg++) {
    int source = reg, coord[LAYOUT_MAX_RANK];
    tile_layout_coord(to, reg, 0, 0, coord);
    if (reg >= from->reg_count || !coords_equal(from, reg, to, reg, 0, 0)) {
      if (!tile_layout_find_in_thread(from, coord, 0, 0, &source)) return false;
      *identity = false;
    }
    for (int warp = 1; warp < to->warp_count; warp++)
      if (!coords_equal(from, source, to, reg, 0, warp)) return false;
    if (registers) registers[reg] = (uint16_t)source;
  }
  return true;
}

/* Whether every warp holds, anywhere in it, all that it wants. */
static bool converts_in_warps(const tile_layout *from, const tile_layout *to) {
  linmap held = linmap_slice(&from->map, 0, from->reg_bits + TILE_LANE_BITS, 0, from->map.out_bits);
  uint32_t image[LINMAP_MAX_BITS];
  int count = linmap_image(&held, image);
  /* Lane bits of `to` that stay within the linear bits of `from` move inside an affine subspace: one test a bit does.
   * Else all lanes. */
  bool by_basis = true;
  int coord[LAYOUT_MAX_RANK];
  for (int bit = 0; bit < TILE_LANE_BITS; bit++) {
    tile_layout_coord(to, 0, 1 << bit, 0, coord);
    for (int d = 0; d < to->rank; d++)
      if (coord[d] >> from->dim_bits[d]) by_basis = false;
  }
  for (int bit = 0; bit < TILE_LANE_BITS && by_basis; bit++) {
    tile_layout_coord(to, 0, 1 << bit, 0, coord);
    if (!linmap_image_contains(image, count, output_of(from, coord))) return false;
  }
  for (int warp = 0; warp < to->warp_count; warp++) {
    uint32_t base = linmap_apply(&from->map, input_of(from, 0, 0, warp));
    for (int lane = 0; lane < (by_basis ? 1 : (int)TILE_LANES); lane++)
      for (int reg = 0; reg < to->reg_count; reg++) {
        tile_layout_coord(to, reg, lane, warp, coord);
        if (!warp_repeats_match(from, coord, warp)) return false;
        if (!linmap_image_contains(image, count, output_of(from, coord) ^ base)) return false;
      }
  }
  return true;
}

tile_conversion tile_layout_convert(const tile_layout *from, const tile_layout *to, uint16_t *registers) {
  if (!same_tile(from, to)) BUG("conversion between layouts of different tiles");
  bool identity;
  if (converts_in_registers(from, to, registers, &identity))
    return identity ? TILE_CONVERT_NONE : TILE_CONVERT_REGISTERS;
  return converts_in_warps(from, to) ? TILE_CONVERT_SHUFFLE : TILE_CONVERT_SHARED;
}
