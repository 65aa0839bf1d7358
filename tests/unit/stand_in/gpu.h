/* A GPU that does nothing, and an NVRTC that compiles nothing: a shared library that answers to libcuda.so.1 in the programs
 * that are linked with it, so that the library under test opens it as it opens the real one. It keeps count of what it is
 * asked for, and refuses what the driver refuses while a stream is captured. "Device memory" is host memory. */
#ifndef BITBLASC_TESTS_UNIT_STAND_IN_GPU_H
#define BITBLASC_TESTS_UNIT_STAND_IN_GPU_H

#include "runtime/cuda.h"

#include <stdatomic.h>
#include <stdbool.h>

enum {
  STAND_IN_DEVICES = 2,               /* of compute capability 9.0 */
  STAND_IN_CAPTURE_UNSUPPORTED = 900, /* CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED */
  STAND_IN_CAPTURE_IMPLICIT = 906,    /* CUDA_ERROR_STREAM_CAPTURE_IMPLICIT */
};

typedef int stand_in_launch_hook(const cuda_launch_config *config, void **parameters);
typedef int stand_in_map_hook(cuda_tensor_map *map, int type, uint32_t rank, void *address, const uint64_t *extents,
                              const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides,
                              int interleave, int swizzle, int promotion, int fill);

typedef struct stand_in_gpu {
  /* What the test sets; all of it is 0 at first. */
  int fail_load, fail_launch; /* CUresult to answer with */
  const char *entry;          /* the only function that modules have; NULL: any */
  stand_in_launch_hook *on_launch;
  stand_in_map_hook *on_map;
  cuda_stream captured;            /* NULL: nothing is captured */
  const char *pinned, *pinned_end; /* host memory that is page-locked; all other is pageable */

  /* What is open. */
  atomic_int contexts, modules, events, memory, entered;
  /* What was called since the start. */
  atomic_int allocations, frees, waits, loads, unloads, retains, releases, launches, maps;
  atomic_int staged;   /* copies of pageable host memory */
  atomic_int refused;  /* because of the capture */
  atomic_int compiles; /* by NVRTC */

  /* Of the last call. */
  atomic_int dynamic_shared, occupancy_threads;
  atomic_int blocks_per_sm; /* that fit; 0: one */
  atomic_size_t occupancy_shared;
  atomic_uint occupancy_cluster;
} stand_in_gpu;

/* The one GPU of the program, which the driver's functions have no argument to find by. */
__attribute__((visibility("default"))) stand_in_gpu *stand_in(void);
/* Whether everything that was opened, loaded, allocated or entered is closed again. */
__attribute__((visibility("default"))) bool stand_in_is_closed(void);
/* Its file: what bitblas_context_config.nvrtc_path takes. */
__attribute__((visibility("default"))) const char *stand_in_nvrtc_path(void);
/* What its NVRTC makes of everything: the least that elf_note_add takes for a cubin. */
__attribute__((visibility("default"))) const void *stand_in_cubin(size_t *size);

#endif
