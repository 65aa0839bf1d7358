#include "passes/parallel_access.h"

typedef struct collector {
  const ir_op *parallel;
  parallel_access *accesses;
  int count, capacity;
} collector;

static int variable_number(const ir_op *parallel, const ir_expr *e) {
  for (int i = 0; e->kind == IR_EXPR_VALUE && i < parallel->variable_count; i++)
    if (parallel->variable[i] == e->value) return i;
  return -1;
}

/* The first variable of extent 1 that none of the `count` coordinates is; -1 when there is none. */
static int free_variable(const ir_op *parallel, const int *coordinate, int count) {
  for (int v = 0; v < parallel->variable_count; v++) {
    int64_t extent;
    bool free = ir_is_constant(parallel->expr[v], &extent) && extent == 1;
    for (int d = 0; d < count; d++)
      free &= coordinate[d] != v;
    if (free) return v;
  }
  return -1;
}

bool parallel_coordinates(const ir_op *parallel, const ir_value *tile, const ir_expr *const *index, int count,
                          int coordinate[IR_MAX_RANK]) {
  bool regular = true;
  int64_t constant, extent;
  for (int d = 0; d < count; d++) {
    int v = coordinate[d] = variable_number(parallel, index[d]);
    regular &= v >= 0 ? ir_is_constant(parallel->expr[v], &extent) && extent == ir_extent(tile, d)
                      : ir_is_constant(index[d], &constant) && constant == 0 && ir_extent(tile, d) == 1;
  }
  for (int d = 0; d < count && regular; d++)
    if (coordinate[d] < 0) coordinate[d] = free_variable(parallel, coordinate, count);
  return regular;
}

static void add(collector *c, ir_value *tile, const ir_expr *const *index, int count, bool written) {
  parallel_access access = {.tile = tile, .written = written};
  access.regular = parallel_coordinates(c->parallel, tile, index, count, access.coordinate);
  if (c->count < c->capacity) c->accesses[c->count++] = access;
}

static void add_expr(collector *c, const ir_expr *e) {
  if (e->kind == IR_EXPR_ELEMENT && e->value->space == IR_TILE) add(c, e->value, e->args, e->arg_count, false);
  for (int i = 0; i < e->arg_count; i++)
    add_expr(c, e->args[i]);
}

static void add_block(collector *c, const ir_block *block) {
  for (const ir_op *op = block->first; op; op = op->next) {
    for (int i = 0; i < op->expr_count; i++)
      add_expr(c, op->expr[i]);
    for (int i = 0; i < op->write_count; i++) {
      const ir_ref *ref = &op->write[i];
      for (int d = 0; d < ref->count; d++)
        add_expr(c, ref->start[d]);
      if (ref->value->space == IR_TILE) add(c, ref->value, ref->start, ref->count, true);
    }
    add_block(c, &op->body);
    add_block(c, &op->other);
  }
}

int parallel_accesses(const ir_op *parallel, parallel_access *accesses, int capacity) {
  collector c = {parallel, accesses, 0, capacity};
  add_block(&c, &parallel->body);
  return c.count;
}

bool parallel_access_is_full(const ir_op *parallel, const parallel_access *access) {
  if (!access->regular) return false;
  for (int v = 0; v < parallel->variable_count; v++) {
    int uses = 0;
    for (int d = 0; d < access->tile->rank; d++)
      uses += access->coordinate[d] == v;
    if (uses != 1) return false;
  }
  return true;
}

bool parallel_iteration_layout(const ir_op *parallel, const parallel_access *full, const tile_layout *tile,
                               tile_layout *iteration) {
  tile_layout layout = *tile;
  int coordinate[IR_MAX_RANK], rank = 0;
  for (int d = 0, at = 0; d < full->tile->rank; d++) {
    if (full->coordinate[d] >= 0) {
      coordinate[rank++] = full->coordinate[d];
      at++;
      continue;
    }
    tile_layout smaller;
    if (!tile_layout_slice(&layout, at, &smaller)) return false;
    layout = smaller;
  }
  int order[LAYOUT_MAX_RANK];
  for (int v = 0; v < parallel->variable_count; v++)
    for (int d = 0; d < rank; d++)
      if (coordinate[d] == v) order[v] = d;
  return tile_layout_transpose(&layout, order, iteration);
}

bool parallel_tile_layout(const ir_op *parallel, const parallel_access *access, const tile_layout *iteration,
                          tile_layout *tile) {
  if (!access->regular) return false;
  tile_layout layout = *iteration;
  int kept[IR_MAX_RANK], rank = 0; /* the coordinate that each dimension of `layout` is */
  for (int v = 0; v < parallel->variable_count; v++)
    kept[rank++] = v;
  for (int v = parallel->variable_count - 1; v >= 0; v--) {
    int uses = 0;
    for (int d = 0; d < access->tile->rank; d++)
      uses += access->coordinate[d] == v;
    if (uses > 1) return false;
    if (uses == 1) continue;
    tile_layout smaller;
    if (!tile_layout_slice(&layout, v, &smaller)) return false;
    layout = smaller;
    for (int i = v; i + 1 < rank; i++)
      kept[i] = kept[i + 1];
    rank--;
  }
  int order[LAYOUT_MAX_RANK], used = 0;
  for (int d = 0; d < access->tile->rank; d++)
    for (int i = 0; i < rank; i++)
      if (kept[i] == access->coordinate[d]) order[used++] = i;
  if (rank > 0) { /* a slice of everything is a tile of one element, extent [1] */
    tile_layout ordered;
    if (!tile_layout_transpose(&layout, order, &ordered)) return false;
    layout = ordered;
  }
  for (int d = 0; d < access->tile->rank; d++) {
    if (access->coordinate[d] >= 0 || (rank == 0 && d == 0)) continue;
    tile_layout wider;
    if (!tile_layout_expand(&layout, d, 1, &wider)) return false;
    layout = wider;
  }
  *tile = layout;
  return true;
}
