/* defer-scales: multiply the sum of a group by its scale, not every code of it.
 *
 *   before  %Wd <- decode %Ws, %Ss, none {group = 128}        after  %Wd <- decode %Ws, none, none {group = 128}
 *           %acc <- dot %As, %Wd {swap = 1}                          %acc <- dot %As, %Wd, %Ss {swap = 1, group = 128}
 *
 * A scale belongs to a row of weights and a group of its columns: sum(a * (q * s)) = s * sum(a * q). Decoding
 * multiplies each code, two at a time, at half the rate of a fused multiply-add; the sums of a group are few when there
 * are few tokens. They stay in f32, where a scaled code is rounded to the operand's 16 bits: what comes out is nearer
 * to the exact sum.
 *
 * Codes that are floats are moved into the operand's bits, and a multiplication by a power of two mends the exponent's
 * bias (decode_power): that too is left to the scales, {power = 14}. Signed integers need no more than a mask where they
 * are the highest bits of a byte: then the sums of a tile are so many times too large, {power = -6}, and are shifted once.
 *
 * Few bits of a whole number lie in the mantissa of a subnormal 16-bit float as they are, and one mask makes them an
 * operand: unsigned, so many times too small, and without the subtraction of what a signed code or an offset is raised
 * by. Where one column of the dot is not zeros, what that makes of a group is a sum of eight numbers a lane and a few
 * exchanges: {raised = 2} on both.
 *
 * Fires for a decode in the register operand of one mma dot into f32, whose zeros come before the scale, where a group
 * is whole instructions deep and its sums are fewer than the multiplications saved. wgmma runs on while the next codes
 * are decoded, so there the multiplications cost less than a wait for each group would. */
#include "passes/pass.h"
#include "passes/region.h"
#include "passes/tensor_core.h"

enum { WARP_COLUMN = 256, LEAST_GROUP = 32 };

typedef struct search {
  const ir_value *decoded;
  ir_op *dot;
} search;

static bool find_dot(void *data, ir_block *block, ir_op *op) {
  search *s = data;
  (void)block;
  if (op->kind == IR_OP_DOT && dot_shape_of(op).rows->value == s->decoded) s->dot = op;
  return !s->dot;
}

/* Columns that share a scale in the tile. */
static int64_t group_of(const ir_op *decode) {
  int64_t width = ir_extent(decode->write[0].value, 1), group = ir_attr_get(&decode->attrs, IR_ATTR_GROUP, width);
  return group > 0 && group < width ? group : width;
}

/* The reason why the scales stay where they are; NULL when the dot can take them. */
static const char *refusal(const ir_op *decode, const ir_op *dot) {
  if (!dot || ir_attr_get(&dot->attrs, IR_ATTR_INSTRUCTION, 0) != IR_INSTRUCTION_MMA) return "its dot does not use mma";
  if (ir_attr_get(&decode->attrs, IR_ATTR_ZERO_MODE, IR_ZERO_NONE) == IR_ZERO_RESCALE)
    return "its zeros are subtracted from scaled values";
  const ir_type type = decode->write[0].value->type;
  if (!ir_is_float(type) || ir_bits(type) != 16 || dot->write[0].value->type != IR_F32)
    return "its dot does not sum 16-bit floats in f32";
  int64_t group = group_of(decode), depth = tensor_core_depth(type);
  if (group % depth) return "its groups are no multiple of an instruction's depth";
  int64_t columns = dot_shape_of(dot).n / ir_attr_get(&dot->attrs, IR_ATTR_WARPS_N, 1) / MMA_COLUMNS;
  return columns > group / depth ? "there are more sums than codes of a group" : NULL;
}

/* Whether whole numbers are summed by mma, each sum of more codes than there are columns. */
static bool sums_integers(const ir_op *decode, const ir_op *dot) {
  if (!dot || ir_attr_get(&dot->attrs, IR_ATTR_INSTRUCTION, 0) != IR_INSTRUCTION_MMA) return false;
  dot_shape s = dot_shape_of(dot);
  int64_t columns = s.n / ir_attr_get(&dot->attrs, IR_ATTR_WARPS_N, 1) / MMA_COLUMNS,
          own = s.k / ir_attr_get(&dot->attrs, IR_ATTR_WARPS_K, 1);
  return ir_is_integer(s.accumulator->type) && columns <= own / tensor_core_depth(decode->write[0].value->type);
}

/* The sums are 2^power times too small where the codes are, without a rounding: floats of 32 bits have room for that. */
static void defer_power(ir_op *decode, ir_op *dot) {
  int power = decode_power(decode);
  if (!power || (decode->read_count > 2 && decode->read[2].value)) return; /* zeros are subtracted from whole values */
  ir_attr_set(&decode->attrs, IR_ATTR_POWER, power);
  ir_attr_set(&dot->attrs, IR_ATTR_POWER, power);
}

typedef struct filling {
  const ir_value *buffer;
  const ir_op *copy;
  int writers;
} filling;

static void find_filling(void *data, ir_op *op, ir_value *value, bool written) {
  filling *f = data;
  if (!written || value != f->buffer) return;
  f->writers++;
  f->copy = op;
}

/* Whether the rows of the buffer but the first lie beyond the end of the tensor that it is copied from. */
static bool has_one_row(ir_kernel *kernel, const ir_ref *operand) {
  filling f = {operand->value, NULL, 0};
  int64_t extent;
  if (operand->count || operand->value->space != IR_SHARED || operand->value->rank != 2) return false;
  for (ir_op *op = kernel->body.first; op; op = op->next)
    ir_op_visit(op, true, find_filling, &f);
  if (f.writers != 1 || f.copy->kind != IR_OP_COPY || f.copy->expr_count || f.copy->write[0].count) return false;
  const ir_ref *from = &f.copy->read[0];
  return from->value->space == IR_GLOBAL && from->value->rank == 2 && from->count == 2 && from->span[0] &&
         !region_may_be_negative(kernel, from->start[0]) && ir_is_constant(from->value->extent[0], &extent) &&
         extent == 1;
}

/* Whether the dot may take codes as they lie in subnormal numbers: of two or four bits, of groups that a warp's share of
 * k is whole ones of, where several row blocks of a warp share one column. */
static bool takes_raised(ir_kernel *kernel, const ir_op *decode, const ir_op *dot) {
  if (!dot || ir_attr_get(&dot->attrs, IR_ATTR_INSTRUCTION, 0) != IR_INSTRUCTION_MMA) return false;
  ir_type code = decode->read[0].value->type;
  int bits = ir_bits(code);
  bool has_factors =
      (decode->read_count > 1 && decode->read[1].value) || (decode->read_count > 2 && decode->read[2].value);
  if (!ir_is_integer(code) || (bits != 2 && bits != 4) || decode->write[0].value->type != IR_F16 || has_factors ||
      ir_attr_get(&decode->attrs, IR_ATTR_FACTOR, 1) != 1)
    return false;
  dot_shape s = dot_shape_of(dot);
  int64_t own = s.k / ir_attr_get(&dot->attrs, IR_ATTR_WARPS_K, 1), group = s.scale && s.group < own ? s.group : own;
  int64_t row_blocks = s.m / MMA_ROWS / ir_attr_get(&dot->attrs, IR_ATTR_WARPS_M, 1); /* that share the column's sum */
  return s.swapped && s.n == MMA_COLUMNS && row_blocks > 1 && s.columns_k_major && s.accumulator->type == IR_F32 &&
         !dot_promotes(dot) && (own % WARP_COLUMN == 0 || WARP_COLUMN % own == 0) && group % LEAST_GROUP == 0 &&
         (group % WARP_COLUMN == 0 || WARP_COLUMN % group == 0) && own % group == 0 && has_one_row(kernel, s.columns);
}

static void raise_codes(ir_op *decode, ir_op *dot) {
  ir_type code = decode->read[0].value->type;
  int64_t sign = ir_type_of(code)->class == IR_CLASS_SINT ? (int64_t)1 << (ir_bits(code) - 1) : 0,
          raised = sign + ir_attr_get(&decode->attrs, IR_ATTR_OFFSET, 0);
  ir_attr_set(&decode->attrs, IR_ATTR_RAISED, raised);
  ir_attr_set(&dot->attrs, IR_ATTR_RAISED, raised);
  ir_attr_set(&dot->attrs, IR_ATTR_RAISED_BITS, ir_bits(code));
}

static void defer_block(ir_kernel *kernel, pass_env *env, ir_block *block) {
  for (ir_op *op = block->first; op; op = op->next) {
    defer_block(kernel, env, &op->body);
    defer_block(kernel, env, &op->other);
    if (op->kind != IR_OP_DECODE || ir_attr_get(&op->attrs, IR_ATTR_PLACE, 0) != IR_PLACE_OPERAND) continue;
    search s = {op->write[0].value, NULL};
    ir_walk(&kernel->body, find_dot, &s);
    if (op->read_count < 2 || !op->read[1].value) {
      if (sums_integers(op, s.dot)) defer_power(op, s.dot);
      if (takes_raised(kernel, op, s.dot)) raise_codes(op, s.dot);
      continue;
    }
    const char *why = refusal(op, s.dot), *name = op->read[1].value->name;
    diag_remark(env->diagnostics, "defer-scales", "scale", !why, op->loc,
                why ? "%s multiplies codes, not sums: %s" : "%s multiplies the sums of its groups%s", name,
                why ? why : "");
    if (why) continue;
    ir_op_add_read(s.dot, op->read[1]);
    ir_attr_set(&s.dot->attrs, IR_ATTR_GROUP, group_of(op));
    defer_power(op, s.dot);
    op->read[1] = ir_ref_none();
    if (takes_raised(kernel, op, s.dot)) raise_codes(op, s.dot);
  }
}

bool defer_scales(ir_kernel *kernel, pass_env *env) {
  defer_block(kernel, env, &kernel->body);
  return true;
}
