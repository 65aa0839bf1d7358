/* Shared by the files of lower-threads: what one tile op becomes, in terms of one thread. */
#ifndef BITBLASC_PASSES_LOWER_H
#define BITBLASC_PASSES_LOWER_H

#include "passes/pass.h"
#include "passes/rings.h"

enum { LOWER_MAX_MEMO = 256 };

typedef struct lower_memo {
  const tile_layout *layout;
  int dim;
  const ir_expr *value;
} lower_memo;

/* An offset in a shared buffer that the whole role computes once. */
typedef struct lower_place {
  const shared_layout *layout;
  const ir_expr *at[IR_MAX_RANK];
  const ir_expr *offset;
} lower_place;

typedef struct lower_meeting {
  ir_block *block;
  ir_op *op;
} lower_meeting;

/* Where lowering stands: one role (or the whole block), one place in its body. */
typedef struct lower {
  ir_kernel *kernel;
  pass_env *env;
  arena *memory;
  bool failed;
  bool has_dots; /* accumulators take the registers that addresses and bounds held for several accesses would need */

  /* the role */
  int warp_first, warp_count;
  int barrier_id;
  bool one_thread;       /* the role's body runs in its first thread only */
  const ir_expr *lane;   /* 0 .. 31 */
  const ir_expr *warp;   /* from the role's first warp */
  const ir_expr *thread; /* from the role's first thread */
  const ir_expr *part;   /* number of the part that the thread is of, once it was asked for */
  ir_block *prologue;    /* lets that hold for the whole role */
  lower_memo memo[LOWER_MAX_MEMO];
  int memo_count;
  lower_place *places;
  int place_count, place_capacity;

  rings rings; /* of the pipelined form */
  int meeting_count, meeting_capacity;
  lower_meeting *meetings; /* the barriers of thread_meet in this role */

  /* the place */
  ir_block *out;
  bool fenced; /* no register was touched since the last wgmma.fence */
  src_loc loc;

  /* registers of tiles, by the tile value's number */
  ir_value **registers;
  bool *
      in_parts; /* by the same: elements of a word are written one by one, beside others that need not have a value yet */
  bool *stays_codes; /* by the same: what a decode leaves are words of codes, which choose between products */
  bool *is_operand;  /* by the same: asynchronous dots read the tile's registers while the program goes on */
  int tile_count;
} lower;

/* -- Emission (lower_emit.c)
 * ---------------------------------------------------------------------------------------------------------- */

ir_op *thread_op(lower *l, ir_op_kind kind); /* appended at the place */
const ir_expr *thread_let(lower *l, const char *name,
                          const ir_expr *e); /* at the place; constants and reads pass through */
const ir_expr *thread_role_let(lower *l, const char *name, const ir_expr *e); /* in the role's prologue */
void thread_set(lower *l, ir_value *value, const ir_expr *e);
void thread_set_word(lower *l, ir_value *registers, const ir_expr *word, const ir_expr *e);
const ir_expr *thread_word(lower *l, ir_value *registers, const ir_expr *word);
ir_value *thread_array(lower *l, const char *name, ir_type type, int elements); /* declared at the place */
ir_value *thread_scratch(lower *l, const char *name, ir_type type, int rank,
                         const int *extent); /* a shared buffer without swizzle */
void thread_meet(lower *l);                  /* every thread of the role is here */
void thread_thin_barriers(lower *l,
                          const ir_block *body); /* lower_thin.c: takes back meetings that others make needless */
/* Enters a body; the result goes back to thread_leave. */
ir_block *thread_enter(lower *l, ir_block *body);
void thread_leave(lower *l, ir_block *saved);
/* A loop `for %name in 0 .. count` around the place; *variable is its read. unroll as the attribute. */
ir_block *thread_loop(lower *l, const char *name, const ir_expr *count, int unroll, const ir_expr **variable);
ir_block *thread_guard(lower *l, const ir_expr *condition);
const ir_expr *thread_first_thread(lower *l); /* predicate */
/* Of an op in parts (attribute), NULL when it is in one: the number of this thread's part. */
const ir_expr *thread_part_number(lower *l, const ir_op *op);
const ir_expr *thread_first_of_part(lower *l, const ir_op *op); /* predicate: the part's first thread, or the role's */

static inline const ir_expr *thread_int(lower *l, int64_t value) { return ir_int(l->memory, value); }
static inline const ir_expr *thread_bits(lower *l, int64_t value) { return ir_typed_int(l->memory, IR_U32, value); }
const ir_expr *thread_add(lower *l, const ir_expr *a, const ir_expr *b);
const ir_expr *thread_mul(lower *l, const ir_expr *a, const ir_expr *b);
/* number / stride % count, of a number below stride * count * `above`; 0 when count is 1. */
const ir_expr *thread_digit(lower *l, const ir_expr *number, int stride, int count, int above);
const ir_expr *thread_u32(lower *l, const ir_expr *e);
const ir_expr *thread_i64(lower *l, const ir_expr *e);

/* -- Tiles and layouts (lower_layout.c)
 * -------------------------------------------------------------------------------------------------- */

/* Elements of `type` in one register word: 1 for 32 bits and more, and for predicates (kept as u32 0 or 1). */
int thread_per_word(ir_type type);
ir_value *thread_registers(lower *l, const ir_value *tile);
int thread_register_budget(const lower *l); /* of one thread, by the threads of a block and the blocks asked for */
/* Element number `element` of registers as a value of the compute type: word = group * words_per_group + sub /
 * per_word. */
const ir_expr *thread_read_element(lower *l, ir_value *registers, const ir_expr *word, int sub);
/* `count` values (of the compute type) as the word that holds them, converted to the type. */
const ir_expr *thread_pack(lower *l, ir_type type, const ir_expr *const *values, int count);
/* index -> table[index], as an expression; NULL when it is no sum of scaled digits of the index. */
const ir_expr *thread_table(lower *l, const int *table, int count, const ir_expr *index);
/* The part of a coordinate that the thread decides (a role let), and the part that register number group * unit + sub
 * decides. */
const ir_expr *thread_own_coord(lower *l, const tile_layout *layout, int dim);
const ir_expr *thread_register_coord(lower *l, const tile_layout *layout, int dim, int unit, int sub,
                                     const ir_expr *group);
/* Registers of a tile, `unit` at a time, that hold elements of a part of it, whose corner is a constant. NULL: all. */
typedef struct thread_part {
  int *group; /* numbers of those groups, ascending */
  int count;
  int first[LAYOUT_MAX_RANK]; /* the part's corner */
  bool is_whole;              /* every thread's elements of these groups lie in it */
} thread_part;
thread_part thread_part_of(lower *l, const tile_layout *layout, const ir_ref *ref, int unit);
/* Predicate: this thread holds the canonical copy of a replicated tile; NULL when every thread does. */
const ir_expr *thread_canonical(lower *l, const tile_layout *layout);
/* Byte offset of an element in one slot of a shared buffer, from its coordinates (i32). */
const ir_expr *thread_shared_offset(lower *l, const ir_value *buffer, const ir_expr *const *coord);
const ir_expr *thread_shared_address(lower *l, ir_value *buffer, const ir_expr *slot,
                                     const ir_expr *const *coord); /* u32 */
/* The same of coord + more. What depends on the thread is computed once for the role where that is possible, and shared
 * by all places that are whole periods of the layout apart. */
const ir_expr *thread_shared_address_near(lower *l, ir_value *buffer, const ir_expr *slot, const ir_expr *const *coord,
                                          const int *more);
/* Byte offset (i64) of an element of a global tensor from its coordinates, and the predicate that they are inside
 * (true when known). */
const ir_expr *thread_global_offset(lower *l, const ir_value *tensor, const ir_expr *const *coord);
const ir_expr *thread_inside(lower *l, const ir_value *tensor, const ir_expr *const *coord);

/* -- Elements (lower_element.c)
 * --------------------------------------------------------------------------------------------------------- */

/* The value of one element of a tensor (zero outside its extents) or shared buffer, loaded at the place where `when`
 * holds; NULL is always. */
const ir_expr *thread_load_element(lower *l, ir_value *value, const ir_expr *slot, const ir_expr *const *coord,
                                   const ir_expr *when);
/* A word's worth of elements of a shared buffer, the first of which is at the coordinates: registers of its type. */
ir_value *thread_load_neighbours(lower *l, ir_value *buffer, const ir_expr *slot, const ir_expr *const *coord);

/* -- Ops ----------------------------------------------------------------------------------------------------------- */

void thread_ops(lower *l, const ir_block *block);   /* lower_threads.c */
void thread_elementwise(lower *l, const ir_op *op); /* lower_parallel.c */
void thread_fill(lower *l, const ir_op *op);
/* The scalar expression with loads, at the place, instead of elements of tensors and buffers. */
const ir_expr *thread_scalar(lower *l, const ir_expr *e);
void thread_transfer(lower *l, const ir_op *op); /* lower_copy.c */
/* to = from in another layout: registers renamed where that is enough, else through shared memory. */
void thread_convert(lower *l, ir_value *to, ir_value *from); /* lower_convert.c */
void thread_tile_to_tile(lower *l, const ir_op *op);         /* of the same layout */
/* `count` elements of `from` (starting at word `from_word`) converted into the words of `to`. */
void thread_convert_words(lower *l, ir_value *to, const ir_expr *to_word, ir_value *from, const ir_expr *from_word,
                          int count, const ir_expr *predicate, const ir_expr *fill);
void thread_tensor_copy(lower *l, const ir_op *op);  /* lower_tensor_copy.c: engines tma and bulk */
bool thread_matrix_store(lower *l, const ir_op *op); /* lower_matrix.c: stmatrix; false when the layout does not fit */
void thread_dot(lower *l, const ir_op *op);          /* lower_dot.c */
void thread_reduce(lower *l, const ir_op *op);       /* lower_reduce.c */
void thread_scan(lower *l, const ir_op *op);
void thread_vote(lower *l, const ir_op *op);
const ir_expr *thread_any(lower *l, const ir_value *tile); /* predicate: an element that this warp holds is true */
void thread_decode(lower *l, const ir_op *op);             /* lower_decode.c */

#endif
