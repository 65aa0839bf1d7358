/* Comparing plans. A plan is a value for each dial: the tune parameters whose values are tile extents or stages, and
 * attributes that schedule takes as pins. What a parameter means shows where another value of it turns up in the
 * kernel. Starting from the source's own values, the best plan so far is varied one dial at a time until nothing near
 * it is better or PLAN_LIMIT plans were seen: a tile space has few valleys, and a wide survey would cost more than the
 * rest of the compiler.
 *
 * The source's values stay unless another plan is better by CLEARLY: the model is not that exact. The plan that wins
 * is lowered all the way before it is taken, so that a later pass can still refuse it. */
#include "driver/plans.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  USUAL_LIMIT = 288, /* without those that cast_direct_net tries */
  WARP_LIMIT = 224,
  TILE_LIMIT = 96,
  NET_STEPS = 4,
  NET_LIMIT = NET_STEPS * NET_STEPS + 2,
  DEEPEST_TILE = 4096,
  DIRECT_TURNS = 2,
  LEAST_DIRECT_WARPS = 8,
  MOST_DIRECT_WARPS = 16,
  MAX_DETOURS = 10,
};

static const double clearly = 0.97;
static const double short_us = 8; /* of a launch whose beginning counts as much as its middle (cast_direct_net) */
#define FROM_FUSED "schedule,defer-scales,split-dots,choose-products"
static const char from_fused[] = FROM_FUSED, from_tile[] = "specialise,merge-tiles,simplify,keep-tiles,narrow-tiles,"
                                                           "fuse-decode," FROM_FUSED;

bool choose_applies(const compile_options *options) {
  const pipeline_options *p = &options->pipeline;
  return !p->passes && options->passes.level >= 1 && (!p->has_last_form || p->last_form >= IR_FORM_SCHEDULED);
}

/* -- One plan ------------------------------------------------------------------------------------------------------ */

/* Runs `passes` over the module, quietly. */
static bool run_passes(const choice *c, ir_module *module, const char *passes) {
  pass_env env = {.memory = c->trial, .scratch = c->scratch, .diagnostics = c->quiet, .options = &c->options->passes};
  const pipeline_options pipeline = {.passes = passes};
  return pipeline_run(module, &env, &pipeline) == PIPELINE_OK;
}

static const char *error_text(const choice *c) {
  const char *text = diag_first_error(c->quiet);
  return arena_strdup(c->memory, text ? text : "it cannot be lowered");
}

static void assess(choice *c, plan *p) {
  arena_reset(c->trial);
  diag_clear(c->quiet);
  ir_module *module = plans_read(c, p, c->trial, c->quiet);
  if (!module || !run_passes(c, module, c->form == IR_FORM_TILE ? from_tile : from_fused)) {
    p->error = error_text(c);
    p->cost = (estimate){.refusal = p->error};
    return;
  }
  estimate_kernel(module->kernels, &c->options->passes, c->scratch, &p->cost);
  arena_reset(c->scratch);
}

/* Whether the plan goes through every pass. */
static bool lowers(choice *c, plan *p) {
  const pipeline_options *asked = &c->options->pipeline;
  const char *passes = "";
  for (int i = 0; i < pass_count(); i++) {
    const pass_info *pass = pass_at(i);
    bool beyond = asked->has_last_form && pass->establishes_form > asked->last_form;
    beyond |= pass->requires_form < c->form;
    if (beyond || pass->min_level > c->options->passes.level) continue;
    passes = arena_printf(c->memory, "%s%s%s", passes, *passes ? "," : "", pass->name);
  }
  arena_reset(c->trial);
  diag_clear(c->quiet);
  ir_module *module = plans_read(c, p, c->trial, c->quiet);
  if (module && run_passes(c, module, passes)) return true;
  p->cost.refusal = error_text(c);
  return false;
}

/* -- Search -------------------------------------------------------------------------------------------------------- */

static bool is_known(const choice *c, const int64_t *value) {
  for (int i = 0; i < c->plan_count; i++) {
    if (!memcmp(c->plan[i].value, value, sizeof c->plan[i].value)) return true;
  }
  return false;
}

static bool same_cost(const estimate *a, const estimate *b) {
  bool same = a->refusal == b->refusal && a->microseconds == b->microseconds && a->blocks == b->blocks &&
              a->blocks_per_sm == b->blocks_per_sm;
  same = same && a->registers == b->registers && a->shared_bytes == b->shared_bytes;
  for (int i = 0; same && i < ESTIMATE_TERM_COUNT; i++)
    same = a->term[i] == b->term[i];
  return same;
}

static void try_plan(choice *c, const int64_t *value, int limit) {
  if (c->plan_count >= limit || is_known(c, value)) return;
  plan *p = &c->plan[c->plan_count];
  memset(p, 0, sizeof *p);
  memcpy(p->value, value, sizeof p->value);
  p->number = c->plan_count++;
  assess(c, p);
  /* what the source's own plan does on tensor cores, no other should do without */
  if (p->cost.uses_fma && !c->plan[0].cost.uses_fma && !p->cost.refusal) p->cost.refusal = "no tensor cores";
  for (int i = 0; i < p->number && !p->repeats; i++)
    p->repeats = same_cost(&c->plan[i].cost, &p->cost);
}

static bool better(const plan *a, const plan *b) {
  if (!a->cost.refusal != !b->cost.refusal) return !a->cost.refusal;
  return a->cost.microseconds < b->cost.microseconds ||
         (a->cost.microseconds == b->cost.microseconds && a->number < b->number);
}

static const plan *best_plan(const choice *c) {
  const plan *best = &c->plan[0];
  for (int i = 1; i < c->plan_count; i++)
    if (better(&c->plan[i], best)) best = &c->plan[i];
  return best;
}

/* The source's own values, as far as they are among those of the dials, else the nearest below, or the least. */
static void find_base(const choice *c, int64_t *base) {
  for (int i = 0; i < c->dial_count; i++) {
    const dial *d = &c->dial[i];
    int64_t below = INT64_MIN, least = INT64_MAX;
    for (int v = 0; v < d->count; v++) {
      if (d->value[v] <= d->standard && d->value[v] > below) below = d->value[v];
      if (d->value[v] < least) least = d->value[v];
    }
    base[i] = below > INT64_MIN ? below : least;
  }
}

/* A coarse net over the first two tile extents, usually those of the result, so that the search does not end in the
 * valley that the source's values lie in. */
static void cast_net(choice *c, const int64_t *base, int limit) {
  int tile[2], count = 0;
  try_plan(c, base, limit);
  for (int d = 0; d < c->dial_count && count < 2; d++) {
    if (!c->dial[d].is_attr && !c->dial[d].is_stages) tile[count++] = d;
  }
  for (int i = 0; count == 2 && i < NET_STEPS * NET_STEPS; i++) {
    int64_t value[MAX_DIALS];
    memcpy(value, base, sizeof value);
    bool usual = true;
    for (int k = 0; k < 2; k++) {
      const dial *d = &c->dial[tile[k]];
      value[tile[k]] = base[tile[k]] >> (k ? i / NET_STEPS : i % NET_STEPS);
      bool known = false;
      for (int v = 0; v < d->count; v++)
        known |= d->value[v] == value[tile[k]];
      usual &= known;
    }
    if (usual) try_plan(c, value, limit);
  }
}

/* The plan, and the same with no more rows than there are. */
static void try_rows(choice *c, const int64_t *value) {
  int64_t other[MAX_DIALS];
  memcpy(other, value, sizeof other);
  try_plan(c, other, PLAN_LIMIT);
  for (int d = 0; d < c->dial_count; d++) {
    if (!c->dial[d].few || c->dial[d].few >= value[d]) continue;
    other[d] = c->dial[d].few;
    try_plan(c, other, PLAN_LIMIT);
    other[d] = value[d];
  }
}

/* The plan, and the same with twice and half of each tile of the result. */
static void try_around(choice *c, const int64_t *value) {
  int64_t other[MAX_DIALS];
  memcpy(other, value, sizeof other);
  try_rows(c, value);
  for (int d = 0; d < c->dial_count; d++) {
    const dial *k = &c->dial[d];
    if (k->is_attr || k->is_stages || k->depth || value[d] < INSTRUCTION_ROWS) continue;
    other[d] = value[d] * 2;
    try_rows(c, other);
    other[d] = value[d] / 2;
    if (value[d] % (2 * ROW_UNIT) == 0) try_rows(c, other);
    other[d] = value[d];
  }
}

/* Codes that go to registers want other values of nearly all dials at once: many warps, few turns, of as much of k as
 * registers hold of them, and no more rows than there are, since the threads that load codes copy these too. So such plans
 * are tried beside the best one, and where a launch is short: in a long one their loads, a turn ahead and no more, were
 * 1.1 to 1.4 times as slow as a ring (16384 rows of 1, 2 and 4 bits). */
static void cast_direct_net(choice *c) {
  const plan *best = best_plan(c);
  int direct = -1, depth = -1, warps = -1;
  int64_t value[MAX_DIALS];
  memcpy(value, best->value, sizeof value);
  for (int d = 0; d < c->dial_count; d++) {
    const dial *k = &c->dial[d];
    if (k->is_attr && k->attr == IR_ATTR_DIRECT) direct = d;
    if (k->is_attr && k->attr == IR_ATTR_WARPS) warps = d;
    if (k->depth > 0) depth = d;
    if (k->is_stages) value[d] = DIRECT_TURNS;
    if (k->is_attr && k->attr == IR_ATTR_PRODUCERS) value[d] = UNSET;
  }
  if (direct < 0 || depth < 0 || warps < 0 || best->cost.refusal || best->cost.microseconds > short_us) return;
  value[direct] = 1;
  for (value[warps] = LEAST_DIRECT_WARPS; value[warps] <= MOST_DIRECT_WARPS; value[warps] *= 2)
    for (value[depth] = DEEP_TILE; value[depth] * DIRECT_TURNS <= c->dial[depth].depth; value[depth] *= 2)
      if (value[depth] <= DEEPEST_TILE) try_around(c, value);
}

/* Which dials a search varies; stages with either, since what a stage takes decides how many fit. */
enum { TILES = 1, ATTRIBUTES = 2 };

static bool is_varied(const dial *d, int kinds) { return d->is_stages || kinds & (d->is_attr ? ATTRIBUTES : TILES); }

/* Varies each dial of the best plan that was not varied yet, until that is worse than MAX_DETOURS that were. Only of
 * plans with `value` at `parting`, a dial; < 0: of all. */
static void search(choice *c, int kinds, int parting, int64_t value, int limit) {
  for (int i = 0; i < c->plan_count; i++)
    c->plan[i].expanded = false;
  for (int rounds = 0; c->plan_count < limit; rounds++) {
    plan *best = NULL;
    int before = 0;
    for (int i = 0; i < c->plan_count; i++) {
      plan *p = &c->plan[i];
      if (p->expanded || p->repeats || (parting >= 0 && p->value[parting] != value)) continue;
      if (!best || better(p, best)) best = p;
    }
    for (int i = 0; best && i < c->plan_count; i++)
      before += c->plan[i].expanded && better(&c->plan[i], best);
    if (!best || before > MAX_DETOURS || (rounds && best->cost.refusal)) return;
    best->expanded = true;
    for (int d = 0; d < c->dial_count; d++) {
      for (int v = 0; is_varied(&c->dial[d], kinds) && v < c->dial[d].count; v++) {
        int64_t values[MAX_DIALS];
        memcpy(values, best->value, sizeof values);
        values[d] = c->dial[d].value[v];
        try_plan(c, values, limit);
      }
    }
  }
}

/* With warps that only load, and without, tiles are best at sizes far from each other: each is looked for by itself, but
 * for wgmma, which loads beside it never made faster. */
static void search_all(choice *c) {
  int64_t base[MAX_DIALS] = {0};
  int parting = c->dial_count - 1;
  while (parting >= 0 && (!c->dial[parting].is_attr || c->dial[parting].attr != IR_ATTR_PRODUCERS))
    parting--;
  find_base(c, base);
  cast_net(c, base, NET_LIMIT);
  search(c, TILES, parting, UNSET, TILE_LIMIT);
  if (parting >= 0 && !best_plan(c)->cost.uses_wgmma) {
    base[parting] = 0;
    cast_net(c, base, TILE_LIMIT + NET_LIMIT);
    search(c, TILES, parting, 0, 2 * TILE_LIMIT);
  }
  search(c, ATTRIBUTES, -1, 0, WARP_LIMIT);
  search(c, TILES | ATTRIBUTES, -1, 0, USUAL_LIMIT); /* other tiles may be better for the warps that were found */
  cast_direct_net(c);
}

/* Whether every size is known: a plan for thousands of rows may be four times too slow for one, so a guess at a size that
 * nobody gave moves nothing. */
static bool knows_sizes(const choice *c, const ir_kernel *kernel) {
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space != IR_SIZE) continue;
    bool known = value->bound >= 0;
    for (int k = 0; k < c->options->passes.expected_count; k++)
      known |= !strcmp(c->options->passes.expected[k].name, value->name);
    if (!known) return false;
  }
  return true;
}

/* Best first; the source's own plan before those that are not clearly better, or before all when `standing`. */
static int compare(const void *a, const void *b) {
  const plan *const *x = a, *const *y = b;
  return better(*x, *y) ? -1 : better(*y, *x) ? 1 : 0;
}

/* Returns how many plans there are. */
static int rank(choice *c, plan **order, bool standing) {
  int count = 0;
  for (int i = 0; i < c->plan_count; i++) {
    if (!c->plan[i].repeats) order[count++] = &c->plan[i];
  }
  qsort(order, (size_t)count, sizeof *order, compare);
  plan *own = &c->plan[0];
  bool stays = !own->cost.refusal && (standing || order[0]->cost.microseconds > own->cost.microseconds * clearly);
  for (int i = count - 1; stays && i > 0; i--) {
    if (order[i] != own) continue;
    order[i] = order[i - 1];
    order[i - 1] = own;
  }
  return count;
}

/* -- The table ----------------------------------------------------------------------------------------------------- */

static const char *plan_text(const choice *c, const plan *p) {
  const char *text = "";
  for (int i = 0; i < c->dial_count; i++) {
    if (p->value[i] == UNSET) continue;
    text = arena_printf(c->memory, "%s%s%s=%" PRId64, text, *text ? " " : "", c->dial[i].name, p->value[i]);
  }
  return *text ? text : "as it stands";
}

static void explain(const choice *c, const ir_kernel *kernel, plan *const *order, int count, int chosen) {
  str *out = c->options->explain;
  const pass_options *passes = &c->options->passes;
  str_printf(out, "plans of %s for %s", kernel->name, ir_target_of(kernel->target)->name);
  if (passes->speed) str_printf(out, " on %s", passes->speed->name);
  if (passes->sms) str_printf(out, " of %d SMs", passes->sms);
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space != IR_SIZE) continue;
    int64_t size = value->bound;
    for (int k = 0; size < 0 && k < c->options->passes.expected_count; k++) {
      if (!strcmp(c->options->passes.expected[k].name, value->name)) size = c->options->passes.expected[k].value;
    }
    if (size >= 0)
      str_printf(out, ", %s = %" PRId64, value->name, size);
    else
      str_printf(out, ", %s unknown", value->name);
  }
  str_append(out, ":\n");
  estimate_print_head(out);
  for (int i = 0; i < count; i++) {
    const char *text = plan_text(c, order[i]);
    if (order[i] == &c->plan[0]) text = arena_printf(c->memory, "%s [the source's]", text);
    estimate_print_row(&order[i]->cost, i, i == chosen ? "*" : "", text, out);
  }
}

static void hand_out(const choice *c, plan *const *order, int count, int chosen) {
  compile_ranking *r = c->options->ranking;
  r->plans = ARENA_ARRAY(r->memory, compile_ranked_plan, count);
  r->count = count;
  r->chosen = chosen;
  for (int i = 0; i < count; i++)
    r->plans[i] = (compile_ranked_plan){
        .text = arena_strdup(r->memory, plan_text(c, order[i])),
        .refusal = order[i]->cost.refusal ? arena_strdup(r->memory, order[i]->cost.refusal) : NULL,
        .microseconds = order[i]->cost.microseconds,
    };
}

/* -- Kernels ------------------------------------------------------------------------------------------------------- */

/* The rank of the plan to take: the one asked for, else the first that every pass accepts. -1 when there is none. */
static int pick(choice *c, plan **order, int count) {
  int asked = c->options->passes.candidate, fitting = 0;
  while (fitting < count && !order[fitting]->cost.refusal)
    fitting++;
  if (asked) return asked < fitting ? asked : -1;
  for (int i = 0; i < fitting; i++) {
    if (order[i] == &c->plan[0] || lowers(c, order[i])) return i;
  }
  return -1;
}

/* Puts the kernel of the plan in the place of `link`. */
static compile_status take(choice *c, const plan *p, ir_kernel **link) {
  if (p == &c->plan[0]) return COMPILE_OK;
  ir_module *module = plans_read(c, p, c->options->memory, c->options->diagnostics);
  if (!module) return COMPILE_INPUT;
  module->kernels->next = (*link)->next;
  *link = module->kernels;
  return COMPILE_OK;
}

static compile_status choose_kernel(choice *c, ir_kernel **link) {
  ir_kernel *kernel = *link;
  c->kernel = kernel->name;
  c->form = kernel->form;
  c->dial_count = c->plan_count = 0;
  memset(c->dial, 0, sizeof c->dial);
  plans_find_dials(c, kernel);
  int64_t own[MAX_DIALS] = {0};
  for (int i = 0; i < c->dial_count; i++)
    own[i] = c->dial[i].standard;
  try_plan(c, own, 1);
  bool known = knows_sizes(c, kernel),
       asked = c->options->explain || c->options->ranking || c->options->passes.candidate;
  /* What the source says is wrong, or it is fine and nothing tells plans apart: it is lowered as it is. */
  if (c->plan[0].error || (!known && !asked && !c->plan[0].cost.refusal)) return COMPILE_OK;
  search_all(c);
  plan *order[PLAN_LIMIT];
  int count = rank(c, order, !known), chosen = pick(c, order, count);
  if (c->options->explain) explain(c, kernel, order, count, chosen);
  if (c->options->ranking) hand_out(c, order, count, chosen);
  if (chosen < 0 && c->options->passes.candidate) {
    diag_error(c->options->diagnostics, DIAG_UNBOUND, kernel->loc,
               "'%s' has no plan of rank %d (see --explain-schedule)", kernel->name, c->options->passes.candidate);
    return COMPILE_INPUT;
  }
  return chosen < 0 ? COMPILE_OK : take(c, order[chosen], link);
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

compile_status choose_plans(const compile_options *options, ir_module *module) {
  const pipeline_options *p = &options->pipeline;
  double start = p->time ? now_ms() : 0;
  choice *c = calloc(1, sizeof *c);
  if (!c) BUG("out of memory");
  *c = (choice){.options = options,
                .memory = arena_create(),
                .trial = arena_create(),
                .scratch = arena_create(),
                .quiet = diag_create()};
  diag_require_like(c->quiet, options->diagnostics);
  c->tree = options->tree;
  if (!c->tree && options->language == COMPILE_TL)
    c->tree = frontend_parse(options->memory, c->quiet, options->name, options->text, options->length, options->loader);
  compile_status status = COMPILE_OK;
  for (ir_kernel **link = &module->kernels; *link && status == COMPILE_OK; link = &(*link)->next) {
    if ((*link)->form <= IR_FORM_FUSED) status = choose_kernel(c, link);
  }
  diag_destroy(c->quiet);
  arena_destroy(c->scratch);
  arena_destroy(c->trial);
  arena_destroy(c->memory);
  free(c);
  if (p->time) p->time(p->context, "choose", now_ms() - start);
  return status;
}
