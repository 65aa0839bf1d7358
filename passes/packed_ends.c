#include "passes/packed_ends.h"

/* A dimension of a region: where it begins, and the extent of the tensor there. */
typedef struct end {
  const ir_expr *start, *extent;
  int64_t span;
} end;

static bool same_end(end a, end b) {
  return a.span == b.span && ir_expr_equal(a.start, b.start) && ir_expr_equal(a.extent, b.extent);
}

/* Of dimension `dim` of the tile that a copy fills from the region, or that it empties into it. */
static bool end_of(const ir_ref *region, int dim, end *out) {
  for (int d = 0; region->count && d < region->value->rank; d++) {
    if (!region->span[d] || dim-- > 0) continue;
    *out = (end){region->start[d], region->value->extent[d], region->span[d]};
    return true;
  }
  return false;
}

typedef struct bound {
  const ir_value *variable;
  int64_t most;
} bound;

static bool find_loop(void *data, ir_block *block, ir_op *op) {
  bound *b = data;
  (void)block;
  int64_t first, past;
  if (op->kind != IR_OP_FOR || op->write[0].value != b->variable) return true;
  if (ir_is_constant(op->expr[0], &first) && first >= 0 && ir_is_constant(op->expr[1], &past)) b->most = past - 1;
  return false;
}

/* The largest value of an index of the grid or of a loop that begins at 0 or above; -1 when that is not known. */
static int64_t most_of(ir_kernel *kernel, const ir_value *variable) {
  bound b = {variable, -1};
  int64_t count;
  for (int i = 0; i < kernel->grid_count; i++)
    if (kernel->grid[i].index == variable) return ir_is_constant(kernel->grid[i].extent, &count) ? count - 1 : -1;
  ir_walk(&kernel->body, find_loop, &b);
  return b.most;
}

/* Whether the region stays inside its tensor in that dimension, whatever the block and the iteration. */
static bool stays_inside(ir_kernel *kernel, const ir_ref *region, int dim) {
  end e;
  if (!region->count) return true;
  if (!end_of(region, dim, &e)) return false;
  int64_t start, extent, step;
  if (!ir_is_constant(e.extent, &extent)) return false;
  if (ir_is_constant(e.start, &start)) return start >= 0 && start + e.span <= extent;
  if (e.start->kind != IR_EXPR_MUL || e.start->args[0]->kind != IR_EXPR_VALUE ||
      !ir_is_constant(e.start->args[1], &step))
    return false;
  int64_t most = most_of(kernel, e.start->args[0]->value);
  return most >= 0 && step > 0 && most * step + e.span <= extent;
}

/* The only op that writes the value, when it stands in the block before `reader`; else NULL. */
typedef struct writers {
  const ir_value *value;
  ir_op *last;
  int count;
} writers;

static void count_writer(void *data, ir_op *op, ir_value *value, bool written) {
  writers *w = data;
  if (!written || value != w->value) return;
  w->last = op;
  w->count++;
}

static const ir_op *writer_before(ir_kernel *kernel, const ir_block *block, const ir_op *reader,
                                  const ir_value *value) {
  writers w = {value, NULL, 0};
  for (ir_op *op = kernel->body.first; op; op = op->next)
    ir_op_visit(op, true, count_writer, &w);
  for (const ir_op *op = block->first; op && op != reader && w.count == 1; op = op->next)
    if (op == w.last) return op;
  return NULL;
}

/* Whether the operand of `reader` is zero in dimension `dim` where `codes` lies past the end of its tensor. */
static bool is_zero_there(ir_kernel *kernel, const ir_block *block, const ir_op *reader, const ir_ref *operand, int dim,
                          end codes) {
  if (operand->count) return false;
  const ir_op *op = writer_before(kernel, block, reader, operand->value);
  if (!op || op->write[0].count) return false;
  const ir_ref *from = &op->read[0];
  end e;
  if (op->kind == IR_OP_COPY && from->value->space == IR_GLOBAL)
    return (!op->expr_count || ir_is_zero(op->expr[0])) && end_of(from, dim, &e) && same_end(e, codes);
  bool keeps_zero = op->kind == IR_OP_DECODE && !ir_attr_get(&op->attrs, IR_ATTR_OFFSET, 0) &&
                    !ir_attr_get(&op->attrs, IR_ATTR_ZERO_MODE, IR_ZERO_NONE) &&
                    ir_type_of(from->value->type)->class != IR_CLASS_TABLE;
  return keeps_zero && is_zero_there(kernel, block, op, from, dim, codes);
}

/* What follows from an accumulator: tiles, buffers and scalars by number. */
typedef struct trail {
  bool *marked;
  end rows;
  bool reads; /* the op at hand reads what is marked */
  bool grew;  /* something was marked */
  bool lost;  /* something follows that does not end where the rows do */
} trail;

static void note_read(void *data, ir_op *op, ir_value *value, bool written) {
  trail *t = data;
  (void)op;
  t->reads |= !written && t->marked[value->number];
}

static void mark_written(void *data, ir_op *op, ir_value *value, bool written) {
  trail *t = data;
  (void)op;
  if (!written) return;
  t->lost |= value->space == IR_GLOBAL;
  t->grew |= !t->marked[value->number];
  t->marked[value->number] = true;
}

/* Whether a store of a whole tile leaves out what lies past the rows. */
static bool ends_with_rows(const ir_op *copy, end rows) {
  end e;
  for (int dim = 0; dim < copy->read[0].value->rank && !copy->read[0].count; dim++)
    if (end_of(&copy->write[0], dim, &e) && same_end(e, rows)) return true;
  return false;
}

static bool is_elementwise(const trail *t, const ir_op *op) {
  switch (op->kind) {
  case IR_OP_COPY:
    return !op->write[0].count && !op->read[0].count;
  case IR_OP_DOT:
    return !t->marked[op->read[0].value->number] && !t->marked[op->read[1].value->number];
  case IR_OP_SET:
  case IR_OP_LET:
  case IR_OP_FILL:
  case IR_OP_IF:
  case IR_OP_PARALLEL:
    return true;
  default:
    return false;
  }
}

static bool follow(void *data, ir_block *block, ir_op *op) {
  trail *t = data;
  (void)block;
  t->reads = false;
  ir_op_visit(op, false, note_read, t);
  if (!t->reads) return true;
  if (op->kind == IR_OP_COPY && op->write[0].value->space == IR_GLOBAL) {
    t->lost |= !ends_with_rows(op, t->rows);
  } else {
    t->lost |= !is_elementwise(t, op);
    ir_op_visit(op, false, mark_written, t);
  }
  return !t->lost;
}

const char *packed_ends_refusal(ir_kernel *kernel, pass_env *env, const ir_block *block, const ir_op *decode,
                                const ir_op *dot) {
  const ir_op *copy = writer_before(kernel, block, decode, decode->read[0].value);
  if (!copy || copy->kind != IR_OP_COPY) return "its codes are not copied just before it";
  const ir_ref *codes = &copy->read[0];
  end e;
  if (!stays_inside(kernel, codes, 1)) {
    bool is_b = dot->read[1].value == decode->write[0].value;
    const ir_ref *other = &dot->read[is_b ? 0 : 1];
    bool transposed = ir_attr_get(&dot->attrs, is_b ? IR_ATTR_TRANSPOSE_A : IR_ATTR_TRANSPOSE_B, 0) != 0;
    if (!end_of(codes, 1, &e) || !is_zero_there(kernel, block, dot, other, is_b == transposed ? 0 : 1, e))
      return "past the end of its columns it does not meet zeros";
  }
  if (stays_inside(kernel, codes, 0)) return NULL;
  trail t = {.marked = ARENA_ARRAY(env->scratch, bool, kernel->value_count)};
  if (!end_of(codes, 0, &t.rows)) return "the end of its rows is not known";
  t.marked[dot->write[0].value->number] = true;
  do {
    t.grew = false;
    ir_walk(&kernel->body, follow, &t);
  } while (t.grew && !t.lost);
  return t.lost ? "what follows from it does not end with its rows" : NULL;
}
