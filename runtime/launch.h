/* Loading a compiled kernel onto a device and launching it from its record. */
#ifndef BITBLASC_RUNTIME_LAUNCH_H
#define BITBLASC_RUNTIME_LAUNCH_H

#include "codegen/record.h"
#include "runtime/device.h"
#include "runtime/launch_plan.h"
#include "runtime/status.h"

#include <stddef.h>

typedef struct launch_kernel launch_kernel; /* one kernel, loaded; launched from any thread */
typedef struct launch_call launch_call;     /* one launch, ready: parameters and tensor maps made */

/* Loads a cubin. `r` NULL: the record is read from the cubin's note. Either way it is copied. RUNTIME_WRONG_TARGET when
 * this GPU cannot run the target, RUNTIME_BAD_RECORD, RUNTIME_BAD_CUBIN, or what the driver says. */
runtime_status launch_load(device *d, const void *cubin, size_t size, const record *r, launch_kernel **out,
                           runtime_message *message);
void launch_unload(launch_kernel *k); /* k may be NULL; nothing of it may still be running */

const record *launch_get_record(const launch_kernel *k); /* lives as long as the kernel */
device *launch_device(const launch_kernel *k);

/* As the driver sees the loaded function. */
typedef struct launch_facts {
  int registers;
  int local_bytes; /* a thread: spills and stack */
  int static_shared_bytes;
  int blocks_per_sm;
  int resident_blocks; /* on the whole device, in whole clusters */
} launch_facts;
const launch_facts *launch_get_facts(const launch_kernel *k);

/* Copies a variable of the module, of just so many bytes, to the host. Waits for the device. RUNTIME_BAD_CUBIN when the
 * module has none of that name and size. */
runtime_status launch_read_variable(const launch_kernel *k, const char *name, void *to, size_t bytes,
                                    runtime_message *message);

/* Checks the arguments, enqueues on the stream and returns. Fit for graph capture: nothing is allocated on the device
 * or waited for; nor on the host, unless the kernel has very many parameters. */
runtime_status launch_run(launch_kernel *k, const launch_arguments *arguments, cuda_stream stream,
                          runtime_message *message);

/* The same without the checks, for arguments that launch_check has passed. */
runtime_status launch_run_checked(launch_kernel *k, const launch_arguments *arguments, cuda_stream stream,
                                  runtime_message *message);

/* The same in two steps, for what is launched often with the same arguments. The arguments are copied. */
runtime_status launch_prepare(launch_kernel *k, const launch_arguments *arguments, launch_call **out,
                              runtime_message *message);
runtime_status launch_enqueue(const launch_call *call, cuda_stream stream, runtime_message *message);
void launch_call_free(launch_call *call); /* call may be NULL */

typedef struct launch_timing_options {
  int warmups;             /* launches that are not counted; 0 means 3 */
  int samples;             /* 0 means 20 */
  int launches_per_sample; /* timed together, so that a short kernel is longer than the clock is coarse; 0 means 1 */
} launch_timing_options;

typedef struct launch_timing {
  double median_us; /* of one launch */
  double least_us;
  double most_us;
} launch_timing;

/* Times launches on the stream, taking the argument sets in turn (give several, larger together than L2, to time from
 * memory). Waits. */
runtime_status launch_time(launch_kernel *k, const launch_arguments *sets, int set_count,
                           const launch_timing_options *options, cuda_stream stream, launch_timing *timing,
                           runtime_message *message);

#endif
