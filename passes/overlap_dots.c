/* overlap-dots: delay the last dot of a loop by one iteration, so that what stands between the dots runs under it.
 *
 *   before  for %j in 0 .. %n step 1 do        after  if 0 < %n do
 *             %Ks <- copy %K[%j]                        %Ks <- copy %K[0]
 *             %s <- dot %Qs, %Ks                        %s <- dot %Qs, %Ks
 *             ... %s ... %p <- ...                      ... %s ... %p <- ...
 *             %Vs <- copy %V[%j]                        for %j in 1 .. %n step 1 do
 *             %o <- dot %p, %Vs                           %Ks <- copy %K[%j]
 *           end                                           %s <- dot %Qs, %Ks
 *                                                         %Vs <- copy %V[%j - 1]
 *                                                         %o <- dot %p, %Vs
 *                                                         ... %s ... %p <- ...
 *                                                       end
 *                                                       %Vs <- copy %V[%n - 1]
 *                                                       %o <- dot %p, %Vs
 *                                                     end
 *
 * In the new loop body both dots are issued before the elementwise work, which needs only the first: place-waits then
 * lets the second run under it. The delayed part X is the last dot and the loads that only it reads. Moving X of
 * iteration j behind the first dot of iteration j + 1 is right when X commutes with everything in between: the ops
 * after X in the body, and those from the top of the body to the first dot. Two ops commute when neither writes what
 * the other reads or writes.
 *
 * Fires on loops with two wgmma dots, which promote no sums, in their own body and elementwise work between them, in
 * kernels with a producer role. */
#include "passes/pass.h"
#include "passes/rename_ops.h"
#include "passes/tensor_core.h"

enum { MAX_MOVED = 8 };

typedef struct moved_part {
  ir_op *first_dot, *last_dot;
  ir_op *op[MAX_MOVED]; /* X, in order */
  int count;
} moved_part;

static bool is_async_dot(const ir_op *op) { return op->kind == IR_OP_DOT && dot_runs_on(op); }

static bool is_moved(const moved_part *x, const ir_op *op) {
  for (int i = 0; i < x->count; i++)
    if (x->op[i] == op) return true;
  return false;
}

typedef struct overlap {
  ir_op *other;
  bool conflict;
} overlap;

static void overlap_visit(void *data, ir_op *op, ir_value *value, bool written) {
  overlap *o = data;
  (void)op;
  o->conflict |= ir_op_writes(o->other, value) || (written && ir_op_reads(o->other, value));
}

static bool commute(ir_op *a, ir_op *b) {
  overlap o = {b, false};
  ir_op_visit(a, true, overlap_visit, &o);
  return !o.conflict;
}

typedef struct invariance {
  const ir_op *loop;
  bool holds;
} invariance;

static void invariance_visit(void *data, ir_op *op, ir_value *value, bool written) {
  invariance *v = data;
  (void)op;
  if (written || value == v->loop->write[0].value || (value->space != IR_SCALAR && value->space != IR_INDEX)) return;
  for (ir_op *child = v->loop->body.first; child; child = child->next)
    if (ir_op_writes(child, value)) v->holds = false;
}

/* X, or the reason why there is none. */
static const char *find_moved(ir_op *loop, moved_part *x) {
  int dots = 0;
  bool work = false;
  for (ir_op *op = loop->body.first; op; op = op->next) {
    if (!is_async_dot(op)) {
      work |= dots == 1 && (op->kind == IR_OP_PARALLEL || op->kind == IR_OP_REDUCE);
      continue;
    }
    dots++;
    if (dots == 1) x->first_dot = op;
    x->last_dot = op;
  }
  if (dots != 2) return "it has not two dots that run on";
  if (!work) return "nothing stands between its dots";
  if (x->last_dot->expr_count || !ir_attr_get(&x->last_dot->attrs, IR_ATTR_ACCUMULATE, 1))
    return "its last dot does not accumulate";
  for (ir_op *op = loop->body.first; op; op = op->next) {
    bool feeds = op == x->last_dot;
    int64_t engine = ir_attr_get(&op->attrs, IR_ATTR_ENGINE, 0);
    if (op->kind == IR_OP_COPY && (engine == IR_ENGINE_TMA || engine == IR_ENGINE_BULK))
      for (int i = 0; i < x->last_dot->read_count; i++)
        feeds |= x->last_dot->read[i].value == op->write[0].value;
    if (!feeds) continue;
    if (x->count == MAX_MOVED) return "too many copies feed its last dot";
    x->op[x->count++] = op;
    invariance v = {loop, true};
    if (op != x->last_dot) ir_op_visit(op, false, invariance_visit, &v);
    if (!v.holds) return "what feeds its last dot depends on scalars of the iteration";
  }
  bool between = true; /* from the top to the first dot, and behind the last dot */
  for (ir_op *op = loop->body.first; op; op = op->next) {
    if (op == x->last_dot) between = true;
    if (between && !is_moved(x, op))
      for (int i = 0; i < x->count; i++)
        if (!commute(x->op[i], op)) return "its last dot does not commute with the start of the next iteration";
    if (op == x->first_dot) between = false;
  }
  return NULL;
}

/* -- Rewriting ----------------------------------------------------------------------------------------------------- */

/* X for the iteration whose loop variable is `at`, in front of `before` (NULL: at the end). */
static void insert_moved(op_renaming *r, ir_block *block, ir_op *before, const moved_part *x, ir_value *variable,
                         const ir_expr *at) {
  r->replace[variable->number] = at;
  for (int i = 0; i < x->count; i++) {
    ir_op *copy = ir_op_clone(r->env->memory, x->op[i], NULL);
    rename_op(r, copy);
    if (before)
      ir_block_insert_before(block, before, copy);
    else
      ir_block_append(block, copy);
  }
}

static void rewrite(ir_kernel *kernel, pass_env *env, ir_block *block, ir_op *loop, const moved_part *x) {
  arena *memory = env->memory;
  ir_value *variable = loop->write[0].value;
  const ir_expr *lo = loop->expr[0], *hi = loop->expr[1], *step = loop->expr[2];
  op_renaming r = rename_begin(kernel, env);

  ir_op *guard = ir_op_create(memory, IR_OP_IF, loop->loc);
  ir_op_add_expr(memory, guard, ir_binary(memory, IR_EXPR_LT, lo, hi));
  ir_block_insert_before(block, loop, guard);
  ir_block_remove(block, loop);

  r.replace[variable->number] = lo;
  for (ir_op *op = loop->body.first; op; op = op->next) {
    if (is_moved(x, op)) continue;
    ir_op *copy = ir_op_clone(memory, op, NULL);
    rename_op(&r, copy);
    ir_block_append(&guard->body, copy);
  }

  op_renaming own = rename_begin(kernel, env);
  const ir_expr *previous = ir_binary(memory, IR_EXPR_SUB, ir_read(memory, variable), step);
  ir_op *after_first = x->first_dot->next;
  insert_moved(&own, &loop->body, after_first, x, variable, previous);
  loop->expr[0] = ir_binary(memory, IR_EXPR_ADD, lo, step);
  ir_block_append(&guard->body, loop);

  op_renaming last = rename_begin(kernel, env);
  const ir_expr *one = ir_int(memory, 1);
  const ir_expr *turns =
      ir_binary(memory, IR_EXPR_DIV, ir_binary(memory, IR_EXPR_SUB, ir_binary(memory, IR_EXPR_SUB, hi, lo), one), step);
  insert_moved(&last, &guard->body, NULL, x, variable,
               ir_binary(memory, IR_EXPR_ADD, lo, ir_binary(memory, IR_EXPR_MUL, turns, step)));
  for (int i = 0; i < x->count; i++)
    ir_block_remove(&loop->body, x->op[i]);
}

static void overlap_block(ir_kernel *kernel, pass_env *env, ir_block *block) {
  ir_op *next;
  for (ir_op *op = block->first; op; op = next) {
    next = op->next;
    overlap_block(kernel, env, &op->body);
    overlap_block(kernel, env, &op->other);
    if (op->kind != IR_OP_FOR || ir_attr_get(&op->attrs, IR_ATTR_STAGES, 1) < 2) continue;
    moved_part x = {0};
    const char *why = find_moved(op, &x);
    diag_remark(env->diagnostics, "overlap-dots", "overlap", !why, op->loc,
                why ? "no dot of this loop is delayed: %s"
                    : "the last dot of this loop runs under the next iteration%s",
                why ? why : "");
    if (!why) rewrite(kernel, env, block, op, &x);
  }
}

bool overlap_dots(ir_kernel *kernel, pass_env *env) {
  if (ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, 0)) overlap_block(kernel, env, &kernel->body);
  return true;
}
