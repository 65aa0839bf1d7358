/* Counting the work of one block: a walk over its ops with sizes put in, loops taken as often as they run, conditions
 * at the middle of the grid and of the loop. Knows ops, never kernels. */
#include "passes/estimate_work.h"

#include "passes/region.h"
#include "passes/tensor_core.h"

#include <math.h>
#include <string.h>

static const double hidden_turn =
    0.25; /* of a barrier that lies under dots: what warps lose that come to it one by one */

static const double part_turn = 0.5; /* of a barrier that a further part of a promoted sum takes */

enum {
  UNKNOWN_SIZE = 4096, /* what a size is taken to be when nobody says */
  WHILE_TRIPS = 8,
  TURN_INSTRUCTIONS = 120, /* of a warp that decodes its part of a turn: addresses, first fragments, sums */
  MAX_DOTS = 32,
  PANEL_BYTES = 128
};

typedef struct counter {
  block_work *out;
  ir_kernel *kernel;
  const ir_target_info *target;
  arena *scratch;
  int64_t *value;     /* by value number */
  uint8_t *grid_mask; /* by value number: the grid dimensions that it depends on */
  work *now;          /* the open section */
  const ir_op *dot[MAX_DOTS];
  int dot_count;
  int warps, producers, level;
} counter;

/* The innermost loop that a copy stands in. */
typedef struct loop_frame {
  bool has_async, has_sync;
  int dots;
} loop_frame;

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

static uint8_t mask_of(const counter *c, const ir_expr *e) {
  uint8_t mask = e->value ? c->grid_mask[e->value->number] : 0;
  for (int i = 0; i < e->arg_count; i++)
    mask |= mask_of(c, e->args[i]);
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

static double extent_at(const int64_t *values, const ir_expr *e) {
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
    product *= extent_at(values, parallel->expr[v]);
  }
  for (int i = 0; i < e->arg_count; i++)
    product *= distinct(parallel, values, e->args[i], seen);
  return product;
}

/* Whether all blocks together load all of the tensor: what else they load of it is not a part of its own. */
static bool loads_whole(const block_work *w, const traffic *t) {
  double all = t->bytes;
  for (int d = 0; d < 3; d++)
    all *= t->varies[d] ? w->grid[d] : 1;
  return all >= work_tensor_bytes(w, t->tensor);
}

static void move(counter *c, const ir_value *tensor, double bytes, uint8_t mask, bool is_load, bool by_map) {
  c->now->l2 += bytes;
  block_work *out = c->out;
  if (out->moved_count == WORK_MAX_TRAFFIC) return;
  traffic *t = &out->moved[out->moved_count++];
  *t = (traffic){.tensor = tensor, .bytes = bytes, .is_load = is_load, .is_shared_by_cluster = by_map};
  for (int d = 0; d < 3; d++)
    t->varies[d] = mask >> d & 1;
  for (const traffic *before = out->moved; before < t && is_load; before++)
    t->is_again |= before->tensor == tensor && before->is_load && loads_whole(out, before) &&
                   !memcmp(before->varies, t->varies, sizeof t->varies);
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
    mask |= mask_of(c, e->args[i]);
  c->now->alu += 3 * count;
  c->now->sync_waits += count > 0 && parallel ? 1 : 0;
  move(c, e->value, elements * bytes, mask, true, false);
}

/* -- Dots and decodes ---------------------------------------------------------------------------------------------- */

/* Bytes of shared memory that wgmma reads for `lines` rows or columns of the operand, k deep. Rows that are swizzled in
 * less than 128 bytes take longer: measured at whole products of tiles 96 deep. */
static double operand_bytes(const ir_value *operand, double lines, double k) {
  if (operand->space != IR_SHARED) return 0;
  double bytes = ir_bits(operand->type) / 8.0;
  int64_t row = (int64_t)(ir_extent(operand, operand->rank - 1) * bytes);
  return lines * k * bytes * (row % PANEL_BYTES == 0 ? 1 : row % (PANEL_BYTES / 2) == 0 ? 1.4 : 2);
}

static double macs_a_clock(const ir_target_info *target, ir_type type, bool wgmma) {
  double rate = ir_bits(type) == 8    ? target->mma8_macs_clk
                : ir_bits(type) == 32 ? target->mma16_macs_clk / 2.0
                                      : target->mma16_macs_clk;
  bool emulated = !wgmma && ir_bits(type) == 8 && ir_is_float(type) && !target->has_native_fp8_mma;
  if (emulated) rate = target->mma16_macs_clk;
  return wgmma ? rate : target->has_wgmma ? rate * 0.62 : rate * 0.9; /* what mma.sync reaches of it */
}

/* Sums of parts of a wgmma dot are waited for and added one after the other; the turn itself has the first wait. */
static void count_promotion(counter *c, const dot_shape *d, int columns, int promote, double weight) {
  double sums = ceil((double)d->k / promote), parts = sums * d->n / columns * (d->m / (c->warps * 16.0));
  c->now->alu += weight * sums * d->m * d->n;
  c->now->turns += weight * part_turn * (parts - 1);
  if (columns / 2 > c->out->part_registers) c->out->part_registers = columns / 2;
}

static void count_dot(counter *c, const ir_op *dot, double weight) {
  dot_shape d = dot_shape_of(dot);
  double m = d.m, n = d.n, k = d.k, bytes = ir_bits(d.rows->value->type) / 8.0;
  bool rows_shared = d.rows->value->space == IR_SHARED, columns_shared = d.columns->value->space == IR_SHARED;
  int64_t warps_m = ir_attr_get(&dot->attrs, IR_ATTR_WARPS_M, 1),
          warps_n = ir_attr_get(&dot->attrs, IR_ATTR_WARPS_N, 1);
  switch (ir_attr_get(&dot->attrs, IR_ATTR_INSTRUCTION, IR_INSTRUCTION_FMA)) {
  case IR_INSTRUCTION_WGMMA: {
    int columns = dot_columns(dot), promote = dot_promotes(dot);
    if (columns > c->out->wgmma_columns) c->out->wgmma_columns = columns;
    double instructions = m / 64 * (n / columns);
    c->now->tensor += weight * m * n * k / macs_a_clock(c->target, d.columns->value->type, true);
    c->now->shared +=
        weight * instructions * (operand_bytes(d.columns->value, columns, k) + operand_bytes(d.rows->value, 64, k));
    if (promote) count_promotion(c, &d, columns, promote, weight);
    break;
  }
  case IR_INSTRUCTION_MMA:
    c->now->tensor += weight * m * n * k / macs_a_clock(c->target, d.columns->value->type, false);
    c->now->shared +=
        weight * k * bytes * ((rows_shared ? m * (double)warps_n : 0) + (columns_shared ? n * (double)warps_m : 0));
    if (dot_promotes(dot)) {
      c->now->alu += weight * m * n * ceil(k / dot_promotes(dot));
      c->out->part_registers = (int)(m * n / (c->warps * 32));
    }
    if (d.scale) {
      double groups = k / d.group;
      c->now->alu += weight * groups * m * (n + 4 * (double)warps_n); /* four lanes fetch the scale of a row */
      c->now->shared += weight * groups * m * (double)warps_n * 4;
    }
    break;
  default:
    c->out->uses_fma = true;
    c->now->alu += weight * m * n * k * 2; /* a load for each multiply-add or two */
    c->now->shared += weight * m * n * k * bytes / 4;
    break;
  }
}

const ir_op *work_reader(const ir_op *const *dot, int count, const ir_value *tile) {
  for (int i = 0; i < count; i++) {
    if (dot[i]->read[0].value == tile || dot[i]->read[1].value == tile) return dot[i];
  }
  return NULL;
}

/* Instructions a code, from the bit tricks of each pair of types. */
static double decode_cost(const ir_op *decode, bool from_table) {
  ir_type code = decode->read[0].value->type, to = decode->write[0].value->type;
  bool permutes = ir_type_of(code)->class == IR_CLASS_TABLE && !from_table;
  double cost = permutes ? 4.2 : ir_bits(to) == 8 ? 0.45 : to == IR_BF16 ? 1.4 : 1.2;
  if (decode->read_count > 1 && decode->read[1].value) cost += 0.5;
  if (decode->read_count > 2 && decode->read[2].value) cost += 0.25;
  return cost;
}

static void count_decode(counter *c, const ir_op *decode, double weight) {
  double elements = (double)ir_element_count(decode->write[0].value), bytes = 0;
  const ir_op *dot = work_reader(c->dot, c->dot_count, decode->write[0].value);
  double again = dot ? (double)ir_attr_get(&dot->attrs, IR_ATTR_WARPS_N, 1)
                     : 1; /* warps along the other side decode the same codes */
  for (int i = 0; i < decode->read_count; i++) {
    const ir_value *from = decode->read[i].value;
    if (from && from->space == IR_SHARED) bytes += (double)ir_element_count(from) * ir_bits(from->type) / 8;
  }
  bool from_table = decode_uses_table(decode, dot);
  if (from_table) bytes += elements * ir_bits(decode->write[0].value->type) / 8;
  c->now->shared += weight * again * bytes;
  /* half of it runs on pipes of 64 lanes; before mma, what warps wait for each other is here too */
  bool is_mma = dot && ir_attr_get(&dot->attrs, IR_ATTR_INSTRUCTION, IR_INSTRUCTION_FMA) == IR_INSTRUCTION_MMA;
  c->now->alu += weight * again * elements * decode_cost(decode, from_table) * (is_mma ? 1.5 : 1.3);
  if (is_mma)
    c->now->alu += weight * c->warps * 32 * TURN_INSTRUCTIONS;
  else if (dot)
    c->now->decodes += weight * again * elements * decode_cost(decode, from_table) * 1.3;
}

/* -- Copies -------------------------------------------------------------------------------------------------------- */

/* Elements of the region that are inside its tensor. */
static double inside_elements(const counter *c, const ir_ref *ref) {
  double elements = 1;
  for (int d = 0; d < ref->value->rank; d++) {
    double extent = extent_at(c->value, ref->value->extent[d]);
    double span = ref->count ? (ref->span[d] ? ref->span[d] : 1) : extent;
    elements *= span < extent ? span : extent;
  }
  return elements;
}

static uint8_t ref_mask(const counter *c, const ir_ref *ref) {
  uint8_t mask = 0;
  for (int d = 0; d < ref->count; d++)
    mask |= mask_of(c, ref->start[d]);
  return mask;
}

static double tile_bytes(const ir_value *value) { return (double)ir_element_count(value) * ir_bits(value->type) / 8; }

/* Instructions of a copy engine: a box for the small panels of a tile, or one for each; a run for blocks or pieces of a
 * packed tensor, or a box for neighbours along k (lower_tensor_copy.c). */
static double engine_copies(const ir_op *copy) {
  const ir_value *to = copy->write[0].value;
  const packed_layout *packed = copy->read[0].value->packed;
  double rows = to->rank > 1 ? (double)ir_extent(to, to->rank - 2) : 1;
  if (!packed) {
    double panels = tile_bytes(to) / rows / PANEL_BYTES;
    return panels <= 1 || rows * PANEL_BYTES <= REGION_SMALL_BOX ? 1 : panels;
  }
  int piece = packed_piece_rows((int)rows), columns = (int)ir_extent(to, 1) / packed->k;
  int bytes = piece * packed->k * packed->code_bits / 8 * columns;
  bool boxes = rows == piece || bytes % REGION_BOX_ALIGNMENT == 0;
  return rows / piece * (piece == packed->rows || boxes ? 1 : columns);
}

static void count_load(counter *c, const ir_op *copy, double weight, loop_frame *frame) {
  const ir_ref *from = &copy->read[0];
  const ir_value *to = copy->write[0].value;
  double bytes = inside_elements(c, from) * ir_bits(from->value->type) / 8;
  ir_engine engine = (ir_engine)ir_attr_get(&copy->attrs, IR_ATTR_ENGINE, IR_ENGINE_SIMT);
  bool by_engine = engine == IR_ENGINE_TMA || engine == IR_ENGINE_BULK,
       async = by_engine || engine == IR_ENGINE_CPASYNC;
  frame->has_async |= async;
  frame->has_sync |= !async;
  if (to->space == IR_SHARED) c->now->shared += weight * tile_bytes(to);
  int width = region_access_bytes(c->scratch, from);
  double accesses = (double)ir_element_count(to) * ir_bits(from->value->type) / 8 /
                    (width                              ? width
                     : ir_bits(from->value->type) >= 16 ? ir_bits(from->value->type) / 8
                                                        : 1);
  if (by_engine) c->now->copies += weight * engine_copies(copy);
  double inside = engine == IR_ENGINE_CPASYNC ? bytes / tile_bytes(to) : 1; /* beyond the tensor's edge nothing moves */
  if (!by_engine) c->now->alu += weight * accesses * (to->space == IR_SHARED ? 2 + 6 * inside : 5);
  move(c, from->value, weight * bytes, ref_mask(c, from), true, engine == IR_ENGINE_TMA);
  /* rows beyond the tensor's edge are no traffic, yet the copy engine takes its time over each */
  if (engine == IR_ENGINE_TMA) c->now->l2 += weight * 3 * (tile_bytes(to) - bytes);
}

static bool is_transposed(const counter *c, const ir_value *tile) {
  for (int i = 0; i < c->dot_count; i++)
    if (c->dot[i]->write[0].value == tile && ir_attr_get(&c->dot[i]->attrs, IR_ATTR_SWAP, 0)) return true;
  return false;
}

static void count_store(counter *c, const ir_op *copy, double weight) {
  const ir_ref *to = &copy->write[0];
  const ir_value *from = copy->read[0].value;
  double bytes = inside_elements(c, to) * ir_bits(to->value->type) / 8,
         whole = (double)ir_element_count(from) * ir_bits(to->value->type) / 8;
  bool adds = ir_attr_get(&copy->attrs, IR_ATTR_REDUCE, 0) != 0;
  bool staged = c->producers > 0 && c->level >= 2 && !adds && !ir_attr_get(&copy->attrs, IR_ATTR_DIRECT, 0) &&
                from->space == IR_TILE && !region_tma_refusal(c->scratch, to);
  bool fragments = c->dot_count > 0 && from->space == IR_TILE && !staged;
  if (staged) {
    c->now->shared += weight * 2 * whole;
    c->now->alu += weight * (double)ir_element_count(from) * 0.75;
  } else {
    /* of a transposed tile a thread has no two elements next to each other */
    bool single = fragments && is_transposed(c, from);
    double elements = (double)ir_element_count(from);
    c->now->alu += weight * (fragments ? elements * (single ? 40 : 12) : whole / 16 * 5);
    if (from->space == IR_SHARED) c->now->shared += weight * whole;
  }
  /* a quad's four neighbours write half a sector; atomics go through the L2's own adders */
  double factor = adds ? 4 : fragments && ir_bits(to->value->type) <= 16 ? 2 : 1;
  move(c, to->value, weight * bytes, ref_mask(c, to), false, false);
  c->now->l2 += weight * bytes * (factor - 1);
}

static void count_copy(counter *c, const ir_op *copy, double weight, loop_frame *frame) {
  const ir_value *to = copy->write[0].value, *from = copy->read[0].value;
  if (from->space == IR_GLOBAL) {
    count_load(c, copy, weight, frame);
  } else if (to->space == IR_GLOBAL) {
    count_store(c, copy, weight);
  } else {
    if (to->space == IR_SHARED) c->now->shared += weight * tile_bytes(to);
    if (from->space == IR_SHARED) c->now->shared += weight * tile_bytes(to);
    double elements = (double)ir_element_count(to->space == IR_TILE ? to : from);
    if (to->type != from->type || to->space != from->space) c->now->alu += weight * elements * 0.5;
  }
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
  c->grid_mask[variable->number] = mask_of(c, loop->expr[0]);
  if (outermost) open_section(c);
  loop_frame frame = {false, false, 0};
  count_block(c, &loop->body, weight * (double)trips, NULL, &frame, false);
  int64_t stages = ir_attr_get(&loop->attrs, IR_ATTR_STAGES, 1);
  if (frame.has_async) {
    c->now->loads += weight * (double)trips;
    c->now->slots = stages > 1 ? (double)stages : 1;
    c->now->dots += frame.dots;
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
    count *= extent_at(c->value, op->expr[v]);
    c->value[op->variable[v]->number] = evaluate(c->value, op->expr[v]) / 2;
    c->grid_mask[op->variable[v]->number] = 0;
  }
  loop_frame frame = {false, false, 0};
  count_block(c, &op->body, count, op, &frame, false);
}

static void count_scalar(counter *c, const ir_op *op, double weight, const ir_op *parallel) {
  ir_value *to = op->write[0].value;
  if (to && (to->space == IR_SCALAR || to->space == IR_INDEX)) {
    c->value[to->number] = evaluate(c->value, op->expr[0]);
    c->grid_mask[to->number] = mask_of(c, op->expr[0]);
  }
  for (int i = 0; parallel && i < op->expr_count; i++)
    count_expr(c, parallel, op->expr[i], weight);
  if (!to || op->kind == IR_OP_LET) return;
  double bytes = ir_bits(to->type) / 8.0;
  if (to->space == IR_SHARED) c->now->shared += weight * (bytes < 4 ? 4 : bytes);
  if (to->space != IR_GLOBAL) return;
  c->now->alu += weight * 3;
  move(c, to, weight * bytes * (op->kind == IR_OP_ATOMIC ? 4 : 1), ref_mask(c, &op->write[0]), false, false);
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
  if (op->kind == IR_OP_DOT && c->dot_count < MAX_DOTS) c->dot[c->dot_count++] = op;
  return true;
}

double work_tensor_bytes(const block_work *w, const ir_value *tensor) {
  double elements = 1;
  for (int d = 0; d < tensor->rank; d++)
    elements *= extent_at(w->sizes, tensor->extent[d]);
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
    out->grid[d] = d < kernel->grid_count ? extent_at(c.value, kernel->grid[d].extent) : 1;
    if (d >= kernel->grid_count) continue;
    c.value[kernel->grid[d].index->number] = (int64_t)out->grid[d] / 2;
    c.grid_mask[kernel->grid[d].index->number] = (uint8_t)(1u << d);
  }
  ir_walk(&kernel->body, note_dot, &c);
  open_section(&c);
  loop_frame frame = {false, false, 0};
  count_block(&c, &kernel->body, 1, NULL, &frame, true);
  if (frame.has_async || frame.has_sync) out->section[0].sync_waits += 1; /* what is read before the first loop */
  work_room(kernel, c.dot, c.dot_count, options->level, scratch, out);
}
