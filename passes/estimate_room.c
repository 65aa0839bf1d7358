/* What a block of a scheduled kernel holds at once: registers for tiles, by their lifetimes, and shared memory with
 * all its stages. */
#include "passes/estimate_work.h"

#include "passes/region.h"
#include "passes/tensor_core.h"

enum {
  BARRIER_BYTES = 2048, /* and alignment */
  MOST_COPIES = 4,      /* elements of a small tile that one thread has */
  CHOICE_REGISTERS = 40 /* ones, columns, and their pairs (lower_choice.c) */
};

typedef struct room {
  const ir_kernel *kernel;
  const ir_op *const *dot;
  int dot_count;
  int warps, producers, level;
  arena *scratch;
} room;

/* -- Registers ----------------------------------------------------------------------------------------------------- */

typedef struct lifetime {
  int first, last; /* positions of ops; 0: never */
} lifetime;

typedef struct liveness {
  lifetime *of; /* by value number */
  int position;
} liveness;

static void touch(void *context, ir_op *op, ir_value *value, bool written) {
  liveness *l = context;
  (void)op;
  (void)written;
  if (value->space != IR_TILE) return;
  lifetime *life = &l->of[value->number];
  if (!life->first) life->first = l->position;
  life->last = l->position;
}

/* Positions ops in program order. What was there before a loop and is touched in it lives to the loop's end. */
static void live_block(liveness *l, const ir_block *block, int value_count) {
  for (ir_op *op = block->first; op; op = op->next) {
    l->position++;
    bool descends = op->kind == IR_OP_FOR || op->kind == IR_OP_WHILE || op->kind == IR_OP_IF;
    ir_op_visit(op, !descends, touch, l);
    if (!descends) continue;
    int start = l->position;
    live_block(l, &op->body, value_count);
    live_block(l, &op->other, value_count);
    l->position++;
    for (int i = 0; op->kind != IR_OP_IF && i < value_count; i++) {
      if (l->of[i].first && l->of[i].first < start && l->of[i].last > start) l->of[i].last = l->position;
    }
  }
}

/* Reads and writes of a tile. */
typedef struct uses {
  const ir_value *tile;
  int count;
  int short_lived; /* those by an elementwise loop that computes it and by ops behind that which take it up */
} uses;

static void count_use(void *context, ir_op *op, ir_value *value, bool written) {
  uses *u = context;
  (void)op, (void)written;
  u->count += value == u->tile;
}

/* By an elementwise loop and a reduction right behind that: an element goes into the sum as it comes. */
static bool count_summed(void *context, ir_block *block, ir_op *op) {
  uses *u = context;
  (void)block;
  if (op->kind == IR_OP_REDUCE && op->read[0].value == u->tile && op->previous &&
      op->previous->kind == IR_OP_PARALLEL && ir_op_writes(op->previous, u->tile))
    u->short_lived += 2;
  return true;
}

static bool is_elementwise(const ir_op *op) {
  return op->kind == IR_OP_PARALLEL || op->kind == IR_OP_REDUCE ||
         (op->kind == IR_OP_COPY && op->read[0].value->space == IR_TILE && op->write[0].value->space == IR_TILE);
}

/* By an elementwise loop and all elementwise ops right behind that: an element goes there as it comes. */
static bool count_streamed(void *context, ir_block *block, ir_op *op) {
  uses *u = context, own = {u->tile, 0, 0};
  (void)block;
  if (op->kind != IR_OP_PARALLEL || !ir_op_writes(op, u->tile) || ir_op_reads(op, u->tile)) return true;
  ir_op_visit(op, true, count_use, &own);
  for (ir_op *later = op->next; later && is_elementwise(later) && !ir_op_writes(later, u->tile); later = later->next)
    ir_op_visit(later, true, count_use, &own);
  u->short_lived += own.count;
  return true;
}

/* Whether the tile has no use but those: it is never there as a whole. Only beside dots do further ops count. */
static bool is_never_whole(const room *c, const ir_value *tile) {
  uses u = {tile, 0, 0};
  ir_walk((ir_block *)&c->kernel->body, c->dot_count ? count_streamed : count_summed, &u);
  for (ir_op *op = c->kernel->body.first; op && u.short_lived; op = op->next)
    ir_op_visit(op, true, count_use, &u);
  return u.short_lived > 0 && u.count == u.short_lived;
}

/* Registers of one thread for the tile. A row vector is held by every thread of a quad; what a decode leaves for a dot
 * exists a few steps at a time. Where nobody sets a limit, ptxas keeps what elementwise loops unpacked; where somebody
 * does, what rows were reduced to counts too, of which every thread has a copy. */
static double tile_registers(const room *c, const ir_value *tile, bool limited) {
  double elements = (double)ir_element_count(tile), words = elements * ir_bits(tile->type) / 32;
  if (tile->rank == 1 && tile->type == IR_PRED) return 0; /* in predicates */
  if (!c->dot_count && !limited && ir_bits(tile->type) == 16) words = elements;
  if (limited && elements < c->warps * 32.0) return elements < MOST_COPIES ? elements : MOST_COPIES;
  if (tile->rank == 1 && c->dot_count) return elements / (c->warps * 8.0);
  const ir_op *dot = work_reader(c->dot, c->dot_count, tile);
  for (const ir_op *op = dot ? dot->previous : NULL; op; op = op->previous) {
    if (op->kind != IR_OP_DECODE || op->write[0].value != tile ||
        ir_attr_get(&op->attrs, IR_ATTR_PLACE, 0) != IR_PLACE_OPERAND)
      continue;
    dot_shape d = dot_shape_of(dot);
    double blocks = d.m / (16.0 * (double)ir_attr_get(&dot->attrs, IR_ATTR_WARPS_M, 1)),
           steps = (double)d.k / d.parts / tensor_core_depth(tile->type), all = words / (c->warps * 32.0);
    bool at_once = ir_attr_get(&dot->attrs, IR_ATTR_INSTRUCTION, IR_INSTRUCTION_FMA) == IR_INSTRUCTION_MMA;
    if (d.chooses) return all / 16 + CHOICE_REGISTERS;
    double ahead = op->read[0].value->space == IR_TILE ? 0.25 : 0.75; /* registers that have codes wait for nothing */
    double few = at_once ? 32 + ahead * blocks * steps  /* a step of one block at a time, and what ptxas takes ahead */
                         : blocks * 4 * 8 + blocks * 8; /* two sets of four steps, and raw codes */
    return all < few ? all : few;
  }
  for (int i = 0; i < c->dot_count; i++) /* sums of a group, beside those of all */
    if (c->dot[i]->write[0].value == tile && dot_shape_of(c->dot[i]).scale) return 2 * words / (c->warps * 32.0);
  if (is_never_whole(c, tile)) return 0;
  return words / (c->warps * 32.0);
}

static int count_registers(const room *c, bool limited) {
  const ir_kernel *kernel = c->kernel;
  liveness l = {ARENA_ARRAY(c->scratch, lifetime, kernel->value_count), 0};
  live_block(&l, &kernel->body, kernel->value_count);
  double most = 0;
  for (int i = 0; i < kernel->value_count; i++) {
    if (!l.of[i].first) continue;
    double live = 0; /* the peak is where some tile begins */
    for (int j = 0; j < kernel->value_count; j++) {
      if (l.of[j].first && l.of[j].first <= l.of[i].first && l.of[j].last >= l.of[i].first)
        live += tile_registers(c, kernel->values[j], limited);
    }
    if (live > most) most = live;
  }
  return (int)(most + 0.999);
}

/* Whether some copy between a tile and memory goes element by element where sizes turn out odd. */
static bool find_narrow(void *context, ir_block *block, ir_op *op) {
  const room *c = context;
  (void)block;
  if (op->kind != IR_OP_COPY) return true;
  bool loads = op->read[0].value->space == IR_GLOBAL;
  const ir_ref *ref = loads ? &op->read[0] : &op->write[0];
  const ir_value *tile = loads ? op->write[0].value : op->read[0].value;
  return ref->value->space != IR_GLOBAL || tile->space != IR_TILE || region_access_bytes(c->scratch, ref) >= 4;
}

/* -- Shared memory ------------------------------------------------------------------------------------------------- */

static int64_t aligned_bytes(int64_t elements, ir_type type) {
  return ((elements * ir_bits(type) + 7) / 8 + 1023) / 1024 * 1024;
}

/* The further slots that the stages of loops ask for, and the staging that stage-stores will add. */
static int64_t extra_bytes(const room *c, const ir_block *block) {
  int64_t bytes = 0;
  for (const ir_op *op = block->first; op; op = op->next) {
    int64_t stages = op->kind == IR_OP_FOR ? ir_attr_get(&op->attrs, IR_ATTR_STAGES, 1) : 1;
    for (const ir_op *copy = stages > 1 ? op->body.first : NULL; copy; copy = copy->next) {
      if (copy->kind != IR_OP_COPY || copy->write[0].value->space != IR_SHARED ||
          copy->read[0].value->space != IR_GLOBAL || ir_attr_get(&copy->attrs, IR_ATTR_ENGINE, 0) == IR_ENGINE_SIMT)
        continue;
      bytes += (stages - 1) * aligned_bytes(ir_element_count(copy->write[0].value), copy->write[0].value->type);
    }
    if (op->kind == IR_OP_COPY && op->write[0].value->space == IR_SHARED) /* of a tile, beside that of the next */
      bytes += (ir_attr_get(&op->attrs, IR_ATTR_STAGES, 1) - 1) *
               aligned_bytes(ir_element_count(op->write[0].value), op->write[0].value->type);
    if (op->kind == IR_OP_COPY && c->producers && c->level >= 2 && op->read[0].value->space == IR_TILE &&
        op->write[0].value->space == IR_GLOBAL && !ir_attr_get(&op->attrs, IR_ATTR_REDUCE, 0) &&
        !ir_attr_get(&op->attrs, IR_ATTR_DIRECT, 0) && !region_tma_refusal(c->scratch, &op->write[0])) {
      int64_t parts = ir_attr_get(&op->attrs, IR_ATTR_SLICES, 1), buffers = parts > 1 ? 2 : 1;
      bytes += buffers * aligned_bytes(ir_element_count(op->read[0].value) / parts, op->write[0].value->type);
    }
    bytes += extra_bytes(c, &op->body) + extra_bytes(c, &op->other);
  }
  return bytes;
}

static int64_t count_shared(const room *c) {
  int64_t bytes = BARRIER_BYTES + decode_table_bytes(c->kernel);
  for (int i = 0; i < c->kernel->value_count; i++) {
    const ir_value *value = c->kernel->values[i];
    if (value->space == IR_SHARED) bytes += aligned_bytes(ir_element_count(value), value->type);
  }
  for (int i = 0; i < c->dot_count; i++) { /* what warps that share k exchange */
    const ir_value *sums = c->dot[i]->write[0].value;
    if (sums->rank == 3) bytes += aligned_bytes(ir_element_count(sums), sums->type);
  }
  return bytes + extra_bytes(c, &c->kernel->body);
}

void work_room(ir_kernel *kernel, const ir_op *const *dot, int dot_count, int level, arena *scratch, block_work *out) {
  room r = {.kernel = kernel, .dot = dot, .dot_count = dot_count, .level = level, .scratch = scratch};
  r.warps = (int)ir_attr_get(&kernel->attrs, IR_ATTR_WARPS, 4);
  r.producers = (int)ir_attr_get(&kernel->attrs, IR_ATTR_PRODUCERS, 0);
  out->has_dots = dot_count > 0;
  out->registers = count_registers(&r, false);
  out->least_registers = count_registers(&r, true);
  out->is_narrow = !ir_walk(&kernel->body, find_narrow, &r);
  out->shared_bytes = count_shared(&r);
}
