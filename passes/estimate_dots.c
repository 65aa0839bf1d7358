/* What dots and decodes cost a block: clocks of its tensor cores, bytes of shared memory, and the instructions of warps
 * that promote sums or decode operands. */
#include "passes/estimate_count.h"

#include "passes/tensor_core.h"

#include <math.h>

static const double part_turn = 0.5; /* of a barrier that a further part of a promoted sum takes */

/* A sparse mma takes 8.25 clocks of a scheduler alone where one that adds as many products takes 6.5 (sm_90; others are
 * taken to do the same), and more beside what makes its operands: as plans of 1 to 16 columns were measured. */
static const double sparse_clocks = 1.5;
static const double pair_instructions = 4; /* one, at half rate, which the mma waits for */

enum { TURN_INSTRUCTIONS = 120 /* of a warp that decodes its part of a turn: addresses, first fragments, sums */ };

/* Bytes of shared memory that wgmma reads for `lines` rows or columns of the operand, k deep. Rows that are swizzled in
 * less than 128 bytes take longer: measured at whole products of tiles 96 deep. */
static double operand_bytes(const ir_value *operand, double lines, double k) {
  if (operand->space != IR_SHARED) return 0;
  double bytes = ir_bits(operand->type) / 8.0;
  int64_t row = (int64_t)(ir_extent(operand, operand->rank - 1) * bytes);
  return lines * k * bytes * (row % COUNT_PANEL_BYTES == 0 ? 1 : row % (COUNT_PANEL_BYTES / 2) == 0 ? 1.4 : 2);
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

void count_dot(counter *c, const ir_op *dot, double weight) {
  dot_shape d = dot_shape_of(dot);
  double m = d.m, n = d.n, k = d.k, bytes = ir_bits(d.rows->value->type) / 8.0;
  bool rows_shared = d.rows->value->space == IR_SHARED, columns_shared = d.columns->value->space == IR_SHARED;
  int64_t warps_m = ir_attr_get(&dot->attrs, IR_ATTR_WARPS_M, 1),
          warps_n = ir_attr_get(&dot->attrs, IR_ATTR_WARPS_N, 1),
          warps_k = ir_attr_get(&dot->attrs, IR_ATTR_WARPS_K, 1);
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
    if (warps_k > 1) c->now->sums += m * n * (double)warps_k;
    n = n < MMA_COLUMNS ? MMA_COLUMNS : n; /* copies */
    c->now->tensor +=
        weight * m * n * k * (d.chooses ? sparse_clocks : 1) / macs_a_clock(c->target, d.columns->value->type, false);
    c->now->chooses |= d.chooses;
    if (d.chooses) c->now->alu += weight * pair_instructions * n * k * (double)warps_m;
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
  if (ir_attr_has(&decode->attrs, IR_ATTR_LOW)) return 5.0 / 32; /* 5 for a word of codes */
  double cost = permutes ? 4.2 : ir_bits(to) == 8 ? 0.45 : to == IR_BF16 ? 1.4 : 1.2;
  if (decode->read_count > 1 && decode->read[1].value) cost += 0.5;
  if (decode->read_count > 2 && decode->read[2].value) cost += 0.25;
  return cost;
}

void count_decode(counter *c, const ir_op *decode, double weight) {
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
  /* half of it runs on pipes of 64 lanes; before mma, what warps wait for each other, or for a table, is here too */
  bool is_mma = dot && ir_attr_get(&dot->attrs, IR_ATTR_INSTRUCTION, IR_INSTRUCTION_FMA) == IR_INSTRUCTION_MMA;
  double factor = !is_mma ? 1.3 : from_table ? 1.5 : 1.15;
  c->now->alu += weight * again * elements * decode_cost(decode, from_table) * factor;
  if (is_mma)
    c->now->alu += weight * c->warps * 32 * TURN_INSTRUCTIONS;
  else if (dot)
    c->now->decodes += weight * again * elements * decode_cost(decode, from_table) * 1.3;
}
