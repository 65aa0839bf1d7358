/* How the library fails: a status, and a sentence that the thread keeps. */
#ifndef BITBLASC_LIB_STATUS_H
#define BITBLASC_LIB_STATUS_H

#include "include/bitblas.h"
#include "ir/ir.h"
#include "runtime/status.h"

/* Keeps the sentence for bitblas_last_message and returns the status, so that callers write `return lib_fail(...)`. */
bitblas_status lib_fail(bitblas_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same from what the runtime said; BITBLAS_OK for RUNTIME_OK. */
bitblas_status lib_runtime(runtime_status status, const runtime_message *message);

/* Copies a caller's config into ours, whose members are the defaults: as much as the caller's version of it has. A
 * larger one must be zero beyond ours. */
bitblas_status lib_take_config(const char *what, const void *theirs, void *ours, size_t size, size_t first_size);

bitblas_type lib_type_of(ir_type type);
ir_type lib_ir_type(bitblas_type type); /* IR_TYPE_NONE: none */

#endif
