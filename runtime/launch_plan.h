/* What a launch record says about given arguments: checks and numbers, no GPU involved (the emulator is launched from
 * the same). */
#ifndef BITBLASC_RUNTIME_LAUNCH_PLAN_H
#define BITBLASC_RUNTIME_LAUNCH_PLAN_H

#include "codegen/record.h"
#include "runtime/status.h"

#include <stddef.h>
#include <stdint.h>

/* The value of a record_scalar, in the member that its type names. */
typedef union launch_scalar {
  int32_t i32;
  uint32_t u32;
  float f32;
  int64_t i64;
  uint64_t u64;
  double f64;
} launch_scalar;

/* Arguments of one launch; each array is as long, and in the order, of the record's list of that name. */
typedef struct launch_arguments {
  const int64_t *sizes;
  const uint64_t *tensors; /* device addresses */
  const launch_scalar *scalars;
  uint64_t workspace; /* device address; 0 when the record asks for none */
  uint64_t workspace_bytes;
} launch_arguments;

/* Every size within 0..2^31-1 and a multiple of what the record says; every constraint true; every address aligned, and
 * not null unless the tensor is empty; the workspace large enough. RUNTIME_BAD_ARGUMENT or RUNTIME_CONSTRAINT, with
 * both values in the message. */
runtime_status launch_check(const record *r, const launch_arguments *arguments, runtime_message *message);
/* The part of launch_check that looks at the sizes only. */
runtime_status launch_check_sizes(const record *r, const int64_t *sizes, runtime_message *message);

/* Elements along each dimension of a tensor, and its bytes in memory: sub-byte elements rounded up to a byte over the
 * whole tensor, packed ones to whole blocks. */
runtime_status launch_tensor_extents(const record *r, const int64_t *sizes, int tensor,
                                     int64_t extents[RECORD_RANK_MAX], runtime_message *message);
runtime_status launch_tensor_bytes(const record *r, const int64_t *sizes, int tensor, uint64_t *bytes,
                                   runtime_message *message);
runtime_status launch_workspace_bytes(const record *r, const int64_t *sizes, uint64_t *bytes, runtime_message *message);

/* Blocks along x, y, z; a 0 among them: there is nothing to launch. Of a persistent kernel at most `resident_blocks`
 * (not looked at otherwise), a whole number of clusters. */
runtime_status launch_grid(const record *r, const int64_t *sizes, int64_t resident_blocks, uint32_t grid[3],
                           runtime_message *message);

#endif
