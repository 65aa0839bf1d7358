/* split-dots: let several warps share the k of a dot, each with sums of its own.
 *
 *   before  %acc <- fill 0.0                                  after  %acc_parts <- fill 0.0
 *           for %k ... do                                            for %k ... do
 *             %acc <- dot %As, %Wd {warps_k = 4}                       %acc_parts <- dot %As, %Wd {warps_k = 4}
 *           end                                                      end
 *                                                                    %acc <- reduce %acc_parts {axis = 0, operation = sum, spread = 1}
 *
 * Where a tile has few rows for the warps that an SM needs to hide its latencies, they divide k: part p of the sums is
 * that of k in [p * K / parts, (p + 1) * K / parts) of every tile. The parts are added once, behind the loop, in a fixed
 * order, and each warp adds and keeps a share of the sums: all of them would read as often as there are parts what only one
 * stores.
 *
 * Fires for a dot with warps_k, which schedule gives to those that split_dots_parts allows: the accumulator begins as
 * zeros in front of the loop that the dot stands in, and nothing else in that loop names it. */
#include "passes/split_dots.h"
#include "passes/tensor_core.h"

typedef struct place {
  const ir_op *dot;
  ir_block *block; /* that the loop stands in */
  ir_op *fill, *loop;
} place;

static bool holds(ir_block *block, const ir_op *op) {
  for (ir_op *o = block->first; o; o = o->next)
    if (o == op || holds(&o->body, op) || holds(&o->other, op)) return true;
  return false;
}

typedef struct naming {
  const ir_value *value;
  int count;
} naming;

static void count_name(void *data, ir_op *op, ir_value *value, bool written) {
  naming *n = data;
  (void)op, (void)written;
  n->count += value == n->value;
}

static int names(ir_op *op, const ir_value *value) {
  naming n = {value, 0};
  ir_op_visit(op, true, count_name, &n);
  return n.count;
}

/* The loop around the dot, and the fill in front of it; searched from the outermost block on. */
static bool find_place(ir_block *block, place *p) {
  const ir_value *accumulator = p->dot->write[0].value;
  ir_op *fill = NULL;
  for (ir_op *op = block->first; op; op = op->next) {
    if (op->kind == IR_OP_FILL && op->write[0].value == accumulator && !op->write[0].count && ir_is_zero(op->expr[0])) {
      fill = op;
    } else if (op->kind == IR_OP_FOR && holds(&op->body, p->dot)) {
      p->block = block;
      p->fill = fill;
      p->loop = op;
      return fill ? names(op, accumulator) == names((ir_op *)p->dot, accumulator) : find_place(&op->body, p);
    } else if (holds(&op->body, p->dot) || holds(&op->other, p->dot)) {
      return find_place(holds(&op->body, p->dot) ? &op->body : &op->other, p);
    } else if (names(op, accumulator)) {
      fill = NULL;
    }
  }
  return false;
}

typedef struct search {
  const ir_value *decoded;
  const ir_op *decode;
} search;

static bool find_decode(void *data, ir_block *block, ir_op *op) {
  search *s = data;
  (void)block;
  if (op->kind == IR_OP_DECODE && op->write[0].value == s->decoded) s->decode = op;
  return !s->decode;
}

/* Whether a warp's part of k is whole instructions, whole blocks of codes, and whole groups or part of one. */
static bool divides(ir_kernel *kernel, const ir_op *dot, int parts) {
  dot_shape s = dot_shape_of(dot);
  if (s.k % (parts * tensor_core_depth(s.rows->value->type))) return false;
  if (s.rows->value->space != IR_TILE) return true;
  search found = {s.rows->value, NULL};
  ir_walk(&kernel->body, find_decode, &found);
  if (!found.decode) return false;
  int64_t part = s.k / parts, block = 256 / ir_bits(found.decode->read[0].value->type),
          group = ir_attr_get(&found.decode->attrs, IR_ATTR_GROUP, s.k);
  return part % block == 0 && (group <= 0 || part % group == 0 || group % part == 0);
}

int split_dots_parts(ir_kernel *kernel, const ir_op *dot, int most) {
  place p = {.dot = dot};
  int64_t keep;
  if (dot->expr_count && !(ir_is_constant(dot->expr[0], &keep) && keep)) return 1;
  if (!ir_attr_get(&dot->attrs, IR_ATTR_ACCUMULATE, 1) || dot->write[0].value->rank != 2) return 1;
  if (!find_place(&kernel->body, &p)) return 1;
  while (most > 1 && !divides(kernel, dot, most))
    most /= 2;
  return most > 1 ? most : 1;
}

typedef struct splitting {
  ir_kernel *kernel;
  pass_env *env;
} splitting;

static bool split(void *data, ir_block *block, ir_op *op) {
  splitting *s = data;
  (void)block;
  int parts = op->kind == IR_OP_DOT ? (int)ir_attr_get(&op->attrs, IR_ATTR_WARPS_K, 1) : 1;
  place p = {.dot = op};
  if (parts < 2 || op->write[0].value->rank != 2 || !find_place(&s->kernel->body, &p)) return true;
  arena *memory = s->env->memory;
  ir_value *sum = op->write[0].value;
  ir_value *all =
      ir_value_create(memory, s->kernel, IR_TILE, sum->type, arena_printf(memory, "%s_parts", sum->name), sum->loc);
  all->rank = 3;
  all->extent[0] = ir_int(memory, parts);
  all->extent[1] = sum->extent[0];
  all->extent[2] = sum->extent[1];
  op->write[0] = p.fill->write[0] = ir_ref_whole(all);
  ir_op *reduce = ir_op_create(memory, IR_OP_REDUCE, op->loc);
  ir_op_add_write(reduce, ir_ref_whole(sum));
  ir_op_add_read(reduce, ir_ref_whole(all));
  ir_attr_set(&reduce->attrs, IR_ATTR_AXIS, 0);
  ir_attr_set(&reduce->attrs, IR_ATTR_OPERATION, IR_SUM);
  ir_attr_set(&reduce->attrs, IR_ATTR_SPREAD, 1);
  ir_block_insert_after(p.block, p.loop, reduce);
  return true;
}

bool split_dots(ir_kernel *kernel, pass_env *env) {
  splitting s = {kernel, env};
  ir_walk(&kernel->body, split, &s);
  return true;
}
