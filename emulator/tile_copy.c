/* Regions of tensors and stores, and the ops that move whole regions: fill, copy, convert. */
#include "emulator/machine.h"

#include <string.h>

static int64_t extent_of(const region *r, int d) { return r->tensor ? r->tensor->extent[d] : r->store->extent[d]; }

static int64_t stride_of(const region *r, int d) {
  if (r->tensor) return r->tensor->stride[d];
  int64_t stride = 1;
  for (int i = r->value->rank - 1; i > d; i--)
    stride *= r->store->extent[i];
  return stride;
}

static void extend(region *r, int d, int64_t span) {
  r->dim[r->dim_count] = d;
  r->span[r->dim_count++] = span;
}

bool region_of(machine *m, agent *a, const operand *o, const region *shape, region *out) {
  *out = (region){.value = o->value};
  if (o->value->space == IR_GLOBAL) {
    out->tensor = &m->tensors[o->value->number];
  } else if (o->value->space == IR_SHARED || o->value->space == IR_TILE) {
    out->store = agent_store(a, o->value);
  } else {
    finding(m, a, EMULATOR_UNSUPPORTED, nowhere, o->value->loc, "'%s' is %s: not something with elements here",
            o->value->name, ir_space_name(o->value->space));
    return false;
  }
  if (o->slot) out->slot = evaluate_uniform(m, a, o->slot).i;
  if (out->store && (out->slot < 0 || out->slot >= out->store->slots)) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, o->value->loc, "slot %lld of '%s', which has %d", (long long)out->slot,
            o->value->name, out->store->slots);
    return false;
  }
  for (int d = 0; d < o->count; d++) {
    out->start[d] = evaluate_uniform(m, a, o->start[d]).i;
    if (o->span[d] > 0) extend(out, d, o->span[d]);
  }
  if (o->count == 0) {
    for (int d = 0; d < o->value->rank; d++)
      extend(out, d, extent_of(out, d));
  } else if (out->dim_count == 0 && shape) {
    for (int i = 0; i < shape->dim_count; i++) {
      int d = o->value->rank - shape->dim_count + i;
      if (d >= 0) extend(out, d, shape->span[i]);
    }
  }
  return true;
}

int64_t region_count(const region *r) {
  int64_t count = 1;
  for (int i = 0; i < r->dim_count; i++)
    count *= r->span[i];
  return count;
}

/* A walk over the rows of a region: a row runs along the last dimension that extends. */
typedef struct walk {
  const region *r;
  int64_t index[IR_MAX_RANK]; /* of dimension dim[i] */
  int64_t length, stride;     /* of a row; 1 element when nothing extends */
  int64_t rows;
  int64_t base;   /* position of the row's first element */
  bool inside;    /* every coordinate but the row's lies inside the extents */
  int64_t lo, hi; /* elements of the row inside the extents */
} walk;

static walk walk_start(const region *r) {
  walk w = {.r = r, .length = 1, .rows = 1};
  if (r->dim_count > 0) {
    w.length = r->span[r->dim_count - 1];
    w.stride = stride_of(r, r->dim[r->dim_count - 1]);
  }
  for (int i = 0; i + 1 < r->dim_count; i++)
    w.rows *= r->span[i];
  return w;
}

static void walk_row(walk *w) {
  const region *r = w->r;
  int row_dim = r->dim_count > 0 ? r->dim[r->dim_count - 1] : -1;
  int64_t at[IR_MAX_RANK] = {0};
  for (int d = 0; d < r->value->rank; d++)
    at[d] = r->start[d];
  for (int i = 0; i + 1 < r->dim_count; i++)
    at[r->dim[i]] += w->index[i];
  w->base = r->store ? r->slot * r->store->count : 0;
  w->inside = true;
  w->lo = 0;
  w->hi = w->length;
  for (int d = 0; d < r->value->rank; d++) {
    int64_t extent = extent_of(r, d);
    w->base += at[d] * stride_of(r, d);
    if (d != row_dim) {
      w->inside = w->inside && at[d] >= 0 && at[d] < extent;
      continue;
    }
    if (at[d] < 0) w->lo = -at[d];
    if (at[d] + w->length > extent) w->hi = extent - at[d];
  }
  if (!w->inside || w->hi < w->lo) w->lo = w->hi = 0;
}

static void walk_next(walk *w) {
  for (int i = w->r->dim_count - 2; i >= 0; i--) {
    if (++w->index[i] < w->r->span[i]) return;
    w->index[i] = 0;
  }
}

/* Position of element i of the row. */
static int64_t walk_position(const walk *w, int64_t i) {
  const region *r = w->r;
  if (!r->tensor || tensor_is_strided(r->tensor)) return w->base + i * w->stride;
  int64_t at[IR_MAX_RANK];
  for (int d = 0; d < r->value->rank; d++)
    at[d] = r->start[d];
  for (int k = 0; k < r->dim_count; k++)
    at[r->dim[k]] += k + 1 < r->dim_count ? w->index[k] : i;
  return tensor_position(r->tensor, at);
}

/* Findings for rows that leave a store or the bytes of a tensor; false when the row must be skipped. */
static bool row_fits(machine *m, const walk *w, const access *x) {
  const region *r = w->r;
  if (r->store && (w->lo != 0 || w->hi != w->length)) {
    finding(m, x->agent, EMULATOR_BOUNDS, nowhere, r->value->loc, "a region of '%s' leaves its extents",
            r->value->name);
    return false;
  }
  if (r->tensor && w->hi > w->lo) {
    int64_t first = walk_position(w, w->lo), last = walk_position(w, w->hi - 1);
    if (!tensor_holds(r->tensor, first) || !tensor_holds(r->tensor, last)) {
      finding(m, x->agent, EMULATOR_BOUNDS, nowhere, r->value->loc, "element %lld of '%s' lies beyond its %zu bytes",
              (long long)last, r->value->name, r->tensor->byte_size);
      return false;
    }
  }
  return true;
}

static void touch_row(machine *m, const walk *w, access *x) {
  if (!w->r->store) return;
  if (w->stride == 1 || w->length == 1) {
    store_access(m, x, w->base, w->length);
    return;
  }
  for (int64_t i = 0; i < w->length; i++)
    store_access(m, x, w->base + i * w->stride, 1);
}

const cell *region_read(machine *m, const region *r, access *x, cell outside) {
  int64_t count = region_count(r);
  if (r->store && r->dim_count == r->value->rank && count == r->store->count) {
    store_access(m, x, r->slot * count, count);
    return r->store->cells + r->slot * count;
  }
  cell *out = arena_alloc(m->scratch, sizeof(cell) * (size_t)(count + 1)), *to = out;
  walk w = walk_start(r);
  for (int64_t row = 0; row < w.rows; row++, walk_next(&w), to += w.length) {
    walk_row(&w);
    if (!row_fits(m, &w, x)) return NULL;
    touch_row(m, &w, x);
    for (int64_t i = 0; i < w.length; i++) {
      if (i < w.lo || i >= w.hi) {
        to[i] = outside;
        continue;
      }
      int64_t position = walk_position(&w, i);
      if (r->tensor) tensor_touch(m, x->agent, r->tensor, position, 1, TENSOR_READ);
      to[i] = r->store ? r->store->cells[position] : tensor_load(m, r->tensor, position);
    }
    if (r->tensor && w.hi > w.lo)
      m->report->counts.events[IR_EVENT_GLOBAL_READ_BYTES] += (uint64_t)((w.hi - w.lo) * r->tensor->bits + 7) / 8;
  }
  return out;
}

void region_write(machine *m, const region *r, access *x, ir_type from, const cell *from_cells) {
  walk w = walk_start(r);
  ir_type to = r->value->type;
  bool add = x->op->kind == IR_OP_COPY && ir_attr_get(&x->op->attrs, IR_ATTR_REDUCE, 0) != 0;
  for (int64_t row = 0; row < w.rows; row++, walk_next(&w), from_cells += w.length) {
    walk_row(&w);
    if (!row_fits(m, &w, x)) return;
    touch_row(m, &w, x);
    for (int64_t i = w.lo; i < w.hi; i++) {
      int64_t position = walk_position(&w, i);
      cell value = convert_cell(m, from, to, from_cells[i]);
      if (r->store) {
        r->store->cells[position] = value;
        continue;
      }
      if (add) value = combine_cells(m, to, IR_SUM, tensor_load(m, r->tensor, position), value);
      tensor_touch(m, x->agent, r->tensor, position, 1, add ? TENSOR_COMBINE : TENSOR_WRITE);
      tensor_store(r->tensor, position, value);
    }
    if (r->tensor && w.hi > w.lo)
      m->report->counts.events[IR_EVENT_GLOBAL_WRITE_BYTES] += (uint64_t)((w.hi - w.lo) * r->tensor->bits + 7) / 8;
  }
}

/* -- Ops ----------------------------------------------------------------------------------------------------------- */

/* Equal but for dimensions of extent 1. */
static bool same_shape(const region *a, const region *b) {
  int i = 0, j = 0;
  for (;;) {
    while (i < a->dim_count && a->span[i] == 1)
      i++;
    while (j < b->dim_count && b->span[j] == 1)
      j++;
    if (i == a->dim_count || j == b->dim_count) return i == a->dim_count && j == b->dim_count;
    if (a->span[i++] != b->span[j++]) return false;
  }
}

static bool is_async_engine(int64_t engine) { return engine == IR_ENGINE_TMA || engine == IR_ENGINE_BULK; }

/* Who touches the two sides of a copy, and when that is known to be over: at once, or when a barrier or group
 * completes. */
static void set_engine(agent *a, int64_t engine, const mbarrier *bar, access *read, access *write) {
  if (engine == IR_ENGINE_CPASYNC && write->value->space == IR_SHARED) {
    write->clock_index = a->clock_index + CLOCK_CP;
    write->clock = groups_use(&a->cp, write->lanes);
  }
  if (!is_async_engine(engine)) return;
  if (write->value->space == IR_SHARED && bar) {
    write->async = true;
    write->clock_index = bar->clock_index;
    write->clock = bar->phase + 1;
  }
  if (read->value->space == IR_SHARED) {
    read->async = true;
    read->clock_index = a->clock_index + CLOCK_BULK;
    read->clock = groups_use(&a->bulk, read->lanes);
  }
}

static void execute_copy(machine *m, agent *a, const instruction *in) {
  const ir_op *op = in->op;
  region from, to;
  bool spans = in->write[0].count > 0;
  /* The side without spans gives the shape. */
  if (spans ? !region_of(m, a, &in->read[0], NULL, &from) || !region_of(m, a, &in->write[0], &from, &to)
            : !region_of(m, a, &in->write[0], NULL, &to) || !region_of(m, a, &in->read[0], &to, &from))
    return;
  if (!same_shape(&from, &to)) {
    finding(m, a, EMULATOR_BOUNDS, nowhere, nowhere,
            "the two sides of the copy differ in shape: '%s' has %lld elements, '%s' %lld", from.value->name,
            (long long)region_count(&from), to.value->name, (long long)region_count(&to));
    return;
  }
  access read = access_generic(a, op, false, from.value), write = access_generic(a, op, true, to.value);
  int64_t engine = ir_attr_get(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_NONE);
  mbarrier *bar = NULL;
  if (op->read_count > 1 && in->read[1].value) {
    bar = barrier_of(m, a, &in->read[1], -1);
    if (!bar) return;
  }
  if (m->concurrent) set_engine(a, engine, bar, &read, &write);
  cell outside = bits_cell(m, from.value->type, 0); /* of a table type, its first entry */
  if (op->expr_count > 0)
    outside = convert_cell(m, in->expr[0]->type, from.value->type, evaluate_uniform(m, a, in->expr[0]));
  const cell *elements = region_read(m, &from, &read, outside);
  if (!elements) return;
  region_write(m, &to, &write, from.value->type, elements);
  int64_t bytes = region_count(&to) * ir_bits(to.value->type) / 8;
  if (is_async_engine(engine))
    m->report->counts.events[bar ? IR_EVENT_ASYNC_LOAD_BYTES : IR_EVENT_ASYNC_STORE_BYTES] += (uint64_t)bytes;
  if (bar) barrier_complete_later(m, a, bar, bytes, in->read[1].value);
}

static void execute_fill(machine *m, agent *a, const instruction *in) {
  region to;
  if (!region_of(m, a, &in->write[0], NULL, &to)) return;
  cell value = evaluate_uniform(m, a, in->expr[0]);
  int64_t count = region_count(&to);
  cell *cells = arena_alloc(m->scratch, sizeof(cell) * (size_t)(count + 1));
  for (int64_t i = 0; i < count; i++)
    cells[i] = value;
  access x = access_generic(a, in->op, true, to.value);
  region_write(m, &to, &x, in->expr[0]->type, cells);
}

outcome execute_move(machine *m, agent *a, const instruction *in) {
  if (in->op->kind == IR_OP_FILL)
    execute_fill(m, a, in);
  else
    execute_copy(m, a, in);
  arena_reset(m->scratch);
  return OUTCOME_NEXT;
}
