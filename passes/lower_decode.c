/* Decodes into the register operand of a dot: packed codes in shared memory become fragments.
 *
 *   %codes[0] <- ld.shared %Ws, address(%Ws) + ..., true {width = 16}
 *   %Wd[0] <- mul2.f16(sub2.f16(lop3(%codes[0], 983055u, 1677747200u, 106u), 1678271496u), %scale)
 *
 * A block of codes is 64 rows; 16 of them are one vector of 16 bytes for each lane (packed_layout_block), so the 16-row
 * group number r of a tile of whole blocks is found at block r / 4, then at 512 * (r % 4) (others: lower_packed.h). A word
 * of it holds R = operand bits / code bits registers: register i has its parts at bit i * code bits of each operand-wide
 * lane, so one mask yields all parts at once; codes that are looked up have the parts of a register side by side (packed_layout_join_parts). Scales and
 * zeros are blocks of 64 rows of one group.
 *
 * Arithmetic of 16-bit operands, on both halves of a word at once; M is the mantissa's bits:
 * 1. An integer code at bit o of the mantissa under the exponent of 2^(M - o) is that number plus the code: one LOP3.
 *    Flipping its sign bit adds 2^(bits - 1) to a two's complement code; a factor of 2^f is f places further up. What
 *    was added, and the constant offset, are then subtracted exactly. The scale must not be folded into that subtraction: the product of the large number would
 *    be rounded.
 * 2. Narrow floats are moved into the exponent and mantissa of the wide one; a multiplication by a power of two mends
 *    the exponent's bias.
 * 3. A table of 16 values, rounded to the operand's type, is looked up by byte permutations: four codes at once are the
 *    selector, once for the low bytes of the values and once for the high ones. That is 5.5 instructions a register on a
 *    pipe of 16 lanes; where a dot has few columns and every code counts (decode_uses_table), a table of whole registers
 *    in shared memory takes 1 and a load, whose 128 bytes are one access.
 * 4. Zeros of the operand's type are subtracted from the exact value, scales multiply last: one rounding each, none
 *    when the zeros are integers. Zeros that are codes are added to what rule 1 subtracts.
 * Everything else is computed in f32 from the exact value, or from single codes, and rounded once. */
#include "ir/numeric.h"
#include "passes/lower.h"
#include "passes/lower_packed.h"
#include "passes/lower_rows.h"
#include "passes/tensor_core.h"

enum { GROUP_ROWS = 16, VECTOR_WORDS = 4, MAX_ROW_GROUPS = 64, MAX_RAISED = 16 };
enum { UPPER_POWER = 14 }; /* f16's bias less that of f4e2m1 */

/* Scales or zeros, and those known by now: of row g and g + 8 of a group, by column. */
typedef struct decode_factor {
  packed_operand operand;
  const ir_expr *value[2][TILE_MAX_REGISTERS];
} decode_factor;

/* A zero plus the number that codes were raised by. */
typedef struct raised_zero {
  const ir_expr *zero, *sum;
  double base;
} raised_zero;

typedef struct decoding {
  lower *l;
  const ir_op *op;
  const tile_layout *layout;
  ir_type code_type, type;
  int code_bits, operand_bits;
  int parts;              /* elements of a register */
  int registers;          /* that share a word of codes: R */
  int64_t factor, offset; /* a code q stands for factor * q - offset */
  int raise;              /* factor = 2^raise */
  int power;              /* what comes out is 2^power times too small, or 2^-power times too large */
  ir_zero_mode mode;
  packed_operand codes;
  decode_factor scale, zero;
  int group; /* codes that share a scale; 0: all */
  int group_words, row_groups;
  int row[MAX_ROW_GROUPS];   /* of the thread's first 16-row group */
  const ir_expr *low, *high; /* bytes of the values last looked up */
  const ir_expr *moved[2];   /* what registers 0 and 2, 1 and 3 of a word share */
  ir_value *pair_table;      /* in shared memory; NULL: none */
  const ir_expr *table_lane; /* the lane's place in an entry of it, in bytes */
  raised_zero raised[MAX_RAISED];
  int raised_count;
  bool folds_zero; /* into what rule 1 subtracts */
  bool subnormal;  /* codes lie in subnormal numbers, unsigned: their dot knows (raised_is_apart) */
  bool pairs;      /* whole registers are decoded at once, scale and zero being words of two */
} decoding;

static const ir_expr *word_constant(decoding *d, uint32_t value) { return thread_bits(d->l, value); }

static const ir_expr *both_halves(decoding *d, uint32_t value) { return word_constant(d, value << 16 | value); }

static const ir_expr *pair_of(decoding *d, double value) { return both_halves(d, (uint32_t)ir_encode(d->type, value)); }

/* -- The fragment ----------------------------------------------------------------------------------------------------
 */

/* The columns that a warp holds: all, or its share of them. */
static int own_columns(const tile_layout *layout) {
  int own = layout->extent[1], at[LAYOUT_MAX_RANK];
  for (int warp = 0; warp < layout->warp_count; warp++) {
    tile_layout_coord(layout, 0, 0, warp, at);
    if (at[1] && at[1] < own) own = at[1];
  }
  return own;
}

/* Whether the destination has the registers of a row operand: in words, 4 for each step of 8 * parts along k, rows g
 * and g + 8 in turn, then the next 16-row group. Fills in where those groups begin. */
static bool find_fragment(decoding *d) {
  const tile_layout *layout = d->layout;
  int at[LAYOUT_MAX_RANK], first[LAYOUT_MAX_RANK];
  d->group_words = own_columns(layout) / (2 * d->parts);
  int group_registers = d->group_words * d->parts;
  if (layout->rank != 2 || group_registers < 1 || layout->reg_count % group_registers) return false;
  d->row_groups = layout->reg_count / group_registers;
  if (d->row_groups > MAX_ROW_GROUPS) return false;
  for (int group = 0; group < d->row_groups; group++) {
    tile_layout_coord(layout, group * group_registers, 0, 0, at);
    d->row[group] = at[0];
    for (int warp = 0; warp < layout->warp_count; warp++) {
      tile_layout_coord(layout, 0, 0, warp, first);
      tile_layout_coord(layout, group * group_registers, 0, warp, at);
      if (at[0] != first[0] + d->row[group] || first[0] % GROUP_ROWS || at[0] % GROUP_ROWS) return false;
    }
  }
  for (int reg = 0; reg < layout->reg_count; reg++)
    for (int lane = 0; lane < TILE_LANES; lane = lane ? lane * 2 : 1) {
      int word = reg % group_registers / d->parts, part = reg % d->parts;
      tile_layout_coord(layout, reg, lane, 0, at);
      if (at[0] != d->row[reg / group_registers] + lane / 4 + (word & 1) * 8) return false;
      if (at[1] != (word >> 1) * 4 * d->parts + lane % 4 * d->parts + part) return false;
    }
  return true;
}

/* -- Operands --------------------------------------------------------------------------------------------------------
 */

static packed_operand operand_of(decoding *d, int index, int group) {
  const ir_ref *ref = index < d->op->read_count ? &d->op->read[index] : NULL;
  return packed_operand_of(d->l, d->layout, ref, group);
}

static const ir_expr *unpack(decoding *d, ir_type type, const ir_expr *word, int element) {
  return packed_unpack(d->l, type, word, element);
}

/* The scale or zero of a row and column: a word of two of them when d->pairs, else f32. Loaded on first use. */
static const ir_expr *factor(decoding *d, decode_factor *f, const char *name, int group, int half, int column) {
  packed_operand *p = &f->operand;
  if (!p->buffer) return NULL;
  const ir_expr **known = &f->value[half][column];
  if (*known) return *known;
  lower *l = d->l;
  ir_type type = p->buffer->type;
  const ir_expr *word = packed_factor_word(p, name, d->row[group] + half * 8, column), *value = word;
  if (d->pairs && type == d->type) {
    value = ir_ternary(l->memory, IR_EXPR_PRMT, word, word, word_constant(d, 0x1010));
  } else if (ir_bits(type) < 32) {
    value = packed_unpack_f32(l, type, word);
    if (d->pairs) value = thread_pack(l, d->type, (const ir_expr *[]){value, value}, 2);
  }
  return *known = thread_let(l, name, value);
}

/* Whether a scale or zero is a number that the operand's type has: a word then holds two of it. */
static bool is_pair_type(const decoding *d, const packed_operand *p) {
  if (!p->buffer || p->buffer->type == d->type || ir_is_integer(p->buffer->type)) return true;
  return p->buffer->type == IR_E8M0 && d->type == IR_BF16;
}

/* -- Exact values of codes -------------------------------------------------------------------------------------------
 */

static const ir_expr *lut(decoding *d, const ir_expr *a, const ir_expr *b, const ir_expr *c, uint32_t table) {
  const ir_expr *args[4] = {a, b, c, word_constant(d, table)};
  return ir_typed(d->l->memory, IR_EXPR_LOP3, IR_TYPE_NONE, IR_U32, 4, args);
}

static const ir_expr *pairwise(decoding *d, ir_expr_kind kind, const ir_expr *a, const ir_expr *b) {
  const ir_expr *args[2] = {a, b};
  return ir_typed(d->l->memory, kind, d->type, IR_U32, 2, args);
}

/* Left for a positive distance, else right. */
static const ir_expr *shift(decoding *d, const ir_expr *word, int distance) {
  if (!distance) return word;
  ir_expr_kind kind = distance > 0 ? IR_EXPR_SHL : IR_EXPR_SHR;
  return ir_binary(d->l->memory, kind, word, thread_int(d->l, distance > 0 ? distance : -distance));
}

static const ir_expr *masked(decoding *d, const ir_expr *word, const ir_expr *mask) {
  return ir_binary(d->l->memory, IR_EXPR_AND, word, mask);
}

static bool is_narrow_integer(const decoding *d) {
  return ir_is_integer(d->code_type) && ir_is_float(d->type) && d->code_bits <= ir_type_of(d->type)->mantissa_bits;
}

/* Whether codes minus the offset, and all that rule 1 adds and subtracts, are integers that the operand's type has. */
static bool is_exact_integer(const decoding *d) {
  if (!ir_is_integer(d->code_type)) return false;
  int64_t reach = (int64_t)1 << d->code_bits, sign = ir_type_of(d->code_type)->class == IR_CLASS_SINT ? reach / 2 : 0;
  int64_t least = -sign * d->factor - d->offset, most = (reach - 1 - sign) * d->factor - d->offset;
  if (ir_is_integer(d->type)) return least >= -128 && most <= 255;
  int mantissa = ir_type_of(d->type)->mantissa_bits;
  int64_t bound = (int64_t)2 << mantissa; /* integers up to here are exact */
  if (least < -bound || most > bound) return false;
  if (d->code_bits + d->raise > mantissa) return d->code_bits > mantissa && !d->raise;
  return bound / 2 + sign * d->factor + d->offset <= bound;
}

/* Whether rule 1 may subtract zeros that are codes too. */
static bool folds_zero(const decoding *d) {
  if (!d->zero.operand.buffer || !ir_is_integer(d->zero.operand.buffer->type) || !is_narrow_integer(d)) return false;
  int64_t bound = (int64_t)2 << ir_type_of(d->type)->mantissa_bits, reach = (int64_t)1 << d->code_bits;
  int64_t most = (int64_t)1 << ir_bits(d->zero.operand.buffer->type);
  return bound / 2 + reach * d->factor + d->offset + most <= bound;
}

/* Rule 1, for codes as wide as the mantissa and more: the low seven bits and the highest one apart. */
static const ir_expr *wide_integer_pair(decoding *d, const ir_expr *word, int index) {
  bool is_signed = ir_type_of(d->code_type)->class == IR_CLASS_SINT;
  const ir_expr *codes = shift(d, word, -index * 8);
  uint32_t one = (uint32_t)ir_encode(d->type, 128);
  const ir_expr *low = lut(d, codes, both_halves(d, 0x7F), both_halves(d, one), LUT_AND_XOR);
  const ir_expr *high = lut(d, codes, both_halves(d, 0x80), both_halves(d, is_signed ? one : one ^ 0x80), LUT_AND_XOR);
  const ir_expr *value = pairwise(d, IR_EXPR_SUB2, low, high);
  int64_t rest = (is_signed ? 0 : 128) - d->offset;
  return rest ? pairwise(d, IR_EXPR_ADD2, value, pair_of(d, (double)rest)) : value;
}

/* What rule 1 subtracts. */
static const ir_expr *base_pair(decoding *d, double base, const ir_expr *zero) {
  const ir_expr *constant = pair_of(d, base);
  if (!zero || !d->folds_zero) return constant;
  for (int i = 0; i < d->raised_count; i++)
    if (d->raised[i].zero == zero && d->raised[i].base == base) return d->raised[i].sum;
  const ir_expr *sum = thread_let(d->l, "raised_zero", pairwise(d, IR_EXPR_ADD2, zero, constant));
  if (d->raised_count == MAX_RAISED) d->raised_count = 0;
  d->raised[d->raised_count++] = (raised_zero){zero, sum, base};
  return sum;
}

static const ir_expr *integer_pair(decoding *d, const ir_expr *word, int index, const ir_expr *zero) {
  int mantissa = ir_type_of(d->type)->mantissa_bits, bits = d->code_bits;
  if (bits > mantissa) return wide_integer_pair(d, word, index);
  int reached =
      (mantissa - d->raise) / bits; /* registers whose codes lie in the mantissa without a shift of their own */
  int down = index / reached * reached * bits, bit = index * bits - down, at = bit + d->raise;
  uint32_t sign = ir_type_of(d->code_type)->class == IR_CLASS_SINT ? (uint32_t)1 << (bits - 1) : 0;
  double one = (double)((int64_t)1 << (mantissa - bit));
  uint32_t magic = (uint32_t)ir_encode(d->type, one) ^ sign << at, mask = (((uint32_t)1 << bits) - 1) << at;
  const ir_expr *placed = shift(d, word, d->raise - down);
  const ir_expr *raised = lut(d, placed, both_halves(d, mask), both_halves(d, magic), LUT_AND_XOR);
  return pairwise(d, IR_EXPR_SUB2, raised, base_pair(d, one + (double)(sign << d->raise) + (double)d->offset, zero));
}

/* Whether sign and magnitude of a code fit in the upper byte of an f16: two registers are then moved at once. */
static bool is_upper_byte(const decoding *d) {
  return d->code_type == IR_F4E2M1 && d->type == IR_F16 && !d->offset && !d->raise;
}

/* Registers 0 and 2 of a word, and 1 and 3, have their codes in the same half of its bytes. Sign and magnitude of both are
 * put in their places at once, with other bits between them that each register then masks out. Shifts to the left run
 * beside the pipe of logic. */
static const ir_expr *upper_byte_pair(decoding *d, const ir_expr *word, int index) {
  int odd = index & 1;
  if (index < 2) {
    const ir_expr *sign = shift(d, word, odd ? 0 : 4), *magnitude = shift(d, word, odd ? -3 : 1);
    d->moved[odd] = thread_let(d->l, "moved", lut(d, sign, magnitude, word_constant(d, 0x80808080), LUT_CHOOSE));
  }
  const ir_expr *upper = masked(d, shift(d, d->moved[odd], index < 2 ? 8 : 0), both_halves(d, 0x8E00));
  return d->power ? upper : pairwise(d, IR_EXPR_MUL2, upper, pair_of(d, 1 << UPPER_POWER));
}

/* Rule 2; NULL where there is no short way. */
static const ir_expr *float_pair(decoding *d, const ir_expr *word, int index) {
  bool half = d->type == IR_F16;
  if (d->code_type == IR_F8E5M2 && half) /* the upper byte of an f16 */
    return masked(d, shift(d, word, index ? 0 : 8), both_halves(d, 0xFF00));
  if (d->code_type == IR_F8E4M3 && half && d->l->kernel->target != IR_SM_80) {
    const ir_expr *bytes =
        ir_ternary(d->l->memory, IR_EXPR_PRMT, word, word_constant(d, 0), word_constant(d, index ? 0x4431 : 0x4420));
    return ir_typed(d->l->memory, IR_EXPR_CVT2, IR_F8E4M3, IR_U32, 1, &bytes);
  }
  if (d->code_type == IR_F4E2M1) {
    int top = ir_type_of(d->type)->mantissa_bits - 1, at = index * d->code_bits;
    const ir_expr *magnitude = masked(d, shift(d, word, top - at), both_halves(d, (uint32_t)7 << top));
    const ir_expr *moved = lut(d, shift(d, word, 12 - at), both_halves(d, 0x8000), magnitude, LUT_AND_OR);
    int bias = (1 << (ir_type_of(d->type)->exponent_bits - 1)) - 1;
    uint32_t power = (uint32_t)(bias + bias - 1) << ir_type_of(d->type)->mantissa_bits;
    return pairwise(d, IR_EXPR_MUL2, moved, both_halves(d, power));
  }
  return NULL;
}

/* -- Tables -------------------------------------------------------------------------------------------------------- */

static const ir_expr *permute(decoding *d, const ir_expr *a, const ir_expr *b, const ir_expr *selector) {
  return ir_ternary(d->l->memory, IR_EXPR_PRMT, a, b, selector);
}

/* Byte number `byte` of the values of four codes. */
static const ir_expr *look_up(decoding *d, const ir_expr *selector, const ir_expr *half, int byte) {
  uint32_t bytes[4] = {0};
  for (int code = 0; code < 16; code++) {
    uint32_t value = (uint32_t)ir_encode(d->type, ir_decode(d->code_type, (uint64_t)code));
    bytes[code / 4] |= (value >> (8 * byte) & 0xFF) << (code % 4 * 8);
  }
  const ir_expr *below = permute(d, word_constant(d, bytes[0]), word_constant(d, bytes[1]), selector);
  const ir_expr *above = permute(d, word_constant(d, bytes[2]), word_constant(d, bytes[3]), selector);
  return permute(d, below, above, half);
}

/* Rule 3. Registers come in pairs, whose four codes are half a word: an even one looks up both, the odd one after it
 * takes what is there. */
static const ir_expr *table_pair(decoding *d, const ir_expr *word, int index) {
  lower *l = d->l;
  if (index % 2 == 0) {
    const ir_expr *codes = index ? thread_let(l, "four_codes", shift(d, word, -16)) : word;
    const ir_expr *selector = thread_let(l, "selector", masked(d, codes, word_constant(d, 0x7777)));
    const ir_expr *half = lut(d, shift(d, codes, -1), word_constant(d, 0x4444), word_constant(d, 0x3210), LUT_AND_OR);
    half = thread_let(l, "table_half", half);
    d->low = thread_let(l, "low_bytes", look_up(d, selector, half, 0));
    d->high = thread_let(l, "high_bytes", look_up(d, selector, half, 1));
  }
  return permute(d, d->low, d->high, word_constant(d, index % 2 ? 0x7362 : 0x5140));
}

static bool is_table(const decoding *d) { return decode_joins_parts(d->code_type, d->type) && !d->offset && !d->raise; }

/* Fills a table of the words of all pairs of codes, in front of what the role does: entry `pair` at 128 * pair, once for
 * each lane. A thread fills whole entries, its stores a bank further than its neighbour's. */
static void fill_pair_table(decoding *d) {
  lower *l = d->l;
  arena *memory = l->memory;
  d->pair_table = thread_scratch(l, "pairs", IR_U32, 2, (int[]){DECODE_TABLE_PAIRS, TILE_LANES});
  ir_block *outer = thread_enter(l, l->prologue);
  ir_value *word = thread_array(l, "pair_values", IR_U32, 1);
  int threads = l->warp_count * TILE_LANES;
  const ir_expr *turn, *copy, *value[2], *zero = thread_int(l, 0);
  ir_block *turns = thread_loop(l, "turn", thread_int(l, (DECODE_TABLE_PAIRS + threads - 1) / threads), 1, &turn);
  const ir_expr *pair = thread_let(l, "pair", thread_add(l, thread_mul(l, turn, thread_int(l, threads)), l->thread));
  if (DECODE_TABLE_PAIRS % threads)
    thread_guard(l, ir_binary(memory, IR_EXPR_LT, pair, thread_int(l, DECODE_TABLE_PAIRS)));
  for (int part = 0; part < 2; part++)
    value[part] = unpack(d, d->code_type, thread_u32(l, pair), part);
  thread_set_word(l, word, zero, thread_pack(l, d->type, value, 2));
  thread_loop(l, "copy", thread_int(l, TILE_LANES), 1, &copy);
  const ir_expr *lane = ir_binary(memory, IR_EXPR_AND, thread_add(l, l->lane, copy), thread_int(l, TILE_LANES - 1));
  const ir_expr *at[2] = {pair, lane};
  thread_store_word(l, d->pair_table, thread_shared_address(l, d->pair_table, NULL, at), word, zero, NULL);
  thread_leave(l, turns);
  thread_meet(l);
  thread_leave(l, outer);
  d->table_lane = thread_role_let(l, "table_lane", thread_u32(l, thread_mul(l, l->lane, thread_int(l, 4))));
}

/* Byte `index` of the word is the entry. Permutation and multiply-add are an instruction of either pipe; for the lowest
 * byte a shift to the left serves as well. */
static const ir_expr *pair_in_memory(decoding *d, const ir_expr *word, int index) {
  lower *l = d->l;
  const ir_expr *zero = thread_int(l, 0), *bytes = word_constant(d, TILE_LANES * 4), *offset;
  if (index)
    offset =
        thread_add(l, thread_mul(l, permute(d, word, word_constant(d, 0), word_constant(d, 0x4440 + index)), bytes),
                   d->table_lane);
  else
    offset = lut(d, shift(d, word, 7), word_constant(d, 0x7F80), d->table_lane, LUT_AND_OR);
  ir_value *pair = thread_array(l, "pair", IR_U32, 1);
  thread_load_word(l, pair, zero, d->pair_table, thread_add(l, ir_address(l->memory, d->pair_table, NULL), offset));
  return thread_word(l, pair, zero);
}

/* Four bytes at once: a signed code in the highest bits of its byte is as many times too large, and needs no more where
 * the sums mend that; else the subtraction borrows nothing because each byte has 128 added. NULL where a code may not
 * fit. */
static const ir_expr *integer_bytes(decoding *d, const ir_expr *word, int index) {
  bool is_signed = ir_type_of(d->code_type)->class == IR_CLASS_SINT;
  if (d->code_type == d->type && !d->offset && d->factor == 1) return word;
  uint32_t every = 0x01010101, reach = (uint32_t)1 << d->code_bits, sign = is_signed ? reach / 2 : 0;
  if (d->power)
    return masked(d, shift(d, word, -d->power - index * d->code_bits),
                  word_constant(d, ((reach - 1) << -d->power) * every));
  int64_t taken = d->offset + sign * d->factor, least = -taken, most = (int64_t)(reach - 1) * d->factor - taken;
  if (d->code_bits + d->raise >= 8 || taken < 0 || least < (d->type == IR_I8 ? -128 : 0) ||
      (d->type == IR_I8 && most > 127))
    return NULL;
  const ir_expr *codes = shift(d, word, d->raise - index * d->code_bits);
  const ir_expr *mask = word_constant(d, ((reach - 1) << d->raise) * every);
  if (!taken) return masked(d, codes, mask);
  const ir_expr *raised = lut(d, codes, mask, word_constant(d, (0x80 ^ sign << d->raise) * every), LUT_AND_XOR);
  const ir_expr *apart = ir_binary(d->l->memory, IR_EXPR_SUB, raised, word_constant(d, (uint32_t)taken * every));
  return ir_binary(d->l->memory, IR_EXPR_XOR, apart, word_constant(d, 0x80 * every));
}

/* The register of exact values, before scale and zero; NULL when single codes must do. */
static const ir_expr *exact_register(decoding *d, const ir_expr *word, int index, const ir_expr *zero) {
  if (d->operand_bits == 8) {
    if (d->scale.operand.buffer || d->zero.operand.buffer) return NULL;
    if (is_exact_integer(d) && ir_is_integer(d->type)) return integer_bytes(d, word, index);
    return d->code_type == d->type && !d->offset && !d->raise ? word : NULL;
  }
  if (is_exact_integer(d)) return integer_pair(d, word, index, zero);
  if (d->pair_table) return pair_in_memory(d, word, index);
  if (is_table(d)) return table_pair(d, word, index);
  if (is_upper_byte(d)) return upper_byte_pair(d, word, index);
  return d->offset || d->raise ? NULL : float_pair(d, word, index);
}

/* -- Scale and zero --------------------------------------------------------------------------------------------------
 */

static const ir_expr *finish_pair(decoding *d, const ir_expr *value, const ir_expr *scale, const ir_expr *zero) {
  if (zero && d->mode == IR_ZERO_RESCALE && scale) {
    const ir_expr *minus = ir_binary(d->l->memory, IR_EXPR_XOR, zero, both_halves(d, 0x8000));
    return ir_typed(d->l->memory, IR_EXPR_FMA2, d->type, IR_U32, 3, (const ir_expr *[]){value, scale, minus});
  }
  if (zero) value = pairwise(d, IR_EXPR_SUB2, value, zero);
  return scale ? pairwise(d, IR_EXPR_MUL2, value, scale) : value;
}

static const ir_expr *finish_element(decoding *d, const ir_expr *value, const ir_expr *scale, const ir_expr *zero) {
  arena *memory = d->l->memory;
  if (value->type != IR_F32) value = ir_cast(memory, IR_F32, value);
  if (zero && scale && d->mode == IR_ZERO_RESCALE)
    return ir_ternary(memory, IR_EXPR_FMA, value, scale, ir_unary(memory, IR_EXPR_NEG, zero));
  if (zero) value = ir_binary(memory, IR_EXPR_SUB, value, zero);
  return scale ? ir_binary(memory, IR_EXPR_MUL, value, scale) : value;
}

/* The codes of a register as they lie in the low byte of each half, 2 or 4 bits. */
static const ir_expr *subnormal_register(decoding *d, const ir_expr *word, int index) {
  int low = index % (d->registers / 2) * d->code_bits;
  uint32_t mask = ((uint32_t)1 << d->code_bits) - 1,
           sign = ir_type_of(d->code_type)->class == IR_CLASS_SINT ? (uint32_t)1 << (d->code_bits - 1) : 0;
  const ir_expr *codes = shift(d, word, index < d->registers / 2 ? 0 : -8);
  if (!sign) return masked(d, codes, both_halves(d, mask << low));
  return lut(d, codes, both_halves(d, mask << low), both_halves(d, sign << low), LUT_AND_XOR);
}

/* Where register r goes: of two steps' eight, the first halves of both come first where their dot wants that. */
static int subnormal_place(const decoding *d, int r) {
  return raised_is_apart(d->code_bits) ? (r & ~6) | (r >> 1 & 2) | (r << 1 & 4) : r;
}

/* One register of the destination: number `index` of those in a word of codes. */
static const ir_expr *decode_register(decoding *d, const ir_expr *word, int index, const ir_expr *scale,
                                      const ir_expr *zero) {
  lower *l = d->l;
  const ir_expr *exact = exact_register(d, word, index, zero), *element[4];
  if (exact && d->pairs) return finish_pair(d, exact, scale, d->folds_zero ? NULL : zero);
  if (exact) exact = thread_let(l, "exact", exact);
  for (int part = 0; part < d->parts; part++) {
    if (exact) {
      element[part] = unpack(d, d->type, exact, part);
    } else {
      element[part] =
          unpack(d, d->code_type, word,
                 decode_joins_parts(d->code_type, d->type) ? index * d->parts + part : index + part * d->registers);
      if (element[part]->type != IR_F32) element[part] = ir_cast(l->memory, IR_F32, element[part]);
      if (d->raise)
        element[part] = ir_binary(l->memory, IR_EXPR_MUL, element[part], ir_float(l->memory, (double)d->factor));
      if (d->offset)
        element[part] = ir_binary(l->memory, IR_EXPR_SUB, element[part], ir_float(l->memory, (double)d->offset));
    }
    element[part] = finish_element(d, element[part], scale, zero);
    if (ir_is_integer(d->type)) element[part] = ir_cast(l->memory, d->type, element[part]); /* saturates */
  }
  return thread_pack(l, d->type, element, d->parts);
}

/* Codes that choose between products stay as they are: the words of a 16-row group. */
static void load_group(decoding *d, ir_value *to, int group) {
  lower *l = d->l;
  int words = d->group_words / d->registers;
  for (int word = group * words; d->codes.buffer->space == IR_TILE && word < (group + 1) * words; word++)
    thread_set_word(l, to, thread_int(l, word),
                    thread_word(l, thread_registers(l, d->codes.buffer), thread_int(l, word)));
  for (int word = 0; d->codes.buffer->space != IR_TILE && word < words; word += VECTOR_WORDS)
    packed_load_codes(&d->codes, to, group * words + word, d->row[group], word / VECTOR_WORDS);
}

/* The registers of a 16-row group. */
static void decode_group(decoding *d, ir_value *to, int group) {
  lower *l = d->l;
  int vector_registers = VECTOR_WORDS * d->registers, words = d->group_words / d->registers;
  bool is_loaded = d->codes.buffer->space == IR_TILE;
  ir_value *vector = is_loaded ? thread_registers(l, d->codes.buffer) : NULL;
  for (int column = 0; column < (int)ir_extent(d->op->write[0].value, 1); column += d->group)
    for (int half = 0; half < 2; half++)
      d->scale.value[half][column / d->group] = d->zero.value[half][column / d->group] = NULL;
  for (int r = 0; r < d->group_words; r++) {
    if (r % vector_registers == 0 && !is_loaded) {
      vector = thread_array(l, "codes", IR_U32, VECTOR_WORDS);
      packed_load_codes(&d->codes, vector, 0, d->row[group], r / vector_registers);
    }
    int half = r & 1, column = (r >> 1) * 4 * d->parts;
    int scale_column = d->scale.operand.columns > 1 ? column / d->group : 0;
    int zero_column = d->zero.operand.columns > 1 ? column / d->group : 0;
    const ir_expr *scale = factor(d, &d->scale, "scale", group, half, scale_column);
    const ir_expr *zero = factor(d, &d->zero, "zero", group, half, zero_column);
    int at = is_loaded ? group * words + r / d->registers : r % vector_registers / d->registers;
    const ir_expr *word = thread_word(l, vector, thread_int(l, at));
    if (d->subnormal) {
      thread_set_word(l, to, thread_int(l, group * d->group_words + subnormal_place(d, r)),
                      subnormal_register(d, word, r % d->registers));
      continue;
    }
    thread_set_word(l, to, thread_int(l, group * d->group_words + r),
                    decode_register(d, word, r % d->registers, scale, zero));
  }
}

void thread_decode(lower *l, const ir_op *op) {
  const ir_value *to = op->write[0].value, *codes = op->read[0].value;
  decoding *d = ARENA_NEW(l->env->scratch, decoding);
  d->l = l;
  d->op = op;
  d->layout = to->tile;
  d->code_type = codes->type;
  d->type = to->type;
  d->code_bits = ir_bits(codes->type);
  d->operand_bits = ir_bits(to->type);
  d->parts = 32 / d->operand_bits;
  d->registers = d->operand_bits / d->code_bits;
  d->factor = ir_attr_get(&op->attrs, IR_ATTR_FACTOR, 1);
  while (d->factor >> (d->raise + 1))
    d->raise++;
  d->offset = ir_attr_get(&op->attrs, IR_ATTR_OFFSET, 0);
  d->power = (int)ir_attr_get(&op->attrs, IR_ATTR_POWER, 0);
  d->subnormal = ir_attr_has(&op->attrs, IR_ATTR_RAISED);
  d->mode = (ir_zero_mode)ir_attr_get(&op->attrs, IR_ATTR_ZERO_MODE, IR_ZERO_NONE);
  int64_t group = ir_attr_get(&op->attrs, IR_ATTR_GROUP, 0), width = ir_extent(to, 1);
  d->group = group > 0 && group < width ? (int)group : (int)width;
  if (d->power && (d->power != decode_power(op) || op->read[1].value || (op->read_count > 2 && op->read[2].value))) {
    diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc, "%s cannot come out 2^%d times too small", to->name,
               d->power);
    l->failed = true;
    return;
  }
  if (!find_fragment(d)) {
    diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc,
               "%s is decoded in place, but no dot takes it as register rows", to->name);
    l->failed = true;
    return;
  }
  d->codes = operand_of(d, 0, 0);
  if (ir_attr_has(&op->attrs, IR_ATTR_LOW)) {
    for (int i = 0; i < d->row_groups; i++)
      load_group(d, thread_registers(l, to), i);
    return;
  }
  d->scale.operand = operand_of(d, 1, d->group);
  d->zero.operand = operand_of(d, 2, d->group);
  bool factors_fit = is_pair_type(d, &d->scale.operand) && is_pair_type(d, &d->zero.operand);
  d->pairs = factors_fit && (is_table(d) || is_upper_byte(d) || exact_register(d, word_constant(d, 0), 0, NULL));
  d->folds_zero = d->pairs && folds_zero(d);
  if (is_table(d) && decode_uses_table(op, dot_of_rows(&l->kernel->body, to))) fill_pair_table(d);
  for (int i = 0; i < d->row_groups; i++)
    decode_group(d, thread_registers(l, to), i);
}
