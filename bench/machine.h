/* Where the benchmark runs: a GPU in its primary context, which the peers of this process share, or the emulator. */
#ifndef BITBLASC_BENCH_MACHINE_H
#define BITBLASC_BENCH_MACHINE_H

#include "include/bitblas.h"
#include "runtime/device.h"

#include <stdbool.h>

/* What went wrong, a sentence. */
typedef struct complaint {
  char text[512];
} complaint;

/* Writes the sentence; always false. */
bool complain(complaint *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether a call of the library succeeded; else "what: what the library says". */
bool is_done(bitblas_status status, const char *what, complaint *problem);

/* The driver's entry points for graphs, which the library itself does not need. Source: CUDA driver API reference,
 * "Graph Management" and "Stream Management". */
typedef struct graph_driver {
  int (*begin)(cuda_stream stream, int mode);
  int (*end)(cuda_stream stream, void **graph);
  int (*instantiate)(void **ready, void *graph, unsigned long long flags);
  int (*launch)(void *ready, cuda_stream stream);
  int (*destroy)(void *graph);
  int (*destroy_ready)(void *ready);
} graph_driver;

/* What NVML says of the GPU. Source: NVML API reference, "Device Queries". */
typedef struct clock_reader {
  void *device; /* NULL: there is no NVML */
  int (*read)(void *device, int clock, unsigned *mhz);
} clock_reader;

typedef struct machine {
  bitblas_context *context;
  bitblas_context *older;    /* compiles code of sm_80 for the same device */
  const cuda_driver *driver; /* NULL: the emulator */
  device *device;            /* NULL: the emulator */
  cuda_stream stream;
  graph_driver graphs;
  clock_reader clocks;
  bool overlaps; /* launches of our kernels with the end of the one ahead: overlap_launches */
  size_t l2_bytes;
  void *scratch; /* filled ahead of what is timed: the host is ahead then, and the L2 holds nothing of use */
  size_t scratch_bytes;
} machine;

/* Opens GPU 0, or the emulator, and makes its context current in this thread until machine_close. *is_absent: there is
 * no GPU or no driver for one, which is no mistake. */
bool machine_open(machine *m, bool emulator, bool *is_absent, complaint *problem);
void machine_close(machine *m);

/* Copies from device to device, and fills, in the order of the stream. */
bool machine_copy(const machine *m, void *to, const void *from, size_t bytes, complaint *problem);
bool machine_fill(const machine *m, void *to, unsigned char value, size_t bytes, complaint *problem);
/* From the device, waiting. */
bool machine_read(const machine *m, void *to, const void *from, size_t bytes, complaint *problem);
bool machine_wait(const machine *m, complaint *problem);

/* The clock of the SMs now, in MHz; 0 where it cannot be read. */
int machine_clock_mhz(const machine *m);

#endif
