/* The environment: the one place that reads it. The layers below are given values. */
#ifndef BITBLASC_DRIVER_ENV_H
#define BITBLASC_DRIVER_ENV_H

#include "support/arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum env_id {
#define ENV(id, name, shown, meaning) ENV_##id,
#include "driver/env.def"
#undef ENV
  ENV_COUNT
} env_id;

typedef struct env_row {
  const char *name;
  bool shown; /* in --help */
  const char *meaning;
} env_row;

const env_row *env_row_of(env_id id);
const char *env_get(env_id id); /* NULL when it is not set, or empty */

/* The cache directory that the environment names, in the arena; NULL when it names none. */
const char *env_cache_directory(arena *memory);
/* How large the cache may grow; the default where the variable is not set or is no number. */
int64_t env_cache_bytes(void);

#endif
