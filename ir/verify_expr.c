/* The rules of expressions: what they may read, in which form, and the types of their arguments. */
#include "ir/expr.h"
#include "ir/verify.h"

static const char *type_name(const ir_expr *e) { return ir_type_of(e->type)->name; }

static bool is_number(ir_type type) { return ir_is_integer(type) || ir_is_float(type); }

int64_t verify_register_count(const ir_value *value) {
  enum { WORD_BITS = 32 };
  int64_t elements = ir_element_count(value);
  int bits = ir_bits(value->type);
  return bits < WORD_BITS ? (elements * bits + WORD_BITS - 1) / WORD_BITS : elements;
}

static bool check_slot(verifier *v, const ir_value *value, const ir_expr *slot) {
  if (!slot) return true;
  if (!verify_integer(v, slot, "a slot")) return false;
  int64_t number;
  if (ir_is_constant(slot, &number) && (number < 0 || number >= value->slots))
    return verify_fail(v, "%%%s has %d slots, there is no slot %lld", value->name, value->slots, (long long)number);
  return true;
}

static bool check_value(verifier *v, const ir_value *value) {
  if (value->space != IR_SCALAR && value->space != IR_INDEX && value->space != IR_SIZE)
    return verify_fail(v, "%%%s is %s, not a scalar: its elements are read with an index", value->name,
                       ir_space_name(value->space));
  return v->defined[value->number] || verify_fail(v, "%%%s is used where it is not defined", value->name);
}

static bool check_index(verifier *v, const ir_value *value, const ir_expr *index, const ir_expr *extent) {
  if (!verify_integer(v, index, "an index")) return false;
  int64_t at, limit;
  if (!ir_is_constant(index, &at)) return true;
  bool is_bounded = value->space == IR_REGISTERS || ir_is_constant(extent, &limit);
  if (value->space == IR_REGISTERS) limit = verify_register_count(value);
  if (is_bounded && (at < 0 || at >= limit))
    return verify_fail(v, "index %lld of %%%s is not in 0 .. %lld", (long long)at, value->name, (long long)limit);
  return true;
}

static bool check_element(verifier *v, const ir_expr *e) {
  const ir_value *value = e->value;
  bool is_array =
      value->space == IR_GLOBAL || value->space == IR_SHARED || value->space == IR_TILE || value->space == IR_REGISTERS;
  if (!is_array) return verify_fail(v, "%%%s is a %s and has no elements", value->name, ir_space_name(value->space));
  if (value->space == IR_TILE && v->forms == IR_FORMS_THREAD)
    return verify_fail(v, "%%%s is a tile; the thread form has none", value->name);
  if (!v->defined[value->number]) return verify_fail(v, "%%%s is used where it is not defined", value->name);
  int count = value->space == IR_REGISTERS ? 1 : value->rank;
  if (e->arg_count != count) return verify_fail(v, "%%%s takes %d indices, not %d", value->name, count, e->arg_count);
  for (int i = 0; i < count; i++)
    if (!check_index(v, value, e->args[i], value->extent[i])) return false;
  return check_slot(v, value, e->slot);
}

static bool check_address(verifier *v, const ir_expr *e) {
  const ir_expr *buffer = e->args[0];
  if (buffer->kind != IR_EXPR_ELEMENT || buffer->arg_count || buffer->value->space != IR_SHARED)
    return verify_fail(v, "address takes a shared buffer");
  return check_slot(v, buffer->value, buffer->slot);
}

static bool check_compute_types(verifier *v, const ir_expr *e, int first, int last) {
  ir_type type = ir_compute_type(e->args[first]->type);
  for (int i = first + 1; i <= last; i++)
    if (ir_compute_type(e->args[i]->type) != type)
      return verify_fail(v, "the operands of '%s' are %s and %s; they must be of one type",
                         ir_expr_info_of(e->kind)->text, type_name(e->args[first]), type_name(e->args[i]));
  return true;
}

static bool bad_operand(verifier *v, const ir_expr *e, int i, const char *needed) {
  return verify_fail(v, "'%s' takes %s, not %s", ir_expr_info_of(e->kind)->text, needed, type_name(e->args[i]));
}

static bool check_word(verifier *v, const ir_expr *e, int i) {
  ir_type type = e->args[i]->type;
  return (ir_is_integer(type) && ir_bits(type) == 32) || bad_operand(v, e, i, "32-bit words");
}

static bool check_words(verifier *v, const ir_expr *e, int count) {
  for (int i = 0; i < count; i++)
    if (!check_word(v, e, i)) return false;
  return true;
}

static bool check_lanes(verifier *v, const ir_expr *e) {
  int bits = ir_bits(e->lane_type);
  int64_t at;
  switch (e->kind) {
  case IR_EXPR_BITCAST:
    return ir_bits(ir_compute_type(e->args[0]->type)) == bits || bad_operand(v, e, 0, "a type of equal width");
  case IR_EXPR_PACK:
    for (int i = 0; i < e->arg_count; i++)
      if (!is_number(e->args[i]->type)) return bad_operand(v, e, i, "numbers");
    return (bits > 0 && e->arg_count > 0 && e->arg_count * bits <= 32) ||
           verify_fail(v, "pack of %d elements of %d bits is not one word", e->arg_count, bits);
  case IR_EXPR_UNPACK:
    if (!check_word(v, e, 0)) return false;
    return (ir_is_constant(e->args[1], &at) && bits > 0 && at >= 0 && (at + 1) * bits <= 32) ||
           verify_fail(v, "unpack takes the constant number of an element of the word");
  default:
    return check_words(v, e, e->arg_count);
  }
}

static bool check_infix(verifier *v, const ir_expr *e) {
  ir_type type = e->args[0]->type;
  switch (e->kind) {
  case IR_EXPR_SHL:
  case IR_EXPR_SHR:
    if (!ir_is_integer(type)) return bad_operand(v, e, 0, "integers");
    return ir_is_integer(e->args[1]->type) || bad_operand(v, e, 1, "integers");
  case IR_EXPR_MOD:
  case IR_EXPR_CEILDIV:
    if (!ir_is_integer(type)) return bad_operand(v, e, 0, "integers");
    break;
  case IR_EXPR_AND:
  case IR_EXPR_OR:
  case IR_EXPR_XOR:
    if (!ir_is_integer(type) && type != IR_PRED) return bad_operand(v, e, 0, "integers or predicates");
    break;
  case IR_EXPR_EQ:
  case IR_EXPR_NE:
    break;
  default:
    if (!is_number(type)) return bad_operand(v, e, 0, "numbers");
  }
  return check_compute_types(v, e, 0, 1);
}

static bool check_call(verifier *v, const ir_expr *e) {
  ir_type type = e->arg_count ? e->args[0]->type : IR_TYPE_NONE;
  int64_t table;
  switch (e->kind) {
  case IR_EXPR_MIN:
  case IR_EXPR_MAX:
  case IR_EXPR_CEILDIV:
    return check_infix(v, e);
  case IR_EXPR_NEG:
  case IR_EXPR_ABS:
    return is_number(type) || bad_operand(v, e, 0, "numbers");
  case IR_EXPR_NOT:
    return ir_is_integer(type) || type == IR_PRED || bad_operand(v, e, 0, "integers or predicates");
  case IR_EXPR_SELECT:
    if (type != IR_PRED) return bad_operand(v, e, 0, "a predicate first");
    return check_compute_types(v, e, 1, 2);
  case IR_EXPR_FMA:
    if (!is_number(type)) return bad_operand(v, e, 0, "numbers");
    return check_compute_types(v, e, 0, 2);
  case IR_EXPR_LOP3:
    if (!check_words(v, e, 3)) return false;
    return (ir_is_constant(e->args[3], &table) && table >= 0 && table <= UINT8_MAX) ||
           verify_fail(v, "the table of lop3 is a constant of 8 bits");
  case IR_EXPR_PRMT:
    return check_words(v, e, 3);
  case IR_EXPR_BOTH_HALVES:
    if (!check_words(v, e, 1)) return false;
    return (ir_is_constant(e->args[1], &table) && table >> 1 == 0) ||
           verify_fail(v, "the half of both_halves is 0 or 1");
  case IR_EXPR_MOVE:
    return check_words(v, e, 1);
  case IR_EXPR_SHUFFLE_XOR:
  case IR_EXPR_SHUFFLE:
  case IR_EXPR_SHUFFLE_UP:
    return ir_is_integer(e->args[1]->type) || bad_operand(v, e, 1, "an integer lane");
  case IR_EXPR_VOTE_ANY:
  case IR_EXPR_VOTE_ALL:
    return type == IR_PRED || bad_operand(v, e, 0, "a predicate");
  default:
    return e->arg_count == 0 || ir_is_float(type) || bad_operand(v, e, 0, "floats");
  }
}

/* Of one thread, so without meaning where ops are block-wide. The index of the block is not. */
static bool is_thread_only(ir_expr_kind kind) {
  return kind >= IR_EXPR_TID && kind != IR_EXPR_BLOCK && kind != IR_EXPR_BLOCKS && kind != IR_EXPR_CTA_RANK;
}

bool verify_expr(verifier *v, const ir_expr *e) {
  const ir_expr_info *info = ir_expr_info_of(e->kind);
  if (is_thread_only(e->kind) && v->forms == IR_FORMS_TILE)
    return verify_fail(v, "'%s' is what one thread sees; the %s form is block-wide", info->text,
                       ir_form_name(v->kernel->form));
  if (e->kind == IR_EXPR_VALUE) return check_value(v, e->value);
  if (e->kind == IR_EXPR_ELEMENT) return check_element(v, e);
  if (info->arity >= 0 && e->arg_count != info->arity)
    return verify_fail(v, "'%s' takes %d arguments, not %d", info->text, info->arity, e->arg_count);
  if (e->kind == IR_EXPR_ADDRESS) return check_address(v, e);
  for (int i = 0; i < e->arg_count; i++)
    if (!verify_expr(v, e->args[i])) return false;
  if (info->style == IR_STYLE_LEAF) return true;
  bool ok = info->style == IR_STYLE_TYPED   ? check_lanes(v, e)
            : info->style == IR_STYLE_INFIX ? check_infix(v, e)
                                            : check_call(v, e);
  ir_type expected = ir_result_type(e->kind, e->lane_type, e->arg_count, e->args);
  if (ok && e->type != expected)
    return verify_fail(v, "'%s' is of type %s here, but it gives %s", info->text, type_name(e),
                       ir_type_of(expected)->name);
  return ok;
}

bool verify_integer(verifier *v, const ir_expr *e, const char *what) {
  if (!verify_expr(v, e)) return false;
  return ir_is_integer(e->type) || verify_fail(v, "%s is an integer, not %s", what, type_name(e));
}

bool verify_predicate(verifier *v, const ir_expr *e, const char *what) {
  if (!verify_expr(v, e)) return false;
  return e->type == IR_PRED || verify_fail(v, "%s is a predicate, not %s", what, type_name(e));
}
