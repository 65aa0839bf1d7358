/* Copies by the threads themselves: tiles to and from memory, cp.async, and plain copies between memories.
 *
 * All of them are one loop: a layout says which elements a thread moves, the widest access that layout, buffer and
 * tensor allow says how many at once, and every access is inside or outside the tensor as a whole. Where a size that is
 * known at the launch only decides that, there are two loops, and the size chooses. Copies without a tile get a
 * coalesced layout of the buffer's extents. */
#include "passes/lower.h"
#include "passes/region.h"

enum { MAX_ELEMENTS = 32, MAX_UNROLLED = 4, MAX_ASYNC = 16 };

typedef struct transfer {
  lower *l;
  const ir_op *op;
  tile_layout layout; /* who moves what; dimensions are those of the tile or buffer */
  int rank;
  int vector;       /* elements an access */
  int accesses;     /* of a group: more than one where it takes several to fill a word of a tile */
  thread_part part; /* of the tile that is stored, in groups */
  const ir_expr *group;
  const ir_expr *first; /* of cp.async: byte offset of the tensor where the thread's first group begins */
} transfer;

/* Coordinates in `ref`'s value of element `coord` of the moved extents: starts plus coordinates along the spanned
 * dimensions. */
static void place(transfer *t, const ir_ref *ref, const ir_expr *const *coord, const ir_expr **at) {
  lower *l = t->l;
  int next = 0;
  for (int d = 0; d < ref->value->rank; d++) {
    if (!ref->count)
      at[d] = coord[d];
    else if (ref->span[d])
      at[d] = thread_add(l, ref->start[d], coord[next++]);
    else
      at[d] = ref->start[d];
  }
}

static const ir_expr *register_coord(transfer *t, int d, int access, const ir_expr *group) {
  return thread_register_coord(t->l, &t->layout, d, t->vector * t->accesses, t->vector * access, group);
}

/* In the part of the tile that moves. */
static void element_coords(transfer *t, int access, const ir_expr **coord) {
  for (int d = 0; d < t->rank; d++) {
    const ir_expr *at = register_coord(t, d, access, t->group);
    if (t->part.first[d]) at = ir_binary(t->l->memory, IR_EXPR_SUB, at, thread_int(t->l, t->part.first[d]));
    coord[d] = thread_add(t->l, thread_own_coord(t->l, &t->layout, d), at);
  }
}

/* Whether the element at these coordinates lies in the part of the tile that moves. */
static const ir_expr *is_in_part(transfer *t, const ir_expr *const *coord) {
  lower *l = t->l;
  const ir_expr *inside = ir_bool(l->memory, true);
  const ir_ref *tile = &t->op->read[0];
  for (int d = 0; d < t->rank && !t->part.is_whole; d++) {
    inside = ir_binary(l->memory, IR_EXPR_AND, inside, ir_binary(l->memory, IR_EXPR_GE, coord[d], thread_int(l, 0)));
    inside = ir_binary(l->memory, IR_EXPR_AND, inside,
                       ir_binary(l->memory, IR_EXPR_LT, coord[d], thread_int(l, tile->span[d])));
  }
  return inside;
}

/* The widest access of one side, in elements. */
static int side_vector(transfer *t, const ir_ref *ref) {
  int bits = ir_bits(ref->value->type);
  if (ref->value->space == IR_GLOBAL) return region_access_bytes(t->l->memory, ref) * 8 / bits;
  if (ref->value->space == IR_SHARED) {
    if (ref->count) { /* a region of a buffer: only as wide as its start allows */
      int inner = ref->value->rank - 1;
      int64_t divisor = ir_known_divisor(ref->start[inner]);
      int vector = shared_layout_vector(ref->value->shared);
      while (vector > 1 && divisor % vector)
        vector /= 2;
      return ref->span[inner] ? vector : 1;
    }
    return shared_layout_vector(ref->value->shared);
  }
  int vector = MAX_ELEMENTS, inner = ref->value->rank - 1;
  while (ref->count &&
         (ir_known_divisor(ref->start[inner]) % vector || ref->span[inner] % vector)) /* all of it or none */
    vector /= 2;
  return vector;
}

static const ir_expr *fill_value(transfer *t) {
  if (!t->op->expr_count) return NULL;
  return ir_is_zero(t->op->expr[0]) ? NULL : t->op->expr[0];
}

static bool is_of_group(const transfer *t, const ir_expr *e) {
  if (e->kind == IR_EXPR_INT || ir_expr_equal(e, t->group)) return true;
  for (int i = 0; i < e->arg_count; i++)
    if (!is_of_group(t, e->args[i])) return false;
  return e->arg_count > 0;
}

/* The terms of a coordinate that are the same for all groups (`moving` false), or those that are not; NULL: none. */
static const ir_expr *terms_of(const transfer *t, const ir_expr *coord, bool moving) {
  if (coord->kind != IR_EXPR_ADD) return is_of_group(t, coord) == moving ? coord : NULL;
  const ir_expr *a = terms_of(t, coord->args[0], moving), *b = terms_of(t, coord->args[1], moving);
  return !a ? b : !b ? a : thread_add(t->l, a, b);
}

/* Whether the coordinate is below the extent, as a comparison of what an unrolled loop makes a constant with what is
 * the same for all of its accesses. */
static const ir_expr *is_below(transfer *t, const ir_expr *coord, const ir_expr *extent) {
  const ir_expr *moving = terms_of(t, coord, true), *same = terms_of(t, coord, false);
  if (t->l->has_dots) return ir_binary(t->l->memory, IR_EXPR_LT, coord, extent);
  if (moving && same) extent = ir_binary(t->l->memory, IR_EXPR_SUB, extent, same);
  return ir_binary(t->l->memory, IR_EXPR_LT, moving ? moving : same, extent);
}

/* The predicate of an access to global memory; true for shared memory. */
static const ir_expr *guard_of(transfer *t, const ir_ref *ref, const ir_expr *const *at) {
  lower *l = t->l;
  if (ref->value->space != IR_GLOBAL) return ir_bool(l->memory, true);
  const ir_expr *inside = ir_bool(l->memory, true);
  for (int d = 0; d < ref->value->rank; d++) {
    int64_t place_in, extent;
    const ir_expr *end = ref->value->extent[d];
    bool known = ir_is_constant(at[d], &place_in) && ir_is_constant(end, &extent);
    if (known && place_in >= 0 && place_in < extent) continue;
    inside = ir_binary(l->memory, IR_EXPR_AND, inside, is_below(t, at[d], end));
  }
  for (int d = 0; d < ref->count; d++)
    if (region_may_be_negative(l->kernel, ref->start[d]))
      inside = ir_binary(l->memory, IR_EXPR_AND, inside, ir_binary(l->memory, IR_EXPR_GE, at[d], thread_int(l, 0)));
  return inside;
}

static void add_registers(ir_op *op, bool written, ir_value *registers, const ir_expr *word) {
  ir_ref ref = ir_ref_whole(registers);
  ref.count = 1;
  ref.start[0] = word;
  if (written)
    ir_op_add_write(op, ref);
  else
    ir_op_add_read(op, ref);
}

/* registers[word ..] = `bytes` bytes of `ref` at the coordinates. */
static void load(transfer *t, const ir_ref *ref, const ir_expr *const *at, const ir_expr *predicate,
                 ir_value *registers, const ir_expr *word, int bytes) {
  lower *l = t->l;
  bool shared = ref->value->space == IR_SHARED;
  const ir_expr *address =
      shared ? thread_shared_address(l, ref->value, ref->slot, at) : thread_global_offset(l, ref->value, at);
  ir_op *op = thread_op(l, shared ? IR_OP_LD_SHARED : IR_OP_LD_GLOBAL);
  add_registers(op, true, registers, word);
  ir_ref from = ir_ref_whole(ref->value);
  from.slot = ref->slot;
  ir_op_add_read(op, from);
  ir_op_add_expr(l->memory, op, address);
  ir_op_add_expr(l->memory, op, predicate);
  ir_attr_set(&op->attrs, IR_ATTR_WIDTH, bytes);
}

static void store(transfer *t, const ir_ref *ref, const ir_expr *const *at, const ir_expr *predicate,
                  ir_value *registers, const ir_expr *word, int bytes) {
  lower *l = t->l;
  bool shared = ref->value->space == IR_SHARED;
  const ir_expr *address =
      shared ? thread_shared_address(l, ref->value, ref->slot, at) : thread_global_offset(l, ref->value, at);
  ir_op *op = thread_op(l, shared ? IR_OP_ST_SHARED : IR_OP_ST_GLOBAL);
  ir_ref to = ir_ref_whole(ref->value);
  to.slot = ref->slot;
  ir_op_add_write(op, to);
  add_registers(op, false, registers, word);
  ir_op_add_expr(l->memory, op, address);
  ir_op_add_expr(l->memory, op, predicate);
  ir_attr_set(&op->attrs, IR_ATTR_WIDTH, bytes);
}

/* `count` elements of `from` (starting at word `from_word`) converted into the words of `to`. */
static void convert_words(lower *l, ir_value *to, const ir_expr *to_word, ir_value *from, const ir_expr *from_word,
                          int count, const ir_expr *predicate, const ir_expr *fill) {
  int to_per = thread_per_word(to->type), from_per = thread_per_word(from->type);
  for (int first = 0; first < count; first += to_per) {
    const ir_expr *values[MAX_ELEMENTS];
    int n = count - first < to_per ? count - first : to_per;
    for (int i = 0; i < n; i++) {
      int element = first + i;
      values[i] =
          thread_read_element(l, from, thread_add(l, from_word, thread_int(l, element / from_per)), element % from_per);
      if (fill)
        values[i] =
            ir_ternary(l->memory, IR_EXPR_SELECT, predicate, values[i], ir_cast(l->memory, values[i]->type, fill));
    }
    thread_set_word(l, to, thread_add(l, to_word, thread_int(l, first / to_per)), thread_pack(l, to->type, values, n));
  }
}

static int words_of(ir_type type, int elements) {
  int bits = ir_bits(type);
  return bits > 32 ? elements : (elements * bits + 31) / 32;
}

/* Word index of element 0 of the group, for registers of `type`. */
static const ir_expr *group_word(transfer *t, ir_type type) {
  int bits = ir_bits(type), unit = t->vector * t->accesses, words = bits > 32 ? unit : unit * bits / 32;
  return words ? thread_mul(t->l, t->group, thread_int(t->l, words)) : NULL;
}

/* What an access loaded, in its place of a word. */
static const ir_expr *part_of(lower *l, ir_value *raw, int access, int bits) {
  return ir_binary(l->memory, IR_EXPR_SHL, thread_word(l, raw, thread_int(l, access)), thread_int(l, access * bits));
}

/* memory -> a word of a tile, by accesses that each fill a part of it */
static void load_word(transfer *t, const ir_ref *from, ir_value *tile) {
  lower *l = t->l;
  ir_type source = from->value->type;
  const ir_expr *fill = fill_value(t), *values[MAX_ELEMENTS], *whole = NULL;
  int bits = t->vector * ir_bits(source);
  bool is_raw = source == tile->type && !fill;
  ir_value *raw = thread_array(l, from->value->name, source, t->accesses * thread_per_word(source));
  for (int k = 0; k < t->accesses; k++) {
    const ir_expr *coord[IR_MAX_RANK], *at[IR_MAX_RANK];
    element_coords(t, k, coord);
    place(t, from, coord, at);
    const ir_expr *predicate = guard_of(t, from, at);
    if (fill) predicate = thread_let(l, "inside", predicate);
    load(t, from, at, predicate, raw, thread_int(l, k), bits / 8);
    if (is_raw) {
      const ir_expr *part = part_of(l, raw, k, bits);
      whole = whole ? ir_binary(l->memory, IR_EXPR_OR, whole, part) : part;
    }
    for (int i = 0; i < t->vector && !is_raw; i++) {
      const ir_expr *value = thread_read_element(l, raw, thread_int(l, k), i);
      if (fill) value = ir_ternary(l->memory, IR_EXPR_SELECT, predicate, value, ir_cast(l->memory, value->type, fill));
      values[k * t->vector + i] = value;
    }
  }
  if (!is_raw) whole = thread_pack(l, tile->type, values, t->accesses * t->vector);
  thread_set_word(l, thread_registers(l, tile), group_word(t, tile->type), whole);
}

/* memory -> tile */
static void load_group(transfer *t, const ir_ref *from, ir_value *tile) {
  lower *l = t->l;
  const ir_expr *coord[IR_MAX_RANK], *at[IR_MAX_RANK];
  element_coords(t, 0, coord);
  place(t, from, coord, at);
  ir_type source = from->value->type;
  ir_value *registers = thread_registers(l, tile);
  int bytes = t->vector * ir_bits(source) / 8;
  const ir_expr *predicate = guard_of(t, from, at), *fill = fill_value(t);
  const ir_expr *word = group_word(t, tile->type);
  if (source == tile->type && !fill && word && bytes >= 4) {
    load(t, from, at, predicate, registers, word, bytes);
    return;
  }
  ir_value *raw = thread_array(l, from->value->name, source, words_of(source, t->vector) * thread_per_word(source));
  predicate = thread_let(l, "inside", predicate);
  load(t, from, at, predicate, raw, thread_int(l, 0), bytes);
  if (word && source == tile->type && bytes >= 4 && ir_bits(source) < 32) { /* whole words, one way or the other */
    const ir_expr *fills[MAX_ELEMENTS];
    int per_word = thread_per_word(source);
    for (int i = 0; i < per_word; i++)
      fills[i] = ir_cast(l->memory, ir_compute_type(source), fill);
    const ir_expr *filled = thread_pack(l, source, fills, per_word);
    for (int i = 0; i < words_of(source, t->vector); i++) {
      const ir_expr *loaded = thread_word(l, raw, thread_int(l, i));
      thread_set_word(l, registers, thread_add(l, word, thread_int(l, i)),
                      ir_ternary(l->memory, IR_EXPR_SELECT, predicate, loaded, filled));
    }
    return;
  }
  if (word) {
    convert_words(l, registers, word, raw, thread_int(l, 0), t->vector, predicate, fill);
    return;
  }
  /* Narrower than a word: change some elements of it. */
  int per_word = thread_per_word(tile->type), per_group = t->vector;
  const ir_expr *index = ir_binary(l->memory, IR_EXPR_DIV, t->group, thread_int(l, per_word / per_group));
  int64_t group = 0;
  if (!ir_is_constant(t->group, &group)) BUG("a group narrower than a word needs a constant position");
  const ir_expr *values[MAX_ELEMENTS];
  for (int i = 0; i < per_word; i++) {
    int element = (int)(group * per_group) % per_word;
    if (i >= element && i < element + per_group) {
      values[i] = thread_read_element(l, raw, thread_int(l, (i - element) / thread_per_word(source)),
                                      (i - element) % thread_per_word(source));
      if (fill)
        values[i] =
            ir_ternary(l->memory, IR_EXPR_SELECT, predicate, values[i], ir_cast(l->memory, values[i]->type, fill));
    } else if (i < element) {
      values[i] = thread_read_element(l, registers, index, i);
    } else {
      values[i] = ir_cast(l->memory, ir_compute_type(tile->type), thread_int(l, 0));
    }
  }
  thread_set_word(l, registers, index, thread_pack(l, tile->type, values, per_word));
}

/* tile -> memory */
static void store_group(transfer *t, const ir_ref *to, ir_value *tile, int access) {
  lower *l = t->l;
  const ir_expr *coord[IR_MAX_RANK], *at[IR_MAX_RANK];
  element_coords(t, access, coord);
  place(t, to, coord, at);
  ir_type target = to->value->type;
  ir_value *registers = thread_registers(l, tile);
  int bytes = t->vector * ir_bits(target) / 8;
  const ir_expr *predicate = guard_of(t, to, at), *owner = thread_canonical(l, &t->layout);
  if (owner) predicate = ir_binary(l->memory, IR_EXPR_AND, owner, predicate);
  predicate = ir_binary(l->memory, IR_EXPR_AND, is_in_part(t, coord), predicate);
  const ir_expr *word = group_word(t, tile->type);
  if (ir_attr_get(&t->op->attrs, IR_ATTR_REDUCE, 0)) {
    for (int i = 0; i < t->vector; i++) {
      ir_op *op = thread_op(l, IR_OP_RED_GLOBAL);
      ir_op_add_write(op, ir_ref_whole(to->value));
      add_registers(op, false, registers,
                    thread_add(l, thread_mul(l, t->group, thread_int(l, t->vector)), thread_int(l, i)));
      const ir_expr *each[IR_MAX_RANK];
      for (int d = 0; d < to->value->rank; d++)
        each[d] = d == to->value->rank - 1 ? thread_add(l, at[d], thread_int(l, i)) : at[d];
      ir_op_add_expr(l->memory, op, thread_global_offset(l, to->value, each));
      ir_op_add_expr(l->memory, op, predicate);
      ir_attr_set(&op->attrs, IR_ATTR_OPERATION, IR_SUM);
    }
    return;
  }
  if (target == tile->type && word && bytes >= 4) {
    store(t, to, at, predicate, registers, word, bytes);
    return;
  }
  ir_value *raw = thread_array(l, to->value->name, target, words_of(target, t->vector) * thread_per_word(target));
  if (t->accesses > 1) {
    const ir_expr *values[MAX_ELEMENTS];
    for (int i = 0; i < t->vector; i++)
      values[i] = thread_read_element(l, registers, word, access * t->vector + i);
    const ir_expr *part = ir_binary(l->memory, IR_EXPR_SHR, thread_word(l, registers, word),
                                    thread_int(l, access * t->vector * ir_bits(target)));
    thread_set_word(l, raw, thread_int(l, 0), target == tile->type ? part : thread_pack(l, target, values, t->vector));
  } else if (word) {
    convert_words(l, raw, thread_int(l, 0), registers, word, t->vector, NULL, NULL);
  } else {
    int64_t group = 0;
    if (!ir_is_constant(t->group, &group)) BUG("a group narrower than a word needs a constant position");
    int per_word = thread_per_word(tile->type), first = (int)(group * t->vector);
    const ir_expr *values[MAX_ELEMENTS];
    for (int i = 0; i < t->vector; i++)
      values[i] = thread_read_element(l, registers, thread_int(l, (first + i) / per_word), (first + i) % per_word);
    int target_per = thread_per_word(target);
    for (int i = 0; i < t->vector; i += target_per)
      thread_set_word(l, raw, thread_int(l, i / target_per),
                      thread_pack(l, target, values + i, t->vector - i < target_per ? t->vector - i : target_per));
  }
  store(t, to, at, predicate, raw, thread_int(l, 0), bytes);
}

/* Where the thread's groups of an asynchronous copy begin: the offset of the coordinates it has of its own. What
 * register number and loop variable add to it is then one addition, or a constant. */
static void begin_async(transfer *t, const ir_ref *from) {
  lower *l = t->l;
  const ir_expr *own[IR_MAX_RANK], *at[IR_MAX_RANK];
  for (int d = 0; d < t->rank; d++)
    own[d] = thread_own_coord(l, &t->layout, d);
  place(t, from, own, at);
  t->first = thread_let(l, "from", thread_global_offset(l, from->value, at));
}

/* Byte offset of the group from the thread's first. */
static const ir_expr *async_step(transfer *t, const ir_ref *from) {
  lower *l = t->l;
  const ir_expr *at[IR_MAX_RANK];
  int next = 0;
  for (int d = 0; d < from->value->rank; d++) {
    bool moves = !from->count || from->span[d];
    at[d] = moves ? thread_register_coord(l, &t->layout, next++, t->vector, 0, t->group) : thread_int(l, 0);
  }
  return thread_global_offset(l, from->value, at);
}

/* The shared address of the group: of the thread's own coordinates and the group's, which are constants or not. */
static const ir_expr *async_target(transfer *t, const ir_ref *to) {
  lower *l = t->l;
  const ir_expr *own[IR_MAX_RANK], *coord[IR_MAX_RANK], *target[IR_MAX_RANK];
  int more[IR_MAX_RANK] = {0}, next = 0;
  bool constant = true;
  for (int d = 0; d < t->rank; d++)
    own[d] = thread_own_coord(l, &t->layout, d);
  for (int d = 0; d < to->value->rank; d++) {
    int64_t known = 0;
    if (to->count && !to->span[d]) continue;
    constant &= ir_is_constant(thread_register_coord(l, &t->layout, next++, t->vector, 0, t->group), &known);
    more[d] = (int)known;
  }
  if (constant) {
    place(t, to, own, target);
    return thread_shared_address_near(l, to->value, to->slot, target, more);
  }
  element_coords(t, 0, coord);
  place(t, to, coord, target);
  return thread_shared_address(l, to->value, to->slot, target);
}

/* global -> shared, asynchronously. Where nothing is read, the address does not matter. */
static void async_group(transfer *t, const ir_ref *from, const ir_ref *to) {
  lower *l = t->l;
  const ir_expr *coord[IR_MAX_RANK], *at[IR_MAX_RANK];
  element_coords(t, 0, coord);
  place(t, from, coord, at);
  int bytes = t->vector * ir_bits(from->value->type) / 8;
  ir_op *op = ir_op_create(l->memory, IR_OP_CP_ASYNC, l->loc);
  ir_ref buffer = ir_ref_whole(to->value);
  buffer.slot = to->slot;
  const ir_expr *address = async_target(t, to);
  const ir_expr *count =
      ir_ternary(l->memory, IR_EXPR_SELECT, guard_of(t, from, at), thread_int(l, bytes), thread_int(l, 0));
  const ir_expr *offset = thread_add(l, t->first, async_step(t, from));
  ir_op_add_write(op, buffer);
  ir_op_add_read(op, ir_ref_whole(from->value));
  ir_op_add_expr(l->memory, op, address);
  ir_op_add_expr(l->memory, op, offset);
  ir_op_add_expr(l->memory, op, count);
  ir_attr_set(&op->attrs, IR_ATTR_WIDTH, bytes);
  const ir_expr *owner = thread_canonical(l, &t->layout);
  ir_block *saved = l->out;
  if (owner) saved = thread_guard(l, owner);
  ir_block_append(l->out, op);
  thread_leave(l, saved);
}

/* memory -> memory through a register */
static void through_group(transfer *t, const ir_ref *from, const ir_ref *to) {
  lower *l = t->l;
  const ir_expr *coord[IR_MAX_RANK], *source[IR_MAX_RANK], *target[IR_MAX_RANK];
  element_coords(t, 0, coord);
  place(t, from, coord, source);
  place(t, to, coord, target);
  ir_type in = from->value->type, out = to->value->type;
  ir_value *raw = thread_array(l, from->value->name, in, words_of(in, t->vector) * thread_per_word(in));
  const ir_expr *fill = fill_value(t), *predicate = guard_of(t, from, source);
  if (fill) predicate = thread_let(l, "inside", predicate);
  load(t, from, source, predicate, raw, thread_int(l, 0), t->vector * ir_bits(in) / 8);
  ir_value *converted = raw;
  if (in != out || fill) {
    converted = thread_array(l, to->value->name, out, words_of(out, t->vector) * thread_per_word(out));
    convert_words(l, converted, thread_int(l, 0), raw, thread_int(l, 0), t->vector, predicate, fill);
  }
  const ir_expr *when = guard_of(t, to, target), *owner = thread_canonical(l, &t->layout);
  if (owner) when = ir_binary(l->memory, IR_EXPR_AND, owner, when);
  store(t, to, target, when, converted, thread_int(l, 0), t->vector * ir_bits(out) / 8);
}

static void one_group(transfer *t) {
  const ir_ref *to = &t->op->write[0], *from = &t->op->read[0];
  if (to->value->space == IR_TILE && t->accesses > 1)
    load_word(t, from, to->value);
  else if (to->value->space == IR_TILE)
    load_group(t, from, to->value);
  else if (from->value->space == IR_TILE)
    for (int k = 0; k < t->accesses; k++)
      store_group(t, to, from->value, k);
  else if (ir_attr_get(&t->op->attrs, IR_ATTR_ENGINE, 0) == IR_ENGINE_CPASYNC)
    async_group(t, from, to);
  else
    through_group(t, from, to);
}

static void extents_of(const ir_ref *ref, int *extent, int *rank) {
  *rank = 0;
  for (int d = 0; d < ref->value->rank; d++)
    if (!ref->count)
      extent[(*rank)++] = (int)ir_extent(ref->value, d);
    else if (ref->span[d])
      extent[(*rank)++] = ref->span[d];
}

/* A word of another tile for tile `to`. Where a dot in flight may still read `to`, it is moved here and now: the backend
 * would have it where it was computed, which is in front of the wait, and then runs no two dots at once. */
static const ir_expr *taken_over(lower *l, const ir_value *to, const ir_expr *word) {
  bool moves = l->is_operand[to->number] && word->kind == IR_EXPR_ELEMENT && word->type == IR_U32;
  return moves ? ir_unary(l->memory, IR_EXPR_MOVE, word) : word;
}

static void thread_tile_to_tile(lower *l, const ir_op *op) {
  ir_value *to = op->write[0].value, *from = op->read[0].value;
  ir_value *target = thread_registers(l, to), *source = thread_registers(l, from);
  int to_per = thread_per_word(to->type), from_per = thread_per_word(from->type),
      unit = to_per > from_per ? to_per : from_per;
  while (unit > 1 && to->tile->reg_count % unit)
    unit /= 2;
  const ir_expr *group;
  ir_block *saved = thread_loop(l, "r", thread_int(l, to->tile->reg_count / unit), 1, &group);
  if (unit < to_per || unit < from_per) { /* fewer elements than a word: there is one group */
    convert_words(l, target, thread_int(l, 0), source, thread_int(l, 0), to->tile->reg_count, NULL, NULL);
  } else if (to->type == from->type) {
    thread_set_word(l, target, group, taken_over(l, to, thread_word(l, source, group)));
  } else {
    convert_words(l, target, thread_mul(l, group, thread_int(l, unit / to_per)), source,
                  thread_mul(l, group, thread_int(l, unit / from_per)), unit, NULL, NULL);
  }
  thread_leave(l, saved);
}

/* Asynchronous accesses that are issued without a loop: many, whose addresses differ by constants, unless some tile leaves few
 * registers. */
static int most_async(const lower *l) {
  for (int i = 0; i < l->tile_count; i++) {
    const ir_value *tile = l->kernel->values[i];
    int64_t bits = tile->space == IR_TILE ? (int64_t)tile->tile->reg_count * ir_bits(tile->type) : 0;
    if (bits / 32 > thread_register_budget(l) * 5 / 8) return MAX_UNROLLED;
  }
  return MAX_ASYNC;
}

/* All accesses of the copy, t->vector elements each. */
static void all_groups(transfer *t) {
  lower *l = t->l;
  const ir_ref *to = &t->op->write[0], *from = &t->op->read[0];
  bool asynchronous = ir_attr_get(&t->op->attrs, IR_ATTR_ENGINE, 0) == IR_ENGINE_CPASYNC;
  if (asynchronous) begin_async(t, from);
  const ir_value *tile = to->value->space == IR_TILE ? to->value : from->value->space == IR_TILE ? from->value : NULL;
  int per_word = tile ? thread_per_word(tile->type) : 1;
  bool in_words = t->vector < per_word && t->layout.reg_count % per_word == 0;
  t->accesses = in_words && !ir_attr_get(&t->op->attrs, IR_ATTR_REDUCE, 0) ? per_word / t->vector : 1;
  t->part = thread_part_of(l, &t->layout, from->value->space == IR_TILE ? from : NULL, t->vector * t->accesses);
  int groups = t->part.count;
  bool looped = groups > (asynchronous ? most_async(l) : 1) &&
                t->vector * t->accesses >= per_word; /* positions inside a word are constants */
  const ir_expr *probe = thread_int(l, 0);
  looped = looped && thread_table(l, t->part.group, groups, probe);
  for (int d = 0; d < t->rank && looped; d++)
    for (int k = 0; k < t->accesses; k++)
      looped &= register_coord(t, d, k, probe) != NULL;
  if (looped) {
    /* register numbers must be constants; addresses need not, and all at once they spill */
    bool in_registers = tile || groups <= MAX_UNROLLED;
    ir_block *saved = thread_loop(l, "r", thread_int(l, groups), in_registers ? 1 : 0, &t->group);
    t->group = thread_table(l, t->part.group, groups, t->group);
    one_group(t);
    thread_leave(l, saved);
    return;
  }
  for (int g = 0; g < groups; g++) {
    t->group = thread_int(l, t->part.group[g]);
    one_group(t);
  }
}

/* The elements of a wider access that sizes allow when the predicate holds; 0 where there is none. */
static int wide_vector(transfer *t, int consecutive, const ir_expr **condition) {
  const ir_ref *to = &t->op->write[0], *from = &t->op->read[0];
  const ir_ref *global = to->value->space == IR_GLOBAL ? to : from->value->space == IR_GLOBAL ? from : NULL;
  if (!global || ir_attr_get(&t->op->attrs, IR_ATTR_REDUCE, 0)) return 0;
  int vector = region_wide_bytes(t->l->memory, global, condition) * 8 / ir_bits(global->value->type);
  vector = vector < consecutive ? vector : consecutive;
  return vector > t->vector ? vector : 0;
}

/* Registers have no address: what is a part of a tile must be known here. */
static bool check_part(lower *l, const ir_op *op) {
  const ir_ref *to = &op->write[0], *from = &op->read[0];
  bool known = to->value->space != IR_TILE || !to->count;
  for (int d = 0; d < from->count && from->value->space == IR_TILE; d++) {
    int64_t start;
    known &= to->value->space != IR_TILE && from->span[d] && ir_is_constant(from->start[d], &start);
  }
  if (known) return true;
  diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc,
             "%s is in registers: a part of it can be copied to memory only, with all of its dimensions and from "
             "constant places on",
             to->value->space == IR_TILE && to->count ? to->value->name : from->value->name);
  l->failed = true;
  return false;
}

void thread_transfer(lower *l, const ir_op *op) {
  if (!check_part(l, op)) return;
  const ir_ref *to = &op->write[0], *from = &op->read[0];
  int64_t engine = ir_attr_get(&op->attrs, IR_ATTR_ENGINE, IR_ENGINE_SIMT);
  if (engine == IR_ENGINE_TMA || engine == IR_ENGINE_BULK || (from->value->space == IR_GLOBAL && from->value->packed)) {
    thread_tensor_copy(l, op);
    return;
  }
  if (to->value->space == IR_TILE && from->value->space == IR_TILE) {
    thread_tile_to_tile(l, op);
    return;
  }
  if (from->value->space == IR_TILE && thread_matrix_store(l, op)) return;
  transfer t = {.l = l, .op = op};
  int extent[IR_MAX_RANK];
  const ir_ref *moved = to->value->space == IR_TILE || (from->value->space == IR_GLOBAL) ? to : from;
  extents_of(moved, extent, &t.rank);
  int to_vector = side_vector(&t, to), from_vector = side_vector(&t, from);
  int vector = to_vector < from_vector ? to_vector : from_vector;
  const ir_ref *sides[2] = {to, from}; /* an access is 16 bytes of memory at most; what registers hold does not count */
  for (int i = 0; i < 2; i++) {
    int most = sides[i]->value->space == IR_TILE ? MAX_ELEMENTS : 128 / ir_bits(sides[i]->value->type);
    vector = vector < most ? vector : most;
  }
  bool tile = to->value->space == IR_TILE || from->value->space == IR_TILE;
  int consecutive = 1;
  if (tile) {
    const tile_layout *own = to->value->space == IR_TILE ? to->value->tile : from->value->tile;
    t.layout = *own;
    consecutive = tile_layout_vector(own);
    vector = vector < consecutive ? vector : consecutive;
    if (ir_attr_get(&op->attrs, IR_ATTR_REDUCE, 0)) vector = 1;
  } else {
    while (vector > 1 && extent[t.rank - 1] % vector)
      vector /= 2;
    int bits = ir_bits(from->value->type);
    if (vector < 1 || vector * bits < 8) {
      diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc,
                 "elements of %s are smaller than a byte and its rows are not known to start at whole bytes",
                 from->value->name);
      l->failed = true;
      return;
    }
    if (!tile_layout_blocked(t.rank, extent, vector, l->warp_count, &t.layout)) {
      diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc,
                 "the extents of this copy cannot be spread over %d threads", l->warp_count * 32);
      l->failed = true;
      return;
    }
    consecutive = tile_layout_vector(&t.layout);
    vector = vector < consecutive ? vector : consecutive;
  }
  if (vector < 1) vector = 1;
  if (vector * ir_bits(to->value->type) < 8 || vector * ir_bits(from->value->type) < 8) {
    diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc,
               "elements smaller than a byte cannot be copied one by one: state a fact about the row length");
    l->failed = true;
    return;
  }
  t.vector = vector;
  const ir_expr *condition;
  int wide = tile ? wide_vector(&t, consecutive, &condition) : 0;
  if (!wide) {
    all_groups(&t);
    return;
  }
  /* Which of the two is decided by sizes alone, so for the whole launch. */
  ir_op *choice = thread_op(l, IR_OP_IF);
  ir_op_add_expr(l->memory, choice, condition);
  ir_block *saved = thread_enter(l, &choice->other);
  all_groups(&t);
  thread_leave(l, saved);
  t.vector = wide;
  saved = thread_enter(l, &choice->body);
  all_groups(&t);
  thread_leave(l, saved);
}

/* to = from in another layout: registers renamed where that is enough, else through shared memory. */
void thread_convert(lower *l, ir_value *to, ir_value *from) {
  uint16_t *registers = ARENA_ARRAY(l->env->scratch, uint16_t, to->tile->reg_count);
  tile_conversion kind = tile_layout_convert(from->tile, to->tile, registers);
  if (kind == TILE_CONVERT_NONE || kind == TILE_CONVERT_REGISTERS) {
    int per_word = thread_per_word(to->type);
    for (int first = 0; first < to->tile->reg_count; first += per_word) {
      const ir_expr *values[MAX_ELEMENTS];
      int n = to->tile->reg_count - first < per_word ? to->tile->reg_count - first : per_word;
      for (int i = 0; i < n; i++)
        values[i] = thread_read_element(l, thread_registers(l, from), thread_int(l, registers[first + i] / per_word),
                                        registers[first + i] % per_word);
      const ir_expr *word = to->type == IR_PRED ? values[0] : thread_pack(l, to->type, values, n);
      thread_set_word(l, thread_registers(l, to), thread_int(l, first / per_word), taken_over(l, to, word));
    }
    return;
  }
  int extent[IR_MAX_RANK];
  for (int d = 0; d < to->rank; d++)
    extent[d] = (int)ir_extent(to, d);
  ir_value *scratch = thread_scratch(l, to->name, to->type == IR_PRED ? IR_U32 : to->type, to->rank, extent);
  ir_op *put = ir_op_create(l->memory, IR_OP_COPY, l->loc), *get = ir_op_create(l->memory, IR_OP_COPY, l->loc);
  ir_op_add_write(put, ir_ref_whole(scratch));
  ir_op_add_read(put, ir_ref_whole(from));
  ir_op_add_write(get, ir_ref_whole(to));
  ir_op_add_read(get, ir_ref_whole(scratch));
  thread_meet(l); /* whoever read the scratch of an earlier iteration is done */
  thread_transfer(l, put);
  thread_meet(l);
  thread_transfer(l, get);
}
