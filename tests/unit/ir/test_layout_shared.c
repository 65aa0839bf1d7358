/* Shared and packed layouts against formulas written from the hardware's side. */
#include "ir/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Byte of element (row, column) in panels of `span` bytes: the 16-byte chunk number is XORed with bits of the 128-byte
 * line number. */
static int64_t swizzled_bit(int rows, int span, int bits, int row, int column) {
  int per_panel = span * 8 / bits, per_chunk = 128 / bits;
  int panel = column / per_panel, chunk = column % per_panel / per_chunk;
  int line = row * span / 128;
  int place = chunk ^ line % (span / 16);
  return ((int64_t)panel * rows * span + row * span + place * 16) * 8 + column % per_chunk * bits;
}

static void test_swizzled_addresses(void **state) {
  (void)state;
  const int extents[][2] = {{128, 64}, {64, 128}, {8, 256}, {24, 192}, {96, 512}, {64, 1024}};
  for (int bits = 1; bits <= 64; bits *= 2)
    for (int span = 32; span <= 128; span *= 2)
      for (int e = 0; e < 6; e++)
        for (int contiguous = 0; contiguous < 2; contiguous++) {
          int rows = extents[e][0], cols = extents[e][1];
          int extent[] = {contiguous ? rows : cols, contiguous ? cols : rows};
          shared_layout layout;
          bool fits = cols * bits % (span * 8) == 0;
          assert_int_equal(shared_layout_make(2, extent, bits, contiguous, (shared_swizzle)span, 0, &layout), fits);
          if (!fits) continue;
          assert_int_equal(layout.byte_size, rows * cols * bits / 8);
          assert_int_equal(layout.alignment, 8 * span);
          char *seen = calloc((size_t)rows * (size_t)cols, 1);
          linmap map;
          bool linear = shared_layout_map(&layout, &map);
          assert_int_equal(linear, bits >= 8);
          int per_panel = span * 8 / bits;
          for (int row = 0; row < rows; row++)
            for (int col = 0; col < cols; col++) {
              int coord[] = {contiguous ? row : col, contiguous ? col : row};
              int64_t address = shared_layout_bit_address(&layout, coord);
              assert_int_equal(address, swizzled_bit(rows, span, bits, row, col));
              assert_int_equal(seen[address / bits]++, 0);
              if (!linear) continue;
              uint32_t in = (uint32_t)(col % per_panel + row * per_panel);
              assert_int_equal(linmap_apply(&map, in) + (uint32_t)(col / per_panel * rows * span), address / 8);
            }
          assert_int_equal(shared_layout_vector(&layout), 128 / bits);
          free(seen);
        }
}

static void test_plain_addresses(void **state) {
  (void)state;
  shared_layout layout;
  assert_true(shared_layout_make(3, (int[]){2, 3, 40}, 4, 2, SHARED_SWIZZLE_NONE, 0, &layout));
  for (int i = 0; i < 240; i++)
    assert_int_equal(shared_layout_bit_address(&layout, (int[]){i / 120, i / 40 % 3, i % 40}), i * 4);
  assert_int_equal(shared_layout_vector(&layout), 8);
  assert_false(shared_layout_make(1, (int[]){3}, 4, 0, SHARED_SWIZZLE_NONE, 0, &layout));
  assert_true(shared_layout_make(2, (int[]){16, 32}, 16, 1, SHARED_SWIZZLE_NONE, 16, &layout));
  assert_int_equal(shared_layout_byte_address(&layout, (int[]){9, 17}), 2 * 16 * 16 + 9 * 16 + 2);
  assert_int_equal(shared_choose_swizzle(64, 16), SHARED_SWIZZLE_128);
  assert_int_equal(shared_choose_swizzle(96, 16), SHARED_SWIZZLE_64);
  assert_int_equal(shared_choose_swizzle(16, 16), SHARED_SWIZZLE_32);
  assert_int_equal(shared_choose_swizzle(8, 16), SHARED_SWIZZLE_NONE);
  assert_int_equal(shared_choose_swizzle(64, 4), SHARED_SWIZZLE_32);
}

static void test_conflicts(void **state) {
  (void)state;
  /* Bytes of a row, span, ways of an ldmatrix phase: 8 rows a pitch of `pitch` apart. */
  const int cases[][3] = {{128, 128, 1}, {64, 64, 1}, {32, 32, 1}, {128, 0, 8},
                          {64, 0, 4},    {256, 0, 8}, {16, 0, 1},  {256, 128, 1}};
  for (int i = 0; i < 8; i++) {
    shared_layout layout;
    assert_true(shared_layout_make(2, (int[]){64, cases[i][0] / 2}, 16, 1, (shared_swizzle)cases[i][1], 0, &layout));
    for (int row = 0; row < 64; row += 8)
      for (int col = 0; col < cases[i][0] / 2; col += 8)
        assert_int_equal(shared_ldmatrix_ways(&layout, row, col), cases[i][2]);
    /* The same by rank: 2^(3 - rank) of row bits to chunk bits. */
    linmap map, part;
    if (cases[i][1] == 0 && cases[i][0] == 16) continue;
    assert_true(shared_layout_map(&layout, &map));
    part = linmap_slice(&map, map.in_bits - 6, 3, 4, 3);
    assert_int_equal(1 << (3 - linmap_rank(&part)), cases[i][2]);
  }
  uint32_t address[32];
  for (int lane = 0; lane < 32; lane++)
    address[lane] = (uint32_t)lane * 4;
  assert_int_equal(shared_conflict_ways(address, 32, 4), 1);
  for (int lane = 0; lane < 32; lane++)
    address[lane] = (uint32_t)lane * 8;
  assert_int_equal(shared_conflict_ways(address, 32, 4), 2);
  assert_int_equal(shared_conflict_ways(address, 32, 8), 1);
  for (int lane = 0; lane < 32; lane++)
    address[lane] = 512;
  assert_int_equal(shared_conflict_ways(address, 32, 4), 1);
  for (int lane = 0; lane < 32; lane++)
    address[lane] = (uint32_t)lane * 128;
  assert_int_equal(shared_conflict_ways(address, 32, 4), 32);
  assert_int_equal(shared_conflict_ways(address, 32, 16), 8);
  tile_layout tile;
  shared_layout swizzled, plain;
  assert_true(tile_layout_wgmma_accumulator(64, 64, 1, &tile));
  assert_true(shared_layout_make(2, (int[]){64, 64}, 16, 1, SHARED_SWIZZLE_128, 0, &swizzled));
  assert_true(shared_layout_make(2, (int[]){64, 64}, 16, 1, SHARED_SWIZZLE_NONE, 0, &plain));
  assert_int_equal(shared_tile_ways(&swizzled, &tile, 0, 2), 1);
  assert_int_equal(shared_tile_ways(&plain, &tile, 0, 2), 8);
}

/* The address at which wgmma reads operand element (mn, k) of an instruction, from the descriptor alone: canonical
 * layouts of the PTX ISA. */
static uint32_t wgmma_reads(const wgmma_operand *o, int start, int bits, int mn, int k) {
  int lbo = o->lbo_bytes, sbo = o->sbo_bytes, bytes = bits / 8, chunk = 16 / bytes;
  const int spans[] = {16, 128, 64, 32};
  int span = spans[o->swizzle_code], address;
  if (!o->mn_major && o->swizzle_code)
    address = start + mn / 8 * sbo + mn % 8 * span + k * bytes;
  else if (!o->mn_major)
    address = start + mn / 8 * sbo + mn % 8 * 16 + k / chunk * lbo + k % chunk * bytes;
  else if (o->swizzle_code)
    address = start + mn / (span / 2) * lbo + mn % (span / 2) * 2 + k / 8 * sbo + k % 8 * span;
  else
    address = start + mn / 8 * sbo + mn % 8 * 2 + k / 8 * lbo + k % 8 * 16;
  const shared_swizzle modes[] = {SHARED_SWIZZLE_NONE, SHARED_SWIZZLE_128, SHARED_SWIZZLE_64, SHARED_SWIZZLE_32};
  uint32_t line = (uint32_t)address >> 7, mask = modes[o->swizzle_code] ? (uint32_t)span / 16 - 1 : 0;
  return (uint32_t)address ^ (line & mask) << 4;
}

static void test_wgmma_operands(void **state) {
  (void)state;
  const int extents[][2] = {{64, 64}, {128, 128}, {256, 64}, {192, 32}, {64, 192}, {8, 64}, {96, 128}};
  int described = 0;
  for (int e = 0; e < 7; e++)
    for (int bits = 8; bits <= 32; bits *= 2)
      for (int span = 0; span <= 128; span = span ? 2 * span : 32)
        for (int contiguous = 0; contiguous < 2; contiguous++) {
          int mn = extents[e][0], k = extents[e][1];
          shared_layout layout;
          wgmma_operand o;
          if (!shared_layout_make(2, extents[e], bits, contiguous, (shared_swizzle)span, span ? 0 : 16, &layout))
            continue;
          bool ok = shared_layout_wgmma(&layout, 1, &o);
          assert_int_equal(ok, (contiguous || bits == 16) && (contiguous ? mn % 8 == 0 : k % 16 == 0));
          if (!ok) continue;
          described++;
          assert_int_equal(o.mn_major, !contiguous);
          int depth = 256 / bits;
          for (int block = 0; block * 64 < mn; block++)
            for (int step = 0; step < k / depth; step++) {
              int start = wgmma_operand_offset(&o, step, block);
              assert_int_equal(start % 16, 0);
              for (int i = 0; i < 64 && block * 64 + i < mn; i++)
                for (int j = 0; j < depth; j++)
                  assert_int_equal(wgmma_reads(&o, start, bits, i, j),
                                   shared_layout_byte_address(&layout, (int[]){block * 64 + i, step * depth + j}));
            }
          /* One instruction of up to 256 along n starts at block 0. */
          for (int i = 0; i < mn; i++)
            assert_int_equal(wgmma_reads(&o, 0, bits, i, 1), shared_layout_byte_address(&layout, (int[]){i, 1}));
        }
  assert_true(described > 40);
  shared_layout layout;
  wgmma_operand o;
  assert_true(shared_layout_make(2, (int[]){128, 64}, 16, 1, SHARED_SWIZZLE_128, 0, &layout));
  assert_true(shared_layout_wgmma(&layout, 1, &o));
  assert_true(wgmma_operand_descriptor(&o) == 0x4000004000010000U);
  assert_true(shared_layout_make(2, (int[]){64, 128}, 16, 1, SHARED_SWIZZLE_128, 0, &layout));
  assert_true(shared_layout_wgmma(&layout, 0, &o));
  assert_true(o.mn_major && o.sbo_bytes == 1024 && o.lbo_bytes == 64 * 128 && o.step_bytes == 2048);
  assert_true(shared_layout_make(2, (int[]){64, 64}, 16, 1, SHARED_SWIZZLE_NONE, 0, &layout));
  assert_false(shared_layout_wgmma(&layout, 1, &o));
}

/* The codes of a word in the decoder's order: slot s of register lane h at bit s * bits + operand_bits * h is part h of
 * register s. */
static void test_packed_blocks(void **state) {
  (void)state;
  for (int warps = 1; warps <= 8; warps *= 2)
    for (int bits = 1; bits <= 8; bits *= 2)
      for (int operand = 8; operand <= 16; operand *= 2) {
        packed_layout packed;
        assert_true(packed_layout_block(warps, bits, operand, &packed));
        assert_true(packed.rows == 16 * warps && packed.k == 256 / bits);
        int codes = packed.rows * packed.k, lane_codes = 128 / bits, word_codes = 32 / bits, slots = operand / bits;
        char *seen = calloc((size_t)codes, 1);
        for (int p = 0; p < codes; p++) {
          int row, column, warp = p / lane_codes / 32, lane = p / lane_codes % 32;
          packed_layout_coord(&packed, p, &row, &column);
          assert_int_equal(packed_layout_position(&packed, row, column), p);
          assert_int_equal(seen[row * packed.k + column]++, 0);
          int bit = p % word_codes * bits; /* in the word */
          int reg = p % lane_codes / word_codes * slots + bit % operand / bits, part = bit / operand;
          int block = reg / 4, a = reg % 4, g = lane >> 2, t = lane & 3;
          int depth = 256 / operand, along = 32 / operand;
          assert_int_equal(row, warp * 16 + g + (a & 1 ? 8 : 0));
          assert_int_equal(column, block * depth + t * along + part + (a & 2 ? depth / 2 : 0));
        }
        free(seen);
      }
  /* The word of 4-bit codes spelled out: a0.lo a1.lo a2.lo a3.lo a0.hi a1.hi a2.hi a3.hi of lane 0. */
  packed_layout packed;
  const int want[8][2] = {{0, 0}, {8, 0}, {0, 8}, {8, 8}, {0, 1}, {8, 1}, {0, 9}, {8, 9}};
  assert_true(packed_layout_block(4, 4, 16, &packed));
  for (int p = 0; p < 8; p++) {
    int row, column;
    packed_layout_coord(&packed, p, &row, &column);
    assert_true(row == want[p][0] && column == want[p][1]);
  }
  /* The same with the codes of a register side by side: a0.lo a0.hi a1.lo a1.hi a2.lo a2.hi a3.lo a3.hi. */
  packed_layout joined = packed;
  packed_layout_join_parts(&joined);
  for (int p = 0; p < packed.rows * packed.k; p++) {
    int row, column, apart = (p & ~7) | (p >> 1 & 3) | (p & 1) << 2;
    packed_layout_coord(&joined, p, &row, &column);
    assert_int_equal(packed_layout_position(&packed, row, column), apart);
  }
  tile_layout fragment;
  packed_layout same;
  assert_true(tile_layout_wgmma_a(64, 64, 16, 1, &fragment) && packed_layout_solve(&fragment, 4, 16, &same));
  assert_true(packed_layout_equal(&packed, &same));
  assert_true(tile_layout_wgmma_a(64, 32, 16, 1, &fragment));
  assert_false(packed_layout_solve(&fragment, 4, 16, &same));
  assert_false(packed_layout_block(3, 4, 16, &same));
  const int tiles[][2] = {{16, 16}, {32, 32}, {48, 16}, {64, 64}, {96, 32}, {112, 16}, {128, 64}, {192, 64}};
  for (int i = 0; i < 8; i++)
    assert_int_equal(packed_piece_rows(tiles[i][0]), tiles[i][1]);
}

static void test_text(void **state) {
  (void)state;
  const char *shared[] = {"#shared[128x64 16b]{swizzle 128}", "#shared[64x40 16b]{swizzle none}",
                          "#shared[64x96 16b]{swizzle 64, contiguous 0}",
                          "#shared[8x16x64 16b]{swizzle none, panel 16}"};
  str text = STR_EMPTY;
  const char *error = NULL, *cursor;
  for (int i = 0; i < 4; i++) {
    shared_layout layout;
    cursor = shared[i];
    if (!shared_layout_parse(&cursor, &layout, &error)) fail_msg("%s: %s", shared[i], error);
    str_clear(&text);
    shared_layout_print(&layout, &text);
    assert_string_equal(str_text(&text), shared[i]);
    for (size_t cut = 0; cut < strlen(shared[i]); cut++) {
      char *part = strndup(shared[i], cut);
      cursor = part;
      assert_false(shared_layout_parse(&cursor, &layout, &error));
      free(part);
    }
  }
  for (int bits = 1; bits <= 8; bits *= 2) {
    packed_layout packed, again;
    assert_true(packed_layout_block(4, bits, 16, &packed));
    str_clear(&text);
    packed_layout_print(&packed, &text);
    cursor = str_text(&text);
    assert_true(packed_layout_parse(&cursor, &again, &error));
    assert_true(packed_layout_equal(&packed, &again));
  }
  packed_layout packed;
  cursor = "#packed[2x2 4b in 16b]{(0,1) (0,1)}";
  assert_false(packed_layout_parse(&cursor, &packed, &error));
  assert_string_equal(error, "two codes of a packed block are the same element");
  str_free(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_swizzled_addresses), cmocka_unit_test(test_plain_addresses),
      cmocka_unit_test(test_conflicts),          cmocka_unit_test(test_wgmma_operands),
      cmocka_unit_test(test_packed_blocks),      cmocka_unit_test(test_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
