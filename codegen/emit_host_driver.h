/* What every generated host header shares (emit_host.c). */
#ifndef BITBLASC_CODEGEN_EMIT_HOST_DRIVER_H
#define BITBLASC_CODEGEN_EMIT_HOST_DRIVER_H

#include "support/str.h"

/* Appends the guarded text: driver table, launch structs, bitblasc_add and its kin. It uses stddef.h, stdint.h and
 * string.h. */
void emit_host_driver(str *out);

#endif
