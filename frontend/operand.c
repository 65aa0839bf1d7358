/* Operands: typing, conversion, broadcasting.
 *
 * Rules. Floats of up to 32 bits are computed in f32 and rounded where they are stored. Narrow integers are computed in
 * i32 or u32. Integers and floats mix only through a cast, except that a constant integer takes the type it is used
 * with. Comparisons give pred. */
#include "frontend/lower.h"

#include <math.h>

operand operand_bad(src_loc loc) { return (operand){.kind = OPERAND_BAD, .loc = loc}; }

operand operand_int(src_loc loc, int64_t value) {
  return (operand){.kind = OPERAND_CONST, .type = IR_TYPE_NONE, .loc = loc, .int_value = value};
}

operand operand_float(src_loc loc, double value) {
  return (operand){.kind = OPERAND_CONST, .type = IR_F32, .loc = loc, .float_value = value};
}

operand operand_bool(src_loc loc, bool value) {
  return (operand){.kind = OPERAND_CONST, .type = IR_PRED, .loc = loc, .int_value = value};
}

operand operand_type(src_loc loc, ir_type type) { return (operand){.kind = OPERAND_TYPE, .type = type, .loc = loc}; }

operand operand_scalar(src_loc loc, const ir_expr *expr) {
  int64_t value = 0;
  if (ir_is_constant(expr, &value)) {
    if (expr->type == IR_PRED) return operand_bool(loc, value != 0);
    if (expr->type == IR_I32) return operand_int(loc, value);
  }
  return (operand){.kind = OPERAND_SCALAR, .type = expr->type, .loc = loc, .expr = expr};
}

operand operand_tile(src_loc loc, ir_value *value) {
  operand o = {.kind = OPERAND_TILE, .type = value->type, .loc = loc, .value = value, .rank = value->rank};
  for (int i = 0; i < value->rank; i++) {
    o.extent[i] = (int)extent_of(value, i);
    o.dim[i] = i;
  }
  return o;
}

static const char *shape_text(lower *l, ir_type type, int rank, const int *extent) {
  str text = STR_EMPTY;
  str_append(&text, ir_type_of(type)->name);
  for (int i = 0; i < rank; i++)
    str_printf(&text, "%s%d", i ? ", " : "[", extent[i]);
  if (rank) str_append_char(&text, ']');
  const char *kept = arena_strdup(l->memory, str_text(&text));
  str_free(&text);
  return kept;
}

const char *operand_text(lower *l, const operand *o) {
  switch (o->kind) {
  case OPERAND_TYPE:
    return "a type";
  case OPERAND_CONST:
    if (o->type == IR_PRED) return o->int_value ? "true" : "false";
    if (o->type == IR_TYPE_NONE) return arena_printf(l->memory, "%lld", (long long)o->int_value);
    return arena_printf(l->memory, "the constant %g", o->float_value);
  case OPERAND_TILE:
    return shape_text(l, o->type, o->rank, o->extent);
  default:
    return ir_type_of(o->type)->name;
  }
}

const char *value_text(lower *l, const ir_value *value) {
  str text = STR_EMPTY, extent = STR_EMPTY;
  str_append(&text, ir_type_of(value->type)->name);
  for (int i = 0; i < value->rank; i++) {
    str_append(&text, i ? ", " : "[");
    str_clear(&extent);
    ir_print_expr(value->extent[i], &extent);
    for (const char *p = str_text(&extent); *p; p++)
      if (*p != '%' || p[1] == ' ') str_append_char(&text, *p); /* M, as the source has it, not %M */
  }
  if (value->rank) str_append_char(&text, ']');
  const char *kept = arena_strdup(l->memory, str_text(&text));
  str_free(&text);
  str_free(&extent);
  return kept;
}

/* -- Elements ------------------------------------------------------------------------------------------------------ */

static const ir_expr *build(lower *l, ir_expr_kind op, ir_type type, const ir_expr *const *args, int count) {
  if (op == IR_EXPR_CAST) return ir_cast(l->memory, type, args[0]);
  if (op == IR_EXPR_BITCAST) return ir_typed(l->memory, op, type, type, 1, args);
  if (count == 1) return ir_unary(l->memory, op, args[0]);
  if (count == 2) return ir_binary(l->memory, op, args[0], args[1]);
  return ir_ternary(l->memory, op, args[0], args[1], args[2]);
}

const ir_expr *operand_expr(lower *l, const operand *o) {
  if (o->kind == OPERAND_SCALAR) return o->expr;
  ASSERT(o->kind == OPERAND_CONST);
  if (o->type == IR_PRED) return ir_bool(l->memory, o->int_value != 0);
  if (o->type == IR_F32) return ir_float(l->memory, o->float_value);
  bool fits = o->int_value >= INT32_MIN && o->int_value <= INT32_MAX;
  return fits ? ir_int(l->memory, o->int_value) : ir_typed_int(l->memory, IR_I64, o->int_value);
}

const ir_expr *operand_element(lower *l, const operand *o, const ir_expr *const *coordinates) {
  if (o->kind != OPERAND_TILE) return operand_expr(l, o);
  if (o->value) {
    const ir_expr *index[IR_MAX_RANK];
    for (int i = 0; i < o->value->rank; i++)
      index[i] = o->index[i] ? o->index[i] : coordinates[o->dim[i]];
    return ir_element(l->memory, o->value, NULL, o->value->rank, index);
  }
  const ir_expr *args[LOWER_MAX_ARGS];
  const ir_expr *zero = ir_int(l->memory, 0);
  for (int i = 0; i < o->arg_count; i++) {
    const ir_expr *at[IR_MAX_RANK];
    for (int j = 0; j < o->arg[i]->rank; j++) /* an extent of 1 broadcasts */
      at[j] = o->arg[i]->extent[j] == 1 ? zero : coordinates[j];
    args[i] = operand_element(l, o->arg[i], at);
  }
  return build(l, o->op, o->type, args, o->arg_count);
}

/* An operator over checked operands of the right types. */
static operand make(lower *l, ir_expr_kind op, ir_type type, src_loc loc, const operand *args, int count) {
  operand tile = {.kind = OPERAND_TILE, .type = type, .loc = loc, .op = op, .arg_count = count};
  const operand *first = NULL; /* tile */
  for (int i = 0; i < count; i++) {
    tile.arg[i] = arena_copy(l->memory, &args[i], sizeof args[i]);
    if (args[i].kind != OPERAND_TILE) continue;
    if (!first) {
      first = &args[i];
      tile.rank = first->rank;
      for (int j = 0; j < tile.rank; j++)
        tile.extent[j] = first->extent[j];
      continue;
    }
    bool fits = args[i].rank == tile.rank;
    for (int j = 0; fits && j < tile.rank; j++) {
      if (tile.extent[j] == 1) tile.extent[j] = args[i].extent[j];
      fits = args[i].extent[j] == 1 || args[i].extent[j] == tile.extent[j];
    }
    if (fits) continue;
    diag_error(
        l->d, DIAG_SHAPE, loc, "the shapes differ: %s and %s%s", operand_text(l, first), operand_text(l, &args[i]),
        args[i].rank != first->rank ? "; place a dimension with [:, _] or [_, :]" : "; only an extent of 1 broadcasts");
    if (first->value) diag_note(l->d, first->value->loc, "'%s' is declared here", first->value->name);
    if (args[i].value) diag_note(l->d, args[i].value->loc, "'%s' is declared here", args[i].value->name);
    return operand_bad(loc);
  }
  if (first) return tile;
  const ir_expr *exprs[LOWER_MAX_ARGS];
  for (int i = 0; i < count; i++)
    exprs[i] = operand_expr(l, &args[i]);
  return operand_scalar(loc, build(l, op, type, exprs, count));
}

/* -- Types --------------------------------------------------------------------------------------------------------- */

static bool is_untyped_int(const operand *o) { return o->kind == OPERAND_CONST && o->type == IR_TYPE_NONE; }
static bool is_integer(const operand *o) { return is_untyped_int(o) || ir_is_integer(o->type); }
static bool is_float(const operand *o) { return !is_untyped_int(o) && ir_is_float(o->type); }

static bool int_fits(int64_t value, ir_type type) {
  const ir_type_info *info = ir_type_of(type);
  if (info->class == IR_CLASS_UINT) return value >= 0 && (info->bits >= 63 || value < (int64_t)1 << info->bits);
  return info->bits == 64 || (value >= -((int64_t)1 << (info->bits - 1)) && value < (int64_t)1 << (info->bits - 1));
}

/* Every value of integer type `from` is one of `to`. */
static bool int_holds(ir_type to, ir_type from) {
  const ir_type_info *wide = ir_type_of(to), *narrow = ir_type_of(from);
  if (wide->class == narrow->class) return wide->bits >= narrow->bits;
  return wide->class == IR_CLASS_SINT && wide->bits > narrow->bits;
}

static bool report_conversion(lower *l, const operand *o, ir_type type) {
  const char *name = ir_type_of(type)->name;
  return diag_error(l->d, DIAG_TYPE, o->loc, "%s does not become %s by itself; write %s(...)", operand_text(l, o), name,
                    name);
}

static operand convert_constant(lower *l, operand o, ir_type type, bool is_cast) {
  bool to_float = ir_is_float(type);
  if (type == IR_PRED) {
    if (o.type == IR_PRED) return o;
    if (o.type == IR_TYPE_NONE && is_cast) return operand_bool(o.loc, o.int_value != 0);
    return report_conversion(l, &o, type), operand_bad(o.loc);
  }
  if (o.type == IR_PRED && !is_cast) return report_conversion(l, &o, type), operand_bad(o.loc);
  if (to_float) {
    operand f = o.type == IR_F32 ? o : operand_float(o.loc, (double)o.int_value);
    if (type == IR_F32 || type == IR_TF32 || !is_cast) {
      if (ir_bits(type) <= 32) return f;
    }
    return operand_scalar(o.loc, ir_cast(l->memory, type, ir_float(l->memory, f.float_value)));
  }
  if (o.type == IR_F32) {
    if (!is_cast) return report_conversion(l, &o, type), operand_bad(o.loc);
    if (!(fabs(o.float_value) < 9.2e18)) {
      diag_error(l->d, DIAG_OVERFLOW, o.loc, "%g does not fit %s", o.float_value, ir_type_of(type)->name);
      return operand_bad(o.loc);
    }
    o = operand_int(o.loc, (int64_t)o.float_value);
  }
  if (!int_fits(o.int_value, type)) {
    diag_error(l->d, DIAG_OVERFLOW, o.loc, "%lld does not fit %s", (long long)o.int_value, ir_type_of(type)->name);
    return operand_bad(o.loc);
  }
  if (ir_compute_type(type) == IR_I32 && !is_cast) return operand_int(o.loc, o.int_value);
  if (type == IR_I32) return operand_int(o.loc, o.int_value);
  const ir_expr *expr = ir_bits(type) < 32 ? ir_cast(l->memory, type, ir_int(l->memory, o.int_value))
                                           : ir_typed_int(l->memory, type, o.int_value);
  return (operand){.kind = OPERAND_SCALAR, .type = type, .loc = o.loc, .expr = expr};
}

operand operand_convert(lower *l, operand o, ir_type type, bool is_cast) {
  if (o.kind == OPERAND_BAD) return o;
  if (o.kind == OPERAND_TYPE) {
    diag_error(l->d, DIAG_TYPE, o.loc, "this is a type, not a value");
    return operand_bad(o.loc);
  }
  if (o.kind == OPERAND_CONST) return convert_constant(l, o, type, is_cast);
  if (o.type == type) return o;
  ir_class from = ir_type_of(o.type)->class, to = ir_type_of(type)->class;
  bool both_float = ir_is_float(o.type) && ir_is_float(type), both_int = ir_is_integer(o.type) && ir_is_integer(type);
  if (to == IR_CLASS_BOOL || to == IR_CLASS_TABLE || (from == IR_CLASS_BOOL && !is_cast)) {
    if (to == IR_CLASS_BOOL)
      diag_error(l->d, DIAG_TYPE, o.loc, "%s is not a condition; compare it, as in x != 0", operand_text(l, &o));
    else
      report_conversion(l, &o, type);
    return operand_bad(o.loc);
  }
  if (!is_cast && !both_float && !(both_int && int_holds(type, o.type)))
    return report_conversion(l, &o, type), operand_bad(o.loc);
  return make(l, IR_EXPR_CAST, type, o.loc, &o, 1);
}

/* The type in which operands meet: false and a diagnostic when there is none. Only constants: NONE, F32 or PRED. */
static bool common_type(lower *l, ir_expr_kind op, src_loc loc, const operand *args, int count, ir_type *out) {
  ir_type common = IR_TYPE_NONE;
  const operand *holder = NULL;
  for (int i = 0; i < count; i++) {
    if (is_untyped_int(&args[i])) continue;
    ir_type type = ir_compute_type(args[i].type);
    if (args[i].kind == OPERAND_CONST && holder) { /* a float constant follows the others; a bool must match */
      if (ir_type_of(type)->class == ir_type_of(common)->class) continue;
    }
    if (!holder || (holder->kind == OPERAND_CONST && ir_type_of(type)->class == ir_type_of(common)->class)) {
      common = type;
      holder = &args[i];
      continue;
    }
    if (type == common) continue;
    if (ir_type_of(type)->class == ir_type_of(common)->class) {
      if (ir_bits(type) > ir_bits(common)) common = type;
      continue;
    }
    diag_error(l->d, DIAG_TYPE, loc, "'%s' mixes %s and %s; cast one, as in %s(...)", ir_expr_info_of(op)->text,
               operand_text(l, holder), operand_text(l, &args[i]), ir_type_of(ir_is_float(type) ? type : common)->name);
    return false;
  }
  for (int i = 0; i < count; i++)
    if (is_untyped_int(&args[i]) && common == IR_PRED)
      return diag_error(l->d, DIAG_TYPE, loc, "'%s' mixes a condition and the integer %lld", ir_expr_info_of(op)->text,
                        (long long)args[i].int_value);
  *out = common;
  return true;
}

typedef enum operator_rule {
  RULE_NUMBER,  /* numbers of one type */
  RULE_INTEGER, /* integers of one type */
  RULE_BITS,    /* integers of one type, or predicates */
  RULE_FLOAT,   /* floats; a constant integer becomes one */
  RULE_EQUAL,   /* anything of one type, gives pred */
  RULE_COMPARE, /* numbers of one type, gives pred */
  RULE_SELECT,
  RULE_NONE
} operator_rule;

static operator_rule rule_of(ir_expr_kind op) {
  switch (op) {
  case IR_EXPR_ADD:
  case IR_EXPR_SUB:
  case IR_EXPR_MUL:
  case IR_EXPR_DIV:
  case IR_EXPR_MIN:
  case IR_EXPR_MAX:
  case IR_EXPR_NEG:
  case IR_EXPR_ABS:
    return RULE_NUMBER;
  case IR_EXPR_MOD:
  case IR_EXPR_CEILDIV:
  case IR_EXPR_SHL:
  case IR_EXPR_SHR:
    return RULE_INTEGER;
  case IR_EXPR_AND:
  case IR_EXPR_OR:
  case IR_EXPR_XOR:
  case IR_EXPR_NOT:
    return RULE_BITS;
  case IR_EXPR_EQ:
  case IR_EXPR_NE:
    return RULE_EQUAL;
  case IR_EXPR_LT:
  case IR_EXPR_LE:
  case IR_EXPR_GT:
  case IR_EXPR_GE:
    return RULE_COMPARE;
  case IR_EXPR_SELECT:
    return RULE_SELECT;
  case IR_EXPR_FMA:
  case IR_EXPR_EXP2:
  case IR_EXPR_LOG2:
  case IR_EXPR_EXP:
  case IR_EXPR_LOG:
  case IR_EXPR_SQRT:
  case IR_EXPR_RSQRT:
  case IR_EXPR_RCP:
  case IR_EXPR_TANH:
  case IR_EXPR_ERF:
  case IR_EXPR_SIN:
  case IR_EXPR_COS:
  case IR_EXPR_FLOOR:
  case IR_EXPR_CEIL:
  case IR_EXPR_ROUND:
    return RULE_FLOAT;
  default:
    return RULE_NONE;
  }
}

static bool check_rule(lower *l, operator_rule rule, ir_expr_kind op, src_loc loc, const operand *args, int count) {
  for (int i = 0; i < count; i++) {
    bool integer = is_integer(&args[i]), real = is_float(&args[i]), predicate = !integer && !real;
    const char *wanted = NULL;
    if ((rule == RULE_NUMBER || rule == RULE_COMPARE) && predicate) wanted = "numbers";
    if (rule == RULE_INTEGER && !integer) wanted = "integers";
    if (rule == RULE_BITS && real) wanted = "integers or conditions";
    if (rule == RULE_FLOAT && !real && !is_untyped_int(&args[i])) wanted = "floats";
    if (wanted)
      return diag_error(l->d, DIAG_TYPE, loc, "'%s' takes %s, not %s", ir_expr_info_of(op)->text, wanted,
                        operand_text(l, &args[i]));
  }
  return true;
}

bool operand_applies(ir_expr_kind op) { return rule_of(op) != RULE_NONE; }

operand operand_apply(lower *l, ir_expr_kind op, src_loc loc, const operand *args, int count) {
  operand ready[LOWER_MAX_ARGS];
  operator_rule rule = rule_of(op);
  ASSERT(rule != RULE_NONE && count <= LOWER_MAX_ARGS);
  for (int i = 0; i < count; i++) {
    if (args[i].kind == OPERAND_BAD) return operand_bad(loc);
    if (args[i].kind == OPERAND_TYPE) {
      diag_error(l->d, DIAG_TYPE, args[i].loc, "'%s' takes values, not types", ir_expr_info_of(op)->text);
      return operand_bad(loc);
    }
    ready[i] = args[i];
  }
  int first = rule == RULE_SELECT; /* the condition keeps its own type */
  if (first) {
    ready[0] = operand_convert(l, ready[0], IR_PRED, false);
    if (ready[0].kind == OPERAND_BAD) return operand_bad(loc);
  }
  ir_type type = IR_TYPE_NONE;
  if (!check_rule(l, rule, op, loc, ready, count)) return operand_bad(loc);
  if (!common_type(l, op, loc, ready + first, count - first, &type)) return operand_bad(loc);
  if (rule == RULE_FLOAT && type == IR_TYPE_NONE) type = IR_F32;
  if (rule == RULE_SELECT && type == IR_TYPE_NONE && ready[0].kind != OPERAND_CONST) type = IR_I32;
  bool all_constant = true;
  for (int i = 0; i < count; i++) {
    if (i >= first && type != IR_TYPE_NONE) ready[i] = operand_convert(l, ready[i], type, false);
    if (ready[i].kind == OPERAND_BAD) return operand_bad(loc);
    all_constant = all_constant && ready[i].kind == OPERAND_CONST;
  }
  operand folded;
  if (all_constant) return constant_fold(l, op, loc, ready, count, &folded) ? folded : operand_bad(loc);
  return make(l, op, rule == RULE_EQUAL || rule == RULE_COMPARE ? IR_PRED : type, loc, ready, count);
}
