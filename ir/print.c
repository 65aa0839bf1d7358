/* The IR as text. Everything but control flow is printed from the rows of ops.def and exprs.def. */
#include "ir/expr.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void print_list(const ir_expr *const *items, int count, str *out) {
  for (int i = 0; i < count; i++) {
    if (i) str_append(out, ", ");
    ir_print_expr(items[i], out);
  }
}

/* -- Literals -- */

static void print_int(const ir_expr *e, str *out) {
  switch (e->type) {
  case IR_I32:
    str_printf(out, "%" PRId64, e->int_value);
    break;
  case IR_U32:
    str_printf(out, "%" PRIu64 "u", (uint64_t)e->int_value);
    break;
  case IR_I64:
    str_printf(out, "%" PRId64 "L", e->int_value);
    break;
  case IR_U64:
    str_printf(out, "%" PRIu64 "uL", (uint64_t)e->int_value);
    break;
  default:
    str_printf(out, "%s(%" PRId64 ")", ir_type_of(e->type)->name, e->int_value);
  }
}

/* The shortest decimal that is this value once it is rounded to f32. */
static void print_f32(double value, str *out) {
  double shortest = value;
  if (isfinite(value)) {
    enum { F32_DIGITS = 9 };
    char text[40];
    for (int digits = 1; digits <= F32_DIGITS; digits++) {
      snprintf(text, sizeof text, "%.*g", digits, value);
      shortest = strtod(text, NULL);
      if ((double)(float)shortest == value) break;
    }
  }
  str_append_double(out, shortest);
}

static void print_float(const ir_expr *e, str *out) {
  if (e->type == IR_F32) {
    print_f32(e->float_value, out);
  } else if (e->type == IR_F64) {
    str_append_double(out, e->float_value);
    str_append_char(out, 'd');
  } else {
    str_append(out, ir_type_of(e->type)->name);
    str_append_char(out, '(');
    print_f32(e->float_value, out);
    str_append_char(out, ')');
  }
}

/* -- Expressions -- */

static void print_slot(const ir_expr *slot, str *out) {
  if (!slot) return;
  bool is_simple =
      slot->kind == IR_EXPR_VALUE || (slot->kind == IR_EXPR_INT && slot->type == IR_I32 && slot->int_value >= 0);
  str_append(out, is_simple ? "@" : "@(");
  ir_print_expr(slot, out);
  if (!is_simple) str_append_char(out, ')');
}

static void print_operand(const ir_expr *e, int precedence, bool is_right, str *out) {
  int own = ir_precedence(e->kind);
  bool needs = own && (own < precedence || (is_right && own == precedence));
  if (needs) str_append_char(out, '(');
  ir_print_expr(e, out);
  if (needs) str_append_char(out, ')');
}

void ir_print_expr(const ir_expr *e, str *out) {
  const ir_expr_info *info = ir_expr_info_of(e->kind);
  enum { TIGHTEST = 100 };
  switch (info->style) {
  case IR_STYLE_INFIX:
    print_operand(e->args[0], ir_precedence(e->kind), false, out);
    str_printf(out, " %s ", info->text);
    print_operand(e->args[1], ir_precedence(e->kind), true, out);
    return;
  case IR_STYLE_PREFIX: {
    /* A literal keeps its own sign apart: -(5) is the operator over a literal, -5 is a literal. */
    const ir_expr *a = e->args[0];
    bool is_literal = a->kind == IR_EXPR_INT || a->kind == IR_EXPR_FLOAT;
    str_append(out, info->text);
    if (is_literal) str_append_char(out, '(');
    print_operand(a, TIGHTEST, false, out);
    if (is_literal) str_append_char(out, ')');
    return;
  }
  case IR_STYLE_CALL:
  case IR_STYLE_TYPED:
    str_append(out, info->text);
    if (info->style == IR_STYLE_TYPED) str_printf(out, ".%s", ir_type_of(e->lane_type)->name);
    str_append_char(out, '(');
    print_list(e->args, e->arg_count, out);
    str_append_char(out, ')');
    return;
  case IR_STYLE_LEAF:
    break;
  }
  switch (e->kind) {
  case IR_EXPR_INT:
    print_int(e, out);
    return;
  case IR_EXPR_FLOAT:
    print_float(e, out);
    return;
  case IR_EXPR_BOOL:
    str_append(out, e->int_value ? "true" : "false");
    return;
  case IR_EXPR_VALUE:
    str_printf(out, "%%%s", e->value->name);
    return;
  case IR_EXPR_ELEMENT:
    str_printf(out, "%%%s", e->value->name);
    print_slot(e->slot, out);
    if (!e->arg_count) return;
    str_append_char(out, '[');
    print_list(e->args, e->arg_count, out);
    str_append_char(out, ']');
    return;
  case IR_EXPR_CAST:
    str_printf(out, "%s(", ir_type_of(e->type)->name);
    ir_print_expr(e->args[0], out);
    str_append_char(out, ')');
    return;
  default:
    BUG("expression %s has no text", info->text);
  }
}

/* -- Ops -- */

void ir_print_ref(const ir_ref *ref, str *out) {
  if (!ref->value) {
    str_append(out, "none");
    return;
  }
  str_printf(out, "%%%s", ref->value->name);
  print_slot(ref->slot, out);
  if (!ref->count) return;
  str_append_char(out, '[');
  for (int i = 0; i < ref->count; i++) {
    if (i) str_append(out, ", ");
    ir_print_expr(ref->start[i], out);
    if (ref->span[i]) str_printf(out, " : %d", ref->span[i]);
  }
  str_append_char(out, ']');
}

static void print_attrs(const ir_attrs *attrs, str *out) {
  bool any = false;
  for (int i = 0; i < IR_ATTR_KIND_COUNT; i++) {
    ir_attr attr = (ir_attr)i;
    if (!ir_attr_has(attrs, attr)) continue;
    const ir_attr_info *info = ir_attr_info_of(attr);
    str_printf(out, "%s%s = ", any ? ", " : " {", info->name);
    if (info->is_enum)
      ir_attr_choice_name(attr, (int)attrs->value[i], out);
    else
      str_printf(out, "%" PRId64, attrs->value[i]);
    any = true;
  }
  if (any) str_append_char(out, '}');
}

static void print_loc(src_loc loc, str *out) {
  if (!loc.line) return;
  str_append(out, " @");
  if (loc.file) str_printf(out, "%u:", (unsigned)loc.file);
  str_printf(out, "%" PRIu32 ":%u", loc.line, (unsigned)loc.column);
}

/* `, ` between operands, one space before the first. */
static void separate(bool *any, str *out) {
  str_append(out, *any ? ", " : " ");
  *any = true;
}

static void print_refs(const ir_ref *refs, int count, bool *any, str *out) {
  for (int i = 0; i < count; i++) {
    separate(any, out);
    ir_print_ref(&refs[i], out);
  }
}

static void print_exprs(const ir_op *op, bool *any, str *out) {
  for (int i = 0; i < op->expr_count; i++) {
    separate(any, out);
    ir_print_expr(op->expr[i], out);
  }
}

/* `writes <-`, without the space after it. */
static void print_writes(const ir_op *op, str *out) {
  for (int i = 0; i < op->write_count; i++) {
    if (i) str_append(out, ", ");
    ir_print_ref(&op->write[i], out);
  }
  if (op->write_count) str_append(out, " <-");
}

static void print_parallel(const ir_op *op, str *out) {
  str_append(out, "parallel");
  for (int i = 0; i < op->variable_count; i++) {
    str_printf(out, "%s %%%s in ", i ? "," : "", op->variable[i]->name);
    ir_print_expr(op->expr[i], out);
  }
}

void ir_print_op(const ir_op *op, str *out) {
  const ir_op_info *info = ir_op_info_of(op->kind);
  bool any = false;
  switch (op->kind) {
  case IR_OP_FOR:
    str_printf(out, "for %%%s in ", op->write[0].value->name);
    ir_print_expr(op->expr[0], out);
    str_append(out, " .. ");
    ir_print_expr(op->expr[1], out);
    str_append(out, " step ");
    ir_print_expr(op->expr[2], out);
    break;
  case IR_OP_PARALLEL:
    print_parallel(op, out);
    break;
  case IR_OP_ROLE:
    str_printf(out, "role %s", op->name);
    break;
  case IR_OP_DECLARE:
    str_append(out, "declare");
    print_refs(op->write, op->write_count, &any, out);
    break;
  case IR_OP_LET:
    str_append(out, "let ");
    print_writes(op, out);
    print_exprs(op, &any, out);
    break;
  case IR_OP_SET:
    print_writes(op, out);
    print_exprs(op, &any, out);
    break;
  default:
    print_writes(op, out);
    if (op->write_count) str_append_char(out, ' ');
    str_append(out, info->mnemonic);
    print_refs(op->read, op->read_count, &any, out);
    print_exprs(op, &any, out);
  }
  print_attrs(&op->attrs, out);
  print_loc(op->loc, out);
  if (info->bodies) str_append(out, " do");
}

static void indent(int depth, str *out) {
  for (int i = 0; i < depth; i++)
    str_append(out, "  ");
}

static void print_block(const ir_block *block, int depth, str *out) {
  for (const ir_op *op = block->first; op; op = op->next) {
    indent(depth, out);
    ir_print_op(op, out);
    str_append_char(out, '\n');
    if (!ir_op_info_of(op->kind)->bodies) continue;
    print_block(&op->body, depth + 1, out);
    if (op->other.first) {
      indent(depth, out);
      str_append(out, "else\n");
      print_block(&op->other, depth + 1, out);
    }
    indent(depth, out);
    str_append(out, "end\n");
  }
}

/* -- Declarations -- */

static void print_shape(const ir_value *value, str *out) {
  str_append(out, ir_type_of(value->type)->name);
  str_append_char(out, '[');
  print_list(value->extent, value->rank, out);
  str_append_char(out, ']');
}

static void print_size(const ir_value *value, str *out) {
  str_printf(out, "  size %%%s", value->name);
  bool has_multiple = value->multiple_of != 1, has_bound = value->bound >= 0;
  if (has_multiple || has_bound) str_append(out, " {");
  if (has_multiple) str_printf(out, "multiple_of = %" PRId64, value->multiple_of);
  if (has_multiple && has_bound) str_append(out, ", ");
  if (has_bound) str_printf(out, "bound = %" PRId64, value->bound);
  if (has_multiple || has_bound) str_append_char(out, '}');
}

static void print_argument(const ir_value *value, str *out) {
  static const char *const directions[] = {[IR_IN] = "in", [IR_OUT] = "out", [IR_INOUT] = "inout"};
  str_printf(out, "  arg %%%s: global ", value->name);
  print_shape(value, out);
  str_printf(out, " %s", directions[value->direction]);
  bool has_strides = false;
  for (int i = 0; i < value->rank; i++)
    has_strides |= value->stride[i] != NULL;
  if (has_strides) {
    str_append(out, " stride [");
    for (int i = 0; i < value->rank; i++) {
      if (i) str_append(out, ", ");
      if (value->stride[i])
        ir_print_expr(value->stride[i], out);
      else
        str_append(out, "none");
    }
    str_append_char(out, ']');
  }
  if (!value->packed) return;
  str_append(out, " {packed = ");
  packed_layout_print(value->packed, out);
  str_append_char(out, '}');
}

static void print_map(const ir_value *value, str *out) {
  str_printf(out, " of %%%s box [", value->tensor->name);
  for (int i = 0; i < value->rank; i++)
    str_printf(out, "%s%d", i ? ", " : "", value->box[i]);
  str_printf(out, "] swizzle %d", (int)value->swizzle);
  if (value->fetch != IR_FETCH) str_printf(out, " fetch %d", value->fetch);
}

static void print_alloc(const ir_value *value, str *out) {
  str_printf(out, "  alloc %%%s: %s", value->name, ir_space_name(value->space));
  switch (value->space) {
  case IR_SHARED:
  case IR_TILE:
  case IR_REGISTERS:
    str_append_char(out, ' ');
    print_shape(value, out);
    break;
  case IR_SCALAR:
    str_printf(out, " %s%s", ir_type_of(value->type)->name, value->is_mutable ? " mutable" : "");
    break;
  case IR_MAP:
    print_map(value, out);
    break;
  default:
    break;
  }
  bool is_placed = value->space == IR_SHARED || value->space == IR_BARRIER;
  if (is_placed && value->slots != 1) str_printf(out, " slots %d", value->slots);
  if (value->space == IR_BARRIER) str_printf(out, " arrivals %d", value->arrivals);
  if (is_placed && value->offset >= 0) str_printf(out, " offset %d", value->offset);
  if (value->space == IR_SHARED && value->shared) {
    str_append(out, " layout ");
    shared_layout_print(value->shared, out);
  }
  if (value->space == IR_TILE && value->tile) {
    str_append(out, " layout ");
    tile_layout_print(value->tile, out);
  }
}

static bool is_grid_index(const ir_kernel *kernel, const ir_value *value) {
  for (int i = 0; i < kernel->grid_count; i++)
    if (kernel->grid[i].index == value) return true;
  return false;
}

static void print_values(const ir_kernel *kernel, bool arguments, str *out) {
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    bool is_argument = value->space == IR_GLOBAL || value->space == IR_SIZE;
    if (is_argument != arguments || is_grid_index(kernel, value)) continue;
    if (value->space == IR_SIZE)
      print_size(value, out);
    else if (value->space == IR_GLOBAL)
      print_argument(value, out);
    else
      print_alloc(value, out);
    print_loc(value->loc, out);
    str_append_char(out, '\n');
  }
}

void ir_print_kernel(const ir_kernel *kernel, str *out) {
  str_printf(out, "kernel @%s target %s form %s", kernel->name, ir_target_of(kernel->target)->name,
             ir_form_name(kernel->form));
  print_attrs(&kernel->attrs, out);
  print_loc(kernel->loc, out);
  str_append_char(out, '\n');
  print_values(kernel, true, out);
  for (int i = 0; i < kernel->param_count; i++) {
    const ir_param *param = &kernel->params[i];
    str_printf(out, "  param %s = %" PRId64 "%s\n", param->name, param->value, param->tunable ? " tune" : "");
  }
  for (int i = 0; i < kernel->fact_count; i++) {
    str_append(out, "  fact ");
    ir_print_expr(kernel->facts[i].condition, out);
    print_loc(kernel->facts[i].loc, out);
    str_append_char(out, '\n');
  }
  for (int i = 0; i < kernel->grid_count; i++) {
    str_printf(out, "  grid %%%s in ", kernel->grid[i].index->name);
    ir_print_expr(kernel->grid[i].extent, out);
    print_loc(kernel->grid[i].index->loc, out);
    str_append_char(out, '\n');
  }
  if (kernel->block_count) {
    str_append(out, "  blocks ");
    ir_print_expr(kernel->block_count, out);
    str_append_char(out, '\n');
  }
  print_values(kernel, false, out);
  str_append(out, "do\n");
  print_block(&kernel->body, 1, out);
  str_append(out, "end\n");
}

void ir_print_module(const ir_module *module, str *out) {
  str_append(out, "source ");
  str_append_json(out, module->source_name);
  str_append_char(out, '\n');
  for (const ir_kernel *kernel = module->kernels; kernel; kernel = kernel->next)
    ir_print_kernel(kernel, out);
}
