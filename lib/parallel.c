#include "lib/parallel.h"

#include "lib/status.h"
#include "support/parallel.h"

#include <pthread.h>
#include <string.h>

typedef struct work {
  lib_task *task;
  void *data;
  pthread_mutex_t lock; /* of what follows */
  bitblas_status status;
  char message[2048]; /* what the failure said: messages are a thread's own */
} work;

static void run_piece(void *data, int index) {
  work *w = data;
  bitblas_status status = w->task(w->data, index);
  if (status == BITBLAS_OK) return;
  pthread_mutex_lock(&w->lock);
  if (w->status == BITBLAS_OK) {
    w->status = status;
    strncpy(w->message, bitblas_last_message(), sizeof w->message - 1);
  }
  pthread_mutex_unlock(&w->lock);
}

bitblas_status lib_parallel(int count, lib_task *task, void *data) {
  work w = {.task = task, .data = data, .status = BITBLAS_OK};
  pthread_mutex_init(&w.lock, NULL);
  parallel_run(count, run_piece, &w);
  pthread_mutex_destroy(&w.lock);
  return w.status == BITBLAS_OK ? BITBLAS_OK : lib_fail(w.status, "%s", w.message);
}
