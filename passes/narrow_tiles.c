/* narrow-tiles: keep a tile in the narrow type of the tensor that it comes from or goes to.
 *
 *   before  %x <- copy %X[..]  (f16)            after  %x_1 <- copy %X[..]  (an f16 tile)
 *           %sum <- %x * %x                            %sum <- %x_1 * %x_1
 *           %x <- %x * %scale                          %x_1 <- %x_1 * %scale
 *           %Y[..] <- copy %x  (f16)                   %Y[..] <- copy %x_1
 *
 * The names stand for loops over elements, which read elements of any float type as f32, so no value changes: what was
 * loaded is exact in its tensor's type, and what only stores read is rounded where it is computed rather than where it
 * is stored. Such a tile takes half the registers, so that more blocks have loads in flight.
 *
 * The life of a tile is divided where all of it is written, and each part is decided for itself:
 *
 *   loaded   a copy from a tensor of a 16-bit float begins it; elementwise loops, reductions and copies read it
 *   stored   an elementwise loop begins it; only copies to tensors of one 16-bit float type read it
 *
 * A part ends where it began, in one block of ops, and nothing may read the tile behind it. Kernels with dots are left
 * alone: their tiles are fragments of instructions. Small tiles too, which are a register or two. */
#include "passes/parallel_access.h"
#include "passes/pass.h"

#include <math.h>
#include <stdlib.h>

enum { SMALL_TILE = 1024, NARROW_BITS = 16, EXACT_INTEGER = 256, MAX_ACCESSES = 64 };

typedef struct narrower {
  ir_kernel *kernel;
  pass_env *env;
  ir_value **narrow; /* by the tile's number: the tile that last stood for a part of it */
  int value_count;   /* without the tiles that the pass makes */
} narrower;

/* A block and the op that it is the body of; NULL for the kernel's own block. */
typedef struct scope {
  const struct scope *outer;
  ir_op *op;
} scope;

/* -- What ops do to a tile ----------------------------------------------------------------------------------------- */

static bool writes_all(ir_op *parallel, const ir_value *tile) {
  parallel_access access[MAX_ACCESSES];
  int count = parallel_accesses(parallel, access, MAX_ACCESSES), writes = 0;
  if (count == MAX_ACCESSES) return false;
  bool full = true;
  for (int i = 0; i < count; i++) {
    if (access[i].tile != tile || !access[i].written) continue;
    writes++;
    full &= parallel_access_is_full(parallel, &access[i]);
  }
  if (writes != 1 || !full) return false;
  for (ir_op *op = parallel->body.first; op; op = op->next) { /* what reads the new elements is not told apart */
    if (op->kind != IR_OP_SET || op->write[0].value != tile) continue;
    for (ir_op *later = op->next; later; later = later->next)
      if (ir_op_reads(later, tile)) return false;
    return true;
  }
  return false;
}

/* Whether every element has a new value behind the op, whatever it reads. */
static bool begins(ir_op *op, const ir_value *tile) {
  if (op->kind == IR_OP_PARALLEL) return writes_all(op, tile);
  bool whole = op->kind == IR_OP_COPY || op->kind == IR_OP_FILL;
  return whole && op->write[0].value == tile && !op->write[0].count && !ir_attr_get(&op->attrs, IR_ATTR_REDUCE, 0) &&
         !ir_attr_get(&op->attrs, IR_ATTR_ACCUMULATE, 0);
}

typedef enum fate { FATE_KEPT, FATE_READ, FATE_WRITTEN } fate;

static bool is_control(const ir_op *op) {
  return op->kind == IR_OP_FOR || op->kind == IR_OP_WHILE || op->kind == IR_OP_IF;
}

typedef struct search {
  const ir_value *tile;
  bool found;
} search;

static void look(void *context, ir_op *op, ir_value *value, bool written) {
  (void)op;
  search *s = context;
  s->found |= value == s->tile && !written;
}

/* Whether the expressions of a control op read the tile. */
static bool tests(ir_op *op, const ir_value *tile) {
  search s = {tile, false};
  ir_op_visit(op, false, look, &s);
  return s.found;
}

static fate fate_in(ir_block *block, const ir_value *tile);

/* What becomes of the value that the tile has ahead of the op. */
static fate fate_at(ir_op *op, const ir_value *tile) {
  if (is_control(op)) {
    fate body = fate_in(&op->body, tile), other = fate_in(&op->other, tile);
    if (body == FATE_READ || other == FATE_READ || tests(op, tile)) return FATE_READ;
    return body == FATE_WRITTEN && other == FATE_WRITTEN ? FATE_WRITTEN : FATE_KEPT;
  }
  if (ir_op_reads(op, tile)) return FATE_READ;
  if (!ir_op_writes(op, tile)) return FATE_KEPT;
  return begins(op, tile) ? FATE_WRITTEN : FATE_READ; /* some elements stay */
}

static fate fate_in(ir_block *block, const ir_value *tile) {
  for (ir_op *op = block->first; op; op = op->next) {
    fate f = fate_at(op, tile);
    if (f != FATE_KEPT) return f;
  }
  return FATE_KEPT;
}

static bool is_read_behind(const ir_op *op, const scope *s, const ir_value *tile) {
  for (ir_op *later = op->next; later; later = later->next) {
    fate f = fate_at(later, tile);
    if (f != FATE_KEPT) return f == FATE_READ;
  }
  if (!s->op) return false;
  if (s->op->kind != IR_OP_IF && fate_in(&s->op->body, tile) == FATE_READ) return true;
  return is_read_behind(s->op, s->outer, tile);
}

/* -- Parts of a life ----------------------------------------------------------------------------------------------- */

static bool is_exact(ir_type narrow, ir_type wide) {
  const ir_type_info *n = ir_type_of(narrow), *w = ir_type_of(wide);
  return n->class == IR_CLASS_FLOAT && w->class == IR_CLASS_FLOAT && n->bits == NARROW_BITS && w->bits > n->bits &&
         n->exponent_bits <= w->exponent_bits && n->mantissa_bits <= w->mantissa_bits;
}

static bool is_exact_fill(const ir_op *copy) {
  if (!copy->expr_count) return true;
  const ir_expr *fill = copy->expr[0];
  int64_t integer;
  if (ir_is_constant(fill, &integer)) return llabs(integer) <= EXACT_INTEGER;
  if (fill->kind != IR_EXPR_FLOAT) return false;
  return isinf(fill->float_value) ||
         (fabs(fill->float_value) <= EXACT_INTEGER && fill->float_value == trunc(fill->float_value));
}

static bool may_be_narrow(const ir_value *tile) {
  return tile->space == IR_TILE && ir_element_count(tile) >= SMALL_TILE;
}

/* The type that what the op leaves in the tile is exact in; IR_TYPE_NONE when there is none. */
static ir_type loaded_type(ir_op *op) {
  if (op->kind != IR_OP_COPY || !begins(op, op->write[0].value)) return IR_TYPE_NONE;
  const ir_value *from = op->read[0].value, *tile = op->write[0].value;
  bool narrow = from->space == IR_GLOBAL && may_be_narrow(tile) && is_exact(from->type, tile->type);
  return narrow && is_exact_fill(op) ? from->type : IR_TYPE_NONE;
}

/* Atomic additions are made element by element, from a register each. */
static bool reads_elements(ir_op *op, const ir_value *tile) {
  for (int i = 0; i < op->read_count; i++) {
    if (op->read[i].value != tile) continue;
    bool copies = op->kind == IR_OP_COPY && !ir_attr_get(&op->attrs, IR_ATTR_REDUCE, 0);
    return !op->read[i].count && (copies || op->kind == IR_OP_REDUCE);
  }
  return true; /* in expressions */
}

/* Whether all that reads the tile in the op can read the narrow one. `stored`: what copies to tensors must have; none
 * for what was loaded. */
static bool can_read(ir_op *op, const ir_value *tile, ir_type stored) {
  if (is_control(op)) {
    for (int i = 0; i < 2; i++)
      for (ir_op *inner = i ? op->other.first : op->body.first; inner; inner = inner->next)
        if (!can_read(inner, tile, stored)) return false;
    return !stored || !tests(op, tile);
  }
  if (!ir_op_reads(op, tile)) return true;
  if (!stored) return reads_elements(op, tile);
  return op->kind == IR_OP_COPY && op->read[0].value == tile && !op->read[0].count &&
         op->write[0].value->space == IR_GLOBAL && op->write[0].value->type == stored &&
         !ir_attr_get(&op->attrs, IR_ATTR_REDUCE, 0);
}

/* The op that ends what begins at `first`: the next one that writes all of the tile, NULL behind the last op of the
 * block. False when something in between cannot have the narrow tile. */
static bool find_end(ir_op *first, const scope *s, const ir_value *tile, ir_type stored, ir_op **end) {
  ir_op *last = first;
  for (*end = first->next; *end; last = *end, *end = (*end)->next) {
    if (!can_read(*end, tile, stored)) return false;
    if (begins(*end, tile)) return true;
    if (ir_op_writes(*end, tile)) return false;
  }
  return !is_read_behind(last, s, tile);
}

/* The first tensor that the tile is copied to from the op on; NULL when there is none. */
static const ir_value *stored_to(const ir_op *op, const ir_value *tile) {
  const ir_value *tensor = NULL;
  for (; op && !tensor; op = op->next) {
    bool stores = op->kind == IR_OP_COPY && op->read[0].value == tile && op->write[0].value->space == IR_GLOBAL;
    tensor = stores ? op->write[0].value : stored_to(op->body.first, tile);
    if (!tensor) tensor = stored_to(op->other.first, tile);
  }
  return tensor;
}

/* The type that what the loop computes is stored as. */
static ir_type stored_type(const ir_op *parallel, const ir_value *tile) {
  const ir_value *tensor = stored_to(parallel->next, tile);
  return tensor && is_exact(tensor->type, tile->type) ? tensor->type : IR_TYPE_NONE;
}

/* -- Rewriting ----------------------------------------------------------------------------------------------------- */

/* The tile in the narrow type: one for all parts of its life that follow each other with this type. */
static ir_value *narrow_of(narrower *n, ir_value *tile, ir_type type) {
  ir_value *narrow = n->narrow[tile->number];
  if (narrow && narrow->type == type) return narrow;
  narrow = ir_value_create(n->env->memory, n->kernel, IR_TILE, type, tile->name, tile->loc);
  narrow->rank = tile->rank;
  for (int d = 0; d < tile->rank; d++)
    narrow->extent[d] = tile->extent[d];
  n->narrow[tile->number] = narrow;
  return narrow;
}

typedef struct replacement {
  const ir_value *from;
  ir_value *to;
} replacement;

static bool rename_writes(void *context, ir_block *block, ir_op *op) {
  const replacement *r = context;
  (void)block;
  for (int i = 0; i < op->write_count; i++)
    if (op->write[i].value == r->from) op->write[i].value = r->to;
  return true;
}

static void rename_write(ir_op *op, const ir_value *from, ir_value *to) {
  replacement r = {from, to};
  rename_writes(&r, NULL, op);
  ir_walk(&op->body, rename_writes, &r);
}

/* Puts a clone with the tile replaced in the op's place. Returns it. */
static ir_op *replace_in(narrower *n, ir_block *block, ir_op *op, const ir_value *tile, ir_value *narrow) {
  ir_value **map = ARENA_ARRAY(n->env->scratch, ir_value *, n->kernel->value_count);
  map[tile->number] = narrow;
  ir_op *clone = ir_op_clone(n->env->memory, op, map);
  ir_block_insert_before(block, op, clone);
  ir_block_remove(block, op);
  return clone;
}

/* Narrows what begins at `first`. */
static void narrow_part(narrower *n, ir_block *block, const scope *s, ir_op *first, ir_value *tile, ir_type type,
                        bool is_stored) {
  ir_op *end;
  if (!type || !find_end(first, s, tile, is_stored ? type : IR_TYPE_NONE, &end)) return;
  ir_value *narrow = narrow_of(n, tile, type);
  rename_write(first, tile, narrow);
  for (ir_op *op = first->next, *next; op != end; op = next) {
    next = op->next;
    if (ir_op_reads(op, tile)) replace_in(n, block, op, tile, narrow);
  }
  if (end && ir_op_reads(end, tile)) /* it reads this part, and begins the next */
    rename_write(replace_in(n, block, end, tile, narrow), narrow, tile);
  diag_remark(n->env->diagnostics, "narrow-tiles", "narrow", true, first->loc, "'%s' is held as %s, what it is %s",
              tile->name, ir_type_of(type)->name, is_stored ? "stored as" : "loaded from");
}

static void narrow_block(narrower *n, ir_block *block, const scope *s) {
  for (ir_op *op = block->first; op; op = op->next) {
    if (is_control(op)) {
      scope inner = {s, op};
      narrow_block(n, &op->body, &inner);
      narrow_block(n, &op->other, &inner);
    } else if (op->kind == IR_OP_COPY) {
      narrow_part(n, block, s, op, op->write[0].value, loaded_type(op), false);
    }
    for (int i = 0; i < n->value_count && op->kind == IR_OP_PARALLEL; i++) {
      ir_value *tile = n->kernel->values[i];
      if (may_be_narrow(tile) && ir_op_writes(op, tile) && writes_all(op, tile))
        narrow_part(n, block, s, op, tile, stored_type(op, tile), true);
    }
  }
}

static bool is_no_dot(void *context, ir_block *block, ir_op *op) {
  (void)context, (void)block;
  return op->kind != IR_OP_DOT;
}

bool narrow_tiles(ir_kernel *kernel, pass_env *env) {
  if (!ir_walk(&kernel->body, is_no_dot, NULL)) return true;
  narrower n = {kernel, env, ARENA_ARRAY(env->scratch, ir_value *, kernel->value_count), kernel->value_count};
  scope whole = {NULL, NULL};
  narrow_block(&n, &kernel->body, &whole);
  ir_drop_unused(kernel, env->scratch);
  return true;
}
