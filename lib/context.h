/* A context from inside the library. */
#ifndef BITBLASC_LIB_CONTEXT_H
#define BITBLASC_LIB_CONTEXT_H

#include "codegen/nvrtc.h"
#include "lib/status.h"
#include "runtime/device.h"
#include "runtime/store.h"

#include <pthread.h>
#include <stdatomic.h>

/* A key that some thread is preparing. */
typedef struct lib_flight {
  const char *key;
  struct lib_flight *next;
} lib_flight;

/* An entry that could not be kept on disk. */
typedef struct lib_memo {
  arena *memory; /* holds the rest and this */
  const char *key;
  store_entry entry;
  struct lib_memo *next;
} lib_memo;

struct bitblas_context {
  atomic_int users; /* the application and the kernels */
  arena *memory;    /* strings */
  cuda_driver driver;
  device *device; /* NULL: the emulator */
  ir_target target;
  const char *machine;         /* what cubins are made for where the target is an older GPU's; NULL: the target */
  const ir_target_info *speed; /* of the GPU, for estimates; NULL: the target's */
  int sms;                     /* multiprocessors of the GPU; 0: the emulator's target says */
  store *store;
  bitblas_log_function log;
  void *log_user;
  bitblas_log_level log_level;

  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t landed;
  lib_flight *flights;
  lib_memo *memos;
  const char *nvrtc_path; /* given by the application or the environment; NULL: searched */
  nvrtc *nvrtc;           /* opened when it is first needed */
};

void context_retain(bitblas_context *c);
void context_release(bitblas_context *c);
bool context_is_emulator(const bitblas_context *c);
void context_log(bitblas_context *c, bitblas_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* NVRTC, opened once. BITBLAS_ERROR_NO_NVRTC. */
bitblas_status context_nvrtc(bitblas_context *c, const nvrtc **out);

#endif
