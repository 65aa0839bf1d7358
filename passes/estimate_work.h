/* What one block of a scheduled kernel does, counted from its ops: the input of the cost model in estimate.c. */
#ifndef BITBLASC_PASSES_ESTIMATE_WORK_H
#define BITBLASC_PASSES_ESTIMATE_WORK_H

#include "passes/pass.h"

enum { WORK_MAX_SECTIONS = 32, WORK_MAX_TRAFFIC = 64 };

/* The work of a section: an outermost loop, or the ops between two of them. Within a section things overlap as far as
 * the warps allow, sections follow one another. Fractions are averages over the blocks of the grid. */
typedef struct work {
  double tensor;     /* clocks of the SM's tensor cores */
  double shared;     /* bytes of shared memory read and written, operands of tensor-core instructions included */
  double l2;         /* bytes between the L2 cache and the SM, before multicast */
  double exp;        /* results of the special function unit */
  double alu;        /* thread instructions, in units of a 32-bit float operation */
  double copies;     /* instructions of copy engines */
  double decodes;    /* those of alu that decode into operands of wgmma */
  double loads;      /* iterations that copy engines load for */
  double slots;      /* stages of those loops */
  bool is_direct;    /* what is most of it goes to registers, a turn at a time */
  bool chooses;      /* codes choose between the products of its dots */
  double dots;       /* dots in those loops */
  double sync_waits; /* load latencies that the block's threads wait for */
  double turns;      /* iterations of loops that hand buffers over: one barrier each */
  double sums;       /* that warps which share k add, once, behind the loop */
  double chains;     /* of dots that wait for reductions of each other's results: links, over all iterations */
} work;

/* What a block moves of one tensor by one copy. */
typedef struct traffic {
  const ir_value *tensor;
  double bytes;   /* of one block */
  bool varies[3]; /* whether blocks that differ in this grid dimension move other bytes */
  bool is_load;
  bool is_again;             /* a load of what the block loaded before */
  bool is_shared_by_cluster; /* a tensor-map load: blocks of a cluster can share it */
} traffic;

typedef struct block_work {
  work section[WORK_MAX_SECTIONS];
  int section_count;
  traffic moved[WORK_MAX_TRAFFIC];
  int moved_count;
  double grid[3];      /* extents of the grid, 1 where there is none */
  int64_t *sizes;      /* by value number: what the sizes were taken to be */
  int registers;       /* 32-bit registers a thread that tiles take at once, without addresses and temporaries */
  int least_registers; /* that they can do with, where a limit asks for it: 16-bit elements stay packed */
  int part_registers;  /* for a time: sums of a dot that are to be promoted */
  int wgmma_columns;   /* of the widest wgmma, 0 when there is none */
  bool uses_fma;       /* some dot runs without tensor cores */
  bool has_dots;
  bool is_narrow;       /* some copy of a tile goes element by element where sizes turn out odd */
  int64_t shared_bytes; /* buffers in all their stages, the staging of stores, barriers */
} block_work;

/* Counts the work of a kernel in scheduled form that has its grid still. */
void work_count(ir_kernel *kernel, const pass_options *options, const ir_target_info *figures, arena *scratch,
                block_work *out);

/* Parts of the count: registers and shared bytes of a block (estimate_room.c); the dot that reads a tile, or NULL. */
void work_room(ir_kernel *kernel, const ir_op *const *dot, int dot_count, int level, arena *scratch, block_work *out);
const ir_op *work_reader(const ir_op *const *dot, int count, const ir_value *tile);

/* Bytes of a tensor at the sizes of the count. */
double work_tensor_bytes(const block_work *w, const ir_value *tensor);

#endif
