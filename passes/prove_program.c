/* Flattens a kernel into one list of instructions a flow of control, with what each does to shared memory. */
#include "passes/prove.h"

typedef struct context {
  prove_program *program;
  arena *memory;
  bool *needed;  /* by value number: a scalar that synchronisation, slots or control depend on */
  bool *watched; /* by value number: a tile that asynchronous dots use */
  int *
      fill_depth; /* by value number: loops around the copy of a role that fills a buffer, the most of several; -1: none */
  bool changed;
  bool too_large;
  prove_flow *flow;
  int depth, turn;
  bool is_pipelined;    /* the loop at depth `turn` */
  prove_access *access; /* of the op at hand */
  int access_count, access_capacity;
} context;

static bool is_asynchronous_dot(const ir_op *op) {
  return op->kind == IR_OP_DOT && ir_attr_get(&op->attrs, IR_ATTR_ASYNC, 0);
}

static bool uses_tensor_core_memory(const ir_op *op) {
  return op->kind == IR_OP_DOT && ir_attr_get(&op->attrs, IR_ATTR_INSTRUCTION, 0) == IR_INSTRUCTION_WGMMA;
}

static bool synchronises(const ir_op *op) { return ir_op_info_of(op->kind)->effects == IR_EFFECT_O; }

static bool is_engine_copy(const ir_op *op) {
  int64_t engine = ir_attr_get(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_NONE);
  return op->kind == IR_OP_COPY && (engine == IR_ENGINE_TMA || engine == IR_ENGINE_BULK);
}

/* -- Accesses ------------------------------------------------------------------------------------------------------ */

static void add_access(context *c, prove_touch touch, ir_value *value, const ir_expr *slot) {
  if (value->space != IR_SHARED && !(value->space == IR_TILE && c->watched[value->number])) return;
  for (int i = 0; i < c->access_count; i++) {
    prove_access *a = &c->access[i];
    if (a->touch == touch && a->value == value &&
        (a->slot == slot || (a->slot && slot && ir_expr_equal(a->slot, slot))))
      return;
  }
  prove_access access = {.touch = touch, .value = value, .slot = slot};
  ARENA_PUSH(c->memory, c->access, c->access_count, c->access_capacity, access);
}

static void add_expr_accesses(context *c, const ir_expr *e) {
  if (e->kind == IR_EXPR_ELEMENT) add_access(c, PROVE_READ, e->value, e->slot);
  for (int i = 0; i < e->arg_count; i++)
    add_expr_accesses(c, e->args[i]);
}

static prove_touch touch_of_read(const ir_op *op, const ir_value *value) {
  if (value->space == IR_SHARED && uses_tensor_core_memory(op)) return PROVE_DOT_READ;
  if (value->space == IR_TILE && is_asynchronous_dot(op)) return PROVE_DOT_READ;
  if (is_engine_copy(op) && op->write[0].value->space == IR_GLOBAL) return PROVE_STORE_READ;
  return PROVE_READ;
}

static prove_touch touch_of_write(const ir_op *op) {
  if (op->kind != IR_OP_COPY || op->write[0].value->space != IR_SHARED) return PROVE_WRITE;
  if (is_engine_copy(op)) return PROVE_FILL;
  return ir_attr_get(&op->attrs, IR_ATTR_ENGINE, 0) == IR_ENGINE_CPASYNC ? PROVE_COPY_WRITE : PROVE_WRITE;
}

static void add_accesses(context *c, const ir_op *op) {
  for (int i = 0; i < op->read_count; i++) {
    const ir_ref *ref = &op->read[i];
    if (!ref->value) continue;
    add_access(c, touch_of_read(op, ref->value), ref->value, ref->slot);
    for (int d = 0; d < ref->count; d++)
      add_expr_accesses(c, ref->start[d]);
  }
  for (int i = 0; i < op->expr_count; i++)
    add_expr_accesses(c, op->expr[i]);
  for (int i = 0; i < op->write_count; i++) {
    const ir_ref *ref = &op->write[i];
    if (!ref->value) continue;
    for (int d = 0; d < ref->count; d++)
      add_expr_accesses(c, ref->start[d]);
    add_access(c, touch_of_write(op), ref->value, ref->slot);
  }
}

/* PARALLEL may hold an IF, whose ops it owns like its own. */
static void add_nested_accesses(context *c, const ir_block *block) {
  for (const ir_op *op = block->first; op; op = op->next) {
    add_accesses(c, op);
    add_nested_accesses(c, &op->body);
    add_nested_accesses(c, &op->other);
  }
}

static void collect_accesses(context *c, const ir_op *op) {
  c->access = NULL;
  c->access_count = c->access_capacity = 0;
  add_accesses(c, op);
  if (op->kind == IR_OP_PARALLEL) add_nested_accesses(c, &op->body);
}

/* -- Relevance ----------------------------------------------------------------------------------------------------- */

static void need_expr(context *c, const ir_expr *e) {
  if (!e) return;
  if (e->kind == IR_EXPR_ELEMENT) c->program->reads_elements = true;
  if (e->kind == IR_EXPR_VALUE && !c->needed[e->value->number]) c->needed[e->value->number] = c->changed = true;
  for (int i = 0; i < e->arg_count; i++)
    need_expr(c, e->args[i]);
}

static void need_slots(context *c, const ir_op *op) {
  for (int i = 0; i < op->read_count; i++)
    need_expr(c, op->read[i].slot);
  for (int i = 0; i < op->write_count; i++)
    need_expr(c, op->write[i].slot);
  for (int i = 0; i < c->access_count; i++)
    need_expr(c, c->access[i].slot);
}

static bool is_control(const ir_op *op) {
  return op->kind == IR_OP_FOR || op->kind == IR_OP_IF || op->kind == IR_OP_WHILE || op->kind == IR_OP_ROLE ||
         op->kind == IR_OP_WHERE;
}

static bool block_is_relevant(context *c, const ir_block *block);

/* Whether the op takes part; marks the scalars that it then needs. */
static bool is_relevant(context *c, const ir_op *op) {
  bool relevant;
  if (is_control(op)) {
    bool body = block_is_relevant(c, &op->body), other = block_is_relevant(c, &op->other);
    relevant = body || other || op->kind == IR_OP_ROLE;
    if (relevant)
      for (int i = 0; i < op->expr_count; i++)
        need_expr(c, op->expr[i]);
    return relevant;
  }
  collect_accesses(c, op);
  relevant = synchronises(op) || c->access_count > 0;
  bool assigns =
      op->write_count &&
      (op->kind == IR_OP_LET || op->kind == IR_OP_SET || op->kind == IR_OP_DECLARE || op->kind == IR_OP_VOTE) &&
      op->write[0].value->space == IR_SCALAR && c->needed[op->write[0].value->number];
  if (relevant) need_slots(c, op);
  if (synchronises(op) || assigns)
    for (int i = 0; i < op->expr_count; i++)
      need_expr(c, op->expr[i]);
  return relevant || assigns;
}

static bool block_is_relevant(context *c, const ir_block *block) {
  bool any = false;
  for (const ir_op *op = block->first; op; op = op->next)
    any |= is_relevant(c, op);
  return any;
}

static bool watch_tiles(void *data, ir_block *block, ir_op *op) {
  context *c = data;
  (void)block;
  if (!is_asynchronous_dot(op)) return true;
  c->watched[op->write[0].value->number] = true;
  for (int i = 0; i < op->read_count; i++)
    if (op->read[i].value) c->watched[op->read[i].value->number] = true;
  return true;
}

/* A role that fills has the loops of the role that reads; a flow that fills for itself may do so in front of a loop. */
static void find_fills(context *c, const ir_block *block, int depth, bool in_role) {
  for (const ir_op *op = block->first; op; op = op->next) {
    int within = depth + (op->kind == IR_OP_FOR || op->kind == IR_OP_WHILE);
    if (in_role && op->kind == IR_OP_COPY && op->write[0].value->space == IR_SHARED) {
      int *most = &c->fill_depth[op->write[0].value->number];
      *most = depth > *most ? depth : *most;
    }
    find_fills(c, &op->body, within, in_role || op->kind == IR_OP_ROLE);
    find_fills(c, &op->other, within, in_role);
  }
}

/* -- Instructions -------------------------------------------------------------------------------------------------- */

static int append(context *c, prove_step step, const ir_op *op) {
  prove_flow *f = c->flow;
  prove_instruction instruction = {.step = step, .op = op, .depth = c->depth};
  if (step == PROVE_OP) {
    collect_accesses(c, op);
    instruction.access = c->access;
    instruction.access_count = c->access_count;
    for (int i = 0; i < c->access_count; i++) {
      int fills = c->fill_depth[c->access[i].value->number];
      c->access[i].site = c->program->site_count++;
      c->access[i].turn = fills >= 0 && fills <= c->turn ? fills - 1 : c->turn;
    }
  }
  ARENA_PUSH(c->memory, f->instruction, f->count, f->capacity, instruction);
  return f->count - 1;
}

static void note_loop(context *c, const ir_op *loop) {
  prove_program *p = c->program;
  for (int i = 0; i < p->loop_count; i++) {
    bool same = p->loop[i]->write[0].value == loop->write[0].value;
    for (int e = 0; e < 3 && same; e++)
      same = ir_expr_equal(p->loop[i]->expr[e], loop->expr[e]);
    if (same) return;
  }
  if (p->loop_count < PROVE_MAX_LOOPS) p->loop[p->loop_count++] = loop;
}

static void flatten_block(context *c, const ir_block *block);

static void flatten_loop(context *c, const ir_op *op) {
  if (op->kind == IR_OP_FOR) note_loop(c, op);
  int head = append(c, PROVE_FOR, op), turn = c->turn;
  bool outer_is_pipelined = c->is_pipelined, is_pipelined = ir_attr_get(&op->attrs, IR_ATTR_STAGES, 1) > 1;
  if (is_pipelined || !c->is_pipelined) c->turn = c->depth;
  c->is_pipelined |= is_pipelined;
  if (++c->depth >= PROVE_MAX_DEPTH) c->too_large = true;
  flatten_block(c, &op->body);
  c->depth--;
  c->turn = turn;
  c->is_pipelined = outer_is_pipelined;
  int next = append(c, PROVE_NEXT, op);
  c->flow->instruction[next].target = head + 1;
  c->flow->instruction[head].target = next + 1;
}

static void flatten_if(context *c, const ir_op *op) {
  int head = append(c, PROVE_IF, op);
  flatten_block(c, &op->body);
  if (op->other.first) {
    int jump = append(c, PROVE_JUMP, op);
    c->flow->instruction[head].target = c->flow->count;
    flatten_block(c, &op->other);
    c->flow->instruction[jump].target = c->flow->count;
  } else {
    c->flow->instruction[head].target = c->flow->count;
  }
}

/* Mirrors what lowering does: a role that only drives engines runs in its first thread. */
static bool drives_engines_only(const ir_block *block) {
  for (const ir_op *op = block->first; op; op = op->next) {
    if (op->kind == IR_OP_FOR || op->kind == IR_OP_IF) {
      if (!drives_engines_only(&op->body) || !drives_engines_only(&op->other)) return false;
    } else if (op->kind == IR_OP_COPY) {
      if (!is_engine_copy(op)) return false;
    } else if (op->kind != IR_OP_LET && op->kind != IR_OP_SET && op->kind != IR_OP_DECLARE &&
               op->kind != IR_OP_MBAR_WAIT && op->kind != IR_OP_MBAR_EXPECT && op->kind != IR_OP_MBAR_ARRIVE &&
               op->kind != IR_OP_BULK_COMMIT && op->kind != IR_OP_BULK_WAIT && op->kind != IR_OP_GRID_WAIT &&
               op->kind != IR_OP_GRID_LAUNCH) {
      return false;
    }
  }
  return true;
}

static void flatten_role(context *c, const ir_op *op) {
  prove_program *p = c->program;
  if (p->flow_count == PROVE_MAX_FLOWS || c->flow != &p->flow[0]) {
    c->too_large = true;
    return;
  }
  prove_flow *outer = c->flow;
  if (p->flow_count == 1) append(c, PROVE_ROLES, op);
  c->flow = &p->flow[p->flow_count++];
  c->flow->role = op;
  c->flow->threads = 32 * (int)ir_attr_get(&op->attrs, IR_ATTR_WARP_COUNT, 1);
  c->flow->is_single = drives_engines_only(&op->body);
  flatten_block(c, &op->body);
  c->flow = outer;
}

static void flatten_block(context *c, const ir_block *block) {
  for (const ir_op *op = block->first; op && !c->too_large; op = op->next) {
    if (!is_relevant(c, op)) continue;
    if (op->kind == IR_OP_FOR || op->kind == IR_OP_WHILE)
      flatten_loop(c, op);
    else if (op->kind == IR_OP_IF)
      flatten_if(c, op);
    else if (op->kind == IR_OP_ROLE)
      flatten_role(c, op);
    else if (op->kind == IR_OP_WHERE) /* synchronises nothing: what holds when its body runs also holds when not */
      flatten_block(c, &op->body);
    else
      append(c, PROVE_OP, op);
  }
}

bool prove_flatten(ir_kernel *kernel, arena *memory, prove_program *program) {
  *program = (prove_program){.kernel = kernel, .flow_count = 1};
  program->flow[0].threads = (int)ir_attr_get(&kernel->attrs, IR_ATTR_THREADS, 128);
  context c = {.program = program, .memory = memory, .flow = &program->flow[0], .turn = -1};
  c.needed = ARENA_ARRAY(memory, bool, kernel->value_count);
  c.watched = ARENA_ARRAY(memory, bool, kernel->value_count);
  c.fill_depth = ARENA_ARRAY(memory, int, kernel->value_count);
  for (int i = 0; i < kernel->value_count; i++)
    c.fill_depth[i] = -1;
  ir_walk(&kernel->body, watch_tiles, &c);
  find_fills(&c, &kernel->body, 0, false);
  do {
    c.changed = false;
    block_is_relevant(&c, &kernel->body);
  } while (c.changed);
  flatten_block(&c, &kernel->body);
  return !c.too_large;
}
