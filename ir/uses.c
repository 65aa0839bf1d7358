/* What an op reads, writes and orders, from the rows of ops.def and the attributes that change them. */
#include "ir/ir.h"

/* Whether the old value of what it writes takes part in the result. */
static bool reads_destination(const ir_op *op) {
  switch (op->kind) {
  case IR_OP_ATOMIC:
  case IR_OP_MMA:
  case IR_OP_RED_GLOBAL:
  case IR_OP_RED_SHARED:
    return true;
  case IR_OP_DOT:
    return op->expr_count > 0 || ir_attr_get(&op->attrs, IR_ATTR_ACCUMULATE, 1) != 0;
  case IR_OP_WGMMA: {
    int64_t scale;
    return op->expr_count < 3 || !ir_is_constant(op->expr[2], &scale) || scale != 0;
  }
  default:
    return ir_attr_get(&op->attrs, IR_ATTR_ACCUMULATE, 0) != 0 || ir_attr_get(&op->attrs, IR_ATTR_REDUCE, 0) != 0;
  }
}

/* Ops that also change an operand which their row lists as read. */
static bool writes_source(const ir_op *op) { return op->kind == IR_OP_ATOMIC_GLOBAL; }

typedef struct visitor {
  ir_op *op;
  ir_visit *visit;
  void *context;
} visitor;

static void visit_expr(const visitor *v, const ir_expr *e) {
  if (!e) return;
  if (e->kind == IR_EXPR_VALUE || e->kind == IR_EXPR_ELEMENT) v->visit(v->context, v->op, e->value, false);
  visit_expr(v, e->slot);
  for (int i = 0; i < e->arg_count; i++) {
    /* The address of a buffer is not its content. */
    if (e->kind == IR_EXPR_ADDRESS)
      visit_expr(v, e->args[i]->slot);
    else
      visit_expr(v, e->args[i]);
  }
}

static void visit_place(const visitor *v, const ir_ref *ref) {
  visit_expr(v, ref->slot);
  for (int i = 0; i < ref->count; i++)
    visit_expr(v, ref->start[i]);
}

static void visit_block(ir_block *block, ir_visit *visit, void *context) {
  for (ir_op *op = block->first; op; op = op->next)
    ir_op_visit(op, true, visit, context);
}

void ir_op_visit(ir_op *op, bool nested, ir_visit *visit, void *context) {
  visitor v = {op, visit, context};
  bool old_too = reads_destination(op);
  for (int i = 0; i < op->write_count; i++) {
    if (!op->write[i].value) continue;
    visit_place(&v, &op->write[i]);
    if (old_too) visit(context, op, op->write[i].value, false);
    visit(context, op, op->write[i].value, true);
  }
  for (int i = 0; i < op->read_count; i++) {
    if (!op->read[i].value) continue;
    visit_place(&v, &op->read[i]);
    visit(context, op, op->read[i].value, false);
    if (writes_source(op)) visit(context, op, op->read[i].value, true);
  }
  for (int i = 0; i < op->expr_count; i++)
    visit_expr(&v, op->expr[i]);
  for (int i = 0; i < op->variable_count; i++)
    visit(context, op, op->variable[i], true);
  if (!nested) return;
  visit_block(&op->body, visit, context);
  visit_block(&op->other, visit, context);
}

typedef struct search {
  const ir_value *value;
  bool written;
  bool found;
} search;

static void look(void *context, ir_op *op, ir_value *value, bool written) {
  (void)op;
  search *s = context;
  if (value == s->value && written == s->written) s->found = true;
}

bool ir_op_reads(ir_op *op, const ir_value *value) {
  search s = {value, false, false};
  ir_op_visit(op, true, look, &s);
  return s.found;
}

bool ir_op_writes(ir_op *op, const ir_value *value) {
  search s = {value, true, false};
  ir_op_visit(op, true, look, &s);
  return s.found;
}

bool ir_orders(const ir_op *op) { return ir_op_info_of(op->kind)->effects == IR_EFFECT_O; }

bool ir_is_prepared(const ir_value *tensor) { return tensor->packed && tensor->direction == IR_IN; }

static void look_for_tensor(void *context, ir_op *op, ir_value *value, bool written) {
  (void)written;
  const ir_value *tensor = value->space == IR_MAP ? value->tensor : value;
  if (tensor->space == IR_GLOBAL && !ir_is_prepared(tensor) && op->kind != IR_OP_TMA_PREFETCH)
    *(const ir_value **)context = tensor;
}

const ir_value *ir_awaited_tensor(ir_op *op, bool nested) {
  const ir_value *found = NULL;
  ir_op_visit(op, nested, look_for_tensor, &found);
  return found;
}

bool ir_walk(ir_block *block, ir_walk_visit *visit, void *context) {
  for (ir_op *op = block->first, *next; op; op = next) {
    next = op->next; /* the visitor may remove the op */
    if (!visit(context, block, op)) return false;
    if (!ir_walk(&op->body, visit, context) || !ir_walk(&op->other, visit, context)) return false;
  }
  return true;
}

static void change_refs(ir_ref *refs, int count, const ir_expr *(*change)(void *context, const ir_expr *e),
                        void *context) {
  for (int i = 0; i < count; i++) {
    if (refs[i].slot) refs[i].slot = change(context, refs[i].slot);
    for (int d = 0; d < refs[i].count; d++)
      refs[i].start[d] = change(context, refs[i].start[d]);
  }
}

void ir_op_each_expr(ir_op *op, const ir_expr *(*change)(void *context, const ir_expr *e), void *context) {
  change_refs(op->write, op->write_count, change, context);
  change_refs(op->read, op->read_count, change, context);
  for (int i = 0; i < op->expr_count; i++)
    op->expr[i] = change(context, op->expr[i]);
}

static void note_value(void *context, ir_op *op, ir_value *value, bool written) {
  (void)op, (void)written;
  bool *used = context;
  used[value->number] = true;
}

static bool note_op(void *context, ir_block *block, ir_op *op) {
  (void)block;
  bool *used = context;
  ir_op_visit(op, false, note_value, used);
  for (int i = 0; i < op->variable_count; i++)
    used[op->variable[i]->number] = true;
  return true;
}

void ir_drop_unused(ir_kernel *kernel, arena *scratch) {
  bool *used = ARENA_ARRAY(scratch, bool, kernel->value_count);
  ir_walk(&kernel->body, note_op, used);
  for (int i = 0; i < kernel->grid_count; i++)
    used[kernel->grid[i].index->number] = true;
  int kept = 0;
  for (int i = 0; i < kernel->value_count; i++) {
    ir_value *value = kernel->values[i];
    /* Arguments are the kernel's signature. */
    if (used[i] || value->space == IR_GLOBAL || value->space == IR_SIZE) kernel->values[kept++] = value;
  }
  kernel->value_count = kept;
  for (int i = 0; i < kept; i++)
    kernel->values[i]->number = i;
}
