/* Arenas as a chain of blocks, newest first. A request that does not fit opens a new block; blocks double in size up to
 * a bound, so that small compilations touch little memory and large ones make few calls. */
#include "support/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_ALIGNMENT = 16, FIRST_BLOCK_BYTES = 16 * 1024, LARGEST_BLOCK_BYTES = 1024 * 1024 };

typedef struct arena_block arena_block;
struct arena_block {
  arena_block *older;
  size_t capacity; /* bytes of `bytes` */
  size_t used;
  _Alignas(ARENA_ALIGNMENT) unsigned char bytes[];
};

struct arena {
  arena_block *newest; /* NULL before the first allocation */
};

_Noreturn static void out_of_memory(void) {
  fputs("bitblasc: out of memory\n", stderr);
  abort();
}

static void *allocate_or_abort(size_t size) {
  void *memory = malloc(size);
  if (!memory) out_of_memory();
  return memory;
}

/* Opens a block with room for at least `size` bytes. */
static void open_block(arena *a, size_t size) {
  size_t capacity = FIRST_BLOCK_BYTES;
  if (a->newest) capacity = 2 * a->newest->capacity;
  if (capacity > LARGEST_BLOCK_BYTES) capacity = LARGEST_BLOCK_BYTES;
  if (capacity < size) capacity = size;
  arena_block *block = allocate_or_abort(sizeof *block + capacity);
  block->older = a->newest;
  block->capacity = capacity;
  block->used = 0;
  a->newest = block;
}

static void free_blocks(arena_block *block) {
  while (block) {
    arena_block *older = block->older;
    free(block);
    block = older;
  }
}

arena *arena_create(void) {
  arena *a = allocate_or_abort(sizeof *a);
  a->newest = NULL;
  return a;
}

void arena_destroy(arena *a) {
  if (!a) return;
  free_blocks(a->newest);
  free(a);
}

void arena_reset(arena *a) {
  if (!a->newest) return;
  free_blocks(a->newest->older);
  a->newest->older = NULL;
  a->newest->used = 0;
}

void *arena_alloc(arena *a, size_t size) {
  if (size > SIZE_MAX / 2) out_of_memory();
  size_t rounded = (size + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
  if (rounded == 0) rounded = ARENA_ALIGNMENT; /* distinct allocations have distinct addresses */
  if (!a->newest || a->newest->capacity - a->newest->used < rounded) open_block(a, rounded);
  void *memory = a->newest->bytes + a->newest->used;
  a->newest->used += rounded;
  return memset(memory, 0, rounded);
}

char *arena_strdup(arena *a, const char *text) { return arena_strndup(a, text, strlen(text)); }

char *arena_strndup(arena *a, const char *text, size_t length) {
  char *copy = arena_alloc(a, length + 1);
  if (length) memcpy(copy, text, length);
  return copy;
}

char *arena_printf(arena *a, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int length = vsnprintf(NULL, 0, format, args);
  va_end(args);
  char *text = arena_alloc(a, length < 0 ? 1 : (size_t)length + 1);
  if (length > 0) vsnprintf(text, (size_t)length + 1, format, again);
  va_end(again);
  return text;
}

void *arena_copy(arena *a, const void *data, size_t size) {
  void *copy = arena_alloc(a, size);
  if (size) memcpy(copy, data, size);
  return copy;
}

void *arena_grow(arena *a, const void *old, size_t old_size, size_t new_size) {
  void *grown = arena_alloc(a, new_size);
  if (old_size) memcpy(grown, old, old_size);
  return grown;
}
