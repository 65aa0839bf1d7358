#include "passes/lower.h"

#include <string.h>

ir_op *thread_op(lower *l, ir_op_kind kind) {
  ir_op *op = ir_op_create(l->memory, kind, l->loc);
  ir_block_append(l->out, op);
  return op;
}

static bool is_plain(const ir_expr *e) {
  return e->kind == IR_EXPR_INT || e->kind == IR_EXPR_FLOAT || e->kind == IR_EXPR_BOOL || e->kind == IR_EXPR_VALUE;
}

static const ir_expr *let_in(lower *l, ir_block *block, const char *name, const ir_expr *e) {
  if (is_plain(e)) return e;
  ir_value *value = ir_value_create(l->memory, l->kernel, IR_SCALAR, e->type, name, l->loc);
  ir_op *let = ir_op_create(l->memory, IR_OP_LET, l->loc);
  ir_op_add_write(let, ir_ref_whole(value));
  ir_op_add_expr(l->memory, let, e);
  ir_block_append(block, let);
  return ir_read(l->memory, value);
}

const ir_expr *thread_let(lower *l, const char *name, const ir_expr *e) { return let_in(l, l->out, name, e); }

const ir_expr *thread_role_let(lower *l, const char *name, const ir_expr *e) { return let_in(l, l->prologue, name, e); }

void thread_set(lower *l, ir_value *value, const ir_expr *e) {
  ir_op *op = thread_op(l, IR_OP_SET);
  ir_op_add_write(op, ir_ref_whole(value));
  ir_op_add_expr(l->memory, op, e);
}

void thread_set_word(lower *l, ir_value *registers, const ir_expr *word, const ir_expr *e) {
  ir_op *op = thread_op(l, IR_OP_SET);
  ir_ref ref = ir_ref_whole(registers);
  ref.count = 1;
  ref.start[0] = word;
  ir_op_add_write(op, ref);
  ir_op_add_expr(l->memory, op, e);
}

const ir_expr *thread_word(lower *l, ir_value *registers, const ir_expr *word) {
  return ir_element(l->memory, registers, NULL, 1, &word);
}

ir_value *thread_array(lower *l, const char *name, ir_type type, int elements) {
  ir_value *value = ir_value_create(l->memory, l->kernel, IR_REGISTERS, type, name, l->loc);
  value->rank = 1;
  value->extent[0] = ir_int(l->memory, elements);
  ir_op *declare = thread_op(l, IR_OP_DECLARE);
  ir_op_add_write(declare, ir_ref_whole(value));
  return value;
}

ir_value *thread_scratch(lower *l, const char *name, ir_type type, int rank, const int *extent) {
  ir_value *value = ir_value_create(l->memory, l->kernel, IR_SHARED, type, name, l->loc);
  value->rank = rank;
  value->slots = 1;
  value->offset = -1;
  for (int d = 0; d < rank; d++)
    value->extent[d] = ir_int(l->memory, extent[d]);
  shared_layout layout;
  if (!shared_layout_make(rank, extent, ir_bits(type), rank - 1, SHARED_SWIZZLE_NONE, 0, &layout))
    BUG("no layout for scratch %s", name);
  value->shared = arena_copy(l->memory, &layout, sizeof layout);
  return value;
}

void thread_meet(lower *l) {
  bool alone = l->warp_count == 1;
  ir_op *op = thread_op(l, alone ? IR_OP_WARP_SYNC : IR_OP_BAR_SYNC);
  if (!alone) {
    ir_attr_set(&op->attrs, IR_ATTR_ID, l->barrier_id);
    ir_attr_set(&op->attrs, IR_ATTR_THREADS, l->warp_count * 32);
  }
  lower_meeting meeting = {l->out, op};
  ARENA_PUSH(l->env->scratch, l->meetings, l->meeting_count, l->meeting_capacity, meeting);
}

ir_block *thread_enter(lower *l, ir_block *body) {
  ir_block *saved = l->out;
  l->out = body;
  return saved;
}

void thread_leave(lower *l, ir_block *saved) { l->out = saved; }

ir_block *thread_loop(lower *l, const char *name, const ir_expr *count, int unroll, const ir_expr **variable) {
  ir_op *loop = thread_op(l, IR_OP_FOR);
  ir_value *index = ir_value_create(l->memory, l->kernel, IR_INDEX, IR_I32, name, l->loc);
  ir_op_add_write(loop, ir_ref_whole(index));
  ir_op_add_expr(l->memory, loop, thread_int(l, 0));
  ir_op_add_expr(l->memory, loop, count);
  ir_op_add_expr(l->memory, loop, thread_int(l, 1));
  ir_attr_set(&loop->attrs, IR_ATTR_UNROLL, unroll);
  *variable = ir_read(l->memory, index);
  return thread_enter(l, &loop->body);
}

ir_block *thread_guard(lower *l, const ir_expr *condition) {
  int64_t known;
  if (ir_is_constant(condition, &known) && known) return l->out;
  ir_op *op = thread_op(l, IR_OP_IF);
  ir_op_add_expr(l->memory, op, condition);
  return thread_enter(l, &op->body);
}

const ir_expr *thread_first_thread(lower *l) {
  if (l->one_thread) return ir_bool(l->memory, true);
  return ir_binary(l->memory, IR_EXPR_EQ, l->thread, thread_int(l, 0));
}

const ir_expr *thread_part_number(lower *l, const ir_op *op) {
  int parts = (int)ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1);
  if (parts == 1) return NULL;
  if (l->warp_count % parts) {
    diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc, "%d warps cannot be in %d parts", l->warp_count, parts);
    l->failed = true;
    return thread_int(l, 0);
  }
  const ir_expr *number = ir_binary(l->memory, IR_EXPR_DIV, l->warp, thread_int(l, l->warp_count / parts));
  if (!l->part) l->part = thread_role_let(l, "part", number);
  return l->part;
}

const ir_expr *thread_first_of_part(lower *l, const ir_op *op) {
  const ir_expr *part = thread_part_number(l, op);
  if (!part) return thread_first_thread(l);
  int threads = 32 * l->warp_count / (int)ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1);
  return ir_binary(l->memory, IR_EXPR_EQ, l->thread, thread_mul(l, part, thread_int(l, threads)));
}

const ir_expr *thread_add(lower *l, const ir_expr *a, const ir_expr *b) {
  return ir_binary(l->memory, IR_EXPR_ADD, a, b);
}

const ir_expr *thread_mul(lower *l, const ir_expr *a, const ir_expr *b) {
  return ir_binary(l->memory, IR_EXPR_MUL, a, b);
}

const ir_expr *thread_digit(lower *l, const ir_expr *number, int stride, int count, int above) {
  if (count == 1) return thread_int(l, 0);
  const ir_expr *digit = stride > 1 ? ir_binary(l->memory, IR_EXPR_DIV, number, thread_int(l, stride)) : number;
  return above > 1 ? ir_binary(l->memory, IR_EXPR_MOD, digit, thread_int(l, count)) : digit;
}

const ir_expr *thread_u32(lower *l, const ir_expr *e) { return e->type == IR_U32 ? e : ir_cast(l->memory, IR_U32, e); }

const ir_expr *thread_i64(lower *l, const ir_expr *e) { return e->type == IR_I64 ? e : ir_cast(l->memory, IR_I64, e); }
