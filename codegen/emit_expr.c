/* Expressions as C++: the IR's operators are C's where they mean the same, and calls where they do not. */
#include "codegen/emitter.h"

#include "ir/numeric.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum emit_how { NONE, OWN, INFIX, CALL } emit_how;

typedef struct expr_form {
  emit_how how;
  emit_precedence precedence;
  const char *integer, *single, *real;
} expr_form;

static const expr_form forms[IR_EXPR_KIND_COUNT] = {
#define EMIT_EXPR(id, how, precedence, integer, single, real)                                                          \
  [IR_EXPR_##id] = {how, EMIT_##precedence, integer, single, real},
#include "codegen/emit_expr.def"
#undef EMIT_EXPR
};

bool emit_has_expr(ir_expr_kind kind) { return forms[kind].how != NONE; }

bool emit_is_function(const char *name) {
  for (int i = 0; i < IR_EXPR_KIND_COUNT; i++) {
    const char *const called[] = {forms[i].integer, forms[i].single, forms[i].real};
    for (size_t j = 0; j < sizeof called / sizeof *called; j++)
      if (called[j] && strcmp(called[j], name) == 0) return true;
  }
  return false;
}

static bool is_single(ir_type type) { return ir_is_float(type) && ir_bits(type) <= 32; }
static bool is_signed(ir_type type) { return ir_type_of(type)->class == IR_CLASS_SINT; }

bool emit_is_nonnegative(const emitter *e, const ir_expr *x) {
  if (ir_is_integer(x->type) && !is_signed(x->type)) return true;
  ir_range range;
  return ir_expr_range(x, e->ranges, e->kernel->value_count, &range) && range.lo >= 0;
}

const char *emit_scalar_type(ir_type type) { return ir_type_of(type)->cuda; }

const char *emit_word_type(ir_type type) { return ir_bits(type) < 32 ? "u32" : ir_type_of(type)->cuda; }

int emit_word_count(const ir_value *registers) {
  int64_t elements = ir_element_count(registers);
  int bits = ir_bits(registers->type);
  return (int)(bits < 32 ? (elements * bits + 31) / 32 : elements);
}

int64_t emit_slot_bytes(const ir_value *value) {
  int64_t bytes, alignment;
  if (value->space == IR_BARRIER) return 8;
  if (value->shared) {
    bytes = value->shared->byte_size;
    alignment = value->shared->alignment;
  } else {
    bytes = (int64_t)ir_packed_bytes((size_t)ir_element_count(value), ir_bits(value->type));
    alignment = 128;
  }
  return (bytes + alignment - 1) / alignment * alignment;
}

/* A call of a function of the prelude or of CUDA. */
static const char *function(emitter *e, const char *name) {
  prelude_want(e->functions, name);
  return name;
}

/* -- Literals ------------------------------------------------------------------------------------------------------ */

static emit_precedence literal(ir_type type, int64_t value, str *out) {
  switch (ir_compute_type(type)) {
  case IR_U32:
    str_printf(out, value > 0xffff ? "0x%llxu" : "%lluu", (unsigned long long)value);
    return EMIT_PRIMARY;
  case IR_U64:
    str_printf(out, (uint64_t)value > 0xffff ? "0x%llxull" : "%lluull", (unsigned long long)value);
    return EMIT_PRIMARY;
  case IR_I64:
    if (value == INT64_MIN) {
      str_append(out, "(-9223372036854775807ll - 1)");
      return EMIT_PRIMARY;
    }
    str_printf(out, "%lldll", (long long)value);
    break;
  default:
    if (value == INT32_MIN) {
      str_append(out, "(-2147483647 - 1)");
      return EMIT_PRIMARY;
    }
    str_printf(out, "%lld", (long long)value);
    break;
  }
  return value < 0 ? EMIT_UNARY : EMIT_PRIMARY;
}

/* The shortest decimal that reads back as the same f32. */
static void append_single(float value, str *out) {
  enum { DIGITS_MAX = 9 };
  char text[64];
  for (int digits = 1; digits <= DIGITS_MAX; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, (double)value);
    if (strtof(text, NULL) == value) break;
  }
  bool has_point = false;
  for (const char *p = text; *p; p++) {
    bool plain = (*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == 'e';
    has_point |= !plain || *p == 'e';
    str_append_char(out, plain ? *p : '.'); /* the locale's decimal point */
  }
  str_append(out, has_point ? "f" : ".0f");
}

static emit_precedence float_literal(emitter *e, ir_type type, double value, str *out) {
  bool negative = signbit(value) != 0;
  if (isnan(value)) {
    str_printf(out, "%s()", function(e, "not_a_number"));
    return EMIT_PRIMARY;
  }
  if (isinf(value)) {
    str_printf(out, "%s%s()", negative ? "-" : "", function(e, "infinity"));
  } else if (ir_bits(type) > 32) {
    str_append_double(out, value);
  } else {
    append_single((float)value, out);
  }
  return negative ? EMIT_UNARY : EMIT_PRIMARY;
}

/* -- Numbers as codes ---------------------------------------------------------------------------------------------- */

/* The function between a float of at most 32 bits and the type's code. */
static const char *coder(emitter *e, bool encode, ir_type type) {
  static const ir_type own[] = {IR_F16, IR_BF16, IR_F8E4M3, IR_F8E5M2, IR_E8M0};
  const ir_type_info *info = ir_type_of(type);
  if (info->class == IR_CLASS_TABLE) return intrinsic_table(e, encode, type);
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (own[i] == type) return function(e, arena_printf(e->memory, "%s_%s", encode ? "encode" : "decode", info->name));
  const char *kind = info->exponent_bits >= 5 ? "IEEE" : info->bits == 8 ? "NAN_ONLY" : "FINITE";
  return arena_printf(e->memory, "%s<%d, %d, %s>", function(e, encode ? "encode_float" : "decode_float"),
                      info->exponent_bits, info->mantissa_bits, kind);
}

/* Whether the expression's value is already one of the type's. */
static bool is_rounded(const ir_expr *x, ir_type type) {
  if (x->kind == IR_EXPR_FLOAT) return ir_round(type, x->float_value) == x->float_value;
  if (x->kind == IR_EXPR_VALUE) return x->value->type == type;
  if (x->kind == IR_EXPR_UNPACK) return x->lane_type == type;
  return x->kind == IR_EXPR_CAST && x->type == type;
}

/* `text`, an f32, rounded to the type. */
static const char *rounded(emitter *e, const char *text, ir_type type) {
  if (type == IR_F32 || ir_bits(type) > 32) return text;
  if (type == IR_TF32) return arena_printf(e->memory, "%s(%s)", function(e, "round_tf32"), text);
  return arena_printf(e->memory, "%s(%s(%s))", coder(e, false, type), coder(e, true, type), text);
}

/* -- Conversions --------------------------------------------------------------------------------------------------- */

typedef struct piece {
  const char *text;
  emit_precedence precedence;
} piece;

static emit_precedence bare(emitter *e, const ir_expr *x, str *out);

static piece piece_of(emitter *e, const ir_expr *x) {
  str text = STR_EMPTY;
  emit_precedence precedence = bare(e, x, &text);
  piece p = {arena_strdup(e->memory, str_text(&text)), precedence};
  str_free(&text);
  return p;
}

static const char *tight(emitter *e, piece p, emit_precedence least) {
  return p.precedence < least ? arena_printf(e->memory, "(%s)", p.text) : p.text;
}

static piece c_cast(emitter *e, const char *type, piece p) {
  return (piece){arena_printf(e->memory, "(%s)%s", type, tight(e, p, EMIT_UNARY)), EMIT_UNARY};
}

static piece call(emitter *e, const char *name, piece p) {
  return (piece){arena_printf(e->memory, "%s(%s)", name, p.text), EMIT_PRIMARY};
}

/* A float as an integer: truncated and saturated. */
static piece float_to_integer(emitter *e, piece p, ir_type from, ir_type to) {
  bool real = ir_bits(from) > 32;
  ir_type compute = ir_compute_type(to);
  const char *name = compute == IR_I32   ? (real ? "__double2int_rz" : "__float2int_rz")
                     : compute == IR_U32 ? (real ? "__double2uint_rz" : "__float2uint_rz")
                     : compute == IR_I64 ? (real ? "__double2ll_rz" : "__float2ll_rz")
                                         : (real ? "__double2ull_rz" : "__float2ull_rz");
  p = call(e, name, p);
  int bits = ir_bits(to);
  if (bits >= 32) return p;
  if (is_signed(to)) {
    int low = -(1 << (bits - 1));
    return call(e, arena_printf(e->memory, "%s<%d, %d>", function(e, "saturate"), low, -low - 1), p);
  }
  return call(e, arena_printf(e->memory, "%s<%uu>", function(e, "saturate_unsigned"), (1u << bits) - 1), p);
}

/* Whether every value of integer type `from` is one of `to`. */
static bool widens(ir_type from, ir_type to) {
  if (from == IR_PRED) return true;
  bool from_signed = is_signed(from), to_signed = is_signed(to);
  if (from_signed == to_signed) return ir_bits(to) >= ir_bits(from);
  return to_signed && ir_bits(to) > ir_bits(from);
}

static piece integer_to_integer(emitter *e, piece p, ir_type from, ir_type to) {
  const char *cuda = emit_scalar_type(to);
  if (strcmp(cuda, emit_scalar_type(from)) != 0 || (ir_bits(to) < 32 && ir_bits(from) > 32)) p = c_cast(e, cuda, p);
  int bits = ir_bits(to);
  if (bits >= 32 || widens(from, to)) return p;
  if (is_signed(to)) return call(e, arena_printf(e->memory, "%s<%d>", function(e, "sign_extend"), bits), p);
  return (piece){arena_printf(e->memory, "%s & %uu", tight(e, p, EMIT_UNARY), (1u << bits) - 1), EMIT_BIT_AND};
}

static piece converted(emitter *e, const ir_expr *x, ir_type to) {
  ir_type from = x->type;
  piece p = piece_of(e, x);
  if (to == IR_PRED) {
    if (from == IR_PRED) return p;
    return (piece){arena_printf(e->memory, "%s != 0", tight(e, p, EMIT_RELATION)), EMIT_EQUALITY};
  }
  if (!ir_is_float(to))
    return ir_is_float(from) ? float_to_integer(e, p, from, to) : integer_to_integer(e, p, from, to);
  if (ir_bits(to) > 32) return strcmp(emit_scalar_type(from), "double") == 0 ? p : c_cast(e, "double", p);
  if (!is_single(from)) p = c_cast(e, "float", p);
  if (is_rounded(x, to) || to == IR_F32) return p;
  return (piece){rounded(e, p.text, to), EMIT_PRIMARY};
}

const char *emit_converted(emitter *e, const ir_expr *x, ir_type type) { return converted(e, x, type).text; }

/* A float or integer as the u32 (or u64) of its bits. */
static piece bits_of(emitter *e, const ir_expr *x, ir_type type) {
  if (!ir_is_float(type)) {
    piece p = converted(e, x, type);
    if (is_signed(type)) p = c_cast(e, ir_bits(type) > 32 ? "u64" : "u32", p);
    if (ir_bits(type) < 32 && is_signed(type))
      return (piece){arena_printf(e->memory, "%s & %uu", p.text, (1u << ir_bits(type)) - 1), EMIT_BIT_AND};
    return p;
  }
  piece p = piece_of(e, x);
  if (ir_bits(type) > 32) return c_cast(e, "u64", call(e, "__double_as_longlong", p));
  if (ir_bits(type) == 32) return call(e, "__float_as_uint", type == IR_TF32 ? converted(e, x, type) : p);
  return call(e, coder(e, true, type), p);
}

static piece from_bits(emitter *e, piece p, ir_type type) {
  if (!ir_is_float(type)) {
    if (!is_signed(type)) return p;
    p = c_cast(e, emit_scalar_type(type), p);
    if (ir_bits(type) >= 32) return p;
    return call(e, arena_printf(e->memory, "%s<%d>", function(e, "sign_extend"), ir_bits(type)), p);
  }
  if (ir_bits(type) > 32) return call(e, "__longlong_as_double", c_cast(e, "i64", p));
  if (ir_bits(type) == 32) return call(e, "__uint_as_float", p);
  return call(e, coder(e, false, type), p);
}

static emit_precedence bitcast(emitter *e, const ir_expr *x, str *out) {
  const ir_expr *a = x->args[0];
  ir_type from = ir_compute_type(a->type);
  if (ir_bits(from) != ir_bits(x->lane_type)) {
    emit_fail(e, e->statement, "a bitcast from %s to %s changes the width", ir_type_of(from)->name,
              ir_type_of(x->lane_type)->name);
    return EMIT_PRIMARY;
  }
  piece p = from_bits(e, bits_of(e, a, from), x->lane_type);
  str_append(out, p.text);
  return p.precedence;
}

/* -- Operators ----------------------------------------------------------------------------------------------------- */

static bool is_bitwise(emit_precedence precedence) {
  return precedence == EMIT_SHIFT || (precedence >= EMIT_BIT_OR && precedence <= EMIT_BIT_AND);
}

/* `a op b`; a bitwise operator or shift has its operands in parentheses, except a chain of itself. */
static emit_precedence infix(emitter *e, const ir_expr *a, const char *op, const ir_expr *b, emit_precedence precedence,
                             ir_expr_kind kind, str *out) {
  emit_precedence left = precedence, right = precedence + 1;
  if (is_bitwise(precedence)) {
    if (a->kind != kind || precedence == EMIT_SHIFT) left = EMIT_UNARY;
    right = EMIT_UNARY;
  }
  emit_expr(e, a, left, out);
  str_printf(out, " %s ", op);
  emit_expr(e, b, right, out);
  return precedence;
}

static void arguments(emitter *e, const ir_expr *x, int first, int count, str *out) {
  for (int i = first; i < first + count; i++) {
    if (i > first) str_append(out, ", ");
    emit_expr(e, x->args[i], EMIT_TERNARY, out);
  }
}

/* A call of the form's function for the type of the first argument. */
static emit_precedence plain_call(emitter *e, const ir_expr *x, str *out) {
  const expr_form *form = &forms[x->kind];
  ir_type type = x->args[0]->type;
  const char *name = !ir_is_float(type) ? form->integer : is_single(type) ? form->single : form->real;
  if (!name) {
    emit_fail(e, e->statement, "'%s' of %s has no CUDA function", ir_expr_info_of(x->kind)->text,
              ir_type_of(type)->name);
    return EMIT_PRIMARY;
  }
  str_printf(out, "%s(", function(e, name));
  arguments(e, x, 0, x->arg_count, out);
  str_append_char(out, ')');
  return EMIT_PRIMARY;
}

static int log2_of(int64_t value) {
  if (value <= 0 || (value & (value - 1))) return -1;
  int log = 0;
  while (value >> log != 1)
    log++;
  return log;
}

/* Integer division and remainder round down. By a power of two that is a shift or a mask, whatever the sign; C's
 * operators truncate, so they do only for operands that are never negative. */
static emit_precedence division(emitter *e, const ir_expr *x, str *out) {
  const ir_expr *a = x->args[0], *b = x->args[1];
  if (ir_is_float(x->type)) {
    if (is_single(x->type)) return plain_call(e, x, out);
    return infix(e, a, "/", b, EMIT_PRODUCT, x->kind, out);
  }
  int64_t divisor;
  int log = ir_is_constant(b, &divisor) ? log2_of(divisor) : -1;
  if (log >= 0) {
    bool is_mod = x->kind == IR_EXPR_MOD;
    ir_expr amount = {.kind = IR_EXPR_INT,
                      .type = is_mod ? ir_compute_type(x->type) : IR_I32,
                      .int_value = is_mod ? divisor - 1 : log};
    return infix(e, a, is_mod ? "&" : ">>", &amount, is_mod ? EMIT_BIT_AND : EMIT_SHIFT, IR_EXPR_KIND_COUNT, out);
  }
  if (!emit_is_nonnegative(e, a) || !emit_is_nonnegative(e, b)) return plain_call(e, x, out);
  return infix(e, a, ir_expr_info_of(x->kind)->text, b, EMIT_PRODUCT, x->kind, out);
}

static emit_precedence ceil_division(emitter *e, const ir_expr *x, str *out) {
  const ir_expr *a = x->args[0], *b = x->args[1];
  int64_t divisor;
  int log = ir_is_constant(b, &divisor) ? log2_of(divisor) : -1;
  if (log < 0 && (!emit_is_nonnegative(e, a) || !emit_is_nonnegative(e, b))) return plain_call(e, x, out);
  str_append_char(out, '(');
  emit_expr(e, a, EMIT_SUM, out);
  str_append(out, " + ");
  if (ir_is_constant(b, &divisor)) {
    literal(x->type, divisor - 1, out);
  } else {
    emit_expr(e, b, EMIT_PRODUCT, out);
    str_append(out, " - 1");
  }
  if (log >= 0) {
    str_printf(out, ") >> %d", log);
    return EMIT_SHIFT;
  }
  str_append(out, ") / ");
  emit_expr(e, b, EMIT_UNARY, out);
  return EMIT_PRODUCT;
}

static bool has_collective(const ir_expr *x) {
  if (x->kind >= IR_EXPR_SHUFFLE_XOR && x->kind <= IR_EXPR_VOTE_ALL) return true;
  for (int i = 0; i < x->arg_count; i++)
    if (has_collective(x->args[i])) return true;
  return false;
}

/* Both sides of the IR's operator are evaluated, which only an operation of the whole warp can tell. */
static emit_precedence and_or(emitter *e, const ir_expr *x, str *out) {
  bool is_and = x->kind == IR_EXPR_AND;
  if (x->type == IR_PRED && !has_collective(x->args[1]))
    return infix(e, x->args[0], is_and ? "&&" : "||", x->args[1], is_and ? EMIT_LOGICAL_AND : EMIT_LOGICAL_OR, x->kind,
                 out);
  return infix(e, x->args[0], is_and ? "&" : "|", x->args[1], forms[x->kind].precedence, x->kind, out);
}

static emit_precedence conditional(emitter *e, const ir_expr *x, str *out) {
  emit_expr(e, x->args[0], EMIT_LOGICAL_OR, out);
  str_append(out, " ? ");
  emit_expr(e, x->args[1], EMIT_LOGICAL_OR, out);
  str_append(out, " : ");
  emit_expr(e, x->args[2], EMIT_TERNARY, out);
  return EMIT_TERNARY;
}

static emit_precedence fma_call(emitter *e, const ir_expr *x, str *out) {
  if (ir_is_float(x->args[0]->type)) return plain_call(e, x, out);
  emit_expr(e, x->args[0], EMIT_PRODUCT, out);
  str_append(out, " * ");
  emit_expr(e, x->args[1], EMIT_UNARY, out);
  str_append(out, " + ");
  emit_expr(e, x->args[2], EMIT_PRODUCT, out);
  return EMIT_SUM;
}

/* Shuffles and votes of the whole warp; a predicate travels as an int. */
static emit_precedence collective(emitter *e, const ir_expr *x, str *out) {
  bool is_vote = x->kind == IR_EXPR_VOTE_ANY || x->kind == IR_EXPR_VOTE_ALL;
  bool is_flag = x->args[0]->type == IR_PRED && !is_vote;
  str_printf(out, "%s(0xffffffffu, %s", forms[x->kind].integer, is_flag ? "(int)" : "");
  emit_expr(e, x->args[0], is_flag ? EMIT_UNARY : EMIT_TERNARY, out);
  if (!is_vote) {
    str_append(out, ", ");
    emit_expr(e, x->args[1], EMIT_TERNARY, out);
  }
  str_append_char(out, ')');
  if (!is_flag && !is_vote) return EMIT_PRIMARY;
  str_append(out, " != 0");
  return EMIT_EQUALITY;
}

/* -- Packed words -------------------------------------------------------------------------------------------------- */

static emit_precedence pack(emitter *e, const ir_expr *x, str *out) {
  ir_type lane = x->lane_type;
  int bits = ir_bits(lane);
  if (bits >= 32) {
    piece p = bits_of(e, x->args[0], lane);
    str_append(out, p.text);
    return p.precedence;
  }
  const char *whole = lane == IR_F16 && x->arg_count == 2      ? "pack_f16"
                      : lane == IR_BF16 && x->arg_count == 2   ? "pack_bf16"
                      : lane == IR_F8E4M3 && x->arg_count == 4 ? "pack_f8e4m3"
                                                               : NULL;
  if (whole) {
    str_printf(out, "%s(", function(e, whole));
    arguments(e, x, 0, x->arg_count, out);
    str_append_char(out, ')');
    return EMIT_PRIMARY;
  }
  str_printf(out, "%s<%d>(", function(e, "pack_bits"), bits);
  for (int i = 0; i < x->arg_count; i++) {
    if (i) str_append(out, ", ");
    if (ir_is_float(lane)) str_printf(out, "%s(", coder(e, true, lane));
    emit_expr(e, x->args[i], EMIT_TERNARY, out);
    if (ir_is_float(lane)) str_append_char(out, ')');
  }
  str_append_char(out, ')');
  return EMIT_PRIMARY;
}

static emit_precedence unpack(emitter *e, const ir_expr *x, str *out) {
  ir_type lane = x->lane_type;
  int bits = ir_bits(lane);
  piece word = piece_of(e, x->args[0]);
  if (bits >= 32) {
    piece p = from_bits(e, word, lane);
    str_append(out, p.text);
    return p.precedence;
  }
  int64_t index;
  if (!ir_is_constant(x->args[1], &index)) {
    /* The variable of an unrolled loop is no template argument. */
    const char *i = emit_expr_text(e, x->args[1], EMIT_UNARY);
    word = (piece){arena_printf(e->memory, "%s >> %d * %s", tight(e, word, EMIT_UNARY), bits, i), EMIT_SHIFT};
    index = 0;
  }
  if (lane == IR_F16 || lane == IR_BF16) {
    str_printf(out, "%s<%d>(%s)", function(e, lane == IR_F16 ? "unpack_f16" : "unpack_bf16"), (int)index, word.text);
    return EMIT_PRIMARY;
  }
  const char *field =
      arena_printf(e->memory, "%s<%d, %d>(%s)", function(e, is_signed(lane) ? "unpack_int" : "unpack_uint"), bits,
                   (int)index, word.text);
  if (ir_is_float(lane)) {
    str_printf(out, "%s(%s)", coder(e, false, lane), field);
    return EMIT_PRIMARY;
  }
  str_append(out, field);
  if (lane != IR_PRED) return EMIT_PRIMARY;
  str_append(out, " != 0");
  return EMIT_EQUALITY;
}

static emit_precedence lop3(emitter *e, const ir_expr *x, str *out) {
  int64_t table;
  if (!ir_is_constant(x->args[3], &table)) {
    emit_fail(e, e->statement, "the truth table of lop3 is not a constant");
    return EMIT_PRIMARY;
  }
  str_printf(out, "%s<0x%02x>(", function(e, "lop3"), (unsigned)table & 0xff);
  arguments(e, x, 0, 3, out);
  str_append_char(out, ')');
  return EMIT_PRIMARY;
}

/* add2_f16(a, b) and its kin: the prelude names them after operator and lane type. */
static emit_precedence lanes(emitter *e, const ir_expr *x, str *out) {
  const char *name = arena_printf(e->memory, "%s_%s", ir_expr_info_of(x->kind)->text, ir_type_of(x->lane_type)->name);
  if (!prelude_want(e->functions, name))
    emit_fail(e, e->statement, "'%s' has no form for %s", ir_expr_info_of(x->kind)->text,
              ir_type_of(x->lane_type)->name);
  str_printf(out, "%s(", name);
  arguments(e, x, 0, x->arg_count, out);
  str_append_char(out, ')');
  return EMIT_PRIMARY;
}

/* -- Leaves -------------------------------------------------------------------------------------------------------- */

emit_precedence emit_slot_address(emitter *e, const ir_value *value, const ir_expr *slot, str *out) {
  emit_use_local(e, EMIT_SHARED);
  e->buffers_used[value->number] = true;
  int64_t bytes = emit_slot_bytes(value), number = 0;
  bool constant = !slot || ir_is_constant(slot, &number);
  str_append(out, e->names[value->number]);
  if (constant && number == 0) return EMIT_PRIMARY;
  if (constant) {
    str_printf(out, " + %lld", (long long)(number * bytes));
  } else {
    str_printf(out, " + %lld * ", (long long)bytes);
    emit_expr(e, slot, EMIT_UNARY, out);
  }
  return EMIT_SUM;
}

const char *emit_register_pointer(emitter *e, const ir_ref *ref) {
  const char *name = e->names[ref->value->number];
  int64_t first = 0;
  if (ref->count == 0 || (ir_is_constant(ref->start[0], &first) && first == 0)) return name;
  return arena_printf(e->memory, "%s + %s", name, emit_expr_text(e, ref->start[0], EMIT_PRODUCT));
}

static emit_precedence element(emitter *e, const ir_expr *x, str *out) {
  const ir_value *value = x->value;
  if (value->space != IR_REGISTERS || x->arg_count != 1) {
    emit_fail(e, e->statement, "'%s' is not a register array: its elements are moved by ops", value->name);
    return EMIT_PRIMARY;
  }
  str_printf(out, "%s[", e->names[value->number]);
  emit_expr(e, x->args[0], EMIT_TERNARY, out);
  str_append_char(out, ']');
  return EMIT_PRIMARY;
}

static emit_precedence value_name(emitter *e, const ir_value *value, str *out) {
  if (value->space == IR_SIZE && value->bound >= 0) return literal(IR_I32, value->bound, out);
  str_append(out, e->names[value->number]);
  return EMIT_PRIMARY;
}

static emit_precedence bare(emitter *e, const ir_expr *x, str *out) {
  const expr_form *form = &forms[x->kind];
  if (form->how == CALL) return plain_call(e, x, out);
  if (form->how == INFIX) {
    const char *op = ir_expr_info_of(x->kind)->text;
    return infix(e, x->args[0], op, x->args[1], form->precedence, x->kind, out);
  }
  switch (x->kind) {
  case IR_EXPR_INT:
    return literal(x->type, x->int_value, out);
  case IR_EXPR_FLOAT:
    return float_literal(e, x->type, x->float_value, out);
  case IR_EXPR_BOOL:
    str_append(out, x->int_value ? "true" : "false");
    return EMIT_PRIMARY;
  case IR_EXPR_VALUE:
    return value_name(e, x->value, out);
  case IR_EXPR_ELEMENT:
    return element(e, x, out);
  case IR_EXPR_DIV:
  case IR_EXPR_MOD:
    return division(e, x, out);
  case IR_EXPR_CEILDIV:
    return ceil_division(e, x, out);
  case IR_EXPR_NEG:
    str_append_char(out, '-');
    emit_expr(e, x->args[0], EMIT_PRIMARY, out);
    return EMIT_UNARY;
  case IR_EXPR_NOT:
    str_append_char(out, x->type == IR_PRED ? '!' : '~');
    emit_expr(e, x->args[0], EMIT_UNARY, out);
    return EMIT_UNARY;
  case IR_EXPR_AND:
  case IR_EXPR_OR:
    return and_or(e, x, out);
  case IR_EXPR_SELECT:
    return conditional(e, x, out);
  case IR_EXPR_CAST: {
    piece p = converted(e, x->args[0], x->type);
    str_append(out, p.text);
    return p.precedence;
  }
  case IR_EXPR_BITCAST:
    return bitcast(e, x, out);
  case IR_EXPR_FMA:
    return fma_call(e, x, out);
  case IR_EXPR_TID:
  case IR_EXPR_LANE:
  case IR_EXPR_WARP:
  case IR_EXPR_BLOCK:
  case IR_EXPR_BLOCKS:
  case IR_EXPR_CTA_RANK:
    str_append(out, emit_use_local(e, EMIT_TID + (emit_local)(x->kind - IR_EXPR_TID)));
    return EMIT_PRIMARY;
  case IR_EXPR_ADDRESS:
    return emit_slot_address(e, x->args[0]->value, x->args[0]->slot, out);
  case IR_EXPR_PACK:
    return pack(e, x, out);
  case IR_EXPR_UNPACK:
    return unpack(e, x, out);
  case IR_EXPR_LOP3:
    return lop3(e, x, out);
  case IR_EXPR_ADD2:
  case IR_EXPR_SUB2:
  case IR_EXPR_MUL2:
  case IR_EXPR_FMA2:
  case IR_EXPR_CVT2:
    return lanes(e, x, out);
  case IR_EXPR_SHUFFLE_XOR:
  case IR_EXPR_SHUFFLE:
  case IR_EXPR_SHUFFLE_UP:
  case IR_EXPR_VOTE_ANY:
  case IR_EXPR_VOTE_ALL:
    return collective(e, x, out);
  default:
    BUG("no emission of '%s'", ir_expr_info_of(x->kind)->text);
  }
}

void emit_expr(emitter *e, const ir_expr *x, emit_precedence least, str *out) {
  size_t start = out->length;
  if (bare(e, x, out) >= least) return;
  str_append(out, "()");
  memmove(out->data + start + 1, out->data + start, out->length - 2 - start);
  out->data[start] = '(';
  out->data[out->length - 1] = ')';
}

const char *emit_expr_text(emitter *e, const ir_expr *x, emit_precedence least) {
  str text = STR_EMPTY;
  emit_expr(e, x, least, &text);
  const char *copy = arena_strdup(e->memory, str_text(&text));
  str_free(&text);
  return copy;
}
