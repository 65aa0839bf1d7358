/* NumPy's .npy files, format versions 1 and 2: C order, little-endian, f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8.
 * Format: NumPy reference, "numpy.lib.format". */
#ifndef BITBLASC_RUNTIME_NPY_H
#define BITBLASC_RUNTIME_NPY_H

#include "runtime/status.h"

#include <stddef.h>
#include <stdint.h>

enum { NPY_RANK_MAX = 8 };

typedef struct npy_array {
  char kind;      /* 'f', 'i', 'u' */
  int item_bytes; /* 1, 2, 4, 8 */
  int rank;       /* 0: one element */
  int64_t extents[NPY_RANK_MAX];
  void *data; /* malloc'ed by npy_parse and npy_read, released by npy_free */
  size_t data_bytes;
} npy_array;

/* From bytes or from a file (a pipe will do). RUNTIME_FILE, with the reason, for anything that is no such array. */
runtime_status npy_parse(const void *bytes, size_t size, npy_array *out, runtime_message *message);
runtime_status npy_read(const char *path, npy_array *out, runtime_message *message);
/* Writes version 1, data beginning at a multiple of 64 bytes. */
runtime_status npy_write(const char *path, const npy_array *array, runtime_message *message);
void npy_free(npy_array *array); /* array may be NULL; sets data to NULL */

#endif
