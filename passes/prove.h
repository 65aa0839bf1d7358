/* What the passes of the static proof share: concrete values of expressions, the choice of sizes, flat programs.
 *
 * The proof executes a kernel's control flow and synchronisation for a few small sizes and knows nothing of what it
 * computes: integers are evaluated where they are known, everything else is unknown. */
#ifndef BITBLASC_PASSES_PROVE_H
#define BITBLASC_PASSES_PROVE_H

#include "passes/pass.h"

/* -- Values (prove_values.c)
 * ------------------------------------------------------------------------------------------ */

typedef struct prove_number {
  bool known;
  int64_t value;
} prove_number;

/* What scalars, indices and sizes are, by value number. Where nothing is known of a value, its definition is looked
 * through when there is one. */
typedef struct prove_env {
  prove_number *value;
  const ir_expr *const *definition; /* of immutable scalars; NULL: none */
  int64_t block, blocks, cta_rank;  /* what block(), blocks() and cta_rank() are */
  prove_number element;             /* what integer elements of tensors are */
} prove_env;

prove_number prove_eval(const prove_env *env, const ir_expr *e);
bool prove_eval_is(const prove_env *env, const ir_expr *e, int64_t value);

/* The immutable scalars' definitions, by value number; where roles define one twice, either does. */
const ir_expr **prove_definitions(arena *memory, ir_kernel *kernel);

/* Iterations of a loop from its bounds; unknown when they are. */
prove_number prove_trips(const prove_env *env, const ir_expr *lo, const ir_expr *hi, const ir_expr *step);

/* Gives every size the least value that its declaration and the facts suggest. */
void prove_least_sizes(const ir_kernel *kernel, prove_env *env);
/* Changes one size that is not `fixed` (by value number), and marks it, such that the loop has `target` iterations, or
 * a few more where no size gives exactly that. */
bool prove_reach(const ir_kernel *kernel, prove_env *env, bool *fixed, const ir_expr *lo, const ir_expr *hi,
                 const ir_expr *step, int64_t target);
bool prove_facts_hold(const ir_kernel *kernel, const prove_env *env);

/* -- Programs (prove_program.c)
 * --------------------------------------------------------------------------------------- */

/* How an instruction touches a buffer, or a tile that asynchronous dots use. */
typedef enum prove_touch {
  PROVE_READ,       /* ordinary loads, by all threads */
  PROVE_WRITE,      /* ordinary stores, by all threads */
  PROVE_DOT_READ,   /* by the tensor core, until its group was waited for */
  PROVE_STORE_READ, /* by a bulk store, until its group was waited for */
  PROVE_COPY_WRITE, /* by cp.async, until its group was waited for */
  PROVE_FILL,       /* by the copy engine, until its mbarrier's phase completes */
  PROVE_TOUCH_COUNT
} prove_touch;

typedef struct prove_access {
  prove_touch touch;
  ir_value *value; /* SHARED, or TILE */
  const ir_expr *slot;
  int site; /* number of the access in the program */
  int turn; /* depth of the loop whose iterations take turns in a ring: the nearest that fills it too; -1 */
} prove_access;

typedef enum prove_step { PROVE_OP, PROVE_FOR, PROVE_NEXT, PROVE_IF, PROVE_JUMP, PROVE_ROLES } prove_step;

typedef struct prove_instruction {
  prove_step step;
  const ir_op *op;
  int target; /* FOR: behind the loop; NEXT: the body; IF: the other branch; JUMP */
  int depth;  /* FOR, NEXT */
  int access_count;
  const prove_access *access;
} prove_instruction;

/* One flow of control: the block's, or a role's. */
typedef struct prove_flow {
  const ir_op *role; /* NULL: the whole block */
  int threads;
  bool is_single; /* its synchronisation is one thread's, as lowering does for a role that only drives engines */
  int count, capacity;
  prove_instruction *instruction;
} prove_flow;

enum { PROVE_MAX_FLOWS = 5, PROVE_MAX_DEPTH = 8, PROVE_MAX_LOOPS = 8 };

typedef struct prove_program {
  ir_kernel *kernel;
  int flow_count;
  prove_flow flow[PROVE_MAX_FLOWS]; /* [0]: the block */
  int site_count;
  bool reads_elements; /* control depends on elements of tensors */
  int loop_count;
  const ir_op *loop[PROVE_MAX_LOOPS]; /* loops with different bounds that hold synchronisation, outer ones first */
} prove_program;

/* Flattens the kernel, without what has no part in synchronisation. False when it is beyond the limits above. */
bool prove_flatten(ir_kernel *kernel, arena *memory, prove_program *program);

/* -- Execution (prove_run.c)
 * ------------------------------------------------------------------------------------------ */

typedef struct prove_machine prove_machine;
prove_machine *prove_machine_create(const prove_program *program, pass_env *env);
/* Executes the program for the sizes of `start`. Integers in tensors, and conditions and loops that follow neither
 * from them nor from the sizes, take the choice number `pattern` (0 .. PROVE_PATTERNS - 1), in all roles alike. False:
 * a diagnostic was reported. */
bool prove_run(prove_machine *machine, const prove_env *start, int pattern);
bool prove_met_unknown(const prove_machine *machine); /* whether a run so far had to choose */
int prove_steps(const prove_machine *machine);        /* executed so far */
enum { PROVE_PATTERNS = 4 };

#endif
