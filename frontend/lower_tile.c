/* Whole tiles: assignment, and the calls that have an op of their own. */
#include "frontend/lower.h"

#include <string.h>

static const struct {
  const char *name;
  tile_call call;
  ir_operation operation;
  bool needs_axis; /* min(a, b) is elementwise, min(a, axis = 1) is a reduction */
} tile_calls[] = {
    {"dot", TILE_CALL_DOT, IR_SUM, false},     {"decode", TILE_CALL_DECODE, IR_SUM, false},
    {"sum", TILE_CALL_REDUCE, IR_SUM, false},  {"prod", TILE_CALL_REDUCE, IR_MUL, false},
    {"max", TILE_CALL_REDUCE, IR_MAX, true},   {"min", TILE_CALL_REDUCE, IR_MIN, true},
    {"cumsum", TILE_CALL_SCAN, IR_SUM, false}, {"cumprod", TILE_CALL_SCAN, IR_MUL, false},
    {"cummax", TILE_CALL_SCAN, IR_MAX, false}, {"cummin", TILE_CALL_SCAN, IR_MIN, false},
    {"any", TILE_CALL_VOTE, IR_OR, false},     {"all", TILE_CALL_VOTE, IR_AND, false},
};

tile_call tile_call_of(const ast_expr *e, ir_operation *operation) {
  if (e->kind != AST_CALL) return TILE_CALL_NONE;
  for (size_t i = 0; i < sizeof tile_calls / sizeof tile_calls[0]; i++) {
    if (strcmp(tile_calls[i].name, e->name) != 0) continue;
    if (tile_calls[i].needs_axis && !named_argument(e->items, "axis")) continue;
    *operation = tile_calls[i].operation;
    return tile_calls[i].call;
  }
  return TILE_CALL_NONE;
}

int64_t extent_of(const ir_value *value, int dim) {
  int64_t extent = 0;
  if (!ir_is_constant(value->extent[dim], &extent)) BUG("the extent of %s is not constant", value->name);
  return extent;
}

ir_op *append(lower *l, ir_op_kind kind, src_loc loc) {
  ir_op *op = ir_op_create(l->memory, kind, loc);
  ir_block_append(l->block, op);
  return op;
}

ir_value *new_tile(lower *l, const char *name, ir_type type, int rank, const int *extent, src_loc loc) {
  ir_value *tile = ir_value_create(l->memory, l->kernel, IR_TILE, type, name, loc);
  tile->rank = rank;
  for (int i = 0; i < rank; i++)
    tile->extent[i] = ir_int(l->memory, extent[i]);
  return tile;
}

/* -- Assignment ---------------------------------------------------------------------------------------------------- */

/* Whether the operand is a buffer just as it stands. */
static bool is_whole(const operand *o) {
  if (o->kind != OPERAND_TILE || !o->value || o->rank != o->value->rank) return false;
  for (int i = 0; i < o->rank; i++)
    if (o->index[i] || o->dim[i] != i) return false;
  return true;
}

static bool same_extents(const operand *o, const ir_value *dst) {
  for (int i = 0; i < o->rank; i++)
    if (o->extent[i] != extent_of(dst, i)) return false;
  return true;
}

bool check_store(lower *l, operand *o, ir_type type) {
  bool both_float = o->kind != OPERAND_CONST && o->kind != OPERAND_BAD && ir_is_float(o->type) && ir_is_float(type);
  if (both_float && ir_type_of(type)->class == IR_CLASS_FLOAT) return true;
  *o = operand_convert(l, *o, type, false);
  return o->kind != OPERAND_BAD;
}

/* Strips a rounding to the type that the destination has anyway. */
static const operand *without_rounding(const operand *o, ir_type type) {
  while (o->kind == OPERAND_TILE && !o->value && o->op == IR_EXPR_CAST && o->type == type && ir_is_float(type) &&
         o->arg[0]->kind == OPERAND_TILE && ir_is_float(o->arg[0]->type))
    o = o->arg[0];
  return o;
}

static bool report_assign_shape(lower *l, const ir_value *dst, const operand *value, src_loc loc) {
  diag_error(l->d, DIAG_SHAPE, loc, "'%s' is %s, but %s is assigned to it%s", dst->name, value_text(l, dst),
             operand_text(l, value), value->rank != dst->rank ? "; place a dimension with [:, _] or [_, :]" : "");
  return diag_note(l->d, dst->loc, "'%s' is declared here", dst->name);
}

static bool assign_elements(lower *l, ir_value *dst, const operand *value, src_loc loc) {
  static const char *const names[LOWER_MAX_TILE_RANK] = {"i", "j", "k", "l"};
  const ir_expr *coordinates[IR_MAX_RANK], *at[IR_MAX_RANK];
  ir_op *parallel = append(l, IR_OP_PARALLEL, loc);
  parallel->variable = ARENA_ARRAY(l->memory, ir_value *, dst->rank);
  parallel->variable_count = dst->rank;
  for (int i = 0; i < dst->rank; i++) {
    ir_value *variable = ir_value_create(l->memory, l->kernel, IR_INDEX, IR_I32, names[i], loc);
    parallel->variable[i] = variable;
    ir_op_add_expr(l->memory, parallel, dst->extent[i]);
    coordinates[i] = ir_read(l->memory, variable);
    at[i] = value->rank && value->extent[i] == 1 ? ir_int(l->memory, 0) : coordinates[i];
  }
  ir_op *set = ir_op_create(l->memory, IR_OP_SET, loc);
  ir_ref target = ir_ref_whole(dst);
  target.count = dst->rank;
  for (int i = 0; i < dst->rank; i++)
    target.start[i] = coordinates[i];
  ir_op_add_write(set, target);
  ir_op_add_expr(l->memory, set, operand_element(l, value, at));
  ir_block_append(&parallel->body, set);
  return true;
}

bool assign_tile(lower *l, ir_value *dst, operand value, src_loc loc) {
  if (value.kind == OPERAND_BAD || !check_store(l, &value, dst->type)) return false;
  if (value.kind != OPERAND_TILE) {
    ir_op *fill = append(l, IR_OP_FILL, loc);
    ir_op_add_write(fill, ir_ref_whole(dst));
    ir_op_add_expr(l->memory, fill, operand_expr(l, &value));
    return true;
  }
  bool fits = value.rank == dst->rank;
  for (int i = 0; fits && i < value.rank; i++)
    fits = value.extent[i] == 1 || value.extent[i] == extent_of(dst, i);
  if (!fits) return report_assign_shape(l, dst, &value, loc);
  const operand *source = without_rounding(&value, dst->type);
  if (is_whole(source) && same_extents(source, dst)) {
    if (source->value == dst) return true;
    ir_op *copy = append(l, IR_OP_COPY, loc);
    ir_op_add_write(copy, ir_ref_whole(dst));
    ir_op_add_read(copy, ir_ref_whole(source->value));
    return true;
  }
  return assign_elements(l, dst, source, loc);
}

ir_value *tile_of(lower *l, operand o, ir_type type, const char *name) {
  if (is_whole(&o) && o.value->space == IR_TILE && o.value->type == type) return o.value;
  ir_value *tile = new_tile(l, name, type, o.rank, o.extent, o.loc);
  return assign_tile(l, tile, o, o.loc) ? tile : NULL;
}

/* -- dot ----------------------------------------------------------------------------------------------------------- */

typedef struct factor {
  const ast_expr *e; /* without its transposes */
  bool transposed;
  bool is_decode;
  ir_ref ref;
  int extent[IR_MAX_RANK];
  ir_type type;
  const char *text;
} factor;

/* Strips ^T and aliases. The scope of `e` becomes the current one; the caller restores it. */
static void strip_factor(lower *l, const ast_expr *e, factor *f) {
  for (;;) {
    scope *where = NULL;
    e = resolve_alias(l, e, &where);
    l->scope = where;
    if (e->kind != AST_TRANSPOSE) break;
    f->transposed = !f->transposed;
    e = e->left;
  }
  ir_operation operation;
  f->e = e;
  f->is_decode = tile_call_of(e, &operation) == TILE_CALL_DECODE && !find_function(l, e->name);
}

static bool report_rank(lower *l, const ast_expr *e, const char *what, int rank) {
  return diag_error(l->d, DIAG_RANK, e->loc, "%s takes two dimensions, this has %d", what, rank);
}

/* A name for the tile that an expression is put in: f16(s) becomes s_f16. */
static const char *factor_name(lower *l, const operand *o) {
  const operand *source = o;
  while (source->kind == OPERAND_TILE && !source->value && source->arg_count == 1)
    source = source->arg[0];
  return source->value ? arena_printf(l->memory, "%s_%s", source->value->name, ir_type_of(o->type)->name) : "factor";
}

/* Fills in what the factor refers to; `decoded` is the type that a decode gives. */
static bool eval_factor(lower *l, factor *f, ir_type decoded) {
  int rank = 0;
  if (f->is_decode) {
    ir_value *tile = lower_decode(l, f->e, NULL, decoded);
    if (!tile) return false;
    f->ref = ir_ref_whole(tile);
  } else {
    const ast_expr *base = f->e->kind == AST_INDEX ? f->e->left : f->e;
    const ir_value *named = named_value(l, base);
    if (named && named->rank && named->space != IR_SCALAR) {
      if (!lower_region(l, f->e, &f->ref, &rank, f->extent)) return false;
      f->type = f->ref.value->type;
      return rank == 2 || report_rank(l, f->e, "dot", rank);
    }
    operand o = eval(l, f->e);
    if (o.kind == OPERAND_BAD) return false;
    if (o.kind != OPERAND_TILE)
      return diag_error(l->d, DIAG_DOT, f->e->loc, "dot takes tiles, not %s", operand_text(l, &o));
    ir_value *tile = tile_of(l, o, o.type, factor_name(l, &o));
    if (!tile) return false;
    f->ref = ir_ref_whole(tile);
  }
  f->type = f->ref.value->type;
  if (f->ref.value->rank != 2) return report_rank(l, f->e, "dot", f->ref.value->rank);
  for (int i = 0; i < 2; i++)
    f->extent[i] = (int)extent_of(f->ref.value, i);
  return true;
}

static bool is_eight_bit_float(ir_type type) { return type == IR_F8E4M3 || type == IR_F8E5M2; }
static bool is_byte(ir_type type) { return type == IR_I8 || type == IR_U8; }

static bool check_dot_types(lower *l, const ast_expr *call, const factor *a, const factor *b) {
  const factor *f[2] = {a, b};
  for (int i = 0; i < 2; i++) {
    ir_type type = f[i]->type;
    bool known = type == IR_F16 || type == IR_BF16 || type == IR_F32 || type == IR_TF32 || is_byte(type) ||
                 is_eight_bit_float(type);
    if (known) continue;
    diag_error(l->d, DIAG_DOT, f[i]->e->loc,
               "dot multiplies f16, bf16, f8e4m3, f8e5m2, i8, u8, tf32 or f32, not %s; %s", ir_type_of(type)->name,
               ir_bits(type) < 8 ? "decode it" : "cast it");
    return diag_note(l->d, f[i]->ref.value->loc, "'%s' is declared here", f[i]->ref.value->name);
  }
  if (a->type == b->type || (is_byte(a->type) && is_byte(b->type)) ||
      (is_eight_bit_float(a->type) && is_eight_bit_float(b->type)))
    return true;
  diag_error(l->d, DIAG_DOT, call->loc, "dot needs one type on both sides: %s and %s; cast one",
             ir_type_of(a->type)->name, ir_type_of(b->type)->name);
  diag_note(l->d, a->ref.value->loc, "'%s' is declared here", a->ref.value->name);
  return diag_note(l->d, b->ref.value->loc, "'%s' is declared here", b->ref.value->name);
}

static bool check_dot_shapes(lower *l, const ast_expr *call, const factor *a, const factor *b, const ir_value *dst) {
  int m = a->extent[a->transposed], ka = a->extent[!a->transposed];
  int kb = b->extent[b->transposed], n = b->extent[!b->transposed];
  if (ka != kb) {
    diag_error(l->d, DIAG_DOT_SHAPE, call->loc,
               "dot needs the same k on both sides: %s is %s[%d, %d]%s, %s is %s[%d, %d]%s%s", a->ref.value->name,
               ir_type_of(a->type)->name, a->extent[0], a->extent[1], a->transposed ? "^T" : "", b->ref.value->name,
               ir_type_of(b->type)->name, b->extent[0], b->extent[1], b->transposed ? "^T" : "",
               ka == n && !b->transposed ? "; transpose the second with ^T" : "");
    diag_note(l->d, a->ref.value->loc, "'%s' is declared here", a->ref.value->name);
    return diag_note(l->d, b->ref.value->loc, "'%s' is declared here", b->ref.value->name);
  }
  if (!dst || (dst->rank == 2 && extent_of(dst, 0) == m && extent_of(dst, 1) == n)) return true;
  diag_error(l->d, DIAG_DOT_SHAPE, call->loc, "this dot gives [%d, %d], but '%s' is %s", m, n, dst->name,
             value_text(l, dst));
  return diag_note(l->d, dst->loc, "'%s' is declared here", dst->name);
}

static bool check_accumulator(lower *l, const ast_expr *call, ir_type input, const ir_value *dst) {
  ir_type wanted = is_byte(input) ? IR_I32 : IR_F32;
  if (dst->space != IR_TILE) {
    diag_error(l->d, DIAG_DOT, call->loc, "dot accumulates in a tile, and '%s' is a shared buffer", dst->name);
    return diag_note(l->d, dst->loc, "'%s' is declared here", dst->name);
  }
  if (dst->type == wanted || (dst->type == IR_F16 && (input == IR_F16 || is_eight_bit_float(input)))) return true;
  diag_error(l->d, DIAG_DOT, call->loc, "dot of %s accumulates in %s, but '%s' is %s", ir_type_of(input)->name,
             ir_type_of(wanted)->name, dst->name, ir_type_of(dst->type)->name);
  return diag_note(l->d, dst->loc, "'%s' is declared here", dst->name);
}

ir_value *lower_dot(lower *l, const ast_expr *call, ir_value *dst, bool accumulate) {
  static const char *const names[] = {"accumulate", "promote", NULL};
  if (!check_arguments(l, call, 2, names)) return NULL;
  scope *own = l->scope;
  factor f[2] = {0};
  scope *where[2];
  int count = 0;
  for (const ast_item *item = call->items; item; item = item->next) {
    if (item->name) continue;
    strip_factor(l, item->value, &f[count]);
    where[count++] = l->scope;
    l->scope = own;
  }
  if (f[0].is_decode && f[1].is_decode) {
    diag_error(l->d, DIAG_DECODE, call->loc,
               "both sides are decoded, so nothing gives their type; decode one to a tile first");
    return NULL;
  }
  bool ok = true;
  int order[2] = {f[0].is_decode, !f[0].is_decode}; /* the side that gives the type of a decoded one comes first */
  for (int i = 0; i < 2 && ok; i++) {
    l->scope = where[order[i]];
    ok = eval_factor(l, &f[order[i]], f[order[0]].type);
    l->scope = own;
  }
  if (!ok || !check_dot_types(l, call, &f[0], &f[1]) || !check_dot_shapes(l, call, &f[0], &f[1], dst)) return NULL;
  if (dst && !check_accumulator(l, call, f[0].type, dst)) return NULL;
  const ast_item *flag = named_argument(call->items, "accumulate");
  operand condition = operand_bool(call->loc, accumulate);
  if (flag) condition = operand_convert(l, eval(l, flag->value), IR_PRED, false);
  if (condition.kind == OPERAND_BAD) return NULL;
  if (condition.kind == OPERAND_TILE) {
    diag_error(l->d, DIAG_TYPE, flag->loc, "accumulate is one condition, not a tile");
    return NULL;
  }
  const ast_item *promote = named_argument(call->items, "promote");
  int64_t interval = 0;
  if (promote && !eval_int(l, promote->value, 0, INT32_MAX, "promote", &interval)) return NULL;
  if (interval % IR_PROMOTE_UNIT) {
    diag_error(l->d, DIAG_DOT, promote->value->loc, "promote is %d; a multiple of %d is needed, or 0", (int)interval,
               IR_PROMOTE_UNIT);
    return NULL;
  }
  int extent[2] = {f[0].extent[f[0].transposed], f[1].extent[!f[1].transposed]};
  if (!dst) dst = new_tile(l, "product", is_byte(f[0].type) ? IR_I32 : IR_F32, 2, extent, call->loc);
  ir_op *dot = append(l, IR_OP_DOT, call->loc);
  ir_op_add_write(dot, ir_ref_whole(dst));
  ir_op_add_read(dot, f[0].ref);
  ir_op_add_read(dot, f[1].ref);
  if (f[0].transposed) ir_attr_set(&dot->attrs, IR_ATTR_TRANSPOSE_A, 1);
  if (f[1].transposed) ir_attr_set(&dot->attrs, IR_ATTR_TRANSPOSE_B, 1);
  if (interval) ir_attr_set(&dot->attrs, IR_ATTR_PROMOTE, interval);
  bool known = condition.kind == OPERAND_CONST;
  ir_attr_set(&dot->attrs, IR_ATTR_ACCUMULATE, known ? condition.int_value != 0 : 1);
  if (!known) ir_op_add_expr(l->memory, dot, operand_expr(l, &condition));
  return dst;
}

/* -- decode -------------------------------------------------------------------------------------------------------- */

typedef struct decode_part {
  ir_ref ref;
  int extent[IR_MAX_RANK];
  bool present;
} decode_part;

static bool eval_decode_part(lower *l, const ast_expr *e, const char *what, decode_part *part) {
  int rank = 0;
  part->present = true;
  if (!lower_region(l, e, &part->ref, &rank, part->extent)) return false;
  if (rank == 2) return true;
  diag_error(l->d, DIAG_RANK, e->loc, "the %s of decode have two dimensions, [n, k], and '%s' has %d", what,
             part->ref.value->name, rank);
  return diag_note(l->d, part->ref.value->loc, "'%s' is declared here", part->ref.value->name);
}

/* One scale and zero for each `group` codes of a row; *group is 0 when it is not written. */
static bool check_group(lower *l, const ast_expr *call, const decode_part *codes, const decode_part *part,
                        const char *what, int64_t *group) {
  if (!part->present) return true;
  int k = codes->extent[1], groups = part->extent[1];
  int64_t derived = groups == 1 ? k : (k + groups - 1) / groups;
  if (*group == 0) *group = derived;
  bool rows = part->extent[0] == codes->extent[0];
  bool columns = (k + *group - 1) / *group == groups;
  if (rows && columns) return true;
  diag_error(l->d, DIAG_DECODE, call->loc,
             "the %s are [%d, %d], but the codes are [%d, %d] in groups of %lld: [%d, %lld] is needed", what,
             part->extent[0], groups, codes->extent[0], k, (long long)*group, codes->extent[0],
             (long long)((k + *group - 1) / *group));
  diag_note(l->d, part->ref.value->loc, "the %s are declared here", what);
  return diag_note(l->d, codes->ref.value->loc, "the codes are declared here");
}

static bool eval_zero_mode(lower *l, const ast_expr *call, const decode_part *zero, int *mode) {
  const ast_item *item = named_argument(call->items, "mode");
  if (!item) {
    bool packed = zero->present && ir_is_integer(zero->ref.value->type);
    *mode = !zero->present ? IR_ZERO_NONE : packed ? IR_ZERO_QUANTIZED : IR_ZERO_ORIGINAL;
  } else {
    int64_t value = -1;
    if (item->value->kind == AST_NAME)
      value = ir_attr_choice(IR_ATTR_ZERO_MODE, item->value->name, strlen(item->value->name));
    if (value < 0 && !eval_int(l, item->value, 0, IR_ZERO_QUANTIZED, "mode", &value)) return false;
    *mode = (int)value;
  }
  if ((*mode != IR_ZERO_NONE) != zero->present)
    return diag_error(l->d, DIAG_DECODE, call->loc,
                      zero->present ? "zero is given, but mode is none" : "this mode needs zero = ...");
  if (*mode == IR_ZERO_NONE) return true;
  bool integer = ir_is_integer(zero->ref.value->type);
  if (integer == (*mode == IR_ZERO_QUANTIZED)) return true;
  diag_error(l->d, DIAG_DECODE, call->loc, "mode %s takes %s zeros, and '%s' is %s",
             *mode == IR_ZERO_QUANTIZED  ? "quantized"
             : *mode == IR_ZERO_ORIGINAL ? "original"
                                         : "rescale",
             *mode == IR_ZERO_QUANTIZED ? "integer" : "float", zero->ref.value->name, value_text(l, zero->ref.value));
  return diag_note(l->d, zero->ref.value->loc, "'%s' is declared here", zero->ref.value->name);
}

static bool check_decode_types(lower *l, const ast_expr *call, const decode_part *codes, const decode_part *scale,
                               ir_type type) {
  if (scale->present && !ir_is_float(scale->ref.value->type)) {
    diag_error(l->d, DIAG_DECODE, call->loc, "scales are floats, and '%s' is %s", scale->ref.value->name,
               value_text(l, scale->ref.value));
    return diag_note(l->d, scale->ref.value->loc, "'%s' is declared here", scale->ref.value->name);
  }
  bool fits = type != IR_PRED && type != IR_TYPE_NONE;
  if (ir_is_integer(type)) fits = !scale->present && ir_is_integer(codes->ref.value->type);
  if (fits) return true;
  diag_error(l->d, DIAG_DECODE, call->loc, "decoding %s%s gives a float, not %s",
             ir_type_of(codes->ref.value->type)->name, scale->present ? " with a scale" : "", ir_type_of(type)->name);
  return diag_note(l->d, codes->ref.value->loc, "'%s' is declared here", codes->ref.value->name);
}

/* A named argument; one whose buffer is not there (its `when` is false) counts as not given. */
static const ast_item *present_argument(lower *l, const ast_expr *call, const char *name) {
  const ast_item *item = named_argument(call->items, name);
  scope *where = NULL;
  const ast_expr *e = item ? resolve_alias(l, item->value, &where) : NULL;
  const binding *b = e && e->kind == AST_NAME ? scope_find(where, e->name) : NULL;
  return b && b->kind == BINDING_ABSENT ? NULL : item;
}

ir_value *lower_decode(lower *l, const ast_expr *call, ir_value *dst, ir_type type) {
  static const char *const names[] = {"scale", "zero", "group", "mode", "factor", "offset", NULL};
  if (!check_arguments(l, call, 1, names)) return NULL;
  decode_part codes = {0}, scale = {0}, zero = {0};
  const ast_item *scale_item = present_argument(l, call, "scale"), *zero_item = present_argument(l, call, "zero");
  const ast_item *group_item = named_argument(call->items, "group"),
                 *factor_item = named_argument(call->items, "factor"),
                 *offset_item = named_argument(call->items, "offset");
  const ast_item *first = call->items;
  while (first->name)
    first = first->next;
  if (!eval_decode_part(l, first->value, "codes", &codes)) return NULL;
  if (scale_item && !eval_decode_part(l, scale_item->value, "scales", &scale)) return NULL;
  if (zero_item && !eval_decode_part(l, zero_item->value, "zeros", &zero)) return NULL;
  int64_t group = 0, times = 1, offset = 0;
  int mode = 0;
  if (group_item && !eval_int(l, group_item->value, 1, INT32_MAX, "group", &group)) return NULL;
  if (factor_item && !eval_int(l, factor_item->value, 1, 128, "factor", &times)) return NULL;
  if (times & (times - 1)) {
    diag_error(l->d, DIAG_DECODE, factor_item->value->loc, "factor is %d; a power of two is needed", (int)times);
    return NULL;
  }
  if (offset_item && !eval_int(l, offset_item->value, -65536, 65536, "offset", &offset)) return NULL;
  if (!check_decode_types(l, call, &codes, &scale, type) || !eval_zero_mode(l, call, &zero, &mode)) return NULL;
  if (!check_group(l, call, &codes, &scale, "scales", &group) || !check_group(l, call, &codes, &zero, "zeros", &group))
    return NULL;
  if (!dst) {
    const char *name = arena_printf(l->memory, "%s_decoded", codes.ref.value->name);
    dst = new_tile(l, name, type, 2, codes.extent, call->loc);
  } else if (dst->rank != 2 || extent_of(dst, 0) != codes.extent[0] || extent_of(dst, 1) != codes.extent[1]) {
    diag_error(l->d, DIAG_SHAPE, call->loc, "this decode gives [%d, %d], but '%s' is %s", codes.extent[0],
               codes.extent[1], dst->name, value_text(l, dst));
    diag_note(l->d, dst->loc, "'%s' is declared here", dst->name);
    return NULL;
  }
  ir_op *decode = append(l, IR_OP_DECODE, call->loc);
  ir_op_add_write(decode, ir_ref_whole(dst));
  ir_op_add_read(decode, codes.ref);
  ir_op_add_read(decode, scale.present ? scale.ref : ir_ref_none());
  ir_op_add_read(decode, zero.present ? zero.ref : ir_ref_none());
  if (group) ir_attr_set(&decode->attrs, IR_ATTR_GROUP, group);
  if (mode != IR_ZERO_NONE) ir_attr_set(&decode->attrs, IR_ATTR_ZERO_MODE, mode);
  if (times != 1) ir_attr_set(&decode->attrs, IR_ATTR_FACTOR, times);
  if (offset) ir_attr_set(&decode->attrs, IR_ATTR_OFFSET, offset);
  return dst;
}
