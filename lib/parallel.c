#include "lib/parallel.h"

#include "lib/status.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { MAX_THREADS = 64 };

typedef struct work {
  lib_task *task;
  void *data;
  int count;
  atomic_int next;
  pthread_mutex_t lock; /* of what follows */
  bitblas_status status;
  char message[2048]; /* what the failure said: messages are a thread's own */
} work;

static void *run_some(void *data) {
  work *w = data;
  for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->count;) {
    bitblas_status status = w->task(w->data, i);
    if (status == BITBLAS_OK) continue;
    pthread_mutex_lock(&w->lock);
    if (w->status == BITBLAS_OK) {
      w->status = status;
      strncpy(w->message, bitblas_last_message(), sizeof w->message - 1);
    }
    pthread_mutex_unlock(&w->lock);
  }
  return NULL;
}

bitblas_status lib_parallel(int count, lib_task *task, void *data) {
  work w = {.task = task, .data = data, .count = count, .status = BITBLAS_OK};
  pthread_mutex_init(&w.lock, NULL);
  pthread_t thread[MAX_THREADS];
  int threads = 0, processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
  while (threads < MAX_THREADS && threads < count - 1 && threads < processors - 1 &&
         pthread_create(&thread[threads], NULL, run_some, &w) == 0)
    threads++;
  run_some(&w);
  for (int i = 0; i < threads; i++)
    pthread_join(thread[i], NULL);
  pthread_mutex_destroy(&w.lock);
  return w.status == BITBLAS_OK ? BITBLAS_OK : lib_fail(w.status, "%s", w.message);
}
