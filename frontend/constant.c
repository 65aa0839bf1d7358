/* Arithmetic on compile-time constants: 64-bit integers that may not overflow, doubles, bools. */
#include "frontend/lower.h"

#include <math.h>

static bool overflow(lower *l, src_loc loc) {
  return diag_error(l->d, DIAG_OVERFLOW, loc, "this constant does not fit 64 bits");
}

/* Division towards minus infinity, as at run time. */
static int64_t floor_divide(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return quotient - (a % b != 0 && (a < 0) != (b < 0));
}

static bool divide(lower *l, ir_expr_kind op, src_loc loc, int64_t a, int64_t b, int64_t *out) {
  if (b == 0) return diag_error(l->d, DIAG_DIVISION, loc, "division of %lld by zero", (long long)a);
  if (a == INT64_MIN && b == -1) return overflow(l, loc);
  int64_t quotient = floor_divide(a, b);
  if (op == IR_EXPR_DIV) *out = quotient;
  if (op == IR_EXPR_MOD) *out = a - b * quotient;
  if (op == IR_EXPR_CEILDIV) {
    if (b < 0) return diag_error(l->d, DIAG_DIVISION, loc, "ceildiv by the negative %lld", (long long)b);
    *out = quotient + (a - b * quotient != 0);
  }
  return true;
}

static bool shift(lower *l, ir_expr_kind op, src_loc loc, int64_t a, int64_t b, int64_t *out) {
  if (b < 0 || b > 62) return diag_error(l->d, DIAG_OVERFLOW, loc, "shift by %lld", (long long)b);
  if (op == IR_EXPR_SHR) {
    *out = floor_divide(a, (int64_t)1 << b);
    return true;
  }
  return !__builtin_mul_overflow(a, (int64_t)1 << b, out) || overflow(l, loc);
}

static bool fold_ints(lower *l, ir_expr_kind op, src_loc loc, int64_t a, int64_t b, int64_t *out) {
  switch (op) {
  case IR_EXPR_ADD:
    return !__builtin_add_overflow(a, b, out) || overflow(l, loc);
  case IR_EXPR_SUB:
    return !__builtin_sub_overflow(a, b, out) || overflow(l, loc);
  case IR_EXPR_MUL:
    return !__builtin_mul_overflow(a, b, out) || overflow(l, loc);
  case IR_EXPR_DIV:
  case IR_EXPR_MOD:
  case IR_EXPR_CEILDIV:
    return divide(l, op, loc, a, b, out);
  case IR_EXPR_SHL:
  case IR_EXPR_SHR:
    return shift(l, op, loc, a, b, out);
  case IR_EXPR_MIN:
    *out = a < b ? a : b;
    return true;
  case IR_EXPR_MAX:
    *out = a > b ? a : b;
    return true;
  case IR_EXPR_AND:
    *out = a & b;
    return true;
  case IR_EXPR_OR:
    *out = a | b;
    return true;
  case IR_EXPR_XOR:
    *out = a ^ b;
    return true;
  case IR_EXPR_NOT:
    *out = ~a;
    return true;
  case IR_EXPR_NEG:
    return !__builtin_sub_overflow((int64_t)0, a, out) || overflow(l, loc);
  case IR_EXPR_ABS:
    *out = a;
    return a >= 0 || !__builtin_sub_overflow((int64_t)0, a, out) || overflow(l, loc);
  default:
    BUG("no constant arithmetic for integer '%s'", ir_expr_info_of(op)->text);
  }
}

static double fold_floats(ir_expr_kind op, double a, double b, double c) {
  switch (op) {
  case IR_EXPR_ADD:
    return a + b;
  case IR_EXPR_SUB:
    return a - b;
  case IR_EXPR_MUL:
    return a * b;
  case IR_EXPR_DIV:
    return a / b;
  case IR_EXPR_MIN:
    return fmin(a, b);
  case IR_EXPR_MAX:
    return fmax(a, b);
  case IR_EXPR_NEG:
    return -a;
  case IR_EXPR_FMA:
    return fma(a, b, c);
  case IR_EXPR_EXP2:
    return exp2(a);
  case IR_EXPR_LOG2:
    return log2(a);
  case IR_EXPR_EXP:
    return exp(a);
  case IR_EXPR_LOG:
    return log(a);
  case IR_EXPR_SQRT:
    return sqrt(a);
  case IR_EXPR_RSQRT:
    return 1 / sqrt(a);
  case IR_EXPR_RCP:
    return 1 / a;
  case IR_EXPR_TANH:
    return tanh(a);
  case IR_EXPR_ERF:
    return erf(a);
  case IR_EXPR_SIN:
    return sin(a);
  case IR_EXPR_COS:
    return cos(a);
  case IR_EXPR_ABS:
    return fabs(a);
  case IR_EXPR_FLOOR:
    return floor(a);
  case IR_EXPR_CEIL:
    return ceil(a);
  case IR_EXPR_ROUND:
    return nearbyint(a);
  default:
    BUG("no constant arithmetic for float '%s'", ir_expr_info_of(op)->text);
  }
}

/* sign of a - b; both integers or both floats. 2 when unordered. */
static int compare(const operand *a, const operand *b) {
  if (a->type == IR_F32) {
    if (isnan(a->float_value) || isnan(b->float_value)) return 2;
    return (a->float_value > b->float_value) - (a->float_value < b->float_value);
  }
  return (a->int_value > b->int_value) - (a->int_value < b->int_value);
}

bool constant_fold(lower *l, ir_expr_kind op, src_loc loc, const operand *args, int count, operand *out) {
  const operand *a = &args[0], *b = count > 1 ? &args[1] : a, *c = count > 2 ? &args[2] : a;
  int order = op == IR_EXPR_SELECT ? 0 : compare(a, b);
  switch (op) {
  case IR_EXPR_EQ:
    *out = operand_bool(loc, order == 0);
    return true;
  case IR_EXPR_NE:
    *out = operand_bool(loc, order != 0);
    return true;
  case IR_EXPR_LT:
    *out = operand_bool(loc, order == -1);
    return true;
  case IR_EXPR_LE:
    *out = operand_bool(loc, order == -1 || order == 0);
    return true;
  case IR_EXPR_GT:
    *out = operand_bool(loc, order == 1);
    return true;
  case IR_EXPR_GE:
    *out = operand_bool(loc, order == 0 || order == 1);
    return true;
  case IR_EXPR_SELECT:
    *out = a->int_value ? *b : *c;
    out->loc = loc;
    return true;
  default:
    break;
  }
  if (a->type == IR_F32) {
    *out = operand_float(loc, fold_floats(op, a->float_value, b->float_value, c->float_value));
    return true;
  }
  int64_t value = 0;
  if (a->type == IR_PRED) {
    if (op == IR_EXPR_NOT)
      value = !a->int_value;
    else if (!fold_ints(l, op, loc, a->int_value, b->int_value, &value))
      return false;
    *out = operand_bool(loc, value != 0);
    return true;
  }
  if (!fold_ints(l, op, loc, a->int_value, b->int_value, &value)) return false;
  *out = operand_int(loc, value);
  return true;
}
