/* Writing files whole or not at all. */
#ifndef BITBLASC_DRIVER_OUTPUT_H
#define BITBLASC_DRIVER_OUTPUT_H

#include "support/arena.h"
#include "support/str.h"

#include <stdbool.h>
#include <stddef.h>

/* Writes the bytes under a temporary name beside `path` and renames it into place, so that a reader never sees half a
 * file and a failure leaves the old one. A path that is no regular file (a pipe, /dev/null) is written directly; "-" is
 * standard output. False, with the reason appended to `error`. */
bool output_write(const char *path, const void *data, size_t size, str *error);

/* The bytes of a file, NUL-terminated, in the arena; "-" is standard input. NULL with the reason appended to `error`.
 */
char *output_read(arena *memory, const char *path, size_t *size, str *error);

/* Makes the directory, and those above it, where they do not exist. */
bool output_make_directory(const char *path, str *error);

/* The path without its directory, and where its extension (with the dot) begins, which is its end when it has none. */
const char *output_base_name(const char *path);
const char *output_extension(const char *path);

#endif
