/* Shared by the files that count the work of a block: the walk over its ops (estimate_work.c), dots and decodes
 * (estimate_dots.c), copies (estimate_copies.c). */
#ifndef BITBLASC_PASSES_ESTIMATE_COUNT_H
#define BITBLASC_PASSES_ESTIMATE_COUNT_H

#include "passes/estimate_work.h"

enum {
  COUNT_MAX_DOTS = 32,
  COUNT_PANEL_BYTES = 128 /* of a row in shared memory: a box of a copy engine, and what wgmma reads at full speed */
};

typedef struct counter {
  block_work *out;
  ir_kernel *kernel;
  const ir_target_info *target;
  arena *scratch;
  int64_t *value;     /* by value number */
  uint8_t *grid_mask; /* by value number: the grid dimensions that it depends on */
  work *now;          /* the open section */
  const ir_op *dot[COUNT_MAX_DOTS];
  int dot_count;
  int warps, producers, level;
} counter;

/* The innermost loop that a copy stands in. */
typedef struct loop_frame {
  bool has_async, has_sync, is_direct;
  int dots;
} loop_frame;

/* The grid dimensions that the expression depends on, a bit each; the same of where a region lies. */
uint8_t count_mask(const counter *c, const ir_expr *e);
uint8_t count_ref_mask(const counter *c, const ir_ref *ref);
/* At least 0. */
double count_extent(const int64_t *values, const ir_expr *e);

/* Each op is taken `weight` times. */
void count_dot(counter *c, const ir_op *dot, double weight);
void count_decode(counter *c, const ir_op *decode, double weight);
void count_copy(counter *c, const ir_op *copy, double weight, loop_frame *frame);
/* Bytes between a tensor and the block, which differ along the grid dimensions of the mask. */
void count_traffic(counter *c, const ir_value *tensor, double bytes, uint8_t mask, bool is_load, bool by_map);

#endif
