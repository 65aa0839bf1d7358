#include "passes/prove.h"

static const prove_number unknown = {false, 0};

static prove_number number(int64_t value) { return (prove_number){true, value}; }

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static prove_number eval_binary(ir_expr_kind kind, int64_t a, int64_t b) {
  switch (kind) {
  case IR_EXPR_ADD:
    return number((int64_t)((uint64_t)a + (uint64_t)b));
  case IR_EXPR_SUB:
    return number((int64_t)((uint64_t)a - (uint64_t)b));
  case IR_EXPR_MUL:
    return number((int64_t)((uint64_t)a * (uint64_t)b));
  case IR_EXPR_DIV:
    return b > 0 ? number(floor_div(a, b)) : unknown;
  case IR_EXPR_MOD:
    return b > 0 ? number(a - b * floor_div(a, b)) : unknown;
  case IR_EXPR_CEILDIV:
    return b > 0 ? number(floor_div((int64_t)((uint64_t)a + (uint64_t)b - 1), b)) : unknown;
  case IR_EXPR_MIN:
    return number(a < b ? a : b);
  case IR_EXPR_MAX:
    return number(a > b ? a : b);
  case IR_EXPR_AND:
    return number(a & b);
  case IR_EXPR_OR:
    return number(a | b);
  case IR_EXPR_XOR:
    return number(a ^ b);
  case IR_EXPR_SHL:
    return b >= 0 && b < 63 ? number((int64_t)((uint64_t)a << b)) : unknown;
  case IR_EXPR_SHR:
    return b >= 0 && b < 63 ? number(a >> b) : unknown;
  case IR_EXPR_EQ:
    return number(a == b);
  case IR_EXPR_NE:
    return number(a != b);
  case IR_EXPR_LT:
    return number(a < b);
  case IR_EXPR_LE:
    return number(a <= b);
  case IR_EXPR_GT:
    return number(a > b);
  case IR_EXPR_GE:
    return number(a >= b);
  default:
    return unknown;
  }
}

/* Of a predicate that one side decides. */
static prove_number eval_partly(const ir_expr *e, prove_number a, prove_number b) {
  prove_number one = a.known ? a : b;
  if (e->type != IR_PRED || !one.known) return unknown;
  if (e->kind == IR_EXPR_AND && !one.value) return number(0);
  if (e->kind == IR_EXPR_OR && one.value) return number(1);
  return unknown;
}

prove_number prove_eval(const prove_env *env, const ir_expr *e) {
  switch (e->kind) {
  case IR_EXPR_INT:
  case IR_EXPR_BOOL:
    return number(e->int_value);
  case IR_EXPR_BLOCK:
    return number(env->block);
  case IR_EXPR_BLOCKS:
    return number(env->blocks);
  case IR_EXPR_CTA_RANK:
    return number(env->cta_rank);
  case IR_EXPR_VALUE: {
    int n = e->value->number;
    if (env->value[n].known) return env->value[n];
    return env->definition && env->definition[n] ? prove_eval(env, env->definition[n]) : unknown;
  }
  case IR_EXPR_ELEMENT:
    return e->value->space == IR_GLOBAL && ir_is_integer(e->type) ? env->element : unknown;
  default:
    break;
  }
  if (e->type != IR_PRED && !ir_is_integer(e->type)) return unknown;
  if (e->kind == IR_EXPR_SELECT) {
    prove_number condition = prove_eval(env, e->args[0]);
    return condition.known ? prove_eval(env, e->args[condition.value ? 1 : 2]) : unknown;
  }
  if (e->arg_count == 1) {
    prove_number a = prove_eval(env, e->args[0]);
    if (!a.known) return unknown;
    if (e->kind == IR_EXPR_NEG) return number(-a.value);
    if (e->kind == IR_EXPR_ABS) return number(a.value < 0 ? -a.value : a.value);
    if (e->kind == IR_EXPR_NOT) return number(e->type == IR_PRED ? !a.value : ~a.value);
    if (e->kind == IR_EXPR_CAST && ir_is_integer(e->args[0]->type) && ir_bits(e->type) >= 32) return a;
    return unknown;
  }
  if (e->arg_count != 2) return unknown;
  prove_number a = prove_eval(env, e->args[0]), b = prove_eval(env, e->args[1]);
  return a.known && b.known ? eval_binary(e->kind, a.value, b.value) : eval_partly(e, a, b);
}

bool prove_eval_is(const prove_env *env, const ir_expr *e, int64_t value) {
  prove_number n = prove_eval(env, e);
  return n.known && n.value == value;
}

static bool find_definition(void *data, ir_block *block, ir_op *op) {
  const ir_expr **definition = data;
  (void)block;
  if (op->kind == IR_OP_LET && !op->write[0].value->is_mutable) definition[op->write[0].value->number] = op->expr[0];
  return true;
}

const ir_expr **prove_definitions(arena *memory, ir_kernel *kernel) {
  const ir_expr **definition = ARENA_ARRAY(memory, const ir_expr *, kernel->value_count);
  ir_walk(&kernel->body, find_definition, definition);
  return definition;
}

prove_number prove_trips(const prove_env *env, const ir_expr *lo, const ir_expr *hi, const ir_expr *step) {
  prove_number a = prove_eval(env, lo), b = prove_eval(env, hi), s = prove_eval(env, step);
  if (!a.known || !b.known || !s.known || s.value <= 0) return unknown;
  return number(b.value > a.value ? (b.value - a.value + s.value - 1) / s.value : 0);
}

void prove_least_sizes(const ir_kernel *kernel, prove_env *env) {
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space != IR_SIZE) continue;
    int64_t least = value->multiple_of > 1 ? value->multiple_of : 1;
    env->value[i] = number(value->bound >= 0 ? value->bound : least);
  }
}

bool prove_facts_hold(const ir_kernel *kernel, const prove_env *env) {
  for (int i = 0; i < kernel->fact_count; i++)
    if (prove_eval_is(env, kernel->facts[i].condition, 0)) return false;
  return true;
}

static bool depends_on(const prove_env *env, const ir_expr *e, int size) {
  if (e->kind == IR_EXPR_VALUE) {
    int n = e->value->number;
    return n == size || (env->definition && env->definition[n] && depends_on(env, env->definition[n], size));
  }
  for (int i = 0; i < e->arg_count; i++)
    if (depends_on(env, e->args[i], size)) return true;
  return false;
}

/* Finds the least value of one size that gives `target` iterations, or a few more where the size's divisors skip it;
 * iterations are taken to grow with the size. Where some are asked for, a size of 0 is none that a launch has. */
static bool search(const ir_value *size, prove_env *env, const ir_expr *lo, const ir_expr *hi, const ir_expr *step,
                   int64_t target) {
  int64_t unit = size->multiple_of > 1 ? size->multiple_of : 1, low = target > 0, high = 1 << 16;
  prove_number *at = &env->value[size->number], old = *at;
  while (low < high) {
    int64_t middle = (low + high) / 2;
    *at = number(middle * unit);
    prove_number trips = prove_trips(env, lo, hi, step);
    if (trips.known && trips.value >= target)
      high = middle;
    else
      low = middle + 1;
  }
  *at = number(low * unit);
  prove_number trips = prove_trips(env, lo, hi, step);
  if (trips.known && trips.value >= target && trips.value <= target + 8) return true;
  *at = old;
  return false;
}

bool prove_reach(const ir_kernel *kernel, prove_env *env, bool *fixed, const ir_expr *lo, const ir_expr *hi,
                 const ir_expr *step, int64_t target) {
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space != IR_SIZE || value->bound >= 0 || fixed[i]) continue;
    if (!depends_on(env, lo, i) && !depends_on(env, hi, i)) continue;
    if (search(value, env, lo, hi, step, target)) return fixed[i] = true;
  }
  prove_number trips = prove_trips(env, lo, hi, step);
  return trips.known && trips.value == target;
}
