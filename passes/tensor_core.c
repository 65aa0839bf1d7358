#include "passes/tensor_core.h"

enum { MAX_TABLE_COLUMNS = 64 }; /* with more, the codes are few beside the multiplications */
#include "passes/region.h"

dot_shape dot_shape_of(const ir_op *dot) {
  const ir_ref *a = &dot->read[0], *b = &dot->read[1];
  bool transpose_a = ir_attr_get(&dot->attrs, IR_ATTR_TRANSPOSE_A, 0),
       transpose_b = ir_attr_get(&dot->attrs, IR_ATTR_TRANSPOSE_B, 0);
  dot_shape s = {.accumulator = dot->write[0].value, .swapped = ir_attr_get(&dot->attrs, IR_ATTR_SWAP, 0) != 0};
  int m = (int)region_extent(a, transpose_a ? 1 : 0), n = (int)region_extent(b, transpose_b ? 0 : 1);
  s.k = (int)region_extent(a, transpose_a ? 0 : 1);
  s.parts = s.accumulator->rank == 3 ? (int)ir_extent(s.accumulator, 0) : 1;
  s.m = s.swapped ? n : m;
  s.n = s.swapped ? m : n;
  s.rows = s.swapped ? &dot->read[1] : &dot->read[0];
  s.columns = s.swapped ? &dot->read[0] : &dot->read[1];
  s.scale = dot->read_count > 2 && dot->read[2].value ? &dot->read[2] : NULL;
  s.group = (int)ir_attr_get(&dot->attrs, IR_ATTR_GROUP, s.k);
  s.raised_bits = (int)ir_attr_get(&dot->attrs, IR_ATTR_RAISED_BITS, 0);
  s.raised = (int)ir_attr_get(&dot->attrs, IR_ATTR_RAISED, 0);
  s.power = (int)ir_attr_get(&dot->attrs, IR_ATTR_POWER, 0);
  s.chooses = ir_attr_has(&dot->attrs, IR_ATTR_LOW);
  s.low = (int)ir_attr_get(&dot->attrs, IR_ATTR_LOW, 0);
  s.high = (int)ir_attr_get(&dot->attrs, IR_ATTR_HIGH, 0);
  s.rows_k_major = s.swapped ? transpose_b : !transpose_a;
  s.columns_k_major = s.swapped ? !transpose_a : transpose_b;
  return s;
}

int tensor_core_depth(ir_type operand) { return 256 / ir_bits(operand); }

int wgmma_columns(int columns, ir_type operand) {
  bool integer = ir_is_integer(operand);
  for (int n = columns < 256 ? columns : 256; n >= 8; n--) {
    bool legal = integer ? n == 8 || n == 24 || n % 16 == 0 : n % 8 == 0;
    if (legal && columns % n == 0) return n;
  }
  return 0;
}

static bool is_f8(ir_type type) { return type == IR_F8E4M3 || type == IR_F8E5M2; }

int dot_promotes(const ir_op *dot) { return (int)ir_attr_get(&dot->attrs, IR_ATTR_PROMOTE, 0); }

bool dot_runs_on(const ir_op *dot) {
  return ir_attr_get(&dot->attrs, IR_ATTR_INSTRUCTION, IR_INSTRUCTION_NONE) == IR_INSTRUCTION_WGMMA &&
         !dot_promotes(dot);
}

int dot_columns(const ir_op *dot) {
  dot_shape s = dot_shape_of(dot);
  int64_t part = ir_attr_get(&dot->attrs, IR_ATTR_PART_COLUMNS, s.n);
  return wgmma_columns(part < s.n ? (int)part : s.n, s.columns->value->type);
}

/* Why nothing is promoted, NULL where sums are. */
const char *promotion_refusal(const ir_op *dot) {
  dot_shape s = dot_shape_of(dot);
  if (!is_f8(s.rows->value->type)) return "its operands are summed with the digits of its accumulator";
  if (s.accumulator->type != IR_F32) return "its accumulator is not f32";
  if (!dot->expr_count && !ir_attr_get(&dot->attrs, IR_ATTR_ACCUMULATE, 1) && s.k / s.parts <= dot_promotes(dot))
    return "it begins anew and has no more k";
  return ir_attr_get(&dot->attrs, IR_ATTR_INSTRUCTION, IR_INSTRUCTION_FMA) == IR_INSTRUCTION_FMA
             ? "multiply-adds sum in f32"
             : NULL;
}

static bool is_byte(ir_type type) { return type == IR_I8 || type == IR_U8; }

/* NULL when the operand and accumulator types are one of the tensor core's combinations. */
static const char *type_refusal(ir_type a, ir_type b, ir_type accumulator, bool tf32) {
  if ((a == IR_F16 && b == IR_F16) || (is_f8(a) && is_f8(b)))
    return accumulator == IR_F32 || accumulator == IR_F16 ? NULL : "its accumulator is neither f32 nor f16";
  if (a == IR_BF16 && b == IR_BF16) return accumulator == IR_F32 ? NULL : "its accumulator is not f32";
  if (is_byte(a) && is_byte(b)) return accumulator == IR_I32 ? NULL : "its accumulator is not i32";
  if (tf32 && a == IR_TF32 && b == IR_TF32) return accumulator == IR_F32 ? NULL : "its accumulator is not f32";
  return "the tensor cores have no instruction for its operand types";
}

/* An operand that is part of a buffer: matrices are read from where 16 bytes begin, descriptors stand for the buffer's
 * own first element. */
static const char *region_refusal(const ir_ref *operand, bool descriptor) {
  if (!operand->count) return NULL;
  const ir_value *value = operand->value;
  int inner = value->shared ? value->shared->contiguous : value->rank - 1;
  if (value->space != IR_SHARED) return "its operand is a part of a tile";
  if (!operand->span[inner] || ir_known_divisor(operand->start[inner]) * ir_bits(value->type) % 128)
    return "its operand is a part of a buffer that does not begin at a multiple of 16 bytes";
  for (int d = 0; d < value->rank && descriptor; d++) {
    int64_t start;
    if (value->rank != 2 || !ir_is_constant(operand->start[d], &start) || start)
      return "its operand is an inner part of a buffer";
  }
  return NULL;
}

const char *wgmma_refusal(const ir_kernel *kernel, const ir_op *dot) {
  if (!ir_target_of(kernel->target)->has_wgmma) return "the target has no wgmma";
  dot_shape s = dot_shape_of(dot);
  ir_type rows = s.rows->value->type, columns = s.columns->value->type;
  const char *refusal = type_refusal(rows, columns, s.accumulator->type, true);
  if (refusal) return refusal;
  refusal = region_refusal(s.rows, true);
  refusal = refusal ? refusal : region_refusal(s.columns, true);
  if (refusal) return refusal;
  if (s.m % 64) return "its rows are not a multiple of 64";
  if (!wgmma_columns(s.n, columns)) return "its columns are not a multiple of 8";
  if (s.k % tensor_core_depth(rows)) return "its depth is not a multiple of one instruction's";
  if (s.columns->value->space != IR_SHARED) return "its column operand is not in shared memory";
  if (s.rows->value->space == IR_TILE && !s.rows_k_major) return "its register operand is transposed";
  if (ir_bits(rows) != 16 && !(s.rows_k_major && s.columns_k_major))
    return "operands other than 16-bit ones must have k contiguous";
  return NULL;
}

/* Columns of which the lanes of an instruction have copies. (Of one alone a thread would have two.) */
static bool is_narrow_dot(const dot_shape *s) { return s->n == 2 || s->n == 4; }

const char *mma_refusal(const ir_kernel *kernel, const ir_op *dot) {
  dot_shape s = dot_shape_of(dot);
  ir_type rows = s.rows->value->type, columns = s.columns->value->type;
  const char *refusal = type_refusal(rows, columns, s.accumulator->type, true);
  if (refusal) return refusal;
  refusal = region_refusal(s.rows, false);
  refusal = refusal ? refusal : region_refusal(s.columns, false);
  if (refusal) return refusal;
  if (s.accumulator->type == IR_F16) return "mma with an f16 accumulator is not used";
  if ((is_f8(rows) || is_f8(columns)) && kernel->target == IR_SM_80)
    return "the target has no 8-bit float tensor cores";
  if (s.m % 16) return "its rows are not a multiple of 16";
  if (is_narrow_dot(&s) ? s.rows->value->space != IR_TILE || s.columns->value->space != IR_SHARED || !s.columns_k_major
                        : s.n % 8 != 0)
    return "its columns are not a multiple of 8";
  if (s.k % tensor_core_depth(rows)) return "its depth is not a multiple of one instruction's";
  if (ir_bits(rows) != 16 && !(s.rows_k_major && s.columns_k_major))
    return "operands other than 16-bit ones must have k contiguous";
  return NULL;
}

/* -- Tables -------------------------------------------------------------------------------------------------------- */

bool decode_joins_parts(ir_type code, ir_type to) {
  return ir_type_of(code)->class == IR_CLASS_TABLE && ir_bits(code) == 4 && ir_bits(to) == 16;
}

bool decode_uses_table(const ir_op *decode, const ir_op *dot) {
  return decode_joins_parts(decode->read[0].value->type, decode->write[0].value->type) &&
         ir_attr_get(&decode->attrs, IR_ATTR_PLACE, 0) == IR_PLACE_OPERAND && dot &&
         dot_shape_of(dot).n <= MAX_TABLE_COLUMNS;
}

static int exponent_bias(ir_type type) { return (1 << (ir_type_of(type)->exponent_bits - 1)) - 1; }

int decode_power(const ir_op *decode) {
  ir_type code = decode->read[0].value->type, to = decode->write[0].value->type;
  if (ir_attr_get(&decode->attrs, IR_ATTR_FACTOR, 1) != 1 || ir_attr_get(&decode->attrs, IR_ATTR_OFFSET, 0)) return 0;
  if (code == IR_F4E2M1 && to == IR_F16) return exponent_bias(to) - exponent_bias(code);
  return ir_type_of(code)->class == IR_CLASS_SINT && to == IR_I8 ? ir_bits(code) - ir_bits(to) : 0;
}

const ir_op *dot_of_rows(const ir_block *block, const ir_value *rows) {
  const ir_op *found = NULL;
  for (const ir_op *op = block->first; op && !found; op = op->next) {
    if (op->kind == IR_OP_DOT && dot_shape_of(op).rows->value == rows) return op;
    found = dot_of_rows(&op->body, rows);
    if (!found) found = dot_of_rows(&op->other, rows);
  }
  return found;
}

static int64_t block_table_bytes(const ir_kernel *kernel, const ir_block *block) {
  int64_t bytes = 0;
  for (const ir_op *op = block->first; op; op = op->next) {
    bytes += block_table_bytes(kernel, &op->body) + block_table_bytes(kernel, &op->other);
    if (op->kind == IR_OP_DECODE && decode_uses_table(op, dot_of_rows(&kernel->body, op->write[0].value)))
      bytes += DECODE_TABLE_BYTES;
  }
  return bytes;
}

int64_t decode_table_bytes(const ir_kernel *kernel) { return block_table_bytes(kernel, &kernel->body); }
