/* The emulator: executes a kernel of any form on a machine without a GPU.
 *
 * The forms tile .. laid_out run block-wide, op by op; this is the reference meaning of a kernel. The pipelined form
 * runs its roles as concurrent agents. The thread form runs every warp of a block as an agent with 32 lanes, executes
 * what one thread does bit for bit, and keeps vector clocks for warps and asynchronous engines over every byte of
 * shared memory, so that a missing wait, fence or barrier is a finding whatever the timing was. Blocks run one after
 * another, the blocks of a cluster together. Deterministic for one seed. */
#ifndef BITBLASC_EMULATOR_EMULATOR_H
#define BITBLASC_EMULATOR_EMULATOR_H

#include "ir/events.h"
#include "ir/ir.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One tensor argument. Not owned. Sub-byte elements are a contiguous bit stream, little-end first. */
typedef struct emulator_tensor {
  void *bytes;      /* the elements as the kernel stores them; a packed tensor (value->packed) in packed order; writable
                       unless direction is in */
  size_t byte_size; /* accesses beyond it are findings */
  double *wide; /* REFERENCE precision: NULL, or one double a stored element: what the kernel wrote, unrounded. Filled
                   from `bytes` first */
} emulator_tensor;

typedef enum emulator_precision {
  EMULATOR_NATIVE,   /* types are rounded as declared; dots accumulate in f32 or i32 */
  EMULATOR_REFERENCE /* forms before the thread form only: every float is a double and is never rounded */
} emulator_precision;

typedef struct emulator_options {
  emulator_precision precision;
  bool no_checks; /* skips initialisation, race, proxy and in-flight checks; bounds are always checked */
  int blocks; /* blocks launched for a kernel that walks its tiles itself (reads `blocks`); 0: as many as the target has
                 SMs */
  int blocks_in_flight; /* clusters run together; 0: one */
  uint64_t seed;        /* chooses the order of agents and the delay of asynchronous ops; 0 is round robin */
  uint64_t step_limit;  /* instructions all agents may execute together; 0: 4e9 */
  int finding_limit;    /* stops after so many findings; 0: 1 */
} emulator_options;

typedef struct emulator_launch {
  emulator_tensor *tensors; /* one a GLOBAL value, in the order of kernel->values */
  int tensor_count;
  const int64_t *sizes; /* one a SIZE value, in the order of kernel->values */
  int size_count;
  emulator_options options;
} emulator_launch;

typedef enum emulator_finding_kind {
#define FINDING(id, name, meaning) EMULATOR_##id,
#include "emulator/findings.def"
#undef FINDING
  EMULATOR_FINDING_COUNT
} emulator_finding_kind;
const char *emulator_finding_name(emulator_finding_kind kind);
const char *emulator_finding_meaning(emulator_finding_kind kind);

typedef struct emulator_finding {
  emulator_finding_kind kind;
  const char *message; /* in the report's arena; lower-case, no full stop */
  src_loc loc;         /* of the access that was objected to */
  src_loc other;       /* of the earlier access, declaration or barrier it conflicts with; line 0: none */
  int block;           /* linear block index; -1: before any block ran */
  int warp;            /* thread form: warp of the block; -1: a role or the whole block */
  const char *role;    /* "" outside roles */
} emulator_finding;

/* What was executed, over all blocks. Bytes of tensors before the thread form are those of copies. */
typedef struct emulator_counts {
  uint64_t steps; /* instructions of agents */
  uint64_t events[IR_EVENT_COUNT];
} emulator_counts;

typedef struct emulator_report {
  arena *memory; /* owned; holds findings and messages; freed by emulator_report_free */
  emulator_finding *findings;
  int finding_count;
  int finding_capacity;
  emulator_counts counts;
} emulator_report;

/* Runs the whole grid. True when there are no findings. `report` need not be initialised; free it in either case. The
 * kernel must have passed ir_verify. On a finding with kind LAUNCH nothing ran; on others the outputs are partly
 * written. */
bool emulator_run(const ir_kernel *kernel, const emulator_launch *launch, emulator_report *report);
void emulator_report_free(emulator_report *report);
/* `file:line:column: kind: message` and a note a finding; file names from `d` (may be NULL). */
void emulator_report_text(const emulator_report *report, const diag *d, str *out);
/* The same as one JSON object a finding and line: severity, id, file, line, column, message, block, warp and role where
 * there are any, and other: file, line, column. */
void emulator_report_json(const emulator_report *report, const diag *d, str *out);

/* Blocks that a launch starts: the product of the grid, or block_count; fewer for kernels that walk their tiles. -1: an
 * extent is not an integer >= 0. */
int64_t emulator_block_count(const ir_kernel *kernel, const emulator_launch *launch);

#endif
