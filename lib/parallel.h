/* Several pieces of work at a time, on threads that end before the call returns. */
#ifndef BITBLASC_LIB_PARALLEL_H
#define BITBLASC_LIB_PARALLEL_H

#include "include/bitblas.h"

/* Piece number `index`; runs on any thread. */
typedef bitblas_status lib_task(void *data, int index);

/* Runs pieces 0 to count - 1, at most one a processor at a time, and all of them whatever fails. The first failure, with
 * its message as this thread's last one. */
bitblas_status lib_parallel(int count, lib_task *task, void *data);

#endif
