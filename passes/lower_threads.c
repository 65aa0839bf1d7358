/* lower-threads: from what a block does to what one of its threads does.
 *
 *   before  %acc <- dot %As, %Bs {instruction = wgmma, ...}     after  wgmma.fence
 *           dot.commit                                                %acc[0] <- wgmma none, %As, %Bs, ...   (each 16 of k)
 *           dot.wait {pending = 0}                                    wgmma.commit
 *           %stage <- copy %acc {engine = matrix}                     wgmma.wait {pending = 0}
 *           fence.async                                               for %r in 0 .. 4 step 1 {unroll = 1} do
 *           bar.sync {...}                                              %stage_1[0] <- pack.f16(%acc[%r * 8], ...)
 *           %C <- copy %stage {engine = tma}                            %stage <- stmatrix %stage_1[0], ...
 *                                                                     end
 *                                                                     fence.async
 *                                                                     bar.sync {...}
 *                                                                     if %thread == 0 do %C_map <- tma.store %stage,
 *                                                                     ... end
 *
 * Every tile becomes a register array of its layout; every coordinate becomes a part that the thread decides (computed
 * once a role) plus a part that the register number decides. One file for each kind of op: lower_parallel.c,
 * lower_copy.c, lower_convert.c, lower_tensor_copy.c, lower_matrix.c, lower_dot.c, lower_reduce.c, lower_decode.c; what
 * they share is in lower.h.
 *
 * A role that only moves data runs in its first thread. Arrivals, which counted roles, now count warps, by one lane of
 * each, where the tensor cores read the slot, and lanes where these read it each for itself. Nothing here decides:
 * layouts, engines, barriers and slots are obeyed. */
#include "passes/lower.h"

/* -- Synchronisation ----------------------------------------------------------------------------------------------- */

static void copy_op(lower *l, const ir_op *op) {
  ir_op *copy = ir_op_clone(l->memory, op, NULL);
  ir_block_append(l->out, copy);
}

/* One lane tells for its warp where the tensor cores read the slot; lanes that read it themselves tell each for itself.
 * (By the memory model a meeting of the warp and one arrival would do; compute-sanitizer's racecheck credits only the
 * lane that arrives, and a kernel that no tool complains of is worth more: docs/performance.md has what it costs.) */
static bool every_lane_arrives(const lower *l, const ir_value *barrier) {
  return l->rings.read_by_lanes[barrier->number];
}

static void thread_arrive(lower *l, const ir_op *op) {
  if (l->one_thread || every_lane_arrives(l, op->read[0].value)) {
    copy_op(l, op);
    return;
  }
  int64_t rank = 0; /* arrivals on the barriers of several blocks come from as many lanes */
  if (op->expr_count) ir_is_constant(op->expr[0], &rank);
  ir_block *saved = thread_guard(l, ir_binary(l->memory, IR_EXPR_EQ, l->lane, thread_int(l, rank)));
  copy_op(l, op);
  thread_leave(l, saved);
}

/* Ops that one thread of the block or role, or of each part of it, runs. */
static void thread_by_first(lower *l, const ir_op *op) {
  ir_block *saved = thread_guard(l, thread_first_of_part(l, op));
  copy_op(l, op);
  ir_attr_clear(&l->out->last->attrs, IR_ATTR_PARTS);
  thread_leave(l, saved);
}

/* The parts of a role have barriers of their own, one behind the other. */
static void thread_sync(lower *l, const ir_op *op) {
  const ir_expr *part = thread_part_number(l, op);
  copy_op(l, op);
  if (!part) return;
  ir_op_add_expr(l->memory, l->out->last, part);
  ir_attr_clear(&l->out->last->attrs, IR_ATTR_PARTS);
}

/* -- Roles --------------------------------------------------------------------------------------------------------- */

/* Whether the block only moves data by engines that one thread drives: it then runs in one thread. */
static bool drives_engines_only(const ir_block *block) {
  for (const ir_op *op = block->first; op; op = op->next) {
    int64_t engine = ir_attr_get(&op->attrs, IR_ATTR_ENGINE, 0);
    switch (op->kind) {
    case IR_OP_COPY:
      if (engine != IR_ENGINE_TMA && engine != IR_ENGINE_BULK) return false;
      break;
    case IR_OP_FOR:
    case IR_OP_IF:
      if (!drives_engines_only(&op->body) || !drives_engines_only(&op->other)) return false;
      break;
    case IR_OP_LET:
    case IR_OP_SET:
    case IR_OP_DECLARE:
    case IR_OP_MBAR_WAIT:
    case IR_OP_MBAR_EXPECT:
    case IR_OP_MBAR_ARRIVE:
    case IR_OP_BULK_COMMIT:
    case IR_OP_BULK_WAIT:
    case IR_OP_GRID_WAIT:
    case IR_OP_GRID_LAUNCH:
      break;
    default:
      return false;
    }
  }
  return true;
}

typedef struct usage {
  bool *used;
} usage;

static void usage_visit(void *data, ir_op *op, ir_value *value, bool written) {
  (void)op;
  (void)written;
  ((usage *)data)->used[value->number] = true;
}

static void declared_visit(void *data, ir_op *op, ir_value *value, bool written) {
  (void)written;
  if (op->kind == IR_OP_DECLARE) ((usage *)data)->used[value->number] = true;
}

/* Declares the register arrays of the tiles that the ops use, and the variables that nothing declares yet. */
static void declare_values(lower *l, const ir_block *body) {
  usage u = {ARENA_ARRAY(l->env->scratch, bool, l->kernel->value_count)};
  usage declared = {ARENA_ARRAY(l->env->scratch, bool, l->kernel->value_count)};
  for (ir_op *op = l->kernel->body.first; op; op = op->next)
    ir_op_visit(op, true, declared_visit, &declared);
  for (ir_op *op = body->first; op; op = op->next)
    if (op->kind != IR_OP_ROLE) /* a role declares its own */
      ir_op_visit(op, true, usage_visit, &u);
  for (int i = 0; i < l->tile_count; i++) {
    ir_value *value = l->kernel->values[i];
    bool tile = value->space == IR_TILE, variable = value->space == IR_SCALAR && value->is_mutable && !declared.used[i];
    if (!u.used[i] || !(variable || (tile && !l->one_thread))) continue;
    ir_op *declare = thread_op(l, IR_OP_DECLARE);
    ir_op_add_write(declare, ir_ref_whole(tile ? l->registers[i] : value));
  }
}

/* Gives a first value to the words that are written in parts. */
static void clear_words(lower *l, ir_block *body) {
  for (int i = 0; i < l->tile_count; i++) {
    if (!l->in_parts[i]) continue;
    ir_op *declare = body->first;
    while (declare && !(declare->kind == IR_OP_DECLARE && declare->write[0].value == l->registers[i]))
      declare = declare->next;
    if (!declare) continue;
    ir_block clear = {NULL, NULL};
    ir_block *saved = thread_enter(l, &clear);
    const ir_expr *word;
    int words = (int)ir_extent(l->registers[i], 0) / thread_per_word(l->registers[i]->type);
    thread_loop(l, "r", thread_int(l, words), 1, &word);
    thread_set_word(l, l->registers[i], word, ir_typed_int(l->memory, IR_U32, 0));
    thread_leave(l, saved);
    ir_op *loop = clear.first;
    ir_block_remove(&clear, loop);
    ir_block_insert_after(body, declare, loop);
  }
}

static void prepend(ir_block *block, ir_block *front) {
  while (front->last) {
    ir_op *op = front->last;
    ir_block_remove(front, op);
    if (block->first)
      ir_block_insert_before(block, block->first, op);
    else
      ir_block_append(block, op);
  }
}

/* Lowers a body for warps [first, first + count) into `out`. */
static void thread_role_body(lower *l, const ir_block *body, ir_block *out, int first, int count, int barrier_id) {
  lower saved = *l;
  ir_block prologue = {NULL, NULL};
  l->warp_first = first;
  l->warp_count = count;
  l->barrier_id = barrier_id;
  l->memo_count = l->place_count = l->place_capacity = 0;
  l->part = NULL;
  l->places = NULL;
  l->meeting_count = l->meeting_capacity = 0;
  l->prologue = &prologue;
  l->out = out;
  l->loc = (src_loc){0};
  arena *memory = l->memory;
  const ir_expr *tid = ir_leaf(memory, IR_EXPR_TID, IR_I32);
  l->thread = first ? thread_role_let(l, "thread", ir_binary(memory, IR_EXPR_SUB, tid, thread_int(l, first * 32)))
                    : thread_role_let(l, "thread", tid);
  l->lane = thread_role_let(l, "lane", ir_leaf(memory, IR_EXPR_LANE, IR_I32));
  const ir_expr *warp = ir_leaf(memory, IR_EXPR_WARP, IR_I32);
  l->warp = thread_role_let(l, "warp", first ? ir_binary(memory, IR_EXPR_SUB, warp, thread_int(l, first)) : warp);
  l->one_thread = barrier_id > 0 && drives_engines_only(body);
  if (l->one_thread) {
    ir_op *guard = thread_op(l, IR_OP_IF);
    ir_op_add_expr(memory, guard, ir_binary(memory, IR_EXPR_EQ, l->thread, thread_int(l, 0)));
    ir_block *outer = thread_enter(l, &guard->body);
    declare_values(l, body);
    thread_ops(l, body);
    thread_leave(l, outer);
  } else {
    declare_values(l, body);
    thread_ops(l, body);
  }
  clear_words(l, out);
  prepend(out, &prologue);
  for (int i = 0; i < l->meeting_count; i++)
    if (l->meetings[i].block == &prologue) l->meetings[i].block = out;
  thread_thin_barriers(l, out);
  bool failed = l->failed;
  *l = saved;
  l->failed = failed;
}

static void thread_role(lower *l, const ir_op *op) {
  ir_op *role = arena_copy(l->memory, op, sizeof *op);
  role->next = role->previous = NULL;
  role->body = role->other = (ir_block){NULL, NULL};
  ir_block_append(l->out, role);
  int first = (int)ir_attr_get(&op->attrs, IR_ATTR_WARP_FIRST, 0),
      count = (int)ir_attr_get(&op->attrs, IR_ATTR_WARP_COUNT, 1);
  ir_block body = {NULL, NULL};
  thread_role_body(l, &op->body, &body, first, count, first == 0 ? 1 : 2);
  int64_t registers = ir_attr_get(&op->attrs, IR_ATTR_REGISTERS, 0);
  if (registers) {
    ir_op *budget = ir_op_create(l->memory, IR_OP_SETMAXNREG, op->loc);
    ir_attr_set(&budget->attrs, IR_ATTR_REGISTERS, registers);
    ir_block_insert_before(&body, body.first, budget);
  }
  role->body = body;
}

/* -- Control ------------------------------------------------------------------------------------------------------- */

static void thread_control(lower *l, const ir_op *op) {
  ir_op *copy = arena_copy(l->memory, op, sizeof *op);
  copy->next = copy->previous = NULL;
  copy->body = copy->other = (ir_block){NULL, NULL};
  if (op->kind == IR_OP_FOR) {
    ir_attr_clear(&copy->attrs, IR_ATTR_STAGES);
    if (!ir_attr_has(&copy->attrs, IR_ATTR_UNROLL)) ir_attr_set(&copy->attrs, IR_ATTR_UNROLL, 0);
  }
  ir_block_append(l->out, copy);
  ir_block *saved = thread_enter(l, &copy->body);
  thread_ops(l, &op->body);
  thread_leave(l, saved);
  saved = thread_enter(l, &copy->other);
  thread_ops(l, &op->other);
  thread_leave(l, saved);
}

static void thread_where(lower *l, const ir_op *op) {
  ir_block *saved = thread_guard(l, thread_any(l, op->read[0].value));
  thread_ops(l, &op->body);
  thread_leave(l, saved);
}

/* Ops between two groups of wgmma that leave every register alone: one fence then serves both groups. Not across an
 * mbar.wait, which touches none either: ptxas loses track behind its branch and injects a fence with warning C7519. */
static bool keeps_registers(const ir_op *op) { return op->kind == IR_OP_DOT_COMMIT || op->kind == IR_OP_DOT; }

static bool reads_memory(const ir_expr *e) {
  if (e->kind == IR_EXPR_ELEMENT && (e->value->space == IR_SHARED || e->value->space == IR_GLOBAL)) return true;
  for (int i = 0; i < e->arg_count; i++)
    if (reads_memory(e->args[i])) return true;
  return false;
}

static const ir_expr *with_loads(void *context, const ir_expr *e) {
  return reads_memory(e) ? thread_scalar(context, e) : e;
}

/* The op with loads in front of it for the elements of tensors and buffers in its own scalars. The condition of a loop
 * is loaded before every time around. */
static const ir_op *load_scalars(lower *l, const ir_op *op) {
  if (op->kind == IR_OP_PARALLEL || op->kind == IR_OP_ROLE) return op;
  arena *memory = l->memory;
  ir_op *copy = arena_copy(memory, op, sizeof *op);
  copy->expr = arena_copy(memory, op->expr, sizeof *op->expr * (size_t)op->expr_count);
  if (op->kind != IR_OP_WHILE || !reads_memory(op->expr[0])) {
    ir_op_each_expr(copy, with_loads, l);
    return copy;
  }
  ir_value *more = ir_value_create(memory, l->kernel, IR_SCALAR, IR_PRED, "more", op->loc);
  more->is_mutable = true;
  ir_op_add_write(thread_op(l, IR_OP_DECLARE), ir_ref_whole(more));
  thread_set(l, more, thread_scalar(l, op->expr[0]));
  copy->expr[0] = ir_read(memory, more);
  copy->body = ir_block_clone(memory, &op->body, NULL);
  ir_op *again = ir_op_create(memory, IR_OP_SET, op->loc);
  ir_op_add_write(again, ir_ref_whole(more));
  ir_op_add_expr(memory, again, op->expr[0]);
  ir_block_append(&copy->body, again);
  return copy;
}

static void thread_one(lower *l, const ir_op *op) {
  l->loc = op->loc;
  op = load_scalars(l, op);
  if (!keeps_registers(op)) l->fenced = false;
  switch (op->kind) {
  case IR_OP_FOR:
  case IR_OP_IF:
  case IR_OP_WHILE:
    thread_control(l, op);
    break;
  case IR_OP_WHERE:
    thread_where(l, op);
    break;
  case IR_OP_ROLE:
    thread_role(l, op);
    break;
  case IR_OP_PARALLEL:
    thread_elementwise(l, op);
    break;
  case IR_OP_FILL:
    thread_fill(l, op);
    break;
  case IR_OP_COPY:
    thread_transfer(l, op);
    break;
  case IR_OP_CONVERT:
    thread_convert(l, op->write[0].value, op->read[0].value);
    break;
  case IR_OP_DOT:
    thread_dot(l, op);
    break;
  case IR_OP_DOT_COMMIT:
    thread_op(l, IR_OP_WGMMA_COMMIT);
    break;
  case IR_OP_DOT_WAIT:
    ir_attr_set(&thread_op(l, IR_OP_WGMMA_WAIT)->attrs, IR_ATTR_PENDING, ir_attr_get(&op->attrs, IR_ATTR_PENDING, 0));
    break;
  case IR_OP_DECODE:
    thread_decode(l, op);
    break;
  case IR_OP_REDUCE:
    thread_reduce(l, op);
    break;
  case IR_OP_SCAN:
    thread_scan(l, op);
    break;
  case IR_OP_VOTE:
    thread_vote(l, op);
    break;
  case IR_OP_MBAR_ARRIVE:
    thread_arrive(l, op);
    break;
  case IR_OP_BAR_SYNC:
    thread_sync(l, op);
    break;
  case IR_OP_MBAR_INIT:
  case IR_OP_MBAR_EXPECT:
  case IR_OP_FENCE_MBAR_INIT:
  case IR_OP_BULK_COMMIT:
  case IR_OP_BULK_WAIT:
    thread_by_first(l, op);
    break;
  default:
    copy_op(l, op);
  }
}

void thread_ops(lower *l, const ir_block *block) {
  for (const ir_op *op = block->first; op && !l->failed; op = op->next)
    thread_one(l, op);
}

/* -- Kernel -------------------------------------------------------------------------------------------------------- */

static void create_registers(lower *l) {
  for (int i = 0; i < l->tile_count; i++) {
    ir_value *tile = l->kernel->values[i];
    if (tile->space != IR_TILE) continue;
    int per_word = thread_per_word(tile->type), count = (tile->tile->reg_count + per_word - 1) / per_word * per_word;
    if (l->stays_codes[i]) count = tile->tile->reg_count / 32; /* words of codes of one bit */
    bool is_raw = tile->type == IR_PRED || l->stays_codes[i];
    ir_value *registers =
        ir_value_create(l->memory, l->kernel, IR_REGISTERS, is_raw ? IR_U32 : tile->type, tile->name, tile->loc);
    registers->rank = 1;
    registers->extent[0] = ir_int(l->memory, count);
    registers->name = tile->name; /* the tile itself leaves the kernel */
    l->registers[i] = registers;
  }
}

/* A barrier that a whole role arrives on is completed by its warps or lanes, those of every block that arrives. */
static void count_arrivals(const lower *l, const ir_block *block, int warps, bool one_thread) {
  for (const ir_op *op = block->first; op; op = op->next) {
    int inside = warps;
    bool single = one_thread;
    if (op->kind == IR_OP_ROLE) {
      single = drives_engines_only(&op->body);
      inside = single ? 1 : (int)ir_attr_get(&op->attrs, IR_ATTR_WARP_COUNT, 1);
    }
    if (op->kind == IR_OP_MBAR_ARRIVE) {
      ir_value *barrier = op->read[0].value;
      int64_t rank = 0;
      if (op->expr_count) ir_is_constant(op->expr[0], &rank);
      int of_block = !one_thread && every_lane_arrives(l, barrier) ? 32 * warps : warps;
      barrier->arrivals = of_block * (int)(rank + 1); /* ranks ascend */
    }
    count_arrivals(l, &op->body, inside, single);
    count_arrivals(l, &op->other, inside, single);
  }
}

static bool set_init_counts(void *data, ir_block *block, ir_op *op) {
  (void)block;
  if (op->kind == IR_OP_MBAR_INIT) op->expr[0] = ir_int((arena *)data, op->read[0].value->arrivals);
  return true;
}

/* The descriptors of tensor maps are fetched by a warp that sets up no barriers, while another does. */
static void prefetch_maps(lower *l, ir_block *body, int threads) {
  ir_op *guard = NULL;
  for (int i = 0; i < l->kernel->value_count; i++) {
    ir_value *map = l->kernel->values[i];
    if (map->space != IR_MAP) continue;
    if (!guard) {
      guard = ir_op_create(l->memory, IR_OP_IF, l->kernel->loc);
      const ir_expr *tid = ir_leaf(l->memory, IR_EXPR_TID, IR_I32);
      ir_op_add_expr(l->memory, guard, ir_binary(l->memory, IR_EXPR_EQ, tid, ir_int(l->memory, threads - TILE_LANES)));
      ir_block_insert_before(body, body->first, guard);
    }
    ir_op *prefetch = ir_op_create(l->memory, IR_OP_TMA_PREFETCH, l->kernel->loc);
    ir_op_add_read(prefetch, ir_ref_whole(map));
    ir_block_append(&guard->body, prefetch);
  }
}

/* Tiles are gone: their values leave the kernel, and numbers stay positions. */
static void drop_tiles(ir_kernel *kernel) {
  int kept = 0;
  for (int i = 0; i < kernel->value_count; i++) {
    if (kernel->values[i]->space == IR_TILE) continue;
    kernel->values[kept] = kernel->values[i];
    kernel->values[kept]->number = kept;
    kept++;
  }
  kernel->value_count = kept;
}

static bool note_operands(void *data, ir_block *block, ir_op *op) {
  lower *l = data;
  (void)block;
  l->has_dots |= op->kind == IR_OP_DOT;
  if (op->kind == IR_OP_DECODE && ir_attr_has(&op->attrs, IR_ATTR_LOW))
    l->stays_codes[op->write[0].value->number] = true;
  if (op->kind != IR_OP_DOT || !ir_attr_get(&op->attrs, IR_ATTR_ASYNC, 0)) return true;
  for (int i = 0; i < op->read_count; i++)
    if (op->read[i].value && op->read[i].value->space == IR_TILE) l->is_operand[op->read[i].value->number] = true;
  return true;
}

bool lower_threads(ir_kernel *kernel, pass_env *env) {
  lower l = {.kernel = kernel, .env = env, .memory = env->memory, .tile_count = kernel->value_count};
  l.registers = ARENA_ARRAY(env->scratch, ir_value *, kernel->value_count);
  l.in_parts = ARENA_ARRAY(env->scratch, bool, kernel->value_count);
  l.stays_codes = ARENA_ARRAY(env->scratch, bool, kernel->value_count);
  l.is_operand = ARENA_ARRAY(env->scratch, bool, kernel->value_count);
  ir_walk(&kernel->body, note_operands, &l);
  l.rings = rings_find(env->scratch, kernel);
  create_registers(&l);
  count_arrivals(&l, &kernel->body, 1, false);
  ir_walk(&kernel->body, set_init_counts, env->memory);
  ir_block body = {NULL, NULL};
  int threads = (int)ir_attr_get(&kernel->attrs, IR_ATTR_THREADS, 128);
  thread_role_body(&l, &kernel->body, &body, 0, threads / 32, 0);
  if (!l.failed && body.first) prefetch_maps(&l, &body, threads);
  kernel->body = body;
  drop_tiles(kernel);
  kernel->form = IR_FORM_THREAD;
  return !l.failed;
}
