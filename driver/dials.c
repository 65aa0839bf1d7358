/* The dials of a kernel: the tune parameters whose values are tile extents or stages, with the values that are worth a
 * plan, and the attributes that schedule takes as pins. */
#include "driver/plans.h"

#include <inttypes.h>
#include <string.h>

enum {
  USUAL_TILE = 512,
  FILLED_WAVES = 2,
  WGMMA_ROWS = 64,
  MOST_ODD = 9,
};

/* Attributes of the schedule that plans differ in, beside what schedule chooses by itself. */
static const struct {
  ir_attr attr;
  int64_t value[3];
  int count;
} knobs[] = {
    {IR_ATTR_WARPS, {4, 8, 16}, 3},
    {IR_ATTR_PRODUCERS, {0}, 1},
    {IR_ATTR_DIRECT, {0}, 0}, /* cast_direct_net sets it; measured with code of sm_90a only */
};

/* -- Reading ------------------------------------------------------------------------------------------------------- */

ir_module *plans_read(const choice *c, const plan *p, arena *memory, diag *d) {
  compile_options options = *c->options;
  frontend_binding *bindings = ARENA_ARRAY(memory, frontend_binding, options.binding_count + c->dial_count);
  for (int i = 0; i < options.binding_count; i++)
    bindings[i] = options.bindings[i];
  for (int i = 0; i < c->dial_count; i++) {
    if (c->dial[i].is_attr || p->value[i] == c->dial[i].standard) continue;
    bindings[options.binding_count++] =
        (frontend_binding){c->dial[i].name, arena_printf(memory, "%" PRId64, p->value[i])};
  }
  options.bindings = bindings;
  options.memory = memory;
  options.diagnostics = d;
  options.tree = c->tree;
  options.kernel_name = c->kernel;
  ir_module *module;
  if (compile_read(&options, &module, NULL) != COMPILE_OK) return NULL;
  for (int i = 0; i < c->dial_count; i++) {
    if (c->dial[i].is_attr && p->value[i] != UNSET) ir_attr_set(&module->kernels->attrs, c->dial[i].attr, p->value[i]);
    for (int k = 0; !c->dial[i].is_attr && k < module->kernels->param_count; k++) { /* chosen, not fixed */
      ir_param *param = &module->kernels->params[k];
      param->tunable |= !strcmp(param->name, c->dial[i].name);
    }
  }
  return module;
}

/* -- Dials --------------------------------------------------------------------------------------------------------- */

typedef struct meaning {
  int64_t value;
  bool is_stages;
} meaning;

static bool find_stages(void *context, ir_block *block, ir_op *op) {
  meaning *m = context;
  (void)block;
  if (op->kind == IR_OP_FOR && ir_attr_get(&op->attrs, IR_ATTR_STAGES, 0) == m->value) m->is_stages = true;
  return !m->is_stages;
}

static bool is_extent(const ir_kernel *kernel, int64_t value) {
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *v = kernel->values[i];
    if (v->space != IR_SHARED && v->space != IR_TILE) continue;
    for (int d = 0; d < v->rank; d++) {
      if (ir_extent(v, d) == value) return true;
    }
  }
  return false;
}

static void add_value(dial *d, int64_t value) {
  for (int i = 0; i < d->count; i++) {
    if (d->value[i] == value) return;
  }
  if (d->count < MAX_VALUES) d->value[d->count++] = value;
}

/* A size that is known, or expected; -1 else. */
static int64_t known_size(const choice *c, const ir_expr *e) {
  int64_t value;
  if (ir_is_constant(e, &value)) return value;
  if (e->kind != IR_EXPR_VALUE || e->value->space != IR_SIZE) return -1;
  for (int k = 0; e->value->bound < 0 && k < c->options->passes.expected_count; k++)
    if (!strcmp(c->options->passes.expected[k].name, e->value->name)) return c->options->passes.expected[k].value;
  return e->value->bound;
}

/* What a tile extent cuts: a dimension of tensors, for the blocks of a grid dimension or for the turns of a loop; or not,
 * when it holds all of it. */
typedef struct cut {
  const choice *choice;
  const ir_kernel *kernel;
  int64_t tile;
  int grid;     /* dimension of the grid; -1: none */
  int64_t size; /* that the blocks share; -1: not known */
  bool loop;
  int64_t loop_size; /* that the turns go over; -1: not known */
  int64_t whole;     /* that a tile holds; -1: not known */
} cut;

static void find_cut_of(cut *k, const ir_ref *ref) {
  int64_t tile;
  for (int d = 0; ref->value && ref->value->space == IR_GLOBAL && d < ref->count; d++) {
    const ir_expr *start = ref->start[d];
    if (ref->span[d] == k->tile && ir_is_zero(start)) k->whole = known_size(k->choice, ref->value->extent[d]);
    if (start->kind != IR_EXPR_MUL || start->args[0]->kind != IR_EXPR_VALUE || !ir_is_constant(start->args[1], &tile) ||
        tile != k->tile || ref->span[d] != tile)
      continue;
    int dim = 0;
    while (dim < k->kernel->grid_count && k->kernel->grid[dim].index != start->args[0]->value)
      dim++;
    if (dim == k->kernel->grid_count) {
      k->loop = true;
      k->loop_size = known_size(k->choice, ref->value->extent[d]);
    } else if (k->grid < 0) {
      k->grid = dim;
      k->size = known_size(k->choice, ref->value->extent[d]);
    }
  }
}

static bool find_cut(void *context, ir_block *block, ir_op *op) {
  (void)block;
  if (op->kind != IR_OP_COPY) return true;
  find_cut_of(context, &op->read[0]);
  find_cut_of(context, &op->write[0]);
  return true;
}

/* Blocks along a dimension of the grid; 0 when they are not known. */
static int64_t blocks_along(const choice *c, const ir_kernel *kernel, int dim) {
  const ir_expr *e = kernel->grid[dim].extent;
  int64_t count, tile;
  if (ir_is_constant(e, &count)) return count;
  if (e->kind != IR_EXPR_CEILDIV || !ir_is_constant(e->args[1], &tile) || tile < 1) return 0;
  int64_t size = known_size(c, e->args[0]);
  return size > 0 ? (size + tile - 1) / tile : 0;
}

/* Tiles that give every SM one block, or two: rows that are no power of two, where powers of two leave some idle. */
static void filling_values(const choice *c, const ir_kernel *kernel, const cut *k, dial *d) {
  int64_t sms = estimate_machine(kernel->target, &c->options->passes).sms, others = 1;
  for (int i = 0; i < kernel->grid_count; i++)
    others *= i == k->grid ? 1 : blocks_along(c, kernel, i);
  for (int waves = 1; others && waves <= FILLED_WAVES; waves++) {
    int64_t least = (k->size * others + sms * waves - 1) / (sms * waves),
            rows = (least + ROW_UNIT - 1) / ROW_UNIT * ROW_UNIT;
    while (rows / (rows & -rows) > MOST_ODD) /* registers are spread no other way */
      rows += ROW_UNIT;
    if (rows <= USUAL_TILE) add_value(d, rows);
  }
}

/* How large a tile need be: the rows of an instruction, or nearly twice what there is to cut. */
static int64_t largest_useful(const ir_kernel *kernel, const cut *k) {
  int64_t least = ir_target_of(kernel->target)->has_wgmma ? WGMMA_ROWS : ROW_UNIT;
  int64_t size = k->grid >= 0 ? k->size : k->loop ? k->loop_size : k->whole;
  if (size < 1) return INT64_MAX;
  return size * 2 - 1 > least ? size * 2 - 1 : least;
}

/* Powers of two, from an instruction's least columns on, and three times them near the source's own value. What a loop
 * takes at once may be deeper than what a block has of the result: few tokens take few turns; and it is no three times a
 * power, which swizzles in narrower panels: 96 columns of f16 were a fifth slower than 64. */
static void tile_values(const choice *c, ir_kernel *kernel, int64_t tile, dial *d) {
  cut k = {.choice = c, .kernel = kernel, .tile = tile, .grid = -1, .size = -1, .loop_size = -1, .whole = -1};
  ir_walk(&kernel->body, find_cut, &k);
  bool of_loop = k.loop && k.grid < 0;
  if (of_loop && k.loop_size > 0) d->depth = k.loop_size;
  for (d->few = 2; d->few < k.whole;)
    d->few *= 2;
  if (of_loop || k.whole < 0 || d->few >= INSTRUCTION_ROWS) d->few = 0;
  int64_t usual = of_loop ? DEEP_TILE : USUAL_TILE;
  int64_t top = d->standard >= ROW_UNIT && d->standard < USUAL_TILE ? usual : d->standard * 2;
  if (d->standard >= ROW_UNIT && top > largest_useful(kernel, &k)) top = largest_useful(kernel, &k);
  if (d->standard <= top) add_value(d, d->standard);
  if (k.grid >= 0 && k.size > 0 && d->standard >= ROW_UNIT) filling_values(c, kernel, &k, d);
  for (int64_t v = d->standard >= 16 ? 8 : 1; v <= top; v *= 2) {
    if (v * 32 >= d->standard) add_value(d, v);
    if (!of_loop && v >= 32 && v * 3 <= top && v * 3 <= d->standard * 2 && v * 6 > d->standard) add_value(d, v * 3);
  }
  if (!d->count) add_value(d, d->standard);
}

static bool is_pinned(const choice *c, const ir_kernel *kernel, ir_attr attr) {
  const pass_options *p = &c->options->passes;
  for (int i = 0; i < p->pin_count; i++) {
    if (!strcmp(p->pins[i].name, ir_attr_info_of(attr)->name)) return true;
  }
  return ir_attr_has(&kernel->attrs, attr);
}

static bool is_no_decode(void *context, ir_block *block, ir_op *op) {
  (void)context, (void)block;
  return op->kind != IR_OP_DECODE;
}

static bool is_taken(const ir_kernel *kernel, int64_t value) {
  for (int i = 0; i < kernel->param_count; i++)
    if (kernel->params[i].value == value) return true;
  return is_extent(kernel, value);
}

/* The kernel with another value of the last dial, *value, that nothing else in it has: what the dial means shows in
 * where that value stands. The kernel itself where none of those tried is allowed. */
static ir_kernel *probe(choice *c, ir_kernel *kernel, int64_t *value) {
  static const int64_t factor[] = {2, 4, 8, 16};
  const dial *last = &c->dial[c->dial_count - 1];
  for (size_t i = 0; i < sizeof factor / sizeof *factor; i++) {
    plan p = {.number = 0};
    for (int k = 0; k < c->dial_count; k++)
      p.value[k] = c->dial[k].standard;
    p.value[c->dial_count - 1] = last->standard * factor[i];
    if (is_taken(kernel, last->standard * factor[i])) continue;
    arena_reset(c->trial);
    diag_clear(c->quiet);
    ir_module *module = plans_read(c, &p, c->trial, c->quiet);
    if (!module) continue;
    *value = last->standard * factor[i];
    return module->kernels;
  }
  *value = last->standard;
  return kernel;
}

void plans_find_dials(choice *c, ir_kernel *kernel) {
  for (int i = 0; i < kernel->param_count && c->dial_count < MAX_DIALS; i++) {
    const ir_param *param = &kernel->params[i];
    if (!param->tunable || !c->tree || param->value < 1) continue;
    dial *d = &c->dial[c->dial_count++];
    *d = (dial){.name = arena_strdup(c->memory, param->name), .standard = param->value};
    meaning m = {.is_stages = false};
    ir_kernel *probed = probe(c, kernel, &m.value);
    ir_walk(&probed->body, find_stages, &m);
    d->is_stages = m.is_stages;
    if (d->is_stages) {
      add_value(d, param->value);
      for (int64_t v = 2; v <= 8; v += v < 4 ? 1 : 2)
        add_value(d, v);
    } else if (is_extent(probed, m.value)) {
      tile_values(c, probed, m.value, d);
    } else {
      c->dial_count--;
    }
  }
  for (size_t k = 0; k < sizeof knobs / sizeof *knobs && c->dial_count < MAX_DIALS; k++) {
    if (is_pinned(c, kernel, knobs[k].attr) || c->options->passes.level < 2) continue;
    bool has_codes = !ir_walk(&kernel->body, is_no_decode, NULL);
    if (knobs[k].attr == IR_ATTR_DIRECT && !(has_codes && ir_target_of(kernel->target)->has_tma)) continue;
    dial *d = &c->dial[c->dial_count++];
    *d =
        (dial){.name = ir_attr_info_of(knobs[k].attr)->name, .is_attr = true, .attr = knobs[k].attr, .standard = UNSET};
    add_value(d, UNSET);
    for (int i = 0; i < knobs[k].count; i++)
      add_value(d, knobs[k].value[i]);
  }
}
