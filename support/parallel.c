#include "support/parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

enum { MAX_THREADS = 64 };

typedef struct work {
  parallel_task *task;
  void *data;
  int count;
  atomic_int next;
} work;

static void *run_some(void *data) {
  work *w = data;
  for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->count;)
    w->task(w->data, i);
  return NULL;
}

void parallel_run(int count, parallel_task *task, void *data) {
  work w = {.task = task, .data = data, .count = count};
  pthread_t thread[MAX_THREADS];
  int threads = 0, processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
  while (threads < MAX_THREADS && threads < count - 1 && threads < processors - 1 &&
         pthread_create(&thread[threads], NULL, run_some, &w) == 0)
    threads++;
  run_some(&w);
  for (int i = 0; i < threads; i++)
    pthread_join(thread[i], NULL);
}
