/* Files of the source tree that are compiled into the program as bytes (the CUDA prelude, the library's kernels).
 * CMakeLists.txt names the files; each list ends with a row whose name is NULL. */
#ifndef BITBLASC_SUPPORT_EMBED_H
#define BITBLASC_SUPPORT_EMBED_H

#include <stddef.h>

typedef struct embedded_file {
  const char *name; /* without its directory: "matmul.tl" */
  const char *text; /* NUL-terminated */
  size_t length;    /* without the NUL */
} embedded_file;

#endif
