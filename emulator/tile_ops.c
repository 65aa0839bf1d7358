/* Ops on whole tiles that compute: decode, reduce, scan, vote. */
#include "emulator/machine.h"

#include <math.h>
#include <string.h>

/* All elements of an operand in row-major order; NULL after a finding. */
static const cell *read_operand(machine *m, agent *a, const instruction *in, const operand *o, region *r) {
  if (!region_of(m, a, o, NULL, r)) return NULL;
  access x = access_generic(a, in->op, false, r->value);
  const cell zero = {0};
  return region_read(m, r, &x, zero);
}

static void write_operand(machine *m, agent *a, const instruction *in, const region *r, ir_type type,
                          const cell *cells) {
  access x = access_generic(a, in->op, true, r->value);
  region_write(m, r, &x, type, cells);
}

/* -- Decode -------------------------------------------------------------------------------------------------------- */

/* A [rows, columns] view of a scale or zero operand. */
typedef struct factors {
  const cell *cells; /* NULL: none */
  ir_type type;
  int64_t rows, columns;
} factors;

static double number(ir_type type, cell x) { return is_real(type) ? x.f : (double)x.i; }

static bool read_factors(machine *m, agent *a, const instruction *in, int index, factors *out) {
  *out = (factors){0};
  if (index >= in->op->read_count || !in->read[index].value) return true;
  region r;
  out->cells = read_operand(m, a, in, &in->read[index], &r);
  if (!out->cells) return false;
  out->type = r.value->type;
  out->columns = r.dim_count > 1 ? r.span[r.dim_count - 1] : 1;
  out->rows = out->columns ? region_count(&r) / out->columns : 0;
  return true;
}

/* Factors of one row, or of one column, serve all. */
static double factor_at(const factors *f, int64_t row, int64_t group) {
  if (f->rows == 1) row = 0;
  if (group >= f->columns) group = f->columns - 1;
  return number(f->type, f->cells[row * f->columns + group]);
}

static void execute_decode(machine *m, agent *a, const instruction *in) {
  const ir_op *op = in->op;
  region codes, to;
  const cell *elements = read_operand(m, a, in, &in->read[0], &codes);
  factors scale, zero;
  if (!elements || !read_factors(m, a, in, 1, &scale) || !read_factors(m, a, in, 2, &zero) ||
      !region_of(m, a, &in->write[0], NULL, &to))
    return;
  int64_t count = region_count(&to), columns = to.dim_count > 0 ? to.span[to.dim_count - 1] : 1;
  if (region_count(&codes) != count) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, nowhere, "decode of %lld codes to %lld elements",
            (long long)region_count(&codes), (long long)count);
    return;
  }
  int64_t group = ir_attr_get(&op->attrs, IR_ATTR_GROUP, 0),
          mode = ir_attr_get(&op->attrs, IR_ATTR_ZERO_MODE, IR_ZERO_NONE);
  double factor = (double)ir_attr_get(&op->attrs, IR_ATTR_FACTOR, 1);
  double offset = (double)ir_attr_get(&op->attrs, IR_ATTR_OFFSET, 0);
  int power = (int)ir_attr_get(&op->attrs, IR_ATTR_POWER, 0);
  int64_t rows = columns ? count / columns : 0;
  if ((scale.cells && scale.rows != 1 && scale.rows != rows) || (zero.cells && zero.rows != 1 && zero.rows != rows)) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, nowhere,
            "decode of %lld rows with scales or zeros of another number of rows", (long long)rows);
    return;
  }
  cell *result = arena_alloc(m->scratch, sizeof(cell) * (size_t)(count + 1));
  for (int64_t i = 0; i < count; i++) {
    int64_t row = i / columns, g = group > 0 ? i % columns / group : 0;
    double q = number(codes.value->type, elements[i]) * factor - offset;
    double s = scale.cells ? factor_at(&scale, row, g) : 1, z = zero.cells ? factor_at(&zero, row, g) : 0;
    if (mode == IR_ZERO_NONE || !zero.cells) z = 0;
    result[i].f = ldexp(mode == IR_ZERO_RESCALE ? q * s - z : (q - z) * s, -power);
  }
  write_operand(m, a, in, &to, IR_F64, result);
}

/* -- Along an axis ------------------------------------------------------------------------------------------------- */

/* [outer, length, inner] around the axis. */
typedef struct axis_view {
  int64_t outer, length, inner;
} axis_view;

static bool view_axis(machine *m, agent *a, const ir_op *op, const region *r, axis_view *v) {
  int64_t axis = ir_attr_get(&op->attrs, IR_ATTR_AXIS, 0);
  if (axis < 0 || axis >= r->dim_count) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, r->value->loc, "axis %lld of '%s', which has %d dimensions",
            (long long)axis, r->value->name, r->dim_count);
    return false;
  }
  *v = (axis_view){1, r->span[axis], 1};
  for (int i = 0; i < r->dim_count; i++) {
    if (i < axis) v->outer *= r->span[i];
    if (i > axis) v->inner *= r->span[i];
  }
  return true;
}

static cell identity_of(ir_type type, int64_t operation) {
  cell x = {0};
  bool real = is_real(type);
  int bits = ir_bits(type);
  bool is_signed = ir_type_of(type)->class == IR_CLASS_SINT;
  int64_t largest = bits >= 64 ? INT64_MAX : is_signed ? (1ll << (bits - 1)) - 1 : (1ll << bits) - 1;
  switch (operation) {
  case IR_MUL:
    if (real)
      x.f = 1;
    else
      x.i = 1;
    break;
  case IR_MAX:
    if (real)
      x.f = -(double)INFINITY;
    else
      x.i = is_signed ? -largest - 1 : 0;
    break;
  case IR_MIN:
    if (real)
      x.f = (double)INFINITY;
    else
      x.i = largest;
    break;
  case IR_AND:
    x.i = is_signed ? -1 : largest;
    break;
  default:
    if (real) x.f = 0;
    break;
  }
  return x;
}

/* Sums are kept in the compute type until they are stored. */
static void execute_reduce(machine *m, agent *a, const instruction *in) {
  const ir_op *op = in->op;
  region from, to;
  axis_view v;
  const cell *x = read_operand(m, a, in, &in->read[0], &from);
  if (!x || !region_of(m, a, &in->write[0], NULL, &to) || !view_axis(m, a, op, &from, &v)) return;
  int64_t operation = ir_attr_get(&op->attrs, IR_ATTR_OPERATION, IR_SUM);
  if (region_count(&to) != v.outer * v.inner) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, to.value->loc, "a reduction to %lld elements, but '%s' has %lld",
            (long long)(v.outer * v.inner), to.value->name, (long long)region_count(&to));
    return;
  }
  const cell *old = ir_attr_get(&op->attrs, IR_ATTR_ACCUMULATE, 0) ? read_operand(m, a, in, &in->write[0], &to) : NULL;
  ir_type type = ir_compute_type(from.value->type);
  cell *result = arena_alloc(m->scratch, sizeof(cell) * (size_t)(v.outer * v.inner + 1));
  for (int64_t o = 0; o < v.outer; o++)
    for (int64_t i = 0; i < v.inner; i++) {
      cell sum = identity_of(type, operation);
      if (old) sum = convert_cell(m, to.value->type, type, old[o * v.inner + i]);
      for (int64_t k = 0; k < v.length; k++)
        sum = combine_cells(m, type, operation, sum, x[(o * v.length + k) * v.inner + i]);
      result[o * v.inner + i] = sum;
    }
  write_operand(m, a, in, &to, type, result);
}

static void execute_scan(machine *m, agent *a, const instruction *in) {
  const ir_op *op = in->op;
  region from, to;
  axis_view v;
  const cell *x = read_operand(m, a, in, &in->read[0], &from);
  if (!x || !region_of(m, a, &in->write[0], NULL, &to) || !view_axis(m, a, op, &from, &v)) return;
  if (region_count(&to) != region_count(&from)) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, to.value->loc, "a scan of %lld elements to %lld",
            (long long)region_count(&from), (long long)region_count(&to));
    return;
  }
  int64_t operation = ir_attr_get(&op->attrs, IR_ATTR_OPERATION, IR_SUM);
  bool exclusive = ir_attr_get(&op->attrs, IR_ATTR_EXCLUSIVE, 0) != 0;
  ir_type type = ir_compute_type(from.value->type);
  cell *result = arena_alloc(m->scratch, sizeof(cell) * (size_t)(region_count(&to) + 1));
  for (int64_t o = 0; o < v.outer; o++)
    for (int64_t i = 0; i < v.inner; i++) {
      cell sum = identity_of(type, operation);
      for (int64_t k = 0; k < v.length; k++) {
        int64_t at = (o * v.length + k) * v.inner + i;
        if (exclusive) result[at] = sum;
        sum = combine_cells(m, type, operation, sum, x[at]);
        if (!exclusive) result[at] = sum;
      }
    }
  write_operand(m, a, in, &to, type, result);
}

bool tile_has(machine *m, agent *a, const instruction *in, ir_operation operation) {
  region from;
  const cell *x = read_operand(m, a, in, &in->read[0], &from);
  if (!x) return false;
  bool any = false, all = true;
  for (int64_t i = 0; i < region_count(&from); i++) {
    any = any || x[i].i;
    all = all && x[i].i;
  }
  arena_reset(m->scratch);
  return operation == IR_AND ? all : any;
}

static void execute_vote(machine *m, agent *a, const instruction *in) {
  const ir_value *flag = in->write[0].value;
  a->scalars[(size_t)flag->number * LANES].i =
      tile_has(m, a, in, (ir_operation)ir_attr_get(&in->op->attrs, IR_ATTR_OPERATION, IR_OR));
  a->scalar_initialised[flag->number] = ~0u;
}

outcome execute_tile(machine *m, agent *a, const instruction *in) {
  switch (in->op->kind) {
  case IR_OP_DECODE:
    execute_decode(m, a, in);
    break;
  case IR_OP_REDUCE:
    execute_reduce(m, a, in);
    break;
  case IR_OP_SCAN:
    execute_scan(m, a, in);
    break;
  default:
    execute_vote(m, a, in);
    break;
  }
  arena_reset(m->scratch);
  return OUTCOME_NEXT;
}
