/* A GPU: its primary context (or one of the application's), memory and streams. Every call pushes the context and pops it again, so an application's
 * own stays current. Calls on one device may come from any thread. */
#ifndef BITBLASC_RUNTIME_DEVICE_H
#define BITBLASC_RUNTIME_DEVICE_H

#include "runtime/cuda.h"
#include "runtime/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct device device;

typedef struct device_facts {
  char name[128];
  int ordinal;
  int capability_major; /* 9 */
  int capability_minor; /* 0 */
  int sm_count;
  int shared_optin_bytes; /* dynamic shared memory a block may ask for */
  int l2_bytes;
  int clock_khz;
  int driver_version; /* 13000 is CUDA 13.0 */
  size_t memory_bytes;
} device_facts;

runtime_status device_count(const cuda_driver *driver, int *count, runtime_message *message);
/* `driver` outlives the device. RUNTIME_NO_DEVICE when there is no such ordinal. */
runtime_status device_open(const cuda_driver *driver, int ordinal, device **out, runtime_message *message);
/* The context that is current in this thread, which must outlive the device. RUNTIME_NO_DEVICE when there is none. */
runtime_status device_open_current(const cuda_driver *driver, device **out, runtime_message *message);
void device_close(device *d); /* d may be NULL; kernels loaded on it are unloaded before */

const device_facts *device_get_facts(const device *d);
const cuda_driver *device_driver(const device *d);

/* Makes the device's context current in this thread; each enter is followed by one leave. */
runtime_status device_enter(device *d, runtime_message *message);
void device_leave(device *d);

/* Memory. Addresses are at least 256-byte aligned; 0 bytes gives address 0, which device_free ignores. */
runtime_status device_allocate(device *d, size_t bytes, cuda_address *address, runtime_message *message);
void device_free(device *d, cuda_address address);
/* Enqueued on the stream. The host memory must stay until device_synchronize, unless it is pageable, when the driver
 * stages it. */
runtime_status device_upload(device *d, cuda_address to, const void *from, size_t bytes, cuda_stream stream,
                             runtime_message *message);
runtime_status device_download(device *d, void *to, cuda_address from, size_t bytes, cuda_stream stream,
                               runtime_message *message);
runtime_status device_fill(device *d, cuda_address to, unsigned char value, size_t bytes, cuda_stream stream,
                           runtime_message *message);

runtime_status device_stream_create(device *d, cuda_stream *stream, runtime_message *message);
void device_stream_destroy(device *d, cuda_stream stream);
/* Waits for the stream; an error of any kernel before it shows here. */
runtime_status device_synchronize(device *d, cuda_stream stream, runtime_message *message);

#endif
