/* copy and the atomic copy: regions on both sides. */
#include "frontend/lower.h"

/* One side of a copy. Without a span the region ends where the other side does. */
typedef struct side {
  ir_ref ref;
  src_loc loc;
  bool has_subscripts, has_spans;
  int rank; /* of the tile it stands for; -1: the other side says */
  int extent[IR_MAX_RANK];
} side;

static bool note_declared(lower *l, const ir_value *value) {
  return diag_note(l->d, value->loc, "'%s' is declared here as %s", value->name, value_text(l, value));
}

static bool eval_items(lower *l, const ast_expr *e, side *s) {
  ir_value *value = s->ref.value;
  int dim = 0;
  if (ast_item_count(e->items) != value->rank) {
    diag_error(l->d, DIAG_RANK, e->loc, "'%s' takes %d subscript%s, not %d", value->name, value->rank,
               value->rank == 1 ? "" : "s", ast_item_count(e->items));
    return note_declared(l, value);
  }
  for (const ast_item *item = e->items; item; item = item->next, dim++) {
    int64_t span = 0;
    if (item->kind == AST_ITEM_NEW)
      return diag_error(l->d, DIAG_REGION, item->loc,
                        "_ makes a dimension of a tile in an expression, not of a region");
    if (item->kind == AST_ITEM_ALL) {
      if (!ir_is_constant(value->extent[dim], &span)) {
        diag_error(l->d, DIAG_REGION, item->loc, "':' needs an extent known at compile time; write start : span");
        return note_declared(l, value);
      }
      s->ref.start[dim] = ir_int(l->memory, 0);
    } else {
      s->ref.start[dim] = eval_position(l, item->value);
      if (!s->ref.start[dim]) return false;
      if (item->kind == AST_ITEM_SPAN && !eval_int(l, item->span, 1, INT32_MAX, "a span", &span)) return false;
    }
    s->ref.span[dim] = (int)span;
    s->has_spans = s->has_spans || span;
  }
  s->ref.count = value->rank;
  s->has_subscripts = true;
  return true;
}

static bool eval_side(lower *l, const ast_expr *e, side *s) {
  scope *saved = l->scope, *where = NULL;
  *s = (side){.loc = e->loc, .rank = -1};
  e = resolve_alias(l, e, &where);
  const ast_expr *base = e->kind == AST_INDEX ? e->left : e;
  l->scope = where;
  ir_value *value = named_value(l, base);
  bool ok = value && value->rank;
  if (!ok) {
    operand o = base->kind == AST_NAME ? eval(l, base) : operand_int(e->loc, 0);
    if (o.kind != OPERAND_BAD)
      diag_error(l->d, DIAG_REGION, e->loc, "this must be a tensor, a shared buffer or a tile, or a region of one");
  } else {
    s->ref = ir_ref_whole(value);
    if (e->kind == AST_INDEX) ok = eval_items(l, e, s);
  }
  l->scope = saved;
  if (!ok || (s->has_subscripts && !s->has_spans)) return ok;
  int64_t extent = 0;
  int rank = 0;
  for (int i = 0; i < value->rank; i++) {
    if (s->has_spans && !s->ref.span[i]) continue;
    if (s->has_spans)
      extent = s->ref.span[i];
    else if (!ir_is_constant(value->extent[i], &extent))
      return true; /* a whole tensor of run-time extents: reported when the sides meet */
    s->extent[rank++] = (int)extent;
  }
  s->rank = rank;
  return true;
}

bool lower_region(lower *l, const ast_expr *e, ir_ref *out, int *rank, int *extent) {
  side s;
  if (!eval_side(l, e, &s)) return false;
  if (s.ref.value->space != IR_TILE && s.ref.value->space != IR_SHARED) {
    diag_error(l->d, DIAG_WHOLE_TENSOR, e->loc,
               "'%s' is a tensor in device memory; copy the part to a shared buffer first", s.ref.value->name);
    return note_declared(l, s.ref.value);
  }
  if (s.rank < 0) return diag_error(l->d, DIAG_REGION, e->loc, "this is one element; a region is written start : span");
  *out = s.ref;
  *rank = s.rank;
  for (int i = 0; i < s.rank; i++)
    extent[i] = s.extent[i];
  return true;
}

/* Gives `s` the extents of the other side: its last dimensions are spanned. */
static bool take_spans(lower *l, side *s, const side *other) {
  ir_value *value = s->ref.value;
  if (!s->has_subscripts) {
    diag_error(l->d, DIAG_REGION, s->loc, "'%s' is larger than one tile; say where the part begins, as in %s[%s]",
               value->name, value->name,
               value->rank == 1   ? "i"
               : value->rank == 2 ? "i, j"
                                  : "i, j, ...");
    return note_declared(l, value);
  }
  if (other->rank > value->rank) {
    diag_error(l->d, DIAG_RANK, s->loc, "'%s' has %d dimensions, and the other side has %d", value->name, value->rank,
               other->rank);
    note_declared(l, value);
    return note_declared(l, other->ref.value);
  }
  s->rank = other->rank;
  for (int i = 0; i < other->rank; i++) {
    s->extent[i] = other->extent[i];
    s->ref.span[value->rank - other->rank + i] = other->extent[i];
  }
  return true;
}

static bool match_sides(lower *l, src_loc loc, side *from, side *to) {
  if (from->rank < 0 && to->rank < 0) {
    if (!from->has_subscripts) return take_spans(l, from, to);
    return diag_error(l->d, DIAG_REGION, loc, "neither side says how large the copy is; write start : span");
  }
  if (from->rank < 0 && !take_spans(l, from, to)) return false;
  if (to->rank < 0 && !take_spans(l, to, from)) return false;
  bool same = from->rank == to->rank;
  for (int i = 0; same && i < from->rank; i++)
    same = from->extent[i] == to->extent[i];
  if (same) return true;
  operand a = {.kind = OPERAND_TILE, .type = from->ref.value->type, .rank = from->rank};
  operand b = {.kind = OPERAND_TILE, .type = to->ref.value->type, .rank = to->rank};
  for (int i = 0; i < IR_MAX_RANK; i++) {
    a.extent[i] = from->extent[i];
    b.extent[i] = to->extent[i];
  }
  diag_error(l->d, DIAG_SHAPE, loc, "the sides of copy differ: %s and %s", operand_text(l, &a), operand_text(l, &b));
  note_declared(l, from->ref.value);
  return note_declared(l, to->ref.value);
}

static bool check_inside(lower *l, const side *s) {
  const ir_value *value = s->ref.value;
  for (int i = 0; i < s->ref.count; i++) {
    int64_t start = 0, extent = 0;
    if (value->space == IR_GLOBAL || !ir_is_constant(s->ref.start[i], &start)) continue;
    extent = extent_of(value, i);
    int64_t span = s->ref.span[i] ? s->ref.span[i] : 1;
    if (start >= 0 && start + span <= extent) continue;
    diag_error(l->d, DIAG_OUTSIDE, s->loc, "%lld : %lld is outside '%s', whose extent here is %lld", (long long)start,
               (long long)span, value->name, (long long)extent);
    return note_declared(l, value);
  }
  return true;
}

static bool check_copy_types(lower *l, src_loc loc, const ir_value *from, const ir_value *to) {
  if (from->type == to->type) return true;
  const ir_type_info *source = ir_type_of(from->type), *target = ir_type_of(to->type);
  bool codes = ir_bits(from->type) < 8 || source->class == IR_CLASS_TABLE;
  bool ok = source->class == IR_CLASS_FLOAT && target->class == IR_CLASS_FLOAT && !codes && ir_bits(to->type) >= 8;
  if (ir_is_integer(from->type) && ir_is_integer(to->type) && !codes)
    ok = source->class == target->class ? target->bits >= source->bits
                                        : target->class == IR_CLASS_SINT && target->bits > source->bits;
  if (ok) return true;
  diag_error(l->d, DIAG_TYPE, loc, "copy does not make %s of %s; %s", target->name, source->name,
             codes ? "decode it" : "cast it, as in copy TYPE(t) -> ...");
  note_declared(l, from);
  return note_declared(l, to);
}

/* The left side: a region, or an expression over whole tiles that is first put in a tile of the target's type. */
static bool eval_source(lower *l, const ast_expr *e, ir_type type, side *s) {
  scope *where = NULL;
  const ast_expr *resolved = resolve_alias(l, e, &where);
  bool view = false;
  for (const ast_item *item = resolved->kind == AST_INDEX ? resolved->items : NULL; item; item = item->next)
    view = view || item->kind == AST_ITEM_NEW;
  if (!view && (resolved->kind == AST_NAME || resolved->kind == AST_INDEX || resolved->kind == AST_BAD))
    return eval_side(l, e, s);
  operand o = eval(l, e);
  if (o.kind == OPERAND_BAD) return false;
  if (o.kind != OPERAND_TILE)
    return diag_error(l->d, DIAG_REGION, e->loc, "copy takes a tile, not %s; assign a constant instead",
                      operand_text(l, &o));
  ir_value *tile = tile_of(l, o, type, "value");
  if (!tile) return false;
  *s = (side){.ref = ir_ref_whole(tile), .loc = e->loc, .rank = tile->rank};
  for (int i = 0; i < tile->rank; i++)
    s->extent[i] = (int)extent_of(tile, i);
  return true;
}

static bool check_writable(lower *l, const side *to) {
  const ir_value *value = to->ref.value;
  if (value->space != IR_GLOBAL || value->direction != IR_IN) return true;
  diag_error(l->d, DIAG_READ_ONLY, to->loc, "'%s' is only read; declare it out or inout to write it", value->name);
  return diag_note(l->d, value->loc, "'%s' is declared here", value->name);
}

bool lower_copy(lower *l, const ast_stmt *stmt) {
  side from, to;
  if (!eval_side(l, stmt->target, &to) || !eval_source(l, stmt->value, to.ref.value->type, &from)) return false;
  if (!check_writable(l, &to) || !match_sides(l, stmt->loc, &from, &to)) return false;
  if (!check_inside(l, &from) || !check_inside(l, &to)) return false;
  if (!check_copy_types(l, stmt->loc, from.ref.value, to.ref.value)) return false;
  const ir_expr *otherwise = NULL;
  if (stmt->otherwise) {
    if (from.ref.value->space != IR_GLOBAL)
      return diag_error(l->d, DIAG_COPY_ELSE, stmt->otherwise->loc,
                        "else says what is read outside a tensor in device memory, and '%s' is a %s",
                        from.ref.value->name, ir_space_name(from.ref.value->space));
    otherwise = eval_scalar(l, stmt->otherwise, ir_compute_type(from.ref.value->type), "the value after else");
    if (!otherwise) return false;
  }
  ir_op *copy = append(l, IR_OP_COPY, stmt->loc);
  ir_op_add_write(copy, to.ref);
  ir_op_add_read(copy, from.ref);
  if (otherwise) ir_op_add_expr(l->memory, copy, otherwise);
  return true;
}

bool lower_atomic_copy(lower *l, const ast_stmt *stmt) {
  side from, to;
  if (stmt->assign != AST_ADD)
    return diag_error(l->d, DIAG_ATOMIC, stmt->op_loc, "a whole tile is combined atomically with += only");
  if (!eval_side(l, stmt->target, &to)) return false;
  if (to.ref.value->space != IR_GLOBAL) {
    diag_error(l->d, DIAG_ATOMIC, stmt->target->loc, "atomic writes a tensor in device memory, and '%s' is a %s",
               to.ref.value->name, ir_space_name(to.ref.value->space));
    return note_declared(l, to.ref.value);
  }
  ir_type type = to.ref.value->type;
  if (type != IR_F32 && type != IR_F16 && type != IR_BF16 && type != IR_I32 && type != IR_U32) {
    diag_error(l->d, DIAG_ATOMIC, stmt->loc, "atomic += works on f32, f16, bf16, i32 and u32, not on %s",
               ir_type_of(type)->name);
    return note_declared(l, to.ref.value);
  }
  if (to.ref.value->direction != IR_INOUT) {
    diag_error(l->d, DIAG_READ_ONLY, stmt->target->loc, "atomic += reads and writes '%s'; declare it inout",
               to.ref.value->name);
    return note_declared(l, to.ref.value);
  }
  if (!eval_source(l, stmt->value, type, &from) || !match_sides(l, stmt->loc, &from, &to)) return false;
  if (!check_inside(l, &from) || !check_copy_types(l, stmt->loc, from.ref.value, to.ref.value)) return false;
  ir_op *copy = append(l, IR_OP_COPY, stmt->loc);
  ir_op_add_write(copy, to.ref);
  ir_op_add_read(copy, from.ref);
  ir_attr_set(&copy->attrs, IR_ATTR_REDUCE, 1); /* add */
  return true;
}
