/* Planning how sums of 8-bit floats get to f32; a part of schedule.
 *
 *   before  %acc <- dot %As, %Bs {promote = 128, instruction = wgmma}
 *   after   %acc <- dot %As, %Bs {promote = 128, instruction = wgmma, part_columns = 128}
 *
 * The tensor core keeps fewer digits of sums of 8-bit floats than f32 has, so a long sum is cut: what it has of `promote`
 * k goes to registers of its own, and is added to the accumulator. Those registers stand beside the accumulator's, and
 * 64 rows by 256 columns take 128 of each: so a tile is done in parts, each as wide as registers allow, since wgmma
 * reads its rows again for every part. Fewer columns than NARROW_PART would be bound by that. */
#include "passes/promotion.h"

#include "passes/estimate.h"
#include "passes/register_budget.h"
#include "passes/tensor_core.h"

enum { NARROW_PART = 64 };

typedef struct planning {
  ir_kernel *kernel;
  pass_env *env;
  int budget; /* registers of a thread */
  int held;   /* by accumulators and operands */
} planning;

/* The widest part whose sums fit beside what is held; the narrowest sensible one when none does. */
static int part_columns(const planning *p, const ir_op *dot) {
  dot_shape s = dot_shape_of(dot);
  ir_type type = s.columns->value->type;
  int columns = wgmma_columns(s.n, type);
  while (columns > NARROW_PART && p->held + columns / 2 + ESTIMATE_PART_ADDRESSES > p->budget) {
    int next = columns - 8;
    while (next > NARROW_PART && (s.n % next || wgmma_columns(next, type) != next))
      next -= 8;
    if (next < 8 || s.n % next) break;
    columns = next;
  }
  return columns;
}

static bool plan_dot(void *data, ir_block *block, ir_op *op) {
  planning *p = data;
  (void)block;
  if (op->kind != IR_OP_DOT || !dot_promotes(op)) return true;
  const char *name = op->write[0].value->name, *why = promotion_refusal(op);
  if (why) {
    /* only an accumulator that cannot hold the digits is less than what was asked for */
    bool honoured = op->write[0].value->type != IR_F16;
    diag_remark(p->env->diagnostics, "schedule", "promote", honoured, op->loc, "sums of %s are not promoted: %s", name,
                why);
    ir_attr_clear(&op->attrs, IR_ATTR_PROMOTE);
    return true;
  }
  bool wgmma = ir_attr_get(&op->attrs, IR_ATTR_INSTRUCTION, 0) == IR_INSTRUCTION_WGMMA;
  if (wgmma && !ir_attr_has(&op->attrs, IR_ATTR_PART_COLUMNS))
    ir_attr_set(&op->attrs, IR_ATTR_PART_COLUMNS, part_columns(p, op));
  diag_remark(p->env->diagnostics, "schedule", "promote", true, op->loc,
              "sums of %d k are added to %s in f32, %d columns at a time", dot_promotes(op), name,
              wgmma ? dot_columns(op) : dot_shape_of(op).n);
  return true;
}

/* Registers of a thread for accumulators and operands of all dots. */
static bool count_held(void *data, ir_block *block, ir_op *op) {
  planning *p = data;
  (void)block;
  if (op->kind != IR_OP_DOT) return true;
  dot_shape s = dot_shape_of(op);
  int threads = (int)ir_attr_get(&p->kernel->attrs, IR_ATTR_WARPS, 4) * 32;
  p->held += (int)(ir_element_count(s.accumulator) * ir_bits(s.accumulator->type) / 32 / threads);
  if (s.rows->value->space == IR_TILE)
    p->held += (int)(ir_element_count(s.rows->value) * ir_bits(s.rows->value->type) / 32 / threads);
  return true;
}

void plan_promotion(ir_kernel *kernel, pass_env *env) {
  planning p = {.kernel = kernel, .env = env};
  p.budget = register_budget_of(ir_target_of(kernel->target), (int)ir_attr_get(&kernel->attrs, IR_ATTR_WARPS, 4),
                                (int)ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, 0))
                 .consumer;
  ir_walk(&kernel->body, count_held, &p);
  ir_walk(&kernel->body, plan_dot, &p);
}
