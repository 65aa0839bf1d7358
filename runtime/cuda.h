/* The CUDA driver, opened at run time. Its types are restated here, so that no CUDA header is needed to build: the
 * layouts are those of cuda.h 13.0 (CUlaunchConfig, CUlaunchAttribute, CUtensorMap), asserted in cuda.c. */
#ifndef BITBLASC_RUNTIME_CUDA_H
#define BITBLASC_RUNTIME_CUDA_H

#include "runtime/status.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

typedef int cuda_device;
typedef struct cuda_context_object *cuda_context;
typedef struct cuda_module_object *cuda_module;
typedef struct cuda_function_object *cuda_function;
typedef struct cuda_stream_object *cuda_stream; /* NULL: the default stream */
typedef struct cuda_event_object *cuda_event;
typedef uint64_t cuda_address; /* in device memory; CUdeviceptr */

enum {
  CUDA_OK = 0,
  CUDA_OUT_OF_MEMORY = 2,
  CUDA_NO_BINARY_FOR_GPU = 209,

  CUDA_DEVICE_CLOCK_KHZ = 13,
  CUDA_DEVICE_SM_COUNT = 16,
  CUDA_DEVICE_L2_BYTES = 38,
  CUDA_DEVICE_CAPABILITY_MAJOR = 75,
  CUDA_DEVICE_CAPABILITY_MINOR = 76,
  CUDA_DEVICE_SHARED_OPTIN_BYTES = 97,

  CUDA_FUNCTION_SHARED_BYTES = 1,
  CUDA_FUNCTION_LOCAL_BYTES = 3,
  CUDA_FUNCTION_REGISTERS = 4,
  CUDA_FUNCTION_MAX_DYNAMIC_SHARED_BYTES = 8,
  CUDA_FUNCTION_NON_PORTABLE_CLUSTER = 14,

  CUDA_STREAM_NON_BLOCKING = 1,

  CUDA_ATTRIBUTE_CLUSTER_DIMENSION = 4,
  CUDA_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6,

  CUDA_PORTABLE_CLUSTER_BLOCKS = 8, /* more need CUDA_FUNCTION_NON_PORTABLE_CLUSTER */
};

typedef struct cuda_tensor_map {
  alignas(64) uint64_t opaque[16];
} cuda_tensor_map;

typedef struct cuda_launch_attribute {
  uint32_t id;
  uint32_t pad;
  union {
    struct {
      uint32_t x, y, z;
    } cluster;
    int programmatic_serialization;
    unsigned char bytes[64];
  } value;
} cuda_launch_attribute;

typedef struct cuda_launch_config {
  uint32_t grid[3];
  uint32_t block[3];
  uint32_t shared_bytes;
  cuda_stream stream;
  cuda_launch_attribute *attributes;
  uint32_t attribute_count;
} cuda_launch_config;

/* One member a row of cuda_api.def. A test fills it with its own functions. */
typedef struct cuda_driver {
#define CUDA_API(member, symbol, needed, arguments) int(*member) arguments;
#include "runtime/cuda_api.def"
#undef CUDA_API
} cuda_driver;

/* Opens libcuda.so.1, or the library at `path` when that is not NULL, fills the table and calls cuInit. The library is
 * never unloaded. RUNTIME_NO_DRIVER when there is none, one too old, or no GPU behind it. */
runtime_status cuda_open(const char *path, cuda_driver *driver, runtime_message *message);

/* `what` failed with `result`: RUNTIME_OUT_OF_MEMORY, RUNTIME_WRONG_TARGET or RUNTIME_DRIVER, and a message with the
 * driver's own words. */
runtime_status cuda_fail(const cuda_driver *driver, runtime_message *message, const char *what, int result);

#endif
