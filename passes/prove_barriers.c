/* prove-barriers: every wait passes, every access is ordered, for every timing.
 *
 * Executes the roles' control flow and synchronisation for small sizes, chosen such that every loop that holds
 * synchronisation has 0, 1, s - 1, s, s + 1 and 2s + 1 iterations (s its stages; 0 to 3 when it has none), in every
 * combination with the loops around it. prove_machine.h says how one execution speaks for all timings. Proved:
 *
 *   - no wait is for ever, no barrier gets an arrival too many, every phase's bytes are those that its copies bring,
 *     every phase that brings data is waited for, nothing is half done at the end
 *   - no access to a slot of a shared buffer is unordered with one it conflicts with, whoever makes it: threads, copy
 *     engines, the tensor core; ordinary stores are fenced before an engine reads them
 *   - the registers of asynchronous dots are left alone until their group was waited for
 *   - hardware barriers are 0 .. 15 and meet exactly the threads of the roles that use them
 *   - where launches overlap (attribute pdl), a grid.wait is on every way to an access that needs one, in the same flow of
 *     control, and one is on every way to the end
 *
 * Nothing is changed. A failure is the compiler's own mistake and is reported as such. */
#include "passes/prove.h"

enum { MAX_TARGETS = 6, MAX_RUNS = 256, MAX_STEPS = 24000, MAX_CHOSEN = 4 };

/* -- Hardware barriers --------------------------------------------------------------------------------------------- */

typedef struct barrier_use {
  const ir_op *op;
  int threads; /* that meet */
  int parts;   /* of a flow, that each have a barrier; this is one's */
  int coming;  /* of the flows that use it */
  unsigned flows;
} barrier_use;

/* Barrier `id` of the op, of all its parts or, the others being like it, one. */
static bool check_use(pass_env *env, barrier_use *uses, const prove_flow *flow, int index, const ir_op *op,
                      int64_t id) {
  int threads = (int)ir_attr_get(&op->attrs, IR_ATTR_THREADS, 0);
  int parts = (int)ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1);
  if (id < 0 || id > 15)
    return diag_error(env->diagnostics, DIAG_PROOF, op->loc, "hardware barrier %lld: there are 0 to 15", (long long)id);
  barrier_use *use = &uses[id];
  if (use->op && use->threads != threads)
    return diag_error(env->diagnostics, DIAG_PROOF, op->loc,
                      "barrier %lld meets %d threads here and %d elsewhere; place-barriers should have prevented it",
                      (long long)id, threads, use->threads);
  if (use->op && use->parts != parts)
    return diag_error(
        env->diagnostics, DIAG_PROOF, op->loc,
        "barrier %lld is one of %d parts here and of %d elsewhere; place-barriers should have prevented it",
        (long long)id, parts, use->parts);
  use->op = op;
  use->threads = threads;
  use->parts = parts;
  if (!(use->flows >> index & 1)) use->coming += flow->threads / parts;
  use->flows |= 1u << index;
  return true;
}

static bool check_hardware_barriers(pass_env *env, const prove_program *program) {
  barrier_use uses[16] = {{0}};
  for (int f = 0; f < program->flow_count; f++) {
    const prove_flow *flow = &program->flow[f];
    for (int i = 0; i < flow->count; i++) {
      const prove_instruction *instruction = &flow->instruction[i];
      if (instruction->step != PROVE_OP) continue;
      if (instruction->op->kind != IR_OP_BAR_SYNC && instruction->op->kind != IR_OP_BAR_ARRIVE) continue;
      int64_t parts = ir_attr_get(&instruction->op->attrs, IR_ATTR_PARTS, 1);
      for (int64_t part = 0, id = ir_attr_get(&instruction->op->attrs, IR_ATTR_ID, 0); part < parts; part++)
        if (!check_use(env, uses, flow, f, instruction->op, id + part)) return false;
    }
  }
  for (int id = 0; id < 16; id++)
    if (uses[id].op && uses[id].coming != uses[id].threads)
      return diag_error(env->diagnostics, DIAG_PROOF, uses[id].op->loc,
                        "barrier %d is for %d threads, the roles that use it have %d; place-barriers should have "
                        "prevented it",
                        id, uses[id].threads, uses[id].coming);
  return true;
}

/* -- The kernel ahead in the stream -------------------------------------------------------------------------------- */

/* *waited: whether a grid.wait is on every way to the block, and then to what is behind it. */
static bool check_waits(pass_env *env, ir_block *block, bool *waited) {
  for (ir_op *op = block->first; op; op = op->next) {
    const ir_value *tensor = *waited ? NULL : ir_awaited_tensor(op, false);
    if (tensor)
      return diag_error(env->diagnostics, DIAG_PROOF, op->loc,
                        "%s is accessed without a grid.wait before it; overlap-launches should have prevented it",
                        tensor->name);
    bool body = *waited, other = *waited;
    if (!check_waits(env, &op->body, &body) || !check_waits(env, &op->other, &other)) return false;
    bool passes = op->kind == IR_OP_GRID_WAIT || (op->kind == IR_OP_IF && body && other);
    *waited |= passes;
  }
  return true;
}

/* One role's wait holds up the block's end; it orders nothing of another's. */
static bool check_launches(pass_env *env, ir_kernel *kernel) {
  if (!ir_attr_get(&kernel->attrs, IR_ATTR_PDL, 0)) return true;
  bool waited = false, ends_late = false;
  if (!check_waits(env, &kernel->body, &waited)) return false;
  for (ir_op *op = kernel->body.first; op; op = op->next) {
    bool of_role = false;
    if (op->kind == IR_OP_ROLE && check_waits(env, &op->body, &of_role)) ends_late |= of_role;
  }
  if (waited || ends_late) return true;
  return diag_error(env->diagnostics, DIAG_PROOF, kernel->loc,
                    "%s may end without a grid.wait; overlap-launches should have prevented it", kernel->name);
}

/* -- Sizes --------------------------------------------------------------------------------------------------------- */

typedef struct plan {
  int count; /* loops chosen */
  int targets[MAX_CHOSEN], target[MAX_CHOSEN][MAX_TARGETS];
} plan;

static void add_target(plan *p, int loop, int target) {
  for (int i = 0; i < p->targets[loop]; i++)
    if (p->target[loop][i] == target) return;
  p->target[loop][p->targets[loop]++] = target;
}

static plan plan_targets(const prove_program *program) {
  plan p = {.count = program->loop_count < MAX_CHOSEN ? program->loop_count : MAX_CHOSEN};
  int runs = 1;
  for (int l = 0; l < p.count; l++) {
    int stages = (int)ir_attr_get(&program->loop[l]->attrs, IR_ATTR_STAGES, 0);
    if (stages > 1) {
      int wanted[] = {1, stages + 1, 2 * stages + 1, 0, stages - 1, stages};
      for (int i = 0; i < MAX_TARGETS; i++)
        if (i < 3 || runs < MAX_RUNS / 8) add_target(&p, l, wanted[i]);
    } else {
      for (int i = 0; i < 4; i++)
        if (i < 2 || runs < MAX_RUNS / 8) add_target(&p, l, (i + 2) % 4);
    }
    runs *= p.targets[l];
  }
  return p;
}

/* With many tiles, so many blocks that this one has two or three of them. */
static void choose_blocks(const prove_program *program, prove_env *env) {
  int64_t cluster = ir_attr_get(&program->kernel->attrs, IR_ATTR_CLUSTER, 1);
  env->blocks = cluster;
  for (int l = 0; l < program->loop_count; l++) {
    const ir_op *loop = program->loop[l];
    if (!ir_attr_get(&loop->attrs, IR_ATTR_PERSISTENT, 0)) continue;
    prove_number trips = prove_trips(env, loop->expr[0], loop->expr[1], loop->expr[2]);
    if (trips.known && trips.value > 3) env->blocks = cluster * ((trips.value + 1) / 2);
  }
}

/* Whether the launch has a block at all: without tiles nothing runs, and what divides by their number means nothing. */
static bool has_blocks(const ir_kernel *kernel, const prove_env *env) {
  if (!kernel->block_count) return true;
  prove_number blocks = prove_eval(env, kernel->block_count);
  return !blocks.known || blocks.value > 0;
}

/* The sizes of combination `number`; false when there are none. */
static bool choose_sizes(const prove_program *program, const plan *p, int number, prove_env *env, bool *fixed) {
  const ir_kernel *kernel = program->kernel;
  env->blocks = ir_attr_get(&kernel->attrs, IR_ATTR_CLUSTER, 1);
  for (int i = 0; i < kernel->value_count; i++) {
    env->value[i].known = false;
    fixed[i] = false;
  }
  prove_least_sizes(kernel, env);
  for (int l = 0; l < p->count; l++) {
    const ir_op *loop = program->loop[l];
    int index = number % p->targets[l], target = p->target[l][index];
    number /= p->targets[l];
    if (!prove_reach(kernel, env, fixed, loop->expr[0], loop->expr[1], loop->expr[2], target) && index > 0)
      return false;
    env->value[loop->write[0].value->number] = prove_eval(env, loop->expr[0]);
  }
  choose_blocks(program, env);
  for (int l = 0; l < program->loop_count; l++)
    env->value[program->loop[l]->write[0].value->number].known = false;
  return prove_facts_hold(kernel, env) && has_blocks(kernel, env);
}

static bool is_new(const ir_kernel *kernel, const prove_number *value, prove_number *const *runs, int count) {
  for (int r = 0; r < count; r++) {
    bool same = true;
    for (int i = 0; i < kernel->value_count && same; i++)
      same = kernel->values[i]->space != IR_SIZE || runs[r][i].value == value[i].value;
    if (same) return false;
  }
  return true;
}

static bool run_all(prove_machine *machine, const prove_env *start) {
  if (!prove_run(machine, start, 0)) return false;
  for (int pattern = 1; pattern < PROVE_PATTERNS && prove_met_unknown(machine); pattern++)
    if (!prove_run(machine, start, pattern)) return false;
  return true;
}

bool prove_barriers(ir_kernel *kernel, pass_env *env) {
  prove_program program;
  if (!prove_flatten(kernel, env->scratch, &program))
    return diag_error(env->diagnostics, DIAG_PROOF, kernel->loc, "%s has more roles or deeper loops than can be proved",
                      kernel->name);
  if (!check_hardware_barriers(env, &program) || !check_launches(env, kernel)) return false;
  prove_machine *machine = prove_machine_create(&program, env);
  plan p = plan_targets(&program);
  int combinations = 1, count = 0;
  for (int l = 0; l < p.count; l++)
    combinations *= p.targets[l];
  prove_env chosen = {.definition = prove_definitions(env->scratch, kernel), .block = 0};
  bool *fixed = ARENA_ARRAY(env->scratch, bool, kernel->value_count);
  prove_number **runs = ARENA_ARRAY(env->scratch, prove_number *, combinations);
  for (int c = 0; c < combinations && prove_steps(machine) < MAX_STEPS; c++) {
    chosen.value = ARENA_ARRAY(env->scratch, prove_number, kernel->value_count);
    if (!choose_sizes(&program, &p, c, &chosen, fixed) || !is_new(kernel, chosen.value, runs, count)) continue;
    prove_env start = chosen;
    start.definition = NULL;
    if (!run_all(machine, &start)) return false;
    runs[count++] = chosen.value;
  }
  if (count) return true;
  chosen.value = ARENA_ARRAY(env->scratch, prove_number, kernel->value_count);
  return run_all(machine,
                 &(prove_env){.value = chosen.value, .blocks = 1}); /* no sizes suit the facts: none are known */
}
