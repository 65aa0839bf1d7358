/* The rules of a kernel: declarations, operands of ops, scopes. One walk in program order. */
#include "ir/verify.h"

#include <string.h>

/* Whether the op has what its text is made of. */
static bool is_printable(const ir_op *op) {
  if (op->kind == IR_OP_FOR) return op->write_count == 1 && op->write[0].value && op->expr_count == 3;
  return op->variable_count <= op->expr_count && (op->kind != IR_OP_ROLE || op->name);
}

bool verify_fail(verifier *v, const char *format, ...) {
  str message = STR_EMPTY;
  va_list args;
  va_start(args, format);
  str_vprintf(&message, format, args);
  va_end(args);
  if (v->op && is_printable(v->op)) {
    str_append(&message, ", in ");
    ir_print_op(v->op, &message);
  }
  diag_error(v->d, DIAG_IR_RULE, v->loc, "@%s, %s form: %s", v->kernel->name, ir_form_name(v->kernel->form),
             str_text(&message));
  str_free(&message);
  return false;
}

/* -- Declarations -- */

static bool check_extents(verifier *v, const ir_value *value) {
  int64_t extent, elements = 1;
  if (value->space == IR_MAP) return true; /* it has a box */
  for (int i = 0; i < value->rank; i++) {
    if (!value->extent[i]) return verify_fail(v, "%%%s has no extent for dimension %d", value->name, i);
    if (!verify_integer(v, value->extent[i], "an extent")) return false;
    bool is_constant = ir_is_constant(value->extent[i], &extent);
    if (value->space != IR_GLOBAL && !is_constant)
      return verify_fail(v, "%%%s is %s, so its extents are constants", value->name, ir_space_name(value->space));
    if (is_constant && (extent < 0 || (extent == 0 && value->space != IR_GLOBAL)))
      return verify_fail(v, "%%%s has extent %lld", value->name, (long long)extent);
    if (is_constant &&
        (__builtin_mul_overflow(elements, extent, &elements) || (value->space != IR_GLOBAL && elements > INT32_MAX)))
      return verify_fail(v, "%%%s has too many elements", value->name);
  }
  return true;
}

static bool same_extents(const ir_value *value, int rank, const int *extent) {
  if (rank != value->rank) return false;
  for (int i = 0; i < rank; i++)
    if (extent[i] != ir_extent(value, i)) return false;
  return true;
}

static bool check_tile_layout(verifier *v, const ir_value *value) {
  if (!value->tile) return verify_fail(v, "the tile %%%s has no layout", value->name);
  if (!same_extents(value, value->tile->rank, value->tile->extent))
    return verify_fail(v, "the layout of %%%s has other extents than the tile", value->name);
  return tile_layout_verify(value->tile) ||
         verify_fail(v, "the layout of %%%s does not hold every element", value->name);
}

static bool check_shared_layout(verifier *v, const ir_value *value) {
  const shared_layout *layout = value->shared;
  if (!layout) return verify_fail(v, "the shared buffer %%%s has no layout", value->name);
  if (!same_extents(value, layout->rank, layout->extent) || layout->element_bits != ir_bits(value->type))
    return verify_fail(v, "the layout of %%%s has other extents or element bits than the buffer", value->name);
  /* What the constructor makes gives every element its own bits; anything else was tampered with. */
  shared_layout made;
  bool is_made = shared_layout_make(layout->rank, layout->extent, layout->element_bits, layout->contiguous,
                                    layout->swizzle, layout->panel_bytes, &made);
  return (is_made && shared_layout_equal(&made, layout)) ||
         verify_fail(v, "the layout of %%%s does not give every element its own place", value->name);
}

static bool check_space(verifier *v, const ir_value *value) {
  ir_form form = v->kernel->form;
  switch (value->space) {
  case IR_GLOBAL:
    for (int i = 0; i < value->rank; i++)
      if (value->stride[i] && !verify_integer(v, value->stride[i], "a stride")) return false;
    return value->type != IR_TYPE_NONE || verify_fail(v, "%%%s has no type", value->name);
  case IR_SHARED:
    if (form >= IR_FORM_LAID_OUT && !check_shared_layout(v, value)) return false;
    if (value->shared && value->offset > 0 && value->offset % value->shared->alignment)
      return verify_fail(v, "%%%s is at offset %d, not a multiple of %d", value->name, value->offset,
                         value->shared->alignment);
    return value->slots >= 1 || verify_fail(v, "%%%s has %d slots", value->name, value->slots);
  case IR_TILE:
    return form < IR_FORM_LAID_OUT || form == IR_FORM_THREAD || check_tile_layout(v, value);
  case IR_REGISTERS:
    return form == IR_FORM_THREAD ||
           verify_fail(v, "%%%s is an array of one thread; only the thread form has them", value->name);
  case IR_BARRIER:
    return value->slots >= 1 || verify_fail(v, "%%%s has %d slots", value->name, value->slots);
  case IR_MAP:
    if (!value->tensor || value->tensor->space != IR_GLOBAL)
      return verify_fail(v, "the map %%%s is not of a global tensor", value->name);
    if (value->tensor->packed && value->tensor->rank != 2)
      return verify_fail(v, "the map %%%s is of blocks that lie in %d dimensions", value->name, value->tensor->rank);
    return value->rank == ir_map_rank(value->tensor) || ir_map_has_panels(value) ||
           verify_fail(v, "the box of %%%s has %d dimensions, %%%s has %d", value->name, value->rank,
                       value->tensor->name, ir_map_rank(value->tensor));
  case IR_SIZE:
    return value->multiple_of >= 1 ||
           verify_fail(v, "%%%s is a multiple of %lld", value->name, (long long)value->multiple_of);
  default:
    return true;
  }
}

/* Loop variables, lets, and what a thread declares begin to live at their op; everything else lives throughout. */
static bool lives_throughout(const verifier *v, const ir_value *value) {
  if (value->space == IR_SCALAR) return value->is_mutable && v->forms != IR_FORMS_THREAD;
  return value->space != IR_INDEX && value->space != IR_REGISTERS;
}

/* Shared memory is given out at once: all of it has a place or none. */
static bool check_placement(verifier *v) {
  const ir_value *placed = NULL, *other = NULL;
  for (int i = 0; i < v->kernel->value_count; i++) {
    const ir_value *value = v->kernel->values[i];
    if (value->space != IR_SHARED && value->space != IR_BARRIER) continue;
    if (value->offset < 0)
      other = value;
    else
      placed = value;
  }
  if (v->kernel->form != IR_FORM_THREAD || !placed || !other) return true;
  v->loc = other->loc;
  return verify_fail(v, "%%%s has an offset in shared memory, %%%s has none", placed->name, other->name);
}

static bool check_declarations(verifier *v) {
  const ir_kernel *kernel = v->kernel;
  bool ok = check_placement(v);
  for (int i = 0; i < kernel->value_count; i++) /* extents may name a size that is listed later */
    v->defined[i] = kernel->values[i]->space == IR_SIZE;
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    v->loc = value->loc;
    if (value->number != i) return verify_fail(v, "%%%s has number %d in place %d", value->name, value->number, i);
    if (value->rank < 0 || value->rank > IR_MAX_RANK)
      return verify_fail(v, "%%%s has rank %d", value->name, value->rank);
    ok &= check_extents(v, value) && check_space(v, value);
    v->defined[i] = lives_throughout(v, value);
  }
  for (int i = 0; ok && i < kernel->grid_count; i++) {
    v->loc = kernel->grid[i].index->loc;
    if (kernel->grid[i].index->space != IR_INDEX) return verify_fail(v, "a grid index is an index");
    ok &= verify_integer(v, kernel->grid[i].extent, "a grid extent");
  }
  for (int i = 0; ok && i < kernel->fact_count; i++) {
    v->loc = kernel->facts[i].loc;
    ok &= verify_predicate(v, kernel->facts[i].condition, "a fact");
  }
  v->loc = kernel->loc;
  if (ok && kernel->block_count) ok = verify_integer(v, kernel->block_count, "the number of blocks");
  for (int i = 0; i < kernel->grid_count; i++)
    v->defined[kernel->grid[i].index->number] = true;
  return ok;
}

/* -- Operands -- */

static const char *letter_name(char letter) {
  switch (letter) {
  case 'g':
    return "a global tensor";
  case 's':
    return "a shared buffer";
  case 't':
    return "a tile";
  case 'r':
    return "registers";
  case 'v':
    return "a scalar";
  case 'b':
    return "a barrier";
  case 'm':
    return "a tensor map";
  default:
    return "a tensor, buffer, tile or registers";
  }
}

static bool letter_accepts(char letter, ir_space space) {
  switch (letter) {
  case 'g':
    return space == IR_GLOBAL;
  case 's':
    return space == IR_SHARED;
  case 't':
    return space == IR_TILE;
  case 'r':
    return space == IR_REGISTERS;
  case 'v':
    return space == IR_SCALAR || space == IR_INDEX;
  case 'b':
    return space == IR_BARRIER;
  case 'm':
    return space == IR_MAP;
  default:
    return space == IR_GLOBAL || space == IR_SHARED || space == IR_TILE || space == IR_REGISTERS;
  }
}

static bool check_region(verifier *v, const ir_ref *ref) {
  const ir_value *value = ref->value;
  int rank = value->space == IR_REGISTERS ? 1 : value->rank;
  if (ref->count != rank) return verify_fail(v, "%%%s has %d dimensions, its region %d", value->name, rank, ref->count);
  for (int i = 0; i < ref->count; i++) {
    int64_t start, extent;
    if (!verify_integer(v, ref->start[i], "the start of a region")) return false;
    /* Outside a tensor is defined, outside everything else is not. */
    bool is_bounded =
        value->space == IR_REGISTERS || (value->space != IR_GLOBAL && ir_is_constant(value->extent[i], &extent));
    if (value->space == IR_REGISTERS) extent = verify_register_count(value);
    int width = ref->span[i] ? ref->span[i] : 1;
    if (is_bounded &&
        (width > extent || (ir_is_constant(ref->start[i], &start) && (start < 0 || start > extent - width))))
      return verify_fail(v, "the region of %%%s leaves dimension %d of extent %lld", value->name, i, (long long)extent);
  }
  return true;
}

static bool check_ref(verifier *v, const ir_ref *ref) {
  const ir_value *value = ref->value;
  if (value->space == IR_TILE && v->forms == IR_FORMS_THREAD)
    return verify_fail(v, "%%%s is a tile; the thread form has none", value->name);
  if (ref->slot) {
    int64_t slot;
    if (value->space != IR_SHARED && value->space != IR_BARRIER)
      return verify_fail(v, "%%%s has no slots", value->name);
    if (!verify_integer(v, ref->slot, "a slot")) return false;
    if (ir_is_constant(ref->slot, &slot) && (slot < 0 || slot >= value->slots))
      return verify_fail(v, "%%%s has %d slots, there is no slot %lld", value->name, value->slots, (long long)slot);
  }
  return !ref->count || check_region(v, ref);
}

/* A reference that is read, or written in part. */
static bool check_use(verifier *v, const ir_ref *ref) {
  if (!v->defined[ref->value->number]) return verify_fail(v, "%%%s is used where it is not defined", ref->value->name);
  return check_ref(v, ref);
}

static bool check_reads(verifier *v, const ir_op *op) {
  const ir_op_info *info = ir_op_info_of(op->kind);
  int at = 0;
  for (const char *letter = info->reads; *letter; letter++, at++) {
    bool is_optional = letter[1] == '?';
    const ir_ref *ref = at < op->read_count ? &op->read[at] : NULL;
    if (!ref || !ref->value) {
      if (!is_optional)
        return verify_fail(v, "'%s' reads %s as operand %d", info->mnemonic, letter_name(*letter), at + 1);
    } else {
      if (!letter_accepts(*letter, ref->value->space))
        return verify_fail(v, "'%s' reads %s as operand %d, %%%s is %s", info->mnemonic, letter_name(*letter), at + 1,
                           ref->value->name, ir_space_name(ref->value->space));
      if (!check_use(v, ref)) return false;
    }
    if (is_optional) letter++;
  }
  return op->read_count <= at || verify_fail(v, "'%s' reads %d operands, not %d", info->mnemonic, at, op->read_count);
}

/* A scalar that is written: a mutable one that lives, or an immutable one that begins to live here. */
static bool define(verifier *v, ir_value *value) {
  if (value->space == IR_SCALAR && value->is_mutable) {
    if (v->op->kind != IR_OP_LET)
      return v->defined[value->number] || verify_fail(v, "%%%s is used where it is not defined", value->name);
    return verify_fail(v, "%%%s is mutable; let defines a scalar once", value->name);
  }
  if (v->op->kind == IR_OP_SET) return verify_fail(v, "%%%s is not mutable", value->name);
  if (v->defined[value->number]) return verify_fail(v, "%%%s is defined twice", value->name);
  v->defined[value->number] = true;
  return true;
}

static bool check_writes(verifier *v, const ir_op *op) {
  const ir_op_info *info = ir_op_info_of(op->kind);
  int count = 0;
  bool is_declare = op->kind == IR_OP_DECLARE;
  for (const char *letter = info->writes; *letter; letter++)
    count += *letter != '?';
  if (op->write_count != count && !(is_declare && op->write_count > 0))
    return verify_fail(v, "'%s' writes %d values, not %d", info->mnemonic, count, op->write_count);
  for (int i = 0; i < op->write_count; i++) {
    const ir_ref *ref = &op->write[i];
    char letter = info->writes[is_declare ? 0 : i];
    if (!ref->value) return verify_fail(v, "'%s' writes nothing", info->mnemonic);
    bool is_scalar = ref->value->space == IR_SCALAR;
    bool accepts = letter_accepts(letter, ref->value->space) || (is_scalar && (op->kind == IR_OP_SET || is_declare));
    if (!accepts)
      return verify_fail(v, "'%s' writes %s, %%%s is %s", info->mnemonic, letter_name(letter), ref->value->name,
                         ir_space_name(ref->value->space));
    if (is_declare || letter == 'v' || (is_scalar && op->kind == IR_OP_SET)) continue; /* see check_definitions */
    if (!check_use(v, ref)) return false;
    if (ref->value->space == IR_GLOBAL && ref->value->direction == IR_IN)
      return verify_fail(v, "%%%s is an input and written", ref->value->name);
  }
  return true;
}

/* What the op brings to life in the enclosing body, or the mutable scalar it changes. */
static bool check_definitions(verifier *v, const ir_op *op) {
  const char *letter = ir_op_info_of(op->kind)->writes;
  for (int i = 0; i < op->write_count; i++) {
    ir_value *value = op->write[i].value;
    if (op->kind == IR_OP_DECLARE) {
      bool is_declarable = value->space == IR_REGISTERS || (value->space == IR_SCALAR && value->is_mutable);
      if (!is_declarable) return verify_fail(v, "declare takes registers and mutable scalars, not %%%s", value->name);
      v->defined[value->number] = true;
    } else if (op->kind != IR_OP_FOR && (letter[i] == 'v' || (op->kind == IR_OP_SET && value->space == IR_SCALAR))) {
      if (value->space != IR_SCALAR)
        return verify_fail(v, "%%%s is %s and cannot be assigned", value->name, ir_space_name(value->space));
      if (!define(v, value)) return false;
    }
  }
  return true;
}

/* -- Expressions and attributes of ops -- */

static bool check_assigned(verifier *v, ir_type to, const ir_expr *e) {
  bool same_kind = (to == IR_PRED) == (e->type == IR_PRED);
  return same_kind || verify_fail(v, "a %s cannot be assigned %s", ir_type_of(to)->name, ir_type_of(e->type)->name);
}

static bool check_exprs(verifier *v, const ir_op *op) {
  const ir_op_info *info = ir_op_info_of(op->kind);
  if (op->expr_count < info->expr_count || (op->expr_count > info->expr_count && !info->more_exprs))
    return verify_fail(v, "'%s' takes %d%s expressions, not %d", info->mnemonic, info->expr_count,
                       info->more_exprs ? " or more" : "", op->expr_count);
  for (int i = 0; i < op->expr_count; i++)
    if (!verify_expr(v, op->expr[i])) return false;
  int64_t step;
  switch (op->kind) {
  case IR_OP_IF:
  case IR_OP_WHILE:
    return verify_predicate(v, op->expr[0], "a condition");
  case IR_OP_FOR:
    for (int i = 0; i < op->expr_count; i++)
      if (op->expr[i]->type != IR_I32) return verify_fail(v, "the bounds and step of a loop are i32");
    return !ir_is_constant(op->expr[2], &step) || step > 0 || verify_fail(v, "the step of a loop is at least 1");
  case IR_OP_PARALLEL:
    for (int i = 0; i < op->expr_count; i++)
      if (!verify_integer(v, op->expr[i], "an extent")) return false;
    return op->variable_count == op->expr_count || verify_fail(v, "parallel has one extent for each index");
  case IR_OP_LET: {
    ir_type type = op->write[0].value->type;
    return ir_compute_type(type) == ir_compute_type(op->expr[0]->type) ||
           verify_fail(v, "%%%s is %s and defined as %s", op->write[0].value->name, ir_type_of(type)->name,
                       ir_type_of(op->expr[0]->type)->name);
  }
  case IR_OP_SET:
  case IR_OP_FILL:
    return check_assigned(v, op->write[0].value->type, op->expr[0]);
  case IR_OP_LD_GLOBAL:
  case IR_OP_ST_GLOBAL:
  case IR_OP_RED_GLOBAL:
  case IR_OP_RED_SHARED:
  case IR_OP_LD_SHARED:
  case IR_OP_ST_SHARED:
    return verify_integer(v, op->expr[0], "an address") && verify_predicate(v, op->expr[1], "the second operand");
  case IR_OP_WGMMA:
    return verify_predicate(v, op->expr[2], "scale-d");
  default:
    return true;
  }
}

typedef struct attr_rule {
  ir_op_kind kind;
  ir_attr attr;
  int64_t lo, hi;
} attr_rule;

/* Attributes without which the op has no meaning, and their ranges. */
static const attr_rule attr_rules[] = {
    {IR_OP_REDUCE, IR_ATTR_AXIS, 0, IR_MAX_RANK},
    {IR_OP_REDUCE, IR_ATTR_OPERATION, 0, IR_XOR},
    {IR_OP_SCAN, IR_ATTR_AXIS, 0, IR_MAX_RANK},
    {IR_OP_SCAN, IR_ATTR_OPERATION, 0, IR_XOR},
    {IR_OP_VOTE, IR_ATTR_OPERATION, IR_AND, IR_OR},
    {IR_OP_ATOMIC, IR_ATTR_OPERATION, 0, IR_XOR},
    {IR_OP_RED_GLOBAL, IR_ATTR_OPERATION, 0, IR_XOR},
    {IR_OP_RED_SHARED, IR_ATTR_OPERATION, 0, IR_XOR},
    {IR_OP_ATOMIC_GLOBAL, IR_ATTR_OPERATION, 0, IR_XOR},
    {IR_OP_ROLE, IR_ATTR_WARP_FIRST, 0, 31},
    {IR_OP_ROLE, IR_ATTR_WARP_COUNT, 1, 32},
    {IR_OP_BAR_SYNC, IR_ATTR_ID, 0, 15},
    {IR_OP_BAR_SYNC, IR_ATTR_THREADS, 1, 1024},
    {IR_OP_BAR_ARRIVE, IR_ATTR_ID, 0, 15},
    {IR_OP_BAR_ARRIVE, IR_ATTR_THREADS, 1, 1024},
    {IR_OP_SETMAXNREG, IR_ATTR_REGISTERS, 24, 240},
    {IR_OP_LD_GLOBAL, IR_ATTR_WIDTH, 1, 16},
    {IR_OP_ST_GLOBAL, IR_ATTR_WIDTH, 1, 16},
    {IR_OP_LD_SHARED, IR_ATTR_WIDTH, 1, 16},
    {IR_OP_ST_SHARED, IR_ATTR_WIDTH, 1, 16},
    {IR_OP_CP_ASYNC, IR_ATTR_WIDTH, 4, 16},
    {IR_OP_LDMATRIX, IR_ATTR_COUNT, 1, 4},
    {IR_OP_STMATRIX, IR_ATTR_COUNT, 1, 4},
    {IR_OP_MMA, IR_ATTR_M, 8, 16},
    {IR_OP_MMA, IR_ATTR_N, 8, 8},
    {IR_OP_MMA, IR_ATTR_K, 4, 256},
    {IR_OP_WGMMA, IR_ATTR_N, 8, 256},
    {IR_OP_WGMMA, IR_ATTR_K, 8, 256},
};

static bool check_attrs(verifier *v, const ir_op *op) {
  for (size_t i = 0; i < sizeof attr_rules / sizeof *attr_rules; i++) {
    const attr_rule *rule = &attr_rules[i];
    if (rule->kind != op->kind) continue;
    const char *name = ir_attr_info_of(rule->attr)->name;
    if (!ir_attr_has(&op->attrs, rule->attr))
      return verify_fail(v, "'%s' needs the attribute %s", ir_op_info_of(op->kind)->mnemonic, name);
    int64_t value = ir_attr_get(&op->attrs, rule->attr, 0);
    if (value < rule->lo || value > rule->hi)
      return verify_fail(v, "%s is %lld, not in %lld .. %lld", name, (long long)value, (long long)rule->lo,
                         (long long)rule->hi);
    bool is_power = rule->attr == IR_ATTR_WIDTH || rule->attr == IR_ATTR_COUNT;
    if (is_power && (value & (value - 1)))
      return verify_fail(v, "%s is %lld, not a power of two", name, (long long)value);
  }
  if (op->kind == IR_OP_BAR_SYNC && (op->expr_count > 1 || (op->expr_count && op->expr[0]->type != IR_I32)))
    return verify_fail(v, "bar.sync takes one i32 or nothing");
  if (op->kind == IR_OP_MMA && op->read_count > 2 &&
      (op->read[2].value->type != IR_U32 || ir_attr_get(&op->attrs, IR_ATTR_SELECTOR, -1) >> 1 != 0))
    return verify_fail(v, "the metadata of an mma is u32, with the selector 0 or 1");
  if (ir_attr_has(&op->attrs, IR_ATTR_LOW) != ir_attr_has(&op->attrs, IR_ATTR_HIGH))
    return verify_fail(v, "low and high come together");
  if (ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1) < 1) return verify_fail(v, "parts is at least 1");
  return ir_attr_get(&op->attrs, IR_ATTR_PENDING, 0) >= 0 || verify_fail(v, "pending is at least 0");
}

/* -- Ops and scopes -- */

static bool is_parallel_op(ir_op_kind kind) {
  return kind == IR_OP_SET || kind == IR_OP_LET || kind == IR_OP_IF || kind == IR_OP_ATOMIC;
}

static bool check_block(verifier *v, const ir_block *block, bool in_parallel);

/* The body with the op's own variables alive in it. */
static bool check_bodies(verifier *v, const ir_op *op, bool in_parallel) {
  ir_value *const *variables = op->variable;
  int count = op->variable_count;
  ir_value *const loop[] = {op->kind == IR_OP_FOR ? op->write[0].value : NULL};
  if (loop[0]) {
    variables = loop;
    count = 1;
  }
  bool ok = true;
  for (int i = 0; i < count; i++) {
    if (variables[i]->space != IR_INDEX) return verify_fail(v, "%%%s is not an index", variables[i]->name);
    if (v->defined[variables[i]->number]) return verify_fail(v, "%%%s is defined twice", variables[i]->name);
    v->defined[variables[i]->number] = true;
  }
  in_parallel |= op->kind == IR_OP_PARALLEL;
  ok = check_block(v, &op->body, in_parallel);
  for (int i = 0; i < count; i++)
    v->defined[variables[i]->number] = false;
  return check_block(v, &op->other, in_parallel) && ok;
}

static bool check_op(verifier *v, const ir_op *op, bool in_parallel) {
  const ir_op_info *info = ir_op_info_of(op->kind);
  v->op = op;
  v->loc = op->loc;
  if (!(info->forms & v->forms)) return verify_fail(v, "there is no '%s' in this form", info->mnemonic);
  if (in_parallel && !is_parallel_op(op->kind))
    return verify_fail(v, "'%s' is not allowed in parallel: only let, assignments, if and atomic are", info->mnemonic);
  if (op->kind == IR_OP_ROLE && !op->name) return verify_fail(v, "a role has a name");
  if (op->kind != IR_OP_PARALLEL && op->variable_count) return verify_fail(v, "only parallel has variables");
  if (info->bodies < 1 && op->body.first) return verify_fail(v, "'%s' has no body", info->mnemonic);
  if (info->bodies < 2 && op->other.first) return verify_fail(v, "'%s' has no else", info->mnemonic);
  return check_writes(v, op) && check_reads(v, op) && check_exprs(v, op) && check_attrs(v, op) &&
         verify_shapes(v, op) && check_definitions(v, op) && check_bodies(v, op, in_parallel);
}

/* What was brought to life in the block ends with it. */
static void end_scope(verifier *v, const ir_block *block) {
  for (const ir_op *op = block->first; op; op = op->next) {
    if (op->kind == IR_OP_FOR) continue;
    for (int i = 0; i < op->write_count; i++)
      if (op->write[i].value && !lives_throughout(v, op->write[i].value) &&
          (op->kind == IR_OP_DECLARE || (op->write[i].value->space == IR_SCALAR && !op->write[i].value->is_mutable)))
        v->defined[op->write[i].value->number] = false;
  }
}

static bool check_block(verifier *v, const ir_block *block, bool in_parallel) {
  bool ok = true;
  for (const ir_op *op = block->first; op; op = op->next)
    ok &= check_op(v, op, in_parallel);
  end_scope(v, block);
  return ok;
}

bool ir_verify(const ir_kernel *kernel, diag *d) {
  static const int forms[] = {
      [IR_FORM_TILE] = IR_FORMS_TILE,     [IR_FORM_FUSED] = IR_FORMS_TILE,     [IR_FORM_SCHEDULED] = IR_FORMS_TILE,
      [IR_FORM_LAID_OUT] = IR_FORMS_TILE, [IR_FORM_PIPELINED] = IR_FORMS_PIPE, [IR_FORM_THREAD] = IR_FORMS_THREAD,
  };
  arena *scratch = arena_create();
  verifier v = {.kernel = kernel, .d = d, .loc = kernel->loc, .forms = forms[kernel->form]};
  v.defined = ARENA_ARRAY(scratch, bool, kernel->value_count + 1);
  bool ok = check_declarations(&v) && check_block(&v, &kernel->body, false);
  arena_destroy(scratch);
  return ok;
}
