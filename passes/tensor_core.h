/* Which dots the tensor cores can do, and how (HOPPER.md 3.1, 3.8; PTX ISA, wgmma.mma_async and mma). */
#ifndef BITBLASC_PASSES_TENSOR_CORE_H
#define BITBLASC_PASSES_TENSOR_CORE_H

#include "ir/ir.h"

/* Of one mma: rows and columns of what it sums. */
enum { MMA_ROWS = 16, MMA_COLUMNS = 8 };

/* The dot as the hardware would see it: rows come from the operand that may be in registers. With `swap` that is the
 * transposed b. */
typedef struct dot_shape {
  int m, n, k;           /* of the whole tile, after the swap */
  ir_value *accumulator; /* [n, m] in memory order when swapped; [parts, ...] when warps share k */
  int parts;
  const ir_ref *rows;    /* the m x k operand */
  const ir_ref *columns; /* the k x n operand */
  const ir_ref *scale;   /* m x k / group: multiplies the sums of a group of rows; NULL: none */
  int group;
  int power;       /* the scales, or without any the sums, are 2^power times as large */
  int raised_bits; /* of codes of rows that lie in subnormal numbers; 0: none */
  int raised;      /* what each of those was raised by */
  bool chooses;    /* codes of the rows choose between the products of columns by `low` (0) and by `high` (1) */
  int low, high;
  bool rows_k_major; /* k is contiguous in its buffer */
  bool columns_k_major;
  bool swapped;
} dot_shape;
dot_shape dot_shape_of(const ir_op *dot);

/* NULL when every instruction of the kind can do it, else the reason in words. */
const char *wgmma_refusal(const ir_kernel *kernel, const ir_op *dot);
const char *mma_refusal(const ir_kernel *kernel, const ir_op *dot);

/* Depth of one instruction: 32 bytes of the operand type (mma of tf32: 8 elements). */
int tensor_core_depth(ir_type operand);
/* The dot in the block, or within it, whose rows are this tile; NULL. */
const ir_op *dot_of_rows(const ir_block *block, const ir_value *rows);
/* Whether the codes are looked up, those of a register together: they lie side by side in its word
 * (packed_layout_join_parts). */
bool decode_joins_parts(ir_type code, ir_type to);
/* Whether the decode for this dot looks pairs of codes up in shared memory: 16 values in the registers of an mma of few
 * columns (wgmma reads shared memory itself). The table has the word of every pair once for each lane, each in a bank
 * of its own. */
enum { DECODE_TABLE_PAIRS = 256, DECODE_TABLE_BYTES = DECODE_TABLE_PAIRS * 32 * 4 };
bool decode_uses_table(const ir_op *decode, const ir_op *dot);
/* How many powers of two too small codes are that lie in the operand's sign, exponent and mantissa as they are, or, less
 * than 0, too large in its highest bits; 0 where they are more than moved there. */
int decode_power(const ir_op *decode);
/* Codes of `bits` bits that lie in the mantissa of a subnormal f16 as they are: register i of the two that one fragment
 * has of rows g and g + 8 is 2^(i * bits) times too large. Where a word has the codes of two steps along k, fragments are
 * made of the same half of both: those of the second half are 2^(2 * bits) times too large. */
enum { RAISED_POWER = 24 }; /* f16's least subnormal is 2^-24 */
static inline bool raised_is_apart(int bits) { return bits == 2; }
/* The bytes of the kernel's tables, beside its buffers. */
int64_t decode_table_bytes(const ir_kernel *kernel);

/* k whose sums the tensor core begins anew, to be added to the accumulator in f32; 0: it sums all k of the dot. */
int dot_promotes(const ir_op *dot);
/* Why a dot that asks for that has nothing promoted; NULL when it has. The dot knows its instruction. */
const char *promotion_refusal(const ir_op *dot);
/* Whether the dot may run on while its warps go on: wgmma that leaves its sums where they are. */
bool dot_runs_on(const ir_op *dot);
/* Columns of one wgmma of the dot. */
int dot_columns(const ir_op *dot);

/* The widest legal n of one wgmma that divides `columns` (at most 256), 0 when there is none. */
int wgmma_columns(int columns, ir_type operand);

#endif
