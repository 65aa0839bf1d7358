/* Running a compiled kernel on the first GPU, for `bitblasc run`. */
#ifndef BITBLASC_DRIVER_MAIN_RUN_GPU_H
#define BITBLASC_DRIVER_MAIN_RUN_GPU_H

#include "driver/main_run_data.h"
#include "runtime/launch.h"

typedef struct run_gpu {
  cuda_driver driver;
  device *device;
} run_gpu;

/* The first GPU. Close it in either case. */
runtime_status run_gpu_open(run_gpu *gpu, runtime_message *message);
void run_gpu_close(run_gpu *gpu);

typedef struct run_gpu_launch {
  const void *cubin; /* with its note */
  size_t cubin_size;
  data_tensor *const *tensors; /* in the order of the record */
  const int64_t *sizes;        /* in the order of the record */
  int repeat;                  /* launches to time; 0: none */
  uint64_t *events;            /* [IR_EVENT_COUNT], what the launch counted; NULL: the kernel does not count */
} run_gpu_launch;

/* Uploads the tensors (packed ones in their order), launches once, downloads what the kernel writes, then times further
 * launches. */
runtime_status run_gpu_execute(run_gpu *gpu, const run_gpu_launch *launch, arena *memory, launch_facts *facts,
                               launch_timing *timing, runtime_message *message);

#endif
