/* Shared buffers and packed weights: addresses, bank conflicts, wgmma descriptors, and the packing that a fragment asks
 * for. */
#include "ir/layout.h"

#include "support/diag.h"

#include <string.h>

enum { BANKS = 32, BANK_BYTES = 4, PHASE_BYTES = 128, CHUNK_BYTES = 16, MAX_BYTES = 16 << 20, PACKED_ROWS = 64 };

static bool is_power(int n) { return n > 0 && (n & (n - 1)) == 0; }
static int log2_of(int power) { return 31 - __builtin_clz((unsigned)power); }
static int log2_up(int n) { return n > 1 ? log2_of(n - 1) + 1 : 0; }

/* -- Shared buffers --------------------------------------------------------------------------------------------------
 */

static bool swizzle_is_valid(shared_swizzle swizzle) {
  return swizzle == SHARED_SWIZZLE_NONE || swizzle == SHARED_SWIZZLE_32 || swizzle == SHARED_SWIZZLE_64 ||
         swizzle == SHARED_SWIZZLE_128;
}

bool shared_layout_make(int rank, const int *extent, int element_bits, int contiguous, shared_swizzle swizzle,
                        int panel_bytes, shared_layout *out) {
  if (rank < 1 || rank > LAYOUT_MAX_RANK || contiguous < 0 || contiguous >= rank) return false;
  if (element_bits < 1 || element_bits > 64 || !swizzle_is_valid(swizzle) || panel_bytes < 0) return false;
  int64_t rows = 1;
  for (int d = 0; d < rank; d++) {
    if (extent[d] < 1 || extent[d] > MAX_BYTES) return false;
    if (d != contiguous) rows *= extent[d];
    if (rows > MAX_BYTES) return false;
  }
  int64_t row_bits = (int64_t)extent[contiguous] * element_bits;
  int64_t row_bytes = row_bits / 8;
  if (row_bits % 8 || row_bytes * rows > MAX_BYTES) return false;
  int64_t panel = panel_bytes ? panel_bytes : swizzle ? (int64_t)swizzle : row_bytes;
  if (swizzle && (panel != (int64_t)swizzle || CHUNK_BYTES * 8 % element_bits)) return false;
  if (row_bytes % panel || panel * 8 % element_bits) return false;
  memset(out, 0, sizeof *out);
  out->rank = (uint8_t)rank;
  out->contiguous = (uint8_t)contiguous;
  out->element_bits = (uint8_t)element_bits;
  out->swizzle = swizzle;
  memcpy(out->extent, extent, (size_t)rank * sizeof *extent);
  out->rows = (int)rows;
  out->panel_bytes = (int)panel;
  out->panel_count = (int)(row_bytes / panel);
  out->byte_size = (int)(row_bytes * rows);
  out->alignment = swizzle ? 8 * (int)swizzle : PHASE_BYTES;
  return true;
}

bool shared_layout_equal(const shared_layout *a, const shared_layout *b) {
  return a->rank == b->rank && memcmp(a->extent, b->extent, a->rank * sizeof a->extent[0]) == 0 &&
         a->contiguous == b->contiguous && a->element_bits == b->element_bits && a->swizzle == b->swizzle &&
         a->panel_bytes == b->panel_bytes;
}

uint32_t shared_swizzle_apply(shared_swizzle swizzle, uint32_t address) {
  uint32_t mask = swizzle ? (uint32_t)swizzle / CHUNK_BYTES - 1 : 0;
  return address ^ (address >> 7 & mask) << 4;
}

/* Bit address of element `column` of a row. */
static int64_t row_address(const shared_layout *layout, int row, int column) {
  int64_t bit = (int64_t)column * layout->element_bits;
  int64_t panel_bits = (int64_t)layout->panel_bytes * 8;
  int64_t within = bit % panel_bits;
  int64_t byte = (bit / panel_bits * layout->rows + row) * layout->panel_bytes + within / 8;
  return (int64_t)shared_swizzle_apply(layout->swizzle, (uint32_t)byte) * 8 + within % 8;
}

int64_t shared_layout_bit_address(const shared_layout *layout, const int *coord) {
  int row = 0;
  for (int d = 0; d < layout->rank; d++)
    if (d != layout->contiguous) row = row * layout->extent[d] + coord[d];
  return row_address(layout, row, coord[layout->contiguous]);
}

int shared_layout_byte_address(const shared_layout *layout, const int *coord) {
  return (int)(shared_layout_bit_address(layout, coord) / 8);
}

int shared_layout_vector(const shared_layout *layout) {
  int panel_elements = layout->panel_bytes * 8 / layout->element_bits;
  int vector = 1;
  while (2 * vector * layout->element_bits <= CHUNK_BYTES * 8 && panel_elements % (2 * vector) == 0)
    vector *= 2;
  return vector;
}

bool shared_layout_map(const shared_layout *layout, linmap *out) {
  int element_bytes = layout->element_bits / 8;
  if (layout->element_bits % 8 || !is_power(element_bytes) || !is_power(layout->panel_bytes)) return false;
  if (layout->panel_count > 1 && layout->rows * layout->panel_bytes % layout->alignment) return false;
  int column_bits = log2_of(layout->panel_bytes / element_bytes), row_bits = log2_up(layout->rows);
  int panel_shift = log2_of(layout->panel_bytes);
  if (column_bits + row_bits > LINMAP_MAX_BITS) return false;
  *out = linmap_zero(column_bits + row_bits, panel_shift + row_bits);
  for (int i = 0; i < out->in_bits; i++) {
    uint32_t address = i < column_bits ? (uint32_t)element_bytes << i : (uint32_t)1 << (panel_shift + i - column_bits);
    out->col[i] = shared_swizzle_apply(layout->swizzle, address);
  }
  return true;
}

shared_swizzle shared_choose_swizzle(int row_elements, int element_bits) {
  int64_t row_bits = (int64_t)row_elements * element_bits;
  for (int span = SHARED_SWIZZLE_128; span >= SHARED_SWIZZLE_32 && row_bits > 0; span /= 2)
    if (row_bits % ((int64_t)span * 8) == 0 && CHUNK_BYTES * 8 % element_bits == 0) return (shared_swizzle)span;
  return SHARED_SWIZZLE_NONE;
}

/* -- Bank conflicts --------------------------------------------------------------------------------------------------
 */

/* The most distinct words that a group of lanes wants of one bank. */
static int phase_ways(const uint32_t *address, int lanes, int width_bytes) {
  uint32_t words[BANKS][TILE_LANES * 2];
  int count[BANKS] = {0}, ways = 1;
  for (int lane = 0; lane < lanes; lane++) {
    uint32_t last = (address[lane] + (uint32_t)width_bytes - 1) / BANK_BYTES;
    for (uint32_t word = address[lane] / BANK_BYTES; word <= last; word++) {
      int bank = (int)(word % BANKS), i = 0;
      while (i < count[bank] && words[bank][i] != word)
        i++;
      if (i < count[bank]) continue;
      words[bank][count[bank]++] = word;
      if (count[bank] > ways) ways = count[bank];
    }
  }
  return ways;
}

int shared_conflict_ways(const uint32_t *address, int lanes, int width_bytes) {
  if (lanes < 1 || lanes > TILE_LANES || width_bytes < 1 || width_bytes > CHUNK_BYTES)
    BUG("shared access of %d lanes, %d bytes each", lanes, width_bytes);
  int phase = PHASE_BYTES / (width_bytes < BANK_BYTES ? (int)BANK_BYTES : width_bytes), ways = 1;
  for (int first = 0; first < lanes; first += phase) {
    int count = lanes - first < phase ? lanes - first : phase;
    int here = phase_ways(address + first, count, width_bytes);
    if (here > ways) ways = here;
  }
  return ways;
}

int shared_tile_ways(const shared_layout *shared, const tile_layout *tile, int reg, int vector) {
  int width = (vector * shared->element_bits + 7) / 8, ways = 1;
  for (int warp = 0; warp < tile->warp_count; warp++) {
    uint32_t address[TILE_LANES];
    for (int lane = 0; lane < TILE_LANES; lane++) {
      int coord[LAYOUT_MAX_RANK];
      tile_layout_coord(tile, reg, lane, warp, coord);
      address[lane] = (uint32_t)shared_layout_byte_address(shared, coord);
    }
    int here = shared_conflict_ways(address, TILE_LANES, width);
    if (here > ways) ways = here;
  }
  return ways;
}

int shared_ldmatrix_ways(const shared_layout *layout, int first_row, int column) {
  uint32_t address[8];
  for (int row = 0; row < 8; row++)
    address[row] = (uint32_t)(row_address(layout, first_row + row, column) / 8);
  return shared_conflict_ways(address, 8, CHUNK_BYTES);
}

/* -- wgmma operands --------------------------------------------------------------------------------------------------
 */

/* k contiguous: a panel row is panel_bytes of k, 8 rows are a swizzle atom or a core matrix. */
static void describe_k_major(const shared_layout *layout, wgmma_operand *out) {
  int panel_stride = layout->rows * layout->panel_bytes;
  out->sbo_bytes = 8 * layout->panel_bytes;
  out->block_bytes = 64 * layout->panel_bytes;
  if (layout->swizzle) {
    out->lbo_bytes = 16;
    out->step_bytes = 32;
    out->steps_per_panel = layout->panel_bytes / 32;
    out->panel_bytes = layout->panel_count > 1 ? panel_stride : 0;
  } else {
    out->lbo_bytes = panel_stride;
    out->step_bytes = 2 * panel_stride;
    out->steps_per_panel = layout->panel_count / 2;
  }
}

/* m or n contiguous: rows are k; a k16 step is 16 of them. The roles of the two offsets swap with and without swizzle.
 */
static void describe_mn_major(const shared_layout *layout, wgmma_operand *out) {
  int panel_stride = layout->rows * layout->panel_bytes;
  out->lbo_bytes = layout->swizzle ? panel_stride : 8 * layout->panel_bytes;
  out->sbo_bytes = layout->swizzle ? 8 * layout->panel_bytes : panel_stride;
  out->step_bytes = 16 * layout->panel_bytes;
  out->steps_per_panel = layout->rows / 16;
  out->block_bytes = 128 / layout->panel_bytes * panel_stride;
}

bool shared_layout_wgmma(const shared_layout *layout, int k_dim, wgmma_operand *out) {
  int last = layout->rank - 1;
  if (layout->rank < 2 || (k_dim != last && k_dim != last - 1) || layout->contiguous < last - 1) return false;
  for (int d = 0; d < last - 1; d++)
    if (layout->extent[d] != 1) return false;
  if (layout->rows % 8 || (!layout->swizzle && layout->panel_bytes != CHUNK_BYTES)) return false;
  bool mn_major = layout->contiguous != k_dim;
  if (mn_major && (layout->element_bits != 16 || layout->rows % 16)) return false;
  if (!mn_major && layout->panel_bytes * layout->panel_count % 32) return false;
  *out = (wgmma_operand){.mn_major = mn_major};
  out->swizzle_code = layout->swizzle == SHARED_SWIZZLE_128  ? 1
                      : layout->swizzle == SHARED_SWIZZLE_64 ? 2
                      : layout->swizzle == SHARED_SWIZZLE_32 ? 3
                                                             : 0;
  if (mn_major)
    describe_mn_major(layout, out);
  else
    describe_k_major(layout, out);
  return true;
}

int wgmma_operand_offset(const wgmma_operand *operand, int step, int block) {
  return step / operand->steps_per_panel * operand->panel_bytes +
         step % operand->steps_per_panel * operand->step_bytes + block * operand->block_bytes;
}

uint64_t wgmma_operand_descriptor(const wgmma_operand *operand) {
  return (uint64_t)operand->swizzle_code << 62 | (uint64_t)(operand->sbo_bytes >> 4 & 0x3FFF) << 32 |
         (uint64_t)(operand->lbo_bytes >> 4 & 0x3FFF) << 16;
}

/* -- Packed weights --------------------------------------------------------------------------------------------------
 */

bool packed_layout_solve(const tile_layout *fragment, int code_bits, int operand_bits, packed_layout *out) {
  if (code_bits > operand_bits || !is_power(code_bits) || (operand_bits != 16 && operand_bits != 8)) return false;
  if (fragment->rank != 2 || fragment->repeat_count || !tile_layout_is_injective(fragment)) return false;
  int part_bits = log2_of(32 / operand_bits);             /* register index within a 32-bit register */
  int slot_bits = log2_of(operand_bits / code_bits);      /* 32-bit registers whose codes share a word */
  int vector_bits = log2_of(CHUNK_BYTES * 8 / code_bits); /* codes of a lane's 16 bytes */
  if (fragment->reg_bits < vector_bits) return false;
  *out = (packed_layout){.rows = fragment->extent[0],
                         .k = fragment->extent[1],
                         .code_bits = code_bits,
                         .operand_bits = operand_bits,
                         .map = linmap_zero(fragment->map.in_bits, fragment->map.out_bits)};
  const uint32_t *registers = fragment->map.col, *threads = registers + fragment->reg_bits;
  int thread_bits = TILE_LANE_BITS + fragment->warp_bits;
  uint32_t *col = out->map.col;
  /* In a word the slot varies fastest, so that one mask takes the same slot of every part. */
  for (int i = 0; i < slot_bits; i++)
    *col++ = registers[part_bits + i];
  for (int i = 0; i < part_bits; i++)
    *col++ = registers[i];
  for (int i = part_bits + slot_bits; i < vector_bits; i++)
    *col++ = registers[i];
  for (int i = 0; i < thread_bits; i++)
    *col++ = threads[i];
  for (int i = vector_bits; i < fragment->reg_bits; i++)
    *col++ = registers[i];
  return true;
}

bool packed_layout_block(int warps, int code_bits, int operand_bits, packed_layout *out) {
  tile_layout fragment;
  if (warps < 1 || warps > 16 || !is_power(code_bits) || code_bits > 8) return false;
  if (!tile_layout_mma_a(16 * warps, 256 / code_bits, operand_bits, (warp_grid){warps, 1, 1}, &fragment)) return false;
  return packed_layout_solve(&fragment, code_bits, operand_bits, out);
}

void packed_layout_join_parts(packed_layout *layout) {
  int slot_bits = log2_of(layout->operand_bits / layout->code_bits), part_bits = log2_of(32 / layout->operand_bits);
  linmap apart = layout->map;
  for (int i = 0; i < part_bits; i++)
    layout->map.col[i] = apart.col[slot_bits + i];
  for (int i = 0; i < slot_bits; i++)
    layout->map.col[part_bits + i] = apart.col[i];
}

int packed_piece_rows(int tile_rows) {
  int power = tile_rows & -tile_rows;
  return power < PACKED_ROWS ? power : PACKED_ROWS;
}

void packed_layout_coord(const packed_layout *layout, int position, int *row, int *column) {
  int element = (int)linmap_apply(&layout->map, (uint32_t)position);
  *row = element / layout->k;
  *column = element % layout->k;
}

int packed_layout_position(const packed_layout *layout, int row, int column) {
  uint32_t position = 0;
  if (!linmap_solve(&layout->map, (uint32_t)(row * layout->k + column), &position)) BUG("a packing is not bijective");
  return (int)position;
}

bool packed_layout_equal(const packed_layout *a, const packed_layout *b) {
  return a->rows == b->rows && a->k == b->k && a->code_bits == b->code_bits && a->operand_bits == b->operand_bits &&
         linmap_equal(&a->map, &b->map);
}
