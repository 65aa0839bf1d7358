/* Arenas: memory that is released all at once.
 *
 * A compilation has two: one that lives until the output is written, and a scratch arena that is reset after every
 * pass. Nothing in frontend, ir, passes or codegen is freed one by one. Out of host memory aborts with a message: a
 * compiler cannot continue without memory, and the library documents it. */
#ifndef BITBLASC_SUPPORT_ARENA_H
#define BITBLASC_SUPPORT_ARENA_H

#include <stdarg.h>
#include <stddef.h>

typedef struct arena arena;

arena *arena_create(void);
void arena_destroy(arena *a); /* a may be NULL */
void arena_reset(arena *a);   /* frees every allocation, keeps one block for reuse */

/* Zeroed memory, aligned to 16 bytes; never NULL; size 0 gives a valid pointer. */
void *arena_alloc(arena *a, size_t size);
char *arena_strdup(arena *a, const char *text);
char *arena_strndup(arena *a, const char *text, size_t length);
char *arena_printf(arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *arena_copy(arena *a, const void *data, size_t size);

#define ARENA_NEW(a, type)          ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, count) ((type *)arena_alloc((a), sizeof(type) * (size_t)(count)))

/* Appends to a growing array kept in an arena: `items`, `count` and `capacity` are lvalues. */
#define ARENA_PUSH(a, items, count, capacity, item)                                                                    \
  do {                                                                                                                 \
    if ((count) == (capacity)) {                                                                                       \
      (capacity) = (capacity) ? 2 * (capacity) : 8;                                                                    \
      (items) = arena_grow((a), (items), (size_t)(count) * sizeof *(items), (size_t)(capacity) * sizeof *(items));     \
    }                                                                                                                  \
    (items)[(count)++] = (item);                                                                                       \
  } while (0)
void *arena_grow(arena *a, const void *old, size_t old_size, size_t new_size);

#endif
