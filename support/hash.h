/* Content hashes: the identity of a text or a cache entry. Equal bytes give equal hashes on every host. */
#ifndef BITBLASC_SUPPORT_HASH_H
#define BITBLASC_SUPPORT_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct hash128 {
  uint64_t high;
  uint64_t low;
} hash128;

enum { HASH128_TEXT_BYTES = 33 }; /* 32 digits and the NUL */

/* XXH3, 128 bits, seed 0. data may be NULL when size is 0. */
hash128 hash128_bytes(const void *data, size_t size);
/* 32 lower-case hexadecimal digits, most significant first. Returns `text`. */
char *hash128_text(hash128 hash, char text[HASH128_TEXT_BYTES]);

#endif
