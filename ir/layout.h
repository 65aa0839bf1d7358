/* Layouts: where the elements of a tile, a shared buffer or a packed weight lie.
 *
 * Each is exact linear algebra over bits (ir/linmap.h), with at most four mixed-radix repeats outside for the odd
 * factors of an extent (96 = 3 * 32). Layouts are plain values: copy them, compare them, put them in an arena.
 * Constructors return false, leaving *out unspecified, when the extents do not fit; nothing here reports a diagnostic.
 *
 *   tile_layout    (register, lane, warp) -> coordinates of a tile spread over the threads of a block or role
 *   shared_layout  coordinates -> bit address in a shared buffer, panels and swizzle included, as a TMA box load writes
 * it packed_layout  position of a code in a packed weight block -> (row, k)
 *
 * Sources: PTX ISA "Matrix fragments for mma.m16n8k*", "Asynchronous warpgroup-level matrix" (register fragments,
 * shared memory matrix layout, matrix descriptor), "Tensor swizzling modes". */
#ifndef BITBLASC_IR_LAYOUT_H
#define BITBLASC_IR_LAYOUT_H

#include "ir/linmap.h"
#include "support/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { LAYOUT_MAX_RANK = 4, TILE_MAX_REPEATS = 4, TILE_MAX_REGISTERS = 1024, TILE_LANE_BITS = 5, TILE_LANES = 32 };

/* -- Tiles in registers ----------------------------------------------------------------------------------------------
 */

typedef enum tile_axis { TILE_REG, TILE_LANE, TILE_WARP } tile_axis;

/* One mixed-radix digit outside the linear part: index j = (register or warp number / stride) % count adds j * delta to
 * coordinate `dim`. delta 0: the copies hold the same elements. */
typedef struct tile_repeat {
  uint8_t axis; /* TILE_REG or TILE_WARP */
  uint8_t dim;
  uint16_t count;
  int delta;  /* elements along dim */
  int stride; /* registers or warps between neighbours; always 2^bits times the counts of the axis' repeats before it */
} tile_repeat;

/* A tile spread over threads. Register numbers count elements, whatever their width: two 16-bit registers 2i, 2i+1
 * share word i. Number = linear bits low, then the repeats of its axis, innermost first. Coordinate of a dimension =
 * its bits of map(reg bits | lane << reg_bits | warp bits << (reg_bits + 5)), plus what the repeats add; those lie
 * above the linear bits: per dimension the deltas, ascending, are 2^dim_bits, 2^dim_bits * count, ..., up to the
 * extent. Every element is held by some thread; it may be held by several (zero columns, kernel of the map, delta 0).
 */
typedef struct tile_layout {
  uint8_t rank; /* 1 .. 4 */
  uint8_t reg_bits;
  uint8_t warp_bits;
  uint8_t repeat_count;
  uint8_t dim_bits[LAYOUT_MAX_RANK]; /* linear bits of each dimension */
  int extent[LAYOUT_MAX_RANK];
  int reg_count;  /* elements a thread */
  int warp_count; /* warps of the block or role, counted from its first */
  linmap map;     /* in: reg, lane (5), warp bits; out: bits of dimension rank - 1 lowest, then rank - 2, ... */
  tile_repeat repeat[TILE_MAX_REPEATS];
} tile_layout;

/* A loop of a distribution: `count` values of the axis, each `delta` further along `dim`; delta 0 replicates. */
typedef struct tile_digit {
  tile_axis axis;
  int count;
  int dim;
  int delta;
} tile_digit;

enum { TILE_MAX_DIGITS = 32 };

/* The layout in which register, lane and warp numbers count through their digits, innermost first, in the order given.
 * Lanes missing to 32 replicate. False unless every dimension is covered by digits that, sorted by delta, are a mixed
 * radix of its extent, lane counts are powers of two, and there are at most four repeats. The base of all constructors
 * below; equal distributions give equal structs. */
bool tile_layout_build(int rank, const int *extent, const tile_digit *digits, int digit_count, tile_layout *out);

/* Coordinates held by a register of a lane of a warp; total and exact for reg < reg_count, lane < 32, warp <
 * warp_count. */
void tile_layout_coord(const tile_layout *layout, int reg, int lane, int warp, int coord[LAYOUT_MAX_RANK]);

typedef struct tile_owner {
  int reg, lane, warp;
} tile_owner;

/* The canonical holder of an element: the lowest warp, then lane, then register. coord must be inside the extents. */
tile_owner tile_layout_find(const tile_layout *layout, const int *coord);
/* The lowest lane, then register, of one warp that holds the element; false when that warp does not hold it. */
bool tile_layout_find_in_warp(const tile_layout *layout, const int *coord, int warp, tile_owner *owner);
/* The lowest register of one thread that holds the element; false when that thread does not hold it. */
bool tile_layout_find_in_thread(const tile_layout *layout, const int *coord, int lane, int warp, int *reg);

/* How many (register, lane, warp) hold each element: the same number for all. 1: injective. */
int tile_layout_replication(const tile_layout *layout);
bool tile_layout_is_injective(const tile_layout *layout);
/* Whether this holder is the canonical one; a store of a replicated tile is predicated with it. */
bool tile_layout_is_canonical(const tile_layout *layout, int reg, int lane, int warp);
/* Whether struct invariants hold and every element is held. Constructors and the parser give only such layouts. */
bool tile_layout_verify(const tile_layout *layout);
/* Same function: the same element in every register of every thread. */
bool tile_layout_equal(const tile_layout *a, const tile_layout *b);
/* Registers 0 .. n-1 (and each aligned group of n) hold n consecutive elements along the last dimension, the first at a
 * multiple of n. */
int tile_layout_vector(const tile_layout *layout);

/* The bits of one axis that reach one coordinate, in terms of the axis' own number (bit 0 is its bit 0): coordinate
 * `dim` of (reg, lane, warp) is the XOR of the three maps applied to the three numbers, plus the repeats. Feed to
 * linmap_terms for expressions. */
linmap tile_layout_axis_map(const tile_layout *layout, tile_axis axis, int dim);

/* -- Tiles: catalogue ------------------------------------------------------------------------------------------------
 */

/* Warps of a warp-level dot: warp = m + warps_m * (n + warps_n * k). Each owns a contiguous rows / warps_m by cols /
 * warps_n part; the warps along k each own k / warps_k of the operands and a partial sum of the accumulator. */
typedef struct warp_grid {
  int warps_m, warps_n, warps_k;
} warp_grid;

/* mma.m16n8 accumulator of a tile [rows, cols]. Registers of a thread, innermost first: 2 columns, 2 rows (+8), n8
 * blocks, m16 blocks. Of 2 or 4 columns the instruction has 4 or 2 copies. */
bool tile_layout_mma_accumulator(int rows, int cols, warp_grid grid, tile_layout *out);
/* The same for partial sums, a tile [warps_k, rows, cols]: the warps along k hold one part each. */
bool tile_layout_mma_parts(int rows, int cols, warp_grid grid, tile_layout *out);
/* mma A fragments of a tile [rows, k], elements of 32, 16, 8, 4 or 1 bits: an instruction is 256 / element_bits deep
 * (16 bits: k16). Registers, innermost first: the elements of a 32-bit register along k, 2 rows (+8), 2 k halves, k
 * blocks, m16 blocks. Equal to the accumulator's layout at 16 bits. Replicated over the warps along n. */
bool tile_layout_mma_a(int rows, int k, int element_bits, warp_grid grid, tile_layout *out);
/* mma B fragments of a tile [cols, k] (k last; transpose for [k, cols]). Registers: elements along k, 2 k halves, k
 * blocks, n8 blocks. Replicated over the warps along m. */
bool tile_layout_mma_b(int cols, int k, int element_bits, warp_grid grid, tile_layout *out);
/* wgmma m64nN accumulator of a tile [rows, cols] over `warpgroups` groups of four warps: warpgroup g owns rows g * rows
 * / warpgroups ..., as m64 blocks. Registers: those of m64n<cols> in the hardware's order (if cols > 256, of its n
 * blocks one after another), then the m64 blocks. */
bool tile_layout_wgmma_accumulator(int rows, int cols, int warpgroups, tile_layout *out);
/* wgmma A-in-registers fragments of a tile [rows, k], 16- or 8-bit elements (32: tf32). Registers: those of m64k16
 * (k32, k8), then the k blocks, then the m64 blocks. Equal to the accumulator's layout at 16 bits. */
bool tile_layout_wgmma_a(int rows, int k, int element_bits, int warpgroups, tile_layout *out);
/* For elementwise work and copies: a thread holds `vector` (a power of two) consecutive elements of the last dimension;
 * lanes, then warps, then registers go on along the last dimension, then the one before it. Threads left over hold
 * copies. */
bool tile_layout_blocked(int rank, const int *extent, int vector, int warps, tile_layout *out);

/* What a reduction along `dim` leaves: the dimension is gone (a rank-1 tile becomes [1]), lanes and warps that differed
 * only in it hold copies, registers that differed only in it are one register. */
bool tile_layout_slice(const tile_layout *layout, int dim, tile_layout *out);
/* The register of tile_layout_slice(layout, dim) that stands for register `reg` of layout. */
int tile_layout_slice_register(const tile_layout *layout, int dim, int reg);
/* The layout with as many of its highest register bits as possible given to warp bits that hold copies: every such warp has
 * a share of the elements then, and shares follow one another in warp order. False when there is none of either. */
bool tile_layout_spread(const tile_layout *layout, tile_layout *out);
/* Register `reg` of the layout that was spread over `shares` warps is register tile_layout_spread_register() +
 * tile_layout_spread_first() of the layout itself in the warp. */
int tile_layout_spread_register(const tile_layout *layout, int shares, int reg);
int tile_layout_spread_first(const tile_layout *layout, int shares, int warp);
/* A new dimension before `dim` (dim == rank: last), all of it in every thread, in outermost registers; extent 1 costs
 * nothing. */
bool tile_layout_expand(const tile_layout *layout, int dim, int extent, tile_layout *out);
/* Dimension i of the result is dimension order[i] of the layout. */
bool tile_layout_transpose(const tile_layout *layout, const int *order, tile_layout *out);

/* -- Tiles: conversions ----------------------------------------------------------------------------------------------
 */

typedef enum tile_conversion {
  TILE_CONVERT_NONE,      /* every register already holds its element */
  TILE_CONVERT_REGISTERS, /* each thread renames its own registers, all threads alike */
  TILE_CONVERT_SHUFFLE,   /* elements move within their warp (or a thread picks registers by its lane) */
  TILE_CONVERT_SHARED     /* elements cross warps */
} tile_conversion;

/* What it takes to turn `from` into `to`: layouts of the same extents and warp_count (BUG otherwise). `registers`, when
 * not NULL, has to->reg_count entries; for NONE and REGISTERS entry r becomes the register of `from` that holds what
 * `to` wants in r. */
tile_conversion tile_layout_convert(const tile_layout *from, const tile_layout *to, uint16_t *registers);

/* -- Shared buffers --------------------------------------------------------------------------------------------------
 */

/* XOR of 16-byte chunks within rows of that many bytes: a ^= ((a >> 7) & mask) << 4 with mask 0, 1, 3, 7. The value is
 * the span in bytes. */
typedef enum shared_swizzle {
  SHARED_SWIZZLE_NONE = 0,
  SHARED_SWIZZLE_32 = 32,
  SHARED_SWIZZLE_64 = 64,
  SHARED_SWIZZLE_128 = 128
} shared_swizzle;

/* A buffer in shared memory. The contiguous dimension is cut into panels of panel_bytes; a panel is
 * [rows][panel_bytes], rows being all other dimensions flattened in order; panels follow one another. The swizzle acts
 * on the address, so the base must be aligned. With a swizzle a panel is its span wide: exactly what one TMA box of
 * that inner size writes. Without one it is the whole row, or what
 * is asked for: 16 bytes give the core matrices of an unswizzled wgmma operand. */
typedef struct shared_layout {
  uint8_t rank;       /* 1 .. 4 */
  uint8_t contiguous; /* dimension */
  uint8_t element_bits;
  shared_swizzle swizzle;
  int extent[LAYOUT_MAX_RANK];
  int rows; /* product of the other extents */
  int panel_bytes;
  int panel_count;
  int byte_size; /* of one slot, not rounded up to the alignment */
  int alignment; /* bytes that the base of every slot must be a multiple of: 1024, 512, 256 when swizzled, else 128 */
} shared_layout;

/* panel_bytes 0: the default. False when a row is not a whole number of bytes, or of panels, or the buffer is beyond 16
 * MiB. */
bool shared_layout_make(int rank, const int *extent, int element_bits, int contiguous, shared_swizzle swizzle,
                        int panel_bytes, shared_layout *out);
bool shared_layout_equal(const shared_layout *a, const shared_layout *b);
/* Address of an element from the base of the slot, in bits (bytes * 8 + bit for sub-byte elements) and in bytes. */
int64_t shared_layout_bit_address(const shared_layout *layout, const int *coord);
int shared_layout_byte_address(const shared_layout *layout, const int *coord);
/* How many elements, the first at a multiple of that many along the contiguous dimension, are consecutive in memory: a
 * swizzled buffer keeps 16 bytes together. A power of two, at most 16 bytes. */
int shared_layout_vector(const shared_layout *layout);
/* The address as a linear map from the coordinates within a panel (element of the panel lowest, then as many bits as
 * the row needs) to byte address bits; panel p adds p * rows * panel_bytes. False when panels are no power of two
 * bytes, or start off the swizzle's alignment, or elements are no power of two bytes. */
bool shared_layout_map(const shared_layout *layout, linmap *out);
/* The widest swizzle whose span divides a row of `row_elements` elements; NONE when not even 32 bytes do. */
shared_swizzle shared_choose_swizzle(int row_elements, int element_bits);
/* The swizzled byte address (base aligned). */
uint32_t shared_swizzle_apply(shared_swizzle swizzle, uint32_t address);

/* Bank conflicts: how many times slower than conflict-free the worst phase of a warp access is. A phase is the lanes
 * that move 128 bytes together: 32, 16 or 8 of them for a width of up to 4, 8, 16 bytes. Lanes that touch the same word
 * do not conflict. */
int shared_conflict_ways(const uint32_t *address, int lanes, int width_bytes);
/* Of a warp that moves its register group starting at `reg`, `vector` elements a lane, between a tile and a buffer of
 * the same extents: the worst over all warps. */
int shared_tile_ways(const shared_layout *shared, const tile_layout *tile, int reg, int vector);
/* Of ldmatrix or stmatrix: the eight 16-byte rows first_row .. first_row + 7 at element `column` of the contiguous
 * dimension. */
int shared_ldmatrix_ways(const shared_layout *layout, int first_row, int column);

/* What a wgmma matrix descriptor says of a buffer, and how it advances. */
typedef struct wgmma_operand {
  bool mn_major;       /* m (or n) is the contiguous dimension: the transpose bit; 16-bit elements only */
  int swizzle_code;    /* descriptor bits 62-63: 0 none, 1 128B, 2 64B, 3 32B */
  int lbo_bytes;       /* leading byte offset; 16 where the hardware ignores it */
  int sbo_bytes;       /* stride byte offset */
  int step_bytes;      /* start address of the next k step (32 bytes of k) within a panel */
  int steps_per_panel; /* k steps before the next panel */
  int panel_bytes;     /* start address of the next panel along k; 0 when there is none */
  int block_bytes;     /* start address 64 further along m (or n) */
} wgmma_operand;

/* The buffer as operand of wgmma, k being dimension k_dim (the last two dimensions; those before must be 1). False when
 * no descriptor describes it: fewer than 8 rows or not a multiple of 8, whole-row panels without swizzle, m- or n-major
 * elements other than 16 bits. */
bool shared_layout_wgmma(const shared_layout *layout, int k_dim, wgmma_operand *out);
/* Byte offset of the start address of k step `step`, m (or n) block of 64 `block`. */
int wgmma_operand_offset(const wgmma_operand *operand, int step, int block);
/* The descriptor without its start address (bits 0-13). */
uint64_t wgmma_operand_descriptor(const wgmma_operand *operand);

/* -- Packed weights --------------------------------------------------------------------------------------------------
 */

/* A block of packed codes in the order in which threads load and decode them. Position p of a code, counted from the
 * block's first bit in units of code_bits, little end first, is: code in 32-bit word, word in the lane's 16 bytes,
 * lane, warp, then further 16-byte vectors. map(p) is the element row * k + column; k and rows are powers of two.
 * Blocks follow one another along k, then along rows. */
typedef struct packed_layout {
  int rows;
  int k;
  int code_bits;    /* 1, 2, 4, 8; of scales that lie in blocks of rows also 16, 32 */
  int operand_bits; /* 16 or 8: width of the register lane that a code is decoded into; of scales their own, at least 8 */
  linmap map;       /* bijective; in and out: log2(rows * k) bits */
} packed_layout;

/* Solves for the packing in which every thread's 16-byte loads hold exactly the codes of its registers of `fragment`, a
 * bijective layout of a tile [rows, k] without repeats, in register order, and in which one mask at bit o * code_bits
 * of a word yields a whole register: the code of 32-bit register r, part h, is at bit (r % R) * code_bits +
 * operand_bits * h of word r / R, R = operand_bits / code_bits. False unless a thread's codes fill whole 16-byte
 * vectors. */
bool packed_layout_solve(const tile_layout *fragment, int code_bits, int operand_bits, packed_layout *out);
/* The standard block: 16 * warps rows, one 16-byte vector a thread, in wgmma A / mma A fragment order; 4 warps serve
 * wgmma. At 16-bit operands k is 256 / code_bits (4-bit: 64), at 8-bit operands the same. */
bool packed_layout_block(int warps, int code_bits, int operand_bits, packed_layout *out);
/* The same block with the codes of a register side by side in its word, part 0 lowest: what looks them up together finds
 * them together. */
void packed_layout_join_parts(packed_layout *layout);
/* Rows that a tile of `tile_rows` rows, a multiple of 16, holds together of a block of packed_layout_block(4, ...):
 * all 64, or whole warps' parts of 16 rows, each one run of bytes. Tiles begin at multiples of it, so such a piece lies
 * in one block. */
int packed_piece_rows(int tile_rows);
/* Position of a code in its block -> coordinates in the block, and back. */
void packed_layout_coord(const packed_layout *layout, int position, int *row, int *column);
int packed_layout_position(const packed_layout *layout, int row, int column);
bool packed_layout_equal(const packed_layout *a, const packed_layout *b);

/* -- Text ------------------------------------------------------------------------------------------------------------
 *
 *   #tile[64x96]{reg: (0,1) (8,0) (0,8) (0,16); lane: (0,2) (0,4) (1,0) (2,0) (4,0); warp: (16,0) (32,0); repeat 3 dim
 * 1 by 32 reg 16} #shared[128x64 16b]{swizzle 128}       also: contiguous 0, panel 16, where they are not the default
 *   #packed[64x64 4b in 16b]{(8,0) (0,8) ...}   the (row, k) of each bit of the position
 *
 * Printing what was parsed gives the same text, parsing what was printed the same layout. Parsers read at *cursor (a
 * NUL-terminated text), and on success leave it behind the closing brace; on failure it is where reading stopped,
 * *error says why (static text). */
void tile_layout_print(const tile_layout *layout, str *out);
bool tile_layout_parse(const char **cursor, tile_layout *layout, const char **error);
void shared_layout_print(const shared_layout *layout, str *out);
bool shared_layout_parse(const char **cursor, shared_layout *layout, const char **error);
void packed_layout_print(const packed_layout *layout, str *out);
bool packed_layout_parse(const char **cursor, packed_layout *layout, const char **error);

#endif
