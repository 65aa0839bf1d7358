/* Tile layouts against tables written from the PTX ISA's fragment formulas, and every query against enumeration.
 * With --dump, prints layouts point by point for layout_oracle.py. */
#include "ir/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_CASES = 200 };

/* -- Fragment tables: registers of one instruction
 * --------------------------------------------------------------------- */

typedef struct cell {
  int row, col;
} cell;

/* mma.m16n8 C: c0,c1 = (g; 2t, 2t+1), c2,c3 = (g+8; 2t, 2t+1). */
static cell table_mma_c(int lane, int i) { return (cell){lane / 4 + (i >= 2 ? 8 : 0), lane % 4 * 2 + i % 2}; }

/* m16n8k16 A: a0,a1 = (g; 2t..), a2,a3 = (g+8; 2t..), a4,a5 = (g; 2t+8..), a6,a7 = (g+8; 2t+8..). */
static cell table_a16(int lane, int i) {
  bool low_rows = i < 2 || (i >= 4 && i < 6);
  return (cell){lane / 4 + (low_rows ? 0 : 8), lane % 4 * 2 + i % 2 + (i >= 4 ? 8 : 0)};
}

/* m16n8k32 8-bit A: rows g for 0 <= i < 4 and 8 <= i < 12, else g+8; k = 4t + i % 4, + 16 for i >= 8. */
static cell table_a8(int lane, int i) {
  bool low_rows = i < 4 || (i >= 8 && i < 12);
  return (cell){lane / 4 + (low_rows ? 0 : 8), lane % 4 * 4 + i % 4 + (i >= 8 ? 16 : 0)};
}

/* m16n8k8 tf32 A: a0 (g; t), a1 (g+8; t), a2 (g; t+4), a3 (g+8; t+4). */
static cell table_a32(int lane, int i) { return (cell){lane / 4 + (i & 1 ? 8 : 0), lane % 4 + (i >= 2 ? 4 : 0)}; }

/* B as (n, k). m16n8k16: k = 2t + i % 2, + 8 for i >= 2. k32: 4t + i % 4, + 16 for i >= 4. k8: t, t + 4. */
static cell table_b16(int lane, int i) { return (cell){lane / 4, lane % 4 * 2 + i % 2 + (i >= 2 ? 8 : 0)}; }
static cell table_b8(int lane, int i) { return (cell){lane / 4, lane % 4 * 4 + i % 4 + (i >= 4 ? 16 : 0)}; }
static cell table_b32(int lane, int i) { return (cell){lane / 4, lane % 4 + (i ? 4 : 0)}; }

typedef cell (*fragment_table)(int lane, int i);

typedef struct fragment {
  int bits;
  fragment_table a, b;
} fragment;

static const fragment fragments[] = {{16, table_a16, table_b16}, {8, table_a8, table_b8}, {32, table_a32, table_b32}};

static void expect_at(const tile_layout *layout, int reg, int lane, int warp, int row, int col) {
  int coord[LAYOUT_MAX_RANK];
  tile_layout_coord(layout, reg, lane, warp, coord);
  if (coord[0] != row || coord[1] != col)
    fail_msg("reg %d lane %d warp %d holds (%d,%d), not (%d,%d)", reg, lane, warp, coord[0], coord[1], row, col);
}

/* -- The catalogue
 * ----------------------------------------------------------------------------------------------------- */

static void check_mma(const fragment *f, int rows, int cols, int k, warp_grid g) {
  tile_layout acc, parts, a, b;
  assert_true(tile_layout_mma_accumulator(rows, cols, g, &acc));
  assert_true(tile_layout_mma_parts(rows, cols, g, &parts) && tile_layout_verify(&parts));
  assert_true(tile_layout_mma_a(rows, k, f->bits, g, &a));
  assert_true(tile_layout_mma_b(cols, k, f->bits, g, &b));
  assert_true(tile_layout_verify(&acc) && tile_layout_verify(&a) && tile_layout_verify(&b));
  int depth = 256 / f->bits, warps = g.warps_m * g.warps_n * g.warps_k;
  int m16 = rows / g.warps_m / 16, n8 = cols / g.warps_n / 8, steps = k / g.warps_k / depth;
  int a_regs = 16 * depth / 32, b_regs = 8 * depth / 32;
  assert_true(acc.warp_count == warps && a.warp_count == warps && b.warp_count == warps);
  assert_true(acc.reg_count == m16 * n8 * 4 && a.reg_count == m16 * steps * a_regs &&
              b.reg_count == n8 * steps * b_regs);
  for (int warp = 0; warp < warps; warp++) {
    int wm = warp % g.warps_m, wn = warp / g.warps_m % g.warps_n, wk = warp / g.warps_m / g.warps_n;
    for (int lane = 0; lane < 32; lane++) {
      for (int m = 0; m < m16; m++)
        for (int n = 0; n < n8; n++)
          for (int i = 0; i < 4; i++) {
            cell c = table_mma_c(lane, i);
            expect_at(&acc, (m * n8 + n) * 4 + i, lane, warp, (wm * m16 + m) * 16 + c.row, (wn * n8 + n) * 8 + c.col);
            int part[LAYOUT_MAX_RANK], whole[LAYOUT_MAX_RANK];
            tile_layout_coord(&parts, (m * n8 + n) * 4 + i, lane, warp, part);
            tile_layout_coord(&acc, (m * n8 + n) * 4 + i, lane, warp, whole);
            assert_true(part[0] == wk && part[1] == whole[0] && part[2] == whole[1]);
          }
      for (int s = 0; s < steps; s++) {
        int first = (wk * steps + s) * depth;
        for (int m = 0; m < m16; m++)
          for (int i = 0; i < a_regs; i++) {
            cell c = f->a(lane, i);
            expect_at(&a, (m * steps + s) * a_regs + i, lane, warp, (wm * m16 + m) * 16 + c.row, first + c.col);
          }
        for (int n = 0; n < n8; n++)
          for (int i = 0; i < b_regs; i++) {
            cell c = f->b(lane, i);
            expect_at(&b, (n * steps + s) * b_regs + i, lane, warp, (wn * n8 + n) * 8 + c.row, first + c.col);
          }
      }
    }
  }
}

static void test_mma_fragments(void **state) {
  (void)state;
  const warp_grid grids[] = {{1, 1, 1}, {2, 2, 1}, {4, 1, 1}, {1, 4, 2}, {2, 1, 4}, {3, 1, 1}};
  for (int f = 0; f < 3; f++)
    for (int g = 0; g < 6; g++)
      for (int m = 1; m <= 3; m++)
        for (int n = 1; n <= 3; n++) {
          int depth = 256 / fragments[f].bits;
          check_mma(&fragments[f], 16 * m * grids[g].warps_m, 8 * n * grids[g].warps_n, depth * m * grids[g].warps_k,
                    grids[g]);
        }
  tile_layout layout;
  assert_false(tile_layout_mma_accumulator(24, 8, grids[0], &layout));
  assert_false(tile_layout_mma_accumulator(16, 12, grids[0], &layout));
  assert_false(tile_layout_mma_a(16, 8, 16, grids[0], &layout));
  assert_false(tile_layout_mma_a(16, 16, 3, grids[0], &layout));
}

static void test_wgmma_fragments(void **state) {
  (void)state;
  for (int groups = 1; groups <= 3; groups++)
    for (int blocks = 1; blocks <= 3; blocks++)
      for (int n = 8; n <= 256; n += 8) {
        tile_layout layout;
        if (n * blocks / 2 > TILE_MAX_REGISTERS) continue;
        assert_true(tile_layout_wgmma_accumulator(64 * groups * blocks, n, groups, &layout));
        assert_true(tile_layout_verify(&layout) && tile_layout_is_injective(&layout));
        assert_int_equal(layout.reg_count, blocks * n / 2);
        for (int warp = 0; warp < 4 * groups; warp++)
          for (int lane = 0; lane < 32; lane++)
            for (int reg = 0; reg < layout.reg_count; reg++) {
              int i = reg % (n / 2), block = reg / (n / 2), g = lane >> 2, t = lane & 3;
              expect_at(&layout, reg, lane, warp,
                        (warp / 4 * blocks + block) * 64 + warp % 4 * 16 + g + 8 * (i >> 1 & 1),
                        8 * (i >> 2) + 2 * t + (i & 1));
            }
      }
  for (int f = 0; f < 3; f++)
    for (int groups = 1; groups <= 2; groups++)
      for (int steps = 1; steps <= 4; steps++) {
        tile_layout layout;
        int depth = 256 / fragments[f].bits, count = depth / 2;
        assert_true(tile_layout_wgmma_a(128 * groups, depth * steps, fragments[f].bits, groups, &layout));
        assert_int_equal(layout.reg_count, 2 * steps * count);
        for (int warp = 0; warp < 4 * groups; warp++)
          for (int lane = 0; lane < 32; lane++)
            for (int reg = 0; reg < layout.reg_count; reg++) {
              cell c = fragments[f].a(lane, reg % count);
              int block = reg / count / steps;
              expect_at(&layout, reg, lane, warp, (warp / 4 * 2 + block) * 64 + warp % 4 * 16 + c.row,
                        reg / count % steps * depth + c.col);
            }
      }
}

/* -- A varied collection
 * ----------------------------------------------------------------------------------------------- */

static int collect(tile_layout *all) {
  int count = 0;
  const warp_grid grids[] = {{1, 1, 1}, {2, 2, 1}, {4, 1, 1}, {1, 4, 1}, {1, 2, 2}};
  const int extents[][2] = {{64, 64}, {64, 96}, {128, 48}, {16, 32}, {192, 32}, {8, 8}, {1, 256}};
  for (int e = 0; e < 7; e++) {
    int rows = extents[e][0], cols = extents[e][1];
    for (int g = 0; g < 5; g++) {
      count += tile_layout_mma_accumulator(rows, cols, grids[g], &all[count]);
      count += tile_layout_mma_a(rows, cols, 16, grids[g], &all[count]);
      count += tile_layout_mma_a(rows, cols, 8, grids[g], &all[count]);
      count += tile_layout_mma_b(rows, cols, 16, grids[g], &all[count]);
    }
    for (int groups = 1; groups <= 3; groups++)
      count += tile_layout_wgmma_accumulator(rows, cols, groups, &all[count]);
    for (int vector = 1; vector <= 8; vector *= 2)
      for (int warps = 1; warps <= 4; warps += 3)
        count += tile_layout_blocked(2, extents[e], vector, warps, &all[count]);
    count += tile_layout_blocked(2, extents[e], 4, 12, &all[count]);
    assert_true(count < MAX_CASES - 30);
  }
  return count;
}

/* All holders of each element, found by enumeration, agree with find, replication and canonical. */
static void check_queries(const tile_layout *layout) {
  int cols = layout->extent[1], elements = layout->extent[0] * cols;
  int *holders = calloc((size_t)elements, sizeof *holders);
  tile_owner *lowest = calloc((size_t)elements, sizeof *lowest);
  assert_true(tile_layout_verify(layout));
  for (int warp = 0; warp < layout->warp_count; warp++)
    for (int lane = 0; lane < 32; lane++)
      for (int reg = 0; reg < layout->reg_count; reg++) {
        int coord[LAYOUT_MAX_RANK], found = -1;
        tile_owner owner;
        tile_layout_coord(layout, reg, lane, warp, coord);
        assert_true(coord[0] >= 0 && coord[0] < layout->extent[0] && coord[1] >= 0 && coord[1] < cols);
        int element = coord[0] * cols + coord[1];
        if (holders[element]++ == 0) lowest[element] = (tile_owner){reg, lane, warp};
        tile_owner *l = &lowest[element];
        assert_int_equal(tile_layout_is_canonical(layout, reg, lane, warp),
                         l->reg == reg && l->lane == lane && l->warp == warp);
        assert_true(tile_layout_find_in_thread(layout, coord, lane, warp, &found) && found <= reg);
        assert_true(tile_layout_find_in_warp(layout, coord, warp, &owner) && owner.warp == warp && owner.lane <= lane);
      }
  for (int element = 0; element < elements; element++) {
    int coord[] = {element / cols, element % cols};
    tile_owner owner = tile_layout_find(layout, coord);
    assert_int_equal(holders[element], tile_layout_replication(layout));
    assert_memory_equal(&owner, &lowest[element], sizeof owner);
  }
  int vector = tile_layout_vector(layout);
  for (int lane = 0; lane < 32; lane++)
    for (int reg = 0; reg < layout->reg_count; reg += vector)
      for (int i = 0; i < vector; i++) {
        int first[LAYOUT_MAX_RANK], coord[LAYOUT_MAX_RANK];
        tile_layout_coord(layout, reg, lane, layout->warp_count - 1, first);
        tile_layout_coord(layout, reg + i, lane, layout->warp_count - 1, coord);
        assert_true(first[1] % vector == 0 && coord[0] == first[0] && coord[1] == first[1] + i);
      }
  free(holders);
  free(lowest);
}

static void test_queries(void **state) {
  (void)state;
  static tile_layout all[MAX_CASES];
  int count = collect(all), vectors = 0;
  assert_true(count > 100);
  for (int i = 0; i < count; i++) {
    check_queries(&all[i]);
    vectors |= tile_layout_vector(&all[i]);
  }
  assert_int_equal(vectors, 15);
}

/* -- Conversions
 * ------------------------------------------------------------------------------------------------------- */

static bool holds(const tile_layout *layout, int reg, int lane, int warp, const int *coord) {
  int here[LAYOUT_MAX_RANK];
  tile_layout_coord(layout, reg, lane, warp, here);
  return here[0] == coord[0] && here[1] == coord[1];
}

/* The definition of the four classes, by looking at every register of every thread. */
static tile_conversion classify(const tile_layout *from, const tile_layout *to) {
  bool registers = true, none = from->reg_count == to->reg_count;
  int coord[LAYOUT_MAX_RANK];
  for (int reg = 0; reg < to->reg_count && registers; reg++) {
    bool some = false;
    for (int source = 0; source < from->reg_count && !some; source++) {
      bool all = true;
      for (int thread = 0; thread < 32 * to->warp_count && all; thread++) {
        tile_layout_coord(to, reg, thread % 32, thread / 32, coord);
        all = holds(from, source, thread % 32, thread / 32, coord);
      }
      some = all;
      if (all && source != reg) {
        bool itself = reg < from->reg_count;
        for (int thread = 0; thread < 32 * to->warp_count && itself; thread++) {
          tile_layout_coord(to, reg, thread % 32, thread / 32, coord);
          itself = holds(from, reg, thread % 32, thread / 32, coord);
        }
        none = none && itself;
      }
    }
    registers = some;
  }
  if (registers) return none ? TILE_CONVERT_NONE : TILE_CONVERT_REGISTERS;
  int elements = to->extent[0] * to->extent[1];
  bool *held = malloc((size_t)elements);
  tile_conversion result = TILE_CONVERT_SHUFFLE;
  for (int warp = 0; warp < to->warp_count; warp++) {
    memset(held, 0, (size_t)elements);
    for (int i = 0; i < 32 * from->reg_count; i++) {
      tile_layout_coord(from, i / 32, i % 32, warp, coord);
      held[coord[0] * to->extent[1] + coord[1]] = true;
    }
    for (int i = 0; i < 32 * to->reg_count; i++) {
      tile_layout_coord(to, i / 32, i % 32, warp, coord);
      if (!held[coord[0] * to->extent[1] + coord[1]]) result = TILE_CONVERT_SHARED;
    }
  }
  free(held);
  return result;
}

static void test_conversions(void **state) {
  (void)state;
  static tile_layout all[MAX_CASES];
  int count = collect(all), seen[4] = {0};
  for (int i = 0; i < count; i++)
    for (int j = 0; j < count; j++) {
      const tile_layout *a = &all[i], *b = &all[j];
      if (memcmp(a->extent, b->extent, sizeof a->extent) != 0 || a->warp_count != b->warp_count) continue;
      if (a->extent[0] * a->extent[1] > 4096 && (i + j) % 3) continue;
      uint16_t registers[TILE_MAX_REGISTERS];
      tile_conversion kind = tile_layout_convert(a, b, registers);
      assert_int_equal(kind, classify(a, b));
      seen[kind]++;
      if (kind <= TILE_CONVERT_REGISTERS)
        for (int reg = 0; reg < b->reg_count; reg++)
          for (int thread = 0; thread < 32 * b->warp_count; thread += 7) {
            int coord[LAYOUT_MAX_RANK];
            tile_layout_coord(b, reg, thread % 32, thread / 32, coord);
            assert_true(holds(a, registers[reg], thread % 32, thread / 32, coord));
          }
      bool same = a->reg_count == b->reg_count && kind == TILE_CONVERT_NONE;
      assert_int_equal(tile_layout_equal(a, b), same);
    }
  for (int kind = 0; kind < 4; kind++)
    assert_true(seen[kind] > 3);
}

static void test_accumulator_is_operand(void **state) {
  (void)state;
  tile_layout acc, a16, a8;
  assert_true(tile_layout_wgmma_accumulator(128, 176, 2, &acc));
  assert_true(tile_layout_wgmma_a(128, 176, 16, 2, &a16));
  assert_int_equal(tile_layout_convert(&acc, &a16, NULL), TILE_CONVERT_NONE);
  assert_true(tile_layout_wgmma_accumulator(128, 96, 2, &acc));
  assert_true(tile_layout_wgmma_a(128, 96, 8, 2, &a8));
  assert_int_equal(tile_layout_convert(&acc, &a8, NULL), TILE_CONVERT_SHUFFLE);
}

/* -- Fewer columns than an instruction has, and shares
 * ------------------------------------------------------------------------------------------------ */

static void test_narrow_accumulators(void **state) {
  (void)state;
  for (int cols = 2; cols <= 8; cols *= 2) {
    tile_layout narrow, whole, parts;
    assert_true(tile_layout_mma_accumulator(32, cols, (warp_grid){2, 1, 1}, &narrow) && tile_layout_verify(&narrow));
    assert_true(tile_layout_mma_accumulator(32, 8, (warp_grid){2, 1, 1}, &whole));
    assert_int_equal(narrow.reg_count, whole.reg_count);
    assert_int_equal(tile_layout_replication(&narrow), 8 / cols);
    for (int thread = 0; thread < 64; thread++)
      for (int reg = 0; reg < narrow.reg_count; reg++) {
        int few[LAYOUT_MAX_RANK], all[LAYOUT_MAX_RANK];
        tile_layout_coord(&narrow, reg, thread % 32, thread / 32, few);
        tile_layout_coord(&whole, reg, thread % 32, thread / 32, all);
        assert_true(few[0] == all[0] && few[1] == all[1] % cols);
      }
    assert_true(tile_layout_mma_parts(32, cols, (warp_grid){1, 1, 4}, &parts) && tile_layout_verify(&parts));
  }
  tile_layout none;
  assert_false(tile_layout_mma_accumulator(32, 3, (warp_grid){1, 1, 1}, &none));
  assert_false(tile_layout_mma_accumulator(32, 4, (warp_grid){1, 2, 1}, &none));
}

static void test_spread(void **state) {
  (void)state;
  for (int rows = 16; rows <= 96; rows += 16)
    for (int warps_k = 2; warps_k <= 16; warps_k *= 2) {
      tile_layout parts, sums, spread;
      if (rows % 32 && rows > 16) continue;
      int warps_m = rows > 16 ? 2 : 1;
      assert_true(tile_layout_mma_parts(rows, 16, (warp_grid){warps_m, 1, warps_k}, &parts));
      assert_true(tile_layout_slice(&parts, 0, &sums));
      bool spreads = tile_layout_spread(&sums, &spread);
      assert_int_equal(spreads, rows != 96); /* warps that share rows follow on three times 16 of them */
      if (!spreads) continue;
      assert_true(tile_layout_verify(&spread));
      assert_int_equal(spread.warp_count, sums.warp_count);
      int shares = sums.reg_count / spread.reg_count;
      assert_true(shares > 1 && sums.reg_count % spread.reg_count == 0);
      assert_int_equal(tile_layout_replication(&sums), tile_layout_replication(&spread) * shares);
      for (int warp = 0; warp < sums.warp_count; warp++)
        for (int reg = 0; reg < spread.reg_count; reg++) {
          int own[LAYOUT_MAX_RANK], from[LAYOUT_MAX_RANK];
          int first = tile_layout_spread_first(&sums, shares, warp);
          tile_layout_coord(&spread, reg, 11, warp, own);
          tile_layout_coord(&sums, tile_layout_spread_register(&sums, shares, reg) + first, 11, warp, from);
          assert_true(own[0] == from[0] && own[1] == from[1]);
        }
    }
  tile_layout alone, none;
  assert_true(tile_layout_mma_accumulator(32, 16, (warp_grid){2, 2, 1}, &alone));
  assert_false(tile_layout_spread(&alone, &none)); /* no warp has copies */
}

/* -- Derived layouts
 * --------------------------------------------------------------------------------------------------- */

static void test_slice_expand_transpose(void **state) {
  (void)state;
  static tile_layout all[MAX_CASES];
  int count = collect(all);
  for (int i = 0; i < count; i++) {
    const tile_layout *layout = &all[i];
    tile_layout turned, back, wide;
    assert_true(tile_layout_transpose(layout, (int[]){1, 0}, &turned) && tile_layout_verify(&turned));
    assert_true(tile_layout_transpose(&turned, (int[]){1, 0}, &back) && tile_layout_equal(layout, &back));
    for (int dim = 0; dim < 2; dim++) {
      tile_layout slice;
      assert_true(tile_layout_slice(layout, dim, &slice) && tile_layout_verify(&slice));
      assert_int_equal(slice.warp_count, layout->warp_count);
      bool used[TILE_MAX_REGISTERS] = {false};
      for (int thread = 0; thread < 32 * layout->warp_count; thread++)
        for (int reg = 0; reg < layout->reg_count; reg++) {
          int coord[LAYOUT_MAX_RANK], left[LAYOUT_MAX_RANK], other[LAYOUT_MAX_RANK];
          int kept = tile_layout_slice_register(layout, dim, reg);
          assert_true(kept >= 0 && kept < slice.reg_count);
          used[kept] = true;
          tile_layout_coord(layout, reg, thread % 32, thread / 32, coord);
          tile_layout_coord(&slice, kept, thread % 32, thread / 32, left);
          tile_layout_coord(&turned, reg, thread % 32, thread / 32, other);
          assert_int_equal(left[0], coord[1 - dim]);
          assert_true(other[0] == coord[1] && other[1] == coord[0]);
        }
      for (int reg = 0; reg < slice.reg_count; reg++)
        assert_true(used[reg]);
      for (int extent = 1; extent <= 6; extent += 5) {
        if (slice.reg_count * extent > TILE_MAX_REGISTERS) continue;
        assert_true(tile_layout_expand(&slice, dim, extent, &wide) && tile_layout_verify(&wide));
        assert_int_equal(wide.reg_count, slice.reg_count * extent);
        for (int reg = 0; reg < wide.reg_count; reg++) {
          int left[LAYOUT_MAX_RANK], coord[LAYOUT_MAX_RANK];
          tile_layout_coord(&slice, reg % slice.reg_count, 13, layout->warp_count - 1, left);
          tile_layout_coord(&wide, reg, 13, layout->warp_count - 1, coord);
          assert_true(coord[1 - dim] == left[0] && coord[dim] == reg / slice.reg_count);
        }
      }
    }
  }
  tile_layout acc, rows, one;
  assert_true(tile_layout_wgmma_accumulator(128, 96, 1, &acc));
  assert_true(tile_layout_slice(&acc, 1, &rows) && rows.reg_count == 4 && rows.repeat_count == 0);
  assert_true(tile_layout_slice(&rows, 0, &one) && one.extent[0] == 1 && one.reg_count == 1);
}

static void test_terms_of_accumulator(void **state) {
  (void)state;
  tile_layout acc;
  linmap_term terms[4];
  assert_true(tile_layout_wgmma_accumulator(64, 128, 1, &acc));
  linmap reg = tile_layout_axis_map(&acc, TILE_REG, 1), lane = tile_layout_axis_map(&acc, TILE_LANE, 1);
  linmap warp = tile_layout_axis_map(&acc, TILE_WARP, 0);
  assert_int_equal(linmap_terms(&reg, terms, 4), 2);
  assert_true(terms[1].in_shift == 2 && terms[1].width == 4 && terms[1].out_shift == 3);
  assert_int_equal(linmap_terms(&lane, terms, 4), 1);
  assert_true(terms[0].in_shift == 0 && terms[0].width == 2 && terms[0].out_shift == 1);
  assert_int_equal(linmap_terms(&warp, terms, 4), 1);
  assert_true(terms[0].in_shift == 0 && terms[0].width == 2 && terms[0].out_shift == 4);
}

static void test_build_rejects(void **state) {
  (void)state;
  tile_layout layout;
  const tile_digit gap[] = {{TILE_REG, 2, 0, 1}, {TILE_REG, 2, 0, 4}};
  const tile_digit twice[] = {{TILE_REG, 4, 0, 1}, {TILE_LANE, 4, 0, 1}};
  const tile_digit lanes[] = {{TILE_LANE, 3, 0, 1}};
  const tile_digit short_one[] = {{TILE_REG, 2, 0, 1}};
  assert_false(tile_layout_build(1, (int[]){8}, gap, 2, &layout));
  assert_false(tile_layout_build(1, (int[]){4}, twice, 2, &layout));
  assert_false(tile_layout_build(1, (int[]){3}, lanes, 1, &layout));
  assert_false(tile_layout_build(1, (int[]){4}, short_one, 1, &layout));
  assert_false(tile_layout_build(5, (int[]){2, 1, 1, 1, 1}, short_one, 1, &layout));
  assert_true(tile_layout_build(1, (int[]){2}, short_one, 1, &layout));
  assert_int_equal(tile_layout_replication(&layout), 32);
}

/* -- Text
 * -------------------------------------------------------------------------------------------------------------- */

static void test_text(void **state) {
  (void)state;
  static tile_layout all[MAX_CASES];
  int count = collect(all);
  str first = STR_EMPTY, second = STR_EMPTY;
  for (int i = 0; i < count; i++) {
    tile_layout layout;
    const char *error = NULL;
    str_clear(&first);
    str_clear(&second);
    tile_layout_print(&all[i], &first);
    const char *cursor = str_text(&first);
    if (!tile_layout_parse(&cursor, &layout, &error)) fail_msg("%s: %s at '%s'", str_text(&first), error, cursor);
    assert_int_equal(*cursor, '\0');
    assert_memory_equal(&layout, &all[i], sizeof layout);
    tile_layout_print(&layout, &second);
    assert_string_equal(str_text(&first), str_text(&second));
    /* Every damaged text is refused or is another valid layout. */
    char damaged[1024];
    for (size_t at = 0; at < first.length && first.length < sizeof damaged; at++) {
      memcpy(damaged, first.data, first.length + 1);
      damaged[at] = (char)"90(;}x,"[(at + (size_t)i) % 7];
      cursor = damaged;
      if (tile_layout_parse(&cursor, &layout, &error)) assert_true(tile_layout_verify(&layout));
      damaged[at] = '\0';
      cursor = damaged;
      assert_false(tile_layout_parse(&cursor, &layout, &error));
    }
  }
  str_clear(&first);
  assert_true(tile_layout_wgmma_accumulator(64, 96, 1, &all[0]));
  tile_layout_print(&all[0], &first);
  assert_string_equal(str_text(&first),
                      "#tile[64x96]{reg: (0,1) (8,0) (0,8) (0,16); lane: (0,2) (0,4) (1,0) (2,0) (4,0); "
                      "warp: (16,0) (32,0); repeat 3 dim 1 by 32 reg 16}");
  str_free(&first);
  str_free(&second);
}

/* One line a layout for the other implementation: its name, then row,col of every register of every thread. */
static void dump(void) {
  static tile_layout all[MAX_CASES];
  int count = collect(all);
  for (int i = 0; i < count; i++) {
    str text = STR_EMPTY;
    tile_layout_print(&all[i], &text);
    printf("%s\n", str_text(&text));
    str_free(&text);
    for (int at = 0; at < 32 * all[i].warp_count * all[i].reg_count; at++) {
      int coord[LAYOUT_MAX_RANK], thread = at / all[i].reg_count;
      tile_layout_coord(&all[i], at % all[i].reg_count, thread % 32, thread / 32, coord);
      printf("%s%d,%d", at ? " " : "", coord[0], coord[1]);
    }
    printf("\n");
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_mma_fragments),
      cmocka_unit_test(test_wgmma_fragments),
      cmocka_unit_test(test_queries),
      cmocka_unit_test(test_conversions),
      cmocka_unit_test(test_accumulator_is_operand),
      cmocka_unit_test(test_slice_expand_transpose),
      cmocka_unit_test(test_narrow_accumulators),
      cmocka_unit_test(test_spread),
      cmocka_unit_test(test_terms_of_accumulator),
      cmocka_unit_test(test_build_rejects),
      cmocka_unit_test(test_text),
  };
  if (argc > 1 && strcmp(argv[1], "--dump") == 0) {
    dump();
    return 0;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
