/* Writing a safetensors file tensor by tensor: its data goes out as it comes, its header last, into room that was left for it. The
 * file is written aside and renamed into place, so that it is there whole or not at all. */
#ifndef BITBLASC_LIB_SAFETENSORS_WRITE_H
#define BITBLASC_LIB_SAFETENSORS_WRITE_H

#include "lib/status.h"

typedef struct safetensors_writer safetensors_writer;

/* The most that a tensor of this name takes of the header. */
size_t safetensors_header_bytes(const char *name);
/* Begins a file whose header will have at most `header_bytes`, the sum of the above. BITBLAS_ERROR_FILE. */
bitblas_status safetensors_create(const char *path, size_t header_bytes, safetensors_writer **out);
/* One more tensor, row-major. The encoding is a name of lib/dtypes.def. BITBLAS_ERROR_FILE (it cannot be written),
 * _ARGUMENT (bytes is not what the shape makes). */
bitblas_status safetensors_add(safetensors_writer *w, const char *name, const char *encoding, int rank,
                               const int64_t *shape, const void *data, size_t bytes);
/* The bytes of tensors so far. */
uint64_t safetensors_written(const safetensors_writer *w);
/* Writes the header and renames the file into place; frees the writer. BITBLAS_ERROR_FILE, also when two tensors have one
 * name; nothing is left behind then. */
bitblas_status safetensors_finish(safetensors_writer *w);
void safetensors_abandon(safetensors_writer *w); /* leaves nothing behind; NULL is ignored */

/* The weight as tensors prefix.form, .codes and so on (lib/format_canonical.c has the list). */
bitblas_status weight_write(safetensors_writer *w, const char *prefix, const bitblas_weight *weight);
/* What weight_write takes of the header, at most. */
size_t weight_header_bytes(const char *prefix);

#endif
