#include "lib/embedded.h"

#include "support/embed.h"

#include <string.h>

extern const embedded_file lib_kernels[]; /* made by cmake/embed.cmake */

const char *embedded_text(const char *name, size_t *length) {
  for (const embedded_file *f = lib_kernels; f->name; f++) {
    if (strcmp(f->name, name) != 0) continue;
    *length = f->length;
    return f->text;
  }
  return NULL;
}
