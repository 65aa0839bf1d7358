/* The shape and type rules of ops over whole tiles. */
#include "ir/verify.h"

#include <inttypes.h>

typedef struct shape {
  bool is_known; /* every extent is a constant */
  int rank;
  int64_t extent[IR_MAX_RANK];
} shape;

/* The tile that a reference stands for: the spanned dimensions of a region, or the whole value. */
static shape shape_of(const ir_ref *ref) {
  shape s = {.is_known = true};
  const ir_value *value = ref->value;
  if (ref->count) {
    for (int i = 0; i < ref->count; i++)
      if (ref->span[i]) s.extent[s.rank++] = ref->span[i];
    return s;
  }
  for (int i = 0; i < value->rank; i++)
    if (!ir_is_constant(value->extent[i], &s.extent[s.rank++])) s.is_known = false;
  return s;
}

/* "%As is f16[128, 64]" */
static void describe(const ir_ref *ref, str *out) {
  shape s = shape_of(ref);
  str_printf(out, "%%%s is %s[", ref->value->name, ir_type_of(ref->value->type)->name);
  for (int i = 0; i < s.rank; i++) {
    int64_t extent;
    if (i) str_append(out, ", ");
    if (!ref->count && !ir_is_constant(ref->value->extent[i], &extent))
      ir_print_expr(ref->value->extent[i], out);
    else
      str_printf(out, "%" PRId64, s.extent[i]);
  }
  str_append_char(out, ']');
}

static bool fail_pair(verifier *v, const char *rule, const ir_ref *a, const ir_ref *b) {
  str text = STR_EMPTY;
  describe(a, &text);
  str_append(&text, ", ");
  describe(b, &text);
  verify_fail(v, "%s: %s", rule, str_text(&text));
  str_free(&text);
  return false;
}

/* Dimensions of extent 1 hold no elements of their own: [128, 1] is [128]. */
static shape squeezed(shape s) {
  shape out = {.is_known = s.is_known};
  for (int i = 0; i < s.rank; i++)
    if (s.extent[i] != 1) out.extent[out.rank++] = s.extent[i];
  return out;
}

static bool equal(shape a, shape b) {
  if (!a.is_known || !b.is_known) return true;
  if (a.rank != b.rank) return false;
  for (int i = 0; i < a.rank; i++)
    if (a.extent[i] != b.extent[i]) return false;
  return true;
}

static bool is_pred(const ir_ref *ref) { return ref->value->type == IR_PRED; }

static bool check_copy(verifier *v, const ir_op *op) {
  const ir_ref *to = &op->write[0], *from = &op->read[0];
  if (!equal(squeezed(shape_of(to)), squeezed(shape_of(from))))
    return fail_pair(v, "'copy' needs the same extents on both sides", to, from);
  return is_pred(to) == is_pred(from) || fail_pair(v, "'copy' does not convert predicates", to, from);
}

static bool is_operand_type(ir_type type) {
  return type == IR_F16 || type == IR_BF16 || type == IR_F8E4M3 || type == IR_F8E5M2 || type == IR_I8 ||
         type == IR_U8 || type == IR_F32 || type == IR_TF32;
}

/* Sums that are begun anew are whole instructions; their columns share out those of the dot. */
static bool check_promotion(verifier *v, const ir_op *op, int64_t columns) {
  int64_t promote = ir_attr_get(&op->attrs, IR_ATTR_PROMOTE, 0),
          part = ir_attr_get(&op->attrs, IR_ATTR_PART_COLUMNS, columns);
  if (promote < 0 || promote % IR_PROMOTE_UNIT)
    return verify_fail(v, "'dot' promotes sums of a multiple of %d k, not %" PRId64, IR_PROMOTE_UNIT, promote);
  return (part > 0 && columns % part == 0) ||
         verify_fail(v, "'dot' has %" PRId64 " columns, no multiple of the %" PRId64 " of a part", columns, part);
}

static bool check_dot(verifier *v, const ir_op *op) {
  const ir_ref *acc = &op->write[0], *a = &op->read[0], *b = &op->read[1];
  ir_type ta = a->value->type, tb = b->value->type;
  bool is_mixable = ir_bits(ta) == 8 && ir_bits(tb) == 8 && ir_is_float(ta) == ir_is_float(tb);
  if (!is_operand_type(ta) || !is_operand_type(tb) || (ta != tb && !is_mixable))
    return fail_pair(v, "'dot' does not multiply these types", a, b);
  if (ir_is_integer(ta) != ir_is_integer(acc->value->type) || is_pred(acc))
    return fail_pair(v, "'dot' accumulates integers in integers and floats in floats", acc, a);
  shape sc = shape_of(acc), sa = shape_of(a), sb = shape_of(b);
  if ((sc.rank != 2 && sc.rank != 3) || sa.rank != 2) return fail_pair(v, "'dot' takes matrices", acc, a);
  if (sb.rank != 2) return fail_pair(v, "'dot' takes matrices", acc, b);
  int transpose_a = ir_attr_get(&op->attrs, IR_ATTR_TRANSPOSE_A, 0) != 0;
  int transpose_b = ir_attr_get(&op->attrs, IR_ATTR_TRANSPOSE_B, 0) != 0;
  if (sa.extent[!transpose_a] != sb.extent[transpose_b])
    return fail_pair(v, "'dot' needs the same k on both sides", a, b);
  if (sc.rank == 3) { /* parts of k */
    if (sc.extent[0] < 1 || sa.extent[!transpose_a] % sc.extent[0])
      return fail_pair(v, "'dot' needs a k that is a multiple of its accumulator's parts", acc, a);
    sc.extent[0] = sc.extent[1];
    sc.extent[1] = sc.extent[2];
  }
  if (sc.extent[0] != sa.extent[transpose_a]) return fail_pair(v, "'dot' needs the same m", acc, a);
  if (sc.extent[1] != sb.extent[!transpose_b]) return fail_pair(v, "'dot' needs the same n", acc, b);
  bool swap = ir_attr_get(&op->attrs, IR_ATTR_SWAP, 0) != 0;
  if (!check_promotion(v, op, sc.extent[!swap])) return false;
  if (op->read_count < 3 || !op->read[2].value) return true;
  const ir_ref *scale = &op->read[2];
  shape ss = shape_of(scale);
  int64_t k = sa.extent[!transpose_a], group = ir_attr_get(&op->attrs, IR_ATTR_GROUP, 0);
  if (!ir_is_float(scale->value->type) || !ir_is_float(acc->value->type))
    return fail_pair(v, "'dot' has scales of sums of floats only", acc, scale);
  if (group < 1 || k % group)
    return verify_fail(v, "'dot' with scales needs a group that divides k, not %" PRId64, group);
  return (ss.rank == 2 && ss.extent[0] == sc.extent[swap] && ss.extent[1] == k / group) ||
         fail_pair(v, "'dot' needs a scale for each row and group", swap ? b : a, scale);
}

static bool check_factor(verifier *v, const ir_op *op, const ir_ref *factor) {
  shape codes = shape_of(&op->read[0]), s = shape_of(factor);
  int64_t columns = codes.extent[1], group = ir_attr_get(&op->attrs, IR_ATTR_GROUP, columns);
  if (group < 1) return verify_fail(v, "'decode' needs a group of at least 1, not %" PRId64, group);
  bool fits = s.rank == 2 && (s.extent[0] == codes.extent[0] || s.extent[0] == 1) &&
              (s.extent[1] == 1 || s.extent[1] == (columns + group - 1) / group);
  if (s.rank == 1) fits = s.extent[0] == codes.extent[0];
  return fits || fail_pair(v, "'decode' needs a scale and zero for each row and group of codes", &op->read[0], factor);
}

static bool check_decode(verifier *v, const ir_op *op) {
  const ir_ref *to = &op->write[0], *codes = &op->read[0];
  shape sc = shape_of(codes);
  if (sc.rank != 2 || !sc.is_known) return fail_pair(v, "'decode' takes a matrix of codes", to, codes);
  if (!equal(shape_of(to), sc)) return fail_pair(v, "'decode' needs the same extents on both sides", to, codes);
  if (!ir_is_float(to->value->type) && !ir_is_integer(to->value->type))
    return fail_pair(v, "'decode' gives numbers", to, codes);
  const ir_ref *scale = op->read_count > 1 ? &op->read[1] : NULL, *zero = op->read_count > 2 ? &op->read[2] : NULL;
  bool has_scale = scale && scale->value, has_zero = zero && zero->value;
  int64_t mode = ir_attr_get(&op->attrs, IR_ATTR_ZERO_MODE, IR_ZERO_NONE);
  if (has_scale && !ir_is_float(scale->value->type)) return fail_pair(v, "'decode' needs a float scale", codes, scale);
  if (has_scale && !check_factor(v, op, scale)) return false;
  if (has_zero != (mode != IR_ZERO_NONE))
    return verify_fail(v, "'decode' has a zero if and only if it has a zero_mode");
  if (!has_zero) return true;
  if (ir_is_integer(zero->value->type) != (mode == IR_ZERO_QUANTIZED))
    return fail_pair(v, "'decode' needs integer zeros when quantized, floats otherwise", codes, zero);
  return check_factor(v, op, zero);
}

static bool check_axis(verifier *v, const ir_op *op, int64_t *axis) {
  int rank = shape_of(&op->read[0]).rank;
  *axis = ir_attr_get(&op->attrs, IR_ATTR_AXIS, -1);
  if (*axis >= 0 && *axis < rank) return true;
  return verify_fail(v, "'%s' along axis %" PRId64 " of a tile of %d dimensions", ir_op_info_of(op->kind)->mnemonic,
                     *axis, rank);
}

static bool check_reduce(verifier *v, const ir_op *op) {
  const ir_ref *to = &op->write[0], *from = &op->read[0];
  int64_t axis;
  if (!check_axis(v, op, &axis)) return false;
  shape one = shape_of(from), gone = {.is_known = one.is_known}, got = shape_of(to);
  one.extent[axis] = 1;
  for (int i = 0; i < one.rank; i++)
    if (i != axis) gone.extent[gone.rank++] = one.extent[i];
  if (equal(got, gone) || equal(got, one)) return true;
  return fail_pair(v, "'reduce' gives its source without the axis, or with extent 1", to, from);
}

static bool check_same(verifier *v, const ir_op *op, const char *rule) {
  return equal(shape_of(&op->write[0]), shape_of(&op->read[0])) || fail_pair(v, rule, &op->write[0], &op->read[0]);
}

/* What a warp may leave out alone: it sets tiles, and nobody waits for it. */
static bool check_where(verifier *v, const ir_op *op) {
  for (const ir_op *inside = op->body.first; inside; inside = inside->next)
    if ((ir_op_info_of(inside->kind)->effects != IR_EFFECT_N && inside->kind != IR_OP_PARALLEL) ||
        (inside->write_count && inside->write[0].value->space != IR_TILE))
      return verify_fail(v, "'%s' is not allowed in where: only what sets tiles is",
                         ir_op_info_of(inside->kind)->mnemonic);
  return is_pred(&op->read[0]) || verify_fail(v, "'where' takes a tile of pred, %%%s is %s", op->read[0].value->name,
                                              ir_type_of(op->read[0].value->type)->name);
}

bool verify_shapes(verifier *v, const ir_op *op) {
  int64_t axis;
  switch (op->kind) {
  case IR_OP_COPY:
    return check_copy(v, op);
  case IR_OP_DOT:
    return check_dot(v, op);
  case IR_OP_DECODE:
    return check_decode(v, op);
  case IR_OP_REDUCE:
    return check_reduce(v, op);
  case IR_OP_SCAN:
    return check_axis(v, op, &axis) && check_same(v, op, "'scan' needs the same extents on both sides");
  case IR_OP_CONVERT:
    return check_same(v, op, "'convert' needs the same extents on both sides");
  case IR_OP_WHERE:
    return check_where(v, op);
  case IR_OP_VOTE:
    return is_pred(&op->read[0]) || verify_fail(v, "'vote' takes a tile of pred, %%%s is %s", op->read[0].value->name,
                                                ir_type_of(op->read[0].value->type)->name);
  default:
    return true;
  }
}
