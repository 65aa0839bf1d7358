/* The kernels of lib/kernels/, which the library carries with it. */
#ifndef BITBLASC_LIB_EMBEDDED_H
#define BITBLASC_LIB_EMBEDDED_H

#include <stddef.h>

/* What their names begin with where a path is expected: "<bitblas>/flash_atten.tl". Includes of such a file are looked for
 * among the embedded ones. */
#define EMBEDDED_DIRECTORY "<bitblas>/"

/* The text of a file of lib/kernels/ ("flash_atten.tl"), NUL-terminated, static; NULL when there is none. */
const char *embedded_text(const char *name, size_t *length);

#endif
