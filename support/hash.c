#include "support/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

hash128 hash128_bytes(const void *data, size_t size) {
  XXH128_hash_t hash = XXH3_128bits(size ? data : "", size);
  return (hash128){hash.high64, hash.low64};
}

char *hash128_text(hash128 hash, char text[HASH128_TEXT_BYTES]) {
  snprintf(text, HASH128_TEXT_BYTES, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
  return text;
}
