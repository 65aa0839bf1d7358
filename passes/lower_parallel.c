/* Elementwise loops and fills: the coordinates of a block-wide loop become the registers of each thread.
 *
 * Registers are visited in groups of as many elements as the narrowest tile packs into a word, so that a packed word
 * is written once. Inside a branch, where only some elements change, a packed word is read, changed and written back.
 * Elements of shared buffers and of tensors are loaded into a register first, neighbours of a buffer that the loop only
 * reads a word at a time; what `select` does not choose is not loaded. Between memories the groups are a loop; where it
 * fills a buffer from a tensor the loop is unrolled in part, so that loads need not wait for the stores ahead of them. */
#include "passes/lower.h"
#include "passes/parallel_access.h"

enum { MAX_ACCESSES = 64, MAX_UNIT = 32, MAX_LETS = 64, MAX_UNROLLED = 4, LOADS_AHEAD = 8, MAX_WORDS = 16 };

typedef struct let_value {
  const ir_value *name;
  const ir_expr *value[MAX_UNIT]; /* by element of the group */
} let_value;

/* Neighbours that one load brought. */
typedef struct loaded_word {
  const ir_expr *element; /* as it stands in the body */
  int first;              /* of the group's elements */
  const ir_block *place;  /* where its registers are known */
  ir_value *registers;
} loaded_word;

typedef struct loop {
  lower *l;
  const ir_op *op;
  tile_layout layout; /* of the iteration space */
  int unit;           /* elements a group */
  bool in_registers;  /* some tile is accessed, so register numbers must be constants */
  int first;          /* group that index 0 of the loop stands for */
  int groups;
  const ir_expr *group; /* the loop's index, or 0 */
  const ir_expr
      *owner; /* who does the body: not the threads that hold copies, when all of it is memory; NULL is everyone */
  const ir_expr *coord[IR_MAX_RANK][MAX_UNIT];
  let_value lets[MAX_LETS];
  int let_count;
  loaded_word words[MAX_WORDS];
  int word_count;
} loop;

/* The register of the tile that a thread uses for register `reg` of the iteration space. */
static int tile_register(loop *p, const ir_value *tile, const ir_expr *const *index, int reg) {
  int at[LAYOUT_MAX_RANK], coord[LAYOUT_MAX_RANK] = {0}, found;
  tile_layout_coord(&p->layout, reg, 0, 0, at);
  for (int d = 0; d < tile->rank; d++)
    for (int v = 0; v < p->op->variable_count; v++)
      if (index[d]->kind == IR_EXPR_VALUE && index[d]->value == p->op->variable[v]) coord[d] = at[v];
  if (!tile_layout_find_in_thread(tile->tile, coord, 0, 0, &found))
    BUG("%s does not hold an element of its loop", tile->name);
  return found;
}

/* Word and position in it of a tile's element, for element `sub` of the group. */
static const ir_expr *tile_word(loop *p, const ir_value *tile, const ir_expr *const *index, int sub, int *position) {
  lower *l = p->l;
  int per_word = thread_per_word(tile->type);
  int *table = ARENA_ARRAY(l->env->scratch, int, p->groups);
  for (int g = 0; g < p->groups; g++) {
    int reg = tile_register(p, tile, index, (p->first + g) * p->unit + sub);
    table[g] = reg / per_word;
    if (g == 0)
      *position = reg % per_word;
    else if (*position != reg % per_word)
      return NULL;
  }
  return thread_table(l, table, p->groups, p->group);
}

static const ir_expr *both(lower *l, const ir_expr *a, const ir_expr *b) {
  return !a ? b : !b ? a : ir_binary(l->memory, IR_EXPR_AND, a, b);
}

static const ir_expr *expression(loop *p, const ir_expr *e, int sub, const ir_expr *when);

static bool is_written(const ir_block *block, const ir_value *value) {
  for (ir_op *op = block->first; op; op = op->next)
    if (ir_op_writes(op, value) || is_written(&op->body, value) || is_written(&op->other, value)) return true;
  return false;
}

/* Elements of the buffer that lie in a word beside each other, for neighbours in the loop too; 1 when there are none. */
static int neighbours(const loop *p, const ir_expr *e) {
  const ir_op *op = p->op;
  if (e->value->space != IR_SHARED || !op->variable_count || !e->arg_count || ir_bits(e->value->type) < 8) return 1;
  int count = thread_per_word(e->value->type);
  if (tile_layout_vector(&p->layout) < count || shared_layout_vector(e->value->shared) < count) return 1;
  for (int d = 0; d < e->arg_count; d++) {
    bool is_last = e->args[d]->kind == IR_EXPR_VALUE && e->args[d]->value == op->variable[op->variable_count - 1];
    if (is_last != (d == e->arg_count - 1)) return 1;
    bool other = false;
    for (int v = 0; v < op->variable_count; v++)
      other |= e->args[d]->kind == IR_EXPR_VALUE && e->args[d]->value == op->variable[v];
    if (!other && e->args[d]->kind != IR_EXPR_INT) return 1;
  }
  return is_written(&op->body, e->value) ? 1 : count;
}

/* The registers that hold the elements of the group from `first` on, loaded unless they have been. */
static ir_value *load_neighbours(loop *p, const ir_expr *e, int first, const ir_expr *const *coord) {
  for (int i = 0; i < p->word_count; i++)
    if (p->words[i].element == e && p->words[i].first == first && p->words[i].place == p->l->out)
      return p->words[i].registers;
  if (p->word_count == MAX_WORDS || !coord) return NULL;
  ir_value *registers = thread_load_neighbours(p->l, e->value, e->slot, coord);
  p->words[p->word_count++] = (loaded_word){e, first, p->l->out, registers};
  return registers;
}

static const ir_expr *load_element(loop *p, const ir_expr *e, int sub, const ir_expr *when) {
  const ir_expr *coord[IR_MAX_RANK];
  for (int d = 0; d < e->arg_count; d++)
    coord[d] = expression(p, e->args[d], sub, when);
  int count = when ? 1 : neighbours(p, e), at = sub % count;
  ir_value *word = count > 1 && p->unit % count == 0 ? load_neighbours(p, e, sub - at, at ? NULL : coord) : NULL;
  return word ? thread_read_element(p->l, word, thread_int(p->l, 0), at)
              : thread_load_element(p->l, e->value, e->slot, coord, when);
}

static const ir_expr *read_tile(loop *p, const ir_expr *e, int sub) {
  int position = 0;
  const ir_expr *word = tile_word(p, e->value, e->args, sub, &position);
  if (!word) BUG("%s cannot be addressed in a loop", e->value->name);
  const ir_expr *value = thread_read_element(p->l, thread_registers(p->l, e->value), word, position);
  if (e->value->type == IR_PRED)
    value = ir_binary(p->l->memory, IR_EXPR_NE, value, ir_typed_int(p->l->memory, IR_U32, 0));
  return value;
}

/* The expression as thread `sub` of the group computes it. `when` guards loads; NULL is always. */
static const ir_expr *expression(loop *p, const ir_expr *e, int sub, const ir_expr *when) {
  lower *l = p->l;
  if (e->kind == IR_EXPR_VALUE) {
    for (int v = 0; v < p->op->variable_count; v++)
      if (p->op->variable[v] == e->value) return p->coord[v][sub];
    for (int i = p->let_count - 1; i >= 0; i--)
      if (p->lets[i].name == e->value) return p->lets[i].value[sub];
    return e;
  }
  if (e->kind == IR_EXPR_ELEMENT && e->value->space == IR_TILE) return read_tile(p, e, sub);
  if (e->kind == IR_EXPR_ELEMENT && (e->value->space == IR_SHARED || e->value->space == IR_GLOBAL))
    return load_element(p, e, sub, when);
  if (e->kind == IR_EXPR_SELECT) {
    const ir_expr *condition = thread_let(l, "chosen", expression(p, e->args[0], sub, when));
    const ir_expr *a = expression(p, e->args[1], sub, both(l, when, condition));
    const ir_expr *b = expression(p, e->args[2], sub, both(l, when, ir_unary(l->memory, IR_EXPR_NOT, condition)));
    return ir_ternary(l->memory, IR_EXPR_SELECT, condition, a, b);
  }
  if (!e->arg_count) return e;
  const ir_expr *args[MAX_UNIT] = {NULL};
  for (int i = 0; i < e->arg_count; i++)
    args[i] = expression(p, e->args[i], sub, when);
  switch (e->kind) {
  case IR_EXPR_CAST:
    return ir_cast(l->memory, e->type, args[0]);
  case IR_EXPR_BITCAST:
    return ir_typed(l->memory, IR_EXPR_BITCAST, e->lane_type, e->type, 1, args);
  default:
    if (e->arg_count == 1) return ir_unary(l->memory, e->kind, args[0]);
    if (e->arg_count == 2) return ir_binary(l->memory, e->kind, args[0], args[1]);
    return ir_ternary(l->memory, e->kind, args[0], args[1], args[2]);
  }
}

const ir_expr *thread_scalar(lower *l, const ir_expr *e) {
  ir_op none = {.variable_count = 0};
  loop p = {.l = l, .op = &none};
  return expression(&p, e, 0, NULL);
}

static void store_element(loop *p, const ir_op *set, int sub) {
  lower *l = p->l;
  const ir_ref *ref = &set->write[0];
  ir_value *to = ref->value;
  bool shared = to->space == IR_SHARED;
  int bits = ir_bits(to->type);
  if (bits < 8) {
    diag_error(l->env->diagnostics, DIAG_PLACEMENT, set->loc,
               "elements of %s are smaller than a byte and cannot be stored one by one", to->name);
    l->failed = true;
    return;
  }
  const ir_expr *coord[IR_MAX_RANK];
  for (int d = 0; d < ref->count; d++)
    coord[d] = expression(p, ref->start[d], sub, p->owner);
  /* A copy that read the element too would race with its owner, who writes it. */
  const ir_expr *predicate = ir_bool(l->memory, true), *owner = thread_canonical(l, &p->layout);
  const ir_expr *value = expression(p, set->expr[0], sub, owner);
  if (owner) predicate = owner;
  if (!shared) predicate = both(l, predicate, thread_inside(l, to, coord));
  bool atomic = set->kind == IR_OP_ATOMIC;
  ir_value *word = thread_array(l, to->name, bits < 32 && !atomic ? IR_U32 : to->type, 1);
  const ir_expr *packed = thread_pack(l, to->type, &value, 1);
  thread_set_word(l, word, thread_int(l, 0), packed);
  const ir_expr *address = shared ? thread_shared_address(l, to, ref->slot, coord) : thread_global_offset(l, to, coord);
  ir_op *op = thread_op(l, atomic   ? (shared ? IR_OP_RED_SHARED : IR_OP_RED_GLOBAL)
                           : shared ? IR_OP_ST_SHARED
                                    : IR_OP_ST_GLOBAL);
  ir_ref target = ir_ref_whole(to), from = ir_ref_whole(word);
  target.slot = ref->slot;
  from.count = 1;
  from.start[0] = thread_int(l, 0);
  ir_op_add_write(op, target);
  ir_op_add_read(op, from);
  ir_op_add_expr(l->memory, op, address);
  ir_op_add_expr(l->memory, op, predicate);
  if (atomic)
    ir_attr_set(&op->attrs, IR_ATTR_OPERATION, ir_attr_get(&set->attrs, IR_ATTR_OPERATION, IR_SUM));
  else
    ir_attr_set(&op->attrs, IR_ATTR_WIDTH, bits / 8);
}

static const ir_expr *as_word(lower *l, const ir_value *tile, const ir_expr *value) {
  if (tile->type != IR_PRED) return value;
  return ir_ternary(l->memory, IR_EXPR_SELECT, value, ir_typed_int(l->memory, IR_U32, 1),
                    ir_typed_int(l->memory, IR_U32, 0));
}

static bool is_own_element(const ir_expr *e, const ir_ref *to) {
  if (e->kind != IR_EXPR_ELEMENT || e->value != to->value) return false;
  for (int d = 0; d < to->count; d++)
    if (!ir_expr_equal(e->args[d], to->start[d])) return false;
  return true;
}

/* The condition under which all elements of the word that begins at `sub` are set, each keeping its value otherwise;
 * NULL when they are not set together. The word is then chosen as one, and need not be taken apart. */
static const ir_expr *common_condition(loop *p, const ir_op *set, int sub, int per_word) {
  const ir_expr *e = set->expr[0];
  if (e->kind != IR_EXPR_SELECT || !is_own_element(e->args[2], &set->write[0])) return NULL;
  const ir_expr *condition = expression(p, e->args[0], sub, NULL);
  for (int i = 1; i < per_word; i++)
    if (!ir_expr_equal(condition, expression(p, e->args[0], sub + i, NULL))) return NULL;
  return condition;
}

/* %t[i, j] <- e for the elements `from` .. `to` - 1 of the group; `partial` when other elements of the words must keep
 * their values. */
static void set_tile(loop *p, const ir_op *set, int from, int to, bool partial) {
  lower *l = p->l;
  ir_value *tile = set->write[0].value, *registers = thread_registers(l, tile);
  int per_word = thread_per_word(tile->type);
  for (int sub = from; sub < to; sub++) {
    int position = 0;
    const ir_expr *word = tile_word(p, tile, set->write[0].start, sub, &position);
    if (!word) BUG("%s cannot be addressed in a loop", tile->name);
    if (per_word == 1) {
      const ir_expr *value = as_word(l, tile, expression(p, set->expr[0], sub, NULL));
      thread_set_word(l, registers, word, tile->type == IR_PRED ? value : thread_pack(l, tile->type, &value, 1));
      continue;
    }
    bool whole = !partial && position == 0 && sub + per_word <= to;
    const ir_expr *values[MAX_UNIT], *chosen = whole ? common_condition(p, set, sub, per_word) : NULL;
    const ir_expr *e = chosen ? set->expr[0]->args[1] : set->expr[0];
    for (int i = 0; i < per_word; i++) {
      if (whole || i == position) {
        values[i] = expression(p, e, whole ? sub + i : sub, chosen);
      } else {
        values[i] = thread_read_element(l, registers, word, i);
        l->in_parts[tile->number] = true;
      }
    }
    const ir_expr *packed = thread_pack(l, tile->type, values, per_word);
    if (chosen) packed = ir_ternary(l->memory, IR_EXPR_SELECT, chosen, packed, thread_word(l, registers, word));
    thread_set_word(l, registers, word, packed);
    if (whole) sub += per_word - 1;
  }
}

static void statements(loop *p, const ir_block *block, int from, int to, bool partial) {
  lower *l = p->l;
  int lets = p->let_count;
  for (const ir_op *op = block->first; op; op = op->next) {
    l->loc = op->loc;
    if (op->kind == IR_OP_LET) {
      if (p->let_count == MAX_LETS) BUG("more than %d lets in a parallel body", MAX_LETS);
      let_value *let = &p->lets[p->let_count];
      let->name = op->write[0].value;
      for (int sub = from; sub < to; sub++)
        let->value[sub] = thread_let(l, let->name->name, expression(p, op->expr[0], sub, p->owner));
      p->let_count++;
    } else if (op->kind == IR_OP_IF) {
      for (int sub = from; sub < to; sub++) {
        const ir_expr *condition = expression(p, op->expr[0], sub, p->owner);
        ir_op *branch = thread_op(l, IR_OP_IF);
        ir_op_add_expr(l->memory, branch, condition);
        ir_block *saved = thread_enter(l, &branch->body);
        statements(p, &op->body, sub, sub + 1, true);
        thread_leave(l, saved);
        saved = thread_enter(l, &branch->other);
        statements(p, &op->other, sub, sub + 1, true);
        thread_leave(l, saved);
      }
    } else if (op->write[0].value->space == IR_TILE) {
      set_tile(p, op, from, to, partial);
    } else {
      for (int sub = from; sub < to; sub++)
        store_element(p, op, sub);
    }
  }
  p->let_count = lets;
}

/* As many elements as the widest word that a load of the expression may bring. */
static int widest_load(const loop *p, const ir_expr *e, int widest) {
  int count = e->kind == IR_EXPR_ELEMENT ? neighbours(p, e) : 1;
  widest = count > widest ? count : widest;
  for (int i = 0; i < e->arg_count; i++)
    widest = widest_load(p, e->args[i], widest);
  return widest;
}

/* A branch changes single elements, so what is loaded in it is of no use to the next. */
static int widest_loads(const loop *p, int widest) {
  for (const ir_op *op = p->op->body.first; op; op = op->next)
    for (int i = 0; op->kind != IR_OP_IF && i < op->expr_count; i++)
      widest = widest_load(p, op->expr[i], widest);
  return widest;
}

static bool writes_tiles(const ir_block *block) {
  for (const ir_op *op = block->first; op; op = op->next) {
    bool tile = op->kind == IR_OP_SET && op->write[0].value->space == IR_TILE;
    if (tile || writes_tiles(&op->body) || writes_tiles(&op->other)) return true;
  }
  return false;
}

/* Whether every index that the loop needs is a sum of digits of the group number. */
static bool can_loop(loop *p, const parallel_access *accesses, int count) {
  lower *l = p->l;
  const ir_expr *probe = thread_int(l, 0);
  p->group = probe;
  for (int sub = 0; sub < p->unit; sub++) {
    for (int v = 0; v < p->op->variable_count; v++)
      if (!thread_register_coord(l, &p->layout, v, p->unit, sub, probe)) return false;
    for (int i = 0; i < count; i++) {
      const ir_expr *index[IR_MAX_RANK];
      for (int d = 0; d < accesses[i].tile->rank; d++)
        index[d] =
            accesses[i].coordinate[d] >= 0 ? ir_read(l->memory, p->op->variable[accesses[i].coordinate[d]]) : probe;
      int position = 0;
      if (!tile_word(p, accesses[i].tile, index, sub, &position)) return false;
    }
  }
  return true;
}

typedef struct traffic {
  bool loads, stores; /* from and to tensors */
} traffic;

static void traffic_visit(void *data, ir_op *op, ir_value *value, bool written) {
  traffic *t = data;
  (void)op;
  if (value->space != IR_GLOBAL) return;
  t->loads |= !written;
  t->stores |= written;
}

/* How far the loop over groups is unrolled: register numbers must be constants. Loads pass stores to a buffer, never
 * those to a tensor, which may be the same. */
static int unrolling(const loop *p) {
  traffic t = {false, false};
  if (p->in_registers || p->groups <= MAX_UNROLLED) return 1;
  for (ir_op *op = p->op->body.first; op; op = op->next)
    ir_op_visit(op, true, traffic_visit, &t);
  return t.loads && !t.stores ? LOADS_AHEAD : 0;
}

static void run(loop *p) {
  lower *l = p->l;
  bool looped = p->groups > 1;
  ir_block *saved = l->out;
  p->word_count = 0;
  p->group = thread_int(l, 0);
  if (looped) saved = thread_loop(l, "r", thread_int(l, p->groups), unrolling(p), &p->group);
  for (int v = 0; v < p->op->variable_count; v++)
    for (int sub = 0; sub < p->unit; sub++) {
      const ir_expr *own;
      if (looped || p->first == 0) {
        own = thread_register_coord(l, &p->layout, v, p->unit, sub, p->group);
      } else {
        int at[LAYOUT_MAX_RANK];
        tile_layout_coord(&p->layout, p->first * p->unit + sub, 0, 0, at);
        own = thread_int(l, at[v]);
      }
      p->coord[v][sub] = thread_add(l, thread_own_coord(l, &p->layout, v), own);
    }
  statements(p, &p->op->body, 0, p->unit, false);
  thread_leave(l, saved);
}

/* The layout of the iteration space, as assign-layouts decided it. */
static tile_layout iteration_of(lower *l, const ir_op *op, const parallel_access *accesses, int count) {
  tile_layout layout;
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < count; i++)
      if (accesses[i].written == (pass == 0) && parallel_access_is_full(op, &accesses[i]) &&
          parallel_iteration_layout(op, &accesses[i], accesses[i].tile->tile, &layout))
        return layout;
  int extent[LAYOUT_MAX_RANK];
  for (int v = 0; v < op->variable_count; v++) {
    int64_t n = 1;
    if (!ir_is_constant(op->expr[v], &n)) BUG("a parallel extent is not constant");
    extent[v] = (int)n;
  }
  if (!tile_layout_blocked(op->variable_count, extent, 1, l->warp_count, &layout)) {
    diag_error(l->env->diagnostics, DIAG_PLACEMENT, op->loc,
               "the extents of this loop cannot be spread over %d threads", l->warp_count * 32);
    l->failed = true;
  }
  return layout;
}

void thread_elementwise(lower *l, const ir_op *op) {
  parallel_access accesses[MAX_ACCESSES];
  int count = parallel_accesses(op, accesses, MAX_ACCESSES);
  loop p = {.l = l, .op = op};
  p.layout = iteration_of(l, op, accesses, count);
  if (l->failed) return;
  if (!writes_tiles(&op->body)) p.owner = thread_canonical(l, &p.layout);
  int unit = 1;
  for (int i = 0; i < count; i++) {
    int per_word = thread_per_word(accesses[i].tile->type);
    unit = per_word > unit ? per_word : unit;
  }
  if (count) unit = widest_loads(&p, unit);
  while (unit > 1 && p.layout.reg_count % unit)
    unit /= 2;
  p.unit = unit;
  p.groups = p.layout.reg_count / unit;
  p.in_registers = count > 0;
  if (can_loop(&p, accesses, count)) {
    run(&p);
    return;
  }
  for (int g = 0, groups = p.groups; g < groups; g++) { /* no closed form: one group after another */
    p.first = g;
    p.groups = 1;
    run(&p);
  }
}

void thread_fill(lower *l, const ir_op *op) {
  ir_value *to = op->write[0].value;
  if (to->space == IR_TILE) {
    ir_value *registers = thread_registers(l, to);
    int per_word = thread_per_word(to->type), words = (to->tile->reg_count + per_word - 1) / per_word;
    const ir_expr *values[MAX_UNIT];
    for (int i = 0; i < per_word; i++)
      values[i] = op->expr[0];
    const ir_expr *index,
        *word = to->type == IR_PRED ? as_word(l, to, op->expr[0]) : thread_pack(l, to->type, values, per_word);
    ir_block *saved = thread_loop(l, "r", thread_int(l, words), 1, &index);
    thread_set_word(l, registers, index, word);
    thread_leave(l, saved);
    return;
  }
  /* A buffer: as a loop over its elements. */
  ir_op *loop_op = ir_op_create(l->memory, IR_OP_PARALLEL, op->loc);
  loop_op->variable_count = to->rank;
  loop_op->variable = ARENA_ARRAY(l->memory, ir_value *, to->rank);
  ir_op *set = ir_op_create(l->memory, IR_OP_SET, op->loc);
  ir_ref ref = op->write[0];
  ref.count = to->rank;
  for (int d = 0; d < to->rank; d++) {
    loop_op->variable[d] = ir_value_create(l->memory, l->kernel, IR_INDEX, IR_I32, "i", op->loc);
    ir_op_add_expr(l->memory, loop_op, to->extent[d]);
    ref.start[d] = ir_read(l->memory, loop_op->variable[d]);
  }
  ir_op_add_write(set, ref);
  ir_op_add_expr(l->memory, set, op->expr[0]);
  ir_block_append(&loop_op->body, set);
  thread_elementwise(l, loop_op);
}
