#include "driver/env.h"

#include "driver/options.h"

#include <stdlib.h>

static const env_row rows[ENV_COUNT] = {
#define ENV(id, name, shown, meaning) [ENV_##id] = {name, shown, meaning},
#include "driver/env.def"
#undef ENV
};

const env_row *env_row_of(env_id id) { return &rows[id]; }

const char *env_get(env_id id) {
  const char *value = getenv(rows[id].name);
  return value && *value ? value : NULL;
}

const char *env_cache_directory(arena *memory) {
  const char *given = env_get(ENV_CACHE_DIR), *caches = env_get(ENV_XDG_CACHE_HOME), *home = env_get(ENV_HOME);
  if (given) return arena_strdup(memory, given);
  if (caches) return arena_printf(memory, "%s/bitblasc", caches);
  return home ? arena_printf(memory, "%s/.cache/bitblasc", home) : NULL;
}

int64_t env_cache_bytes(void) {
  static const int64_t otherwise = (int64_t)1 << 30;
  const char *text = env_get(ENV_CACHE_BYTES);
  int64_t value;
  return text && parse_number(text, &value) && value >= 0 ? value : otherwise;
}
