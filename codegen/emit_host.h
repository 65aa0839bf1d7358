/* The host side of a compiled kernel, written from its launch record. */
#ifndef BITBLASC_CODEGEN_EMIT_HOST_H
#define BITBLASC_CODEGEN_EMIT_HOST_H

#include "codegen/record.h"
#include "support/str.h"

#include <stddef.h>

/* Each takes a record that record_verify accepts and appends to `out`.
 *
 * JSON: the record, one key a line. */
void emit_json(const record *r, str *out);

/* A C99 (and C++) header that needs no CUDA header and no bitblasc: for a kernel `scale` it declares scale_arguments
 * and scale_kernel and defines, static inline, scale_load, scale_workspace_bytes, scale_check, scale_launch,
 * scale_message and scale_unload. The driver is reached through a table, bitblasc_driver, that bitblasc_driver_resolve
 * fills from a lookup function such as dlsym. */
void emit_header(const record *r, str *out);

/* The header's text and after it `scale_cubin[]` and `scale_cubin_bytes`, which the header declares: a whole
 * translation unit. */
void emit_c(const record *r, const void *cubin, size_t cubin_size, str *out);

#endif
