/* prove-shared: what the block takes of the SM fits, and threads that must meet do.
 *
 *   - no two buffers or barriers overlap, each is aligned as its layout asks, all lie inside what the launch asks for,
 *     and that inside what the target has
 *   - roles are apart, and where they change their registers the sum is no more than the launch was given
 *   - no barrier, and no instruction of a whole warp, stands where the threads that it takes may have parted
 *
 * Thread form. Nothing is changed. */
#include "passes/pass.h"

typedef enum variance { UNIFORM, BY_WARP, BY_THREAD } variance; /* how a value differs inside the block */

typedef struct context {
  ir_kernel *kernel;
  pass_env *env;
  variance *of;   /* by value number */
  variance *home; /* how the threads differ that come to its declaration */
  bool changed;
} context;

/* -- Places -------------------------------------------------------------------------------------------------------- */

static int64_t bytes_of(const ir_value *value) {
  int64_t slots = value->slots > 1 ? value->slots : 1;
  if (value->space == IR_BARRIER) return 8 * slots;
  int64_t alignment = value->shared->alignment;
  return (value->shared->byte_size + alignment - 1) / alignment * alignment * slots;
}

static bool check_places(context *c) {
  const ir_kernel *kernel = c->kernel;
  diag *d = c->env->diagnostics;
  int64_t size = ir_attr_get(&kernel->attrs, IR_ATTR_SHARED_BYTES, 0);
  if (size > ir_target_of(kernel->target)->shared_bytes)
    return diag_error(d, DIAG_PROOF, kernel->loc,
                      "%s asks for %lld bytes of shared memory, %s has %d; place-shared should "
                      "have prevented it",
                      kernel->name, (long long)size, ir_target_of(kernel->target)->name,
                      ir_target_of(kernel->target)->shared_bytes);
  for (int i = 0; i < kernel->value_count; i++) {
    const ir_value *value = kernel->values[i];
    if (value->space != IR_SHARED && value->space != IR_BARRIER) continue;
    if (value->space == IR_SHARED && !value->shared)
      return diag_error(d, DIAG_PROOF, value->loc, "%s has no layout; lower-threads should have prevented it",
                        value->name);
    int alignment = value->space == IR_BARRIER ? 8 : value->shared->alignment;
    if (value->offset < 0 || value->offset % alignment || value->offset + bytes_of(value) > size)
      return diag_error(
          d, DIAG_PROOF, value->loc,
          "%s lies at byte %d, which is not a multiple of %d inside the %lld bytes of the block; place-shared "
          "should have prevented it",
          value->name, value->offset, alignment, (long long)size);
    for (int j = 0; j < i; j++) {
      const ir_value *other = kernel->values[j];
      if (other->space != IR_SHARED && other->space != IR_BARRIER) continue;
      if (value->offset >= other->offset + bytes_of(other) || other->offset >= value->offset + bytes_of(value))
        continue;
      diag_error(d, DIAG_PROOF, value->loc,
                 "%s, %lld bytes from %d, overlaps %s, %lld bytes from %d; place-shared should "
                 "have prevented it",
                 value->name, (long long)bytes_of(value), value->offset, other->name, (long long)bytes_of(other),
                 other->offset);
      return diag_note(d, other->loc, "%s is declared here", other->name);
    }
  }
  return true;
}

/* -- Registers ----------------------------------------------------------------------------------------------------- */

static bool check_role(context *c, const ir_op *role, int warps, int64_t *asked) {
  int first = (int)ir_attr_get(&role->attrs, IR_ATTR_WARP_FIRST, 0),
      count = (int)ir_attr_get(&role->attrs, IR_ATTR_WARP_COUNT, 1);
  int64_t registers = ir_attr_get(&role->attrs, IR_ATTR_REGISTERS, 0);
  if (first < 0 || count < 1 || first + count > warps)
    return diag_error(c->env->diagnostics, DIAG_PROOF, role->loc,
                      "role %s takes warps %d to %d of %d; specialise-warps "
                      "should have prevented it",
                      role->name, first, first + count - 1, warps);
  for (const ir_op *other = role->next; other; other = other->next) {
    int from = (int)ir_attr_get(&other->attrs, IR_ATTR_WARP_FIRST, 0);
    if (other->kind == IR_OP_ROLE && from < first + count &&
        first < from + (int)ir_attr_get(&other->attrs, IR_ATTR_WARP_COUNT, 1))
      return diag_error(c->env->diagnostics, DIAG_PROOF, role->loc,
                        "roles %s and %s share warps; specialise-warps should "
                        "have prevented it",
                        role->name, other->name);
  }
  for (const ir_op *op = role->body.first; op; op = op->next) {
    if (op->kind != IR_OP_SETMAXNREG) continue;
    int64_t set = ir_attr_get(&op->attrs, IR_ATTR_REGISTERS, 0);
    if (first % 4 || count % 4 || set % 8 || set < 24 || set > 256 || (registers && set != registers))
      return diag_error(c->env->diagnostics, DIAG_PROOF, op->loc,
                        "setmaxnreg of %lld for %d warps from warp %d: whole "
                        "warpgroups take a multiple of 8 from 24 to 256; specialise-warps should have prevented it",
                        (long long)set, count, first);
    *asked += set * 32 * count;
  }
  return true;
}

static bool sets_registers(const ir_op *role) {
  for (const ir_op *op = role->body.first; op; op = op->next)
    if (op->kind == IR_OP_SETMAXNREG) return true;
  return false;
}

static bool check_registers(context *c) {
  int threads = (int)ir_attr_get(&c->kernel->attrs, IR_ATTR_THREADS, 128),
      blocks = (int)ir_attr_get(&c->kernel->attrs, IR_ATTR_MIN_BLOCKS, 1);
  int64_t file = ir_target_of(c->kernel->target)->registers, a_thread = file / ((int64_t)threads * blocks) / 8 * 8;
  a_thread = a_thread > 255 ? 255 : a_thread;
  int64_t asked = 0, given = a_thread * threads;
  int setting = 0, keeping = threads / 32;
  for (const ir_op *op = c->kernel->body.first; op; op = op->next) {
    if (op->kind != IR_OP_ROLE) continue;
    if (!check_role(c, op, threads / 32, &asked)) return false;
    if (!sets_registers(op)) continue;
    setting++;
    keeping -= (int)ir_attr_get(&op->attrs, IR_ATTR_WARP_COUNT, 1);
  }
  if (!setting) return true;
  asked += a_thread * 32 * keeping;
  if (asked <= given && asked <= file) return true;
  return diag_error(c->env->diagnostics, DIAG_PROOF, c->kernel->loc,
                    "the roles of %s take %lld registers, the launch is "
                    "given %lld: setmaxnreg would wait for ever; specialise-warps should have prevented it",
                    c->kernel->name, (long long)asked, (long long)given);
}

/* -- Threads that part --------------------------------------------------------------------------------------------- */

static variance wider(variance a, variance b) { return a > b ? a : b; }

static variance vary_expr(const context *c, const ir_expr *e) {
  switch (e->kind) {
  case IR_EXPR_TID:
  case IR_EXPR_LANE:
    return BY_THREAD;
  case IR_EXPR_WARP:
    return BY_WARP;
  default:
    break;
  }
  variance v = e->value ? c->of[e->value->number] : UNIFORM;
  for (int i = 0; i < e->arg_count; i++)
    v = wider(v, vary_expr(c, e->args[i]));
  if ((e->kind == IR_EXPR_VOTE_ANY || e->kind == IR_EXPR_VOTE_ALL || e->kind == IR_EXPR_SHUFFLE) && v > BY_WARP &&
      (e->kind != IR_EXPR_SHUFFLE || vary_expr(c, e->args[1]) <= BY_WARP))
    v = BY_WARP;
  bool one_warp = ir_attr_get(&c->kernel->attrs, IR_ATTR_THREADS, 128) == 32;
  return v == BY_WARP && one_warp ? UNIFORM : v;
}

static void widen(context *c, const ir_value *value, variance v) {
  if (v <= c->of[value->number]) return;
  c->of[value->number] = v;
  c->changed = true;
}

/* What the op writes differs as its operands do, and, where it lives on behind, as the threads that come here: fewer
 * than came to its declaration. */
static void vary_op(context *c, const ir_op *op, variance here) {
  variance v = UNIFORM;
  if (op->kind == IR_OP_DECLARE) c->home[op->write[0].value->number] = here;
  bool lives_on = op->kind != IR_OP_LET && op->kind != IR_OP_FOR && op->kind != IR_OP_DECLARE;
  for (int i = 0; i < op->write_count && lives_on; i++)
    if (op->write[i].value && here > c->home[op->write[i].value->number]) v = here;
  for (int i = 0; i < op->expr_count; i++)
    v = wider(v, vary_expr(c, op->expr[i]));
  for (int i = 0; i < op->read_count; i++) {
    if (op->read[i].value && op->read[i].value->space == IR_REGISTERS) v = wider(v, c->of[op->read[i].value->number]);
    if (op->read[i].count) v = wider(v, vary_expr(c, op->read[i].start[0]));
  }
  if (op->kind == IR_OP_LDMATRIX || op->kind == IR_OP_MMA || op->kind == IR_OP_WGMMA || op->kind == IR_OP_ATOMIC_GLOBAL)
    v = BY_THREAD;
  for (int i = 0; i < op->write_count; i++)
    if (op->write[i].value && (op->write[i].value->space == IR_REGISTERS || op->write[i].value->space == IR_SCALAR ||
                               op->write[i].value->space == IR_INDEX))
      widen(c, op->write[i].value, v);
}

static void vary_block(context *c, const ir_block *block, variance here) {
  for (const ir_op *op = block->first; op; op = op->next) {
    vary_op(c, op, here);
    variance inside = here;
    if (op->kind == IR_OP_FOR || op->kind == IR_OP_IF || op->kind == IR_OP_WHILE)
      for (int i = 0; i < op->expr_count; i++)
        inside = wider(inside, vary_expr(c, op->expr[i]));
    vary_block(c, &op->body, inside);
    vary_block(c, &op->other, inside);
  }
}

/* What the op allows its threads to differ by. */
static variance allowed(const ir_op *op) {
  switch (op->kind) {
  case IR_OP_BAR_SYNC:
  case IR_OP_BAR_ARRIVE:
    return ir_attr_get(&op->attrs, IR_ATTR_THREADS, 0) <= 32 ? BY_WARP : UNIFORM; /* a warp alone */
  case IR_OP_CLUSTER_SYNC:
  case IR_OP_SETMAXNREG:
    return UNIFORM;
  case IR_OP_WGMMA:
  case IR_OP_WGMMA_FENCE:
  case IR_OP_WGMMA_COMMIT:
  case IR_OP_WGMMA_WAIT:
  case IR_OP_MMA:
  case IR_OP_LDMATRIX:
  case IR_OP_STMATRIX:
  case IR_OP_WARP_SYNC:
    return BY_WARP;
  default:
    return BY_THREAD;
  }
}

static bool check_block(context *c, const ir_block *block, variance here, const ir_op *parted) {
  for (const ir_op *op = block->first; op; op = op->next) {
    if (here > allowed(op)) {
      diag_error(c->env->diagnostics, DIAG_PROOF, op->loc.line ? op->loc : c->kernel->loc,
                 "%s stands where the threads of a %s may have parted; lower-threads should have prevented it",
                 ir_op_info_of(op->kind)->mnemonic, allowed(op) == UNIFORM ? "block" : "warp");
      return diag_note(c->env->diagnostics, parted->loc.line ? parted->loc : c->kernel->loc, "they part at this %s",
                       ir_op_info_of(parted->kind)->mnemonic);
    }
    variance inside = here;
    if (op->kind == IR_OP_FOR || op->kind == IR_OP_IF || op->kind == IR_OP_WHILE)
      for (int i = 0; i < op->expr_count; i++)
        inside = wider(inside, vary_expr(c, op->expr[i]));
    const ir_op *by = inside > here ? op : parted;
    if (!check_block(c, &op->body, inside, by) || !check_block(c, &op->other, inside, by)) return false;
  }
  return true;
}

bool prove_shared(ir_kernel *kernel, pass_env *env) {
  context c = {.kernel = kernel, .env = env, .of = ARENA_ARRAY(env->scratch, variance, kernel->value_count)};
  c.home = ARENA_ARRAY(env->scratch, variance, kernel->value_count);
  if (!check_places(&c) || !check_registers(&c)) return false;
  do {
    c.changed = false;
    vary_block(&c, &kernel->body, UNIFORM);
  } while (c.changed);
  return check_block(&c, &kernel->body, UNIFORM, NULL);
}
