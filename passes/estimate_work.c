/* Counting the work of one block: a walk over its ops with sizes put in, loops taken as often as they run, conditions
 * at the middle of the grid and of the loop. Knows ops, never kernels. */
#include "passes/estimate_count.h"

#include "passes/tensor_core.h"

#include <string.h>

static const double hidden_turn =
    0.25; /* of a barrier that lies under dots: what warps lose that come to it one by one */

enum {
  UNKNOWN_SIZE = 4096, /* what a size is taken to be when nobody says */
  WHILE_TRIPS = 8
};

/* -- Values -------------------------------------------------------------------------------------------------------- */

static int64_t floor_div(int64_t a, int64_t b) {
  if (b == 0) return 0;
  int64_t q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static int64_t evaluate(const int64_t *values, const ir_expr *e) {
  int64_t a = e->arg_count > 0 ? evaluate(values, e->args[0]) : 0;
  int64_t b = e->arg_count > 1 ? evaluate(values, e->args[1]) : 0;
  switch (e->kind) {
  case IR_EXPR_INT:
  case IR_EXPR_BOOL:
    return e->int_value;
  case IR_EXPR_FLOAT:
    return 0;
  case IR_EXPR_VALUE:
    return values[e->value->number];
  case IR_EXPR_ADD:
    return a + b;
  case IR_EXPR_SUB:
    return a - b;
  case IR_EXPR_MUL:
    return a * b;
  case IR_EXPR_DIV:
    return floor_div(a, b);
  case IR_EXPR_MOD:
    return a - b * floor_div(a, b);
  case IR_EXPR_CEILDIV:
    return floor_div(a + b - 1, b);
  case IR_EXPR_MIN:
    return a < b ? a : b;
  case IR_EXPR_MAX:
    return a > b ? a : b;
  case IR_EXPR_NEG:
    return -a;
  case IR_EXPR_ABS:
    return a < 0 ? -a : a;
  case IR_EXPR_AND:
    return a & b;
  case IR_EXPR_OR:
    return a | b;
  case IR_EXPR_XOR:
    return a ^ b;
  case IR_EXPR_NOT:
    return e->type == IR_PRED ? !a : ~a;
  case IR_EXPR_SHL:
    return b < 0 || b > 62 ? 0 : (int64_t)((uint64_t)a << b);
  case IR_EXPR_SHR:
    return b < 0 || b > 62 ? 0 : a >> b;
  case IR_EXPR_EQ:
    return a == b;
  case IR_EXPR_NE:
    return a != b;
  case IR_EXPR_LT:
    return a < b;
  case IR_EXPR_LE:
    return a <= b;
  case IR_EXPR_GT:
    return a > b;
  case IR_EXPR_GE:
    return a >= b;
  case IR_EXPR_SELECT:
    return a ? b : evaluate(values, e->args[2]);
  case IR_EXPR_CAST:
    return a;
  default:
    return UNKNOWN_SIZE;
  }
}

uint8_t count_mask(const counter *c, const ir_expr *e) {
  uint8_t mask = e->value ? c->grid_mask[e->value->number] : 0;
  for (int i = 0; i < e->arg_count; i++)
    mask |= count_mask(c, e->args[i]);
  return mask;
}

static int64_t size_value(const ir_value *size, const pass_options *options) {
  if (size->bound >= 0) return size->bound;
  for (int i = 0; i < options->expected_count; i++) {
    if (!strcmp(options->expected[i].name, size->name)) return options->expected[i].value;
  }
  int64_t unit = size->multiple_of > 1 ? size->multiple_of : 1;
  return (UNKNOWN_SIZE + unit - 1) / unit * unit;
}

double count_extent(const int64_t *values, const ir_expr *e) {
  int64_t extent = evaluate(values, e);
  return extent > 0 ? (double)extent : 0;
}

/* -- Expressions --------------------------------------------------------------------------------------------------- */

/* The special function unit's results and the other instructions that one operator takes. */
static void operator_cost(const ir_expr *e, double *exp, double *alu) {
  bool is_float = e->arg_count > 0 && ir_is_float(e->args[0]->type);
  *exp = 0;
  *alu = 1;
  switch (e->kind) {
  case IR_EXPR_INT:
  case IR_EXPR_FLOAT:
  case IR_EXPR_BOOL:
  case IR_EXPR_VALUE:
  case IR_EXPR_ELEMENT:
    *alu = 0;
    break;
  case IR_EXPR_EXP2:
  case IR_EXPR_LOG2:
  case IR_EXPR_RSQRT:
  case IR_EXPR_RCP:
    *exp = 1;
    break;
  case IR_EXPR_EXP:
  case IR_EXPR_LOG:
    *exp = 1, *alu = 2;
    break;
  case IR_EXPR_SQRT:
    *exp = 1, *alu = 4;
    break;
  case IR_EXPR_TANH:
    *exp = 2, *alu = 8;
    break;
  case IR_EXPR_DIV:
    *exp = 1, *alu = is_float ? 8 : 12;
    break;
  case IR_EXPR_MOD:
    *exp = 1, *alu = 14;
    break;
  case IR_EXPR_ERF:
  case IR_EXPR_SIN:
  case IR_EXPR_COS:
    *exp = 1, *alu = 20;
    break;
  case IR_EXPR_MAX:
  case IR_EXPR_MIN:
  case IR_EXPR_SELECT:
  case IR_EXPR_CAST:
    *alu = 1.5;
    break; /* pipes of 64 lanes, beside the one of 128 */
  default:
    *alu = is_float ? 1 : 1.5;
    break;
  }
}

/* The product of the extents of the coordinates that the expression reads, at most `count`: how many different
 * elements it can name. */
static double distinct(const ir_op *parallel, const int64_t *values, const ir_expr *e, bool *seen) {
  double product = 1;
  for (int v = 0; e->value && v < parallel->variable_count; v++) {
    if (parallel->variable[v] != e->value || seen[v]) continue;
    seen[v] = true;
    product *= count_extent(values, parallel->expr[v]);
  }
  for (int i = 0; i < e->arg_count; i++)
    product *= distinct(parallel, values, e->args[i], seen);
  return product;
}

/* The expression, computed `count` times; `parallel` (may be NULL) holds the coordinates. */
static void count_expr(counter *c, const ir_op *parallel, const ir_expr *e, double count) {
  double exp, alu;
  operator_cost(e, &exp, &alu);
  bool sums = e->kind == IR_EXPR_ADD || e->kind == IR_EXPR_SUB;
  for (int i = 0; i < e->arg_count; i++) {
    count_expr(c, parallel, e->args[i], count);
    if (sums && ir_is_float(e->type) && e->args[i]->kind == IR_EXPR_MUL) alu = 0; /* one fused multiply-add */
  }
  c->now->exp += exp * count;
  c->now->alu += alu * count;
  if (e->kind != IR_EXPR_ELEMENT || !e->value) return;
  double bytes = ir_bits(e->value->type) / 8.0;
  if (e->value->space == IR_SHARED) c->now->shared += count * (bytes < 4 ? 4 : bytes);
  if (e->value->space != IR_GLOBAL) return;
  bool seen[IR_MAX_RANK * 2] = {false};
  double elements = parallel && parallel->variable_count <= IR_MAX_RANK * 2 ? distinct(parallel, c->value, e, seen) : 1;
  uint8_t mask = 0;
  for (int i = 0; i < e->arg_count; i++)
    mask |= count_mask(c, e->args[i]);
  c->now->alu += 3 * count;
  c->now->sync_waits += count > 0 && parallel ? 1 : 0;
  count_traffic(c, e->value, elements * bytes, mask, true, false);
}

/* -- Control ------------------------------------------------------------------------------------------------------- */

static void count_block(counter *c, const ir_block *block, double weight, const ir_op *parallel, loop_frame *frame,
                        bool outermost);

static void open_section(counter *c) {
  if (c->out->section_count < WORK_MAX_SECTIONS) c->out->section_count++;
  c->now = &c->out->section[c->out->section_count - 1];
}

/* Whether rotate-loops will put the wait of the next iteration under the last dots of this one. */
static bool hides_turns(const counter *c, const ir_op *loop) {
  const ir_op *last = loop->body.last;
  if (c->producers || c->level < 2 || !last || last->kind != IR_OP_DOT ||
      ir_attr_get(&last->attrs, IR_ATTR_INSTRUCTION, 0) != IR_INSTRUCTION_MMA)
    return false;
  dot_shape s = dot_shape_of(last);
  return s.columns->value->space == IR_SHARED && s.k / s.parts > tensor_core_depth(s.rows->value->type);
}

/* What a dot of an iteration waits for, where the body has several and reductions between them: once for all that lies
 * ahead, and for other warps, at barriers, where rows are shared among warps. 0 where dots do not wait. */
static double chain_links(const ir_block *body) {
  enum { AMONG_WARPS = 6 };
  int dots = 0, reductions = 0;
  bool among_warps = false;
  for (const ir_op *op = body->first; op; op = op->next) {
    dots += op->kind == IR_OP_DOT;
    reductions += op->kind == IR_OP_REDUCE;
    among_warps |= op->kind == IR_OP_DOT && ir_attr_get(&op->attrs, IR_ATTR_WARPS_N, 1) > 1;
  }
  return dots < 2 || !reductions ? 0 : among_warps ? AMONG_WARPS : 1;
}

static void count_for(counter *c, const ir_op *loop, double weight, bool outermost) {
  int64_t lo = evaluate(c->value, loop->expr[0]), hi = evaluate(c->value, loop->expr[1]),
          step = evaluate(c->value, loop->expr[2]);
  int64_t trips = step > 0 && hi > lo ? (hi - lo + step - 1) / step : 0;
  const ir_value *variable = loop->write[0].value;
  c->value[variable->number] = lo + (trips / 2) * step;
  c->grid_mask[variable->number] = count_mask(c, loop->expr[0]);
  if (outermost) open_section(c);
  loop_frame frame = {0};
  count_block(c, &loop->body, weight * (double)trips, NULL, &frame, false);
  int64_t stages = ir_attr_get(&loop->attrs, IR_ATTR_STAGES, 1);
  if (frame.has_async) {
    c->now->loads += weight * (double)trips;
    c->now->slots = stages > 1 ? (double)stages : 1;
    c->now->dots += frame.dots;
    c->now->is_direct |= frame.is_direct;
  }
  if (frame.has_sync) c->now->sync_waits += weight * (double)trips;
  double turns = weight * (double)trips * (hides_turns(c, loop) && !frame.has_sync ? hidden_turn : 1);
  if (frame.has_async || frame.has_sync) c->now->turns += turns;
  c->now->chains += weight * (double)trips * chain_links(&loop->body);
  if (outermost) open_section(c);
}

static void count_parallel(counter *c, const ir_op *op, double weight) {
  double count = weight;
  for (int v = 0; v < op->variable_count; v++) {
    count *= count_extent(c->value, op->expr[v]);
    c->value[op->variable[v]->number] = evaluate(c->value, op->expr[v]) / 2;
    c->grid_mask[op->variable[v]->number] = 0;
  }
  loop_frame frame = {0};
  count_block(c, &op->body, count, op, &frame, false);
}

static void count_scalar(counter *c, const ir_op *op, double weight, const ir_op *parallel) {
  ir_value *to = op->write[0].value;
  if (to && (to->space == IR_SCALAR || to->space == IR_INDEX)) {
    c->value[to->number] = evaluate(c->value, op->expr[0]);
    c->grid_mask[to->number] = count_mask(c, op->expr[0]);
  }
  for (int i = 0; parallel && i < op->expr_count; i++)
    count_expr(c, parallel, op->expr[i], weight);
  if (!to || op->kind == IR_OP_LET) return;
  double bytes = ir_bits(to->type) / 8.0;
  if (to->space == IR_SHARED) c->now->shared += weight * (bytes < 4 ? 4 : bytes);
  if (to->space != IR_GLOBAL) return;
  c->now->alu += weight * 3;
  count_traffic(c, to, weight * bytes * (op->kind == IR_OP_ATOMIC ? 4 : 1), count_ref_mask(c, &op->write[0]), false,
                false);
}

static void count_op(counter *c, const ir_op *op, double weight, const ir_op *parallel, loop_frame *frame,
                     bool outermost) {
  switch (op->kind) {
  case IR_OP_FOR:
    count_for(c, op, weight, outermost);
    break;
  case IR_OP_WHILE:
    count_block(c, &op->body, weight * WHILE_TRIPS, NULL, frame, false);
    break;
  case IR_OP_IF: {
    /* inside parallel the coordinates decide, and both sides are issued */
    bool taken = parallel || evaluate(c->value, op->expr[0]) != 0;
    if (parallel) count_expr(c, parallel, op->expr[0], weight);
    if (taken && !ir_attr_get(&op->attrs, IR_ATTR_COLD, 0))
      count_block(c, &op->body, weight, parallel, frame, outermost && !parallel);
    if (!taken || parallel) count_block(c, &op->other, weight, parallel, frame, outermost && !parallel);
    break;
  }
  case IR_OP_PARALLEL:
    count_parallel(c, op, weight);
    break;
  case IR_OP_LET:
  case IR_OP_SET:
  case IR_OP_ATOMIC:
    count_scalar(c, op, weight, parallel);
    break;
  case IR_OP_COPY:
    count_copy(c, op, weight, frame);
    break;
  case IR_OP_DOT:
    frame->dots++;
    count_dot(c, op, weight);
    break;
  case IR_OP_DECODE:
    count_decode(c, op, weight);
    break;
  case IR_OP_REDUCE:
    c->now->alu += weight * (double)ir_element_count(op->read[0].value) * 1.2;
    break;
  case IR_OP_SCAN:
    c->now->alu += weight * (double)ir_element_count(op->read[0].value) * 4;
    break;
  case IR_OP_VOTE:
    c->now->alu += weight * (double)ir_element_count(op->read[0].value);
    break;
  default:
    break;
  }
}

static void count_block(counter *c, const ir_block *block, double weight, const ir_op *parallel, loop_frame *frame,
                        bool outermost) {
  for (const ir_op *op = block->first; op; op = op->next)
    count_op(c, op, weight, parallel, frame, outermost);
}

/* -- The whole ----------------------------------------------------------------------------------------------------- */

static bool note_dot(void *context, ir_block *block, ir_op *op) {
  counter *c = context;
  (void)block;
  if (op->kind == IR_OP_DOT && c->dot_count < COUNT_MAX_DOTS) c->dot[c->dot_count++] = op;
  return true;
}

double work_tensor_bytes(const block_work *w, const ir_value *tensor) {
  double elements = 1;
  for (int d = 0; d < tensor->rank; d++)
    elements *= count_extent(w->sizes, tensor->extent[d]);
  return elements * ir_bits(tensor->type) / 8;
}

void work_count(ir_kernel *kernel, const pass_options *options, const ir_target_info *figures, arena *scratch,
                block_work *out) {
  memset(out, 0, sizeof *out);
  counter c = {.out = out, .kernel = kernel, .target = figures, .scratch = scratch};
  c.value = ARENA_ARRAY(scratch, int64_t, kernel->value_count);
  c.grid_mask = ARENA_ARRAY(scratch, uint8_t, kernel->value_count);
  c.warps = (int)ir_attr_get(&kernel->attrs, IR_ATTR_WARPS, 4);
  c.producers = (int)ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, 0);
  c.level = options->level;
  out->sizes = c.value;
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    c.value[i] = value->space == IR_SIZE ? size_value(value, options) : UNKNOWN_SIZE;
  }
  for (int d = 0; d < 3; d++) {
    out->grid[d] = d < kernel->grid_count ? count_extent(c.value, kernel->grid[d].extent) : 1;
    if (d >= kernel->grid_count) continue;
    c.value[kernel->grid[d].index->number] = (int64_t)out->grid[d] / 2;
    c.grid_mask[kernel->grid[d].index->number] = (uint8_t)(1u << d);
  }
  ir_walk(&kernel->body, note_dot, &c);
  open_section(&c);
  loop_frame frame = {0};
  count_block(&c, &kernel->body, 1, NULL, &frame, true);
  if (frame.has_async || frame.has_sync) out->section[0].sync_waits += 1; /* what is read before the first loop */
  work_room(kernel, c.dot, c.dot_count, options->level, scratch, out);
}
