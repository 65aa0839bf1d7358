/* prove-tiles: every tile of the grid is computed exactly once.
 *
 * make-persistent turns the grid into lets of a linear tile number, and that into a loop. For small grids, also with
 * more rows than a band has, this pass evaluates the loop's bounds for several numbers of blocks and the lets for
 * every tile, and counts; in a cluster the grid is one of clusters, whose blocks differ by cta_rank(). What the grid
 * was is known in the compilation that took it apart only (kernel->grid keeps the indices and extents when grid_count
 * becomes 0): a kernel read as text later passes unchecked. Nothing is changed. */
#include "passes/prove.h"

enum { MAX_EXTENTS = 6, MAX_TILES = 512, MAX_LETS = 64 };

typedef struct context {
  ir_kernel *kernel;
  pass_env *env;
  prove_env values;
  int rank;
  int64_t extent[3]; /* of the grid at hand */
  int64_t tiles;
  int64_t cluster;   /* blocks that take a tile of the grid together */
  const ir_op *loop; /* the persistent one; NULL: a tile a block */
  const ir_op *let[MAX_LETS];
  int let_count;
} context;

static bool defines_index(const context *c, const ir_op *op) {
  for (int d = 0; d < c->rank; d++)
    if (op->kind == IR_OP_LET && op->write[0].value == c->kernel->grid[d].index) return true;
  return false;
}

static bool mentions_block(const ir_expr *e) {
  if (e->kind == IR_EXPR_BLOCK) return true;
  for (int i = 0; i < e->arg_count; i++)
    if (mentions_block(e->args[i])) return true;
  return false;
}

/* The grid's loop (the user may have persistent ones too), and the lets from the head of its body (or the kernel's) to
 * the last that defines an index. */
static bool find_lets(context *c) {
  const ir_block *block = &c->kernel->body;
  for (const ir_op *op = block->first; op; op = op->next)
    if (op->kind == IR_OP_FOR && ir_attr_get(&op->attrs, IR_ATTR_PERSISTENT, 0) && mentions_block(op->expr[0]))
      c->loop = op;
  const ir_block *blocks[2] = {block, c->loop ? &c->loop->body : NULL};
  int found = 0, count = 0;
  for (int b = 0; b < 2 && blocks[b]; b++)
    for (const ir_op *op = blocks[b]->first; op && count < MAX_LETS; op = op->next) {
      if (op->kind != IR_OP_LET) continue;
      c->let[count++] = op;
      if (!defines_index(c, op)) continue;
      found++;
      c->let_count = count;
    }
  return found == c->rank;
}

static bool fail(context *c, const char *format, long long tile) {
  char what[160];
  snprintf(what, sizeof what, format, tile);
  diag_error(c->env->diagnostics, DIAG_PROOF, c->kernel->loc,
             "%s in a grid of %lld x %lld x %lld; make-persistent should have prevented it", what,
             (long long)c->extent[0], (long long)c->extent[1], (long long)c->extent[2]);
  return false;
}

/* The tile's place in the grid, as a number; -1 when it is outside or unknown. */
static int64_t place_of_tile(context *c, int64_t tile) {
  if (c->loop)
    c->values.value[c->loop->write[0].value->number] = (prove_number){true, tile};
  else
    c->values.block = tile * c->cluster;
  for (int i = 0; i < c->let_count; i++)
    c->values.value[c->let[i]->write[0].value->number] = prove_eval(&c->values, c->let[i]->expr[0]);
  int64_t place = 0;
  for (int d = c->rank - 1; d >= 0; d--) {
    prove_number index = c->values.value[c->kernel->grid[d].index->number];
    if (!index.known || index.value < 0 || index.value >= c->extent[d]) return -1;
    place = place * c->extent[d] + index.value;
  }
  return place;
}

static bool check_places(context *c) {
  bool seen[MAX_TILES] = {false};
  for (int64_t tile = 0; tile < c->tiles; tile++) {
    int64_t place = place_of_tile(c, tile);
    if (place < 0) return fail(c, "tile %lld is outside", tile);
    if (seen[place]) return fail(c, "tile %lld is computed already", tile);
    seen[place] = true;
  }
  return true;
}

/* The loops of all blocks together run every tile number once. */
static bool check_walk(context *c, int64_t blocks) {
  bool seen[MAX_TILES] = {false};
  int64_t count = 0;
  for (int64_t block = 0; block < blocks; block++) {
    c->values.block = block * c->cluster;
    for (int i = 0; i < c->let_count && c->loop; i++)
      c->values.value[c->let[i]->write[0].value->number] = prove_eval(&c->values, c->let[i]->expr[0]);
    prove_number lo = prove_eval(&c->values, c->loop->expr[0]), step = prove_eval(&c->values, c->loop->expr[2]);
    prove_number trips = prove_trips(&c->values, c->loop->expr[0], c->loop->expr[1], c->loop->expr[2]);
    if (!lo.known || !step.known || !trips.known) return fail(c, "what block %lld computes is unknown", block);
    for (int64_t i = 0; i < trips.value; i++) {
      int64_t tile = lo.value + i * step.value;
      if (tile < 0 || tile >= c->tiles) return fail(c, "tile %lld does not exist", tile);
      if (seen[tile]) return fail(c, "tile %lld is computed twice", tile);
      seen[tile] = true;
      count++;
    }
  }
  return count == c->tiles || fail(c, "only %lld tiles are computed", count);
}

static bool check_grid(context *c) {
  c->tiles = 1;
  for (int d = 0; d < c->rank; d++)
    c->tiles *= c->extent[d];
  if (c->tiles > MAX_TILES) return true;
  if (!prove_eval_is(&c->values, c->kernel->block_count, c->tiles * c->cluster))
    return fail(c, "the launch has another number of blocks than %lld", c->tiles * c->cluster);
  static const int64_t blocks[] = {1, 3}; /* where a tile lies may depend on how many walk */
  for (int i = 0; i < 2; i++) {
    c->values.blocks = (c->loop ? blocks[i] : c->tiles) * c->cluster;
    if (!check_places(c) || (c->loop && !check_walk(c, blocks[i]))) return false;
  }
  return true;
}

/* Extents worth trying along a dimension: around the band's height along the second. */
static int wanted_extents(const context *c, int dim, int64_t *wanted) {
  int64_t band = ir_attr_get(&c->kernel->attrs, IR_ATTR_RASTER, 0);
  if (band < 2 || dim != 1) {
    static const int64_t plain[] = {1, 2, 3, 5};
    int count = dim == 2 ? 2 : 4;
    for (int i = 0; i < count; i++)
      wanted[i] = plain[i];
    return count;
  }
  const int64_t banded[] = {1, band - 1, band, band + 1, 2 * band + 1};
  for (int i = 0; i < 5; i++)
    wanted[i] = banded[i];
  return 5;
}

static bool try_grids(context *c, int dim, bool *fixed, const ir_expr *zero, const ir_expr *one) {
  if (dim == c->rank) return !prove_facts_hold(c->kernel, &c->values) || check_grid(c);
  const ir_kernel *kernel = c->kernel;
  const ir_expr *extent = kernel->grid[dim].extent;
  int64_t wanted[MAX_EXTENTS], last = -1;
  int count = wanted_extents(c, dim, wanted);
  prove_number *saved = arena_copy(c->env->scratch, c->values.value, sizeof *saved * (size_t)kernel->value_count);
  bool *saved_fixed = arena_copy(c->env->scratch, fixed, (size_t)kernel->value_count);
  for (int i = 0; i < count; i++) {
    for (int v = 0; v < kernel->value_count; v++) {
      c->values.value[v] = saved[v];
      fixed[v] = saved_fixed[v];
    }
    prove_reach(kernel, &c->values, fixed, zero, extent, one, wanted[i]);
    prove_number got = prove_eval(&c->values, extent);
    if (!got.known || got.value < 1 || got.value == last) continue;
    c->extent[dim] = last = got.value;
    if (!try_grids(c, dim + 1, fixed, zero, one)) return false;
  }
  return true;
}

bool prove_tiles(ir_kernel *kernel, pass_env *env) {
  context c = {.kernel = kernel, .env = env, .extent = {1, 1, 1}};
  while (c.rank < 3 && kernel->grid[c.rank].index)
    c.rank++;
  if (kernel->grid_count || !c.rank || !kernel->block_count || !find_lets(&c)) return true;
  c.cluster = ir_attr_get(&kernel->attrs, IR_ATTR_CLUSTER, 1);
  c.values.value = ARENA_ARRAY(env->scratch, prove_number, kernel->value_count);
  prove_least_sizes(kernel, &c.values);
  bool *fixed = ARENA_ARRAY(env->scratch, bool, kernel->value_count);
  return try_grids(&c, 0, fixed, ir_int(env->scratch, 0), ir_int(env->scratch, 1));
}
