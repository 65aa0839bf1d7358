/* dot of whole tiles: multiplied by plain loops on unpacked operands. */
#include "emulator/machine.h"

#include <math.h>
#include <string.h>

typedef struct matrix {
  region r;
  int64_t rows, columns;
} matrix;

static bool shape_matrix(machine *m, agent *a, const operand *o, matrix *out) {
  if (!region_of(m, a, o, NULL, &out->r)) return false;
  if (out->r.dim_count < 1) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, o->value->loc, "'%s' is no matrix", o->value->name);
    return false;
  }
  out->columns = out->r.span[out->r.dim_count - 1];
  out->rows = out->columns ? region_count(&out->r) / out->columns : 0;
  return true;
}

/* Operands of an asynchronous dot are read until its group is waited for; those of wgmma through the async proxy. */
static access operand_access(const machine *m, agent *a, const ir_op *op, const ir_value *value) {
  access x = access_generic(a, op, false, value);
  if (!m->concurrent || value->space != IR_SHARED) return x;
  x.async = ir_attr_get(&op->attrs, IR_ATTR_INSTRUCTION, 0) == IR_INSTRUCTION_WGMMA;
  if (ir_attr_get(&op->attrs, IR_ATTR_ASYNC, 0)) {
    x.clock_index = a->clock_index + CLOCK_DOT;
    x.clock = a->dot_open;
  }
  return x;
}

#define MULTIPLY(type, field)                                                                                          \
  do {                                                                                                                 \
    type *x = arena_alloc(m->scratch, sizeof(type) * (size_t)(rows * depth + 1));                                      \
    type *y = arena_alloc(m->scratch, sizeof(type) * (size_t)(depth * columns + 1));                                   \
    type *z = arena_alloc(m->scratch, sizeof(type) * (size_t)(columns + 1));                                           \
    for (int64_t i = 0; i < rows; i++)                                                                                 \
      for (int64_t k = 0; k < depth; k++)                                                                              \
        x[i * depth + k] = (type)(transpose_a ? left[k * rows + i] : left[i * depth + k]).field;                       \
    for (int64_t k = 0; k < depth; k++)                                                                                \
      for (int64_t j = 0; j < columns; j++)                                                                            \
        y[k * columns + j] = (type)(transpose_b ? right[j * depth + k] : right[k * columns + j]).field;                \
    for (int64_t i = 0; i < rows; i++) {                                                                               \
      for (int64_t j = 0; j < columns; j++)                                                                            \
        z[j] = old ? (type)old[i * columns + j].field : 0;                                                             \
      for (int64_t k = 0; k < depth; k++) {                                                                            \
        type factor = x[i * depth + k];                                                                                \
        const type *line = y + k * columns;                                                                            \
        for (int64_t j = 0; j < columns; j++)                                                                          \
          z[j] += factor * line[j];                                                                                    \
      }                                                                                                                \
      for (int64_t j = 0; j < columns; j++)                                                                            \
        result[i * columns + j].field = z[j];                                                                          \
    }                                                                                                                  \
  } while (0)

/* result[i, j] = old + sum over k; `field` of the cells is chosen by the accumulator's type. */
static void multiply(machine *m, ir_type type, int64_t rows, int64_t columns, int64_t depth, bool transpose_a,
                     bool transpose_b, const cell *left, const cell *right, const cell *old, cell *result) {
  if (!is_real(type))
    MULTIPLY(int64_t, i);
  else if (m->reference || type == IR_F64)
    MULTIPLY(double, f);
  else
    MULTIPLY(float, f);
}

/* The whole numbers of a row operand that came out 2^-power times too large. */
static const cell *lowered(machine *m, const cell *cells, int64_t count, int power) {
  cell *out = arena_alloc(m->scratch, sizeof(cell) * (size_t)(count + 1));
  for (int64_t i = 0; i < count; i++)
    out[i].i = cells[i].i >> -power;
  return out;
}

/* Multiplies the cells of the row operand, rows x depth as `transposed` says, by the scale of their row and group, and
 * by 2^power. */
static const cell *scaled(machine *m, const cell *cells, const cell *scale, int64_t rows, int64_t depth, int64_t group,
                          int power, bool transposed) {
  cell *out = arena_alloc(m->scratch, sizeof(cell) * (size_t)(rows * depth + 1));
  for (int64_t r = 0; r < rows; r++)
    for (int64_t k = 0; k < depth; k++) {
      int64_t at = transposed ? k * rows + r : r * depth + k;
      out[at] = cells[at];
      out[at].f *= ldexp(scale[r * (depth / group) + k / group].f, power);
    }
  return out;
}

/* Share number `part` of the k of a matrix: of each row's columns where k is last, else of its rows. */
static const cell *share(machine *m, const cell *cells, int64_t rows, int64_t depth, bool k_last, int64_t part,
                         int64_t parts) {
  int64_t own = depth / parts;
  if (parts == 1 || !k_last) return cells + part * own * rows;
  cell *out = arena_alloc(m->scratch, sizeof(cell) * (size_t)(rows * own + 1));
  for (int64_t r = 0; r < rows; r++)
    memcpy(out + r * own, cells + r * depth + part * own, sizeof(cell) * (size_t)own);
  return out;
}

static void mark_flight(agent *a, const ir_value *acc, const matrix *left, const matrix *right) {
  store *st = agent_store(a, acc);
  st->written_group = a->dot_open;
  st->flight_instruction = a->pc;
  const matrix *sides[] = {left, right};
  for (int i = 0; i < 2; i++)
    if (sides[i]->r.value->space == IR_TILE) {
      sides[i]->r.store->read_group = a->dot_open;
      sides[i]->r.store->flight_instruction = a->pc;
    }
}

static void run_dot(machine *m, agent *a, const instruction *in) {
  const ir_op *op = in->op;
  matrix acc, left, right;
  if (!shape_matrix(m, a, &in->write[0], &acc) || !shape_matrix(m, a, &in->read[0], &left) ||
      !shape_matrix(m, a, &in->read[1], &right))
    return;
  bool transpose_a = ir_attr_get(&op->attrs, IR_ATTR_TRANSPOSE_A, 0) != 0,
       transpose_b = ir_attr_get(&op->attrs, IR_ATTR_TRANSPOSE_B, 0) != 0;
  int64_t rows = transpose_a ? left.columns : left.rows, depth = transpose_a ? left.rows : left.columns;
  int64_t columns = transpose_b ? right.rows : right.columns, depth_b = transpose_b ? right.columns : right.rows;
  int64_t parts = acc.r.dim_count == 3 && rows ? acc.rows / rows : 1;
  if (depth != depth_b || rows * parts != acc.rows || columns != acc.columns || depth % parts) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, nowhere, "dot of [%lld, %lld] and [%lld, %lld] into [%lld, %lld]",
            (long long)rows, (long long)depth, (long long)depth_b, (long long)columns, (long long)acc.rows,
            (long long)acc.columns);
    return;
  }
  ir_type type = acc.r.value->type;
  if (is_real(type) != is_real(left.r.value->type) || is_real(type) != is_real(right.r.value->type)) {
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, nowhere, "dot of %s and %s into %s",
            ir_type_of(left.r.value->type)->name, ir_type_of(right.r.value->type)->name, ir_type_of(type)->name);
    return;
  }
  const cell zero = {0};
  access x = operand_access(m, a, op, left.r.value), y = operand_access(m, a, op, right.r.value);
  access z = access_generic(a, op, true, acc.r.value), old_access = access_generic(a, op, false, acc.r.value);
  const cell *left_cells = region_read(m, &left.r, &x, zero), *right_cells = region_read(m, &right.r, &y, zero);
  bool accumulate = ir_attr_get(&op->attrs, IR_ATTR_ACCUMULATE, 1) != 0;
  if (op->expr_count > 0) accumulate = evaluate_uniform(m, a, in->expr[0]).i != 0;
  /* Dots into one accumulator follow one another without a wait. */
  bool async = m->concurrent && ir_attr_get(&op->attrs, IR_ATTR_ASYNC, 0) != 0;
  if (async && acc.r.store) acc.r.store->written_group = 0;
  const cell *old = accumulate ? region_read(m, &acc.r, &old_access, zero) : NULL;
  if (!left_cells || !right_cells || (accumulate && !old)) return;
  int power = (int)ir_attr_get(&op->attrs, IR_ATTR_POWER, 0);
  bool swapped = ir_attr_get(&op->attrs, IR_ATTR_SWAP, 0) != 0;
  if (op->read_count > 2 && op->read[2].value) {
    matrix scale;
    access s = access_generic(a, op, false, op->read[2].value);
    if (!shape_matrix(m, a, &in->read[2], &scale)) return;
    const cell *scales = region_read(m, &scale.r, &s, zero);
    if (!scales) return;
    int64_t group = ir_attr_get(&op->attrs, IR_ATTR_GROUP, depth);
    if (swapped)
      right_cells = scaled(m, right_cells, scales, columns, depth, group, power, !transpose_b);
    else
      left_cells = scaled(m, left_cells, scales, rows, depth, group, power, transpose_a);
  } else if (power) {
    if (swapped)
      right_cells = lowered(m, right_cells, columns * depth, power);
    else
      left_cells = lowered(m, left_cells, rows * depth, power);
  }
  cell *result = arena_alloc(m->scratch, sizeof(cell) * (size_t)(parts * rows * columns + 1));
  for (int64_t p = 0; p < parts; p++) {
    const cell *a_part = share(m, left_cells, rows, depth, !transpose_a, p, parts);
    const cell *b_part = share(m, right_cells, columns, depth, transpose_b, p, parts);
    int64_t at = p * rows * columns;
    multiply(m, type, rows, columns, depth / parts, transpose_a, transpose_b, a_part, b_part, old ? old + at : NULL,
             result + at);
  }
  region_write(m, &acc.r, &z, is_real(type) ? IR_F64 : IR_I64, result);
  if (async) mark_flight(a, acc.r.value, &left, &right);
  tensor_core_count(m, 2 * rows * columns * depth);
}

outcome execute_dot(machine *m, agent *a, const instruction *in) {
  if (in->op->kind != IR_OP_DOT) return execute_sync(m, a, in);
  run_dot(m, a, in);
  arena_reset(m->scratch);
  return OUTCOME_NEXT;
}
