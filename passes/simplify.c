/* simplify: fold expressions and drop what has no effect.
 *
 *   before  let %a <- %k * 64 + 0                   after  %As <- copy %A[%k * 64 : 64]
 *           let %b <- 3                                    for %j in 0 .. %N step 1 do
 *           %As <- copy %A[%a : 64]                          ...
 *           if %b > 2 do                                   end
 *             for %j in 0 .. %N step 1 do
 *               ...
 *             end
 *           end
 *           %t <- fill 0.0                 (%t is never read)
 *
 *  1. Expressions are folded; comparisons, minima and maxima also by the ranges of loop and grid indices, of what lets make
 *     of them, and of what the ifs around say of a variable.
 *  2. A let of a constant or of another name is put in where it is read.
 *  3. An if of a constant becomes the branch taken; a loop of no iterations goes.
 *  4. An op goes when all it does is write values that nothing with an effect reads. What orders threads, writes global
 *     memory or signals a barrier has an effect; so has a role and a while loop.
 *  5. A control op with empty bodies goes, and a value that no op names any more is taken off the kernel's list.
 *  6. Where ifs of one condition over sizes follow one another, the first does what all do when it holds: what they load
 *     is in flight at once.
 *
 * Repeated until nothing changes, so a second run does nothing. */
#include "passes/pass.h"

#include "ir/expr.h"

#include <string.h>

typedef struct simplifier {
  ir_kernel *kernel;
  pass_env *env;
  const ir_expr **replace; /* by value number: what to read instead */
  ir_range *ranges;        /* by value number; lo > hi is unknown */
  ir_bounds bounds;        /* of the above, and of the launch */
  bool changed;
} simplifier;

/* -- 1, 2: expressions
 * --------------------------------------------------------------------------------------------------------------- */

static bool is_comparison(ir_expr_kind kind) { return kind >= IR_EXPR_EQ && kind <= IR_EXPR_GE; }

/* What the comparison is for every value of the ranges: 1, 0, or -1 when it depends. */
static int decided(ir_expr_kind kind, ir_range a, ir_range b) {
  switch (kind) {
  case IR_EXPR_LT:
    return a.hi < b.lo ? 1 : a.lo >= b.hi ? 0 : -1;
  case IR_EXPR_LE:
    return a.hi <= b.lo ? 1 : a.lo > b.hi ? 0 : -1;
  case IR_EXPR_GT:
    return a.lo > b.hi ? 1 : a.hi <= b.lo ? 0 : -1;
  case IR_EXPR_GE:
    return a.lo >= b.hi ? 1 : a.hi < b.lo ? 0 : -1;
  case IR_EXPR_EQ:
    return a.hi < b.lo || b.hi < a.lo ? 0 : a.lo == a.hi && b.lo == b.hi && a.lo == b.lo ? 1 : -1;
  case IR_EXPR_NE:
    return a.hi < b.lo || b.hi < a.lo ? 1 : a.lo == a.hi && b.lo == b.hi && a.lo == b.lo ? 0 : -1;
  default:
    return -1;
  }
}

/* Ranges are those of exact arithmetic: a comparison is only decided where 32 bits hold them. */
static bool fits(ir_range r) { return r.lo >= INT32_MIN && r.hi <= INT32_MAX; }

static const ir_expr *with_args(arena *memory, const ir_expr *e, const ir_expr *const *args, const ir_expr *slot) {
  ir_expr *copy = ARENA_NEW(memory, ir_expr);
  *copy = *e;
  copy->args = arena_copy(memory, args, sizeof *args * (size_t)e->arg_count);
  copy->slot = slot;
  return copy;
}

/* What the ranges of two operands of 32 bits decide: a comparison's result, which operand is the lesser or the greater; NULL
 * when it depends. */
static const ir_expr *outcome(simplifier *s, const ir_expr *e) {
  bool is_extreme = e->kind == IR_EXPR_MIN || e->kind == IR_EXPR_MAX;
  ir_range a, b;
  if ((!is_extreme && !is_comparison(e->kind)) || !ir_is_integer(e->args[0]->type) || ir_bits(e->args[0]->type) != 32 ||
      !ir_expr_bounds(e->args[0], &s->bounds, &a) || !ir_expr_bounds(e->args[1], &s->bounds, &b) || !fits(a) ||
      !fits(b))
    return NULL;
  if (!is_extreme) {
    int result = decided(e->kind, a, b);
    return result >= 0 ? ir_bool(s->env->memory, result == 1) : NULL;
  }
  if (decided(IR_EXPR_LE, a, b) == 1) return e->args[e->kind == IR_EXPR_MAX];
  return decided(IR_EXPR_GE, a, b) == 1 ? e->args[e->kind == IR_EXPR_MIN] : NULL;
}

/* The expression folded from its leaves up, what the ranges decide replaced by its result. */
static const ir_expr *decide(simplifier *s, const ir_expr *e) {
  const ir_expr *decided_by_ranges = outcome(s, e);
  if (decided_by_ranges) return decide(s, decided_by_ranges);
  const ir_expr *slot = e->slot ? decide(s, e->slot) : NULL;
  bool same = slot == e->slot;
  const ir_expr *few[4];
  const ir_expr **args = e->arg_count <= 4 ? few : ARENA_ARRAY(s->env->scratch, const ir_expr *, e->arg_count);
  for (int i = 0; i < e->arg_count; i++) {
    args[i] = decide(s, e->args[i]);
    if (args[i] != e->args[i]) same = false;
  }
  const ir_expr *node = same ? e : with_args(s->env->memory, e, args, slot);
  const ir_expr *simpler = node->arg_count ? ir_expr_fold(s->env->memory, node) : NULL;
  return simpler && !ir_expr_equal(simpler, node) ? decide(s, simpler) : node;
}

static const ir_expr *fold(void *context, const ir_expr *e) {
  simplifier *s = context;
  const ir_expr *folded = ir_substitute(s->env->memory, e, s->replace, s->kernel->value_count);
  folded = decide(s, folded);
  if (ir_expr_equal(folded, e)) return e;
  s->changed = true;
  return folded;
}

/* Whether reading `e` in place of a let of it is the same at any later point: what it reads never changes. */
static bool is_alias(const ir_expr *e) {
  if (e->kind == IR_EXPR_INT || e->kind == IR_EXPR_FLOAT || e->kind == IR_EXPR_BOOL) return true;
  return e->kind == IR_EXPR_VALUE && (e->value->space != IR_SCALAR || !e->value->is_mutable);
}

static void learn_let(simplifier *s, const ir_op *op) {
  const ir_value *value = op->write[0].value;
  if (is_alias(op->expr[0]) && op->expr[0]->type == value->type) s->replace[value->number] = op->expr[0];
  ir_range range;
  bool known = !value->is_mutable && ir_expr_bounds(op->expr[0], &s->bounds, &range);
  s->ranges[value->number] = known ? range : (ir_range){1, 0};
}

static void set_range(simplifier *s, const ir_value *value, const ir_expr *lo, const ir_expr *hi) {
  ir_range low, high;
  if (!ir_expr_bounds(lo, &s->bounds, &low) || !ir_expr_bounds(hi, &s->bounds, &high)) return;
  if (low.lo <= high.hi - 1) s->ranges[value->number] = (ir_range){low.lo, high.hi - 1};
}

/* The variable v of a condition v < n or v + c < n, and its range where the condition holds; NULL for others. */
static const ir_value *narrowed(const simplifier *s, const ir_expr *condition, ir_range *range) {
  ir_range limit;
  if (condition->kind != IR_EXPR_LT || !ir_expr_bounds(condition->args[1], &s->bounds, &limit)) return NULL;
  const ir_expr *left = condition->args[0];
  int64_t ahead = 0;
  if (left->kind == IR_EXPR_ADD && ir_is_constant(left->args[1], &ahead)) left = left->args[0];
  if (left->kind != IR_EXPR_VALUE || left->value->is_mutable || !ir_expr_bounds(left, &s->bounds, range)) return NULL;
  int64_t highest = limit.hi - 1 - ahead;
  if (highest < range->lo || highest >= range->hi) return NULL;
  range->hi = highest;
  return left->value;
}

/* -- 3: control flow of constants
 * ---------------------------------------------------------------------------------------------------- */

static void splice(ir_block *block, ir_op *before, ir_block *from) {
  while (from->first) {
    ir_op *op = from->first;
    ir_block_remove(from, op);
    ir_block_insert_before(block, before, op);
  }
}

static bool never_runs(const ir_op *loop) {
  int64_t lo, hi, step;
  return ir_is_constant(loop->expr[0], &lo) && ir_is_constant(loop->expr[1], &hi) &&
         ir_is_constant(loop->expr[2], &step) && lo >= hi && step > 0;
}

/* -- 6: ifs of the same sizes -------------------------------------------------------------------------------------- */

static bool is_over_sizes(const ir_expr *e) {
  if (e->value && e->value->space != IR_SIZE) return false;
  for (int i = 0; i < e->arg_count; i++)
    if (!is_over_sizes(e->args[i])) return false;
  return true;
}

static bool is_same_choice(const ir_op *a, const ir_op *b) {
  return b && b->kind == IR_OP_IF && is_over_sizes(a->expr[0]) && ir_expr_equal(a->expr[0], b->expr[0]) &&
         !ir_attr_has(&a->attrs, IR_ATTR_COLD) && !ir_attr_has(&b->attrs, IR_ATTR_COLD);
}

static void append_all(ir_block *block, ir_block *from) {
  while (from->first) {
    ir_op *op = from->first;
    ir_block_remove(from, op);
    ir_block_append(block, op);
  }
}

/* The other sides stay apart: of a copy, they are the one that goes element by element, and the elements of several at
 * once would take more registers than all the rest. */
static void join_choices(simplifier *s, ir_block *block, ir_op *op) {
  const ir_expr *otherwise = ir_unary(s->env->memory, IR_EXPR_NOT, op->expr[0]);
  for (ir_op *second = op->next, *next; is_same_choice(op, second); second = next) {
    next = second->next;
    append_all(&op->body, &second->body);
    if (!op->other.first) append_all(&op->other, &second->other);
    second->expr[0] = otherwise;
    append_all(&second->body, &second->other);
    if (!second->body.first) ir_block_remove(block, second);
    s->changed = true;
  }
}

static void fold_block(simplifier *s, ir_block *block) {
  for (ir_op *op = block->first, *next; op; op = next) {
    ir_op_each_expr(op, fold, s);
    int64_t constant;
    next = op->next;
    switch (op->kind) {
    case IR_OP_LET:
      learn_let(s, op);
      break;
    case IR_OP_FOR:
      if (never_runs(op)) {
        ir_block_remove(block, op);
        s->changed = true;
        continue;
      }
      set_range(s, op->write[0].value, op->expr[0], op->expr[1]);
      break;
    case IR_OP_PARALLEL:
      for (int i = 0; i < op->variable_count; i++)
        set_range(s, op->variable[i], ir_int(s->env->memory, 0), op->expr[i]);
      break;
    case IR_OP_WHILE:
      if (ir_is_constant(op->expr[0], &constant) && !constant) {
        ir_block_remove(block, op);
        s->changed = true;
        continue;
      }
      break;
    case IR_OP_IF:
      if (ir_is_constant(op->expr[0], &constant)) {
        ir_block *taken = constant ? &op->body : &op->other;
        ir_op *first = taken->first;
        splice(block, op, taken);
        ir_block_remove(block, op);
        if (first) next = first;
        s->changed = true;
        continue;
      }
      join_choices(s, block, op);
      next = op->next;
      break;
    default:
      break;
    }
    ir_range inside, outside = {1, 0};
    const ir_value *variable = op->kind == IR_OP_IF ? narrowed(s, op->expr[0], &inside) : NULL;
    if (variable) {
      outside = s->ranges[variable->number];
      s->ranges[variable->number] = inside;
    }
    fold_block(s, &op->body);
    if (variable) s->ranges[variable->number] = outside;
    fold_block(s, &op->other);
  }
}

/* -- 4: what has no effect
 * ------------------------------------------------------------------------------------------------------------ */

typedef struct liveness {
  bool *live; /* by value number: an op with an effect reads it */
  bool grew;
} liveness;

static bool is_memory_of_others(const ir_value *value) {
  return value->space == IR_GLOBAL || value->space == IR_MAP || value->space == IR_BARRIER;
}

static bool any_live(const ir_block *block, const liveness *l);

/* Whether the op must stay, given what is known to be read so far. */
static bool is_live(const ir_op *op, const liveness *l) {
  const ir_op_info *info = ir_op_info_of(op->kind);
  if (info->effects == IR_EFFECT_C) {
    if (op->kind == IR_OP_ROLE || op->kind == IR_OP_WHILE) return true;
    return any_live(&op->body, l) || any_live(&op->other, l);
  }
  if (info->effects == IR_EFFECT_O) return true;
  if (op->kind == IR_OP_DECLARE) return l->live[op->write[0].value->number];
  if (op->kind == IR_OP_ATOMIC_GLOBAL || op->write_count == 0)
    return true; /* changes memory that it does not list as written */
  for (int i = 0; i < op->read_count; i++) {
    if (op->read[i].value && op->read[i].value->space == IR_BARRIER) return true;
  }
  for (int i = 0; i < op->write_count; i++) {
    const ir_value *value = op->write[i].value;
    if (value && (is_memory_of_others(value) || l->live[value->number])) return true;
  }
  return false;
}

static bool any_live(const ir_block *block, const liveness *l) {
  for (const ir_op *op = block->first; op; op = op->next) {
    if (is_live(op, l)) return true;
  }
  return false;
}

static void mark(void *context, ir_op *op, ir_value *value, bool written) {
  (void)op;
  liveness *l = context;
  if (written || l->live[value->number]) return;
  l->live[value->number] = true;
  l->grew = true;
}

static void mark_block(const ir_block *block, liveness *l) {
  for (ir_op *op = block->first; op; op = op->next) {
    if (!is_live(op, l)) continue;
    ir_op_visit(op, false, mark, l);
    mark_block(&op->body, l);
    mark_block(&op->other, l);
  }
}

static void sweep_block(simplifier *s, ir_block *block, const liveness *l) {
  for (ir_op *op = block->first, *next; op; op = next) {
    next = op->next;
    sweep_block(s, &op->body, l);
    sweep_block(s, &op->other, l);
    if (is_live(op, l)) continue;
    ir_block_remove(block, op);
    s->changed = true;
  }
}

/* -- The signature ------------------------------------------------------------------------------------------------- */

/* Facts stay as the user wrote them: what is known of a size follows from them. */
static void fold_signature(simplifier *s) {
  ir_kernel *kernel = s->kernel;
  for (int i = 0; i < kernel->value_count; i++) {
    ir_value *value = kernel->values[i];
    for (int d = 0; d < value->rank; d++) {
      if (value->extent[d]) value->extent[d] = fold(s, value->extent[d]);
      if (value->stride[d]) value->stride[d] = fold(s, value->stride[d]);
    }
  }
  for (int i = 0; i < kernel->grid_count; i++)
    kernel->grid[i].extent = fold(s, kernel->grid[i].extent);
  if (kernel->block_count) kernel->block_count = fold(s, kernel->block_count);
}

static void know_ranges(simplifier *s) {
  ir_kernel *kernel = s->kernel;
  s->bounds = (ir_bounds){.of = s->ranges, .count = kernel->value_count};
  s->bounds.threads = ir_attr_get(&kernel->attrs, IR_ATTR_THREADS, 0);
  int64_t blocks;
  if (kernel->block_count && ir_is_constant(kernel->block_count, &blocks) &&
      ir_attr_get(&kernel->attrs, IR_ATTR_CLUSTER, 1) < 2)
    s->bounds.blocks = blocks;
  for (int i = 0; i < kernel->value_count; i++) {
    s->ranges[i] = (ir_range){1, 0};
    if (kernel->values[i]->space == IR_SIZE) s->ranges[i] = (ir_range){0, INT32_MAX};
  }
  for (int i = 0; i < kernel->grid_count; i++) {
    set_range(s, kernel->grid[i].index, ir_int(s->env->memory, 0), kernel->grid[i].extent);
  }
}

bool simplify(ir_kernel *kernel, pass_env *env) {
  simplifier s = {.kernel = kernel, .env = env};
  do {
    s.changed = false;
    s.replace = ARENA_ARRAY(env->scratch, const ir_expr *, kernel->value_count);
    s.ranges = ARENA_ARRAY(env->scratch, ir_range, kernel->value_count);
    know_ranges(&s);
    fold_signature(&s);
    fold_block(&s, &kernel->body);
    liveness l = {ARENA_ARRAY(env->scratch, bool, kernel->value_count), true};
    while (l.grew) {
      l.grew = false;
      mark_block(&kernel->body, &l);
    }
    sweep_block(&s, &kernel->body, &l);
  } while (s.changed);
  ir_drop_unused(kernel, env->scratch);
  return true;
}
