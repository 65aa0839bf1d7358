/* The cost model: how long a scheduled kernel takes, and what bounds it, from its ops and the target's figures alone.
 * Nothing is measured and no kernel is known; ratios between plans for the same kernel are what it is for. */
#ifndef BITBLASC_PASSES_ESTIMATE_H
#define BITBLASC_PASSES_ESTIMATE_H

#include "passes/pass.h"

/* What can bound a kernel; each term is the time that it alone would take over the whole launch. */
typedef enum estimate_term {
  ESTIMATE_TENSOR,  /* tensor cores */
  ESTIMATE_SHARED,  /* bytes of shared memory */
  ESTIMATE_L2,      /* bytes between L2 and the SMs */
  ESTIMATE_HBM,     /* bytes of device memory */
  ESTIMATE_EXP,     /* special function unit */
  ESTIMATE_ALU,     /* arithmetic and issue */
  ESTIMATE_LATENCY, /* waiting: loads, barriers, the fill of the pipeline */
  ESTIMATE_TAIL,    /* SMs without work in the last wave */
  ESTIMATE_TERM_COUNT
} estimate_term;
const char *
estimate_term_name(estimate_term term); /* "tensor", "shared", "l2", "hbm", "exp", "alu", "latency", "tail" */

typedef struct estimate {
  const char *refusal; /* why the plan cannot run; NULL when it can. The rest is filled as far as it is known */
  double microseconds; /* of one launch */
  double term[ESTIMATE_TERM_COUNT]; /* microseconds */
  estimate_term bound;              /* the largest term */
  double blocks;                    /* of the grid, at the sizes assumed */
  int blocks_per_sm;
  int registers;        /* a thread that computes */
  int64_t shared_bytes; /* of a block */
  bool uses_fma;        /* some dot runs without tensor cores */
  bool uses_wgmma;
} estimate;

/* Estimates a kernel in scheduled form that still has its grid. Sizes are those bound, else options->expected, else
 * 4096. `scratch` is used for tables and may be reset afterwards. */
void estimate_kernel(ir_kernel *kernel, const pass_options *options, arena *scratch, estimate *out);

/* The figures that a kernel of this target is estimated by: of the GPU that it runs on. */
ir_target_info estimate_machine(ir_target target, const pass_options *options);

/* The blocks an SM that registers of a kernel without dots and producers should be limited for, in scheduled form; 1
 * for no limit, where its tiles leave room for no second block. */
int estimate_min_blocks(ir_kernel *kernel, int level, arena *scratch);

/* Registers beside accumulators and operands that a dot needs which promotes its sums. */
enum { ESTIMATE_PART_ADDRESSES = 32 };

/* A table of estimates: the head, and a row. `plan` is the plan in words; `mark` stands before it ("*" for the one
 * chosen, "" else). */
void estimate_print_head(str *out);
void estimate_print_row(const estimate *e, int rank, const char *mark, const char *plan, str *out);

#endif
