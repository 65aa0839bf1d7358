/* place-barriers: make the threads of a role wait where they share a buffer.
 *
 *   before  for %t ... do                                  after  for %t ... do
 *             %stage <- copy %acc {engine = matrix}                 bulk.commit
 *             %C[...] <- copy %stage {engine = tma}                 bulk.wait {pending = 0, read = 1}
 *           end                                                     bar.sync {id = 2, threads = 256}
 *                                                                   %stage <- copy %acc {engine = matrix}
 *                                                                   fence.async
 *                                                                   bar.sync {id = 2, threads = 256}
 *                                                                   %C[...] <- copy %stage {engine = tma}
 *                                                                 end
 *                                                                 bulk.commit
 *                                                                 bulk.wait {pending = 0, read = 1}
 *
 * For every buffer that threads write with ordinary stores, and every tensor that the kernel both writes and reads, the
 * pass keeps what happened to it since the last barrier, and inserts
 *   a barrier        before a read of what others wrote, and before a write of what others read or wrote,
 *   fence.async      before that barrier, when the reader is the async proxy (a bulk store, wgmma) and the writer was not,
 *   cp.wait 0        before the first use of a cp.async that no pipelined loop waits for, and at the end,
 *   bulk.wait        (sources read) before a buffer is rewritten that a bulk store may still be reading, and at the end of the role;
 *                    stores of other buffers that were issued later, in this iteration, may stay in flight,
 *   a commit         in front of such a wait, when something was issued since the last, and between stores where the wait
 *                    for the one leaves the other in flight.
 * A loop is walked with the state of its own end joined to the state before it, so hazards across the back edge are
 * seen. A barrier clears every buffer's state, so neighbouring hazards cost one barrier.
 *
 * What part-stores has cut into shares concerns the warps of a share only: such barriers have the attribute `parts`, as
 * commits and waits have then, and leave the state of other buffers alone.
 *
 * Buffers with a ring (slots, or a copy that signals an mbarrier) are ordered by specialise-warps and pipeline-loops.
 * Barrier 0 is for all threads; each role with its own shared buffers gets one of 1..15, and its parts the next ones. */
#include "passes/pass.h"
#include "passes/region.h"

enum { MAX_YOUNGER = 8, FIRST_OF_PARTS = 3 };

typedef struct hazard {
  bool written;  /* by ordinary stores, since the last barrier */
  bool read;     /* by ordinary loads, or by dots that are waited for, since the last barrier */
  bool dotting;  /* by dots that run on; a barrier says nothing of those of other warps */
  bool unfenced; /* ordinary stores not yet fenced for the async proxy */
  bool copying;  /* cp.async not yet waited for */
  bool storing;  /* a bulk store may be reading it */
  bool open;     /* one that belongs to no group yet */
  int younger;   /* groups that were committed after that of the last which was not open, at least */
} hazard;

typedef struct context {
  ir_kernel *kernel;
  pass_env *env;
  bool *managed; /* by value number: ordered by other passes, or with no need of order */
  bool *parted;  /* by value number: in shares */
  int parts;     /* of the stores; 1: each is of the whole role */
  int count;     /* of values; state[count] says what was issued and not committed: `copying`, `storing`, and of stores
                    in this iteration of the innermost loop: `open` ones, and the groups before (`younger`) */
  hazard *state; /* by value number */
  bool insert;
  int id, threads;
} context;

typedef struct access {
  hazard *state;
  bool *managed;
  bool need_barrier, need_fence, need_copy_wait, need_store_wait;
  int pending; /* groups of stores that may stay in flight */
  bool async_read;
  bool has_open; /* stores that belong to no group yet */
} access;

static void access_visit(void *data, ir_op *op, ir_value *value, bool written) {
  access *a = data;
  (void)op;
  if (a->managed[value->number]) return;
  hazard *h = &a->state[value->number];
  if (h->copying) {
    a->need_copy_wait = a->need_barrier = true;
    a->need_fence |= !written && a->async_read;
  }
  if (written) {
    if (h->storing) {
      int younger = h->open ? 0 : h->younger + (a->has_open ? 1 : 0);
      a->pending = !a->need_store_wait || younger < a->pending ? younger : a->pending;
      a->need_store_wait = a->need_barrier = true;
    }
    if (h->written || h->read || h->dotting) a->need_barrier = true;
  } else {
    if (h->written) a->need_barrier = true;
    if (a->async_read && h->unfenced) a->need_fence = a->need_barrier = true;
  }
}

typedef struct effect {
  hazard *state;
  bool *managed;
  bool store, copy, runs_on;
} effect;

static void effect_visit(void *data, ir_op *op, ir_value *value, bool written) {
  effect *e = data;
  (void)op;
  if (e->managed[value->number]) return;
  hazard *h = &e->state[value->number];
  if (written && e->copy)
    h->copying = true;
  else if (written)
    h->written = h->unfenced = true;
  else if (e->store)
    h->storing = h->open = true;
  else if (e->runs_on)
    h->dotting = true;
  else
    h->read = true;
}

static int64_t engine_of(const ir_op *op) {
  return op->kind == IR_OP_COPY ? ir_attr_get(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_NONE) : IR_ENGINE_NONE;
}

static bool is_bulk_store(const ir_op *op) {
  return (engine_of(op) == IR_ENGINE_TMA || engine_of(op) == IR_ENGINE_BULK) && op->write[0].value->space == IR_GLOBAL;
}

static bool reads_asynchronously(const ir_op *op) {
  return is_bulk_store(op) ||
         (op->kind == IR_OP_DOT && ir_attr_get(&op->attrs, IR_ATTR_INSTRUCTION, 0) == IR_INSTRUCTION_WGMMA);
}

static void insert(context *c, ir_block *block, ir_op *before, ir_op_kind kind, ir_attr attr, int64_t value,
                   src_loc loc) {
  if (!c->insert) return;
  ir_op *op = ir_op_create(c->env->memory, kind, loc);
  if ((kind == IR_OP_BULK_COMMIT || kind == IR_OP_BULK_WAIT) && c->parts > 1)
    ir_attr_set(&op->attrs, IR_ATTR_PARTS, c->parts);
  if (kind == IR_OP_BAR_SYNC) { /* `value`: parts */
    ir_attr_set(&op->attrs, IR_ATTR_ID, value > 1 ? FIRST_OF_PARTS : c->id);
    ir_attr_set(&op->attrs, IR_ATTR_THREADS, c->threads / value);
    if (value > 1) ir_attr_set(&op->attrs, IR_ATTR_PARTS, value);
  } else if (kind == IR_OP_BULK_WAIT) {
    ir_attr_set(&op->attrs, attr, value);
    ir_attr_set(&op->attrs, IR_ATTR_READ, 1);
  } else if (attr != IR_ATTR_KIND_COUNT) {
    ir_attr_set(&op->attrs, attr, value);
  }
  if (before)
    ir_block_insert_before(block, before, op);
  else
    ir_block_append(block, op);
}

static void join(hazard *into, const hazard *from, int count) {
  for (int i = 0; i <= count; i++) {
    into[i].written |= from[i].written;
    into[i].read |= from[i].read;
    into[i].dotting |= from[i].dotting;
    into[i].unfenced |= from[i].unfenced;
    into[i].copying |= from[i].copying;
    if (from[i].storing && (!into[i].storing || from[i].younger < into[i].younger)) into[i].younger = from[i].younger;
    into[i].storing |= from[i].storing;
    into[i].open |= from[i].open;
  }
}

static void apply_barrier(context *c, bool fenced, bool copied, bool of_parts) {
  for (int i = 0; i < c->count; i++) {
    if (of_parts && !c->parted[i]) continue;
    c->state[i].written = c->state[i].read = false;
    c->state[i].unfenced |= copied && c->state[i].copying;
    c->state[i].unfenced &= !fenced;
    c->state[i].copying &= !copied;
  }
}

/* The stores issued since the last commit are a group. */
static void close_group(context *c) {
  for (int i = 0; i < c->count; i++) {
    hazard *h = &c->state[i];
    h->younger = h->open ? 0 : h->younger < MAX_YOUNGER ? h->younger + 1 : MAX_YOUNGER;
    h->open = false;
  }
  hazard *all = &c->state[c->count];
  all->younger += all->open && all->younger < MAX_YOUNGER;
  all->storing = all->open = false;
}

/* All groups of stores but the `pending` youngest have been read. */
static void apply_store_wait(context *c, int pending) {
  for (int i = 0; i < c->count; i++)
    c->state[i].storing &= c->state[i].open || c->state[i].younger < pending;
}

static void insert_commit(context *c, ir_block *block, ir_op *before, src_loc loc) {
  if (!c->state[c->count].storing) return;
  insert(c, block, before, IR_OP_BULK_COMMIT, IR_ATTR_KIND_COUNT, 0, loc);
  close_group(c);
}

static void insert_store_wait(context *c, ir_block *block, ir_op *before, int pending, src_loc loc) {
  insert_commit(c, block, before, loc);
  insert(c, block, before, IR_OP_BULK_WAIT, IR_ATTR_PENDING, pending, loc);
  apply_store_wait(c, pending);
}

/* Every cp.async issued so far has landed. */
static void insert_copy_wait(context *c, ir_block *block, ir_op *before, src_loc loc) {
  if (c->state[c->count].copying) insert(c, block, before, IR_OP_CP_COMMIT, IR_ATTR_KIND_COUNT, 0, loc);
  c->state[c->count].copying = false;
  insert(c, block, before, IR_OP_CP_WAIT, IR_ATTR_PENDING, 0, loc);
}

static void walk(context *c, ir_block *block);

static void walk_to_end(context *c, ir_block *block) {
  walk(c, block);
  bool storing = false, copying = false;
  for (int i = 0; i < c->count; i++) {
    storing |= c->state[i].storing;
    copying |= c->state[i].copying;
  }
  if (copying) insert_copy_wait(c, block, NULL, (src_loc){0});
  if (storing) insert_store_wait(c, block, NULL, 0, (src_loc){0});
}

static void begin_iteration(context *c) {
  c->state[c->count].open = false;
  c->state[c->count].younger = 0;
}

/* The state at a loop's head: what comes from before joined with what its own end leaves, found by walking without
 * inserting. */
static void walk_loop(context *c, ir_op *loop) {
  bool inserting = c->insert;
  hazard *entry = arena_copy(c->env->scratch, c->state, sizeof(hazard) * (size_t)(c->count + 1));
  c->insert = false;
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i <= c->count; i++)
      c->state[i] = entry[i];
    begin_iteration(c);
    walk(c, &loop->body);
    join(entry, c->state, c->count);
  }
  c->insert = inserting;
  for (int i = 0; i <= c->count; i++)
    c->state[i] = entry[i];
  begin_iteration(c);
  walk(c, &loop->body);
  join(c->state, entry, c->count);
}

static void walk_role(context *c, ir_op *role) {
  context inner = *c;
  int first = (int)ir_attr_get(&role->attrs, IR_ATTR_WARP_FIRST, 0);
  inner.threads = 32 * (int)ir_attr_get(&role->attrs, IR_ATTR_WARP_COUNT, 1);
  inner.id = first == 0 ? 1 : 2;
  inner.state = ARENA_ARRAY(c->env->scratch, hazard, c->count + 1);
  walk_to_end(&inner, &role->body);
}

/* Whether one of the ops from here on fills a buffer whose store belongs to no group yet. */
static bool is_refilled(const context *c, ir_op *op) {
  for (; op; op = op->next)
    for (int i = 0; i < op->write_count; i++)
      if (op->write[i].value && c->state[op->write[i].value->number].open) return true;
  return false;
}

static void walk_op(context *c, ir_block *block, ir_op *op) {
  access a = {.state = c->state,
              .managed = c->managed,
              .async_read = reads_asynchronously(op),
              .has_open = c->state[c->count].storing};
  ir_op_visit(op, op->kind == IR_OP_PARALLEL, access_visit, &a);
  if (a.need_copy_wait) insert_copy_wait(c, block, op, op->loc);
  const hazard *all = &c->state[c->count];
  int recent = all->younger + (all->open ? 1 : 0);
  if (a.pending > recent) a.pending = recent; /* those of iterations before were read long ago */
  if (a.need_store_wait) insert_store_wait(c, block, op, a.pending, op->loc);
  if (is_bulk_store(op) && is_refilled(c, op->next)) insert_commit(c, block, op, op->loc);
  if (a.need_fence) insert(c, block, op, IR_OP_FENCE_ASYNC, IR_ATTR_KIND_COUNT, 0, op->loc);
  if (a.need_barrier) {
    int64_t parts = ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1);
    insert(c, block, op, IR_OP_BAR_SYNC, IR_ATTR_KIND_COUNT, parts, op->loc);
    apply_barrier(c, a.need_fence, a.need_copy_wait, parts > 1);
  }
  effect e = {.state = c->state,
              .managed = c->managed,
              .store = is_bulk_store(op),
              .copy = engine_of(op) == IR_ENGINE_CPASYNC,
              .runs_on = op->kind == IR_OP_DOT && ir_attr_get(&op->attrs, IR_ATTR_ASYNC, 0)};
  ir_op_visit(op, op->kind == IR_OP_PARALLEL, effect_visit, &e);
  c->state[c->count].storing |= is_bulk_store(op);
  c->state[c->count].open |= is_bulk_store(op);
  c->state[c->count].copying |= e.copy && !c->managed[op->write[0].value->number];
}

static void walk(context *c, ir_block *block) {
  ir_op *next;
  for (ir_op *op = block->first; op; op = next) {
    next = op->next;
    switch (op->kind) {
    case IR_OP_FOR:
    case IR_OP_WHILE:
      walk_loop(c, op);
      break;
    case IR_OP_IF: {
      hazard *before = arena_copy(c->env->scratch, c->state, sizeof(hazard) * (size_t)(c->count + 1));
      walk(c, &op->body);
      hazard *after = arena_copy(c->env->scratch, c->state, sizeof(hazard) * (size_t)(c->count + 1));
      for (int i = 0; i <= c->count; i++)
        c->state[i] = before[i];
      walk(c, &op->other);
      join(c->state, after, c->count);
      break;
    }
    case IR_OP_ROLE:
      walk_role(c, op);
      break;
    case IR_OP_BAR_SYNC:
      apply_barrier(c, false, false, ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1) > 1);
      break;
    case IR_OP_DOT_WAIT: /* of which buffers, where some dots stay in flight, is not looked at */
      for (int i = 0; i < c->count; i++) {
        c->state[i].read |= c->state[i].dotting;
        c->state[i].dotting &= ir_attr_get(&op->attrs, IR_ATTR_PENDING, 0) > 0;
      }
      break;
    case IR_OP_CP_COMMIT:
      c->state[c->count].copying = false;
      break;
    case IR_OP_BULK_COMMIT:
      close_group(c);
      break;
    case IR_OP_BULK_WAIT: /* of an earlier run of this pass, like the others */
      apply_store_wait(c, (int)ir_attr_get(&op->attrs, IR_ATTR_PENDING, 0));
      break;
    case IR_OP_FENCE_ASYNC:
    case IR_OP_CP_WAIT:
      for (int i = 0; i < c->count; i++) {
        c->state[i].unfenced &= op->kind != IR_OP_FENCE_ASYNC;
        if (op->kind == IR_OP_CP_WAIT && c->state[i].copying) {
          c->state[i].copying = false;
          c->state[i].written = c->state[i].unfenced = true;
        }
      }
      break;
    default:
      walk_op(c, block, op);
    }
  }
}

/* Rings and buffers that an mbarrier guards; and those in shares. */
static bool find_managed(void *data, ir_block *block, ir_op *op) {
  context *c = data;
  (void)block;
  int parts = (int)ir_attr_get(&op->attrs, IR_ATTR_PARTS, 1);
  if (op->kind == IR_OP_COPY && parts > 1) {
    c->parts = parts;
    c->parted[(is_bulk_store(op) ? op->read : op->write)[0].value->number] = true;
  }
  if (op->kind == IR_OP_COPY && op->write[0].value->space == IR_SHARED &&
      (op->write[0].value->slots > 1 || (op->read_count > 1 && op->read[1].value)))
    c->managed[op->write[0].value->number] = true;
  return true;
}

bool place_barriers(ir_kernel *kernel, pass_env *env) {
  context c = {.kernel = kernel,
               .env = env,
               .count = kernel->value_count,
               .parted = ARENA_ARRAY(env->scratch, bool, kernel->value_count),
               .parts = 1,
               .insert = true,
               .id = 0,
               .threads = (int)ir_attr_get(&kernel->attrs, IR_ATTR_THREADS, 128)};
  c.managed = ARENA_ARRAY(env->scratch, bool, c.count);
  const bool *exchanged = region_exchanged(env->scratch, kernel);
  for (int i = 0; i < c.count; i++)
    c.managed[i] = kernel->values[i]->space != IR_SHARED && !exchanged[i];
  c.state = ARENA_ARRAY(env->scratch, hazard, c.count + 1);
  ir_walk(&kernel->body, find_managed, &c);
  walk_to_end(&c, &kernel->body);
  return true;
}
