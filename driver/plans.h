/* Plans of a kernel, between choose.c, which compares them, and dials.c, which finds what they differ in. */
#ifndef BITBLASC_DRIVER_PLANS_H
#define BITBLASC_DRIVER_PLANS_H

#include "driver/choose.h"
#include "passes/estimate.h"

enum {
  MAX_DIALS = 10,
  MAX_VALUES = 12,
  PLAN_LIMIT = 350,
  DEEP_TILE = 1024,
  ROW_UNIT = 16,
  INSTRUCTION_ROWS = 8,
  UNSET = -1
};

typedef struct dial {
  const char *name;
  bool is_attr, is_stages;
  ir_attr attr;
  int64_t standard; /* the source's value, which need not be among the others; UNSET for attributes */
  int64_t few;      /* a tile of fewer rows than an instruction has, that holds all there are; 0: none */
  int64_t depth;    /* of what a loop takes so much of at a turn; 0: it is no such thing, or not known */
  int64_t value[MAX_VALUES];
  int count;
} dial;

typedef struct plan {
  int64_t value[MAX_DIALS];
  estimate cost;
  const char *error; /* what the passes reported */
  bool expanded;
  bool repeats; /* an earlier plan: a request that changes nothing, or stages that do not fit */
  int number;   /* order of discovery */
} plan;

typedef struct choice {
  const compile_options *options;
  const frontend_ast *tree;
  const char *kernel; /* name */
  ir_form form;       /* tile, or fused for text that begins there */
  arena *memory;      /* of the plans */
  arena *trial;       /* of one lowering */
  arena *scratch;
  diag *quiet;
  dial dial[MAX_DIALS];
  int dial_count;
  plan plan[PLAN_LIMIT];
  int plan_count;
} choice;

/* Fills choice->dial: the parameters and attributes in which plans of the kernel differ, with their values. */
void plans_find_dials(choice *c, ir_kernel *kernel);
/* The kernel read with the plan's values, in `memory`; NULL and diagnostics in `d` when it cannot be. */
ir_module *plans_read(const choice *c, const plan *p, arena *memory, diag *d);

#endif
