/* Runs the flows of a program, each until it blocks, in turn. */
#include "passes/prove_machine.h"

#include <stdarg.h>
#include <string.h>

void prove_join(const prove_machine *m, int *into, const int *from) {
  for (int i = 0; i < m->width; i++)
    into[i] = into[i] > from[i] ? into[i] : from[i];
}

void prove_acquire(const prove_machine *m, prove_agent *a, const int *known, const int *seen) {
  prove_join(m, a->all, known);
  prove_join(m, a->first, known);
  prove_join(m, a->own, known);
  prove_join(m, a->part, known);
  prove_join(m, a->head, known);
  prove_join(m, a->seen_part, seen);
  prove_join(m, a->seen_all, seen);
  prove_join(m, a->seen_own, seen);
}

const char *prove_flow_name(const prove_agent *a) { return a && a->flow->role ? a->flow->role->name : "all"; }

static void print_sizes(const prove_machine *m, str *out) {
  const char *separator = "";
  for (int i = 0; i < m->kernel->value_count; i++) {
    const ir_value *value = m->kernel->values[i];
    if (value->space != IR_SIZE || !m->start->value[i].known) continue;
    str_printf(out, "%s%s = %lld", separator, value->name, (long long)m->start->value[i].value);
    separator = ", ";
  }
}

/* Without its place, which the diagnostic shows. */
static void print_op(const ir_op *op, str *out) {
  ir_op copy = *op;
  copy.loc = (src_loc){0};
  ir_print_op(&copy, out);
}

static src_loc place_of(const prove_machine *m, const ir_op *op) {
  return op && op->loc.line ? op->loc : m->kernel->loc;
}

bool prove_fail(prove_machine *m, const prove_agent *a, const char *culprit, const ir_op *op, const ir_op *other,
                const char *format, ...) {
  str what = STR_EMPTY, text = STR_EMPTY, sizes = STR_EMPTY;
  va_list arguments;
  va_start(arguments, format);
  char message[512];
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  if (a && a->flow->role) str_printf(&what, "role %s: ", a->flow->role->name);
  if (op) {
    print_op(op, &text);
    str_printf(&what, "'%s' ", str_text(&text));
  }
  str_printf(&what, "%s", message);
  diag_error(m->env->diagnostics, DIAG_PROOF, place_of(m, op), "%s; %s should have prevented it", str_text(&what),
             culprit);
  if (other) {
    str_clear(&text);
    print_op(other, &text);
    diag_note(m->env->diagnostics, place_of(m, other), "the other is '%s'", str_text(&text));
  }
  print_sizes(m, &sizes);
  if (sizes.length) diag_note(m->env->diagnostics, m->kernel->loc, "found with %s", str_text(&sizes));
  str_free(&what);
  str_free(&text);
  str_free(&sizes);
  return false;
}

/* -- Creation ------------------------------------------------------------------------------------------------------ */

static int *take(prove_machine *m, int **next) {
  int *vector = *next;
  *next += m->width;
  return vector;
}

static int widest_multicast(const prove_program *program) {
  int64_t widest = 1;
  for (int f = 0; f < program->flow_count; f++)
    for (int i = 0; i < program->flow[f].count; i++) {
      int64_t blocks = ir_attr_get(&program->flow[f].instruction[i].op->attrs, IR_ATTR_MULTICAST, 1);
      if (blocks > widest) widest = blocks;
    }
  return (int)widest;
}

prove_machine *prove_machine_create(const prove_program *program, pass_env *env) {
  prove_machine *m = ARENA_NEW(env->scratch, prove_machine);
  m->program = program;
  m->env = env;
  m->memory = env->scratch;
  m->kernel = program->kernel;
  m->flow_count = program->flow_count;
  int values = m->kernel->value_count;
  m->met_unknown = program->reads_elements;
  m->barrier_of = ARENA_ARRAY(m->memory, int, values);
  m->cell_of = ARENA_ARRAY(m->memory, int, values);
  for (int i = 0; i < values; i++) {
    const ir_value *value = m->kernel->values[i];
    m->barrier_of[i] = m->barrier_count;
    m->cell_of[i] = m->memory_count;
    int slots = value->slots > 1 ? value->slots : 1;
    if (value->space == IR_BARRIER) m->barrier_count += slots;
    if (value->space == IR_SHARED || value->space == IR_TILE) m->memory_count += slots;
  }
  m->cluster = widest_multicast(program);
  m->barrier_base = 4 * m->flow_count;
  m->named_base = m->barrier_base + m->barrier_count;
  m->width = m->named_base + PROVE_NAMED_BARRIERS;
  m->fills = ARENA_ARRAY(m->memory, int, values);
  m->turn = ARENA_ARRAY(m->memory, prove_turn, program->site_count);
  m->barrier = ARENA_ARRAY(m->memory, prove_barrier, m->barrier_count);
  m->cell = ARENA_ARRAY(m->memory, prove_memory, m->memory_count);
  int vectors = 9 * m->flow_count + 5 * m->barrier_count + 2 * PROVE_NAMED_BARRIERS;
  m->clock_count = (size_t)vectors * (size_t)m->width;
  m->clocks = ARENA_ARRAY(m->memory, int, m->clock_count);
  for (int f = 0; f < m->flow_count; f++)
    m->flow[f].env.value = ARENA_ARRAY(m->memory, prove_number, values);
  return m;
}

static void reset(prove_machine *m, const prove_env *start) {
  m->start = start;
  m->init_fenced = false;
  memset(m->clocks, 0, m->clock_count * sizeof *m->clocks);
  memset(m->cell, 0, (size_t)m->memory_count * sizeof *m->cell);
  memset(m->fills, 0, (size_t)m->kernel->value_count * sizeof *m->fills);
  memset(m->turn, 0, (size_t)m->program->site_count * sizeof *m->turn);
  int *next = m->clocks;
  for (int f = 0; f < m->flow_count; f++) {
    prove_agent *a = &m->flow[f];
    prove_number *value = a->env.value;
    memset(a, 0, sizeof *a);
    a->flow = &m->program->flow[f];
    a->index = f;
    a->status = f ? PROVE_BLOCKED : PROVE_READY;
    a->env = (prove_env){.value = value, .block = start->block, .blocks = start->blocks, .cta_rank = start->cta_rank};
    memcpy(value, start->value, (size_t)m->kernel->value_count * sizeof *value);
    a->all = take(m, &next);
    a->first = take(m, &next);
    a->own = take(m, &next);
    a->seen_all = take(m, &next);
    a->seen_own = take(m, &next);
    a->part = take(m, &next);
    a->head = take(m, &next);
    a->seen_part = take(m, &next);
    a->wide = take(m, &next);
  }
  int index = 0;
  for (int i = 0; i < m->kernel->value_count; i++) {
    const ir_value *value = m->kernel->values[i];
    int slots = value->slots > 1 ? value->slots : 1;
    for (int slot = 0; value->space == IR_BARRIER && slot < slots; slot++) {
      prove_barrier *b = &m->barrier[index++];
      *b = (prove_barrier){.value = value, .slot = slot};
      b->gathered = take(m, &next);
      b->gathered_seen = take(m, &next);
      b->done = take(m, &next);
      b->done_seen = take(m, &next);
      b->done_wide = take(m, &next);
      for (int f = 0; f < m->flow_count; f++)
        b->waited[f] = PROVE_NEVER;
    }
  }
  for (int id = 0; id < PROVE_NAMED_BARRIERS; id++) {
    m->named[id] = (prove_named){0};
    m->named[id].gathered = take(m, &next);
    m->named[id].gathered_seen = take(m, &next);
  }
}

/* -- Control ------------------------------------------------------------------------------------------------------- */

/* Iterations so far of the loops around: the same in all roles, so that a choice made by it is consistent. */
static int place_in_loops(const prove_agent *a, int depth) {
  int sum = 0;
  for (int d = 0; d < depth; d++)
    sum += a->loop[d].iteration;
  return sum;
}

static bool choose_condition(prove_machine *m, const prove_agent *a, int depth) {
  m->met_unknown = true;
  return m->pattern >= 2 ? place_in_loops(a, depth) & 1 : m->pattern == 1;
}

static int64_t choose_trips(prove_machine *m, const prove_agent *a, int depth, const ir_op *loop) {
  m->met_unknown = true;
  int64_t many = 2 * ir_attr_get(&loop->attrs, IR_ATTR_STAGES, 2) + 1;
  if (m->pattern == 0) return 0;
  return m->pattern == 1 ? many : place_in_loops(a, depth) & 1 ? many - 1 : 1;
}

/* An integer of a tensor: the same wherever it is read in one iteration of the outermost loop. */
static int64_t choose_element(const prove_machine *m, const prove_agent *a) {
  static const int64_t choice[PROVE_PATTERNS][3] = {{1, 1, 1}, {1 << 20, 1 << 20, 1 << 20}, {700, 0, 130}, {0, 0, 0}};
  return choice[m->pattern][a->loop[0].iteration % 3];
}

static void enter_loop(prove_machine *m, prove_agent *a, const prove_instruction *instruction) {
  const ir_op *op = instruction->op;
  prove_loop *loop = &a->loop[instruction->depth];
  prove_number trips = {false, 0}, lo = {false, 0}, step = {true, 1};
  if (op->kind == IR_OP_FOR) {
    trips = prove_trips(&a->env, op->expr[0], op->expr[1], op->expr[2]);
    lo = prove_eval(&a->env, op->expr[0]);
    step = prove_eval(&a->env, op->expr[2]);
  }
  loop->remaining = trips.known ? trips.value : choose_trips(m, a, instruction->depth, op);
  loop->iteration = 0;
  loop->serial = ++a->serial;
  loop->known = lo.known && step.known;
  loop->step = step.value;
  if (op->kind == IR_OP_FOR) a->env.value[op->write[0].value->number] = lo;
  a->counter = loop->remaining > 0 ? a->counter + 1 : instruction->target;
}

static void next_iteration(prove_agent *a, const prove_instruction *instruction) {
  prove_loop *loop = &a->loop[instruction->depth];
  loop->iteration++;
  loop->serial = ++a->serial;
  if (--loop->remaining <= 0) {
    a->counter++;
    return;
  }
  if (instruction->op->kind == IR_OP_FOR && loop->known)
    a->env.value[instruction->op->write[0].value->number].value += loop->step;
  a->counter = instruction->target;
}

static void start_roles(prove_machine *m, prove_agent *block) {
  for (int f = 1; f < m->flow_count; f++) {
    prove_agent *a = &m->flow[f];
    a->status = PROVE_READY;
    memcpy(a->env.value, block->env.value, (size_t)m->kernel->value_count * sizeof *a->env.value);
    prove_acquire(m, a, block->all, block->seen_all);
  }
}

static bool roles_done(const prove_machine *m) {
  for (int f = 1; f < m->flow_count; f++)
    if (m->flow[f].status != PROVE_DONE) return false;
  return true;
}

/* Behind the roles the block knows what each of them is about to hand on, once they meet again. */
static prove_status join_roles(prove_machine *m, prove_agent *block) {
  if (m->flow[1].status == PROVE_BLOCKED && !m->flow[1].blocked_at) start_roles(m, block);
  if (!roles_done(m)) return PROVE_BLOCKED;
  for (int f = 1; f < m->flow_count; f++) {
    prove_join(m, block->own, m->flow[f].own);
    prove_join(m, block->seen_own, m->flow[f].seen_own);
    if (block->own[f] < m->flow[f].time) block->own[f] = m->flow[f].time;
  }
  return PROVE_READY;
}

static void assign(prove_agent *a, const ir_op *op) {
  const ir_value *value = op->write[0].value;
  if (value->space != IR_SCALAR) return;
  bool known = op->kind == IR_OP_LET || op->kind == IR_OP_SET;
  a->env.value[value->number] = known ? prove_eval(&a->env, op->expr[0]) : (prove_number){false, 0};
}

enum { PROVE_RUN_STEPS = 40000 }; /* a run of more is proved this far only */

static prove_status execute(prove_machine *m, prove_agent *a) {
  const prove_instruction *instruction = &a->flow->instruction[a->counter];
  const ir_op *op = instruction->op;
  m->steps++;
  a->env.element = (prove_number){true, choose_element(m, a)};
  switch (instruction->step) {
  case PROVE_FOR:
    enter_loop(m, a, instruction);
    return PROVE_READY;
  case PROVE_NEXT:
    next_iteration(a, instruction);
    return PROVE_READY;
  case PROVE_JUMP:
    a->counter = instruction->target;
    return PROVE_READY;
  case PROVE_IF: {
    prove_number condition = prove_eval(&a->env, op->expr[0]);
    bool taken = condition.known ? condition.value != 0 : choose_condition(m, a, instruction->depth);
    a->counter = taken ? a->counter + 1 : instruction->target;
    return PROVE_READY;
  }
  case PROVE_ROLES: {
    prove_status status = join_roles(m, a);
    if (status == PROVE_READY) a->counter++;
    return status;
  }
  default:
    break;
  }
  a->time++;
  if (ir_op_info_of(op->kind)->effects == IR_EFFECT_O) {
    prove_status status = prove_synchronise(m, a, op);
    if (status == PROVE_BLOCKED) a->blocked_at = op;
    if (status == PROVE_READY || (status == PROVE_BLOCKED && op->kind == IR_OP_BAR_SYNC)) a->counter++;
    return status;
  }
  if (!prove_accesses(m, a, instruction)) return PROVE_FAILED;
  if (op->write_count) assign(a, op);
  a->counter++;
  return PROVE_READY;
}

/* Runs one flow until it blocks or ends; *progress when it did anything. */
static bool run_flow(prove_machine *m, prove_agent *a, bool *progress) {
  bool retries = a->status == PROVE_BLOCKED && a->blocked_at && a->blocked_at->kind == IR_OP_MBAR_WAIT;
  bool joins = a->index == 0 && a->status == PROVE_BLOCKED && !a->blocked_at;
  if (a->status != PROVE_READY && !retries && !joins) return true;
  while (m->steps <= m->limit) {
    if (a->counter == a->flow->count) {
      a->status = PROVE_DONE;
      *progress = true;
      return prove_flow_ends(m, a);
    }
    a->blocked_at = NULL;
    a->status = PROVE_READY;
    prove_status status = execute(m, a);
    if (status == PROVE_FAILED) return false;
    if (status == PROVE_BLOCKED) {
      a->status = PROVE_BLOCKED;
      return true;
    }
    *progress = true;
  }
  return true;
}

bool prove_run(prove_machine *m, const prove_env *start, int pattern) {
  reset(m, start);
  m->pattern = pattern;
  bool progress = true;
  m->limit = m->steps + PROVE_RUN_STEPS;
  while (progress) {
    progress = false;
    bool done = true;
    for (int f = 0; f < m->flow_count; f++) {
      if (!run_flow(m, &m->flow[f], &progress)) return false;
      if (m->steps > m->limit) return true;
      done &= m->flow[f].status == PROVE_DONE;
    }
    if (done) return prove_all_end(m);
  }
  return prove_deadlock(m);
}

bool prove_met_unknown(const prove_machine *m) { return m->met_unknown; }

int prove_steps(const prove_machine *m) { return m->steps; }
