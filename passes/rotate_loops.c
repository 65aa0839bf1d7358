/* rotate-loops: load the first fragments of the next iteration under the last dots of this one.
 *
 *   before  for %k in %lo .. %hi step 1 do                  after  cp.wait {pending = 1}
 *             cp.wait {pending = 1}                                bar.sync
 *             bar.sync                                             if %lo < %hi do %a@0 <- ldmatrix ... end
 *             if %k + 2 < %hi do                                   if %lo + 2 < %hi do %As@%put <- cp.async ... end
 *               %As@%put <- cp.async ...                           for %k in %lo .. %hi step 1 do
 *               %Bs@%put <- cp.async ...                             %acc <- mma %a@0, ...
 *             end                                                    if %k + 2 < %hi do %Bs@%put <- cp.async ... end
 *             cp.commit                                              %a@1 <- ldmatrix %As@%get
 *             %a@0 <- ldmatrix %As@%get                              %acc <- mma %a@0, ...
 *             %acc <- mma %a@0, ...                                  cp.commit
 *             %a@1 <- ldmatrix %As@%get                              cp.wait {pending = 1}
 *             %acc <- mma %a@1, ...                                  bar.sync
 *             %get <- ...                                            %get <- select(%k + 1 < %hi, ..., %get)
 *             %put <- ...                                            %a@0 <- ldmatrix %As@%get
 *           end                                                      %put <- ...
 *                                                                    %acc <- mma %a@1, ...
 *                                                                    if %k + 3 < %hi do %As@%put <- cp.async ... end
 *                                                                  end
 *
 * All warps of a block meet once an iteration, and the tensor cores used to stand still from there to the first fragments.
 * Now the dots behind the last access to shared memory stand behind the wait for the next iteration, with that
 * iteration's first loads between them. What copies of later iterations need to be issued, an address and a condition each, is
 * strewn among the dots for the same reason. Shared memory is the second thing that bounds such a loop, so copies keep
 * apart: half of them are issued among the dots behind the barrier, an iteration ahead, and the first iteration's in front
 * of the loop; the others among all dots up to the wait. Where more of them than MOST_LENGTHS are checked against a size that
 * only the launch knows, what they hold while they are apart would spill, and all stand among the first half of the dots.
 *
 * The wait is as long as before: the same groups were committed before it, and the copies of an iteration are issued
 * behind the barrier that frees their slots. Fires for a loop that pipeline-loops made, whose body meets nowhere else and
 * ends in dots that read none of the registers that the first loads write. Copies go ahead where all that they read is
 * invariant, or a slot that moves on behind the last access and that nothing else reads. */
#include "passes/pass.h"
#include "passes/rename_ops.h"

enum { LEAST_TAIL = 8, MAX_HEAD = 64, MAX_CHUNKS = 32, MAX_SLOTS = 4, MOST_LENGTHS = 4 };

typedef struct rotation {
  ir_kernel *kernel;
  pass_env *env;
  ir_block *block; /* that the loop stands in */
  ir_op *loop;
  ir_op *wait, *meet, *copies, *commit;
  ir_op *head[MAX_HEAD]; /* the first matrix loads */
  int head_count;
  ir_op *last;     /* that touches shared memory */
  ir_op *turn;     /* the dot behind it in front of which the next iteration is awaited */
  int before_dots; /* up to it, and behind it */
  int tail_dots;
  bool may_advance;       /* whether copies may be issued an iteration ahead: */
  ir_op *slot[MAX_SLOTS]; /* what they read moves on behind the last access only */
  int slot_count;
} rotation;

typedef struct touching {
  ir_space space;
  bool found;
} touching;

static void note_space(void *data, ir_op *op, ir_value *value, bool written) {
  touching *t = data;
  (void)op, (void)written;
  t->found |= value->space == t->space;
}

static bool touches(ir_op *op, ir_space space) {
  touching t = {space, false};
  ir_op_visit(op, true, note_space, &t);
  return t.found;
}

static bool is_ordering(void *context, ir_block *block, ir_op *op) {
  (void)context, (void)block;
  return !ir_orders(op);
}

/* The wait, the barrier and the copies ahead that such a loop begins with. */
static bool find_front(rotation *r) {
  ir_op *op = r->loop->body.first;
  int64_t threads = ir_attr_get(&r->kernel->attrs, IR_ATTR_THREADS, 0);
  if (!op || op->kind != IR_OP_CP_WAIT) return false;
  r->wait = op;
  op = op->next;
  if (!op || op->kind != IR_OP_BAR_SYNC || ir_attr_get(&op->attrs, IR_ATTR_THREADS, 0) != threads) return false;
  r->meet = op;
  op = op->next;
  if (!op || op->kind != IR_OP_IF || op->other.first) return false;
  r->copies = op;
  for (const ir_op *child = op->body.first; child; child = child->next)
    if (child->kind != IR_OP_LET && child->kind != IR_OP_CP_ASYNC) return false;
  op = op->next;
  if (!op || op->kind != IR_OP_CP_COMMIT) return false;
  r->commit = op;
  return true;
}

/* The matrix loads in front of the first dot, and the dots behind the last access to shared memory. */
static bool find_dots(rotation *r) {
  for (ir_op *op = r->commit->next; op; op = op->next) {
    ir_block one = {op, op};
    ir_op *next = op->next;
    op->next = NULL;
    bool orders = !ir_walk(&one, is_ordering, NULL);
    op->next = next;
    if (orders || op->kind == IR_OP_CP_ASYNC) return false;
    bool any_dot = r->before_dots + r->tail_dots > 0;
    if (op->kind == IR_OP_MMA) {
      r->tail_dots++;
    } else if (touches(op, IR_SHARED)) {
      if (!any_dot && (op->kind != IR_OP_LDMATRIX || r->head_count == MAX_HEAD)) return false;
      if (!any_dot) r->head[r->head_count++] = op;
      r->last = op;
      r->before_dots += r->tail_dots;
      r->tail_dots = 0;
    }
  }
  return r->head_count > 0 && r->before_dots > 0 && r->tail_dots >= LEAST_TAIL;
}

/* -- What may move ------------------------------------------------------------------------------------------------- */

typedef struct reading {
  const rotation *r;
  ir_op *advance; /* sets what was read, behind the last access */
  bool is_free;
} reading;

/* A value that a first load reads must be one from outside the loop, or one that is only advanced behind the last
 * access. */
static void note_source(void *data, ir_op *op, ir_value *value, bool written) {
  reading *f = data;
  (void)op;
  if (written || value->space == IR_SHARED) return;
  if (value == f->r->loop->write[0].value) f->is_free = false;
  bool behind = false;
  for (ir_op *o = f->r->loop->body.first; o; o = o->next) {
    if (ir_op_writes(o, value)) {
      f->is_free &= behind && o->kind == IR_OP_SET && (!f->advance || f->advance == o);
      f->advance = o;
    }
    behind |= o == f->r->last;
  }
}

static bool is_slot(const rotation *r, const ir_op *op) {
  for (int i = 0; i < r->slot_count; i++)
    if (r->slot[i] == op) return true;
  return false;
}

static void note_copied(void *data, ir_op *op, ir_value *value, bool written) {
  rotation *r = data;
  bool behind = false;
  (void)op;
  if (written || value->space == IR_SHARED || value == r->loop->write[0].value) return;
  for (ir_op *o = r->loop->body.first; o; o = o->next) {
    if (o != r->copies && ir_op_writes(o, value)) {
      bool known = is_slot(r, o);
      r->may_advance &= behind && o->kind == IR_OP_SET && (known || r->slot_count < MAX_SLOTS);
      if (r->may_advance && !known) r->slot[r->slot_count++] = o;
    }
    behind |= o == r->last;
  }
}

/* Whether what the copies of an iteration read, but for the loop's variable, is that iteration's as soon as the slots have
 * moved on, which nothing else reads and which read nothing else that changes. */
static void find_slots(rotation *r) {
  r->may_advance = true;
  ir_op_visit(r->copies, true, note_copied, r);
  for (int i = 0; i < r->slot_count; i++)
    for (ir_op *op = r->loop->body.first; op; op = op->next) {
      const ir_op *slot = r->slot[i];
      if (op == slot || op == r->copies) continue;
      r->may_advance &= !ir_op_reads(op, slot->write[0].value);
      r->may_advance &= op->kind != IR_OP_SET || !ir_op_reads(r->slot[i], op->write[0].value);
    }
}

static int64_t first_word(const ir_ref *ref) {
  int64_t word;
  return ref->count && ir_is_constant(ref->start[0], &word) ? word : -1;
}

/* Whether the dot reads any of the words that the load writes. */
static bool dot_reads(const ir_op *dot, const ir_op *load) {
  static const int words[2] = {4, 2}; /* of a and b */
  int64_t to = first_word(&load->write[0]), count = ir_attr_get(&load->attrs, IR_ATTR_COUNT, 1);
  for (int i = 0; i < 2; i++) {
    int64_t from = first_word(&dot->read[i]);
    if (dot->read[i].value != load->write[0].value) continue;
    if (from < 0 || to < 0 || (from < to + count && to < from + words[i])) return true;
  }
  return false;
}

/* The dot in front of which `ahead` dots stand, counted from `from` on; NULL when there are not as many. */
static ir_op *nth_dot(ir_op *from, int ahead) {
  for (ir_op *op = from; op; op = op->next)
    if (op->kind == IR_OP_MMA && ahead-- == 0) return op;
  return NULL;
}

/* Whether dots and sums from `turn` on use words that the load writes. */
static bool is_used_behind(ir_op *turn, const ir_op *load) {
  ir_value *registers = load->write[0].value;
  for (ir_op *op = turn; op; op = op->next)
    if (op->kind == IR_OP_MMA ? op->write[0].value == registers || dot_reads(op, load)
                              : ir_op_reads(op, registers) || ir_op_writes(op, registers))
      return true;
  return false;
}

/* Finds the dot behind the last access in front of which most first loads may stand, the earliest of them. The others stay where
 * they are. */
static bool find_turn(rotation *r) {
  for (ir_op *op = r->last->next; op; op = op->next)
    if (op->kind != IR_OP_MMA && op->kind != IR_OP_SET) return false;
  int most = 0;
  for (int ahead = 0; ahead + LEAST_TAIL <= r->tail_dots; ahead++) {
    ir_op *turn = nth_dot(r->last, ahead);
    int free = 0;
    for (int h = 0; h < r->head_count; h++)
      free += !is_used_behind(turn, r->head[h]);
    if (free <= most) continue;
    most = free;
    r->turn = turn;
  }
  int kept = 0;
  for (int h = 0; h < r->head_count && r->turn; h++)
    if (!is_used_behind(r->turn, r->head[h])) r->head[kept++] = r->head[h];
  r->head_count = kept;
  return kept > 0;
}

static ir_op *declaration(const ir_block *block, const ir_value *value) {
  for (ir_op *op = block->first; op; op = op->next)
    if (op->kind == IR_OP_DECLARE && op->write[0].value == value) return op;
  return NULL;
}

/* *advance is the op that moves the slot on; NULL when there is none. */
static bool may_rotate(rotation *r, ir_op **advance) {
  if (!find_turn(r)) return false;
  reading f = {r, NULL, true};
  for (int h = 0; h < r->head_count; h++) {
    ir_op_visit(r->head[h], false, note_source, &f);
    f.is_free &= declaration(&r->loop->body, r->head[h]->write[0].value) != NULL;
  }
  *advance = f.advance;
  find_slots(r);
  for (ir_op *op = r->last->next; op && f.advance; op = op->next)
    f.is_free &= op == f.advance || !ir_op_reads(op, f.advance->write[0].value);
  return f.is_free;
}

/* -- Moving -------------------------------------------------------------------------------------------------------- */

static void move_before(ir_block *from, ir_op *op, ir_block *to, ir_op *before) {
  ir_block_remove(from, op);
  ir_block_insert_before(to, before, op);
}

static int count_copies(const ir_op *copies) {
  int count = 0;
  for (const ir_op *op = copies->body.first; op; op = op->next)
    count += op->kind == IR_OP_CP_ASYNC;
  return count;
}

/* Copies whose length only the launch knows: a predicate each, which lives as long as they are strewn. */
static int count_lengths(const ir_op *copies) {
  int64_t length;
  int count = 0;
  for (const ir_op *op = copies->body.first; op; op = op->next)
    count += op->kind == IR_OP_CP_ASYNC && !ir_is_constant(op->expr[2], &length);
  return count;
}

/* The copies one by one, each under the condition of all, in front of every `dots` / n-th dot from the second on behind `from`.
 * Addresses that several share are computed where the copies were. */
static void strew_copies(const rotation *r, ir_op *copies, ir_op *from, int dots) {
  arena *memory = r->env->memory;
  ir_block *body = &r->loop->body;
  ir_op *place[MAX_CHUNKS];
  int count = count_copies(copies), done = 0;
  for (int i = 0; i < count; i++)
    place[i] = nth_dot(from, 1 + i * dots / count);
  for (ir_op *op = copies->body.first, *next; op; op = next) {
    next = op->next;
    if (op->kind != IR_OP_CP_ASYNC) {
      move_before(&copies->body, op, body, copies);
      continue;
    }
    ir_op *guard = ir_op_create(memory, IR_OP_IF, op->loc);
    ir_op_add_expr(memory, guard, copies->expr[0]);
    ir_block_remove(&copies->body, op);
    ir_block_append(&guard->body, op);
    ir_block_insert_before(body, place[done++], guard);
  }
  ir_block_remove(body, copies);
}

/* Leaves the copies from `first` on, before `end`. */
static void keep_copies(ir_op *copies, int first, int end) {
  int at = 0;
  for (ir_op *op = copies->body.first, *next; op; op = next) {
    next = op->next;
    if (op->kind != IR_OP_CP_ASYNC) continue;
    if (at < first || at >= end) ir_block_remove(&copies->body, op);
    at++;
  }
}

/* A clone of the copies for the iteration that has `k` in place of the loop's variable. */
static ir_op *copies_at(const rotation *r, const ir_op *copies, const ir_expr *k) {
  op_renaming renaming = rename_begin(r->kernel, r->env);
  renaming.replace[r->loop->write[0].value->number] = k;
  ir_op *clone = ir_op_clone(r->env->memory, copies, NULL);
  rename_op(&renaming, clone);
  return clone;
}

/* Takes the first copies out of those of an iteration. They are issued an iteration ahead: the first iteration's in front of
 * the loop; the others are handed out. */
static ir_op *take_ahead(const rotation *r, int count) {
  arena *memory = r->env->memory;
  const ir_expr *variable = ir_read(memory, r->loop->write[0].value);
  ir_op *early = ir_op_clone(memory, r->copies, NULL);
  keep_copies(early, 0, count);
  keep_copies(r->copies, count, MAX_CHUNKS);
  ir_block_insert_before(r->block, r->loop, copies_at(r, early, r->loop->expr[0]));
  return copies_at(r, early, ir_binary(memory, IR_EXPR_ADD, variable, r->loop->expr[2]));
}

/* Behind the barrier, where the slots have moved on. */
static void strew_ahead(const rotation *r, ir_op *copies) {
  int dots = 0;
  for (const ir_op *op = r->turn; op; op = op->next)
    dots += op->kind == IR_OP_MMA;
  for (int i = 0; i < r->slot_count; i++)
    move_before(&r->loop->body, r->slot[i], &r->loop->body, r->turn);
  ir_block_insert_before(&r->loop->body, r->turn, copies);
  strew_copies(r, copies, r->turn, dots - 1);
}

/* Where one by one they are too many, the copies stay together. What goes ahead is handed out, NULL: nothing. */
static ir_op *place_copies(const rotation *r) {
  ir_block *body = &r->loop->body;
  int count = count_copies(r->copies);
  if (count > MAX_CHUNKS) {
    ir_op *dot = nth_dot(r->copies, 1);
    if (dot) move_before(body, r->copies, body, dot);
    return NULL;
  }
  bool is_lean = count_lengths(r->copies) <= MOST_LENGTHS;
  ir_op *ahead = is_lean && r->may_advance && count > 1 ? take_ahead(r, count / 2) : NULL;
  strew_copies(r, r->copies, r->copies, is_lean ? r->before_dots : r->before_dots / 2);
  return ahead;
}

/* The slot moves on where there is a next iteration; the last one loads once more what it has. */
static void advance_if_more(const rotation *r, ir_op *advance) {
  arena *memory = r->env->memory;
  const ir_expr *next = ir_binary(memory, IR_EXPR_ADD, ir_read(memory, r->loop->write[0].value), r->loop->expr[2]);
  advance->expr[0] = ir_ternary(memory, IR_EXPR_SELECT, ir_binary(memory, IR_EXPR_LT, next, r->loop->expr[1]),
                                advance->expr[0], ir_read(memory, advance->write[0].value));
  move_before(&r->loop->body, advance, &r->loop->body, r->turn);
}

static bool copies_ahead(const ir_op *op) {
  bool any = op->kind == IR_OP_CP_ASYNC;
  for (const ir_op *child = op->body.first; child && !any; child = child->next)
    any = copies_ahead(child);
  for (const ir_op *child = op->other.first; child && !any; child = child->next)
    any = copies_ahead(child);
  return any;
}

/* Where every iteration ends by waiting for all copies, and so does what stands in front of the first, nothing behind the
 * loop has any to wait for. */
static void drop_waits_behind(const rotation *r) {
  if (ir_attr_get(&r->wait->attrs, IR_ATTR_PENDING, 0)) return;
  for (ir_op *op = r->loop->next, *next; op && !copies_ahead(op); op = next) {
    next = op->next;
    if (op->kind == IR_OP_CP_WAIT) ir_block_remove(r->block, op);
  }
}

static void rotate(rotation *r, ir_op *advance) {
  arena *memory = r->env->memory;
  ir_block *body = &r->loop->body;
  for (int h = 0; h < r->head_count; h++) {
    ir_op *declare = declaration(body, r->head[h]->write[0].value);
    if (declare) move_before(body, declare, r->block, r->loop);
  }
  ir_block_insert_before(r->block, r->loop, ir_op_clone(memory, r->wait, NULL));
  ir_block_insert_before(r->block, r->loop, ir_op_clone(memory, r->meet, NULL));
  ir_op *guard = ir_op_create(memory, IR_OP_IF, r->loop->loc);
  ir_op_add_expr(memory, guard, ir_binary(memory, IR_EXPR_LT, r->loop->expr[0], r->loop->expr[1]));
  for (int h = 0; h < r->head_count; h++)
    ir_block_append(&guard->body, ir_op_clone(memory, r->head[h], NULL));
  ir_block_insert_before(r->block, r->loop, guard);

  ir_op *ahead = place_copies(r);
  move_before(body, r->commit, body, r->turn);
  move_before(body, r->wait, body, r->turn);
  move_before(body, r->meet, body, r->turn);
  if (advance) advance_if_more(r, advance);
  for (int h = 0; h < r->head_count; h++)
    move_before(body, r->head[h], body, r->turn);
  if (ahead) strew_ahead(r, ahead);
  drop_waits_behind(r);
}

static void rotate_block(ir_kernel *kernel, pass_env *env, ir_block *block) {
  for (ir_op *op = block->first; op; op = op->next) {
    rotate_block(kernel, env, &op->body);
    rotate_block(kernel, env, &op->other);
    if (op->kind != IR_OP_FOR) continue;
    rotation r = {.kernel = kernel, .env = env, .block = block, .loop = op};
    ir_op *advance;
    if (find_front(&r) && find_dots(&r) && may_rotate(&r, &advance)) rotate(&r, advance);
  }
}

bool rotate_loops(ir_kernel *kernel, pass_env *env) {
  rotate_block(kernel, env, &kernel->body);
  return true;
}
