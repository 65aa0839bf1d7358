/* Private to emulator/: the compiled kernel and the state of a run.
 *
 *   compile.c   op tree -> instructions with jumps, expressions -> postfix programs
 *   expr.c, expr_leaf.c                             evaluate a program on up to 32 lanes
 *   agent.c     control flow of one agent, the scheduler
 *   run.c       launches: tensors, sizes, blocks
 *   memory.c    element values in tensors, tiles, registers and shared bytes
 *   shadow.c    vector clocks; who wrote and read each byte of shared memory
 *   lanes.c     what the lanes of a warp know of one another and of others
 *   barrier.c   mbarriers, hardware barriers, asynchronous groups, fences
 *   scalar_ops.c                                    let, set, atomic, declare
 *   tile_ops.c, tile_copy.c, tile_dot.c             ops before the thread form
 *   thread_ops.c, tensor_core.c, tma.c              ops of the thread form
 *   report.c    findings
 *
 * An agent is what has a program counter: the whole block before the pipelined form, a role in it, a warp in the thread
 * form. A blocked agent keeps its program counter at the op that it waits in, which is executed again when its turn
 * comes. */
#ifndef BITBLASC_EMULATOR_MACHINE_H
#define BITBLASC_EMULATOR_MACHINE_H

#include "emulator/emulator.h"

enum { LANES = 32, HARDWARE_BARRIERS = 16, SHARED_BASE = 1024 };

/* One value of one lane. Floats of every type are doubles (rounded to the type unless the precision is REFERENCE);
 * integers up to 64 bits are sign- or zero-extended; predicates are 0 or 1. */
typedef union cell {
  double f;
  int64_t i;
} cell;

/* What arithmetic is done in. */
typedef enum domain { DOMAIN_PRED, DOMAIN_I32, DOMAIN_U32, DOMAIN_I64, DOMAIN_U64, DOMAIN_F32, DOMAIN_F64 } domain;

typedef enum step_code { STEP_OPERATOR, STEP_SELECT_TRUE, STEP_SELECT_FALSE, STEP_SELECT_END } step_code;

typedef struct step {
  step_code code;
  domain operand; /* of the first argument */
  domain result;
  const ir_expr *expr;
} step;

typedef struct program {
  step *steps;
  int count;
  bool uniform; /* the same in every lane: only lane 0 is computed */
  ir_type type;
  const ir_expr *expr;
} program;

typedef struct operand {
  const ir_value *value; /* NULL: none */
  const program *slot;   /* NULL: slot 0 */
  int count;             /* 0: the whole value */
  const program *start[IR_MAX_RANK];
  int span[IR_MAX_RANK];
} operand;

typedef enum instruction_code {
  CODE_OP,
  CODE_IF,
  CODE_WHERE, /* an if: whether an element of its tile is true */
  CODE_ELSE,
  CODE_END_IF,
  CODE_FOR,
  CODE_FOR_NEXT,
  CODE_WHILE,
  CODE_WHILE_NEXT,
  CODE_PARALLEL,
  CODE_PARALLEL_NEXT,
  CODE_ROLE,
  CODE_ROLE_END,
  CODE_JOIN,
  CODE_END
} instruction_code;

typedef struct instruction {
  instruction_code code;
  const ir_op *op;
  int target; /* of the jump */
  int frame;  /* of control ops: index in agent->frames */
  operand write[IR_MAX_REFS], read[IR_MAX_REFS];
  const program **expr;    /* op->expr_count */
  const ir_value *awaited; /* of a kernel whose launches overlap: a tensor that it accesses and that grid.wait is for */
  int child;               /* CODE_ROLE before the thread form: number of the role's agent */
} instruction;

typedef struct code {
  instruction *instructions;
  int count, capacity;
  int frame_count;
  int role_count;
  int stack_depth; /* of programs */
  bool *varying;   /* by value number: a scalar that may differ between lanes */
  bool reads_blocks;
  bool has_atomics; /* blocks may order themselves */
} code;

typedef struct machine machine;
typedef struct block block;
typedef struct cluster cluster;
typedef struct agent agent;

/* -- State of a run ------------------------------------------------------------------------------------------------ */

typedef struct tensor {
  const ir_value *value;
  uint8_t *bytes;
  size_t byte_size;
  double *wide; /* REFERENCE: also takes what is written; reals are read from it */
  int bits;
  int64_t packed_columns; /* before the thread form: blocks of a packed tensor along k; 0: stored as the extents and
                             strides say */
  int64_t extent[IR_MAX_RANK], stride[IR_MAX_RANK]; /* in elements */
  uint32_t *writer; /* block + 1 that wrote each byte (before the thread form: element); NULL: not followed */
} tensor;

/* A buffer or tile before the thread form: `slots` copies of a row-major array of cells. */
typedef struct store {
  cell *cells;
  uint32_t *shadow; /* a state a cell */
  int64_t count;    /* elements of one slot */
  int slots;
  int64_t extent[IR_MAX_RANK];
  /* A tile: the asynchronous dots in flight that write (or read, in registers) it. */
  uint32_t written_group, read_group;
  int flight_instruction;
} store;

/* A register array of one warp: words of 32 lanes. Words are 32 bits wide, those of 64-bit types 64. */
typedef struct register_array {
  uint64_t *word;          /* [words][LANES] */
  uint32_t *initialised;   /* [words], a bit a lane */
  uint32_t *written_group; /* [words]: wgmma group that writes it, 0: none */
  uint32_t *read_group;    /* [words]: wgmma group that reads it */
  uint32_t *touched;       /* [words]: value of agent->fences when it was last accessed otherwise */
  int *flight_instruction; /* [words] */
  int words;
} register_array;

typedef struct frame {
  uint32_t mask, other;
  cell limit[LANES], step[LANES];
  int64_t position, total;
  int64_t extent[IR_MAX_RANK];
} frame;

typedef enum agent_state { AGENT_READY, AGENT_BLOCKED, AGENT_DONE, AGENT_IDLE } agent_state;
typedef enum outcome { OUTCOME_NEXT, OUTCOME_BLOCKED } outcome;

/* Clocks of an agent: its own and those of its in-order asynchronous engines. */
enum { CLOCK_SELF, CLOCK_CP, CLOCK_DOT, CLOCK_BULK, CLOCKS_OF_AGENT };

/* Groups of copies by cp.async, or of bulk stores: a lane waits for its own. */
typedef struct lane_groups {
  uint32_t open;          /* being filled; groups count from 1 */
  uint32_t lanes;         /* with copies that not every lane knows to be done */
  uint32_t newest[LANES]; /* group with a copy of the lane */
  uint32_t done[LANES];   /* newest group that the lane has waited for */
} lane_groups;

struct agent {
  machine *machine;
  block *block;
  int number; /* in the block: warp in the thread form; 0 is the main flow and 1.. are roles before it */
  int pc;
  uint32_t mask;
  agent_state state;
  bool waiting;       /* has counted itself at a hardware or cluster barrier */
  int64_t waiting_at; /* the hardware barrier */
  bool released;      /* that barrier has completed */
  int first_warp, warp_count;
  const char *role;
  cell *scalars; /* [value][LANES] */
  uint32_t *scalar_initialised;
  frame *frames;
  register_array *registers;   /* by value number */
  int budget;                  /* registers a thread, from setmaxnreg; 0 before it */
  uint32_t fences;             /* wgmma.fence executed, counted from 1 */
  uint64_t wgmmas;             /* executed: the same in the four warps of a group */
  uint32_t dot_open, dot_done; /* group being filled, newest group known to be complete; groups count from 1 */
  lane_groups cp, bulk;
  int bulk_instruction; /* the newest bulk store */
  uint32_t now;         /* number of the agent's next events of its own */
  uint32_t grid_waited; /* lanes that have executed grid.wait */
  uint32_t unsynced;    /* lanes that have accessed shared memory since the lanes last met */
  uint32_t *clock;      /* vector clock: what every lane has observed. Of the agent's own clocks, what all lanes know */
  uint32_t *async_clock; /* generic accesses made visible to the async proxy, and observed by every lane */
  uint32_t *lane_clocks; /* [LANES][2]: the same of single lanes; NULL before the first is needed */
  uint32_t parted;       /* lanes that have such clocks now */
  int clock_index;       /* of CLOCK_SELF */
};

typedef struct mbarrier {
  bool initialised;
  int64_t arrivals;  /* that complete a phase */
  int64_t pending;   /* still missing in this phase */
  int64_t bytes;     /* still missing in this phase; may be negative until they are expected */
  int64_t in_flight; /* bytes of issued copies that it has not counted yet */
  uint32_t phase;    /* completed phases */
  int init_agent;    /* clock of the agent that initialised it, when, and its lanes: others must come after it */
  uint32_t init_clock, init_lanes;
  bool fenced;                                     /* fence.mbar_init came after the initialisation */
  uint32_t *clock, *async_clock;                   /* gathered in this phase */
  uint32_t *released_clock, *released_async_clock; /* of the last completed phase */
  int clock_index;
} mbarrier;

typedef struct hardware_barrier {
  int arrived;
  int threads; /* that this round needs; 0 between rounds */
  uint32_t *clock, *async_clock;
} hardware_barrier;

typedef struct barrier_array {
  mbarrier *slots;
  int count;
} barrier_array;

struct block {
  cluster *cluster;
  int index; /* linear, in the grid */
  int rank;  /* in the cluster */
  agent *agents;
  int agent_count;
  store *stores;           /* by value number, before the thread form */
  barrier_array *barriers; /* by value number */
  hardware_barrier hardware[HARDWARE_BARRIERS];
  uint8_t *shared;  /* thread form: dynamic shared memory */
  uint32_t *shadow; /* a state a byte */
  int64_t shared_bytes;
  /* By clock: the newest event that uses the block's shared memory from outside its threads, and its op. The block must
   * have observed all of them when its last thread ends. */
  uint32_t *outside;
  const ir_op **outside_op;
};

/* The bytes of an asynchronous copy, still to be counted by a barrier. */
typedef struct completion {
  uint64_t due;
  mbarrier *barrier;
  const ir_value *value; /* the barrier's */
  int64_t bytes;
} completion;

typedef struct shadow_table shadow_table;

struct cluster {
  machine *machine;
  arena *memory;
  block *blocks;
  int block_count;
  int clock_count;
  shadow_table *shadows;
  int sync_arrived;
  uint32_t *sync_clock, *sync_async_clock;
  completion *completions; /* not ordered */
  int completion_count, completion_capacity;
  uint64_t tick;
  bool done;
};

struct machine {
  const ir_kernel *kernel;
  const emulator_launch *launch;
  emulator_report *report;
  arena *memory;
  code code;
  bool thread_form;
  bool concurrent; /* more than one agent a block: accesses need an order */
  bool checks;
  bool reference;
  bool overlapped; /* launched before the kernel ahead in the stream has ended */
  bool stopped;
  uint64_t random;
  uint64_t steps, step_limit;
  int finding_limit;
  tensor *tensors; /* by value number */
  cell *sizes;     /* by value number */
  int64_t grid[3];
  int64_t block_count;
  int cluster_size;
  int warp_count;
  int64_t *slot_bytes; /* by value number: bytes from one slot of a shared buffer to the next, as in the emitted code */
  float *decoded[IR_TYPE_COUNT]; /* tables of float types up to 16 bits */
  cell (*stack)[LANES];
  arena *scratch; /* emptied after each op */
};

/* -- compile.c ----------------------------------------------------------------------------------------------------- */

void compile_kernel_code(machine *m);
/* A program for a stand-alone expression over sizes. */
const program *compile_program(machine *m, const ir_expr *expr);
domain domain_of(ir_type type);

/* -- expr.c -------------------------------------------------------------------------------------------------------- */

/* Into out[0 .. LANES); a uniform result is broadcast. Inactive lanes hold anything. */
void evaluate(machine *m, agent *a, const program *p, cell *out);
/* The value in the first active lane; a finding when active lanes differ. */
cell evaluate_uniform(machine *m, agent *a, const program *p);
/* Lanes of the agent's mask in which the predicate holds. */
uint32_t evaluate_mask(machine *m, agent *a, const program *p);
/* Value of a constant or size expression. */
int64_t evaluate_size(machine *m, const ir_expr *expr);

/* -- memory.c ------------------------------------------------------------------------------------------------------ */

bool is_real(ir_type type); /* its cells hold `f` */
/* `value` of type `from` as type `to`: rounded, truncated or wrapped. Floats stay as they are when the precision is
 * REFERENCE. */
cell convert_cell(const machine *m, ir_type from, ir_type to, cell value);
double round_real(const machine *m, ir_type type, double value);
uint64_t cell_bits(ir_type type, cell value); /* rounds */
cell bits_cell(const machine *m, ir_type type, uint64_t bits);
/* An element of a tensor, by position in storage. The position must lie inside (tensor_holds). */
bool tensor_holds(const tensor *t, int64_t position);
cell tensor_load(const machine *m, const tensor *t, int64_t position);
void tensor_store(tensor *t, int64_t position, cell value);
/* Position of the element with these coordinates; -1 outside the extents. */
int64_t tensor_position(const tensor *t, const int64_t *index);
/* What a block does to [first, first + count) of a tensor: bytes in the thread form, elements before it. A finding when
 * another block has written there, unless the blocks of this kernel order themselves by atomics. */
typedef enum tensor_use { TENSOR_READ, TENSOR_WRITE, TENSOR_COMBINE } tensor_use;
void tensor_touch(machine *m, agent *a, const tensor *t, int64_t first, int64_t count, tensor_use use);
/* Whether neighbours along a dimension are `stride` positions apart. */
static inline bool tensor_is_strided(const tensor *t) { return t->packed_columns == 0; }
int register_words(const ir_value *value);
cell register_cell(ir_type type, uint64_t word);
uint64_t register_word(ir_type type, cell value);
/* Elements of tiles and buffers, with their checks. `lane_mask` names the lanes of index[dimension][lane]. */
void store_read(machine *m, agent *a, const ir_value *value, int64_t slot, int64_t position, int64_t count,
                src_loc loc);
void store_write(machine *m, agent *a, const ir_value *value, int64_t slot, int64_t position, int64_t count,
                 src_loc loc);
/* The same for an access that is not the agent's own: by an asynchronous engine. `position` counts from slot 0. */
typedef struct access access;
void store_access(machine *m, access *x, int64_t position, int64_t count);
store *agent_store(const agent *a, const ir_value *value);

/* -- shadow.c ------------------------------------------------------------------------------------------------------ */

struct access {
  agent *agent;
  int clock_index; /* whose clock the access is known by */
  uint32_t clock;
  uint32_t lanes; /* of the warp; 1 before the thread form */
  bool write;
  bool async; /* through the async proxy */
  const ir_op *op;
  src_loc loc;
  const ir_value *value;            /* for messages */
  uint32_t last_before, last_after; /* cache of one transition; zero at first */
};

/* By the lanes that are active. */
access access_generic(agent *a, const ir_op *op, bool write, const ir_value *value);
/* The same by other lanes. */
void access_by(access *x, uint32_t lanes);
/* Checks and records the access to shadow[0 .. count). `position` of shadow[0] is for messages. */
void shadow_access(machine *m, access *x, uint32_t *shadow, int64_t count, int64_t position);
shadow_table *shadow_table_create(arena *memory);

/* -- lanes.c ------------------------------------------------------------------------------------------------------- */

uint32_t acting_lanes(const agent *a);
/* A copy of these lanes joins the open group, which is returned. */
uint32_t groups_use(lane_groups *g, uint32_t lanes);
/* These lanes wait for all their closed groups but the newest `pending`. */
void groups_wait(lane_groups *g, uint32_t lanes, int64_t pending);
/* Every lane has waited for what it copied. */
bool groups_are_done(const lane_groups *g);
void clock_join(uint32_t *into, const uint32_t *from, int count);
/* After a release: later accesses of the agent are not covered by what was released. */
void clock_advance(agent *a);
/* The newest own event that a release by the active lanes covers. */
uint32_t released_event(const agent *a);
/* Joins what the active lanes have done and observed into a barrier's clocks, and a barrier's into what they know. */
void lanes_release(const agent *a, uint32_t *clock, uint32_t *async_clock);
void lanes_observe(agent *a, const uint32_t *clock, const uint32_t *async_clock);
/* All lanes synchronise: what one knows, all know. */
void lanes_meet(agent *a);
void lanes_fence_async(agent *a);
/* Whether each of the lanes has an event, of lanes `by`, before it; and a fence.async between, on its way to them. */
bool lanes_know(const agent *a, uint32_t lanes, int clock_index, uint32_t clock, uint32_t by);
bool lanes_know_fence(const agent *a, uint32_t lanes, int clock_index, uint32_t clock);

/* -- barrier.c ----------------------------------------------------------------------------------------------------- */

mbarrier *barrier_of(machine *m, agent *a, const operand *o, int rank); /* rank -1: own block; NULL after a finding */
void barrier_init(machine *m, block *b, const ir_value *value, int64_t slot, int64_t arrivals,
                  const agent *by); /* slot -1: all */
/* Counts the bytes of an asynchronous copy that `a` issued, some turns later. */
void barrier_complete_later(machine *m, agent *a, mbarrier *barrier, int64_t bytes, const ir_value *value);
/* Notes an event that needs the block's shared memory to live on. */
void block_used_from_outside(block *b, int clock_index, uint32_t clock, const ir_op *op);
bool cluster_deliver(machine *m, cluster *c, bool force); /* completions that are due; true when there were some */
outcome execute_sync(machine *m, agent *a, const instruction *in);
void describe_wait(machine *m, agent *a, str *out);

/* -- scalar_ops.c -------------------------------------------------------------------------------------------------- */

/* The result of `operation` (ir_operation) on two elements of the type, rounded to it. */
cell combine_cells(const machine *m, ir_type type, int64_t operation, cell old, cell x);
/* Writes a word of a register array, with its checks; false after a finding about the index. */
bool register_write_word(machine *m, agent *a, const ir_value *value, int64_t index, int lane, uint64_t word);

/* -- thread_ops.c -------------------------------------------------------------------------------------------------- */

/* Words [first, first + count) of a register operand, ready to be read: [count][LANES]. NULL after a finding. */
const uint64_t *register_read_words(machine *m, agent *a, const operand *o, int count);
int64_t register_first(machine *m, agent *a, const operand *o);
/* Offset in the block's shared memory of `bytes` bytes at a shared address, checked to lie in the operand's buffer (its
 * slot) and to be aligned; -1 after a finding. */
int64_t shared_offset(machine *m, agent *a, const operand *o, int64_t address, int64_t bytes, int64_t alignment);
/* Records an access of shared bytes of a block. */
void shared_touch(machine *m, access *x, block *b, int64_t offset, int64_t bytes);
/* True when `bytes` bytes at the offset lie inside the tensor and are aligned; else a finding. */
bool global_fits(machine *m, agent *a, const tensor *t, int64_t offset, int64_t bytes, int64_t alignment);
/* A finding when not every lane of the warp is active. */
void require_warp(machine *m, agent *a, const ir_op *op);

/* -- tile_copy.c --------------------------------------------------------------------------------------------------- */

/* The part of a tensor or store that an operand names: where it starts, and the dimensions along which it extends. */
typedef struct region {
  const ir_value *value;
  tensor *tensor; /* or */
  store *store;
  int64_t slot;
  int64_t start[IR_MAX_RANK];
  int dim_count;
  int dim[IR_MAX_RANK];
  int64_t span[IR_MAX_RANK];
} region;

/* False after a finding. `shape` (may be NULL) is the other side, for an operand that gives a start but no spans. */
bool region_of(machine *m, agent *a, const operand *o, const region *shape, region *out);
int64_t region_count(const region *r);
/* The elements in row-major order, through access `x`; elements outside a tensor read as `outside`. In place when they
 * lie so, else copied to m->scratch. NULL after a finding. */
const cell *region_read(machine *m, const region *r, access *x, cell outside);
/* Writes converted elements of type `from`; those outside a tensor are dropped. */
void region_write(machine *m, const region *r, access *x, ir_type from, const cell *from_cells);

/* -- ops ----------------------------------------------------------------------------------------------------------- */

outcome execute_scalar(machine *m, agent *a, const instruction *in); /* let, set, atomic, declare */
outcome execute_move(machine *m, agent *a, const instruction *in);   /* fill, copy, convert */
outcome execute_tile(machine *m, agent *a, const instruction *in);   /* decode, reduce, scan, vote */
/* Whether any (IR_OR) or each (IR_AND) element of the tile of pred that the op reads first is true. */
bool tile_has(machine *m, agent *a, const instruction *in, ir_operation operation);
outcome execute_dot(machine *m, agent *a, const instruction *in);
outcome execute_thread(machine *m, agent *a, const instruction *in);
outcome execute_tensor_core(machine *m, agent *a, const instruction *in);
outcome execute_tma(machine *m, agent *a, const instruction *in);

/* One product of that many multiplications and additions: by tensor_core.c and tile_dot.c. */
void tensor_core_count(machine *m, int64_t flops);

/* -- agent.c ------------------------------------------------------------------------------------------------------- */

/* One turn for every agent of the cluster; sets `done` when none is left. False when nothing moved: with `alone` that
 * is a deadlock and reported, else another cluster may still help. */
bool cluster_round(machine *m, cluster *c, bool alone);

/* -- report.c ------------------------------------------------------------------------------------------------------ */

/* Records a finding and stops the machine at the limit. `a` may be NULL. */
void finding(machine *m, const agent *a, emulator_finding_kind kind, src_loc loc, src_loc other, const char *format,
             ...) __attribute__((format(printf, 6, 7)));
extern const src_loc nowhere;

uint64_t next_random(machine *m); /* agent.c; only with a seed */

static inline int first_lane(uint32_t mask) { return mask ? __builtin_ctz(mask) : 0; }

#endif
