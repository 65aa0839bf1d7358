/* specialise-warps: split a kernel into a role that moves data and a role that computes.
 *
 *   before  for %k in 0 .. %n step 1 {stages = 4} do
 *             %As <- copy %A[...] {engine = tma}
 *             %Bs <- copy %B[...] {engine = tma}
 *             %acc <- dot %As, %Bs
 *           end
 *
 *   after   role producer {...} do
 *             for %k in 0 .. %n step 1 do
 *               mbar.wait %As_empty@%As_put, %As_put_phase ^ 1
 *               mbar.expect %As_full@%As_put, bytes
 *               %As@%As_put <- copy %A[...], %As_full@%As_put {engine = tma}
 *               %Bs@%As_put <- copy %B[...], %As_full@%As_put {engine = tma}
 *               ...                                      (%As_put advances around the ring)
 *           role consumer {...} do
 *             for %k in 0 .. %n step 1 do
 *               mbar.wait %As_full@%As_get, %As_get_phase
 *               %acc <- dot %As@%As_get, %Bs@%As_get
 *               mbar.arrive %As_empty@%As_get
 *               ...                                      (%As_get advances)
 *
 * Rules
 * 1. A copy moves to the producer when its engine completes on an mbarrier (tma, bulk), its buffer is filled as a
 *    whole and by such copies only, every reader follows one of them in the same block (or inside later ops of that block) before the
 *    next, and its operands do not depend on what the consumer computes. Several fills of one buffer (the first
 *    iteration and the others, say) share its ring.
 * 2. Control flow and pure scalars are duplicated in both roles, as far as each reads them; everything else stays with
 *    the consumer.
 * 3. Neighbouring copies whose lifetimes overlap share one pair of barriers (full, empty) and one ring position; a copy
 *    whose first reader comes after the last reader of the one before gets its own, so that its slot is refilled on its
 *    own schedule.
 * 4. Slots: `stages` of the copy, else of the nearest loop around it; 1 where there is none. Positions and phases are scalars that
 *    carry across every loop around them and are never reset, so a persistent loop needs nothing special.
 * 5. A slot is released behind its last reader; when that is an asynchronous dot, where its result is needed anyway.
 * 6. A fresh barrier has completed the phase of parity 1: the producer starts by waiting for the parity that lets it
 *    through.
 * 7. A copy that is multicast to a cluster fills the slot of every block: the empty barrier then waits for the
 *    consumers of all of them, so a consumer arrives on the barrier of each block.
 *
 * In this form an arrival is a role's arrival: `arrivals` counts roles, and lowering multiplies by warps. Waits for
 * asynchronous dots are place-waits' business, fences and block barriers place-barriers'. Without producers in the
 * schedule nothing happens. */
#include "passes/pass.h"
#include "passes/register_budget.h"
#include "passes/tensor_core.h"

enum { MAX_GROUPS = 32, MAX_COPIES = 8 };

/* Buffers that are filled and freed together, slot by slot. */
typedef struct ring {
  const char *name;
  int stages;
  int blocks; /* of the cluster that the copies are sent to */
  ir_value *full, *empty;
  ir_value *put, *put_phase, *get, *get_phase;
} ring;

/* One place where a ring is filled. */
typedef struct group {
  ring *ring;
  ir_op *copy[MAX_COPIES]; /* in the input block */
  int copy_count;
  const ir_block *block;
  ir_op *first_use, *last_use; /* ops of the block */
  ir_op *release_before;       /* where the consumer gives the slot back; NULL: at the end of the block */
} group;

typedef struct context {
  ir_kernel *kernel;
  pass_env *env;
  arena *memory;
  int group_count;
  group *groups[MAX_GROUPS];
  int ring_count;
  ring *rings[MAX_GROUPS];
  int value_count;
  ring **ring_of;  /* by value number: the ring of a buffer */
  bool alone;      /* every buffer has a ring of its own */
  bool *consumers; /* by value number: a scalar that only the consumer knows */
} context;

static bool is_ring_copy(const ir_op *op) {
  int64_t engine = ir_attr_get(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_NONE);
  return op->kind == IR_OP_COPY && (engine == IR_ENGINE_TMA || engine == IR_ENGINE_BULK) &&
         op->write[0].value->space == IR_SHARED;
}

typedef struct count_context {
  const ir_value *value;
  int writers, readers;
} count_context;

static void count_visit(void *data, ir_op *op, ir_value *value, bool written) {
  count_context *c = data;
  (void)op;
  if (value == c->value) *(written ? &c->writers : &c->readers) += 1;
}

static count_context count_block(const ir_block *block, const ir_value *value) {
  count_context c = {value, 0, 0};
  for (ir_op *op = block->first; op; op = op->next)
    ir_op_visit(op, true, count_visit, &c);
  return c;
}

/* What only the consumer knows: tiles, buffers, tensors that the kernel may write, and scalars that come from them,
 * from a set or a vote. */
typedef struct purity {
  const context *c;
  bool pure;
} purity;

static void purity_visit(void *data, ir_op *op, ir_value *value, bool written) {
  purity *p = data;
  (void)op;
  if (!written && (value->space == IR_TILE || value->space == IR_SHARED || value->is_mutable ||
                   p->c->consumers[value->number] || (value->space == IR_GLOBAL && value->direction != IR_IN)))
    p->pure = false;
}

/* A let or control op whose own operands the producer can compute too. */
static bool is_duplicable(const context *c, ir_op *op) {
  purity p = {c, true};
  if (op->kind != IR_OP_LET && op->kind != IR_OP_FOR && op->kind != IR_OP_IF) return false;
  ir_op_visit(op, false, purity_visit, &p);
  return p.pure;
}

static void find_consumers(context *c, ir_block *block, bool inside) {
  for (ir_op *op = block->first; op; op = op->next) {
    bool own = inside || !is_duplicable(c, op);
    for (int i = 0; i < op->write_count && own; i++)
      if (op->write[i].value->space == IR_SCALAR || op->write[i].value->space == IR_INDEX)
        c->consumers[op->write[i].value->number] = true;
    find_consumers(c, &op->body, own);
    find_consumers(c, &op->other, own);
  }
}

static void copy_purity_visit(void *data, ir_op *op, ir_value *value, bool written) {
  purity *p = data;
  (void)op;
  bool known = value->space == IR_INDEX || value->space == IR_SIZE || value->space == IR_SCALAR
                   ? !value->is_mutable && !p->c->consumers[value->number]
                   : value->space == IR_GLOBAL && value->direction == IR_IN;
  if (!written && !known) p->pure = false;
}

/* The readers of `op`'s buffer among the later ops of its block, up to the next op that fills it; returns how many
 * there are. */
static int find_uses(ir_op *op, ir_op **first, ir_op **last) {
  ir_value *buffer = op->write[0].value;
  int found = 0;
  *first = *last = NULL;
  for (ir_op *later = op->next; later; later = later->next) {
    count_context here = {buffer, 0, 0};
    ir_op_visit(later, true, count_visit, &here);
    if (here.writers) break;
    if (!here.readers) continue;
    found += here.readers;
    *first = *first ? *first : later;
    *last = later;
  }
  return found;
}

/* Readers that follow a fill of the buffer in its block, over all fills; *movable is false when one of them is no ring
 * copy or not the producer's. `inside`: in control flow of the consumer alone. */
static int readers_after_fills(const context *c, ir_block *block, const ir_value *buffer, bool inside, int *fills,
                               bool *movable) {
  int found = 0;
  for (ir_op *op = block->first; op; op = op->next) {
    if (is_ring_copy(op) && op->write[0].value == buffer) {
      ir_op *first, *last;
      purity p = {c, true};
      ir_op_visit(op, false, copy_purity_visit, &p);
      *movable &= p.pure && !inside;
      *fills += 1;
      found += find_uses(op, &first, &last);
    }
    bool own = inside || !is_duplicable(c, op);
    found += readers_after_fills(c, &op->body, buffer, own, fills, movable) +
             readers_after_fills(c, &op->other, buffer, own, fills, movable);
  }
  return found;
}

/* A slot is what one copy fills: barriers count its bytes. */
static bool fills_buffer(const ir_op *copy) {
  const ir_ref *to = &copy->write[0];
  for (int d = 0; d < to->count; d++)
    if (to->span[d] != ir_extent(to->value, d)) return false;
  return true;
}

/* Rule 1. */
static bool can_move(context *c, ir_op *op) {
  ir_value *buffer = op->write[0].value;
  count_context all = count_block(&c->kernel->body, buffer);
  int fills = 0;
  bool movable = true;
  int found = readers_after_fills(c, &c->kernel->body, buffer, false, &fills, &movable);
  const char *why = !fills_buffer(op)                ? "it fills only a part of it"
                    : !movable                       ? "its place depends on what the consumer computes"
                    : fills != all.writers           ? "it has other writers"
                    : !found || found != all.readers ? "it is read outside the block that fills it"
                                                     : NULL;
  if (!c->alone)
    diag_remark(c->env->diagnostics, "specialise-warps", "warps", !why, op->loc,
                why ? "the copy to %s stays with the consumer: %s" : "the producer copies to %s%s", buffer->name,
                why ? why : "");
  return !why;
}

static bool comes_before(const ir_op *a, const ir_op *b) {
  for (const ir_op *op = a->next; op; op = op->next)
    if (op == b) return true;
  return false;
}

static ir_value *new_scalar(context *c, const char *base, const char *suffix) {
  ir_value *value = ir_value_create(c->memory, c->kernel, IR_SCALAR, IR_I32,
                                    arena_printf(c->memory, "%s_%s", base, suffix), (src_loc){0});
  value->is_mutable = true;
  return value;
}

static ir_value *new_barrier(context *c, const char *base, const char *suffix, int slots) {
  ir_value *value = ir_value_create(c->memory, c->kernel, IR_BARRIER, IR_U64,
                                    arena_printf(c->memory, "%s_%s", base, suffix), (src_loc){0});
  value->slots = slots;
  value->arrivals = 1;
  return value;
}

static ring *new_ring(context *c, const char *base) {
  ring *r = ARENA_NEW(c->memory, ring);
  r->name = base;
  r->blocks = 1;
  c->rings[c->ring_count++] = r;
  return r;
}

static void create_ring_values(context *c, ring *r) {
  r->full = new_barrier(c, r->name, "full", r->stages);
  r->empty = new_barrier(c, r->name, "empty", r->stages);
  r->put = new_scalar(c, r->name, "put");
  r->put_phase = new_scalar(c, r->name, "put_phase");
  r->get = new_scalar(c, r->name, "get");
  r->get_phase = new_scalar(c, r->name, "get_phase");
}

/* Whether the copy, first read by `first`, belongs to the open group (rule 3). */
static bool joins(const context *c, const group *open, const ring *own, const ir_op *copy, const ir_op *first) {
  if (!open || open->copy_count == MAX_COPIES || c->alone) return false;
  for (int i = 0; i < open->copy_count; i++)
    if (open->copy[i]->write[0].value == copy->write[0].value) return false;
  if (own) return own == open->ring;
  return !comes_before(open->last_use, first) || open->last_use == first;
}

/* Groups the movable copies of one block (rules 1 and 3). */
static bool plan_block(context *c, ir_block *block, int stages) {
  group *open = NULL;
  for (ir_op *op = block->first; op; op = op->next) {
    if (op->kind == IR_OP_FOR || op->kind == IR_OP_IF) {
      open = NULL;
      int inner = op->kind == IR_OP_FOR ? (int)ir_attr_get(&op->attrs, IR_ATTR_STAGES, 1) : stages;
      if (is_duplicable(c, op) && !(plan_block(c, &op->body, inner) && plan_block(c, &op->other, inner))) return false;
      continue;
    }
    if (!is_ring_copy(op) || !can_move(c, op)) continue;
    ir_op *first, *last;
    if (!find_uses(op, &first, &last)) continue;
    ring **own = &c->ring_of[op->write[0].value->number];
    if (!joins(c, open, *own, op, first)) {
      if (c->group_count == MAX_GROUPS)
        return diag_error(c->env->diagnostics, DIAG_INTERNAL, op->loc, "more than %d groups of copies", MAX_GROUPS);
      open = ARENA_NEW(c->memory, group);
      open->ring = *own ? *own : new_ring(c, op->write[0].value->name);
      open->block = block;
      open->first_use = first;
      open->last_use = last;
      c->groups[c->group_count++] = open;
    }
    open->copy[open->copy_count++] = op;
    *own = open->ring;
    int blocks = (int)ir_attr_get(&op->attrs, IR_ATTR_MULTICAST, 1);
    open->ring->blocks = blocks > open->ring->blocks ? blocks : open->ring->blocks;
    int slots = (int)ir_attr_get(&op->attrs, IR_ATTR_STAGES, stages);
    open->ring->stages = slots > open->ring->stages ? slots : open->ring->stages;
    if (comes_before(first, open->first_use)) open->first_use = first;
    if (comes_before(open->last_use, last)) open->last_use = last;
  }
  return true;
}

/* Every fill of a ring must fill the same buffers, since one phase of its barrier counts their bytes. Where that
 * fails, rule 3 gives way and every buffer has its own ring. */
static bool rings_are_even(context *c) {
  for (int i = 0; i < c->group_count; i++)
    for (int j = 0; j < i; j++) {
      const group *a = c->groups[i], *b = c->groups[j];
      if (a->ring != b->ring) continue;
      bool same = a->copy_count == b->copy_count;
      for (int k = 0; same && k < a->copy_count; k++)
        same = a->copy[k]->write[0].value == b->copy[k]->write[0].value;
      if (!same) return false;
    }
  return true;
}

/* The slot is given back behind its last reader; behind a dot that runs asynchronously, only where the program needs
 * its result (or rewrites its register operand) anyway, so that the release does not wait for it too early. */
static void plan_release(group *g) {
  ir_op *dot = g->last_use;
  bool asynchronous = dot->kind == IR_OP_DOT && dot_runs_on(dot);
  ir_op *op = dot->next;
  for (; op && asynchronous; op = op->next) {
    bool needed = ir_op_reads(op, dot->write[0].value) || ir_op_writes(op, dot->write[0].value);
    for (int i = 0; i < dot->read_count; i++)
      needed |= dot->read[i].value->space == IR_TILE && ir_op_writes(op, dot->read[i].value);
    for (int i = 0; i < g->copy_count; i++)
      needed |= ir_op_writes(op, g->copy[i]->write[0].value); /* filled again */
    if (needed) break;
  }
  g->release_before = op;
}

static bool plan_kernel(context *c) {
  if (!plan_block(c, &c->kernel->body, 1)) return false;
  if (!rings_are_even(c)) {
    c->alone = true;
    c->group_count = c->ring_count = 0;
    for (int i = 0; i < c->value_count; i++)
      c->ring_of[i] = NULL;
    if (!plan_block(c, &c->kernel->body, 1)) return false;
  }
  for (int i = 0; i < c->ring_count; i++)
    create_ring_values(c, c->rings[i]);
  for (int i = 0; i < c->kernel->value_count && i < c->value_count; i++)
    if (c->ring_of[i]) c->kernel->values[i]->slots = c->ring_of[i]->stages;
  for (int i = 0; i < c->group_count; i++)
    plan_release(c->groups[i]);
  return true;
}

static ir_ref slot_of(arena *memory, ir_value *value, ir_value *position) {
  ir_ref ref = ir_ref_whole(value);
  if (position && value->slots > 1) ref.slot = ir_read(memory, position);
  return ref;
}

static void append_barrier_op(context *c, ir_block *block, ir_op_kind kind, ir_value *barrier, ir_value *position,
                              const ir_expr *operand, src_loc loc) {
  ir_op *op = ir_op_create(c->memory, kind, loc);
  ir_op_add_read(op, slot_of(c->memory, barrier, position));
  if (operand) ir_op_add_expr(c->memory, op, operand);
  ir_block_append(block, op);
}

static void append_set(context *c, ir_block *block, ir_value *value, const ir_expr *e, src_loc loc) {
  ir_op *op = ir_op_create(c->memory, IR_OP_SET, loc);
  ir_op_add_write(op, ir_ref_whole(value));
  ir_op_add_expr(c->memory, op, e);
  ir_block_append(block, op);
}

/* The ring position moves on: next slot, and the other parity after the last. */
static void append_advance(context *c, ir_block *block, const ring *g, ir_value *position, ir_value *phase,
                           src_loc loc) {
  const ir_expr *one = ir_int(c->memory, 1);
  if (g->stages == 1) {
    append_set(c, block, phase, ir_binary(c->memory, IR_EXPR_XOR, ir_read(c->memory, phase), one), loc);
    return;
  }
  append_set(c, block, position, ir_binary(c->memory, IR_EXPR_ADD, ir_read(c->memory, position), one), loc);
  ir_op *wrap = ir_op_create(c->memory, IR_OP_IF, loc);
  ir_op_add_expr(c->memory, wrap,
                 ir_binary(c->memory, IR_EXPR_EQ, ir_read(c->memory, position), ir_int(c->memory, g->stages)));
  append_set(c, &wrap->body, position, ir_int(c->memory, 0), loc);
  append_set(c, &wrap->body, phase, ir_binary(c->memory, IR_EXPR_XOR, ir_read(c->memory, phase), one), loc);
  ir_block_append(block, wrap);
}

static int64_t copy_bytes(const ir_op *copy) {
  ir_value *buffer = copy->write[0].value;
  return (ir_element_count(buffer) * ir_bits(buffer->type) + 7) / 8;
}

typedef struct slot_context {
  context *c;
} slot_context;

/* Elements of ring buffers inside expressions name the consumer's slot. */
static const ir_expr *slot_expr(void *data, const ir_expr *e) {
  context *c = ((slot_context *)data)->c;
  if (e->arg_count == 0 && e->kind != IR_EXPR_ELEMENT) return e;
  const ir_expr **args = ARENA_ARRAY(c->memory, const ir_expr *, e->arg_count);
  bool changed = false;
  for (int i = 0; i < e->arg_count; i++) {
    args[i] = slot_expr(data, e->args[i]);
    changed |= args[i] != e->args[i];
  }
  bool in_ring = e->kind == IR_EXPR_ELEMENT && e->value->number < c->value_count && c->ring_of[e->value->number] &&
                 e->value->slots > 1;
  if (!changed && !in_ring) return e;
  ir_expr *copy = arena_copy(c->memory, e, sizeof *e);
  copy->args = args;
  if (in_ring) copy->slot = ir_read(c->memory, c->ring_of[e->value->number]->get);
  return copy;
}

static void name_slots(context *c, ir_op *op) {
  for (int i = 0; i < op->read_count; i++) {
    ir_value *value = op->read[i].value;
    if (value && value->number < c->value_count && c->ring_of[value->number] && value->slots > 1)
      op->read[i].slot = ir_read(c->memory, c->ring_of[value->number]->get);
  }
  slot_context s = {c};
  ir_op_each_expr(op, slot_expr, &s);
  for (ir_op *child = op->body.first; child; child = child->next)
    name_slots(c, child);
  for (ir_op *child = op->other.first; child; child = child->next)
    name_slots(c, child);
}

static const group *group_with_copy(context *c, const ir_op *op, int *index) {
  for (int g = 0; g < c->group_count; g++)
    for (int i = 0; i < c->groups[g]->copy_count; i++)
      if (c->groups[g]->copy[i] == op) {
        *index = i;
        return c->groups[g];
      }
  return NULL;
}

static bool has_group_inside(context *c, const ir_op *op) {
  int index;
  for (const ir_op *child = op->body.first; child; child = child->next)
    if (group_with_copy(c, child, &index) || has_group_inside(c, child)) return true;
  for (const ir_op *child = op->other.first; child; child = child->next)
    if (group_with_copy(c, child, &index) || has_group_inside(c, child)) return true;
  return false;
}

/* Copies that stay with the consumer move by its own threads: nobody signals a barrier for them. */
static void keep_with_consumer(context *c, ir_block *block) {
  for (ir_op *op = block->first; op; op = op->next) {
    int index;
    if (is_ring_copy(op) && !group_with_copy(c, op, &index)) {
      ir_attr_set(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_SIMT);
      ir_attr_clear(&op->attrs, IR_ATTR_MULTICAST);
    }
    keep_with_consumer(c, &op->body);
    keep_with_consumer(c, &op->other);
  }
}

static void append_producer_copy(context *c, ir_block *out, const group *g, int index) {
  ir_op *source = g->copy[index];
  const ring *r = g->ring;
  if (index == 0) {
    int64_t bytes = 0;
    for (int i = 0; i < g->copy_count; i++)
      bytes += copy_bytes(g->copy[i]);
    append_barrier_op(c, out, IR_OP_MBAR_WAIT, r->empty, r->put,
                      ir_binary(c->memory, IR_EXPR_XOR, ir_read(c->memory, r->put_phase), ir_int(c->memory, 1)),
                      source->loc);
    append_barrier_op(c, out, IR_OP_MBAR_EXPECT, r->full, r->put, ir_int(c->memory, bytes), source->loc);
  }
  ir_op *copy = ir_op_clone(c->memory, source, NULL);
  copy->write[0] = slot_of(c->memory, source->write[0].value, r->put);
  copy->read_count = 1;
  ir_op_add_read(copy, slot_of(c->memory, r->full, r->put));
  ir_block_append(out, copy);
  if (index == g->copy_count - 1) append_advance(c, out, r, r->put, r->put_phase, source->loc);
}

/* The consumer gives the slot back, to every block that sends into it, and goes on to the next. */
static void append_release(context *c, ir_block *block, const group *g) {
  const ring *r = g->ring;
  for (int b = 0; b < r->blocks; b++)
    append_barrier_op(c, block, IR_OP_MBAR_ARRIVE, r->empty, r->get, r->blocks > 1 ? ir_int(c->memory, b) : NULL,
                      g->last_use->loc);
  append_advance(c, block, r, r->get, r->get_phase, g->last_use->loc);
}

/* Builds both roles from one block. Ops are moved to the consumer, cloned for the producer. */
static void split_block(context *c, ir_block *in, ir_block *producer, ir_block *consumer) {
  ir_op *next;
  for (ir_op *op = in->first; op; op = next) {
    next = op->next;
    for (int i = 0; i < c->group_count; i++)
      if (c->groups[i]->release_before == op) append_release(c, consumer, c->groups[i]);
    int index;
    const group *g = group_with_copy(c, op, &index);
    if (g) {
      append_producer_copy(c, producer, g, index);
      continue;
    }
    bool nested = has_group_inside(c, op);
    for (int i = 0; i < c->group_count; i++)
      if (c->groups[i]->first_use == op)
        append_barrier_op(c, consumer, IR_OP_MBAR_WAIT, c->groups[i]->ring->full, c->groups[i]->ring->get,
                          ir_read(c->memory, c->groups[i]->ring->get_phase), op->loc);
    if (op->kind == IR_OP_LET && is_duplicable(c, op)) ir_block_append(producer, ir_op_clone(c->memory, op, NULL));
    ir_op *moved = arena_copy(c->memory, op, sizeof *op);
    moved->next = moved->previous = NULL;
    if (nested) {
      ir_op *twin = arena_copy(c->memory, op, sizeof *op);
      twin->expr =
          arena_copy(c->memory, op->expr, sizeof *op->expr * (size_t)op->expr_count); /* a pass may change one */
      twin->next = twin->previous = NULL;
      twin->body = twin->other = moved->body = moved->other = (ir_block){NULL, NULL};
      split_block(c, &op->body, &twin->body, &moved->body);
      split_block(c, &op->other, &twin->other, &moved->other);
      ir_block_append(producer, twin);
    } else {
      name_slots(c, moved);
    }
    ir_block_append(consumer, moved);
  }
  for (int i = 0; i < c->group_count; i++)
    if (c->groups[i]->block == in && !c->groups[i]->release_before) append_release(c, consumer, c->groups[i]);
}

static void mark_read(void *data, ir_op *op, ir_value *value, bool written) {
  bool *read = data;
  (void)op;
  if (!written) read[value->number] = true;
}

static bool drop_lets(ir_block *block, const bool *read) {
  bool dropped = false;
  for (ir_op *op = block->first, *next; op; op = next) {
    next = op->next;
    dropped |= drop_lets(&op->body, read);
    dropped |= drop_lets(&op->other, read);
    if (op->kind != IR_OP_LET || read[op->write[0].value->number]) continue;
    ir_block_remove(block, op);
    dropped = true;
  }
  return dropped;
}

/* Scalars that only the other role reads. */
static void drop_unread(context *c, ir_block *role) {
  bool *read;
  do {
    read = ARENA_ARRAY(c->env->scratch, bool, c->kernel->value_count);
    for (ir_op *op = role->first; op; op = op->next)
      ir_op_visit(op, true, mark_read, read);
  } while (drop_lets(role, read));
}

static void declare_zero(context *c, ir_block *block, ir_value *value) {
  ir_op *declare = ir_op_create(c->memory, IR_OP_DECLARE, (src_loc){0});
  ir_op_add_write(declare, ir_ref_whole(value));
  ir_block_append(block, declare);
  append_set(c, block, value, ir_int(c->memory, 0), (src_loc){0});
}

/* Declarations go in front of what the block already holds. */
static void prepend(ir_block *block, ir_block *front) {
  while (front->last) {
    ir_op *op = front->last;
    ir_block_remove(front, op);
    ir_block_insert_before(block, block->first, op);
  }
}

static ir_op *new_role(context *c, const char *name, int first, int count, int64_t registers) {
  ir_op *role = ir_op_create(c->memory, IR_OP_ROLE, c->kernel->loc);
  role->name = name;
  ir_attr_set(&role->attrs, IR_ATTR_WARP_FIRST, first);
  ir_attr_set(&role->attrs, IR_ATTR_WARP_COUNT, count);
  if (registers) ir_attr_set(&role->attrs, IR_ATTR_REGISTERS, registers);
  return role;
}

bool specialise_warps(ir_kernel *kernel, pass_env *env) {
  int producers = (int)ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, 0);
  if (!producers) return true;
  context state = {.kernel = kernel, .env = env, .memory = env->memory, .value_count = kernel->value_count};
  context *c = &state;
  c->ring_of = ARENA_ARRAY(env->scratch, ring *, kernel->value_count);
  c->consumers = ARENA_ARRAY(env->scratch, bool, kernel->value_count);
  find_consumers(c, &kernel->body, false);
  if (!plan_kernel(c)) return false;
  keep_with_consumer(c, &kernel->body);
  int consumers = (int)ir_attr_get(&kernel->attrs, IR_ATTR_WARPS, 4);
  if (!c->group_count) {
    ir_attr_clear(&kernel->attrs, IR_ATTR_PRODUCERS);
    ir_attr_set(&kernel->attrs, IR_ATTR_THREADS, consumers * 32);
    return diag_remark(env->diagnostics, "specialise-warps", "warps", false, kernel->loc,
                       "%s has no copy that a producer could take over", kernel->name);
  }
  int threads = (producers + consumers) * 32;
  ir_attr_set(&kernel->attrs, IR_ATTR_THREADS, threads);
  register_budget registers = register_budget_of(ir_target_of(kernel->target), consumers, producers);
  bool trades = producers % 4 == 0 && consumers % 4 == 0 && registers.consumer > registers.entry;
  ir_op *producer = new_role(c, "producer", 0, producers, trades ? registers.producer : 0);
  ir_op *consumer = new_role(c, "consumer", producers, consumers, trades ? registers.consumer : 0);
  ir_block body = kernel->body;
  split_block(c, &body, &producer->body, &consumer->body);
  drop_unread(c, &producer->body);
  drop_unread(c, &consumer->body);

  ir_block put = {NULL, NULL}, get = {NULL, NULL};
  kernel->body = (ir_block){NULL, NULL};
  for (int i = 0; i < c->ring_count; i++) {
    ring *g = c->rings[i];
    if (g->stages > 1) {
      declare_zero(c, &put, g->put);
      declare_zero(c, &get, g->get);
    }
    declare_zero(c, &put, g->put_phase);
    declare_zero(c, &get, g->get_phase);
    append_barrier_op(c, &kernel->body, IR_OP_MBAR_INIT, g->full, NULL, ir_int(c->memory, 1), (src_loc){0});
    g->empty->arrivals = g->blocks;
    append_barrier_op(c, &kernel->body, IR_OP_MBAR_INIT, g->empty, NULL, ir_int(c->memory, g->blocks), (src_loc){0});
  }
  prepend(&producer->body, &put);
  prepend(&consumer->body, &get);
  ir_block_append(&kernel->body, ir_op_create(c->memory, IR_OP_FENCE_MBAR_INIT, (src_loc){0}));
  bool clustered = ir_attr_get(&kernel->attrs, IR_ATTR_CLUSTER, 1) > 1;
  ir_op *meet = ir_op_create(c->memory, clustered ? IR_OP_CLUSTER_SYNC : IR_OP_BAR_SYNC, (src_loc){0});
  if (!clustered) {
    ir_attr_set(&meet->attrs, IR_ATTR_ID, 0);
    ir_attr_set(&meet->attrs, IR_ATTR_THREADS, threads);
  }
  ir_block_append(&kernel->body, meet);
  ir_block_append(&kernel->body, producer);
  ir_block_append(&kernel->body, consumer);
  if (clustered) /* nobody leaves while others may still send into it or arrive on its barriers */
    ir_block_append(&kernel->body, ir_op_create(c->memory, IR_OP_CLUSTER_SYNC, (src_loc){0}));
  return true;
}
