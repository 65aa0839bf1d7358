/* What the parts of `bitblasc run` share: the sizes and tensors of a run, made from a text or from the record of a
 * cubin. */
#ifndef BITBLASC_DRIVER_MAIN_RUN_H
#define BITBLASC_DRIVER_MAIN_RUN_H

#include "driver/main_run_data.h"
#include "driver/main_run_gpu.h"
#include "driver/main_session.h"

typedef struct named_size {
  const char *name;
  int64_t value;
} named_size;

typedef struct run {
  session s;
  bool on_gpu;
  run_gpu gpu;
  bool check;          /* results are compared: with the meaning of the tile form, or */
  bool verify;         /* with what the same kernels compute when they are built at -O0 */
  ir_module *module;   /* what is executed */
  ir_module *declared; /* its kernels as they were before the passes: the tensors that the user knows, the reference */
  diag *declared_diagnostics;
  data_tensor **tensors;
  int tensor_count, tensor_capacity;
  named_size *sizes; /* --size */
  int size_count;
  uint64_t seed;
  int blocks; /* --blocks; 0: the emulator's own choice */
  int repeat; /* launches to time; 0: none */
  data_precision precision;
} run;

/* An error without a place; returns the status. */
int run_fail(run *r, compile_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The value given on the command line. */
bool run_find_size(const run *r, const char *name, int64_t *value);
data_tensor *run_find_tensor(const run *r, const char *name); /* NULL when there is none */
/* The tensor of this name, made when it is new. `hidden`: an argument that the compiler added, which begins as
 * zeros. */
int run_take_tensor(run *r, data_tensor *shape, bool written, bool read, bool hidden, src_loc loc, data_tensor **out);
/* Every --input or --output names a tensor. */
int run_check_names(run *r, option_id id);
/* Prints what a kernel counted, [IR_EVENT_COUNT], when --count-events asks for it. */
void run_print_events(const run *r, const char *kernel, const uint64_t *events);
/* Writes the --output files and checks what was computed. */
int run_finish(run *r);

int run_text(run *r);                    /* main_run_text.c */
int run_cubin(run *r, const char *path); /* main_run_cubin.c */

#endif
