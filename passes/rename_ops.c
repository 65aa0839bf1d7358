#include "passes/rename_ops.h"

op_renaming rename_begin(ir_kernel *kernel, pass_env *env) {
  return (op_renaming){kernel, env, ARENA_ARRAY(env->scratch, const ir_expr *, kernel->value_count),
                       kernel->value_count};
}

static const ir_expr *rename_expr(void *data, const ir_expr *e) {
  op_renaming *r = data;
  return ir_substitute(r->env->memory, e, r->replace, r->count);
}

void rename_op(op_renaming *r, ir_op *op) {
  ir_op_each_expr(op, rename_expr, r);
  if (op->kind == IR_OP_LET) {
    ir_value *old = op->write[0].value;
    ir_value *fresh = ir_value_create(r->env->memory, r->kernel, IR_SCALAR, old->type, old->name, old->loc);
    op->write[0].value = fresh;
    r->replace[old->number] = ir_read(r->env->memory, fresh);
  }
  for (ir_op *child = op->body.first; child; child = child->next)
    rename_op(r, child);
  for (ir_op *child = op->other.first; child; child = child->next)
    rename_op(r, child);
}
