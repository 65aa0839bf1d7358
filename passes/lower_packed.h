/* Shared by the lowering of decodes and dots: packed operands of a fused decode in shared memory, as a thread sees them.
 *
 * A block of codes is 64 rows; 16 of them are one vector of 16 bytes for each lane (packed_layout_block), so the 16-row
 * group number r of a tile of whole blocks is found at block r / 4, then at 512 * (r % 4). Scales and zeros are blocks
 * of 64 rows of one group. A tile of 16, 32, 48, ... rows holds pieces of blocks, of as many rows as packed_piece_rows
 * says, one after another along k and then along rows; what follows says block for such a piece too. */
#ifndef BITBLASC_PASSES_LOWER_PACKED_H
#define BITBLASC_PASSES_LOWER_PACKED_H

#include "passes/lower.h"

/* Truth tables of lop3. */
enum { LUT_AND_XOR = 0x6A, LUT_AND_OR = 0xEA, LUT_CHOOSE = 0xE4 }; /* (a & b) ^ c, (a & b) | c, c ? a : b by bits */

typedef struct packed_operand {
  lower *l;
  const tile_layout *layout; /* of the decoded tile, whose rows are the operand's */
  ir_value *buffer;          /* NULL: none; a tile: codes that the thread has already */
  const ir_expr *slot;
  int columns;                 /* blocks side by side in the tile */
  int piece_rows, piece_bytes; /* of a block that the tile holds together (packed_piece_rows) */
  int unit_rows, unit_bytes;   /* rows that lie together, and the bytes from one such unit to the next */
  const ir_expr *lane;         /* bytes that the lane and the warp's share of k add; NULL: none */
  const ir_expr *own;          /* address of the thread's first row */
} packed_operand;

/* Scales and zeros of groups of `group` columns, or codes (group 0). `ref` may be NULL or none. */
packed_operand packed_operand_of(lower *l, const tile_layout *layout, const ir_ref *ref, int group);
/* into[word .. word + 3] = the vector of codes of block column `block` of the warp's share of k, of the 16 rows that begin `distance` below the thread's
 * first one. */
void packed_load_codes(packed_operand *p, ir_value *into, int word, int distance, int block);
/* The scale or zero of the row `distance` below the thread's first one, of the warp's group `column`, loaded: in the low bits of a word,
 * or as f32. */
const ir_expr *packed_factor_word(packed_operand *p, const char *name, int distance, int column);

/* Element number `element` of a word, in the compute type of `type`; the first one as f32. */
const ir_expr *packed_unpack(lower *l, ir_type type, const ir_expr *word, int element);
const ir_expr *packed_unpack_f32(lower *l, ir_type type, const ir_expr *word);
/* The first one times 2^power, as f32. */
const ir_expr *packed_unpack_times(lower *l, ir_type type, const ir_expr *word, int power);

#endif
