/* Building and comparing expressions. */
#include "ir/expr.h"

#include "ir/numeric.h"

#include <string.h>

const ir_expr *ir_expr_raw(arena *memory, const ir_expr *node) {
  ir_expr *e = ARENA_NEW(memory, ir_expr);
  *e = *node;
  if (e->arg_count) e->args = arena_copy(memory, node->args, sizeof(const ir_expr *) * (size_t)node->arg_count);
  return e;
}

static const ir_expr *finish(arena *memory, const ir_expr *node) {
  const ir_expr *folded = ir_expr_fold(memory, node);
  return folded ? folded : ir_expr_raw(memory, node);
}

int ir_precedence(ir_expr_kind kind) {
  switch (kind) {
  case IR_EXPR_MUL:
  case IR_EXPR_DIV:
  case IR_EXPR_MOD:
    return 8;
  case IR_EXPR_ADD:
  case IR_EXPR_SUB:
    return 7;
  case IR_EXPR_SHL:
  case IR_EXPR_SHR:
    return 6;
  case IR_EXPR_LT:
  case IR_EXPR_LE:
  case IR_EXPR_GT:
  case IR_EXPR_GE:
    return 5;
  case IR_EXPR_EQ:
  case IR_EXPR_NE:
    return 4;
  case IR_EXPR_AND:
    return 3;
  case IR_EXPR_XOR:
    return 2;
  case IR_EXPR_OR:
    return 1;
  default:
    return 0;
  }
}

ir_type ir_result_type(ir_expr_kind kind, ir_type lane_type, int count, const ir_expr *const *args) {
  switch (ir_expr_info_of(kind)->result) {
  case IR_RESULT_ARG:
    return count ? ir_compute_type(args[0]->type) : IR_TYPE_NONE;
  case IR_RESULT_PRED:
    return IR_PRED;
  case IR_RESULT_OWN:
    break;
  }
  switch (kind) {
  case IR_EXPR_SELECT:
    return count > 1 ? ir_compute_type(args[1]->type) : IR_TYPE_NONE;
  case IR_EXPR_BITCAST:
    return lane_type;
  case IR_EXPR_UNPACK:
    return ir_compute_type(lane_type);
  case IR_EXPR_TID:
  case IR_EXPR_LANE:
  case IR_EXPR_WARP:
  case IR_EXPR_BLOCK:
  case IR_EXPR_BLOCKS:
  case IR_EXPR_CTA_RANK:
    return IR_I32;
  default:
    return IR_U32;
  }
}

const ir_expr *ir_typed_int(arena *memory, ir_type type, int64_t value) {
  if (type == IR_PRED) return ir_bool(memory, value != 0);
  if (ir_is_float(type)) return ir_float_of(memory, type, (double)value);
  ir_expr node = {.kind = IR_EXPR_INT, .type = type, .int_value = ir_wrap(type, value)};
  return ir_expr_raw(memory, &node);
}

const ir_expr *ir_int(arena *memory, int64_t value) { return ir_typed_int(memory, IR_I32, value); }

const ir_expr *ir_float_of(arena *memory, ir_type type, double value) {
  ir_expr node = {.kind = IR_EXPR_FLOAT, .type = type, .float_value = ir_round(type, value)};
  return ir_expr_raw(memory, &node);
}

const ir_expr *ir_float(arena *memory, double value) { return ir_float_of(memory, IR_F32, value); }

const ir_expr *ir_bool(arena *memory, bool value) {
  ir_expr node = {.kind = IR_EXPR_BOOL, .type = IR_PRED, .int_value = value};
  return ir_expr_raw(memory, &node);
}

const ir_expr *ir_read(arena *memory, ir_value *value) {
  if (value->space == IR_SIZE && value->bound >= 0) return ir_int(memory, value->bound);
  ir_expr node = {.kind = IR_EXPR_VALUE, .type = ir_compute_type(value->type), .value = value};
  return ir_expr_raw(memory, &node);
}

const ir_expr *ir_element(arena *memory, ir_value *value, const ir_expr *slot, int count, const ir_expr *const *index) {
  /* A word of a packed register array holds several elements. */
  bool is_word = value->space == IR_REGISTERS && ir_bits(value->type) < 32;
  ir_expr node = {.kind = IR_EXPR_ELEMENT,
                  .type = is_word ? IR_U32 : ir_compute_type(value->type),
                  .value = value,
                  .slot = slot,
                  .arg_count = count,
                  .args = (const ir_expr **)index};
  return ir_expr_raw(memory, &node);
}

static const ir_expr *operation(arena *memory, ir_expr_kind kind, int count, const ir_expr **args) {
  ir_expr node = {.kind = kind, .arg_count = count, .args = args};
  node.type = ir_result_type(kind, IR_TYPE_NONE, count, args);
  return finish(memory, &node);
}

const ir_expr *ir_unary(arena *memory, ir_expr_kind kind, const ir_expr *a) {
  return operation(memory, kind, 1, (const ir_expr *[]){a});
}

/* An i32 literal beside another integer type takes that type. */
static const ir_expr *adopt(arena *memory, const ir_expr *literal, const ir_expr *other) {
  ir_type type = ir_compute_type(other->type);
  if (literal->kind != IR_EXPR_INT || literal->type != IR_I32 || !ir_is_integer(type) || type == IR_I32) return literal;
  return ir_typed_int(memory, type, literal->int_value);
}

const ir_expr *ir_binary(arena *memory, ir_expr_kind kind, const ir_expr *a, const ir_expr *b) {
  bool takes_type = ir_precedence(kind) || kind == IR_EXPR_MIN || kind == IR_EXPR_MAX || kind == IR_EXPR_CEILDIV;
  if (takes_type && kind != IR_EXPR_SHL && kind != IR_EXPR_SHR) {
    const ir_expr *given = a;
    a = adopt(memory, a, b);
    b = adopt(memory, b, given);
  }
  return operation(memory, kind, 2, (const ir_expr *[]){a, b});
}

const ir_expr *ir_ternary(arena *memory, ir_expr_kind kind, const ir_expr *a, const ir_expr *b, const ir_expr *c) {
  if (kind == IR_EXPR_SELECT) {
    const ir_expr *given = b;
    b = adopt(memory, b, c);
    c = adopt(memory, c, given);
  }
  return operation(memory, kind, 3, (const ir_expr *[]){a, b, c});
}

const ir_expr *ir_cast(arena *memory, ir_type type, const ir_expr *a) {
  const ir_expr *args[] = {a};
  ir_expr node = {.kind = IR_EXPR_CAST, .type = type, .arg_count = 1, .args = args};
  return finish(memory, &node);
}

const ir_expr *ir_typed(arena *memory, ir_expr_kind kind, ir_type lane_type, ir_type type, int count,
                        const ir_expr *const *args) {
  ir_expr node = {.kind = kind, .lane_type = lane_type, .arg_count = count, .args = (const ir_expr **)args};
  if (ir_expr_info_of(kind)->style == IR_STYLE_TYPED && lane_type == IR_TYPE_NONE) node.lane_type = type;
  node.type = ir_result_type(kind, node.lane_type, count, args);
  return finish(memory, &node);
}

const ir_expr *ir_leaf(arena *memory, ir_expr_kind kind, ir_type type) {
  ir_expr node = {.kind = kind, .type = type};
  return ir_expr_raw(memory, &node);
}

const ir_expr *ir_address(arena *memory, ir_value *buffer, const ir_expr *slot) {
  const ir_expr *args[] = {ir_element(memory, buffer, slot, 0, NULL)};
  ir_expr node = {.kind = IR_EXPR_ADDRESS, .type = IR_U32, .arg_count = 1, .args = args};
  return ir_expr_raw(memory, &node);
}

bool ir_is_constant(const ir_expr *e, int64_t *value) {
  if (!e || (e->kind != IR_EXPR_INT && e->kind != IR_EXPR_BOOL)) return false;
  *value = e->int_value;
  return true;
}

bool ir_is_zero(const ir_expr *e) {
  return (e->kind == IR_EXPR_FLOAT && e->float_value == 0) || (e->kind == IR_EXPR_INT && e->int_value == 0);
}

bool ir_expr_equal(const ir_expr *a, const ir_expr *b) {
  if (a == b) return true;
  if (!a || !b || a->kind != b->kind || a->type != b->type || a->lane_type != b->lane_type || a->value != b->value ||
      a->int_value != b->int_value || a->arg_count != b->arg_count)
    return false;
  /* By bits: -0.0 is not 0.0, and a NaN is itself. */
  if (memcmp(&a->float_value, &b->float_value, sizeof a->float_value) != 0) return false;
  if (!ir_expr_equal(a->slot, b->slot)) return false;
  for (int i = 0; i < a->arg_count; i++)
    if (!ir_expr_equal(a->args[i], b->args[i])) return false;
  return true;
}

/* The operator of `e` over other arguments, folded. */
static const ir_expr *rebuild(arena *memory, const ir_expr *e, const ir_expr **args) {
  switch (e->kind) {
  case IR_EXPR_ELEMENT:
  case IR_EXPR_ADDRESS:
    BUG("%s is not rebuilt from arguments", ir_expr_info_of(e->kind)->text);
  case IR_EXPR_CAST:
    return ir_cast(memory, e->type, args[0]);
  default:
    break;
  }
  if (ir_expr_info_of(e->kind)->style == IR_STYLE_TYPED)
    return ir_typed(memory, e->kind, e->lane_type, e->type, e->arg_count, args);
  if (e->arg_count == 2) return ir_binary(memory, e->kind, args[0], args[1]);
  return operation(memory, e->kind, e->arg_count, args);
}

enum { FEW_ARGS = 8 };

const ir_expr *ir_substitute(arena *memory, const ir_expr *e, const ir_expr *const *replace, int count) {
  if (!e) return NULL;
  if (e->kind == IR_EXPR_VALUE) {
    int number = e->value->number;
    return number < count && replace[number] ? replace[number] : e;
  }
  const ir_expr *slot = ir_substitute(memory, e->slot, replace, count);
  const ir_expr *few[FEW_ARGS];
  const ir_expr **args = e->arg_count <= FEW_ARGS ? few : ARENA_ARRAY(memory, const ir_expr *, e->arg_count);
  bool changed = slot != e->slot;
  for (int i = 0; i < e->arg_count; i++) {
    args[i] = ir_substitute(memory, e->args[i], replace, count);
    changed |= args[i] != e->args[i];
  }
  if (!changed) return e;
  if (e->kind == IR_EXPR_ELEMENT) return ir_element(memory, e->value, slot, e->arg_count, args);
  if (e->kind == IR_EXPR_ADDRESS) return ir_address(memory, args[0]->value, args[0]->slot);
  return rebuild(memory, e, args);
}
