/* What is known about the values of an integer expression without running it: divisors and bounds. */
#include "ir/expr.h"
#include "ir/numeric.h"

static int64_t greatest_common_divisor(int64_t a, int64_t b) {
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* Divisors beyond this say nothing that anybody asks, and their products would overflow. */
enum { LARGEST_DIVISOR = 1 << 30 };

static int64_t magnitude(int64_t c) { return c < 0 ? (c == INT64_MIN ? 1 : -c) : c; }

static int64_t divisor_product(int64_t a, int64_t b) {
  if (a == 0 || b == 0) return 0;
  if (a > LARGEST_DIVISOR) a = a & -a; /* any power of two that divides a divides the product */
  if (b > LARGEST_DIVISOR) b = b & -b;
  int64_t product;
  return a > LARGEST_DIVISOR || b > LARGEST_DIVISOR || __builtin_mul_overflow(a, b, &product) ? 1 : product;
}

int64_t ir_known_divisor(const ir_expr *e) {
  switch (e->kind) {
  case IR_EXPR_INT:
    return magnitude(e->int_value);
  case IR_EXPR_VALUE:
    if (e->value->space != IR_SIZE) return 1;
    if (e->value->bound >= 0) return e->value->bound;
    return e->value->multiple_of > 0 ? e->value->multiple_of : 1;
  case IR_EXPR_ADD:
  case IR_EXPR_SUB:
  case IR_EXPR_MIN:
  case IR_EXPR_MAX:
  case IR_EXPR_MOD:
    return greatest_common_divisor(ir_known_divisor(e->args[0]), ir_known_divisor(e->args[1]));
  case IR_EXPR_SELECT:
    return greatest_common_divisor(ir_known_divisor(e->args[1]), ir_known_divisor(e->args[2]));
  case IR_EXPR_MUL:
    return divisor_product(ir_known_divisor(e->args[0]), ir_known_divisor(e->args[1]));
  case IR_EXPR_NEG:
    return ir_known_divisor(e->args[0]);
  case IR_EXPR_CAST:
    return ir_is_integer(e->type) && ir_is_integer(e->args[0]->type) && ir_bits(e->type) >= ir_bits(e->args[0]->type)
               ? ir_known_divisor(e->args[0])
               : 1;
  case IR_EXPR_DIV: {
    int64_t c, divisor = ir_known_divisor(e->args[0]);
    if (!ir_is_constant(e->args[1], &c) || c <= 0) return 1;
    return divisor % c == 0 ? divisor / c : 1;
  }
  case IR_EXPR_SHL: {
    int64_t c;
    if (!ir_is_constant(e->args[1], &c) || c < 0 || c > 30) return 1;
    return divisor_product(ir_known_divisor(e->args[0]), 1ll << c);
  }
  case IR_EXPR_AND: {
    int64_t c;
    if (!ir_is_constant(e->args[1], &c)) return 1;
    return c == 0 ? 0 : c == INT64_MIN ? 1 : c & -c;
  }
  default:
    return 1;
  }
}

/* -- Bounds -- */

static bool known(ir_range *out, int64_t lo, int64_t hi) {
  *out = (ir_range){lo, hi};
  return true;
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static bool product_range(ir_range a, ir_range b, ir_range *out) {
  int64_t corner[4];
  if (__builtin_mul_overflow(a.lo, b.lo, &corner[0]) || __builtin_mul_overflow(a.lo, b.hi, &corner[1]) ||
      __builtin_mul_overflow(a.hi, b.lo, &corner[2]) || __builtin_mul_overflow(a.hi, b.hi, &corner[3]))
    return false;
  *out = (ir_range){corner[0], corner[0]};
  for (int i = 1; i < 4; i++)
    *out = (ir_range){smaller(out->lo, corner[i]), larger(out->hi, corner[i])};
  return true;
}

static bool value_range(const ir_value *value, const ir_bounds *b, ir_range *out) {
  if (value->number < b->count && b->of[value->number].lo <= b->of[value->number].hi) {
    *out = b->of[value->number];
    return true;
  }
  if (value->space != IR_SIZE) return false;
  return value->bound >= 0 ? known(out, value->bound, value->bound) : known(out, 0, INT32_MAX);
}

/* Operators of two integers whose ranges are known. */
static bool binary_range(ir_expr_kind kind, ir_range a, ir_range b, ir_range *out) {
  switch (kind) {
  case IR_EXPR_ADD:
    return !__builtin_add_overflow(a.lo, b.lo, &out->lo) && !__builtin_add_overflow(a.hi, b.hi, &out->hi);
  case IR_EXPR_SUB:
    return !__builtin_sub_overflow(a.lo, b.hi, &out->lo) && !__builtin_sub_overflow(a.hi, b.lo, &out->hi);
  case IR_EXPR_MUL:
    return product_range(a, b, out);
  case IR_EXPR_DIV:
    if (b.lo <= 0) return false;
    return known(out, smaller(floor_divide(a.lo, b.lo), floor_divide(a.lo, b.hi)),
                 larger(floor_divide(a.hi, b.lo), floor_divide(a.hi, b.hi)));
  case IR_EXPR_CEILDIV:
    if (b.lo <= 0 || a.lo < 0 || a.hi > INT64_MAX - b.hi) return false;
    return known(out, (a.lo + b.hi - 1) / b.hi, (a.hi + b.lo - 1) / b.lo);
  case IR_EXPR_MOD:
    if (b.lo <= 0) return false;
    if (a.lo >= 0 && a.hi < b.lo) return known(out, a.lo, a.hi);
    return known(out, 0, a.lo >= 0 ? smaller(a.hi, b.hi - 1) : b.hi - 1);
  case IR_EXPR_MIN:
    return known(out, smaller(a.lo, b.lo), smaller(a.hi, b.hi));
  case IR_EXPR_MAX:
    return known(out, larger(a.lo, b.lo), larger(a.hi, b.hi));
  case IR_EXPR_AND:
    if (b.lo < 0 && a.lo < 0) return false;
    return known(out, 0, b.lo < 0 ? a.hi : a.lo < 0 ? b.hi : smaller(a.hi, b.hi));
  case IR_EXPR_SHL:
    if (b.lo != b.hi || b.lo < 0 || b.lo > 62) return false;
    return product_range(a, (ir_range){1ll << b.lo, 1ll << b.lo}, out);
  case IR_EXPR_SHR:
    if (b.lo != b.hi || b.lo < 0 || b.lo > 62) return false;
    return known(out, floor_divide(a.lo, 1ll << b.lo), floor_divide(a.hi, 1ll << b.lo));
  default:
    return false;
  }
}

/* Whether the type can hold every value of the range; a result that may wrap is unknown. */
static bool fits(ir_type type, ir_range r) {
  if (type == IR_U64) return r.lo >= 0;
  return ir_wrap(type, r.lo) == r.lo && ir_wrap(type, r.hi) == r.hi;
}

static bool leaf_range(const ir_expr *e, const ir_bounds *b, ir_range *out) {
  enum { BLOCK_THREADS = 1024, WARP_LANES = 32, CLUSTER_BLOCKS = 16 };
  int64_t threads = b->threads ? b->threads : BLOCK_THREADS, blocks = b->blocks ? b->blocks : INT32_MAX;
  switch (e->kind) {
  case IR_EXPR_INT:
    return known(out, e->int_value, e->int_value) && !(e->type == IR_U64 && e->int_value < 0);
  case IR_EXPR_VALUE:
    return value_range(e->value, b, out);
  case IR_EXPR_TID:
    return known(out, 0, threads - 1);
  case IR_EXPR_LANE:
    return known(out, 0, WARP_LANES - 1);
  case IR_EXPR_WARP:
    return known(out, 0, (threads - 1) / WARP_LANES);
  case IR_EXPR_CTA_RANK:
    return known(out, 0, CLUSTER_BLOCKS - 1);
  case IR_EXPR_BLOCK:
    return known(out, 0, blocks - 1);
  case IR_EXPR_BLOCKS:
    return known(out, 1, INT32_MAX);
  default:
    return false;
  }
}

/* Operators that bound their result by the second operand alone, however wide the first. */
static bool is_masking(ir_expr_kind kind) { return kind == IR_EXPR_MOD || kind == IR_EXPR_AND; }

bool ir_expr_bounds(const ir_expr *e, const ir_bounds *bounds, ir_range *out) {
  if (!ir_is_integer(e->type)) return false;
  if (leaf_range(e, bounds, out)) return true;
  ir_range a, b;
  switch (e->kind) {
  case IR_EXPR_NEG:
    if (!ir_expr_bounds(e->args[0], bounds, &a) || a.lo == INT64_MIN) return false;
    *out = (ir_range){-a.hi, -a.lo};
    return fits(e->type, *out);
  case IR_EXPR_CAST:
  case IR_EXPR_ABS:
    if (!ir_expr_bounds(e->args[0], bounds, out)) return false;
    return fits(e->type, *out) && (e->kind == IR_EXPR_CAST || out->lo >= 0);
  case IR_EXPR_SELECT:
    if (!ir_expr_bounds(e->args[1], bounds, &a) || !ir_expr_bounds(e->args[2], bounds, &b)) return false;
    return known(out, smaller(a.lo, b.lo), larger(a.hi, b.hi));
  default:
    break;
  }
  if (e->arg_count != 2) return false;
  bool has_a = ir_expr_bounds(e->args[0], bounds, &a), has_b = ir_expr_bounds(e->args[1], bounds, &b);
  if (has_b && !has_a && b.lo == b.hi && b.lo > 0 && is_masking(e->kind))
    return known(out, 0, e->kind == IR_EXPR_MOD ? b.hi - 1 : b.hi);
  return has_a && has_b && binary_range(e->kind, a, b, out) && fits(e->type, *out);
}

bool ir_expr_range(const ir_expr *e, const ir_range *ranges, int count, ir_range *out) {
  const ir_bounds bounds = {.of = ranges, .count = count};
  return ir_expr_bounds(e, &bounds, out);
}
