/* The layouts that instructions ask for, each as its loops from the PTX ISA's fragment pictures: g = lane / 4 is a row,
 * t = lane % 4 a group of columns, a 32-bit register holds neighbours along k. */
#include "ir/layout.h"

typedef struct loops {
  tile_digit digit[TILE_MAX_DIGITS];
  int count;
} loops;

static void add(loops *l, tile_axis axis, int count, int dim, int delta) {
  l->digit[l->count++] = (tile_digit){axis, count, dim, delta};
}

static int power_part(int n) { return n & -n; }

/* Elements of a 32-bit register; 0 when there is no such fragment. */
static int elements_of_register(int element_bits) {
  bool known = element_bits == 1 || element_bits == 4 || element_bits == 8 || element_bits == 16 || element_bits == 32;
  return known ? 32 / element_bits : 0;
}

/* Whether `total` is `parts` equal multiples of `unit`. */
static bool divides(int total, int parts, int unit) {
  return parts > 0 && total > 0 && total % parts == 0 && total / parts % unit == 0;
}

/* The accumulator, behind `leading` dimensions: with one, the warps along k hold parts of it. */
static bool build_accumulator(int rows, int cols, warp_grid grid, int leading, tile_layout *out) {
  bool narrow = cols == 2 || cols == 4;
  if (!divides(rows, grid.warps_m, 16) || grid.warps_k < 1) return false;
  if (narrow ? grid.warps_n != 1 : !divides(cols, grid.warps_n, 8)) return false;
  int warp_rows = rows / grid.warps_m, warp_cols = cols / grid.warps_n, row = leading, col = leading + 1;
  loops l = {.count = 0};
  add(&l, TILE_REG, 2, col, 1);
  add(&l, TILE_REG, 2, row, 8);
  if (!narrow) add(&l, TILE_REG, warp_cols / 8, col, 8);
  add(&l, TILE_REG, warp_rows / 16, row, 16);
  if (narrow) {
    add(&l, TILE_LANE, cols > 2 ? 2 : 1, col, 2);
    add(&l, TILE_LANE, cols > 2 ? 2 : 4, col, 0);
  } else {
    add(&l, TILE_LANE, 4, col, 2);
  }
  add(&l, TILE_LANE, 8, row, 1);
  add(&l, TILE_WARP, grid.warps_m, row, warp_rows);
  add(&l, TILE_WARP, grid.warps_n, col, warp_cols);
  add(&l, TILE_WARP, grid.warps_k, 0, leading);
  const int extent[3] = {grid.warps_k, rows, cols};
  return tile_layout_build(leading + 2, leading ? extent : extent + 1, l.digit, l.count, out);
}

bool tile_layout_mma_accumulator(int rows, int cols, warp_grid grid, tile_layout *out) {
  return build_accumulator(rows, cols, grid, 0, out);
}

bool tile_layout_mma_parts(int rows, int cols, warp_grid grid, tile_layout *out) {
  return build_accumulator(rows, cols, grid, 1, out);
}

bool tile_layout_mma_a(int rows, int k, int element_bits, warp_grid grid, tile_layout *out) {
  int e = elements_of_register(element_bits);
  if (!e || !divides(rows, grid.warps_m, 16) || !divides(k, grid.warps_k, 8 * e) || grid.warps_n < 1) return false;
  int warp_rows = rows / grid.warps_m, warp_k = k / grid.warps_k;
  loops l = {.count = 0};
  add(&l, TILE_REG, e, 1, 1);
  add(&l, TILE_REG, 2, 0, 8);
  add(&l, TILE_REG, 2, 1, 4 * e);
  add(&l, TILE_REG, warp_k / (8 * e), 1, 8 * e);
  add(&l, TILE_REG, warp_rows / 16, 0, 16);
  add(&l, TILE_LANE, 4, 1, e);
  add(&l, TILE_LANE, 8, 0, 1);
  add(&l, TILE_WARP, grid.warps_m, 0, warp_rows);
  add(&l, TILE_WARP, grid.warps_n, 0, 0);
  add(&l, TILE_WARP, grid.warps_k, 1, warp_k);
  return tile_layout_build(2, (int[]){rows, k}, l.digit, l.count, out);
}

bool tile_layout_mma_b(int cols, int k, int element_bits, warp_grid grid, tile_layout *out) {
  int e = elements_of_register(element_bits);
  if (!e || !divides(cols, grid.warps_n, 8) || !divides(k, grid.warps_k, 8 * e) || grid.warps_m < 1) return false;
  int warp_cols = cols / grid.warps_n, warp_k = k / grid.warps_k;
  loops l = {.count = 0};
  add(&l, TILE_REG, e, 1, 1);
  add(&l, TILE_REG, 2, 1, 4 * e);
  add(&l, TILE_REG, warp_k / (8 * e), 1, 8 * e);
  add(&l, TILE_REG, warp_cols / 8, 0, 8);
  add(&l, TILE_LANE, 4, 1, e);
  add(&l, TILE_LANE, 8, 0, 1);
  add(&l, TILE_WARP, grid.warps_m, 0, 0);
  add(&l, TILE_WARP, grid.warps_n, 0, warp_cols);
  add(&l, TILE_WARP, grid.warps_k, 1, warp_k);
  return tile_layout_build(2, (int[]){cols, k}, l.digit, l.count, out);
}

/* Warps and m64 blocks of a wgmma operand or accumulator, after its registers within an m64 block. */
static bool build_wgmma(loops *l, int rows, int cols, int warpgroups, tile_layout *out) {
  int group_rows = rows / warpgroups;
  add(l, TILE_REG, group_rows / 64, 0, 64);
  add(l, TILE_LANE, 8, 0, 1);
  add(l, TILE_WARP, 4, 0, 16);
  add(l, TILE_WARP, warpgroups, 0, group_rows);
  return tile_layout_build(2, (int[]){rows, cols}, l->digit, l->count, out);
}

bool tile_layout_wgmma_accumulator(int rows, int cols, int warpgroups, tile_layout *out) {
  if (!divides(rows, warpgroups, 64) || !divides(cols, 1, 8)) return false;
  loops l = {.count = 0};
  add(&l, TILE_REG, 2, 1, 1);
  add(&l, TILE_REG, 2, 0, 8);
  add(&l, TILE_REG, cols / 8, 1, 8);
  add(&l, TILE_LANE, 4, 1, 2);
  return build_wgmma(&l, rows, cols, warpgroups, out);
}

bool tile_layout_wgmma_a(int rows, int k, int element_bits, int warpgroups, tile_layout *out) {
  int e = elements_of_register(element_bits);
  if (!e || !divides(rows, warpgroups, 64) || !divides(k, 1, 8 * e)) return false;
  loops l = {.count = 0};
  add(&l, TILE_REG, e, 1, 1);
  add(&l, TILE_REG, 2, 0, 8);
  add(&l, TILE_REG, 2, 1, 4 * e);
  add(&l, TILE_REG, k / (8 * e), 1, 8 * e);
  add(&l, TILE_LANE, 4, 1, e);
  return build_wgmma(&l, rows, k, warpgroups, out);
}

/* Deals `want` threads (a power of two) over what is left of the dimensions, the last one first; the rest are copies.
 */
static void deal(loops *l, tile_axis axis, int want, int rank, const int *extent, int *done) {
  for (int d = rank - 1; d >= 0 && want > 1; d--) {
    int left = power_part(extent[d] / done[d]);
    int take = left < want ? left : want;
    if (take > 1) add(l, axis, take, d, done[d]);
    done[d] *= take;
    want /= take;
  }
  if (want > 1) add(l, axis, want, 0, 0);
}

bool tile_layout_blocked(int rank, const int *extent, int vector, int warps, tile_layout *out) {
  if (rank < 1 || rank > LAYOUT_MAX_RANK || warps < 1 || vector < 1 || vector != power_part(vector)) return false;
  for (int d = 0; d < rank; d++)
    if (extent[d] < 1) return false;
  if (extent[rank - 1] % vector) return false;
  loops l = {.count = 0};
  int done[LAYOUT_MAX_RANK] = {1, 1, 1, 1};
  add(&l, TILE_REG, vector, rank - 1, 1);
  done[rank - 1] = vector;
  deal(&l, TILE_LANE, TILE_LANES, rank, extent, done);
  deal(&l, TILE_WARP, power_part(warps), rank, extent, done);
  for (int d = rank - 1; d >= 0; d--) {
    int left = power_part(extent[d] / done[d]);
    add(&l, TILE_REG, left, d, done[d]);
    done[d] *= left;
  }
  /* Odd factors: of the warps in the first dimension that has room, of the extents in registers. */
  int warps_left = warps / power_part(warps);
  for (int d = rank - 1; d >= 0; d--) {
    if (warps_left > 1 && extent[d] / done[d] % warps_left == 0) {
      add(&l, TILE_WARP, warps_left, d, done[d]);
      done[d] *= warps_left;
      warps_left = 1;
    }
    add(&l, TILE_REG, extent[d] / done[d], d, done[d]);
  }
  add(&l, TILE_WARP, warps_left, 0, 0);
  return tile_layout_build(rank, extent, l.digit, l.count, out);
}
