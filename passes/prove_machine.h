/* The machine that executes a flat program for one choice of sizes, and proves it for every timing.
 *
 * One interleaving is executed; what holds for all of them follows from happens-before. Every agent has a clock: each
 * flow (the block, each role), its groups of bulk stores, of cp.async and of asynchronous dots, every slot of every
 * mbarrier and every named barrier. A flow keeps four vectors of what it knows of all clocks:
 *
 *   all       known to each of its threads                     seen_all   of that, ordinary stores that are fenced for
 *   first     known to its first thread                                   the async proxy
 *   own       known to the threads for their own part: what a barrier or an arrival of all of them hands on, with seen_own
 *
 * Where a role stores in parts (attribute), each part's threads do the same to their own share, so one part stands for
 * all. What the part's threads, or its first one, know of what their own part did is kept beside the rest:
 *
 *   part      known to each thread of a part           seen_part   of that, ordinary stores that are fenced
 *   head      known to the first thread of a part
 *
 * The blocks of a cluster do the same, so one stands for all: what it sends to another is what it gets from another.
 *
 * An access is right when the knowledge of the thread that makes it includes every earlier access it conflicts with. */
#ifndef BITBLASC_PASSES_PROVE_MACHINE_H
#define BITBLASC_PASSES_PROVE_MACHINE_H

#include "passes/prove.h"

enum { PROVE_NAMED_BARRIERS = 16, PROVE_NEVER = -2 };

/* What happened last, by flow: a clock's time and the op. */
typedef struct prove_event {
  int time; /* 0: never */
  const ir_op *op;
} prove_event;

/* A slot of a shared buffer, or a tile. */
typedef struct prove_memory {
  prove_event last[PROVE_TOUCH_COUNT][PROVE_MAX_FLOWS]; /* FILL: [0] only */
  int fill_agent;
  int parts;  /* that access it, each its own share; 0: nobody has yet */
  int axis;   /* of the shares */
  int number; /* of the fill it holds, counted over the buffer's slots */
} prove_memory;

/* When a site last read a ring, and which fill it found. */
typedef struct prove_turn {
  int serial, number; /* number 0: never */
} prove_turn;

/* A slot of an mbarrier. */
typedef struct prove_barrier {
  const ir_value *value;
  int slot;
  int count; /* arrivals that complete a phase; 0 before mbar.init */
  int init_time;
  int arrived;
  unsigned ranks;            /* bit set: blocks of the cluster that this phase's arrivals were sent to */
  int64_t expected, brought; /* bytes of the phase */
  int phase;                 /* the phase that is not complete yet, from 0 */
  bool fills;                /* brought bytes so far in the run */
  const ir_op *last_op;
  int waited[PROVE_MAX_FLOWS];      /* the last phase that the flow waited for; PROVE_NEVER */
  int waited_time[PROVE_MAX_FLOWS]; /* and when */
  int *gathered, *gathered_seen;    /* knowledge of this phase's arrivals */
  int *done, *done_seen;            /* of completed phases */
  int *done_wide;                   /* of those whose arrivals came from all blocks of the cluster */
} prove_barrier;

typedef struct prove_named {
  int arrived; /* threads */
  int generation;
  unsigned flows, waiting; /* bit sets */
  int threads;
  int *gathered, *gathered_seen;
} prove_named;

typedef struct prove_loop {
  int64_t remaining;
  bool known;
  int64_t step;
  int iteration;
  int serial; /* of the iteration, over the flow's whole run */
} prove_loop;

typedef enum prove_status { PROVE_READY, PROVE_BLOCKED, PROVE_DONE, PROVE_FAILED } prove_status;

typedef struct prove_agent { /* a flow as it runs */
  const prove_flow *flow;
  int index, counter;
  prove_status status;
  int time, serial;
  prove_env env;
  prove_loop loop[PROVE_MAX_DEPTH];
  int stores, stores_done; /* groups committed, known to have been read */
  int copies, copies_done;
  int dots, dots_done;
  bool store_open, copy_open, dot_open; /* something was issued since the last commit */
  int64_t last_copies;                  /* groups of copies up to the last that is not empty */
  int store_parts;                      /* of the stores since the last wait for all of them */
  const ir_op *store_op, *copy_op, *dot_op;
  const ir_op *blocked_at;
  int *all, *first, *own, *seen_all, *seen_own;
  int *part, *head, *seen_part;
  int *wide; /* known to be so in all blocks of the cluster: what a copy to all of them needs */
} prove_agent;

struct prove_machine {
  const prove_program *program;
  pass_env *env;
  arena *memory;
  const ir_kernel *kernel;
  int width; /* clocks */
  int flow_count;
  prove_agent flow[PROVE_MAX_FLOWS];
  int barrier_base, barrier_count;
  prove_barrier *barrier;
  int *barrier_of; /* by value number: the first slot's index; -1 */
  int named_base;
  prove_named named[PROVE_NAMED_BARRIERS];
  int memory_count;
  prove_memory *cell;
  int *cell_of;     /* by value number */
  int *fills;       /* of a buffer so far, by value number */
  prove_turn *turn; /* by access site */
  int *clocks;      /* all vectors, one after another */
  size_t clock_count;
  int cluster; /* blocks that the widest multicast reaches; 1: none */
  bool init_fenced;
  int pattern;
  bool met_unknown;
  int steps, limit;
  const prove_env *start;
};

/* Clocks of a flow's groups. */
static inline int prove_store_clock(const prove_machine *m, int flow) { return m->flow_count + flow; }
static inline int prove_copy_clock(const prove_machine *m, int flow) { return 2 * m->flow_count + flow; }
static inline int prove_dot_clock(const prove_machine *m, int flow) { return 3 * m->flow_count + flow; }

void prove_join(const prove_machine *m, int *into, const int *from);
/* The flow's threads learn what is in the vectors. */
void prove_acquire(const prove_machine *m, prove_agent *a, const int *known, const int *seen);

/* Reports what is wrong at `op`, `culprit` being the pass that should have prevented it, with a note at `other` (may be
 * NULL) and the sizes. Returns false. */
bool prove_fail(prove_machine *m, const prove_agent *a, const char *culprit, const ir_op *op, const ir_op *other,
                const char *format, ...) __attribute__((format(printf, 6, 7)));
const char *prove_flow_name(const prove_agent *a);

/* prove_memory.c: checks and records the accesses of an instruction. */
bool prove_accesses(prove_machine *m, prove_agent *a, const prove_instruction *instruction);
/* prove_sync.c: executes an op that synchronises, or brings bytes to an mbarrier. */
prove_status prove_synchronise(prove_machine *m, prove_agent *a, const ir_op *op);
bool prove_bring(prove_machine *m, prove_agent *a, const ir_op *copy, int *clock, int *time);
bool prove_flow_ends(prove_machine *m, prove_agent *a);
bool prove_all_end(prove_machine *m);
bool prove_deadlock(prove_machine *m);

#endif
