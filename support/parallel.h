/* Several pieces of work at a time, on threads that end before the call returns. */
#ifndef BITBLASC_SUPPORT_PARALLEL_H
#define BITBLASC_SUPPORT_PARALLEL_H

/* Piece number `index`; runs on any thread. */
typedef void parallel_task(void *data, int index);

/* Runs pieces 0 to count - 1, at most one a processor at a time. Where no more threads can be had, fewer do it all. */
void parallel_run(int count, parallel_task *task, void *data);

#endif
