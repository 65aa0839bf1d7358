/* Simplification of expressions as they are built.
 *
 * Integers: constants, identities, constants gathered on the right of sums and products, exact divisions and remainders
 * by known divisors. Signed index arithmetic is taken not to overflow where a quotient or remainder is simplified, as
 * everywhere in the compiler; all other rules hold modulo 2^width, so unsigned address arithmetic may wrap. Floats:
 * only what IEEE 754 gives to the last bit, whatever the operands; sums are never reassociated. */
#include "ir/expr.h"
#include "ir/numeric.h"

#include <math.h>

static bool is_signed(ir_type type) { return ir_type_of(type)->class == IR_CLASS_SINT; }
static bool is_int(const ir_expr *e) { return e->kind == IR_EXPR_INT; }
static bool is_int_of(const ir_expr *e, int64_t value) { return e->kind == IR_EXPR_INT && e->int_value == value; }
static bool is_float_of(const ir_expr *e, double value) { return e->kind == IR_EXPR_FLOAT && e->float_value == value; }
static bool is_power_of_two(int64_t c) { return c > 0 && (c & (c - 1)) == 0; }

/* The value of the same bits as a signed number. */
static int64_t as_signed(ir_type type, int64_t value) {
  return ir_bits(type) == 32 ? (int64_t)(int32_t)(uint32_t)(uint64_t)value : value;
}

static bool less(ir_type type, int64_t a, int64_t b) { return is_signed(type) ? a < b : (uint64_t)a < (uint64_t)b; }

static int64_t floor_divide(ir_type type, int64_t a, int64_t b) {
  if (!is_signed(type)) return (int64_t)((uint64_t)a / (uint64_t)b);
  if (b == -1) return (int64_t)(0 - (uint64_t)a);
  int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

/* (a + b - 1) / b without the sum; false when the sum would wrap, or b is not positive. */
static bool ceil_divide(ir_type type, int64_t a, int64_t b, int64_t *out) {
  if (!less(type, 0, b)) return false;
  int64_t sum = (int64_t)((uint64_t)a + (uint64_t)b - 1);
  if (ir_wrap(type, sum) != sum || less(type, sum, a)) return false;
  *out = floor_divide(type, sum, b);
  return true;
}

/* An integer operator over constants of the compute type `type`; false when the result is not defined. */
static bool evaluate(ir_expr_kind kind, ir_type type, int64_t a, int64_t b, int64_t *out) {
  uint64_t x = (uint64_t)a, y = (uint64_t)b;
  switch (kind) {
  case IR_EXPR_ADD:
    *out = (int64_t)(x + y);
    break;
  case IR_EXPR_SUB:
    *out = (int64_t)(x - y);
    break;
  case IR_EXPR_MUL:
    *out = (int64_t)(x * y);
    break;
  case IR_EXPR_DIV:
    if (b == 0) return false;
    *out = floor_divide(type, a, b);
    break;
  case IR_EXPR_MOD:
    if (b == 0) return false;
    *out = (int64_t)(x - y * (uint64_t)floor_divide(type, a, b));
    break;
  case IR_EXPR_CEILDIV:
    if (!ceil_divide(type, a, b, out)) return false;
    break;
  case IR_EXPR_MIN:
    *out = less(type, b, a) ? b : a;
    break;
  case IR_EXPR_MAX:
    *out = less(type, a, b) ? b : a;
    break;
  case IR_EXPR_AND:
    *out = a & b;
    break;
  case IR_EXPR_OR:
    *out = a | b;
    break;
  case IR_EXPR_XOR:
    *out = a ^ b;
    break;
  case IR_EXPR_SHL:
    if (b < 0 || b >= ir_bits(type)) return false;
    *out = (int64_t)(x << b);
    break;
  case IR_EXPR_SHR:
    if (b < 0 || b >= ir_bits(type)) return false;
    *out = is_signed(type) ? a >> b : (int64_t)(x >> b);
    break;
  default:
    return false;
  }
  *out = ir_wrap(type, *out);
  return true;
}

static bool is_compare(ir_expr_kind kind) { return kind >= IR_EXPR_EQ && kind <= IR_EXPR_GE; }

/* A comparison from how a stands to b: -1 less, 0 equal, 1 greater, 2 unordered. */
static bool compare(ir_expr_kind kind, int order) {
  switch (kind) {
  case IR_EXPR_EQ:
    return order == 0;
  case IR_EXPR_NE:
    return order != 0;
  case IR_EXPR_LT:
    return order == -1;
  case IR_EXPR_LE:
    return order == -1 || order == 0;
  case IR_EXPR_GT:
    return order == 1;
  default:
    return order == 1 || order == 0;
  }
}

static ir_expr_kind inverse(ir_expr_kind kind) {
  switch (kind) {
  case IR_EXPR_EQ:
    return IR_EXPR_NE;
  case IR_EXPR_NE:
    return IR_EXPR_EQ;
  case IR_EXPR_LT:
    return IR_EXPR_GE;
  case IR_EXPR_LE:
    return IR_EXPR_GT;
  case IR_EXPR_GT:
    return IR_EXPR_LE;
  default:
    return IR_EXPR_LT;
  }
}

static const ir_expr *raw_binary(arena *memory, ir_expr_kind kind, ir_type type, const ir_expr *a, const ir_expr *b) {
  ir_expr node = {.kind = kind, .type = type, .arg_count = 2, .args = (const ir_expr *[]){a, b}};
  return ir_expr_raw(memory, &node);
}

/* -- Sums: x + c, with the constant outermost and its sign in the operator -- */

/* `e` as base + c; the base of a constant is NULL. */
static const ir_expr *split_constant(const ir_expr *e, int64_t *c) {
  *c = 0;
  if (is_int(e)) {
    *c = e->int_value;
    return NULL;
  }
  if ((e->kind != IR_EXPR_ADD && e->kind != IR_EXPR_SUB) || !is_int(e->args[1])) return e;
  *c = e->kind == IR_EXPR_ADD ? e->args[1]->int_value : (int64_t)(0 - (uint64_t)e->args[1]->int_value);
  return e->args[0];
}

static const ir_expr *add_constant(arena *memory, ir_type type, const ir_expr *base, int64_t c) {
  int64_t inner;
  base = split_constant(base, &inner);
  c = ir_wrap(type, (int64_t)((uint64_t)c + (uint64_t)inner));
  if (!base) return ir_typed_int(memory, type, c);
  if (c == 0) return base;
  int64_t amount = as_signed(type, c), negated = ir_wrap(type, (int64_t)(0 - (uint64_t)c));
  if (amount < 0 && as_signed(type, negated) > 0)
    return raw_binary(memory, IR_EXPR_SUB, type, base, ir_typed_int(memory, type, negated));
  return raw_binary(memory, IR_EXPR_ADD, type, base, ir_typed_int(memory, type, c));
}

static const ir_expr *fold_add(arena *memory, ir_type type, const ir_expr *a, const ir_expr *b) {
  int64_t ca, cb;
  if (is_int(a)) return add_constant(memory, type, b, a->int_value);
  const ir_expr *base_a = split_constant(a, &ca);
  if (is_int(b)) {
    int64_t amount = as_signed(type, b->int_value);
    bool settled = amount > 0 || (amount < 0 && as_signed(type, ir_wrap(type, (int64_t)(0 - (uint64_t)amount))) < 0);
    return ca == 0 && settled ? NULL : add_constant(memory, type, a, b->int_value);
  }
  const ir_expr *base_b = split_constant(b, &cb);
  if (ca == 0 && cb == 0) return NULL;
  const ir_expr *sum = ir_binary(memory, IR_EXPR_ADD, base_a, base_b);
  return add_constant(memory, type, sum, (int64_t)((uint64_t)ca + (uint64_t)cb));
}

static const ir_expr *fold_sub(arena *memory, ir_type type, const ir_expr *a, const ir_expr *b) {
  int64_t ca, cb;
  if (ir_expr_equal(a, b)) return ir_typed_int(memory, type, 0);
  const ir_expr *base_a = split_constant(a, &ca);
  if (is_int(b)) {
    bool settled = as_signed(type, b->int_value) > 0;
    return ca == 0 && settled ? NULL : add_constant(memory, type, a, (int64_t)(0 - (uint64_t)b->int_value));
  }
  const ir_expr *base_b = split_constant(b, &cb);
  if (is_int(a)) {
    if (cb == 0) return NULL;
    return ir_binary(memory, IR_EXPR_SUB, ir_typed_int(memory, type, (int64_t)((uint64_t)ca - (uint64_t)cb)), base_b);
  }
  if (ca != 0 || cb != 0) {
    const ir_expr *difference = ir_binary(memory, IR_EXPR_SUB, base_a, base_b);
    return add_constant(memory, type, difference, (int64_t)((uint64_t)ca - (uint64_t)cb));
  }
  if (a->kind == IR_EXPR_ADD && ir_expr_equal(a->args[1], b)) return a->args[0];
  if (a->kind == IR_EXPR_ADD && ir_expr_equal(a->args[0], b)) return a->args[1];
  return NULL;
}

static const ir_expr *fold_mul(arena *memory, ir_type type, const ir_expr *a, const ir_expr *b) {
  if (is_int(a)) return ir_binary(memory, IR_EXPR_MUL, b, a);
  if (!is_int(b)) return NULL;
  if (is_int_of(b, 0)) return b;
  if (is_int_of(b, 1)) return a;
  if (a->kind != IR_EXPR_MUL || !is_int(a->args[1])) return NULL;
  int64_t c = (int64_t)((uint64_t)a->args[1]->int_value * (uint64_t)b->int_value);
  return ir_binary(memory, IR_EXPR_MUL, a->args[0], ir_typed_int(memory, type, c));
}

/* -- Quotients and remainders -- */

/* e / c where the structure of `e` shows that nothing is left over; NULL otherwise. c > 0. */
static const ir_expr *divide_exactly(arena *memory, const ir_expr *e, int64_t c) {
  if (c == 1) return e;
  switch (e->kind) {
  case IR_EXPR_INT:
    return e->int_value % c == 0 ? ir_typed_int(memory, e->type, e->int_value / c) : NULL;
  case IR_EXPR_MUL: {
    if (is_int(e->args[1])) {
      int64_t k = e->args[1]->int_value;
      if (k % c == 0) return ir_binary(memory, IR_EXPR_MUL, e->args[0], ir_typed_int(memory, e->type, k / c));
      return k > 0 && c % k == 0 ? divide_exactly(memory, e->args[0], c / k) : NULL;
    }
    const ir_expr *quotient = divide_exactly(memory, e->args[0], c);
    if (quotient) return ir_binary(memory, IR_EXPR_MUL, quotient, e->args[1]);
    quotient = divide_exactly(memory, e->args[1], c);
    return quotient ? ir_binary(memory, IR_EXPR_MUL, e->args[0], quotient) : NULL;
  }
  case IR_EXPR_ADD:
  case IR_EXPR_SUB: {
    const ir_expr *a = divide_exactly(memory, e->args[0], c);
    const ir_expr *b = a ? divide_exactly(memory, e->args[1], c) : NULL;
    return b ? ir_binary(memory, e->kind, a, b) : NULL;
  }
  default:
    return NULL;
  }
}

static const ir_expr *fold_div(arena *memory, ir_type type, const ir_expr *a, const ir_expr *b) {
  if (!is_int(b)) return NULL;
  int64_t c = b->int_value;
  if (c == 1) return a;
  if (c <= 0) return NULL;
  if (a->kind == IR_EXPR_MOD && is_int(a->args[1]) && a->args[1]->int_value > 0 && a->args[1]->int_value <= c)
    return ir_typed_int(memory, type, 0);
  int64_t product;
  if (a->kind == IR_EXPR_DIV && is_int(a->args[1]) && a->args[1]->int_value > 0 &&
      !__builtin_mul_overflow(a->args[1]->int_value, c, &product) && ir_wrap(type, product) == product)
    return ir_binary(memory, IR_EXPR_DIV, a->args[0], ir_typed_int(memory, type, product));
  if (!is_signed(type)) return NULL;
  const ir_expr *exact = divide_exactly(memory, a, c);
  if (exact) return exact;
  if (a->kind != IR_EXPR_ADD && a->kind != IR_EXPR_SUB) return NULL;
  /* Rounding down: floor((c * q + r) / c) = q + floor(r / c) for every r. */
  const ir_expr *second = divide_exactly(memory, a->args[1], c);
  if (second) return ir_binary(memory, a->kind, ir_binary(memory, IR_EXPR_DIV, a->args[0], b), second);
  if (a->kind == IR_EXPR_SUB) return NULL;
  const ir_expr *first = divide_exactly(memory, a->args[0], c);
  return first ? ir_binary(memory, IR_EXPR_ADD, first, ir_binary(memory, IR_EXPR_DIV, a->args[1], b)) : NULL;
}

static bool is_multiple(const ir_expr *e, int64_t c) {
  int64_t divisor = ir_known_divisor(e);
  return divisor == 0 || divisor % c == 0;
}

static const ir_expr *fold_mod(arena *memory, ir_type type, const ir_expr *a, const ir_expr *b) {
  if (!is_int(b)) return NULL;
  int64_t c = b->int_value;
  if (c == 1) return ir_typed_int(memory, type, 0);
  /* A power of two divides 2^width, so that wrapping keeps the remainder. */
  if (c <= 0 || (!is_signed(type) && !is_power_of_two(c))) return NULL;
  if (is_multiple(a, c)) return ir_typed_int(memory, type, 0);
  if (a->kind == IR_EXPR_MOD && is_int(a->args[1]) && a->args[1]->int_value > 0 && a->args[1]->int_value % c == 0)
    return ir_binary(memory, IR_EXPR_MOD, a->args[0], b);
  if (a->kind != IR_EXPR_ADD && a->kind != IR_EXPR_SUB) return NULL;
  if (is_multiple(a->args[1], c)) return ir_binary(memory, IR_EXPR_MOD, a->args[0], b);
  if (a->kind == IR_EXPR_ADD && is_multiple(a->args[0], c)) return ir_binary(memory, IR_EXPR_MOD, a->args[1], b);
  return NULL;
}

static const ir_expr *fold_ceildiv(arena *memory, ir_type type, const ir_expr *a, const ir_expr *b) {
  if (!is_int(b)) return NULL;
  int64_t c = b->int_value;
  if (c == 1) return a;
  if (c <= 0 || !is_signed(type)) return NULL;
  const ir_expr *exact = divide_exactly(memory, a, c);
  if (exact) return exact;
  return is_multiple(a, c) ? ir_binary(memory, IR_EXPR_DIV, a, b) : NULL;
}

/* -- Everything else over integers -- */

static const ir_expr *fold_bits(arena *memory, ir_expr_kind kind, ir_type type, const ir_expr *a, const ir_expr *b) {
  if (is_int(a)) return ir_binary(memory, kind, b, a);
  if (ir_expr_equal(a, b)) return kind == IR_EXPR_XOR ? ir_typed_int(memory, type, 0) : a;
  if (!is_int(b)) return NULL;
  if (b->int_value == 0) return kind == IR_EXPR_AND ? b : a;
  if (b->int_value == ir_wrap(type, -1)) {
    if (kind == IR_EXPR_AND) return a;
    if (kind == IR_EXPR_OR) return b;
  }
  if (a->kind != kind || !is_int(a->args[1])) return NULL;
  int64_t c;
  evaluate(kind, type, a->args[1]->int_value, b->int_value, &c);
  return ir_binary(memory, kind, a->args[0], ir_typed_int(memory, type, c));
}

static const ir_expr *fold_min_max(arena *memory, ir_expr_kind kind, ir_type type, const ir_expr *a, const ir_expr *b) {
  if (ir_expr_equal(a, b)) return a;
  if (is_int(a)) return ir_binary(memory, kind, b, a);
  if (!is_int(b) || a->kind != kind || !is_int(a->args[1])) return NULL;
  int64_t c;
  evaluate(kind, type, a->args[1]->int_value, b->int_value, &c);
  return ir_binary(memory, kind, a->args[0], ir_typed_int(memory, type, c));
}

static const ir_expr *fold_integers(arena *memory, ir_expr_kind kind, const ir_expr *a, const ir_expr *b) {
  ir_type type = ir_compute_type(a->type);
  if (is_int(a) && is_int(b)) {
    int64_t value;
    if (is_compare(kind)) {
      int order = a->int_value == b->int_value ? 0 : less(type, a->int_value, b->int_value) ? -1 : 1;
      return ir_bool(memory, compare(kind, order));
    }
    return evaluate(kind, type, a->int_value, b->int_value, &value) ? ir_typed_int(memory, type, value) : NULL;
  }
  /* A narrow operand stands for its value in the compute type; rules that give an operand back would change the type.
   */
  if (a->type != type || (b->type != type && kind != IR_EXPR_SHL && kind != IR_EXPR_SHR)) return NULL;
  if (is_compare(kind)) return ir_expr_equal(a, b) ? ir_bool(memory, compare(kind, 0)) : NULL;
  switch (kind) {
  case IR_EXPR_ADD:
    return fold_add(memory, type, a, b);
  case IR_EXPR_SUB:
    return fold_sub(memory, type, a, b);
  case IR_EXPR_MUL:
    return fold_mul(memory, type, a, b);
  case IR_EXPR_DIV:
    return fold_div(memory, type, a, b);
  case IR_EXPR_MOD:
    return fold_mod(memory, type, a, b);
  case IR_EXPR_CEILDIV:
    return fold_ceildiv(memory, type, a, b);
  case IR_EXPR_MIN:
  case IR_EXPR_MAX:
    return fold_min_max(memory, kind, type, a, b);
  case IR_EXPR_AND:
  case IR_EXPR_OR:
  case IR_EXPR_XOR:
    return fold_bits(memory, kind, type, a, b);
  case IR_EXPR_SHL:
  case IR_EXPR_SHR:
    return is_int_of(b, 0) ? a : NULL;
  default:
    return NULL;
  }
}

static const ir_expr *fold_predicates(arena *memory, ir_expr_kind kind, const ir_expr *a, const ir_expr *b) {
  if (a->kind == IR_EXPR_BOOL && b->kind != IR_EXPR_BOOL) return fold_predicates(memory, kind, b, a);
  bool same = ir_expr_equal(a, b);
  if (b->kind != IR_EXPR_BOOL) {
    if (!same) return NULL;
    if (kind == IR_EXPR_AND || kind == IR_EXPR_OR) return a;
    if (kind == IR_EXPR_XOR || kind == IR_EXPR_NE) return ir_bool(memory, false);
    return kind == IR_EXPR_EQ ? ir_bool(memory, true) : NULL;
  }
  switch (kind) {
  case IR_EXPR_AND:
    return b->int_value ? a : b;
  case IR_EXPR_OR:
    return b->int_value ? b : a;
  case IR_EXPR_XOR:
  case IR_EXPR_NE:
    return b->int_value ? ir_unary(memory, IR_EXPR_NOT, a) : a;
  case IR_EXPR_EQ:
    return b->int_value ? a : ir_unary(memory, IR_EXPR_NOT, a);
  default:
    return NULL;
  }
}

/* -- Floats -- */

static double evaluate_float(ir_expr_kind kind, ir_type type, double a, double b) {
  bool is_double = type == IR_F64;
  switch (kind) {
  case IR_EXPR_ADD:
    return is_double ? a + b : (double)((float)a + (float)b);
  case IR_EXPR_SUB:
    return is_double ? a - b : (double)((float)a - (float)b);
  case IR_EXPR_MUL:
    return is_double ? a * b : (double)((float)a * (float)b);
  case IR_EXPR_DIV:
    return is_double ? a / b : (double)((float)a / (float)b);
  case IR_EXPR_MIN:
    return isnan(a) || b < a ? b : a;
  default:
    return isnan(a) || b > a ? b : a;
  }
}

static const ir_expr *fold_floats(arena *memory, ir_expr_kind kind, const ir_expr *a, const ir_expr *b) {
  ir_type type = ir_compute_type(a->type);
  if (a->kind == IR_EXPR_FLOAT && b->kind == IR_EXPR_FLOAT) {
    double x = a->float_value, y = b->float_value;
    if (is_compare(kind)) {
      int order = isnan(x) || isnan(y) ? 2 : x == y ? 0 : x < y ? -1 : 1;
      return ir_bool(memory, compare(kind, order));
    }
    /* Which zero, and which quotient by zero, is left to the machine. */
    bool is_extreme = kind == IR_EXPR_MIN || kind == IR_EXPR_MAX;
    if (is_extreme ? x == 0 && y == 0 : kind == IR_EXPR_DIV ? y == 0 : false) return NULL;
    if (!is_extreme && kind != IR_EXPR_ADD && kind != IR_EXPR_SUB && kind != IR_EXPR_MUL && kind != IR_EXPR_DIV)
      return NULL;
    return ir_float_of(memory, type, evaluate_float(kind, type, x, y));
  }
  if (a->type != type || b->type != type) return NULL;
  if (kind == IR_EXPR_MUL && is_float_of(b, 1)) return a;
  if (kind == IR_EXPR_MUL && is_float_of(a, 1)) return b;
  if (kind == IR_EXPR_DIV && is_float_of(b, 1)) return a;
  if (kind == IR_EXPR_DIV && type == IR_F32 && is_float_of(a, 1)) return ir_unary(memory, IR_EXPR_RCP, b);
  if ((kind == IR_EXPR_MIN || kind == IR_EXPR_MAX) && ir_expr_equal(a, b)) return a;
  return NULL;
}

/* -- One argument, casts, select -- */

static const ir_expr *fold_unary(arena *memory, ir_expr_kind kind, const ir_expr *a) {
  ir_type type = ir_compute_type(a->type);
  if (a->kind == kind && (kind == IR_EXPR_NEG || kind == IR_EXPR_NOT)) {
    const ir_expr *inner = a->args[0];
    return inner->type == a->type ? inner : NULL;
  }
  if (is_int(a)) {
    int64_t c = a->int_value;
    int64_t negated = (int64_t)(0 - (uint64_t)c);
    if (kind == IR_EXPR_NEG) return ir_typed_int(memory, type, negated);
    if (kind == IR_EXPR_NOT) return ir_typed_int(memory, type, ~c);
    if (kind == IR_EXPR_ABS) return ir_typed_int(memory, type, is_signed(type) && c < 0 ? negated : c);
    return NULL;
  }
  if (a->kind == IR_EXPR_FLOAT) {
    if (kind == IR_EXPR_NEG) return ir_float_of(memory, type, -a->float_value);
    return kind == IR_EXPR_ABS ? ir_float_of(memory, type, fabs(a->float_value)) : NULL;
  }
  if (kind != IR_EXPR_NOT || a->type != IR_PRED) return NULL;
  if (a->kind == IR_EXPR_BOOL) return ir_bool(memory, !a->int_value);
  if (!is_compare(a->kind)) return NULL;
  /* With a NaN neither a < b nor a >= b holds; equality has no such gap. */
  bool total = !ir_is_float(a->args[0]->type) || a->kind == IR_EXPR_EQ || a->kind == IR_EXPR_NE;
  return total ? ir_binary(memory, inverse(a->kind), a->args[0], a->args[1]) : NULL;
}

static const ir_expr *fold_cast(arena *memory, ir_type type, const ir_expr *a) {
  if (a->type == type) return a;
  enum { EXACT_BITS = 53 };
  if (a->kind == IR_EXPR_INT || a->kind == IR_EXPR_BOOL) {
    int64_t c = a->int_value;
    if (!ir_is_float(type)) return ir_typed_int(memory, type, c);
    bool exact = c >= -(1ll << EXACT_BITS) && c <= 1ll << EXACT_BITS;
    return exact && !(a->type == IR_U64 && c < 0) ? ir_float_of(memory, type, (double)c) : NULL;
  }
  if (a->kind == IR_EXPR_FLOAT) {
    if (ir_is_float(type)) return ir_float_of(memory, type, a->float_value);
    return ir_typed_int(memory, type, ir_truncate(type, a->float_value));
  }
  /* There and back through a wider integer type. */
  if (a->kind == IR_EXPR_CAST && a->args[0]->type == type && ir_is_integer(type) && ir_is_integer(a->type) &&
      ir_bits(a->type) >= ir_bits(type))
    return a->args[0];
  return NULL;
}

static const ir_expr *fold_select(const ir_expr *condition, const ir_expr *a, const ir_expr *b, ir_type type) {
  if (a->type != type || b->type != type) return NULL;
  if (condition->kind == IR_EXPR_BOOL) return condition->int_value ? a : b;
  if (ir_expr_equal(a, b)) return a;
  if (a->kind == IR_EXPR_BOOL && b->kind == IR_EXPR_BOOL && a->int_value && !b->int_value) return condition;
  return NULL;
}

/* The same word read as another type of equal width. */
static const ir_expr *fold_bitcast(arena *memory, ir_type type, const ir_expr *a) {
  if (a->type == type) return a;
  if (a->kind == IR_EXPR_BITCAST && a->args[0]->type == type) return a->args[0];
  if (ir_bits(a->type) != ir_bits(type)) return NULL;
  if (is_int(a) && ir_is_integer(type)) return ir_typed_int(memory, type, a->int_value);
  return NULL;
}

const ir_expr *ir_expr_fold(arena *memory, const ir_expr *node) {
  const ir_expr *a = node->arg_count > 0 ? node->args[0] : NULL;
  const ir_expr *b = node->arg_count > 1 ? node->args[1] : NULL;
  if (node->kind == IR_EXPR_CAST) return fold_cast(memory, node->type, a);
  if (node->kind == IR_EXPR_BITCAST) return a ? fold_bitcast(memory, node->type, a) : NULL;
  if (node->kind == IR_EXPR_SELECT && node->arg_count == 3) return fold_select(a, b, node->args[2], node->type);
  if (node->arg_count == 1) return fold_unary(memory, node->kind, a);
  bool is_binary = ir_precedence(node->kind) || node->kind == IR_EXPR_MIN || node->kind == IR_EXPR_MAX ||
                   node->kind == IR_EXPR_CEILDIV;
  if (node->arg_count != 2 || !is_binary) return NULL;
  bool is_shift = node->kind == IR_EXPR_SHL || node->kind == IR_EXPR_SHR;
  if (is_shift)
    return ir_is_integer(a->type) && ir_is_integer(b->type) ? fold_integers(memory, node->kind, a, b) : NULL;
  if (ir_compute_type(a->type) != ir_compute_type(b->type)) return NULL;
  if (a->type == IR_PRED) return fold_predicates(memory, node->kind, a, b);
  if (ir_is_float(a->type)) return fold_floats(memory, node->kind, a, b);
  return ir_is_integer(a->type) ? fold_integers(memory, node->kind, a, b) : NULL;
}
